//! Runs what is missing of experiments, one trial of a setting at a time on each thread, and keeps each
//! result in a store as soon as it is there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use layerwise_data::Streams;
use rayon::prelude::*;
use serde_json::Value;

use crate::experiment::{Experiment, Setting};
use crate::model::{Outcome, Trial};
use crate::monitor::Monitor;
use crate::record::CODE;
use crate::store::{Key, Record, Store};
use crate::{ExperimentError, Result};

/// Numbers of trials of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trials {
    /// Shown in panels and judged in claims.
    pub shown: u64,
    /// Used for choosing hyperparameters only.
    pub tuning: u64,
}

impl Trials {
    fn contain(self, trial: u64) -> bool {
        trial < self.shown || (trial >= TUNING_OFFSET && trial - TUNING_OFFSET < self.tuning)
    }

    /// Their numbers in the streams, those for tuning first.
    fn numbers(self) -> impl Iterator<Item = u64> {
        (TUNING_OFFSET..TUNING_OFFSET + self.tuning).chain(0..self.shown)
    }
}

/// Tuning trials draw from streams of their own, far from any number of shown ones.
const TUNING_OFFSET: u64 = 1 << 32;

/// A share of the work: number `index` of `count`, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Which share, from 1 to `count`.
    pub index: u64,
    /// How many there are.
    pub count: u64,
}

impl Share {
    /// All of the work.
    pub const ALL: Self = Self { index: 1, count: 1 };
}

/// What a record of an experiment depends on, but for the trial: a method on a setting.
struct Identity {
    /// Up to the number of the trial.
    head: String,
    tail: String,
}

impl Identity {
    /// The keys in the order of the alphabet, so that the text is canonical.
    fn new(experiment: &Experiment, setting: &Setting, cells: &[Value], backend: &str) -> Self {
        let text = |text: &str| Value::from(text).to_string();
        let head = format!(
            "{{\"backend\":{},\"methods\":{},\"model\":{},\"samples\":{},\"seed\":{},\"stream\":{},\
             \"task\":{},\"trial\":",
            text(backend),
            Value::from(cells.to_vec()),
            text(experiment.model.name()),
            setting.samples,
            experiment.plan.seed,
            text(&setting.stream),
            setting.problem.canonical(),
        );
        Self { head, tail: format!(",\"version\":{}}}", experiment.model.result_version()) }
    }

    fn of(&self, trial: u64) -> String {
        format!("{}{trial}{}", self.head, self.tail)
    }

    /// Bytes of one, about.
    fn length(&self) -> u64 {
        (self.head.len() + self.tail.len()) as u64
    }
}

/// All that the record of a method on a setting's shown trial depends on, as canonical JSON, were it
/// computed by this backend: its key is the hash of that.
#[must_use]
pub fn identity(
    experiment: &Experiment,
    setting: &Setting,
    cells: &[Value],
    trial: u64,
    backend: &str,
) -> String {
    Identity::new(experiment, setting, cells, backend).of(trial)
}

/// A method on a setting.
struct Job<'a> {
    cells: &'a [Value],
    identity: Identity,
}

/// Methods of one trial of a setting whose results are missing.
struct Unit<'a> {
    experiment: &'a Experiment,
    setting: &'a Setting,
    trial: u64,
    /// Numbers among the jobs.
    missing: Vec<usize>,
}

/// What is to be done of some experiments.
pub struct Work<'a> {
    jobs: Vec<Job<'a>>,
    units: Vec<Unit<'a>>,
    /// Trials of settings in this share, those that are there included.
    pub mine: u64,
    /// Of these, the ones of which something is missing.
    pub missing: u64,
}

impl<'a> Work<'a> {
    /// What is missing in a store, each result once, whichever experiments it is of; of that a share. A
    /// trial is always of the same share, whatever else is missing.
    #[must_use]
    pub fn missing(experiments: &'a [Experiment], store: Option<&Store>, share: Share) -> Self {
        let mut work = Self { jobs: Vec::new(), units: Vec::new(), mine: 0, missing: 0 };
        let mut number = 0;
        // Of jobs that several experiments have, the trials that are taken care of.
        let mut taken: HashMap<String, Vec<Trials>> = HashMap::new();
        let backend = layerwise_linalg::backend().to_string();
        for experiment in experiments {
            for setting in &experiment.settings {
                let first = work.jobs.len();
                let mut before = Vec::with_capacity(setting.methods.len());
                for (_, cells) in &setting.methods {
                    let identity = Identity::new(experiment, setting, cells, &backend);
                    let taken = taken.entry(identity.of(0)).or_default();
                    before.push(taken.clone());
                    taken.push(experiment.trials);
                    work.jobs.push(Job { cells, identity });
                }
                for trial in experiment.trials.numbers() {
                    number += 1;
                    if (number - 1) % share.count != share.index - 1 {
                        continue;
                    }
                    work.mine += 1;
                    let is_missing = |job: &usize| {
                        let key = || Key::of(&work.jobs[*job].identity.of(trial));
                        !before[job - first].iter().any(|trials| trials.contain(trial))
                            && !store.is_some_and(|store| store.contains(&key()))
                    };
                    let missing: Vec<usize> = (first..work.jobs.len()).filter(is_missing).collect();
                    if !missing.is_empty() {
                        work.missing += 1;
                        work.units.push(Unit { experiment, setting, trial, missing });
                    }
                }
            }
        }
        work
    }

    fn cells(&self, unit: &Unit<'_>) -> usize {
        unit.missing.iter().map(|&job| self.jobs[job].cells.len()).sum()
    }

    fn size_of(&self, unit: &Unit<'_>) -> u64 {
        unit.setting.problem.work(self.cells(unit))
    }

    /// Its size, in the units of [`Monitor::advance`].
    #[must_use]
    pub fn size(&self) -> u64 {
        self.units.iter().fold(0, |size: u64, unit| size.saturating_add(self.size_of(unit)))
    }

    /// Records that it will make.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.units.iter().map(|unit| unit.missing.len() as u64).sum()
    }

    /// Bytes of these, about.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let of = |unit: &Unit<'_>| -> u64 {
            let identities = unit.missing.iter().map(|&job| self.jobs[job].identity.length());
            let series = unit.experiment.model.measures().len() * self.cells(unit);
            let numbers = series * unit.setting.problem.recorded().len();
            identities.sum::<u64>() + 8 * numbers as u64
        };
        self.units.iter().map(of).sum()
    }

    fn run_unit(
        &self,
        unit: &Unit<'_>,
        streams: &Streams,
        monitor: &dyn Monitor,
    ) -> Result<Vec<Record>> {
        let jobs: Vec<&Job<'_>> = unit.missing.iter().map(|&job| &self.jobs[job]).collect();
        let cells: Vec<&Value> = jobs.iter().flat_map(|job| job.cells).collect();
        let Setting { stream, samples, problem, .. } = unit.setting;
        let trial = Trial { streams, stream, trial: unit.trial, samples: *samples };
        let Outcome { trial, cells } = problem.run(&cells, &trial, monitor)?;
        let mut cells = cells.into_iter();
        let record = |job: &&Job<'_>| Record {
            identity: job.identity.of(unit.trial),
            code: CODE.into(),
            outcome: Outcome {
                trial: trial.clone(),
                cells: cells.by_ref().take(job.cells.len()).collect(),
            },
        };
        Ok(jobs.iter().map(record).collect())
    }

    /// Does it on `threads` threads, each result kept as soon as it is there. The results do not depend
    /// on the number of threads.
    ///
    /// # Errors
    /// [`ExperimentError::Interrupted`], [`ExperimentError::Threads`], faults of a setting, and what the
    /// store cannot take. All trials that were done by then are kept.
    pub fn run(&self, store: &Store, threads: usize, monitor: &dyn Monitor) -> Result<()> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .map_err(|error| ExperimentError::Threads { threads, reason: error.to_string() })?;
        // Units differ in length by a factor of a hundred: no two of them are bound together.
        pool.install(|| {
            self.units.par_iter().with_max_len(1).try_for_each(|unit| {
                let streams = Streams::new(unit.experiment.plan.seed);
                let records = self.run_unit(unit, &streams, monitor)?;
                records.iter().try_for_each(|record| store.put(record))
            })
        })
    }

    /// Runs its longest unit for two seconds at most, and keeps nothing: seconds for a unit of
    /// [`size`](Self::size) on one thread.
    ///
    /// # Errors
    /// Faults of a setting.
    pub fn measure(&self) -> Result<Option<f64>> {
        let longest = self.units.iter().max_by_key(|unit| self.size_of(unit));
        let Some(unit) = longest else { return Ok(None) };
        let streams = Streams::new(unit.experiment.plan.seed);
        let stopwatch = Stopwatch { start: Instant::now(), work: AtomicU64::new(0) };
        match self.run_unit(unit, &streams, &stopwatch) {
            Ok(_) | Err(ExperimentError::Interrupted) => {}
            Err(error) => return Err(error),
        }
        let work = stopwatch.work.load(Ordering::Relaxed).max(1);
        Ok(Some(stopwatch.start.elapsed().as_secs_f64() / work as f64))
    }
}

/// Counts work, and stops it after two seconds, once there is some.
struct Stopwatch {
    start: Instant,
    work: AtomicU64,
}

impl Monitor for Stopwatch {
    fn advance(&self, work: u64) {
        self.work.fetch_add(work, Ordering::Relaxed);
    }

    fn interrupted(&self) -> bool {
        self.start.elapsed().as_secs() >= 2 && self.work.load(Ordering::Relaxed) > 0
    }
}

/// All results of an experiment.
#[derive(Debug, Clone)]
pub struct Results {
    /// In the order of its settings.
    pub settings: Vec<SettingResults>,
}

/// All results on a setting: of each of its methods in order, trial by trial.
#[derive(Debug, Clone)]
pub struct SettingResults {
    /// Shown and judged.
    pub shown: Vec<Vec<Outcome>>,
    /// To choose hyperparameters on.
    pub tuning: Vec<Vec<Outcome>>,
}

impl Results {
    /// Reads them from a store; `None` where some are missing, or turned out to be damaged.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn read(experiment: &Experiment, store: &Store) -> Result<Option<Self>> {
        let backend = layerwise_linalg::backend().to_string();
        let (results, missing) = Self::read_of(experiment, store, &backend)?;
        Ok(missing.is_empty().then_some(results))
    }

    /// Reads what a backend computed of them, and names each record that is missing or damaged.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn read_of(
        experiment: &Experiment,
        store: &Store,
        backend: &str,
    ) -> Result<(Self, Vec<Missing>)> {
        let mut settings = Vec::with_capacity(experiment.settings.len());
        // All damage is to be found at once.
        let mut missing = Vec::new();
        for setting in &experiment.settings {
            let mut results = SettingResults { shown: Vec::new(), tuning: Vec::new() };
            for (method, cells) in &setting.methods {
                let identity = Identity::new(experiment, setting, cells, backend);
                let (mut shown, mut tuning) = (Vec::new(), Vec::new());
                for trial in experiment.trials.numbers() {
                    let key = Key::of(&identity.of(trial));
                    match store.get(&key)? {
                        Some(record) if trial >= TUNING_OFFSET => tuning.push(record.outcome),
                        Some(record) => shown.push(record.outcome),
                        None => missing.push(Missing {
                            setting: setting.name.clone(),
                            method: experiment.methods[*method].name.clone(),
                            trial,
                            key,
                        }),
                    }
                }
                results.shown.push(shown);
                results.tuning.push(tuning);
            }
            settings.push(results);
        }
        Ok((Self { settings }, missing))
    }
}

/// A result that a store does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The setting's name.
    pub setting: String,
    /// The method's name.
    pub method: String,
    /// Number of the trial in the streams.
    pub trial: u64,
    /// The key of its record.
    pub key: Key,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { setting, method, trial, key } = self;
        match trial.checked_sub(TUNING_OFFSET) {
            Some(tuning) => {
                write!(f, "record {key} of {method} on {setting}, tuning trial {tuning}")
            }
            None => write!(f, "record {key} of {method} on {setting}, trial {trial}"),
        }
    }
}
