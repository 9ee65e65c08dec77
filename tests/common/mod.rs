//! What the tests on the device share: the device, kernels run in isolation, and reports of everything that differs
//! from the float64 reference.
//!
//! The adapter is the one that a user of the library would get. The environment can choose another, such as
//! `VK_DRIVER_FILES=/usr/lib/chromium/vk_swiftshader_icd.json`; where there is none at all, the tests fail.

#![allow(dead_code, reason = "each integration test uses its own part")]

mod launch;
pub mod models;
mod report;

use std::sync::OnceLock;

use windfield::gpu::{Device, DeviceOptions};

#[allow(unused_imports, reason = "each integration test uses its own part")]
pub use launch::{Launch, Outputs};
#[allow(unused_imports, reason = "each integration test uses its own part")]
pub use report::{Report, UNIT};

fn open(checked: bool) -> Device {
    let options = DeviceOptions { checked, ..DeviceOptions::default() };
    Device::open(&options).unwrap_or_else(|error| panic!("these tests need a device: {error}"))
}

/// The device of this process, as users have it: without the shader compiler's checks.
pub fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| open(false))
}

/// The same with the checks.
pub fn checked_device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| open(true))
}

/// The same as if the adapter let a kernel see no more than 256 KiB of a buffer.
pub fn cramped_device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| {
        let options = DeviceOptions { largest_binding: Some(256 << 10), ..DeviceOptions::default() };
        Device::open(&options).unwrap_or_else(|error| panic!("these tests need a device: {error}"))
    })
}

/// As the reference computes.
pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// As the device computes.
#[allow(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
pub fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

/// Standard normals that a float32 holds: other ones for every other seed, the same ones everywhere.
pub fn random(seed: u64, count: usize) -> Vec<f32> {
    // A stream that no kernel draws from.
    narrow(&crate::reference::philox::normal_row(seed, 0, 0, 1000, count))
}

/// A matrix with every row followed by zeros up to `width`, and then rows of `filling` up to `padded_rows`.
// values: [rows, columns]
// out: [padded_rows, width]
pub fn pad(values: &[f32], columns: usize, width: usize, padded_rows: usize, filling: f32) -> Vec<f32> {
    let mut padded: Vec<f32> = values
        .chunks_exact(columns)
        .flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(0.0, width - columns)))
        .collect();
    padded.resize(padded_rows * width, filling);
    padded
}

/// The opposite: the true columns of the true rows.
// padded: [padded_rows, width]
// out: [rows, columns]
pub fn unpad(padded: &[f32], columns: usize, width: usize, rows: usize) -> Vec<f32> {
    padded.chunks_exact(width).take(rows).flat_map(|row| &row[..columns]).copied().collect()
}

/// Everything that [`unpad`] leaves out of the true rows.
pub fn padding(padded: &[f32], columns: usize, width: usize, rows: usize) -> Vec<f32> {
    padded.chunks_exact(width).take(rows).flat_map(|row| &row[columns..]).copied().collect()
}

pub fn word(value: usize) -> u32 {
    u32::try_from(value).expect("a size of a test fits")
}
