//! Single-index learning: a student with a fixed head, steps on its weights, and the direction that
//! they learn.

pub mod measures;
mod problem;
mod runs;
pub mod setting;
mod steps;

pub use problem::SingleIndexModel;
pub use setting::{SingleIndexMethod, SingleIndexSetting};
pub(crate) use steps::draw_student;
pub use steps::{NOISE, Teacher, gradient, input_factor, kfac_step, sgd_step};
