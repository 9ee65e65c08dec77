//! A model under a condition. What it is told is the same at every point and time of a flow, so that it enters the first
//! layer as a constant: the network under a condition c is one without any, with the bias b + W_c·c. Guided by w
//! (Ho & Salimans 2022), the velocity
//!
//! ```text
//! v = (1 − w)·v(x, t) + w·v(x, t | c)
//! ```
//!
//! is one network as well: both lie side by side in layers of twice the width, with zeros between them, and the last layer
//! adds them up. Every kernel, solver and divergence takes them as they are, with both evaluations in one pass.

use super::architecture::{Architecture, LayerWeights};
use super::file::Model;
use crate::data::{Label, Preparation};
use crate::{Error, Result};

impl Model {
    /// Whether it is told something beside x and t.
    #[must_use]
    pub fn is_conditional(&self) -> bool {
        self.architecture.condition_features > 0
    }

    /// The features `[C]` of a condition, of which every label of the model is given once: by its name, and by the name of
    /// its class or its number.
    ///
    /// # Errors
    /// [`Error::Config`] if a label or a class is not known, is given twice or not at all, or a number is not finite.
    pub fn condition(&self, given: &[(String, String)]) -> Result<Vec<f32>> {
        let names = || {
            let names: Vec<&str> = self.conditions.iter().map(|label| label.name.as_str()).collect();
            names.join(", ")
        };
        if !self.is_conditional() {
            return Err(Error::config(
                "the model is conditional on nothing",
                "leave --condition and --guidance out, or train one with --label",
            ));
        }
        for (at, (name, _)) in given.iter().enumerate() {
            if !self.conditions.iter().any(|label| label.name == *name) {
                return Err(Error::config(
                    format!("the model is not conditional on `{name}`"),
                    format!("it is on {}", names()),
                ));
            }
            if given[..at].iter().any(|(other, _)| other == name) {
                return Err(Error::config(format!("--condition gives `{name}` twice"), "leave one out"));
            }
        }
        let mut features = Vec::with_capacity(self.architecture.condition_features);
        for label in &self.conditions {
            let Some((_, value)) = given.iter().find(|(name, _)| *name == label.name) else {
                return Err(Error::config(
                    format!("--condition lacks `{}`", label.name),
                    format!("the model is conditional on {}: give all of them, or none", names()),
                ));
            };
            label.encode(label.parse(value)?, &mut features);
        }
        Ok(features)
    }

    /// How its samples under the condition `given` become rows of a table: as they were prepared, with the columns that are
    /// labels of the model in their places again, filled with the condition. The names of those that it says nothing of, which
    /// are left out, come with it.
    ///
    /// # Errors
    /// [`Error::Config`] for a class that is not there, and for what is no number.
    pub fn table_under(&self, given: &[(String, String)]) -> Result<(Option<Preparation>, Vec<&str>)> {
        let mut labels = vec![];
        for label in self.conditions.iter().filter(|label| label.place.is_some()) {
            let value = given.iter().find(|(name, _)| *name == label.name);
            if let Some((_, value)) = value {
                label.parse(value)?;
            }
            labels.push((label, value.map(|(_, value)| value.as_str())));
        }
        let absent = labels.iter().filter(|(_, value)| value.is_none());
        let absent = absent.map(|(label, _)| label.name.as_str()).collect();
        Ok((Preparation::of_samples(self.preparation.as_ref(), &self.columns, &labels), absent))
    }

    /// The model that is told nothing: of all its data, whatever their labels.
    ///
    /// # Errors
    /// [`Error::Config`] if it never learned that.
    pub fn unconditional(&self) -> Result<Self> {
        if !self.is_conditional() {
            return Ok(self.clone());
        }
        if self.label_dropout <= 0.0 {
            let names: Vec<String> = self.conditions.iter().map(example).collect();
            return Err(Error::config(
                "the model has not learned to do without a condition",
                format!("give {}, or train one with a --label-dropout above 0", names.join(" ")),
            ));
        }
        self.under(&vec![0.0; self.architecture.condition_features])
    }

    /// The model under a condition `[C]` (see [`condition`](Self::condition)), which is conditional on nothing more.
    ///
    /// # Errors
    /// [`Error::Config`] if there are not C features.
    pub fn under(&self, condition: &[f32]) -> Result<Self> {
        let wanted = self.architecture.condition_features;
        if condition.len() != wanted {
            return Err(Error::config(
                format!("{} features of a condition", condition.len()),
                format!("the model has {wanted}"),
            ));
        }
        let inputs = self.architecture.features();
        let mut weights = self.weights.clone();
        if let Some((weight, bias)) = weights.first_mut() {
            let rows = weight.chunks_exact(inputs);
            for (row, bias) in rows.zip(bias.iter_mut()) {
                let told = row[inputs - wanted..].iter().zip(condition);
                let sum: f64 = told.map(|(w, c)| f64::from(*w) * f64::from(*c)).sum();
                #[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
                let shifted = (f64::from(*bias) + sum) as f32;
                *bias = shifted;
            }
            *weight = weight.chunks_exact(inputs).flat_map(|row| &row[..inputs - wanted]).copied().collect();
        }
        let architecture = Architecture { condition_features: 0, ..self.architecture.clone() };
        Ok(Self { architecture, weights, conditions: vec![], label_dropout: 0.0, ..self.clone() })
    }

    /// The model under a condition `[C]`, guided by w: `(1 − w)·v(x, t) + w·v(x, t | c)`. At 0 the condition says nothing, at
    /// 1 as much as it does; beyond, more.
    ///
    /// # Errors
    /// As of [`under`](Self::under) and [`unconditional`](Self::unconditional); [`Error::Config`] if w is not finite.
    #[allow(clippy::float_cmp, reason = "at 0 and 1 there is one network")]
    pub fn guided(&self, condition: &[f32], guidance: f32) -> Result<Self> {
        if !guidance.is_finite() {
            return Err(Error::config(format!("--guidance {guidance} is no number"), "give one, such as 2"));
        }
        let told = self.under(condition)?;
        if guidance == 1.0 {
            return Ok(told);
        }
        if self.label_dropout <= 0.0 {
            return Err(Error::config(
                format!(
                    "--guidance {guidance} takes the flow of all data as well, which the model has not learned"
                ),
                "leave it out, or train one with a --label-dropout above 0",
            ));
        }
        let free = self.unconditional()?;
        if guidance == 0.0 {
            return Ok(free);
        }
        let last = free.weights.len().saturating_sub(1);
        let pairs = free.weights.iter().zip(&told.weights).zip(free.architecture.layers());
        let weights = pairs
            .enumerate()
            .map(|(at, ((free, told), (inputs, _)))| {
                side_by_side(free, told, inputs, (at == 0, at == last), guidance)
            })
            .collect();
        let hidden = free.architecture.hidden.iter().map(|width| 2 * width).collect();
        let architecture = Architecture { hidden, ..free.architecture.clone() };
        architecture.validate().map_err(|_| {
            Error::config(
                "the guided network has layers of twice the width, too wide here",
                "leave --guidance out",
            )
        })?;
        Ok(Self { architecture, weights, ..free })
    }
}

/// How a label is given.
fn example(label: &Label) -> String {
    let value = label.classes().first().map_or("0", String::as_str);
    format!("--condition {}={value}", label.name)
}

/// Two layers in one: `first` have their inputs in common, and the outputs of `last` ones are added up, the one times
/// 1 − w and the other times w.
fn side_by_side(
    free: &LayerWeights,
    told: &LayerWeights,
    inputs: usize,
    (first, last): (bool, bool),
    guidance: f32,
) -> LayerWeights {
    let zeros = vec![0.0; inputs];
    let scaled =
        |values: &[f32], factor: f32| values.iter().map(|value| factor * value).collect::<Vec<f32>>();
    let (of_free, of_told) = if last { (1.0 - guidance, guidance) } else { (1.0, 1.0) };
    let sum = |a: &[f32], b: &[f32]| -> Vec<f32> {
        a.iter().zip(b).map(|(a, b)| (1.0 - guidance) * a + guidance * b).collect()
    };
    let (a, b) = (free.0.chunks_exact(inputs), told.0.chunks_exact(inputs));
    match (first, last) {
        (true, true) => (sum(&free.0, &told.0), sum(&free.1, &told.1)),
        (false, true) => {
            let rows = a.zip(b).flat_map(|(a, b)| [scaled(a, of_free), scaled(b, of_told)].concat());
            (rows.collect(), sum(&free.1, &told.1))
        }
        (true, false) => ([&free.0[..], &told.0].concat(), [&free.1[..], &told.1].concat()),
        (false, false) => {
            let above = a.flat_map(|row| [row, &zeros].concat());
            let below = b.flat_map(|row| [&zeros, row].concat());
            (above.chain(below).collect(), [&free.1[..], &told.1].concat())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::LabelKind;
    use crate::model::Activation;

    fn model(hidden: &[usize]) -> Model {
        let architecture = Architecture {
            dim: 2,
            hidden: hidden.to_vec(),
            activation: Activation::default(),
            time_frequencies: 1,
            condition_features: 5,
        };
        let weights = architecture.initialize(3);
        let label =
            |name: &str, kind| Label { name: name.to_owned(), kind, column: None, stored: None, place: None };
        let names = ["a", "b", "c"].map(str::to_owned).to_vec();
        Model {
            conditions: vec![
                label("k", LabelKind::Class { names }),
                label("x", LabelKind::Number { mean: 1.0, std: 2.0 }),
            ],
            label_dropout: 0.1,
            ..Model::new(architecture, weights)
        }
    }

    /// v of the float64 twin, with SiLU between the layers.
    fn velocity(model: &Model, features: &[f64]) -> Vec<f64> {
        let mut h = features.to_vec();
        let last = model.weights.len() - 1;
        for (at, (weight, bias)) in model.weights.iter().enumerate() {
            assert_eq!(weight.len(), h.len() * bias.len(), "layer {at}");
            let rows = weight.chunks_exact(h.len()).zip(bias);
            h = rows
                .map(|(row, bias)| {
                    let z =
                        row.iter().zip(&h).map(|(w, h)| f64::from(*w) * h).sum::<f64>() + f64::from(*bias);
                    if at == last { z } else { z / (1.0 + (-z).exp()) }
                })
                .collect();
        }
        h
    }

    fn given(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn guidance_is_linear_between_the_free_and_the_told_velocity() {
        let point = [0.3, -1.2, 0.4, 0.6, -0.8];
        for hidden in [&[][..], &[7], &[7, 9], &[4, 5, 6]] {
            let model = model(hidden);
            let condition = model.condition(&given(&[("x", "2"), ("k", "c")])).unwrap();
            assert_eq!(condition, [0.0, 0.0, 1.0, 0.5, 1.0]);
            let with = |condition: [f64; 5]| velocity(&model, &[&point[..], &condition].concat());
            let (free, told) = (with([0.0; 5]), with([0.0, 0.0, 1.0, 0.5, 1.0]));
            assert_ne!(free, told);
            for w in [0.0f32, 1.0, 0.5, 2.0, -1.0, 7.5] {
                let guided = model.guided(&condition, w).unwrap();
                assert!(!guided.is_conditional());
                let got = velocity(&guided, &point);
                for ((got, free), told) in got.iter().zip(&free).zip(&told) {
                    let want = (1.0 - f64::from(w)) * free + f64::from(w) * told;
                    assert!(
                        (got - want).abs() < 2e-6 * (1.0 + f64::from(w.abs())),
                        "{hidden:?} {w}: {got} {want}"
                    );
                }
            }
        }
    }

    #[test]
    fn conditions_are_given_in_whole() {
        let model = model(&[3]);
        let refused = |pairs: &[(&str, &str)]| model.condition(&given(pairs)).unwrap_err().to_string();
        assert_eq!(
            refused(&[("k", "a")]),
            "--condition lacks `x`; the model is conditional on k, x: give all of them, or none"
        );
        assert_eq!(refused(&[("z", "a")]), "the model is not conditional on `z`; it is on k, x");
        assert_eq!(refused(&[("k", "d"), ("x", "0")]), "`k` has no class `d`; it has a, b, c");
        assert!(refused(&[("k", "a"), ("x", "inf")]).contains("no finite number"));
        assert!(refused(&[("k", "a"), ("k", "b")]).contains("twice"));
        let condition = model.condition(&given(&[("k", "a"), ("x", "0")])).unwrap();
        let strict = Model { label_dropout: 0.0, ..model.clone() };
        assert!(strict.under(&condition).is_ok());
        let untold = strict.unconditional().unwrap_err().to_string();
        assert!(untold.contains("--condition k=a --condition x=0"), "{untold}");
        let guided = strict.guided(&condition, 2.0).unwrap_err().to_string();
        assert!(guided.contains("--guidance 2 ") && guided.contains("--label-dropout"), "{guided}");
        let free = model.unconditional().unwrap();
        assert_eq!(free.unconditional().unwrap(), free);
        assert!(free.condition(&[]).unwrap_err().to_string().contains("conditional on nothing"));
        assert!(model.guided(&condition, f32::NAN).is_err());
    }
}
