//! The block list: faces that nobody may enrol, because their people never would (public figures).
//! Whoever comes with such a face is looked at by a reviewer, or turned away
//! ([`IdentityRules::protected_rejects`](super::settings::IdentityRules)).
//!
//! A face is kept as its embedding and a label, sealed under a key of its own. Removing it destroys
//! the key.

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::ledger::Note;
use super::subject::owner;
use super::{Error, Inner, Result};
use crate::crypto::master::SubjectKey;
use crate::domain::ids::ProtectedId;
use crate::domain::template::{EmbeddingModel, norm};
use crate::env::{Millis, random};
use crate::run_tx;
use crate::store::meta;
use crate::store::protected_faces::{self, ProtectedFace};
use crate::tlog::Kind;

/// Changes with every change of the list, so that other processes see one.
pub(super) const VERSION: &str = "protected_faces.version";
/// The most faces on the list.
pub const MAX_FACES: usize = 10_000;
/// The longest label, in characters.
pub const MAX_LABEL: usize = 100;

const LABEL: &str = "protected-face";
const PAGE: u32 = 100;

/// A face that nobody may enrol.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Protected {
    /// Its id.
    #[zeroize(skip)]
    pub id: ProtectedId,
    /// What the operator calls it.
    pub label: String,
    /// The model that made the vector.
    #[zeroize(skip)]
    pub model: EmbeddingModel,
    /// The embedding.
    pub vector: Vec<f32>,
    /// When it was added.
    #[zeroize(skip)]
    pub created: Millis,
}

impl std::fmt::Debug for Protected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Protected({})", self.id)
    }
}

/// What is sealed.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct Plain {
    label: String,
    #[zeroize(skip)]
    model: EmbeddingModel,
    vector: Vec<f32>,
}

impl Inner {
    /// Adds a face to the block list. It counts from the next search on, in every process.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a label or vector that is none, and where the list is full.
    pub async fn protect(
        &self,
        label: &str,
        model: &EmbeddingModel,
        vector: &[f32],
    ) -> Result<ProtectedId> {
        let invalid = |field, reason: String| Err(Error::Invalid { field, reason });
        if label.trim().is_empty() || label.chars().count() > MAX_LABEL {
            return invalid("label", format!("must be 1 to {MAX_LABEL} characters"));
        }
        let length = norm(vector);
        if vector.len() != model.dim as usize || !length.is_normal() {
            return invalid(
                "embedding",
                format!("must be {} finite numbers, not all 0", model.dim),
            );
        }
        let id = ProtectedId::new(self.clock(), self.entropy());
        let key = SubjectKey::generate(self.entropy());
        let plain =
            Plain { label: label.to_owned(), model: model.clone(), vector: vector.to_vec() };
        let mut bytes = Zeroizing::new(Vec::with_capacity(16 << 10));
        ciborium::into_writer(&plain, &mut *bytes)
            .map_err(|_| Error::Internal("a protected face can't be encoded".into()))?;
        let place = owner(id.as_str());
        let face = ProtectedFace {
            wrapped_key: key.wrap(&*self.parts.master, place, self.entropy())?,
            sealed: key.seal(LABEL, place, &bytes, self.entropy())?,
            id,
            created: self.clock().now(),
        };
        if self.protected_faces().await?.len() >= MAX_FACES {
            return invalid("label", format!("{MAX_FACES} faces are protected: remove one first"));
        }
        run_tx!(self.db(), "protect.add", |tx| {
            let mut ledger = self.ledger(tx).await?;
            protected_faces::insert(tx, &face).await?;
            meta::set(tx, VERSION, &random::<8>(self.entropy())).await?;
            let note = Note::new(Kind::Admin).public("action", "protect_face");
            ledger.add(note.public("face", face.id.as_str()))?;
            ledger.write(tx).await
        })?;
        Ok(face.id)
    }

    /// Takes a face off the block list and destroys its key.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn unprotect(&self, id: &ProtectedId) -> Result<()> {
        run_tx!(self.db(), "protect.remove", |tx| {
            let mut ledger = self.ledger(tx).await?;
            if !protected_faces::delete(tx, id).await? {
                return Err(Error::NotFound("protected face"));
            }
            meta::set(tx, VERSION, &random::<8>(self.entropy())).await?;
            let note = Note::new(Kind::Admin).public("action", "unprotect_face");
            ledger.add(note.public("face", id.as_str()))?;
            ledger.write(tx).await
        })
    }

    /// The block list.
    ///
    /// # Errors
    /// Those of the store; [`Error::Internal`] where a face can't be opened.
    pub async fn protected_faces(&self) -> Result<Vec<Protected>> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page = protected_faces::after(&mut self.db().read().await?, &after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(all) };
            last.id.as_str().clone_into(&mut after);
            for face in &page {
                all.push(self.open_protected(face)?);
            }
        }
    }

    pub(super) fn open_protected(&self, face: &ProtectedFace) -> Result<Protected> {
        let place = owner(face.id.as_str());
        let key = SubjectKey::unwrap(&*self.parts.master, &face.wrapped_key, place)?;
        let bytes = key.open(LABEL, place, &face.sealed)?;
        let plain: Plain = ciborium::from_reader(bytes.as_slice())
            // Not the parser's words: they may quote the value.
            .map_err(|_| Error::Internal("a protected face does not parse".into()))?;
        Ok(Protected {
            id: face.id.clone(),
            label: plain.label.clone(),
            model: plain.model.clone(),
            vector: plain.vector.clone(),
            created: face.created,
        })
    }

    /// Wraps their keys under the current master key.
    pub(super) async fn rewrap_protected(&self) -> Result<u64> {
        let (mut moved, mut after) = (0, String::new());
        loop {
            let page = protected_faces::after(&mut self.db().read().await?, &after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(moved) };
            after = last.id.as_str().to_owned();
            for face in &page {
                let (kek, place) = (&*self.parts.master, owner(face.id.as_str()));
                let old = &face.wrapped_key;
                let Some(new) = SubjectKey::rewrap(kek, old, place, self.entropy())? else {
                    continue;
                };
                moved += u64::from(run_tx!(self.db(), "rewrap.protected", |tx| {
                    protected_faces::rewrap(tx, &face.id, old, &new).await
                })?);
            }
        }
    }
}
