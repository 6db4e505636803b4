//! A data set of captures: what each is, and what was asked in it.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use crate::domain::challenge::{Challenge, Motion};
use crate::env::Millis;

/// The name of a data set's list in its folder.
pub const FILE: &str = "manifest.json";
/// The version of the list's form.
const VERSION: u16 = 1;

/// A data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of this form.
    pub version: u16,
    /// The captures.
    pub cases: Vec<Case>,
}

/// A capture.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Its name, unlike any other's.
    pub id: String,
    /// The file, below the data set's folder.
    pub file: PathBuf,
    /// Who is seen; whoever is measured several times is one subject.
    pub subject: String,
    /// Who is heard.
    pub speaker: String,
    /// What it is.
    #[serde(flatten)]
    pub class: Class,
    /// The digits that were asked for.
    pub digits: Vec<u8>,
    /// The motions that were asked for.
    pub motions: Vec<Motion>,
    /// Checks that a capture composed like this can't answer, by name: they are left out when it is
    /// counted.
    #[serde(default)]
    pub unfit: Vec<String>,
}

impl std::fmt::Debug for Case {
    /// Without the digits: people said them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Case({}, {:?})", self.id, self.class)
    }
}

/// What a capture is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "class", rename_all = "snake_case")]
pub enum Class {
    /// A living person who does what was asked.
    BonaFide {
        /// Under which condition.
        condition: String,
    },
    /// An attack.
    Attack {
        /// Its species.
        species: String,
        /// The species' parameters.
        #[serde(default)]
        parameters: serde_json::Value,
        /// The checks that look at what is false in it, by name.
        touches: Vec<String>,
    },
}

impl Class {
    /// The condition's or the species' name.
    pub fn name(&self) -> &str {
        match self {
            Self::BonaFide { condition } => condition,
            Self::Attack { species, .. } => species,
        }
    }

    /// Whether it is an attack.
    pub fn is_attack(&self) -> bool {
        matches!(self, Self::Attack { .. })
    }
}

impl Case {
    /// The challenge that the capture answers, or should.
    ///
    /// # Errors
    /// Where there are too few or too many cues.
    pub fn challenge(&self) -> anyhow::Result<Challenge> {
        let (digits, motions) = (self.digits.clone(), self.motions.clone());
        Challenge::new(digits, motions, Millis(0), Millis(180_000))
            .with_context(|| format!("the challenge of {}", self.id))
    }

    /// The checks that are left out when it is counted. One that looks at what an attack fakes is
    /// never left out.
    pub fn left_out(&self) -> Vec<&str> {
        let touched: &[String] = match &self.class {
            Class::Attack { touches, .. } => touches,
            Class::BonaFide { .. } => &[],
        };
        self.unfit.iter().filter(|c| !touched.contains(c)).map(String::as_str).collect()
    }
}

impl Manifest {
    /// A data set of these cases.
    pub fn of(cases: Vec<Case>) -> Self {
        Self { version: VERSION, cases }
    }

    /// Reads a data set's list.
    ///
    /// # Errors
    /// Where there is none, or it is not of this form.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        let bytes = std::fs::read(&path).with_context(|| {
            format!("can't read {}: make a data set with `cameo eval workshop`", path.display())
        })?;
        let manifest: Self =
            serde_json::from_slice(&bytes).with_context(|| format!("in {}", path.display()))?;
        ensure!(manifest.version == VERSION, "{} has another version", path.display());
        let mut ids = std::collections::BTreeSet::new();
        for case in &manifest.cases {
            let named = case.id.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
            ensure!(named && !case.id.is_empty(), "an id is no plain name: {:?}", case.id);
            ensure!(ids.insert(&case.id), "two cases are called {}", case.id);
            let plain = case.file.components().all(|c| matches!(c, Component::Normal(_)));
            ensure!(plain, "the file of {} leads out of the folder", case.id);
            case.challenge()?;
        }
        Ok(manifest)
    }

    /// Writes the list into its folder.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let path = folder.join(FILE);
        std::fs::write(&path, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("can't write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(id: &str, class: Class) -> Case {
        Case {
            id: id.into(),
            file: "a.webm".into(),
            subject: "s".into(),
            speaker: "v".into(),
            class,
            digits: vec![1, 2, 3, 4],
            motions: vec![Motion::Left],
            unfit: vec!["sync".into(), "pad".into()],
        }
    }

    #[test]
    fn lists_come_back_and_bad_ones_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Manifest::read(dir.path()).unwrap_err().to_string().contains("eval workshop"));
        let genuine = case("a", Class::BonaFide { condition: "as recorded".into() });
        let attack = case(
            "b",
            Class::Attack {
                species: "dubbed".into(),
                parameters: serde_json::json!({"ms": 1}),
                touches: vec!["sync".into()],
            },
        );
        assert_eq!((genuine.left_out(), attack.left_out()), (vec!["sync", "pad"], vec!["pad"]));
        let good = Manifest::of(vec![genuine.clone(), attack]);
        good.write(dir.path()).unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap(), good);
        let twice = vec![genuine.clone(), genuine.clone()];
        let outside = vec![Case { file: "../x".into(), ..genuine.clone() }];
        let odd = vec![Case { id: "a/b".into(), ..genuine.clone() }];
        let short = vec![Case { digits: vec![1], ..genuine }];
        for bad in [twice, outside, odd, short] {
            Manifest::of(bad).write(dir.path()).unwrap();
            assert!(Manifest::read(dir.path()).is_err());
        }
    }
}
