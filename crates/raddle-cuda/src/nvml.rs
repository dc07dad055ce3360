//! NVML, the vendor's library for looking at GPUs: how busy they are, their memory and
//! power. It comes with the driver.
//!
//! It is optional: only metrics need it. It shows all GPUs of the machine, whatever
//! `CUDA_VISIBLE_DEVICES` says, and starts no context on them. Looked up like the
//! driver, with `RADDLE_NVML_LIBRARY` first. *Source:* `nvml.h`.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::mem::ManuallyDrop;
use std::sync::OnceLock;

use crate::driver::{exported, open_first, text_of};
use crate::error::{Error, Result};
use crate::functions::library_functions;

type RawDevice = *mut c_void;

/// `NVML_ERROR_NOT_SUPPORTED`: the GPU, or a part of one, does not tell.
const NOT_SUPPORTED: c_int = 3;
/// `NVML_DEVICE_UUID_V2_BUFFER_SIZE`.
const UUID_BYTES: usize = 96;

/// `nvmlUtilization_t`.
#[repr(C)]
#[derive(Default)]
struct Utilisation {
    gpu: c_uint,
    memory: c_uint,
}

/// `nvmlMemory_t`.
#[repr(C)]
#[derive(Default)]
struct Memory {
    total: u64,
    free: u64,
    used: u64,
}

library_functions! {
    NvmlApi {
        init: "nvmlInit_v2", ();
        count: "nvmlDeviceGetCount_v2", (*mut c_uint);
        by_index: "nvmlDeviceGetHandleByIndex_v2", (c_uint, *mut RawDevice);
        uuid: "nvmlDeviceGetUUID", (RawDevice, *mut c_char, c_uint);
        utilisation: "nvmlDeviceGetUtilizationRates", (RawDevice, *mut Utilisation);
        memory: "nvmlDeviceGetMemoryInfo", (RawDevice, *mut Memory);
        power: "nvmlDeviceGetPowerUsage", (RawDevice, *mut c_uint);
    }
}

static NVML: OnceLock<Result<NvmlApi>> = OnceLock::new();

/// The loaded and initialised library. Copying it is free.
#[derive(Clone, Copy)]
pub struct Nvml {
    api: &'static NvmlApi,
}

/// A GPU at a moment. What a GPU does not tell is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct GpuUse {
    /// The vendor's id, as in `GPU-6f0e…`.
    pub uuid: String,
    /// Share of the last moments in which a kernel ran, from 0 to 1.
    pub utilisation: Option<f64>,
    /// Bytes in use and in all, by all processes.
    pub memory: Option<(u64, u64)>,
    /// Power in watts.
    pub power_watts: Option<f64>,
}

impl Nvml {
    /// The library of this process, loaded and initialised on the first call.
    ///
    /// # Errors
    ///
    /// [`Error::NvmlMissing`] without it, [`Error::Nvml`] if it does not start. The
    /// answer is kept.
    pub fn load() -> Result<Self> {
        match NVML.get_or_init(|| load(&candidates())) {
            Ok(api) => Ok(Self { api }),
            Err(error) => Err(error.clone()),
        }
    }

    /// All GPUs of the machine, in the order of their PCI addresses.
    ///
    /// # Errors
    ///
    /// A failed call, but for what a GPU does not support.
    pub fn gpus(self) -> Result<Vec<GpuUse>> {
        let mut count: c_uint = 0;
        // SAFETY: writes one number.
        check("nvmlDeviceGetCount_v2", unsafe { (self.api.count)(&raw mut count) })?;
        (0..count).map(|index| self.gpu(index)).collect()
    }

    fn gpu(self, index: c_uint) -> Result<GpuUse> {
        let api = self.api;
        let mut raw: RawDevice = std::ptr::null_mut();
        // SAFETY: writes one handle, which needs no release.
        let code = unsafe { (api.by_index)(index, &raw mut raw) };
        check("nvmlDeviceGetHandleByIndex_v2", code)?;
        let mut text = [0u8; UUID_BYTES];
        // SAFETY: the device is valid and the text as long as is said.
        let code = unsafe { (api.uuid)(raw, text.as_mut_ptr().cast(), UUID_BYTES as c_uint) };
        check("nvmlDeviceGetUUID", code)?;
        let mut utilisation = Utilisation::default();
        // SAFETY: the device is valid; writes one structure.
        let code = unsafe { (api.utilisation)(raw, &raw mut utilisation) };
        let utilisation =
            told("nvmlDeviceGetUtilizationRates", code, f64::from(utilisation.gpu) / 100.0)?;
        let mut memory = Memory::default();
        // SAFETY: the device is valid; writes one structure.
        let code = unsafe { (api.memory)(raw, &raw mut memory) };
        let memory = told("nvmlDeviceGetMemoryInfo", code, (memory.used, memory.total))?;
        let mut milliwatts: c_uint = 0;
        // SAFETY: the device is valid; writes one number.
        let code = unsafe { (api.power)(raw, &raw mut milliwatts) };
        let power_watts = told("nvmlDeviceGetPowerUsage", code, f64::from(milliwatts) / 1e3)?;
        Ok(GpuUse { uuid: text_of(&text), utilisation, memory, power_watts })
    }
}

fn candidates() -> Vec<String> {
    if let Ok(path) = std::env::var("RADDLE_NVML_LIBRARY") {
        return vec![path];
    }
    let names: &[&str] = if cfg!(windows) {
        &["nvml.dll"]
    } else {
        &["libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1"]
    };
    names.iter().map(ToString::to_string).collect()
}

fn load(candidates: &[String]) -> Result<NvmlApi> {
    let (library, name) =
        open_first(candidates).map_err(|tried| Error::NvmlMissing { tried: tried.into() })?;
    // Never unloaded: the function table lives for the process.
    let library = ManuallyDrop::new(library);
    let api = NvmlApi::resolve(&|symbol| exported(&library, symbol)).map_err(|symbol| {
        Error::NvmlMissing { tried: vec![(name.clone(), format!("it lacks {symbol}"))].into() }
    })?;
    // SAFETY: takes nothing; it may be called any number of times.
    check("nvmlInit_v2", unsafe { (api.init)() })?;
    Ok(api)
}

fn check(call: &'static str, code: c_int) -> Result<()> {
    if code == 0 { Ok(()) } else { Err(Error::Nvml { call, code }) }
}

/// A value, or nothing where the GPU does not tell it.
fn told<T>(call: &'static str, code: c_int, value: T) -> Result<Option<T>> {
    if code == NOT_SUPPORTED { Ok(None) } else { check(call, code).map(|()| Some(value)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_an_error_that_names_the_places() {
        let places = vec!["/nowhere/libnvidia-ml.so.1".to_string()];
        let Err(error) = load(&places) else { panic!("no such library exists") };
        let text = error.to_string();
        assert!(text.contains("/nowhere/libnvidia-ml.so.1"), "{text}");
        assert!(text.contains("RADDLE_NVML_LIBRARY"), "{text}");
    }

    #[test]
    fn what_a_gpu_does_not_tell_is_nothing() {
        assert_eq!(told("call", NOT_SUPPORTED, 7).unwrap(), None);
        assert_eq!(told("call", 0, 7).unwrap(), Some(7));
        let lost = told("nvmlDeviceGetPowerUsage", 15, 7).unwrap_err().to_string();
        assert!(lost.contains("nvmlDeviceGetPowerUsage") && lost.contains("15"), "{lost}");
    }

    #[test]
    fn gpus_are_there_or_the_library_is_not() {
        match Nvml::load().and_then(Nvml::gpus) {
            Err(error) => eprintln!("SKIPPED: no NVML here: {error}"),
            Ok(gpus) => {
                assert!(gpus.iter().all(|gpu| gpu.uuid.starts_with("GPU-")), "{gpus:?}");
            }
        }
    }
}
