//! Line integral convolution: lic.wgsl.

use windfield::gpu::Variant;
use windfield::render::{Lic, window};

use crate::common::{Launch, Report, UNIT, random, wide, word};
use crate::reference::lic::{Picture, lic};

const LANES: usize = 64;

/// Runs the kernel over some rows of a picture.
fn streaks(
    report: &mut Report,
    picture: &Picture<'_>,
    (velocities, noise, weights): (&[f32], &[f32], &[f32]),
    step: f32,
    rows: std::ops::Range<usize>,
) -> Vec<f32> {
    let [width, height] = picture.size;
    let constants = Lic {
        size: [width as f32, height as f32],
        scale: picture.scale.map(|scale| scale as f32),
        width: word(width),
        height: word(height),
        columns: word(picture.grid[0]),
        rows: word(picture.grid[1]),
        first_row: word(rows.start),
        last_row: word(rows.end),
        reach: word(weights.len() / 2),
        step,
    };
    let launch = Launch::new(Variant::new("lic").with("LANES", word(LANES)))
        .uniform(0, &constants)
        .input(1, velocities)
        .input(2, noise)
        .input(3, weights)
        .output(4, &vec![-7.0f32; width * height]);
    launch.run(report, [word((rows.len() * width).div_ceil(LANES)), 1, 1]).get(4)
}

#[test]
fn streaks_are_the_twins() {
    let mut report = Report::new();
    for (size, grid, reach) in [
        ([1, 1], [2, 2], 3),
        ([13, 1], [3, 2], 4),
        ([1, 17], [2, 5], 4),
        ([67, 41], [9, 6], 24),
        ([40, 53], [31, 17], 1),
    ] {
        let [width, height] = size;
        // Towards one side by and large, so that no line comes to where nothing moves.
        let scale = [width as f64 / 4.0, -(height as f64) / 3.0];
        let bent = random(1, 2 * grid[0] * grid[1]);
        let velocities: Vec<f32> = bent
            .iter()
            .enumerate()
            .map(|(i, v)| {
                let steady = [2.0 / scale[0], 1.0 / scale[1]][i % 2] as f32;
                steady * (1.0 + 0.2 * v.clamp(-2.0, 2.0))
            })
            .collect();
        let noise = random(2, width * height);
        for phase in [None, Some(0.3)] {
            let weights = window(word(reach), phase);
            let step = 0.75;
            let (wide_velocities, wide_noise, wide_weights) =
                (wide(&velocities), wide(&noise), wide(&weights));
            let picture = Picture { size, grid, scale, velocities: &wide_velocities, noise: &wide_noise };
            let inputs = (velocities.as_slice(), noise.as_slice(), weights.as_slice());
            let got = streaks(&mut report, &picture, inputs, step, 0..height);
            let want = lic(&picture, &wide_weights, step.into());
            let name =
                format!("{width} × {height} texels, {} × {} velocities, phase {phase:?}", grid[0], grid[1]);

            // In texels, no coordinate of v is below 0.6 of (2, 1), and neighbours on the grid differ by at most 0.8 of it:
            // so much does e turn from texel to texel.
            let least = 0.6 * 5f64.sqrt();
            let cells = (0..2).map(|k| (grid[k] - 1) as f64 / size[k] as f64).fold(0.0, f64::max);
            let turn = 2.0 * 0.8 * 5f64.sqrt() * cells / least;
            // A step rounds the place, its place on the grid, three interpolations of three operations, scale, length and
            // product; what is off is carried on.
            let largest = width.max(height) as f64;
            let step_error = UNIT * (2.0 * largest + f64::from(step) * (turn * 4.0 * largest + 20.0));
            let growth = 1.0 + f64::from(step) * turn * (1.0 + 0.5 * f64::from(step) * turn);
            let error = |k: usize| (0..k).fold(0.0, |error, _| error * growth + step_error);
            // The noise changes by no more than this from texel to texel.
            let top = noise.iter().fold(0.0f32, |top, n| top.max(n.abs()));
            let slope = 2.0 * 2.0 * f64::from(top);
            let mut doubtful = 0;
            for (texel, (&got, &want)) in got.iter().zip(&want).enumerate() {
                let line = picture.line(texel, reach, step.into());
                // Rounding decides about what comes so near to the edge.
                let edge = line.iter().enumerate().any(|(i, (place, _))| {
                    (0..2).any(|k| {
                        let near = error(i.abs_diff(reach)) + 1e-9;
                        place[k].abs() < near || (place[k] - size[k] as f64).abs() < near
                    })
                });
                if edge {
                    doubtful += 1;
                    continue;
                }
                let inside =
                    || line.iter().zip(&wide_weights).enumerate().filter(|(_, ((_, inside), _))| *inside);
                let squares: f64 = inside().map(|(_, (_, w))| w * w).sum();
                let off: f64 = inside()
                    .map(|(i, (_, w))| {
                        let place = error(i.abs_diff(reach)) + 2.0 * UNIT * largest;
                        let rounding = (9.0 + 2.0 * reach as f64 + 5.0) * UNIT;
                        w * (slope * place + rounding * f64::from(top))
                    })
                    .sum();
                let allowed = off / squares.sqrt();
                report.near(&format!("{name}: texel {texel}"), &[got], &[want], allowed);
            }
            report
                .holds(10 * doubtful <= width * height, || format!("{name}: {doubtful} lines near the edge"));
            // Part by part it is the same, and what is not asked for is left alone.
            let (upper, lower) = (height / 2, height - height / 3);
            let part = streaks(&mut report, &picture, inputs, step, upper..lower);
            let at = upper * width..lower * width;
            report.same_bits(&format!("{name}: some rows"), &part[at.clone()], &got[at.clone()]);
            let rest = part[..at.start].iter().chain(&part[at.end..]);
            report.holds(rest.copied().all(|value| value == -7.0), || format!("{name}: the other rows"));
        }
    }
    report.finish();
}

#[test]
fn a_constant_field_has_constant_lines() {
    let mut report = Report::new();
    let size = [48, 40];
    let noise = random(3, size[0] * size[1]);
    let weights = [1.0f32; 2 * 50 + 1];
    let wide_noise = wide(&noise);
    let grid = [2, 2];
    // To the left: every line is a whole row, whose texels all have the same sum. Upwards: a column.
    for (v, along) in [([-1.0f32, 0.0], 1), ([0.0, 3.0], size[0])] {
        let velocities = v.repeat(4);
        let picture =
            Picture { size, grid, scale: [1.0, -1.0], velocities: &wide(&velocities), noise: &wide_noise };
        let got = streaks(&mut report, &picture, (&velocities, &noise, &weights), 1.0, 0..size[1]);
        let spread = got.iter().fold(0.0f32, |top, v| top.max(v.abs()));
        report.holds(spread > 0.5, || format!("{v:?}: streaks of {spread} at most"));
        for (texel, &value) in got.iter().enumerate() {
            let next = if along == 1 { (texel + 1) % size[0] > 0 } else { texel + along < got.len() };
            if next {
                // The same numbers in another order: as many roundings as there are terms.
                let allowed = 2.0 * 50.0 * UNIT * 4.0 * 50f64.sqrt();
                report.near(
                    &format!("{v:?}: texel {texel}"),
                    &[value],
                    &[f64::from(got[texel + along])],
                    allowed,
                );
            }
        }
    }
    // Where nothing moves, there are none.
    let velocities = [0.0f32; 8];
    let picture =
        Picture { size, grid, scale: [1.0, -1.0], velocities: &wide(&velocities), noise: &wide_noise };
    let got = streaks(&mut report, &picture, (&velocities, &noise, &weights), 1.0, 0..size[1]);
    report.holds(got.iter().all(|value| *value == 0.0), || "streaks where nothing moves".to_owned());
    report.finish();
}

/// From picture to picture the waves go down the flow: a bright place of the one is where the flow carries it in the other.
#[test]
fn waves_travel_down_the_flow() {
    let reach = 24;
    let centre = |phase: f32| {
        // A single bright texel, smeared along a row: the crest nearest to it.
        let weights = window(reach, Some(phase));
        let mut report = Report::new();
        let size = [80, 1];
        let mut noise = vec![0.0f32; 80];
        noise[40] = 1.0;
        let velocities = [1.0f32, 0.0].repeat(4);
        let (twin, wide_noise) = (wide(&velocities), wide(&noise));
        let picture =
            Picture { size, grid: [2, 2], scale: [1.0, -1.0], velocities: &twin, noise: &wide_noise };
        let got = streaks(&mut report, &picture, (&velocities, &noise, &weights), 1.0, 0..1);
        report.finish();
        (0..80).max_by(|&a, &b| got[a].total_cmp(&got[b])).unwrap()
    };
    assert_eq!(centre(0.0), 40);
    assert!((42..50).contains(&centre(0.2)), "{}", centre(0.2));
    assert!((31..39).contains(&centre(-0.2)), "{}", centre(-0.2));
}
