//! Who may use a cameo, and for what.
//!
//! [`decide`] is the one function that says yes or no. It is pure and total; a refusal names the
//! rule that refused, and refusing always wins over allowing.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ids::SubjectId;
use crate::env::Millis;

/// Who may use a cameo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Nobody but the person.
    OnlyMe,
    /// The people on the person's list.
    Approved,
    /// People who follow the person and whom the person follows, and those on the list.
    Mutuals,
    /// Everyone who is not blocked.
    Everyone,
}

impl Audience {
    /// Every audience, from the narrowest to the widest.
    pub const ALL: [Self; 4] = [Self::OnlyMe, Self::Approved, Self::Mutuals, Self::Everyone];

    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::OnlyMe => "only_me",
            Self::Approved => "approved",
            Self::Mutuals => "mutuals",
            Self::Everyone => "everyone",
        }
    }
}

/// What a generated video is for, aligned with the purposes of the W3C Data Privacy Vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// For the requester alone.
    Personal,
    /// Shared with others, without payment.
    Social,
    /// A new version of an existing video.
    Remix,
    /// Sold, or part of something sold.
    Commercial,
    /// Advertising a product or a service.
    Advertising,
    /// Political speech.
    Political,
    /// Sexual content.
    Adult,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 7] = [
        Self::Personal,
        Self::Social,
        Self::Remix,
        Self::Commercial,
        Self::Advertising,
        Self::Political,
        Self::Adult,
    ];

    /// The name used in JSON, in tokens and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Personal => "personal",
            Self::Social => "social",
            Self::Remix => "remix",
            Self::Commercial => "commercial",
            Self::Advertising => "advertising",
            Self::Political => "political",
            Self::Adult => "adult",
        }
    }
}

/// A person's permissions as they stood at one moment. A change is a new version; none is
/// overwritten.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permissions {
    /// Who may use the cameo.
    pub audience: Audience,
    /// People who may, whatever the audience.
    #[serde(default)]
    pub allow: BTreeSet<SubjectId>,
    /// People who may not, whatever else is said.
    #[serde(default)]
    pub block: BTreeSet<SubjectId>,
    /// What it may be used for by others. Empty: nothing.
    #[serde(default)]
    pub purposes: BTreeSet<Purpose>,
    /// Whether the voice may be used.
    #[serde(default)]
    pub voice: bool,
    /// When the permissions run out, where they do.
    #[serde(default)]
    pub until: Option<Millis>,
}

/// Names people, so it is not printed.
impl std::fmt::Debug for Permissions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Permissions({}, {} allowed, {} blocked, {:?})",
            self.audience.name(),
            self.allow.len(),
            self.block.len(),
            self.purposes
        )
    }
}

/// The most people on one list.
pub const MAX_LISTED: usize = 10_000;

impl Default for Permissions {
    /// What holds before the person has said anything: only they themselves.
    fn default() -> Self {
        Self {
            audience: Audience::OnlyMe,
            allow: BTreeSet::new(),
            block: BTreeSet::new(),
            purposes: BTreeSet::new(),
            voice: false,
            until: None,
        }
    }
}

/// What somebody wants to do with a cameo.
#[derive(Clone, Debug)]
pub struct UseRequest<'a> {
    /// Whose cameo it is.
    pub owner: &'a SubjectId,
    /// Who asks the generator for the video.
    pub requester: &'a SubjectId,
    /// What for.
    pub purpose: Purpose,
    /// Whether the requester and the owner follow each other; `None` where nobody knows.
    pub mutual: Option<bool>,
}

/// The rule that refused. Codes are stable and part of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The person never gave consent, or withdrew it.
    NoConsent,
    /// The permissions ran out.
    Expired,
    /// The requester is not in the audience. Being blocked gives the same answer, so that nobody
    /// can find out who blocked them.
    Audience,
    /// The purpose is not among those allowed.
    Purpose,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 4] = [Self::NoConsent, Self::Expired, Self::Audience, Self::Purpose];

    /// The name used in JSON and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoConsent => "no_consent",
            Self::Expired => "expired",
            Self::Audience => "audience",
            Self::Purpose => "purpose",
        }
    }

    /// The rule in a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::NoConsent => "The person has not consented to any use of this cameo.",
            Self::Expired => "The person's permissions for this cameo have run out.",
            Self::Audience => "The requester may not use this cameo.",
            Self::Purpose => "The person does not allow this purpose.",
        }
    }
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The use is permitted.
    Allow {
        /// Whether the token may carry the voice.
        voice: bool,
    },
    /// It is not.
    Deny(Rule),
}

/// Decides on one use.
///
/// `permissions` is the newest version, `None` where there is none or it was withdrawn. The owner
/// may always use their own cameo for the personal purpose as long as consent stands.
pub fn decide(permissions: Option<&Permissions>, request: &UseRequest<'_>, now: Millis) -> Outcome {
    let Some(p) = permissions else { return Outcome::Deny(Rule::NoConsent) };
    if p.until.is_some_and(|until| now >= until) {
        return Outcome::Deny(Rule::Expired);
    }
    let own = request.requester == request.owner;
    if p.block.contains(request.requester) && !own {
        return Outcome::Deny(Rule::Audience);
    }
    let in_audience = own
        || p.allow.contains(request.requester)
        || match p.audience {
            Audience::OnlyMe | Audience::Approved => false,
            Audience::Mutuals => request.mutual == Some(true),
            Audience::Everyone => true,
        };
    if p.audience == Audience::OnlyMe && !own || !in_audience {
        return Outcome::Deny(Rule::Audience);
    }
    let purpose_ok =
        p.purposes.contains(&request.purpose) || own && request.purpose == Purpose::Personal;
    if !purpose_ok {
        return Outcome::Deny(Rule::Purpose);
    }
    Outcome::Allow { voice: p.voice }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn who(n: u8) -> SubjectId {
        format!("u{n}").parse().unwrap()
    }

    prop_compose! {
        fn permissions()(
            audience in 0usize..4,
            allow in prop::collection::btree_set(0u8..6, 0..4),
            block in prop::collection::btree_set(0u8..6, 0..4),
            purposes in prop::collection::btree_set(0usize..7, 0..7),
            voice: bool,
            until in prop::option::of(0i64..20),
        ) -> Permissions {
            Permissions {
                audience: Audience::ALL[audience],
                allow: allow.into_iter().map(who).collect(),
                block: block.into_iter().map(who).collect(),
                purposes: purposes.into_iter().map(|p| Purpose::ALL[p]).collect(),
                voice,
                until: until.map(Millis),
            }
        }
    }

    fn ask(
        p: &Permissions,
        requester: u8,
        purpose: usize,
        mutual: Option<bool>,
        now: i64,
    ) -> Outcome {
        let (owner, requester) = (who(0), who(requester));
        let request = UseRequest {
            owner: &owner,
            requester: &requester,
            purpose: Purpose::ALL[purpose],
            mutual,
        };
        decide(Some(p), &request, Millis(now))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn blocking_never_allows(p in permissions(), r in 1u8..6, purpose in 0usize..7, m: Option<bool>, now in 0i64..20) {
            let mut blocked = p.clone();
            blocked.block.insert(who(r));
            prop_assert!(matches!(ask(&blocked, r, purpose, m, now), Outcome::Deny(_)));
            // Blocking somebody else changes nothing for this requester.
            let mut other = p.clone();
            other.block.insert(who((r % 5) + 1));
            prop_assert_eq!(ask(&p, r, purpose, m, now), ask(&other, r, purpose, m, now));
        }

        #[test]
        fn after_the_end_nothing_is_allowed(p in permissions(), r in 0u8..6, purpose in 0usize..7, m: Option<bool>) {
            if let Some(until) = p.until {
                prop_assert_eq!(ask(&p, r, purpose, m, until.0), Outcome::Deny(Rule::Expired));
            }
        }

        #[test]
        fn only_me_means_only_me(p in permissions(), r in 1u8..6, purpose in 0usize..7, m: Option<bool>) {
            let p = Permissions { audience: Audience::OnlyMe, ..p };
            prop_assert!(matches!(ask(&p, r, purpose, m, 0), Outcome::Deny(_)));
        }

        #[test]
        fn an_unknown_graph_is_no_mutual(p in permissions(), r in 1u8..6, purpose in 0usize..7, now in 0i64..20) {
            prop_assert_eq!(ask(&p, r, purpose, None, now), ask(&p, r, purpose, Some(false), now));
        }

        #[test]
        fn a_purpose_that_is_not_listed_is_refused_to_others(p in permissions(), r in 1u8..6, purpose in 0usize..7, now in 0i64..20) {
            if !p.purposes.contains(&Purpose::ALL[purpose]) {
                prop_assert!(matches!(ask(&p, r, purpose, Some(true), now), Outcome::Deny(_)));
            }
        }
    }

    #[test]
    fn a_table_of_plain_cases() {
        let social = |audience| Permissions {
            audience,
            allow: [who(1)].into(),
            block: [who(2)].into(),
            purposes: [Purpose::Social].into(),
            voice: true,
            until: None,
        };
        let yes = Outcome::Allow { voice: true };
        let no = Outcome::Deny(Rule::Audience);
        for (audience, requester, mutual, expected) in [
            (Audience::Everyone, 3, None, yes),
            (Audience::Everyone, 2, Some(true), no),
            (Audience::Mutuals, 3, Some(true), yes),
            (Audience::Mutuals, 3, Some(false), no),
            (Audience::Mutuals, 1, None, yes),
            (Audience::Approved, 1, None, yes),
            (Audience::Approved, 3, Some(true), no),
            (Audience::OnlyMe, 1, Some(true), no),
            (Audience::OnlyMe, 0, None, yes),
        ] {
            assert_eq!(
                ask(&social(audience), requester, 1, mutual, 0),
                expected,
                "{audience:?} {requester}"
            );
        }
        assert_eq!(ask(&social(Audience::Everyone), 3, 4, None, 0), Outcome::Deny(Rule::Purpose));
        let (a, b) = (who(0), who(1));
        let request =
            UseRequest { owner: &a, requester: &b, purpose: Purpose::Social, mutual: None };
        assert_eq!(decide(None, &request, Millis(0)), Outcome::Deny(Rule::NoConsent));
    }
}
