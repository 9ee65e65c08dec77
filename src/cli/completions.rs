//! `windfield completions`: what a shell needs to complete windfield's commands and flags.

use clap::CommandFactory;
use clap_complete::Shell;
use serde::Serialize;

use super::{Cli, Context, terminal};

/// Print the completions of a shell
#[derive(Debug, clap::Args)]
#[command(
    after_help = "For bash: windfield completions bash > ~/.local/share/bash-completion/completions/windfield"
)]
pub struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Completions {
    schema: u32,
    shell: String,
    script: String,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "windfield", &mut script);
    let script = String::from_utf8(script)?;
    if context.wants_json() {
        return context.object(&Completions { schema: 1, shell: args.shell.to_string(), script });
    }
    terminal::print(&script)
}
