//! The benchmarks, and a summary of what Criterion measured.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::backend::{Answer, Backend, CORETYPE};
use crate::process::{Failure, run as run_command};
use crate::workspace;

pub(crate) const PACKAGE: &str = "layerwise-benches";

/// Runs the benchmarks that match the filter, writes the summary and prints it as a table.
pub(crate) fn run(backend: Backend, quick: bool, filter: Option<&str>) -> Result<(), Failure> {
    let feature = backend.ensure()?;
    let (backend, kernel) = Answer::under_best_kernel(|| feature.example("release"))?;
    let target = workspace::target_directory()?;
    let results = target.join("criterion");
    let start = SystemTime::now();
    let mut command = workspace::cargo();
    // The library of the package is no benchmark, and would not understand Criterion's options.
    command.args(["bench", "--package", PACKAGE, "--bench", "*"]).args(feature.cargo_flags());
    command.arg("--").args(quick.then_some("--quick")).args(filter);
    command.env("CRITERION_HOME", &results).envs(kernel.map(|kernel| (CORETYPE, kernel)));
    run_command(&mut command)?;

    let mut measurements = Vec::new();
    collect(&results, start, &mut measurements)?;
    if measurements.is_empty() {
        return Err(Failure::new(match filter {
            Some(filter) => format!("no benchmark matches `{filter}`: nothing was measured"),
            None => format!("{PACKAGE} has no benchmarks: nothing was measured"),
        }));
    }
    measurements.sort_by(|a, b| a.name.cmp(&b.name));
    let file = target.join("bench-summary.json");
    write_whole(&file, &format!("{:#}\n", summary(&backend.description, quick, &measurements)))?;
    print(&format!("{}\n{}\n", table(&measurements), file.display()))
}

/// What Criterion found for one benchmark; times of one iteration in nanoseconds.
#[derive(Debug, Clone, PartialEq)]
struct Measurement {
    name: String,
    /// Criterion's typical time: the slope of the regression, or the mean where there is none.
    typical: f64,
    /// The bounds of its confidence interval, whose level is `level`.
    lower: f64,
    upper: f64,
    level: f64,
    median: f64,
}

impl Measurement {
    /// Reads Criterion's benchmark.json and estimates.json.
    fn new(benchmark: &Value, estimates: &Value) -> Option<Self> {
        let typical = match &estimates["slope"] {
            Value::Null => &estimates["mean"],
            slope => slope,
        };
        let interval = &typical["confidence_interval"];
        Some(Self {
            name: benchmark["full_id"].as_str()?.to_owned(),
            typical: typical["point_estimate"].as_f64()?,
            lower: interval["lower_bound"].as_f64()?,
            upper: interval["upper_bound"].as_f64()?,
            level: interval["confidence_level"].as_f64()?,
            median: estimates["median"]["point_estimate"].as_f64()?,
        })
    }
}

/// Collects what was measured since `start` from the folder `new` of each benchmark.
fn collect(
    folder: &Path,
    start: SystemTime,
    measurements: &mut Vec<Measurement>,
) -> Result<(), Failure> {
    let unreadable =
        |error: io::Error| Failure::new(format!("{} cannot be read: {error}", folder.display()));
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unreadable(error)),
    };
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        if !path.is_dir() {
            continue;
        }
        let estimates = path.join("estimates.json");
        let fresh = || fs::metadata(&estimates)?.modified();
        if path.file_name().is_some_and(|name| name == "new") && estimates.is_file() {
            if fresh().map_err(unreadable)? >= start {
                measurements.push(measurement(&path.join("benchmark.json"), &estimates)?);
            }
        } else {
            collect(&path, start, measurements)?;
        }
    }
    Ok(())
}

fn measurement(benchmark: &Path, estimates: &Path) -> Result<Measurement, Failure> {
    let strange = || Failure::new(format!("{} is not as Criterion writes it", estimates.display()));
    let read = |path: &Path| {
        let text = fs::read_to_string(path).map_err(|_| strange())?;
        serde_json::from_str::<Value>(&text).map_err(|_| strange())
    };
    Measurement::new(&read(benchmark)?, &read(estimates)?).ok_or_else(strange)
}

fn summary(backend: &str, quick: bool, measurements: &[Measurement]) -> Value {
    let benchmarks: Vec<Value> = measurements
        .iter()
        .map(|m| {
            json!({
                "name": m.name,
                "typical": m.typical,
                "interval": [m.lower, m.upper],
                "confidence": m.level,
                "median": m.median,
            })
        })
        .collect();
    json!({ "backend": backend, "unit": "ns", "quick": quick, "benchmarks": benchmarks })
}

fn table(measurements: &[Measurement]) -> String {
    let width = measurements.iter().map(|m| m.name.chars().count()).max().unwrap_or(0).max(9);
    let mut lines = vec![format!("{:width$}  {:>10}  interval", "benchmark", "typical")];
    lines.extend(measurements.iter().map(|m| {
        format!(
            "{:width$}  {:>10}  {} to {} ({} %)",
            m.name,
            time(m.typical),
            time(m.lower),
            time(m.upper),
            100.0 * m.level
        )
    }));
    lines.join("\n")
}

/// A time with four digits and the unit that keeps it between 1 and 1000.
pub(crate) fn time(nanoseconds: f64) -> String {
    let units = [("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)];
    let (unit, scale) =
        units.into_iter().rev().find(|(_, scale)| nanoseconds >= *scale).unwrap_or(units[0]);
    let value = nanoseconds / scale;
    let decimals =
        if value < 10.0 { 3 } else { usize::from(value < 1000.0) + usize::from(value < 100.0) };
    format!("{value:.decimals$} {unit}")
}

/// Writes beside the file, then renames: whoever reads it finds a whole one.
pub(crate) fn write_whole(file: &PathBuf, text: &str) -> Result<(), Failure> {
    let beside = file.with_extension("json.new");
    fs::write(&beside, text)
        .and_then(|()| fs::rename(&beside, file))
        .map_err(|error| Failure::new(format!("{} cannot be written: {error}", file.display())))
}

/// Prints on stdout; a reader that has closed it wants no more, which is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("stdout cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn estimates(slope: Value) -> Value {
        let estimate = |at: f64| {
            json!({
                "point_estimate": at,
                "confidence_interval":
                    { "confidence_level": 0.95, "lower_bound": at - 1.0, "upper_bound": at + 2.0 },
            })
        };
        json!({ "mean": estimate(70_500.0), "median": estimate(70_000.0), "slope": slope })
    }

    #[test]
    fn the_typical_time_is_the_slope_or_else_the_mean() {
        let benchmark = json!({ "full_id": "step/kfac/256" });
        let slope = estimates(Value::Null)["median"].clone();
        let found = Measurement::new(&benchmark, &estimates(slope)).unwrap();
        assert_eq!((found.typical, found.lower, found.upper), (70_000.0, 69_999.0, 70_002.0));
        let found = Measurement::new(&benchmark, &estimates(Value::Null)).unwrap();
        assert_eq!((found.typical, found.median, found.level), (70_500.0, 70_000.0, 0.95));
        assert_eq!(Measurement::new(&benchmark, &json!({ "slope": null })), None);
    }

    #[test]
    fn only_what_this_run_measured_is_collected() {
        let folder = std::env::temp_dir().join(format!("xtask-bench-{}", std::process::id()));
        let new = folder.join("step").join("kfac").join("new");
        fs::create_dir_all(&new).unwrap();
        fs::create_dir_all(folder.join("report")).unwrap();
        fs::write(new.join("benchmark.json"), r#"{"full_id": "step/kfac"}"#).unwrap();
        fs::write(new.join("estimates.json"), estimates(Value::Null).to_string()).unwrap();
        let written = fs::metadata(new.join("estimates.json")).unwrap().modified().unwrap();

        let names_since = |start| {
            let mut found = Vec::new();
            collect(&folder, start, &mut found).unwrap();
            found.into_iter().map(|m| m.name).collect::<Vec<_>>()
        };
        assert_eq!(names_since(written), ["step/kfac"]);
        assert_eq!(names_since(written + Duration::from_secs(1)), Vec::<String>::new());

        fs::write(new.join("estimates.json"), "{}").unwrap();
        let failure = collect(&folder, written, &mut Vec::new()).unwrap_err();
        assert!(failure.message.ends_with("is not as Criterion writes it"), "{failure:?}");
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(collect(&folder, written, &mut Vec::new()), Ok(()));
    }

    #[test]
    fn times_have_four_digits_and_a_fitting_unit() {
        let shown = [0.5, 12.34, 999.4, 70_500.0, 184e6, 1.06e9, 3.6e12].map(time);
        let expected =
            ["0.500 ns", "12.34 ns", "999.4 ns", "70.50 µs", "184.0 ms", "1.060 s", "3600 s"];
        assert_eq!(shown, expected);
    }
}
