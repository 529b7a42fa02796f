//! Figure 4: the comparison of figure 2 across laws and condition numbers.

use layerwise_data::Law;

use crate::Result;
use crate::claim::{Side, Whose};
use crate::figures::batch_norm::{Comparison, legend, setting};
use crate::figures::convergence::{Series, ratio_claim, run_columns, table_of_runs};
use crate::figures::{Figure, Report, figure2};
use crate::linear::LinearMethod;
use crate::plan::Plan;
use crate::plot::Picture;
use crate::runner::{Demand, Results};
use crate::table::Table;

/// Name, short title, law and κ(Σ) of each column.
const SETTINGS: [(&str, &str, Law, f64); 3] = [
    ("uniform inputs on the axes, condition 10", "uniform, κ(Σ) = 10", Law::Signs, 10.0),
    ("Gaussian inputs on the axes, condition 10", "Gaussian, κ(Σ) = 10", Law::Gaussian, 10.0),
    (figure2::SETTING, "Gaussian, κ(Σ) = 1000", Law::Gaussian, 1000.0),
];

/// The figure.
pub(crate) struct Figure4;

impl Figure for Figure4 {
    fn number(&self) -> u8 {
        4
    }

    fn title(&self) -> &'static str {
        "Batch-norm across laws and condition numbers"
    }

    fn caption(&self) -> &'static str {
        "As figure 2, for uniform and Gaussian inputs and two condition numbers, eigenvectors of Σ \
         on the axes, κ(F⋆) = 4. Above: subspace distance, dashed that of AMGD+BN's effective \
         layer GD, dotted theory's limit for G. Below: excess training loss."
    }

    fn demand(&self, plan: &Plan) -> Demand {
        let entry = |(name, _, law, condition)| setting(name, law, condition, plan);
        Demand { linear: SETTINGS.map(entry).to_vec(), single_index: Vec::new() }
    }

    fn report(&self, _plan: &Plan, results: &Results) -> Result<Report> {
        let mut upper = Vec::new();
        let mut lower = Vec::new();
        let mut table = Table::new(run_columns());
        let mut claims = Vec::new();
        let mut chosen = Vec::new();
        for (name, title, ..) in SETTINGS {
            let comparison = Comparison::new(results, name)?;
            upper.push(comparison.distance_panel(title));
            lower.push(comparison.excess_panel(""));
            table_of_runs(&mut table, name, comparison.results, &comparison.chosen);

            let distance = |method| comparison.ends(method, Series::Distance);
            let others: Vec<f64> = distance(LinearMethod::Amgd)
                .iter()
                .zip(distance(LinearMethod::AmgdBatchNorm))
                .map(|(plain, normalized)| plain.min(normalized))
                .collect();
            claims.push(ratio_claim(
                format!("4a/{title}"),
                Whose::Paper,
                format!(
                    "{title}: KFAC's subspace distance ends lowest (paired ratio to the smaller of \
                     the others', geometric mean)"
                ),
                (&distance(LinearMethod::Kfac), &others),
                Side::AtMost,
                1.0,
            ));
            claims.push(comparison.limit_claim(format!("4b/{title}"), &format!("{title}: ")));
            chosen.extend(comparison.chosen);
        }
        upper.extend(lower);
        let picture = Picture {
            title: String::new(),
            panels: upper,
            columns: 3,
            legend: legend(),
            colour_bar: None,
        };
        Ok(Report { picture, table, claims, chosen })
    }
}
