//! Tests of the public interface, one module per subject.

mod cholesky;
mod common;
mod eigen;
mod errors;
mod golden;
mod inverse_root;
mod orthonormal;
mod polar;
mod product;
mod singular;
