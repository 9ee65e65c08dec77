//! Point clouds as numbers: plot limits, two-dimensional histograms, local density.

use super::axis::Scale;

/// The window that a two-dimensional picture shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// First coordinate.
    pub x: Scale,
    /// Second coordinate.
    pub y: Scale,
}

/// Up to this ratio of the two ranges, both axes get the same unit of length.
const EQUAL_ASPECT_UP_TO: f64 = 8.0;
/// Of a window with all of two sets of points, over what the first one alone would have.
const WIDEST: f64 = 6.0;

impl Limits {
    /// A window from two ranges, taken as they are.
    #[must_use]
    pub fn new(x: (f64, f64), y: (f64, f64)) -> Self {
        Self { x: Scale::linear(x.0, x.1), y: Scale::linear(y.0, y.1) }
    }

    /// A window that shows `main` well and as much of `other` as fits in half its size again.
    ///
    /// Ranges are robust: a few far points do not shrink the rest. Both axes get the same
    /// unit of length (the shorter range is widened, see [`Limits::aspect`]) unless one range
    /// is more than eight times the other.
    #[must_use]
    pub fn around(main: &[f32], other: &[f32]) -> Self {
        Self::with_room(main, other, 1.0)
    }

    /// The same, but with all of `other` where the window is no more than `WIDEST` times as wide as `main` for that.
    #[must_use]
    pub fn around_both(main: &[f32], other: &[f32]) -> Self {
        Self::with_room(main, other, WIDEST)
    }

    fn with_room(main: &[f32], other: &[f32], widest: f64) -> Self {
        let axis = |column| {
            let main = robust_range(main.iter().skip(column).step_by(2).copied());
            let other = inner_range(other.iter().skip(column).step_by(2).copied(), 0.003);
            let (lo, hi) = match (main, other) {
                (Some(main), Some(other)) => {
                    let both = (main.0.min(other.0), main.1.max(other.1));
                    if both.1 - both.0 <= widest * (main.1 - main.0) {
                        return Scale::linear(both.0, both.1).padded(0.04);
                    }
                    let more = (main.1 - main.0) / 2.0;
                    (main.0.min(other.0.max(main.0 - more)), main.1.max(other.1.min(main.1 + more)))
                }
                (Some(range), None) | (None, Some(range)) => range,
                (None, None) => (0.0, 1.0),
            };
            Scale::linear(lo, hi).padded(0.04)
        };
        Self { x: axis(0), y: axis(1) }.equalised()
    }

    /// Widens the shorter range so that the window is between half and one and a half as high as wide.
    fn equalised(self) -> Self {
        let (w, h) = (self.x.hi() - self.x.lo(), self.y.hi() - self.y.lo());
        if w > EQUAL_ASPECT_UP_TO * h || h > EQUAL_ASPECT_UP_TO * w {
            return self;
        }
        let widened = |scale: Scale, length: f64| {
            let middle = f64::midpoint(scale.lo(), scale.hi());
            Scale::linear(middle - length / 2.0, middle + length / 2.0)
        };
        // Nearly square windows become square: panels then line up across pictures.
        let (least_h, least_w) =
            (if h > 0.8 * w { w } else { 0.5 * w }, if w > 0.8 * h { h } else { h / 1.5 });
        Self { x: widened(self.x, w.max(least_w)), y: widened(self.y, h.max(least_h)) }
    }

    /// Height over width of a panel that shows this window without distortion; 1 where the
    /// ranges are too different for that.
    #[must_use]
    pub fn aspect(&self) -> f32 {
        let aspect = (self.y.hi() - self.y.lo()) / (self.x.hi() - self.x.lo());
        if (0.4..=1.6).contains(&aspect) { aspect as f32 } else { 1.0 }
    }

    /// Whether a point lies in the window.
    #[must_use]
    pub fn contains(&self, x: f64, y: f64) -> bool {
        self.x.contains(x) && self.y.contains(y)
    }
}

/// The finite points among `points`, [n, 2].
pub fn finite_points(points: &[f32]) -> impl Iterator<Item = (f64, f64)> + '_ {
    points
        .chunks_exact(2)
        .filter(|p| p[0].is_finite() && p[1].is_finite())
        .map(|p| (f64::from(p[0]), f64::from(p[1])))
}

/// The range that a plot of `values` should show: all of them, or the inner 99.8 % if a few
/// lie far out. `None` if no value is finite.
#[must_use]
pub fn robust_range(values: impl Iterator<Item = f32> + Clone) -> Option<(f64, f64)> {
    let (lo, hi) = inner_range(values.clone(), 0.001)?;
    let (min, max) =
        values.filter(|v| v.is_finite()).fold((f32::MAX, f32::MIN), |(a, b), v| (a.min(v), b.max(v)));
    let (min, max) = (f64::from(min), f64::from(max));
    if max - min <= 1.35 * (hi - lo) { Some((min, max)) } else { Some((lo, hi)) }
}

/// The range without the share `left_out` at both ends; `None` if no value is finite.
pub(super) fn inner_range(values: impl Iterator<Item = f32> + Clone, left_out: f64) -> Option<(f64, f64)> {
    let values = values.filter(|v| v.is_finite());
    let count = values.clone().count();
    // A sample of 200 000 settles these quantiles well enough.
    let mut kept: Vec<f32> = values.step_by(count / 200_000 + 1).collect();
    if kept.is_empty() {
        return None;
    }
    Some((f64::from(quantile(&mut kept, left_out)), f64::from(quantile(&mut kept, 1.0 - left_out))))
}

/// The `q`-quantile of `values`, which are reordered; 0 if there are none.
pub(super) fn quantile(values: &mut [f32], q: f64) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let at = ((values.len() - 1) as f64 * q).round() as usize;
    *values.select_nth_unstable_by(at, f32::total_cmp).1
}

/// A grid of counts over a window; row 0 is at the bottom.
#[derive(Clone, Debug)]
pub struct Histogram2d {
    /// Bins per row.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
    /// Counts, [rows, columns]; fractional once smoothed.
    pub counts: Vec<f32>,
    /// How many points lay in the window.
    pub inside: u64,
    /// How many finite points there were.
    pub finite: u64,
}

impl Histogram2d {
    /// Counts the finite points of `points`, [n, 2], in `columns` × `rows` bins.
    #[must_use]
    pub fn new(points: &[f32], limits: &Limits, columns: usize, rows: usize) -> Self {
        let (columns, rows) = (columns.max(1), rows.max(1));
        let mut counts = vec![0f32; columns * rows];
        let (mut inside, mut finite) = (0, 0);
        for (x, y) in finite_points(points) {
            finite += 1;
            if limits.contains(x, y) {
                inside += 1;
                let column = ((limits.x.unit(x) * columns as f64) as usize).min(columns - 1);
                let row = ((limits.y.unit(y) * rows as f64) as usize).min(rows - 1);
                counts[row * columns + column] += 1.0;
            }
        }
        Self { columns, rows, counts, inside, finite }
    }

    /// The mean count around a point drawn from the cloud itself, per bin, seen on coarse bins:
    /// how dense the cloud is where it is.
    #[must_use]
    pub fn typical(&self) -> f64 {
        const COARSE: usize = 32;
        let mut coarse = vec![0f64; COARSE * COARSE];
        for (row, counts) in self.counts.chunks_exact(self.columns).enumerate() {
            for (column, &count) in counts.iter().enumerate() {
                coarse[row * COARSE / self.rows * COARSE + column * COARSE / self.columns] +=
                    f64::from(count);
            }
        }
        let (sum, squares) = coarse.iter().fold((0.0, 0.0), |(s, q), c| (s + c, q + c * c));
        let bins = (self.columns * self.rows) as f64 / (COARSE * COARSE) as f64;
        if sum > 0.0 { squares / sum / bins } else { 0.0 }
    }

    /// The width of a Gaussian, in bins, under which about `points` points lie.
    #[must_use]
    pub fn bandwidth(&self, points: f64) -> f32 {
        let sigma = (points / (4.0 * std::f64::consts::PI * self.typical().max(1e-9))).sqrt();
        sigma.clamp(0.7, self.columns.max(self.rows) as f64 / 24.0 + 0.7) as f32
    }

    /// Smooths the counts with a Gaussian of width `sigma` bins; the sum inside is kept
    /// except for what flows over the edges.
    pub fn smooth(&mut self, sigma: f32) {
        if sigma.is_nan() || sigma < 0.1 {
            return;
        }
        let reach = (3.0 * sigma).ceil() as usize;
        let mut kernel: Vec<f32> = (0..=reach).map(|i| (-0.5 * (i as f32 / sigma).powi(2)).exp()).collect();
        let sum = kernel[0] + 2.0 * kernel[1..].iter().sum::<f32>();
        for weight in &mut kernel {
            *weight /= sum;
        }
        let (columns, rows) = (self.columns, self.rows);
        let mut pass = vec![0f32; columns * rows];
        for (from, to) in self.counts.chunks_exact(columns).zip(pass.chunks_exact_mut(columns)) {
            for (i, &count) in from.iter().enumerate().filter(|(_, c)| **c != 0.0) {
                for j in i.saturating_sub(reach)..(i + reach + 1).min(columns) {
                    to[j] += count * kernel[i.abs_diff(j)];
                }
            }
        }
        self.counts.fill(0.0);
        for row in 0..rows {
            for near in row.saturating_sub(reach)..(row + reach + 1).min(rows) {
                let weight = kernel[row.abs_diff(near)];
                let from = &pass[near * columns..(near + 1) * columns];
                for (to, value) in self.counts[row * columns..(row + 1) * columns].iter_mut().zip(from) {
                    *to += weight * value;
                }
            }
        }
    }

    /// Smooths each place as widely as its counts allow: with `sigma` bins where neighbouring
    /// counts truly differ, with twice that where they differ by no more than chance.
    ///
    /// Edges stay sharp and even regions become even (the idea of Lepski's method: the widest
    /// kernel whose result agrees with the narrower one within its statistical error).
    pub fn smooth_adaptively(&mut self, sigma: f32) {
        let mut wide = self.clone();
        self.smooth(sigma);
        wide.smooth(2.0 * sigma);
        // The variance of a Poisson count under a Gaussian of this width, per unit of count.
        let variance = 1.0 / (4.0 * std::f32::consts::PI * sigma * sigma);
        for (here, &there) in self.counts.iter_mut().zip(&wide.counts) {
            // One more count than was seen: an empty place is not certain to be empty.
            let error = ((*here + variance) * variance).sqrt();
            let difference = (*here - there).abs();
            // Nor is it evened out over several times the count, which would draw rims beside edges.
            let relative = difference / here.max(there).max(1e-12);
            let doubt = ((difference / error - 1.4) / 1.6).max((relative - 0.3) / 0.25).clamp(0.0, 1.0);
            *here += (there - *here) * (1.0 - doubt);
        }
    }

    /// The count at a place of the window, both coordinates 0…1, between bins by bilinear interpolation.
    #[must_use]
    pub fn at(&self, x: f64, y: f64) -> f32 {
        bilinear(
            &self.counts,
            self.columns,
            self.rows,
            x * self.columns as f64 - 0.5,
            y * self.rows as f64 - 0.5,
        )
    }

    /// What turns a count into a probability density.
    #[must_use]
    pub fn to_density(&self, limits: &Limits) -> f64 {
        let area = (limits.x.hi() - limits.x.lo()) * (limits.y.hi() - limits.y.lo());
        let bins = (self.columns * self.rows) as f64;
        // Divided one by one: the product may leave the range of numbers.
        bins / self.finite.max(1) as f64 / area.max(1e-300)
    }
}

/// The value of a grid at a fractional column and row, held at the edges.
pub(crate) fn bilinear(grid: &[f32], columns: usize, rows: usize, x: f64, y: f64) -> f32 {
    let place = |v: f64, n: usize| {
        let v = if v.is_nan() { 0.0 } else { v.clamp(0.0, (n - 1) as f64) };
        let i = (v as usize).min(n.saturating_sub(2));
        (i, (i + 1).min(n - 1), (v - i as f64) as f32)
    };
    let ((x0, x1, fx), (y0, y1, fy)) = (place(x, columns), place(y, rows));
    let row = |y: usize| grid[y * columns + x0] * (1.0 - fx) + grid[y * columns + x1] * fx;
    row(y0) * (1.0 - fy) + row(y1) * fy
}

/// Every k-th index so that at most `most` of `count` remain: the subset that is drawn.
pub(crate) fn thinned(count: usize, most: usize) -> impl Iterator<Item = usize> + Clone {
    let most = most.max(1).min(count);
    (0..most).map(move |i| (i as u128 * count as u128 / most as u128) as usize)
}

/// A fixed pseudo-random number of a counter (the finaliser of SplitMix64): the pictures'
/// only source of chance, so that equal input gives equal bytes.
pub(super) fn hash(counter: u64) -> u64 {
    let mut z = counter.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_do_not_shrink_the_window() {
        let mut values: Vec<f32> = (0..10_000).map(|i| i as f32 / 10_000.0).collect();
        let (lo, hi) = robust_range(values.iter().copied()).unwrap();
        assert!(lo == 0.0 && hi > 0.999, "everything is shown: {lo}…{hi}");
        values.extend([1e30, -1e30, f32::NAN, f32::INFINITY]);
        let (lo, hi) = robust_range(values.iter().copied()).unwrap();
        assert!((0.0..0.01).contains(&lo) && (0.99..1.01).contains(&hi), "{lo}…{hi}");
        assert_eq!(robust_range([f32::NAN].into_iter()), None);
    }

    #[test]
    fn windows_keep_the_aspect_or_give_it_up() {
        let wide: Vec<f32> = (0..100).flat_map(|i| [i as f32 / 10.0, (i % 10) as f32 / 3.0]).collect();
        let limits = Limits::around(&wide, &[]);
        let (w, h) = (limits.x.hi() - limits.x.lo(), limits.y.hi() - limits.y.lo());
        assert!((f64::from(limits.aspect()) - h / w).abs() < 1e-6 && limits.aspect() >= 0.5);
        let flat: Vec<f32> = (0..100).flat_map(|i| [i as f32 * 1e6, (i % 10) as f32]).collect();
        assert_eq!(Limits::around(&flat, &[]).aspect(), 1.0);
        for bad in
            [&[][..], &[f32::NAN; 6], &[1e30; 4], &[3.0, 3.0], &[f32::MAX, f32::MIN, f32::MIN, f32::MAX]]
        {
            let limits = Limits::around(bad, bad);
            assert!(limits.x.lo() < limits.x.hi() && (0.4..=1.6).contains(&limits.aspect()), "{bad:?}");
        }
    }

    #[test]
    fn exploding_samples_do_not_hide_the_data() {
        let data: Vec<f32> = (0..2000).map(|i| (hash(i) % 1000) as f32 / 1000.0).collect();
        let far: Vec<f32> = data.iter().map(|v| v * 1e6).collect();
        let limits = Limits::around(&data, &far);
        assert!(limits.x.hi() - limits.x.lo() < 2.5, "{limits:?}");
        assert_eq!(limits, Limits::around_both(&data, &far));
        let wide: Vec<f32> = data.iter().map(|v| v * 4.0 - 2.0).collect();
        let both = Limits::around_both(&data, &wide);
        assert!(wide.iter().all(|&v| both.x.contains(f64::from(v))), "{both:?}");
        assert!(!Limits::around(&data, &wide).x.contains(-2.0));
    }

    #[test]
    fn histograms_count_and_smoothing_keeps_the_sum() {
        let points = [0.5, 0.5, 0.1, 0.9, f32::NAN, 0.0, 7.0, 7.0, 1.0, 1.0];
        let limits = Limits::new((0.0, 1.0), (0.0, 1.0));
        let mut histogram = Histogram2d::new(&points, &limits, 40, 40);
        assert_eq!((histogram.inside, histogram.finite), (3, 4));
        assert_eq!(histogram.counts[20 * 40 + 20], 1.0);
        assert_eq!(histogram.counts[40 * 40 - 1], 1.0, "the upper edge belongs to the last bin");
        let centre = Histogram2d::new(&[0.5, 0.5], &limits, 40, 40);
        histogram = centre;
        histogram.smooth(2.0);
        assert!((histogram.counts.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        let total: f64 =
            f64::from(histogram.counts.iter().sum::<f32>()) * histogram.to_density(&limits) / 1600.0;
        assert!((total - 1.0).abs() < 1e-5, "the density integrates to one: {total}");
    }

    #[test]
    fn adaptive_smoothing_keeps_edges_and_evens_the_rest() {
        // A square of half the window's width, 40 000 points.
        let points: Vec<f32> = (0..80_000).map(|i| (hash(i) >> 40) as f32 / 2f32.powi(25) + 0.25).collect();
        let limits = Limits::new((0.0, 1.0), (0.0, 1.0));
        let mut plain = Histogram2d::new(&points, &limits, 200, 200);
        let mut adaptive = plain.clone();
        plain.smooth(1.0);
        adaptive.smooth_adaptively(1.0);
        let spread = |h: &Histogram2d| {
            let inner: Vec<f32> = (0..60 * 60).map(|i| h.counts[(70 + i / 60) * 200 + 70 + i % 60]).collect();
            let mean = inner.iter().sum::<f32>() / 3600.0;
            (inner.iter().map(|c| (c - mean).powi(2)).sum::<f32>() / 3600.0).sqrt() / mean
        };
        assert!(spread(&adaptive) < 0.6 * spread(&plain), "{} {}", spread(&adaptive), spread(&plain));
        let outside: f32 = (70..130).map(|row| adaptive.counts[row * 200 + 46]).sum::<f32>() / 60.0;
        let inside: f32 = (70..130).map(|row| adaptive.counts[row * 200 + 53]).sum::<f32>() / 60.0;
        assert!(outside < 0.1 * inside && (inside - 4.0).abs() < 0.6, "{outside} {inside}");
    }

    #[test]
    fn thinning_is_even_and_bounded() {
        assert_eq!(thinned(10, 100).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
        assert_eq!(thinned(10, 5).collect::<Vec<_>>(), [0, 2, 4, 6, 8]);
        assert_eq!(thinned(0, 5).count(), 0);
    }
}
