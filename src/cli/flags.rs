//! Flags that several commands share, and helps that are made of the library's tables.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use windfield::Error;
use windfield::data::{
    Dataset, Label, LabelKind, LabelRequest, LabelWish, MISSING, Preparation, built_in, read_array,
};
use windfield::flow::{
    COUPLINGS, Coupling, DIVERGENCES, Divergence, Grid, Method, PATHS, PROBE_DISTRIBUTIONS, Path,
    ProbeDistribution, QUANTITIES, SOLVERS, Solver,
};
use windfield::model::{ACTIVATIONS, KERNELS, Kernels, Model};
use windfield::report::{approximately, counted};
use windfield::sample::{SampleOptions, Tolerance};
use windfield::train::{CouplingReport, PairCost, SCHEDULES};

use super::terminal::warn;
use super::{Context, Usage};

/// One of `entries`: names, each with a line of help.
fn choices(entries: impl IntoIterator<Item = (&'static str, String)>) -> PossibleValuesParser {
    PossibleValuesParser::new(entries.into_iter().map(|(name, help)| PossibleValue::new(name).help(help)))
}

/// The names of the paths.
pub fn paths() -> PossibleValuesParser {
    choices(PATHS.iter().map(|path| {
        (path.name, format!("{}: a(t) = {}, b(t) = {} ({})", path.help, path.a, path.b, path.source))
    }))
}

/// The names of the couplings.
pub fn couplings() -> PossibleValuesParser {
    choices(COUPLINGS.iter().map(|entry| (entry.name, format!("{} ({})", entry.help, entry.source))))
}

/// The names of the activations.
pub fn activations() -> PossibleValuesParser {
    choices(ACTIVATIONS.iter().map(|(name, formula, source)| {
        (*name, if source.is_empty() { (*formula).to_owned() } else { format!("{formula} ({source})") })
    }))
}

/// The names of the schedules.
pub fn schedules() -> PossibleValuesParser {
    choices(SCHEDULES.iter().map(|(name, _, help)| (*name, (*help).to_owned())))
}

/// The names of the kernels.
pub fn kernels() -> PossibleValuesParser {
    kernel_choices(|_| true)
}

/// The names of those that train.
pub fn kernels_of_training() -> PossibleValuesParser {
    kernel_choices(|kernels| kernels != Kernels::Shared)
}

fn kernel_choices(wanted: fn(Kernels) -> bool) -> PossibleValuesParser {
    choices(KERNELS.iter().filter(|entry| wanted(entry.1)).map(|(name, _, help, when)| {
        (*name, if when.is_empty() { (*help).to_owned() } else { format!("{help} (auto: {when})") })
    }))
}

/// The names of the solvers.
pub fn solvers() -> PossibleValuesParser {
    solver_choices(|_| true)
}

/// The names of those that add no noise.
pub fn solvers_of_flows() -> PossibleValuesParser {
    solver_choices(|solver| solver.method != Method::Stochastic)
}

fn solver_choices(wanted: fn(&Solver) -> bool) -> PossibleValuesParser {
    choices(
        SOLVERS.iter().filter(|solver| wanted(solver)).map(|solver| {
            (solver.name, format!("order {}; {} ({})", solver.order, solver.help, solver.source))
        }),
    )
}

/// The names of the quantities.
pub fn quantities() -> PossibleValuesParser {
    choices(QUANTITIES.iter().map(|(name, _, formula)| (*name, (*formula).to_owned())))
}

fn divergences() -> PossibleValuesParser {
    choices(DIVERGENCES.iter().map(|(name, help)| (*name, (*help).to_owned())))
}

/// The ways with missing values.
pub fn missing() -> PossibleValuesParser {
    choices(MISSING.iter().map(|(name, _, help)| (*name, (*help).to_owned())))
}

fn probe_distributions() -> PossibleValuesParser {
    choices(PROBE_DISTRIBUTIONS.iter().map(|(name, _, help)| (*name, (*help).to_owned())))
}

/// A time grid: a name, or a file.
fn grid(text: &str) -> anyhow::Result<Grid> {
    let path = std::path::Path::new(text);
    if text.parse::<Grid>().is_err() && (path.extension().is_some() || path.exists()) {
        let array = read_array(path)?;
        if array.row_len() != 1 {
            return Err(Error::input(
                text,
                format!("its rows have {} values", array.row_len()),
                "a time grid is one column: the times from the first to the last",
            )
            .into());
        }
        return Ok(Grid::times(array.values.iter().map(|t| f64::from(*t)).collect())?);
    }
    text.parse().map_err(Usage::of)
}

/// Of rows that are told nothing, where no other share is asked for.
const LABEL_DROPOUT: f32 = 0.1;

/// How to integrate.
#[derive(Debug, clap::Args)]
pub struct SolverArgs {
    /// How to integrate
    #[arg(long, value_name = "SOLVER", help_heading = "Integration", value_parser = solvers(),
        default_value = SampleOptions::default().solver.name)]
    solver: String,
    /// Steps; of dopri5, which chooses its own, the states that --trajectory writes
    #[arg(long, value_name = "STEPS", help_heading = "Integration", default_value_t = SampleOptions::default().steps)]
    steps: u32,
    /// How the steps are spread: uniform, cosine, power:p, or a file with one column of times
    ///
    /// cosine: short steps at both ends, t0 + (t1 − t0)·(1 − cos(πi/n))/2. power:p: t0 + (t1 − t0)·(i/n)^p. A file (.npy
    /// or .csv) says itself where to begin and end, and how many steps there are.
    #[arg(long, value_name = "GRID", help_heading = "Integration", default_value = "uniform")]
    grid: String,
    /// Error of a step relative to the state (dopri5)
    #[arg(long, value_name = "TOLERANCE", help_heading = "Integration", default_value_t = Tolerance::default().relative)]
    rtol: f32,
    /// Absolute error of a step, in the network's coordinates (dopri5)
    #[arg(long, value_name = "TOLERANCE", help_heading = "Integration", default_value_t = Tolerance::default().absolute)]
    atol: f32,
    /// Steps that a particle may try before it is given up (dopri5)
    #[arg(long, value_name = "STEPS", help_heading = "Integration", default_value_t = Tolerance::default().most_steps)]
    max_steps: u32,
    /// Which kernels evaluate the network
    ///
    /// The result depends on them up to rounding.
    #[arg(long, value_name = "NAME", help_heading = "Device", value_parser = kernels(),
        default_value = Kernels::default().name())]
    kernels: String,
}

impl SolverArgs {
    /// The settings, from `t0` to `t1` unless a grid of given times says otherwise.
    pub fn options(&self, context: &Context, t0: f32, t1: f32) -> anyhow::Result<SampleOptions> {
        let solver = Solver::named(&self.solver).map_err(Usage::of)?;
        if !solver.is_adaptive() {
            for name in ["rtol", "atol", "max-steps"] {
                if context.typed(name) {
                    return Err(Usage(format!(
                        "--{name} goes with --solver dopri5, not with {}",
                        solver.name
                    ))
                    .into());
                }
            }
        }
        let grid = grid(&self.grid)?;
        if matches!(grid, Grid::Times(_)) {
            for name in ["steps", "t0", "t1"] {
                if context.typed(name) {
                    return Err(Usage(format!(
                        "--{name} does not go with the times of --grid {}",
                        self.grid
                    ))
                    .into());
                }
            }
        }
        let tolerance = Tolerance { relative: self.rtol, absolute: self.atol, most_steps: self.max_steps };
        let options = SampleOptions {
            solver,
            steps: self.steps,
            grid,
            tolerance,
            t0,
            t1,
            seed: context.seed(),
            kernels: self.kernels.parse().map_err(Usage::of)?,
            ..SampleOptions::default()
        };
        Ok(options.resolved())
    }
}

/// How the divergence is found.
#[derive(Debug, clap::Args)]
pub struct DivergenceArgs {
    /// How the divergence is found
    #[arg(long, value_name = "ESTIMATOR", help_heading = "Density", value_parser = divergences(), default_value = "exact")]
    divergence: String,
    /// Random directions of hutchinson [default: 16]
    #[arg(long, value_name = "COUNT", help_heading = "Density")]
    probes: Option<u32>,
    /// What the directions are drawn from [default: rademacher]
    #[arg(long, value_name = "NAME", help_heading = "Density", value_parser = probe_distributions())]
    probe_distribution: Option<String>,
}

impl DivergenceArgs {
    /// The estimator.
    pub fn divergence(&self) -> anyhow::Result<Divergence> {
        if self.divergence == "exact" {
            if self.probes.is_some() || self.probe_distribution.is_some() {
                return Err(Usage(
                    "--probes and --probe-distribution go with --divergence hutchinson".into(),
                )
                .into());
            }
            return Ok(Divergence::Exact);
        }
        let distribution = match &self.probe_distribution {
            Some(name) => name.parse().map_err(Usage::of)?,
            None => ProbeDistribution::default(),
        };
        let divergence = Divergence::Hutchinson { probes: self.probes.unwrap_or(16), distribution };
        divergence.validate().map_err(Usage::of)?;
        Ok(divergence)
    }
}

/// What a SOURCE can be.
pub fn source_help(purpose: &str) -> String {
    use std::fmt::Write as _;
    let mut help = format!(
        "{purpose}: a built-in name, `name:N` for N points of it, or a file (.npy of shape [n, d], .csv or .tsv with \
         a header row, .parquet), or a folder of PNGs of one size.\n\nA table may hold numbers, whole numbers \
         (samples are rounded), words (categories, at most 64 in a column) and columns of one value.\n\nBuilt in:"
    );
    let widest = built_in().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, line) in built_in() {
        let _ = write!(help, "\n  {name:widest$}  {line}");
    }
    help
}

/// A path's name, `poly:N` included: the table's names as choices.
#[derive(Clone)]
struct PathName;

impl TypedValueParser for PathName {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        match value.to_str() {
            Some(text) if text.starts_with("poly:") => Ok(text.to_owned()),
            _ => paths().parse_ref(command, arg, value),
        }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values: Vec<PossibleValue> = paths().possible_values().into_iter().flatten().collect();
        Some(Box::new(values.into_iter()))
    }
}

/// A named constant.
fn constant(text: &str) -> Result<(String, f64), String> {
    let (name, value) = text.split_once('=').ok_or("it takes NAME=NUMBER, such as beta=0.5")?;
    let value = value.trim();
    let number = value.parse().map_err(|_| format!("`{value}` is no number"))?;
    Ok((name.trim().to_owned(), number))
}

/// The path.
#[derive(Debug, clap::Args)]
pub struct PathArgs {
    /// Conditional probability path from noise to data [default: ot]
    ///
    /// x_t = b(t)·x0 + a(t)·x1 between noise x0 at t = 0 and data x1 at t = 1. The velocities of `vp` and `ve` are
    /// singular at t = 1: their times are drawn on [0, 1 − 1e-5].
    #[arg(long, value_name = "PATH", help_heading = "Flow", value_parser = PathName)]
    path: Option<String>,
    /// Standard deviation around a data point at t = 1 (ot), or the scale of the noise there (ve) [default: 1e-5 for ot, 0.01 for ve]
    #[arg(long, value_name = "SIGMA", help_heading = "Flow")]
    sigma_min: Option<f32>,
    /// Standard deviation of the noise at t = 0 (ve), in the network's coordinates; several times the spread of the data [default: 10]
    #[arg(long, value_name = "SIGMA", help_heading = "Flow")]
    sigma_max: Option<f32>,
    /// Rate of the diffusion at the data (vp) [default: 0.1]
    #[arg(long, value_name = "RATE", help_heading = "Flow")]
    beta_min: Option<f32>,
    /// Rate of the diffusion at the noise (vp) [default: 20]
    #[arg(long, value_name = "RATE", help_heading = "Flow")]
    beta_max: Option<f32>,
    /// Standard deviation σ of noise around the path, in the network's coordinates [default: 0, none]
    ///
    /// x_t = b(t)·x0 + a(t)·x1 + σ·ε, with the velocity as it was (Tong et al. 2023). Any path takes it.
    #[arg(long, value_name = "SIGMA", help_heading = "Flow")]
    path_noise: Option<f32>,
    /// a(t) of the path `custom`: an expression of t
    ///
    /// Numbers, t, pi, e, constants of --let; + - * / ^ and parentheses; sqrt exp log sin cos tan tanh. The derivative
    /// is worked out. --mean 't' --std '1 - t' is the path `ot` with --sigma-min 0.
    #[arg(long, value_name = "EXPR", help_heading = "Flow", allow_hyphen_values = true)]
    mean: Option<String>,
    /// b(t) of the path `custom`: an expression of t, positive on [0, 1)
    #[arg(long, value_name = "EXPR", help_heading = "Flow", allow_hyphen_values = true)]
    std: Option<String>,
    /// A constant in --mean and --std; may be given several times
    #[arg(long = "let", id = "let", value_name = "NAME=NUMBER", help_heading = "Flow", value_parser = constant)]
    constants: Vec<(String, f64)>,
}

impl PathArgs {
    /// The names of these flags.
    pub const NAMES: [&str; 9] =
        ["path", "sigma-min", "sigma-max", "beta-min", "beta-max", "path-noise", "mean", "std", "let"];

    /// Whether a path was named, or anything said of one.
    pub fn is_given(&self) -> bool {
        let values = [self.sigma_min, self.sigma_max, self.beta_min, self.beta_max, self.path_noise];
        self.path.is_some() || self.mean.is_some() || self.std.is_some() || values.iter().any(Option::is_some)
    }

    /// The constants of `--let`.
    pub fn constants(&self) -> BTreeMap<String, f64> {
        self.constants.iter().cloned().collect()
    }

    /// The path.
    pub fn path(&self) -> anyhow::Result<Path> {
        let name = self.path.as_deref().unwrap_or(Path::default().family().name);
        let mut path = match (name, &self.mean, &self.std) {
            ("custom", Some(mean), Some(std)) => {
                let mut constants = BTreeMap::new();
                for (name, value) in &self.constants {
                    if constants.insert(name.clone(), *value).is_some() {
                        return Err(Usage(format!("--let gives `{name}` twice; leave one out")).into());
                    }
                }
                Path::custom(mean, std, &constants)
            }
            ("custom", ..) => {
                let missing = if self.mean.is_none() { "--mean" } else { "--std" };
                return Err(Usage(format!(
                    "--path custom lacks {missing}; give both, such as --mean 't' --std '1 - t'"
                ))
                .into());
            }
            (name, None, None) if self.constants.is_empty() => Path::named(name),
            (name, ..) => {
                return Err(Usage(format!(
                    "--mean, --std and --let do not go with --path {name}; give --path custom"
                ))
                .into());
            }
        }
        .map_err(Usage::of)?;
        let given = [
            ("sigma_min", self.sigma_min),
            ("sigma_max", self.sigma_max),
            ("beta_min", self.beta_min),
            ("beta_max", self.beta_max),
        ];
        path.set(given.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))))
            .map_err(Usage::of)?;
        path.with_noise(self.path_noise.unwrap_or(0.0)).map_err(Usage::of)
    }
}

/// Says what a user should know of a path.
pub fn note(context: &Context, path: &Path) {
    for note in path.notes() {
        context.say(&format!("note      {note}"));
    }
}

/// The path and the coupling.
#[derive(Debug, clap::Args)]
pub struct FlowArgs {
    #[command(flatten)]
    path: PathArgs,
    /// Which x0 meets which x1
    #[arg(long, value_name = "COUPLING", help_heading = "Flow", value_parser = couplings(), default_value = COUPLINGS[0].name)]
    coupling: String,
    /// Rows that `minibatch-ot` or `sinkhorn` rearranges together [default: the batch]
    ///
    /// A multiple of --batch: training batches are slices of it. The larger, the nearer the pairs are to the optimal
    /// transport plan.
    #[arg(long, value_name = "ROWS", help_heading = "Flow")]
    ot_batch: Option<usize>,
    /// ε of `sinkhorn`, in units of the mean cost of all pairs [default: 0.02]
    ///
    /// From 0.001 on. Small ones are near to `minibatch-ot` and take more iterations; large ones are near to
    /// `independent`.
    #[arg(long, value_name = "EPSILON", help_heading = "Flow")]
    epsilon: Option<f32>,
    /// The model whose flow makes the pairs of `reflow`
    ///
    /// Each pair is a point x0 of the model's source and the point x1 that `windfield sample` carries it to. They take the
    /// place of --data.
    #[arg(long, value_name = "MODEL", help_heading = "Flow")]
    pub from_model: Option<std::path::PathBuf>,
    /// Pairs that `reflow` makes before training [default: 65536]
    #[arg(long, value_name = "PAIRS", help_heading = "Flow")]
    reflow_pairs: Option<usize>,
}

impl FlowArgs {
    /// The path.
    pub fn path(&self) -> anyhow::Result<Path> {
        self.path.path()
    }

    /// The coupling.
    pub fn coupling(&self) -> anyhow::Result<Coupling> {
        let mut coupling: Coupling = self.coupling.parse().map_err(Usage::of)?;
        // Each flag with what it goes with.
        let given = [
            ("ot-batch", self.ot_batch.map(|rows| rows.to_string()), "minibatch-ot"),
            ("epsilon", self.epsilon.map(|epsilon| epsilon.to_string()), "sinkhorn"),
            ("reflow-pairs", self.reflow_pairs.map(|pairs| pairs.to_string()), "reflow"),
            ("from-model", self.from_model.as_ref().map(|path| path.display().to_string()), "reflow"),
        ];
        let name = coupling.entry().name;
        for (flag, value, wanted) in given {
            let fits = name == wanted || (flag == "ot-batch" && name == "sinkhorn");
            if let Some(value) = value.filter(|_| !fits) {
                let message = format!("--{flag} {value} does not go with --coupling {name}");
                return Err(Usage(format!("{message}; give --coupling {wanted}")).into());
            }
        }
        if self.ot_batch == Some(0) {
            return Err(
                Usage("--ot-batch 0 is out of range; it takes a multiple of --batch".to_owned()).into()
            );
        }
        match &mut coupling {
            Coupling::MinibatchOt { ot_batch } => *ot_batch = self.ot_batch.unwrap_or(*ot_batch),
            Coupling::Sinkhorn { ot_batch, epsilon } => {
                *ot_batch = self.ot_batch.unwrap_or(*ot_batch);
                *epsilon = self.epsilon.unwrap_or(*epsilon);
            }
            Coupling::Reflow { pairs, .. } => {
                *pairs = self.reflow_pairs.unwrap_or(*pairs);
                if self.from_model.is_none() {
                    return Err(Usage(
                        "--coupling reflow needs the model whose pairs it learns; give --from-model MODEL"
                            .to_owned(),
                    )
                    .into());
                }
            }
            _ => {}
        }
        Ok(coupling)
    }
}

/// The seed of the pairs of a round: those of the next round begin elsewhere.
pub fn seed_of_pairs(seed: u64, round: u32) -> u64 {
    seed.wrapping_add(u64::from(round) << 32)
}

/// Makes the pairs of a model's flow, which begin at its own source unless another one is named.
pub fn pairs(
    context: &Context,
    device: &windfield::gpu::Device,
    model: &windfield::model::Model,
    source: Option<&str>,
    (count, seed): (usize, u64),
) -> anyhow::Result<windfield::sample::Pairs> {
    if model.is_conditional() {
        return Err(Error::config(
            "pairs of a conditional model would lose their conditions",
            "give --from-model one that was trained without --label",
        )
        .into());
    }
    if let (Some(given), None) = (source, &model.source) {
        super::terminal::warn(&format!(
            "the model of --from-model was trained to carry noise, not `{given}`; where it carries that is its guess"
        ));
    }
    let source = open_source(source.or(model.source.as_deref()), model.preparation.as_ref())?;
    let mut progress = context.progress(0, count as u64);
    let watch = |made: usize| {
        progress.show(made as u64, || "pairs of the flow".to_owned());
        if super::interrupt::requested() {
            std::ops::ControlFlow::Break(())
        } else {
            std::ops::ControlFlow::Continue(())
        }
    };
    let pairs = windfield::sample::Pairs::of_model(device, model, source.as_ref(), count, seed, watch);
    progress.clear();
    match pairs {
        Err(Error::Interrupted) => {
            Err(super::Interrupted("the pairs were not complete; nothing of them is kept".to_owned()).into())
        }
        pairs => Ok(pairs?),
    }
}

/// Whether columns are standardised.
#[derive(Debug, clap::Args)]
pub struct StandardizeArgs {
    /// Bring every column to mean 0 and standard deviation 1 while training (the default)
    ///
    /// The model keeps mean and deviation; samples come out in data units again.
    #[arg(long, overrides_with = "no_standardize", help_heading = "Data")]
    standardize: bool,
    /// Train on the data as they are
    #[arg(long, overrides_with = "standardize", help_heading = "Data")]
    no_standardize: bool,
}

impl StandardizeArgs {
    /// Whether they are: unless it is said otherwise.
    pub fn wanted(&self) -> bool {
        !self.no_standardize
    }
}

/// What a model is to be conditional on.
#[derive(Debug, clap::Args)]
pub struct LabelArgs {
    /// Make the model conditional on this column: classes or numbers; several with commas, or the flag again
    ///
    /// The column is taken out of what is learned. It may also be a label that the data bring along (`digit` of digits), or
    /// a .npy file with a value for each row. Whole numbers with at most 64 different values are classes, others numbers;
    /// COLUMN:class and COLUMN:number say what it is.
    #[arg(long = "label", value_name = "COLUMN", help_heading = "Data", value_delimiter = ',')]
    labels: Vec<String>,
    /// Share of the rows of a batch that are told nothing of their labels [default: 0.1]
    ///
    /// So the model also learns the flow of all data, which `sample` without --condition and with --guidance needs. 0: it
    /// does not.
    #[arg(long, value_name = "SHARE", help_heading = "Data", requires = "labels")]
    label_dropout: Option<f32>,
}

impl LabelArgs {
    /// Whether any is asked for.
    pub fn is_given(&self) -> bool {
        !self.labels.is_empty()
    }

    /// The data with these labels.
    pub fn of(&self, data: Dataset) -> anyhow::Result<Dataset> {
        let (requests, dropout) = self.requests()?;
        Ok(data.with_labels(&requests, dropout)?)
    }

    /// What is asked for, and the share of rows that are told nothing.
    pub fn requests(&self) -> anyhow::Result<(Vec<LabelRequest>, f32)> {
        let requests: Vec<LabelRequest> =
            self.labels.iter().map(|label| label.parse()).collect::<Result<_, _>>().map_err(Usage::of)?;
        let dropout = self.label_dropout.unwrap_or(LABEL_DROPOUT);
        if !(0.0..=1.0).contains(&dropout) {
            return Err(Usage(format!(
                "--label-dropout {dropout} is out of range; it takes a share from 0 to 1"
            ))
            .into());
        }
        Ok((requests, dropout))
    }
}

/// The condition that a conditional model is used under.
#[derive(Debug, clap::Args)]
pub struct ConditionArgs {
    /// What the points are to be an example of, such as digit=3; several with commas, or the flag again
    ///
    /// One for each label of the model. Without it, a conditional model is that of all its data. A comma begins another
    /// LABEL=VALUE if there is a = behind it, and is part of the value otherwise; in double quotes it always is:
    /// 'name="a,b=c",year=2008'.
    #[arg(id = "conditions", long = "condition", value_name = "LABEL=VALUE", help_heading = "Condition", value_parser = conditions)]
    given: Vec<Given>,
    /// How much the condition counts: the velocity is (1 − w)·v(x, t) + w·v(x, t | c) [default: 1]
    ///
    /// Classifier-free guidance (Ho & Salimans 2022): 0 is the flow of all data, 1 the conditional one, and more than 1
    /// makes samples more typical and less varied.
    #[arg(long, value_name = "W", help_heading = "Condition")]
    guidance: Option<f32>,
}

/// Labels with their values, of one flag.
#[derive(Clone, Debug)]
struct Given(Vec<(String, String)>);

impl ConditionArgs {
    /// All that is given.
    fn pairs(&self) -> Vec<(String, String)> {
        self.given.iter().flat_map(|Given(pairs)| pairs.iter().cloned()).collect()
    }

    /// The model under the condition, ready to be followed.
    pub fn of(&self, model: &Model) -> anyhow::Result<Model> {
        if self.given.is_empty() && self.guidance.is_none() {
            return Ok(model.unconditional()?);
        }
        if self.given.is_empty() && model.is_conditional() {
            return Err(
                Usage("--guidance is of a condition; give --condition LABEL=VALUE as well".into()).into()
            );
        }
        let condition = model.condition(&self.pairs())?;
        Ok(model.guided(&condition, self.guidance.unwrap_or(1.0))?)
    }

    /// How samples of a model become rows of a table: see [`Model::table_under`].
    pub fn table<'a>(&self, model: &'a Model) -> anyhow::Result<(Option<Preparation>, Vec<&'a str>)> {
        Ok(model.table_under(&self.pairs())?)
    }

    /// Opens data for a model, and of them the rows that are examples of the condition.
    pub fn open(&self, model: &Model, name: &str) -> anyhow::Result<Dataset> {
        if self.given.is_empty() {
            return open_for(model, name, (model.preparation.as_ref(), false));
        }
        let wish = |label: &Label| match label.kind {
            LabelKind::Class { .. } => LabelWish::Class,
            LabelKind::Number { .. } => LabelWish::Number,
        };
        let labels: Vec<LabelRequest> = (model.conditions.iter())
            .map(|label| LabelRequest { name: label.name.clone(), wish: Some(wish(label)) })
            .collect();
        let mut data =
            Dataset::open_labelled(name, model.preparation.as_ref(), &model.conditions, &labels, 0.0)?;
        for (name, class) in self.pairs() {
            data = data.of_class(&name, &class)?;
        }
        Ok(data.without_conditions())
    }

    /// In words, for a summary; none without.
    pub fn describe(&self) -> Option<String> {
        if self.given.is_empty() {
            return None;
        }
        let all: Vec<String> = self.pairs().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let guidance = self.guidance.map_or_else(String::new, |w| format!(", guidance {w}"));
        Some(format!("{}{guidance}", all.join(" ")))
    }
}

/// Labels and their values, with commas between them.
fn conditions(text: &str) -> Result<Given, String> {
    // Where commas are that are not in quotes.
    let mut quoted = false;
    let mut pieces = vec![String::new()];
    for letter in text.chars() {
        quoted ^= letter == '"';
        match pieces.last_mut() {
            Some(piece) if letter != ',' || quoted => piece.push(letter),
            _ => pieces.push(String::new()),
        }
    }
    if quoted {
        return Err("a quotation mark is not closed".to_owned());
    }
    let mut parts: Vec<String> = vec![];
    for piece in pieces {
        match parts.last_mut() {
            Some(last) if !piece.contains('=') => {
                last.push(',');
                last.push_str(&piece);
            }
            _ => parts.push(piece),
        }
    }
    let pair = |part: &String| {
        let (name, value) = part.split_once('=').ok_or("it takes LABEL=VALUE, such as digit=3")?;
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
        Ok((name.trim().to_owned(), value.to_owned()))
    };
    parts.iter().map(pair).collect::<Result<_, String>>().map(Given)
}

/// Opens data for a model, prepared as its own were: columns that are labels of it are not among them. `every_row`
/// counts, or those that miss a value may be left out.
pub fn open_for(
    model: &Model,
    name: &str,
    (preparation, every_row): (Option<&Preparation>, bool),
) -> anyhow::Result<Dataset> {
    let open = if every_row { Dataset::open_rows_as } else { Dataset::open_as };
    let data = open(name, preparation)?;
    let labels: Vec<LabelRequest> = (model.conditions.iter())
        .filter(|label| data.columns().contains(&label.name) && data.dim() > model.architecture.dim)
        .map(|label| LabelRequest { name: label.name.clone(), wish: None })
        .collect();
    Ok(data.with_labels(&labels, 0.0)?.without_conditions())
}

/// Opens the data set that replaces the Gaussian, if one is named.
/// A table is prepared as the data are.
pub fn open_source(
    source: Option<&str>,
    preparation: Option<&Preparation>,
) -> anyhow::Result<Option<Dataset>> {
    Ok(source.map(|name| Dataset::open_as(name, preparation)).transpose()?)
}

/// Says how well the problems of a coupling were solved, and what its pairs cost.
pub fn tell_coupling(context: &Context, report: CouplingReport) {
    let CouplingReport { problems, missed, worst_error, most_iterations, cost, .. } = report;
    if problems == 0 {
        return;
    }
    let how = match worst_error.zip(most_iterations) {
        Some((error, most)) => {
            format!("marginals within {error:.1e}, {} at most", counted(most, "iteration", "iterations"))
        }
        None => "each certified to be the best".to_owned(),
    };
    let cost = cost.map_or_else(String::new, |PairCost { paired, drawn, .. }| {
        format!("; E‖x1 − x0‖² {} instead of {}", approximately(paired), approximately(drawn))
    });
    context.say(&format!("coupling  {} solved, {how}{cost}", counted(problems, "problem", "problems")));
    if missed > 0 {
        warn(&format!(
            "the marginals of {missed} of {problems} entropic couplings were not within 1e-4 when their iterations \
             ended; their pairs are permutations all the same: give a larger --epsilon"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_split_at_commas_before_another_label() {
        let pairs = |text: &str| {
            conditions(text).map(|Given(pairs)| {
                pairs.iter().map(|(name, value)| format!("{name}|{value}")).collect::<Vec<_>>()
            })
        };
        let told = |list: &[&str]| Ok(list.iter().map(ToString::to_string).collect());
        assert_eq!(pairs("a=1"), told(&["a|1"]));
        assert_eq!(pairs("a=1,b=2"), told(&["a|1", "b|2"]));
        assert_eq!(pairs(" a = 1 , b=x=y"), told(&["a|1", "b|x=y"]));
        assert_eq!(pairs("a=Adelie, small,b=2"), told(&["a|Adelie, small", "b|2"]));
        assert_eq!(pairs("a=\"x,b=2\",c=3"), told(&["a|x,b=2", "c|3"]));
        assert!(pairs("a").is_err() && pairs("a,b=1").is_err() && pairs("a=\"x").is_err());
    }
}
