//! The coefficients of the paths: path.wgsl, and what expressions are made of.

use std::collections::BTreeMap;
use std::f32::consts::{LN_2, SQRT_2};

use windfield::flow::{Expression, PATHS, Path};
use windfield::gpu::Variant;

use crate::common::{Launch, Report, UNIT, narrow, random, wide, word};
use crate::reference::path::{Coefficients, cosine, ot, poly, ve, vp};

/// A path, its twin, and how far (a, b, a', b') at a time of float32 may be off.
pub struct Case {
    pub path: Path,
    pub twin: Box<dyn Fn(f64) -> Coefficients>,
    pub error: Box<dyn Fn(f64) -> [f64; 4]>,
}

/// The path `ot`.
pub fn straight(sigma_min: f32) -> Path {
    Path::named("ot").and_then(|path| path.with("sigma_min", sigma_min)).expect("a path")
}

fn named(name: &str, values: &[(&str, f32)]) -> Path {
    let mut path = Path::named(name).expect("a path");
    path.set(values.iter().copied()).expect("values in range");
    path
}

/// Errors in units of a rounding, relative to the values.
fn relative(values: Coefficients, units: [f64; 4]) -> [f64; 4] {
    std::array::from_fn(|i| values.array()[i].abs() * units[i] * UNIT)
}

/// WGSL's square roots may be off by this many roundings, and its quotients by this many: 2.5 units in the last place.
const ROOT: f64 = 5.0;
const QUOTIENT: f64 = 5.0;

impl Case {
    fn new(
        path: Path,
        twin: impl Fn(f64) -> Coefficients + Clone + 'static,
        units: impl Fn(f64) -> [f64; 4] + 'static,
    ) -> Self {
        let values = twin.clone();
        Self { path, twin: Box::new(twin), error: Box::new(move |t| relative(values(t), units(t))) }
    }

    fn ot(sigma_min: f32) -> Self {
        // 1 − t, σ·t and their sum; 1 − σ
        Self::new(straight(sigma_min), clone(move |t| ot(f64::from(sigma_min))(t)), |_| [0.0, 3.0, 0.0, 1.0])
    }

    fn vp(beta_min: f32, beta_max: f32) -> Self {
        let path = named("vp", &[("beta_min", beta_min), ("beta_max", beta_max)]);
        let (beta_min, beta_max) = (f64::from(beta_min), f64::from(beta_max));
        Self::new(path, clone(move |t| vp(beta_min, beta_max)(t)), move |t| {
            // All terms of T are positive: s 1, β(s) 1 + 2 + 1, their sum 1, two products. It is an argument of exp,
            // whose own error is 4; expm1 has at most 1 as its condition, and 6 of its own.
            let s = 1.0 - t;
            let integral = beta_min * s + (beta_max - beta_min) * s * s / 2.0;
            let (exponent, rate) = (8.0 * integral / 2.0 + 4.0, 4.0);
            let root = 0.5 * (8.0 + 6.0) + ROOT;
            let slope = exponent + rate + 2.0;
            [exponent, root, slope, exponent + slope + root + 1.0 + QUOTIENT]
        })
    }

    fn ve(sigma_min: f32, sigma_max: f32) -> Self {
        let path = named("ve", &[("sigma_min", sigma_min), ("sigma_max", sigma_max)]);
        let (sigma_min, sigma_max) = (f64::from(sigma_min), f64::from(sigma_max));
        Self::new(path, clone(move |t| ve(sigma_min, sigma_max)(t)), move |t| {
            // x = 2·L·s: L 1, s 1, the product 1. The condition of expm1 is x/(1 − e^−x) ≤ 1 + x.
            let x = 2.0 * (sigma_max / sigma_min).ln() * (1.0 - t);
            let growth = 3.0 * (1.0 + x) + 6.0;
            let root = growth / 2.0 + ROOT;
            [0.0, root + 1.0, 0.0, 2.0 + growth + 2.0 + root + QUOTIENT]
        })
    }

    fn cosine() -> Self {
        // The angle rounds twice; the polynomials and what they leave out are another six.
        Self::new(named("cosine", &[]), clone(move |t| cosine()(t)), |_| [8.0, 8.0, 10.0, 10.0])
    }

    fn poly(n: u8) -> Self {
        let twin = clone(move |t| poly(n.into())(t));
        let n = f64::from(n);
        Self::new(named(&format!("poly:{n}"), &[]), twin, move |_| {
            // Powers round once a factor, their sum of positive terms once a term.
            [n, 2.0 * n + 2.0, n + 1.0, n + 1.0]
        })
    }

    /// a = t^p·e^(k(t − 1)), b = √(1 − t)·cos²t.
    fn custom() -> Self {
        let constants = BTreeMap::from([("k".to_owned(), 2.0), ("p".to_owned(), 1.5)]);
        let path = Path::custom("t^p*exp(k*(t - 1))", "sqrt(1 - t)*cos(t)^2", &constants).expect("a path");
        let twin = |t: f64| {
            let (a, root) = (t.powf(1.5) * (2.0 * (t - 1.0)).exp(), (1.0 - t).sqrt());
            let da = (1.5 * t.sqrt() + 2.0 * t.powf(1.5)) * (2.0 * (t - 1.0)).exp();
            let b = root * t.cos().powi(2);
            Coefficients { a, b, da, db: -0.5 / root * t.cos().powi(2) - root * (2.0 * t).sin() }
        };
        let error = move |t: f64| {
            let exponential = 3.0 * 2.0 * (1.0 - t) + 4.0;
            let power = 8.0 * 1.5 * if t > 0.0 { t.ln().abs() } else { 0.0 } + 4.0;
            let root = 1.0 + ROOT;
            // The cosine of an angle up to 1 is within 3, absolutely; its square and the products follow.
            let waves = 2.0 * 3.0 / t.cos() + 2.0;
            let at = twin(t);
            let small = f64::from(f32::MIN_POSITIVE);
            [
                at.a * (exponential + power + 1.0) * UNIT + small,
                at.b * (root + waves + 1.0) * UNIT,
                at.da * (exponential + power + ROOT + 4.0) * UNIT + small,
                (0.5 / (1.0 - t).sqrt() * (root + QUOTIENT + waves + 3.0)
                    + (1.0 - t).sqrt() * (root + 2.0 * 3.0 + 6.0))
                    * UNIT,
            ]
        };
        Self { path, twin: Box::new(twin), error: Box::new(error) }
    }

    /// All paths.
    pub fn all() -> Vec<Self> {
        let cases = vec![
            Self::ot(1e-5),
            Self::ot(0.0),
            Self::ot(0.3),
            Self::vp(0.1, 20.0),
            Self::vp(0.0, 5.0),
            Self::vp(30.0, 0.01),
            Self::ve(0.01, 10.0),
            Self::ve(0.5, 1.0),
            Self::ve(1e-6, 1e6),
            Self::cosine(),
            Self::poly(1),
            Self::poly(2),
            Self::poly(7),
            Self::poly(32),
            Self::custom(),
        ];
        for family in PATHS {
            assert!(cases.iter().any(|case| case.path.family().name == family.name), "{}", family.name);
        }
        cases
    }
}

/// A closure whose type is that of a function of time.
fn clone<F: Fn(f64) -> Coefficients + Clone + 'static>(function: F) -> F {
    function
}

/// 0, 1, what lies next to them, and numbers in between that are in a place of every exponent.
fn times() -> Vec<f32> {
    let mut times =
        vec![0.0, 1.0, 1.0 - f32::EPSILON / 2.0, 1.0 - f32::EPSILON, 0.5, 0.5 - f32::EPSILON / 4.0];
    for k in 1..=24 {
        let power = 2f32.powi(-k);
        times.extend([power, 1.0 - power, 0.7 * power, 1.0 - 0.7 * power]);
    }
    times.extend([1e-10, 1e-20, 1e-30, f32::MIN_POSITIVE, 0.99999]);
    times.extend((0..1000).map(|i| (i as f32 + 0.37) / 1000.0));
    times
}

/// (a, b, a', b') of a variant of path.wgsl at times.
fn coefficients(report: &mut Report, variant: Variant, times: &[f32]) -> Vec<f32> {
    let launch = Launch::new(variant).input(0, times).output(1, &vec![[f32::NAN; 4]; times.len()]);
    launch.run(report, [word(times.len().div_ceil(64)), 1, 1]).get(1)
}

#[test]
fn coefficients_are_the_twins() {
    let mut report = Report::new();
    for Case { path, twin, error } in Case::all() {
        let times: Vec<f32> = times().into_iter().filter(|t| f64::from(*t) <= path.t_max()).collect();
        let got = coefficients(&mut report, path.bake(Variant::new("path")), &times);
        let want: Vec<[f64; 4]> = times.iter().map(|t| twin(f64::from(*t)).array()).collect();
        let library: Vec<[f64; 4]> = times.iter().map(|t| path.schedule(f64::from(*t))).collect();
        for (i, what) in ["a", "b", "a'", "b'"].into_iter().enumerate() {
            let column = |rows: &[[f64; 4]]| rows.iter().map(|row| row[i]).collect::<Vec<_>>();
            let got: Vec<f32> = got.iter().skip(i).step_by(4).copied().collect();
            // Drivers may take what is below float32's normal numbers for zero, before it is multiplied by up to 32.
            let tiny = 64.0 * f64::from(f32::MIN_POSITIVE);
            let name = format!("{} {:?}: {what} over {} times", path.name(), path, times.len());
            report.close(&name, &got, &column(&want), |at| error(f64::from(times[at]))[i] + tiny);
            for ((want, library), t) in column(&want).into_iter().zip(column(&library)).zip(&times) {
                report.holds((want - library).abs() <= 1e-12 * want.abs() + 1e-300, || {
                    format!("{name}: the library has {library} at {t}, expected {want}")
                });
            }
        }
    }
    report.finish();
}

/// Eq. 12 on what the device computed: (b'/b)·(x − a·x1) + a'·x1 is b'·x0 + a'·x1 at x = b·x0 + a·x1.
#[test]
fn the_eulerian_form_is_the_lagrangian_one() {
    let mut report = Report::new();
    for Case { path, .. } in Case::all() {
        let times: Vec<f32> =
            times().into_iter().filter(|t| f64::from(*t) <= path.t_max() && *t < 1.0).collect();
        let got = coefficients(&mut report, path.bake(Variant::new("path")), &times);
        let ends = wide(&random(3, 2 * times.len()));
        for ((schedule, t), ends) in got.chunks_exact(4).zip(&times).zip(ends.chunks_exact(2)) {
            let [a, b, da, db] = std::array::from_fn(|i| f64::from(schedule[i]));
            let x = b * ends[0] + a * ends[1];
            let eulerian = db / b * (x - a * ends[1]) + da * ends[1];
            let lagrangian = db * ends[0] + da * ends[1];
            let allowed =
                1e-14 * (1.0 + (da * ends[1]).abs() + (db * ends[0]).abs() + (db / b * a * ends[1]).abs());
            report.holds((eulerian - lagrangian).abs() <= allowed, || {
                format!("{path:?} at {t}: {eulerian} in Eulerian form, {lagrangian} in Lagrangian form")
            });
        }
    }
    report.finish();
}

/// Arguments over all of float32: both signs, every few exponents, what is next to 1 and to multiples of log 2.
fn arguments() -> Vec<f32> {
    let mut arguments = vec![0.0, 1.0, f32::MAX, 87.0, 88.0, 88.5, LN_2, SQRT_2];
    for k in -126..=127 {
        arguments.extend([1.0, 1.2, SQRT_2, SQRT_2 + f32::EPSILON, 1.9].map(|x| x * 2f32.powi(k)));
    }
    arguments.extend((1..2000).map(|i| i as f32 * 0.044));
    arguments.extend((1..100).flat_map(|i| [1.0 - i as f32 * 1e-7, 1.0 + i as f32 * 2e-7]));
    arguments.extend(arguments.clone().into_iter().map(|x| -x));
    arguments
}

/// Its name, itself, and the roundings by which it may be off.
type Function = (&'static str, fn(f64) -> f64, f64);

#[test]
fn elementary_functions_have_the_accuracy_that_they_state() {
    let mut report = Report::new();
    let variant = |expression: &str| {
        let text = format!(
            "//#include \"shared/expression.wgsl\"\nfn path_schedule(t: f32) -> vec4f {{ return {expression}; }}"
        );
        Variant::new("path").text("PATH", "functions", text)
    };
    let mut compare = |expression: &str, arguments: &[f32], functions: [Function; 4]| {
        let got = coefficients(&mut report, variant(expression), arguments);
        for (i, (name, function, units)) in functions.into_iter().enumerate() {
            let got: Vec<f32> = got.iter().skip(i).step_by(4).copied().collect();
            let want: Vec<f64> = arguments.iter().map(|x| function(f64::from(*x))).collect();
            let at = |i: usize| units * UNIT * want[i].abs() + f64::from(f32::MIN_POSITIVE);
            report.close(&format!("{name} of {:?}…", &arguments[..2]), &got, &want, at);
        }
    };
    let all = arguments();
    compare(
        "vec4f(exponential(t), expm1(t), hyperbolic_tangent(t), guarded_sqrt(t))",
        &all,
        [
            ("exp", |x| x.clamp(-87.0, 88.0).exp(), 4.0),
            ("expm1", |x| x.clamp(-87.0, 88.0).exp_m1(), 6.0),
            ("tanh", f64::tanh, 16.0),
            ("sqrt", |x| x.max(0.0).sqrt(), ROOT),
        ],
    );
    let smallest = |x: f64| x.max(f64::from(f32::MIN_POSITIVE)).ln();
    compare(
        "vec4f(logarithm(t), power(t, 0.0), power(t, 1e-3), power(t, -1e-3))",
        &all,
        [
            ("log", smallest, 6.0),
            ("x^0", |x| if x < 0.0 { 0.0 } else { 1.0 }, 5.0),
            ("x^0.001", |x| x.max(0.0).powf(f64::from(1e-3f32)), 5.0),
            (
                "x^-0.001",
                |x| if x < 0.0 { 0.0 } else { x.max(f64::from(f32::MIN_POSITIVE)).powf(f64::from(-1e-3f32)) },
                5.0,
            ),
        ],
    );
    // Angles of moderate size: the error is an absolute one.
    let angles: Vec<f32> = (0..4000).map(|i| (i as f32 - 2000.0) * 0.05).chain([1e4, -1e4, 7777.7]).collect();
    let got = coefficients(&mut report, variant("vec4f(sine(t), cosine(t), tangent(t), 0.0)"), &angles);
    for (i, name) in ["sin", "cos", "tan"].into_iter().enumerate() {
        let got: Vec<f32> = got.iter().skip(i).step_by(4).copied().collect();
        let function = [f64::sin, f64::cos, f64::tan][i];
        let want: Vec<f64> = angles.iter().map(|x| function(f64::from(*x))).collect();
        report.close(name, &got, &want, |at| {
            let (x, angle) = (f64::from(angles[at]), 12.0 * UNIT);
            if i == 2 { angle * 2.0 / x.cos().powi(2) + QUOTIENT * UNIT * x.tan().abs() } else { angle }
        });
    }
    report.finish();
}

/// Expressions on the device against float64, over what they are good for.
#[test]
fn expressions_are_what_they_say() {
    let mut report = Report::new();
    let constants = BTreeMap::from([("k".to_owned(), -0.3), ("large".to_owned(), 1e200)]);
    let times: Vec<f32> = times();
    for (text, function, allowed) in [
        ("0.5", (|_| 0.5) as fn(f64) -> f64, 0.0),
        ("t^2 + t^3*k", |t| t * t - 0.3 * t.powi(3), 8.0),
        ("(2 + t)^-3", |t| (2.0 + t).powi(-3), 16.0),
        ("t^t", |t| t.powf(t), 16.0),
        ("-t^13", |t| -t.powi(13), 32.0),
        ("(1 + t)^k/2^t", |t| (1.0 + t).powf(-0.3) / 2f64.powf(t), 32.0),
        ("log(e^(3*t) + 1)", |t| (t * 3.0).exp().ln_1p(), 32.0),
        ("tanh(5*t - 2) - tan(t)", |t| (5.0 * t - 2.0).tanh() - t.tan(), 64.0),
        ("sin(20*t)*cos(-t)", |t| (20.0 * t).sin() * t.cos(), 64.0),
        ("1/(1 + exp(large*(t - 2)))", |_| 1.0, 4.0),
        (
            "(2*t - 1)^101 + (t - 2)^3 + (t - 1)^100000 + (t - 1)^100001",
            |t| {
                (2.0 * t - 1.0).powi(101)
                    + (t - 2.0).powi(3)
                    + if t == 0.0 { 0.0 } else { (t - 1.0).powi(100_000) * t }
            },
            256.0,
        ),
        ("sqrt(t)*sqrt(1 - t)", |t| (t * (1.0 - t)).sqrt(), 16.0),
    ] {
        let expression = Expression::parse(text, &constants).expect("an expression");
        let source = format!(
            "//#include \"shared/expression.wgsl\"\n{}fn path_schedule(t: f32) -> vec4f {{ return vec4f(value(t)); }}",
            expression.to_wgsl("value")
        );
        let variant = Variant::new("path").text("PATH", "custom", source);
        let got = coefficients(&mut report, variant, &times);
        let got: Vec<f32> = got.iter().step_by(4).copied().collect();
        let want: Vec<f64> = times.iter().map(|t| function(f64::from(*t))).collect();
        report.near(text, &got, &want, allowed * UNIT);
        let here = narrow(&times.iter().map(|t| expression.evaluate(f64::from(*t))).collect::<Vec<_>>());
        report
            .close(&format!("{text} on the host"), &here, &want, |i| (UNIT + 1e-12) * want[i].abs() + 1e-14);
    }
    report.finish();
}
