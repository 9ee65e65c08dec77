//! Puts a kernel's WGSL together from the plain files under `shaders/`.
//!
//! The files are WGSL that an editor understands; whatever varies is said in five ways, all of them comments or
//! ordinary declarations:
//!
//! - `const NAME: u32 = 8u;` — the value is replaced by the variant's, where it has one.
//! - `//#include "shared/x.wgsl"` — that file, once; `{PART}` in the name is replaced by the variant's choice, or the
//!   whole include by the variant's text.
//! - `//#if FLAG` … `//#else` … `//#end` — kept or dropped; `//#if !FLAG` the other way round.
//! - `for (var i = 0u; i < N; i++) { //#unroll` — written out N times with `i` as a number. Drivers unroll such
//!   loops by their own lights; arrays indexed by numbers always end up in registers.
//! - `//#once` in the same place — written out if it runs once, and left as it is otherwise; `//#unroll FLAG` — written out
//!   in variants with the flag as well.
//!
//! `naga_oil` and `wesl` offer modules and imports beyond this, and neither unrolls.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use include_dir::{Dir, include_dir};
use twox_hash::XxHash3_128;

use crate::{Error, Result};

static SHADERS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/shaders");

/// A hash of all files, names included: of what all kernels of this program are made of.
pub(super) fn fingerprint() -> u128 {
    fn add(folder: &Dir<'_>, hasher: &mut XxHash3_128) {
        for file in folder.files() {
            hasher.write(file.path().to_string_lossy().as_bytes());
            hasher.write(file.contents());
        }
        folder.dirs().for_each(|folder| add(folder, hasher));
    }
    let mut hasher = XxHash3_128::new();
    add(&SHADERS, &mut hasher);
    hasher.finish_128()
}

/// The value of a constant in a variant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Constant {
    /// A `u32`.
    Unsigned(u32),
    /// An `f32`.
    Float(f32),
}

/// What an include's `{SLOT}` stands for.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    /// A word of the file's name.
    Name(String),
    /// WGSL that takes the file's place, under a name for the label.
    Text(String, String),
}

/// One way to build a kernel: which file, and what is baked into it.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// The file's name under `shaders/`, without extension.
    pub kernel: &'static str,
    constants: BTreeMap<&'static str, Constant>,
    flags: BTreeSet<&'static str>,
    parts: BTreeMap<&'static str, Part>,
}

impl Variant {
    /// The kernel with the constants that its file declares.
    #[must_use]
    pub fn new(kernel: &'static str) -> Self {
        Self { kernel, constants: BTreeMap::new(), flags: BTreeSet::new(), parts: BTreeMap::new() }
    }

    /// Sets a `u32` constant.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: u32) -> Self {
        self.constants.insert(name, Constant::Unsigned(value));
        self
    }

    /// Sets an `f32` constant.
    #[must_use]
    pub fn with_float(mut self, name: &'static str, value: f32) -> Self {
        self.constants.insert(name, Constant::Float(value));
        self
    }

    /// Sets several constants.
    #[must_use]
    pub fn with_all(mut self, constants: impl IntoIterator<Item = (&'static str, Constant)>) -> Self {
        self.constants.extend(constants);
        self
    }

    /// Sets a flag if `on`.
    #[must_use]
    pub fn flag(mut self, name: &'static str, on: bool) -> Self {
        if on {
            self.flags.insert(name);
        }
        self
    }

    /// Whether a flag is set.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.flags.contains(name)
    }

    /// Chooses the file that `{slot}` stands for in an include.
    #[must_use]
    pub fn part(mut self, slot: &'static str, choice: impl Into<String>) -> Self {
        self.parts.insert(slot, Part::Name(choice.into()));
        self
    }

    /// Puts `source`, WGSL in the form of the files, in the place of an include with `{slot}`. The label has `name` and
    /// a hash of the source.
    #[must_use]
    pub fn text(mut self, slot: &'static str, name: &str, source: impl Into<String>) -> Self {
        let source = source.into();
        let hash = XxHash3_128::oneshot(source.as_bytes()) >> 64;
        self.parts.insert(slot, Part::Text(format!("{name}{hash:016x}"), source));
        self
    }

    /// A name that tells this variant from the others of its kernel, fit for a file.
    #[must_use]
    pub fn label(&self) -> String {
        let mut label = self.kernel.to_owned();
        for part in self.parts.values() {
            let (Part::Name(name) | Part::Text(name, _)) = part;
            let _ = write!(label, "-{name}");
        }
        for flag in &self.flags {
            let _ = write!(label, "-{}", flag.to_lowercase());
        }
        for (name, value) in &self.constants {
            let name = name.to_lowercase();
            let _ = match value {
                Constant::Unsigned(value) => write!(label, "-{name}{value}"),
                Constant::Float(value) => write!(label, "-{name}{value:e}"),
            };
        }
        label
    }

    /// The WGSL of this variant.
    ///
    /// # Errors
    /// [`Error::Device`] if the files and the variant do not fit together: a missing file, part or constant, an
    /// unbalanced `//#if`. The tests compose every variant there is.
    pub fn source(&self) -> Result<String> {
        let mut composer = Composer { variant: self, included: BTreeSet::new(), used: BTreeSet::new() };
        let source = composer.file(&format!("{}.wgsl", self.kernel))?;
        if let Some(unused) = self.constants.keys().find(|name| !composer.used.contains(*name)) {
            return Err(self.fault(&format!("no constant is called {unused}")));
        }
        let values = constants(&source);
        self.unroll(&source, &values)
    }

    fn fault(&self, what: &str) -> Error {
        Error::Device { what: format!("the kernel {}", self.kernel), reason: what.to_owned() }
    }

    fn unroll(&self, source: &str, values: &BTreeMap<String, u32>) -> Result<String> {
        let mut output = String::with_capacity(source.len() * 2);
        let mut lines = source.lines();
        while let Some(line) = lines.next() {
            let (head, always) = match line.split_once("//#").map(|(head, mark)| (head, mark.trim_end())) {
                Some((head, "once")) => (head, false),
                Some((head, mark)) if mark == "unroll" || mark.starts_with("unroll ") => {
                    (head, mark.strip_prefix("unroll ").is_none_or(|flag| self.has(flag)))
                }
                _ => {
                    output.push_str(line);
                    output.push('\n');
                    continue;
                }
            };
            let (name, count) = loop_head(head, values)
                .ok_or_else(|| self.fault(&format!("cannot unroll `{}`", line.trim())))?;
            if !always && count != 1 {
                output.push_str(head.trim_end());
                output.push('\n');
                continue;
            }
            let mut depth = 1;
            let mut body = String::new();
            for line in lines.by_ref() {
                let code = line.split("//").next().unwrap_or("");
                depth += code.matches('{').count();
                depth -= code.matches('}').count();
                if depth == 0 {
                    break;
                }
                body.push_str(line);
                body.push('\n');
            }
            if depth != 0 {
                return Err(self.fault(&format!("`{}` is not closed", line.trim())));
            }
            for i in 0..count {
                let copy = replace_word(&body, name, &format!("{i}u"));
                let _ = writeln!(output, "{{\n{}}}", self.unroll(&copy, values)?);
            }
        }
        Ok(output)
    }
}

struct Composer<'a> {
    variant: &'a Variant,
    included: BTreeSet<String>,
    used: BTreeSet<&'static str>,
}

impl Composer<'_> {
    fn file(&mut self, name: &str) -> Result<String> {
        if !self.included.insert(name.to_owned()) {
            return Ok(String::new());
        }
        let text = SHADERS
            .get_file(name)
            .and_then(include_dir::File::contents_utf8)
            .ok_or_else(|| self.variant.fault(&format!("there is no shaders/{name}")))?;
        self.text(text, name)
    }

    fn text(&mut self, text: &str, name: &str) -> Result<String> {
        let mut output = String::with_capacity(text.len());
        let mut conditions: Vec<bool> = Vec::new();
        for line in text.lines() {
            let trimmed = line.trim();
            if let Some(directive) = trimmed.strip_prefix("//#") {
                self.directive(directive, &mut conditions, &mut output)?;
            } else if conditions.iter().all(|kept| *kept) {
                output.push_str(&self.constant(line));
                output.push('\n');
            }
        }
        if !conditions.is_empty() {
            return Err(self.variant.fault(&format!("an //#if of shaders/{name} has no //#end")));
        }
        Ok(output)
    }

    fn directive(&mut self, text: &str, conditions: &mut Vec<bool>, output: &mut String) -> Result<()> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match (word, rest.trim()) {
            ("if", flag) => {
                let (flag, wanted) = flag.strip_prefix('!').map_or((flag, true), |flag| (flag, false));
                conditions.push(self.variant.flags.contains(flag) == wanted);
            }
            ("else", _) => match conditions.last_mut() {
                Some(condition) => *condition = !*condition,
                None => return Err(self.variant.fault("an //#else has no //#if")),
            },
            ("end", _) => {
                conditions.pop().ok_or_else(|| self.variant.fault("an //#end has no //#if"))?;
            }
            ("include", name) if conditions.iter().all(|kept| *kept) => {
                let mut name = name.trim_matches('"').to_owned();
                let mut given = None;
                for (slot, part) in &self.variant.parts {
                    let slot = format!("{{{slot}}}");
                    match part {
                        Part::Name(choice) => name = name.replace(&slot, choice),
                        Part::Text(label, text) if name.contains(&slot) => given = Some((label, text)),
                        Part::Text(..) => {}
                    }
                }
                let text = match given {
                    Some((label, text)) if self.included.insert(name.clone()) => self.text(text, label)?,
                    Some(_) => String::new(),
                    None => self.file(&name)?,
                };
                output.push_str(&text);
            }
            ("include", _) => {}
            _ => return Err(self.variant.fault(&format!("//#{text} is no directive"))),
        }
        Ok(())
    }

    /// A line, with the variant's value if it declares one of its constants.
    fn constant(&mut self, line: &str) -> String {
        let Some((name, kind)) = line
            .strip_prefix("const ")
            .and_then(|rest| rest.split_once('='))
            .and_then(|(declared, _)| declared.trim().split_once(": "))
        else {
            return line.to_owned();
        };
        match self.variant.constants.get_key_value(name) {
            Some((name, value)) => {
                self.used.insert(name);
                match value {
                    Constant::Unsigned(value) => format!("const {name}: {kind} = {value}u;"),
                    Constant::Float(value) => format!("const {name}: {kind} = {value:e}f;"),
                }
            }
            None => line.to_owned(),
        }
    }
}

/// The `u32` constants of a source, worked out; those that need more than + − · / are left out.
fn constants(source: &str) -> BTreeMap<String, u32> {
    let mut values = BTreeMap::new();
    for line in source.lines() {
        let Some((name, rest)) = line.strip_prefix("const ").and_then(|rest| rest.split_once(": u32 ="))
        else {
            continue;
        };
        if let Some(value) = rest.split_once(';').and_then(|(expression, _)| evaluate(expression, &values)) {
            values.insert(name.to_owned(), value);
        }
    }
    values
}

/// The value of an expression of whole numbers, constants, `+`, `-`, `*`, `/` and parentheses.
fn evaluate(expression: &str, values: &BTreeMap<String, u32>) -> Option<u32> {
    let mut rest = expression.trim();
    let value = sum(&mut rest, values)?;
    rest.is_empty().then_some(value)
}

fn sum(rest: &mut &str, values: &BTreeMap<String, u32>) -> Option<u32> {
    let mut value = product(rest, values)?;
    while let Some(sign) = operator(rest, ['+', '-']) {
        let term = product(rest, values)?;
        value = if sign == '+' { value.checked_add(term)? } else { value.checked_sub(term)? };
    }
    Some(value)
}

fn product(rest: &mut &str, values: &BTreeMap<String, u32>) -> Option<u32> {
    let mut value = atom(rest, values)?;
    while let Some(sign) = operator(rest, ['*', '/']) {
        let factor = atom(rest, values)?;
        value = if sign == '*' { value.checked_mul(factor)? } else { value.checked_div(factor)? };
    }
    Some(value)
}

fn atom(rest: &mut &str, values: &BTreeMap<String, u32>) -> Option<u32> {
    if operator(rest, ['(', '(']).is_some() {
        let value = sum(rest, values)?;
        return operator(rest, [')', ')']).map(|_| value);
    }
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after.trim_start();
    word.trim_end_matches('u').parse().ok().or_else(|| values.get(word).copied())
}

/// Takes one of two signs off the front.
fn operator(rest: &mut &str, signs: [char; 2]) -> Option<char> {
    let sign = rest.chars().next().filter(|sign| signs.contains(sign))?;
    *rest = rest[1..].trim_start();
    Some(sign)
}

/// The name and the count of `for (var NAME = 0u; NAME < COUNT; NAME++) {`.
fn loop_head<'a>(line: &'a str, values: &BTreeMap<String, u32>) -> Option<(&'a str, u32)> {
    let rest = line.trim().strip_prefix("for (var ")?;
    let (name, rest) = rest.split_once(" = 0u; ")?;
    let rest = rest.strip_prefix(name)?.strip_prefix(" < ")?;
    let (bound, _) = rest.split_once(';')?;
    Some((name, evaluate(bound, values)?))
}

/// Replaces an identifier, but not where it is a part of a longer one or a member's name.
fn replace_word(text: &str, word: &str, by: &str) -> String {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut output = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(at) = rest.find(word) {
        let previous = rest[..at].chars().next_back().unwrap_or(before);
        let next = rest[at + word.len()..].chars().next().unwrap_or(' ');
        output.push_str(&rest[..at]);
        let whole = !is_name(previous) && previous != '.' && !is_name(next);
        output.push_str(if whole { by } else { word });
        before = word.chars().next_back().unwrap_or(' ');
        rest = &rest[at + word.len()..];
    }
    output.push_str(rest);
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_replaced_whole() {
        assert_eq!(replace_word("i + bias[i].i + i0", "i", "3u"), "3u + bias[3u].i + i0");
    }

    #[test]
    fn expressions_follow_precedence() {
        let values = BTreeMap::from([("A".to_owned(), 8), ("B".to_owned(), 3)]);
        assert_eq!(evaluate(" A / 4u", &values), Some(2));
        assert_eq!(evaluate("1u + A * B", &values), Some(25));
        assert_eq!(evaluate("C", &values), None);
        assert_eq!(evaluate("(A + B - 1u) / B * 2u", &values), Some(6));
        assert_eq!(evaluate("(A", &values), None);
        assert_eq!(evaluate("A - 9u", &values), None);
    }

    #[test]
    fn loops_nest() {
        let variant = Variant::new("none");
        let source = "const N: u32 = 2u;\nfor (var i = 0u; i < N; i++) { //#unroll\nfor (var j = 0u; j < i; j++) {\na[i][j];\n}\n}\n";
        let unrolled = variant.unroll(source, &constants(source)).unwrap();
        assert!(
            unrolled.contains("a[0u][j];") && unrolled.contains("a[1u][j];") && unrolled.contains("j < 1u")
        );
    }

    #[test]
    fn loops_are_written_out_where_it_is_wanted() {
        let written = |count: u32, mark: &str, flag: bool| {
            let source =
                format!("const N: u32 = {count}u;\nfor (var i = 0u; i < N; i++) {{ //#{mark}\na[i];\n}}\n");
            let variant = Variant::new("none").flag("KNOWN", flag);
            let source = variant.unroll(&source, &constants(&source)).unwrap();
            assert!(!source.contains("//#"), "{source}");
            !source.contains("for")
        };
        assert!(written(1, "once", false) && !written(2, "once", true));
        assert!(written(2, "unroll KNOWN", true) && !written(2, "unroll KNOWN", false));
        assert!(written(1, "unroll KNOWN", false));
    }

    #[test]
    fn text_takes_the_place_of_a_file() {
        let schedule = |value: &str| {
            let text = format!(
                "//#include \"shared/turns.wgsl\"\nconst K: f32 = 1.0;\nfn path_schedule(t: f32) -> vec4f {{ return vec4f({value}); }}"
            );
            Variant::new("path").text("PATH", "custom", text)
        };
        let source = schedule("t").with_float("K", 0.5).source().unwrap();
        assert!(
            source.contains("vec4f(t)")
                && source.contains("fn sin_cos_turns")
                && source.contains("K: f32 = 5e-1f")
        );
        assert!(!source.contains("{PATH}") && !source.contains("//#"), "{source}");
        let label = schedule("t").label();
        assert!(label.starts_with("path-custom") && label.len() == "path-custom".len() + 16, "{label}");
        assert!(label != schedule("2.0 * t").label() && label == schedule("t").label());
    }

    #[test]
    fn a_misspelt_constant_is_refused() {
        let error = Variant::new("noise").with("DMI", 3).source().unwrap_err();
        assert!(error.to_string().contains("DMI"), "{error}");
    }
}
