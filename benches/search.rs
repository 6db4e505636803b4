//! What finding a face among many costs, beside faiss on the same vectors.
//!
//! Vectors are synthetic: unit vectors of 512 values in clusters of 50 (cosine of about 0.3 within
//! one), queries lie at a cosine of about 0.7 to one of them. The exact answer comes from brute force
//! in 32 bits. Ours and the peer take turns on one thread each; figures are medians of rounds, in
//! processor time. `CAMEO_BENCH_SEARCH=10000,100000,1000000` chooses the sizes (a million needs 2 GB
//! of disk and 3 GB of memory), `CAMEO_BENCH_PYTHON` the Python that has faiss (`make bench` makes one).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use cameo::domain::template::Metric;
use cameo::search::{Index, Key};
use serde_json::{Value, json};

const DIM: usize = 512;
const QUERIES: usize = 200;
const ROUNDS: usize = 5;
const CLUSTER: usize = 50;
const SIZES: &str = "10000,100000";
/// Rows of the file that are in memory at once.
const ROWS: usize = 10_000;
const COMMAND: &str = "make bench";

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir_in(root.join("target")).unwrap();
    let python = std::env::var_os("CAMEO_BENCH_PYTHON").map(PathBuf::from);
    let sizes = std::env::var("CAMEO_BENCH_SEARCH").unwrap_or_else(|_| SIZES.into());
    let mut rows = Vec::new();
    for size in sizes.split(',') {
        let size = size.trim().parse().expect("CAMEO_BENCH_SEARCH holds numbers");
        rows.extend(at_size(size, root, folder.path(), python.as_deref()));
    }
    write(&root.join("docs/benchmarks.json"), &rows);
}

fn at_size(size: usize, root: &Path, folder: &Path, python: Option<&Path>) -> Vec<Value> {
    let (vectors, queries) = (folder.join("vectors.f32"), folder.join("queries.f32"));
    let (asked, strangers) = make(size, &vectors, &queries);
    let mut index = Index::new(DIM, Metric::Cosine).unwrap();
    let mut nearest = vec![(f32::MIN, 0); asked.len()];
    let mut row = 0;
    each_row(&vectors, |v| {
        index.insert(key(row), v).unwrap();
        for (query, best) in asked.iter().zip(&mut nearest) {
            let product = dot(query, v);
            if product > best.0 {
                *best = (product, row);
            }
        }
        row += 1;
    });
    let mut peer = python.map(|python| Peer::start(python, root, &vectors, &queries));
    let (mut ours, mut theirs, mut far) = (Vec::new(), Vec::new(), Vec::new());
    let (mut right, mut peer_right) = (0, 0);
    let count = |found: &[usize]| found.iter().zip(&nearest).filter(|(f, n)| **f == n.1).count();
    for _ in 0..ROUNDS {
        let (ms, found) = search(&index, &asked);
        ours.push(ms);
        right = count(&found);
        if let Some(peer) = &mut peer {
            let (ms, found) = peer.search();
            theirs.push(ms);
            peer_right = count(&found);
        }
        far.push(search(&index, &strangers).0);
    }
    let name = match size {
        1_000_000 => "1m".to_owned(),
        n if n % 1000 == 0 => format!("{}k", n / 1000),
        n => n.to_string(),
    };
    let n = asked.len();
    let figure = |what: &str, value: f64, unit: &str, peer: &str| {
        let shown = format!("search_{name}_{what}");
        println!("{shown:<34} {value:>10.4} {unit}");
        json!({ "name": shown, "value": (value * 1e4).round() / 1e4, "unit": unit, "n": n,
            "command": COMMAND, "peer": peer })
    };
    let recall = |right: usize| right as f64 / n as f64;
    let mut rows = vec![
        figure("cpu_ms", median(&ours), "ms", "none"),
        figure("stranger_cpu_ms", median(&far), "ms", "none"),
        figure("recall_at_1", recall(right), "share", "exact brute force, 32 bits"),
    ];
    if peer.is_none() {
        println!("SKIPPED: no Python peer; run `make bench`, which prepares it");
    } else {
        let sq8 = "faiss SQ8 flat, 1 thread, same vectors and queries";
        rows.push(figure("vs_faiss_sq8", median(&ours) / median(&theirs), "ratio", sq8));
        rows.push(figure("faiss_sq8_cpu_ms", median(&theirs), "ms", sq8));
        rows.push(figure("faiss_sq8_recall_at_1", recall(peer_right), "share", sq8));
    }
    rows
}

/// Mean processor milliseconds a query, and the row that was found for each.
fn search(index: &Index, queries: &[Vec<f32>]) -> (f64, Vec<usize>) {
    let started = cpu_ms();
    let found = queries.iter().map(|q| row(&index.nearest(q, 1, None).unwrap()[0].key)).collect();
    ((cpu_ms() - started) / queries.len() as f64, found)
}

/// Processor time of this thread.
fn cpu_ms() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e6
}

struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start(python: &Path, root: &Path, vectors: &Path, queries: &Path) -> Self {
        let mut child = Command::new(python)
            .arg(root.join("benches/peers/search_faiss.py"))
            .args([vectors, queries])
            .arg(DIM.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the peer's Python");
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut peer = Self { child, input, output: BufReader::new(output) };
        assert_eq!(peer.line().trim(), "ready");
        peer
    }

    fn search(&mut self) -> (f64, Vec<usize>) {
        writeln!(self.input, "search").unwrap();
        let answer: Value = serde_json::from_str(&self.line()).unwrap();
        let found = answer["nearest"].as_array().unwrap();
        let found = found.iter().map(|n| n.as_u64().unwrap() as usize).collect();
        (answer["cpu_ms"].as_f64().unwrap(), found)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Writes vectors and queries to files; returns the queries, and others that nobody is near.
fn make(size: usize, vectors: &Path, queries: &Path) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let mut draw = Draw(0x9e37_79b9_7f4a_7c15);
    let centres: Vec<_> = (0..size.div_ceil(CLUSTER)).map(|_| draw.unit()).collect();
    let mut out = BufWriter::new(File::create(vectors).unwrap());
    let mut asked = Vec::new();
    for row in 0..size {
        let v = mix(&centres[row % centres.len()], 0.55, &draw.unit());
        save(&mut out, &v);
        if row % (size / QUERIES).max(1) == 0 && asked.len() < QUERIES {
            asked.push(mix(&v, 0.7, &draw.unit()));
        }
    }
    out.flush().unwrap();
    let mut out = BufWriter::new(File::create(queries).unwrap());
    for q in &asked {
        save(&mut out, q);
    }
    out.flush().unwrap();
    (asked, (0..QUERIES).map(|_| draw.unit()).collect())
}

fn save(out: &mut impl Write, vector: &[f32]) {
    for v in vector {
        out.write_all(&v.to_le_bytes()).unwrap();
    }
}

fn each_row(vectors: &Path, mut see: impl FnMut(&[f32])) {
    let mut file = File::open(vectors).unwrap();
    let mut bytes = vec![0; ROWS * DIM * 4];
    loop {
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read(&mut bytes[filled..]).unwrap() {
                0 => break,
                n => filled += n,
            }
        }
        let floats: Vec<f32> = bytes[..filled]
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect();
        floats.chunks_exact(DIM).for_each(&mut see);
        if filled < bytes.len() {
            return;
        }
    }
}

/// Xorshift (Marsaglia 2003): the same vectors on every run.
struct Draw(u64);

impl Draw {
    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A direction, of about normal values.
    fn unit(&mut self) -> Vec<f32> {
        let value = |bits: u64| (0..4).map(|i| (bits >> (16 * i) & 0xffff) as f32).sum::<f32>();
        let v: Vec<f32> = (0..DIM).map(|_| value(self.bits()) - 131_070.0).collect();
        let length = dot(&v, &v).sqrt();
        v.iter().map(|v| v / length).collect()
    }
}

/// A unit vector at a cosine of about `share` to `a`.
fn mix(a: &[f32], share: f32, b: &[f32]) -> Vec<f32> {
    let rest = (1.0 - share * share).sqrt();
    let v: Vec<f32> = a.iter().zip(b).map(|(a, b)| share * a + rest * b).collect();
    let length = dot(&v, &v).sqrt();
    v.iter().map(|v| v / length).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    // Eight sums at once, so that the compiler can use vector instructions.
    let mut sums = [0.0; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

fn key(row: usize) -> Key {
    (row as u128).to_le_bytes()
}

fn row(key: &Key) -> usize {
    u128::from_le_bytes(*key) as usize
}

fn median(values: &[f64]) -> f64 {
    let mut v = values.to_vec();
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}

fn write(path: &Path, rows: &[Value]) {
    let old: Vec<Value> =
        std::fs::read(path).ok().and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default();
    let kept = old.into_iter().filter(|o| rows.iter().all(|r| r["name"] != o["name"]));
    let all: Vec<Value> = kept.chain(rows.iter().cloned()).collect();
    std::fs::write(path, serde_json::to_string_pretty(&all).unwrap() + "\n").unwrap();
}
