//! Exports as Apache Parquet, written in row groups so that memory stays flat.
//!
//! The plainest file that every reader takes: required columns, one page a column and row group,
//! `PLAIN` encoding, no compression, no statistics. So the bytes follow from the rows alone, and a
//! check makes them anew and compares. The manifest stands in the footer's key-value metadata.
//! Field ids and enumerations are those of `parquet.thrift` (Apache Parquet format 2).

use std::io::{self, Read, Seek, SeekFrom};

use super::thrift::{Fields, Value, structure};
use super::{Error, Format, Line, Manifest, Reader, describe};
use crate::tlog::LogKey;
use crate::tlog::entry::Entry;

/// What a file begins and ends with.
pub const MAGIC: &[u8; 4] = b"PAR1";
/// The largest footer that is read, in bytes: that of tens of millions of entries.
const MAX_FOOTER: usize = 4 << 20;
/// The largest row group that is read, in bytes.
pub(super) const MAX_GROUP: usize = 16 << 20;

/// A row group is closed when it has so many rows or bytes.
const GROUP_ROWS: usize = 8192;
const GROUP_BYTES: usize = 4 << 20;

const INT64: i32 = 2;
const BYTE_ARRAY: i32 = 6;
const REQUIRED: i32 = 0;
const UTF8: Option<i32> = Some(0);
const TIMESTAMP_MILLIS: Option<i32> = Some(9);
const UINT_64: Option<i32> = Some(14);
const PLAIN: i32 = 0;
const RLE: i32 = 3;

struct Column {
    name: &'static str,
    physical: i32,
    converted: Option<i32>,
}

const COLUMNS: [Column; 7] = [
    Column { name: "index", physical: INT64, converted: UINT_64 },
    Column { name: "time", physical: INT64, converted: TIMESTAMP_MILLIS },
    Column { name: "kind", physical: BYTE_ARRAY, converted: UTF8 },
    Column { name: "attributes", physical: BYTE_ARRAY, converted: UTF8 },
    Column { name: "commitments", physical: BYTE_ARRAY, converted: UTF8 },
    Column { name: "entry", physical: BYTE_ARRAY, converted: None },
    Column { name: "proof", physical: BYTE_ARRAY, converted: None },
];
const INDEX: usize = 0;
const ENTRY: usize = 5;
const PROOF: usize = 6;

/// The name under which the manifest stands.
const MANIFEST: &str = "cameo.manifest";
/// Not the program's version: the same rows make the same file whoever wrote it.
const CREATED_BY: &str = "cameo log export v1";

/// Where the columns of a row group lie.
#[derive(Clone)]
struct Group {
    rows: usize,
    start: usize,
    /// Each column's bytes, with its page's header.
    sizes: [usize; COLUMNS.len()],
}

/// A table in the making.
#[derive(Clone)]
pub(super) struct Table {
    groups: Vec<Group>,
    /// How many bytes were written.
    at: usize,
    rows: usize,
    /// The values of the row group that is not closed yet, column by column.
    open: [Vec<u8>; COLUMNS.len()],
}

impl Table {
    /// A table that comes after [`MAGIC`].
    pub(super) fn new() -> Self {
        Self { groups: Vec::new(), at: MAGIC.len(), rows: 0, open: Default::default() }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, line: &Line, entry: &Entry) {
        let (attributes, commitments) = describe(entry);
        let [index, time, kind, a, c, bytes, proof] = &mut self.open;
        index.extend_from_slice(&line.index.to_le_bytes());
        time.extend_from_slice(&entry.time.0.to_le_bytes());
        let text = |column: &mut Vec<u8>, parts: &[&[u8]]| {
            let length: usize = parts.iter().map(|p| p.len()).sum();
            column.extend_from_slice(&(length as u32).to_le_bytes());
            parts.iter().for_each(|part| column.extend_from_slice(part));
        };
        text(kind, &[entry.kind.name().as_bytes()]);
        text(a, &[attributes.to_string().as_bytes()]);
        text(c, &[commitments.to_string().as_bytes()]);
        text(bytes, &[&line.bytes]);
        let hashes: Vec<&[u8]> = line.proof.iter().map(|hash| &hash.0[..]).collect();
        text(proof, &hashes);
        self.rows += 1;
    }

    /// Whether the row group should be closed.
    pub(super) fn is_full(&self) -> bool {
        self.rows >= GROUP_ROWS || self.open.iter().map(Vec::len).sum::<usize>() >= GROUP_BYTES
    }

    /// Closes the row group and adds its bytes to `out`. Nothing where it has no rows.
    pub(super) fn close_group(&mut self, out: &mut Vec<u8>) {
        if self.rows == 0 {
            return;
        }
        let (start, rows) = (self.at, std::mem::take(&mut self.rows));
        let mut sizes = [0; COLUMNS.len()];
        for (values, size) in self.open.iter_mut().zip(&mut sizes) {
            let before = out.len();
            structure(out, |f| page_header(f, rows, values.len()));
            out.append(values);
            *size = out.len() - before;
        }
        self.at += sizes.iter().sum::<usize>();
        self.groups.push(Group { rows, start, sizes });
    }

    /// The end of the file, after the last row group: the metadata, its length, and [`MAGIC`].
    pub(super) fn footer(&self, manifest: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let rows: usize = self.groups.iter().map(|g| g.rows).sum();
        structure(&mut out, |f| {
            f.i32(1, 1);
            f.structs(2, &schema(), |column, f| match column {
                None => {
                    f.text(4, "entries").i32(5, COLUMNS.len() as i32);
                }
                Some(c) => {
                    f.i32(1, c.physical).i32(3, REQUIRED).text(4, c.name);
                    if let Some(converted) = c.converted {
                        f.i32(6, converted);
                    }
                }
            });
            f.i64(3, rows as i64);
            f.structs(4, &self.groups, row_group);
            f.structs(5, &[(MANIFEST, manifest)], |(key, value), f| {
                f.text(1, key).text(2, value);
            });
            f.text(6, CREATED_BY);
        });
        let length = out.len() as u32;
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(MAGIC);
        out
    }
}

/// The root, then the columns.
fn schema() -> Vec<Option<&'static Column>> {
    std::iter::once(None).chain(COLUMNS.iter().map(Some)).collect()
}

fn page_header(f: &mut Fields<'_>, rows: usize, bytes: usize) {
    f.i32(1, 0).i32(2, bytes as i32).i32(3, bytes as i32);
    f.nested(5, |f| {
        f.i32(1, rows as i32).i32(2, PLAIN).i32(3, RLE).i32(4, RLE);
    });
}

fn row_group(group: &Group, f: &mut Fields<'_>) {
    let starts = group.sizes.iter().scan(group.start, |at, size| {
        *at += size;
        Some(*at - size)
    });
    let columns: Vec<_> = COLUMNS.iter().zip(starts).zip(group.sizes).collect();
    f.structs(1, &columns, |((column, start), size), f| {
        let (start, size) = (*start as i64, *size as i64);
        f.i64(2, start).nested(3, |f| {
            f.i32(1, column.physical).i32s(2, &[PLAIN, RLE]).texts(3, &[column.name]).i32(4, 0);
            f.i64(5, group.rows as i64).i64(6, size).i64(7, size).i64(9, start);
        });
    });
    f.i64(2, group.sizes.iter().sum::<usize>() as i64).i64(3, group.rows as i64);
}

/// Checks a Parquet export in constant memory; `each` gets every entry, and `progress` is told how
/// many of how many bytes were read. What is wrong with the export is the inner error.
///
/// # Errors
/// Those of the source.
pub fn check<S: Read + Seek>(
    source: &mut S,
    keys: &[LogKey],
    mut each: impl FnMut(u64, &Entry),
    mut progress: impl FnMut(u64, u64),
) -> io::Result<Result<Manifest, Error>> {
    let length = source.seek(SeekFrom::End(0))?;
    let Some(end) = end(source, length)? else { return Ok(Err(Error::NoManifest)) };
    let Some(footer) = Footer::read(&end[..end.len() - TAIL]) else {
        return Ok(Err(Error::NoManifest));
    };
    let body = length - end.len() as u64;
    let groups: u64 = footer.groups.iter().map(|n| *n as u64).sum();
    if groups + MAGIC.len() as u64 != body {
        return Ok(Err(Error::Footer));
    }
    let mut reader = match Manifest::open(&footer.manifest, keys) {
        Ok(manifest) => Reader::new(manifest, Format::Parquet),
        Err(e) => return Ok(Err(e)),
    };
    source.seek(SeekFrom::Start(0))?;
    let mut group = vec![0; MAGIC.len()];
    source.read_exact(&mut group)?;
    if group != MAGIC {
        return Ok(Err(Error::Group(1)));
    }
    let mut at = MAGIC.len() as u64;
    for size in &footer.groups {
        group.resize(*size, 0);
        source.read_exact(&mut group)?;
        if let Err(e) = reader.group(&group, &mut each) {
            return Ok(Err(e));
        }
        at += *size as u64;
        progress(at, body);
    }
    Ok(reader.footer(&end, &footer.manifest).and_then(|()| reader.finish()))
}

/// The length of the metadata, and [`MAGIC`].
const TAIL: usize = 8;

/// The metadata and what comes after it; `None` where the file does not end so.
fn end<S: Read + Seek>(source: &mut S, length: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(at) = length.checked_sub(TAIL as u64) else { return Ok(None) };
    source.seek(SeekFrom::Start(at))?;
    let mut tail = [0; TAIL];
    source.read_exact(&mut tail)?;
    let [a, b, c, d, magic @ ..] = tail;
    let metadata = u32::from_le_bytes([a, b, c, d]) as usize;
    let Some(start) = at.checked_sub(metadata as u64).filter(|s| *s >= MAGIC.len() as u64) else {
        return Ok(None);
    };
    if magic != *MAGIC || metadata > MAX_FOOTER {
        return Ok(None);
    }
    source.seek(SeekFrom::Start(start))?;
    let mut end = vec![0; metadata + TAIL];
    source.read_exact(&mut end)?;
    Ok(Some(end))
}

/// What the footer says, before anything vouches for it.
pub(super) struct Footer {
    /// The manifest.
    pub(super) manifest: String,
    /// How many bytes each row group has; they lie one after another from [`MAGIC`] on.
    pub(super) groups: Vec<usize>,
}

impl Footer {
    /// Reads the metadata between the last row group and its own length.
    pub(super) fn read(mut metadata: &[u8]) -> Option<Self> {
        let file = Value::read(&mut metadata).filter(|_| metadata.is_empty())?;
        let mut pairs = file.list(5)?.iter();
        let manifest = pairs.find(|pair| pair.text(1) == Some(MANIFEST))?.text(2)?.to_owned();
        let groups = file.list(4)?.iter().map(|g| g.count(2).filter(|n| *n <= MAX_GROUP));
        Some(Self { manifest, groups: groups.collect::<Option<_>>()? })
    }
}

/// The rows of a row group: index, entry and proof, from which everything else follows.
pub(super) fn rows(mut group: &[u8]) -> Option<Vec<Line>> {
    let mut pages = Vec::with_capacity(COLUMNS.len());
    for _ in &COLUMNS {
        let header = Value::read(&mut group)?;
        let (values, rest) = group.split_at_checked(header.count(3)?)?;
        pages.push(values);
        group = rest;
    }
    let (mut entries, mut proofs) = (pages[ENTRY], pages[PROOF]);
    let (indices, odd) = pages[INDEX].as_chunks::<8>();
    let lines = indices.iter().map(|index| {
        let (hashes, odd) = byte_array(&mut proofs)?.as_chunks::<32>();
        let fits = odd.is_empty() && hashes.len() <= super::MAX_PROOF;
        Some(Line {
            index: u64::from_le_bytes(*index),
            bytes: byte_array(&mut entries)?.to_vec(),
            proof: fits.then(|| hashes.iter().copied().map(crate::tlog::Hash).collect())?,
        })
    });
    let lines = lines.collect::<Option<_>>()?;
    (odd.is_empty() && group.is_empty() && entries.is_empty() && proofs.is_empty()).then_some(lines)
}

fn byte_array<'i>(column: &mut &'i [u8]) -> Option<&'i [u8]> {
    let (length, rest) = column.split_first_chunk::<4>()?;
    let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *column = rest;
    Some(value)
}
