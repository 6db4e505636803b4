//! One typed configuration, from a file and the environment.
//!
//! The file is TOML (`--config FILE` or `CAMEO_CONFIG`). Every key can be set or overridden by an
//! environment variable `CAMEO_<SECTION>__<KEY>`, for example `CAMEO_SERVER__LISTEN`. A key that is
//! not known is refused, in the file and in the environment: a typing error must not turn a
//! protection off. A secret is given as a value (`master_key`) or as a file (`master_key_file`),
//! never as both, and is never printed.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::infer::manifest::Set;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read the configuration file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file is not TOML, or has a key or value that is not known.
    #[error("the configuration file {path} is not valid: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// The parser's words, with the position.
        reason: String,
    },
    /// A variable `CAMEO_…__…` names no setting or holds a bad value.
    #[error("the environment variable {name} is not valid: {reason}")]
    Variable {
        /// The variable. Its value may be a secret and is not told.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The values don't go together.
    #[error("the configuration does not hold together: {0}")]
    Invalid(String),
}

/// The whole configuration. `Debug` and [`Config::redacted`] hide secrets.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where and how HTTP is served.
    pub server: Server,
    /// Where rows are kept.
    pub database: Database,
    /// Keys that nothing else can replace.
    pub secrets: Secrets,
    /// Where the models are.
    pub models: Models,
    /// Challenges, attempts and judging.
    pub verification: Verification,
    /// What is accepted as a capture.
    pub capture: Capture,
    /// Conditioning tokens.
    pub token: Token,
    /// How long identities are kept.
    pub retention: Retention,
    /// Take-downs, and the webhooks that tell generators of them.
    pub takedown: Takedown,
    /// Who follows whom, where the service is to ask.
    pub graph: Graph,
    /// Who answers for the processing: named in consent records.
    pub controller: Controller,
    /// The transparency log.
    pub log: Log,
    /// The bucket that the log is published to, instead of a folder.
    pub bucket: Bucket,
    /// Logs.
    pub telemetry: Telemetry,
}

/// Where and how HTTP is served.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address of the API.
    pub listen: SocketAddr,
    /// Address for `/healthz`, `/readyz` and `/metrics`; unset: they are served with the API.
    pub management_listen: Option<SocketAddr>,
    /// The URL under which others reach the API; issuer of tokens and origin of the log.
    pub public_url: String,
    /// Origins of apps that may show the onboarding in a frame, like `https://app.example`.
    pub embed_origins: Vec<String>,
    /// Requests served at once; one more is answered 429.
    pub max_in_flight: usize,
    /// How long a request other than an upload or an event stream may take, in seconds.
    pub request_timeout_s: u64,
    /// How long work in flight may go on after a stop was asked for, in seconds.
    pub shutdown_grace_s: u64,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8600)),
            management_listen: None,
            public_url: "http://127.0.0.1:8600".into(),
            embed_origins: Vec::new(),
            max_in_flight: 512,
            request_timeout_s: 30,
            shutdown_grace_s: 20,
        }
    }
}

/// Where rows are kept.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// `sqlite:PATH` or `postgres://…`. May hold a password, so it is not printed.
    pub url: SecretString,
    /// A file that holds the URL, instead of `url`.
    pub url_file: Option<PathBuf>,
    /// Connections held open at most.
    pub max_connections: u32,
}

/// The database unless the configuration says otherwise.
pub const DEFAULT_DATABASE: &str = "sqlite:var/cameo.db";

impl Default for Database {
    fn default() -> Self {
        Self { url: DEFAULT_DATABASE.to_owned().into(), url_file: None, max_connections: 8 }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.url.expose_secret().split(':').next().unwrap_or_default();
        write!(f, "Database {{ url: \"{scheme}:…\", max_connections: {} }}", self.max_connections)
    }
}

/// Keys that nothing else can replace.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Secrets {
    /// 32 bytes as 64 hexadecimal digits: wraps every other key. Losing it loses all identities.
    pub master_key: Option<SecretString>,
    /// A file that holds it. Made on the first start where the database is SQLite.
    pub master_key_file: Option<PathBuf>,
    /// Files with earlier master keys, which still open what they wrapped until `cameo keys rewrap`
    /// has been run.
    pub previous_master_key_files: Vec<PathBuf>,
}

/// Where the master key is kept unless the configuration says otherwise.
pub const DEFAULT_MASTER_KEY_FILE: &str = "var/master.key";

impl Default for Secrets {
    fn default() -> Self {
        Self {
            master_key: None,
            master_key_file: Some(DEFAULT_MASTER_KEY_FILE.into()),
            previous_master_key_files: Vec::new(),
        }
    }
}

/// Where the models are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Models {
    /// The manifest; unset: the one built into the program.
    pub manifest: Option<PathBuf>,
    /// The set that is preferred: `hermetic` or `recommended`. A role that it doesn't fill is taken
    /// from the other, where that is installed.
    pub set: Set,
    /// Where `cameo models install` puts the weights.
    pub dir: PathBuf,
    /// The ONNX Runtime library.
    pub runtime: PathBuf,
    /// Sessions held for each model; 0: as many as there are workers.
    pub sessions: usize,
}

impl Default for Models {
    fn default() -> Self {
        Self {
            manifest: None,
            set: Set::Hermetic,
            dir: "onnx/installed".into(),
            runtime: "onnx/runtime/libonnxruntime.so".into(),
            sessions: 0,
        }
    }
}

/// Challenges, attempts and judging.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Verification {
    /// Digits to read aloud, 4 to 10.
    pub digits: usize,
    /// Head motions, 1 to 4.
    pub motions: usize,
    /// How long a challenge can be answered, in seconds.
    pub challenge_ttl_s: u64,
    /// How long a client token is good, in seconds.
    pub client_token_ttl_s: u64,
    /// Failed attempts of one subject within `lockout_window_s` that lock it out.
    pub lockout_failures: u32,
    /// See `lockout_failures`, in seconds.
    pub lockout_window_s: u64,
    /// How long a lock-out lasts, in seconds.
    pub lockout_s: u64,
    /// Captures judged at once; 0: one for each processor.
    pub workers: usize,
    /// Captures that may wait for a worker; one more is answered 429.
    pub max_queue: u32,
    /// Times a capture is tried again after the service itself broke off.
    pub max_tries: u32,
    /// The verdict policy: `balanced` or `strict`.
    pub policy: String,
    /// What becomes of a face that is enrolled under another subject: `review` or `off`.
    pub duplicates: Guard,
    /// Two faces no further apart than this are taken for one person's, in the embedding model's
    /// own metric; unset: as the model's manifest says.
    pub duplicate_distance: Option<f32>,
    /// What becomes of a face on the block list (`cameo protect`): `review` or `reject`.
    pub protected: Bar,
    /// The youngest that may enrol without a review, in years, by the age that the app attests;
    /// unset: age is not asked.
    pub minimum_age: Option<u8>,
    /// Seconds that the sealed evidence is kept after the verdict. 0: it is not kept.
    pub keep_evidence_s: u64,
    /// Seconds after a rejected attempt in which the step that failed can be done again alone; so long a
    /// sealed sample of the face is kept for it. 0: every retry asks for everything.
    pub repeat_within_s: u64,
    /// Seconds a reviewer has to decide; then the verification expires and may be retried.
    pub review_within_s: u64,
    /// Whether up to four small pictures of a capture in review are kept, sealed, until it is decided.
    pub review_key_frames: bool,
    /// Whether approving a case in which a check failed takes two reviewers.
    pub override_by_two: bool,
}

impl Default for Verification {
    fn default() -> Self {
        Self {
            digits: 6,
            motions: 2,
            challenge_ttl_s: 180,
            client_token_ttl_s: 1800,
            lockout_failures: 5,
            lockout_window_s: 180,
            lockout_s: 1800,
            workers: 0,
            max_queue: 64,
            max_tries: 3,
            policy: "balanced".into(),
            duplicates: Guard::Review,
            duplicate_distance: None,
            protected: Bar::Review,
            minimum_age: None,
            keep_evidence_s: 30 * 86_400,
            repeat_within_s: 900,
            review_within_s: 7 * 86_400,
            review_key_frames: true,
            override_by_two: true,
        }
    }
}

/// Whether something is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// It leads to review.
    Review,
    /// Nobody looks.
    Off,
}

/// What becomes of somebody who must not enrol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bar {
    /// A reviewer decides.
    Review,
    /// They are turned away.
    Reject,
}

/// What is accepted as a capture.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capture {
    /// Where uploads lie until they are judged.
    pub dir: PathBuf,
    /// The largest upload in bytes.
    pub max_bytes: u64,
    /// The longest capture in seconds.
    pub max_duration_s: u64,
    /// The largest frame in pixels.
    pub max_pixels: u64,
    /// The most frames.
    pub max_frames: u32,
    /// Processor time that decoding may take, in seconds.
    pub max_cpu_s: u64,
    /// Wall-clock time that decoding and measuring may take, in seconds.
    pub max_wall_s: u64,
    /// Memory of the decoding process in bytes.
    pub max_memory: u64,
    /// Seconds that a capture is kept after its verdict. 0: it is deleted at once.
    pub keep_s: u64,
    /// Refuse to start unless the kernel enforces every Landlock rule, which takes Linux 6.12 (the
    /// other layers are always required).
    pub require_landlock: bool,
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            dir: "var/captures".into(),
            max_bytes: 64 << 20,
            max_duration_s: 30,
            max_pixels: 4096 * 2304,
            max_frames: 1800,
            max_cpu_s: 30,
            max_wall_s: 60,
            max_memory: 1 << 30,
            keep_s: 0,
            require_landlock: false,
        }
    }
}

/// Conditioning tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Token {
    /// How long a token is good, in seconds.
    pub ttl_s: u64,
}

impl Default for Token {
    fn default() -> Self {
        Self { ttl_s: 300 }
    }
}

/// How long identities are kept (Illinois BIPA §15(a): until the purpose has ended, three years at
/// most after the person was last there).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Days after consent was withdrawn and not given again. 0: with the next sweep.
    pub withdrawn_days: u32,
    /// Days after the enrolment where no consent was ever given.
    pub unused_days: u32,
    /// Days after the person last enrolled or said anything about their consent.
    pub inactive_days: u32,
    /// Seconds between two rewritings of PostgreSQL's tables, which take what was deleted off the
    /// disk and lock each table meanwhile. 0: with each deletion.
    pub rewrite_s: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { withdrawn_days: 30, unused_days: 90, inactive_days: 3 * 365, rewrite_s: 0 }
    }
}

/// Take-downs, and the webhooks that tell generators of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Takedown {
    /// How long a generator has to acknowledge one, in seconds.
    pub deadline_s: u64,
    /// Whether webhooks may use plain HTTP: for development alone.
    pub allow_http: bool,
    /// Whether webhooks may lie inside the operator's network.
    pub allow_private: bool,
}

impl Default for Takedown {
    fn default() -> Self {
        Self { deadline_s: 86_400, allow_http: false, allow_private: false }
    }
}

/// Who follows whom, where the service is to ask the app (docs/permissions.md).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Graph {
    /// Where to ask; unset: the app says so ahead with `PUT /v1/graph/mutuals`.
    pub url: Option<String>,
    /// The bearer credential to send along.
    pub token: Option<SecretString>,
    /// A file that holds it, instead of `token`.
    pub token_file: Option<PathBuf>,
    /// How long an answer is kept, in seconds, at most 300: how late an end of mutuality may be
    /// noticed.
    pub keep_s: u64,
    /// How long to wait for an answer, in milliseconds. Without one nobody counts as a mutual.
    pub timeout_ms: u64,
    /// Whether the app may be asked over plain HTTP and inside the operator's own network.
    pub allow_private: bool,
}

impl Default for Graph {
    fn default() -> Self {
        Self {
            url: None,
            token: None,
            token_file: None,
            keep_s: 30,
            timeout_ms: 2000,
            allow_private: false,
        }
    }
}

/// Who answers for the processing (ISO/IEC TS 27560: PII controller).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Controller {
    /// The name; unset: the public URL.
    pub name: Option<String>,
    /// How a person reaches them: an address of any kind.
    pub contact: Option<String>,
    /// Where the privacy notice stands.
    pub notice_url: Option<String>,
}

/// The transparency log: how it is published, watched and witnessed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Where tiles and checkpoint are kept; unset: `tlog` beside the SQLite file, else `var/tlog`.
    pub dir: Option<PathBuf>,
    /// Whether everyone may read the entries; else auditors alone, and everyone the hashes.
    pub public_entries: bool,
    /// Milliseconds between two publications.
    pub publish_ms: u64,
    /// Seconds between two self-audits.
    pub audit_s: u64,
    /// Witnesses that are asked to cosign each published checkpoint.
    pub witnesses: Vec<Witness>,
    /// Cosignatures that a checkpoint needs to be published.
    pub witness_quorum: usize,
    /// Verifier keys of the logs that this service is a witness of.
    pub witness_for: Vec<String>,
}

/// A witness that is asked to cosign.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Witness {
    /// Its submission prefix: `add-checkpoint` is below it.
    pub url: String,
    /// Its verifier key, `<name>+<id>+<base64>`.
    pub key: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            dir: None,
            public_entries: true,
            publish_ms: 1000,
            audit_s: 600,
            witnesses: Vec::new(),
            witness_quorum: 0,
            witness_for: Vec::new(),
        }
    }
}

/// A bucket of an S3-compatible object store.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bucket {
    /// Its URL, with a prefix, if any; unset: the log is published to `log.dir`.
    pub url: Option<String>,
    /// The region that it is in.
    pub region: String,
    /// The id of an access key that may get and put objects there, and list them.
    pub access_key: Option<String>,
    /// The access key's secret.
    pub secret_key: Option<SecretString>,
    /// A file that holds it, instead of `secret_key`.
    pub secret_key_file: Option<PathBuf>,
    /// Whether it may be reached over plain HTTP and inside the operator's own network.
    pub allow_private: bool,
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            url: None,
            region: "us-east-1".into(),
            access_key: None,
            secret_key: None,
            secret_key_file: None,
            allow_private: false,
        }
    }
}

/// Logs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// `pretty` or `json`.
    pub format: LogFormat,
    /// A filter as `tracing` takes it.
    pub filter: String,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For a person.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// What is logged unless the configuration says otherwise.
pub const DEFAULT_FILTER: &str = "info,ort=warn,sqlx=warn";

impl Default for Telemetry {
    fn default() -> Self {
        Self { format: LogFormat::Pretty, filter: DEFAULT_FILTER.into() }
    }
}

/// The prefix of the variables that are looked at.
const PREFIX: &str = "CAMEO_";
/// What stands between section and key. Variables without it are not settings.
const SEPARATOR: &str = "__";

impl Config {
    /// Reads the configuration: the defaults, then `file`, then the variables.
    ///
    /// # Errors
    /// [`ConfigError`], naming the file or the variable.
    pub fn load(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut root = match file {
            None => toml::Table::new(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| ConfigError::Read { path: path.into(), source })?;
                let invalid = |reason| ConfigError::File { path: path.into(), reason };
                // Checked by itself first, so that an error can name the line.
                let parsed = toml::from_str::<Self>(&text);
                parsed.map_err(|e| invalid(quiet(&e)))?;
                text.parse().map_err(|e: toml::de::Error| invalid(quiet(&e)))?
            }
        };
        let sorted: BTreeMap<_, _> = variables.into_iter().collect();
        for (name, value) in sorted {
            let Some(path) = name.strip_prefix(PREFIX) else { continue };
            let Some((section, key)) = path.split_once(SEPARATOR) else { continue };
            let invalid = |reason| ConfigError::Variable { name: name.clone(), reason };
            let (section, key) = (section.to_lowercase(), key.to_lowercase());
            let entry = root
                .entry(section)
                .or_insert_with(|| toml::Value::Table(toml::Table::new()))
                .as_table_mut()
                .ok_or_else(|| invalid("its section is not a table".into()))?;
            entry.insert(key.clone(), scalar(&value));
            // One variable at a time, so that the error names the right one.
            if let Err(first) = root.clone().try_into::<Self>() {
                // A text that looks like a number is still a text where a text is wanted.
                let table = entry_of(&mut root, path);
                if let Some(slot) = table.and_then(|t| t.get_mut(&key)) {
                    *slot = toml::Value::String(value);
                }
                root.clone().try_into::<Self>().map_err(|_| invalid(quiet(&first)))?;
            }
        }
        let config: Self =
            root.try_into().map_err(|e: toml::de::Error| ConfigError::Invalid(quiet(&e)))?;
        config.check()
    }

    fn check(mut self) -> Result<Self, ConfigError> {
        let invalid = |m: &str| Err(ConfigError::Invalid(m.into()));
        if self.secrets.master_key.is_some() {
            match &self.secrets.master_key_file {
                Some(f) if f != Path::new(DEFAULT_MASTER_KEY_FILE) => {
                    return invalid(
                        "secrets.master_key and secrets.master_key_file are both set: keep one",
                    );
                }
                _ => self.secrets.master_key_file = None,
            }
        }
        if let Some(path) = self.database.url_file.take() {
            if self.database.url.expose_secret() != DEFAULT_DATABASE {
                return invalid("database.url and database.url_file are both set: keep one");
            }
            let text = std::fs::read_to_string(&path)
                .map_err(|source| ConfigError::Read { path, source })?;
            self.database.url = text.trim().to_owned().into();
        }
        if let Some(path) = self.graph.token_file.take() {
            if self.graph.token.is_some() {
                return invalid("graph.token and graph.token_file are both set: keep one");
            }
            let text = std::fs::read_to_string(&path)
                .map_err(|source| ConfigError::Read { path, source })?;
            self.graph.token = Some(text.trim().to_owned().into());
        }
        if let Some(path) = self.bucket.secret_key_file.take() {
            if self.bucket.secret_key.is_some() {
                return invalid(
                    "bucket.secret_key and bucket.secret_key_file are both set: keep one",
                );
            }
            let text = std::fs::read_to_string(&path)
                .map_err(|source| ConfigError::Read { path, source })?;
            self.bucket.secret_key = Some(text.trim().to_owned().into());
        }
        let complete = self.bucket.access_key.is_some() && self.bucket.secret_key.is_some();
        if self.bucket.url.is_some() && !complete {
            return invalid("bucket.url needs bucket.access_key and bucket.secret_key");
        }
        let url = &mut self.server.public_url;
        while url.ends_with('/') {
            url.pop();
        }
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            return invalid("server.public_url must start with http:// or https://");
        }
        let db = self.database.url.expose_secret();
        if !(db.starts_with("sqlite:")
            || db.starts_with("postgres:")
            || db.starts_with("postgresql:"))
        {
            return invalid("database.url must start with sqlite: or postgres://");
        }
        if self.log.witness_quorum > self.log.witnesses.len() {
            return invalid("log.witness_quorum is larger than the number of log.witnesses");
        }
        if self.verification.duplicate_distance.is_some_and(|d| !(d > 0.0 && d.is_finite())) {
            return invalid("verification.duplicate_distance must be above 0");
        }
        for (name, value, range) in [
            ("verification.digits", self.verification.digits as u64, 4..=10),
            ("verification.motions", self.verification.motions as u64, 1..=4),
            ("verification.challenge_ttl_s", self.verification.challenge_ttl_s, 10..=3600),
            ("verification.client_token_ttl_s", self.verification.client_token_ttl_s, 60..=86_400),
            ("verification.repeat_within_s", self.verification.repeat_within_s, 0..=86_400),
            ("verification.lockout_failures", self.verification.lockout_failures.into(), 1..=1000),
            ("verification.max_tries", self.verification.max_tries.into(), 1..=10),
            (
                "verification.minimum_age",
                self.verification.minimum_age.unwrap_or(0).into(),
                0..=150,
            ),
            ("database.max_connections", self.database.max_connections.into(), 2..=1000),
            ("token.ttl_s", self.token.ttl_s, 10..=86_400),
            ("takedown.deadline_s", self.takedown.deadline_s, 60..=30 * 86_400),
            ("retention.withdrawn_days", self.retention.withdrawn_days.into(), 0..=3 * 365),
            ("retention.unused_days", self.retention.unused_days.into(), 1..=3 * 365),
            // The law's own limit.
            ("retention.inactive_days", self.retention.inactive_days.into(), 1..=3 * 365),
            ("retention.rewrite_s", self.retention.rewrite_s, 0..=7 * 86_400),
            ("graph.keep_s", self.graph.keep_s, 0..=300),
            ("graph.timeout_ms", self.graph.timeout_ms, 50..=20_000),
            ("capture.max_bytes", self.capture.max_bytes, 1024..=1 << 32),
            ("capture.max_duration_s", self.capture.max_duration_s, 1..=60),
            ("capture.max_frames", self.capture.max_frames.into(), 1..=7200),
            ("capture.max_wall_s", self.capture.max_wall_s, 1..=3600),
            ("capture.max_memory", self.capture.max_memory, 128 << 20..=1 << 36),
            ("server.max_in_flight", self.server.max_in_flight as u64, 1..=1 << 16),
            ("log.publish_ms", self.log.publish_ms, 10..=3_600_000),
            ("log.audit_s", self.log.audit_s, 1..=7 * 86_400),
            ("server.request_timeout_s", self.server.request_timeout_s, 1..=3600),
        ] {
            if !range.contains(&value) {
                return Err(ConfigError::Invalid(format!(
                    "{name} is {value}, but must be {} to {}",
                    range.start(),
                    range.end()
                )));
            }
        }
        Ok(self)
    }

    /// The settings as `key = value` lines, without secrets.
    pub fn redacted(&self) -> String {
        format!("{self:#?}")
    }

    /// How many captures are judged at once.
    pub fn workers(&self) -> usize {
        match self.verification.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        }
    }

    /// Time that work in flight gets after a stop was asked for.
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.server.shutdown_grace_s)
    }
}

fn entry_of<'a>(root: &'a mut toml::Table, path: &str) -> Option<&'a mut toml::Table> {
    let (section, _) = path.split_once(SEPARATOR)?;
    root.get_mut(&section.to_lowercase())?.as_table_mut()
}

/// A variable's text as the TOML value it most likely means.
fn scalar(text: &str) -> toml::Value {
    let boolean = text.parse().map(toml::Value::Boolean).ok();
    let integer = || text.parse().map(toml::Value::Integer).ok();
    boolean.or_else(integer).unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

/// The parser's message without the source line, which may hold a secret.
fn quiet(e: &toml::de::Error) -> String {
    e.message().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::load(None, pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
    }

    fn file(text: &str) -> Result<Config, ConfigError> {
        let f = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(f.path(), text).unwrap();
        Config::load(Some(f.path()), [])
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let f = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(f.path(), "[verification]\ndigits = 5\nmotions = 1\n").unwrap();
        let vars = [("CAMEO_VERIFICATION__DIGITS".to_owned(), "8".to_owned())];
        let c = Config::load(Some(f.path()), vars).unwrap();
        assert_eq!((c.verification.digits, c.verification.motions), (8, 1));
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(file("[server]\nlissten = 'x'").unwrap_err().to_string().contains("lissten"));
        let e = env(&[("CAMEO_SERVER__LISSTEN", "127.0.0.1:1")]).unwrap_err();
        assert!(e.to_string().contains("CAMEO_SERVER__LISSTEN"), "{e}");
        assert!(env(&[("CAMEO_SERVR__LISTEN", "127.0.0.1:1")]).is_err());
        // Not settings: no double underscore.
        assert!(env(&[("CAMEO_DATASETS_DIR", "/x"), ("OTHER__KEY", "1")]).is_ok());
    }

    #[test]
    fn secrets_stay_hidden() {
        let key = "ab".repeat(32);
        let c = env(&[
            ("CAMEO_SECRETS__MASTER_KEY", &key),
            ("CAMEO_DATABASE__URL", "postgres://u:hunter2@h/db"),
            ("CAMEO_BUCKET__URL", "https://s3.example/bucket"),
            ("CAMEO_BUCKET__ACCESS_KEY", "AKTEST"),
            ("CAMEO_BUCKET__SECRET_KEY", "hunter2"),
        ])
        .unwrap();
        let shown = c.redacted();
        assert!(!shown.contains(&key) && !shown.contains("hunter2"), "{shown}");
        let e = file("[secrets]\nmaster_key = \"hunter2\nx").unwrap_err();
        assert!(!e.to_string().contains("hunter2"), "{e}");
        // All digits, but still a text.
        let digits = "1".repeat(18);
        assert!(env(&[("CAMEO_SECRETS__MASTER_KEY", &digits)]).is_ok());
    }

    #[test]
    fn the_database_url_may_stand_in_a_file() {
        let f = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(f.path(), "postgres://u:hunter2@h/db\n").unwrap();
        let path = f.path().display().to_string();
        let c = env(&[("CAMEO_DATABASE__URL_FILE", &path)]).unwrap();
        assert_eq!(c.database.url.expose_secret(), "postgres://u:hunter2@h/db");
        let both = [("CAMEO_DATABASE__URL_FILE", &*path), ("CAMEO_DATABASE__URL", "sqlite:x")];
        assert!(env(&both).is_err());
    }

    #[test]
    fn contradictions_are_refused() {
        for pairs in [
            &[("CAMEO_SECRETS__MASTER_KEY", "aa"), ("CAMEO_SECRETS__MASTER_KEY_FILE", "/k")][..],
            &[("CAMEO_DATABASE__URL", "mysql://x")],
            &[("CAMEO_BUCKET__URL", "https://x"), ("CAMEO_BUCKET__ACCESS_KEY", "k")],
            &[("CAMEO_SERVER__PUBLIC_URL", "ftp://x")],
            &[("CAMEO_VERIFICATION__DIGITS", "3")],
            &[("CAMEO_VERIFICATION__DIGITS", "many")],
        ] {
            assert!(env(pairs).is_err(), "{pairs:?}");
        }
    }
}
