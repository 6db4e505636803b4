//! A folder of recordings that is not part of the project: what it lists.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail, ensure};

/// One line of `MANIFEST.tsv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Path below the folder.
    pub path: PathBuf,
    /// Who speaks, such as `an4_fash`: a corpus and a code.
    pub speaker: String,
    /// What is said.
    pub label: String,
}

/// Reads `MANIFEST.tsv` (columns path, source, speaker, label, licence, notes).
///
/// # Errors
/// Where there is none, or a line is not of that form.
pub fn manifest(root: &Path) -> anyhow::Result<Vec<Recording>> {
    let path = root.join("MANIFEST.tsv");
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!("can't read {}: name the folder of recordings with --datasets", path.display())
    })?;
    let mut recordings = Vec::new();
    for (i, line) in text.lines().enumerate().skip(1).filter(|(_, l)| !l.trim().is_empty()) {
        let columns: Vec<&str> = line.split('\t').map(|c| c.trim_matches('"')).collect();
        let [path, _, speaker, label, ..] = columns[..] else {
            bail!("line {} of MANIFEST.tsv has fewer than four columns", i + 1);
        };
        let path = PathBuf::from(path);
        let plain = path.components().all(|c| matches!(c, Component::Normal(_)));
        ensure!(plain, "line {} of MANIFEST.tsv leads out of the folder", i + 1);
        let [speaker, label] = [speaker, label].map(str::to_owned);
        recordings.push(Recording { path, speaker, label });
    }
    Ok(recordings)
}

/// The files of a folder whose names end in one of `endings`, sorted. Empty where there is no such
/// folder.
pub fn files(dir: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|e| e.ok().map(|e| e.path()))
        .filter(|p| p.extension().is_some_and(|e| endings.iter().any(|x| e == *x)))
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_read_and_stay_in_their_folder() {
        let dir = tempfile::tempdir().unwrap();
        let write = |text: &str| std::fs::write(dir.path().join("MANIFEST.tsv"), text).unwrap();
        assert!(manifest(dir.path()).unwrap_err().to_string().contains("--datasets"));
        write(
            "path\tsource\tspeaker\tlabel\tlicence\tnotes\na/b.flac\tx\tan4_q\tone two\t\"y\"\tz\n",
        );
        let rows = manifest(dir.path()).unwrap();
        assert_eq!((rows[0].speaker.as_str(), rows[0].label.as_str()), ("an4_q", "one two"));
        for bad in ["h\na/b.flac\tx\n", "h\n../b\tx\ty\tz\n", "h\n/b\tx\ty\tz\n"] {
            write(bad);
            assert!(manifest(dir.path()).is_err());
        }
    }
}
