//! How far a stage with refreshes has come, and what a refresh did.

use layerwise_linalg::LinalgError;

use crate::config::refresh::Refresh;
use crate::error::{OptimError, Result};
use crate::stage::Observation;
use crate::state::persist::persist;

/// How far a stage with refreshes has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) steps: u64,
    /// There are roots or bases.
    pub(crate) ready: bool,
    pub(crate) failures: u32,
}

/// Whether a refresh failed for what the factor is at this step, not for what was given or asked
/// for.
fn is_of_the_factor(error: &OptimError) -> bool {
    matches!(
        error,
        OptimError::Factor {
            source: LinalgError::NotPositiveDefinite { .. }
                | LinalgError::EigenvalueNotPositive { .. }
                | LinalgError::RankDeficient { .. }
                | LinalgError::SingularTriangle { .. }
                | LinalgError::NoConvergence { .. },
            ..
        }
    )
}

persist!(Progress { steps, ready, failures });

impl Progress {
    /// Whether the step after these refreshes. A first refresh that found nothing but zeros is tried
    /// again at each step.
    pub(crate) fn is_due(&self, refresh: &Refresh) -> bool {
        let step = self.steps + 1;
        refresh.is_due(step) || (step > refresh.start && !self.ready)
    }

    /// As [`is_due`](Self::is_due) where the first step takes the first basis, and the rule holds from then on.
    pub(crate) fn is_due_before(&self, refresh: &Refresh) -> bool {
        let steps = self.steps.saturating_add(refresh.offset);
        self.steps == 0 || steps.is_multiple_of(refresh.every)
    }

    /// What each part of a refresh gave, `None` where it failed and the former serves on; beside each
    /// result stands whether there is a former. Counts refreshes that failed in a row.
    pub(crate) fn settle<T, const PARTS: usize>(
        &mut self,
        refresh: &Refresh,
        results: [(Result<T>, bool); PARTS],
    ) -> Result<[Option<T>; PARTS]> {
        let failed = results.iter().any(|(result, _)| result.is_err());
        self.failures = if failed { self.failures.saturating_add(1) } else { 0 };
        let tolerated = self.failures <= refresh.tolerated_failures;
        let mut settled = [const { None }; PARTS];
        for (place, (result, has_former)) in settled.iter_mut().zip(results) {
            *place = match result {
                Ok(value) => Some(value),
                Err(error) if has_former && tolerated && is_of_the_factor(&error) => None,
                Err(error) => return Err(error),
            };
        }
        Ok(settled)
    }
}

/// What a refresh did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refreshed {
    pub(crate) condition: Option<f64>,
    /// Another routine than the one asked for had to serve, or the former root.
    pub(crate) fell_back: bool,
    /// There was a root to make: `Some(false)` of a factor that is zero under a damping relative to
    /// it, `None` of the identity.
    pub(crate) made: Option<bool>,
}

impl Observation {
    /// Takes in what a refresh did, left and right.
    pub(crate) fn take_refresh(&mut self, [left, right]: [Refreshed; 2]) {
        let made = [left.made, right.made];
        self.refreshed = made == [None, None] || made.contains(&Some(true));
        self.fallbacks = usize::from(left.fell_back) + usize::from(right.fell_back);
        (self.left_condition, self.right_condition) = (left.condition, right.condition);
    }
}

impl Refreshed {
    /// The former root serves on.
    pub(crate) const FAILED: Self =
        Refreshed { condition: None, fell_back: true, made: Some(false) };

    pub(crate) fn made(condition: Option<f64>, fell_back: bool) -> Self {
        Refreshed { condition, fell_back, made: Some(true) }
    }
}
