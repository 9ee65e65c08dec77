//! `windfield train`: a model, its checkpoint, its history and its pictures, in one folder.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde::Serialize;
use windfield::data::{Conditions, Dataset, write_array};
use windfield::flow::Coupling;
use windfield::gpu::{Device, Dispatch, Work};
use windfield::measure::evaluate::{LIVE, Live, LiveValues};
use windfield::model::{Activation, Architecture, Kernels, Model, Task};
use windfield::report::{
    CONFIG_FORMAT, DataRecord, Events, Metrics, ModelRecord, Rate, RunConfig, RunFolder, Smoothed,
    approximately, count, counted, duration, pictures,
};
use windfield::train::{Checkpoint, CouplingReport, ExactLoss, Outcome, SCHEDULES, TrainOptions, Trainer};
use windfield::{Error, Result};

use super::flags::{self, FlowArgs, LabelArgs, PathArgs, StandardizeArgs};
use super::terminal::{typed, warn};
use super::{Adapter, Context, Interrupted, Usage, interrupt};

/// Rows of metrics in memory, at most.
const PENDING: usize = 100_000;
/// Of the training time, the part that checkpoints may take; where they are large, they become rarer.
const CHECKPOINT_SHARE: u32 = 20;

/// Train a model
///
/// Draws batches from the data and noise, and fits a multilayer perceptron to the velocity that carries one to the
/// other. Everything happens on the device. The folder of --out receives model.safetensors, checkpoint.safetensors,
/// metrics.csv, config.toml and pictures.
#[allow(clippy::struct_excessive_bools, reason = "flags")]
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
#[command(
    after_long_help = "ctrl-C stops after the steps on their way and leaves a checkpoint; --resume goes on from there.\n\n\
    With --ema 0 --clip 0 --weight-decay 0 --warmup 0 --schedule constant, training is plain Adam (0.9, 0.999, 1e-8) on the batches that `windfield batch` writes."
)]
pub struct Args {
    /// What to learn: a built-in name (checkerboard, moons, digits, …), `name:N`, or a file
    #[arg(long, value_name = "SOURCE", required_unless_present_any = ["resume", "from_model"], help_heading = "Data",
        long_help = flags::source_help("What to learn"))]
    data: Option<String>,
    /// What to begin with at t = 0 instead of the Gaussian
    #[arg(long, value_name = "SOURCE", help_heading = "Data")]
    source: Option<String>,
    /// What to do about values that are missing in a table; without, it is refused
    ///
    /// The model remembers it. `windfield likelihood` takes tables with missing values of a model with `mean`.
    #[arg(long, value_name = "HOW", help_heading = "Data", value_parser = flags::missing())]
    missing: Option<String>,
    #[command(flatten)]
    labels: LabelArgs,
    #[command(flatten)]
    standardize: StandardizeArgs,
    #[command(flatten)]
    flow: FlowArgs,
    /// Rounds of `reflow`: each begins with the model of the one before it and learns its pairs [default: 1]
    ///
    /// More than one are the runs round-1, round-2, … in --out, each with its pairs. --resume goes on with the last one,
    /// and with those that follow.
    #[arg(long, value_name = "ROUNDS", help_heading = "Flow", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,

    /// Widths of the hidden layers; `none` for a linear model
    #[arg(long, value_name = "WIDTHS", help_heading = "Network", default_value_t = Widths(TrainOptions::default().hidden))]
    hidden: Widths,
    /// Between the layers
    #[arg(long, value_name = "NAME", help_heading = "Network", value_parser = flags::activations(),
        default_value = Activation::default().name())]
    activation: String,
    /// Frequencies K of the time features sin 2πkt and cos 2πkt, k = 1..K; t itself is always one
    #[arg(long, value_name = "K", help_heading = "Network", default_value_t = TrainOptions::default().time_frequencies)]
    time_frequencies: usize,
    /// Begin with the weights of this model
    ///
    /// The network's shape is then the model's; --hidden, --activation and --time-frequencies may be left out. So may
    /// the path: without any of its flags, it is the model's too.
    #[arg(long, value_name = "MODEL", help_heading = "Network")]
    init: Option<PathBuf>,

    /// Rows of a batch
    #[arg(long, value_name = "ROWS", help_heading = "Optimisation", default_value_t = TrainOptions::default().batch)]
    batch: usize,
    /// Steps in all; 0 writes the initial model
    #[arg(long, value_name = "STEPS", help_heading = "Optimisation", default_value_t = TrainOptions::default().steps)]
    steps: u64,
    /// Learning rate of AdamW
    #[arg(long, value_name = "RATE", help_heading = "Optimisation", default_value_t = TrainOptions::default().lr)]
    lr: f32,
    /// How the learning rate falls after the warm-up
    #[arg(long, value_name = "NAME", help_heading = "Optimisation", value_parser = flags::schedules(),
        default_value = default_schedule())]
    schedule: String,
    /// Steps over which the learning rate rises to its full value; 0: off
    #[arg(long, value_name = "STEPS", help_heading = "Optimisation", default_value_t = TrainOptions::default().warmup)]
    warmup: u64,
    /// Decoupled weight decay; 0: off
    #[arg(long, value_name = "DECAY", help_heading = "Optimisation", default_value_t = TrainOptions::default().weight_decay)]
    weight_decay: f32,
    /// Largest norm of the gradient; 0: off
    #[arg(long, value_name = "NORM", help_heading = "Optimisation", default_value_t = TrainOptions::default().clip)]
    clip: f32,
    /// Decay of the moving average of the weights, which is what the model keeps; 0: off
    #[arg(long, value_name = "DECAY", help_heading = "Optimisation", default_value_t = TrainOptions::default().ema)]
    ema: f32,

    /// Which kernels evaluate the network
    ///
    /// The result depends on them up to rounding. config.toml says which ones were taken.
    #[arg(long, value_name = "NAME", help_heading = "Device", value_parser = flags::kernels_of_training(),
        default_value = Kernels::default().name())]
    kernels: String,

    /// The run's folder [default: runs/NAME of the data]
    ///
    /// A folder that holds a run is refused. The default takes the first name that is free: runs/NAME, runs/NAME-2, …
    #[arg(long, short, value_name = "DIR", help_heading = "Output")]
    out: Option<PathBuf>,
    /// Replace the run that is in --out
    #[arg(long, help_heading = "Output", requires = "out")]
    overwrite: bool,
    /// Go on with the run in DIR, with its own settings, to a total of --steps
    ///
    /// Under a constant schedule the result is, bit for bit, that of one uninterrupted run. Without --steps it goes
    /// on to the total that the run was begun with. --data says where the data have moved, if they have.
    #[arg(long, value_name = "DIR", help_heading = "Output", conflicts_with_all = ["out", "overwrite"])]
    resume: Option<PathBuf>,
    /// Steps between rows of metrics.csv
    #[arg(long, value_name = "STEPS", help_heading = "Output", default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..))]
    log_every: u64,
    /// Write the rows of metrics.csv for TensorBoard as well, into --out/tensorboard
    ///
    /// The scalars are the columns: loss, learning_rate, gradient_norm, l_fm and l_cfm with --exact-every, and those of
    /// --measure-every. `tensorboard --logdir runs` shows them while the run goes on. A resumed run goes on with a file of its own.
    #[arg(long, help_heading = "Output")]
    tensorboard: bool,
    /// Steps between measurements of the exact loss L_FM, how far the model is from the best field that there is; 0: off
    ///
    /// L_CFM, the loss that is trained on, is L_FM plus the floor C that no model can fall below (the crossing energy of
    /// data and path). All three are measured over one held-out batch, under the weights that are saved (the average,
    /// where averaging is on). They become the columns l_fm and l_cfm of metrics.csv, in the row of the step just made,
    /// and the lower panel of loss.png. Training itself is not changed in any bit.
    #[arg(long, value_name = "STEPS", help_heading = "Output", default_value_t = 0)]
    exact_every: u64,
    /// Rows of the held-out batch; its exact velocities are computed once, at the cost of these rows times those of the data
    #[arg(long, value_name = "ROWS", help_heading = "Output", default_value_t = TrainOptions::default().exact_rows)]
    exact_rows: usize,
    /// Steps between looks at how good and how straight the flow is meanwhile; 0: off
    #[arg(long, value_name = "STEPS", help_heading = "Output", default_value_t = 0, long_help = live_help())]
    measure_every: u64,
    /// Seconds between checkpoints; 0: only at the end
    ///
    /// Large models are saved less often, so that saving takes no more than a twentieth of the time.
    #[arg(long, value_name = "SECONDS", help_heading = "Output", default_value_t = 30.0)]
    checkpoint_every: f64,
    /// Draw no pictures
    #[arg(long, help_heading = "Output")]
    no_pictures: bool,
    /// Print the dispatches of a step with their shapes and FLOPs, and train nothing
    #[arg(long, help_heading = "Output")]
    explain: bool,
}

/// Beside --resume, these flags have a meaning; all others belong to a new run.
const WITH_RESUME: [&str; 11] = [
    "resume",
    "steps",
    "data",
    "source",
    "kernels",
    "checkpoint-every",
    "no-pictures",
    "tensorboard",
    "explain",
    "quiet",
    "json",
];

/// `--measure-every`, with the columns of its table.
fn live_help() -> String {
    use std::fmt::Write as _;
    let mut text = "Steps between looks at how good and how straight the flow is meanwhile; 0: off\n\nThe same 512 particles \
                    are followed and compared with the same test points each time: fresh ones of a built-in density, rows of \
                    anything else. It works with any coupling, source and label, and changes no bit of the training. The \
                    columns of metrics.csv, in the row of the step just made:"
        .to_owned();
    for measure in &LIVE {
        let _ = write!(text, "\n  {}: {}", measure.column, measure.definition);
    }
    text
}

pub(super) fn default_schedule() -> &'static str {
    let default = TrainOptions::default().schedule;
    SCHEDULES.iter().find(|entry| entry.1 == default).map_or("constant", |entry| entry.0)
}

/// Widths of layers, as in `256,256`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Widths(pub(super) Vec<usize>);

impl FromStr for Widths {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(vec![]));
        }
        let width = |text: &str| {
            let width = text.trim().parse().ok().filter(|width| *width > 0);
            width.ok_or_else(|| format!("`{text}` is no width: give whole numbers such as 256,256, or none"))
        };
        text.split(',').map(width).collect::<Result<_, _>>().map(Self)
    }
}

impl std::fmt::Display for Widths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let widths: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&widths.join(","))
    }
}

/// A run that is about to begin or to go on.
struct Run<'a> {
    context: &'a Context,
    device: Device,
    /// What the pictures show of the data: the rest is on the device, and needs no room here.
    data: Dataset,
    source: Option<Dataset>,
    trainer: Trainer,
    /// Whether its kernels were measured to be the fastest.
    tuned: bool,
    folder: RunFolder,
    metrics: Metrics,
    /// With --tensorboard.
    events: Option<Events>,
    /// Seconds of training before this call.
    before: f64,
    every: Option<Duration>,
    pictures: bool,
    smoothed: Smoothed,
    /// The last measurement of the exact loss.
    exact: Option<ExactLoss>,
    /// With --measure-every.
    live: Option<(u64, Live)>,
    /// What its last look found.
    looked: Option<LiveValues>,
    /// Whether another round of `reflow` follows, which says what comes out in the end.
    /// Or it is repeated by another command, which says what comes out.
    followed: bool,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    if !(args.checkpoint_every.is_finite() && args.checkpoint_every >= 0.0) {
        return Err(Usage(
            "--checkpoint-every takes a number of seconds that is not negative; 0: only at the end".into(),
        )
        .into());
    }
    interrupt::watch()?;
    match &args.resume {
        Some(path) if !RunFolder::at(path).is_taken() && round_folder(path, 1).is_taken() => {
            resume_rounds(args, path, context)
        }
        Some(path) => resume(args, &RunFolder::at(path), context, false),
        None => begin_any(args, context, None),
    }
}

/// Begins a run as `recorded` tells it, whatever the defaults have become since: `windfield rerun`.
pub fn repeat(args: &Args, context: &Context, recorded: &RunConfig) -> anyhow::Result<()> {
    interrupt::watch()?;
    begin_any(args, context, Some(recorded))
}

fn begin_any(args: &Args, context: &Context, recorded: Option<&RunConfig>) -> anyhow::Result<()> {
    if args.flow.coupling()?.is_paired() {
        return begin_rounds(args, context, recorded);
    }
    if args.rounds.is_some() {
        return Err(Usage("--rounds goes with --coupling reflow".to_owned()).into());
    }
    begin(args, context, recorded)
}

/// Whether what a repeated run begins with is what it began with.
fn check_same(recorded: &str, now: &str, what: &str, flag: &str) -> anyhow::Result<()> {
    if recorded == now {
        return Ok(());
    }
    Err(Error::config(
        format!("{what} is not what it was when the run began"),
        format!("say where that is with {flag}, or train a new run"),
    )
    .into())
}

/// The data, with its labels; prepared as those of the model that training begins with.
fn open_data(args: &Args, name: &str, init: Option<&Model>) -> anyhow::Result<Dataset> {
    Ok(match (init, args.missing.as_deref()) {
        (Some(_), Some(_)) => {
            return Err(Usage(
                "--missing does not go with --init, whose model remembers what was done about missing values"
                    .into(),
            )
            .into());
        }
        (Some(model), None) => {
            let (labels, dropout) = args.labels.requests()?;
            Dataset::open_labelled(name, model.preparation.as_ref(), &model.conditions, &labels, dropout)?
        }
        (None, Some(missing)) => {
            args.labels.of(Dataset::open_with(name, missing.parse().map_err(Usage::of)?)?)?
        }
        (None, None) => args.labels.of(Dataset::open(name)?)?,
    })
}

/// A new run.
fn begin(args: &Args, context: &Context, recorded: Option<&RunConfig>) -> anyhow::Result<()> {
    let name = args.data.as_deref().unwrap_or_default();
    let init = args.init.as_ref().map(Model::load).transpose()?;
    let options = match recorded {
        Some(recorded) => recorded.options.clone(),
        None => options(args, context, init.as_ref())?,
    };
    if args.exact_every > 0 && args.source.is_some() {
        return Err(Usage(
            "--exact-every does not go with --source: the exact field is known from a Gaussian source alone"
                .into(),
        )
        .into());
    }
    if args.exact_every > 0 && args.labels.is_given() {
        return Err(Usage(
            "--exact-every does not go with --label: the exact field is that of all data, whatever their labels"
                .into(),
        )
        .into());
    }
    if args.exact_every > 0 && options.coupling != Coupling::Independent {
        return Err(Usage(format!(
            "--exact-every does not go with --coupling {}: the exact field is known for independent pairs alone",
            options.coupling.entry().name
        ))
        .into());
    }
    let folder = if args.explain { RunFolder::at("") } else { new_folder(args, name)? };
    let data = open_data(args, name, init.as_ref())?;
    let source = flags::open_source(args.source.as_deref(), data.preparation().as_ref())?;
    let init_record = args.init.as_ref().zip(init.as_ref()).map(|(file, model)| ModelRecord::of(file, model));
    if let Some(recorded) = recorded {
        check_same(&recorded.data.fingerprint, &data.fingerprint(), name, "--data")?;
        if let (Some(before), Some(now)) = (&recorded.source, &source) {
            check_same(&before.fingerprint, &now.fingerprint(), now.name(), "--source")?;
        }
        if let (Some(before), Some(now)) = (&recorded.init, &init_record) {
            check_same(&before.fingerprint, &now.fingerprint, &now.file, "--init")?;
        }
    }
    let device = context.device_for_networks()?;
    if options.exact_every > 0 {
        context
            .say(&format!("exact     the marginal field of {} held-out points", count(options.exact_rows)));
    }
    let network = Architecture {
        dim: data.dim(),
        hidden: options.hidden.clone(),
        activation: options.activation,
        time_frequencies: options.time_frequencies,
        condition_features: data.conditions().map_or(0, Conditions::features),
    };
    // A run that is repeated has the kernels that it had, whatever was measured since.
    let work = (recorded.is_none().then_some(Task::Training), &network, options.batch);
    let (trainer, tuned) = context.tuned(&device, options.kernels, work, |kernels| {
        let options = TrainOptions { kernels, ..options.clone() };
        match &init {
            Some(model) => Trainer::from_model(&device, &data, source.as_ref(), options, model),
            None => Trainer::new(&device, &data, source.as_ref(), options),
        }
    })?;
    introduce(context, &data, source.as_ref(), &trainer);
    if args.explain {
        return explain(context, &device, &trainer, tuned);
    }
    let live = live(args.measure_every, &device, &trainer, (&data, source.as_ref()))?;
    interrupt::check("nothing was begun")?;
    if args.overwrite {
        folder.clear()?;
    }
    let intervals = (args.log_every, args.measure_every);
    let config = config(&device, &data, source.as_ref(), &trainer, intervals);
    let flags = context.flags().clone();
    RunConfig { tuned, flags, init: init_record, ..config }.save(folder.config())?;
    let exact_every = trainer.options().exact_every;
    let metrics = Metrics::new(folder.metrics(), args.log_every).with_exact(exact_every);
    let metrics = metrics.with_live(args.measure_every);
    Run {
        context,
        device,
        data: shown(data),
        source,
        trainer,
        tuned,
        events: args.tensorboard.then(|| Events::create(folder.tensorboard(), 0)).transpose()?,
        folder,
        metrics,
        before: 0.0,
        every: every(args),
        pictures: !args.no_pictures,
        smoothed: Smoothed::default(),
        exact: None,
        live,
        looked: None,
        followed: recorded.is_some(),
    }
    .go()
}

/// The folder of a round of `reflow`.
pub fn round_folder(out: &Path, round: u32) -> RunFolder {
    RunFolder::at(out.join(format!("round-{round}")))
}

/// The rounds of rectified flow, from the first one.
fn begin_rounds(args: &Args, context: &Context, recorded: Option<&RunConfig>) -> anyhow::Result<()> {
    for (given, name) in [
        (args.data.is_some(), "--data"),
        (args.init.is_some(), "--init"),
        (args.exact_every > 0, "--exact-every"),
        (args.labels.is_given(), "--label"),
        (args.missing.is_some(), "--missing"),
        (context.typed("standardize"), "--standardize"),
        (context.typed("no-standardize"), "--no-standardize"),
    ] {
        if given {
            return Err(Usage(format!(
                "{name} does not go with --coupling reflow, which goes on from --from-model and learns its pairs; leave \
                 it out"
            ))
            .into());
        }
    }
    let parent = args.flow.from_model.clone().unwrap_or_default();
    let model = Model::load(&parent)?;
    let mut options = match recorded {
        Some(recorded) => {
            if let Some(init) = &recorded.init {
                let file = parent.display().to_string();
                check_same(&init.fingerprint, &model.fingerprint(), &file, "--from-model")?;
            }
            recorded.options.clone()
        }
        None => options(args, context, Some(&model))?,
    };
    let last = args.rounds.unwrap_or(1);
    if let Coupling::Reflow { rounds, .. } = &mut options.coupling {
        *rounds = last;
    }
    let name = "reflow";
    let folder = if args.explain { RunFolder::at("") } else { new_folder(args, name)? };
    let device = context.device_for_networks()?;
    rounds(args, context, &device, (folder.path(), 1, last), parent, &options, recorded.is_some())
}

/// The rounds from `first` to `last`, each from the model of the one before it; `repeated` by another command, or not.
fn rounds(
    args: &Args,
    context: &Context,
    device: &Device,
    (out, first, last): (&Path, u32, u32),
    mut parent: PathBuf,
    options: &TrainOptions,
    repeated: bool,
) -> anyhow::Result<()> {
    // Rounds that follow a resumed one were asked for by the flags of the first.
    let flags = match first {
        1 => context.flags().clone(),
        _ => RunConfig::load(round_folder(out, 1).config()).map(|config| config.flags).unwrap_or_default(),
    };
    for number in first..=last {
        let folder = if last == 1 { RunFolder::at(out) } else { round_folder(out, number) };
        if folder.is_taken() && !args.overwrite && !args.explain {
            let path = typed(folder.path());
            return Err(Error::config(
                format!("{path} already holds a run"),
                "give another --out, or replace it with --overwrite",
            )
            .into());
        }
        let model = Model::load(&parent)?;
        let init = Some(ModelRecord::of(&parent, &model));
        let mut options = options.clone();
        let mut count = 0;
        if let Coupling::Reflow { pairs, round, .. } = &mut options.coupling {
            *round = number;
            count = *pairs;
        }
        if last > 1 {
            context.say(&format!("\nround     {number} of {last}, from {}", parent.display()));
        }
        // A later round's model has the first one's source.
        let source = args.source.as_deref().filter(|_| number == 1);
        let made = (count, flags::seed_of_pairs(options.seed, number));
        let pairs = flags::pairs(context, device, &model, source, made)?;
        let mut model = model;
        if let Some(source) = source {
            model.source = Some(source.to_owned());
        }
        let (x0, x1) = if args.explain {
            (pairs.x0, pairs.x1)
        } else {
            if args.overwrite {
                folder.clear()?;
            }
            let write = |name: &str, set: &Dataset| -> anyhow::Result<Dataset> {
                let file = folder.file(name);
                write_array(&file, &[set.rows(), set.dim()], set.columns(), set.values())?;
                Ok(Dataset::open(&file.display().to_string())?)
            };
            (write("pairs-x0.npy", &pairs.x0)?, write("pairs-x1.npy", &pairs.x1)?)
        };
        let network = model.architecture.clone();
        let work = ((!repeated).then_some(Task::Training), &network, options.batch);
        let name = parent.display().to_string();
        let (trainer, tuned) = context.tuned(device, options.kernels, work, |kernels| {
            let options = TrainOptions { kernels, ..options.clone() };
            Trainer::reflow(device, (&x0, &x1), options, (&name, &model))
        })?;
        introduce(context, &x1, Some(&x0), &trainer);
        if args.explain {
            return explain(context, device, &trainer, tuned);
        }
        let intervals = (args.log_every, args.measure_every);
        let config = config(device, &x1, Some(&x0), &trainer, intervals);
        RunConfig { tuned, init, flags: flags.clone(), ..config }.save(folder.config())?;
        parent = folder.model();
        let source = flags::open_source(model.source.as_deref(), model.preparation.as_ref())?;
        Run {
            context,
            device: device.clone(),
            live: live(args.measure_every, device, &trainer, (&x1, source.as_ref()))?,
            data: shown(x1),
            source,
            trainer,
            tuned,
            metrics: Metrics::new(folder.metrics(), args.log_every).with_live(args.measure_every),
            events: args.tensorboard.then(|| Events::create(folder.tensorboard(), 0)).transpose()?,
            folder,
            before: 0.0,
            every: every(args),
            pictures: !args.no_pictures,
            smoothed: Smoothed::default(),
            exact: None,
            looked: None,
            followed: repeated || number < last,
        }
        .go()?;
    }
    Ok(())
}

/// Goes on with the last round that was begun, and with those that follow it.
fn resume_rounds(args: &Args, out: &Path, context: &Context) -> anyhow::Result<()> {
    let begun = |round: u32| round_folder(out, round).checkpoint().exists();
    let number = (1..=100).take_while(|&round| begun(round)).last().unwrap_or(1);
    let folder = round_folder(out, number);
    let options = Checkpoint::load(folder.checkpoint())?.options;
    let Coupling::Reflow { rounds: last, .. } = options.coupling else {
        return Err(Error::input(
            folder.path().display().to_string(),
            "no round of `reflow`",
            "resume the run itself",
        )
        .into());
    };
    resume(args, &folder, context, number < last)?;
    if number == last {
        return Ok(());
    }
    let next = round_folder(out, number + 1);
    if next.is_taken() {
        next.clear()?;
    }
    let device = context.device_for_networks()?;
    let steps = if context.typed("steps") { args.steps } else { options.steps };
    let options = TrainOptions { steps, ..options };
    rounds(args, context, &device, (out, number + 1, last), folder.model(), &options, false)
}

/// A run that goes on; `followed` by another round, or not.
fn resume(args: &Args, folder: &RunFolder, context: &Context, followed: bool) -> anyhow::Result<()> {
    let foreign = |name: &&String| {
        !WITH_RESUME.contains(&name.as_str()) && !["adapter", "cache", "config"].contains(&name.as_str())
    };
    if let Some(name) = context.all_typed().iter().find(foreign) {
        return Err(Usage(format!(
            "--{name} cannot be given with --resume, which goes on with the run's own settings; leave it out, or begin \
             a new run with --init {}",
            typed(&folder.model())
        ))
        .into());
    }
    let mut checkpoint = Checkpoint::load(folder.checkpoint())?;
    if context.typed("kernels") {
        checkpoint.options.kernels = args.kernels.parse().map_err(Usage::of)?;
    }
    let steps = if context.typed("steps") { args.steps } else { checkpoint.options.steps };
    if steps < checkpoint.step() {
        return Err(Error::config(
            format!("the run in {} has already made {} steps", folder.path().display(), checkpoint.step()),
            format!("give a total of at least that with --steps, not {steps}"),
        )
        .into());
    }
    let recorded = match RunConfig::load(folder.config()) {
        Ok(config) => Some(config),
        // It may have been removed; everything that counts is in the checkpoint.
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let log_every = recorded.as_ref().map_or(args.log_every, |recorded| recorded.log_every);
    // A run keeps the kernels that it began with, whatever was measured since.
    let tuned = recorded.as_ref().is_some_and(|recorded| recorded.tuned) && !context.typed("kernels");
    let moved = |error: Error| {
        anyhow::anyhow!("{error}; if the data have moved, say where with --data (or --source)")
    };
    let prepared = checkpoint.preparation();
    let name = args.data.as_deref().unwrap_or(checkpoint.data());
    let data = checkpoint.open_data(name).map_err(moved)?;
    let source = args.source.as_deref().or(checkpoint.source());
    let source = source.map(|name| Dataset::open_as(name, prepared)).transpose().map_err(moved)?;
    let device = context.device_for_networks()?;
    let trainer = Trainer::resume(&device, &data, source.as_ref(), &checkpoint, steps)?;
    introduce(context, &data, source.as_ref(), &trainer);
    if args.explain {
        return explain(context, &device, &trainer, tuned);
    }
    folder.sweep()?;
    let (metrics, before) = Metrics::resume(folder.metrics(), log_every, checkpoint.step())?;
    let measure_every = recorded.as_ref().map_or(args.measure_every, |recorded| recorded.measure_every);
    let live = live(measure_every, &device, &trainer, (&data, source.as_ref()))?;
    let metrics = metrics.with_exact(trainer.options().exact_every).with_live(measure_every);
    let exact = metrics.last().and_then(|row| row.exact);
    interrupt::check("the run is as it was")?;
    context.say(&format!("resumed   {} at step {}", folder.path().display(), count(checkpoint.step())));
    let config = config(&device, &data, source.as_ref(), &trainer, (log_every, measure_every));
    let config = RunConfig { tuned, ..config };
    match recorded {
        Some(recorded) => config.continuing(recorded, checkpoint.step()),
        None => config,
    }
    .save(folder.config())?;
    let events = args.tensorboard || folder.tensorboard().is_dir();
    let events = events.then(|| Events::create(folder.tensorboard(), checkpoint.step())).transpose()?;
    Run {
        context,
        device,
        data: shown(data),
        source,
        trainer,
        tuned,
        folder: folder.clone(),
        metrics,
        events,
        before,
        every: every(args),
        pictures: !args.no_pictures,
        smoothed: Smoothed::default(),
        exact,
        live,
        looked: None,
        followed,
    }
    .go()
}

/// With --measure-every: what looks at the models of a run.
fn live(
    every: u64,
    device: &Device,
    trainer: &Trainer,
    (data, source): (&Dataset, Option<&Dataset>),
) -> anyhow::Result<Option<(u64, Live)>> {
    if every == 0 {
        return Ok(None);
    }
    if trainer.model()?.unconditional().is_err() {
        return Err(Usage(
            "--measure-every looks at the flow without a condition, which --label-dropout 0 leaves unlearnt; leave one of them out"
                .into(),
        )
        .into());
    }
    Ok(Some((every, Live::new(device, data, source, trainer.options().seed)?)))
}

/// The part of the data that the pictures show.
fn shown(data: Dataset) -> Dataset {
    let rows = pictures::Portrait::rows(data.dim(), data.image().is_some());
    if rows < data.rows() { data.spread(rows) } else { data }
}

/// The settings that the flags ask for.
fn options(args: &Args, context: &Context, init: Option<&Model>) -> anyhow::Result<TrainOptions> {
    let mut options = TrainOptions {
        path: args.flow.path()?,
        coupling: args.flow.coupling()?,
        hidden: args.hidden.0.clone(),
        activation: args.activation.parse().map_err(Usage::of)?,
        time_frequencies: args.time_frequencies,
        batch: args.batch,
        steps: args.steps,
        lr: args.lr,
        schedule: args.schedule.parse().map_err(Usage::of)?,
        warmup: args.warmup,
        weight_decay: args.weight_decay,
        clip: args.clip,
        ema: args.ema,
        seed: context.seed(),
        standardize: args.standardize.wanted(),
        exact_every: if args.explain { 0 } else { args.exact_every },
        exact_rows: args.exact_rows,
        kernels: args.kernels.parse().map_err(Usage::of)?,
    };
    if let Some(model) = init {
        let architecture = &model.architecture;
        if !context.typed("hidden") {
            options.hidden.clone_from(&architecture.hidden);
        }
        if !context.typed("activation") {
            options.activation = architecture.activation;
        }
        if !context.typed("time-frequencies") {
            options.time_frequencies = architecture.time_frequencies;
        }
        if !PathArgs::NAMES.iter().any(|name| context.typed(name)) {
            options.path = model.path.clone();
        }
    }
    options.validate().map_err(Usage::of)?;
    Ok(options)
}

/// The folder of a new run, which holds none yet.
fn new_folder(args: &Args, data: &str) -> anyhow::Result<RunFolder> {
    if let Some(path) = &args.out {
        let folder = RunFolder::at(path);
        if folder.is_taken() && !args.overwrite {
            let path = typed(path);
            return Err(Error::config(
                format!("{path} already holds a run"),
                format!("give another --out, go on with --resume {path}, or replace it with --overwrite"),
            )
            .into());
        }
        return Ok(folder);
    }
    let name = data.split(':').next().unwrap_or(data);
    let name =
        Path::new(name).file_stem().map_or_else(|| "run".into(), |stem| stem.to_string_lossy().into_owned());
    let mut folder = RunFolder::at(Path::new("runs").join(&name));
    let mut number = 1;
    while folder.is_taken() {
        number += 1;
        folder = RunFolder::at(Path::new("runs").join(format!("{name}-{number}")));
    }
    Ok(folder)
}

fn every(args: &Args) -> Option<Duration> {
    Duration::try_from_secs_f64(args.checkpoint_every).ok().filter(|every| !every.is_zero())
}

fn config(
    device: &Device,
    data: &Dataset,
    source: Option<&Dataset>,
    trainer: &Trainer,
    (log_every, measure_every): (u64, u64),
) -> RunConfig {
    RunConfig {
        format: CONFIG_FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        adapter: device.describe(),
        kernels: trainer.kernels().name().to_owned(),
        tuned: false,
        log_every,
        measure_every,
        device: Some(Adapter::of(device)),
        flags: toml::Table::new(),
        init: None,
        resumed: vec![],
        data: DataRecord::of(data),
        source: source.map(DataRecord::of),
        options: trainer.options().clone(),
    }
}

/// Says what is about to be trained on what.
fn introduce(context: &Context, data: &Dataset, source: Option<&Dataset>, trainer: &Trainer) {
    let table = |set: &Dataset| {
        let columns = if set.dim() == 1 { "column" } else { "columns" };
        format!("{}: {} rows of {} {columns}", set.name(), count(set.rows()), set.dim())
    };
    context.say(&format!("data      {}", table(data)));
    if let Some(source) = source {
        context.say(&format!("source    {}", table(source)));
    }
    for (column, step) in data.coarse_columns() {
        context.say(&format!(
            "note      `{column}`: float32 has such large whole numbers in steps of {step}; subtract a number from the column \
             to keep all of them"
        ));
    }
    if let Some(conditions) = data.conditions() {
        let labels: Vec<String> = conditions
            .labels()
            .iter()
            .map(|label| match label.classes().len() {
                0 => format!("{} (a number)", label.name),
                classes => format!("{} ({})", label.name, counted(classes, "class", "classes")),
            })
            .collect();
        context.say(&format!("labels    {}; {} of the rows without", labels.join(", "), conditions.dropout));
    }
    flags::note(context, &trainer.options().path);
    let architecture = trainer.architecture();
    let widths: Vec<String> = std::iter::once(architecture.features())
        .chain(architecture.hidden.iter().copied())
        .chain([architecture.dim])
        .map(|width| width.to_string())
        .collect();
    context.say(&format!(
        "network   {} ({}), {} parameters",
        widths.join(" → "),
        architecture.activation.name(),
        count(architecture.parameters())
    ));
}

/// `--explain`.
fn explain(context: &Context, device: &Device, trainer: &Trainer, tuned: bool) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Item {
        kernel: &'static str,
        dispatch: String,
        flops: u64,
        bytes: u64,
    }
    #[derive(Serialize)]
    struct Plan {
        schema: u32,
        adapter: Adapter,
        kernels: &'static str,
        tuned: bool,
        batch: usize,
        parameters: usize,
        /// Of one step.
        flops: u64,
        bytes: u64,
        dispatches: Vec<Item>,
    }
    let work: Work = trainer.plan().iter().map(Dispatch::work).sum();
    let plan = Plan {
        schema: 1,
        adapter: Adapter::of(device),
        kernels: trainer.kernels().name(),
        tuned,
        batch: trainer.options().batch,
        parameters: trainer.architecture().parameters(),
        flops: work.flops,
        bytes: work.bytes,
        dispatches: trainer
            .plan()
            .iter()
            .map(|dispatch| Item {
                kernel: dispatch.kernel(),
                dispatch: dispatch.describe(),
                flops: dispatch.work().flops,
                bytes: dispatch.work().bytes,
            })
            .collect(),
    };
    context.say(&format!("\nOne step: {} dispatches, in this order", plan.dispatches.len()));
    for (place, item) in plan.dispatches.iter().enumerate() {
        let work = format!("{} FLOP, {} bytes", count(item.flops), count(item.bytes));
        context.say(&format!("{:4}  {}  {work}", place + 1, item.dispatch));
    }
    context.say(&format!(
        "      {} FLOP and {} bytes at the least, with a batch of {}",
        count(plan.flops),
        count(plan.bytes),
        plan.batch
    ));
    context.object(&plan)
}

/// What `--json` prints.
#[derive(Serialize)]
struct Summary<'a> {
    /// The version of this object.
    schema: u32,
    model: &'a Path,
    out: &'a Path,
    /// In all.
    steps: u64,
    /// By this call.
    steps_made: u64,
    loss: Loss,
    /// With --exact-every.
    exact: Option<Exact>,
    /// With --measure-every: at the end, by the names of the columns, and W₂ of two test sets.
    #[serde(skip_serializing_if = "Option::is_none")]
    measures: Option<BTreeMap<&'static str, f64>>,
    /// Where a coupling solves problems.
    coupling: Option<CouplingReport>,
    /// Of training, by this call.
    seconds: f64,
    steps_per_second: Option<f64>,
    adapter: Adapter,
    kernels: &'static str,
    /// Whether they were measured to be the fastest.
    tuned: bool,
    data: &'a str,
    parameters: usize,
    seed: u64,
    files: Vec<String>,
}

/// Over the held-out batch, under the weights of the model.
#[derive(Serialize)]
struct Exact {
    /// The distance from the best field. Null where no step was made.
    l_fm: Option<f64>,
    l_cfm: Option<f64>,
    /// The floor of `l_cfm`, and its standard error.
    crossing_energy: f64,
    crossing_energy_error: f64,
    rows: usize,
}

/// Null where no step was made.
#[derive(Serialize)]
struct Loss {
    last: Option<f32>,
    smoothed: Option<f64>,
}

impl Run<'_> {
    /// Trains, saves, draws, sums up.
    fn go(mut self) -> anyhow::Result<()> {
        let first = self.trainer.step();
        if first == 0 {
            // From here on the folder can be resumed, whatever happens.
            self.save()?;
        }
        let begun = Instant::now();
        self.train(begun)?;
        let seconds = begun.elapsed().as_secs_f64();
        // The weights are worth more than the history: they are saved whether or not that could be.
        let history = self.metrics.finish();
        let model = self.save_state()?;
        history?;
        if self.pictures {
            // A tenth of the training time at most, unless that is less than a few seconds.
            let patience = Duration::from_secs_f64(seconds / 10.0).max(Duration::from_secs(20));
            if !self.draw(&model, patience) {
                let folder = typed(self.folder.path());
                return Err(
                    Interrupted(format!("the run in {folder} is complete, but for its pictures")).into()
                );
            }
        }
        self.sum_up(first, seconds)
    }

    /// The loop: submissions until a checkpoint is due, the user interrupts, or all steps are done.
    fn train(&mut self, begun: Instant) -> anyhow::Result<()> {
        let (first, steps) = (self.trainer.step(), self.trainer.options().steps);
        let mut progress = self.context.progress(first, steps);
        let mut rate = Rate::default();
        rate.push(Duration::ZERO, first);
        let mut seen = 0.0;
        // A time beyond what the clock can tell is never.
        let mut next = self.every.and_then(|every| begun.checked_add(every));
        loop {
            let mut failed = None;
            let until = self.live.as_ref().map_or(steps, |(every, _)| {
                steps.min((self.trainer.step() / every + 1).saturating_mul(*every))
            });
            let Self { trainer, metrics, events, smoothed, before, exact, looked, .. } = self;
            let outcome = trainer.run_until(until, |news| {
                let now = begun.elapsed().as_secs_f64();
                #[allow(clippy::cast_precision_loss, reason = "few records")]
                let each = (now - seen) / news.records.len().max(1) as f64;
                for (step, record) in news.records {
                    seen += each;
                    let measured = news.exact.filter(|_| step + 1 == news.step);
                    *exact = measured.or(*exact);
                    let row = metrics.push(*step, record, *before + seen, measured);
                    if let (Some(events), Some(row)) = (events.as_mut(), row) {
                        failed = failed.take().or(events.push(&row).err());
                    }
                    smoothed.push(record.loss.into());
                }
                seen = now;
                if let Some(events) = events.as_mut() {
                    failed = failed.take().or(events.flush().err());
                }
                rate.push(begun.elapsed(), news.step);
                progress.show(news.step, || {
                    describe(metrics, smoothed, (*exact, *looked), &rate, steps - news.step)
                });
                // What a look finds is added to the last row.
                if metrics.pending() >= PENDING && news.step < until {
                    failed = failed.take().or(metrics.flush().err());
                }
                let due = next.is_some_and(|next| Instant::now() >= next);
                if due || failed.is_some() || interrupt::requested() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            if let Some(error) = failed {
                return Err(error.into());
            }
            match outcome {
                Ok(Outcome::Finished) => {
                    self.look()?;
                    if self.trainer.step() >= steps {
                        return Ok(());
                    }
                    let due = next.is_some_and(|next| Instant::now() >= next);
                    if !due && !interrupt::requested() {
                        continue;
                    }
                }
                Ok(Outcome::Interrupted) => {}
                Err(error) => {
                    // The history up to there tells what went wrong; the error itself is what counts.
                    let _ = self.metrics.flush();
                    return Err(match error {
                        Error::NonFinite { .. } => anyhow::anyhow!("{error} (the last checkpoint is kept)"),
                        error => error.into(),
                    });
                }
            }
            let saving = Instant::now();
            self.save()?;
            if interrupt::requested() {
                progress.clear();
                return Err(self.interrupted().into());
            }
            next = self
                .every
                .and_then(|every| Instant::now().checked_add(every.max(saving.elapsed() * CHECKPOINT_SHARE)));
        }
    }

    /// Measures the model as it is now, with --measure-every.
    fn look(&mut self) -> Result<()> {
        let Some((_, live)) = &self.live else { return Ok(()) };
        let found = live.look(&self.trainer.model()?)?;
        self.metrics.look(found);
        self.looked = Some(found);
        match (&mut self.events, self.trainer.step().checked_sub(1)) {
            (Some(events), Some(step)) => events.look(step, &found),
            _ => Ok(()),
        }
    }

    fn interrupted(&self) -> Interrupted {
        let folder = typed(self.folder.path());
        Interrupted(format!(
            "{folder} holds a checkpoint of step {} of {}; go on with `windfield train --resume {folder}`",
            self.trainer.step(),
            self.trainer.options().steps
        ))
    }

    /// History, checkpoint and model of this moment, in this order.
    fn save(&mut self) -> Result<()> {
        let history = self.metrics.flush();
        self.save_state()?;
        history
    }

    fn save_state(&self) -> Result<Model> {
        // Both are read, and checked, before either file is replaced.
        let (checkpoint, model) = (self.trainer.checkpoint()?, self.trainer.model()?);
        checkpoint.save(self.folder.checkpoint())?;
        model.save(self.folder.model())?;
        Ok(model)
    }

    /// The pictures that fit the data, unless ctrl-C says no. What cannot be drawn is a warning.
    fn draw(&self, model: &Model, patience: Duration) -> bool {
        let fail = |name: &str, error: &Error| warn(&format!("no {name}: {error}"));
        let save = |name: &str, picture: Result<Option<image::RgbImage>>| {
            let saved = picture.and_then(|picture| match picture {
                Some(picture) => windfield::report::plot::save(&picture, &self.folder.file(name)),
                None => Ok(()),
            });
            if let Err(error) = saved {
                fail(name, &error);
            }
        };
        if self.trainer.step() > 0 {
            let curve = Metrics::curve(self.folder.metrics(), 20_000);
            let exact = Metrics::exact(self.folder.metrics());
            let picture = curve.and_then(|curve| {
                exact.and_then(|exact| pictures::loss(&curve, &exact, self.trainer.floor()))
            });
            save("loss.png", picture.map(Some));
        }
        let go_on = || !interrupt::requested();
        let mut progress = self.context.progress(0, 0);
        let watch = |drawn: usize, wanted: usize| {
            progress.resize(wanted as u64);
            progress.show(drawn as u64, || "samples for the pictures".to_owned());
            go_on()
        };
        // Of a conditional model the pictures show all classes together, where it can do without a condition.
        let shown = match model.unconditional() {
            Ok(shown) => shown,
            Err(error) => {
                fail("samples.png", &error);
                return go_on();
            }
        };
        let portrait =
            pictures::Portrait::sit(&self.device, &shown, &self.data, self.source.as_ref(), patience, watch);
        progress.clear();
        match portrait {
            Ok(Some(mut portrait)) => {
                save("samples.png", portrait.samples().map(Some));
                if go_on() {
                    save("field.png", portrait.field());
                }
                if go_on() {
                    save("trajectories.png", portrait.trajectories());
                }
            }
            Ok(None) => {}
            Err(error) => fail("samples.png", &error),
        }
        go_on()
    }

    fn sum_up(&self, first: u64, seconds: f64) -> anyhow::Result<()> {
        let context = self.context;
        let made = self.trainer.step() - first;
        #[allow(clippy::cast_precision_loss, reason = "steps are far below 2^52")]
        let speed = (made > 0 && seconds > 0.0).then(|| made as f64 / seconds);
        let model = self.folder.model();
        let live = self.metrics.last().and_then(|row| row.live);
        let floor = self.live.as_ref().map(|(_, live)| live.floor());
        let summary = Summary {
            schema: 1,
            model: &model,
            out: self.folder.path(),
            steps: self.trainer.step(),
            steps_made: made,
            loss: Loss { last: self.metrics.last().map(|row| row.loss), smoothed: self.smoothed.value() },
            exact: self.trainer.floor().map(|floor| Exact {
                l_fm: self.exact.map(|exact| exact.fm),
                l_cfm: self.exact.map(|exact| exact.cfm),
                crossing_energy: floor.crossing_energy,
                crossing_energy_error: floor.error,
                rows: floor.rows,
            }),
            measures: live.map(|live| {
                let columns = LIVE.iter().map(|measure| measure.column).zip(live);
                columns.chain(floor.map(|floor| ("w2_floor", floor))).collect()
            }),
            coupling: self.trainer.coupling(),
            seconds,
            steps_per_second: speed,
            adapter: Adapter::of(&self.device),
            kernels: self.trainer.kernels().name(),
            tuned: self.tuned,
            data: self.data.name(),
            parameters: self.trainer.architecture().parameters(),
            seed: self.trainer.options().seed,
            files: self.folder.files(),
        };
        if let (Some(smoothed), Some(speed)) = (summary.loss.smoothed, speed) {
            context.say(&format!(
                "trained   {} in {} ({} steps/s), loss {smoothed:.4} (smoothed)",
                counted(made, "step", "steps"),
                duration(Duration::from_secs_f64(seconds)),
                approximately(speed),
            ));
        }
        if let (Some(exact), Some(floor)) = (self.exact, self.trainer.floor()) {
            context.say(&format!(
                "exact     excess L_FM {:.4} over the floor C {:.3} ± {:.3} ({} held-out points)",
                exact.fm,
                floor.crossing_energy,
                floor.error,
                count(floor.rows)
            ));
        }
        if let (Some(live), Some(floor)) = (live, floor) {
            context.say(&format!("flow      {}, floor {}", in_short(&live), approximately(floor)));
        }
        if let Some(report) = summary.coupling {
            flags::tell_coupling(context, report);
        }
        context.say(&format!("wrote     {}: {}", self.folder.path().display(), summary.files.join(", ")));
        if self.followed {
            return Ok(());
        }
        context.say("\nNext:");
        context.say(&format!("  windfield sample {} -n 100000 --out samples.npy", typed(&model)));
        context.say(&format!(
            "  windfield train --resume {} --steps {}",
            typed(self.folder.path()),
            (2 * self.trainer.step()).max(1000)
        ));
        context.object(&summary)
    }
}

/// What a look found, in short.
fn in_short(live: &LiveValues) -> String {
    let named = LIVE.iter().zip(live);
    let words: Vec<String> = named
        .map(|(measure, value)| format!("{} {}", measure.column.replace('_', " "), approximately(*value)))
        .collect();
    words.join(", ")
}

/// The line beside the bar.
fn describe(
    metrics: &Metrics,
    smoothed: &Smoothed,
    (exact, live): (Option<ExactLoss>, Option<LiveValues>),
    rate: &Rate,
    left: u64,
) -> String {
    let loss = metrics.last().map_or(0.0, |row| row.loss);
    let smoothed = smoothed.value().unwrap_or_default();
    let speed =
        rate.per_second().map_or_else(String::new, |speed| format!("  {} steps/s", approximately(speed)));
    let left = rate.time_for(left).map_or_else(String::new, |left| format!("  {} left", duration(left)));
    let excess = exact.map_or_else(String::new, |exact| format!("  excess {:.4}", exact.fm));
    let live = live.map_or_else(String::new, |live| format!("  {}", in_short(&live)));
    format!("loss {loss:.4}  smoothed {smoothed:.4}{excess}{live}{speed}{left}")
}
