//! `windfield export`: a model for other programs.
//!
//! A target is a flag with its file, and its line in [`run`].

use std::path::{Path, PathBuf};

use serde::Serialize;
use windfield::Result;
use windfield::model::Model;

use super::Context;

/// Write a model for other programs
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    /// The model file
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// ONNX (opset 17): v [N, d] of x [N, d] and t [N, 1], for any number N of rows
    ///
    /// x and v are in data units. A conditional model takes the features of its condition as well: condition [N, C].
    #[arg(long, value_name = "FILE", required = true, help_heading = "Targets")]
    onnx: Option<PathBuf>,
    /// In the network's own, standardised units
    #[arg(long)]
    raw: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Exported<'a> {
    schema: u32,
    model: &'a Path,
    files: Vec<Written<'a>>,
}

#[derive(Serialize)]
struct Written<'a> {
    target: &'static str,
    file: &'a Path,
    bytes: u64,
}

/// How a target is written: the model, the file, and whether in the network's units.
type Write = fn(&Model, &Path, bool) -> Result<()>;

pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let model = Model::load(&args.model)?;
    let targets: [(&str, &Option<PathBuf>, Write); 1] =
        [("onnx", &args.onnx, |model, path, raw| model.save_onnx(path, raw))];
    let mut exported = Exported { schema: 1, model: &args.model, files: vec![] };
    for (target, file, write) in targets {
        let Some(file) = file else { continue };
        write(&model, file, args.raw)?;
        let bytes = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
        context.say(&format!("wrote     {} ({target}, {})", file.display(), windfield::report::bytes(bytes)));
        exported.files.push(Written { target, file, bytes });
    }
    context.object(&exported)
}
