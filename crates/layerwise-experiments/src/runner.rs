//! Runs the settings that figures ask for, one (setting, trial) at a time on each thread.

use std::collections::BTreeMap;

use layerwise_data::Streams;
use rayon::prelude::*;

use crate::linear::{self, LinearResults, LinearSetting, LinearTrial};
use crate::monitor::Monitor;
use crate::plan::Plan;
use crate::single_index::{self, SingleIndexResults, SingleIndexSetting, SingleIndexTrial};
use crate::{ExperimentError, Result};

/// What a figure wants to be run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Demand {
    /// Linear settings, each with the trials to show and the trials to tune on.
    pub linear: Vec<(LinearSetting, Trials)>,
    /// Single-index settings, each with the number of trials.
    pub single_index: Vec<(SingleIndexSetting, u64)>,
}

/// Numbers of trials of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trials {
    /// Shown in figures and judged in claims.
    pub shown: u64,
    /// Used for choosing rates only.
    pub tuning: u64,
}

/// The results of a run, by the settings' names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Results {
    /// Linear settings.
    pub linear: BTreeMap<String, LinearResults>,
    /// Single-index settings.
    pub single_index: BTreeMap<String, SingleIndexResults>,
}

/// Tuning trials draw from streams of their own, far from any number of shown ones.
const TUNING_OFFSET: u64 = 1 << 32;

enum Unit<'a> {
    Linear(&'a LinearSetting, u64),
    SingleIndex(&'a SingleIndexSetting, u64),
}

enum Outcome<'a> {
    Linear(&'a LinearSetting, u64, LinearTrial),
    SingleIndex(&'a SingleIndexSetting, SingleIndexTrial),
}

impl<'a> Unit<'a> {
    fn run(&self, streams: &Streams, monitor: &dyn Monitor) -> Result<Outcome<'a>> {
        Ok(match *self {
            Unit::Linear(setting, trial) => {
                let outcome = linear::run_trial(setting, streams, trial, monitor)?;
                Outcome::Linear(setting, trial, outcome)
            }
            Unit::SingleIndex(setting, trial) => {
                let outcome = single_index::run_trial(setting, streams, trial, monitor)?;
                Outcome::SingleIndex(setting, outcome)
            }
        })
    }
}

/// Joins the demands of several figures: a setting that two of them share is run once.
///
/// # Errors
/// [`ExperimentError::ConflictingSettings`] where two settings differ under one name.
pub fn merge(demands: Vec<Demand>) -> Result<Demand> {
    let mut merged = Demand::default();
    for demand in demands {
        merge_into(&mut merged.linear, demand.linear, |setting| setting.name)?;
        merge_into(&mut merged.single_index, demand.single_index, |setting| &setting.name)?;
    }
    Ok(merged)
}

fn merge_into<S: PartialEq, T: PartialEq>(
    merged: &mut Vec<(S, T)>,
    more: Vec<(S, T)>,
    name: impl Fn(&S) -> &str,
) -> Result<()> {
    for entry in more {
        match merged.iter().find(|known| name(&known.0) == name(&entry.0)) {
            None => merged.push(entry),
            Some(known) if *known == entry => {}
            Some(_) => {
                return Err(ExperimentError::ConflictingSettings(name(&entry.0).into()));
            }
        }
    }
    Ok(())
}

/// Work of a demand, in the units of [`Monitor::advance`].
#[must_use]
pub fn work(demand: &Demand) -> u64 {
    let linear = demand.linear.iter().map(|(setting, trials)| {
        (setting.iterations * setting.cells.len()) as u64 * (trials.shown + trials.tuning)
    });
    let single = demand.single_index.iter().map(|(setting, trials)| setting.work() * trials);
    linear.sum::<u64>() + single.sum::<u64>()
}

/// Runs a demand on `threads` threads. The results do not depend on their number.
///
/// # Errors
/// [`ExperimentError::Interrupted`], [`ExperimentError::Threads`], and faults of a setting.
pub fn run(demand: &Demand, plan: &Plan, threads: usize, monitor: &dyn Monitor) -> Result<Results> {
    let streams = Streams::new(plan.seed);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| ExperimentError::Threads { threads, reason: error.to_string() })?;
    let units = units(demand);
    // Units differ in length by a factor of a hundred: no two of them are bound together.
    let outcomes: Result<Vec<Outcome<'_>>> = pool.install(|| {
        units.par_iter().with_max_len(1).map(|unit| unit.run(&streams, monitor)).collect()
    });

    let mut results = Results::default();
    for outcome in outcomes? {
        match outcome {
            Outcome::Linear(setting, trial, outcome) => {
                let entry = results
                    .linear
                    .entry(setting.name.into())
                    .or_insert_with(|| LinearResults::empty(setting.clone()));
                let trials =
                    if trial >= TUNING_OFFSET { &mut entry.tuning } else { &mut entry.shown };
                trials.push(outcome);
            }
            Outcome::SingleIndex(setting, outcome) => {
                let entry = results
                    .single_index
                    .entry(setting.name.clone())
                    .or_insert_with(|| SingleIndexResults::empty(setting.clone()));
                entry.trials.push(outcome);
            }
        }
    }
    Ok(results)
}

fn units(demand: &Demand) -> Vec<Unit<'_>> {
    let mut units = Vec::new();
    for (setting, trials) in &demand.linear {
        units.extend((0..trials.tuning).map(|t| Unit::Linear(setting, TUNING_OFFSET + t)));
        units.extend((0..trials.shown).map(|t| Unit::Linear(setting, t)));
    }
    for (setting, trials) in &demand.single_index {
        units.extend((0..*trials).map(|t| Unit::SingleIndex(setting, t)));
    }
    units
}
