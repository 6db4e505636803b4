//! Retention by schedule: what has no purpose any more is destroyed (Illinois BIPA §15(a): when the
//! purpose has ended, or three years after the person was last there, whichever is first).

use super::{Inner, Result};
use crate::domain::ids::CameoId;
use crate::domain::uses::DeletionReason;
use crate::env::Millis;
use crate::run_tx;
use crate::store::{deletions, webhooks};

/// Cameos destroyed in one sweep.
const BATCH: u32 = 50;

/// What a retention sweep did: a certificate of deletion proves each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// The cameos and why.
    pub destroyed: Vec<(CameoId, DeletionReason)>,
}

impl Inner {
    /// Destroys the identities whose time is over, by the schedule in the settings. Each leaves an
    /// entry in the log and a signed certificate of what was destroyed.
    ///
    /// # Errors
    /// Those of the store; what was destroyed before stays destroyed.
    pub async fn sweep_retention(&self) -> Result<Swept> {
        let now = self.clock().now();
        let settings = self.settings();
        let mut swept = Swept::default();
        let due = {
            let mut tx = self.db().read().await?;
            let withdrawn =
                deletions::withdrawn(&mut tx, now.minus(settings.keep_withdrawn), BATCH).await?;
            let unused = deletions::unused(&mut tx, now.minus(settings.keep_unused), BATCH).await?;
            let inactive =
                deletions::inactive(&mut tx, now.minus(settings.keep_inactive), BATCH).await?;
            let of = |ids: Vec<CameoId>, reason| ids.into_iter().map(move |id| (id, reason));
            of(withdrawn, DeletionReason::Withdrawn)
                .chain(of(unused, DeletionReason::Unused))
                .chain(of(inactive, DeletionReason::Inactive))
                .collect::<Vec<_>>()
        };
        for (id, reason) in due {
            // Due for two reasons, it is destroyed for the first.
            if swept.destroyed.iter().any(|(done, _)| *done == id) {
                continue;
            }
            self.delete_cameo(&id, reason, false).await?;
            swept.destroyed.push((id, reason));
        }
        if !swept.destroyed.is_empty() {
            tracing::info!(
                cameos = swept.destroyed.len(),
                "destroyed what had no purpose any more"
            );
        }
        self.forget_messages(now).await?;
        Ok(swept)
    }

    async fn forget_messages(&self, now: Millis) -> Result<()> {
        let before = now.minus(super::webhooks::KEPT);
        run_tx!(self.db(), "retention.messages", |tx| webhooks::forget(tx, before).await)?;
        Ok(())
    }
}
