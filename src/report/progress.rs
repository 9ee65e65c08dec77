//! A run in numbers: the smoothed loss, the speed, durations and counts in words.

use std::collections::VecDeque;
use std::time::Duration;

/// An exponential average that is right from the first value on: the weights are divided by their sum, as Adam's
/// moments are.
#[derive(Clone, Copy, Debug)]
pub struct Smoothed {
    decay: f64,
    sum: f64,
    weight: f64,
}

impl Smoothed {
    /// An average in which a value's weight falls by `decay` with every later one.
    #[must_use]
    pub fn new(decay: f64) -> Self {
        Self { decay, sum: 0.0, weight: 0.0 }
    }

    /// Takes the next value in.
    pub fn push(&mut self, value: f64) {
        self.sum = self.decay * self.sum + (1.0 - self.decay) * value;
        self.weight = self.decay * self.weight + (1.0 - self.decay);
    }

    /// The average, once there is a value.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }
}

impl Default for Smoothed {
    /// The loss's: over some hundred steps.
    fn default() -> Self {
        Self::new(0.99)
    }
}

/// The speed over the last few seconds.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    marks: VecDeque<(Duration, u64)>,
}

impl Rate {
    const WINDOW: Duration = Duration::from_secs(10);

    /// Notes that `done` units were done after `elapsed`.
    pub fn push(&mut self, elapsed: Duration, done: u64) {
        self.marks.push_back((elapsed, done));
        while self.marks.len() > 2 && elapsed.saturating_sub(self.marks[1].0) >= Self::WINDOW {
            self.marks.pop_front();
        }
    }

    /// Units a second, once two moments are known.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn per_second(&self) -> Option<f64> {
        let ((begin, from), (end, to)) = (self.marks.front()?, self.marks.back()?);
        let seconds = end.saturating_sub(*begin).as_secs_f64();
        (seconds > 0.0).then(|| to.saturating_sub(*from) as f64 / seconds)
    }

    /// The time that `left` more units will take at this speed.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn time_for(&self, left: u64) -> Option<Duration> {
        self.per_second()
            .filter(|rate| *rate > 0.0)
            .and_then(|rate| Duration::try_from_secs_f64(left as f64 / rate).ok())
    }
}

/// A duration to read at a glance: `850 ms`, `12.3 s`, `4 min 05 s`, `2 h 07 min`, `3 d 04 h`.
#[must_use]
pub fn duration(time: Duration) -> String {
    let milliseconds = time.as_millis();
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{milliseconds} ms"),
        1..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// A count with its digits in groups of three: `100 000`.
#[must_use]
pub fn count(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

/// So many things: `1 step`, `2 000 steps`.
pub fn counted(number: impl TryInto<u64>, one: &str, many: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A number with three digits, or all of those before the point: `0.0123`, `12.3`, `12 345`, `1.20e-7`.
#[must_use]
pub fn approximately(number: f64) -> String {
    let size = number.abs();
    if !number.is_finite() || size == 0.0 {
        return number.to_string();
    }
    if !(1e-4..1e15).contains(&size) {
        return format!("{number:.2e}");
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1e-4 and 1e15")]
    if size >= 999.5 {
        let sign = if number < 0.0 { "-" } else { "" };
        return format!("{sign}{}", count(size.round() as u64));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between −4 and 3")]
    let decimals = (2 - size.log10().floor() as i32).max(0) as usize;
    format!("{number:.decimals$}")
}

/// Bytes in binary units: whole numbers as they are, others with three digits.
#[must_use]
pub fn bytes(number: u64) -> String {
    let units = [("EiB", 60), ("PiB", 50), ("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)]
        .map(|(name, shift)| (name, 1u64 << shift));
    // A little less than one of a unit would be rounded to one.
    let large = |(_, size): &(&str, u64)| number as f64 / *size as f64 >= 0.9995;
    let Some((name, size)) = units.into_iter().find(large) else { return format!("{} bytes", count(number)) };
    if number.is_multiple_of(size) {
        return format!("{} {name}", count(number / size));
    }
    format!("{} {name}", approximately((number as f64 / size as f64).max(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_in_the_largest_unit() {
        for (number, text) in [
            (0, "0 bytes"),
            (1000, "1 000 bytes"),
            (1024, "1 KiB"),
            (1536, "1.50 KiB"),
            (32 << 10, "32 KiB"),
            (128 << 20, "128 MiB"),
            ((1 << 20) - 1, "1.00 MiB"),
            ((1 << 31) - 1, "2.00 GiB"),
            (1023 << 20, "1 023 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn the_average_of_equal_values_is_the_value() {
        let mut smoothed = Smoothed::default();
        assert_eq!(smoothed.value(), None);
        for _ in 0..3 {
            smoothed.push(2.5);
            assert!((smoothed.value().unwrap() - 2.5).abs() < 1e-12);
        }
        let mut smoothed = Smoothed::new(0.5);
        smoothed.push(1.0);
        smoothed.push(4.0);
        assert!((smoothed.value().unwrap() - 3.0).abs() < 1e-12, "weights 1/4 and 1/2");
    }

    #[test]
    fn the_rate_forgets_what_is_long_past() {
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(), None);
        let mut done = 0;
        for second in 0..60 {
            done += if second < 30 { 1 } else { 5 };
            rate.push(Duration::from_secs(second), done);
        }
        assert!((rate.per_second().unwrap() - 5.0).abs() < 1e-9);
        assert_eq!(rate.time_for(50), Some(Duration::from_secs(10)));
    }

    #[test]
    fn numbers_are_read_at_a_glance() {
        let seconds = |s| duration(Duration::from_secs_f64(s));
        assert_eq!([seconds(0.85), seconds(12.34), seconds(245.0)], ["850 ms", "12.3 s", "4 min 05 s"]);
        assert_eq!([seconds(7620.0), seconds(273_600.0)], ["2 h 07 min", "3 d 04 h"]);
        assert_eq!([count(0_u32), count(999_u32), count(1_234_567_u32)], ["0", "999", "1 234 567"]);
        let words = [0.012_345, -12.345, 123.9, 999.6, 12_345.4, 1.2e-7, 0.0].map(approximately);
        assert_eq!(words, ["0.0123", "-12.3", "124", "1 000", "12 345", "1.20e-7", "0"]);
    }
}
