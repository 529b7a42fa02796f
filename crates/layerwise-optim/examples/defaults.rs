//! Every method with its defaults on one network, in both precisions: 784–256–10 units, tanh, batches of 64, a
//! quarter of the inputs always zero, 300 steps.
//!
//! `cargo run --release -p layerwise-optim --example defaults`

use std::error::Error;
use std::time::Instant;

use layerwise_optim::chain::StageConfig;
use layerwise_optim::{
    Adafactor, Adagrad, Adam, AdamW, Chain, Ekfac, Kfac, KlShampoo, Lion, Mars, Method, Muon,
    NorMuon, OneSidedKfac, PsgdKron, RmsProp, SPlus, Scalar, Sgd, Shampoo, Soap, Sophia,
};

#[path = "../tests/it/common/network.rs"]
mod network;

use network::{Classes, Network};

fn main() -> Result<(), Box<dyn Error>> {
    let methods: [(&str, Chain); 21] = [
        ("SGD", Sgd::default().chain()),
        ("Adagrad", Adagrad::default().chain()),
        ("RMSprop", RmsProp::default().chain()),
        ("Adam", Adam::default().chain()),
        ("AdamW", AdamW::default().chain()),
        ("Lion", Lion::default().chain()),
        ("AdamW, cautious", AdamW::default().chain().then(StageConfig::Cautious)),
        ("MARS", Mars::default().chain()),
        ("Adafactor", Adafactor::default().chain()),
        ("Sophia-G", Sophia::default().chain()),
        ("Muon", Muon::default().chain()),
        ("NorMuon", NorMuon::default().chain()),
        ("PSGD-Kron", PsgdKron::default().chain()),
        ("SPlus", SPlus::default().chain()),
        ("KFAC", Kfac::default().chain()),
        ("one-sided KFAC", OneSidedKfac::default().chain()),
        ("EKFAC", Ekfac::default().chain()),
        ("Shampoo", Shampoo::default().chain()),
        ("KL-Shampoo", KlShampoo::default().chain()),
        ("SOAP", Soap::default().chain()),
        ("KL-SOAP", Soap::kl().chain()),
    ];
    println!("{:16} {:>7} {:>7} {:>7}   seconds in f32", "loss", "start", "f32", "f64");
    for (name, chain) in &methods {
        let start = Instant::now();
        let (before, single) = train::<f32>(chain)?;
        let seconds = start.elapsed().as_secs_f64();
        let (_, double) = train::<f64>(chain)?;
        println!("{name:16} {before:7.3} {single:7.3} {double:7.3}   {seconds:.1}");
    }
    Ok(())
}

/// The loss before and after.
fn train<A: Scalar>(chain: &Chain) -> Result<(f64, f64), Box<dyn Error>> {
    let data = Classes::<A>::draw(1, 4096, 784, 10, 1.0);
    let mut network = Network::<A>::new(2, &[784, 256, 10], 1.0);
    let before = network.loss(&data);
    network.train(|_| chain.clone(), &data, (64, 300), 1.0)?;
    Ok((before, network.loss(&data)))
}
