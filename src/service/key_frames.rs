//! Key frames: what a reviewer may see of a capture, while the case is open and not longer. Each
//! picture is sealed with the person's key, and each look at one is an entry in the log.

use zeroize::Zeroizing;

use super::access::Caller;
use super::ledger::Note;
use super::measure;
use super::onboard;
use super::subject::{Person, Sealed};
use super::{Error, Inner, Result};
use crate::domain::ids::VerificationId;
use crate::domain::verification::State;
use crate::env::Millis;
use crate::run_tx;
use crate::store::consents::{self, ConsentKind};
use crate::store::key_frames::{self, KeyFrame};
use crate::store::verifications::Verification;
use crate::store::{Tx, cameos};
use crate::tlog::Kind;

const NONE: Error = Error::NotFound("key frame of a case in review");

impl Inner {
    /// One key frame, from 1, as baseline JPEG. The look is logged before the picture is given.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the verification is not in review (any more), nothing is known of its
    /// person, or there is no such frame.
    pub async fn key_frame(
        &self,
        caller: &Caller,
        id: &VerificationId,
        n: u32,
    ) -> Result<Zeroizing<Vec<u8>>> {
        run_tx!(self.db(), "review.frame", |tx| {
            let mut ledger = self.ledger(tx).await?;
            let v = onboard::get(tx, id).await?;
            if v.state != State::Review {
                return Err(NONE);
            }
            let person = self.known_person(tx, &v.subject).await?.ok_or(NONE)?;
            let sealed = key_frames::sealed(tx, id, v.attempt, n).await?.ok_or(NONE)?;
            let picture = person.open_bytes(Sealed::KeyFrame, &place(id, v.attempt, n), &sealed)?;
            ledger.add(
                Note::new(Kind::Review)
                    .about(&person)
                    .public("action", "frame")
                    .public("reviewer", caller.key.as_str())
                    .commit("verification", id.as_str())
                    .commit("frame", n.to_be_bytes()),
            )?;
            ledger.write(tx).await?;
            Ok(picture)
        })
    }

    /// Seals what was picked of a capture whose verdict leaves the case open.
    pub(super) async fn keep_frames(
        &self,
        tx: &mut Tx,
        person: &Person,
        v: &Verification,
        picked: &[measure::KeyFrame],
        now: Millis,
    ) -> Result<()> {
        // Who froze or withdrew while the capture was judged had pictures deleted, and gets no new ones.
        if let Some(cameo) = cameos::active(tx, &v.subject).await? {
            let latest = consents::latest(tx, &cameo.id).await?;
            let withdrawn =
                latest.is_some_and(|c| c.kind == ConsentKind::Withdrawn && c.at > v.created);
            if cameo.frozen.is_some() || withdrawn {
                return Ok(());
            }
        }
        for (n, frame) in (1..).zip(picked) {
            let place = place(&v.id, v.attempt, n);
            let sealed = self.seal_bytes(person, Sealed::KeyFrame, &place, &frame.jpeg)?;
            let about = KeyFrame { n, view: frame.view, t_ms: frame.t_ms };
            key_frames::insert(tx, &v.id, v.attempt, &about, &sealed, now).await?;
        }
        Ok(())
    }
}

/// Where a key frame is sealed to.
pub(super) fn place(id: &VerificationId, attempt: u32, n: u32) -> String {
    format!("{id}:{attempt}:{n}")
}
