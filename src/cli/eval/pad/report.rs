//! The report on anti-spoof: ranking, errors at the policy's decision, by species and source.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::{Absent, Degradation, Named, Presentation, Rule, Species};
use crate::cli::eval::plot::{self, Axis, Bar, Series};
use crate::cli::eval::stats::{Figure, Rate, auc, bootstrap, trade_off};
use crate::domain::verdict::Status;
use crate::workshop::draw::Draw;

/// How well presentations are told from live people.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Recordings of live people, and of them those that training never saw.
    pub live: (usize, usize),
    /// Frames in which no face was found, of all shown recordings.
    pub faceless: usize,
    /// Each contender's figures.
    pub contenders: Vec<Figures>,
    /// Sets that could not take part.
    pub absent: Vec<Absent>,
}

/// One contender's figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Who it is.
    pub name: Named,
    /// Its threshold.
    pub threshold: f32,
    /// CPU milliseconds for one face, all its networks together.
    pub ms_per_face: f64,
    /// Ranking: live against each kind of attack, under each degradation.
    pub ranking: Vec<Ranking>,
    /// Decisions: what becomes of each species.
    pub decisions: Vec<Decisions>,
    /// Each recording with a face by itself, as it is.
    pub sources: Vec<SourceScore>,
    #[serde(skip)]
    scores: [Vec<f32>; 3],
}

/// How often a live recording scores above an attack.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ranking {
    /// Which attacks.
    pub attacks: String,
    /// Whether only live recordings (and what is made of them) count that training never saw.
    pub held_out: bool,
    /// What was done to all pictures.
    pub degradation: Degradation,
    /// Live recordings and attacks.
    pub n: (usize, usize),
    /// Area under the ROC curve of the recordings' mean scores; interval by recordings drawn with
    /// replacement. `null` where there are no attacks.
    pub auc: Figure,
}

/// What is decided about a species.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decisions {
    /// The species.
    pub species: Species,
    /// Whether only recordings count that training never saw.
    pub held_out: bool,
    /// What was done to all pictures.
    pub degradation: Degradation,
    /// Recordings that the policy passes (for attacks, APCER; for live people, one minus BPCER).
    pub passed: Rate,
    /// Recordings that it takes for an attack; the rest is left open.
    pub failed: Rate,
    /// Frames at or above the threshold. Frames of one recording are not independent: the interval
    /// is too narrow.
    pub frames_above: Rate,
}

/// A recording.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceScore {
    /// Its name.
    pub name: String,
    /// What it shows.
    pub species: Species,
    /// Whether training never saw it.
    pub held_out: bool,
    /// Frames with a face.
    pub frames: usize,
    /// Mean live probability.
    pub mean: f32,
    /// The lowest and the highest.
    pub range: (f32, f32),
    /// Whether the policy passes it; `None`: left open.
    pub passed: Option<bool>,
}

/// Puts the report together.
pub(super) fn of(rules: &[Rule], shown: &[Presentation], absent: Vec<Absent>) -> Report {
    let live: BTreeSet<(&str, bool)> = shown
        .iter()
        .filter(|p| p.species == Species::Live)
        .map(|p| (p.source.as_str(), p.held_out))
        .collect();
    let held_out = live.iter().filter(|(_, held_out)| *held_out).count();
    let contenders = rules.iter().enumerate().map(|(i, rule)| figures(i, rule, shown)).collect();
    Report {
        live: (live.len(), held_out),
        faceless: shown.iter().map(|p| p.faceless).sum(),
        contenders,
        absent,
    }
}

const LIVE: [Species; 2] = [Species::Live, Species::Press];
const REAL: [Species; 2] = [Species::Print, Species::Screen];

fn figures(who: usize, rule: &Rule, shown: &[Presentation]) -> Figures {
    let degradations: BTreeSet<Degradation> = shown.iter().map(|p| p.degradation).collect();
    let species: BTreeSet<Species> = shown.iter().map(|p| p.species).collect();
    let mut groups: Vec<(String, Vec<Species>)> = vec![
        ("photographed".into(), REAL.to_vec()),
        ("simulated".into(), Species::SIMULATED.to_vec()),
    ];
    let single = species.iter().filter(|s| !LIVE.contains(s));
    groups.extend(single.map(|s| (s.name().into(), vec![*s])));
    let (mut ranking, mut decisions) = (Vec::new(), Vec::new());
    for held_out in [true, false] {
        for degradation in &degradations {
            let of = |species: &[Species]| -> Vec<&Presentation> {
                let counts = |p: &&Presentation| {
                    p.degradation == *degradation
                        && (p.held_out || !held_out)
                        && species.contains(&p.species)
                        && !p.scores[who].is_empty()
                };
                shown.iter().filter(counts).collect()
            };
            let live = of(&[Species::Live]);
            for (name, species) in &groups {
                let attacks = of(species);
                let recordings: Vec<(bool, f32)> = live
                    .iter()
                    .map(|p| (true, mean(&p.scores[who])))
                    .chain(attacks.iter().map(|p| (false, mean(&p.scores[who]))))
                    .collect();
                let area = bootstrap(&recordings, &mut Draw::new(3), |drawn| {
                    let of = |live| -> Vec<f32> {
                        drawn.iter().filter(|r| r.0 == live).map(|r| r.1).collect()
                    };
                    auc(&of(true), &of(false))
                });
                ranking.push(Ranking {
                    attacks: name.clone(),
                    held_out,
                    degradation: *degradation,
                    n: (live.len(), attacks.len()),
                    auc: area,
                });
            }
            for species in &species {
                let of = of(&[*species]);
                let verdicts: Vec<Status> = of.iter().map(|p| rule.judge(&p.scores[who])).collect();
                let frames: Vec<f32> =
                    of.iter().flat_map(|p| p.scores[who].iter().copied()).collect();
                decisions.push(Decisions {
                    species: *species,
                    held_out,
                    degradation: *degradation,
                    passed: Rate::among(&verdicts, |s| *s == Status::Pass),
                    failed: Rate::among(&verdicts, |s| *s == Status::Fail),
                    frames_above: Rate::among(&frames, |s| *s >= rule.threshold),
                });
            }
        }
    }
    let plain = || shown.iter().filter(|p| p.degradation == Degradation::None);
    let pooled = |wanted: &dyn Fn(Species) -> bool| -> Vec<f32> {
        let of = plain().filter(|p| p.held_out && wanted(p.species));
        of.flat_map(|p| p.scores[who].iter().copied()).collect()
    };
    let scores = [
        pooled(&|s| s == Species::Live),
        pooled(&|s| REAL.contains(&s)),
        pooled(&|s| Species::SIMULATED.contains(&s)),
    ];
    Figures {
        name: rule.name.clone(),
        threshold: rule.threshold,
        ms_per_face: rule.ms_per_face,
        ranking,
        decisions,
        sources: plain()
            .filter(|p| !p.scores[who].is_empty())
            .map(|p| source(p, &p.scores[who], rule))
            .collect(),
        scores,
    }
}

fn source(p: &Presentation, scores: &[f32], rule: &Rule) -> SourceScore {
    let extreme = |pick: fn(f32, f32) -> f32| scores.iter().copied().reduce(pick).unwrap_or(0.0);
    SourceScore {
        name: p.source.clone(),
        species: p.species,
        held_out: p.held_out,
        frames: scores.len(),
        mean: mean(scores),
        range: (extreme(f32::min), extreme(f32::max)),
        passed: match rule.judge(scores) {
            Status::Pass => Some(true),
            Status::Fail => Some(false),
            _ => None,
        },
    }
}

fn mean(scores: &[f32]) -> f32 {
    scores.iter().sum::<f32>() / scores.len().max(1) as f32
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} recordings of live people, {} of them never seen in training; no face in {} frames",
            self.live.0, self.live.1, self.faceless
        )?;
        for c in &self.contenders {
            writeln!(
                f,
                "\n{}: threshold {:.3}, {:.1} ms of CPU a face",
                c.name, c.threshold, c.ms_per_face
            )?;
            for r in c.ranking.iter().filter(|r| r.n.0 > 0 && r.n.1 > 0) {
                writeln!(
                    f,
                    "  {} {:14} AUC against {:24} {} ({} live, {} attacks)",
                    part(r.held_out),
                    r.degradation.name(),
                    r.attacks,
                    r.auc,
                    r.n.0,
                    r.n.1
                )?;
            }
            for d in c.decisions.iter().filter(|d| d.passed.n > 0) {
                writeln!(
                    f,
                    "  {} {:14} {:24} passed {}, failed {}, frames above the threshold {}",
                    part(d.held_out),
                    d.degradation.name(),
                    d.species.name(),
                    d.passed,
                    d.failed,
                    d.frames_above
                )?;
            }
            for s in c.sources.iter().filter(|s| s.species != Species::Press) {
                let verdict = match s.passed {
                    Some(true) => "passed",
                    Some(false) => "failed",
                    None => "open",
                };
                writeln!(
                    f,
                    "  {} {:40} {:24} {:2} frames: mean {:.3} ({:.3}–{:.3}), {verdict}",
                    part(s.held_out),
                    s.name,
                    s.species.name(),
                    s.frames,
                    s.mean,
                    s.range.0,
                    s.range.1
                )?;
            }
        }
        for a in &self.absent {
            writeln!(f, "\n{}: left out, {}", a.set, a.why)?;
        }
        Ok(())
    }
}

fn part(held_out: bool) -> &'static str {
    if held_out { "held out" } else { "all     " }
}

impl Report {
    /// The plots by name.
    pub fn plots(&self) -> Vec<(String, String)> {
        let mut plots = Vec::new();
        let (mut roc, mut bars) = (Vec::new(), Vec::new());
        let names: Vec<String> = self.contenders.iter().map(|c| c.name.set.to_string()).collect();
        for (i, c) in self.contenders.iter().enumerate() {
            let [live, real, simulated] = &c.scores;
            plots.push((
                format!("pad-scores-{}", c.name.set),
                plot::histogram(
                    "Live probability of single frames, people held out",
                    "live probability",
                    (0.0, 1.0),
                    &[("live", live), ("photographed", real), ("simulated", simulated)],
                ),
            ));
            let attacks = [&real[..], simulated].concat();
            roc.push(Series { name: c.name.set.to_string(), points: trade_off(live, &attacks) });
            let plain =
                |d: &&Decisions| d.held_out && d.degradation == Degradation::None && d.passed.n > 0;
            bars.extend(c.decisions.iter().filter(plain).map(|d| {
                // An error is a live recording that doesn't pass, and an attack that does.
                let r = d.passed;
                let value = if LIVE.contains(&d.species) {
                    (1.0 - r.value, 1.0 - r.high, 1.0 - r.low)
                } else {
                    (r.value, r.low, r.high)
                };
                Bar { name: d.species.name().into(), series: i, value }
            }));
        }
        let axes = [Axis::Probit(0.001, 0.99), Axis::Probit(0.001, 0.99)];
        let labels = ["attack frames accepted", "live frames rejected"];
        plots.push(("pad-det".into(), plot::curves("Single frames", labels, axes, &roc)));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let title = "Errors of the policy by species, people held out";
        plots.push(("pad-errors".into(), plot::bars(title, "share of recordings", &names, &bars)));
        plots
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::manifest::Set;

    fn report() -> Report {
        let show = |source: &str, species, held_out, live: f32| Presentation {
            source: source.into(),
            held_out,
            species,
            degradation: Degradation::None,
            faceless: 1,
            scores: vec![vec![live; 4]],
        };
        let shown = [
            show("a", Species::Live, true, 0.9),
            show("b", Species::Live, false, 0.2),
            show("a", Species::SimulatedPrint, true, 0.1),
            show("p", Species::Print, true, 0.95),
        ];
        let name = Named { set: Set::Hermetic, models: vec![] };
        of(&[Rule { name, threshold: 0.5, ms_per_face: 1.0 }], &shown, vec![])
    }

    #[test]
    fn attacks_and_people_are_counted_apart() {
        let report = report();
        assert_eq!((report.live, report.faceless), ((2, 1), 4));
        let c = &report.contenders[0];
        let rank = |attacks: &str, held_out| {
            c.ranking.iter().find(|r| r.attacks == attacks && r.held_out == held_out).unwrap()
        };
        assert!((rank("simulated", true).auc.value - 1.0).abs() < 1e-9);
        assert!(rank("photographed", true).auc.value.abs() < 1e-9);
        assert_eq!(rank("photographed", false).n, (2, 1));
        let decided = |species, held_out| {
            c.decisions.iter().find(|d| d.species == species && d.held_out == held_out).unwrap()
        };
        assert_eq!(decided(Species::Live, false).passed, Rate::of(1, 2));
        assert_eq!(decided(Species::Print, true).passed, Rate::of(1, 1));
        assert_eq!(decided(Species::SimulatedPrint, true).failed, Rate::of(1, 1));
    }

    #[test]
    fn a_report_prints_and_plots() {
        let report = report();
        assert!(report.to_string().contains("print, simulated"), "{report}");
        assert_eq!(report.plots().len(), 3);
        assert!(serde_json::to_string(&report).unwrap().contains("ms_per_face"));
    }
}
