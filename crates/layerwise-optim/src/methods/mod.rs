//! The named methods, each by the hyperparameters of its paper, and the chains that these stand for.

mod adafactor;
mod adagrad;
mod adam;
mod ekfac;
mod embedding_kfac;
mod kfac;
mod lion;
mod mars;
mod muon;
mod normuon;
mod psgd;
mod rmsprop;
mod sgd;
mod shampoo;
mod soap;
mod sophia;
mod splus;

pub use adafactor::Adafactor;
pub use adagrad::Adagrad;
pub use adam::{Adam, AdamW};
pub use ekfac::Ekfac;
pub use embedding_kfac::EmbeddingKfac;
pub use kfac::{Kfac, KfacDamping, OneSidedKfac, OutputFactor};
pub use lion::Lion;
pub use mars::Mars;
pub use muon::Muon;
pub use normuon::NorMuon;
pub use psgd::PsgdKron;
pub use rmsprop::RmsProp;
pub use sgd::Sgd;
pub use shampoo::{Exponents, KlShampoo, Shampoo};
pub use soap::Soap;
pub use sophia::Sophia;
pub use splus::SPlus;

pub use crate::step::method::Method;
