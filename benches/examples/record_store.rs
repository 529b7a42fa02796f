//! Times of the record store, beside those of a file for each record.
//!
//! ```text
//! cargo run --release -p layerwise-benches --example record_store -- FOLDER [RECORDS] [BYTES]
//! ```
//!
//! Makes FOLDER, fills it with records of about BYTES bytes, and removes it.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use layerwise_experiments::store::{Numbers, Outcome, Record, Store};

type Outcomes<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcomes<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default: u64| {
        arguments.get(place).map_or(Ok(default), |text| text.parse::<u64>())
    };
    let folder = Path::new(arguments.first().ok_or("name a folder")?);
    let (records, bytes) = (number(1, 100_000)?, number(2, 4096)?);
    if let Some(first) = arguments.get(3) {
        // A process of its own, for the case of two.
        put(folder, first.parse()?, records, bytes)?;
        return Ok(());
    }
    fs::create_dir(folder)?;
    let measured = measure(folder, records, bytes);
    fs::remove_dir_all(folder)?;
    measured
}

fn measure(folder: &Path, records: u64, bytes: u64) -> Outcomes<()> {
    let store = folder.join("store");
    say("store: put", put(&store, 0, records, bytes)?);
    println!("store: files {}", count(&store)?);
    let start = Instant::now();
    let opened = Store::open_existing(&store)?;
    println!("store: open {:?}, {} records", start.elapsed(), opened.len());
    // In the order of keys, which is any order of places.
    let mut times = Vec::new();
    for key in opened.keys() {
        let start = Instant::now();
        opened.get(&key)?.ok_or("a record is missing")?;
        times.push(start.elapsed());
    }
    say("store: get", times);
    drop(opened);

    let shared = folder.join("shared");
    let start = Instant::now();
    let mut children = Vec::new();
    for child in 0..2 {
        let half = records / 2;
        children.push(
            Command::new(std::env::current_exe()?)
                .arg(&shared)
                .args([half, bytes, child * half].map(|number| number.to_string()))
                .spawn()?,
        );
    }
    for mut child in children {
        child.wait()?;
    }
    let (time, found) = (start.elapsed(), Store::open_existing(&shared)?.len());
    println!("store: put by two processes {time:?}, {found} records, files {}", count(&shared)?);

    for (name, synced, records) in
        [("files", false, records), ("files synced", true, records.min(2000))]
    {
        let files = folder.join(name);
        fs::create_dir(&files)?;
        say(&format!("{name}: put"), put_files(&files, records, bytes, synced)?);
        let start = Instant::now();
        let listed = fs::read_dir(&files)?.count();
        println!("{name}: list {:?}, files {listed}", start.elapsed());
        fs::remove_dir_all(&files)?;
    }
    for every in [1, 16, 64, 256] {
        let mut file = File::create(folder.join("appended"))?;
        let mut times = Vec::new();
        for put in 0..every * 20 {
            let start = Instant::now();
            file.write_all(&vec![1; usize::try_from(bytes)?])?;
            if put % every == every - 1 {
                file.sync_data()?;
            }
            times.push(start.elapsed());
        }
        say(&format!("append, synced every {every}"), times);
    }
    Ok(())
}

fn put(store: &Path, first: u64, records: u64, bytes: u64) -> Outcomes<Vec<Duration>> {
    let store = Store::open(store)?;
    let mut times = Vec::new();
    for trial in first..first + records {
        let record = record(trial, bytes);
        let start = Instant::now();
        store.put(&record)?;
        times.push(start.elapsed());
    }
    let start = Instant::now();
    store.flush()?;
    times.push(start.elapsed());
    Ok(times)
}

fn put_files(folder: &Path, records: u64, bytes: u64, synced: bool) -> Outcomes<Vec<Duration>> {
    let mut times = Vec::new();
    for trial in 0..records {
        let record = record(trial, bytes);
        let start = Instant::now();
        let content = serde_json::to_vec(&(&record.outcome.trial, &record.outcome.cells))?;
        let (beside, place) =
            (folder.join(format!(".{trial}.tmp")), folder.join(record.key().to_string()));
        let mut file = File::create(&beside)?;
        file.write_all(&content)?;
        if synced {
            file.sync_data()?;
        }
        fs::rename(beside, place)?;
        times.push(start.elapsed());
    }
    Ok(times)
}

fn record(trial: u64, bytes: u64) -> Record {
    let numbers = bytes.saturating_sub(400) / 8;
    let curve = (0..numbers).map(|step| (trial * numbers + step) as f64).collect();
    Record {
        code: "benchmark".into(),
        identity: format!(
            r#"{{"backend":"none","model":"bench","seed":1,"trial":{trial},"version":1}}"#
        ),
        outcome: Outcome {
            trial: Numbers::from([("condition".into(), vec![1.0])]),
            cells: vec![Numbers::from([("loss".into(), curve)])],
        },
    }
}

fn count(folder: &Path) -> Outcomes<usize> {
    let mut files = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        files += if path.is_dir() { 1 + count(&path)? } else { 1 };
    }
    Ok(files)
}

fn say(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let total: Duration = times.iter().sum();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!(
        "{what}: {} in {total:?}, mean {:?}, median {:?}, 99 % {:?}, longest {:?}",
        times.len(),
        total / u32::try_from(times.len()).unwrap_or(u32::MAX),
        at(0.5),
        at(0.99),
        at(1.0),
    );
}
