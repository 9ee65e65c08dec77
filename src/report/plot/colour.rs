//! Colours and colour maps.
//!
//! The maps come from the `colorous` crate, which carries the published tables
//! of viridis, magma, plasma and cividis: perceptually uniform and readable
//! with every common form of colour blindness.

/// A colour in sRGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rgb(
    /// Red.
    pub u8,
    /// Green.
    pub u8,
    /// Blue.
    pub u8,
);

impl Rgb {
    /// White, the paper.
    pub const WHITE: Self = Self(255, 255, 255);

    /// The colour `amount` of the way from `self` to `other`; `amount` is held to 0…1.
    #[must_use]
    pub fn mix(self, other: Self, amount: f32) -> Self {
        let amount = if amount.is_nan() { 0.0 } else { amount.clamp(0.0, 1.0) };
        let channel = |a: u8, b: u8| {
            (f32::from(a) + (f32::from(b) - f32::from(a)) * amount).round().clamp(0.0, 255.0) as u8
        };
        Self(channel(self.0, other.0), channel(self.1, other.1), channel(self.2, other.2))
    }
}

/// A colour map: a gradient, a part of it, and how softly it starts out of the background.
#[derive(Clone, Copy, Debug)]
pub struct Colormap {
    gradient: colorous::Gradient,
    /// The gradient's position at 0; greater than `end` for a reversed map.
    start: f64,
    /// The gradient's position at 1.
    end: f64,
    /// Below this value the map fades into `background`; 0 for no fading.
    fade: f64,
    background: Rgb,
}

impl Colormap {
    /// The whole of `gradient`.
    #[must_use]
    pub const fn new(gradient: colorous::Gradient) -> Self {
        Self { gradient, start: 0.0, end: 1.0, fade: 0.0, background: Rgb::WHITE }
    }

    /// Only the part between `start` and `end`; the map is reversed if `start > end`.
    #[must_use]
    pub const fn part(mut self, start: f64, end: f64) -> Self {
        self.start = start;
        self.end = end;
        self
    }

    /// Only the part of this map between `from` and `to`, 0…1.
    #[must_use]
    pub const fn narrowed(self, from: f64, to: f64) -> Self {
        let length = self.end - self.start;
        self.part(self.start + length * from, self.start + length * to)
    }

    /// The map backwards.
    #[must_use]
    pub const fn reversed(self) -> Self {
        self.part(self.end, self.start)
    }

    /// Values below `until` fade into `background`, so that nothing is drawn where nothing is.
    #[must_use]
    pub const fn fading(mut self, until: f64, background: Rgb) -> Self {
        self.fade = until;
        self.background = background;
        self
    }

    /// The colour of `value` in 0…1; what lies outside takes the nearer end.
    #[must_use]
    pub fn at(&self, value: f64) -> Rgb {
        let value = if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) };
        let colour = self.gradient.eval_continuous(self.start + (self.end - self.start) * value);
        let colour = Rgb(colour.r, colour.g, colour.b);
        if value < self.fade { self.background.mix(colour, (value / self.fade) as f32) } else { colour }
    }

    /// The map as a table of `N` colours, for painting many pixels.
    #[must_use]
    pub fn table<const N: usize>(&self) -> [Rgb; N] {
        std::array::from_fn(|i| self.at(i as f64 / (N.max(2) - 1) as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_hit_their_published_ends() {
        let viridis = Colormap::new(colorous::VIRIDIS);
        assert_eq!(viridis.at(0.0), Rgb(0x44, 0x01, 0x54));
        assert_eq!(viridis.at(1.0), Rgb(0xfd, 0xe7, 0x25));
        assert_eq!(viridis.at(f64::NAN), viridis.at(0.0));
        assert_eq!(viridis.at(7.0), viridis.at(1.0));
        assert_eq!(viridis.part(1.0, 0.0).at(0.0), viridis.at(1.0));
    }

    #[test]
    fn fading_starts_at_the_background() {
        let map = Colormap::new(colorous::MAGMA).part(1.0, 0.0).fading(0.1, Rgb::WHITE);
        assert_eq!(map.at(0.0), Rgb::WHITE);
        assert_ne!(map.at(0.1), Rgb::WHITE);
        assert_eq!(map.table::<5>()[4], map.at(1.0));
    }
}
