//! Makes use receipts.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::access::Caller;
use super::{Error, Inner, Result};
use crate::domain::access::Role;
use crate::domain::ids::UseId;
use crate::receipt::usage::UseReceipt;
use crate::store::uses;
use crate::tlog::checkpoint;

impl Inner {
    /// The receipt of a use: for its generator, for the app and for auditors.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Forbidden`]; as [`Inner::prove_inclusion`].
    pub async fn use_receipt(&self, caller: &Caller, id: &UseId) -> Result<UseReceipt> {
        if !matches!(caller.role, Role::Generator | Role::Auditor) {
            caller.require(Role::App)?;
        }
        let found = uses::get(&mut self.db().read().await?, id).await?;
        let found = found.filter(|u| caller.role != Role::Generator || u.generator == caller.key);
        let found = found.ok_or(Error::NotFound("use"))?;
        let entries = self.entries(found.log_index, 1).await?;
        let entry = entries.into_iter().next().ok_or(Error::NotFound("log entry"))?;
        let inclusion = self.prove_inclusion(found.log_index).await?;
        let note =
            checkpoint::sign(self.signing().origin(), &inclusion.head, self.signing().certifier());
        let note = note.map_err(|e| Error::Internal(format!("a checkpoint: {e}")))?;
        Ok(UseReceipt {
            use_id: id.clone(),
            index: entry.index,
            entry: BASE64_STANDARD.encode(&entry.bytes),
            proof: inclusion.proof.iter().map(|h| hex::encode(h.0)).collect(),
            checkpoint: String::from_utf8(note)
                .map_err(|_| Error::Internal("a checkpoint is no text".into()))?,
        })
    }
}
