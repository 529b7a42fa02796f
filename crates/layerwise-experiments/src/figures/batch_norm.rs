//! What figures 2 and 4 share: AMGD, AMGD with batch-norm, and KFAC on one setting.

use layerwise_data::{Basis, Law};

use crate::Result;
use crate::claim::{Claim, Side, Whose};
use crate::figures::convergence::{
    Series, cells, chosen, comparable_ends, curve, divergence_note, iteration_axis, mean_claim,
    method_legend, results,
};
use crate::linear::{Chosen, LinearMethod, LinearResults, LinearSetting};
use crate::plan::Plan;
use crate::plot::{Colour, LegendEntry, LineStyle, Mark, Panel, Stroke, method_style};
use crate::runner::{Results, Trials};
use crate::statistics::median;

const METHODS: [LinearMethod; 3] =
    [LinearMethod::Amgd, LinearMethod::AmgdBatchNorm, LinearMethod::Kfac];

/// A setting with the eigenvectors of Σ on the axes and κ(F⋆) = 4.
pub(crate) fn setting(
    name: &'static str,
    law: Law,
    condition: f64,
    plan: &Plan,
) -> (LinearSetting, Trials) {
    let setting = LinearSetting {
        name,
        law,
        basis: Basis::Axis,
        condition,
        head_condition: 4.0,
        samples: 1024,
        iterations: 1000,
        transfer: false,
        target_distance: None,
        cells: cells(&METHODS, plan),
    };
    let trials = Trials { shown: plan.shown_trials(10, 3), tuning: plan.tuning_trials() };
    (setting, trials)
}

/// The results on one such setting.
pub(crate) struct Comparison<'a> {
    pub(crate) results: &'a LinearResults,
    pub(crate) chosen: Vec<Chosen>,
}

impl<'a> Comparison<'a> {
    pub(crate) fn new(of_run: &'a Results, name: &str) -> Result<Self> {
        let results = results(of_run, name)?;
        let chosen =
            METHODS.iter().map(|&method| chosen(results, method)).collect::<Result<_>>()?;
        Ok(Self { results, chosen })
    }

    fn choice(&self, method: LinearMethod) -> Option<&Chosen> {
        self.chosen.iter().find(|choice| choice.method == method.name())
    }

    /// A number at the end of each trial of a method; NaN for a trial that diverged.
    pub(crate) fn ends(&self, method: LinearMethod, series: Series) -> Vec<f64> {
        self.choice(method)
            .map(|choice| comparable_ends(self.results, choice.cell, series))
            .unwrap_or_default()
    }

    /// Excess training loss of the three methods.
    pub(crate) fn excess_panel(&self, title: &str) -> Panel {
        Panel {
            title: title.into(),
            x: iteration_axis(),
            y: Series::Excess.axis(),
            marks: self.curves(Series::Excess),
            note: divergence_note(self.results, &self.chosen),
        }
    }

    /// Subspace distance of the three methods; dashed that of the effective `G D`, dotted the
    /// distance at which theory says that batch-norm settles.
    pub(crate) fn distance_panel(&self, title: &str) -> Panel {
        let mut marks = vec![Mark::Rule {
            y: median(&self.results.trials(|trial| trial.batch_norm_distance)),
            colour: Colour::GREY,
            stroke: Stroke::Dotted,
        }];
        if let Some(choice) = self.choice(LinearMethod::AmgdBatchNorm) {
            let series = Series::EffectiveDistance;
            marks.push(curve(self.results, choice.cell, series, Stroke::Dashed));
        }
        marks.extend(self.curves(Series::Distance));
        Panel {
            title: title.into(),
            x: iteration_axis(),
            y: Series::Distance.axis(),
            marks,
            note: divergence_note(self.results, &self.chosen),
        }
    }

    fn curves(&self, series: Series) -> Vec<Mark> {
        self.chosen
            .iter()
            .map(|choice| curve(self.results, choice.cell, series, Stroke::Solid))
            .collect()
    }

    /// The claim that batch-norm's distance settles at `dist(G⋆D⁻¹, G⋆)`.
    pub(crate) fn limit_claim(&self, id: String, case: &str) -> Claim {
        let limits = self.results.trials(|trial| trial.batch_norm_distance);
        let deviations: Vec<f64> = self
            .ends(LinearMethod::AmgdBatchNorm, Series::Distance)
            .iter()
            .zip(&limits)
            .map(|(end, limit)| (end / limit - 1.0).abs())
            .collect();
        mean_claim(
            id,
            Whose::Ours,
            format!(
                "{case}AMGD+BN's subspace distance ends within 5 % of dist(G⋆D⁻¹, G⋆), \
                 D = diag(Σ)^(-1/2) (mean of the relative deviation; limit here {:.3})",
                median(&limits)
            ),
            &deviations,
            Side::AtMost,
            0.05,
        )
    }
}

/// The legend of both figures.
pub(crate) fn legend() -> Vec<LegendEntry> {
    let mut legend = method_legend(&METHODS);
    legend.push(LegendEntry::Line {
        label: "AMGD+BN, effective layer GD".into(),
        style: method_style(LinearMethod::AmgdBatchNorm.name()).with_stroke(Stroke::Dashed),
    });
    legend.push(LegendEntry::Line {
        label: "theory: dist(G⋆D⁻¹, G⋆)".into(),
        style: LineStyle::plain(Colour::GREY).with_stroke(Stroke::Dotted),
    });
    legend
}
