//! The checkpoint: everything that exact resumption needs, in one safetensors file.

use std::path::Path;

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use super::layout::State;
use super::options::TrainOptions;
use super::trainer::{ConditionFacts, DataFacts, Parent};
use crate::data::{Dataset, ImageShape, Label, LabelRequest, Preparation, Standardization};
use crate::model::{Architecture, LayerWeights, Layout, save_tensors, tensor};
use crate::{Error, Result};

/// The version that this program writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// A run, stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Its settings.
    pub options: TrainOptions,
    pub(crate) architecture: Architecture,
    pub(crate) facts: DataFacts,
    pub(crate) state: State,
    pub(crate) parameters: Vec<f32>,
    pub(crate) average: Option<Vec<f32>>,
    pub(crate) moment1: Vec<f32>,
    pub(crate) moment2: Vec<f32>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    format: u32,
    options: TrainOptions,
    architecture: Architecture,
    data: String,
    fingerprint: String,
    source: Option<String>,
    source_fingerprint: Option<String>,
    standardize: Option<Standardization>,
    columns: Vec<String>,
    image: Option<ImageShape>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    conditions: Option<ConditionFacts>,
    #[serde(default)]
    preparation: Option<Preparation>,
    #[serde(default)]
    parent: Option<Parent>,
    /// The words of the device's state: floats by their bits.
    state: [u32; 8],
}

#[derive(Deserialize)]
struct Version {
    format: u32,
}

impl Checkpoint {
    /// The step it was taken at.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.state.step.into()
    }

    /// The data set it was trained on: a built-in name or a file.
    #[must_use]
    pub fn data(&self) -> &str {
        &self.facts.data
    }

    /// The data set that replaced the Gaussian, if one did.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.facts.source.as_deref()
    }

    /// Opens the data, which may have moved to `name`, as the run had them: prepared in the same way, with its labels.
    ///
    /// # Errors
    /// As of [`Dataset::open_labelled`].
    pub fn open_data(&self, name: &str) -> Result<Dataset> {
        let Some(facts) = &self.facts.conditions else {
            return Dataset::open_as(name, self.preparation());
        };
        let mut requests: Vec<LabelRequest> = vec![];
        for text in &facts.requests {
            let request = text.parse()?;
            // A file of several columns was asked for once.
            if !requests.contains(&request) {
                requests.push(request);
            }
        }
        Dataset::open_labelled(name, self.preparation(), &facts.labels, &requests, facts.dropout)
    }

    /// How rows were made of the data; see [`Dataset::open_as`].
    #[must_use]
    pub fn preparation(&self) -> Option<&Preparation> {
        self.facts.preparation.as_ref()
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let layout = Layout::new(&self.architecture);
        let families = [
            ("", Some(&self.parameters)),
            ("average.", self.average.as_ref()),
            ("moment1.", Some(&self.moment1)),
            ("moment2.", Some(&self.moment2)),
        ];
        let unpacked: Vec<(&str, Vec<LayerWeights>)> = families
            .into_iter()
            .filter_map(|(prefix, values)| values.map(|values| (prefix, layout.unpack(values))))
            .collect();
        let mut tensors = Vec::new();
        for (prefix, layers) in &unpacked {
            for (layer, ((weight, bias), (inputs, outputs))) in
                layers.iter().zip(self.architecture.layers()).enumerate()
            {
                tensors.push((
                    format!("{prefix}layers.{layer}.weight"),
                    vec![outputs, inputs],
                    weight.as_slice(),
                ));
                tensors.push((format!("{prefix}layers.{layer}.bias"), vec![outputs], bias.as_slice()));
            }
        }
        let record = Record {
            format: FORMAT,
            options: self.options.clone(),
            architecture: self.architecture.clone(),
            data: self.facts.data.clone(),
            fingerprint: self.facts.fingerprint.clone(),
            source: self.facts.source.clone(),
            source_fingerprint: self.facts.source_fingerprint.clone(),
            standardize: self.facts.standardization.clone(),
            columns: self.facts.columns.clone(),
            image: self.facts.image,
            conditions: self.facts.conditions.clone(),
            preparation: self.facts.preparation.clone(),
            parent: self.facts.parent.clone(),
            state: bytemuck::cast(self.state),
        };
        save_tensors(path.as_ref(), &tensors, &record)
    }

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::Input`] if it is no whole checkpoint of this format.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|error| Error::io("read", path, error))?;
        let refuse = |what: String| {
            Error::input(
                path.display().to_string(),
                what,
                "resume from a folder that `windfield train` wrote",
            )
        };
        let (_, metadata) = SafeTensors::read_metadata(&bytes)
            .map_err(|error| refuse(format!("no whole checkpoint ({error})")))?;
        let json = metadata
            .metadata()
            .as_ref()
            .and_then(|metadata| metadata.get("windfield"))
            .ok_or_else(|| refuse("no `windfield` record in its metadata".to_owned()))?;
        let broken = |error: serde_json::Error| refuse(format!("its `windfield` record is broken ({error})"));
        let version: Version = serde_json::from_str(json).map_err(broken)?;
        if version.format > FORMAT {
            return Err(refuse(format!(
                "its format is {}, this program knows up to {FORMAT}",
                version.format
            )));
        }
        let mut record: Record = serde_json::from_str(json).map_err(broken)?;
        let labels = record.conditions.as_ref().map_or(&[][..], |facts| &facts.labels);
        record.architecture.condition_features = labels.iter().map(Label::features).sum();
        record.options.validate()?;
        record.architecture.validate()?;
        if let Some(preparation) = &record.preparation {
            preparation.validate(record.architecture.dim).map_err(refuse)?;
        }
        let options = &record.options;
        let same = options.hidden == record.architecture.hidden
            && options.activation == record.architecture.activation
            && options.time_frequencies == record.architecture.time_frequencies;
        if !same {
            return Err(refuse("its settings and its network do not fit each other".to_owned()));
        }
        let tensors = SafeTensors::deserialize(&bytes)
            .map_err(|error| refuse(format!("no whole checkpoint ({error})")))?;
        let layout = Layout::new(&record.architecture);
        let family = |prefix: &str| -> Result<Vec<f32>> {
            let mut layers = Vec::new();
            for (layer, (inputs, outputs)) in record.architecture.layers().into_iter().enumerate() {
                let weight = tensor(&tensors, &format!("{prefix}layers.{layer}.weight"), &[outputs, inputs])
                    .map_err(refuse)?;
                let bias =
                    tensor(&tensors, &format!("{prefix}layers.{layer}.bias"), &[outputs]).map_err(refuse)?;
                layers.push((weight, bias));
            }
            Ok(layout.pack(&layers))
        };
        Ok(Self {
            parameters: family("")?,
            average: (record.options.ema > 0.0).then(|| family("average.")).transpose()?,
            moment1: family("moment1.")?,
            moment2: family("moment2.")?,
            state: bytemuck::cast(record.state),
            facts: DataFacts {
                data: record.data,
                fingerprint: record.fingerprint,
                source: record.source,
                source_fingerprint: record.source_fingerprint,
                standardization: record.standardize,
                columns: record.columns,
                image: record.image,
                conditions: record.conditions,
                preparation: record.preparation,
                parent: record.parent,
            },
            options: record.options,
            architecture: record.architecture,
        })
    }

    /// Whether these are the data of the run.
    pub(crate) fn fits(&self, data: &Dataset, source: Option<&Dataset>) -> Result<()> {
        let same = data.fingerprint() == self.facts.fingerprint
            && source.map(Dataset::fingerprint) == self.facts.source_fingerprint;
        if same {
            return Ok(());
        }
        Err(Error::config(
            format!("the data `{}` are not those that the run began with", data.name()),
            "resume with the same data, or begin a new run with --init",
        ))
    }
}
