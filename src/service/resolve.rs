//! Resolving: a generator asks for cameos, and gets a conditioning token for each where consent
//! allows it.

use super::access::Caller;
use super::decisions::{Judged, MAX_SCENE, Relations, Request};
use super::issue::{Decided, Issued};
use super::ledger::Ledger;
use super::once::{Answer, Call, Given};
use super::{Error, Inner, Result};
use crate::domain::consent::{Decision, Rule};
use crate::domain::ids::{CameoId, SceneId, UseId};
use crate::env::Millis;
use crate::run_batched;
use crate::store::Tx;
use crate::store::batch::Wish;
use crate::store::uses::Use;

/// The answer. Both kinds stand in the log.
#[derive(Clone)]
pub enum Resolved {
    /// Every use is permitted.
    Allowed {
        /// What the tokens were given together for; `None` for a single cameo.
        scene: Option<SceneId>,
        /// A token for each cameo, in the order of the request.
        issued: Vec<Issued>,
    },
    /// At least one is not, so no token is given.
    Denied {
        /// Every cameo, in the order of the request.
        refusals: Vec<Refusal>,
    },
}

/// A cameo that was refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The record of the refusal.
    pub use_id: UseId,
    /// The cameo.
    pub cameo: CameoId,
    /// The rule as the generator may see it; [`Rule::Scene`] where only another cameo's refused.
    pub rule: Rule,
}

impl Resolved {
    /// The rule that refused; `None` where everything is permitted.
    pub fn rule(&self) -> Option<Rule> {
        match self {
            Self::Allowed { .. } => None,
            Self::Denied { refusals } => Some(Refusal::first_rule(refusals)),
        }
    }
}

impl Refusal {
    /// The rule that refused a scene.
    pub fn first_rule(refusals: &[Self]) -> Rule {
        let own = refusals.iter().map(|r| r.rule).find(|r| *r != Rule::Scene);
        own.unwrap_or(Rule::Scene)
    }
}

impl Inner {
    /// Decides on the cameos of a scene, all or nothing, and issues their tokens. Decision, records,
    /// log entries, counted uses and kept answer are one transaction: no token leaves without its
    /// entry, no limit is overshot, and a consent that was withdrawn before is seen. A call that was
    /// carried out before gets its first answer, and has no effect.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no cameo, too many or one twice; [`Error::NotFound`] for an unknown
    /// cameo or parent; [`Error::Unavailable`] without a signing key;
    /// [`Error::IdempotencyMismatch`].
    pub async fn resolve(
        &self,
        generator: &Caller,
        request: &Request,
        call: Option<&Call>,
        answer: impl Fn(&Resolved) -> Answer + Send + Sync,
    ) -> Result<Given> {
        request.check()?;
        // Before the log's head is taken: the app may have to be asked, and places to be reserved.
        self.reserve_places(request.cameos.len()).await?;
        let relations = self.relations(request).await?;
        let wish = Wish { cameos: request.cameos.clone(), answer: call.map(Call::name) };
        let batch = self.batch().wishing(wish);
        let (given, outcome) = run_batched!(batch, "resolve", |tx| {
            self.resolve_within(tx, generator, request, &relations, call, &answer).await
        })?;
        if let Some(outcome) = outcome {
            metrics::counter!("cameo_resolves_total", "outcome" => outcome).increment(1);
        }
        Ok(given)
    }

    /// The inside of the transaction; with the answer, what it was decided by, where it was decided now.
    async fn resolve_within(
        &self,
        tx: &mut Tx,
        generator: &Caller,
        request: &Request,
        relations: &Relations,
        call: Option<&Call>,
        answer: &(impl Fn(&Resolved) -> Answer + Send + Sync),
    ) -> Result<(Given, Option<&'static str>)> {
        let mut ledger = self.ledger(tx).await?;
        if let Some(call) = call
            && let Some(answer) = self.answer_within(tx, call).await?
        {
            return Ok((Given { answer, replayed: true }, None));
        }
        let now = self.clock().now();
        let judged = self.judge(tx, &generator.key, request, relations, now).await?;
        let (resolved, records) =
            self.settle(tx, &mut ledger, generator, request, &judged, now).await?;
        // The entries stand before what refers to them.
        ledger.write(tx).await?;
        for record in records {
            self.keep_use(tx, record).await?;
        }
        let answer = answer(&resolved);
        if let Some(call) = call {
            self.keep_answer(tx, call, &answer).await?;
        }
        let outcome = resolved.rule().map_or("allowed", Rule::name);
        Ok((Given { answer, replayed: false }, Some(outcome)))
    }

    /// Makes the tokens, entries and records that follow from the decisions.
    async fn settle(
        &self,
        tx: &mut Tx,
        ledger: &mut Ledger<'_>,
        generator: &Caller,
        request: &Request,
        judged: &[Judged],
        now: Millis,
    ) -> Result<(Resolved, Vec<Use>)> {
        let scene = (judged.len() > 1).then(|| SceneId::new(self.clock(), self.entropy()));
        let refused = judged.iter().any(|j| matches!(j.decision, Decision::Deny { .. }));
        let (mut issued, mut refusals, mut records) = (Vec::new(), Vec::new(), Vec::new());
        for Judged { case, decision } in judged {
            let decided = Decided {
                use_id: UseId::new(self.clock(), self.entropy()),
                cameo: case.cameo().id.clone(),
                case,
                person: &case.person,
                generator,
                requester: &request.requester,
                purpose: request.purpose,
                consent_version: case.consent_version,
                parent: request.parent.as_ref(),
                scene: scene.as_ref(),
                request_digest: request.request_digest,
                at: now,
            };
            match decision {
                Decision::Allow { grant, obligations } if !refused => {
                    let (token, record) =
                        self.issue_token(tx, ledger, &decided, grant, obligations).await?;
                    self.count_use(tx, case, grant, now).await?;
                    issued.push(token);
                    records.push(record);
                }
                Decision::Allow { .. } | Decision::Deny { .. } => {
                    let rule = match decision {
                        Decision::Deny { rule } => rule.public(),
                        Decision::Allow { .. } => Rule::Scene,
                    };
                    records.push(self.refuse(ledger, &decided, rule)?);
                    let (use_id, cameo) = (decided.use_id, decided.cameo);
                    refusals.push(Refusal { use_id, cameo, rule });
                }
            }
        }
        let resolved = if refused {
            Resolved::Denied { refusals }
        } else {
            Resolved::Allowed { scene, issued }
        };
        Ok((resolved, records))
    }
}

impl Request {
    /// Checks what the type can't express.
    pub(super) fn check(&self) -> Result<()> {
        let distinct: std::collections::BTreeSet<_> = self.cameos.iter().collect();
        if self.cameos.is_empty()
            || self.cameos.len() > MAX_SCENE
            || distinct.len() < self.cameos.len()
        {
            let reason = format!("must name 1 to {MAX_SCENE} different cameos");
            return Err(Error::Invalid { field: "cameo_ids", reason });
        }
        Ok(())
    }
}
