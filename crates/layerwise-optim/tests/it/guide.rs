//! What the guide says about memory is what optimizers say, which `allocations.rs` compares with
//! the allocator.

use layerwise_optim::chain::{Filter, Grafting, LevenbergMarquardt};
use layerwise_optim::ndarray::Array2;
use layerwise_optim::{
    Adafactor, Adagrad, Adam, AdamW, Chain, Ekfac, EmbeddingKfac, Group, Kfac, KlShampoo, Lion,
    Mars, Method, Momentum, Muon, NorMuon, OneSidedKfac, OptimizerSet, PsgdKron, RmsProp, SPlus,
    Scalar, Selector, Sgd, Shampoo, Signals, Soap, Sophia, Update, WeightDecay,
};

const GUIDE: &str = include_str!("../../docs/guide.md");

const OPENBLAS: bool = cfg!(any(feature = "openblas-system", feature = "openblas-static"));

/// What a layer holds in a set, and what the set holds once, in the guide's table for a method.
fn stated(row: &str) -> [&'static str; 2] {
    let is_row =
        |line: &&str| line.starts_with(&format!("| {row} |")) && line.matches('|').count() == 6;
    let line = GUIDE.lines().find(is_row).unwrap();
    [4, 5].map(|column| line.split('|').nth(column).unwrap().trim())
}

/// Sums such as `2mn + 4(m² + n²)`.
fn entries(formula: &str, (m, n): (usize, usize)) -> usize {
    let (k, l) = (m.min(n), m.max(n));
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
                    "m²" => m * m,
                    "k²" => k * k,
                    "l²" => l * l,
                    "m" => m,
                    "n" => n,
                    "l" => l,
                    other => panic!("{other} is not known"),
                }
        })
        .sum()
}

/// The rows of methods that decompose.
const DECOMPOSE: [&str; 11] = [
    "`Kfac`",
    "`OneSidedKfac`",
    "`Ekfac`",
    "`EmbeddingKfac`",
    "`Shampoo`",
    "`Shampoo::stylised()`",
    "`KlShampoo`",
    "`Soap`",
    "`SPlus`",
    "`Soap::kl()`",
    "`Soap::as_published()`",
];

fn check<A: Scalar>(row: &str, chain: &Chain) {
    // Sides that decompositions take apart, unlike those of up to 32.
    for (m, n) in [(40, 72), (72, 40), (33, 160), (600, 900), (900, 600), (800, 800)] {
        let alone = chain.build::<A>((m, n)).unwrap().memory_bytes() / size_of::<A>();
        let mut set = OptimizerSet::<A>::new(vec![Group::new(Selector::All, chain)]);
        set.register("layer", (m, n), Signals::ALL).unwrap();
        let layer = set.optimizer("layer").unwrap().memory_bytes() / size_of::<A>();
        let shared = set.memory_bytes() / size_of::<A>() - layer;
        assert_eq!(alone, layer + shared, "{row}");
        let [of_layer, of_set] = stated(row);
        assert_eq!(layer, entries(of_layer, (m, n)), "{row}, {m} × {n}, {}", A::NAME);
        // Both sides of a square take turns.
        let both_sides = of_set.replace("(m² + n²)", if m == n { "n²" } else { "(m² + n²)" });
        let expected = entries(&both_sides, (m, n));
        // Decompositions are left out by 31 entries of padding for each of up to 6 arrays' columns, and
        // vectors of numbers and indices, fewer than 64 in all: at 800 × 800 less than a third of m² + n².
        let omitted = if DECOMPOSE.contains(&row) { 250 * (m + n) } else { 0 };
        let less = if OPENBLAS && omitted > 0 { 3 * (m * m + n * n) } else { 0 };
        assert!(
            (expected.saturating_sub(less)..=expected + omitted).contains(&shared),
            "{row}, {m} × {n}, {}: {shared} entries, {expected} in the table",
            A::NAME
        );
    }
}

/// Layers of one size share their workspace, and those that are smaller their arrays; each thread that steps
/// them has its own.
#[test]
fn a_set_holds_workspace_once_for_each_thread_and_size() {
    let (shape, smaller) = ((96, 130), (90, 96));
    let chain = Soap::default().chain();
    let new = |layers: usize| {
        let mut set = OptimizerSet::<f64>::new(vec![Group::new(Selector::All, &chain)]);
        let names: Vec<_> = (0..layers).map(|index| index.to_string()).collect();
        for name in &names {
            set.register(name, shape, Signals::GRADIENT).unwrap();
        }
        (set, names)
    };
    let (mut set, names) = new(5);
    let layer = set.optimizer("0").unwrap().memory_bytes();
    let shared = set.memory_bytes() - 5 * layer;
    assert_eq!(shared, chain.build::<f64>(shape).unwrap().memory_bytes() - layer);
    // As many as threads, but no more than layers; what was made stays.
    for (threads, at_once) in [(1, 1), (3, 3), (7, 5), (2, 5)] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut weights = vec![Array2::<f64>::ones(shape); 5];
        let gradient = Array2::from_shape_fn(shape, |(i, j)| ((3 * i + 7 * j) as f64).sin());
        for _ in 0..12 {
            let mut updates: Vec<_> = names
                .iter()
                .zip(&mut weights)
                .map(|(name, weight)| Update::new(name, weight.view_mut(), gradient.view()))
                .collect();
            pool.install(|| set.step(&mut updates).unwrap());
        }
        assert_eq!(set.memory_bytes(), 5 * layer + at_once * shared, "{threads}");
    }
    // A layer without a size of its own adds nothing, and one with a new dimension its decomposition.
    set.register("equal", shape, Signals::GRADIENT).unwrap();
    assert_eq!(set.memory_bytes(), 6 * layer + 5 * shared);
    set.register("smaller", smaller, Signals::GRADIENT).unwrap();
    let other = set.optimizer("smaller").unwrap().memory_bytes();
    let added = set.memory_bytes() - 6 * layer - 5 * shared - other;
    // OpenBLAS's decompositions work in up to three squares less.
    let least = if OPENBLAS { 3 } else { 6 };
    assert!(added > least * 90 * 90 * 8 && added < 7 * 90 * 90 * 8 + 250 * 90 * 8, "{added}");
}

#[test]
fn the_guide_states_the_memory() {
    let rows = [
        ("`Sgd`", Sgd::default().chain()),
        ("`Sgd` with momentum", Sgd { momentum: 0.9.into(), ..Sgd::default() }.chain()),
        ("`Adagrad`, `RmsProp`", Adagrad::default().chain()),
        ("`Adagrad`, `RmsProp`", RmsProp::default().chain()),
        ("`Lion`", Lion::default().chain()),
        ("`Adam`, `AdamW`", Adam::default().chain()),
        ("`Adam`, `AdamW`", AdamW::default().chain()),
        ("`Mars`", Mars::default().chain()),
        ("`Sophia`", Sophia::default().chain()),
        ("`Adafactor`", Adafactor::default().chain()),
        ("`Muon`", Muon::default().chain()),
        ("`NorMuon`", NorMuon::default().chain()),
        ("`PsgdKron`", PsgdKron::default().chain()),
        ("`SPlus`", SPlus::default().chain()),
        ("`Soap::kl()`", Soap::kl().chain()),
        ("`Kfac`", Kfac::default().chain()),
        ("`Kfac::stylised()`", Kfac::stylised().chain()),
        ("`OneSidedKfac`", OneSidedKfac::default().chain()),
        ("`EmbeddingKfac`", EmbeddingKfac::default().chain()),
        ("`Ekfac`", Ekfac::default().chain()),
        ("`Shampoo`", Shampoo::default().chain()),
        ("`Shampoo::stylised()`", Shampoo::stylised().chain()),
        ("`KlShampoo`", KlShampoo::default().chain()),
        ("`Soap`", Soap::default().chain()),
        ("`Soap::as_published()`", Soap::as_published().chain()),
    ];
    for (row, chain) in &rows {
        check::<f64>(row, chain);
        check::<f32>(row, chain);
    }
    let in_table = GUIDE.lines().filter(|line| {
        line.starts_with("| `") && line.matches('|').count() == 6 && line.ends_with(" |")
    });
    // Two rows stand for two methods each.
    assert_eq!(in_table.count(), rows.len() - 2);
}

/// A thread that waits for its part of a large product takes on other work, but no other layer.
#[test]
fn no_more_layers_are_under_way_than_threads() {
    let shape = (320, 400);
    let names: Vec<_> = (0..12).map(|index| index.to_string()).collect();
    let gradient = Array2::from_shape_fn(shape, |(i, j)| ((3 * i + 7 * j) as f64).sin());
    for (threads, layers) in [(2, 3), (3, 5), (4, 5), (4, 12), (6, 7), (6, 12)] {
        let mut set = OptimizerSet::<f64>::new(vec![Group::new(Selector::All, &Muon::default())]);
        for name in &names[..layers] {
            set.register(name, shape, Signals::GRADIENT).unwrap();
        }
        let layer = set.optimizer("0").unwrap().memory_bytes();
        let shared = set.memory_bytes() - layers * layer;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut weights = vec![Array2::<f64>::ones(shape); layers];
        for _ in 0..8 {
            let mut updates: Vec<_> = names
                .iter()
                .zip(&mut weights)
                .map(|(name, weight)| Update::new(name, weight.view_mut(), gradient.view()))
                .collect();
            pool.install(|| set.step(&mut updates).unwrap());
        }
        let held = set.memory_bytes();
        assert_eq!(held, layers * layer + threads * shared, "{threads}, {layers}");
    }
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
    assert_eq!(grafted - plain, 2, "grafting onto Adam, half of it workspace");
    let adaptation = Some(LevenbergMarquardt::default());
    let fixed = bytes(Kfac::stylised().chain());
    let adapted = bytes(Kfac { damping_adaptation: adaptation, ..Kfac::stylised() }.chain());
    assert_eq!(adapted - fixed, 2, "adapted damping, all of it workspace");
    let weight_decay = WeightDecay::L2(0.1.into());
    let decayed = bytes(Shampoo { weight_decay, ..Shampoo::stylised() }.chain());
    assert_eq!(decayed - plain, 1, "decay in the gradient");
}
