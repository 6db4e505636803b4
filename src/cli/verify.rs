//! `cameo verify`: stored evidence, or a verdict with all it rests on, judged again.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use clap::Args;

use crate::domain::evidence::{EVIDENCE_VERSION, Evidence, OLDEST_EVIDENCE_VERSION};
use crate::domain::verdict::{Decision, Status, Verdict};
use crate::liveness::bundle::Bundle;
use crate::liveness::{Policy, judge};

/// Largest evidence file read, in bytes. A frame takes about 400 bytes: this is over 20 minutes at
/// 60 frames a second, far beyond what a capture may have.
const MAX_EVIDENCE: u64 = 32 * 1024 * 1024;

/// Judge stored evidence again: the same evidence gives the same verdict
#[derive(Debug, Args)]
pub struct Verify {
    /// The evidence, as JSON
    #[arg(long, value_name = "FILE", required_unless_present = "bundle")]
    evidence: Option<PathBuf>,
    /// A verdict bundle, as `GET /v1/reviews/{id}/bundle` gives it: exits with 1 where the replay comes to
    /// another verdict than the one recorded
    #[arg(long, value_name = "FILE", conflicts_with_all = ["evidence", "policy"])]
    bundle: Option<PathBuf>,
    /// The policy to judge by: convenience, balanced or strict
    #[arg(long, default_value = "balanced", value_parser = policy)]
    policy: Policy,
    /// Print the verdict as one line of JSON
    #[arg(long)]
    json: bool,
}

fn policy(name: &str) -> Result<Policy, String> {
    Policy::named(name)
        .ok_or_else(|| "the policies are convenience, balanced and strict".to_owned())
}

/// Judges again and prints the verdict. Whatever the verdict on evidence, the command succeeds; scripts
/// read `decision` in the JSON. On a bundle it fails where the verdict is not the recorded one.
///
/// # Errors
/// A file that can't be read, is too large, is not what it should be, or is of another version.
pub fn run(args: &Verify) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    if let Some(path) = &args.bundle {
        return replay(path, args.json, &mut out);
    }
    let path = args.evidence.as_deref().context("give --evidence or --bundle")?;
    let evidence = parse(&read(path)?).with_context(|| format!("reading {}", path.display()))?;
    let verdict = judge(&evidence, &args.policy);
    if args.json {
        serde_json::to_writer(&mut out, &verdict)?;
        writeln!(out)?;
    } else {
        print(&verdict, &mut out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Replays a bundle, and says whether it came to the same.
fn replay(path: &Path, json: bool, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let shown = path.display();
    let bundle: Bundle = serde_json::from_slice(&read(path)?).map_err(|e| {
        // Not the parser's words: they may quote what a person said.
        anyhow::anyhow!("{shown} is no verdict bundle (line {}, column {})", e.line(), e.column())
    })?;
    let replay = bundle.replay().with_context(|| format!("replaying {shown}"))?;
    if json {
        serde_json::to_writer(&mut *out, &replay)?;
        writeln!(out)?;
    } else {
        print(&replay.verdict, out)?;
        writeln!(out, "{}, attempt {}", bundle.verification, bundle.attempt)?;
        for (role, models) in &bundle.evidence.models {
            for model in models {
                writeln!(out, "  {role:<16} {} {}", model.id, model.sha256)?;
            }
        }
        if replay.earlier_replayed == Some(false) {
            writeln!(
                out,
                "the earlier attempt's evidence is not kept: its result was taken as recorded"
            )?;
        }
        let words =
            if replay.same { "the recorded verdict" } else { "ANOTHER VERDICT than recorded" };
        writeln!(out, "the replay comes to {words}")?;
    }
    Ok(if replay.same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("opening {shown}"))?;
    let mut bytes = Vec::new();
    file.take(MAX_EVIDENCE + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("reading {shown}"))?;
    ensure!(
        bytes.len() as u64 <= MAX_EVIDENCE,
        "{shown} is larger than the {} MiB that evidence may have",
        MAX_EVIDENCE / 1024 / 1024
    );
    Ok(bytes)
}

/// Reads evidence of this version. The parser's own message is kept out where it would quote what
/// a person said: it names line and column only.
fn parse(bytes: &[u8]) -> anyhow::Result<Evidence> {
    #[derive(serde::Deserialize)]
    struct Header {
        version: u16,
    }
    let refused = |what: &str, e: &serde_json::Error| {
        anyhow::anyhow!("{what} (line {}, column {})", e.line(), e.column())
    };
    let header: Header = serde_json::from_slice(bytes)
        .map_err(|e| refused("this is not evidence: JSON with a \"version\" is expected", &e))?;
    if !(OLDEST_EVIDENCE_VERSION..=EVIDENCE_VERSION).contains(&header.version) {
        bail!(
            "the evidence has version {}, but this software reads versions \
             {OLDEST_EVIDENCE_VERSION} to {EVIDENCE_VERSION} only; use the release that wrote it",
            header.version
        );
    }
    serde_json::from_slice(bytes)
        .map_err(|e| refused("a field of the evidence is missing, unknown or out of its range", &e))
}

fn print(verdict: &Verdict, out: &mut impl Write) -> std::io::Result<()> {
    let decision = match verdict.decision {
        Decision::Verified => "verified",
        Decision::Rejected => "rejected",
        Decision::Review => "review",
    };
    writeln!(out, "{decision} (policy {})", verdict.policy)?;
    for check in &verdict.checks {
        let status = match check.status {
            Status::Pass => "pass",
            Status::Fail => "fail",
            Status::Inconclusive => "inconclusive",
            Status::Unavailable => "unavailable",
        };
        write!(out, "  {:<10} {status:<12}", check.check.name())?;
        if let (Some(score), Some(threshold)) = (check.score, check.threshold) {
            write!(out, " {score:.3} (threshold {threshold:.3})")?;
        }
        if let (Some(llr), Some(reliability)) = (check.llr, check.reliability) {
            write!(out, ", log-likelihood ratio {llr:+.2} (reliability {reliability:.2})")?;
        }
        writeln!(out)?;
        for reason in &check.reasons {
            writeln!(out, "    {}: {} {}", reason.code(), reason.meaning(), reason.advice())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::challenge::{Challenge, Motion};
    use crate::env::Millis;

    fn evidence() -> Evidence {
        Evidence::nothing(
            Challenge::new(vec![4, 7, 1, 9], vec![Motion::Left], Millis(0), Millis(9)).unwrap(),
        )
    }

    #[test]
    fn evidence_comes_back_and_other_versions_do_not() {
        let json = serde_json::to_value(evidence()).unwrap();
        let bytes = |v: &serde_json::Value| serde_json::to_vec(v).unwrap();
        assert!(parse(&bytes(&json)).unwrap() == evidence());

        let mut future = json.clone();
        future["version"] = (EVIDENCE_VERSION + 1).into();
        future["shape"] = "unknown here".into();
        let message = parse(&bytes(&future)).unwrap_err().to_string();
        assert!(message.contains(&format!("version {}", EVIDENCE_VERSION + 1)), "{message}");

        let mut old = json.clone();
        old["version"] = 1.into();
        old["speech"].as_object_mut().unwrap().remove("envelope");
        assert!(parse(&bytes(&old)).unwrap().speech.envelope.is_none());

        let mut odd = json;
        odd["speech"]["transcript"] = "four seven one nine".into();
        let message = parse(&bytes(&odd)).unwrap_err().to_string();
        assert!(message.contains("column") && !message.contains("four"), "{message}");
        assert!(parse(b"").is_err() && parse(b"[1]").is_err());
    }

    #[test]
    fn the_text_names_each_check_and_what_to_do() {
        let mut out = Vec::new();
        print(&judge(&evidence(), &Policy::balanced()), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("rejected (policy balanced/2)"), "{text}");
        for word in ["quality", "speech", "motion", "continuity", "pad", "no_speech: No speech"] {
            assert!(text.contains(word), "{text}");
        }
    }
}
