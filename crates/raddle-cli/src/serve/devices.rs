//! The devices that models are served on: which there are, and opening one when the
//! first model comes to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use raddle::Device;
use raddle_server::model::{Device as Named, ModelError};

/// Where models go whose configuration does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// All GPUs if there are any, else the CPU.
    #[default]
    Auto,
    /// All GPUs; without one the server does not start.
    Gpu,
    /// The CPU; GPUs are not touched.
    Cpu,
    /// The GPU's kernels on the CPU, as gpu:0: slow, to try configurations.
    Simulator,
}

/// The devices of this machine that may be used.
#[derive(Debug)]
pub struct Devices {
    choice: Choice,
    gpu_count: u32,
    /// By the server's name.
    opened: Mutex<BTreeMap<String, Device>>,
}

impl Devices {
    /// Looks for GPUs and begins to open the first one, which takes a good part of a
    /// second, while models are read.
    ///
    /// ## Errors
    /// A driver that does not work; for [`Choice::Gpu`], that there is no GPU.
    pub fn find(choice: Choice) -> Result<Arc<Self>, raddle::Error> {
        let gpu_count = match choice {
            Choice::Cpu => 0,
            Choice::Simulator => 1,
            Choice::Auto | Choice::Gpu => count(choice)?,
        };
        let devices = Arc::new(Self { choice, gpu_count, opened: Mutex::default() });
        if gpu_count > 0 {
            let opening = Arc::clone(&devices);
            // A failure is kept by nobody: whoever places a model there meets it again.
            std::thread::spawn(move || opening.open("gpu:0").map(drop));
        }
        Ok(devices)
    }

    /// What the server is told of them.
    pub fn named(&self) -> Vec<Named> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let gpu = |number| {
            let name = format!("gpu:{number}");
            let device = opened.get(&name).filter(|device| device.is_gpu());
            let memory = device.and_then(|device| device.memory().ok());
            let memory = memory.map(|it| (it.total_bytes - it.free_bytes, it.total_bytes));
            Named { name, memory, ..Named::default() }
        };
        let cpu = Named { name: "cpu".into(), ..Named::default() };
        (0..self.gpu_count).map(gpu).chain([cpu]).collect()
    }

    /// The GPU of a name, open.
    ///
    /// ## Errors
    /// [`ModelError::Failed`] if it cannot be opened, [`ModelError::Lost`] if a fault
    /// took it from this process.
    pub fn open(&self, name: &str) -> Result<Device, ModelError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(device) = opened.get(name) {
            return match device.is_lost() {
                true => Err(ModelError::Lost(format!("{device} needs a new process"))),
                false => Ok(device.clone()),
            };
        }
        let number = name.strip_prefix("gpu:").and_then(|number| number.parse().ok());
        let number = number.filter(|&number| number < self.gpu_count);
        let number = number.ok_or_else(|| ModelError::Failed(format!("there is no {name}")))?;
        let device = match self.choice {
            Choice::Simulator => Device::cpu(),
            _ => Device::cuda(number).map_err(|why| ModelError::Failed(why.to_string()))?,
        };
        opened.insert(name.to_owned(), device.clone());
        Ok(device)
    }
}

/// GPUs that the driver shows; an absent driver has none.
fn count(choice: Choice) -> Result<u32, raddle::Error> {
    let found = raddle_cuda::Driver::load().and_then(|driver| driver.device_count());
    match found {
        Ok(0) if choice == Choice::Gpu => {
            Err(raddle::Error::NoGpu { reason: "the driver shows none".into() })
        }
        Ok(count) => Ok(count),
        Err(error) if error.is_absent() && choice == Choice::Auto => Ok(0),
        Err(error) if error.is_absent() => Err(raddle::Error::NoGpu { reason: error.to_string() }),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_instance_groups_choose_by() {
        let devices = Devices::find(Choice::Simulator).unwrap();
        let names: Vec<String> = devices.named().into_iter().map(|it| it.name).collect();
        assert_eq!(names, ["gpu:0", "cpu"]);
        assert_eq!(devices.open("gpu:0").unwrap(), Device::cpu());
        assert_eq!(devices.open("gpu:1"), Err(ModelError::Failed("there is no gpu:1".into())));
        let cpu = Devices::find(Choice::Cpu).unwrap();
        assert_eq!(cpu.named().len(), 1);
        assert!(cpu.open("gpu:0").is_err());
    }
}
