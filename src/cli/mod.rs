//! The command line: one file for each subcommand.

pub mod audit;
mod client;
pub mod demo;
pub mod docs;
pub mod draw;
pub mod eval;
pub mod keys;
pub mod man;
pub mod models;
pub mod protect;
pub mod receipt;
pub mod serve;
pub mod token;
pub mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, Subcommand};

use crate::app::telemetry;
use crate::config::{Config, DEFAULT_FILTER};

/// Identity and consent for generated video.
#[derive(Debug, Parser)]
#[command(name = "cameo", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// The configuration file (TOML). Every key can also be set as `CAMEO_<SECTION>__<KEY>`
    #[arg(long, global = true, env = "CAMEO_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one of it, for as long as the program runs"
)]
enum Command {
    /// Serve the API until Ctrl-C
    Serve(serve::Serve),
    /// Run the whole story once: enrol, consent, resolve, verify the token and the log
    Demo(demo::Demo),
    /// Install, list and verify the models
    Models(models::ModelsArgs),
    /// Measure how well the models do on labelled data
    #[command(subcommand)]
    Eval(eval::Eval),
    /// Keep the block list of faces that nobody may enrol
    #[command(subcommand)]
    Protect(protect::Protect),
    /// Make, list and revoke API keys; rotate the signing key
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Check the transparency log
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Check conditioning tokens
    #[command(subcommand)]
    Token(token::Token),
    /// Check consent receipts
    #[command(subcommand)]
    Receipt(receipt::Receipt),
    /// Judge stored evidence again
    Verify(verify::Verify),
    /// Draw a capture of a computer-drawn head, with known truth
    Draw(draw::Draw),
    /// Print a shell's completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for each command
    Man(man::Man),
    /// Write the generated documentation
    #[command(hide = true)]
    Docs(docs::Docs),
}

/// Runs the command line. The exit code is 0 for success, 1 for a failure or a finding, 2 for a
/// command line that is not understood.
#[allow(clippy::print_stderr)] // the one place where errors reach the terminal
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("cameo: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let config = || load(cli.config.as_deref(), Some(QUIET));
    match cli.command {
        Command::Serve(serve) => serve.run(load(cli.config.as_deref(), None)?),
        Command::Demo(demo) => demo.run(config()?),
        Command::Models(args) => models::run(&args, &config()?),
        Command::Eval(eval) => eval.run(&config()?).map(|()| ExitCode::SUCCESS),
        Command::Protect(protect) => protect.run(config()?),
        Command::Keys(keys) => keys.run(config()?),
        Command::Audit(audit) => audit.run(config),
        Command::Token(token) => token.run(),
        Command::Receipt(receipt) => receipt.run(),
        Command::Verify(args) => verify::run(&args),
        Command::Draw(args) => draw::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "cameo", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Man(man) => man.run(Cli::command()),
        Command::Docs(docs) => docs.run(),
    }
}

/// What commands log that have something to say themselves, unless the configuration says otherwise.
const QUIET: &str = "warn";

fn load(file: Option<&std::path::Path>, filter: Option<&str>) -> Result<Config> {
    // Values that are not text can't be settings of ours.
    let variables = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    let mut config = Config::load(file, variables)?;
    if let Some(filter) = filter.filter(|_| config.telemetry.filter == DEFAULT_FILTER) {
        filter.clone_into(&mut config.telemetry.filter);
    }
    telemetry::start_logs(&config.telemetry)?;
    Ok(config)
}

/// Prints a result: one JSON value where that was asked for, else the words.
fn say(json: bool, value: &serde_json::Value, words: &str) -> Result<()> {
    use std::io::Write as _;
    let shown = if json { value.to_string() } else { words.to_owned() };
    writeln!(std::io::stdout(), "{shown}")?;
    Ok(())
}

/// The runtime of commands that need one.
fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime can't be started")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
