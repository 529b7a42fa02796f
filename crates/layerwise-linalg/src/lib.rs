//! Dense symmetric linear algebra for layer-wise preconditioning: Cholesky solves, eigendecompositions, inverse roots, orthonormal rows, polar factors.
