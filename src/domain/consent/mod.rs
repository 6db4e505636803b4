//! Who may use a cameo, for what, and how.
//!
//! [`decide()`] is the one function that says yes or no. It is pure and total, and refusing always
//! wins over allowing. What it works with has a file each: the words ([`Purpose`], [`Style`], …),
//! what a person grants ([`Permissions`], [`Grant`]), what somebody asks ([`UseRequest`]), what is
//! known besides ([`State`]), and the [`Rule`]s that refuse. The tables in `docs/permissions.md` are
//! made from this code by [`table`].

mod decide;
mod grant;
mod request;
mod rule;
pub mod table;
mod vocabulary;

pub use decide::{Decision, Obligations, decide};
pub use grant::{
    Grant, GrantRef, Grants, MAX_LISTED, MAX_RESTRICTION, MAX_RESTRICTIONS, Permissions, Scope,
    Standing, Unfit,
};
pub use request::{Parent, Relation, State, UseRequest, Used};
pub use rule::Rule;
pub use vocabulary::{Audience, Company, Purpose, Region, Style};
