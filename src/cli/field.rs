//! `windfield field`: the velocity at given points.

use std::path::PathBuf;

use serde::Serialize;
use windfield::data::ArrayWriter;
use windfield::model::Model;
use windfield::report::count;
use windfield::sample::{Kernels, SampleOptions, Sampler};

use super::{Adapter, Context, Usage, interrupt, sample};

/// Points of a chunk, at most.
const CHUNK: usize = 1 << 18;

/// Velocities of a model at given points
///
/// Points are in data units and velocities in data units a unit of time, unless --raw asks for the model's own
/// standardised coordinates.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Args {
    /// The model file that `windfield train` wrote
    #[arg(value_name = "MODEL", required_unless_present = "data")]
    model: Option<PathBuf>,
    /// The exact marginal field of a data set: in a later version
    #[arg(long, value_name = "SOURCE", hide = true)]
    data: Option<String>,
    #[arg(long, hide = true, requires = "data")]
    path: Option<String>,
    #[arg(long, hide = true, requires = "data")]
    log_density: Option<PathBuf>,
    /// The points: a file of shape [n, d]
    #[arg(long, value_name = "FILE", help_heading = "Points")]
    points: PathBuf,
    /// The time, from 0 (noise) to 1 (data)
    #[arg(long, short, value_name = "T", help_heading = "Points")]
    time: f32,
    /// The file for the velocities: .npy, .csv, .tsv or .parquet
    #[arg(long, short, value_name = "FILE", help_heading = "Output", default_value = "velocities.npy")]
    out: PathBuf,
    /// Points and velocities in the model's own, standardised coordinates
    #[arg(long, help_heading = "Output")]
    raw: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    schema: u32,
    model: PathBuf,
    points: usize,
    dim: usize,
    time: f32,
    out: PathBuf,
    adapter: Adapter,
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let path = match (args.model, args.data) {
        (Some(path), None) => path,
        _ => {
            return Err(Usage(
                "the field of a data set (--data) is not in this version; give a model file instead".into(),
            )
            .into());
        }
    };
    if !(0.0..=1.0).contains(&args.time) {
        return Err(Usage(format!("--time {} is not in [0, 1]; 0 is noise, 1 is data", args.time)).into());
    }
    interrupt::watch()?;
    let model = Model::load(&path)?;
    let points = sample::points(&args.points, &model)?;
    let device = context.device()?;
    let options = SampleOptions { kernels: Kernels::Layered, ..SampleOptions::default() };
    let mut sampler = Sampler::new(&device, &model, None, options)?;
    let dim = model.architecture.dim;
    let mut out = ArrayWriter::create(&args.out, &[points.rows(), dim], &sample::columns(&model))?;
    let mut progress = context.progress(0, points.rows() as u64);
    let mut done = 0;
    for chunk in points.values.chunks(dim * sampler.chunk_rows().min(CHUNK)) {
        interrupt::check("nothing was written")?;
        let mut chunk = chunk.to_vec();
        if !args.raw {
            sampler.to_network_units(&mut chunk);
        }
        let mut velocities = sampler.velocity(&chunk, args.time)?;
        if !args.raw {
            sampler.velocities_to_data_units(&mut velocities);
        }
        out.write_rows(&velocities)?;
        done += chunk.len() / dim;
        progress.show(done as u64, String::new);
    }
    out.finish()?;
    progress.clear();
    context.say(&format!(
        "wrote     {}: {} velocities at t = {}",
        args.out.display(),
        count(points.rows()),
        args.time
    ));
    context.object(&Summary {
        schema: 1,
        model: path,
        points: points.rows(),
        dim,
        time: args.time,
        out: args.out,
        adapter: Adapter::of(&device),
    })
}
