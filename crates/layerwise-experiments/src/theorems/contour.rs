//! Lines of equal value on a grid, by marching squares.

use std::collections::BTreeMap;

/// A side of a grid cell: from grid point (i, j) to its neighbour on the right or above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Right(usize, usize),
    Above(usize, usize),
}

/// The lines on which the piecewise linear interpolation of `value[j][i]` is `level`, in units of
/// the grid: point (i, j) has coordinates (i, j). A closed line ends where it began.
#[must_use]
pub(crate) fn lines(value: &[Vec<f64>], level: f64) -> Vec<Vec<(f64, f64)>> {
    // Each side that the level crosses belongs to one cell or two, and in each it has one partner.
    let mut partners: BTreeMap<Side, Vec<Side>> = BTreeMap::new();
    for (j, rows) in value.windows(2).enumerate() {
        for i in 1..rows[0].len().min(rows[1].len()) {
            let i = i - 1;
            let above = |di: usize, dj: usize| rows[dj][i + di] >= level;
            // Around the cell: below, right, top, left.
            let sides = [
                (Side::Right(i, j), above(0, 0) != above(1, 0)),
                (Side::Above(i + 1, j), above(1, 0) != above(1, 1)),
                (Side::Right(i, j + 1), above(0, 1) != above(1, 1)),
                (Side::Above(i, j), above(0, 0) != above(0, 1)),
            ];
            let crossed: Vec<Side> =
                sides.into_iter().filter(|(_, crossed)| *crossed).map(|(side, _)| side).collect();
            // Two sides, or on a saddle all four: there neighbours belong together.
            for pair in crossed.chunks_exact(2) {
                partners.entry(pair[0]).or_default().push(pair[1]);
                partners.entry(pair[1]).or_default().push(pair[0]);
            }
        }
    }
    let mut lines = Vec::new();
    // Open lines first, from one end; then closed ones.
    for ends_only in [true, false] {
        while let Some(start) = partners
            .iter()
            .find(|(_, partners)| !ends_only || partners.len() == 1)
            .map(|(&side, _)| side)
        {
            let mut line = vec![point(value, start, level)];
            let mut side = start;
            while let Some(next) = step(&mut partners, side) {
                line.push(point(value, next, level));
                side = next;
            }
            lines.push(line);
        }
    }
    lines
}

/// Follows a connection away from `side`, and forgets it.
fn step(partners: &mut BTreeMap<Side, Vec<Side>>, side: Side) -> Option<Side> {
    let next = partners.get_mut(&side)?.pop()?;
    for (end, other) in [(side, None), (next, Some(side))] {
        if let Some(list) = partners.get_mut(&end) {
            if let Some(place) = list.iter().position(|&partner| Some(partner) == other) {
                list.swap_remove(place);
            }
            if list.is_empty() {
                partners.remove(&end);
            }
        }
    }
    Some(next)
}

/// Where the level lies on a side that it crosses.
fn point(value: &[Vec<f64>], side: Side, level: f64) -> (f64, f64) {
    let share = |from: f64, to: f64| (level - from) / (to - from);
    match side {
        Side::Right(i, j) => (i as f64 + share(value[j][i], value[j][i + 1]), j as f64),
        Side::Above(i, j) => (i as f64, j as f64 + share(value[j][i], value[j + 1][i])),
    }
}

#[cfg(test)]
mod tests {
    use super::lines;

    fn grid(f: impl Fn(f64, f64) -> f64) -> Vec<Vec<f64>> {
        (0..21).map(|j| (0..31).map(|i| f(f64::from(i), f64::from(j))).collect()).collect()
    }

    #[test]
    fn a_plane_has_straight_lines() {
        let found = lines(&grid(|x, y| x + 2.0 * y), 20.5);
        assert_eq!(found.len(), 1);
        assert!(found[0].iter().all(|(x, y)| (x + 2.0 * y - 20.5).abs() < 1e-12));
        // From one edge of the grid to the other.
        let ends = [found[0][0], found[0][found[0].len() - 1]];
        assert!(ends.contains(&(20.5, 0.0)) && ends.contains(&(0.0, 10.25)), "{ends:?}");
    }

    #[test]
    fn a_hill_has_closed_lines() {
        let found = lines(&grid(|x, y| -(x - 15.0).hypot(y - 10.0)), -6.3);
        assert_eq!(found.len(), 1);
        let line = &found[0];
        assert_eq!(line[0], line[line.len() - 1]);
        assert!(line.len() > 30);
        // Linear interpolation of a cone of radius 6.3: off by at most h²/(8 r).
        assert!(line.iter().all(|(x, y)| ((x - 15.0).hypot(y - 10.0) - 6.3).abs() < 0.02));
    }

    #[test]
    fn two_hills_have_two_lines_and_a_flat_grid_none() {
        let hill = |x: f64, y: f64, at: f64| -(x - at).hypot(y - 10.0);
        let found = lines(&grid(|x, y| hill(x, y, 7.0).max(hill(x, y, 22.0))), -4.0);
        assert_eq!(found.len(), 2);
        assert!(lines(&grid(|_, _| 1.0), 0.5).is_empty());
        // A saddle: two lines that do not cross.
        assert_eq!(lines(&grid(|x, y| (x - 15.2) * (y - 10.3)), 0.01).len(), 2);
    }
}
