//! The use cases: what the app, a generator, a reviewer and an auditor can do.
//!
//! This is where the rooms meet. [`onboard`] issues challenges and takes captures, [`verify`] judges
//! them, [`duplicates`] asks whether a face is enrolled already, [`review`] lets a person decide and [`key_frames`] what they may look at, [`consent`] keeps permissions, [`grants`] those to single
//! people, [`decisions`] says what they come to, [`resolve`] hands out tokens, [`audit`] shows the
//! log, [`publish`] its tiles, and [`selfaudit`] checks it. Every effect and its log entry are one
//! transaction.

pub mod access;
pub mod audit;
pub mod bench;
pub mod capture;
pub mod consent;
pub mod decisions;
pub mod disclosure;
pub mod duplicates;
mod enrol;
mod error;
pub mod export;
mod gallery;
pub mod generators;
pub mod grants;
pub mod graph;
pub mod issue;
pub mod key_frames;
mod ledger;
pub mod lifecycle;
pub mod measure;
pub mod onboard;
pub mod once;
pub mod progress;
pub mod protected;
pub mod publish;
pub mod receipts;
pub mod repeat;
pub mod requests;
pub mod resolve;
pub mod retention;
pub mod review;
pub mod rewrap;
pub mod search;
pub mod selfaudit;
pub mod session;
mod settings;
pub mod signing;
mod spool;
pub mod spread;
pub mod status;
mod subject;
pub mod takedown;
pub mod texts;
pub mod use_receipt;
pub mod uses;
pub mod verify;
pub mod webhooks;
pub mod witness;

use std::sync::Arc;

pub use error::{Error, Result};
pub use settings::{Controller, IdentityRules, Script, Settings};

use crate::crypto::KeyWrap;
use crate::env::{Clock, Entropy};
use crate::infer::Models;
use crate::media::Decoder;
use crate::outbound::Outbound;
use crate::store::Db;
use crate::store::batch::Batcher;

/// Everything that the use cases work with.
#[derive(Debug)]
pub struct Parts {
    /// The database, migrated.
    pub db: Db,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// What wraps every other key.
    pub master: Arc<dyn KeyWrap>,
    /// The models that are installed.
    pub models: Arc<Models>,
    /// The sandboxed decoder.
    pub decoder: Decoder,
    /// Asks the app who follows whom; `None` where the app says so ahead.
    pub graph: Option<Arc<dyn graph::AskGraph>>,
    /// Calls generators' webhooks.
    pub outbound: Outbound,
    /// How it all is set.
    pub settings: Settings,
}

/// The use cases. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Services(Arc<Inner>);

/// What the use cases share.
#[derive(Debug)]
pub struct Inner {
    parts: Parts,
    signing: Arc<signing::Signing>,
    batch: Batcher,
    spool: spool::Spool,
    progress: progress::Hub,
    answers: graph::Cache,
    places: status::Places,
    lookups: access::Lookups,
    gallery: gallery::Gallery,
    /// Wakes the messenger.
    mail: tokio::sync::Notify,
    /// What was deleted may still be on the disk: in SQLite's write-ahead log, in PostgreSQL's dead
    /// rows.
    unscrubbed: std::sync::atomic::AtomicBool,
    /// When PostgreSQL's tables were last rewritten.
    rewritten: std::sync::Mutex<Option<crate::env::Millis>>,
    /// Looks into uploads that may run at once.
    looks: tokio::sync::Semaphore,
    publication: publish::Publication,
    work: tokio::sync::Notify,
}

impl std::ops::Deref for Services {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Services {
    /// Puts the parts together: checks that the master key is the one this database was made with,
    /// and makes the signing keys on the first start. A process that serves calls
    /// [`Inner::recover`] next.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the master key is another one; those of the store.
    pub async fn open(parts: Parts) -> Result<Self> {
        let spool = spool::Spool::open(&parts.settings.capture_dir)?;
        let signing = Arc::new(signing::Signing::open(&parts).await?);
        let batch = Batcher::new(parts.db.clone(), signing.clone().signer_of_batches());
        let publication = publish::Publication::new(&parts.settings.log);
        let workers = parts.settings.workers.max(1);
        // An earlier process may have left it to its sweep.
        let unscrubbed = !parts.settings.rewrite_every.is_zero();
        let services = Self(Arc::new(Inner {
            parts,
            signing,
            batch,
            spool,
            progress: progress::Hub::default(),
            answers: graph::Cache::default(),
            places: status::Places::default(),
            lookups: access::Lookups::default(),
            gallery: gallery::Gallery::default(),
            mail: tokio::sync::Notify::new(),
            unscrubbed: std::sync::atomic::AtomicBool::new(unscrubbed),
            rewritten: std::sync::Mutex::default(),
            looks: tokio::sync::Semaphore::new(workers),
            publication,
            work: tokio::sync::Notify::new(),
        }));
        services.ensure_signing_key().await?;
        Ok(services)
    }
}

impl Inner {
    /// The database.
    pub fn db(&self) -> &Db {
        &self.parts.db
    }

    /// Where those meet who write often, to commit together: `run_batched!(self.batch(), …)`.
    pub fn batch(&self) -> &Batcher {
        &self.batch
    }

    /// The time.
    pub fn clock(&self) -> &dyn Clock {
        &*self.parts.clock
    }

    /// Randomness.
    pub fn entropy(&self) -> &dyn Entropy {
        &*self.parts.entropy
    }

    /// The models that are installed.
    pub fn models(&self) -> &Models {
        &self.parts.models
    }

    /// The sandboxed decoder.
    pub fn decoder(&self) -> &Decoder {
        &self.parts.decoder
    }

    /// How it all is set.
    pub fn settings(&self) -> &Settings {
        &self.parts.settings
    }

    /// The keys that sign tokens and checkpoints.
    pub fn signing(&self) -> &signing::Signing {
        &self.signing
    }

    /// What is going on with verifications, for those who wait.
    pub fn progress(&self) -> &progress::Hub {
        &self.progress
    }
}

#[cfg(test)]
mod tests;
