//! Optimizers as files name them: the public methods of `layerwise-optim`, and any chain.

use layerwise_optim::{
    Adafactor, Adagrad, Adam, AdamW, Chain, Ekfac, Kfac, KlShampoo, Lion, Mars, Method, Muon,
    NorMuon, OneSidedKfac, PsgdKron, RmsProp, SPlus, Sgd, Shampoo, Soap, Sophia,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

macro_rules! optimizers {
    ($($name:ident),*) => {
        /// A named method with its hyperparameters, those that are left out at their defaults; or a chain.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub enum OptimizerSpec {
            $(
                #[doc = concat!("[`layerwise_optim::", stringify!($name), "`].")]
                $name(Box<$name>),
            )*
            /// Stages put together at will, as they serialize.
            Chain(Box<Chain>),
        }

        impl OptimizerSpec {
            /// The chain that it stands for.
            #[must_use]
            pub fn chain(&self) -> Chain {
                match self {
                    $(Self::$name(method) => method.chain(),)*
                    Self::Chain(chain) => (**chain).clone(),
                }
            }

            /// Each by its name, with all hyperparameters at their defaults.
            #[must_use]
            pub fn defaults() -> Vec<(&'static str, Value)> {
                vec![
                    $((stringify!($name), serde_json::to_value($name::default()).unwrap_or_default()),)*
                    ("Chain", serde_json::to_value(Chain::default()).unwrap_or_default()),
                ]
            }
        }
    };
}

optimizers!(
    Sgd,
    Adam,
    AdamW,
    Adagrad,
    RmsProp,
    Lion,
    Adafactor,
    Sophia,
    Mars,
    Kfac,
    OneSidedKfac,
    Ekfac,
    Shampoo,
    KlShampoo,
    Soap,
    SPlus,
    PsgdKron,
    Muon,
    NorMuon
);

impl Method for OptimizerSpec {
    fn chain(&self) -> Chain {
        self.chain()
    }
}
