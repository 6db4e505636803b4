//! What is going on with a verification, for those who wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde::Serialize;
use tokio::sync::watch;

use crate::domain::ids::VerificationId;

/// How far a verification is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Nothing has begun.
    #[default]
    Waiting,
    /// The capture is in the queue.
    Queued,
    /// It is decoded and measured.
    Measuring,
    /// The evidence is judged.
    Judging,
    /// It is over: read the verification.
    Settled,
}

/// The stages of the verifications that somebody in this process works on or waits for. A
/// verification that nobody holds is forgotten.
#[derive(Debug, Default)]
pub struct Hub(Mutex<HashMap<VerificationId, Weak<watch::Sender<Stage>>>>);

impl Hub {
    /// A handle to the stage of `id`. As long as one is held, [`Hub::set`] reaches it.
    pub fn follow(&self, id: &VerificationId) -> Arc<watch::Sender<Stage>> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = map.get(id).and_then(Weak::upgrade) {
            return found;
        }
        map.retain(|_, held| held.strong_count() > 0);
        let fresh = Arc::new(watch::Sender::new(Stage::default()));
        map.insert(id.clone(), Arc::downgrade(&fresh));
        fresh
    }

    /// Tells those who follow `id`.
    pub fn set(&self, id: &VerificationId, stage: Stage) {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = map.get(id).and_then(Weak::upgrade) {
            found.send_replace(stage);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{ManualClock, Millis, SeededEntropy};

    #[test]
    fn followers_hear_and_the_forgotten_are_dropped() {
        let id = VerificationId::new(&ManualClock::at(Millis(1)), &SeededEntropy::new(1));
        let hub = Hub::default();
        hub.set(&id, Stage::Queued); // nobody listens
        let a = hub.follow(&id);
        let mut seen = hub.follow(&id).subscribe();
        hub.set(&id, Stage::Judging);
        assert_eq!(*seen.borrow_and_update(), Stage::Judging);
        drop(a);
        assert_eq!(*hub.follow(&id).borrow(), Stage::Waiting);
    }
}
