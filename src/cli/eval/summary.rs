//! `cameo eval summary`: the reports' figures in `docs/evaluation.json`, and the tables that stand in
//! `docs/evaluation.md` between its markers. Figures only: no names of files, no recordings.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::end_to_end::Report;
use super::end_to_end::figures::{Point, Row};
use super::stats::Rate;

/// Put the figures of all reports together.
#[derive(Clone, Debug, clap::Args)]
pub struct SummaryArgs {
    /// The folder with report.json (of end-to-end) and, each where it was measured, speech.json,
    /// faces.json, sync.json and voice.json
    #[arg(value_name = "DIR")]
    pub reports: PathBuf,
    /// The folder of evaluation.json and evaluation.md
    #[arg(long, value_name = "DIR", default_value = "docs")]
    pub docs: PathBuf,
}

/// Reads the reports and writes the summary.
///
/// # Errors
/// Where a report or the document can't be read, or the summary can't be written.
pub fn run(args: &SummaryArgs) -> anyhow::Result<()> {
    let path = args.reports.join("report.json");
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!("can't read {}: run `cameo eval end-to-end` first", path.display())
    })?;
    let report: Report =
        serde_json::from_str(&text).with_context(|| format!("in {}", path.display()))?;
    let mut others = Vec::new();
    for name in ["speech", "faces", "sync", "voice"] {
        let path = args.reports.join(format!("{name}.json"));
        if let Ok(text) = std::fs::read_to_string(&path) {
            let value: Value =
                serde_json::from_str(&text).with_context(|| format!("in {}", path.display()))?;
            others.push((name, value));
        }
    }
    let other = |name: &str| others.iter().find(|(n, _)| *n == name).map(|(_, v)| v);
    let summary = json!({
        "command": "make eval",
        "captures": { "genuine": report.captures.0, "attacks": report.captures.1,
                      "people_seen": report.people.0, "people_heard": report.people.1 },
        "models": report.models,
        "pad": report.balanced().map(pad),
        "speech": other("speech").and_then(speech),
        "faces": other("faces"),
        "sync": other("sync"),
        "voice": other("voice"),
    });
    write(&args.docs.join("evaluation.json"), &format!("{summary:#}\n"))?;
    let path = args.docs.join("evaluation.md");
    let mut page =
        std::fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
    for (name, text) in [
        ("captures", captures(&report)),
        ("points", points(&report)),
        ("scores", scores(&report)),
        ("speech", other("speech").map_or_else(missing, speech_text)),
        ("faces", other("faces").map_or_else(missing, faces_text)),
        ("sync", other("sync").map_or_else(missing, figures)),
        ("voice", other("voice").map_or_else(missing, figures)),
    ] {
        page = between(&page, name, &text)?;
    }
    write(&path, &page)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("can't write {}", path.display()))
}

fn missing() -> String {
    "Not measured.\n".to_owned()
}

/// The text with what stands between a name's markers replaced.
fn between(page: &str, name: &str, text: &str) -> anyhow::Result<String> {
    let (begin, end) = (format!("<!-- begin {name} -->"), format!("<!-- end {name} -->"));
    let from = page.find(&begin).map(|at| at + begin.len());
    let to = page.find(&end);
    let (Some(from), Some(to)) = (from, to) else {
        anyhow::bail!("evaluation.md has no markers {begin} … {end}");
    };
    ensure!(from <= to, "evaluation.md has the markers of {name} the wrong way round");
    Ok(format!("{}\n{text}{}", &page[..from], &page[to..]))
}

fn interval(rate: &Rate) -> Value {
    json!([rate.low, rate.high])
}

/// ISO/IEC 30107-3: APCER by species, BPCER as recorded and by condition.
fn pad(point: &Point) -> Value {
    let species = point.attacks.iter().map(|r| {
        json!({
            "name": r.name, "n": r.n, "subjects": r.subjects,
            "apcer": r.verified.value, "ci95": interval(&r.verified),
            "claim": Row::claim(&r.verified),
            "review": r.review.hits, "rejected": r.rejected.hits,
            "no_response": r.no_response.hits,
            "unseen": r.unseen.value, "unseen_ci95": interval(&r.unseen),
            "objected": r.objected,
        })
    });
    let conditions = point.genuine.iter().map(|r| {
        let bpcer = r.refused();
        json!({
            "name": r.name, "n": r.n, "subjects": r.subjects,
            "bpcer": bpcer.value, "ci95": interval(&bpcer), "claim": Row::claim(&bpcer),
            "review": r.review.hits, "rejected": r.rejected.hits,
            "no_response": r.no_response.hits,
            "bpcer_digits_aside": r.unseen.value, "digits_aside_ci95": interval(&r.unseen),
            "objected": r.objected,
        })
    });
    let plain = point.genuine.iter().find(|r| r.name == "as recorded");
    let bpcer = plain.map(Row::refused);
    json!({
        "policy": point.policy,
        "bpcer": bpcer.map(|r| r.value),
        "bpcer_ci95": bpcer.map(|r| interval(&r)),
        "bpcer_n": plain.map(|r| r.n),
        "bpcer_digits_aside": plain.map(|r| r.unseen.value),
        "species": species.collect::<Vec<_>>(),
        "conditions": conditions.collect::<Vec<_>>(),
    })
}

/// The hermetic set's digits: the policy's answers where the right string was asked for, and others.
fn speech(report: &Value) -> Option<Value> {
    let policy = &report["contenders"].as_array()?.first()?["policy"];
    let rows = policy.as_array()?.iter().map(|row| {
        let (passed, failed) = (&row["right"][0], &row["right"][1]);
        json!({
            "name": row["name"],
            "n": passed["n"],
            "genuine_reject": 1.0 - passed["value"].as_f64().unwrap_or(0.0),
            "genuine_reject_ci95": [1.0 - passed["high"].as_f64().unwrap_or(1.0),
                                    1.0 - passed["low"].as_f64().unwrap_or(0.0)],
            "genuine_failed": failed["value"],
            "impostor_accept": row["random_passed"]["value"],
            "impostor_accept_n": row["random_passed"]["n"],
            "impostor_accept_ci95": [row["random_passed"]["low"], row["random_passed"]["high"]],
            "one_digit_wrong_accept": row["near_passed"]["value"],
            "one_digit_wrong_n": row["near_passed"]["n"],
        })
    });
    let rows: Vec<Value> = rows.collect();
    let mut headline = rows.iter().find(|r| r["name"] == "clean")?.clone();
    headline["speakers"] = report["speakers"].clone();
    headline["conditions"] = Value::Array(rows);
    Some(headline)
}

fn captures(report: &Report) -> String {
    let (mut text, [genuine, attacks]) = (String::new(), [report.captures.0, report.captures.1]);
    // Writing to a string can't fail.
    let _ = writeln!(
        text,
        "\nn = {genuine} genuine captures and {attacks} attacks; {} people seen (drawn heads among \
         them), {} voices heard. CPU for one capture: median {:.1} s, most {:.1} s.\n",
        report.people.0,
        report.people.1,
        report.cpu_ms.0 / 1000.0,
        report.cpu_ms.1 / 1000.0
    );
    let _ = writeln!(text, "| role | model | SHA-256 begins |\n| --- | --- | --- |");
    for (role, models) in &report.models {
        for m in models {
            let _ =
                writeln!(text, "| {role} | {} | `{}` |", m.id, m.sha256.get(..12).unwrap_or(""));
        }
    }
    text
}

fn points(report: &Report) -> String {
    let mut text = String::new();
    for point in &report.points {
        let _ = writeln!(text, "\n### `{}`\n", point.policy);
        let _ = writeln!(
            text,
            "| genuine captures | n (people) | BPCER % (95 %) | claim | review | rejected | no \
             response | digits aside % | checks that objected |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
        );
        for r in &point.genuine {
            let _ = writeln!(text, "{}", line(r, &r.refused()));
        }
        let _ = writeln!(
            text,
            "\n| attacks | n (people) | APCER % (95 %) | claim | review | rejected | no response | \
             unseen % | checks that objected |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
        );
        for r in &point.attacks {
            let _ = writeln!(text, "{}", line(r, &r.verified));
        }
    }
    text
}

fn line(r: &Row, error: &Rate) -> String {
    format!(
        "| {} | {} ({}) | {} | {} | {} | {} | {} | {} | {} |",
        r.name.replace('_', " "),
        r.n,
        r.subjects,
        percent(error),
        Row::claim(error),
        r.review.hits,
        r.rejected.hits,
        r.no_response.hits,
        percent(&r.unseen),
        r.checks()
    )
}

fn percent(rate: &Rate) -> String {
    let Rate { value, low, high, .. } = rate;
    format!("{:.1} ({:.1}–{:.1})", 100.0 * value, 100.0 * low, 100.0 * high)
}

fn scores(report: &Report) -> String {
    let mut text = "\n| check | AUC | genuine | attacks |\n| --- | --- | --- | --- |\n".to_owned();
    for s in &report.scores {
        let _ = writeln!(
            text,
            "| {} | {:.3} | {} | {} |",
            s.check,
            s.auc,
            s.genuine.len(),
            s.attacks.len()
        );
    }
    text
}

fn speech_text(report: &Value) -> String {
    let mut text =
        "\n| strings | n | right one not passed % | right one failed % | random passed % (n) | \
                    one digit wrong passed % (n) |\n| --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
    let rate = |v: &Value| serde_json::from_value::<Rate>(v.clone()).unwrap_or(Rate::of(0, 0));
    let rows = report["contenders"][0]["policy"].as_array();
    for row in rows.into_iter().flatten() {
        let (passed, failed) = (rate(&row["right"][0]), rate(&row["right"][1]));
        let [random, near] = ["random_passed", "near_passed"].map(|k| rate(&row[k]));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} ({}) | {} ({}) |",
            row["name"].as_str().unwrap_or_default(),
            passed.n,
            percent(&Rate::of(passed.n - passed.hits, passed.n)),
            percent(&failed),
            percent(&random),
            random.n,
            percent(&near),
            near.n
        );
    }
    text
}

fn faces_text(report: &Value) -> String {
    let of = |k: &str| 100.0 * report[k].as_f64().unwrap_or(f64::NAN);
    format!(
        "\n{} genuine and {} impostor pairs in {} folds: accuracy {:.2} % ± {:.2} (standard error over \
         folds), TAR {:.2} % at FAR 0.1 %, equal error rate {:.2} %; no face found in {} pictures.\n",
        report["genuine"],
        report["impostor"],
        report["folds"],
        of("accuracy"),
        of("standard_error"),
        of("tar_at_far_01_percent"),
        of("equal_error_rate"),
        report["not_found"]
    )
}

/// A flat report as a table.
fn figures(report: &Value) -> String {
    let mut text = "\n| figure | value |\n| --- | --- |\n".to_owned();
    for (name, value) in report.as_object().into_iter().flatten() {
        let value = match value {
            Value::Object(_) if value.get("hits").is_some() => {
                let rate = serde_json::from_value::<Rate>(value.clone()).unwrap_or(Rate::of(0, 0));
                format!("{} %, n {}", percent(&rate), rate.n)
            }
            Value::Object(o) if o.contains_key("low") => {
                let [value, low, high] = ["value", "low", "high"]
                    .map(|k| o.get(k).and_then(Value::as_f64).unwrap_or(f64::NAN));
                format!("{value:.3} ({low:.3}–{high:.3})")
            }
            Value::Number(n) if n.is_f64() => format!("{:.3}", n.as_f64().unwrap_or(f64::NAN)),
            Value::String(s) => s.clone(),
            other => other.to_string(),
        };
        let _ = writeln!(text, "| {} | {value} |", name.replace('_', " "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_replaced_and_the_rest_stays() {
        let page = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n";
        let new = between(page, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- begin x -->\nnew\n<!-- end x -->\nb\n");
        assert_eq!(between(&new, "x", "new\n").unwrap(), new);
        assert!(between(page, "y", "").is_err());
    }

    #[test]
    fn speech_and_flat_reports_are_told() {
        let rate = |hits, n| serde_json::to_value(Rate::of(hits, n)).unwrap();
        let report = json!({"speakers": 20, "contenders": [{"policy": [{
            "name": "clean", "right": [rate(70, 100), rate(10, 100)],
            "near_passed": rate(1, 500), "random_passed": rate(0, 4000)}]}]});
        let told = speech(&report).unwrap();
        assert!((told["genuine_reject"].as_f64().unwrap() - 0.3).abs() < 1e-9);
        assert_eq!((&told["n"], &told["impostor_accept_n"]), (&json!(100), &json!(4000)));
        assert!(speech_text(&report).contains("| clean | 100 | 30.0 ("));
        assert!(speech(&json!({})).is_none());
        let flat = figures(&json!({"n": 3, "some_rate": rate(1, 2), "name": "m"}));
        assert!(flat.contains("| some rate | 50.0 (1.3–98.7) %, n 2 |"), "{flat}");
    }
}
