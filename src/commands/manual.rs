//! `keyward man`: the pages of the manual, made from what `--help` says.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::{Cli, Outcome};

/// Print the page of the manual, or write a page for each command into a folder.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  keyward man | man -l -\n  \
                        keyward man --folder /usr/local/share/man/man1    then: man keyward-serve")]
pub(super) struct Args {
    /// Write keyward.1, keyward-serve.1 and so on there, and print nothing
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// A page and the name of its file.
type Page = (String, Vec<u8>);

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    match &args.folder {
        None => {
            io::stdout().write_all(&page(&command).context("cannot make the page")?.1).context("cannot print it")?
        }
        Some(folder) => {
            let mut pages = Vec::new();
            collect(&command, &mut pages).context("cannot make the pages")?;
            for (name, text) in pages {
                let path = folder.join(name);
                std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
    }
    Ok(Outcome::Done)
}

/// The page of a command and those of the commands below it.
fn collect(command: &Command, pages: &mut Vec<Page>) -> io::Result<()> {
    pages.push(page(command)?);
    command.get_subcommands().try_for_each(|command| collect(command, pages))
}

fn page(command: &Command) -> io::Result<Page> {
    // Which day a version is of is not known here; an empty one would move all that follows it.
    let man = Man::new(command.clone()).date(env!("CARGO_PKG_VERSION")).source("Keyward").manual("Keyward Manual");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    if command.get_arguments().next().is_some() {
        man.render_options_section(&mut text)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    further_sections(command).to_writer(&mut text)?;
    Ok((man.get_filename(), text))
}

/// What follows the options in `--help`: each block is a section, its lines as they are there.
fn further_sections(command: &Command) -> Roff {
    let mut sections = Roff::new();
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    for block in text.split("\n\n").filter(|block| !block.is_empty()) {
        match block.split_once(":\n") {
            Some((title, lines)) if !title.contains('\n') && !title.starts_with(' ') => {
                sections.control("SH", [title.to_uppercase().as_str()]).control("nf", []);
                for line in lines.lines() {
                    sections.text([roman(line)]);
                }
            }
            // Goes on with the section before.
            _ => {
                sections.control("PP", []).control("nf", []);
                for line in block.lines() {
                    sections.text([roman(line)]);
                }
            }
        }
        sections.control("fi", []);
    }
    sections
}
