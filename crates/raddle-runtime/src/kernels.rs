//! Kernels loaded on a GPU: which image suits the device, how it is loaded, and
//! how a launch finds it again in a few nanoseconds.

use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use raddle_cuda::{Function, FunctionAttribute};
use raddle_device::kernel::{Cubin, FORMATTING_MARK, Image, Kernel, RECURSION_MARK};

use crate::assembler;
use crate::cuda::CudaDevice;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::launch::LaunchRules;
use crate::panics::KernelIndex;
use crate::sync::lock;

/// A kernel on one GPU.
pub(crate) struct Loaded {
    pub(crate) rules: LaunchRules,
    pub(crate) function: Function,
    pub(crate) index: KernelIndex,
    /// Dynamic shared memory that the function may be given as it is set now.
    pub(crate) dynamic_shared_bytes_max: AtomicU32,
    /// Whether clusters of more than eight blocks have been allowed.
    pub(crate) has_large_clusters: AtomicBool,
    pub(crate) limits: FunctionLimits,
}

/// What a function, as it is loaded, allows of a launch.
#[derive(Clone, Copy)]
pub(crate) struct FunctionLimits {
    /// Threads of a block that the function's registers allow.
    pub(crate) block_threads_max: u32,
    pub(crate) static_shared_bytes: usize,
}

/// The kernels of one GPU by the address of their [`Kernel`]. Lookups take no
/// lock: tables are only added to, and replaced by larger ones.
#[derive(Default)]
pub(crate) struct KernelTable {
    current: AtomicPtr<Table>,
    owned: Mutex<Owned>,
    /// Told when a thread has loaded a kernel or failed to.
    ended: Condvar,
}

#[derive(Default)]
struct Owned {
    /// Every table so far: a reader may still look at an old one.
    tables: Vec<*mut Table>,
    kernels: Vec<(usize, *mut Loaded)>,
    /// Kernels that some thread is loading now.
    under_way: Vec<usize>,
}

// SAFETY: the pointers are to heap values that are shared, never moved, and freed
// only when the table is dropped.
unsafe impl Send for Owned {}

/// Open addressing with linear probing; at most half of the slots are taken.
struct Table {
    slots: Box<[(AtomicUsize, AtomicPtr<Loaded>)]>,
}

impl Table {
    fn with_slots(len: usize) -> Self {
        Self { slots: (0..len).map(|_| Default::default()).collect() }
    }

    /// Where to begin to look. Kernels are statics, whose low address bits say
    /// little.
    fn start(&self, key: usize) -> usize {
        (key >> 3).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32 & (self.slots.len() - 1)
    }

    fn get(&self, key: usize) -> *mut Loaded {
        let mut i = self.start(key);
        loop {
            let (found, loaded) = &self.slots[i];
            match found.load(Ordering::Acquire) {
                0 => return std::ptr::null_mut(),
                found if found == key => return loaded.load(Ordering::Acquire),
                _ => i = (i + 1) & (self.slots.len() - 1),
            }
        }
    }

    fn insert(&self, key: usize, loaded: *mut Loaded) {
        let mut i = self.start(key);
        while self.slots[i].0.load(Ordering::Relaxed) != 0 {
            i = (i + 1) & (self.slots.len() - 1);
        }
        self.slots[i].1.store(loaded, Ordering::Release);
        self.slots[i].0.store(key, Ordering::Release);
    }
}

impl KernelTable {
    /// The kernel, loaded now if it was not.
    #[inline]
    pub(crate) fn get(&self, device: &Device, kernel: &'static Kernel) -> Result<&Loaded> {
        let key = std::ptr::from_ref(kernel).addr();
        // SAFETY: tables live as long as `self`.
        if let Some(table) = unsafe { self.current.load(Ordering::Acquire).as_ref() } {
            // SAFETY: loaded kernels live as long as `self`.
            if let Some(loaded) = unsafe { table.get(key).as_ref() } {
                return Ok(loaded);
            }
        }
        self.load(device, kernel)
    }

    /// Loads a kernel without the lock, so that threads assemble several at once; who
    /// wants one that another thread is loading waits for that.
    #[cold]
    fn load(&self, device: &Device, kernel: &'static Kernel) -> Result<&Loaded> {
        let key = std::ptr::from_ref(kernel).addr();
        let mut owned = lock(&self.owned);
        loop {
            if let Some(&(_, loaded)) = owned.kernels.iter().find(|entry| entry.0 == key) {
                // SAFETY: loaded kernels live as long as `self`.
                return Ok(unsafe { &*loaded });
            }
            if !owned.under_way.contains(&key) {
                break;
            }
            owned = self.ended.wait(owned).unwrap_or_else(PoisonError::into_inner);
        }
        let cuda = device.inner().cuda.as_ref().expect("only a GPU has a kernel table");
        let image = choose(kernel.images, cuda.capability())
            .ok_or_else(|| no_image(device, cuda, kernel))?;
        // With the lock, since a limit is read before it is set.
        raise_stack_limit(cuda, image)?;
        owned.under_way.push(key);
        drop(owned);
        // Ends the wait of others whatever happens.
        let _under_way = UnderWay { table: self, key };
        let loaded = Box::into_raw(Box::new(load_kernel(device, cuda, kernel, image)?));
        let mut owned = lock(&self.owned);
        owned.kernels.push((key, loaded));
        self.add_to_table(&mut owned, key, loaded);
        drop(owned);
        // SAFETY: as above.
        Ok(unsafe { &*loaded })
    }

    fn add_to_table(&self, owned: &mut Owned, key: usize, loaded: *mut Loaded) {
        let current = self.current.load(Ordering::Relaxed);
        // SAFETY: tables live as long as `self`.
        match unsafe { current.as_ref() } {
            Some(table) if owned.kernels.len() * 2 <= table.slots.len() => {
                table.insert(key, loaded);
            }
            _ => {
                let len = (owned.kernels.len() * 4).next_power_of_two().max(64);
                let table = Table::with_slots(len);
                for &(key, loaded) in &owned.kernels {
                    table.insert(key, loaded);
                }
                let table = Box::into_raw(Box::new(table));
                owned.tables.push(table);
                self.current.store(table, Ordering::Release);
            }
        }
    }
}

/// A kernel that this thread is loading.
struct UnderWay<'a> {
    table: &'a KernelTable,
    key: usize,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        lock(&self.table.owned).under_way.retain(|key| *key != self.key);
        self.table.ended.notify_all();
    }
}

impl Drop for KernelTable {
    fn drop(&mut self) {
        let owned = lock(&self.owned);
        for &(_, loaded) in &owned.kernels {
            // SAFETY: made by `Box::into_raw`, freed once, and nobody borrows
            // from the table any more.
            drop(unsafe { Box::from_raw(loaded) });
        }
        for &table in &owned.tables {
            // SAFETY: as above.
            drop(unsafe { Box::from_raw(table) });
        }
    }
}

/// A PTX target as `sm_90a` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    major: u32,
    minor: u32,
    /// `a`: runs on this very capability; `f`: on its family, which has the same
    /// major number; neither: on this capability and every later one.
    suffix: Option<char>,
}

impl Target {
    fn parse(text: &str) -> Option<Self> {
        let number = text.strip_prefix("sm_")?;
        let suffix = number.chars().last().filter(char::is_ascii_alphabetic);
        let number: u32 =
            number.trim_end_matches(|c: char| c.is_ascii_alphabetic()).parse().ok()?;
        matches!(suffix, None | Some('a' | 'f')).then_some(Self {
            major: number / 10,
            minor: number % 10,
            suffix,
        })
    }

    fn runs_on(self, (major, minor): (u32, u32)) -> bool {
        match self.suffix {
            Some('a') => (self.major, self.minor) == (major, minor),
            Some(_) => self.major == major && self.minor <= minor,
            None => (self.major, self.minor) <= (major, minor),
        }
    }

    /// Whether machine code made for this target runs: on later minor numbers of its
    /// capability only, where PTX runs on everything later.
    fn code_runs_on(self, (major, minor): (u32, u32)) -> bool {
        self.major == major && self.runs_on((major, minor))
    }
}

/// The image that suits a capability best: the newest target that runs there,
/// and of those with the same number the one made for it.
fn choose(images: &[Image], capability: (u32, u32)) -> Option<&Image> {
    let suited = images.iter().filter_map(|image| {
        let target = Target::parse(image.target)?;
        target.runs_on(capability).then_some((target, image))
    });
    suited.max_by_key(|(target, _)| *target).map(|(_, image)| image)
}

/// The machine code of an image that suits a device best, of what assemblers made that
/// the driver is as new as.
pub(crate) fn choose_cubin(
    cubins: &'static [Cubin],
    capability: (u32, u32),
    driver: (u32, u32),
) -> Option<&'static Cubin> {
    let suited = cubins.iter().filter_map(|cubin| {
        let target = Target::parse(cubin.architecture)?;
        let is_good = cubin.cuda <= driver && target.code_runs_on(capability);
        is_good.then_some((target, cubin))
    });
    suited.max_by_key(|(target, _)| *target).map(|(_, cubin)| cubin)
}

/// Stack of a thread once a kernel with recursion is loaded. The driver's own 1 KiB
/// is for frames that ptxas could add up.
const RECURSION_STACK_BYTES: usize = 16 << 10;
/// Stack of a thread once a kernel is loaded whose panics format types of its own:
/// values nested a dozen deep.
const FORMATTING_STACK_BYTES: usize = 4 << 10;

fn raise_stack_limit(cuda: &CudaDevice, image: &Image) -> Result<()> {
    if image.ptx.starts_with(RECURSION_MARK) {
        cuda.context().raise_stack_limit(RECURSION_STACK_BYTES)?;
    } else if image.ptx.starts_with(FORMATTING_MARK) {
        cuda.context().raise_stack_limit(FORMATTING_STACK_BYTES)?;
    }
    Ok(())
}

fn load_kernel(
    device: &Device,
    cuda: &CudaDevice,
    kernel: &'static Kernel,
    image: &Image,
) -> Result<Loaded> {
    let module = assembler::load_module(cuda, kernel.name, image)?;
    let function = module.function(image.entry)?;
    let index = cuda.board.add_kernel(kernel.name)?;
    loaded(device, kernel, function, index)
}

/// The function with the limits that launches are checked against.
pub(crate) fn loaded(
    device: &Device,
    kernel: &'static Kernel,
    function: Function,
    index: KernelIndex,
) -> Result<Loaded> {
    let get = |attribute| function.attribute(attribute).map(i32::unsigned_abs);
    let limits = FunctionLimits {
        block_threads_max: get(FunctionAttribute::MaxThreadsPerBlock)?,
        static_shared_bytes: get(FunctionAttribute::SharedBytes)? as usize,
    };
    Ok(Loaded {
        rules: LaunchRules::new(device.limits(), kernel, limits),
        dynamic_shared_bytes_max: AtomicU32::new(get(FunctionAttribute::MaxDynamicSharedBytes)?),
        has_large_clusters: AtomicBool::new(false),
        limits,
        index,
        function,
    })
}

fn no_image(device: &Device, cuda: &CudaDevice, kernel: &'static Kernel) -> Error {
    if kernel.images.is_empty() {
        let reason = "it was built without device code: build it with raddle-build and without RADDLE_DEVICE_BUILD=off, or run it on the CPU device";
        return Error::Declaration { kernel: kernel.name.to_owned(), reason: reason.to_owned() };
    }
    let targets: Vec<&str> = kernel.images.iter().map(|image| image.target).collect();
    Error::DeviceTooOld {
        kernel: kernel.name,
        needs: targets.join(" and "),
        device: device.to_string(),
        capability: cuda.capability(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(targets: &[&'static str], capability: (u32, u32)) -> Option<&'static str> {
        let image = |target| Image { target, ..Image::EMPTY };
        let images: Vec<Image> = targets.iter().map(|target| image(target)).collect();
        choose(&images, capability).map(|image| image.target)
    }

    #[test]
    fn the_best_image_that_runs_is_chosen() {
        let both = ["sm_80", "sm_90a"];
        assert_eq!(chosen(&both, (9, 0)), Some("sm_90a"));
        assert_eq!(chosen(&both, (10, 0)), Some("sm_80"));
        assert_eq!(chosen(&both, (8, 6)), Some("sm_80"));
        assert_eq!(chosen(&both, (7, 5)), None);
        assert_eq!(chosen(&["sm_90a"], (12, 0)), None);
        assert_eq!(chosen(&["sm_90", "sm_90a", "sm_75"], (9, 0)), Some("sm_90a"));
        assert_eq!(chosen(&["sm_75", "sm_90"], (9, 0)), Some("sm_90"));
        assert_eq!(chosen(&["sm_100f", "sm_80"], (10, 3)), Some("sm_100f"));
        assert_eq!(chosen(&["sm_100f", "sm_80"], (12, 0)), Some("sm_80"));
        assert_eq!(chosen(&["compute_80", "sm_", "sm_9x"], (9, 0)), None);
    }

    #[test]
    fn machine_code_needs_its_own_generation_and_a_driver_as_new_as_its_assembler() {
        const CUBINS: &[Cubin] = &{
            const fn cubin(architecture: &'static str, cuda: (u32, u32)) -> Cubin {
                Cubin { architecture, cuda, bytes: &[] }
            }
            [
                cubin("sm_80", (12, 4)),
                cubin("sm_86", (12, 4)),
                cubin("sm_90", (13, 0)),
                cubin("sm_90a", (13, 1)),
            ]
        };
        let chosen = |capability, driver| {
            choose_cubin(CUBINS, capability, driver).map(|cubin| cubin.architecture)
        };
        assert_eq!(chosen((8, 0), (13, 0)), Some("sm_80"));
        assert_eq!(chosen((8, 9), (13, 0)), Some("sm_86"));
        assert_eq!(chosen((9, 0), (13, 0)), Some("sm_90"));
        assert_eq!(chosen((9, 0), (13, 1)), Some("sm_90a"));
        assert_eq!(chosen((9, 0), (12, 8)), None);
        assert_eq!(chosen((10, 0), (13, 1)), None);
        assert_eq!(chosen((7, 5), (13, 1)), None);
    }

    #[test]
    fn a_table_finds_what_was_put_in_among_many() {
        let table = Table::with_slots(64);
        let loaded = |i: usize| std::ptr::without_provenance_mut::<Loaded>(i);
        for i in 1..=32 {
            table.insert(i * 72, loaded(i));
        }
        for i in 1..=32 {
            assert_eq!(table.get(i * 72), loaded(i));
        }
        assert!(table.get(33 * 72).is_null());
    }
}
