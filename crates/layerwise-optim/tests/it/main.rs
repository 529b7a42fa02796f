//! Tests of the public interface, one module per subject. One program of them all compiles several times
//! faster than one for each.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that fails panics"
)]

mod checkpoint;
mod common;
mod control;
mod damping;
mod embedding;
mod entries;
mod factors;
mod floors;
mod golden;
mod guide;
mod identities;
mod invariances;
mod layers;
mod networks;
mod options;
mod psgd;
mod references;
mod reports;
mod set;
mod setup;
mod stages;
mod staleness;
mod state;
mod suite;
mod turning;
