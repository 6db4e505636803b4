//! `cameo eval faces`: face verification after the protocol of Labeled Faces in the Wild.
//!
//! Pairs come in folds; a fold's accuracy is taken at the threshold that is best on the *other*
//! folds (Huang et al. 2007, "image-restricted"). The same detector, mesh and alignment run as in
//! the service. A picture without a face is counted, and its pairs as "different people".

mod pairs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use super::parallel;

use crate::domain::evidence::ModelRole;
use crate::infer::picture::Frame;
use crate::infer::track::Tracker;
use crate::infer::{self, Models};
use pairs::{DataSet, Pair};

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
    super::print(&report, args.json)
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
        writeln!(
            f,
            "equal error rate    {:6.2} % (distance {:.3})",
            percent(self.equal_error_rate),
            self.distance_at_equal_error_rate
        )
    }
}

struct Scored {
    same: bool,
    distance: f32,
}

/// The vectors of all pictures in which a face was found.
fn embed_all(
    set: &DataSet,
    models: &Models,
    threads: usize,
) -> anyhow::Result<BTreeMap<String, Vec<f32>>> {
    let pictures = set.pictures();
    let bar = super::progress("pictures", pictures.len());
    let vectors = parallel::each(&pictures, threads, &bar, |name| {
        Ok(embed(&set.pictures.join(name), models)?.map(|vector| ((*name).to_owned(), vector)))
    })?;
    bar.finish_and_clear();
    Ok(vectors.into_iter().flatten().collect())
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
