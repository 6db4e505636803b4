//! Publishing the log: tiles from committed entries, cosignatures from witnesses, then the
//! checkpoint.
//!
//! The database decides what the log is; this shows it to the world and can be cut off anywhere
//! and repeated. What contradicts what was published before is never published over: it is a
//! fatal error, which an operator has to look into.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::MutexGuard;
use tokio_util::sync::CancellationToken;

use super::ledger::frontier;
use super::selfaudit::own_head;
use super::{Error, Inner, Result, Services};
use crate::outbound::Outbound;
use crate::outbound::bucket::Bucket;
use crate::store::log;
use crate::store::published;
use crate::tlog::publish::{self, Builder, Folder, Tiles};
use crate::tlog::tile::{CHECKPOINT, Tile};
use crate::tlog::witness::{Request, WitnessKey, add_lines};
use crate::tlog::{Hash, LogKey, Prover, TreeHead, checkpoint};

/// How the log is published.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// Where tiles and checkpoint lie, to be served as they are.
    pub shelf: Shelf,
    /// Whether everyone may read the entries, and not only the hashes.
    pub public_entries: bool,
    /// How often is published.
    pub every: Duration,
    /// How often the self-audit runs.
    pub audit_every: Duration,
    /// Who is asked for cosignatures.
    pub witnesses: Vec<Witness>,
    /// How many cosignatures a checkpoint needs to be published.
    pub quorum: usize,
    /// The logs that this service is a witness of.
    pub witness_for: Vec<LogKey>,
    /// How witnesses are reached.
    pub outbound: Outbound,
}

/// Where tiles lie.
#[derive(Clone, Debug)]
pub enum Shelf {
    /// As files. Processes that share the folder take turns.
    Folder(Folder),
    /// In an object store, which keeps processes apart by conditional writes.
    Bucket(Bucket),
}

impl Shelf {
    /// The folder, where it is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(folder) => Some(folder.path()),
            Self::Bucket(_) => None,
        }
    }

    fn tiles(&self) -> &dyn Tiles {
        match self {
            Self::Folder(folder) => folder,
            Self::Bucket(bucket) => bucket,
        }
    }
}

impl Tiles for Shelf {
    fn get(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        self.tiles().get(path)
    }

    fn put(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.tiles().put(path, bytes)
    }

    fn create(&self, path: &str, bytes: &[u8]) -> io::Result<bool> {
        self.tiles().create(path, bytes)
    }

    fn replace(&self, path: &str, old: Option<&[u8]>, new: &[u8]) -> io::Result<bool> {
        self.tiles().replace(path, old, new)
    }

    fn drop_partials(&self, full: &Tile) -> io::Result<()> {
        self.tiles().drop_partials(full)
    }
}

impl std::fmt::Display for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => folder.path().display().fmt(f),
            Self::Bucket(bucket) => f.write_str(bucket.url()),
        }
    }
}

/// A witness that is asked.
#[derive(Clone, Debug)]
pub struct Witness {
    /// Its submission prefix.
    pub url: String,
    /// Its key.
    pub key: WitnessKey,
}

/// Why the log was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The tiles.
    #[error(transparent)]
    Tiles(#[from] publish::Error),
    /// The published checkpoint is not one of this log's key.
    #[error("the published checkpoint is not signed by this log's key: {0}")]
    Foreign(checkpoint::Error),
    /// More was published than there is.
    #[error("{published} entries were published, but the log has {size}: it was cut off")]
    CutOff {
        /// What was published.
        published: u64,
        /// What is there.
        size: u64,
    },
    /// Something else was published.
    #[error("another log of {size} entries was published: the log was forked")]
    Forked {
        /// The size.
        size: u64,
    },
    /// Too few witnesses cosigned; the checkpoint waits.
    #[error("{got} of {needed} witnesses cosigned: the checkpoint is not published yet")]
    Quorum {
        /// How many did.
        got: usize,
        /// How many have to.
        needed: usize,
    },
    /// The store or this process.
    #[error(transparent)]
    Service(#[from] Error),
}

impl PublishError {
    /// Whether trying again makes no sense.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Tiles(e) => e.is_fatal(),
            Self::Foreign(_) | Self::CutOff { .. } | Self::Forked { .. } => true,
            Self::Quorum { .. } | Self::Service(_) => false,
        }
    }
}

impl From<crate::store::Error> for PublishError {
    fn from(e: crate::store::Error) -> Self {
        Self::Service(e.into())
    }
}

impl From<PublishError> for Error {
    fn from(e: PublishError) -> Self {
        match e {
            PublishError::Service(e) => e,
            e if e.is_fatal() => Self::Internal(format!("the log: {e}")),
            PublishError::Quorum { .. } => Self::Unavailable("too few witnesses cosigned"),
            _ => Self::Unavailable("the log's tiles can't be read or written"),
        }
    }
}

/// What this process knows of what is published.
#[derive(Debug)]
pub(super) struct Publication {
    shelf: Shelf,
    /// The right edge of the tiles; one publishes at a time.
    edge: tokio::sync::Mutex<Option<Builder>>,
    prover: RwLock<Option<Arc<Prover>>>,
}

/// Entries that are read at once.
const PAGE: u32 = 2048;

impl Publication {
    pub(super) fn new(settings: &LogSettings) -> Self {
        let shelf = settings.shelf.clone();
        Self { shelf, edge: tokio::sync::Mutex::default(), prover: RwLock::default() }
    }
}

impl Services {
    /// Publishes until `stop`.
    pub async fn publish_until(&self, stop: CancellationToken) {
        let every = self.settings().log.every;
        while tokio::time::timeout(every, stop.cancelled()).await.is_err() {
            let done = self.publish().await;
            let fatal = done.as_ref().is_err_and(PublishError::is_fatal);
            metrics::gauge!("cameo_log_publish_fatal").set(f64::from(u8::from(fatal)));
            match done {
                Ok(_) => {}
                Err(e) if fatal => {
                    tracing::error!(error = %e, "the log is not published any more: look into it");
                    // It won't mend itself, and the line above need not fill the disk.
                    let _ = tokio::time::timeout(every * 60, stop.cancelled()).await;
                }
                Err(e) => tracing::warn!(error = %e, "the log was not published; tried again"),
            }
        }
    }
}

impl Inner {
    /// Publishes the log as it is committed now, and returns its head. Nothing happens where that
    /// is published already.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish(&self) -> Result<TreeHead, PublishError> {
        let (mut edge, _alone) = self.publication_still().await?;
        // In this order: where nothing keeps others from publishing, they may do so in between, and
        // what they show is in the database before.
        let (published, shown) = self.published_head().await?;
        let (head, mut note) = self.signed_head().await?;
        if head.size == 0 {
            return Ok(head);
        }
        if published.size > head.size {
            return Err(PublishError::CutOff { published: published.size, size: head.size });
        }
        if published == head && self.publication.prover_of(&head).is_some() {
            return Ok(head);
        }
        if published.size == head.size && published.root != head.root {
            return Err(PublishError::Forked { size: head.size });
        }
        let builder = match edge.take().filter(|b| b.head() == published) {
            Some(builder) => builder,
            None => self.resume_edge(published).await?,
        };
        let builder = self.write_tiles(builder, head).await?;
        let prover = self.make_prover(head).await?;
        *edge = Some(builder);
        if published != head {
            let got = self.collect_cosignatures(&prover, &mut note).await?;
            let needed = self.settings().log.quorum;
            if got < needed {
                self.publication.set(prover);
                return Err(PublishError::Quorum { got, needed });
            }
            self.keep_published(head, &note).await?;
            let shelf = self.publication.shelf.clone();
            let replace = move || publish::put_checkpoint(&shelf, shown.as_deref(), &note);
            blocking(move || Ok(replace()?)).await?;
            metrics::gauge!("cameo_log_published_size").set(head.size as f64);
        }
        self.publication.set(prover);
        Ok(head)
    }

    /// The tiles.
    pub fn tiles(&self) -> &Shelf {
        &self.publication.shelf
    }

    /// A prover for the log as it is committed now.
    pub(super) async fn prover(&self) -> Result<Arc<Prover>> {
        let head = match self.publish().await {
            Ok(head) => head,
            // The tiles are there; only the world has not seen the checkpoint yet.
            Err(PublishError::Quorum { .. } | PublishError::Tiles(publish::Error::Overtaken)) => {
                self.signed_head().await?.0
            }
            Err(e) => return Err(e.into()),
        };
        match self.publication.prover_of(&head) {
            Some(prover) => Ok(prover),
            None => Ok(self.make_prover(head).await?),
        }
    }

    /// The head that was signed last, and its checkpoint.
    pub(super) async fn signed_head(&self) -> Result<(TreeHead, Vec<u8>)> {
        let mut tx = self.db().snapshot().await?;
        let head = frontier(&log::head(&mut tx).await?)?.head();
        let kept = log::checkpoint(&mut tx).await?;
        let keys = [self.signing.log_key()?];
        // Signed anew where the log's name has changed since.
        let good = |note: &Vec<u8>| checkpoint::open(note, &keys).is_ok_and(|c| c.head == head);
        match kept.map(|(_, note)| note).filter(good) {
            Some(note) => Ok((head, note)),
            None => Ok((head, self.signing.sign(&head)?)),
        }
    }

    /// What the published checkpoint says, and itself.
    pub(super) async fn published_head(&self) -> Result<(TreeHead, Option<Vec<u8>>), PublishError> {
        let shelf = self.publication.shelf.clone();
        let note =
            blocking(move || Ok(shelf.get(CHECKPOINT).map_err(publish::Error::from)?)).await?;
        let head = match &note {
            None => crate::tlog::Frontier::new().head(),
            Some(note) => {
                own_head(note, self.signing.verifying_key()).map_err(PublishError::Foreign)?
            }
        };
        Ok((head, note))
    }

    /// While this is held nothing is published, by this process or by another one that shares the
    /// folder: a checkpoint must never be replaced by an older one. In a bucket, the condition on
    /// which it is replaced sees to that.
    pub(super) async fn publication_still(
        &self,
    ) -> Result<(MutexGuard<'_, Option<Builder>>, Option<File>), PublishError> {
        let edge = self.publication.edge.lock().await;
        let Shelf::Folder(folder) = self.publication.shelf.clone() else {
            return Ok((edge, None));
        };
        let alone = blocking(move || Ok(folder.lock().map_err(publish::Error::from)?)).await?;
        Ok((edge, Some(alone)))
    }

    async fn resume_edge(&self, published: TreeHead) -> Result<Builder, PublishError> {
        let shelf = self.publication.shelf.clone();
        blocking(move || {
            let builder = Builder::resume(&shelf, published.size)?;
            if builder.head() == published {
                Ok(builder)
            } else {
                Err(publish::Error::WrongRoot { size: published.size }.into())
            }
        })
        .await
    }

    async fn write_tiles(
        &self,
        mut builder: Builder,
        head: TreeHead,
    ) -> Result<Builder, PublishError> {
        while builder.size() < head.size {
            let from = builder.size();
            let page = log::entries(&mut self.db().read().await?, from, head.size, PAGE).await?;
            if page.is_empty() {
                return Err(PublishError::CutOff { published: head.size, size: from });
            }
            let shelf = self.publication.shelf.clone();
            builder = blocking(move || {
                let mut sink = |tile, bytes: Vec<u8>| publish::put_tile(&shelf, &tile, &bytes);
                for e in &page {
                    builder.push(&e.entry, crate::tlog::leaf_hash(&e.entry), &mut sink)?;
                }
                Ok(builder)
            })
            .await?;
        }
        if builder.head() != head {
            return Err(publish::Error::WrongRoot { size: head.size }.into());
        }
        let shelf = self.publication.shelf.clone();
        blocking(move || {
            builder.partials(&mut |tile, bytes| publish::put_tile(&shelf, &tile, &bytes))?;
            Ok(builder)
        })
        .await
    }

    async fn make_prover(&self, head: TreeHead) -> Result<Arc<Prover>, PublishError> {
        let tiles = Box::new(self.publication.shelf.clone());
        blocking(move || Ok(Arc::new(Prover::new(tiles, head)?))).await
    }

    /// Asks every witness, all at once, and adds their cosignatures to the note. Returns how many
    /// there are.
    async fn collect_cosignatures(
        &self,
        prover: &Arc<Prover>,
        note: &mut Vec<u8>,
    ) -> Result<usize, PublishError> {
        let settings = &self.settings().log;
        let known = published::witnesses(&mut self.db().read().await?).await?;
        let now = self.clock().now();
        let asking = settings.witnesses.iter().map(|witness| {
            let old = known.iter().find(|w| w.0 == witness.key.name()).map_or(0, |w| w.1);
            let note = note.as_slice();
            async move { (witness, ask(&settings.outbound, witness, prover, note, old, now).await) }
        });
        let mut got = 0;
        let mut cosigned = Vec::new();
        let answers = futures::future::join_all(asking).await;
        for (witness, answer) in answers {
            let name = witness.key.name().to_owned();
            match answer {
                Ok(line) => {
                    add_lines(note, &line);
                    cosigned.push(name);
                    got += 1;
                }
                Err(why) => {
                    metrics::counter!("cameo_log_witness_failures_total").increment(1);
                    tracing::warn!(witness = name, why, "a witness did not cosign");
                }
            }
        }
        let size = prover.head().size;
        crate::run_tx!(self.db(), "log.witnesses", |tx| {
            for name in &cosigned {
                published::set_witness(tx, name, size, now).await?;
            }
            Ok::<_, Error>(())
        })?;
        Ok(got)
    }

    async fn keep_published(&self, head: TreeHead, note: &[u8]) -> Result<()> {
        let now = self.clock().now();
        crate::run_tx!(self.db(), "log.published", |tx| {
            published::insert(tx, head.size, note, now).await?;
            Ok::<_, Error>(())
        })
    }
}

impl Publication {
    fn prover_of(&self, head: &TreeHead) -> Option<Arc<Prover>> {
        let held = self.prover.read().unwrap_or_else(PoisonError::into_inner);
        held.clone().filter(|p| p.head() == *head)
    }

    fn set(&self, prover: Arc<Prover>) {
        *self.prover.write().unwrap_or_else(PoisonError::into_inner) = Some(prover);
    }
}

/// One witness: a conflict says what it cosigned last, and then the proof starts there.
async fn ask(
    outbound: &Outbound,
    witness: &Witness,
    prover: &Arc<Prover>,
    note: &[u8],
    mut old: u64,
    now: crate::env::Millis,
) -> Result<String, String> {
    let url = format!("{}/add-checkpoint", witness.url.trim_end_matches('/'));
    for _ in 0..2 {
        let reading = prover.clone();
        let proof = tokio::task::spawn_blocking(move || reading.consistency(old)).await;
        let proof: Vec<Hash> = proof.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
        let request = Request { old, proof, note: note.to_vec() }.to_bytes();
        let answer = outbound.post(&url, "text/plain; charset=utf-8", &[], request).await;
        let answer = answer.map_err(|e| e.to_string())?;
        match answer.status {
            200 => {
                return witness.key.accept(note, &answer.body, now).map_err(|e| e.to_string());
            }
            409 => {
                let size = std::str::from_utf8(&answer.body).ok();
                let size = size.and_then(|t| t.trim().parse().ok());
                old = size.filter(|s| *s != old).ok_or("it knows another log of this size")?;
            }
            422 => return Err("it says that the log does not continue what it saw".into()),
            status => return Err(format!("it answered {status}")),
        }
    }
    Err("it moves on while it is asked".into())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PublishError> + Send + 'static,
) -> Result<T, PublishError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| PublishError::Service(Error::Internal(format!("publishing: {e}"))))?
}
