//! What outlives a process: files in a folder of the user's, one for each adapter and purpose.
//!
//! Nothing here is ever needed. A file is written whole or not at all, and is believed only if it is the user's own, its
//! content is what was written, and it was written by this very program for this very adapter and driver; all others are
//! as good as none, and the next write replaces them.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use twox_hash::XxHash3_128;
use wgpu::AdapterInfo;

use super::compose;
use crate::Result;
use crate::files::write_bytes;

/// How every file begins.
const MAGIC: &[u8; 16] = b"windfield cache\n";
/// The version of what follows: the hash of the key, the length of the content, its hash, and the content.
const FORMAT: u64 = 1;
const HEADER: usize = MAGIC.len() + 8 + 16 + 8 + 16;
/// Bytes of a file's content, at most. Pipelines of all kernels in some hundred shapes take a few MiB.
const MOST: usize = 64 << 20;

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CachePurpose {
    /// Kernels as the driver compiled them.
    Pipelines,
    /// Which kernels were measured to be the fastest.
    Tuning,
}

impl CachePurpose {
    /// What such a file's name ends with.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Pipelines => "pipelines",
            Self::Tuning => "tuning",
        }
    }
}

/// How it stands with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheState {
    /// It is not there.
    Absent,
    /// It is there and will be used.
    Sound {
        /// The bytes of its content.
        bytes: usize,
    },
    /// It is there and will be ignored.
    Refused {
        /// Why.
        reason: String,
    },
}

/// A file that keeps something for an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheFile {
    path: PathBuf,
    key: u128,
}

impl CacheFile {
    /// The file for an adapter in a folder. Nothing is read or made.
    #[must_use]
    pub fn new(folder: &Path, purpose: CachePurpose, info: &AdapterInfo) -> Self {
        // A new version of a driver takes the place of the old one: it is in the key alone.
        let adapter = format!(
            "{}\n{}\n{}\n{}\n{:?}\n{}",
            info.name, info.vendor, info.device, info.backend, info.device_type, info.driver
        );
        let place = XxHash3_128::oneshot(adapter.as_bytes());
        let key = format!(
            "{adapter}\n{}\n{}\n{}\n{:032x}\n{}\n{}",
            info.driver_info,
            purpose.extension(),
            env!("CARGO_PKG_VERSION"),
            compose::fingerprint(),
            std::env::consts::ARCH,
            std::env::consts::OS,
        );
        let name = format!("{}-{:08x}.{}", slug(&info.name), place >> 96, purpose.extension());
        Self { path: folder.join(name), key: XxHash3_128::oneshot(key.as_bytes()) }
    }

    /// Where it is, or would be.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is there and would be believed.
    #[must_use]
    pub fn state(&self) -> CacheState {
        match self.content() {
            Ok(None) => CacheState::Absent,
            Ok(Some(content)) => CacheState::Sound { bytes: content.len() },
            Err(reason) => CacheState::Refused { reason },
        }
    }

    /// Its content, if it is there and can be believed.
    #[must_use]
    pub fn read(&self) -> Option<Vec<u8>> {
        self.content().ok().flatten()
    }

    /// Replaces it.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if it cannot be written; what was there is still there.
    pub fn write(&self, content: &[u8]) -> Result<()> {
        let mut bytes = Vec::with_capacity(HEADER + content.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&self.key.to_le_bytes());
        bytes.extend_from_slice(&(content.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&XxHash3_128::oneshot(content).to_le_bytes());
        bytes.extend_from_slice(content);
        write_bytes(&self.path, bytes)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            // Under some umasks a group could write to it, and it would not be believed. If it stays so, it is not.
            let _ = std::fs::set_permissions(&self.path, std::fs::Permissions::from_mode(0o600));
        }
        Ok(())
    }

    /// Removes it; `false` if it was not there.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if it cannot be removed.
    pub fn remove(&self) -> Result<bool> {
        match std::fs::remove_file(&self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(crate::Error::io("remove", &self.path, error)),
        }
    }

    /// Its content, `None` if it is not there, or why it is not to be believed.
    fn content(&self) -> Result<Option<Vec<u8>>, String> {
        let told = |error: std::io::Error| format!("it cannot be read: {error}");
        // Before it is opened: opening a pipe would wait for whoever writes to it.
        let kind = match std::fs::metadata(&self.path) {
            Ok(kind) => kind,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(told(error)),
        };
        if !kind.is_file() {
            return Err("it is no file".to_owned());
        }
        let mut file = File::open(&self.path).map_err(told)?;
        trusted(&file.metadata().map_err(told)?)?;
        let mut bytes = vec![];
        let most = HEADER + MOST;
        file.by_ref().take(most as u64 + 1).read_to_end(&mut bytes).map_err(told)?;
        if bytes.len() > most {
            return Err("it is too long".to_owned());
        }
        let broken = || "it is cut short or was changed".to_owned();
        let (magic, rest) = bytes.split_first_chunk::<16>().ok_or_else(broken)?;
        let (format, rest) = rest.split_first_chunk::<8>().ok_or_else(broken)?;
        if magic != MAGIC {
            return Err("it is no file of windfield's cache".to_owned());
        }
        if u64::from_le_bytes(*format) != FORMAT {
            return Err("it was written by another version of windfield".to_owned());
        }
        let (key, rest) = rest.split_first_chunk::<16>().ok_or_else(broken)?;
        if u128::from_le_bytes(*key) != self.key {
            return Err("it was written by another version of windfield or for another driver".to_owned());
        }
        let (length, rest) = rest.split_first_chunk::<8>().ok_or_else(broken)?;
        let (hash, content) = rest.split_first_chunk::<16>().ok_or_else(broken)?;
        let whole = u64::from_le_bytes(*length) == content.len() as u64
            && u128::from_le_bytes(*hash) == XxHash3_128::oneshot(content);
        if whole { Ok(Some(content.to_vec())) } else { Err(broken()) }
    }
}

/// The folder of this user's caches: `windfield` in `$XDG_CACHE_HOME` or `~/.cache`, `~/Library/Caches` on macOS,
/// `%LOCALAPPDATA%` on Windows; `None` where there is no such place.
#[must_use]
pub fn cache_folder() -> Option<PathBuf> {
    let given = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::home_dir().filter(|path| path.is_absolute());
    let folder = if cfg!(windows) {
        given("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        home().map(|home| home.join("Library/Caches"))
    } else {
        given("XDG_CACHE_HOME").or_else(|| home().map(|home| home.join(".cache")))
    };
    folder.map(|folder| folder.join("windfield"))
}

/// Whether a file is what only this user can have written.
#[cfg(unix)]
fn trusted(file: &std::fs::Metadata) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt as _;
    if file.uid() != nix::unistd::geteuid().as_raw() {
        return Err("it is another user's".to_owned());
    }
    if file.mode() & 0o022 != 0 {
        return Err("other users can write to it".to_owned());
    }
    Ok(())
}

/// Elsewhere the folder is the user's own by the system's rules.
#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "as on Unix")]
fn trusted(_: &std::fs::Metadata) -> Result<(), String> {
    Ok(())
}

/// A name as a part of a file's name.
fn slug(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' };
    let text: String = name.chars().map(plain).take(48).collect();
    text.split_whitespace().collect::<Vec<_>>().join("-")
}

/// Kernels as the driver compiled them, kept from one process to the next.
#[derive(Debug)]
pub(super) struct Pipelines {
    pub raw: wgpu::PipelineCache,
    file: CacheFile,
    /// The hash of what was read.
    before: Option<u128>,
}

impl Pipelines {
    /// The pipelines that a folder holds for a device, which has to have [`wgpu::Features::PIPELINE_CACHE`].
    pub fn open(device: &wgpu::Device, info: &AdapterInfo, folder: &Path) -> Option<Self> {
        let file = CacheFile::new(folder, CachePurpose::Pipelines, info);
        let data = file.read();
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let raw = create(device, data.as_deref());
        // Without it kernels are compiled, as they would be without a folder.
        pollster::block_on(scope.pop()).is_none().then_some(())?;
        Some(Self { raw, file, before: data.map(|data| XxHash3_128::oneshot(&data)) })
    }

    /// Writes them back, if there are new ones. That is a favour to the next process: where it cannot be done, all is
    /// as it was.
    pub fn keep(&self) {
        // wgpu's header and Vulkan's, with nothing behind them.
        const EMPTY: usize = 64 + 32;
        let Some(data) = self.raw.get_data().filter(|data| data.len() > EMPTY) else { return };
        if self.before == Some(XxHash3_128::oneshot(&data)) {
            return;
        }
        // Nothing can be taken out of it: what has grown too large begins anew.
        let _ = if data.len() > MOST { self.file.remove().map(drop) } else { self.file.write(&data) };
    }
}

#[allow(unsafe_code, reason = "a driver believes what it is given here")]
fn create(device: &wgpu::Device, data: Option<&[u8]>) -> wgpu::PipelineCache {
    let descriptor = wgpu::PipelineCacheDescriptor { label: Some("windfield"), data, fallback: true };
    // SAFETY: `data` has to be what `get_data` gave for this adapter. It comes from `CacheFile::read`, whose file this
    // program wrote from `get_data` alone (`Pipelines::keep`): a file of this user's that no other user can write to,
    // whose hash is that of what was written, under a key that names this program's version, the adapter, its driver and
    // the driver's version. wgpu and the driver check their own headers besides.
    unsafe { device.create_pipeline_cache(&descriptor) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(driver: &str) -> AdapterInfo {
        let mut info = AdapterInfo::new(wgpu::DeviceType::Cpu, wgpu::Backend::Vulkan);
        info.name = "Some GPU (rev. 2)/x".to_owned();
        info.driver_info = driver.to_owned();
        info
    }

    fn reason(file: &CacheFile) -> String {
        assert_eq!(file.read(), None);
        match file.state() {
            CacheState::Refused { reason } => reason,
            state => panic!("{state:?}"),
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        // The folder is made with the first file.
        let file = CacheFile::new(&folder.path().join("a/b"), CachePurpose::Tuning, &info("1"));
        assert_eq!((file.state(), file.read()), (CacheState::Absent, None));
        for content in [&b"abc"[..], b"", &[7; 10_000]] {
            file.write(content).unwrap();
            assert_eq!(file.read().as_deref(), Some(content));
            assert_eq!(file.state(), CacheState::Sound { bytes: content.len() });
        }
        assert!(file.path().ends_with(file.path().file_name().unwrap()));
        let name = file.path().file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("some-gpu-rev-2-x-") && name.ends_with(".tuning"), "{name}");
        assert!(file.remove().unwrap() && !file.remove().unwrap());
    }

    #[test]
    fn no_bit_may_have_changed() {
        let folder = tempfile::tempdir().unwrap();
        let file = CacheFile::new(folder.path(), CachePurpose::Pipelines, &info("1"));
        file.write(b"some bytes").unwrap();
        let sound = std::fs::read(file.path()).unwrap();
        for place in 0..sound.len() {
            let mut bytes = sound.clone();
            bytes[place] ^= 4;
            std::fs::write(file.path(), bytes).unwrap();
            reason(&file);
            std::fs::write(file.path(), &sound[..place]).unwrap();
            reason(&file);
        }
        std::fs::write(file.path(), [&sound[..], b"x"].concat()).unwrap();
        assert_eq!(reason(&file), "it is cut short or was changed");
        std::fs::write(file.path(), &sound).unwrap();
        assert_eq!(file.read().as_deref(), Some(&b"some bytes"[..]));
    }

    #[test]
    fn drivers_and_purposes_do_not_share() {
        let folder = tempfile::tempdir().unwrap();
        let of = |purpose, driver| CacheFile::new(folder.path(), purpose, &info(driver));
        let old = of(CachePurpose::Pipelines, "1");
        old.write(b"old").unwrap();
        let new = of(CachePurpose::Pipelines, "2");
        assert!(reason(&new).contains("another driver"));
        assert_eq!(of(CachePurpose::Tuning, "1").state(), CacheState::Absent);
        // The new one takes the place of the old one.
        new.write(b"new").unwrap();
        assert_eq!((new.read().as_deref(), old.read()), (Some(&b"new"[..]), None));
    }

    #[cfg(unix)]
    #[test]
    fn only_files_of_this_user_are_believed() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = CacheFile::new(folder.path(), CachePurpose::Pipelines, &info("1"));
        file.write(b"x").unwrap();
        for mode in [0o620, 0o602] {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(reason(&file), "other users can write to it");
        }
        file.write(b"y").unwrap();
        assert_eq!(file.read().as_deref(), Some(&b"y"[..]));
        file.remove().unwrap();
        std::fs::create_dir(file.path()).unwrap();
        assert_eq!(reason(&file), "it is no file");
    }
}
