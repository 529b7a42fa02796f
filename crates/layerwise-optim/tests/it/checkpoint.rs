//! Checkpoints: what is read again is what was written, and what is not is refused, by name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::common::{Case, Quadratic, cases};
use layerwise_optim::checkpoint::Resume;
use layerwise_optim::ndarray::Array2;
use layerwise_optim::{
    Adam, Averaging, Chain, Group, Kfac, Method, Muon, OptimError, Optimizer, OptimizerSet, Scalar,
    Selector, Shampoo, Signals, Soap, Update,
};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

/// A folder of a test's own, deleted at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("checkpoint-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn bits<A: Scalar>(array: &Array2<A>) -> Vec<u64> {
    array.iter().map(|x| x.as_f64().to_bits()).collect()
}

/// Methods with each kind of state: none, entries, factors, roots, bases, blocks and averages.
fn methods() -> Vec<(&'static str, Chain)> {
    let averaging = Averaging::Ema { beta: 0.9.into(), bias_correction: true };
    vec![
        ("adam", Adam::default().chain()),
        ("kfac", Kfac { averaging, ..Kfac::stylised() }.chain()),
        ("shampoo", Shampoo::stylised().chain()),
        ("soap", Soap::as_published().chain()),
        ("muon", Muon::default().chain()),
    ]
}

const SHAPE: (usize, usize) = (5, 4);

/// A parameter for each method.
fn set<A: Scalar>() -> OptimizerSet<A> {
    let methods = methods();
    let groups = methods.iter().map(|(name, chain)| Group::new(Selector::named([*name]), chain));
    let mut set = OptimizerSet::new(groups.collect());
    for (name, _) in methods {
        set.register(name, SHAPE, Signals::ALL).unwrap();
    }
    set
}

fn step_set<A: Scalar>(
    set: &mut OptimizerSet<A>,
    problem: &Quadratic<A>,
    weights: &mut [Array2<A>],
) {
    let gradients: Vec<_> = weights.iter().map(|weight| problem.gradient(weight)).collect();
    let methods = methods();
    let mut updates: Vec<_> = weights
        .iter_mut()
        .zip(&gradients)
        .zip(&methods)
        .map(|((weight, gradient), (name, _))| {
            Update::new(name, weight.view_mut(), problem.signal(gradient))
        })
        .collect();
    set.step(&mut updates).unwrap();
}

fn start<A: Scalar>() -> Vec<Array2<A>> {
    vec![Array2::zeros(SHAPE); methods().len()]
}

fn a_set_resumes<A: Scalar>(folder: &Folder) {
    let path = folder.file(A::NAME);
    let problem = Quadratic::<A>::new(60, SHAPE, 30.0);
    let (mut first, mut weights) = (set::<A>(), start());
    for taken in 0..12 {
        first.save_file(&path).unwrap();
        // Into a set that has a past of its own.
        let (mut second, mut same) = (set::<A>(), weights.clone());
        step_set(&mut second, &problem, &mut start());
        second.load_file(&path).unwrap();
        assert_eq!(second.state(), first.state(), "{} after {taken} steps", A::NAME);
        assert_eq!(second.reports().count(), 0);
        // Past the next refresh of each.
        for _ in 0..12 {
            step_set(&mut second, &problem, &mut same);
        }
        let (mut uninterrupted, mut expected) = (set::<A>(), weights.clone());
        uninterrupted.load(&first.state()).unwrap();
        for _ in 0..12 {
            step_set(&mut uninterrupted, &problem, &mut expected);
        }
        for ((same, expected), (name, _)) in same.iter().zip(&expected).zip(methods()) {
            assert_eq!(bits(same), bits(expected), "{name}, {}, {taken} steps before", A::NAME);
        }
        step_set(&mut first, &problem, &mut weights);
    }
    assert_eq!(folder.names().iter().filter(|name| name.ends_with(".tmp")).count(), 0);
}

#[test]
fn a_set_resumes_from_a_file_in_every_bit() {
    let folder = Folder::new("set");
    a_set_resumes::<f32>(&folder);
    a_set_resumes::<f64>(&folder);
}

fn resumes<A: Scalar>(case: &Case, shape: (usize, usize), path: &Path) {
    let problem = case.problem::<A>(61, shape, 30.0);
    let step = |optimizer: &mut Optimizer<A>, weight: &mut Array2<A>| {
        let gradient = problem.gradient(weight);
        optimizer.step(&mut weight.view_mut(), &problem.signal(&gradient)).unwrap()
    };
    let one = || {
        let group = Group::new(Selector::All, &case.chain);
        let mut set = OptimizerSet::<A>::new(vec![group]);
        set.register("w", shape, Signals::ALL).unwrap();
        set
    };
    let (mut first, mut weight) = (one(), Array2::zeros(shape));
    for _ in 0..5 {
        step(first.optimizer_mut("w").unwrap(), &mut weight);
    }
    first.save_file(path).unwrap();
    // What is read in place meets what another run, and a step that failed, have left.
    let (mut second, mut other) = (one(), Array2::ones(shape));
    let resumed = second.optimizer_mut("w").unwrap();
    for _ in 0..7 {
        step(resumed, &mut other);
    }
    let huge = Array2::from_elem(shape, A::from_f64(f64::MAX.sqrt()).min(A::max_value()));
    let _ = resumed.step(&mut other.view_mut(), &problem.signal(&huge));
    second.load_file(path).unwrap();
    // And an optimizer alone.
    let first = first.optimizer_mut("w").unwrap();
    first.save_file(path).unwrap();
    let mut third = case.chain.build::<A>(shape).unwrap();
    third.load_file(path).unwrap();
    let second = second.optimizer_mut("w").unwrap();
    let (mut second_weight, mut third_weight) = (weight.clone(), weight.clone());
    for _ in 0..12 {
        let report = step(first, &mut weight);
        assert_eq!(step(second, &mut second_weight), report, "{}", case.name);
        assert_eq!(step(&mut third, &mut third_weight), report, "{}", case.name);
    }
    assert_eq!(bits(&second_weight), bits(&weight), "{}", case.name);
    assert_eq!(bits(&third_weight), bits(&weight), "{}", case.name);
}

#[test]
fn every_method_resumes_from_a_file_whatever_it_did_before() {
    let folder = Folder::new("cases");
    for case in cases() {
        resumes::<f64>(&case, (5, 4), &folder.file("case"));
        resumes::<f32>(&case, (1, 4), &folder.file("case"));
    }
}

#[test]
fn equal_states_make_equal_files() {
    let folder = Folder::new("equal");
    let [one, two] = ["one", "two"].map(|name| folder.file(name));
    set::<f32>().save_file(&one).unwrap();
    set::<f32>().save_file(&two).unwrap();
    assert!(fs::read(one).unwrap() == fs::read(two).unwrap());
}

/// A set with a past, the state and the file of an earlier moment, and how loading fails.
struct Refusal {
    folder: Folder,
    set: OptimizerSet<f64>,
    bytes: Vec<u8>,
}

impl Refusal {
    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        let problem = Quadratic::new(62, SHAPE, 30.0);
        let (mut set, mut weights) = (set(), start());
        for _ in 0..3 {
            step_set(&mut set, &problem, &mut weights);
        }
        set.save_file(folder.file("file")).unwrap();
        let bytes = fs::read(folder.file("file")).unwrap();
        step_set(&mut set, &problem, &mut weights);
        Refusal { folder, set, bytes }
    }

    /// Loads these bytes, which has to fail and to change nothing.
    fn of(&mut self, bytes: &[u8]) -> OptimError {
        let path = self.folder.file("file");
        fs::write(&path, bytes).unwrap();
        self.at(&path)
    }

    fn at(&mut self, path: &Path) -> OptimError {
        let before = self.set.state();
        let error = match self.set.load_file(path) {
            Ok(()) => panic!("was loaded"),
            Err(error) => error,
        };
        assert!(self.set.state() == before, "a refused checkpoint has changed the set: {error}");
        let text = error.to_string();
        assert!(text.contains(&*path.to_string_lossy()) && !text.contains('\n'), "{text}");
        error
    }
}

/// A checkpoint taken apart, to be put together with other parts and right checksums.
struct Parts {
    metadata: Value,
    state: Value,
    /// Name, type, shape and bytes.
    tensors: Vec<(String, String, Value, Vec<u8>)>,
}

impl Parts {
    fn of(bytes: &[u8]) -> Self {
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        let metadata = header.as_object_mut().unwrap().remove("__metadata__").unwrap();
        let state = serde_json::from_str(metadata["state"].as_str().unwrap()).unwrap();
        let tensors = header.as_object().unwrap().iter().map(|(name, tensor)| {
            let [start, end] = [0, 1].map(|i| tensor["data_offsets"][i].as_u64().unwrap() as usize);
            let dtype = tensor["dtype"].as_str().unwrap().to_owned();
            let data = bytes[8 + length..][start..end].to_vec();
            (name.clone(), dtype, tensor["shape"].clone(), data)
        });
        Parts { metadata, state, tensors: tensors.collect() }
    }

    /// The tensor of that name, and what the state says of it.
    fn array(&mut self, parameter: &str, path: &str) -> (&mut Vec<u8>, &mut Value) {
        let name = format!("{parameter}/{path}");
        let tensor = self.tensors.iter_mut().find(|tensor| tensor.0 == name).unwrap();
        (&mut tensor.3, &mut self.state["set"]["parameters"][parameter]["arrays"][path])
    }

    fn bytes(mut self) -> Vec<u8> {
        let state = self.state.to_string();
        self.metadata["checksum"] = format!("{:016x}", xxh3_64(state.as_bytes())).into();
        self.metadata["state"] = state.into();
        let (mut header, mut data) = (json!({ "__metadata__": self.metadata }), Vec::new());
        for (name, dtype, shape, bytes) in self.tensors {
            let offsets = [data.len(), data.len() + bytes.len()];
            header[name] = json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets });
            data.extend(bytes);
        }
        file_of(&header, &data)
    }
}

fn file_of(header: &Value, data: &[u8]) -> Vec<u8> {
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

#[test]
fn a_file_taken_apart_and_put_together_is_loaded() {
    let mut refusal = Refusal::new("parts");
    let path = refusal.folder.file("file");
    let expected = {
        fs::write(&path, &refusal.bytes).unwrap();
        let mut set = set::<f64>();
        set.load_file(&path).unwrap();
        set.state()
    };
    fs::write(&path, Parts::of(&refusal.bytes).bytes()).unwrap();
    refusal.set.load_file(&path).unwrap();
    assert!(refusal.set.state() == expected);
}

#[test]
fn what_is_no_file_is_named() {
    let mut refusal = Refusal::new("no-file");
    let missing = refusal.folder.file("missing");
    let error = refusal.at(&missing);
    assert!(
        matches!(&error, OptimError::CheckpointIo { action: "read", kind: io::ErrorKind::NotFound, path, .. } if *path == missing),
        "{error:?}"
    );
    let folder = refusal.folder.0.clone();
    let error = refusal.at(&folder);
    assert!(
        matches!(&error, OptimError::CheckpointIo { kind: io::ErrorKind::IsADirectory, .. }),
        "{error:?}"
    );
    #[cfg(unix)]
    {
        let error = refusal.at(Path::new("/dev/null"));
        assert!(matches!(error, OptimError::NotACheckpoint { .. }), "{error:?}");
    }
}

#[test]
fn what_is_no_checkpoint_is_named() {
    let mut refusal = Refusal::new("no-checkpoint");
    let json = refusal.set.state().to_json().unwrap();
    let long = [&(1_u64 << 60).to_le_bytes()[..], &refusal.bytes[8..]].concat();
    let all = [&u64::MAX.to_le_bytes()[..], &refusal.bytes[8..]].concat();
    let past_the_end =
        [&(refusal.bytes.len() as u64).to_le_bytes()[..], &refusal.bytes[8..]].concat();
    let other = file_of(&json!({ "__metadata__": { "format": "pt" } }), &[]);
    let bare = file_of(&json!({}), &[]);
    for (bytes, expected) in [
        (&b""[..], "it is empty"),
        (b"short", "it is too short"),
        (json.as_bytes(), "it is a text, perhaps a state as JSON, which `from_json` reads"),
        (b"Once upon a time there was a file.", "it begins with a header's length of"),
        (&long, "it begins with a header's length of 1152921504606846976"),
        (&all, "it begins with a header's length of 18446744073709551615"),
        (&past_the_end, "it begins with a header's length of"),
        (&[0; 64], "its header is no safetensors header"),
        (&other, "the metadata of its header do not name the format \"layerwise-optim\""),
        (&bare, "the metadata of its header do not name the format \"layerwise-optim\""),
    ] {
        let error = refusal.of(bytes);
        let OptimError::NotACheckpoint { problem, .. } = &error else { panic!("{error:?}") };
        assert!(problem.starts_with(expected), "{problem}");
    }
    // Of one optimizer, and of a set.
    let path = refusal.folder.file("file");
    let mut adam = Adam::default().build::<f64>(SHAPE).unwrap();
    adam.save_file(&path).unwrap();
    let error = refusal.at(&path).to_string();
    assert!(error.contains("it holds the state of one optimizer, not those of a set"), "{error}");
    fs::write(&path, &refusal.bytes).unwrap();
    let error = adam.load_file(&path).unwrap_err().to_string();
    assert!(
        error.contains("it holds the states of a set of optimizers, not that of one"),
        "{error}"
    );
}

#[test]
fn a_file_cut_anywhere_or_continued_is_refused() {
    let mut refusal = Refusal::new("cut");
    let bytes = refusal.bytes.clone();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let places = (0..bytes.len()).filter(|at| at % 97 == 0 || at.abs_diff(header) < 10);
    for at in places.chain([bytes.len() - 1]) {
        let error = refusal.of(&bytes[..at]);
        match error {
            OptimError::NotACheckpoint { .. } if at < header => {}
            OptimError::CheckpointDamaged { .. } if at >= header => {}
            _ => panic!("cut at {at} of {header} and {}: {error:?}", bytes.len()),
        }
    }
    let error = refusal.of(&[&bytes[..], b"x"].concat());
    assert!(matches!(error, OptimError::CheckpointDamaged { .. }), "{error:?}");
}

#[test]
fn a_flipped_bit_is_noticed_wherever_it_is() {
    let mut refusal = Refusal::new("bit");
    let mut bytes = refusal.bytes.clone();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    // The header's length, and some bytes of all that follows.
    let places = (0..8).chain((8..header).step_by(7)).chain((header..bytes.len()).step_by(13));
    for (nth, at) in places.enumerate() {
        bytes[at] ^= 1 << (nth % 8);
        let error = refusal.of(&bytes);
        if at >= header {
            assert!(error.to_string().contains(" is not what was written"), "{at}: {error}");
        }
        bytes[at] ^= 1 << (nth % 8);
    }
}

#[test]
fn tensors_that_overlap_leave_holes_or_are_larger_than_their_bytes_are_refused() {
    let mut refusal = Refusal::new("offsets");
    let bytes = refusal.bytes.clone();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let name = "adam/update.0.momentum.buffer";
    let [start, end] = [0, 1].map(|i| header[name]["data_offsets"][i].as_u64().unwrap());
    for (key, value) in [
        ("data_offsets", json!([start + 8, end])),
        ("data_offsets", json!([start, end + 8])),
        ("data_offsets", json!([start, end - 8])),
        ("data_offsets", json!([start + 8, end + 8])),
        ("data_offsets", json!([end, start])),
        ("data_offsets", json!([start, u64::MAX])),
        ("data_offsets", json!([-8, end])),
        ("data_offsets", json!([start])),
        ("shape", json!([5, 5])),
        ("shape", json!([1_u64 << 40, 1_u64 << 40])),
        ("shape", json!([5, -4])),
        ("dtype", json!("F32")),
        ("dtype", json!("F65")),
    ] {
        let mut header = header.clone();
        header[name][key] = value.clone();
        let error = refusal.of(&file_of(&header, &bytes[8 + length..]));
        assert!(matches!(error, OptimError::NotACheckpoint { .. }), "{key} {value}: {error:?}");
    }
    // Consistent in itself, and not with the state.
    let mut header = header.clone();
    header[name]["shape"] = json!([4, 5]);
    let error = refusal.of(&file_of(&header, &bytes[8 + length..])).to_string();
    let expected = format!("tensor {name:?} is F64 [4, 5], expected F64 [5, 4]");
    assert!(error.contains(&expected), "{error}");
}

type Edit = fn(&mut Parts);

/// Checksums are right: what is wrong is seen all the same.
#[test]
fn a_well_formed_file_of_something_else_is_refused_by_name() {
    let edits: [(Edit, &str); 15] = [
        (|parts| drop(parts.tensors.remove(0)), "it has no tensor \"adam/"),
        (
            |parts| parts.tensors.push(("x/y".into(), "F64".into(), json!([1, 1]), vec![0; 8])),
            "its tensor \"x/y\" is not known",
        ),
        (
            |parts| {
                parts.tensors[0].1 = "F32".into();
                parts.tensors[0].2 = json!([5, 8]);
            },
            "is F32 [5, 8], expected F64 [5, 4]",
        ),
        (
            |parts| {
                for (_, dtype, shape, _) in &mut parts.tensors {
                    *dtype = "I64".into();
                    assert!(shape.is_array());
                }
            },
            "is I64 [5, 4], expected F64 [5, 4]",
        ),
        (|parts| parts.metadata["scalar"] = "f32".into(), "the state is of type f32, expected f64"),
        (
            |parts| parts.metadata["version"] = "9".into(),
            "the state has layout version 9, expected 2",
        ),
        (|parts| parts.metadata["version"] = "one".into(), "its version is \"one\""),
        (
            |parts| drop(parts.metadata.as_object_mut().unwrap().remove("scalar")),
            "a part of its metadata is missing",
        ),
        (|parts| parts.state = json!([1]), "its metadata: "),
        (
            |parts| {
                let (data, array) = parts.array("adam", "update.0.momentum.buffer");
                data[..8].copy_from_slice(&f64::NAN.to_le_bytes());
                array["checksum"] = format!("{:016x}", xxh3_64(data)).into();
            },
            "parameter \"adam\": value \"update.0.momentum.buffer\" of the state has an entry that is \
             not finite",
        ),
        (
            |parts| {
                parts.array("adam", "update.0.momentum.buffer").1["shape"] = json!([4, 5]);
                let name = "adam/update.0.momentum.buffer";
                parts.tensors.iter_mut().find(|tensor| tensor.0 == name).unwrap().2 = json!([4, 5]);
            },
            "parameter \"adam\": value \"update.0.momentum.buffer\" of the state is of another shape",
        ),
        (
            |parts| parts.state["set"]["parameters"]["muon"]["steps"] = u64::MAX.into(),
            "parameter \"muon\": value \"steps\" of the state is too large a count",
        ),
        (
            |parts| parts.state["set"]["parameters"]["muon"]["shape"] = json!([4, 5]),
            "parameter \"muon\": the state is of a weight of 4 × 5, expected 5 × 4",
        ),
        (
            |parts| {
                let values = &mut parts.state["set"]["parameters"]["soap"]["values"];
                values["update.surprise"] = json!({ "count": 1 });
            },
            "parameter \"soap\": value \"update.surprise\" of the state is not known",
        ),
        (
            |parts| {
                let value =
                    parts.state["set"]["parameters"]["soap"]["values"].as_object_mut().unwrap();
                let name = value.keys().next().unwrap().clone();
                value.remove(&name);
            },
            "of the state is missing",
        ),
    ];
    let mut refusal = Refusal::new("else");
    for (edit, expected) in edits {
        let mut parts = Parts::of(&refusal.bytes);
        edit(&mut parts);
        let error = refusal.of(&parts.bytes()).to_string();
        assert!(error.contains(expected), "{error}, expected {expected}");
    }
}

#[test]
fn a_checkpoint_of_another_set_is_refused_by_name() {
    let mut refusal = Refusal::new("other");
    let path = refusal.folder.file("other");
    let default = || Adam::default().chain();
    let faster = Adam { learning_rate: 0.5.into(), ..Adam::default() }.chain();
    for (adam, more, less, expected) in [
        (
            faster,
            None,
            None,
            "parameter \"adam\": the state is of another method: \
             chain.learning_rate.Constant is 0.5, expected 0.001",
        ),
        (default(), Some("more"), None, "there is no parameter \"more\""),
        (default(), None, Some("muon"), "the state has no parameter \"muon\""),
    ] {
        let groups = methods().into_iter().map(|(name, chain)| {
            Group::new(Selector::named([name]), &if name == "adam" { adam.clone() } else { chain })
        });
        let rest = Group::new(Selector::All, &Muon::default());
        let mut other = OptimizerSet::<f64>::new(groups.chain([rest]).collect());
        let names = methods().into_iter().map(|(name, _)| name).chain(more);
        for name in names.filter(|&name| Some(name) != less) {
            other.register(name, SHAPE, Signals::ALL).unwrap();
        }
        other.save_file(&path).unwrap();
        let error = refusal.at(&path);
        assert!(matches!(error, OptimError::CheckpointMismatch { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    set::<f32>().save_file(&path).unwrap();
    let error = refusal.at(&path).to_string();
    assert!(error.contains("the state is of type f32, expected f64"), "{error}");
}

#[test]
fn a_save_that_fails_leaves_what_was_there() {
    let folder = Folder::new("save");
    let set = set::<f64>();
    let error = set.save_file(folder.file("missing/file")).unwrap_err();
    assert!(
        matches!(
            &error,
            OptimError::CheckpointIo { action: "write", kind: io::ErrorKind::NotFound, .. }
        ),
        "{error:?}"
    );
    let error = set.save_file(&folder.0).unwrap_err();
    assert!(
        matches!(&error, OptimError::CheckpointIo { kind: io::ErrorKind::IsADirectory, .. }),
        "{error:?}"
    );
    assert!(set.save_file("").is_err());
    assert_eq!(folder.names(), Vec::<String>::new());

    // A file where a folder is expected.
    let path = folder.file("file");
    set.save_file(&path).unwrap();
    let before = fs::read(&path).unwrap();
    assert!(set.save_file(path.join("inside")).is_err());
    assert_eq!(folder.names(), ["file"]);
    assert!(fs::read(&path).unwrap() == before);
}

/// A name so long that the one beside it cannot be made: as in a folder that cannot be written to, which
/// does not stop every user.
#[test]
fn an_old_file_survives_where_none_can_be_written_beside_it() {
    let folder = Folder::new("survives");
    let path = folder.file(&"x".repeat(255));
    fs::write(&path, b"old").unwrap();
    let error = set::<f64>().save_file(&path).unwrap_err();
    assert!(matches!(&error, OptimError::CheckpointIo { action: "write", .. }), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(folder.names().len(), 1);
}

#[cfg(unix)]
#[test]
fn a_link_is_followed() {
    let folder = Folder::new("link");
    let (file, link) = (folder.file("file"), folder.file("link"));
    fs::write(&file, b"old").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let mut saved = set::<f64>();
    saved.save_file(&link).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    saved.load_file(&file).unwrap();
}

/// The run's step comes back with the set, and so does a state for new hyperparameters.
#[test]
fn a_file_keeps_the_run_s_step_and_serves_new_hyperparameters() {
    let folder = Folder::new("resumed");
    let path = folder.file("set");
    let new = |rate: f64| {
        let method = Adam { learning_rate: rate.into(), ..Adam::default() };
        let mut set = OptimizerSet::<f32>::new(vec![Group::new(Selector::All, &method)]);
        set.register("weight", (3, 2), Signals::GRADIENT).unwrap();
        set
    };
    let mut saved = new(0.1);
    let mut weight = Array2::<f32>::ones((3, 2));
    let gradient = Array2::<f32>::from_elem((3, 2), 0.5);
    for _ in 0..3 {
        saved.step(&mut [Update::new("weight", weight.view_mut(), gradient.view())]).unwrap();
    }
    saved.save_file(&path).unwrap();
    let mut same = new(0.1);
    same.load_file(&path).unwrap();
    assert_eq!(same.steps(), 3);
    assert_eq!(same.state(), saved.state());
    let mut other = new(0.01);
    assert!(other.load_file(&path).is_err());
    assert_eq!(other.steps(), 0);
    other.resume_file(&path, Resume::NewHyperparameters).unwrap();
    assert_eq!(other.steps(), 3);
    other.step(&mut [Update::new("weight", weight.view_mut(), gradient.view())]).unwrap();
    assert_eq!(other.report("weight").unwrap().learning_rate, 0.01);
}
