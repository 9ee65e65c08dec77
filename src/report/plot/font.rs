//! The bundled typeface: outlines, widths and kerning of a line of text.
//!
//! Inter (SIL Open Font License 1.1, see `assets/fonts/`), subset to Latin,
//! Greek and a few signs, with its kerning in a `kern` table.

use tiny_skia::{Path, PathBuilder};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

static REGULAR: &[u8] = include_bytes!("../../../assets/fonts/Inter-Regular.ttf");
static BOLD: &[u8] = include_bytes!("../../../assets/fonts/Inter-SemiBold.ttf");

/// The weight of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weight {
    /// Text.
    #[default]
    Regular,
    /// Titles.
    Bold,
}

/// The two weights, parsed; `None` only if the bundled files were damaged at build time.
#[derive(Clone)]
pub(super) struct Fonts {
    regular: Option<Face<'static>>,
    bold: Option<Face<'static>>,
}

/// Height of a capital letter of size 1.
pub(super) const CAP_HEIGHT: f32 = 0.727;

impl Fonts {
    pub(super) fn new() -> Self {
        Self { regular: Face::parse(REGULAR, 0).ok(), bold: Face::parse(BOLD, 0).ok() }
    }

    fn face(&self, weight: Weight) -> Option<&Face<'static>> {
        match weight {
            Weight::Regular => self.regular.as_ref(),
            Weight::Bold => self.bold.as_ref(),
        }
    }

    /// The advance width of `text` in the unit of `size`.
    pub(super) fn width(&self, text: &str, size: f32, weight: Weight) -> f32 {
        self.face(weight).map_or(0.0, |face| walk(face, text, size, |_, _| {}))
    }

    /// The outline of `text`, baseline at (0, 0), y downwards; `None` for blank text.
    pub(super) fn outline(&self, text: &str, size: f32, weight: Weight) -> Option<Path> {
        let face = self.face(weight)?;
        let scale = size / f32::from(face.units_per_em());
        let mut pen = Pen { path: PathBuilder::new(), x: 0.0, scale };
        walk(face, text, size, |glyph, x| {
            pen.x = x;
            face.outline_glyph(glyph, &mut pen);
        });
        pen.path.finish()
    }
}

/// Calls `visit` with each glyph and its x; returns the total advance.
fn walk(face: &Face<'_>, text: &str, size: f32, mut visit: impl FnMut(GlyphId, f32)) -> f32 {
    let scale = size / f32::from(face.units_per_em());
    let kern = face.tables().kern.and_then(|table| table.subtables.into_iter().find(|sub| sub.horizontal));
    let (mut x, mut previous) = (0.0, None);
    for character in text.chars().filter(|c| !c.is_control()) {
        // Glyph 0 is the empty box that stands for "not in this font".
        let glyph = face.glyph_index(character).unwrap_or(GlyphId(0));
        if let (Some(left), Some(table)) = (previous, kern.as_ref()) {
            x += f32::from(table.glyphs_kerning(left, glyph).unwrap_or(0)) * scale;
        }
        visit(glyph, x);
        x += f32::from(face.glyph_hor_advance(glyph).unwrap_or(0)) * scale;
        previous = Some(glyph);
    }
    x
}

/// Draws a glyph, whose y points upwards, into a path whose y points downwards.
struct Pen {
    path: PathBuilder,
    x: f32,
    scale: f32,
}

impl Pen {
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        (self.x + x * self.scale, -y * self.scale)
    }
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.move_to(x, y);
    }
    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.line_to(x, y);
    }
    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.path.quad_to(x1, y1, x, y);
    }
    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }
    fn close(&mut self) {
        self.path.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundled_fonts_parse_and_have_the_signs_we_use() {
        let fonts = Fonts::new();
        for weight in [Weight::Regular, Weight::Bold] {
            let face = fonts.face(weight).expect("the bundled font parses");
            for sign in "−×·…≈±∞\u{2009}⁻⁰¹²³⁴⁵⁶⁷⁸⁹₀₁αβσθµΩ→≤%‖".chars()
            {
                assert!(face.glyph_index(sign).is_some_and(|g| g.0 != 0), "{weight:?} lacks {sign}");
            }
        }
    }

    #[test]
    fn widths_add_up_and_kerning_pulls_pairs_together() {
        let fonts = Fonts::new();
        let width = |text| fonts.width(text, 10.0, Weight::Regular);
        assert!(width("") == 0.0 && width("loss") > width("los"));
        assert!(width("AV") < width("A") + width("V"), "no kerning");
        assert!((width("12") - width("1") - width("2")).abs() < 2.0);
        assert!(fonts.outline("  ", 10.0, Weight::Regular).is_none());
        assert!(fonts.outline("漢字", 10.0, Weight::Bold).is_some(), "unknown signs are drawn as boxes");
    }
}
