use super::*;
use crate::env::Millis;
use crate::tlog::Frontier;
use crate::tlog::entry::Kind;
use crate::tlog::proof::{MemoryNodes, Plan};

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

fn export(format: Format) -> Vec<u8> {
    let (lines, note) = lines();
    let (mut writer, mut out) = Writer::new(format);
    for line in &lines {
        writer.entry(line, &mut out).unwrap();
    }
    out.extend(writer.finish(&verdicts(), ORIGIN, &note, &key()).unwrap());
    out
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
        let good = String::from_utf8(export(format)).unwrap();
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
        assert!(matches!(with(&|l| l.swap(first, first + 1)), Err(Error::Order { index: 0, .. })));
        assert!(matches!(
            with(&|l| l.insert(first, l[first].clone())),
            Err(Error::Order { index: 0, before: 0, .. })
        ));
        assert!(matches!(with(&|l| drop(l.pop())), Err(Error::NoManifest)));
        let swapped = with(&|l| l[first] = l[first].replace("verdict", "consent_given"));
        assert!(matches!(swapped, Err(Error::Entry { index: 0, cause: EntryFault::Columns, .. })));
        let moved = with(&|l| {
            let at = if format == Format::Csv { "0," } else { "\"index\":0" };
            let to = if format == Format::Csv { "1," } else { "\"index\":1" };
            l[first] = l[first].replacen(at, to, 1);
        });
        assert!(matches!(moved, Err(Error::Entry { index: 1, cause: EntryFault::Proof(_), .. })));
        let claimed = with(&|l| {
            let last = l.len() - 1;
            l[last] = l[last].replace("entries 5", "entries 4");
        });
        assert!(matches!(claimed, Err(Error::Checkpoint(checkpoint::Error::BadSignature))));
        assert!(matches!(with(&|l| l[first] = "{}\n".into()), Err(Error::Line(_))));
    }
}

fn check_table(file: &[u8]) -> Result<Manifest, Error> {
    parquet::check(&mut std::io::Cursor::new(file), &keys(), |_, _| (), |_, _| ()).unwrap()
}

#[test]
fn a_table_checks_alone_and_every_changed_byte_is_found() {
    let good = export(Format::Parquet);
    let manifest = check_table(&good).unwrap();
    assert_eq!((manifest.entries, manifest.filter), (5, verdicts()));
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(check_table(&bad).is_err(), "byte {at} of {}", good.len());
        assert!(check_table(&good[..at]).is_err(), "the first {at} bytes");
    }
    assert!(check_table(&[&good[..], b"more"].concat()).is_err());
}

#[test]
fn a_table_of_many_row_groups_and_one_of_none() {
    let (line, note) = (lines().0.remove(0), lines().1);
    let (mut writer, mut out) = Writer::new(Format::Parquet);
    let mut held = 0;
    // The same row again and again: what is looked at is the table.
    for _ in 0..20_000 {
        let before = out.len();
        writer.entry(&line, &mut out).unwrap();
        held = held.max(out.len() - before);
    }
    assert!(held > 0 && held <= parquet::MAX_GROUP, "{held}");
    let end = writer.finish(&Filter::default(), ORIGIN, &note, &key()).unwrap();
    let file = [out, end].concat();
    let length = u32::from_le_bytes(file[file.len() - 8..file.len() - 4].try_into().unwrap());
    let footer = &file[file.len() - 8 - length as usize..file.len() - 8];
    let footer = parquet::Footer::read(footer).unwrap();
    assert_eq!(footer.groups.len(), 3);
    let [first, ..] = footer.groups[..] else { panic!() };
    assert_eq!(parquet::rows(&file[4..4 + first]).unwrap(), vec![line; 8192]);
    assert!(matches!(check_table(&file), Err(Error::Order { line: 2, .. })));

    let (writer, out) = Writer::new(Format::Parquet);
    let end = writer.finish(&verdicts(), ORIGIN, &note, &key()).unwrap();
    assert_eq!(check_table(&[out, end].concat()).unwrap().entries, 0);
}

/// The very file that Apache Arrow (pyarrow 26.0.1) has read with examples/auditor/read_export.py.
/// `CAMEO_WRITE_VECTORS=1` writes it anew: then read it elsewhere again.
#[test]
fn the_bytes_are_those_that_another_reader_took() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/export.parquet");
    let made = export(Format::Parquet);
    if std::env::var_os("CAMEO_WRITE_VECTORS").is_some() {
        std::fs::write(path, &made).unwrap();
    }
    assert!(std::fs::read(path).unwrap() == made, "the table's bytes have changed");
}
