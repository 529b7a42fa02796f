//! Spectra, covariances, covariates and tasks; batches of samples and exact Gaussian moments.
