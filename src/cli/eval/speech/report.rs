//! The report on speech: figures by slice, as text, JSON and plots.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::{Absent, Condition, Findings, Heard, Named, Part, Timing, Trial, Trials};
use crate::cli::eval::plot::{self, Axis, Bar, Series};
use crate::cli::eval::stats::{Figure, Rate, bootstrap, threshold_at, trade_off};
use crate::domain::verdict::Status;
use crate::workshop::draw::Draw;

/// Shares of accepted random strings at which thresholds are set.
const ACCEPTED: [f64; 2] = [0.01, 0.001];

/// How well the digits are heard.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Which people.
    pub part: Part,
    /// How many.
    pub speakers: usize,
    /// Each contender's figures.
    pub contenders: Vec<Figures>,
    /// Sets that could not take part.
    pub absent: Vec<Absent>,
    /// What a transcription costs; `null` without a digits model.
    pub timing: Option<Timing>,
}

/// One contender's figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Who it is.
    pub name: Named,
    /// Transcription by slice.
    pub transcription: Vec<Slice>,
    /// By kind, how much of what holds no digits is refused.
    pub refused: Vec<(String, Rate)>,
    /// What the default policy makes of transcript and score together, by condition and over all.
    pub policy: Vec<Judged>,
    /// The verification score by condition and over all; empty where it gives none.
    pub verification: Vec<Verification>,
    #[serde(skip)]
    scores: Vec<Pooled>,
}

/// Transcription of some strings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Slice {
    /// Which strings.
    pub name: String,
    /// How many.
    pub strings: usize,
    /// Their digits.
    pub digits: usize,
    /// Who says them.
    pub speakers: usize,
    /// Edits over digits; interval by speakers drawn with replacement.
    pub digit_error: Figure,
    /// Strings heard exactly.
    pub exact: Rate,
    /// Strings heard with one edit at most.
    pub within_one: Rate,
}

/// The policy's answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judged {
    /// Which strings.
    pub name: String,
    /// The right string was asked for: passed, and failed; the rest is left open for a reviewer.
    pub right: (Rate, Rate),
    /// One digit of it was asked otherwise: passed.
    pub near_passed: Rate,
    /// A random string was asked for: passed.
    pub random_passed: Rate,
}

/// Accepting and rejecting by the score alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verification {
    /// Which strings.
    pub name: String,
    /// At which thresholds.
    pub points: Vec<Point>,
}

/// One threshold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// How it was chosen.
    pub at: String,
    /// Nats per digit; what is above is accepted.
    pub threshold: f32,
    /// Right strings rejected.
    pub genuine_rejected: Rate,
    /// Strings with one wrong digit accepted.
    pub near_accepted: Rate,
    /// Random strings accepted.
    pub random_accepted: Rate,
}

/// Scores of a slice.
#[derive(Clone, Debug, Default, PartialEq)]
struct Pooled {
    name: String,
    genuine: Vec<f32>,
    near: Vec<f32>,
    random: Vec<f32>,
    judged: [Vec<Status>; 3],
}

/// Puts the report together.
pub(super) fn of(
    part: Part,
    trials: &Trials,
    findings: &[Findings],
    absent: Vec<Absent>,
    timing: Option<Timing>,
) -> Report {
    let speakers: BTreeSet<&str> = trials.strings.iter().map(|t| t.speaker.as_str()).collect();
    let contenders = findings.iter().map(|f| figures(trials, f)).collect();
    Report { part, speakers: speakers.len(), contenders, absent, timing }
}

fn figures(trials: &Trials, findings: &Findings) -> Figures {
    let mut slices: BTreeMap<(usize, String), Vec<(&Trial, &Heard)>> = BTreeMap::new();
    let mut pools: BTreeMap<usize, Pooled> = BTreeMap::new();
    for (trial, heard) in trials.strings.iter().zip(&findings.strings) {
        for name in slices_of(trial) {
            slices.entry(name).or_default().push((trial, heard));
        }
        let condition = trial.condition.name();
        let mut names = vec![(trial.condition as usize, condition.to_owned()), (99, "all".into())];
        if trial.digits.len() >= 6 {
            names.push((98, "all, 6 digits and more".into()));
        }
        for (at, name) in names {
            pools.entry(at).or_default().add(name, heard);
        }
    }
    let kinds: BTreeSet<&str> = trials.negatives.iter().map(|(kind, _)| *kind).collect();
    let refused = kinds.into_iter().map(|kind| {
        let of = trials.negatives.iter().zip(&findings.refused).filter(|((k, _), _)| *k == kind);
        let hits: Vec<bool> = of.map(|(_, refused)| *refused).collect();
        (kind.to_owned(), Rate::among(&hits, |r| *r))
    });
    let scores: Vec<Pooled> = pools.into_values().collect();
    Figures {
        name: findings.name.clone(),
        transcription: slices.into_iter().map(|((_, name), of)| slice(name, &of)).collect(),
        refused: refused.collect(),
        policy: scores.iter().map(Pooled::judged).collect(),
        verification: scores.iter().filter_map(Pooled::verification).collect(),
        scores,
    }
}

/// The slices that a string belongs to, with their place in the report.
fn slices_of(trial: &Trial) -> Vec<(usize, String)> {
    let condition = trial.condition.name();
    let kind = if trial.real { "real strings" } else { "joined digits" };
    let at = trial.condition as usize;
    let place = if trial.real { at } else { 20 + at };
    let mut out = vec![(place, format!("{kind}, {condition}"))];
    if trial.real && (4..=6).contains(&trial.digits.len()) {
        out.push((5 + at, format!("real strings of 4–6, {condition}")));
    }
    if trial.real && trial.condition == Condition::Clean {
        // AN4's speaker codes begin with the sex; the other corpora do not tell.
        match trial.speaker.strip_prefix("an4_").and_then(|code| code.chars().next()) {
            Some('f') => out.push((11, "real strings, clean, women".into())),
            Some('m') => out.push((12, "real strings, clean, men".into())),
            _ => {}
        }
    }
    if trial.real && trial.condition != Condition::Clean {
        out.push((13, "real strings, all degraded".into()));
    }
    out
}

fn slice(name: String, of: &[(&Trial, &Heard)]) -> Slice {
    let mut by_speaker: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (trial, heard) in of {
        let (edits, digits) = by_speaker.entry(&trial.speaker).or_default();
        *edits += heard.edits;
        *digits += trial.digits.len();
    }
    let groups: Vec<(usize, usize)> = by_speaker.into_values().collect();
    let error = |groups: &[&(usize, usize)]| {
        let (edits, digits) = groups.iter().fold((0, 0), |(e, d), g| (e + g.0, d + g.1));
        edits as f64 / digits.max(1) as f64
    };
    Slice {
        name,
        strings: of.len(),
        digits: groups.iter().map(|g| g.1).sum(),
        speakers: groups.len(),
        digit_error: bootstrap(&groups, &mut Draw::new(1), error),
        exact: Rate::among(of, |(_, h)| h.edits == 0),
        within_one: Rate::among(of, |(_, h)| h.edits <= 1),
    }
}

impl Pooled {
    fn add(&mut self, name: String, heard: &Heard) {
        self.name = name;
        if let Some([genuine, near, random]) = &heard.scores {
            self.genuine.extend(genuine);
            self.near.extend(near);
            self.random.extend(random);
        }
        self.judged.iter_mut().zip(&heard.judged).for_each(|(all, more)| all.extend(more));
    }

    fn judged(&self) -> Judged {
        let rate = |kind: usize, status| Rate::among(&self.judged[kind], |s| *s == status);
        Judged {
            name: self.name.clone(),
            right: (rate(0, Status::Pass), rate(0, Status::Fail)),
            near_passed: rate(1, Status::Pass),
            random_passed: rate(2, Status::Pass),
        }
    }

    fn verification(&self) -> Option<Verification> {
        if self.genuine.is_empty() {
            return None;
        }
        let point = |at: String, threshold: f32| Point {
            at,
            threshold,
            genuine_rejected: Rate::among(&self.genuine, |s| *s <= threshold),
            near_accepted: Rate::among(&self.near, |s| *s > threshold),
            random_accepted: Rate::among(&self.random, |s| *s > threshold),
        };
        let mut points: Vec<Point> = ACCEPTED
            .into_iter()
            .map(|rate| {
                let at = format!("{} % of random strings", rate * 100.0);
                point(at, threshold_at(&self.random, rate))
            })
            .collect();
        points.push(point("zero".into(), 0.0));
        Some(Verification { name: self.name.clone(), points })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.part {
            Part::Test => "test",
            Part::Validation => "validation",
        };
        writeln!(f, "{} {part} speakers, none of them heard in training", self.speakers)?;
        for c in &self.contenders {
            writeln!(f, "\n{}", c.name)?;
            for s in &c.transcription {
                writeln!(
                    f,
                    "  {:28} {:4} strings of {:2} people: digit error {:5.1} % ({:.1}–{:.1}), exact {}, one error at most {}",
                    s.name,
                    s.strings,
                    s.speakers,
                    100.0 * s.digit_error.value,
                    100.0 * s.digit_error.low,
                    100.0 * s.digit_error.high,
                    s.exact,
                    s.within_one
                )?;
            }
            for (kind, rate) in &c.refused {
                writeln!(f, "  no digits in it: {kind:11} refused {rate}")?;
            }
            for j in &c.policy {
                writeln!(
                    f,
                    "  policy, {:22} right passed {}, failed {}; one digit wrong passed {}; random passed {}",
                    j.name, j.right.0, j.right.1, j.near_passed, j.random_passed
                )?;
            }
            for v in &c.verification {
                for p in &v.points {
                    writeln!(
                        f,
                        "  score, {:22} above {:6.3} ({}): right rejected {}, one digit wrong accepted {}, random accepted {}",
                        v.name,
                        p.threshold,
                        p.at,
                        p.genuine_rejected,
                        p.near_accepted,
                        p.random_accepted
                    )?;
                }
            }
            if c.verification.is_empty() {
                writeln!(f, "  it gives no score for a string")?;
            }
        }
        for a in &self.absent {
            writeln!(f, "\n{}: left out, {}", a.set, a.why)?;
        }
        if let Some(t) = &self.timing {
            writeln!(
                f,
                "\n{} s of sound to {} digits, CPU on one thread: digits model {:.0} ms, Whisper tiny's \
                 architecture {:.0} ms (1 / {:.1})",
                t.clip_s,
                t.digits,
                t.digits_model_ms,
                t.whisper_tiny_ms,
                t.whisper_tiny_ms / t.digits_model_ms
            )?;
        }
        Ok(())
    }
}

impl Report {
    /// The plots by name.
    pub fn plots(&self) -> Vec<(String, String)> {
        let mut plots = Vec::new();
        let names: Vec<String> = self.contenders.iter().map(|c| c.name.set.to_string()).collect();
        let mut errors = Vec::new();
        for (i, c) in self.contenders.iter().enumerate() {
            errors.extend(c.transcription.iter().map(|s| Bar {
                name: s.name.clone(),
                series: i,
                value: (s.digit_error.value, s.digit_error.low, s.digit_error.high),
            }));
            let Some(all) = c.scores.last().filter(|s| !s.genuine.is_empty()) else { continue };
            plots.push((
                format!("speech-scores-{}", c.name.set),
                plot::histogram(
                    "Verification score, all conditions",
                    "nats per digit over the best rival",
                    (-5.0, 3.0),
                    &[
                        ("right string", &all.genuine),
                        ("one digit wrong", &all.near),
                        ("random string", &all.random),
                    ],
                ),
            ));
            let curves: Vec<Series> = c
                .scores
                .iter()
                .map(|p| Series { name: p.name.clone(), points: trade_off(&p.genuine, &p.random) })
                .collect();
            plots.push((
                format!("speech-det-{}", c.name.set),
                plot::curves(
                    "Verification score",
                    ["random strings accepted", "right strings rejected"],
                    [Axis::Probit(0.0002, 0.5), Axis::Probit(0.001, 0.9)],
                    &curves,
                ),
            ));
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let bars = plot::bars("Digit error by slice", "edits per digit", &names, &errors);
        plots.push(("speech-errors".into(), bars));
        plots
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::manifest::Set;

    fn report() -> Report {
        let trial = |speaker: &str, condition| Trial {
            speaker: speaker.into(),
            real: true,
            condition,
            digits: vec![1, 2, 3, 4],
            sound: vec![],
        };
        let heard = |edits, genuine| Heard {
            edits,
            judged: [vec![Status::Pass], vec![Status::Fail; 4], vec![Status::Fail; 2]],
            scores: Some([vec![genuine], vec![-1.0; 4], vec![-3.0, 0.5]]),
        };
        let trials = Trials {
            strings: vec![trial("an4_fx", Condition::Clean), trial("an4_my", Condition::Room)],
            negatives: vec![("noise", vec![]), ("words", vec![])],
        };
        let findings = Findings {
            name: Named { set: Set::Hermetic, models: vec![("m".into(), "00".into())] },
            strings: vec![heard(0, 1.0), heard(2, -0.5)],
            refused: vec![true, false],
        };
        let absent = vec![Absent { set: Set::Recommended, why: "it is not there".into() }];
        of(Part::Test, &trials, &[findings], absent, None)
    }

    #[test]
    fn figures_come_out_by_slice() {
        let report = report();
        let c = &report.contenders[0];
        let slice = |name: &str| c.transcription.iter().find(|s| s.name == name).unwrap();
        assert!(slice("real strings, clean").digit_error.value.abs() < 1e-9);
        assert!((slice("real strings, room").digit_error.value - 0.5).abs() < 1e-9);
        assert_eq!(slice("real strings, clean, women").exact.hits, 1);
        assert_eq!(c.refused, [("noise".into(), Rate::of(1, 1)), ("words".into(), Rate::of(0, 1))]);
        let all = c.policy.iter().find(|v| v.name == "all").unwrap();
        assert_eq!((all.right.0, all.near_passed), (Rate::of(2, 2), Rate::of(0, 8)));
        let all = c.verification.iter().find(|v| v.name == "all").unwrap();
        let zero = all.points.last().unwrap();
        assert_eq!((zero.genuine_rejected.hits, zero.random_accepted.hits), (1, 2));
    }

    #[test]
    fn a_report_prints_and_plots() {
        let report = report();
        let text = report.to_string();
        assert!(text.contains("one digit wrong") && text.contains("it is not there"), "{text}");
        let plots = report.plots();
        assert_eq!(plots.len(), 3);
        assert!(serde_json::to_string(&report).unwrap().contains("digit_error"));
    }
}
