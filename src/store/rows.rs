//! From columns to types. Rows are hostile: whatever doesn't parse is [`Error::Corrupt`].

use serde::de::DeserializeOwned;

use super::error::{Error, Result};

/// A text column that holds an id or a name.
pub(super) fn parse<T: std::str::FromStr>(what: &'static str, text: &str) -> Result<T> {
    text.parse().map_err(|_| Error::Corrupt { what })
}

/// The same, where the column may be NULL.
pub(super) fn parse_opt<T: std::str::FromStr>(
    what: &'static str,
    text: Option<&str>,
) -> Result<Option<T>> {
    text.map(|t| parse(what, t)).transpose()
}

/// A text column that holds JSON.
pub(super) fn json<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|_| Error::Corrupt { what })
}

/// The same, where the column may be NULL.
pub(super) fn json_opt<T: DeserializeOwned>(
    what: &'static str,
    text: Option<&str>,
) -> Result<Option<T>> {
    text.map(|t| json(what, t)).transpose()
}

/// A blob column of a fixed length.
pub(super) fn array<const N: usize>(what: &'static str, blob: &[u8]) -> Result<[u8; N]> {
    blob.try_into().map_err(|_| Error::Corrupt { what })
}

/// An integer column that counts.
pub(super) fn count<T: TryFrom<i64>>(what: &'static str, n: i64) -> Result<T> {
    T::try_from(n).map_err(|_| Error::Corrupt { what })
}

/// A number of ours as an integer column.
pub(super) fn integer<T: TryInto<i64>>(what: &'static str, n: T) -> Result<i64> {
    n.try_into().map_err(|_| Error::internal(format!("{what} is beyond 63 bits")))
}

/// A value of ours as JSON.
pub(super) fn to_json<T: serde::Serialize>(what: &'static str, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::internal(format!("{what}: {e}")))
}
