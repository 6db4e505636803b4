//! The gallery (ISO/IEC 2382-37: the biometric reference database) in memory: one face of everyone
//! who is enrolled and of every protected face, in an index for each embedding model.
//!
//! The database holds the templates sealed; nothing of the index is ever written. It is rebuilt at
//! the start, a page at a time, by the same code that later follows what changed: every enrolment
//! and every deletion gives its cameo the next number of a sequence under the log's head, so numbers
//! come in the order of commits, and a process that has seen `n` asks for what came after. It does so
//! before every search, and every [`FOLLOW`] to forget those who were deleted elsewhere; those who are
//! deleted here it forgets at once.
//!
//! The index only proposes: what it says is checked against the sealed templates in the transaction
//! that the answer is for (see `duplicates`), together with what changed since.
//!
//! Only frontal faces are held. Between turned heads the distance says more about the pose.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::enrol::open_template;
use super::protected::{self, Protected};
use super::{Error, Inner, Result, Services};
use crate::domain::ids::{CameoId, ProtectedId};
use crate::domain::template::{EmbeddingModel, PoseBin, Template};
use crate::search::Index;
use crate::store::enrolled::{self, Change};
use crate::store::meta;

/// How often changes made by other processes are looked for when nobody enrols.
const FOLLOW: Duration = Duration::from_secs(5);
/// Changes read at once: what bounds the memory of a rebuild, besides the index itself.
const PAGE: u32 = 100;
/// The nearest that are compared again, template by template.
const NEAREST: usize = 8;
/// How much further than the threshold a proposal may be: the index's codes round.
const SLACK: f32 = 0.02;

/// The index, and how far it has followed the database.
#[derive(Debug, Default)]
pub(super) struct Gallery {
    held: Arc<RwLock<Held>>,
    /// Held by the one who follows.
    followed: tokio::sync::Mutex<Followed>,
    built: std::sync::atomic::AtomicBool,
}

#[derive(Debug, Default)]
struct Held {
    /// By the SHA-256 of the model's file.
    enrolled: HashMap<String, Index>,
    protected: HashMap<String, Index>,
}

/// How far the database was followed.
#[derive(Debug, Default)]
struct Followed {
    changes: i64,
    protected: Option<Vec<u8>>,
}

/// Who has a face like this, as far as the gallery knows.
#[derive(Debug, Default)]
pub(super) struct Proposed {
    /// The last change that it knew of.
    pub(super) through: i64,
    /// Cameos to compare with.
    pub(super) enrolled: Vec<CameoId>,
    /// Protected faces to compare with.
    pub(super) protected: Vec<ProtectedId>,
}

impl Services {
    /// Keeps the gallery current until `stop`.
    pub(super) async fn follow_gallery(self, stop: CancellationToken) {
        loop {
            if let Err(e) = self.catch_up().await {
                tracing::warn!(error = %e, "the search index can't follow the database; it tries again");
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(FOLLOW) => {}
            }
        }
    }
}

impl Inner {
    /// Whether everyone who was enrolled at the start is in the search index.
    pub fn search_is_ready(&self) -> bool {
        self.gallery.built.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Whom a face may belong to, apart from `own`: those of the gallery within `distance` of its
    /// frontal sample. Waits until the index is built.
    pub(super) async fn propose(
        &self,
        template: &Template,
        own: Option<&CameoId>,
        distance: f32,
    ) -> Result<Proposed> {
        let through = self.catch_up().await?;
        let Some(face) = frontal(template) else {
            return Ok(Proposed { through, ..Proposed::default() });
        };
        let (held, face) = (self.gallery.held.clone(), Zeroizing::new(face.to_vec()));
        let (model, own) = (template.model.sha256.clone(), own.map(CameoId::to_bytes));
        // A scan of a million faces takes milliseconds that belong to no request.
        let scan = tokio::task::spawn_blocking(move || {
            let held = held.read().unwrap_or_else(PoisonError::into_inner);
            let near = |index: Option<&Index>| {
                let hits = index.map(|i| i.nearest(&face, NEAREST, own.as_ref())).transpose();
                let hits = hits.map_err(|e| Error::Internal(format!("a face to search: {e}")))?;
                let within = |d: f32| d <= distance + SLACK;
                let hits = hits.unwrap_or_default().into_iter().filter(|h| within(h.distance));
                Ok::<_, Error>(hits.map(|h| h.key).collect::<Vec<_>>())
            };
            Ok::<_, Error>((near(held.enrolled.get(&model))?, near(held.protected.get(&model))?))
        });
        let (enrolled, protected) =
            scan.await.map_err(|e| Error::Internal(format!("a search broke off: {e}")))??;
        Ok(Proposed {
            through,
            enrolled: enrolled.into_iter().map(CameoId::from_bytes).collect(),
            protected: protected.into_iter().map(ProtectedId::from_bytes).collect(),
        })
    }

    /// Takes a cameo out of the index and overwrites what was there.
    pub(super) fn forget_face(&self, cameo: &CameoId) {
        self.gallery.write(|held| held.forget(cameo));
    }

    /// Brings the index to what the database says now, and returns the last change it knows.
    async fn catch_up(&self) -> Result<i64> {
        let mut followed = self.gallery.followed.lock().await;
        loop {
            let mut tx = self.db().read().await?;
            let page = enrolled::changes(&mut tx, followed.changes, PAGE).await?;
            drop(tx);
            let Some(last) = page.last() else { break };
            let last = last.seq;
            let faces: Vec<_> = page.iter().map(|c| (&c.cameo, self.face_of(c))).collect();
            self.gallery.write(|held| {
                for (cameo, face) in faces {
                    held.forget(cameo);
                    if let Some(template) = face {
                        held.enrol(cameo, &template);
                    }
                }
            });
            followed.changes = last;
            // Opening templates is work: let others have the thread.
            tokio::task::yield_now().await;
        }
        self.follow_protected(&mut followed).await?;
        self.gallery.built.store(true, std::sync::atomic::Ordering::Release);
        Ok(followed.changes)
    }

    /// The template behind a change; `None` where there is none, or none that can be read.
    fn face_of(&self, change: &Change) -> Option<Template> {
        let (subject, sealed) = change.enrolled.as_ref()?;
        let opened = self.unwrap_person(subject).and_then(|person| open_template(&person, sealed));
        match opened {
            Ok(template) => Some(template),
            Err(e) => {
                // One broken row must not keep everyone else from enrolling.
                metrics::counter!("cameo_search_unreadable_total").increment(1);
                tracing::error!(cameo = %change.cameo, error = %e, "a template can't be searched");
                None
            }
        }
    }

    /// The block list is short: it is read anew whenever it changed.
    async fn follow_protected(&self, followed: &mut Followed) -> Result<()> {
        let version = meta::get(&mut self.db().read().await?, protected::VERSION).await?;
        if followed.protected == version {
            return Ok(());
        }
        let faces = self.protected_faces().await?;
        self.gallery.write(|held| {
            held.protected.clear();
            for face in &faces {
                held.protect(face);
            }
        });
        followed.protected = version;
        Ok(())
    }

    /// Whether the index holds a face of this cameo.
    #[cfg(test)]
    pub(super) fn has_face(&self, cameo: &CameoId) -> bool {
        let held = self.gallery.held.read().unwrap_or_else(PoisonError::into_inner);
        held.enrolled.values().any(|index| index.contains(&cameo.to_bytes()))
    }

    /// Follows once: for what is to be seen at once and not with the next search.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn refresh_search(&self) -> Result<()> {
        self.catch_up().await.map(|_| ())
    }
}

impl Gallery {
    fn write(&self, change: impl FnOnce(&mut Held)) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut held);
        let faces: usize = held.enrolled.values().map(Index::len).sum();
        metrics::gauge!("cameo_search_faces").set(faces as f64);
    }
}

impl Held {
    fn enrol(&mut self, cameo: &CameoId, template: &Template) {
        let Some(face) = frontal(template) else { return };
        insert(&mut self.enrolled, &template.model, cameo.to_bytes(), face);
    }

    fn protect(&mut self, face: &Protected) {
        insert(&mut self.protected, &face.model, face.id.to_bytes(), &face.vector);
    }

    fn forget(&mut self, cameo: &CameoId) {
        let key = cameo.to_bytes();
        self.enrolled.values_mut().for_each(|index| {
            index.remove(&key);
        });
        self.enrolled.retain(|_, index| !index.is_empty());
    }
}

fn insert(
    indexes: &mut HashMap<String, Index>,
    model: &EmbeddingModel,
    key: [u8; 16],
    face: &[f32],
) {
    let index = match indexes.entry(model.sha256.clone()) {
        std::collections::hash_map::Entry::Occupied(known) => Ok(known.into_mut()),
        std::collections::hash_map::Entry::Vacant(place) => {
            Index::new(model.dim as usize, model.metric).map(|index| place.insert(index))
        }
    };
    if let Err(e) = index.and_then(|index| index.insert(key, face)) {
        metrics::counter!("cameo_search_unreadable_total").increment(1);
        tracing::error!(model = model.id, error = %e, "a face can't be searched");
    }
}

/// The vector that a search compares.
pub(super) fn frontal(template: &Template) -> Option<&[f32]> {
    let face = template.faces.iter().find(|f| f.bin == PoseBin::Frontal)?;
    Some(&face.vector)
}
