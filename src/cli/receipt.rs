//! `cameo receipt`.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::json;

use super::client::Client;
use crate::crypto::KeySet;
use crate::receipt::consent as receipt;

/// Check consent receipts.
#[derive(Debug, Subcommand)]
pub enum Receipt {
    /// Check a receipt's signature, and that it says what its log entries say
    Verify(Verify),
}

/// Check a consent receipt, offline where the keys are a file.
#[derive(Debug, Args)]
pub struct Verify {
    /// The receipt: JSON or COSE. `-` reads standard input
    file: PathBuf,
    /// The service's receipt keys: its URL, or a file with the `COSE_KeySet` or the JWK Set
    #[arg(long, value_name = "URL|FILE")]
    keys: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Receipt {
    /// Runs the command; a receipt that does not hold is exit code 1 with the cause.
    ///
    /// # Errors
    /// Where the receipt or the keys can't be read, or the receipt does not hold.
    pub fn run(self) -> Result<ExitCode> {
        let Self::Verify(args) = self;
        let keys = keys(&args.keys)?;
        let bytes = read(&args.file)?;
        let verified = receipt::verify(&bytes, &keys).context("the receipt does not hold")?;
        let r = &verified.receipt;
        let mut out = std::io::stdout();
        if args.json {
            let shown = json!({ "kid": verified.key_id.to_string(), "record": r });
            writeln!(out, "{shown}")?;
            return Ok(ExitCode::SUCCESS);
        }
        writeln!(out, "the receipt holds")?;
        writeln!(out, "  person   {} at {}", r.pii_principal_id, r.issuer)?;
        writeln!(out, "  record   {}", r.record_id)?;
        for e in &r.events {
            writeln!(out, "  {:<8} {} (log entry {})", e.event_type, e.event_time, e.log.index)?;
            writeln!(out, "           leaf hash {}", e.log.leaf_hash)?;
        }
        let notice = &r.pii_processing.notice;
        let hash = notice.sha256.as_deref().unwrap_or("not kept by the service");
        writeln!(out, "  text     {} (SHA-256: {hash})", notice.version)?;
        for p in &r.pii_processing.purposes {
            writeln!(out, "  purpose  {} ({})", p.purpose, p.purpose_type)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn keys(from: &str) -> Result<KeySet> {
    let bytes = if from.starts_with("http://") || from.starts_with("https://") {
        let path = "/.well-known/receipt-keys";
        Client::new(from).get(path)?.success(path)?.to_vec()
    } else {
        std::fs::read(from).with_context(|| format!("can't read {from}"))?
    };
    let set = match bytes.trim_ascii_start().first() {
        Some(b'{') => KeySet::from_jwks(&bytes),
        _ => KeySet::from_cose(&bytes),
    };
    set.with_context(|| format!("{from} gives no key set"))
}

fn read(file: &PathBuf) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = receipt::MAX_LEN as u64 + 1;
    if file.as_os_str() == "-" {
        std::io::stdin().take(limit).read_to_end(&mut bytes)?;
    } else {
        let opened = std::fs::File::open(file);
        let opened = opened.with_context(|| format!("can't read {}", file.display()))?;
        opened.take(limit).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
