//! Exports: entries with proofs and a signed manifest, so that a file can be checked alone.
//!
//! An export is lines of text. Each line is an entry with the proof that it is in the tree of the
//! export's checkpoint; the last line is the manifest: a C2SP signed note by the log's key that says
//! what was asked for, how many entries came, and the SHA-256 of every byte before it. The first
//! line of the note's text is no log's name, and its second no number, so it can't be taken for a
//! checkpoint.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::checkpoint::{self, Checkpoint, LogKey};
use super::entry::{self, Attribute, Entry};
use super::filter::Filter;
use super::merkle::{Hash, leaf_hash};
use super::proof::{ProofError, verify_inclusion};
use crate::crypto::SigningKey;
use crate::crypto::hash::{Digest, Sha256};

/// The longest line that is read, in bytes.
pub const MAX_LINE: usize = 256 << 10;

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A JSON object a line.
    Jsonl,
    /// Comma-separated values (RFC 4180); the manifest stands after `#`.
    Csv,
}

impl Format {
    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jsonl => "application/jsonl",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }

    /// The end of a file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
        }
    }
}

/// Why an export proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not end with a manifest.
    #[error("the export has no manifest at its end: it was cut off, or is no export")]
    NoManifest,
    /// The manifest is not what it has to be.
    #[error("the export's manifest: {0}")]
    Manifest(&'static str),
    /// The manifest or its checkpoint is not signed by the log.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// A line is not one of an export.
    #[error("line {0} is not a line of an export")]
    Line(u64),
    /// An entry's bytes, proof and description don't belong together.
    #[error("entry {index} (line {line}): {cause}")]
    Entry {
        /// The line, from 1.
        line: u64,
        /// The entry.
        index: u64,
        /// What is wrong.
        cause: EntryFault,
    },
    /// The entries are not in order.
    #[error("entry {index} (line {line}) comes after entry {before}: doubled or reordered")]
    Order {
        /// The line, from 1.
        line: u64,
        /// The entry.
        index: u64,
        /// The one before it.
        before: u64,
    },
    /// A line was added, dropped or altered.
    #[error("the export is not the one that was signed: a line was added, dropped or altered")]
    WrongDigest,
}

/// What is wrong with an entry of an export.
#[derive(Debug, thiserror::Error)]
pub enum EntryFault {
    /// The bytes are no entry.
    #[error(transparent)]
    Unreadable(#[from] entry::Error),
    /// The proof fails.
    #[error("it is not in the log: {0}")]
    Proof(#[from] ProofError),
    /// What is written beside the bytes says something else.
    #[error("its columns do not say what its bytes say")]
    Columns,
    /// The filter does not let it through.
    #[error("it is not what the manifest says was asked for")]
    NotAsked,
}

/// One entry of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its place in the log.
    pub index: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The proof that it is in the checkpoint's tree.
    pub proof: Vec<Hash>,
}

/// Writes an export piece by piece.
#[derive(Clone)]
pub struct Writer {
    format: Format,
    hasher: Sha256,
    entries: u64,
}

impl Writer {
    /// An export in this format, and what it begins with.
    pub fn new(format: Format) -> (Self, String) {
        let mut writer = Self { format, hasher: Sha256::new(), entries: 0 };
        let start = match format {
            Format::Jsonl => String::new(),
            Format::Csv => format!("{CSV_HEADER}\n"),
        };
        writer.hasher.update(start.as_bytes());
        (writer, start)
    }

    /// Adds the text of an entry's line to `out`.
    ///
    /// # Errors
    /// Where the bytes are no entry.
    pub fn entry(&mut self, line: &Line, out: &mut String) -> Result<(), entry::Error> {
        let text = render(self.format, line, &Entry::decode(&line.bytes)?);
        self.hasher.update(text.as_bytes());
        self.entries += 1;
        out.push_str(&text);
        Ok(())
    }

    /// The last line.
    ///
    /// # Errors
    /// [`checkpoint::Error::BadOrigin`].
    pub fn finish(
        self,
        filter: &Filter,
        origin: &str,
        checkpoint: &[u8],
        key: &SigningKey,
    ) -> Result<String, checkpoint::Error> {
        let filter = serde_json::to_string(filter).unwrap_or_default();
        let text = format!(
            "{FIRST_LINE}\norigin {origin}\nfilter {filter}\nentries {}\nsha256 {}\n",
            self.entries,
            hex::encode(self.hasher.finish())
        );
        let note = checkpoint::sign_note(origin, text.as_bytes(), key)?;
        let [note, checkpoint] = [&note[..], checkpoint].map(String::from_utf8_lossy);
        let manifest = json!({ "manifest": note, "checkpoint": checkpoint });
        Ok(match self.format {
            Format::Jsonl => format!("{manifest}\n"),
            Format::Csv => format!("# {manifest}\n"),
        })
    }
}

/// What an export says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What was asked for.
    pub filter: Filter,
    /// How many entries came.
    pub entries: u64,
    /// The tree that the proofs lead to.
    pub checkpoint: Checkpoint,
    digest: Digest,
}

impl Manifest {
    /// Reads the last line of an export, without its newline.
    ///
    /// # Errors
    /// [`Error::NoManifest`], [`Error::Manifest`], [`Error::Checkpoint`].
    pub fn open(line: &str, keys: &[LogKey]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Last {
            manifest: String,
            checkpoint: String,
        }
        let last: Last = serde_json::from_str(line.strip_prefix("# ").unwrap_or(line))
            .map_err(|_| Error::NoManifest)?;
        let text = checkpoint::open_note(last.manifest.as_bytes(), keys)?;
        let text = String::from_utf8(text).map_err(|_| Error::Manifest("it is not UTF-8"))?;
        let checkpoint = checkpoint::open(last.checkpoint.as_bytes(), keys)?;
        let mut lines = text.lines();
        let mut field = |name: &str| lines.next().and_then(|l| l.strip_prefix(name));
        if field(FIRST_LINE) != Some("") {
            return Err(Error::Manifest("its first line is another"));
        }
        if field("origin ") != Some(&checkpoint.origin) {
            return Err(Error::Manifest("it is of another log than its checkpoint"));
        }
        let filter = field("filter ").and_then(|f| serde_json::from_str(f).ok());
        let entries = field("entries ").and_then(checkpoint::decimal);
        let mut digest = [0; 32];
        let read = field("sha256 ").is_some_and(|d| hex::decode_to_slice(d, &mut digest).is_ok());
        match (filter, entries) {
            (Some(filter), Some(entries)) if read => {
                Ok(Self { filter, entries, checkpoint, digest })
            }
            _ => Err(Error::Manifest("a field is missing or wrong")),
        }
    }
}

/// Checks an export line by line, in constant memory, against its manifest.
pub struct Reader {
    manifest: Manifest,
    format: Format,
    hasher: Sha256,
    line: u64,
    entries: u64,
    last: Option<u64>,
}

impl Reader {
    /// A check of the export that this manifest is of.
    pub fn new(manifest: Manifest, format: Format) -> Self {
        Self { manifest, format, hasher: Sha256::new(), line: 0, entries: 0, last: None }
    }

    /// Takes the next line, with its newline; the manifest's own is not given. Returns the entry.
    ///
    /// # Errors
    /// The [`Error`] that this line shows.
    pub fn line(&mut self, text: &str) -> Result<Option<(u64, Entry)>, Error> {
        self.line += 1;
        let line = self.line;
        self.hasher.update(text.as_bytes());
        if self.format == Format::Csv && line == 1 {
            return if text.trim_end() == CSV_HEADER { Ok(None) } else { Err(Error::Line(1)) };
        }
        let parsed = parse(self.format, text.trim_end_matches('\n')).ok_or(Error::Line(line))?;
        let index = parsed.index;
        let wrong = |cause| Error::Entry { line, index, cause };
        if let Some(before) = self.last.filter(|last| *last >= index) {
            return Err(Error::Order { line, index, before });
        }
        let head = self.manifest.checkpoint.head;
        verify_inclusion(&leaf_hash(&parsed.bytes), index, &head, &parsed.proof)
            .map_err(|e| wrong(e.into()))?;
        let entry = Entry::decode(&parsed.bytes).map_err(|e| wrong(e.into()))?;
        if render(self.format, &parsed, &entry) != text {
            return Err(wrong(EntryFault::Columns));
        }
        if !self.manifest.filter.matches(&entry) {
            return Err(wrong(EntryFault::NotAsked));
        }
        self.last = Some(index);
        self.entries += 1;
        Ok(Some((index, entry)))
    }

    /// Ends the check.
    ///
    /// # Errors
    /// [`Error::WrongDigest`].
    pub fn finish(self) -> Result<Manifest, Error> {
        if self.hasher.finish() == self.manifest.digest && self.entries == self.manifest.entries {
            Ok(self.manifest)
        } else {
            Err(Error::WrongDigest)
        }
    }
}

const FIRST_LINE: &str = "cameo log export v1";
const CSV_HEADER: &str = "index,time,kind,attributes,commitments,entry,proof";

/// The public part of an entry, as JSON: attributes and commitments.
pub fn describe(entry: &Entry) -> (Value, Value) {
    let attributes: Map<String, Value> = entry
        .attributes
        .iter()
        .map(|(label, value)| {
            let value = match value {
                Attribute::Text(text) => json!(text),
                Attribute::Number(n) => json!(n),
            };
            (label.clone(), value)
        })
        .collect();
    let commitments: Map<String, Value> =
        entry.commitments.iter().map(|(l, hash)| (l.clone(), json!(hash.to_string()))).collect();
    (Value::Object(attributes), Value::Object(commitments))
}

fn render(format: Format, line: &Line, entry: &Entry) -> String {
    let (attributes, commitments) = describe(entry);
    let bytes = BASE64_STANDARD.encode(&line.bytes);
    let proof: Vec<String> = line.proof.iter().map(|h| BASE64_STANDARD.encode(h.0)).collect();
    let (index, time, kind) = (line.index, entry.time.rfc3339(), entry.kind.name());
    match format {
        Format::Jsonl => {
            let row = json!({
                "index": index, "time": time, "kind": kind, "attributes": attributes,
                "commitments": commitments, "entry": bytes, "proof": proof,
            });
            format!("{row}\n")
        }
        Format::Csv => {
            let quoted = |v: &Value| format!("\"{}\"", v.to_string().replace('"', "\"\""));
            let (a, c) = (quoted(&attributes), quoted(&commitments));
            let mut row = format!("{index},{time},{kind},{a},{c},{bytes},");
            let _ = writeln!(row, "{}", proof.join(" "));
            row
        }
    }
}

fn parse(format: Format, text: &str) -> Option<Line> {
    let (index, bytes, proof) = match format {
        Format::Jsonl => {
            #[derive(Deserialize)]
            struct Row {
                index: u64,
                entry: String,
                proof: Vec<String>,
            }
            let row: Row = serde_json::from_str(text).ok()?;
            (row.index, row.entry, row.proof)
        }
        Format::Csv => {
            // The last two columns and the first hold no commas; what lies between is compared
            // with what the bytes say.
            let (rest, proof) = text.rsplit_once(',')?;
            let (rest, bytes) = rest.rsplit_once(',')?;
            let index = rest.split(',').next()?.parse().ok()?;
            let proof = proof.split(' ').filter(|p| !p.is_empty()).map(str::to_owned).collect();
            (index, bytes.to_owned(), proof)
        }
    };
    let bytes = BASE64_STANDARD.decode(bytes).ok()?;
    let proof: Option<Vec<Hash>> = proof.iter().map(|p| checkpoint::hash_line(p)).collect();
    Some(Line { index, bytes, proof: proof.filter(|p| p.len() <= 128)? })
}

#[cfg(test)]
mod tests {
    use super::super::Frontier;
    use super::super::entry::Kind;
    use super::super::proof::{MemoryNodes, Plan};
    use super::*;
    use crate::env::Millis;

    const ORIGIN: &str = "cameo.example/log";

    fn key() -> SigningKey {
        SigningKey::from_seed(&[5; 32]).unwrap()
    }

    fn keys() -> [LogKey; 1] {
        [LogKey::new(ORIGIN, key().verifying_key()).unwrap()]
    }

    fn lines() -> (Vec<Line>, Vec<u8>) {
        let entries: Vec<Vec<u8>> = (0..9u64)
            .map(|i| {
                let kind = if i % 2 == 0 { Kind::Verdict } else { Kind::Admin };
                let entry = Entry::new(kind, Millis(1_000_000 + i as i64)).with("n", i);
                entry.committing("subject", Hash([i as u8; 32])).encode().unwrap()
            })
            .collect();
        let leaves: Vec<Hash> = entries.iter().map(|e| leaf_hash(e)).collect();
        let mut frontier = Frontier::new();
        for leaf in &leaves {
            frontier.append(*leaf);
        }
        let nodes = MemoryNodes::new(leaves);
        let note = checkpoint::sign(ORIGIN, &frontier.head(), &key()).unwrap();
        let proof = |i| Plan::inclusion(i, 9).unwrap().prove(&nodes).unwrap().unwrap();
        let lines = (0..9)
            .step_by(2)
            .map(|i| Line { index: i, bytes: entries[i as usize].clone(), proof: proof(i) })
            .collect();
        (lines, note)
    }

    fn verdicts() -> Filter {
        Filter { kinds: vec!["verdict".into()], ..Filter::default() }
    }

    fn export(format: Format) -> String {
        let (lines, note) = lines();
        let (mut writer, mut out) = Writer::new(format);
        for line in &lines {
            writer.entry(line, &mut out).unwrap();
        }
        out + &writer.finish(&verdicts(), ORIGIN, &note, &key()).unwrap()
    }

    fn check(text: &str) -> Result<Manifest, Error> {
        let format = if text.starts_with('{') { Format::Jsonl } else { Format::Csv };
        let (body, last) = text.trim_end().rsplit_once('\n').unwrap();
        let mut reader = Reader::new(Manifest::open(last, &keys())?, format);
        for line in body.split_inclusive('\n') {
            let line = if line.ends_with('\n') { line.to_owned() } else { format!("{line}\n") };
            reader.line(&line)?;
        }
        reader.finish()
    }

    #[test]
    fn exports_check_alone_and_every_change_is_found() {
        for format in [Format::Jsonl, Format::Csv] {
            let good = export(format);
            let manifest = check(&good).unwrap();
            assert_eq!((manifest.entries, manifest.filter), (5, verdicts()));
            let lines: Vec<&str> = good.split_inclusive('\n').collect();
            let first = usize::from(format == Format::Csv);
            let with = |change: &dyn Fn(&mut Vec<String>)| {
                let mut l: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
                change(&mut l);
                check(&l.concat())
            };
            assert!(matches!(with(&|l| drop(l.remove(first + 1))), Err(Error::WrongDigest)));
            assert!(matches!(
                with(&|l| l.swap(first, first + 1)),
                Err(Error::Order { index: 0, .. })
            ));
            assert!(matches!(
                with(&|l| l.insert(first, l[first].clone())),
                Err(Error::Order { index: 0, before: 0, .. })
            ));
            assert!(matches!(with(&|l| drop(l.pop())), Err(Error::NoManifest)));
            let swapped = with(&|l| l[first] = l[first].replace("verdict", "consent_given"));
            assert!(matches!(
                swapped,
                Err(Error::Entry { index: 0, cause: EntryFault::Columns, .. })
            ));
            let moved = with(&|l| {
                let at = if format == Format::Csv { "0," } else { "\"index\":0" };
                let to = if format == Format::Csv { "1," } else { "\"index\":1" };
                l[first] = l[first].replacen(at, to, 1);
            });
            assert!(matches!(
                moved,
                Err(Error::Entry { index: 1, cause: EntryFault::Proof(_), .. })
            ));
            let claimed = with(&|l| {
                let last = l.len() - 1;
                l[last] = l[last].replace("entries 5", "entries 4");
            });
            assert!(matches!(claimed, Err(Error::Checkpoint(checkpoint::Error::BadSignature))));
            assert!(matches!(with(&|l| l[first] = "{}\n".into()), Err(Error::Line(_))));
        }
    }
}
