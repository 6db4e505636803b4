//! What several rooms' tests need.

pub(crate) mod app;
pub(crate) mod captures;
pub(crate) mod given;
pub(crate) mod postgres;

use cameo::config::{Config, Models};

/// Where the models are, as the program itself would read it from the environment. `CAMEO_ORT_LIB`
/// names an ONNX Runtime for the tests alone.
pub(crate) fn models_config() -> Models {
    let variables = std::env::vars().filter(|(key, _)| key.starts_with("CAMEO_MODELS__"));
    let mut models = Config::load(None, variables).unwrap().models;
    if let Some(runtime) = std::env::var_os("CAMEO_ORT_LIB") {
        models.runtime = runtime.into();
    }
    models
}
