//! Event files that TensorBoard shows: the rows of `metrics.csv` as scalars.
//!
//! A file is a series of records, each a message `tensorflow.Event` in a frame: its length (u64), the masked CRC-32C of
//! these bytes, the message, the masked CRC-32C of that; all of it little-endian ([TFRecord]). They are appended and
//! flushed, so that TensorBoard follows the run while it goes on. A reader passes over a record that is not whole, as a
//! killed program may leave one: the only file of windfield that is not replaced as a whole.
//!
//! [TFRecord]: https://www.tensorflow.org/tutorials/load_data/tfrecord

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use super::run::Row;
use crate::files::write_error;
use crate::measure::evaluate::{LIVE, LiveValues};
use crate::{Error, Result};

/// How the names of event files begin.
pub(super) const PREFIX: &str = "events.out.tfevents.";

/// `tensorflow.Event`, as far as scalars need it.
#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    /// Of the first event alone.
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    /// 1: the run goes on from here, and what other files have of later steps counts no more.
    #[prost(int32, tag = "1")]
    status: i32,
}

/// The event file of a run, or of what it does after it was resumed.
#[derive(Debug)]
pub struct Events {
    path: PathBuf,
    writer: BufWriter<File>,
}

impl Events {
    /// A new file in `folder`, which is made if it is not there, for a run that begins or goes on at `step`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(folder: impl AsRef<Path>, step: u64) -> Result<Self> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(|error| Error::io("create the folder", folder, error))?;
        let now = now();
        let name =
            |number: u32| format!("{PREFIX}{:010}.windfield.{}.{number}", now.trunc(), std::process::id());
        let mut number = 0;
        let (path, file) = loop {
            let path = folder.join(name(number));
            match File::options().write(true).create_new(true).open(&path) {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(write_error(&path, error)),
            }
        };
        let mut events = Self { path, writer: BufWriter::new(file) };
        let version = Some("brain.Event:2".to_owned());
        events.write(&Event { wall_time: now, file_version: version, ..Event::default() })?;
        if step > 0 {
            let step = i64::try_from(step).unwrap_or(i64::MAX);
            let session_log = Some(SessionLog { status: 1 });
            events.write(&Event { wall_time: now, step, session_log, ..Event::default() })?;
        }
        events.flush()?;
        Ok(events)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a row of the history: a scalar for each of its columns, under the column's name.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn push(&mut self, row: &Row) -> Result<()> {
        let exact = row.exact.map(|exact| [("l_fm", exact.fm), ("l_cfm", exact.cfm)]);
        let scalars =
            [("loss", row.loss), ("learning_rate", row.learning_rate), ("gradient_norm", row.gradient_norm)]
                .map(|(tag, value)| (tag, f64::from(value)));
        self.scalars(row.step, scalars.into_iter().chain(exact.into_iter().flatten()))
    }

    /// Adds what was measured after a step.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn look(&mut self, step: u64, live: &LiveValues) -> Result<()> {
        self.scalars(step, LIVE.iter().map(|measure| measure.column).zip(live.iter().copied()))
    }

    fn scalars(&mut self, step: u64, scalars: impl Iterator<Item = (&'static str, f64)>) -> Result<()> {
        #[allow(clippy::cast_possible_truncation, reason = "the scalars of event files are float32")]
        let value = scalars
            .map(|(tag, value)| Value { tag: tag.to_owned(), simple_value: Some(value as f32) })
            .collect();
        self.write(&Event {
            wall_time: now(),
            step: i64::try_from(step).unwrap_or(i64::MAX),
            summary: Some(Summary { value }),
            ..Event::default()
        })
    }

    /// Hands everything to the file, where a TensorBoard that is running finds it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn flush(&mut self) -> Result<()> {
        self.writer.flush().map_err(|error| write_error(&self.path, error))
    }

    fn write(&mut self, event: &Event) -> Result<()> {
        let frame = frame(&event.encode_to_vec());
        self.writer.write_all(&frame).map_err(|error| write_error(&self.path, error))
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// A message in its frame.
fn frame(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let mut frame = Vec::with_capacity(message.len() + 16);
    frame.extend(length);
    frame.extend(masked(crc32c(&length)).to_le_bytes());
    frame.extend(message);
    frame.extend(masked(crc32c(message)).to_le_bytes());
    frame
}

/// A checksum as it is stored, so that a checksum over data that hold checksums is none of those.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: events are a hundred bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::ExactLoss;

    /// The events of a file, whose frames must all be right.
    fn read(path: &Path) -> Vec<Event> {
        let bytes = fs::read(path).unwrap();
        let mut rest = bytes.as_slice();
        let mut events = vec![];
        while !rest.is_empty() {
            let length = usize::try_from(u64::from_le_bytes(rest[..8].try_into().unwrap())).unwrap();
            let stored = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
            assert_eq!(stored(8), masked(crc32c(&rest[..8])));
            let message = &rest[12..12 + length];
            assert_eq!(stored(12 + length), masked(crc32c(message)));
            events.push(Event::decode(message).unwrap());
            rest = &rest[16 + length..];
        }
        events
    }

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, B.4, and the check value of the catalogue of parametrised CRCs.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(masked(0), 0xa282_ead8);
    }

    #[test]
    fn rows_read_back_and_a_resumed_run_has_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("tensorboard");
        let row = Row {
            step: 7,
            loss: 1.5,
            learning_rate: 3e-4,
            gradient_norm: 2.0,
            seconds: 1.0,
            exact: None,
            live: None,
        };
        let mut events = Events::create(&folder, 0).unwrap();
        events.push(&row).unwrap();
        events.push(&Row { step: 8, exact: Some(ExactLoss { fm: 0.25, cfm: 1.25 }), ..row }).unwrap();
        events.look(8, &[0.5; LIVE.len()]).unwrap();
        events.flush().unwrap();
        let found = read(events.path());
        assert_eq!(found[0].file_version.as_deref(), Some("brain.Event:2"));
        assert!(found[0].wall_time > 1.7e9, "{found:?}");
        let scalars = |event: &Event| -> Vec<(String, f32)> {
            let values = event.summary.clone().unwrap().value;
            values.into_iter().map(|value| (value.tag, value.simple_value.unwrap())).collect()
        };
        let named = |pairs: &[(&str, f32)]| -> Vec<(String, f32)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
        };
        let plain = [("loss", 1.5), ("learning_rate", 3e-4), ("gradient_norm", 2.0)];
        assert_eq!((found.len(), found[1].step, scalars(&found[1])), (4, 7, named(&plain)));
        let exact = [plain.as_slice(), &[("l_fm", 0.25), ("l_cfm", 1.25)]].concat();
        assert_eq!((found[2].step, scalars(&found[2])), (8, named(&exact)));
        let live: Vec<(&str, f32)> = LIVE.iter().map(|measure| (measure.column, 0.5)).collect();
        assert_eq!((found[3].step, scalars(&found[3])), (8, named(&live)));

        let resumed = Events::create(&folder, 8).unwrap();
        assert_ne!(resumed.path(), events.path());
        let found = read(resumed.path());
        assert_eq!((found.len(), found[1].step), (2, 8));
        assert_eq!(found[1].session_log.as_ref().map(|log| log.status), Some(1), "step 8 will be made again");
    }
}
