//! How much memory was used.

use serde::{Deserialize, Serialize};

/// The most memory that was in use at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryUse {
    /// Of the process, where the platform says it. A software driver's memory for the device is among it.
    pub host_bytes: Option<u64>,
    /// Of the device, by the count of buffers and textures ([`crate::gpu::Memory`]).
    pub device_bytes: u64,
}

/// The most resident memory of this process so far.
#[must_use]
pub fn host_peak() -> Option<u64> {
    high_water().or_else(resident)
}

/// By Linux's own account. What `getrusage` says there may be of the process that started this one.
fn high_water() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}

#[cfg(unix)]
fn resident() -> Option<u64> {
    use nix::sys::resource::{UsageWho, getrusage};
    let most = u64::try_from(getrusage(UsageWho::RUSAGE_SELF).ok()?.max_rss()).ok()?;
    // Apple counts in bytes, the others in KiB.
    Some(if cfg!(target_vendor = "apple") { most } else { most << 10 })
}

#[cfg(not(unix))]
fn resident() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_touched_is_counted() {
        let before = host_peak();
        assert_eq!(before.is_some(), cfg!(unix));
        let page = vec![1u8; 64 << 20];
        assert_eq!(page.iter().map(|&byte| u64::from(byte)).sum::<u64>(), 64 << 20);
        let after = host_peak();
        assert!(
            after >= before && after.is_none_or(|after| after >= 64 << 20),
            "{before:?} and then {after:?}"
        );
    }
}
