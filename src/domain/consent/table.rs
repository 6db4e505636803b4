//! The tables in `docs/permissions.md`, made by asking the decision itself.

use std::fmt::Write as _;

use super::{
    Audience, Decision, Grant, Grants, Permissions, Purpose, Relation, Rule, Scope, Standing,
    State, Style, UseRequest, decide,
};
use crate::domain::ids::{ApiKeyId, GrantId, IdError, SubjectId};
use crate::env::Millis;

/// Every rule in the order in which they are looked at.
pub fn rules() -> String {
    let mut out =
        String::from("| rule | refuses when | shown as | what to do |\n|---|---|---|---|\n");
    for rule in Rule::ALL {
        let shown = rule.public().name();
        // Writing to a text can't fail.
        let _ =
            writeln!(out, "| `{}` | {} | `{shown}` | {} |", rule.name(), rule.when(), rule.fix());
    }
    out
}

/// Every purpose.
pub fn purposes() -> String {
    let mut out = String::from("| purpose | sensitive | closest term of DPV |\n|---|---|---|\n");
    for purpose in Purpose::ALL {
        let sensitive = if purpose.is_sensitive() { "yes" } else { "" };
        let _ = writeln!(out, "| `{}` | {sensitive} | `{}` |", purpose.name(), purpose.dpv());
    }
    out
}

/// Who may, by audience: what [`decide`] answers.
///
/// # Errors
/// None that can happen: the ids in it are well-formed.
pub fn audiences() -> Result<String, IdError> {
    let cast = [
        ("the person", "owner", Relation::NotMutual),
        ("on the allow list", "friend", Relation::NotMutual),
        ("with a grant", "guest", Relation::NotMutual),
        ("a mutual", "mutual", Relation::Mutual),
        ("nobody knows whether a mutual", "unsure", Relation::Unknown),
        ("a stranger", "stranger", Relation::NotMutual),
        ("blocked, though listed and granted", "rude", Relation::Mutual),
    ];
    let mut out = String::from("| requester |");
    for audience in Audience::ALL {
        let _ = write!(out, " `{}` |", audience.name());
    }
    out.push_str("\n|---|---|---|---|---|\n");
    for (who, requester, relation) in cast {
        let _ = write!(out, "| {who} |");
        for audience in Audience::ALL {
            let answer = match ask(audience, requester, relation)? {
                Decision::Allow { .. } => "yes".to_owned(),
                Decision::Deny { rule } => format!("`{}`", rule.name()),
            };
            let _ = write!(out, " {answer} |");
        }
        out.push('\n');
    }
    Ok(out)
}

/// What somebody who asks for a social use is told.
fn ask(audience: Audience, requester: &str, relation: Relation) -> Result<Decision, IdError> {
    let people =
        |names: &[&str]| names.iter().map(|n| n.parse::<SubjectId>()).collect::<Result<_, _>>();
    let scope = Scope { purposes: [Purpose::Social].into(), ..Scope::default() };
    let grant = |n: u8, to: &str| {
        let id: GrantId = format!("gra_0000000000000000000000000{n}").parse()?;
        Ok::<_, IdError>(Grant { id, to: to.parse()?, scope: scope.clone() })
    };
    let permissions = Permissions {
        audience,
        allow: people(&["friend", "rude"])?,
        block: people(&["rude"])?,
        scope: scope.clone(),
    };
    let grants = Grants {
        standing: Some(Standing { version: 1, permissions }),
        personal: vec![grant(1, "guest")?, grant(2, "rude")?],
    };
    let request = UseRequest {
        owner: "owner".parse()?,
        requester: requester.parse()?,
        generator: "key_00000000000000000000000001".parse::<ApiKeyId>()?,
        purpose: Purpose::Social,
        style: Style::Photoreal,
        region: None,
        company: std::collections::BTreeSet::new(),
        needs_voice: false,
        needs_images: false,
    };
    let state = State { relation, ..State::default() };
    Ok(decide(&request, &grants, &state, Millis(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_have_every_rule_purpose_and_audience() {
        let (rules, purposes, audiences) = (rules(), purposes(), audiences().unwrap());
        assert_eq!(rules.lines().count(), 2 + Rule::ALL.len());
        assert_eq!(purposes.lines().count(), 2 + Purpose::ALL.len());
        assert!(audiences.contains("| a stranger | `only_me` | `audience` | `audience` | yes |"));
        assert!(audiences.contains("| with a grant | `only_me` | yes | yes | yes |"));
    }
}
