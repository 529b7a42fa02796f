//! Averages of iterates, from step to step.

use layerwise_linalg::Scalar;
use ndarray::{Array2, ArrayView2, Zip};

use crate::config::weight_averaging::WeightAveraging;
use crate::numeric::finite::bytes;
use crate::state::persist::persist;
use crate::state::staged::Staged;

/// `z`, or `x` where it is an exponential average, and what the averages need.
#[derive(Debug)]
pub(crate) struct IterateState<A> {
    config: WeightAveraging,
    iterate: Staged<Array2<A>>,
    numbers: Staged<IterateNumbers>,
}

#[derive(Clone, Copy, Debug)]
struct IterateNumbers {
    steps: u64,
    /// `Σ η_i^r`.
    rates: f64,
}

persist!(IterateState<A> { iterate, numbers });
persist!(IterateNumbers { steps, rates });

impl<A: Scalar> IterateState<A> {
    pub(crate) fn new(config: &WeightAveraging, shape: (usize, usize)) -> Self {
        IterateState {
            config: config.clone(),
            iterate: Staged::twice(Array2::zeros(shape)),
            numbers: Staged::twice(IterateNumbers { steps: 0, rates: 0.0 }),
        }
    }

    /// Turns the weight that a step without averages would lead to into the new weight.
    pub(crate) fn propose(
        &mut self,
        weight: &ArrayView2<'_, A>,
        new_weight: &mut Array2<A>,
        learning_rate: f64,
    ) {
        let numbers = *self.numbers.current();
        let step = numbers.steps;
        let mut rates = 0.0;
        let mu_x = match &self.config {
            WeightAveraging::Primal { evaluate, .. } => evaluate.value(step),
            WeightAveraging::Ema { decay } => decay.value(step),
            WeightAveraging::ScheduleFree { power, .. } => {
                let rate = learning_rate.powf(*power);
                rates = numbers.rates + rate;
                if rates > 0.0 { 1.0 - rate / rates } else { 0.0 }
            }
        };
        *self.numbers.split().1 = IterateNumbers { steps: numbers.steps + 1, rates };
        self.numbers.propose();
        let (iterate, next) = self.iterate.split();
        let starts = step == 0;
        match self.config.train() {
            None => {
                let (keep, take) = (A::from_f64(mu_x), A::from_f64(1.0 - mu_x));
                Zip::from(next).and(iterate).and(new_weight).and(weight).for_each(
                    |next, &x, &mut new, &w| {
                        *next = keep * if starts { w } else { x } + take * new;
                    },
                );
            }
            Some(schedule) => {
                let train = schedule.value(step);
                // The `μ_y` that the old weight was made with.
                let previous = schedule.value(step.saturating_sub(1));
                let along = A::from_f64(1.0 - train * mu_x);
                let back = A::from_f64(1.0 - mu_x * (train / previous));
                Zip::from(next).and(iterate).and(new_weight).and(weight).for_each(
                    |next, &z, new, &w| {
                        let z = if starts { w } else { z };
                        let step = *new - w;
                        *next = z + step;
                        *new = w + along * step + back * (z - w);
                    },
                );
            }
        }
        self.iterate.propose();
    }

    /// `x`: of `y` it is `z + (y − z)/μ_y`.
    pub(crate) fn evaluation_weight(&self, weight: &ArrayView2<'_, A>) -> Array2<A> {
        let Some(last) = self.numbers.current().steps.checked_sub(1) else {
            return weight.to_owned();
        };
        let mut average = self.iterate.current().clone();
        if let Some(schedule) = self.config.train() {
            let train = A::from_f64(schedule.value(last));
            Zip::from(&mut average).and(weight).for_each(|x, &y| *x = *x + (y - *x) / train);
        }
        average
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        2 * bytes::<A>(self.iterate.current().dim())
    }
}
