//! The optimizers that are compared, and the settings that each may choose from.

use layerwise_optim::chain::{Filter, Grafting};
use layerwise_optim::methods::KfacDamping;
use layerwise_optim::{
    Adam, AdamW, Averaging, Group, Kfac, Momentum, Muon, Refresh, Selector, Shampoo, Soap,
};

/// A way to train all layers.
#[derive(Clone, Debug)]
pub struct Setting {
    /// As shown in tables.
    pub label: String,
    /// As [`layerwise_optim::OptimizerSet::new`] takes it.
    pub groups: Vec<Group>,
}

/// A method, and the settings to choose from: as many for each.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The method's name.
    pub name: &'static str,
    /// As many as [`SETTINGS`].
    pub settings: Vec<Setting>,
}

/// Settings tried for each method.
pub const SETTINGS: usize = 8;

fn everything(label: String, method: &impl layerwise_optim::Method) -> Setting {
    Setting { label, groups: vec![Group::new(Selector::All, method)] }
}

/// Rates by half decades, downwards from the largest.
fn rates(largest: f64) -> [f64; SETTINGS] {
    std::array::from_fn(|i| largest * 10.0_f64.powf(-0.5 * i as f64))
}

/// Adam: eight rates.
#[must_use]
pub fn adam() -> Candidate {
    let setting = |rate: f64| {
        everything(
            format!("η = {rate:.1e}"),
            &Adam { learning_rate: rate.into(), ..Adam::default() },
        )
    };
    Candidate { name: "Adam", settings: rates(0.1).map(setting).into() }
}

/// KFAC: four rates with each of two dampings.
#[must_use]
pub fn kfac() -> Candidate {
    let mut settings = Vec::new();
    for damping in [1e-2, 1e-3] {
        for &rate in rates(1.0).iter().take(SETTINGS / 2) {
            let method = Kfac {
                learning_rate: rate.into(),
                damping: KfacDamping::FactoredTikhonov(damping.into()),
                averaging: Averaging::Ema { beta: 0.95.into(), bias_correction: true },
                momentum: Some(momentum()),
                ..Kfac::stylised()
            };
            settings.push(everything(format!("η = {rate:.1e}, λ = {damping:.0e}"), &method));
        }
    }
    Candidate { name: "KFAC", settings }
}

/// Shampoo, with Adam's step length: eight rates.
#[must_use]
pub fn shampoo() -> Candidate {
    let setting = |rate: f64| {
        let method = Shampoo {
            learning_rate: rate.into(),
            momentum: Some(momentum()),
            averaging: Averaging::Ema { beta: 0.99.into(), bias_correction: true },
            grafting: Some(Grafting::Diagonal(Default::default())),
            refresh: Refresh::every(5),
            ..Shampoo::stylised()
        };
        everything(format!("η = {rate:.1e}"), &method)
    };
    Candidate { name: "Shampoo", settings: rates(0.1).map(setting).into() }
}

/// SOAP: eight rates.
#[must_use]
pub fn soap() -> Candidate {
    let setting = |rate: f64| {
        everything(
            format!("η = {rate:.1e}"),
            &Soap { learning_rate: rate.into(), ..Soap::default() },
        )
    };
    Candidate { name: "SOAP", settings: rates(0.1).map(setting).into() }
}

/// Muon on the hidden layers, and AdamW at a tenth of the rate on the head: eight rates.
#[must_use]
pub fn muon() -> Candidate {
    let setting = |rate: f64| Setting {
        label: format!("η = {rate:.1e}"),
        groups: vec![
            Group::new(
                Selector::prefix("hidden."),
                &Muon { learning_rate: rate.into(), ..Muon::default() },
            ),
            Group::new(
                Selector::All,
                &AdamW { learning_rate: (0.1 * rate).into(), ..AdamW::default() },
            ),
        ],
    };
    Candidate { name: "Muon", settings: rates(0.3).map(setting).into() }
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Candidate> {
    vec![adam(), kfac(), shampoo(), soap(), muon()]
}

fn momentum() -> Momentum {
    Momentum::Ema { beta: 0.9.into(), bias_correction: true, filter: Filter::Average }
}
