//! What a browser may do on a page: Content-Security-Policy (CSP level 3), Permissions-Policy and
//! their kin.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

pub(super) const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const COOP: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const PERMISSIONS: HeaderName = HeaderName::from_static("permissions-policy");

/// The kinds of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// Onboarding: uses the camera, and may stand in a frame of an app.
    Enroll,
    /// Everything else.
    Plain,
}

/// Sets the headers of a page. `embedders` are the origins that may frame the onboarding.
pub(super) fn apply(headers: &mut HeaderMap, page: Page, embedders: &[String]) {
    let enroll = page == Page::Enroll;
    let ancestors =
        if enroll && !embedders.is_empty() { embedders.join(" ") } else { "'none'".to_owned() };
    let csp = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         media-src 'self' blob:; connect-src 'self'; manifest-src 'none'; form-action 'none'; \
         base-uri 'none'; frame-ancestors {ancestors}; require-trusted-types-for 'script'; \
         trusted-types 'none'"
    );
    // Origins were checked when the configuration was read, so this holds.
    if let Ok(csp) = HeaderValue::from_str(&csp) {
        headers.insert(header::CONTENT_SECURITY_POLICY, csp);
    }
    let permissions = if enroll {
        "camera=(self), microphone=(self), geolocation=(), display-capture=()"
    } else {
        "camera=(), microphone=(), geolocation=(), display-capture=()"
    };
    headers.insert(PERMISSIONS, HeaderValue::from_static(permissions));
    headers.insert(CORP, HeaderValue::from_static("same-origin"));
    if !enroll {
        headers.insert(COOP, HeaderValue::from_static("same-origin"));
    }
}

/// Whether a text is an origin as browsers write it: scheme, host, port where it is not the usual
/// one. Plain HTTP is for the machine itself.
pub fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| {
        text.strip_prefix("http://").filter(|h| {
            let name = h.split(':').next().unwrap_or_default();
            name == "localhost" || name == "127.0.0.1"
        })
    });
    host.is_some_and(|h| {
        let (name, port) = h.split_once(':').unwrap_or((h, "443"));
        !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b))
            && port.parse::<u16>().is_ok()
    })
}
