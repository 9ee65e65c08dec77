//! `windfield devices`: what there is to run on.

use serde::Serialize;
use windfield::gpu::Adapters;

use super::{Context, terminal};

/// List the adapters, and which one is the default
///
/// --adapter INDEX|NAME chooses among them. WGPU_BACKEND (vulkan, metal, dx12, gl) says which backends to ask (GL is
/// asked only this way, or if the others find nothing), WGPU_ADAPTER_NAME changes the default.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// What `--json` prints.
#[derive(Serialize)]
struct List {
    schema: u32,
    /// The index of the one that is used where --adapter does not say otherwise.
    default: usize,
    adapters: Vec<Item>,
}

#[derive(Serialize)]
struct Item {
    index: usize,
    name: String,
    backend: String,
    kind: String,
    driver: String,
    features: Features,
    limits: Limits,
}

#[allow(clippy::struct_excessive_bools, reason = "each is there or not")]
#[derive(Serialize)]
struct Features {
    subgroups: bool,
    f16: bool,
    timestamps: bool,
    pipeline_cache: bool,
    cooperative_matrix: bool,
}

#[allow(clippy::struct_field_names, reason = "the names that WebGPU gives them")]
#[derive(Serialize)]
struct Limits {
    max_buffer_size: u64,
    max_storage_buffer_binding_size: u64,
    max_compute_workgroup_storage_size: u32,
    max_compute_invocations_per_workgroup: u32,
    max_compute_workgroups_per_dimension: u32,
    max_storage_buffers_per_shader_stage: u32,
}

pub fn run(_: &Args, context: &Context) -> anyhow::Result<()> {
    let adapters = Adapters::find();
    let default = adapters.position(&context.adapter())?;
    let list = List { schema: 1, default, adapters: adapters.iter().enumerate().map(item).collect() };
    if context.wants_json() {
        return context.object(&list);
    }
    terminal::print(&table(&list))
}

fn item((index, adapter): (usize, &wgpu::Adapter)) -> Item {
    let (info, features, limits) = (adapter.get_info(), adapter.features(), adapter.limits());
    Item {
        index,
        name: info.name,
        backend: info.backend.to_string(),
        kind: match info.device_type {
            wgpu::DeviceType::DiscreteGpu => "discrete GPU",
            wgpu::DeviceType::IntegratedGpu => "integrated GPU",
            wgpu::DeviceType::VirtualGpu => "virtual GPU",
            wgpu::DeviceType::Cpu => "software",
            wgpu::DeviceType::Other => "other",
        }
        .to_owned(),
        driver: [info.driver.as_str(), info.driver_info.as_str()].join(" ").trim().to_owned(),
        features: Features {
            subgroups: features.contains(wgpu::Features::SUBGROUP),
            f16: features.contains(wgpu::Features::SHADER_F16),
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            pipeline_cache: features.contains(wgpu::Features::PIPELINE_CACHE),
            cooperative_matrix: features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX),
        },
        limits: Limits {
            max_buffer_size: limits.max_buffer_size,
            max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
            max_compute_workgroup_storage_size: limits.max_compute_workgroup_storage_size,
            max_compute_invocations_per_workgroup: limits.max_compute_invocations_per_workgroup,
            max_compute_workgroups_per_dimension: limits.max_compute_workgroups_per_dimension,
            max_storage_buffers_per_shader_stage: limits.max_storage_buffers_per_shader_stage,
        },
    }
}

fn table(list: &List) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for item in &list.adapters {
        let default = if item.index == list.default { "  (default)" } else { "" };
        let features = &item.features;
        let names = [
            ("subgroups", features.subgroups),
            ("f16", features.f16),
            ("timestamps", features.timestamps),
            ("pipeline cache", features.pipeline_cache),
            ("cooperative matrix", features.cooperative_matrix),
        ];
        let names: Vec<&str> = names.iter().filter(|entry| entry.1).map(|entry| entry.0).collect();
        let names = if names.is_empty() { "none of interest".to_owned() } else { names.join(", ") };
        let limits = &item.limits;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}: {}{default}", item.index, item.name);
        let _ = writeln!(text, "   {} by {}, {}", item.kind, item.backend, item.driver);
        let _ = writeln!(text, "   features  {names}");
        let _ = writeln!(
            text,
            "   limits    buffer {}, storage binding {}, workgroup memory {}, {} invocations a workgroup, {} workgroups a dimension",
            bytes(limits.max_buffer_size),
            bytes(limits.max_storage_buffer_binding_size),
            bytes(limits.max_compute_workgroup_storage_size.into()),
            limits.max_compute_invocations_per_workgroup,
            limits.max_compute_workgroups_per_dimension,
        );
    }
    text
}

/// Bytes in the largest unit that leaves at least one.
fn bytes(number: u64) -> String {
    let units = [("PiB", 50), ("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.into_iter().find(|(_, shift)| number >> shift > 0);
    unit.map_or_else(
        || format!("{number} B"),
        |(unit, shift)| {
            let tenths = (u128::from(number) * 10) >> shift;
            if tenths % 10 == 0 {
                format!("{} {unit}", tenths / 10)
            } else {
                format!("{}.{} {unit}", tenths / 10, tenths % 10)
            }
        },
    )
}
