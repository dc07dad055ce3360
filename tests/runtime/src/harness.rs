//! Processes of their own for tests that need the fake driver, and a dog that
//! barks when one of them hangs.

use std::io::Write;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use raddle_device::kernel::{PanicKind, PanicRecord};
use raddle_fake_driver::{Fake, library};
use raddle_runtime::Device;

use crate::kernels;

/// Set in processes that were started for one test.
const ALONE: &str = "RADDLE_TEST_ALONE";

/// The fake driver, if this is a process with it; else runs the test `name` again
/// in one, with `environment`, and gives `None`.
///
/// # Panics
///
/// If the test fails there.
#[must_use]
pub fn isolated(name: &str, environment: &[(&str, &str)]) -> Option<Fake> {
    if std::env::var_os(ALONE).is_some() {
        let fake = Fake::load();
        kernels::register(&fake);
        return Some(fake);
    }
    let (is_success, text) = run_alone(name, environment);
    // Through the harness's capture, so that figures are seen.
    let notes = text.lines().filter(|line| line.starts_with("note: "));
    let notes: String = notes.flat_map(|line| [line, "\n"]).collect();
    let _ = std::io::stderr().write_all(notes.as_bytes());
    assert!(is_success, "{name} failed in its own process:\n{text}");
    None
}

/// Runs a test of this program in a process of its own with the fake driver: whether
/// it succeeded, and what it wrote.
///
/// # Panics
///
/// If the process does not start.
#[must_use]
pub fn run_alone(name: &str, environment: &[(&str, &str)]) -> (bool, String) {
    let program = std::env::current_exe().expect("a running program has a file");
    let mut command = Command::new(program);
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    command.env(ALONE, "1").env("RADDLE_CUDA_LIBRARY", library()).env("RADDLE_CACHE", "off");
    let output = command.envs(environment.iter().copied()).output().expect("the test starts again");
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    // A name that matches no test would pass for a success.
    let has_run = text.contains("1 passed") || !output.status.success();
    (output.status.success() && has_run, text)
}

/// Has the launch of a kernel after `pass` others panic, by an index of `index` into a
/// slice of 3 elements.
pub fn panic_in(fake: &Fake, kernel: &str, pass: u64, index: u64) {
    let mut bytes = vec![0u8; size_of::<PanicRecord>()];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(std::mem::offset_of!(PanicRecord, state), &1u32.to_ne_bytes());
    let kind = PanicKind::BoundsCheck as u32;
    put(std::mem::offset_of!(PanicRecord, kind), &kind.to_ne_bytes());
    put(std::mem::offset_of!(PanicRecord, a), &index.to_ne_bytes());
    put(std::mem::offset_of!(PanicRecord, b), &3u64.to_ne_bytes());
    let record: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    fake.ask(&format!("panic {kernel} {pass} {record}"));
}

/// Whether a tool looks for leaks (`RADDLE_TEST_LEAKS` is set), so that nothing is to be
/// leaked on purpose.
#[must_use]
pub fn looks_for_leaks() -> bool {
    std::env::var_os("RADDLE_TEST_LEAKS").is_some()
}

/// Writes a figure past the test harness's capture.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "note: {text}");
}

/// The first real GPU, or a line that says that the test is skipped, and why.
#[must_use]
pub fn gpu(test: &str) -> Option<Device> {
    match Device::cuda(0) {
        Ok(device) => Some(device),
        Err(error) => {
            let reason = error.to_string();
            let line = reason.lines().next().unwrap_or_default();
            let _ = writeln!(std::io::stderr(), "{test}: skipped: {line}");
            None
        }
    }
}

/// Ends the process with a message if what it watches takes too long.
pub struct Watchdog {
    state: Arc<Mutex<(Instant, String)>>,
    is_over: Arc<AtomicBool>,
}

/// A watchdog that barks after `limit` without [`Watchdog::begin`].
///
/// # Panics
///
/// If no thread can be started.
#[must_use]
pub fn watchdog(limit: Duration) -> Watchdog {
    let state = Arc::new(Mutex::new((Instant::now(), String::from("the start"))));
    let is_over = Arc::new(AtomicBool::new(false));
    let (watched, stop) = (Arc::clone(&state), Arc::clone(&is_over));
    let watch = move || {
        while !stop.load(Ordering::Acquire) {
            std::thread::park_timeout(Duration::from_millis(100));
            let (since, what) = watched.lock().expect("holders do not panic").clone();
            if since.elapsed() > limit && !stop.load(Ordering::Acquire) {
                let violations = Fake::load().ask("violations");
                let _ = writeln!(
                    std::io::stderr(),
                    "hang: {what} has not ended after {limit:?}\n{violations}"
                );
                std::process::exit(101);
            }
        }
    };
    std::thread::Builder::new().name("watchdog".into()).spawn(watch).expect("a thread starts");
    Watchdog { state, is_over }
}

impl Watchdog {
    /// Watches what begins now.
    ///
    /// # Panics
    ///
    /// Never: nobody panics with the lock.
    pub fn begin(&self, what: String) {
        *self.state.lock().expect("holders do not panic") = (Instant::now(), what);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
    }
}
