//! Data tables, written as CSV.

use std::fmt::Write;

/// Rows of fields under named columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<Field>>,
}

/// One field of a table, in its final form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field(String);

impl From<f64> for Field {
    /// The shortest decimal that reads back as the same number.
    fn from(value: f64) -> Self {
        Self(format!("{value:e}"))
    }
}

impl From<Option<f64>> for Field {
    /// Nothing is an empty field.
    fn from(value: Option<f64>) -> Self {
        value.map_or_else(|| Self(String::new()), Self::from)
    }
}

impl From<usize> for Field {
    fn from(value: usize) -> Self {
        Self(value.to_string())
    }
}

impl Field {
    /// A whole number.
    pub(crate) fn whole(value: u64) -> Self {
        Self(value.to_string())
    }
}

impl From<Option<usize>> for Field {
    fn from(value: Option<usize>) -> Self {
        value.map_or_else(|| Self(String::new()), Self::from)
    }
}

impl From<&str> for Field {
    /// Quoted where CSV (RFC 4180) asks for it.
    fn from(value: &str) -> Self {
        if value.contains([',', '"', '\n', '\r']) {
            Self(format!("\"{}\"", value.replace('"', "\"\"")))
        } else {
            Self(value.into())
        }
    }
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(header: Vec<String>) -> Self {
        Self { header, rows: Vec::new() }
    }

    /// Appends a row; missing fields are empty, fields beyond the header are dropped.
    pub fn push(&mut self, mut row: Vec<Field>) {
        row.resize(self.header.len(), Field(String::new()));
        self.rows.push(row);
    }

    /// The table as CSV with a header line.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut csv = String::new();
        let header = self.header.iter().map(|name| Field::from(name.as_str())).collect();
        for row in std::iter::once(&header).chain(&self.rows) {
            for (i, Field(field)) in row.iter().enumerate() {
                // Writing to a string cannot fail.
                let _ = write!(csv, "{}{field}", if i == 0 { "" } else { "," });
            }
            csv.push('\n');
        }
        csv
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_and_text_is_quoted() {
        let header = ["name", "value", "count"].map(str::to_string).to_vec();
        let mut table = Table::new(header);
        table.push(vec!["a, \"b\"".into(), 0.1.into(), 3_usize.into()]);
        table.push(vec!["c".into(), None::<f64>.into()]);
        table.push(vec!["d".into(), f64::INFINITY.into(), 1_usize.into()]);
        let csv = table.to_csv();
        assert_eq!(csv, "name,value,count\n\"a, \"\"b\"\"\",1e-1,3\nc,,\nd,inf,1\n");
        assert_eq!("1e-1".parse::<f64>().unwrap(), 0.1);
    }
}
