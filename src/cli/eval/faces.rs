//! `cameo eval faces`: face verification after the protocol of Labeled Faces in the Wild.
//!
//! Pairs come in folds; a fold's accuracy is taken at the threshold that is best on the *other*
//! folds (Huang et al. 2007, "image-restricted"). The same detector, mesh and alignment run as in
//! the service. A picture without a face is counted, and its pairs as "different people".

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::domain::evidence::ModelRole;
use crate::infer::picture::Frame;
use crate::infer::track::Tracker;
use crate::infer::{self, Models};

/// Longest side of a picture that is read.
const MAX_SIDE: u32 = 4096;

/// Measure face verification on pairs of pictures.
#[derive(Clone, Debug, clap::Args)]
pub struct FacesArgs {
    /// Folder with `lfw/NAME_0001.jpg` … and a file `pairs*.txt` in LFW's format, or a folder
    /// with such a `faces` folder.
    #[arg(long, value_name = "DIR", env = "CAMEO_DATASETS_DIR")]
    pub datasets: PathBuf,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
    /// Pictures that are looked at side by side.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub threads: u8,
}

/// How well faces are told apart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The embedding model's id.
    pub model: String,
    /// Folds.
    pub folds: usize,
    /// Pairs of one person.
    pub genuine: usize,
    /// Pairs of two people.
    pub impostor: usize,
    /// Pictures in which no face was found.
    pub not_found: usize,
    /// Mean accuracy over the folds.
    pub accuracy: f64,
    /// Its standard error over the folds.
    pub standard_error: f64,
    /// Genuine pairs accepted where at most 1 % of the impostor pairs are.
    pub tar_at_far_1_percent: f64,
    /// Genuine pairs accepted where at most 0.1 % of the impostor pairs are.
    pub tar_at_far_01_percent: f64,
    /// The distance of that threshold.
    pub distance_at_far_01_percent: f32,
    /// Where as many genuine pairs are refused as impostor pairs accepted.
    pub equal_error_rate: f64,
    /// The distance of that threshold.
    pub distance_at_equal_error_rate: f32,
}

/// Runs the measurement and prints the report.
///
/// # Errors
/// Where the data set can't be read or a model is missing.
pub fn run(args: &FacesArgs, models: &Models) -> anyhow::Result<()> {
    let report = measure(&args.datasets, models, usize::from(args.threads))?;
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &report)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{report}")?;
    }
    Ok(())
}

/// Measures all pairs of a data set with `threads` threads.
///
/// # Errors
/// Where the data set can't be read or a model is missing.
pub fn measure(dataset: &Path, models: &Models, threads: usize) -> anyhow::Result<Report> {
    let set = DataSet::open(dataset)?;
    let embedder =
        models.embedder.as_ref().ok_or(infer::Error::RoleMissing(ModelRole::FaceEmbedding))?;
    let vectors = embed_all(&set, models, threads)?;
    let metric = embedder.model().metric;
    let folds: Vec<Vec<Scored>> = set
        .folds
        .iter()
        .map(|pairs| {
            let scored = |p: &Pair| Scored {
                same: p.same,
                distance: match (vectors.get(&p.first), vectors.get(&p.second)) {
                    (Some(a), Some(b)) => metric.distance(a, b),
                    _ => f32::INFINITY,
                },
            };
            pairs.iter().map(scored).collect()
        })
        .collect();
    let not_found = set.pictures().len() - vectors.len();
    Ok(judge(embedder.model().id.clone(), &folds, not_found))
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = |v: f64| v * 100.0;
        writeln!(
            f,
            "{}: {} genuine and {} impostor pairs in {} folds; no face in {} pictures",
            self.model, self.genuine, self.impostor, self.folds, self.not_found
        )?;
        writeln!(
            f,
            "accuracy            {:6.2} % ± {:.2} (standard error over folds)",
            percent(self.accuracy),
            percent(self.standard_error)
        )?;
        writeln!(f, "TAR at FAR 1 %      {:6.2} %", percent(self.tar_at_far_1_percent))?;
        writeln!(
            f,
            "TAR at FAR 0.1 %    {:6.2} % (distance {:.3})",
            percent(self.tar_at_far_01_percent),
            self.distance_at_far_01_percent
        )?;
        write!(
            f,
            "equal error rate    {:6.2} % (distance {:.3})",
            percent(self.equal_error_rate),
            self.distance_at_equal_error_rate
        )
    }
}

/// Pictures by name, and pairs of them in folds.
struct DataSet {
    pictures: PathBuf,
    folds: Vec<Vec<Pair>>,
}

struct Pair {
    first: String,
    second: String,
    same: bool,
}

struct Scored {
    same: bool,
    distance: f32,
}

impl DataSet {
    fn open(dir: &Path) -> anyhow::Result<Self> {
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
    fn pictures(&self) -> Vec<&str> {
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

/// The vectors of all pictures in which a face was found.
fn embed_all(
    set: &DataSet,
    models: &Models,
    threads: usize,
) -> anyhow::Result<BTreeMap<String, Vec<f32>>> {
    let pictures = set.pictures();
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} pictures, {eta} left")?;
    let bar = ProgressBar::new(pictures.len() as u64).with_style(style);
    let next = AtomicUsize::new(0);
    let vectors = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        let work = || -> anyhow::Result<()> {
            while let Some(name) = pictures.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Some(vector) = embed(&set.pictures.join(name), models)? {
                    let mut all = vectors.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    all.insert((*name).to_owned(), vector);
                }
                bar.inc(1);
            }
            Ok(())
        };
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            match worker.join() {
                Ok(outcome) => outcome?,
                Err(_) => bail!("a worker thread failed"),
            }
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    Ok(vectors.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// The vector of the face in a picture; `None` where none was found.
///
/// # Errors
/// Where the file is no picture of a sensible size, or a model fails.
pub(in crate::cli) fn embed(path: &Path, models: &Models) -> anyhow::Result<Option<Vec<f32>>> {
    let mut reader =
        image::ImageReader::open(path).with_context(|| format!("can't read {}", path.display()))?;
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    reader.limits(limits);
    let rgb = reader.decode().with_context(|| format!("in {}", path.display()))?.into_rgb8();
    let frame = Frame::new(rgb.width(), rgb.height(), rgb.as_raw())?;
    let Some(embedder) = &models.embedder else { return Ok(None) };
    let seen = Tracker::new(models)?.see(0, 0, &frame)?;
    let Some(face) = seen.face else { return Ok(None) };
    let Some(aligned) = embedder.align(&frame, &face.mesh)? else { return Ok(None) };
    Ok(Some(embedder.embed(&aligned)?))
}

fn judge(model: String, folds: &[Vec<Scored>], not_found: usize) -> Report {
    let all: Vec<&Scored> = folds.iter().flatten().collect();
    let sorted = |same: bool| {
        let mut d: Vec<f32> = all.iter().filter(|s| s.same == same).map(|s| s.distance).collect();
        d.sort_by(f32::total_cmp);
        d
    };
    let (genuine, impostor) = (sorted(true), sorted(false));
    let accuracies: Vec<f64> = (0..folds.len())
        .map(|held_out| {
            let others = folds.iter().enumerate().filter(|(i, _)| *i != held_out);
            let threshold = best_threshold(others.flat_map(|(_, f)| f));
            let fold = &folds[held_out];
            let right = fold.iter().filter(|s| (s.distance <= threshold) == s.same).count();
            right as f64 / fold.len().max(1) as f64
        })
        .collect();
    let n = accuracies.len().max(2) as f64;
    let accuracy = accuracies.iter().sum::<f64>() / n;
    let variance = accuracies.iter().map(|a| (a - accuracy).powi(2)).sum::<f64>() / (n - 1.0);
    let (tar_1, _) = tar_at(&genuine, &impostor, 0.01);
    let (tar_01, distance_01) = tar_at(&genuine, &impostor, 0.001);
    let (eer, distance_eer) = equal_error(&genuine, &impostor);
    Report {
        model,
        folds: folds.len(),
        genuine: genuine.len(),
        impostor: impostor.len(),
        not_found,
        accuracy,
        standard_error: (variance / n).sqrt(),
        tar_at_far_1_percent: tar_1,
        tar_at_far_01_percent: tar_01,
        distance_at_far_01_percent: distance_01,
        equal_error_rate: eer,
        distance_at_equal_error_rate: distance_eer,
    }
}

/// The distance at which most pairs are judged right.
fn best_threshold<'a>(pairs: impl Iterator<Item = &'a Scored>) -> f32 {
    let mut pairs: Vec<&Scored> = pairs.collect();
    pairs.sort_by(|a, b| a.distance.total_cmp(&b.distance));
    // Accepting the first i pairs: every genuine one more is a gain, every impostor a loss.
    let (mut gain, mut best, mut threshold) = (0i64, 0i64, 0.0);
    for (i, p) in pairs.iter().enumerate() {
        gain += if p.same { 1 } else { -1 };
        if gain > best {
            best = gain;
            // Half-way to the next pair: no closer to the one side than to the other.
            let next = pairs.get(i + 1).map_or(p.distance, |n| n.distance);
            threshold = if next.is_finite() { f32::midpoint(p.distance, next) } else { p.distance };
        }
    }
    threshold
}

/// The part of sorted genuine distances that is accepted at the largest threshold which accepts at
/// most `far` of the sorted impostor distances, and that threshold.
fn tar_at(genuine: &[f32], impostor: &[f32], far: f64) -> (f64, f32) {
    let allowed = (impostor.len() as f64 * far).floor() as usize;
    // Just below the first impostor that must be refused.
    let threshold = impostor.get(allowed).map_or(f32::INFINITY, |d| d.next_down());
    let accepted = genuine.partition_point(|d| *d <= threshold);
    (accepted as f64 / genuine.len().max(1) as f64, threshold)
}

/// Where the rates of refused genuine and accepted impostor pairs cross.
fn equal_error(genuine: &[f32], impostor: &[f32]) -> (f64, f32) {
    let mut best = (1.0, 0.0, f64::INFINITY);
    for threshold in genuine.iter().chain(impostor).filter(|d| d.is_finite()) {
        let refused = genuine.len() - genuine.partition_point(|d| d <= threshold);
        let accepted = impostor.partition_point(|d| d <= threshold);
        let frr = refused as f64 / genuine.len().max(1) as f64;
        let far = accepted as f64 / impostor.len().max(1) as f64;
        if (frr - far).abs() < best.2 {
            best = (f64::midpoint(frr, far), *threshold, (frr - far).abs());
        }
    }
    (best.0, best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(genuine: &[f32], impostor: &[f32]) -> Vec<Scored> {
        let of =
            |d: &[f32], same| d.iter().map(|d| Scored { same, distance: *d }).collect::<Vec<_>>();
        of(genuine, true).into_iter().chain(of(impostor, false)).collect()
    }

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

    #[test]
    fn separable_pairs_are_all_right() {
        let folds = [scored(&[0.1, 0.2], &[0.8, 0.9]), scored(&[0.15, 0.3], &[0.7, 0.95])];
        let report = judge("m".to_owned(), &folds, 0);
        assert!((report.accuracy - 1.0).abs() < 1e-9 && report.standard_error.abs() < 1e-9);
        assert!((report.tar_at_far_1_percent - 1.0).abs() < 1e-9);
        assert!(report.equal_error_rate.abs() < 1e-9);
    }

    #[test]
    fn a_missing_face_is_a_different_person() {
        let folds = [
            scored(&[0.1, f32::INFINITY], &[0.8, f32::INFINITY]),
            scored(&[0.2, 0.3], &[0.7, 0.9]),
        ];
        let report = judge("m".to_owned(), &folds, 2);
        assert!((report.accuracy - 0.875).abs() < 1e-9, "{}", report.accuracy);
    }

    #[test]
    fn rates_of_overlapping_pairs() {
        let genuine: Vec<f32> = (0..100).map(|i| i as f32 / 100.0).collect();
        let impostor: Vec<f32> = (0..100).map(|i| 0.9 + i as f32 / 100.0).collect();
        let (tar, _) = tar_at(&genuine, &impostor, 0.0);
        assert!((tar - 0.90).abs() < 0.011, "{tar}");
        let (tar, _) = tar_at(&genuine, &impostor, 0.05);
        assert!((tar - 0.95).abs() < 0.011, "{tar}");
        let (eer, at) = equal_error(&genuine, &impostor);
        assert!((eer - 0.05).abs() < 0.011 && (at - 0.95).abs() < 0.011, "{eer} at {at}");
    }
}
