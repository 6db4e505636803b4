//! Who follows whom, for the audience `mutuals`: pushed by the app, or asked of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;

use super::decisions::{Relations, Request, ancestors, needs_relation};
use super::{Error, Inner, Result};
use crate::domain::consent::Relation;
use crate::domain::ids::SubjectId;
use crate::env::Millis;
use crate::run_tx;
use crate::store::{Tx, graph};

/// Asks the app who follows whom.
pub trait AskGraph: Send + Sync + std::fmt::Debug {
    /// Whether two people follow each other. An error counts as no.
    fn mutual<'a>(
        &'a self,
        owner: &'a SubjectId,
        requester: &'a SubjectId,
    ) -> BoxFuture<'a, std::result::Result<bool, String>>;
}

/// One thing that the app says.
#[derive(Clone, Debug)]
pub struct Said {
    /// A person.
    pub person: SubjectId,
    /// Another.
    pub other: SubjectId,
    /// Whether they follow each other.
    pub mutual: bool,
}

/// The most pairs in one call.
pub const MAX_PAIRS: usize = 1000;
/// The longest that an answer of the app may be kept.
pub const MAX_KEPT: Duration = Duration::from_mins(5);
/// The most answers that are kept.
const MAX_ANSWERS: usize = 10_000;

/// Answers of the app, for a short while. Only answers: a failure is asked again.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<HashMap<(SubjectId, SubjectId), (bool, Millis)>>);

impl Inner {
    /// Takes over what the app says about pairs of people. From the return of this call every
    /// decision goes by it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no pair or too many, and where this service asks the app instead.
    pub async fn put_mutuals(&self, said: &[Said]) -> Result<()> {
        if self.parts.graph.is_some() {
            let reason = "this service asks the app itself (graph.url): there is nothing to push";
            return Err(Error::Invalid { field: "pairs", reason: reason.into() });
        }
        if said.is_empty() || said.len() > MAX_PAIRS {
            let reason = format!("must be 1 to {MAX_PAIRS} pairs");
            return Err(Error::Invalid { field: "pairs", reason });
        }
        let now = self.clock().now();
        run_tx!(self.db(), "graph.put", |tx| {
            // Decisions hold the log's head: none that is under way is overtaken.
            let _held = self.ledger(tx).await?;
            for pair in said {
                graph::set(tx, &pair.person, &pair.other, pair.mutual, now).await?;
            }
            Ok(())
        })
    }

    /// Forgets every pair that a person is in.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn forget_mutuals(&self, person: &SubjectId) -> Result<u64> {
        run_tx!(self.db(), "graph.forget", |tx| {
            let _held = self.ledger(tx).await?;
            Ok::<_, Error>(graph::forget(tx, person).await?)
        })
    }

    /// Asks the app about the owners of a request's cameos for whom it matters. An owner about whom
    /// it was not asked, or could not answer, is no mutual of the requester.
    pub(super) async fn relations(&self, request: &Request) -> Result<Relations> {
        let Some(ask) = &self.parts.graph else { return Ok(Relations::Pushed) };
        let mut answers = BTreeMap::new();
        for owner in self.owners_to_ask(request).await? {
            let relation = self.ask(&**ask, &owner, &request.requester).await;
            answers.insert(owner, relation);
        }
        Ok(Relations::Asked(answers))
    }

    /// How the requester stands to the owner.
    pub(super) async fn relation(
        &self,
        tx: &mut Tx,
        owner: &SubjectId,
        requester: &SubjectId,
        relations: &Relations,
    ) -> Result<Relation> {
        Ok(match relations {
            Relations::Pushed if graph::mutual(tx, owner, requester).await? => Relation::Mutual,
            Relations::Pushed => Relation::NotMutual,
            Relations::Asked(answers) => answers.get(owner).copied().unwrap_or_default(),
        })
    }

    async fn owners_to_ask(&self, request: &Request) -> Result<Vec<SubjectId>> {
        let mut tx = self.db().snapshot().await?;
        let mut ids = request.cameos.clone();
        if let Some(parent) = &request.parent {
            ids.extend(ancestors(&mut tx, parent).await?.into_iter().flatten().map(|u| u.cameo));
        }
        let (now, nobody) = (self.clock().now(), Relations::Asked(BTreeMap::new()));
        let mut owners = Vec::new();
        for id in ids {
            let Some(case) = self.case(&mut tx, &id, &request.requester, &nobody, now).await?
            else {
                continue;
            };
            let owner = case.cameo().subject.clone();
            let matters = case
                .grants
                .standing
                .is_some_and(|s| needs_relation(&s.permissions, &owner, &request.requester));
            if matters && !owners.contains(&owner) {
                owners.push(owner);
            }
        }
        Ok(owners)
    }

    async fn ask(&self, ask: &dyn AskGraph, owner: &SubjectId, requester: &SubjectId) -> Relation {
        let now = self.clock().now();
        let kept = self.settings().graph_kept.min(MAX_KEPT);
        if let Some(mutual) = self.answers.get(owner, requester, now) {
            return relation(mutual);
        }
        match ask.mutual(owner, requester).await {
            Ok(mutual) => {
                self.answers.put(owner, requester, mutual, now, now.plus(kept));
                relation(mutual)
            }
            Err(cause) => {
                metrics::counter!("cameo_graph_failures_total").increment(1);
                tracing::warn!(%cause, "the app's graph did not answer: nobody counts as a mutual");
                Relation::Unknown
            }
        }
    }
}

impl Cache {
    fn get(&self, owner: &SubjectId, requester: &SubjectId, now: Millis) -> Option<bool> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.get(&(owner.clone(), requester.clone()));
        found.filter(|(_, until)| now < *until).map(|(mutual, _)| *mutual)
    }

    fn put(&self, owner: &SubjectId, other: &SubjectId, mutual: bool, now: Millis, until: Millis) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_ANSWERS {
            kept.retain(|_, (_, until)| now < *until);
        }
        // Full of answers that are all good: this one is asked again next time.
        if kept.len() < MAX_ANSWERS {
            kept.insert((owner.clone(), other.clone()), (mutual, until));
        }
    }
}

fn relation(mutual: bool) -> Relation {
    if mutual { Relation::Mutual } else { Relation::NotMutual }
}
