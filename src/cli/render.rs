//! `windfield render`: pictures and animations of a model's flow.

use std::path::{Path, PathBuf};

use serde::Serialize;
use windfield::data::Dataset;
use windfield::flow::Method;
use windfield::model::Model;
use windfield::render::{Bending, Crossing, Format, Page, Velocity, View, film};
use windfield::report::plot::{FieldStyle, Theme};
use windfield::sample::Sampler;

use super::flags::{ConditionArgs, SolverArgs};
use super::{Adapter, Context, Usage, interrupt, sample};

/// Particles that say what window is shown.
const LOOK: usize = 4000;
/// Trajectories where no other number is asked for.
const TRAJECTORIES: usize = 1000;
/// Particles on an animated field likewise.
const PARTICLES: usize = 400;
/// Sides of a picture in pixels.
const SIDES: std::ops::RangeInclusive<u32> = 160..=8192;

/// The kinds of pictures: the name and what it shows.
const SHOWS: [(&str, &str); 3] = [
    ("velocity", "the field that the model has learned, coloured by speed"),
    ("trajectories", "the ways of particles from noise to data, coloured by how much they bend"),
    ("crossing", "where the conditional paths to --data cross: the variance of their velocity"),
];

/// Pictures and animations of a model's flow
///
/// A .png shows one time, --time; a .gif, or a folder that ends in a slash, goes from noise to data. Axes are in data
/// units. Of a model with one column, the time goes from left to right.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Args {
    /// The model file that `windfield train` wrote
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// What to show: the velocity field, trajectories coloured by bending, or where conditional paths cross
    #[arg(long, value_name = "KIND", help_heading = "Picture", default_value = SHOWS[0].0,
        value_parser = clap::builder::PossibleValuesParser::new(SHOWS.map(|(name, help)| {
            clap::builder::PossibleValue::new(name).help(help)
        })))]
    show: String,
    /// How a velocity field is drawn: streaks along its lines (line integral convolution), or arrows [default: lic]
    #[arg(long, value_name = "STYLE", help_heading = "Picture", value_parser = ["lic", "arrows"])]
    field: Option<String>,
    /// The data whose paths cross, for --show crossing: a built-in name, `name:N`, or a file
    #[arg(long, value_name = "SOURCE", help_heading = "Picture")]
    data: Option<String>,
    /// Two columns, counted from 0, of a model that has more; the others are at their means
    #[arg(long, value_name = "A,B", help_heading = "Picture", value_delimiter = ',')]
    columns: Option<Vec<usize>>,
    /// The time of a still, from 0 (noise) to 1 (data) [default: 0.5; of trajectories 1]
    #[arg(long, short, value_name = "T", help_heading = "Picture")]
    time: Option<f64>,
    /// Particles: trajectories, or dots on the field [default: 1000 trajectories; 400 dots on an animated field]
    #[arg(short, value_name = "COUNT", help_heading = "Picture")]
    n: Option<usize>,
    /// Width and height in pixels
    #[arg(long, value_name = "WxH", help_heading = "Picture", default_value = "640x560")]
    size: String,
    /// Pictures a second of an animation
    #[arg(long, value_name = "COUNT", help_heading = "Picture", default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..=50))]
    fps: u32,
    /// Length of an animation, which stays at its end for a second more
    #[arg(long, value_name = "SECONDS", help_heading = "Picture", default_value_t = 4.0)]
    seconds: f64,
    /// Dark ink on white paper, or light ink on dark paper
    #[arg(long, value_name = "THEME", help_heading = "Picture", value_parser = ["light", "dark"], default_value = "light")]
    theme: String,
    #[command(flatten)]
    condition: ConditionArgs,
    #[command(flatten)]
    solver: SolverArgs,
    /// The file: .png, .gif, or a new folder for a PNG of each picture, which ends in a slash
    #[arg(long, short, value_name = "FILE", help_heading = "Output", default_value = "flow.png")]
    out: PathBuf,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Summary<'a> {
    schema: u32,
    model: &'a Path,
    show: &'a str,
    out: &'a Path,
    frames: usize,
    width: u32,
    height: u32,
    /// Of --show crossing: C.
    crossing_energy: Option<f64>,
    /// Of --show trajectories: the mean of length over distance.
    curvature: Option<f64>,
    adapter: Adapter,
}

#[allow(clippy::too_many_lines, reason = "a table of kinds, each with what it needs")]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "pictures are few, and within their limits"
)]
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let size = size(&args.size)?;
    let format = Format::of(&args.out).map_err(Usage::of)?;
    coherent(args, format)?;
    interrupt::watch()?;
    let model = args.condition.of(&Model::load(&args.model)?)?;
    let options = args.solver.options(context, 0.0, 1.0)?;
    if options.solver.method == Method::Stochastic {
        return Err(Usage("a picture shows the flow itself; choose a --solver without noise".into()).into());
    }
    options.validate().map_err(Usage::of)?;
    let data =
        args.data.as_deref().map(|name| Dataset::open_as(name, model.preparation.as_ref())).transpose()?;
    let source = model.source.as_deref();
    let source =
        source.map(|name| sample::open_source(name, false, model.preparation.as_ref())).transpose()?;
    let device = context.device_for([&model.architecture.hidden[..]])?;
    let mut sampler = Sampler::new(&device, &model, source.as_ref(), options)?;
    sampler.stop_when(interrupt::requested);
    let look = sampler.chunk_rows().min(LOOK);
    let (mut begin, mut end) = (sampler.noise(0, look)?, sampler.sample(0, look)?);
    sampler.to_data_units(&mut begin);
    sampler.to_data_units(&mut end);
    let view = View::new(&model, args.columns.as_deref(), &begin, &end)?;
    let moves = format != Format::Png;
    if moves && view.has_time() && args.show != "trajectories" {
        return Err(
            Usage("of one column, the time is an axis: there is one picture; give a .png".into()).into()
        );
    }
    let count = if moves { (args.seconds * f64::from(args.fps)).round().max(2.0) as usize } else { 1 };
    let still = args.time.unwrap_or(if args.show == "trajectories" { 1.0 } else { 0.5 });
    let last = (count.max(2) - 1) as f64;
    let times: Vec<f64> = (0..count).map(|i| if moves { i as f64 / last } else { still }).collect();
    let theme = if args.theme == "dark" { Theme::dark() } else { Theme::default() };
    let mut page = Page {
        size,
        title: String::new(),
        subtitle: String::new(),
        names: view.names.clone(),
        time: None,
        legend: None,
    };
    let timed = |page: &Page, t: f64| Page { time: (!view.has_time()).then_some(t), ..page.clone() };
    let limits = view.limits;
    let mut progress = context.progress(0, count as u64);
    let mut shown = |number: usize| {
        progress.show(number as u64, String::new);
        if interrupt::requested() { Err(windfield::Error::Interrupted) } else { Ok(()) }
    };
    let (mut energy, mut curvature) = (None, None);
    let shape = (size, args.fps);
    let result = match args.show.as_str() {
        "trajectories" => {
            let paths = Bending::new(&mut sampler, view.clone(), args.n.unwrap_or(TRAJECTORIES))?;
            curvature = Some(paths.mean());
            page.title = "Trajectories".into();
            page.subtitle = format!("length/distance {:.2} on average", paths.mean());
            page.legend = Some(paths.legend(&theme));
            film(&args.out, format, count, shape, |i| {
                shown(i)?;
                timed(&page, times[i]).draw(&theme, &limits, |canvas, theme, panel| {
                    paths.paint(canvas, theme, panel, times[i]);
                    Ok(())
                })
            })
        }
        "crossing" => {
            let Some(data) = &data else { return Err(Usage(CROSSING.into()).into()) };
            let crossing = Crossing::new(&device, data, &model, view.clone(), &times, interrupt::requested)?;
            let (mean, error) = crossing.energy()?;
            energy = Some(mean);
            page.title = "Where paths cross".into();
            page.subtitle = format!("crossing energy C = {mean:.3} ± {:.3}", 2.0 * error);
            page.legend = Some(crossing.legend(&theme));
            film(&args.out, format, count, shape, |i| {
                shown(i)?;
                timed(&page, times[i]).draw(&theme, &limits, |canvas, theme, panel| {
                    crossing.paint(canvas, theme, panel, times[i])
                })
            })
        }
        _ => {
            let arrows = args.field.as_deref() == Some("arrows");
            let style = if arrows { FieldStyle::Arrows } else { FieldStyle::Texture };
            let particles = match args.n.unwrap_or(if moves { PARTICLES } else { 0 }) {
                0 => None,
                n => Some(Bending::new(&mut sampler, view.clone(), n)?),
            };
            let mut field = Velocity::new(&device, &model, view.clone(), style, &times, context.seed())?;
            page.title = "Velocity".into();
            page.legend = Some(field.legend(&theme));
            film(&args.out, format, count, shape, |i| {
                shown(i)?;
                let places = particles.as_ref().map(|paths| paths.places(times[i])).unwrap_or_default();
                // One wave a second.
                let phase = moves.then(|| i as f32 / args.fps as f32);
                timed(&page, times[i]).draw(&theme, &limits, |canvas, theme, panel| {
                    field.paint(canvas, theme, panel, times[i], phase, &places)
                })
            })
        }
    };
    result.map_err(|error| interrupt::explain(error.into(), "nothing was written"))?;
    progress.clear();
    context.say(&format!("wrote     {}", args.out.display()));
    context.object(&Summary {
        schema: 1,
        model: &args.model,
        show: &args.show,
        out: &args.out,
        frames: count,
        width: size[0],
        height: size[1],
        crossing_energy: energy,
        curvature,
        adapter: Adapter::of(&device),
    })
}

const CROSSING: &str = "--show crossing needs the data whose paths cross; give --data SOURCE";

/// Whether what was asked for goes together.
fn coherent(args: &Args, format: Format) -> Result<(), Usage> {
    let wrong = |text: String| Err(Usage(text));
    match args.show.as_str() {
        "crossing" if args.data.is_none() => return wrong(CROSSING.into()),
        "crossing" if args.condition.describe().is_some() => {
            return wrong("--show crossing is of --data, not of a --condition; leave it out".into());
        }
        "crossing" if args.n.is_some() => return wrong("-n goes with trajectories and velocity".into()),
        "crossing" => {}
        _ if args.data.is_some() => return wrong("--data goes with --show crossing".into()),
        _ => {}
    }
    if args.field.is_some() && args.show != "velocity" {
        return wrong("--field goes with --show velocity".into());
    }
    if args.time.is_some_and(|t| !(0.0..=1.0).contains(&t)) {
        return wrong("--time is not in [0, 1]; 0 is noise, 1 is data".into());
    }
    if args.time.is_some() && format != Format::Png {
        return wrong("--time goes with a .png; an animation shows all times".into());
    }
    if !(0.1..=600.0).contains(&args.seconds) {
        return wrong(format!("--seconds {} is out of range; it takes 0.1 to 600", args.seconds));
    }
    Ok(())
}

/// Two sides in pixels.
fn size(text: &str) -> Result<[u32; 2], Usage> {
    let sides: Vec<Option<u32>> = text.split(['x', '×']).map(|side| side.trim().parse().ok()).collect();
    match sides[..] {
        [Some(width), Some(height)] if SIDES.contains(&width) && SIDES.contains(&height) => {
            Ok([width, height])
        }
        _ => Err(Usage(format!(
            "--size {text} is no size; it takes WIDTHxHEIGHT in pixels from {} to {}, such as 640x560",
            SIDES.start(),
            SIDES.end()
        ))),
    }
}
