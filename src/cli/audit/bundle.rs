//! Checks an export that stands alone.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::source::bar;
use crate::tlog::LogKey;
use crate::tlog::entry::Entry;
use crate::tlog::export::{Format, MAX_LINE, Manifest, Reader, parquet};

/// Checks the export in `file` in constant memory; `each` gets every entry. What is wrong with the
/// export is the inner error.
pub(super) fn check(
    file: &Path,
    keys: &[LogKey],
    mut each: impl FnMut(u64, &Entry),
) -> Result<Result<Manifest, String>> {
    let mut source = File::open(file).with_context(|| format!("can't read {}", file.display()))?;
    let length = source.metadata()?.len();
    let mut start = Vec::new();
    (&mut source).take(parquet::MAGIC.len() as u64).read_to_end(&mut start)?;
    if start == parquet::MAGIC {
        let progress = bar("bytes");
        let found = parquet::check(&mut source, keys, each, |at, all| {
            progress.set_length(all);
            progress.set_position(at);
        });
        progress.finish_and_clear();
        return Ok(found.context("the export")?.map_err(|e| e.to_string()));
    }
    // The manifest is the last line; it says what the others have to lead to.
    let tail = length.min(MAX_LINE as u64);
    source.seek(SeekFrom::Start(length - tail))?;
    let mut end = String::new();
    if source.read_to_string(&mut end).is_err() {
        bail!("{} is not text: no export", file.display());
    }
    let Some(body) = end.strip_suffix('\n') else {
        return Ok(Err("the export is cut off: its last line has no end".into()));
    };
    let last = body.rsplit('\n').next().unwrap_or_default();
    let manifest = match Manifest::open(last, keys) {
        Ok(manifest) => manifest,
        Err(e) => return Ok(Err(e.to_string())),
    };
    let body = length - last.len() as u64 - 1;
    source.seek(SeekFrom::Start(0))?;
    let mut source = BufReader::with_capacity(1 << 20, source).take(body);
    let format = if last.starts_with('#') { Format::Csv } else { Format::Jsonl };
    let mut reader = Reader::new(manifest, format);
    let progress = bar("bytes");
    progress.set_length(body);
    let mut line = String::new();
    loop {
        line.clear();
        let read =
            (&mut source).take(MAX_LINE as u64).read_line(&mut line).context("the export")?;
        if read == 0 {
            break;
        }
        match reader.line(&line) {
            Ok(Some((index, entry))) => each(index, &entry),
            Ok(None) => {}
            Err(e) => return Ok(Err(e.to_string())),
        }
        progress.inc(read as u64);
    }
    progress.finish_and_clear();
    Ok(reader.finish().map_err(|e| e.to_string()))
}
