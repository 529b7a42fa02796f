//! Stages from outside of this crate, as data.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use layerwise_linalg::Scalar;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{OptimError, Result};
use crate::signal::Signals;
use crate::stage::Stage;

/// The data of a stage from outside of this crate: its hyperparameters, and how it is built.
/// [`StageConfig::custom`](crate::chain::StageConfig::custom) makes it a stage of a chain.
pub trait CustomStage: Serialize + Send + Sync + 'static {
    /// Its name, in saved states and errors.
    const NAME: &'static str;

    /// What is built of it.
    type Stage<A: Scalar>: Stage<A> + 'static;

    /// Refuses hyperparameters out of their range; asked before every step.
    ///
    /// # Errors
    ///
    /// Whatever is not allowed, for instance as [`OptimError::InvalidHyperparameter`].
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Which signals beyond the gradient it needs.
    fn required(&self) -> Signals {
        Signals::GRADIENT
    }

    /// Whether the stage [can tell](Stage::apply_curvature) the loss's curvature.
    fn models_curvature(&self) -> bool {
        false
    }

    /// What of the hyperparameters shapes the state or gives it its meaning, as text: a state is taken
    /// under [`Resume::NewHyperparameters`](crate::checkpoint::Resume::NewHyperparameters) where these are
    /// equal. All of them, where it is not written.
    fn structure(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The stage of a weight of this shape (m × n).
    ///
    /// # Errors
    ///
    /// A shape that it does not take.
    fn build<A: Scalar>(&self, shape: (usize, usize)) -> Result<Self::Stage<A>>;
}

/// A [`CustomStage`] in a chain. Its name, its hyperparameters as JSON and its
/// [structure](CustomStage::structure) are all that is compared and serialised: a saved state keeps them,
/// and fits an optimizer whose chain has an equal stage. What is deserialised cannot be built, and is
/// refused when an optimizer is built of it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Custom {
    name: String,
    /// `Null` of what has no form in JSON, which nothing is equal to.
    settings: Value,
    structure: String,
    #[serde(skip)]
    recipe: Option<Arc<dyn Recipe>>,
}

/// A custom stage, whatever its type.
trait Recipe: Send + Sync {
    fn check(&self) -> Result<()>;
    fn required(&self) -> Signals;
    fn models_curvature(&self) -> bool;
    fn build_f32(&self, shape: (usize, usize)) -> Result<Box<dyn Stage<f32>>>;
    fn build_f64(&self, shape: (usize, usize)) -> Result<Box<dyn Stage<f64>>>;
}

impl<T: CustomStage> Recipe for T {
    fn check(&self) -> Result<()> {
        CustomStage::check(self)
    }

    fn required(&self) -> Signals {
        CustomStage::required(self)
    }

    fn models_curvature(&self) -> bool {
        CustomStage::models_curvature(self)
    }

    fn build_f32(&self, shape: (usize, usize)) -> Result<Box<dyn Stage<f32>>> {
        Ok(Box::new(self.build::<f32>(shape)?))
    }

    fn build_f64(&self, shape: (usize, usize)) -> Result<Box<dyn Stage<f64>>> {
        Ok(Box::new(self.build::<f64>(shape)?))
    }
}

impl Custom {
    pub(crate) fn new<T: CustomStage>(stage: T) -> Self {
        let settings = match serde_json::to_value(&stage) {
            // No hyperparameters at all.
            Ok(Value::Null) => Value::Array(Vec::new()),
            Ok(settings) => settings,
            Err(_) => Value::Null,
        };
        let (name, structure) = (T::NAME.to_owned(), stage.structure());
        Custom { name, settings, structure, recipe: Some(Arc::new(stage)) }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hyperparameters, as JSON.
    #[must_use]
    pub fn settings(&self) -> &Value {
        &self.settings
    }

    fn recipe(&self) -> Result<&dyn Recipe> {
        let missing = || OptimError::StageWithoutRecipe { name: self.name.clone() };
        self.recipe.as_deref().ok_or_else(missing)
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.settings.is_null() {
            return Err(self.error(OptimError::Incompatible {
                first: "a stage from outside",
                second: "hyperparameters that have no form in JSON",
                why: "a saved state could not name them",
            }));
        }
        self.recipe()?.check().map_err(|source| self.error(source))
    }

    pub(crate) fn required(&self) -> Signals {
        self.recipe.as_ref().map_or(Signals::GRADIENT, |recipe| recipe.required())
    }

    pub(crate) fn build<A: Scalar>(&self, shape: (usize, usize)) -> Result<Box<dyn Stage<A>>> {
        let recipe = self.recipe()?;
        let of_f32 = || Ok(Box::new(recipe.build_f32(shape)?) as Box<dyn Any>);
        let of_f64 = || Ok(Box::new(recipe.build_f64(shape)?) as Box<dyn Any>);
        let built = if A::NAME == f32::NAME { of_f32() } else { of_f64() };
        let built = built.map_err(|source| self.error(source))?;
        match built.downcast::<Box<dyn Stage<A>>>() {
            Ok(stage) => Ok(*stage),
            // There are two scalar types.
            Err(_) => Err(OptimError::StageWithoutRecipe { name: self.name.clone() }),
        }
    }

    pub(crate) fn models_curvature(&self) -> bool {
        self.recipe.as_ref().is_some_and(|recipe| recipe.models_curvature())
    }

    /// What shapes its state alone.
    pub(crate) fn structure(&self) -> Self {
        let (name, structure) = (self.name.clone(), self.structure.clone());
        Custom { name, settings: Value::Bool(true), structure, recipe: None }
    }

    pub(crate) fn error(&self, source: OptimError) -> OptimError {
        OptimError::Stage { name: self.name.clone(), source: Box::new(source) }
    }
}

impl PartialEq for Custom {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.settings == other.settings
            && self.structure == other.structure
            && !self.settings.is_null()
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custom")
            .field("name", &self.name)
            .field("settings", &self.settings)
            .field("has_recipe", &self.recipe.is_some())
            .finish()
    }
}
