//! What a change of coordinates does to each method, run over the list in `common::cases`: methods
//! by matrices do not see rotations, methods by entries do, and the checks tell them apart.

use crate::common::{Case, Quadratic, cases, generator, normal};
use layerwise_optim::chain::{Clipping, Grafting, MomentSharing, StageConfig};
use layerwise_optim::factor::{BasisMethod, RootMethod, Statistic};
use layerwise_optim::methods::{Exponents, KfacDamping};
use layerwise_optim::ndarray::Array2;
use layerwise_optim::parity::BasisUse;
use layerwise_optim::{Averaging, Chain, Damping, Kfac, Method, Shampoo};

const N: usize = 5;
/// More than one refresh of each method.
const STEPS: usize = 12;

/// Zero is the same weight in all coordinates.
fn run(chain: &Chain, problem: &Quadratic<f64>) -> Array2<f64> {
    let mut weight = Array2::zeros((N, N));
    let mut optimizer = chain.build(weight.dim()).expect("listed methods are valid");
    for _ in 0..STEPS {
        let gradient = problem.gradient(&weight);
        optimizer.step(&mut weight.view_mut(), &problem.signal(&gradient)).expect("a good step");
    }
    weight
}

/// With condition number 10 on both sides: gradients' Gram matrices up to 1e4.
fn problem() -> Quadratic<f64> {
    Quadratic::new(70, (N, N), 10.0)
}

fn norm(m: &Array2<f64>) -> f64 {
    m.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Relative distance between the weight in rotated coordinates and the rotated weight.
fn by_rotation(case: &Case) -> f64 {
    let mut rng = generator(71);
    let mut rotation = || {
        layerwise_linalg::orthonormal_rows(normal::<f64>(&mut rng, (N, N)).view())
            .expect("a normal matrix has full rank")
    };
    let (u, v) = (rotation(), rotation());
    let plain = problem().sampled(case.samples);
    let rotate = |m: &Array2<f64>, a: &Array2<f64>, b: &Array2<f64>| a.dot(m).dot(&b.t());
    let symmetric = |m: Array2<f64>| (&m + &m.t()) * 0.5;
    let rotated = Quadratic::of(
        rotate(&plain.target, &u, &v),
        symmetric(rotate(&plain.output, &u, &u)),
        symmetric(rotate(&plain.input, &v, &v)),
    )
    .sampled(case.samples);
    let expected = rotate(&run(&case.chain, &plain), &u, &v);
    norm(&(run(&case.chain, &rotated) - &expected)) / norm(&expected)
}

/// The same for exchanged sides.
fn by_transposition(case: &Case) -> f64 {
    let plain = problem().sampled(case.samples);
    let transposed = Quadratic::of(
        plain.target.t().as_standard_layout().to_owned(),
        plain.input.clone(),
        plain.output.clone(),
    )
    .sampled(case.samples);
    let expected = run(&case.chain, &plain);
    norm(&(run(&case.chain, &transposed).t().to_owned() - &expected)) / norm(&expected)
}

fn has_bounds_of_entries(chain: &Chain) -> bool {
    chain.stages().any(|stage| matches!(stage, StageConfig::Clip(Clipping::Value(_))))
}

/// Whether a method depends on the coordinates of the weight.
fn sees_entries(chain: &Chain) -> bool {
    let is_grafted_on_entries = |stage: &StageConfig| {
        matches!(stage, StageConfig::Graft { length: Grafting::Diagonal(_), .. })
    };
    let is_by_entries = |stage: &StageConfig| {
        use StageConfig::{
            Cautious, CurvatureDiagonal, Diagonal, DiagonalFactor, DiagonalOfDirection, Psgd, Sign,
        };
        // A triangle is one of coordinates.
        let by_entries = matches!(
            stage,
            Cautious | CurvatureDiagonal(_) | DiagonalFactor(_) | Psgd(_) | Sign(_)
        );
        by_entries || matches!(innermost(stage), Diagonal(_) | DiagonalOfDirection(_))
    };
    chain.stages().any(is_by_entries)
        || chain.update.iter().any(is_grafted_on_entries)
        || !chain.stages().all(sides_are_rotated)
}

fn innermost(stage: &StageConfig) -> &StageConfig {
    match stage {
        StageConfig::Graft { stage, .. } => innermost(stage),
        stage => stage,
    }
}

/// A side of an eigenbasis that is left alone is a side by entries, and an iteration that starts
/// from the identity starts from the coordinates.
fn sides_are_rotated(stage: &StageConfig) -> bool {
    match stage {
        StageConfig::Eigenbasis(config) => {
            let starts_from_identity = matches!(config.basis, BasisMethod::QrStep { .. })
                && config.basis_use == BasisUse::Refreshed;
            config.left != Statistic::None
                && config.right != Statistic::None
                && !starts_from_identity
        }
        StageConfig::Kronecker(config) => {
            [&config.left, &config.right].iter().all(|factor| match &factor.root {
                RootMethod::Eigen { basis, .. } => !matches!(basis, BasisMethod::QrStep { .. }),
                _ => true,
            })
        }
        _ => true,
    }
}

/// Whether both sides are treated alike. What is merged goes row by row.
fn is_symmetric(chain: &Chain) -> bool {
    !is_in_parts(chain)
        && chain.stages().all(|stage| match innermost(stage) {
            StageConfig::Kronecker(config) => config.left == config.right,
            StageConfig::Eigenbasis(config) => config.left == config.right,
            StageConfig::Diagonal(config) | StageConfig::DiagonalOfDirection(config) => {
                !matches!(config.sharing, MomentSharing::Rows | MomentSharing::Columns)
            }
            StageConfig::DiagonalFactor(_) => false,
            // Its signs are drawn row by row.
            StageConfig::Psgd(_) => false,
            _ => true,
        })
}

fn is_in_parts(chain: &Chain) -> bool {
    chain.update.iter().any(|stage| matches!(stage, StageConfig::Blocks { .. }))
}

/// A basis is known to the rounding of a Gram matrix with condition number 1e4, 1e-12 relative to
/// gaps of some per cent; and where a projected entry is nothing but rounding, 1e-16 stands
/// against ε = 1e-8. The same over 12 steps, with a margin of ten.
const TOLERANCE: f64 = 1e-6;

#[test]
fn methods_by_matrices_do_not_see_rotations() {
    let mut seen = 0;
    for case in cases() {
        // Blocks and vectors may or may not come to bear on a weight of this size, and so may bounds.
        if is_in_parts(&case.chain) || has_bounds_of_entries(&case.chain) {
            continue;
        }
        let deviation = by_rotation(&case);
        if sees_entries(&case.chain) {
            assert!(deviation > 1e-3, "{}: {deviation:e}, though it is by entries", case.name);
            seen += 1;
        } else {
            assert!(deviation < TOLERANCE, "{}: {deviation:e}", case.name);
        }
    }
    assert!(seen > 5, "the check has to be able to fail");
}

#[test]
fn methods_with_equal_sides_do_not_see_transposition() {
    let mut seen = 0;
    for case in cases() {
        let deviation = by_transposition(&case);
        if is_symmetric(&case.chain) {
            assert!(deviation < TOLERANCE, "{}: {deviation:e}", case.name);
        } else if !is_in_parts(&case.chain) {
            assert!(deviation > 1e-3, "{}: {deviation:e}, though sides differ", case.name);
            seen += 1;
        }
    }
    assert!(seen >= 2, "the check has to be able to fail");
}

/// How far the first step is from the gradient's polar factor.
fn from_polar_factor(exponent: Exponents, averaging: Averaging, damping: Damping) -> f64 {
    let gradient = normal::<f64>(&mut generator(72), (N, N));
    let method =
        Shampoo { learning_rate: 1.0.into(), averaging, exponent, damping, ..Shampoo::stylised() };
    let mut weight = Array2::zeros((N, N));
    let mut optimizer = method.build(weight.dim()).expect("valid");
    optimizer.step(&mut weight.view_mut(), &gradient.view().into()).expect("a good step");
    let polar = layerwise_linalg::polar_factor_exact(gradient.view()).expect("full rank");
    norm(&(weight + polar))
}

/// Identity O1, and what it looks like with one thing wrong.
#[test]
fn a_mutated_shampoo_is_no_polar_factor() {
    let quarter = Exponents { left: 0.25, right: 0.25 };
    let ema = |beta: f64, bias_correction| Averaging::Ema { beta: beta.into(), bias_correction };
    // The Gram matrix of a 5 × 5 normal matrix has a condition number of some 1e4 at worst.
    for averaging in [Averaging::None, Averaging::Sum, ema(0.9, true)] {
        assert!(from_polar_factor(quarter, averaging, Damping::None) < 1e-9);
    }
    for (what, deviation) in [
        ("no correction", from_polar_factor(quarter, ema(0.9, false), Damping::None)),
        ("ridge", from_polar_factor(quarter, Averaging::Sum, Damping::Absolute(0.1.into()))),
        (
            "exponent ½",
            from_polar_factor(Exponents { left: 0.5, right: 0.5 }, Averaging::Sum, Damping::None),
        ),
        (
            "exponent ⅛ on one side",
            from_polar_factor(
                Exponents { left: 0.25, right: 0.125 },
                Averaging::Sum,
                Damping::None,
            ),
        ),
        ("one side", from_polar_factor(Exponents::left(0.25), Averaging::Sum, Damping::None)),
    ] {
        assert!(deviation > 1e-2, "{what}: {deviation:e}");
    }
    // One side with exponent ½ is the polar factor again.
    assert!(from_polar_factor(Exponents::left(0.5), Averaging::Sum, Damping::None) < 1e-9);
    assert!(from_polar_factor(Exponents::right(0.5), Averaging::Sum, Damping::None) < 1e-9);
}

/// How far a KFAC step with η = 1 is from the minimum of the quadratic that its factors are of.
fn from_minimum(mutate: impl Fn(&mut Kfac, &mut Quadratic<f64>)) -> f64 {
    let plain = problem();
    let mut told = problem();
    let mut method = Kfac { learning_rate: 1.0.into(), damping: 0.0.into(), ..Kfac::stylised() };
    mutate(&mut method, &mut told);
    let mut weight = Array2::zeros((N, N));
    let gradient = plain.gradient(&weight);
    let mut optimizer = method.build(weight.dim()).expect("valid");
    optimizer.step(&mut weight.view_mut(), &told.signal(&gradient)).expect("a good step");
    norm(&(weight - &plain.target)) / norm(&plain.target)
}

/// Identity O3 at `λ = 0`, and what it looks like with one thing wrong.
#[test]
fn a_mutated_kfac_misses_the_minimum() {
    // Two factors with condition number 10 each.
    assert!(from_minimum(|_, _| ()) < 100.0 * 64.0 * f64::EPSILON);
    let exact = |lambda: f64| KfacDamping::Exact(lambda.into());
    assert!(from_minimum(|kfac, _| kfac.damping = exact(0.0)) < 1e-11);
    for (what, deviation) in [
        ("sides exchanged", from_minimum(|_, q| std::mem::swap(&mut q.input, &mut q.output))),
        ("input factor squared", from_minimum(|_, q| q.input = q.input.dot(&q.input))),
        ("output factor doubled", from_minimum(|_, q| q.output = &q.output * 2.0)),
        ("damped", from_minimum(|kfac, _| kfac.damping = KfacDamping::per_factor(0.0, 0.01))),
        ("damped jointly", from_minimum(|kfac, _| kfac.damping = exact(0.01))),
        (
            "one-sided",
            from_minimum(|kfac, _| kfac.output = layerwise_optim::methods::OutputFactor::Identity),
        ),
    ] {
        assert!(deviation > 1e-2, "{what}: {deviation:e}");
    }
}
