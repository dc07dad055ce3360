//! The side of tests: steering the fake that this process loads as its driver.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use libloading::Library;

/// The shared library that cargo built beside this test's program.
///
/// # Panics
///
/// If it is not there, which is a broken build.
#[must_use]
pub fn library() -> PathBuf {
    let program = std::env::current_exe().expect("a running program has a file");
    let name = format!(
        "{}raddle_fake_driver{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    );
    let folders = program.ancestors().skip(1).take(2);
    let found = folders.flat_map(|dir| [dir.join(&name), dir.join("deps").join(&name)]);
    let tried: Vec<PathBuf> = found.collect();
    let library = tried.iter().find(|path| path.is_file());
    library.unwrap_or_else(|| panic!("the fake driver is in none of {tried:?}")).clone()
}

type Control = unsafe extern "C" fn(*const u8, usize, *mut u8, usize) -> usize;
type Emit = unsafe extern "C" fn(*mut c_void, u64, u64, bool);
type Describe = unsafe extern "C" fn(*const u8, usize, *mut c_void, Emit);
type Run = unsafe extern "C" fn(*const u8, usize, *const *mut u8, usize);
type Register = unsafe extern "C" fn(*const u8, usize, Describe, Run);

/// The loaded fake.
#[derive(Clone, Copy, Debug)]
pub struct Fake {
    control: Control,
    register: Register,
}

/// What is alive in the driver, by name: `streams`, `allocations`, `pinned_bytes`
/// and so on.
pub type Ledger = BTreeMap<String, u64>;

/// What a kernel's host functions get: its parameter block, by offset.
#[derive(Clone, Copy)]
pub struct Parameters<'a> {
    bytes: &'a [u8],
}

impl Parameters<'_> {
    /// The word of four bytes at `offset`.
    ///
    /// # Panics
    ///
    /// Beyond the block.
    #[must_use]
    pub fn u32(&self, offset: usize) -> u32 {
        let word = self.bytes[offset..offset + 4].try_into();
        u32::from_ne_bytes(word.expect("four bytes were taken"))
    }

    /// The word of eight bytes at `offset`.
    ///
    /// # Panics
    ///
    /// Beyond the block.
    #[must_use]
    pub fn u64(&self, offset: usize) -> u64 {
        let word = self.bytes[offset..offset + 8].try_into();
        u64::from_ne_bytes(word.expect("eight bytes were taken"))
    }
}

/// A kernel as the fake runs it, on 32-bit words.
pub trait Kernel {
    /// Name of the entry in the PTX.
    const ENTRY: &'static str;

    /// The ranges it touches: address, bytes, and whether it writes.
    fn touches(params: Parameters<'_>) -> Vec<(u64, u64, bool)>;

    /// Computes, with the words of each range in the order of
    /// [`Kernel::touches`].
    fn run(params: Parameters<'_>, ranges: &[Words]);
}

/// Words of device memory. Ranges of one launch may overlap, as on a GPU.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    at: *mut u32,
    len: usize,
}

impl Words {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The word at `index`.
    ///
    /// # Panics
    ///
    /// Beyond the range.
    #[must_use]
    pub fn get(&self, index: usize) -> u32 {
        assert!(index < self.len, "word {index} of {}", self.len);
        // SAFETY: in the range, which the fake has looked up and holds locked.
        unsafe { self.at.add(index).read_unaligned() }
    }

    /// Changes the word at `index`.
    ///
    /// # Panics
    ///
    /// Beyond the range.
    pub fn set(&self, index: usize, value: u32) {
        assert!(index < self.len, "word {index} of {}", self.len);
        // SAFETY: as in `get`.
        unsafe { self.at.add(index).write_unaligned(value) };
    }
}

struct Thunk<K>(PhantomData<K>);

impl<K: Kernel> Thunk<K> {
    unsafe extern "C" fn describe(params: *const u8, bytes: usize, sink: *mut c_void, emit: Emit) {
        // SAFETY: the fake passes its copy of the parameter block.
        let bytes = unsafe { std::slice::from_raw_parts(params, bytes) };
        for (address, bytes, is_write) in K::touches(Parameters { bytes }) {
            // SAFETY: the sink belongs to the function.
            unsafe { emit(sink, address, bytes, is_write) };
        }
    }

    unsafe extern "C" fn run(params: *const u8, bytes: usize, at: *const *mut u8, len: usize) {
        // SAFETY: as in `describe`.
        let bytes = unsafe { std::slice::from_raw_parts(params, bytes) };
        // SAFETY: the fake passes one address for each range.
        let at = unsafe { std::slice::from_raw_parts(at, len) };
        let touches = K::touches(Parameters { bytes });
        let words = |(&at, &(_, bytes, _)): (&*mut u8, &(u64, u64, bool))| Words {
            at: at.cast(),
            len: bytes as usize / 4,
        };
        let ranges: Vec<Words> = at.iter().zip(&touches).map(words).collect();
        K::run(Parameters { bytes }, &ranges);
    }
}

impl Fake {
    /// Loads the library, or takes the one that is loaded.
    ///
    /// # Panics
    ///
    /// If it cannot be loaded.
    #[must_use]
    pub fn load() -> Self {
        static LOADED: std::sync::OnceLock<Fake> = std::sync::OnceLock::new();
        *LOADED.get_or_init(|| Self::open(&library()))
    }

    /// Loads the library from another file: a driver of its own.
    ///
    /// # Panics
    ///
    /// If it cannot be loaded.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        // SAFETY: our own library, which runs no initialisers.
        let library = unsafe { Library::new(path) }.expect("the fake driver loads");
        let library = std::mem::ManuallyDrop::new(library);
        // SAFETY: the signature is that of `entry`, in the same source.
        let control = unsafe { library.get::<Control>(b"fake_cuda_control") };
        // SAFETY: as above.
        let register = unsafe { library.get::<Register>(b"fake_cuda_kernel") };
        let (control, register) = (control.expect("it is exported"), register.expect("so is it"));
        Self { control: *control, register: *register }
    }

    /// Asks the driver for something (see `control` for the words).
    ///
    /// # Panics
    ///
    /// If it does not understand.
    pub fn ask(&self, request: &str) -> String {
        let mut reply = vec![0u8; 64 << 10];
        // SAFETY: both ranges are as long as said.
        let len = unsafe {
            (self.control)(request.as_ptr(), request.len(), reply.as_mut_ptr(), reply.len())
        };
        let text = String::from_utf8_lossy(&reply[..len.min(reply.len())]).into_owned();
        assert!(!text.starts_with("error"), "{request}: {text}");
        text
    }

    /// Changes a setting.
    pub fn set(&self, name: &str, value: u64) {
        self.ask(&format!("set {name} {value}"));
    }

    /// Gives the driver a kernel.
    pub fn register<K: Kernel>(&self) {
        let (name, describe, run) = (K::ENTRY, Thunk::<K>::describe, Thunk::<K>::run);
        // SAFETY: the functions belong to this program, which stays loaded.
        unsafe { (self.register)(name.as_ptr(), name.len(), describe, run) };
    }

    /// How often each function was called since this was asked last.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        parse(&self.ask("counts"))
    }

    /// What is alive on a device, or on all.
    #[must_use]
    pub fn ledger(&self, device: Option<u32>) -> Ledger {
        match device {
            Some(device) => parse(&self.ask(&format!("ledger {device}"))),
            None => parse(&self.ask("ledger")),
        }
    }

    /// Wrong uses of the driver since this was asked last.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.ask("violations").lines().skip(1).map(str::to_owned).collect()
    }

    /// Lets the call after `pass` others fail; `function` may be `*`. Options as
    /// in `control`.
    pub fn fail(&self, function: &str, pass: u64, code: u32, options: &str) {
        self.ask(&format!("fail {function} {pass} {code} {options}"));
    }

    /// Ends an injection; gives the functions whose calls failed, and how many
    /// did.
    #[must_use]
    pub fn fired(&self) -> (u64, Vec<String>) {
        let text = self.ask("fired");
        self.ask("fail none");
        let mut words = text.split_whitespace().map(str::to_owned);
        let count = words.next().and_then(|count| count.parse().ok()).unwrap_or(0);
        (count, words.collect())
    }
}

/// Lines of a name and a number.
fn parse(text: &str) -> BTreeMap<String, u64> {
    let entry = |line: &str| {
        let (name, number) = line.split_once(' ')?;
        Some((name.to_owned(), number.parse().ok()?))
    };
    text.lines().filter_map(entry).collect()
}
