//! Layers' reports: gradients against finite differences, factors against their definitions.

use crate::common::{generator, largest_difference, normal};
use layerwise_optim::layers::{Conv2d, Derivatives, Linear, WeightSharing};
use layerwise_optim::ndarray::{
    Array, Array2, Array3, Array4, ArrayView1, ArrayView2, Axis, Dimension, IntoDimension, Ix4,
    arr0, array, concatenate, s,
};
use layerwise_optim::{Ekfac, Factor, Kfac, Method, OptimError, Signal};

/// Some hundred additions of numbers near 1.
const ROUNDING: f64 = 1e3 * f64::EPSILON;

fn normals<D: Dimension>(seed: u64, shape: impl IntoDimension<Dim = D>) -> Array<f64, D> {
    let shape = shape.into_dimension();
    normal(&mut generator(seed), (1, shape.size())).into_shape_with_order(shape).unwrap()
}

fn second_moment(factor: Option<&Factor<'_, f64>>) -> Array2<f64> {
    let Some(Factor::Samples(samples)) = factor else { unreachable!("layers report samples") };
    samples.t().dot(samples) / samples.nrows() as f64
}

fn close(a: &Array2<f64>, b: &Array2<f64>) {
    let difference = largest_difference(a.view(), b.view());
    assert!(difference < ROUNDING, "{difference:e}\n{a}\n{b}");
}

/// With a column of ones.
fn with_one(inputs: &Array2<f64>) -> Array2<f64> {
    concatenate![Axis(1), *inputs, Array2::ones((inputs.nrows(), 1))]
}

#[test]
fn a_linear_layer_reports_gradient_and_second_moments() {
    let (inputs, derivatives) = (normals(1, (9, 4)), normals(2, (9, 3)));
    let expected = with_one(&inputs);
    let mut layer = Linear::new(3, 4).with_bias();
    assert_eq!(layer.weight_shape(), (3, 5));
    for sharing in [WeightSharing::Expand, WeightSharing::Reduce] {
        layer = layer.with_sharing(sharing);
        let signal =
            layer.report(inputs.view(), Derivatives::OfEachLoss(derivatives.view())).unwrap();
        close(&signal.gradient().to_owned(), &(derivatives.t().dot(&expected) / 9.0));
        close(&second_moment(signal.input()), &(expected.t().dot(&expected) / 9.0));
        close(&second_moment(signal.output()), &(derivatives.t().dot(&derivatives) / 9.0));
    }
}

/// The trap: derivatives of a mean loss are N times smaller, and must give the same steps.
#[test]
fn derivatives_of_a_mean_loss_give_the_same_report() {
    let (inputs, derivatives) = (normals(3, (8, 4)), normals(4, (8, 3)));
    // A power of two, so that no bit differs.
    let of_mean = &derivatives / 8.0;
    let (mut one, mut other) = (Linear::new(3, 4).with_bias(), Linear::new(3, 4).with_bias());
    let each = one.report(inputs.view(), Derivatives::OfEachLoss(derivatives.view())).unwrap();
    let mean = other.report(inputs.view(), Derivatives::OfMeanLoss(of_mean.view())).unwrap();
    assert_eq!(each.gradient(), mean.gradient());
    assert_eq!(second_moment(each.output()), second_moment(mean.output()));

    let (inputs, derivatives) = (normals(5, (4, 2, 5, 5)), normals(6, (4, 3, 3, 3)));
    let of_mean = &derivatives / 4.0;
    let (mut one, mut other) = (Conv2d::new(3, 2, (3, 3)), Conv2d::new(3, 2, (3, 3)));
    let each = one.report(inputs.view(), Derivatives::OfEachLoss(derivatives.view())).unwrap();
    let mean = other.report(inputs.view(), Derivatives::OfMeanLoss(of_mean.view())).unwrap();
    assert_eq!(each.gradient(), mean.gradient());
    assert_eq!(second_moment(each.output()), second_moment(mean.output()));
}

/// A mean over all tokens is that of as many samples, in whichever shape it comes.
#[test]
fn a_mean_over_positions_is_one_over_samples() {
    let inputs: Array3<f64> = normals(9, (4, 8, 5));
    let derivatives: Array3<f64> = normals(10, (4, 8, 3));
    let flat = |array: &Array3<f64>| {
        let width = array.dim().2;
        array.clone().into_shape_with_order((32, width)).unwrap()
    };
    let (flat_inputs, flat_derivatives) = (flat(&inputs), flat(&derivatives));
    for sharing in [WeightSharing::Expand, WeightSharing::Reduce] {
        let layer = || Linear::new(3, 5).with_bias().with_sharing(sharing);
        let (mut sequences, mut tokens) = (layer(), layer());
        let found = sequences
            .report(inputs.view(), Derivatives::OfMeanOverPositions(derivatives.view()))
            .unwrap();
        let expected = tokens
            .report(flat_inputs.view(), Derivatives::OfMeanLoss(flat_derivatives.view()))
            .unwrap();
        assert_eq!(found.gradient(), expected.gradient());
        assert_eq!(second_moment(found.input()), second_moment(expected.input()));
        assert_eq!(second_moment(found.output()), second_moment(expected.output()));
        // Curvature from each token's own loss, for labels that the model draws.
        let drawn = &derivatives * 32.0;
        let mut other = layer();
        let with_own = other
            .report_with(
                inputs.view(),
                Derivatives::OfMeanOverPositions(derivatives.view()),
                Derivatives::OfEachLoss(drawn.view()),
            )
            .unwrap();
        assert_eq!(second_moment(with_own.output()), second_moment(expected.output()));
    }
}

/// Both conventions on sequences, by their sums over samples n and places t.
#[test]
fn places_of_a_sample_expand_or_reduce() {
    let (samples, places) = (5, 3);
    let inputs: Array3<f64> = normals(7, (samples, places, 4));
    let derivatives: Array3<f64> = normals(8, (samples, places, 2));
    let mut gradient = Array2::<f64>::zeros((2, 4));
    let (mut a, mut b) = (Array2::<f64>::zeros((4, 4)), Array2::<f64>::zeros((2, 2)));
    let (mut a_reduced, mut b_reduced) = (a.clone(), b.clone());
    let column = |row: ArrayView1<'_, f64>| row.to_owned().insert_axis(Axis(1));
    for n in 0..samples {
        let mut mean = Array2::<f64>::zeros((4, 1));
        let mut sum = Array2::<f64>::zeros((2, 1));
        for t in 0..places {
            let (x, d) =
                (column(inputs.slice(s![n, t, ..])), column(derivatives.slice(s![n, t, ..])));
            gradient = gradient + d.dot(&x.t()) / samples as f64;
            a = a + x.dot(&x.t()) / (samples * places) as f64;
            b = b + d.dot(&d.t()) / samples as f64;
            mean = mean + x / places as f64;
            sum = sum + d;
        }
        a_reduced = a_reduced + mean.dot(&mean.t()) / samples as f64;
        b_reduced = b_reduced + sum.dot(&sum.t()) / samples as f64;
    }
    for (sharing, a, b) in
        [(WeightSharing::Expand, a, b), (WeightSharing::Reduce, a_reduced, b_reduced)]
    {
        let mut layer = Linear::new(2, 4).with_sharing(sharing);
        let signal =
            layer.report(inputs.view(), Derivatives::OfEachLoss(derivatives.view())).unwrap();
        close(&signal.gradient().to_owned(), &gradient);
        close(&second_moment(signal.input()), &a);
        close(&second_moment(signal.output()), &b);
    }
}

/// A convolution by its definition.
fn convolve(
    inputs: &Array4<f64>,
    weight: &ArrayView2<'_, f64>,
    [kernel, stride, padding, dilation]: [(usize, usize); 4],
    (height, width): (usize, usize),
) -> Array4<f64> {
    let (samples, channels, h, w) = inputs.dim();
    let bias = weight.column(channels * kernel.0 * kernel.1);
    Array4::from_shape_fn((samples, weight.nrows(), height, width), |(n, o, y, x)| {
        let mut sum = bias[o];
        for c in 0..channels {
            for i in 0..kernel.0 {
                for j in 0..kernel.1 {
                    let row = (y * stride.0 + i * dilation.0) as isize - padding.0 as isize;
                    let col = (x * stride.1 + j * dilation.1) as isize - padding.1 as isize;
                    if (0..h as isize).contains(&row) && (0..w as isize).contains(&col) {
                        let at = (c * kernel.0 + i) * kernel.1 + j;
                        sum += weight[[o, at]] * inputs[[n, c, row as usize, col as usize]];
                    }
                }
            }
        }
        sum
    })
}

#[test]
fn a_convolution_has_the_gradient_of_finite_differences() {
    for geometry in [
        [(3, 2), (1, 1), (0, 0), (1, 1)],
        [(3, 3), (2, 1), (1, 2), (1, 1)],
        [(2, 3), (1, 2), (2, 1), (2, 1)],
        [(1, 1), (3, 2), (0, 0), (1, 1)],
    ] {
        let [kernel, stride, padding, dilation] = geometry;
        let mut layer = Conv2d::new(3, 2, kernel)
            .with_stride(stride)
            .with_padding(padding)
            .with_dilation(dilation)
            .with_bias();
        let inputs: Array4<f64> = normals(11, (2, 2, 6, 7));
        let size = layer.output_size((6, 7)).unwrap();
        let weight = normals(12, layer.weight_shape());
        let outputs = convolve(&inputs, &weight.view(), geometry, size);

        // Forwards: patches times the weight.
        let by_patches = layer.patches(inputs.view()).unwrap().dot(&weight.t());
        let rows = outputs.view().permuted_axes([0, 2, 3, 1]);
        let rows = rows.as_standard_layout().into_owned();
        let rows = rows.into_shape_with_order((2 * size.0 * size.1, 3)).unwrap();
        close(&by_patches, &rows);

        // The mean over samples of Σ aᵢ oᵢ + ½ oᵢ², whose derivatives are a + o.
        let linear = normals(13, outputs.raw_dim());
        let loss = |weight: &Array2<f64>, inputs: &Array4<f64>| {
            let o = convolve(inputs, &weight.view(), geometry, size);
            ((&linear * &o).sum() + 0.5 * (&o * &o).sum()) / 2.0
        };
        let derivatives = &linear + &outputs;
        let signal =
            layer.report(inputs.view(), Derivatives::OfEachLoss(derivatives.view())).unwrap();
        let step = 1e-5;
        // A central difference of a quadratic has no error but rounding: ε of the loss, some 1e3, by the step.
        let tolerance = 1e3 * f64::EPSILON / step * 10.0;
        for at in [(0, 0), (1, weight.ncols() - 1), (2, weight.ncols() / 2)] {
            let moved = |by: f64| {
                let mut weight = weight.clone();
                weight[at] += by;
                loss(&weight, &inputs)
            };
            let difference = (moved(step) - moved(-step)) / (2.0 * step);
            let found = signal.gradient()[at];
            assert!(
                (found - difference).abs() < tolerance,
                "{geometry:?} {at:?}: {found} {difference}"
            );
        }

        // Backwards to the inputs: derivatives by patches, scattered.
        let rows = derivatives.view().permuted_axes([0, 2, 3, 1]);
        let rows = rows.as_standard_layout().into_owned();
        let rows = rows.into_shape_with_order((2 * size.0 * size.1, 3)).unwrap();
        let by_inputs = layer.scatter(rows.dot(&weight).view(), 2, (6, 7)).unwrap();
        for at in [(0, 0, 0, 0), (1, 1, 3, 4), (0, 1, 5, 6)] {
            let moved = |by: f64| {
                let mut inputs = inputs.clone();
                inputs[at] += by;
                loss(&weight, &inputs)
            };
            let difference = (moved(step) - moved(-step)) / (2.0 * step);
            let found = by_inputs[at] / 2.0;
            assert!(
                (found - difference).abs() < tolerance,
                "{geometry:?} {at:?}: {found} {difference}"
            );
        }
    }
}

/// A convolution is a linear layer on its patches, for each convention.
#[test]
fn a_convolution_is_linear_on_its_patches() {
    let inputs: Array4<f64> = normals(21, (3, 2, 5, 5));
    let derivatives: Array4<f64> = normals(22, (3, 4, 3, 3));
    for sharing in [WeightSharing::Expand, WeightSharing::Reduce] {
        let mut conv = Conv2d::new(4, 2, (3, 3)).with_bias().with_sharing(sharing);
        let patches = conv.patches(inputs.view()).unwrap();
        let patches =
            patches.slice(s![.., ..18]).to_owned().into_shape_with_order((3, 9, 18)).unwrap();
        let rows = derivatives.view().permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned();
        let rows = rows.into_shape_with_order((3, 9, 4)).unwrap();
        let mut linear = Linear::new(4, 18).with_bias().with_sharing(sharing);
        let expected = linear.report(patches.view(), Derivatives::OfEachLoss(rows.view())).unwrap();
        let found =
            conv.report(inputs.view(), Derivatives::OfEachLoss(derivatives.view())).unwrap();
        assert_eq!(found.gradient(), expected.gradient());
        assert_eq!(second_moment(found.input()), second_moment(expected.input()));
        assert_eq!(second_moment(found.output()), second_moment(expected.output()));
    }
}

/// Curvature from other derivatives leaves the gradient alone; KFAC and EKFAC step on what is reported, in f32
/// with more weights than samples.
#[test]
fn reports_are_what_kfac_takes() {
    let inputs = normals(31, (4, 3, 8, 8)).mapv(|x| x as f32);
    let derivatives = normals(32, (4, 16, 6, 6)).mapv(|x| x as f32);
    let drawn = normals(33, (4, 16, 6, 6)).mapv(|x| x as f32);
    let mut layer = Conv2d::<f32>::new(16, 3, (3, 3)).with_bias();
    let alone = {
        let mut layer = layer.clone();
        let report =
            layer.report(inputs.view(), Derivatives::OfEachLoss(derivatives.view())).unwrap();
        report.gradient().to_owned()
    };
    let shape = layer.weight_shape();
    let mut kfac = Kfac::default().build::<f32>(shape).unwrap();
    let mut ekfac = Ekfac::default().build::<f32>(shape).unwrap();
    for _ in 0..3 {
        let signal = layer
            .report_with(
                inputs.view(),
                Derivatives::OfEachLoss(derivatives.view()),
                Derivatives::OfEachLoss(drawn.view()),
            )
            .unwrap();
        assert_eq!(signal.gradient(), alone);
        for optimizer in [&mut kfac, &mut ekfac] {
            let mut weight = Array2::<f32>::zeros(shape);
            let report = optimizer.step(&mut weight.view_mut(), &signal).unwrap();
            let along = (&weight * &signal.gradient()).sum();
            assert!(report.update_norm > 0.0 && along < 0.0, "{along}");
        }
    }
}

#[test]
fn what_does_not_fit_a_layer_is_refused() {
    let text = |result: Result<Signal<'_, f64>, OptimError>| result.unwrap_err().to_string();
    let mut linear = Linear::<f64>::new(3, 4).with_bias();
    let (inputs, derivatives) = (Array2::zeros((5, 4)), Array2::zeros((5, 3)));
    let wide = Array2::zeros((5, 5));
    assert_eq!(
        text(linear.report(wide.view(), Derivatives::OfEachLoss(derivatives.view()))),
        "inputs 5 × 5 has to be N × … × 4"
    );
    let fewer = Array2::zeros((4, 3));
    assert_eq!(
        text(linear.report(inputs.view(), Derivatives::OfEachLoss(fewer.view()))),
        "derivatives 4 × 3 has to be 5 × 3"
    );
    assert_eq!(
        text(linear.report_with(
            inputs.view(),
            Derivatives::OfEachLoss(derivatives.view()),
            Derivatives::OfMeanLoss(fewer.view()),
        )),
        "derivatives for curvature 4 × 3 has to be 5 × 3"
    );
    let none = Array2::zeros((0, 4));
    let nothing = Array2::zeros((0, 3));
    assert!(
        text(linear.report(none.view(), Derivatives::OfEachLoss(nothing.view()))).contains("N × …")
    );
    let scalar = arr0(1.0);
    assert!(linear.report(scalar.view(), Derivatives::OfEachLoss(scalar.view())).is_err());

    let conv = |kernel| Conv2d::<f64>::new(2, 3, kernel);
    let inputs = Array4::zeros((1, 3, 4, 5));
    let derivatives = |shape: [usize; 4]| Array4::<f64>::zeros(shape);
    let report = |layer: Conv2d<f64>, shape: [usize; 4]| {
        let (mut layer, derivatives) = (layer, derivatives(shape));
        text(layer.report(inputs.view(), Derivatives::<f64, Ix4>::OfEachLoss(derivatives.view())))
    };
    assert_eq!(
        report(conv((5, 1)), [1, 2, 1, 1]),
        "a kernel of 5 × 1 with stride 1 × 1, padding 0 × 0 and dilation 1 × 1 does not fit inputs of 4 × 5"
    );
    for layer in [
        conv((0, 1)),
        conv((1, 1)).with_stride((0, 1)),
        conv((1, 1)).with_dilation((1, 0)),
        conv((3, 3)).with_dilation((usize::MAX, 1)),
        conv((1, 1)).with_padding((usize::MAX, 0)),
    ] {
        assert!(report(layer, [1, 2, 1, 1]).contains("does not fit"));
    }
    for layer in [
        conv((1, 1)).with_padding((1 << 40, 1 << 40)),
        conv((1, 1)).with_padding((1 << 25, 1 << 25)),
    ] {
        let error = report(layer.clone(), [1, 2, 1, 1]);
        assert!(error.contains("larger than") || error.contains("no memory"), "{error}");
        let patches = array![[0.0]];
        assert!(layer.scatter(patches.view(), usize::MAX, (4, 5)).is_err());
    }
    let huge = Conv2d::<f64>::new(2, 1 << 40, (1 << 40, 1)).with_bias();
    assert_eq!(huge.weight_shape(), (2, usize::MAX));
    assert_eq!(
        report(conv((2, 2)), [1, 2, 4, 4]),
        "derivatives 1 × 2 × 4 × 4 has to be 1 × 2 × 3 × 4"
    );
    let mut other = Conv2d::<f64>::new(2, 1, (1, 1));
    assert_eq!(
        other.patches(inputs.view()).unwrap_err().to_string(),
        "inputs 1 × 3 × 4 × 5 has to be N × 1 × H × W"
    );
    let patches = array![[0.0]];
    assert!(conv((1, 1)).scatter(patches.view(), 1, (4, 5)).is_err());

    // A NaN is found where it enters an optimizer.
    let mut layer = Linear::<f64>::new(1, 2);
    let (inputs, derivatives) = (array![[1.0, f64::NAN]], array![[1.0]]);
    let signal = layer.report(inputs.view(), Derivatives::OfEachLoss(derivatives.view())).unwrap();
    let mut weight = array![[0.5, 0.5]];
    let mut kfac = Kfac::default().build(weight.dim()).unwrap();
    let error = kfac.step(&mut weight.view_mut(), &signal).unwrap_err();
    assert!(matches!(error, OptimError::NonFinite { .. }), "{error}");
    assert_eq!(weight, array![[0.5, 0.5]]);
}
