//! What a set of runs on linear representation learning is run on.

use layerwise_data::{Basis, Law, LinearTaskSpec, Spectrum};

use crate::linear::Cell;

/// Inputs d_X. Dimensions, noise and start are the same in all figures, and chosen here.
pub const INPUTS: usize = 100;
/// Outputs d_Y.
pub const OUTPUTS: usize = 15;
/// Rank k of the target and width of the network.
pub const RANK: usize = 8;
/// Noise level σ_ε.
pub const NOISE: f64 = 0.1;

/// A task distribution, a budget, and the cells to run on it.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearSetting {
    /// Names the random streams: settings with equal names see the same data.
    pub name: &'static str,
    /// Law of the whitened inputs.
    pub law: Law,
    /// Eigenbasis of Σ.
    pub basis: Basis,
    /// Condition number κ(Σ).
    pub condition: f64,
    /// Condition number κ(F⋆).
    pub head_condition: f64,
    /// Batch size n.
    pub samples: usize,
    /// Number of steps T.
    pub iterations: usize,
    /// Whether the excess transfer loss is recorded.
    pub transfer: bool,
    /// Where set, each run notes the first iteration with a subspace distance at most this.
    pub target_distance: Option<f64>,
    /// The cells, each a method at a rate.
    pub cells: Vec<Cell>,
}

impl LinearSetting {
    /// The distribution of tasks.
    #[must_use]
    pub fn task_spec(&self) -> LinearTaskSpec {
        LinearTaskSpec {
            input_dimension: INPUTS,
            output_dimension: OUTPUTS,
            rank: RANK,
            spectrum: Spectrum::LogSpaced { condition: self.condition },
            basis: self.basis,
            law: self.law,
            head_condition: self.head_condition,
            noise: NOISE,
        }
    }

    /// The shape `(d_Y, k, d_X)` of the network.
    #[must_use]
    pub fn shape(&self) -> (usize, usize, usize) {
        (OUTPUTS, RANK, INPUTS)
    }
}

/// The iterations after which a run of `iterations` steps is recorded: log-spaced, the first and
/// the last included, at most 100 of them.
#[must_use]
pub fn recorded_iterations(iterations: usize) -> Vec<usize> {
    const POINTS: usize = 100;
    let mut recorded: Vec<usize> = (0..POINTS)
        .map(|i| (iterations as f64).powf(i as f64 / (POINTS - 1) as f64).round() as usize)
        .collect();
    recorded.dedup();
    recorded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recording_includes_both_ends_once() {
        for iterations in [1, 2, 200, 1000] {
            let recorded = recorded_iterations(iterations);
            assert_eq!((recorded[0], *recorded.last().unwrap()), (1, iterations));
            assert!(recorded.windows(2).all(|w| w[0] < w[1]));
            assert!(recorded.len() <= 200);
        }
    }
}
