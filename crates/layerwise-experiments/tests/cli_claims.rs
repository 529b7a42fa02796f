//! `--require-claims`, on a figure that costs nothing.
#![allow(clippy::unwrap_used, reason = "a call that fails is a test that fails")]

use std::path::Path;

use layerwise_experiments::backend::BackendArguments;
use layerwise_experiments::claim::{Claim, Side, T_INTERVAL, Whose};
use layerwise_experiments::cli::{self, FiguresArguments};
use layerwise_experiments::figures::{Figure, Report};
use layerwise_experiments::plan::Plan;
use layerwise_experiments::plot::{Axis, Panel, Picture, Scale};
use layerwise_experiments::runner::{Demand, Results};
use layerwise_experiments::statistics::Estimate;
use layerwise_experiments::table::Table;
use layerwise_experiments::{ExperimentError, Result};

/// A figure without runs, whose one claim is that `values` have a mean of at most 1.
struct Mean {
    number: u8,
    values: &'static [f64],
}

impl Figure for Mean {
    fn number(&self) -> u8 {
        self.number
    }

    fn title(&self) -> &'static str {
        "A mean"
    }

    fn caption(&self) -> &'static str {
        "Nothing is drawn."
    }

    fn demand(&self, _plan: &Plan) -> Demand {
        Demand::default()
    }

    fn report(&self, _plan: &Plan, _results: &Results) -> Result<Report> {
        if self.values.is_empty() {
            return Err(ExperimentError::MissingResults("a mean".into()));
        }
        let estimate = Estimate::mean(self.values);
        let claims =
            vec![Claim::judge("a", Whose::Ours, "small", estimate, T_INTERVAL, Side::AtMost, 1.0)];
        let picture = Picture {
            title: String::new(),
            panels: vec![Panel {
                title: String::new(),
                x: axis(),
                y: axis(),
                marks: Vec::new(),
                note: Some("nothing".into()),
            }],
            columns: 1,
            legend: Vec::new(),
            colour_bar: None,
        };
        Ok(Report { picture, table: Table::new(vec!["x"]), claims, chosen: Vec::new() })
    }
}

fn axis() -> Axis {
    Axis { label: "x".into(), scale: Scale::Linear, range: Some((0.0, 1.0)) }
}

static SMALL: Mean = Mean { number: 1, values: &[0.1, 0.2, 0.3] };
static LARGE: Mean = Mean { number: 2, values: &[2.1, 2.2, 2.3] };
static OPEN: Mean = Mean { number: 3, values: &[0.5] };
static BROKEN: Mean = Mean { number: 4, values: &[] };

fn figures(out: &Path, require_claims: bool, catalogue: &[&'static dyn Figure]) -> (u8, String) {
    let arguments = FiguresArguments {
        only: None,
        quick: true,
        trials: None,
        seed: 1,
        threads: Some(1),
        out: out.into(),
        fresh: true,
        require_claims,
        backend: BackendArguments::default(),
    };
    let mut said = Vec::new();
    let status = cli::figures(&arguments, catalogue, &mut said).unwrap();
    (status, String::from_utf8(said).unwrap())
}

#[test]
fn a_claim_that_does_not_hold_ends_with_its_own_status() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    for (catalogue, expected, said) in [
        (&[&SMALL as &'static dyn Figure][..], cli::SUCCESS, "1 claims hold"),
        (&[&LARGE], cli::CLAIM_FAILED, "not reproduced  a: small"),
        (&[&OPEN], cli::CLAIM_FAILED, "undecided  a: small"),
        (&[&SMALL, &LARGE], cli::CLAIM_FAILED, "not reproduced  a: small"),
    ] {
        let (status, summary) = figures(&out, true, catalogue);
        assert_eq!(status, expected);
        assert!(summary.contains(said), "{summary}");
        // Without the flag a claim that does not hold is a result like any other.
        assert_eq!(figures(&out, false, catalogue).0, cli::SUCCESS);
        for figure in catalogue {
            assert!(out.join(format!("figure{}.json", figure.number())).is_file());
        }
    }
}

/// A figure that fails takes the others with it: nothing is half written.
#[test]
fn a_failing_figure_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new").join("out");
    let arguments = FiguresArguments {
        only: None,
        quick: true,
        trials: None,
        seed: 1,
        threads: Some(1),
        out,
        fresh: false,
        require_claims: false,
        backend: BackendArguments::default(),
    };
    let mut said = Vec::new();
    let catalogue: [&'static dyn Figure; 2] = [&SMALL, &BROKEN];
    let outcome = cli::figures(&arguments, &catalogue, &mut said);
    assert!(matches!(outcome, Err(ExperimentError::MissingResults(_))), "{outcome:?}");
    assert!(said.is_empty() && !folder.path().join("new").exists());
}
