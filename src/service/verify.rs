//! Judging captures: the queue's workers, and what keeps the house clean.
//!
//! A capture is claimed with a lease, decoded and measured on a blocking thread, judged, and settled
//! in one transaction: verdict, log entry, and where it passed the sealed identity. A process that
//! dies at any point leaves a claim that lapses; the capture is then judged again, at most
//! [`Settings::max_tries`](super::Settings) times, and settled once.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::capture::{Capture, Timings, measure_capture};
use super::gallery::Proposed;
use super::ledger::Note;
use super::measure::Measured;
use super::progress::Stage;
use super::spool;
use super::subject::{Person, Sealed};
use super::{Error, Inner, Result, Services, once};
use crate::domain::ids::VerificationId;
use crate::domain::template::Template;
use crate::domain::verdict::{Check, Decision, Verdict};
use crate::domain::verification::State;
use crate::env::Millis;
use crate::identity::quality::{FaceQuality, QUALITY_VERSION};
use crate::media;
use crate::run_tx;
use crate::store::verifications::{self, Job, Settlement, Verification};
use crate::store::{Tx, attempts, captures_seen, failures, idempotency, key_frames, page_sessions};
use crate::tlog::Kind;

/// How a capture came out.
pub(super) enum Judged {
    /// It was measured, and this is the verdict.
    Verdict(Box<Measured>, Timings, Verdict),
    /// It could not be measured, and this is the code of why.
    Unusable(&'static str),
}

/// How often the queue is looked at when nobody says that something came.
const POLL: Duration = Duration::from_secs(1);
/// How often the sweep runs.
const SWEEP: Duration = Duration::from_secs(10);
/// How often the retention sweep runs.
const RETENTION: Duration = Duration::from_hours(1);
/// How many rows one sweep touches.
const BATCH: u32 = 100;
/// The code of a capture that was given up.
pub const GAVE_UP: &str = "judging_failed";

impl Services {
    /// Judges captures and sweeps until `stop`; then lets what is in flight end within `grace`, and
    /// gives the rest back to the queue.
    pub async fn work(&self, stop: CancellationToken, grace: Duration) {
        let tracker = TaskTracker::new();
        let abort = CancellationToken::new();
        for _ in 0..self.settings().workers.max(1) {
            tracker.spawn(self.clone().worker(stop.clone(), abort.clone()));
        }
        tracker.spawn(self.clone().sweeper(stop.clone()));
        tracker.spawn(self.clone().messenger(stop.clone()));
        tracker.spawn(self.clone().keeper(stop.clone()));
        tracker.spawn(self.clone().follow_gallery(stop.clone()));
        tracker.close();
        stop.cancelled().await;
        if tokio::time::timeout(grace, tracker.wait()).await.is_err() {
            abort.cancel();
            tracker.wait().await;
        }
    }

    async fn worker(self, stop: CancellationToken, abort: CancellationToken) {
        while !stop.is_cancelled() {
            match self.claim().await {
                Ok(Some(job)) => {
                    // A task of its own: a bug that panics costs one capture, not the worker.
                    let judging = tokio::spawn(self.clone().judge_job(job, abort.clone()));
                    if let Err(e) = judging.await {
                        tracing::error!(error = %e, "judging a capture broke off; its lease lapses");
                    }
                }
                Ok(None) => {
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = self.work.notified() => {}
                        () = tokio::time::sleep(POLL) => {}
                    }
                }
                Err(e) => {
                    tracing::error!(error = %e, "the queue can't be read");
                    tokio::time::sleep(POLL).await;
                }
            }
        }
    }

    async fn sweeper(self, stop: CancellationToken) {
        loop {
            if let Err(e) = self.sweep().await {
                tracing::warn!(error = %e, "the sweep broke off; it runs again");
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(SWEEP) => {}
            }
        }
    }

    /// Destroys what is kept by schedule. Apart from the sweep: it looks at more, and less often.
    async fn keeper(self, stop: CancellationToken) {
        loop {
            if let Err(e) = self.sweep_retention().await {
                tracing::warn!(error = %e, "the retention sweep broke off; it runs again");
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(RETENTION) => {}
            }
        }
    }

    async fn claim(&self) -> Result<Option<Verification>> {
        let now = self.clock().now();
        let until = now.plus(self.settings().lease);
        let instance = &self.settings().instance;
        let claimed = run_tx!(self.db(), "verify.claim", |tx| verifications::claim(
            tx, instance, now, until
        )
        .await)?;
        if claimed.is_some() {
            // There may be more: wake the next worker.
            self.work.notify_one();
        }
        Ok(claimed)
    }

    /// Judges one claimed capture. Whatever happens, nothing but the settled row and its log entry
    /// comes of it.
    async fn judge_job(self, v: Verification, abort: CancellationToken) {
        let id = v.id.clone();
        let follow = self.progress.follow(&id);
        let renewal = tokio::spawn(self.clone().keep_lease(id.clone(), v.attempt));
        let renewal = AbortOnDropHandle::new(renewal);
        let outcome = tokio::select! {
            outcome = self.judge_and_settle(&v) => Some(outcome),
            () = abort.cancelled() => None,
        };
        drop(renewal);
        match outcome {
            Some(Ok(())) => self.progress.set(&id, Stage::Settled),
            Some(Err(e)) => {
                // The claim lapses and the capture is tried again.
                tracing::error!(verification = %id, error = %e, "a capture could not be judged");
            }
            None => self.release(&v).await,
        }
        drop(follow);
    }

    async fn judge_and_settle(&self, v: &Verification) -> Result<()> {
        let capture =
            v.capture.as_ref().ok_or_else(|| Error::Internal("a job without a capture".into()))?;
        let judged = match &capture.file {
            _ if capture.tries > self.settings().max_tries => Judged::Unusable(GAVE_UP),
            None => Judged::Unusable(GAVE_UP),
            Some(name) => {
                self.progress.set(&v.id, Stage::Measuring);
                let started = Instant::now();
                let measured = self.measure(v, self.spool.path(name)).await;
                metrics::histogram!("cameo_stage_seconds", "stage" => "measure")
                    .record(started.elapsed().as_secs_f64());
                match measured {
                    Ok((mut measured, timings)) => {
                        self.progress.set(&v.id, Stage::Judging);
                        let verdict = self.judge_capture(v, &mut measured).await?;
                        Judged::Verdict(Box::new(measured), timings, verdict)
                    }
                    Err(Error::Capture(e)) if e.family() != media::Family::Ours => {
                        Judged::Unusable(e.code())
                    }
                    Err(e) => return Err(e),
                }
            }
        };
        self.settle(v, judged).await
    }

    async fn measure(&self, v: &Verification, path: PathBuf) -> Result<(Measured, Timings)> {
        let services = self.clone();
        let challenge = v.challenge.clone();
        let fresh = self.settings().script.is_none();
        let (bytes, sha256, received) = match &v.capture {
            Some(c) => (c.bytes, hex::encode(c.sha256), fresh.then_some(c.received)),
            None => return Err(Error::Internal("a job without a capture".into())),
        };
        // The decoder's thread feeds this one; when this future is dropped, `cancel` ends both.
        let cancel = CancellationToken::new();
        let _guard = cancel.clone().drop_guard();
        let limit = self.decoder().limits().wall;
        let work = tokio::task::spawn_blocking(move || {
            let key_frames = services.settings().review_key_frames;
            let capture = Capture { path: &path, bytes, sha256, received, key_frames };
            let cancelled = || cancel.is_cancelled();
            measure_capture(services.decoder(), services.models(), challenge, capture, cancelled)
        });
        match tokio::time::timeout(limit.saturating_mul(2), work).await {
            Ok(Ok(done)) => done,
            Ok(Err(e)) => Err(Error::Internal(format!("measuring broke off: {e}"))),
            // An overloaded machine is no fault of the sender: the claim lapses, and it is tried again.
            Err(_) => Err(Error::Internal("measuring took too long".into())),
        }
    }

    pub(super) async fn settle(&self, v: &Verification, judged: Judged) -> Result<()> {
        let now = self.clock().now();
        let worker = self.settings().instance.as_str();
        let job = Job { id: &v.id, attempt: v.attempt, worker };
        let keep = !self.settings().keep_capture.is_zero();
        let proposed = match judged.enrollable() {
            Some(template) => self.suspects(&v.subject, template).await?,
            None => Proposed::default(),
        };
        let settled = run_tx!(self.db(), "verify.settle", |tx| {
            let mut ledger = self.ledger(tx).await?;
            let person = self.person(tx, &v.subject).await?;
            let place = evidence_place(&v.id, v.attempt);
            let verdict = self.conclude(tx, v, &person, &judged, &proposed, now).await?;
            let state = judged.state(verdict.as_ref());
            let (mut evidence, mut candidate, mut cameo) = (None, None, None);
            let stays = self.sample_stays(v, state, verdict.as_ref());
            attempts::drop_samples(tx, &v.id, stays).await?;
            if let (Judged::Verdict(measured, ..), Some(verdict)) = (&judged, &verdict) {
                let kept = !self.settings().keep_evidence.is_zero();
                if kept || verdict.decision == Decision::Review {
                    let sealed =
                        self.seal(&person, Sealed::Evidence, &place, &measured.evidence)?;
                    evidence = Some(sealed);
                }
                match (verdict.decision, &measured.template) {
                    (Decision::Verified, Some(t)) => {
                        let id = self.enrol(tx, &person, &v.subject, &v.id, t, now).await?;
                        cameo = Some(id);
                    }
                    (Decision::Review, Some(t)) => {
                        candidate = Some(self.seal(&person, Sealed::Template, &place, t)?);
                    }
                    (Decision::Rejected, Some(t)) => {
                        let kept = self.sample_of(verdict, t);
                        let seal = |t: &_| self.seal(&person, Sealed::Template, &place, t);
                        candidate = kept.as_ref().map(seal).transpose()?;
                    }
                    _ => {}
                }
            }
            let timings = judged.timings();
            let quality = judged.quality();
            let settlement = Settlement {
                state,
                verdict: verdict.as_ref(),
                quality: quality.as_ref(),
                timings: timings.as_ref(),
                cameo: cameo.as_ref(),
                failure: judged.failure(),
                evidence_sealed: evidence.as_deref(),
                candidate_sealed: candidate.as_deref(),
                keep_capture: keep,
                at: now,
            };
            if !verifications::settle(tx, &job, &settlement).await? {
                // Somebody else has the job by now: nothing of this may stay.
                return Err(Error::WrongState(State::Processing));
            }
            if let (State::Review, Judged::Verdict(measured, ..)) = (state, &judged) {
                self.keep_frames(tx, &person, v, &measured.key_frames, now).await?;
            }
            match state {
                State::Rejected => self.count_failure(tx, v, now).await?,
                // A file that can't be decoded was tried at our expense.
                State::Failed if judged.failure() != Some(GAVE_UP) => {
                    self.count_failure(tx, v, now).await?;
                }
                State::Verified => failures::clear(tx, &v.subject).await?,
                _ => {}
            }
            let mut note = Note::new(Kind::Verdict)
                .about(&person)
                .public("outcome", state.name())
                .commit("verification", v.id.as_str());
            if let Some(verdict) = &verdict {
                note = note.public("policy", verdict.policy.as_str());
                // For an auditor who counts attack presentations (ISO/IEC 30107-3).
                if let Some(pad) = verdict.check(Check::Pad) {
                    note = note.public("pad", pad.status.name());
                }
            }
            if let Some(cameo) = &cameo {
                note = note.commit("cameo", cameo.as_str());
            }
            ledger.add(note)?;
            ledger.write(tx).await?;
            Ok(state)
        });
        let state = match settled {
            Err(Error::WrongState(_)) => {
                tracing::warn!(verification = %v.id, "another worker settled this first");
                return Ok(());
            }
            other => other?,
        };
        if let (false, Some(name)) = (keep, v.capture.as_ref().and_then(|c| c.file.as_deref())) {
            self.spool.delete(name);
        }
        metrics::counter!("cameo_verifications_total", "outcome" => state.name()).increment(1);
        tracing::info!(verification = %v.id, attempt = v.attempt, outcome = state.name(), "settled");
        Ok(())
    }

    /// The verdict of the evidence, with what the store knows about the person.
    async fn conclude(
        &self,
        tx: &mut Tx,
        v: &Verification,
        person: &Person,
        judged: &Judged,
        proposed: &Proposed,
        now: Millis,
    ) -> Result<Option<Verdict>> {
        let mut verdict = judged.verdict().cloned();
        if let (Some(verdict), Some(template)) = (&mut verdict, judged.enrollable()) {
            let matches = self.matches(tx, &v.subject, template, proposed).await?;
            self.keep_matches(tx, v, &matches, now).await?;
            let identity = self.objections(tx, v, person, template, &matches).await?;
            self.object(verdict, identity, self.objection_to_age(v));
        }
        Ok(verdict)
    }

    async fn keep_lease(self, id: VerificationId, attempt: u32) {
        let lease = self.settings().lease;
        loop {
            tokio::time::sleep(lease / 3).await;
            let until = self.clock().now().plus(lease);
            let job = Job { id: &id, attempt, worker: &self.settings().instance };
            let renewed =
                run_tx!(self.db(), "verify.renew", |tx| verifications::renew(tx, &job, until)
                    .await);
            match renewed {
                Ok(true) => {}
                Ok(false) => break,
                Err(e) => tracing::warn!(error = %e, "a lease could not be renewed"),
            }
        }
    }

    async fn release(&self, v: &Verification) {
        let job = Job { id: &v.id, attempt: v.attempt, worker: &self.settings().instance };
        let released =
            run_tx!(self.db(), "verify.release", |tx| verifications::release(tx, &job).await);
        match released {
            Ok(_) => tracing::info!(verification = %v.id, "given back to the queue"),
            Err(e) => tracing::warn!(error = %e, "a capture was not given back; its lease lapses"),
        }
    }
}

impl Inner {
    pub(super) async fn count_failure(
        &self,
        tx: &mut crate::store::Tx,
        v: &Verification,
        now: Millis,
    ) -> Result<()> {
        let settings = self.settings();
        failures::record(tx, &v.subject, &v.id, v.attempt, now).await?;
        let since = now.minus(settings.lockout_window);
        let failed = failures::count_since(tx, &v.subject, since).await?;
        if failed >= u64::from(settings.lockout_failures) {
            failures::lock(tx, &v.subject, now.plus(settings.lockout)).await?;
            metrics::counter!("cameo_lockouts_total").increment(1);
        }
        Ok(())
    }

    /// What a process does before it serves: its own broken-off jobs go back into the queue, and
    /// uploads that no row knows are deleted.
    ///
    /// # Errors
    /// Those of the store; [`Error::Internal`] where the capture folder can't be read.
    pub async fn recover(&self) -> Result<()> {
        let instance = &self.settings().instance;
        let released =
            run_tx!(self.db(), "verify.recover", |tx| verifications::release_all(tx, instance)
                .await)?;
        let swept = self.sweep_orphans(self.settings().orphan_age).await?;
        if released > 0 || swept > 0 {
            tracing::info!(released, swept, "cleaned up after an unclean end");
        }
        Ok(())
    }

    /// Deletes the uploads that no row knows and that were last written before `age` ago.
    async fn sweep_orphans(&self, age: Duration) -> Result<usize> {
        // The files first: what is queued after this look is known, or too young.
        let before = self.clock().now().minus(age);
        let known = self.known_captures().await?;
        self.spool
            .sweep(&known, before)
            .map_err(|e| Error::Internal(format!("the capture folder can't be swept: {e}")))
    }

    async fn known_captures(&self) -> Result<HashSet<String>> {
        let mut known = HashSet::new();
        let mut after = String::new();
        loop {
            let page =
                verifications::capture_files(&mut self.db().read().await?, &after, BATCH).await?;
            let Some(last) = page.last() else { return Ok(known) };
            after.clone_from(last);
            known.extend(page);
        }
    }

    /// What time brings about: challenges and undecided reviews expire, kept captures and answers are deleted, keys that
    /// another process made are read.
    ///
    /// # Errors
    /// The first of those of its chores; the others are done all the same.
    pub async fn sweep(&self) -> Result<()> {
        let outcomes = [
            self.expire_overdue().await,
            self.lapse_reviews().await,
            self.reload_keys().await,
            self.escalate_overdue().await,
            self.sweep_captures().await,
            self.sweep_rows().await,
        ];
        self.scrub_again().await;
        outcomes.into_iter().collect()
    }

    /// Deletes captures that were kept long enough, and uploads that came to nothing.
    async fn sweep_captures(&self) -> Result<()> {
        let now = self.clock().now();
        let before = now.minus(self.settings().keep_capture);
        let old = verifications::kept_captures(&mut self.db().read().await?, before, BATCH).await?;
        for (id, name) in old {
            let forgotten = run_tx!(self.db(), "sweep.capture", |tx| {
                verifications::forget_capture(tx, &id, &name).await
            })?;
            if forgotten {
                self.spool.delete(&name);
            }
        }
        self.sweep_parts(now);
        let swept = self.sweep_orphans(ORPHAN_AGE.max(self.settings().orphan_age)).await?;
        if swept > 0 {
            tracing::info!(swept, "deleted uploads that no verification knows");
        }
        Ok(())
    }

    async fn sweep_rows(&self) -> Result<()> {
        let (now, settings) = (self.clock().now(), self.settings());
        run_tx!(self.db(), "sweep.rows", |tx| {
            attempts::forget_evidence(tx, now.minus(settings.keep_evidence)).await?;
            attempts::forget_samples(tx, now.minus(settings.repeat_within)).await?;
            idempotency::expire(tx, now.minus(once::KEPT)).await?;
            page_sessions::prune(tx, now).await?;
            failures::prune(tx, now.minus(settings.lockout_window), now).await?;
            key_frames::forget(tx, now.minus(settings.frames_within())).await?;
            captures_seen::prune(tx, now.minus(REPLAY_MEMORY)).await
        })?;
        Ok(())
    }

    pub(super) async fn expire_overdue(&self) -> Result<()> {
        let now = self.clock().now();
        let expired = run_tx!(self.db(), "sweep.expire", |tx| {
            verifications::expire_overdue(tx, now, BATCH).await
        })?;
        for (id, attempt) in expired {
            self.spool.delete(&spool::part(&id, attempt));
            self.progress.set(&id, Stage::Settled);
        }
        Ok(())
    }
}

/// After this time an upload that no row knows came to nothing: it is far longer than any takes.
const ORPHAN_AGE: Duration = Duration::from_hours(1);
/// How long a capture's hash is remembered, to know it again.
const REPLAY_MEMORY: Duration = Duration::from_hours(24 * 365);

/// Where an attempt's evidence is sealed to.
pub(super) fn evidence_place(id: &VerificationId, attempt: u32) -> String {
    format!("{id}:{attempt}")
}

impl Judged {
    /// What would be enrolled, unless the verdict rules that out.
    fn enrollable(&self) -> Option<&Template> {
        match self {
            Self::Verdict(measured, _, v) if v.decision != Decision::Rejected => {
                measured.template.as_ref()
            }
            _ => None,
        }
    }

    /// Where `verdict`, which may be stricter than the evidence's own, leads.
    fn state(&self, verdict: Option<&Verdict>) -> State {
        match (self, verdict) {
            (Self::Unusable(_), _) | (_, None) => State::Failed,
            (Self::Verdict(measured, ..), Some(verdict)) => match verdict.decision {
                // Nothing to enrol means nothing to be verified.
                Decision::Verified if measured.template.is_none() => State::Review,
                Decision::Verified => State::Verified,
                Decision::Rejected => State::Rejected,
                Decision::Review => State::Review,
            },
        }
    }

    fn verdict(&self) -> Option<&Verdict> {
        match self {
            Self::Verdict(_, _, verdict) => Some(verdict),
            Self::Unusable(_) => None,
        }
    }

    fn failure(&self) -> Option<&str> {
        match self {
            Self::Verdict(..) => None,
            Self::Unusable(code) => Some(code),
        }
    }

    fn timings(&self) -> Option<Value> {
        match self {
            Self::Verdict(_, timings, _) => serde_json::to_value(timings).ok(),
            Self::Unusable(_) => None,
        }
    }

    /// The quality components of the best frontal frame, as OFIQ names them.
    fn quality(&self) -> Option<Value> {
        let Self::Verdict(measured, ..) = self else { return None };
        let faces = measured.evidence.frames.iter().filter_map(|f| f.face.as_ref());
        let best = faces.map(FaceQuality::of).max_by_key(|q| q.unified_quality_score)?;
        Some(json!({ "version": QUALITY_VERSION, "components": best }))
    }
}
