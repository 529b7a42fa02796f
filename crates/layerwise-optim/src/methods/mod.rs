//! The named methods.

mod adagrad;
mod adam;
mod kfac;
mod muon;
mod rmsprop;
mod sgd;
mod shampoo;
mod soap;

pub use adagrad::Adagrad;
pub use adam::{Adam, AdamW};
pub use kfac::{Kfac, OneSidedKfac, OutputFactor};
pub use muon::Muon;
pub use rmsprop::RmsProp;
pub use sgd::Sgd;
pub use shampoo::Shampoo;
pub use soap::Soap;
