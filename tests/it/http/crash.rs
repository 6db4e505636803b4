//! Kill -9 at any point of a verification: after the restart it is finished or failed, once.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cameo::domain::challenge::Motion;
use cameo::drawn::Trick;
use serde_json::{Value, json};

use crate::support::captures;

struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(dir: &Path) -> Self {
        let root = env!("CARGO_MANIFEST_DIR");
        let runtime = std::env::var("CAMEO_ORT_LIB")
            .unwrap_or_else(|_| format!("{root}/onnx/runtime/libonnxruntime.so"));
        let mut child = command(dir)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("CAMEO_MODELS__DIR", format!("{root}/onnx/installed"))
            .env("CAMEO_MODELS__RUNTIME", runtime)
            .env("CAMEO_TELEMETRY__FORMAT", "json")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let url = loop {
            let line = lines.next().expect("the service ended before it listened").unwrap();
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split('"').next().unwrap().to_owned();
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, url }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cameo"));
    command
        .env("CAMEO_DATABASE__URL", format!("sqlite:{}", dir.join("cameo.db").display()))
        .env("CAMEO_SECRETS__MASTER_KEY_FILE", dir.join("master.key"))
        .env("CAMEO_CAPTURE__DIR", dir.join("captures"))
        .env("CAMEO_VERIFICATION__LOCKOUT_FAILURES", "1000");
    command
}

fn key(dir: &Path, role: &str) -> String {
    let out = command(dir)
        .args(["keys", "create", "--name", role, "--role", role])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert!(out.status.success());
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_mins(1)))
        .build()
        .into()
}

fn state(url: &str, id: &str, app: &str) -> Value {
    let bearer = format!("Bearer {app}");
    let path = format!("{url}/v1/verifications/{id}");
    agent()
        .get(&path)
        .header("authorization", bearer)
        .call()
        .unwrap()
        .body_mut()
        .read_json()
        .unwrap()
}

#[test]
fn a_killed_service_settles_every_capture_once() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (app, auditor) = (key(dir, "app"), key(dir, "auditor"));
    let capture = captures::drawn(&[1, 2, 3, 4, 5, 6], &[Motion::Left, Motion::Right], Trick::None);
    let mut ids = Vec::new();
    // From before the upload is whole to after the verdict; the last one is not killed.
    for (round, delay_ms) in [0, 40, 150, 500, 1200, 2500, 5000].into_iter().enumerate() {
        let server = Server::start(dir);
        let body = json!({ "subject": format!("p{round}"), "consent_text_version": "t" });
        let opened: Value = agent()
            .post(format!("{}/v1/verifications", server.url))
            .header("authorization", format!("Bearer {app}"))
            .header("idempotency-key", format!("k{round}"))
            .send_json(&body)
            .unwrap()
            .body_mut()
            .read_json()
            .unwrap();
        let id = opened["id"].as_str().unwrap().to_owned();
        let token = opened["client_token"].as_str().unwrap().to_owned();
        // Each its own file: the same one would be a replay. A Void element at the end is legal.
        let mut bytes = capture.clone();
        bytes.extend([0xec, 0x81, round as u8]);
        let path = format!("{}/v1/verifications/{id}/capture", server.url);
        let sending = std::thread::spawn(move || {
            let sent = agent()
                .put(path)
                .header("authorization", format!("Bearer {token}"))
                .header("content-type", "video/webm")
                .send(&bytes[..]);
            sent.map(|r| r.status().as_u16())
        });
        std::thread::sleep(Duration::from_millis(delay_ms));
        server.kill();
        let accepted = matches!(sending.join().unwrap(), Ok(202));
        ids.push((id, accepted));
    }
    let server = Server::start(dir);
    for (id, accepted) in &ids {
        let deadline = Instant::now() + Duration::from_mins(2);
        let settled = loop {
            let now = state(&server.url, id, &app);
            match now["state"].as_str().unwrap() {
                "processing" => assert!(Instant::now() < deadline, "{id} was never settled"),
                _ => break now,
            }
            std::thread::sleep(Duration::from_millis(200));
        };
        let state = settled["state"].as_str().unwrap();
        println!("{id} accepted: {accepted:<5} -> {state}");
        // An accepted capture is judged; one that was not leaves the challenge open.
        assert!(!accepted || state != "pending", "{id} was accepted and lost");
    }
    let left: Vec<_> = std::fs::read_dir(dir.join("captures")).unwrap().collect();
    assert!(left.is_empty(), "files are left: {left:?}");
    let verdicts = verdicts(&server.url, &auditor);
    // A capture that killed the service over and over is given up, and that is a settlement too.
    let settled = |id: &str| {
        let now = state(&server.url, id, &app);
        matches!(now["state"].as_str(), Some("verified" | "rejected" | "review" | "failed"))
    };
    let judged = ids.iter().filter(|(id, _)| settled(id)).count();
    assert_eq!(verdicts, judged, "one log entry for each settlement");
    let log = command(dir)
        .args(["audit", "verify", "--json", "--url", &server.url])
        .env("CAMEO_API_KEY", &auditor)
        .output()
        .unwrap();
    assert!(log.status.success(), "{}", String::from_utf8_lossy(&log.stdout));
    server.kill();
    let log = command(dir).args(["audit", "verify"]).output().unwrap();
    assert!(log.status.success(), "{}", String::from_utf8_lossy(&log.stdout));
}

fn verdicts(url: &str, auditor: &str) -> usize {
    use base64::Engine;
    let page: Value = agent()
        .get(format!("{url}/v1/audit/entries?limit=1000"))
        .header("authorization", format!("Bearer {auditor}"))
        .call()
        .unwrap()
        .body_mut()
        .read_json()
        .unwrap();
    let kind = |e: &Value| {
        let bytes = base64::prelude::BASE64_STANDARD.decode(e["entry"].as_str().unwrap()).unwrap();
        cameo::tlog::Entry::decode(&bytes).unwrap().kind
    };
    let entries = page["entries"].as_array().unwrap();
    entries.iter().filter(|e| kind(e) == cameo::tlog::Kind::Verdict).count()
}
