//! `tlog-proof` files: a proof that an entry is in a log, to be checked offline (C2SP tlog-proof).

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::checkpoint::{self, Checkpoint, LogKey};
use super::merkle::Hash;
use super::proof::{ProofError, verify_inclusion};

/// The largest file that is read, in bytes.
pub const MAX_LEN: usize = checkpoint::MAX_LEN + (128 << 10);
const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// Why a file proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a proof file.
    #[error("not a tlog-proof: {0}")]
    Malformed(&'static str),
    /// Its checkpoint does not hold.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// The proof does not lead to the checkpoint's root.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

/// The content of a proof file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofFile {
    /// What the application adds. Nothing vouches for it.
    pub extra: Option<Vec<u8>>,
    /// The entry.
    pub index: u64,
    /// Sibling hashes, from the leaf up.
    pub proof: Vec<Hash>,
    /// The signed checkpoint, with cosignatures where there are any.
    pub checkpoint: Vec<u8>,
}

impl ProofFile {
    /// The file's text.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = format!("{FIRST_LINE}\n");
        if let Some(extra) = &self.extra {
            let _ = writeln!(out, "extra {}", BASE64_STANDARD.encode(extra));
        }
        let _ = writeln!(out, "index {}", self.index);
        for hash in &self.proof {
            out.push_str(&BASE64_STANDARD.encode(hash.0));
            out.push('\n');
        }
        out.push('\n');
        let mut out = out.into_bytes();
        out.extend_from_slice(&self.checkpoint);
        out
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_LEN {
            return Err(Error::Malformed("it is too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Error::Malformed("it is not UTF-8"))?;
        let (head, checkpoint) =
            text.split_once("\n\n").ok_or(Error::Malformed("it has no checkpoint"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(FIRST_LINE) {
            return Err(Error::Malformed("its first line is not c2sp.org/tlog-proof@v1"));
        }
        let extra = lines.next_if(|l| l.starts_with("extra ")).map(|l| {
            BASE64_STANDARD
                .decode(&l["extra ".len()..])
                .map_err(|_| Error::Malformed("its extra data is not base64"))
        });
        let index = lines
            .next()
            .and_then(|l| l.strip_prefix("index "))
            .and_then(checkpoint::decimal)
            .ok_or(Error::Malformed("it has no index"))?;
        let proof: Vec<Hash> = lines
            .map(|l| checkpoint::hash_line(l).ok_or(Error::Malformed("a proof line is no hash")))
            .collect::<Result<_, _>>()?;
        if proof.len() > 64 {
            return Err(Error::Malformed("its proof has more than 64 hashes"));
        }
        let checkpoint = checkpoint.as_bytes().to_vec();
        Ok(Self { extra: extra.transpose()?, index, proof, checkpoint })
    }

    /// Checks that the entry with this leaf hash is in the log of one of `keys`.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn verify(&self, leaf: &Hash, keys: &[LogKey]) -> Result<Checkpoint, Error> {
        let checkpoint = checkpoint::open(&self.checkpoint, keys)?;
        verify_inclusion(leaf, self.index, &checkpoint.head, &self.proof)?;
        Ok(checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::super::proof::{MemoryNodes, Plan};
    use super::super::{Frontier, leaf_hash};
    use super::*;
    use crate::crypto::SigningKey;

    fn file() -> (ProofFile, Hash, LogKey) {
        let key = SigningKey::from_seed(&[3; 32]).unwrap();
        let leaves: Vec<Hash> = (0..13u8).map(|i| leaf_hash(&[i])).collect();
        let mut frontier = Frontier::new();
        for leaf in &leaves {
            frontier.append(*leaf);
        }
        let plan = Plan::inclusion(5, 13).unwrap();
        let proof = plan.prove(&MemoryNodes::new(leaves.clone())).unwrap().unwrap();
        let checkpoint = checkpoint::sign("log.example", &frontier.head(), &key).unwrap();
        let log_key = LogKey::new("log.example", key.verifying_key()).unwrap();
        (ProofFile { extra: None, index: 5, proof, checkpoint }, leaves[5], log_key)
    }

    #[test]
    fn a_file_reads_back_and_verifies() {
        let (file, leaf, key) = file();
        let keys = [key];
        for file in [file.clone(), ProofFile { extra: Some(b"entry".to_vec()), ..file.clone() }] {
            let back = ProofFile::parse(&file.to_bytes()).unwrap();
            assert_eq!(back, file);
            assert_eq!(back.verify(&leaf, &keys).unwrap().head.size, 13);
        }
        assert!(matches!(file.verify(&leaf_hash(b"no"), &keys), Err(Error::Proof(_))));
        let moved = ProofFile { index: 6, ..file.clone() };
        assert!(matches!(moved.verify(&leaf, &keys), Err(Error::Proof(_))));
        assert!(matches!(file.verify(&leaf, &[]), Err(Error::Checkpoint(_))));
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let good = String::from_utf8(file().0.to_bytes()).unwrap();
        for bad in [
            String::new(),
            good.replace("@v1", "@v2"),
            good.replace("index 5", "index 05"),
            good.replace("index 5", "index -5"),
            good.replace("index 5\n", ""),
            good.replacen("index", "extra !\nindex", 1),
            good.replacen("=\n", "\n", 1),
        ] {
            assert!(ProofFile::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(ProofFile::parse(&vec![b'a'; MAX_LEN + 1]).is_err());
    }
}
