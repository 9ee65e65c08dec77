//! A model as an ONNX file (Open Neural Network Exchange, opset 17), which onnxruntime and others evaluate.
//!
//! | name | shape | what it is |
//! | --- | --- | --- |
//! | `x` | [N, d] | points |
//! | `t` | [N, 1] | their times |
//! | `condition` | [N, C] | of a conditional model: the features of the condition, zeros for none |
//! | `v` | [N, d] | velocities |
//!
//! N is free. Points and velocities are in data units, or in the network's own. The layers are `Gemm`s with the tensors of
//! the model file, under their names there.
//!
//! The messages are those of [onnx.proto], as far as such a graph needs them.
//!
//! [onnx.proto]: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto

use std::path::Path as FilePath;

use prost::Message;

use super::activation::Activation;
use super::file::Model;
use crate::{Error, Result, files};

/// The operators that the graph is written in.
const OPSET: i64 = 17;
/// The version of the format that belongs to them.
const IR_VERSION: i64 = 8;
/// Protocol buffers end at 2 GiB.
const LARGEST: usize = (1 << 31) - 1;

/// `TensorProto.DataType.FLOAT`.
const FLOAT: i32 = 1;

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(string, tag = "3")]
    producer_version: String,
    #[prost(string, tag = "6")]
    doc_string: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSetId>,
    #[prost(message, repeated, tag = "14")]
    metadata_props: Vec<Property>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSetId {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Property {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(float, optional, tag = "2")]
    f: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    i: Option<i64>,
    /// 1: `f`, 2: `i`.
    #[prost(int32, tag = "20")]
    kind: i32,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    /// Little-endian.
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfo {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorType {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<TensorShape>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorShape {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, optional, tag = "1")]
    dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    dim_param: Option<String>,
}

fn int(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A tensor `[N, width]`.
fn rows(name: &str, width: usize) -> ValueInfo {
    let dim = vec![
        Dimension { dim_param: Some("N".to_owned()), dim_value: None },
        Dimension { dim_value: Some(int(width)), dim_param: None },
    ];
    let tensor_type = Some(TensorType { elem_type: FLOAT, shape: Some(TensorShape { dim }) });
    ValueInfo { name: name.to_owned(), kind: Some(TypeProto { tensor_type }) }
}

/// A graph that grows, one operator after the other.
#[derive(Default)]
struct Graph {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

impl Graph {
    /// Applies an operator; its result is called `output`.
    fn apply(&mut self, operator: &str, inputs: &[&str], output: &str, attribute: Vec<Attribute>) -> String {
        self.nodes.push(NodeProto {
            input: inputs.iter().map(ToString::to_string).collect(),
            output: vec![output.to_owned()],
            name: output.to_owned(),
            op_type: operator.to_owned(),
            attribute,
        });
        output.to_owned()
    }

    fn constant(&mut self, name: &str, shape: &[usize], values: impl IntoIterator<Item = f32>) -> String {
        self.constants.push(TensorProto {
            dims: shape.iter().map(|size| int(*size)).collect(),
            data_type: FLOAT,
            name: name.to_owned(),
            raw_data: values.into_iter().flat_map(f32::to_le_bytes).collect(),
        });
        name.to_owned()
    }

    /// `activation(z)`, as the kernels compute it. `None` if there is no translation.
    fn activation(&mut self, activation: Activation, z: &str, output: &str) -> Option<String> {
        let named = |name: &str| format!("{output}.{name}");
        Some(match activation.name() {
            "relu" => self.apply("Relu", &[z], output, vec![]),
            "tanh" => self.apply("Tanh", &[z], output, vec![]),
            "softplus" => self.apply("Softplus", &[z], output, vec![]),
            "selu" => {
                let attributes = vec![float("alpha", 1.673_263_2), float("gamma", 1.050_701)];
                self.apply("Selu", &[z], output, attributes)
            }
            "silu" => {
                let s = self.apply("Sigmoid", &[z], &named("sigmoid"), vec![]);
                self.apply("Mul", &[z, &s], output, vec![])
            }
            "gelu" => {
                // z/2·(1 + tanh(z·(√(2/π) + √(2/π)·0.044715·z²)))
                let mut constant = |name: &str, value: f32| self.constant(&named(name), &[], [value]);
                let (linear, cubic) = (constant("linear", 0.797_884_6), constant("cubic", 0.035_677_407));
                let (one, half) = (constant("one", 1.0), constant("half", 0.5));
                let square = self.apply("Mul", &[z, z], &named("square"), vec![]);
                let cubic = self.apply("Mul", &[&square, &cubic], &named("bend"), vec![]);
                let slope = self.apply("Add", &[&cubic, &linear], &named("slope"), vec![]);
                let inner = self.apply("Mul", &[z, &slope], &named("inner"), vec![]);
                let tanh = self.apply("Tanh", &[&inner], &named("tanh"), vec![]);
                let sum = self.apply("Add", &[&tanh, &one], &named("sum"), vec![]);
                let halved = self.apply("Mul", &[z, &half], &named("halved"), vec![]);
                self.apply("Mul", &[&halved, &sum], output, vec![])
            }
            _ => return None,
        })
    }
}

fn float(name: &str, value: f32) -> Attribute {
    Attribute { name: name.to_owned(), f: Some(value), i: None, kind: 1 }
}

fn integer(name: &str, value: i64) -> Attribute {
    Attribute { name: name.to_owned(), f: None, i: Some(value), kind: 2 }
}

#[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
fn single(values: &[f64]) -> impl Iterator<Item = f32> {
    values.iter().map(|value| *value as f32)
}

impl Model {
    /// The model as an ONNX file: `v` [N, d] of `x` [N, d] and `t` [N, 1], and of `condition` [N, C] if it is conditional.
    /// In data units, unless `raw`: then in the network's own.
    ///
    /// # Errors
    /// [`Error::Config`] if the file would be larger than 2 GiB, which its format cannot hold.
    pub fn to_onnx(&self, raw: bool) -> Result<Vec<u8>> {
        let bytes = 4 * self.architecture.parameters();
        if bytes > LARGEST - (1 << 20) {
            return Err(Error::config(
                format!("the model's {bytes} bytes of weights are more than an ONNX file holds"),
                "export a model with narrower layers",
            ));
        }
        Ok(self.onnx(raw)?.encode_to_vec())
    }

    /// Writes [`to_onnx`](Self::to_onnx) as the file `path`, whole or not at all.
    ///
    /// # Errors
    /// As of [`to_onnx`](Self::to_onnx), and [`Error::Io`].
    pub fn save_onnx(&self, path: impl AsRef<FilePath>, raw: bool) -> Result<()> {
        files::write_bytes(path, self.to_onnx(raw)?)
    }

    fn onnx(&self, raw: bool) -> Result<ModelProto> {
        let architecture = &self.architecture;
        let (dim, frequencies) = (architecture.dim, architecture.time_frequencies);
        let told = architecture.features() - dim - 1 - 2 * frequencies;
        let units = self.standardization.as_ref().filter(|_| !raw);
        let mut graph = Graph::default();
        let mut features = vec!["x".to_owned(), "t".to_owned()];
        if let Some(units) = units {
            let mean = graph.constant("mean", &[dim], single(&units.mean));
            let std = graph.constant("std", &[dim], single(&units.std));
            let shifted = graph.apply("Sub", &["x", &mean], "x.shifted", vec![]);
            features[0] = graph.apply("Div", &[&shifted, &std], "x.standardized", vec![]);
        }
        if frequencies > 0 {
            // The turns kt lose their whole part before they are angles, as in the kernels.
            #[allow(clippy::cast_precision_loss, reason = "frequencies are far below 2^24")]
            let k = graph.constant("frequencies", &[1, frequencies], (1..=frequencies).map(|k| k as f32));
            let tau = graph.constant("tau", &[], [std::f32::consts::TAU]);
            let turns = graph.apply("Mul", &["t", &k], "t.turns", vec![]);
            let whole = graph.apply("Round", &[&turns], "t.whole", vec![]);
            let part = graph.apply("Sub", &[&turns, &whole], "t.part", vec![]);
            let angle = graph.apply("Mul", &[&part, &tau], "t.angle", vec![]);
            features.push(graph.apply("Sin", &[&angle], "t.sin", vec![]));
            features.push(graph.apply("Cos", &[&angle], "t.cos", vec![]));
        }
        if told > 0 {
            features.push("condition".to_owned());
        }
        let names: Vec<&str> = features.iter().map(String::as_str).collect();
        let mut h = graph.apply("Concat", &names, "features", vec![integer("axis", 1)]);
        let layers = architecture.layers();
        for (layer, ((weight, bias), (inputs, outputs))) in self.weights.iter().zip(&layers).enumerate() {
            let last = layer + 1 == layers.len();
            let w = graph.constant(
                &format!("layers.{layer}.weight"),
                &[*outputs, *inputs],
                weight.iter().copied(),
            );
            let b = graph.constant(&format!("layers.{layer}.bias"), &[*outputs], bias.iter().copied());
            let z = if last && units.is_none() { "v".to_owned() } else { format!("layers.{layer}") };
            h = graph.apply("Gemm", &[&h, &w, &b], &z, vec![integer("transB", 1)]);
            if !last {
                let activation = architecture.activation;
                let output = format!("layers.{layer}.{}", activation.name());
                h = graph.activation(activation, &z, &output).ok_or_else(|| {
                    Error::config(
                        format!("the activation {} has no translation into ONNX", activation.name()),
                        "export a model with another --activation",
                    )
                })?;
            }
        }
        if units.is_some() {
            graph.apply("Mul", &[&h, "std"], "v", vec![]);
        }
        let mut input = vec![rows("x", dim), rows("t", 1)];
        if told > 0 {
            input.push(rows("condition", told));
        }
        let property = |key: &str, value: String| Property { key: key.to_owned(), value };
        let units = if raw && self.standardization.is_some() { "network" } else { "data" };
        Ok(ModelProto {
            ir_version: IR_VERSION,
            producer_name: "windfield".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            doc_string: "The velocity v(x, t) of a flow from noise at t = 0 to data at t = 1.".to_owned(),
            graph: Some(GraphProto {
                node: graph.nodes,
                name: "velocity".to_owned(),
                initializer: graph.constants,
                input,
                output: vec![rows("v", dim)],
            }),
            opset_import: vec![OperatorSetId { domain: String::new(), version: OPSET }],
            metadata_props: vec![property("windfield", self.record()?), property("units", units.to_owned())],
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::data::Standardization;
    use crate::model::{ACTIVATIONS, Architecture};

    /// A matrix: rows and values.
    type Matrix = (usize, Vec<f32>);

    /// Evaluates a graph, by the definitions of its operators.
    fn evaluate(model: &ModelProto, inputs: &[(&str, Matrix)]) -> Matrix {
        let graph = model.graph.as_ref().unwrap();
        let mut known: BTreeMap<String, Matrix> =
            inputs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        for tensor in &graph.initializer {
            let values: Vec<f32> = tensor
                .raw_data
                .chunks_exact(4)
                .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
                .collect();
            assert_eq!(tensor.dims.iter().product::<i64>(), int(values.len()), "{}", tensor.name);
            let rows = if tensor.dims.len() == 2 { usize::try_from(tensor.dims[0]).unwrap() } else { 1 };
            known.insert(tensor.name.clone(), (rows, values));
        }
        for node in &graph.node {
            let operand = |at: usize| {
                known
                    .get(&node.input[at])
                    .unwrap_or_else(|| panic!("{} comes before {}", node.output[0], node.input[at]))
            };
            let attribute =
                |name: &str| node.attribute.iter().find(|attribute| attribute.name == name).unwrap();
            let (rows, x) = operand(0).clone();
            let unary = |f: fn(f32) -> f32| (rows, x.iter().map(|x| f(*x)).collect());
            let binary = |f: fn(f32, f32) -> f32| {
                let (others, y) = operand(1);
                let all = rows.max(*others);
                let (a, b) = (x.len() / rows, y.len() / others);
                let width = a.max(b);
                let at = |values: &[f32], rows: usize, own: usize, row: usize, column: usize| {
                    values[row % rows * own + column % own]
                };
                let values = (0..all * width).map(|i| (i / width, i % width));
                let values = values
                    .map(|(row, column)| f(at(&x, rows, a, row, column), at(y, *others, b, row, column)));
                (all, values.collect())
            };
            let result = match node.op_type.as_str() {
                "Relu" => unary(|z| z.max(0.0)),
                "Tanh" => unary(f32::tanh),
                "Sigmoid" => unary(|z| 1.0 / (1.0 + (-z).exp())),
                "Softplus" => unary(|z| z.exp().ln_1p()),
                "Sin" => unary(f32::sin),
                "Cos" => unary(f32::cos),
                "Round" => unary(f32::round_ties_even),
                "Selu" => {
                    let [alpha, gamma] = ["alpha", "gamma"].map(|name| attribute(name).f.unwrap());
                    (rows, x.iter().map(|z| gamma * if *z > 0.0 { *z } else { alpha * z.exp_m1() }).collect())
                }
                "Add" => binary(|a, b| a + b),
                "Sub" => binary(|a, b| a - b),
                "Mul" => binary(|a, b| a * b),
                "Div" => binary(|a, b| a / b),
                "Concat" => {
                    assert_eq!(attribute("axis").i, Some(1));
                    let row = |row: usize| {
                        (0..node.input.len()).flat_map(move |at| {
                            let (rows, values) = operand(at);
                            values.chunks(values.len() / rows).nth(row).unwrap().to_vec()
                        })
                    };
                    (rows, (0..rows).flat_map(row).collect())
                }
                "Gemm" => {
                    assert_eq!(attribute("transB").i, Some(1));
                    let ((outputs, w), (_, b)) = (operand(1), operand(2));
                    let inputs = w.len() / outputs;
                    assert_eq!((x.len(), b.len()), (rows * inputs, *outputs));
                    let dot = |row: usize, out: usize| -> f32 {
                        let products = (0..inputs).map(|i| x[row * inputs + i] * w[out * inputs + i]);
                        products.sum::<f32>() + b[out]
                    };
                    (rows, (0..rows * outputs).map(|i| dot(i / outputs, i % outputs)).collect())
                }
                other => panic!("{other}"),
            };
            assert!(known.insert(node.output[0].clone(), result).is_none(), "{} twice", node.output[0]);
        }
        known[&graph.output[0].name].clone()
    }

    /// v(x, t) in float64, in data units.
    fn velocity(model: &Model, x: &[f32], t: f64) -> Vec<f64> {
        let units = model.standardization.as_ref().unwrap();
        let mut h: Vec<f64> = x
            .iter()
            .zip(units.mean.iter().zip(&units.std))
            .map(|(x, (m, s))| (f64::from(*x) - m) / s)
            .collect();
        h.push(t);
        let angles = (1..=model.architecture.time_frequencies).map(|k| std::f64::consts::TAU * k as f64 * t);
        let angles: Vec<f64> = angles.collect();
        h.extend(angles.iter().map(|angle| angle.sin()));
        h.extend(angles.iter().map(|angle| angle.cos()));
        for (layer, (weight, bias)) in model.weights.iter().enumerate() {
            if layer > 0 {
                for z in &mut h {
                    *z = match model.architecture.activation.name() {
                        "silu" => *z / (1.0 + (-*z).exp()),
                        "relu" => z.max(0.0),
                        "gelu" => {
                            0.5 * *z * (1.0 + (0.797_884_560_802_865_4 * (*z + 0.044_715 * z.powi(3))).tanh())
                        }
                        "selu" if *z > 0.0 => 1.050_700_987_355_480_5 * *z,
                        "selu" => 1.758_099_340_847_376_6 * z.exp_m1(),
                        "tanh" => z.tanh(),
                        "softplus" => z.exp().ln_1p(),
                        other => panic!("{other}"),
                    };
                }
            }
            let row = |(row, bias): (&[f32], &f32)| {
                row.iter().zip(&h).map(|(w, h)| f64::from(*w) * h).sum::<f64>() + f64::from(*bias)
            };
            h = weight.chunks(h.len()).zip(bias).map(row).collect();
        }
        h.iter().zip(&units.std).map(|(v, s)| v * s).collect()
    }

    #[test]
    fn graphs_compute_what_the_network_does() {
        for (at, (name, ..)) in ACTIVATIONS.iter().enumerate() {
            let architecture = Architecture {
                dim: 3,
                hidden: vec![[7, 11], [16, 5]][at % 2].to_vec(),
                activation: name.parse().unwrap(),
                time_frequencies: at % 3,
                condition_features: 0,
            };
            let mut model = Model::new(architecture.clone(), architecture.initialize(at as u64));
            model.standardization =
                Some(Standardization { mean: vec![3.0, -1.0, 0.0], std: vec![2.0, 0.25, 1.0] });
            let proto = ModelProto::decode(model.to_onnx(false).unwrap().as_slice()).unwrap();
            assert_eq!(proto.opset_import[0].version, OPSET);
            let x = [3.5, -1.25, 0.7, -4.0, -0.9, 2.0];
            let t = [0.3, 0.95];
            let (rows, v) = evaluate(&proto, &[("x", (2, x.to_vec())), ("t", (2, t.to_vec()))]);
            assert_eq!((rows, v.len()), (2, 6));
            for (row, t) in t.iter().enumerate() {
                let expected = velocity(&model, &x[3 * row..3 * row + 3], f64::from(*t));
                for (ours, expected) in v[3 * row..].iter().zip(expected) {
                    assert!((f64::from(*ours) - expected).abs() < 3e-6, "{name}: {ours} {expected}");
                }
            }
            // In the network's own units, at the same points.
            let proto = ModelProto::decode(model.to_onnx(true).unwrap().as_slice()).unwrap();
            let mut raw = x.to_vec();
            let units = model.standardization.as_ref().unwrap();
            units.apply(&mut raw);
            let (_, mut w) = evaluate(&proto, &[("x", (2, raw)), ("t", (2, t.to_vec()))]);
            units.undo_scale(&mut w);
            assert!(w.iter().zip(&v).all(|(w, v)| (w - v).abs() < 3e-6), "{name}");
            let property = |key: &str| {
                proto.metadata_props.iter().find(|property| property.key == key).unwrap().value.clone()
            };
            assert_eq!(property("units"), "network");
            assert!(property("windfield").contains(name));
        }
    }

    #[test]
    fn the_number_of_rows_is_free() {
        let architecture = Architecture {
            dim: 2,
            hidden: vec![],
            activation: Activation::default(),
            time_frequencies: 0,
            condition_features: 0,
        };
        let model = Model::new(architecture.clone(), architecture.initialize(0));
        let graph = model.onnx(false).unwrap().graph.unwrap();
        for (value, width) in graph.input.iter().chain(&graph.output).zip([2, 1, 2]) {
            let shape = value.kind.clone().unwrap().tensor_type.unwrap().shape.unwrap();
            assert_eq!(shape.dim[0].dim_param.as_deref(), Some("N"));
            assert_eq!(shape.dim[1].dim_value, Some(width));
        }
        assert_eq!(graph.node.len(), 2, "a linear model: the features, and one product");
        assert_eq!(graph.node[1].output, ["v"]);
    }
}
