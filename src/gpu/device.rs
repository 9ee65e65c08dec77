//! The device: buffers, kernels, submissions, and the driver's errors as the library's.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytemuck::Pod;
use wgpu::{BufferUsages, PollType};

use super::adapter::{AdapterChoice, Adapters};
use super::cache::Pipelines;
use super::compose::Variant;
use super::habits::Habits;
use super::matrix::{self, Texture};
use super::memory::{Memory, Share, Tally};
use super::plan::{Binding, Dispatch, Kernel, Resource, Work};
use super::threads::{self, Threads};
use crate::{Error, Result};

/// How long to wait for one submission before the device is given up. Submissions aim at a fraction of a second;
/// the rest is for machines under heavy load.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long the driver is asked to wait at a time. Waits without a limit were seen to hang on software drivers.
const TURN: Duration = Duration::from_secs(2);

/// Time spent waiting. A turn that took much longer than asked for was not waiting: the process was stopped
/// (ctrl-Z, a suspended computer), and the device perhaps with it.
#[derive(Default)]
struct Waiting(Duration);

impl Waiting {
    /// Adds a turn; whether there is patience left.
    fn goes_on(&mut self, turn: Duration) -> bool {
        self.0 += turn.min(2 * TURN);
        self.0 < PATIENCE
    }
}

/// How to open a device.
#[derive(Clone, Debug, Default)]
pub struct DeviceOptions {
    /// Which adapter.
    pub adapter: AdapterChoice,
    /// Keep the shader compiler's bounds checks and loop bounds. Slow; the tests use it, since kernels that are
    /// right with checks and without touch nothing beyond their buffers.
    pub checked: bool,
    /// See no more than so many bytes of a buffer at once, where the adapter allows more: what does not fit is laid out
    /// as on an adapter of that limit.
    pub largest_binding: Option<u64>,
    /// A folder in which compiled kernels are kept from one process to the next, such as
    /// [`cache_folder`](super::cache_folder); made when there is something to keep. Only Vulkan's drivers hand them out.
    /// Opening a device never fails for what this folder holds.
    pub cache: Option<PathBuf>,
}

/// An open device. Clones share it.
#[derive(Clone, Debug)]
pub struct Device {
    pub(super) inner: Arc<Inner>,
    habits: Habits,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    info: wgpu::AdapterInfo,
    limits: wgpu::Limits,
    /// Whether a kernel may read and write the same texture of four `f32`.
    updates_textures: bool,
    checked: bool,
    faults: Arc<Mutex<Faults>>,
    kernels: Mutex<HashMap<String, Arc<Kernel>>>,
    pipelines: Option<Pipelines>,
    /// Held by the one thread that hands work over or asks how far it is: wgpu 30.0 panics when a wait that runs
    /// into its time limit meets another thread there (gfx-rs/wgpu, pull request 9958).
    turn: Mutex<()>,
    memory: Arc<Tally>,
}

#[derive(Debug, Default)]
struct Faults {
    lost: Option<String>,
    uncaptured: Option<String>,
}

/// A buffer on the device, with the name and the flag that its errors mention.
#[derive(Clone, Debug)]
pub struct Buffer {
    pub(crate) raw: wgpu::Buffer,
    share: Arc<Share>,
}

impl Buffer {
    /// Size in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.raw.size()
    }
}

/// What a buffer is for, so that an error can say it.
#[derive(Clone, Copy, Debug)]
pub struct Purpose<'a> {
    /// "the activations of the batch".
    pub what: &'a str,
    /// "--batch".
    pub flag: &'a str,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(pipelines) = self.pipelines.as_ref().filter(|_| lock(&self.faults).lost.is_none()) {
            pipelines.keep();
        }
    }
}

impl Device {
    /// Opens an adapter.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] if there is none that fits, [`Error::Device`] if the driver refuses to open it.
    pub fn open(options: &DeviceOptions) -> Result<Self> {
        let threads = Threads::now();
        let adapter = Adapters::find().choose(&options.adapter)?;
        let info = adapter.get_info();
        let mut limits = adapter.limits();
        if let Some(most) = options.largest_binding {
            limits.max_storage_buffer_binding_size = limits.max_storage_buffer_binding_size.min(most);
        }
        let mut optional = wgpu::Features::SUBGROUP
            | wgpu::Features::TIMESTAMP_QUERY
            | wgpu::Features::TEXTURE_ADAPTER_SPECIFIC_FORMAT_FEATURES;
        optional.set(wgpu::Features::PIPELINE_CACHE, options.cache.is_some());
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("windfield"),
            // Where the adapter has them: nothing needs subgroups or a cache, and `Device::profile` does without
            // timestamps. Beyond WebGPU, a kernel may read and write the same texture of four `f32`: where lists lie.
            required_features: adapter.features() & optional,
            // The kernels check against what the adapter really offers, not against WebGPU's defaults.
            required_limits: limits.clone(),
            experimental_features: wgpu::ExperimentalFeatures::disabled(),
            memory_hints: wgpu::MemoryHints::Performance,
            trace: wgpu::Trace::Off,
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).map_err(|error| {
            Error::Device { what: format!("to open {}", info.name), reason: one_line(&error.to_string()) }
        })?;
        if threads::kept_apart(&info.driver) {
            threads.keep_apart_later_ones();
        }
        let faults = Arc::new(Mutex::new(Faults::default()));
        let on_lost = Arc::clone(&faults);
        device.set_device_lost_callback(move |reason, message| {
            // Dropping the device on purpose arrives here as well.
            if reason != wgpu::DeviceLostReason::Destroyed {
                lock(&on_lost).lost.get_or_insert(one_line(&format!("{reason:?} {message}")));
            }
        });
        let on_error = Arc::clone(&faults);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            lock(&on_error).uncaptured.get_or_insert(one_line(&error.to_string()));
        }));
        let keeps = device.features().contains(wgpu::Features::PIPELINE_CACHE);
        let folder = options.cache.as_deref().filter(|_| keeps);
        let pipelines = folder.and_then(|folder| Pipelines::open(&device, &info, folder));
        let habits = Habits::of(&info, device.features().contains(wgpu::Features::SUBGROUP));
        let updates_textures =
            device.features().contains(wgpu::Features::TEXTURE_ADAPTER_SPECIFIC_FORMAT_FEATURES)
                && adapter
                    .get_texture_format_features(wgpu::TextureFormat::Rgba32Float)
                    .flags
                    .contains(wgpu::TextureFormatFeatureFlags::STORAGE_READ_WRITE);
        Ok(Self {
            inner: Arc::new(Inner {
                device,
                queue,
                info,
                limits,
                updates_textures,
                checked: options.checked,
                faults,
                kernels: Mutex::default(),
                pipelines,
                turn: Mutex::default(),
                memory: Arc::default(),
            }),
            habits,
        })
    }

    /// The same device with work laid out in another way. The results agree up to rounding.
    #[must_use]
    pub fn with_habits(&self, habits: Habits) -> Self {
        Self { inner: Arc::clone(&self.inner), habits }
    }

    /// The adapter's name, driver and kind.
    #[must_use]
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.inner.info
    }

    /// What the device allows.
    #[must_use]
    pub fn limits(&self) -> &wgpu::Limits {
        &self.inner.limits
    }

    /// Whether a kernel may read and write the same texture of four `f32` a texel.
    #[must_use]
    pub fn updates_textures(&self) -> bool {
        self.inner.updates_textures
    }

    /// How work is laid out for this device.
    #[must_use]
    pub fn habits(&self) -> &Habits {
        &self.habits
    }

    /// A one-line description: name, backend, driver.
    #[must_use]
    pub fn describe(&self) -> String {
        let info = &self.inner.info;
        let driver = [info.driver.as_str(), info.driver_info.as_str()].join(" ");
        format!("{} ({}, {})", info.name, info.backend, driver.trim())
    }

    /// What buffers and textures take of its memory.
    #[must_use]
    pub fn memory(&self) -> Memory {
        self.inner.memory.memory()
    }

    /// Begins the peak of [`Device::memory`] anew, with what is taken now.
    pub fn forget_peak(&self) {
        self.inner.memory.forget_peak();
    }

    /// The largest buffer that a kernel can see whole, in bytes.
    #[must_use]
    pub fn largest_binding(&self) -> u64 {
        self.inner.limits.max_storage_buffer_binding_size.min(self.inner.limits.max_buffer_size)
    }

    /// Reserves a buffer of zeros for kernels to read and write.
    ///
    /// # Errors
    /// [`Error::Limit`] if it is larger than the device allows (nothing is allocated), [`Error::OutOfMemory`] if
    /// the device has no room for it.
    pub fn buffer(&self, bytes: u64, purpose: Purpose<'_>) -> Result<Buffer> {
        self.fits(bytes, purpose)?;
        self.allocate(bytes, BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST, purpose)
    }

    /// Whether a buffer of this size can be bound, before anything is allocated.
    ///
    /// # Errors
    /// [`Error::Limit`] if it cannot.
    pub fn fits(&self, bytes: u64, purpose: Purpose<'_>) -> Result<()> {
        let limits = &self.inner.limits;
        let (limit_name, limit) = if limits.max_storage_buffer_binding_size <= limits.max_buffer_size {
            ("max_storage_buffer_binding_size", limits.max_storage_buffer_binding_size)
        } else {
            ("max_buffer_size", limits.max_buffer_size)
        };
        if bytes <= limit {
            return Ok(());
        }
        Err(Error::Limit {
            what: purpose.what.to_owned(),
            asked: bytes,
            unit: "bytes",
            limit_name,
            limit,
            device: self.inner.info.name.clone(),
            flag: purpose.flag.to_owned(),
        })
    }

    /// A buffer for kernels, filled with `values`.
    ///
    /// # Errors
    /// As [`Device::buffer`].
    pub fn upload<T: Pod>(&self, values: &[T], purpose: Purpose<'_>) -> Result<Buffer> {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let buffer = self.buffer(bytes.len() as u64, purpose)?;
        self.write(&buffer, bytes)?;
        Ok(buffer)
    }

    /// A small buffer of constants for kernels, such as one of the structs that mirror WGSL's.
    ///
    /// # Errors
    /// As [`Device::buffer`].
    pub fn uniform<T: Pod>(&self, value: &T) -> Result<Buffer> {
        let bytes = bytemuck::bytes_of(value);
        let purpose = Purpose { what: "a kernel's constants", flag: "--batch" };
        let buffer =
            self.allocate(bytes.len() as u64, BufferUsages::UNIFORM | BufferUsages::COPY_DST, purpose)?;
        self.write(&buffer, bytes)?;
        Ok(buffer)
    }

    /// Reserves a buffer for any use.
    pub(super) fn allocate(&self, bytes: u64, usage: BufferUsages, purpose: Purpose<'_>) -> Result<Buffer> {
        let scope = self.inner.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let raw = self.inner.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(purpose.what),
            // copies go by words
            size: bytes.next_multiple_of(4).max(16),
            usage,
            mapped_at_creation: false,
        });
        self.found_room(scope, bytes, purpose)?;
        let share = Tally::take(&self.inner.memory, raw.size());
        Ok(Buffer { raw, share })
    }

    /// Reserves a texture of zeros for a matrix of `f32`.
    ///
    /// # Errors
    /// [`Error::Limit`] if it is larger than the device allows, [`Error::OutOfMemory`] if there is no room for it.
    pub(crate) fn texture(&self, rows: usize, width: usize, purpose: Purpose<'_>) -> Result<Texture> {
        if !matrix::fits_texture(self.limits(), rows, width) {
            return Err(Error::Limit {
                what: purpose.what.to_owned(),
                asked: rows.max(width / 4) as u64,
                unit: "texels",
                limit_name: "max_texture_dimension_2d",
                limit: self.inner.limits.max_texture_dimension_2d.into(),
                device: self.inner.info.name.clone(),
                flag: purpose.flag.to_owned(),
            });
        }
        let room = matrix::pitch(width);
        let reserved = if matrix::fits_texture(self.limits(), rows, room) { room } else { width };
        let scope = self.inner.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let raw = self.inner.device.create_texture(&wgpu::TextureDescriptor {
            label: Some(purpose.what),
            size: matrix::extent(rows, reserved, purpose)?,
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba32Float,
            usage: wgpu::TextureUsages::STORAGE_BINDING
                | wgpu::TextureUsages::COPY_DST
                | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        });
        let bytes = 4 * rows as u64 * reserved as u64;
        self.found_room(scope, bytes, purpose)?;
        let view = raw.create_view(&wgpu::TextureViewDescriptor::default());
        let share = Tally::take(&self.inner.memory, bytes);
        Ok(Texture { raw, view, share })
    }

    /// Fills rows of a texture, from `first` on, with whole rows of `width` numbers.
    ///
    /// # Errors
    /// [`Error::Device`] or [`Error::DeviceLost`].
    pub(crate) fn write_texture(
        &self,
        texture: &Texture,
        first: usize,
        values: &[f32],
        width: usize,
    ) -> Result<()> {
        let rows = values.len() / width;
        let purpose = Purpose { what: "a copy to the device", flag: "--hidden" };
        let mut size = matrix::extent(rows, width, purpose)?;
        size.width = size.width.min(texture.raw.width());
        self.inner.queue.write_texture(
            wgpu::TexelCopyTextureInfo {
                texture: &texture.raw,
                mip_level: 0,
                origin: wgpu::Origin3d { x: 0, y: u32::try_from(first).unwrap_or(u32::MAX), z: 0 },
                aspect: wgpu::TextureAspect::All,
            },
            bytemuck::cast_slice(values),
            wgpu::TexelCopyBufferLayout {
                offset: 0,
                bytes_per_row: u32::try_from(4 * width).ok(),
                rows_per_image: None,
            },
            size,
        );
        self.check("a copy to the device")
    }

    /// Overwrites the beginning of a buffer. The copy happens before the next submission's work.
    ///
    /// # Errors
    /// [`Error::Device`] or [`Error::DeviceLost`].
    pub fn write<T: Pod>(&self, buffer: &Buffer, values: &[T]) -> Result<()> {
        self.write_at(buffer, 0, values)
    }

    /// Overwrites a part of a buffer, from byte `at`, a multiple of 4, on. The copy happens before the next submission's
    /// work.
    ///
    /// # Errors
    /// [`Error::Device`] or [`Error::DeviceLost`].
    pub fn write_at<T: Pod>(&self, buffer: &Buffer, at: u64, values: &[T]) -> Result<()> {
        // wgpu stages writes in memory of their own: bounded pieces keep that flat for large data sets.
        const PIECE: usize = 16 << 20;
        let bytes: &[u8] = bytemuck::cast_slice(values);
        for (index, piece) in bytes.chunks(PIECE).enumerate() {
            let whole = piece.len() / 4 * 4;
            let at = at + (index * PIECE) as u64;
            self.inner.queue.write_buffer(&buffer.raw, at, &piece[..whole]);
            if whole < piece.len() {
                let mut last = [0; 4];
                last[..piece.len() - whole].copy_from_slice(&piece[whole..]);
                self.inner.queue.write_buffer(&buffer.raw, at + whole as u64, &last);
            }
            if bytes.len() >= PIECE {
                self.submit([], &[])?;
                self.wait(None)?;
            }
        }
        self.check("a copy to the device")
    }

    /// Compiles a kernel, or returns it if it was compiled before.
    ///
    /// # Errors
    /// [`Error::Device`] if the driver refuses it.
    pub fn kernel(&self, variant: &Variant) -> Result<Arc<Kernel>> {
        let source = variant.source()?;
        if let Some(kernel) = lock(&self.inner.kernels).get(&source) {
            return Ok(Arc::clone(kernel));
        }
        let device = &self.inner.device;
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let module = wgpu::ShaderModuleDescriptor {
            label: Some(variant.kernel),
            source: wgpu::ShaderSource::Wgsl(source.as_str().into()),
        };
        let module =
            if self.inner.checked { device.create_shader_module(module) } else { trusted(device, module) };
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(variant.kernel),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &[],
                // Every kernel writes its workgroup memory before it reads it.
                zero_initialize_workgroup_memory: false,
            },
            cache: self.inner.pipelines.as_ref().map(|pipelines| &pipelines.raw),
        });
        if let Some(error) = pollster::block_on(scope.pop()) {
            return Err(Error::Device {
                what: format!("the kernel {}", variant.label()),
                reason: one_line(&error.to_string()),
            });
        }
        self.check("a kernel")?;
        let kernel = Arc::new(Kernel { name: variant.kernel, label: variant.label(), pipeline });
        lock(&self.inner.kernels).insert(source, Arc::clone(&kernel));
        Ok(kernel)
    }

    /// Binds buffers to a kernel: one dispatch, ready to be submitted as often as one likes.
    ///
    /// # Errors
    /// [`Error::Limit`] if it has more workgroups than the device allows, [`Error::Device`] if the buffers do not
    /// fit the kernel.
    pub fn dispatch(
        &self,
        variant: &Variant,
        bindings: &[Binding<'_>],
        groups: [u32; 3],
    ) -> Result<Dispatch> {
        let kernel = self.kernel(variant)?;
        let limit = self.inner.limits.max_compute_workgroups_per_dimension;
        if let Some(asked) = groups.into_iter().find(|groups| *groups > limit) {
            return Err(Error::Limit {
                what: format!("the kernel {}", kernel.name),
                asked: asked.into(),
                unit: "workgroups",
                limit_name: "max_compute_workgroups_per_dimension",
                limit: limit.into(),
                device: self.inner.info.name.clone(),
                flag: "--batch or --hidden".to_owned(),
            });
        }
        let scope = self.inner.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let entries: Vec<wgpu::BindGroupEntry<'_>> = bindings
            .iter()
            .map(|binding| wgpu::BindGroupEntry {
                binding: binding.slot,
                resource: match &binding.resource {
                    Resource::Texture(texture) => wgpu::BindingResource::TextureView(&texture.view),
                    Resource::Buffer(buffer, range) => wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer: &buffer.raw,
                        offset: range.as_ref().map_or(0, |range| range.start),
                        size: range.as_ref().and_then(|range| wgpu::BufferSize::new(range.end - range.start)),
                    }),
                },
            })
            .collect();
        let bind_group = self.inner.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(kernel.name),
            layout: &kernel.pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        if let Some(error) = pollster::block_on(scope.pop()) {
            return Err(Error::Device {
                what: format!("the buffers of {}", kernel.label),
                reason: one_line(&error.to_string()),
            });
        }
        let shares = bindings.iter().map(|binding| match &binding.resource {
            Resource::Texture(texture) => Arc::clone(&texture.share),
            Resource::Buffer(buffer, _) => Arc::clone(&buffer.share),
        });
        Ok(Dispatch { kernel, bind_group, groups, work: Work::default(), _shares: shares.collect() })
    }

    /// Groups for `items` invocations of a one-dimensional kernel of `lanes` lanes, folded into two dimensions
    /// where one has too few.
    #[must_use]
    pub fn groups(&self, items: u64, lanes: u32) -> [u32; 3] {
        let groups = items.div_ceil(lanes.into()).max(1);
        let limit = u64::from(self.inner.limits.max_compute_workgroups_per_dimension);
        let y = groups.div_ceil(limit);
        let x = groups.div_ceil(y);
        // y beyond the limit is refused by `dispatch`
        [u32::try_from(x).unwrap_or(u32::MAX), u32::try_from(y).unwrap_or(u32::MAX), 1]
    }

    /// Submits dispatches in order, then copies. Returns at once.
    ///
    /// # Errors
    /// [`Error::Device`] or [`Error::DeviceLost`].
    pub fn submit<'a>(
        &self,
        dispatches: impl IntoIterator<Item = &'a Dispatch>,
        copies: &[BufferCopy<'_>],
    ) -> Result<Submission> {
        let mut encoder =
            self.inner.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for dispatch in dispatches {
                dispatch.record(&mut pass);
            }
        }
        self.finish(encoder, copies)
    }

    /// Records copies behind what an encoder holds, and submits it all.
    pub(super) fn finish(
        &self,
        mut encoder: wgpu::CommandEncoder,
        copies: &[BufferCopy<'_>],
    ) -> Result<Submission> {
        for copy in copies {
            encoder.copy_buffer_to_buffer(
                &copy.from.raw,
                copy.range.start,
                &copy.to.raw,
                copy.at,
                copy.range.end - copy.range.start,
            );
        }
        let index = self.hand_over(encoder);
        self.check("a submission")?;
        Ok(Submission { index, begun: Instant::now() })
    }

    /// Gives recorded work to the driver.
    fn hand_over(&self, encoder: wgpu::CommandEncoder) -> wgpu::SubmissionIndex {
        let _turn = lock(&self.inner.turn);
        self.inner.queue.submit([encoder.finish()])
    }

    /// Whether the allocation that `scope` watched was made.
    fn found_room(&self, scope: wgpu::ErrorScopeGuard, bytes: u64, purpose: Purpose<'_>) -> Result<()> {
        if pollster::block_on(scope.pop()).is_some() {
            return Err(Error::OutOfMemory {
                what: purpose.what.to_owned(),
                bytes,
                flag: purpose.flag.to_owned(),
            });
        }
        self.check("an allocation")
    }

    /// Asks the driver how far it is.
    fn poll(&self, how: PollType) -> Result<wgpu::PollStatus, wgpu::PollError> {
        let _turn = lock(&self.inner.turn);
        self.inner.device.poll(how)
    }

    /// Waits until a submission is done, or everything submitted so far.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] if it does not end; [`Error::Device`] for what the driver reported meanwhile.
    pub fn wait(&self, submission: Option<&Submission>) -> Result<()> {
        let mut waiting = Waiting::default();
        loop {
            let begun = Instant::now();
            let result = self.poll(PollType::Wait {
                submission_index: submission.map(|submission| submission.index.clone()),
                timeout: Some(TURN),
            });
            self.check("a submission")?;
            match result {
                Ok(_) => return Ok(()),
                Err(wgpu::PollError::Timeout) if waiting.goes_on(begun.elapsed()) => {}
                Err(error) => return Err(Error::DeviceLost { reason: one_line(&error.to_string()) }),
            }
        }
    }

    /// Reads a range of a buffer back, waiting for all work before it. `range` counts bytes.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::Device`] or [`Error::DeviceLost`].
    pub fn read<T: Pod>(&self, buffer: &Buffer, range: Range<u64>) -> Result<Vec<T>> {
        const PIECE: u64 = 64 << 20;
        let mut values: Vec<T> =
            Vec::with_capacity(usize::try_from(range.end - range.start).unwrap_or(0) / size_of::<T>());
        let landing = self.landing((range.end - range.start).min(PIECE))?;
        let mut at = range.start;
        while at < range.end {
            let end = (at + PIECE).min(range.end);
            let copy = BufferCopy { from: buffer, range: at..end, to: &landing, at: 0 };
            let submission = self.submit([], &[copy])?;
            self.wait(Some(&submission))?;
            values.extend(self.fetch::<T>(&landing, 0..end - at)?);
            at = end;
        }
        Ok(values)
    }

    /// Reads the first rows of a texture, waiting for all work before it.
    ///
    /// # Errors
    /// As [`Device::read`].
    pub(crate) fn read_texture(&self, texture: &Texture, rows: usize, width: usize) -> Result<Vec<f32>> {
        let purpose = Purpose { what: "a read-back", flag: "--batch" };
        // A copy's rows begin at multiples of 256 bytes.
        let stride = (4 * width).next_multiple_of(256);
        let landing = self.landing((stride * rows) as u64)?;
        let mut encoder =
            self.inner.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_texture_to_buffer(
            texture.raw.as_image_copy(),
            wgpu::TexelCopyBufferInfo {
                buffer: &landing.raw,
                layout: wgpu::TexelCopyBufferLayout {
                    offset: 0,
                    bytes_per_row: u32::try_from(stride).ok(),
                    rows_per_image: None,
                },
            },
            matrix::extent(rows, width, purpose)?,
        );
        self.hand_over(encoder);
        self.wait(None)?;
        let padded: Vec<f32> = self.fetch(&landing, 0..(stride * rows) as u64)?;
        Ok(padded.chunks_exact(stride / 4).flat_map(|row| &row[..width]).copied().collect())
    }

    /// A buffer that the host can read: where copies land.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn landing(&self, bytes: u64) -> Result<Buffer> {
        let purpose = Purpose { what: "a read-back", flag: "--batch" };
        self.allocate(bytes, BufferUsages::MAP_READ | BufferUsages::COPY_DST, purpose)
    }

    /// Reads a range of a [`Device::landing`] buffer whose copy is done.
    ///
    /// # Errors
    /// [`Error::Device`] or [`Error::DeviceLost`].
    pub fn fetch<T: Pod>(&self, landing: &Buffer, range: Range<u64>) -> Result<Vec<T>> {
        let (sender, receiver) = std::sync::mpsc::channel();
        landing.raw.map_async(wgpu::MapMode::Read, range.start..range.end, move |result| {
            // The receiver lives until the answer is there; if it is gone, nobody asks any more.
            let _ = sender.send(result);
        });
        let refused =
            |reason: String| Error::Device { what: "a read-back".to_owned(), reason: one_line(&reason) };
        let mut waiting = Waiting::default();
        // The copy is done, so the first look finds the buffer mapped; waiting at once would also wait for work
        // that was handed over since.
        let mut patience = PollType::Poll;
        loop {
            let begun = Instant::now();
            let result = self.poll(patience);
            let goes_on = waiting.goes_on(begun.elapsed());
            match result {
                Ok(_) => {}
                Err(wgpu::PollError::Timeout) if goes_on => {}
                Err(error) => return Err(Error::DeviceLost { reason: one_line(&error.to_string()) }),
            }
            patience = PollType::Wait { submission_index: None, timeout: Some(TURN) };
            self.check("a read-back")?;
            match receiver.try_recv() {
                Ok(Ok(())) => break,
                Ok(Err(error)) => return Err(refused(error.to_string())),
                Err(error) if !goes_on => return Err(refused(error.to_string())),
                Err(_) => {}
            }
        }
        let values = {
            let view = landing
                .raw
                .get_mapped_range(range.start..range.end)
                .map_err(|error| refused(error.to_string()))?;
            bytemuck::pod_collect_to_vec(&view)
        };
        landing.raw.unmap();
        Ok(values)
    }

    /// Turns what the driver reported since the last look into an error.
    fn check(&self, what: &str) -> Result<()> {
        let mut faults = lock(&self.inner.faults);
        if let Some(reason) = &faults.lost {
            return Err(Error::DeviceLost { reason: reason.clone() });
        }
        match faults.uncaptured.take() {
            Some(reason) => Err(Error::Device { what: what.to_owned(), reason }),
            None => Ok(()),
        }
    }
}

/// A copy between buffers at the end of a submission.
#[derive(Clone, Debug)]
pub struct BufferCopy<'a> {
    /// Where from.
    pub from: &'a Buffer,
    /// Which bytes.
    pub range: Range<u64>,
    /// Where to.
    pub to: &'a Buffer,
    /// From which byte on.
    pub at: u64,
}

/// Work on its way.
#[derive(Clone, Debug)]
pub struct Submission {
    index: wgpu::SubmissionIndex,
    begun: Instant,
}

impl Submission {
    /// Time since it was handed over.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}

#[allow(unsafe_code, reason = "the one place where the shader compiler's checks are switched off")]
fn trusted(device: &wgpu::Device, module: wgpu::ShaderModuleDescriptor<'_>) -> wgpu::ShaderModule {
    // SAFETY: the sources are the ones compiled into this program, with shapes that the host derives from the very
    // numbers that it sizes the buffers with. Every index is below the size of its buffer: the tests run all
    // kernels with the checks on as well, over sizes that include 1 and non-multiples of every tile, and demand
    // the same bits. Every loop ends: bounds are constants or uniforms.
    unsafe { device.create_shader_module_trusted(module, wgpu::ShaderRuntimeChecks::unchecked()) }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves these plain values whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Drivers and compilers answer in paragraphs; errors here are one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_for_the_device_and_not_for_a_process_that_was_stopped() {
        let mut waiting = Waiting::default();
        assert!((0..20).all(|_| waiting.goes_on(Duration::from_hours(1))), "20 stops are 80 s of waiting");
        assert!((0..20).any(|_| !waiting.goes_on(TURN)), "a device that does not answer is given up");
    }
}
