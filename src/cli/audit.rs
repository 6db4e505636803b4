//! `cameo audit`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;

use super::client::Client;
use crate::app::{self, Overrides};
use crate::config::Config;
use crate::tlog::replay::{Fault, Report, Row};
use crate::tlog::{Hash, LogKey, Replay, checkpoint};

/// Check the transparency log.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Replay the whole log against its signed head, and say at which entry it breaks
    Verify(Verify),
}

/// Replay the whole log.
#[derive(Debug, Args)]
pub struct Verify {
    /// A running service; without it, the database that the configuration names
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// A file with an auditor's API key; the variable `CAMEO_API_KEY` serves too
    #[arg(long, value_name = "FILE", requires = "url")]
    key_file: Option<PathBuf>,
    /// The log's verifier key, got from the operator another way; without it the one that the
    /// service publishes is trusted
    #[arg(long, value_name = "KEY", requires = "url")]
    log_key: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Page {
    entries: Vec<Entry>,
    next: Option<u64>,
}

#[derive(Deserialize)]
struct Entry {
    index: u64,
    #[serde(rename = "entry")]
    bytes: String,
    leaf_hash: String,
}

impl Audit {
    /// Runs the command; a log that does not hold is exit code 1.
    ///
    /// # Errors
    /// Where the log can't be read.
    pub fn run(self, config: impl Fn() -> Result<Config>) -> Result<ExitCode> {
        let Self::Verify(args) = self;
        let found = match &args.url {
            Some(url) => {
                let credential = match &args.key_file {
                    Some(file) => std::fs::read_to_string(file)
                        .with_context(|| format!("can't read {}", file.display()))?,
                    None => std::env::var("CAMEO_API_KEY")
                        .context("give an auditor's key with --key-file or CAMEO_API_KEY")?,
                };
                let client = Client::new(url).with(credential.trim());
                online(&client, args.log_key.as_deref())?
            }
            None => super::runtime()?.block_on(async {
                let services = app::services(config()?, Overrides::default()).await?;
                let found = services.replay().await;
                services.db().close().await;
                Ok::<_, anyhow::Error>(found?)
            })?,
        };
        let mut out = std::io::stdout();
        match found {
            Ok(report) => {
                let (size, root) = (report.head.size, hex::encode(report.head.root.0));
                if args.json {
                    writeln!(out, "{}", json!({ "holds": true, "size": size, "root": root }))?;
                } else {
                    writeln!(out, "the log holds: {size} entries, root {root}")?;
                }
                Ok(ExitCode::SUCCESS)
            }
            Err(fault) => {
                if args.json {
                    let fault = fault.to_string();
                    writeln!(out, "{}", json!({ "holds": false, "fault": fault }))?;
                } else {
                    writeln!(out, "the log does NOT hold: {fault}")?;
                }
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

/// Replays the log of a running service against a checkpoint whose signature holds.
pub(super) fn online(client: &Client, key: Option<&str>) -> Result<Result<Report, Fault>> {
    let path = "/.well-known/log-key";
    let key = match key {
        Some(key) => key.to_owned(),
        None => String::from_utf8(client.get(path)?.success(path)?.to_vec())?,
    };
    let key = LogKey::parse(&key).context("the log's key")?;
    let path = "/v1/audit/checkpoint";
    let note = client.get(path)?;
    let head = checkpoint::open(note.success(path)?, &[key]).context("the log's checkpoint")?.head;
    let mut replay = match Replay::new(vec![head]) {
        Ok(replay) => replay,
        Err(fault) => return Ok(Err(fault)),
    };
    let mut from = Some(0);
    while let Some(start) = from {
        let path = format!("/v1/audit/entries?from={start}&limit=1000");
        let page: Page = serde_json::from_slice(client.get(&path)?.success(&path)?)
            .context("a page of the log")?;
        for e in &page.entries {
            // What came after the checkpoint is not vouched for yet.
            if e.index >= head.size {
                return Ok(replay.finish());
            }
            let entry = BASE64_STANDARD.decode(&e.bytes).context("an entry")?;
            let mut leaf = [0; 32];
            hex::decode_to_slice(&e.leaf_hash, &mut leaf).context("a leaf hash")?;
            let row = Row { index: e.index, entry: &entry, leaf_hash: Hash(leaf) };
            if let Err(fault) = replay.push(&row) {
                return Ok(Err(fault));
            }
        }
        if page.next.is_some_and(|next| next <= start) {
            bail!("the service's pages go in a circle");
        }
        from = page.next;
    }
    Ok(replay.finish())
}
