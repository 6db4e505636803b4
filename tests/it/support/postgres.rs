//! A private PostgreSQL for the tests: started once per test process on a temporary folder, over a
//! Unix socket, with one database per test.
//!
//! A small shell guards the server. It waits on a pipe that this process holds open: when the
//! process ends, however it ends, the pipe closes, and the shell stops the server and deletes the
//! folder.

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

const GUARD: &str = r#"
folder=$1; shift
trap '' INT TERM HUP
"$@" </dev/null >"$folder/log" 2>&1 &
read -r _
kill -QUIT "$(head -n 1 "$folder/data/postmaster.pid")"
wait
rm -rf "$folder"
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
        let data = folder.join("data");
        let mut initdb = as_server_user(&folder, &programs.join("initdb"))?;
        initdb.arg("-D").arg(&data);
        initdb.args(["-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
        output(&mut initdb).map_err(|e| format!("initdb: {e}"))?;

        let postgres = as_server_user(&folder, &programs.join("postgres"))?;
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard"]).arg(&folder);
        guard.arg(postgres.get_program()).args(postgres.get_args());
        guard.arg("-D").arg(&data).arg("-k").arg(&folder);
        for setting in [
            "listen_addresses=",
            "max_connections=300",
            "shared_buffers=32MB",
            // The folder is deleted afterwards anyway.
            "fsync=off",
            "full_page_writes=off",
            "autovacuum=off",
        ] {
            guard.args(["-c", setting]);
        }
        let guard = guard
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("sh: {e}"))?;
        let server = Self { programs, folder, _guard: guard };
        let deadline = Instant::now() + Duration::from_secs(60);
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

/// A command as the user that owns the server. PostgreSQL refuses to run as root; then the folder
/// goes to the user `postgres`.
fn as_server_user(folder: &Path, program: &Path) -> Result<Command, String> {
    let root = std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0);
    if !root {
        return Ok(Command::new(program));
    }
    let chown = output(Command::new("chown").arg("postgres").arg(folder));
    chown.map_err(|e| format!("as root the tests need a user `postgres`: {e}"))?;
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    Ok(command)
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
