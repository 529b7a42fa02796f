//! Averages of iterates, from step to step.

use layerwise_linalg::Scalar;
use ndarray::{Array2, ArrayView2, Zip};

use crate::config::weight_averaging::WeightAveraging;
use crate::error::Result;
use crate::numeric::finite::within_limit;
use crate::stage::Step;
use crate::state::held::Held;
use crate::state::persist::{join, persist};
use crate::state::staged::Staged;
use crate::values::refuse;

/// `z`, or `x` where it is an exponential average, and what the averages need.
#[derive(Debug)]
pub(crate) struct IterateState<A> {
    config: WeightAveraging,
    iterate: Held<A>,
    numbers: Staged<IterateNumbers>,
}

#[derive(Clone, Copy, Debug)]
struct IterateNumbers {
    steps: u64,
    /// `Σ η_i^r`; of a corrected average `Π β`, 0 for that of nothing.
    rates: f64,
    /// The `μ_y` that the weight was made with.
    train: f64,
}

persist!(IterateState<A> { iterate, numbers } checked by check_loaded);
persist!(IterateNumbers { steps, rates, train } checked by check_loaded);

impl IterateNumbers {
    fn check_loaded(&self, path: &str) -> Result<()> {
        if !(self.train > 0.0 && self.train <= 1.0) {
            return Err(refuse(&join(path, "train"), "is not in (0, 1]"));
        }
        if self.rates < 0.0 {
            return Err(refuse(&join(path, "rates"), "is negative"));
        }
        Ok(())
    }
}

impl<A: Scalar> IterateState<A> {
    fn check_loaded(&self, path: &str) -> Result<()> {
        let is_product = matches!(self.config, WeightAveraging::Ema { bias_correction: true, .. });
        if is_product && self.numbers.current().rates >= 1.0 {
            return Err(refuse(&join(path, "numbers.rates"), "is no product of decays"));
        }
        Ok(())
    }

    pub(crate) fn new(config: &WeightAveraging, shape: (usize, usize)) -> Self {
        IterateState {
            config: config.clone(),
            iterate: Held::new(Array2::zeros(shape)),
            numbers: Staged::twice(IterateNumbers { steps: 0, rates: 0.0, train: 1.0 }),
        }
    }

    /// Turns the weight that a step without averages would lead to into the new weight.
    pub(crate) fn propose(&mut self, step: &Step<'_, A>, new_weight: &mut Array2<A>) {
        let (weight, time) = (&step.weight, step.time);
        let numbers = *self.numbers.current();
        let mut rates = 0.0;
        let mu_x = match &self.config {
            WeightAveraging::Primal { evaluate, .. } => evaluate.value(time),
            WeightAveraging::Ema { decay, bias_correction } => {
                let decay = decay.value(time);
                if *bias_correction {
                    rates = if numbers.steps == 0 { decay } else { numbers.rates * decay };
                }
                decay
            }
            WeightAveraging::ScheduleFree { power, .. } => {
                let rate = step.learning_rate.powf(*power);
                rates = numbers.rates + rate;
                if rates > 0.0 { 1.0 - rate / rates } else { 0.0 }
            }
        };
        let train = self.config.train().map_or(1.0, |schedule| schedule.value(time));
        *self.numbers.split().1 = IterateNumbers { steps: numbers.steps + 1, rates, train };
        self.numbers.propose();
        let iterate = self.iterate.place(step.in_place);
        let starts = numbers.steps == 0;
        match self.config.train() {
            None => {
                let (keep, take) = (A::from_f64(mu_x), A::from_f64(1.0 - mu_x));
                let from_zero =
                    matches!(self.config, WeightAveraging::Ema { bias_correction: true, .. });
                Zip::from(iterate).and(new_weight).and(weight).for_each(|x, &mut new, &w| {
                    *x = keep * if starts && !from_zero { w } else { *x } + take * new;
                });
            }
            Some(_) => {
                // At the first step there is nothing to go back from.
                let previous = if starts { train } else { numbers.train };
                let along = A::from_f64(1.0 - train * mu_x);
                let back = A::from_f64(1.0 - mu_x * (train / previous));
                Zip::from(iterate).and(new_weight).and(weight).for_each(|z, new, &w| {
                    let from = if starts { w } else { *z };
                    let step = *new - w;
                    *z = from + step;
                    *new = w + along * step + back * (from - w);
                });
            }
        }
    }

    /// A bound of the norm of the weight that averages lead to, given those of the weight before and of the
    /// one without averages.
    pub(crate) fn bound(&mut self, weight: f64, new_weight: f64) -> Option<f64> {
        let step = weight + new_weight;
        let iterate = within_limit::<A>(self.iterate.norm().max(weight) + step)?;
        self.iterate.will_be_within(iterate);
        // The way back is taken times |1 − μ_x μ_y/μ| with the former μ_y for μ, the step at most once.
        let back = 1.0 + 1.0 / self.numbers.current().train;
        within_limit::<A>(weight + step + back * (iterate + weight))
    }

    /// Makes the places of proposals, for a chain that never is sure of its steps.
    pub(crate) fn reserve(&mut self) {
        self.iterate.reserve();
    }

    /// `x`: of `y` it is `z + (y − z)/μ_y`.
    pub(crate) fn evaluation_weight(&self, weight: &ArrayView2<'_, A>) -> Array2<A> {
        let numbers = self.numbers.current();
        if numbers.steps == 0 {
            return weight.to_owned();
        }
        let mut average = self.iterate.current().clone();
        if self.config.train().is_some() {
            let train = A::from_f64(numbers.train);
            Zip::from(&mut average).and(weight).for_each(|x, &y| *x = *x + (y - *x) / train);
        } else if let WeightAveraging::Ema { bias_correction: true, .. } = self.config {
            let correction = A::from_f64(1.0 - numbers.rates);
            average.mapv_inplace(|x| x / correction);
        }
        average
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.iterate.memory_bytes()
    }
}
