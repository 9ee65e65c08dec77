//! A page that runs a model's flow in a browser: one file of HTML, with the kernels and the weights in it.
//!
//! The kernels are those of [`Portable`]; what feeds them is `flow.js`, what shows their states `view.js` with
//! `points.wgsl` and `images.wgsl`, what a person does with them `page.js`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::data::{ImageShape, Label, LabelKind, Preparation, default_columns};
use crate::flow::{Method, SOLVERS, Solver};
use crate::model::Model;
use crate::sample::Portable;
use crate::{Error, Result, files};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: [&str; 3] = [include_str!("flow.js"), include_str!("view.js"), include_str!("page.js")];
const POINTS: &str = include_str!("points.wgsl");
const IMAGES: &str = include_str!("images.wgsl");
/// Columns of the data that can be chosen from.
const MOST_COLUMNS: usize = 4096;

/// What the page knows of the model. Arrays of numbers are base64.
#[derive(Serialize)]
struct Content<'a> {
    summary: String,
    dim: usize,
    columns: Vec<String>,
    mean: Vec<f64>,
    std: Vec<f64>,
    /// The standard deviation of the noise.
    deviation: f32,
    image: Option<Image>,
    /// WGSL of the kernels, each once.
    sources: Vec<String>,
    /// Which of them draws noise.
    noise: usize,
    solvers: Vec<SolverEntry>,
    plain: Network,
    /// What it is conditional on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<LabelEntry<'a>>,
    /// What of W of the first layer meets the condition: `[outputs, features]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    told: Option<String>,
    /// Two networks side by side, where guidance is possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    guided: Option<Network>,
    /// WGSL of the picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    points: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<&'static str>,
}

#[derive(Serialize)]
struct Image {
    #[serde(flatten)]
    shape: ImageShape,
    /// Black and white, where the data said so.
    range: Option<[f32; 2]>,
}

#[derive(Serialize)]
struct SolverEntry {
    name: &'static str,
    help: &'static str,
    nodes: &'static [f64],
    multistep: bool,
    tableau: String,
}

/// A network, and its kernel for each solver.
#[derive(Serialize)]
struct Network {
    kernels: BTreeMap<&'static str, Kernel>,
    table: String,
    parameters: String,
    /// Where the biases begin to which a condition is added.
    bias: usize,
    flops: u64,
    /// What a guidance of w adds w times, and where that begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    slope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slope_at: Option<usize>,
}

#[derive(Serialize)]
struct Kernel {
    source: usize,
    /// Of a workgroup.
    particles: u32,
}

#[derive(Serialize)]
struct LabelEntry<'a> {
    name: &'a str,
    #[serde(flatten)]
    kind: LabelEntryKind<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum LabelEntryKind<'a> {
    Class { classes: &'a [String] },
    Number { mean: f32, std: f32 },
}

impl<'a> From<&'a Label> for LabelEntry<'a> {
    fn from(label: &'a Label) -> Self {
        let kind = match &label.kind {
            LabelKind::Class { names } => LabelEntryKind::Class { classes: names },
            LabelKind::Number { mean, std } => LabelEntryKind::Number { mean: *mean, std: *std },
        };
        Self { name: &label.name, kind }
    }
}

/// The solvers that a page offers: those of fixed steps.
fn solvers() -> impl Iterator<Item = &'static Solver> {
    SOLVERS.iter().filter(|solver| matches!(solver.method, Method::RungeKutta | Method::Multistep))
}

/// Writes the page of a model, called `title`, as the file `path`, whole or not at all. `raw`: in the network's own units.
///
/// # Errors
/// As of [`page`], and [`Error::Io`].
pub fn save_page(model: &Model, title: &str, raw: bool, path: impl AsRef<Path>) -> Result<()> {
    files::write_bytes(path, page(model, title, raw)?.into_bytes())
}

/// A page of HTML that runs the model in a browser through WebGPU, with nothing to be fetched.
///
/// A conditional model asks for its condition, and for its guidance if it has learned to do without one and two of its
/// networks side by side fit the kernel.
///
/// # Errors
/// [`Error::Config`] for a network that is too large for [`Portable`], or a model that does not start from noise.
///
/// ```
/// use windfield::model::{Activation, Architecture, Model};
/// use windfield::report::page::page;
///
/// let architecture = Architecture {
///     dim: 2, hidden: vec![16], activation: Activation::default(), time_frequencies: 2, condition_features: 0,
/// };
/// let weights = architecture.initialize(0);
/// let html = page(&Model::new(architecture, weights), "moons", false)?;
/// assert!(html.starts_with("<!doctype html>") && html.contains("<title>moons</title>"));
/// # Ok::<(), windfield::Error>(())
/// ```
pub fn page(model: &Model, title: &str, raw: bool) -> Result<String> {
    let content = serde_json::to_string(&content(model, raw)?).map_err(|error| {
        Error::config(format!("the page of the model cannot be written ({error})"), "train it anew")
    })?;
    // Within a script, `<` could end it.
    let content = content.replace('<', "\\u003c");
    let parts = [
        ("TITLE", escape(title)),
        ("STYLE", STYLE.trim_end().to_owned()),
        ("VERSION", env!("CARGO_PKG_VERSION").to_owned()),
        ("MODEL", content),
        ("SCRIPT", SCRIPT.join("\n").trim_end().to_owned()),
    ];
    // In one pass over the page: what is put in is not looked at again.
    let mut pieces = PAGE.split("{{");
    let mut whole = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once("}}").unwrap_or((piece, ""));
        whole.extend(parts.iter().filter(|(known, _)| *known == name).map(|(_, text)| text.as_str()));
        whole.push_str(rest);
    }
    Ok(whole)
}

fn content(model: &Model, raw: bool) -> Result<Content<'_>> {
    let dim = model.architecture.dim;
    if let Some(source) = &model.source {
        return Err(Error::config(
            format!("the model starts from the data set `{source}`, and a page has noise alone"),
            "export it with --onnx",
        ));
    }
    if dim > MOST_COLUMNS {
        return Err(Error::config(
            format!("the model's points have {dim} columns"),
            format!("a page shows up to {MOST_COLUMNS}; export it with --onnx"),
        ));
    }
    let features = model.architecture.condition_features;
    let nothing = vec![0.0; features];
    let mut sources = vec![];
    let free = model.under(&nothing)?;
    let plain = network(&free, &mut sources)?;
    let noise = match solvers().next() {
        Some(solver) => Portable::new(&free, solver)?.noise,
        None => String::new(),
    };
    let noise = place(&mut sources, noise);
    let (mut told, mut guided) = (None, None);
    if features > 0 {
        let inputs = model.architecture.features();
        let first = model.weights.first().map(|(weight, _)| weight.as_slice()).unwrap_or_default();
        let columns: Vec<f32> =
            first.chunks_exact(inputs).flat_map(|row| &row[inputs - features..]).copied().collect();
        told = Some(floats(&columns));
        // What is larger than the kernel takes is left out: the page does without guidance.
        if !model.architecture.hidden.is_empty() && model.label_dropout > 0.0 {
            guided = guidance(model, &nothing, &mut sources)
                .ok()
                .filter(|guided| guided.kernels.len() == plain.kernels.len());
        }
    }
    let units = model.standardization.as_ref().filter(|_| !raw);
    let (mean, std) = units
        .map_or_else(|| (vec![0.0; dim], vec![1.0; dim]), |units| (units.mean.clone(), units.std.clone()));
    let range = match &model.preparation {
        Some(Preparation::Images { low, high, .. }) if !raw => Some([*low, *high]),
        _ => None,
    };
    let image = model.image.map(|shape| Image { shape, range });
    let columns = if model.columns.len() == dim { model.columns.clone() } else { default_columns(dim) };
    Ok(Content {
        summary: summary(model),
        dim,
        columns,
        mean,
        std,
        deviation: model.path.source_std(),
        noise,
        sources,
        solvers: solvers()
            .filter(|solver| plain.kernels.contains_key(solver.name))
            .map(|solver| {
                Ok(SolverEntry {
                    name: solver.name,
                    help: solver.help,
                    nodes: solver.c,
                    multistep: solver.method == Method::Multistep,
                    tableau: base64(&Portable::new(&free, solver)?.tableau),
                })
            })
            .collect::<Result<_>>()?,
        plain,
        labels: model.conditions.iter().map(LabelEntry::from).collect(),
        told,
        guided,
        points: image.is_none().then_some(POINTS),
        images: image.is_some().then_some(IMAGES),
        image,
    })
}

/// What it is, in a line.
fn summary(model: &Model) -> String {
    let dim = model.architecture.dim;
    let points = match model.image {
        Some(ImageShape { height, width, .. }) => format!("images of {width} × {height} pixels"),
        None if dim == 1 => "numbers".to_owned(),
        None => format!("points of {dim} dimensions"),
    };
    let hidden: Vec<String> = model.architecture.hidden.iter().map(ToString::to_string).collect();
    let network = if hidden.is_empty() { "linear".to_owned() } else { hidden.join(" × ") };
    format!("A learned flow from noise to {points} · path {} · network {network}", model.path.name())
}

/// Where a source is among all.
fn place(sources: &mut Vec<String>, source: String) -> usize {
    sources.iter().position(|known| *known == source).unwrap_or_else(|| {
        sources.push(source);
        sources.len() - 1
    })
}

fn network(model: &Model, sources: &mut Vec<String>) -> Result<Network> {
    let mut network = Network {
        kernels: BTreeMap::new(),
        table: String::new(),
        parameters: String::new(),
        bias: 0,
        flops: model.architecture.flops(),
        slope: None,
        slope_at: None,
    };
    for solver in solvers() {
        let portable = match Portable::new(model, solver) {
            Ok(portable) => portable,
            // The states of many stages may be too large where those of Euler's method are not.
            Err(_) if !network.kernels.is_empty() => continue,
            Err(error) => return Err(error),
        };
        let source = place(sources, portable.integrator);
        network.kernels.insert(solver.name, Kernel { source, particles: portable.particles });
        network.table = base64(&portable.table);
        network.parameters = floats(&portable.parameters);
        network.bias = portable.bias;
    }
    Ok(network)
}

/// Both networks side by side. The parameters are an affine function of the guidance, which two of its values tell.
fn guidance(model: &Model, nothing: &[f32], sources: &mut Vec<String>) -> Result<Network> {
    let (two, three) = (model.guided(nothing, 2.0)?, model.guided(nothing, 3.0)?);
    let mut network = network(&two, sources)?;
    let (two, three) = (two.packed(), three.packed());
    let slope: Vec<f32> = three.iter().zip(&two).map(|(three, two)| three - two).collect();
    let base: Vec<f32> = two.iter().zip(&slope).map(|(two, slope)| two - 2.0 * slope).collect();
    let begin = slope.iter().position(|slope| *slope != 0.0).unwrap_or(0);
    let end = slope.iter().rposition(|slope| *slope != 0.0).map_or(begin, |last| last + 1);
    network.parameters = floats(&base);
    network.slope = Some(floats(&slope[begin..end]));
    network.slope_at = Some(begin);
    // The one that is told is the second.
    network.bias += model.architecture.hidden.first().copied().unwrap_or(0);
    Ok(network)
}

/// Float32, the lowest byte first.
fn floats(values: &[f32]) -> String {
    base64(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word =
            group.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for letter in 0..4 {
            let place = (word >> (18 - 6 * letter) & 63) as usize;
            text.push(if letter > group.len() { '=' } else { char::from(LETTERS[place]) });
        }
    }
    text
}

/// As text of HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Activation, Architecture};
    use naga::valid::{Capabilities, ValidationFlags, Validator};

    fn model(hidden: &[usize], labels: Vec<Label>) -> Model {
        let architecture = Architecture {
            dim: 2,
            hidden: hidden.to_vec(),
            activation: Activation::default(),
            time_frequencies: 1,
            condition_features: labels.iter().map(Label::features).sum(),
        };
        let weights = architecture.initialize(3);
        Model { conditions: labels, label_dropout: 0.1, ..Model::new(architecture, weights) }
    }

    fn label() -> Label {
        let names = ["a", "b</script>"].map(str::to_owned).to_vec();
        Label {
            name: "k".to_owned(),
            kind: LabelKind::Class { names },
            column: None,
            stored: None,
            place: None,
        }
    }

    #[test]
    fn base64_is_that_of_the_standard() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[255, 254, 253]), "//79");
    }

    #[test]
    fn the_page_is_whole_and_nothing_in_it_ends_its_script() {
        let html = page(&model(&[8], vec![label()]), "a < b", false).unwrap();
        assert!(!html.contains("{{") && html.trim_end().ends_with("</html>"));
        assert!(html.contains("<title>a &lt; b</title>"));
        assert_eq!(html.matches("</script>").count(), 2);
        for host in ["http://", "https://"] {
            let links = html.matches(host).count();
            assert_eq!(
                links,
                html.matches("http://www.w3.org/2000/svg").count() * usize::from(host == "http://")
            );
        }
    }

    #[test]
    fn shaders_of_the_picture_are_valid() {
        for source in [POINTS, IMAGES] {
            let module = naga::front::wgsl::parse_str(source).unwrap();
            Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module).unwrap();
        }
    }

    #[test]
    fn guidance_is_offered_where_it_is_known_and_fits() {
        let offered = |model: &Model| content(model, false).unwrap().guided.is_some();
        assert!(offered(&model(&[64, 64], vec![label()])));
        assert!(!offered(&model(&[64], vec![])));
        assert!(!offered(&model(&[], vec![label()])));
        assert!(!offered(&model(&[200], vec![label()])), "two of them are too wide");
        assert!(!offered(&Model { label_dropout: 0.0, ..model(&[8], vec![label()]) }));
    }

    #[test]
    fn what_a_page_cannot_show_is_refused() {
        let from_data = Model { source: Some("rings".to_owned()), ..model(&[8], vec![]) };
        assert!(
            page(&from_data, "", false).unwrap_err().to_string().contains("starts from the data set `rings`")
        );
        let wide = page(&model(&[1000], vec![]), "", false).unwrap_err().to_string();
        assert!(wide.contains("too large") && wide.contains("--hidden"), "{wide}");
    }
}
