//! `windfield render`: pictures and animations of a model's flow.

use std::path::{Path, PathBuf};

use serde::Serialize;
use windfield::data::Dataset;
use windfield::flow::Method;
use windfield::model::Model;
use windfield::render::{
    Bending, Cloud, Crossing, Format, Images, Look, Page, Space, Velocity, View, film, fits,
};
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
/// Particles that are counted likewise.
const CLOUD: usize = 100_000;
/// Of a camera in orbit: where it begins, how far it goes, in turns, and the share of its way after which all particles
/// have arrived.
const ORBIT: (f64, f64, f64) = (0.09, 0.5, 0.6);
/// Sides of a picture in pixels.
const SIDES: std::ops::RangeInclusive<u32> = 160..=8192;

/// The kinds of pictures: the name and what it shows.
const SHOWS: [(&str, &str); 6] = [
    ("particles", "particles from noise to data, in two columns, or in three around which a camera goes"),
    ("density", "their probability density, in two columns"),
    ("images", "images out of noise, and what the model expects of each"),
    ("velocity", "the field that the model has learned, coloured by speed"),
    ("trajectories", "the ways of particles from noise to data, coloured by how much they bend"),
    ("crossing", "where the conditional paths to --data cross: the variance of their velocity"),
];

/// Pictures and animations of a model's flow
///
/// A .png shows one time, --time; a .gif, an .apng, or a folder that ends in a slash, goes from noise to data. Axes are in data
/// units. Of a model with one column, the time goes from left to right.
#[derive(Debug, clap::Args)]
#[command(allow_negative_numbers = true)]
pub struct Args {
    /// The model file that `windfield train` wrote
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// What to show [default: images of a model of images, velocity of one column, particles of all others]
    #[arg(long, value_name = "KIND", help_heading = "Picture",
        value_parser = clap::builder::PossibleValuesParser::new(SHOWS.map(|(name, help)| {
            clap::builder::PossibleValue::new(name).help(help)
        })))]
    show: Option<String>,
    /// How a velocity field is drawn: streaks along its lines (line integral convolution), or arrows [default: lic]
    #[arg(long, value_name = "STYLE", help_heading = "Picture", value_parser = ["lic", "arrows"])]
    field: Option<String>,
    /// The data whose paths cross, for --show crossing: a built-in name, `name:N`, or a file
    #[arg(long, value_name = "SOURCE", help_heading = "Picture")]
    data: Option<String>,
    /// Columns of a model that has more, by their names or counted from 0: two, or three for particles. In a velocity field
    /// the others are at their means
    #[arg(long, value_name = "A,B[,C]", help_heading = "Picture", value_delimiter = ',')]
    columns: Option<Vec<String>>,
    /// The time of a still, from 0 (noise) to 1 (data) [default: 1; of velocity and crossing 0.5]
    #[arg(long, short, value_name = "T", help_heading = "Picture")]
    time: Option<f64>,
    /// How many particles, trajectories or images [default: 100000 particles, 1000 trajectories, 36 images if they fit, 400 particles on
    /// an animated field]
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
    /// The file: .png, .gif, .apng, or a new folder for a PNG of each picture, which ends in a slash
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
    let unconditional = Model::load(&args.model)?;
    let show = args.show.as_deref().unwrap_or(match (unconditional.image, unconditional.architecture.dim) {
        (Some(_), _) => "images",
        (None, 1) => "velocity",
        _ => "particles",
    });
    coherent(args, show, format)?;
    interrupt::watch()?;
    let model = args.condition.of(&unconditional)?;
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
    let device = context.device_for_networks()?;
    let mut sampler = Sampler::new(&device, &model, source.as_ref(), options)?;
    sampler.stop_when(interrupt::requested);
    let moves = format != Format::Png;
    let still = args.time.unwrap_or(if ["velocity", "crossing"].contains(&show) { 0.5 } else { 1.0 });
    // The noise is seen whole where there is some.
    let whole = moves || show == "trajectories" || (["particles", "density"].contains(&show) && still < 1.0);
    let look = if show == "images" { None } else { Some(look(args, show, &mut sampler, whole)?) };
    let timeless = matches!(&look, Some(Look::Plane(view)) if view.has_time());
    if timeless && ["particles", "density"].contains(&show) {
        return Err(Usage(format!("--show {show} takes two columns or more; choose trajectories")).into());
    }
    if moves && timeless && show != "trajectories" {
        return Err(
            Usage("of one column, the time is an axis: there is one picture; give a .png".into()).into()
        );
    }
    let count = if moves { (args.seconds * f64::from(args.fps)).round().max(2.0) as usize } else { 1 };
    fits(count, size)?;
    let last = (count.max(2) - 1) as f64;
    let (begin, orbit, arrived) = ORBIT;
    let arrived = if matches!(look, Some(Look::Space(_))) { arrived } else { 1.0 };
    let times: Vec<f64> =
        (0..count).map(|i| if moves { (i as f64 / last / arrived).min(1.0) } else { still }).collect();
    let turns: Vec<f64> =
        (0..count).map(|i| begin + if moves { orbit * i as f64 / last } else { 0.0 }).collect();
    let theme = if args.theme == "dark" { Theme::dark() } else { Theme::default() };
    let mut page = Page {
        size,
        title: String::new(),
        subtitle: String::new(),
        names: match &look {
            Some(Look::Plane(view)) => Some(view.names.clone()),
            Some(Look::Space(_)) | None => None,
        },
        time: None,
        legend: None,
    };
    let timed = |page: &Page, t: f64| Page { time: (!timeless).then_some(t), ..page.clone() };
    let mut progress = context.progress(0, count as u64);
    let mut shown = |number: usize| {
        progress.show(number as u64, String::new);
        if interrupt::requested() { Err(windfield::Error::Interrupted) } else { Ok(()) }
    };
    let (mut energy, mut curvature) = (None, None);
    let shape = (size, args.fps);
    let result = match (show, look) {
        (_, None) => {
            let images = Images::new(&mut sampler, args.n, size)?;
            film(&args.out, format, count, shape, |i| {
                shown(i)?;
                images.sheet(&mut sampler, &theme, times[i])
            })
        }
        (_, Some(look @ Look::Space(_))) | ("particles" | "density", Some(look)) => {
            let limits = look.limits();
            let n = args.n.unwrap_or(CLOUD);
            let [width, height] = size.map(|side| side as usize);
            let side = width.min(height);
            // A pixel of the picture is one that is counted, about: the panel is what the sides leave for the window's shape.
            let cells = match &look {
                Look::Plane(view) => {
                    let aspect = f64::from(view.limits.aspect());
                    let columns = (width as f64).min(height as f64 / aspect);
                    [columns as usize, (columns * aspect) as usize]
                }
                Look::Space(_) => [side, side],
            };
            let drawn = |_| if interrupt::requested() { Err(windfield::Error::Interrupted) } else { Ok(()) };
            let smooth = show == "density";
            let cloud = Cloud::new(&mut sampler, &device, look, n, (&times, &turns), cells, smooth, drawn)?;
            page.title = if smooth { "Density".into() } else { "Particles".into() };
            page.subtitle = windfield::report::counted(n, "sample", "samples");
            page.legend = cloud.legend(&theme);
            film(&args.out, format, count, shape, |i| {
                shown(i)?;
                timed(&page, times[i])
                    .draw(&theme, &limits, |canvas, theme, panel| cloud.paint(canvas, theme, panel, i))
            })
        }
        ("trajectories", Some(Look::Plane(view))) => {
            let limits = view.limits;
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
        ("crossing", Some(Look::Plane(view))) => {
            let limits = view.limits;
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
        (_, Some(Look::Plane(view))) => {
            let limits = view.limits;
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
        show,
        out: &args.out,
        frames: count,
        width: size[0],
        height: size[1],
        crossing_energy: energy,
        curvature,
        adapter: Adapter::of(&device),
    })
}

/// From where a model's flow is looked at: a window or a box around a few of its particles.
fn look(args: &Args, show: &str, sampler: &mut Sampler, whole: bool) -> anyhow::Result<Look> {
    let rows = sampler.chunk_rows().min(LOOK);
    let (mut begin, mut end) = (sampler.noise(0, rows)?, sampler.sample(0, rows)?);
    sampler.to_data_units(&mut begin);
    sampler.to_data_units(&mut end);
    let model = sampler.model();
    let asked = args.columns.as_deref().map(|asked| columns(model, asked)).transpose()?;
    let columns = asked.clone().unwrap_or_else(|| (0..model.architecture.dim).collect());
    Ok(match (show, &columns[..]) {
        ("particles", &[x, y, z]) => Look::Space(Space::new(model, [x, y, z], &end)?),
        _ => Look::Plane(View::new(model, asked.as_deref(), &begin, &end, whole)?),
    })
}

/// Columns by their numbers or names.
fn columns(model: &Model, asked: &[String]) -> windfield::Result<Vec<usize>> {
    let find = |asked: &String| {
        let named = || model.columns.iter().position(|name| name == asked);
        asked.parse().ok().or_else(named).ok_or_else(|| windfield::Error::Config {
            what: format!("there is no column `{asked}`"),
            remedy: match &model.columns[..] {
                [] => "the model's columns have no names; count them from 0".to_owned(),
                names => format!("--columns takes {}, or numbers from 0", some(names)),
            },
        })
    };
    asked.iter().map(find).collect()
}

/// Names, of many the first ones.
fn some(names: &[String]) -> String {
    const MANY: usize = 8;
    let more = if names.len() > MANY { format!(" and {} more", names.len() - MANY) } else { String::new() };
    format!("{}{more}", names[..names.len().min(MANY)].join(", "))
}

const CROSSING: &str = "--show crossing needs the data whose paths cross; give --data SOURCE";

/// Whether what was asked for goes together.
fn coherent(args: &Args, show: &str, format: Format) -> Result<(), Usage> {
    let wrong = |text: String| Err(Usage(text));
    match show {
        "crossing" if args.data.is_none() => return wrong(CROSSING.into()),
        "crossing" if args.condition.describe().is_some() => {
            return wrong("--show crossing is of --data, not of a --condition; leave it out".into());
        }
        "crossing" if args.n.is_some() => {
            return wrong("-n does not go with --show crossing, which is exact".into());
        }
        "crossing" => {}
        _ if args.data.is_some() => return wrong("--data goes with --show crossing".into()),
        _ => {}
    }
    if args.n == Some(0) && show != "velocity" {
        return wrong("-n 0 asks for nothing; give at least 1".into());
    }
    if args.field.is_some() && show != "velocity" {
        return wrong("--field goes with --show velocity".into());
    }
    if args.columns.is_some() && show == "images" {
        return wrong("--columns does not go with --show images".into());
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
