//! The defaults of all methods on a network as people have them: inputs that are anisotropic, a quarter of
//! them always zero, and batches smaller than the layers are wide.

use crate::common::network::{Classes, Network};
use layerwise_optim::chain::{StageConfig, TurnedMoments};
use layerwise_optim::{
    Adafactor, Adagrad, Adam, AdamW, Chain, Ekfac, Kfac, KlShampoo, Lion, Mars, Method, Muon,
    NorMuon, OneSidedKfac, OptimError, PsgdKron, Refresh, RmsProp, SPlus, Scalar, Sgd, Shampoo,
    Soap, Sophia,
};

/// A method with its defaults but the rate and the refreshes.
struct Candidate {
    name: &'static str,
    make: fn(f64, Option<Refresh>) -> Chain,
    rate: f64,
    /// Whose step grows with a multiple of the gradient: its rate is divided by that.
    follows_gradient: bool,
    /// By what power of the inputs' scale its step grows beyond that of the weights: 1/scale.
    power: i32,
}

macro_rules! candidate {
    ($name:literal, $method:ident, $rate:expr, $follows:expr, $power:expr $(, $refresh:ident)?) => {
        Candidate {
            name: $name,
            make: |rate, _refresh| {
                let default = $method::default();
                $(let $refresh = _refresh.unwrap_or(default.refresh.clone());)?
                $method { learning_rate: rate.into(), $($refresh,)? ..default }.chain()
            },
            rate: $rate,
            follows_gradient: $follows,
            power: $power,
        }
    };
}

fn candidates() -> Vec<Candidate> {
    vec![
        candidate!("sgd", Sgd, 0.1, true, 2),
        candidate!("adagrad", Adagrad, 0.01, false, 1),
        candidate!("rmsprop", RmsProp, 0.001, false, 1),
        candidate!("adam", Adam, 0.003, false, 1),
        candidate!("adamw", AdamW, 0.003, false, 1),
        candidate!("lion", Lion, 0.001, false, 1),
        candidate!("adafactor", Adafactor, 0.03, false, 0),
        candidate!("mars", Mars, 0.003, false, 1),
        Candidate {
            name: "adamw, cautious",
            make: |rate, _| {
                let default = AdamW::default();
                AdamW { learning_rate: rate.into(), ..default }.chain().then(StageConfig::Cautious)
            },
            rate: 0.003,
            follows_gradient: false,
            power: 1,
        },
        candidate!("sophia", Sophia, 0.001, false, 1),
        candidate!("psgd-kron", PsgdKron, 0.003, false, 1),
        candidate!("splus", SPlus, 0.1, false, 1, refresh),
        candidate!("muon", Muon, 0.02, false, 1),
        candidate!("normuon", NorMuon, 0.02, false, 1),
        candidate!("kfac", Kfac, 0.1, true, 0, refresh),
        candidate!("one-sided kfac", OneSidedKfac, 0.01, true, 0, refresh),
        candidate!("ekfac", Ekfac, 0.1, true, 0, refresh),
        candidate!("shampoo", Shampoo, 0.003, false, 1, refresh),
        candidate!("kl-shampoo", KlShampoo, 0.003, false, 1, refresh),
        Candidate {
            name: "kl-soap",
            make: |rate, refresh| {
                let default = Soap::kl();
                let refresh = refresh.unwrap_or(default.refresh.clone());
                let turned_moments = TurnedMoments::Transported;
                Soap { learning_rate: rate.into(), refresh, turned_moments, ..default }.chain()
            },
            rate: 0.003,
            follows_gradient: false,
            power: 1,
        },
        Candidate {
            name: "soap",
            make: |rate, refresh| {
                let default = Soap::default();
                let refresh = refresh.unwrap_or(default.refresh.clone());
                // A decomposition gives dead directions any basis: where each step has a new one, moments that
                // stay are those of other directions, and how far a step goes depends on the last bits.
                let turned_moments = match refresh.every {
                    1 => TurnedMoments::Transported,
                    _ => default.turned_moments,
                };
                Soap { learning_rate: rate.into(), refresh, turned_moments, ..default }.chain()
            },
            rate: 0.003,
            follows_gradient: false,
            power: 1,
        },
    ]
}

/// What is hard about a network, or its data.
#[derive(Clone)]
struct Setting {
    name: &'static str,
    widths: [usize; 3],
    batch: usize,
    steps: usize,
    /// What inputs are multiplied by; the first layer's weights are divided by it.
    input_scale: f64,
    /// What gradients are multiplied by, as of a loss in another unit.
    loss_scale: f64,
    /// What weights at the start are multiplied by.
    gain: f64,
    /// How many of the ten classes are seen.
    classes: usize,
    refresh: Option<Refresh>,
}

impl Setting {
    fn usual() -> Self {
        Setting {
            name: "usual",
            widths: [196, 64, 10],
            batch: 32,
            steps: 150,
            input_scale: 1.0,
            loss_scale: 1.0,
            gain: 1.0,
            classes: 10,
            refresh: None,
        }
    }

    fn short(name: &'static str) -> Self {
        Setting { name, widths: [100, 48, 10], steps: 40, ..Setting::usual() }
    }

    /// The loss before and after training at a multiple of the candidate's rate.
    fn train<A: Scalar>(
        &self,
        candidate: &Candidate,
        factor: f64,
    ) -> Result<(f64, f64), OptimError> {
        let data = Classes::<A>::draw(1, 1024, self.widths[0], 10, self.input_scale);
        let data = data.of_first(self.classes);
        let mut network = Network::<A>::new(2, &self.widths, self.gain);
        network.weights[0] /= A::from_f64(self.input_scale);
        let before = network.loss(&data);
        let by_loss = if candidate.follows_gradient { self.loss_scale } else { 1.0 };
        let chain = |layer| {
            let by_input = if layer == 0 { self.input_scale.powi(candidate.power) } else { 1.0 };
            let rate = factor * candidate.rate / (by_loss * by_input);
            (candidate.make)(rate, self.refresh.clone())
        };
        network.train(chain, &data, (self.batch, self.steps), self.loss_scale)?;
        Ok((before, network.loss(&data)))
    }
}

fn settings() -> Vec<Setting> {
    vec![
        Setting { gain: 30.0, ..Setting::short("saturated units") },
        Setting { classes: 6, ..Setting::short("classes never seen") },
        Setting { loss_scale: 1e-4, ..Setting::short("a loss of 1e-4") },
        Setting { loss_scale: 1e4, ..Setting::short("a loss of 1e4") },
        Setting { input_scale: 1e-4, ..Setting::short("inputs of 1e-4") },
        Setting { input_scale: 1e4, ..Setting::short("inputs of 1e4") },
        Setting { refresh: Some(Refresh::every(1)), ..Setting::short("a refresh a step") },
        Setting { refresh: Some(Refresh::every(100)), ..Setting::short("a single refresh") },
        Setting { batch: 4, ..Setting::short("batches of four") },
    ]
}

fn losses_fall<A: Scalar>(settings: &[Setting], factor: f64) {
    for setting in settings {
        for candidate in candidates() {
            let named = format!("{} in {}, {}", candidate.name, A::NAME, setting.name);
            let trained = setting.train::<A>(&candidate, factor);
            let (before, after) = trained.unwrap_or_else(|error| panic!("{named}: {error}"));
            assert!(after < before, "{named}: {before} to {after}");
        }
    }
}

#[test]
fn losses_fall_where_training_is_hard() {
    losses_fall::<f32>(&settings(), 1.0);
    losses_fall::<f64>(&settings(), 1.0);
}

#[test]
fn losses_fall_in_wide_layers() {
    let wide = Setting {
        widths: [1024, 1024, 10],
        batch: 16,
        steps: 10,
        refresh: Some(Refresh::every(6)),
        ..Setting::short("wide layers")
    };
    // The first steps of methods without factors move a unit by their rate times the sum of its inputs.
    losses_fall::<f32>(&[wide], 0.1);
}

/// Each at the best of three rates: those with factors, bases or a polar factor end lower than AdamW, and no
/// other higher than 1.25 times as high.
fn defaults_train<A: Scalar>() {
    let best = |candidate: &Candidate| {
        let losses = [1.0 / 3.0, 1.0, 3.0]
            .map(|factor| Setting::usual().train::<A>(candidate, factor).unwrap().1);
        losses.into_iter().fold(f64::INFINITY, f64::min)
    };
    let of_adamw = candidates().iter().find(|c| c.name == "adamw").map(best).unwrap();
    for candidate in candidates() {
        let of_matrix = ["muon", "kfac", "shampoo", "soap"];
        let is_of_matrix = of_matrix.iter().any(|name| candidate.name.contains(name));
        let most = if is_of_matrix { of_adamw } else { 1.25 * of_adamw };
        let loss = best(&candidate);
        assert!(loss <= most, "{} in {}: {loss}, AdamW {of_adamw}", candidate.name, A::NAME);
    }
}

#[test]
fn defaults_train_a_network() {
    defaults_train::<f32>();
    defaults_train::<f64>();
}
