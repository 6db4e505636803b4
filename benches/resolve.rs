//! What a resolve costs under load: beside the sum of its parts, beside the disk, and beside the same
//! job in `FastAPI`.
//!
//! Everywhere 256 requests are in flight, and an answer leaves when its log entry is durable. All
//! figures are medians of rounds, and what is compared is measured in turn.
//!
//! - `resolve_cpu_vs_parts`: processor time per `POST /v1/resolve` through the whole router, on a
//!   SQLite file, over what its parts cost by themselves with as many at once: HTTP with a JSON body;
//!   the reads; opening, deciding and sealing what is kept; sealing and signing the token; the
//!   insertions in group commits.
//! - `durable_resolve_vs_single_commit`: resolves a second over single-row transactions a second on the
//!   same disk, and `resolve_p99_vs_commit` the 99th percentile of the time to an answer over the time
//!   of one such transaction. The same on PostgreSQL, where a test server that flushes is there
//!   (`CAMEO_TEST_POSTGRES_FSYNC=on`).
//! - `resolve_cpu_vs_fastapi`: the served program and `benches/peers/resolve_fastapi.py` (by
//!   `CAMEO_BENCH_PYTHON`) with the same client, each with its own SQLite file and `synchronous=FULL`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs
)]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::post;
use cameo::app::{App, Overrides};
use cameo::config::Config;
use cameo::crypto::master::{MasterKey, MasterKeys, Owner, SubjectKey};
use cameo::crypto::{RecipientKey, RecipientSecret, SigningKey};
use cameo::domain::access::Role;
use cameo::domain::consent::{
    Audience, Grants, Permissions, Purpose, Scope, Standing, State, Style, UseRequest, decide,
};
use cameo::domain::evidence::Pose;
use cameo::domain::ids::{ApiKeyId, CameoId, UseId};
use cameo::domain::template::{
    EmbeddingModel, FaceTemplate, Metric, PoseBin, TEMPLATE_VERSION, Template,
};
use cameo::env::{Clock, SystemClock, SystemEntropy, random};
use cameo::run_batched;
use cameo::store::idempotency::{self, Call, Response};
use cameo::store::uses::{self, Use};
use cameo::store::{api_keys, dossiers, generator_keys, log};
use cameo::tlog::{Entry, Frontier, Hash, Kind, leaf_hash};
use cameo::token::status::StatusRef;
use cameo::token::{self, Claims, Identity, TokenId};
use http_body_util::BodyExt;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use sqlx::Connection;
use tower::ServiceExt;

#[path = "../tests/it/support/postgres.rs"]
mod postgres;

const ROUNDS: usize = 3;
/// Requests in flight.
const AT_ONCE: usize = 256;
/// Requests of one round.
const REQUESTS: usize = 16 * AT_ONCE;
/// People whose cameos are asked for in turn.
const PEOPLE: usize = 64;
/// Single-row transactions of one round.
const COMMITS: usize = 100;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    // On a real disk: /tmp may be memory.
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    report(&runtime.block_on(parts(&target)));
    report(&runtime.block_on(durable(&target, None, "")));
    let fsync = std::env::var("CAMEO_TEST_POSTGRES_FSYNC").is_ok_and(|v| v == "on");
    match fsync.then(|| postgres::database().zip(postgres::database())).flatten() {
        Some(urls) => report(&runtime.block_on(durable(&target, Some(urls), "_postgres"))),
        None => println!("SKIPPED: PostgreSQL (CAMEO_TEST_POSTGRES_FSYNC=on, and its programs)"),
    }
    match std::env::var_os("CAMEO_BENCH_PYTHON").map(PathBuf::from) {
        Some(python) => report(&against(&python, &target)),
        None => println!("SKIPPED: set CAMEO_BENCH_PYTHON for the FastAPI peer"),
    }
}

/// Shows the rows and writes them in place of their last ones.
fn report(rows: &[Value]) {
    for r in rows {
        println!("{:<44} {:>12} {}", r["name"].as_str().unwrap(), r["value"], r["unit"]);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/benchmarks.json");
    let old: Vec<Value> =
        std::fs::read(&path).ok().and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default();
    let kept = old.into_iter().filter(|o| rows.iter().all(|r| r["name"] != o["name"]));
    let all: Vec<Value> = kept.chain(rows.iter().cloned()).collect();
    std::fs::write(path, serde_json::to_string_pretty(&all).unwrap() + "\n").unwrap();
}

/// A service with people whom everyone may use socially.
struct Stage {
    dir: tempfile::TempDir,
    app: App,
    generator: String,
    generator_id: ApiKeyId,
    recipient: RecipientKey,
    cameos: Vec<CameoId>,
    asked: AtomicUsize,
}

impl Stage {
    /// On a fresh SQLite file below `root`, or on the database at `url`.
    async fn set(root: &Path, listen: &str, url: Option<&str>) -> Arc<Self> {
        let dir = tempfile::tempdir_in(root).unwrap();
        let file = format!("sqlite:{}", dir.path().join("cameo.db").display());
        let text = config(dir.path(), listen, url.unwrap_or(&file));
        std::fs::write(dir.path().join("cameo.toml"), text).unwrap();
        if url.is_some() {
            // Beside PostgreSQL no key is made.
            let key = hex::encode(random::<32>(&SystemEntropy).as_slice());
            std::fs::write(dir.path().join("master.key"), key).unwrap();
        }
        let config = Config::load(Some(&dir.path().join("cameo.toml")), []).unwrap();
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let overrides =
            Overrides { program: Some(env!("CARGO_BIN_EXE_cameo").into()), ..Overrides::default() };
        let app = App::build(config, metrics, overrides).await.unwrap();
        let services = app.services();
        let (app_key, app_secret) = services.create_key(Role::App, "app").await.unwrap();
        let (key, secret) = services.create_key(Role::Generator, "generator").await.unwrap();
        let recipient = RecipientSecret::generate(&SystemEntropy).unwrap().public();
        services.add_recipient(&key.id, *recipient.as_bytes()).await.unwrap();
        let mut cameos = Vec::new();
        for n in 0..PEOPLE {
            let who = format!("person-{n}").parse().unwrap();
            let cameo = services.enrol_given(&app_key.id, &who, &template()).await.unwrap();
            let wish =
                json!({ "audience": "everyone", "purposes": ["social"], "text_version": "t" });
            let request = Request::put(format!("/v1/cameos/{cameo}/consent"))
                .header("authorization", format!("Bearer {}", app_secret.expose()))
                .header("content-type", "application/json")
                .body(Body::from(wish.to_string()))
                .unwrap();
            assert_eq!(call(&app.router(), request).await, 200);
            cameos.push(cameo);
        }
        let generator = secret.expose().to_owned();
        let (generator_id, asked) = (key.id, AtomicUsize::new(0));
        Arc::new(Self { dir, app, generator, generator_id, recipient, cameos, asked })
    }

    fn ask(&self) -> Request<Body> {
        let n = self.asked.fetch_add(1, Ordering::Relaxed);
        Request::post("/v1/resolve")
            .header("authorization", format!("Bearer {}", self.generator))
            .header("idempotency-key", format!("key-{n}"))
            .header("content-type", "application/json")
            .header("accept", "application/cwt")
            .body(Body::from(question(&self.cameos[n % PEOPLE])))
            .unwrap()
    }

    /// One round of requests; how long each took.
    async fn load(self: &Arc<Self>, router: &Router) -> Vec<Duration> {
        let (stage, router) = (self.clone(), router.clone());
        at_once(REQUESTS, move |_| {
            let (stage, router) = (stage.clone(), router.clone());
            async move {
                let request = stage.ask();
                let start = Instant::now();
                assert_eq!(call(&router, request).await, 200);
                start.elapsed()
            }
        })
        .await
    }
}

/// Does something `count` times, `AT_ONCE` at a time.
async fn at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    count: usize,
    work: impl Fn(usize) -> F + Send + Sync + 'static,
) -> Vec<T> {
    let (next, work) = (Arc::new(AtomicUsize::new(0)), Arc::new(work));
    let callers: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (next, work) = (next.clone(), work.clone());
            tokio::spawn(async move {
                let mut all = Vec::new();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return all;
                    }
                    all.push(work(n).await);
                }
            })
        })
        .collect();
    let mut all = Vec::with_capacity(count);
    for caller in callers {
        all.extend(caller.await.unwrap());
    }
    all
}

fn config(dir: &Path, listen: &str, url: &str) -> String {
    let at = |name: &str| dir.join(name).display().to_string();
    format!(
        "[server]\nlisten = {listen:?}\npublic_url = \"http://{listen}\"\n\
         [database]\nurl = {url:?}\n[secrets]\nmaster_key_file = {:?}\n\
         [models]\ndir = {:?}\n[capture]\ndir = {:?}\n[telemetry]\nfilter = \"warn\"\n",
        at("master.key"),
        at("no-models"),
        at("captures"),
    )
}

fn question(cameo: &CameoId) -> String {
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
async fn parts(target: &Path) -> Vec<Value> {
    let stage = Stage::set(target, "127.0.0.1:1", None).await;
    let router = stage.app.router();
    let mut costs: [Vec<f64>; 6] = Default::default();
    for round in 0..=ROUNDS {
        let start = cpu_us();
        stage.load(&router).await;
        let mut now = [cpu_us() - start, 0.0, 0.0, 0.0, 0.0, 0.0];
        let start = cpu_us();
        bare(&stage).await;
        now[1] = cpu_us() - start;
        let start = cpu_us();
        read(&stage).await;
        now[2] = cpu_us() - start;
        let kept = Kept::of(&stage);
        let start = cpu_us();
        at_once(REQUESTS, move |_| {
            kept.open_and_decide();
            std::future::ready(())
        })
        .await;
        now[3] = cpu_us() - start;
        let (signer, recipient) = (SigningKey::generate(&SystemEntropy).unwrap(), stage.recipient);
        let start = cpu_us();
        at_once(REQUESTS, move |n| {
            let claims = claims(n);
            let payload = Identity::of(&template(), false).unwrap().into();
            let sealed = token::seal(&claims, &payload, &recipient, &SystemEntropy).unwrap();
            std::future::ready(token::sign(&signer, &claims, &sealed).unwrap())
        })
        .await;
        now[4] = cpu_us() - start;
        let one = some_use(&stage).await;
        let start = cpu_us();
        insert(&stage, one).await;
        now[5] = cpu_us() - start;
        if round > 0 {
            // The first round warms up.
            costs.iter_mut().zip(now).for_each(|(all, us)| all.push(us / REQUESTS as f64));
        }
    }
    stage.app.services().db().close().await;
    let [whole, http, read, open, seal, insert] = costs.map(|mut c| median(&mut c));
    let sum = http + read + open + seal + insert;
    let peer = "HTTP + reads + opening and deciding + sealing and signing + durable insertions, each alone";
    vec![
        row("resolve_cpu_us", whole, "us", "none"),
        row("resolve_http_cpu_us", http, "us", "none"),
        row("resolve_read_cpu_us", read, "us", "none"),
        row("resolve_open_and_decide_cpu_us", open, "us", "none"),
        row("resolve_seal_and_sign_cpu_us", seal, "us", "none"),
        row("resolve_insert_cpu_us", insert, "us", "none"),
        row("resolve_cpu_vs_parts", whole / sum, "ratio", peer),
    ]
}

/// HTTP with a JSON body, and nothing else.
async fn bare(stage: &Arc<Stage>) {
    let echo = post(|axum::Json(v): axum::Json<Value>| async move { axum::Json(v) });
    let router = Router::new().route("/v1/resolve", echo);
    let stage = stage.clone();
    at_once(REQUESTS, move |_| {
        let (router, request) = (router.clone(), stage.ask());
        async move { assert_eq!(call(&router, request).await, 200) }
    })
    .await;
}

/// What is read for a batch of as many as are in flight: for each its API key, cameo and kept
/// answer, and the generator's key once.
async fn read(stage: &Arc<Stage>) {
    let services = stage.app.services();
    let secret = cameo::crypto::apikey::ApiKey::parse(&stage.generator).unwrap();
    for batch in 0..REQUESTS / AT_ONCE {
        let mut tx = services.db().snapshot().await.unwrap();
        api_keys::by_hash(&mut tx, &secret.digest()).await.unwrap().unwrap();
        let found = dossiers::read(&mut tx, &stage.cameos).await.unwrap();
        assert_eq!(found.len(), PEOPLE);
        let name = |n: usize| ("scope".to_owned(), format!("unused-{batch}-{n}"));
        let names: Vec<_> = (0..AT_ONCE).map(name).collect();
        assert!(idempotency::read(&mut tx, &names).await.unwrap().is_empty());
        let now = SystemClock.now();
        generator_keys::current(&mut tx, &stage.generator_id, now).await.unwrap().unwrap();
    }
}

/// What is kept sealed of a person, and what is asked.
struct Kept {
    master: MasterKeys,
    wrapped: Vec<u8>,
    sealed: [Vec<u8>; 2],
    request: UseRequest,
    grants: Grants,
}

const OWNER: Owner<'_> = Owner { subject: "00112233445566778899aabbccddeeff", version: 1 };

impl Kept {
    fn of(stage: &Stage) -> Self {
        let entropy = &SystemEntropy;
        let master = MasterKeys::from(MasterKey::generate(entropy));
        let key = SubjectKey::generate(entropy);
        // As long as permissions and a template are.
        let sealed = [300, 1400].map(|n| key.seal("x", OWNER, &vec![7; n], entropy).unwrap());
        let scope = Scope { purposes: [Purpose::Social].into(), ..Scope::default() };
        let permissions =
            Permissions { audience: Audience::Everyone, scope, ..Permissions::default() };
        let request = UseRequest {
            owner: "person-1".parse().unwrap(),
            requester: "user-7".parse().unwrap(),
            generator: stage.generator_id.clone(),
            purpose: Purpose::Social,
            style: Style::Photoreal,
            region: None,
            company: std::collections::BTreeSet::new(),
            needs_voice: false,
            needs_images: false,
        };
        let standing = Some(Standing { version: 1, permissions });
        let grants = Grants { standing, ..Grants::default() };
        Self {
            wrapped: key.wrap(&master, OWNER, entropy).unwrap(),
            master,
            sealed,
            request,
            grants,
        }
    }

    /// Unwraps the key, opens permissions and template, decides, and seals requester, salt and
    /// answer.
    fn open_and_decide(&self) {
        let key = SubjectKey::unwrap(&self.master, &self.wrapped, OWNER).unwrap();
        for sealed in &self.sealed {
            std::hint::black_box(key.open("x", OWNER, sealed).unwrap());
        }
        let now = SystemClock.now();
        std::hint::black_box(decide(&self.request, &self.grants, &State::default(), now));
        for len in [8, 17, 2200] {
            std::hint::black_box(key.seal("x", OWNER, &vec![7; len], &SystemEntropy).unwrap());
        }
    }
}

async fn some_use(stage: &Stage) -> Use {
    let mut tx = stage.app.services().db().read().await.unwrap();
    let found = uses::by_cameo(&mut tx, &stage.cameos[0], None, 1).await.unwrap();
    // Places in status lists are given once.
    Use { place: None, ..found.into_iter().next().unwrap() }
}

/// The rows of a use (entry, salt, record, kept answer), as many in a group commit as are in flight.
async fn insert(stage: &Arc<Stage>, one: Use) {
    let stage = stage.clone();
    let entry = Entry::new(Kind::ResolveAllowed, one.issued)
        .with("use", one.id.as_str())
        .with("generator", one.generator.as_str())
        .with("purpose", "social")
        .with("kid", "0011223344556677")
        .committing("cameo", Hash([2; 32]))
        .committing("consent_version", Hash([3; 32]))
        .committing("grant", Hash([4; 32]))
        .committing("requester", Hash([5; 32]))
        .committing("subject", Hash([6; 32]))
        .committing("token", Hash([7; 32]));
    let entry = entry.encode().unwrap();
    at_once(REQUESTS, move |_| {
        let (stage, one, entry) = (stage.clone(), one.clone(), entry.clone());
        async move {
            let id = UseId::new(&SystemClock, &SystemEntropy);
            let owner = hex::encode(random::<16>(&SystemEntropy));
            run_batched!(stage.app.services().batch(), "bench.insert", |tx| {
                let old = log::lock_head(tx).await?;
                let mut tree = Frontier::from_bytes(&old.frontier).unwrap();
                let leaf = leaf_hash(&entry);
                let index = tree.append(leaf);
                let row = log::Entry {
                    index,
                    at: one.issued,
                    kind: Kind::ResolveAllowed.name().to_owned(),
                    entry: entry.clone(),
                    leaf_hash: leaf.0,
                };
                let new = log::Head { size: tree.size(), frontier: tree.to_bytes() };
                log::append(tx, &old, vec![row], new).await?;
                log::add_salt(tx, index, &[9; 16], &[7; 46]).await?;
                let record = Use { id: id.clone(), log_index: index, ..one.clone() };
                uses::insert(tx, record).await?;
                let call = Call {
                    scope: "bench POST /v1/resolve",
                    key: id.as_str(),
                    request_hash: &[1; 32],
                    owner: &owner,
                };
                let content_type = "application/cwt".to_owned();
                let answer = Response { status: 200, content_type, body: vec![7; 2200] };
                idempotency::keep(tx, &call, answer, one.issued).await
            })
            .unwrap();
        }
    })
    .await;
}

/// Resolves and single-row transactions on the same disk, in turn. `urls` names two PostgreSQL
/// databases; without it the engine is SQLite.
async fn durable(target: &Path, urls: Option<(String, String)>, suffix: &str) -> Vec<Value> {
    let stage = Stage::set(target, "127.0.0.1:1", urls.as_ref().map(|u| u.0.as_str())).await;
    let router = stage.app.router();
    let mut commits = Commits::open(stage.dir.path(), urls.as_ref().map(|u| u.1.as_str())).await;
    let (mut rates, mut singles, mut p99s) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ratios, mut waits) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let single = commits.seconds_each().await;
        let start = Instant::now();
        let mut took = stage.load(&router).await;
        let rate = REQUESTS as f64 / start.elapsed().as_secs_f64();
        took.sort_unstable();
        let p99 = took[took.len() * 99 / 100].as_secs_f64();
        if round > 0 {
            rates.push(rate);
            singles.push(single * 1000.0);
            p99s.push(p99 * 1000.0);
            ratios.push(rate * single);
            waits.push(p99 / single);
        }
    }
    stage.app.services().db().close().await;
    let name = |base: &str| format!("{base}{suffix}");
    let peer = "transactions of one row, one after the other, on the same disk";
    vec![
        row(&name("durable_resolve_per_s"), median(&mut rates), "1/s", "none"),
        row(&name("resolve_p99_ms"), median(&mut p99s), "ms", "none"),
        row(&name("single_commit_ms"), median(&mut singles), "ms", "none"),
        row(&name("durable_resolve_vs_single_commit"), median(&mut ratios), "ratio", peer),
        row(&name("resolve_p99_vs_commit"), median(&mut waits), "ratio", peer),
    ]
}

/// A table that gets one row at a time.
enum Commits {
    Sqlite(sqlx::SqliteConnection),
    Postgres(sqlx::PgConnection),
}

impl Commits {
    async fn open(dir: &Path, url: Option<&str>) -> Self {
        const TABLE: &str = "CREATE TABLE single (id INTEGER PRIMARY KEY, body BYTEA)";
        if let Some(url) = url {
            let mut c = sqlx::PgConnection::connect(url).await.unwrap();
            sqlx::raw_sql(TABLE).execute(&mut c).await.unwrap();
            return Self::Postgres(c);
        }
        let url = format!("sqlite:{}?mode=rwc", dir.join("single.db").display());
        let mut c = sqlx::SqliteConnection::connect(&url).await.unwrap();
        for sql in ["PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", TABLE] {
            sqlx::raw_sql(sql).execute(&mut c).await.unwrap();
        }
        Self::Sqlite(c)
    }

    async fn seconds_each(&mut self) -> f64 {
        const ADD: &str = "INSERT INTO single (id, body)
            SELECT COALESCE(MAX(id), 0) + 1, $1 FROM single";
        let start = Instant::now();
        for _ in 0..COMMITS {
            let body = vec![7u8; 300];
            match self {
                Self::Sqlite(c) => sqlx::query(ADD).bind(body).execute(c).await.map(|_| ()),
                Self::Postgres(c) => sqlx::query(ADD).bind(body).execute(c).await.map(|_| ()),
            }
            .unwrap();
        }
        start.elapsed().as_secs_f64() / COMMITS as f64
    }
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
fn against(python: &Path, target: &Path) -> Vec<Value> {
    let port = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (ours_at, theirs_at) = (port(), port());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stage = runtime.block_on(Stage::set(target, &ours_at.to_string(), None));
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
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers");
    let theirs = Served(
        Command::new(python)
            .args(["-m", "uvicorn", "--log-level", "warning", "--app-dir"])
            .arg(peers)
            .args(["--port", &theirs_at.port().to_string(), "resolve_fastapi:app"])
            .env("DB", stage.dir.path().join("peer.db"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .max_idle_connections(CLIENTS)
        .max_idle_connections_per_host(CLIENTS)
        .build()
        .into();
    let ask_us = |n: usize| {
        let body = question(&stage.cameos[n % PEOPLE]);
        let answer = agent
            .post(format!("http://{ours_at}/v1/resolve"))
            .header("authorization", format!("Bearer {}", stage.generator))
            .header("idempotency-key", format!("key-{n}"))
            .header("content-type", "application/json")
            .header("accept", "application/cwt")
            .send(&body);
        answer.and_then(|mut a| a.body_mut().read_to_vec()).is_ok()
    };
    let ask_them = |n: usize| {
        let answer =
            agent.get(format!("http://{theirs_at}/resolve/cameo_{:08}", n % 100_000)).call();
        answer.and_then(|mut a| a.body_mut().read_to_vec()).is_ok()
    };
    let next = AtomicUsize::new(0);
    until(&|| ask_us(next.fetch_add(1, Ordering::Relaxed)));
    until(&|| ask_them(1));
    let (mut us, mut them, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let ours = ours.cost(&next, &ask_us);
        let theirs = theirs.cost(&next, &ask_them);
        if round > 0 {
            us.push(ours);
            them.push(theirs);
            ratios.push(ours / theirs);
        }
    }
    let peer =
        "FastAPI, sqlite3 (FULL), cbor2 and PyNaCl; no sealing, no idempotency, no Merkle log";
    vec![
        row("resolve_served_cpu_us", median(&mut us), "us", "none"),
        row("resolve_fastapi_cpu_us", median(&mut them), "us", "none"),
        row("resolve_cpu_vs_fastapi", median(&mut ratios), "ratio", peer),
    ]
}

/// Connections of the client.
const CLIENTS: usize = 64;

/// A server under measurement; stopped when dropped.
struct Served(Child);

impl Served {
    /// Processor time of the server for one request, in microseconds: ticks are 10 ms, so many
    /// requests share one figure.
    fn cost(&self, next: &AtomicUsize, ask: &(dyn Fn(usize) -> bool + Sync)) -> f64 {
        let before = ticks(&format!("/proc/{}/stat", self.0.id()));
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    for _ in 0..REQUESTS / CLIENTS {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        assert!(ask(n), "a request failed");
                    }
                });
            }
        });
        (ticks(&format!("/proc/{}/stat", self.0.id())) - before) * 10_000.0 / REQUESTS as f64
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
        "command": "make bench", "peer": peer })
}
