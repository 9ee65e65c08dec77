//! The loss and its gradient: loss.wgsl.

use bytemuck::Zeroable;
use windfield::gpu::Variant;
use windfield::train::Chunk;

use crate::common::{Launch, Report, UNIT, pad, random, unpad, wide, word};
use crate::reference::loss::{loss, loss_gradient};

#[test]
fn the_loss_and_its_gradient_are_the_twins() {
    let mut report = Report::new();
    for (dim, lanes, textures) in [
        (1, 64, true),
        (2, 64, false),
        (5, 64, true),
        (64, 64, false),
        (65, 16, true),
        (784, 64, false),
        (3, 256, false),
    ] {
        for rows in [1, 3, 8, 63, 64, 65, 257] {
            // A part of a larger batch: it divides by the batch's rows, and its sums follow those of earlier parts.
            let (batch, first_partial) = (1000, 5);
            let (v, u) = (random(1, rows * dim), random(2, rows * dim));
            let (width, padded) = (dim.next_multiple_of(8), rows.next_multiple_of(16));
            let groups = rows.div_ceil(lanes);
            let chunk = Chunk { rows: word(rows), batch, first_partial, ..Chunk::zeroed() };
            let partials_before = vec![-7.0f32; first_partial as usize + groups + 3];
            let variant = Variant::new("loss")
                .with("WIDTH_OUT", word(width))
                .with("LANES", word(lanes))
                .flag("TEXTURES", textures);
            let launch = Launch::new(variant)
                .uniform(0, &chunk)
                // Whatever is in the padded rows must not matter.
                .input(1, &pad(&v, dim, width, padded, f32::NAN))
                .input(2, &pad(&u, dim, width, padded, 1e30))
                .output_matrix(3, &vec![-7.0f32; padded * width], width, textures)
                .output(4, &partials_before);
            let outputs = launch.run(&mut report, [word(groups), 1, 1]);
            let (delta, partials): (Vec<f32>, Vec<f32>) = (outputs.get(3), outputs.get(4));

            let name = format!("{rows} rows of dimension {dim}, {lanes} lanes");
            let (v, u) = (wide(&v), wide(&u));
            let want = loss_gradient(&v, &u, batch as usize);
            // The difference, 2/B and their product each round once.
            report.close(&name, &unpad(&delta, dim, width, rows), &want, |i| 3.0 * UNIT * want[i].abs());
            let expected = pad(&unpad(&delta, dim, width, rows), dim, width, padded, 0.0);
            report.equal(&format!("{name}: zeros around the gradient"), &delta, &expected);

            let first = first_partial as usize;
            for (group, &partial) in partials[first..first + groups].iter().enumerate() {
                let (from, to) = (group * lanes, ((group + 1) * lanes).min(rows));
                let want = loss(&v[from * dim..to * dim], &u[from * dim..to * dim], 1);
                // All terms are positive, so their sum is the magnitude. Each is a squared difference: three
                // roundings. A lane adds width / 4 of them one by one, then come three levels within a vec4 and
                // log2(lanes) of the tree.
                let roundings = 3.0 + width as f64 / 4.0 + 2.0 + (lanes as f64).log2();
                report.near(
                    &format!("{name}: partial sum {group}"),
                    &[partial],
                    &[want],
                    roundings * UNIT * want,
                );
            }
            for i in (0..first).chain(first + groups..partials.len()) {
                report.equal(&format!("{name}: partial sum {i} of another part"), &[partials[i]], &[-7.0]);
            }
        }
    }
    report.finish();
}
