//! The threads of lavapipe, each on a processor of its own.
//!
//! lavapipe cuts a dispatch into one part for each of its threads, and ends it when the last of them is done. Linux often
//! wakes two of them on the same processor while another stands still, and a dispatch takes twice as long then.

/// The variable that says how many threads lavapipe has.
const VARIABLE: &str = "LP_NUM_THREADS";

/// Whether the threads of a driver of this name are kept apart: those of lavapipe on Linux, where there are several
/// processors and the user has not said how many threads there shall be.
#[must_use]
pub fn kept_apart(driver: &str) -> bool {
    let unset = std::env::var_os(VARIABLE).is_none_or(|value| value.is_empty());
    cfg!(target_os = "linux") && driver == "llvmpipe" && unset && processors().len() > 1
}

#[cfg(target_os = "linux")]
pub(super) use linux::{Threads, processors};

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeMap;

    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    use nix::unistd::Pid;

    /// What lavapipe calls the threads that draw triangles, and a number. It starts as many as it has processors, and right
    /// after them, without a name, those that compute.
    const DRAWING: &str = "llvmpipe-";

    /// The threads of this process: their numbers and names.
    pub struct Threads(BTreeMap<i32, String>);

    impl Threads {
        /// As they are now; none if the system does not tell.
        pub fn now() -> Self {
            let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return Self(BTreeMap::new()) };
            let thread = |task: std::fs::DirEntry| {
                let number = task.file_name().to_str()?.parse().ok()?;
                let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
                Some((number, name.trim_end().to_owned()))
            };
            Self(tasks.flatten().filter_map(thread).collect())
        }

        /// Gives every thread that lavapipe has started since then to compute a processor of its own, if there are as many
        /// of one as of the other. It is for speed alone: whatever is not as expected leaves everything as it is.
        pub fn keep_apart_later_ones(&self) {
            let started: Vec<(i32, String)> =
                Self::now().0.into_iter().filter(|(number, _)| !self.0.contains_key(number)).collect();
            let processors = super::processors();
            for (number, processor) in computing(&started, processors.len()).iter().zip(processors) {
                let mut own = CpuSet::new();
                if own.set(processor).is_ok() {
                    // A thread that has ended meanwhile, or a system that forbids it: see above.
                    let _ = sched_setaffinity(Pid::from_raw(*number), &own);
                }
            }
        }
    }

    /// Which of the threads that were started, by their numbers, compute; none if these are not so many.
    fn computing(started: &[(i32, String)], count: usize) -> Vec<i32> {
        let draws = |name: &str| name.strip_prefix(DRAWING).is_some_and(|rest| rest.parse::<u32>().is_ok());
        let drawing = started.iter().filter(|(_, name)| draws(name)).count();
        let last = started.iter().rposition(|(_, name)| draws(name));
        let Some(last) = last.filter(|_| drawing == count) else { return Vec::new() };
        let after: Vec<i32> = started[last + 1..].iter().take(count).map(|(number, _)| *number).collect();
        if after.len() == count { after } else { Vec::new() }
    }

    /// The processors that this process may run on.
    pub fn processors() -> Vec<usize> {
        let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else { return Vec::new() };
        (0..CpuSet::count()).filter(|processor| set.is_set(*processor).unwrap_or(false)).collect()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn threads_that_compute_follow_those_that_draw() {
            let threads = |names: &[&str]| -> Vec<(i32, String)> {
                (10..).zip(names).map(|(number, name)| (number, (*name).to_owned())).collect()
            };
            let usual = threads(&["own", "llvmpipe-0", "llvmpipe-1", "own", "own", "disk$0"]);
            assert_eq!(computing(&usual, 2), [13, 14]);
            // Another number of processors, threads that are not there, another driver.
            assert!(computing(&usual, 3).is_empty());
            assert!(computing(&threads(&["llvmpipe-0", "llvmpipe-1", "own"]), 2).is_empty());
            assert!(computing(&threads(&["own", "own", "llvmpipe-x"]), 2).is_empty());
            assert!(computing(&[], 0).is_empty());
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::{Threads, processors};

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    /// Nothing is known of them.
    pub struct Threads;

    impl Threads {
        /// As they are now.
        pub fn now() -> Self {
            Self
        }

        /// Leaves all as they are.
        pub fn keep_apart_later_ones(&self) {}
    }

    /// Nothing is known of them.
    pub fn processors() -> Vec<usize> {
        Vec::new()
    }
}
