//! Being a witness of other logs: cosigns that they only grew (C2SP tlog-witness).

use super::{Error, Inner, Result};
use crate::run_tx;
use crate::store::published;
use crate::tlog::witness::{Answer, Request, WitnessKey, cosign, judge};
use crate::tlog::{Hash, TreeHead};

/// What is answered to `add-checkpoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Witnessed {
    /// The cosignature line.
    Cosigned(String),
    /// Why not.
    Refused(Answer),
}

impl Inner {
    /// The key that this service cosigns with, where it is a witness at all.
    ///
    /// # Errors
    /// Those of the key.
    pub fn witness_key(&self) -> Result<Option<WitnessKey>> {
        if self.settings().log.witness_for.is_empty() {
            return Ok(None);
        }
        let key = WitnessKey::new(&self.witness_name(), self.signing.witness().verifying_key())
            .map_err(|e| Error::Internal(format!("the witness's name: {e}")))?;
        Ok(Some(key))
    }

    /// Decides on a request, and cosigns once what was decided by still holds in the same
    /// transaction that keeps it.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn add_checkpoint(&self, request: &Request) -> Result<Witnessed> {
        let logs = &self.settings().log.witness_for;
        let now = self.clock().now();
        let origin = request.note.split(|b| *b == b'\n').next().unwrap_or_default();
        let origin = String::from_utf8_lossy(origin).into_owned();
        if !logs.iter().any(|k| k.origin() == origin) {
            return Ok(Witnessed::Refused(Answer::UnknownLog));
        }
        let answer = run_tx!(self.db(), "witness", |tx| {
            let last = published::witnessed(tx, &origin).await?;
            let head = last.map(|(size, root)| TreeHead { size, root: Hash(root) });
            let answer = judge(request, logs, |_| head);
            if let Answer::Cosign(new) = &answer {
                let new = (new.head.size, new.head.root.0);
                if !published::witness(tx, &origin, last, new, now).await? {
                    return Ok(Answer::Conflict(last.map_or(0, |l| l.0)));
                }
            }
            Ok::<_, Error>(answer)
        })?;
        if !matches!(answer, Answer::Cosign(_)) {
            if matches!(answer, Answer::NotConsistent) {
                tracing::error!(origin, "a log that is witnessed here does not continue its past");
            }
            return Ok(Witnessed::Refused(answer));
        }
        let line = cosign(&request.note, &self.witness_name(), self.signing.witness(), now)
            .map_err(|e| Error::Internal(format!("cosigning: {e}")))?;
        Ok(Witnessed::Cosigned(line))
    }

    fn witness_name(&self) -> String {
        let issuer = &self.settings().issuer;
        format!("{}/witness", issuer.split_once("://").map_or(issuer.as_str(), |(_, rest)| rest))
    }
}
