//! Problems and methods that several test files share.
#![allow(dead_code, reason = "each test file uses a part")]
#![expect(clippy::expect_used, reason = "a test that fails panics")]

pub(crate) mod network;

use layerwise_linalg::Cholesky;
use layerwise_optim::chain::{
    Clipping, DiagonalConfig, DiagonalEstimate, Filter, Grafting, HeavyBall, LargeDimension,
    LevenbergMarquardt, Merging, MomentSharing, Partition, PolarConfig, PolarMethod, PsgdConfig,
    ShapeScale, StageConfig, TurnedMoments, WeightAveraging,
};
use layerwise_optim::factor::{BasisMethod, RootMethod};
use layerwise_optim::methods::{Exponents, KfacDamping};
use layerwise_optim::ndarray::{Array2, ArrayView2};
use layerwise_optim::parity::{ColumnOrder, SignScale};
use layerwise_optim::{
    Adafactor, Adagrad, Adam, AdamW, Averaging, Chain, Damping, Ekfac, EmbeddingKfac, Factor, Kfac,
    KlShampoo, Lion, Mars, Method, Momentum, Muon, NorMuon, OneSidedKfac, Optimizer, PsgdKron,
    Refresh, RmsProp, SPlus, Scalar, Schedule, Sgd, Shampoo, Signal, Soap, Sophia, WeightDecay,
};
use rand::{Rng, SeedableRng};
use rand_distr::StandardNormal;
use rand_xoshiro::Xoshiro256PlusPlus;

/// A method, with a learning rate that suits [`Quadratic`].
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) chain: Chain,
    /// It needs the samples that a layer's factors are made of.
    pub(crate) samples: bool,
}

fn case(name: &'static str, method: impl Method) -> Case {
    Case { name, chain: method.chain(), samples: false }
}

impl Case {
    /// Steps that start or install a refresh allocate.
    pub(crate) fn has_staleness(&self) -> bool {
        self.chain.stages().any(|stage| match stage {
            StageConfig::Kronecker(config) => config.refresh.staleness > 0,
            StageConfig::Eigenbasis(config) => config.refresh.staleness > 0,
            _ => false,
        })
    }

    fn sampled(self) -> Self {
        Case { samples: true, ..self }
    }

    /// A quadratic whose layer reports what the method needs.
    pub(crate) fn problem<A: Scalar>(
        &self,
        seed: u64,
        shape: (usize, usize),
        condition: f64,
    ) -> Quadratic<A> {
        Quadratic::new(seed, shape, condition).sampled(self.samples)
    }
}

/// Every method and convention. A new one is tested by being listed here.
pub(crate) fn cases() -> Vec<Case> {
    let momentum = |nesterov| HeavyBall { nesterov, ..HeavyBall::new(0.9) };
    let averaged = Averaging::Ema { beta: 0.9.into(), bias_correction: true };
    let kfac =
        |learning_rate: f64| Kfac { learning_rate: learning_rate.into(), ..Kfac::stylised() };
    let undamped = |learning_rate: f64| Kfac { damping: 0.0.into(), ..kfac(learning_rate) };
    let soap = || Soap { learning_rate: 0.03.into(), ..Soap::default() };
    vec![
        case("sgd", Sgd { learning_rate: 0.5.into(), ..Sgd::default() }),
        case(
            "sgd, momentum",
            Sgd { learning_rate: 0.1.into(), momentum: 0.9.into(), ..Sgd::default() },
        ),
        case(
            "sgd, Nesterov",
            Sgd {
                learning_rate: 0.1.into(),
                momentum: 0.9.into(),
                nesterov: true,
                ..Sgd::default()
            },
        ),
        case("adagrad", Adagrad { learning_rate: 0.5.into(), ..Adagrad::default() }),
        case(
            "adagrad, decaying rate",
            Adagrad {
                learning_rate: Schedule::InverseTime { start: 0.5, decay: 1e-3 },
                initial: 0.1,
                ..Adagrad::default()
            },
        ),
        case("lion", Lion { learning_rate: Schedule::linear(0.03, 1e-4, 300), ..Lion::default() }),
        case(
            "adam, AMSGrad",
            Adam { learning_rate: 0.05.into(), amsgrad: true, ..Adam::default() },
        ),
        case(
            "rmsprop, centred",
            RmsProp { learning_rate: 0.01.into(), centered: true, ..RmsProp::default() },
        ),
        case("rmsprop", RmsProp { learning_rate: 0.01.into(), ..RmsProp::default() }),
        case(
            "rmsprop, momentum",
            RmsProp { learning_rate: 0.002.into(), momentum: 0.9.into(), ..RmsProp::default() },
        ),
        case("adam", Adam { learning_rate: 0.05.into(), ..Adam::default() }),
        case(
            "adamw",
            AdamW { learning_rate: 0.05.into(), weight_decay: 1e-3.into(), ..AdamW::default() },
        ),
        case("kfac", kfac(0.1)),
        case("kfac, averaged", Kfac { averaging: averaged.clone(), ..kfac(0.1) }),
        case(
            "kfac, adapted",
            Kfac {
                averaging: averaged.clone(),
                damping_adaptation: Some(LevenbergMarquardt::default()),
                ..kfac(0.1)
            },
        ),
        case("kfac, every third step", Kfac { refresh: Refresh::every(3), ..kfac(0.1) }),
        case(
            "kfac, momentum",
            Kfac { momentum: Some(Momentum::HeavyBall(momentum(false))), ..kfac(0.02) },
        ),
        case("kfac, inverses", Kfac { root: RootMethod::Inverse, ..kfac(0.1) }),
        case(
            "kfac, factored Tikhonov",
            Kfac { damping: KfacDamping::FactoredTikhonov(1e-3.into()), ..undamped(0.1) },
        ),
        case(
            "kfac, exact damping",
            Kfac { damping: KfacDamping::Exact(1e-3.into()), ..undamped(0.1) },
        ),
        case(
            "kfac, one-sided",
            OneSidedKfac { learning_rate: 0.2.into(), ..OneSidedKfac::stylised() },
        ),
        case(
            "kfac, one-sided, averaged, momentum",
            OneSidedKfac {
                learning_rate: 0.05.into(),
                averaging: averaged.clone(),
                refresh: Refresh::every(4),
                momentum: Some(Momentum::HeavyBall(momentum(true))),
                weight_decay: WeightDecay::Decoupled(1e-3.into()),
                damping_adaptation: Some(LevenbergMarquardt::default()),
                ..OneSidedKfac::stylised()
            },
        ),
        case("shampoo", Shampoo { learning_rate: 0.05.into(), ..Shampoo::stylised() }),
        case(
            "shampoo, summed",
            Shampoo {
                learning_rate: 1.0.into(),
                averaging: Averaging::Sum,
                damping: Damping::Absolute(1e-12.into()),
                ..Shampoo::stylised()
            },
        ),
        case(
            "shampoo, grafted",
            Shampoo {
                learning_rate: 0.05.into(),
                momentum: Some(Momentum::Ema {
                    beta: 0.9.into(),
                    bias_correction: true,
                    filter: Filter::Separate(0.5.into()),
                }),
                damping: Damping::RelativeToTrace(1e-6.into()),
                grafting: Some(Grafting::Diagonal(Default::default())),
                refresh: Refresh { start: 3, tolerated_failures: 2, ..Refresh::every(5) },
                ..Shampoo::stylised()
            },
        ),
        case(
            "shampoo, coupled Newton",
            Shampoo {
                learning_rate: 0.05.into(),
                damping: Damping::RelativeToTrace(1e-6.into()),
                root: RootMethod::coupled_newton(),
                ..Shampoo::stylised()
            },
        ),
        case(
            "shampoo, coupled, third order",
            Shampoo {
                learning_rate: 0.05.into(),
                damping: Damping::RelativeToTrace(1e-3.into()),
                exponent: Exponents { left: 0.25, right: 2.0 / 3.0 },
                root: RootMethod::coupled_higher_order(),
                ..Shampoo::stylised()
            },
        ),
        case(
            "shampoo, QR, several steps",
            Shampoo {
                learning_rate: 0.05.into(),
                damping: Damping::RelativeToLargest(1e-3.into()),
                root: RootMethod::Eigen { pseudo_inverse: None, basis: qr_steps(3, 0.01) },
                ..Shampoo::stylised()
            },
        ),
        case(
            "shampoo, pseudo-inverse, kept bases",
            Shampoo {
                learning_rate: 0.05.into(),
                damping: Damping::None,
                root: RootMethod::Eigen {
                    pseudo_inverse: Some(1e-3.into()),
                    basis: BasisMethod::Eigendecomposition { tolerance: 0.1 },
                },
                ..Shampoo::stylised()
            },
        ),
        case(
            "shampoo, one-sided",
            Shampoo {
                learning_rate: 0.05.into(),
                exponent: Exponents::left(0.5),
                ..Shampoo::stylised()
            },
        ),
        case(
            "shampoo, merged or in blocks",
            Shampoo {
                learning_rate: 0.05.into(),
                grafting: Some(Grafting::Sgd),
                update_momentum: Some(HeavyBall {
                    dampening: 0.5.into(),
                    nesterov: true,
                    from_zero: true,
                    ..HeavyBall::new(0.5)
                }),
                partition: Partition {
                    max_dimension: Some(5),
                    merging: Merging::Small,
                    ..Partition::default()
                },
                ..Shampoo::stylised()
            },
        ),
        case(
            "soap, normalized, large sides left alone",
            Soap {
                learning_rate: Schedule::cosine(0.03, 1e-3, 300),
                normalize: true,
                partition: Partition {
                    max_dimension: Some(5),
                    large: LargeDimension::LeftAlone,
                    ..Partition::default()
                },
                ..Soap::as_published()
            },
        ),
        case(
            "sgd, primal averaging, clipped",
            Chain {
                weight_averaging: Some(WeightAveraging::Primal {
                    train: 0.8.into(),
                    evaluate: 0.9.into(),
                }),
                ..Chain::new(Schedule::from(2.0).warmed_up(5))
                    .on_gradient(Clipping::Norm(0.5.into()))
                    .then(Clipping::Value(10.0.into()))
            },
        ),
        case(
            "momentum, averaged weights",
            Chain {
                weight_averaging: Some(WeightAveraging::Ema {
                    decay: 0.9.into(),
                    bias_correction: false,
                }),
                ..Sgd { learning_rate: 0.3.into(), momentum: 0.5.into(), ..Sgd::default() }.chain()
            },
        ),
        case(
            "adam, schedule-free",
            Chain {
                weight_averaging: Some(WeightAveraging::ScheduleFree {
                    train: 0.8.into(),
                    power: 2.0,
                }),
                ..Adam { learning_rate: 0.05.into(), beta1: 0.0.into(), ..Adam::default() }.chain()
            },
        ),
        case("soap", soap()),
        case("soap, QR", Soap { basis: BasisMethod::qr_step(1e-8), ..soap() }),
        case("soap, QR, several steps", Soap { basis: qr_steps(3, 0.01), ..soap() }),
        case(
            "soap, kept bases",
            Soap { basis: BasisMethod::Eigendecomposition { tolerance: 0.1 }, ..soap() },
        ),
        case("soap, as published", Soap { learning_rate: 0.03.into(), ..Soap::as_published() }),
        case("soap, on drift", Soap { refresh: Refresh::on_drift(0.2), ..soap() }),
        case(
            "shampoo, on drift",
            Shampoo {
                learning_rate: 0.05.into(),
                damping: Damping::RelativeToLargest(1e-3.into()),
                refresh: Refresh { every: 10, ..Refresh::on_drift(0.05) },
                ..Shampoo::stylised()
            },
        ),
        case(
            "kl-shampoo",
            KlShampoo {
                learning_rate: 0.05.into(),
                damping: Damping::RelativeToLargest(1e-3.into()),
                ..KlShampoo::stylised()
            },
        ),
        case(
            "ekfac, from gradients",
            Ekfac {
                learning_rate: 0.05.into(),
                damping: 0.1.into(),
                estimate: DiagonalEstimate::Gradient,
                ..Ekfac::stylised()
            },
        ),
        case(
            "kfac, diagonal input factor",
            EmbeddingKfac {
                learning_rate: 0.1.into(),
                norm_constraint: None,
                ..EmbeddingKfac::default()
            },
        ),
        case("ekfac", Ekfac::stylised()).sampled(),
        case(
            "ekfac, latest samples",
            Ekfac {
                learning_rate: 0.2.into(),
                damping: 1e-2.into(),
                averaging: Averaging::None,
                diagonal_averaging: Averaging::None,
                ..Ekfac::stylised()
            },
        )
        .sampled(),
        case("muon", Muon { learning_rate: 0.03.into(), ..Muon::default() }),
        case(
            "spectral descent",
            Chain::new(0.05).then(PolarConfig {
                method: PolarMethod::SingularValues { times_nuclear_norm: true },
                scale: ShapeScale::Number(0.5),
                ..PolarConfig::default()
            }),
        ),
        case(
            "muon, Polar Express",
            Muon {
                learning_rate: 0.03.into(),
                polar: PolarConfig {
                    method: PolarMethod::polar_express(5).expect("five steps"),
                    ..PolarConfig::default()
                },
                ..Muon::default()
            },
        ),
        case(
            "muon, CANS",
            Muon {
                learning_rate: 0.03.into(),
                polar: PolarConfig {
                    method: PolarMethod::cans(1e-2, 6).expect("in range"),
                    ..PolarConfig::default()
                },
                ..Muon::default()
            },
        ),
        case("muon, at scale", Muon { learning_rate: 0.05.into(), ..Muon::at_scale() }),
        case("normuon", NorMuon { learning_rate: 0.03.into(), ..NorMuon::default() }),
        case(
            "adam, a moment for each row",
            shared_adam(MomentSharing::Rows, StageConfig::Diagonal),
        ),
        case(
            "adam, a moment of directions for each column",
            shared_adam(MomentSharing::Columns, StageConfig::DiagonalOfDirection),
        ),
        case(
            "adafactor",
            Adafactor { learning_rate: Schedule::inverse_root(0.05, 1.0), ..Adafactor::default() },
        ),
        case(
            "adafactor, momentum",
            Adafactor {
                learning_rate: 0.03.into(),
                least_weight: None,
                momentum: Some(Momentum::HeavyBall(momentum(false))),
                weight_decay: WeightDecay::Decoupled(1e-3.into()),
                ..Adafactor::default()
            },
        ),
        case("mars", Mars { learning_rate: 0.05.into(), ..Mars::default() }),
        case(
            "adamw, cautious",
            AdamW { learning_rate: 0.05.into(), ..AdamW::default() }
                .chain()
                .then(StageConfig::Cautious),
        ),
        case(
            "sophia",
            Sophia { learning_rate: 0.05.into(), weight_decay: 0.0.into(), ..Sophia::default() },
        ),
        case(
            "splus",
            SPlus {
                learning_rate: Schedule::linear(0.5, 1e-3, 300),
                refresh: Refresh::every(5),
                weight_decay: 0.0.into(),
                ..SPlus::default()
            },
        ),
        case("soap, polar", Soap { polar: Some(PolarConfig::default()), ..soap() }),
        case("kl-soap", Soap { learning_rate: 0.03.into(), ..Soap::kl() }),
        case(
            "kl-soap, as published",
            Soap {
                learning_rate: 0.03.into(),
                statistic: Soap::kl().statistic,
                ..Soap::as_published()
            },
        ),
        case("psgd", PsgdKron { learning_rate: 0.03.into(), ..PsgdKron::default() }),
        case(
            "psgd, large sides diagonal",
            PsgdKron {
                learning_rate: 0.03.into(),
                preconditioner: PsgdConfig {
                    max_dimension: 5,
                    share: 0.4.into(),
                    balance_every: 2,
                    ..PsgdConfig::default()
                },
                ..PsgdKron::default()
            },
        ),
        case(
            "shampoo, stale roots, grafted",
            Shampoo {
                learning_rate: 0.05.into(),
                averaging: averaged.clone(),
                // Of gradients that grow, the former roots alone would make steps that grow faster.
                grafting: Some(Grafting::Diagonal(Default::default())),
                damping: Damping::RelativeToTrace(1e-4.into()),
                refresh: Refresh { staleness: 2, ..Refresh::every(3) },
                ..Shampoo::stylised()
            },
        ),
        case(
            "kfac, stale solves",
            Kfac {
                averaging: averaged.clone(),
                refresh: Refresh { staleness: 1, tolerated_failures: 1, ..Refresh::every(2) },
                ..kfac(0.1)
            },
        ),
        case(
            "soap, stale bases in blocks, transported",
            Soap {
                refresh: Refresh { staleness: 3, ..Refresh::every(4) },
                turned_moments: TurnedMoments::Transported,
                partition: Partition { max_dimension: Some(5), ..Partition::default() },
                ..soap()
            },
        ),
        case(
            "soap, QR, stale bases",
            Soap {
                basis: qr_steps(2, 0.01),
                refresh: Refresh { staleness: 2, ..Refresh::every(3) },
                ..soap()
            },
        ),
        case("sign descent", Chain::new(0.3).then(SignScale::MeanOfModuli)),
    ]
}

/// Adam with a second moment that entries share.
fn shared_adam(sharing: MomentSharing, stage: fn(DiagonalConfig) -> StageConfig) -> Chain {
    let average =
        Momentum::Ema { beta: 0.9.into(), bias_correction: true, filter: Filter::Average };
    let shared = DiagonalConfig { sharing, ..DiagonalConfig::default() };
    Chain::new(0.05).then(average).then(stage(shared))
}

pub(crate) fn normal<A: Scalar>(rng: &mut Xoshiro256PlusPlus, shape: (usize, usize)) -> Array2<A> {
    Array2::from_shape_simple_fn(shape, || A::from_f64(rng.sample(StandardNormal)))
}

pub(crate) fn generator(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

/// Symmetric, dense, with log-spaced eigenvalues from 1 down to `1/condition`.
pub(crate) fn covariance(rng: &mut Xoshiro256PlusPlus, n: usize, condition: f64) -> Array2<f64> {
    let vectors = layerwise_linalg::orthonormal_rows(normal::<f64>(rng, (n, n)).view())
        .expect("a normal matrix has full rank");
    let last = (n.max(2) - 1) as f64;
    let scaled = Array2::from_shape_fn((n, n), |(i, j)| {
        condition.powf(-(i as f64) / last) * vectors[[i, j]]
    });
    let product = vectors.t().dot(&scaled);
    (&product + &product.t()) * 0.5
}

/// `½ tr((W − W⋆) B (W − W⋆)ᵀ A)`, which curves by the Kronecker product of `A` and `B`.
pub(crate) struct Quadratic<A> {
    pub(crate) target: Array2<A>,
    pub(crate) output: Array2<A>,
    pub(crate) input: Array2<A>,
    /// `A_ii B_jj`, the diagonal of the second derivative.
    pub(crate) diagonal: Array2<A>,
    /// `(δ, x)` as rows, where the layer reports those in place of their second moments.
    pub(crate) samples: Option<(Array2<A>, Array2<A>)>,
}

impl<A: Scalar> Quadratic<A> {
    pub(crate) fn new(seed: u64, (rows, cols): (usize, usize), condition: f64) -> Self {
        let mut rng = generator(seed);
        let cast = |m: Array2<f64>| m.mapv(A::from_f64);
        Quadratic::of(
            normal(&mut rng, (rows, cols)),
            cast(covariance(&mut rng, rows, condition)),
            cast(covariance(&mut rng, cols, condition)),
        )
    }

    pub(crate) fn of(target: Array2<A>, output: Array2<A>, input: Array2<A>) -> Self {
        let diagonal = Array2::from_shape_fn(target.dim(), |(i, j)| output[[i, i]] * input[[j, j]]);
        Quadratic { target, output, input, diagonal, samples: None }
    }

    /// With or without samples of its factors.
    pub(crate) fn sampled(self, sampled: bool) -> Self {
        let samples = sampled.then(|| paired_samples(&self.output, &self.input));
        Quadratic { samples, ..self }
    }

    pub(crate) fn gradient(&self, weight: &Array2<A>) -> Array2<A> {
        self.output.dot(&(weight - &self.target)).dot(&self.input)
    }

    pub(crate) fn loss(&self, weight: &Array2<A>) -> f64 {
        let error = weight - &self.target;
        let gradient = self.gradient(weight);
        0.5 * error.iter().zip(&gradient).map(|(e, g)| e.as_f64() * g.as_f64()).sum::<f64>()
    }

    pub(crate) fn signal<'a>(&'a self, gradient: &'a Array2<A>) -> Signal<'a, A> {
        let (output, input) = match &self.samples {
            None => {
                (Factor::SecondMoment(self.output.view()), Factor::SecondMoment(self.input.view()))
            }
            Some((outputs, inputs)) => {
                (Factor::Samples(outputs.view()), Factor::Samples(inputs.view()))
            }
        };
        let signal = Signal::new(gradient.view()).with_input(input).with_output(output);
        signal.with_diagonal(self.diagonal.view())
    }
}

/// `mn` pairs `δ_ij = √m L_P e_i`, `x_ij = √n L_Q e_j` as rows, with `L_P L_Pᵀ = P` and
/// `L_Q L_Qᵀ = Q`: their mean outer products are `P` and `Q`, and as each `δ` meets each `x`, the
/// second moment of `vec(δxᵀ)` is `P ⊗ Q`.
fn paired_samples<A: Scalar>(output: &Array2<A>, input: &Array2<A>) -> (Array2<A>, Array2<A>) {
    let columns = |moment: &Array2<A>| {
        let cholesky = Cholesky::new(moment.view(), A::zero()).expect("positive definite");
        let scale = A::from_f64((moment.nrows() as f64).sqrt());
        cholesky.lower().mapv(|x| x * scale)
    };
    let (of_output, of_input) = (columns(output), columns(input));
    let (m, n) = (output.nrows(), input.nrows());
    (
        Array2::from_shape_fn((m * n, m), |(pair, row)| of_output[[row, pair / n]]),
        Array2::from_shape_fn((m * n, n), |(pair, row)| of_input[[row, pair % n]]),
    )
}

pub(crate) fn largest_difference<A: Scalar>(a: ArrayView2<A>, b: ArrayView2<A>) -> f64 {
    assert_eq!(a.dim(), b.dim());
    a.iter().zip(b).map(|(x, y)| (x.as_f64() - y.as_f64()).abs()).fold(0.0, f64::max)
}

/// Several QR steps, in the order that converges.
pub(crate) fn qr_steps(steps: u32, tolerance: f64) -> BasisMethod {
    BasisMethod::QrStep { ridge: 1e-8.into(), steps, tolerance, order: ColumnOrder::Descending }
}

/// Gradients that do not depend on the weight.
pub(crate) fn gradients(seed: u64, count: usize, shape: (usize, usize)) -> Vec<Array2<f64>> {
    let mut rng = generator(seed);
    (0..count).map(|_| normal(&mut rng, shape)).collect()
}

pub(crate) fn start(shape: (usize, usize)) -> Array2<f64> {
    normal(&mut generator(99), shape)
}

pub(crate) fn step(
    optimizer: &mut Optimizer<f64>,
    weight: &mut Array2<f64>,
    gradient: &Array2<f64>,
) {
    optimizer
        .step(&mut weight.view_mut(), &Signal::new(gradient.view()))
        .expect("listed methods and gradients are valid");
}

/// The weight after all gradients.
pub(crate) fn run(method: &impl Method, gradients: &[Array2<f64>]) -> Array2<f64> {
    let mut weight = start(gradients[0].dim());
    let mut optimizer = method.build(weight.dim()).expect("listed methods and gradients are valid");
    for gradient in gradients {
        step(&mut optimizer, &mut weight, gradient);
    }
    weight
}

/// A unit of rounding for each of some hundred operations on numbers below 10.
pub(crate) const ROUNDING: f64 = 1e-13;
