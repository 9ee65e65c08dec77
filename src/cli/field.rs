//! `windfield field`: the velocity at given points, of a model or of a data set.

use std::path::{Path, PathBuf};

use serde::Serialize;
use windfield::Error;
use windfield::data::{Array, ArrayWriter, Dataset};
use windfield::flow::{Marginal, QUANTITIES, Quantity};
use windfield::model::Model;
use windfield::report::{counted, pictures};
use windfield::sample::{Kernels, SampleOptions, Sampler};

use super::flags::{self, ConditionArgs, PathArgs, StandardizeArgs};
use super::{Adapter, Context, Usage, interrupt, sample};

/// Points of a chunk, at most.
const CHUNK: usize = 1 << 18;

/// Velocities at given points: of a model, or the exact marginal field of a data set
///
/// Points are in data units and velocities in data units a unit of time, unless --raw asks for the standardised
/// coordinates in which models are trained.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
#[command(
    after_long_help = "With --data, nothing is learnt: the velocity is the mean of the conditional velocities over all rows of the data, \
    weighted by how likely each row is to pass through the point (eq. 6), and the density is the mean of theirs (eq. 5). \
    A perfect model of these data, trained with the same --path, --sigma-min and --standardize or --no-standardize, has this field.\n\n\
    Unless --no-standardize is given, the path is laid from N(0, I) to the standardised data, as `windfield train` does; \
    velocities and log densities are converted to the units in which the points are given.\n\n\
    Accuracy, against float64 for the data and points as they are in their files: the log density is within 2e-6 nats \
    in two dimensions and 2e-5 in 64, apart from the rounding of the file that is written, and the velocity within 1e-6 \
    of the largest one, at every time up to t = 1 of the path `ot`, standardised or not. (Training rounds the standardised data to float32, which moves them by some 6e-8 of a \
    deviation: the field that a network finds is that of the rounded data.) Where b(t) is 0 there is no density: that \
    time is refused."
)]
pub struct Args {
    /// The model file that `windfield train` wrote
    #[arg(value_name = "MODEL", required_unless_present = "data", conflicts_with = "data")]
    model: Option<PathBuf>,
    /// The exact marginal field of these data: a built-in name, `name:N`, or a file
    #[arg(long, value_name = "SOURCE", help_heading = "Data",
        long_help = flags::source_help("The exact marginal field of these data"))]
    data: Option<String>,
    #[command(flatten)]
    standardize: StandardizeArgs,
    #[command(flatten)]
    path: PathArgs,
    #[command(flatten)]
    condition: ConditionArgs,
    /// The points: a file of shape [n, d]
    #[arg(long, value_name = "FILE", help_heading = "Points")]
    points: PathBuf,
    /// The time, from 0 (noise) to 1 (data)
    #[arg(long, short, value_name = "T", help_heading = "Points")]
    time: f64,
    /// What of the field: its velocity, the score ∇ log p_t, the denoised point E[x1 | x], or the noise E[x0 | x]
    #[arg(long, value_name = "NAME", help_heading = "Output", value_parser = flags::quantities(), default_value = QUANTITIES[0].0)]
    quantity: String,
    /// The file for the velocities, or what --quantity says: .npy, .csv, .tsv or .parquet
    #[arg(long, short, value_name = "FILE", help_heading = "Output", default_value = "velocities.npy")]
    out: PathBuf,
    /// A file for log p_t at the points, in nats, with --data: shape [n], or a column `log_density`
    ///
    /// The density is with respect to the units in which the points are given.
    #[arg(long, value_name = "FILE", help_heading = "Output", requires = "data")]
    log_density: Option<PathBuf>,
    /// A picture of the field around the points, over their density (.png): of two columns
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    picture: Option<PathBuf>,
    /// Points, velocities and densities in standardised coordinates
    #[arg(long, help_heading = "Output")]
    raw: bool,
}

/// Beside a model, these flags have a meaning; all others say how a path to data is laid.
const WITH_MODEL: [&str; 13] = [
    "model",
    "condition",
    "guidance",
    "points",
    "time",
    "quantity",
    "out",
    "picture",
    "raw",
    "quiet",
    "json",
    "seed",
    "adapter",
];

/// What `--json` prints.
#[derive(Serialize)]
struct Summary<'a> {
    schema: u32,
    /// Null with --data.
    model: Option<&'a Path>,
    /// Null with a model.
    data: Option<&'a str>,
    /// Of the data.
    rows: Option<usize>,
    points: usize,
    dim: usize,
    time: f64,
    quantity: &'a str,
    out: &'a Path,
    log_density: Option<&'a Path>,
    adapter: Adapter,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    if !(0.0..=1.0).contains(&args.time) {
        return Err(Usage(format!("--time {} is not in [0, 1]; 0 is noise, 1 is data", args.time)).into());
    }
    if args.data.is_some() && args.condition.describe().is_some() {
        return Err(Usage("--condition goes with a model, not with --data; leave it out".into()).into());
    }
    match (&args.model, &args.data) {
        (Some(model), _) => of_model(args, model, context),
        (None, data) => of_data(args, data.as_deref().unwrap_or_default(), context),
    }
}

/// The field that a network has learnt.
fn of_model(args: &Args, path: &Path, context: &Context) -> anyhow::Result<()> {
    if let Some(name) = context.all_typed().iter().find(|name| !WITH_MODEL.contains(&name.as_str())) {
        return Err(Usage(format!(
            "--{name} belongs to the field of a data set; give --data instead of a model, or leave it out"
        ))
        .into());
    }
    let quantity = args.quantity.parse::<Quantity>().map_err(Usage::of)?;
    interrupt::watch()?;
    let model = args.condition.of(&Model::load(path)?)?;
    let points = sample::points(&args.points, &model, args.raw)?;
    let device = context.device()?;
    let options = SampleOptions { kernels: Kernels::Layered, ..SampleOptions::default() };
    let mut sampler = Sampler::new(&device, &model, None, options)?;
    let dim = model.architecture.dim;
    #[allow(clippy::cast_possible_truncation, reason = "the network computes in float32")]
    let time = args.time as f32;
    let piece = dim * sampler.chunk_rows().min(CHUNK);
    let mut out = ArrayWriter::create(&args.out, &[points.rows(), dim], &sample::columns(&model))?;
    let mut progress = context.progress(0, points.rows() as u64);
    let mut done = 0;
    let mut at = |points: &[f32]| {
        let mut points = points.to_vec();
        if !args.raw {
            sampler.to_network_units(&mut points);
        }
        let mut values = sampler.quantity(&points, time, quantity)?;
        if let Some(standardization) = model.standardization.as_ref().filter(|_| !args.raw) {
            quantity.to_data_units(&mut values, standardization);
        }
        Ok(values)
    };
    for chunk in points.values.chunks(piece) {
        interrupt::check("nothing was written")?;
        out.write_rows(&at(chunk)?)?;
        done += chunk.len() / dim;
        progress.show(done as u64, String::new);
    }
    picture(args, &points.values, dim, at)?;
    out.finish()?;
    progress.clear();
    say(args, context, points.rows());
    context.object(&Summary {
        schema: 1,
        model: Some(path),
        data: None,
        rows: None,
        points: points.rows(),
        dim,
        time: args.time,
        quantity: &args.quantity,
        out: &args.out,
        log_density: None,
        adapter: Adapter::of(&device),
    })
}

/// The field that a network is to learn.
fn of_data(args: &Args, name: &str, context: &Context) -> anyhow::Result<()> {
    let path = args.path.path()?;
    if args.log_density.as_ref() == Some(&args.out) {
        return Err(Usage("--out and --log-density name the same file; give two".into()).into());
    }
    let quantity = args.quantity.parse::<Quantity>().map_err(Usage::of)?;
    interrupt::watch()?;
    // Numbers are taken as they are, constant ones as well; only a table of words is prepared.
    let data = Dataset::open_as(name, None).or_else(|_| Dataset::open(name))?;
    let points = points(&args.points, &data)?;
    let dim = data.dim();
    let standardization = args.standardize.wanted().then(|| data.standardization());
    let device = context.device()?;
    flags::note(context, &path);
    let mut marginal = Marginal::new(&device, &data, standardization.as_ref(), &path)?;
    if args.raw {
        marginal = marginal.in_network_units();
    }
    marginal.stop_when(interrupt::requested);
    let mut out = ArrayWriter::create(&args.out, &[points.rows(), dim], data.columns())?;
    let column = ["log_density".to_owned()];
    let mut densities = args
        .log_density
        .as_ref()
        .map(|path| ArrayWriter::create(path, &[points.rows()], &column))
        .transpose()?;
    let mut progress = context.progress(0, points.rows() as u64);
    // A first answer tells how many points make a piece that progress can be shown of.
    let mut piece = 1024;
    let mut done = 0;
    while done < points.rows() {
        let end = (done + piece).min(points.rows());
        let begun = std::time::Instant::now();
        let field = marginal.quantity(&points.values[done * dim..end * dim], args.time, quantity);
        interrupt::check("nothing was written")?;
        let field = field?;
        out.write_rows(&field.velocities)?;
        if let Some(densities) = &mut densities {
            #[allow(clippy::cast_possible_truncation, reason = "files hold float32")]
            let logs: Vec<f32> = field.log_densities.iter().map(|&log| log as f32).collect();
            densities.write_rows(&logs)?;
        }
        done = end;
        if begun.elapsed().as_millis() < 500 {
            piece = (piece * 4).min(CHUNK);
        }
        progress.show(done as u64, String::new);
    }
    picture(args, &points.values, dim, |points| {
        Ok(marginal.quantity(points, args.time, quantity)?.velocities)
    })?;
    out.finish()?;
    if let Some(densities) = densities {
        densities.finish()?;
    }
    progress.clear();
    say(args, context, points.rows());
    context.object(&Summary {
        schema: 1,
        model: None,
        data: Some(data.name()),
        rows: Some(data.rows()),
        points: points.rows(),
        dim,
        time: args.time,
        quantity: &args.quantity,
        out: &args.out,
        log_density: args.log_density.as_deref(),
        adapter: Adapter::of(&device),
    })
}

/// Draws the field around the points, if a picture is asked for.
fn picture(
    args: &Args,
    points: &[f32],
    dim: usize,
    at: impl FnMut(&[f32]) -> windfield::Result<Vec<f32>>,
) -> anyhow::Result<()> {
    let Some(path) = &args.picture else { return Ok(()) };
    if dim != 2 {
        return Err(Error::input(
            path.display().to_string(),
            format!("a picture of a field has two dimensions, and the points have {dim}"),
            "leave --picture out",
        )
        .into());
    }
    let length = if args.quantity == QUANTITIES[0].0 { "speed" } else { &args.quantity };
    let image = pictures::field(points, args.time, length, at)?;
    interrupt::check("nothing was written")?;
    Ok(windfield::report::plot::save(&image, path)?)
}

fn say(args: &Args, context: &Context, points: usize) {
    let (one, many) = match args.quantity.as_str() {
        "velocity" => ("velocity", "velocities"),
        "score" => ("score", "scores"),
        "denoised" => ("denoised point", "denoised points"),
        _ => ("noise", "noises"),
    };
    let what = counted(points, one, many);
    context.say(&format!("wrote     {}: {what} at t = {}", args.out.display(), args.time));
    if let Some(path) = &args.log_density {
        context.say(&format!("          {}: their log densities, in nats", path.display()));
    }
    if let Some(path) = &args.picture {
        context.say(&format!("          {}", path.display()));
    }
}

/// The points, which have the data's dimension.
fn points(path: &Path, data: &Dataset) -> anyhow::Result<Array> {
    let array = sample::prepared(path, data.preparation().as_ref())?;
    if array.row_len() != data.dim() {
        return Err(Error::input(
            path.display().to_string(),
            format!("its rows have {} values and those of `{}` {}", array.row_len(), data.name(), data.dim()),
            "give points of the data's dimension",
        )
        .into());
    }
    Ok(array)
}
