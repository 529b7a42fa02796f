//! Linear representation learning: methods that train the two-layer linear network, and the runs
//! that record what they learn.

mod algorithm;
pub mod measures;
mod method;
mod problem;
mod runs;
pub mod setting;
mod step_data;

pub use algorithm::{Algorithm, Amgd, LayerWise, NaturalGradient};
pub use method::{
    AmgdSpec, Layers, LinearMethod, NaturalGradientSpec, head_kfac, representation_kfac,
};
pub use problem::LinearModel;
pub use runs::run_trial;
pub use setting::{LinearSetting, Transfer, recorded_iterations};
pub use step_data::{Needs, SampledBatch, StepData};
