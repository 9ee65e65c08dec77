//! Files that appear whole or not at all.
//!
//! Every file that windfield writes goes through this module: the bytes go to a
//! temporary file in the same folder, which is flushed, synced and then renamed
//! over the target, so that neither a full disk nor a power cut nor `kill -9`
//! leaves half a file under the name that was asked for. Knows nothing of what
//! is in the files.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use crate::error::{Error, Result};

/// How the names of temporary files begin and end.
const PREFIX: &str = ".windfield-";
const SUFFIX: &str = ".tmp";

/// Whether a file of this name is one that was being written.
pub(crate) fn is_temporary(name: &std::ffi::OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX))
}

/// A file being written, which takes its name only when it is finished.
///
/// Dropping it without [`finish`](Self::finish) removes what was written and
/// leaves whatever was there before untouched.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    // Declared before `temp`: the file is closed before it is removed, which Windows insists on.
    writer: BufWriter<File>,
    /// None for what is no file, such as /dev/null: it is written to as it is, and stays what it is.
    temp: Option<TempPath>,
}

impl AtomicFile {
    /// Starts a file that will be called `path`; missing parent folders are created.
    ///
    /// # Errors
    /// When the folder cannot be created or written to, or `path` is a folder.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if path.file_name().is_none() {
            return Err(Error::io("write", path, io::Error::from(io::ErrorKind::InvalidFilename)));
        }
        if path.is_dir() {
            return Err(Error::io("write", path, io::Error::from(io::ErrorKind::IsADirectory)));
        }
        let buffered = |file| BufWriter::with_capacity(1 << 17, file);
        if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
            let file = File::options().write(true).open(path).map_err(|e| write_error(path, e))?;
            return Ok(Self { path: path.to_owned(), writer: buffered(file), temp: None });
        }
        let folder = folder_of(path);
        fs::create_dir_all(folder).map_err(|e| Error::io("create the folder", folder, e))?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).suffix(SUFFIX);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // Temporary files are private by default; this one becomes an ordinary file, under the umask.
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        // tempfile's errors name the temporary file, which is no concern of the user's.
        let plain = |e: io::Error| write_error(path, io::Error::from(e.kind()));
        let (file, temp) = builder.tempfile_in(folder).map_err(plain)?.into_parts();
        Ok(Self { path: path.to_owned(), writer: buffered(file), temp: Some(temp) })
    }

    /// The name that the file will have.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Flushes, syncs and renames: from here on the file is there, whole.
    ///
    /// # Errors
    /// When any of these fails, such as on a full disk; the file is then not there.
    pub fn finish(self) -> Result<()> {
        let Self { path, writer, temp } = self;
        let file = writer.into_inner().map_err(|e| write_error(&path, e.into_error()))?;
        let Some(temp) = temp else { return Ok(()) };
        file.sync_all().map_err(|e| write_error(&path, e))?;
        drop(file);
        temp.persist(&path).map_err(|e| write_error(&path, e.error))?;
        sync_folder(folder_of(&path));
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// A folder being filled, which takes its name only when it is finished.
///
/// Dropping it without [`finish`](Self::finish) removes what was written.
#[derive(Debug)]
pub(crate) struct FolderDraft {
    path: PathBuf,
    draft: tempfile::TempDir,
}

impl FolderDraft {
    /// Starts a folder that will be called `path`, where there is none yet or an empty one; missing parents are created.
    ///
    /// # Errors
    /// When something is there, or the folder cannot be created.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        // Without a slash at its end.
        let path: PathBuf = path.components().collect();
        let taken = match fs::read_dir(&path) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        };
        if taken {
            return Err(Error::input(
                path.display().to_string(),
                "it is there already, and no empty folder",
                "give a new folder, or empty this one",
            ));
        }
        let parent = folder_of(&path);
        fs::create_dir_all(parent).map_err(|e| Error::io("create the folder", parent, e))?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).suffix(SUFFIX);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o777));
        }
        let plain = |e: io::Error| write_error(&path, io::Error::from(e.kind()));
        let draft = builder.tempdir_in(parent).map_err(plain)?;
        Ok(Self { path, draft })
    }

    /// Where its files are written for now.
    pub(crate) fn path(&self) -> &Path {
        self.draft.path()
    }

    /// Renames it: from here on the folder is there, whole.
    ///
    /// # Errors
    /// When that fails, such as because the folder is no longer empty; nothing is left of the draft then.
    pub(crate) fn finish(self) -> Result<()> {
        sync_folder(self.draft.path());
        // Windows does not rename onto an empty folder.
        if self.path.is_dir() {
            fs::remove_dir(&self.path).map_err(|e| write_error(&self.path, e))?;
        }
        fs::rename(self.draft.path(), &self.path).map_err(|e| write_error(&self.path, e))?;
        // There is nothing left to be removed under the old name.
        let _ = self.draft.keep();
        sync_folder(folder_of(&self.path));
        Ok(())
    }
}

/// Writes the file `path` through `write`, whole or not at all, and returns what `write` returned.
///
/// ```
/// # use std::io::Write;
/// # use windfield::files;
/// # let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("runs/a/note.txt");
/// files::write_atomically(&path, |file| {
///     writeln!(file, "hello").map_err(|e| files::write_error(&path, e))
/// })?;
/// assert_eq!(std::fs::read_to_string(&path).unwrap(), "hello\n");
/// # Ok::<(), windfield::Error>(())
/// ```
///
/// # Errors
/// What `write` returns, or that the file cannot be created, synced or renamed.
pub fn write_atomically<T>(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<T>,
) -> Result<T> {
    let mut file = AtomicFile::create(path)?;
    let value = write(&mut file.writer)?;
    file.finish()?;
    Ok(value)
}

/// Writes `bytes` as the file `path`, whole or not at all.
///
/// # Errors
/// When the file cannot be created, written, synced or renamed.
pub fn write_bytes(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<()> {
    let path = path.as_ref();
    write_atomically(path, |file| file.write_all(bytes.as_ref()).map_err(|e| write_error(path, e)))
}

/// The library's error for a failed write to `path`; a full disk says so in words.
pub fn write_error(path: impl AsRef<Path>, source: io::Error) -> Error {
    let kind = source.kind();
    let source = match kind {
        io::ErrorKind::StorageFull => {
            io::Error::new(kind, "the disk is full; free some space or write to another disk")
        }
        io::ErrorKind::QuotaExceeded => {
            io::Error::new(kind, "the disk quota is used up; free some space or write to another disk")
        }
        _ => source,
    };
    Error::io("write", path, source)
}

/// The folder that `path` is in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes the rename itself durable. Some file systems (and Windows) refuse to
/// sync a folder; the file is whole either way, so that is not an error.
fn sync_folder(folder: &Path) {
    #[cfg(unix)]
    if let Ok(handle) = File::open(folder) {
        let _ = handle.sync_all();
    }
    #[cfg(not(unix))]
    let _ = folder;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_one_line_that_says_what_to_do() {
        let error = write_error("out.npy", io::Error::from(io::ErrorKind::StorageFull)).to_string();
        assert_eq!(error, "cannot write out.npy: the disk is full; free some space or write to another disk");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_written_to_and_stays() {
        use std::os::unix::net::UnixListener;
        let folder = tempfile::tempdir().unwrap();
        write_bytes("/dev/null", "gone").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        // Nobody reads a socket by its name: the error is one line, and the socket is still there.
        let socket = folder.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        assert!(write_bytes(&socket, "lost").is_err());
        assert!(!fs::metadata(&socket).unwrap().is_file());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
