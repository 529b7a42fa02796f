//! Many parameters, each with the method of its group, stepped together.

use std::collections::HashMap;

use layerwise_linalg::Scalar;
use ndarray::ArrayViewMut2;
use serde::{Deserialize, Serialize};

use crate::composition::Composition;
use crate::error::{OptimError, Result};
use crate::optimizer::{Optimizer, StepReport};
use crate::signal::{Signal, Signals};

/// Which parameters a group takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Selector {
    /// Every parameter.
    All,
    /// Those with more than one row and more than one column.
    Matrices,
    /// Those with a single row or a single column.
    Vectors,
    /// Those with one of these names.
    Named(Vec<String>),
    /// Those whose name starts so.
    Prefix(String),
}

impl Selector {
    fn selects(&self, name: &str, shape: (usize, usize)) -> bool {
        match self {
            Selector::All => true,
            Selector::Matrices => shape.0 > 1 && shape.1 > 1,
            Selector::Vectors => shape.0 <= 1 || shape.1 <= 1,
            Selector::Named(names) => names.iter().any(|x| x == name),
            Selector::Prefix(prefix) => name.starts_with(prefix),
        }
    }
}

/// Parameters that share a method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Which parameters.
    pub selector: Selector,
    /// Their method.
    pub composition: Composition,
}

/// One parameter's part of a step.
#[derive(Debug)]
pub struct Update<'w, 's, A> {
    /// Its name.
    pub name: &'s str,
    /// Its weight; a vector is a 1 × n matrix (`view_mut().insert_axis(Axis(0))`).
    pub weight: ArrayViewMut2<'w, A>,
    /// What its layer reports.
    pub signal: Signal<'s, A>,
}

/// Optimizers of named matrices and vectors.
///
/// ```
/// use layerwise_optim::ndarray::{Array2, Axis, array};
/// use layerwise_optim::{
///     AdamW, Group, Method, OptimError, OptimizerSet, Selector, Signal, Signals, Soap, Update,
/// };
///
/// let mut set = OptimizerSet::<f64>::new(vec![
///     Group { selector: Selector::Matrices, composition: Soap::default().composition() },
///     Group { selector: Selector::All, composition: AdamW::default().composition() },
/// ]);
/// let mut weight = array![[1.0, 2.0], [3.0, 5.0]];
/// let mut bias = array![0.5, -0.5];
/// set.register("hidden.weight", weight.dim(), Signals::GRADIENT)?;
/// set.register("hidden.bias", (1, bias.len()), Signals::GRADIENT)?;
///
/// let (weight_gradient, bias_gradient) = (weight.clone(), bias.clone());
/// set.step(&mut [
///     Update {
///         name: "hidden.weight",
///         weight: weight.view_mut(),
///         signal: Signal::new(weight_gradient.view()),
///     },
///     Update {
///         name: "hidden.bias",
///         weight: bias.view_mut().insert_axis(Axis(0)),
///         signal: Signal::new(bias_gradient.view().insert_axis(Axis(0))),
///     },
/// ])?;
/// assert!(set.report("hidden.bias").is_some_and(|report| report.step == 1));
/// # Ok::<(), OptimError>(())
/// ```
#[derive(Debug)]
pub struct OptimizerSet<A> {
    groups: Vec<Group>,
    parameters: Vec<Parameter<A>>,
    index: HashMap<String, usize>,
}

#[derive(Debug)]
struct Parameter<A> {
    name: String,
    optimizer: Optimizer<A>,
    report: Option<StepReport>,
    proposed: Option<StepReport>,
}

impl<A: Scalar> OptimizerSet<A> {
    /// A set with these groups; a parameter joins the first that selects it.
    #[must_use]
    pub fn new(groups: Vec<Group>) -> Self {
        OptimizerSet { groups, parameters: Vec::new(), index: HashMap::new() }
    }

    /// Adds a parameter of this shape, whose layer gives these signals beyond the gradient.
    ///
    /// # Errors
    ///
    /// A name that is taken, a parameter that no group selects, and, under the parameter's name,
    /// whatever [`Composition::build_for`] refuses.
    pub fn register(
        &mut self,
        name: impl Into<String>,
        shape: (usize, usize),
        available: Signals,
    ) -> Result<()> {
        let name = name.into();
        if self.index.contains_key(&name) {
            return Err(OptimError::DuplicateParameter { name });
        }
        let Some(group) = self.groups.iter().find(|group| group.selector.selects(&name, shape))
        else {
            return Err(OptimError::NoGroup { name, rows: shape.0, cols: shape.1 });
        };
        let optimizer = match group.composition.build_for(shape, available) {
            Ok(optimizer) => optimizer,
            Err(source) => return Err(named(&name, source)),
        };
        self.index.insert(name.clone(), self.parameters.len());
        self.parameters.push(Parameter { name, optimizer, report: None, proposed: None });
        Ok(())
    }

    /// Steps the given parameters, each at most once; others stay as they are.
    ///
    /// # Errors
    ///
    /// Names that are unknown or given twice, and, under the parameter's name, whatever
    /// [`Optimizer::step`] refuses. No parameter of the set has changed then.
    pub fn step(&mut self, updates: &mut [Update<'_, '_, A>]) -> Result<()> {
        for parameter in &mut self.parameters {
            parameter.proposed = None;
        }
        for update in updates.iter() {
            let parameter = find(&mut self.parameters, &self.index, update.name)?;
            if parameter.proposed.is_some() {
                return Err(OptimError::DuplicateParameter { name: update.name.to_owned() });
            }
            let report = parameter
                .optimizer
                .propose(&update.weight, &update.signal)
                .map_err(|source| named(update.name, source))?;
            parameter.proposed = Some(report);
        }
        for update in updates.iter_mut() {
            let parameter = find(&mut self.parameters, &self.index, update.name)?;
            if let Some(report) = parameter.proposed.take() {
                parameter.optimizer.accept(&mut update.weight, &report);
                parameter.report = Some(report);
            }
        }
        Ok(())
    }

    /// What the parameter's latest step did; `None` before it, and for unknown names.
    #[must_use]
    pub fn report(&self, name: &str) -> Option<&StepReport> {
        self.get(name).and_then(|parameter| parameter.report.as_ref())
    }

    /// The parameter's optimizer.
    #[must_use]
    pub fn optimizer(&self, name: &str) -> Option<&Optimizer<A>> {
        self.get(name).map(|parameter| &parameter.optimizer)
    }

    /// The names, in the order of registration.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parameters.iter().map(|parameter| parameter.name.as_str())
    }

    /// Bytes of the arrays held by all optimizers.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.parameters.iter().map(|parameter| parameter.optimizer.memory_bytes()).sum()
    }

    fn get(&self, name: &str) -> Option<&Parameter<A>> {
        self.index.get(name).and_then(|&at| self.parameters.get(at))
    }
}

fn find<'p, A>(
    parameters: &'p mut [Parameter<A>],
    index: &HashMap<String, usize>,
    name: &str,
) -> Result<&'p mut Parameter<A>> {
    index
        .get(name)
        .and_then(|&at| parameters.get_mut(at))
        .ok_or_else(|| OptimError::UnknownParameter { name: name.to_owned() })
}

fn named(name: &str, source: OptimError) -> OptimError {
    OptimError::Parameter { name: name.to_owned(), source: Box::new(source) }
}
