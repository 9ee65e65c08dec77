//! `windfield batch`: the batch of a training step, as a file that any other program can learn from.

use std::path::{Path, PathBuf};

use serde::Serialize;
use windfield::data::Dataset;
use windfield::flow::Coupling;
use windfield::model::Model;
use windfield::report::count;
use windfield::train::{Batch, BatchOptions, CouplingReport, TrainOptions};

use super::flags::{self, FlowArgs, LabelArgs, StandardizeArgs};
use super::{Adapter, Context, Usage};

/// Write the very batch that a training step draws
///
/// The batch of step N depends on the seed and N alone. The file holds x0, x1, xt and ut [B, d], t [B] and index [B]
/// (the rows of the data), with --label condition [B, C] as well, in the coordinates that the network sees. With --coupling reflow the rows are those of the
/// pairs that were made.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Args {
    /// The data: a built-in name, `name:N`, or a file
    #[arg(long, value_name = "SOURCE", help_heading = "Data", required_unless_present = "from_model",
        long_help = flags::source_help("The data"))]
    data: Option<String>,
    /// What stands at t = 0 instead of the Gaussian
    #[arg(long, value_name = "SOURCE", help_heading = "Data")]
    source: Option<String>,
    #[command(flatten)]
    labels: LabelArgs,
    #[command(flatten)]
    standardize: StandardizeArgs,
    #[command(flatten)]
    flow: FlowArgs,
    /// Rows of the batch
    #[arg(long, value_name = "ROWS", help_heading = "Optimisation", default_value_t = TrainOptions::default().batch)]
    batch: usize,
    /// Which step's batch
    #[arg(long, value_name = "N", help_heading = "Optimisation", default_value_t = 0)]
    step: u32,
    /// The file
    #[arg(long, short, value_name = "FILE", help_heading = "Output", default_value = "batch.safetensors")]
    out: PathBuf,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Summary<'a> {
    schema: u32,
    out: &'a Path,
    step: u32,
    seed: u64,
    batch: usize,
    dim: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    coupling: Option<CouplingReport>,
    adapter: Adapter,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let options = BatchOptions {
        path: args.flow.path()?,
        coupling: args.flow.coupling()?,
        batch: args.batch,
        seed: context.seed(),
        standardize: args.standardize.wanted(),
        step: args.step,
    };
    if windfield::data::is_array_file(&args.out) {
        return Err(Usage(format!(
            "a batch is several arrays in one safetensors file; give --out FILE.safetensors, not {}",
            args.out.display()
        ))
        .into());
    }
    TrainOptions { coupling: options.coupling, batch: args.batch, ..TrainOptions::default() }
        .validate()
        .map_err(Usage::of)?;
    flags::note(context, &options.path);
    let reflow = (&args.flow.from_model, options.coupling);
    let (device, batch) = if let (Some(file), Coupling::Reflow { pairs, .. }) = reflow {
        if args.labels.is_given() {
            return Err(Usage("--label does not go with --coupling reflow; leave it out".into()).into());
        }
        if args.data.is_some() || context.typed("standardize") || context.typed("no-standardize") {
            return Err(Usage(
                    "--coupling reflow learns the pairs of --from-model, standardised as the model does it; leave out \
                     --data, --standardize and --no-standardize"
                        .into(),
                )
                .into());
        }
        let model = Model::load(file)?;
        let device = context.device()?;
        let made = (pairs, flags::seed_of_pairs(context.seed(), 1));
        let pairs = flags::pairs(context, &device, &model, args.source.as_deref(), made)?;
        let batch =
            Batch::of_pairs(&device, (&pairs.x0, &pairs.x1), model.standardization.as_ref(), &options)?;
        (device, batch)
    } else {
        let data = args.labels.of(Dataset::open(args.data.as_deref().unwrap_or_default())?)?;
        let source = flags::open_source(args.source.as_deref(), data.preparation().as_ref())?;
        let device = context.device()?;
        let waiting = context.waiting("pairing the batch's points");
        let batch = Batch::draw(&device, &data, source.as_ref(), &options)?;
        waiting.clear();
        (device, batch)
    };
    batch.save(&args.out)?;
    if let Some(report) = batch.coupling {
        flags::tell_coupling(context, report);
    }
    context.say(&format!(
        "wrote     {}: the batch of step {}, {} rows of dimension {}",
        args.out.display(),
        args.step,
        count(args.batch),
        batch.dim
    ));
    context.object(&Summary {
        schema: 1,
        out: &args.out,
        step: args.step,
        seed: context.seed(),
        batch: options.batch,
        dim: batch.dim,
        coupling: batch.coupling,
        adapter: Adapter::of(&device),
    })
}
