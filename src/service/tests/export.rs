//! An export streams: whatever its size, no more of it is in memory than a piece.
//!
//! `CAMEO_EXPORT_ENTRIES=1000000 cargo test --lib an_export_streams -- --nocapture` is the long form.

use futures::TryStreamExt as _;

use super::fixture::Fixture;
use crate::domain::access::Role;
use crate::run_tx;
use crate::service::access::Caller;
use crate::service::ledger::Note;
use crate::store::Engine;
use crate::tlog::export::Format;
use crate::tlog::{Filter, Kind};

const AT_ONCE: u64 = 5000;
/// A page of entries as text, or a row group.
const LARGEST_PIECE: usize = 8 << 20;
/// What may be held besides: pages of the database, and the prover's tiles, which are bounded.
const GROWTH: u64 = 96 << 20;

/// This process's memory in bytes.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_streams_in_constant_memory() {
    let wanted = std::env::var("CAMEO_EXPORT_ENTRIES").ok().and_then(|n| n.parse().ok());
    let wanted: u64 = wanted.unwrap_or(20_000);
    let f = Fixture::new(Engine::Sqlite).await.unwrap();
    let services = &f.services;
    for _ in 0..wanted.div_ceil(AT_ONCE) {
        run_tx!(services.db(), "test.fill", |tx| {
            let mut ledger = services.ledger(tx).await?;
            for n in 0..AT_ONCE {
                let note = Note::new(Kind::ResolveAllowed).public("purpose", "social");
                ledger.add(note.public("generator", format!("key_{n:026}")))?;
            }
            ledger.write(tx).await
        })
        .unwrap();
    }
    services.publish().await.unwrap();
    let (key, _) = services.create_key(Role::Auditor, "auditor").await.unwrap();
    let auditor = Caller { key: key.id, role: Role::Auditor };
    for format in [Format::Jsonl, Format::Csv, Format::Parquet] {
        let filter = Filter { kinds: vec!["resolve_allowed".into()], ..Filter::default() };
        let before = resident();
        let pieces = services.export(&auditor, filter, format).await.unwrap();
        let mut pieces = Box::pin(pieces);
        let (mut all, mut largest, mut most) = (0, 0, before);
        while let Some(piece) = pieces.try_next().await.unwrap() {
            all += piece.len();
            largest = largest.max(piece.len());
            most = most.max(resident());
        }
        let grown = most - before;
        println!("{wanted} entries as {format:?}: {all} bytes, memory grew by {grown} bytes");
        assert!(all as u64 > wanted * 400 && largest <= LARGEST_PIECE, "{largest} of {all}");
        // Other tests take memory too where they run beside this one; then it says nothing.
        assert!(grown < GROWTH || wanted < 100_000, "{grown}");
    }
}
