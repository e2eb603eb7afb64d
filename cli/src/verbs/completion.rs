//! `nave completion`: what a shell needs to complete commands.

use anyhow::Result;
use clap::CommandFactory;

use crate::CommandLine;

/// Print a completion script for a shell
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  source <(nave completion bash)
  nave completion zsh > \"${fpath[1]}/_nave\"
  nave completion fish > ~/.config/fish/completions/nave.fish")]
pub struct Arguments {
    /// The shell
    shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Powershell,
}

/// Prints the script.
pub fn run(arguments: &Arguments) -> Result<()> {
    let shell = match arguments.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
        Shell::Powershell => clap_complete::Shell::PowerShell,
    };
    // Into memory first: the generator panics when the reader of a pipe goes away.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "nave", &mut script);
    std::io::Write::write_all(&mut std::io::stdout().lock(), &script)?;
    Ok(())
}
