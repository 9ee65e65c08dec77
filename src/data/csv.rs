//! `.csv` and `.tsv`: tables in text.
//!
//! What is found out: the delimiter (comma, semicolon, tab, bar or white
//! space) and whether the first line names the columns. What is refused, by
//! line and column: a line of another length, and anything that is not a finite
//! number, unless it may be a word or missing. Blank lines and lines beginning with `#` are
//! skipped; quotes, a byte-order mark and any end of line are understood. Lines
//! are told apart here and not by the csv crate, for exact line numbers in
//! messages; a field that runs over several lines is no number anyway.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use ::csv::{ByteRecord, ReaderBuilder, WriterBuilder};

use super::array::{Array, default_columns, one_line, quote};
use super::preparation::{Constant, PreparedColumn};
use super::table::{self, Kind, Sole, Words};
use crate::error::{Error, Result};
use crate::files::{AtomicFile, write_error};

/// So much of a file is looked at to find out how it is written.
const SNIFFED_BYTES: u64 = 1 << 16;
/// So many lines of it.
const SNIFFED_LINES: usize = 32;

/// What stands between two fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delimiter {
    Byte(u8),
    /// Any run of blanks and tabs.
    Whitespace,
}

/// How a file is written.
#[derive(Debug, Clone, Copy)]
struct Dialect {
    delimiter: Delimiter,
    /// A line feed, or a carriage return where there are no line feeds.
    line_end: u8,
    /// Whether the first record holds the names of the columns.
    has_header: bool,
}

/// Reads the file `path`, which holds numbers alone.
pub(super) fn read(path: &Path) -> Result<Array> {
    scan(path, None)?.finish()
}

/// Reads the file `path`, whose columns may hold words, and values be missing. A column's first value says which; in those
/// that `is_text` names all are words.
pub(super) fn read_table(path: &Path, is_text: &dyn Fn(&str) -> bool) -> Result<table::Table> {
    scan(path, Some(is_text))?.finish_table()
}

fn scan<'a>(path: &Path, is_text: Option<&'a dyn Fn(&str) -> bool>) -> Result<Table<'a>> {
    let place = path.display().to_string();
    let mut file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    let mut head = Vec::new();
    file.by_ref().take(SNIFFED_BYTES).read_to_end(&mut head).map_err(|e| Error::io("read", path, e))?;
    let cut = head.len() as u64 == SNIFFED_BYTES;
    if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
        return Err(Error::input(place, "the text is in UTF-16", "save it as UTF-8"));
    }
    if head.starts_with(b"\xef\xbb\xbf") {
        head.drain(..3);
    }
    let dialect = Dialect::sniff(&place, &head, cut)?;
    let mut table = Table::new(place, dialect.has_header, is_text);
    let mut input = BufReader::with_capacity(1 << 17, Cursor::new(head).chain(file));
    let mut text = Vec::new();
    for line in 1.. {
        text.clear();
        if input.read_until(dialect.line_end, &mut text).map_err(|e| Error::io("read", path, e))? == 0 {
            break;
        }
        if is_skipped(&text) {
            continue;
        }
        match dialect.delimiter {
            Delimiter::Whitespace => table.push(line, words(&text))?,
            // No field that is a number needs a quote, so that quoted lines are the exception.
            Delimiter::Byte(_) if text.contains(&b'"') => {
                let fields = split(&text, dialect.delimiter);
                table.push(line, fields.iter().map(String::as_bytes))?;
            }
            Delimiter::Byte(byte) => table.push(line, text.split(|&b| b == byte))?,
        }
    }
    Ok(table)
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

fn is_skipped(line: &[u8]) -> bool {
    line.starts_with(b"#") || line.trim_ascii().is_empty()
}

impl Dialect {
    /// Finds out from `head`, the beginning of the file, which may be `cut` inside its last line.
    fn sniff(place: &str, head: &[u8], cut: bool) -> Result<Self> {
        let line_end = if head.contains(&b'\r') && !head.contains(&b'\n') { b'\r' } else { b'\n' };
        let mut lines: Vec<&[u8]> =
            head.split(|&b| b == line_end).filter(|l| !is_skipped(l)).take(SNIFFED_LINES + 1).collect();
        if lines.is_empty() {
            return Err(Error::input(place, "the file holds no rows", "write one row a line"));
        }
        if lines.len() > 1 && (cut || lines.len() > SNIFFED_LINES) {
            lines.pop();
        }
        let delimiter = find_delimiter(&lines);
        let mut records = lines.iter().map(|line| split(line, delimiter));
        let first = records.next().unwrap_or_default();
        Ok(Self { delimiter, line_end, has_header: names_columns(&first, records.next().as_deref()) })
    }
}

/// The delimiter under which the lines look most like a table of numbers.
fn find_delimiter(lines: &[&[u8]]) -> Delimiter {
    const CANDIDATES: [Delimiter; 5] = [
        // Where two fit equally well, the earlier one is meant.
        Delimiter::Byte(b'\t'),
        Delimiter::Byte(b';'),
        Delimiter::Byte(b'|'),
        Delimiter::Byte(b','),
        Delimiter::Whitespace,
    ];
    let mut best = (Delimiter::Byte(b','), (false, 0));
    for candidate in CANDIDATES {
        let records: Vec<_> = lines.iter().map(|line| split(line, candidate)).collect();
        let fields = records[0].len();
        if fields < 2 {
            continue;
        }
        let even = records.iter().all(|r| r.len() == fields);
        let body = if records.len() > 1 { &records[1..] } else { &records[..] };
        let (mut numbers, mut all) = (0, 0);
        for field in body.iter().flatten() {
            all += 1;
            numbers += usize::from(looks_numeric(field));
        }
        let score = (even, 1 + 1000 * numbers / all.max(1));
        if score > best.1 {
            best = (candidate, score);
        }
    }
    best.0
}

/// A line's fields, trimmed.
fn split(line: &[u8], delimiter: Delimiter) -> Vec<String> {
    let text = |field: &[u8]| String::from_utf8_lossy(field.trim_ascii()).into_owned();
    match delimiter {
        Delimiter::Whitespace => words(line).map(text).collect(),
        Delimiter::Byte(byte) => {
            let mut record = ByteRecord::new();
            let mut reader = ReaderBuilder::new().delimiter(byte).has_headers(false).from_reader(line);
            // A slice of memory cannot fail to be read.
            let _ = reader.read_byte_record(&mut record);
            record.iter().map(text).collect()
        }
    }
}

fn is_number(field: &str) -> bool {
    field.parse::<f32>().is_ok()
}

/// A number, or one that is written with a decimal comma (which is refused later, by name).
fn looks_numeric(field: &str) -> bool {
    is_number(field) || is_number(&field.replacen(',', ".", 1))
}

fn is_missing(field: &str) -> bool {
    ["", "na", "n/a", "nan", "null", "none", "?", "-", "."].iter().any(|m| field.eq_ignore_ascii_case(m))
}

/// Whether the first record names the columns.
///
/// It does if one of its fields is a word. Two cases need the second record: a
/// word in the very columns that go on with words belongs to the data (and is
/// refused as such); and `0,1,2` over numbers with decimals is how pandas names
/// the columns that nobody has named.
fn names_columns(first: &[String], second: Option<&[String]>) -> bool {
    let is_word = |field: &String| !is_number(field) && !is_missing(field);
    if first.iter().any(is_word) {
        let all_words = first.iter().all(|f| !is_number(f));
        return all_words
            || !second.is_some_and(|s| {
                s.len() == first.len() && first.iter().zip(s).all(|(a, b)| is_word(a) == is_word(b))
            });
    }
    first.len() > 1
        && first.iter().enumerate().all(|(i, field)| *field == i.to_string())
        && second.is_some_and(|s| s.iter().any(|f| is_number(f) && f.contains(['.', 'e', 'E'])))
}

/// A column of which it is being found out what it holds.
struct Guess {
    /// Whether there has been a number, and whether all of them were whole.
    number: bool,
    integral: bool,
    words: Option<Words>,
    /// The first line that misses a value.
    missing: Option<u64>,
    sole: Sole,
}

impl Guess {
    fn new(is_text: bool) -> Self {
        Self {
            number: false,
            integral: true,
            words: is_text.then(Words::default),
            missing: None,
            sole: Sole::Unseen,
        }
    }

    /// What stands for `text` in the matrix, if the column can hold it.
    fn cell(&mut self, line: u64, text: &[u8]) -> Option<f32> {
        if self.words.is_none() {
            let value = parse(text);
            if value.is_some() {
                self.number = true;
                self.integral = self.integral && !text.iter().any(|b| matches!(b, b'.' | b'e' | b'E'));
                self.sole.see(|| Constant::parse(&String::from_utf8_lossy(text)));
                return value;
            }
        }
        let word = String::from_utf8_lossy(text);
        if is_missing(&word) {
            self.missing = self.missing.or(Some(line));
            return Some(f32::NAN);
        }
        if self.words.is_none() && (self.number || word.parse::<f64>().is_ok() || looks_numeric(&word)) {
            return None;
        }
        Some(self.words.get_or_insert_default().number(&word, line))
    }
}

/// A finite number.
fn parse(text: &[u8]) -> Option<f32> {
    str::from_utf8(text).ok()?.parse::<f32>().ok().filter(|value| value.is_finite())
}

/// The rows that have been read so far.
struct Table<'a> {
    place: String,
    /// Whether the record that holds the names is still to come.
    header_ahead: bool,
    columns: Option<Vec<String>>,
    /// The fields of a record; 0 before the first one.
    dim: usize,
    values: Vec<f32>,
    /// Which columns are known to hold words; `None` where all have to be numbers.
    is_text: Option<&'a dyn Fn(&str) -> bool>,
    /// What the columns hold, where it may be anything.
    guesses: Vec<Guess>,
}

impl<'a> Table<'a> {
    fn new(place: String, has_header: bool, is_text: Option<&'a dyn Fn(&str) -> bool>) -> Self {
        Self {
            place,
            header_ahead: has_header,
            columns: None,
            dim: 0,
            values: Vec::new(),
            is_text,
            guesses: Vec::new(),
        }
    }

    fn push<'b>(&mut self, line: u64, fields: impl Iterator<Item = &'b [u8]>) -> Result<()> {
        if self.header_ahead {
            self.header_ahead = false;
            return self.set_header(line, fields);
        }
        let mut found = 0;
        let mut bad = None;
        for field in fields {
            let text = field.trim_ascii();
            if self.is_text.is_some() && self.dim == 0 {
                self.guesses.push(Guess::new(false));
            }
            let value = match self.guesses.get_mut(found) {
                Some(guess) => guess.cell(line, text),
                None => parse(text),
            };
            match value {
                Some(value) => self.values.push(value),
                None => bad = bad.or(Some((found, text))),
            }
            found += 1;
        }
        if self.dim == 0 {
            self.dim = found;
        }
        // A line of another length comes first: its fields are in the wrong columns.
        if found != self.dim {
            let first = if self.columns.is_some() { "the header" } else { "the first line" };
            let fields = if found == 1 { "field" } else { "fields" };
            return Err(Error::input(
                format!("{}, line {line}", self.place),
                format!("{found} {fields}, but {first} has {}", self.dim),
                "give every line the same number of fields",
            ));
        }
        bad.map_or(Ok(()), |(column, text)| Err(self.not_a_number(line, column, text)))
    }

    fn set_header<'b>(&mut self, line: u64, fields: impl Iterator<Item = &'b [u8]>) -> Result<()> {
        let mut names: Vec<String> = Vec::new();
        for field in fields {
            let name = String::from_utf8_lossy(field.trim_ascii()).into_owned();
            let place = format!("{}, line {line}", self.place);
            if name.is_empty() {
                return Err(Error::input(
                    place,
                    format!("column {} has no name, which is how pandas writes its index", names.len() + 1),
                    "write the table without it (index=False), or name the column",
                ));
            }
            if names.contains(&name) {
                return Err(Error::input(
                    place,
                    format!("two columns are called '{}'", quote(name.as_bytes())),
                    "rename one of them",
                ));
            }
            names.push(name);
        }
        self.dim = names.len();
        if let Some(is_text) = self.is_text {
            self.guesses = names.iter().map(|name| Guess::new(is_text(name))).collect();
        }
        self.columns = Some(names);
        Ok(())
    }

    fn not_a_number(&self, line: u64, column: usize, text: &[u8]) -> Error {
        let name = match self.columns.as_ref().and_then(|names| names.get(column)) {
            Some(name) => format!("'{}'", quote(name.as_bytes())),
            None => (column + 1).to_string(),
        };
        let place = format!("{}, line {line}, column {name}", self.place);
        let shown = quote(text);
        let word = String::from_utf8_lossy(text);
        if is_missing(&word) {
            let what = if word.is_empty() {
                "a value is missing".into()
            } else {
                format!("a value is missing ('{shown}')")
            };
            return Error::input(place, what, "fill it in, or remove the line");
        }
        match word.parse::<f64>() {
            Ok(value) if value.is_finite() || word.contains(|c: char| c.is_ascii_digit()) => Error::input(
                place,
                format!("{shown} is too large for float32 (over 3.4e38)"),
                "rescale the column, or remove the line",
            ),
            Ok(_) => Error::input(place, format!("'{shown}' is not finite"), "remove or replace such lines"),
            Err(_) if looks_numeric(&word) => Error::input(
                place,
                format!("'{shown}' has a decimal comma"),
                "write numbers with a decimal point",
            ),
            Err(_) => Error::input(
                place,
                format!("'{shown}' is not a number"),
                "remove the column, or encode it as numbers",
            ),
        }
    }

    fn check_rows(&self) -> Result<()> {
        if self.values.is_empty() {
            return Err(Error::input(
                &self.place,
                "the file has a header but no rows",
                "write one row a line below the header",
            ));
        }
        Ok(())
    }

    fn finish(self) -> Result<Array> {
        self.check_rows()?;
        let rows = self.values.len() / self.dim;
        let columns = self.columns.unwrap_or_else(|| default_columns(self.dim));
        Ok(Array { values: self.values, shape: vec![rows, self.dim], columns: Some(columns) })
    }

    fn finish_table(self) -> Result<table::Table> {
        self.check_rows()?;
        let names = self.columns.unwrap_or_else(|| default_columns(self.dim));
        let column = |(name, guess): (String, Guess)| {
            let kind = match guess.words {
                Some(words) => Kind::Text(words),
                None if guess.number && guess.integral => Kind::Integer,
                None => Kind::Number,
            };
            table::Column { name, kind, stored: None, missing: guess.missing, sole: guess.sole }
        };
        let columns = names.into_iter().zip(self.guesses).map(column).collect();
        Ok(table::Table { place: self.place, position: "line", columns, cells: self.values })
    }
}

/// Streams rows into a text table with a header, each number in the shortest
/// form that reads back to the same float32.
pub(super) struct Writer {
    path: PathBuf,
    table: ::csv::Writer<AtomicFile>,
}

impl Writer {
    pub(super) fn create(path: &Path, delimiter: u8, columns: &[String]) -> Result<Self> {
        let file = AtomicFile::create(path)?;
        // A field that begins with # is quoted: no comment.
        let mut table = WriterBuilder::new()
            .delimiter(delimiter)
            .has_headers(false)
            .comment(Some(b'#'))
            .from_writer(file);
        table.write_record(columns).map_err(|e| write_error(path, io_error(e)))?;
        Ok(Self { path: path.to_owned(), table })
    }

    pub(super) fn write(&mut self, values: &[f32], dim: usize) -> Result<()> {
        values
            .chunks_exact(dim)
            .try_for_each(|row| self.table.serialize(row))
            .map_err(|e| write_error(&self.path, io_error(e)))
    }

    /// Appends rows of `dim` values as what they stand for in the columns of a table.
    pub(super) fn write_prepared(
        &mut self,
        values: &[f32],
        dim: usize,
        columns: &[PreparedColumn],
    ) -> Result<()> {
        let mut record = Vec::with_capacity(columns.len());
        for mut row in values.chunks_exact(dim) {
            record.clear();
            for column in columns {
                let (encoded, rest) = row.split_at(column.kind.width());
                record.push(column.decode(encoded));
                row = rest;
            }
            self.table.serialize(&record).map_err(|e| write_error(&self.path, io_error(e)))?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<()> {
        let Self { path, table } = self;
        table.into_inner().map_err(|e| write_error(&path, e.into_error()))?.finish()
    }
}

/// What went wrong underneath, of the kind that the operating system gave it.
fn io_error(error: ::csv::Error) -> io::Error {
    match error.into_kind() {
        ::csv::ErrorKind::Io(error) => error,
        other => io::Error::other(one_line(&format!("{other:?}"))),
    }
}
