//! The smallest evaluation from end to end: one drawn head, its attacks, the real pipeline.

use std::time::SystemTime;

use cameo::cli::eval::end_to_end::{self, Report};
use cameo::cli::eval::summary::{self, SummaryArgs};
use cameo::cli::eval::workshop::{self, WorkshopArgs};
use cameo::config::Config;
use cameo::infer::manifest::Role;
use cameo::media::{Decoder, Limits};

use crate::infer::models;

#[test]
fn a_drawn_head_is_made_measured_and_reported() {
    let Some(models) = models(&[Role::FaceDetector, Role::FaceMesh, Role::VoiceActivity]) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let cases = dir.path().join("cases");
    let args = WorkshopArgs {
        datasets: None,
        clips: "none".into(),
        takes: 1,
        drawn: 1,
        seed: 1,
        out: cases.clone(),
    };
    workshop::run(&args, &Config::default()).unwrap();
    let made = |name: &str| std::fs::metadata(cases.join(name)).unwrap().modified().unwrap();
    let genuine = made("drawn-0-genuine.webm");

    let decoder = Decoder::new(env!("CARGO_BIN_EXE_cameo"), Limits::default());
    let report = end_to_end::measure(&cases, &decoder, models, 1).unwrap();
    println!("{report}");
    assert_eq!((report.captures, report.people), ((1, 3), (1, 1)));
    let policies: Vec<&str> = report.points.iter().map(|p| p.policy.as_str()).collect();
    assert!(policies.iter().any(|p| p.starts_with("balanced/")), "{policies:?}");
    let point = report.balanced().unwrap();
    let row = |name: &str| point.attacks.iter().find(|r| r.name == name).unwrap();
    assert_eq!((row("late_sync").n, row("dubbed_audio").n), (2, 1));
    for r in point.genuine.iter().chain(&point.attacks) {
        let ends = [r.verified, r.review, r.rejected, r.no_response].map(|r| r.hits);
        assert_eq!(ends.iter().sum::<usize>(), r.n, "{}", r.name);
    }

    // Again: nothing is made or measured anew, and the figures are the same.
    let kept: SystemTime = made("evidence/drawn-0-genuine.json");
    workshop::run(&args, &Config::default()).unwrap();
    assert_eq!(made("drawn-0-genuine.webm"), genuine);
    assert_eq!(end_to_end::measure(&cases, &decoder, models, 2).unwrap(), report);
    assert_eq!(made("evidence/drawn-0-genuine.json"), kept);
    // A capture that was changed is measured anew.
    std::fs::copy(cases.join("drawn-0-late_sync-0.webm"), cases.join("drawn-0-genuine.webm"))
        .unwrap();
    end_to_end::measure(&cases, &decoder, models, 1).unwrap();
    assert!(made("evidence/drawn-0-genuine.json") > kept);

    let docs = dir.path().join("docs");
    std::fs::create_dir(&docs).unwrap();
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/evaluation.md");
    std::fs::copy(page, docs.join("evaluation.md")).unwrap();
    end_to_end::write(dir.path(), &report).unwrap();
    let html = std::fs::read_to_string(dir.path().join("report.html")).unwrap();
    assert!(html.contains("<svg") && html.contains("late_sync") && !html.contains("http-equiv"));
    let text = std::fs::read_to_string(dir.path().join("report.json")).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    summary::run(&SummaryArgs { reports: dir.path().into(), docs: docs.clone() }).unwrap();
    let told = std::fs::read_to_string(docs.join("evaluation.json")).unwrap();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let species = told["pad"]["species"].as_array().unwrap();
    assert!(
        species.iter().any(|s| s["name"] == "dubbed_audio" && s["n"] == 1 && s["ci95"].is_array())
    );
    assert!(
        std::fs::read_to_string(docs.join("evaluation.md"))
            .unwrap()
            .contains("| dubbed audio | 1 (1) |")
    );
}
