//! `cameo eval end-to-end`: a data set of captures through the whole pipeline.
//!
//! Every capture is decoded in the sandbox, measured and judged as an upload is, without the
//! HTTP door and the database. What was measured is kept beside the captures, so a run that is
//! broken off goes on where it was, and another policy is judged without measuring again; other
//! models, another file or another version of the evidence are measured anew.

pub mod figures;
mod page;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::cases::{Case, Manifest};
use super::{parallel, progress};
use crate::app;
use crate::config::Config;
use crate::crypto::hash::Sha256;
use crate::domain::evidence::{EVIDENCE_VERSION, Evidence, ModelRef, ModelRole};
use crate::env::thread_cpu_ms;
use crate::infer::Models;
use crate::liveness::Policy;
use crate::media::Decoder;
use crate::service;
use crate::service::capture::{Capture, measure_capture};
pub use figures::Report;

/// The operating points, from the most lenient.
const POINTS: [&str; 3] = ["convenience", "balanced", "strict"];

/// Run a data set of captures through the whole pipeline.
#[derive(Clone, Debug, clap::Args)]
pub struct EndToEndArgs {
    /// The data set: a folder with a manifest.json, as `cameo eval workshop` makes it
    #[arg(value_name = "DIR")]
    pub cases: PathBuf,
    /// Captures that are measured side by side; 0: one for each processor
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=64))]
    pub threads: u8,
    /// Where report.json and report.html go; the data set's folder unless it is named
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    /// Print the report as JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// Measures what has not been measured, judges all of it and writes the report.
///
/// # Errors
/// Where the data set can't be read, a model fails or the report can't be written.
pub fn run(args: &EndToEndArgs, config: &Config) -> anyhow::Result<()> {
    let threads = match args.threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        n => usize::from(n),
    };
    let mut config = config.clone();
    config.models.sessions = threads;
    let decoder = app::decoder(&config, None)?;
    let report = measure(&args.cases, &decoder, &app::models(&config)?, threads)?;
    let folder = args.report.as_deref().unwrap_or(&args.cases);
    write(folder, &report)?;
    super::print(&report, args.json)
}

/// Measures and judges every capture of a data set.
///
/// # Errors
/// Where the data set can't be read or a model fails.
pub fn measure(
    folder: &Path,
    decoder: &Decoder,
    models: &Models,
    threads: usize,
) -> anyhow::Result<Report> {
    let manifest = Manifest::read(folder)?;
    let kept = folder.join("evidence");
    std::fs::create_dir_all(&kept).with_context(|| format!("can't make {}", kept.display()))?;
    let bar = progress("captures", manifest.cases.len());
    let pipeline = Pipeline { folder, kept: &kept, decoder, models };
    let found = parallel::each(&manifest.cases, threads, &bar, |case| pipeline.of(case))?;
    bar.finish_and_clear();
    let policies: Vec<Policy> = POINTS.into_iter().filter_map(Policy::named).collect();
    Ok(figures::of(&manifest.cases, &found, &policies, models.refs()))
}

/// Writes `report.json` and `report.html`.
///
/// # Errors
/// Where they can't be written.
pub fn write(folder: &Path, report: &Report) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
    for (name, text) in
        [("report.json", serde_json::to_string_pretty(report)?), ("report.html", page::of(report))]
    {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(())
}

/// What came of a capture. It describes people and what they said, like the captures beside it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Found {
    /// SHA-256 of the capture.
    sha256: String,
    /// The models that measured it.
    models: BTreeMap<ModelRole, Vec<ModelRef>>,
    /// [`EVIDENCE_VERSION`].
    version: u16,
    /// CPU milliseconds of decoder, models and all.
    pub cpu_ms: f64,
    /// The evidence, or the code of why there is none.
    pub evidence: Result<Evidence, String>,
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Found({:?})", self.evidence)
    }
}

struct Pipeline<'a> {
    folder: &'a Path,
    kept: &'a Path,
    decoder: &'a Decoder,
    models: &'a Models,
}

impl Pipeline<'_> {
    fn of(&self, case: &Case) -> anyhow::Result<Found> {
        let capture = self.folder.join(&case.file);
        let bytes = std::fs::read(&capture)
            .with_context(|| format!("can't read the capture {}", capture.display()))?;
        let mut hasher = Sha256::new();
        hasher.update(&bytes);
        let sha256 = hasher.finish_hex();
        let place = self.kept.join(format!("{}.json", case.id));
        if let Some(known) = self.known(&place, case, &sha256)? {
            return Ok(known);
        }
        let found = self.measured(case, &capture, bytes.len() as u64, sha256)?;
        // In place only when it is whole.
        let unfinished = place.with_extension("part");
        std::fs::write(&unfinished, serde_json::to_vec(&found)?)
            .and_then(|()| std::fs::rename(&unfinished, &place))
            .with_context(|| format!("can't write {}", place.display()))?;
        Ok(found)
    }

    /// What is kept of it, if it still holds.
    fn known(&self, place: &Path, case: &Case, sha256: &str) -> anyhow::Result<Option<Found>> {
        let Ok(bytes) = std::fs::read(place) else { return Ok(None) };
        // Of another version: measured anew.
        let Ok(found) = serde_json::from_slice::<Found>(&bytes) else { return Ok(None) };
        let challenge = case.challenge()?;
        let asked = found.evidence.as_ref().map_or(true, |e| e.challenge == challenge);
        let holds = found.sha256 == sha256
            && found.models == *self.models.refs()
            && found.version == EVIDENCE_VERSION
            && asked;
        Ok(holds.then_some(found))
    }

    fn measured(
        &self,
        case: &Case,
        path: &Path,
        bytes: u64,
        sha256: String,
    ) -> anyhow::Result<Found> {
        let before = thread_cpu_ms();
        let sha = sha256.clone();
        let capture = Capture { path, bytes, sha256: sha, received: None, key_frames: false };
        let done = measure_capture(self.decoder, self.models, case.challenge()?, capture, || false);
        let mut cpu_ms = thread_cpu_ms() - before;
        let evidence = match done {
            Ok((measured, timings)) => {
                cpu_ms += timings.decode_cpu_ms as f64;
                Ok(measured.evidence)
            }
            Err(service::Error::Capture(e)) if e.family() != crate::media::Family::Ours => {
                Err(e.code().to_owned())
            }
            Err(e) => bail!("measuring {}: {e}", case.id),
        };
        let models = self.models.refs().clone();
        Ok(Found { sha256, models, version: EVIDENCE_VERSION, cpu_ms, evidence })
    }
}
