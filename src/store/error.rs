//! What can go wrong with the database, as causes that a caller can act on.

use sqlx::error::ErrorKind;

/// Why the store could not do what was asked. A row that isn't there is no error but a `None`.
///
/// Values of rows never reach an error: its texts name tables, columns and codes only.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else was first: the row exists, or is no longer what the caller thought.
    #[error("{what} exists already, or changed in the meantime")]
    Conflict {
        /// The table, or what the caller was about to change.
        what: String,
    },
    /// The row refers to another one that isn't there.
    #[error("a row refers to another that does not exist{}", .what.as_ref().map(|w| format!(" ({w})")).unwrap_or_default())]
    Reference {
        /// The referring table, where the engine tells it.
        what: Option<String>,
    },
    /// Others held the database for too long; trying again later may work.
    #[error("the database is busy: {0}")]
    Busy(&'static str),
    /// The database can't be reached, or can't write.
    #[error("the database is unavailable: {0}")]
    Unavailable(Cause),
    /// The connection broke while committing: the change may hold or not. Read before repeating.
    #[error("the connection broke during the commit, so it is unknown whether it holds: {0}")]
    CommitUnknown(Cause),
    /// The URL or the options make no database.
    #[error("{0}")]
    Config(String),
    /// A newer version of the program has migrated this database.
    #[error(
        "the database has migration {found}, which this version does not know: use the newer version"
    )]
    SchemaTooNew {
        /// The unknown migration.
        found: i64,
    },
    /// What is stored can't have been written by this program.
    #[error("the database holds a broken {what}")]
    Corrupt {
        /// Which table and column.
        what: &'static str,
    },
    /// The database refused a change that breaks one of its own rules (a check or a trigger).
    #[error("the database refused the change: {0}")]
    Refused(Cause),
    /// A mistake in this program.
    #[error("the store failed: {0}")]
    Internal(Cause),
}

/// A shorthand.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An underlying cause as text, kept free of the values of rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Cause(String);

impl Error {
    /// Whether the same transaction may work when it is run again.
    pub(super) fn is_transient(&self) -> bool {
        matches!(self, Self::Busy(_))
    }

    pub(super) fn conflict(what: &str) -> Self {
        Self::Conflict { what: what.to_owned() }
    }

    pub(super) fn internal(text: impl Into<String>) -> Self {
        Self::Internal(Cause(text.into()))
    }
}

impl From<sqlx::Error> for Error {
    fn from(e: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match e {
            E::Database(e) => database(&*e),
            E::PoolTimedOut => Self::Busy("no connection became free in time"),
            E::Io(_) | E::Tls(_) | E::PoolClosed | E::WorkerCrashed | E::BeginFailed => {
                Self::Unavailable(Cause(e.to_string()))
            }
            // Not the text: it can quote the URL, which can hold a password.
            E::Configuration(_) => Self::Config("the database URL or its options are wrong".into()),
            E::ColumnDecode { .. } | E::Decode(_) => {
                Self::Corrupt { what: "column (of another type than declared)" }
            }
            E::Migrate(e) => (*e).into(),
            other => Self::internal(other.to_string()),
        }
    }
}

impl From<sqlx::migrate::MigrateError> for Error {
    fn from(e: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError as M;
        match e {
            M::Execute(e) => e.into(),
            M::ExecuteMigration(e, version) => match Self::from(e) {
                Self::Internal(c) | Self::Refused(c) => {
                    Self::internal(format!("migration {version}: {c}"))
                }
                other => other,
            },
            M::VersionMissing(found) => Self::SchemaTooNew { found },
            M::VersionMismatch(_) | M::Dirty(_) => {
                Self::Corrupt { what: "schema (a migration differs from the one that was applied)" }
            }
            other => Self::internal(other.to_string()),
        }
    }
}

fn database(e: &dyn sqlx::error::DatabaseError) -> Error {
    let code = e.code().unwrap_or_default();
    // The message alone: PostgreSQL's detail line quotes the row.
    let cause = || Cause(format!("{} [{code}]", e.message()));
    match e.kind() {
        ErrorKind::UniqueViolation => {
            return Error::Conflict { what: table(e).unwrap_or_default() };
        }
        ErrorKind::ForeignKeyViolation => return Error::Reference { what: table(e) },
        ErrorKind::CheckViolation | ErrorKind::NotNullViolation => return Error::Refused(cause()),
        _ => {}
    }
    if e.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        // https://www.sqlite.org/rescode.html: the primary code is the low byte.
        return match code.parse::<u32>().unwrap_or(0) & 0xff {
            5 | 6 => Error::Busy("another process holds the SQLite file"),
            // PERM, READONLY, INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL
            3 | 8 | 9 | 10 | 13 | 14 | 15 => Error::Unavailable(cause()),
            11 | 26 => Error::Corrupt { what: "SQLite file" },
            // CONSTRAINT: what a trigger raises
            19 => Error::Refused(cause()),
            _ => Error::Internal(cause()),
        };
    }
    // https://www.postgresql.org/docs/current/errcodes-appendix.html
    match &*code {
        "40001" | "40P01" | "55P03" => Error::Busy("another transaction got in the way"),
        "57014" => Error::Busy("a statement took too long"),
        // What our triggers raise: restrict_violation.
        "23001" => Error::Refused(cause()),
        "XX001" | "XX002" => Error::Corrupt { what: "PostgreSQL page" },
        c if ["08", "53", "57", "58", "28", "3D"].iter().any(|class| c.starts_with(class)) => {
            Error::Unavailable(cause())
        }
        "25006" => Error::Unavailable(cause()),
        _ => Error::Internal(cause()),
    }
}

/// The table that a constraint belongs to.
fn table(e: &dyn sqlx::error::DatabaseError) -> Option<String> {
    e.table().map(str::to_owned).or_else(|| {
        // SQLite: "UNIQUE constraint failed: table.column, …"
        let columns = e.message().split("failed: ").nth(1)?;
        let name = columns.split(['.', ' ', ',']).next()?;
        (!name.is_empty()).then(|| name.to_owned())
    })
}
