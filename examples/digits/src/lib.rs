//! A network with two hidden layers on 1,797 handwritten digits, trained by Adam, KFAC, Shampoo,
//! SOAP and Muon, as a program that depends on `layerwise-optim` would do it.
//!
//! [`network`] has the layers and their own back-propagation; [`training`] is the loop, and what
//! such a program needs of the optimizers' interface stands there and in [`methods`].

pub mod data;
pub mod methods;
pub mod network;
pub mod plot;
pub mod report;
pub mod training;
pub mod transfer;
