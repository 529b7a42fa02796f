//! Deliberately wrong steps, and the statements about linear representation learning that see them.

use layerwise_data::{Covariance, Law, LinearCovariates, LinearTask, Moments, Streams, Task};
use layerwise_experiments::Result;
use layerwise_experiments::linear::{Algorithm, Needs, StepData, head_kfac, representation_kfac};
use layerwise_experiments::monitor::Silent;
use layerwise_experiments::ndarray::{Array1, Array2, ArrayView2};
use layerwise_experiments::theorems::statement::evaluate;
use layerwise_experiments::theorems::transfer::TransferTask;
use layerwise_experiments::theorems::{
    Context, KfacRates, RealSteps, STATEMENTS, Scale, Statement, Steps, l5, run,
};
use layerwise_linalg::RowOrthonormalizer;
use layerwise_models::{LeastSquaresHead, LinearPass, TwoLayerLinear};
use layerwise_optim::chain::StageConfig;
use layerwise_optim::factor::RootMethod;
use layerwise_optim::methods::KfacDamping;
use layerwise_optim::{Chain, Factor, Kfac, Method, Signal};
use rand::RngCore;

type Shape = (usize, usize, usize);

/// The ids of the linear statements that fail with these steps.
fn failing(steps: &dyn Steps) -> Vec<&'static str> {
    layerwise_linalg::set_backend_threads(1);
    let streams = Streams::new(0);
    let context = Context { scale: Scale::Quick, streams: &streams, steps, monitor: &Silent };
    STATEMENTS
        .iter()
        .filter(|statement| statement.id().starts_with('L'))
        .filter(|&&statement| !evaluate(statement, &context).unwrap().outcome.holds())
        .map(|statement| statement.id())
        .collect()
}

/// What is wrong with a KFAC step.
#[derive(Clone, Copy)]
enum Fault {
    /// The input factor on the output side and the reverse, where the layer is square.
    SwappedFactors,
    /// `Σ̂^{-1/2}` in place of `Σ̂⁻¹`.
    WrongExponent,
    /// `Ê[zzᵀ]^{-1/2}` in place of `Ê[zzᵀ]⁻¹`.
    WrongHeadExponent,
    /// The head's gradient and factor at the old representation.
    StaleHead,
    /// Σ̂ of another batch.
    OtherBatch,
    /// `F_lsᵀF_ls` in place of `FᵀF`.
    LeastSquaresFactor,
    /// None: the step is right.
    None,
}

struct FaultyKfac {
    fault: Fault,
    rates: KfacRates,
    shape: Shape,
}

impl Algorithm for FaultyKfac {
    fn step(&mut self, net: &mut TwoLayerLinear, data: &StepData) -> Result<()> {
        let (outputs, k, inputs) = self.shape;
        let moments = data.moments();
        let mut pass = LinearPass::with_shape(self.shape);
        pass.joint(net, moments)?;
        let mut input = moments.xx().to_owned();
        let mut output = pass.head_gram().to_owned();
        match self.fault {
            Fault::SwappedFactors if k == inputs => std::mem::swap(&mut input, &mut output),
            Fault::OtherBatch => input = another_batch(moments)?.xx().to_owned(),
            Fault::LeastSquaresFactor => {
                let mut fitted = net.clone();
                LeastSquaresHead::with_shape(outputs, k).fit(&mut fitted, &pass)?;
                output = fitted.head().t().dot(&fitted.head());
            }
            _ => {}
        }
        let kfac = Kfac {
            damping: KfacDamping::per_factor(0.0, self.rates.damping),
            ..representation_kfac(self.rates.representation, 0.0)
        };
        let chain = match self.fault {
            Fault::WrongExponent => with_input_exponent(kfac.chain(), 0.5),
            _ => kfac.chain(),
        };
        let signal = Signal::new(pass.representation_gradient())
            .with_input(Factor::SecondMoment(input.view()))
            .with_output(Factor::SecondMoment(output.view()));
        chain.build((k, inputs))?.step(&mut net.representation_mut(), &signal)?;
        if !matches!(self.fault, Fault::StaleHead) {
            pass.head(net, moments)?;
        }
        let signal =
            Signal::new(pass.head_gradient()).with_input(Factor::SecondMoment(pass.features()));
        let kfac = head_kfac(self.rates.head);
        let chain = match self.fault {
            Fault::WrongHeadExponent => with_input_exponent(kfac.chain(), 0.5),
            _ => kfac.chain(),
        };
        chain.build((outputs, k))?.step(&mut net.head_mut(), &signal)?;
        Ok(())
    }
}

fn with_input_exponent(mut chain: Chain, exponent: f64) -> Chain {
    for stage in chain.stages_mut() {
        if let StageConfig::Kronecker(config) = stage {
            config.right.exponent = exponent;
            config.right.root = RootMethod::default();
        }
    }
    chain
}

/// A batch of 20 d samples of inputs with this batch's second moment as covariance.
fn another_batch(moments: &Moments) -> Result<Moments> {
    let d = moments.input_dimension();
    // Batches of fewer than d samples have no definite second moment.
    let ridge = 1e-12 * moments.xx().diag().sum();
    let mut definite = moments.xx().to_owned();
    definite.diag_mut().mapv_inplace(|variance| variance + ridge);
    let covariance = Covariance::from_matrix(definite.view())?;
    let covariates = LinearCovariates::new(Law::Gaussian, covariance);
    let representation = Array2::from_shape_fn((1, d), |(_, j)| if j == 0 { 1.0 } else { 0.0 });
    let task = LinearTask::new(Array2::eye(1), representation.into(), covariates, 0.0)?;
    let mut other = Moments::with_dimensions(d, 1);
    task.draw_moments(20 * d, &mut Streams::new(1).stream("another", "batch", 0), &mut other)?;
    Ok(other)
}

impl Steps for Fault {
    fn kfac(&self, rates: KfacRates, shape: Shape) -> Result<Box<dyn Algorithm>> {
        Ok(Box::new(FaultyKfac { fault: *self, rates, shape }))
    }
}

#[test]
fn the_steps_as_they_are_pass() {
    assert_eq!(failing(&RealSteps), [""; 0]);
    // What the faults below are built on is right without a fault.
    assert_eq!(failing(&Fault::None), [""; 0]);
}

#[test]
fn swapped_factors_are_seen() {
    assert_eq!(failing(&Fault::SwappedFactors), ["L8"]);
}

#[test]
fn a_wrong_exponent_is_seen() {
    assert_eq!(failing(&Fault::WrongExponent), ["L2", "L3", "L4", "L7", "L8", "L9"]);
}

#[test]
fn a_wrong_exponent_on_the_head_is_seen() {
    assert_eq!(failing(&Fault::WrongHeadExponent), ["L1", "L8"]);
}

#[test]
fn a_head_refit_on_the_old_representation_is_seen() {
    assert_eq!(failing(&Fault::StaleHead), ["L1", "L8"]);
}

#[test]
fn the_second_moment_of_another_batch_is_seen() {
    assert_eq!(failing(&Fault::OtherBatch), ["L2", "L3", "L4", "L7", "L8", "L9"]);
}

#[test]
fn least_squares_in_place_of_the_head_is_seen() {
    assert_eq!(failing(&Fault::LeastSquaresFactor), ["L2", "L3", "L4", "L7", "L8", "L9"]);
}

struct DampedTwice;

impl Steps for DampedTwice {
    fn kfac(&self, rates: KfacRates, shape: Shape) -> Result<Box<dyn Algorithm>> {
        RealSteps.kfac(KfacRates { damping: 2.0 * rates.damping, ..rates }, shape)
    }
}

#[test]
fn damping_that_is_added_twice_is_seen() {
    assert_eq!(failing(&DampedTwice), ["L2"]);
}

struct WithoutStatistics;

impl Steps for WithoutStatistics {
    fn amgd(&self, rate: f64, _batch_norm: bool, shape: Shape) -> Result<Box<dyn Algorithm>> {
        RealSteps.amgd(rate, false, shape)
    }
}

#[test]
fn dropped_batch_norm_statistics_are_seen() {
    assert_eq!(failing(&WithoutStatistics), ["L6"]);
}

struct UnfittedAmgd {
    rate: f64,
    shape: Shape,
}

impl Algorithm for UnfittedAmgd {
    fn step(&mut self, net: &mut TwoLayerLinear, data: &StepData) -> Result<()> {
        let (outputs, k, inputs) = self.shape;
        let mut pass = LinearPass::with_shape(self.shape);
        pass.joint(net, data.moments())?;
        net.representation_mut().scaled_add(-self.rate, &pass.representation_gradient());
        RowOrthonormalizer::with_shape(k, inputs).orthonormalize(&mut net.representation_mut())?;
        // Features and targets of the old representation.
        LeastSquaresHead::with_shape(outputs, k).fit(net, &pass)?;
        Ok(())
    }
}

struct AmgdWithStaleHead;

impl Steps for AmgdWithStaleHead {
    fn amgd(&self, rate: f64, batch_norm: bool, shape: Shape) -> Result<Box<dyn Algorithm>> {
        match batch_norm {
            true => RealSteps.amgd(rate, true, shape),
            false => Ok(Box::new(UnfittedAmgd { rate, shape })),
        }
    }
}

#[test]
fn a_stale_head_of_amgd_is_seen() {
    assert_eq!(failing(&AmgdWithStaleHead), ["L3", "L4"]);
}

struct NoiseScaledByN;

impl Steps for NoiseScaledByN {
    fn draw(&self, task: &LinearTask, rng: &mut dyn RngCore, data: &mut StepData) -> Result<()> {
        let noise = task.noise() / (data.samples() as f64).sqrt();
        let head = task.head().to_owned();
        let (shared, covariates) = (task.shared_representation(), task.covariates().clone());
        let quieter = LinearTask::new(head, shared, covariates, noise)?;
        RealSteps.draw(&quieter, rng, data)
    }
}

#[test]
fn noise_scaled_by_n_in_the_moments_is_seen() {
    assert_eq!(failing(&NoiseScaledByN), ["L4"]);
}

/// A step that is undefined is a failed verdict, not an error.
struct Singular;

impl Steps for Singular {
    fn transfer_loss(&self, _: ArrayView2<'_, f64>, _: &TransferTask) -> Result<f64> {
        let zero = Array2::<f64>::zeros((1, 1));
        layerwise_linalg::Cholesky::new(zero.view(), 0.0)?;
        Ok(0.0)
    }
}

#[test]
fn a_step_that_fails_numerically_is_a_failed_verdict() {
    assert_eq!(failing(&Singular), ["L5"]);
    let streams = Streams::new(0);
    let context =
        Context { scale: Scale::Quick, streams: &streams, steps: &Singular, monitor: &Silent };
    let row = evaluate(&l5::L5, &context).unwrap();
    assert!(row.outcome.parts[0].measured.contains("positive"), "{:?}", row.outcome);
}

/// A wrong transfer loss: that of the zero head.
struct NoHead;

impl Steps for NoHead {
    fn transfer_loss(&self, _: ArrayView2<'_, f64>, task: &TransferTask) -> Result<f64> {
        task.zero_loss()
    }
}

#[test]
fn a_head_that_is_not_fitted_is_seen() {
    assert_eq!(failing(&NoHead), ["L5"]);
}

/// Tasks' gradients whitened by the first task's inputs.
struct SharedWhitening;

impl Steps for SharedWhitening {
    fn multi_task_kfac(
        &self,
        eta: f64,
        representation: ArrayView2<'_, f64>,
        heads: &[Array2<f64>],
        batches: &[StepData],
    ) -> Result<Array2<f64>> {
        let xx = batches[0].moments().xx();
        let same = |data: &StepData| {
            let moments = data.moments();
            let (outputs, d) = moments.yx().dim();
            let means = (Array1::zeros(d), Array1::zeros(outputs));
            let yx = moments.yx().to_owned();
            let mixed = Moments::from_parts(1, xx.to_owned(), yx, 0.0, means.0, means.1)?;
            StepData::from_moments(mixed, Needs::default())
        };
        let batches = batches.iter().map(same).collect::<Result<Vec<_>>>()?;
        RealSteps.multi_task_kfac(eta, representation, heads, &batches)
    }
}

#[test]
fn whitening_by_another_tasks_inputs_is_seen() {
    assert_eq!(failing(&SharedWhitening), ["L7"]);
}

#[test]
fn verdicts_are_the_same_on_any_number_of_threads() {
    let linear: Vec<&dyn Statement> =
        STATEMENTS.iter().copied().filter(|s| ["L1", "L2", "L9"].contains(&s.id())).collect();
    let rows = |threads| run(&linear, Scale::Quick, 3, threads, &RealSteps, &Silent).unwrap();
    assert_eq!(rows(1), rows(3));
}
