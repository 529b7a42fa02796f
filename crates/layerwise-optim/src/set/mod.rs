//! Many parameters, each with the method of its group, stepped together.

mod checkpoint;
mod clipping;
mod group;
mod selector;
mod update;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use layerwise_linalg::Scalar;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use crate::error::{OptimError, Result};
use crate::numeric::pool::Pool;
use crate::schedule::{Schedule, When};
use crate::set::clipping::norm_of_all;
pub use crate::set::group::Group;
pub use crate::set::selector::Selector;
pub use crate::set::update::{Update, matrix_shape};
use crate::signal::Signals;
use crate::stages::norm_constraint::shrinkage;
use crate::state::saved::{OptimizerSetState, Resume};
use crate::step::control::Control;
use crate::step::optimizer::{Optimizer, Prepared};
use crate::step::report::StepReport;

/// Optimizers of named matrices and vectors.
///
/// One call steps many of them: all or, where one is refused, none. Where there is more than one
/// and enough to do, they are stepped side by side on rayon's threads; each is computed on its own,
/// so that the result is the same for any number of them. In Rust a layer's large products are shared
/// out to the same threads, to the same bits. OpenBLAS has threads of its own, which compete with
/// them and change bits, unless [`layerwise_linalg::set_backend_threads`]`(1)` is called.
///
/// What a layer works in only while it is stepped is lent to it: the set holds it once for each thread and
/// size, not for each layer, as no more layers are under way at a time than there are threads.
///
/// A step of a set that is warmed up does not allocate, unless it starts or installs a refresh with a
/// [staleness](crate::Refresh::staleness), and with one exception: what comes from outside
/// of rayon's pool, a call or in Rust a large product, passes through rayon's queue, which takes a
/// block of some 1.5 KB every few dozen times. Inside of `rayon::ThreadPool::install`, or after
/// [`set_parallel`](OptimizerSet::set_parallel)`(false)` and `set_backend_threads(1)`, nothing is
/// allocated.
///
/// ```
/// use layerwise_optim::ndarray::array;
/// use layerwise_optim::{
///     AdamW, Group, OptimError, OptimizerSet, Selector, Signals, Soap, Update,
/// };
///
/// // Hidden matrices to SOAP, the rest (embedding and biases) to AdamW.
/// let hidden = Selector::Matrices.except(Selector::named(["embedding"]));
/// let mut set = OptimizerSet::<f64>::new(vec![
///     Group::new(hidden, &Soap::default()),
///     Group::new(Selector::All, &AdamW::default()),
/// ]);
/// let mut weight = array![[1.0, 2.0], [3.0, 5.0]];
/// let mut bias = array![0.5, -0.5];
/// set.register("hidden.weight", weight.dim(), Signals::GRADIENT)?;
/// set.register("hidden.bias", (1, bias.len()), Signals::GRADIENT)?;
///
/// let (weight_gradient, bias_gradient) = (weight.clone(), bias.clone());
/// set.step(&mut [
///     Update::new("hidden.weight", weight.view_mut(), weight_gradient.view()),
///     Update::vector("hidden.bias", bias.view_mut(), bias_gradient.view()),
/// ])?;
/// assert!(set.report("hidden.bias").is_some_and(|report| report.step == 1));
/// # Ok::<(), OptimError>(())
/// ```
#[derive(Debug)]
pub struct OptimizerSet<A> {
    groups: Vec<Group>,
    parameters: Vec<Parameter<A>>,
    index: HashMap<String, usize>,
    /// The workspace of all optimizers, and how many of them at a time it is enough for.
    pool: Pool<A>,
    at_once: usize,
    parallel: bool,
    /// Calls that have been taken, and so the run's next step.
    steps: u64,
    clip: Option<Schedule>,
    constraint: Option<(Selector, Schedule)>,
    gradient_norm: Option<f64>,
    /// The error by which loading broke off, until the set is loaded as a whole.
    half_loaded: Option<OptimError>,
    /// Bytes that registered parameters may hold.
    memory_limit: Option<usize>,
}

#[derive(Debug)]
struct Parameter<A> {
    name: String,
    optimizer: Optimizer<A>,
    report: Option<StepReport>,
    /// The constraint on the norm counts it.
    is_constrained: bool,
    /// Which update of the step under way is its, and what that led to.
    update: Option<usize>,
    state: Progress,
    /// Which group it joined.
    group: usize,
}

/// How far a parameter has come with the step under way.
#[derive(Debug)]
enum Progress {
    /// It has no part in it.
    Idle,
    /// There is a direction.
    Directed(StepReport),
    Prepared(Prepared),
    Failed(OptimError),
}

/// Entries of the weights of a step below which waking other threads costs more than it saves.
const PARALLEL_ENTRIES: usize = 1 << 14;

impl<A: Scalar> OptimizerSet<A> {
    /// A set with these groups; a parameter joins the first that selects it.
    #[must_use]
    pub fn new(groups: Vec<Group>) -> Self {
        OptimizerSet {
            groups,
            parameters: Vec::new(),
            index: HashMap::new(),
            pool: Pool::new(),
            at_once: 1,
            parallel: true,
            steps: 0,
            clip: None,
            constraint: None,
            gradient_norm: None,
            half_loaded: None,
            memory_limit: None,
        }
    }

    /// Refuses, from now on, to register a parameter with which optimizers and workspace would hold more
    /// than so many bytes; `None` for no limit, as at the start.
    pub fn limit_memory(&mut self, bytes: Option<usize>) {
        self.memory_limit = bytes;
    }

    /// Adds a parameter of this shape, whose layer gives these signals beyond the gradient.
    ///
    /// # Errors
    ///
    /// A name that is taken, a parameter that no group selects, and, under the parameter's name, one with which
    /// a [limit](Self::limit_memory) of memory would be passed, and whatever
    /// [`build_for`](crate::Chain::build_for) refuses.
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
        let is_selected = |group: &Group| group.selector.selects(&name, shape);
        let Some((at, group)) = self.groups.iter().enumerate().find(|(_, g)| is_selected(g)) else {
            return Err(OptimError::NoGroup { name, rows: shape.0, cols: shape.1 });
        };
        let index = self.parameters.iter().filter(|parameter| parameter.group == at).count();
        let available = group.chain.required().check_available(available);
        let built = available.and_then(|()| group.chain_of(index).build_in(shape, &self.pool));
        let mut optimizer = built.map_err(|source| named(&name, source))?;
        self.pool.reserve(&[&optimizer.needs], 1);
        if let Some(limit) = self.memory_limit {
            let bytes = self.memory_bytes().saturating_add(optimizer.memory_bytes());
            if bytes > limit {
                return Err(named(&name, OptimError::MemoryLimit { bytes, limit }));
            }
        }
        self.at_once = 1;
        if self.clip.is_some() {
            optimizer.reserve_gradient();
        }
        let constraint = self.constraint.as_ref();
        let is_constrained = constraint.is_some_and(|(which, _)| which.selects(&name, shape));
        self.index.insert(name.clone(), self.parameters.len());
        self.parameters.push(Parameter {
            name,
            optimizer,
            report: None,
            is_constrained,
            update: None,
            state: Progress::Idle,
            group: at,
        });
        Ok(())
    }

    /// Steps the given parameters, each at most once; others stay as they are.
    ///
    /// # Errors
    ///
    /// Names that are unknown or given twice, and, under the parameter's name, whatever
    /// [`Optimizer::step`] refuses. No parameter of the set has changed then.
    pub fn step(&mut self, updates: &mut [Update<'_, '_, A>]) -> Result<()> {
        self.step_with(&Control::default(), updates)
    }

    /// As [`step`](Self::step), with what the caller decides about it, for all of these parameters.
    ///
    /// # Errors
    ///
    /// Those of `step`, and a control that is out of range.
    pub fn step_with(
        &mut self,
        control: &Control,
        updates: &mut [Update<'_, '_, A>],
    ) -> Result<()> {
        control.check()?;
        self.check_whole()?;
        let time = control.step.unwrap_or(self.steps);
        let control = Control { step: Some(time), ..*control };
        for parameter in &mut self.parameters {
            parameter.update = None;
            parameter.state = Progress::Idle;
        }
        let mut entries = 0;
        for (at, update) in updates.iter().enumerate() {
            let parameter = find(&mut self.parameters, &self.index, update.name)?;
            if parameter.update.replace(at).is_some() {
                return Err(OptimError::DuplicateParameter { name: update.name.to_owned() });
            }
            entries += update.weight.len();
        }
        let (control, norm) = self.clipped(control, time, updates)?;
        let threads = if self.parallel && entries >= PARALLEL_ENTRIES {
            rayon::current_num_threads().min(updates.len())
        } else {
            1
        };
        self.reserve(threads);
        match &self.constraint {
            None => {
                self.for_each(threads, updates, |parameter, update| {
                    parameter.prepare(&control, update)
                });
            }
            Some((_, bound)) => {
                bound.check_positive(When::Step(time), "constrain_norm")?;
                let bound = bound.value(time);
                self.for_each(threads, updates, |parameter, update| {
                    parameter.propose_direction(&control, update)
                });
                self.first_error(updates)?;
                let constrained = self.parameters.iter().filter(|p| p.is_constrained);
                let lengths = constrained.map(|p| p.length_along_gradient(updates));
                let factor = shrinkage(bound, 1.0, lengths.sum())?;
                self.for_each(threads, updates, |parameter, update| {
                    let factor = if parameter.is_constrained { factor } else { 1.0 };
                    parameter.propose_weight(&control, factor, update)
                });
            }
        }
        self.first_error(updates)?;
        self.take_all(threads, &control, updates);
        self.first_error(updates)?;
        self.steps = time.saturating_add(1);
        self.gradient_norm = norm;
        Ok(())
    }

    /// Makes workspace for so many parameters at a time.
    fn reserve(&mut self, at_once: usize) {
        if at_once > self.at_once {
            let needs: Vec<_> = self.parameters.iter().map(|p| &p.optimizer.needs).collect();
            self.pool.reserve(&needs, at_once);
            self.at_once = at_once;
        }
    }

    /// The control with the factor on all gradients, and their norm, where they are clipped.
    fn clipped(
        &self,
        control: Control,
        time: u64,
        updates: &[Update<'_, '_, A>],
    ) -> Result<(Control, Option<f64>)> {
        let Some(bound) = &self.clip else { return Ok((control, None)) };
        bound.check_positive(When::Step(time), "clip_global_norm")?;
        // In the order of registration, so that threads and callers change no bit.
        let given = self.parameters.iter().filter_map(|p| p.update.and_then(|at| updates.get(at)));
        let norm = norm_of_all(given.map(|update| update.signal.gradient()))?;
        let ratio = bound.value(time) / norm;
        let gradient_factor = if ratio < 1.0 { ratio } else { 1.0 };
        Ok((Control { gradient_factor, ..control }, Some(norm)))
    }

    /// Lets each parameter that has an update act on it.
    fn for_each(
        &mut self,
        threads: usize,
        updates: &[Update<'_, '_, A>],
        act: impl Fn(&mut Parameter<A>, &Update<'_, '_, A>) -> Result<Progress> + Send + Sync,
    ) {
        share_out(threads, self.parameters.iter_mut(), |parameter| {
            if let Some(update) = parameter.update.and_then(|at| updates.get(at)) {
                let acted = act(parameter, update);
                parameter.state = acted.unwrap_or_else(Progress::Failed);
            }
        });
    }

    /// Takes the steps that are prepared, each on its weight.
    fn take_all(&mut self, threads: usize, control: &Control, updates: &mut [Update<'_, '_, A>]) {
        // To go through them side by side, both have to be in one order.
        let index = &self.index;
        let place = |update: &Update<'_, '_, A>| index.get(update.name).copied();
        let in_order = updates.is_sorted_by_key(place);
        if !in_order {
            updates.sort_unstable_by_key(place);
        }
        let stepped = self.parameters.iter_mut().filter(|parameter| parameter.update.is_some());
        share_out(threads, stepped.zip(&mut *updates), |(parameter, update)| {
            parameter.take(control, update);
        });
        if !in_order {
            let parameters = &self.parameters;
            updates.sort_unstable_by_key(|update| {
                place(update).and_then(|at| parameters.get(at)).and_then(|p| p.update)
            });
        }
    }

    /// The first error in the order of the updates, whichever thread met one first.
    fn first_error(&mut self, updates: &[Update<'_, '_, A>]) -> Result<()> {
        for update in updates {
            let parameter = find(&mut self.parameters, &self.index, update.name)?;
            if let Progress::Failed(error) = &parameter.state {
                return Err(named(update.name, error.clone()));
            }
        }
        Ok(())
    }

    /// Clips the gradients of each call by their global norm: all of them are multiplied by
    /// `min(1, c/N)`, with `N` the norm of all gradients of the call as one vector (Pascanu, Mikolov and
    /// Bengio 2013). `None` for no clipping, as at the start. It is not part of the state.
    ///
    /// # Errors
    ///
    /// A bound `c` that is not finite and > 0.
    pub fn clip_global_norm(&mut self, bound: Option<Schedule>) -> Result<()> {
        if let Some(bound) = &bound {
            bound.check_positive(When::Build, "clip_global_norm")?;
            self.parameters.iter_mut().for_each(|p| p.optimizer.reserve_gradient());
        }
        self.clip = bound;
        Ok(())
    }

    /// Bounds each call's step by the norm constraint of KFAC (KL clip; Ba, Grosse and Martens 2017): the
    /// directions `D` that `η` multiplies are scaled by `min(1, √(κ / |Σ η² ⟨g, D⟩|))`, with the sum over
    /// those parameters of the call that the selector takes, and `g` their gradients; others stay as they
    /// are. `None` for no constraint, as at the start. It is not part of the state. The defaults of KFAC
    /// and EKFAC bound each layer's step already: set their `norm_constraint` to `None` beside it.
    ///
    /// # Errors
    ///
    /// A `κ` that is not finite and > 0.
    pub fn constrain_norm(&mut self, selector: Selector, bound: Option<Schedule>) -> Result<()> {
        if let Some(bound) = &bound {
            bound.check_positive(When::Build, "constrain_norm")?;
        }
        for parameter in &mut self.parameters {
            parameter.is_constrained =
                selector.selects(&parameter.name, parameter.optimizer.shape());
        }
        self.constraint = bound.map(|bound| (selector, bound));
        Ok(())
    }

    /// The global norm of the latest call's gradients as they were given, where it is
    /// [clipped](Self::clip_global_norm).
    #[must_use]
    pub fn gradient_norm(&self) -> Option<f64> {
        self.gradient_norm
    }

    /// The run's steps so far: calls that were taken, or one more than the last
    /// [given](Control::at).
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Whether steps with enough to do use rayon's threads (the default), or the caller's alone.
    /// The results are the same.
    pub fn set_parallel(&mut self, parallel: bool) {
        self.parallel = parallel;
    }

    /// The states of all parameters. Groups are not part of it: a parameter's method is.
    #[must_use]
    pub fn state(&self) -> OptimizerSetState<A> {
        OptimizerSetState::new(
            self.steps,
            self.parameters.iter().map(|p| (p.name.clone(), p.optimizer.state())).collect(),
        )
    }

    /// Takes the state of a set with the same parameters (in any order), each with the same
    /// method. Reports begin anew.
    ///
    /// # Errors
    ///
    /// Parameters that only one of the two has, and, under the parameter's name, whatever
    /// [`Optimizer::load`] refuses. No parameter of the set has changed then.
    pub fn load(&mut self, state: &OptimizerSetState<A>) -> Result<()> {
        self.resume(state, Resume::Exact)
    }

    /// As [`load`](Self::load), of parameters whose methods are the same or close enough.
    ///
    /// # Errors
    ///
    /// As `load`, with [`Optimizer::resume`].
    pub fn resume(&mut self, state: &OptimizerSetState<A>, resume: Resume) -> Result<()> {
        state.check_kind()?;
        if let Some(name) = state.names().find(|&name| !self.index.contains_key(name)) {
            return Err(OptimError::UnknownParameter { name: name.to_owned() });
        }
        let mut loaded = Vec::with_capacity(self.parameters.len());
        for Parameter { name, optimizer, .. } in &self.parameters {
            let Some(state) = state.parameter(name) else {
                return Err(OptimError::StateParameter { name: name.clone() });
            };
            loaded.push(optimizer.loaded(state, resume).map_err(|source| named(name, source))?);
        }
        for (parameter, optimizer) in self.parameters.iter_mut().zip(loaded) {
            parameter.optimizer = optimizer;
            parameter.report = None;
        }
        self.steps = state.steps();
        self.half_loaded = None;
        Ok(())
    }

    fn check_whole(&self) -> Result<()> {
        self.half_loaded.clone().map_or(Ok(()), Err)?;
        let parameters = &mut self.parameters.iter();
        parameters.try_for_each(|p| p.optimizer.check_whole().map_err(|e| named(&p.name, e)))
    }

    /// What the parameter's latest step did; `None` before it, and for unknown names.
    #[must_use]
    pub fn report(&self, name: &str) -> Option<&StepReport> {
        self.get(name).and_then(|parameter| parameter.report.as_ref())
    }

    /// What the latest step of each parameter did, in the order of registration; those that have
    /// not been stepped are left out.
    pub fn reports(&self) -> impl Iterator<Item = (&str, &StepReport)> {
        self.parameters.iter().filter_map(|p| p.report.as_ref().map(|r| (p.name.as_str(), r)))
    }

    /// The parameter's optimizer.
    #[must_use]
    pub fn optimizer(&self, name: &str) -> Option<&Optimizer<A>> {
        self.get(name).map(|parameter| &parameter.optimizer)
    }

    /// The parameter's optimizer, for instance to adapt its damping alone.
    pub fn optimizer_mut(&mut self, name: &str) -> Option<&mut Optimizer<A>> {
        let at = *self.index.get(name)?;
        self.parameters.get_mut(at).map(|parameter| &mut parameter.optimizer)
    }

    /// All optimizers by name, in the order of registration.
    pub fn optimizers_mut(&mut self) -> impl Iterator<Item = (&str, &mut Optimizer<A>)> {
        self.parameters.iter_mut().map(|p| (p.name.as_str(), &mut p.optimizer))
    }

    /// Adapts the damping of every parameter whose method asks for it, by the reduction of a loss
    /// that they share; see [`Optimizer::report_reduction`]. Returns how many there are.
    ///
    /// # Errors
    ///
    /// A ratio that is NaN, under the name of the first such parameter. Nothing has changed then.
    pub fn report_reduction(&mut self, ratio: f64) -> Result<usize> {
        let mut adapted = 0;
        for Parameter { name, optimizer, .. } in &mut self.parameters {
            if optimizer.chain().damping_adaptation.is_some() {
                optimizer.report_reduction(ratio).map_err(|source| named(name, source))?;
                adapted += 1;
            }
        }
        Ok(adapted)
    }

    /// The names, in the order of registration.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parameters.iter().map(|parameter| parameter.name.as_str())
    }

    /// Bytes of the arrays held by all optimizers, and of the workspace that they share.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let optimizers = self.parameters.iter().map(|parameter| parameter.optimizer.memory_bytes());
        optimizers.sum::<usize>() + self.pool.memory_bytes()
    }

    fn get(&self, name: &str) -> Option<&Parameter<A>> {
        self.index.get(name).and_then(|&at| self.parameters.get(at))
    }
}

impl<A: Scalar> Parameter<A> {
    fn prepare(&mut self, control: &Control, update: &Update<'_, '_, A>) -> Result<Progress> {
        let prepared = self.optimizer.prepare(control, &update.weight, &update.signal)?;
        Ok(Progress::Prepared(prepared))
    }

    fn propose_direction(
        &mut self,
        control: &Control,
        update: &Update<'_, '_, A>,
    ) -> Result<Progress> {
        let step = self.optimizer.step_of(control, &update.weight, &update.signal)?;
        let (report, _) = self.optimizer.observe(&step, control.gradient_factor)?;
        Ok(Progress::Directed(self.optimizer.propose_direction(&step, report)?))
    }

    fn length_along_gradient(&self, updates: &[Update<'_, '_, A>]) -> f64 {
        match (self.update.and_then(|at| updates.get(at)), &self.state) {
            (Some(update), Progress::Directed(report)) => {
                self.optimizer.length_along_gradient(&update.signal, report)
            }
            _ => 0.0,
        }
    }

    fn propose_weight(
        &mut self,
        control: &Control,
        factor: f64,
        update: &Update<'_, '_, A>,
    ) -> Result<Progress> {
        let Progress::Directed(report) = self.state else { return Ok(Progress::Idle) };
        let step = self.optimizer.step_of(control, &update.weight, &update.signal)?;
        Ok(Progress::Prepared(self.optimizer.propose_weight(&step, factor, report)?))
    }

    fn take(&mut self, control: &Control, update: &mut Update<'_, '_, A>) {
        let Progress::Prepared(prepared) = std::mem::replace(&mut self.state, Progress::Idle)
        else {
            return;
        };
        match self.optimizer.take(control, &mut update.weight, &update.signal, prepared) {
            Ok(report) => self.report = Some(report),
            Err(error) => self.state = Progress::Failed(error),
        }
    }
}

/// Acts on items in so many turns side by side, each of which takes one item after another. A thread that
/// waits for its part of a large product may begin another turn, but no more items are under way than turns.
fn share_out<T: Send>(
    threads: usize,
    items: impl Iterator<Item = T> + Send,
    act: impl Fn(T) + Send + Sync,
) {
    if threads < 2 {
        return items.for_each(act);
    }
    let items = Mutex::new(items);
    let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    (0..threads).into_par_iter().with_max_len(1).for_each(|_| {
        while let Some(item) = next() {
            act(item);
        }
    });
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
