//! The people that training of the digits model holds out, and what they say.
//!
//! The split is training's own (`training/digits/corpus.py`): the speakers of a corpus in the order
//! of a hash of their names, so that neither file order nor added recordings move anybody.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::ensure;

use super::Part;
use crate::cli::eval::datasets::{self, Recording};
use crate::crypto::hash::sha256;
use crate::infer::digits_text::{self, Word};
use crate::workshop::{RATE, sound};

/// Level (RMS) that every recording is brought to.
const LEVEL: f32 = 0.06;
/// Shares of the speakers held out for test and validation: AN4, Speech Commands, FSDD.
const HELD_OUT: [(&str, f64, f64); 3] =
    [("an4", 0.19, 0.11), ("gsc", 0.2, 0.1), ("fsdd", 0.25, 0.0)];
/// What a recording holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One digit.
    Digit,
    /// Two digits or more and nothing else.
    String,
    /// No digits.
    Other,
}

/// A recording of a held-out speaker: trimmed, at the common level, mono at 16 kHz.
#[derive(Clone)]
pub struct Clip {
    /// Corpus and code, such as `an4_fash`.
    pub speaker: String,
    /// What it holds.
    pub kind: Kind,
    /// The digits said.
    pub digits: Vec<u8>,
    /// The sound.
    pub sound: Vec<f32>,
}

impl std::fmt::Debug for Clip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clip({:?}, {} samples)", self.kind, self.sound.len())
    }
}

/// Those speech recordings of the speakers in `part` that are `wanted`, by what they hold. `tick` is
/// told how many there are to decode, once before each.
///
/// # Errors
/// Where there are none, or one can't be decoded.
pub fn read(
    root: &Path,
    part: Part,
    mut wanted: impl FnMut(Kind, &[u8]) -> bool,
    mut tick: impl FnMut(usize),
) -> anyhow::Result<Vec<Clip>> {
    let mut all = datasets::manifest(root)?;
    all.retain(|r| r.path.starts_with("digits"));
    all.extend(fsdd(root));
    let speakers = held_out(all.iter().map(|r| r.speaker.as_str()), part);
    let mine: Vec<(&Recording, Kind, Vec<u8>)> = all
        .iter()
        .filter(|r| speakers.contains(&r.speaker) && root.join(&r.path).is_file())
        .filter_map(|r| transcript(&r.label).map(|(kind, digits)| (r, kind, digits)))
        .filter(|(_, kind, digits)| wanted(*kind, digits))
        .collect();
    ensure!(!mine.is_empty(), "no recordings of held-out speakers below {}", root.display());
    let mut clips = Vec::new();
    for (recording, kind, digits) in &mine {
        tick(mine.len());
        let keep = if *kind == Kind::Digit { RATE / 50 } else { RATE / 10 };
        let sound = sound::read(&root.join(&recording.path))?;
        let sound = levelled(trimmed(&sound, keep));
        if sound.len() > RATE / 10 && sound.len() <= RATE * 19 / 2 {
            let (speaker, kind) = (recording.speaker.clone(), *kind);
            clips.push(Clip { speaker, kind, digits: digits.clone(), sound });
        }
    }
    Ok(clips)
}

/// The last third of every background recording, which training never draws from.
pub fn noises(root: &Path) -> anyhow::Result<Vec<Vec<f32>>> {
    datasets::files(&root.join("noise"), &["flac", "wav"])
        .iter()
        .map(|path| {
            let sound = levelled(&sound::read(path)?);
            Ok(sound[sound.len() * 7 / 10..].to_vec())
        })
        .collect()
}

/// The Free Spoken Digit Dataset has no lines in the manifest: `DIGIT_NAME_TAKE.wav` says it all.
fn fsdd(root: &Path) -> Vec<Recording> {
    datasets::files(&root.join("digits/fsdd"), &["wav"])
        .into_iter()
        .filter_map(|path| {
            let name = path.file_stem()?.to_str()?.to_owned();
            let [digit, speaker, _] = name.split('_').collect::<Vec<_>>()[..] else { return None };
            let label = digits_text::WORDS.get(digit.parse::<usize>().ok()?)?.to_string();
            let speaker = format!("fsdd_{speaker}");
            Some(Recording { path: path.strip_prefix(root).ok()?.to_owned(), speaker, label })
        })
        .collect()
}

/// The speakers of each corpus that `part` holds.
fn held_out<'a>(speakers: impl Iterator<Item = &'a str>, part: Part) -> BTreeSet<String> {
    let mut corpora: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for speaker in speakers {
        let corpus = speaker.split('_').next().unwrap_or_default();
        corpora.entry(corpus).or_default().insert(speaker);
    }
    let mut held_out = BTreeSet::new();
    for (corpus, speakers) in corpora {
        let Some((_, test, validation)) = HELD_OUT.iter().find(|(c, ..)| *c == corpus) else {
            continue;
        };
        let mut order: Vec<&str> = speakers.into_iter().collect();
        order.sort_by_key(|s| sha256(format!("digits-v1/{s}").as_bytes()));
        let n = order.len() as f64;
        // As Python rounds, and at least one where any are held out.
        let count =
            |share: f64| ((share * n).round_ties_even() as usize).max(usize::from(share > 0.0));
        let (test, validation) = (count(*test), count(*validation));
        let chosen = match part {
            Part::Test => order.iter().take(test),
            Part::Validation => order[test.min(order.len())..].iter().take(validation),
        };
        held_out.extend(chosen.map(|s| (*s).to_owned()));
    }
    held_out
}

/// What a transcript says; `None` where digits and other words are mixed, or are not certain: what
/// is said may be "forty-seven" or the letter "o".
fn transcript(label: &str) -> Option<(Kind, Vec<u8>)> {
    let mut digits = Vec::new();
    let mut others = false;
    for word in label.split_whitespace() {
        match digits_text::word(word) {
            Word::Digit(d) => digits.push(d),
            Word::Number => return None,
            Word::Other => others = true,
        }
    }
    match (digits.len(), others) {
        (0, _) => Some((Kind::Other, digits)),
        (_, true) => None,
        (1, false) => Some((Kind::Digit, digits)),
        (_, false) => Some((Kind::String, digits)),
    }
}

/// Cuts off what is 42 dB and more below the loudest 10 ms at both ends, but for `keep` samples.
fn trimmed(sound: &[f32], keep: usize) -> &[f32] {
    const FLOOR: f32 = 6.3e-5; // −42 dB
    let hop = RATE / 100;
    let power: Vec<f32> = sound
        .chunks_exact(hop)
        .map(|c| c.iter().map(|v| v * v).sum::<f32>() / hop as f32)
        .collect();
    let top = power.iter().copied().fold(0.0, f32::max);
    let loud = |p: &f32| *p > top * FLOOR;
    match (power.iter().position(loud), power.iter().rposition(loud)) {
        (Some(first), Some(last)) if power.len() >= 5 => {
            &sound[(first * hop).saturating_sub(keep)..((last + 1) * hop + keep).min(sound.len())]
        }
        _ => sound,
    }
}

/// The sound at the common level.
fn levelled(sound: &[f32]) -> Vec<f32> {
    let power =
        sound.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / sound.len().max(1) as f64;
    let gain = LEVEL / (power.sqrt() as f32).max(1e-4);
    sound.iter().map(|v| v * gain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `split_speakers` of training/digits/corpus.py says of the same names.
    #[test]
    fn the_split_is_that_of_training() {
        let an4: Vec<String> = (0..12).map(|i| format!("an4_x{i}")).collect();
        let names = || {
            an4.iter().map(String::as_str).chain(["fsdd_a", "fsdd_b", "fsdd_c", "fsdd_d", "x_y"])
        };
        let set = |names: &[&str]| names.iter().map(|s| (*s).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(held_out(names(), Part::Test), set(&["an4_x7", "an4_x11", "fsdd_d"]));
        assert_eq!(held_out(names(), Part::Validation), set(&["an4_x4"]));
    }

    #[test]
    fn transcripts() {
        assert_eq!(transcript("four oh Seven"), Some((Kind::String, vec![4, 0, 7])));
        assert_eq!(transcript("nine"), Some((Kind::Digit, vec![9])));
        assert_eq!(transcript("stop"), Some((Kind::Other, vec![])));
        for uncertain in ["forty seven", "p o three", "enter six"] {
            assert_eq!(transcript(uncertain), None);
        }
    }

    #[test]
    fn silence_is_cut_and_the_level_set() {
        let mut sound = vec![0.0; RATE];
        sound[8000..9600].fill(0.5);
        let cut = trimmed(&sound, 100);
        assert_eq!(cut.len(), 1800);
        let level = levelled(cut);
        let rms = (level.iter().map(|v| v * v).sum::<f32>() / level.len() as f32).sqrt();
        assert!((rms - LEVEL).abs() < 1e-4);
        assert!(trimmed(&[], 5).is_empty() && levelled(&[]).is_empty());
    }
}
