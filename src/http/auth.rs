//! Credentials: API keys, and the client token of one verification.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use super::State;
use super::problem::{Problem, Type};
use crate::crypto::hash::sha256;
use crate::domain::access::Role;
use crate::domain::ids::VerificationId;
use crate::service::access::Caller;
use crate::store::verifications::Verification;

/// The bearer credential of a request (RFC 6750 §2.1), unchecked.
pub(super) struct Bearer(String);

/// A caller with an API key that is good.
pub(super) struct Key(pub(super) Caller);

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
        hex::encode(sha256(self.0.as_bytes()))
    }

    /// The verification that this credential may see: any for an app's key, its own for a client
    /// token.
    pub(super) async fn verification(
        &self,
        state: &State,
        id: &VerificationId,
    ) -> Result<Verification, Problem> {
        match state.services.authenticate(&self.0).await {
            Ok(caller) => {
                caller.require(Role::App)?;
                Ok(state.services.verification(id).await?)
            }
            Err(_) => Ok(state.services.verification_of_client(id, &self.0).await?),
        }
    }

    /// The verification of this client token alone.
    pub(super) async fn own_verification(
        &self,
        state: &State,
        id: &VerificationId,
    ) -> Result<Verification, Problem> {
        Ok(state.services.verification_of_client(id, &self.0).await?)
    }
}

impl<S: Sync> FromRequestParts<S> for Bearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let missing = || {
            Problem::new(Type::Unauthenticated, "send `Authorization: Bearer` with a credential")
        };
        let value = parts.headers.get(header::AUTHORIZATION).ok_or_else(missing)?;
        let text = value.to_str().map_err(|_| missing())?;
        let (scheme, credential) = text.split_once(' ').ok_or_else(missing)?;
        if scheme.eq_ignore_ascii_case("bearer") && credential.len() <= MAX_CREDENTIAL {
            Ok(Self(credential.trim().to_owned()))
        } else {
            Err(missing())
        }
    }
}

impl FromRequestParts<State> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        let Bearer(credential) = Bearer::from_request_parts(parts, state).await?;
        Ok(Self(state.services.authenticate(&credential).await?))
    }
}

/// No credential of ours is longer.
const MAX_CREDENTIAL: usize = 256;
