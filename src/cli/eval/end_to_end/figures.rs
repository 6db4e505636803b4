//! What became of the captures: error rates by species, condition and operating point.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Found;
use crate::cli::eval::cases::{Case, Class};
use crate::cli::eval::stats::{Rate, auc};
use crate::domain::evidence::{Evidence, ModelRef, ModelRole};
use crate::domain::verdict::{Check, Decision, Status, Verdict};
use crate::liveness::{Policy, judge};

/// A rate that a claim is about: the goal for the worst species and for genuine people.
pub const GOAL: f64 = 0.05;

/// The whole report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Captures, genuine and attacks.
    pub captures: (usize, usize),
    /// People seen and people heard.
    pub people: (usize, usize),
    /// CPU milliseconds for one capture: median and largest.
    pub cpu_ms: (f64, f64),
    /// The models that measured.
    pub models: BTreeMap<ModelRole, Vec<ModelRef>>,
    /// Each operating point.
    pub points: Vec<Point>,
    /// How each check's score tells genuine captures from the attacks that it looks at, at the
    /// default operating point.
    pub scores: Vec<Scores>,
}

/// An operating point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Name and version of the policy.
    pub policy: String,
    /// Genuine captures by condition, as recorded first.
    pub genuine: Vec<Row>,
    /// Attacks by species.
    pub attacks: Vec<Row>,
}

/// What became of captures of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The condition or the species.
    pub name: String,
    /// Captures.
    pub n: usize,
    /// People seen in them: captures of one are not independent.
    pub subjects: usize,
    /// Verified: of attacks, APCER.
    pub verified: Rate,
    /// Sent to a reviewer.
    pub review: Rate,
    /// Rejected.
    pub rejected: Rate,
    /// No answer at all: the file was refused, or nobody was found in it.
    pub no_response: Rate,
    /// Attacks to which no check objected that looks at what is false in them; what else stopped them
    /// would have stopped a genuine capture of the same material. Of genuine captures, those to which
    /// a check objected that has nothing to do with hearing digits.
    pub unseen: Rate,
    /// By check: the captures that it did not pass.
    pub objected: BTreeMap<String, usize>,
}

/// The scores of a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// The check.
    pub check: String,
    /// Genuine captures, as recorded and degraded: the log-likelihood ratio, or else the score. Larger
    /// is better.
    pub genuine: Vec<f32>,
    /// Attacks that it looks at.
    pub attacks: Vec<f32>,
    /// The probability that a genuine capture scores above such an attack.
    pub auc: f64,
}

/// How a capture ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    NoResponse,
    Verified,
    Review,
    Rejected,
}

/// A capture judged.
struct Judged<'a> {
    case: &'a Case,
    fate: Fate,
    /// The checks that did not pass, without those left out.
    objected: Vec<&'static str>,
}

/// Judges and counts.
pub(super) fn of(
    cases: &[Case],
    found: &[Found],
    policies: &[Policy],
    models: &BTreeMap<ModelRole, Vec<ModelRef>>,
) -> Report {
    let distinct =
        |of: &dyn Fn(&Case) -> String| cases.iter().map(of).collect::<BTreeSet<_>>().len();
    let attacks = cases.iter().filter(|c| c.class.is_attack()).count();
    let mut cost: Vec<f64> = found.iter().map(|f| f.cpu_ms).collect();
    cost.sort_by(f64::total_cmp);
    let at = |i: usize| cost.get(i).copied().unwrap_or(0.0);
    Report {
        captures: (cases.len() - attacks, attacks),
        people: (distinct(&|c| c.subject.clone()), distinct(&|c| c.speaker.clone())),
        cpu_ms: (at(cost.len() / 2), at(cost.len().saturating_sub(1))),
        models: models.clone(),
        points: policies.iter().map(|p| point(cases, found, p)).collect(),
        scores: scores(cases, found, &Policy::default()),
    }
}

fn point(cases: &[Case], found: &[Found], policy: &Policy) -> Point {
    let judged: Vec<Judged<'_>> =
        cases.iter().zip(found).map(|(case, found)| judged(case, found, policy)).collect();
    let rows = |attacks: bool| {
        // In the order in which the kinds first come.
        let mut names: Vec<&str> = Vec::new();
        for j in judged.iter().filter(|j| j.case.class.is_attack() == attacks) {
            if !names.contains(&j.case.class.name()) {
                names.push(j.case.class.name());
            }
        }
        let of = |name: &&str| {
            let of: Vec<&Judged<'_>> = judged
                .iter()
                .filter(|j| j.case.class.is_attack() == attacks && j.case.class.name() == *name)
                .collect();
            row(name, &of)
        };
        names.iter().map(of).collect()
    };
    Point { policy: policy.id(), genuine: rows(false), attacks: rows(true) }
}

fn judged<'a>(case: &'a Case, found: &Found, policy: &Policy) -> Judged<'a> {
    let Ok(evidence) = &found.evidence else {
        return Judged { case, fate: Fate::NoResponse, objected: Vec::new() };
    };
    let left_out = case.left_out();
    let mut policy = policy.clone();
    policy.sync.counts &= !left_out.contains(&Check::Sync.name());
    let verdict = judge(evidence, &policy);
    let objected: Vec<&'static str> = verdict
        .checks
        .iter()
        .filter(|c| c.status != Status::Pass && !left_out.contains(&c.check.name()))
        .map(|c| c.check.name())
        .collect();
    // The policy itself leaves out `sync`.
    let others: Vec<&str> = left_out.iter().copied().filter(|c| *c != Check::Sync.name()).collect();
    let mut weighed = verdict;
    if !policy.sync.counts {
        weighed.checks.retain(|c| c.check != Check::Sync);
    }
    let fate = if nobody(evidence) { Fate::NoResponse } else { fate(&weighed, &others) };
    Judged { case, fate, objected }
}

fn nobody(evidence: &Evidence) -> bool {
    evidence.frames.iter().all(|f| f.face.is_none())
}

/// The decision without some checks: as it is where none of them had a part in it, and otherwise by
/// the gates and weights of the others (a failed gate rejects; what is weighed goes to review).
fn fate(verdict: &Verdict, left_out: &[&str]) -> Fate {
    let counts = |check: Check| !left_out.contains(&check.name());
    let all_pass = verdict.checks.iter().all(|c| counts(c.check) || c.status == Status::Pass);
    match verdict.decision {
        Decision::Verified => Fate::Verified,
        Decision::Review if all_pass => Fate::Review,
        Decision::Rejected if all_pass => Fate::Rejected,
        Decision::Review | Decision::Rejected => {
            let of = || verdict.checks.iter().filter(|c| counts(c.check));
            let weighed = |c: Check| matches!(c, Check::Pad | Check::Sync);
            if of().any(|c| c.status == Status::Fail && !weighed(c.check)) {
                Fate::Rejected
            } else if of().all(|c| c.status == Status::Pass) {
                Fate::Verified
            } else {
                Fate::Review
            }
        }
    }
}

fn row(name: &str, of: &[&Judged<'_>]) -> Row {
    let ended = |fate: Fate| Rate::among(of, |j| j.fate == fate);
    let mut objected: BTreeMap<String, usize> = BTreeMap::new();
    for check in of.iter().flat_map(|j| &j.objected) {
        *objected.entry((*check).to_owned()).or_default() += 1;
    }
    let unseen = Rate::among(of, |j| match &j.case.class {
        Class::Attack { touches, .. } => {
            j.fate != Fate::NoResponse && !j.objected.iter().any(|c| touches.iter().any(|t| t == c))
        }
        Class::BonaFide { .. } => j.objected.iter().any(|c| *c != Check::Speech.name()),
    });
    Row {
        name: name.to_owned(),
        n: of.len(),
        subjects: of.iter().map(|j| &j.case.subject).collect::<BTreeSet<_>>().len(),
        verified: ended(Fate::Verified),
        review: ended(Fate::Review),
        rejected: ended(Fate::Rejected),
        no_response: ended(Fate::NoResponse),
        unseen,
        objected,
    }
}

/// Each check's scores of genuine captures and of the attacks that it looks at.
fn scores(cases: &[Case], found: &[Found], policy: &Policy) -> Vec<Scores> {
    let mut all: BTreeMap<Check, [Vec<f32>; 2]> = BTreeMap::new();
    for (case, found) in cases.iter().zip(found) {
        let Ok(evidence) = &found.evidence else { continue };
        for result in judge(evidence, policy).checks {
            let name = result.check.name();
            let side = match &case.class {
                Class::BonaFide { .. } if !case.left_out().contains(&name) => 0,
                Class::Attack { touches, .. } if touches.iter().any(|t| t == name) => 1,
                _ => continue,
            };
            // Of continuity, the score is a distance.
            let sign = if result.check == Check::Continuity { -1.0 } else { 1.0 };
            if let Some(score) = result.llr.or(result.score) {
                all.entry(result.check).or_default()[side].push(sign * score);
            }
        }
    }
    all.into_iter()
        .filter(|(_, [genuine, attacks])| !genuine.is_empty() && !attacks.is_empty())
        .map(|(check, [genuine, attacks])| {
            let auc = auc(&genuine, &attacks);
            Scores { check: check.name().to_owned(), genuine, attacks, auc }
        })
        .collect()
}

impl Report {
    /// The default operating point.
    pub fn balanced(&self) -> Option<&Point> {
        self.points.iter().find(|p| p.policy.starts_with("balanced/"))
    }
}

impl Point {
    /// Every genuine capture of people (drawn heads are none) as recorded and degraded: those that were
    /// not verified.
    pub fn genuine_refused(&self, names: impl Fn(&str) -> bool) -> Rate {
        let of = || self.genuine.iter().filter(|r| names(&r.name));
        let n = of().map(|r| r.n).sum();
        Rate::of(n - of().map(|r| r.verified.hits).sum::<usize>(), n)
    }
}

impl Row {
    /// What an error rate allows to be said about the goal of 5 %.
    pub fn claim(error: &Rate) -> &'static str {
        if error.high <= GOAL {
            "below 5 %"
        } else if error.low > GOAL {
            "above 5 %"
        } else {
            "n too small to tell"
        }
    }

    /// The genuine captures that were not verified: refused outright, left to a reviewer, or without
    /// an answer.
    pub fn refused(&self) -> Rate {
        Rate::of(self.n - self.verified.hits, self.n)
    }

    /// The checks that objected, most often first.
    pub fn checks(&self) -> String {
        let mut checks: Vec<(&String, &usize)> = self.objected.iter().collect();
        checks.sort_by_key(|(name, n)| (std::cmp::Reverse(**n), (*name).clone()));
        let told: Vec<String> = checks.iter().map(|(name, n)| format!("{name} {n}")).collect();
        if told.is_empty() { "–".to_owned() } else { told.join(", ") }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} genuine captures and {} attacks, {} people seen, {} heard; CPU for one: median {:.0} ms, most {:.0} ms",
            self.captures.0,
            self.captures.1,
            self.people.0,
            self.people.1,
            self.cpu_ms.0,
            self.cpu_ms.1
        )?;
        for point in &self.points {
            writeln!(f, "\n{}", point.policy)?;
            for (kind, rows) in [("genuine", &point.genuine), ("attack", &point.attacks)] {
                for r in rows {
                    let (what, rate) = match kind {
                        "attack" => ("verified", r.verified),
                        _ => ("not verified", r.refused()),
                    };
                    writeln!(
                        f,
                        "  {kind:8}{:20} {what} {:28} review {:2}, rejected {:2}, no response {:2}, unseen {:2}; {}",
                        r.name,
                        rate.to_string(),
                        r.review.hits,
                        r.rejected.hits,
                        r.no_response.hits,
                        r.unseen.hits,
                        r.checks()
                    )?;
                }
            }
        }
        for s in &self.scores {
            writeln!(
                f,
                "\nscore of {}: AUC {:.3} (genuine {}, attacks {})",
                s.check,
                s.auc,
                s.genuine.len(),
                s.attacks.len()
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::verdict::CheckResult;

    fn verdict(decision: Decision, statuses: &[(Check, Status)]) -> Verdict {
        let check = |(check, status): &(Check, Status)| CheckResult {
            check: *check,
            status: *status,
            score: None,
            threshold: None,
            reasons: vec![],
            llr: None,
            reliability: None,
        };
        let checks = statuses.iter().map(check).collect();
        Verdict { decision, checks, policy: "p/1".into(), earlier: None }
    }

    #[test]
    fn a_check_that_is_left_out_has_no_part_in_the_fate() {
        use Status::{Fail, Inconclusive, Pass};
        let of = |motion, pad, decision, left_out: &[&str]| {
            fate(&verdict(decision, &[(Check::Motion, motion), (Check::Pad, pad)]), left_out)
        };
        assert_eq!(of(Pass, Pass, Decision::Verified, &[]), Fate::Verified);
        assert_eq!(of(Fail, Pass, Decision::Rejected, &[]), Fate::Rejected);
        assert_eq!(of(Fail, Pass, Decision::Rejected, &["motion"]), Fate::Verified);
        assert_eq!(of(Fail, Fail, Decision::Rejected, &["motion"]), Fate::Review);
        assert_eq!(of(Fail, Inconclusive, Decision::Rejected, &["pad"]), Fate::Rejected);
        assert_eq!(of(Inconclusive, Pass, Decision::Review, &["motion"]), Fate::Verified);
        // Not of what was left out: as it was decided.
        assert_eq!(of(Pass, Fail, Decision::Rejected, &["motion"]), Fate::Rejected);
    }

    #[test]
    fn rows_count_and_claims_need_numbers() {
        let case = |subject: &str, touches: &[&str]| Case {
            id: "x".into(),
            file: "x".into(),
            subject: subject.into(),
            speaker: "v".into(),
            class: Class::Attack {
                species: "print".into(),
                parameters: serde_json::Value::Null,
                touches: touches.iter().map(|t| (*t).to_owned()).collect(),
            },
            digits: vec![1, 2, 3, 4],
            motions: vec![],
            unfit: vec![],
        };
        let cases = [case("a", &["pad"]), case("a", &["pad"]), case("b", &["pad"])];
        let all = [
            Judged { case: &cases[0], fate: Fate::Rejected, objected: vec!["pad", "speech"] },
            Judged { case: &cases[1], fate: Fate::Review, objected: vec!["speech"] },
            Judged { case: &cases[2], fate: Fate::Verified, objected: vec![] },
        ];
        let row = row("print", &all.iter().collect::<Vec<_>>());
        assert_eq!((row.n, row.subjects, row.verified.hits, row.unseen.hits), (3, 2, 1, 2));
        assert_eq!(row.checks(), "speech 2, pad 1");
        assert_eq!(row.refused().hits, 2);
        assert_eq!(Row::claim(&Rate::of(0, 10)), "n too small to tell");
        assert_eq!(Row::claim(&Rate::of(0, 100)), "below 5 %");
        assert_eq!(Row::claim(&Rate::of(50, 100)), "above 5 %");
    }
}
