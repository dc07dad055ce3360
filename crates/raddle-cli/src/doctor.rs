//! `raddle doctor`: what this machine has, what is missing and what to do.
//!
//! Everything is gathered into a [`Report`] first and printed afterwards, as
//! text or as JSON, so that both say the same. A GPU counts as usable once a
//! kernel has run on it and given the right result; nothing less proves that
//! driver, device and image fit together.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::inspect::assembler;
use crate::probe;

/// Everything that `raddle doctor` found out.
#[derive(Debug, Default)]
pub struct Report {
    driver: Option<Driver>,
    devices: Vec<Device>,
    toolchain: Option<Toolchain>,
    ptxas: Option<PathBuf>,
    cache: Option<Cache>,
    problems: Vec<Problem>,
}

/// The NVIDIA driver.
#[derive(Debug)]
struct Driver {
    /// Newest CUDA version that it supports.
    cuda: (u32, u32),
    /// The library that was loaded.
    library: String,
}

/// One GPU.
#[derive(Debug)]
struct Device {
    ordinal: u32,
    name: String,
    capability: (u32, u32),
    memory_bytes: u64,
    /// What the probe kernel said, if it failed.
    failure: Option<String>,
}

/// The compiler that builds kernels.
#[derive(Debug)]
struct Toolchain {
    rustc: String,
    llvm_version: String,
    llvm_library: Option<PathBuf>,
}

/// The folder of machine code that the driver made from PTX.
#[derive(Debug)]
struct Cache {
    dir: PathBuf,
    files: usize,
    bytes: u64,
}

/// Something that is missing.
#[derive(Debug)]
struct Problem {
    what: String,
    remedy: &'static str,
    /// Whether no GPU can be used because of it.
    blocks_gpu: bool,
}

/// Looks at this machine.
#[must_use]
pub fn examine() -> Report {
    let mut report = Report::default();
    examine_driver(&mut report);
    examine_toolchain(&mut report);
    report.ptxas = assembler::find_tool("ptxas", &[PathBuf::from("target/ptxas")]);
    report.cache = cache_folder().map(measure_cache);
    if report.cache.is_none() {
        report.problems.push(Problem {
            what: "no cache: each process lets the driver compile its kernels again".into(),
            remedy: "unset RADDLE_CACHE=off, or set HOME, XDG_CACHE_HOME or RADDLE_CACHE_DIR",
            blocks_gpu: false,
        });
    }
    report
}

/// The driver and its devices, each tried out with a kernel.
fn examine_driver(report: &mut Report) {
    let driver = match raddle_cuda::Driver::load() {
        Ok(driver) => driver,
        Err(error) => {
            let remedy = if error.is_absent() {
                "install the NVIDIA driver (530 or later); in a container, start it with `--gpus all`"
            } else {
                "update the NVIDIA driver, or restart the machine if it was updated just now"
            };
            report.problems.push(Problem { what: error.to_string(), remedy, blocks_gpu: true });
            return;
        }
    };
    report.driver = Some(Driver { cuda: driver.version(), library: driver.library().to_owned() });
    let count = driver.device_count().unwrap_or(0);
    if count == 0 {
        report.problems.push(Problem {
            what: "the driver shows no device".into(),
            remedy: "look at CUDA_VISIBLE_DEVICES and at `nvidia-smi`",
            blocks_gpu: true,
        });
    }
    for ordinal in 0..count {
        match examine_device(driver, ordinal) {
            Ok(device) => {
                if let Some(failure) = &device.failure {
                    report.problems.push(Problem {
                        what: format!("device {ordinal} did not run the probe kernel: {failure}"),
                        remedy: "Raddle's images need compute capability 8.0 or later; otherwise \
                                 look for other programs that hold the device in `nvidia-smi`",
                        blocks_gpu: false,
                    });
                }
                report.devices.push(device);
            }
            Err(error) => report.problems.push(Problem {
                what: format!("device {ordinal}: {error}"),
                remedy: "look at `nvidia-smi` and the kernel log for errors of the device",
                blocks_gpu: false,
            }),
        }
    }
}

fn examine_device(driver: raddle_cuda::Driver, ordinal: u32) -> raddle_cuda::Result<Device> {
    let device = raddle_cuda::Device::get(driver, ordinal)?;
    Ok(Device {
        ordinal,
        name: device.name()?,
        capability: device.compute_capability()?,
        memory_bytes: device.total_memory_bytes()?,
        failure: try_out(ordinal).err().map(|error| error.to_string()),
    })
}

/// Runs the probe kernel on the GPU of this number.
fn try_out(ordinal: u32) -> Result<(), probe::ProbeError> {
    probe::run(&raddle::Device::cuda(ordinal)?)
}

/// The rustc on the path and the LLVM it ships. Only building needs them.
fn examine_toolchain(report: &mut Report) {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let ask = |arguments: &[&str]| {
        let output = Command::new(&rustc).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (Some(version), Some(sysroot)) = (ask(&["-vV"]), ask(&["--print", "sysroot"])) else {
        report.problems.push(Problem {
            what: "no rustc: programs that are built already run, new ones cannot be built".into(),
            remedy: "install Rust with rustup",
            blocks_gpu: false,
        });
        return;
    };
    let field = |name: &str| {
        let line = version.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    let llvm_library = std::env::var_os("RADDLE_LLVM")
        .map(PathBuf::from)
        .or_else(|| find_llvm(&Path::new(sysroot.trim()).join("lib")));
    if llvm_library.is_none() {
        report.problems.push(Problem {
            what: format!("no libLLVM below {}: kernels cannot be compiled", sysroot.trim()),
            remedy: "use a toolchain from rustup, or name an LLVM library of the same major \
                     version or newer in RADDLE_LLVM; crates that ship PTX build without",
            blocks_gpu: false,
        });
    }
    report.toolchain = Some(Toolchain {
        rustc: field("release:"),
        llvm_version: field("LLVM version:"),
        llvm_library,
    });
}

/// The LLVM library in `dir`: the largest file of that name, since a linker
/// script of a few bytes may stand beside it.
fn find_llvm(dir: &Path) -> Option<PathBuf> {
    let is_llvm = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libLLVM") && (name.contains(".so") || name.ends_with(".dylib"))
    };
    let files = std::fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
    files.filter(is_llvm).max_by_key(|path| std::fs::metadata(path).map_or(0, |data| data.len()))
}

/// Where `raddle-runtime` keeps machine code; `None` when it keeps none.
fn cache_folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if matches!(variable("RADDLE_CACHE").as_deref(), Some("off" | "0" | "no")) {
        return None;
    }
    let below = |name: &str, tail: &str| Some(PathBuf::from(variable(name)?).join(tail));
    below("RADDLE_CACHE_DIR", "")
        .or_else(|| below("XDG_CACHE_HOME", "raddle"))
        .or_else(|| below("LOCALAPPDATA", "raddle"))
        .or_else(|| below("HOME", ".cache/raddle"))
}

/// Counts the files of the cache and its folders.
fn measure_cache(dir: PathBuf) -> Cache {
    let mut cache = Cache { dir: dir.clone(), files: 0, bytes: 0 };
    let mut open = vec![dir];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(data) if data.is_dir() => open.push(entry.path()),
                Ok(data) => {
                    cache.files += 1;
                    cache.bytes += data.len();
                }
                // Another process removed it meanwhile.
                Err(_) => {}
            }
        }
    }
    cache
}

impl Report {
    /// Whether at least one GPU ran the probe kernel.
    #[must_use]
    pub fn is_gpu_usable(&self) -> bool {
        self.devices.iter().any(|device| device.failure.is_none())
    }

    /// The report for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("raddle    {}\n", env!("CARGO_PKG_VERSION"));
        let mut row = |name: &str, value: String| text += &format!("{name:<10}{value}\n");
        row(
            "driver",
            match &self.driver {
                Some(Driver { cuda: (major, minor), library }) => {
                    format!("CUDA {major}.{minor}, {library}")
                }
                None => "none".into(),
            },
        );
        for device in &self.devices {
            let (major, minor) = device.capability;
            let state = if device.failure.is_none() { "runs kernels" } else { "does not work" };
            row(
                &format!("device {}", device.ordinal),
                format!(
                    "{}, compute capability {major}.{minor}, {:.1} GiB, {state}",
                    device.name,
                    device.memory_bytes as f64 / f64::from(1 << 30)
                ),
            );
        }
        if let Some(Toolchain { rustc, llvm_version, llvm_library }) = &self.toolchain {
            row("rustc", rustc.clone());
            let place = llvm_library.as_ref().map_or("not found".into(), |path| path_text(path));
            row("llvm", format!("{llvm_version}, {place}"));
        }
        row(
            "ptxas",
            match &self.ptxas {
                Some(path) => path_text(path),
                None => "none (only `raddle kernels resources` and `sass` use it)".into(),
            },
        );
        if let Some(Cache { dir, files, bytes }) = &self.cache {
            let mib = *bytes as f64 / f64::from(1 << 20);
            row("cache", format!("{}, {files} files, {mib:.1} MiB", dir.display()));
        }
        for Problem { what, remedy, .. } in &self.problems {
            text += &format!("\nproblem: {what}\n  remedy: {remedy}\n");
        }
        text += if self.is_gpu_usable() {
            "\nA GPU is usable.\n"
        } else {
            "\nNo GPU is usable: kernels run on the CPU.\n"
        };
        text
    }

    /// The report for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let device = |device: &Device| {
            json!({
                "ordinal": device.ordinal,
                "name": device.name,
                "capability": [device.capability.0, device.capability.1],
                "memory_bytes": device.memory_bytes,
                "usable": device.failure.is_none(),
                "failure": device.failure,
            })
        };
        let problem = |Problem { what, remedy, blocks_gpu }: &Problem| json!({ "what": what, "remedy": remedy, "blocks_gpu": blocks_gpu });
        json!({
            "raddle": env!("CARGO_PKG_VERSION"),
            "gpu_usable": self.is_gpu_usable(),
            "driver": self.driver.as_ref().map(|driver| json!({
                "cuda": [driver.cuda.0, driver.cuda.1],
                "library": driver.library,
            })),
            "devices": self.devices.iter().map(device).collect::<Vec<_>>(),
            "toolchain": self.toolchain.as_ref().map(|toolchain| json!({
                "rustc": toolchain.rustc,
                "llvm": toolchain.llvm_version,
                "llvm_library": toolchain.llvm_library.as_ref().map(|path| path_text(path)),
            })),
            "ptxas": self.ptxas.as_ref().map(|path| path_text(path)),
            "cache": self.cache.as_ref().map(|cache| json!({
                "dir": path_text(&cache.dir),
                "files": cache.files,
                "bytes": cache.bytes,
            })),
            "problems": self.problems.iter().map(problem).collect::<Vec<_>>(),
        })
    }
}

fn path_text(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(failure: Option<&str>) -> Device {
        Device {
            ordinal: 0,
            name: "A GPU".into(),
            capability: (9, 0),
            memory_bytes: 80 << 30,
            failure: failure.map(str::to_owned),
        }
    }

    #[test]
    fn a_device_counts_once_it_ran_a_kernel() {
        let mut report = Report::default();
        assert!(!report.is_gpu_usable());
        report.devices.push(device(Some("no image")));
        assert!(!report.is_gpu_usable());
        assert!(report.to_text().contains("does not work"));
        report.devices.push(device(None));
        assert!(report.is_gpu_usable());
        assert!(report.to_text().contains("A GPU, compute capability 9.0, 80.0 GiB, runs kernels"));
    }

    #[test]
    fn both_forms_name_each_problem_and_its_remedy() {
        let problem = Problem { what: "no driver".into(), remedy: "install it", blocks_gpu: true };
        let report = Report { problems: vec![problem], ..Report::default() };
        let text = report.to_text();
        assert!(text.contains("problem: no driver\n  remedy: install it"), "{text}");
        let json = report.to_json();
        assert_eq!(json["gpu_usable"], false);
        assert_eq!(json["problems"][0]["remedy"], "install it");
        assert_eq!(json["problems"][0]["blocks_gpu"], true);
    }
}
