//! How wide lavapipe's vectors are.

use std::path::{Path, PathBuf};

/// What lavapipe reads it from, when a process first asks for its adapters.
const VARIABLE: &str = "LP_NATIVE_VECTOR_WIDTH";

/// Asks lavapipe for vectors of 512 bits instead of 256 where the processor has them, this Mesa is faster with them, and the
/// user has not said what is wanted: networks take two thirds to nine tenths of the time then. Other drivers know nothing of it.
#[allow(unsafe_code, reason = "the only way to set a variable for libraries of this process")]
pub fn widen() {
    let unset = std::env::var_os(VARIABLE).is_none_or(|value| value.is_empty());
    if unset && has_wide_vectors() && is_known_to_gain(&manifests()) {
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

/// The newest Vulkan header of a Mesa whose lavapipe is faster with vectors of 512 bits: that of 22.3. In 25.0 they make a
/// lane that reads another one's register a loop over all lanes, which it is not at 256 bits.
const NEWEST_HEADER: u32 = 230;

/// Whether all lavapipes that these manifests name are known to be faster with vectors of 512 bits, and there is one. No
/// device can be asked, since lavapipe reads the variable once, before the first of them is there.
fn is_known_to_gain(manifests: &[PathBuf]) -> bool {
    let headers: Vec<u32> = manifests
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .filter_map(|text| serde_json::from_str(&text).ok())
        .filter_map(|manifest| header_of_lavapipe(&manifest))
        .collect();
    !headers.is_empty() && headers.iter().all(|header| *header <= NEWEST_HEADER)
}

/// The last number of the version, such as 1.3.230, in the manifest of a lavapipe, the greatest there is where it is no
/// number; None for other drivers.
fn header_of_lavapipe(manifest: &serde_json::Value) -> Option<u32> {
    let icd = &manifest["ICD"];
    let version = || icd["api_version"].as_str()?.rsplit('.').next()?.parse().ok();
    icd["library_path"].as_str()?.contains("vulkan_lvp").then(|| version().unwrap_or(u32::MAX))
}

/// The manifests (ICD files) among which the Vulkan loader chooses on Linux.
fn manifests() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let named = variable("VK_DRIVER_FILES").or_else(|| variable("VK_ICD_FILENAMES"));
    if let Some(named) = named {
        return std::env::split_paths(&named).flat_map(|path| within(&path)).collect();
    }
    let home = variable("HOME").map(PathBuf::from).unwrap_or_default();
    let one = |name, default: &str| variable(name).map_or_else(|| home.join(default), PathBuf::from);
    let several = |name, default: &str| variable(name).unwrap_or_else(|| default.into());
    let config = several("XDG_CONFIG_DIRS", "/etc/xdg");
    let data = several("XDG_DATA_DIRS", "/usr/local/share:/usr/share");
    [one("XDG_CONFIG_HOME", ".config"), one("XDG_DATA_HOME", ".local/share")]
        .into_iter()
        .chain(std::env::split_paths(&config))
        .chain(["/usr/local/etc", "/etc"].map(PathBuf::from))
        .chain(std::env::split_paths(&data))
        .flat_map(|folder| within(&folder.join("vulkan/icd.d")))
        .collect()
}

/// The files of a folder, or the file itself.
fn within(path: &Path) -> Vec<PathBuf> {
    match std::fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => vec![path.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_tell_which_lavapipe_gains() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = |name: &str, library: &str, version: &str| {
            let text = format!(r#"{{"ICD": {{"api_version": "{version}", "library_path": "{library}"}}}}"#);
            std::fs::write(folder.path().join(name), text).unwrap();
        };
        assert!(!is_known_to_gain(&within(folder.path())), "no driver");
        manifest("radeon_icd.json", "libvulkan_radeon.so", "1.4.305");
        std::fs::write(folder.path().join("broken.json"), "{").unwrap();
        assert!(!is_known_to_gain(&within(folder.path())), "another driver");
        manifest("lvp_icd.json", "/usr/lib/libvulkan_lvp.so", "1.1.230");
        assert!(is_known_to_gain(&within(folder.path())), "Mesa 22.3");
        assert!(is_known_to_gain(&within(&folder.path().join("lvp_icd.json"))), "named by itself");
        manifest("lvp_icd.i686.json", "libvulkan_lvp.so", "1.4.305");
        assert!(!is_known_to_gain(&within(folder.path())), "Mesa 25.0 beside it");
        manifest("lvp_icd.i686.json", "libvulkan_lvp.so", "new");
        assert!(!is_known_to_gain(&within(folder.path())), "a version that is none");
    }
}
