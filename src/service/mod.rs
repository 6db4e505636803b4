//! The use cases: what the app, a generator, a reviewer and an auditor can do.
//!
//! This is where the rooms meet. [`onboard`] issues challenges and takes captures, [`verify`] judges
//! them, [`review`] lets a person decide, [`consent`] keeps permissions, [`grants`] those to single
//! people, [`decisions`] says what they come to, [`resolve`] hands out tokens, [`audit`] shows the
//! log. Every effect and its log entry are one transaction.

pub mod access;
pub mod audit;
pub mod bench;
pub mod consent;
pub mod decisions;
mod enrol;
mod error;
pub mod export;
pub mod grants;
pub mod graph;
pub mod issue;
mod ledger;
pub mod measure;
pub mod onboard;
pub mod once;
pub mod progress;
pub mod receipts;
pub mod requests;
pub mod resolve;
pub mod review;
mod settings;
pub mod signing;
mod spool;
pub mod spread;
mod subject;
pub mod texts;
pub mod verify;

use std::sync::Arc;

pub use error::{Error, Result};
pub use settings::{Controller, Script, Settings};

use crate::crypto::master::MasterKeys;
use crate::env::{Clock, Entropy};
use crate::infer::Models;
use crate::media::Decoder;
use crate::store::Db;

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
    pub master: MasterKeys,
    /// The models that are installed.
    pub models: Arc<Models>,
    /// The sandboxed decoder.
    pub decoder: Decoder,
    /// Asks the app who follows whom; `None` where the app says so ahead.
    pub graph: Option<Arc<dyn graph::AskGraph>>,
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
    signing: signing::Signing,
    spool: spool::Spool,
    progress: progress::Hub,
    answers: graph::Cache,
    /// Looks into uploads that may run at once.
    looks: tokio::sync::Semaphore,
    /// One proof at a time: each reads the whole log.
    proofs: tokio::sync::Semaphore,
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
        let signing = signing::Signing::open(&parts).await?;
        let workers = parts.settings.workers.max(1);
        let services = Self(Arc::new(Inner {
            parts,
            signing,
            spool,
            progress: progress::Hub::default(),
            answers: graph::Cache::default(),
            looks: tokio::sync::Semaphore::new(workers),
            proofs: tokio::sync::Semaphore::new(1),
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
