//! `cameo audit`: everything about the transparency log that needs no service, or an auditor's key.

mod bundle;
mod explain;
mod report;
mod source;
mod verify;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::app::{self, Overrides};
use crate::config::Config;

pub(super) use verify::online;

/// Check and read the transparency log.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Check the whole log against its signed checkpoints, and say at which entry it breaks
    Verify(verify::Verify),
    /// Say in words what an entry tells, prove that it is in the log, and open its commitments
    Explain(explain::Explain),
    /// Count what the log tells of a period: verdicts, consents, uses, refusals, retention
    Report(report::ReportArgs),
    /// Compare every use and every consent in the database with its entry, both ways
    Reconcile {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

impl Audit {
    /// Runs the command; a log that does not hold is exit code 1.
    ///
    /// # Errors
    /// Where the log can't be read.
    pub fn run(self, config: impl Fn() -> Result<Config>) -> Result<ExitCode> {
        match self {
            Self::Verify(args) => args.run(config),
            Self::Explain(args) => args.run(config),
            Self::Report(args) => args.run(config),
            Self::Reconcile { json } => reconcile(config()?, json),
        }
    }
}

fn reconcile(config: Config, json: bool) -> Result<ExitCode> {
    use std::io::Write as _;
    let found = super::runtime()?.block_on(async {
        let services = app::services(config, Overrides::default()).await?;
        let found = services.reconcile().await;
        services.db().close().await;
        Ok::<_, anyhow::Error>(found?)
    })?;
    let mut out = std::io::stdout();
    if json {
        writeln!(out, "{}", serde_json::to_string(&found)?)?;
    } else {
        for (name, count) in &found.agree {
            writeln!(out, "{count:>8} {name} have their entry")?;
        }
        for m in &found.mismatches {
            writeln!(out, "entry {}: {}: {}", m.index, m.of, m.what)?;
        }
    }
    Ok(if found.mismatches.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
