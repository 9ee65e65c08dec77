//! The data on the device, and the kernel that draws batches from it.

use super::coupling::CouplingReport;
use super::labels::DeviceLabels;
use super::layout::{Chunk, State};
use super::wave::{Gather, Waves};
use crate::data::{Conditions, Dataset, Standardization};
use crate::flow::{Coupling, Path};
use crate::gpu::{Binding, Buffer, Constant, Device, Dispatch, Matrix, Purpose, Variant, Work};
use crate::model::{Architecture, PAD, Table};
use crate::{Error, Result};

const LANES: u32 = 64;

/// The data set, and the one that replaces the Gaussian if there is one.
#[derive(Debug)]
pub(crate) struct DeviceData {
    pub data: Table,
    pub source: Option<Table>,
    /// What the network is told of the rows of the data, if anything.
    pub labels: Option<DeviceLabels>,
    /// Row i of the source belongs to row i of the data.
    pub paired: bool,
}

impl DeviceData {
    pub fn upload(
        device: &Device,
        data: &Dataset,
        source: Option<&Dataset>,
        standardization: Option<&Standardization>,
    ) -> Result<Self> {
        if let Some(source) = source {
            source.leads_to(data)?;
        }
        let table = |set: &Dataset, flag: &str| Table::upload(device, set, standardization, flag);
        Ok(Self {
            data: table(data, "the rows of --data")?,
            source: source.map(|set| table(set, "the rows of --source")).transpose()?,
            labels: DeviceLabels::upload(device, data, source, standardization)?,
            paired: false,
        })
    }

    /// With the pairs that a coupling by rows has.
    ///
    /// # Errors
    /// [`Error::Config`] where it is one, and data and source are not as many.
    pub fn paired_by(self, coupling: Coupling) -> Result<Self> {
        let source_rows = self.source.as_ref().map_or(0, |source| source.rows);
        if coupling.is_paired() && source_rows != self.data.rows {
            return Err(Error::config(
                format!(
                    "--coupling {} has {} rows of x1 and {source_rows} of x0",
                    coupling.entry().name,
                    self.data.rows
                ),
                "make the pairs anew with --from-model",
            ));
        }
        Ok(Self { paired: coupling.is_paired(), ..self })
    }

    /// Both data sets.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        std::iter::once(&self.data).chain(&self.source)
    }

    /// What stands for the data and the source in a kernel that draws from them: the rows that were gathered, or all.
    pub fn rows<'a>(&'a self, gather: Option<&'a Gather>) -> (&'a Buffer, Option<&'a Buffer>) {
        match gather {
            Some(gather) => (&gather.data, gather.source.as_ref()),
            None => (&self.data.blocks[0], self.source.as_ref().map(|table| &table.blocks[0])),
        }
    }

    /// Of both.
    pub fn bytes(&self) -> u64 {
        let labels = self.labels.as_ref().map(|labels| &labels.buffer);
        self.tables().flat_map(|table| &table.blocks).chain(labels).map(Buffer::bytes).sum()
    }

    /// Whether a kernel can see all of it: nothing has to be gathered.
    pub fn is_whole(&self) -> bool {
        self.tables().all(|table| table.blocks.len() == 1)
    }

    pub fn chunk(&self, seed: u64, batch: usize, first_row: usize, rows: usize) -> Chunk {
        let word = |value: usize| crate::model::to_u32(value);
        #[allow(clippy::cast_possible_truncation, reason = "the two words of the seed")]
        let seed = [seed as u32, (seed >> 32) as u32];
        Chunk {
            seed,
            first_row: word(first_row),
            rows: word(rows),
            data_rows: word(self.data.rows),
            source_rows: word(self.source.as_ref().map_or(0, |source| source.rows)),
            batch: word(batch),
            first_partial: word(first_row.div_ceil(super::trainer::LOSS_LANES as usize)),
        }
    }
}

/// Which pairs the kernels that draw a batch make of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "the variants of the kernels")]
pub(crate) struct Pairs {
    /// x0 is that of another row.
    pub coupled: bool,
    /// x0 is a row of a source.
    pub source: bool,
    /// The rows were gathered for a wave of steps.
    pub gathered: bool,
    /// x0 is the row of the source with the number of x1's.
    pub paired: bool,
    /// The labels that the network is told of each row; 0: none.
    pub labels: u32,
    /// The share of rows that are told nothing, of 2^24.
    pub dropout: u32,
}

/// The variant of `draw` for a network and a path.
pub(crate) fn draw_variant(
    architecture: &Architecture,
    path: &Path,
    pairs: Pairs,
    textures: bool,
    export: bool,
) -> Variant {
    padded(pair_variant("draw", architecture, path, pairs), architecture)
        .with("LANES", LANES)
        .flag("TEXTURES", textures)
        .flag("EXPORT", export)
}

/// What the kernels that draw a batch have in common.
pub(crate) fn pair_variant(
    kernel: &'static str,
    architecture: &Architecture,
    path: &Path,
    pairs: Pairs,
) -> Variant {
    let word = crate::model::to_u32;
    let noisy = path.noise() > 0.0;
    let variant = path.bake(Variant::new(kernel)).flag("NOISY", noisy);
    let variant = if noisy { variant.with_float("PATH_NOISE", path.noise()) } else { variant };
    variant
        .with_float("T_MAX", path.last_time())
        .with("DIM", word(architecture.dim))
        .with("FREQUENCIES", word(architecture.time_frequencies))
        .flag("COUPLED", pairs.coupled)
        .flag("SOURCE", pairs.source)
        .flag("GATHERED", pairs.gathered)
        .flag("PAIRED", pairs.paired)
        .with_all(conditions(architecture.condition_features, pairs.labels, pairs.dropout))
        .flag("CONDITIONED", pairs.labels > 0)
}

/// A variant that is told the padded widths of what a network sees and of what it gives.
pub(super) fn padded(variant: Variant, architecture: &Architecture) -> Variant {
    variant
        .with("WIDTH_IN", crate::model::to_u32(architecture.features().next_multiple_of(PAD)))
        .with("WIDTH_OUT", crate::model::to_u32(architecture.dim.next_multiple_of(PAD)))
}

/// The constants of shaders/shared/conditions.wgsl; none without labels.
pub(super) fn conditions(
    features: usize,
    labels: u32,
    dropout: u32,
) -> impl IntoIterator<Item = (&'static str, Constant)> {
    let constants = [
        ("CONDITIONS", Constant::Unsigned(crate::model::to_u32(features))),
        ("LABELS", Constant::Unsigned(labels)),
        ("DROPOUT", Constant::Unsigned(dropout)),
    ];
    constants.into_iter().filter(move |_| labels > 0)
}

/// Where a drawn batch goes.
pub(crate) struct DrawTargets<'a> {
    pub features: &'a Matrix,
    pub velocity: &'a Buffer,
    /// What only a host looks at: [`Exported`].
    pub export: Option<&'a Buffer>,
}

/// What `draw` tells of its rows beside what the network sees.
pub(crate) struct Exported {
    /// `[rows, d]`.
    pub x0: Vec<f32>,
    /// `[rows, d]`.
    pub x1: Vec<f32>,
    /// The rows of the data.
    pub index: Vec<u32>,
    pub t: Vec<f32>,
}

impl Exported {
    /// Words of a row.
    pub fn width(dim: usize) -> usize {
        2 * dim.next_multiple_of(PAD) + 4
    }

    pub fn read(device: &Device, buffer: &Buffer, rows: usize, dim: usize) -> Result<Self> {
        let (half, width) = (dim.next_multiple_of(PAD), Self::width(dim));
        let words: Vec<u32> = device.read(buffer, 0..4 * (rows * width) as u64)?;
        let mut exported = Self { x0: vec![], x1: vec![], index: vec![], t: vec![] };
        let numbers = |bits: &[u32]| bits.iter().map(|&bits| f32::from_bits(bits)).collect::<Vec<f32>>();
        for row in words.chunks_exact(width) {
            exported.x0.extend(numbers(&row[..dim]));
            exported.x1.extend(numbers(&row[half..half + dim]));
            exported.index.push(row[2 * half]);
            exported.t.push(f32::from_bits(row[2 * half + 1]));
        }
        Ok(exported)
    }
}

/// Where a batch comes from.
pub(crate) struct DrawSources<'a> {
    pub data: &'a DeviceData,
    pub waves: &'a Waves,
}

impl<'a> DrawSources<'a> {
    /// What its pairs are.
    pub fn pairs(&self) -> Pairs {
        Pairs {
            coupled: self.waves.coupler().is_some(),
            source: self.data.source.is_some(),
            gathered: self.waves.gather().is_some(),
            paired: self.data.paired,
            labels: self.data.labels.as_ref().map_or(0, |labels| crate::model::to_u32(labels.columns)),
            dropout: self.data.labels.as_ref().map_or(0, |labels| labels.dropout),
        }
    }

    /// What shaders/shared/pair.wgsl reads, at the places that all kernels with it have.
    pub fn bindings(&self, chunk: &'a Buffer, state: &'a Buffer) -> Vec<Binding<'a>> {
        let (data, source) = self.data.rows(self.waves.gather());
        let mut bindings = vec![Binding::whole(0, chunk), Binding::whole(1, state), Binding::whole(2, data)];
        if let Some(source) = source {
            bindings.push(Binding::whole(5, source));
        }
        if let Some(wave) = self.waves.wave() {
            bindings.push(Binding::whole(8, wave));
        }
        if let Some(coupler) = self.waves.coupler() {
            bindings.push(Binding::whole(9, coupler.partners()));
        }
        if let Some(labels) = &self.data.labels {
            bindings.push(Binding::whole(12, &labels.buffer));
        }
        bindings
    }
}

/// The dispatch that draws the rows of a chunk at the step that `state` is at.
pub(crate) fn draw(
    device: &Device,
    architecture: &Architecture,
    path: &Path,
    from: &DrawSources<'_>,
    chunk: (&Buffer, usize),
    state: &Buffer,
    targets: &DrawTargets<'_>,
) -> Result<Dispatch> {
    let textures = matches!(targets.features, Matrix::Texture(_));
    let pairs = from.pairs();
    let variant = draw_variant(architecture, path, pairs, textures, targets.export.is_some());
    let mut bindings = from.bindings(chunk.0, state);
    bindings.push(Binding::matrix(3, targets.features));
    bindings.push(Binding::whole(4, targets.velocity));
    if let Some(exported) = targets.export {
        bindings.push(Binding::whole(6, exported));
    }
    let blocks = architecture.features().next_multiple_of(PAD) / 4;
    let groups = device.groups(chunk.1 as u64 * blocks as u64, LANES);
    let (rows, dim) = (chunk.1, architecture.dim);
    // Of a coordinate: its normal by Box and Muller's formula, and the two sums of the path.
    let normals = if path.noise() > 0.0 { 2 } else { 1 };
    let flops = rows * (16 * normals * dim + 2 * architecture.time_frequencies);
    let ends = if pairs.source { 2 } else { 1 } + if targets.export.is_some() { 2 } else { 0 };
    let numbers = rows * (ends * dim + 4 * blocks + dim.next_multiple_of(PAD) + usize::from(pairs.coupled));
    Ok(device.dispatch(&variant, &bindings, groups)?.with_work(Work::new(flops, numbers)))
}

/// A batch as a training step draws it, in the network's coordinates: row-major [B, d].
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// d.
    pub dim: usize,
    /// The source's points.
    pub x0: Vec<f32>,
    /// The data's points.
    pub x1: Vec<f32>,
    /// The points on the conditional paths (eq. 11).
    pub xt: Vec<f32>,
    /// The velocities to learn (eq. 12, 13).
    pub ut: Vec<f32>,
    /// The times `[B]`.
    pub t: Vec<f32>,
    /// The rows of the data `[B]`.
    pub index: Vec<u32>,
    /// What the network is told of each row, `[B, C]`: zeros where that is nothing. Empty without conditions.
    pub condition: Vec<f32>,
    /// What became of the coupling's problem, where it solves one.
    pub coupling: Option<CouplingReport>,
}

/// How a batch is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchOptions {
    /// The conditional path.
    pub path: Path,
    /// Which x0 meets which x1.
    pub coupling: Coupling,
    /// B.
    pub batch: usize,
    /// The run's seed.
    pub seed: u64,
    /// Whether columns are standardised first.
    pub standardize: bool,
    /// Which step's batch.
    pub step: u32,
}

impl Batch {
    /// Draws the very batch that step `options.step` of a training run draws.
    ///
    /// # Errors
    /// [`Error::Limit`] if it does not fit the device, [`Error::Config`] if data and source do not fit each other.
    ///
    /// # Examples
    /// ```
    /// use windfield::data::Dataset;
    /// use windfield::gpu::{Device, DeviceOptions};
    /// use windfield::train::{Batch, BatchOptions};
    ///
    /// let device = Device::open(&DeviceOptions::default())?;
    /// let options = BatchOptions {
    ///     path: Default::default(),
    ///     coupling: Default::default(),
    ///     batch: 4,
    ///     seed: 0,
    ///     standardize: false,
    ///     step: 0,
    /// };
    /// let batch = Batch::draw(&device, &Dataset::open("moons")?, None, &options)?;
    /// assert_eq!(batch.t.len(), 4);
    /// # Ok::<(), windfield::Error>(())
    /// ```
    pub fn draw(
        device: &Device,
        data: &Dataset,
        source: Option<&Dataset>,
        options: &BatchOptions,
    ) -> Result<Self> {
        let standardization = options.standardize.then(|| data.standardization());
        Self::of(device, data, source, standardization.as_ref(), options)
    }

    /// Draws the batch of a round of rectified flow: of pairs (x0, x1) in data units, standardised as their model does it.
    /// `index` is the row of the pair.
    ///
    /// # Errors
    /// As of [`draw`](Self::draw), and [`Error::Config`] if the coupling is none by rows.
    pub fn of_pairs(
        device: &Device,
        (x0, x1): (&Dataset, &Dataset),
        standardization: Option<&Standardization>,
        options: &BatchOptions,
    ) -> Result<Self> {
        if !options.coupling.is_paired() {
            return Err(Error::config("pairs of a model need --coupling reflow", "use that coupling"));
        }
        Self::of(device, x1, Some(x0), standardization, options)
    }

    fn of(
        device: &Device,
        data: &Dataset,
        source: Option<&Dataset>,
        standardization: Option<&Standardization>,
        options: &BatchOptions,
    ) -> Result<Self> {
        let architecture = Architecture {
            dim: data.dim(),
            hidden: vec![],
            activation: crate::model::Activation::default(),
            time_frequencies: 0,
            condition_features: data.conditions().map_or(0, Conditions::features),
        };
        let (dim, batch) = (data.dim(), options.batch);
        if batch == 0 {
            return Err(Error::config("--batch 0 is out of range", "it takes a number of at least 1"));
        }
        let width_in = architecture.features().next_multiple_of(PAD);
        let width_out = dim.next_multiple_of(PAD);
        let purpose = Purpose { what: "the batch", flag: "--batch" };
        // What is written at once; the rows do not depend on it.
        let room = device.largest_binding() / (4 * Exported::width(dim).max(width_in) as u64);
        let chunk_rows = batch.min(usize::try_from(room).unwrap_or(usize::MAX).clamp(1, 1 << 16));
        let device_data =
            DeviceData::upload(device, data, source, standardization)?.paired_by(options.coupling)?;
        let mut waves = Waves::new(device, options.coupling, &device_data, dim, (options.seed, batch), 1)?;
        let step = u64::from(options.step);
        waves.cover(step, step + 1, || false)?;
        let from = DrawSources { data: &device_data, waves: &waves };
        let reserve = |floats: usize| device.buffer(4 * (chunk_rows * floats) as u64, purpose);
        let features = reserve(width_in)?;
        let as_matrix = Matrix::Buffer(features.clone());
        let velocity = reserve(width_out)?;
        let exported = reserve(Exported::width(dim))?;
        let state = device.upload(&[State { step: options.step, ..State::default() }], purpose)?;
        let coupling = waves.coupler().map(|coupler| coupler.report);
        let [x0, x1, xt, ut, t] = [const { vec![] }; 5];
        let mut drawn = Self { dim, x0, x1, xt, ut, t, index: vec![], condition: vec![], coupling };
        let mut first = 0;
        while first < batch {
            let rows = chunk_rows.min(batch - first);
            let chunk = device.uniform(&device_data.chunk(options.seed, batch, first, rows))?;
            let targets = DrawTargets { features: &as_matrix, velocity: &velocity, export: Some(&exported) };
            let dispatch =
                draw(device, &architecture, &options.path, &from, (&chunk, rows), &state, &targets)?;
            device.submit([&dispatch], &[])?;
            let read =
                |buffer: &Buffer, width: usize| device.read::<f32>(buffer, 0..4 * (rows * width) as u64);
            let columns = |values: &[f32], width: usize| -> Vec<f32> {
                values.chunks_exact(width).flat_map(|row| &row[..dim]).copied().collect()
            };
            let seen = read(&features, width_in)?;
            drawn.xt.extend(columns(&seen, width_in));
            let told = dim + 1..architecture.features();
            drawn.condition.extend(seen.chunks_exact(width_in).flat_map(|row| &row[told.clone()]));
            drawn.ut.extend(columns(&read(&velocity, width_out)?, width_out));
            let exported = Exported::read(device, &exported, rows, dim)?;
            drawn.x0.extend(exported.x0);
            drawn.x1.extend(exported.x1);
            drawn.index.extend(exported.index);
            drawn.t.extend(exported.t);
            first += rows;
        }
        Ok(drawn)
    }

    /// Writes the batch as safetensors: `x0 x1 xt ut` `[B, d]`, `t` `[B]`, `index` `[B]` (u32), and with conditions
    /// `condition` `[B, C]`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: impl AsRef<std::path::Path>) -> Result<()> {
        use safetensors::{Dtype, tensor::TensorView};
        let path = path.as_ref();
        let refuse = |error: safetensors::SafeTensorError| {
            Error::io("write", path, std::io::Error::other(error.to_string()))
        };
        let points = vec![self.t.len(), self.dim];
        let condition = vec![self.t.len(), self.condition.len() / self.t.len().max(1)];
        let mut views = vec![
            ("x0", Dtype::F32, points.clone(), bytemuck::cast_slice::<f32, u8>(&self.x0)),
            ("x1", Dtype::F32, points.clone(), bytemuck::cast_slice(&self.x1)),
            ("xt", Dtype::F32, points.clone(), bytemuck::cast_slice(&self.xt)),
            ("ut", Dtype::F32, points, bytemuck::cast_slice(&self.ut)),
            ("t", Dtype::F32, vec![self.t.len()], bytemuck::cast_slice(&self.t)),
            ("index", Dtype::U32, vec![self.index.len()], bytemuck::cast_slice(&self.index)),
        ];
        if !self.condition.is_empty() {
            views.push(("condition", Dtype::F32, condition, bytemuck::cast_slice(&self.condition)));
        }
        let views = views
            .into_iter()
            .map(|(name, kind, shape, bytes)| TensorView::new(kind, shape, bytes).map(|view| (name, view)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(refuse)?;
        let bytes = safetensors::serialize(views, None).map_err(refuse)?;
        crate::files::write_bytes(path, bytes)
    }
}
