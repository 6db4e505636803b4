//! The composition root: the only place that wires everything, and the only one that reads the real
//! clock and the real random source.

mod graph;
pub mod secrets;
pub mod telemetry;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config};
use crate::crypto::master::MasterKeys;
use crate::domain::challenge::ChallengeRules;
use crate::env::{Clock, Entropy, SystemClock, SystemEntropy, random};
use crate::http;
use crate::infer::manifest::Manifest;
use crate::infer::{LoadOptions, Models};
use crate::liveness::Policy;
use crate::media::{Decoder, Limits, sandbox};
use crate::outbound::bucket::{Bucket, Credentials};
use crate::outbound::{self, Outbound};
use crate::service::publish::{LogSettings, Shelf, Witness};
use crate::service::{Controller, IdentityRules, Parts, Script, Services, Settings};
use crate::store::{Db, Engine, Options};
use crate::tlog::LogKey;
use crate::tlog::publish::Folder;
use crate::tlog::witness::WitnessKey;

/// A service that is put together and not serving yet.
pub struct App {
    services: Services,
    state: http::State,
    config: Config,
}

/// What a test or the demo replaces.
#[derive(Default)]
pub struct Overrides {
    /// Another clock.
    pub clock: Option<Arc<dyn Clock>>,
    /// Another random source.
    pub entropy: Option<Arc<dyn Entropy>>,
    /// A given challenge; see [`Settings::script`].
    pub script: Option<Script>,
    /// The program to start decoders with, where it is not this one.
    pub program: Option<std::path::PathBuf>,
}

impl App {
    /// Puts the service together: secrets, database, models, decoder.
    ///
    /// # Errors
    /// One line that says what is missing and what to do.
    pub async fn build(
        config: Config,
        metrics: PrometheusHandle,
        overrides: Overrides,
    ) -> Result<Self> {
        let models = load_models(&config).await?;
        let services = assemble(&config, overrides, models).await?;
        let sandbox = probe(services.decoder()).await?;
        let limits = http::Limits {
            in_flight: config.server.max_in_flight,
            request: Duration::from_secs(config.server.request_timeout_s),
            ..http::Limits::default()
        };
        let embedders = config.server.embed_origins.clone();
        if let Some(bad) = embedders.iter().find(|o| !http::pages::is_origin(o)) {
            bail!("server.embed_origins: {bad:?} is no origin; write it like https://app.example");
        }
        let state = http::State::new(services.clone(), metrics, Some(sandbox), limits, embedders);
        Ok(Self { services, state, config })
    }

    /// The use cases, for what goes past HTTP: making keys.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Every route, for tests that need no socket.
    pub fn router(&self) -> http::Router {
        http::router(&self.state)
    }

    /// Serves and judges until `stop`.
    ///
    /// # Errors
    /// Where a listener fails.
    pub async fn run(self, listener: TcpListener, stop: CancellationToken) -> Result<()> {
        let grace = self.config.grace();
        self.services.recover().await?;
        let chores = {
            let (state, stop) = (self.state.clone(), stop.clone());
            tokio::spawn(async move { chores(&state, &stop).await })
        };
        let worker = {
            let (services, stop) = (self.services.clone(), stop.clone());
            tokio::spawn(async move { services.work(stop, grace).await })
        };
        let log = {
            let (services, stop) = (self.services.clone(), stop.clone());
            tokio::spawn(async move {
                tokio::join!(
                    services.publish_until(stop.clone()),
                    services.audit_until(stop.clone())
                );
            })
        };
        let served = match self.config.server.management_listen {
            None => http::serve(listener, http::router(&self.state), stop.clone(), grace).await,
            Some(address) => {
                let management = TcpListener::bind(address)
                    .await
                    .with_context(|| format!("can't listen on {address}"))?;
                let (public, operators) =
                    (http::public(&self.state), http::management(&self.state));
                let both = tokio::try_join!(
                    http::serve(listener, public, stop.clone(), grace),
                    http::serve(management, operators, stop.clone(), grace),
                );
                both.map(|_| ())
            }
        };
        stop.cancel();
        worker.await.context("the workers broke off")?;
        chores.await.context("the housekeeping broke off")?;
        log.await.context("the log's publication broke off")?;
        self.services.db().close().await;
        served.context("the server broke off")
    }
}

/// The use cases alone, without models: for commands that only need the database and the keys.
///
/// # Errors
/// As [`App::build`].
pub async fn services(config: Config, overrides: Overrides) -> Result<Services> {
    assemble(&config, overrides, Models::default()).await
}

async fn assemble(config: &Config, overrides: Overrides, models: Models) -> Result<Services> {
    let entropy = overrides.entropy.unwrap_or_else(|| Arc::new(SystemEntropy));
    let clock = overrides.clock.unwrap_or_else(|| Arc::new(SystemClock));
    let url = config.database.url.expose_secret();
    prepare_folder(url)?;
    let options = Options { readers: config.database.max_connections, ..Options::default() };
    let db = Db::connect(url, &options).await.context("the database can't be opened")?;
    db.migrate().await.context("the database can't be migrated")?;
    let embedded = db.engine() == Engine::Sqlite;
    let master = secrets::master_key(&config.secrets, embedded, &*entropy)?;
    let previous = secrets::previous(&config.secrets)?;
    let decoder = decoder(config, overrides.program)?;
    let parts = Parts {
        settings: settings(config, url, embedded, &*entropy, overrides.script)?,
        db,
        clock,
        entropy,
        master: Arc::new(MasterKeys::new(master, previous)),
        models: Arc::new(models),
        decoder,
        outbound: Outbound::new(outbound::Policy {
            allow_http: config.takedown.allow_http,
            allow_private: config.takedown.allow_private,
            ..outbound::Policy::default()
        }),
        graph: graph::asking(&config.graph)?,
    };
    Ok(Services::open(parts).await?)
}

/// Keeps the metrics' memory bounded, and ends event streams when the service stops.
async fn chores(state: &http::State, stop: &CancellationToken) {
    const UPKEEP: Duration = Duration::from_secs(5);
    while tokio::time::timeout(UPKEEP, stop.cancelled()).await.is_err() {
        state.metrics.run_upkeep();
    }
    state.closing.cancel();
}

/// Ends on Ctrl-C or SIGTERM.
pub async fn interrupted() {
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminate => {}
    }
}

/// The manifest that the configuration names, or the built-in one.
///
/// # Errors
/// Where it can't be read or is not valid.
pub fn manifest(path: Option<&Path>) -> Result<Manifest> {
    match path {
        None => Manifest::embedded().context("the built-in model manifest is not valid"),
        Some(path) => Manifest::load(path)
            .with_context(|| format!("the model manifest {} can't be used", path.display())),
    }
}

/// Loads the models that are installed. Blocks.
///
/// # Errors
/// Where the runtime is missing or a file is not the manifest's.
pub fn models(config: &Config) -> Result<Models> {
    let manifest = manifest(config.models.manifest.as_deref())?;
    let sessions = match config.models.sessions {
        0 => config.workers(),
        n => n,
    };
    let options = LoadOptions {
        set: config.models.set,
        dir: config.models.dir.clone(),
        runtime: config.models.runtime.clone(),
        sessions,
    };
    Ok(Models::load(&manifest, &options)?)
}

/// The sandboxed decoder. Its child is `program`, or else this program.
///
/// # Errors
/// Where this program can't find itself.
pub fn decoder(config: &Config, program: Option<PathBuf>) -> Result<Decoder> {
    let program = match program {
        Some(program) => program,
        None => std::env::current_exe().context("this program can't find itself")?,
    };
    let policy = sandbox::Policy { require_landlock: config.capture.require_landlock };
    Ok(Decoder::new(program, limits(config)).with_policy(policy))
}

async fn load_models(config: &Config) -> Result<Models> {
    let config = config.clone();
    let load = tokio::task::spawn_blocking(move || models(&config));
    let models = load.await.context("loading models broke off")??;
    let missing: Vec<_> = models.missing().iter().map(|r| r.name()).collect();
    if !missing.is_empty() {
        tracing::warn!(
            missing = missing.join(", "),
            "some models are not installed; verdicts that need them go to review"
        );
    }
    Ok(models)
}

async fn probe(decoder: &Decoder) -> Result<sandbox::Probe> {
    let probing = decoder.clone();
    let found = tokio::task::spawn_blocking(move || probing.probe())
        .await
        .context("probing the sandbox broke off")?
        .context("the sandbox for uploads does not work on this machine")?;
    if !found.refused.all() {
        // Landlock may be missing by configuration; whatever else let something through is a hole.
        tracing::warn!(layers = ?found.layers, refused = ?found.refused, "the sandbox has gaps");
    }
    Ok(found)
}

fn limits(config: &Config) -> Limits {
    let c = &config.capture;
    Limits {
        max_bytes: c.max_bytes,
        max_duration_ms: c.max_duration_s * 1000,
        max_pixels: c.max_pixels,
        max_frames: c.max_frames,
        max_audio_ms: c.max_duration_s * 1000 + 1000,
        cpu_seconds: c.max_cpu_s,
        wall: Duration::from_secs(c.max_wall_s),
        memory_bytes: c.max_memory,
    }
}

fn settings(
    config: &Config,
    url: &str,
    embedded: bool,
    entropy: &dyn Entropy,
    script: Option<Script>,
) -> Result<Settings> {
    let v = &config.verification;
    let Some(policy) = Policy::named(&v.policy) else {
        bail!("verification.policy names no policy: use convenience, balanced or strict");
    };
    let seconds = Duration::from_secs;
    let days = |n: u32| Duration::from_hours(24) * n;
    Ok(Settings {
        issuer: config.server.public_url.clone(),
        challenge: ChallengeRules {
            digits: v.digits,
            motions: v.motions,
            ttl: seconds(v.challenge_ttl_s),
        },
        script,
        client_token_ttl: seconds(v.client_token_ttl_s),
        lockout_failures: v.lockout_failures,
        lockout_window: seconds(v.lockout_window_s),
        lockout: seconds(v.lockout_s),
        capture_dir: config.capture.dir.clone(),
        max_capture_bytes: config.capture.max_bytes,
        keep_capture: seconds(config.capture.keep_s),
        keep_evidence: seconds(v.keep_evidence_s),
        override_by_two: v.override_by_two,
        repeat_within: seconds(v.repeat_within_s),
        review_within: seconds(v.review_within_s),
        review_key_frames: v.review_key_frames,
        policy,
        identity: IdentityRules {
            duplicates: v.duplicates == config::Guard::Review,
            duplicate_distance: v.duplicate_distance,
            protected_rejects: v.protected == config::Bar::Reject,
            minimum_age: v.minimum_age,
        },
        workers: config.workers(),
        max_queue: v.max_queue,
        max_tries: v.max_tries,
        lease: LEASE,
        // Alone on its database, the process knows its own unfinished work again.
        instance: if embedded {
            "embedded".to_owned()
        } else {
            format!("replica-{}", hex::encode(random::<6>(entropy)))
        },
        orphan_age: if embedded { Duration::ZERO } else { ORPHAN_AGE },
        token_ttl: seconds(config.token.ttl_s),
        takedown_deadline: seconds(config.takedown.deadline_s),
        keep_withdrawn: days(config.retention.withdrawn_days),
        keep_unused: days(config.retention.unused_days),
        keep_inactive: days(config.retention.inactive_days),
        rewrite_every: seconds(config.retention.rewrite_s),
        graph_kept: seconds(config.graph.keep_s),
        controller: controller(config),
        log: log_settings(config, url)?,
    })
}

fn log_settings(config: &Config, url: &str) -> Result<LogSettings> {
    let (bucket, config) = (bucket(&config.bucket)?, &config.log);
    let beside = || sqlite_file(url).and_then(|f| f.parent().map(|dir| dir.join("tlog")));
    let witness = |w: &config::Witness| {
        let key = WitnessKey::parse(&w.key).with_context(|| format!("log.witnesses: {}", w.key))?;
        Ok(Witness { url: w.url.clone(), key })
    };
    let log = |key: &String| LogKey::parse(key).with_context(|| format!("log.witness_for: {key}"));
    Ok(LogSettings {
        shelf: bucket.map_or_else(
            || {
                let dir = config.dir.clone().or_else(beside).unwrap_or_else(|| "var/tlog".into());
                Shelf::Folder(Folder::new(dir))
            },
            Shelf::Bucket,
        ),
        public_entries: config.public_entries,
        every: Duration::from_millis(config.publish_ms),
        audit_every: Duration::from_secs(config.audit_s),
        witnesses: config.witnesses.iter().map(witness).collect::<Result<_>>()?,
        quorum: config.witness_quorum,
        witness_for: config.witness_for.iter().map(log).collect::<Result<_>>()?,
        // Whom the operator names may stand beside the service. The log is published without a
        // witness that is slow.
        outbound: Outbound::new(outbound::Policy {
            allow_http: true,
            allow_private: true,
            ..outbound::Policy::default()
        }),
    })
}

/// The bucket for the log. Its signatures tell the real time whatever clock a test runs by.
fn bucket(config: &config::Bucket) -> Result<Option<Bucket>> {
    let (Some(url), Some(access_key), Some(secret_key)) =
        (&config.url, config.access_key.clone(), config.secret_key.clone())
    else {
        return Ok(None);
    };
    let credentials = Credentials { region: config.region.clone(), access_key, secret_key };
    let outbound = Outbound::new(outbound::Policy {
        allow_http: config.allow_private,
        allow_private: config.allow_private,
        // A bundle of 256 entries of the largest size.
        max_answer: 32 << 20,
        ..outbound::Policy::default()
    });
    let made = Bucket::new(url, credentials, outbound, Arc::new(SystemClock));
    made.map(Some).context("bucket.url")
}

fn controller(config: &Config) -> Controller {
    let c = &config.controller;
    Controller {
        name: c.name.clone().unwrap_or_else(|| config.server.public_url.clone()),
        contact: c.contact.clone(),
        notice_url: c.notice_url.clone(),
    }
}

/// How long a capture of a process that died stays in its hands.
const LEASE: Duration = Duration::from_secs(30);

/// Replicas share the capture folder, so a young file may be another's upload under way.
const ORPHAN_AGE: Duration = Duration::from_hours(1);

fn sqlite_file(url: &str) -> Option<&Path> {
    let path = url.strip_prefix("sqlite:")?;
    Some(Path::new(path.trim_start_matches("//").split('?').next().unwrap_or_default()))
}

/// SQLite makes its file, but not the folder that it lies in.
fn prepare_folder(url: &str) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match sqlite_file(url).and_then(Path::parent) {
        Some(folder) if !folder.as_os_str().is_empty() => std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("can't make the folder {}", folder.display())),
        _ => Ok(()),
    }
}
