//! Algorithms on whole problems, figures, claims, runner and plots.
