//! `keyward completions`: what a shell needs to know to complete command lines.

use std::io::Write as _;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Outcome};

/// Print what a shell needs to complete the command line.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
                        keyward completions bash > /usr/share/bash-completion/completions/keyward\n  \
                        keyward completions zsh > /usr/share/zsh/site-functions/_keyward\n  \
                        keyward completions fish > ~/.config/fish/completions/keyward.fish\n  \
                        source <(keyward completions bash)    for this shell alone")]
pub(super) struct Args {
    /// For which shell
    shell: Shell,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "keyward", &mut script);
    std::io::stdout().write_all(&script).context("cannot print it")?;
    Ok(Outcome::Done)
}
