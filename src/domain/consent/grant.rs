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

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1000);

    fn people(n: usize) -> BTreeSet<SubjectId> {
        (0..n).map(|i| format!("p{i}").parse().unwrap()).collect()
    }

    /// The field that is not fit, where one is.
    fn unfit(change: impl FnOnce(&mut Scope)) -> Option<&'static str> {
        let mut scope = Scope::default();
        change(&mut scope);
        let found = scope.check(NOW).err().map(|e| e.field);
        // The standing permissions hold their scope to the same.
        let standing = Permissions { scope, ..Permissions::default() };
        assert_eq!(standing.check(NOW).err().map(|e| e.field), found);
        found
    }

    #[test]
    fn every_bound_holds_and_what_lies_on_it_is_fit() {
        assert_eq!(unfit(|_| ()), None);
        let keys = |n: usize| -> Option<BTreeSet<ApiKeyId>> {
            Some((0..n).map(|i| format!("key_{i:026}").parse().unwrap()).collect())
        };
        assert_eq!(unfit(|s| s.generators = keys(MAX_LISTED)), None);
        assert_eq!(unfit(|s| s.generators = keys(MAX_LISTED + 1)), Some("generators"));
        assert_eq!(unfit(|s| s.company = Company::People(people(MAX_LISTED))), None);
        assert_eq!(unfit(|s| s.company = Company::People(people(MAX_LISTED + 1))), Some("company"));

        assert_eq!(unfit(|s| s.until = Some(NOW)), Some("until"));
        assert_eq!(unfit(|s| s.until = Some(Millis(1001))), None);
        let span =
            |from, until| unfit(|s| (s.from, s.until) = (Some(Millis(from)), Some(Millis(until))));
        assert_eq!((span(2000, 2001), span(2000, 2000)), (None, Some("until")));
        assert_eq!(span(2000, 1999), Some("until"));

        for (uses, per_day, fits) in
            [(Some(1), Some(1), true), (Some(0), None, false), (None, Some(0), false)]
        {
            let found = unfit(|s| (s.max_uses, s.max_per_day) = (uses, per_day));
            assert_eq!(found.is_none(), fits, "{uses:?} {per_day:?}");
        }

        let words = |n: usize, text: &str| {
            let text = text.to_owned();
            unfit(|s| s.restrictions = vec![text; n])
        };
        assert_eq!(words(MAX_RESTRICTIONS, "no weapons"), None);
        assert_eq!(words(MAX_RESTRICTIONS + 1, "no weapons"), Some("restrictions"));
        assert_eq!(words(1, &"x".repeat(MAX_RESTRICTION)), None);
        for bad in [&*"x".repeat(MAX_RESTRICTION + 1), "", " \u{a0}", "a\nb", "\u{7}"] {
            assert_eq!(words(1, bad), Some("restrictions"), "{bad:?}");
        }
    }

    #[test]
    fn lists_of_people_are_bounded_and_not_printed() {
        let full = || people(MAX_LISTED);
        let fits = Permissions { allow: full(), block: full(), ..Permissions::default() };
        assert_eq!(fits.check(NOW), Ok(()));
        let one_more = people(MAX_LISTED + 1);
        for bad in [
            Permissions { allow: one_more.clone(), ..fits.clone() },
            Permissions { block: one_more, ..fits.clone() },
        ] {
            assert_eq!(bad.check(NOW).unwrap_err().field, "allow, block");
        }
        assert_eq!(format!("{fits:?}"), "Permissions(only_me, 10000 allowed, 10000 blocked, {})");
    }

    #[test]
    fn a_grants_name_reads_back() {
        let personal: GrantId = "gra_01JD3ZP3V5Q8W9X0Y1Z2A3B4C5".parse().unwrap();
        for grant in [GrantRef::Standing, GrantRef::Personal(personal.clone())] {
            assert_eq!(grant.name().parse(), Ok(grant));
        }
        assert_eq!(GrantRef::Standing.name(), "standing");
        assert_eq!(GrantRef::Personal(personal.clone()).name(), personal.as_str());
        assert!("".parse::<GrantRef>().is_err());
    }
}
