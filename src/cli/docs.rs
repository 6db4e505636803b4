//! `cameo docs`: the generated documentation, written or checked.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::http::{docs, problem};

/// Write the generated documentation, or check that it is current.
#[derive(Debug, Args)]
pub struct Docs {
    /// The folder
    #[arg(long, default_value = "docs")]
    dir: PathBuf,
    /// Change nothing; fail where a file is not current
    #[arg(long)]
    check: bool,
}

impl Docs {
    /// Runs the command.
    ///
    /// # Errors
    /// Where a file can't be written, or is not current.
    pub fn run(self) -> Result<ExitCode> {
        let mut openapi = docs::openapi().to_pretty_json().context("the API's description")?;
        openapi.push('\n');
        for (name, text) in [("openapi.json", openapi), ("problems.md", problem::catalogue())] {
            let path = self.dir.join(name);
            if self.check {
                let current = std::fs::read_to_string(&path).unwrap_or_default();
                anyhow::ensure!(
                    current == text,
                    "{} is not current: run `make docs` and commit it",
                    path.display()
                );
            } else {
                std::fs::write(&path, text)
                    .with_context(|| format!("can't write {}", path.display()))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
