//! `cameo keys`: API keys and signing keys, straight on the database.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::Subcommand;
use serde_json::json;

use super::say;
use crate::app::{self, Overrides};
use crate::config::Config;
use crate::domain::access::Role;
use crate::domain::ids::ApiKeyId;
use crate::env::Millis;
use crate::service::Services;

/// Make, list and revoke API keys; rotate the signing key.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a key and print it once
    Create {
        /// What it may: app, generator, auditor, reviewer or admin
        #[arg(long)]
        role: Role,
        /// What you call it
        #[arg(long)]
        name: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// List the keys, without secrets
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key, at once
    Revoke {
        /// Its id, as `list` shows it
        id: ApiKeyId,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Add a signing key: it is published now, and signs when the old keys' caches have run out
    Rotate {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// After a change of the master key: wrap under the new one whatever an earlier one wrapped
    Rewrap {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Register the X25519 public key that a generator's tokens are sealed to
    Recipient {
        /// The generator's API key id
        #[arg(long)]
        generator: ApiKeyId,
        /// The public key: 32 bytes in base64url, as `cameo token keygen` prints it
        #[arg(long, value_name = "BASE64URL")]
        public: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

impl Keys {
    /// Runs the command.
    ///
    /// # Errors
    /// Those of the service.
    pub fn run(self, config: Config) -> Result<ExitCode> {
        super::runtime()?.block_on(async {
            let services = app::services(config, Overrides::default()).await?;
            let done = self.act(&services).await;
            services.db().close().await;
            done
        })?;
        Ok(ExitCode::SUCCESS)
    }

    async fn act(self, services: &Services) -> Result<()> {
        let mut out = std::io::stdout();
        match self {
            Self::Create { role, name, json } => {
                let (info, secret) = services.create_key(role, &name).await?;
                if json {
                    let shown = json!({ "id": info.id, "key": secret.expose() });
                    writeln!(out, "{shown}")?;
                } else {
                    writeln!(out, "{}", secret.expose())?;
                }
            }
            Self::List { json: true } => {
                writeln!(out, "{}", serde_json::to_string(&services.list_keys().await?)?)?;
            }
            Self::List { json: false } => {
                for k in services.list_keys().await? {
                    let state = k.revoked_at.map_or_else(
                        || "active".to_owned(),
                        |at| format!("revoked {}", at.rfc3339()),
                    );
                    let (role, made) = (k.role.name(), k.created_at.rfc3339());
                    writeln!(out, "{}  {role:<9}  {made}  {state:<9}  {}", k.id, k.name)?;
                }
            }
            Self::Revoke { id, json } => {
                services.revoke_key(&id).await?;
                say(json, &json!({ "id": id, "revoked": true }), &format!("{id} is revoked"))?;
            }
            Self::Rewrap { json } => {
                let done = services.rewrap().await?;
                let (people, keys, hooks) = (done.subjects, done.signing_keys, done.webhooks);
                let faces = done.protected;
                let words = format!(
                    "wrapped anew: {people} people's keys, {keys} signing keys, {hooks} webhooks, \
                     {faces} protected faces; \
                     once every process has the new master key as current, earlier ones can go"
                );
                let shown = json!({ "subjects": people, "signing_keys": keys, "webhooks": hooks,
                    "protected_faces": faces });
                say(json, &shown, &words)?;
            }
            Self::Recipient { generator, public, json } => {
                let bytes = BASE64_URL_SAFE_NO_PAD.decode(&public).ok();
                let bytes = bytes.and_then(|b| <[u8; 32]>::try_from(b).ok());
                let bytes = bytes.context("--public takes 32 bytes in base64url")?;
                let info = services.add_recipient(&generator, bytes).await?;
                let words = format!("{} is what tokens for {generator} are sealed to", info.kid);
                say(json, &json!({ "kid": info.kid, "generator": generator }), &words)?;
            }
            Self::Rotate { json } => {
                let (kid, from): (_, Millis) = services.rotate_signing_key().await?;
                let from = from.rfc3339();
                let words = format!("{kid} is published, and signs from {from} on");
                say(json, &json!({ "kid": kid.to_string(), "signs_from": from }), &words)?;
            }
        }
        Ok(())
    }
}
