//! Refreshes that are computed beside the steps, each installed at a step that is known when it begins.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use layerwise_linalg::{Scalar, check_symmetric};
use ndarray::{Array2, Zip};

use crate::error::{OptimError, Result, Side};
use crate::numeric::finite::{bytes, check_finite, first_non_finite};
use crate::stages::refresh::Progress;
use crate::state::persist::{Persist, check_loaded_symmetric, join};
use crate::state::staged::Staged;
use crate::statistics::factor::Source;
use crate::values::{LARGEST_COUNT, StateReader, StateWriter, refuse};

/// What computes a refresh: all that it works in, and its result.
pub(crate) trait Job<A, T>: Send + 'static {
    /// Computes from these factors; the result stays here.
    fn run(&mut self, given: &Given<A, T>);

    fn memory_bytes(&self) -> usize;
}

/// The factors that a refresh is computed of, and what is told with them.
#[derive(Clone, Debug)]
pub(crate) struct Given<A, T> {
    /// The run's step at which it was due.
    pub(crate) time: u64,
    pub(crate) told: T,
    left: Option<Copied<A>>,
    right: Option<Copied<A>>,
}

/// The factor of a side as it was.
#[derive(Clone, Debug)]
struct Copied<A> {
    factor: Array2<A>,
    /// Divisor of the bias correction.
    correction: f64,
    /// It is the Cholesky factor of that; `None` where it never is.
    is_cholesky: Option<bool>,
}

impl<A: Scalar, T> Given<A, T> {
    /// Of factors of these sizes, where there are any, of which Cholesky factors may or may not do.
    pub(crate) fn new(told: T, sizes: [Option<usize>; 2], takes_cholesky: bool) -> Self {
        let [left, right] = sizes.map(|size| {
            size.map(|n| Copied {
                factor: Array2::zeros((n, n)),
                correction: 1.0,
                is_cholesky: takes_cholesky.then_some(false),
            })
        });
        Given { time: 0, told, left, right }
    }

    fn side(&self, side: Side) -> Option<&Copied<A>> {
        match side {
            Side::Left => self.left.as_ref(),
            Side::Right => self.right.as_ref(),
        }
    }

    /// The factor of a side, and the divisor of its bias correction.
    pub(crate) fn source(&self, side: Side) -> (Source<'_, A>, f64) {
        let Some(copied) = self.side(side) else { return (Source::Identity, 1.0) };
        let factor = copied.factor.view();
        let source = match copied.is_cholesky {
            Some(true) => Source::Cholesky(factor),
            _ => Source::Moment(factor),
        };
        (source, copied.correction)
    }

    /// Copies a side's factor. What no state may hold is refused here: it is of the signal, not of the
    /// factorization.
    pub(crate) fn copy(
        &mut self,
        side: Side,
        source: &Source<'_, A>,
        correction: f64,
    ) -> Result<()> {
        let copied = match side {
            Side::Left => &mut self.left,
            Side::Right => &mut self.right,
        };
        let Some(copied) = copied else { return Ok(()) };
        copied.correction = correction;
        copied.is_cholesky = copied.is_cholesky.map(|_| matches!(source, Source::Cholesky(_)));
        match source {
            Source::Identity => {
                copied.factor.fill(A::zero());
                copied.factor.diag_mut().fill(A::one());
            }
            Source::Moment(moment) => {
                if let Some((row, col, value)) = first_non_finite(moment) {
                    let what = "a factor's statistic";
                    return Err(OptimError::Overflow { what, row, col, value });
                }
                check_symmetric(*moment).map_err(|source| OptimError::Factor { side, source })?;
                copied.factor.assign(moment);
            }
            Source::Cholesky(lower) => {
                Zip::indexed(&mut copied.factor).and(lower).for_each(|(row, col), to, &x| {
                    *to = if col <= row { x } else { A::zero() };
                });
                let what = match side {
                    Side::Left => "output factor",
                    Side::Right => "input factor",
                };
                check_finite(what, &copied.factor.view())?;
            }
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        [&self.left, &self.right].into_iter().flatten().map(|c| bytes::<A>(c.factor.dim())).sum()
    }
}

impl<A: Scalar, T: Persist<A>> Persist<A> for Given<A, T> {
    fn save<'s>(&'s self, path: &str, out: &mut StateWriter<'s, A>) {
        out.count(&join(path, "time"), self.time);
        self.told.save(path, out);
        self.left.save(&join(path, "left"), out);
        self.right.save(&join(path, "right"), out);
    }

    fn load(&mut self, path: &str, from: &mut StateReader<'_, A>) -> Result<()> {
        self.time = from.count(&join(path, "time"))?;
        self.told.load(path, from)?;
        self.left.load(&join(path, "left"), from)?;
        self.right.load(&join(path, "right"), from)
    }
}

impl<A: Scalar> Persist<A> for Copied<A> {
    fn save<'s>(&'s self, path: &str, out: &mut StateWriter<'s, A>) {
        self.factor.save(&join(path, "factor"), out);
        out.number(&join(path, "correction"), self.correction);
        Persist::<A>::save(&self.is_cholesky, &join(path, "is_cholesky"), out);
    }

    fn load(&mut self, path: &str, from: &mut StateReader<'_, A>) -> Result<()> {
        let factor = join(path, "factor");
        self.factor.load(&factor, from)?;
        let correction = join(path, "correction");
        self.correction = from.number(&correction)?;
        if self.correction <= 0.0 {
            return Err(refuse(&correction, "is not > 0"));
        }
        Persist::<A>::load(&mut self.is_cholesky, &join(path, "is_cholesky"), from)?;
        if self.is_cholesky == Some(true) {
            return Ok(());
        }
        check_loaded_symmetric(&factor, self.factor.view())
    }
}

/// Refreshes one at a time, each begun at one step and installed at a later one.
#[derive(Debug)]
pub(crate) struct Background<A, J, T> {
    staleness: u64,
    /// The step, counted from 1, that installs what is under way; 0 where nothing is.
    install: Staged<u64>,
    /// What is under way is computed of. It is no part of the state where nothing is.
    given: Arc<Given<A, T>>,
    /// Here, where no thread has it.
    job: Option<Box<J>>,
    thread: Option<Arc<Slot<J>>>,
    /// How the job has ended of which the result is here.
    outcome: Option<Result<()>>,
    bytes: usize,
}

impl<A, J, T> Background<A, J, T>
where
    A: Scalar,
    J: Job<A, T>,
    T: Clone + Send + Sync + 'static,
{
    pub(crate) fn new(staleness: u64, job: J, given: Given<A, T>) -> Self {
        Background {
            staleness,
            install: Staged::twice(0),
            bytes: job.memory_bytes() + given.memory_bytes(),
            given: Arc::new(given),
            job: Some(Box::new(job)),
            thread: None,
            outcome: None,
        }
    }

    pub(crate) fn is_under_way(&self) -> bool {
        *self.install.current() != 0
    }

    /// Whether this step, counted from 1, installs what is under way.
    pub(crate) fn is_installed_at(&self, step: u64) -> bool {
        self.is_under_way() && step >= *self.install.current()
    }

    /// The place for the factors of a refresh that is to begin, where none is under way.
    pub(crate) fn given_mut(&mut self) -> &mut Given<A, T> {
        Arc::make_mut(&mut self.given)
    }

    /// Proposes to begin a refresh at this step, of what was given.
    pub(crate) fn propose_begun(&mut self, step: u64) {
        *self.install.split().1 = step.saturating_add(self.staleness).min(LARGEST_COUNT);
        self.install.propose();
    }

    /// Proposes that what is under way is no longer.
    pub(crate) fn propose_installed(&mut self) {
        *self.install.split().1 = 0;
        self.install.propose();
    }

    /// Has what is under way computed, if that has not begun. It is no step that changes the state: what is
    /// prepared is of the state, and so is what is given.
    pub(crate) fn start(&mut self, prepare: impl FnOnce(&mut J)) {
        if !self.is_under_way() || self.outcome.is_some() {
            return;
        }
        let Some(mut job) = self.job.take() else { return };
        prepare(&mut job);
        // A pool of one thread: a product inside stays on it. One that waited for a place in the pool that
        // takes the steps would wait forever where all threads there wait for refreshes.
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .thread_name(|_| "refresh".to_owned())
            .build();
        // Without a thread, the step that installs computes it.
        let Ok(threads) = threads else {
            self.job = Some(job);
            return;
        };
        let slot = Arc::new(Slot { done: Mutex::new(None), is_done: Condvar::new() });
        let (given, place) = (Arc::clone(&self.given), Arc::clone(&slot));
        threads.spawn(move || {
            let outcome = run(&mut *job, &given);
            // The copies are the stage's alone again before it knows.
            drop(given);
            place.put(job, outcome);
        });
        self.thread = Some(slot);
    }

    /// Waits for a thread that has the job.
    fn wait(&mut self) {
        if let Some(slot) = self.thread.take() {
            let (job, outcome) = slot.take();
            self.job = Some(job);
            self.outcome = Some(outcome);
        }
    }

    /// The job with the result of what is under way, which it stays until that is installed.
    pub(crate) fn finish(&mut self) -> Result<&J> {
        self.wait();
        let lost = || OptimError::Background { message: "it is lost".to_owned() };
        let job = self.job.as_mut().ok_or_else(lost)?;
        self.outcome.get_or_insert_with(|| run(&mut **job, &self.given)).clone()?;
        Ok(job)
    }

    /// Has what is under way computed again: what it is prepared with has changed.
    pub(crate) fn restart(&mut self) {
        self.wait();
        self.outcome = None;
    }

    /// Of a state that was loaded after so many steps.
    pub(crate) fn check_loaded(&mut self, steps: u64) -> Result<()> {
        let install = *self.install.current();
        if install == 0 {
            return Ok(());
        }
        if install <= steps {
            return Err(refuse(INSTALL, "is not after the steps taken"));
        }
        // Of an optimizer with a larger staleness.
        self.install = Staged::twice(install.min(steps.saturating_add(self.staleness)));
        Ok(())
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes
    }
}

/// What a step does about refreshes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// One is computed and used.
    pub(crate) is_at_once: bool,
    /// One begins that a later step installs.
    pub(crate) begins: bool,
    /// One is used that an earlier step has begun.
    pub(crate) installs: bool,
}

impl Plan {
    /// Of the step after these, where the rule says whether a refresh is due. The first is at once. While
    /// one is under way no other begins, which is met where the rule has changed since.
    pub(crate) fn new<A: Scalar, J: Job<A, T>, T: Clone + Send + Sync + 'static>(
        background: Option<&Background<A, J, T>>,
        progress: &Progress,
        is_due: bool,
    ) -> Self {
        match background.filter(|_| progress.ready) {
            None => Plan { is_at_once: is_due, begins: false, installs: false },
            Some(background) => Plan {
                is_at_once: false,
                begins: is_due && !background.is_under_way(),
                installs: background.is_installed_at(progress.steps + 1),
            },
        }
    }
}

/// Where the step that installs is in the state of a stage.
const INSTALL: &str = "background.install";

impl<A, J, T> Persist<A> for Background<A, J, T>
where
    A: Scalar,
    J: Job<A, T>,
    T: Persist<A> + Clone + Send + Sync + 'static,
{
    fn save<'s>(&'s self, path: &str, out: &mut StateWriter<'s, A>) {
        self.install.save(&join(path, "install"), out);
        if self.is_under_way() {
            self.given.save(path, out);
        }
    }

    fn load(&mut self, path: &str, from: &mut StateReader<'_, A>) -> Result<()> {
        self.restart();
        self.install.load(&join(path, "install"), from)?;
        if self.is_under_way() { self.given_mut().load(path, from) } else { Ok(()) }
    }

    fn discard(&mut self) {
        self.install.discard();
    }

    fn commit(&mut self) {
        if self.install.is_proposed() {
            self.outcome = None;
        }
        self.install.commit();
    }
}

/// Runs a job; a panic is an error.
fn run<A, T>(job: &mut impl Job<A, T>, given: &Given<A, T>) -> Result<()> {
    // What it was interrupted in is overwritten when it is run again.
    catch_unwind(AssertUnwindSafe(|| job.run(given)))
        .map_err(|panic| OptimError::Background { message: message(&*panic) })
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no text".to_owned())
}

/// Where a thread puts a job that it has run.
struct Slot<J> {
    done: Mutex<Option<(Box<J>, Result<()>)>>,
    is_done: Condvar,
}

impl<J> Slot<J> {
    fn put(&self, job: Box<J>, outcome: Result<()>) {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner) = Some((job, outcome));
        self.is_done.notify_one();
    }

    fn take(&self) -> (Box<J>, Result<()>) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(done) = done.take() {
                return done;
            }
            done = self.is_done.wait(done).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<J> fmt::Debug for Slot<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").finish_non_exhaustive()
    }
}
