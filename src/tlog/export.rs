//! Exports: entries with proofs and a signed manifest, so that a file can be checked alone.
//!
//! An export is lines of text, or a [`parquet`] file. Each line or row is an entry with the proof that
//! it is in the tree of the export's checkpoint; at the end stands the manifest: a C2SP signed note by
//! the log's key that says what was asked for, how many entries came, and the SHA-256 of every byte
//! before it (in Parquet, before the footer that holds it). The first line of the note's text is no
//! log's name, and its second no number, so it can't be taken for a checkpoint.

pub mod parquet;
mod thrift;

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use self::parquet::Table;
use super::checkpoint::{self, Checkpoint, LogKey};
use super::entry::{self, Attribute, Entry};
use super::filter::Filter;
use super::merkle::{Hash, leaf_hash};
use super::proof::{ProofError, verify_inclusion};
use crate::crypto::SigningKey;
use crate::crypto::hash::{Digest, Sha256};

/// The longest line that is read, in bytes.
pub const MAX_LINE: usize = 256 << 10;
/// The longest proof, in hashes: more than any tree needs.
const MAX_PROOF: usize = 128;

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A JSON object a line.
    Jsonl,
    /// Comma-separated values (RFC 4180); the manifest stands after `#`.
    Csv,
    /// Apache Parquet; see [`parquet`].
    Parquet,
}

impl Format {
    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jsonl => "application/jsonl",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// The end of a file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
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
    /// A row group of a Parquet file is not one of an export.
    #[error("the row group of row {0} is not one of an export")]
    Group(u64),
    /// A Parquet file's footer does not describe its row groups.
    #[error("the export's footer does not describe the rows before it")]
    Footer,
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
    form: Form,
    hasher: Sha256,
    entries: u64,
}

#[derive(Clone)]
enum Form {
    Lines(Text),
    Table(Table),
}

impl Form {
    fn new(format: Format) -> Self {
        match format {
            Format::Jsonl => Self::Lines(Text::Jsonl),
            Format::Csv => Self::Lines(Text::Csv),
            Format::Parquet => Self::Table(Table::new()),
        }
    }
}

impl Writer {
    /// An export in this format, and what it begins with.
    pub fn new(format: Format) -> (Self, Vec<u8>) {
        let mut writer = Self { form: Form::new(format), hasher: Sha256::new(), entries: 0 };
        let start = match format {
            Format::Jsonl => Vec::new(),
            Format::Csv => format!("{CSV_HEADER}\n").into_bytes(),
            Format::Parquet => parquet::MAGIC.to_vec(),
        };
        writer.hasher.update(&start);
        (writer, start)
    }

    /// Takes the next entry, and adds to `out` what can be sent by now.
    ///
    /// # Errors
    /// Where the bytes are no entry.
    pub fn entry(&mut self, line: &Line, out: &mut Vec<u8>) -> Result<(), entry::Error> {
        let entry = Entry::decode(&line.bytes)?;
        let before = out.len();
        match &mut self.form {
            Form::Lines(text) => out.extend_from_slice(render(*text, line, &entry).as_bytes()),
            Form::Table(table) => {
                table.row(line, &entry);
                if table.is_full() {
                    table.close_group(out);
                }
            }
        }
        self.hasher.update(&out[before..]);
        self.entries += 1;
        Ok(())
    }

    /// The end, with the manifest.
    ///
    /// # Errors
    /// [`checkpoint::Error::BadOrigin`].
    pub fn finish(
        mut self,
        filter: &Filter,
        origin: &str,
        checkpoint: &[u8],
        key: &SigningKey,
    ) -> Result<Vec<u8>, checkpoint::Error> {
        let mut out = Vec::new();
        if let Form::Table(table) = &mut self.form {
            table.close_group(&mut out);
            self.hasher.update(&out);
        }
        let filter = serde_json::to_string(filter).unwrap_or_default();
        let text = format!(
            "{FIRST_LINE}\norigin {origin}\nfilter {filter}\nentries {}\nsha256 {}\n",
            self.entries,
            hex::encode(self.hasher.finish())
        );
        let note = checkpoint::sign_note(origin, text.as_bytes(), key)?;
        let [note, checkpoint] = [&note[..], checkpoint].map(String::from_utf8_lossy);
        let manifest = json!({ "manifest": note, "checkpoint": checkpoint }).to_string();
        out.extend(match self.form {
            Form::Lines(Text::Jsonl) => format!("{manifest}\n").into_bytes(),
            Form::Lines(Text::Csv) => format!("# {manifest}\n").into_bytes(),
            Form::Table(table) => table.footer(&manifest),
        });
        Ok(out)
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
    /// Reads the last line of an export, without its newline; of a Parquet file, what its footer
    /// holds as the manifest.
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

/// Checks an export line by line, or row group by row group, in constant memory, against its
/// manifest.
pub struct Reader {
    manifest: Manifest,
    form: Form,
    hasher: Sha256,
    /// The line or row, from 1.
    line: u64,
    entries: u64,
    last: Option<u64>,
}

impl Reader {
    /// A check of the export that this manifest is of.
    pub fn new(manifest: Manifest, format: Format) -> Self {
        let mut hasher = Sha256::new();
        if format == Format::Parquet {
            hasher.update(parquet::MAGIC);
        }
        Self { manifest, form: Form::new(format), hasher, line: 0, entries: 0, last: None }
    }

    /// Takes the next line of a text, with its newline; the manifest's own is not given. Returns the
    /// entry.
    ///
    /// # Errors
    /// The [`Error`] that this line shows.
    pub fn line(&mut self, text: &str) -> Result<Option<(u64, Entry)>, Error> {
        self.line += 1;
        let line = self.line;
        self.hasher.update(text.as_bytes());
        let Form::Lines(form) = self.form else { return Err(Error::Line(line)) };
        if form == Text::Csv && line == 1 {
            return if text.trim_end() == CSV_HEADER { Ok(None) } else { Err(Error::Line(1)) };
        }
        let parsed = parse(form, text.trim_end_matches('\n')).ok_or(Error::Line(line))?;
        let entry = self.entry(&parsed)?;
        if render(form, &parsed, &entry) != text {
            return Err(Error::Entry { line, index: parsed.index, cause: EntryFault::Columns });
        }
        Ok(Some((parsed.index, entry)))
    }

    /// Takes the next row group of a Parquet file, and gives `each` its entries.
    ///
    /// # Errors
    /// The [`Error`] that this row group shows.
    pub fn group(&mut self, bytes: &[u8], mut each: impl FnMut(u64, &Entry)) -> Result<(), Error> {
        let first = self.line + 1;
        self.hasher.update(bytes);
        let lines = parquet::rows(bytes).ok_or(Error::Group(first))?;
        for line in &lines {
            self.line += 1;
            let entry = self.entry(line)?;
            if let Form::Table(table) = &mut self.form {
                table.row(line, &entry);
            }
            each(line.index, &entry);
        }
        let mut made = Vec::with_capacity(bytes.len());
        if let Form::Table(table) = &mut self.form {
            table.close_group(&mut made);
        }
        if made == bytes { Ok(()) } else { Err(Error::Group(first)) }
    }

    /// Compares a Parquet file's end, from behind the last row group on, with what it has to be.
    ///
    /// # Errors
    /// [`Error::Footer`].
    pub fn footer(&self, end: &[u8], manifest: &str) -> Result<(), Error> {
        match &self.form {
            Form::Table(table) if table.footer(manifest) == end => Ok(()),
            _ => Err(Error::Footer),
        }
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

    /// What holds of every entry in whatever format.
    fn entry(&mut self, parsed: &Line) -> Result<Entry, Error> {
        let (line, index) = (self.line, parsed.index);
        let wrong = |cause| Error::Entry { line, index, cause };
        if let Some(before) = self.last.filter(|last| *last >= index) {
            return Err(Error::Order { line, index, before });
        }
        let head = self.manifest.checkpoint.head;
        verify_inclusion(&leaf_hash(&parsed.bytes), index, &head, &parsed.proof)
            .map_err(|e| wrong(e.into()))?;
        let entry = Entry::decode(&parsed.bytes).map_err(|e| wrong(e.into()))?;
        if !self.manifest.filter.matches(&entry) {
            return Err(wrong(EntryFault::NotAsked));
        }
        self.last = Some(index);
        self.entries += 1;
        Ok(entry)
    }
}

/// How a line is written.
#[derive(Clone, Copy, PartialEq)]
enum Text {
    Jsonl,
    Csv,
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

fn render(text: Text, line: &Line, entry: &Entry) -> String {
    let (attributes, commitments) = describe(entry);
    let bytes = BASE64_STANDARD.encode(&line.bytes);
    let proof: Vec<String> = line.proof.iter().map(|h| BASE64_STANDARD.encode(h.0)).collect();
    let (index, time, kind) = (line.index, entry.time.rfc3339(), entry.kind.name());
    match text {
        Text::Jsonl => {
            let row = json!({
                "index": index, "time": time, "kind": kind, "attributes": attributes,
                "commitments": commitments, "entry": bytes, "proof": proof,
            });
            format!("{row}\n")
        }
        Text::Csv => {
            let quoted = |v: &Value| format!("\"{}\"", v.to_string().replace('"', "\"\""));
            let (a, c) = (quoted(&attributes), quoted(&commitments));
            let mut row = format!("{index},{time},{kind},{a},{c},{bytes},");
            let _ = writeln!(row, "{}", proof.join(" "));
            row
        }
    }
}

fn parse(form: Text, text: &str) -> Option<Line> {
    let (index, bytes, proof) = match form {
        Text::Jsonl => {
            #[derive(Deserialize)]
            struct Row {
                index: u64,
                entry: String,
                proof: Vec<String>,
            }
            let row: Row = serde_json::from_str(text).ok()?;
            (row.index, row.entry, row.proof)
        }
        Text::Csv => {
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
    Some(Line { index, bytes, proof: proof.filter(|p| p.len() <= MAX_PROOF)? })
}

#[cfg(test)]
mod tests;
