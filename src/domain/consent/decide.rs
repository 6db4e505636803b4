//! The decision.

use super::grant::{Grant, GrantRef, Grants, Permissions, Scope, Standing};
use super::request::{Parent, Relation, State, UseRequest, Used};
use super::rule::Rule;
use super::vocabulary::{Audience, Company, Purpose};
use crate::domain::ids::SubjectId;
use crate::env::Millis;

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The use is permitted.
    Allow {
        /// What permits it, and is used up by it.
        grant: GrantRef,
        /// What the generator is bound to.
        obligations: Obligations,
    },
    /// It is not.
    Deny {
        /// The rule that refused. Show [`Rule::public`] to anyone but the person.
        rule: Rule,
    },
}

/// What a permitted use is bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Obligations {
    /// Whether the token may carry the voice.
    pub voice: bool,
    /// Whether the token may carry images.
    pub images: bool,
    /// What the generator has to heed: the standing restrictions, then the grant's own.
    pub restrictions: Vec<String>,
    /// The token must not outlive this moment.
    pub until: Option<Millis>,
}

/// Decides on one use.
///
/// Rules about the cameo and the requester come first and hold whatever was granted. Then each
/// grant that reaches the requester is looked at by itself, and one that covers the request is
/// enough. Where none does, the rule is that of the grant that came furthest; where several do, the
/// standing permissions come before a grant to the requester (so that a limited one is kept), and of
/// those the one that runs out first. So the order of the grants never matters.
///
/// The owner may use their own cameo for the personal purpose as long as consent stands.
pub fn decide(request: &UseRequest, grants: &Grants, state: &State, now: Millis) -> Decision {
    let standing = match barred(request, grants, state) {
        Ok(standing) => standing,
        Err(rule) => return Decision::Deny { rule },
    };
    let permissions = &standing.permissions;
    let mut covering = Vec::new();
    let mut furthest = Rule::Audience;
    for (grant, scope) in reaching(request, permissions, &grants.personal, state.relation) {
        let used = state.used.get(&grant).copied().unwrap_or_default();
        match covers(scope, &grant, &permissions.block, request, state.parent, used, now) {
            Ok(()) => covering.push((grant, scope)),
            Err(rule) => furthest = furthest.max(rule),
        }
    }
    let order = |(grant, scope): &(GrantRef, &Scope)| {
        (grant != &GrantRef::Standing, scope.until.unwrap_or(Millis(i64::MAX)), grant.clone())
    };
    match covering.into_iter().min_by_key(order) {
        Some((grant, scope)) => {
            let obligations = obligations(permissions, &grant, scope);
            Decision::Allow { grant, obligations }
        }
        None => Decision::Deny { rule: furthest },
    }
}

/// What holds whatever was granted to the requester.
fn barred<'g>(
    request: &UseRequest,
    grants: &'g Grants,
    state: &State,
) -> Result<&'g Standing, Rule> {
    if state.deleted {
        return Err(Rule::Deleted);
    }
    if state.withdrawn {
        return Err(Rule::Withdrawn);
    }
    let standing = grants.standing.as_ref().ok_or(Rule::NoConsent)?;
    if state.frozen {
        return Err(Rule::Frozen);
    }
    if request.is_own() {
        return Ok(standing);
    }
    if standing.permissions.block.contains(&request.requester) {
        return Err(Rule::Blocked);
    }
    if standing.permissions.audience == Audience::OnlyMe {
        return Err(Rule::OnlyMe);
    }
    Ok(standing)
}

/// The grants that are for the requester.
fn reaching<'g>(
    request: &UseRequest,
    permissions: &'g Permissions,
    personal: &'g [Grant],
    relation: Relation,
) -> impl Iterator<Item = (GrantRef, &'g Scope)> {
    let in_audience = request.is_own()
        || permissions.allow.contains(&request.requester)
        || match permissions.audience {
            Audience::OnlyMe | Audience::Approved => false,
            Audience::Mutuals => relation == Relation::Mutual,
            Audience::Everyone => true,
        };
    let standing = in_audience.then_some((GrantRef::Standing, &permissions.scope));
    let requester = request.requester.clone();
    let personal = personal.iter().filter(move |g| g.to == requester);
    standing.into_iter().chain(personal.map(|g| (GrantRef::Personal(g.id.clone()), &g.scope)))
}

/// Whether a grant covers the request, rule by rule in their order.
fn covers(
    scope: &Scope,
    grant: &GrantRef,
    block: &std::collections::BTreeSet<SubjectId>,
    request: &UseRequest,
    parent: Parent,
    used: Used,
    now: Millis,
) -> Result<(), Rule> {
    let needs = |holds: bool, rule: Rule| if holds { Ok(()) } else { Err(rule) };
    let own_personal =
        request.is_own() && *grant == GrantRef::Standing && request.purpose == Purpose::Personal;
    let company = |who: &SubjectId| {
        !block.contains(who)
            && match &scope.company {
                Company::Alone => false,
                Company::Requester => *who == request.requester,
                Company::People(people) => *who == request.requester || people.contains(who),
                Company::Anyone => true,
            }
    };
    let below = |limit: Option<u32>, n: u64| limit.is_none_or(|limit| n < u64::from(limit));
    needs(scope.from.is_none_or(|from| from <= now), Rule::NotYet)?;
    needs(scope.until.is_none_or(|until| now < until), Rule::Expired)?;
    needs(own_personal || scope.purposes.contains(&request.purpose), Rule::Purpose)?;
    needs(granted(scope.generators.as_ref(), &request.generator), Rule::Generator)?;
    needs(granted(scope.styles.as_ref(), &request.style), Rule::Style)?;
    needs(request.company.iter().all(company), Rule::Company)?;
    needs(
        scope.regions.as_ref().is_none_or(|r| request.region.is_some_and(|at| r.contains(&at))),
        Rule::Region,
    )?;
    needs(scope.voice || !request.needs_voice, Rule::Voice)?;
    needs(scope.images || !request.needs_images, Rule::Images)?;
    needs(parent != Parent::Refuses, Rule::Remix)?;
    needs(below(scope.max_uses, used.total), Rule::MaxUses)?;
    needs(below(scope.max_per_day, used.today), Rule::DailyLimit)
}

fn granted<T: Ord>(set: Option<&std::collections::BTreeSet<T>>, asked: &T) -> bool {
    set.is_none_or(|set| set.contains(asked))
}

/// The standing restrictions bind every use, also one under a grant to a single person.
fn obligations(permissions: &Permissions, grant: &GrantRef, scope: &Scope) -> Obligations {
    let mut restrictions = permissions.scope.restrictions.clone();
    if *grant != GrantRef::Standing {
        for own in &scope.restrictions {
            if !restrictions.contains(own) {
                restrictions.push(own.clone());
            }
        }
    }
    Obligations { voice: scope.voice, images: scope.images, restrictions, until: scope.until }
}

#[cfg(test)]
mod tests;
