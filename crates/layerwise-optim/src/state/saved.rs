//! The state of an optimizer as data: saved, loaded, and refused by name where it does not fit.

use std::collections::BTreeMap;

use layerwise_linalg::Scalar;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::chain::Chain;
use crate::error::{OptimError, Result};
use crate::values::{LARGEST_COUNT, StateReader, StateValue, StateWriter, refuse};

/// The version of the layout in which states are saved. It changes whenever a state of an earlier
/// version of this crate would be read wrongly; such a state is refused by
/// [`OptimError::StateVersion`].
pub const STATE_VERSION: u32 = 2;

/// All that an optimizer needs to go on as if it had never stopped: what it was built from, and
/// every average, buffer, root, basis and counter, but no workspace.
///
/// Arrays are in standard layout (row by row). With serde, states can be written in any format
/// that keeps floating-point numbers exactly; [`to_json`](Self::to_json) and
/// [`from_json`](Self::from_json) do. A run that is resumed equals one that was never interrupted
/// in every bit (on the same backend and processor).
///
/// ```
/// use layerwise_optim::ndarray::array;
/// use layerwise_optim::checkpoint::OptimizerState;
/// use layerwise_optim::{Method, OptimError, Signal, Soap};
///
/// let method = Soap::default();
/// let mut weight = array![[1.0_f64, 2.0], [3.0, 5.0]];
/// let mut optimizer = method.build(weight.dim())?;
/// let gradient = array![[0.5, -1.0], [2.0, 0.25]];
/// optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view()))?;
/// let saved = optimizer.state().to_json()?;
///
/// // In another process, with the weight saved beside it:
/// let mut resumed = method.build::<f64>(weight.dim())?;
/// resumed.load(&OptimizerState::from_json(&saved)?)?;
/// let mut same = weight.clone();
/// optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view()))?;
/// resumed.step(&mut same.view_mut(), &Signal::new(gradient.view()))?;
/// assert_eq!(weight, same);
/// # Ok::<(), OptimError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptimizerState<A> {
    version: u32,
    scalar: String,
    shape: (usize, usize),
    chain: Chain,
    steps: u64,
    values: BTreeMap<String, StateValue<A>>,
}

/// Which states an optimizer takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resume {
    /// Those of the same method, with the same hyperparameters: the run goes on in every bit.
    #[default]
    Exact,
    /// Those of stages of the same kinds in the same order, whose state has the same shape and meaning:
    /// what is averaged, how (by decay or as a sum), the roots' methods and exponents, the layout in
    /// blocks. Rates, decays, dampings, bounds and intervals may be others, and those of the optimizer
    /// hold from the next step on; roots and bases are the state's until they are refreshed. With a
    /// [staleness](crate::Refresh::staleness) a state holds what is under way too, so that one of 0 and
    /// another do not go together. What is under way is installed when the state says, or earlier
    /// under a smaller staleness, and no other refresh begins before.
    NewHyperparameters,
}

impl<A: Scalar> OptimizerState<A> {
    pub(crate) fn new(
        chain: &Chain,
        shape: (usize, usize),
        steps: u64,
        values: StateWriter<'_, A>,
    ) -> Self {
        OptimizerState {
            version: STATE_VERSION,
            scalar: A::NAME.to_owned(),
            shape,
            chain: chain.clone(),
            steps,
            values: values.into_values(),
        }
    }

    /// What the optimizer was built from.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The shape of its weight.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        self.shape
    }

    /// The steps it had taken.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Refuses a state of another layout or scalar type, or of more steps than can be taken.
    pub(crate) fn check_kind(&self) -> Result<()> {
        check_version(self.version)?;
        check_steps(self.steps)?;
        check_scalar::<A>(&self.scalar)
    }

    /// Hands all values out, and refuses what is left over.
    pub(crate) fn read(
        &self,
        load: impl FnOnce(&mut StateReader<'_, A>) -> Result<()>,
    ) -> Result<()> {
        let mut source = &self.values;
        let mut reader = StateReader::new(&mut source);
        load(&mut reader)?;
        reader.finish()
    }

    /// The state as JSON; every number survives in every bit.
    ///
    /// # Errors
    ///
    /// [`OptimError::StateText`], which a state of finite numbers does not lead to.
    pub fn to_json(&self) -> Result<String>
    where
        A: Serialize,
    {
        write_json(self)
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    ///
    /// [`OptimError::StateVersion`] for another layout, [`OptimError::StateText`] for what is no
    /// state. Whether it fits an optimizer is seen when it is loaded.
    pub fn from_json(text: &str) -> Result<Self>
    where
        A: DeserializeOwned,
    {
        read_json(text)
    }
}

/// The states of all parameters of an [`OptimizerSet`](crate::OptimizerSet), by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptimizerSetState<A> {
    version: u32,
    steps: u64,
    pub(crate) parameters: BTreeMap<String, OptimizerState<A>>,
}

impl<A: Scalar> OptimizerSetState<A> {
    pub(crate) fn new(steps: u64, parameters: BTreeMap<String, OptimizerState<A>>) -> Self {
        OptimizerSetState { version: STATE_VERSION, steps, parameters }
    }

    /// The run's steps so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The names of the parameters, in alphabetic order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parameters.keys().map(String::as_str)
    }

    /// The state of one parameter.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&OptimizerState<A>> {
        self.parameters.get(name)
    }

    /// Refuses a state of another layout, or of more steps than can be taken.
    pub(crate) fn check_kind(&self) -> Result<()> {
        check_version(self.version)?;
        check_steps(self.steps)
    }

    /// The state as JSON; see [`OptimizerState::to_json`].
    ///
    /// # Errors
    ///
    /// As [`OptimizerState::to_json`].
    pub fn to_json(&self) -> Result<String>
    where
        A: Serialize,
    {
        write_json(self)
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    ///
    /// As [`OptimizerState::from_json`].
    pub fn from_json(text: &str) -> Result<Self>
    where
        A: DeserializeOwned,
    {
        read_json(text)
    }
}

pub(crate) fn check_version(found: u32) -> Result<()> {
    if found == STATE_VERSION {
        Ok(())
    } else {
        Err(OptimError::StateVersion { expected: STATE_VERSION, found })
    }
}

pub(crate) fn check_steps(steps: u64) -> Result<()> {
    if steps > LARGEST_COUNT { Err(refuse("steps", "is too large a count")) } else { Ok(()) }
}

pub(crate) fn check_scalar<A: Scalar>(found: &str) -> Result<()> {
    if found == A::NAME {
        Ok(())
    } else {
        Err(OptimError::StateScalar { expected: A::NAME, found: found.to_owned() })
    }
}

/// Refuses a state of another shape or method.
pub(crate) fn check_fits(
    expected: (&Chain, (usize, usize)),
    found: (&Chain, (usize, usize)),
    resume: Resume,
) -> Result<()> {
    if found.1 != expected.1 {
        return Err(OptimError::StateShape { expected: expected.1, found: found.1 });
    }
    match resume {
        Resume::Exact if found.0 != expected.0 => Err(difference(expected.0, found.0)),
        Resume::NewHyperparameters if found.0.structure() != expected.0.structure() => {
            Err(difference(&expected.0.structure(), &found.0.structure()))
        }
        _ => Ok(()),
    }
}

fn write_json(state: &impl Serialize) -> Result<String> {
    serde_json::to_string(state).map_err(|e| OptimError::StateText { message: e.to_string() })
}

fn read_json<T: DeserializeOwned>(text: &str) -> Result<T> {
    #[derive(Deserialize)]
    struct Header {
        version: u32,
    }
    let wrap = |e: serde_json::Error| OptimError::StateText { message: e.to_string() };
    // What else another version holds need not be readable.
    let header: Header = serde_json::from_str(text).map_err(wrap)?;
    check_version(header.version)?;
    serde_json::from_str(text).map_err(wrap)
}

/// Names the first place where two chains differ.
fn difference(expected: &Chain, found: &Chain) -> OptimError {
    let as_value = |x: &Chain| serde_json::to_value(x).unwrap_or(Value::Null);
    let (expected, found) = (as_value(expected), as_value(found));
    let mut path = String::from("chain");
    let (mut a, mut b) = (&expected, &found);
    loop {
        let differing = match (a, b) {
            (Value::Object(left), Value::Object(right)) => left.iter().find_map(|(key, x)| {
                let y = right.get(key)?;
                (x != y).then_some((key.clone(), x, y))
            }),
            (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
                let pairs = left.iter().zip(right).enumerate();
                pairs.map(|(index, (x, y))| (index.to_string(), x, y)).find(|(_, x, y)| x != y)
            }
            _ => None,
        };
        let Some((key, x, y)) = differing else { break };
        path.push('.');
        path.push_str(&key);
        (a, b) = (x, y);
    }
    OptimError::StateMethod { path, expected: a.to_string(), found: b.to_string() }
}
