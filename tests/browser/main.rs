//! The pages in a real browser: runs `pages.py` against the program of this build. Says so where
//! there is no Chromium or no Python.

use std::io::ErrorKind;
use std::process::{Command, Stdio};

#[test]
fn the_pages_in_a_browser() {
    let python = std::env::var_os("CAMEO_PYTHON").unwrap_or_else(|| "python3".into());
    let run = Command::new(python)
        .arg("tests/browser/pages.py")
        .args(["--program", env!("CARGO_BIN_EXE_cameo")])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .output();
    let run = match run {
        Ok(run) => run,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            println!("SKIPPED: the pages in a browser (no Python)");
            return;
        }
        Err(e) => panic!("{e}"),
    };
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    println!("{out}");
    assert!(run.status.success(), "{out}\n{err}");
}
