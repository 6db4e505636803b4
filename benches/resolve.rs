//! What a resolve costs: beside the sum of its parts, and beside the same job in `FastAPI`.
//!
//! `resolve_cpu_vs_parts` is processor time per `POST /v1/resolve` through the whole router, on a SQLite
//! file, over what its parts cost alone: HTTP with a JSON body, the reads, the decision, opening the
//! template, sealing, signing, and the inserts in one transaction. `resolve_cpu_vs_fastapi` drives the
//! served program and the peer (`CAMEO_RESOLVE_PEER`, run by `CAMEO_BENCH_PYTHON` with uvicorn) with the
//! same client, in turn. Figures are medians of rounds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::post;
use cameo::app::{App, Overrides};
use cameo::config::Config;
use cameo::crypto::{RecipientSecret, SigningKey};
use cameo::domain::access::Role;
use cameo::domain::evidence::Pose;
use cameo::domain::template::{
    EmbeddingModel, FaceTemplate, Metric, PoseBin, TEMPLATE_VERSION, Template,
};
use cameo::env::SystemEntropy;
use cameo::run_tx;
use cameo::service::Services;
use cameo::store::{self, cameos, consents, subjects, token_status};
use cameo::token::status::StatusRef;
use cameo::token::{self, Claims, Identity, TokenId};
use http_body_util::BodyExt;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tower::ServiceExt;

const ROUNDS: usize = 7;
const REQUESTS: usize = 300;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut rows = runtime.block_on(parts());
    let python = std::env::var_os("CAMEO_BENCH_PYTHON").map(PathBuf::from);
    let peer = std::env::var_os("CAMEO_RESOLVE_PEER").map(PathBuf::from);
    match python.zip(peer) {
        Some((python, peer)) => rows.extend(against(&python, &peer)),
        None => println!("SKIPPED: set CAMEO_BENCH_PYTHON and CAMEO_RESOLVE_PEER for the peer"),
    }
    for r in &rows {
        println!("{:<28} {:>10} {}", r["name"].as_str().unwrap(), r["value"], r["unit"]);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/benchmarks.json");
    let old: Vec<Value> =
        std::fs::read(&path).ok().and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default();
    let kept = old.into_iter().filter(|o| rows.iter().all(|r| r["name"] != o["name"]));
    let all: Vec<Value> = kept.chain(rows.iter().cloned()).collect();
    std::fs::write(path, serde_json::to_string_pretty(&all).unwrap() + "\n").unwrap();
}

/// A service on a fresh SQLite file with one person whom everyone may use socially.
struct Stage {
    dir: tempfile::TempDir,
    app: App,
    generator: String,
    cameo: String,
}

impl Stage {
    async fn set(listen: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("cameo.toml"), config(dir.path(), listen)).unwrap();
        let config = Config::load(Some(&dir.path().join("cameo.toml")), []).unwrap();
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let overrides =
            Overrides { program: Some(env!("CARGO_BIN_EXE_cameo").into()), ..Overrides::default() };
        let app = App::build(config, metrics, overrides).await.unwrap();
        let services = app.services();
        let (app_key, app_secret) = services.create_key(Role::App, "app").await.unwrap();
        let (key, secret) = services.create_key(Role::Generator, "generator").await.unwrap();
        let recipient = RecipientSecret::generate(&SystemEntropy).unwrap();
        services.add_recipient(&key.id, *recipient.public().as_bytes()).await.unwrap();
        let who = "ann".parse().unwrap();
        let cameo = services.enrol_given(&app_key.id, &who, &template()).await.unwrap();
        let wish = json!({ "audience": "everyone", "purposes": ["social"], "text_version": "t" });
        let request = Request::put(format!("/v1/cameos/{cameo}/consent"))
            .header("authorization", format!("Bearer {}", app_secret.expose()))
            .header("content-type", "application/json")
            .body(Body::from(wish.to_string()))
            .unwrap();
        assert_eq!(call(&app.router(), request).await, 200);
        let generator = secret.expose().to_owned();
        Self { dir, app, generator, cameo: cameo.to_string() }
    }

    fn ask(&self, n: usize) -> Request<Body> {
        Request::post("/v1/resolve")
            .header("authorization", format!("Bearer {}", self.generator))
            .header("idempotency-key", format!("{n}"))
            .header("content-type", "application/json")
            .header("accept", "application/cwt")
            .body(Body::from(question(&self.cameo)))
            .unwrap()
    }
}

fn config(dir: &Path, listen: &str) -> String {
    let at = |name: &str| dir.join(name).display().to_string();
    format!(
        "[server]\nlisten = {listen:?}\npublic_url = \"http://{listen}\"\n\
         [database]\nurl = {:?}\n[secrets]\nmaster_key_file = {:?}\n\
         [models]\ndir = {:?}\n[capture]\ndir = {:?}\n[telemetry]\nfilter = \"warn\"\n",
        format!("sqlite:{}", at("cameo.db")),
        at("master.key"),
        at("no-models"),
        at("captures"),
    )
}

fn question(cameo: &str) -> String {
    json!({ "cameo_id": cameo, "requester": "user-7", "purpose": "social" }).to_string()
}

fn template() -> Template {
    let model = EmbeddingModel {
        id: "bench".into(),
        sha256: "ab".repeat(32),
        dim: 256,
        metric: Metric::Cosine,
    };
    let face = FaceTemplate {
        bin: PoseBin::Frontal,
        pose: Pose { yaw: 0.0, pitch: 0.0, roll: 0.0 },
        vector: (0..256).map(|i| (i as f32 + 1.0).sqrt()).collect(),
        keypoints: [[0.5; 2]; 5],
        frame: Some([640, 480]),
        quality: 80,
    };
    Template { version: TEMPLATE_VERSION, model, faces: vec![face], voice: None }
}

async fn call(router: &Router, request: Request<Body>) -> u16 {
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    std::hint::black_box(response.into_body().collect().await.unwrap());
    status
}

/// A resolve and its parts, in turn.
async fn parts() -> Vec<Value> {
    let stage = Stage::set("127.0.0.1:1").await;
    let router = stage.app.router();
    let bare = Router::new().route(
        "/v1/resolve",
        post(|axum::Json(v): axum::Json<Value>| async move { axum::Json(v) }),
    );
    let signer = SigningKey::generate(&SystemEntropy).unwrap();
    let recipient = RecipientSecret::generate(&SystemEntropy).unwrap().public();
    let mut n = 0;
    let mut costs: [Vec<f64>; 5] = Default::default();
    for round in 0..=ROUNDS {
        let mut now = [0.0; 5];
        let start = cpu_us();
        for _ in 0..REQUESTS {
            n += 1;
            assert_eq!(call(&router, stage.ask(n)).await, 200);
        }
        now[0] = cpu_us() - start;
        let start = cpu_us();
        for _ in 0..REQUESTS {
            call(&bare, stage.ask(n)).await;
        }
        now[1] = cpu_us() - start;
        let start = cpu_us();
        for _ in 0..REQUESTS {
            read(stage.app.services(), &stage.cameo).await;
        }
        now[2] = cpu_us() - start;
        let start = cpu_us();
        for _ in 0..REQUESTS {
            let claims = claims(n);
            let payload = Identity::of(&template(), false).unwrap().into();
            let sealed = token::seal(&claims, &payload, &recipient, &SystemEntropy).unwrap();
            std::hint::black_box(token::sign(&signer, &claims, &sealed).unwrap());
        }
        now[3] = cpu_us() - start;
        let start = cpu_us();
        for _ in 0..REQUESTS {
            // A write that changes one row and is durable: what no insert can be below.
            let db = stage.app.services().db();
            run_tx!(db, "bench", |tx| token_status::reserve(tx, 1).await).unwrap();
        }
        now[4] = cpu_us() - start;
        if round > 0 {
            // The first round warms up.
            costs.iter_mut().zip(now).for_each(|(all, us)| all.push(us / REQUESTS as f64));
        }
    }
    let [whole, http, read, seal, insert] = costs.map(|mut c| median(&mut c));
    let sum = http + read + seal + insert;
    let peer = "HTTP + read + seal and sign + one durable write, each alone";
    vec![
        row("resolve_cpu_us", whole, "us", "none"),
        row("resolve_http_cpu_us", http, "us", "none"),
        row("resolve_read_cpu_us", read, "us", "none"),
        row("resolve_seal_and_sign_cpu_us", seal, "us", "none"),
        row("resolve_write_cpu_us", insert, "us", "none"),
        row("resolve_cpu_vs_parts", whole / sum, "ratio", peer),
    ]
}

async fn read(services: &Services, cameo: &str) {
    let id = cameo.parse().unwrap();
    let mut tx: store::Tx = services.db().read().await.unwrap();
    let found = cameos::get(&mut tx, &id).await.unwrap().unwrap();
    std::hint::black_box(subjects::get(&mut tx, &found.subject).await.unwrap());
    std::hint::black_box(consents::latest(&mut tx, &id).await.unwrap());
    std::hint::black_box(cameos::template(&mut tx, &id).await.unwrap());
}

fn claims(n: usize) -> Claims {
    Claims {
        issuer: "https://cameo.example".into(),
        subject: "ps_00112233445566778899aabbccddeeff".into(),
        audience: "key_01JD0000000000000000000000".into(),
        issued_at: 1_800_000_000,
        not_before: 1_800_000_000,
        expires_at: 1_800_000_300,
        token_id: TokenId::generate(&SystemEntropy),
        status: StatusRef { index: 1, uri: "https://cameo.example/v1/status-lists/0".into() },
        consent_version: 1,
        grant: "standing".into(),
        use_id: format!("use_{n:026}"),
        purpose: "social".into(),
        requester: "user-7".into(),
        restrictions: Vec::new(),
        request_digest: None,
        parent: None,
    }
}

/// The served program and the peer, in turn, with the same client.
fn against(python: &Path, peer: &Path) -> Vec<Value> {
    let port = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (ours_at, theirs_at) = (port(), port());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stage = runtime.block_on(Stage::set(&ours_at.to_string()));
    runtime.block_on(stage.app.services().db().close());
    let ours = Served(
        Command::new(env!("CARGO_BIN_EXE_cameo"))
            .args(["serve", "--config"])
            .arg(stage.dir.path().join("cameo.toml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let theirs = Served(
        Command::new(python)
            .args(["-m", "uvicorn", "--log-level", "warning", "--app-dir"])
            .arg(peer.parent().unwrap())
            .args(["--port", &theirs_at.port().to_string()])
            .arg(format!("{}:app", peer.file_stem().unwrap().to_string_lossy()))
            .env("DB", stage.dir.path().join("peer.db"))
            .env("SYNC", "FULL")
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let agent: Arc<ureq::Agent> = Arc::new(ureq::Agent::new_with_defaults());
    let body = question(&stage.cameo);
    let n = std::sync::atomic::AtomicUsize::new(0);
    let ask_us = || {
        let key = n.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        agent
            .post(format!("http://{ours_at}/v1/resolve"))
            .header("authorization", format!("Bearer {}", stage.generator))
            .header("idempotency-key", format!("{key}"))
            .header("content-type", "application/json")
            .header("accept", "application/cwt")
            .send(&body)
            .is_ok()
    };
    let ask_them =
        || agent.get(format!("http://{theirs_at}/resolve/cameo_00000001")).call().is_ok();
    until(&ask_us);
    until(&ask_them);
    let (mut us, mut them) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        us.push(ours.cost(&ask_us));
        them.push(theirs.cost(&ask_them));
    }
    let (us, them) = (median(&mut us), median(&mut them));
    let peer = "FastAPI, sqlite3, cbor2 and PyNaCl; no sealing, no idempotency, no log tree";
    vec![
        row("resolve_served_cpu_us", us, "us", "none"),
        row("resolve_cpu_vs_fastapi", us / them, "ratio", peer),
    ]
}

/// A server under measurement; stopped when dropped.
struct Served(Child);

impl Served {
    /// Processor time of the server for one request, in microseconds: ticks are 10 ms, so many
    /// requests share one figure.
    fn cost(&self, ask: &dyn Fn() -> bool) -> f64 {
        const MANY: usize = 1000;
        let before = ticks(&format!("/proc/{}/stat", self.0.id()));
        for _ in 0..MANY {
            assert!(ask(), "a request failed");
        }
        (ticks(&format!("/proc/{}/stat", self.0.id())) - before) * 10_000.0 / MANY as f64
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(ask: &dyn Fn() -> bool) {
    let start = Instant::now();
    while !ask() {
        assert!(start.elapsed() < Duration::from_mins(1), "a server did not come up");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Processor time of this process in microseconds.
fn cpu_us() -> f64 {
    ticks("/proc/self/stat") * 10_000.0
}

/// User and system time in ticks of 10 ms.
fn ticks(path: &str) -> f64 {
    let stat = std::fs::read_to_string(path).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn row(name: &str, value: f64, unit: &str, peer: &str) -> Value {
    json!({ "name": name, "value": (value * 1000.0).round() / 1000.0, "unit": unit, "n": ROUNDS,
        "command": "cargo bench --bench resolve", "peer": peer })
}
