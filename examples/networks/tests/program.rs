//! The program's arguments and output.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use networks::arguments::{Arguments, Choice, parse};

fn arguments(line: &str) -> Result<Arguments, String> {
    parse(line.split_whitespace().map(str::to_owned)).map_err(|error| error.to_string())
}

#[test]
fn arguments_are_names_and_options() {
    let all = Arguments { networks: Choice::ALL.into(), quick: false, output: PathBuf::from(".") };
    assert_eq!(arguments("").unwrap(), all);
    let some = Arguments {
        networks: vec![Choice::Transformer, Choice::Dense],
        quick: true,
        output: PathBuf::from("here"),
    };
    assert_eq!(arguments("transformer --quick dense --output here dense").unwrap(), some);
    for unknown in ["dens", "--fast", "Dense"] {
        let error = arguments(unknown).unwrap_err();
        assert!(error.contains(unknown) && error.contains("usage"), "{error}");
        for choice in Choice::ALL {
            assert!(error.contains(choice.name()), "{error}");
        }
    }
    assert!(arguments("--output").unwrap_err().contains("folder"));
}

#[test]
fn whoever_stops_reading_gets_no_panic() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_networks"))
        .args(["dense", "--quick", "--output", env!("CARGO_TARGET_TMPDIR")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(program.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("Dense network"), "{line}");
    // The pipe is closed now.
    let end = program.wait_with_output().unwrap();
    assert!(end.status.success(), "{}", String::from_utf8_lossy(&end.stderr));
    assert_eq!(String::from_utf8_lossy(&end.stderr), "");
}

#[test]
fn an_unknown_network_is_an_error_on_the_other_stream() {
    let end = Command::new(env!("CARGO_BIN_EXE_networks")).arg("recurrent").output().unwrap();
    assert!(!end.status.success() && end.stdout.is_empty());
    assert!(String::from_utf8_lossy(&end.stderr).contains("\"recurrent\" is neither"));
}
