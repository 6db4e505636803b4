//! Uses: what generators report of them, and what the person sees.

use super::access::Caller;
use super::consent::active;
use super::ledger::Note;
use super::once::{Answer, Call};
use super::subject::{Person, Sealed};
use super::{Error, Inner, Result};
use crate::domain::access::Role;
use crate::domain::ids::{CameoId, SubjectId, UseId};
use crate::domain::uses::OutcomeState;
use crate::env::Millis;
use crate::run_tx;
use crate::store::outcomes::{self, MAX_REPORTS, Outcome};
use crate::store::takedowns::{self, Takedown};
use crate::store::uses::{self, Use, UseOutcome};
use crate::store::{Tx, cameos};
use crate::tlog::Kind;
use crate::token::status::Status;

/// What a generator reports.
#[derive(Clone, Debug)]
pub struct Report {
    /// Draft, published or deleted.
    pub state: OutcomeState,
    /// SHA-256 of the video's file.
    pub content_sha256: Option<[u8; 32]>,
    /// Where the video's C2PA manifest is found.
    pub manifest: Option<String>,
}

/// A use as the person sees it.
#[derive(Clone, Debug)]
pub struct UseView {
    /// The record.
    pub record: Use,
    /// Who asked for it; `None` for a generator, which knows, and where the owner's key is gone.
    pub requester: Option<SubjectId>,
    /// The token's status, where one was issued.
    pub status: Option<Status>,
    /// What the generator reported last.
    pub outcome: Option<Outcome>,
    /// The objection to it, where there is one.
    pub takedown: Option<Takedown>,
}

/// The longest page of uses.
pub const MAX_PAGE: u32 = 100;
/// The longest manifest reference, in bytes.
pub const MAX_MANIFEST: usize = 2048;

impl Inner {
    /// Takes a generator's report of what became of a use. A video that is gone settles a take-down.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the generator has no such use, or it was denied;
    /// [`Error::TooManyReports`]; [`Error::Invalid`].
    pub async fn report_outcome(
        &self,
        generator: &Caller,
        id: &UseId,
        report: &Report,
        call: Option<&Call>,
        answer: impl Fn(&Outcome) -> Answer + Send + Sync,
    ) -> Result<Answer> {
        report.check()?;
        let now = self.clock().now();
        run_tx!(self.db(), "uses.outcome", |tx| {
            let mut ledger = self.ledger(tx).await?;
            let found = own(tx, generator, id).await?;
            if !matches!(found.outcome, UseOutcome::Allowed { .. }) {
                return Err(Error::NotFound("use that was allowed"));
            }
            let latest = outcomes::latest(tx, id).await?;
            let seq = latest.map_or(0, |o| o.seq) + 1;
            if seq > MAX_REPORTS {
                return Err(Error::TooManyReports { max: MAX_REPORTS });
            }
            let mut note = Note::new(Kind::UseOutcome)
                .public("use", id.as_str())
                .public("generator", generator.key.as_str())
                .public("state", report.state.name());
            if let Some(sha256) = &report.content_sha256 {
                note = note.public("content_sha256", hex::encode(sha256));
            }
            let takedown = takedowns::by_use(tx, id).await?;
            let settles = report.state == OutcomeState::Deleted
                && match &takedown {
                    Some(t) => takedowns::done(tx, &t.id, now).await?,
                    None => false,
                };
            let log_index = ledger.add(note)?;
            if let (true, Some(t)) = (settles, &takedown) {
                ledger.add(super::takedown::answered(t, "done"))?;
            }
            let outcome = Outcome {
                use_id: id.clone(),
                seq,
                state: report.state,
                content_sha256: report.content_sha256,
                manifest: report.manifest.clone(),
                at: now,
                log_index,
            };
            ledger.write(tx).await?;
            outcomes::insert(tx, &outcome).await?;
            let answer = answer(&outcome);
            self.finish_once(tx, call, &answer).await?;
            Ok(answer)
        })
    }

    /// All uses of a cameo, drafts and refusals included, the newest first. `before` is the log
    /// index of the last one of the page before.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown cameo.
    pub async fn uses(
        &self,
        id: &CameoId,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<UseView>> {
        let mut tx = self.db().snapshot().await?;
        let cameo = active(&mut tx, id).await?;
        let person = self.known_person(&mut tx, &cameo.subject).await?;
        let found = uses::by_cameo(&mut tx, id, before, limit.clamp(1, MAX_PAGE)).await?;
        let mut views = Vec::with_capacity(found.len());
        for record in found {
            views.push(view(&mut tx, record, person.as_ref()).await?);
        }
        Ok(views)
    }

    /// One use: an app sees any, a generator its own.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Forbidden`] for other roles.
    pub async fn one_use(&self, caller: &Caller, id: &UseId) -> Result<UseView> {
        let mut tx = self.db().snapshot().await?;
        if caller.role == Role::Generator {
            let record = own(&mut tx, caller, id).await?;
            view(&mut tx, record, None).await
        } else {
            caller.require(Role::App)?;
            let record = uses::get(&mut tx, id).await?.ok_or(Error::NotFound("use"))?;
            let cameo = cameos::get(&mut tx, &record.cameo).await?;
            let person = match cameo {
                Some(c) => self.known_person(&mut tx, &c.subject).await?,
                None => None,
            };
            view(&mut tx, record, person.as_ref()).await
        }
    }
}

/// A generator's own use.
pub(super) async fn own(tx: &mut Tx, generator: &Caller, id: &UseId) -> Result<Use> {
    let found = uses::get(tx, id).await?.filter(|u| u.generator == generator.key);
    found.ok_or(Error::NotFound("use of this generator"))
}

async fn view(tx: &mut Tx, record: Use, person: Option<&Person>) -> Result<UseView> {
    let requester = match person {
        None => None,
        Some(p) => Some(p.open(Sealed::Requester, record.id.as_str(), &record.requester_sealed)?),
    };
    let allowed = matches!(record.outcome, UseOutcome::Allowed { .. });
    Ok(UseView {
        requester,
        status: allowed.then(|| Status::from_value(record.token_status).unwrap_or(Status::Invalid)),
        outcome: outcomes::latest(tx, &record.id).await?,
        takedown: takedowns::by_use(tx, &record.id).await?,
        record,
    })
}

impl Report {
    fn check(&self) -> Result<()> {
        let Some(manifest) = &self.manifest else { return Ok(()) };
        let plain = manifest.bytes().all(|b| b.is_ascii_graphic());
        if manifest.is_empty() || manifest.len() > MAX_MANIFEST || !plain {
            return Err(Error::Invalid {
                field: "manifest",
                reason: format!("must be a URI of 1 to {MAX_MANIFEST} printable ASCII characters"),
            });
        }
        Ok(())
    }
}

impl UseView {
    /// When the token expires, where one was issued.
    pub fn expires(&self) -> Option<Millis> {
        match self.record.outcome {
            UseOutcome::Allowed { expires, .. } => Some(expires),
            UseOutcome::Denied(_) => None,
        }
    }
}
