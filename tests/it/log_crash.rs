//! Kill -9 at random points while several processes append and publish: what was acknowledged is
//! there once, with its effect, and every checkpoint that was shown holds.
//!
//! `CAMEO_CRASH_KILLS=500 cargo test --test it log_crash` is the long form.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cameo::app::{self, Overrides};
use cameo::config::Config;
use cameo::env::{SystemEntropy, below};
use cameo::service::{Services, bench};
use cameo::store::meta;
use cameo::tlog::entry::{Attribute, Entry};
use cameo::tlog::{Prover, check, checkpoint};

use crate::support::postgres;

const PROCESSES: u32 = 2;
const CALLERS: u32 = 24;

async fn services(url: &str, dir: &Path) -> Services {
    let at = |name: &str| dir.join(name).display().to_string();
    let variables = [
        ("CAMEO_DATABASE__URL", url.to_owned()),
        ("CAMEO_SECRETS__MASTER_KEY", format!("{:064x}", 0x0102_0304)),
        ("CAMEO_CAPTURE__DIR", at("captures")),
        ("CAMEO_LOG__DIR", at("tlog")),
        ("CAMEO_LOG__PUBLISH_MS", "20".to_owned()),
    ];
    let variables = variables.map(|(k, v)| (k.to_owned(), v));
    app::services(Config::load(None, variables).unwrap(), Overrides::default()).await.unwrap()
}

/// The inside of a process that is going to be killed: not a test by itself.
#[test]
#[ignore = "started by the tests below"]
fn appender() {
    let Ok(url) = std::env::var("CAMEO_CRASH_URL") else { return };
    let dir = std::env::var("CAMEO_CRASH_DIR").unwrap();
    let name = std::env::var("CAMEO_CRASH_NAME").unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let services = services(&url, Path::new(&dir)).await;
        let stop = tokio_util::sync::CancellationToken::new();
        let publisher = services.clone();
        tokio::spawn(async move { publisher.publish_until(stop).await });
        let callers = (0..CALLERS).map(|caller| {
            let (services, name) = (services.clone(), name.clone());
            tokio::spawn(async move {
                for n in 0.. {
                    let name = format!("{name}.{caller}.{n}");
                    // A lock that was not got in time is no acknowledgement; everything else is wrong.
                    match bench::effect(&services, &name).await {
                        Ok(index) => println!("\nack {name} {index}"),
                        Err(cameo::service::Error::Busy) => {}
                        Err(e) => panic!("{e}"),
                    }
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
    });
}

struct Appender {
    child: Child,
    acks: std::thread::JoinHandle<Vec<(String, u64)>>,
    /// Says something with every acknowledgement.
    at_work: std::sync::mpsc::Receiver<()>,
}

impl Appender {
    fn start(url: &str, dir: &Path, name: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "log_crash::appender", "--ignored", "--nocapture"])
            .env("CAMEO_CRASH_URL", url)
            .env("CAMEO_CRASH_DIR", dir)
            .env("CAMEO_CRASH_NAME", name)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (begun, at_work) = std::sync::mpsc::channel();
        let acks = std::thread::spawn(move || {
            let lines = out.lines().map_while(Result::ok);
            lines
                .filter_map(|line| {
                    let mut words = line.strip_prefix("ack ")?.split(' ');
                    let _ = begun.send(());
                    Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
                })
                .collect()
        });
        Self { child, acks, at_work }
    }

    fn kill(mut self) -> Vec<(String, u64)> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.acks.join().unwrap()
    }
}

fn crash_loop(url: &str, dir: &Path, kills: u32) {
    let mut acked = BTreeMap::new();
    let mut shown = Vec::new();
    for round in 0..kills.div_ceil(PROCESSES) {
        let all: Vec<_> =
            (0..PROCESSES).map(|p| Appender::start(url, dir, &format!("r{round}.p{p}"))).collect();
        for appender in all {
            // Most are killed at work, some while they start.
            if below(&SystemEntropy, 4) > 0 {
                let _ = appender.at_work.recv_timeout(Duration::from_mins(1));
            }
            let pause = below(&SystemEntropy, 300);
            std::thread::sleep(Duration::from_millis(pause.into()));
            for (name, index) in appender.kill() {
                assert!(acked.insert(name, index).is_none());
            }
        }
        shown.extend(std::fs::read(dir.join("tlog/checkpoint")).ok());
    }
    println!("{kills} kills, {} acknowledged", acked.len());
    assert!(!acked.is_empty());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let services = services(url, dir).await;
        services.publish().await.unwrap();
        let report = services.self_audit(None, |_, _| ()).await.unwrap().unwrap();
        let key = services.signing().log_key().unwrap();
        let keys = [key];
        let checked = check::check(services.tiles(), &keys, None, |_, _, _| ()).unwrap();
        assert_eq!(checked.head, report.head);
        // Every checkpoint that was seen on the way is of this log.
        let prover = Prover::new(Box::new(services.tiles().clone()), report.head).unwrap();
        for note in &shown {
            let seen = checkpoint::open(note, &keys).unwrap().head;
            assert_eq!(prover.head_at(seen.size).unwrap(), seen);
        }
        let mut names = BTreeSet::new();
        let mut from = 0;
        loop {
            let page = services.entries(from, 1000).await.unwrap();
            let Some(last) = page.last() else { break };
            from = last.index + 1;
            for e in &page {
                let entry = Entry::decode(&e.bytes).unwrap();
                let Some(Attribute::Text(name)) = entry.attributes.get("action") else { continue };
                assert!(names.insert(name.clone()), "{name} is there twice");
                // An entry has its effect, which says where it is.
                let row = meta::get(&mut services.db().read().await.unwrap(), name).await.unwrap();
                assert_eq!(row.as_deref(), Some(&e.index.to_be_bytes()[..]), "{name}");
                if let Some(index) = acked.get(name) {
                    assert_eq!(*index, e.index, "{name}");
                }
            }
        }
        let lost: Vec<_> = acked.keys().filter(|name| !names.contains(*name)).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        services.db().close().await;
    });
}

fn kills() -> u32 {
    std::env::var("CAMEO_CRASH_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(6)
}

#[test]
fn nothing_acknowledged_is_lost_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    crash_loop(&format!("sqlite:{}", dir.path().join("cameo.db").display()), dir.path(), kills());
}

#[test]
fn nothing_acknowledged_is_lost_on_postgresql() {
    let Some(url) = postgres::database() else { return };
    let dir = tempfile::tempdir().unwrap();
    crash_loop(&url, dir.path(), kills());
}
