//! How much of the device's memory is taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What buffers and textures take of a device's memory. What wgpu and the driver need for themselves, such as the room
/// through which copies to the device go, is not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Bytes now.
    pub now: u64,
    /// The most that they have been.
    pub peak: u64,
}

/// The count itself.
#[derive(Debug, Default)]
pub(super) struct Tally {
    now: AtomicU64,
    peak: AtomicU64,
}

impl Tally {
    /// Counts an allocation for as long as what is returned lives.
    pub fn take(tally: &Arc<Self>, bytes: u64) -> Arc<Share> {
        let now = tally.now.fetch_add(bytes, Ordering::Relaxed) + bytes;
        tally.peak.fetch_max(now, Ordering::Relaxed);
        Arc::new(Share { bytes, tally: Arc::clone(tally) })
    }

    pub fn memory(&self) -> Memory {
        Memory { now: self.now.load(Ordering::Relaxed), peak: self.peak.load(Ordering::Relaxed) }
    }

    /// From now on, the peak is that of what comes.
    pub fn forget_peak(&self) {
        self.peak.store(self.now.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// An allocation in the count: shared by all clones of a buffer.
#[derive(Debug)]
pub(crate) struct Share {
    bytes: u64,
    tally: Arc<Tally>,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.tally.now.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_free_again() {
        let tally = Arc::new(Tally::default());
        let first = Tally::take(&tally, 100);
        let clone = Arc::clone(&first);
        drop(Tally::take(&tally, 50));
        drop(first);
        assert_eq!(tally.memory(), Memory { now: 100, peak: 150 });
        tally.forget_peak();
        assert_eq!(tally.memory(), Memory { now: 100, peak: 100 });
        drop(clone);
        assert_eq!(tally.memory(), Memory { now: 0, peak: 100 });
    }
}
