//! What is kept from one run to the next: that it is used where it is sound, and missed by nobody where it is not.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use windfield::gpu::{CacheFile, CachePurpose, CacheState, Device, DeviceOptions, Purpose, Variant};
use windfield::model::{Activation, Architecture, Kernels, Task, Tuned, Tuning};

const PROGRAM: &str = env!("CARGO_BIN_EXE_windfield");

fn open(cache: Option<&Path>) -> Device {
    let options = DeviceOptions { cache: cache.map(Path::to_owned), ..DeviceOptions::default() };
    Device::open(&options).unwrap_or_else(|error| panic!("these tests need a device: {error}"))
}

/// Compiles a kernel and allocates something.
fn works(device: &Device) {
    device.kernel(&Variant::new("adamw")).unwrap();
    device.buffer(64, Purpose { what: "a test", flag: "--none" }).unwrap();
}

#[test]
fn a_device_opens_whatever_its_folder_holds() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("not/yet/there");
    works(&open(Some(&folder)));
    let device = open(Some(&folder));
    let file = CacheFile::new(&folder, CachePurpose::Pipelines, device.info());
    // Drivers that keep their kernels to themselves leave nothing to write.
    let state = file.state();
    assert!(matches!(state, CacheState::Absent | CacheState::Sound { .. }), "{state:?}");
    drop(device);
    // Sound by its hash, and nothing that wgpu would give to the driver.
    for content in [&b""[..], b"no pipelines", &[0; 1000]] {
        file.write(content).unwrap();
        works(&open(Some(&folder)));
    }
    fs::create_dir_all(&folder).unwrap();
    fs::write(file.path(), b"windfield cache\n and then nothing of the kind").unwrap();
    works(&open(Some(&folder)));
    // A folder that is a file can be neither read nor written.
    let blocked = place.path().join("file");
    fs::write(&blocked, "x").unwrap();
    works(&open(Some(&blocked)));
    assert_eq!(fs::read_to_string(&blocked).unwrap(), "x");
}

/// Runs the program with its caches in `cache`, a folder or `off`. On lavapipe a tuning is one of a width of vectors, which
/// training and sampling choose by themselves: here it is the one that `open` gets.
fn run(folder: &Path, cache: &str, line: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    command
        .current_dir(folder)
        .args(line.split_whitespace())
        .env("WINDFIELD_CACHE", cache)
        .env("LP_NATIVE_VECTOR_WIDTH", "256");
    command.output().unwrap()
}

fn json(folder: &Path, cache: &str, line: &str) -> serde_json::Value {
    let output = run(folder, cache, &format!("{line} --json"));
    assert!(output.status.success(), "{line}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A tuning that takes what `auto` would not: `buffers` for narrow networks.
fn tune(cache: &Path, rows: usize, kernels: Kernels) {
    let device = open(None);
    let network = Architecture {
        dim: 2,
        hidden: vec![16, 16],
        activation: Activation::default(),
        time_frequencies: 0,
        condition_features: 0,
    };
    let widths = Tuning::widths(&network);
    let mut tuning = Tuning::load(cache, device.info());
    for task in [Task::Training, Task::Sampling, Task::Likelihood] {
        tuning.insert(Tuned { task, widths: widths.clone(), rows, kernels, gain: 2.0 });
    }
    tuning.save(cache, device.info()).unwrap();
}

const TRAIN: &str = "train --data moons:500 --hidden 16,16 --batch 64 --schedule constant --no-pictures";

#[test]
fn auto_takes_what_the_tuning_says_and_a_run_keeps_it() {
    let place = tempfile::tempdir().unwrap();
    let (at, cache) = (place.path(), place.path().join("cache"));
    let used = cache.to_str().unwrap();
    tune(&cache, 64, Kernels::Buffers);

    let tuned = json(at, used, &format!("{TRAIN} --steps 20 --out tuned"));
    assert_eq!((&tuned["kernels"], &tuned["tuned"]), (&"buffers".into(), &true.into()));
    let config = fs::read_to_string(at.join("tuned/config.toml")).unwrap();
    assert!(config.contains("\nkernels = \"buffers\"\ntuned = true\n"), "{config}");
    assert_eq!(
        config.matches("kernels = \"buffers\"").count(),
        2,
        "resolved in the options as well: {config}"
    );
    let plain = json(at, "off", &format!("{TRAIN} --steps 20 --out plain"));
    assert_eq!(plain["tuned"], false);
    assert_ne!(plain["kernels"], "buffers");
    let config = fs::read_to_string(at.join("plain/config.toml")).unwrap();
    assert!(!config.contains("tuned"), "{config}");

    // What was asked for by name is what is taken.
    let named = json(at, used, &format!("{TRAIN} --steps 1 --out named --kernels fused"));
    assert_eq!((&named["kernels"], &named["tuned"]), (&"fused".into(), &false.into()));
    // Another batch, far from that.
    let large =
        json(at, used, &format!("{TRAIN} --steps 1 --out large --batch 256").replace("--batch 64 ", ""));
    assert_eq!(large["tuned"], false);

    // Runs go on with the kernels that they began with: without the tuning, and with one that came later.
    let resumed = json(at, "off", "train --resume tuned --steps 40 --no-pictures");
    assert_eq!((&resumed["kernels"], &resumed["tuned"]), (&"buffers".into(), &true.into()));
    let resumed = json(at, used, "train --resume plain --steps 40 --no-pictures");
    assert_eq!((&resumed["kernels"], &resumed["tuned"]), (&plain["kernels"], &false.into()));

    // An interrupted run and a whole one: the same bits.
    json(at, used, &format!("{TRAIN} --steps 40 --out whole"));
    let weights =
        |run: &str| windfield::model::Model::load(at.join(run).join("model.safetensors")).unwrap().weights;
    assert_eq!(weights("tuned"), weights("whole"));

    let sample = "sample plain/model.safetensors -n 64 --steps 4 --out a.npy";
    assert_eq!(json(at, used, sample)["kernels"], "buffers");
    assert_eq!(json(at, used, sample)["tuned"], true);
    assert_eq!(json(at, "off", sample)["tuned"], false);
    // Adaptive steps were not measured.
    assert_eq!(json(at, used, &format!("{sample} --solver dopri5"))["tuned"], false);
    let likelihood =
        "likelihood plain/model.safetensors --data moons:64 --out b.npy --steps 4 --solver euler";
    assert_eq!(json(at, used, likelihood)["kernels"], "buffers");
    assert_eq!(json(at, used, &format!("{likelihood} --divergence hutchinson"))["tuned"], false);
}

#[test]
fn a_tuning_that_does_not_fit_or_is_broken_is_as_good_as_none() {
    let place = tempfile::tempdir().unwrap();
    let (at, cache) = (place.path(), place.path().join("cache"));
    let used = cache.to_str().unwrap();
    // Kernels that cannot train at all.
    tune(&cache, 64, Kernels::Shared);
    let summary = json(at, used, &format!("{TRAIN} --steps 1 --out a"));
    assert_eq!(summary["tuned"], false);
    tune(&cache, 64, Kernels::Buffers);
    let list = json(at, used, "devices");
    let adapter = &list["adapters"][0];
    assert_eq!((&adapter["tuning"]["state"], &adapter["tuned"]), (&"sound".into(), &3.into()));
    let file = CacheFile::new(&cache, CachePurpose::Tuning, open(None).info());
    let mut bytes = fs::read(file.path()).unwrap();
    bytes.pop();
    fs::write(file.path(), bytes).unwrap();
    let summary = json(at, used, &format!("{TRAIN} --steps 1 --out b"));
    assert_eq!(summary["tuned"], false);
    let adapter = &json(at, used, "devices")["adapters"][0];
    assert_eq!((&adapter["tuning"]["state"], &adapter["tuned"]), (&"refused".into(), &0.into()));
    let told = String::from_utf8(run(at, used, "devices").stdout).unwrap();
    assert!(told.contains("is ignored: it is cut short or was changed"), "{told}");
}

#[test]
fn bench_tunes_and_forgets() {
    let place = tempfile::tempdir().unwrap();
    let (at, cache) = (place.path(), place.path().join("cache"));
    let used = cache.to_str().unwrap();
    let report = json(at, used, "bench --tune --shape 2:2x16:64 --rounds 2 --seconds 0.01");
    let trials = report["tuning"].as_array().unwrap();
    assert_eq!(trials.len(), 3, "training, sampling, likelihood: {report}");
    for trial in trials {
        assert_eq!(
            (&trial["tuned"]["rows"], &trial["tuned"]["widths"]),
            (&64.into(), &[3, 16, 16, 2][..].into())
        );
        assert_eq!(trial["rates"][0][0], "auto");
        assert!(trial["rates"].as_array().unwrap().len() > 1, "{trial}");
    }
    assert!(report.get("training").is_none(), "nothing else was asked for");
    let file = CacheFile::new(&cache, CachePurpose::Tuning, open(None).info());
    assert!(file.path().is_file());
    assert_eq!(json(at, used, "bench --tune --clear")["cleared"], true);
    assert!(!file.path().exists());
    assert_eq!(json(at, used, "bench --tune --clear")["cleared"], false);
    let refused = run(at, "off", "bench --tune");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("--cache"));
}

#[test]
fn devices_tells_where_files_are_kept() {
    let place = tempfile::tempdir().unwrap();
    let used = place.path().to_str().unwrap();
    let list = json(place.path(), used, "devices");
    assert_eq!(list["cache"], used);
    assert_eq!(list["adapters"][0]["tuning"]["state"], "absent");
    let list = json(place.path(), "off", "devices");
    assert!(list["cache"].is_null() && list["adapters"][0]["tuning"].is_null());
}
