//! One matrix with Muon: a linear regression whose inputs differ a hundredfold in scale.

use std::error::Error;

use layerwise_downstream::fit_regression;
use layerwise_optim::Muon;

fn main() -> Result<(), Box<dyn Error>> {
    fit_regression(&Muon { learning_rate: 0.02.into(), ..Muon::default() })
}
