//! Records as one long table, for other programs.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::builder::{Float64Builder, StringBuilder, UInt64Builder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};
use clap::{Args, ValueEnum};

use super::cli::{counted, damage_note};
use super::files::{self, refusal};
use super::record::Facts;
use super::{Key, Record, Store};
use crate::status::{SUCCESS, say_on};
use crate::{ExperimentError, Result};

/// Arguments of `export`.
#[derive(Debug, Clone, Args)]
pub struct ExportArguments {
    /// Folder of the store
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Format of the table
    #[arg(long, value_enum)]
    pub format: TableFormat,
    /// File to write; a former one is replaced
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Records of this model alone
    #[arg(long, value_name = "M")]
    pub model: Option<String>,
}

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    /// Comma-separated text (RFC 4180); every number is the shortest that reads back the same
    Csv,
    /// Arrow IPC file, also known as Feather version 2; every number bit for bit
    Arrow,
}

/// Writes one row for each number that is stored: its record's key, model, version, backend, seed
/// and trial; the cell, where it is not of the trial as a whole; the series and the place in it; the
/// number; and, in the first row of a record, its identity, which is as long as a thousand numbers. Rows are in the order of keys, whichever segments they are in.
///
/// # Errors
/// [`ExperimentError::Store`] where the store cannot be read, there is no record of the model, or
/// the file cannot be written; the file is then as it was. [`ExperimentError::Io`] where `out`
/// takes no text; a closed pipe is no error.
pub fn export(arguments: &ExportArguments, out: &mut impl Write) -> Result<u8> {
    let store = Store::open_existing(&arguments.folder)?;
    let path = &arguments.out;
    if fs::metadata(path).is_ok_and(|former| !former.is_file()) {
        return Err(refusal(path, "is not a file; name a file with --out"));
    }
    let mut records = 0;
    let written = files::write_whole(path, |file| {
        records = match arguments.format {
            TableFormat::Csv => fill(&store, arguments, Csv::new(file)?),
            TableFormat::Arrow => fill(&store, arguments, Arrow::new(file)?),
        }?;
        Ok(())
    });
    match written {
        Ok(()) => {}
        Err(Trouble::Store(e)) => return Err(e),
        Err(Trouble::File(e)) => return Err(refusal(path, format!("cannot be written: {e}"))),
    }
    let text = format!("{} written to {}\n", counted(records, "record"), path.display());
    say_on(out, &(text + &damage_note(&store)))?;
    Ok(SUCCESS)
}

/// Why a table was not written.
enum Trouble {
    Store(ExperimentError),
    File(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(e: io::Error) -> Self {
        Self::File(e)
    }
}

fn fill(store: &Store, arguments: &ExportArguments, mut table: impl Table) -> Written<usize> {
    let mut records = 0;
    for key in store.keys() {
        let Some(record) = store.get(&key).map_err(Trouble::Store)? else { continue };
        let facts = Facts::of(&record.identity);
        if arguments.model.is_some() && arguments.model != facts.model {
            continue;
        }
        rows(key, &record, &facts, &mut table)?;
        records += 1;
    }
    if let (0, Some(model)) = (records, &arguments.model) {
        let reason = format!("holds no record of model {model:?}; 'info' lists those it has");
        return Err(Trouble::Store(refusal(store.path(), reason)));
    }
    table.finish()?;
    Ok(records)
}

fn rows(key: Key, record: &Record, facts: &Facts, table: &mut impl Table) -> io::Result<()> {
    let outcome = &record.outcome;
    let mut identity = record.identity.as_str();
    let cells = outcome.cells.iter().enumerate().map(|(cell, numbers)| (Some(cell), numbers));
    for (cell, numbers) in std::iter::once((None, &outcome.trial)).chain(cells) {
        for (name, series) in numbers {
            for (index, &value) in series.iter().enumerate() {
                let cell = cell.map(|cell| cell as u64);
                table.row(&Row { key, facts, cell, name, index: index as u64, value, identity })?;
                identity = "";
            }
        }
    }
    Ok(())
}

type Written<T> = std::result::Result<T, Trouble>;

const COLUMNS: [&str; 11] = [
    "key", "model", "version", "backend", "seed", "trial", "cell", "name", "index", "value",
    "identity",
];

struct Row<'a> {
    key: Key,
    facts: &'a Facts,
    cell: Option<u64>,
    name: &'a str,
    index: u64,
    value: f64,
    identity: &'a str,
}

trait Table {
    fn row(&mut self, row: &Row) -> io::Result<()>;
    fn finish(self) -> io::Result<()>;
}

struct Csv<'a>(csv::Writer<&'a mut BufWriter<File>>);

impl<'a> Csv<'a> {
    fn new(file: &'a mut BufWriter<File>) -> io::Result<Self> {
        let mut writer = csv::Writer::from_writer(file);
        writer.write_record(COLUMNS)?;
        Ok(Self(writer))
    }
}

impl Table for Csv<'_> {
    fn row(&mut self, row: &Row) -> io::Result<()> {
        let number = |number: Option<u64>| number.map_or_else(String::new, |n| n.to_string());
        let Facts { model, version, backend, seed, trial } = row.facts;
        Ok(self.0.write_record([
            &row.key.to_string(),
            model.as_deref().unwrap_or_default(),
            &number(*version),
            backend.as_deref().unwrap_or_default(),
            &number(*seed),
            &number(*trial),
            &number(row.cell),
            row.name,
            &row.index.to_string(),
            &format!("{:e}", row.value),
            row.identity,
        ])?)
    }

    fn finish(mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Rows that are not written yet.
struct Arrow<'a> {
    writer: FileWriter<&'a mut BufWriter<File>>,
    schema: Arc<Schema>,
    /// Key, model, backend, name, identity.
    texts: [StringBuilder; 5],
    /// Version, seed, trial, cell, index.
    numbers: [UInt64Builder; 5],
    values: Float64Builder,
    rows: usize,
    bytes: usize,
}

impl<'a> Arrow<'a> {
    fn new(file: &'a mut BufWriter<File>) -> io::Result<Self> {
        let fields = COLUMNS.map(|name| {
            let (kind, known) = match name {
                "value" => (DataType::Float64, true),
                "index" => (DataType::UInt64, true),
                "version" | "seed" | "trial" | "cell" => (DataType::UInt64, false),
                "model" | "backend" => (DataType::Utf8, false),
                _ => (DataType::Utf8, true),
            };
            Field::new(name, kind, !known)
        });
        let schema = Arc::new(Schema::new(fields.to_vec()));
        Ok(Self {
            writer: FileWriter::try_new(file, &schema).map_err(arrow)?,
            schema,
            texts: std::array::from_fn(|_| StringBuilder::new()),
            numbers: std::array::from_fn(|_| UInt64Builder::new()),
            values: Float64Builder::new(),
            rows: 0,
            bytes: 0,
        })
    }

    fn write(&mut self) -> io::Result<()> {
        let [key, model, backend, name, identity] =
            self.texts.each_mut().map(|column| Arc::new(column.finish()) as ArrayRef);
        let [version, seed, trial, cell, index] =
            self.numbers.each_mut().map(|column| Arc::new(column.finish()) as ArrayRef);
        let value = Arc::new(self.values.finish());
        let columns =
            vec![key, model, version, backend, seed, trial, cell, name, index, value, identity];
        (self.rows, self.bytes) = (0, 0);
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(arrow)?;
        self.writer.write(&batch).map_err(arrow)
    }
}

impl Table for Arrow<'_> {
    fn row(&mut self, row: &Row) -> io::Result<()> {
        // Also keeps each column within what its 32-bit offsets reach.
        const ROWS: usize = 1 << 16;
        const BYTES: usize = 1 << 26;
        let Facts { model, version, backend, seed, trial } = row.facts;
        let key = row.key.to_string();
        let texts = [
            Some(key.as_str()),
            model.as_deref(),
            backend.as_deref(),
            Some(row.name),
            Some(row.identity),
        ];
        for (column, text) in self.texts.iter_mut().zip(texts) {
            column.append_option(text);
            self.bytes += text.map_or(0, str::len);
        }
        let numbers = [*version, *seed, *trial, row.cell, Some(row.index)];
        for (column, number) in self.numbers.iter_mut().zip(numbers) {
            column.append_option(number);
        }
        self.values.append_value(row.value);
        self.rows += 1;
        if self.rows < ROWS && self.bytes < BYTES { Ok(()) } else { self.write() }
    }

    fn finish(mut self) -> io::Result<()> {
        if self.rows > 0 {
            self.write()?;
        }
        self.writer.finish().map_err(arrow)
    }
}

fn arrow(e: ArrowError) -> io::Error {
    match e {
        ArrowError::IoError(_, e) => e,
        e => io::Error::other(e),
    }
}
