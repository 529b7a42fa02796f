//! A stage from outside of the workspace: Muon, then a second moment of each row of what it gives (as
//! in NorMuon), held to what a stage promises by the suite.

use std::error::Error;

use layerwise_downstream::fit_regression;
use layerwise_optim::chain::{CustomStage, StageConfig};
use layerwise_optim::ndarray::{Array1, ArrayViewMut2, Axis};
use layerwise_optim::stage::{Observation, Stage, StateReader, StateWriter, Step};
use layerwise_optim::{Method, Muon, OptimError, Result, Scalar, suite};
use serde::Serialize;

/// `v_i ← β v_i + (1−β) mean_j D_ij²`, then `D_ij ← D_ij / (√(v_i/(1−βᵗ)) + ε)`.
#[derive(Serialize)]
struct RowSecondMoment {
    beta: f64,
    epsilon: f64,
}

impl CustomStage for RowSecondMoment {
    const NAME: &'static str = "row_second_moment";
    type Stage<A: Scalar> = Rows<A>;

    fn check(&self) -> Result<()> {
        let refuse =
            |name, value, allowed| Err(OptimError::InvalidHyperparameter { name, value, allowed });
        if !(0.0..1.0).contains(&self.beta) {
            return refuse("row_second_moment.beta", self.beta, "in [0, 1)");
        }
        if !(self.epsilon > 0.0 && self.epsilon.is_finite()) {
            return refuse("row_second_moment.epsilon", self.epsilon, "finite and > 0");
        }
        Ok(())
    }

    fn build<A: Scalar>(&self, (rows, _): (usize, usize)) -> Result<Rows<A>> {
        let start = Moments { v: Array1::zeros(rows), decay: 1.0 };
        let (next, now) = (start.clone(), start);
        Ok(Rows { beta: self.beta, epsilon: self.epsilon, now, next, proposed: false })
    }
}

/// The second moments, and `βᵗ`.
#[derive(Clone, Debug)]
struct Moments<A> {
    v: Array1<A>,
    decay: f64,
}

/// The state, and the place where the next is proposed.
#[derive(Debug)]
struct Rows<A> {
    beta: f64,
    epsilon: f64,
    now: Moments<A>,
    next: Moments<A>,
    proposed: bool,
}

impl<A: Scalar> Stage<A> for Rows<A> {
    fn observe(&mut self, _step: &Step<'_, A>) -> Result<Observation> {
        self.proposed = false;
        Ok(Observation::default())
    }

    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, _step: &Step<'_, A>) -> Result<()> {
        self.next.decay = self.now.decay * self.beta;
        let correction = 1.0 - self.next.decay;
        let moments = self.next.v.iter_mut().zip(&self.now.v);
        for (at, ((next, now), mut row)) in moments.zip(direction.rows_mut()).enumerate() {
            let square =
                row.iter().map(|d| d.as_f64() * d.as_f64()).sum::<f64>() / row.len() as f64;
            let v = self.beta * now.as_f64() + (1.0 - self.beta) * square;
            *next = A::from_f64(v);
            if !next.is_finite() {
                let what = "a row's second moment";
                return Err(OptimError::Overflow { what, row: at, col: 0, value: v });
            }
            let factor = A::from_f64(1.0 / ((v / correction).sqrt() + self.epsilon));
            row.mapv_inplace(|d| d * factor);
        }
        self.proposed = true;
        Ok(())
    }

    fn commit(&mut self) {
        // Of a step that another stage skips there is nothing to keep.
        if std::mem::take(&mut self.proposed) {
            std::mem::swap(&mut self.now, &mut self.next);
        }
    }

    fn save<'s>(&'s self, out: &mut StateWriter<'s, A>) {
        out.array("v", self.now.v.view().insert_axis(Axis(0)));
        out.number("decay", self.now.decay);
    }

    fn load(&mut self, from: &mut StateReader<'_, A>) -> Result<()> {
        from.array("v", self.now.v.view_mut().insert_axis(Axis(0)))?;
        self.now.decay = from.number("decay")?;
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        2 * self.now.v.len() * size_of::<A>()
    }
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let rows = || StageConfig::custom(RowSecondMoment { beta: 0.95, epsilon: 1e-8 });
    suite::check::<f32>(&rows(), (5, 7))?;
    suite::check::<f64>(&rows(), (5, 7))?;

    let muon = Muon { learning_rate: 0.01.into(), ..Muon::default() };
    fit_regression(&muon.chain().then(rows()))
}
