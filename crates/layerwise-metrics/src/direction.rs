//! Alignment of two directions.

use ndarray::ArrayView1;

use crate::{MetricsError, Result};

/// Alignment `|⟨u, v⟩| / (‖u‖ ‖v‖)`, in `[0, 1]`: the cosine of the angle between two lines.
///
/// Both vectors have the same length; their scales and signs do not matter.
///
/// # Errors
/// [`MetricsError::Shape`] for different lengths, [`MetricsError::ZeroVector`],
/// [`MetricsError::NonFinite`].
pub fn alignment(u: ArrayView1<f64>, v: ArrayView1<f64>) -> Result<f64> {
    if u.len() != v.len() {
        return Err(MetricsError::Shape {
            what: "second vector",
            expected: (u.len(), 1),
            found: (v.len(), 1),
        });
    }
    let (scale_u, scale_v) = (largest(u, "first vector")?, largest(v, "second vector")?);
    // Scaled first, so that neither the squares overflow nor they vanish.
    let (mut uv, mut uu, mut vv) = (0.0, 0.0, 0.0);
    for (&a, &b) in u.iter().zip(v) {
        let (a, b) = (a / scale_u, b / scale_v);
        uv += a * b;
        uu += a * a;
        vv += b * b;
    }
    Ok((uv.abs() / (uu.sqrt() * vv.sqrt())).min(1.0))
}

fn largest(v: ArrayView1<f64>, what: &'static str) -> Result<f64> {
    let mut largest = 0.0_f64;
    for &x in v {
        if !x.is_finite() {
            return Err(MetricsError::NonFinite { what, value: x });
        }
        largest = largest.max(x.abs());
    }
    if largest == 0.0 { Err(MetricsError::ZeroVector { what }) } else { Ok(largest) }
}
