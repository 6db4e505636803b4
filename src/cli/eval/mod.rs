//! `cameo eval`: how well the models do on labelled data.

pub mod cases;
pub mod clips;
pub mod contenders;
pub mod datasets;
pub mod duplicates;
pub mod end_to_end;
pub mod faces;
pub mod pad;
mod parallel;
pub mod plot;
pub mod speech;
pub mod stats;
pub mod summary;
pub mod sync;
pub mod voice;
pub mod workshop;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use crate::app;
use crate::config::Config;

/// Measure how well the models do on labelled data.
#[derive(Debug, Subcommand)]
pub enum Eval {
    /// Face verification on LFW's pairs
    Faces(faces::FacesArgs),
    /// Finding a face again among everyone who is enrolled, on LFW's pictures
    Duplicates(duplicates::DuplicatesArgs),
    /// Spoken digits: transcription, refusal and the verification score, on people held out of training
    Speech(speech::SpeechArgs),
    /// Presentation attacks: live faces and recaptures, on people held out of training
    Pad(pad::PadArgs),
    /// Speakers told apart by their voice, on people held out of training
    Voice(voice::VoiceArgs),
    /// Lips against voice, on clips of people who talk
    Sync(sync::SyncArgs),
    /// Make a data set of genuine captures and attacks out of recordings
    Workshop(workshop::WorkshopArgs),
    /// The whole pipeline on a data set of captures: error rates by species and condition
    EndToEnd(end_to_end::EndToEndArgs),
    /// Put the reports' figures together in docs/evaluation.json and docs/evaluation.md
    Summary(summary::SummaryArgs),
}

impl Eval {
    /// Runs the measurement.
    ///
    /// # Errors
    /// Where the data set can't be read or a model is missing.
    pub fn run(self, config: &Config) -> anyhow::Result<()> {
        match self {
            Self::Faces(args) => faces::run(&args, &app::models(config)?),
            Self::Duplicates(args) => duplicates::run(&args, &app::models(config)?),
            Self::Speech(args) => speech::run(&args, config),
            Self::Pad(args) => pad::run(&args, config),
            Self::Voice(args) => voice::run(&args, &app::models(config)?),
            Self::Sync(args) => sync::run(&args, config),
            Self::Workshop(args) => workshop::run(&args, config),
            Self::EndToEnd(args) => end_to_end::run(&args, config),
            Self::Summary(args) => summary::run(&args),
        }
    }
}

/// What the comparisons of the hermetic and the recommended set have in common.
#[derive(Clone, Debug, Args)]
pub struct Comparison {
    /// Folder of recordings with a MANIFEST.tsv
    #[arg(long, value_name = "DIR", env = "CAMEO_DATASETS_DIR")]
    pub datasets: PathBuf,
    /// Folder with models that are not installed
    #[arg(long, value_name = "DIR", env = "CAMEO_MODELS_EXTRA_DIR")]
    pub extra_models: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// Write plots (SVG) into this folder
    #[arg(long, value_name = "DIR")]
    pub plots: Option<PathBuf>,
}

impl Comparison {
    /// Prints a report and writes its plots.
    fn publish<R: serde::Serialize + std::fmt::Display>(
        &self,
        report: &R,
        plots: impl FnOnce() -> Vec<(String, String)>,
    ) -> anyhow::Result<()> {
        print(report, self.json)?;
        if let Some(dir) = &self.plots {
            write_plots(dir, plots())?;
        }
        Ok(())
    }
}

/// Prints a report as text, or as JSON.
fn print<R: serde::Serialize + std::fmt::Display>(report: &R, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, report)?;
        writeln!(out)?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(())
}

fn write_plots(dir: &Path, plots: Vec<(String, String)>) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))?;
    for (name, svg) in plots {
        let path = dir.join(format!("{name}.svg"));
        std::fs::write(&path, svg).with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(())
}

/// A progress bar on standard error.
fn progress(what: &str, n: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(n as u64).with_style(style).with_message(what.to_owned())
}
