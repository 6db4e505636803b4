//! The routes under `/v1`, a file per resource.

pub mod audit;
pub mod cameos;
pub mod capture;
pub mod decisions;
pub mod disclosures;
pub mod generator;
pub mod graph;
pub mod health;
pub mod keys;
pub mod lifecycle;
pub mod notices;
pub mod receipts;
pub mod requests;
pub mod resolve;
pub mod reviews;
pub mod scope;
pub mod session;
pub mod texts;
mod time;
pub mod tlog;
pub mod uses;
pub mod verifications;
pub mod well_known;

use axum::extract::DefaultBodyLimit;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use super::State;

/// The API's description.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Cameo",
        description = "Identity and consent for generated video: liveness, consent, conditioning tokens, and a log that anyone can verify. Every error is application/problem+json; see docs/problems.md.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    modifiers(&Credentials),
    tags(
        (name = "onboarding", description = "Challenges, captures and verdicts"),
        (name = "review", description = "What a reviewer decides"),
        (name = "consent", description = "Who may use a cameo, and for what"),
        (name = "resolve", description = "Tokens for generators"),
        (name = "generator", description = "A generator's own keys and webhook"),
        (name = "uses", description = "What became of a use, and objections to it"),
        (name = "audit", description = "The transparency log"),
        (name = "pages", description = "How people get into the pages"),
        (name = "operation", description = "API keys"),
    )
)]
struct Description;

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_with(Default::default);
        for (name, description) in [
            (
                "api_key",
                "An API key: `Authorization: Bearer cameo_<role>_…`. Made with `cameo keys create`.",
            ),
            (
                "client_token",
                "The client token of one verification: `Authorization: Bearer cameo_client_…`.",
            ),
        ] {
            let scheme = HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some(description))
                .build();
            components.add_security_scheme(name, SecurityScheme::Http(scheme));
        }
    }
}

/// How much is read of who shows no credential first: sign-in, and requests to a witness, are small.
fn for_strangers() -> DefaultBodyLimit {
    DefaultBodyLimit::max(64 << 10)
}

/// Every route that is part of the API's description.
pub fn router() -> OpenApiRouter<State> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(verifications::create))
        .routes(routes!(verifications::read))
        .routes(routes!(capture::send, capture::append, capture::progress))
        .routes(routes!(verifications::retry))
        .routes(routes!(verifications::events))
        .routes(routes!(reviews::queue))
        .routes(routes!(reviews::inspect))
        .routes(routes!(reviews::frame))
        .routes(routes!(reviews::bundle))
        .routes(routes!(reviews::decide))
        .routes(routes!(cameos::read, lifecycle::delete))
        .routes(routes!(notices::list))
        .routes(routes!(cameos::read_consent, cameos::put_consent, cameos::withdraw_consent))
        .routes(routes!(receipts::consent))
        .routes(routes!(receipts::grant))
        .routes(routes!(receipts::export))
        .routes(routes!(texts::read, texts::put))
        .routes(routes!(requests::ask, requests::list))
        .routes(routes!(requests::read))
        .routes(routes!(requests::answer))
        .routes(routes!(requests::mute))
        .routes(routes!(requests::grants))
        .routes(routes!(requests::revoke))
        .routes(routes!(graph::put))
        .routes(routes!(graph::forget))
        .routes(routes!(decisions::decide))
        .routes(routes!(resolve::resolve))
        .routes(routes!(resolve::scene))
        .routes(routes!(uses::of_cameo))
        .routes(routes!(uses::read))
        .routes(routes!(uses::receipt))
        .routes(routes!(uses::report))
        .routes(routes!(uses::request_takedown))
        .routes(routes!(uses::takedowns_of_cameo))
        .routes(routes!(uses::takedowns))
        .routes(routes!(uses::acknowledge))
        .routes(routes!(uses::status_list))
        .routes(routes!(lifecycle::freeze, lifecycle::thaw))
        .routes(routes!(lifecycle::certificate))
        .routes(routes!(generator::register, generator::list))
        .routes(routes!(generator::retire))
        .routes(routes!(generator::put_webhook, generator::read_webhook, generator::delete_webhook))
        .routes(routes!(generator::rotate_secret))
        .routes(routes!(generator::messages))
        .routes(routes!(generator::replay))
        .routes(routes!(session::create_link))
        .routes(routes!(session::open, session::read, session::close).layer(for_strangers()))
        .routes(routes!(keys::create, keys::list))
        .routes(routes!(keys::revoke))
        .routes(routes!(audit::entries))
        .routes(routes!(audit::export))
        .routes(routes!(audit::reconciliation))
        .routes(routes!(disclosures::ask))
        .routes(routes!(disclosures::approve))
        .routes(routes!(disclosures::read))
        .routes(routes!(audit::checkpoint))
        .routes(routes!(audit::checkpoints))
        .routes(routes!(audit::inclusion))
        .routes(routes!(audit::consistency))
        .routes(routes!(well_known::cose_keys))
        .routes(routes!(receipts::cose_keys))
        .routes(routes!(receipts::jwks))
        .routes(routes!(well_known::jwks))
        .routes(routes!(well_known::log_key))
        .routes(routes!(tlog::published))
        .routes(routes!(tlog::tile))
        .routes(routes!(tlog::proof))
        .routes(routes!(tlog::add_checkpoint).layer(for_strangers()))
        .routes(routes!(tlog::witness_key))
}
