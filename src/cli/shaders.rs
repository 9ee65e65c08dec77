//! `windfield shaders`: every kernel for other compilers to judge.

use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser};
use serde::Serialize;
use windfield::shaders::{TARGETS, Target, catalogue};

use super::{Context, Usage};

/// Write every kernel, translated to a shading language
///
/// The kernels are those that training and sampling run, in every variant and for a choice of shapes. This needs no
/// device: Metal's and DX12's kernels can be looked at anywhere.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The language
    #[arg(long, value_name = "TARGET", value_parser = PossibleValuesParser::new(
        TARGETS.iter().map(|target| PossibleValue::new(target.name).help(target.help))))]
    target: String,
    /// The folder
    #[arg(long, short, value_name = "DIR")]
    out: PathBuf,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Summary<'a> {
    schema: u32,
    target: &'static str,
    out: &'a Path,
    files: Vec<String>,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let target = Target::named(&args.target).map_err(Usage::of)?;
    let mut files = Vec::new();
    for variant in catalogue() {
        let name = format!("{}.{}", variant.label(), target.extension);
        windfield::files::write_bytes(args.out.join(&name), target.translate(&variant)?)?;
        files.push(name);
    }
    context.say(&format!("wrote     {}: {} kernels as {}", args.out.display(), files.len(), target.help));
    context.object(&Summary { schema: 1, target: target.name, out: &args.out, files })
}
