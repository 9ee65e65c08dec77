//! Scales, tick selection and tick labels.

/// How numbers are spread along an axis or a colour bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Spread {
    /// Evenly.
    Linear,
    /// By their logarithm.
    Log,
    /// By `ln(1 + value / knee)`: linear below the knee, logarithmic above, and 0 has a place.
    Log1p {
        /// Where linear turns into logarithmic.
        knee: f64,
    },
}

/// A range of numbers on an axis. `lo < hi`, both finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    lo: f64,
    hi: f64,
    spread: Spread,
}

/// Numbers beyond this are treated as this, so that no difference overflows.
const HUGE: f64 = 1e150;

impl Scale {
    /// An even scale from `lo` to `hi`. Equal ends are moved apart, non-finite ones give 0…1.
    #[must_use]
    pub fn linear(lo: f64, hi: f64) -> Self {
        // Also the start values of a search for extremes that met no number.
        if lo.is_nan() || hi.is_nan() || lo > hi {
            return Self { lo: 0.0, hi: 1.0, spread: Spread::Linear };
        }
        let (lo, hi) = (lo.clamp(-HUGE, HUGE), hi.clamp(-HUGE, HUGE));
        let size = lo.abs().max(hi.abs());
        // Closer together than ticks can be told apart: make room around the value.
        if hi - lo <= size * 1e-9 || hi - lo < 1e-300 {
            let (middle, half) = (f64::midpoint(lo, hi), if size < 1e-290 { 1.0 } else { size * 0.1 });
            return Self { lo: middle - half, hi: middle + half, spread: Spread::Linear };
        }
        Self { lo, hi, spread: Spread::Linear }
    }

    /// A logarithmic scale; an even one if `lo` is not positive.
    #[must_use]
    pub fn log(lo: f64, hi: f64) -> Self {
        let even = Self::linear(lo, hi);
        if even.lo > 1e-300 { Self { spread: Spread::Log, ..even } } else { even }
    }

    /// A scale from 0 to `hi`, linear up to `knee` and logarithmic above it.
    #[must_use]
    pub fn log1p(hi: f64, knee: f64) -> Self {
        let even = Self::linear(0.0, hi);
        if even.lo == 0.0 && (even.hi * 1e-9..f64::INFINITY).contains(&knee) {
            Self { spread: Spread::Log1p { knee }, ..even }
        } else {
            even
        }
    }

    /// This scale with `share` of its length added at both ends.
    #[must_use]
    pub fn padded(self, share: f64) -> Self {
        if self.spread == Spread::Log {
            let factor = (self.hi / self.lo).powf(share);
            Self::log(self.lo / factor, self.hi * factor)
        } else {
            let more = (self.hi - self.lo) * share;
            Self { spread: self.spread, ..Self::linear(self.lo - more, self.hi + more) }
        }
    }

    /// The lower end.
    #[must_use]
    pub fn lo(&self) -> f64 {
        self.lo
    }

    /// The upper end.
    #[must_use]
    pub fn hi(&self) -> f64 {
        self.hi
    }

    /// Where `value` lies between the ends: 0 at the lower, 1 at the upper, beyond that outside 0…1.
    #[must_use]
    pub fn unit(&self, value: f64) -> f64 {
        match self.spread {
            Spread::Linear => (value - self.lo) / (self.hi - self.lo),
            Spread::Log => (value.max(1e-300) / self.lo).ln() / (self.hi / self.lo).ln(),
            Spread::Log1p { knee } => (value.max(0.0) / knee).ln_1p() / (self.hi / knee).ln_1p(),
        }
    }

    /// Whether `value` lies on the scale.
    #[must_use]
    pub fn contains(&self, value: f64) -> bool {
        value >= self.lo && value <= self.hi
    }

    /// At most about `most` ticks on round numbers.
    #[must_use]
    pub fn ticks(&self, most: usize, format: Format) -> Ticks {
        match self.spread {
            Spread::Linear => even_ticks(self.lo, self.hi, most, format),
            Spread::Log => log_ticks(self, most, format),
            Spread::Log1p { knee } => log1p_ticks(self, knee, most),
        }
    }
}

/// How tick labels are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Short numbers; very large and very small ones share a power of ten.
    #[default]
    Plain,
    /// Counts, in groups of three digits.
    Thousands,
}

/// The ticks of an axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ticks {
    /// Values and their labels, ascending.
    pub major: Vec<(f64, String)>,
    /// Unlabelled values between them (logarithmic axes).
    pub minor: Vec<f64>,
    /// What all labels leave out: "×10⁶", "+2 000".
    pub note: Option<String>,
}

/// The smallest round step, one of `factors` or 10 times a power of ten, that fits `most` times in the range.
fn round_step(range: f64, most: usize, factors: &[f64]) -> f64 {
    let rough = range / most.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let enough = |f: &f64| f * power >= rough * (1.0 - 1e-9);
    factors.iter().copied().find(enough).unwrap_or(10.0) * power
}

/// How many decimals `step` has.
fn decimals_of(step: f64) -> usize {
    let mut decimals = (-(step * (1.0 + 1e-9)).log10().floor()).clamp(0.0, 12.0) as usize;
    let scaled = step * 10f64.powi(decimals as i32);
    if (scaled - scaled.round()).abs() > 1e-6 * scaled.abs() {
        decimals += 1;
    }
    decimals
}

fn even_ticks(lo: f64, hi: f64, most: usize, format: Format) -> Ticks {
    let step = match format {
        Format::Plain => round_step(hi - lo, most, &[1.0, 2.0, 2.5, 5.0]),
        Format::Thousands => round_step(hi - lo, most, &[1.0, 2.0, 5.0]).max(1.0),
    };
    let (first, last) = ((lo / step - 1e-6).ceil(), (hi / step + 1e-6).floor());
    let count = ((last - first).clamp(-1.0, 100.0) + 1.0) as usize;
    let values: Vec<f64> = (0..count).map(|i| (first + i as f64) * step).collect();
    let size = values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    if format == Format::Thousands && size < 1e12 {
        let major = values.into_iter().map(|v| (v, thousands(v.round() as i64))).collect();
        return Ticks { major, ..Ticks::default() };
    }
    // Labels such as 1000000.25 say little: write what they have in common once.
    let common = if size / step > 5e3 { values.first().copied().unwrap_or(0.0) } else { 0.0 };
    let rest = values.iter().fold(0.0f64, |m, v| m.max((v - common).abs()));
    let power = if rest > 0.0 && !(1e-3..1e5).contains(&rest) { rest.log10().floor() as i32 } else { 0 };
    // Not a plain division by 10^power, which overflows or vanishes at the ends of the range.
    let unit = 10f64.powi(power);
    let decimals = decimals_of(step / unit);
    let major = values.iter().map(|&v| (v, fixed((v - common) / unit, decimals))).collect();
    let mut note = String::new();
    if power != 0 {
        note = format!("×{}", power_of_ten(power));
    }
    if common != 0.0 {
        note = format!("{note} {}{}", if common < 0.0 { '−' } else { '+' }, short(common.abs(), 9));
    }
    let note = note.trim().to_owned();
    Ticks { major, minor: Vec::new(), note: (!note.is_empty()).then_some(note) }
}

fn log_ticks(scale: &Scale, most: usize, format: Format) -> Ticks {
    let (from, to) = (scale.lo.log10(), scale.hi.log10());
    if to - from < 0.7 {
        return even_ticks(scale.lo, scale.hi, most, format);
    }
    let (first, last) = (from.floor() as i32, to.ceil() as i32);
    let stride = (f64::from(last - first) / most.max(1) as f64).ceil().max(1.0) as i32;
    let decades = (first..=last).filter(|k| k % stride == 0);
    let factors: &[f64] = if to - from < 2.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let values = decades.flat_map(|k| factors.iter().map(move |f| f * 10f64.powi(k)));
    let major = values.filter(|v| scale.contains(*v)).map(|v| (v, short(v, 3))).collect();
    let minor = if stride == 1 {
        let all = (first..=last).flat_map(|k| (1..10).map(move |f| f64::from(f) * 10f64.powi(k)));
        all.filter(|v| scale.contains(*v)).collect()
    } else {
        Vec::new()
    };
    Ticks { major, minor, note: None }
}

fn log1p_ticks(scale: &Scale, knee: f64, most: usize) -> Ticks {
    let mut values = vec![0.0];
    let apart = 0.8 / most.max(1) as f64;
    let (first, last) = (knee.log10().floor() as i32 - 1, scale.hi.log10().ceil() as i32);
    let candidates = (first..=last).flat_map(|k| [1.0, 2.0, 5.0].map(|f| f * 10f64.powi(k)));
    for value in candidates.filter(|v| scale.contains(*v)) {
        if scale.unit(value) - scale.unit(*values.last().unwrap_or(&0.0)) >= apart {
            values.push(value);
        }
    }
    let top = scale.hi.log10().floor() as i32;
    if (-3..5).contains(&top) {
        return Ticks { major: values.into_iter().map(|v| (v, short(v, 3))).collect(), ..Ticks::default() };
    }
    let unit = 10f64.powi(top);
    let major = values.into_iter().map(|v| (v, short(v / unit, 3))).collect();
    Ticks { major, minor: Vec::new(), note: Some(format!("×{}", power_of_ten(top))) }
}

/// `value` with `decimals` decimals and a true minus sign.
fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let zero = text.chars().all(|c| matches!(c, '-' | '0' | '.'));
    if zero { text.trim_start_matches('-').to_owned() } else { text.replace('-', "−") }
}

/// "10⁻³".
fn power_of_ten(power: i32) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let digits = power.to_string();
    let raised = digits.chars().map(|c| c.to_digit(10).map_or('⁻', |d| DIGITS[d as usize]));
    std::iter::once("10".to_owned()).chain(raised.map(String::from)).collect()
}

/// `value` in at most `digits` significant digits, without trailing zeros: "0.25", "7.49", "3×10⁻⁸".
#[must_use]
pub fn short(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "∞"
        } else {
            "−∞"
        }
        .to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits = digits.max(1);
    let trimmed = |text: String| {
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        text.replace('-', "−")
    };
    let scientific = format!("{value:.*e}", digits - 1);
    let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    if (-4..6).contains(&power) {
        return trimmed(format!("{value:.*}", (digits as i32 - 1 - power).max(0) as usize));
    }
    let mantissa = trimmed(mantissa.to_owned());
    if mantissa == "1" { power_of_ten(power) } else { format!("{mantissa}×{}", power_of_ten(power)) }
}

/// A whole number in groups of three digits, parted by thin spaces: "100 000".
#[must_use]
pub fn thousands(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = if value < 0 { "−".to_owned() } else { String::new() };
    for (i, digit) in digits.chars().enumerate() {
        // Four digits stand together, as in most style guides.
        if i > 0 && (digits.len() - i).is_multiple_of(3) && digits.len() > 4 {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale, most: usize) -> Vec<String> {
        scale.ticks(most, Format::Plain).major.into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn even_ticks_are_round_and_inside() {
        assert_eq!(labels(Scale::linear(-4.1, 4.1), 5), ["−4", "−2", "0", "2", "4"]);
        assert_eq!(
            labels(Scale::linear(0.0, 1.0), 4),
            ["0.00", "0.25", "0.50", "0.75", "1.00"].map(String::from)
        );
        assert_eq!(labels(Scale::linear(7.4, 8.6), 4), ["7.5", "8.0", "8.5"]);
        assert_eq!(labels(Scale::linear(-0.06, 0.31), 4), ["0.0", "0.1", "0.2", "0.3"]);
        for (lo, hi) in [(0.0, 1e-30), (-3e30, 2e30), (1e6, 1e6 + 1.0), (0.1, 0.7), (-1e-7, 5.0), (3.0, 3.0)]
        {
            let scale = Scale::linear(lo, hi);
            for most in 2..9 {
                let ticks = scale.ticks(most, Format::Plain);
                let count = ticks.major.len();
                assert!((1..=most + 1).contains(&count), "{count} ticks for {lo}…{hi}, at most {most}");
                for (value, label) in &ticks.major {
                    assert!((-1e-4..=1.0001).contains(&scale.unit(*value)), "{value} outside {lo}…{hi}");
                    assert!(label.chars().count() <= 8, "{label} is long");
                }
                let distinct: std::collections::BTreeSet<_> = ticks.major.iter().map(|t| &t.1).collect();
                assert_eq!(distinct.len(), count, "equal labels {distinct:?} for {lo}…{hi}");
            }
        }
    }

    #[test]
    fn extreme_ranges_share_a_power_or_an_offset() {
        assert_eq!(Scale::linear(0.0, 1e30).ticks(4, Format::Plain).note.as_deref(), Some("×10³⁰"));
        assert_eq!(Scale::linear(0.0, 1e-30).ticks(4, Format::Plain).note.as_deref(), Some("×10⁻³⁰"));
        let far = Scale::linear(1e6, 1e6 + 1.0).ticks(4, Format::Plain);
        assert!(far.note.is_some_and(|n| n.starts_with('+')), "an offset is named");
        assert_eq!(Scale::linear(0.0, 5.0).ticks(4, Format::Plain).note, None);
    }

    #[test]
    fn log_ticks_are_decades() {
        assert_eq!(labels(Scale::log(0.009, 12.0), 5), ["0.01", "0.1", "1", "10"]);
        assert_eq!(labels(Scale::log(1.0, 10.0), 5), ["1", "2", "5", "10"]);
        assert_eq!(labels(Scale::log(1e-30, 1e30), 5).len(), 5);
        assert_eq!(labels(Scale::log(2.0, 3.0), 5), ["2.0", "2.2", "2.4", "2.6", "2.8", "3.0"]);
    }

    #[test]
    fn scales_survive_anything() {
        for lo in [0.0, 1.0, -1.0, 1e-300, -1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX] {
            for hi in [0.0, 1.0, 5e-324, 1e308, f64::NAN, f64::INFINITY, f64::MIN] {
                for scale in [Scale::linear(lo, hi), Scale::log(lo, hi), Scale::log1p(hi, lo)] {
                    assert!(scale.lo() < scale.hi() && (scale.hi() - scale.lo()).is_finite(), "{scale:?}");
                    let padded = scale.padded(0.05);
                    assert!(padded.lo() < padded.hi(), "{padded:?}");
                    for format in [Format::Plain, Format::Thousands] {
                        assert!(scale.ticks(5, format).major.len() < 50, "{scale:?}");
                    }
                    assert!(scale.unit(scale.lo()).abs() < 1e-9, "{scale:?}");
                    assert!((scale.unit(scale.hi()) - 1.0).abs() < 1e-9, "{scale:?}");
                }
            }
        }
    }

    #[test]
    fn numbers_are_written_as_in_print() {
        assert_eq!(thousands(1234), "1234");
        assert_eq!(thousands(-100_000), "−100\u{2009}000");
        assert_eq!(thousands(12_345_678), "12\u{2009}345\u{2009}678");
        assert_eq!(short(0.25, 3), "0.25");
        assert_eq!(short(7.490_12, 4), "7.49");
        assert_eq!(short(-3e-8, 3), "−3×10⁻⁸");
        assert_eq!(short(1e9, 3), "10⁹");
        assert_eq!(short(100.0, 3), "100");
        assert_eq!(short(f64::NEG_INFINITY, 3), "−∞");
        let steps = Scale::linear(0.0, 20_000.0).ticks(5, Format::Thousands);
        assert_eq!(steps.major[1].1, "5000");
        assert_eq!(steps.major[4].1, "20\u{2009}000");
    }
}
