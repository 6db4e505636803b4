//! The transparency log against its golden vectors and as a whole.
//!
//! `UPDATE_VECTORS=1 cargo test --test it tlog` writes `tests/vectors/log.json` anew.

use std::path::{Path, PathBuf};

use cameo::crypto::SigningKey;
use cameo::env::Millis;
use cameo::tlog::checkpoint::{self, LogKey};
use cameo::tlog::commitment::{self, Salt};
use cameo::tlog::proof::{MemoryNodes, Plan, verify_consistency, verify_inclusion};
use cameo::tlog::proof_file::ProofFile;
use cameo::tlog::replay::{Fault, Replay, Row};
use cameo::tlog::tile::{Content, Tile};
use cameo::tlog::witness::{self, WitnessKey};
use cameo::tlog::{Entry, Frontier, Hash, Kind, TreeHead, leaf_hash};
use serde::{Deserialize, Serialize};

const ORIGIN: &str = "cameo.example/log";
const COUNT: u64 = 21;

#[derive(PartialEq, Serialize, Deserialize)]
struct Vectors {
    about: String,
    verifier_key: String,
    commitment: Commitment,
    /// Each entry, its leaf hash, and the root of the tree that ends with it.
    entries: Vec<Line>,
    inclusion: Vec<Inclusion>,
    consistency: Vec<Consistency>,
    checkpoint: String,
    /// The checkpoint with a witness's cosignature, and that witness's key.
    cosigned: String,
    witness_key: String,
    /// A proof to take along, of this entry.
    proof_file: String,
    proof_index: u64,
    tiles: Vec<TileName>,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct TileName {
    /// 0 to 7, or `entries`.
    level: serde_json::Value,
    index: u64,
    width: u16,
    path: String,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct Commitment {
    label: String,
    salt: String,
    body: String,
    value: String,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct Line {
    entry: String,
    leaf_hash: String,
    root: String,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct Inclusion {
    index: u64,
    size: u64,
    proof: Vec<String>,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct Consistency {
    old: u64,
    new: u64,
    proof: Vec<String>,
}

#[test]
fn the_vectors_are_current() {
    let built = vectors();
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(&built).unwrap() + "\n";
        std::fs::write(vectors_path(), text).unwrap();
    }
    assert!(read() == built, "tests/vectors/log.json is not what the code makes");
}

#[test]
fn the_vectors_verify() {
    let vectors = read();
    let key = LogKey::parse(&vectors.verifier_key).unwrap();
    let signed = checkpoint::open(vectors.checkpoint.as_bytes(), &[key]).unwrap();
    assert_eq!(signed.origin, ORIGIN);

    let mut heads = vec![Frontier::new().head()];
    let mut replay = Replay::new(vec![signed.head]).unwrap();
    for (index, line) in (0..).zip(&vectors.entries) {
        let entry = hex::decode(&line.entry).unwrap();
        let decoded =
            replay.push(&Row { index, entry: &entry, leaf_hash: hash(&line.leaf_hash) }).unwrap();
        assert_eq!(decoded.encode().unwrap(), entry);
        assert_eq!(replay.frontier().root(), hash(&line.root));
        heads.push(replay.frontier().head());
    }
    let report = replay.finish().unwrap();
    assert_eq!((report.head, report.covered, report.checkpoints), (signed.head, COUNT, 1));

    for case in &vectors.inclusion {
        let leaf = hash(&vectors.entries[case.index as usize].leaf_hash);
        verify_inclusion(&leaf, case.index, &heads[case.size as usize], &hashes(&case.proof))
            .unwrap();
    }
    for case in &vectors.consistency {
        let (old, new) = (&heads[case.old as usize], &heads[case.new as usize]);
        verify_consistency(old, new, &hashes(&case.proof)).unwrap();
    }
    let witness = WitnessKey::parse(&vectors.witness_key).unwrap();
    assert!(witness.cosigned(vectors.cosigned.as_bytes()).is_some());
    let file = ProofFile::parse(vectors.proof_file.as_bytes()).unwrap();
    let leaf = hash(&vectors.entries[vectors.proof_index as usize].leaf_hash);
    let key = LogKey::parse(&vectors.verifier_key).unwrap();
    assert_eq!(file.verify(&leaf, &[key]).unwrap().head.size, COUNT);
    for tile in &vectors.tiles {
        assert_eq!(Tile::parse(&tile.path).unwrap().path(), tile.path);
    }
    let c = &vectors.commitment;
    let salt = Salt::from_bytes(hash(&c.salt).0);
    assert!(commitment::opens(&hash(&c.value), &c.label, &salt, c.body.as_bytes()));
}

/// Another implementation, written from the specifications, finds the vectors and the specifications'
/// own examples right.
#[test]
fn another_implementation_agrees() {
    for args in [&["self-test"][..], &["vectors", "tests/vectors/log.json"]] {
        let python = std::env::var("CAMEO_PYTHON").unwrap_or_else(|_| "python3".into());
        let done = std::process::Command::new(python)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .arg("examples/auditor/verify_log.py")
            .args(args)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    }
}

/// An operator who rewrites the past and everything that can be recomputed is found out by who
/// kept an earlier checkpoint.
#[test]
fn a_rewritten_past_contradicts_an_earlier_checkpoint() {
    let key = SigningKey::from_seed(&[44; 32]).unwrap();
    let log_key = LogKey::new(ORIGIN, key.verifying_key()).unwrap();
    let honest: Vec<Vec<u8>> = (0..COUNT).map(|i| entry(i).encode().unwrap()).collect();
    let kept = checkpoint::sign(ORIGIN, &head_of(&honest[..10]), &key).unwrap();

    let mut rewritten = honest.clone();
    rewritten[4] = Entry::new(Kind::ConsentGiven, entry(4).time).encode().unwrap();
    let resigned = checkpoint::sign(ORIGIN, &head_of(&rewritten), &key).unwrap();

    let heads = [&kept, &resigned]
        .map(|note| checkpoint::open(note, std::slice::from_ref(&log_key)).unwrap().head);
    let mut replay = Replay::new(heads.to_vec()).unwrap();
    let fault = (0..)
        .zip(&rewritten)
        .find_map(|(index, entry)| {
            replay.push(&Row { index, entry, leaf_hash: leaf_hash(entry) }).err()
        })
        .unwrap();
    assert_eq!(fault, Fault::WrongRoot { from: 0, to: 10 });

    // Nor can any proof join the two histories.
    let nodes = MemoryNodes::new(rewritten.iter().map(|e| leaf_hash(e)).collect());
    let proof = Plan::consistency(10, COUNT).unwrap().prove(&nodes).unwrap().unwrap();
    assert!(verify_consistency(&heads[0], &heads[1], &proof).is_err());
}

fn entry(number: u64) -> Entry {
    let kind = Kind::ALL[number as usize % Kind::ALL.len()];
    Entry::new(kind, Millis(1_800_000_000_000 + 1000 * number as i64))
        .with("outcome", "example")
        .with("number", number)
        .committing("subject", commitment::commit("subject", &salt(number), b"sub_example"))
}

fn salt(number: u64) -> Salt {
    Salt::from_bytes([number as u8; 32])
}

fn head_of(entries: &[Vec<u8>]) -> TreeHead {
    let mut frontier = Frontier::new();
    for entry in entries {
        frontier.append(leaf_hash(entry));
    }
    frontier.head()
}

fn vectors() -> Vectors {
    let key = SigningKey::from_seed(&[44; 32]).unwrap();
    let mut frontier = Frontier::new();
    let mut leaves = Vec::new();
    let entries = (0..COUNT)
        .map(|i| {
            let bytes = entry(i).encode().unwrap();
            let leaf = leaf_hash(&bytes);
            frontier.append(leaf);
            leaves.push(leaf);
            Line {
                entry: hex::encode(&bytes),
                leaf_hash: leaf.to_string(),
                root: frontier.root().to_string(),
            }
        })
        .collect();
    let nodes = MemoryNodes::new(leaves);
    let prove = |plan: Plan| -> Vec<String> {
        plan.prove(&nodes).unwrap().unwrap().iter().map(Hash::to_string).collect()
    };
    let inclusion = [(0, 1), (0, 21), (7, 8), (12, 21), (20, 21), (3, 13)]
        .map(|(index, size)| Inclusion {
            index,
            size,
            proof: prove(Plan::inclusion(index, size).unwrap()),
        })
        .into();
    let consistency = [(0, 21), (1, 2), (8, 21), (9, 21), (13, 20), (21, 21)]
        .map(|(old, new)| Consistency {
            old,
            new,
            proof: prove(Plan::consistency(old, new).unwrap()),
        })
        .into();
    let checkpoint = checkpoint::sign(ORIGIN, &frontier.head(), &key).unwrap();
    let cosigner = SigningKey::from_seed(&[45; 32]).unwrap();
    let line =
        witness::cosign(&checkpoint, "witness.example/w", &cosigner, Millis(1_800_000_100_000));
    let mut cosigned = checkpoint.clone();
    witness::add_lines(&mut cosigned, &line.unwrap());
    let proof_index = 12;
    let proof = Plan::inclusion(proof_index, COUNT).unwrap().prove(&nodes).unwrap().unwrap();
    let file = ProofFile { extra: None, index: proof_index, proof, checkpoint: cosigned.clone() };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let tiles = [(0, 273, 112), (3, 1_234_067, 256), (1, 0, 1), (7, 999, 256)]
        .map(|(level, index, width)| (Content::Hashes(level), index, width))
        .into_iter()
        .chain([(Content::Entries, 1000, 5), (Content::Entries, 999_999, 256)])
        .map(|(content, index, width)| TileName {
            level: match content {
                Content::Hashes(level) => level.into(),
                Content::Entries => "entries".into(),
            },
            index,
            width,
            path: Tile { content, index, width }.path(),
        })
        .collect();
    Vectors {
        about: "A small log with its proofs and signed checkpoint; see docs/log.md".into(),
        verifier_key: LogKey::new(ORIGIN, key.verifying_key()).unwrap().to_string(),
        commitment: Commitment {
            label: "subject".into(),
            salt: hex::encode(salt(3).expose()),
            body: "sub_example".into(),
            value: entry(3).commitments["subject"].to_string(),
        },
        entries,
        inclusion,
        consistency,
        checkpoint: text(checkpoint),
        cosigned: text(cosigned),
        witness_key: WitnessKey::new("witness.example/w", cosigner.verifying_key())
            .unwrap()
            .to_string(),
        proof_file: text(file.to_bytes()),
        proof_index,
        tiles,
    }
}

fn hash(text: &str) -> Hash {
    Hash(hex::decode(text).unwrap().try_into().unwrap())
}

fn hashes(texts: &[String]) -> Vec<Hash> {
    texts.iter().map(|t| hash(t)).collect()
}

fn vectors_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/log.json")
}

fn read() -> Vectors {
    serde_json::from_slice(&std::fs::read(vectors_path()).unwrap()).unwrap()
}
