//! `windfield evaluate`: how good a model's samples are, how straight its flow is, and where its paths cross.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use windfield::data::Dataset;
use windfield::flow::{COUPLINGS, Coupling};
use windfield::measure::evaluate::{self as measures, Evaluation, Identity, Interval, MEASURES, Options};
use windfield::model::Model;
use windfield::report::{self, count, duration};

use super::flags::{self, ConditionArgs, SolverArgs};
use super::terminal::number;
use super::{Adapter, Context, Usage, interrupt, sample};

/// Measure a model: its samples beside data, how straight its flow is, where paths cross
///
/// Every measure is taken --seeds times, with other test points and other noise, and given as its mean with the interval
/// at 95 % confidence (Student's t). The floor of a distance is what two test sets of the same size are apart. Test points
/// of a built-in density are drawn anew; those of a file are its rows, of which training should have seen none.
#[derive(Debug, clap::Args)]
#[command(mut_arg("solver", |arg| arg.value_parser(flags::solvers_of_flows())))]
#[command(mut_arg("steps", |arg| arg.default_value("100").help("Steps of the samples and path energies; of dopri5 the states that path energies are taken from")))]
#[command(after_long_help = definitions())]
pub struct Args {
    /// The model file that `windfield train` wrote
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The data to compare with: a built-in name, `name:N`, or a file
    #[arg(long, value_name = "SOURCE", help_heading = "Data", long_help = flags::source_help("The data to compare with"))]
    data: String,
    /// What the flow starts from instead of noise [default: what the model was trained from]
    #[arg(long, value_name = "SOURCE", help_heading = "Data")]
    source: Option<String>,
    /// Test points of a set [default: 1000, or half the rows of a file]
    #[arg(short, value_name = "N", help_heading = "Measures")]
    n: Option<usize>,
    /// Particles and test points of NPE [default: -n, up to 4096]
    ///
    /// W₂² of few points scatters, and NPE with it: 10000 of them bring it down to a percent or so.
    #[arg(long, value_name = "N", help_heading = "Measures")]
    transport_rows: Option<usize>,
    /// Repetitions, each with other test points and other noise
    #[arg(long, value_name = "K", help_heading = "Measures", default_value_t = Options::default().seeds)]
    seeds: usize,
    /// Numbers of Euler steps for which the quality of samples is measured
    #[arg(long, value_name = "STEPS,…", help_heading = "Measures", value_delimiter = ',',
        default_values_t = Options::default().steps)]
    euler_steps: Vec<u32>,
    /// Tolerances for which the evaluations of dopri5 are counted
    #[arg(long, value_name = "TOLERANCE,…", help_heading = "Measures", value_delimiter = ',',
        default_values_t = Options::default().tolerances)]
    tolerances: Vec<f32>,
    /// The coupling of the pairs on which L_CFM is taken: that of the training
    ///
    /// The crossing energy C and L_FM are known exactly for independent pairs alone.
    #[arg(long, value_name = "COUPLING", help_heading = "Measures", value_parser = flags::couplings(),
        default_value = COUPLINGS[0].name)]
    coupling: String,
    /// Rows that the coupling rearranges together: --batch or --ot-batch of the training
    #[arg(long, value_name = "ROWS", help_heading = "Measures", default_value_t = Options::default().batch)]
    batch: usize,
    /// Pairs at each of the 32 times of C, L_CFM and L_FM
    #[arg(long, value_name = "PAIRS", help_heading = "Measures", default_value_t = Options::default().pairs)]
    pairs: usize,
    /// Particles of the exact flow; 0 leaves out what needs the exact field of the data
    #[arg(long, value_name = "ROWS", help_heading = "Measures", default_value_t = Options::default().exact_rows)]
    exact_rows: usize,
    /// Leave out log p
    #[arg(long, help_heading = "Measures")]
    no_likelihood: bool,
    #[command(flatten)]
    condition: ConditionArgs,
    #[command(flatten)]
    solver: SolverArgs,
    /// A folder for evaluation.json, crossing.csv, quality.csv and evaluation.png
    #[arg(long, short, value_name = "FOLDER", help_heading = "Output")]
    out: Option<PathBuf>,
}

/// The table of measures, as the long help has it.
fn definitions() -> String {
    use std::fmt::Write as _;
    let mut text = "Measures:".to_owned();
    for measure in MEASURES {
        let _ = write!(text, "\n  {}: {} ({})", measure.name, measure.definition, measure.source);
    }
    text.push_str(
        "\n\nDistances between samples and densities are in the units of the data; what belongs to the flow is in the \
         network's coordinates, in which the path is laid: standardised ones, unless the model was trained with \
         --no-standardize.",
    );
    text
}

/// What `--json` prints.
#[derive(Serialize)]
struct Summary<'a> {
    schema: u32,
    model: &'a Path,
    data: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<String>,
    source: Option<&'a str>,
    #[serde(flatten)]
    evaluation: &'a Evaluation,
    seconds: f64,
    adapter: Adapter,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    interrupt::watch()?;
    let coupling: Coupling = args.coupling.parse().map_err(Usage::of)?;
    let options = Options {
        rows: args.n,
        transport_rows: args.transport_rows,
        seeds: args.seeds,
        seed: context.seed(),
        sample: args.solver.options(context, 0.0, 1.0)?,
        steps: args.euler_steps.clone(),
        tolerances: args.tolerances.clone(),
        coupling,
        batch: args.batch,
        pairs: args.pairs,
        exact_rows: args.exact_rows,
        likelihood: !args.no_likelihood,
        stop: interrupt::requested,
    };
    options.validate().map_err(Usage::of)?;
    let trained = Model::load(&args.model)?;
    let model = args.condition.of(&trained)?;
    let data = args.condition.open(&trained, &args.data)?;
    let source = args.source.as_deref().or(model.source.as_deref());
    let source = source
        .map(|name| sample::open_source(name, args.source.is_some(), model.preparation.as_ref()))
        .transpose()?;
    // Now rather than after all the work, which a folder that cannot be written to would cost.
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder)
            .map_err(|error| anyhow::anyhow!("cannot create the folder {}: {error}", folder.display()))?;
    }
    let device = context.device_for_networks()?;
    let begun = Instant::now();
    let mut progress = None;
    let evaluation = measures::evaluate(&device, &model, &data, source.as_ref(), &options, |now| {
        let bar = progress.get_or_insert_with(|| context.progress(0, now.of as u64));
        bar.show(now.done as u64, || now.what.to_owned());
        ControlFlow::Continue(())
    })
    .map_err(|error| interrupt::explain(error.into(), "nothing was written"))?;
    drop(progress);
    say(context, &evaluation);
    let elapsed = begun.elapsed();
    let summary = Summary {
        schema: 1,
        model: &args.model,
        data: data.name(),
        condition: args.condition.describe(),
        source: source.as_ref().map(Dataset::name),
        evaluation: &evaluation,
        seconds: elapsed.as_secs_f64(),
        adapter: Adapter::of(&device),
    };
    if let Some(folder) = &args.out {
        for path in report::evaluation::write(folder, &evaluation, &summary)? {
            context.say(&format!("wrote     {}", path.display()));
        }
    }
    context.say(&format!("          {}", duration(elapsed)));
    context.object(&summary)
}

fn say(context: &Context, found: &Evaluation) {
    let test = if found.fresh { "fresh points" } else { "rows" };
    context.say(&format!(
        "test      {} sets of {} {test}, {} steps of {}; ± is at {:.0} % confidence",
        found.seeds,
        count(found.rows),
        found.solver_steps,
        found.solver,
        100.0 * found.confidence
    ));
    let mut rows = vec![["measure", "model", "floor", "ideal", "unit"].map(str::to_owned)];
    for measured in &found.measures {
        rows.push([
            measured.name.to_owned(),
            interval(&measured.value),
            measured.floor.as_ref().map_or_else(String::new, interval),
            measured.ideal.map_or_else(String::new, number),
            measured.unit.to_owned(),
        ]);
    }
    for evaluations in &found.evaluations {
        let most = format!("at most {}", interval(&evaluations.most));
        let name = format!("NFE of dopri5, {}", number(f64::from(evaluations.tolerance)));
        rows.push([name, interval(&evaluations.mean), most, String::new(), "1".to_owned()]);
    }
    context.table(&rows);
    if !found.quality.is_empty() {
        let mut rows = vec![["Euler steps", "W2", "sliced W2", "energy distance"].map(str::to_owned)];
        rows.extend(found.quality.iter().map(|quality| {
            [
                quality.steps.to_string(),
                quality.wasserstein2.as_ref().map_or_else(String::new, interval),
                interval(&quality.sliced),
                interval(&quality.energy),
            ]
        }));
        context.say("");
        context.table(&rows);
    }
    let mut rows = vec![["flow", "E∫‖u‖²dt", "E‖Z1 − Z0‖²", "S", "V", "residual"].map(str::to_owned)];
    rows.extend(found.identity.iter().map(|identity| {
        let Identity { flow, transport, displacement, straightness, crossing, residual } = identity;
        [
            (*flow).to_owned(),
            interval(transport),
            interval(displacement),
            interval(straightness),
            interval(crossing),
            interval(residual),
        ]
    }));
    context.say("\nE∫‖u_t(x | x1)‖²dt − E‖Z1 − Z0‖² = S + V; V of the model is its L_CFM");
    context.table(&rows);
    for note in &found.notes {
        context.say(&format!("note      {note}"));
    }
}

/// A mean and half the width of its interval, to as many digits as that has two of.
fn interval(value: &Interval) -> String {
    let Some(half) = value.half_width.filter(|half| half.is_finite() && *half > 0.0) else {
        return number(value.mean);
    };
    let mean = value.mean;
    if !(1e-4..1e6).contains(&half) {
        return format!("{} ± {}", number(mean), number(half));
    }
    let digits =
        (0..7usize).find(|&digits| half * 10f64.powi(i32::try_from(digits).unwrap_or(0)) >= 9.5).unwrap_or(6);
    format!("{mean:.digits$} ± {half:.digits$}")
}
