//! Flow matching on any GPU: a velocity field `v(x, t)` is learned that carries Gaussian noise at t = 0 to data at
//! t = 1 (Lipman et al. 2022), by WGSL kernels written by hand, on Vulkan, Metal, DX12 or GL.
//!
//! # The story of the data
//!
//! | what happens | module | shaders |
//! | --- | --- | --- |
//! | a **data set** is opened: a built-in density, a table, images | [`data`] | |
//! | a **batch** is drawn on the device: pairs (x0, x1), times, points and velocities on the conditional paths | [`flow`], [`train`] | `draw`, `path`, `shared/philox`, `shared/path/*`, `shared/expression`, `shared/conditions` |
//! | of data larger than a kernel can see, the rows of many steps are **gathered** ahead | [`train`] | `gather` |
//! | where a **coupling** asks for it, the pairs of many steps are rearranged: by optimal transport, exact or entropic | [`flow`], [`train`] | `endpoints`, `assignment`, `assignment_begin`, `assignment_costs`, `sinkhorn`, `sinkhorn_*` |
//! | the **network** is evaluated at the batch's features | [`model`] | `linear_forward`, `tiled_forward`, `shared/activation/*` |
//! | what it is to find is known exactly: the **marginal** field and density of the data | [`flow`] | `marginal`, `marginal_logits`, `marginal_weights`, `marginal_moments`, `marginal_merge` |
//! | the **loss** is taken, and its gradient with respect to the output | [`train`] | `loss` |
//! | the **gradient** goes back through the layers | [`model`] | `linear_backward_*`, `tiled_backward_*`, `shared/tile`, `gradient_reduce`; `fused_gradient`, `gradient_unrolled` |
//! | the **optimiser** makes its update, and the step is closed | [`train`] | `step`, `adamw` |
//! | the **model** is read back and written to a file | [`model`] | |
//! | the **integrator** carries noise along the learned flow to **samples** | [`sample`] | `noise`, `integrator`, `stage`, `combine` |
//! | every particle takes its own, **adaptive** steps | [`sample`] | `adaptive`, `control`, `shared/controller` |
//! | the divergence along the way is the **likelihood** of data and samples | [`sample`] | `shared/fused`, `probe`, `trace`, `shared/probe/*` |
//! | how good the samples are, how **straight** the flow, and how much its paths cross is evaluated | [`measure`] | `pairs`, `marginal`, `assignment` |
//! | the theorems behind all this are **verified** on the device | [`measure`] | all of them |
//! | how fast it is, and how near to the device's **peak** | [`measure`] | `peak_flops`, `peak_bandwidth` |
//! | the flow is **drawn**: its field, its trajectories, where paths cross | [`render`] | `lic`, `marginal_moments` |
//! | what was learned is **shown** | [`report`] | |
//!
//! Every stage runs on the device, and hundreds of steps are one submission; the host reads the history. The
//! device itself, its kernels and its errors are [`gpu`]; how a kernel is put together from plain WGSL files is told
//! by [`gpu::Variant`]. The [`guide`] walks through the mathematics, equation by equation, with the kernel, the item and
//! the command of each.
//!
//! # From data to samples
//!
//! ```
//! use std::ops::ControlFlow;
//! use windfield::data::Dataset;
//! use windfield::gpu::{Device, DeviceOptions};
//! use windfield::sample::{SampleOptions, Sampler};
//! use windfield::train::{TrainOptions, Trainer};
//!
//! let device = Device::open(&DeviceOptions::default())?;
//! let data = Dataset::open("moons")?;
//! let options = TrainOptions { steps: 200, hidden: vec![32, 32], ..TrainOptions::default() };
//! let mut trainer = Trainer::new(&device, &data, None, options)?;
//! trainer.run(|_| ControlFlow::Continue(()))?;
//! let model = trainer.model()?;
//! # let file = std::env::temp_dir().join(format!("windfield-story-{}.safetensors", std::process::id()));
//! model.save(&file)?;
//! # std::fs::remove_file(file).unwrap();
//!
//! let mut sampler = Sampler::new(&device, &model, None, SampleOptions::default())?;
//! let mut points = sampler.sample(0, 1000)?;
//! sampler.to_data_units(&mut points);
//! assert!(points.iter().all(|x| x.is_finite()));
//! # Ok::<(), windfield::Error>(())
//! ```
//!
//! # Conventions
//!
//! Arrays are row-major `[n, d]` slices of `f32`. Time runs from 0 (noise) to 1 (data). Losses are squared Euclidean
//! norms, summed over the d coordinates and averaged over the batch. The same seed on the same adapter gives the
//! same bits. Errors are one [`Error`] type whose messages are one line each: what, where, and what to do. Nothing
//! here prints or exits.

pub mod data;
pub mod error;
pub mod files;
pub mod flow;
pub mod gpu;
pub mod guide;
pub mod measure;
pub mod model;
pub mod render;
pub mod report;
pub mod sample;
pub mod shaders;
pub mod train;

pub use error::{Error, Result};
