//! Times in requests: RFC 3339.

use crate::env::Millis;
use crate::http::problem::{Problem, Type};

/// Reads a time, naming the field where it is none.
pub(super) fn time(field: &str, text: &str) -> Result<Millis, Problem> {
    text.parse::<jiff::Timestamp>().map(|t| Millis(t.as_millisecond())).map_err(|_| {
        let detail = format!("{field} must be RFC 3339, like 2027-01-31T12:00:00Z");
        Problem::new(Type::InvalidRequest, detail)
    })
}
