//! Rows of a data set that lies on the device in blocks: gather.wgsl, and what is drawn from the rows gathered.

use bytemuck::Zeroable;
use windfield::gpu::Variant;
use windfield::train::{Block, Chunk, State, Wave};

use super::path::straight;
use crate::common::{Launch, Report, random, word};
use crate::reference::gather::gather;
use crate::reference::philox::{PICK, SOURCE};

const SEED: u64 = 0x0dd_ba11_0000_0003;
const FIRST: u32 = 4_000_000_000;
const STEPS: u32 = 5;
const BATCH: u32 = 13;

fn chunk(data_rows: u32, source_rows: u32) -> Chunk {
    Chunk {
        seed: [SEED as u32, (SEED >> 32) as u32],
        first_row: 0,
        rows: BATCH,
        data_rows,
        source_rows,
        batch: BATCH,
        first_partial: 0,
    }
}

fn wave() -> Wave {
    Wave { first_step: FIRST, steps: 1, rows: STEPS * BATCH, padding: 0 }
}

/// Rows of a table, as they were picked.
fn rows_of(table: &[f32], dim: usize, picked: &[u32]) -> Vec<f32> {
    picked.iter().flat_map(|&row| &table[row as usize * dim..][..dim]).copied().collect()
}

/// Every block leaves the rows of the others as they are; together they make the wave.
#[test]
fn blocks_make_the_wave() {
    let mut report = Report::new();
    for dim in [1, 2, 3, 63, 64, 65, 784] {
        for (source, rows) in [(false, 1), (false, 101), (true, 47)] {
            let table = random(3, rows * dim);
            let picked = gather(SEED, FIRST, STEPS, BATCH, word(rows), if source { SOURCE } else { PICK });
            let want = rows_of(&table, dim, &picked);
            let variant = Variant::new("gather")
                .with("DIM", word(dim))
                .with("SPAN", 64)
                .with("LANES", 64)
                .flag("SOURCE", source);
            for block_rows in [rows, rows.div_ceil(3), 1.max(rows - 1)] {
                let mut gathered = vec![-7.0f32; want.len()];
                for first in (0..rows).step_by(block_rows) {
                    let here = block_rows.min(rows - first);
                    let within = Block { first_row: word(first), rows: word(here), ..Block::zeroed() };
                    let chunk = if source { chunk(0, word(rows)) } else { chunk(word(rows), 0) };
                    let groups = word((picked.len() * dim.div_ceil(64)).div_ceil(64));
                    let outputs = Launch::new(variant.clone())
                        .uniform(0, &chunk)
                        .uniform(1, &wave())
                        .uniform(2, &within)
                        .input(3, &table[first * dim..][..here * dim])
                        .output(4, &gathered)
                        .run(
                            &mut report,
                            if first > 0 { [groups.div_ceil(2), 2, 1] } else { [groups, 1, 1] },
                        );
                    let after: Vec<f32> = outputs.get(4);
                    let ours = |row: u32| (first..first + here).contains(&(row as usize));
                    for (i, &row) in picked.iter().enumerate() {
                        let of = |values: &[f32]| values[i * dim..][..dim].to_vec();
                        let wanted = if ours(row) { of(&want) } else { of(&gathered) };
                        report.same_bits(
                            &format!("dimension {dim}, rows {first}..+{here} of {rows}: row {i}"),
                            &of(&after),
                            &wanted,
                        );
                    }
                    gathered = after;
                }
                report.same_bits(&format!("dimension {dim}, {rows} rows by {block_rows}"), &gathered, &want);
            }
        }
    }
    report.finish();
}

/// Row numbers go up to the last that 32 bits count.
#[test]
fn rows_far_down_are_found() {
    let mut report = Report::new();
    let rows = u32::MAX;
    let picked = gather(SEED, FIRST, STEPS, BATCH, rows, PICK);
    // The block that begins with the largest row picked, and one that ends with the last row that there can be.
    let largest = *picked.iter().max().expect("rows");
    assert!(largest > u32::MAX / 8 * 7, "{largest}");
    for (first_row, here) in [(largest, rows - largest), (rows - 3, 3), (0, 4)] {
        let here = here.min(8);
        let table: Vec<f32> = (0..here).map(|row| row as f32).collect();
        let outputs = Launch::new(Variant::new("gather").with("DIM", 1).with("SPAN", 64).with("LANES", 64))
            .uniform(0, &chunk(rows, 0))
            .uniform(1, &wave())
            .uniform(2, &Block { first_row, rows: here, ..Block::zeroed() })
            .input(3, &table)
            .output(4, &vec![-7.0f32; picked.len()])
            .run(&mut report, [2, 1, 1]);
        let want: Vec<f32> = (picked.iter())
            .map(|&row| {
                row.checked_sub(first_row).filter(|place| *place < here).map_or(-7.0, |place| place as f32)
            })
            .collect();
        report.same_bits(&format!("rows {first_row}..+{here}"), &outputs.get(4), &want);
    }
    report.finish();
}

/// draw.wgsl and endpoints.wgsl, GATHERED: the bits that the whole data set gives.
#[test]
fn what_is_gathered_is_drawn() {
    let mut report = Report::new();
    let (data_rows, source_rows) = (101, 47);
    for (dim, source) in [(1, false), (3, true), (5, false), (65, true)] {
        let (data, other) = (random(1, data_rows * dim), random(2, source_rows * dim));
        let of = |table: &[f32], rows: usize, stream| {
            rows_of(table, dim, &gather(SEED, FIRST, STEPS, BATCH, word(rows), stream))
        };
        let (x1, x0) = (of(&data, data_rows, PICK), of(&other, source_rows, SOURCE));
        let chunk = chunk(word(data_rows), word(source_rows));
        let count = (STEPS * BATCH) as usize;
        let ends = |gathered: bool, report: &mut Report| {
            let variant = Variant::new("endpoints").with("DIM", word(dim)).with("LANES", 64);
            let mut launch = Launch::new(variant.flag("SOURCE", source).flag("GATHERED", gathered))
                .uniform(0, &chunk)
                .uniform(1, &wave())
                .input(2, if gathered { &x1 } else { &data })
                .output(3, &vec![-7.0f32; count * dim])
                .output(4, &vec![-7.0f32; count * dim]);
            if source {
                launch = launch.input(5, if gathered { &x0 } else { &other });
            }
            let outputs = launch.run(report, [word((count * dim.div_ceil(4)).div_ceil(64)), 1, 1]);
            [outputs.get::<f32>(3), outputs.get::<f32>(4)]
        };
        let (whole, gathered) = (ends(false, &mut report), ends(true, &mut report));
        for (which, (whole, gathered)) in whole.iter().zip(&gathered).enumerate() {
            report.same_bits(&format!("dimension {dim}: x{which} of the endpoints"), gathered, whole);
        }
        let (width_in, width_out) = ((dim + 1).next_multiple_of(8), dim.next_multiple_of(8));
        let partners: Vec<u32> = (0..word(count)).map(|i| i / BATCH * BATCH + (i + 5) % BATCH).collect();
        let partners: Vec<u32> = partners.iter().map(|partner| partner % BATCH).collect();
        for (step, coupled) in [(FIRST, false), (FIRST + 3, true), (FIRST + STEPS - 1, false)] {
            let batch = |gathered: bool, report: &mut Report| {
                let variant = (straight(1e-3).bake(Variant::new("draw")))
                    .with("DIM", word(dim))
                    .with("FREQUENCIES", 0)
                    .with("WIDTH_IN", word(width_in))
                    .with("WIDTH_OUT", word(width_out))
                    .with("LANES", 64)
                    .with_float("T_MAX", 1.0)
                    .flag("SOURCE", source)
                    .flag("COUPLED", coupled)
                    .flag("GATHERED", gathered)
                    .flag("EXPORT", true);
                let unwritten = |width: usize| vec![-7.0f32; 16 * width];
                let mut launch = Launch::new(variant)
                    .uniform(0, &chunk)
                    .input(1, &[State { step, ..State::zeroed() }])
                    .input(2, if gathered { &x1 } else { &data })
                    .output(3, &unwritten(width_in))
                    .output(4, &unwritten(width_out))
                    .output(6, &unwritten(2 * width_out + 4));
                if source {
                    launch = launch.input(5, if gathered { &x0 } else { &other });
                }
                if coupled || gathered {
                    launch = launch.uniform(8, &wave());
                }
                if coupled {
                    launch = launch.input(9, &partners);
                }
                launch.run(report, [word((BATCH as usize * width_in / 4).div_ceil(64)), 1, 1])
            };
            let (whole, gathered) = (batch(false, &mut report), batch(true, &mut report));
            for slot in [3, 4, 6] {
                let name = format!("dimension {dim}, step {step}, binding {slot}");
                report.same_bits(&name, &gathered.get(slot), &whole.get(slot));
            }
        }
    }
    report.finish();
}
