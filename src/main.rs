//! The `cameo` program.

use std::process::ExitCode;

use cameo::media::worker;

fn main() -> ExitCode {
    // Before anything else: the child that decodes an upload starts no runtime and reads no
    // configuration.
    if std::env::args_os().nth(1).is_some_and(|arg| arg == worker::SUBCOMMAND) {
        return worker::main();
    }
    cameo::cli::main()
}
