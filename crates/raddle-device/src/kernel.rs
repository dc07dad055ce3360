//! What `#[kernel]` leaves behind: on the device a [`KernelMeta`] that the
//! compiler reads out of the bitcode, on the host a [`Kernel`] with its images.

use crate::param::ParamRules;

/// Facts about a kernel that the compiler needs, as plain words so that they
/// can be read out of a constant. A zero means "not stated".
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelMeta {
    /// Size of the parameter block in bytes.
    pub params_bytes: u32,
    /// Alignment of the parameter block in bytes.
    pub params_align: u32,
    /// Block shape the kernel requires (`.reqntid`).
    pub block: [u32; 3],
    /// Most threads a block may have (`.maxntid`).
    pub max_threads: u32,
    /// Blocks that should fit on one multiprocessor (`.minnctapersm`).
    pub min_blocks: u32,
    /// Most registers a thread may use (`.maxnreg`).
    pub max_registers: u32,
    /// Cluster shape the kernel requires (`.reqnctapercluster`).
    pub cluster: [u32; 3],
    /// Lowest architecture, as in `sm_NN`: 0 for portable, 90 for Hopper's own
    /// instructions (compiled as `sm_90a`).
    pub architecture: u32,
    /// A second architecture that the kernel is compiled for, 0 for none.
    pub variant: u32,
}

impl KernelMeta {
    /// A kernel about which nothing is stated.
    pub const NONE: Self = Self {
        params_bytes: 0,
        params_align: 0,
        block: [0; 3],
        max_threads: 0,
        min_blocks: 0,
        max_registers: 0,
        cluster: [0; 3],
        architecture: 0,
        variant: 0,
    };
}

/// First line of an image whose kernel recurses or calls through pointers, so that
/// nobody can add up how much stack its threads need.
pub const RECURSION_MARK: &str = "// recursion";

/// First line of an image whose kernel does so only to format a panic's message: one
/// that shows a value of a type other than Rust's primitives.
pub const FORMATTING_MARK: &str = "// formatting";

/// One compiled form of a kernel, embedded by the build.
#[derive(Clone, Copy, Debug)]
pub struct Image {
    /// Path of the kernel below its crate, with its instance: `kernels::axpy.f32`.
    pub path: &'static str,
    /// PTX target, `sm_80` or `sm_90a`.
    pub target: &'static str,
    /// Name of the entry in the PTX.
    pub entry: &'static str,
    /// The PTX text.
    pub ptx: &'static str,
    /// Whether threads of a block or warp can wait for each other, so that CPU
    /// execution needs a fibre for each thread.
    pub synchronizes: bool,
    /// What an assembler made of the PTX at build time, where the build asked for it.
    pub cubins: &'static [Cubin],
}

impl Image {
    /// An image of no kernel.
    pub const EMPTY: Self =
        Self { path: "", target: "", entry: "", ptx: "", synchronizes: false, cubins: &[] };
}

/// Machine code of an image, made by `ptxas` at build time (`RADDLE_CUBINS`).
#[derive(Clone, Copy, Debug)]
pub struct Cubin {
    /// The architecture, `sm_90` or `sm_90a`.
    pub architecture: &'static str,
    /// CUDA version of the assembler; older drivers may not know what it makes.
    pub cuda: (u32, u32),
    /// The ELF file.
    pub bytes: &'static [u8],
}

/// Bytes that lie as an ELF file may want them.
#[doc(hidden)]
#[repr(C, align(16))]
pub struct Aligned<Bytes>(pub Bytes);

/// A kernel as the host knows it.
#[derive(Debug)]
pub struct Kernel {
    /// Full path, for messages: `app::kernels::axpy.f32`.
    pub name: &'static str,
    /// Compiled forms, for the targets of this build.
    pub images: &'static [Image],
    /// Stated facts.
    pub meta: KernelMeta,
    /// What the parameters demand of a launch.
    pub rules: ParamRules,
    /// Runs the body for the current CPU-device thread; takes the parameter block.
    pub body: unsafe fn(*const u8),
    /// Where the kernel is defined.
    pub file: &'static str,
    /// Line of the definition.
    pub line: u32,
}

/// How many images of `all` belong to the kernel at `path` (a full path whose
/// first segment, the crate, is not compared).
#[must_use]
pub const fn count_images(all: &[Image], path: &str) -> usize {
    let mut count = 0;
    let mut i = 0;
    while i < all.len() {
        if is_same_kernel(path, all[i].path) {
            count += 1;
        }
        i += 1;
    }
    count
}

/// The images of `all` that belong to the kernel at `path`; `N` comes from
/// [`count_images`].
///
/// # Panics
///
/// At compile time, when `N` is not the number of such images.
#[must_use]
pub const fn select_images<const N: usize>(all: &[Image], path: &str) -> [Image; N] {
    let mut found = [Image::EMPTY; N];
    let mut count = 0;
    let mut i = 0;
    while i < all.len() {
        if is_same_kernel(path, all[i].path) {
            found[count] = all[i];
            count += 1;
        }
        i += 1;
    }
    assert!(count == N, "the kernel index changed while it was read");
    found
}

/// Compares `crate::a::b` with `a::b`, or with itself: kernels inside a program's
/// file are listed with their crate.
const fn is_same_kernel(full: &str, listed: &str) -> bool {
    let (full, listed) = (full.as_bytes(), listed.as_bytes());
    if full.len() == listed.len() {
        return ends_with(full, listed);
    }
    if full.len() < listed.len() + 2 {
        return false;
    }
    let start = full.len() - listed.len();
    let mut i = 0;
    while i + 2 < start {
        // Only the crate name may precede the listed path.
        if full[i] == b':' {
            return false;
        }
        i += 1;
    }
    full[start - 1] == b':' && full[start - 2] == b':' && ends_with(full, listed)
}

const fn ends_with(text: &[u8], tail: &[u8]) -> bool {
    let start = text.len() - tail.len();
    let mut i = 0;
    while i < tail.len() {
        if text[start + i] != tail[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// What a panicking thread leaves for the host, in pinned host memory: one for each
/// stream and each graph, whose address every launch is given.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PanicRecord {
    /// 0 while empty, 1 once every other field is written.
    pub state: u32,
    /// A [`PanicKind`] as its number.
    pub kind: u32,
    /// First operand (index, start, left value), by kind.
    pub a: u64,
    /// Second operand (length, end, right value), by kind.
    pub b: u64,
    /// Line in the source.
    pub line: u32,
    /// Column in the source.
    pub column: u32,
    /// `blockIdx` of the thread.
    pub block: [u32; 3],
    /// `threadIdx` of the thread.
    pub thread: [u32; 3],
    /// Bytes that the file's name has.
    pub file_len: u32,
    /// Source file, UTF-8, cut if longer.
    pub file: [u8; 192],
    /// Bytes that the message has, more than `message` holds if it was cut.
    pub message_len: u32,
    /// Bytes that `message` holds, while the message is written.
    pub message_capacity: u32,
    /// Message in the form that [`crate::message`] describes, cut if longer. Empty
    /// for kinds that the host words.
    pub message: [u8; 512],
    /// What the host gave the launch for a number.
    pub tag: u64,
    /// Tag of the latest launch that has panicked, for threads that wait for others;
    /// tags of one stream rise. Devices raise it.
    pub last: u64,
    /// How often the record was made ready. The host's; devices only read it.
    pub armed: u32,
    /// How often it was claimed: behind `armed` by one while it is free. Only devices
    /// change it, since their atomic operations on host memory are not atomic to the
    /// host.
    pub claimed: u32,
}

/// What a [`PanicRecord`] reports.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PanicKind {
    /// The message is in the record.
    Message = 0,
    /// Index `a` out of bounds of length `b`.
    BoundsCheck = 1,
    /// Slice start `a` beyond length `b`.
    SliceStart = 2,
    /// Slice end `a` beyond length `b`.
    SliceEnd = 3,
    /// Slice start `a` beyond end `b`.
    SliceOrder = 4,
    /// Source length `a` differs from destination length `b` in a copy.
    CopyLength = 5,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kernels and drivers of the tests that are not made by our compiler know these.
    #[test]
    fn panic_records_are_laid_out_as_others_know_them() {
        use core::mem::offset_of;
        assert_eq!((offset_of!(PanicRecord, kind), offset_of!(PanicRecord, line)), (4, 24));
        assert_eq!((offset_of!(PanicRecord, block), offset_of!(PanicRecord, file)), (32, 60));
        assert_eq!((offset_of!(PanicRecord, tag), offset_of!(PanicRecord, last)), (776, 784));
        assert_eq!((offset_of!(PanicRecord, armed), offset_of!(PanicRecord, claimed)), (792, 796));
        assert_eq!(size_of::<PanicRecord>(), 800);
    }

    #[test]
    fn kernels_are_compared_below_their_crate() {
        assert!(is_same_kernel("app::kernels::a", "kernels::a"));
        assert!(is_same_kernel("app::kernels::a", "app::kernels::a"));
        assert!(!is_same_kernel("app::other::kernels::a", "kernels::a"));
        assert!(!is_same_kernel("app::kernels::ba", "kernels::a"));
        assert!(!is_same_kernel("app::kernels::a", "b::kernels::a"));
        assert!(!is_same_kernel("a", "kernels::a"));
    }
}
