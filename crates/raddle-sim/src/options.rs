//! How the simulator runs, as opposed to what: OS threads, stacks, schedule,
//! where device `print!` goes. Read once from the environment.

use std::sync::OnceLock;
use std::time::Duration;

use crate::fault::Fault;

/// Settings of the simulator.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// OS threads that run blocks, the caller included. From
    /// `RADDLE_SIM_THREADS`, by default as many as the machine has.
    pub threads: usize,
    /// Usable bytes of a simulated thread's stack, in KiB. From
    /// `RADDLE_SIM_STACK_KIB`, by default 256. Only pages that are touched take
    /// memory.
    pub stack_kib: usize,
    /// Seed of a shuffled schedule: which thread runs next at each wait is then
    /// drawn at random, the same for the same seed. From `RADDLE_SIM_SEED`; by
    /// default threads take turns in order. Other orders find missing barriers.
    pub seed: Option<u64>,
    /// How long the threads of a launch may spin on atomics or `yield_now` with
    /// nothing else happening before that is a deadlock, and how long the others
    /// may go on after one of them has failed. From
    /// `RADDLE_SIM_SPIN_SECONDS`, by default 30.
    pub spin_max: Duration,
    /// Whether kernels that are compiled for several architectures take Hopper's
    /// variant. From `RADDLE_SIM_ARCH`, 80 or 90, by default 90.
    pub is_hopper: bool,
    /// Takes each line that kernels print, with its line feed.
    pub print: fn(&str),
}

impl Options {
    /// The settings of this process's environment, read at the first launch.
    ///
    /// ## Errors
    ///
    /// [`Fault::Setting`] if a variable is set to something meaningless.
    pub fn from_env() -> Result<Self, Fault> {
        static OPTIONS: OnceLock<Result<Options, Fault>> = OnceLock::new();
        OPTIONS.get_or_init(|| Self::read(|name| std::env::var_os(name))).clone()
    }

    /// The settings that `variable` gives by name.
    fn read(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Result<Self, Fault> {
        let number = |name: &'static str, expected: &'static str, min: u64, max: u64| {
            let set = variable(name).filter(|found| !found.is_empty());
            let Some(found) = set else { return Ok(None) };
            let found = found.to_string_lossy().into_owned();
            match found.trim().parse::<u64>() {
                Ok(number) if (min..=max).contains(&number) => Ok(Some(number)),
                _ => Err(Fault::Setting { name, expected, found }),
            }
        };
        let threads = number("RADDLE_SIM_THREADS", "a number from 1 to 1024", 1, 1024)?;
        let stack_kib = number("RADDLE_SIM_STACK_KIB", "a number from 16 to 1048576", 16, 1 << 20)?;
        let seed = number("RADDLE_SIM_SEED", "a number below 2^64", 0, u64::MAX)?;
        let spin = number("RADDLE_SIM_SPIN_SECONDS", "a number from 1 to 86400", 1, 86_400)?;
        let architecture = number("RADDLE_SIM_ARCH", "80 or 90", 80, 90)?;
        if let Some(found @ 81..90) = architecture {
            let found = found.to_string();
            return Err(Fault::Setting { name: "RADDLE_SIM_ARCH", expected: "80 or 90", found });
        }
        let available = || std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            threads: threads.map_or_else(available, |threads| threads as usize),
            stack_kib: stack_kib.map_or(256, |kib| kib as usize),
            seed,
            spin_max: Duration::from_secs(spin.unwrap_or(30)),
            is_hopper: architecture != Some(80),
            print: print_to_stdout,
        })
    }
}

/// Writes one line to standard output. As for the driver's `printf`, nobody is
/// left to tell if that fails.
fn print_to_stdout(line: &str) {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<Options, Fault> {
        Options::read(|asked| (asked == name).then(|| value.into()))
    }

    #[test]
    fn settings_are_read_or_refused() {
        assert_eq!(read("RADDLE_SIM_THREADS", "3").map(|options| options.threads), Ok(3));
        assert_eq!(read("RADDLE_SIM_STACK_KIB", "256").map(|options| options.stack_kib), Ok(256));
        assert_eq!(read("RADDLE_SIM_SEED", "7").map(|options| options.seed), Ok(Some(7)));
        assert_eq!(read("RADDLE_SIM_SEED", "").map(|options| options.seed), Ok(None));
        assert_eq!(read("RADDLE_SIM_ARCH", "80").map(|options| options.is_hopper), Ok(false));
        assert_eq!(read("RADDLE_SIM_ARCH", "90").map(|options| options.is_hopper), Ok(true));
        assert_eq!(read("UNRELATED", "x").map(|options| options.seed), Ok(None));
        for (name, value) in [
            ("RADDLE_SIM_THREADS", "0"),
            ("RADDLE_SIM_STACK_KIB", "lots"),
            ("RADDLE_SIM_SEED", "-1"),
            ("RADDLE_SIM_ARCH", "86"),
            ("RADDLE_SIM_ARCH", "100"),
        ] {
            let fault = read(name, value).unwrap_err();
            assert!(matches!(&fault, Fault::Setting { found, .. } if found == value), "{fault}");
        }
    }
}
