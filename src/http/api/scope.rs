//! What a grant covers, as it is sent and shown.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::consent::{Company, Purpose, Region, Scope, Style};
use crate::domain::ids::{ApiKeyId, SubjectId};
use crate::env::Millis;
use crate::http::problem::{Problem, Type};

/// What a grant covers. What is not granted is refused.
#[derive(Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(default)]
pub struct ScopeBody {
    /// `personal`, `social`, `remix`, `commercial`, `advertising`, `political`, `adult`. What is
    /// not listed is not allowed.
    #[schema(value_type = Vec<String>, example = json!(["social"]))]
    purposes: BTreeSet<Purpose>,
    /// The generators that may, by the ids of their keys; absent: any.
    #[schema(value_type = Option<Vec<String>>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    generators: Option<BTreeSet<ApiKeyId>>,
    /// `photoreal`, `stylised`; absent: any.
    #[schema(value_type = Option<Vec<String>>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    styles: Option<BTreeSet<Style>>,
    /// Whether tokens may carry the voice.
    voice: bool,
    /// Whether tokens may carry images.
    images: bool,
    /// Who else may appear: `alone`, `requester` (unless given: nobody but the requester), `anyone`,
    /// or `people` (the requester and those in `company_people`). Never somebody who is blocked.
    #[schema(example = "requester")]
    company: CompanyBody,
    /// See `company`.
    #[schema(value_type = Vec<String>)]
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    company_people: BTreeSet<SubjectId>,
    /// Where the video may be shown: countries' two capital letters; absent: anywhere.
    #[schema(value_type = Option<Vec<String>>, example = json!(["DE", "FR"]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    regions: Option<BTreeSet<Region>>,
    /// From when on (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// Until when (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    /// How often, all in all. Uses are counted while the limit stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_uses: Option<u32>,
    /// How often on one day of UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_per_day: Option<u32>,
    /// What generators have to heed, in the person's words: at most 16 of at most 500 bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    restrictions: Vec<String>,
}

/// Who else may appear.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CompanyBody {
    /// Nobody.
    Alone,
    /// Nobody but the requester.
    #[default]
    Requester,
    /// The requester and the people named.
    People,
    /// Anyone.
    Anyone,
}

impl ScopeBody {
    /// The scope that is meant.
    ///
    /// # Errors
    /// Where a time is none, or people are named whom nothing refers to.
    pub(super) fn parse(self) -> Result<Scope, Problem> {
        if self.company != CompanyBody::People && !self.company_people.is_empty() {
            let detail = "company_people goes with `\"company\": \"people\"`";
            return Err(Problem::new(Type::InvalidRequest, detail));
        }
        Ok(Scope {
            purposes: self.purposes,
            generators: self.generators,
            styles: self.styles,
            voice: self.voice,
            images: self.images,
            company: match self.company {
                CompanyBody::Alone => Company::Alone,
                CompanyBody::Requester => Company::Requester,
                CompanyBody::People => Company::People(self.company_people),
                CompanyBody::Anyone => Company::Anyone,
            },
            regions: self.regions,
            from: self.from.as_deref().map(|t| time("from", t)).transpose()?,
            until: self.until.as_deref().map(|t| time("until", t)).transpose()?,
            max_uses: self.max_uses,
            max_per_day: self.max_per_day,
            restrictions: self.restrictions,
        })
    }
}

impl From<Scope> for ScopeBody {
    fn from(scope: Scope) -> Self {
        let (company, company_people) = match scope.company {
            Company::Alone => (CompanyBody::Alone, BTreeSet::new()),
            Company::Requester => (CompanyBody::Requester, BTreeSet::new()),
            Company::People(people) => (CompanyBody::People, people),
            Company::Anyone => (CompanyBody::Anyone, BTreeSet::new()),
        };
        Self {
            purposes: scope.purposes,
            generators: scope.generators,
            styles: scope.styles,
            voice: scope.voice,
            images: scope.images,
            company,
            company_people,
            regions: scope.regions,
            from: scope.from.map(Millis::rfc3339),
            until: scope.until.map(Millis::rfc3339),
            max_uses: scope.max_uses,
            max_per_day: scope.max_per_day,
            restrictions: scope.restrictions,
        }
    }
}

/// A time in RFC 3339, in whole seconds: the unit of tokens.
pub(super) fn time(field: &'static str, text: &str) -> Result<Millis, Problem> {
    text.parse::<jiff::Timestamp>().map(|t| Millis(t.as_second() * 1000)).map_err(|_| {
        let detail = format!("{field} must be RFC 3339, like 2027-01-31T12:00:00Z");
        Problem::new(Type::InvalidRequest, detail)
    })
}
