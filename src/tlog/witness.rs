//! Witnesses: who cosigns that a log only grew (C2SP tlog-witness, tlog-cosignature).
//!
//! Both sides without I/O: the request that a log sends, the rules by which a witness answers, and
//! the check of what came back. Cosignatures are of the Ed25519 kind, `cosignature/v1`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::checkpoint::{self, Checkpoint, LogKey};
use super::merkle::{Hash, TreeHead};
use super::proof::verify_consistency;
use crate::crypto::{SigningKey, VerifyingKey};
use crate::env::Millis;

/// The largest request that a witness reads, in bytes.
pub const MAX_REQUEST: usize = checkpoint::MAX_LEN + 64 * 64;
/// The media type of the size in a conflict.
pub const SIZE_TYPE: &str = "text/x.tlog.size";
/// How far ahead of the clock a cosignature's time may lie, in seconds.
const LEEWAY: i64 = 300;

/// Why a text is not a witness's key, request or answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text of a cosigner's key is wrong.
    #[error(
        "not a witness's key: expected <name>+<8 hex digits>+<base64 of type 4 and an Ed25519 key>"
    )]
    BadKey,
    /// Not what `add-checkpoint` sends.
    #[error("not an add-checkpoint request: {0}")]
    Malformed(&'static str),
    /// The answer holds no good cosignature by this witness.
    #[error("the witness's answer holds no cosignature of its own that verifies")]
    NoCosignature,
}

/// A witness's public key under its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessKey {
    name: String,
    key: VerifyingKey,
    id: [u8; 4],
}

impl WitnessKey {
    /// The key of the witness named `name`, which is as an origin is.
    ///
    /// # Errors
    /// [`Error::BadKey`].
    pub fn new(name: &str, key: VerifyingKey) -> Result<Self, Error> {
        LogKey::new(name, key).map_err(|_| Error::BadKey)?;
        let id = signed_note::key_id(name, &typed(&key)).to_be_bytes();
        Ok(Self { name: name.to_owned(), key, id })
    }

    /// Reads a verifier key of type 4.
    ///
    /// # Errors
    /// [`Error::BadKey`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Error::BadKey);
        };
        let key = BASE64_STANDARD.decode(key).map_err(|_| Error::BadKey)?;
        let Some((&ALG, key)) = key.split_first() else { return Err(Error::BadKey) };
        let key = <[u8; 32]>::try_from(key).map_err(|_| Error::BadKey)?;
        let key = Self::new(name, VerifyingKey::from_bytes(key))?;
        if hex::encode(key.id) == id { Ok(key) } else { Err(Error::BadKey) }
    }

    /// The witness's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The time of this witness's cosignature on a note, where it has a good one.
    pub fn cosigned(&self, note: &[u8]) -> Option<u64> {
        let (text, signatures) = split(note)?;
        signatures.lines().find_map(|line| self.check_line(text, line))
    }

    /// The lines of a witness's answer that are its good cosignatures of `note`.
    ///
    /// # Errors
    /// [`Error::NoCosignature`].
    pub fn accept(&self, note: &[u8], answer: &[u8], now: Millis) -> Result<String, Error> {
        let (text, _) = split(note).ok_or(Error::NoCosignature)?;
        let answer = std::str::from_utf8(answer).map_err(|_| Error::NoCosignature)?;
        let latest = now.seconds().saturating_add(LEEWAY).max(0).cast_unsigned();
        let good = |line: &&str| self.check_line(text, line).is_some_and(|at| at <= latest);
        answer.lines().find(good).map(|l| format!("{l}\n")).ok_or(Error::NoCosignature)
    }

    fn check_line(&self, text: &[u8], line: &str) -> Option<u64> {
        let (name, signature) = line.strip_prefix("— ")?.split_once(' ')?;
        let bytes = BASE64_STANDARD.decode(signature).ok()?;
        let (id, rest) = bytes.split_first_chunk::<4>()?;
        let (at, signature) = rest.split_first_chunk::<8>()?;
        let at = u64::from_be_bytes(*at);
        let ours = name == self.name && *id == self.id && signature.len() == 64;
        (ours && i64::try_from(at).is_ok() && self.key.verify(&message(at, text), signature))
            .then_some(at)
    }
}

/// The verifier key's text, as other tools take it.
impl std::fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = BASE64_STANDARD.encode(typed(&self.key));
        write!(f, "{}+{}+{key}", self.name, hex::encode(self.id))
    }
}

/// Cosigns a checkpoint: a signature line, with its newline.
///
/// # Errors
/// [`Error::BadKey`] for a bad name, [`Error::Malformed`] where `note` is no note.
pub fn cosign(note: &[u8], name: &str, key: &SigningKey, now: Millis) -> Result<String, Error> {
    let (text, _) = split(note).ok_or(Error::Malformed("its checkpoint is not a signed note"))?;
    let at = now.seconds().max(0).cast_unsigned();
    let mut line = WitnessKey::new(name, key.verifying_key())?.id.to_vec();
    line.extend_from_slice(&at.to_be_bytes());
    line.extend_from_slice(&key.sign(&message(at, text)));
    Ok(format!("— {name} {}\n", BASE64_STANDARD.encode(line)))
}

/// What is sent to `add-checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The size that the witness cosigned last.
    pub old: u64,
    /// The proof that the checkpoint continues it.
    pub proof: Vec<Hash>,
    /// The signed checkpoint.
    pub note: Vec<u8>,
}

impl Request {
    /// The body.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = format!("old {}\n", self.old);
        for hash in &self.proof {
            out.push_str(&BASE64_STANDARD.encode(hash.0));
            out.push('\n');
        }
        out.push('\n');
        let mut out = out.into_bytes();
        out.extend_from_slice(&self.note);
        out
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        const MAX_PROOF: usize = 63;
        if body.len() > MAX_REQUEST {
            return Err(Error::Malformed("it is too long"));
        }
        let text = std::str::from_utf8(body).map_err(|_| Error::Malformed("it is not UTF-8"))?;
        let (head, note) =
            text.split_once("\n\n").ok_or(Error::Malformed("it has no empty line"))?;
        let mut lines = head.split('\n');
        let old = lines
            .next()
            .and_then(|l| l.strip_prefix("old "))
            .and_then(checkpoint::decimal)
            .ok_or(Error::Malformed("it does not start with the old size"))?;
        let proof: Vec<Hash> = lines
            .map(|l| checkpoint::hash_line(l).ok_or(Error::Malformed("a proof line is no hash")))
            .collect::<Result<_, _>>()?;
        if proof.len() > MAX_PROOF {
            return Err(Error::Malformed("its proof has more than 63 hashes"));
        }
        Ok(Self { old, proof, note: note.as_bytes().to_vec() })
    }
}

/// How a witness answers a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 200: cosign, and keep this head, if the one that was compared with is still the latest.
    Cosign(Checkpoint),
    /// 400.
    BadRequest(&'static str),
    /// 403: no known key signed it.
    NotSigned,
    /// 404: not a log that is witnessed here.
    UnknownLog,
    /// 409: another size was cosigned last, or another root of this size.
    Conflict(u64),
    /// 422: the proof does not verify.
    NotConsistent,
}

/// Decides on a request, as tlog-witness says. `latest` is what was cosigned last of the log.
pub fn judge(
    request: &Request,
    logs: &[LogKey],
    latest: impl Fn(&str) -> Option<TreeHead>,
) -> Answer {
    let origin = request.note.split(|b| *b == b'\n').next().unwrap_or_default();
    let keys: Vec<LogKey> =
        logs.iter().filter(|k| k.origin().as_bytes() == origin).cloned().collect();
    if keys.is_empty() {
        return Answer::UnknownLog;
    }
    let new = match checkpoint::open(&request.note, &keys) {
        Ok(new) => new,
        Err(checkpoint::Error::Malformed(why)) => return Answer::BadRequest(why),
        Err(_) => return Answer::NotSigned,
    };
    if request.old > new.head.size {
        return Answer::BadRequest("the old size is above the checkpoint's");
    }
    let empty = super::Frontier::new().head();
    let last = latest(&new.origin).unwrap_or(empty);
    if request.old != last.size || (last.size == new.head.size && last.root != new.head.root) {
        return Answer::Conflict(last.size);
    }
    // From nothing there is nothing to prove, and a proof would prove nothing.
    let proven = verify_consistency(&last, &new.head, &request.proof).is_ok();
    if proven { Answer::Cosign(new) } else { Answer::NotConsistent }
}

/// Adds signature lines to a note, where it does not have them.
pub fn add_lines(note: &mut Vec<u8>, lines: &str) {
    for line in lines.lines() {
        let there = note.split(|b| *b == b'\n').any(|l| l == line.as_bytes());
        if !there {
            note.extend_from_slice(line.as_bytes());
            note.push(b'\n');
        }
    }
}

/// The type byte of Ed25519 cosignature keys.
const ALG: u8 = 4;

fn typed(key: &VerifyingKey) -> Vec<u8> {
    let mut out = vec![ALG];
    out.extend_from_slice(key.as_bytes());
    out
}

fn message(at: u64, text: &[u8]) -> Vec<u8> {
    let mut out = format!("cosignature/v1\ntime {at}\n").into_bytes();
    out.extend_from_slice(text);
    out
}

/// A note's text, with its last newline, and its signature lines.
fn split(note: &[u8]) -> Option<(&[u8], &str)> {
    let note = std::str::from_utf8(note).ok()?;
    let at = note.rfind("\n\n")?;
    Some((&note.as_bytes()[..=at], &note[at + 2..]))
}

#[cfg(test)]
mod tests {
    use super::super::Frontier;
    use super::super::merkle::leaf_hash;
    use super::super::proof::{MemoryNodes, Plan};
    use super::*;
    use crate::env::SeededEntropy;

    const NOW: Millis = Millis(1_679_315_147_000);

    fn key(seed: u64) -> SigningKey {
        SigningKey::generate(&SeededEntropy::new(seed)).unwrap()
    }

    struct Log {
        leaves: Vec<Hash>,
    }

    impl Log {
        fn head(&self, size: usize) -> TreeHead {
            let mut f = Frontier::new();
            for leaf in &self.leaves[..size] {
                f.append(*leaf);
            }
            f.head()
        }

        fn request(&self, old: u64, size: usize) -> Request {
            let nodes = MemoryNodes::new(self.leaves[..size].to_vec());
            let plan = Plan::consistency(old, size as u64).unwrap();
            let note = checkpoint::sign("log.example/a", &self.head(size), &key(1)).unwrap();
            Request { old, proof: plan.prove(&nodes).unwrap().unwrap(), note }
        }
    }

    fn log() -> Log {
        Log { leaves: (0..40u64).map(|i| leaf_hash(&i.to_be_bytes())).collect() }
    }

    fn known() -> Vec<LogKey> {
        vec![LogKey::new("log.example/a", key(1).verifying_key()).unwrap()]
    }

    #[test]
    fn a_cosignature_verifies_and_only_for_its_text_name_and_key() {
        let mut note = log().request(0, 10).note;
        let line = cosign(&note, "w.example/1", &key(9), NOW).unwrap();
        let witness = WitnessKey::new("w.example/1", key(9).verifying_key()).unwrap();
        assert_eq!(WitnessKey::parse(&witness.to_string()).unwrap(), witness);
        assert_eq!(witness.accept(&note, line.as_bytes(), NOW).unwrap(), line);
        let other_note = log().request(0, 11).note;
        assert_eq!(witness.accept(&other_note, line.as_bytes(), NOW), Err(Error::NoCosignature));
        for other in [
            WitnessKey::new("w.example/2", key(9).verifying_key()).unwrap(),
            WitnessKey::new("w.example/1", key(8).verifying_key()).unwrap(),
        ] {
            assert_eq!(other.accept(&note, line.as_bytes(), NOW), Err(Error::NoCosignature));
        }
        // From the future.
        let past = Millis(NOW.0 - 600_000);
        assert_eq!(witness.accept(&note, line.as_bytes(), past), Err(Error::NoCosignature));
        add_lines(&mut note, &line);
        add_lines(&mut note, &line);
        assert_eq!(witness.cosigned(&note), Some(1_679_315_147));
        // The log's own signature still opens.
        assert_eq!(checkpoint::open(&note, &known()).unwrap().head.size, 10);
        for bad in ["", "a+b", "w+00000000+AQ==", &known()[0].to_string()] {
            assert_eq!(WitnessKey::parse(bad), Err(Error::BadKey), "{bad}");
        }
    }

    #[test]
    fn a_witness_answers_as_the_specification_says() {
        let log = log();
        let ask = |request: &Request, last: Option<TreeHead>| judge(request, &known(), |_| last);
        let at_10 = Some(log.head(10));
        assert!(matches!(ask(&log.request(0, 10), None), Answer::Cosign(c) if c.head.size == 10));
        assert!(matches!(ask(&log.request(10, 33), at_10), Answer::Cosign(_)));
        assert!(matches!(ask(&log.request(10, 10), at_10), Answer::Cosign(_)));
        assert_eq!(ask(&log.request(0, 33), at_10), Answer::Conflict(10));
        assert_eq!(ask(&log.request(5, 33), None), Answer::Conflict(0));
        // A second history: another root of the same size, or one that does not continue the first.
        let mut fork = Log { leaves: log.leaves.clone() };
        fork.leaves[4] = Hash([9; 32]);
        assert_eq!(ask(&fork.request(10, 10), at_10), Answer::Conflict(10));
        assert_eq!(ask(&fork.request(10, 33), at_10), Answer::NotConsistent);
        let mut without = log.request(10, 33);
        without.proof.clear();
        assert_eq!(ask(&without, at_10), Answer::NotConsistent);
        let behind = Request { old: 11, ..log.request(10, 10) };
        assert!(matches!(ask(&behind, Some(log.head(11))), Answer::BadRequest(_)));
        let other = LogKey::new("log.example/a", key(2).verifying_key()).unwrap();
        assert_eq!(judge(&log.request(0, 3), &[other], |_| None), Answer::NotSigned);
        assert_eq!(judge(&log.request(0, 3), &[], |_| None), Answer::UnknownLog);
    }

    #[test]
    fn requests_read_back() {
        let request = log().request(10, 33);
        assert_eq!(Request::parse(&request.to_bytes()).unwrap(), request);
        let long =
            format!("old 0\n{}\nx\n", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n".repeat(64));
        for bad in
            ["", "old 1\n", "old 01\n\nx", "old -1\n\nx", "new 1\n\nx", "old 1\nAAAA\n\nx", &long]
        {
            assert!(Request::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Request::parse(&vec![b'a'; MAX_REQUEST + 1]).is_err());
        assert!(Request::parse(&[0xff, 0xfe]).is_err());
    }

    /// The example of C2SP tlog-cosignature: its key ids and lengths are as computed here.
    #[test]
    fn the_published_example_has_this_form() {
        let note = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
        let (text, lines) = split(note.as_bytes()).unwrap();
        assert!(text.ends_with(b"q2I=\n"));
        let line = lines.lines().nth(1).unwrap();
        let bytes = BASE64_STANDARD.decode(line.rsplit(' ').next().unwrap()).unwrap();
        assert_eq!(bytes.len(), 4 + 8 + 64);
        assert_eq!(u64::from_be_bytes(bytes[4..12].try_into().unwrap()), 1_679_315_147);
        assert!(message(1_679_315_147, text).starts_with(
            b"cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n"
        ));
    }
}
