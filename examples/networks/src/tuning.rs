//! The choice of a rate, and the runs that are shown.

use rayon::prelude::*;

use crate::data::Examples;
use crate::error::Result;
use crate::methods::{Candidate, RATES};
use crate::network::Network;
use crate::task::{Budget, Task};
use crate::training::{Run, train};

/// A method with the rate that served it best, and its runs.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The method.
    pub candidate: Candidate,
    /// The chosen rate.
    pub rate: f64,
    /// Whether it is the largest or the smallest that was tried: beyond may be a better one.
    pub at_edge: bool,
    /// Runs on the seeds that are shown.
    pub runs: Vec<Run>,
}

/// For each method, takes the rate with the least mean training loss at the end of the tuning runs
/// (one that is refused counts as infinite), and trains with it on other seeds. Runs are side by side,
/// one on each of rayon's threads; what comes out does not depend on how many there are, but for the
/// seconds.
///
/// # Errors
///
/// Arrays that do not fit.
pub fn tune_and_train<N: Network<f32, Batch = E::Batch>, E: Examples>(
    candidates: &[Candidate],
    task: &Task<N, E>,
    budget: &Budget,
) -> Result<Vec<Trained>> {
    let score_only_the_end = Budget { every: budget.steps, ..*budget };
    let mut trials = Vec::new();
    for candidate in candidates {
        for rate in candidate.rates() {
            trials.extend((0..budget.tuning_runs).map(|seed| (candidate, rate, seed)));
        }
    }
    let losses: Result<Vec<f64>> = side_by_side(&trials, |&(candidate, rate, seed)| {
        Ok(train(candidate, rate, task, &score_only_the_end, seed)?.final_loss())
    });
    let losses = losses?;
    let of_rate = (budget.tuning_runs as usize).max(1);
    let mut chosen = Vec::new();
    for (candidate, losses) in candidates.iter().zip(losses.chunks(of_rate * RATES)) {
        let mut best = (f64::INFINITY, RATES / 2);
        for (number, losses) in losses.chunks(of_rate).enumerate() {
            let loss = losses.iter().sum::<f64>();
            if loss < best.0 {
                best = (loss, number);
            }
        }
        chosen.push((candidate, best.1));
    }

    let mut shown = Vec::new();
    for &(candidate, number) in &chosen {
        let seeds = budget.tuning_runs..budget.tuning_runs + budget.shown_runs;
        shown.extend(seeds.map(|seed| (candidate, candidate.rates()[number], seed)));
    }
    let runs: Result<Vec<Run>> =
        side_by_side(&shown, |&(candidate, rate, seed)| train(candidate, rate, task, budget, seed));
    let mut runs = runs?.into_iter();
    let of_method = |(candidate, number): (&Candidate, usize)| Trained {
        candidate: candidate.clone(),
        rate: candidate.rates()[number],
        at_edge: number == 0 || number + 1 == RATES,
        runs: runs.by_ref().take(budget.shown_runs as usize).collect(),
    };
    Ok(chosen.into_iter().map(of_method).collect())
}

/// One item a thread at a time, in whichever order; the results are in the items' order.
pub(crate) fn side_by_side<T: Sync, R: Send>(
    items: &[T],
    run: impl Fn(&T) -> Result<R> + Sync + Send,
) -> Result<Vec<R>> {
    items.par_iter().with_max_len(1).map(run).collect()
}
