//! The model file: safetensors with `layers.{i}.weight` [out, in] and `layers.{i}.bias` [out], and a JSON record
//! under the metadata key `windfield`. PyTorch loads the tensors into an `nn.Sequential` of `Linear`s as they are.

use std::collections::HashMap;
use std::path::Path as FilePath;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use super::architecture::{Architecture, LayerWeights, Layout};
use crate::data::{ImageShape, Label, LabelKind, Preparation, Standardization};
use crate::flow::{Coupling, Path};
use crate::{Error, Result, files};

/// The version of the model file that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// A trained velocity field on the host: shape, weights, and what is needed to use it.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The network's shape.
    pub architecture: Architecture,
    /// Of each layer W `[out, in]`, row by row, and b `[out]`.
    pub weights: Vec<LayerWeights>,
    /// The path it was trained on.
    pub path: Path,
    /// How data units become the network's: `None` if they are the same.
    pub standardization: Option<Standardization>,
    /// The data set that replaced the Gaussian at t = 0, if one did: a built-in name or a file.
    pub source: Option<String>,
    /// Which x0 met which x1 in its training.
    pub coupling: Coupling,
    /// The file of the model whose pairs it learned, if it did.
    pub parent: Option<String>,
    /// The seed of its training.
    pub seed: u64,
    /// The number of updates made.
    pub steps: u64,
    /// The names of the data's columns, if known.
    pub columns: Vec<String>,
    /// The shape of a row, if the data are images.
    pub image: Option<ImageShape>,
    /// What it is conditional on, in the order of the network's features.
    pub conditions: Vec<Label>,
    /// The share of training rows that were told nothing of it; 0: it cannot do without.
    pub label_dropout: f32,
    /// How its rows were made of the data and samples become the same again; `None` if they are plain numbers.
    pub preparation: Option<Preparation>,
}

/// The JSON under the metadata key `windfield`.
#[derive(Serialize, Deserialize)]
struct Record {
    format: u32,
    #[serde(flatten)]
    architecture: Architecture,
    #[serde(default)]
    classes: u32,
    path: Path,
    standardize: Option<Standardization>,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    coupling: Coupling,
    #[serde(default)]
    parent: Option<String>,
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    steps: u64,
    #[serde(default)]
    columns: Vec<String>,
    #[serde(default)]
    image: Option<ImageShape>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<Label>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label_dropout: Option<f32>,
    #[serde(default)]
    preparation: Option<Preparation>,
}

/// The part of the record that tells whether the rest can be understood.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

impl Model {
    /// A network with given weights: on the default path, in data units, of no data.
    #[must_use]
    pub fn new(architecture: Architecture, weights: Vec<LayerWeights>) -> Self {
        Self {
            architecture,
            weights,
            path: Path::default(),
            standardization: None,
            source: None,
            coupling: Coupling::default(),
            parent: None,
            seed: 0,
            steps: 0,
            columns: vec![],
            image: None,
            conditions: vec![],
            label_dropout: 0.0,
            preparation: None,
        }
    }

    /// Reads a model file, this program's or any other's with the same tensors and metadata.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::Input`] if it is no model file, is truncated, is of a newer
    /// format, or holds tensors of other names, shapes or types than its record says, or values that are not finite.
    pub fn load(path: impl AsRef<FilePath>) -> Result<Self> {
        let path = path.as_ref();
        let place = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|error| Error::io("read", path, error))?;
        let refuse = |what: String| {
            Error::input(
                &place,
                what,
                "give the model.safetensors that `windfield train` wrote, or one of the same form",
            )
        };
        let (_, metadata) = SafeTensors::read_metadata(&bytes)
            .map_err(|error| refuse(format!("no whole safetensors file ({error})")))?;
        let json = metadata
            .metadata()
            .as_ref()
            .and_then(|metadata| metadata.get("windfield"))
            .ok_or_else(|| refuse("no `windfield` record in its metadata".to_owned()))?;
        let version: Version = serde_json::from_str(json)
            .map_err(|error| refuse(format!("its `windfield` record is broken ({error})")))?;
        if version.format > FORMAT {
            return Err(Error::input(
                &place,
                format!("its format is {}, this program knows up to {FORMAT}", version.format),
                "use a newer windfield",
            ));
        }
        let mut record: Record = serde_json::from_str(json)
            .map_err(|error| refuse(format!("its `windfield` record is broken ({error})")))?;
        if record.conditions.is_empty() && record.classes != 0 {
            // Another program's: one label, whose classes have no names.
            let names = (0..record.classes.min(1 << 16)).map(|class| class.to_string()).collect();
            record.conditions = vec![Label {
                name: "class".to_owned(),
                kind: LabelKind::Class { names },
                column: None,
                stored: None,
                place: None,
            }];
        }
        for label in &record.conditions {
            label.validate().map_err(refuse)?;
        }
        record.architecture.condition_features = record.conditions.iter().map(Label::features).sum();
        record.architecture.validate()?;
        let dim = record.architecture.dim;
        if let Some(standardization) = &record.standardize {
            if standardization.mean.len() != dim || standardization.std.len() != dim {
                return Err(refuse(format!("its `standardize` has not {dim} means and deviations")));
            }
            let usable = standardization.mean.iter().all(|mean| mean.is_finite())
                && standardization.std.iter().all(|std| std.is_finite() && *std > 0.0);
            if !usable {
                return Err(refuse(
                    "its `standardize` holds values that are not finite, or deviations that are not positive"
                        .to_owned(),
                ));
            }
        }
        if let Some(preparation) = &record.preparation {
            preparation.validate(dim).map_err(refuse)?;
        }
        let tensors = SafeTensors::deserialize(&bytes)
            .map_err(|error| refuse(format!("no whole safetensors file ({error})")))?;
        let shapes = record.architecture.layers();
        if tensors.names().len() != 2 * shapes.len() {
            return Err(refuse(format!("{} tensors instead of {}", tensors.names().len(), 2 * shapes.len())));
        }
        let mut weights = Vec::with_capacity(shapes.len());
        for (layer, (inputs, outputs)) in shapes.into_iter().enumerate() {
            let weight =
                tensor(&tensors, &format!("layers.{layer}.weight"), &[outputs, inputs]).map_err(refuse)?;
            let bias = tensor(&tensors, &format!("layers.{layer}.bias"), &[outputs]).map_err(refuse)?;
            weights.push((weight, bias));
        }
        Ok(Self {
            architecture: record.architecture,
            weights,
            path: record.path,
            standardization: record.standardize,
            source: record.source,
            coupling: record.coupling,
            parent: record.parent,
            seed: record.seed,
            steps: record.steps,
            columns: record.columns,
            image: record.image,
            conditions: record.conditions,
            label_dropout: record.label_dropout.filter(|share| share.is_finite()).unwrap_or(0.0),
            preparation: record.preparation,
        })
    }

    /// Writes the model file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: impl AsRef<FilePath>) -> Result<()> {
        let mut tensors = Vec::new();
        for (layer, ((weight, bias), (inputs, outputs))) in
            self.weights.iter().zip(self.architecture.layers()).enumerate()
        {
            tensors.push((format!("layers.{layer}.weight"), vec![outputs, inputs], weight.as_slice()));
            tensors.push((format!("layers.{layer}.bias"), vec![outputs], bias.as_slice()));
        }
        save_tensors(path.as_ref(), &tensors, &self.metadata())
    }

    /// What the file says of the model beside its tensors.
    fn metadata(&self) -> Record {
        Record {
            format: FORMAT,
            architecture: self.architecture.clone(),
            classes: self
                .conditions
                .iter()
                .map(|label| u32::try_from(label.classes().len()).unwrap_or(u32::MAX))
                .find(|classes| *classes > 0)
                .unwrap_or(0),
            path: self.path.clone(),
            standardize: self.standardization.clone(),
            source: self.source.clone(),
            coupling: self.coupling,
            parent: self.parent.clone(),
            seed: self.seed,
            steps: self.steps,
            columns: self.columns.clone(),
            image: self.image,
            conditions: self.conditions.clone(),
            label_dropout: self.is_conditional().then_some(self.label_dropout),
            preparation: self.preparation.clone(),
        }
    }

    /// The JSON under the metadata key `windfield`.
    pub(crate) fn record(&self) -> Result<String> {
        serde_json::to_string(&self.metadata()).map_err(|error| {
            Error::config(format!("the model cannot be described ({error})"), "train it anew")
        })
    }

    /// A hash of the network's shape and the bits of its weights, as text: models with the same one compute the same.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hash = twox_hash::xxhash3_128::Hasher::new();
        for ((weight, bias), (inputs, outputs)) in self.weights.iter().zip(self.architecture.layers()) {
            hash.write(&(inputs as u64).to_le_bytes());
            hash.write(&(outputs as u64).to_le_bytes());
            for values in [weight, bias] {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_bits().to_le_bytes()).collect();
                hash.write(&bytes);
            }
        }
        format!("xxh3-128:{:032x}", hash.finish_128())
    }

    /// The parameters as they lie on the device.
    pub(crate) fn packed(&self) -> Vec<f32> {
        Layout::new(&self.architecture).pack(&self.weights)
    }
}

/// Writes `f32` tensors (name, shape, values) with a JSON record under the key `windfield`.
pub(crate) fn save_tensors(
    path: &FilePath,
    tensors: &[(String, Vec<usize>, &[f32])],
    record: &impl Serialize,
) -> Result<()> {
    let refuse = |what: String| Error::io("write", path, std::io::Error::other(what));
    let views = tensors
        .iter()
        .map(|(name, shape, values)| {
            TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values))
                .map(|view| (name.as_str(), view))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| refuse(error.to_string()))?;
    let json = serde_json::to_string(record).map_err(|error| refuse(error.to_string()))?;
    let metadata = HashMap::from([("windfield".to_owned(), json)]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|error| refuse(error.to_string()))?;
    files::write_atomically(path, |writer| {
        std::io::Write::write_all(writer, &bytes).map_err(|error| Error::io("write", path, error))
    })
}

/// A tensor of a given shape as finite `f32`s, or what is wrong with it.
pub(crate) fn tensor(tensors: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
    let view = tensors.tensor(name).map_err(|_| format!("no tensor `{name}`"))?;
    if view.shape() != shape {
        return Err(format!("`{name}` has the shape {:?} instead of {shape:?}", view.shape()));
    }
    let values: Vec<f32> = match view.dtype() {
        Dtype::F32 => bytemuck::pod_collect_to_vec(view.data()),
        #[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
        Dtype::F64 => bytemuck::pod_collect_to_vec::<_, f64>(view.data())
            .into_iter()
            .map(|value| value as f32)
            .collect(),
        other => return Err(format!("`{name}` is {other:?} instead of F32")),
    };
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(format!("`{name}` is {} at element {at}", values[at])),
        None => Ok(values),
    }
}
