//! Whether tokens still hold: their places in status lists, and the lists.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Error, Inner, Result};
use crate::env::{Entropy, below};
use crate::run_tx;
use crate::store::token_status::{self, LIST_LEN, Place};
use crate::token::status::{Status, StatusList};

/// After how many seconds a verifier should ask for a list again: a revoked token is known to
/// everyone by then.
pub const TTL: Duration = Duration::from_secs(30);
/// How long a list may be relied on where the service can't be reached.
const GOOD_FOR: Duration = Duration::from_mins(5);
/// Places that a process sets aside at once. They are handed out in a random order, so that a place
/// says little about when its token was issued, and nothing about which log entry is its.
const BLOCK: u32 = 4096;
/// With fewer than these left, the next block is set aside.
const LOW: usize = 1024;

/// Places that this process may hand out. Those left over when it ends are never used.
#[derive(Debug, Default)]
pub(super) struct Places {
    free: Mutex<Vec<Place>>,
    /// One at a time sets more aside.
    refill: tokio::sync::Mutex<()>,
}

impl Places {
    /// A place that nobody else has.
    pub(super) fn take(&self) -> Result<Place> {
        self.free().pop().ok_or(Error::Busy)
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Place>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn left(&self) -> usize {
        self.free().len()
    }
}

impl Inner {
    /// Sees to it that there are places for `wanted` tokens and those that others are about to
    /// issue. Not within a transaction: it may need one of its own.
    pub(super) async fn reserve_places(&self, wanted: usize) -> Result<()> {
        if self.places.left() >= LOW + wanted {
            return Ok(());
        }
        let _one = self.places.refill.lock().await;
        if self.places.left() >= LOW + wanted {
            return Ok(());
        }
        let mut block =
            run_tx!(self.db(), "status.reserve", |tx| token_status::reserve(tx, BLOCK).await)?;
        shuffle(&mut block, self.entropy());
        self.places.free().extend(block);
        Ok(())
    }

    /// Where a list is found.
    pub(super) fn status_uri(&self, list: u32) -> String {
        format!("{}/v1/status-lists/{list}", self.settings().issuer)
    }

    /// A list as it is now, signed.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the list was never begun.
    pub async fn status_list(&self, list: u32) -> Result<Vec<u8>> {
        let mut tx = self.db().read().await?;
        if list >= token_status::lists(&mut tx).await? {
            return Err(Error::NotFound("status list"));
        }
        let mut statuses = StatusList::new(LIST_LEN, TTL.as_secs());
        for (index, value) in token_status::not_valid(&mut tx, list).await? {
            // A value that has no meaning here is no good news either.
            statuses.set(index, Status::from_value(value).unwrap_or(Status::Invalid));
        }
        drop(tx);
        let now = self.clock().now();
        let signer = self.signing().signer(now)?;
        statuses
            .sign(&signer, &self.status_uri(list), now, now.plus(GOOD_FOR))
            .map_err(|e| Error::Internal(format!("a status list: {e}")))
    }
}

/// Fisher and Yates's.
fn shuffle(places: &mut [Place], entropy: &dyn Entropy) {
    for i in (1..places.len()).rev() {
        let n = u32::try_from(i + 1).unwrap_or(u32::MAX);
        places.swap(i, below(entropy, n) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::SeededEntropy;

    #[test]
    fn a_shuffled_block_has_every_place_once_and_out_of_order() {
        let block: Vec<_> = (0..BLOCK).map(|index| Place { list: 0, index }).collect();
        let mut shuffled = block.clone();
        shuffle(&mut shuffled, &SeededEntropy::new(1));
        assert_ne!(shuffled, block);
        shuffled.sort_unstable();
        assert_eq!(shuffled, block);
    }
}
