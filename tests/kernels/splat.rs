//! Particles of a picture: splat.wgsl.

use windfield::gpu::Variant;
use windfield::render::Splat;

use crate::common::{Launch, Report, random, wide, word};
use crate::reference::splat::{Camera, splat};

const LANES: usize = 64;
/// Pixels from an edge, and levels of depth from a half, within which float32 may fall on the other side.
const MARGIN: f64 = 2e-3;

/// A camera that looks along a line between the axes, with a perspective.
const ASKEW: [f32; 16] =
    [0.9, 0.1, 0.2, 0.2, -0.3, 0.8, 0.1, 0.3, 0.2, 0.4, 0.9, -0.25, 0.05, -0.1, 3.0, 3.2];
/// From above.
const PLANE: [f32; 16] = [0.4, 0.0, 0.0, 0.0, 0.0, -0.5, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.1, 0.2, 0.0, 1.0];

#[test]
fn counts_and_depths_are_the_twins() {
    let mut report = Report::new();
    for (count, states, dim, shown, matrix, size) in [
        (1, 1, 1, &[0][..], PLANE, [3, 2]),
        (63, 2, 2, &[1, 0], PLANE, [17, 9]),
        (200, 3, 5, &[4, 0, 2], ASKEW, [31, 40]),
        (1000, 4, 3, &[0, 1, 2], ASKEW, [8, 8]),
    ] {
        for (state, part) in [(0, 0.0f32), (states - 1, 0.0), (states / 2, 0.3)] {
            let camera = Camera { matrix: matrix.map(f64::from), size, depths: [2.0, 4.5] };
            let mut trajectories = random(7, count * states * dim);
            let next = (state + 1).min(states - 1);
            let at = |i: usize, state: usize| (i * states + state) * dim;
            let mut expected = vec![0u32; 2 * size[0] * size[1]];
            for i in 0..count {
                // Particles at an edge of pixels are moved until they are at none.
                let pixel = loop {
                    let values = wide(&trajectories);
                    let (from, to) = (&values[at(i, state)..][..dim], &values[at(i, next)..][..dim]);
                    let Some((place, depth)) = splat(&camera, from, to, part.into(), shown) else {
                        break None;
                    };
                    let near_edge = |x: f64| (x - x.round()).abs() < MARGIN;
                    if place.iter().any(|x| x.abs() > 1000.0) {
                        break None;
                    }
                    if !place.iter().copied().any(near_edge) && !near_edge(depth + 0.5) {
                        let within = place.iter().zip(size).all(|(&x, side)| x >= 0.0 && x < side as f64);
                        break within.then_some((place, depth));
                    }
                    for &column in shown {
                        trajectories[at(i, state) + column] += 0.0137;
                    }
                };
                if let Some(([x, y], depth)) = pixel {
                    #[allow(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "within the picture"
                    )]
                    let (pixel, depth) = (y as usize * size[0] + x as usize, depth.round() as u32);
                    expected[2 * pixel] += 1;
                    expected[2 * pixel + 1] += depth;
                }
            }
            let mut columns = [u32::MAX; 4];
            for (column, &shown) in columns.iter_mut().zip(shown) {
                *column = word(shown);
            }
            let constants = Splat {
                matrix,
                shown: columns,
                columns: word(size[0]),
                rows: word(size[1]),
                dim: word(dim),
                states: word(states),
                count: word(count),
                state: word(state),
                part,
                near: 2.0,
                range: 2.5,
                padding: [0; 3],
            };
            let got: Vec<u32> = Launch::new(Variant::new("splat").with("LANES", word(LANES)))
                .uniform(0, &constants)
                .input(1, &trajectories)
                .output(2, &vec![0u32; expected.len()])
                .run(&mut report, [word(count.div_ceil(LANES)), 1, 1])
                .get(2);
            assert_eq!(got, expected, "{count} particles, state {state} + {part} of {states}");
            assert!(count < 60 || expected.iter().step_by(2).sum::<u32>() > 10, "some are in the picture");
        }
    }
    report.finish();
}

/// What is no number, infinite, or outside is left out, and what was counted before stays.
#[test]
fn only_what_is_in_the_picture_is_counted() {
    let mut report = Report::new();
    let points =
        [f32::NAN, 0.0, 0.0, f32::INFINITY, 9.0, 0.0, 0.0, -9.0, 0.1, 0.2, f32::NEG_INFINITY, f32::NAN];
    let constants = Splat {
        matrix: PLANE,
        shown: [0, 1, u32::MAX, u32::MAX],
        columns: 4,
        rows: 4,
        dim: 2,
        states: 1,
        count: 6,
        near: 0.0,
        range: 2.0,
        ..Splat::default()
    };
    let got: Vec<u32> = Launch::new(Variant::new("splat").with("LANES", word(LANES)))
        .uniform(0, &constants)
        .input(1, &points)
        .output(2, &[5u32; 32])
        .run(&mut report, [1, 1, 1])
        .get(2);
    let mut expected = [5u32; 32];
    // (0.1, 0.2) is at (0.14, 0.1) of −1 … 1, and half way into the depths.
    expected[2 * (2 * 4 + 2)] += 1;
    expected[2 * (2 * 4 + 2) + 1] += 128;
    assert_eq!(got, expected);
    report.finish();
}
