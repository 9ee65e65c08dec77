//! From the gradient to the weights: gradient_reduce.wgsl, step.wgsl, adamw.wgsl.

use bytemuck::Zeroable;
use proptest::prelude::*;
use windfield::gpu::Variant;
use windfield::model::Atlas;
use windfield::train::{Record, ScheduleConstants, State};

use crate::common::{Launch, Outputs, Report, UNIT, narrow, random, wide, word};
use crate::reference::adamw::{
    AdamW, BETA1, BETA2, EPSILON, Schedule, ema_decay, schedule_factor, update_average,
};
use crate::reference::gradient_norm::clip_coefficient;

/// Groups of four parameters: fewer than a workgroup, whole workgroups and broken ones.
const QUADS: [usize; 6] = [1, 16, 63, 64, 65, 1000];

/// Groups in a line, and the same folded into two dimensions with some to spare.
fn grids(quads: usize, lanes: usize) -> [[u32; 3]; 2] {
    let groups = word(quads.div_ceil(lanes));
    [[groups, 1, 1], [groups.div_ceil(3), 4, 1]]
}

#[test]
fn slices_are_added_in_order_and_their_squares_summed() {
    let mut report = Report::new();
    for (i, quads) in QUADS.into_iter().enumerate() {
        for slices in [1, 2, 5, 16] {
            let lanes = if i % 2 == 0 { 64 } else { 32 };
            let per_lane = [8, 1, 3][i % 3];
            let before = random(1, slices * quads * 4);
            // Quads of a workgroup.
            let width = lanes * per_lane;
            let groups = quads.div_ceil(width);
            let variant = Variant::new("gradient_reduce")
                .with("SLICES", word(slices))
                .with("QUADS", word(quads))
                .with("QUADS_PER_LANE", word(per_lane))
                .with("LANES", word(lanes));
            for grid in grids(quads, width) {
                let launch =
                    Launch::new(variant.clone()).output(0, &before).output(1, &vec![-7.0f32; groups + 2]);
                let outputs = launch.run(&mut report, grid);
                let (gradient, squares): (Vec<f32>, Vec<f32>) = (outputs.get(0), outputs.get(1));
                let name = format!("{quads} quads in {slices} slices, {lanes} lanes, grid {grid:?}");
                // In order, and float32 addition has one result: the same bits.
                let sums: Vec<f32> = (0..quads * 4)
                    .map(|i| (1..slices).fold(before[i], |sum, s| sum + before[s * quads * 4 + i]))
                    .collect();
                report.same_bits(&format!("{name}: sums"), &gradient[..quads * 4], &sums);
                report.same_bits(
                    &format!("{name}: other slices"),
                    &gradient[quads * 4..],
                    &before[quads * 4..],
                );
                for group in 0..groups {
                    let of_group = &sums[group * width * 4..((group + 1) * width * 4).min(quads * 4)];
                    let want: f64 = wide(of_group).iter().map(|g| g * g).sum();
                    // Positive terms, each a square: one rounding, the sum of a lane, two levels in a vec4, log2(lanes)
                    // of the tree.
                    let roundings = per_lane as f64 + 3.0 + (lanes as f64).log2();
                    report.near(
                        &format!("{name}: square {group}"),
                        &[squares[group]],
                        &[want],
                        roundings * UNIT * want,
                    );
                }
                report.equal(&format!("{name}: squares beyond"), &squares[groups..], &[-7.0, -7.0]);
            }
        }
    }
    report.finish();
}

/// The optimiser's constants as the trainer sets them, everything optional off.
fn constants() -> ScheduleConstants {
    ScheduleConstants {
        learning_rate: 1e-3,
        beta1: 0.9,
        one_minus_beta1: 0.1,
        beta2: 0.999,
        one_minus_beta2: 0.001,
        epsilon: 1e-8,
        batch: 1,
        loss_partials: 1,
        square_partials: 1,
        ring: 1,
        ..ScheduleConstants::default()
    }
}

/// `times` steps on the same sums. Bindings: 3 the state, 4 the ring.
fn step(
    report: &mut Report,
    schedule: ScheduleConstants,
    (partials, squares): (&[f32], &[f32]),
    state: State,
    times: usize,
) -> (State, Vec<Record>) {
    let schedule = ScheduleConstants {
        loss_partials: word(partials.len()),
        square_partials: word(squares.len()),
        ..schedule
    };
    let unwritten = Record { loss: -7.0, ..Record::default() };
    let outputs = Launch::new(Variant::new("step").with("LANES", 64))
        .uniform(0, &schedule)
        .input(1, partials)
        .input(2, squares)
        .output(3, &[state])
        .output(4, &vec![unwritten; schedule.ring as usize])
        .repeat(times)
        .run(report, [1, 1, 1]);
    (outputs.get(3)[0], outputs.get(4))
}

#[test]
fn loss_and_norm_are_the_twins() {
    let mut report = Report::new();
    for count in [1, 3, 64, 65, 257, 5000] {
        let positive = |seed| random(seed, count).iter().map(|x| x * x).collect::<Vec<f32>>();
        let (partials, squares) = (positive(1), positive(2));
        let schedule = ScheduleConstants { batch: 77, ring: 5, ..constants() };
        let (state, ring) =
            step(&mut report, schedule, (&partials, &squares), State { step: 13, ..State::default() }, 1);
        let record = ring[13 % 5];
        // Positive terms: a lane adds count / 64 of them, then come six levels; a division or a root follows.
        let roundings = 2.0 + (count as f64 / 64.0).ceil() + 6.0;
        let loss = wide(&partials).iter().sum::<f64>() / 77.0;
        report.near(&format!("loss of {count} sums"), &[record.loss], &[loss], roundings * UNIT * loss);
        let norm = wide(&squares).iter().sum::<f64>().sqrt();
        report.near(
            &format!("norm of {count} sums"),
            &[record.gradient_norm],
            &[norm],
            roundings * UNIT * norm,
        );
        report.equal("counters", &[state.step, state.halted, record.halted], &[14, 0, 0]);
        let untouched = ring.iter().filter(|record| record.loss == -7.0).count();
        report.equal("records of other steps", &[untouched], &[4]);
    }
    for (quads, slices) in [(1, 1), (63, 2), (2354, 5)] {
        let gradient = random(3, 4 * quads * slices);
        let schedule = ScheduleConstants { square_partials: 0, ..constants() };
        let variant = Variant::new("step")
            .with("LANES", 64)
            .with("QUADS", word(quads))
            .with("SLICES", word(slices))
            .flag("FOLDED_GRADIENT", true)
            .flag("FEW_SLICES", slices == 5);
        let ring: Vec<Record> = Launch::new(variant)
            .uniform(0, &schedule)
            .input(1, &[1.0f32])
            .list(2, &gradient, true)
            .output(3, &[State::default()])
            .output(4, &[Record::default()])
            .run(&mut report, [1, 1, 1])
            .get(4);
        let all = wide(&gradient);
        let (mut sum, mut terms) = (0.0, 0.0);
        for i in 0..4 * quads {
            let of = |s: usize| all[s * 4 * quads + i];
            sum += (0..slices).map(of).sum::<f64>().powi(2);
            terms += (0..slices).map(|s| of(s).abs()).sum::<f64>().powi(2);
        }
        // As above, of squares of sums of slices, which may cancel; the root halves what is relative.
        let roundings = 4.0 + 2.0 * slices as f64 + (quads as f64 / 64.0).ceil() + 8.0;
        report.near(
            &format!("norm of {quads} quads in {slices} slices"),
            &[ring[0].gradient_norm],
            &[sum.sqrt()],
            roundings * UNIT * terms / sum.sqrt(),
        );
    }
    // Without any squares, as where the loss alone is asked for, the norm is 0.
    let (_, ring) = step(&mut report, constants(), (&[3.0], &[]), State::default(), 1);
    report.equal("without a gradient", &[ring[0].gradient_norm, ring[0].loss], &[0.0, 3.0]);
    report.finish();
}

#[test]
fn learning_rates_are_the_twins() {
    let mut report = Report::new();
    let lr = 3e-3f32;
    for (warmup, steps, cosine, times) in [
        (0, 100, false, 120),
        (0, 100, true, 120),
        (1, 100, true, 100),
        (30, 100, true, 130),
        (30, 100, false, 130),
        (100, 100, true, 150),
        (200, 100, true, 250),
        (0, 0, true, 3),
        (1000, 10_000, true, 10_500),
    ] {
        let schedule = ScheduleConstants {
            learning_rate: lr,
            warmup: word(warmup),
            steps: word(steps),
            cosine: u32::from(cosine),
            ring: word(times),
            ..constants()
        };
        let (_, ring) = step(&mut report, schedule, (&[1.0], &[1.0]), State::default(), times);
        let got: Vec<f32> = ring.iter().map(|record| record.learning_rate).collect();
        let kind = if cosine { Schedule::Cosine } else { Schedule::Constant };
        let want: Vec<f64> =
            (0..times).map(|n| f64::from(lr) * schedule_factor(kind, n, warmup, steps)).collect();
        // The cosine's half angle, its sine, the square and the product: eight roundings at most.
        let name = format!("{kind:?}, {warmup} of {steps} steps of warm-up");
        report.near(&name, &got, &want, 8.0 * UNIT * f64::from(lr));
        // The rates reach their ends: no update where the cosine is over.
        let end = want.last().copied().unwrap_or_default();
        report.holds(end > 0.0 || got[times - 1].abs() <= 1e-12, || {
            format!("{name}: {} at the end", got[times - 1])
        });
    }
    report.finish();
}

#[test]
fn corrections_and_decays_are_the_twins_over_ten_thousand_steps() {
    let mut report = Report::new();
    let decay = 0.995f32;
    let schedule = ScheduleConstants { average_decay: decay, ring: 7, ..constants() };
    let (mut state, mut done) = (State::default(), 0);
    for until in [1, 2, 3, 10, 100, 1000, 3000, 10_000] {
        let (now, ring) = step(&mut report, schedule, (&[1.0], &[1.0]), state, until - done);
        (state, done) = (now, until);
        report.equal("the step counter", &[state.step], &[word(until)]);
        for (name, got, beta, rounded) in
            [("1 − β1^t", state.correction1, BETA1, 0.9f32), ("1 − β2^t", state.correction2, BETA2, 0.999)]
        {
            let want = 1.0 - beta.powi(until as i32);
            // c ← β·c + (1 − β) adds three roundings and β's own error a time, and forgets them as β^t does. The
            // moments grow by the same recurrence with the same β, so what matters is that the ratio is right.
            let each = 3.0 * UNIT + (f64::from(rounded) - beta).abs();
            let forgotten = (until as f64).min(1.0 / (1.0 - beta));
            report.near(&format!("{name} at {until}"), &[got], &[want], each * forgotten * want);
        }
        let want = ema_decay(decay.into(), until as i32);
        report.near(&format!("decay at {until}"), &[state.average_decay], &[want], 2.0 * UNIT);
        // The ring holds the last seven.
        let last = word(until - 1);
        report.holds(ring[(last % 7) as usize].loss == 1.0, || format!("no record at {until}"));
    }
    report.finish();
}

#[test]
fn the_gradient_is_clipped_as_the_twins() {
    let mut report = Report::new();
    for clip in [0.0f32, 1e-3, 1.0, 5.0, 1e6] {
        for norm in [0.0f32, 1e-4, 1.0, 4.999_999, 5.0, 5.000_001, 1e3] {
            let schedule = ScheduleConstants { clip, ..constants() };
            let (state, ring) = step(&mut report, schedule, (&[1.0], &[norm * norm]), State::default(), 1);
            let want = clip_coefficient(ring[0].gradient_norm.into(), clip.into());
            let name = format!("norm {norm} clipped at {clip}");
            // 10⁻⁶ as a float, the sum, the quotient
            report.near(&name, &[state.gradient_scale], &[want], 3.0 * UNIT * want);
        }
    }
    report.finish();
}

#[test]
fn the_ring_wraps() {
    let mut report = Report::new();
    // The rate of step n tells the records apart.
    let schedule = ScheduleConstants { learning_rate: 1.0, warmup: 1 << 20, ring: 64, ..constants() };
    for times in [63, 64, 65, 200] {
        let (_, ring) = step(&mut report, schedule, (&[1.0], &[1.0]), State::default(), times);
        for (slot, record) in ring.iter().enumerate().take(64) {
            let newest = (0..times).rev().find(|step| step % 64 == slot);
            let want = newest.map_or(0.0, |step| (step + 1) as f32 / (1 << 20) as f32);
            report.equal(&format!("slot {slot} after {times}"), &[record.learning_rate], &[want]);
        }
    }
    report.finish();
}

/// Bits of numbers that are not finite: quiet and signalling NaN of both signs with all kinds of payload, infinities.
const NOT_FINITE: [u32; 8] =
    [0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0xffc0_0000, 0x7f80_0001, 0xff80_0001, 0x7fff_ffff, 0xffff_ffff];

#[test]
fn what_is_not_finite_halts() {
    let mut report = Report::new();
    let sound = vec![1.0f32; 70];
    for bits in NOT_FINITE {
        for at in [0, 1, 63, 64, 69] {
            let mut broken = sound.clone();
            broken[at] = f32::from_bits(bits);
            let begin = State { step: 41, ..State::default() };
            for (what, partials, squares) in [("loss", &broken, &sound), ("gradient", &sound, &broken)] {
                let (state, ring) = step(&mut report, constants(), (partials, squares), begin, 1);
                let name = format!("{bits:#x} in sum {at} of the {what}");
                report.equal(&name, &[state.halted, ring[0].halted, state.step], &[42, 42, 42]);
                // Halted stays halted, and remembers when.
                let (state, ring) = step(&mut report, constants(), (&sound, &sound), state, 3);
                report.equal(&format!("{name}, later"), &[state.halted, ring[0].halted], &[42, 42]);
            }
        }
    }
    // Sums of finite numbers that overflow.
    let huge = vec![3e38f32; 70];
    let (state, _) = step(&mut report, constants(), (&huge, &sound), State::default(), 1);
    report.equal("an infinite loss", &[state.halted], &[1]);
    let (state, _) = step(&mut report, constants(), (&sound, &huge), State::default(), 1);
    report.equal("an infinite norm", &[state.halted], &[1]);
    // The largest that do not.
    let large = vec![4e36f32; 70];
    let (state, _) = step(&mut report, constants(), (&large, &large), State::default(), 1);
    report.equal("a large loss", &[state.halted], &[0]);
    report.finish();
}

/// One update on the device of parameters, moments and average.
struct Update<'a> {
    schedule: ScheduleConstants,
    state: State,
    gradient: &'a [f32],
    parameters: &'a [f32],
    moments: [&'a [f32]; 2],
    average: Option<&'a [f32]>,
    /// The padded layers (inputs, outputs), where lists lie in textures, and the layers' weights in one as well.
    layers: Option<&'a [(usize, usize)]>,
}

/// Where each layer begins among the parameters, and in the texture: multiples of 64 floats, and rows one after the
/// other. Then the floats of all parameters, and rows and width of the texture.
fn places(layers: &[(usize, usize)]) -> (Vec<(usize, usize)>, usize, usize, usize) {
    let (mut at, mut row) = (0, 0);
    let mut places = vec![];
    for (inputs, outputs) in layers {
        places.push((at, row));
        at += ((inputs + 1) * outputs).next_multiple_of(64);
        row += outputs;
    }
    (places, at, row, layers.iter().map(|layer| layer.0).max().unwrap_or(8))
}

/// The texture of their weights, with -7 beside those of layers that are narrower than it.
fn texture_of(layers: &[(usize, usize)], parameters: &[f32]) -> Vec<f32> {
    let (places, _, rows, width) = places(layers);
    let mut weights = vec![-7.0; rows * width];
    for ((inputs, outputs), (at, row)) in layers.iter().zip(&places) {
        for output in 0..*outputs {
            weights[(row + output) * width..][..*inputs]
                .copy_from_slice(&parameters[at + output * inputs..][..*inputs]);
        }
    }
    weights
}

impl Update<'_> {
    /// Bindings: 3 the parameters, 4 and 5 the moments, 6 the average, 8 the texture.
    fn run(&self, report: &mut Report, grid: [u32; 3], lanes: usize) -> Outputs {
        let quads = self.gradient.len() / 4;
        let variant = Variant::new("adamw")
            .with("QUADS", word(quads))
            .with("LANES", word(lanes))
            .flag("AVERAGE", self.average.is_some())
            .flag("TEXTURES", self.layers.is_some())
            .flag("FOLDED_GRADIENT", self.layers.is_some())
            .flag("FOLDED_AVERAGE", self.layers.is_some() && self.average.is_some());
        let variant = match self.layers {
            Some(layers) => variant.with("LAYERS", word(layers.len())),
            None => variant,
        };
        // In one slice or in two, 2·g and −g, whose sum is g to the bit.
        let textures = self.layers.is_some();
        let slices: Vec<f32> = if textures && quads % 2 == 1 {
            let scaled = |by: f32| self.gradient.iter().map(move |g| by * g);
            scaled(2.0).chain(scaled(-1.0)).collect()
        } else {
            self.gradient.to_vec()
        };
        let variant = if slices.len() > self.gradient.len() {
            variant.flag("SLICED", true).with("SLICES", 2).flag("FEW_SLICES", lanes == 64)
        } else {
            variant
        };
        let mut launch = Launch::new(variant)
            .uniform(0, &self.schedule)
            .input(1, &[self.state])
            .output(3, self.parameters);
        launch = launch.list(2, &slices, textures);
        launch = if textures {
            launch.output_list(4, &self.moments.concat(), true)
        } else {
            launch.output(4, self.moments[0]).output(5, self.moments[1])
        };
        if let Some(average) = self.average {
            launch = launch.output_list(6, average, textures);
        }
        if let Some(layers) = self.layers {
            let (places, _, _, width) = places(layers);
            let weights = texture_of(layers, self.parameters);
            let mut atlas = Atlas { layers: word(layers.len()), ..Atlas::zeroed() };
            for (entry, ((inputs, outputs), (at, row))) in
                atlas.entries.iter_mut().zip(layers.iter().zip(places))
            {
                *entry = [word(at / 4), word(inputs / 4), word(*outputs), word(row)];
            }
            launch = launch.uniform(7, &atlas).output_matrix(8, &weights, width, true);
        }
        launch.run(report, grid)
    }
}

/// The state that step.wgsl leaves for update number `updates`.
fn state_at(updates: i32, learning_rate: f32, gradient_scale: f32, decay: f32) -> State {
    State {
        step: updates as u32,
        correction1: (1.0 - BETA1.powi(updates)) as f32,
        correction2: (1.0 - BETA2.powi(updates)) as f32,
        learning_rate,
        gradient_scale,
        average_decay: ema_decay(decay.into(), updates) as f32,
        ..State::default()
    }
}

#[test]
fn updates_are_the_twins() {
    let mut report = Report::new();
    for (i, quads) in QUADS.into_iter().enumerate() {
        for (updates, weight_decay, scale, decay) in [
            (1, 0.0f32, 1.0f32, None),
            (1, 0.1, 0.37, Some(0.999f32)),
            (10, 0.0, 1.0, Some(0.5)),
            (1000, 0.01, 1e-3, None),
            (100_000, 0.5, 1.0, Some(0.9999)),
        ] {
            let (lanes, lr) = (if i % 2 == 0 { 64 } else { 32 }, 0.02f32);
            let (n, fresh) = (quads * 4, updates == 1);
            // Gradients over many orders of magnitude, and exact zeros as dead units and padding have them.
            let spread = |seed| -> Vec<f32> {
                let exponents = random(seed + 50, n);
                random(seed, n).iter().zip(&exponents).map(|(x, e)| x * (5.0 * e).exp2()).collect()
            };
            let mut gradient = spread(1);
            gradient.iter_mut().skip(1).step_by(7).for_each(|g| *g = 0.0);
            let parameters = random(2, n);
            let moment1 = if fresh { vec![0.0; n] } else { spread(3) };
            let moment2: Vec<f32> =
                if fresh { vec![0.0; n] } else { spread(4).iter().map(|x| x * x).collect() };
            let average = decay.map(|_| random(5, n));
            let mut update = Update {
                schedule: ScheduleConstants { weight_decay, ..constants() },
                state: state_at(updates, lr, scale, decay.unwrap_or(0.0)),
                gradient: &gradient,
                parameters: &parameters,
                moments: [&moment1, &moment2],
                average: average.as_deref(),
                layers: None,
            };

            let mut twin = AdamW::new(&[wide(&parameters)], f64::from(weight_decay));
            (twin.updates, twin.first_moment, twin.second_moment) =
                (updates - 1, vec![wide(&moment1)], vec![wide(&moment2)]);
            let mut wanted = vec![wide(&parameters)];
            let scaled: Vec<f64> = wide(&gradient).iter().map(|g| g * f64::from(scale)).collect();
            twin.update(&mut wanted, std::slice::from_ref(&scaled), lr.into());
            let (m, v, p) = (&twin.first_moment[0], &twin.second_moment[0], &wanted[0]);

            // In buffers; and in textures, weights and what are none.
            let layer = [(8, quads / 4)];
            let layers = [None, Some(&layer[..])];
            let grids = grids(quads, lanes);
            for (grid, layers) in grids.iter().flat_map(|grid| layers.map(|layers| (*grid, layers))) {
                update.layers = layers.filter(|_| quads >= 4);
                let outputs = update.run(&mut report, grid, lanes);
                // Both moments lie in one texture.
                let list = |slot: u32| match (slot, update.layers) {
                    (5, Some(_)) => outputs.get::<f32>(4)[n..2 * n].to_vec(),
                    _ => outputs.get::<f32>(slot)[..n].to_vec(),
                };
                let name = format!(
                    "update {updates}, decay {weight_decay}, {quads} quads, grid {grid:?}, textures {}",
                    layers.is_some()
                );
                // β·m and (1 − β)·g with g = scale·gradient: at most three roundings each, β's own, and the sum.
                let m_error =
                    |i: usize| 5.0 * UNIT * (BETA1 * f64::from(moment1[i]).abs() + 0.1 * scaled[i].abs());
                report.close(&format!("{name}: m"), &list(4), m, m_error);
                // all terms positive; g² doubles the rounding of g
                report.close(&format!("{name}: v"), &list(5), v, |i| 7.0 * UNIT * v[i] + 1e-37);
                // m may have cancelled; the rest of the quotient is some ten roundings, of which division and root
                // may take 2.5 each. Then the decay of p, and two sums.
                let p_error = |i: usize| {
                    let rate = f64::from(lr) / (1.0 - BETA1.powi(updates));
                    let denominator = (v[i] / (1.0 - BETA2.powi(updates))).sqrt() + EPSILON;
                    let step = (rate * m[i] / denominator).abs();
                    rate * m_error(i) / denominator
                        + 16.0 * UNIT * step
                        + 4.0 * UNIT * f64::from(parameters[i]).abs()
                };
                report.close(&format!("{name}: p"), &outputs.get::<f32>(3), p, p_error);
                if let (Some(before), Some(decay)) = (&average, decay) {
                    let mut want = vec![wide(before)];
                    update_average(&mut want, &wanted, decay.into(), updates);
                    report.close(&format!("{name}: average"), &list(6), &want[0], |i| {
                        p_error(i) + 4.0 * UNIT * (p[i].abs() + f64::from(before[i]).abs())
                    });
                }
            }
        }
    }
    report.finish();
}

#[test]
fn the_texture_of_the_weights_follows_them() {
    let mut report = Report::new();
    for layers in [
        &[(8, 8)][..],
        &[(8, 64), (64, 64), (64, 8)],
        // a layer narrower than the texture before and after a wider one, and one that ends right before the next
        &[(8, 24), (24, 32), (32, 8), (8, 40), (16, 16)],
        &[(1032, 8), (8, 1032)],
    ] {
        let (_, n, ..) = places(layers);
        let (gradient, parameters, zeros) = (random(1, n), random(2, n), vec![0.0; n]);
        for (average, halted) in [(None, 0), (Some(&zeros), 0), (None, 1)] {
            let update = Update {
                schedule: constants(),
                state: State { halted, ..state_at(1, 0.1, 1.0, 0.9) },
                gradient: &gradient,
                parameters: &parameters,
                moments: [&zeros, &zeros],
                average: average.map(Vec::as_slice),
                layers: Some(layers),
            };
            let outputs = update.run(&mut report, grids(n / 4, 64)[1], 64);
            let updated: Vec<f32> = outputs.get(3);
            let now = if halted == 0 { &updated } else { &parameters };
            let want = texture_of(layers, now);
            report.same_bits(&format!("{layers:?}, halted {halted}"), &outputs.get(8), &want);
        }
    }
    report.finish();
}

#[test]
fn nothing_is_updated_when_halted() {
    let mut report = Report::new();
    let (parameters, moments, average) = (random(1, 400), random(2, 400), random(3, 400));
    for gradient in [vec![f32::NAN; 400], vec![f32::INFINITY; 400], random(4, 400)] {
        for average in [None, Some(&average)] {
            let update = Update {
                schedule: ScheduleConstants { weight_decay: 0.1, ..constants() },
                state: State { halted: 3, ..state_at(5, 0.1, 1.0, 0.9) },
                gradient: &gradient,
                parameters: &parameters,
                moments: [&moments, &moments],
                average: average.map(Vec::as_slice),
                layers: None,
            };
            let outputs = update.run(&mut report, [2, 1, 1], 64);
            for (slot, before) in [(3, &parameters), (4, &moments), (5, &moments)] {
                report.same_bits(&format!("binding {slot}"), &outputs.get(slot), before);
            }
            if let Some(average) = average {
                report.same_bits("the average", &outputs.get(6), average);
            }
        }
    }
    report.finish();
}

/// Sums of squares: zeros, denormals, ordinary numbers and large ones, that do not overflow when added.
fn sound() -> impl Strategy<Value = f32> {
    prop_oneof![
        Just(0.0),
        (1u32..0x0080_0000).prop_map(f32::from_bits),
        (-60i32..60).prop_map(|e| 1.7 * (e as f32).exp2()),
        0.0..1e30f32,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sums_are_added_or_halt(
        sums in prop::collection::vec(sound(), 1..200),
        broken in prop::option::of((0usize..200, prop::sample::select(&NOT_FINITE[..]))),
        gradient in any::<bool>(),
    ) {
        let mut report = Report::new();
        let mut values = sums;
        if let Some((at, bits)) = broken {
            let at = at % values.len();
            values[at] = f32::from_bits(bits);
        }
        let other = [2.0];
        let both = if gradient { (&other[..], &values[..]) } else { (&values[..], &other[..]) };
        let (state, ring) = step(&mut report, constants(), both, State::default(), 1);
        report.equal("halted", &[state.halted], &[u32::from(broken.is_some())]);
        if broken.is_none() {
            let sum: f64 = wide(&values).iter().sum();
            // Drivers may take denormals for zero: as many times the smallest normal number.
            let lost = values.len() as f64 * f64::from(f32::MIN_POSITIVE);
            if gradient {
                report.near("norm", &[ring[0].gradient_norm], &[sum.sqrt()], 12.0 * UNIT * sum.sqrt() + lost.sqrt());
            } else {
                report.near("loss", &[ring[0].loss], &[sum], 12.0 * UNIT * sum + lost);
            }
        }
        report.finish();
    }

    /// An ordinary Adam step is at most the learning rate times √(1 − β2) / (1 − β1)-ish, whatever the gradient is.
    #[test]
    fn any_finite_gradient_moves_a_weight_by_a_bounded_step(
        bits in prop::collection::vec(any::<u32>(), 16),
    ) {
        let mut report = Report::new();
        // Any finite float of an exponent that a clipped gradient can have, denormals and −0 among them.
        let gradient: Vec<f32> =
            bits.iter().map(|bits| f32::from_bits(bits & 0xbfff_ffff)).map(|g| g.clamp(-1e18, 1e18)).collect();
        let (parameters, zeros) = (narrow(&[0.5; 16]), vec![0.0; 16]);
        let update = Update {
            schedule: constants(),
            state: state_at(1, 0.01, 1.0, 0.0),
            gradient: &gradient,
            parameters: &parameters,
            moments: [&zeros, &zeros],
            average: None,
            layers: None,
        };
        let outputs = update.run(&mut report, [1, 1, 1], 64);
        for (i, p) in outputs.get::<f32>(3).iter().enumerate() {
            // The first step is lr·g / (|g| + ε).
            let g = f64::from(gradient[i]);
            let want = 0.5 - 0.01 * g / (g.abs() + EPSILON);
            // Where g² is denormal or less, v may be anything between 0 and its true value, so the step at most
            // lr·g / ε.
            let vanishing = g.abs() < 1e-17;
            let allowed = if vanishing { 0.01 * g.abs() / EPSILON } else { 32.0 * UNIT * 0.01 } + 4.0 * UNIT;
            report.near(&format!("after {g:e}"), &[*p], &[want], allowed);
        }
        report.finish();
    }
}
