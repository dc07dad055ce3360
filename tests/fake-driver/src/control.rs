//! How tests steer the loaded driver: two exported functions beside CUDA's.
//!
//! `fake_cuda_control` takes one line of text and answers with lines of text, so
//! that the two builds of this crate share no types; `fake_cuda_kernel` registers
//! the host functions that stand for a kernel.

use std::ffi::c_void;
use std::fmt::Write;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::calls::{INJECTOR, IS_ARMED, Injection};
use crate::memory::Span;
use crate::random::Random;
use crate::world::{Locked, lock};

/// What can be set.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) devices: i32,
    pub(crate) memory_bytes: u64,
    pub(crate) version: i32,
    pub(crate) capability: (i32, i32),
    /// One call in so many runs some work; 0: only those that wait.
    pub(crate) eager: usize,
    /// Whether nothing runs but for somebody who waits.
    pub(crate) is_held: bool,
    pub(crate) has_background: bool,
    /// Device attributes that differ from the built-in ones.
    pub(crate) attributes: Vec<(u32, i32)>,
    /// Whether devices reach each other's memory.
    pub(crate) has_peers: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            devices: 1,
            memory_bytes: 4 << 30,
            version: 13_000,
            capability: (9, 0),
            eager: 4,
            is_held: false,
            has_background: false,
            attributes: Vec::new(),
            has_peers: true,
        }
    }
}

/// Tells what a kernel touches: calls the sink with address, bytes and whether it
/// writes, for each span.
pub(crate) type Describe = unsafe extern "C" fn(
    params: *const u8,
    bytes: usize,
    sink: *mut c_void,
    emit: unsafe extern "C" fn(*mut c_void, u64, u64, bool),
);

/// Runs a kernel: gets the host memory of each span that it described.
pub(crate) type Run =
    unsafe extern "C" fn(params: *const u8, bytes: usize, pointers: *const *mut u8, len: usize);

/// The host functions that stand for a kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KernelRow {
    describe: Describe,
    run: Run,
}

unsafe extern "C" fn emit(sink: *mut c_void, address: u64, bytes: u64, is_write: bool) {
    // SAFETY: `describe` below passes a vector of spans.
    unsafe { &mut *sink.cast::<Vec<Span>>() }.push(Span { address, bytes, is_write });
}

impl KernelRow {
    pub(crate) fn describe(&self, params: &[u8]) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        let sink = (&raw mut spans).cast();
        // SAFETY: whoever registered the kernel takes its parameter blocks.
        unsafe { (self.describe)(params.as_ptr(), params.len(), sink, emit) };
        spans
    }

    pub(crate) fn run(&self, params: &[u8], pointers: &[*mut u8]) {
        // SAFETY: as above, with memory for every span that it described.
        unsafe { (self.run)(params.as_ptr(), params.len(), pointers.as_ptr(), pointers.len()) };
    }
}

/// Registers a kernel.
pub(crate) fn add_kernel(name: String, describe: Describe, run: Run) {
    lock().kernels.insert(name, KernelRow { describe, run });
}

/// Answers one request; an answer that begins with `error` says what is wrong.
pub(crate) fn answer(request: &str) -> String {
    let mut words = request.split_whitespace();
    let verb = words.next().unwrap_or_default();
    let rest: Vec<&str> = words.collect();
    match verb {
        "set" => set(&rest),
        "counts" => counts(),
        "fail" => fail(&rest),
        "fired" => fired(),
        "hide" => hide(&rest),
        "fault" => fault(&rest),
        "panic" => panic_next(&rest),
        "ledger" => lock().ledger(rest.first().and_then(|device| device.parse().ok())),
        "violations" => {
            let mut world = lock();
            let count = std::mem::take(&mut world.violations_len);
            let list = std::mem::take(&mut world.violations);
            format!("{count}\n{}", list.join("\n"))
        }
        "run" => run(&rest),
        "forward" => match crate::forward::begin(rest.first().unwrap_or(&"")) {
            Ok(()) => String::new(),
            Err(reason) => format!("error: {reason}"),
        },
        "functions" => {
            let names: Vec<&str> = crate::entry::functions().map(|f| f.name).collect();
            names.join("\n")
        }
        "kernels" => lock().kernels_run.to_string(),
        _ => format!("error: unknown request {request:?}"),
    }
}

fn number<T: std::str::FromStr>(words: &[&str], index: usize) -> Option<T> {
    words.get(index)?.parse().ok()
}

fn set(words: &[&str]) -> String {
    let mut world = lock();
    let value: Option<i64> = number(words, 1);
    let (Some(&key), Some(value)) = (words.first(), value) else {
        return "error: set NAME NUMBER".to_owned();
    };
    let settings = &mut world.settings;
    match key {
        "devices" => settings.devices = value as i32,
        "memory" => settings.memory_bytes = value as u64,
        "version" => settings.version = value as i32,
        "capability" => settings.capability = (value as i32 / 10, value as i32 % 10),
        "eager" => settings.eager = value as usize,
        "held" => settings.is_held = value != 0,
        "peers" => settings.has_peers = value != 0,
        "seed" => world.random = Random::new(value as u64),
        "background" => {
            if !std::mem::replace(&mut settings.has_background, true) {
                std::thread::spawn(crate::schedule::run_in_background);
            }
        }
        _ => match key.strip_prefix("attribute").and_then(|number| number.parse().ok()) {
            Some(number) => settings.attributes.push((number, value as i32)),
            None => return format!("error: no setting {key}"),
        },
    }
    String::new()
}

fn counts() -> String {
    let mut text = String::new();
    for function in crate::entry::functions() {
        let count = function.count.swap(0, Ordering::Relaxed);
        if count > 0 {
            let _ = writeln!(text, "{} {count}", function.name);
        }
    }
    text
}

/// `fail FUNCTION|* PASS CODE [sticky] [thread] [repeat=N] [every=N]`, or `fail none`.
fn fail(words: &[&str]) -> String {
    let mut injector = INJECTOR.lock().unwrap_or_else(PoisonError::into_inner);
    injector.fired.clear();
    injector.fired_len = 0;
    injector.armed = None;
    IS_ARMED.store(false, Ordering::Release);
    if words == ["none"] {
        return String::new();
    }
    let (Some(&function), Some(pass), Some(code)) =
        (words.first(), number(words, 1), number(words, 2))
    else {
        return "error: fail FUNCTION PASS CODE".to_owned();
    };
    let option = |name: &str| {
        let value = words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|value| value.parse::<u64>().ok())
    };
    injector.armed = Some(Injection {
        function: if function == "*" { String::new() } else { function.to_owned() },
        pass,
        repeat: option("repeat").unwrap_or(1).max(1),
        code,
        is_sticky: words.contains(&"sticky"),
        thread: words.contains(&"thread").then(|| std::thread::current().id()),
        every: option("every").unwrap_or(0),
    });
    IS_ARMED.store(true, Ordering::Release);
    String::new()
}

fn fired() -> String {
    let injector = INJECTOR.lock().unwrap_or_else(PoisonError::into_inner);
    format!("{} {}", injector.fired_len, injector.fired.join(" "))
}

/// `hide FUNCTION…`; without names everything is shown again.
fn hide(words: &[&str]) -> String {
    for function in crate::entry::functions() {
        let is_hidden = words.contains(&function.name);
        function.is_hidden.store(is_hidden, Ordering::Release);
    }
    String::new()
}

/// `fault KERNEL PASS CODE`: the launch after PASS others loses the context.
fn fault(words: &[&str]) -> String {
    let (Some(&kernel), Some(pass), Some(code)) =
        (words.first(), number(words, 1), number(words, 2))
    else {
        return "error: fault KERNEL PASS CODE".to_owned();
    };
    lock().kernel_faults.push((kernel.to_owned(), pass, code));
    String::new()
}

/// `panic KERNEL PASS RECORD`, the record in hexadecimal digits; or `panic none`.
fn panic_next(words: &[&str]) -> String {
    if words == ["none"] {
        lock().kernel_panics.clear();
        return String::new();
    }
    let (Some(&kernel), Some(pass), Some(digits)) = (words.first(), number(words, 1), words.get(2))
    else {
        return "error: panic KERNEL PASS RECORD".to_owned();
    };
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let record: Option<Vec<u8>> = (0..digits.len() / 2).map(|i| byte(2 * i)).collect();
    let Some(record) = record else { return "error: a record is hexadecimal".to_owned() };
    lock().kernel_panics.push((kernel.to_owned(), pass, record));
    String::new()
}

/// `run all`, or `run N` pieces of work; answers how many ran.
fn run(words: &[&str]) -> String {
    let limit = number::<u64>(words, 0).unwrap_or(u64::MAX);
    let mut world: Locked = lock();
    let mut ran = 0;
    while ran < limit && world.advance() {
        ran += 1;
    }
    ran.to_string()
}
