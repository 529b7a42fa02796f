//! Second moments in bases that turn.

use crate::common::{generator, largest_difference, normal};
use layerwise_optim::chain::{EigenbasisConfig, StageConfig, TurnedMoments};
use layerwise_optim::factor::{BasisMethod, Statistic};
use layerwise_optim::ndarray::{Array2, array, s};
use layerwise_optim::parity::BasisUse;
use layerwise_optim::{
    Averaging, Chain, Ekfac, Factor, Method, OptimError, Refresh, Scalar, Side, Signal, Soap, suite,
};

const MODES: [TurnedMoments; 3] =
    [TurnedMoments::Kept, TurnedMoments::Restarted, TurnedMoments::Transported];

/// Three steps by definition, from the bases that the optimizer has found, against its own.
fn by_definition<A: Scalar>(mode: TurnedMoments, tolerance: f64) {
    const BETA: f64 = 0.9;
    let average = || Averaging::Ema { beta: BETA.into(), bias_correction: true };
    let mut config = EigenbasisConfig {
        averaging: average(),
        turned_moments: mode,
        ..EigenbasisConfig::new(Statistic::Gradient, Statistic::Gradient)
    };
    config.diagonal.averaging = average();
    config.diagonal.epsilon = 0.1.into();
    let shape = (4, 6);
    let mut optimizer = Chain::new(1.0).then(StageConfig::Eigenbasis(config)).build(shape).unwrap();
    let mut rng = generator(3);
    let mut v = Array2::<f64>::zeros(shape);
    let mut former: Option<(Array2<f64>, Array2<f64>)> = None;
    let mut count = 0;
    for step in 1..=3 {
        let gradient = normal::<f64>(&mut rng, shape).mapv(A::from_f64);
        let mut weight = Array2::<A>::zeros(shape);
        let signal = Signal::new(gradient.view());
        optimizer.step(&mut weight.view_mut(), &signal).unwrap();
        let bases = optimizer.eigenbasis_mut().unwrap();
        let basis = |side| bases.basis(side).unwrap().mapv(|x| x.as_f64());
        let (left, right) = (basis(Side::Left), basis(Side::Right));
        count += 1;
        if let Some((former_left, former_right)) = &former {
            match mode {
                TurnedMoments::Transported => {
                    let square = |turn: Array2<f64>| turn.mapv(|x| x * x);
                    let (l, r) = (left.t().dot(former_left), former_right.t().dot(&right));
                    v = square(l).dot(&v).dot(&square(r));
                }
                TurnedMoments::Restarted => (v, count) = (Array2::zeros(shape), 1),
                _ => {}
            }
        }
        let projected = left.t().dot(&gradient.mapv(|x| x.as_f64())).dot(&right);
        v = v * BETA + projected.mapv(|x| (1.0 - BETA) * x * x);
        let correction = 1.0 - BETA.powi(count);
        let mut direction = projected;
        direction.zip_mut_with(&v, |d, v| *d /= (v / correction).sqrt() + 0.1);
        let expected = -left.dot(&direction).dot(&right.t());
        let found = weight.mapv(|x| x.as_f64());
        let error = largest_difference(found.view(), expected.view());
        assert!(error < tolerance, "{mode:?}, step {step}: {error:e}");
        former = Some((left, right));
    }
}

#[test]
fn moments_turn_as_is_said() {
    for mode in MODES {
        // Sums of up to 10 terms with entries up to 3, divided by 0.1: some 300 units of rounding, in a
        // handful of products one after another.
        by_definition::<f64>(mode, 2e3 * f64::EPSILON);
        by_definition::<f32>(mode, 2e3 * f64::from(f32::EPSILON));
    }
}

/// Nine steps on inputs with second moments (1, 0.01), and then, where the bases are refreshed, a batch with
/// (0.01, 100): the two eigenvectors change their places.
#[test]
fn a_step_is_not_too_long_where_vectors_change_their_places() {
    let length = |turned_moments| {
        let ekfac = Ekfac {
            learning_rate: 1.0.into(),
            turned_moments,
            refresh: Refresh::every(10),
            ..Ekfac::stylised()
        };
        let mut optimizer = ekfac.build::<f64>((1, 2)).unwrap();
        let outputs = array![[1.0], [1.0]];
        let mut last = 0.0;
        for step in 1..=10 {
            let moments: [f64; 2] = if step < 10 { [1.0, 0.01] } else { [0.01, 100.0] };
            let inputs =
                Array2::from_diag(&array![(2.0 * moments[0]).sqrt(), (2.0 * moments[1]).sqrt()]);
            let gradient = outputs.t().dot(&inputs) / 2.0;
            let signal = Signal::new(gradient.view())
                .with_input(Factor::Samples(inputs.view()))
                .with_output(Factor::Samples(outputs.view()));
            let mut weight = Array2::zeros((1, 2));
            last = optimizer.step(&mut weight.view_mut(), &signal).unwrap().update_norm;
        }
        last
    };
    // Transported, v is exact here, as the bases only change places: averages of both kinds of batches.
    let share = 0.05 / (1.0 - 0.95_f64.powi(10));
    let expected: f64 = [(1.0, 0.01), (0.01, 100.0)]
        .map(|(before, now)| {
            let v = (1.0 - share) * before + share * now;
            ((now / 2.0_f64).sqrt() / (v + 1e-3)).powi(2)
        })
        .iter()
        .sum::<f64>()
        .sqrt();
    let transported = length(TurnedMoments::Transported);
    assert!((transported / expected - 1.0).abs() < 1e-12, "{transported} for {expected}");
    assert!(length(TurnedMoments::Kept) > 10.0 * transported);
}

/// What the rows and columns of squared rotations sum to is 1: the sum of all moments stays.
#[test]
fn transport_keeps_the_sum_of_wide_moments_in_single_precision() {
    let shape = (96, 160);
    let soap = Soap {
        turned_moments: TurnedMoments::Transported,
        refresh: Refresh::every(2),
        ..Soap::default()
    };
    let mut optimizer = soap.build::<f32>(shape).unwrap();
    let mut rng = generator(8);
    let mut weight = Array2::<f32>::zeros(shape);
    // Inputs that are always zero, and fewer samples than columns.
    let mixing = normal::<f32>(&mut rng, (20, 160));
    let mut sum = 0.0;
    for step in 1..=12 {
        let mut gradient = normal::<f32>(&mut rng, (96, 20)).dot(&mixing);
        gradient.slice_mut(s![.., ..;4]).fill(0.0);
        optimizer.step(&mut weight.view_mut(), &Signal::new(gradient.view())).unwrap();
        let squares = gradient.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>();
        sum = 0.95 * sum + 0.05 * squares;
        let state: serde_json::Value =
            serde_json::from_str(&optimizer.state().to_json().unwrap()).unwrap();
        let moments = &state["values"]["update.1.blocks.0.moments.moments"]["Array"]["entries"];
        let found = moments.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).sum::<f64>();
        // Rotations of single precision lose some ε √n of a square, and there are four at a step.
        let tolerance = 8.0 * f64::from(f32::EPSILON) * 160.0_f64.sqrt() * f64::from(step);
        assert!((found / sum - 1.0).abs() < tolerance, "step {step}: {found} for {sum}");
    }
}

/// What every stage promises, refusals and resumed runs among it, across refreshes that turn the bases, by each
/// way to find them.
#[test]
fn moments_that_turn_keep_the_promises_of_a_stage() {
    for turned_moments in MODES {
        for (basis, refresh) in [
            (BasisMethod::default(), Refresh::every(2)),
            (BasisMethod::qr_step(0.0), Refresh::every(1)),
            (BasisMethod::default(), Refresh::on_drift(0.05)),
        ] {
            let stage = StageConfig::Eigenbasis(EigenbasisConfig {
                turned_moments,
                basis,
                refresh,
                ..EigenbasisConfig::new(Statistic::Gradient, Statistic::Gradient)
            });
            suite::check::<f32>(&stage, (5, 7)).unwrap();
            suite::check::<f64>(&stage, (6, 4)).unwrap();
        }
    }
}

/// A step that is refused where the bases turn leaves no trace: later steps are those of a run without it.
#[test]
fn a_refused_turn_leaves_no_trace() {
    for turned_moments in MODES {
        let ekfac = Ekfac { turned_moments, refresh: Refresh::every(2), ..Ekfac::default() };
        let (mut with, mut without) =
            (ekfac.build::<f32>((4, 6)).unwrap(), ekfac.build::<f32>((4, 6)).unwrap());
        let mut weights = [Array2::<f32>::zeros((4, 6)), Array2::zeros((4, 6))];
        let mut rng = generator(14);
        for _ in 0..8 {
            let inputs = normal::<f32>(&mut rng, (5, 6));
            let outputs = normal::<f32>(&mut rng, (5, 4));
            let gradient = outputs.t().dot(&inputs) / 5.0;
            let signal = Signal::new(gradient.view())
                .with_input(Factor::Samples(inputs.view()))
                .with_output(Factor::Samples(outputs.view()));
            // Finite, and of squares that are not.
            let (large, small) = (&outputs * 1e25, &inputs * 1e-25);
            let overflowing = Signal::new(gradient.view())
                .with_input(Factor::Samples(small.view()))
                .with_output(Factor::Samples(large.view()));
            let before = (with.state(), weights[0].clone());
            with.step(&mut weights[0].view_mut(), &overflowing).unwrap_err();
            assert_eq!((with.state(), weights[0].clone()), before);
            with.step(&mut weights[0].view_mut(), &signal).unwrap();
            without.step(&mut weights[1].view_mut(), &signal).unwrap();
            assert_eq!(weights[0], weights[1]);
        }
        assert_eq!(with.state(), without.state());
    }
}

#[test]
fn what_does_not_turn_is_refused() {
    for turned_moments in [TurnedMoments::Restarted, TurnedMoments::Transported] {
        let previous = Soap { turned_moments, ..Soap::as_published() };
        assert_eq!(previous.basis_use, BasisUse::Previous);
        let error = previous.build::<f64>((2, 3)).unwrap_err();
        assert!(matches!(error, OptimError::Incompatible { .. }), "{error}");
    }
}
