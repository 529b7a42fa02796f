//! How far each method is from the implementations whose trajectories are stored, and how far it may be.
//!
//! `cargo run --release -p layerwise-optim --example parity`
#![expect(clippy::unwrap_used, clippy::panic, reason = "files that ship with the program")]

use std::collections::BTreeMap;

#[path = "../tests/it/references/mod.rs"]
mod references;

fn main() {
    // By what a file is called without its shape: files, largest deviation, largest share of its tolerance.
    let mut kinds = BTreeMap::<String, (String, usize, f64, f64)>::new();
    for golden in references::all() {
        let kind = golden.name.rsplit_once('_').map_or(golden.name.as_str(), |(kind, _)| kind);
        let source = golden.json["source"].as_str().unwrap_or_default();
        let source =
            source.split([',', ';', ':', '(']).next().unwrap_or_default().trim().to_owned();
        let method = references::chain_of(&golden).unwrap();
        let row = kinds.entry(kind.to_owned()).or_insert((source, 0, 0.0, 0.0));
        row.1 += 1;
        for (deviation, tolerance) in golden.deviations(&method) {
            row.2 = row.2.max(deviation);
            row.3 = row.3.max(deviation / tolerance);
        }
    }
    println!(
        "{:42} {:>5} {:>10} {:>10}  reference",
        "trajectory", "files", "deviation", "tolerance"
    );
    for (kind, (source, files, deviation, share)) in kinds {
        println!("{kind:42} {files:5} {deviation:10.1e} {:>9.0} %  {source}", 100.0 * share);
    }
}
