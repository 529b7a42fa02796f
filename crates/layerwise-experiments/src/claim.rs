//! Claims: a number, a threshold, an interval from the trials, and what follows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::statistics::Estimate;

/// Whose statement a claim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Whose {
    /// Stated by arXiv 2502.01763, in words; the number that makes it testable is ours.
    Paper,
    /// Derived or chosen here.
    Ours,
}

/// What the trials say about a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The whole 95 % interval lies on the claim's side of the threshold.
    #[serde(rename = "holds")]
    Holds,
    /// The whole interval lies on the other side.
    #[serde(rename = "not reproduced")]
    NotReproduced,
    /// The interval contains the threshold, or the trials do not bound it.
    #[serde(rename = "undecided")]
    Undecided,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Holds => "holds",
            Self::NotReproduced => "not reproduced",
            Self::Undecided => "undecided",
        })
    }
}

/// On which side of its threshold a claim wants its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// The number is claimed to be at most the threshold.
    #[serde(rename = "at most")]
    AtMost,
    /// The number is claimed to be at least the threshold.
    #[serde(rename = "at least")]
    AtLeast,
}

/// A claim and its verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Figure, letter and where needed the case, such as `1b/Adam`.
    pub id: String,
    /// What is claimed, in words that say what was measured.
    pub text: String,
    /// Whose statement it is.
    pub whose: Whose,
    /// The point estimate; null where it is not finite.
    #[serde(with = "nullable")]
    pub measured: f64,
    /// The claim's side of the threshold.
    pub side: Side,
    /// The threshold.
    pub threshold: f64,
    /// When the threshold was set, and what was known then; nothing where the experiment does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold_set: Option<ThresholdSet>,
    /// 95 % interval; null for an end that the trials do not bound.
    #[serde(with = "nullable_pair")]
    pub interval: [f64; 2],
    /// How the interval was made.
    pub interval_method: String,
    /// Two-sided p-value of the threshold: below 0.05 where the interval leaves it out.
    pub p: f64,
    /// What follows.
    pub verdict: Verdict,
}

/// When a threshold was set, and what was known then.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ThresholdSet {
    /// A date, such as 2026-11-24.
    #[schemars(regex(pattern = r"^\d{4}-\d{2}-\d{2}$"))]
    pub on: String,
    /// What was known of the results on that day.
    #[schemars(length(min = 1, max = 2000))]
    pub known: String,
}

/// How an interval was made, in words for the reader of a claim.
pub const T_INTERVAL: &str = "Student t over trials";
/// As [`T_INTERVAL`], on logarithms.
pub const LOG_T_INTERVAL: &str = "Student t over trials, on logarithms";

impl Claim {
    /// Judges an estimate against a threshold.
    #[must_use]
    pub fn judge(
        id: impl Into<String>,
        whose: Whose,
        text: impl Into<String>,
        estimate: Estimate,
        interval_method: &str,
        side: Side,
        threshold: f64,
    ) -> Self {
        let Estimate { value, low, high, .. } = estimate;
        let (worst, best) = match side {
            Side::AtMost => (high <= threshold, low > threshold),
            Side::AtLeast => (low >= threshold, high < threshold),
        };
        let verdict = match (worst, best) {
            (true, _) => Verdict::Holds,
            (_, true) => Verdict::NotReproduced,
            _ => Verdict::Undecided,
        };
        Self {
            id: id.into(),
            text: text.into(),
            whose,
            measured: value,
            side,
            threshold,
            threshold_set: None,
            interval: [low, high],
            interval_method: interval_method.into(),
            p: estimate.p_value(threshold),
            verdict,
        }
    }

    /// Whether another claim is the same number on the same side of the same threshold.
    #[must_use]
    pub fn repeats(&self, other: &Self) -> bool {
        let bits = |claim: &Self| {
            let [low, high] = claim.interval;
            [claim.measured, claim.threshold, low, high].map(f64::to_bits)
        };
        self.side == other.side && bits(self) == bits(other)
    }
}

/// The error probability of a family of claims, that any of its verdicts but "undecided" is wrong.
const FAMILY: f64 = 0.05;

/// Verdicts that hold together: those of the claims, where Holm's correction for the number of them leaves
/// them, and else "undecided". (S. Holm, *A simple sequentially rejective multiple test procedure*,
/// Scandinavian Journal of Statistics 6, 1979.)
#[must_use]
pub fn corrected(claims: &[&Claim]) -> Vec<Verdict> {
    let mut order: Vec<usize> = (0..claims.len()).collect();
    order.sort_by(|&a, &b| claims[a].p.total_cmp(&claims[b].p));
    let mut verdicts = vec![Verdict::Undecided; claims.len()];
    for (rank, &number) in order.iter().enumerate() {
        if claims[number].p > FAMILY / (claims.len() - rank) as f64 {
            break;
        }
        verdicts[number] = claims[number].verdict;
    }
    verdicts
}

/// JSON has no infinities: they are written as null, and read as NaN (a point) below.
mod nullable {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        value.is_finite().then_some(*value).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(source: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(source)?.unwrap_or(f64::NAN))
    }
}

/// The ends of an interval: null is −∞ on the left and +∞ on the right.
mod nullable_pair {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(ends: &[f64; 2], s: S) -> Result<S::Ok, S::Error> {
        ends.map(|end| end.is_finite().then_some(end)).serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(source: D) -> Result<[f64; 2], D::Error> {
        let [low, high] = <[Option<f64>; 2]>::deserialize(source)?;
        Ok([low.unwrap_or(f64::NEG_INFINITY), high.unwrap_or(f64::INFINITY)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(values: &[f64]) -> Claim {
        let estimate = Estimate::mean(values);
        Claim::judge("t", Whose::Ours, "t", estimate, T_INTERVAL, Side::AtMost, 2.0)
    }

    fn verdict(values: &[f64], side: Side, threshold: f64) -> Verdict {
        let estimate = Estimate::mean(values);
        Claim::judge("t", Whose::Ours, "t", estimate, T_INTERVAL, side, threshold).verdict
    }

    #[test]
    fn a_verdict_needs_the_whole_interval() {
        let values = [1.0, 1.1, 0.9, 1.05];
        assert_eq!(verdict(&values, Side::AtMost, 2.0), Verdict::Holds);
        assert_eq!(verdict(&values, Side::AtLeast, 2.0), Verdict::NotReproduced);
        assert_eq!(verdict(&values, Side::AtMost, 1.02), Verdict::Undecided);
        assert_eq!(verdict(&values, Side::AtMost, 0.1), Verdict::NotReproduced);
        assert_eq!(verdict(&[1.0], Side::AtMost, 2.0), Verdict::Undecided);
        assert_eq!(verdict(&[f64::INFINITY; 4], Side::AtMost, 2.0), Verdict::NotReproduced);
        assert_eq!(verdict(&[f64::NAN; 4], Side::AtMost, 2.0), Verdict::Undecided);
        // All trials alike, on the threshold: the claim's side includes it.
        assert_eq!(verdict(&[2.0; 4], Side::AtMost, 2.0), Verdict::Holds);
    }

    #[test]
    fn correction_takes_back_what_many_claims_would_show_by_chance() {
        use Verdict::{Holds, Undecided};
        let claim = |p: f64| Claim { p, verdict: Holds, ..judged(&[1.0, 1.1]) };
        let claims = [claim(0.04), claim(0.012), claim(0.013), claim(0.03)];
        let all: Vec<&Claim> = claims.iter().collect();
        // 0.05/4 and 0.05/3 are met, 0.05/2 is not, and then nothing counts any more.
        assert_eq!(corrected(&all), [Undecided, Holds, Holds, Undecided]);
        assert_eq!(corrected(&all[..1]), [Holds]);
        assert_eq!(corrected(&[]), []);
    }

    #[test]
    fn unbounded_ends_survive_json() {
        let estimate = Estimate::mean(&[0.25]);
        let claim =
            Claim::judge("1a", Whose::Paper, "text", estimate, T_INTERVAL, Side::AtMost, 1.0);
        let json = serde_json::to_string(&claim).unwrap();
        assert!(json.contains("\"interval\":[null,null]"), "{json}");
        assert!(json.contains("\"verdict\":\"undecided\""));
        assert_eq!(serde_json::from_str::<Claim>(&json).unwrap(), claim);
    }
}
