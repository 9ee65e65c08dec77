//! The fused integrator for another host of WebGPU: its source, and what its bindings hold.

use bytemuck::{bytes_of, cast_slice};

use super::fused::{self, Load};
use super::layout::Tableau;
use super::sampler::noise_variant;
use crate::flow::{Method, Solver};
use crate::gpu::Habits;
use crate::model::{Layout, Model, NetworkTable};
use crate::{Error, Result};

/// A model's integrator, as any implementation of WebGPU runs it within its default limits and without features.
///
/// Bindings of `integrator`, all in group 0: 0 `tableau` (uniform), 1 `table` (uniform), 2 `parameters`, 3 the states
/// [rows, d], which it updates; 5 of each step (h, noise, w0, w1) and of each of its stages (t, c, α, β):
/// [steps, 1 + stages, 4]; and 6 of a multistep method, 16·⌈d/4⌉ bytes a row. Of `noise`: 0 the struct
/// [`Noise`](super::Noise) (uniform), 1 the states.
#[derive(Clone, Debug, PartialEq)]
pub struct Portable {
    /// WGSL that fills the states with x0 ~ N(0, I): 64 invocations a workgroup, one for four columns of a row.
    pub noise: String,
    /// WGSL that makes the steps.
    pub integrator: String,
    /// Particles of a workgroup of `integrator`.
    pub particles: u32,
    /// [`Tableau`]; seed, rows, steps, first row and first step are left to the host.
    pub tableau: Vec<u8>,
    /// Where the layers lie among the parameters.
    pub table: Vec<u8>,
    /// The weights and biases, padded as the kernels want them.
    pub parameters: Vec<f32>,
    /// Where the biases of the first layer begin among them.
    pub bias: usize,
}

impl Portable {
    /// Composes a model's integrator, the variant that GPUs without subgroups are given.
    ///
    /// # Errors
    /// [`Error::Config`] for a solver that is adaptive or stochastic, a conditional model, or a network that does not
    /// fit the kernel.
    pub fn new(model: &Model, solver: &'static Solver) -> Result<Self> {
        if model.is_conditional() {
            return Err(Error::config(
                "a conditional model is followed under a condition",
                "take what Model::under, guided or unconditional gives",
            ));
        }
        if solver.is_adaptive() || solver.method == Method::Stochastic {
            return Err(Error::config(
                format!("a portable integrator makes fixed steps without noise, unlike {}", solver.name),
                "take a solver such as midpoint",
            ));
        }
        let layout = Layout::new(&model.architecture);
        let load = Load::new(&model.architecture, None);
        let tiles = fused::tiles(&Habits::HARDWARE, &wgpu::Limits::default(), &layout, solver, load);
        let (Some(tiles), Some(table)) = (tiles, NetworkTable::of(&layout)) else {
            return Err(Error::config(
                format!(
                    "the network is too large for the integrator of a browser: {} layers, of {} columns at the widest",
                    layout.layers.len(),
                    fused::widest(&layout)
                ),
                "export a model with --hidden of at most 224, in up to 32 layers",
            ));
        };
        let integrator =
            fused::fused_variant(&model.architecture, &layout, solver, None, tiles, false, false);
        Ok(Self {
            noise: noise_variant(model.architecture.dim, 0, false).source()?,
            integrator: integrator.source()?,
            particles: tiles.particles(),
            tableau: bytes_of(&Tableau::new(solver)).to_vec(),
            table: cast_slice(&[table]).to_vec(),
            parameters: model.packed(),
            bias: 4 * table.shape[0][3] as usize,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Activation, Architecture};
    use naga::valid::{Capabilities, ValidationFlags, Validator};

    fn model(dim: usize, hidden: &[usize]) -> Model {
        let architecture = Architecture {
            dim,
            hidden: hidden.to_vec(),
            activation: Activation::default(),
            time_frequencies: 3,
            condition_features: 0,
        };
        let weights = architecture.initialize(1);
        Model::new(architecture, weights)
    }

    #[test]
    fn kernels_need_no_features_and_fit_the_default_limits() {
        for (dim, hidden) in [(2, &[64, 64][..]), (2, &[8]), (32, &[128, 128]), (3, &[224; 4]), (1, &[])] {
            let model = model(dim, hidden);
            for name in ["euler", "midpoint", "heun", "rk4", "ab2"] {
                let portable = Portable::new(&model, Solver::named(name).unwrap()).unwrap();
                let layout = Layout::new(&model.architecture);
                assert_eq!(portable.tableau.len(), size_of::<Tableau>());
                assert_eq!(portable.parameters.len(), layout.len);
                let first = &layout.layers[0];
                let bias = &portable.parameters[portable.bias..portable.bias + first.outputs];
                assert_eq!(bias, model.weights[0].1, "{name}");
                for source in [&portable.noise, &portable.integrator] {
                    assert!(!source.lines().any(|line| line.trim_start().starts_with("enable ")), "{name}");
                    let module = naga::front::wgsl::parse_str(source).unwrap();
                    Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module).unwrap();
                    let mut layouter = naga::proc::Layouter::default();
                    layouter.update(module.to_ctx()).unwrap();
                    let bytes: u32 = (module.global_variables.iter())
                        .filter(|(_, variable)| variable.space == naga::AddressSpace::WorkGroup)
                        .map(|(_, variable)| layouter[variable.ty].size)
                        .sum();
                    assert!(bytes <= 16384, "{name} of {hidden:?}: {bytes} bytes of workgroup memory");
                    let lanes: u32 = module.entry_points[0].workgroup_size.iter().product();
                    assert!(lanes <= 256, "{name}: {lanes} invocations");
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_in_words() {
        let refused = |model: &Model, solver| {
            Portable::new(model, Solver::named(solver).unwrap()).unwrap_err().to_string()
        };
        assert!(refused(&model(2, &[512]), "euler").contains("512 columns"));
        assert!(refused(&model(2, &[8; 40]), "euler").contains("41 layers"));
        assert!(refused(&model(2, &[8]), "dopri5").contains("fixed steps"));
        assert!(refused(&model(2, &[8]), "euler-maruyama").contains("without noise"));
    }
}
