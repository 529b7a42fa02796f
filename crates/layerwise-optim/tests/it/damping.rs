//! Dampings relative to factors: by definition, within the precision, and raised where a factor is indefinite.

use crate::common::{generator, largest_difference, normal};
use layerwise_linalg::Cholesky;
use layerwise_optim::chain::{Filter, Partition, StageConfig};
use layerwise_optim::factor::RootMethod;
use layerwise_optim::methods::KfacDamping;
use layerwise_optim::ndarray::{Array2, Axis, arr1};
use layerwise_optim::{
    Adam, Chain, Damping, Ekfac, Factor, Kfac, KlShampoo, Method, Momentum, OneSidedKfac,
    OptimError, Scalar, Shampoo, Signal, Soap,
};

/// Inputs and derivatives of a 3 × 5 layer, of different sizes, with their gradient.
struct Layer {
    inputs: Array2<f64>,
    derivatives: Array2<f64>,
    gradient: Array2<f64>,
}

impl Layer {
    fn new(seed: u64) -> Self {
        let mut rng = generator(seed);
        let inputs = normal::<f64>(&mut rng, (8, 5)).dot(&normal(&mut rng, (5, 5))) * 7.0;
        let derivatives = normal::<f64>(&mut rng, (8, 3)).dot(&normal(&mut rng, (3, 3))) * 0.02;
        let gradient = derivatives.t().dot(&inputs) / 8.0;
        Layer { inputs, derivatives, gradient }
    }

    fn signal(&self) -> Signal<'_, f64> {
        Signal::new(self.gradient.view())
            .with_input(Factor::Samples(self.inputs.view()))
            .with_output(Factor::Samples(self.derivatives.view()))
    }

    /// The mean eigenvalues of both factors, outputs' and inputs'.
    fn means(&self) -> (f64, f64) {
        let mean = |samples: &Array2<f64>| samples.mapv(|x| x * x).sum() / samples.len() as f64;
        (mean(&self.derivatives), mean(&self.inputs))
    }
}

fn step<A: Scalar>(method: &impl Method, signal: &Signal<'_, A>) -> Array2<A> {
    let mut weight = Array2::zeros(signal.gradient().dim());
    let mut optimizer = method.build::<A>(weight.dim()).unwrap();
    optimizer.step(&mut weight.view_mut(), signal).unwrap();
    weight
}

/// Some ten products and a solve with a condition number of a few hundred.
fn close(found: &Array2<f64>, expected: &Array2<f64>) {
    let scale = expected.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    let error = largest_difference(found.view(), expected.view()) / scale;
    assert!(error < 1e4 * f64::EPSILON, "{error:e}");
}

#[test]
fn relative_damping_is_of_the_mean_eigenvalue() {
    let layer = Layer::new(1);
    let (p, q) = layer.means();
    let kfac = |damping| Kfac { damping, ..Kfac::stylised() };
    for share in [0.01, 0.3] {
        let relative = step(&kfac(KfacDamping::Relative(share.into())), &layer.signal());
        let per_factor = KfacDamping::per_factor(share * p, share * q);
        close(&relative, &step(&kfac(per_factor), &layer.signal()));
        let tikhonov = KfacDamping::FactoredTikhonov((share * share * p * q).into());
        close(&relative, &step(&kfac(tikhonov), &layer.signal()));
        let one_sided = |damping| OneSidedKfac { damping, ..OneSidedKfac::stylised() };
        close(
            &step(&one_sided(Damping::RelativeToTrace(share.into())), &layer.signal()),
            &step(&one_sided((share * q).into()), &layer.signal()),
        );
        // The mean of v̂ is that of the products of squares, in whichever bases.
        let squares = layer.derivatives.mapv(|x| x * x).t().dot(&layer.inputs.mapv(|x| x * x));
        let mean = squares.sum() / (8.0 * 15.0);
        let ekfac = |damping: f64, relative_damping: f64| Ekfac {
            damping: damping.into(),
            relative_damping: relative_damping.into(),
            ..Ekfac::stylised()
        };
        close(
            &step(&ekfac(0.0, share), &layer.signal()),
            &step(&ekfac(share * mean, 0.0), &layer.signal()),
        );
    }
}

#[test]
fn every_damping_serves_the_default() {
    let layer = Layer::new(2);
    let single = |array: &Array2<f64>| array.mapv(|x| x as f32);
    let (gradient, inputs, derivatives) =
        (single(&layer.gradient), single(&layer.inputs), single(&layer.derivatives));
    let of_single = Signal::new(gradient.view())
        .with_input(Factor::Samples(inputs.view()))
        .with_output(Factor::Samples(derivatives.view()));
    for damping in [
        KfacDamping::per_factor(0.01, 0.1),
        KfacDamping::FactoredTikhonov(1e-3.into()),
        KfacDamping::Exact(1e-3.into()),
        KfacDamping::Relative(0.1.into()),
    ] {
        let kfac = Kfac { damping, ..Kfac::default() };
        let double = step(&kfac, &layer.signal());
        let single = step(&kfac, &of_single).mapv(f64::from);
        let scale = double.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        assert!(scale > 0.0);
        // A solve of condition number κ ≤ 1/0.01 loses κ ε of its result.
        assert!(largest_difference(single.view(), double.view()) < 1e3 * 1.2e-7 * scale);
    }
}

/// In single precision a damping of 10⁻¹² is one of √n ε tr S.
#[test]
fn relative_damping_is_no_less_than_the_precision() {
    let layer = Layer::new(3);
    let single = |array: &Array2<f64>| array.mapv(|x| x as f32);
    let (gradient, inputs) = (single(&layer.gradient), single(&layer.inputs));
    let signal = Signal::new(gradient.view()).with_input(Factor::Samples(inputs.view()));
    let one_sided = |share: f64| OneSidedKfac {
        damping: Damping::RelativeToTrace(share.into()),
        ..OneSidedKfac::stylised()
    };
    let least = 5.0_f64.sqrt() * f64::from(f32::EPSILON) * 5.0;
    assert_eq!(step(&one_sided(1e-12), &signal), step(&one_sided(least), &signal));
    assert_ne!(step(&one_sided(1e-12), &signal), step(&one_sided(4.0 * least), &signal));
    // Double precision carries it.
    let signal = layer.signal();
    assert_ne!(step(&one_sided(1e-12), &signal), step(&one_sided(least), &signal));
}

/// A second moment with an eigenvalue of −3·10⁻⁴ of the mean: of 10⁻⁶, 10⁻⁵, … the first damping that makes it
/// positive definite is 10⁻³.
#[test]
fn relative_damping_is_raised_where_a_factor_is_indefinite() {
    let factor = |least: f64| {
        let mut rng = generator(4);
        // An orthogonal matrix, by reflections.
        let mut basis = Array2::<f64>::eye(4);
        for _ in 0..3 {
            let v = normal::<f64>(&mut rng, (4, 1));
            let reflection = Array2::eye(4) - v.dot(&v.t()) * (2.0 / v.mapv(|x| x * x).sum());
            basis = basis.dot(&reflection);
        }
        let values = Array2::from_diag(&arr1(&[least, 0.5, 1.0, 2.5]));
        let moment = basis.dot(&values).dot(&basis.t());
        (&moment + &moment.t()) * 0.5
    };
    let moment = factor(-3e-4);
    let mean = moment.diag().sum() / 4.0;
    let gradient = normal::<f64>(&mut generator(5), (2, 4));
    let signal = Signal::new(gradient.view()).with_input(Factor::SecondMoment(moment.view()));
    for root in [RootMethod::Cholesky, RootMethod::Inverse, RootMethod::default()] {
        let one_sided = |share: f64| OneSidedKfac {
            damping: Damping::RelativeToTrace(share.into()),
            root: root.clone(),
            ..OneSidedKfac::stylised()
        };
        let mut weight = Array2::zeros((2, 4));
        let mut optimizer = one_sided(1e-6).build::<f64>((2, 4)).unwrap();
        let report = optimizer.step(&mut weight.view_mut(), &signal).unwrap();
        assert_eq!(report.fallbacks, 1);
        let expected = {
            let damped = &moment + &(Array2::<f64>::eye(4) * (1e-3 * mean));
            let cholesky = Cholesky::new(damped.view(), 0.0).unwrap();
            let mut solved = gradient.clone();
            cholesky.solve_right(&mut solved.view_mut()).unwrap();
            solved * -0.1
        };
        // The condition number is 2.5/7·10⁻⁴, of which a solve loses as many ε.
        let scale = expected.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        let error = largest_difference(weight.view(), expected.view()) / scale;
        assert!(error < 1e6 * f64::EPSILON, "{error:e}");

        // Beyond eight raises it is refused, and nothing has changed.
        let indefinite = factor(-2.0);
        let signal =
            Signal::new(gradient.view()).with_input(Factor::SecondMoment(indefinite.view()));
        let mut optimizer = one_sided(1e-9).build::<f64>((2, 4)).unwrap();
        let (state, before) = (optimizer.state(), weight.clone());
        let error = optimizer.step(&mut weight.view_mut(), &signal).unwrap_err();
        assert!(matches!(error, OptimError::Factor { .. }), "{error}");
        assert_eq!((optimizer.state(), weight), (state, before));
    }
}

/// A vector under the defaults of Shampoo and KL-Shampoo is stepped by Adam, as is a matrix of which both sides
/// are too large; one of SOAP has Adam's moments.
#[test]
fn vectors_are_left_to_the_diagonal_method() {
    let adam = Adam { learning_rate: 0.01.into(), ..Adam::default() };
    let shampoo = Shampoo { learning_rate: 0.01.into(), ..Shampoo::default() };
    let kl = KlShampoo { learning_rate: 0.01.into(), ..KlShampoo::default() };
    let small = Partition { max_dimension: Some(2), ..Partition::for_networks() };
    let cut = Shampoo { partition: small.clone(), ..shampoo.clone() };
    let soap = Soap {
        learning_rate: 0.01.into(),
        beta1: 0.9.into(),
        beta2: 0.999.into(),
        ..Soap::default()
    };
    let run = |method: &dyn Fn() -> Chain, shape: (usize, usize)| {
        let mut optimizer = method().build::<f64>(shape).unwrap();
        let mut weight = Array2::<f64>::zeros(shape);
        let mut rng = generator(6);
        for _ in 0..12 {
            let gradient = normal::<f64>(&mut rng, shape);
            optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view())).unwrap();
        }
        weight
    };
    for shape in [(1, 6), (6, 1)] {
        let expected = run(&|| adam.chain(), shape);
        assert_eq!(run(&|| shampoo.chain(), shape), expected);
        assert_eq!(run(&|| kl.chain(), shape), expected);
        close(&run(&|| soap.chain(), shape), &expected);
    }
    assert_eq!(run(&|| cut.chain(), (3, 4)), run(&|| adam.chain(), (3, 4)));
    // A side that is left alone leaves the other its factor.
    assert_ne!(run(&|| cut.chain(), (2, 4)), run(&|| adam.chain(), (2, 4)));
    // A row of a matrix that is cut is no vector.
    let blocks =
        Partition { max_dimension: Some(2), diagonal_vectors: true, ..Partition::default() };
    let in_blocks = Shampoo { partition: blocks, ..shampoo.clone() };
    assert_ne!(
        run(&|| in_blocks.chain(), (3, 2)).row(2).to_owned().insert_axis(Axis(0)),
        run(&|| adam.chain(), (3, 2)).row(2).to_owned().insert_axis(Axis(0))
    );
    // Without a diagonal method the direction that arrives is the step.
    let ungrafted = Shampoo { grafting: None, ..shampoo };
    let averaged = Chain::new(0.01).then(StageConfig::Momentum(Momentum::Ema {
        beta: 0.9.into(),
        bias_correction: true,
        filter: Filter::Average,
    }));
    assert_eq!(run(&|| ungrafted.chain(), (1, 6)), run(&|| averaged.clone(), (1, 6)));
}
