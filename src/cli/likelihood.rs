//! `windfield likelihood`: log p(x) of every row of a data set, by the change of variables.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use windfield::Error;
use windfield::data::{ArrayWriter, Dataset};
use windfield::flow::Divergence;
use windfield::model::{Model, Task};
use windfield::report::{Rate, approximately, count, duration};
use windfield::sample::{SampleOptions, Sampler, Start};

use super::flags::{self, ConditionArgs, DivergenceArgs, SolverArgs};
use super::sample::Evaluations;
use super::{Adapter, Context, Usage, interrupt};

/// log p(x) in nats of each row of the data
///
/// Each row is carried back from t = 1 to t = 0 along the flow, with the divergence of the velocity integrated on the
/// way: log p(x) = log N(x(0)) − ∫ div v dt (eq. 4). The density is with respect to the units of the data.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
#[command(mut_arg("solver", |arg| arg.default_value("dopri5").value_parser(flags::solvers_of_flows())))]
#[command(mut_arg("rtol", |arg| arg.default_value("1e-5")))]
#[command(mut_arg("atol", |arg| arg.default_value("1e-5")))]
#[command(mut_arg("steps", |arg| arg.help("Steps, of a solver with fixed steps")))]
pub struct Args {
    /// The model file that `windfield train` wrote
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The data: a built-in name, `name:N`, or a file
    #[arg(long, value_name = "SOURCE", help_heading = "Data", long_help = flags::source_help("The data"))]
    data: String,
    #[command(flatten)]
    condition: ConditionArgs,
    #[command(flatten)]
    solver: SolverArgs,
    #[command(flatten)]
    divergence: DivergenceArgs,
    /// The file for the log-densities: shape [n], or a column `log_density`
    #[arg(long, short, value_name = "FILE", help_heading = "Output", default_value = "log_density.npy")]
    out: PathBuf,
    /// Write the standard error of each as well, with --divergence hutchinson and two probes at least
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    standard_error: Option<PathBuf>,
    /// Report the mean in bits for each dimension as well: −log2 p / d
    #[arg(long, help_heading = "Output")]
    bits_per_dim: bool,
    /// Data and densities in the model's own, standardised coordinates
    #[arg(long, help_heading = "Output")]
    raw: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Summary<'a> {
    schema: u32,
    model: &'a Path,
    data: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<String>,
    rows: usize,
    dim: usize,
    /// Of log p over the rows, in nats.
    mean: f64,
    /// Of that mean, over the rows.
    standard_error: Option<f64>,
    /// The mean over the rows of each row's own, of random probes.
    probe_standard_error: Option<f64>,
    bits_per_dim: f64,
    solver: &'static str,
    evaluations: &'a Evaluations,
    out: &'a Path,
    seconds: f64,
    adapter: Adapter,
    kernels: &'static str,
    /// Whether they were measured to be the fastest.
    tuned: bool,
}

/// Sums over the rows.
#[derive(Default)]
struct Sums {
    rows: usize,
    log: f64,
    square: f64,
    probe_error: Option<f64>,
}

#[allow(clippy::too_many_lines, reason = "in the order of what happens")]
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    interrupt::watch()?;
    let trained = Model::load(&args.model)?;
    let model = args.condition.of(&trained)?;
    let mut options = args.solver.options(context, 1.0, 0.0)?;
    let divergence = args.divergence.divergence()?;
    options.divergence = Some(divergence);
    options.validate().map_err(Usage::of)?;
    if options.t0 <= options.t1 || options.t1 != 0.0 {
        return Err(Usage(format!(
            "the grid goes from {} to {}, and a likelihood from the data at 1 back to the noise at 0",
            options.t0, options.t1
        ))
        .into());
    }
    let probes = match divergence {
        Divergence::Hutchinson { probes, .. } => probes,
        Divergence::Exact => 0,
    };
    if args.standard_error.is_some() && probes < 2 {
        return Err(
            Usage("--standard-error needs --divergence hutchinson with --probes 2 or more".into()).into()
        );
    }
    if args.standard_error.as_ref() == Some(&args.out) {
        return Err(Usage("--out and --standard-error name the same file; give two".into()).into());
    }
    if model.source.is_some() {
        return Err(Error::input(
            args.model.display().to_string(),
            "it starts from a data set, whose density is not known",
            "likelihoods need a model that was trained from Gaussian noise",
        )
        .into());
    }
    // Densities of the network's own coordinates are of numbers.
    let preparation = model.preparation.as_ref().filter(|_| !args.raw);
    let data = flags::open_for(&trained, &args.data, (preparation, true))?;
    let dim = model.architecture.dim;
    if data.dim() != dim {
        return Err(Error::input(
            data.name(),
            format!("its rows have {} values and the model's points {dim}", data.dim()),
            "give data of the model's dimension",
        )
        .into());
    }
    let device = context.device_for_networks()?;
    let solver = options.solver;
    let steps = options.steps;
    let work = (Task::of(solver, options.divergence), &model.architecture, data.rows());
    let (mut sampler, tuned) = context.tuned(&device, options.kernels, work, |kernels| {
        Sampler::new(&device, &model, None, SampleOptions { kernels, ..options.clone() })
    })?;
    sampler.stop_when(interrupt::requested);
    let begun = Instant::now();
    let mut evaluations = Evaluations::default();
    let sums = write(args, context, &data, &mut sampler, &mut evaluations)
        .map_err(|error| interrupt::explain(error, "nothing was written"))?;
    let seconds = begun.elapsed().as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let (rows, dims) = (sums.rows as f64, dim as f64);
    let mean = sums.log / rows;
    let variance = (sums.square / rows - mean * mean).max(0.0);
    let standard_error = (sums.rows > 1).then(|| (variance / (rows - 1.0)).sqrt());
    let bits = -mean / (std::f64::consts::LN_2 * dims);
    let probe_error = sums.probe_error.map(|sum| sum / rows);
    let spread = standard_error.map_or(String::new(), |error| format!(" ± {error:.4}"));
    let of_probes =
        probe_error.map_or(String::new(), |error| format!("; probes add ± {error:.4} to each row"));
    let in_bits = if args.bits_per_dim { format!(", {bits:.4} bits/dim") } else { String::new() };
    context.say(&format!(
        "log p     {mean:.4}{spread} nats{in_bits}: the mean over {} rows of `{}`{of_probes}",
        count(sums.rows),
        data.name()
    ));
    context.say(&format!(
        "          {} in {}",
        evaluations.describe(solver, steps),
        duration(Duration::from_secs_f64(seconds))
    ));
    context.say(&format!("wrote     {}", args.out.display()));
    if let Some(path) = &args.standard_error {
        context.say(&format!("          {}", path.display()));
    }
    context.object(&Summary {
        schema: 1,
        model: &args.model,
        data: data.name(),
        condition: args.condition.describe(),
        rows: sums.rows,
        dim,
        mean,
        standard_error,
        probe_standard_error: probe_error,
        bits_per_dim: bits,
        solver: solver.name,
        evaluations: &evaluations,
        out: &args.out,
        seconds,
        adapter: Adapter::of(&device),
        kernels: sampler.kernels().name(),
        tuned,
    })
}

/// Goes over the rows, a chunk at a time.
fn write(
    args: &Args,
    context: &Context,
    data: &Dataset,
    sampler: &mut Sampler,
    evaluations: &mut Evaluations,
) -> anyhow::Result<Sums> {
    let (rows, dim) = (data.rows(), data.dim());
    let mut out = ArrayWriter::create(&args.out, &[rows], &["log_density".to_owned()])?;
    let mut errors = args
        .standard_error
        .as_ref()
        .map(|path| ArrayWriter::create(path, &[rows], &["standard_error".to_owned()]))
        .transpose()?;
    let mut progress = context.progress(0, rows as u64);
    let mut rate = Rate::default();
    rate.push(Duration::ZERO, 0);
    let begun = Instant::now();
    let mut sums = Sums::default();
    #[allow(clippy::cast_possible_truncation, reason = "files hold float32")]
    let narrow = |values: &[f64]| values.iter().map(|value| *value as f32).collect::<Vec<f32>>();
    for chunk in data.values().chunks(sampler.chunk_rows() * dim) {
        interrupt::check("nothing was written")?;
        let mut points = chunk.to_vec();
        if !args.raw {
            sampler.to_network_units(&mut points);
        }
        let flow = sampler.flow(Start::Points { first: sums.rows as u64, values: &points }, false)?;
        evaluations.add(&flow);
        let density = sampler.log_density(&flow, args.raw)?;
        out.write_rows(&narrow(&density.values))?;
        if let Some(error) = &density.standard_error {
            *sums.probe_error.get_or_insert(0.0) += error.iter().sum::<f64>();
            if let Some(errors) = &mut errors {
                errors.write_rows(&narrow(error))?;
            }
        }
        sums.rows += density.values.len();
        sums.log += density.values.iter().sum::<f64>();
        sums.square += density.values.iter().map(|value| value * value).sum::<f64>();
        rate.push(begun.elapsed(), sums.rows as u64);
        progress.show(sums.rows as u64, || {
            let speed = rate.per_second().unwrap_or_default();
            let left = rate.time_for((rows - sums.rows) as u64).unwrap_or_default();
            format!("{} rows/s  {} left", approximately(speed), duration(left))
        });
    }
    interrupt::check("nothing was written")?;
    out.finish()?;
    errors.map_or(Ok(()), ArrayWriter::finish)?;
    progress.clear();
    Ok(sums)
}
