//! `windfield export`: a model for other programs.
//!
//! A target is a flag with its file, and its line in [`run`].

use std::path::{Path, PathBuf};

use serde::Serialize;
use windfield::Result;
use windfield::model::Model;
use windfield::report::page::save_page;

use super::Context;

/// Write a model for other programs
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    group = clap::ArgGroup::new("targets").args(["onnx", "html"]).required(true).multiple(true)
)]
pub struct Args {
    /// The model file
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// ONNX (opset 17): v [N, d] of x [N, d] and t [N, 1], for any number N of rows
    ///
    /// x and v are in data units. A conditional model takes the features of its condition as well: condition [N, C].
    #[arg(long, value_name = "FILE", help_heading = "Targets")]
    onnx: Option<PathBuf>,
    /// A page that runs the flow in a browser through WebGPU, with all that it needs in one file
    ///
    /// It shows what `sample` computes, by the same kernels: particles from noise to data, with a slider of time, their
    /// paths on a click, solvers, steps, conditions and guidance. Its settings are fields of its address as well, such as
    /// page.html#particles=500&steps=20&solver=rk4&seed=3&t=0.5&theme=dark.
    #[arg(long, value_name = "FILE", help_heading = "Targets")]
    html: Option<PathBuf>,
    /// What the page is called; the model's file or the folder of its run, unless given
    #[arg(long, value_name = "TEXT", requires = "html", help_heading = "Targets")]
    title: Option<String>,
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

/// Writes a target's file.
type Write<'a> = dyn Fn(&Path) -> Result<()> + 'a;

pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let model = Model::load(&args.model)?;
    let title = args.title.clone().unwrap_or_else(|| name(&args.model));
    let targets: [(&str, &Option<PathBuf>, &Write<'_>); 2] = [
        ("onnx", &args.onnx, &|path| model.save_onnx(path, args.raw)),
        ("html", &args.html, &|path| save_page(&model, &title, args.raw, path)),
    ];
    let mut exported = Exported { schema: 1, model: &args.model, files: vec![] };
    for (target, file, write) in targets {
        let Some(file) = file else { continue };
        write(file)?;
        let bytes = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
        context.say(&format!("wrote     {} ({target}, {})", file.display(), windfield::report::bytes(bytes)));
        exported.files.push(Written { target, file, bytes });
    }
    context.object(&exported)
}

/// What a model is called: its file, or the folder of a run that it is the result of.
fn name(path: &Path) -> String {
    let file = path.file_stem().unwrap_or_default();
    let folder = std::path::absolute(path).ok().and_then(|path| Some(path.parent()?.file_name()?.to_owned()));
    folder.filter(|_| file == "model").unwrap_or_else(|| file.to_owned()).to_string_lossy().into_owned()
}
