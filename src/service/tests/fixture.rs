//! A service on a database of its own, and people to put into it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::postgres;
use crate::crypto::master::{MasterKey, MasterKeys};
use crate::domain::access::Role;
use crate::domain::challenge::ChallengeRules;
use crate::domain::consent::{Audience, Permissions, Purpose, Rule, Scope, Style};
use crate::domain::evidence::Pose;
use crate::domain::ids::{CameoId, SubjectId, VerificationId};
use crate::domain::template::{
    EmbeddingModel, FaceTemplate, Metric, PoseBin, TEMPLATE_VERSION, Template,
};
use crate::env::{Clock, ManualClock, Millis, SeededEntropy, random};
use crate::infer::Models;
use crate::liveness::Policy;
use crate::media::{Decoder, Limits};
use crate::service::access::Caller;
use crate::service::decisions::Request;
use crate::service::graph::AskGraph;
use crate::service::once::Answer;
use crate::service::publish::{LogSettings, Shelf};
use crate::service::resolve::Resolved;
use crate::service::texts::Shown;
use crate::service::{Controller, Error, IdentityRules, Parts, Result, Services, Settings};
use crate::store::verifications::NewVerification;
use crate::store::{Db, Engine, Options};
use crate::tlog::publish::Folder;

pub(super) const START: Millis = Millis(1_800_000_000_000);

pub(super) struct Fixture {
    /// The first service process.
    pub(super) services: Services,
    pub(super) clock: Arc<ManualClock>,
    pub(super) app: Caller,
    pub(super) generator: Caller,
    url: String,
    master: MasterKeys,
    folder: tempfile::TempDir,
    set: Set,
}

/// Changes the settings of every process of a fixture.
type Set = Arc<dyn Fn(&mut Settings) + Send + Sync>;

impl Fixture {
    /// `None` where the engine isn't installed.
    pub(super) async fn new(engine: Engine) -> Option<Self> {
        Self::asking(engine, None).await
    }

    /// The same with a graph to ask.
    pub(super) async fn asking(engine: Engine, graph: Option<Arc<dyn AskGraph>>) -> Option<Self> {
        Self::made(engine, graph, |_| {}).await
    }

    /// The same with other settings, which replicas share.
    pub(super) async fn with(
        engine: Engine,
        set: impl Fn(&mut Settings) + Send + Sync + 'static,
    ) -> Option<Self> {
        Self::made(engine, None, set).await
    }

    async fn made(
        engine: Engine,
        graph: Option<Arc<dyn AskGraph>>,
        set: impl Fn(&mut Settings) + Send + Sync + 'static,
    ) -> Option<Self> {
        let set: Set = Arc::new(set);
        let folder = tempfile::tempdir().unwrap();
        let url = match engine {
            Engine::Sqlite => format!("sqlite:{}/cameo.db", folder.path().display()),
            Engine::Postgres => tokio::task::spawn_blocking(postgres::database).await.unwrap()?,
        };
        let clock = Arc::new(ManualClock::at(START));
        let master = MasterKeys::from(MasterKey::generate(&SeededEntropy::new(1)));
        let services = open(&url, &clock, &master, graph, 2, folder.path(), &*set).await;
        let (app, _) = services.create_key(Role::App, "app").await.unwrap();
        let (generator, _) = services.create_key(Role::Generator, "generator").await.unwrap();
        // RFC 7748 §5.2's base point: a key that something can be sealed to.
        let mut point = [0; 32];
        point[0] = 9;
        services.add_recipient(&generator.id, point).await.unwrap();
        Some(Self {
            app: Caller { key: app.id, role: Role::App },
            generator: Caller { key: generator.id, role: Role::Generator },
            services,
            clock,
            url,
            master,
            folder,
            set,
        })
    }

    /// Another service process on the same database.
    pub(super) async fn replica(&self, seed: u64) -> Services {
        open(&self.url, &self.clock, &self.master, None, seed, self.folder.path(), &*self.set).await
    }

    /// The same with settings of its own.
    pub(super) async fn replica_with(
        &self,
        seed: u64,
        set: impl Fn(&mut Settings) + Send + Sync,
    ) -> Services {
        open(&self.url, &self.clock, &self.master, None, seed, self.folder.path(), &set).await
    }

    /// A person with a cameo, who has not said anything yet.
    pub(super) async fn enrolled(&self, subject: &str) -> CameoId {
        self.services.enrol_given(&self.app.key, &who(subject), &template()).await.unwrap()
    }

    /// A person with a cameo and these permissions.
    pub(super) async fn consenting(&self, subject: &str, permissions: &Permissions) -> CameoId {
        let cameo = self.enrolled(subject).await;
        self.consent(&cameo, permissions).await.unwrap();
        cameo
    }

    pub(super) async fn consent(&self, cameo: &CameoId, permissions: &Permissions) -> Result<u32> {
        let given = self.services.put_consent(cameo, permissions, &shown(), None).await?;
        Ok(given.version)
    }

    pub(super) async fn resolve(&self, request: &Request) -> Result<Resolved> {
        resolve(&self.services, &self.generator, request).await
    }

    /// `allowed`, or the rule that refused.
    pub(super) async fn outcome(&self, request: &Request) -> &'static str {
        self.resolve(request).await.unwrap().rule().map_or("allowed", Rule::name)
    }

    /// A verification that the app opens now.
    pub(super) fn opened(&self, subject: SubjectId) -> NewVerification {
        let (s, now) = (&self.services, self.now());
        NewVerification {
            id: VerificationId::new(s.clock(), s.entropy()),
            subject,
            app_key: self.app.key.clone(),
            locale: "en".into(),
            consent_text_version: "t".into(),
            challenge: s.challenge(now).unwrap(),
            client_token_hash: random(s.entropy()),
            client_token_expires: now,
            attested_age: None,
            created: now,
        }
    }

    pub(super) fn now(&self) -> Millis {
        Clock::now(&*self.clock)
    }

    pub(super) async fn log_size(&self) -> u64 {
        self.services.replay().await.unwrap().expect("the log holds").head.size
    }
}

pub(super) async fn resolve(
    services: &Services,
    generator: &Caller,
    request: &Request,
) -> Result<Resolved> {
    let resolved = Mutex::new(None);
    let keep = |r: &Resolved| {
        *resolved.lock().unwrap() = Some(r.clone());
        ANSWER
    };
    services.resolve(generator, request, None, keep).await?;
    Ok(resolved.into_inner().unwrap().unwrap())
}

pub(super) const ANSWER: Answer =
    Answer { status: 200, content_type: "application/json", body: Vec::new() };

pub(super) fn who(name: &str) -> SubjectId {
    name.parse().unwrap()
}

pub(super) fn people(names: &[&str]) -> BTreeSet<SubjectId> {
    names.iter().map(|n| who(n)).collect()
}

pub(super) fn shown() -> Shown {
    Shown { version: "t1".into(), locale: None }
}

pub(super) fn social() -> Scope {
    Scope { purposes: [Purpose::Social].into(), ..Scope::default() }
}

pub(super) fn everyone() -> Permissions {
    Permissions { audience: Audience::Everyone, scope: social(), ..Permissions::default() }
}

/// A social use by `requester`.
pub(super) fn ask(cameos: &[&CameoId], requester: &str) -> Request {
    Request {
        cameos: cameos.iter().map(|c| (*c).clone()).collect(),
        requester: who(requester),
        purpose: Purpose::Social,
        style: Style::Photoreal,
        region: None,
        needs_voice: false,
        needs_images: false,
        parent: None,
        request_digest: None,
    }
}

pub(super) fn denied(result: Result<Resolved>) -> &'static str {
    match result {
        Ok(r) => r.rule().map_or("allowed", Rule::name),
        Err(Error::NotFound(_)) => "not found",
        Err(e) => panic!("{e}"),
    }
}

async fn open(
    url: &str,
    clock: &Arc<ManualClock>,
    master: &MasterKeys,
    graph: Option<Arc<dyn AskGraph>>,
    seed: u64,
    folder: &std::path::Path,
    set: &(dyn Fn(&mut Settings) + Send + Sync),
) -> Services {
    let options = Options { patience: Duration::from_mins(2), ..Options::default() };
    let db = Db::connect(url, &options).await.unwrap();
    db.migrate().await.unwrap();
    let mut parts = Parts {
        db,
        clock: clock.clone(),
        entropy: Arc::new(SeededEntropy::new(seed)),
        master: Arc::new(master.clone()),
        models: Arc::new(Models::default()),
        decoder: Decoder::new("nobody-decodes-here", Limits::default()),
        graph,
        outbound: crate::outbound::Outbound::new(crate::outbound::Policy::default()),
        settings: Settings {
            issuer: "https://cameo.example".into(),
            challenge: ChallengeRules::default(),
            script: None,
            client_token_ttl: Duration::from_mins(30),
            lockout_failures: 5,
            lockout_window: Duration::from_mins(3),
            lockout: Duration::from_mins(30),
            capture_dir: folder.join("captures"),
            max_capture_bytes: 1 << 20,
            keep_capture: Duration::ZERO,
            keep_evidence: Duration::ZERO,
            override_by_two: true,
            repeat_within: Duration::from_mins(15),
            review_within: Duration::from_hours(72),
            review_key_frames: true,
            policy: Policy::balanced(),
            identity: IdentityRules::default(),
            workers: 1,
            max_queue: 10,
            max_tries: 3,
            lease: Duration::from_secs(30),
            instance: format!("test-{seed}"),
            orphan_age: Duration::from_hours(1),
            token_ttl: Duration::from_mins(5),
            takedown_deadline: Duration::from_hours(24),
            keep_withdrawn: Duration::from_hours(30 * 24),
            keep_unused: Duration::from_hours(90 * 24),
            keep_inactive: Duration::from_hours(1095 * 24),
            rewrite_every: Duration::ZERO,
            graph_kept: Duration::from_secs(30),
            log: LogSettings {
                shelf: Shelf::Folder(Folder::new(folder.join("tlog"))),
                public_entries: true,
                every: Duration::from_secs(1),
                audit_every: Duration::from_mins(10),
                witnesses: Vec::new(),
                quorum: 0,
                witness_for: Vec::new(),
                outbound: crate::outbound::Outbound::new(crate::outbound::Policy::default()),
            },
            controller: Controller {
                name: "Example AG".into(),
                contact: Some("privacy@example".into()),
                notice_url: None,
            },
        },
    };
    set(&mut parts.settings);
    Services::open(parts).await.unwrap()
}

pub(super) fn template() -> Template {
    Template {
        version: TEMPLATE_VERSION,
        model: EmbeddingModel {
            id: "test".into(),
            sha256: "ab".repeat(32),
            dim: 4,
            metric: Metric::Cosine,
        },
        faces: vec![FaceTemplate {
            bin: PoseBin::Frontal,
            pose: Pose::default(),
            vector: vec![0.1, -0.2, 0.3, 0.4],
            keypoints: [[0.5, 0.5]; 5],
            frame: None,
            quality: 80,
        }],
        voice: None,
    }
}
