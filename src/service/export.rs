//! Everything that is kept of a person, in one archive (POSIX tar), for that person.
//!
//! It holds biometric data in the clear, so who asked for it and when stands in the log.

use serde::Serialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::access::Caller;
use super::consent::open_consent;
use super::enrol::open_template;
use super::grants::open_grant;
use super::ledger::Note;
use super::receipts::Form;
use super::requests::Wish;
use super::subject::{Person, Sealed};
use super::verify::evidence_place;
use super::{Error, Inner, Result};
use crate::domain::evidence::Evidence;
use crate::domain::ids::{SubjectId, UseId};
use crate::domain::verification::State;
use crate::env::Millis;
use crate::run_tx;
use crate::store::cameos::{self, Cameo};
use crate::store::uses::{self, UseOutcome};
use crate::store::{
    Tx, attempts, consents, grants, graph, key_frames, outcomes, requests, subjects, takedowns,
    texts, verifications,
};
use crate::tlog::Kind;

/// The largest archive, in bytes.
const MAX_BYTES: usize = 256 << 20;
const PAGE: u32 = 500;

impl Inner {
    /// The archive of a person's data.
    ///
    /// # Errors
    /// [`Error::NotFound`] where nothing is kept of them.
    pub async fn export_person(
        &self,
        caller: &Caller,
        subject: &SubjectId,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let at = self.clock().now();
        run_tx!(self.db(), "export.note", |tx| {
            let mut ledger = self.ledger(tx).await?;
            let person = self.known_person(tx, subject).await?;
            let person = person.ok_or(Error::NotFound("person"))?;
            let note =
                Note::new(Kind::DataExported).about(&person).public("key", caller.key.as_str());
            ledger.add(note)?;
            ledger.write(tx).await
        })?;
        let mut tx = self.db().snapshot().await?;
        let stored = subjects::get(&mut tx, subject).await?.ok_or(Error::NotFound("person"))?;
        let person = self.known_person(&mut tx, subject).await?;
        let person = person.ok_or(Error::NotFound("person"))?;
        let mut archive = Archive::new(at);
        archive.add("README.txt", README.as_bytes())?;
        archive.add("keys/receipt-keys.cose", &self.signing().receipt_keys().to_cose())?;
        archive.json("keys/receipt-jwks.json", &self.signing().receipt_keys().to_jwks())?;
        let pairs = graph::of(&mut tx, subject, 100_000).await?;
        archive.json(
            "person.json",
            &json!({
                "subject": subject.as_str(), "log_pseudonym": hex::encode(person.reference),
                "known_since": stored.created.rfc3339(), "exported_at": at.rfc3339(),
                "mutuals": pairs,
            }),
        )?;
        self.add_verifications(&mut tx, &mut archive, &person, subject).await?;
        if let Some(cameo) = cameos::active(&mut tx, subject).await? {
            self.add_cameo(&mut tx, &mut archive, &person, &cameo).await?;
            self.add_consents(&mut tx, &mut archive, &person, &cameo).await?;
            self.add_grants(&mut tx, &mut archive, &person, &cameo).await?;
            self.add_uses(&mut tx, &mut archive, &person, &cameo).await?;
        }
        archive.finish()
    }

    async fn add_verifications(
        &self,
        tx: &mut Tx,
        archive: &mut Archive,
        person: &Person,
        subject: &SubjectId,
    ) -> Result<()> {
        for v in verifications::by_subject(tx, subject, None, PAGE).await? {
            let mut tried = Vec::new();
            for a in attempts::list(tx, &v.id).await? {
                if let Some(sealed) = attempts::evidence(tx, &v.id, a.attempt).await? {
                    let place = evidence_place(&v.id, a.attempt);
                    let evidence: Evidence = person.open(Sealed::Evidence, &place, &sealed)?;
                    archive.json(&format!("evidence/{}-{}.json", v.id, a.attempt), &evidence)?;
                }
                for k in key_frames::list(tx, &v.id, a.attempt).await? {
                    let sealed = key_frames::sealed(tx, &v.id, a.attempt, k.n).await?;
                    let place = super::key_frames::place(&v.id, a.attempt, k.n);
                    if let Some(sealed) = sealed {
                        let jpeg = person.open_bytes(Sealed::KeyFrame, &place, &sealed)?;
                        let name = format!("key-frames/{}-{}-{}.jpg", v.id, a.attempt, k.n);
                        archive.add(&name, &jpeg)?;
                    }
                }
                tried.push(json!({
                    "attempt": a.attempt, "challenge": a.challenge,
                    "outcome": a.outcome.map(State::name), "verdict": a.verdict,
                    "failure": a.failure, "opened_at": a.opened.rfc3339(),
                    "closed_at": a.closed.map(Millis::rfc3339),
                }));
            }
            let review = v.review.as_ref();
            let review = review.map(|r| json!({ "at": r.at.rfc3339(), "reason": r.reason }));
            archive.json(
                &format!("verifications/{}.json", v.id),
                &json!({
                    "id": v.id.as_str(), "state": v.state.name(), "locale": v.locale,
                    "attested_age": v.attested_age,
                    "consent_text_version": v.consent_text_version,
                    "created_at": v.created.rfc3339(), "updated_at": v.updated.rfc3339(),
                    "verdict": v.verdict, "quality": v.quality, "failure": v.failure,
                    "review": review, "attempts": tried,
                }),
            )?;
        }
        Ok(())
    }

    async fn add_cameo(
        &self,
        tx: &mut Tx,
        archive: &mut Archive,
        person: &Person,
        cameo: &Cameo,
    ) -> Result<()> {
        archive.json(
            "cameo.json",
            &json!({
                "id": cameo.id.as_str(), "template_version": cameo.template_version,
                "created_at": cameo.created.rfc3339(),
                "frozen_at": cameo.frozen.map(Millis::rfc3339),
            }),
        )?;
        if let Some(stored) = cameos::template(tx, &cameo.id).await? {
            archive.json("template.json", &open_template(person, &stored)?)?;
        }
        Ok(())
    }

    async fn add_consents(
        &self,
        tx: &mut Tx,
        archive: &mut Archive,
        person: &Person,
        cameo: &Cameo,
    ) -> Result<()> {
        let (mut after, mut shown) = (0, std::collections::BTreeSet::new());
        loop {
            let page = consents::list(tx, &cameo.id, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.version;
            for row in page {
                let consent = open_consent(person, row)?;
                let receipt = self.receipt_of_version(tx, cameo, person, &consent).await?;
                for (form, ending) in [(Form::Json, "json"), (Form::Cose, "cose")] {
                    let name = format!("consents/{}.{ending}", consent.version);
                    archive.add(&name, &self.sign_receipt(&receipt, form)?)?;
                }
                shown.extend(consent.locale.map(|locale| (consent.text_version, locale)));
            }
        }
        for (version, locale) in shown {
            if let Some(text) = texts::get(tx, &version, &locale).await? {
                archive.add(&format!("texts/{version}.{locale}.txt"), text.body.as_bytes())?;
            }
        }
        Ok(())
    }

    async fn add_grants(
        &self,
        tx: &mut Tx,
        archive: &mut Archive,
        person: &Person,
        cameo: &Cameo,
    ) -> Result<()> {
        let mut after = None;
        loop {
            let page = grants::of_cameo(tx, &cameo.id, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            for stored in page {
                let grant = open_grant(person, &stored)?;
                let receipt = self.receipt_of_grant(tx, cameo, person, &grant.id).await?;
                for (form, ending) in [(Form::Json, "json"), (Form::Cose, "cose")] {
                    let name = format!("grants/{}.{ending}", grant.id);
                    archive.add(&name, &self.sign_receipt(&receipt, form)?)?;
                }
            }
        }
        let (mut after, mut all) = (None, Vec::new());
        loop {
            let page = requests::shown(tx, &cameo.id, None, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            for r in page {
                let wish: Wish = person.open(Sealed::Wish, r.id.as_str(), &r.wish_sealed)?;
                all.push(json!({
                    "id": r.id.as_str(), "wish": wish, "state": r.state.name(),
                    "created_at": r.created.rfc3339(), "expires_at": r.expires.rfc3339(),
                }));
            }
        }
        archive.json("requests.json", &all)
    }

    async fn add_uses(
        &self,
        tx: &mut Tx,
        archive: &mut Archive,
        person: &Person,
        cameo: &Cameo,
    ) -> Result<()> {
        let (mut before, mut all) = (None, Vec::<Value>::new());
        loop {
            let page = uses::by_cameo(tx, &cameo.id, before, PAGE).await?;
            let Some(last) = page.last() else { break };
            before = Some(last.log_index);
            for u in page {
                let requester: SubjectId =
                    person.open(Sealed::Requester, u.id.as_str(), &u.requester_sealed)?;
                let (outcome, rule) = match &u.outcome {
                    UseOutcome::Allowed { .. } => ("allowed", None),
                    UseOutcome::Denied(rule) => ("denied", Some(rule.name())),
                };
                all.push(json!({
                    "id": u.id.as_str(), "generator": u.generator.as_str(),
                    "purpose": u.purpose.name(), "requester": requester,
                    "outcome": outcome, "rule": rule, "consent_version": u.consent_version,
                    "at": u.issued.rfc3339(), "log_index": u.log_index,
                    "grant": u.grant.as_ref().map(|g| g.name().to_owned()),
                    "parent": u.parent, "scene": u.scene,
                    "outcomes": reported(tx, &u.id).await?, "takedown": objection(tx, &u.id).await?,
                }));
            }
        }
        archive.json("uses.json", &all)
    }
}

/// What the generator reported of a use.
async fn reported(tx: &mut Tx, id: &UseId) -> Result<Vec<Value>> {
    let all = outcomes::list(tx, id).await?;
    let shown = |o: &outcomes::Outcome| {
        json!({
            "state": o.state.name(), "content_sha256": o.content_sha256.map(hex::encode),
            "manifest": o.manifest, "at": o.at.rfc3339(), "log_index": o.log_index,
        })
    };
    Ok(all.iter().map(shown).collect())
}

/// The objection to a use, and what became of it.
async fn objection(tx: &mut Tx, id: &UseId) -> Result<Option<Value>> {
    let found = takedowns::by_use(tx, id).await?;
    Ok(found.map(|t| {
        json!({
            "id": t.id.as_str(), "state": t.state.name(), "reason": t.reason.name(),
            "asked_at": t.created.rfc3339(), "deadline": t.deadline.rfc3339(),
            "acknowledged_at": t.acknowledged.map(Millis::rfc3339),
            "done_at": t.done.map(Millis::rfc3339),
            "escalated_at": t.escalated.map(Millis::rfc3339),
        })
    }))
}

/// An archive that grows.
struct Archive {
    tar: tar::Builder<Vec<u8>>,
    at: Millis,
}

impl Archive {
    fn new(at: Millis) -> Self {
        Self { tar: tar::Builder::new(Vec::new()), at }
    }

    fn json<T: Serialize>(&mut self, name: &str, value: &T) -> Result<()> {
        let text = serde_json::to_vec_pretty(value).map(Zeroizing::new);
        self.add(name, &text.map_err(|e| Error::Internal(format!("an export: {e}")))?)
    }

    fn add(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        if self.tar.get_ref().len() + bytes.len() > MAX_BYTES {
            return Err(Error::Internal(format!("an export is larger than {MAX_BYTES} bytes")));
        }
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(self.at.seconds()).unwrap_or(0));
        self.tar.append_data(&mut header, name, bytes).map_err(|e| broken(&e))
    }

    fn finish(self) -> Result<Zeroizing<Vec<u8>>> {
        self.tar.into_inner().map(Zeroizing::new).map_err(|e| broken(&e))
    }
}

fn broken(e: &std::io::Error) -> Error {
    Error::Internal(format!("an export: {e}"))
}

const README: &str = "\
Everything that this service keeps of one person.

person.json      the app's id of the person, their pseudonym in the log, who they follow mutually
verifications/   each verification with its attempts and verdicts
evidence/        what was measured of each recording (numbers, no pictures)
key-frames/      small pictures of a recording that a reviewer has to decide on, until they have
cameo.json       the cameo
template.json    the face and voice vectors: biometric data, keep them safe
consents/        a signed receipt for each version of the consent, as JSON and as COSE
grants/          the same for each grant to one person
texts/           the texts that were shown, where the service keeps them
requests.json    who asked for what
uses.json        every use of the cameo, allowed or denied; what was reported of it, and objections
keys/            the public keys of the receipts: cameo receipt verify FILE --keys keys/receipt-keys.cose
";
