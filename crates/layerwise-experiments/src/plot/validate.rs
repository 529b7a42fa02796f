//! What a picture must satisfy before anything is drawn.

use super::ticks::drawable;
use super::{Axis, Mark, Picture, PlotError, Scale};

/// Checks lengths, ranges and maps.
pub(super) fn validate(picture: &Picture) -> Result<(), PlotError> {
    if picture.panels.is_empty() {
        return Err(PlotError::NoPanels);
    }
    if picture.columns == 0 {
        return Err(PlotError::NoColumns);
    }
    if let Some(bar) = &picture.colour_bar {
        range(bar.range, bar.scale, || "colour bar".to_owned())?;
    }
    for (index, panel) in picture.panels.iter().enumerate() {
        range(panel.x.range, panel.x.scale, || format!("panel {index}, x axis"))?;
        range(panel.y.range, panel.y.scale, || format!("panel {index}, y axis"))?;
        for (number, mark) in panel.marks.iter().enumerate() {
            let length = |what, expected, found| {
                if expected == found {
                    Ok(())
                } else {
                    Err(PlotError::Length { panel: index, mark: number, what, expected, found })
                }
            };
            match mark {
                Mark::Line { x, y, band, .. } => {
                    length("y", x.len(), y.len())?;
                    if let Some((low, high)) = band {
                        length("the band's lower edge", x.len(), low.len())?;
                        length("the band's upper edge", x.len(), high.len())?;
                    }
                }
                Mark::Points { x, y, error, .. } => {
                    length("y", x.len(), y.len())?;
                    if let Some(error) = error {
                        length("error", x.len(), error.len())?;
                    }
                }
                Mark::Rule { .. } => {}
                Mark::Map { x, y, cells } => {
                    length("cells", y.len(), cells.len())?;
                    for row in cells {
                        length("a row of cells", x.len(), row.len())?;
                    }
                    for (what, values, axis) in [("x", x, &panel.x), ("y", y, &panel.y)] {
                        if let Some((at, value)) = bad_centre(values, axis) {
                            return Err(PlotError::Centres {
                                panel: index,
                                mark: number,
                                what,
                                index: at,
                                value,
                            });
                        }
                    }
                    if picture.colour_bar.is_none() {
                        return Err(PlotError::NoColourBar { panel: index });
                    }
                }
            }
        }
    }
    Ok(())
}

fn range(
    range: Option<(f64, f64)>,
    scale: Scale,
    what: impl Fn() -> String,
) -> Result<(), PlotError> {
    match range {
        Some((low, high)) if !(drawable(scale, low) && drawable(scale, high) && low < high) => {
            Err(PlotError::Range { what: what(), low, high })
        }
        _ => Ok(()),
    }
}

/// The first centre that cannot be drawn or is not larger than the one before.
fn bad_centre(values: &[f64], axis: &Axis) -> Option<(usize, f64)> {
    let mut before = f64::NEG_INFINITY;
    for (index, &value) in values.iter().enumerate() {
        if !drawable(axis.scale, value) || value <= before {
            return Some((index, value));
        }
        before = value;
    }
    None
}
