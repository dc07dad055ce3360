//! The driver itself, called as C code would call it: what it must notice, and what
//! it must not complain about.

use std::ffi::{CString, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::control::answer;
use crate::entry::cuGetProcAddress_v2;

/// One world for all tests: one test at a time.
static ONE: Mutex<()> = Mutex::new(());

/// The address of a function.
fn find(name: &str) -> *mut c_void {
    let text = CString::new(name).unwrap();
    let (mut address, mut status) = (std::ptr::null_mut(), 0);
    // SAFETY: a name and room for both outputs.
    let code =
        unsafe { cuGetProcAddress_v2(text.as_ptr(), &raw mut address, 13_000, 0, &raw mut status) };
    assert_eq!(code, 0, "{name}");
    address
}

/// Calls a function of the driver with arguments of the types given.
macro_rules! call {
    ($name:literal $(, $argument:expr => $type:ty)*) => {{
        // SAFETY: the types are those of the row in `entry`, and pointers are to
        // live values.
        unsafe {
            let function = std::mem::transmute::<
                *mut c_void,
                unsafe extern "system" fn($($type),*) -> u32,
            >(find($name));
            function($($argument),*)
        }
    }};
}

/// A device with its context current; only one test runs at a time.
struct Rig {
    _one: MutexGuard<'static, ()>,
    pool: u64,
}

impl Rig {
    fn new() -> Self {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        answer("set eager 0");
        answer("set held 0");
        answer("set seed 5");
        assert_eq!(call!("cuInit", 0 => u32), 0);
        let mut context = 0u64;
        assert_eq!(call!("cuDevicePrimaryCtxRetain", &raw mut context => *mut u64, 0 => i32), 0);
        assert_eq!(call!("cuCtxSetCurrent", context => u64), 0);
        let mut properties = [0u32; 22];
        (properties[0], properties[2]) = (1, 1);
        let mut pool = 0u64;
        let at = properties.as_ptr();
        assert_eq!(call!("cuMemPoolCreate", &raw mut pool => *mut u64, at => *const u32), 0);
        answer("violations");
        Self { _one: one, pool }
    }

    fn stream(&self) -> u64 {
        let mut stream = 0;
        let code =
            call!("cuStreamCreateWithPriority", &raw mut stream => *mut u64, 1 => u32, 0 => i32);
        assert_eq!(code, 0);
        stream
    }

    fn event(&self) -> u64 {
        let mut event = 0;
        assert_eq!(call!("cuEventCreate", &raw mut event => *mut u64, 2 => u32), 0);
        event
    }

    fn allocate(&self, bytes: usize, stream: u64) -> u64 {
        let mut address = 0;
        let code = call!(
            "cuMemAllocFromPoolAsync",
            &raw mut address => *mut u64, bytes => usize, self.pool => u64, stream => u64
        );
        assert_eq!(code, 0);
        address
    }

    fn free(&self, address: u64, stream: u64) -> u32 {
        call!("cuMemFreeAsync", address => u64, stream => u64)
    }

    fn fill(&self, address: u64, value: u8, len: usize, stream: u64) {
        let code = call!(
            "cuMemsetD8Async",
            address => u64, value => u8, len => usize, stream => u64
        );
        assert_eq!(code, 0);
    }

    fn read(&self, address: u64, len: usize, stream: u64) -> Vec<u8> {
        let mut bytes = vec![0u8; len];
        let code = call!(
            "cuMemcpyDtoHAsync",
            bytes.as_mut_ptr() => *mut u8, address => u64, len => usize, stream => u64
        );
        assert_eq!(code, 0);
        bytes
    }

    fn order(&self, first: u64, second: u64) {
        let event = self.event();
        assert_eq!(call!("cuEventRecord", event => u64, first => u64), 0);
        assert_eq!(call!("cuStreamWaitEvent", second => u64, event => u64, 0 => u32), 0);
        assert_eq!(call!("cuEventDestroy", event => u64), 0);
    }

    fn sync(&self) -> u32 {
        call!("cuCtxSynchronize")
    }

    /// What was noticed since the last time.
    fn noticed(&self) -> String {
        answer("violations")
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        answer("fail none");
        assert_eq!(call!("cuDevicePrimaryCtxReset", 0 => i32), 0);
    }
}

#[test]
fn work_in_order_is_right_and_unremarkable() {
    let rig = Rig::new();
    let (a, b) = (rig.stream(), rig.stream());
    let x = rig.allocate(1000, a);
    rig.fill(x, 7, 1000, a);
    rig.order(a, b);
    rig.fill(x, 9, 500, b);
    let found = rig.read(x, 1000, b);
    assert!(found[..500].iter().all(|&byte| byte == 9));
    assert!(found[500..].iter().all(|&byte| byte == 7));
    rig.order(b, a);
    assert_eq!(rig.free(x, a), 0);
    assert_eq!(rig.sync(), 0);
    assert_eq!(rig.noticed(), "0\n");
    assert!(answer("ledger 0").contains("allocations 0\n"));
}

#[test]
fn missing_order_is_noticed_whatever_the_order_was() {
    let rig = Rig::new();
    let (a, b) = (rig.stream(), rig.stream());
    let x = rig.allocate(64, a);
    assert_eq!(rig.sync(), 0);
    rig.fill(x, 1, 64, a);
    rig.fill(x, 2, 32, b);
    assert!(rig.noticed().contains("race"), "two writes");
    assert_eq!(rig.sync(), 0);
    rig.read(x, 64, b);
    rig.fill(x, 3, 64, b);
    assert_eq!(rig.noticed(), "0\n", "ordered by the host's wait");
    assert_eq!(rig.free(x, a), 0);
    assert!(rig.noticed().contains("a free"), "the free does not wait for the other stream");
    assert_eq!(rig.sync(), 0);
}

#[test]
fn a_later_reader_does_not_hide_an_earlier_one() {
    let rig = Rig::new();
    let (a, b, c) = (rig.stream(), rig.stream(), rig.stream());
    let x = rig.allocate(64, a);
    let (y, z) = (rig.allocate(64, a), rig.allocate(64, a));
    rig.fill(x, 1, 64, a);
    rig.order(a, b);
    rig.order(a, c);
    let copy = |to: u64, stream: u64| {
        let code = call!(
            "cuMemcpyDtoDAsync",
            to => u64, x => u64, 64 => usize, stream => u64
        );
        assert_eq!(code, 0);
    };
    copy(y, b);
    copy(z, c);
    rig.order(c, a);
    assert_eq!(rig.noticed(), "0\n");
    assert_eq!(rig.free(x, a), 0);
    assert!(rig.noticed().contains("race"));
}

#[test]
fn frees_and_uses_at_the_wrong_time_are_noticed() {
    let rig = Rig::new();
    let a = rig.stream();
    let x = rig.allocate(64, a);
    assert_eq!(rig.free(x, a), 0);
    assert_ne!(rig.free(x, a), 0);
    assert!(rig.noticed().contains("freed twice"));
    rig.fill(x, 1, 64, a);
    assert!(rig.noticed().contains("whose free was enqueued before"));
    assert_eq!(rig.sync(), 0);
    assert!(rig.noticed().contains("that was freed"));
    let y = rig.allocate(64, a);
    rig.fill(y + 1, 1, 64, a);
    assert_eq!(rig.sync(), 0);
    assert!(rig.noticed().contains("beyond the end"));
    assert_eq!(call!("cuStreamDestroy", a => u64), 0);
    assert_ne!(call!("cuStreamSynchronize", a => u64), 0);
    assert!(rig.noticed().contains("does not exist any more"));
}

#[test]
fn pinned_memory_is_not_freed_under_a_copy() {
    let rig = Rig::new();
    let a = rig.stream();
    let x = rig.allocate(64, a);
    let mut pinned = 0u64;
    assert_eq!(call!("cuMemHostAlloc", &raw mut pinned => *mut u64, 64 => usize, 0 => u32), 0);
    let copy = || {
        let code = call!("cuMemcpyHtoDAsync", x => u64, pinned => u64, 64 => usize, a => u64);
        assert_eq!(code, 0);
    };
    copy();
    assert_eq!(call!("cuMemFreeHost", pinned => u64), 0);
    assert!(rig.noticed().contains("was freed under a copy"));
    assert_eq!(rig.sync(), 0);
    assert!(rig.noticed().contains("pinned memory of 64 bytes that was freed"));
}

#[test]
fn work_that_is_held_waits_for_somebody_who_waits() {
    let rig = Rig::new();
    let a = rig.stream();
    let x = rig.allocate(64, a);
    let mut pinned = 0u64;
    assert_eq!(call!("cuMemHostAlloc", &raw mut pinned => *mut u64, 64 => usize, 0 => u32), 0);
    let word: *mut u64 = std::ptr::with_exposed_provenance_mut(pinned as usize);
    // SAFETY: the memory is as long as eight words and nobody else has it; the
    // driver writes it under its lock, in calls of this thread.
    let found = || unsafe { word.read_volatile() };
    answer("set held 1");
    rig.fill(x, 1, 64, a);
    let code = call!("cuMemcpyDtoHAsync", pinned => u64, x => u64, 64 => usize, a => u64);
    assert_eq!(code, 0);
    // Neither a call that enqueues nor one that asks does any work.
    for _ in 0..500 {
        rig.fill(x, 2, 64, a);
        assert_eq!(call!("cuStreamQuery", a => u64), 600);
    }
    assert_eq!(found(), 0);
    assert_eq!(rig.sync(), 0);
    assert_eq!(found(), u64::from_ne_bytes([1; 8]));
    answer("set held 0");
    assert_eq!(call!("cuMemFreeHost", pinned => u64), 0);
    assert_eq!(rig.noticed(), "0\n");
}

#[test]
fn injected_errors_hit_the_call_that_was_meant() {
    let rig = Rig::new();
    let a = rig.stream();
    answer("fail cuMemAllocFromPoolAsync 1 2");
    let x = rig.allocate(64, a);
    let mut address = 0u64;
    let code = call!(
        "cuMemAllocFromPoolAsync",
        &raw mut address => *mut u64, 64 => usize, rig.pool => u64, a => u64
    );
    assert_eq!((code, address), (2, 0));
    assert_eq!(answer("fired"), "1 cuMemAllocFromPoolAsync");
    // What releases does so all the same.
    answer("fail cuMemFreeAsync 0 999");
    assert_eq!(rig.free(x, a), 999);
    assert_eq!(rig.sync(), 0);
    assert!(answer("ledger 0").contains("allocations 0\n"));
    assert_eq!(rig.noticed(), "0\n");
    answer("fail cuMemsetD8Async 0 700 sticky");
    let code = call!("cuMemsetD8Async", x => u64, 0 => u8, 1 => usize, a => u64);
    assert_eq!((code, rig.sync()), (700, 700));
}

#[test]
fn captured_work_runs_when_its_graph_is_launched() {
    let rig = Rig::new();
    let (a, b) = (rig.stream(), rig.stream());
    let x = rig.allocate(64, a);
    rig.fill(x, 1, 64, a);
    rig.order(a, b);
    assert_eq!(call!("cuStreamBeginCapture", a => u64, 2 => u32), 0);
    rig.fill(x, 2, 32, a);
    rig.order(a, b);
    rig.fill(x, 3, 16, b);
    rig.order(b, a);
    let (mut graph, mut exec) = (0u64, 0u64);
    assert_eq!(call!("cuStreamEndCapture", a => u64, &raw mut graph => *mut u64), 0);
    let code = call!(
        "cuGraphInstantiateWithFlags",
        &raw mut exec => *mut u64, graph => u64, 0 => u64
    );
    assert_eq!((code, rig.sync()), (0, 0));
    assert_eq!(rig.read(x, 64, a), [1; 64]);
    assert_eq!(call!("cuGraphLaunch", exec => u64, a => u64), 0);
    assert_eq!(call!("cuGraphExecDestroy", exec => u64), 0);
    assert_eq!(call!("cuGraphDestroy", graph => u64), 0);
    let found = rig.read(x, 64, a);
    assert_eq!(found, [[3u8; 16], [2; 16], [1; 16], [1; 16]].concat());
    assert_eq!(rig.noticed(), "0\n");
    // A wait for the host's sake ends a capture.
    assert_eq!(call!("cuStreamBeginCapture", a => u64, 2 => u32), 0);
    assert_eq!(call!("cuStreamQuery", a => u64), 900);
    assert_eq!(call!("cuStreamEndCapture", a => u64, &raw mut graph => *mut u64), 901);
    // So does a fork that is not joined.
    assert_eq!(call!("cuStreamBeginCapture", a => u64, 2 => u32), 0);
    rig.order(a, b);
    rig.fill(x, 3, 16, b);
    assert_eq!(call!("cuStreamEndCapture", a => u64, &raw mut graph => *mut u64), 904);
}

#[test]
fn mapped_memory_is_memory_while_it_is_mapped() {
    let rig = Rig::new();
    let a = rig.stream();
    let bytes = 4usize << 20;
    let (mut start, mut physical) = (0u64, 0u64);
    let code = call!(
        "cuMemAddressReserve",
        &raw mut start => *mut u64, 4 * bytes => usize, 0 => usize, 0 => u64, 0 => u64
    );
    assert_eq!(code, 0);
    let mut properties = [0u32; 8];
    (properties[0], properties[2]) = (1, 1);
    let at = properties.as_ptr();
    let code = call!(
        "cuMemCreate",
        &raw mut physical => *mut u64, bytes => usize, at => *const u32, 0 => u64
    );
    assert_eq!(code, 0);
    let map = |to: u64| call!("cuMemMap", to => u64, bytes => usize, 0 => usize, physical => u64, 0 => u64);
    assert_eq!(map(start + bytes as u64), 0);
    rig.fill(start + bytes as u64, 5, 64, a);
    assert_eq!(rig.sync(), 0);
    assert!(rig.noticed().contains("has no access"));
    let access = [1u32, 0, 3];
    let code = call!(
        "cuMemSetAccess",
        start + bytes as u64 => u64, bytes => usize, access.as_ptr() => *const u32, 1 => usize
    );
    assert_eq!(code, 0);
    rig.fill(start + bytes as u64, 5, bytes, a);
    assert_eq!(rig.read(start + bytes as u64, 64, a), [5; 64]);
    assert_eq!(rig.noticed(), "0\n");
    rig.fill(start + bytes as u64, 6, 64, a);
    assert_eq!(call!("cuMemRelease", physical => u64), 0);
    assert_eq!(call!("cuMemUnmap", start + bytes as u64 => u64, bytes => usize), 0);
    assert!(rig.noticed().contains("unmapped under a fill"));
    assert!(answer("ledger 0").contains("physical 0\n"));
    assert_eq!(call!("cuMemAddressFree", start => u64, 4 * bytes => usize), 0);
}

#[test]
fn what_is_hidden_is_not_found() {
    let _rig = Rig::new();
    answer("hide cuGraphLaunch");
    let text = CString::new("cuGraphLaunch").unwrap();
    let (mut address, mut status) = (std::ptr::null_mut(), 0);
    // SAFETY: as in `find`.
    let code =
        unsafe { cuGetProcAddress_v2(text.as_ptr(), &raw mut address, 13_000, 0, &raw mut status) };
    assert_eq!((code, status, address.is_null()), (500, 1, true));
    answer("hide");
    find("cuGraphLaunch");
}
