//! `cameo eval duplicates`: how well a face is found again among everyone who is enrolled, and how
//! often somebody else's is.
//!
//! All pictures of LFW are compared with each other: what a pair of strangers' false match rate (FMR)
//! is at a distance, and what part of a person's own pairs lies within it. Then as the service does
//! it: the first picture of each person is enrolled in an index and every other picture looked for
//! (false positive and false negative identification rate, FPIR and FNIR, ISO/IEC 19795-1).

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use serde::Serialize;

use super::stats::Rate;
use super::{faces, parallel, progress};
use crate::domain::evidence::ModelRole;
use crate::domain::template::EmbeddingModel;
use crate::infer::{self, Models};
use crate::search::Index;

/// False match rates whose distance is reported.
const RATES: [f64; 4] = [1e-3, 1e-4, 1e-5, 1e-6];

/// Measure how well a face is found again among everyone who is enrolled.
#[derive(Clone, Debug, clap::Args)]
pub struct DuplicatesArgs {
    /// Folder with `lfw/NAME_0001.jpg` …, or a folder with such a `faces` folder.
    #[arg(long, value_name = "DIR", env = "CAMEO_DATASETS_DIR")]
    pub datasets: PathBuf,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
    /// Pictures that are looked at side by side.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub threads: u8,
}

/// What lies within a distance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The distance.
    pub distance: f32,
    /// Pairs of strangers within it.
    pub false_matches: usize,
    /// Of all pairs of strangers.
    pub fmr: f64,
    /// Pairs of one person beyond it, of all of those.
    pub fnmr: f64,
}

/// How well faces are found among many.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The embedding model's id.
    pub model: String,
    /// Its file.
    pub model_sha256: String,
    /// People with a picture in which a face was found.
    pub people: usize,
    /// Such pictures.
    pub pictures: usize,
    /// Pictures in which none was.
    pub not_found: usize,
    /// Pairs of pictures of one person.
    pub genuine: usize,
    /// Pairs of pictures of two.
    pub impostor: usize,
    /// The distances at each of the rates that are reported.
    pub at_fmr: Vec<Point>,
    /// The manifest's.
    pub threshold: Point,
    /// Searches of people who are enrolled that did not find them at the threshold.
    pub fnir: Rate,
    /// Searches of people who are not enrolled that found somebody at the threshold.
    pub fpir: Rate,
    /// Searches whose nearest person is the one that brute force finds.
    pub recall_at_1: Rate,
}

/// Runs the measurement and prints the report.
///
/// # Errors
/// Where the data set can't be read or a model is missing.
pub fn run(args: &DuplicatesArgs, models: &Models) -> anyhow::Result<()> {
    let report = measure(args, models)?;
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &report)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{report}")?;
    }
    Ok(())
}

/// A picture's person, by number, and its vector.
type Face = (usize, Vec<f32>);

/// Measures a data set.
///
/// # Errors
/// Where the data set can't be read or a model is missing.
pub fn measure(args: &DuplicatesArgs, models: &Models) -> anyhow::Result<Report> {
    let embedder =
        models.embedder.as_ref().ok_or(infer::Error::RoleMissing(ModelRole::FaceEmbedding))?;
    let pictures = pictures(&args.datasets)?;
    let faces = embed_all(&pictures, models, usize::from(args.threads))?;
    let model = embedder.model();
    let (genuine, impostor) = distances(&faces, model);
    ensure!(!genuine.is_empty() && !impostor.is_empty(), "too few faces were found");
    let at = |distance| point(&genuine, &impostor, distance);
    let within = |rate: f64| {
        let allowed = (impostor.len() as f64 * rate).floor() as usize;
        at(impostor.get(allowed).map_or(f32::MAX, |d| d.next_down()))
    };
    let searched = search(&faces, model, embedder.duplicate())?;
    let people: std::collections::BTreeSet<_> = faces.iter().map(|(person, _)| person).collect();
    Ok(Report {
        model: model.id.clone(),
        model_sha256: model.sha256.clone(),
        people: people.len(),
        pictures: faces.len(),
        not_found: pictures.len() - faces.len(),
        genuine: genuine.len(),
        impostor: impostor.len(),
        at_fmr: RATES.into_iter().map(within).collect(),
        threshold: at(embedder.duplicate()),
        fnir: searched.missed,
        fpir: searched.strangers,
        recall_at_1: searched.recall,
    })
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{}: {} pictures of {} people (no face in {}), {} genuine and {} impostor pairs",
            self.model, self.pictures, self.people, self.not_found, self.genuine, self.impostor
        )?;
        for (rate, p) in RATES.iter().zip(&self.at_fmr) {
            writeln!(f, "FMR {rate:e}: distance {:.3}, FNMR {:.2} %", p.distance, p.fnmr * 100.0)?;
        }
        let t = &self.threshold;
        writeln!(
            f,
            "threshold {:.3}: {} false matches (FMR {:.1e}), FNMR {:.2} %",
            t.distance,
            t.false_matches,
            t.fmr,
            t.fnmr * 100.0
        )?;
        writeln!(f, "FNIR {}", self.fnir)?;
        writeln!(f, "FPIR {}", self.fpir)?;
        write!(f, "recall@1 {}", self.recall_at_1)
    }
}

/// The pictures of the folder, and whose they are.
fn pictures(dir: &std::path::Path) -> anyhow::Result<Vec<(usize, PathBuf)>> {
    let below = dir.join("faces");
    let folder = if below.is_dir() { below.join("lfw") } else { dir.join("lfw") };
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .with_context(|| format!("can't read {}", folder.display()))?
        .filter_map(|e| e.ok().map(|e| e.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "jpg"))
        .collect();
    files.sort();
    let mut people = BTreeMap::new();
    let mut numbered = Vec::new();
    for file in files {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let Some((name, _)) = stem.rsplit_once('_') else { continue };
        let next = people.len();
        numbered.push((*people.entry(name.to_owned()).or_insert(next), file));
    }
    Ok(numbered)
}

fn embed_all(
    pictures: &[(usize, PathBuf)],
    models: &Models,
    threads: usize,
) -> anyhow::Result<Vec<Face>> {
    let bar = progress("pictures", pictures.len());
    let found = parallel::each(pictures, threads, &bar, |(person, file)| {
        Ok(faces::embed(file, models)?.map(|vector| (*person, vector)))
    })?;
    bar.finish_and_clear();
    Ok(found.into_iter().flatten().collect())
}

/// The distances of all pairs, sorted: those of one person, and those of two.
fn distances(faces: &[Face], model: &EmbeddingModel) -> (Vec<f32>, Vec<f32>) {
    let (mut genuine, mut impostor) = (Vec::new(), Vec::new());
    for (i, (person, a)) in faces.iter().enumerate() {
        for (other, b) in &faces[i + 1..] {
            let distance = model.metric.distance(a, b);
            if person == other { &mut genuine } else { &mut impostor }.push(distance);
        }
    }
    genuine.sort_by(f32::total_cmp);
    impostor.sort_by(f32::total_cmp);
    (genuine, impostor)
}

fn point(genuine: &[f32], impostor: &[f32], distance: f32) -> Point {
    let false_matches = impostor.partition_point(|d| *d <= distance);
    let matches = genuine.partition_point(|d| *d <= distance);
    Point {
        distance,
        false_matches,
        fmr: false_matches as f64 / impostor.len().max(1) as f64,
        fnmr: 1.0 - matches as f64 / genuine.len().max(1) as f64,
    }
}

struct Searched {
    missed: Rate,
    strangers: Rate,
    recall: Rate,
}

/// Enrols the first picture of each person and looks for all others; and looks for each enrolled
/// one as if it were not enrolled.
fn search(faces: &[Face], model: &EmbeddingModel, threshold: f32) -> anyhow::Result<Searched> {
    let mut index = Index::new(model.dim as usize, model.metric)?;
    let (mut enrolled, mut probes) = (Vec::new(), Vec::new());
    for face in faces {
        if index.contains(&key(face.0)) {
            probes.push(face);
        } else {
            index.insert(key(face.0), &face.1)?;
            enrolled.push(face);
        }
    }
    let (mut missed, mut right) = (0, 0);
    for (person, vector) in &probes {
        let hit = index.nearest(vector, 1, None)?.first().copied();
        let hit = hit.context("the index found nobody")?;
        missed += usize::from(hit.key != key(*person) || hit.distance > threshold);
        let distance = |f: &&&Face| model.metric.distance(vector, &f.1);
        let exact = enrolled.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
        right += usize::from(exact.is_some_and(|f| key(f.0) == hit.key));
    }
    let mut strangers = 0;
    for (person, vector) in &enrolled {
        let hit = index.nearest(vector, 1, Some(&key(*person)))?.first().copied();
        strangers += usize::from(hit.is_some_and(|h| h.distance <= threshold));
    }
    Ok(Searched {
        missed: Rate::of(missed, probes.len()),
        strangers: Rate::of(strangers, enrolled.len()),
        recall: Rate::of(right, probes.len()),
    })
}

fn key(person: usize) -> crate::search::Key {
    (person as u128).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::template::Metric;

    #[test]
    fn rates_are_those_of_the_pairs() {
        let p = point(&[0.1, 0.2, 0.6], &[0.5, 0.7, 0.8, 0.9], 0.55);
        assert_eq!((p.false_matches, p.fmr), (1, 0.25));
        assert!((p.fnmr - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_person_is_found_by_another_picture_and_a_stranger_is_not() {
        let model = EmbeddingModel {
            id: "m".into(),
            sha256: "ab".repeat(32),
            dim: 2,
            metric: Metric::Euclidean,
        };
        let faces: Vec<Face> =
            [(0, [0.0, 1.0]), (1, [1.0, 0.0]), (0, [0.1, 1.0]), (1, [1.0, 0.9]), (2, [5.0, 5.0])]
                .map(|(person, v)| (person, v.to_vec()))
                .into();
        let found = search(&faces, &model, 0.5).unwrap();
        assert_eq!((found.missed.hits, found.missed.n), (1, 2));
        assert_eq!((found.strangers.hits, found.strangers.n), (0, 3));
        assert_eq!((found.recall.hits, found.recall.n), (2, 2));
    }
}
