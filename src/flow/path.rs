//! Gaussian conditional probability paths: `p_t(x | x1) = N(a(t)·x1, b(t)²·I)` (eq. 10).
//!
//! A path is one entry of [`PATHS`] and one file of the same name under `shaders/shared/path/`; `custom` is made of two
//! expressions instead.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::expression::{Expression, schedule_wgsl};
use crate::gpu::{Constant, Variant};
use crate::{Error, Result};

/// A family of paths.
#[derive(Debug)]
pub struct PathFamily {
    /// Its name on the command line, in model files, and as a WGSL file.
    pub name: &'static str,
    /// a(t), the factor of the data, as an [`Expression`] with the parameters as constants.
    pub a: &'static str,
    /// b(t), the factor of the noise, likewise.
    pub b: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// What it can be given.
    pub parameters: &'static [PathParameter],
    /// The last time that is drawn.
    t_max: f32,
    /// (a, b, a', b') at time t, from the parameters.
    schedule: fn(&[f64], f64) -> [f64; 4],
    /// The constants of its WGSL file, from the parameters.
    bake: fn(Variant, &[f32]) -> Variant,
}

/// A parameter of a family.
#[derive(Debug)]
pub struct PathParameter {
    /// Its name in expressions and model files; on the command line with - for _.
    pub name: &'static str,
    /// The value where nothing else is asked for.
    pub default: f32,
    /// The least value.
    pub least: f32,
    /// The greatest.
    pub greatest: f32,
    /// What it takes, in words.
    pub range: &'static str,
}

/// Where b' or the velocity is singular at t = 1, the last time that is drawn is 1 − 10⁻⁵, as in Lipman et al. 2022
/// (appendix E.1).
const BEFORE_THE_END: f32 = 1.0 - 1e-5;

/// All families.
pub static PATHS: &[PathFamily] = &[
    PathFamily {
        name: "ot",
        a: "t",
        b: "1 - t + sigma_min*t",
        help: "straight lines at constant speed from noise to data",
        source: "Lipman et al. 2022, eq. 20",
        parameters: &[PathParameter {
            name: "sigma_min",
            default: Path::SIGMA_MIN,
            least: 0.0,
            greatest: 1.0 - f32::EPSILON,
            range: "a number in [0, 1); 1e-5 is usual",
        }],
        t_max: 1.0,
        schedule: |parameters, t| {
            let sigma_min = parameters[0];
            [t, (1.0 - t) + sigma_min * t, 1.0, -(1.0 - sigma_min)]
        },
        bake: |variant, parameters| variant.with_all([("SIGMA_MIN", Constant::Float(parameters[0]))]),
    },
    PathFamily {
        name: "vp",
        a: "exp(-(beta_min*(1 - t) + (beta_max - beta_min)*(1 - t)^2/2)/2)",
        b: "sqrt(1 - exp(-(beta_min*(1 - t) + (beta_max - beta_min)*(1 - t)^2/2)))",
        help: "the variance-preserving diffusion",
        source: "Song et al. 2021, eq. 11; Lipman et al. 2022, eq. 18",
        parameters: &[
            PathParameter {
                name: "beta_min",
                default: 0.1,
                least: 0.0,
                greatest: 100.0,
                range: "a number from 0 to 100",
            },
            PathParameter {
                name: "beta_max",
                default: 20.0,
                least: 0.01,
                greatest: 100.0,
                range: "a number from 0.01 to 100",
            },
        ],
        t_max: BEFORE_THE_END,
        schedule: |parameters, t| {
            let (beta_min, beta_max) = (parameters[0], parameters[1]);
            let s = 1.0 - t;
            let beta = beta_min * t + beta_max * s;
            let integral = 0.5 * s * (beta_min + beta);
            let a = (-0.5 * integral).exp();
            let b = (-(-integral).exp_m1()).sqrt();
            let slope = 0.5 * a * beta;
            [a, b, slope, -a * slope / b]
        },
        bake: |variant, parameters| {
            variant.with_all([
                ("BETA_MIN", Constant::Float(parameters[0])),
                ("BETA_MAX", Constant::Float(parameters[1])),
            ])
        },
    },
    PathFamily {
        name: "ve",
        a: "1",
        b: "sigma_min*sqrt((sigma_max/sigma_min)^(2*(1 - t)) - 1)",
        help: "the variance-exploding diffusion, from N(0, b(0)²)",
        source: "Song et al. 2021, eq. 9; Lipman et al. 2022, eq. 16",
        parameters: &[
            PathParameter {
                name: "sigma_min",
                default: 0.01,
                least: 1e-6,
                greatest: 1e3,
                range: "a number from 1e-6 to 1000",
            },
            // Ten times the spread of standardised data: that p_0 is wider than the source is then a change of half a
            // percent in the deviation, 2.5e-5 nats a column.
            PathParameter {
                name: "sigma_max",
                default: 10.0,
                least: 1e-5,
                greatest: 1e6,
                range: "a number from 1e-5 to 1e6 that is at least twice --sigma-min",
            },
        ],
        t_max: BEFORE_THE_END,
        schedule: |parameters, t| {
            let (sigma_min, sigma_max) = (parameters[0], parameters[1]);
            let log_ratio = (sigma_max / sigma_min).ln();
            let growth = (2.0 * log_ratio * (1.0 - t)).exp_m1();
            let root = growth.sqrt();
            [1.0, sigma_min * root, 0.0, -sigma_min * log_ratio * (growth + 1.0) / root]
        },
        #[allow(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
        bake: |variant, parameters| {
            let log_ratio = (f64::from(parameters[1]) / f64::from(parameters[0])).ln();
            variant.with_all([
                ("SIGMA_MIN", Constant::Float(parameters[0])),
                ("LOG_RATIO", Constant::Float(log_ratio as f32)),
            ])
        },
    },
    PathFamily {
        name: "cosine",
        a: "sin(pi*t/2)",
        b: "cos(pi*t/2)",
        help: "a quarter of a circle from noise to data",
        source: "Albergo and Vanden-Eijnden 2023",
        parameters: &[],
        t_max: 1.0,
        schedule: |_, t| {
            use std::f64::consts::FRAC_PI_2;
            let a = (FRAC_PI_2 * t).sin();
            // cos(πt/2), from where it is small
            let b = (FRAC_PI_2 * (1.0 - t)).sin();
            [a, b, FRAC_PI_2 * b, -FRAC_PI_2 * a]
        },
        bake: |variant, _| variant,
    },
    PathFamily {
        name: "poly",
        a: "t^n",
        b: "1 - t^n",
        help: "straight lines, begun slowly: poly:N for the integer n = N",
        source: "n = 1 is ot without sigma_min",
        parameters: &[PathParameter {
            name: "n",
            default: 2.0,
            least: 1.0,
            greatest: 32.0,
            range: "an integer from 1 to 32",
        }],
        t_max: 1.0,
        schedule: |parameters, t| {
            let n = parameters[0];
            let slope = n * t.powf(n - 1.0);
            // 1 − tⁿ, whose digits ln_1p and exp_m1 keep where it is small
            let b = if t < 0.5 { 1.0 - t.powf(n) } else { -(n * (t - 1.0).ln_1p()).exp_m1() };
            [t.powf(n), b, slope, -slope]
        },
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an integer from 1 to 32"
        )]
        bake: |variant, parameters| variant.with("DEGREE", parameters[0] as u32),
    },
    PathFamily {
        name: "custom",
        a: "--mean",
        b: "--std",
        help: "what --mean and --std say",
        source: "expressions of t",
        parameters: &[],
        t_max: 1.0,
        // Paths of two expressions never ask.
        schedule: |_, _| [f64::NAN; 4],
        bake: |variant, _| variant,
    },
];

/// A path with its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "PathRecord", into = "PathRecord")]
pub struct Path {
    family: usize,
    /// One for each of the family's.
    parameters: Vec<f32>,
    /// What `custom` is made of.
    custom: Option<Arc<Custom>>,
    /// σ, see [`Path::with_noise`].
    noise: f32,
}

/// The expressions of a custom path.
#[derive(Debug, PartialEq)]
struct Custom {
    /// As they were given.
    mean: String,
    std: String,
    constants: BTreeMap<String, f64>,
    /// a, b, a', b'
    schedule: [Expression; 4],
    t_max: f32,
    wgsl: String,
    /// What its float32 is worth.
    note: Option<String>,
}

/// How a path is written in model files.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PathRecord {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sigma_min: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sigma_max: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    beta_min: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    beta_max: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mean: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    std: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    constants: Option<BTreeMap<String, f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    noise: Option<f32>,
}

impl TryFrom<PathRecord> for Path {
    type Error = Error;

    fn try_from(record: PathRecord) -> Result<Self> {
        let mut path = match (record.name.as_str(), record.mean, record.std) {
            ("custom", Some(mean), Some(std)) => {
                Self::custom(&mean, &std, &record.constants.unwrap_or_default())?
            }
            (name, None, None) if record.constants.is_none() => Self::named(name)?,
            (name, ..) => {
                return Err(Error::config(
                    format!("the path `{name}` does not go with its `mean`, `std` and `constants`"),
                    "a custom path has mean and std, and no other path has",
                ));
            }
        };
        let given = [
            ("sigma_min", record.sigma_min),
            ("sigma_max", record.sigma_max),
            ("beta_min", record.beta_min),
            ("beta_max", record.beta_max),
            ("n", record.n.map(|n| n as f32)),
        ];
        path.set(given.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))))?;
        path.with_noise(record.noise.unwrap_or(0.0))
    }
}

impl From<Path> for PathRecord {
    fn from(path: Path) -> Self {
        let mut record = Self { name: path.family().name.to_owned(), ..Self::default() };
        for (parameter, value) in path.parameters() {
            match parameter.name {
                "sigma_min" => record.sigma_min = Some(value),
                "sigma_max" => record.sigma_max = Some(value),
                "beta_min" => record.beta_min = Some(value),
                "beta_max" => record.beta_max = Some(value),
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 32")]
                _ => record.n = Some(value as u32),
            }
        }
        if let Some(custom) = path.custom {
            record.mean = Some(custom.mean.clone());
            record.std = Some(custom.std.clone());
            record.constants = Some(custom.constants.clone()).filter(|constants| !constants.is_empty());
        }
        record.noise = Some(path.noise).filter(|noise| *noise > 0.0);
        record
    }
}

impl Default for Path {
    fn default() -> Self {
        Self { family: 0, parameters: vec![Self::SIGMA_MIN], custom: None, noise: 0.0 }
    }
}

impl Path {
    /// `ot`'s standard deviation around the data at t = 1 where nothing else is asked for.
    pub const SIGMA_MIN: f32 = 1e-5;

    /// The path of that name, `poly:N` included, with the parameters' defaults.
    ///
    /// # Errors
    /// [`Error::Config`] for an unknown name, and for `custom`, which [`Path::custom`] makes.
    ///
    /// # Examples
    /// ```
    /// use windfield::flow::Path;
    ///
    /// let path = Path::named("poly:3")?;
    /// assert_eq!(path.schedule(0.5), [0.125, 0.875, 0.75, -0.75]);
    /// let path = Path::named("vp")?.with("beta_max", 12.0)?;
    /// assert!(path.t_max() < 1.0);
    /// # Ok::<(), windfield::Error>(())
    /// ```
    pub fn named(name: &str) -> Result<Self> {
        let (head, degree) = match name.split_once(':') {
            Some((head, degree)) => (head, Some(degree)),
            None => (name, None),
        };
        let family = PATHS.iter().position(|family| family.name == head).ok_or_else(|| {
            let names: Vec<&str> = PATHS.iter().map(|family| family.name).collect();
            Error::config(
                format!("no path is called `{}`", name.escape_debug()),
                format!("there are {}", names.join(", ")),
            )
        })?;
        if head == "custom" {
            return Err(Error::config(
                "the path `custom` has no expressions",
                "give both --mean and --std, such as --mean 't' --std '1 - t'",
            ));
        }
        let defaults = PATHS[family].parameters.iter().map(|parameter| parameter.default).collect();
        let mut path = Self { family, parameters: defaults, custom: None, noise: 0.0 };
        if let Some(degree) = degree {
            let value = degree.parse().ok().filter(|_| head == "poly").ok_or_else(|| {
                Error::config(
                    format!("`{}` is no path", name.escape_debug()),
                    "poly alone takes a number, as in poly:3",
                )
            })?;
            path.set([("n", value)])?;
        }
        Ok(path)
    }

    /// The path of the mean a(t) and the standard deviation b(t), with the values of named constants.
    ///
    /// # Errors
    /// [`Error::Config`] if an expression cannot be read (see [`Expression::parse`]), if a, b, a' or b' is not finite
    /// somewhere in [0, 1), in double precision or on the device, or if b is not positive there: all on a grid.
    ///
    /// # Examples
    /// ```
    /// use std::collections::BTreeMap;
    /// use windfield::flow::Path;
    ///
    /// let path = Path::custom("t^p", "sqrt(1 - t)", &BTreeMap::from([("p".to_owned(), 1.5)]))?;
    /// assert_eq!(path.schedule(0.25)[..2], [0.125, 0.75f64.sqrt()]);
    /// assert!(path.notes()[0].contains("singular"));
    /// let error = Path::custom("t", "0.5 - t", &BTreeMap::new()).unwrap_err();
    /// assert!(error.to_string().contains("t = 0.5"));
    /// # Ok::<(), windfield::Error>(())
    /// ```
    pub fn custom(mean: &str, std: &str, constants: &BTreeMap<String, f64>) -> Result<Self> {
        let a = Expression::parse(mean, constants)?;
        let b = Expression::parse(std, constants)?;
        let schedule = [a.derivative(), b.derivative()];
        let wgsl = schedule_wgsl(&a, &b);
        let [da, db] = schedule;
        let schedule = [a, b, da, db];
        let t_max = check(&schedule, mean, std)?;
        let note = check_f32(&schedule, t_max)?;
        let (mean, std, constants) = (mean.to_owned(), std.to_owned(), constants.clone());
        let custom = Custom { mean, std, constants, schedule, t_max, wgsl, note };
        Ok(Self { family: PATHS.len() - 1, parameters: vec![], custom: Some(Arc::new(custom)), noise: 0.0 })
    }

    /// The path with another value of one of its parameters.
    ///
    /// # Errors
    /// [`Error::Config`] if the path has no such parameter, or for a value that it does not take.
    pub fn with(mut self, parameter: &str, value: f32) -> Result<Self> {
        self.set([(parameter, value)])?;
        Ok(self)
    }

    /// The path with noise of the standard deviation σ around it: `x_t = b·x0 + a·x1 + σ·ε` with ε ~ N(0, I) drawn anew
    /// for every row, and still `u_t = b'·x0 + a'·x1` (Tong et al. 2023, eq. 12 and 14). 0: none.
    ///
    /// From Gaussian x0 the noise of x0 and ε add up, and what is learned is the marginal field of the path with the
    /// standard deviation √(b² + σ²): that is what [`Path::schedule`] then says.
    ///
    /// # Errors
    /// [`Error::Config`] for a value that is no number from 0 to 1000.
    ///
    /// # Examples
    /// ```
    /// use windfield::flow::Path;
    ///
    /// let path = Path::default().with("sigma_min", 0.0)?.with_noise(0.5)?;
    /// let [a, b, ..] = path.schedule(1.0);
    /// assert_eq!((a, b), (1.0, 0.5));
    /// # Ok::<(), windfield::Error>(())
    /// ```
    pub fn with_noise(mut self, noise: f32) -> Result<Self> {
        if !(0.0..=1e3).contains(&noise) {
            return Err(Error::config(
                format!("--path-noise {noise} is out of range"),
                "it takes a number from 0 to 1000; 0 switches it off",
            ));
        }
        self.noise = noise;
        Ok(self)
    }

    /// σ, the standard deviation of the noise around the path; 0: none.
    #[must_use]
    pub fn noise(&self) -> f32 {
        self.noise
    }

    /// Sets several parameters, and then checks that they go together.
    ///
    /// # Errors
    /// As for [`Path::with`].
    pub fn set<'a>(&mut self, values: impl IntoIterator<Item = (&'a str, f32)>) -> Result<()> {
        let family = self.family();
        let flag = |name: &str| format!("--{}", name.replace('_', "-"));
        for (name, value) in values {
            let place =
                family.parameters.iter().position(|parameter| parameter.name == name).ok_or_else(|| {
                    let names: Vec<String> =
                        family.parameters.iter().map(|parameter| flag(parameter.name)).collect();
                    Error::config(
                        format!("{} is no parameter of the path `{}`", flag(name), family.name),
                        if names.is_empty() {
                            "it has none".to_owned()
                        } else {
                            format!("it has {}", names.join(" and "))
                        },
                    )
                })?;
            let parameter = &family.parameters[place];
            let whole = family.name != "poly" || value.fract() == 0.0;
            if !(parameter.least..=parameter.greatest).contains(&value) || !whole {
                let given = if family.name == "poly" {
                    format!("poly:{value}")
                } else {
                    format!("{} {value}", flag(name))
                };
                return Err(Error::config(
                    format!("{given} is out of range"),
                    format!("it takes {}", parameter.range),
                ));
            }
            self.parameters[place] = value;
        }
        if family.name == "ve" && self.parameters[1] < 2.0 * self.parameters[0] {
            return Err(Error::config(
                format!(
                    "--sigma-max {} does not go with --sigma-min {}",
                    self.parameters[1], self.parameters[0]
                ),
                "the noise has to grow to at least twice what it begins with",
            ));
        }
        Ok(())
    }

    /// One path of every family with its default parameters, and two custom ones: for tests, and for whoever judges
    /// the kernels.
    #[must_use]
    pub fn examples() -> Vec<Self> {
        let constants = BTreeMap::from([("k".to_owned(), 2.0), ("p".to_owned(), 1.5)]);
        let custom = [
            ("t^p*exp(k*(t - 1))", "sqrt(1 - t)*cos(t)^2"),
            ("tanh(k*t)/tanh(k)", "1 - tan(pi*t/4)^3*log(e)"),
        ];
        let custom = custom.into_iter().filter_map(|(mean, std)| Self::custom(mean, std, &constants).ok());
        PATHS.iter().filter_map(|family| Self::named(family.name).ok()).chain(custom).collect()
    }

    /// The table's entry.
    #[must_use]
    pub fn family(&self) -> &'static PathFamily {
        &PATHS[self.family]
    }

    /// The parameters with their values.
    pub fn parameters(&self) -> impl Iterator<Item = (&'static PathParameter, f32)> {
        self.family().parameters.iter().zip(self.parameters.iter().copied())
    }

    /// The name as the command line takes it: `poly:3`.
    #[must_use]
    pub fn name(&self) -> String {
        match self.family().name {
            "poly" => format!("poly:{}", self.parameters[0]),
            name => name.to_owned(),
        }
    }

    /// a(t) and b(t) as expressions: the table's formulas with the parameters' values, or those of a custom path.
    ///
    /// # Errors
    /// None that a path of this module can have; the tests read every formula.
    pub fn formulas(&self) -> Result<[Expression; 2]> {
        if let Some(custom) = &self.custom {
            let [a, b, ..] = &custom.schedule;
            return Ok([a.clone(), b.clone()]);
        }
        let constants =
            self.parameters().map(|(parameter, value)| (parameter.name.to_owned(), value.into())).collect();
        let family = self.family();
        Ok([Expression::parse(family.a, &constants)?, Expression::parse(family.b, &constants)?])
    }

    /// (a, b, a', b') at time `t` in [0, 1], in double precision: `x_t = b·x0 + a·x1` moves with
    /// `u_t = b'·x0 + a'·x1` (eq. 11, 12). Beyond [`Path::t_max`], derivatives need not be finite.
    ///
    /// Of a path with noise around it, this is the Gaussian path that comes of it: a, β = √(b² + σ²), a' and
    /// β' = b·b'/β. Its marginal field is the one that is learned from pairs with Gaussian x0, since
    /// E\[x0 | x, x1\] = b/β²·(x − a·x1). For the pairs themselves see [`Path::pair_schedule`].
    #[must_use]
    pub fn schedule(&self, t: f64) -> [f64; 4] {
        let [a, b, da, db] = self.pair_schedule(t);
        if self.noise > 0.0 {
            let beta = b.hypot(self.noise.into());
            [a, beta, da, b * db / beta]
        } else {
            [a, b, da, db]
        }
    }

    /// (a, b, a', b') of a pair at time `t`, in double precision: `x_t = b·x0 + a·x1 + σ·ε` and `u_t = b'·x0 + a'·x1`
    /// with the noise σ·ε around the path, if there is any. The same as [`Path::schedule`] where there is none.
    #[must_use]
    pub fn pair_schedule(&self, t: f64) -> [f64; 4] {
        if let Some(custom) = &self.custom {
            return custom.schedule.each_ref().map(|expression| expression.evaluate(t));
        }
        let mut values = [0.0; 2];
        for (wide, value) in values.iter_mut().zip(&self.parameters) {
            *wide = f64::from(*value);
        }
        (self.family().schedule)(&values, t)
    }

    /// The last time that is drawn, in (0, 1]: 1, or 1 − 10⁻⁵ for a path whose velocity is singular at t = 1 (`vp`,
    /// `ve`, and custom ones with such a derivative). Times are drawn on [0, `t_max`].
    #[must_use]
    pub fn t_max(&self) -> f64 {
        f64::from(self.last_time())
    }

    /// The same as the kernels have it.
    pub(crate) fn last_time(&self) -> f32 {
        self.custom.as_ref().map_or(self.family().t_max, |custom| custom.t_max)
    }

    /// The standard deviation of the Gaussian that the path starts from at t = 0, in the network's coordinates: b(0),
    /// but 1 for `vp`, whose a(0) ≈ 0.0066 is treated as 0.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
    pub fn source_std(&self) -> f32 {
        if self.family().name == "vp" { 1.0 } else { self.schedule(0.0)[1] as f32 }
    }

    /// What a user should know of the path: where its ends are not those of `a(0) = 0, b(0) = 1, a(1) = 1, b(1) = 0`,
    /// to a thousandth, and where its times end.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let off = |value: f64, from: f64| (value - from).abs() > 1e-3;
        let [a0, b0, ..] = self.schedule(0.0);
        let [a1, b1, ..] = self.schedule(1.0);
        let mut notes: Vec<String> = self.custom.iter().filter_map(|custom| custom.note.clone()).collect();
        if self.t_max() < 1.0 {
            notes.push(format!(
                "the velocity is singular at t = 1: times are drawn on [0, {}]",
                self.last_time()
            ));
        }
        if off(a0, 0.0) {
            notes.push(format!(
                "a(0) = {}, not 0: at t = 0 points still hold that much of the data, which the Gaussian that sampling \
                 starts from leaves out",
                short(a0)
            ));
        }
        if off(b0, 1.0) {
            notes.push(format!("b(0) = {}, not 1: sampling starts from noise of that deviation", short(b0)));
        }
        if off(a1, 1.0) {
            notes.push(format!("a(1) = {}, not 1: samples are that multiple of the data", short(a1)));
        }
        if off(b1, 0.0) {
            notes.push(format!("b(1) = {}, not 0: samples keep noise of that deviation", short(b1)));
        }
        notes
    }

    /// Bakes the path into a kernel that includes `shared/path/{PATH}.wgsl`.
    #[must_use]
    pub fn bake(&self, variant: Variant) -> Variant {
        match &self.custom {
            Some(custom) => variant.text("PATH", "custom", custom.wgsl.clone()),
            None => (self.family().bake)(variant.part("PATH", self.family().name), &self.parameters),
        }
    }
}

/// A number in a sentence: four digits.
fn short(value: f64) -> String {
    if !value.is_finite() || value == 0.0 || (1e-3..1e4).contains(&value.abs()) {
        let digits = format!("{value:.4}");
        digits.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{value:.3e}")
    }
}

/// Checks (a, b, a', b') of a custom path on a grid, and says where its times end.
fn check(schedule: &[Expression; 4], mean: &str, std: &str) -> Result<f32> {
    /// Squares of what is larger are beyond float32.
    const LARGEST: f64 = 1e18;
    let finite = |value: f64| value.abs() <= LARGEST;
    // Where the derivatives are singular at the very end, the times stop before it.
    let singular = schedule[2..].iter().any(|slope| !finite(slope.evaluate(1.0)));
    let t_max = if singular { BEFORE_THE_END } else { 1.0 };
    let named = [
        "the mean",
        "the standard deviation",
        "the derivative of the mean",
        "the derivative of the standard deviation",
    ];
    for t in grid() {
        for (place, (expression, what)) in schedule.iter().zip(named).enumerate() {
            if place >= 2 && t > f64::from(t_max) {
                continue;
            }
            let value = expression.evaluate(t);
            let text = if place % 2 == 0 { mean } else { std }.escape_debug();
            if !finite(value) {
                let what = format!("{what} `{text}` is {value:e} at t = {}", at(t));
                return Err(Error::config(what, "a path and its velocity are finite on [0, 1)"));
            }
            if place == 1 && t < 1.0 && value <= 0.0 {
                let what = format!("{what} `{text}` is {} at t = {}", short(value), at(t));
                return Err(Error::config(what, "it has to be positive on [0, 1)"));
            }
        }
    }
    Ok(t_max)
}

/// The times at which a custom path is checked: all over [0, 1], and close to its ends.
fn grid() -> Vec<f64> {
    let near = [1e-30, 1e-12, 1e-7, 1e-6, 1e-5, 1e-4];
    let even = (0..=4096).map(|i| f64::from(i) / 4096.0);
    // No float32 time is closer to 1 than 2^−24, and double precision itself loses the sign of some b beyond.
    let before_one = near.into_iter().filter(|s| *s >= 1e-7).map(|s| 1.0 - s);
    let mut times: Vec<f64> = even.chain(near).chain(before_one).collect();
    times.push(1.0 - 2f64.powi(-24));
    times.sort_by(f64::total_cmp);
    times
}

/// Checks the same as the device computes it: what it cannot hold is an error, a loss of digits a note.
fn check_f32(schedule: &[Expression; 4], t_max: f32) -> Result<Option<String>> {
    let mut worst = (0.01, None);
    #[allow(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
    for t in grid().into_iter().map(|t| t as f32).filter(|t| *t <= t_max) {
        for (expression, what) in schedule.iter().zip(["a", "b", "a'", "b'"]) {
            let (there, exact) = (f64::from(expression.evaluate_f32(t)), expression.evaluate(f64::from(t)));
            if !there.is_finite() {
                return Err(Error::config(
                    format!(
                        "{what}(t) is {there} at t = {} in float32, though {exact:e} exactly",
                        at(t.into())
                    ),
                    "rewrite the expression so that no step of it is beyond 3e38 or divides by what rounds to 0",
                ));
            }
            // Coefficients by their size, down to a thousandth; slopes by theirs, down to 1.
            let size = exact.abs().max(if what.len() == 1 { 1e-3 } else { 1.0 });
            let off = (there - exact).abs() / size;
            if off > worst.0 {
                let text = format!(
                    "float32 keeps few digits of {what}(t) at t = {}: {} instead of {}; rewrite the expression if that \
                     matters, so that nothing is subtracted from what is almost the same",
                    at(t.into()),
                    short(there),
                    short(exact)
                );
                worst = (off, Some(text));
            }
        }
    }
    Ok(worst.1)
}

/// A time in a sentence.
fn at(t: f64) -> String {
    if t <= 0.0 || (1e-4..=0.999).contains(&t) || t >= 1.0 {
        short(t)
    } else if t < 0.5 {
        format!("{t:e}")
    } else {
        format!("1 − {:.3e}", 1.0 - t)
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "values are compared on purpose")]
mod tests {
    use super::*;

    /// Times over (0, 1), many of them near the ends.
    fn times() -> impl Iterator<Item = f64> {
        let near = || (1..=7).map(|k| 10f64.powi(-k));
        (1..64).map(|i| f64::from(i) / 64.0).chain(near()).chain(near().map(|s| 1.0 - s))
    }

    fn variations() -> Vec<Path> {
        let named = |name: &str, values: &[(&str, f32)]| {
            let mut path = Path::named(name).unwrap();
            path.set(values.iter().copied()).unwrap();
            path
        };
        let mut paths = Path::examples();
        paths.extend([
            named("ot", &[("sigma_min", 0.0)]),
            named("ot", &[("sigma_min", 0.1)]),
            named("vp", &[("beta_min", 0.0), ("beta_max", 5.0)]),
            named("vp", &[("beta_min", 30.0), ("beta_max", 0.01)]),
            named("ve", &[("sigma_min", 0.5), ("sigma_max", 1.0)]),
            named("ve", &[("sigma_min", 1e-6), ("sigma_max", 1e6)]),
            named("poly:1", &[]),
            named("poly:7", &[]),
            named("poly:32", &[]),
        ]);
        paths
    }

    #[test]
    fn derivatives_are_those_of_the_formulas() {
        for path in variations() {
            let [a, b] = path.formulas().unwrap();
            for t in times() {
                let got = path.schedule(t);
                let ((a, da), (b, db)) = (a.evaluate_dual(t), b.evaluate_dual(t));
                for (what, got, want) in
                    [("a", got[0], a), ("b", got[1], b), ("a'", got[2], da), ("b'", got[3], db)]
                {
                    // The formulas subtract from 1 what is near it: 2⁻⁵² of that over what is left, twice over in b'.
                    let lost = 8.0 * f64::EPSILON / (1.0 - t).min(b * b).min(1.0);
                    let allowed = 1e-12 + want.abs() * (1e-11 + lost);
                    assert!((got - want).abs() <= allowed, "{path:?}: {what}({t}) is {got:e}, not {want:e}");
                }
            }
        }
    }

    #[test]
    #[allow(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
    fn ends_are_those_of_the_definitions() {
        for path in variations() {
            let [a0, b0, da0, db0] = path.schedule(0.0);
            let last = path.schedule(path.t_max());
            assert!([a0, b0, da0, db0].iter().chain(&last).all(|x| x.is_finite()), "{path:?}: {last:?}");
            assert!(path.t_max() == 1.0 || path.t_max() == f64::from(0.99999f32));
            for t in times() {
                assert!(path.schedule(t)[1] > 0.0, "{path:?} at {t}");
            }
        }
        let named = |name: &str| Path::named(name).unwrap();
        assert_eq!(named("ot").schedule(1.0), [1.0, f64::from(1e-5f32), 1.0, f64::from(1e-5f32) - 1.0]);
        for name in ["ot", "cosine", "poly", "poly:5"] {
            let path = named(name);
            assert_eq!((path.schedule(0.0)[0], path.schedule(0.0)[1], path.source_std()), (0.0, 1.0, 1.0));
            assert_eq!((path.schedule(1.0)[0], path.t_max()), (1.0, 1.0));
            assert!(path.notes().is_empty(), "{:?}", path.notes());
        }
        assert!((named("vp").schedule(0.0)[0] - (-5.025f64).exp()).abs() < 1e-8);
        assert_eq!((named("vp").schedule(1.0)[0], named("vp").schedule(1.0)[1]), (1.0, 0.0));
        assert_eq!((named("vp").source_std(), named("vp").notes().len()), (1.0, 2));
        assert!((named("ve").schedule(0.0)[1] - (1e2 - 1e-4f64).sqrt()).abs() < 1e-6);
        assert_eq!(named("ve").source_std(), named("ve").schedule(0.0)[1] as f32);
        assert_eq!(named("ve").notes().len(), 3, "{:?}", named("ve").notes());
        assert_eq!(named("poly:1").schedule(0.3), {
            let [a, b, da, db] = named("ot").with("sigma_min", 0.0).unwrap().schedule(0.3);
            assert!((b - 0.7).abs() < 1e-15);
            [a, named("poly:1").schedule(0.3)[1], da, db]
        });
    }

    /// Eq. 12 with x on the path is the time derivative of eq. 11.
    #[test]
    fn the_eulerian_form_is_the_lagrangian_one() {
        for path in variations() {
            for t in times().filter(|t| *t <= path.t_max()) {
                let [a, b, da, db] = path.schedule(t);
                for (x0, x1) in [(0.7, -1.3), (-2.0, 0.5), (0.0, 3.0)] {
                    let x = b * x0 + a * x1;
                    let eulerian = db / b * (x - a * x1) + da * x1;
                    let lagrangian = db * x0 + da * x1;
                    // x − a·x1 cancels where b is small.
                    let allowed = 1e-14 * (1.0 + da.abs() + db.abs() * (1.0 + (a * x1 / b).abs()));
                    assert!((eulerian - lagrangian).abs() <= 4.0 * allowed, "{path:?} at {t}");
                }
            }
        }
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        for path in variations() {
            let json = serde_json::to_string(&path).unwrap();
            assert_eq!(serde_json::from_str::<Path>(&json).unwrap(), path, "{json}");
            let table = toml::to_string(&path).unwrap();
            assert_eq!(toml::from_str::<Path>(&table).unwrap(), path, "{table}");
        }
        let json = |name: &str| serde_json::to_string(&Path::named(name).unwrap()).unwrap();
        assert_eq!(json("ot"), r#"{"name":"ot","sigma_min":0.00001}"#);
        assert_eq!(json("vp"), r#"{"name":"vp","beta_min":0.1,"beta_max":20.0}"#);
        assert_eq!(json("poly:3"), r#"{"name":"poly","n":3}"#);
        let read = |json: &str| serde_json::from_str::<Path>(json).map_err(|error| error.to_string());
        assert_eq!(read(r#"{"name":"ot"}"#).unwrap(), Path::default());
        assert_eq!(read(r#"{"name":"vp","beta_max":20}"#).unwrap(), Path::named("vp").unwrap());
        assert_eq!(read(r#"{"name":"poly:3"}"#).unwrap(), Path::named("poly:3").unwrap());
        for (broken, word) in [
            (r#"{"name":"ot","sigma_mix":1}"#, "sigma_mix"),
            (r#"{"name":"ot","beta_min":1}"#, "--beta-min is no parameter of the path `ot`"),
            (r#"{"name":"cosine","sigma_min":1}"#, "it has none"),
            (r#"{"name":"ot","sigma_min":1}"#, "--sigma-min 1"),
            (r#"{"name":"poly","n":0}"#, "poly:0"),
            (r#"{"name":"poly","n":2.5}"#, "2.5"),
            (r#"{"name":"custom","mean":"t"}"#, "mean and std"),
            (r#"{"name":"custom"}"#, "--mean"),
            (r#"{"name":"ot","mean":"t","std":"1-t"}"#, "`ot`"),
            (r#"{"name":"custom","mean":"t","std":"1-t}"}"#, "column 4"),
            (r#"{"name":"loop"}"#, "ot, vp, ve, cosine, poly, custom"),
            (r#"{"name":"ve","sigma_min":1,"sigma_max":1.5}"#, "--sigma-max 1.5"),
            ("{}", "name"),
        ] {
            let error = read(broken).unwrap_err();
            assert!(error.contains(word) && error.lines().count() == 1, "{broken}: {error}");
        }
    }

    #[test]
    fn custom_paths_are_checked() {
        let custom = |mean: &str, std: &str| Path::custom(mean, std, &BTreeMap::new());
        let straight = custom("t", "1 - t").unwrap();
        assert_eq!(straight.schedule(0.25), [0.25, 0.75, 1.0, -1.0]);
        assert!(straight.notes().is_empty() && straight.t_max() == 1.0 && straight.source_std() == 1.0);
        let root = custom("t", "2*sqrt(1 - t)").unwrap();
        assert!(root.t_max() < 1.0 && root.source_std() == 2.0);
        assert_eq!(root.notes().len(), 2, "{:?}", root.notes());
        let lossy = custom("t", "sqrt(1 - exp((t - 1)/20))").unwrap();
        assert!(lossy.notes()[0].contains("float32 keeps few digits of b"), "{:?}", lossy.notes());
        let notes = custom("0.5 + t/4", "1 - t/2").unwrap().notes();
        for (note, word) in notes.iter().zip(["a(0) = 0.5", "a(1) = 0.75", "b(1) = 0.5"]) {
            assert!(note.contains(word), "{note}");
        }
        for (mean, std, words) in [
            ("t", "0.5 - t", "the standard deviation `0.5 - t` is 0 at t = 0.5"),
            ("t", "t", "is 0 at t = 0;"),
            ("t", "-1", "is -1 at t = 0;"),
            ("1/t", "1 - t", "the mean `1/t` is inf at t = 0;"),
            ("log(t)", "1 - t", "the mean `log(t)` is -inf at t = 0;"),
            ("sqrt(t)", "1 - t", "the derivative of the mean `sqrt(t)` is inf at t = 0;"),
            ("t", "1 - sqrt(t)", "the derivative of the standard deviation"),
            ("t/(1 - t)", "1 - t", "at t = 1;"),
            ("sqrt(t - 0.5)", "1 - t", "NaN"),
            ("t/(1.0000001 - t)^3", "1 - t", "1 − "),
            ("1e30*t*1e30/1e60", "1 - t", "a(t) is inf at t = "),
        ] {
            let error = custom(mean, std).unwrap_err().to_string();
            assert!(error.contains(words) && error.lines().count() == 1, "{mean}, {std}: {error}");
        }
    }
}
