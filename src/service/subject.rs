//! A person's own key: everything that is kept of them is sealed with it, and gone without it.

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::{Error, Inner, Result};
use crate::crypto::master::{Owner, SubjectKey};
use crate::domain::ids::{ApiKeyId, CameoId, SubjectId};
use crate::env::random;
use crate::store::{Tx, subjects};

/// A person, with the key to what is kept of them.
pub(super) struct Person {
    /// Their pseudonym in the log.
    pub(super) reference: [u8; 16],
    key: SubjectKey,
}

/// The kinds of sealed values; the label is authenticated, so that one can't stand for another.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sealed {
    Evidence,
    Template,
    KeyFrame,
    Permissions,
    Requester,
    Salt,
    Grant,
    Wish,
}

impl Sealed {
    fn label(self) -> &'static str {
        match self {
            Self::Evidence => "evidence",
            Self::Template => "template",
            Self::KeyFrame => "key-frame",
            Self::Permissions => "permissions",
            Self::Requester => "requester",
            Self::Salt => "log-salt",
            Self::Grant => "grant",
            Self::Wish => "wish",
        }
    }
}

impl Inner {
    /// The person of this id, with a fresh key where they are new.
    pub(super) async fn person(&self, tx: &mut Tx, id: &SubjectId) -> Result<Person> {
        let reference = random(self.entropy());
        let key = SubjectKey::generate(self.entropy());
        let fresh = subjects::Subject {
            subject: id.clone(),
            subject_ref: reference,
            wrapped_key: key.wrap(
                &*self.parts.master,
                owner(&hex::encode(reference)),
                self.entropy(),
            )?,
            key_version: KEY_VERSION,
            created: self.clock().now(),
        };
        let stored = subjects::get_or_insert(tx, &fresh).await?;
        self.unwrap_person(&stored)
    }

    /// The person of this id, where they are known.
    pub(super) async fn known_person(&self, tx: &mut Tx, id: &SubjectId) -> Result<Option<Person>> {
        subjects::get(tx, id).await?.map(|s| self.unwrap_person(&s)).transpose()
    }

    pub(super) fn unwrap_person(&self, stored: &subjects::Subject) -> Result<Person> {
        let reference = stored.subject_ref;
        let key = SubjectKey::unwrap(
            &*self.parts.master,
            &stored.wrapped_key,
            owner(&hex::encode(reference)),
        )?;
        Ok(Person { reference, key })
    }

    /// Seals a value for a person. `place` says where it is kept, and opening it elsewhere fails.
    pub(super) fn seal<T: Serialize>(
        &self,
        person: &Person,
        kind: Sealed,
        place: &str,
        value: &T,
    ) -> Result<Vec<u8>> {
        let mut plain = Zeroizing::new(Vec::new());
        ciborium::into_writer(value, &mut *plain)
            .map_err(|e| Error::Internal(format!("can't encode {kind:?}: {e}")))?;
        self.seal_bytes(person, kind, place, &plain)
    }

    /// The same for a value that is bytes already.
    pub(super) fn seal_bytes(
        &self,
        person: &Person,
        kind: Sealed,
        place: &str,
        plain: &[u8],
    ) -> Result<Vec<u8>> {
        Ok(person.key.seal(kind.label(), owner(place), plain, self.entropy())?)
    }
}

impl Person {
    /// Finds what is kept of another person in this one's matters, without naming them: a hash
    /// under this person's key.
    pub(super) fn tag(&self, other: &SubjectId) -> [u8; 32] {
        *self.key.derive("other-person", other.as_str().as_bytes())
    }

    /// The name under which one generator knows a cameo of this person. It is derived from the
    /// person's key: two generators can't match theirs, and nobody can when the key is destroyed.
    pub(super) fn pairwise(&self, cameo: &CameoId, generator: &ApiKeyId) -> String {
        let pair = format!("{cameo} {generator}");
        let name = self.key.derive("pairwise-subject", pair.as_bytes());
        format!("ps_{}", hex::encode(&name[..16]))
    }

    /// Opens what [`Inner::seal`] made.
    pub(super) fn open<T: DeserializeOwned>(
        &self,
        kind: Sealed,
        place: &str,
        sealed: &[u8],
    ) -> Result<T> {
        let plain = self.open_bytes(kind, place, sealed)?;
        ciborium::from_reader(plain.as_slice())
            // Not the parser's words: they may quote the value.
            .map_err(|_| Error::Internal(format!("a sealed {kind:?} does not parse")))
    }

    /// Opens what [`Inner::seal_bytes`] made.
    pub(super) fn open_bytes(
        &self,
        kind: Sealed,
        place: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>> {
        Ok(self.key.open(kind.label(), owner(place), sealed)?)
    }
}

/// The version of a person's key; the master key that wraps it is named in the wrapping itself.
const KEY_VERSION: u32 = 1;

pub(super) fn owner(reference: &str) -> Owner<'_> {
    Owner { subject: reference, version: KEY_VERSION }
}
