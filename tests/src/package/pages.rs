//! Man pages and shell completions, from the command lines as the programs define them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_complete::generate_to;

/// Whose command line.
#[derive(Debug, Clone, Copy)]
pub(super) enum Program {
    Bridge,
    Cloud,
}

impl Program {
    fn command(self) -> Command {
        match self {
            Self::Bridge => lockbridge::cli::command(),
            Self::Cloud => lockbridge_cloud::cli::Arguments::command().name("lockbridge-cloud"),
        }
    }
}

/// Writes `<folder>/<program>/man/*.1` and `<folder>/<program>/completions/*`, nothing else left from before.
pub(super) fn write(folder: &Path, program: Program) -> Result<()> {
    let command = program.command();
    let name = command.get_name().to_owned();
    let (man, completions) = (folder.join(&name).join("man"), folder.join(&name).join("completions"));
    for folder in [&man, &completions] {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    clap_mangen::generate_to(command.clone(), &man).context("writing man pages")?;
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        generate_to(shell, &mut command.clone(), &name, &completions).context("writing completions")?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends where its premise fails")]
mod tests {
    use super::*;

    #[test]
    fn every_subcommand_has_a_page_and_every_shell_its_completions() {
        let folder = tempfile::tempdir().unwrap();
        for (program, deepest) in
            [(Program::Bridge, "lockbridge-audit-verify.1"), (Program::Cloud, "lockbridge-cloud-bridge-revoke.1")]
        {
            let name = program.command().get_name().to_owned();
            let stale = folder.path().join(&name).join("man/lockbridge-gone.1");
            fs::create_dir_all(stale.parent().unwrap()).unwrap();
            fs::write(&stale, "").unwrap();
            write(folder.path(), program).unwrap();
            assert!(!stale.exists(), "pages of commands that are gone go too");
            let man = folder.path().join(&name).join("man");
            for subcommand in program.command().get_subcommands().filter(|command| !command.is_hide_set()) {
                let page = man.join(format!("{name}-{}.1", subcommand.get_name()));
                let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
                assert!(text.contains("SYNOPSIS"), "{text}");
            }
            assert!(man.join(deepest).exists(), "{deepest}");
            let mut files: Vec<String> = fs::read_dir(folder.path().join(&name).join("completions"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            files.sort();
            assert_eq!(files, [format!("_{name}"), format!("{name}.bash"), format!("{name}.fish")]);
        }
        let run = fs::read_to_string(folder.path().join("lockbridge/man/lockbridge-run.1")).unwrap();
        assert!(!run.contains("exit-with-stdin"), "what is hidden from people is hidden here too");
    }
}
