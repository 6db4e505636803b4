//! `cameo token`.

use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::{Zeroize, Zeroizing};

use super::client::Client;
use crate::crypto::{KeySet, RecipientSecret};
use crate::env::{Clock, Millis, SystemClock, SystemEntropy};
use crate::receipt::usage::UseReceipt;
use crate::tlog::LogKey;
use crate::token::export::{Target, export};
use crate::token::status::{Status, StatusList};
use crate::token::{self, Claims, Expectations, Payload, Verified};

/// Check and open conditioning tokens.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Check a token's signature and claims, and print what it says (never the vectors)
    Verify(Verify),
    /// Check a token, open its payload, and write the file that a generator's pipeline loads
    Open(Open),
    /// Make the key that a generator's tokens are sealed to, and print its public half
    Keygen(Keygen),
}

/// Check a token's signature and claims.
#[derive(Debug, Args)]
pub struct Verify {
    #[command(flatten)]
    expect: Expect,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Check a token and open its payload.
#[derive(Debug, Args)]
pub struct Open {
    #[command(flatten)]
    expect: Expect,
    /// The generator's private key: a JWK file, as `cameo token keygen` writes it
    #[arg(long, value_name = "FILE")]
    secret: PathBuf,
    /// The pipeline: ip-adapter-faceid, instantid, photomaker or raw
    #[arg(long = "for", value_name = "PIPELINE", default_value = "raw")]
    target: Target,
    /// Take the embedding model with this SHA-256 for the pipeline's own, whatever its name
    #[arg(long, value_name = "HEX")]
    accept_model: Option<String>,
    /// The safetensors file to write; it holds biometric data and is readable by you alone
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Make a generator's key.
#[derive(Debug, Args)]
pub struct Keygen {
    /// Where the private key goes: a JWK file, readable by you alone
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// What a token has to meet.
#[derive(Debug, Args)]
struct Expect {
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
    /// Ask the status list too: `fetch`, or a file with the list
    #[arg(long, value_name = "fetch|FILE")]
    status: Option<String>,
    /// The receipt of `GET /v1/uses/{id}/receipt`: refuse a token that the log does not know
    #[arg(long, value_name = "FILE", requires = "log_key")]
    receipt: Option<PathBuf>,
    /// The log's verifier key, as `/.well-known/log-key` shows it
    #[arg(long, value_name = "KEY")]
    log_key: Option<String>,
}

impl Token {
    /// Runs the command; a token that does not hold is exit code 1 with the cause.
    ///
    /// # Errors
    /// Where the token or the keys can't be read, or the token does not hold.
    pub fn run(self) -> Result<ExitCode> {
        match self {
            Self::Verify(args) => args.run(),
            Self::Open(args) => args.run(),
            Self::Keygen(args) => args.run(),
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

impl Verify {
    fn run(self) -> Result<()> {
        let verified = self.expect.verify()?;
        let shown = describe(&verified);
        let mut out = std::io::stdout();
        if self.json {
            writeln!(out, "{shown}")?;
        } else {
            writeln!(out, "the token holds\n{shown:#}")?;
        }
        Ok(())
    }
}

impl Open {
    fn run(self) -> Result<()> {
        let verified = self.expect.verify()?;
        let secret = read_secret(&self.secret)?;
        let payload = verified.open(&secret).context("the payload does not open")?;
        let accepted = match &self.accept_model {
            None => None,
            Some(hex) => {
                let mut sha256 = [0; 32];
                hex::decode_to_slice(hex, &mut sha256)
                    .context("--accept-model takes 64 hexadecimal digits")?;
                Some(sha256)
            }
        };
        let file = match self.target {
            Target::Raw => verified.open_raw(&secret)?,
            target => export(&payload, target, accepted)?,
        };
        write_private(&self.out, &file, true)?;
        let (target, out) = (self.target.name(), self.out.display().to_string());
        let (bytes, inside) = (file.len(), inside(&payload));
        let words = format!("{target}: {bytes} bytes in {out}\n{inside:#}");
        let shown = json!({ "pipeline": target, "file": out, "bytes": bytes, "payload": inside });
        super::say(self.json, &shown, &words)
    }
}

impl Keygen {
    fn run(self) -> Result<()> {
        let secret = RecipientSecret::generate(&SystemEntropy)?;
        let jwk = Zeroizing::new(serde_json::to_vec_pretty(&Jwk::of(&secret))?);
        write_private(&self.out, &jwk, false)?;
        let public = BASE64_URL_SAFE_NO_PAD.encode(secret.public().as_bytes());
        let shown = json!({ "kid": secret.public().id().to_string(), "public_key": public });
        writeln!(std::io::stdout(), "{shown}")?;
        Ok(())
    }
}

impl Expect {
    fn verify(&self) -> Result<Verified> {
        let keys = keys(&self.keys)?;
        let issuer = match (&self.issuer, is_url(&self.keys)) {
            (Some(issuer), _) => issuer.clone(),
            (None, true) => self.keys.trim_end_matches('/').to_owned(),
            (None, false) => bail!("--issuer is needed where --keys is a file"),
        };
        let bytes = read(&self.file)?;
        let now = self.at.map_or_else(|| SystemClock.now(), |s| Millis(s.saturating_mul(1000)));
        let expect = Expectations::new(&issuer, &self.audience, now);
        let verified = token::verify(&bytes, &keys, &expect).context("the token does not hold")?;
        if let Some(from) = &self.status {
            check_status(&verified.claims, from, &keys, now)?;
        }
        if let (Some(file), Some(key)) = (&self.receipt, &self.log_key) {
            let text =
                std::fs::read(file).with_context(|| format!("can't read {}", file.display()))?;
            let receipt: UseReceipt = serde_json::from_slice(&text)
                .with_context(|| format!("{} is not a use receipt", file.display()))?;
            receipt.verify(&verified, &LogKey::parse(key)?)?;
        }
        Ok(verified)
    }
}

fn check_status(claims: &Claims, from: &str, keys: &KeySet, now: Millis) -> Result<()> {
    let uri = claims.status.uri.as_str();
    let list = if from == "fetch" {
        // Only where the issuer itself says that the list is.
        let path = uri
            .strip_prefix(claims.issuer.as_str())
            .filter(|path| path.starts_with('/'))
            .with_context(|| format!("the status list {uri} is not the issuer's"))?;
        Client::new(&claims.issuer).get(path)?.success(path)?.to_vec()
    } else {
        std::fs::read(from).with_context(|| format!("can't read {from}"))?
    };
    let list = StatusList::verify(&list, keys, uri, now).context("the status list")?;
    match list.get(claims.status.index)? {
        Status::Valid => Ok(()),
        Status::Invalid => bail!("the token was revoked"),
        Status::Suspended => bail!("the token is suspended: the person froze their cameo"),
    }
}

/// The claims, and whom the payload is sealed to.
pub(super) fn describe(verified: &Verified) -> Value {
    let claims = &verified.claims;
    json!({
        "kid": verified.key_id.to_string(), "iss": claims.issuer, "sub": claims.subject,
        "aud": claims.audience, "iat": claims.issued_at, "nbf": claims.not_before,
        "exp": claims.expires_at, "cti": claims.token_id.to_string(), "use_id": claims.use_id,
        "purpose": claims.purpose, "consent_version": claims.consent_version,
        "grant": claims.grant, "restrictions": claims.restrictions, "parent": claims.parent,
        "request_digest": claims.request_digest.map(hex::encode),
        "status": { "idx": claims.status.index, "uri": claims.status.uri },
        "sealed_to": verified.recipient().ok().map(|k| k.to_string()),
    })
}

/// What an opened payload holds, without biometric values.
pub(super) fn inside(payload: &Payload) -> Value {
    let i = &payload.identity;
    let faces: Vec<_> = i
        .faces
        .iter()
        .map(|f| {
            json!({ "pose": f.pose.name(), "norm": f.norm, "quality": f.quality,
                "frame": f.frame, "picture": f.crop.is_some() })
        })
        .collect();
    json!({
        "model": i.model.name, "sha256": hex::encode(i.model.sha256), "dim": i.model.dim,
        "metric": i.model.metric.name(), "faces": faces, "voice": i.voice.is_some(),
    })
}

/// A private X25519 key as a JSON Web Key (RFC 8037).
#[derive(Serialize, Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    kid: Option<String>,
    x: String,
    d: String,
}

impl Jwk {
    fn of(secret: &RecipientSecret) -> Self {
        Self {
            kty: "OKP".into(),
            crv: "X25519".into(),
            kid: Some(secret.public().id().to_string()),
            x: BASE64_URL_SAFE_NO_PAD.encode(secret.public().as_bytes()),
            d: BASE64_URL_SAFE_NO_PAD.encode(secret.expose()),
        }
    }
}

impl Drop for Jwk {
    fn drop(&mut self) {
        self.d.zeroize();
    }
}

fn read_secret(file: &Path) -> Result<RecipientSecret> {
    let shown = file.display();
    let text = std::fs::read(file).with_context(|| format!("can't read {shown}"))?;
    let text = Zeroizing::new(text);
    // Not the parser's words: they may quote the key.
    let jwk: Jwk = serde_json::from_slice(&text)
        .map_err(|_| anyhow::anyhow!("{shown} is not a JSON Web Key with kty, crv, x and d"))?;
    if jwk.kty != "OKP" || jwk.crv != "X25519" {
        bail!("{shown} is not a key of kty OKP and crv X25519");
    }
    let d = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(&jwk.d).unwrap_or_default());
    let d = <[u8; 32]>::try_from(d.as_slice()).map(Zeroizing::new);
    let secret = RecipientSecret::from_bytes(
        &*d.map_err(|_| anyhow::anyhow!("d in {shown} is not 32 bytes in base64url"))?,
    )?;
    if BASE64_URL_SAFE_NO_PAD.encode(secret.public().as_bytes()) != jwk.x {
        bail!("x in {shown} is not the public half of d");
    }
    Ok(secret)
}

/// Writes a file for its owner alone. Keys are never written over another.
fn write_private(path: &Path, bytes: &[u8], replace: bool) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).mode(0o600);
    if replace {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let mut file = options.open(path).with_context(|| format!("can't write {}", path.display()))?;
    file.write_all(bytes)?;
    Ok(file.sync_all()?)
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
