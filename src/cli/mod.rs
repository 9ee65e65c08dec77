//! The command line: one file a command, which parses, calls the library and prints. There is no mathematics here.
//!
//! A new command is one file with `Args` and `run`, its `mod`, and its line in the table below.

mod batch;
mod bench;
mod completions;
mod config;
mod devices;
mod evaluate;
mod export;
mod field;
mod flags;
mod interrupt;
mod lab;
mod likelihood;
mod render;
mod rerun;
mod runs;
mod sample;
mod shaders;
mod terminal;
mod train;
mod vectors;
mod verify;

use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use windfield::Error;
use windfield::gpu::{AdapterChoice, Device, DeviceOptions, cache_folder};
use windfield::model::{Architecture, Kernels, Task, Tuning};

pub use interrupt::Interrupted;
pub use windfield::gpu::AdapterRecord as Adapter;

/// The table of commands: its variant, its module, its line of help.
macro_rules! commands {
    ($($variant:ident => $module:ident, $help:literal;)*) => {
        #[derive(Debug, Subcommand)]
        enum Command {
            $(#[doc = $help] $variant(Box<$module::Args>),)*
        }

        impl Command {
            fn run(self, context: &Context) -> anyhow::Result<()> {
                match self {
                    $(Self::$variant(args) => $module::run(&args, context),)*
                }
            }
        }
    };
}

commands! {
    Train => train, "Train a model";
    Sample => sample, "Draw samples from a model, or carry given points along its flow";
    Likelihood => likelihood, "log p(x) in nats of each row of a data set";
    Evaluate => evaluate, "Measure a model: its samples beside data, how straight its flow is, where paths cross";
    Field => field, "Velocities at given points: of a model, or the exact field of a data set";
    Render => render, "Pictures and animations of a model's flow";
    Batch => batch, "Write the very batch that a training step draws";
    Export => export, "Write a model for other programs: ONNX, a page for browsers";
    Runs => runs, "Compare the runs below a folder in a table";
    Rerun => rerun, "Repeat a run, and say whether its bits agree";
    Lab => lab, "Compare paths and couplings over a data set: one table, one figure";
    Verify => verify, "Check the theorems of flow matching numerically on this device";
    Bench => bench, "Measure how fast this device is";
    Devices => devices, "List the adapters, and which one is the default";
    Shaders => shaders, "Write every kernel, translated to a shading language";
    Completions => completions, "Print the completions of a shell";
}

/// Trains and samples flow-matching models on any GPU, from one binary.
#[derive(Debug, Parser)]
#[command(
    name = "windfield",
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    max_term_width = 100
)]
#[command(
    after_help = "Start with:\n  windfield train --data checkerboard --out runs/checkerboard\n  windfield sample runs/checkerboard/model.safetensors -n 100000 --out samples.npy"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

/// What every command understands.
#[derive(Debug, clap::Args)]
struct Global {
    /// Which adapter: its index or a part of its name, see `windfield devices` [default: the fastest]
    #[arg(long, global = true, value_name = "INDEX|NAME", help_heading = "Device")]
    adapter: Option<String>,
    /// Where compiled kernels and tunings are kept between runs, or `off` [default: the user's cache folder]
    ///
    /// There is one file for each adapter and purpose; `windfield devices` names them. They may be deleted at any time.
    #[arg(
        long,
        global = true,
        value_name = "DIR|off",
        env = "WINDFIELD_CACHE",
        hide_env_values = true,
        help_heading = "Device"
    )]
    cache: Option<PathBuf>,
    /// Flags of the command from a TOML file, such as `steps = 5000`; what is typed here wins
    ///
    /// The keys are the long names of the flags; `hidden = [256, 256]`, `no-pictures = true` and the like. The config.toml
    /// of a run is such a file too: its flags are taken. Paths in it are relative to the folder that windfield is
    /// called in.
    #[arg(long, global = true, value_name = "FILE", help_heading = "General")]
    config: Option<PathBuf>,
    /// Seed of all random numbers [default: 0]
    #[arg(long, global = true, value_name = "SEED", help_heading = "General")]
    seed: Option<u64>,
    /// Say nothing but errors
    #[arg(long, short, global = true, help_heading = "General")]
    quiet: bool,
    /// Print one JSON object on standard output, and nothing else there
    #[arg(long, global = true, help_heading = "General")]
    json: bool,
}

/// What a command is run in.
pub struct Context {
    seed: Option<u64>,
    choice: Option<AdapterChoice>,
    cache: Option<PathBuf>,
    quiet: bool,
    json: bool,
    /// The flags of the command that were typed, by their names.
    typed: Vec<String>,
    /// Those of them that say what is computed, as `--config` takes them.
    flags: toml::Table,
}

impl Context {
    /// The seed, 0 if none was given.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or(0)
    }

    /// The adapter asked for.
    pub fn adapter(&self) -> AdapterChoice {
        self.choice.clone().unwrap_or_default()
    }

    /// The folder of caches, if there is to be one.
    pub fn cache(&self) -> Option<&Path> {
        self.cache.as_deref()
    }

    /// Whether `--name` was typed.
    pub fn typed(&self, name: &str) -> bool {
        self.typed.iter().any(|typed| typed == name)
    }

    /// The flags that were typed.
    pub fn all_typed(&self) -> &[String] {
        &self.typed
    }

    /// What was asked for, as a file for `--config` has it.
    pub fn flags(&self) -> &toml::Table {
        &self.flags
    }

    /// Builds something with the kernels that were asked for. In the place of `auto` come those that were measured to be
    /// faster, if there are any and they fit; then the answer to whether they did is yes.
    pub fn tuned<T>(
        &self,
        device: &Device,
        asked: Kernels,
        (task, network, rows): (Option<Task>, &Architecture, usize),
        mut build: impl FnMut(Kernels) -> windfield::Result<T>,
    ) -> windfield::Result<(T, bool)> {
        let task = task.filter(|_| asked == Kernels::Auto);
        let found = task.zip(self.cache()).and_then(|(task, folder)| {
            Tuning::load(folder, device.info()).choose(task, network, task.rows(rows, device))
        });
        if let Some(kernels) = found {
            match build(kernels) {
                // They were measured in other settings.
                Err(Error::Config { .. }) => {}
                result => {
                    let built = result?;
                    self.say(&format!(
                        "kernels   {}: measured to be faster here than the rules' choice",
                        kernels.name()
                    ));
                    return Ok((built, true));
                }
            }
        }
        Ok((build(asked)?, false))
    }

    /// Opens the device and says which.
    pub fn device(&self) -> anyhow::Result<Device> {
        let options =
            DeviceOptions { adapter: self.adapter(), cache: self.cache.clone(), ..DeviceOptions::default() };
        let device = Device::open(&options)?;
        self.say(&format!("device    {}", device.describe()));
        if device.habits().software && self.adapter() == AdapterChoice::Fastest {
            self.say("          no GPU was found: this is a software driver, the processor does the work");
        }
        Ok(device)
    }

    /// The same, where networks are most of the work: with vectors as wide as they gain by.
    pub fn device_for_networks(&self) -> anyhow::Result<Device> {
        vectors::widen();
        self.device()
    }
}

/// Wrong usage: exit status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

impl Usage {
    /// The error of a library that found a setting wrong, as wrong usage.
    pub fn of(error: impl std::fmt::Display) -> anyhow::Error {
        Self(error.to_string()).into()
    }
}

/// Parses the command line and runs the command.
pub fn run() -> anyhow::Result<()> {
    let (words, file) = config::expand(std::env::args_os().collect())?;
    match parse(words) {
        Ok((command, context)) => command.run(&context),
        Err(error) => explain(&error, file.as_deref()),
    }
}

/// A command and what it is run in, of the words of a command line.
fn parse(words: Vec<std::ffi::OsString>) -> Result<(Command, Context), clap::Error> {
    let mut command = Cli::command();
    let matches = command.try_get_matches_from_mut(words)?;
    let cli = Cli::from_arg_matches(&matches)?;
    let (mut typed, mut flags) = (vec![], toml::Table::new());
    if let Some((name, matches)) = matches.subcommand()
        && let Some(command) = command.find_subcommand(name)
    {
        typed = config::typed(command, matches);
        flags = config::flags(command, matches);
    }
    let Global { adapter, cache, config: _, seed, quiet, json } = cli.global;
    // Any text is a choice: what is no index is a part of a name.
    let choice = adapter.and_then(|text| text.parse().ok());
    let cache = match cache.filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) if folder.as_os_str() == "off" => None,
        // The default folder is a convenience; one that somebody named is expected to be used.
        Some(folder) => {
            if let Err(error) = std::fs::create_dir_all(&folder) {
                terminal::warn(&format!(
                    "nothing is kept in {}, named by --cache: {error}",
                    folder.display()
                ));
            }
            Some(folder)
        }
        None => cache_folder(),
    };
    Ok((cli.command, Context { seed, choice, cache, quiet, json, typed, flags }))
}

/// What clap has to say: help and version as they are, errors in one line.
fn explain(error: &clap::Error, file: Option<&Path>) -> anyhow::Result<()> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Written in one piece to a terminal with colours; a reader that has gone away is no failure.
            let _ = error.print();
            Ok(())
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            std::process::exit(2);
        }
        _ => {
            let commands = Cli::command();
            let name = std::env::args().skip(1).find(|word| commands.find_subcommand(word).is_some());
            let command = name.map_or_else(|| "windfield".to_owned(), |name| format!("windfield {name}"));
            let among =
                file.map_or_else(String::new, |file| format!(" (with the flags of {})", file.display()));
            let line = one_line(&error.render().to_string());
            Err(Usage(format!("{line}{among}; try '{command} --help'")).into())
        }
    }
}

/// clap's message without its usage section, as one line.
fn one_line(message: &str) -> String {
    let mut line = String::new();
    for part in message.lines().map(str::trim) {
        let part = part.trim_start_matches("error: ");
        if part.is_empty() || part.starts_with("Usage:") || part.starts_with("For more information") {
            continue;
        }
        if !line.is_empty() {
            line.push_str(if line.ends_with(':') { " " } else { "; " });
        }
        line.push_str(part.trim_start_matches('[').trim_end_matches(']'));
    }
    line
}
