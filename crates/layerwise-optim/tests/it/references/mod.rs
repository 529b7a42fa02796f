//! Trajectories of reference implementations, and what ours makes of them.
//!
//! `tests/golden/README.md` says where they come from and what each file holds.

mod distributed_shampoo;
mod methods;

use layerwise_optim::ndarray::{Array2, ArrayView2};
use layerwise_optim::{Method, Optimizer, Refresh, Scalar, Schedule, Side, Signal};
use serde_json::Value;

pub(crate) use methods::chain_of;

/// A trajectory.
pub(crate) struct Golden {
    pub(crate) name: String,
    pub(crate) json: Value,
}

impl Golden {
    pub(crate) fn read(name: &str) -> Self {
        let path = format!("{}/tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let json = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"));
        Golden { name: name.to_owned(), json }
    }

    pub(crate) fn hyper(&self, name: &str) -> &Value {
        let value = &self.json["hyperparameters"][name];
        assert!(!value.is_null(), "{}: no hyperparameter {name}", self.name);
        value
    }

    pub(crate) fn number(&self, name: &str) -> f64 {
        self.hyper(name).as_f64().unwrap()
    }

    pub(crate) fn schedule(&self, name: &str) -> Schedule {
        self.number(name).into()
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.hyper(name).as_bool().unwrap()
    }

    /// A switch that is off where the file does not name it.
    pub(crate) fn switch(&self, name: &str) -> bool {
        self.json["hyperparameters"][name].as_bool().unwrap_or(false)
    }

    pub(crate) fn beta(&self, index: usize) -> f64 {
        self.hyper("betas")[index].as_f64().unwrap()
    }

    pub(crate) fn refresh(&self) -> Refresh {
        let integer = |name| self.hyper(name).as_u64().unwrap();
        Refresh {
            start: integer("start_preconditioning_step"),
            ..Refresh::every(integer("precondition_frequency"))
        }
    }

    /// Whether the reference's steps are determined by its rules, bases of null spaces included.
    fn is_determined(&self) -> bool {
        self.json["extra"]["determined"] != false
    }

    /// Runs our method on the file's gradients, in its precision: by itself where the file determines that, and
    /// with the recorded bases where there are some. Of each the largest deviation, and the tolerance that
    /// the file states: thirty times, at least, what equivalent eigendecompositions and a relative noise of
    /// 1e-15 in the gradients change.
    pub(crate) fn deviations(&self, method: &impl Method) -> Vec<(f64, f64)> {
        let extra = &self.json["extra"];
        let replay = |with_bases| match self.json["dtype"].as_str() {
            Some("float32") => self.replay::<f32>(method, with_bases),
            _ => self.replay::<f64>(method, with_bases),
        };
        let mut deviations = Vec::new();
        if self.is_determined() {
            deviations.push((replay(false), extra["suggested_atol"].as_f64().unwrap()));
        }
        if !extra["suggested_atol_with_bases"].is_null() {
            deviations.push((replay(true), extra["suggested_atol_with_bases"].as_f64().unwrap()));
        }
        assert!(!deviations.is_empty(), "{}: nothing to compare", self.name);
        deviations
    }

    /// The largest deviation from the recorded weights, and averages of them.
    fn replay<A: Scalar>(&self, method: &impl Method, with_bases: bool) -> f64 {
        let mut weight = matrix::<A>(&self.json["w0"]);
        let mut optimizer = method.build::<A>(weight.dim()).unwrap();
        let mut largest = 0.0_f64;
        for (step, record) in (1..).zip(self.json["steps"].as_array().unwrap()) {
            let gradient = matrix::<A>(&record["grad"]);
            let curvature = (!record["hessian"].is_null()).then(|| matrix::<A>(&record["hessian"]));
            let mut signal = Signal::new(gradient.view());
            if let Some(curvature) = &curvature {
                signal = signal.with_diagonal(curvature.view());
            }
            optimizer.step(&mut weight.view_mut(), &signal).unwrap();
            let expected = matrix::<A>(&record["w"]);
            largest = largest.max(largest_difference(weight.view(), expected.view()));
            if !record["average"].is_null() {
                let average = optimizer.evaluation_weight(&weight.view()).unwrap();
                let expected = matrix::<A>(&record["average"]);
                largest = largest.max(largest_difference(average.view(), expected.view()));
            }
            if with_bases {
                self.seed_bases(step, &mut optimizer);
            }
        }
        largest
    }

    /// Puts the recorded bases in place of those that the step arrived at.
    fn seed_bases<A: Scalar>(&self, step: u64, optimizer: &mut Optimizer<A>) {
        for record in self.json["extra"]["bases"].as_array().unwrap() {
            if record["step"].as_u64() == Some(step) {
                let block = &record["blocks"][0];
                let eigenbasis = optimizer.eigenbasis_mut().unwrap();
                for (side, name) in [(Side::Left, "left"), (Side::Right, "right")] {
                    if block[name].is_null() {
                        continue;
                    }
                    let basis = matrix::<A>(&block[name]);
                    eigenbasis.set_basis(side, basis.view()).unwrap();
                }
            }
        }
    }
}

pub(crate) fn matrix<A: Scalar>(value: &Value) -> Array2<A> {
    let rows = value.as_array().unwrap();
    let cols = rows[0].as_array().unwrap().len();
    Array2::from_shape_fn((rows.len(), cols), |(i, j)| A::from_f64(value[i][j].as_f64().unwrap()))
}

pub(crate) fn largest_difference<A: Scalar>(a: ArrayView2<A>, b: ArrayView2<A>) -> f64 {
    assert_eq!(a.dim(), b.dim());
    a.iter().zip(b).map(|(x, y)| (x.as_f64() - y.as_f64()).abs()).fold(0.0, f64::max)
}

/// All trajectories, by name.
pub(crate) fn all() -> Vec<Golden> {
    let directory = format!("{}/tests/golden", env!("CARGO_MANIFEST_DIR"));
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
        .filter(|name| !name.starts_with("kfac_") && name != "qk_clip")
        .collect();
    names.sort_unstable();
    names.iter().map(|name| Golden::read(name)).collect()
}
