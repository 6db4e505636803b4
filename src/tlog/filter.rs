//! Which entries an auditor wants to see: what the public part of an entry can be asked for.

use serde::{Deserialize, Serialize};

use super::entry::{Attribute, Entry, Kind};
use crate::env::Millis;

/// What an entry has to be. What is not given, everything is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Not before this time, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Millis>,
    /// Before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Millis>,
    /// Of one of these kinds; none: of any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// Made for this generator's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator: Option<String>,
    /// With this purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// With this verdict or other outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Refused by this rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// There is no such kind of entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no kind of entry called {0}")]
pub struct UnknownKind(pub String);

impl Filter {
    /// Whether it asks for anything at all.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Checks the names of the kinds.
    ///
    /// # Errors
    /// [`UnknownKind`].
    pub fn check(&self) -> Result<(), UnknownKind> {
        match self.kinds.iter().find(|k| Kind::from_name(k).is_none()) {
            Some(unknown) => Err(UnknownKind(unknown.clone())),
            None => Ok(()),
        }
    }

    /// Whether an entry is asked for.
    pub fn matches(&self, entry: &Entry) -> bool {
        let has = |label: &str, wanted: &Option<String>| match wanted {
            None => true,
            Some(wanted) => {
                matches!(entry.attributes.get(label), Some(Attribute::Text(t)) if t == wanted)
            }
        };
        self.since.is_none_or(|t| entry.time >= t)
            && self.until.is_none_or(|t| entry.time < t)
            && (self.kinds.is_empty() || self.kinds.iter().any(|k| k == entry.kind.name()))
            && has("generator", &self.generator)
            && has("purpose", &self.purpose)
            && has("outcome", &self.outcome)
            && has("rule", &self.rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_narrows() {
        let entry = Entry::new(Kind::ResolveDenied, Millis(5000))
            .with("generator", "key_1")
            .with("purpose", "social")
            .with("rule", "purpose_not_allowed");
        assert!(Filter::default().is_all() && Filter::default().matches(&entry));
        let text = |t: &str| Some(t.to_owned());
        let fits = Filter {
            since: Some(Millis(5000)),
            until: Some(Millis(5001)),
            kinds: vec!["verdict".into(), "resolve_denied".into()],
            generator: text("key_1"),
            purpose: text("social"),
            outcome: None,
            rule: text("purpose_not_allowed"),
        };
        assert!(fits.matches(&entry) && fits.check().is_ok());
        for narrower in [
            Filter { since: Some(Millis(5001)), ..fits.clone() },
            Filter { until: Some(Millis(5000)), ..fits.clone() },
            Filter { kinds: vec!["verdict".into()], ..fits.clone() },
            Filter { generator: text("key_2"), ..fits.clone() },
            Filter { purpose: text("adult"), ..fits.clone() },
            Filter { outcome: text("verified"), ..fits.clone() },
            Filter { rule: text("blocked"), ..fits.clone() },
        ] {
            assert!(!narrower.matches(&entry), "{narrower:?}");
        }
        let unknown = Filter { kinds: vec!["nonsense".into()], ..Filter::default() };
        assert_eq!(unknown.check(), Err(UnknownKind("nonsense".into())));
    }
}
