//! `cameo audit report`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use super::bundle;
use super::source::{Source, bar, log_key};
use crate::app::{self, Overrides};
use crate::config::Config;
use crate::env::Millis;
use crate::service::audit::MAX_PAGE;
use crate::tlog::entry::{Attribute, Entry};
use crate::tlog::{Filter, check};

/// Count what the log tells of a period.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// A year, month or day in UTC: 2026, 2026-11 or 2026-11-22; without it everything
    #[arg(long, value_name = "PERIOD")]
    period: Option<String>,
    /// A folder of tiles or the URL prefix of a log; without it the database that the
    /// configuration names
    #[arg(long, value_name = "DIR|URL", requires = "log_key", conflicts_with = "bundle")]
    tiles: Option<String>,
    /// An export
    #[arg(long, value_name = "FILE", requires = "log_key")]
    bundle: Option<PathBuf>,
    /// The log's verifier key, or a file that holds it
    #[arg(long, value_name = "KEY|FILE")]
    log_key: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The public attributes whose values are counted, by kind.
const COUNTED: [&str; 9] =
    ["outcome", "pad", "rule", "purpose", "action", "reason", "what", "answer", "state"];
/// The kinds that begin and end a take-down, which the attribute `takedown` names.
const ASKED: &str = "takedown_requested";
const ANSWERED: &str = "takedown_answered";

/// What was counted.
#[derive(Debug, Default, Serialize)]
struct Counts {
    /// The first and the last moment, RFC 3339.
    from: Option<String>,
    to: Option<String>,
    entries: u64,
    summary: Summary,
    /// Entries by kind.
    kinds: BTreeMap<&'static str, u64>,
    /// Entries by kind, attribute and its value.
    by: BTreeMap<&'static str, BTreeMap<&'static str, BTreeMap<String, u64>>>,
    /// Take-downs that were asked for and not answered, and since when.
    #[serde(skip)]
    open: BTreeMap<String, Millis>,
    /// How long the others took, in milliseconds.
    #[serde(skip)]
    took: Vec<i64>,
    takedowns: Takedowns,
}

/// The numbers that an auditor asks for by name.
#[derive(Debug, Default, Serialize)]
struct Summary {
    /// Verdicts by outcome.
    verifications: BTreeMap<String, u64>,
    /// Verdicts by what the check for presentation attacks found.
    pad: BTreeMap<String, u64>,
    /// Consents given, changed and withdrawn, grants given and revoked.
    consents: BTreeMap<String, u64>,
    /// Allowed uses by purpose.
    uses: BTreeMap<String, u64>,
    /// Refused uses by rule.
    refusals: BTreeMap<String, u64>,
    /// Deleted cameos by reason: a retention period's end, or the person's wish.
    deletions: BTreeMap<String, u64>,
}

/// What became of take-downs.
#[derive(Debug, Default, Serialize)]
struct Takedowns {
    open: usize,
    answered: usize,
    median_s: Option<f64>,
    longest_s: Option<f64>,
}

impl ReportArgs {
    pub(super) fn run(self, config: impl Fn() -> Result<Config>) -> Result<ExitCode> {
        let (since, until) = match &self.period {
            Some(text) => {
                let (since, until) = period(text)?;
                (Some(since), Some(until))
            }
            None => (None, None),
        };
        let filter = Filter { since, until, ..Filter::default() };
        let mut counts = Counts::default();
        let mut take = |entry: &Entry| {
            if filter.matches(entry) {
                counts.add(entry);
            }
        };
        match (&self.tiles, &self.bundle, &self.log_key) {
            (Some(place), _, Some(key)) => {
                let progress = bar("entries");
                let count = |at: u64, entry: &Entry, size: u64| {
                    progress.set_length(size);
                    progress.set_position(at + 1);
                    take(entry);
                };
                check::check(&Source::new(place, None), &[log_key(key)?], None, count)?;
                progress.finish_and_clear();
            }
            (None, Some(file), Some(key)) => {
                let found = bundle::check(file, &[log_key(key)?], |_, entry| take(entry))?;
                if let Err(why) = found {
                    bail!("{why}");
                }
            }
            _ => crate::cli::runtime()?.block_on(stored(config()?, &mut take))?,
        }
        counts.sum_up();
        let mut out = std::io::stdout();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&counts)?)?;
        } else {
            counts.print(&mut out)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Counts {
    fn add(&mut self, entry: &Entry) {
        let at = entry.time.rfc3339();
        self.from.get_or_insert_with(|| at.clone());
        self.to = Some(at);
        self.entries += 1;
        let kind = entry.kind.name();
        *self.kinds.entry(kind).or_default() += 1;
        if let Some(Attribute::Text(takedown)) = entry.attributes.get("takedown") {
            if kind == ASKED {
                self.open.insert(takedown.clone(), entry.time);
            } else if kind == ANSWERED
                && let Some(asked) = self.open.remove(takedown)
            {
                self.took.push(entry.time.0 - asked.0);
            }
        }
        for label in COUNTED {
            if let Some(Attribute::Text(value)) = entry.attributes.get(label) {
                let values = self.by.entry(kind).or_default().entry(label).or_default();
                *values.entry(value.clone()).or_default() += 1;
            }
        }
    }

    fn sum_up(&mut self) {
        self.took.sort_unstable();
        let seconds = |ms: Option<&i64>| ms.map(|ms| *ms as f64 / 1000.0);
        self.takedowns = Takedowns {
            open: self.open.len(),
            answered: self.took.len(),
            median_s: seconds(self.took.get(self.took.len() / 2)),
            longest_s: seconds(self.took.last()),
        };
        let by = |kind: &str, label: &str| {
            let found = self.by.get(kind).and_then(|labels| labels.get(label));
            found.cloned().unwrap_or_default()
        };
        let consents = [
            "consent_given",
            "consent_changed",
            "consent_withdrawn",
            "grant_given",
            "grant_revoked",
        ];
        let consents = consents.iter().filter_map(|k| Some(((*k).to_owned(), *self.kinds.get(k)?)));
        self.summary = Summary {
            verifications: by("verdict", "outcome"),
            pad: by("verdict", "pad"),
            consents: consents.collect(),
            uses: by("resolve_allowed", "purpose"),
            refusals: by("resolve_denied", "rule"),
            deletions: by("cameo_deleted", "reason"),
        };
    }

    fn print(&self, out: &mut impl Write) -> std::io::Result<()> {
        let of = |t: &Option<String>| t.clone().unwrap_or_else(|| "–".to_owned());
        writeln!(out, "{} entries, from {} to {}", self.entries, of(&self.from), of(&self.to))?;
        let s = &self.summary;
        for (name, numbers) in [
            ("verifications", &s.verifications),
            ("presentation attacks", &s.pad),
            ("consents and grants", &s.consents),
            ("uses by purpose", &s.uses),
            ("refusals by rule", &s.refusals),
            ("deletions", &s.deletions),
        ] {
            let each: Vec<String> = numbers.iter().map(|(what, n)| format!("{what} {n}")).collect();
            let told = if each.is_empty() { "none".to_owned() } else { each.join(", ") };
            writeln!(out, "{name}: {told}")?;
        }
        for (kind, n) in &self.kinds {
            writeln!(out, "{n:>9}  {kind}")?;
            for (label, values) in self.by.get(kind).into_iter().flatten() {
                for (value, n) in values {
                    writeln!(out, "{n:>18}  {label} {value}")?;
                }
            }
        }
        let t = &self.takedowns;
        if let (Some(median), Some(longest)) = (t.median_s, t.longest_s) {
            let n = t.answered;
            writeln!(out, "{n} take-downs answered: median {median:.0} s, longest {longest:.0} s")?;
        }
        if t.open > 0 {
            writeln!(out, "{} take-downs not answered", t.open)?;
        }
        Ok(())
    }
}

async fn stored(config: Config, take: &mut impl FnMut(&Entry)) -> Result<()> {
    let services = app::services(config, Overrides::default()).await?;
    let mut from = 0;
    loop {
        let page = services.entries(from, MAX_PAGE).await?;
        let Some(last) = page.last() else { break };
        from = last.index + 1;
        for e in &page {
            take(&Entry::decode(&e.bytes).with_context(|| format!("entry {}", e.index))?);
        }
    }
    services.db().close().await;
    Ok(())
}

/// The first moment of a period, and the first after it.
fn period(text: &str) -> Result<(Millis, Millis)> {
    let wrong = || format!("--period takes 2026, 2026-11 or 2026-11-22, not {text:?}");
    let numbers: Vec<i16> =
        text.split('-').map(str::parse).collect::<Result<_, _>>().with_context(wrong)?;
    let (date, step) = match numbers[..] {
        [year] => (jiff::civil::Date::new(year, 1, 1), jiff::Span::new().years(1)),
        [year, month] => {
            let month = i8::try_from(month).with_context(wrong)?;
            (jiff::civil::Date::new(year, month, 1), jiff::Span::new().months(1))
        }
        [year, month, day] => {
            let (month, day) =
                (i8::try_from(month).with_context(wrong)?, i8::try_from(day).with_context(wrong)?);
            (jiff::civil::Date::new(year, month, day), jiff::Span::new().days(1))
        }
        _ => bail!(wrong()),
    };
    let start = date.with_context(wrong)?;
    let end = start.checked_add(step).with_context(wrong)?;
    let at = |date: jiff::civil::Date| -> Result<Millis> {
        let zoned = date.to_zoned(jiff::tz::TimeZone::UTC).with_context(wrong)?;
        Ok(Millis(zoned.timestamp().as_millisecond()))
    };
    Ok((at(start)?, at(end)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::Kind;

    #[test]
    fn the_numbers_that_are_asked_for_by_name() {
        let mut counts = Counts::default();
        for (kind, attributes) in [
            (Kind::Verdict, &[("outcome", "verified"), ("pad", "pass")][..]),
            (Kind::Verdict, &[("outcome", "rejected"), ("pad", "fail")]),
            (Kind::ConsentGiven, &[]),
            (Kind::ResolveAllowed, &[("purpose", "social")]),
            (Kind::ResolveAllowed, &[("purpose", "social")]),
            (Kind::ResolveDenied, &[("rule", "purpose")]),
            (Kind::CameoDeleted, &[("reason", "inactive")]),
        ] {
            let entry = Entry::new(kind, Millis(0));
            counts.add(&attributes.iter().fold(entry, |e, (label, value)| e.with(label, *value)));
        }
        counts.sum_up();
        let summary = serde_json::to_value(&counts.summary).unwrap();
        assert_eq!(
            summary,
            serde_json::json!({
                "verifications": { "verified": 1, "rejected": 1 }, "pad": { "pass": 1, "fail": 1 },
                "consents": { "consent_given": 1 }, "uses": { "social": 2 },
                "refusals": { "purpose": 1 }, "deletions": { "inactive": 1 },
            })
        );
        let mut told = Vec::new();
        counts.print(&mut told).unwrap();
        let told = String::from_utf8(told).unwrap();
        assert!(told.contains("presentation attacks: fail 1, pass 1\n"), "{told}");
    }

    #[test]
    fn periods() {
        let day = 86_400_000;
        assert_eq!(period("1970").unwrap(), (Millis(0), Millis(365 * day)));
        assert_eq!(period("1970-02").unwrap(), (Millis(31 * day), Millis(59 * day)));
        assert_eq!(period("1970-01-02").unwrap(), (Millis(day), Millis(2 * day)));
        for wrong in ["", "x", "1970-13", "1970-02-30", "1970-1-1-1", "99999"] {
            assert!(period(wrong).is_err(), "{wrong}");
        }
    }
}
