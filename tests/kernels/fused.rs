//! What the tests of the fused kernels have in common: networks, how they lie in memory, and what an evaluation gives.

use bytemuck::Zeroable;
use windfield::flow::Solver;
use windfield::gpu::Variant;
use windfield::model::NetworkTable;
use windfield::sample::Tableau;

use crate::common::{Launch, device, narrow, pad, wide, word};
use crate::reference::activation::Activation;
use crate::reference::divergence::{Probe, divergence, hutchinson_terms, probe};
use crate::reference::integrator::Transform;
use crate::reference::mlp::Mlp;

/// Lanes of a workgroup, particles of a lane, whether the weights are a texture: those of software drivers, then those
/// of GPUs.
pub type Cut = (usize, usize, bool);
pub const CUTS: [Cut; 8] = [
    (8, 4, true),
    (8, 3, true),
    (8, 2, false),
    (8, 1, true),
    (4, 1, true),
    (64, 1, false),
    (32, 1, false),
    (16, 1, false),
];

/// A network, how many particles it carries, how the kernel is cut.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub dim: usize,
    pub hidden: &'static [usize],
    pub frequencies: usize,
    pub activation: Activation,
    pub cut: Cut,
    pub rows: usize,
    /// Lanes along the outputs of a layer where all of them share the layers; 0: each goes through them by itself.
    pub across: usize,
    /// A workgroup is a subgroup, whose lanes read the weights from each other's registers, and layers are written out.
    pub subgroups: bool,
}

const fn case(
    dim: usize,
    hidden: &'static [usize],
    frequencies: usize,
    activation: Activation,
    cut: Cut,
    rows: usize,
) -> Case {
    Case { dim, hidden, frequencies, activation, cut, rows, across: 0, subgroups: false }
}

/// Of `across` lanes along the outputs, for that many particles of a workgroup.
const fn shared(across: usize, particles: usize, case: Case) -> Case {
    Case { cut: (across * particles / 8, 8 / across, case.cut.2), across, ..case }
}

/// Those whose lanes share the layers: widths within a lane's outputs and beyond, layers of a few outputs at every place,
/// broken workgroups, deep layers and shallow ones.
pub const SHARED_CASES: [Case; 6] = [
    shared(8, 64, case(2, &[64, 64], 0, Activation::Silu, CUTS[5], 130)),
    shared(8, 32, case(3, &[40, 17, 64], 1, Activation::Softplus, CUTS[5], 33)),
    shared(8, 64, case(17, &[9, 33], 2, Activation::Gelu, CUTS[0], 64)),
    shared(4, 64, case(2, &[24, 5, 32], 0, Activation::Relu, CUTS[5], 65)),
    shared(4, 32, case(9, &[1, 31], 0, Activation::Tanh, CUTS[5], 1)),
    shared(4, 32, case(20, &[], 1, Activation::Silu, CUTS[5], 77)),
];

/// Those within subgroups, as many lanes as the device has: one hidden layer to five, so that the last one has a partner
/// or none, all of one width or of several, with more features and outputs than lanes; broken workgroups. Where no
/// subgroups are used, as on SwiftShader, the same without them.
pub fn subgroup_cases() -> Vec<Case> {
    let subgroup = device().habits().subgroup;
    let lanes = subgroup.unwrap_or(8) as usize;
    let within = |rows, textures, case: Case| {
        let cut = (lanes, rows, textures);
        Case { cut, subgroups: subgroup.is_some(), ..case }
    };
    vec![
        within(3, true, case(2, &[32, 40], 0, Activation::Silu, CUTS[0], 77)),
        within(2, true, case(3, &[5, 17, 33], 2, Activation::Gelu, CUTS[0], 25)),
        within(1, false, case(37, &[20], 1, Activation::Softplus, CUTS[0], 19)),
        within(2, true, case(2, &[16; 4], 0, Activation::Tanh, CUTS[0], 33)),
        within(1, true, case(1, &[16, 9, 16, 3, 7], 0, Activation::Selu, CUTS[0], 20)),
        within(2, true, case(2, &[32; 3], 0, Activation::Silu, CUTS[0], 40)),
    ]
}

/// Dimensions, widths that are no multiples of a tile, one layer to many, every activation, every cut.
pub const CASES: [Case; 9] = [
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

/// How the divergence is found, and how many of its directions go through the network at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trace {
    /// None for the unit vectors.
    pub probe: Option<Probe>,
    /// How many probes; all unit vectors make one.
    pub accumulators: usize,
    pub tangents: usize,
}

impl Trace {
    pub fn directions(&self, dim: usize) -> usize {
        if self.probe.is_some() { self.accumulators } else { dim }
    }

    /// The file under shaders/shared/probe.
    pub fn part(&self) -> &'static str {
        match self.probe {
            None => "exact",
            Some(Probe::Rademacher) => "rademacher",
            Some(Probe::Gaussian) => "gaussian",
        }
    }
}

/// Where the random numbers of the first particle are.
pub const SEED: u64 = 0x0000_0003_8000_0001;
pub const FIRST_ROW: u32 = 1000;

#[allow(clippy::cast_possible_truncation, reason = "the two words of the seed")]
pub const fn seed_words() -> [u32; 2] {
    [SEED as u32, (SEED >> 32) as u32]
}

impl Case {
    pub fn mlp(&self) -> Mlp {
        let mut widths = vec![self.dim + 1 + 2 * self.frequencies];
        widths.extend(self.hidden);
        widths.push(self.dim);
        let mut mlp = Mlp::random(&widths, self.activation, 11);
        // To what the device holds.
        mlp.parameters.iter_mut().for_each(|tensor| *tensor = wide(&narrow(tensor)));
        mlp
    }

    pub fn name(&self) -> String {
        let shared = if self.across > 0 {
            ", shared"
        } else if self.subgroups {
            ", within subgroups"
        } else {
            ""
        };
        format!("{:?} {}{shared}", self.mlp().widths, self.activation.name())
    }

    pub fn widths(&self) -> Vec<usize> {
        self.mlp().widths.iter().map(|width| width.next_multiple_of(8)).collect()
    }

    /// Columns of a particle's state.
    pub fn state(&self, trace: Option<Trace>) -> usize {
        self.dim + trace.map_or(0, |trace| trace.accumulators)
    }

    /// The constants of shaders/shared/layers_unrolled.wgsl, for subgroups of so many lanes.
    pub fn unrolled(&self, variant: Variant, lanes: u32) -> Variant {
        let hidden = self.hidden.len();
        let width = self.hidden.iter().map(|width| width.next_multiple_of(8)).max().unwrap_or(0);
        let whole = width % lanes as usize == 0 && self.hidden.iter().all(|own| *own == width);
        variant
            .with("HIDDEN", word(hidden))
            .with("QUADS", word(width / 4))
            .flag("DEEP", hidden > 1)
            .flag("DEEPER", hidden > 2)
            .flag("SEVERAL", hidden > 3)
            .flag("ODD", hidden.is_multiple_of(2))
            .flag("WHOLE", whole)
    }

    /// The variant of a fused kernel; `kept` as in shaders/shared/fused.wgsl.
    pub fn variant(&self, kernel: &'static str, stages: usize, kept: usize, trace: Option<Trace>) -> Variant {
        let widths = self.widths();
        let variant = Variant::new(kernel)
            .with("DIM", word(self.dim))
            .with("FREQUENCIES", word(self.frequencies))
            .with("WIDTH_IN", word(widths[0]))
            .with("WIDTH_OUT", word(widths[widths.len() - 1]))
            .with("WIDTH", word(widths.iter().copied().max().unwrap_or(0)))
            .with("STAGES", word(stages))
            .with("KEPT", word(kept))
            .with("TILE_ROWS", word(self.cut.1))
            .with("LANES", word(self.cut.0))
            .part("ACTIVATION", self.activation.name())
            .flag("SUBGROUPS", self.subgroups)
            .flag("TEXTURES", self.cut.2);
        let variant = if self.across > 0 {
            variant.with("LANES_X", word(self.across)).flag("SHARED", true)
        } else if self.subgroups {
            self.unrolled(variant, word(self.cut.0))
        } else {
            variant
        };
        match trace {
            None => variant,
            Some(trace) => variant
                .with("EXTRA", word(trace.accumulators))
                .with("TANGENTS", word(trace.tangents))
                .with("PROBE_GROUPS", word(trace.directions(self.dim).div_ceil(trace.tangents)))
                .part("PROBE", trace.part())
                .flag("DIVERGENCE", true),
        }
    }

    /// Where each layer lies, all parameters, and the texture of all weights, as the model lays them out.
    pub fn network(&self) -> (NetworkTable, Vec<f32>, Vec<f32>) {
        let (mlp, widths) = (self.mlp(), self.widths());
        let mut table = NetworkTable { layers: word(mlp.layers()), ..NetworkTable::zeroed() };
        let (mut parameters, mut texture): (Vec<f32>, Vec<f32>) = (vec![], vec![]);
        let texture_width = self.texture_width();
        let (mut input, mut output) = (0, 0);
        for layer in 0..mlp.layers() {
            parameters.resize(parameters.len().next_multiple_of(64), 0.0);
            let at = parameters.len();
            let (inputs, outputs) = (mlp.widths[layer], mlp.widths[layer + 1]);
            let (width_in, width_out) = (widths[layer], widths[layer + 1]);
            let weight = pad(&narrow(mlp.weight(layer)), inputs, width_in, width_out, 0.0);
            table.outputs[layer] =
                [word(outputs), word(texture.len() / texture_width), word(input), word(output)];
            input += width_in / 4;
            output += width_out / 4;
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

    pub fn texture_width(&self) -> usize {
        let widths = self.widths();
        widths[..widths.len() - 1].iter().copied().max().unwrap_or(8)
    }

    /// A launch with the bindings that all fused kernels have.
    pub fn launch(&self, variant: Variant, constants: &Tableau, state: &[f32]) -> Launch {
        let (table, parameters, texture) = self.network();
        let launch = Launch::new(variant)
            .uniform(0, constants)
            .uniform(1, &table)
            .input(2, &parameters)
            .output(3, state);
        if self.cut.2 { launch.matrix(4, &texture, self.texture_width(), true) } else { launch }
    }

    /// Groups for that many particles; in every other dispatch on a folded grid with groups to spare.
    pub fn groups(&self, rows: usize, dispatch: usize) -> [u32; 3] {
        let groups = word(rows.div_ceil(self.cut.0 * self.cut.1));
        if dispatch.is_multiple_of(2) { [groups, 1, 1] } else { [groups.div_ceil(2), 3, 1] }
    }

    /// Particles whose accumulators are at zero.
    // x: [rows, dim]
    // out: [rows, state]
    pub fn with_accumulators(&self, x: &[f32], trace: Option<Trace>) -> Vec<f32> {
        pad(x, self.dim, self.state(trace), x.len() / self.dim, 0.0)
    }

    /// What the twin evaluates.
    pub fn field(&self, trace: Option<Trace>) -> Field {
        Field { case: *self, mlp: self.mlp(), trace }
    }
}

/// The velocity of a case's network, in float64.
pub struct Field {
    case: Case,
    mlp: Mlp,
    trace: Option<Trace>,
}

impl Field {
    /// What an evaluation of states [rows, state] gives: α·y + β·v(c·y, t), and its divergence in the accumulators.
    /// `first_row` is the address of the first one's probes.
    pub fn slopes(&self, state: &[f64], at: Transform, first_row: u32) -> Vec<f64> {
        let Case { dim, frequencies, .. } = self.case;
        let width = self.case.state(self.trace);
        let Transform { alpha, beta, scale, time } = at;
        let rows = state.len() / width;
        let y: Vec<f64> = state.chunks(width).flat_map(|row| &row[..dim]).copied().collect();
        let x: Vec<f64> = y.iter().map(|y| scale * y).collect();
        let v = self.mlp.velocity(&x, time, frequencies);
        let traces: Vec<Vec<f64>> = match self.trace {
            None => vec![],
            Some(Trace { probe: None, .. }) => vec![divergence(&self.mlp, &x, time, frequencies)],
            Some(Trace { probe: Some(kind), accumulators, .. }) => {
                let probes: Vec<Vec<f64>> = (0..word(accumulators))
                    .map(|k| {
                        (0..word(rows)).flat_map(|row| probe(kind, SEED, first_row + row, k, dim)).collect()
                    })
                    .collect();
                hutchinson_terms(&self.mlp, &x, time, frequencies, &probes)
            }
        };
        let mut out = vec![];
        for row in 0..rows {
            out.extend((row * dim..(row + 1) * dim).map(|i| alpha * y[i] + beta * v[i]));
            // the divergence of α·y is α·d
            out.extend(traces.iter().map(|trace| alpha * dim as f64 + beta * scale * trace[row]));
        }
        out
    }
}

/// The model's own velocity at a time.
pub fn plainly(time: f64) -> Transform {
    Transform { alpha: 0.0, beta: 1.0, scale: 1.0, time }
}

/// A solver's constants for particles whose random numbers begin at [`FIRST_ROW`].
pub fn constants(solver: &Solver, rows: usize) -> Tableau {
    Tableau { seed: seed_words(), first_row: FIRST_ROW, rows: word(rows), ..Tableau::new(solver) }
}

/// The largest coordinate, or 1.
pub fn magnitude(x: &[f64]) -> f64 {
    x.iter().fold(1.0f64, |scale, x| scale.max(x.abs()))
}
