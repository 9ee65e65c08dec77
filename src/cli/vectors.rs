//! How wide lavapipe's vectors are.

use windfield::gpu::Habits;

/// What lavapipe reads it from, when a process first asks for its adapters.
const VARIABLE: &str = "LP_NATIVE_VECTOR_WIDTH";

/// Asks lavapipe for vectors of 512 bits instead of 256 where the processor has them, the user has not said what is
/// wanted, and no network is trained that is so narrow that its step is fused: half of that step are stores, which lavapipe
/// makes lane by lane at any width. All else takes two thirds of the time then. Other drivers know nothing of it.
///
/// `widths`: the widest hidden layer of each network that is to be trained. The same networks always get the same vectors, so
/// that a run that is resumed goes on to the bit.
#[allow(unsafe_code, reason = "the only way to set a variable for libraries of this process")]
pub fn widen(widths: impl IntoIterator<Item = usize>) {
    let narrow = |width: usize| width <= Habits::SOFTWARE.step_width;
    let wide = !widths.into_iter().any(narrow);
    let unset = std::env::var_os(VARIABLE).is_none_or(|value| value.is_empty());
    if wide && unset && has_wide_vectors() {
        // SAFETY: no device is open yet, and with it come all threads but one: that which waits for signals, and it
        // reads no variable of the environment.
        unsafe { std::env::set_var(VARIABLE, "512") };
    }
}

#[cfg(target_arch = "x86_64")]
fn has_wide_vectors() -> bool {
    use std::arch::is_x86_feature_detected;
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_wide_vectors() -> bool {
    false
}
