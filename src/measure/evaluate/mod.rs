//! How good a model's samples are, how straight its flow is, and how much its conditional paths cross.
//!
//! A measure is one entry of [`MEASURES`]: its definition, where it comes from, its unit. [`evaluate`] takes each of them
//! several times, with other test points and other noise every time, and gives means with their confidence intervals;
//! and for distances between samples the *floor*: what two test sets of the same size are apart. Data are sampled as
//! well as can be where the distance is at the floor.
//!
//! # Units
//! Distances between samples and densities are in the units of the data. What belongs to the flow (path energy,
//! straightness, crossing energy, losses) is in the network's coordinates, those in which the path is laid and the loss
//! of training is taken: they are the same without a standardisation.
//!
//! # The identity
//! For the exact marginal flow of any coupling and path (Liu et al. 2022, section 3),
//!
//! ```text
//! E ∫ ‖u_t(x_t | x1)‖² dt − E ‖Z1 − Z0‖² = S + V
//! ```
//!
//! with the straightness S and the crossing energy V = E ∫ ‖u_t(x_t | x1) − u_t(x_t)‖² dt. On a straight path the first
//! term is E ‖X1 − X0‖². It is E ∫ ‖u_t(x_t)‖² dt + V, since the mean of what is around a mean is 0, and the marginals of
//! flow and paths agree. [`Identity`] has all terms, estimated independently.

mod distances;
mod flows;
mod held_out;
mod live;
mod points;
mod statistics;

use std::ops::ControlFlow;

use serde::Serialize;

use crate::data::Dataset;
use crate::flow::{Coupling, Divergence, MOST_POINTS, Marginal, ProbeDistribution, Solver};
use crate::gpu::Device;
use crate::model::Model;
use crate::sample::{SampleOptions, Sampler, Start, Tolerance};
use crate::train::BatchOptions;
use crate::{Error, Result};

pub(crate) use distances::pairs_variants;
pub use distances::{
    PROJECTIONS, Part, energy_distance, median_distance, mmd, sliced_wasserstein2, wasserstein2,
};
pub use flows::{Kinetics, curvature, kinetics, normalized_path_energy};
pub use held_out::HeldOut;
pub use live::{LIVE, Live, LiveMeasure, LiveValues};
pub use statistics::{CONFIDENCE, Interval, student};

use distances::{Cloud, Discrepancies, wasserstein2_many};
use flows::{Slice, exact_kinetics, finite, slices};
use held_out::{Pairs, seen};
use points::TestPoints;

/// Test points of a set when nothing else is asked for.
pub const ROWS: usize = 1000;
/// Test points for which W₂ is exact, at most; beyond, sliced W₂ is what is left.
pub const EXACT_ROWS: usize = 4096;
/// The most test points: all pairs of them are gone over.
const MOST_ROWS: usize = 1 << 17;
/// Times of the curve of the crossing energy: the midpoints of as many parts of the time.
const TIMES: usize = 32;
/// Steps of the midpoint method along the exact flow.
const EXACT_STEPS: u32 = 32;
/// Dimensions up to which log p has the exact divergence.
const EXACT_DIVERGENCE: usize = 32;
/// The step of the first batch of pairs: no run gets there.
const FIRST_STEP: u32 = 1 << 31;

/// What to measure, and how well.
#[derive(Clone, Debug)]
pub struct Options {
    /// Test points of a set, n; by default [`ROWS`], or half the rows of a file.
    pub rows: Option<usize>,
    /// Points on either side of [`NPE`](MEASURES), as many particles and test points; by default those of a set, up to
    /// [`EXACT_ROWS`]. W₂² scatters, and more points scatter less.
    pub transport_rows: Option<usize>,
    /// Independent repetitions, K.
    pub seeds: usize,
    /// Of all random numbers.
    pub seed: u64,
    /// The solver and its steps, with which samples are made and path energies taken; its seed is not used.
    pub sample: SampleOptions,
    /// Numbers of Euler steps for which the quality of the samples is measured.
    pub steps: Vec<u32>,
    /// Tolerances for which evaluations of dopri5 are counted.
    pub tolerances: Vec<f32>,
    /// The coupling that the model was trained with: of the pairs on which its loss is taken. The crossing energy is
    /// known exactly for independent pairs alone.
    pub coupling: Coupling,
    /// Rows of a batch of a coupling that rearranges batches: those of training.
    pub batch: usize,
    /// Pairs for each of the times of the crossing energy.
    pub pairs: usize,
    /// Particles of the exact flow; 0 leaves out whatever needs the exact field.
    pub exact_rows: usize,
    /// Whether the log-likelihood of test points is taken.
    pub likelihood: bool,
    /// Asked between submissions whether to break off with [`Error::Interrupted`].
    pub stop: fn() -> bool,
}

impl Default for Options {
    /// Five repetitions; 100 steps of the midpoint method.
    fn default() -> Self {
        Self {
            rows: None,
            transport_rows: None,
            seeds: 5,
            seed: 0,
            sample: SampleOptions { steps: 100, ..SampleOptions::default() },
            steps: vec![1, 2, 4, 8, 16, 32, 64, 128],
            tolerances: vec![1e-3, 1e-5],
            coupling: Coupling::Independent,
            batch: 256,
            pairs: 256,
            exact_rows: 128,
            likelihood: true,
            stop: || false,
        }
    }
}

impl Options {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Config`] naming the flag.
    pub fn validate(&self) -> Result<()> {
        let counts = [
            ("-n", self.rows.unwrap_or(1), MOST_ROWS),
            ("--transport-rows", self.transport_rows.unwrap_or(1), MOST_POINTS),
            ("--seeds", self.seeds, 10_000),
            ("--pairs", self.pairs, 1 << 20),
            ("--batch", self.batch, 1 << 24),
        ];
        for (flag, value, most) in counts {
            if !(1..=most).contains(&value) {
                return Err(Error::config(
                    format!("{flag} {value} is out of range"),
                    format!("it takes 1 to {most}"),
                ));
            }
        }
        if self.exact_rows > 1 << 20 {
            return Err(Error::config(
                format!("--exact-rows {} is out of range", self.exact_rows),
                "it takes 0 to 1048576",
            ));
        }
        self.sample.validate()?;
        if self.sample.diffusion.is_some() {
            return Err(Error::config("a stochastic flow has no straightness", "use a solver without noise"));
        }
        if self.sample.divergence.is_some() || self.sample.through.is_some() {
            return Err(Error::config(
                "a flow with a divergence or through another path's schedule is not evaluated",
                "leave them out",
            ));
        }
        let sample = self.sample.clone().resolved();
        if sample.t0 != 0.0 || (sample.t1 - 1.0).abs() > 0.0 {
            return Err(Error::config(
                format!("the flow goes from {} to {}", sample.t0, sample.t1),
                "it is evaluated from noise at 0 to data at 1",
            ));
        }
        for &tolerance in &self.tolerances {
            let both = Tolerance { relative: tolerance, absolute: tolerance, ..Tolerance::default() };
            if both.validate().is_err() {
                return Err(Error::config(
                    format!("--tolerances {tolerance} is out of range"),
                    "each takes 1e-7 to 1: float32 has no more digits than that",
                ));
            }
        }
        for &steps in &self.steps {
            if (SampleOptions { steps, ..SampleOptions::default() }).validate().is_err() {
                return Err(Error::config(
                    format!("--euler-steps {steps} is out of range"),
                    "each takes 1 to 2^24",
                ));
            }
        }
        if self.coupling.is_paired() {
            return Err(Error::config(
                format!("--coupling {} has pairs that no data set holds", self.coupling.entry().name),
                "give independent, and leave L_CFM aside",
            ));
        }
        self.coupling.steps(self.batch)?;
        Ok(())
    }
}

/// A measure, its definition and its source.
#[derive(Debug)]
pub struct Measure {
    /// What it is called.
    pub name: &'static str,
    /// What it is.
    pub definition: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Of a repetition; none where it is not defined.
    value: fn(&Repetition) -> Option<f64>,
    /// The same between two test sets.
    floor: fn(&Repetition) -> Option<f64>,
}

/// All measures that are one number, in the order of the command's table.
pub static MEASURES: &[Measure] = &[
    Measure {
        name: "W2",
        definition: "2-Wasserstein distance of samples and test points: the root of the least mean of ‖x − y‖² over all \
                     ways to pair them",
        source: "Villani 2009; exact by assignment",
        unit: "data",
        value: |r| r.model.wasserstein2,
        floor: |r| r.floor.wasserstein2,
    },
    Measure {
        name: "sliced W2",
        definition: "root of the mean of W₂² along 128 random directions",
        source: "Bonneel et al. 2015",
        unit: "data",
        value: |r| Some(r.model.sliced),
        floor: |r| Some(r.floor.sliced),
    },
    Measure {
        name: "energy distance",
        definition: "2·E‖X − Y‖ − E‖X − X'‖ − E‖Y − Y'‖",
        source: "Székely and Rizzo 2013",
        unit: "data",
        value: |r| Some(r.model.discrepancies.energy),
        floor: |r| Some(r.floor.discrepancies.energy),
    },
    Measure {
        name: "MMD",
        definition: "root of E k(X, X') + E k(Y, Y') − 2·E k(X, Y), Gaussian kernels of deviations ¼, ½, 1, 2 and 4 times \
                     the median distance of test points",
        source: "Gretton et al. 2012",
        unit: "1",
        value: |r| Some(r.model.discrepancies.mmd),
        floor: |r| Some(r.floor.discrepancies.mmd),
    },
    Measure {
        name: "log p",
        definition: "mean log-density of test points",
        source: "Chen et al. 2018; eq. 4",
        unit: "nats",
        value: |r| r.likelihood,
        floor: |_| None,
    },
    Measure {
        name: "bits/dim",
        definition: "−log₂ p/d, the mean over test points",
        source: "Theis et al. 2016",
        unit: "bits",
        value: |r| r.likelihood.map(|log| -log / (std::f64::consts::LN_2 * r.dim as f64)),
        floor: |_| None,
    },
    Measure {
        name: "path energy",
        definition: "PE = E ∫ ‖v(z_t, t)‖² dt along the flow",
        source: "Tong et al. 2023",
        unit: "network²",
        value: |r| Some(r.kinetics.path_energy),
        floor: |_| None,
    },
    Measure {
        name: "NPE",
        definition: "|PE − W₂²|/W₂², W₂ between where these particles begin and as many test points",
        source: "Tong et al. 2023",
        unit: "1",
        value: |r| r.transport.map(|Transport { energy, test, .. }| normalized_path_energy(energy, test)),
        // of a path energy that is W₂² as other test points have it
        floor: |r| {
            r.transport.map(|Transport { test, other, .. }| normalized_path_energy(other * other, test))
        },
    },
    Measure {
        name: "straightness",
        definition: "S = E ∫ ‖(z_1 − z_0) − v(z_t, t)‖² dt; 0 is straight",
        source: "Liu et al. 2022",
        unit: "network²",
        value: |r| Some(r.kinetics.straightness),
        floor: |_| None,
    },
    Measure {
        name: "curvature",
        definition: "E [length of the trajectory/‖z_1 − z_0‖]; 1 is straight",
        source: "Lee et al. 2023",
        unit: "1",
        value: |r| Some(r.kinetics.curvature),
        floor: |_| None,
    },
    Measure {
        name: "crossing energy",
        definition: "C = E ‖u_t(x | x1) − u_t(x)‖², the exact field of the data: what no field's loss is below",
        source: "Liu et al. 2022; eq. 6",
        unit: "network²",
        value: |r| r.mean(|slice| slice.crossing),
        floor: |_| None,
    },
    Measure {
        name: "L_CFM",
        definition: "E ‖v(x, t) − u_t(x | x1)‖² = L_FM + C of the coupling, which it is never below",
        source: "eq. 8",
        unit: "network²",
        value: |r| r.mean(|slice| Some(slice.cfm)),
        floor: |_| None,
    },
    Measure {
        name: "L_FM",
        definition: "E ‖v(x, t) − u_t(x)‖²: the distance from the exact field",
        source: "eq. 7",
        unit: "network²",
        value: |r| r.mean(|slice| slice.fm),
        floor: |_| None,
    },
];

/// How far samples are from test points, or two test sets from each other.
#[derive(Debug)]
struct Distances {
    wasserstein2: Option<f64>,
    sliced: f64,
    discrepancies: Discrepancies,
}

/// What NPE is made of, in the network's coordinates.
#[derive(Clone, Copy, Debug)]
struct Transport {
    /// The path energy of particles.
    energy: f64,
    /// W₂ between where they begin and test points.
    test: f64,
    /// W₂ to other ones.
    other: f64,
}

/// What one repetition finds.
#[derive(Debug)]
struct Repetition {
    dim: usize,
    model: Distances,
    floor: Distances,
    /// Of each number of Euler steps.
    quality: Vec<Distances>,
    transport: Option<Transport>,
    kinetics: Kinetics,
    /// Of the exact flow.
    exact: Option<Kinetics>,
    /// Mean and most evaluations at each tolerance.
    evaluations: Vec<(f64, f64)>,
    likelihood: Option<f64>,
    slices: Vec<Slice>,
    /// The length of the interval that they are spread over.
    end: f64,
}

impl Repetition {
    /// The integral over the time.
    fn mean(&self, of: impl Fn(&Slice) -> Option<f64>) -> Option<f64> {
        let values: Option<Vec<f64>> = self.slices.iter().map(of).collect();
        values.map(|values| self.end * values.iter().sum::<f64>() / self.slices.len() as f64)
    }
}

/// A measure that was taken.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Its name in [`MEASURES`].
    pub name: &'static str,
    /// Its unit: of the data, of the network's coordinates (² squared), or what it says.
    pub unit: &'static str,
    /// What it is for the model.
    pub value: Interval,
    /// What it is between two test sets of the same size.
    pub floor: Option<Interval>,
    /// What it would be for a perfect model, where a closed form says so.
    pub ideal: Option<f64>,
}

/// The curves over the time, at one time; in the network's coordinates, squared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CrossingAt {
    /// The time.
    pub t: f64,
    /// E ‖u_t(x | x1) − u_t(x)‖², where the exact field is known.
    pub crossing: Option<Interval>,
    /// E ‖v(x, t) − u_t(x | x1)‖².
    pub cfm: Interval,
    /// E ‖v(x, t) − u_t(x)‖², where the exact field is known.
    pub fm: Option<Interval>,
}

/// The quality of samples that Euler's method makes in a number of steps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quality {
    /// Steps, and evaluations of the velocity.
    pub steps: u32,
    /// W₂, for up to [`EXACT_ROWS`] points.
    pub wasserstein2: Option<Interval>,
    /// Sliced W₂.
    pub sliced: Interval,
    /// The energy distance.
    pub energy: Interval,
}

/// Evaluations that dopri5 needs for a sample.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluations {
    /// Of a step, absolute and relative.
    pub tolerance: f32,
    /// Over the samples.
    pub mean: Interval,
    /// Of the samples.
    pub most: Interval,
}

/// The terms of `E ∫ ‖u_t(x | x1)‖² dt − E ‖Z1 − Z0‖² = S + V`, in the network's coordinates.
///
/// The first is estimated from pairs, displacement and S from trajectories. V of the exact flow is the crossing energy C.
/// V of a model is not known by itself: what stands there is `L_CFM = L_FM + V`, so that the residual tells how far the
/// model is from the exact field of its coupling.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Identity {
    /// Whose flow: `exact` or `model`.
    pub flow: &'static str,
    /// E ∫ ‖u_t(x | x1)‖² dt; on a straight path E ‖X1 − X0‖².
    pub transport: Interval,
    /// E ‖Z1 − Z0‖².
    pub displacement: Interval,
    /// S.
    pub straightness: Interval,
    /// V, or `L_CFM`.
    pub crossing: Interval,
    /// The left side less the right side.
    pub residual: Interval,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// d.
    pub dim: usize,
    /// Test points of a set, n.
    pub rows: usize,
    /// Repetitions, K.
    pub seeds: usize,
    /// Of all random numbers.
    pub seed: u64,
    /// Of the intervals.
    pub confidence: f64,
    /// Whether every test set was drawn anew; otherwise they are random parts of the rows of a file.
    pub fresh: bool,
    /// The solver of samples and path energies.
    pub solver: &'static str,
    /// Its steps.
    pub solver_steps: u32,
    /// The coupling of the pairs.
    pub coupling: &'static str,
    /// The entries of [`MEASURES`] that could be taken.
    pub measures: Vec<Measured>,
    /// Over the time.
    pub crossing: Vec<CrossingAt>,
    /// Over the numbers of Euler steps.
    pub quality: Vec<Quality>,
    /// Over the tolerances.
    pub evaluations: Vec<Evaluations>,
    /// Of the exact flow, where it is known, and of the model.
    pub identity: Vec<Identity>,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

impl Evaluation {
    /// The measure of that name.
    #[must_use]
    pub fn measure(&self, name: &str) -> Option<&Measured> {
        self.measures.iter().find(|measured| measured.name == name)
    }
}

/// How far an evaluation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Parts that are done.
    pub done: usize,
    /// All parts.
    pub of: usize,
    /// What is done next.
    pub what: &'static str,
}

/// The entropy of built-in densities in nats, as the guide tells where it comes from: minus the log-density that a
/// perfect model gives to test points in the mean.
fn entropy(name: &str) -> Option<f64> {
    use std::f64::consts::{LN_2, TAU};
    Some(match name {
        "gaussian" => 1.0 + TAU.ln(),
        "8gaussians" => 4.770,
        "moons" => 0.294 + 2.0 * LN_2,
        "checkerboard" => (8.0 / (0.45 * 0.45f64)).ln(),
        _ => return None,
    })
}

/// Measures a model beside data, and its source where it does not start from noise.
///
/// Test points of a built-in density, by the name of the data set (`moons`, `moons:1000`), are drawn anew; those of
/// anything else are its rows, in a random order for every repetition, so that it is for the caller to give rows that no
/// training has seen. The exact field is that of the rows of `data`.
///
/// `progress` is told of every part before it begins; if it breaks, there is no evaluation.
///
/// # Errors
/// [`Error::Config`] or [`Error::Input`] for settings out of their range, data of another dimension than the model, or
/// too few rows; [`Error::Interrupted`]; and what sampling the model and measuring its samples give.
///
/// # Examples
/// ```
/// # use windfield::model::{Activation, Architecture, Model};
/// use std::ops::ControlFlow;
/// use windfield::data::Dataset;
/// use windfield::gpu::{Device, DeviceOptions};
/// use windfield::measure::evaluate::{Options, evaluate};
///
/// let device = Device::open(&DeviceOptions::default())?;
/// // v(x, t) = 0: noise is what it samples.
/// # let activation = Activation::default();
/// # let architecture = Architecture { dim: 2, hidden: vec![], activation, time_frequencies: 0, condition_features: 0 };
/// # let model = Model::new(architecture, vec![(vec![0.0; 6], vec![0.0; 2])]);
/// let options = Options { rows: Some(64), seeds: 2, steps: vec![1], exact_rows: 0, ..Options::default() };
/// let data = Dataset::open("gaussian:1000")?;
/// let found = evaluate(&device, &model, &data, None, &options, |_| ControlFlow::Continue(()))?;
/// assert!(found.measure("path energy").unwrap().value.mean.abs() < 1e-12);
/// assert!((found.measure("log p").unwrap().value.mean + 2.838).abs() < 1.0);
/// # Ok::<(), windfield::Error>(())
/// ```
pub fn evaluate(
    device: &Device,
    model: &Model,
    data: &Dataset,
    source: Option<&Dataset>,
    options: &Options,
    mut progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Evaluation> {
    let evaluator = Evaluator::new(device, model, data, source, options)?;
    let mut repetitions = vec![];
    let each = 6 + options.steps.len() + options.tolerances.len();
    for repetition in 0..options.seeds {
        let mut done = repetition * each;
        let mut tell = |what: &'static str| {
            let now = Progress { done, of: options.seeds * each, what };
            done += 1;
            if (options.stop)() || progress(now).is_break() { Err(Error::Interrupted) } else { Ok(()) }
        };
        repetitions.push(evaluator.repetition(repetition, &mut tell)?);
    }
    Ok(evaluator.summary(&repetitions))
}

/// What all repetitions share.
struct Evaluator<'a> {
    device: &'a Device,
    model: &'a Model,
    data: &'a Dataset,
    options: &'a Options,
    dim: usize,
    rows: usize,
    test: TestPoints<'a>,
    source: Option<TestPoints<'a>>,
    /// The data and the source in the network's coordinates.
    seen: Dataset,
    seen_source: Option<Dataset>,
    marginal: Option<Marginal>,
    /// Where integrals over the time end.
    end: f64,
    notes: Vec<String>,
}

/// Rows of a test set: as many as wanted, or [`ROWS`] as far as there are twice as many.
///
/// # Errors
/// [`Error::Input`] if there are not.
pub(crate) fn test_rows(data: &Dataset, source: Option<&Dataset>, wanted: Option<usize>) -> Result<usize> {
    let most = source.map_or(usize::MAX, |source| TestPoints::of(source).most().saturating_mul(2));
    let most = TestPoints::of(data).most().min(most);
    let rows = wanted.unwrap_or(ROWS.min(most));
    if rows <= most && most > 0 {
        return Ok(rows);
    }
    Err(Error::input(
        data.name(),
        format!("{} test points, and as many for the floor, are more than there are rows", rows.max(1)),
        if most == 0 { "give more rows".to_owned() } else { format!("give -n {most} or less") },
    ))
}

impl<'a> Evaluator<'a> {
    fn new(
        device: &'a Device,
        model: &'a Model,
        data: &'a Dataset,
        source: Option<&'a Dataset>,
        options: &'a Options,
    ) -> Result<Self> {
        options.validate()?;
        let dim = model.architecture.dim;
        for (set, what) in [(Some(data), "data"), (source, "a source")] {
            if let Some(set) = set.filter(|set| set.dim() != dim) {
                return Err(Error::input(
                    set.name(),
                    format!("its rows have {} values and the model's points {dim}", set.dim()),
                    format!("give {what} of the model's dimension"),
                ));
            }
        }
        let (test, from) = (TestPoints::of(data), source.map(TestPoints::of));
        let rows = test_rows(data, source, options.rows)?;
        test_rows(data, source, options.transport_rows)?;
        let mut notes = vec![];
        let seen = seen(model, data)?;
        let seen_source = source.map(|source| held_out::seen(model, source)).transpose()?;
        let exact = options.exact_rows > 0;
        let marginal = if exact && source.is_none() && options.coupling == Coupling::Independent {
            let mut marginal = Marginal::new(device, &seen, None, &model.path)?;
            marginal.stop_when(options.stop);
            Some(marginal)
        } else {
            if exact {
                notes.push(
                    "the exact field, and with it C and L_FM, is known from a Gaussian source and for independent \
                     pairs alone"
                        .to_owned(),
                );
            }
            None
        };
        if rows > EXACT_ROWS {
            let lacking = if options.transport_rows.is_some() { "W2 is" } else { "W2 and NPE are" };
            notes.push(format!("{lacking} for up to {EXACT_ROWS} test points: sliced W2 stands for them"));
        }
        let end = model.path.t_max();
        if end < 1.0 {
            notes.push(format!(
                "the path's velocity is singular at t = 1: integrals over pairs end at {end}, with little accuracy there"
            ));
        }
        if source.is_some() && options.likelihood {
            notes.push("log p needs a flow from Gaussian noise".to_owned());
        }
        Ok(Self {
            device,
            model,
            data,
            options,
            dim,
            rows,
            test,
            source: from,
            seen,
            seen_source,
            marginal,
            end,
            notes,
        })
    }

    fn sampler(&self, options: SampleOptions) -> Result<Sampler> {
        let options =
            SampleOptions { seed: self.options.seed, kernels: self.options.sample.kernels, ..options };
        let mut sampler = Sampler::new(self.device, self.model, None, options)?;
        sampler.stop_when(self.options.stop);
        Ok(sampler)
    }

    fn repetition(
        &self,
        repetition: usize,
        tell: &mut impl FnMut(&'static str) -> Result<()>,
    ) -> Result<Repetition> {
        let Options { seed, .. } = *self.options;
        let (n, dim) = (self.rows, self.dim);
        tell("trajectories")?;
        let mut sets = self.test.sets(2, n, seed, repetition)?;
        let (other, test) = (sets.pop().unwrap_or_default(), sets.pop().unwrap_or_default());
        let mut sampler = self.sampler(self.options.sample.clone())?;
        let begin = self.begin(&mut sampler, n, repetition)?;
        let mut kinetics = kinetics(&mut sampler, &begin)?;
        let mut samples = vec![std::mem::take(&mut kinetics.ends)];
        tell("transport")?;
        let known = (begin.as_slice(), kinetics.path_energy, [test.as_slice(), other.as_slice()]);
        let transport = self.transport(&mut sampler, known, repetition)?;
        drop(sampler);
        for &steps in &self.options.steps {
            tell("samples of few steps")?;
            let euler = Solver::named("euler")?;
            let mut sampler =
                self.sampler(SampleOptions { solver: euler, steps, ..SampleOptions::default() })?;
            samples.push(carry(&mut sampler, &begin, |_| ())?);
        }
        for points in &mut samples {
            self.to_data(points);
        }
        tell("distances")?;
        let distances = self.distances(&test, &other, &samples, repetition)?;
        let mut distances = distances.into_iter();
        let (Some(floor), Some(model)) = (distances.next(), distances.next()) else {
            return Err(Error::Device { what: "distances".to_owned(), reason: "none came back".to_owned() });
        };
        let mut evaluations = vec![];
        for &tolerance in &self.options.tolerances {
            tell("adaptive steps")?;
            let tolerance = Tolerance { relative: tolerance, absolute: tolerance, ..Tolerance::default() };
            let solver = Solver::named("dopri5")?;
            let mut sampler =
                self.sampler(SampleOptions { solver, tolerance, ..SampleOptions::default() })?;
            let (mut sum, mut most) = (0.0, 0);
            carry(&mut sampler, &begin, |counts| {
                sum += counts.iter().map(|&count| f64::from(count)).sum::<f64>();
                most = counts.iter().fold(most, |most, &count| most.max(count));
            })?;
            evaluations.push((sum / n as f64, f64::from(most)));
        }
        tell("log-likelihood")?;
        let likelihood = self.likelihood(&test)?;
        tell("pairs")?;
        let slices = self.slices(repetition)?;
        tell("the exact flow")?;
        let exact = match &self.marginal {
            Some(marginal) => {
                let some = &begin[..(self.options.exact_rows.min(n)) * dim];
                let stop = self.options.stop;
                let go_on = || if stop() { Err(Error::Interrupted) } else { Ok(()) };
                Some(exact_kinetics(marginal, some, EXACT_STEPS, self.end, go_on)?)
            }
            None => None,
        };
        Ok(Repetition {
            dim,
            model,
            floor,
            quality: distances.collect(),
            transport,
            kinetics,
            exact,
            evaluations,
            likelihood,
            slices,
            end: self.end,
        })
    }

    /// What NPE is made of: of the particles and test points that are `known`, unless it wants another number of them.
    fn transport(
        &self,
        sampler: &mut Sampler,
        known: (&[f32], f64, [&[f32]; 2]),
        repetition: usize,
    ) -> Result<Option<Transport>> {
        let wanted = self.options.transport_rows;
        if wanted.is_none() && self.rows > EXACT_ROWS {
            return Ok(None);
        }
        let n = wanted.unwrap_or(self.rows);
        let (begin, energy, sets) = if n == self.rows {
            let (begin, energy, sets) = known;
            (begin.to_vec(), energy, sets.map(<[f32]>::to_vec).to_vec())
        } else {
            let begin = self.begin(sampler, n, repetition)?;
            let energy = kinetics(sampler, &begin)?.path_energy;
            (begin, energy, self.test.sets(2, n, self.options.seed, repetition)?)
        };
        let mut ends = sets.concat();
        self.to_network(&mut ends);
        let found = wasserstein2_many(self.device, &begin.repeat(2), &ends, n, self.dim)?;
        Ok(Some(Transport { energy, test: found[0], other: found[1] }))
    }

    /// Where the flow begins, in the network's coordinates: noise, or test points of the source.
    fn begin(&self, sampler: &mut Sampler, n: usize, repetition: usize) -> Result<Vec<f32>> {
        if let Some(source) = &self.source {
            let seed = self.options.seed ^ 0x50;
            let mut points = source.sets(1, n, seed, repetition)?.pop().unwrap_or_default();
            self.to_network(&mut points);
            return Ok(points);
        }
        begin(sampler, n, repetition)
    }

    /// Of the other test set and of samples from the test points.
    fn distances(
        &self,
        test: &[f32],
        other: &[f32],
        samples: &[Vec<f32>],
        repetition: usize,
    ) -> Result<Vec<Distances>> {
        let (n, dim) = (self.rows, self.dim);
        let compared: Vec<&[f32]> = std::iter::once(other).chain(samples.iter().map(Vec::as_slice)).collect();
        for points in &compared {
            finite(points, dim, 0)?;
        }
        let mut exact = vec![None; compared.len()];
        if n <= EXACT_ROWS {
            let (a, b) = (compared.concat(), test.repeat(compared.len()));
            exact = wasserstein2_many(self.device, &a, &b, n, dim)?.into_iter().map(Some).collect();
        }
        let bandwidth = median_distance(test, other, dim)?;
        let cloud = Cloud::new(self.device, test, dim, bandwidth)?;
        let seed = self.options.seed.wrapping_add(repetition as u64);
        let mut distances = vec![];
        for (points, wasserstein2) in compared.iter().zip(&exact) {
            if (self.options.stop)() {
                return Err(Error::Interrupted);
            }
            let other = Cloud::new(self.device, points, dim, bandwidth)?;
            distances.push(Distances {
                wasserstein2: *wasserstein2,
                sliced: sliced_wasserstein2(points, test, dim, PROJECTIONS, seed)?,
                discrepancies: other.discrepancies(self.device, &cloud)?,
            });
        }
        Ok(distances)
    }

    /// The mean of log p over test points, in data units.
    fn likelihood(&self, test: &[f32]) -> Result<Option<f64>> {
        if !self.options.likelihood || self.source.is_some() {
            return Ok(None);
        }
        let divergence = if self.dim <= EXACT_DIVERGENCE {
            Divergence::Exact
        } else {
            Divergence::Hutchinson { probes: 16, distribution: ProbeDistribution::default() }
        };
        let mut sampler = self.sampler(SampleOptions {
            solver: Solver::named("dopri5")?,
            tolerance: Tolerance { relative: 1e-5, absolute: 1e-5, ..Tolerance::default() },
            t0: 1.0,
            t1: 0.0,
            divergence: Some(divergence),
            ..SampleOptions::default()
        })?;
        let mut points = test.to_vec();
        self.to_network(&mut points);
        let (mut sum, mut first) = (0.0, 0);
        for values in points.chunks(sampler.chunk_rows() * self.dim) {
            let flow = sampler.flow(Start::Points { first, values }, false)?;
            sum += sampler.log_density(&flow, false)?.values.iter().sum::<f64>();
            first += (values.len() / self.dim) as u64;
        }
        Ok(Some(sum / self.rows as f64))
    }

    /// Pairs of the coupling at the midpoints of [`TIMES`] parts of the time.
    fn slices(&self, repetition: usize) -> Result<Vec<Slice>> {
        let all = TIMES * self.options.pairs;
        let together = if self.options.coupling == Coupling::Independent { all } else { self.options.batch };
        let Pairs { x0, x1 } = Pairs::draw(
            self.device,
            (&self.seen, self.seen_source.as_ref()),
            &BatchOptions {
                path: self.model.path.clone(),
                coupling: self.options.coupling,
                batch: together,
                seed: self.options.seed,
                standardize: false,
                step: FIRST_STEP.saturating_add(crate::model::to_u32(repetition * all.div_ceil(together))),
            },
            all,
            self.options.stop,
        )?;
        let mut sampler = self
            .sampler(SampleOptions { kernels: crate::model::Kernels::Layered, ..SampleOptions::default() })?;
        slices(&self.model.path, (&x0, &x1), &times(self.end), self.dim, &mut sampler, self.marginal.as_ref())
    }

    fn to_data(&self, points: &mut [f32]) {
        if let Some(standardization) = &self.model.standardization {
            standardization.undo(points);
        }
    }

    fn to_network(&self, points: &mut [f32]) {
        if let Some(standardization) = &self.model.standardization {
            standardization.apply(points);
        }
    }

    /// The means over the repetitions.
    fn summary(&self, repetitions: &[Repetition]) -> Evaluation {
        let over = |of: &dyn Fn(&Repetition) -> f64| Interval::of(repetitions.iter().map(of).collect());
        let maybe = |of: &dyn Fn(&Repetition) -> Option<f64>| Interval::all(repetitions.iter().map(of));
        let ideal = |measure: &Measure| {
            let name = self.data.name().split_once(':').map_or(self.data.name(), |(name, _)| name);
            let log = -entropy(name).filter(|_| self.test.is_fresh())?;
            match measure.name {
                "log p" => Some(log),
                "bits/dim" => Some(-log / (std::f64::consts::LN_2 * self.dim as f64)),
                _ => None,
            }
        };
        let measures = MEASURES
            .iter()
            .filter_map(|measure| {
                Some(Measured {
                    name: measure.name,
                    unit: measure.unit,
                    value: maybe(&measure.value)?,
                    floor: maybe(&measure.floor),
                    ideal: ideal(measure),
                })
            })
            .collect();
        let crossing = times(self.end)
            .into_iter()
            .enumerate()
            .map(|(place, t)| CrossingAt {
                t,
                crossing: maybe(&|r| r.slices[place].crossing),
                cfm: over(&|r| r.slices[place].cfm),
                fm: maybe(&|r| r.slices[place].fm),
            })
            .collect();
        let quality = self.options.steps.iter().enumerate().map(|(place, &steps)| Quality {
            steps,
            wasserstein2: maybe(&|r| r.quality[place].wasserstein2),
            sliced: over(&|r| r.quality[place].sliced),
            energy: over(&|r| r.quality[place].discrepancies.energy),
        });
        let evaluations = self.options.tolerances.iter().enumerate().map(|(place, &tolerance)| Evaluations {
            tolerance,
            mean: over(&|r| r.evaluations[place].0),
            most: over(&|r| r.evaluations[place].1),
        });
        let sample = self.options.sample.clone().resolved();
        Evaluation {
            dim: self.dim,
            rows: self.rows,
            seeds: self.options.seeds,
            seed: self.options.seed,
            confidence: CONFIDENCE,
            fresh: self.test.is_fresh(),
            solver: sample.solver.name,
            solver_steps: sample.steps,
            coupling: self.options.coupling.entry().name,
            measures,
            crossing,
            quality: quality.collect(),
            evaluations: evaluations.collect(),
            identity: identities(repetitions),
            notes: self.notes.clone(),
        }
    }
}

/// The terms for the exact flow and for the model.
fn identities(repetitions: &[Repetition]) -> Vec<Identity> {
    let identity = |flow: &'static str, terms: &dyn Fn(&Repetition) -> Option<[f64; 4]>| {
        let terms: Option<Vec<[f64; 4]>> = repetitions.iter().map(terms).collect();
        terms.map(|terms| {
            let over = |of: &dyn Fn(&[f64; 4]) -> f64| Interval::of(terms.iter().map(of).collect());
            Identity {
                flow,
                transport: over(&|terms| terms[0]),
                displacement: over(&|terms| terms[1]),
                straightness: over(&|terms| terms[2]),
                crossing: over(&|terms| terms[3]),
                residual: over(&|terms| terms[0] - terms[1] - terms[2] - terms[3]),
            }
        })
    };
    let exact = identity("exact", &|r| {
        let transport = r.mean(|slice| Some(slice.transport))?;
        let flow = r.exact.as_ref()?;
        Some([transport, flow.displacement, flow.straightness, r.mean(|slice| slice.crossing)?])
    });
    let model = identity("model", &|r| {
        let transport = r.mean(|slice| Some(slice.transport))?;
        Some([transport, r.kinetics.displacement, r.kinetics.straightness, r.mean(|slice| Some(slice.cfm))?])
    });
    exact.into_iter().chain(model).collect()
}

/// Midpoints of parts of equal length.
fn times(end: f64) -> Vec<f64> {
    (0..TIMES).map(|i| end * (i as f64 + 0.5) / TIMES as f64).collect()
}

/// Noise for `n` particles of a repetition.
fn begin(sampler: &mut Sampler, n: usize, repetition: usize) -> Result<Vec<f32>> {
    let dim = sampler.model().architecture.dim;
    let mut noise = Vec::with_capacity(n * dim);
    while noise.len() < n * dim {
        let done = noise.len() / dim;
        let first = (repetition * n + done) as u64;
        noise.extend(sampler.noise(first, sampler.chunk_rows().min(n - done))?);
    }
    Ok(noise)
}

/// Carries any number of points, a chunk at a time; `counts` is given the evaluations of each.
fn carry(sampler: &mut Sampler, points: &[f32], mut counts: impl FnMut(&[u32])) -> Result<Vec<f32>> {
    let dim = sampler.model().architecture.dim;
    let mut carried = Vec::with_capacity(points.len());
    let mut first = 0;
    for values in points.chunks(sampler.chunk_rows() * dim) {
        let flow = sampler.flow(Start::Points { first, values }, false)?;
        counts(&flow.evaluations);
        carried.extend(flow.points);
        first += (values.len() / dim) as u64;
    }
    Ok(carried)
}
