//! Resolving: a generator asks for a cameo, and gets a conditioning token where consent allows it.

use super::access::Caller;
use super::consent::{active, open_consent};
use super::enrol::open_template;
use super::ledger::Note;
use super::once::{Answer, Call};
use super::subject::Sealed;
use super::{Error, Inner, Result};
use crate::domain::consent::{Outcome, Purpose, Rule, UseRequest, decide};
use crate::domain::ids::{CameoId, SubjectId, UseId};
use crate::env::Millis;
use crate::run_batched;
use crate::store::uses::{self, Use, UseOutcome};
use crate::store::{cameos, consents};
use crate::tlog::Kind;
use crate::token::{self, Claims, Identity, Payload, TokenId};

/// What a generator asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The cameo.
    pub cameo: CameoId,
    /// Who asks the generator for the video.
    pub requester: SubjectId,
    /// What for.
    pub purpose: Purpose,
}

/// The answer. Both kinds stand in the log.
#[derive(Clone)]
pub enum Resolved {
    /// The use is permitted.
    Allowed(Grant),
    /// It is not.
    Denied {
        /// The record of the refusal.
        use_id: UseId,
        /// The rule that refused.
        rule: Rule,
    },
}

/// A permitted use.
#[derive(Clone)]
pub struct Grant {
    /// The record of the use.
    pub use_id: UseId,
    /// The token: a `COSE_Sign1` with a CWT in it.
    pub token: zeroize::Zeroizing<Vec<u8>>,
    /// When it expires.
    pub expires: Millis,
    /// The version of the consent that allowed it.
    pub consent_version: u32,
    /// The log's entry about it.
    pub log_index: u64,
}

impl Inner {
    /// Decides on a use, and issues the token. Decision, record, log entry and kept answer are one
    /// transaction: no token leaves without its entry, and a consent that was withdrawn before is
    /// seen.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown cameo; [`Error::Unavailable`] without a signing key.
    #[allow(clippy::too_many_lines)] // one transaction, told in order
    pub async fn resolve(
        &self,
        generator: &Caller,
        request: &Request,
        call: Option<&Call>,
        answer: impl Fn(&Resolved) -> Answer + Send + Sync,
    ) -> Result<Answer> {
        let now = self.clock().now();
        let (answer, outcome) = run_batched!(self.batch(), "resolve", |tx| {
            let mut ledger = self.ledger(tx).await?;
            let cameo = active(tx, &request.cameo).await?;
            let person =
                self.known_person(tx, &cameo.subject).await?.ok_or(Error::NotFound("cameo"))?;
            let consent = match consents::latest(tx, &cameo.id).await? {
                Some(row) => Some(open_consent(&person, row)?),
                None => None,
            };
            let permissions = consent.as_ref().and_then(|c| c.permissions.as_ref());
            let asked = UseRequest {
                owner: &cameo.subject,
                requester: &request.requester,
                purpose: request.purpose,
                // Nobody has told us who follows whom, so nobody counts as a mutual.
                mutual: None,
            };
            let decided = decide(permissions, &asked, now);
            let use_id = UseId::new(self.clock(), self.entropy());
            let consent_version = consent.as_ref().map(|c| c.version);
            let note = |kind| {
                Note::new(kind)
                    .about(&person)
                    .public("use", use_id.as_str())
                    .public("generator", generator.key.as_str())
                    .public("purpose", request.purpose.name())
                    .commit("cameo", cameo.id.as_str())
                    .commit("requester", request.requester.as_str())
                    .commit("consent_version", consent_version.unwrap_or(0).to_be_bytes())
            };
            let (log_index, outcome, resolved) = match decided {
                Outcome::Deny(rule) => {
                    let entry = note(Kind::ResolveDenied).public("rule", rule.name());
                    let resolved = Resolved::Denied { use_id: use_id.clone(), rule };
                    (ledger.add(entry)?, UseOutcome::Denied(rule), resolved)
                }
                Outcome::Allow { voice } => {
                    let stored =
                        cameos::template(tx, &cameo.id).await?.ok_or(Error::NotFound("cameo"))?;
                    let template = open_template(&person, &stored)?;
                    let signer = self.signing.signer(now)?;
                    let version = consent_version.unwrap_or(0);
                    let claims = Claims {
                        issuer: self.settings().issuer.clone(),
                        subject: cameo.id.to_string(),
                        audience: generator.key.to_string(),
                        issued_at: now.seconds(),
                        not_before: now.seconds(),
                        expires_at: now.plus(self.settings().token_ttl).seconds(),
                        token_id: TokenId::generate(self.entropy()),
                        consent_version: version.into(),
                        use_id: use_id.to_string(),
                        purpose: request.purpose.name().to_owned(),
                        requester: request.requester.as_str().to_owned(),
                        restrictions: Vec::new(),
                        payload: Payload::Identity(Identity::of(&template, voice)?),
                    };
                    let expires = Millis(claims.expires_at.saturating_mul(1000));
                    let token = zeroize::Zeroizing::new(token::issue(&signer, &claims)?);
                    let kid = signer.id().to_string();
                    let entry = note(Kind::ResolveAllowed)
                        .public("kid", kid.as_str())
                        .commit("token", crate::crypto::hash::sha256(&token));
                    let log_index = ledger.add(entry)?;
                    let grant = Grant {
                        use_id: use_id.clone(),
                        token,
                        expires,
                        consent_version: version,
                        log_index,
                    };
                    (log_index, UseOutcome::Allowed { expires, kid }, Resolved::Allowed(grant))
                }
            };
            let place = use_id.to_string();
            let record = Use {
                id: use_id.clone(),
                cameo: cameo.id.clone(),
                generator: generator.key.clone(),
                purpose: request.purpose,
                requester_sealed: self.seal(
                    &person,
                    Sealed::Requester,
                    &place,
                    &request.requester,
                )?,
                outcome,
                consent_version,
                issued: now,
                log_index,
            };
            ledger.write(tx).await?;
            uses::insert(tx, &record).await?;
            let answer = answer(&resolved);
            self.finish_once(tx, call, &answer).await?;
            let outcome = match resolved {
                Resolved::Allowed(_) => "allowed",
                Resolved::Denied { rule, .. } => rule.name(),
            };
            Ok::<_, Error>((answer, outcome))
        })?;
        metrics::counter!("cameo_resolves_total", "outcome" => outcome).increment(1);
        Ok(answer)
    }
}
