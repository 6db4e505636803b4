//! A private PostgreSQL for the tests: started once per test process on a temporary folder, over a
//! Unix socket, with one database per test.
//!
//! A small shell guards the server. It waits on a pipe that this process holds open: when the
//! process ends, however it ends, the pipe closes, and the shell stops the server and deletes the
//! folder. It does not flush to the disk, unless `CAMEO_TEST_POSTGRES_FSYNC=on`, as for benchmarks.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The URL of a new, empty database. `None`, with a line that says why, where PostgreSQL isn't
/// installed; a panic instead where `CAMEO_TEST_POSTGRES=required`.
pub(crate) fn database() -> Option<String> {
    static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let server = match SERVER.get_or_init(Server::start) {
        Ok(server) => server,
        Err(why) => {
            let required = std::env::var("CAMEO_TEST_POSTGRES").is_ok_and(|v| v == "required");
            assert!(!required, "CAMEO_TEST_POSTGRES=required, but: {why}");
            println!("SKIPPED: no PostgreSQL for this test: {why}");
            return None;
        }
    };
    let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
    server.create(&name).unwrap_or_else(|e| panic!("createdb {name}: {e}"));
    Some(format!("postgres:///{name}?host={}&user={USER}", server.folder.display()))
}

const USER: &str = "cameo";

/// Its arguments are the command, if any, that changes to the server's user. As it is in the
/// background, the server ignores SIGQUIT until it has its own handler; hence the loop.
const GUARD: &str = r#"
trap '' INT TERM HUP
{
    "$@" "$PROGRAMS/initdb" -D "$FOLDER/data" -U "$SUPERUSER" -A trust -E UTF8 --locale=C --no-sync &&
    [ ! -e "$FOLDER/stop" ] &&
    exec "$@" "$PROGRAMS/postgres" -D "$FOLDER/data" -k "$FOLDER" -c listen_addresses= \
        -c max_connections=300 -c shared_buffers=32MB \
        -c fsync="${CAMEO_TEST_POSTGRES_FSYNC:-off}" -c autovacuum=off \
        -c full_page_writes="${CAMEO_TEST_POSTGRES_FSYNC:-off}"
} </dev/null >"$FOLDER/log" 2>&1 &
server=$!
read -r _
: >"$FOLDER/stop"
while kill -QUIT "$server" 2>/dev/null; do sleep 0.1; done
rm -rf "$FOLDER"
"#;

struct Server {
    programs: PathBuf,
    folder: PathBuf,
    /// Holds the pipe open.
    _guard: Child,
}

impl Server {
    fn start() -> Result<Self, String> {
        let programs = programs().ok_or("initdb and postgres were not found")?;
        let folder = tempfile::Builder::new()
            .prefix("cameo-pg-")
            .tempdir()
            .map_err(|e| format!("no temporary folder: {e}"))?
            .keep();
        let server = Self::start_in(programs, folder.clone());
        if server.is_err() {
            std::fs::remove_dir_all(folder).ok();
        }
        server
    }

    fn start_in(programs: PathBuf, folder: PathBuf) -> Result<Self, String> {
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard"]).args(server_user(&folder)?);
        let guard = guard
            .env("PROGRAMS", &programs)
            .env("FOLDER", &folder)
            .env("SUPERUSER", USER)
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("sh: {e}"))?;
        let server = Self { programs, folder, _guard: guard };
        let deadline = Instant::now() + Duration::from_mins(1);
        while let Err(e) = server.create("ready") {
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(server.folder.join("log")).unwrap_or_default();
                return Err(format!("the server doesn't answer: {e}\n{log}"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(server)
    }

    fn create(&self, name: &str) -> Result<(), String> {
        let mut createdb = Command::new(self.programs.join("createdb"));
        createdb.arg("-h").arg(&self.folder).args(["-U", USER, name]);
        output(&mut createdb)
    }
}

/// The folder of PostgreSQL's programs: that of an `initdb` on the path, or Debian's newest.
fn programs() -> Option<PathBuf> {
    let mut candidates: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    // A link leads to the folder where the rest is.
    let linked = candidates.iter().filter_map(|d| d.join("initdb").canonicalize().ok());
    let linked: Vec<_> = linked.filter_map(|p| p.parent().map(Path::to_owned)).collect();
    let mut debian: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    debian.sort();
    candidates.extend(linked);
    candidates.extend(debian.into_iter().rev());
    let all = ["initdb", "postgres", "createdb"];
    candidates.into_iter().find(|d| all.iter().all(|p| d.join(p).is_file()))
}

/// What goes before a command to run it as the user that owns the server: nothing, but as root,
/// whom PostgreSQL refuses, a change to the user `postgres`, who then gets the folder.
fn server_user(folder: &Path) -> Result<&'static [&'static str], String> {
    let root = std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0);
    if !root {
        return Ok(&[]);
    }
    let chown = output(Command::new("chown").arg("postgres").arg(folder));
    chown.map_err(|e| format!("as root the tests need a user `postgres`: {e}"))?;
    Ok(&["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"])
}

fn output(command: &mut Command) -> Result<(), String> {
    let done = command.stdin(Stdio::null()).output();
    match done {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err("not installed".to_owned()),
        Err(e) => Err(e.to_string()),
    }
}
