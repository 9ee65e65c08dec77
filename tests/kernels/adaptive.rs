//! Steps that every particle chooses for itself: adaptive.wgsl, and control.wgsl for networks that are evaluated layer by
//! layer.
//!
//! A sequence of steps cannot be compared as a whole: a rounding in one estimate changes all that follows. So every
//! attempt is compared by itself, from what the device held before it. A velocity is within 10⁻⁶ of the twin's (see
//! integrator.rs); what that makes of the estimate is the margin within which a decision may fall either way.

use bytemuck::Zeroable;
use windfield::flow::Solver;
use windfield::gpu::Variant;
use windfield::sample::{Particle, Tableau};

use super::fused::{
    CASES, CUTS, Case, FIRST_ROW, Field, Trace, constants, magnitude, plainly, subgroup_cases,
};
use crate::common::{Launch, Report, UNIT, pad, random, unpad, wide, word};
use crate::reference::activation::Activation;
use crate::reference::adaptive::{Attempt, B, B_HAT, Control, Tolerance, adaptive, attempt, first_step, rms};
use crate::reference::divergence::Probe;
use crate::reference::philox;

const RUNNING: u32 = 0;
const DONE: u32 = 1;
const OUT_OF_STEPS: u32 = 2;
const STUCK: u32 = 3;

/// A device's power function is within 10⁻⁵: its logarithm within 3 ULP of up to 34, times the exponent 0.17, its
/// exponential within some 10 ULP (the Vulkan specification, precision of GLSL.std.450).
const POWER: f64 = 1e-5;

fn dopri5() -> &'static Solver {
    Solver::named("dopri5").unwrap_or_else(|error| panic!("{error}"))
}

/// Where particles go.
#[derive(Clone)]
struct Flight<'a> {
    case: &'a Case,
    trace: Option<Trace>,
    interval: (f32, f32),
    absolute: f32,
    relative: f32,
    most_steps: u32,
    /// Times of the trajectory.
    outputs: Vec<f32>,
}

/// What the device holds of them.
#[derive(Clone)]
struct Swarm {
    // state: [rows, state]
    state: Vec<f32>,
    particles: Vec<Particle>,
    // kept: [rows, state padded]
    kept: Vec<f32>,
    // trajectory: [rows, outputs, dim]
    trajectory: Vec<f32>,
    unfinished: u32,
}

const UNTOUCHED: f32 = -77.0;

impl Flight<'_> {
    fn name(&self) -> String {
        format!("{}, {:?}, {:?} to {:e}", self.case.name(), self.trace, self.interval, self.absolute)
    }

    fn width(&self) -> usize {
        self.case.state(self.trace)
    }

    fn padded(&self) -> usize {
        self.width().next_multiple_of(4)
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance { atol: self.absolute.into(), rtol: self.relative.into() }
    }

    fn start(&self, x: &[f32]) -> Swarm {
        let rows = x.len() / self.case.dim;
        Swarm {
            state: self.case.with_accumulators(x, self.trace),
            particles: vec![Particle::at(self.interval.0); rows],
            kept: vec![UNTOUCHED; rows * self.padded()],
            trajectory: vec![UNTOUCHED; rows * self.outputs.len() * self.case.dim],
            unfinished: 0,
        }
    }

    /// One dispatch.
    fn dispatch(&self, report: &mut Report, swarm: &mut Swarm, first_step: u32, steps: u32) {
        let [trusted, _] = self.dispatch_both(report, swarm, first_step, steps);
        *swarm = trusted;
    }

    /// One dispatch without the shader compiler's checks, and with them. They need not round alike.
    fn dispatch_both(&self, report: &mut Report, swarm: &Swarm, first_step: u32, steps: u32) -> [Swarm; 2] {
        let rows = swarm.particles.len();
        let constants = Tableau {
            first_step,
            steps,
            most_steps: self.most_steps,
            outputs: word(self.outputs.len()),
            t0: self.interval.0,
            t1: self.interval.1,
            absolute: self.absolute,
            relative: self.relative,
            ..constants(dopri5(), rows)
        };
        let variant =
            self.case.variant("adaptive", 7, 0, self.trace).flag("TRAJECTORY", !self.outputs.is_empty());
        let mut launch = (self.case.launch(variant, &constants, &swarm.state))
            .output(5, &swarm.particles)
            .output(6, &swarm.kept)
            .output(7, &[0u32]);
        if !self.outputs.is_empty() {
            launch = launch.input(8, &self.outputs).output(9, &swarm.trajectory);
        }
        launch.run_both(report, self.case.groups(rows, first_step as usize)).map(|outputs| Swarm {
            state: outputs.get(3),
            particles: outputs.get(5),
            kept: outputs.get(6),
            unfinished: outputs.get::<u32>(7)[0],
            trajectory: if self.outputs.is_empty() { vec![] } else { outputs.get(9) },
        })
    }

    /// Until nothing runs, in dispatches of that many attempts.
    fn carry(&self, report: &mut Report, x: &[f32], steps: u32) -> Swarm {
        let mut swarm = self.start(x);
        let mut first_step = 0;
        loop {
            self.dispatch(report, &mut swarm, first_step, steps);
            first_step += steps;
            if swarm.unfinished == 0 || first_step > 10_000 {
                return swarm;
            }
        }
    }

    /// How far a device's k may be from the twin's, of each column.
    fn roundings(&self, k: &[f64]) -> Vec<f64> {
        let (dim, velocity) = (self.case.dim, 1e-6 * magnitude(k));
        (0..k.len()).map(|i| if i < dim { velocity } else { 4.0 * dim as f64 * velocity }).collect()
    }

    /// What the twin makes of a particle's next attempt, and how far the device's estimate may be from it.
    fn attempt(&self, field: &Field, before: &Swarm, row: usize) -> (Attempt, f64) {
        let particle = before.particles[row];
        let (width, padded) = (self.width(), self.padded());
        let y0 = wide(&before.state[row * width..(row + 1) * width]);
        let k1 = wide(&before.kept[row * padded..row * padded + width]);
        let v = |y: &[f64], t: f64| field.slopes(y, plainly(t), FIRST_ROW + word(row));
        let (t, h) = (particle.t.into(), fitted(&particle, self.interval.1).into());
        let step = attempt(&v, (t, h), &y0, &k1, self.tolerance());
        let roundings: Vec<Vec<f64>> = step.k.iter().map(|k| self.roundings(k)).collect();
        (step.clone(), margin(&step, &roundings, self.tolerance()))
    }
}

/// The step that a particle tries, as float32 computes it.
fn fitted(particle: &Particle, t1: f32) -> f32 {
    let left = t1 - particle.t;
    if left.abs() <= 1.01 * particle.h.abs() { left } else { particle.h }
}

/// How far the estimate of a step may be off if its k_j are off by so much: h·Σ |b_j − b̂_j|·δ_j, and the sum's own
/// roundings.
fn margin(step: &Attempt, roundings: &[Vec<f64>], tolerance: Tolerance) -> f64 {
    let columns = step.y0.len();
    let defect: Vec<f64> = (0..columns)
        .map(|i| {
            let term =
                |j: usize| (B[j] - B_HAT[j]).abs() * (roundings[j][i] + 9.0 * UNIT * step.k[j][i].abs());
            step.h.abs() * (0..7).map(term).sum::<f64>()
        })
        .collect();
    let scale: Vec<f64> = (0..columns)
        .map(|i| tolerance.atol + tolerance.rtol * step.y0[i].abs().max(step.y1[i].abs()))
        .collect();
    rms(&defect, &scale) + 1e-6 * step.err
}

/// What is found over many decisions.
#[derive(Default, Debug)]
struct Tally {
    accepted: usize,
    rejected: usize,
    either: usize,
}

/// Holds what became of a particle against the controller, given an estimate and how far it may be off.
fn check_decision(
    report: &mut Report,
    tally: &mut Tally,
    name: &str,
    (before, after): (&Particle, &Particle),
    (t1, most_steps): (f32, u32),
    (err, margin): (f64, f64),
) {
    let tried = fitted(before, t1);
    let accepted = after.accepted == before.accepted + 1 && after.rejected == before.rejected;
    let rejected = after.accepted == before.accepted && after.rejected == before.rejected + 1;
    report.holds(accepted || rejected, || format!("{name}: one attempt is counted: {before:?}, {after:?}"));
    let (low, high) = ((err - margin).max(0.0), err + margin);
    report.holds(if accepted { low <= 1.0 } else { high > 1.0 }, || {
        format!("{name}: an error of {err} within {margin:.1e} is decided wrongly: {before:?}, {after:?}")
    });
    tally.accepted += usize::from(accepted);
    tally.rejected += usize::from(rejected);
    tally.either += usize::from(low <= 1.0 && high > 1.0);
    let control = Control {
        t: before.t.into(),
        h: before.h.into(),
        err_old: before.error.into(),
        rejected: before.after_rejection != 0,
    };
    let (low, high) = if accepted { (low.min(1.0), high.min(1.0)) } else { (low.max(1.0 + 1e-12), high) };
    // A larger error gives a smaller step.
    let (longest, shortest) = (control.decide(t1.into(), low), control.decide(t1.into(), high));
    let h = f64::from(after.h.abs());
    report.holds(h >= shortest.h.abs() * (1.0 - POWER) && h <= longest.h.abs() * (1.0 + POWER), || {
        format!("{name}: the next step {h:e} is not within {:e}, {:e}; {before:?}", shortest.h, longest.h)
    });
    report.holds(after.h.is_sign_negative() == (t1 < before.t), || {
        format!("{name}: the direction of {after:?}")
    });
    if accepted {
        let error = f64::from(after.error);
        report.holds(
            error >= longest.err_old * (1.0 - 1e-6) && error <= shortest.err_old * (1.0 + 1e-6),
            || format!("{name}: the error {error:e} kept is not {err:e} within {margin:.1e}"),
        );
        let end = if tried.to_bits() == (t1 - before.t).to_bits() { t1 } else { before.t + tried };
        report.same_bits(&format!("{name}: the time"), &[after.t], &[end]);
    } else {
        report.same_bits(&format!("{name}: what stays"), &[after.t, after.error], &[before.t, before.error]);
    }
    report.equal(&format!("{name}: after a rejection"), &[after.after_rejection], &[u32::from(rejected)]);
    let status = if after.t.to_bits() == t1.to_bits() {
        DONE
    } else if (after.t + after.h).to_bits() == after.t.to_bits() {
        STUCK
    } else if after.accepted + after.rejected >= most_steps {
        OUT_OF_STEPS
    } else {
        RUNNING
    };
    report.equal(&format!("{name}: the status"), &[after.status], &[status]);
}

/// Networks whose velocity is smooth, with room for seven stages: 32 KiB of a workgroup's memory.
fn cases() -> Vec<Case> {
    let fits = |case: Case| {
        let cut = if case.cut.0 * case.cut.1 > 32 && !case.subgroups { CUTS[2] } else { case.cut };
        Case { cut, rows: case.rows.min(25), ..case }
    };
    // All networks within subgroups are the integrator's test: these have a layer alone, a pair, and some between pairs.
    CASES.into_iter().chain(subgroup_cases().into_iter().step_by(2)).map(fits).collect()
}

fn flights<'a>(case: &'a Case, traces: &[Option<Trace>]) -> Vec<Flight<'a>> {
    let mut flights = vec![];
    for (i, trace) in traces.iter().enumerate() {
        for (interval, absolute, relative, outputs) in [
            ((0.0, 1.0), 1e-3, 1e-3, vec![0.0, 0.01, 0.25, 0.5, 0.75, 1.0]),
            ((1.0, 0.0), 1e-5, 1e-4, vec![]),
            ((0.75, 0.2), 1e-4, 0.0, vec![0.75, 0.7, 0.2]),
        ] {
            let flight =
                Flight { case, trace: *trace, interval, absolute, relative, most_steps: 1000, outputs };
            // The tightest one for the velocity alone.
            if i == 0 || flight.absolute > 5e-5 {
                flights.push(flight);
            }
        }
    }
    flights
}

/// Without a divergence, with the exact one, and with estimates.
fn traces(case: &Case) -> Vec<Option<Trace>> {
    vec![
        None,
        Some(Trace { probe: None, accumulators: 1, tangents: case.dim.min(2) }),
        Some(Trace { probe: Some(Probe::Rademacher), accumulators: 2, tangents: 1 }),
    ]
}

/// Holds k_1 and the first step of every particle against the twin.
fn check_start(report: &mut Report, flight: &Flight, field: &Field, swarm: &Swarm) {
    let (name, width, padded) = (flight.name(), flight.width(), flight.padded());
    let rows = swarm.particles.len();
    report.equal(&format!("{name}: unfinished"), &[swarm.unfinished], &[word(rows)]);
    let interval = (flight.interval.0.into(), flight.interval.1.into());
    for row in 0..rows {
        let y = wide(&swarm.state[row * width..(row + 1) * width]);
        let k1 = field.slopes(&y, plainly(interval.0), FIRST_ROW + word(row));
        let allowed = flight.roundings(&k1);
        let kept = &swarm.kept[row * padded..row * padded + width];
        report.close(&format!("{name}: k_1 of {row}"), kept, &k1, |i| allowed[i]);
        // Of the k_1 that is there, as few roundings as a sum of squares has.
        let h = first_step(&y, &wide(kept), interval, flight.tolerance());
        let got = swarm.particles[row].h.abs();
        let allowed = (padded as f64 + 10.0) * UNIT * h;
        report.near(&format!("{name}: the first step of {row}"), &[got], &[h], allowed);
    }
}

/// Holds one attempt of every particle against the twin's from the same state.
fn check_attempt(
    report: &mut Report,
    tally: &mut Tally,
    flight: &Flight,
    field: &Field,
    (number, before, after): (u32, &Swarm, &Swarm),
) {
    let (dim, width, padded, times) = (flight.case.dim, flight.width(), flight.padded(), &flight.outputs);
    for (row, (was, is)) in before.particles.iter().zip(&after.particles).enumerate() {
        let name = format!("{}: attempt {number} of {row}", flight.name());
        let state = row * width..(row + 1) * width;
        let kept = row * padded..row * padded + width;
        let shown = row * times.len() * dim..(row + 1) * times.len() * dim;
        let stays = |report: &mut Report| {
            let (of, range) = (format!("{name}: what stays"), state.clone());
            report.same_bits(&format!("{of}, y"), &after.state[range.clone()], &before.state[range]);
            report.same_bits(&format!("{of}, k_1"), &after.kept[kept.clone()], &before.kept[kept.clone()]);
            let range = shown.clone();
            report.same_bits(&of, &after.trajectory[range.clone()], &before.trajectory[range]);
            report.equal(&of, &[is.output], &[was.output]);
        };
        if was.status != RUNNING {
            report.equal(&format!("{name}: at rest"), &[*is], &[*was]);
            stays(report);
            continue;
        }
        let (step, margin) = flight.attempt(field, before, row);
        let limits = (flight.interval.1, flight.most_steps);
        check_decision(report, tally, &name, (was, is), limits, (step.err, margin));
        if is.accepted == was.accepted {
            stays(report);
            continue;
        }
        // Its coefficients are of either sign: Σ |b_j| is 1.6, and h at most 1.
        let extent = [&step.y1[..], &step.k[0]].concat();
        let allowed = flight.roundings(&extent);
        report.close(&format!("{name}: y1"), &after.state[state.clone()], &step.y1, |i| 1.6 * allowed[i]);
        let y1 = wide(&after.state[state.clone()]);
        let k7 = field.slopes(&y1, plainly(is.t.into()), FIRST_ROW + word(row));
        let allowed = flight.roundings(&k7);
        report.close(&format!("{name}: k_7"), &after.kept[kept.clone()], &k7, |i| 2.0 * allowed[i]);
        // Everything up to the end of the step has been written, and nothing beyond it.
        let direction = (flight.interval.1 - flight.interval.0).signum();
        let reached = times.iter().filter(|t| (**t - is.t) * direction <= 0.0).count();
        report.equal(&format!("{name}: outputs"), &[is.output as usize], &[reached]);
        for (output, time) in times.iter().enumerate() {
            let at = shown.start + output * dim..shown.start + (output + 1) * dim;
            let got = &after.trajectory[at.clone()];
            if (was.output as usize..reached).contains(&output) {
                let theta = (f64::from(*time) - f64::from(was.t)) / step.h;
                let want = step.dense(theta.min(1.0));
                report.near(&format!("{name}: at {time}"), got, &want[..dim], 4e-6 * magnitude(&extent));
            } else {
                report.same_bits(&format!("{name}: not at {time}"), got, &before.trajectory[at]);
            }
        }
    }
    let running = after.particles.iter().filter(|particle| particle.status == RUNNING).count();
    report.equal(&format!("{}: unfinished", flight.name()), &[after.unfinished as usize], &[running]);
}

#[test]
fn every_attempt_is_the_twin_s() {
    let mut report = Report::new();
    let mut tally = Tally::default();
    for case in cases() {
        let smooth = !matches!(case.activation, Activation::Relu | Activation::Selu);
        let traces = if smooth { traces(&case) } else { vec![None] };
        let case = Case { cut: (case.cut.0, case.cut.1.min(2), case.cut.2), ..case };
        for (i, flight) in flights(&case, &traces).into_iter().enumerate() {
            let (name, dim, width) = (flight.name(), case.dim, flight.width());
            let field = case.field(flight.trace);
            let x: Vec<f32> = random(70, case.rows * dim).iter().map(|x| 2.0 * x).collect();
            let [mut swarm, checked] = flight.dispatch_both(&mut report, &flight.start(&x), 0, 1);
            check_start(&mut report, &flight, &field, &swarm);
            check_start(&mut report, &flight, &field, &checked);
            // In every other one something makes some of the steps too long, now and then: smooth as these networks
            // are, hardly any would be rejected otherwise.
            let disturbed = i % 2 == 1;
            for number in 1..200u32 {
                if disturbed && number < 13 && number.is_multiple_of(3) {
                    swarm.particles.iter_mut().step_by(2).for_each(|particle| particle.h *= 12.0);
                }
                let [trusted, checked] = flight.dispatch_both(&mut report, &swarm, number, 1);
                check_attempt(&mut report, &mut tally, &flight, &field, (number, &swarm, &trusted));
                check_attempt(&mut report, &mut tally, &flight, &field, (number, &swarm, &checked));
                swarm = trusted;
                if swarm.unfinished == 0 {
                    break;
                }
            }
            report.holds(swarm.particles.iter().all(|particle| particle.status == DONE), || {
                format!("{name}: {:?}", swarm.particles)
            });
            // The last state of a trajectory is the state.
            if flight.outputs.last() == Some(&flight.interval.1) {
                let rows = swarm.trajectory.chunks(flight.outputs.len() * dim);
                let ends: Vec<f32> = rows.flat_map(|row| &row[row.len() - dim..]).copied().collect();
                let states: Vec<f32> = unpad(&swarm.state, dim, width, case.rows);
                report.same_bits(&format!("{name}: the end of the trajectory"), &ends, &states);
            }
            // However the attempts are spread over dispatches.
            for steps in if disturbed { vec![] } else { vec![1000, 3] } {
                let whole = flight.carry(&mut report, &x, steps);
                let name = format!("{name}: {steps} attempts at once");
                report.same_bits(&format!("{name}, state"), &whole.state, &swarm.state);
                report.same_bits(&format!("{name}, trajectory"), &whole.trajectory, &swarm.trajectory);
                report.equal(&format!("{name}, particles"), &whole.particles, &swarm.particles);
            }
        }
    }
    println!("{tally:?}");
    report.holds(tally.accepted > 1000 && tally.rejected > 200, || format!("{tally:?}"));
    // Where the estimate is too near to 1 for float32 to tell.
    report.holds(tally.either * 50 < tally.accepted + tally.rejected, || format!("{tally:?}"));
    report.finish();
}

/// Whole ways against the exact solution, by what was asked for.
#[test]
fn errors_are_those_that_were_asked_for() {
    let mut report = Report::new();
    // At a kink no step is as exact as it believes to be.
    let kinks = |case: &Case| matches!(case.activation, Activation::Relu | Activation::Selu);
    for case in cases().into_iter().filter(|case| !kinks(case)) {
        for (absolute, relative) in [(1e-2, 0.0), (1e-4, 1e-3), (1e-5, 1e-5)] {
            let flight = Flight {
                case: &case,
                trace: None,
                interval: (0.0, 1.0),
                absolute,
                relative,
                most_steps: 1000,
                outputs: vec![],
            };
            let x = random(71, case.rows * case.dim);
            let swarm = flight.carry(&mut report, &x, 50);
            let field = case.field(None);
            for row in 0..case.rows {
                let v = |y: &[f64], t: f64| field.slopes(y, plainly(t), FIRST_ROW);
                let at = row * case.dim..(row + 1) * case.dim;
                let x0 = wide(&x[at.clone()]);
                let fine = Tolerance { atol: 1e-10, rtol: 1e-10 };
                let exact = adaptive(v, &x0, (0.0, 1.0), fine, 100_000);
                // Each of some steps adds an error of up to the tolerance (in the mean over the columns), and the flow
                // stretches it.
                let steps = f64::from(swarm.particles[row].accepted);
                let tolerance = f64::from(absolute) + f64::from(relative) * magnitude(&exact.y);
                let allowed = steps * 3.0 * (case.dim as f64).sqrt() * tolerance + 3e-6 * magnitude(&exact.y);
                let name = format!("{} to {absolute:e}, {relative:e}, row {row}", case.name());
                report.near(&name, &swarm.state[at], &exact.y, allowed);
            }
        }
    }
    report.finish();
}

#[test]
fn particles_that_do_not_arrive_say_so() {
    let mut report = Report::new();
    let case = Case { cut: CUTS[2], rows: 21, ..CASES[2] };
    let x = random(72, case.rows * case.dim);
    let flight = Flight {
        case: &case,
        trace: None,
        interval: (0.0, 1.0),
        absolute: 1e-6,
        relative: 1e-6,
        most_steps: 5,
        outputs: vec![0.5, 1.0],
    };
    let all = Flight { most_steps: 1000, ..flight.clone() }.carry(&mut report, &x, 1);
    for steps in [1, 5, 50] {
        let swarm = flight.carry(&mut report, &x, steps);
        let late = all.particles.iter().filter(|particle| particle.accepted + particle.rejected > 5).count();
        report.holds(late > 10, || format!("{late} particles take more than 5 attempts"));
        let stopped = swarm.particles.iter().filter(|particle| particle.status == OUT_OF_STEPS).count();
        report.equal("out of steps", &[stopped], &[late]);
        for particle in &swarm.particles {
            report.holds(
                particle.status == DONE || (particle.accepted + particle.rejected == 5 && particle.t < 1.0),
                || format!("{particle:?}"),
            );
        }
        report.equal("unfinished", &[swarm.unfinished], &[0]);
    }
    // On the way to what float32 does not hold, and there: no step is accepted that leaves the finite numbers, and
    // nobody goes on for ever.
    for value in [3e38, f32::INFINITY, f32::NAN] {
        let far = vec![value; case.rows * case.dim];
        let swarm =
            Flight { interval: (0.5, 1.0), most_steps: 1000, ..flight.clone() }.carry(&mut report, &far, 100);
        for particle in &swarm.particles {
            let gave_up = [OUT_OF_STEPS, STUCK].contains(&particle.status) && particle.t < 1.0;
            report.holds(gave_up, || format!("from {value}: {particle:?}"));
        }
        let finite = swarm.state.iter().all(|x| x.is_finite());
        report.holds(finite == value.is_finite(), || format!("from {value}: {:?}", swarm.state));
    }
    report.finish();
}

/// control.wgsl by itself: the k_j lie in a buffer, and are anything.
#[test]
#[allow(clippy::too_many_lines, reason = "what goes in, what comes out, and every way to tell")]
fn control_decides_as_the_twin() {
    let mut report = Report::new();
    let mut tally = Tally::default();
    for (dim, extra, rows) in
        [(1usize, 0usize, 1usize), (2, 1, 63), (3, 0, 64), (5, 3, 65), (17, 0, 130), (64, 1, 257)]
    {
        let state = dim + extra;
        let padded = state.next_multiple_of(4);
        let stride = (rows.next_multiple_of(16) * padded).next_multiple_of(64);
        for (t0, t1) in [(0.0f32, 1.0f32), (1.0, 0.25)] {
            let outputs: Vec<f32> = (0..=8).map(|i| t0 + (t1 - t0) * i as f32 / 8.0).collect();
            let points = random(80, rows * state);
            let slopes: Vec<f32> = (0..7)
                .flat_map(|j| pad(&random(81 + j, rows * state), state, padded, stride / padded, UNTOUCHED))
                .collect();
            // Times anywhere, steps from far too short to far too long, some particles at rest.
            let particles: Vec<Particle> = (0..rows)
                .map(|row| {
                    let [w0, w1, w2, w3] = philox::words(9, word(row), 0, 0, 1001);
                    let t = t0 + (t1 - t0) * 0.9 * philox::uniform(w0) as f32;
                    Particle {
                        t,
                        h: (t1 - t0).signum() * 10f32.powf(-3.5 * philox::uniform(w1) as f32),
                        error: 10f32.powf(-4.0 * philox::uniform(w2) as f32),
                        status: if row % 9 == 8 { [DONE, OUT_OF_STEPS, STUCK][row / 9 % 3] } else { RUNNING },
                        accepted: w3 % 5,
                        rejected: w3 % 3,
                        output: word(outputs.iter().filter(|o| (**o - t) * (t1 - t0) <= 0.0).count()),
                        after_rejection: w3 / 16 % 2,
                    }
                })
                .collect();
            let tolerance = Tolerance { atol: f64::from(3e-3f32), rtol: f64::from(1e-3f32) };
            let constants = Tableau {
                most_steps: 7,
                outputs: word(outputs.len()),
                t0,
                t1,
                absolute: 3e-3,
                relative: 1e-3,
                stride: word(stride / 4),
                ..constants(dopri5(), rows)
            };
            let variant = |begin: bool, trajectory: bool| {
                Variant::new("control")
                    .with("DIM", word(dim))
                    .with("EXTRA", word(extra))
                    .with("STAGES", 7)
                    .with("LANES", 64)
                    .flag("BEGIN", begin)
                    .flag("TRAJECTORY", trajectory)
            };
            let launch = |begin, trajectory| {
                Launch::new(variant(begin, trajectory))
                    .uniform(0, &constants)
                    .output(1, &slopes)
                    .output(2, &points)
                    .output(3, &particles)
                    .output(4, &[0u32])
            };
            let groups = word(rows.div_ceil(64));
            let grid = [groups.div_ceil(2), 3, 1];
            let name = format!("{rows} rows of {dim} + {extra}");
            let row_of = |of: &[f32], j: usize, row: usize| of[j * stride + row * padded..][..state].to_vec();

            let begun = launch(true, false).run(&mut report, grid);
            let running = particles.iter().filter(|particle| particle.status == RUNNING).count();
            report.equal(&format!("{name}: unfinished"), &begun.get::<u32>(4), &[word(running)]);
            for (row, (was, is)) in particles.iter().zip(begun.get::<Particle>(3)).enumerate() {
                let y = wide(&points[row * state..(row + 1) * state]);
                let h = first_step(&y, &wide(&row_of(&slopes, 0, row)), (t0.into(), t1.into()), tolerance);
                if was.status == RUNNING {
                    report.near(
                        &format!("{name}: the first step of {row}"),
                        &[is.h.abs()],
                        &[h],
                        (padded as f64 + 10.0) * UNIT * h,
                    );
                    report.equal(&format!("{name}: row {row}"), &[Particle { h: was.h, ..is }], &[*was]);
                } else {
                    report.equal(&format!("{name}: row {row}"), &[is], &[*was]);
                }
            }

            let blank = vec![UNTOUCHED; rows * outputs.len() * dim];
            let ended = launch(false, true).input(5, &outputs).output(6, &blank).run(&mut report, grid);
            let without = launch(false, false).run(&mut report, grid);
            let after = ended.get::<Particle>(3);
            let (got_points, got_slopes, shown) =
                (ended.get::<f32>(2), ended.get::<f32>(1), ended.get::<f32>(6));
            report.same_bits(&format!("{name}: without a trajectory"), &without.get::<f32>(2), &got_points);
            report.same_bits(&format!("{name}: k_2 and on"), &got_slopes[stride..], &slopes[stride..]);
            let running = after.iter().filter(|particle| particle.status == RUNNING).count();
            report.equal(&format!("{name}: unfinished"), &ended.get::<u32>(4), &[word(running)]);
            for row in 0..rows {
                let (was, is) = (particles[row], after[row]);
                let name = format!("{name}: row {row}");
                let y0 = wide(&points[row * state..(row + 1) * state]);
                let k: Vec<Vec<f64>> = (0..7).map(|j| wide(&row_of(&slopes, j, row))).collect();
                let (got, got_k) = (&got_points[row * state..(row + 1) * state], row_of(&got_slopes, 0, row));
                let trajectory = &shown[row * outputs.len() * dim..(row + 1) * outputs.len() * dim];
                let stays = |report: &mut Report| {
                    report.same_bits(&format!("{name}: y"), got, &points[row * state..(row + 1) * state]);
                    report.same_bits(&format!("{name}: k"), &got_k, &row_of(&slopes, 0, row));
                    report.holds(trajectory.iter().all(|x| *x == UNTOUCHED), || {
                        format!("{name}: a trajectory")
                    });
                };
                if was.status != RUNNING {
                    report.equal(&name, &[is], &[was]);
                    stays(&mut report);
                    continue;
                }
                let h = f64::from(fitted(&was, t1));
                let sum = |weights: &[f64], i: usize| -> f64 {
                    weights.iter().zip(&k).map(|(w, k)| w * k[i]).sum()
                };
                let y1: Vec<f64> = (0..state).map(|i| y0[i] + h * sum(&B, i)).collect();
                let difference: Vec<f64> = (0..7).map(|j| B[j] - B_HAT[j]).collect();
                let e: Vec<f64> = (0..state).map(|i| h * sum(&difference, i)).collect();
                let scale: Vec<f64> = (0..state)
                    .map(|i| tolerance.atol + tolerance.rtol * y0[i].abs().max(y1[i].abs()))
                    .collect();
                let step = Attempt { t: was.t.into(), h, err: rms(&e, &scale), y0, y1, k };
                // Nothing rounds but the sums: of 7 terms, with the coefficient, the scale and the mean.
                let margin = margin(&step, &vec![vec![0.0; state]; 7], tolerance)
                    + (state as f64 + 10.0) * UNIT * step.err;
                check_decision(&mut report, &mut tally, &name, (&was, &is), (t1, 7), (step.err, margin));
                if is.accepted == was.accepted {
                    stays(&mut report);
                    continue;
                }
                let terms = |i: usize| {
                    step.y0[i].abs() + h.abs() * (0..7).map(|j| (B[j] * step.k[j][i]).abs()).sum::<f64>()
                };
                report.close(&format!("{name}: y1"), got, &step.y1, |i| 10.0 * UNIT * terms(i));
                report.same_bits(&format!("{name}: k_1 is k_7"), &got_k, &row_of(&slopes, 6, row));
                for (output, time) in outputs.iter().enumerate() {
                    let got = &trajectory[output * dim..(output + 1) * dim];
                    if (was.output as usize..is.output as usize).contains(&output) {
                        let want = step.dense(((f64::from(*time) - step.t) / h).clamp(0.0, 1.0));
                        // Beside the terms of y1 those of the bulge, |d_j| up to 6, of which θ·θ·(1 − θ)² is at most
                        // 1/16; and θ itself, a difference of times as large as 1 over h.
                        let k = magnitude(&step.k.concat());
                        let allowed = |i: usize| UNIT * (30.0 * (terms(i) + h.abs() * k) + 4.0 * k);
                        report.close(&format!("{name}: at {time}"), got, &want[..dim], allowed);
                    } else {
                        report.holds(got.iter().all(|x| *x == UNTOUCHED), || format!("{name}: at {time}"));
                    }
                }
                let reached = outputs.iter().filter(|o| (**o - is.t) * (t1 - t0) <= 0.0).count();
                report.equal(&format!("{name}: outputs"), &[is.output as usize], &[reached]);
            }
        }
    }
    println!("{tally:?}");
    report.holds(tally.accepted > 300 && tally.rejected > 100 && tally.either < 5, || format!("{tally:?}"));
    report.finish();
}

#[test]
fn a_particle_begins_at_its_time() {
    assert_eq!(Particle::at(0.5), Particle { t: 0.5, error: 1e-4, ..Particle::zeroed() });
}
