//! `cameo audit verify`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::bundle;
use super::source::{Source, bar, kept, log_key};
use crate::app::{self, Overrides};
use crate::cli::client::Client;
use crate::config::Config;
use crate::tlog::replay::{Fault, Report, Row};
use crate::tlog::{Checkpoint, Hash, LogKey, Replay, TreeHead, check, checkpoint};

/// Check the whole log: in the database that the configuration names, of a running service, in a
/// folder of tiles, or in an export.
#[derive(Debug, Args)]
pub struct Verify {
    /// A running service; needs an auditor's key
    #[arg(long, value_name = "URL", group = "place")]
    url: Option<String>,
    /// A folder of tiles, or the URL prefix of a log (as `https://cameo.example/tlog`); needs no key
    /// of the service, but the log's own
    #[arg(long, value_name = "DIR|URL", group = "place", requires = "log_key")]
    tiles: Option<String>,
    /// An export, checked alone
    #[arg(long, value_name = "FILE", group = "place", requires = "log_key")]
    bundle: Option<PathBuf>,
    /// A file with an auditor's API key; the variable `CAMEO_API_KEY` serves too
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The log's verifier key or a file that holds it, got from the operator another way; with
    /// --url and without this the one that the service publishes is trusted
    #[arg(long, value_name = "KEY|FILE")]
    log_key: Option<String>,
    /// A checkpoint that was kept from before: the log has to continue it, and what was before it
    /// is not read again where that can be proven
    #[arg(long, value_name = "CHECKPOINT", conflicts_with = "bundle")]
    since: Option<PathBuf>,
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

impl Verify {
    pub(super) fn run(self, config: impl Fn() -> Result<Config>) -> Result<ExitCode> {
        let found = match (&self.url, &self.tiles, &self.bundle) {
            (Some(url), ..) => {
                let client = Client::new(url).with(&self.credential()?);
                let key = published_key(&client, self.log_key.as_deref())?;
                let since = kept(self.since.as_ref(), std::slice::from_ref(&key))?;
                replay(&client, &key, since.as_ref())?.map_err(|fault| fault.to_string())
            }
            (_, Some(place), _) => self.tiles(place)?,
            (_, _, Some(file)) => {
                let found = bundle::check(file, &[self.key()?], |_, _| ())?;
                return self.say(found.map(|m| {
                    let tree = format!("of the log of {} entries", m.checkpoint.head.size);
                    (format!("the export holds: {} entries {tree}", m.entries), m.checkpoint.head)
                }));
            }
            _ => crate::cli::runtime()?.block_on(self.stored(config()?))?,
        };
        self.say(found.map(|report| {
            let (size, root) = (report.head.size, hex::encode(report.head.root.0));
            (format!("the log holds: {size} entries, root {root}"), report.head)
        }))
    }

    fn say(&self, found: Result<(String, TreeHead), String>) -> Result<ExitCode> {
        let mut out = std::io::stdout();
        match (found, self.json) {
            (Ok((words, _)), false) => writeln!(out, "{words}")?,
            (Ok((_, head)), true) => {
                let root = hex::encode(head.root.0);
                writeln!(out, "{}", json!({ "holds": true, "size": head.size, "root": root }))?;
            }
            (Err(fault), json) => {
                if json {
                    writeln!(out, "{}", json!({ "holds": false, "fault": fault }))?;
                } else {
                    writeln!(out, "it does NOT hold: {fault}")?;
                }
                return Ok(ExitCode::FAILURE);
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn key(&self) -> Result<LogKey> {
        log_key(self.log_key.as_deref().context("give the log's key with --log-key")?)
    }

    fn credential(&self) -> Result<String> {
        let text = match &self.key_file {
            Some(file) => std::fs::read_to_string(file)
                .with_context(|| format!("can't read {}", file.display()))?,
            None => std::env::var("CAMEO_API_KEY")
                .context("give an auditor's key with --key-file or CAMEO_API_KEY")?,
        };
        Ok(text.trim().to_owned())
    }

    fn tiles(&self, place: &str) -> Result<Result<Report, String>> {
        let keys = [self.key()?];
        let since = kept(self.since.as_ref(), &keys)?;
        let source = Source::new(place, self.credential().ok().as_deref());
        let progress = bar("entries");
        let found = check::check(&source, &keys, since.as_ref(), |at, _, size| {
            progress.set_length(size);
            progress.set_position(at + 1);
        });
        progress.finish_and_clear();
        Ok(found.map_err(|broken| broken.to_string()))
    }

    async fn stored(&self, config: Config) -> Result<Result<Report, String>> {
        let services = app::services(config, Overrides::default()).await?;
        let key = services.signing().log_key()?;
        let since = kept(self.since.as_ref(), &[key])?.map(|c| c.head);
        let progress = bar("entries");
        let found = services.self_audit(since, |at, size| {
            progress.set_length(size);
            progress.set_position(at);
        });
        let found = found.await;
        progress.finish_and_clear();
        services.db().close().await;
        Ok(found?.map_err(|finding| finding.to_string()))
    }
}

/// Replays the log of a running service against a checkpoint whose signature holds.
pub(in crate::cli) fn online(client: &Client, key: Option<&str>) -> Result<Result<Report, Fault>> {
    replay(client, &published_key(client, key)?, None)
}

/// The log's key as it was given, or as the service publishes it.
fn published_key(client: &Client, given: Option<&str>) -> Result<LogKey> {
    if let Some(given) = given {
        return log_key(given);
    }
    let path = "/.well-known/log-key";
    let text = String::from_utf8(client.get(path)?.success(path)?.to_vec())?;
    LogKey::parse(&text).context("the log's key")
}

/// What was published must be part of what auditors are shown.
fn replay(
    client: &Client,
    key: &LogKey,
    since: Option<&Checkpoint>,
) -> Result<Result<Report, Fault>> {
    let path = "/tlog/checkpoint";
    let shown = client.get(path)?;
    let mut heads: Vec<TreeHead> = since.map(|c| c.head).into_iter().collect();
    if shown.status != 404 {
        let opened = checkpoint::open(shown.success(path)?, std::slice::from_ref(key));
        heads.push(opened.context("the published checkpoint")?.head);
    }
    let path = "/v1/audit/checkpoint";
    let note = client.get(path)?;
    let opened = checkpoint::open(note.success(path)?, std::slice::from_ref(key));
    let head = opened.context("the log's checkpoint")?.head;
    heads.push(head);
    let mut replay = match Replay::new(heads) {
        Ok(replay) => replay,
        Err(fault) => return Ok(Err(fault)),
    };
    let progress = bar("entries");
    progress.set_length(head.size);
    let mut from = Some(0);
    while let Some(start) = from {
        let path = format!("/v1/audit/entries?from={start}&limit=1000");
        let page: Page = serde_json::from_slice(client.get(&path)?.success(&path)?)
            .context("a page of the log")?;
        for e in &page.entries {
            // What came after the checkpoint is not vouched for yet.
            if e.index >= head.size {
                progress.finish_and_clear();
                return Ok(replay.finish());
            }
            let entry = BASE64_STANDARD.decode(&e.bytes).context("an entry")?;
            let mut leaf = [0; 32];
            hex::decode_to_slice(&e.leaf_hash, &mut leaf).context("a leaf hash")?;
            let row = Row { index: e.index, entry: &entry, leaf_hash: Hash(leaf) };
            if let Err(fault) = replay.push(&row) {
                return Ok(Err(fault));
            }
            progress.set_position(e.index + 1);
        }
        if page.next.is_some_and(|next| next <= start) {
            bail!("the service's pages go in a circle");
        }
        from = page.next;
    }
    progress.finish_and_clear();
    Ok(replay.finish())
}
