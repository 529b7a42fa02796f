//! What can go wrong, with the numbers that did.

use std::io;
use std::path::{Path, PathBuf};

use layerwise_linalg::LinalgError;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The result of everything fallible in this crate.
pub type Result<T> = std::result::Result<T, OptimError>;

/// A side of a weight matrix: the left factor `P` acts on outputs (rows), the right factor `Q` on
/// inputs (columns).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// The output side: rows of the weight, factor `P`.
    Left,
    /// The input side: columns of the weight, factor `Q`.
    Right,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Side::Left => "left (output)",
            Side::Right => "right (input)",
        })
    }
}

/// Why an optimizer was not built or a step was not taken.
///
/// After any of these but [`HalfLoaded`](OptimError::HalfLoaded) and
/// [`HalfTaken`](OptimError::HalfTaken), weights and state are what they were before the call.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum OptimError {
    /// A hyperparameter outside its range (or not a number).
    #[error("{name} = {value} is not allowed: it must be {allowed}")]
    InvalidHyperparameter {
        /// The hyperparameter, as its field is called.
        name: &'static str,
        /// The refused value.
        value: f64,
        /// What would be accepted.
        allowed: &'static str,
    },
    /// A schedule that has a name only, as one that was read from a file has.
    #[error("the schedule {name:?} has a name only: its function is not part of what is saved")]
    ScheduleWithoutFunction {
        /// The name.
        name: String,
    },
    /// A stage from outside of this crate that has a name only, as one that was read from a file has.
    #[error(
        "the stage {name:?} has a name only: how it is built is not part of what is saved; load the \
         state into an optimizer that has it"
    )]
    StageWithoutRecipe {
        /// The name.
        name: String,
    },
    /// What a stage from outside of this crate says in its own words.
    #[error("{message}")]
    Custom {
        /// The message.
        message: String,
    },
    /// An error of a stage from outside of this crate.
    #[error("stage {name:?}: {source}")]
    Stage {
        /// The name.
        name: String,
        /// What went wrong with it.
        source: Box<OptimError>,
    },
    /// Hyperparameters that are each valid but not together.
    #[error("{first} cannot be combined with {second}: {why}")]
    Incompatible {
        /// One of the two.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// The reason.
        why: &'static str,
    },
    /// A weight without entries.
    #[error("a weight of {rows} × {cols} has no entries")]
    EmptyShape {
        /// Rows asked for.
        rows: usize,
        /// Columns asked for.
        cols: usize,
    },
    /// An array with more entries than can be addressed.
    #[error("{what} of {rows} × {cols} is larger than an array can be")]
    TooLarge {
        /// The array.
        what: &'static str,
        /// Its rows.
        rows: usize,
        /// Its columns.
        cols: usize,
    },
    /// An array for which there is no memory.
    #[error("there is no memory for {what} of {rows} × {cols}, {bytes} bytes")]
    OutOfMemory {
        /// The array.
        what: &'static str,
        /// Its rows.
        rows: usize,
        /// Its columns.
        cols: usize,
        /// What was asked for.
        bytes: usize,
    },
    /// A parameter with which a set would hold more than it may.
    #[error("the set would hold {bytes} bytes with it, and may hold {limit}")]
    MemoryLimit {
        /// What it would hold.
        bytes: usize,
        /// What it may hold.
        limit: usize,
    },
    /// An array of another shape than the optimizer was built for.
    #[error("{what} is {} × {}, expected {} × {}", found.0, found.1, expected.0, expected.1)]
    Shape {
        /// The array.
        what: &'static str,
        /// Rows and columns expected.
        expected: (usize, usize),
        /// Rows and columns found.
        found: (usize, usize),
    },
    /// An array with other axes than a layer or a weight has.
    #[error("{what} {} has to be {expected}", axes(found))]
    LayerShape {
        /// The array.
        what: &'static str,
        /// The axes expected.
        expected: String,
        /// The axes found.
        found: Vec<usize>,
    },
    /// A token that an embedding does not have.
    #[error("token {token} is not one of an embedding's {tokens}, which are counted from 0")]
    UnknownToken {
        /// The token.
        token: usize,
        /// How many there are.
        tokens: usize,
    },
    /// A layer that reports the diagonal of a factor, under a method that needs the whole of it.
    #[error("this method needs the whole {side} factor, not its diagonal")]
    DiagonalFactor {
        /// The side.
        side: Side,
    },
    /// A convolution whose kernel does not fit.
    #[error(
        "a kernel of {} × {} with stride {} × {}, padding {} × {} and dilation {} × {} does not fit inputs of \
         {} × {}",
        kernel.0, kernel.1, stride.0, stride.1, padding.0, padding.1, dilation.0, dilation.1, size.0, size.1
    )]
    Geometry {
        /// Height and width of the kernel.
        kernel: (usize, usize),
        /// Steps between places.
        stride: (usize, usize),
        /// Zeros on each side.
        padding: (usize, usize),
        /// Steps between the kernel's entries.
        dilation: (usize, usize),
        /// Height and width of the inputs.
        size: (usize, usize),
    },
    /// A NaN or an infinity in an input.
    #[error("{what} is not finite: entry ({row}, {col}) is {value}")]
    NonFinite {
        /// The array.
        what: &'static str,
        /// Row of the first such entry.
        row: usize,
        /// Column of the first such entry.
        col: usize,
        /// The entry.
        value: f64,
    },
    /// The inputs were finite, and the step overflowed.
    #[error("the step overflows: entry ({row}, {col}) of {what} would be {value}")]
    Overflow {
        /// The array.
        what: &'static str,
        /// Row of the first such entry.
        row: usize,
        /// Column of the first such entry.
        col: usize,
        /// The value that it would take.
        value: f64,
    },
    /// A method that needs a layer's input or output factor, where none is given.
    #[error("the {side} factor of this method is taken from the layer's signal, which has none")]
    MissingSignal {
        /// The side without a signal.
        side: Side,
    },
    /// A method that needs the diagonal of the loss's second derivative, of a layer that never reports it.
    #[error(
        "this method needs the diagonal of the loss's second derivative, which the layer does not report"
    )]
    MissingDiagonal,
    /// A method that needs a layer's samples, where their second moment is given.
    #[error("this method needs the samples of the {side} factor, not their second moment")]
    MissingSamples {
        /// The side without samples.
        side: Side,
    },
    /// A factor that cannot be factored, decomposed or inverted.
    #[error("{side} factor: {source}")]
    Factor {
        /// The side of the factor.
        side: Side,
        /// What the linear algebra found.
        source: LinalgError,
    },
    /// Linear algebra that failed for another reason than a factor.
    #[error(transparent)]
    Linalg(#[from] LinalgError),
    /// A panic where a refresh was computed in the background.
    #[error("a refresh in the background panicked ({message}); load a state")]
    Background {
        /// What the panic says.
        message: String,
    },
    /// A name registered twice, or given twice in one step.
    #[error("parameter {name:?} is given twice")]
    DuplicateParameter {
        /// The name.
        name: String,
    },
    /// A name that no parameter has.
    #[error("there is no parameter {name:?}")]
    UnknownParameter {
        /// The name.
        name: String,
    },
    /// A parameter that none of the groups selects.
    #[error("no group selects parameter {name:?} ({rows} × {cols})")]
    NoGroup {
        /// The name.
        name: String,
        /// Its rows.
        rows: usize,
        /// Its columns.
        cols: usize,
    },
    /// A state in another layout than this version of the crate reads.
    #[error("the state has layout version {found}, expected {expected}")]
    StateVersion {
        /// [`STATE_VERSION`](crate::checkpoint::STATE_VERSION).
        expected: u32,
        /// The state's.
        found: u32,
    },
    /// A state of another scalar type.
    #[error("the state is of type {found}, expected {expected}")]
    StateScalar {
        /// The optimizer's.
        expected: &'static str,
        /// The state's.
        found: String,
    },
    /// A state of a weight of another shape.
    #[error(
        "the state is of a weight of {} × {}, expected {} × {}", found.0, found.1, expected.0,
        expected.1
    )]
    StateShape {
        /// The optimizer's rows and columns.
        expected: (usize, usize),
        /// The state's.
        found: (usize, usize),
    },
    /// A state of another method, or of the same with other hyperparameters.
    #[error("the state is of another method: {path} is {found}, expected {expected}")]
    StateMethod {
        /// Where the chains differ.
        path: String,
        /// What stands there in the optimizer's, as JSON.
        expected: String,
        /// What stands there in the state's, as JSON.
        found: String,
    },
    /// A value of a state that does not belong to the optimizer.
    #[error("value {name:?} of the state {problem}")]
    StateEntry {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A text that is no state.
    #[error("not a state: {message}")]
    StateText {
        /// What was met, and where.
        message: String,
    },
    /// A state of a set that lacks one of the set's parameters.
    #[error("the state has no parameter {name:?}")]
    StateParameter {
        /// The name.
        name: String,
    },
    /// A file that cannot be written or read.
    #[error("cannot {action} {}: {message}; check the path, its permissions and its disk", path.display())]
    CheckpointIo {
        /// The checkpoint.
        path: PathBuf,
        /// What was to be done with it.
        action: &'static str,
        /// What kind of error the system met.
        kind: io::ErrorKind,
        /// The system's message.
        message: String,
    },
    /// A file of another kind.
    #[error("{} is not such a checkpoint: {problem}; load what `save_file` has written", path.display())]
    NotACheckpoint {
        /// The file.
        path: PathBuf,
        /// How that is seen.
        problem: String,
    },
    /// A checkpoint that is not as it was written.
    #[error("checkpoint {} is damaged: {problem}; load another one", path.display())]
    CheckpointDamaged {
        /// The checkpoint.
        path: PathBuf,
        /// How that is seen.
        problem: String,
    },
    /// A checkpoint of something else than what is to load it.
    #[error(
        "checkpoint {} does not fit: {source}; load it into what is built as it was when saved",
        path.display()
    )]
    CheckpointMismatch {
        /// The checkpoint.
        path: PathBuf,
        /// What does not fit.
        source: Box<OptimError>,
    },
    /// A checkpoint that was whole when it was checked, and could not be read to its end after that.
    #[error(
        "the set holds parts of two states, as loading broke off ({source}); load a checkpoint or a \
         state first"
    )]
    HalfLoaded {
        /// Why loading broke off.
        source: Box<OptimError>,
    },
    /// A step that was known to succeed, and did not: a fault of this library. No step is known that ends
    /// so; if one does, nothing goes on unnoticed.
    #[error(
        "the optimizer broke off in a step that should not fail ({source}); load a state, and the weight \
         of that time"
    )]
    HalfTaken {
        /// Why the step broke off.
        source: Box<OptimError>,
    },
    /// An error of one parameter of a set.
    #[error("parameter {name:?}: {source}")]
    Parameter {
        /// The name.
        name: String,
        /// What went wrong with it.
        source: Box<OptimError>,
    },
}

fn axes(shape: &[usize]) -> String {
    let axes: Vec<_> = shape.iter().map(usize::to_string).collect();
    if axes.is_empty() { "without axes".to_owned() } else { axes.join(" × ") }
}

impl OptimError {
    pub(crate) fn io(path: &Path, action: &'static str, error: &io::Error) -> Self {
        OptimError::CheckpointIo {
            path: path.to_owned(),
            action,
            kind: error.kind(),
            message: error.to_string(),
        }
    }
}
