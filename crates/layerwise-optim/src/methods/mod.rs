//! The named methods, each by the hyperparameters of its paper, and the chains that these stand for.

mod adagrad;
mod adam;
mod ekfac;
mod kfac;
mod lion;
mod muon;
mod rmsprop;
mod sgd;
mod shampoo;
mod soap;

pub use adagrad::Adagrad;
pub use adam::{Adam, AdamW};
pub use ekfac::Ekfac;
pub use kfac::{Kfac, KfacDamping, OneSidedKfac, OutputFactor};
pub use lion::Lion;
pub use muon::Muon;
pub use rmsprop::RmsProp;
pub use sgd::Sgd;
pub use shampoo::{Exponents, KlShampoo, Shampoo};
pub use soap::Soap;

pub use crate::step::method::Method;
