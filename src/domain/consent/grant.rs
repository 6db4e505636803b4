//! What a person grants.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::vocabulary::{Audience, Company, Purpose, Region, Style};
use crate::domain::ids::{ApiKeyId, GrantId, SubjectId};
use crate::env::Millis;

/// The most people on one list, and the most generators or regions in one scope.
pub const MAX_LISTED: usize = 10_000;
/// The most restrictions in one scope. Two scopes' together fit in a token.
pub const MAX_RESTRICTIONS: usize = 16;
/// The longest restriction, in bytes.
pub const MAX_RESTRICTION: usize = 500;

/// What a grant covers. What is not granted is refused; where a set is `None`, any is granted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scope {
    /// What for. Empty: nothing.
    pub purposes: BTreeSet<Purpose>,
    /// Which generators.
    pub generators: Option<BTreeSet<ApiKeyId>>,
    /// In which styles.
    pub styles: Option<BTreeSet<Style>>,
    /// Whether the voice may be used.
    pub voice: bool,
    /// Whether images of the person may be handed out.
    pub images: bool,
    /// Who else may appear.
    pub company: Company,
    /// Where it may be shown.
    pub regions: Option<BTreeSet<Region>>,
    /// From when on.
    pub from: Option<Millis>,
    /// Until when; that moment is not covered any more.
    pub until: Option<Millis>,
    /// How often, all in all.
    pub max_uses: Option<u32>,
    /// How often on one day of UTC.
    pub max_per_day: Option<u32>,
    /// What the generator has to heed, in the person's words.
    pub restrictions: Vec<String>,
}

/// Why a scope or permissions can't be granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Unfit {
    /// The field.
    pub field: &'static str,
    /// What is wrong with it and what would be right.
    pub reason: String,
}

impl Scope {
    /// Checks every bound that the type can't express.
    ///
    /// # Errors
    /// [`Unfit`], naming the field.
    pub fn check(&self, now: Millis) -> Result<(), Unfit> {
        let unfit = |field, reason: String| Err(Unfit { field, reason });
        let most = |n: usize| n > MAX_LISTED;
        if self.generators.as_ref().is_some_and(|s| most(s.len())) {
            return unfit("generators", format!("at most {MAX_LISTED}"));
        }
        if matches!(&self.company, Company::People(people) if most(people.len())) {
            return unfit("company", format!("at most {MAX_LISTED} people"));
        }
        if self.until.is_some_and(|until| until <= now) {
            return unfit("until", "must lie ahead".into());
        }
        if let (Some(from), Some(until)) = (self.from, self.until)
            && until <= from
        {
            return unfit("until", "must lie after `from`".into());
        }
        if self.max_uses == Some(0) || self.max_per_day == Some(0) {
            return unfit("max_uses, max_per_day", "must be at least 1".into());
        }
        if self.restrictions.len() > MAX_RESTRICTIONS {
            return unfit("restrictions", format!("at most {MAX_RESTRICTIONS}"));
        }
        let bad = |text: &String| {
            text.trim().is_empty()
                || text.len() > MAX_RESTRICTION
                || text.chars().any(char::is_control)
        };
        if self.restrictions.iter().any(bad) {
            return unfit(
                "restrictions",
                format!("each 1 to {MAX_RESTRICTION} bytes without control characters"),
            );
        }
        Ok(())
    }
}

/// A person's standing permissions at one moment. A change is a new version; none is overwritten.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permissions {
    /// Who may use the cameo.
    pub audience: Audience,
    /// People who may, whatever the audience but `only_me`.
    #[serde(default)]
    pub allow: BTreeSet<SubjectId>,
    /// People who may not, whatever else is said.
    #[serde(default)]
    pub block: BTreeSet<SubjectId>,
    /// What they may.
    #[serde(default)]
    pub scope: Scope,
}

impl Permissions {
    /// Checks every bound that the type can't express.
    ///
    /// # Errors
    /// [`Unfit`], naming the field.
    pub fn check(&self, now: Millis) -> Result<(), Unfit> {
        if self.allow.len() > MAX_LISTED || self.block.len() > MAX_LISTED {
            let reason = format!("at most {MAX_LISTED} people on a list");
            return Err(Unfit { field: "allow, block", reason });
        }
        self.scope.check(now)
    }
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
            self.scope.purposes
        )
    }
}

impl Default for Permissions {
    /// What holds before the person has said anything: only they themselves.
    fn default() -> Self {
        Self {
            audience: Audience::OnlyMe,
            allow: BTreeSet::new(),
            block: BTreeSet::new(),
            scope: Scope::default(),
        }
    }
}

/// What allowed a use, or would.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GrantRef {
    /// The standing permissions.
    Standing,
    /// A grant to one person.
    Personal(GrantId),
}

impl GrantRef {
    /// The name in the store and in JSON: `standing`, or the grant's id.
    pub fn name(&self) -> &str {
        match self {
            Self::Standing => "standing",
            Self::Personal(id) => id.as_str(),
        }
    }
}

impl std::str::FromStr for GrantRef {
    type Err = crate::domain::ids::IdError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        if s == "standing" { Ok(Self::Standing) } else { s.parse().map(Self::Personal) }
    }
}

/// A grant to one person, besides the standing permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// Whom it is for.
    pub to: SubjectId,
    /// What they may.
    pub scope: Scope,
}

/// The standing permissions and their version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The consent's version.
    pub version: u32,
    /// What it says.
    pub permissions: Permissions,
}

/// Everything that a person has granted and not taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// The standing permissions; `None` before consent was given and after it was withdrawn.
    pub standing: Option<Standing>,
    /// Grants to single people, in any order.
    pub personal: Vec<Grant>,
}
