//! Sets: the same result for any number of threads, all or nothing, and routing.
#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use std::sync::Mutex;

use common::{Case, Quadratic, cases, generator, normal};
use layerwise_optim::ndarray::{Array1, Array2};
use layerwise_optim::{
    Adam, AdamW, Chain, Control, Factor, Group, Kfac, Lion, Method, Muon, OptimError, OptimizerSet,
    RmsProp, Scalar, Selector, Sgd, Signals, Soap, StepReport, Update,
};

/// Layers of very different cost, together above the size from which threads are used.
const SHAPES: [(usize, usize); 5] = [(96, 130), (1, 96), (40, 96), (7, 40), (130, 20)];
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn large_set(method: &impl Method) -> OptimizerSet<f64> {
    let mut set = OptimizerSet::new(vec![Group::new(Selector::All, method)]);
    for (name, shape) in NAMES.iter().zip(SHAPES) {
        set.register(*name, shape, Signals::ALL).unwrap();
    }
    set
}

fn run(method: &Chain, threads: usize, steps: usize) -> (Vec<Array2<f64>>, Vec<StepReport>) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let problems: Vec<_> =
            SHAPES.iter().map(|&shape| Quadratic::<f64>::new(60, shape, 20.0)).collect();
        let mut set = large_set(method);
        set.set_parallel(threads > 0);
        let mut weights: Vec<_> = SHAPES.iter().map(|&shape| Array2::zeros(shape)).collect();
        for _ in 0..steps {
            let gradients: Vec<_> =
                problems.iter().zip(&weights).map(|(p, w)| p.gradient(w)).collect();
            let mut updates: Vec<_> = weights
                .iter_mut()
                .enumerate()
                .map(|(i, w)| {
                    Update::new(NAMES[i], w.view_mut(), problems[i].signal(&gradients[i]))
                })
                .collect();
            // The order of updates does not matter either.
            if threads.is_multiple_of(2) {
                updates.reverse();
            }
            set.step(&mut updates).unwrap();
        }
        let reports = NAMES.iter().map(|name| *set.report(name).unwrap()).collect();
        (weights, reports)
    })
}

/// The backend's number of threads belongs to the process, and changes OpenBLAS's bits.
static BLAS_THREADS: Mutex<()> = Mutex::new(());

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let _held = BLAS_THREADS.lock().unwrap();
    for blas_threads in [1, 2] {
        layerwise_linalg::set_backend_threads(blas_threads);
        threads_do_not_change_a_bit();
    }
}

fn threads_do_not_change_a_bit() {
    for method in [
        Soap::default().chain(),
        Muon::default().chain(),
        Kfac { damping: 1e-3.into(), ..Kfac::stylised() }.chain(),
    ] {
        let (expected, reports) = run(&method, 1, 2);
        assert!(expected.iter().all(|w| w.iter().any(|&x| x != 0.0)));
        for threads in [2, 5] {
            let (weights, other) = run(&method, threads, 2);
            for (a, b) in weights.iter().zip(&expected) {
                assert!(a.iter().zip(b).all(|(x, y)| x.to_bits() == y.to_bits()), "{threads}");
            }
            assert_eq!(reports, other);
        }
    }
}

#[test]
fn without_threads_the_result_is_the_same() {
    let _held = BLAS_THREADS.lock().unwrap();
    layerwise_linalg::set_backend_threads(1);
    let problem = Quadratic::<f64>::new(61, (96, 130), 20.0);
    let mut results = Vec::new();
    for parallel in [false, true] {
        let mut set = large_set(&Soap::default());
        set.set_parallel(parallel);
        let (mut a, mut c) = (Array2::zeros((96, 130)), Array2::ones((40, 96)));
        for _ in 0..3 {
            let (ga, gc) = (problem.gradient(&a), c.clone());
            set.step(&mut [
                Update::new("a", a.view_mut(), ga.view()),
                Update::new("c", c.view_mut(), gc.view()),
            ])
            .unwrap();
        }
        results.push((a, c));
    }
    assert_eq!(results[0], results[1]);
}

/// What is lent to a layer has been used by others: no number of it may count.
#[test]
fn layers_of_a_set_take_the_steps_that_each_takes_alone() {
    let _held = BLAS_THREADS.lock().unwrap();
    layerwise_linalg::set_backend_threads(1);
    for case in cases() {
        layers_as_alone::<f64>(&case);
        layers_as_alone::<f32>(&case);
    }
}

fn layers_as_alone<A: Scalar>(case: &Case) {
    // Of one shape and of several, large enough together for threads.
    const SHAPES: [(usize, usize); 7] =
        [(40, 72), (1, 96), (72, 40), (40, 72), (96, 33), (72, 40), (80, 80)];
    let names: Vec<_> = (0..SHAPES.len()).map(|index| index.to_string()).collect();
    let problems: Vec<_> =
        (70..).zip(SHAPES).map(|(seed, s)| case.problem::<A>(seed, s, 20.0)).collect();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build().unwrap();
        let mut set = OptimizerSet::<A>::new(vec![Group::new(Selector::All, &case.chain)]);
        set.set_parallel(threads > 0);
        for (name, shape) in names.iter().zip(SHAPES) {
            set.register(name, shape, Signals::ALL).unwrap();
        }
        let mut weights = SHAPES.map(Array2::<A>::zeros);
        for step in 0..8 {
            let gradients: Vec<_> =
                problems.iter().zip(&weights).map(|(p, w)| p.gradient(w)).collect();
            let mut bad = gradients[2].clone();
            bad[(3, 4)] = A::nan();
            let mut step_with = |third: &Array2<A>, weights: &mut [Array2<A>]| {
                let gradient = |index: usize| if index == 2 { third } else { &gradients[index] };
                let mut updates: Vec<_> = (weights.iter_mut().enumerate())
                    .map(|(i, w)| {
                        Update::new(&names[i], w.view_mut(), problems[i].signal(gradient(i)))
                    })
                    .collect();
                pool.install(|| set.step(&mut updates))
            };
            if step % 3 == 1 {
                assert!(step_with(&bad, &mut weights).is_err());
            }
            step_with(&gradients[2], &mut weights).unwrap();
        }
        weights
    };
    let alone = problems.iter().zip(SHAPES).map(|(problem, shape)| {
        let mut optimizer = case.chain.build::<A>(shape).unwrap();
        let mut weight = Array2::<A>::zeros(shape);
        for _ in 0..8 {
            let gradient = problem.gradient(&weight);
            optimizer.step(&mut weight.view_mut(), &problem.signal(&gradient)).unwrap();
        }
        weight
    });
    let alone: Vec<_> = alone.collect();
    for threads in [0, 3] {
        let together = run(threads);
        assert!(together.iter().eq(&alone), "{}, {}, {threads} threads", case.name, A::NAME);
    }
}

/// What a layer will be lent is known when it is built, but for samples, of which it is not known how many
/// there are, and Cholesky factors.
#[test]
fn workspace_is_made_before_the_first_step() {
    let shape = (40, 72);
    for case in cases() {
        let problem = case.problem::<f64>(80, shape, 20.0).sampled(false);
        let mut optimizer = case.chain.build::<f64>(shape).unwrap();
        let built = optimizer.memory_bytes();
        let mut weight = Array2::zeros(shape);
        for _ in 0..12 {
            let gradient = problem.gradient(&weight);
            let taken = optimizer.step(&mut weight.view_mut(), &problem.signal(&gradient));
            if !matches!(taken, Err(OptimError::MissingSamples { .. })) {
                taken.unwrap();
            }
        }
        assert_eq!(optimizer.memory_bytes(), built, "{}", case.name);
    }
}

/// Whatever a layer reports, what it holds in a set is what it was built with, unless its step is predicted.
#[test]
fn layers_of_a_set_keep_no_workspace() {
    let shape = (20, 36);
    for case in cases().iter().filter(|case| case.chain.damping_adaptation.is_none()) {
        let problem = case.problem::<f64>(81, shape, 20.0).sampled(true);
        let mut set = OptimizerSet::<f64>::new(vec![Group::new(Selector::All, &case.chain)]);
        set.register("layer", shape, Signals::ALL).unwrap();
        let held = |set: &OptimizerSet<f64>| set.optimizer("layer").unwrap().memory_bytes();
        let built = held(&set);
        let mut weight = Array2::zeros(shape);
        for _ in 0..12 {
            let gradient = problem.gradient(&weight);
            let update = Update::new("layer", weight.view_mut(), problem.signal(&gradient));
            set.step(&mut [update]).unwrap();
        }
        assert_eq!(held(&set), built, "{}", case.name);
    }
}

#[test]
fn of_several_errors_the_first_given_is_reported_and_nothing_changes() {
    for case in cases() {
        let mut set = large_set(&case.chain);
        let problems: Vec<_> =
            SHAPES.iter().map(|&shape| case.problem::<f64>(62, shape, 20.0)).collect();
        let mut weights: Vec<_> = SHAPES.iter().map(|&shape| Array2::zeros(shape)).collect();
        let good: Vec<_> = problems.iter().zip(&weights).map(|(p, w)| p.gradient(w)).collect();
        let step = |set: &mut OptimizerSet<f64>,
                    weights: &mut [Array2<f64>],
                    gradients: &[Array2<f64>]| {
            let mut updates: Vec<_> = weights
                .iter_mut()
                .enumerate()
                .map(|(i, w)| {
                    Update::new(NAMES[i], w.view_mut(), problems[i].signal(&gradients[i]))
                })
                .collect();
            set.step(&mut updates)
        };
        step(&mut set, &mut weights, &good).unwrap();
        let (state, before) = (set.state(), weights.clone());
        let mut bad = good.clone();
        bad[1][[0, 3]] = f64::NAN;
        bad[4][[5, 6]] = f64::INFINITY;
        let error = step(&mut set, &mut weights, &bad).unwrap_err();
        assert_eq!(
            error.to_string(),
            "parameter \"b\": gradient is not finite: entry (0, 3) is NaN",
            "{}",
            case.name
        );
        assert_eq!(weights, before, "{}", case.name);
        assert_eq!(set.state(), state, "{}", case.name);
        step(&mut set, &mut weights, &good).unwrap();
        assert_eq!(set.report("e").unwrap().step, 2);
        let reports: Vec<_> = set.reports().map(|(name, report)| (name, report.step)).collect();
        assert_eq!(reports, NAMES.map(|name| (name, 2)));
    }
}

#[test]
fn selectors_compose() {
    let mut set = OptimizerSet::<f64>::new(vec![
        Group::new(
            Selector::Matrices.except(Selector::named(["embedding", "head"])),
            &Muon::default(),
        ),
        Group::new(
            Selector::prefix("frozen."),
            &Sgd { learning_rate: 0.0.into(), ..Sgd::default() },
        ),
        Group::new(Selector::suffix(".norm"), &Adam::default()),
        Group::new(Selector::contains("router"), &Lion::default()),
        Group::new(Selector::glob("layers.*.bias"), &RmsProp::default()),
        Group::new(Selector::All, &AdamW::default()),
    ]);
    for (name, shape, expected) in [
        ("final.norm", (1, 4), Adam::default().chain()),
        ("layers.3.router.gain", (1, 4), Lion::default().chain()),
        ("layers.3.bias", (1, 4), RmsProp::default().chain()),
        ("layers.3.bias2", (1, 4), AdamW::default().chain()),
        ("hidden", (3, 4), Muon::default().chain()),
        ("embedding", (3, 4), AdamW::default().chain()),
        ("head", (2, 4), AdamW::default().chain()),
        ("bias", (1, 4), AdamW::default().chain()),
        ("frozen.gain", (1, 4), Sgd { learning_rate: 0.0.into(), ..Sgd::default() }.chain()),
        ("frozen.weight", (2, 4), Muon::default().chain()),
    ] {
        set.register(name, shape, Signals::GRADIENT).unwrap();
        assert_eq!(set.optimizer(name).unwrap().chain(), &expected, "{name}");
    }
}

#[test]
fn a_rate_factor_is_for_all_parameters_of_a_step() {
    let mut set = OptimizerSet::<f64>::new(vec![Group::new(Selector::All, &Sgd::default())]);
    set.register("a", (1, 2), Signals::GRADIENT).unwrap();
    set.register("b", (2, 2), Signals::GRADIENT).unwrap();
    let (mut a, mut b) = (Array2::<f64>::zeros((1, 2)), Array2::<f64>::zeros((2, 2)));
    let gradients = (Array2::ones((1, 2)), Array2::ones((2, 2)));
    let mut step = |set: &mut OptimizerSet<f64>, factor: f64| {
        let control = Control::default().with_rate_factor(factor);
        set.step_with(
            &control,
            &mut [
                Update::new("a", a.view_mut(), gradients.0.view()),
                Update::new("b", b.view_mut(), gradients.1.view()),
            ],
        )
    };
    step(&mut set, 0.5).unwrap();
    let error = step(&mut set, -1.0).unwrap_err();
    assert_eq!(error.to_string(), "rate_factor = -1 is not allowed: it must be finite and ≥ 0");
    let rate = Sgd::default().learning_rate.value(0);
    assert!(set.reports().all(|(_, report)| report.learning_rate == 0.5 * rate));
    assert!(set.reports().all(|(_, report)| report.step == 1));
    assert!(a.iter().chain(&b).all(|&w| w == -0.5 * rate));
}

#[test]
fn vectors_are_given_as_vectors() {
    let mut rng = generator(63);
    let mut set = OptimizerSet::<f64>::new(vec![Group::new(Selector::All, &AdamW::default())]);
    set.register("bias", (1, 5), Signals::GRADIENT).unwrap();
    let gradient = normal::<f64>(&mut rng, (1, 5));
    let mut bias = Array1::<f64>::ones(5);
    set.step(&mut [Update::vector("bias", bias.view_mut(), gradient.row(0))]).unwrap();
    let mut alone = Array2::<f64>::ones((1, 5));
    AdamW::default()
        .build((1, 5))
        .unwrap()
        .step(&mut alone.view_mut(), &gradient.view().into())
        .unwrap();
    assert_eq!(bias, alone.row(0));
    let error = set
        .step(&mut [Update::vector("bias", Array1::<f64>::ones(4).view_mut(), gradient.row(0))])
        .unwrap_err();
    assert_eq!(error.to_string(), "parameter \"bias\": weight is 1 × 4, expected 1 × 5");
    let input = Array2::<f64>::eye(5);
    let signal = layerwise_optim::Signal::from(gradient.row(0))
        .with_input(Factor::SecondMoment(input.view()));
    set.step(&mut [Update::new("bias", Array2::ones((1, 5)).view_mut(), signal)]).unwrap();
    set.step(&mut []).unwrap();
    assert_eq!(set.report("bias").unwrap().step, 2);
}
