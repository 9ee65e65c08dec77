//! `windfield devices`: what there is to run on.

use std::path::{Path, PathBuf};

use serde::Serialize;
use windfield::gpu::{Adapters, CacheFile, CachePurpose, CacheState, kept_apart};
use windfield::model::Tuning;
use windfield::report::{bytes, counted};

use super::{Context, terminal, vectors};

/// List the adapters, and which one is the default
///
/// --adapter INDEX|NAME chooses among them. WGPU_BACKEND (vulkan, metal, dx12, gl) says which backends to ask (GL is
/// asked only this way, or if the others find nothing), WGPU_ADAPTER_NAME changes the default. What is kept between runs
/// is told for each adapter; files that do not fit are ignored, and replaced by the next run.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// What `--json` prints.
#[derive(Serialize)]
struct List {
    schema: u32,
    /// The index of the one that is used where --adapter does not say otherwise.
    default: usize,
    /// Where files are kept between runs.
    cache: Option<PathBuf>,
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
    /// What the units for products of small matrices take; the kernels do not use them.
    cooperative_matrices: Vec<Cooperative>,
    limits: Limits,
    /// Settings of the driver that the environment makes.
    settings: Vec<Setting>,
    /// Whether each thread of the driver is kept on a processor of its own.
    threads_kept_apart: bool,
    /// Compiled kernels of earlier runs.
    pipelines: Option<Kept>,
    /// Measurements of `bench --tune`.
    tuning: Option<Kept>,
    /// How many of them have `auto` take other kernels than it would by its rules.
    tuned: usize,
}

/// A product of an m × k matrix and a k × n one, added to an m × n one.
#[derive(Serialize)]
struct Cooperative {
    m: u32,
    n: u32,
    k: u32,
    /// The type of the factors.
    ab: String,
    /// The type of the sums.
    c: String,
}

#[derive(Serialize)]
struct Setting {
    name: &'static str,
    value: String,
}

/// A file that is kept between runs.
#[derive(Serialize)]
struct Kept {
    file: PathBuf,
    /// absent, sound or refused
    state: &'static str,
    bytes: Option<usize>,
    /// Why it is refused.
    reason: Option<String>,
}

impl Kept {
    fn of(file: &CacheFile) -> Self {
        let (state, bytes, reason) = match file.state() {
            CacheState::Absent => ("absent", None, None),
            CacheState::Sound { bytes } => ("sound", Some(bytes), None),
            CacheState::Refused { reason } => ("refused", None, Some(reason)),
        };
        Self { file: file.path().to_owned(), state, bytes, reason }
    }

    /// A line for people; nothing of a file that is not there.
    fn describe(&self, content: &str) -> Option<String> {
        match (self.bytes, &self.reason) {
            (Some(_), _) => Some(format!("{content}, in {}", self.file.display())),
            (_, Some(reason)) => Some(format!("{} is ignored: {reason}", self.file.display())),
            (None, None) => None,
        }
    }
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

/// What a driver's behaviour depends on: the driver, and the variable of the environment.
const SETTINGS: &[(&str, &str)] = &[("llvmpipe", "LP_NUM_THREADS"), ("llvmpipe", "LP_NATIVE_VECTOR_WIDTH")];

pub fn run(_: &Args, context: &Context) -> anyhow::Result<()> {
    // As networks get it: what is kept between runs is kept by the adapter's name.
    vectors::widen();
    let adapters = Adapters::find();
    let default = adapters.position(&context.adapter())?;
    let items = adapters.iter().enumerate().map(|place| item(place, context.cache()));
    let list =
        List { schema: 1, default, cache: context.cache().map(Path::to_owned), adapters: items.collect() };
    if context.wants_json() {
        return context.object(&list);
    }
    terminal::print(&table(&list))
}

fn item((index, adapter): (usize, &wgpu::Adapter), cache: Option<&Path>) -> Item {
    let (info, features, limits) = (adapter.get_info(), adapter.features(), adapter.limits());
    let kept = |purpose| cache.map(|folder| Kept::of(&CacheFile::new(folder, purpose, &info)));
    let can_keep = features.contains(wgpu::Features::PIPELINE_CACHE);
    let pipelines = kept(CachePurpose::Pipelines).filter(|_| can_keep);
    let tuning = kept(CachePurpose::Tuning);
    let tuned = cache.map_or(0, |folder| Tuning::load(folder, &info).gains());
    let settings = SETTINGS
        .iter()
        .filter(|(driver, _)| info.driver == *driver)
        .filter_map(|(_, name)| {
            Some(Setting { name, value: std::env::var_os(name)?.to_string_lossy().into_owned() })
        })
        .collect();
    let cooperative_matrices = adapter
        .cooperative_matrix_properties()
        .iter()
        .map(|kind| Cooperative {
            m: kind.m_size,
            n: kind.n_size,
            k: kind.k_size,
            ab: format!("{:?}", kind.ab_type).to_lowercase(),
            c: format!("{:?}", kind.cr_type).to_lowercase(),
        })
        .collect();
    Item {
        pipelines,
        tuning,
        tuned,
        settings,
        threads_kept_apart: kept_apart(&info.driver),
        cooperative_matrices,
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
        let kinds: Vec<String> = item
            .cooperative_matrices
            .iter()
            .map(|Cooperative { m, n, k, ab, c }| format!("{m}×{n}×{k} of {ab} with sums in {c}"))
            .collect();
        let settings: Vec<String> = item
            .settings
            .iter()
            .map(|Setting { name, value }| format!("{name}={value} (environment)"))
            .collect();
        let pipelines = item.pipelines.as_ref().and_then(|kept| {
            kept.describe(&format!("compiled ones, {}", bytes(kept.bytes.unwrap_or(0) as u64)))
        });
        let gains = counted(item.tuned, "shape", "shapes");
        let tuning = item
            .tuning
            .as_ref()
            .and_then(|kept| kept.describe(&format!("faster kernels than the rules' for {gains}")));
        for (name, line) in [
            ("matrices", (!kinds.is_empty()).then(|| kinds.join(", "))),
            ("settings", (!settings.is_empty()).then(|| settings.join(", "))),
            ("threads", item.threads_kept_apart.then(|| "each on a processor of its own".to_owned())),
            ("kernels", pipelines),
            ("tuning", tuning),
        ] {
            if let Some(line) = line {
                let _ = writeln!(text, "   {name:<10}{line}");
            }
        }
    }
    text
}
