//! `cameo protect`: the block list of faces that nobody may enrol, straight on the database.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use super::eval::faces;
use super::say;
use crate::app::{self, Overrides};
use crate::config::Config;
use crate::domain::ids::ProtectedId;
use crate::domain::template::EmbeddingModel;
use crate::infer::Models;
use crate::service::Services;

/// The largest embedding file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Keep the block list of faces that nobody may enrol.
#[derive(Debug, Subcommand)]
pub enum Protect {
    /// Add a face and print its id
    Add(Add),
    /// List the faces: id, when, model, label
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Take a face off the list and destroy its key
    Remove {
        /// Its id, as `list` shows it
        id: ProtectedId,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Where a face comes from.
#[derive(Debug, Args)]
#[group(id = "face", required = true, multiple = false)]
pub struct From {
    /// A picture (JPEG, PNG, WebP) with the face in it
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// A JSON array: the installed embedding model's vector
    #[arg(long, value_name = "FILE")]
    embedding: Option<PathBuf>,
}

/// A face to add.
#[derive(Debug, Args)]
pub struct Add {
    #[command(flatten)]
    from: From,
    /// What you call it; sealed, and shown to reviewers alone
    #[arg(long)]
    label: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Protect {
    /// Runs the command.
    ///
    /// # Errors
    /// Where a picture shows no face, a model is missing, or the service refuses.
    pub fn run(self, config: Config) -> Result<ExitCode> {
        let face = match &self {
            Self::Add(add) => Some(add.from.face(&app::models(&config)?)?),
            _ => None,
        };
        super::runtime()?.block_on(async {
            let services = app::services(config, Overrides::default()).await?;
            let done = self.act(&services, face).await;
            services.db().close().await;
            done
        })?;
        Ok(ExitCode::SUCCESS)
    }

    async fn act(
        self,
        services: &Services,
        face: Option<(EmbeddingModel, Vec<f32>)>,
    ) -> Result<()> {
        let mut out = std::io::stdout();
        match self {
            Self::Add(add) => {
                let (model, vector) = face.context("no face was read")?;
                let id = services.protect(&add.label, &model, &vector).await?;
                say(add.json, &json!({ "id": id }), id.as_str())?;
            }
            Self::List { json } => {
                let faces = services.protected_faces().await?;
                if json {
                    let shown: Vec<_> = faces
                        .iter()
                        .map(|f| {
                            json!({ "id": f.id, "label": f.label,
                                "model": f.model.id, "created_at": f.created.rfc3339() })
                        })
                        .collect();
                    writeln!(out, "{}", serde_json::Value::from(shown))?;
                } else {
                    for f in &faces {
                        let made = f.created.rfc3339();
                        writeln!(out, "{}  {made}  {}  {}", f.id, f.model.id, f.label)?;
                    }
                }
            }
            Self::Remove { id, json } => {
                services.unprotect(&id).await?;
                let words = format!("{id} is not protected any more");
                say(json, &json!({ "id": id, "removed": true }), &words)?;
            }
        }
        Ok(())
    }
}

impl From {
    fn face(&self, models: &Models) -> Result<(EmbeddingModel, Vec<f32>)> {
        let embedder = models
            .embedder
            .as_ref()
            .context("no face embedding model is installed: run `cameo models install` first")?;
        let vector = match (&self.image, &self.embedding) {
            (Some(image), _) => faces::embed(image, models)?
                .with_context(|| format!("no face was found in {}", image.display()))?,
            (None, Some(file)) => vector(file)?,
            (None, None) => bail!("--image or --embedding is needed"),
        };
        Ok((embedder.model().clone(), vector))
    }
}

fn vector(file: &Path) -> Result<Vec<f32>> {
    let shown = file.display();
    let size = std::fs::metadata(file).with_context(|| format!("can't read {shown}"))?.len();
    if size > MAX_FILE {
        bail!("{shown} is larger than any embedding");
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("can't read {shown}"))?;
    // Not the parser's words: they may quote the value.
    serde_json::from_str(&text).ok().with_context(|| format!("{shown} is no JSON array of numbers"))
}
