//! The preconditioner that a composition asks for.

use std::ops::{Deref, DerefMut};

use layerwise_linalg::Scalar;

use crate::config::composition::{Composition, Grafting, PreconditionerConfig};
use crate::config::factor::FactorConfig;
use crate::config::statistic::Statistic;
use crate::error::Result;
use crate::stages::diagonal::Diagonal;
use crate::stages::eigenbasis::EigenbasisDiagonal;
use crate::stages::extent::Extent;
use crate::stages::kronecker::Kronecker;
use crate::stages::polar::Polar;
use crate::stages::preconditioner::{Identity, Preconditioner};
use crate::stages::sign::Sign;
use crate::state::persist::Persist;
use crate::state::values::{StateReader, StateWriter};

/// One of this crate's preconditioners. What concerns a single kind is asked by its variant, all
/// else through the trait.
#[derive(Debug)]
pub(crate) enum Machine<A> {
    Identity(Identity),
    Sign(Sign),
    Diagonal(Box<Diagonal<A>>),
    Kronecker(Box<Kronecker<A>>),
    Eigenbasis(Box<EigenbasisDiagonal<A>>),
    Polar(Polar<A>),
}

impl<A: Scalar> Deref for Machine<A> {
    type Target = dyn Preconditioner<A>;

    fn deref(&self) -> &Self::Target {
        match self {
            Machine::Identity(machine) => machine,
            Machine::Sign(machine) => machine,
            Machine::Diagonal(machine) => &**machine,
            Machine::Kronecker(machine) => &**machine,
            Machine::Eigenbasis(machine) => &**machine,
            Machine::Polar(machine) => machine,
        }
    }
}

impl<A: Scalar> DerefMut for Machine<A> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Machine::Identity(machine) => machine,
            Machine::Sign(machine) => machine,
            Machine::Diagonal(machine) => &mut **machine,
            Machine::Kronecker(machine) => &mut **machine,
            Machine::Eigenbasis(machine) => &mut **machine,
            Machine::Polar(machine) => machine,
        }
    }
}

impl<A: Scalar> Persist<A> for Machine<A> {
    fn save<'s>(&'s self, path: &str, out: &mut StateWriter<'s, A>) {
        self.save_state(path, out);
    }

    fn load(&mut self, path: &str, from: &mut StateReader<'_, A>) -> Result<()> {
        self.load_state(path, from)
    }

    // There is no `discard`: a machine forgets a proposal as it observes the next step.
    fn commit(&mut self) {
        Preconditioner::commit(&mut **self);
    }
}

impl<A: Scalar> Machine<A> {
    /// The preconditioner of a part of a weight.
    pub(crate) fn new(composition: &Composition, extent: &Extent) -> Result<Self> {
        let shape = extent.shape();
        Ok(match &composition.preconditioner {
            PreconditionerConfig::Identity => Machine::Identity(Identity),
            PreconditionerConfig::Sign(scale) => Machine::Sign(Sign::new(*scale, shape)),
            PreconditionerConfig::Diagonal(config) => {
                Machine::Diagonal(Box::new(Diagonal::new(config, shape)?))
            }
            PreconditionerConfig::Kronecker(config) => {
                let mut config = config.clone();
                if extent.is_vector() {
                    config.right = composition.partition.vector_factor(&config.left, &config.right);
                }
                for (alone, factor) in
                    [(extent.alone.0, &mut config.left), (extent.alone.1, &mut config.right)]
                {
                    if alone {
                        *factor = FactorConfig::identity();
                    }
                }
                let kronecker = Kronecker::new(&config, shape)?;
                Machine::Kronecker(Box::new(if composition.predicts() {
                    kronecker.giving_curvature()
                } else {
                    kronecker
                }))
            }
            PreconditionerConfig::Eigenbasis(config) => {
                let mut config = config.clone();
                if extent.is_vector() && config.right == Statistic::Identity {
                    config.right = config.left;
                }
                for (alone, statistic) in
                    [(extent.alone.0, &mut config.left), (extent.alone.1, &mut config.right)]
                {
                    if alone {
                        *statistic = Statistic::Identity;
                    }
                }
                Machine::Eigenbasis(Box::new(EigenbasisDiagonal::new(&config, shape)?))
            }
            PreconditionerConfig::Polar(config) => Machine::Polar(Polar::new(config, shape)?),
        })
    }

    /// The method whose step length a part of this shape takes.
    pub(crate) fn grafted(grafting: &Grafting, shape: (usize, usize)) -> Result<Self> {
        Ok(match grafting {
            Grafting::Direction => Machine::Identity(Identity),
            Grafting::Diagonal(config) => {
                Machine::Diagonal(Box::new(Diagonal::new(config, shape)?))
            }
        })
    }
}
