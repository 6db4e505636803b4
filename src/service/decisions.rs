//! What a decision rests on, and decisions that have no effect: the dry run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::consent::open_consent;
use super::grants::open_grant;
use super::subject::Person;
use super::{Error, Inner, Result};
use crate::domain::consent::{
    Audience, Decision, Grant, GrantRef, Grants, Obligations, Parent, Permissions, Purpose, Region,
    Relation, Rule, Scope, Standing, State, Style, UseRequest, decide,
};
use crate::domain::ids::{ApiKeyId, CameoId, SubjectId, UseId};
use crate::env::Millis;
use crate::store::cameos::{Cameo, CameoState};
use crate::store::dossiers::{self, Dossier};
use crate::store::uses::{self, Use, UseOutcome};
use crate::store::{Tx, grants};

/// What a generator asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The cameos of the scene: one, or several that are given together or not at all.
    pub cameos: Vec<CameoId>,
    /// Who asks the generator for the video.
    pub requester: SubjectId,
    /// What for.
    pub purpose: Purpose,
    /// How the people are to look.
    pub style: Style,
    /// Where it will be shown.
    pub region: Option<Region>,
    /// Whether it makes no sense without the voice.
    pub needs_voice: bool,
    /// Whether it makes no sense without images.
    pub needs_images: bool,
    /// The use that made the video which this one derives from.
    pub parent: Option<UseId>,
    /// SHA-256 of the generator's own request, where the token is to be good for that one alone.
    pub request_digest: Option<[u8; 32]>,
}

/// The most cameos in one scene.
pub const MAX_SCENE: usize = 8;
/// The longest chain of videos derived from each other.
const MAX_ANCESTORS: usize = 16;

/// One cameo with everything that a decision about it rests on.
pub(super) struct Case {
    pub(super) dossier: Arc<Dossier>,
    pub(super) person: Person,
    pub(super) grants: Grants,
    pub(super) state: State,
    /// The newest version of the consent, also a withdrawn one.
    pub(super) consent_version: Option<u32>,
}

/// Who follows each other, as far as this decision needs it.
#[derive(Debug, Default)]
pub(super) enum Relations {
    /// The app tells us ahead; it stands in the store.
    #[default]
    Pushed,
    /// The app was asked, for these owners.
    Asked(BTreeMap<SubjectId, Relation>),
}

/// The decision on one cameo.
pub(super) struct Judged {
    pub(super) case: Case,
    pub(super) decision: Decision,
}

impl Case {
    pub(super) fn cameo(&self) -> &Cameo {
        &self.dossier.cameo
    }
}

impl Inner {
    /// Decides on every cameo of a request, by what this transaction sees.
    pub(super) async fn judge(
        &self,
        tx: &mut Tx,
        generator: &ApiKeyId,
        request: &Request,
        relations: &Relations,
        now: Millis,
    ) -> Result<Vec<Judged>> {
        let mut cases = Vec::with_capacity(request.cameos.len());
        for id in &request.cameos {
            let case = self.case(tx, id, &request.requester, relations, now).await?;
            cases.push(case.ok_or(Error::NotFound("cameo"))?);
        }
        let people: BTreeSet<SubjectId> = cases.iter().map(|c| c.cameo().subject.clone()).collect();
        let parent = match &request.parent {
            None => Parent::None,
            Some(parent) => {
                self.ask_parents(tx, generator, request, parent, &people, relations, now).await?
            }
        };
        let judged = cases.into_iter().map(|mut case| {
            case.state.parent = parent;
            let asked = asked(generator, request, &case.cameo().subject, request.purpose, &people);
            let decision = decide(&asked, &case.grants, &case.state, now);
            Judged { case, decision }
        });
        Ok(judged.collect())
    }

    /// One cameo; `None` where there is none or it was deleted.
    pub(super) async fn case(
        &self,
        tx: &mut Tx,
        id: &CameoId,
        requester: &SubjectId,
        relations: &Relations,
        now: Millis,
    ) -> Result<Option<Case>> {
        let found = dossiers::get(tx, id).await?.filter(|d| d.cameo.state == CameoState::Active);
        let Some(dossier) = found else { return Ok(None) };
        let Some(subject) = &dossier.subject else { return Ok(None) };
        let (cameo, person) = (&dossier.cameo, self.unwrap_person(subject)?);
        let latest = match &dossier.consent {
            Some(row) => Some(open_consent(&person, row.clone())?),
            None => None,
        };
        let consent_version = latest.as_ref().map(|c| c.version);
        let mut state = State { frozen: cameo.frozen.is_some(), ..State::default() };
        let mut all = Grants::default();
        if let Some(consent) = latest {
            match consent.permissions {
                None => state.withdrawn = true,
                Some(permissions) => {
                    all.standing = Some(Standing { version: consent.version, permissions });
                }
            }
        }
        if let Some(standing) = &all.standing {
            let permissions = &standing.permissions;
            if needs_relation(permissions, &cameo.subject, requester) {
                state.relation = self.relation(tx, &cameo.subject, requester, relations).await?;
            }
            if dossier.has_grants {
                all.personal = self.grants_to(tx, &person, id, requester).await?;
            }
        }
        let scopes = all
            .standing
            .iter()
            .map(|s| (GrantRef::Standing, &s.permissions.scope))
            .chain(all.personal.iter().map(|g| (GrantRef::Personal(g.id.clone()), &g.scope)));
        for (grant, _) in scopes.filter(|(_, scope)| is_limited(scope)) {
            let used = grants::used(tx, id, &grant, day(now)).await?;
            state.used.insert(grant, used);
        }
        Ok(Some(Case { dossier, person, grants: all, state, consent_version }))
    }

    /// Counts a use of the grant that allowed it, where the grant has a limit.
    pub(super) async fn count_use(
        &self,
        tx: &mut Tx,
        case: &Case,
        grant: &GrantRef,
        now: Millis,
    ) -> Result<()> {
        if case.state.used.contains_key(grant) {
            grants::count(tx, &case.cameo().id, grant, day(now)).await?;
        }
        Ok(())
    }

    async fn grants_to(
        &self,
        tx: &mut Tx,
        person: &Person,
        cameo: &CameoId,
        requester: &SubjectId,
    ) -> Result<Vec<Grant>> {
        let stored = grants::to(tx, cameo, &person.tag(requester)).await?;
        stored.iter().map(|g| open_grant(person, g)).collect()
    }

    /// Whether everyone in the videos that the new one derives from permits a remix, as things
    /// stand now. Somebody who is gone can't be asked, and so does not.
    #[allow(clippy::too_many_arguments)] // what a decision rests on
    async fn ask_parents(
        &self,
        tx: &mut Tx,
        generator: &ApiKeyId,
        request: &Request,
        parent: &UseId,
        people: &BTreeSet<SubjectId>,
        relations: &Relations,
        now: Millis,
    ) -> Result<Parent> {
        let Some(ancestors) = ancestors(tx, parent).await? else { return Ok(Parent::Refuses) };
        let ids: BTreeSet<CameoId> = ancestors.into_iter().map(|u| u.cameo).collect();
        let mut cases = Vec::new();
        for id in &ids {
            match self.case(tx, id, &request.requester, relations, now).await? {
                Some(case) => cases.push(case),
                None => return Ok(Parent::Refuses),
            }
        }
        let mut all = people.clone();
        all.extend(cases.iter().map(|c| c.cameo().subject.clone()));
        let permits = cases.iter().all(|case| {
            let asked = asked(generator, request, &case.cameo().subject, Purpose::Remix, &all);
            matches!(decide(&asked, &case.grants, &case.state, now), Decision::Allow { .. })
        });
        Ok(if permits { Parent::Permits } else { Parent::Refuses })
    }
}

/// The uses that made the parent video and those which that one derives from; `None` where the
/// chain is too long.
///
/// # Errors
/// [`Error::NotFound`] where the parent is no use that was allowed.
pub(super) async fn ancestors(tx: &mut Tx, parent: &UseId) -> Result<Option<Vec<Use>>> {
    let mut all = Vec::new();
    let mut next = Some(parent.clone());
    for _ in 0..MAX_ANCESTORS {
        let Some(id) = &next else { return Ok(Some(all)) };
        let found = uses::get(tx, id).await?;
        let found = found.filter(|u| matches!(u.outcome, UseOutcome::Allowed { .. }));
        let found = found.ok_or(Error::NotFound("use that `parent` names"))?;
        next.clone_from(&found.parent);
        match &found.scene {
            Some(scene) => all.extend(uses::by_scene(tx, scene).await?),
            None => all.push(found),
        }
    }
    Ok(None)
}

/// The question about one person of the scene.
fn asked(
    generator: &ApiKeyId,
    request: &Request,
    owner: &SubjectId,
    purpose: Purpose,
    people: &BTreeSet<SubjectId>,
) -> UseRequest {
    UseRequest {
        owner: owner.clone(),
        requester: request.requester.clone(),
        generator: generator.clone(),
        purpose,
        style: request.style,
        region: request.region,
        company: people.iter().filter(|p| *p != owner).cloned().collect(),
        needs_voice: request.needs_voice,
        needs_images: request.needs_images,
    }
}

/// Whether it matters who follows whom.
pub(super) fn needs_relation(
    permissions: &Permissions,
    owner: &SubjectId,
    requester: &SubjectId,
) -> bool {
    permissions.audience == Audience::Mutuals
        && requester != owner
        && !permissions.allow.contains(requester)
        && !permissions.block.contains(requester)
}

fn is_limited(scope: &Scope) -> bool {
    scope.max_uses.is_some() || scope.max_per_day.is_some()
}

/// The day of UTC, counted from 1970.
fn day(now: Millis) -> i64 {
    now.0.div_euclid(86_400_000)
}

/// What would happen with one cameo, as anyone may know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreseen {
    /// The cameo.
    pub cameo: CameoId,
    /// The rule that would refuse.
    pub rule: Option<Rule>,
    /// What the use would be bound to, where none would.
    pub obligations: Option<Obligations>,
}

impl Foreseen {
    /// The rules that were looked at, in their order: all, or those up to the one that refuses. Those
    /// that look like another to the public are not named.
    pub fn looked_at(&self) -> impl Iterator<Item = Rule> + use<> {
        let last = self.rule;
        Rule::ALL
            .iter()
            .copied()
            .filter(|r| r.public() == *r && *r != Rule::Scene)
            .filter(move |r| last.is_none_or(|last| *r <= last))
    }
}

impl Inner {
    /// What [`resolve`](Inner::resolve) would decide, at this moment or another, without any effect.
    ///
    /// # Errors
    /// As [`resolve`](Inner::resolve).
    pub async fn foresee(
        &self,
        generator: &ApiKeyId,
        request: &Request,
        at: Option<Millis>,
    ) -> Result<Vec<Foreseen>> {
        request.check()?;
        let relations = self.relations(request).await?;
        let mut tx = self.db().snapshot().await?;
        let now = at.unwrap_or_else(|| self.clock().now());
        let judged = self.judge(&mut tx, generator, request, &relations, now).await?;
        let foreseen = judged.into_iter().map(|j| {
            let cameo = j.case.cameo().id.clone();
            match j.decision {
                Decision::Allow { obligations, .. } => {
                    Foreseen { cameo, rule: None, obligations: Some(obligations) }
                }
                Decision::Deny { rule } => {
                    Foreseen { cameo, rule: Some(rule.public()), obligations: None }
                }
            }
        });
        Ok(foreseen.collect())
    }
}
