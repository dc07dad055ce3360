//! Hand-written kernels with the bindings that `#[kernel]` would make for them.

#![allow(dead_code)]

use raddle_device::kernel::{Image, Kernel, KernelMeta};
use raddle_device::output::PerThread;
use raddle_device::param::{KernelParam, ParamRules, RawSlice};
use raddle_runtime::{Binder, Buffer, KernelArg, KernelCall};

pub const PTX: &str = include_str!("kernels.ptx");
const CLUSTER_PTX: &str = include_str!("cluster.ptx");

const fn kernel<P>(name: &'static str, images: &'static [Image], rules: ParamRules) -> Kernel {
    let params_bytes = size_of::<P>() as u32;
    let meta = KernelMeta { params_bytes, params_align: 8, ..KernelMeta::NONE };
    Kernel { name, images, meta, rules, body: no_body, file: file!(), line: line!() }
}

const fn image(entry: &'static str) -> Image {
    Image { path: entry, target: "sm_75", entry, ptx: PTX, synchronizes: true, cubins: &[] }
}

unsafe fn no_body(_params: *const u8) {
    panic!("these kernels are for the GPU only");
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Saxpy(f32, RawSlice, RawSlice);

static SAXPY: Kernel = kernel::<Saxpy>("test::saxpy", &[image("saxpy")], ParamRules::ONE_D);

pub fn saxpy<'k>(
    a: f32,
    x: impl KernelArg<'k, &'static [f32]>,
    y: impl KernelArg<'k, PerThread<f32>>,
) -> KernelCall<'k, Saxpy> {
    let mut binder = Binder::new(&SAXPY);
    let params = Saxpy(a, x.bind(&mut binder), y.bind(&mut binder));
    // SAFETY: `params` holds what was bound.
    unsafe { binder.finish(params) }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Mix(u64, RawSlice, RawSlice, u32);

static MIX: Kernel = kernel::<Mix>("test::mix", &[image("mix")], ParamRules::ONE_D);

pub fn mix<'k>(
    ns: u64,
    target: impl KernelArg<'k, PerThread<u32>>,
    source: impl KernelArg<'k, &'static [u32]>,
    k: u32,
) -> KernelCall<'k, Mix> {
    let mut binder = Binder::new(&MIX);
    let params = Mix(ns, target.bind(&mut binder), source.bind(&mut binder), k);
    // SAFETY: `params` holds what was bound.
    unsafe { binder.finish(params) }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct SharedTail(RawSlice, u32);

static SHARED_TAIL: Kernel =
    kernel::<SharedTail>("test::shared_tail", &[image("shared_tail")], ParamRules::ONE_D);

pub fn shared_tail<'k>(
    out: impl KernelArg<'k, PerThread<u32>>,
    bytes: u32,
) -> KernelCall<'k, SharedTail> {
    let mut binder = Binder::new(&SHARED_TAIL);
    let params = SharedTail(out.bind(&mut binder), bytes);
    // SAFETY: `params` holds what was bound.
    unsafe { binder.finish(params) }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ranks(RawSlice);

static RANKS: Kernel = kernel::<Ranks>(
    "test::ranks",
    &[Image {
        path: "ranks",
        target: "sm_90",
        entry: "ranks",
        ptx: CLUSTER_PTX,
        synchronizes: true,
        cubins: &[],
    }],
    ParamRules::ONE_D,
);

pub fn ranks<'k>(out: impl KernelArg<'k, PerThread<u32>>) -> KernelCall<'k, Ranks> {
    let mut binder = Binder::new(&RANKS);
    let params = Ranks(out.bind(&mut binder));
    // SAFETY: `params` holds what was bound.
    unsafe { binder.finish(params) }
}

pub type Four = [RawSlice; 4];

static FOUR: Kernel = kernel::<Four>("test::four", &[image("four")], ParamRules::ONE_D);

pub fn four<'k>(
    a: impl KernelArg<'k, &'static [f32]>,
    b: impl KernelArg<'k, &'static [f32]>,
    c: impl KernelArg<'k, &'static [f32]>,
    d: impl KernelArg<'k, PerThread<f32>>,
) -> KernelCall<'k, Four> {
    let mut binder = Binder::new(&FOUR);
    let params =
        [a.bind(&mut binder), b.bind(&mut binder), c.bind(&mut binder), d.bind(&mut binder)];
    // SAFETY: `params` holds what was bound.
    unsafe { binder.finish(params) }
}

pub type Eight = [RawSlice; 8];

/// Does nothing, on the CPU device as well.
static EIGHT: Kernel = Kernel {
    body: nothing,
    ..kernel::<Eight>(
        "test::eight",
        &[Image { path: "eight", target: "sm_75", entry: "eight", ptx: PTX, ..Image::EMPTY }],
        ParamRules::ONE_D,
    )
};

unsafe fn nothing(_params: *const u8) {}

pub fn eight<'k>(
    sources: [&'k Buffer<f32>; 7],
    target: impl KernelArg<'k, PerThread<f32>>,
) -> KernelCall<'k, Eight> {
    let mut binder = Binder::new(&EIGHT);
    // One by one, as `#[kernel]` has it.
    let [a, b, c, d, e, f, g] = sources;
    let mut read = |source| KernelArg::<&'static [f32]>::bind(source, &mut binder);
    let (a, b, c, d, e, f, g) = (read(a), read(b), read(c), read(d), read(e), read(f), read(g));
    let params = [a, b, c, d, e, f, g, target.bind(&mut binder)];
    // SAFETY: `params` holds what was bound.
    unsafe { binder.finish(params) }
}

/// A kernel that no GPU can run.
static FUTURE: Kernel =
    kernel::<u64>("test::future", &[Image { target: "sm_990a", ..Image::EMPTY }], ParamRules::NONE);

pub fn future() -> KernelCall<'static, u64> {
    // SAFETY: a kernel without parameters that are bound.
    unsafe { Binder::new(&FUTURE).finish(0) }
}

/// A kernel whose PTX does not assemble.
static BROKEN: Kernel = kernel::<u64>(
    "test::broken",
    &[Image {
        target: "sm_75",
        entry: "broken",
        ptx: ".version 7.0\n.target sm_75\n.address_size 64\n.visible .entry broken() { bogus.u32 %r1; }\n",
        ..Image::EMPTY
    }],
    ParamRules::NONE,
);

pub fn broken() -> KernelCall<'static, u64> {
    // SAFETY: a kernel without parameters that are bound.
    unsafe { Binder::new(&BROKEN).finish(0) }
}

static WILD: Kernel = kernel::<u64>("test::wild", &[image("wild")], ParamRules::NONE);

/// Loses the GPU's context.
pub fn wild() -> KernelCall<'static, u64> {
    // SAFETY: a kernel without parameters that are bound.
    unsafe { Binder::new(&WILD).finish(0) }
}

const _: () = assert!(size_of::<<PerThread<f32> as KernelParam>::Raw>() == 16);
