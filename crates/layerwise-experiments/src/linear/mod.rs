//! Linear representation learning: methods that train the two-layer linear network, and the runs
//! that record what they learn.

mod algorithm;
mod method;
mod results;
mod runs;
pub mod setting;
mod step_data;

pub use algorithm::{Algorithm, Amgd, LayerWise, NaturalGradient};
pub use method::{Cell, LinearMethod, head_kfac, representation_kfac};
pub use results::{Chosen, LinearResults, last};
pub use runs::{LinearTrial, Run, run_trial};
pub use setting::{LinearSetting, recorded_iterations};
pub use step_data::{Needs, SampledBatch, StepData};
