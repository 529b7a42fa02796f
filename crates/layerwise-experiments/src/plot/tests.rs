//! What pictures promise.

use super::canvas::{Canvas, Item};
use super::clip::{Frame, simplify};
use super::marks::MARKER;
use super::ticks::{data_range, power_of_ten, ticks};
use super::*;
use proptest::prelude::*;

fn axis(label: &str, scale: Scale) -> Axis {
    Axis { label: label.to_owned(), scale, range: None }
}

fn panel(marks: Vec<Mark>) -> Panel {
    Panel {
        title: String::new(),
        x: axis("x", Scale::Linear),
        y: axis("y", Scale::Linear),
        marks,
        note: None,
    }
}

fn picture(panels: Vec<Panel>) -> Picture {
    Picture { title: String::new(), panels, columns: 2, legend: Vec::new(), colour_bar: None }
}

fn curve(y: &[f64]) -> Mark {
    let x = (0..y.len()).map(|i| i as f64).collect();
    Mark::Line { x, y: y.to_vec(), band: None, style: LineStyle::plain(RED) }
}

const RED: Colour = Colour(250, 1, 2);

fn canvas(picture: &Picture) -> Canvas {
    validate::validate(picture).unwrap();
    layout::draw(picture)
}

/// The polylines in red.
fn red_lines(canvas: &Canvas) -> Vec<&Vec<canvas::Place>> {
    let red = |item: &'_ Item| matches!(item, Item::Polyline { colour, .. } if *colour == RED);
    let lines = canvas.items.iter().filter(|item| red(item));
    lines
        .filter_map(|i| if let Item::Polyline { points, .. } = i { Some(points) } else { None })
        .collect()
}

fn bar() -> ColourBar {
    ColourBar {
        label: "steps".to_owned(),
        scale: Scale::Log10,
        range: None,
        diverged: "diverged".to_owned(),
        not_reached: "not reached".to_owned(),
    }
}

fn labels(scale: Scale, range: (f64, f64), most: usize) -> Vec<String> {
    ticks(scale, range, most).major.into_iter().map(|(_, text)| text).collect()
}

#[test]
fn logarithmic_ticks_are_powers_of_ten() {
    let found = ticks(Scale::Log10, (1e-3, 20.0), 7);
    let (values, texts): (Vec<f64>, Vec<String>) = found.major.into_iter().unzip();
    assert_eq!(values, [1e-3, 1e-2, 1e-1, 1.0, 10.0]);
    assert_eq!(texts, ["10⁻³", "10⁻²", "10⁻¹", "10⁰", "10¹"]);
    // Eight between each two powers, and 20.
    assert_eq!(found.minor.len(), 4 * 8 + 1);
    assert_eq!(labels(Scale::Log10, (1e-12, 1.0), 5), ["10⁻¹²", "10⁻⁹", "10⁻⁶", "10⁻³", "10⁰"]);
    assert_eq!(power_of_ten(-1234567890), "10⁻¹²³⁴⁵⁶⁷⁸⁹⁰");
}

#[test]
fn narrow_logarithmic_ranges_have_numbers_too() {
    assert_eq!(labels(Scale::Log10, (0.15, 0.9), 6), ["0.2", "0.5"]);
    assert_eq!(labels(Scale::Log10, (0.29, 0.47), 6), ["0.3", "0.4"]);
    assert_eq!(labels(Scale::Log10, (1.5e-6, 7e-6), 6), ["2×10⁻⁶", "5×10⁻⁶"]);
    assert_eq!(labels(Scale::Log10, (0.31, 0.37), 4), ["0.32", "0.34", "0.36"]);
}

#[test]
fn linear_ticks_are_round_and_carry_no_more_digits_than_they_need() {
    assert_eq!(labels(Scale::Linear, (0.0, 1.0), 6), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
    assert_eq!(labels(Scale::Linear, (-0.011, 0.012), 3), ["−0.01", "0.00", "0.01"]);
    assert_eq!(labels(Scale::Linear, (0.0, 1000.0), 2), ["0", "500", "1000"]);
    assert_eq!(labels(Scale::Linear, (0.0, 4e5), 2), ["0", "2×10⁵", "4×10⁵"]);
}

#[test]
fn ranges_hold_the_drawable_values_only() {
    let values = [f64::NAN, f64::INFINITY, -5.0, 0.0, 1.0, 100.0, 1e301];
    let (low, high) = data_range(Scale::Log10, values.into_iter(), 0.0);
    // Two roundings of a logarithm of at most 2.
    assert!((low - 1.0).abs() < 1e-14 && (high - 100.0).abs() < 1e-12, "{low} {high}");
    assert_eq!(data_range(Scale::Linear, values.into_iter(), 0.0), (-5.0, 100.0));
    assert_eq!(data_range(Scale::Linear, std::iter::empty(), 0.0), (0.0, 1.0));
}

#[test]
fn values_that_cannot_be_drawn_break_the_line() {
    let gaps = picture(vec![panel(vec![curve(&[1.0, 3.0, f64::NAN, 2.0, 5.0, f64::INFINITY])])]);
    assert_eq!(red_lines(&canvas(&gaps)).len(), 2);
    let mut log = panel(vec![curve(&[1.0, 3.0, 0.0, 2.0, 5.0, -1.0, 3.0, 4.0])]);
    log.y.scale = Scale::Log10;
    assert_eq!(red_lines(&canvas(&picture(vec![log]))).len(), 3);
}

#[test]
fn a_value_between_gaps_is_a_dot() {
    let alone = picture(vec![panel(vec![curve(&[f64::NAN, 3.0, f64::NAN])])]);
    let dots = |i: &&Item| matches!(i, Item::Circle { fill, .. } if *fill == RED);
    assert_eq!(canvas(&alone).items.iter().filter(dots).count(), 1);
}

#[test]
fn nothing_is_drawn_outside_a_fixed_range() {
    let mut clipped = panel(vec![
        curve(&[-7.0, 0.2, 0.8, 9.0, 0.5, f64::NAN, 11.0]),
        Mark::Rule { y: 3.0, colour: RED, stroke: Stroke::Solid },
        Mark::Points {
            x: vec![1.0, 2.0],
            y: vec![4.0, 0.5],
            error: Some(vec![0.1, 100.0]),
            colour: RED,
            shape: Shape::Square,
        },
    ]);
    clipped.y.range = Some((0.0, 1.0));
    let page = canvas(&picture(vec![clipped]));
    // The grid runs from edge to edge of the frame.
    let grid = page.items.iter().find_map(|item| match item {
        Item::Polyline { points, .. } if points[0].0 == points[1].0 => Some(points.clone()),
        _ => None,
    });
    let grid = grid.unwrap();
    let lines = red_lines(&page);
    // Two pieces of the curve, and one error bar without caps.
    assert_eq!(lines.len(), 3);
    for &(_, y) in lines.into_iter().flatten() {
        assert!(y >= grid[0].1 - 1e-9 && y <= grid[1].1 + 1e-9, "{y} is not within {grid:?}");
    }
}

#[test]
fn clipping_a_polygon_keeps_its_area_inside() {
    let frame = Frame { left: 0.0, top: 0.0, right: 10.0, bottom: 10.0 };
    let diamond = [(5.0, -5.0), (15.0, 5.0), (5.0, 15.0), (-5.0, 5.0)];
    let clipped = frame.clip_polygon(&diamond);
    let next = clipped.iter().cycle().skip(1);
    let twice: f64 = clipped.iter().zip(next).map(|(a, b)| a.0 * b.1 - a.1 * b.0).sum();
    // The diamond's edges pass through the frame's corners: what is left is the frame.
    assert_eq!(twice.abs() / 2.0, 100.0);
    assert!(frame.clip_polygon(&[(20.0, 20.0), (30.0, 20.0), (30.0, 30.0)]).is_empty());
    assert!(frame.clip_polygon(&[]).is_empty());
}

#[test]
fn the_same_picture_gives_the_same_bytes() {
    let y: Vec<f64> = (0..150).map(|i| f64::from(i).sin()).collect();
    let low = y.iter().map(|v| v - 0.1).collect();
    let high = y.iter().map(|v| v + 0.1).collect();
    let x = (0..150).map(f64::from).collect();
    let style = method_style("KFAC").with_stroke(Stroke::Dashed);
    let line = Mark::Line { x, y, band: Some((low, high)), style };
    let twice = picture(vec![panel(vec![line]), panel(Vec::new())]);
    let first = render(&twice).unwrap();
    assert_eq!(first, render(&twice).unwrap());
    assert_eq!(first.png[..8], *b"\x89PNG\r\n\x1a\n");
    assert!(first.svg.starts_with("<svg ") && first.svg.ends_with("</svg>\n"));
}

#[test]
fn an_empty_panel_shows_its_note() {
    let mut empty = panel(vec![curve(&[f64::NAN; 4]), curve(&[])]);
    empty.note = Some("all runs diverged".to_owned());
    empty.y.scale = Scale::Log10;
    let svg = render(&picture(vec![empty])).unwrap().svg;
    assert!(svg.contains(">all runs diverged</text>"), "{svg}");
}

#[test]
fn every_text_is_in_the_svg_and_escaped() {
    let mut first = panel(vec![Mark::Map {
        x: vec![1.0, 2.0],
        y: vec![1.0],
        cells: vec![vec![Cell::Value(4.0), Cell::Diverged]],
    }]);
    first.title = "loss < 1 & \"finite\"".to_owned();
    first.x.label = "ridge λ".to_owned();
    first.y.label = "rate η > 0".to_owned();
    first.note = Some("a note".to_owned());
    let mut all = picture(vec![first, panel(Vec::new())]);
    all.title = "Figure & title".to_owned();
    all.colour_bar = Some(bar());
    all.legend = vec![
        LegendEntry::Line { label: "A < B".to_owned(), style: method_style("SGD") },
        LegendEntry::Points {
            label: "simulation".to_owned(),
            colour: RED,
            shape: Shape::Plus,
            error: true,
        },
        LegendEntry::Band { label: "quartiles\u{1}".to_owned(), colour: RED },
    ];
    let svg = render(&all).unwrap().svg;
    for text in [
        ">loss &lt; 1 &amp; &quot;finite&quot;</text>",
        ">ridge λ</text>",
        ">rate η &gt; 0</text>",
        ">a note</text>",
        ">Figure &amp; title</text>",
        ">(a)</text>",
        ">(b)</text>",
        ">steps</text>",
        ">diverged</text>",
        ">not reached</text>",
        ">A &lt; B</text>",
        ">simulation</text>",
        ">quartiles </text>",
    ] {
        assert!(svg.contains(text), "{text} is not in {svg}");
    }
}

#[test]
fn a_long_title_is_broken_and_whole_in_the_description() {
    let mut long = panel(Vec::new());
    long.title = "one two three four five six ".repeat(8).trim_end().to_owned();
    let svg = render(&picture(vec![long.clone()])).unwrap().svg;
    assert!(!svg.contains(&format!(">{}</text>", long.title)));
    assert!(svg.contains(&long.title));
}

#[test]
fn methods_look_different_and_the_same_everywhere() {
    let nine = [
        "SGD",
        "Momentum",
        "Adam",
        "AMGD",
        "NGD (Gauss-Newton)",
        "Shampoo",
        "SOAP",
        "Muon",
        "KFAC",
    ];
    let styles = nine.map(method_style);
    for (i, a) in styles.iter().enumerate() {
        assert_ne!(a.colour, Colour::GREY, "{} is not known", nine[i]);
        for b in &styles[..i] {
            assert_ne!(a.colour, b.colour);
            assert_ne!(a.marker, b.marker);
        }
        assert_eq!(a.strong, nine[i] == "KFAC");
    }
    for name in ["AMGD+BN", "NGD (empirical Fisher)"] {
        assert!(styles.iter().all(|s| s.colour != method_style(name).colour));
    }
    assert_ne!(method_style("AMGD+BN").colour, method_style("NGD (empirical Fisher)").colour);
    assert_eq!(method_style("ngd_gauss_newton"), method_style("NGD (Gauss-Newton)"));
    assert_eq!(method_style("unheard of"), LineStyle::plain(Colour::GREY));
}

#[test]
fn faults_are_named() {
    let text = |p: &Picture| render(p).unwrap_err().to_string();
    assert_eq!(render(&picture(Vec::new())), Err(PlotError::NoPanels));
    let mut none = picture(vec![panel(Vec::new())]);
    none.columns = 0;
    assert_eq!(text(&none), "a picture needs at least one column of panels");
    let short = Mark::Line {
        x: vec![1.0, 2.0],
        y: vec![1.0, 2.0],
        band: Some((vec![1.0, 2.0], vec![1.0])),
        style: LineStyle::plain(RED),
    };
    assert_eq!(
        text(&picture(vec![panel(Vec::new()), panel(vec![short])])),
        "panel 1, mark 0: the band's upper edge has 1 entries, expected 2"
    );
    for range in [(1.0, 1.0), (2.0, 1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
        let mut bad = panel(Vec::new());
        bad.x.range = Some(range);
        let error = render(&picture(vec![bad])).unwrap_err();
        assert!(matches!(error, PlotError::Range { .. }), "{error:?}");
    }
    let mut log = panel(Vec::new());
    log.y = Axis { range: Some((0.0, 1.0)), ..axis("y", Scale::Log10) };
    assert_eq!(text(&picture(vec![log])), "panel 0, y axis: 0 to 1 is no range for its scale");
    let map = |x: Vec<f64>| {
        panel(vec![Mark::Map { y: vec![1.0], cells: vec![vec![Cell::NotReached; 2]], x }])
    };
    assert_eq!(
        render(&picture(vec![map(vec![1.0, 2.0])])),
        Err(PlotError::NoColourBar { panel: 0 })
    );
    let falling = PlotError::Centres { panel: 0, mark: 0, what: "x", index: 1, value: 1.0 };
    assert_eq!(render(&picture(vec![map(vec![2.0, 1.0])])), Err(falling));
}

#[test]
fn a_map_draws_each_cell_by_its_kind() {
    let cells =
        vec![vec![Cell::Value(1.0), Cell::Value(100.0)], vec![Cell::NotReached, Cell::Diverged]];
    let mut map = panel(vec![Mark::Map { x: vec![1e-6, 1e-5], y: vec![0.1, 1.0], cells }]);
    (map.x.scale, map.y.scale) = (Scale::Log10, Scale::Log10);
    let mut all = picture(vec![map]);
    all.colour_bar = Some(bar());
    let page = canvas(&all);
    let cells: Vec<((f64, f64), Colour)> = page
        .items
        .iter()
        .filter_map(|item| match item {
            Item::Rectangle { corner, fill, size } if size.0 > 100.0 => Some((*corner, *fill)),
            _ => None,
        })
        .collect();
    let fills: Vec<Colour> = cells.iter().map(|c| c.1).collect();
    // The two ends of the colour scale, grey, and white.
    let ends = [Colour(68, 1, 84), Colour(253, 231, 37)];
    assert_eq!(fills, [ends[0], ends[1], Colour(214, 214, 214), Colour(255, 255, 255)]);
    // The first row is the lower one.
    assert!(cells[0].0.1 > cells[2].0.1 && cells[0].0.0 < cells[1].0.0);
}

#[test]
fn many_panels_and_entries_stay_on_the_page() {
    let mut all = picture((0..30).map(|_| panel(vec![curve(&[1.0, 2.0])])).collect());
    all.columns = 4;
    let entry =
        |i: u32| LegendEntry::Line { label: format!("method {i}"), style: method_style("SOAP") };
    all.legend = (0..23).map(entry).collect();
    let page = canvas(&all);
    let mut letters = Vec::new();
    for item in &page.items {
        if let Item::Text { at, content, setting } = item {
            let width = text::width(content, setting.size, setting.bold);
            let left = match setting.anchor {
                canvas::Anchor::Start => at.0,
                canvas::Anchor::Middle => at.0 - width / 2.0,
                canvas::Anchor::End => at.0 - width,
            };
            assert!(left >= 0.0 && left + width <= page.width, "{content} at {left}");
            assert!(at.1 > 0.0 && at.1 < page.height, "{content} at {}", at.1);
            letters.extend(content.starts_with('(').then_some(content.as_str()));
        }
    }
    assert_eq!(letters.len(), 30);
    assert_eq!((letters[0], letters[25], letters[26]), ("(a)", "(z)", "(aa)"));
}

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), -2.0..2.0_f64, Just(0.0), 1e-8..1e8_f64]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_numbers_and_texts_give_finite_places(
        x in prop::collection::vec(any_number(), 12),
        y in prop::collection::vec(any_number(), 12),
        low in prop::collection::vec(any_number(), 12),
        label in ".{0,60}",
        log_x in any::<bool>(),
        log_y in any::<bool>(),
    ) {
        let scale = |log| if log { Scale::Log10 } else { Scale::Linear };
        let style = method_style("Muon");
        let marks = vec![
            Mark::Line { x: x.clone(), y: y.clone(), band: Some((low.clone(), y.clone())), style },
            Mark::Points { x, y, error: Some(low), colour: RED, shape: Shape::Star },
        ];
        let any = Panel {
            title: label.clone(),
            x: axis(&label, scale(log_x)),
            y: axis(&label, scale(log_y)),
            marks,
            note: Some(label.clone()),
        };
        let mut all = picture(vec![any]);
        all.legend = vec![LegendEntry::Band { label, colour: RED }];
        let page = canvas(&all);
        for item in &page.items {
            let places = match item {
                Item::Polyline { points, .. } | Item::Polygon { points, .. } => points.clone(),
                Item::Circle { centre, .. } => vec![*centre],
                Item::Rectangle { corner, size, .. } => {
                    vec![*corner, (corner.0 + size.0, corner.1 + size.1)]
                }
                Item::Text { at, .. } => vec![*at],
            };
            for (x, y) in places {
                // A marker at the frame's corner reaches a little beyond it; NaN is in no range.
                prop_assert!((-MARKER * 2.0..page.width + MARKER * 2.0).contains(&x), "{item:?}");
                prop_assert!((0.0..page.height).contains(&y), "{item:?}");
            }
        }
        prop_assert!(svg::write(&page, &all).ends_with("</svg>\n"));
    }

    #[test]
    fn fewer_points_draw_the_same_curve(
        points in prop::collection::vec((0.0..100.0_f64, 0.0..100.0_f64), 0..60),
    ) {
        let kept = simplify(&points, 1.0);
        prop_assert_eq!(kept.first(), points.first());
        prop_assert_eq!(kept.last(), points.last());
        for p in &points {
            let nearest = kept.windows(2).map(|s| clip::distance_to_segment(*p, s[0], s[1]));
            let nearest = nearest.fold(f64::INFINITY, f64::min);
            prop_assert!(kept.len() < 2 || nearest <= 1.0, "{p:?} is {nearest} off");
        }
    }
}
