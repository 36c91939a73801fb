//! `walgate completions SHELL`

use clap::CommandFactory;
use clap_complete::Shell;

use super::failure::{Exit, Failure};
use super::{Cli, output};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  walgate completions bash > /etc/bash_completion.d/walgate")]
pub(super) struct Args {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "walgate", &mut script);
    output::data(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
