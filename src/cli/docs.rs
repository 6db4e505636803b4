//! `cameo docs`: the generated documentation, written or checked.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::domain::consent::table;
use crate::http::{docs, problem};

/// Write the generated documentation, or check that it is current.
#[derive(Debug, Args)]
pub struct Docs {
    /// The folder
    #[arg(long, default_value = "docs")]
    dir: PathBuf,
    /// Change nothing; fail where a file is not current
    #[arg(long)]
    check: bool,
}

impl Docs {
    /// Runs the command.
    ///
    /// # Errors
    /// Where a file can't be written, or is not current.
    pub fn run(self) -> Result<ExitCode> {
        let mut openapi = docs::openapi().to_pretty_json().context("the API's description")?;
        openapi.push('\n');
        let permissions = self.permissions()?;
        for (name, text) in [
            ("openapi.json", openapi),
            ("problems.md", problem::catalogue()),
            ("permissions.md", permissions),
        ] {
            let path = self.dir.join(name);
            if self.check {
                let current = std::fs::read_to_string(&path).unwrap_or_default();
                anyhow::ensure!(
                    current == text,
                    "{} is not current: run `make docs` and commit it",
                    path.display()
                );
            } else {
                std::fs::write(&path, text)
                    .with_context(|| format!("can't write {}", path.display()))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The page on permissions with its tables made anew.
    fn permissions(&self) -> Result<String> {
        let path = self.dir.join("permissions.md");
        let mut page = std::fs::read_to_string(&path)
            .with_context(|| format!("can't read {}", path.display()))?;
        for (name, made) in [
            ("audiences", table::audiences()?),
            ("purposes", table::purposes()),
            ("rules", table::rules()),
        ] {
            page = splice(&page, name, &made)
                .with_context(|| format!("{} has no part {name}", path.display()))?;
        }
        Ok(page)
    }
}

/// The page with the part between `<!-- name -->` and `<!-- /name -->` replaced.
fn splice(page: &str, name: &str, made: &str) -> Option<String> {
    let (before, rest) = page.split_once(&format!("<!-- {name} -->\n"))?;
    let (_, after) = rest.split_once(&format!("<!-- /{name} -->\n"))?;
    Some(format!("{before}<!-- {name} -->\n{made}<!-- /{name} -->\n{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_replaced_and_a_missing_one_is_noticed() {
        let page = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n";
        assert_eq!(splice(page, "x", "new\n").unwrap(), page.replace("old", "new"));
        assert_eq!(splice(page, "y", "new\n"), None);
        assert_eq!(splice("<!-- x -->\n", "x", ""), None);
    }
}
