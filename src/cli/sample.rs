//! `windfield sample`: any number of points along a model's flow, streamed to a file chunk by chunk.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use windfield::Error;
use windfield::data::{
    Array, ArrayWriter, Dataset, Preparation, RowForm, default_columns, is_array_file, read_array,
};
use windfield::flow::{Diffusion, Expression, Grid, Method, Solver};
use windfield::model::{Model, Task};
use windfield::report::{Rate, approximately, counted, duration};
use windfield::sample::{Flow, SampleOptions, Sampler, Start};

use super::flags::{self, ConditionArgs, DivergenceArgs, PathArgs, SolverArgs};
use super::{Adapter, Context, Usage, interrupt};

/// Samples where no other number is asked for.
const SAMPLES: usize = 10_000;
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
#[command(mut_arg("path", |arg| arg
    .help("Follow the model through the schedule of this path instead of its own")
    .long_help("Follow the model through the schedule of this path instead of its own.\n\nTwo Gaussian paths with the \
        same ratio a/b differ by a scale alone, so a model of one is a model of the other: the ends are the same, the \
        way and its times are not. For solvers with fixed steps.")))]
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
    #[command(flatten)]
    condition: ConditionArgs,
    #[command(flatten)]
    solver: SolverArgs,
    /// Where to begin: 0 is noise, 1 is data
    #[arg(long, value_name = "T", help_heading = "Integration", default_value_t = SampleOptions::default().t0)]
    t0: f32,
    /// Where to end; smaller than --t0: backwards in time
    #[arg(long, value_name = "T", help_heading = "Integration", default_value_t = SampleOptions::default().t1)]
    t1: f32,
    /// g(t) of the stochastic flow dx = (v + g²/2·score) dt + g dW (euler-maruyama): an expression of t
    ///
    /// Its marginals are those of the flow itself, whatever g is, as far as the velocity is the marginal field of the
    /// model's path; what a model lacks of that shows. [default: 1 - t]
    #[arg(long, value_name = "EXPR", help_heading = "Integration", allow_hyphen_values = true)]
    diffusion: Option<String>,
    #[command(flatten)]
    path: PathArgs,
    /// Write log p of each point at --t1 as well, in nats: shape [n], or a column `log_density`
    ///
    /// The change of variables (eq. 4), in the units in which the points are written. Needs --t0 0 and a model that
    /// starts from noise.
    #[arg(long, value_name = "FILE", help_heading = "Density")]
    log_density: Option<PathBuf>,
    #[command(flatten)]
    divergence: DivergenceArgs,
    /// The file for the points at --t1: .npy, .csv, .tsv or .parquet, or a folder for images
    ///
    /// A table has the columns of the model's data, in their order and of their kinds; .npy holds the numbers that the
    /// network makes of them. A new or empty folder, whose name ends in a slash, gets a PNG for each sample.
    #[arg(long, short, value_name = "FILE", help_heading = "Output", default_value = "samples.npy")]
    out: PathBuf,
    /// Write all states as well: .npy of shape [n, steps + 1, d]
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    trajectory: Option<PathBuf>,
    /// Write how often the velocity was evaluated for each point (NFE): shape [n], or a column `evaluations`
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    evaluations: Option<PathBuf>,
    /// Points in the model's own, standardised coordinates
    #[arg(long, help_heading = "Output")]
    raw: bool,
}

/// What belongs to `--log-density`.
const DENSITY: [&str; 3] = ["divergence", "probes", "probe-distribution"];

/// What `--json` prints.
#[derive(Serialize)]
struct Summary<'a> {
    schema: u32,
    model: &'a Path,
    samples: usize,
    dim: usize,
    solver: &'static str,
    steps: u32,
    grid: String,
    path: String,
    t0: f32,
    t1: f32,
    seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<String>,
    out: &'a Path,
    trajectory: Option<&'a Path>,
    log_density: Option<&'a Path>,
    evaluations: &'a Evaluations,
    seconds: f64,
    samples_per_second: f64,
    adapter: Adapter,
    kernels: &'static str,
    /// Whether they were measured to be the fastest.
    tuned: bool,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    interrupt::watch()?;
    let whole = Model::load(&args.model)?;
    let model = args.condition.of(&whole)?;
    let options = options(args, context)?;
    let (t0, t1) = (options.t0, options.t1);
    if args.from.is_none() && t0 != 0.0 {
        return Err(Usage(format!("the noise is at t = 0, not {t0}; give points with --from")).into());
    }
    if args.log_density.is_some() && t0 != 0.0 {
        return Err(
            Usage(format!("the density is known at t = 0, not at {t0}; see `windfield likelihood`")).into()
        );
    }
    distinct_files(args)?;
    let (table, absent) = args.condition.table(&whole)?;
    let noise = t0 == 0.0 && args.source.is_none() && model.source.is_none();
    let plain = args.raw || noise;
    let from = args.from.as_deref().map(|path| points(path, &model, plain)).transpose()?;
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
        (None, Some(name)) => Some(open_source(name, args.source.is_some(), model.preparation.as_ref())?),
        _ => None,
    };
    let device = context.device_for_networks()?;
    let (solver, steps, grid) = (options.solver, options.steps, options.grid.to_string());
    let path = options.through.as_ref().unwrap_or(&model.path).name();
    if let Some(path) = &options.through {
        flags::note(context, path);
    }
    note_steep_schedule(&options, context);
    let work = (Task::of(solver, options.divergence), &model.architecture, number);
    let (mut ready, tuned) = context.tuned(&device, options.kernels, work, |kernels| {
        Sampler::new(&device, &model, source.as_ref(), SampleOptions { kernels, ..options.clone() })
    })?;
    ready.stop_when(interrupt::requested);
    // Whether noise is at t = 0.
    let gaussian = args.source.is_none() && model.source.is_none();
    let evaluations = Evaluations::default();
    let mut flow = Carrier { context, args, sampler: ready, from, table, gaussian, evaluations };
    let begun = Instant::now();
    flow.write(number).map_err(|error| interrupt::explain(error, "nothing was written"))?;
    let seconds = begun.elapsed().as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let speed = number as f64 / seconds;
    context.say(&format!(
        "sampled   {} of dimension {} with {} in {} ({} samples/s)",
        counted(number, "point", "points"),
        model.architecture.dim,
        flow.evaluations.describe(solver, steps),
        duration(Duration::from_secs_f64(seconds)),
        approximately(speed)
    ));
    if !args.raw && !flow.is_noise(t1) {
        note_absent(&args.out, &absent, context);
    }
    say_files(args, context);
    context.object(&Summary {
        schema: 1,
        model: &args.model,
        samples: number,
        dim: model.architecture.dim,
        solver: solver.name,
        steps,
        grid,
        path,
        t0,
        t1,
        seed: context.seed(),
        condition: args.condition.describe(),
        out: &args.out,
        trajectory: args.trajectory.as_deref(),
        log_density: args.log_density.as_deref(),
        evaluations: &flow.evaluations,
        seconds,
        samples_per_second: speed,
        adapter: Adapter::of(&device),
        kernels: flow.sampler.kernels().name(),
        tuned,
    })
}

/// Columns of the data that a table has not, since nothing says what to fill them with.
fn note_absent(out: &Path, absent: &[&str], context: &Context) {
    let is_table = is_array_file(out) && out.extension().is_some_and(|it| !it.eq_ignore_ascii_case("npy"));
    if is_table && !absent.is_empty() {
        let columns: Vec<String> = absent.iter().map(|name| format!("`{name}`")).collect();
        let columns = columns.join(", ");
        context.say(&format!("note      left out, for want of a --condition: columns {columns}"));
    }
}

/// Where everything is.
fn say_files(args: &Args, context: &Context) {
    context.say(&format!("wrote     {}", args.out.display()));
    if let Some(trajectory) = &args.trajectory {
        context.say(&format!("          {}", trajectory.display()));
    }
    if let Some(density) = &args.log_density {
        context.say(&format!("          {}: log densities, in nats", density.display()));
    }
    if let Some(counts) = &args.evaluations {
        context.say(&format!("          {}: evaluations of the velocity", counts.display()));
    }
}

/// How to integrate, from the flags.
fn options(args: &Args, context: &Context) -> anyhow::Result<SampleOptions> {
    let mut options = args.solver.options(context, args.t0, args.t1)?;
    if args.log_density.is_some() {
        options.divergence = Some(args.divergence.divergence()?);
    } else if let Some(name) = DENSITY.iter().find(|name| context.typed(name)) {
        return Err(Usage(format!("--{name} goes with --log-density FILE")).into());
    }
    if args.path.is_given() {
        options.through = Some(args.path.path()?);
    }
    if args.diffusion.is_some() || options.solver.method == Method::Stochastic {
        let text = args.diffusion.as_deref().unwrap_or("1 - t");
        let expression = Expression::parse(text, &args.path.constants()).map_err(Usage::of)?;
        options.diffusion = Some(Diffusion::new(move |t| expression.evaluate(t)));
    }
    options.validate().map_err(Usage::of)?;
    Ok(options)
}

/// No two outputs may go to one file.
fn distinct_files(args: &Args) -> anyhow::Result<()> {
    let files = [
        ("--out", Some(&args.out)),
        ("--trajectory", args.trajectory.as_ref()),
        ("--log-density", args.log_density.as_ref()),
        ("--evaluations", args.evaluations.as_ref()),
    ];
    for (i, (first, path)) in files.iter().enumerate() {
        if let Some((second, _)) = files[i + 1..].iter().find(|(_, other)| path.is_some() && other == path) {
            return Err(Usage(format!("{first} and {second} name the same file; give two")).into());
        }
    }
    Ok(())
}

/// Equal steps are too long where a schedule is steep.
fn note_steep_schedule(options: &SampleOptions, context: &Context) {
    if let Some(path) = options.through.as_ref().filter(|path| path.t_max() < 1.0)
        && options.grid == Grid::Uniform
    {
        context.say(&format!(
            "note      the schedule of `{}` is steep at t = 1; --grid cosine has short steps there",
            path.name()
        ));
    }
}

/// Points of the model's dimension from a file: numbers, or a table of the model's columns unless it is `plain`.
pub fn points(path: &Path, model: &Model, plain: bool) -> anyhow::Result<Array> {
    let mut array = prepared(path, model.preparation.as_ref().filter(|_| !plain))?;
    let dim = model.architecture.dim;
    // A table with more columns than the model's, such as its labels.
    let names = array.columns.iter().flatten();
    let at: Vec<usize> =
        (model.columns.iter()).filter_map(|wanted| names.clone().position(|name| name == wanted)).collect();
    if array.row_len() > dim && at.len() == dim {
        let rows = array.values.chunks_exact(array.row_len());
        array.values = rows.flat_map(|row| at.iter().map(|at| row[*at])).collect();
        array.shape = vec![array.rows(), dim];
        array.columns = Some(model.columns.clone());
    }
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

/// The rows of a file, made as those of a table were, if it was one.
pub fn prepared(path: &Path, preparation: Option<&Preparation>) -> anyhow::Result<Array> {
    if preparation.and_then(Preparation::columns).is_none() && !path.is_dir() {
        return Ok(read_array(path)?);
    }
    let data = Dataset::open_rows_as(&path.display().to_string(), preparation)?;
    let (shape, columns) = (vec![data.rows(), data.dim()], Some(data.columns().to_vec()));
    Ok(Array { values: data.into_values(), shape, columns })
}

/// The names of a model's columns.
pub fn columns(model: &Model) -> Vec<String> {
    let dim = model.architecture.dim;
    if model.columns.len() == dim { model.columns.clone() } else { default_columns(dim) }
}

/// Opens the data set that a model starts from.
pub fn open_source(name: &str, given: bool, preparation: Option<&Preparation>) -> anyhow::Result<Dataset> {
    Dataset::open_as(name, preparation).map_err(|error| {
        if given {
            error.into()
        } else {
            anyhow::anyhow!("the model starts from the data set `{name}`: {error}; if it has moved, say where with --source")
        }
    })
}

/// Evaluations of the velocity (NFE), counted over particles.
#[derive(Debug, Default, Serialize)]
pub struct Evaluations {
    particles: u64,
    total: u64,
    least: u32,
    most: u32,
    accepted: u64,
    rejected: u64,
}

impl Evaluations {
    /// Counts those of a chunk.
    pub fn add(&mut self, flow: &Flow) {
        let sum = |counts: &[u32]| counts.iter().map(|count| u64::from(*count)).sum::<u64>();
        let least = flow.evaluations.iter().min().copied().unwrap_or_default();
        self.least = if self.particles == 0 { least } else { self.least.min(least) };
        self.most = self.most.max(flow.evaluations.iter().max().copied().unwrap_or_default());
        self.particles += flow.evaluations.len() as u64;
        self.total += sum(&flow.evaluations);
        self.accepted += sum(&flow.accepted);
        self.rejected += sum(&flow.rejected);
    }

    /// How it was integrated, for people.
    pub fn describe(&self, solver: &Solver, steps: u32) -> String {
        if !solver.is_adaptive() {
            return format!("{} of {}", counted(steps, "step", "steps"), solver.name);
        }
        #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let mean = |total: u64| total as f64 / self.particles.max(1) as f64;
        format!(
            "{}, {:.1} evaluations a particle ({} to {}; {:.1} steps, {:.2} more rejected)",
            solver.name,
            mean(self.total),
            self.least,
            self.most,
            mean(self.accepted),
            mean(self.rejected)
        )
    }
}

/// A model with what it carries, from where to where.
struct Carrier<'a> {
    context: &'a Context,
    args: &'a Args,
    sampler: Sampler,
    from: Option<Array>,
    /// What the points are in a table.
    table: Option<Preparation>,
    gaussian: bool,
    evaluations: Evaluations,
}

impl Carrier<'_> {
    /// Whether there is standard noise at `t`, which is read and written as it is.
    fn is_noise(&self, t: f32) -> bool {
        self.gaussian && t == 0.0
    }

    /// Carries `samples` points and writes them, a chunk at a time.
    fn write(&mut self, samples: usize) -> anyhow::Result<()> {
        let args = self.args;
        let dim = self.sampler.model().architecture.dim;
        let (t1, states) = (self.sampler.options().t1, self.sampler.options().steps as usize + 1);
        let columns = columns(self.sampler.model());
        let model = self.sampler.model();
        // Noise and the network's own units are numbers of no column.
        let preparation = self.table.as_ref().filter(|_| !args.raw && !self.is_noise(t1));
        let form = RowForm { columns: &columns, preparation, image: model.image };
        let mut out = ArrayWriter::create_rows(&args.out, samples, &form)?;
        let create = |path: Option<&PathBuf>, shape: &[usize], columns: &[String]| {
            path.map(|path| ArrayWriter::create(path, shape, columns)).transpose()
        };
        let mut trajectory = create(args.trajectory.as_ref(), &[samples, states, dim], &columns)?;
        let mut densities = create(args.log_density.as_ref(), &[samples], &["log_density".to_owned()])?;
        let mut counts = create(args.evaluations.as_ref(), &[samples], &["evaluations".to_owned()])?;
        let mut chunk = self.sampler.chunk_rows().min(CHUNK);
        if trajectory.is_some() {
            chunk = chunk.min(self.sampler.trajectory_chunk());
        }
        let begun = Instant::now();
        let mut progress = self.context.progress(0, samples as u64);
        let mut rate = Rate::default();
        rate.push(Duration::ZERO, 0);
        let mut first = 0;
        while first < samples {
            interrupt::check("nothing was written")?;
            let rows = chunk.min(samples - first);
            let given = self.start(first, rows);
            let number = first as u64;
            let start = match &given {
                Some(values) => Start::Points { first: number, values },
                None => Start::Samples { first: number, rows },
            };
            let mut flow = self.sampler.flow(start, trajectory.is_some())?;
            self.evaluations.add(&flow);
            if let Some(counts) = &mut counts {
                #[allow(clippy::cast_precision_loss, reason = "files hold float32, exact up to 2^24")]
                let values: Vec<f32> = flow.evaluations.iter().map(|count| *count as f32).collect();
                counts.write_rows(&values)?;
            }
            if let Some(densities) = &mut densities {
                let density = self.sampler.log_density(&flow, args.raw)?;
                #[allow(clippy::cast_possible_truncation, reason = "files hold float32")]
                let values: Vec<f32> = density.values.iter().map(|value| *value as f32).collect();
                densities.write_rows(&values)?;
            }
            if let Some(trajectory) = &mut trajectory {
                if !args.raw {
                    self.sampler.to_data_units(&mut flow.trajectory);
                }
                trajectory.write_rows(&flow.trajectory)?;
            }
            if self.is_noise(t1) {
                let std = self.sampler.source_std();
                for x in &mut flow.points {
                    *x /= std;
                }
            } else if !args.raw {
                self.sampler.to_data_units(&mut flow.points);
            }
            out.write_rows(&flow.points)?;
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
        densities.map_or(Ok(()), ArrayWriter::finish)?;
        counts.map_or(Ok(()), ArrayWriter::finish)?;
        Ok(())
    }

    /// The given points of a chunk, as the network sees them, if points were given.
    fn start(&self, first: usize, rows: usize) -> Option<Vec<f32>> {
        let dim = self.sampler.model().architecture.dim;
        let mut points = self.from.as_ref()?.values[first * dim..(first + rows) * dim].to_vec();
        if self.is_noise(self.sampler.options().t0) {
            let std = self.sampler.source_std();
            for x in &mut points {
                *x *= std;
            }
        } else if !self.args.raw {
            self.sampler.to_network_units(&mut points);
        }
        Some(points)
    }
}
