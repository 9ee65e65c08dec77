//! Sums over pairs of points: pairs.wgsl.

use windfield::gpu::Variant;
use windfield::measure::evaluate::Part;

use crate::common::{Launch, Report, UNIT, pad, random, wide, word};
use crate::reference::pairs::{kernel, pairs};

#[test]
fn sums_over_pairs_are_the_twins() {
    let mut report = Report::new();
    for (dim, lanes, slice) in
        [(1, 64, 256), (2, 64, 256), (3, 16, 32), (5, 64, 16), (64, 64, 256), (65, 32, 48)]
    {
        for (rows, columns) in [(1, 1), (3, 70), (64, 256), (130, 257), (65, 15)] {
            // A part of both samples, with more of them around it.
            let (before, after) = (2, 3);
            let (a, b) =
                (random(1, (before + rows + after) * dim), random(2, (before + columns + after) * dim));
            // Some points of both are the same.
            let b = [&a[before * dim..(before + 1) * dim], &b[dim..]].concat();
            let quads = dim.div_ceil(4);
            let (across, down) = (rows.div_ceil(lanes), columns.div_ceil(slice));
            let sigma = 0.7 * (dim as f64).sqrt();
            let part = Part {
                first_row: word(before),
                last_row: word(before + rows),
                first_column: word(before),
                last_column: word(before + columns),
                scale: (0.5 / (sigma * sigma)) as f32,
                padding: [0; 3],
            };
            let variant = Variant::new("pairs")
                .with("QUADS", word(quads))
                .with("SLICE", word(slice))
                .with("LANES", word(lanes));
            let launch = Launch::new(variant)
                .uniform(0, &part)
                .input(1, &pad(&a, dim, 4 * quads, before + rows + after, 0.0))
                .input(2, &pad(&b, dim, 4 * quads, before + columns + after, 0.0))
                .output(3, &vec![[-7.0f32; 2]; across * down]);
            let outputs = launch.run(&mut report, [word(across), word(down), 1]);
            let partials: Vec<[f32; 2]> = outputs.get(3);
            let (a, b) = (wide(&a), wide(&b));
            for (place, partial) in partials.iter().enumerate() {
                let (group, piece) = (place % across, place / across);
                let rows = group * lanes..((group + 1) * lanes).min(rows);
                let columns = piece * slice..((piece + 1) * slice).min(columns);
                let a = &a[(before + rows.start) * dim..(before + rows.end) * dim];
                let b = &b[(before + columns.start) * dim..(before + columns.end) * dim];
                let (distance, near) = pairs(a, b, dim, sigma);
                let name =
                    format!("dimension {dim}, {} rows, {} columns, part {place}", rows.len(), columns.len());
                // All terms are positive. They are added 16 by 16, these in turn, and by a tree.
                let additions = 16.0 + (slice / 16) as f64 + (lanes as f64).log2();
                // A square: difference, its square, quads of them one by one, two levels. Its root halves the error,
                // and is itself off by 2.5 units at most (WGSL).
                let square = 3.0 + quads as f64 + 2.0;
                let allowed = (additions + square / 2.0 + 5.0) * UNIT * distance;
                report.near(&format!("{name}: distances"), &[partial[0]], &[distance], allowed);
                // exp(−x) turns the relative error of x into x·exp(−x) ≤ 1/e of it; its own is 4 units.
                let count = (rows.len() * columns.len()) as f64;
                let allowed =
                    ((additions + 8.0) * near + (square + 3.0) / std::f64::consts::E * count) * UNIT;
                report.near(&format!("{name}: kernel"), &[partial[1]], &[near], allowed);
            }
        }
    }
    assert!((kernel(0.0, 1.0) - 1.0).abs() < 1e-15);
    report.finish();
}
