//! Figure 2: what batch-norm does to the loss, and what to the features.

use layerwise_data::Law;

use crate::Result;
use crate::claim::{Side, Whose};
use crate::figures::batch_norm::{Comparison, legend, setting};
use crate::figures::convergence::{Series, mean_claim, ratio_claim, run_columns, table_of_runs};
use crate::figures::{Figure, Report};
use crate::linear::LinearMethod;
use crate::plan::Plan;
use crate::plot::Picture;
use crate::runner::{Demand, Results};
use crate::table::Table;

/// The setting, shared with a panel of figure 4.
pub(crate) const SETTING: &str = "Gaussian inputs on the axes, condition 1000";

/// The figure.
pub(crate) struct Figure2;

impl Figure for Figure2 {
    fn number(&self) -> u8 {
        2
    }

    fn title(&self) -> &'static str {
        "Batch-norm: the loss and the features"
    }

    fn caption(&self) -> &'static str {
        "Gaussian inputs, eigenvectors of Σ on the axes, κ(Σ) = 1000, κ(F⋆) = 4: excess \
         training loss and subspace distance of AMGD, AMGD with batch-norm, and KFAC without. \
         Behind batch-norm, theory has G settle at the row space of G⋆D⁻¹ (dotted: its distance), \
         and the effective layer GD (dashed) tend to the features. Lines are medians of the \
         trials, bands their quartiles."
    }

    fn demand(&self, plan: &Plan) -> Demand {
        let entry = setting(SETTING, Law::Gaussian, 1000.0, plan);
        Demand { linear: vec![entry], single_index: Vec::new() }
    }

    fn report(&self, _plan: &Plan, results: &Results) -> Result<Report> {
        let comparison = Comparison::new(results, SETTING)?;
        let picture = Picture {
            title: String::new(),
            panels: vec![comparison.excess_panel(""), comparison.distance_panel("")],
            columns: 2,
            legend: legend(),
            colour_bar: None,
        };
        let mut table = Table::new(run_columns());
        table_of_runs(&mut table, SETTING, comparison.results, &comparison.chosen);

        let excess = |method| comparison.ends(method, Series::Excess);
        let claims = vec![
            ratio_claim(
                "2a".into(),
                Whose::Paper,
                "batch-norm helps the loss: AMGD+BN's final excess training loss is at most 1/5 of \
                 AMGD's (paired ratio, geometric mean)"
                    .into(),
                (&excess(LinearMethod::AmgdBatchNorm), &excess(LinearMethod::Amgd)),
                Side::AtMost,
                0.2,
            ),
            comparison.limit_claim("2b/limit".into(), ""),
            mean_claim(
                "2b/large".into(),
                Whose::Paper,
                "batch-norm does not find the features: AMGD+BN's subspace distance ends above 0.5 \
                 (mean)"
                    .into(),
                &comparison.ends(LinearMethod::AmgdBatchNorm, Series::Distance),
                Side::AtLeast,
                0.5,
            ),
            mean_claim(
                "2c".into(),
                Whose::Paper,
                "KFAC finds the features: its subspace distance ends below 0.1 (mean)".into(),
                &comparison.ends(LinearMethod::Kfac, Series::Distance),
                Side::AtMost,
                0.1,
            ),
        ];
        Ok(Report { picture, table, claims, chosen: comparison.chosen })
    }
}
