//! Convolutions of two dimensions.

use layerwise_linalg::Scalar;
use ndarray::{Array4, ArrayView2, ArrayView4, ArrayViewMut2, Ix4};

use crate::error::{OptimError, Result};
use crate::layers::samples::{Samples, refuse};
use crate::layers::{Derivatives, WeightSharing};
use crate::numeric::finite::check_size;
use crate::signal::Signal;

/// A convolution of C × H × W inputs with a kernel O × C × h × w; its weight is O × (C·h·w), the kernel row by
/// row, and one column more for a bias.
#[derive(Clone, Debug)]
pub struct Conv2d<A> {
    outputs: usize,
    geometry: Geometry,
    has_bias: bool,
    sharing: WeightSharing,
    samples: Samples<A>,
}

/// Which inputs a patch takes.
#[derive(Clone, Copy, Debug)]
struct Geometry {
    channels: usize,
    kernel: (usize, usize),
    stride: (usize, usize),
    padding: (usize, usize),
    dilation: (usize, usize),
}

impl<A: Scalar> Conv2d<A> {
    /// A convolution with this many output and input channels and a kernel of this height and width; stride and
    /// dilation 1, no padding, no bias.
    #[must_use]
    pub fn new(outputs: usize, channels: usize, kernel: (usize, usize)) -> Self {
        let geometry =
            Geometry { channels, kernel, stride: (1, 1), padding: (0, 0), dilation: (1, 1) };
        Conv2d {
            outputs,
            geometry,
            has_bias: false,
            sharing: WeightSharing::default(),
            samples: Samples::new((outputs, geometry.patch())),
        }
    }

    /// The same with a step between places, ≥ 1.
    #[must_use]
    pub fn with_stride(self, stride: (usize, usize)) -> Self {
        Conv2d { geometry: Geometry { stride, ..self.geometry }, ..self }
    }

    /// The same with rows and columns of zeros around the inputs.
    #[must_use]
    pub fn with_padding(self, padding: (usize, usize)) -> Self {
        Conv2d { geometry: Geometry { padding, ..self.geometry }, ..self }
    }

    /// The same with a step between the kernel's entries, ≥ 1.
    #[must_use]
    pub fn with_dilation(self, dilation: (usize, usize)) -> Self {
        Conv2d { geometry: Geometry { dilation, ..self.geometry }, ..self }
    }

    /// The same with a bias.
    #[must_use]
    pub fn with_bias(self) -> Self {
        let samples = Samples::new((self.outputs, self.geometry.patch().saturating_add(1)));
        Conv2d { has_bias: true, samples, ..self }
    }

    /// The same with another rule for the places of a sample.
    #[must_use]
    pub fn with_sharing(self, sharing: WeightSharing) -> Self {
        Conv2d { sharing, ..self }
    }

    /// The shape of the weight.
    #[must_use]
    pub fn weight_shape(&self) -> (usize, usize) {
        (self.outputs, self.geometry.patch().saturating_add(usize::from(self.has_bias)))
    }

    /// Height and width of the outputs for inputs of this height and width.
    ///
    /// # Errors
    ///
    /// [`Geometry`](OptimError::Geometry) for a kernel that does not fit, and a stride, dilation or kernel
    /// of 0.
    pub fn output_size(&self, size: (usize, usize)) -> Result<(usize, usize)> {
        self.geometry.output_size(size)
    }

    /// The patches that the weight multiplies, (N·H′·W′) × (C·h·w), or one column more, which is 1, with a
    /// bias; the outputs are their products with the weight's transpose.
    ///
    /// # Errors
    ///
    /// Inputs with other channels, without a sample, or too small.
    pub fn patches(&mut self, inputs: ArrayView4<'_, A>) -> Result<ArrayView2<'_, A>> {
        self.write_patches(inputs)?;
        Ok(self.samples.patches())
    }

    /// Writes the patches; returns the size of the outputs.
    fn write_patches(&mut self, inputs: ArrayView4<'_, A>) -> Result<(usize, usize)> {
        let (samples, channels, height, width) = inputs.dim();
        if channels != self.geometry.channels || samples == 0 {
            let expected = format!("N × {} × H × W", self.geometry.channels);
            return refuse("inputs", expected, inputs.shape());
        }
        let size = (height, width);
        let outputs = self.output_size(size)?;
        let places = rows(1, outputs)?;
        let mut patches = self.samples.inputs(rows(samples, outputs)?)?;
        patches.fill(A::zero());
        if self.has_bias {
            patches.column_mut(self.geometry.patch()).fill(A::one());
        }
        for (sample, input) in inputs.outer_iter().enumerate() {
            self.geometry.for_each_entry(size, outputs, |(place, column), at| {
                patches[[sample * places + place, column]] = input[at];
            });
        }
        Ok(outputs)
    }

    /// The transpose of [`patches`](Self::patches): derivatives by the inputs (N × C × H × W), from those
    /// by the patches.
    ///
    /// # Errors
    ///
    /// Derivatives of another shape than the patches of this many inputs of this size.
    pub fn scatter(
        &self,
        patches: ArrayView2<'_, A>,
        samples: usize,
        size: (usize, usize),
    ) -> Result<Array4<A>> {
        let outputs = self.output_size(size)?;
        let places = rows(1, outputs)?;
        let expected = (rows(samples, outputs)?, self.weight_shape().1);
        if patches.dim() != expected {
            let expected = format!("{} × {}", expected.0, expected.1);
            return refuse("derivatives by patches", expected, patches.shape());
        }
        let channels = self.geometry.channels;
        check_size::<A>("derivatives by inputs", (rows(samples, size)?, channels))?;
        let mut derivatives = Array4::zeros((samples, channels, size.0, size.1));
        for (sample, mut input) in derivatives.outer_iter_mut().enumerate() {
            self.geometry.for_each_entry(size, outputs, |(place, column), at| {
                input[at] += patches[[sample * places + place, column]];
            });
        }
        Ok(derivatives)
    }

    /// As [`Linear::report`](crate::layers::Linear::report).
    ///
    /// # Errors
    ///
    /// As [`report_with`](Self::report_with).
    pub fn report(
        &mut self,
        inputs: ArrayView4<'_, A>,
        derivatives: Derivatives<'_, A, Ix4>,
    ) -> Result<Signal<'_, A>> {
        self.signal(inputs, derivatives, None)
    }

    /// As [`Linear::report_with`](crate::layers::Linear::report_with), of inputs N × C × H × W and derivatives
    /// N × O × H′ × W′.
    ///
    /// # Errors
    ///
    /// [`Geometry`](OptimError::Geometry) for a kernel that does not fit,
    /// [`LayerShape`](OptimError::LayerShape) for other channels, and derivatives that are not of the
    /// outputs' shape.
    pub fn report_with(
        &mut self,
        inputs: ArrayView4<'_, A>,
        derivatives: Derivatives<'_, A, Ix4>,
        curvature: Derivatives<'_, A, Ix4>,
    ) -> Result<Signal<'_, A>> {
        self.signal(inputs, derivatives, Some(curvature))
    }

    fn signal(
        &mut self,
        inputs: ArrayView4<'_, A>,
        derivatives: Derivatives<'_, A, Ix4>,
        curvature: Option<Derivatives<'_, A, Ix4>>,
    ) -> Result<Signal<'_, A>> {
        let samples = inputs.dim().0;
        let (height, width) = self.write_patches(inputs)?;
        let of_loss = Some(derivatives.view().shape());
        let of_curvature = curvature.as_ref().map(|curvature| curvature.view().shape());
        for (what, found) in [("derivatives", of_loss), ("derivatives for curvature", of_curvature)]
        {
            let Some(found) = found else { continue };
            if found != [samples, self.outputs, height, width] {
                let expected = format!("{samples} × {} × {height} × {width}", self.outputs);
                return refuse(what, expected, found);
            }
        }
        // Channels come second, and a row is a place.
        let write = |view: &ArrayView4<'_, A>, rows: &mut ArrayViewMut2<'_, A>| {
            let places = view.view().permuted_axes([0, 2, 3, 1]);
            for (mut row, place) in rows.rows_mut().into_iter().zip(places.rows()) {
                row.assign(&place);
            }
        };
        let counts = (samples, height * width);
        self.samples.signal(counts, self.sharing, &derivatives, curvature.as_ref(), write)
    }
}

/// Places of so many samples.
fn rows(samples: usize, (height, width): (usize, usize)) -> Result<usize> {
    let places = height.checked_mul(width).and_then(|places| places.checked_mul(samples));
    let what = "places of a convolution";
    places.ok_or(OptimError::TooLarge { what, rows: height, cols: width })
}

impl Geometry {
    /// Entries of a patch without the bias. (One that cannot be counted is refused when patches are made.)
    fn patch(self) -> usize {
        self.channels.saturating_mul(self.kernel.0).saturating_mul(self.kernel.1)
    }

    fn output_size(self, size: (usize, usize)) -> Result<(usize, usize)> {
        let along = |size: usize, kernel: usize, stride: usize, padding: usize, dilation: usize| {
            let reach = kernel.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?;
            let room = padding.checked_mul(2)?.checked_add(size)?.checked_sub(reach)?;
            (dilation > 0).then_some(room.checked_div(stride)? + 1)
        };
        let Geometry { kernel, stride, padding, dilation, .. } = self;
        let height = along(size.0, kernel.0, stride.0, padding.0, dilation.0);
        let width = along(size.1, kernel.1, stride.1, padding.1, dilation.1);
        height.zip(width).ok_or(OptimError::Geometry { kernel, stride, padding, dilation, size })
    }

    /// Calls back with each (place of a patch's entry, place in the inputs), for one sample.
    fn for_each_entry(
        self,
        size: (usize, usize),
        outputs: (usize, usize),
        mut entry: impl FnMut((usize, usize), (usize, usize, usize)),
    ) {
        let Geometry { channels, kernel, stride, padding, dilation } = self;
        for y in 0..outputs.0 {
            for x in 0..outputs.1 {
                let place = y * outputs.1 + x;
                let mut column = 0;
                for channel in 0..channels {
                    for i in 0..kernel.0 {
                        // Above the inputs it wraps beyond them.
                        let row = (y * stride.0 + i * dilation.0).wrapping_sub(padding.0);
                        for j in 0..kernel.1 {
                            let col = (x * stride.1 + j * dilation.1).wrapping_sub(padding.1);
                            if row < size.0 && col < size.1 {
                                entry((place, column), (channel, row, col));
                            }
                            column += 1;
                        }
                    }
                }
            }
        }
    }
}
