//! Carrying particles along the flow in steps that are known beforehand: integrator.wgsl.

use windfield::flow::{Method, SOLVERS, Solver};

use super::fused::{
    CASES, CUTS, Case, FIRST_ROW, SEED, SHARED_CASES, Trace, constants, magnitude, plainly, subgroup_cases,
};
use crate::common::{Report, UNIT, narrow, random, wide};
use crate::reference::activation::Activation;
use crate::reference::conversions::stochastic;
use crate::reference::divergence::Probe;
use crate::reference::integrator::{Transform, cosine, power, solve, uniform};
use crate::reference::path::{Coefficients, ot};

/// One way over a timetable.
struct Way<'a> {
    case: &'a Case,
    solver: &'a Solver,
    trace: Option<Trace>,
    /// t_0, …, t_n
    times: &'a [f64],
    /// What an evaluation at a time is transformed by.
    transform: &'a dyn Fn(f64) -> Transform,
    /// What ξ is multiplied by in the step that begins at a time, with its length.
    noise: &'a dyn Fn(f64, f64) -> f64,
}

impl Way<'_> {
    fn multistep(&self) -> bool {
        self.solver.method == Method::Multistep
    }

    /// (h, noise, w0, w1), then (t, c, α, β) of each stage, for every step.
    fn timetable(&self) -> Vec<f32> {
        let mut table = vec![];
        for (i, pair) in self.times.windows(2).enumerate() {
            let (t, h) = (pair[0], pair[1] - pair[0]);
            let omega = if i == 0 { 0.0 } else { h / (t - self.times[i - 1]) };
            table.extend([h, (self.noise)(t, h), 1.0 + omega / 2.0, -omega / 2.0]);
            for c in self.solver.c {
                let Transform { alpha, beta, scale, time } = (self.transform)(t + c * h);
                table.extend([time, scale, alpha, beta]);
            }
        }
        narrow(&table)
    }

    /// Carries states [rows, state], a dispatch for each of the given numbers of steps.
    fn run(&self, report: &mut Report, state: &[f32], runs: &[usize]) -> Vec<f32> {
        let (case, width) = (self.case, self.case.state(self.trace));
        let stages = self.solver.stages();
        let rows = state.len() / width;
        let timetable = self.timetable();
        let kept = usize::from(self.multistep());
        let variant = case
            .variant("integrator", stages, kept, self.trace)
            .flag("MULTISTEP", self.multistep())
            .flag("STOCHASTIC", self.solver.method == Method::Stochastic);
        let mut state = state.to_vec();
        // There is no step before the first one, and what is there in its place does not count.
        let mut before = vec![f32::NAN; rows * width.next_multiple_of(4)];
        let mut first_step = 0;
        for (i, &steps) in runs.iter().enumerate() {
            let mut constants = constants(self.solver, rows);
            (constants.first_step, constants.steps) = (first_step as u32, steps as u32);
            let row = 4 * (1 + stages);
            // An empty dispatch is given what it does not read.
            let table = &timetable[first_step.min(self.times.len() - 2) * row..];
            let mut launch = case.launch(variant.clone(), &constants, &state).input(5, table);
            if self.multistep() {
                launch = launch.output(6, &before);
            }
            let outputs = launch.run(report, case.groups(rows, i));
            state = outputs.get(3);
            if self.multistep() {
                before = outputs.get(6);
            }
            first_step += steps;
        }
        state
    }

    /// What the twin makes of it: the states at all times.
    fn twin(&self, state: &[f32]) -> Vec<Vec<f64>> {
        let twin = self.case.field(self.trace);
        let field = |y: &[f64], t: f64| twin.slopes(y, (self.transform)(t), FIRST_ROW);
        let name = if self.solver.method == Method::Stochastic { "euler" } else { self.solver.name };
        solve(name, field, &wide(state), self.times)
    }
}

fn fixed_steps() -> impl Iterator<Item = &'static Solver> + Clone {
    SOLVERS.iter().filter(|solver| matches!(solver.method, Method::RungeKutta | Method::Multistep))
}

fn named(name: &str) -> &'static Solver {
    Solver::named(name).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn particles_are_carried_as_the_twins() {
    let mut report = Report::new();
    for case in CASES.iter().chain(&SHARED_CASES).chain(&subgroup_cases()) {
        for solver in fixed_steps() {
            for (grid, times) in [
                ("uniform", uniform((0.0, 1.0), 8)),
                ("cosine, backwards", cosine((1.0, 0.0), 8)),
                ("square", power(2.0, (0.25, 0.5), 3)),
                ("irregular", vec![0.0, 0.3, 0.35, 0.7, 1.0]),
            ] {
                let way =
                    Way { case, solver, trace: None, times: &times, transform: &plainly, noise: &|_, _| 0.0 };
                let steps = times.len() - 1;
                let x = random(12, case.rows * case.dim);
                let name = format!("{} over {}, {grid}", solver.name, case.name());
                let whole = way.run(&mut report, &x, &[steps]);
                let want = &way.twin(&x)[steps];
                // A velocity is a sum of some 30 products of magnitude 1, off by at most 30·UNIT = 2·10⁻⁶ and by a
                // fifth of it as a rule, since roundings have either sign; so is its integral over unit time, which
                // such a flow stretches by less than e. The largest coordinates set the scale.
                report.near(&name, &whole, want, 1e-6 * magnitude(want));

                let split = way.run(&mut report, &x, &[1, 0, steps - 1]);
                report.same_bits(&format!("{name}, in several dispatches"), &split, &whole);
            }
        }
    }
    report.finish();
}

#[test]
fn evaluations_are_transformed() {
    let mut report = Report::new();
    // Nothing of it is like anything else: the time runs backwards, and everything has its own factor.
    let transform = |t: f64| Transform {
        alpha: 0.4 * (3.0 * t).cos(),
        beta: 1.3 - t,
        scale: 0.6 + 0.5 * t,
        time: 1.0 - 0.75 * t,
    };
    // Every network with one solver, and every solver with at least one network.
    for (case, solver) in
        CASES.iter().chain(&SHARED_CASES).chain(&subgroup_cases()).zip(fixed_steps().cycle())
    {
        let times = cosine((0.0, 1.0), 5);
        let way = Way { case, solver, trace: None, times: &times, transform: &transform, noise: &|_, _| 0.0 };
        let x = random(13, case.rows * case.dim);
        let want = &way.twin(&x)[5];
        let got = way.run(&mut report, &x, &[2, 3]);
        // As above; α, β, c and t round once more.
        report.near(&format!("{} over {}", solver.name, case.name()), &got, want, 1.5e-6 * magnitude(want));
    }
    report.finish();
}

/// Smooth networks, and as many tangents at once as the workgroup's memory holds (32 KiB) at least in one of the ways.
fn traces(case: &Case) -> Vec<Trace> {
    let exact = |tangents| Trace { probe: None, accumulators: 1, tangents };
    let random = |probe, accumulators, tangents| Trace { probe: Some(probe), accumulators, tangents };
    vec![
        exact(1),
        exact(case.dim.min(3)),
        random(Probe::Rademacher, 1, 1),
        random(Probe::Rademacher, 5, 2),
        random(Probe::Gaussian, 3, 3),
    ]
}

/// Where a slope jumps a tangent cannot be compared: what is left is smooth.
fn smooth_cases() -> impl Iterator<Item = Case> {
    let cases = CASES.into_iter().chain(subgroup_cases());
    cases.filter(|case| !matches!(case.activation, Activation::Relu | Activation::Selu)).map(|case| {
        // A tile small enough for its tangents.
        let cut = match case.cut {
            (lanes, rows, textures) if case.subgroups => (lanes, if lanes > 8 { 1 } else { rows }, textures),
            cut if cut.0 * cut.1 > 16 => CUTS[2],
            cut => cut,
        };
        Case { cut: (cut.0, cut.1.min(2), case.cut.2), ..case }
    })
}

#[test]
fn divergences_are_integrated_beside() {
    let mut report = Report::new();
    let transform =
        |t: f64| Transform { alpha: 0.3 - t, beta: 1.0 + 0.2 * t, scale: 1.2 - 0.4 * t, time: 0.9 * t };
    let ways: [(&str, &dyn Fn(f64) -> Transform); 3] =
        [("rk4", &plainly), ("ab2", &plainly), ("heun", &transform)];
    // Drivers take a second to compile one: every network with two of the traces, and with one solver each.
    for (i, case) in smooth_cases().enumerate() {
        for j in [2 * i, 2 * i + 1] {
            let (trace, (solver, transform)) = (traces(&case)[j % 5], ways[j % 3]);
            let times = power(1.5, (1.0, 0.0), 6);
            let way = Way {
                case: &case,
                solver: named(solver),
                trace: Some(trace),
                times: &times,
                transform,
                noise: &|_, _| 0.0,
            };
            let x = case.with_accumulators(&random(14, case.rows * case.dim), Some(trace));
            let want = &way.twin(&x)[6];
            let whole = way.run(&mut report, &x, &[6]);
            let name = format!("{solver} over {}, {trace:?}", case.name());
            // A trace is a sum of d·d products ε_i·J_ij·ε_j, or of d, each J_ij as exact as a velocity and its
            // roundings of either sign; a Gaussian's |ε_i·ε_j| are larger than 1 now and then.
            let factor = if trace.probe == Some(Probe::Gaussian) { 4.0 } else { 2.0 };
            let allowed = 1e-6 * magnitude(want);
            let width = case.state(Some(trace));
            report.close(&name, &whole, want, |i| {
                if i % width < case.dim { allowed } else { factor * case.dim as f64 * allowed }
            });
            let split = way.run(&mut report, &x, &[1, 3, 2]);
            report.same_bits(&format!("{name}, in several dispatches"), &split, &whole);
        }
    }
    report.finish();
}

/// At a kink the slope is what the activation says: one evaluation at points that are away from all of them.
#[test]
fn divergences_of_activations_with_kinks() {
    let mut report = Report::new();
    for activation in [Activation::Relu, Activation::Selu] {
        let case = Case { activation, cut: CUTS[2], rows: 40, ..CASES[2] };
        let trace = Trace { probe: None, accumulators: 1, tangents: 3 };
        let x = random(15, case.rows * case.dim);
        let mlp = case.mlp();
        let features =
            crate::reference::draw::features(&wide(&x), &vec![0.5; case.rows], case.dim, case.frequencies);
        let outputs = mlp.layer_outputs(&features);
        let times = [0.5, 1.5];
        let way = Way {
            case: &case,
            solver: named("euler"),
            trace: Some(trace),
            times: &times,
            transform: &plainly,
            noise: &|_, _| 0.0,
        };
        let state = case.with_accumulators(&x, Some(trace));
        let (got, want) = (way.run(&mut report, &state, &[1]), &way.twin(&state)[1]);
        let mut compared = 0;
        for row in 0..case.rows {
            let near = (outputs[..outputs.len() - 1].iter()).any(|layer| {
                layer
                    .z
                    .chunks(layer.z.len() / case.rows)
                    .nth(row)
                    .is_some_and(|z| z.iter().any(|z| z.abs() < 1e-5))
            });
            if !near {
                let at = row * 4..(row + 1) * 4;
                report.near(
                    &format!("{} row {row}", case.name()),
                    &got[at.clone()],
                    &want[at],
                    5e-6 * magnitude(want),
                );
                compared += 1;
            }
        }
        report.holds(compared > 30, || format!("{compared} rows away from kinks"));
    }
    report.finish();
}

#[test]
fn noise_is_added_at_its_address() {
    let mut report = Report::new();
    let path = ot(1e-3);
    let g = |t: f64| 0.8 - 0.5 * t;
    // v + g²/2·score as α·x + β·v, score = −(a·v − a'·x)/(D·b), D = a·b' − a'·b.
    let drift = |t: f64| {
        let Coefficients { a, b, da, db } = path(t);
        let factor = g(t).powi(2) / 2.0 / ((a * db - da * b) * b);
        Transform { alpha: factor * da, beta: 1.0 - factor * a, ..plainly(t) }
    };
    for case in CASES.iter().chain(&SHARED_CASES).chain(&subgroup_cases()) {
        let times = cosine((0.0, 0.9), 6);
        let way = Way {
            case,
            solver: named("euler-maruyama"),
            trace: None,
            times: &times,
            transform: &drift,
            noise: &|t, h| g(t) * h.sqrt(),
        };
        let x = random(16, case.rows * case.dim);
        let twin = case.field(None);
        let velocity = |x: &[f64], t: f64| twin.slopes(x, plainly(t), FIRST_ROW);
        let want = &stochastic(velocity, &path, g, &wide(&x), case.dim, &times, (SEED, FIRST_ROW))[6];
        let whole = way.run(&mut report, &x, &[6]);
        // As without noise, and a normal is within 2⁻²⁰ of the twin's (tests/kernels/random.rs).
        report.near(&case.name(), &whole, want, 3e-6 * magnitude(want));
        let split = way.run(&mut report, &x, &[2, 1, 3]);
        report.same_bits(&format!("{}, in several dispatches", case.name()), &split, &whole);
        let still = Way { noise: &|_, _| 0.0, ..way };
        let (got, want) = (still.run(&mut report, &x, &[6]), &still.twin(&x)[6]);
        report.near(&format!("{} without noise", case.name()), &got, want, 1.5e-6 * magnitude(want));
    }
    report.finish();
}

/// A dispatch for fewer particles than there is room for leaves the others where they are.
#[test]
fn particles_beyond_the_rows_stay() {
    let mut report = Report::new();
    for (case, rows) in
        [CASES[1], SHARED_CASES[4]].iter().flat_map(|case| [1, 31, 32, 33, 63].map(|rows| (case, rows)))
    {
        let x = random(12, 64 * case.dim);
        let mut constants = constants(&SOLVERS[0], rows);
        constants.steps = 2;
        let timetable = [0.5, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0].repeat(2);
        let variant = case.variant("integrator", 1, 0, None);
        let launch = case
            .launch(variant, &constants, &x)
            .input(5, &timetable.iter().map(|t| *t as f32).collect::<Vec<_>>());
        let points: Vec<f32> = launch.run(&mut report, [2, 1, 1]).get(3);
        let moved = rows * case.dim;
        report.same_bits(&format!("beyond {rows}"), &points[moved..], &x[moved..]);
        report.holds(points[..moved].iter().zip(&x).all(|(a, b)| a != b), || {
            format!("some of {rows} did not move")
        });
    }
    report.finish();
}

/// Rounding of the steps' lengths alone: a network without hidden layers, v = −x, in very many steps.
#[test]
fn many_steps_round_as_they_should() {
    let mut report = Report::new();
    let case = Case { hidden: &[], rows: 3, ..CASES[0] };
    let mlp = case.mlp();
    let (w, t_slope, bias) = (mlp.weight(0)[0], mlp.weight(0)[1], mlp.bias(0)[0]);
    let times = uniform((0.0, 1.0), 2000);
    let way = Way {
        case: &case,
        solver: &SOLVERS[0],
        trace: None,
        times: &times,
        transform: &plainly,
        noise: &|_, _| 0.0,
    };
    let x = [1.0f32, -0.5, 2.0];
    // As few in a dispatch as every driver's loops go through.
    let got = way.run(&mut report, &x, &[200; 10]);
    let mut want = wide(&x);
    for t in &times[..2000] {
        for x in &mut want {
            *x += (w * *x + t_slope * t + bias) / 2000.0;
        }
    }
    // Each step rounds the state once: at most 2000·UNIT of its size.
    report.close("2000 steps", &got, &want, |i| 2000.0 * UNIT * want[i].abs().max(1.0));
    report.finish();
}
