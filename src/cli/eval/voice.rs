//! `cameo eval voice`: how well speakers are told apart, on people held out of training.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use serde::Serialize;

use super::progress;
use super::speech::Part;
use super::speech::corpus::{self, Clip, Kind};
use super::stats::{Figure, Rate, auc, bootstrap, trade_off};
use crate::domain::evidence::ModelRole;
use crate::infer::{self, Models};
use crate::workshop::RATE;
use crate::workshop::draw::Draw;

/// Least speech that is compared, in samples, and recordings of one speaker at most.
const LEAST: usize = RATE * 6 / 5;
const EACH: usize = 6;

/// Measure the voice embedding.
#[derive(Clone, Debug, clap::Args)]
pub struct VoiceArgs {
    /// Folder of recordings with a MANIFEST.tsv
    #[arg(long, value_name = "DIR", env = "CAMEO_DATASETS_DIR")]
    pub datasets: PathBuf,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// How well speakers are told apart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The model's id.
    pub model: String,
    /// Speakers and their recordings.
    pub speakers: usize,
    /// Recordings.
    pub recordings: usize,
    /// Pairs of one speaker and of two.
    pub pairs: (usize, usize),
    /// The probability that two recordings of one speaker are closer than two of different ones;
    /// interval by speakers drawn with replacement.
    pub auc: Figure,
    /// Where as many pairs of one speaker are told apart as pairs of two are taken for one.
    pub equal_error_rate: f64,
    /// At the manifest's threshold: pairs of two speakers taken for one, and of one told apart.
    pub false_match: Rate,
    /// See [`Self::false_match`].
    pub false_non_match: Rate,
}

/// Runs the measurement and prints the report.
///
/// # Errors
/// Where the recordings can't be read or the model is missing.
pub fn run(args: &VoiceArgs, models: &Models) -> anyhow::Result<()> {
    let model =
        models.voice.as_ref().ok_or(infer::Error::RoleMissing(ModelRole::VoiceEmbedding))?;
    let bar = progress("recordings", 0);
    let clips = corpus::read(
        &args.datasets,
        Part::Test,
        |kind, _| kind != Kind::Digit,
        |n| {
            bar.set_length(n as u64);
            bar.inc(1);
        },
    )?;
    bar.finish_and_clear();
    let mut speakers: BTreeMap<&str, Vec<Vec<f32>>> = BTreeMap::new();
    for clip in clips.iter().filter(|c| long_enough(c)) {
        let vectors = speakers.entry(&clip.speaker).or_default();
        if vectors.len() < EACH
            && let Some(vector) = model.embed(&clip.sound).context("embedding a voice")?
        {
            vectors.push(vector);
        }
    }
    speakers.retain(|_, vectors| vectors.len() > 1);
    ensure!(speakers.len() > 1, "too few long recordings of held-out speakers");
    let metric = model.model().metric;
    let people: Vec<Vec<Vec<f32>>> = speakers.into_values().collect();
    let report =
        of(model.model().id.clone(), &people, model.threshold(), |a, b| metric.distance(a, b));
    super::print(&report, args.json)
}

fn long_enough(clip: &Clip) -> bool {
    clip.kind != Kind::Digit && clip.sound.len() >= LEAST
}

fn of(
    model: String,
    people: &[Vec<Vec<f32>>],
    threshold: f32,
    distance: impl Fn(&[f32], &[f32]) -> f32,
) -> Report {
    // Closeness: larger is more alike.
    let compared = |people: &[&Vec<Vec<f32>>]| -> [Vec<f32>; 2] {
        let (mut same, mut other) = (Vec::new(), Vec::new());
        for (i, person) in people.iter().enumerate() {
            for (k, a) in person.iter().enumerate() {
                same.extend(person[k + 1..].iter().map(|b| -distance(a, b)));
                // Somebody who is drawn twice is nobody else.
                let others = people[i + 1..].iter().filter(|o| !std::ptr::eq(**o, *person));
                other.extend(others.flat_map(|o| o.iter()).map(|b| -distance(a, b)));
            }
        }
        [same, other]
    };
    let figure = bootstrap(people, &mut Draw::new(11), |drawn| {
        let [same, other] = compared(drawn);
        auc(&same, &other)
    });
    let [same, other] = compared(&people.iter().collect::<Vec<_>>());
    let crossing = trade_off(&same, &other)
        .into_iter()
        .min_by(|a, b| (a.0 - a.1).abs().total_cmp(&(b.0 - b.1).abs()));
    Report {
        model,
        speakers: people.len(),
        recordings: people.iter().map(Vec::len).sum(),
        pairs: (same.len(), other.len()),
        auc: figure,
        equal_error_rate: crossing.map_or(f64::NAN, |(a, b)| f64::midpoint(a, b)),
        false_match: Rate::among(&other, |v| -*v <= threshold),
        false_non_match: Rate::among(&same, |v| -*v > threshold),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} recordings of {} speakers, {} pairs of one and {} of two",
            self.model, self.recordings, self.speakers, self.pairs.0, self.pairs.1
        )?;
        writeln!(f, "AUC {}, equal error rate {:.1} %", self.auc, 100.0 * self.equal_error_rate)?;
        writeln!(
            f,
            "at the manifest's threshold: two speakers taken for one {}, one told apart {}",
            self.false_match, self.false_non_match
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speakers_that_are_apart_are_told_apart() {
        let people: Vec<Vec<Vec<f32>>> = (0..3u8)
            .map(|p| (0..3u8).map(|k| vec![f32::from(p) + f32::from(k) * 0.01]).collect())
            .collect();
        let report = of("m".into(), &people, 0.1, |a, b| (a[0] - b[0]).abs());
        assert_eq!((report.speakers, report.recordings, report.pairs), (3, 9, (9, 27)));
        assert!((report.auc.value - 1.0).abs() < 1e-9 && report.equal_error_rate < 1e-9);
        assert_eq!((report.false_match.hits, report.false_non_match.hits), (0, 0));
        assert!(report.to_string().contains("9 recordings of 3 speakers"));
    }
}
