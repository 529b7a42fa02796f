//! Layer-wise preconditioned optimizers: KFAC, Shampoo, SOAP, Muon and the diagonal methods.
