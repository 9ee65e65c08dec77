//! The kernels as text, for other compilers to judge: a catalogue of their variants, and naga's translations.
//!
//! The variants come out of the very functions with which training and sampling build theirs, for shapes that
//! include 1, primes, and sizes that are no multiple of any tile. No device is needed.

use std::collections::BTreeMap;

use naga::back::{glsl, hlsl, msl, spv, wgsl};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

use crate::flow::{
    Divergence, Path, ProbeDistribution, SOLVERS, Solver, assignment_variants, marginal_variants,
    sinkhorn_variants,
};
use crate::gpu::{Habits, Matrices, Variant};
use crate::measure::bench::peak_variants;
use crate::measure::evaluate::pairs_variants;
use crate::model::{
    ACTIVATIONS, Activation, Architecture, Layout, TILES, backward_input_variant, backward_weight_variant,
    forward_variant, tangent_variant,
};
use crate::render::{lic_variant, splat_variant};
use crate::sample::{
    Load, StageKind, combine_variant, control_variant, fused_variant, noise_variant, probe_variant,
    stage_variant, tiles, trace_variant,
};
use crate::train::{
    FusedTile, Pairs, adamw_variant, draw_variant, endpoints_variant, fused_gradient_variant, gather_variant,
    loss_variant, reduce_variant, step_variant,
};
use crate::{Error, Result};

/// The dimensions of the catalogue.
const DIMS: [usize; 4] = [1, 2, 3, 64];
/// The widths of its hidden layers.
const WIDTHS: [usize; 5] = [1, 17, 64, 100, 256];

/// Every kernel in every variant, at a choice of shapes.
#[must_use]
pub fn catalogue() -> Vec<Variant> {
    let mut variants: BTreeMap<String, Variant> = BTreeMap::new();
    let mut add = |variant: Variant| {
        variants.entry(variant.label()).or_insert(variant);
    };
    let silu = Activation::default();
    for (place, dim) in DIMS.into_iter().enumerate() {
        // Each dimension meets another first and last width; the pairs in between are the same for all.
        let mut hidden = WIDTHS.to_vec();
        hidden.rotate_left(place);
        for time_frequencies in [0, 3] {
            let architecture = Architecture {
                dim,
                hidden: hidden.clone(),
                activation: silu,
                time_frequencies,
                condition_features: 0,
            };
            let layout = Layout::new(&architecture);
            for habits in HABITS {
                training(&architecture, &layout, &habits, &mut add);
                if habits.software && time_frequencies == 0 {
                    products(&architecture, &layout, &habits, &mut add);
                }
            }
            if time_frequencies == 0 {
                tiled(&architecture, &layout, place, &mut add);
            }
            fused_gradients(dim, time_frequencies, silu, &mut add);
        }
        for source in [false, true] {
            add(noise_variant(dim, 0, source));
        }
        add(noise_variant(dim, 1, false));
        for habits in HABITS {
            marginal_variants(&habits, dim).into_iter().for_each(&mut add);
            pairs_variants(&habits, dim).into_iter().for_each(&mut add);
            // With its costs made on the way, and with a matrix of them.
            if matches!(dim, 2 | 64) {
                for points in [17, 512] {
                    assignment_variants(&habits, points, dim).into_iter().for_each(&mut add);
                    sinkhorn_variants(&habits, points, dim).into_iter().for_each(&mut add);
                }
            }
        }
        for width in WIDTHS {
            let architecture = Architecture {
                dim,
                hidden: vec![width; 2],
                activation: silu,
                time_frequencies: 0,
                condition_features: 0,
            };
            // Everything at one width of every dimension; the widths change nothing but sizes.
            if width == 17 {
                integrators(&architecture, SOLVERS, &DIVERGENCES, &mut add);
            } else {
                integrators(&architecture, &SOLVERS[..4], &DIVERGENCES[..1], &mut add);
            }
        }
    }
    for (name, ..) in ACTIVATIONS {
        let Ok(activation) = name.parse() else { continue };
        let architecture =
            Architecture { dim: 2, hidden: vec![17], activation, time_frequencies: 3, condition_features: 0 };
        let layout = Layout::new(&architecture);
        for habits in HABITS {
            for training in [false, true] {
                let textures = habits.matrices == Matrices::Textures;
                let textures = (textures, textures);
                add(forward_variant(&habits, &layout.layers[0], name, training, textures));
            }
        }
        for training in [false, true] {
            add(TILES[3].forward(&layout.layers[0], name, training));
        }
        integrators(&architecture, &SOLVERS[3..4], &DIVERGENCES[..2], &mut add);
    }
    let architecture = Architecture {
        dim: 3,
        hidden: vec![17],
        activation: silu,
        time_frequencies: 3,
        condition_features: 0,
    };
    let noisy = Path::default().with_noise(0.1).into_iter();
    for path in Path::examples().into_iter().chain(noisy) {
        add(path.bake(Variant::new("path")));
        add(draw_variant(&architecture, &path, Pairs::default(), false, false));
    }
    let told = Architecture { condition_features: 12, ..architecture };
    let labels = Pairs { labels: 2, dropout: 1 << 20, ..Pairs::default() };
    for pairs in [labels, Pairs { coupled: true, source: true, gathered: true, ..labels }] {
        for (textures, export) in [(true, false), (false, false), (false, true)] {
            add(draw_variant(&told, &Path::default(), pairs, textures, export));
        }
    }
    add(Variant::new("known_answers"));
    add(lic_variant());
    add(splat_variant());
    for habits in HABITS {
        peak_variants(&habits).into_iter().for_each(&mut add);
    }
    variants.into_values().collect()
}

/// A step's gradient in one dispatch, for narrow networks: with subgroups of the sizes that it knows, and without.
fn fused_gradients(
    dim: usize,
    time_frequencies: usize,
    activation: Activation,
    add: &mut impl FnMut(Variant),
) {
    // One network for each dimension; their sizes are all that differs.
    let hidden: &[usize] = if dim == 3 { &[17] } else { &[64, 64, 64] };
    let architecture =
        Architecture { dim, hidden: hidden.to_vec(), activation, time_frequencies, condition_features: 0 };
    let layout = Layout::new(&architecture);
    // As wide as the layers are without.
    let told = Architecture { condition_features: 3, ..architecture.clone() };
    for habits in HABITS {
        for subgroup in if habits.software { &SUBGROUPS[..] } else { &SUBGROUPS[..1] } {
            let habits = Habits { subgroup: *subgroup, ..habits };
            // What every WebGPU device offers, so that every compiler can take it.
            let limits = wgpu::Limits::default();
            let (path, textures) = (Path::default(), habits.matrices == Matrices::Textures);
            // The slices of the larger batch do not fit a texture.
            for batch in [256, 1 << 30] {
                let Some(tile) = FusedTile::of(&habits, &limits, &architecture, &layout, batch) else {
                    continue;
                };
                let mut pairs = vec![Pairs::default()];
                if dim == 3 && time_frequencies > 0 {
                    pairs.extend([
                        Pairs { coupled: true, source: true, ..Pairs::default() },
                        Pairs { coupled: true, source: true, gathered: true, ..Pairs::default() },
                        Pairs { source: true, paired: true, ..Pairs::default() },
                        Pairs { gathered: true, ..Pairs::default() },
                    ]);
                }
                for pairs in pairs {
                    add(fused_gradient_variant(&architecture, &layout, &path, tile, batch, pairs, textures));
                }
                if dim == 3 {
                    let pairs = Pairs { labels: 2, dropout: 1 << 20, ..Pairs::default() };
                    add(fused_gradient_variant(&told, &layout, &path, tile, batch, pairs, textures));
                }
            }
        }
    }
}

/// What is known of subgroups.
const SUBGROUPS: [Option<u32>; 3] = [None, Some(8), Some(16)];

/// The ways in which work is laid out.
const HABITS: [Habits; 2] = [Habits::SOFTWARE, Habits::HARDWARE];

/// The kernels of a training step and of the layered integrator.
fn training(architecture: &Architecture, layout: &Layout, habits: &Habits, add: &mut impl FnMut(Variant)) {
    let textures = habits.matrices == Matrices::Textures;
    for source in [false, true] {
        add(gather_variant(architecture.dim, source));
        if source {
            let pairs = Pairs { source, paired: true, ..Pairs::default() };
            add(draw_variant(architecture, &Path::default(), pairs, textures, false));
        }
        for gathered in [false, true] {
            for told in [(0, 0), (12, 2)] {
                add(endpoints_variant(architecture.dim, source, gathered, told));
            }
            for coupled in [false, true] {
                let pairs = Pairs { coupled, source, gathered, ..Pairs::default() };
                add(draw_variant(architecture, &Path::default(), pairs, textures, false));
                add(draw_variant(architecture, &Path::default(), pairs, false, true));
            }
        }
    }
    layers(architecture, layout, habits, add);
    let last = layout.layers.len() - 1;
    add(loss_variant(layout.layers[last].width_out, textures));
    add(reduce_variant(layout, habits.slices as usize));
    for slices in [None, textures.then_some(2)] {
        add(step_variant(layout, slices));
    }
    for average in [None, Some(false), Some(textures)] {
        for slices in [None, textures.then_some(1), textures.then_some(2)] {
            add(adamw_variant(layout, textures, slices, average));
        }
    }
    // Derivatives where the time has no frequencies, and none where it has.
    let divergences = if architecture.time_frequencies == 0 { &DIVERGENCES[..] } else { &DIVERGENCES[..1] };
    layered(architecture, layout, habits, divergences, add);
}

/// The kernels of layers that have their tiles in registers.
fn layers(architecture: &Architecture, layout: &Layout, habits: &Habits, add: &mut impl FnMut(Variant)) {
    let textures = habits.matrices == Matrices::Textures;
    let last = layout.layers.len() - 1;
    for (place, layer) in layout.layers.iter().enumerate() {
        if place < last {
            let name = architecture.activation.name();
            add(forward_variant(habits, layer, name, true, (textures, textures)));
            add(forward_variant(habits, layer, name, false, (textures, textures)));
        } else {
            add(forward_variant(habits, layer, "identity", false, (textures, false)));
        }
        if place > 0 {
            add(backward_input_variant(habits, layer, textures));
        }
        for accumulate in [false, true] {
            for squares in [false, true] {
                add(backward_weight_variant(habits, layer, accumulate, textures, squares));
            }
        }
    }
}

/// The same within subgroups, and what goes forward through a layer without a gradient.
fn products(architecture: &Architecture, layout: &Layout, habits: &Habits, add: &mut impl FnMut(Variant)) {
    let textures = habits.matrices == Matrices::Textures;
    for subgroup in &SUBGROUPS[1..] {
        let habits = Habits { subgroup: *subgroup, ..*habits };
        layers(architecture, layout, &habits, add);
        for (place, layer) in layout.layers.iter().enumerate() {
            let last = place + 1 == layout.layers.len();
            add(tangent_variant(&habits, layer, last, (textures, textures && !last)));
        }
    }
}

/// The kernels of layers that have their tiles in the workgroup's memory: each shape of tiles at every other layer.
fn tiled(architecture: &Architecture, layout: &Layout, first: usize, add: &mut impl FnMut(Variant)) {
    let last = layout.layers.len() - 1;
    for (place, layer) in layout.layers.iter().enumerate() {
        let tile = TILES[(first + place) % TILES.len()];
        let activation = if place < last { architecture.activation.name() } else { "identity" };
        add(tile.forward(layer, activation, false));
        add(tile.tangent(layer, place == last));
        if place < last {
            add(tile.forward(layer, activation, true));
        }
        if place > 0 {
            add(tile.backward_input(layer));
        }
        for accumulate in [false, true] {
            add(tile.backward_weight(layer, accumulate));
        }
    }
}

/// The ways in which a divergence is found, and none.
const DIVERGENCES: [Option<Divergence>; 4] = [
    None,
    Some(Divergence::Exact),
    Some(Divergence::Hutchinson { probes: 2, distribution: ProbeDistribution::Rademacher }),
    Some(Divergence::Hutchinson { probes: 5, distribution: ProbeDistribution::Gaussian }),
];

/// What the layered integrator has beside the network's forward pass.
fn layered(
    architecture: &Architecture,
    layout: &Layout,
    habits: &Habits,
    divergences: &[Option<Divergence>],
    add: &mut impl FnMut(Variant),
) {
    let (textures, dim) = (habits.matrices == Matrices::Textures, architecture.dim);
    let last = layout.layers.len() - 1;
    for divergence in divergences.iter().copied() {
        let extra = Load::new(architecture, divergence).extra;
        for kind in
            [StageKind::Features, StageKind::AdaptiveFeatures, StageKind::Update, StageKind::NoisyUpdate]
        {
            add(stage_variant(architecture, layout, extra, kind, textures));
        }
        add(combine_variant(layout, dim, extra));
        for solver in SOLVERS.iter().filter(|solver| solver.is_adaptive()) {
            for (begin, trajectory) in [(true, false), (false, false), (false, true)] {
                add(control_variant(dim, extra, solver, begin, trajectory));
            }
        }
        if let Some(divergence) = divergence {
            add(probe_variant(layout, dim, divergence, 2, textures));
            add(trace_variant(layout, dim, divergence, 2));
        }
    }
    for (place, layer) in layout.layers.iter().enumerate() {
        add(tangent_variant(habits, layer, place == last, (textures, textures && place < last)));
    }
}

/// The fused integrators, as far as the network is narrow enough for them.
fn integrators(
    architecture: &Architecture,
    solvers: &'static [Solver],
    divergences: &[Option<Divergence>],
    add: &mut impl FnMut(Variant),
) {
    let layout = Layout::new(architecture);
    let within = SUBGROUPS[1..].iter().map(|subgroup| match subgroup {
        Some(16) => Habits { subgroup: *subgroup, ..Habits::SOFTWARE_WIDE },
        _ => Habits { subgroup: *subgroup, ..Habits::SOFTWARE },
    });
    for habits in HABITS.into_iter().chain(within) {
        for solver in solvers {
            for divergence in divergences.iter().copied() {
                // With a divergence, one solver of each kind of step.
                if divergence.is_some() && matches!(solver.name, "euler" | "midpoint" | "euler-maruyama") {
                    continue;
                }
                let load = Load::new(architecture, divergence);
                // What every WebGPU device offers, so that every compiler can take it.
                let limits = wgpu::Limits::default();
                let Some(tiles) = tiles(&habits, &limits, &layout, solver, load) else { continue };
                for trajectory in [false, true] {
                    if trajectory <= solver.is_adaptive() {
                        let textures = habits.matrices == Matrices::Textures;
                        add(fused_variant(
                            architecture,
                            &layout,
                            solver,
                            divergence,
                            tiles,
                            textures,
                            trajectory,
                        ));
                    }
                }
            }
        }
    }
}

/// A language to translate to.
#[derive(Debug)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// What its files end in.
    pub extension: &'static str,
    /// What it is.
    pub help: &'static str,
    write: fn(&naga::Module, &ModuleInfo) -> Result<Vec<u8>, String>,
}

/// All targets.
pub static TARGETS: &[Target] = &[
    Target { name: "wgsl", extension: "wgsl", help: "WGSL", write: to_wgsl },
    Target { name: "spirv", extension: "spv", help: "SPIR-V 1.3, as of Vulkan 1.1", write: to_spirv },
    Target { name: "hlsl", extension: "hlsl", help: "HLSL, shader model 5.1, for DX12", write: to_hlsl },
    Target { name: "msl", extension: "metal", help: "Metal Shading Language 2.0", write: to_msl },
    Target { name: "glsl", extension: "comp.glsl", help: "GLSL ES 3.10", write: to_glsl },
];

impl Target {
    /// The target of that name.
    ///
    /// # Errors
    /// [`Error::Config`] for an unknown one, naming those that there are.
    pub fn named(name: &str) -> Result<&'static Self> {
        TARGETS.iter().find(|target| target.name == name).ok_or_else(|| {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            Error::config(format!("no target is called `{name}`"), format!("there are {}", names.join(", ")))
        })
    }

    /// The kernel in this language, after naga has validated it as core WebGPU: no extension is used but subgroups, by
    /// the variants that say so, and textures of four `f32` that are both read and written (`texture-formats-tier2`), by
    /// the kernels of software drivers that go over long lists. Those are none for OpenGL ES: they come as OpenGL 4.3.
    ///
    /// # Errors
    /// [`Error::Device`] if it is not valid, or cannot be translated.
    pub fn translate(&self, variant: &Variant) -> Result<Vec<u8>> {
        let source = variant.source()?;
        let refuse = |reason: String| Error::Device {
            what: format!("the kernel {}", variant.label()),
            reason: reason.split_whitespace().collect::<Vec<_>>().join(" "),
        };
        let module =
            naga::front::wgsl::parse_str(&source).map_err(|error| refuse(error.emit_to_string(&source)))?;
        let capabilities =
            if variant.has("SUBGROUPS") { Capabilities::SUBGROUP } else { Capabilities::empty() };
        let info = Validator::new(ValidationFlags::all(), capabilities)
            .validate(&module)
            .map_err(|error| refuse(error.emit_to_string(&source)))?;
        (self.write)(&module, &info).map_err(|reason| refuse(format!("as {}: {reason}", self.name)))
    }
}

/// As on the device, where the kernels run without bounds checks.
const UNCHECKED: BoundsCheckPolicies = BoundsCheckPolicies {
    index: BoundsCheckPolicy::Unchecked,
    buffer: BoundsCheckPolicy::Unchecked,
    image_load: BoundsCheckPolicy::Unchecked,
    binding_array: BoundsCheckPolicy::Unchecked,
};

fn to_wgsl(module: &naga::Module, info: &ModuleInfo) -> Result<Vec<u8>, String> {
    wgsl::write_string(module, info, wgsl::WriterFlags::empty())
        .map(String::into_bytes)
        .map_err(|error| error.to_string())
}

fn to_spirv(module: &naga::Module, info: &ModuleInfo) -> Result<Vec<u8>, String> {
    let options = spv::Options {
        lang_version: (1, 3),
        flags: spv::WriterFlags::DEBUG,
        bounds_check_policies: UNCHECKED,
        force_loop_bounding: false,
        ..spv::Options::default()
    };
    let words = spv::write_vec(module, info, &options, None).map_err(|error| error.to_string())?;
    Ok(words.into_iter().flat_map(u32::to_le_bytes).collect())
}

fn to_hlsl(module: &naga::Module, info: &ModuleInfo) -> Result<Vec<u8>, String> {
    let options = hlsl::Options {
        shader_model: hlsl::ShaderModel::V5_1,
        restrict_indexing: false,
        force_loop_bounding: false,
        ..hlsl::Options::default()
    };
    let mut text = String::new();
    hlsl::Writer::new(&mut text, &options, &hlsl::PipelineOptions { entry_point: None })
        .write(module, info, None)
        .map_err(|error| error.to_string())?;
    Ok(text.into_bytes())
}

fn to_msl(module: &naga::Module, info: &ModuleInfo) -> Result<Vec<u8>, String> {
    let options = msl::Options {
        lang_version: (2, 0),
        bounds_check_policies: UNCHECKED,
        force_loop_bounding: false,
        // The numbers of Metal's slots are given when a pipeline is made.
        fake_missing_bindings: true,
        ..msl::Options::default()
    };
    msl::write_string(module, info, &options, &msl::PipelineOptions::default())
        .map(|(text, _)| text.into_bytes())
        .map_err(|error| error.to_string())
}

fn to_glsl(module: &naga::Module, info: &ModuleInfo) -> Result<Vec<u8>, String> {
    let updates = |variable: &naga::GlobalVariable| match module.types[variable.ty].inner {
        naga::TypeInner::Image { class: naga::ImageClass::Storage { access, .. }, .. } => {
            access.contains(naga::StorageAccess::LOAD | naga::StorageAccess::STORE)
        }
        _ => false,
    };
    let desktop = module.global_variables.iter().any(|(_, variable)| updates(variable));
    let options = glsl::Options {
        version: if desktop { glsl::Version::Desktop(430) } else { glsl::Version::new_gles(310) },
        writer_flags: glsl::WriterFlags::empty(),
        ..glsl::Options::default()
    };
    let pipeline = glsl::PipelineOptions {
        shader_stage: naga::ShaderStage::Compute,
        entry_point: "main".to_owned(),
        multiview: None,
    };
    let mut text = String::new();
    glsl::Writer::new(&mut text, module, info, &options, &pipeline, UNCHECKED)
        .and_then(|mut writer| writer.write())
        .map_err(|error| error.to_string())?;
    Ok(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_file_is_in_the_catalogue_and_every_variant_is_translated() {
        let catalogue = catalogue();
        let names: BTreeSet<&str> = catalogue.iter().map(|variant| variant.kernel).collect();
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders")).unwrap();
        for file in files {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "wgsl") {
                let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                assert!(names.contains(name.as_str()), "{name} is not in the catalogue");
            }
        }
        for variant in &catalogue {
            let name = variant.label();
            assert!(name.len() <= 220, "{name} is long for a file");
            for target in TARGETS {
                let text = target.translate(variant).unwrap();
                assert!(text.len() > 100, "{name} as {}", target.name);
            }
        }
    }
}
