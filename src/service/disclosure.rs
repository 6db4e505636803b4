//! Disclosure: with a case number and the approval of a second person, an auditor gets the salts of
//! one person's entries for a day, and can then prove what those entries are about. Asking,
//! approving and reading are entries themselves.

use std::time::Duration;

use super::access::Caller;
use super::ledger::Note;
use super::subject::{Person, Sealed};
use super::{Error, Inner, Result};
use crate::domain::ids::{DisclosureId, SubjectId};
use crate::env::Millis;
use crate::run_tx;
use crate::store::disclosures::{self, Disclosure};
use crate::store::{log, subjects};
use crate::tlog::Kind;

/// How long an approved disclosure can be read.
pub const READABLE: Duration = Duration::from_hours(24);
/// The longest case number, in characters.
pub const MAX_CASE: usize = 64;
/// Entries that are opened at once.
pub const MAX_OPENED: u32 = 1000;

/// What opens one entry.
#[derive(Clone)]
pub struct Opening {
    /// The entry.
    pub index: u64,
    /// The salt of its commitments.
    pub salt: [u8; 32],
}

/// A person's entries, opened.
#[derive(Clone)]
pub struct Opened {
    /// Their pseudonym: the body of the commitment `subject`.
    pub subject_ref: [u8; 16],
    /// What opens them, in order.
    pub openings: Vec<Opening>,
    /// The first index of the next page, where there may be one.
    pub next: Option<u64>,
}

impl Inner {
    /// Asks for the disclosure of a person's entries.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown person, [`Error::Invalid`] for a bad case number.
    pub async fn ask_disclosure(
        &self,
        caller: &Caller,
        case_number: &str,
        subject: &SubjectId,
    ) -> Result<DisclosureId> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._:/+-".contains(c);
        if case_number.is_empty() || case_number.len() > MAX_CASE || !case_number.chars().all(fits)
        {
            return Err(Error::Invalid {
                field: "case_number",
                reason: format!("must be 1 to {MAX_CASE} of A-Z a-z 0-9 . _ : / + -"),
            });
        }
        let new = |subject_ref| Disclosure {
            id: DisclosureId::new(self.clock(), self.entropy()),
            case_number: case_number.to_owned(),
            subject_ref,
            asked_by: caller.key.clone(),
            asked: self.clock().now(),
            approved: None,
        };
        run_tx!(self.db(), "disclosure.ask", |tx| {
            let mut ledger = self.ledger(tx).await?;
            let person = self.known_person(tx, subject).await?.ok_or(Error::NotFound("person"))?;
            let new = new(person.reference);
            disclosures::insert(tx, &new).await?;
            ledger.add(note("ask", &new, caller, &person))?;
            ledger.write(tx).await?;
            Ok(new.id)
        })
    }

    /// Approves a disclosure: from now on it can be read for [`READABLE`]. Another key than the one
    /// that asked has to.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none that waits for this caller's approval.
    pub async fn approve_disclosure(&self, caller: &Caller, id: &DisclosureId) -> Result<Millis> {
        let now = self.clock().now();
        let until = now.plus(READABLE);
        run_tx!(self.db(), "disclosure.approve", |tx| {
            let mut ledger = self.ledger(tx).await?;
            if !disclosures::approve(tx, id, &caller.key, now, until).await? {
                return Err(Error::NotFound("disclosure that waits for your approval"));
            }
            let found = disclosures::get(tx, id).await?.ok_or(Error::NotFound("disclosure"))?;
            let person = self.person_behind(tx, &found.subject_ref).await?;
            ledger.add(note("approve", &found, caller, &person))?;
            ledger.write(tx).await?;
            Ok(until)
        })
    }

    /// Reads an approved disclosure, from entry `from` on.
    ///
    /// # Errors
    /// [`Error::NotFound`] where it is not this caller's, not approved, over, or the person's data is
    /// destroyed.
    pub async fn read_disclosure(
        &self,
        caller: &Caller,
        id: &DisclosureId,
        from: u64,
    ) -> Result<Opened> {
        let now = self.clock().now();
        run_tx!(self.db(), "disclosure.read", |tx| {
            let mut ledger = self.ledger(tx).await?;
            let found = disclosures::get(tx, id).await?.filter(|d| {
                let readable = d.approved.as_ref().is_some_and(|(_, until)| now < *until);
                d.asked_by == caller.key && readable
            });
            let found = found.ok_or(Error::NotFound("disclosure that is approved"))?;
            let person = self.person_behind(tx, &found.subject_ref).await?;
            let salts = log::salts(tx, &found.subject_ref, from, MAX_OPENED).await?;
            let next = salts.last().filter(|_| salts.len() == MAX_OPENED as usize);
            let next = next.map(|s| s.index + 1);
            let openings = salts
                .iter()
                .map(|s| {
                    let place = format!("log:{}", s.index);
                    let salt = person.open::<[u8; 32]>(Sealed::Salt, &place, &s.salt_sealed)?;
                    Ok(Opening { index: s.index, salt })
                })
                .collect::<Result<_>>()?;
            ledger.add(note("read", &found, caller, &person))?;
            ledger.write(tx).await?;
            Ok::<_, Error>(Opened { subject_ref: found.subject_ref, openings, next })
        })
    }

    async fn person_behind(
        &self,
        tx: &mut crate::store::Tx,
        reference: &[u8; 16],
    ) -> Result<Person> {
        let stored = subjects::get_by_ref(tx, reference).await?;
        let stored = stored.ok_or(Error::NotFound("person any more: their data was destroyed"))?;
        self.unwrap_person(&stored)
    }
}

fn note<'a>(action: &'static str, d: &Disclosure, caller: &Caller, person: &'a Person) -> Note<'a> {
    Note::new(Kind::Disclosure)
        .about(person)
        .public("action", action)
        .public("disclosure", d.id.as_str())
        .public("by", caller.key.as_str())
        .commit("case_number", d.case_number.as_str())
}
