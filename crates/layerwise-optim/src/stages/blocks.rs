//! The parts of a weight, each with a stage of its own.

use std::fmt::Debug;
use std::ops::DerefMut;

use layerwise_linalg::Scalar;
use ndarray::ArrayViewMut2;

use crate::config::factor::FactorConfig;
use crate::config::grafting::Grafting;
use crate::config::partition::Partition;
use crate::config::stage::StageConfig;
use crate::config::statistic::Statistic;
use crate::error::{OptimError, Result};
use crate::numeric::finite::within_limit;
use crate::numeric::pool::Needs;
use crate::signal::Signals;
use crate::stage::{Observation, Stage, Step};
use crate::stages::bounded::{Bounded, Measured};
use crate::stages::extent::Extent;
use crate::statistics::second_moments::SECOND_MOMENT;
use crate::values::{StateReader, StateWriter};

/// The parts, row by row.
#[derive(Debug)]
pub(crate) struct Blocks<S> {
    pub(crate) parts: Vec<(Extent, S)>,
}

/// Names an entry by its place in the weight, where it is the part's.
fn locate(extent: &Extent, error: OptimError) -> OptimError {
    match error {
        OptimError::Overflow { what: SECOND_MOMENT, row, col, value } => {
            let (row, col) = extent.locate((row, col));
            OptimError::Overflow { what: SECOND_MOMENT, row, col, value }
        }
        other => other,
    }
}

/// The stage of a part: a vector has a single factor or none, and sides that are too large have none.
fn of_part(stage: &StageConfig, partition: &Partition, extent: &Extent) -> StageConfig {
    let (left_alone, right_alone) = match extent.is_diagonal {
        true => (true, true),
        false => extent.alone,
    };
    match stage.clone() {
        StageConfig::Graft { length: Grafting::Diagonal(config), .. } if extent.is_diagonal => {
            StageConfig::Diagonal(config)
        }
        StageConfig::Kronecker(mut config) => {
            if extent.is_vector() {
                config.right = partition.vector_factor(&config.left, &config.right);
            }
            for (alone, factor) in
                [(left_alone, &mut config.left), (right_alone, &mut config.right)]
            {
                if alone {
                    *factor = FactorConfig::left_alone();
                }
            }
            StageConfig::Kronecker(config)
        }
        StageConfig::Eigenbasis(mut config) => {
            if extent.is_vector() && config.right == Statistic::None {
                config.right = config.left;
            }
            for (alone, statistic) in
                [(left_alone, &mut config.left), (right_alone, &mut config.right)]
            {
                if alone {
                    *statistic = Statistic::None;
                }
            }
            StageConfig::Eigenbasis(config)
        }
        StageConfig::Graft { stage, length } => {
            StageConfig::Graft { stage: Box::new(of_part(&stage, partition, extent)), length }
        }
        other => other,
    }
}

impl<S> Blocks<S> {
    /// The configuration must have been checked; `build` makes the stage of a part of that shape.
    pub(crate) fn new(
        partition: &Partition,
        stage: &StageConfig,
        shape: (usize, usize),
        build: impl Fn(&StageConfig, (usize, usize)) -> Result<S>,
    ) -> Result<Self> {
        let extents = partition.extents(shape)?;
        let is_whole = extents.iter().all(|extent| extent.shape() == shape);
        if !is_whole && stage.required() != Signals::GRADIENT {
            return Err(OptimError::Incompatible {
                first: "blocks or merged dimensions",
                second: "factors from a layer's signals",
                why: "a layer reports factors of its whole rows and columns",
            });
        }
        let part = |extent: Extent| {
            let stage = of_part(stage, partition, &extent);
            let machine = build(&stage, extent.shape())?;
            Ok((extent, machine))
        };
        Ok(Blocks { parts: extents.into_iter().map(part).collect::<Result<_>>()? })
    }
}

/// What a stage of a part is told.
fn step_of<'a, A: Scalar>(extent: &Extent, step: &Step<'a, A>) -> Result<Step<'a, A>> {
    let gradient = extent.of(step.gradient())?;
    let signal = step.signal.with_gradient(gradient);
    Ok(Step { signal, weight: extent.of(step.weight)?, ..*step })
}

impl<A: Scalar, S> Stage<A> for Blocks<S>
where
    S: DerefMut<Target = dyn Bounded<A>> + Debug + Send + Sync,
{
    fn observe(&mut self, step: &Step<'_, A>) -> Result<Observation> {
        let mut all = Observation::default();
        for (extent, machine) in &mut self.parts {
            let one = machine.observe(&step_of(extent, step)?);
            all = all.and(one.map_err(|error| locate(extent, error))?);
        }
        Ok(all)
    }

    fn apply(&mut self, direction: &mut ArrayViewMut2<'_, A>, step: &Step<'_, A>) -> Result<()> {
        for (extent, machine) in &mut self.parts {
            let mut part = extent.of_mut(direction.view_mut())?;
            let applied = machine.apply(&mut part, &step_of(extent, step)?);
            applied.map_err(|error| locate(extent, error))?;
        }
        Ok(())
    }

    fn apply_curvature(
        &mut self,
        change: &mut ArrayViewMut2<'_, A>,
        step: &Step<'_, A>,
    ) -> Result<bool> {
        // Factors that model curvature are those of whole rows and columns.
        match self.parts.as_mut_slice() {
            [(_, machine)] => machine.apply_curvature(change, step),
            _ => Ok(false),
        }
    }

    fn commit(&mut self) {
        self.parts.iter_mut().for_each(|(_, machine)| machine.commit());
    }

    fn save<'s>(&'s self, out: &mut StateWriter<'s, A>) {
        for (index, (_, machine)) in self.parts.iter().enumerate() {
            out.within(&index.to_string(), |out| machine.save(out));
        }
    }

    fn load(&mut self, from: &mut StateReader<'_, A>) -> Result<()> {
        for (index, (_, machine)) in self.parts.iter_mut().enumerate() {
            from.within(&index.to_string(), |from| machine.load(from))?;
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.parts.iter().map(|(_, machine)| machine.memory_bytes()).sum()
    }

    fn set_damping_factor(&mut self, factor: f64) {
        self.parts.iter_mut().for_each(|(_, machine)| machine.set_damping_factor(factor));
    }
}

impl<A: Scalar, S> Bounded<A> for Blocks<S>
where
    S: DerefMut<Target = dyn Bounded<A>> + Debug + Send + Sync,
{
    fn bound(&mut self, arrives: f64, measured: &Measured) -> Option<f64> {
        let mut sum = 0.0;
        for (extent, machine) in &mut self.parts {
            let (rows, cols) = extent.shape();
            sum += machine.bound(arrives, &Measured { entries: rows * cols, ..*measured })?;
        }
        within_limit::<A>(sum)
    }

    fn reserve(&mut self) {
        self.parts.iter_mut().for_each(|(_, machine)| machine.reserve());
    }

    fn needs(&self) -> Needs {
        self.parts.iter().fold(Needs::default(), |needs, (_, machine)| needs.or(machine.needs()))
    }
}
