//! The optimizers that are compared.

use layerwise_optim::chain::StageConfig;
use layerwise_optim::{
    Adafactor, Adagrad, AdamW, Chain, Ekfac, Group, Kfac, KlShampoo, Lion, Mars, Method, Muon,
    NorMuon, OneSidedKfac, PsgdKron, RmsProp, SPlus, Selector, Sgd, Shampoo, Soap,
};

/// What a method makes its steps of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The gradient's entries, each for itself.
    Entries,
    /// The gradient as a matrix.
    Matrices,
    /// A layer's inputs and the derivatives by its outputs.
    Layers,
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 3] = [Family::Entries, Family::Matrices, Family::Layers];

    /// What to call it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Family::Entries => "by entries of the gradient",
            Family::Matrices => "by the gradient as a matrix",
            Family::Layers => "by the layer's inputs and derivatives",
        }
    }
}

/// A method to be compared, of which the learning rate alone is tuned.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The method's name.
    pub name: &'static str,
    /// What it makes its steps of.
    pub family: Family,
    chain: Chain,
}

/// Learning rates tried for each method, an odd number with the default in their middle.
pub const RATES: usize = 7;
/// The method that every plot shows for comparison.
pub const REFERENCE: &str = "AdamW";

/// All of them, in the order of tables: one line each.
#[must_use]
pub fn all() -> Vec<Candidate> {
    let momentum = Sgd { momentum: 0.9.into(), ..Sgd::default() };
    let cautious = AdamW::default().chain().then(StageConfig::Cautious);
    vec![
        Candidate::new("SGD, momentum 0.9", Family::Entries, &momentum),
        Candidate::new("AdamW", Family::Entries, &AdamW::default()),
        Candidate::new("Lion", Family::Entries, &Lion::default()),
        Candidate::new("Adagrad", Family::Entries, &Adagrad::default()),
        Candidate::new("RMSprop", Family::Entries, &RmsProp::default()),
        Candidate::new("cautious AdamW", Family::Entries, &cautious),
        Candidate::new("MARS", Family::Entries, &Mars::default()),
        Candidate::new("Adafactor", Family::Entries, &Adafactor::default()),
        Candidate::new("Muon", Family::Matrices, &Muon::default()),
        Candidate::new("NorMuon", Family::Matrices, &NorMuon::default()),
        Candidate::new("PSGD-Kron", Family::Matrices, &PsgdKron::default()),
        Candidate::new("Shampoo", Family::Matrices, &Shampoo::default()),
        Candidate::new("KL-Shampoo", Family::Matrices, &KlShampoo::default()),
        Candidate::new("SOAP", Family::Matrices, &Soap::default()),
        Candidate::new("KL-SOAP", Family::Matrices, &Soap::kl()),
        Candidate::new("SPlus", Family::Matrices, &SPlus::default()),
        Candidate::new("KFAC", Family::Layers, &Kfac::default()),
        Candidate::new("EKFAC", Family::Layers, &Ekfac::default()),
        Candidate::new("one-sided KFAC", Family::Layers, &OneSidedKfac::default()),
    ]
}

impl Candidate {
    /// A method as its settings have it; of its rate's schedule counts the first value.
    #[must_use]
    pub fn new(name: &'static str, family: Family, method: &impl Method) -> Self {
        Candidate { name, family, chain: method.chain() }
    }

    /// The rates that are tried, in half decades round the method's own, upwards.
    #[must_use]
    pub fn rates(&self) -> [f64; RATES] {
        let middle = self.chain.learning_rate.value(0);
        std::array::from_fn(|i| middle * 10.0_f64.powf(0.5 * (i as f64 - (RATES / 2) as f64)))
    }

    /// How parameters are stepped: those of these names by AdamW with its own settings, whatever
    /// the method, and all others by the method with this rate.
    #[must_use]
    pub fn groups(&self, rate: f64, by_adamw: Vec<String>) -> Vec<Group> {
        let chain = Chain { learning_rate: rate.into(), ..self.chain.clone() };
        vec![
            Group::new(Selector::Named(by_adamw), &AdamW::default()),
            Group::new(Selector::All, &chain),
        ]
    }
}
