//! `windfield lab`: paths × couplings × seeds over a data set, in one table and one figure.

use std::path::{Path as FilePath, PathBuf};
use std::time::{Duration, Instant};

use clap::builder::{PossibleValue, PossibleValuesParser};
use serde::Serialize;
use windfield::flow::{Coupling, Path};
use windfield::gpu::Device;
use windfield::measure::evaluate::CONFIDENCE;
use windfield::measure::lab::{
    COLUMNS, Lab, Plan, Row, SUITES, Suite, Task, Versus, path_label, three_digits, with_interval,
};
use windfield::report::{approximately, count, counted, duration};
use windfield::train::TrainOptions;
use windfield::{Error, files};

use super::flags::{self, StandardizeArgs};
use super::terminal::{typed, warn};
use super::train::{Widths, default_schedule};
use super::{Adapter, Context, Usage, interrupt};

/// Compare paths and couplings over a data set: one table, one figure
///
/// Every combination of a path, a coupling and a seed is a model, trained and measured alike. The folder of --out
/// receives table.csv, lab.json and lab.png, and in cells/ a file for each finished combination with its model.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
#[command(
    after_long_help = "ctrl-C leaves all finished combinations and a checkpoint of the one at work; the same command goes on from there. More \
    paths, couplings and seeds go into the same folder; other settings are refused.\n\n\
    --suite reruns a published comparison by its protocol, and prints its figures beside those measured. --steps, --seeds, \
    --flows, --path-noise, --couplings and -n make it shorter."
)]
pub struct Args {
    /// What to learn: a built-in name (checkerboard, moons, digits, …), `name:N`, or a file
    #[arg(long, value_name = "SOURCE", required_unless_present = "suite", help_heading = "Data",
        long_help = flags::source_help("What to learn"))]
    data: Option<String>,
    /// What to begin with at t = 0 instead of the Gaussian
    #[arg(long, value_name = "SOURCE", help_heading = "Data")]
    source: Option<String>,
    #[command(flatten)]
    standardize: StandardizeArgs,
    /// Rerun a published comparison
    #[arg(long, value_name = "NAME", help_heading = "Data", value_parser = suites(), conflicts_with = "data")]
    suite: Option<String>,
    /// Of a suite, the flows to learn, such as N→moons [default: all]
    #[arg(long, value_name = "FLOW,…", value_delimiter = ',', help_heading = "Data", requires = "suite")]
    flows: Vec<String>,

    /// Conditional paths to compare, with their default parameters
    #[arg(long, value_name = "PATH,…", value_delimiter = ',', help_heading = "Flow", default_values_t = default_paths())]
    paths: Vec<String>,
    /// Standard deviations of noise around each of them to compare, in the network's coordinates [default: 0, none]
    #[arg(long, value_name = "SIGMA,…", value_delimiter = ',', help_heading = "Flow")]
    path_noise: Vec<f32>,
    /// Couplings to compare
    ///
    /// `reflow` goes on from the model of the same path, of `independent` pairs and the same seed, for as many steps.
    #[arg(long, value_name = "COUPLING,…", value_delimiter = ',', help_heading = "Flow",
        value_parser = flags::couplings(), default_values_t = default_couplings())]
    couplings: Vec<String>,
    /// Rows that `minibatch-ot` and `sinkhorn` rearrange together [default: the batch]
    #[arg(long, value_name = "ROWS", help_heading = "Flow")]
    ot_batch: Option<usize>,

    /// Seeds for each combination: --seed and the following ones
    #[arg(long, value_name = "COUNT", help_heading = "Comparison", default_value_t = Plan::default().seeds.len())]
    seeds: usize,
    /// Test points of a set
    #[arg(short, value_name = "COUNT", help_heading = "Comparison", default_value_t = Plan::default().rows)]
    n: usize,

    /// Widths of the hidden layers; `none` for a linear model
    #[arg(long, value_name = "WIDTHS", help_heading = "Network", default_value_t = Widths(Plan::default().train.hidden))]
    hidden: Widths,
    /// Between the layers
    #[arg(long, value_name = "NAME", help_heading = "Network", value_parser = flags::activations(),
        default_value = Plan::default().train.activation.name())]
    activation: String,
    /// Frequencies K of the time features sin 2πkt and cos 2πkt
    #[arg(long, value_name = "K", help_heading = "Network", default_value_t = Plan::default().train.time_frequencies)]
    time_frequencies: usize,

    /// Rows of a batch
    #[arg(long, value_name = "ROWS", help_heading = "Optimisation", default_value_t = Plan::default().train.batch)]
    batch: usize,
    /// Training steps of each model
    #[arg(long, value_name = "STEPS", help_heading = "Optimisation", default_value_t = Plan::default().train.steps)]
    steps: u64,
    /// Learning rate of AdamW
    #[arg(long, value_name = "RATE", help_heading = "Optimisation", default_value_t = Plan::default().train.lr)]
    lr: f32,
    /// How the learning rate falls after the warm-up
    #[arg(long, value_name = "NAME", help_heading = "Optimisation", value_parser = flags::schedules(),
        default_value = default_schedule())]
    schedule: String,
    /// Steps over which the learning rate rises to its full value; 0: off
    #[arg(long, value_name = "STEPS", help_heading = "Optimisation", default_value_t = Plan::default().train.warmup)]
    warmup: u64,
    /// Decoupled weight decay; 0: off
    #[arg(long, value_name = "DECAY", help_heading = "Optimisation", default_value_t = Plan::default().train.weight_decay)]
    weight_decay: f32,
    /// Largest norm of the gradient; 0: off
    #[arg(long, value_name = "NORM", help_heading = "Optimisation", default_value_t = Plan::default().train.clip)]
    clip: f32,
    /// Decay of the moving average of the weights; 0: off
    #[arg(long, value_name = "DECAY", help_heading = "Optimisation", default_value_t = Plan::default().train.ema)]
    ema: f32,
    /// Which kernels evaluate the network
    #[arg(long, value_name = "NAME", help_heading = "Device", value_parser = flags::kernels_of_training(),
        default_value = Plan::default().train.kernels.name())]
    kernels: String,

    /// The folder
    #[arg(long, short, value_name = "DIR", help_heading = "Output")]
    out: PathBuf,
    /// Draw no figure
    #[arg(long, help_heading = "Output")]
    no_pictures: bool,
}

/// Beside --suite, these flags have a meaning; all others are settled by the protocol.
const WITH_SUITE: [&str; 15] = [
    "suite",
    "flows",
    "path-noise",
    "steps",
    "seeds",
    "seed",
    "couplings",
    "n",
    "kernels",
    "out",
    "no-pictures",
    "adapter",
    "quiet",
    "json",
    "help",
];

fn default_paths() -> Vec<String> {
    Plan::default().paths.iter().map(Path::name).collect()
}

fn default_couplings() -> Vec<String> {
    Plan::default().couplings.iter().map(|coupling| coupling.entry().name.to_owned()).collect()
}

fn suites() -> PossibleValuesParser {
    PossibleValuesParser::new(
        SUITES
            .iter()
            .map(|suite| PossibleValue::new(suite.name).help(format!("{} ({})", suite.help, suite.source))),
    )
}

/// What `--json` prints, and lab.json holds.
#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    windfield: &'static str,
    adapter: Adapter,
    /// Of the intervals.
    confidence: f64,
    suite: Option<&'static str>,
    steps: u64,
    /// Test points of a set.
    rows: usize,
    seeds: usize,
    table: &'a [Row],
    /// With --suite: ours beside the published figures.
    published: &'a [Versus],
    conclusion: &'a [String],
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    interrupt::watch()?;
    let suite = args.suite.as_deref().and_then(Suite::named);
    let plan = plan(args, context, suite)?;
    // First, so that a folder is not settled by a run that cannot begin.
    let device = context.device()?;
    let lab = Lab::open(&args.out, plan)?;
    let mut bench = Bench { context, lab, out: &args.out, device };
    bench.introduce();
    bench.run()?;
    bench.sum_up(suite, !args.no_pictures)
}

/// What the flags ask for.
fn plan(args: &Args, context: &Context, suite: Option<&'static Suite>) -> anyhow::Result<Plan> {
    let first = context.seed();
    let seeds = |count: usize| (0..count as u64).map(|seed| first.wrapping_add(seed)).collect();
    let coupling = |name: &String| match (name.parse().map_err(Usage::of)?, args.ot_batch) {
        (Coupling::MinibatchOt { .. }, Some(ot_batch)) => Ok(Coupling::MinibatchOt { ot_batch }),
        (Coupling::Sinkhorn { epsilon, .. }, Some(ot_batch)) => Ok(Coupling::Sinkhorn { ot_batch, epsilon }),
        (coupling, _) => anyhow::Ok(coupling),
    };
    let couplings = args.couplings.iter().map(coupling).collect::<anyhow::Result<Vec<Coupling>>>()?;
    let noises = if args.path_noise.is_empty() { &[0.0][..] } else { &args.path_noise };
    let noisy = |path: &Path| -> anyhow::Result<Vec<Path>> {
        noises.iter().map(|sigma| path.clone().with_noise(*sigma).map_err(Usage::of)).collect()
    };
    let plan = if let Some(suite) = suite {
        if let Some(name) = context.all_typed().iter().find(|name| !WITH_SUITE.contains(&name.as_str())) {
            return Err(Usage(format!(
                "--{name} does not go with --suite {}, whose protocol settles it; leave it out",
                suite.name
            ))
            .into());
        }
        let mut plan = suite.plan()?;
        plan.train.kernels = args.kernels.parse().map_err(Usage::of)?;
        if context.typed("steps") {
            plan.train.steps = args.steps;
        }
        if context.typed("seeds") || context.typed("seed") {
            plan.seeds = seeds(if context.typed("seeds") { args.seeds } else { plan.seeds.len() });
        }
        plan.only = args.flows.iter().map(|flow| flow.replace("->", "→")).collect();
        if let Some(path) = plan.paths.first().filter(|_| context.typed("path-noise")) {
            plan.paths = noisy(path)?;
        }
        if context.typed("couplings") {
            plan.couplings = couplings;
        }
        if context.typed("n") {
            // In the protocol's proportion.
            plan.transport_rows = plan.transport_rows.map(|rows| (rows * args.n / plan.rows).max(1));
            plan.rows = args.n;
        }
        plan
    } else {
        let path = |name: &String| noisy(&Path::named(name).map_err(Usage::of)?);
        Plan {
            tasks: vec![Task::new(args.data.as_deref().unwrap_or_default(), args.source.as_deref())],
            paths: args.paths.iter().map(path).collect::<anyhow::Result<Vec<_>>>()?.concat(),
            couplings,
            seeds: seeds(args.seeds),
            train: TrainOptions {
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
                standardize: args.standardize.wanted(),
                kernels: args.kernels.parse().map_err(Usage::of)?,
                ..TrainOptions::default()
            },
            rows: args.n,
            ..Plan::default()
        }
    };
    plan.validate().map_err(Usage::of)?;
    Ok(plan)
}

/// A lab at work.
struct Bench<'a> {
    context: &'a Context,
    lab: Lab,
    out: &'a FilePath,
    device: Device,
}

impl Bench<'_> {
    fn introduce(&self) {
        let plan = self.lab.plan();
        let names = |names: Vec<String>| names.join(", ");
        self.context
            .say(&format!("flows     {}", names(plan.flows().map(|task| task.name.clone()).collect())));
        self.context.say(&format!("paths     {}", names(plan.paths.iter().map(path_label).collect())));
        self.context.say(&format!(
            "couplings {}",
            names(plan.couplings.iter().map(|coupling| coupling.entry().name.to_owned()).collect())
        ));
        self.context.say(&format!(
            "models    {} of {} each, {} of them done",
            count(plan.cells().len()),
            counted(plan.train.steps, "step", "steps"),
            count(self.lab.done().len())
        ));
    }

    fn run(&mut self) -> anyhow::Result<()> {
        let todo = self.lab.todo();
        let all = self.lab.plan().cells().len();
        let before = all - todo.len();
        // In thousandths of a cell.
        let mut bar = self.context.progress(1000 * before as u64, 1000 * all as u64);
        for (place, id) in todo.iter().enumerate() {
            interrupt::check(&self.left())?;
            let begun = Instant::now();
            let rest = self.lab.seconds_for(&todo[place + 1..]);
            let this = self.lab.seconds_for(std::slice::from_ref(id));
            let name = id.describe();
            let shown = |news: windfield::measure::lab::Progress| {
                let share = news.share.clamp(0.0, 1.0);
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
                let position = 1000 * (before + place) as u64 + (1000.0 * share) as u64;
                bar.show(position, || {
                    let speed = news
                        .steps_per_second
                        .map_or_else(String::new, |speed| format!("  {} steps/s", approximately(speed)));
                    let left = time_left(begun.elapsed(), share, this, rest, todo.len() - place - 1);
                    let left = left.map_or_else(String::new, |left| format!("  {} left", duration(left)));
                    format!("{name}: {}{speed}{left}", news.what)
                });
            };
            let outcome = self.lab.run(&self.device, id, interrupt::requested, shown);
            if let Err(error) = outcome {
                bar.clear();
                return match error {
                    Error::Interrupted => Err(interrupt::Interrupted(self.left()).into()),
                    error => Err(anyhow::anyhow!("{name}: {error}")),
                };
            }
            bar.clear();
            self.context.say(&format!("done      {name} in {}", duration(begun.elapsed())));
            bar = self.context.progress(1000 * (before + place + 1) as u64, 1000 * all as u64);
        }
        Ok(())
    }

    /// What is there when it is broken off.
    fn left(&self) -> String {
        let plan = self.lab.plan();
        format!(
            "{} holds {} of {} models; the same command goes on from there",
            typed(self.out),
            self.lab.done().len(),
            plan.cells().len()
        )
    }

    fn sum_up(&self, suite: Option<&'static Suite>, pictures: bool) -> anyhow::Result<()> {
        let (context, table, plan) = (self.context, self.lab.table(), self.lab.plan());
        let published = suite.map_or_else(Vec::new, |suite| table.versus(suite));
        // What ours come to is beside the published figures already.
        let conclusion = if suite.is_some() { vec![] } else { table.conclusion() };
        let report = Report {
            schema: 1,
            windfield: env!("CARGO_PKG_VERSION"),
            adapter: Adapter::of(&self.device),
            confidence: CONFIDENCE,
            suite: suite.map(|suite| suite.name),
            steps: plan.train.steps,
            rows: plan.rows,
            seeds: plan.seeds.len(),
            table: &table.rows,
            published: &published,
            conclusion: &conclusion,
        };
        files::write_bytes(self.out.join("table.csv"), table.csv())?;
        let mut json = serde_json::to_string_pretty(&report)?;
        json.push('\n');
        files::write_bytes(self.out.join("lab.json"), json)?;
        let mut written = vec!["table.csv", "lab.json"];
        if pictures {
            let path = self.out.join("lab.png");
            let drawn = windfield::report::pictures::lab(&table)
                .and_then(|picture| windfield::report::plot::save(&picture, &path));
            match drawn {
                Ok(()) => written.push("lab.png"),
                Err(error) => warn(&format!("no lab.png: {error}")),
            }
        }
        context.say("");
        say_table(context, &table.rows, plan);
        if !published.is_empty() {
            context.say("");
            say_published(context, suite, &published);
        }
        if !conclusion.is_empty() {
            context.say("");
        }
        for sentence in &conclusion {
            context.say(sentence);
        }
        context.say(&format!("\nwrote     {}: {}", self.out.display(), written.join(", ")));
        context.object(&report)
    }
}

/// The time that is left of a cell and all after it.
fn time_left(
    elapsed: Duration,
    share: f64,
    this: Option<f64>,
    rest: Option<f64>,
    cells: usize,
) -> Option<Duration> {
    let passed = elapsed.as_secs_f64();
    // From what this cell has shown; before it has shown anything, from those like it.
    let whole = if share > 0.05 { Some(passed / share) } else { this }?;
    let rest = match rest {
        Some(rest) => rest,
        None => whole * cells as f64,
    };
    Duration::try_from_secs_f64((whole - passed).max(0.0) + rest).ok()
}

fn say_table(context: &Context, rows: &[Row], plan: &Plan) {
    let several = plan.flows().count() > 1;
    let mut lines: Vec<Vec<String>> = vec![];
    let names = ["path", "coupling"].map(str::to_owned);
    let task = several.then(|| "flow".to_owned());
    let headings = COLUMNS.iter().map(|column| column.heading.to_owned());
    lines.push(task.into_iter().chain(names).chain(headings).collect());
    for row in rows {
        let names = several.then(|| row.task.clone()).into_iter();
        let names = names.chain([row.path.clone(), row.coupling.clone()]);
        let cells =
            COLUMNS.iter().map(|column| (column.value)(row).map_or_else(|| "–".to_owned(), with_interval));
        lines.push(names.chain(cells).collect());
    }
    context.table(&lines);
    let seeds = rows.iter().map(|row| row.seeds.len()).min().unwrap_or(0);
    let interval = if seeds > 1 { ", ± the half width of a 95 % interval" } else { "" };
    context.say(&format!(
        "means of {}{interval}; {} test points; S, C and L_CFM in the network's coordinates",
        counted(seeds, "seed", "seeds"),
        count(plan.rows)
    ));
    let mut line = String::new();
    for column in COLUMNS {
        let help = format!("{}: {}", column.heading, column.help);
        if !line.is_empty() && line.chars().count() + help.chars().count() > 110 {
            context.say(&line);
            line.clear();
        }
        line += if line.is_empty() { "" } else { "; " };
        line += &help;
    }
    context.say(&line);
}

fn say_published(context: &Context, suite: Option<&'static Suite>, published: &[Versus]) {
    let source = suite.map_or("", |suite| suite.source);
    let head = ["flow", "path", "coupling", "measure", "measured", "published", "floor", "1 step", "reached"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for figure in published {
        let spread = |mean: f64, deviation: Option<f64>| match deviation {
            Some(deviation) => format!("{} ± {}", three_digits(mean), three_digits(deviation)),
            None => three_digits(mean),
        };
        let maybe = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), three_digits);
        lines.push(vec![
            figure.task.clone(),
            figure.path.clone(),
            figure.coupling.clone(),
            figure.measure.to_owned(),
            spread(figure.mean, figure.deviation),
            spread(figure.published, Some(figure.published_deviation)),
            maybe(figure.floor),
            maybe(figure.one_step),
            if figure.reached { "yes" } else { "no" }.to_owned(),
        ]);
    }
    context.table(&lines);
    let seeds = published.iter().map(|figure| figure.seeds).min().unwrap_or(0);
    context.say(&format!(
        "measured: {}; published: {source}, five seeds; ± the standard deviation over seeds",
        counted(seeds, "seed", "seeds")
    ));
    let reached = published.iter().filter(|figure| figure.reached).count();
    context.say(&format!("{} of {} reached", count(reached), count(published.len())));
    context.say(
        "reached: at most the published mean and its deviation; floor: W₂ of two test sets, and NPE of what transports \
         optimally to another one; 1 step: W₂ after a single Euler step",
    );
}
