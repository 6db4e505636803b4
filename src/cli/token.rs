//! `cameo token`.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Client;
use crate::crypto::KeySet;
use crate::env::{Clock, Millis, SystemClock};
use crate::token::{self, Claims, Expectations, Payload};

/// Check conditioning tokens.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Check a token's signature and claims, and print what it says (never the vectors)
    Verify(Verify),
}

/// Check a token's signature and claims.
#[derive(Debug, Args)]
pub struct Verify {
    /// The token: `COSE_Sign1` bytes, or base64url text. `-` reads standard input
    file: PathBuf,
    /// Where the issuer publishes its keys: its URL, or a file with the `COSE_KeySet`
    #[arg(long, value_name = "URL|FILE")]
    keys: String,
    /// The issuer that must have signed it; the URL of `--keys` unless given
    #[arg(long)]
    issuer: Option<String>,
    /// The generator it must be meant for: your API key's id
    #[arg(long)]
    audience: String,
    /// Check as of this time instead of now: seconds since 1970
    #[arg(long, value_name = "SECONDS")]
    at: Option<i64>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Token {
    /// Runs the command; a token that does not hold is exit code 1 with the cause.
    ///
    /// # Errors
    /// Where the token or the keys can't be read, or the token does not hold.
    pub fn run(self) -> Result<ExitCode> {
        let Self::Verify(args) = self;
        let keys = keys(&args.keys)?;
        let issuer = match (&args.issuer, is_url(&args.keys)) {
            (Some(issuer), _) => issuer.clone(),
            (None, true) => args.keys.trim_end_matches('/').to_owned(),
            (None, false) => bail!("--issuer is needed where --keys is a file"),
        };
        let bytes = read(&args.file)?;
        let now = args.at.map_or_else(|| SystemClock.now(), |s| Millis(s.saturating_mul(1000)));
        let expect = Expectations::new(&issuer, &args.audience, now);
        let verified = token::verify(&bytes, &keys, &expect).context("the token does not hold")?;
        let shown = describe(&verified.claims, &verified.key_id.to_string());
        let mut out = std::io::stdout();
        if args.json {
            writeln!(out, "{shown}")?;
        } else {
            writeln!(out, "the token holds\n{shown:#}")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The claims without biometric values.
pub(super) fn describe(claims: &Claims, kid: &str) -> Value {
    let identity = match &claims.payload {
        Payload::Identity(i) => {
            let faces: Vec<_> = i
                .faces
                .iter()
                .map(|f| json!({ "pose": f.pose.name(), "norm": f.norm, "quality": f.quality }))
                .collect();
            json!({
                "model": i.model.name, "sha256": hex::encode(i.model.sha256), "dim": i.model.dim,
                "metric": i.model.metric.name(), "faces": faces, "voice": i.voice.is_some(),
            })
        }
    };
    json!({
        "kid": kid, "iss": claims.issuer, "sub": claims.subject, "aud": claims.audience,
        "iat": claims.issued_at, "nbf": claims.not_before, "exp": claims.expires_at,
        "cti": claims.token_id.to_string(), "use_id": claims.use_id, "purpose": claims.purpose,
        "consent_version": claims.consent_version, "restrictions": claims.restrictions,
        "identity": identity,
    })
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

fn keys(from: &str) -> Result<KeySet> {
    let bytes = if is_url(from) {
        let path = "/.well-known/cose-keys";
        Client::new(from).get(path)?.success(path)?.to_vec()
    } else {
        std::fs::read(from).with_context(|| format!("can't read {from}"))?
    };
    KeySet::from_cose(&bytes).with_context(|| format!("{from} gives no COSE_KeySet"))
}

fn read(file: &PathBuf) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = token::MAX_LEN as u64 * 2;
    if file.as_os_str() == "-" {
        std::io::stdin().take(limit).read_to_end(&mut bytes)?;
    } else {
        let opened = std::fs::File::open(file);
        let opened = opened.with_context(|| format!("can't read {}", file.display()))?;
        opened.take(limit).read_to_end(&mut bytes)?;
    }
    let text = bytes.trim_ascii();
    if !text.is_empty() && text.iter().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b)) {
        return BASE64_URL_SAFE_NO_PAD
            .decode(text)
            .context("the token is neither bytes nor base64url");
    }
    Ok(bytes)
}
