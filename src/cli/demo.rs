//! `cameo demo`: the whole story once, over HTTP, on real parts.
//!
//! A service is started in this process; everything after that goes through its HTTP API, as an
//! app, a reviewer, a generator and an auditor would.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::Args;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::{audit, token as token_cli};
use crate::app::{self, App, Overrides, telemetry};
use crate::config::Config;
use crate::crypto::{KeySet, RecipientSecret};
use crate::domain::access::Role;
use crate::domain::challenge::{Challenge, Motion};
use crate::drawn;
use crate::env::{Clock, Millis, SystemClock, SystemEntropy, random};
use crate::service::{Script, Services};
use crate::token::{self, Expectations};

/// Run the whole story once: enrol, consent, resolve, verify the token and the log.
#[derive(Debug, Args)]
pub struct Demo {
    /// A real recording instead of a drawn one; say with --digits and --motions what is in it
    #[arg(long, value_name = "FILE", requires_all = ["digits", "motions"])]
    capture: Option<PathBuf>,
    /// The digits that the recording reads aloud
    #[arg(long, requires = "capture", value_name = "DIGITS")]
    digits: Option<String>,
    /// The motions that it makes, like left,up
    #[arg(long, requires = "capture", value_delimiter = ',', value_name = "MOTIONS")]
    motions: Option<Vec<Motion>>,
    /// Keep database, keys and files here; without it they go when the demo ends
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Keep the token that was issued in this file
    #[arg(long, value_name = "FILE")]
    token_out: Option<PathBuf>,
    /// Keep the evidence that a reviewer sees in this file
    #[arg(long, value_name = "FILE")]
    evidence_out: Option<PathBuf>,
    /// Go on serving until Ctrl-C, where there is a terminal
    #[arg(long)]
    serve: bool,
    /// End with one JSON line
    #[arg(long)]
    json: bool,
}

/// How it came out.
struct Outcome {
    verdict: String,
    reviewed: bool,
    cameo_id: Option<String>,
    token_verified: bool,
    log_verified: bool,
    stage_ms: Map<String, Value>,
}

/// The keys of those who take part.
struct Cast {
    app: String,
    generator: String,
    generator_id: String,
    reviewer: String,
    /// Another reviewer.
    second: String,
    auditor: String,
}

impl Demo {
    /// Runs the story; exit code 1 where the person is not verified or something does not verify.
    ///
    /// # Errors
    /// One line that says which step failed and why.
    pub fn run(self, mut config: Config) -> Result<ExitCode> {
        let temporary = match &self.state_dir {
            Some(_) => None,
            None => Some(tempfile::tempdir().context("no temporary folder")?),
        };
        let dir = match (&self.state_dir, &temporary) {
            (Some(dir), _) => dir.clone(),
            (None, Some(t)) => t.path().to_owned(),
            (None, None) => bail!("no folder to keep the demo's state in"),
        };
        config.database.url = format!("sqlite:{}", dir.join("cameo.db").display()).into();
        config.secrets.master_key = None;
        config.secrets.master_key_file = Some(dir.join("master.key"));
        config.capture.dir = dir.join("captures");
        super::runtime()?.block_on(async {
            let serving = self.serve && std::io::stdin().is_terminal();
            let listener = listen(&config, serving).await?;
            let address = listener.local_addr()?;
            config.server.public_url = format!("http://{address}");
            let overrides = Overrides { script: self.script()?, ..Overrides::default() };
            let app = App::build(config, telemetry::start_metrics()?, overrides).await?;
            let cast = Cast::make(app.services()).await?;
            let stop = CancellationToken::new();
            let server = tokio::spawn(app.run(listener, stop.clone()));
            let url = format!("http://{address}");
            let json = self.json;
            let story = {
                let (url, dir) = (url.clone(), dir.clone());
                tokio::task::spawn_blocking(move || self.tell(&url, &dir, &cast).map(|o| (o, cast)))
            };
            let outcome = tokio::select! {
                told = story => told.context("the story broke off")?,
                () = app::interrupted() => Err(anyhow::anyhow!("stopped by Ctrl-C")),
            };
            if let (Ok((outcome, cast)), true) = (&outcome, serving) {
                outcome.print(json)?;
                farewell(&url, cast, &dir)?;
                invite(&url, cast).await?;
                app::interrupted().await;
            }
            stop.cancel();
            server.await.context("the server broke off")??;
            let (outcome, _) = outcome?;
            if !serving {
                outcome.print(json)?;
            }
            Ok(if outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        })
    }

    fn script(&self) -> Result<Option<Script>> {
        let (Some(digits), Some(motions)) = (&self.digits, &self.motions) else { return Ok(None) };
        let digits: Option<Vec<u8>> =
            digits.chars().map(|c| c.to_digit(10).and_then(|d| u8::try_from(d).ok())).collect();
        let digits = digits.context("--digits takes digits only, like 471903")?;
        let motions = motions.clone();
        Challenge::new(digits.clone(), motions.clone(), Millis(0), Millis(0))?;
        Ok(Some(Script { digits, motions }))
    }

    /// The story, step by step. Blocks.
    #[allow(clippy::too_many_lines)] // a story has one thread
    fn tell(&self, url: &str, dir: &Path, cast: &Cast) -> Result<Outcome> {
        let say = Narrator { quiet: self.json };
        let service = Client::new(url);
        let app = service.with(&cast.app);
        let mut stages = Stages::default();

        let started = stages.time("challenge", || {
            let request = json!({ "subject": "demo-person", "consent_text_version": "2026-11" });
            app.post_json("/v1/verifications", &request, &fresh_key())
        })?;
        let shown = Instant::now();
        let id = text(&started, "id")?;
        let (groups, motions) = (&started["challenge"]["groups"], &started["challenge"]["motions"]);
        say.line(&format!("challenge   read {} aloud, then turn {}", list(groups), list(motions)))?;

        let capture = match &self.capture {
            Some(file) => file.clone(),
            None => stages.time("draw", || draw(groups, motions, dir, shown))?,
        };
        let bytes =
            std::fs::read(&capture).with_context(|| format!("can't read {}", capture.display()))?;
        let person = service.with(&text(&started, "client_token")?);
        let kind = match capture.extension().and_then(|e| e.to_str()) {
            Some("mp4" | "m4v" | "mov") => "video/mp4",
            _ => "video/webm",
        };
        let verification = format!("/v1/verifications/{id}");
        stages.time("upload", || {
            let path = format!("{verification}/capture");
            person.send("PUT", &path, kind, &bytes, None)?.json(&path)
        })?;
        let drawn = if self.capture.is_some() { "" } else { " (a computer-drawn head, no camera)" };
        say.line(&format!("capture     {} kB uploaded{drawn}", bytes.len() / 1000))?;
        if self.capture.is_none() {
            let _ = std::fs::remove_file(&capture);
        }

        let mut judged = stages.time("verify", || settled(&person, &verification))?;
        if let Some(timings) = judged["timings"].as_object() {
            for (name, value) in timings {
                stages.0.insert(format!("verify.{}", name.trim_end_matches("_ms")), value.clone());
            }
        }
        let verdict = text(&judged, "state")?;
        say.line(&format!("verdict     {verdict}"))?;
        say.checks(&judged)?;

        let reviewed = verdict == "review";
        if reviewed {
            let [one, other] = [&cast.reviewer, &cast.second].map(|key| service.with(key));
            judged = stages.time("review", || self.review(&one, &other, &id))?;
            say.line("review      looked at and approved by the demo's own reviewer")?;
        }
        let mut outcome = Outcome {
            verdict,
            reviewed,
            cameo_id: judged["cameo_id"].as_str().map(str::to_owned),
            token_verified: false,
            log_verified: false,
            stage_ms: Map::new(),
        };
        let Some(cameo) = outcome.cameo_id.clone() else {
            outcome.stage_ms = stages.0;
            return Ok(outcome);
        };
        say.line(&format!("cameo       {cameo}"))?;

        let generator = service.with(&cast.generator);
        let recipient = RecipientSecret::generate(&SystemEntropy)?;
        stages.time("generator_key", || {
            let public = BASE64_URL_SAFE_NO_PAD.encode(recipient.public().as_bytes());
            let request = json!({ "public_key": public });
            generator.post_json("/v1/generator/keys", &request, &fresh_key())
        })?;
        say.line("generator   registered the key that its tokens are sealed to")?;
        let ask =
            |purpose: &str| json!({ "cameo_id": cameo, "requester": "user-7", "purpose": purpose });
        let early = stages.time("refusal", || resolve(&generator, &ask("social")))?;
        ensure!(early.status == 403, "a cameo without consent was resolved");
        say.line("refused     a generator asked before there was consent")?;

        stages.time("consent", || {
            let path = format!("/v1/cameos/{cameo}/consent");
            let wish = json!({
                "audience": "everyone", "purposes": ["social"], "voice": true,
                "text_version": "2026-11",
            });
            let body = wish.to_string();
            app.send("PUT", &path, "application/json", body.as_bytes(), None)?.json(&path)
        })?;
        say.line("consent     everyone, for social purposes, voice included")?;

        let answer = stages.time("resolve", || resolve(&generator, &ask("social")))?;
        let grant = answer.json("/v1/resolve")?;
        let token = BASE64_URL_SAFE_NO_PAD.decode(text(&grant, "token")?).context("the token")?;
        let keys = service.get("/.well-known/cose-keys")?;
        let keys = KeySet::from_cose(keys.success("/.well-known/cose-keys")?)?;
        let expect = Expectations::new(url, &cast.generator_id, SystemClock.now());
        let verified = stages.time("token", || Ok(token::verify(&token, &keys, &expect)?))?;
        let payload = stages.time("open", || Ok(verified.open(&recipient)?))?;
        outcome.token_verified = Some(verified.claims.use_id.as_str()) == grant["use_id"].as_str();
        let shown = token_cli::inside(&payload);
        say.line(&format!(
            "token       verified and opened: {} bytes, {} poses of {} dimensions, expires in {} s",
            token.len(),
            shown["faces"].as_array().map_or(0, Vec::len),
            shown["dim"],
            verified.claims.expires_at - verified.claims.issued_at,
        ))?;
        if let Some(file) = &self.token_out {
            std::fs::write(file, &token)
                .with_context(|| format!("can't write {}", file.display()))?;
        }

        let auditor = service.with(&cast.auditor);
        let index = grant["log_index"].as_u64().context("the answer names no log entry")?;
        let report = stages.time("audit", || audit::online(&auditor, None))?;
        outcome.log_verified = match &report {
            Ok(report) => index < report.covered && found_in_log(&auditor, index)?,
            Err(fault) => {
                say.line(&format!("log         DOES NOT HOLD: {fault}"))?;
                false
            }
        };
        if let (Ok(report), true) = (&report, outcome.log_verified) {
            let size = report.head.size;
            say.line(&format!("log         verified: {size} entries; the use is entry {index}"))?;
        }
        outcome.stage_ms = stages.0;
        Ok(outcome)
    }

    /// What a reviewer does: look, and decide.
    fn review(&self, reviewer: &Client, second: &Client, id: &str) -> Result<Value> {
        let case = reviewer.get_json(&format!("/v1/reviews/{id}"))?;
        if let Some(file) = &self.evidence_out {
            std::fs::write(file, case["evidence"].to_string())
                .with_context(|| format!("can't write {}", file.display()))?;
        }
        let decision = json!({ "decision": "approve", "reason": "demo: approved without a look" });
        let path = format!("/v1/reviews/{id}/decision");
        let decided = reviewer.post_json(&path, &decision, &fresh_key())?;
        // Where a check failed, as it may on a drawing, another reviewer has to approve too.
        match decided["state"].as_str() {
            Some("review") => second.post_json(&path, &decision, &fresh_key()),
            _ => Ok(decided),
        }
    }
}

impl Cast {
    async fn make(services: &Services) -> Result<Self> {
        let mut made = Vec::new();
        for role in [Role::App, Role::Generator, Role::Reviewer, Role::Reviewer, Role::Auditor] {
            // Names are unique, and a kept state may have an earlier demo's.
            let name = format!("demo {} {}", role.name(), &fresh_key()[..8]);
            let (info, key) = services.create_key(role, &name).await?;
            made.push((info.id.to_string(), key.expose().to_owned()));
        }
        let [app, generator, reviewer, second, auditor] =
            <[_; 5]>::try_from(made).map_err(|_| anyhow::anyhow!("five keys were to be made"))?;
        Ok(Self {
            app: app.1,
            generator: generator.1,
            generator_id: generator.0,
            reviewer: reviewer.1,
            second: second.1,
            auditor: auditor.1,
        })
    }
}

impl Outcome {
    fn is_good(&self) -> bool {
        self.cameo_id.is_some() && self.token_verified && self.log_verified
    }

    fn print(&self, json: bool) -> Result<()> {
        let mut out = std::io::stdout();
        if json {
            let line = json!({
                "verdict": self.verdict, "reviewed": self.reviewed, "cameo_id": self.cameo_id,
                "token_verified": self.token_verified, "log_verified": self.log_verified,
                "stage_ms": self.stage_ms,
            });
            writeln!(out, "{line}")?;
        } else if self.is_good() {
            writeln!(out, "\nThe whole story holds.")?;
        } else {
            writeln!(out, "\nThe story does not hold: verdict {}.", self.verdict)?;
        }
        Ok(())
    }
}

/// How long each step took, in milliseconds.
#[derive(Default)]
struct Stages(Map<String, Value>);

impl Stages {
    fn time<T>(&mut self, name: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        let done = step().with_context(|| format!("the step `{name}` failed"))?;
        let ms = (started.elapsed().as_secs_f64() * 1e4).round() / 10.0;
        self.0.insert(name.into(), json!(ms));
        Ok(done)
    }
}

/// Tells the story, unless JSON is wanted.
struct Narrator {
    quiet: bool,
}

impl Narrator {
    fn line(&self, text: &str) -> Result<()> {
        if !self.quiet {
            writeln!(std::io::stdout(), "{text}")?;
        }
        Ok(())
    }

    fn checks(&self, judged: &Value) -> Result<()> {
        for check in judged["verdict"]["checks"].as_array().into_iter().flatten() {
            let reasons: Vec<_> = check["reasons"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|r| r["meaning"].as_str())
                .collect();
            let (name, status) = (check["check"].as_str(), check["status"].as_str());
            let (name, status) = (name.unwrap_or("?"), status.unwrap_or("?"));
            self.line(&format!("  {name:<11} {status:<13} {}", reasons.join(" ")))?;
        }
        if let Some(failure) = judged["failure"]["detail"].as_str() {
            self.line(&format!("  {failure}"))?;
        }
        Ok(())
    }
}

/// How long the verdict may take to come.
const PATIENCE: Duration = Duration::from_mins(3);

/// The configured address where the service stays up, any free port otherwise.
async fn listen(config: &Config, serving: bool) -> Result<TcpListener> {
    if serving {
        let address = config.server.listen;
        return TcpListener::bind(address)
            .await
            .with_context(|| format!("can't listen on {address}; set CAMEO_SERVER__LISTEN"));
    }
    TcpListener::bind(("127.0.0.1", 0)).await.context("no free port on this machine")
}

fn settled(person: &Client, path: &str) -> Result<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = person.get_json(path)?;
        match now["state"].as_str() {
            Some("pending" | "processing") if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(100));
            }
            Some("pending" | "processing") => bail!("no verdict came in {} s", PATIENCE.as_secs()),
            _ => return Ok(now),
        }
    }
}

fn resolve(generator: &Client, request: &Value) -> Result<super::client::Answer> {
    let body = request.to_string();
    let key = fresh_key();
    generator.send("POST", "/v1/resolve", "application/json", body.as_bytes(), Some(&key))
}

/// Whether the entry that the token's answer named is there and tells of an allowed use.
fn found_in_log(auditor: &Client, index: u64) -> Result<bool> {
    let page = auditor.get_json(&format!("/v1/audit/entries?from={index}&limit=1"))?;
    let entry = text(&page["entries"][0], "entry")?;
    let entry = base64::prelude::BASE64_STANDARD.decode(entry).context("a log entry")?;
    let entry = crate::tlog::Entry::decode(&entry).context("a log entry")?;
    Ok(entry.kind == crate::tlog::Kind::ResolveAllowed)
}

/// Draws a head that does what the challenge asks.
fn draw(groups: &Value, motions: &Value, dir: &Path, shown: Instant) -> Result<PathBuf> {
    let digits = list(groups).chars().filter_map(|c| c.to_digit(10)).map(|d| d as u8).collect();
    let motions = motions
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::parse)
        .collect::<Result<Vec<Motion>, _>>()?;
    let look = drawn::Look::named("amber")?;
    let settings = drawn::Settings { fps: 15.0, ..drawn::Settings::of(look) };
    let path = dir.join("drawn.webm");
    let truth = drawn::record(&drawn::Script::new(digits, motions), &settings, &path)?;
    // A person takes this long to read and turn; what comes sooner can't have been recorded.
    let length = Duration::from_millis(truth.duration_ms.into());
    std::thread::sleep(length.saturating_sub(shown.elapsed()));
    Ok(path)
}

/// Keys of creating calls are random.
fn fresh_key() -> String {
    hex::encode(random::<16>(&SystemEntropy))
}

fn text(value: &Value, name: &str) -> Result<String> {
    value[name].as_str().map(str::to_owned).with_context(|| format!("the answer has no `{name}`"))
}

fn list(value: &Value) -> String {
    let items: Vec<_> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    items.join(" ")
}

/// Links for whoever sits in front of the machine.
async fn invite(url: &str, cast: &Cast) -> Result<()> {
    let app = Client::new(url).with(&cast.app);
    let links = tokio::task::spawn_blocking(move || -> Result<[String; 2]> {
        let wish = json!({ "subject": "you", "consent_text_version": "2026-11" });
        let yours = text(&app.post_json("/v1/verifications", &wish, &fresh_key())?, "id")?;
        let link = |what: &Value| text(&app.post_json("/v1/links", what, &fresh_key())?, "url");
        Ok([
            link(&json!({ "page": "enroll", "verification": yours }))?,
            link(&json!({ "page": "me", "subject": "demo-person" }))?,
        ])
    });
    let [enroll, me] = links.await.context("making links broke off")??;
    let mut out = std::io::stdout();
    writeln!(out, "Links that work once, within ten minutes:")?;
    writeln!(out, "  to record yourself      {enroll}")?;
    writeln!(out, "  the drawn head's cameo  {me}")?;
    Ok(())
}

/// What to go on with.
fn farewell(url: &str, cast: &Cast, dir: &Path) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "\nServing on {url} until Ctrl-C:")?;
    writeln!(out, "  {url}/            what is here")?;
    writeln!(out, "  {url}/review      the cases that wait for a reviewer")?;
    writeln!(out, "  {url}/audit       the log, verified in the browser")?;
    writeln!(out, "  {url}/docs        quick starts, and the API to browse")?;
    writeln!(out, "  {url}/readyz      what is loaded and what is missing")?;
    writeln!(out, "State: {}. Keys to try it with (they end with it):", dir.display())?;
    for (name, key) in [
        ("app", &cast.app),
        ("generator", &cast.generator),
        ("reviewer", &cast.reviewer),
        ("auditor", &cast.auditor),
    ] {
        writeln!(out, "  {name:<10} {key}")?;
    }
    Ok(())
}
