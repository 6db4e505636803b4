//! The models that a measurement compares: those of each set for one role, wherever they lie.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::app;
use crate::config::Config;
use crate::infer::manifest::{Manifest, Model, Role, Set, Source};
use crate::infer::{LoadOptions, Models};

/// One set's models for a role, loaded.
#[derive(Debug)]
pub struct Contender {
    /// What the report calls it.
    pub name: Named,
    /// The models of the role, and nothing else.
    pub models: Models,
}

/// A contender in a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Named {
    /// The set.
    pub set: Set,
    /// Ids and hashes of its models for the role.
    pub models: Vec<(String, String)>,
}

/// A set that could not take part, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Absent {
    /// The set.
    pub set: Set,
    /// What is missing.
    pub why: String,
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<&str> = self.models.iter().map(|(id, _)| id.as_str()).collect();
        write!(f, "{} ({})", self.set, ids.join(" + "))
    }
}

/// The contenders for a role: the hermetic and the recommended set, each only with models of its
/// own. Files are looked for in the installation and, beside it, in `extra`.
///
/// # Errors
/// Where the manifest or the runtime can't be used, or a file is not the manifest's.
pub fn contenders(
    config: &Config,
    extra: Option<&Path>,
    role: Role,
) -> anyhow::Result<(Vec<Contender>, Vec<Absent>)> {
    let manifest = app::manifest(config.models.manifest.as_deref())?;
    let (mut there, mut absent) = (Vec::new(), Vec::new());
    for set in [Set::Hermetic, Set::Recommended] {
        match located(&manifest, config, extra, set, role) {
            Ok(models) => {
                let options = LoadOptions {
                    set,
                    dir: config.models.dir.clone(),
                    runtime: config.models.runtime.clone(),
                    sessions: 1,
                };
                let chosen: Vec<&Model> = models.iter().collect();
                let name = Named {
                    set,
                    models: models.iter().map(|m| (m.id.clone(), m.sha256.to_string())).collect(),
                };
                there.push(Contender { name, models: Models::load_only(&chosen, &options)? });
            }
            Err(why) => absent.push(Absent { set, why }),
        }
    }
    Ok((there, absent))
}

/// A set's own models for a role with absolute paths, or what is missing.
fn located(
    manifest: &Manifest,
    config: &Config,
    extra: Option<&Path>,
    set: Set,
    role: Role,
) -> Result<Vec<Model>, String> {
    let own: Vec<&Model> = manifest.set(set).filter(|m| m.role == role).collect();
    if own.is_empty() {
        return Err(format!("the manifest has no {role} model in it"));
    }
    own.into_iter()
        .map(|model| {
            let places = places(model, &config.models.dir, extra);
            let file = places.into_iter().find(|p| p.is_file()).and_then(|p| p.canonicalize().ok());
            let file = file.ok_or_else(|| format!("{} is not installed", model.id))?;
            let file = file.into_os_string().into_string();
            let file = file.map_err(|_| format!("the path of {} is not UTF-8", model.id))?;
            Ok(Model { file, ..model.clone() })
        })
        .collect()
}

/// Where a model's file may lie: installed, or as it came in a folder beside.
fn places(model: &Model, dir: &Path, extra: Option<&Path>) -> Vec<PathBuf> {
    let mut names = vec![model.file.as_str()];
    match &model.source {
        Source::File { name, .. } => names.push(name),
        Source::Url { url, .. } => names.extend(url.rsplit('/').next()),
        Source::Package { .. } | Source::Builtin { .. } => {}
    }
    let beside = extra.into_iter().flat_map(|e| names.iter().map(|n| e.join(n)));
    std::iter::once(model.path(dir)).chain(beside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_found_under_either_name_and_absence_is_told() {
        let (dir, extra) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut config = Config::default();
        config.models.dir = dir.path().to_owned();
        let manifest = Manifest::embedded().unwrap();
        let find = |set, role| located(&manifest, &config, Some(extra.path()), set, role);
        assert!(find(Set::Recommended, Role::AntiSpoof).unwrap_err().contains("not installed"));
        std::fs::write(extra.path().join("minifasnet_v2_2.7_80x80.onnx"), "x").unwrap();
        std::fs::write(dir.path().join("minifasnet_v1se.onnx"), "x").unwrap();
        let found = find(Set::Recommended, Role::AntiSpoof).unwrap();
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|m| Path::new(&m.file).is_absolute()));
    }
}
