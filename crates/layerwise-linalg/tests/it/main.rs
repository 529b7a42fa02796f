//! Tests of the public interface, one module per subject.
#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod cholesky;
mod common;
mod coupled_newton;
mod eigen;
mod errors;
mod families;
mod golden;
mod inverse_root;
mod minimax;
mod orthonormal;
mod polar;
mod product;
mod singular;
mod strides;
