//! The fused integrator for another host of WebGPU: its source, and what its bindings hold.

use bytemuck::{bytes_of, cast_slice};

use super::fused::{self, Load};
use super::layout::Tableau;
use super::sampler::{SampleOptions, noise_variant};
use crate::gpu::Habits;
use crate::model::{Layout, Model, NetworkTable};
use crate::{Error, Result};

/// A model's integrator, as any implementation of WebGPU runs it within its default limits and without features.
///
/// Bindings of `integrator`, all in group 0: 0 `tableau` (uniform), 1 `table` (uniform), 2 `parameters`, 3 the states
/// [rows, d], which it updates, 5 `timetable`; and 6 of a multistep method, 16·⌈d/4⌉ bytes a row. Of `noise`: 0 the
/// struct [`Noise`](super::Noise) (uniform), 1 the states.
#[derive(Clone, Debug, PartialEq)]
pub struct Portable {
    /// WGSL that fills the states with x0 ~ N(0, I): 64 invocations a workgroup, one for four columns of a row.
    pub noise: String,
    /// WGSL that makes the steps.
    pub integrator: String,
    /// Particles of a workgroup of `integrator`.
    pub particles: u32,
    /// [`Tableau`] with the seed and the number of steps; rows, first row and first step are left to the host.
    pub tableau: Vec<u8>,
    /// Where the layers lie among the parameters.
    pub table: Vec<u8>,
    /// The weights and biases, padded as the kernels want them.
    pub parameters: Vec<f32>,
    /// Of each step (h, noise, w0, w1) and of each of its stages (t, c, α, β): [steps, 1 + stages, 4].
    pub timetable: Vec<f32>,
}

impl Portable {
    /// Composes a model's integrator, the variant that GPUs without subgroups are given.
    ///
    /// # Errors
    /// [`Error::Config`] for a setting out of its range, an adaptive solver, a divergence, a conditional model, or a
    /// network that does not fit the kernel.
    pub fn new(model: &Model, options: SampleOptions) -> Result<Self> {
        options.validate()?;
        if model.is_conditional() {
            return Err(Error::config(
                "a conditional model is followed under a condition",
                "take what Model::under, guided or unconditional gives",
            ));
        }
        if options.solver.is_adaptive() || options.divergence.is_some() {
            return Err(Error::config(
                "a portable integrator makes fixed steps and finds no divergence",
                "take a solver such as midpoint, and no divergence",
            ));
        }
        let options = options.resolved();
        let layout = Layout::new(&model.architecture);
        let load = Load::new(&model.architecture, None);
        let (habits, widest) = (&Habits::HARDWARE, fused::widest(&layout));
        let fitting = (widest <= habits.fused_width)
            .then(|| fused::tiles(habits, &wgpu::Limits::default(), &layout, options.solver, load));
        let (Some(tiles), Some(table)) = (fitting.flatten(), NetworkTable::of(&layout)) else {
            return Err(Error::config(
                format!(
                    "the network is too large for a portable integrator: its widest layer has {widest} columns"
                ),
                format!(
                    "it takes up to {} columns, the features of a point included, and few layers",
                    habits.fused_width
                ),
            ));
        };
        let integrator =
            fused::fused_variant(&model.architecture, &layout, options.solver, None, tiles, false, false);
        let steps = options.timetable(&model.path);
        let mut timetable = Vec::new();
        for index in 0..options.steps {
            let step = steps.step(index);
            timetable.extend([step.h, step.noise, step.weights[0], step.weights[1]]);
            timetable.extend(step.stages.iter().flatten());
        }
        #[allow(clippy::cast_possible_truncation, reason = "the low and the high word")]
        let seed = [options.seed as u32, (options.seed >> 32) as u32];
        let tableau = Tableau { seed, steps: options.steps, ..Tableau::new(options.solver) };
        Ok(Self {
            noise: noise_variant(model.architecture.dim, 0, false).source()?,
            integrator: integrator.source()?,
            particles: tiles.particles(),
            tableau: bytes_of(&tableau).to_vec(),
            table: cast_slice(&[table]).to_vec(),
            parameters: model.packed(),
            timetable,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Dataset;
    use crate::flow::Solver;
    use crate::gpu::{Device, DeviceOptions};
    use crate::train::{TrainOptions, Trainer};
    use naga::valid::{Capabilities, ValidationFlags, Validator};

    fn model(hidden: Vec<usize>) -> Model {
        let device = Device::open(&DeviceOptions::default()).unwrap();
        let options = TrainOptions { steps: 0, hidden, ..TrainOptions::default() };
        Trainer::new(&device, &Dataset::open("moons:100").unwrap(), None, options).unwrap().model().unwrap()
    }

    #[test]
    fn kernels_need_no_features_and_fit_the_default_limits() {
        let model = model(vec![64, 64]);
        for name in ["euler", "midpoint", "rk4"] {
            let options =
                SampleOptions { solver: Solver::named(name).unwrap(), steps: 7, ..Default::default() };
            let stages = options.solver.stages();
            let portable = Portable::new(&model, options).unwrap();
            assert_eq!(portable.timetable.len(), 7 * (1 + stages) * 4, "{name}");
            let length: f32 = portable.timetable.chunks(4 * (1 + stages)).map(|step| step[0]).sum();
            assert!((length - 1.0).abs() < 1e-5, "{name}: the steps are {length} together");
            assert_eq!(portable.tableau.len(), size_of::<Tableau>());
            assert_eq!(portable.parameters.len(), Layout::new(&model.architecture).len);
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
                assert!(bytes <= 16384, "{name}: {bytes} bytes of workgroup memory");
                let lanes: u32 = module.entry_points[0].workgroup_size.iter().product();
                assert!(lanes <= 256, "{name}: {lanes} invocations");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_in_words() {
        let wide = Portable::new(&model(vec![128]), SampleOptions::default()).unwrap_err().to_string();
        assert!(wide.contains("128 columns"), "{wide}");
        let solver = Solver::named("dopri5").unwrap();
        let adaptive = Portable::new(&model(vec![8]), SampleOptions { solver, ..Default::default() });
        assert!(adaptive.unwrap_err().to_string().contains("fixed steps"));
    }
}
