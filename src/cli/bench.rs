//! `windfield bench`: how fast this device is.

use std::time::Duration;

use clap::builder::PossibleValuesParser;
use serde::Serialize;
use windfield::measure::bench::{Bench, Report, Shape, Spread};
use windfield::report::approximately;

use super::{Adapter, Context, Usage, interrupt};

const QUANTITIES: [&str; 5] = ["peak", "training", "sampling", "likelihood", "coupling"];
/// The shapes of training, of sampling, and of likelihoods.
const TRAINING: [&str; 6] =
    ["2:3x64:256", "2:4x256:256", "2:4x256:1024", "2:4x256:4096", "64:3x512:256", "784:3x512:256"];
const SAMPLING: [&str; 1] = ["2:3x64:100000"];
const LIKELIHOOD: [&str; 1] = ["2:3x64:10000"];
const COUPLING: [usize; 2] = [512, 2048];

/// Measure how fast this device is
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Measure these alone
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = PossibleValuesParser::new(QUANTITIES))]
    only: Vec<String>,
    /// Networks and rows instead of the usual ones
    #[arg(long, value_name = "DIM:LAYERSxWIDTH:ROWS")]
    shape: Vec<String>,
    /// Measurements of each figure
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    rounds: usize,
    /// Time of each measurement, about
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    seconds: f64,
    /// Which kernels
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', default_value = "auto")]
    kernels: Vec<String>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Printed {
    schema: u32,
    windfield: &'static str,
    adapter: Adapter,
    #[serde(flatten)]
    report: Report,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    interrupt::watch()?;
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let shapes = |usual: &[&str]| -> anyhow::Result<Vec<Shape>> {
        let given = args.shape.iter().map(String::as_str);
        let texts: Vec<&str> = if args.shape.is_empty() { usual.to_vec() } else { given.collect() };
        texts.into_iter().map(|text| text.parse().map_err(Usage::of)).collect()
    };
    let (training, sampling, likelihood) = (shapes(&TRAINING)?, shapes(&SAMPLING)?, shapes(&LIKELIHOOD)?);
    let time = Duration::try_from_secs_f64(args.seconds).map_err(Usage::of)?;
    let device = context.device()?;
    let mut bench = Bench::new(&device, context.seed(), args.rounds, time)?;
    bench.stop_when(interrupt::requested);
    let kernels: Vec<&str> = args.kernels.iter().map(String::as_str).collect();
    let mut report = Report::default();
    let explain = |error| interrupt::explain(anyhow::Error::from(error), "not everything was measured");
    if wanted("peak") {
        let peak = bench.peak().map_err(explain)?;
        context.say(&format!("peak {peak:?}"));
        report.peak = Some(peak);
    }
    for shape in training.iter().filter(|_| wanted("training")) {
        for row in bench.training(shape, &kernels).map_err(explain)? {
            say(
                context,
                &format!("training    {:16} {:10}", row.shape, row.kernels),
                row.steps_per_s,
                "steps/s",
            );
            report.training.push(row);
        }
    }
    for shape in sampling.iter().filter(|_| wanted("sampling")) {
        for row in bench.sampling(shape, &kernels).map_err(explain)? {
            say(
                context,
                &format!("sampling    {:16} {:10}", row.shape, row.kernels),
                row.samples_per_s,
                "samples/s",
            );
            report.sampling.push(row);
        }
    }
    for shape in likelihood.iter().filter(|_| wanted("likelihood")) {
        for row in bench.likelihood(shape, &kernels).map_err(explain)? {
            let what = format!("likelihood  {:16} {:10}", row.shape, row.kernels);
            say(context, &what, row.likelihoods_per_s, "rows/s");
            report.likelihood.push(row);
        }
    }
    for points in COUPLING.iter().filter(|_| wanted("coupling")) {
        let row = bench.coupling(*points, 2).map_err(explain)?;
        say(context, &format!("coupling    {points:16}"), row.solves_per_s, "solves/s");
        report.coupling.push(row);
    }
    context.object(&Printed {
        schema: 1,
        windfield: env!("CARGO_PKG_VERSION"),
        adapter: Adapter::of(&device),
        report,
    })
}

fn say(context: &Context, what: &str, rate: Spread, unit: &str) {
    let [median, min, max] = [rate.median, rate.min, rate.max].map(approximately);
    context.say(&format!("{what} {median:>10} {unit}  ({min} to {max})"));
}
