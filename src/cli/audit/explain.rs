//! `cameo audit explain`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Map, Value, json};

use super::source::{Source, log_key};
use crate::app::{self, Overrides};
use crate::config::Config;
use crate::tlog::commitment::{self, Salt};
use crate::tlog::entry::{Attribute, Entry};
use crate::tlog::{Kind, check, export, leaf_hash};

/// Say in words what an entry tells.
#[derive(Debug, Args)]
pub struct Explain {
    /// The entry's index
    index: u64,
    /// A folder of tiles or the URL prefix of a log (as <https://cameo.example/tlog>); without it the
    /// database that the configuration names
    #[arg(long, value_name = "DIR|URL", requires = "log_key")]
    tiles: Option<String>,
    /// The log's verifier key, or a file that holds it
    #[arg(long, value_name = "KEY|FILE")]
    log_key: Option<String>,
    /// The salt that opens the entry's commitments, 64 hexadecimal digits, as a receipt or a
    /// disclosure gives it
    #[arg(long, value_name = "HEX")]
    salt: Option<String>,
    /// What a commitment is said to be of, as LABEL=TEXT or LABEL=hex:DIGITS; can be repeated
    #[arg(long = "opens", value_name = "LABEL=BODY", requires = "salt")]
    bodies: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) fn run(self, config: impl Fn() -> Result<Config>) -> Result<ExitCode> {
        let (bytes, vouched) = match (&self.tiles, &self.log_key) {
            (Some(place), Some(key)) => {
                let keys = [log_key(key)?];
                let (bytes, shown) = check::entry(&Source::new(place, None), &keys, self.index)?;
                (
                    bytes,
                    format!("the checkpoint of {} entries of {}", shown.head.size, shown.origin),
                )
            }
            _ => crate::cli::runtime()?.block_on(stored(config()?, self.index))?,
        };
        let entry = Entry::decode(&bytes)?;
        let opened = self.opened(&entry)?;
        let failed = opened.iter().any(|(_, holds)| !holds);
        let code = if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        let mut out = std::io::stdout();
        if self.json {
            writeln!(out, "{}", self.shown(&entry, &bytes, &opened, &vouched))?;
            return Ok(code);
        }
        writeln!(out, "entry {}: {}", self.index, meaning(entry.kind))?;
        writeln!(out, "  time       {}", entry.time.rfc3339())?;
        for (label, value) in &entry.attributes {
            let value = match value {
                Attribute::Text(text) => text.clone(),
                Attribute::Number(n) => n.to_string(),
            };
            writeln!(out, "  {label:<10} {value}")?;
        }
        for (label, hash) in &entry.commitments {
            let said = match opened.iter().find(|(l, _)| l == label) {
                None => "committed to; whoever has salt and text can show what it is".to_owned(),
                Some((_, true)) => "opened: it is what was said".to_owned(),
                Some((_, false)) => "NOT what was said".to_owned(),
            };
            writeln!(out, "  {label:<10} {hash} ({said})")?;
        }
        writeln!(out, "  leaf hash  {}", leaf_hash(&bytes))?;
        writeln!(out, "  proven to be in {vouched}")?;
        Ok(code)
    }

    /// The same as one object; `opened` says of a commitment whether it is what was said.
    fn shown(
        &self,
        entry: &Entry,
        bytes: &[u8],
        opened: &[(String, bool)],
        vouched: &str,
    ) -> Value {
        let (attributes, _) = export::describe(entry);
        let commitments: Map<String, Value> = entry
            .commitments
            .iter()
            .map(|(label, hash)| {
                let holds = opened.iter().find(|(l, _)| l == label).map(|(_, holds)| *holds);
                (label.clone(), json!({ "hash": hash.to_string(), "opened": holds }))
            })
            .collect();
        json!({
            "index": self.index, "kind": entry.kind.name(), "meaning": meaning(entry.kind),
            "time": entry.time.rfc3339(), "attributes": attributes, "commitments": commitments,
            "leaf_hash": leaf_hash(bytes).to_string(), "proven_in": vouched,
        })
    }

    fn opened(&self, entry: &Entry) -> Result<Vec<(String, bool)>> {
        let Some(salt) = &self.salt else { return Ok(Vec::new()) };
        let mut bytes = [0; 32];
        hex::decode_to_slice(salt, &mut bytes).context("--salt takes 64 hexadecimal digits")?;
        let salt = Salt::from_bytes(bytes);
        self.bodies
            .iter()
            .map(|given| {
                let (label, body) = given.split_once('=').context("--opens takes LABEL=BODY")?;
                let body = match body.strip_prefix("hex:") {
                    Some(digits) => {
                        hex::decode(digits).context("--opens: hex digits after hex:")?
                    }
                    None => body.as_bytes().to_vec(),
                };
                let Some(hash) = entry.commitments.get(label) else {
                    bail!("the entry has no commitment {label}");
                };
                Ok((label.to_owned(), commitment::opens(hash, label, &salt, &body)))
            })
            .collect()
    }
}

async fn stored(config: Config, index: u64) -> Result<(Vec<u8>, String)> {
    let services = app::services(config, Overrides::default()).await?;
    let proven = services.prove_inclusion(index).await;
    let entry = services.entries(index, 1).await;
    services.db().close().await;
    let proven = proven?;
    let Some(entry) = entry?.pop() else { bail!("there is no entry {index}") };
    let vouched = format!("the log of {} entries", proven.head.size);
    let holds = crate::tlog::proof::verify_inclusion(
        &leaf_hash(&entry.bytes),
        index,
        &proven.head,
        &proven.proof,
    );
    holds.with_context(|| format!("entry {index} does not hold"))?;
    Ok((entry.bytes, vouched))
}

#[allow(clippy::match_wildcard_for_single_variants)] // kinds are still being added
fn meaning(kind: Kind) -> String {
    let words = match kind {
        Kind::ConsentGiven => "a person gave consent",
        Kind::ConsentChanged => "a person changed what they allow",
        Kind::ConsentWithdrawn => "a person withdrew consent",
        Kind::Verdict => "a verification got its verdict",
        Kind::ResolveAllowed => "a use was allowed and a token issued",
        Kind::ResolveDenied => "a use was refused",
        Kind::Review => "a reviewer looked or decided",
        Kind::KeyRotation => "a signing key was added or retired",
        Kind::ApiKeyCreated => "an API key was created",
        Kind::ApiKeyRevoked => "an API key was revoked",
        Kind::Retention => "data was destroyed",
        Kind::AuditRead => "an auditor read more than what everyone may",
        Kind::Disclosure => "a person's entries were to be opened to an auditor",
        other => return other.name().replace('_', " "),
    };
    words.to_owned()
}
