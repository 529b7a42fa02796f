//! Geometry on the page: clipping at a frame, and fewer points for the same curve.

use super::canvas::Place;

/// A rectangle on the page.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Frame {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

impl Frame {
    pub(super) fn width(&self) -> f64 {
        self.right - self.left
    }

    pub(super) fn height(&self) -> f64 {
        self.bottom - self.top
    }

    pub(super) fn contains(&self, (x, y): Place) -> bool {
        (self.left..=self.right).contains(&x) && (self.top..=self.bottom).contains(&y)
    }

    /// The part of a segment inside the frame, as shares of its length (Liang and Barsky 1984).
    fn inside(&self, a: Place, b: Place) -> Option<(f64, f64)> {
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let (mut enter, mut leave) = (0.0_f64, 1.0_f64);
        for (direction, room) in [
            (-dx, a.0 - self.left),
            (dx, self.right - a.0),
            (-dy, a.1 - self.top),
            (dy, self.bottom - a.1),
        ] {
            if direction == 0.0 {
                if room < 0.0 {
                    return None;
                }
            } else if direction < 0.0 {
                enter = enter.max(room / direction);
            } else {
                leave = leave.min(room / direction);
            }
        }
        (enter <= leave).then_some((enter, leave))
    }

    /// The pieces of a polyline inside the frame.
    pub(super) fn clip_polyline(&self, points: &[Place]) -> Vec<Vec<Place>> {
        let mut pieces: Vec<Vec<Place>> = Vec::new();
        let mut joined = false;
        for (&a, &b) in points.iter().zip(points.iter().skip(1)) {
            let Some((enter, leave)) = self.inside(a, b) else {
                joined = false;
                continue;
            };
            let at = |t: f64| (a.0 + t * (b.0 - a.0), a.1 + t * (b.1 - a.1));
            let end = if leave < 1.0 { at(leave) } else { b };
            match pieces.last_mut() {
                Some(piece) if joined => piece.push(end),
                _ => pieces.push(vec![if enter > 0.0 { at(enter) } else { a }, end]),
            }
            joined = leave >= 1.0;
        }
        pieces
    }

    /// A polygon's part inside the frame (Sutherland and Hodgman 1974).
    pub(super) fn clip_polygon(&self, points: &[Place]) -> Vec<Place> {
        let depth: [&dyn Fn(Place) -> f64; 4] =
            [&|p| p.0 - self.left, &|p| self.right - p.0, &|p| p.1 - self.top, &|p| {
                self.bottom - p.1
            }];
        depth.iter().fold(points.to_vec(), |polygon, depth| {
            let mut kept = Vec::with_capacity(polygon.len() + 4);
            for (&b, &a) in
                polygon.iter().zip(polygon.iter().cycle().skip(polygon.len().max(1) - 1))
            {
                let (da, db) = (depth(a), depth(b));
                if (da >= 0.0) != (db >= 0.0) {
                    let t = da / (da - db);
                    kept.push((a.0 + t * (b.0 - a.0), a.1 + t * (b.1 - a.1)));
                }
                if db >= 0.0 {
                    kept.push(b);
                }
            }
            kept
        })
    }
}

/// The same polyline with fewer points, nowhere further off than `tolerance` (Douglas and
/// Peucker 1973).
pub(super) fn simplify(points: &[Place], tolerance: f64) -> Vec<Place> {
    let Some(end) = points.len().checked_sub(1) else {
        return Vec::new();
    };
    let mut keep = vec![false; points.len()];
    (keep[0], keep[end]) = (true, true);
    let mut open = vec![(0, end)];
    while let Some((first, last)) = open.pop() {
        let (a, b) = (points[first], points[last]);
        let farthest = (first + 1..last)
            .map(|i| (i, distance_to_segment(points[i], a, b)))
            .max_by(|p, q| p.1.total_cmp(&q.1));
        if let Some((i, distance)) = farthest
            && distance > tolerance
        {
            keep[i] = true;
            open.push((first, i));
            open.push((i, last));
        }
    }
    points.iter().zip(&keep).filter_map(|(&p, &k)| k.then_some(p)).collect()
}

/// Distance of a point from a segment.
pub(super) fn distance_to_segment(p: Place, a: Place, b: Place) -> f64 {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let square = dx * dx + dy * dy;
    let t = if square > 0.0 {
        (((p.0 - a.0) * dx + (p.1 - a.1) * dy) / square).clamp(0.0, 1.0)
    } else {
        0.0
    };
    (p.0 - a.0 - t * dx).hypot(p.1 - a.1 - t * dy)
}
