//! Carrying particles along the flow: integrator.wgsl, stage.wgsl.

use bytemuck::Zeroable;
use windfield::flow::{SOLVERS, Solver};
use windfield::gpu::Variant;
use windfield::sample::{NetworkTable, Stage, Tableau};

use super::draw::wave_error;
use crate::common::{Launch, Report, UNIT, narrow, pad, padding, random, unpad, wide, word};
use crate::reference::activation::Activation;
use crate::reference::draw::features;
use crate::reference::integrator::{integrate, tableau};
use crate::reference::mlp::Mlp;

/// Lanes of a workgroup, particles of a lane, whether the weights are a texture: those of software drivers, then those
/// of GPUs.
type Cut = (usize, usize, bool);
const CUTS: [Cut; 8] = [
    (8, 4, true),
    (8, 3, true),
    (8, 2, false),
    (8, 1, true),
    (4, 1, true),
    (64, 1, false),
    (32, 1, false),
    (16, 1, false),
];

struct Case {
    dim: usize,
    hidden: &'static [usize],
    frequencies: usize,
    activation: Activation,
    cut: Cut,
    rows: usize,
}

const fn case(
    dim: usize,
    hidden: &'static [usize],
    frequencies: usize,
    activation: Activation,
    cut: Cut,
    rows: usize,
) -> Case {
    Case { dim, hidden, frequencies, activation, cut, rows }
}

/// Dimensions, widths that are no multiples of a tile, one layer to many, every activation, every cut.
const CASES: [Case; 9] = [
    case(1, &[], 0, Activation::Silu, CUTS[0], 1),
    case(2, &[16], 0, Activation::Silu, CUTS[0], 77),
    case(3, &[5, 17], 2, Activation::Gelu, CUTS[1], 25),
    case(5, &[31], 0, Activation::Softplus, CUTS[2], 33),
    case(17, &[9, 20], 1, Activation::Tanh, CUTS[3], 19),
    case(2, &[1, 1, 1, 1], 3, Activation::Selu, CUTS[4], 9),
    case(2, &[24, 24], 0, Activation::Relu, CUTS[5], 130),
    case(3, &[7], 0, Activation::Silu, CUTS[6], 31),
    case(9, &[13, 3], 1, Activation::Gelu, CUTS[7], 48),
];

impl Case {
    fn mlp(&self) -> Mlp {
        let mut widths = vec![self.dim + 1 + 2 * self.frequencies];
        widths.extend(self.hidden);
        widths.push(self.dim);
        let mut mlp = Mlp::random(&widths, self.activation, 11);
        // To what the device holds.
        mlp.parameters.iter_mut().for_each(|tensor| *tensor = wide(&narrow(tensor)));
        mlp
    }

    fn widths(&self) -> Vec<usize> {
        self.mlp().widths.iter().map(|width| width.next_multiple_of(8)).collect()
    }

    fn variant(&self, stages: usize) -> Variant {
        let widths = self.widths();
        Variant::new("integrator")
            .with("DIM", word(self.dim))
            .with("FREQUENCIES", word(self.frequencies))
            .with("WIDTH_IN", word(widths[0]))
            .with("WIDTH_OUT", word(widths[widths.len() - 1]))
            .with("WIDTH", word(widths.iter().copied().max().unwrap_or(0)))
            .with("STAGES", word(stages))
            .with("TILE_ROWS", word(self.cut.1))
            .with("TILE_COLUMNS", 8)
            .with("LANES", word(self.cut.0))
            .part("ACTIVATION", self.activation.name())
            .flag("TEXTURES", self.cut.2)
    }

    /// Where each layer lies, all parameters, and the texture of all weights, as the model lays them out.
    fn network(&self) -> (NetworkTable, Vec<f32>, Vec<f32>) {
        let (mlp, widths) = (self.mlp(), self.widths());
        let mut table = NetworkTable { layers: word(mlp.layers()), ..NetworkTable::zeroed() };
        let (mut parameters, mut texture): (Vec<f32>, Vec<f32>) = (vec![], vec![]);
        let texture_width = self.texture_width();
        for layer in 0..mlp.layers() {
            parameters.resize(parameters.len().next_multiple_of(64), 0.0);
            let at = parameters.len();
            let (inputs, outputs) = (mlp.widths[layer], mlp.widths[layer + 1]);
            let (width_in, width_out) = (widths[layer], widths[layer + 1]);
            let weight = pad(&narrow(mlp.weight(layer)), inputs, width_in, width_out, 0.0);
            table.outputs[layer] = [word(outputs), word(texture.len() / texture_width), 0, 0];
            for row in weight.chunks_exact(width_in) {
                texture.extend(row);
                texture.resize(texture.len().next_multiple_of(texture_width), f32::NAN);
            }
            parameters.extend(weight);
            let bias = parameters.len();
            parameters.extend(pad(&narrow(mlp.bias(layer)), outputs, width_out, 1, 0.0));
            table.shape[layer] = [word(width_in / 4), word(width_out), word(at / 4), word(bias / 4)];
        }
        (table, parameters, texture)
    }

    fn texture_width(&self) -> usize {
        let widths = self.widths();
        widths[..widths.len() - 1].iter().copied().max().unwrap_or(8)
    }

    /// One dispatch.
    fn launch(&self, constants: &Tableau, points: &[f32], stages: usize) -> Launch {
        let (table, parameters, texture) = self.network();
        let launch = Launch::new(self.variant(stages))
            .uniform(0, constants)
            .uniform(1, &table)
            .input(2, &parameters)
            .output(3, points);
        if self.cut.2 { launch.matrix(4, &texture, self.texture_width(), true) } else { launch }
    }

    /// Carries x [rows, dim] over the given runs of steps, one dispatch each.
    fn run(
        &self,
        report: &mut Report,
        solver: &Solver,
        x: &[f32],
        (t0, h): (f32, f32),
        runs: &[u32],
    ) -> Vec<f32> {
        let rows = x.len() / self.dim;
        let groups = word(rows.div_ceil(self.cut.0 * self.cut.1));
        let mut points = x.to_vec();
        let mut first_step = 0;
        for (i, &steps) in runs.iter().enumerate() {
            let constants = Tableau { t0, h, first_step, steps, rows: word(rows), ..Tableau::new(solver) };
            let launch = self.launch(&constants, &points, solver.stages());
            // Every other one on a folded grid with groups to spare.
            let grid = if i % 2 == 0 { [groups, 1, 1] } else { [groups.div_ceil(2), 3, 1] };
            points = launch.run(report, grid).get(3);
            first_step += steps;
        }
        points
    }
}

#[test]
fn particles_are_carried_as_the_twins() {
    let mut report = Report::new();
    for case in &CASES {
        let mlp = case.mlp();
        for solver in SOLVERS {
            for (t0, t1, steps) in [(0.0f32, 1.0f32, 8), (1.0, 0.0, 8), (0.25, 0.5, 3)] {
                let x = random(12, case.rows * case.dim);
                let h = (t1 - t0) / steps as f32;
                let name = format!(
                    "{} over {:?} {} from {t0} to {t1}",
                    solver.name,
                    mlp.widths,
                    case.activation.name()
                );
                let whole = case.run(&mut report, solver, &x, (t0, h), &[steps]);
                let velocity = |x: &[f64], t: f64| mlp.velocity(x, t, case.frequencies);
                let trajectory = integrate(
                    tableau(solver.name),
                    velocity,
                    &wide(&x),
                    (t0.into(), t1.into()),
                    steps as usize,
                );
                // A velocity is a sum of some 30 products of magnitude 1, off by at most 30·UNIT = 2·10⁻⁶ and by a
                // fifth of it as a rule, since roundings have either sign; so is its integral over unit time, which
                // such a flow stretches by less than e. The largest coordinates set the scale.
                let scale = trajectory[steps as usize].iter().fold(1.0f64, |scale, x| scale.max(x.abs()));
                report.near(&name, &whole, &trajectory[steps as usize], 1e-6 * scale);

                let split = case.run(&mut report, solver, &x, (t0, h), &[1, 0, steps - 1]);
                report.same_bits(&format!("{name}, in several dispatches"), &split, &whole);
            }
        }
    }
    report.finish();
}

/// A dispatch for fewer particles than there is room for leaves the others where they are.
#[test]
fn particles_beyond_the_rows_stay() {
    let mut report = Report::new();
    let case = &CASES[1];
    let x = random(12, 64 * case.dim);
    for rows in [1, 31, 32, 33, 63] {
        let constants = Tableau { h: 0.5, steps: 2, rows, ..Tableau::new(&SOLVERS[0]) };
        let launch = case.launch(&constants, &x, 1);
        let points: Vec<f32> = launch.run(&mut report, [2, 1, 1]).get(3);
        let moved = rows as usize * case.dim;
        report.same_bits(&format!("beyond {rows}"), &points[moved..], &x[moved..]);
        report.holds(points[..moved].iter().zip(&x).all(|(a, b)| a != b), || {
            format!("some of {rows} did not move")
        });
    }
    report.finish();
}

#[test]
fn stages_are_combined_as_the_formula_says() {
    let mut report = Report::new();
    for (i, (dim, frequencies)) in
        [(1usize, 0usize), (2, 0), (3, 2), (5, 1), (17, 0), (64, 3), (65, 0)].into_iter().enumerate()
    {
        let textures = i % 2 == 0;
        let (width_in, width_out) =
            ((dim + 1 + 2 * frequencies).next_multiple_of(8), dim.next_multiple_of(8));
        for rows in [1usize, 3, 64, 257] {
            for (terms, t, h) in
                [(0, 0.0f32, 0.25f32), (1, 0.3, 0.1), (3, 0.97, -0.05), (4, 1.0, 0.01), (8, 0.5, -1.0)]
            {
                let padded = rows.next_multiple_of(16);
                // The slopes of a stage end where they end; the next ones begin at a multiple of 256 bytes.
                let stride = (padded * width_out).next_multiple_of(64);
                let slopes: Vec<f32> = (0..8)
                    .flat_map(|j| {
                        pad(&random(20 + j, rows * dim), dim, width_out, stride / width_out, f32::NAN)
                    })
                    .collect();
                let coefficients: [f32; 8] = random(19, 8).try_into().expect("eight");
                let x = random(18, rows * dim);
                let constants = Stage {
                    t,
                    h,
                    terms,
                    rows: word(rows),
                    stride: word(stride / 4),
                    coefficients,
                    ..Stage::zeroed()
                };
                let variant = |update: bool| {
                    let variant = Variant::new("stage")
                        .with("DIM", word(dim))
                        .with("WIDTH_IN", word(width_in))
                        .with("WIDTH_OUT", word(width_out))
                        .with("LANES", 64)
                        .flag("UPDATE", update);
                    if update {
                        variant
                    } else {
                        variant.with("FREQUENCIES", word(frequencies)).flag("TEXTURES", textures)
                    }
                };
                let groups = word((rows * width_in / 4).div_ceil(64));
                let grid = [groups.div_ceil(2), 3, 1];
                let launch = |update| Launch::new(variant(update)).uniform(0, &constants).input(1, &slopes);
                let got: Vec<f32> = launch(false)
                    .input(2, &x)
                    .output_matrix(3, &vec![-7.0f32; padded * width_in], width_in, textures)
                    .run(&mut report, grid)
                    .get(3);
                let updated: Vec<f32> = launch(true).output(2, &x).run(&mut report, grid).get(2);

                let sum = |i: usize, f: fn(f64) -> f64| -> f64 {
                    let k = |j: usize| f64::from(slopes[j * stride + i / dim * width_out + i % dim]);
                    let terms =
                        (0..terms as usize).map(|j| f(f64::from(coefficients[j]) * k(j))).sum::<f64>();
                    f(x[i].into()) + f(h.into()) * terms
                };
                let want: Vec<f64> = (0..x.len()).map(|i| sum(i, |x| x)).collect();
                let allowed = |i: usize| (f64::from(terms) + 3.0) * UNIT * sum(i, f64::abs);
                let name = format!("{terms} terms, {rows} rows of dimension {dim}");
                report.close(&format!("{name}: update"), &updated, &want, allowed);

                let columns = dim + 1 + 2 * frequencies;
                let want = features(&want, &vec![t.into(); rows], dim, frequencies);
                report.close(
                    &format!("{name}: features"),
                    &unpad(&got, columns, width_in, rows),
                    &want,
                    |i| match (i % columns).checked_sub(dim) {
                        None => allowed(i / columns * dim + i % columns),
                        Some(0) => 0.0,
                        Some(_) => wave_error(frequencies),
                    },
                );
                let zeros = padding(&got, columns, width_in, rows);
                report.same_bits(&format!("{name}: padding"), &zeros, &vec![0.0; zeros.len()]);
                report.holds(got[rows * width_in..].iter().all(|&x| x == -7.0), || {
                    format!("{name}: rows beyond")
                });
            }
        }
    }
    report.finish();
}
