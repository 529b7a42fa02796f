//! How much of the figures' settings a run covers.

use serde::{Deserialize, Serialize};

/// What the user chose. Two runs with equal plans produce the same results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Fewer trials and coarser grids, the same dimensions, iterations, methods and claims.
    pub quick: bool,
    /// Number of shown trials of every figure, in place of each figure's own.
    pub trials: Option<u64>,
    /// Seed of all random streams.
    pub seed: u64,
}

impl Plan {
    /// Number of trials to show, given a figure's own numbers.
    #[must_use]
    pub fn shown_trials(&self, full: u64, quick: u64) -> u64 {
        self.trials.unwrap_or(if self.quick { quick } else { full })
    }

    /// Number of trials to choose rates on; they are never shown.
    #[must_use]
    pub fn tuning_trials(&self) -> u64 {
        if self.quick { 1 } else { 3 }
    }

    /// The learning rates η: 10^{−4, −11/3, …, 0}, every third of them in a quick run.
    #[must_use]
    pub fn rates(&self) -> Vec<f64> {
        self.grid(-4.0, 0.0, 13, 3)
    }

    /// `count` points, equally spaced on a logarithmic scale between powers of ten, both
    /// included; only every `stride`-th in a quick run.
    #[must_use]
    pub fn grid(&self, low: f64, high: f64, count: usize, stride: usize) -> Vec<f64> {
        self.linear_grid(low, high, count, stride).into_iter().map(|e| 10_f64.powf(e)).collect()
    }

    /// `count` equally spaced points, both ends included; every `stride`-th in a quick run.
    #[must_use]
    pub fn linear_grid(&self, low: f64, high: f64, count: usize, stride: usize) -> Vec<f64> {
        let step = (high - low) / (count - 1) as f64;
        let stride = if self.quick { stride } else { 1 };
        (0..count).step_by(stride).map(|i| low + step * i as f64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_grids_are_subsets_with_both_ends() {
        let full = Plan { quick: false, trials: None, seed: 1 };
        let quick = Plan { quick: true, ..full };
        assert_eq!(full.rates().len(), 13);
        assert_eq!((full.rates()[0], full.rates()[12]), (1e-4, 1.0));
        assert_eq!(quick.rates().len(), 5);
        assert!(quick.rates().iter().all(|rate| full.rates().contains(rate)));
        assert_eq!(quick.rates()[4], 1.0);
    }
}
