//! Which signing key signs now, and which ones verifiers must know.
//!
//! A key is *published* from the moment it is in the ring until it retires, and *signs* from its
//! `not_before` on. Of the keys that may sign, the one with the latest `not_before` does. A
//! rotation therefore publishes the new key ahead of its first use (verifiers may cache the key
//! set for that long) and retires the old one only when its last token has expired.

use std::sync::Arc;
use std::time::Duration;

use super::{KeyId, KeySet, SigningKey};
use crate::env::Millis;

/// A key and when it may be used.
#[derive(Debug, Clone)]
pub struct Slot {
    /// The key.
    pub key: Arc<SigningKey>,
    /// It signs nothing before.
    pub not_before: Millis,
    /// It is gone from here on: no signing, no publication. `None`: not planned yet.
    pub retire_at: Option<Millis>,
}

impl Slot {
    /// What the key is at `now`.
    pub fn state(&self, now: Millis) -> State {
        if self.retire_at.is_some_and(|t| t <= now) {
            State::Retired
        } else if now < self.not_before {
            State::Announced
        } else {
            State::Active
        }
    }
}

/// What a key is at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Published, not signing yet.
    Announced,
    /// Published; signs unless a newer key does.
    Active,
    /// Neither published nor signing.
    Retired,
}

/// No key may sign now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no signing key is active; create one with `cameo keys rotate`")]
pub struct NoSigner;

/// What a rotation does, to be stored before it takes effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// From when on the new key signs.
    pub not_before: Millis,
    /// Keys that get a retirement, and when.
    pub retire: Vec<(KeyId, Millis)>,
}

/// The signing keys of one purpose.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    slots: Vec<Slot>,
}

impl Keyring {
    /// The ring of these keys.
    pub fn new(slots: Vec<Slot>) -> Self {
        Self { slots }
    }

    /// All keys, retired ones too.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The key that signs at `now`.
    ///
    /// # Errors
    /// [`NoSigner`] where no key is active.
    pub fn signer(&self, now: Millis) -> Result<&Arc<SigningKey>, NoSigner> {
        self.slots
            .iter()
            .filter(|s| s.state(now) == State::Active)
            .max_by_key(|s| (s.not_before, s.key.id()))
            .map(|s| &s.key)
            .ok_or(NoSigner)
    }

    /// The public keys that verifiers must know at `now`.
    pub fn published(&self, now: Millis) -> KeySet {
        self.slots
            .iter()
            .filter(|s| s.state(now) != State::Retired)
            .map(|s| s.key.verifying_key())
            .collect()
    }

    /// Plans a rotation at `now`: a new key starts to sign after `lead` (at once where nothing
    /// signs now), and every key without a retirement gets one `overlap` after that. `lead` is at
    /// least as long as verifiers may cache the key set, `overlap` at least the longest life of
    /// what was signed, plus the verifiers' leeway.
    pub fn plan_rotation(&self, now: Millis, lead: Duration, overlap: Duration) -> Rotation {
        let not_before = if self.signer(now).is_ok() { now.plus(lead) } else { now };
        let retire_at = not_before.plus(overlap);
        let retire = self
            .slots
            .iter()
            .filter(|s| s.retire_at.is_none())
            .map(|s| (s.key.id(), retire_at))
            .collect();
        Rotation { not_before, retire }
    }

    /// The ring after `rotation` with its new key.
    #[must_use]
    pub fn rotated(mut self, rotation: &Rotation, key: Arc<SigningKey>) -> Self {
        for slot in &mut self.slots {
            if let Some((_, at)) = rotation.retire.iter().find(|(id, _)| *id == slot.key.id()) {
                slot.retire_at = Some(*at);
            }
        }
        self.slots.push(Slot { key, not_before: rotation.not_before, retire_at: None });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::SeededEntropy;

    const HOUR: Duration = Duration::from_hours(1);

    fn key(seed: u64) -> Arc<SigningKey> {
        Arc::new(SigningKey::generate(&SeededEntropy::new(seed)).unwrap())
    }

    fn at(hours: i64) -> Millis {
        Millis(hours * 3_600_000)
    }

    #[test]
    fn an_empty_ring_says_so_and_its_first_key_signs_at_once() {
        let ring = Keyring::default();
        assert_eq!(ring.signer(at(0)).unwrap_err(), NoSigner);
        let plan = ring.plan_rotation(at(0), HOUR, HOUR);
        assert_eq!(plan, Rotation { not_before: at(0), retire: vec![] });
        let ring = ring.rotated(&plan, key(1));
        assert_eq!(ring.signer(at(0)).unwrap().id(), key(1).id());
    }

    #[test]
    fn a_rotation_overlaps() {
        let (old, new) = (key(1), key(2));
        let ring =
            Keyring::new(vec![Slot { key: old.clone(), not_before: at(0), retire_at: None }]);
        let plan = ring.plan_rotation(at(10), HOUR, 2 * HOUR);
        assert_eq!(plan.retire, [(old.id(), at(13))]);
        let ring = ring.rotated(&plan, new.clone());
        for (hour, signer, published) in [
            (10, &old, vec![&old, &new]), // announced
            (11, &new, vec![&old, &new]), // signs; the old one's tokens still verify
            (12, &new, vec![&old, &new]),
            (13, &new, vec![&new]), // retired
        ] {
            assert_eq!(ring.signer(at(hour)).unwrap().id(), signer.id(), "hour {hour}");
            let set = ring.published(at(hour));
            assert_eq!(set.len(), published.len(), "hour {hour}");
            assert!(published.iter().all(|k| set.get(k.id()).is_some()));
        }
        assert_eq!(ring.slots()[1].state(at(10)), State::Announced);
    }

    #[test]
    fn rotating_twice_in_a_row_never_leaves_a_gap() {
        let mut ring = Keyring::default();
        for (i, now) in [0, 1, 1, 2].into_iter().enumerate() {
            let plan = ring.plan_rotation(at(now), HOUR, HOUR);
            ring = ring.rotated(&plan, key(i as u64));
        }
        for hour in 0..20 {
            let signer = ring.signer(at(hour)).unwrap().id();
            assert!(ring.published(at(hour)).get(signer).is_some());
        }
    }
}
