//! Hyperparameters over time.

use std::f64::consts::PI;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{OptimError, Result};
use crate::number::number_or_spelled_out;

/// A hyperparameter as a function of the step. A plain number converts into a constant:
/// `0.1.into()`, and is read as one from files.
///
/// Steps are counted from 0 for the first.
///
/// ```
/// use layerwise_optim::Schedule;
///
/// let rate = Schedule::warmup_cosine(0.1, 10, 110);
/// assert_eq!(rate.value(4), 0.05);
/// assert_eq!(rate.value(10), 0.1);
/// assert!(rate.value(60) < 0.1 && rate.value(110) < 1e-9);
/// let mine = Schedule::named("root", |step| 0.1 / ((step + 1) as f64).sqrt());
/// assert_eq!(mine.value(3), 0.05);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[non_exhaustive]
pub enum Schedule {
    /// The same value at every step.
    Constant(f64),
    /// From one value to another in equal differences; then that other.
    Linear {
        /// The value at step 0.
        from: f64,
        /// The value from step `steps` on.
        to: f64,
        /// ≥ 1.
        steps: u64,
    },
    /// From one value to another along half a cosine (Loshchilov and Hutter 2017, without
    /// restarts): `to + (from − to)(1 + cos(π t/steps))/2`; then that other.
    Cosine {
        /// The value at step 0.
        from: f64,
        /// The value from step `steps` on.
        to: f64,
        /// ≥ 1.
        steps: u64,
    },
    /// `start · factor^⌊t/every⌋`.
    Step {
        /// The value at step 0.
        start: f64,
        /// In (0, 1].
        factor: f64,
        /// ≥ 1.
        every: u64,
    },
    /// `start / (1 + decay · t)` (the `lr_decay` of `torch.optim.Adagrad`).
    InverseTime {
        /// The value at step 0.
        start: f64,
        /// ≥ 0.
        decay: f64,
    },
    /// `min(largest, scale · (t+1)^(−exponent))`.
    Power {
        /// The most that it is.
        largest: f64,
        /// Where it is below that: its value at step 0.
        scale: f64,
        /// ≥ 0.
        exponent: f64,
    },
    /// `max(least, start · exp(−rate · t))`.
    Exponential {
        /// The value at step 0, ≥ `least`.
        start: f64,
        /// The value in the end, ≥ 0.
        least: f64,
        /// ≥ 0.
        rate: f64,
    },
    /// One less another schedule's value: the decay of an average, given the share of what is new.
    OneMinus(Box<Schedule>),
    /// `(t+1)/steps` times the first value of what follows, for `steps` steps; then what follows,
    /// from its own step 0.
    WarmUp {
        /// ≥ 1.
        steps: u64,
        /// What follows.
        then: Box<Schedule>,
    },
    /// One schedule for some steps, then another from its own step 0.
    Joined {
        /// The first.
        first: Box<Schedule>,
        /// For how many steps, ≥ 1.
        steps: u64,
        /// The second.
        then: Box<Schedule>,
    },
    /// Any function of the step.
    Named(NamedSchedule),
}

number_or_spelled_out!(Schedule, "a number, or a schedule by its name");

/// A function of the step under a name. The name is all that is compared and serialised: a saved
/// state keeps it, and fits an optimizer whose schedule has the same name. What is deserialised
/// has no function, and is refused when an optimizer is built of it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NamedSchedule {
    name: String,
    #[serde(skip)]
    function: Option<Function>,
}

type Function = Arc<dyn Fn(u64) -> f64 + Send + Sync>;

impl NamedSchedule {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl PartialEq for NamedSchedule {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for NamedSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedSchedule")
            .field("name", &self.name)
            .field("has_function", &self.function.is_some())
            .finish()
    }
}

impl Default for Schedule {
    /// 0 at every step.
    fn default() -> Self {
        Schedule::Constant(0.0)
    }
}

impl From<f64> for Schedule {
    fn from(value: f64) -> Self {
        Schedule::Constant(value)
    }
}

/// When hyperparameters are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Before the first step: over all steps, as far as can be told. Of a function, its first
    /// value.
    Build,
    /// At a step.
    Step(u64),
}

impl Schedule {
    /// From one value to another in equal differences, over `steps` steps.
    #[must_use]
    pub fn linear(from: f64, to: f64, steps: u64) -> Self {
        Schedule::Linear { from, to, steps }
    }

    /// From one value to another along half a cosine, over `steps` steps.
    #[must_use]
    pub fn cosine(from: f64, to: f64, steps: u64) -> Self {
        Schedule::Cosine { from, to, steps }
    }

    /// `start`, multiplied by `factor` every `every` steps.
    #[must_use]
    pub fn step(start: f64, factor: f64, every: u64) -> Self {
        Schedule::Step { start, factor, every }
    }

    /// `min(largest, scale/√(t+1))`.
    #[must_use]
    pub fn inverse_root(largest: f64, scale: f64) -> Self {
        Schedule::Power { largest, scale, exponent: 0.5 }
    }

    /// `max(least, start · exp(−rate · t))`.
    #[must_use]
    pub fn exponential(start: f64, least: f64, rate: f64) -> Self {
        Schedule::Exponential { start, least, rate }
    }

    /// `1 − (t+1)^(−exponent)`: the decay of an average whose memory grows with the run, 0 at the first step
    /// (Shazeer and Stern 2018, §7.2, with an exponent of 0.8).
    #[must_use]
    pub fn growing_memory(exponent: f64) -> Self {
        Schedule::OneMinus(Box::new(Schedule::Power { largest: 1.0, scale: 1.0, exponent }))
    }

    /// A linear warm-up to `peak` over `warmup` steps, and half a cosine down to 0, which step `total`
    /// would have: the run ends after `total` steps, warm-up included. `warmup` < `total`.
    #[must_use]
    pub fn warmup_cosine(peak: f64, warmup: u64, total: u64) -> Self {
        let cosine = Schedule::cosine(peak, 0.0, total.saturating_sub(warmup));
        if warmup == 0 { cosine } else { cosine.warmed_up(warmup) }
    }

    /// This schedule after a linear warm-up of `steps` steps: it ends that many steps later.
    #[must_use]
    pub fn warmed_up(self, steps: u64) -> Self {
        Schedule::WarmUp { steps, then: Box::new(self) }
    }

    /// This schedule for `steps` steps, then another.
    #[must_use]
    pub fn followed_by(self, steps: u64, then: impl Into<Schedule>) -> Self {
        Schedule::Joined { first: Box::new(self), steps, then: Box::new(then.into()) }
    }

    /// Any function of the step, under a name. It must depend on the step alone: where it does
    /// not, a resumed run differs from an uninterrupted one.
    ///
    /// Its values are checked at each step; one that is out of range is that step's error.
    pub fn named(
        name: impl Into<String>,
        function: impl Fn(u64) -> f64 + Send + Sync + 'static,
    ) -> Self {
        Schedule::Named(NamedSchedule { name: name.into(), function: Some(Arc::new(function)) })
    }

    /// The value at a step, counted from 0 for the first. NaN for a name without its function.
    #[must_use]
    pub fn value(&self, step: u64) -> f64 {
        let fraction = |steps: u64| step as f64 / steps as f64;
        match self {
            Schedule::Constant(value) => *value,
            Schedule::Linear { to, steps, .. } | Schedule::Cosine { to, steps, .. }
                if step >= *steps =>
            {
                *to
            }
            Schedule::Linear { from, to, steps } => from + (to - from) * fraction(*steps),
            Schedule::Cosine { from, to, steps } => {
                to + (from - to) * 0.5 * (1.0 + (PI * fraction(*steps)).cos())
            }
            Schedule::Step { start, factor, every } => {
                start * factor.powf((step / (*every).max(1)) as f64)
            }
            Schedule::InverseTime { start, decay } => start / (1.0 + step as f64 * decay),
            Schedule::Power { largest, scale, exponent } => {
                largest.min(scale * ((step as f64) + 1.0).powf(-exponent))
            }
            Schedule::Exponential { start, least, rate } => {
                least.max(start * (-rate * step as f64).exp())
            }
            Schedule::OneMinus(schedule) => 1.0 - schedule.value(step),
            Schedule::WarmUp { steps, then } => match step.checked_sub(*steps) {
                Some(later) => then.value(later),
                None => then.value(0) * ((step + 1) as f64 / *steps as f64),
            },
            Schedule::Joined { first, steps, then } => match step.checked_sub(*steps) {
                Some(later) => then.value(later),
                None => first.value(step),
            },
            Schedule::Named(named) => named.function.as_ref().map_or(f64::NAN, |f| f(step)),
        }
    }

    /// Whether it is the same at every step, so that zero means «not at all».
    pub(crate) fn is_zero(&self) -> bool {
        matches!(self, Schedule::Constant(value) if *value == 0.0)
    }

    /// A least and a greatest value over the first `steps` ≥ 1 steps, or over all; of a function, its
    /// first.
    fn range(&self, steps: Option<u64>) -> (f64, f64) {
        let hull = |a: (f64, f64), b: (f64, f64)| (a.0.min(b.0), a.1.max(b.1));
        let between = |a: f64, b: f64| (a.min(b), a.max(b));
        // Zero is approached, not met: what underflows is that step's error.
        let towards_zero = |start: f64, never: bool| match steps {
            _ if never || start == 0.0 => (start, start),
            Some(n) => between(start, self.value(n - 1)),
            None => between(start, f64::MIN_POSITIVE.copysign(start)),
        };
        // What is left of the steps after the first `n`.
        let after = |n: u64| match steps {
            Some(steps) => steps.checked_sub(n).filter(|&rest| rest > 0).map(Some),
            None => Some(None),
        };
        match self {
            Schedule::Constant(value) => (*value, *value),
            Schedule::Linear { to, .. } | Schedule::Cosine { to, .. } => {
                between(self.value(0), steps.map_or(*to, |n| self.value(n - 1)))
            }
            Schedule::Step { start, factor, .. } => towards_zero(*start, *factor == 1.0),
            Schedule::InverseTime { start, decay } => towards_zero(*start, *decay == 0.0),
            Schedule::Power { exponent, .. } => towards_zero(self.value(0), *exponent == 0.0),
            Schedule::Exponential { start, rate: 0.0, .. } => (*start, *start),
            Schedule::Exponential { least: 0.0, .. } => towards_zero(self.value(0), false),
            Schedule::Exponential { least, .. } => {
                between(self.value(0), steps.map_or(*least, |n| self.value(n - 1)))
            }
            Schedule::OneMinus(schedule) => {
                let (low, high) = schedule.range(steps);
                let nearest = 1.0 - f64::EPSILON / 2.0;
                (1.0 - high, if low > 0.0 { (1.0 - low).min(nearest) } else { 1.0 - low })
            }
            Schedule::WarmUp { steps: n, then } => {
                let rise = between(self.value(0), self.value(steps.map_or(*n, |s| s.min(*n)) - 1));
                after(*n).map_or(rise, |rest| hull(rise, then.range(rest)))
            }
            Schedule::Joined { first, steps: n, then } => {
                let start = first.range(Some(steps.map_or(*n, |steps| steps.min(*n))));
                after(*n).map_or(start, |rest| hull(start, then.range(rest)))
            }
            Schedule::Named(_) => (self.value(0), self.value(0)),
        }
    }

    /// Refuses parameters of the schedule itself.
    fn check_form(&self) -> Result<()> {
        let steps = |steps: u64| {
            if steps > 0 {
                return Ok(());
            }
            Err(OptimError::InvalidHyperparameter {
                name: "schedule.steps",
                value: 0.0,
                allowed: "at least 1",
            })
        };
        let finite = |value: f64| check_number("schedule", value, "finite", |_| true);
        match self {
            Schedule::Constant(_) => Ok(()),
            Schedule::Linear { from, to, steps: n } | Schedule::Cosine { from, to, steps: n } => {
                finite(*from)?;
                finite(*to)?;
                steps(*n)
            }
            Schedule::Step { factor, every, start } => {
                finite(*start)?;
                check_number("schedule.factor", *factor, "in (0, 1]", |x| x > 0.0 && x <= 1.0)?;
                steps(*every)
            }
            Schedule::InverseTime { start, decay } => {
                finite(*start)?;
                check_number("schedule.decay", *decay, "finite and ≥ 0", |x| x >= 0.0)
            }
            Schedule::Power { largest, scale, exponent } => {
                finite(*largest)?;
                finite(*scale)?;
                check_number("schedule.exponent", *exponent, "finite and ≥ 0", |x| x >= 0.0)
            }
            Schedule::Exponential { start, least, rate } => {
                check_number("schedule.rate", *rate, "finite and ≥ 0", |x| x >= 0.0)?;
                check_number("schedule.least", *least, "finite and ≥ 0", |x| x >= 0.0)?;
                check_number("schedule.start", *start, "no less than the least", |x| x >= *least)
            }
            Schedule::OneMinus(schedule) => schedule.check_form(),
            Schedule::WarmUp { steps: n, then } => {
                steps(*n)?;
                then.check_form()
            }
            Schedule::Joined { first, steps: n, then } => {
                steps(*n)?;
                first.check_form()?;
                then.check_form()
            }
            Schedule::Named(named) if named.function.is_none() => {
                Err(OptimError::ScheduleWithoutFunction { name: named.name.clone() })
            }
            Schedule::Named(_) => Ok(()),
        }
    }

    /// Refuses a schedule that leaves what `allowed` says.
    pub(crate) fn check(
        &self,
        when: When,
        name: &'static str,
        allowed: &'static str,
        test: impl Fn(f64) -> bool,
    ) -> Result<()> {
        let (low, high) = match when {
            When::Build => {
                self.check_form()?;
                self.range(None)
            }
            When::Step(step) => (self.value(step), self.value(step)),
        };
        for value in [low, high] {
            check_number(name, value, allowed, &test)?;
        }
        Ok(())
    }

    /// Refuses all but finite numbers ≥ 0.
    pub(crate) fn check_non_negative(&self, when: When, name: &'static str) -> Result<()> {
        self.check(when, name, "finite and ≥ 0", |x| x >= 0.0)
    }

    /// Refuses all but finite numbers > 0.
    pub(crate) fn check_positive(&self, when: When, name: &'static str) -> Result<()> {
        self.check(when, name, "finite and > 0", |x| x > 0.0)
    }

    /// Refuses all but numbers in [0, 1].
    pub(crate) fn check_share(&self, when: When, name: &'static str) -> Result<()> {
        self.check(when, name, "in [0, 1]", |x| (0.0..=1.0).contains(&x))
    }

    /// Refuses all but numbers in [0, 1).
    pub(crate) fn check_decay(&self, when: When, name: &'static str) -> Result<()> {
        self.check(when, name, "in [0, 1)", |x| (0.0..1.0).contains(&x))
    }
}

/// Refuses a number that is not finite or fails the test.
pub(crate) fn check_number(
    name: &'static str,
    value: f64,
    allowed: &'static str,
    test: impl Fn(f64) -> bool,
) -> Result<()> {
    if value.is_finite() && test(value) {
        Ok(())
    } else {
        Err(OptimError::InvalidHyperparameter { name, value, allowed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_formulas() {
        let linear = Schedule::linear(1.0, 3.0, 4);
        assert_eq!([0, 1, 2, 4, 9].map(|t| linear.value(t)), [1.0, 1.5, 2.0, 3.0, 3.0]);
        let cosine = Schedule::cosine(1.0, 0.5, 6);
        for (step, expected) in [(0, 1.0), (2, 0.5 + 0.25 * 1.5), (3, 0.75), (6, 0.5), (7, 0.5)] {
            // A cosine and three operations on numbers below 2.
            assert!((cosine.value(step) - expected).abs() < 8.0 * f64::EPSILON, "step {step}");
        }
        let step = Schedule::step(0.8, 0.5, 3);
        assert_eq!([0, 2, 3, 5, 6].map(|t| step.value(t)), [0.8, 0.8, 0.4, 0.4, 0.2]);
        let inverse = Schedule::InverseTime { start: 1.0, decay: 0.5 };
        assert_eq!([0, 1, 2].map(|t| inverse.value(t)), [1.0, 1.0 / 1.5, 0.5]);
        let warm = Schedule::step(1.0, 0.25, 1).warmed_up(4);
        assert_eq!([0, 1, 3, 4, 5].map(|t| warm.value(t)), [0.25, 0.5, 1.0, 1.0, 0.25]);
        let joined = linear.followed_by(2, 7.0);
        assert_eq!([0, 1, 2, 3].map(|t| joined.value(t)), [1.0, 1.5, 7.0, 7.0]);
    }

    #[test]
    fn ranges_hold_every_value() {
        let schedules = [
            Schedule::linear(0.5, 0.1, 7).warmed_up(3),
            Schedule::cosine(0.1, 0.5, 9).followed_by(4, Schedule::step(0.9, 0.3, 2)),
            Schedule::InverseTime { start: 0.2, decay: 3.0 }.followed_by(2, -0.25),
            Schedule::step(1.0, 0.5, 4).warmed_up(2).followed_by(11, 0.125),
            Schedule::step(-0.5, 0.1, 1),
            Schedule::warmup_cosine(0.5, 4, 13),
        ];
        for schedule in schedules {
            for steps in (1..=40).map(Some).chain([None]) {
                let (low, high) = schedule.range(steps);
                let values: Vec<f64> =
                    (0..steps.unwrap_or(200)).map(|t| schedule.value(t)).collect();
                // The ends are met, or are as near to zero as a number can be.
                let met = |end: f64| end.abs() == f64::MIN_POSITIVE || values.contains(&end);
                let text = format!("{schedule:?}, {steps:?}: {low} to {high}");
                assert!(values.iter().all(|v| (low..=high).contains(v)), "{text}");
                assert!(met(low) && met(high), "{text}");
            }
        }
    }

    #[test]
    fn a_warm_up_is_part_of_the_total() {
        let rate = Schedule::warmup_cosine(0.2, 5, 105);
        assert_eq!([0, 4, 5].map(|t| rate.value(t)), [0.2 * (1.0 / 5.0), 0.2, 0.2]);
        // Half a cosine over 100 steps, and two operations on numbers below 1.
        assert!((rate.value(55) - 0.1).abs() < 4.0 * f64::EPSILON);
        assert!(rate.value(104) > 0.0);
        assert_eq!([105, 106].map(|t| rate.value(t)), [0.0, 0.0]);
        assert_eq!(Schedule::warmup_cosine(0.2, 0, 9), Schedule::cosine(0.2, 0.0, 9));
        for warmup in [9, 10] {
            let error = Schedule::warmup_cosine(0.2, warmup, 9).check_form().unwrap_err();
            let text = "schedule.steps = 0 is not allowed: it must be at least 1";
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn what_steps_down_to_a_positive_number_is_positive() {
        let positive = |schedule: Schedule| schedule.check(When::Build, "clip", "> 0", |x| x > 0.0);
        assert_eq!(positive(Schedule::step(1.0, 0.5, 100).followed_by(300, 0.125)), Ok(()));
        assert_eq!(positive(Schedule::step(1.0, 0.5, 100)), Ok(()));
        assert!(positive(Schedule::cosine(1.0, 0.0, 100)).is_err());
        assert_eq!(positive(Schedule::cosine(1.0, 0.0, 100).followed_by(100, 0.5)), Ok(()));
        // Step 1100 is 2⁻¹¹⁰⁰, which underflows.
        let error = Schedule::step(1.0, 0.5, 1).check(When::Step(1100), "clip", "> 0", |x| x > 0.0);
        assert_eq!(error.unwrap_err().to_string(), "clip = 0 is not allowed: it must be > 0");
    }

    #[test]
    fn a_name_is_what_is_compared_and_kept() {
        let half = Schedule::named("half", |_| 0.5);
        assert_eq!(half, Schedule::named("half", |_| 0.25));
        assert_ne!(half, Schedule::named("other", |_| 0.5));
        let text = serde_json::to_string(&half).unwrap();
        assert_eq!(text, r#"{"Named":"half"}"#);
        let read: Schedule = serde_json::from_str(&text).unwrap();
        assert_eq!(read, half);
        assert!(read.value(0).is_nan());
        assert_eq!(
            read.check_decay(When::Build, "beta").unwrap_err().to_string(),
            "the schedule \"half\" has a name only: its function is not part of what is saved"
        );
    }

    #[test]
    fn schedules_out_of_range_are_refused() {
        let refused = [
            Schedule::linear(0.5, 1.0, 3),
            Schedule::linear(0.5, 0.9, 0),
            Schedule::cosine(-0.1, 0.5, 3),
            Schedule::step(0.5, 1.5, 2),
            Schedule::step(0.5, 0.5, 0),
            Schedule::InverseTime { start: 0.5, decay: -1.0 },
            Schedule::Constant(0.5).followed_by(3, 1.0),
            Schedule::Constant(0.5).followed_by(0, 0.5),
            Schedule::Constant(0.5).warmed_up(0),
            Schedule::named("large", |_| 2.0),
        ];
        for schedule in refused {
            let error = schedule.check_decay(When::Build, "beta");
            assert!(
                matches!(error, Err(OptimError::InvalidHyperparameter { .. })),
                "{schedule:?}: {error:?}"
            );
        }
        let growing = Schedule::named("growing", |t| 0.3 * t as f64);
        assert_eq!(growing.check_decay(When::Build, "beta"), Ok(()));
        assert_eq!(growing.check_decay(When::Step(3), "beta"), Ok(()));
        let error = growing.check_decay(When::Step(4), "beta").unwrap_err();
        assert_eq!(error.to_string(), "beta = 1.2 is not allowed: it must be in [0, 1)");
    }
}
