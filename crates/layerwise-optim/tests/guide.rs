//! What the guide says about memory is what optimizers say, which `allocations.rs` compares with
//! the allocator.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails panics")]

use layerwise_optim::chain::{Filter, Grafting, LevenbergMarquardt};
use layerwise_optim::factor::RootMethod;
use layerwise_optim::{
    Adagrad, Adam, AdamW, Averaging, Chain, Ekfac, Kfac, KlShampoo, Lion, Method, Momentum, Muon,
    OneSidedKfac, RmsProp, Scalar, Sgd, Shampoo, Soap, WeightDecay,
};

const GUIDE: &str = include_str!("../docs/guide.md");

/// The last column of the guide's table for a method.
fn stated(row: &str) -> &'static str {
    let line = GUIDE.lines().find(|line| line.starts_with(&format!("| {row} |"))).unwrap();
    line.split('|').nth(4).unwrap().trim()
}

/// Sums such as `2mn + 4(m² + n²)`.
fn entries(formula: &str, (m, n): (usize, usize)) -> usize {
    let k = m.min(n);
    formula
        .split(" + ")
        .collect::<Vec<_>>()
        .join("+")
        .replace("(m²+n²)", "s")
        .split('+')
        .map(|term| {
            let digits = term.chars().take_while(char::is_ascii_digit).count();
            let factor: usize = term[..digits].parse().unwrap();
            factor
                * match &term[digits..] {
                    "mn" => m * n,
                    "s" => m * m + n * n,
                    "n²" => n * n,
                    "k²" => k * k,
                    other => panic!("{other} is not known"),
                }
        })
        .sum()
}

/// The rows of methods that decompose.
const DECOMPOSE: [&str; 5] =
    ["`Ekfac`", "`Shampoo`", "`KlShampoo`", "`Soap`", "`Soap::as_published()`"];

fn check<A: Scalar>(row: &str, chain: &Chain) {
    // Sides that decompositions take apart, unlike those of up to 32.
    for (m, n) in [(40, 72), (72, 40), (33, 160), (600, 900), (900, 600), (800, 800)] {
        let optimizer = chain.build::<A>((m, n)).unwrap();
        let found = optimizer.memory_bytes() / size_of::<A>();
        let expected = entries(stated(row), (m, n));
        // Decompositions are left out by 31 entries of padding for each of up to 6 arrays' columns, and
        // vectors of numbers and indices, fewer than 64 in all: at 800 × 800 less than a third of m² + n².
        let omitted = if DECOMPOSE.contains(&row) { 250 * (m + n) } else { 0 };
        let openblas = cfg!(any(feature = "openblas-system", feature = "openblas-static"));
        let less = if openblas && omitted > 0 { 3 * (m * m + n * n) } else { 0 };
        assert!(
            (expected - less..=expected + omitted).contains(&found),
            "{row}, {m} × {n}, {}: {found} entries, {expected} in the table",
            A::NAME
        );
    }
}

#[test]
fn the_guide_states_the_memory() {
    let averaging = Averaging::Ema { beta: 0.9.into(), bias_correction: true };
    let rows = [
        ("`Sgd`", Sgd::default().chain()),
        ("`Sgd` with momentum", Sgd { momentum: 0.9.into(), ..Sgd::default() }.chain()),
        ("`Adagrad`, `RmsProp`", Adagrad::default().chain()),
        ("`Adagrad`, `RmsProp`", RmsProp::default().chain()),
        ("`Lion`", Lion::default().chain()),
        ("`Adam`, `AdamW`", Adam::default().chain()),
        ("`Adam`, `AdamW`", AdamW::default().chain()),
        ("`Muon`", Muon::default().chain()),
        ("`Kfac`", Kfac::stylised().chain()),
        ("`Kfac`, averaged factors", Kfac { averaging, ..Kfac::stylised() }.chain()),
        ("`Kfac`, inverses", Kfac { root: RootMethod::Inverse, ..Kfac::stylised() }.chain()),
        ("`OneSidedKfac`", OneSidedKfac::stylised().chain()),
        ("`Ekfac`", Ekfac::stylised().chain()),
        ("`Shampoo`", Shampoo::stylised().chain()),
        ("`KlShampoo`", KlShampoo::stylised().chain()),
        ("`Soap`", Soap::default().chain()),
        ("`Soap::as_published()`", Soap::as_published().chain()),
    ];
    for (row, chain) in &rows {
        check::<f64>(row, chain);
        check::<f32>(row, chain);
    }
    let in_table = GUIDE
        .lines()
        .filter(|line| line.ends_with("mn |") || line.ends_with("²) |") || line.ends_with("² |"));
    // Two rows stand for two methods each.
    assert_eq!(in_table.count(), rows.len() - 2);
}

#[test]
fn the_guide_states_what_options_add() {
    let bytes = |chain: Chain| {
        chain.build::<f64>((24, 40)).unwrap().memory_bytes() / (24 * 40 * size_of::<f64>())
    };
    let momentum =
        Momentum::Ema { beta: 0.9.into(), bias_correction: true, filter: Filter::Average };
    let plain = bytes(Shampoo::stylised().chain());
    let averaged = bytes(Shampoo { momentum: Some(momentum), ..Shampoo::stylised() }.chain());
    assert_eq!(averaged - plain, 1, "an average of gradients");
    let grafting = Some(Grafting::Diagonal(Default::default()));
    let grafted = bytes(Shampoo { grafting, ..Shampoo::stylised() }.chain());
    assert_eq!(grafted - plain, 2, "grafting onto Adam");
    let adaptation = Some(LevenbergMarquardt::default());
    let fixed = bytes(Kfac::stylised().chain());
    let adapted = bytes(Kfac { damping_adaptation: adaptation, ..Kfac::stylised() }.chain());
    assert_eq!(adapted - fixed, 1, "adapted damping");
    let weight_decay = WeightDecay::L2(0.1.into());
    let decayed = bytes(Shampoo { weight_decay, ..Shampoo::stylised() }.chain());
    assert_eq!(decayed - plain, 1, "decay in the gradient");
}
