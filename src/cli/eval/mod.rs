//! `cameo eval`: how well the models do on labelled data.

pub mod faces;

use clap::Subcommand;

use crate::app;
use crate::config::Config;

/// Measure how well the models do on labelled data.
#[derive(Debug, Subcommand)]
pub enum Eval {
    /// Face verification on LFW's pairs
    Faces(faces::FacesArgs),
}

impl Eval {
    /// Runs the measurement.
    ///
    /// # Errors
    /// Where the data set can't be read or a model is missing.
    pub fn run(self, config: &Config) -> anyhow::Result<()> {
        let models = app::models(config)?;
        match self {
            Self::Faces(args) => faces::run(&args, &models),
        }
    }
}
