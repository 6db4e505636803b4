//! The HTTP door: routes, credentials, problems, and the pages that people use.
//!
//! Handlers parse, call one use case of [`crate::service`] and render; they decide nothing. Every
//! error is `application/problem+json` (RFC 9457) made in [`problem`].

pub mod api;
mod auth;
mod body;
pub mod docs;
mod once;
pub mod pages;
pub mod problem;
mod serve;
mod trace;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{from_fn, from_fn_with_state};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

pub use axum::Router;
pub use serve::serve;

use crate::media::sandbox;
use crate::service::Services;

/// What every handler can reach.
#[derive(Clone)]
pub struct State(Arc<Shared>);

/// What [`State`] holds.
pub struct Shared {
    /// The use cases.
    pub services: Services,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
    /// Which sandbox layers hold, as found at the start.
    pub sandbox: Option<sandbox::Probe>,
    /// How requests are bounded.
    pub limits: Limits,
    /// Origins of apps that may show the onboarding in a frame.
    pub embedders: Vec<String>,
    /// Ends event streams when the service stops.
    pub closing: CancellationToken,
    in_flight: Semaphore,
    uploads: Semaphore,
    streams: Arc<Semaphore>,
    health: tokio::sync::Mutex<Option<api::health::Found>>,
}

/// How requests are bounded.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests served at once.
    pub in_flight: usize,
    /// How long one may take, but for uploads and event streams.
    pub request: Duration,
    /// Uploads taken at once.
    pub uploads: usize,
    /// How long a whole upload may take.
    pub upload: Duration,
    /// How long it may pause between two pieces.
    pub upload_pause: Duration,
    /// Event streams served at once.
    pub streams: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: 512,
            request: Duration::from_secs(30),
            uploads: 64,
            upload: Duration::from_mins(5),
            upload_pause: Duration::from_secs(20),
            streams: 256,
        }
    }
}

impl State {
    /// Everything that the routes work with.
    pub fn new(
        services: Services,
        metrics: PrometheusHandle,
        sandbox: Option<sandbox::Probe>,
        limits: Limits,
        embedders: Vec<String>,
    ) -> Self {
        Self(Arc::new(Shared {
            services,
            metrics,
            sandbox,
            limits,
            embedders,
            closing: CancellationToken::new(),
            in_flight: Semaphore::new(limits.in_flight),
            uploads: Semaphore::new(limits.uploads),
            streams: Arc::new(Semaphore::new(limits.streams)),
            health: tokio::sync::Mutex::default(),
        }))
    }
}

impl std::ops::Deref for State {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// Every route, on one address.
pub fn router(state: &State) -> Router {
    public(state).merge(api::health::router().with_state(state.clone()))
}

/// The API, its documentation and the pages.
pub fn public(state: &State) -> Router {
    let (api, openapi) = api::router().split_for_parts();
    finish(api.merge(docs::router(&openapi)).merge(pages::router()), state)
}

/// Health and metrics, for operators, on an address of their own.
pub fn management(state: &State) -> Router {
    api::health::router().fallback(problem::not_found).with_state(state.clone())
}

/// The largest JSON body, in bytes: two full lists of people fit.
const MAX_JSON: usize = 4 << 20;

fn finish(router: Router<State>, state: &State) -> Router {
    let fixed = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    router
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_JSON))
        .layer(from_fn_with_state(state.clone(), trace::admit))
        .layer(CatchPanicLayer::custom(problem::panicked))
        .layer(fixed(header::CACHE_CONTROL, "no-store"))
        .layer(fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(fixed(header::REFERRER_POLICY, "no-referrer"))
        .layer(fixed(header::X_FRAME_OPTIONS, "DENY"))
        .layer(from_fn(trace::observe))
        .layer(from_fn(trace::request_id))
        .with_state(state.clone())
}
