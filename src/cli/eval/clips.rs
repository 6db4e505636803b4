//! The list of clips that captures are made of (`eval/clips.toml`).

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::domain::challenge::Motion;
use crate::workshop::Footage;

/// Clips of living people.
#[derive(Debug)]
pub struct Clips {
    /// People who may turn their heads, and whose sound is not used.
    pub people: Vec<Person>,
    /// People who talk, with their own sound.
    pub talking: Vec<Footage>,
}

/// A living person's clip.
#[derive(Clone, Debug)]
pub struct Person {
    /// Who it is.
    pub subject: String,
    /// The clip.
    pub footage: Footage,
    /// The motions that the head makes in it.
    pub motions: Vec<Motion>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    clip: Vec<Listed>,
    #[serde(default)]
    talking: Vec<Talking>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    file: PathBuf,
    subject: String,
    seconds: f64,
    #[serde(default)]
    motions: Vec<Motion>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Talking {
    file: PathBuf,
    seconds: f64,
}

impl Clips {
    /// Reads a list of clips below `root`.
    ///
    /// # Errors
    /// Where it can't be read, or a clip is not there.
    pub fn read(list: &Path, root: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(list)
            .with_context(|| format!("can't read the list of clips {}", list.display()))?;
        let list: List = toml::from_str(&text).with_context(|| format!("in {}", list.display()))?;
        let footage = |file: &Path, seconds: f64| {
            let path = root.join(file);
            ensure!(path.is_file(), "the clip {} is not there", path.display());
            ensure!((1.0..=60.0).contains(&seconds), "{} is used for 1 to 60 s", file.display());
            Ok(Footage { path, seconds })
        };
        let people = list.clip.into_iter().map(|l| {
            let footage = footage(&l.file, l.seconds)?;
            Ok(Person { subject: l.subject, footage, motions: l.motions })
        });
        let talking = list.talking.iter().map(|t| footage(&t.file, t.seconds));
        Ok(Self {
            people: people.collect::<anyhow::Result<_>>()?,
            talking: talking.collect::<anyhow::Result<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_projects_own_list_is_read() {
        let root = tempfile::tempdir().unwrap();
        let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("eval/clips.toml");
        assert!(Clips::read(&list, root.path()).unwrap_err().to_string().contains("not there"));
        let text = std::fs::read_to_string(&list).unwrap();
        std::fs::create_dir(root.path().join("video")).unwrap();
        for line in text.lines().filter_map(|l| l.strip_prefix("file = ")) {
            std::fs::write(root.path().join(line.trim_matches('"')), "").unwrap();
        }
        let clips = Clips::read(&list, root.path()).unwrap();
        assert!(clips.people.iter().filter(|p| !p.motions.is_empty()).count() >= 3);
        assert!(clips.talking.len() >= 6);
    }
}
