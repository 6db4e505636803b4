//! A whole service in this process: the real router, workers, decoder and (where asked for) models,
//! on a temporary SQLite file, with a clock that the test sets.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use cameo::app::{App, Overrides};
use cameo::config::Config;
use cameo::crypto::RecipientSecret;
use cameo::domain::access::Role;
use cameo::domain::ids::ApiKeyId;
use cameo::env::{Clock, ManualClock, Millis, SeededEntropy, random};
use cameo::service::{Script, Services};
use http_body_util::BodyExt;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Where a test's time begins.
pub(crate) const START: Millis = Millis(1_790_000_000_000);

/// How a service is set up for a test.
#[derive(Default)]
pub(crate) struct Setup {
    /// Load the installed models. Without them captures can be sent but not judged.
    pub(crate) models: bool,
    /// A folder of models instead of the installed ones.
    pub(crate) models_dir: Option<PathBuf>,
    /// A PostgreSQL database instead of a SQLite file.
    pub(crate) postgres: Option<String>,
    /// A given challenge.
    pub(crate) script: Option<Script>,
    /// Further settings, as TOML.
    pub(crate) config: String,
}

/// A running service.
pub(crate) struct TestApp {
    router: Router,
    pub(crate) services: Services,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) dir: TempDir,
    entropy: SeededEntropy,
    pub(crate) app: String,
    pub(crate) generator: String,
    pub(crate) generator_id: String,
    pub(crate) reviewer: String,
    pub(crate) auditor: String,
    pub(crate) admin: String,
    pub(crate) app_id: String,
    /// What the generator's tokens are sealed to.
    pub(crate) recipient: RecipientSecret,
    stop: CancellationToken,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {:?}", String::from_utf8_lossy(&self.body)))
    }

    /// The slug of the problem, after checking its form.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(
            self.headers.get("content-type").map(|v| v.to_str().unwrap()),
            Some("application/problem+json"),
            "{}: {}",
            self.status,
            String::from_utf8_lossy(&self.body)
        );
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16());
        assert!(body["title"].is_string() && body["detail"].is_string());
        let kind = body["type"].as_str().unwrap();
        kind.strip_prefix("urn:cameo:problem:").unwrap().to_owned()
    }
}

impl TestApp {
    pub(crate) async fn start(setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = env!("CARGO_MANIFEST_DIR");
        let models = match (&setup.models_dir, setup.models) {
            (Some(dir), _) => dir.clone(),
            (None, true) => Path::new(root).join("onnx/installed"),
            (None, false) => dir.path().join("no-models"),
        };
        let runtime = std::env::var_os("CAMEO_ORT_LIB")
            .map_or_else(|| Path::new(root).join("onnx/runtime/libonnxruntime.so"), PathBuf::from);
        let at = |name: &str| dir.path().join(name).display().to_string();
        let database = match setup.postgres {
            // Only an embedded service makes its own key.
            Some(url) => {
                let key = dir.path().join("master.key");
                std::fs::write(&key, format!("{:064x}", 0x0102_0304)).unwrap();
                std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
                url
            }
            None => format!("sqlite:{}", at("cameo.db")),
        };
        let text = format!(
            "[database]\nurl = {:?}\n[secrets]\nmaster_key_file = {:?}\n\
             [models]\ndir = {:?}\nruntime = {:?}\n{}",
            database,
            at("master.key"),
            models.display().to_string(),
            runtime.display().to_string(),
            setup.config,
        );
        // `[capture]` may be in the test's own settings, so folders come as variables.
        let file = dir.path().join("cameo.toml");
        std::fs::write(&file, text).unwrap();
        let variables = [("CAPTURE", "captures"), ("LOG", "tlog")]
            .map(|(section, name)| (format!("CAMEO_{section}__DIR"), at(name)));
        let config = Config::load(Some(&file), variables).unwrap();
        let clock = Arc::new(ManualClock::at(START));
        let overrides = Overrides {
            clock: Some(clock.clone()),
            entropy: None,
            script: setup.script,
            program: Some(env!("CARGO_BIN_EXE_cameo").into()),
        };
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let app = App::build(config, metrics, overrides).await.unwrap();
        let services = app.services().clone();
        let mut keys = Vec::new();
        for role in [Role::App, Role::Generator, Role::Reviewer, Role::Auditor, Role::Admin] {
            // Another process may be on the same database.
            let name = format!("{}-{}", role.name(), dir.path().file_name().unwrap().display());
            let name = name.replace('.', "");
            let (info, key) = services.create_key(role, &name).await.unwrap();
            keys.push((info.id.to_string(), key.expose().to_owned()));
        }
        let recipient = RecipientSecret::generate(&SeededEntropy::new(8)).unwrap();
        let generator: ApiKeyId = keys[1].0.parse().unwrap();
        let public = *recipient.public().as_bytes();
        services.add_recipient(&generator, public).await.unwrap();
        let stop = CancellationToken::new();
        let working = services.clone();
        let stopping = stop.clone();
        tokio::spawn(async move { working.work(stopping, Duration::from_secs(1)).await });
        Self {
            router: app.router(),
            services,
            clock,
            dir,
            entropy: SeededEntropy::new(7),
            app: keys[0].1.clone(),
            generator: keys[1].1.clone(),
            generator_id: keys[1].0.clone(),
            reviewer: keys[2].1.clone(),
            auditor: keys[3].1.clone(),
            admin: keys[4].1.clone(),
            app_id: keys[0].0.clone(),
            recipient,
            stop,
        }
    }

    /// Serves on a socket too, and returns the URL.
    pub(crate) async fn listen(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = self.router.clone();
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    pub(crate) async fn call(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// A request with a credential, and a body where there is one.
    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        credential: &str,
        body: Option<&Value>,
    ) -> Request<Body> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {credential}"))
            .header("idempotency-key", hex::encode(random::<16>(&self.entropy)));
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        request.body(body.map_or_else(Body::empty, |b| Body::from(b.to_string()))).unwrap()
    }

    pub(crate) async fn get(&self, path: &str, credential: &str) -> Answer {
        self.call(self.request(Method::GET, path, credential, None)).await
    }

    pub(crate) async fn post(&self, path: &str, credential: &str, body: &Value) -> Answer {
        self.call(self.request(Method::POST, path, credential, Some(body))).await
    }

    pub(crate) async fn put(&self, path: &str, credential: &str, body: &Value) -> Answer {
        self.call(self.request(Method::PUT, path, credential, Some(body))).await
    }

    /// Opens a verification and returns its id, its client token, and the whole answer.
    pub(crate) async fn open(&self, subject: &str) -> (String, String, Value) {
        let body = json!({ "subject": subject, "consent_text_version": "test-1" });
        let answer = self.post("/v1/verifications", &self.app, &body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&answer.body));
        let body = answer.json();
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        (text("id"), text("client_token"), body)
    }

    /// Sends a capture.
    pub(crate) async fn upload(&self, id: &str, token: &str, bytes: Vec<u8>) -> Answer {
        let request = Request::builder()
            .method(Method::PUT)
            .uri(format!("/v1/verifications/{id}/capture"))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "video/webm")
            .body(Body::from(bytes))
            .unwrap();
        self.call(request).await
    }

    /// Waits until a verification is settled.
    pub(crate) async fn settled(&self, id: &str) -> Value {
        for _ in 0..1200 {
            let now = self.get(&format!("/v1/verifications/{id}"), &self.app).await.json();
            if !matches!(now["state"].as_str(), Some("pending" | "processing")) {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no verdict came in two minutes");
    }

    /// Files in the capture folder.
    pub(crate) fn captures_on_disk(&self) -> Vec<String> {
        std::fs::read_dir(self.dir.path().join("captures"))
            .unwrap()
            .map(|f| f.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    pub(crate) async fn log_holds(&self) -> u64 {
        self.services.replay().await.unwrap().expect("the log holds").head.size
    }

    pub(crate) fn now(&self) -> Millis {
        self.clock.now()
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
