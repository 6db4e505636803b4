//! Credentials: API keys, the client token of one verification, and the sessions of the pages.
//!
//! A session is a cookie that no script can read. It counts only together with the header
//! `X-Cameo-Page`, which no other site can send here: a browser asks before it sends a header of
//! that kind to another origin, and this service never says yes.

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};

use super::State;
use super::problem::{Problem, Type};
use crate::crypto::hash::sha256;
use crate::domain::access::{Holder, Role};
use crate::domain::ids::{CameoId, RequestId, SubjectId, UseId, VerificationId};
use crate::service::Error;
use crate::service::access::Caller;
use crate::service::onboard::CLIENT_TOKEN_PREFIX;
use crate::store::verifications::Verification;

/// The credential of a request, unchecked.
pub(super) enum Bearer {
    /// `Authorization: Bearer` (RFC 6750 §2.1): an API key or a client token.
    Header(String),
    /// The session of a page.
    Page(String),
}

/// A caller with an API key that is good, or a person's session, which may do with their own what
/// the app's key may.
pub(super) struct Key(pub(super) Caller);

/// The session's cookie. The prefix lets no other host and no plain connection set it.
pub(super) const COOKIE: &str = "__Host-cameo";
/// See the module's docs.
const PAGE_HEADER: &str = "x-cameo-page";

impl Key {
    /// The caller, where the key has this role.
    pub(super) fn of(self, role: Role) -> Result<Caller, Problem> {
        self.0.require(role)?;
        Ok(self.0)
    }
}

impl Bearer {
    /// A name for whoever holds this credential, which does not give it away.
    pub(super) fn scope(&self) -> String {
        let (Self::Header(secret) | Self::Page(secret)) = self;
        hex::encode(sha256(secret.as_bytes()))
    }

    /// Whether this is the token of one verification, by its looks.
    pub(super) fn is_of_a_client(&self) -> bool {
        matches!(self, Self::Header(secret) if secret.starts_with(CLIENT_TOKEN_PREFIX))
    }

    /// The verification that this credential may see: any for an app's key, its own for a client
    /// token or a device's session.
    pub(super) async fn verification(
        &self,
        state: &State,
        id: &VerificationId,
    ) -> Result<Verification, Problem> {
        if let Self::Header(credential) = self
            && let Ok(caller) = state.services.authenticate(credential).await
        {
            caller.require(Role::App)?;
            return Ok(state.services.verification(id).await?);
        }
        self.own_verification(state, id).await
    }

    /// The verification of this client token or session alone.
    pub(super) async fn own_verification(
        &self,
        state: &State,
        id: &VerificationId,
    ) -> Result<Verification, Problem> {
        match self {
            Self::Header(token) => Ok(state.services.verification_of_client(id, token).await?),
            Self::Page(secret) => match state.services.session(secret).await?.holder {
                Holder::Verification(own) if own == *id => {
                    Ok(state.services.verification(id).await?)
                }
                _ => Err(Error::NotFound("verification of this session").into()),
            },
        }
    }

    /// The session's secret.
    pub(super) fn session(&self) -> Result<&str, Problem> {
        match self {
            Self::Page(secret) => Ok(secret),
            Self::Header(_) => Err(missing()),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Bearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match parts.headers.get(header::AUTHORIZATION) {
            None => page(&parts.headers).map(Self::Page).ok_or_else(missing),
            Some(value) => {
                let text = value.to_str().map_err(|_| missing())?;
                let (scheme, credential) = text.split_once(' ').ok_or_else(missing)?;
                if scheme.eq_ignore_ascii_case("bearer") && credential.len() <= MAX_CREDENTIAL {
                    Ok(Self::Header(credential.trim().to_owned()))
                } else {
                    Err(missing())
                }
            }
        }
    }
}

impl FromRequestParts<State> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        match Bearer::from_request_parts(parts, state).await? {
            Bearer::Header(credential) => Ok(Self(state.services.authenticate(&credential).await?)),
            Bearer::Page(secret) => {
                let session = state.services.session(&secret).await?;
                let Holder::Subject(person) = &session.holder else {
                    return Ok(Self(state.services.session_caller(&secret).await?));
                };
                if !is_own(parts, state, person).await? {
                    // Whether there is such a thing is nobody else's business.
                    return Err(Error::NotFound("thing of yours").into());
                }
                Ok(Self(Caller { key: session.key, role: Role::App }))
            }
        }
    }
}

/// Whether what a request is about belongs to this person: then they may do with it what their app
/// may. Routes that are not named here are closed to people.
async fn is_own(parts: &mut Parts, state: &State, person: &SubjectId) -> Result<bool, Problem> {
    let Some(route) = parts.extensions.get::<MatchedPath>().cloned() else { return Ok(false) };
    let Ok(params) = RawPathParams::from_request_parts(parts, state).await else {
        return Ok(false);
    };
    let Some((_, named)) = params.iter().next() else { return Ok(false) };
    let cameo = match (&parts.method, route.as_str()) {
        // To ask for a cameo is for others.
        (&Method::POST, "/v1/cameos/{id}/requests") => return Ok(false),
        (_, "/v1/subjects/{subject}/export") => return Ok(named == person.as_str()),
        (_, r) if r == "/v1/cameos/{id}" || r.starts_with("/v1/cameos/{id}/") => {
            named.parse::<CameoId>().ok()
        }
        (&Method::POST, "/v1/uses/{id}/takedown") => match named.parse::<UseId>() {
            Ok(id) => state.services.cameo_of_use(&id).await?,
            Err(_) => None,
        },
        (&Method::POST, "/v1/requests/{id}/decision") => match named.parse::<RequestId>() {
            Ok(id) => Some(state.services.request(&id).await?.cameo),
            Err(_) => None,
        },
        _ => None,
    };
    let Some(cameo) = cameo else { return Ok(false) };
    match state.services.cameo(&cameo).await {
        Ok(found) => Ok(found.subject == *person),
        Err(Error::NotFound(_)) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Whether a page of ours sent this.
pub(super) fn from_page(headers: &HeaderMap) -> bool {
    headers.contains_key(PAGE_HEADER)
}

/// The session's secret in the cookies (RFC 6265 §4.2).
fn page(headers: &HeaderMap) -> Option<String> {
    if !from_page(headers) {
        return None;
    }
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == COOKIE && value.len() <= MAX_CREDENTIAL)
        .map(|(_, value)| value.to_owned())
}

fn missing() -> Problem {
    Problem::new(Type::Unauthenticated, "send `Authorization: Bearer` with a credential")
}

/// No credential of ours is longer.
const MAX_CREDENTIAL: usize = 256;

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_cookie_counts_from_a_page_of_ours_alone() {
        let mut headers = HeaderMap::new();
        let cookies = "a=b; __Host-cameo=cameo_session_1; c=d";
        headers.insert(header::COOKIE, HeaderValue::from_static(cookies));
        assert_eq!(page(&headers), None);
        headers.insert(PAGE_HEADER, HeaderValue::from_static("1"));
        assert_eq!(page(&headers).as_deref(), Some("cameo_session_1"));
        headers.insert(header::COOKIE, HeaderValue::from_static("x__Host-cameo=1; y"));
        assert_eq!(page(&headers), None);
    }
}
