//! `windfield bench`: how fast this device is, and how near to what it can do.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::builder::{PossibleValue, PossibleValuesParser};
use serde::Serialize;
use windfield::Error;
use windfield::flow::COUPLINGS;
use windfield::gpu::{AdapterChoice, CacheFile, CachePurpose, Device};
use windfield::measure::bench::{
    Bench, Comparison, MemoryUse, Peak, Refusal, Report, Roofline, SIZES, Scaling, ScalingPoint, Shape,
    Spread, StartTimes, host_peak,
};
use windfield::model::{Kernels, Task as Work, Tuning};
use windfield::report::{approximately, bytes, duration, pictures, plot};

use super::{Context, Usage, flags, interrupt, terminal};

/// What can be measured, each with a line of help.
const QUANTITIES: &[(&str, &str)] = &[
    ("peak", "the device's own peak of arithmetic and of memory"),
    ("training", "whole training steps a second"),
    ("sampling", "samples a second, in 100 Euler steps"),
    ("likelihood", "log p a second, with the exact divergence, in 100 Euler steps"),
    ("coupling", "batches a second whose pairs a coupling finds"),
    ("kernels", "the time of each kernel and its share of the peak"),
    ("start", "from the start of a process to its first training step, with and without caches"),
    ("memory", "the most memory that all of this took"),
];
/// Of training steps, of sampling, and of likelihoods.
const TRAINING: &[&str] =
    &["2:3x64:256", "2:4x256:256", "2:4x256:1024", "2:4x256:4096", "64:3x512:256", "784:3x512:256"];
const SAMPLING: &[&str] = &["2:3x64:100000"];
const LIKELIHOOD: &[&str] = &["2:3x64:10000"];
/// Points and their dimension.
const COUPLING: &[(usize, usize)] = &[(512, 2), (2048, 2)];
/// Length of a measurement of --tune.
const TUNING_SECONDS: f64 = 0.2;
/// What switches the drivers' caches of shaders off: Mesa's, NVIDIA's. Metal and DX12 have no variable for that.
const COLD: &[(&str, &str)] = &[("MESA_SHADER_CACHE_DISABLE", "true"), ("__GL_SHADER_DISK_CACHE", "0")];

/// Measure how fast this device is, and how near to what it can do
///
/// Every figure is the median of some rounds, with the smallest and the largest; where there are several --kernels, they
/// take turns within a round. Compiling, filling buffers and finding the length of submissions come before the clock
/// starts. Machines are shared and noisy: trust ratios within a run, and look at the spread.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct Args {
    /// Measure these alone
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = names(), help_heading = "Bench")]
    only: Vec<String>,
    /// A network and its rows instead of the usual ones; may be given again [such as: 2:3x64:256]
    ///
    /// DIM:LAYERSxWIDTH:ROWS is a network with so many hidden layers of so many units for points of so many dimensions.
    /// ROWS is the batch of training, the number of particles of sampling and likelihood, and the points of a coupling.
    #[arg(long, value_name = "SHAPE", help_heading = "Bench")]
    shape: Vec<String>,
    /// Which kernels evaluate the network; several take turns
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = flags::kernels(), help_heading = "Bench",
        default_value = Kernels::default().name())]
    kernels: Vec<String>,
    /// Measurements of each figure
    #[arg(long, value_name = "COUNT", default_value_t = 5, help_heading = "Bench")]
    rounds: usize,
    /// Length of a measurement, about
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, help_heading = "Bench")]
    seconds: f64,
    /// Put this run beside an earlier one, whose --json output is in FILE
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    compare: Option<PathBuf>,
    /// Measure how cost grows with batch, width, depth, dimension and particles, and draw it
    ///
    /// All else is left out, unless --only asks for it. Sizes grow around 2:3x64:256; --shape has no say in this.
    #[arg(long, help_heading = "Bench")]
    scaling: bool,
    /// The picture of --scaling
    #[arg(
        long,
        short,
        value_name = "FILE",
        help_heading = "Output",
        default_value = "scaling.png",
        requires = "scaling"
    )]
    out: PathBuf,
    /// Find the fastest kernels for the usual shapes, or for --shape, and have `--kernels auto` take them from then on
    ///
    /// What is found is kept in the cache folder, for this adapter and driver, and counts for the same network with up to
    /// twice or half the rows. It is never needed: without it, `auto` goes by rules. All else is left out, unless --only
    /// asks for it. A measurement takes 0.2 s here, unless --seconds says otherwise. `bench` itself keeps to the rules.
    #[arg(long, help_heading = "Bench", conflicts_with_all = ["scaling", "kernels"])]
    tune: bool,
    /// With --tune: forget what was found for this adapter instead
    #[arg(long, help_heading = "Bench", requires = "tune")]
    clear: bool,
    /// One training step, and no more: the process that `start` times
    #[arg(long, hide = true)]
    first_step: bool,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(QUANTITIES.iter().map(|(name, help)| PossibleValue::new(name).help(*help)))
}

/// What `--json` prints.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    report: &'a Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<&'a [Comparison]>,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    interrupt::watch()?;
    let task = Task::new(args)?;
    if args.tune && context.cache().is_none() {
        return Err(
            Usage("--tune has nowhere to keep what it finds: give a folder with --cache".into()).into()
        );
    }
    let before = args.compare.as_ref().map(Report::load).transpose()?;
    let device = context.device_for_networks()?;
    if let Some(folder) = context.cache().filter(|_| args.clear) {
        return forget(context, &device, folder);
    }
    let seconds = if args.tune && !context.typed("seconds") { TUNING_SECONDS } else { args.seconds };
    let time = Duration::try_from_secs_f64(seconds).map_err(|_| {
        Usage(format!("--seconds {seconds} is out of range; it takes a number that is not negative"))
    })?;
    let mut bench = Bench::new(&device, context.seed(), args.rounds, time).map_err(Usage::of)?;
    bench.stop_when(interrupt::requested);
    if args.first_step {
        bench.first_step(&task.training[0], task.kernels[0])?;
        return terminal::print("done\n");
    }
    let mut run = Run { context, args, device: &device, bench: &bench, report: bench.report() };
    run.everything(&task).map_err(|error| interrupt::explain(error, "not everything was measured"))?;
    let mut report = run.report;
    if task.wanted("memory") {
        let memory = MemoryUse { host_bytes: host_peak(), device_bytes: device.memory().peak };
        say_memory(context, &memory);
        report.memory = Some(memory);
    }
    if let Some(refusal) = report.refused.first().filter(|_| report.is_empty()) {
        return Err(anyhow::anyhow!("{}", refusal.reason));
    }
    let comparison = before.as_ref().map(|before| report.compare(before));
    if let (Some(before), Some(rows)) = (&before, &comparison) {
        say_comparison(context, &report, before, rows);
    }
    context.object(&Printed { report: &report, comparison: comparison.as_deref() })
}

/// `--tune --clear`.
fn forget(context: &Context, device: &Device, folder: &Path) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Forgotten<'a> {
        schema: u32,
        /// Whether there was anything.
        cleared: bool,
        file: &'a Path,
    }
    let file = CacheFile::new(folder, CachePurpose::Tuning, device.info());
    let cleared = file.remove()?;
    let word = if cleared { "removed" } else { "there is no" };
    context.say(&format!("tuning    {word} {}", file.path().display()));
    context.object(&Forgotten { schema: 1, cleared, file: file.path() })
}

/// What is to be measured.
struct Task {
    only: Vec<String>,
    /// Whether the rest is to be measured only where `only` says so.
    special: bool,
    scaling: bool,
    tune: bool,
    training: Vec<Shape>,
    sampling: Vec<Shape>,
    likelihood: Vec<Shape>,
    coupling: Vec<(usize, usize)>,
    kernels: Vec<Kernels>,
}

impl Task {
    fn new(args: &Args) -> anyhow::Result<Self> {
        let given = args
            .shape
            .iter()
            .map(|text| text.parse())
            .collect::<Result<Vec<Shape>, _>>()
            .map_err(Usage::of)?;
        let or = |usual: &[&str]| -> anyhow::Result<Vec<Shape>> {
            if given.is_empty() {
                return Ok(usual.iter().map(|text| text.parse()).collect::<Result<_, _>>()?);
            }
            Ok(given.clone())
        };
        let coupling = given.iter().map(|shape| (shape.rows, shape.dim)).collect();
        let kernels = args.kernels.iter().map(|name| name.parse()).collect::<Result<_, Error>>();
        Ok(Self {
            only: args.only.clone(),
            special: args.scaling || args.tune,
            scaling: args.scaling,
            tune: args.tune,
            training: or(TRAINING)?,
            sampling: or(SAMPLING)?,
            likelihood: or(LIKELIHOOD)?,
            coupling: if given.is_empty() { COUPLING.to_vec() } else { coupling },
            kernels: kernels.map_err(Usage::of)?,
        })
    }

    fn wanted(&self, name: &str) -> bool {
        (self.only.is_empty() && !self.special) || self.only.iter().any(|only| only == name)
    }
}

/// A run, and what it has found so far.
struct Run<'a> {
    context: &'a Context,
    args: &'a Args,
    device: &'a Device,
    bench: &'a Bench,
    report: Report,
}

impl Run<'_> {
    fn everything(&mut self, task: &Task) -> anyhow::Result<()> {
        if task.wanted("peak") || task.wanted("kernels") {
            let peak = self.bench.peak()?;
            say_peak(self.context, &peak);
            self.report.peak = Some(peak);
        }
        self.rates(task)?;
        if let Some(peak) = self.report.peak.filter(|_| task.wanted("kernels")) {
            self.kernels(task, &peak)?;
        }
        if let Some(folder) = self.context.cache().filter(|_| task.tune) {
            self.tune(task, folder)?;
        }
        if task.scaling {
            self.scaling(task.kernels[0])?;
        }
        if task.wanted("start") {
            let times = self.start(&task.training[0], task.kernels[0])?;
            say_start(self.context, &times);
            self.report.start = Some(times);
        }
        Ok(())
    }

    /// What happens how often a second.
    fn rates(&mut self, task: &Task) -> anyhow::Result<()> {
        let (bench, kernels) = (self.bench, &task.kernels);
        if task.wanted("training") {
            self.heading("training", "batch", "steps/s");
            for shape in &task.training {
                let rows = self.fitting(format!("training {shape}"), bench.training(shape, kernels))?;
                for row in rows.unwrap_or_default() {
                    self.rate(&row.shape, &row.kernels, row.steps_per_s, &bytes(row.device_bytes));
                    self.report.training.push(row);
                }
            }
        }
        if task.wanted("sampling") {
            self.heading("sampling", "particles", "samples/s");
            for shape in &task.sampling {
                let rows = self.fitting(format!("sampling {shape}"), bench.sampling(shape, kernels))?;
                for row in rows.unwrap_or_default() {
                    self.rate(&row.shape, &row.kernels, row.samples_per_s, &bytes(row.device_bytes));
                    self.report.sampling.push(row);
                }
            }
        }
        if task.wanted("likelihood") {
            self.heading("likelihood", "particles", "log p/s");
            for shape in &task.likelihood {
                let rows = self.fitting(format!("likelihood {shape}"), bench.likelihood(shape, kernels))?;
                for row in rows.unwrap_or_default() {
                    self.rate(&row.shape, &row.kernels, row.likelihoods_per_s, &bytes(row.device_bytes));
                    self.report.likelihood.push(row);
                }
            }
        }
        if task.wanted("coupling") {
            self.heading("coupling", "points", "solves/s");
            for (points, dim) in &task.coupling {
                for entry in COUPLINGS {
                    let what = format!("{} of {points} points of dimension {dim}", entry.name);
                    let row = self.fitting(what, bench.coupling(entry.coupling, *points, *dim))?;
                    if let Some(row) = row.flatten() {
                        let mut work = format!("{} GFLOP/s", approximately(row.flops() / 1e9));
                        if let Some(peak) = self.report.peak {
                            write!(work, ", {} %", approximately(100.0 * row.flops() / peak.flops))?;
                        }
                        self.rate(&format!("{dim}:{points}"), &row.name, row.solves_per_s, &work);
                        self.report.coupling.push(row);
                    }
                }
            }
        }
        Ok(())
    }

    fn kernels(&mut self, task: &Task, peak: &Peak) -> anyhow::Result<()> {
        type Measure = fn(&Bench, &Shape, Kernels, &Peak) -> windfield::Result<Roofline>;
        let parts: [(&[Shape], Measure); 3] = [
            (&task.training, Bench::training_kernels),
            (&task.sampling, Bench::sampling_kernels),
            (&task.likelihood, Bench::likelihood_kernels),
        ];
        for (shapes, measure) in parts {
            for shape in shapes {
                for kernels in &task.kernels {
                    let what = format!("the kernels of {shape}");
                    if let Some(roofline) = self.fitting(what, measure(self.bench, shape, *kernels, peak))? {
                        say_roofline(self.context, &roofline);
                        self.report.kernels.push(roofline);
                    }
                }
            }
        }
        Ok(())
    }

    /// Finds the fastest kernels, and keeps what it has after each network.
    fn tune(&mut self, task: &Task, folder: &Path) -> anyhow::Result<()> {
        let info = self.device.info();
        let mut tuning = Tuning::load(folder, info);
        self.context.say("\ntuning      dim:network:rows      auto      fastest         gain  all, a second");
        for (name, work, shapes) in [
            ("training", Work::Training, &task.training),
            ("sampling", Work::Sampling, &task.sampling),
            ("likelihood", Work::Likelihood, &task.likelihood),
        ] {
            for shape in shapes {
                let result = self.bench.tune(work, shape);
                let Some(trial) = self.fitting(format!("{name} {shape}"), result)? else { continue };
                let fastest = match trial.tuned.kernels {
                    Kernels::Auto => "the same",
                    kernels => kernels.name(),
                };
                let rates: Vec<String> = trial
                    .rates
                    .iter()
                    .map(|(name, rate)| format!("{name} {}", approximately(rate.median)))
                    .collect();
                self.context.say(&format!(
                    "{name:<10}  {:<22}{:<10}{fastest:<14}{:>6.2}  {}",
                    shape.to_string(),
                    trial.auto,
                    trial.tuned.gain,
                    rates.join(", ")
                ));
                tuning.insert(trial.tuned.clone());
                tuning.save(folder, info)?;
                self.report.tuning.push(trial);
            }
        }
        let file = CacheFile::new(folder, CachePurpose::Tuning, info);
        self.context.say(&format!("wrote       {}", file.path().display()));
        Ok(())
    }

    fn scaling(&mut self, kernels: Kernels) -> anyhow::Result<()> {
        for size in SIZES {
            self.context.say(&format!(
                "\nscaling     {:<12}{:>14}  {:<22}{:>8}  memory",
                size.name, "ms", "min to max", "slope"
            ));
            let mut points: Vec<ScalingPoint> = vec![];
            for value in size.values {
                let result = self.bench.scaling(size, *value, kernels);
                let Some(point) = self.fitting(format!("{} {value}", size.name), result)? else { continue };
                let Spread { median, min, max, .. } = point.seconds;
                let [median_ms, min, max] = [median, min, max].map(|seconds| approximately(seconds * 1e3));
                // Between the point before and this one.
                let slope = points.last().map_or_else(String::new, |last| {
                    #[allow(clippy::cast_precision_loss, reason = "sizes are small")]
                    let factor = *value as f64 / last.value as f64;
                    format!("{:.2}", (median / last.seconds.median).ln() / factor.ln())
                });
                let formula = point.formula_bytes.map(|all| format!(" ({} by formula)", bytes(all)));
                let memory = bytes(point.device_bytes) + &formula.unwrap_or_default();
                let range = format!("{min} to {max}");
                let line = format!("{:<12}{value:<12}{median_ms:>14}  {range:<22}{slope:>8}  {memory}", "");
                self.context.say(&line);
                points.push(point);
            }
            let (size, of) = (size.name.to_owned(), size.of.to_owned());
            self.report.scaling.push(Scaling { size, of, points });
        }
        plot::save(&pictures::scaling(&self.report)?, &self.args.out)?;
        self.context.say(&format!("wrote       {}", self.args.out.display()));
        Ok(())
    }

    /// What was measured, or nothing where it does not fit the device.
    fn fitting<T>(&mut self, figure: String, result: windfield::Result<T>) -> anyhow::Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error @ (Error::Config { .. } | Error::Limit { .. } | Error::OutOfMemory { .. })) => {
                let reason = error.to_string();
                self.context.say(&format!("  not measured: {figure}: {reason}"));
                self.report.refused.push(Refusal { figure, reason });
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn heading(&self, name: &str, rows: &str, unit: &str) {
        let (shape, by, last) = match name {
            "coupling" => (format!("dim:{rows}"), "", "arithmetic, of the peak"),
            _ => (format!("dim:network:{rows}"), "kernels", "memory"),
        };
        let range = "min to max";
        self.context.say(&format!("\n{name:<10}  {shape:<22}{by:<13}{unit:>10}  {range:<18}  {last}"));
    }

    fn rate(&self, shape: &impl std::fmt::Display, by: &str, rate: Spread, last: &str) {
        let [median, min, max] = [rate.median, rate.min, rate.max].map(approximately);
        let (shape, range) = (shape.to_string(), format!("{min} to {max}"));
        let line = format!("{:<10}  {shape:<22}{by:<13}{median:>10}  {range:<18}  {last}", "");
        self.context.say(&line);
    }

    /// Times processes of this very program, cold and warm in turn.
    fn start(&self, shape: &Shape, kernels: Kernels) -> anyhow::Result<StartTimes> {
        // Fills the caches.
        self.process(shape, kernels, false)?;
        let (mut cold, mut warm) = (vec![], vec![]);
        for _ in 0..self.args.rounds {
            cold.push(self.process(shape, kernels, true)?);
            warm.push(self.process(shape, kernels, false)?);
        }
        Ok(StartTimes { shape: *shape, cold_s: Spread::of(cold), warm_s: Spread::of(warm) })
    }

    /// Seconds from the start of a process to the end of its first step, with or without caches.
    fn process(&self, shape: &Shape, kernels: Kernels, cold: bool) -> anyhow::Result<f64> {
        let shape = shape.to_string();
        let mut words: Vec<OsString> =
            ["bench", "--first-step", "--quiet", "--shape", &shape, "--kernels", kernels.name()]
                .map(OsString::from)
                .to_vec();
        match self.context.adapter() {
            AdapterChoice::Fastest => {}
            AdapterChoice::Index(index) => words.extend(["--adapter".into(), index.to_string().into()]),
            AdapterChoice::Name(name) => words.extend(["--adapter".into(), name.into()]),
        }
        let folder = self.context.cache().filter(|_| !cold).map_or("off".into(), PathBuf::from);
        words.extend(["--cache".into(), folder.into()]);
        let failed = |reason: &str| anyhow::anyhow!("a first step in a process of its own failed: {reason}");
        let program = std::env::current_exe().map_err(|error| failed(&error.to_string()))?;
        let begun = Instant::now();
        let mut child = Command::new(program)
            .args(words)
            .envs(COLD.iter().copied().filter(|_| cold))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error.to_string()))?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            // A process that fails says nothing here: its exit status and its word on standard error follow.
            let _ = BufReader::new(output).read_line(&mut line);
        }
        let taken = begun.elapsed().as_secs_f64();
        let output = child.wait_with_output().map_err(|error| failed(&error.to_string()))?;
        if interrupt::requested() {
            return Err(Error::Interrupted.into());
        }
        if output.status.success() && line.trim() == "done" {
            return Ok(taken);
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        let last = complaint.lines().last().unwrap_or("it ended without a word");
        Err(failed(last.trim_start_matches("error: ")))
    }
}

fn say_peak(context: &Context, peak: &Peak) {
    context.say(&format!(
        "peak      {} GFLOP/s by multiplications and additions; {} GB/s by reading, {} GB/s by copying",
        approximately(peak.flops / 1e9),
        approximately(peak.read_bytes_per_s / 1e9),
        approximately(peak.copy_bytes_per_s / 1e9),
    ));
}

fn say_roofline(context: &Context, roofline: &Roofline) {
    let Roofline { of, shape, kernels, clock, seconds, share, rows, .. } = roofline;
    let clock =
        if clock == "timestamps" { "the device's clock" } else { "the host's clock, launches included" };
    context.say(&format!(
        "\nkernels     {of} {shape}, {kernels}: {} µs a step by {clock}, {} of the peak",
        approximately(seconds * 1e6),
        percent(*share)
    ));
    let line = |cells: [&str; 8]| {
        let mut line = format!("  {:<24}", cells[0]);
        for (cell, width) in cells[1..7].iter().zip([7, 12, 8, 10, 9, 9]) {
            let _ = write!(line, "{cell:>width$}");
        }
        context.say(&format!("{line}  {}", cells[7]));
    };
    line(["", "calls", "µs a step", "share", "GFLOP/s", "GB/s", "of peak", "bound by"]);
    for row in rows {
        line([
            &row.kernel,
            &brief(row.calls),
            &brief(row.seconds.median * 1e6),
            &percent(row.seconds.median / seconds),
            &brief(row.flops_per_s / 1e9),
            &brief(row.bytes_per_s / 1e9),
            &percent(row.share),
            &row.bound,
        ]);
    }
}

fn say_start(context: &Context, times: &StartTimes) {
    let time = |spread: Spread| {
        let [median, min, max] =
            [spread.median, spread.min, spread.max].map(|seconds| duration(Duration::from_secs_f64(seconds)));
        format!("{median} ({min} to {max})")
    };
    context.say(&format!(
        "\nstart       {} to the first step without any cache of kernels, {} with them: {}",
        time(times.cold_s),
        time(times.warm_s),
        times.shape
    ));
}

fn say_memory(context: &Context, memory: &MemoryUse) {
    let host = memory.host_bytes.map_or_else(|| "unknown".to_owned(), bytes);
    let device = bytes(memory.device_bytes);
    context.say(&format!("\nmemory      of the host {host}, of the device {device}, at the most"));
}

fn say_comparison(context: &Context, now: &Report, before: &Report, rows: &[Comparison]) {
    context.say(&format!("\nagainst     windfield {} on {}", before.windfield, before.adapter.name));
    if now.adapter != before.adapter {
        context.say(&format!(
            "  note: the adapters or their drivers differ: {} ({}) and now {} ({})",
            before.adapter.name, before.adapter.driver, now.adapter.name, now.adapter.driver
        ));
    }
    if rows.is_empty() {
        context.say("  the reports have no figure in common");
        return;
    }
    context.say(&format!("  {:>7}  {:<17}  figure", "ratio", "spread"));
    for row in rows {
        let spread = format!("{} to {}", approximately(row.at_least), approximately(row.at_most));
        let verdict = match row.ratio {
            _ if !row.is_clear() => "",
            ratio if ratio > 1.0 => "  better",
            _ => "  WORSE",
        };
        let ratio = approximately(row.ratio);
        context.say(&format!("  {ratio:>7}  {spread:<17}  {}{verdict}", row.figure));
    }
}

fn percent(share: f64) -> String {
    format!(
        "{} %",
        if share < 0.0995 { format!("{:.1}", 100.0 * share) } else { format!("{:.0}", 100.0 * share) }
    )
}

/// A number in a column: two decimals at the most.
fn brief(value: f64) -> String {
    if value < 99.95 { format!("{value:.2}") } else { approximately(value) }
}
