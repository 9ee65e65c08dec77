//! `.npy`, the array format of `NumPy`.
//!
//! Read: float32, float64, integers of any size and booleans, of either byte
//! order, in C or Fortran order. Written: little-endian float32 in C order.
//! The header's grammar is npyz's business; that the header tells the truth
//! about the file is checked here, before anything is allocated by its word.

#![allow(clippy::cast_precision_loss, reason = "64-bit integers are rounded to float32 in the end")]

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

use npyz::{DType, Deserialize, NpyFile, NpyHeader, Order, TypeChar, WriteOptions, WriterBuilder};

use super::array::{Array, one_line, quote, to_f32};
use crate::error::{Error, Result};
use crate::files::{AtomicFile, write_error};

/// What to do about a file that cannot be read as it is.
const SAVE_AGAIN: &str = "write it again with numpy.save";
/// What to do about a type of element that is not a number.
const AS_FLOAT: &str = "write it as float32: numpy.save(path, x.astype(numpy.float32))";
/// A header is some hundred bytes; this is far beyond any of a plain array.
const LONGEST_HEADER: u64 = 1 << 16;

/// Reads the file `path`.
pub(super) fn read(path: &Path) -> Result<Array> {
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    let metadata = file.metadata().map_err(|e| Error::io("read", path, e))?;
    if metadata.is_dir() {
        return Err(Error::io("read", path, std::io::ErrorKind::IsADirectory.into()));
    }
    read_from(&path.display().to_string(), BufReader::with_capacity(1 << 17, file), metadata.len())
}

/// Reads `len` bytes of `.npy` from `reader`; `place` is what messages call it.
pub(super) fn read_from(place: &str, mut reader: impl Read, len: u64) -> Result<Array> {
    let refuse = |what: String, remedy: &str| Err(Error::input(place, what, remedy));
    if len == 0 {
        return refuse("the file is empty".into(), SAVE_AGAIN);
    }
    let text = read_header(place, &mut reader, len)?;
    let header = match NpyHeader::from_reader(text.as_slice()) {
        Ok(header) => header,
        Err(e) => {
            return refuse(format!("the header of the .npy file is broken: {}", one_line(&e)), SAVE_AGAIN);
        }
    };
    let npy = NpyFile::with_header(header, reader);

    let dtype = npy.dtype();
    let DType::Plain(kind) = &dtype else {
        return refuse(
            format!("a structured array ({}) is not an array of numbers", descr(&dtype)),
            AS_FLOAT,
        );
    };
    let size = match (kind.type_char(), kind.size_field()) {
        (TypeChar::Float, size @ (4 | 8))
        | (TypeChar::Int | TypeChar::Uint, size @ (1 | 2 | 4 | 8))
        | (TypeChar::Bool, size @ 1) => size,
        (TypeChar::Object, _) => {
            return refuse("an array of Python objects is not an array of numbers".into(), AS_FLOAT);
        }
        _ => return refuse(format!("elements of type {} are not read", descr(&dtype)), AS_FLOAT),
    };
    let shape = shape_of(place, npy.shape())?;
    // No overflow: `read_header` has seen to it that the product fits.
    let elements = npy.shape().iter().product::<u64>();
    let expected = (text.len() as u64).saturating_add(elements.saturating_mul(size));
    if expected != len {
        let state = if len < expected { "cut short" } else { "longer than its header says" };
        return refuse(
            format!(
                "the file is {state}: an array of shape {} has {expected} bytes, but there are {len}",
                tuple(npy.shape())
            ),
            "copy or write it again",
        );
    }

    let order = npy.order();
    let values = match (kind.type_char(), size) {
        (TypeChar::Float, 4) => values::<f32, _>(place, npy, f64::from),
        (TypeChar::Float, _) => values::<f64, _>(place, npy, |v| v),
        (TypeChar::Int, 1) => values::<i8, _>(place, npy, f64::from),
        (TypeChar::Int, 2) => values::<i16, _>(place, npy, f64::from),
        (TypeChar::Int, 4) => values::<i32, _>(place, npy, f64::from),
        (TypeChar::Int, _) => values::<i64, _>(place, npy, |v| v as f64),
        (TypeChar::Uint, 1) => values::<u8, _>(place, npy, f64::from),
        (TypeChar::Uint, 2) => values::<u16, _>(place, npy, f64::from),
        (TypeChar::Uint, 4) => values::<u32, _>(place, npy, f64::from),
        (TypeChar::Uint, _) => values::<u64, _>(place, npy, |v| v as f64),
        _ => values::<bool, _>(place, npy, f64::from),
    }?;
    let values = if order == Order::Fortran { to_c_order(&values, &shape) } else { values };
    Ok(Array { values, shape, columns: None })
}

/// The header's bytes, magic included, after the checks that npyz leaves to its caller.
///
/// npyz takes the length of the header and the product of the shape as they
/// come, and parses nested values by recursion: a hostile header would exhaust
/// memory, overflow, or run out of stack.
fn read_header(place: &str, reader: &mut impl Read, len: u64) -> Result<Vec<u8>> {
    let refuse = |what: &str| Err(Error::input(place, what, SAVE_AGAIN));
    let cut = |_| Error::input(place, "the file is cut short inside its header", "copy or write it again");
    let mut header = vec![0; 10];
    if len < 10 {
        return refuse("not a .npy file (it is shorter than its header)");
    }
    reader.read_exact(&mut header).map_err(cut)?;
    if &header[..6] != b"\x93NUMPY" {
        return refuse("not a .npy file (it does not begin with \\x93NUMPY)");
    }
    let mut size = u64::from(u16::from_le_bytes([header[8], header[9]]));
    if header[6] != 1 {
        header.resize(12, 0);
        reader.read_exact(&mut header[10..]).map_err(cut)?;
        size |= u64::from(u16::from_le_bytes([header[10], header[11]])) << 16;
    }
    if size > LONGEST_HEADER {
        return refuse("the header of the .npy file is broken: it is too long");
    }
    if header.len() as u64 + size > len {
        return Err(cut(std::io::ErrorKind::UnexpectedEof.into()));
    }
    reader.take(size).read_to_end(&mut header).map_err(cut)?;

    let brackets = header.iter().filter(|b| b"([{".contains(b)).count();
    if brackets > 256 {
        return refuse("the header of the .npy file is broken: it is nested too deeply");
    }
    let text = String::from_utf8_lossy(&header);
    // Every number in a header is an extent or the size of a type; zeros count
    // as ones because partial products matter too.
    let fits = text
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .try_fold(1u64, |product, digits| product.checked_mul(digits.parse::<u64>().ok()?.max(1)))
        .is_some();
    if !fits {
        return refuse("the shape of the array is beyond any memory");
    }
    Ok(header)
}

/// The shape as at least two extents, none of them zero.
fn shape_of(place: &str, shape: &[u64]) -> Result<Vec<usize>> {
    if shape.is_empty() {
        return Err(Error::input(place, "the file holds a single number", "write an array of shape [n, d]"));
    }
    if shape.contains(&0) {
        return Err(Error::input(
            place,
            format!("an array of shape {} has no elements", tuple(shape)),
            "write an array with at least one row and one column",
        ));
    }
    let mut extents =
        shape.iter().map(|&n| usize::try_from(n)).collect::<Result<Vec<_>, _>>().map_err(|_| {
            Error::input(place, format!("shape {} is beyond this machine", tuple(shape)), SAVE_AGAIN)
        })?;
    if extents.len() == 1 {
        extents.push(1);
    }
    Ok(extents)
}

/// All elements in the file's order, as finite float32.
fn values<T: Deserialize, R: Read>(
    place: &str,
    npy: NpyFile<R>,
    widen: impl Fn(T) -> f64,
) -> Result<Vec<f32>> {
    let (shape, order) = (npy.shape().to_vec(), npy.order());
    let broken = |e: &dyn std::error::Error| {
        Error::input(place, format!("the array could not be read: {}", one_line(&e)), SAVE_AGAIN)
    };
    let count = usize::try_from(npy.shape().iter().product::<u64>()).unwrap_or(usize::MAX);
    let mut values = Vec::new();
    values.try_reserve_exact(count).map_err(|e| broken(&e))?;
    for (position, value) in npy.data::<T>().map_err(|e| broken(&e))?.enumerate() {
        let value = widen(value.map_err(|e| broken(&e))?);
        values.push(to_f32(value).map_err(|why| {
            Error::input(
                place,
                format!("element {:?} is {why}", index_of(position as u64, &shape, order)),
                "remove or replace such rows",
            )
        })?);
    }
    Ok(values)
}

/// The index, as `NumPy` writes it, of the element at `position` in the file.
fn index_of(mut position: u64, shape: &[u64], order: Order) -> Vec<u64> {
    let mut index = vec![0; shape.len()];
    let mut axis = |i: usize| {
        index[i] = position % shape[i];
        position /= shape[i];
    };
    match order {
        Order::C => (0..shape.len()).rev().for_each(&mut axis),
        Order::Fortran => (0..shape.len()).for_each(&mut axis),
    }
    index
}

/// Rearranges an array whose first index runs fastest into one whose last index does.
fn to_c_order(values: &[f32], shape: &[usize]) -> Vec<f32> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1;
    for &extent in shape {
        strides.push(stride);
        stride *= extent;
    }
    let mut index = vec![0; shape.len()];
    let mut position = 0;
    let mut ordered = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        ordered.push(values[position]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            position += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            position -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    ordered
}

/// A shape as `NumPy` prints it.
fn tuple(shape: &[u64]) -> String {
    let extents: Vec<_> = shape.iter().map(ToString::to_string).collect();
    format!("({}{})", extents.join(", "), if extents.len() == 1 { "," } else { "" })
}

/// A type of element as it can stand in a message.
fn descr(dtype: &DType) -> String {
    quote(dtype.descr().as_bytes())
}

/// Streams values into a `.npy` file.
pub(super) struct Writer {
    file: AtomicFile,
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn create(path: &Path, shape: &[usize]) -> Result<Self> {
        let mut file = AtomicFile::create(path)?;
        let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
        let dtype = "<f4".parse().map_err(|_| Error::config("the type <f4 is unknown", "report this"))?;
        WriteOptions::new_header_only()
            .dtype(DType::Plain(dtype))
            .shape(&shape)
            .writer(&mut file)
            .write_header_only()
            .map_err(|e| write_error(path, e))?;
        Ok(Self { file, bytes: Vec::new() })
    }

    pub(super) fn write(&mut self, values: &[f32]) -> Result<()> {
        // In pieces, so that the copy of a large chunk stays small.
        for piece in values.chunks(1 << 15) {
            self.bytes.clear();
            self.bytes.extend(piece.iter().flat_map(|v| v.to_le_bytes()));
            self.file.write_all(&self.bytes).map_err(|e| write_error(self.file.path(), e))?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<()> {
        self.file.finish()
    }
}
