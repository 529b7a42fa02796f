//! What can be wrong in an experiment's file: each mistake is one line with file and line, and nothing is
//! run or written.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A small experiment; mistakes are made in it.
const LINEAR: &str = r#"title = "Two methods"
caption = "Medians."
model = "linear"
trials = { shown = 2, tuning = 1 }
tune_by = "excess_training_loss"
[task]
inputs = 6
outputs = 4
rank = 2
noise = 0.1
head_condition = 2
samples = 16
iterations = 5
[[setting]]
name = "plain"
sweep = { "spectrum.log_spaced.condition" = [1, 10] }
[setting.task]
spectrum = { log_spaced = { condition = 3 } }
[[method]]
name = "SGD"
tune = { learning_rate = { log10 = [-2, 0], points = 3 } }
use = { optimizer = { Sgd = {} } }
[[method]]
name = "KFAC"
sweep = { damping = [1e-3, 1e-2] }
[method.use.optimizer.Kfac]
learning_rate = 0.1
output = "Identity"
averaging = "None"
[[panel]]
x = "iteration"
y = "subspace_distance"
[table]
rows = "all"
columns = ["method", "subspace_distance"]
[[claim]]
id = "a"
text = "SGD ends near"
value = { method = "SGD", end = "subspace_distance", at = { condition = "last" } }
at_most = 0.5
"#;

/// The same on the other model.
const SINGLE: &str = r#"title = "One step"
caption = "Means."
model = "single-index"
trials = { shown = 2 }
[task]
inputs = 6
teacher = "tanh"
noise = 0.1
samples = 24
spectrum = { two_level = { epsilon = 0.5 } }
[[setting]]
name = "plain"
[[method]]
name = "SGD"
use = { optimizer = { Sgd = {} } }
[[panel]]
x = "iteration"
y = "alignment"
"#;

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_layerwise"))
        .current_dir(folder)
        .arg("run")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The line that a command is refused with, without `error: `.
fn refused(folder: &Path, arguments: &[&str], status: i32) -> String {
    let count = || fs::read_dir(folder).unwrap().count();
    let before = count();
    let output = run(folder, arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {text}");
    assert!(output.stdout.is_empty());
    assert_eq!(count(), before, "something was written: {text}");
    let line = text.strip_prefix("error: ").and_then(|line| line.strip_suffix('\n'));
    let line = line.unwrap_or_else(|| panic!("{text:?}"));
    assert!(!line.contains('\n') && !line.contains("panicked"), "{text}");
    line.to_string()
}

/// A mistake: what is replaced by what, at which text the line begins that is named, and what is said.
type Mistake = (&'static str, &'static str, &'static str, &'static str);

fn check(file: &str, mistakes: &[Mistake]) {
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for (from, to, at, says) in mistakes {
        assert!(file.contains(from), "{from}");
        let text = file.replacen(from, to, 1);
        let line =
            1 + text[..text.find(at).unwrap_or_else(|| panic!("{at}"))].matches('\n').count();
        fs::write(folder.path().join("mine.toml"), text).unwrap();
        let message = refused(folder.path(), &["mine.toml"], 2);
        if !(message.starts_with(&format!("mine.toml:{line}: ")) && message.contains(says)) {
            wrong.push(format!("{to:?}, line {line}, {says:?}: {message}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_files_without_mistakes_are_read() {
    let folder = tempfile::tempdir().unwrap();
    for text in [LINEAR, SINGLE] {
        fs::write(folder.path().join("mine.toml"), text).unwrap();
        let output = run(folder.path(), &["mine.toml", "--dry-run"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[test]
fn unknown_keys_name_the_nearest_one() {
    check(
        LINEAR,
        &[
            ("caption =", "captoin =", "captoin", "did you mean 'caption'?"),
            ("shown = 2", "shwon = 2", "trials", "did you mean 'shown'?"),
            ("samples = 16", "smaples = 16", "smaples", "did you mean 'samples'?"),
            ("name = \"plain\"", "nmae = \"plain\"", "nmae", "did you mean 'name'?"),
            (
                "sweep = { \"spectrum.log_spaced.condition\" = [1, 10] }\n[setting.task]\nspectrum = { log_spaced = { condition = 3 } }",
                "[setting.task]\nspektrum = { log_spaced = { condition = 3 } }",
                "spektrum",
                "did you mean 'spectrum'?",
            ),
            (
                "sweep = { \"spectrum.log_spaced.condition\" = [1, 10] }\n[setting.task]\nspectrum = { log_spaced = { condition = 3 } }",
                "[setting.task]\nspectrum = { log_spased = { condition = 3 } }",
                "spectrum = ",
                "did you mean 'log_spaced'?",
            ),
            (
                "sweep = { \"spectrum.log_spaced.condition\" = [1, 10] }\n[setting.task]\nspectrum = { log_spaced = { condition = 3 } }",
                "[setting.task]\nspectrum = { log_spaced = { conditoin = 3 } }",
                "spectrum = ",
                "did you mean 'condition'?",
            ),
            ("tune = {", "tone = {", "tone", "did you mean 'tune'?"),
            ("{ Sgd = {} }", "{ Sdg = {} }", "use = ", "did you mean 'Sgd'?"),
            ("{ optimizer = {", "{ optimiser = {", "use = ", "did you mean 'optimizer'?"),
            ("Sgd = {}", "Sgd = { momentun = 0 }", "use = ", "did you mean 'momentum'?"),
            ("averaging =", "avaraging =", "avaraging", "did you mean 'averaging'?"),
            ("averaging = \"None\"", "averaging = \"Nine\"", "averaging", "did you mean 'None'?"),
            ("learning_rate = {", "lerning_rate = {", "tune = ", "did you mean 'learning_rate'?"),
            ("points = 3", "pionts = 3", "tune = ", "did you mean 'points'?"),
            (
                "sweep = { \"spectrum",
                "sweep = { sampels = [1], \"spectrum",
                "sweep = ",
                "did you mean 'samples'?",
            ),
            ("y = \"sub", "z = \"sub", "z = ", "unknown key 'z'"),
            ("rows = \"all\"", "rows = \"al\"", "rows", "did you mean 'all'?"),
            ("at_most", "at_mots", "at_mots", "did you mean 'at_most'?"),
            ("end = \"", "ends = \"", "value = ", "did you mean 'end'?"),
            ("model = \"linear\"", "model = \"liner\"", "model", "did you mean 'linear'?"),
            ("columns = [\"method\"", "columns = [\"metod\"", "columns", "did you mean 'method'?"),
        ],
    );
}

#[test]
fn wrong_types_and_missing_keys_are_refused() {
    check(
        LINEAR,
        &[
            (
                "samples = 16",
                "samples = 1.5",
                "samples",
                "takes a whole number of at least 0, not 1.5",
            ),
            ("samples = 16", "samples = \"16\"", "samples", "not the text \"16\""),
            ("samples = 16", "samples = -1", "samples", "not -1"),
            ("noise = 0.1", "noise = [0.1]", "noise", "takes a number, not a list"),
            ("noise = 0.1", "noise = nan", "noise", "no finite number"),
            ("noise = 0.1", "noise = 2020-01-01", "noise", "dates"),
            ("trials = { shown = 2, tuning = 1 }", "trials = [2, 1]", "trials", "takes a table"),
            ("tuning = 1 }", "tuning = 1.5 }", "trials", "takes a whole number"),
            (
                "learning_rate = 0.1",
                "learning_rate = true",
                "learning_rate = true",
                "takes a number, or a schedule",
            ),
            ("averaging = \"None\"", "averaging = 3", "averaging", "takes a name"),
            ("x = \"iteration\"\n", "", "[[panel]]", "the key x is missing"),
            ("rank = 2\n", "", "[[setting]]", "the key rank is missing"),
            ("use = { optimizer = { Sgd = {} } }\n", "", "[[method]]", "the key use is missing"),
            ("title = \"Two methods\"\n", "", "caption", "the key title is missing"),
            (
                "\"method\", \"sub",
                "{ header = \"m\" }, \"sub",
                "columns",
                "takes a name, or a table",
            ),
        ],
    );
}

#[test]
fn values_out_of_range_are_refused() {
    check(
        LINEAR,
        &[
            ("rank = 2", "rank = 7", "rank", "at most inputs = 6 and outputs = 4"),
            ("samples = 16", "samples = 0", "samples", "choose 1 to"),
            ("inputs = 6", "inputs = 0", "inputs", "choose 1 to"),
            ("iterations = 5", "iterations = 99999999999", "iterations", "choose 1 to"),
            ("condition\" = [1, 10]", "condition\" = [0.5]", "sweep", "at least 1"),
            ("head_condition = 2", "head_condition = 0.5", "head_condition", "at least 1"),
            ("noise = 0.1", "noise = -1", "noise", "noise"),
            ("shown = 2", "shown = 0", "trials", "choose 1 to"),
            ("shown = 2", "shown = 99999999", "trials", "choose 1 to"),
            ("tuning = 1 }", "tuning = 0 }", "trials", "at least 1"),
            ("tuning = 1 }", "tuning = 1, quick_tuning = 99999999 }", "trials", "at most"),
            ("log10 = [-2, 0]", "log10 = [0, -2]", "tune = ", "lower end first"),
            ("points = 3", "points = 6, quick_points = 4", "tune = ", "multiple"),
            ("points = 3", "points = 100000000", "tune = ", "from 2 to 10000"),
            ("damping = [1e-3, 1e-2]", "damping = []", "sweep = { damping", "1 to 10000"),
            ("damping = [1e-3, 1e-2]", "damping = [1, 1]", "sweep = { damping", "twice"),
            ("damping = [1e-3, 1e-2]", "damping = [-1]", "sweep = { damping", "damping"),
            ("{ log10 = [-2, 0], points = 3 }", "[-1]", "tune = ", "learning_rate"),
            ("tune_by = \"ex", "tune_by = \"el", "tune_by", "unknown measure"),
            ("model = ", "figure = 0\nmodel = ", "figure", "1 to 99"),
            ("model = ", "picture = { columns = 9 }\nmodel = ", "picture", "1 to 6"),
            ("model = ", "seed = 18446744073709551616\nmodel = ", "seed", "too large"),
            (
                "averaging = \"None\"",
                "root = \"Cholesky\"\nexponent = 0.5",
                "exponent",
                "unknown key 'exponent'",
            ),
            ("Sgd = {}", "OneSidedKfac = { exponent = -1 }", "use = ", "exponent"),
        ],
    );
    check(
        SINGLE,
        &[
            ("epsilon = 0.5", "epsilon = 1", "spectrum", "[0, 1)"),
            ("samples = 24", "samples_per_input = 0", "samples_per_input", "> 0"),
            (
                "samples = 24",
                "samples = 24\nsamples_per_input = 4",
                "[[setting]]",
                "one of samples",
            ),
            ("Sgd = {}", "Kfac = { output = \"Signal\" }", "use = ", "output"),
            ("Sgd = {}", "Sgd = { learning_rate = -1 }", "use = ", "learning_rate"),
            ("{ optimizer = { Sgd = {} } }", "{ amgd = {} }", "use = ", "unknown name 'amgd'"),
        ],
    );
}

#[test]
fn what_is_named_has_to_be_there() {
    check(
        LINEAR,
        &[
            ("y = \"sub", "y = \"sup", "y = \"sup", "did you mean 'subspace_distance'?"),
            ("x = \"iteration\"", "x = \"epsilon\"", "x = ", "unknown axis 'epsilon'"),
            (
                "x = \"iteration\"",
                "x = \"iteration\"\nsetting = \"plane\"",
                "setting = ",
                "did you mean 'plain'?",
            ),
            (
                "x = \"iteration\"",
                "x = \"iteration\"\nmethods = [\"SDG\"]",
                "methods = ",
                "did you mean 'SGD'?",
            ),
            ("at_most = 0.5", "", "[[claim]]", "one of at_most and at_least"),
            (
                "at_most = 0.5",
                "at_most = 0.5\nthreshold_set = { on = \"2026-13-01\", known = \"nothing\" }",
                "threshold_set = ",
                "choose a date",
            ),
            (
                "at_most = 0.5",
                "at_most = 0.5\nthreshold_set = { on = \"2026-11-24T07:00:00\", known = \"nothing\" }",
                "threshold_set = ",
                "choose a date",
            ),
            (
                "at_most = 0.5",
                "at_most = 0.5\nthreshold_set = { on = \"2026-11-24\", known = \"\" }",
                "threshold_set = ",
                "say what was known",
            ),
            (
                "at_most = 0.5",
                "at_most = 1\nat_least = 1",
                "[[claim]]",
                "one of at_most and at_least",
            ),
            (
                "value = { method = \"SGD\",",
                "value = { method = \"SDG\",",
                "value",
                "did you mean 'SGD'?",
            ),
            ("value = { method = \"SGD\", end", "value = { end", "value", "give method"),
            (
                "value = { method = \"SGD\", end = \"subspace_distance\", at = { condition = \"last\" } }\n",
                "",
                "[[claim]]",
                "one of value",
            ),
            (
                "at_most = 0.5",
                "at_most = 1\nwhose = { paper_for = [\"SDG\"] }",
                "whose",
                "did you mean 'SGD'?",
            ),
            (
                "end = \"subspace_distance\", at",
                "decades = \"subspace_distance\", at",
                "value",
                "needs a level",
            ),
            (
                "at = { condition = \"last\" }",
                "at = { condition = 7 }",
                "value",
                "condition = 7 is not among its values; choose \"first\", \"last\" or one of 1, 10",
            ),
            (", at = { condition = \"last\" }", "", "value", "condition is varied: say where"),
            (
                "end = \"subspace_distance\"",
                "end = \"excess_transfer_loss\"",
                "value",
                "is not measured on 'plain': give its task transfer",
            ),
            ("x = \"iteration\"", "theory = true\nx = \"iteration\"", "theory", "has no theory"),
            (
                "{ optimizer = { Sgd = {} } }",
                "{ layers = { representation = { Ekfac = {} }, head = { Sgd = {} } } }",
                "use",
                "needs the samples",
            ),
            ("[1, 10] }", "[1, 1e16] }", "sweep", "κ(Σ) = 1.000e16: choose at most 1e12"),
            (
                "x = \"iteration\"\ny = \"subspace_distance\"",
                "x = \"rate\"\ny = \"damping\"\nmap = \"subspace_distance\"\nmethods = [\"KFAC\"]",
                "map = ",
                "needs [picture.colour_bar]",
            ),
            (
                "name = \"KFAC\"",
                "name = \"SGD\"",
                "name = \"SGD\"\nsweep",
                "two methods are named 'SGD'",
            ),
            ("name = \"plain\"", "name = \"\"", "name = \"\"", "1 to 200 characters"),
            (
                "sweep = { \"spectrum.log_spaced.condition\" = [1, 10] }",
                "methods = [\"SDG\"]",
                "methods = ",
                "did you mean 'SGD'?",
            ),
        ],
    );
}

#[test]
fn what_is_varied_is_varied_once() {
    check(
        LINEAR,
        &[
            (
                "sweep = { damping = [",
                "tune = { damping = [1] }\nsweep = { damping = [",
                "tune = { damping",
                "vary the same thing",
            ),
            (
                "sweep = { damping = [",
                "sweep = { \"damping.Relative\" = [1], damping = [",
                "sweep = { \"damping",
                "vary the same thing",
            ),
            (
                "sweep = { damping = [",
                "sweep = { \"a..b\" = [1], damping = [",
                "sweep = { \"a..b",
                "no path",
            ),
            (
                "sweep = { \"spectrum",
                "sweep = { spectrum = [\"isotropic\"], \"spectrum",
                "sweep = { spec",
                "vary the same thing",
            ),
            (
                "sweep = { damping = [",
                "sweep = { \"a.b.c\" = [1], damping = [",
                "sweep = { \"a",
                "there is no 'a'",
            ),
            (
                "sweep = { damping = [1e-3, 1e-2] }",
                "sweep = { damping = { linear = [0, 1], points = 1000 }, learning_rate = { linear = [0, 1], points = 1000 } }",
                "[[method]]\nname = \"KFAC\"",
                "more than 100000 combinations",
            ),
            (
                "sweep = { damping = [1e-3, 1e-2] }",
                "sweep = { damping = { linear = [0, 1], points = 1000 }, learning_rate = { linear = [0.1, 1], points = 80 } }",
                "sweep",
                "more than 100000 combinations",
            ),
        ],
    );
}

#[test]
fn texts_that_break_pages_are_refused() {
    check(
        LINEAR,
        &[
            ("Two methods", "<script>alert(1)</script>", "title", "looks like HTML"),
            ("Two methods", "Two\\nlines", "title", "line break"),
            (
                "title = \"Two methods\"",
                "title = \"\"\"\nTwo\nmethods\"\"\"",
                "title",
                "line break",
            ),
            ("Two methods", "\\u001b[31m", "title", "control character"),
            ("title = \"Two methods\"", "title = \"\"", "title", "say in one line"),
            ("id = \"a\"", "id = \"a\\u0007\"", "id", "control character"),
            ("text = \"SGD", "text = \"<img src=x> SGD", "text", "looks like HTML"),
        ],
    );
    let folder = tempfile::tempdir().unwrap();
    let text = LINEAR.replace("Two methods", &"x".repeat(10_000));
    fs::write(folder.path().join("mine.toml"), text).unwrap();
    let line = refused(folder.path(), &["mine.toml"], 2);
    assert_eq!(line, "mine.toml:1: title: 10000 characters; choose at most 200");
}

#[test]
fn what_is_no_file_of_an_experiment_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("large.toml"), "#".repeat(10 << 20)).unwrap();
    fs::write(at("binary.toml"), [0xFF, 0xFE, 0, 1]).unwrap();
    fs::write(at("zeros.toml"), [0; 64]).unwrap();
    fs::write(at("empty.toml"), "").unwrap();
    fs::write(at("deep.toml"), format!("a = {}", "[".repeat(100_000))).unwrap();
    fs::write(at("broken.toml"), "title = \"a\"\nmodel = = 3").unwrap();
    fs::write(at("twice.toml"), "title = \"a\"\ntitle = \"b\"").unwrap();
    fs::create_dir(at("folder")).unwrap();
    for (name, status, says) in [
        ("large.toml", 2, "large.toml:1: holds 10485760 bytes; an experiment has at most 1048576"),
        ("binary.toml", 2, "binary.toml:1: is no text"),
        ("zeros.toml", 2, "zeros.toml:1: is no TOML"),
        ("empty.toml", 2, "empty.toml:1: the key title is missing"),
        ("deep.toml", 2, "deep.toml:1: is no TOML"),
        ("broken.toml", 2, "broken.toml:2: is no TOML"),
        ("twice.toml", 2, "twice.toml:2: is no TOML"),
        ("missing.toml", 1, "missing.toml"),
        ("folder", 1, "folder"),
        ("folder/mine.toml", 1, "folder/mine.toml"),
        ("figure22", 2, "did you mean 'figure2'?"),
        ("", 2, "is no file"),
    ] {
        let line = refused(folder.path(), &[name], status);
        assert!(line.contains(says), "{name}: {line}");
    }
}

#[test]
fn arguments_are_refused_before_the_file_is_run() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.toml"), LINEAR).unwrap();
    for (arguments, says) in [
        (["--shard", "5/4"], "1 ≤ I ≤ N"),
        (["--shard", "0/4"], "1 ≤ I ≤ N"),
        (["--shard", "x"], "1 ≤ I ≤ N"),
        (["--trials", "0"], "from 1 to 10000000"),
        (["--trials", "10000001"], "from 1 to 10000000"),
        (["--seed", "-1"], "from 0 to"),
    ] {
        let line = refused(folder.path(), &["mine.toml", arguments[0], arguments[1]], 2);
        assert!(line.contains(says), "{line}");
    }
}
