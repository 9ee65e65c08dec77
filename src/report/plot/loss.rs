//! The loss over the steps of a training run.

use image::RgbImage;

use super::axis::{Format, Scale};
use super::canvas::{Canvas, LineStyle, Rect};
use super::density::quantile;
use super::panel::{Axes, Entry, Mark, Panel, legend_row, y_label_width};
use super::theme::Theme;
use super::{counted, short};
use crate::error::{Error, Result};

/// A loss curve.
#[derive(Clone, Copy, Debug, Default)]
pub struct LossCurve<'a> {
    /// The step of each value, ascending.
    pub steps: &'a [f64],
    /// The loss at each step; a value that is not finite leaves a gap.
    pub loss: &'a [f64],
    /// The smoothed loss at each step, or empty.
    pub smoothed: &'a [f64],
    /// A known lower bound and its name.
    pub floor: Option<(f64, &'a str)>,
    /// What the loss has above its floor, where that is known by itself: `(step, excess)`, ascending. It gets a panel
    /// of its own below, since next to the floor it would be invisible.
    pub excess: &'a [(f64, f64)],
    /// The title.
    pub title: &'a str,
}

const WIDTH: f32 = 420.0;
const HEIGHT: f32 = 236.0;
/// Of the panel of the excess.
const MORE: f32 = 150.0;

/// Draws a loss curve. The y axis is logarithmic when the smoothed loss falls by more than tenfold.
///
/// # Errors
/// When the slices differ in length.
pub fn loss_curve(curve: &LossCurve<'_>, theme: &Theme) -> Result<RgbImage> {
    let n = curve.steps.len();
    for (name, values) in [("loss", curve.loss), ("smoothed loss", curve.smoothed)] {
        if values.len() != n && !(name == "smoothed loss" && values.is_empty()) {
            return Err(Error::config(
                format!("the {name} curve has {} values for {n} steps", values.len()),
                "pass one value for each step",
            ));
        }
    }
    let finite = |v: &&f64| v.is_finite();
    let (first, last) = curve
        .steps
        .iter()
        .filter(finite)
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &s| (a.min(s), b.max(s)));
    // A run that starts near 0 is shown from 0.
    let from_zero = (0.0..=0.05 * last.max(0.0)).contains(&first);
    let x = Scale::linear(if from_zero { 0.0 } else { first }, last);
    let y = loss_scale(curve);
    let excess_y = excess_scale(curve.excess);

    let more = if curve.excess.is_empty() { 0.0 } else { MORE };
    let mut canvas = Canvas::new(WIDTH, HEIGHT + more, theme)?;
    let top = theme.margin + theme.title_size * 1.7;
    let bottom = HEIGHT - theme.margin - theme.tick_size - theme.label_size - 9.0;
    let mut ticks = y_label_width(&canvas, theme, y, bottom - top);
    if !curve.excess.is_empty() {
        ticks = ticks.max(y_label_width(&canvas, theme, excess_y, MORE));
    }
    let left = theme.margin + theme.label_size + 6.0 + ticks;
    let rect = Rect::new(left, top, WIDTH - theme.margin - 6.0 - left, bottom - top);
    let panel = Panel::new(&canvas, rect, x, y);
    let missing = curve.loss.iter().filter(|v| !v.is_finite()).count();
    let axes = Axes {
        x_ticks: true,
        y_ticks: true,
        x_format: Format::Thousands,
        x_name: "step".into(),
        y_name: "loss".into(),
        title: curve.title.into(),
        subtitle: if n == 0 {
            "no values yet".into()
        } else if missing > 0 {
            format!("{} not finite, left out", counted(missing, "value", "values"))
        } else {
            String::new()
        },
        ..Axes::default()
    };
    panel.grid(&mut canvas, theme, &axes);

    let columns = canvas.pixels_of(panel.rect).0;
    let has_smooth = curve.smoothed.iter().any(|v| v.is_finite());
    // A dense curve is a band: faint, lest it is all that one sees.
    let raw_style = if has_smooth || n > 4 * columns {
        LineStyle::new(0.5, theme.data.mix(theme.background, 0.68))
    } else {
        LineStyle::new(theme.line * 0.8, theme.data)
    };
    let mut entries = Vec::new();
    canvas.clipped(widened(panel.rect), |layer| {
        draw(layer, &panel, curve.steps, curve.loss, columns, raw_style);
        if let Some((value, _)) = curve.floor.filter(|(v, _)| y.contains(*v)) {
            let (_, at) = panel.place(x.lo(), value);
            let line = [(panel.rect.x, at), (panel.rect.right(), at)];
            layer.polyline(&line, LineStyle::new(0.9, theme.reference).dashed(4.0, 2.5));
        }
        if has_smooth {
            draw(
                layer,
                &panel,
                curve.steps,
                curve.smoothed,
                columns,
                LineStyle::new(1.4, theme.data).round(),
            );
        }
    });
    panel.axes(&mut canvas, theme, &axes);
    entries.push(Entry::new(Mark::Line(raw_style.width.max(0.8), 1.0), raw_style.colour, "loss"));
    if has_smooth {
        entries.push(Entry::new(Mark::Line(1.4, 1.0), theme.data, "smoothed"));
    }
    if let Some((value, name)) = curve.floor.filter(|(v, _)| v.is_finite()) {
        let label = format!("{name} {}", short(value, 4));
        entries.push(Entry::new(Mark::Dashed(0.9), theme.reference, label));
    }
    if n > 0 {
        // Above the panel, where no curve can cross it.
        let y = panel.rect.y - 0.8 * theme.title_size;
        legend_row(&mut canvas, theme, panel.rect.right(), y, &entries);
    }
    if !curve.excess.is_empty() {
        let top = HEIGHT + theme.title_size * 1.7;
        let bottom = HEIGHT + MORE - theme.margin - theme.tick_size - theme.label_size - 9.0;
        let rect = Rect::new(left, top, WIDTH - theme.margin - 6.0 - left, bottom - top);
        let panel = Panel::new(&canvas, rect, x, excess_y);
        draw_excess(&mut canvas, theme, &panel, curve.excess);
    }
    Ok(canvas.finish())
}

/// The panel of the excess.
fn draw_excess(canvas: &mut Canvas, theme: &Theme, panel: &Panel, excess: &[(f64, f64)]) {
    let axes = Axes {
        x_ticks: true,
        y_ticks: true,
        x_format: Format::Thousands,
        x_name: "step".into(),
        y_name: "excess".into(),
        title: "Excess over the floor C: L_FM".into(),
        ..Axes::default()
    };
    panel.grid(canvas, theme, &axes);
    let columns = canvas.pixels_of(panel.rect).0;
    let (steps, values): (Vec<f64>, Vec<f64>) = excess.iter().copied().unzip();
    let style = LineStyle::new(1.4, theme.data).round();
    canvas.clipped(widened(panel.rect), |layer| draw(layer, panel, &steps, &values, columns, style));
    panel.axes(canvas, theme, &axes);
    if let Some((_, last)) = excess.last().filter(|(_, last)| last.is_finite()) {
        let entry = Entry::new(Mark::Line(1.4, 1.0), theme.data, format!("last {}", short(*last, 3)));
        let y = panel.rect.y - 0.8 * theme.title_size;
        legend_row(canvas, theme, panel.rect.right(), y, &[entry]);
    }
}

/// From 0, or in powers of ten where the excess falls by more than tenfold.
fn excess_scale(excess: &[(f64, f64)]) -> Scale {
    let values = excess.iter().map(|(_, excess)| *excess).filter(|excess| excess.is_finite());
    let (lo, hi) = values.fold((f64::INFINITY, 0.0), |(lo, hi): (f64, f64), v| (lo.min(v), hi.max(v)));
    if lo > 0.0 && lo.is_finite() && hi / lo > 10.0 {
        Scale::log(lo, hi).padded(0.05)
    } else {
        Scale::linear(0.0, if hi > 0.0 { 1.06 * hi } else { 1.0 })
    }
}

/// Room for the thickness of lines that run along an edge.
fn widened(rect: Rect) -> Rect {
    Rect::new(rect.x, rect.y, rect.w + 2.0, rect.h)
}

/// The range of the losses: all of the smoothed curve past its first values and the bulk of the raw one.
fn loss_scale(curve: &LossCurve<'_>) -> Scale {
    let bulk = |values: &[f64], low: f64, high: f64| {
        // Held to what single precision holds: the scale only needs to be roughly right.
        let hold = |v: &f64| v.clamp(-1e37, 1e37) as f32;
        let mut kept: Vec<f32> = values.iter().filter(|v| v.is_finite()).map(hold).collect();
        if kept.is_empty() {
            return None;
        }
        let (least, most) = kept.iter().fold((f32::MAX, f32::MIN), |(a, b), &v| (a.min(v), b.max(v)));
        let (lo, hi) = (f64::from(quantile(&mut kept, low)), f64::from(quantile(&mut kept, high)));
        let (least, most) = (f64::from(least), f64::from(most));
        // All of it, unless that makes the bulk small.
        Some(if most - least <= 1.7 * (hi - lo) { (least, most) } else { (lo, hi) })
    };
    let ranges = [bulk(curve.loss, 0.001, 0.998), bulk(curve.smoothed, 0.0, 0.999)];
    let range = ranges.into_iter().flatten().reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    let (mut lo, mut hi) = range.unwrap_or((0.0, 1.0));
    let floor = curve.floor.map(|f| f.0).filter(|v| v.is_finite());
    let positive = lo > 0.0 && floor.is_none_or(|f| f > 0.0);
    let steep = positive && hi / lo > 10.0;
    if let Some(floor) = floor {
        // A floor far away would flatten the curve; then only the legend names it.
        let near =
            if steep { floor > lo * 1e-3 } else { (lo - floor).abs() < 4.0 * (hi - lo).max(lo.abs() * 0.25) };
        if near {
            (lo, hi) = (lo.min(floor), hi.max(floor));
        }
    }
    if steep { Scale::log(lo, hi).padded(0.05) } else { Scale::linear(lo, hi).padded(0.06) }
}

fn draw(canvas: &mut Canvas, panel: &Panel, xs: &[f64], ys: &[f64], columns: usize, style: LineStyle) {
    for run in decimate(xs, ys, panel.x, columns) {
        let points: Vec<(f32, f32)> = run.iter().map(|&(x, y)| panel.place(x, y)).collect();
        if let [(x, y)] = points[..] {
            canvas.disc(x, y, style.width.max(0.9) * 1.2, style.colour, 1.0);
        } else {
            canvas.polyline(&points, style);
        }
    }
}

/// Cuts a curve into runs of finite values, and keeps of each pixel column only the first, the
/// lowest, the highest and the last value: what is drawn looks the same, extremes included.
fn decimate(xs: &[f64], ys: &[f64], scale: Scale, columns: usize) -> Vec<Vec<(f64, f64)>> {
    let mut runs: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut run: Vec<(f64, f64)> = Vec::new();
    let mut bucket: Vec<(f64, f64)> = Vec::new();
    let mut bucket_column = usize::MAX;
    let column_of = |x: f64| (scale.unit(x).clamp(0.0, 1.0) * columns as f64) as usize;
    let everything = xs.len() <= 2 * columns;
    for (&x, &y) in xs.iter().zip(ys) {
        if !x.is_finite() || !y.is_finite() {
            flush(&mut bucket, &mut run);
            if !run.is_empty() {
                runs.push(std::mem::take(&mut run));
            }
        } else if everything {
            run.push((x, y));
        } else {
            let column = column_of(x);
            if column != bucket_column {
                flush(&mut bucket, &mut run);
                bucket_column = column;
            }
            bucket.push((x, y));
        }
    }
    flush(&mut bucket, &mut run);
    if !run.is_empty() {
        runs.push(run);
    }
    runs
}

/// Moves first, lowest, highest and last of `bucket` to `run`, in their order.
fn flush(bucket: &mut Vec<(f64, f64)>, run: &mut Vec<(f64, f64)>) {
    if bucket.is_empty() {
        return;
    }
    let by_y = |a: &usize, b: &usize| bucket[*a].1.total_cmp(&bucket[*b].1);
    let lowest = (0..bucket.len()).min_by(by_y).unwrap_or(0);
    let highest = (0..bucket.len()).max_by(by_y).unwrap_or(0);
    let mut kept = [0, lowest, highest, bucket.len() - 1];
    kept.sort_unstable();
    let mut previous = None;
    for index in kept {
        if previous != Some(index) {
            run.push(bucket[index]);
        }
        previous = Some(index);
    }
    bucket.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimation_keeps_extremes_ends_and_gaps() {
        let n = 1_000_000;
        let xs: Vec<f64> = (0..n).map(f64::from).collect();
        let mut ys: Vec<f64> = xs.iter().map(|x| (x / 1e4).sin()).collect();
        ys[123_456] = 50.0;
        ys[654_321] = -50.0;
        ys[500_000] = f64::NAN;
        let runs = decimate(&xs, &ys, Scale::linear(0.0, f64::from(n)), 1000);
        assert_eq!(runs.len(), 2, "the gap parts the curve");
        let points: Vec<_> = runs.concat();
        assert!(points.len() < 5000, "{} points left", points.len());
        assert!(points.contains(&(123_456.0, 50.0)) && points.contains(&(654_321.0, -50.0)));
        assert_eq!(points.first(), Some(&(0.0, 0.0)));
        assert_eq!(points.last().map(|p| p.0), Some(f64::from(n - 1)));
        assert!(points.windows(2).all(|w| w[0].0 < w[1].0), "in order, each once");
        assert_eq!(decimate(&xs[..10], &ys[..10], Scale::linear(0.0, 9.0), 1000)[0].len(), 10);
    }

    #[test]
    fn degenerate_curves_are_drawn() {
        let theme = Theme::default();
        let nan = [f64::NAN; 4];
        let cases: [(&[f64], &[f64]); 8] = [
            (&[], &[]),
            (&[1.0], &[2.0]),
            (&[5.0, 5.0], &[1.0, 1.0]),
            (&[0.0, 1.0, 2.0, 3.0], &nan),
            (&nan, &[1.0, 2.0, 3.0, 4.0]),
            (&[0.0, 1.0], &[1e300, -1e300]),
            (&[0.0, 1.0], &[1e-30, 1e-33]),
            (&[0.0, 1.0, 2.0], &[1.0, f64::INFINITY, 0.5]),
        ];
        for (steps, loss) in cases {
            let curve = LossCurve {
                steps,
                loss,
                smoothed: loss,
                floor: Some((0.0, "floor")),
                excess: &[],
                title: "t",
            };
            let a = loss_curve(&curve, &theme).unwrap();
            assert_eq!((a.width(), a.height()), (1260, 708));
            assert_eq!(a, loss_curve(&curve, &theme).unwrap(), "same input, same bytes");
            let excess: Vec<(f64, f64)> = steps.iter().copied().zip(loss.iter().copied()).collect();
            let curve = LossCurve { excess: &excess, ..curve };
            let more = if excess.is_empty() { 0 } else { 450 };
            assert_eq!(loss_curve(&curve, &theme).unwrap().height(), 708 + more);
        }
    }

    #[test]
    fn unequal_lengths_are_refused_in_words() {
        let curve = LossCurve { steps: &[1.0, 2.0], loss: &[1.0], ..LossCurve::default() };
        let message = loss_curve(&curve, &Theme::default()).unwrap_err().to_string();
        assert!(message.contains("1 values for 2 steps"), "{message}");
    }

    #[test]
    fn steep_losses_get_a_logarithmic_axis_and_flat_ones_an_even_one() {
        let steps = [0.0, 1.0, 2.0, 3.0];
        let scale = |loss: &[f64]| loss_scale(&LossCurve { steps: &steps, loss, ..LossCurve::default() });
        let middle = |s: Scale| s.unit(f64::midpoint(s.lo(), s.hi()));
        assert!(middle(scale(&[100.0, 10.0, 1.0, 0.1])) > 0.7);
        assert!((middle(scale(&[8.6, 8.0, 7.6, 7.5])) - 0.5).abs() < 1e-9);
        assert!((middle(scale(&[8.6, 1.0, 0.1, -0.5])) - 0.5).abs() < 1e-9);
    }
}
