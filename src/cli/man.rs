//! `cameo man`: the manual pages, made of the same definitions as `--help`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_mangen::Man as Page;

/// Print the manual page, or write one for each command.
#[derive(Debug, Args)]
pub struct Man {
    /// Write a page for each command into this folder, and print nothing
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Man {
    /// Runs the command; `program` is the whole command line.
    ///
    /// # Errors
    /// Where a page can't be written.
    pub fn run(self, program: Command) -> Result<ExitCode> {
        let pages = pages(program)?;
        let Some(dir) = self.dir else {
            if let Some((_, page)) = pages.first() {
                std::io::stdout().write_all(page)?;
            }
            return Ok(ExitCode::SUCCESS);
        };
        std::fs::create_dir_all(&dir).with_context(|| format!("can't make {}", dir.display()))?;
        for (name, page) in pages {
            let path = dir.join(name);
            std::fs::write(&path, page)
                .with_context(|| format!("can't write {}", path.display()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The pages with their file names, that of the program first.
fn pages(program: Command) -> Result<Vec<(String, Vec<u8>)>> {
    let mut program = without_help(program);
    program.build();
    let mut pages = Vec::new();
    collect(&program, &mut pages)?;
    Ok(pages)
}

/// `cameo help` says what the pages say.
fn without_help(command: Command) -> Command {
    command.disable_help_subcommand(true).mut_subcommands(without_help)
}

fn collect(command: &Command, into: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    // What is hidden is for the project itself.
    let shown = |c: &&Command| !c.is_hide_set();
    let page = Page::new(command.clone());
    let mut text = Vec::new();
    page.render(&mut text)?;
    text.extend_from_slice(EXIT_STATUS.as_bytes());
    into.push((page.get_filename(), text));
    command.get_subcommands().filter(shown).try_for_each(|c| collect(c, into))
}

/// What docs/cli.md says, too.
const EXIT_STATUS: &str = r#".SH "EXIT STATUS"
.TP
\fB0\fR
It worked. Where something was checked: it holds.
.TP
\fB1\fR
It failed, or what was checked does not hold. The reason is on standard error, or in the output with
\fB\-\-json\fR.
.TP
\fB2\fR
The command line is not understood.
.SH ENVIRONMENT
Every key of the configuration can be set as \fBCAMEO_<SECTION>__<KEY>\fR; what is set so wins over the
file.
"#;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_that_is_shown_has_a_page_of_its_own() {
        let pages = pages(crate::cli::Cli::command()).unwrap();
        assert_eq!(pages[0].0, "cameo.1");
        let names: BTreeSet<_> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.len(), pages.len());
        for name in ["cameo-serve.1", "cameo-audit-verify.1", "cameo-eval-faces.1", "cameo-man.1"] {
            assert!(names.contains(name), "{name} of {names:?}");
        }
        assert!(!names.iter().any(|n| n.contains("help") || n.contains("docs")), "{names:?}");
        for (name, page) in &pages {
            let page = String::from_utf8(page.clone()).unwrap();
            assert!(!page.contains("help(1)"), "{name}");
            for section in [".SH NAME", ".SH SYNOPSIS", ".SH \"EXIT STATUS\""] {
                assert_eq!(page.matches(section).count(), 1, "{name}: {section}");
            }
        }
    }
}
