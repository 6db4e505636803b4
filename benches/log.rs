//! What the transparency log costs.
//!
//! `make bench` runs it up to 100,000 entries, `make bench LOG=full` up to ten million, which takes a
//! quarter of an hour and 4 GB of disk; both write docs/benchmarks.json. Throughput is wall-clock time with 4,096
//! callers in flight, each waiting for its own entry to be durable under a signed checkpoint; the peer
//! is the same bytes appended to a file with one fdatasync for each 4,096 entries, in turns.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use cameo::app::{self, Overrides};
use cameo::config::Config;
use cameo::crypto::SigningKey;
use cameo::env::Millis;
use cameo::service::{Services, bench};
use cameo::tlog::proof::verify_inclusion;
use cameo::tlog::publish::{Builder, Folder, Tiles};
use cameo::tlog::tile::Tile;
use cameo::tlog::{Entry, Hash, Kind, LogKey, Prover, TreeHead, check, checkpoint, leaf_hash};
use serde_json::{Value, json};

const IN_FLIGHT: u64 = 4096;
const ROUNDS: usize = 3;
const ORIGIN: &str = "bench.example/log";

fn main() {
    let full = std::env::var("CAMEO_BENCH_LOG").is_ok_and(|v| v == "full");
    let command = if full { "make bench LOG=full" } else { "make bench" };
    // The folder has to be on a real disk: /tmp may be memory.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = tempfile::tempdir_in(root.join("target")).unwrap();
    let mut rows = Vec::new();
    let mut row = |name: &str, unit: &str, value: f64, n: u64, peer: &str| {
        println!("{name:<28} {value:>14.3} {unit}  (n {n}; peer: {peer})");
        rows.push(json!({ "name": name, "unit": unit, "value": value, "n": n, "peer": peer, "command": command }));
    };

    let count = if full { 400_000 } else { 100_000 };
    let (mut ours, mut raw) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        ours.push(append(&dir.path().join(format!("append-{round}")), count));
        raw.push(append_raw(&dir.path().join(format!("raw-{round}")), count));
        println!("  round {round}: {:.0} entries/s, raw {:.0}", ours[round], raw[round]);
    }
    let ratios: Vec<f64> = ours.iter().zip(&raw).map(|(a, b)| a / b).collect();
    row("log_append_per_s", "1/s", median(&ours), count, "none");
    let peer = "append and fdatasync of the same bytes, 4,096 entries each";
    row("log_append_vs_fdatasync", "ratio", median(&ratios), count, peer);

    let sizes: &[u64] = if full {
        &[1_000, 10_000, 100_000, 1_000_000, 10_000_000]
    } else {
        &[1_000, 10_000, 100_000]
    };
    for &size in sizes {
        let tiles = Loose(Folder::new(dir.path().join(format!("tiles-{size}"))));
        let key = SigningKey::from_seed(&[1; 32]).unwrap();
        let head = publish(&tiles, size, &key);
        let (rate, hashes) = prove(&tiles, head);
        println!(
            "  {size:>9} entries: {rate:>10.0} proofs/s, {hashes} hashes, {} bytes",
            hashes * 32
        );
        let keys = [LogKey::new(ORIGIN, key.verifying_key()).unwrap()];
        let start = Instant::now();
        let report = check::check(&tiles, &keys, None, |_, _, _| ()).unwrap();
        let seconds = start.elapsed().as_secs_f64();
        assert_eq!(report.head, head);
        println!("  {size:>9} entries verified in {seconds:.2} s ({:.0}/s)", size as f64 / seconds);
        if Some(&size) == sizes.last() {
            row("inclusion_proofs_per_s", "1/s", rate, size, "none");
            if full {
                row("log_verify_s", "s", seconds, size, "none");
            }
        }
        row(&format!("inclusion_proof_hashes_{size}"), "hashes", hashes as f64, size, "none");
        fs::remove_dir_all(tiles.0.path()).unwrap();
    }
    write(&root.join("docs/benchmarks.json"), &rows);
}

/// Entries a second with `IN_FLIGHT` callers, each durable before its caller goes on.
fn append(dir: &Path, count: u64) -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let at = |name: &str| dir.join(name).display().to_string();
        let variables = [
            ("CAMEO_DATABASE__URL", format!("sqlite:{}", at("cameo.db"))),
            ("CAMEO_SECRETS__MASTER_KEY_FILE", at("master.key")),
            ("CAMEO_CAPTURE__DIR", at("captures")),
        ];
        let variables = variables.map(|(k, v)| (k.to_owned(), v));
        let config = Config::load(None, variables).unwrap();
        let services = app::services(config, Overrides::default()).await.unwrap();
        run(&services, 4 * IN_FLIGHT).await; // warm-up
        let start = Instant::now();
        run(&services, count).await;
        let rate = count as f64 / start.elapsed().as_secs_f64();
        // What was acknowledged is there, under a signed checkpoint.
        let note = services.checkpoint().await.unwrap();
        let key = services.signing().log_key().unwrap();
        let size = checkpoint::open(&note, &[key]).unwrap().head.size;
        assert!(size >= count + 4 * IN_FLIGHT);
        services.db().close().await;
        rate
    })
}

async fn run(services: &Services, count: u64) {
    let left = Arc::new(AtomicU64::new(count));
    let callers: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let (services, left) = (services.clone(), left.clone());
            tokio::spawn(async move {
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                    .is_ok()
                {
                    bench::append(&services).await.unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
}

fn append_raw(path: &Path, count: u64) -> f64 {
    let mut file = fs::File::create(path).unwrap();
    let entry = entry(1);
    let start = Instant::now();
    let mut left = count;
    while left > 0 {
        let some = left.min(IN_FLIGHT);
        let bytes: Vec<u8> = (0..some).flat_map(|_| entry.iter().copied()).collect();
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
        left -= some;
    }
    count as f64 / start.elapsed().as_secs_f64()
}

fn publish(tiles: &Loose, size: u64, key: &SigningKey) -> TreeHead {
    let mut builder = Builder::default();
    let mut sink = |tile: Tile, bytes: Vec<u8>| tiles.put(&tile.path(), &bytes);
    for i in 0..size {
        let bytes = entry(i);
        builder.push(&bytes, leaf_hash(&bytes), &mut sink).unwrap();
    }
    builder.partials(&mut sink).unwrap();
    let head = builder.head();
    tiles.put("checkpoint", &checkpoint::sign(ORIGIN, &head, key).unwrap()).unwrap();
    head
}

/// Proofs a second over both processors, and the largest proof's hashes.
fn prove(tiles: &Loose, head: TreeHead) -> (f64, usize) {
    let prover = Prover::new(Box::new(tiles.clone()), head).unwrap();
    // A run of neighbours that fits the cache, as readers of one page have.
    let span = head.size.min(100_000);
    let (mut longest, mut bad) = (0, 0);
    for index in (0..span).step_by(97).chain([0, head.size - 1]) {
        let proof = prover.inclusion(index).unwrap();
        longest = longest.max(proof.len());
        let leaf = prover.leaf(index).unwrap();
        bad += usize::from(verify_inclusion(&leaf, index, &head, &proof).is_err());
    }
    assert_eq!(bad, 0);
    for index in 0..span {
        std::hint::black_box(prover.inclusion(index).unwrap());
    }
    let each = 1_000_000u64;
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..2u64 {
            let prover = &prover;
            scope.spawn(move || {
                let mut at = thread.wrapping_mul(7919);
                for _ in 0..each {
                    at = (at + 65_537) % span;
                    std::hint::black_box(prover.inclusion(at).unwrap());
                }
            });
        }
    });
    (2.0 * each as f64 / start.elapsed().as_secs_f64(), longest)
}

fn entry(i: u64) -> Vec<u8> {
    Entry::new(Kind::ResolveAllowed, Millis(1_800_000_000_000 + i as i64))
        .with("generator", "key_01JD3ZP3V5Q8W9X0Y1Z2A3B4C5")
        .with("purpose", "social")
        .with("n", i)
        .committing("subject", Hash([1; 32]))
        .committing("cameo", Hash([2; 32]))
        .encode()
        .unwrap()
}

/// Tiles that are not flushed: making them is not what is measured.
#[derive(Clone)]
struct Loose(Folder);

impl Tiles for Loose {
    fn get(&self, path: &str) -> std::io::Result<Option<Vec<u8>>> {
        self.0.get(path)
    }

    fn put(&self, path: &str, bytes: &[u8]) -> std::io::Result<()> {
        let to = self.0.path().join(path);
        fs::create_dir_all(to.parent().unwrap())?;
        fs::write(to, bytes)
    }

    fn drop_partials(&self, _: &Tile) -> std::io::Result<()> {
        Ok(())
    }
}

/// Keeps the rows of other benchmarks, replaces those of this one.
fn write(path: &Path, rows: &[Value]) {
    let old: Vec<Value> =
        fs::read(path).ok().and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default();
    let kept = old.into_iter().filter(|o| rows.iter().all(|r| r["name"] != o["name"]));
    let all: Vec<Value> = kept.chain(rows.iter().cloned()).collect();
    fs::write(path, serde_json::to_string_pretty(&all).unwrap() + "\n").unwrap();
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
