//! The guide's files are read, and the small ones run.

use std::fs;
use std::process::{Command, Stdio};

use layerwise_experiments::experiment::{Choices, Experiment, schema};

const GUIDE: &str = include_str!("../../../../docs/experiments.md");

/// The guide's blocks of TOML.
fn blocks() -> Vec<&'static str> {
    let blocks = GUIDE.split("```toml\n").skip(1);
    blocks.map(|block| block.split_once("```").unwrap().0).collect()
}

#[test]
fn complete_files_are_read_and_valid() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    let mut complete = 0;
    for block in blocks().into_iter().filter(|block| block.starts_with("# complete file")) {
        complete += 1;
        let choices = Choices { quick: true, ..Choices::default() };
        Experiment::parse("guide", block, choices).unwrap();
        assert!(validator.is_valid(&toml::from_str(block).unwrap()));
    }
    assert!(complete >= 2);
}

#[test]
fn small_files_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut small = 0;
    for block in blocks().into_iter().filter(|block| block.starts_with("# complete file, small\n"))
    {
        small += 1;
        fs::write(folder.path().join("mine.toml"), block).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_layerwise"))
            .current_dir(folder.path())
            .args(["run", "mine.toml", "--quick", "--trials", "1", "--fresh"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for name in ["mine.svg", "mine.png", "mine.csv", "mine.json", "claims.md"] {
            assert!(
                fs::metadata(folder.path().join("mine").join(name)).unwrap().len() > 0,
                "{name}"
            );
        }
    }
    assert!(small >= 1);
}
