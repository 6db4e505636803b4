//! Labeled Faces in the Wild: pictures, and pairs of them in folds.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

/// Pictures by name, and pairs of them in folds.
pub(super) struct DataSet {
    /// The folder of pictures.
    pub(super) pictures: PathBuf,
    /// The pairs of each fold.
    pub(super) folds: Vec<Vec<Pair>>,
}

/// Two pictures.
pub(super) struct Pair {
    /// One picture's file.
    pub(super) first: String,
    /// The other's.
    pub(super) second: String,
    /// Whether they show one person.
    pub(super) same: bool,
}

impl DataSet {
    pub(super) fn open(dir: &Path) -> anyhow::Result<Self> {
        let below = dir.join("faces");
        let dir = if below.is_dir() { below.as_path() } else { dir };
        let pictures = dir.join("lfw");
        ensure!(pictures.is_dir(), "{} has no folder lfw", dir.display());
        let mut lists: Vec<PathBuf> = std::fs::read_dir(dir)
            .with_context(|| format!("can't read {}", dir.display()))?
            .filter_map(|e| e.ok().map(|e| e.path()))
            .filter(|p| {
                let name = p.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with("pairs") && name.ends_with(".txt")
            })
            .collect();
        lists.sort();
        let list = lists.first().with_context(|| format!("{} has no pairs*.txt", dir.display()))?;
        let text = std::fs::read_to_string(list)
            .with_context(|| format!("can't read {}", list.display()))?;
        let folds = parse(&text).with_context(|| format!("in {}", list.display()))?;
        Ok(Self { pictures, folds })
    }

    /// Every picture once, sorted.
    pub(super) fn pictures(&self) -> Vec<&str> {
        let pairs = self.folds.iter().flatten();
        let mut all: Vec<&str> =
            pairs.flat_map(|p| [p.first.as_str(), p.second.as_str()]).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// LFW's list: the number of folds and of pairs, then for each fold so many lines `NAME I J` of
/// genuine and so many lines `NAME I NAME J` of impostor pairs.
fn parse(text: &str) -> anyhow::Result<Vec<Vec<Pair>>> {
    let mut lines = text.lines();
    let head: Vec<usize> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .context("the first line must hold two numbers")?;
    let [folds, each] = head[..] else { bail!("the first line must hold two numbers") };
    ensure!((2..=1000).contains(&folds) && (1..=100_000).contains(&each), "no sensible numbers");
    let mut all = Vec::new();
    for _ in 0..folds {
        let mut fold = Vec::new();
        for i in 0..2 * each {
            let line = lines.next().context("fewer pairs than the first line says")?;
            let words: Vec<&str> = line.split_whitespace().collect();
            let (a, i_a, b, i_b) = match (words.as_slice(), i < each) {
                ([name, a, b], true) => (name, a, name, b),
                ([a, i_a, b, i_b], false) => (a, i_a, b, i_b),
                _ => bail!("not a pair: {line}"),
            };
            fold.push(Pair { first: picture(a, i_a)?, second: picture(b, i_b)?, same: i < each });
        }
        all.push(fold);
    }
    Ok(all)
}

fn picture(name: &str, number: &str) -> anyhow::Result<String> {
    let plain = name.chars().all(|c| c.is_alphanumeric() || "_-.'".contains(c));
    ensure!(plain && !name.contains(".."), "not a name: {name}");
    let number: u32 = number.parse().with_context(|| format!("not a number: {number}"))?;
    Ok(format!("{name}_{number:04}.jpg"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lfw_lists() {
        let text = "2\t1\nA_B\t1\t4\nA_B\t1\tC\t12\nD\t2\t3\nD\t1\tE\t1\n";
        let folds = parse(text).unwrap();
        assert_eq!(folds.len(), 2);
        assert_eq!(folds[0][0].second, "A_B_0004.jpg");
        assert_eq!((folds[0][1].second.as_str(), folds[0][1].same), ("C_0012.jpg", false));
        for bad in ["", "2", "2 1\nA 1 2", "2 1\n../x 1 2\n", "2 1\nA 1 x\n", "9999999 9999999\n"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
