//! Requests: somebody asks to use a cameo, and the person approves once, for a time, or never.
//!
//! Whoever is blocked or muted can ask too, and is never told: the request waits and lapses like any
//! that the person passes over, but the person does not see it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::consent::{active, open_consent, terms};
use super::grants::Kept;
use super::ledger::Note;
use super::once::{Answer, Call};
use super::subject::{Person, Sealed};
use super::texts::Shown;
use super::{Error, Inner, Result};
use crate::crypto::hash::hmac_sha256;
use crate::domain::consent::{Audience, Grant, Permissions, Scope};
use crate::domain::ids::{CameoId, GrantId, RequestId, SubjectId};
use crate::env::Millis;
use crate::run_tx;
use crate::store::requests::{self, Count, RequestState, StoredRequest};
use crate::store::{Tx, consents, grants};
use crate::tlog::Kind;

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Who.
    pub requester: SubjectId,
    /// What they would like to be granted.
    pub scope: Scope,
    /// What they say to the person.
    pub message: Option<String>,
}

/// A request as it is shown.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its id.
    pub id: RequestId,
    /// The cameo.
    pub cameo: CameoId,
    /// What is wanted.
    pub wish: Wish,
    /// Where it stands.
    pub standing: Standing,
    /// When it was made.
    pub created: Millis,
    /// When it lapses if nobody decides.
    pub expires: Millis,
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It waits for the person.
    Pending,
    /// The person gave a grant.
    Approved,
    /// The person gave none.
    Declined,
    /// The person did not decide in time.
    Expired,
}

impl Standing {
    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Declined => "declined",
            Self::Expired => "expired",
        }
    }
}

/// What the person says to a request.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// A grant for one use, within [`ONCE`].
    Once(Option<Scope>),
    /// A grant until then, for any number of uses unless the scope limits them.
    Until(Millis, Option<Scope>),
    /// No grant; they may ask again.
    Decline,
    /// No grant, and nothing they ask reaches the person any more.
    Never,
}

/// How long a request waits.
pub const WAITS: Duration = Duration::from_hours(14 * 24);
/// How long a grant for one use is good.
pub const ONCE: Duration = Duration::from_hours(30 * 24);
/// The longest message, in bytes.
pub const MAX_MESSAGE: usize = 500;
/// The most requests of one person for one cameo within [`PAIR_WINDOW`].
pub const MAX_PER_PAIR: u64 = 3;
/// See [`MAX_PER_PAIR`].
pub const PAIR_WINDOW: Duration = Duration::from_hours(30 * 24);
/// The most requests of one person within a day.
pub const MAX_PER_ASKER: u64 = 20;
/// The most open requests for one cameo.
pub const MAX_OPEN: u64 = 1000;
/// The most requests on one page.
pub const MAX_PAGE: u32 = 200;
const DAY: Duration = Duration::from_hours(24);
/// How long a request that led to no grant is kept after it lapsed.
const KEPT: Duration = Duration::from_hours(90 * 24);

impl Inner {
    /// Asks a person to let somebody use their cameo. Where the same person's earlier request is
    /// open, that one is answered.
    ///
    /// # Errors
    /// [`Error::TooMany`] beyond the limits, [`Error::Invalid`], [`Error::NotFound`].
    pub async fn ask_person(
        &self,
        id: &CameoId,
        wish: &Wish,
        call: Option<&Call>,
        answer: impl Fn(&Asked) -> Answer + Send + Sync,
    ) -> Result<Answer> {
        let now = self.clock().now();
        wish.check(now)?;
        run_tx!(self.db(), "requests.ask", |tx| {
            // Who asks twice at once is counted twice.
            let _held = self.ledger(tx).await?;
            let cameo = active(tx, id).await?;
            let person = self.person(tx, &cameo.subject).await?;
            if wish.requester == cameo.subject {
                let reason = "is the cameo's owner, who needs no permission".into();
                return Err(Error::Invalid { field: "requester", reason });
            }
            let tag = person.tag(&wish.requester);
            let request = match requests::open_of_pair(tx, id, &tag, now).await? {
                Some(open) => open,
                None => self.new_request(tx, id, &person, tag, wish, now).await?,
            };
            let answer = answer(&open_request(&person, request, now)?);
            self.finish_once(tx, call, &answer).await?;
            Ok(answer)
        })
    }

    /// A request.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn request(&self, id: &RequestId) -> Result<Asked> {
        let mut tx = self.db().snapshot().await?;
        let stored = requests::get(&mut tx, id).await?.ok_or(Error::NotFound("request"))?;
        let person = self.owner_of(&mut tx, &stored.cameo).await?;
        open_request(&person, stored, self.clock().now())
    }

    /// The requests for a cameo in the order in which they came, without those that the person is
    /// not to see; only those that wait for a decision, where `open`.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown cameo.
    pub async fn requests(
        &self,
        id: &CameoId,
        open: bool,
        after: Option<&RequestId>,
        limit: u32,
    ) -> Result<Vec<Asked>> {
        let now = self.clock().now();
        let mut tx = self.db().snapshot().await?;
        let person = self.owner_of(&mut tx, id).await?;
        let limit = limit.clamp(1, MAX_PAGE);
        let stored = requests::shown(&mut tx, id, open.then_some(now), after, limit).await?;
        stored.into_iter().map(|r| open_request(&person, r, now)).collect()
    }

    /// Decides on a request, and returns the grant where one was given. `shown` is the text that the
    /// person saw; without one, that of the standing consent counts.
    ///
    /// # Errors
    /// [`Error::RequestSettled`] where it is not pending any more; [`Error::Invalid`] where the
    /// standing permissions let nobody in, or not this person; [`Error::NotFound`].
    pub async fn answer_request(
        &self,
        id: &RequestId,
        verdict: &Verdict,
        shown: Option<&Shown>,
    ) -> Result<(Asked, Option<Grant>)> {
        let now = self.clock().now();
        shown.map_or(Ok(()), Shown::check)?;
        run_tx!(self.db(), "requests.answer", |tx| {
            let mut ledger = self.ledger(tx).await?;
            let stored = requests::get(tx, id).await?.ok_or(Error::NotFound("request"))?;
            let cameo = active(tx, &stored.cameo).await?;
            let person = self.person(tx, &cameo.subject).await?;
            let wish: Wish = person.open(Sealed::Wish, id.as_str(), &stored.wish_sealed)?;
            let scope = verdict.scope(&wish, now);
            let state =
                if scope.is_some() { RequestState::Approved } else { RequestState::Declined };
            if !requests::decide(tx, id, state, now).await? {
                return Err(Error::RequestSettled);
            }
            if matches!(verdict, Verdict::Never) {
                requests::mute(tx, &cameo.id, Some(&stored.requester_tag), None).await?;
            }
            let grant = match scope {
                None => None,
                Some(scope) => {
                    scope.check(now)?;
                    let latest = consents::latest(tx, &cameo.id).await?;
                    let latest = latest.map(|row| open_consent(&person, row)).transpose()?;
                    let standing = latest.as_ref().and_then(|c| c.permissions.as_ref());
                    may_be_granted(standing, &wish.requester)?;
                    let shown = match (shown, latest) {
                        (Some(shown), _) => shown.clone(),
                        (None, Some(c)) => Shown { version: c.text_version, locale: c.locale },
                        (None, None) => return Err(Error::NotFound("consent of this cameo")),
                    };
                    let text = shown.find(tx, &scope.purposes).await?;
                    let grant = Grant {
                        id: GrantId::new(self.clock(), self.entropy()),
                        to: wish.requester.clone(),
                        scope,
                    };
                    let terms = terms(&grant.scope)?;
                    let mut note = Note::new(Kind::GrantGiven)
                        .about(&person)
                        .public("text_version", shown.version.as_str())
                        .commit("cameo", cameo.id.as_str())
                        .commit("grant", grant.id.as_str())
                        .commit("grantee", grant.to.as_str())
                        .commit("scope", terms.as_slice());
                    if let Some(text) = &text {
                        note = note.commit("text_sha256", text.sha256);
                    }
                    let log_index = ledger.add(note)?;
                    ledger.write(tx).await?;
                    let kept = Kept {
                        to: grant.to.clone(),
                        terms,
                        text_version: shown.version,
                        locale: shown.locale,
                        text_sha256: text.map(|t| t.sha256),
                    };
                    let row = self.seal_grant(
                        &person,
                        &cameo.id,
                        &grant.id,
                        &kept,
                        Some(id),
                        now,
                        log_index,
                    )?;
                    grants::insert(tx, &row).await?;
                    Some(grant)
                }
            };
            let decided = StoredRequest { state, decided: Some(now), ..stored };
            Ok((open_request(&person, decided, now)?, grant))
        })
    }

    /// Lets nothing that one person, or with `None` anybody, asks reach the person of this cameo:
    /// for ever, until then, or (`muted` false) not any more.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown cameo.
    pub async fn mute(
        &self,
        id: &CameoId,
        requester: Option<&SubjectId>,
        muted: bool,
        until: Option<Millis>,
    ) -> Result<()> {
        run_tx!(self.db(), "requests.mute", |tx| {
            let cameo = active(tx, id).await?;
            let person = self.person(tx, &cameo.subject).await?;
            let tag = requester.map(|r| person.tag(r));
            if muted {
                requests::mute(tx, id, tag.as_ref(), until).await?;
            } else {
                requests::unmute(tx, id, tag.as_ref()).await?;
            }
            Ok::<_, Error>(())
        })
    }

    async fn new_request(
        &self,
        tx: &mut Tx,
        cameo: &CameoId,
        person: &Person,
        tag: [u8; 32],
        wish: &Wish,
        now: Millis,
    ) -> Result<StoredRequest> {
        let asker_key = self.parts.master.derive(self.parts.master.id(), "asker-tag")?;
        let asker_tag = hmac_sha256(&*asker_key, wish.requester.as_str().as_bytes());
        requests::delete_old(tx, now.minus(KEPT)).await?;
        // What blocked and muted people do counts like anybody's.
        let pair = requests::count_of_pair(tx, cameo, &tag, now.minus(PAIR_WINDOW)).await?;
        within(pair, MAX_PER_PAIR, PAIR_WINDOW, now)?;
        let asker = requests::count_of_asker(tx, &asker_tag, now.minus(DAY)).await?;
        within(asker, MAX_PER_ASKER, DAY, now)?;
        let open = requests::count_open(tx, cameo, now).await?;
        within(open, MAX_OPEN, Duration::ZERO, now)?;
        let standing = standing(tx, person, cameo).await?;
        let heard = may_be_granted(standing.as_ref(), &wish.requester).is_ok()
            && !requests::is_muted(tx, cameo, &tag, now).await?;
        let id = RequestId::new(self.clock(), self.entropy());
        let request = StoredRequest {
            cameo: cameo.clone(),
            requester_tag: tag,
            asker_tag,
            wish_sealed: self.seal(person, Sealed::Wish, id.as_str(), wish)?,
            state: if heard { RequestState::Pending } else { RequestState::Silent },
            created: now,
            expires: now.plus(WAITS),
            decided: None,
            id,
        };
        requests::insert(tx, &request).await?;
        Ok(request)
    }

    pub(super) async fn owner_of(&self, tx: &mut Tx, id: &CameoId) -> Result<Person> {
        let cameo = active(tx, id).await?;
        self.known_person(tx, &cameo.subject).await?.ok_or(Error::NotFound("cameo"))
    }
}

impl Wish {
    fn check(&self, now: Millis) -> Result<()> {
        self.scope.check(now)?;
        if self.scope.purposes.is_empty() {
            let reason = "name at least one purpose".into();
            return Err(Error::Invalid { field: "purposes", reason });
        }
        let bad = |text: &String| {
            text.is_empty()
                || text.len() > MAX_MESSAGE
                || text.chars().any(|c| c.is_control() && c != '\n')
        };
        if self.message.as_ref().is_some_and(bad) {
            let reason = format!("1 to {MAX_MESSAGE} bytes without control characters");
            return Err(Error::Invalid { field: "message", reason });
        }
        Ok(())
    }
}

impl Verdict {
    /// What is granted: what the person says, or what was wished.
    fn scope(&self, wish: &Wish, now: Millis) -> Option<Scope> {
        match self {
            Self::Once(scope) => {
                let scope = scope.as_ref().unwrap_or(&wish.scope).clone();
                let until = scope.until.unwrap_or(Millis(i64::MAX)).min(now.plus(ONCE));
                Some(Scope { max_uses: Some(1), until: Some(until), ..scope })
            }
            Self::Until(until, scope) => {
                let scope = scope.as_ref().unwrap_or(&wish.scope).clone();
                Some(Scope { until: Some(*until), ..scope })
            }
            Self::Decline | Self::Never => None,
        }
    }
}

/// The standing permissions, where consent stands.
async fn standing(tx: &mut Tx, person: &Person, cameo: &CameoId) -> Result<Option<Permissions>> {
    match consents::latest(tx, cameo).await? {
        Some(row) => Ok(open_consent(person, row)?.permissions),
        None => Ok(None),
    }
}

/// A grant that could not take effect is not given.
fn may_be_granted(standing: Option<&Permissions>, to: &SubjectId) -> Result<()> {
    let invalid = |reason: &str| Err(Error::Invalid { field: "decision", reason: reason.into() });
    match standing {
        None => invalid("there is no consent to grant under: give consent first"),
        Some(p) if p.audience == Audience::OnlyMe => {
            invalid("the permissions say `only_me`: widen the audience first")
        }
        Some(p) if p.block.contains(to) => invalid("the requester is blocked: unblock them first"),
        Some(_) => Ok(()),
    }
}

fn within(count: Count, most: u64, window: Duration, now: Millis) -> Result<()> {
    if count.n < most {
        return Ok(());
    }
    let free = count.first.map_or(now, |first| first.plus(window));
    let seconds = (free.0.saturating_sub(now.0).max(0).unsigned_abs() / 1000).max(1);
    Err(Error::TooMany { seconds })
}

fn open_request(person: &Person, stored: StoredRequest, now: Millis) -> Result<Asked> {
    let wish = person.open(Sealed::Wish, stored.id.as_str(), &stored.wish_sealed)?;
    let standing = match stored.state {
        RequestState::Approved => Standing::Approved,
        RequestState::Declined => Standing::Declined,
        RequestState::Pending | RequestState::Silent if now >= stored.expires => Standing::Expired,
        RequestState::Pending | RequestState::Silent => Standing::Pending,
    };
    Ok(Asked {
        id: stored.id,
        cameo: stored.cameo,
        wish,
        standing,
        created: stored.created,
        expires: stored.expires,
    })
}
