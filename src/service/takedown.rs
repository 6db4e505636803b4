//! Take-downs: a person objects to a use, its generator is told, and has to answer in time.

use serde_json::json;

use super::access::Caller;
use super::ledger::{Ledger, Note};
use super::once::{Answer, Call};
use super::{Error, Inner, Result};
use crate::domain::ids::{CameoId, MessageId, TakedownId, UseId};
use crate::domain::uses::{OutcomeState, TakedownReason, TakedownState};
use crate::run_tx;
use crate::store::takedowns::{self, Takedown};
use crate::store::uses::{self, Use, UseOutcome};
use crate::store::{Tx, outcomes, webhooks};
use crate::tlog::Kind;

/// What a generator answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acknowledgement {
    /// It has seen the request and is about to act.
    Acknowledged,
    /// The video is gone.
    Done,
}

/// The longest page of take-downs.
pub const MAX_PAGE: u32 = 100;
/// Overdue take-downs looked at in one sweep, and uses that a deletion asks to take down.
const BATCH: u32 = 100;

impl Inner {
    /// The person objects to a use. Asking twice is asking once.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a use that is unknown or was denied.
    pub async fn request_takedown(
        &self,
        id: &UseId,
        call: Option<&Call>,
        answer: impl Fn(&Takedown) -> Answer + Send + Sync,
    ) -> Result<Answer> {
        let done = run_tx!(self.db(), "takedown.request", |tx| {
            let mut ledger = self.ledger(tx).await?;
            let found = uses::get(tx, id).await?;
            let found = found.filter(|u| matches!(u.outcome, UseOutcome::Allowed { .. }));
            let found = found.ok_or(Error::NotFound("use that was allowed"))?;
            let takedown = match takedowns::by_use(tx, id).await? {
                Some(known) => known,
                None => {
                    self.open_takedown(tx, &mut ledger, &found, TakedownReason::Objection).await?
                }
            };
            ledger.write(tx).await?;
            let answer = answer(&takedown);
            self.finish_once(tx, call, &answer).await?;
            Ok::<_, Error>(answer)
        })?;
        self.mail.notify_one();
        Ok(done)
    }

    /// Asks for every video of a cameo that its generators have not reported as gone, and returns
    /// how many there are. At most the newest hundred: older ones can be asked for one by one.
    pub(super) async fn open_takedowns(
        &self,
        tx: &mut Tx,
        ledger: &mut Ledger<'_>,
        cameo: &CameoId,
        reason: TakedownReason,
    ) -> Result<u64> {
        let mut opened = 0;
        for record in uses::by_cameo(tx, cameo, None, BATCH).await? {
            if !matches!(record.outcome, UseOutcome::Allowed { .. })
                || takedowns::by_use(tx, &record.id).await?.is_some()
            {
                continue;
            }
            let latest = outcomes::latest(tx, &record.id).await?;
            if latest.is_none_or(|o| o.state == OutcomeState::Deleted) {
                continue;
            }
            self.open_takedown(tx, ledger, &record, reason).await?;
            opened += 1;
        }
        Ok(opened)
    }

    async fn open_takedown(
        &self,
        tx: &mut Tx,
        ledger: &mut Ledger<'_>,
        record: &Use,
        reason: TakedownReason,
    ) -> Result<Takedown> {
        let now = self.clock().now();
        let takedown = Takedown {
            id: TakedownId::new(self.clock(), self.entropy()),
            use_id: record.id.clone(),
            cameo: record.cameo.clone(),
            generator: record.generator.clone(),
            state: TakedownState::Open,
            reason,
            created: now,
            deadline: now.plus(self.settings().takedown_deadline),
            acknowledged: None,
            done: None,
            escalated: None,
        };
        takedowns::insert(tx, &takedown).await?;
        let note = Note::new(Kind::TakedownRequested)
            .public("takedown", takedown.id.as_str())
            .public("use", record.id.as_str())
            .public("generator", record.generator.as_str())
            .public("reason", reason.name());
        ledger.add(note)?;
        self.tell(tx, &takedown, "takedown.requested").await?;
        Ok(takedown)
    }

    /// The generator answers. What was answered before stays.
    ///
    /// # Errors
    /// [`Error::NotFound`] where it is not this generator's.
    pub async fn acknowledge_takedown(
        &self,
        generator: &Caller,
        id: &TakedownId,
        said: Acknowledgement,
    ) -> Result<Takedown> {
        let now = self.clock().now();
        let missing = || Error::NotFound("take-down of this generator");
        run_tx!(self.db(), "takedown.acknowledge", |tx| {
            let mut ledger = self.ledger(tx).await?;
            let found = takedowns::get(tx, id).await?.filter(|t| t.generator == generator.key);
            let found = found.ok_or_else(missing)?;
            let (news, word) = match said {
                Acknowledgement::Acknowledged => {
                    (takedowns::acknowledge(tx, id, now).await?, "acknowledged")
                }
                Acknowledgement::Done => (takedowns::done(tx, id, now).await?, "done"),
            };
            if news {
                ledger.add(answered(&found, word))?;
                ledger.write(tx).await?;
            }
            takedowns::get(tx, id).await?.ok_or_else(missing)
        })
    }

    /// A cameo's take-downs, the newest first.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn takedowns_of_cameo(
        &self,
        cameo: &CameoId,
        before: Option<&TakedownId>,
        limit: u32,
    ) -> Result<Vec<Takedown>> {
        let mut tx = self.db().read().await?;
        Ok(takedowns::by_cameo(&mut tx, cameo, before, limit.clamp(1, MAX_PAGE)).await?)
    }

    /// What a generator has to act on, the newest first.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn takedowns_of_generator(
        &self,
        generator: &Caller,
        before: Option<&TakedownId>,
        limit: u32,
    ) -> Result<Vec<Takedown>> {
        let mut tx = self.db().read().await?;
        let limit = limit.clamp(1, MAX_PAGE);
        Ok(takedowns::by_generator(&mut tx, &generator.key, before, limit).await?)
    }

    /// Those that nobody answered in time: for the operator.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn escalated_takedowns(
        &self,
        before: Option<&TakedownId>,
        limit: u32,
    ) -> Result<Vec<Takedown>> {
        let mut tx = self.db().read().await?;
        Ok(takedowns::escalated(&mut tx, before, limit.clamp(1, MAX_PAGE)).await?)
    }

    /// Escalates what was not answered in time: an entry in the log, a last message to the
    /// generator, a place on the operator's list.
    pub(super) async fn escalate_overdue(&self) -> Result<()> {
        let now = self.clock().now();
        let overdue = takedowns::overdue(&mut self.db().read().await?, now, BATCH).await?;
        for takedown in overdue {
            let escalated = run_tx!(self.db(), "takedown.escalate", |tx| {
                let mut ledger = self.ledger(tx).await?;
                if !takedowns::escalate(tx, &takedown.id, now).await? {
                    return Ok::<_, Error>(false);
                }
                let note = Note::new(Kind::TakedownEscalated)
                    .public("takedown", takedown.id.as_str())
                    .public("use", takedown.use_id.as_str())
                    .public("generator", takedown.generator.as_str());
                ledger.add(note)?;
                ledger.write(tx).await?;
                self.tell(tx, &takedown, "takedown.escalated").await?;
                Ok(true)
            })?;
            if escalated {
                metrics::counter!("cameo_takedowns_escalated_total").increment(1);
                tracing::warn!(takedown = %takedown.id, generator = %takedown.generator,
                    "a take-down was not acknowledged in time");
                self.mail.notify_one();
            }
        }
        Ok(())
    }

    /// Puts a message about a take-down on its way. Where the generator has no webhook, it waits in
    /// its list of take-downs.
    async fn tell(&self, tx: &mut Tx, takedown: &Takedown, kind: &'static str) -> Result<()> {
        let Some(hook) = webhooks::get(tx, &takedown.generator).await? else { return Ok(()) };
        if hook.disabled.is_some() {
            return Ok(());
        }
        let now = self.clock().now();
        let latest = outcomes::latest(tx, &takedown.use_id).await?;
        let body = json!({
            "type": kind,
            "timestamp": now.rfc3339(),
            "data": {
                "takedown_id": takedown.id,
                "use_id": takedown.use_id,
                "reason": takedown.reason,
                "deadline": takedown.deadline.rfc3339(),
                "content_sha256": latest.and_then(|o| o.content_sha256).map(hex::encode),
            },
        });
        let id = MessageId::new(self.clock(), self.entropy());
        webhooks::send(tx, &id, &takedown.generator, kind, &body.to_string(), now).await?;
        Ok(())
    }
}

/// The log's entry about an answer.
pub(super) fn answered<'a>(takedown: &Takedown, word: &str) -> Note<'a> {
    Note::new(Kind::TakedownAnswered)
        .public("takedown", takedown.id.as_str())
        .public("use", takedown.use_id.as_str())
        .public("generator", takedown.generator.as_str())
        .public("answer", word)
}
