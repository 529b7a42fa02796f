//! The data behind an experiment's picture, as a table.

use serde_json::Value;

use crate::Result;
use crate::experiment::file::{ColumnFile, Rows, TableFile};
use crate::model::{Kind, Measure};
use crate::report::view::{At, View};
use crate::table::{Field, Table};

/// The table that the file asks for; without one, all measures of the tuned cells by iteration, or of
/// all cells at their ends.
///
/// # Errors
/// Where a closed form is undefined.
pub(crate) fn table(view: View<'_>) -> Result<Table> {
    let standard;
    let file = match &view.experiment.file.table {
        Some(file) => file,
        None => {
            standard = standard_table(view);
            &standard
        }
    };
    let mut table = Table::new(file.columns.iter().map(|column| column.header.clone()).collect());
    for setting in 0..view.experiment.settings.len() {
        for at in rows(view, setting, file.rows) {
            let columns = Columns::new(view, file, at)?;
            let iterations = view.setting(at).problem.recorded();
            for trial in 0..view.trials(setting) {
                if file.rows == Rows::Iterations {
                    for i in 0..iterations.len() {
                        table.push(columns.row(trial, Some((i, iterations[i]))));
                    }
                } else {
                    table.push(columns.row(trial, None));
                }
            }
        }
    }
    Ok(table)
}

fn standard_table(view: View<'_>) -> TableFile {
    let by_iteration = view.experiment.file.panel.iter().any(|panel| panel.x == "iteration");
    let mut columns: Vec<String> = vec!["setting".into(), "method".into()];
    for axis in view.experiment.axes() {
        if !columns.iter().any(|column| column == axis) {
            columns.push(axis.to_string());
        }
    }
    columns.push("trial".into());
    if by_iteration {
        columns.push("iteration".into());
    }
    columns.extend(view.experiment.model.measures().iter().map(|m| m.name.to_string()));
    TableFile {
        rows: if by_iteration { Rows::Iterations } else { Rows::All },
        columns: columns
            .into_iter()
            .map(|name| ColumnFile { header: name.clone(), value: name })
            .collect(),
    }
}

/// The cells that have rows.
fn rows(view: View<'_>, setting: usize, rows: Rows) -> Vec<At> {
    let methods = view.experiment.settings[setting].methods.iter().map(|(method, _)| *method);
    methods
        .flat_map(|method| {
            if rows == Rows::All {
                return view.cells(setting, method, &[]);
            }
            let held = view.swept(method);
            let chosen = held.iter().filter_map(|held| view.tuned(setting, method, held));
            match rows {
                Rows::Rates => chosen.flat_map(|chosen| view.along(chosen.at, "rate")).collect(),
                _ => chosen.map(|chosen| chosen.at).collect(),
            }
        })
        .collect()
}

/// What stands in the columns of a cell's rows.
struct Columns<'a> {
    columns: Vec<Column<'a>>,
}

enum Column<'a> {
    /// The same in all rows.
    Fixed(Field),
    Trial,
    Iteration,
    /// A measure of the cell, by trial.
    OfCell(&'static Measure, Vec<&'a [f64]>),
    /// A number of the trial.
    OfTrial(Vec<f64>),
}

impl<'a> Columns<'a> {
    fn new(view: View<'a>, file: &TableFile, at: At) -> Result<Self> {
        let columns = file.columns.iter().map(|column| Column::new(view, &column.value, at));
        Ok(Self { columns: columns.collect::<Result<_>>()? })
    }

    fn row(&self, trial: usize, iteration: Option<(usize, usize)>) -> Vec<Field> {
        self.columns.iter().map(|column| column.field(trial, iteration)).collect()
    }
}

impl<'a> Column<'a> {
    fn new(view: View<'a>, name: &str, at: At) -> Result<Self> {
        let setting = view.setting(at);
        let entry = &view.experiment.methods[at.method];
        Ok(match name {
            "setting" => Self::Fixed(setting.name.as_str().into()),
            "title" => Self::Fixed(setting.title.as_str().into()),
            "method" => Self::Fixed(entry.label.as_str().into()),
            "seed" => Self::Fixed(Field::whole(view.experiment.plan.seed)),
            "trial" => Self::Trial,
            "iteration" => Self::Iteration,
            "theory" => {
                let cell = setting.cells(at.method).and_then(|cells| cells.get(at.cell));
                let predicted = cell.map(|cell| setting.problem.predict(cell)).transpose()?;
                Self::Fixed(predicted.flatten().into())
            }
            name => match view.experiment.model.measure(name) {
                Some(measure) if measure.kind == Kind::Trial => {
                    Self::OfTrial(view.of_trials(at.setting, name))
                }
                Some(measure) => Self::OfCell(measure, view.series(at, name)),
                None => {
                    let of_method = entry.axis(name).map(|axis| entry.cells[at.cell][axis].clone());
                    let axis = of_method.or_else(|| setting.value(name).cloned());
                    Self::Fixed(match axis {
                        Some(value) => of_axis(&value),
                        None if view.experiment.axes().any(|axis| axis == name) => {
                            None::<f64>.into()
                        }
                        None => of_task(setting.problem.canonical().get(name)),
                    })
                }
            },
        })
    }

    fn field(&self, trial: usize, iteration: Option<(usize, usize)>) -> Field {
        match self {
            Self::Fixed(field) => field.clone(),
            Self::Trial => trial.into(),
            Self::Iteration => iteration.map(|(_, iteration)| iteration).into(),
            Self::OfTrial(numbers) => numbers[trial].into(),
            Self::OfCell(measure, by_trial) => {
                let numbers = by_trial[trial];
                if measure.kind == Kind::Iteration {
                    let reached = numbers.first().filter(|iteration| !iteration.is_nan());
                    return reached.map(|&iteration| iteration as usize).into();
                }
                match iteration {
                    Some((i, _)) => numbers.get(i),
                    None => numbers.last(),
                }
                .copied()
                .into()
            }
        }
    }
}

/// A value of an axis.
fn of_axis(value: &Value) -> Field {
    match (value.as_f64(), value.as_str()) {
        (Some(number), _) => number.into(),
        (None, Some(name)) => name.into(),
        (None, None) => value.to_string().as_str().into(),
    }
}

/// A value of a task: whole numbers as such.
fn of_task(value: Option<&Value>) -> Field {
    match value {
        None | Some(Value::Null) => None::<f64>.into(),
        Some(value) => match value.as_u64() {
            Some(whole) => Field::whole(whole),
            None => of_axis(value),
        },
    }
}
