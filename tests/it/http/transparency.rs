//! The published log, its auditors, and what becomes of those who tamper with it.

use std::path::Path;

use axum::http::{Method, Request, StatusCode};
use cameo::crypto::SigningKey;
use cameo::domain::access::Role;
use cameo::service::bench;
use cameo::service::disclosure::READABLE;
use cameo::service::selfaudit::Finding;
use cameo::tlog::check::{self, Broken};
use cameo::tlog::proof_file::ProofFile;
use cameo::tlog::publish::Folder;
use cameo::tlog::replay::Fault;
use cameo::tlog::{Checkpoint, Entry, LogKey, Salt, checkpoint, commitment, leaf_hash};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection};

use crate::support::app::{Setup, TestApp};

/// A service with more than a tile of entries, published.
async fn published(entries: usize) -> TestApp {
    let app = TestApp::start(Setup::default()).await;
    let size = app.services.tree_head().await.unwrap().size as usize;
    // Each another, so that it matters which stands where.
    let names: Vec<String> = (size..entries).map(|i| format!("effect-{i}")).collect();
    let all = names.iter().map(|name| bench::effect(&app.services, name));
    futures::future::try_join_all(all).await.unwrap();
    app.services.publish().await.unwrap();
    app
}

fn key(app: &TestApp) -> LogKey {
    app.services.signing().log_key().unwrap()
}

fn checked(app: &TestApp, since: Option<&Checkpoint>) -> Result<u64, Broken> {
    check::check(app.services.tiles(), &[key(app)], since, |_, _, _| ()).map(|r| r.head.size)
}

async fn audit(app: &TestApp) -> Result<u64, Finding> {
    app.services.self_audit(None, |_, _| ()).await.unwrap().map(|r| r.head.size)
}

async fn get(app: &TestApp, path: &str) -> crate::support::app::Answer {
    let request = Request::builder().method(Method::GET).uri(path);
    app.call(request.body(axum::body::Body::empty()).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn tiles_are_static_and_prove_themselves() {
    let app = published(300).await;
    let note = get(&app, "/tlog/checkpoint").await;
    assert_eq!(note.status, StatusCode::OK);
    assert_eq!(note.headers["content-type"], "text/plain; charset=utf-8");
    let shown = checkpoint::open(&note.body, &[key(&app)]).unwrap();
    assert_eq!(shown.head.size, 300);

    let full = get(&app, "/tlog/tile/0/000").await;
    assert_eq!((full.status, full.body.len()), (StatusCode::OK, 8192));
    assert!(full.headers["cache-control"].to_str().unwrap().contains("immutable"));
    let partial = get(&app, "/tlog/tile/0/001.p/44").await;
    assert_eq!(partial.body.len(), 44 * 32);
    assert_eq!(get(&app, "/tlog/tile/1/000.p/1").await.body.len(), 32);
    assert_eq!(get(&app, "/tlog/tile/entries/000").await.status, StatusCode::OK);
    for path in ["0/002", "0/0", "9/000", "entries/000.p/0", "0/..%2f..%2fcheckpoint", "0/000.p/3"]
    {
        let none = get(&app, &format!("/tlog/tile/{path}")).await;
        assert_eq!((none.status, none.problem().as_str()), (StatusCode::NOT_FOUND, "not-found"));
    }
    assert_eq!(checked(&app, None).unwrap(), 300);

    let file = get(&app, "/tlog/proof/17").await;
    let (bytes, _) = check::entry(app.services.tiles(), &[key(&app)], 17).unwrap();
    let proof = ProofFile::parse(&file.body).unwrap();
    assert_eq!(proof.verify(&leaf_hash(&bytes), &[key(&app)]).unwrap().head.size, 300);
    assert!(proof.verify(&leaf_hash(b"other"), &[key(&app)]).is_err());
    assert_eq!(get(&app, "/tlog/proof/300").await.status, StatusCode::NOT_FOUND);

    // The log grows, and continues what was kept.
    app.services.create_key(Role::App, "one more").await.unwrap();
    app.services.publish().await.unwrap();
    assert_eq!(checked(&app, Some(&shown)).unwrap(), 301);
    assert_eq!(audit(&app).await.unwrap(), 301);
    assert!(stranger(&app).unwrap().contains("301 entries"));
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_can_be_for_auditors_alone() {
    let config = "[log]\npublic_entries = false".to_owned();
    let app = TestApp::start(Setup { config, ..Setup::default() }).await;
    let size = app.services.publish().await.unwrap().size;
    let path = format!("/tlog/tile/entries/000.p/{size}");
    assert_eq!(get(&app, &path).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(app.get(&path, &app.generator).await.status, StatusCode::FORBIDDEN);
    assert_eq!(app.get(&path, &app.auditor).await.status, StatusCode::OK);
    assert_eq!(get(&app, &format!("/tlog/tile/0/000.p/{size}")).await.status, StatusCode::OK);
    // Reading entries is an entry then.
    assert_eq!(app.get("/v1/audit/entries", &app.auditor).await.status, StatusCode::OK);
    let read = app.get("/v1/audit/entries?kind=audit_read", &app.auditor).await.json();
    assert!(!read["entries"].as_array().unwrap().is_empty());
}

/// Runs SQL on the file behind the service's back.
async fn tamper(app: &TestApp, sql: &str) {
    let url = format!("sqlite:{}", app.dir.path().join("cameo.db").display());
    let mut c = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let drop_rules = [
        "log_entries_gapless",
        "log_entries_no_update",
        "log_entries_no_delete",
        "log_head_grows",
        "log_head_stays",
        "log_checkpoint_grows",
    ]
    .map(|t| format!("DROP TRIGGER IF EXISTS {t};"))
    .concat();
    let sql = format!("PRAGMA foreign_keys = OFF; {drop_rules} {sql}");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut c).await.unwrap();
    c.close().await.unwrap();
}

const COPY: &str = "CREATE TEMP TABLE t AS SELECT * FROM log_entries; DELETE FROM log_entries;";

#[tokio::test(flavor = "multi_thread")]
async fn tampering_with_the_database_is_found_by_name() {
    for (sql, name) in [
        // flip
        (
            "UPDATE log_entries SET entry = CAST(substr(entry, 1, 9) || x'ff' || substr(entry, 11) AS BLOB) WHERE idx = 5",
            "altered",
        ),
        ("UPDATE log_entries SET leaf_hash = zeroblob(32) WHERE idx = 5", "altered"),
        // drop
        ("DELETE FROM log_entries WHERE idx = 5", "out_of_order"),
        // reorder
        (
            "@ INSERT INTO log_entries SELECT CASE idx WHEN 5 THEN 6 WHEN 6 THEN 5 ELSE idx END, at_ms, kind, entry, leaf_hash FROM t",
            "wrong_root",
        ),
        // duplicate
        (
            "@ INSERT INTO log_entries SELECT idx + (idx > 5), at_ms, kind, entry, leaf_hash FROM t; INSERT INTO log_entries SELECT 6, at_ms, kind, entry, leaf_hash FROM t WHERE idx = 5",
            "wrong_root",
        ),
        // truncate, with and without the head
        ("DELETE FROM log_entries WHERE idx >= 10", "cut_off"),
        (
            "DELETE FROM log_entries WHERE idx >= 10; UPDATE log_head SET size = 8, frontier = x'010000000000000008$'",
            "cut_off",
        ),
        // replace an entry together with its hash
        (
            "UPDATE log_entries SET (entry, leaf_hash) = (SELECT entry, leaf_hash FROM log_entries WHERE idx = 4) WHERE idx = 5",
            "wrong_root",
        ),
    ] {
        let app = published(20).await;
        let sql = sql.replace('@', COPY).replace('$', &"00".repeat(32));
        tamper(&app, &sql).await;
        let finding = audit(&app).await.unwrap_err();
        assert_eq!(finding.name(), name, "{sql}: {finding}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_back_dated_entry_is_found() {
    let app = published(20).await;
    let stored = app.services.entries(7, 1).await.unwrap().remove(0);
    let mut entry = cameo::tlog::Entry::decode(&stored.bytes).unwrap();
    entry.time.0 -= 3_600_000;
    let bytes = entry.encode().unwrap();
    let sql = format!(
        "UPDATE log_entries SET entry = x'{}', leaf_hash = x'{}' WHERE idx = 7",
        hex::encode(&bytes),
        leaf_hash(&bytes)
    );
    tamper(&app, &sql).await;
    let finding = audit(&app).await.unwrap_err();
    assert!(matches!(finding, Finding::Log(Fault::BackDated { index: 7, .. })), "{finding}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_signing_key_is_found() {
    let app = published(20).await;
    let other = SigningKey::from_seed(&[9; 32]).unwrap();
    let head = app.services.tree_head().await.unwrap();
    let forged = checkpoint::sign(app.services.signing().origin(), &head, &other).unwrap();
    tamper(&app, &format!("UPDATE log_checkpoint SET note = x'{}'", hex::encode(&forged))).await;
    assert_eq!(audit(&app).await.unwrap_err().name(), "checkpoint");

    let app = published(20).await;
    std::fs::write(app.services.tiles().folder().unwrap().join("checkpoint"), &forged).unwrap();
    assert_eq!(audit(&app).await.unwrap_err().name(), "checkpoint");
    assert!(matches!(checked(&app, None), Err(Broken::Checkpoint(_))));
    // Nothing is published over it.
    app.services.create_key(Role::App, "next").await.unwrap();
    assert!(app.services.publish().await.unwrap_err().is_fatal());
}

/// The auditor's example, which shares no code with the service, on the same folder.
fn stranger(app: &TestApp) -> Result<String, String> {
    let python = std::env::var("CAMEO_PYTHON").unwrap_or_else(|_| "python3".into());
    let done = std::process::Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/auditor/verify_log.py"))
        .arg("log")
        .arg(app.services.tiles().folder().unwrap())
        .arg(key(app).to_string())
        .output()
        .unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    match done.status.code() {
        Some(0) => Ok(said),
        Some(1) => Err(said),
        _ => panic!("{}", String::from_utf8_lossy(&done.stderr)),
    }
}

/// Changes a file below the tiles' folder.
fn edit(app: &TestApp, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path = app.services.tiles().folder().unwrap().join(path);
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tampering_with_tiles_is_found_by_the_service_and_by_strangers() {
    type Edit = fn(&mut Vec<u8>);
    let cases: [(&str, Edit); 8] = [
        // flip
        ("tile/entries/000", |b| b[700] ^= 1),
        ("tile/0/000", |b| b[33] ^= 1),
        ("tile/1/000.p/1", |b| b[0] ^= 1),
        // drop
        ("tile/entries/000", |b| drop(b.drain(..2 + usize::from(b[1])))),
        // truncate
        ("tile/entries/001.p/44", |b| b.truncate(b.len() - 1)),
        ("tile/0/001.p/44", |b| b.truncate(32)),
        // reorder
        ("tile/0/001.p/44", |b| b[..64].rotate_left(32)),
        // duplicate
        ("tile/entries/001.p/44", |b| b.extend(b[..2 + usize::from(b[1])].to_vec())),
    ];
    for (path, change) in cases {
        let app = published(300).await;
        edit(&app, path, change);
        let found = checked(&app, None).unwrap_err();
        println!("{path}: {found}");
        stranger(&app).unwrap_err();
        let finding = audit(&app).await.unwrap_err();
        let named = matches!(&finding, Finding::TileAltered { path: p, .. } if p == path);
        assert!(named, "{path}: {finding}");
    }
    let app = published(300).await;
    std::fs::remove_file(app.services.tiles().folder().unwrap().join("tile/0/000")).unwrap();
    assert!(matches!(checked(&app, None), Err(Broken::Tiles(_))));
    assert_eq!(audit(&app).await.unwrap_err().name(), "tile_missing");
}

/// Two histories, both signed: each client alone is content, but a kept checkpoint shows the fork.
/// (`witnesses_cosign_growth_and_refuse_a_fork` shows it to a witness.)
#[tokio::test(flavor = "multi_thread")]
async fn two_histories_are_found() {
    let honest = published(300).await;
    let note = std::fs::read(honest.services.tiles().folder().unwrap().join("checkpoint")).unwrap();
    let kept = checkpoint::open(&note, &[key(&honest)]).unwrap();
    // The operator goes back to a copy and tells another story.
    let copy = tempfile::tempdir().unwrap();
    let forged = Folder::new(copy.path());
    let signer = SigningKey::from_seed(&[3; 32]).unwrap();
    let mut builder = cameo::tlog::publish::Builder::default();
    let mut sink =
        |t: cameo::tlog::tile::Tile, b: Vec<u8>| cameo::tlog::publish::put_tile(&forged, &t, &b);
    for e in honest.services.entries(0, 300).await.unwrap() {
        let mut entry = cameo::tlog::Entry::decode(&e.bytes).unwrap();
        if e.index == 250 {
            entry = entry.with("rewritten", 1);
        }
        let bytes = entry.encode().unwrap();
        builder.push(&bytes, leaf_hash(&bytes), &mut sink).unwrap();
    }
    builder.partials(&mut sink).unwrap();
    let head = builder.head();
    let origin = honest.services.signing().origin().to_owned();
    let forged_note = checkpoint::sign(&origin, &head, &signer).unwrap();
    std::fs::write(copy.path().join("checkpoint"), forged_note).unwrap();
    let keys = [LogKey::new(&origin, signer.verifying_key()).unwrap(), key(&honest)];
    // By itself it holds …
    assert!(check::check(&forged, &keys, None, |_, _, _| ()).is_ok());
    // … but not for who kept a checkpoint of the other history.
    let found = check::check(&forged, &keys, Some(&kept), |_, _, _| ()).unwrap_err();
    assert!(matches!(found, Broken::Rewritten { size: 300 }), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_filters_and_disclosures() {
    let app = published(40).await;
    let text = app.get("/v1/audit/export?kind=admin", &app.auditor).await;
    assert_eq!(text.headers["content-type"], "application/jsonl");
    let file = app.dir.path().join("log.jsonl");
    std::fs::write(&file, &text.body).unwrap();
    let run = |file: &Path| {
        std::process::Command::new(env!("CARGO_BIN_EXE_cameo"))
            .args(["audit", "verify", "--json", "--log-key", &key(&app).to_string(), "--bundle"])
            .arg(file)
            .output()
            .unwrap()
    };
    let good = run(&file);
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    let broken = String::from_utf8(text.body).unwrap().replacen("\"index\":", "\"index\": ", 1);
    std::fs::write(&file, broken).unwrap();
    let bad = run(&file);
    assert_eq!(bad.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&bad.stdout).contains("columns"));

    // The same as a table, which programs that know nothing of this one read.
    let table = app.get("/v1/audit/export?kind=admin&format=parquet", &app.auditor).await;
    assert_eq!(table.headers["content-type"], "application/vnd.apache.parquet");
    let file = app.dir.path().join("log.parquet");
    std::fs::write(&file, &table.body).unwrap();
    let good = run(&file);
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    read_elsewhere(&file);
    let mut broken = table.body.clone();
    broken[100] ^= 1;
    std::fs::write(&file, broken).unwrap();
    assert_eq!(run(&file).status.code(), Some(1));

    // Pages stay what they are while the log grows.
    let page = |from: u64| format!("/v1/audit/entries?kind=admin&limit=5&from={from}");
    let first = app.get(&page(0), &app.auditor).await.json();
    app.services.create_key(Role::App, "meanwhile").await.unwrap();
    assert_eq!(app.get(&page(0), &app.auditor).await.json(), first);
    let next = first["next"].as_u64().unwrap();
    let second = app.get(&page(next), &app.auditor).await.json();
    assert!(second["entries"][0]["index"].as_u64().unwrap() >= next);
    for bad in ["kind=nonsense", "subject_ref=xyz", "limit=x", "what=1"] {
        let answer = app.get(&format!("/v1/audit/entries?{bad}"), &app.auditor).await;
        assert_eq!(answer.problem(), "invalid-request", "{bad}");
    }
    let later = format!("/v1/audit/entries?since={}", app.now().0 + 1_000_000);
    assert!(app.get(&later, &app.auditor).await.json()["entries"].as_array().unwrap().is_empty());

    // Nobody is disclosed who is not known, and nobody approves but an administrator.
    let ask = json!({ "case_number": "2026/1", "subject": "nobody" });
    let none = app.post("/v1/audit/disclosures", &app.auditor, &ask).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
    let ask = json!({ "case_number": "two words", "subject": "nobody" });
    let bad = app.post("/v1/audit/disclosures", &app.auditor, &ask).await;
    assert_eq!(bad.problem(), "invalid-request");
    assert_eq!(
        app.get("/v1/audit/reconciliation", &app.auditor).await.json()["mismatches"],
        json!([])
    );
    assert_eq!(app.get("/v1/audit/export", &app.generator).await.status, StatusCode::FORBIDDEN);
}

/// Reads a Parquet export with Apache Arrow's own reader, and checks every proof in it.
fn read_elsewhere(file: &Path) {
    let python = std::env::var("CAMEO_PYTHON").unwrap_or_else(|_| "python3".into());
    let has = |python: &str| {
        let asked = std::process::Command::new(python).args(["-c", "import pyarrow"]).output();
        asked.is_ok_and(|o| o.status.success())
    };
    if !has(&python) {
        println!("SKIPPED: {python} lacks pyarrow (examples/auditor/requirements.txt)");
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = std::process::Command::new(&python)
        .arg(root.join("examples/auditor/read_export.py"))
        .arg(file)
        .output()
        .unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
}

/// An auditor with a case number and an administrator's approval opens one person's entries, and
/// nobody else's, for a day; each step is an entry.
#[tokio::test(flavor = "multi_thread")]
async fn a_disclosure_opens_one_persons_entries_for_a_day() {
    let app = TestApp::start(Setup::default()).await;
    let cameo = app.given("ann", 1).await;
    app.given("bob", 2).await;
    app.granted(&cameo).await;
    let ask = json!({ "case_number": "2026/114", "subject": "ann" });
    let asked = app.post("/v1/audit/disclosures", &app.auditor, &ask).await;
    assert_eq!(asked.status, StatusCode::CREATED);
    let path = format!("/v1/audit/disclosures/{}", asked.json()["id"].as_str().unwrap());
    let approval = format!("{path}/approval");

    // Not before it is approved, and not approved by who asked.
    assert_eq!(app.get(&path, &app.auditor).await.status, StatusCode::NOT_FOUND);
    let own = app.post(&approval, &app.auditor, &json!({})).await;
    assert_eq!(own.status, StatusCode::FORBIDDEN);
    let (_, second) = app.services.create_key(Role::Auditor, "second").await.unwrap();
    assert_eq!(app.post(&approval, &app.admin, &json!({})).await.status, StatusCode::OK);
    assert_eq!(app.get(&path, second.expose()).await.status, StatusCode::NOT_FOUND);

    let opened = app.get(&path, &app.auditor).await.json();
    let reference = hex::decode(opened["subject_ref"].as_str().unwrap()).unwrap();
    let mut kinds = Vec::new();
    for opening in opened["openings"].as_array().unwrap() {
        let index = opening["index"].as_u64().unwrap();
        let salt = hex::decode(opening["salt"].as_str().unwrap()).unwrap();
        let salt = Salt::from_bytes(salt.try_into().unwrap());
        let stored = app.services.entries(index, 1).await.unwrap();
        let entry = Entry::decode(&stored[0].bytes).unwrap();
        assert!(commitment::opens(&entry.commitments["subject"], "subject", &salt, &reference));
        kinds.push(entry.kind.name());
    }
    for kind in ["consent_given", "resolve_allowed", "disclosure"] {
        assert!(kinds.contains(&kind), "{kind} is missing among {kinds:?}");
    }
    // Bob has as many entries of his own, and none is among them.
    assert_eq!(kinds.iter().filter(|k| **k == "consent_given").count(), 1);

    app.clock.advance(READABLE);
    assert_eq!(app.get(&path, &app.auditor).await.status, StatusCode::NOT_FOUND);
    let entries = app.get("/v1/audit/entries?kind=disclosure", &app.auditor).await.json();
    assert_eq!(entries["entries"].as_array().unwrap().len(), 3, "asked, approved, read");
    app.log_holds().await;
}

/// Effects and entries are held against each other, both ways.
#[tokio::test(flavor = "multi_thread")]
async fn effects_without_entries_and_entries_without_effects_are_found() {
    let app = TestApp::start(Setup::default()).await;
    let cameo = app.given("ann", 1).await;
    let (answer, _) = app.granted(&cameo).await;
    let of_use = format!("/v1/uses/{}", answer["use_id"].as_str().unwrap());
    let report = json!({ "state": "published" });
    let reported = app.post(&format!("{of_use}/outcome"), &app.generator, &report).await;
    assert_eq!(reported.status, 201);
    let asked = app.post(&format!("{of_use}/takedown"), &app.app, &json!({})).await;
    assert!(asked.status.is_success(), "{}", asked.status);
    let reconciled = async || app.get("/v1/audit/reconciliation", &app.auditor).await.json();
    let whole = reconciled().await;
    let agree = json!({ "uses": 1, "consents": 1, "outcomes": 1, "takedowns": 1 });
    assert_eq!(whole, json!({ "agree": agree, "mismatches": [] }));

    tamper(&app, "UPDATE use_outcomes SET log_index = log_index - 1").await;
    let found = reconciled().await["mismatches"].clone();
    assert_eq!(found.as_array().unwrap().len(), 2, "{found}");
    assert!(found.as_array().unwrap().iter().all(|m| m["of"] == "outcomes"));
    tamper(&app, "DELETE FROM use_outcomes").await;
    assert_eq!(
        reconciled().await["mismatches"][0]["what"],
        "an entry whose effect is not recorded"
    );
    tamper(&app, "DELETE FROM takedowns").await;
    assert_eq!(reconciled().await["mismatches"].as_array().unwrap().len(), 2);
}

/// Two services that are each other's witness: one asks, the other cosigns; a log that forked gets no
/// cosignature and is not published.
#[tokio::test(flavor = "multi_thread")]
async fn witnesses_cosign_growth_and_refuse_a_fork() {
    // A log has to exist before its key can be given to a witness.
    let dir = tempfile::tempdir().unwrap();
    let logger = |toml: &str| {
        let at = |name: &str| dir.path().join(name).display().to_string();
        let file = dir.path().join("cameo.toml");
        std::fs::write(&file, toml).unwrap();
        let variables = [
            ("CAMEO_DATABASE__URL", format!("sqlite:{}", at("cameo.db"))),
            ("CAMEO_SECRETS__MASTER_KEY_FILE", at("master.key")),
            ("CAMEO_CAPTURE__DIR", at("captures")),
        ]
        .map(|(k, v)| (k.to_owned(), v));
        cameo::app::services(
            cameo::config::Config::load(Some(&file), variables).unwrap(),
            cameo::app::Overrides::default(),
        )
    };
    let alone = logger("").await.unwrap();
    let log_key = alone.signing().log_key().unwrap();
    let config = format!("[log]\nwitness_for = [\"{log_key}\"]");
    let witness = TestApp::start(Setup { config, ..Setup::default() }).await;
    let url = format!("{}/witness", witness.listen().await);
    let witness_key = witness.services.witness_key().unwrap().unwrap();
    let config = format!(
        "[log]\nwitnesses = [{{ url = \"{url}\", key = \"{witness_key}\" }}]\nwitness_quorum = 1"
    );
    let services = logger(&config).await.unwrap();
    for i in 0..3 {
        services.create_key(Role::App, &format!("key {i}")).await.unwrap();
        services.publish().await.unwrap();
        let note = std::fs::read(services.tiles().folder().unwrap().join("checkpoint")).unwrap();
        assert!(witness_key.cosigned(&note).is_some());
        assert!(checkpoint::open(&note, std::slice::from_ref(&log_key)).is_ok());
    }
    let size = services.tree_head().await.unwrap().size;
    assert_eq!(services.self_audit(None, |_, _| ()).await.unwrap().unwrap().head.size, size);
    services.db().close().await;
    alone.db().close().await;

    // The operator goes back to an old copy, without what was published, and tells another story.
    let db = dir.path().join("cameo.db");
    let mut c = sqlx::SqliteConnection::connect(&format!("sqlite:{}", db.display())).await.unwrap();
    let rules = ["log_entries_no_delete", "log_head_grows", "log_checkpoint_grows"]
        .map(|t| format!("DROP TRIGGER {t};"))
        .concat();
    let back = format!(
        "{rules} PRAGMA foreign_keys = OFF; DELETE FROM log_entries; DELETE FROM log_published;
         DELETE FROM log_witnesses; DELETE FROM log_checkpoint;
         UPDATE log_head SET size = 0, frontier = x'';"
    );
    sqlx::raw_sql(AssertSqlSafe(back)).execute(&mut c).await.unwrap();
    c.close().await.unwrap();
    std::fs::remove_dir_all(dir.path().join("tlog")).unwrap();
    let forked = logger(&config).await.unwrap();
    for i in 0..9 {
        forked.create_key(Role::App, &format!("other {i}")).await.unwrap();
    }
    let refused = forked.publish().await.unwrap_err();
    assert!(refused.to_string().contains("0 of 1 witnesses"), "{refused}");
    assert!(!forked.tiles().folder().unwrap().join("checkpoint").exists());
}
