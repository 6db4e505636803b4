//! The decision against a naive reference, and its properties one by one.
//!
//! The reference is written from the words of docs/permissions.md over a plain model of numbers and
//! flags: it lists every reason against a use, without an order of looking, and picks from the list
//! afterwards. [`Draw`] makes the random cases.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::domain::consent::{Purpose, Region, Style};
use crate::domain::ids::{ApiKeyId, GrantId};

const ULID: &str = "01JD3ZP3V5Q8W9X0Y1Z2A3B4C";

fn who(n: u64) -> SubjectId {
    format!("u{n}").parse().unwrap()
}

fn generator(n: u64) -> ApiKeyId {
    format!("key_{ULID}{n}").parse().unwrap()
}

fn grant_id(n: u64) -> GrantId {
    format!("gra_{ULID}{n}").parse().unwrap()
}

fn region(n: u64) -> Region {
    ["DE", "FR", "CH"][n as usize].parse().unwrap()
}

/// People are numbers, the owner is 0; of purposes, styles and so on, the place in the list.
#[derive(Clone, Debug)]
struct PlainScope {
    purposes: BTreeSet<usize>,
    generators: Option<BTreeSet<u64>>,
    styles: Option<BTreeSet<usize>>,
    voice: bool,
    images: bool,
    /// 0 alone, 1 requester, 2 people, 3 anyone.
    company: u64,
    people: BTreeSet<u64>,
    regions: Option<BTreeSet<u64>>,
    from: Option<i64>,
    until: Option<i64>,
    max_uses: Option<u32>,
    max_per_day: Option<u32>,
    restrictions: Vec<String>,
    used: (u64, u64),
}

#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // plain on purpose
struct Plain {
    deleted: bool,
    withdrawn: bool,
    consented: bool,
    frozen: bool,
    /// The place in [`Audience::ALL`].
    audience: usize,
    allow: BTreeSet<u64>,
    block: BTreeSet<u64>,
    scope: PlainScope,
    /// Id, grantee, scope.
    personal: Vec<(u64, u64, PlainScope)>,
    mutual: Option<bool>,
    /// `None`: derives from nothing; else whether the parent's people permit it.
    parent: Option<bool>,
    requester: u64,
    generator: u64,
    purpose: usize,
    style: usize,
    region: Option<u64>,
    company: BTreeSet<u64>,
    needs_voice: bool,
    needs_images: bool,
    now: i64,
}

/// What the reference answers: the grant (`None`: standing) with what it binds to, or the rule.
#[derive(Debug, PartialEq)]
enum Answer {
    Yes { grant: Option<u64>, voice: bool, images: bool, words: Vec<String>, until: Option<i64> },
    No(&'static str),
}

/// Every reason against a use under one grant, in the order of the table in docs/permissions.md.
fn reasons(c: &Plain, scope: &PlainScope, standing: bool) -> Vec<&'static str> {
    let mut against = Vec::new();
    let mut note = |holds: bool, rule| {
        if holds {
            against.push(rule);
        }
    };
    note(scope.from.is_some_and(|t| c.now < t), "not_yet");
    note(scope.until.is_some_and(|t| c.now >= t), "expired");
    let own_personal = standing && c.requester == 0 && Purpose::ALL[c.purpose].name() == "personal";
    note(!own_personal && !scope.purposes.contains(&c.purpose), "purpose");
    note(scope.generators.as_ref().is_some_and(|g| !g.contains(&c.generator)), "generator");
    note(scope.styles.as_ref().is_some_and(|s| !s.contains(&c.style)), "style");
    let mut bad_company = false;
    for other in &c.company {
        let fine = match scope.company {
            0 => false,
            1 => *other == c.requester,
            2 => *other == c.requester || scope.people.contains(other),
            _ => true,
        };
        if !fine || c.block.contains(other) {
            bad_company = true;
        }
    }
    note(bad_company, "company");
    let bad_region = match (&scope.regions, c.region) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(named), Some(here)) => !named.contains(&here),
    };
    note(bad_region, "region");
    note(c.needs_voice && !scope.voice, "voice");
    note(c.needs_images && !scope.images, "images");
    note(c.parent == Some(false), "remix");
    note(scope.max_uses.is_some_and(|n| scope.used.0 >= u64::from(n)), "max_uses");
    note(scope.max_per_day.is_some_and(|n| scope.used.1 >= u64::from(n)), "daily_limit");
    against
}

fn reference(c: &Plain) -> Answer {
    let own = c.requester == 0;
    for (refused, rule) in [
        (c.deleted, "deleted"),
        (c.withdrawn, "withdrawn"),
        (!c.consented, "no_consent"),
        (c.frozen, "frozen"),
        (!own && c.block.contains(&c.requester), "blocked"),
        (!own && c.audience == 0, "only_me"),
    ] {
        if refused {
            return Answer::No(rule);
        }
    }
    let audience = match c.audience {
        2 => c.mutual == Some(true),
        3 => true,
        _ => false,
    };
    // Grants that are for the requester: (not standing, end, id) is the order of preference.
    let mut reaching: Vec<(bool, i64, Option<u64>, &PlainScope)> = Vec::new();
    if own || audience || c.allow.contains(&c.requester) {
        reaching.push((false, c.scope.until.unwrap_or(i64::MAX), None, &c.scope));
    }
    for (id, to, scope) in &c.personal {
        if *to == c.requester {
            reaching.push((true, scope.until.unwrap_or(i64::MAX), Some(*id), scope));
        }
    }
    reaching.sort_by_key(|(personal, until, id, _)| (*personal, *until, *id));
    let order: Vec<&str> = Rule::ALL.iter().copied().map(Rule::name).collect();
    let place = |rule: &str| order.iter().position(|r| *r == rule).unwrap();
    let mut furthest = "audience";
    for (personal, _, id, scope) in reaching {
        let against = reasons(c, scope, !personal);
        let Some(first) = against.first() else {
            let mut words = c.scope.restrictions.clone();
            if personal {
                let more = scope.restrictions.iter().filter(|r| !c.scope.restrictions.contains(r));
                words.extend(more.cloned());
            }
            let until = scope.until;
            return Answer::Yes {
                grant: id,
                voice: scope.voice,
                images: scope.images,
                words,
                until,
            };
        };
        if place(first) > place(furthest) {
            furthest = first;
        }
    }
    Answer::No(furthest)
}

impl PlainScope {
    fn real(&self) -> Scope {
        let set = |s: &BTreeSet<u64>| s.iter().map(|n| who(*n)).collect();
        Scope {
            purposes: self.purposes.iter().map(|p| Purpose::ALL[*p]).collect(),
            generators: self.generators.as_ref().map(|g| g.iter().map(|n| generator(*n)).collect()),
            styles: self.styles.as_ref().map(|s| s.iter().map(|n| Style::ALL[*n]).collect()),
            voice: self.voice,
            images: self.images,
            company: match self.company {
                0 => Company::Alone,
                1 => Company::Requester,
                2 => Company::People(set(&self.people)),
                _ => Company::Anyone,
            },
            regions: self.regions.as_ref().map(|r| r.iter().map(|n| region(*n)).collect()),
            from: self.from.map(Millis),
            until: self.until.map(Millis),
            max_uses: self.max_uses,
            max_per_day: self.max_per_day,
            restrictions: self.restrictions.clone(),
        }
    }

    fn used(&self) -> Used {
        Used { total: self.used.0, today: self.used.1 }
    }
}

impl Plain {
    fn decide(&self) -> Decision {
        let set = |s: &BTreeSet<u64>| s.iter().map(|n| who(*n)).collect();
        let request = UseRequest {
            owner: who(0),
            requester: who(self.requester),
            generator: generator(self.generator),
            purpose: Purpose::ALL[self.purpose],
            style: Style::ALL[self.style],
            region: self.region.map(region),
            company: set(&self.company),
            needs_voice: self.needs_voice,
            needs_images: self.needs_images,
        };
        let permissions = Permissions {
            audience: Audience::ALL[self.audience],
            allow: set(&self.allow),
            block: set(&self.block),
            scope: self.scope.real(),
        };
        let personal = self.personal.iter().map(|(id, to, scope)| Grant {
            id: grant_id(*id),
            to: who(*to),
            scope: scope.real(),
        });
        let grants = Grants {
            standing: self.consented.then_some(Standing { version: 1, permissions }),
            personal: personal.collect(),
        };
        let mut used: BTreeMap<GrantRef, Used> =
            self.personal.iter().map(|(id, _, s)| (personal_ref(*id), s.used())).collect();
        used.insert(GrantRef::Standing, self.scope.used());
        let state = State {
            deleted: self.deleted,
            withdrawn: self.withdrawn,
            frozen: self.frozen,
            relation: match self.mutual {
                None => Relation::Unknown,
                Some(false) => Relation::NotMutual,
                Some(true) => Relation::Mutual,
            },
            parent: match self.parent {
                None => Parent::None,
                Some(false) => Parent::Refuses,
                Some(true) => Parent::Permits,
            },
            used,
        };
        decide(&request, &grants, &state, Millis(self.now))
    }

    fn allows(&self) -> bool {
        matches!(self.decide(), Decision::Allow { .. })
    }

    fn every_scope(&mut self, change: impl Fn(&mut PlainScope)) {
        change(&mut self.scope);
        self.personal.iter_mut().for_each(|(_, _, s)| change(s));
    }
}

fn personal_ref(id: u64) -> GrantRef {
    GrantRef::Personal(grant_id(id))
}

fn in_plain(decision: Decision) -> Answer {
    match decision {
        Decision::Deny { rule } => Answer::No(rule.name()),
        Decision::Allow { grant, obligations } => Answer::Yes {
            grant: match grant {
                GrantRef::Standing => None,
                GrantRef::Personal(id) => id.as_str()[29..].parse().ok(),
            },
            voice: obligations.voice,
            images: obligations.images,
            words: obligations.restrictions,
            until: obligations.until.map(|t| t.0),
        },
    }
}

/// Random cases: splitmix64, so that a failure comes back with its number.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }

    fn set(&mut self, of: u64, percent: u64) -> BTreeSet<u64> {
        (0..of).filter(|_| self.percent(percent)).collect()
    }

    fn maybe<T>(&mut self, percent: u64, of: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.percent(percent) { Some(of(self)) } else { None }
    }

    fn scope(&mut self) -> PlainScope {
        let words = ["no horror", "no food", "credit me"];
        PlainScope {
            purposes: self.set(7, 75).into_iter().map(|n| n as usize).collect(),
            generators: self.maybe(25, |d| d.set(3, 70)),
            styles: self.maybe(25, |d| d.set(2, 70).into_iter().map(|n| n as usize).collect()),
            voice: self.percent(60),
            images: self.percent(60),
            company: self.below(4),
            people: self.set(6, 50),
            regions: self.maybe(25, |d| d.set(3, 70)),
            from: self.maybe(20, |d| d.below(12) as i64),
            until: self.maybe(30, |d| d.below(20) as i64),
            max_uses: self.maybe(25, |d| d.below(4) as u32),
            max_per_day: self.maybe(25, |d| d.below(4) as u32),
            restrictions: self.set(3, 30).into_iter().map(|n| words[n as usize].into()).collect(),
            used: (self.below(4), self.below(3)),
        }
    }

    fn case(&mut self) -> Plain {
        let personal = (0..self.below(4)).map(|id| (id, self.below(4), self.scope())).collect();
        Plain {
            deleted: self.percent(3),
            withdrawn: self.percent(3),
            consented: !self.percent(3),
            frozen: self.percent(3),
            audience: self.below(4) as usize,
            allow: self.set(6, 25),
            block: self.set(6, 8),
            scope: self.scope(),
            personal,
            mutual: self.maybe(80, |d| d.percent(60)),
            parent: self.maybe(25, |d| d.percent(60)),
            requester: self.below(4),
            generator: self.below(3),
            purpose: self.below(7) as usize,
            style: self.below(2) as usize,
            region: self.maybe(60, |d| d.below(3)),
            company: if self.percent(60) {
                BTreeSet::new()
            } else {
                // Never the owner.
                (1..6).filter(|_| self.percent(25)).collect()
            },
            needs_voice: self.percent(25),
            needs_images: self.percent(25),
            now: self.below(20) as i64,
        }
    }
}

/// Cases against the reference.
const CASES: usize = 120_000;
/// Cases for each property.
const EACH: usize = 20_000;

fn cases(seed: u64) -> impl Iterator<Item = Plain> {
    let mut draw = Draw(seed);
    std::iter::repeat_with(move || draw.case())
}

#[test]
fn agrees_with_the_naive_reference() {
    let (mut allowed, mut personal) = (0, 0);
    let mut refused: BTreeMap<&str, usize> = BTreeMap::new();
    for (n, case) in cases(1).take(CASES).enumerate() {
        let (ours, theirs) = (in_plain(case.decide()), reference(&case));
        assert_eq!(ours, theirs, "case {n}: {case:#?}");
        match ours {
            Answer::Yes { grant, .. } => {
                allowed += 1;
                personal += usize::from(grant.is_some());
            }
            Answer::No(rule) => *refused.entry(rule).or_default() += 1,
        }
    }
    // The cases reach every rule and both kinds of grant, else agreeing would mean little.
    assert!(
        allowed > CASES / 20 && personal > CASES / 200,
        "{allowed} allowed, {personal} by grant"
    );
    for rule in Rule::ALL.iter().filter(|r| **r != Rule::Scene) {
        let n = refused.get(rule.name()).copied().unwrap_or(0);
        assert!(n > CASES / 2000, "{} refused {n} of {CASES} only", rule.name());
    }
}

#[test]
fn a_block_never_allows() {
    for (n, mut case) in cases(2).take(EACH).enumerate() {
        let before = case.allows();
        let other = (case.requester + 1) % 4;
        case.block.insert(other);
        assert!(before || !case.allows(), "case {n}: blocking somebody else allowed");
        case.block.insert(case.requester);
        assert!(case.requester == 0 || !case.allows(), "case {n}: a blocked requester was allowed");
    }
}

#[test]
fn taking_away_never_allows() {
    type Narrow = fn(&mut Plain);
    let narrower: [(&str, Narrow); 14] = [
        ("frozen", |c| c.frozen = true),
        ("withdrawn", |c| c.withdrawn = true),
        ("deleted", |c| c.deleted = true),
        ("audience", |c| c.audience = c.audience.saturating_sub(1)),
        ("allow", |c| {
            c.allow.pop_first();
        }),
        ("grants", |c| drop(c.personal.pop())),
        ("purposes", |c| {
            c.every_scope(|s| {
                s.purposes.pop_last();
            });
        }),
        ("generators", |c| c.every_scope(|s| s.generators = Some(BTreeSet::new()))),
        ("company", |c| c.every_scope(|s| s.company = s.company.saturating_sub(1))),
        ("regions", |c| c.every_scope(|s| s.regions = Some(BTreeSet::new()))),
        ("voice", |c| c.every_scope(|s| s.voice = false)),
        ("until", |c| c.every_scope(|s| s.until = Some(s.until.map_or(5, |t| t.min(5))))),
        ("uses", |c| c.every_scope(|s| s.used = (s.used.0 + 1, s.used.1 + 1))),
        ("parent", |c| c.parent = Some(false)),
    ];
    for (n, case) in cases(3).take(EACH).enumerate() {
        let (what, narrow) = narrower[n % narrower.len()];
        // Fewer mutuals is narrower only from `everyone`'s or `mutuals`' side: `approved` takes no
        // relation into account, so the order of the audiences holds as it stands.
        let mut narrowed = case.clone();
        narrow(&mut narrowed);
        assert!(case.allows() || !narrowed.allows(), "case {n}: less {what} allowed more");
    }
}

#[test]
fn nothing_outlives_its_end() {
    for (n, mut case) in cases(4).take(EACH).enumerate() {
        case.every_scope(|s| s.until = Some(10));
        for now in [10, 11, i64::MAX] {
            case.now = now;
            assert!(!case.allows(), "case {n} at {now}");
        }
        // A millisecond earlier the end does not matter.
        case.now = 9;
        let mut endless = case.clone();
        endless.every_scope(|s| s.until = None);
        assert_eq!(case.allows(), endless.allows(), "case {n}");
    }
}

#[test]
fn the_order_of_grants_does_not_matter() {
    for (n, case) in cases(5).take(EACH).enumerate() {
        let mut turned = case.clone();
        turned.personal.reverse();
        assert_eq!(case.decide(), turned.decide(), "case {n}");
        let by = usize::from(!turned.personal.is_empty());
        turned.personal.rotate_left(by);
        assert_eq!(case.decide(), turned.decide(), "case {n}");
    }
}

#[test]
fn an_unknown_relation_is_no_relation() {
    for (n, mut case) in cases(6).take(EACH).enumerate() {
        case.mutual = None;
        let unknown = case.decide();
        case.mutual = Some(false);
        assert_eq!(unknown, case.decide(), "case {n}");
    }
}

#[test]
fn being_blocked_looks_like_being_a_stranger() {
    for (n, mut case) in cases(7).take(EACH).enumerate() {
        case.requester = 1;
        case.audience = 1;
        case.allow.remove(&1);
        case.block.remove(&1);
        case.personal.clear();
        let shown = |d: Decision| match d {
            Decision::Deny { rule } => rule.public(),
            Decision::Allow { .. } => panic!("case {n}: a stranger was allowed"),
        };
        let stranger = shown(case.decide());
        case.block.insert(1);
        assert_eq!(stranger, shown(case.decide()), "case {n}");
        assert_ne!(stranger, Rule::Blocked);
    }
}

#[test]
fn purposes_that_harm_are_never_granted_by_silence() {
    for case in cases(8).take(EACH) {
        if case.allows() && Purpose::ALL[case.purpose].is_sensitive() {
            let named = case.scope.purposes.contains(&case.purpose)
                || case.personal.iter().any(|(_, _, s)| s.purposes.contains(&case.purpose));
            assert!(named, "{case:#?}");
        }
    }
}

#[test]
fn a_table_of_plain_cases() {
    let mut draw = Draw(9);
    let mut plain = draw.case();
    plain.deleted = false;
    plain.withdrawn = false;
    plain.frozen = false;
    plain.consented = true;
    plain.allow = [1].into();
    plain.block = [2].into();
    plain.personal.clear();
    plain.company.clear();
    plain.needs_voice = false;
    plain.needs_images = false;
    plain.parent = None;
    plain.purpose = 1;
    plain.scope = PlainScope {
        purposes: [1].into(),
        generators: None,
        styles: None,
        voice: true,
        images: false,
        company: 1,
        people: BTreeSet::new(),
        regions: None,
        from: None,
        until: None,
        max_uses: None,
        max_per_day: None,
        restrictions: vec!["no horror".into()],
        used: (0, 0),
    };
    for (audience, requester, mutual, expected) in [
        (3, 3, None, "yes"),
        (3, 2, Some(true), "blocked"),
        (2, 3, Some(true), "yes"),
        (2, 3, Some(false), "audience"),
        (2, 1, None, "yes"),
        (1, 1, None, "yes"),
        (1, 3, Some(true), "audience"),
        (0, 1, Some(true), "only_me"),
        (0, 0, None, "yes"),
    ] {
        let case = Plain { audience, mutual, requester, ..plain.clone() };
        let answer = match in_plain(case.decide()) {
            Answer::Yes { words, .. } => {
                assert_eq!(words, ["no horror"]);
                "yes"
            }
            Answer::No(rule) => rule,
        };
        assert_eq!(answer, expected, "{audience} {requester} {mutual:?}");
    }
}
