//! The parts of a weight, each with its preconditioner and the step length grafted on it.

use layerwise_linalg::Scalar;
use ndarray::Array2;

use crate::config::composition::Composition;
use crate::error::{OptimError, Result};
use crate::numeric::finite::{bytes, frobenius_norm};
use crate::signal::{Signal, Signals};
use crate::stages::build::Machine;
use crate::stages::diagonal::Diagonal;
use crate::stages::eigenbasis::EigenbasisDiagonal;
use crate::stages::extent::Extent;
use crate::stages::preconditioner::Observation;
use crate::state::persist::persist;
use crate::statistics::second_moments::SECOND_MOMENT;

/// What is added to the norm that a grafted direction is divided by.
const GRAFTING_FLOOR: f64 = 1e-16;

pub(crate) struct Blocks<A> {
    blocks: Vec<Block<A>>,
    /// The direction of the grafted method, where there is one.
    grafted: Option<Array2<A>>,
    shape: (usize, usize),
}

struct Block<A> {
    extent: Extent,
    preconditioner: Machine<A>,
    graft: Option<Machine<A>>,
    /// Of the latest observation.
    warming_up: bool,
}

persist!(Blocks<A> { blocks });
persist!(Block<A> { preconditioner, graft });

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

impl<A: Scalar> Blocks<A> {
    /// The composition must have been checked.
    pub(crate) fn new(composition: &Composition, shape: (usize, usize)) -> Result<Self> {
        let extents = composition.partition.extents(shape);
        let is_whole = extents.iter().all(|extent| extent.shape() == shape);
        if !is_whole && composition.required() != Signals::GRADIENT {
            return Err(OptimError::Incompatible {
                first: "blocks or merged dimensions",
                second: "factors from a layer's signals",
                why: "a layer reports factors of its whole rows and columns",
            });
        }
        let build = |extent: Extent| {
            let preconditioner = Machine::new(composition, &extent)?;
            let grafting = composition.grafting.as_ref();
            let graft = grafting.map(|grafting| Machine::grafted(grafting, extent.shape()));
            let graft = graft.transpose()?;
            Ok(Block { extent, preconditioner, graft, warming_up: false })
        };
        Ok(Blocks {
            blocks: extents.into_iter().map(build).collect::<Result<_>>()?,
            grafted: composition.grafting.is_some().then(|| Array2::zeros(shape)),
            shape,
        })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.blocks.len()
    }

    /// Whether gradients have to be in standard layout.
    pub(crate) fn reshapes(&self) -> bool {
        self.blocks.iter().any(|block| block.extent.reshapes())
    }

    /// Takes the statistics of a step in; returns those of all blocks together.
    pub(crate) fn observe(&mut self, signal: &Signal<'_, A>) -> Result<Observation> {
        let mut all = Observation::default();
        let worse = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        for block in &mut self.blocks {
            let gradient = block.extent.of(signal.gradient())?;
            let signal = signal.with_gradient(gradient);
            let extent = &block.extent;
            let in_the_weight = |error| locate(extent, error);
            let one = block.preconditioner.observe(&signal).map_err(in_the_weight)?;
            if let Some(graft) = &mut block.graft
                && !one.skip
            {
                graft.observe(&signal).map_err(in_the_weight)?;
            }
            block.warming_up = one.warming_up;
            all.skip |= one.skip;
            all.warming_up |= one.warming_up;
            all.refreshed |= one.refreshed;
            all.fallbacks += one.fallbacks;
            all.scale = one.scale.or(all.scale);
            all.left_condition = worse(all.left_condition, one.left_condition);
            all.right_condition = worse(all.right_condition, one.right_condition);
        }
        Ok(all)
    }

    /// Preconditions a direction in standard layout, and grafts it.
    pub(crate) fn apply(&mut self, direction: &mut Array2<A>) -> Result<()> {
        if let Some(grafted) = &mut self.grafted {
            grafted.assign(direction);
        }
        for block in &mut self.blocks {
            let mut part = block.extent.of_mut(direction.view_mut())?;
            let (Some(graft), Some(grafted)) = (&mut block.graft, &mut self.grafted) else {
                block.preconditioner.apply(&mut part)?;
                continue;
            };
            let mut grafted = block.extent.of_mut(grafted.view_mut())?;
            graft.apply(&mut grafted)?;
            if block.warming_up {
                part.assign(&grafted);
                continue;
            }
            block.preconditioner.apply(&mut part)?;
            let target = frobenius_norm(&grafted.view());
            let own = frobenius_norm(&part.view());
            let ratio = A::from_f64(target / (own + GRAFTING_FLOOR));
            part.mapv_inplace(|x| x * ratio);
        }
        Ok(())
    }

    /// The preconditioner, where it is a diagonal.
    pub(crate) fn as_diagonal(&mut self) -> Option<&mut Diagonal<A>> {
        match &mut self.blocks.first_mut()?.preconditioner {
            Machine::Diagonal(diagonal) => Some(diagonal),
            _ => None,
        }
    }

    /// As [`Preconditioner`](crate::Preconditioner::apply_curvature), of a change in standard layout.
    pub(crate) fn apply_curvature(
        &mut self,
        signal: &Signal<'_, A>,
        change: &mut Array2<A>,
    ) -> Result<bool> {
        // Factors that model curvature are those of whole rows and columns.
        match self.blocks.as_mut_slice() {
            [block] => block.preconditioner.apply_curvature(signal, &mut change.view_mut()),
            _ => Ok(false),
        }
    }

    pub(crate) fn commit(&mut self, skipped: bool) {
        for block in &mut self.blocks {
            block.preconditioner.commit();
            if let Some(graft) = &mut block.graft
                && !skipped
            {
                graft.commit();
            }
        }
    }

    pub(crate) fn set_damping_factor(&mut self, factor: f64) {
        for block in &mut self.blocks {
            block.preconditioner.set_damping_factor(factor);
        }
    }

    pub(crate) fn required(&self) -> Signals {
        self.blocks.iter().fold(Signals::GRADIENT, |all, block| {
            let one = block.preconditioner.required();
            Signals { input: all.input || one.input, output: all.output || one.output }
        })
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let grafted = if self.grafted.is_some() { bytes::<A>(self.shape) } else { 0 };
        let blocks = self.blocks.iter().map(|block| {
            block.preconditioner.memory_bytes()
                + block.graft.as_ref().map_or(0, |graft| graft.memory_bytes())
        });
        grafted + blocks.sum::<usize>()
    }

    pub(crate) fn eigenbases_mut(&mut self) -> impl Iterator<Item = &mut EigenbasisDiagonal<A>> {
        self.blocks.iter_mut().filter_map(|block| match &mut block.preconditioner {
            Machine::Eigenbasis(eigenbasis) => Some(&mut **eigenbasis),
            _ => None,
        })
    }
}
