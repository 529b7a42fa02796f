//! Speed against peers: our examples and Python scripts in turns, and a table of both.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::backend::{Answer, Backend, CORETYPE};
use crate::bench::{PACKAGE, print, time, write_whole};
use crate::process::{Failure, output, run as run_command, say};
use crate::{python, workspace};

/// Examples of the package, and scripts of the folder `peers` that are their counterparts.
const PROGRAMS: [&str; 2] = ["kfac_step", "optimizer_step"];
/// Those of `optimizer_step` that have one thread, at 256² and 1024².
const METHODS: [&str; 15] = [
    "muon",
    "kfac_refreshing",
    "kfac_plain",
    "kfac_inverses_refreshing",
    "kfac_inverses_plain",
    "shampoo_refreshing",
    "shampoo_plain",
    "soap_refreshing",
    "soap_plain",
    "adam",
    "adamw",
    "rmsprop",
    "adagrad",
    "momentum",
    "sgd",
];
/// Those that have two threads as well, for one layer and for eight.
const THREADED: [&str; 3] = ["muon", "shampoo_plain", "kfac_plain"];
const THREADS: [usize; 2] = [1, 2];

/// Measures both sides in turns, writes the summary and prints it as a table.
pub(crate) fn run(backend: Backend, quick: bool, filter: Option<&str>) -> Result<(), Failure> {
    let (rounds, seconds) = if quick { (1, 0.1) } else { (5, 0.5) };
    let feature = backend.ensure()?;
    let (_, kernel) = Answer::under_best_kernel(|| feature.example("release"))?;
    let target = workspace::target_directory()?;
    let python = python::environment(&target.join("peers"), &folder().join("requirements.txt"))?;
    let rows = selected(rows(), filter, &python)?;

    run_command(example("build", &PROGRAMS).args(feature.cargo_flags()))?;
    let runs = runs(&rows);
    let mut records = Vec::new();
    for round in 1..=rounds {
        for run in &runs {
            let who = if run.ours { "our" } else { "the peer's" };
            let Run { program, threads, .. } = run;
            say(&format!("round {round} of {rounds}: {who} {program}, threads: {threads}"));
            let mut command = if run.ours {
                let mut command = example("run", &[program]);
                command.args(feature.cargo_flags()).arg("--");
                command.envs(kernel.as_ref().map(|kernel| (CORETYPE, kernel)));
                command
            } else {
                let mut command = Command::new(&python);
                command.arg(folder().join(format!("{program}.py")));
                command.env("PYTHONDONTWRITEBYTECODE", "1");
                command
            };
            command.args([threads.to_string(), seconds.to_string()]).args(&run.rows);
            let name = format!("{who} `{program}`");
            records.extend(printed(&mut command, &name)?.into_iter().map(|r| (run.ours, r)));
        }
    }

    let compared =
        rows.iter().map(|row| Compared::new(row, &records)).collect::<Result<Vec<_>, _>>()?;
    let file = target.join("peers-summary.json");
    let summary = summary(quick, rounds, seconds, &compared, &records);
    write_whole(&file, &format!("{summary:#}\n"))?;
    print(&format!("{}\n{}\n", table(&compared), file.display()))
}

/// Cargo on examples of the package, without a word on what needs no compilation.
fn example(subcommand: &str, names: &[&str]) -> Command {
    let mut command = workspace::cargo();
    command.arg(subcommand).args((subcommand == "run").then_some("--quiet"));
    command.args(["--release", "--package", PACKAGE]);
    command.args(names.iter().flat_map(|name| ["--example", name]));
    command
}

fn folder() -> PathBuf {
    workspace::root().join("benches").join("peers")
}

/// What is compared: a row of the examples and scripts, with our number of threads.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    name: String,
    threads: usize,
    /// The peer's numbers of threads, of which the best one counts.
    peers: &'static [usize],
}

impl Row {
    fn program(&self) -> &'static str {
        PROGRAMS[usize::from(!self.name.starts_with("kfac_step/"))]
    }
}

fn rows() -> Vec<Row> {
    let kfac = ["exact_moments", "sampled_inputs"].map(|inputs| Row {
        name: format!("kfac_step/{inputs}"),
        threads: 1,
        peers: &THREADS,
    });
    let one = |size| {
        METHODS.map(|method| Row { name: format!("{method}/{size}"), threads: 1, peers: &[1] })
    };
    let two = |size| {
        THREADED.map(|method| Row { name: format!("{method}/{size}"), threads: 2, peers: &[2] })
    };
    let mut rows = kfac.to_vec();
    rows.extend(["256", "1024"].into_iter().flat_map(one));
    rows.extend(["1024", "8x1024"].into_iter().flat_map(two));
    rows
}

/// The rows whose name the filter finds; Python has the regular expressions.
fn selected(rows: Vec<Row>, filter: Option<&str>, python: &Path) -> Result<Vec<Row>, Failure> {
    let Some(filter) = filter else { return Ok(rows) };
    let code = "import re, sys\n\
                for name in sys.argv[2:]: print(name if re.search(sys.argv[1], name) else '')";
    let mut command = Command::new(python);
    command.args(["-c", code, filter]).args(rows.iter().map(|row| &row.name));
    let found = output(&mut command, &format!("the filter `{filter}`"))?;
    let rows: Vec<Row> = rows
        .into_iter()
        .zip(found.lines())
        .filter(|(r, line)| r.name == *line)
        .map(|x| x.0)
        .collect();
    if rows.is_empty() {
        return Err(Failure::new(format!("no row matches `{filter}`: nothing was measured")));
    }
    Ok(rows)
}

/// A program that is started once a round.
#[derive(Debug, PartialEq)]
struct Run {
    ours: bool,
    program: &'static str,
    threads: usize,
    rows: Vec<String>,
}

/// What is run in a round, ours and the peer's in turns. With two threads a row of ours has a gain,
/// for which it is measured with one thread too.
fn runs(rows: &[Row]) -> Vec<Run> {
    let mut runs = Vec::new();
    for (program, threads) in PROGRAMS.into_iter().flat_map(|p| THREADS.map(|t| (p, t))) {
        for ours in [true, false] {
            let mut names: Vec<String> = Vec::new();
            for row in rows.iter().filter(|row| row.program() == program) {
                let needed = if ours {
                    threads == 1 || row.threads == threads
                } else {
                    row.peers.contains(&threads)
                };
                if needed && !names.contains(&row.name) {
                    names.push(row.name.clone());
                }
            }
            if !names.is_empty() {
                runs.push(Run { ours, program, threads, rows: names });
            }
        }
    }
    runs
}

/// A line of an example or a script: the median time of a step in seconds.
#[derive(Debug, Clone, PartialEq)]
struct Record {
    /// The backend or the peer.
    with: String,
    row: String,
    threads: usize,
    /// How a peer does it, where it has several ways.
    form: String,
    seconds: f64,
    /// The time of the calls that our step cannot do without.
    floor: Option<f64>,
}

impl Record {
    fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        let time = |key: &str| value[key].as_f64().filter(|seconds| *seconds > 0.0);
        Some(Self {
            with: text("with")?,
            row: text("row")?,
            threads: value["threads"].as_u64()?.try_into().ok()?,
            form: text("form").unwrap_or_default(),
            seconds: time("seconds")?,
            floor: time("floor"),
        })
    }
}

/// The records that a program prints.
fn printed(command: &mut Command, name: &str) -> Result<Vec<Record>, Failure> {
    let text = output(command, name)?;
    let garbage = |line| Failure::new(format!("{name} printed `{line}`, which is no measurement"));
    text.lines().map(|line| Record::parse(line).ok_or_else(|| garbage(line))).collect()
}

/// The median over the rounds; none where nothing was measured.
fn median(times: impl Iterator<Item = f64>) -> Option<f64> {
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    let middle = times.len() / 2;
    match times.len() {
        0 => None,
        n if n % 2 == 0 => Some((times[middle - 1] + times[middle]) / 2.0),
        _ => Some(times[middle]),
    }
}

/// A row with what was measured of it, in seconds.
#[derive(Debug, PartialEq)]
struct Compared {
    row: String,
    threads: usize,
    ours: f64,
    floor: Option<f64>,
    /// Our time with one thread by that with more.
    gain: Option<f64>,
    /// The peer's forms, the best one first.
    peer: Vec<Form>,
}

#[derive(Debug, PartialEq)]
struct Form {
    with: String,
    form: String,
    threads: usize,
    seconds: f64,
}

impl Compared {
    fn new(row: &Row, records: &[(bool, Record)]) -> Result<Self, Failure> {
        let of = |ours| {
            let side = records.iter().filter(move |(side, _)| *side == ours);
            side.map(|(_, record)| record).filter(|record| record.row == row.name)
        };
        let missing = |who, threads: &[usize]| {
            let (name, program) = (&row.name, row.program());
            let threads = threads.iter().map(usize::to_string).collect::<Vec<_>>().join(" or ");
            let what = format!("{who} `{program}` printed no row `{name}`");
            Failure::new(format!("{what} for threads: {threads}"))
        };
        let ours = |threads| {
            median(of(true).filter(|r| r.threads == threads).map(|r| r.seconds))
                .ok_or_else(|| missing("our", &[threads]))
        };
        let time = ours(row.threads)?;
        let floor = median(of(true).filter(|r| r.threads == row.threads).filter_map(|r| r.floor));
        let gain = if row.threads > 1 { Some(ours(1)? / time) } else { None };

        let theirs = || of(false).filter(|record| row.peers.contains(&record.threads));
        let keys: BTreeSet<_> = theirs().map(|r| (&r.with, &r.form, r.threads)).collect();
        let mut peer = Vec::new();
        for (with, form, threads) in keys {
            let same = |r: &&Record| (&r.with, &r.form, r.threads) == (with, form, threads);
            let Some(seconds) = median(theirs().filter(same).map(|r| r.seconds)) else { continue };
            peer.push(Form { with: with.clone(), form: form.clone(), threads, seconds });
        }
        peer.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        if peer.is_empty() {
            return Err(missing("the peer's", row.peers));
        }
        Ok(Self { row: row.name.clone(), threads: row.threads, ours: time, floor, gain, peer })
    }

    fn ratio(&self) -> f64 {
        self.peer[0].seconds / self.ours
    }
}

fn summary(
    quick: bool,
    rounds: usize,
    seconds: f64,
    compared: &[Compared],
    records: &[(bool, Record)],
) -> Value {
    let with = |ours| {
        let side = records.iter().filter(move |(side, _)| *side == ours);
        side.map(|(_, record)| record.with.clone()).collect::<BTreeSet<_>>()
    };
    let form = |form: &Form| {
        let Form { with, form, threads, seconds } = form;
        json!({ "with": with, "form": form, "threads": threads, "seconds": seconds })
    };
    let row = |row: &Compared| {
        json!({
            "row": row.row,
            "threads": row.threads,
            "ours": row.ours,
            "peer": row.peer[0].seconds,
            "ratio": row.ratio(),
            "floor": row.floor,
            "gain": row.gain,
            "peer_forms": row.peer.iter().map(form).collect::<Vec<_>>(),
        })
    };
    json!({
        "unit": "s",
        "quick": quick,
        "backend": with(true),
        "peers": with(false),
        "threads": THREADS,
        "rounds": rounds,
        "seconds_per_row_and_round": seconds,
        "rows": compared.iter().map(row).collect::<Vec<_>>(),
    })
}

fn table(compared: &[Compared]) -> String {
    let shown = |seconds: f64| time(1e9 * seconds);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    let heads = ["row", "threads", "layerwise", "peer", "ratio", "floor", "of floor", "gain"];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    lines[0].push("peer's best form".to_owned());
    lines.extend(compared.iter().map(|row| {
        let best = &row.peer[0];
        vec![
            row.row.clone(),
            row.threads.to_string(),
            shown(row.ours),
            shown(best.seconds),
            format!("{:.2}", row.ratio()),
            or_dash(row.floor.map(shown)),
            or_dash(row.floor.map(|floor| format!("{:.2}", row.ours / floor))),
            or_dash(row.gain.map(|gain| format!("{gain:.2}"))),
            format!("{}, {}", best.with, best.form),
        ]
    }));
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..=heads.len()).map(width).collect();
    let aligned = lines.iter().map(|line| {
        let mut cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:>width$}")).collect();
        cells[0] = format!("{:<1$}", line[0], widths[0]);
        cells[heads.len()].clone_from(&line[heads.len()]);
        cells.join("  ")
    });
    aligned.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(row: &str, threads: usize, form: &str, seconds: f64) -> Record {
        let (with, row, form) = ("P 1".to_owned(), row.to_owned(), form.to_owned());
        Record { with, row, threads, form, seconds, floor: None }
    }

    fn row(name: &str, threads: usize, peers: &'static [usize]) -> Row {
        Row { name: name.to_owned(), threads, peers }
    }

    #[test]
    fn a_line_is_a_measurement_or_garbage() {
        let line = r#"{"with": "P 1", "row": "muon/256", "threads": 2, "form": "fused",
                       "seconds": 0.005, "smallest": 0.004, "steps": 9}"#;
        assert_eq!(Record::parse(line), Some(record("muon/256", 2, "fused", 0.005)));
        let ours = r#"{"with":"P 1","row":"muon/256","threads":1,"seconds":2.0,"floor":1.5}"#;
        let expected = Record { floor: Some(1.5), ..record("muon/256", 1, "", 2.0) };
        assert_eq!(Record::parse(ours), Some(expected));
        let without_floor = ours.replace("1.5", "null");
        assert_eq!(Record::parse(&without_floor).and_then(|r| r.floor), None);
        for garbage in
            ["", "median 3 ms", "[]", &ours.replace("2.0", "0"), &ours.replace("row", "x")]
        {
            assert_eq!(Record::parse(garbage), None, "{garbage}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_side_that_fails_or_prints_garbage_is_told_in_one_line() {
        let told = |script| {
            let failure = printed(Command::new("sh").args(["-c", script]), "it").unwrap_err();
            (failure.message, failure.status)
        };
        let garbage = "it printed `hello`, which is no measurement";
        assert_eq!(told("echo hello"), (garbage.to_owned(), 1));
        let failed = "it failed: No module named 'torch'";
        let script = "echo Traceback >&2; echo \"No module named 'torch'\" >&2; exit 3";
        assert_eq!(told(script), (failed.to_owned(), 3));
        assert_eq!(told("exit 1").0, "it failed: it does not say why");
    }

    #[test]
    fn sides_take_turns_and_gains_need_one_thread() {
        let rows = [
            row("kfac_step/x", 1, &[1, 2]),
            row("muon/1024", 1, &[1]),
            row("muon/1024", 2, &[2]),
            row("muon/8x1024", 2, &[2]),
        ];
        let shown: Vec<_> = runs(&rows)
            .into_iter()
            .map(|r| (r.ours, r.program, r.threads, r.rows.join(" ")))
            .collect();
        let expected = [
            (true, "kfac_step", 1, "kfac_step/x"),
            (false, "kfac_step", 1, "kfac_step/x"),
            (false, "kfac_step", 2, "kfac_step/x"),
            (true, "optimizer_step", 1, "muon/1024 muon/8x1024"),
            (false, "optimizer_step", 1, "muon/1024"),
            (true, "optimizer_step", 2, "muon/1024 muon/8x1024"),
            (false, "optimizer_step", 2, "muon/1024 muon/8x1024"),
        ];
        assert_eq!(shown, expected.map(|(ours, p, t, rows)| (ours, p, t, rows.to_owned())));
    }

    #[test]
    fn no_row_stands_twice_with_the_same_threads() {
        let rows = rows();
        let distinct: BTreeSet<_> = rows.iter().map(|row| (&row.name, row.threads)).collect();
        assert_eq!(distinct.len(), rows.len());
        assert_eq!(rows.len(), 2 + 2 * METHODS.len() + 2 * THREADED.len());
    }

    #[test]
    fn a_row_has_medians_over_rounds_and_the_peers_best_form() {
        let ours = |threads, seconds| {
            let floor = Some(seconds / 2.0);
            (true, Record { floor, ..record("muon/1024", threads, "", seconds) })
        };
        let peer = |threads, form, seconds| (false, record("muon/1024", threads, form, seconds));
        let mut records = vec![ours(1, 6.0), ours(1, 9.0), ours(1, 8.0), ours(2, 4.0)];
        // The loop has the fastest round, fused the smaller median.
        records.extend([1.0, 20.0, 20.0].map(|seconds| peer(1, "loop", seconds)));
        records.extend([12.0, 10.0, 14.0].map(|seconds| peer(1, "fused", seconds)));
        records.push(peer(2, "fused", 7.0));
        records.push((false, record("muon/256", 1, "fused", 0.1)));

        let one = Compared::new(&row("muon/1024", 1, &[1]), &records).unwrap();
        assert_eq!((one.ours, one.floor, one.gain), (8.0, Some(4.0), None));
        assert_eq!((one.peer[0].form.as_str(), one.peer[0].seconds), ("fused", 12.0));
        assert_eq!((one.peer.len(), one.ratio()), (2, 1.5));
        let two = Compared::new(&row("muon/1024", 2, &[2]), &records).unwrap();
        assert_eq!((two.ours, two.gain, two.ratio()), (4.0, Some(2.0), 1.75));
        let best = Compared::new(&row("muon/1024", 1, &[1, 2]), &records).unwrap();
        assert_eq!((best.peer[0].threads, best.peer[0].seconds), (2, 7.0));

        let missing = |row: &Row, records: &[_]| Compared::new(row, records).unwrap_err().message;
        assert_eq!(
            missing(&row("muon/1024", 1, &[1, 2]), &records[..4]),
            "the peer's `optimizer_step` printed no row `muon/1024` for threads: 1 or 2"
        );
        assert_eq!(
            missing(&row("muon/1024", 2, &[2]), &records[3..]),
            "our `optimizer_step` printed no row `muon/1024` for threads: 1"
        );
    }

    #[test]
    fn the_median_of_an_even_number_is_in_the_middle() {
        assert_eq!(median([4.0, 1.0, 2.0, 9.0].into_iter()), Some(3.0));
        assert_eq!(median(std::iter::empty()), None);
    }

    #[test]
    fn the_table_and_the_summary_have_the_same_numbers() {
        let form = |threads, seconds| Form {
            with: "P 1".to_owned(),
            form: "fused".to_owned(),
            threads,
            seconds,
        };
        let compared = [
            Compared {
                row: "muon/1024".to_owned(),
                threads: 2,
                ours: 0.2,
                floor: Some(0.16),
                gain: Some(1.9),
                peer: vec![form(2, 0.25), form(1, 0.5)],
            },
            Compared {
                row: "sgd/256".to_owned(),
                threads: 1,
                ours: 4e-5,
                floor: None,
                gain: None,
                peer: vec![form(1, 2e-5)],
            },
        ];
        let expected = "\
row        threads  layerwise      peer  ratio     floor  of floor  gain  peer's best form
muon/1024        2   200.0 ms  250.0 ms   1.25  160.0 ms      1.25  1.90  P 1, fused
sgd/256          1   40.00 µs  20.00 µs   0.50         –         –     –  P 1, fused";
        assert_eq!(table(&compared), expected);

        let records = [(true, record("sgd/256", 1, "", 4e-5)), (false, record("x", 1, "", 1.0))];
        let summary = summary(true, 3, 0.5, &compared, &records);
        assert_eq!((&summary["backend"], &summary["rounds"]), (&json!(["P 1"]), &json!(3)));
        let first = &summary["rows"][0];
        assert_eq!(
            (&first["ours"], &first["peer"], &first["ratio"]),
            (&json!(0.2), &json!(0.25), &json!(1.25))
        );
        assert_eq!(
            (&first["floor"], &first["peer_forms"][1]["threads"]),
            (&json!(0.16), &json!(1))
        );
        assert_eq!(summary["rows"][1]["floor"], Value::Null);
    }
}
