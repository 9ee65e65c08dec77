//! Flags that several commands share, and helps that are made of the library's tables.

use clap::builder::{PossibleValue, PossibleValuesParser};
use windfield::data::{Dataset, built_in};
use windfield::flow::{COUPLINGS, Coupling, PATHS, Path, SOLVERS, Solver};
use windfield::model::ACTIVATIONS;
use windfield::train::SCHEDULES;

use super::Usage;

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
    choices(COUPLINGS.iter().map(|(name, _, help)| (*name, (*help).to_owned())))
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

/// The names of the solvers.
pub fn solvers() -> PossibleValuesParser {
    choices(SOLVERS.iter().map(|solver: &Solver| {
        (solver.name, format!("order {}; {} ({})", solver.order, solver.help, solver.source))
    }))
}

/// What a SOURCE can be.
pub fn source_help(purpose: &str) -> String {
    use std::fmt::Write as _;
    let mut help = format!(
        "{purpose}: a built-in name, `name:N` for N points of it, or a file (.npy of shape [n, d], .csv or .tsv with \
         a header row, .parquet).\n\nBuilt in:"
    );
    let widest = built_in().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, line) in built_in() {
        let _ = write!(help, "\n  {name:widest$}  {line}");
    }
    help
}

/// The path.
#[derive(Debug, clap::Args)]
pub struct PathArgs {
    /// Conditional probability path from noise to data
    #[arg(long, value_name = "PATH", help_heading = "Flow", value_parser = paths(), default_value = Path::default().family().name)]
    path: String,
    /// Standard deviation around a data point at t = 1
    #[arg(long, value_name = "SIGMA", help_heading = "Flow", default_value_t = Path::SIGMA_MIN)]
    sigma_min: f32,
}

impl PathArgs {
    /// The path.
    pub fn path(&self) -> anyhow::Result<Path> {
        Path::new(&self.path, self.sigma_min).map_err(Usage::of)
    }
}

/// The path and the coupling.
#[derive(Debug, clap::Args)]
pub struct FlowArgs {
    #[command(flatten)]
    path: PathArgs,
    /// Which x0 meets which x1
    #[arg(long, value_name = "COUPLING", help_heading = "Flow", value_parser = couplings(), default_value = COUPLINGS[0].0)]
    coupling: String,
}

impl FlowArgs {
    /// The path.
    pub fn path(&self) -> anyhow::Result<Path> {
        self.path.path()
    }

    /// The coupling.
    pub fn coupling(&self) -> anyhow::Result<Coupling> {
        self.coupling.parse().map_err(Usage::of)
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

/// Opens the data set that replaces the Gaussian, if one is named.
pub fn open_source(source: Option<&str>) -> anyhow::Result<Option<Dataset>> {
    Ok(source.map(Dataset::open).transpose()?)
}
