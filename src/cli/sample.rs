//! `windfield sample`: any number of points along a model's flow, streamed to a file chunk by chunk.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use windfield::Error;
use windfield::data::{Array, ArrayWriter, Dataset, default_columns, read_array};
use windfield::flow::Solver;
use windfield::model::Model;
use windfield::report::{Rate, approximately, count, duration};
use windfield::sample::{SampleOptions, Sampler};

use super::flags;
use super::{Adapter, Context, Usage, interrupt};

/// Samples where no other number is asked for.
const SAMPLES: usize = 10_000;
/// Floats of a chunk of trajectories.
const TRAJECTORY_FLOATS: usize = 1 << 24;
/// Particles between two looks at ctrl-C, at most.
const CHUNK: usize = 1 << 18;

/// Draw samples from a model, or carry given points along its flow
///
/// Points are in data units, unless --raw asks for the model's own standardised coordinates. Noise is the exception:
/// what --from gives at t = 0, and what arrives there backwards in time, is standard noise, taken and written as it
/// is. (Where a data set replaced the Gaussian, t = 0 is in data units as well.) Trajectories are in data units from
/// end to end.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Args {
    /// The model file that `windfield train` wrote
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// How many samples [default: 10000, or the rows of --from]
    #[arg(short, value_name = "COUNT", help_heading = "Start")]
    n: Option<usize>,
    /// Start at these points instead of drawing noise
    #[arg(long, value_name = "FILE", help_heading = "Start")]
    from: Option<PathBuf>,
    /// The data set to start from, for a model that was trained with one [default: that one]
    #[arg(long, value_name = "SOURCE", help_heading = "Start", conflicts_with = "from")]
    source: Option<String>,
    /// How to integrate
    #[arg(long, value_name = "SOLVER", help_heading = "Integration", value_parser = flags::solvers(),
        default_value = SampleOptions::default().solver.name)]
    solver: String,
    /// Steps of equal length
    #[arg(long, value_name = "STEPS", help_heading = "Integration", default_value_t = SampleOptions::default().steps)]
    steps: u32,
    /// Where to begin: 0 is noise, 1 is data
    #[arg(long, value_name = "T", help_heading = "Integration", default_value_t = SampleOptions::default().t0)]
    t0: f32,
    /// Where to end; smaller than --t0: backwards in time
    #[arg(long, value_name = "T", help_heading = "Integration", default_value_t = SampleOptions::default().t1)]
    t1: f32,
    /// The file for the points at --t1: .npy, .csv, .tsv or .parquet
    #[arg(long, short, value_name = "FILE", help_heading = "Output", default_value = "samples.npy")]
    out: PathBuf,
    /// Write all states as well: .npy of shape [n, steps + 1, d]
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    trajectory: Option<PathBuf>,
    /// Points in the model's own, standardised coordinates
    #[arg(long, help_heading = "Output")]
    raw: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Summary<'a> {
    schema: u32,
    model: &'a Path,
    samples: usize,
    dim: usize,
    solver: &'static str,
    steps: u32,
    t0: f32,
    t1: f32,
    seed: u64,
    out: &'a Path,
    trajectory: Option<&'a Path>,
    seconds: f64,
    samples_per_second: f64,
    adapter: Adapter,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    interrupt::watch()?;
    let model = Model::load(&args.model)?;
    let options = SampleOptions {
        solver: Solver::named(&args.solver).map_err(Usage::of)?,
        steps: args.steps,
        t0: args.t0,
        t1: args.t1,
        seed: context.seed(),
        ..SampleOptions::default()
    };
    options.validate().map_err(Usage::of)?;
    if args.from.is_none() && args.t0 != 0.0 {
        return Err(Usage(format!("the noise is at t = 0, not {}; give points with --from", args.t0)).into());
    }
    if args.trajectory.as_ref() == Some(&args.out) {
        return Err(Usage("--out and --trajectory name the same file; give two".into()).into());
    }
    let from = args.from.as_deref().map(|path| points(path, &model)).transpose()?;
    let number = match (args.n, &from) {
        (Some(0), _) => return Err(Usage("-n 0 asks for nothing; give at least 1".into()).into()),
        (Some(n), Some(from)) if n > from.rows() => {
            return Err(Usage(format!("-n {n} is more than the {} rows of --from", from.rows())).into());
        }
        // The address of a sample among all those of a seed has 32 bits.
        (Some(n), None) if u32::try_from(n).is_err() => {
            return Err(Usage(format!(
                "-n {n} is more than 2^32 − 1 samples of one seed; use several seeds"
            ))
            .into());
        }
        (Some(n), _) => n,
        (None, Some(from)) => from.rows(),
        (None, None) => SAMPLES,
    };
    let source = match (&from, args.source.as_deref().or(model.source.as_deref())) {
        (None, Some(name)) => Some(open_source(name, args.source.is_some())?),
        _ => None,
    };
    let device = context.device()?;
    let solver = options.solver.name;
    let mut ready = Sampler::new(&device, &model, source.as_ref(), options)?;
    ready.stop_when(interrupt::requested);
    // Whether noise is at t = 0.
    let gaussian = args.source.is_none() && model.source.is_none();
    let mut flow = Flow { context, args, sampler: ready, from, gaussian };
    let begun = Instant::now();
    flow.write(number).map_err(|error| match error.downcast_ref() {
        Some(Error::Interrupted) => interrupt::Interrupted("nothing was written".to_owned()).into(),
        _ => error,
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let speed = number as f64 / seconds;
    context.say(&format!(
        "sampled   {} points of dimension {} with {} steps of {solver} in {} ({} samples/s)",
        count(number),
        model.architecture.dim,
        args.steps,
        duration(Duration::from_secs_f64(seconds)),
        approximately(speed)
    ));
    context.say(&format!("wrote     {}", args.out.display()));
    if let Some(trajectory) = &args.trajectory {
        context.say(&format!("          {}", trajectory.display()));
    }
    context.object(&Summary {
        schema: 1,
        model: &args.model,
        samples: number,
        dim: model.architecture.dim,
        solver,
        steps: args.steps,
        t0: args.t0,
        t1: args.t1,
        seed: context.seed(),
        out: &args.out,
        trajectory: args.trajectory.as_deref(),
        seconds,
        samples_per_second: speed,
        adapter: Adapter::of(&device),
    })
}

/// Points of the model's dimension from a file.
pub fn points(path: &Path, model: &Model) -> anyhow::Result<Array> {
    let array = read_array(path)?;
    let dim = model.architecture.dim;
    if array.row_len() != dim {
        return Err(Error::input(
            path.display().to_string(),
            format!("its rows have {} values and the model's points {dim}", array.row_len()),
            "give points of the model's dimension",
        )
        .into());
    }
    Ok(array)
}

/// The names of a model's columns.
pub fn columns(model: &Model) -> Vec<String> {
    let dim = model.architecture.dim;
    if model.columns.len() == dim { model.columns.clone() } else { default_columns(dim) }
}

fn open_source(name: &str, given: bool) -> anyhow::Result<Dataset> {
    Dataset::open(name).map_err(|error| {
        if given {
            error.into()
        } else {
            anyhow::anyhow!("the model starts from the data set `{name}`: {error}; if it has moved, say where with --source")
        }
    })
}

/// A model with what it carries, from where to where.
struct Flow<'a> {
    context: &'a Context,
    args: &'a Args,
    sampler: Sampler,
    from: Option<Array>,
    gaussian: bool,
}

impl Flow<'_> {
    /// Whether points at `t` are read and written as the network sees them.
    fn is_raw(&self, t: f32) -> bool {
        self.args.raw || (self.gaussian && t == 0.0)
    }

    /// Carries `samples` points and writes them, a chunk at a time.
    fn write(&mut self, samples: usize) -> anyhow::Result<()> {
        let args = self.args;
        let dim = self.sampler.model().architecture.dim;
        let states = args.steps as usize + 1;
        let columns = columns(self.sampler.model());
        let mut out = ArrayWriter::create(&args.out, &[samples, dim], &columns)?;
        let trajectory = args.trajectory.as_ref();
        let mut trajectory = trajectory
            .map(|path| ArrayWriter::create(path, &[samples, states, dim], &columns))
            .transpose()?;
        let mut chunk = self.sampler.chunk_rows().min(CHUNK);
        if trajectory.is_some() {
            chunk = chunk.min((TRAJECTORY_FLOATS / (states * dim)).max(1));
        }
        let begun = Instant::now();
        let mut progress = self.context.progress(0, samples as u64);
        let mut rate = Rate::default();
        rate.push(Duration::ZERO, 0);
        let mut first = 0;
        while first < samples {
            interrupt::check("nothing was written")?;
            let rows = chunk.min(samples - first);
            let mut points = match &mut trajectory {
                Some(trajectory) => {
                    let mut paths = self.paths(first, rows)?;
                    let ends = paths.chunks_exact(states * dim).flat_map(|path| &path[(states - 1) * dim..]);
                    let ends: Vec<f32> = ends.copied().collect();
                    if !args.raw {
                        self.sampler.to_data_units(&mut paths);
                    }
                    trajectory.write_rows(&paths)?;
                    ends
                }
                None => match self.start(first, rows) {
                    Some(points) => self.sampler.carry(&points)?,
                    None => self.sampler.sample(first as u64, rows)?,
                },
            };
            if !self.is_raw(args.t1) {
                self.sampler.to_data_units(&mut points);
            }
            out.write_rows(&points)?;
            first += rows;
            rate.push(begun.elapsed(), first as u64);
            progress.show(first as u64, || {
                let speed = rate.per_second().unwrap_or_default();
                let left = rate.time_for((samples - first) as u64).unwrap_or_default();
                format!("{} samples/s  {} left", approximately(speed), duration(left))
            });
        }
        interrupt::check("nothing was written")?;
        out.finish()?;
        trajectory.map_or(Ok(()), ArrayWriter::finish)?;
        Ok(())
    }

    /// The states of a chunk, as the network sees them.
    fn paths(&mut self, first: usize, rows: usize) -> windfield::Result<Vec<f32>> {
        match self.start(first, rows) {
            Some(points) => self.sampler.carry_trajectory(&points),
            None => self.sampler.sample_trajectory(first as u64, rows),
        }
    }

    /// The given points of a chunk, as the network sees them, if points were given.
    fn start(&self, first: usize, rows: usize) -> Option<Vec<f32>> {
        let dim = self.sampler.model().architecture.dim;
        let mut points = self.from.as_ref()?.values[first * dim..(first + rows) * dim].to_vec();
        if !self.is_raw(self.args.t0) {
            self.sampler.to_network_units(&mut points);
        }
        Some(points)
    }
}
