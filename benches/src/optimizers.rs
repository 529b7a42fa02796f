//! Every optimizer, and the layer that it steps on.

use layerwise_linalg::Scalar;
use layerwise_linalg::ndarray::Array2;
use layerwise_optim::factor::RootMethod;
use layerwise_optim::{
    Adagrad, Adam, AdamW, Chain, Factor, Kfac, Method, Muon, OneSidedKfac, Refresh, RmsProp, Sgd,
    Shampoo, Signal, Soap,
};

use crate::{normals, second_moment};

/// Never again after the first step, which is warm-up.
fn plain() -> Refresh {
    Refresh::every(u64::MAX)
}

/// At every step.
fn refreshing() -> Refresh {
    Refresh::every(1)
}

/// Every method. Those with roots or bases twice: a step that uses them, and one that computes
/// them anew; an amortized step follows from the two.
#[must_use]
pub fn methods() -> Vec<(&'static str, Chain)> {
    let mut methods = vec![
        ("sgd", Sgd::default().chain()),
        ("momentum", Sgd { momentum: 0.9.into(), ..Sgd::default() }.chain()),
        ("adagrad", Adagrad::default().chain()),
        ("rmsprop", RmsProp::default().chain()),
        ("adam", Adam::default().chain()),
        ("adamw", AdamW::default().chain()),
        ("muon", Muon::default().chain()),
    ];
    methods.extend(preconditioned());
    methods
}

/// The methods with roots or bases.
fn preconditioned() -> Vec<(&'static str, Chain)> {
    let kfac = |refresh| Kfac { refresh, ..Kfac::stylised() }.chain();
    let inverses =
        |refresh| Kfac { refresh, root: RootMethod::Inverse, ..Kfac::stylised() }.chain();
    let shampoo = |refresh| Shampoo { refresh, ..Shampoo::stylised() }.chain();
    let soap = |refresh| Soap { refresh, ..Soap::default() }.chain();
    let published = Soap { refresh: refreshing(), ..Soap::as_published() }.chain();
    vec![
        ("kfac_plain", kfac(plain())),
        ("kfac_refreshing", kfac(refreshing())),
        ("kfac_inverses_plain", inverses(plain())),
        ("kfac_inverses_refreshing", inverses(refreshing())),
        ("one_sided_kfac", OneSidedKfac::stylised().chain()),
        ("shampoo_plain", shampoo(plain())),
        ("shampoo_refreshing", shampoo(refreshing())),
        ("soap_plain", soap(plain())),
        ("soap_refreshing", soap(refreshing())),
        ("soap_published_refreshing", published),
    ]
}

/// What a layer of n × n reports, n² fresh numbers each in a few variants, so that averages move.
pub struct Layer<A> {
    gradients: Vec<Array2<A>>,
    input: Array2<A>,
    output: Array2<A>,
}

impl<A: Scalar> Layer<A> {
    /// # Errors
    /// None for n that fit into memory.
    pub fn new(n: usize) -> layerwise_linalg::Result<Self> {
        Ok(Layer {
            gradients: (0..4).map(|seed| normals(n, n, seed)).collect(),
            input: second_moment(n, 11)?,
            output: second_moment(n, 12)?,
        })
    }

    /// What it reports at a step.
    pub fn signal(&self, step: usize) -> Signal<'_, A> {
        Signal::new(self.gradients[step % self.gradients.len()].view())
            .with_input(Factor::SecondMoment(self.input.view()))
            .with_output(Factor::SecondMoment(self.output.view()))
    }
}
