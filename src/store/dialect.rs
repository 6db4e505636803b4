//! Everything in which the two engines differ: connections, settings, transactions, migrations.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::{Migrate, Migrator};
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

use super::error::{Error, Result};
use super::tx::{Link, Tx};

static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// SQLite 3, in a file of its own.
    Sqlite,
    /// PostgreSQL 15 or newer.
    Postgres,
}

/// How to connect.
#[derive(Clone, Debug)]
pub struct Options {
    /// Connections for reading.
    pub readers: u32,
    /// Connections for writing, on PostgreSQL. SQLite has one writer.
    pub writers: u32,
    /// How long to wait for a free connection, and on the other processes' locks, before `Busy`.
    pub patience: Duration,
    /// Whether a SQLite commit is on the disk before it returns (`synchronous=FULL`). Without it a
    /// power cut can undo the newest commits, and with them a consent that was acknowledged.
    pub durable: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { readers: 4, writers: 8, patience: Duration::from_secs(10), durable: true }
    }
}

/// One engine's connections. The reading ones can't write.
#[derive(Debug)]
pub struct Pools<DB: sqlx::Database> {
    write: sqlx::Pool<DB>,
    read: sqlx::Pool<DB>,
}

// Not derived: that would ask for `DB: Clone`.
impl<DB: sqlx::Database> Clone for Pools<DB> {
    fn clone(&self) -> Self {
        Self { write: self.write.clone(), read: self.read.clone() }
    }
}

/// The database. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Db {
    /// See [`Engine::Sqlite`].
    Sqlite(Pools<sqlx::Sqlite>),
    /// See [`Engine::Postgres`].
    Postgres(Pools<sqlx::Postgres>),
}

impl Db {
    /// Connects to `sqlite:PATH` or `postgres://…`. A SQLite file that isn't there is made,
    /// readable by its owner alone.
    ///
    /// # Errors
    /// [`Error::Config`] where the URL is wrong (it is not quoted: it may hold a password),
    /// [`Error::Unavailable`] where nobody answers.
    pub async fn connect(url: &str, options: &Options) -> Result<Self> {
        match url.split_once(':') {
            Some(("sqlite", _)) => sqlite(url, options).await.map(Self::Sqlite),
            Some(("postgres" | "postgresql", _)) => {
                postgres(url, options).await.map(Self::Postgres)
            }
            _ => Err(Error::Config(
                "the database URL must start with `sqlite:` or `postgres:`".into(),
            )),
        }
    }

    /// Which engine this is.
    pub fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }

    /// Brings the schema up to date.
    ///
    /// # Errors
    /// [`Error::SchemaTooNew`] where a newer version of the program was here before.
    pub async fn migrate(&self) -> Result<()> {
        // On a connection of its own: closing it gives back the migration lock whatever happens.
        match self {
            Self::Sqlite(pools) => {
                // SQLite has no advisory lock, and the migrator opens one transaction per
                // migration: where two processes start at once, the second finds the tables there
                // already, and looks again.
                let mut again = 0;
                loop {
                    let mut c = pools.write.connect_options().connect().await?;
                    let done = SQLITE_MIGRATIONS.run_direct(None, &mut c, false).await;
                    c.close().await?;
                    match done.map_err(Error::from) {
                        Err(Error::Busy(_) | Error::Internal(_) | Error::Conflict { .. })
                            if again < 3 =>
                        {
                            again += 1;
                            tokio::time::sleep(Duration::from_millis(50 << again)).await;
                        }
                        done => return done,
                    }
                }
            }
            Self::Postgres(pools) => {
                let mut c = pools.write.connect_options().connect().await?;
                let done = POSTGRES_MIGRATIONS.run_direct(None, &mut c, false).await;
                c.close().await?;
                Ok(done?)
            }
        }
    }

    /// Whether every migration that this version knows has been applied.
    ///
    /// # Errors
    /// [`Error::SchemaTooNew`] where there is one that it doesn't know.
    pub async fn migrations_current(&self) -> Result<bool> {
        match self {
            Self::Sqlite(pools) => {
                current(&SQLITE_MIGRATIONS, &mut *pools.write.acquire().await?).await
            }
            Self::Postgres(pools) => {
                current(&POSTGRES_MIGRATIONS, &mut *pools.write.acquire().await?).await
            }
        }
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Busy`].
    pub async fn ping(&self) -> Result<()> {
        match self {
            Self::Sqlite(pools) => pools.read.acquire().await?.ping().await?,
            Self::Postgres(pools) => pools.read.acquire().await?.ping().await?,
        }
        Ok(())
    }

    /// Waits for what is under way and closes every connection.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(pools) => {
                pools.read.close().await;
                pools.write.close().await;
            }
            Self::Postgres(pools) => {
                pools.read.close().await;
                pools.write.close().await;
            }
        }
    }

    /// Moves everything from SQLite's write-ahead log into the file, and empties it.
    pub(super) async fn empty_wal(&self) -> Result<()> {
        let Self::Sqlite(pools) = self else { return Ok(()) };
        let mut c = pools.write.acquire().await?;
        let busy: i64 =
            sqlx::query_scalar("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *c).await?;
        if busy == 0 { Ok(()) } else { Err(super::erasure::in_the_way()) }
    }

    /// Rewrites PostgreSQL's tables without their dead rows. Nobody can use them meanwhile.
    pub(super) async fn rewrite(&self, tables: &'static [&'static str]) -> Result<()> {
        use sqlx::Executor;
        let Self::Postgres(pools) = self else { return Ok(()) };
        let mut c = pools.write.acquire().await?;
        for table in tables {
            // A name of ours, and no parameter: VACUUM takes none.
            let sql = sqlx::AssertSqlSafe(format!("VACUUM (FULL) {table}"));
            c.execute(sql).await?;
        }
        Ok(())
    }

    /// Prepares a statement without running it: for the test that shows both engines every one.
    #[doc(hidden)]
    pub async fn prepare(&self, sql: &'static str) -> Result<()> {
        use sqlx::{Executor, SqlSafeStr};
        match self {
            Self::Sqlite(p) => {
                p.write.acquire().await?.prepare(sql.into_sql_str()).await?;
            }
            Self::Postgres(p) => {
                p.write.acquire().await?.prepare(sql.into_sql_str()).await?;
            }
        }
        Ok(())
    }

    /// A writing transaction.
    ///
    /// SQLite takes the write lock at once (a transaction that reads first and writes later can't
    /// be made to wait, only fail). PostgreSQL runs at READ COMMITTED: every change is either a
    /// compare-and-swap or made under a row lock, so a stricter level would only add conflicts at
    /// the log's head, where everybody meets.
    pub(super) async fn begin(&self) -> Result<Tx> {
        Ok(Tx::new(match self {
            Self::Sqlite(p) => {
                Link::SqliteTransaction(p.write.begin_with("BEGIN IMMEDIATE").await?)
            }
            Self::Postgres(p) => Link::PostgresTransaction(
                p.write.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await?,
            ),
        }))
    }

    /// A connection to read with, outside any transaction: each statement sees what is committed
    /// when it starts.
    ///
    /// # Errors
    /// [`Error::Busy`] where no connection became free in time.
    pub async fn read(&self) -> Result<Tx> {
        Ok(Tx::new(match self {
            Self::Sqlite(p) => Link::SqliteConnection(p.read.acquire().await?),
            Self::Postgres(p) => Link::PostgresConnection(p.read.acquire().await?),
        }))
    }

    /// A reading transaction: all its statements see the same committed state. It holds no lock
    /// and ends when it is dropped.
    ///
    /// # Errors
    /// [`Error::Busy`] where no connection became free in time.
    pub async fn snapshot(&self) -> Result<Tx> {
        Ok(Tx::new(match self {
            Self::Sqlite(p) => Link::SqliteTransaction(p.read.begin_with("BEGIN DEFERRED").await?),
            Self::Postgres(p) => Link::PostgresTransaction(
                p.read.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?,
            ),
        }))
    }
}

async fn sqlite(url: &str, options: &Options) -> Result<Pools<sqlx::Sqlite>> {
    let connect = SqliteConnectOptions::from_str(url)?;
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Err(Error::Config(
            "SQLite needs a file: an in-memory database has one reader".into(),
        ));
    }
    let path = connect.get_filename().to_owned();
    let made = tokio::task::spawn_blocking(move || private_file(&path)).await;
    made.map_err(|e| Error::internal(e.to_string()))?
        .map_err(|e| Error::Config(format!("the SQLite file can't be made or read: {e}")))?;
    let connect = connect
        .create_if_missing(false)
        .foreign_keys(true)
        .busy_timeout(options.patience)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(if options.durable {
            SqliteSynchronous::Full
        } else {
            SqliteSynchronous::Normal
        })
        // A file that somebody prepared can't run functions with side effects.
        .pragma("trusted_schema", "OFF")
        // Deleted templates and keys are overwritten, not only unlinked.
        .pragma("secure_delete", "ON");
    let write: SqlitePool = pool::<sqlx::Sqlite>(1, options).connect_with(connect.clone()).await?;
    let read = pool::<sqlx::Sqlite>(options.readers, options)
        .connect_with(connect.pragma("query_only", "ON"))
        .await?;
    Ok(Pools { write, read })
}

/// Makes the database file if it isn't there, and keeps it to its owner. SQLite gives the
/// write-ahead log and the shared memory file the same permissions.
fn private_file(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

async fn postgres(url: &str, options: &Options) -> Result<Pools<sqlx::Postgres>> {
    let ms = |d: Duration| format!("{}ms", d.as_millis().clamp(1, 1_000_000));
    let connect = PgConnectOptions::from_str(url)?.application_name("cameo").options([
        ("synchronous_commit", "on".to_owned()),
        ("lock_timeout", ms(options.patience)),
        ("statement_timeout", ms(options.patience * 6)),
        // A process that hangs in a transaction must not hold the log's head for ever.
        ("idle_in_transaction_session_timeout", ms(options.patience * 6)),
    ]);
    let write: PgPool =
        pool::<sqlx::Postgres>(options.writers, options).connect_with(connect.clone()).await?;
    let read = pool::<sqlx::Postgres>(options.readers, options)
        .connect_with(connect.options([("default_transaction_read_only", "on")]))
        .await?;
    Ok(Pools { write, read })
}

fn pool<DB: sqlx::Database>(connections: u32, options: &Options) -> PoolOptions<DB> {
    PoolOptions::new()
        .max_connections(connections.max(1))
        .acquire_timeout(options.patience)
        // A server can restart behind a connection; a file can't.
        .test_before_acquire(DB::NAME != <sqlx::Sqlite as sqlx::Database>::NAME)
}

async fn current<C: Migrate>(known: &Migrator, c: &mut C) -> Result<bool> {
    let table = &*known.table_name;
    c.ensure_migrations_table(table).await?;
    if c.dirty_version(table).await?.is_some() {
        return Ok(false);
    }
    let applied = c.list_applied_migrations(table).await?;
    if let Some(unknown) = applied.iter().find(|a| !known.version_exists(a.version)) {
        return Err(Error::SchemaTooNew { found: unknown.version });
    }
    for m in known.iter() {
        match applied.iter().find(|a| a.version == m.version) {
            None => return Ok(false),
            Some(a) if a.checksum != m.checksum => {
                return Err(Error::Corrupt {
                    what: "schema (a migration differs from the one that was applied)",
                });
            }
            Some(_) => {}
        }
    }
    Ok(true)
}
