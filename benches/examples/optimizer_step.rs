//! Time of one step of each optimizer on one n × n weight in f32, and of the calls that it cannot
//! do without: the counterpart of `peers/optimizer_step.py`, measured in the same way.
//!
//! ```text
//! cargo run --release -p layerwise-benches --example optimizer_step -- [threads] [seconds per row] [rows...]
//! ```
//!
//! A row METHOD/n is one weight, whose step has all threads; METHOD/8xn are eight, which the threads
//! of an `OptimizerSet` take side by side.

use std::error::Error;
use std::time::Duration;

use layerwise_benches::{
    Arguments, Calls, Layer, Times, methods, report, time_steps, unavoidable_calls,
};
use layerwise_linalg::ndarray::Array2;
use layerwise_linalg::set_backend_threads;
use layerwise_optim::{Chain, Group, OptimError, OptimizerSet, Selector, Signals, Update};

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { threads, budget, mut rows } = Arguments::read()?;
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    if rows.is_empty() {
        let all = |n| methods().into_iter().map(move |(name, _)| format!("{name}/{n}"));
        rows = [256, 1024].into_iter().flat_map(all).collect();
    }
    for row in rows {
        let Some((chain, name, count, n)) = find(&row) else {
            let names: Vec<_> = methods().into_iter().map(|(name, _)| name).collect();
            let allowed = "METHOD/n or METHOD/8xn with a METHOD of";
            return Err(format!("no row `{row}`; allowed: {allowed} {}", names.join(", ")).into());
        };
        if let Some(count) = count {
            set_backend_threads(1);
            report(&row, threads, &time_set(chain, count, n, budget)?, None);
            continue;
        }
        set_backend_threads(threads);
        let times = time_one(&chain, n, budget)?;
        let calls = match unavoidable_calls().into_iter().find(|(method, _)| *method == name) {
            Some((_, calls)) => {
                let mut operands = Calls::<f32>::new(n)?;
                Some(time_steps(budget, || calls(&mut operands))?)
            }
            None => None,
        };
        report(&row, threads, &times, calls.as_ref());
    }
    Ok(())
}

/// The method of a row, its name, the number of weights if there is one, and their size.
fn find(row: &str) -> Option<(Chain, &str, Option<usize>, usize)> {
    let (name, size) = row.split_once('/')?;
    let (_, chain) = methods().into_iter().find(|(method, _)| *method == name)?;
    let (count, n) = match size.split_once('x') {
        Some((count, n)) => (Some(count.parse().ok()?), n),
        None => (None, size),
    };
    Some((chain, name, count, n.parse().ok()?))
}

fn time_one(chain: &Chain, n: usize, budget: Duration) -> Result<Times, OptimError> {
    let layer = Layer::<f32>::new(n)?;
    let mut weight = Array2::zeros((n, n));
    let mut optimizer = chain.build((n, n))?;
    let mut step = 0;
    time_steps(budget, || {
        step += 1;
        optimizer.step(&mut weight.view_mut(), &layer.signal(step)).map(drop)
    })
}

fn time_set(chain: Chain, count: usize, n: usize, budget: Duration) -> Result<Times, OptimError> {
    let mut set = OptimizerSet::new(vec![Group::new(Selector::All, &chain)]);
    let names: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    let mut layers = Vec::new();
    for name in &names {
        set.register(name, (n, n), Signals::ALL)?;
        layers.push((Layer::<f32>::new(n)?, Array2::zeros((n, n))));
    }
    let mut step = 0;
    time_steps(budget, || {
        step += 1;
        let mut updates: Vec<_> = names
            .iter()
            .zip(&mut layers)
            .map(|(name, (layer, weight))| Update::new(name, weight.view_mut(), layer.signal(step)))
            .collect();
        set.step(&mut updates)
    })
}
