//! Sets: the same result for any number of threads, all or nothing, and routing.

use std::sync::Mutex;

use crate::common::{Case, Quadratic, cases, generator, normal};
use layerwise_optim::chain::Partition;
use layerwise_optim::ndarray::{Array1, Array2, Array3, Array4};
use layerwise_optim::set::matrix_shape;
use layerwise_optim::{
    Adam, AdamW, Chain, Control, Factor, Group, Kfac, Lion, Method, Muon, OptimError, OptimizerSet,
    Refresh, RmsProp, Scalar, Selector, Sgd, Signals, Soap, StepReport, Update,
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

/// Kernels and stacked experts are matrices; stacked ones have factors of their own.
#[test]
fn weights_of_several_axes_are_matrices() {
    let soap = Soap { refresh: Refresh::every(2), ..Soap::default() };
    let experts = Partition { row_blocks: 3, ..Partition::for_networks() };
    let stacked = Soap { partition: experts, ..soap.clone() };
    let mut set = OptimizerSet::<f64>::new(vec![
        Group::new(Selector::named(["experts"]), &stacked),
        Group::new(Selector::All, &soap),
    ]);
    set.register("experts", matrix_shape(&[3, 4, 5], 2).unwrap(), Signals::GRADIENT).unwrap();
    set.register("kernel", matrix_shape(&[4, 3, 2, 2], 1).unwrap(), Signals::GRADIENT).unwrap();
    for name in ["0", "1", "2"] {
        set.register(name, (4, 5), Signals::GRADIENT).unwrap();
    }
    set.register("flat", (4, 12), Signals::GRADIENT).unwrap();
    let mut rng = generator(17);
    let mut stack = Array3::<f64>::zeros((3, 4, 5));
    let mut kernel = Array4::<f64>::zeros((4, 3, 2, 2));
    let mut apart = vec![Array2::<f64>::zeros((4, 5)); 3];
    let mut flat = Array2::<f64>::zeros((4, 12));
    for _ in 0..5 {
        let of_stack = normal(&mut rng, (12, 5)).into_shape_with_order((3, 4, 5)).unwrap();
        let of_flat = normal(&mut rng, (4, 12));
        let of_kernel = of_flat.clone().into_shape_with_order((4, 3, 2, 2)).unwrap();
        let mut updates = vec![
            Update::tensor("experts", 2, stack.view_mut(), of_stack.view()).unwrap(),
            Update::tensor("kernel", 1, kernel.view_mut(), of_kernel.view()).unwrap(),
            Update::new("flat", flat.view_mut(), of_flat.view()),
        ];
        for ((name, weight), gradient) in
            ["0", "1", "2"].iter().zip(&mut apart).zip(of_stack.outer_iter())
        {
            updates.push(Update::new(name, weight.view_mut(), gradient));
        }
        set.step(&mut updates).unwrap();
    }
    for (of_stack, alone) in stack.outer_iter().zip(&apart) {
        assert_eq!(of_stack, alone);
    }
    assert_eq!(kernel.into_shape_with_order((4, 12)).unwrap(), flat);

    assert_eq!(matrix_shape(&[], 0).unwrap(), (1, 1));
    assert_eq!(matrix_shape(&[7], 0).unwrap(), (1, 7));
    let error = matrix_shape(&[7], 2).unwrap_err().to_string();
    assert!(error.starts_with("a weight 7 has to be of at least 2 axes"), "{error}");
    assert!(matrix_shape(&[usize::MAX, 2], 2).is_err());
    let gradient = Array3::<f64>::zeros((3, 5, 4));
    let error = Update::tensor("experts", 2, stack.view_mut(), gradient.view()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the weight 3 × 4 × 5 has to be of the axes of its gradient, [3, 5, 4]"
    );
    let gradient = gradient.permuted_axes([0, 2, 1]);
    let error = Update::tensor("experts", 2, stack.view_mut(), gradient.view()).unwrap_err();
    assert!(error.to_string().ends_with("has to be stored row by row"), "{error}");
}

/// From the second round on, at most one layer in so many refreshes at a step, and each as often as before.
#[test]
fn staggered_refreshes_fall_on_different_steps() {
    for published in [false, true] {
        let soap = if published { Soap::as_published() } else { Soap::default() };
        let soap = Soap { refresh: Refresh::every(4), ..soap };
        let mut set = OptimizerSet::<f64>::new(vec![Group::new(Selector::All, &soap).staggered()]);
        let names = ["0", "1", "2", "3", "4", "5", "6", "7"];
        for name in names {
            set.register(name, (3, 4), Signals::GRADIENT).unwrap();
        }
        let mut weights = vec![Array2::<f64>::zeros((3, 4)); names.len()];
        let gradient = normal(&mut generator(5), (3, 4));
        for step in 1..=20 {
            let mut updates: Vec<_> = names
                .iter()
                .zip(&mut weights)
                .map(|(name, weight)| Update::new(name, weight.view_mut(), gradient.view()))
                .collect();
            set.step(&mut updates).unwrap();
            let refreshed = set.reports().filter(|(_, report)| report.refreshed).count();
            assert_eq!(refreshed, if step == 1 { 8 } else { 2 }, "step {step}");
        }
    }
}

#[test]
fn what_has_no_room_is_refused_by_name() {
    let soap = Soap { partition: Partition::default(), ..Soap::default() };
    let mut set = OptimizerSet::<f32>::new(vec![Group::new(Selector::All, &soap)]);
    // A square of 2⁵⁰ bytes.
    let error = set.register("embedding", (2, 1 << 24), Signals::GRADIENT).unwrap_err();
    assert_eq!(
        error.to_string(),
        "parameter \"embedding\": there is no memory for a factor of 16777216 × 16777216, \
         1125899906842624 bytes"
    );
    set.limit_memory(Some(1 << 20));
    set.register("small", (100, 100), Signals::GRADIENT).unwrap();
    let held = set.memory_bytes();
    let error = set.register("large", (300, 400), Signals::GRADIENT).unwrap_err().to_string();
    assert!(error.starts_with("parameter \"large\": the set would hold "), "{error}");
    assert!(error.ends_with(" bytes with it, and may hold 1048576"), "{error}");
    assert_eq!(set.names().collect::<Vec<_>>(), ["small"]);
    set.limit_memory(None);
    set.register("large", (300, 400), Signals::GRADIENT).unwrap();
    assert!(set.memory_bytes() > held + (300 * 300 + 400 * 400) * 16);

    // By default the large side of an embedding is left alone: moments, and factors of the other side.
    let mut set = OptimizerSet::<f32>::new(vec![Group::new(Selector::All, &Soap::default())]);
    set.register("embedding", (50_257, 768), Signals::GRADIENT).unwrap();
    let entries = 5 * 50_257 * 768 + 16 * 768 * 768;
    assert!(set.memory_bytes() < 4 * entries, "{}", set.memory_bytes());
}
