//! Averages of iterates, from step to step.

use layerwise_linalg::Scalar;
use ndarray::{Array2, ArrayView2, Zip};

use crate::config::weight_averaging::IterateAveraging;
use crate::numeric::finite::bytes;
use crate::state::persist::persist;
use crate::state::staged::Staged;

/// `z`, and what the averages need.
#[derive(Debug)]
pub(crate) struct IterateState<A> {
    config: IterateAveraging,
    fast: Staged<Array2<A>>,
    numbers: Staged<IterateNumbers>,
}

#[derive(Clone, Copy, Debug)]
struct IterateNumbers {
    steps: u64,
    /// `Σ η_i^r`.
    rates: f64,
}

persist!(IterateState<A> { fast, numbers });
persist!(IterateNumbers { steps, rates });

impl<A: Scalar> IterateState<A> {
    pub(crate) fn new(config: &IterateAveraging, shape: (usize, usize)) -> Self {
        IterateState {
            config: config.clone(),
            fast: Staged::twice(Array2::zeros(shape)),
            numbers: Staged::twice(IterateNumbers { steps: 0, rates: 0.0 }),
        }
    }

    /// Turns the weight that `z` alone would step to, were it the old one, into the new weight.
    pub(crate) fn propose(
        &mut self,
        weight: &ArrayView2<'_, A>,
        new_weight: &mut Array2<A>,
        learning_rate: f64,
    ) {
        let numbers = *self.numbers.current();
        let train = self.config.train().value(numbers.steps);
        // The `μ_y` that the old weight was made with.
        let previous = match numbers.steps.checked_sub(1) {
            Some(last) => self.config.train().value(last),
            None => train,
        };
        let (evaluate, rates) = match &self.config {
            IterateAveraging::Primal { evaluate, .. } => (evaluate.value(numbers.steps), 0.0),
            IterateAveraging::ScheduleFree { power, .. } => {
                let rate = learning_rate.powf(*power);
                let rates = numbers.rates + rate;
                (if rates > 0.0 { 1.0 - rate / rates } else { 0.0 }, rates)
            }
        };
        *self.numbers.split().1 = IterateNumbers { steps: numbers.steps + 1, rates };
        self.numbers.propose();
        let along = A::from_f64(1.0 - train * evaluate);
        let back = A::from_f64(1.0 - evaluate * (train / previous));
        let (fast, next) = self.fast.split();
        let starts = numbers.steps == 0;
        Zip::from(next).and(fast).and(new_weight).and(weight).for_each(|next, &z, new, &w| {
            let z = if starts { w } else { z };
            let step = *new - w;
            *next = z + step;
            *new = w + along * step + back * (z - w);
        });
        self.fast.propose();
    }

    /// `x` of `y`: `z + (y − z)/μ_y`.
    pub(crate) fn evaluation_weight(&self, weight: &ArrayView2<'_, A>) -> Array2<A> {
        let numbers = self.numbers.current();
        let mut average = weight.to_owned();
        if let Some(last) = numbers.steps.checked_sub(1) {
            let train = A::from_f64(self.config.train().value(last));
            Zip::from(&mut average).and(self.fast.current()).for_each(|x, &z| {
                *x = z + (*x - z) / train;
            });
        }
        average
    }

    pub(crate) fn commit(&mut self) {
        self.fast.commit();
        self.numbers.commit();
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        2 * bytes::<A>(self.fast.current().dim())
    }
}
