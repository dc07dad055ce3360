//! Kernel panics on the GPU: the records that panicking threads write, and who
//! is told.
//!
//! Each loaded kernel has one record in pinned host memory. A thread that panics
//! claims its module's slot, writes the record and ends. The host looks at the
//! records of the kernels that a queue has launched each time it has waited for
//! that queue, so that a panic surfaces where the user waits for the result.
//!
//! A record does not say which launch it belongs to. If a kernel ran on several
//! queues lately, each of them reports the panic: an error too many rather than
//! one too few. Whom a queue tells is in `fault`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use raddle_cuda::{Context, Pinned};
use raddle_device::kernel::{PanicKind, PanicRecord};
use raddle_device::message;

use crate::cuda::CudaDevice;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::sync::lock;

/// Number of a loaded kernel on its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KernelIndex(pub(crate) usize);

const SET_WORDS: usize = 32;
const SET_BITS: usize = SET_WORDS * 64;

/// A set of kernels. Kernels whose numbers differ by a multiple of 2048 share a
/// place, which can only make a panic reported once too often.
#[derive(Default)]
pub(crate) struct KernelSet {
    words: [AtomicU64; SET_WORDS],
}

impl KernelSet {
    #[inline]
    pub(crate) fn add(&self, kernel: KernelIndex) {
        let bit = kernel.0 % SET_BITS;
        let (word, mask) = (&self.words[bit / 64], 1 << (bit % 64));
        // The kernel is nearly always in the set already.
        if word.load(Ordering::Relaxed) & mask == 0 {
            word.fetch_or(mask, Ordering::AcqRel);
        }
    }

    pub(crate) fn add_all(&self, other: &Self) {
        for (word, other) in self.words.iter().zip(&other.words) {
            let bits = other.load(Ordering::Acquire);
            if bits & !word.load(Ordering::Relaxed) != 0 {
                word.fetch_or(bits, Ordering::AcqRel);
            }
        }
    }

    fn take(&self) -> [u64; SET_WORDS] {
        std::array::from_fn(|i| match self.words[i].load(Ordering::Relaxed) {
            0 => 0,
            _ => self.words[i].swap(0, Ordering::AcqRel),
        })
    }

    fn add_words(&self, words: &[u64; SET_WORDS]) {
        for (word, &bits) in self.words.iter().zip(words) {
            if bits != 0 {
                word.fetch_or(bits, Ordering::AcqRel);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.words.iter().all(|word| word.load(Ordering::Acquire) == 0)
    }

    fn read(&self) -> [u64; SET_WORDS] {
        std::array::from_fn(|i| self.words[i].load(Ordering::Acquire))
    }
}

/// The kernels that a queue has launched, or waited for, and that may still run or
/// have a record that was not looked at. In two sets, so that a queue that never
/// rests forgets its kernels too.
#[derive(Default)]
pub(crate) struct Touched {
    recent: KernelSet,
    /// Those of work up to `older_until`.
    older: KernelSet,
    older_until: AtomicU64,
}

impl Touched {
    /// Notes a launch. The caller holds the queue's lock.
    #[inline]
    pub(crate) fn add(&self, kernel: KernelIndex) {
        self.recent.add(kernel);
    }

    /// Notes the kernels of a queue that is waited for. The caller holds the lock
    /// of its own queue.
    pub(crate) fn add_all(&self, other: &Self) {
        self.recent.add_all(&other.recent);
        self.recent.add_all(&other.older);
    }

    /// Forgets kernels whose launches, all up to number `completed` and so of work
    /// that has ended, were looked at. The caller holds the queue's lock, under
    /// which `enqueued` is the last number.
    pub(crate) fn forget(&self, completed: u64, enqueued: u64) {
        if completed >= self.older_until.load(Ordering::Acquire) {
            self.older.take();
            let recent = self.recent.take();
            if completed < enqueued {
                self.older.add_words(&recent);
                self.older_until.store(enqueued, Ordering::Release);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.recent.is_empty() && self.older.is_empty()
    }

    fn read(&self) -> [u64; SET_WORDS] {
        let (recent, older) = (self.recent.read(), self.older.read());
        std::array::from_fn(|i| recent[i] | older[i])
    }
}

fn contains(words: &[u64; SET_WORDS], kernel: KernelIndex) -> bool {
    let bit = kernel.0 % SET_BITS;
    words[bit / 64] >> (bit % 64) & 1 == 1
}

/// The places that are set.
fn bits(words: &[u64; SET_WORDS]) -> impl Iterator<Item = usize> {
    words.iter().enumerate().flat_map(|(i, &word)| {
        let mut rest = word;
        std::iter::from_fn(move || {
            let bit = rest.trailing_zeros();
            rest &= rest.wrapping_sub(1);
            (bit < 64).then_some(i * 64 + bit as usize)
        })
    })
}

/// The panic records of one GPU.
#[derive(Default)]
pub(crate) struct PanicBoard {
    state: Mutex<BoardState>,
}

#[derive(Default)]
struct BoardState {
    pages: Vec<Pinned>,
    slots: Vec<Slot>,
}

/// Where one kernel's panics go.
struct Slot {
    kernel: &'static str,
    record: *mut PanicRecord,
    /// Device address of the module's slot; `None` if it cannot panic.
    claimed: Option<u64>,
}

// SAFETY: the record lies in pinned memory that lives as long as the board and is
// read through volatile accesses under the board's lock.
unsafe impl Send for Slot {}

const PAGE_BYTES: usize = 64 << 10;
const PAGE_RECORDS: usize = PAGE_BYTES / size_of::<PanicRecord>();

impl PanicBoard {
    /// A board with room for the first kernels.
    pub(crate) fn new(context: &Arc<Context>) -> Result<Self> {
        let board = Self::default();
        lock(&board.state).pages.push(Pinned::new(context, PAGE_BYTES)?);
        Ok(board)
    }

    /// Makes room for a kernel: returns its number and the device address of its
    /// record.
    pub(crate) fn add(
        &self,
        cuda: &CudaDevice,
        kernel: &'static str,
    ) -> Result<(KernelIndex, u64)> {
        let mut state = lock(&self.state);
        let index = state.slots.len();
        if index / PAGE_RECORDS == state.pages.len() {
            state.pages.push(Pinned::new(cuda.context(), PAGE_BYTES)?);
        }
        let page = &state.pages[index / PAGE_RECORDS];
        let offset = index % PAGE_RECORDS * size_of::<PanicRecord>();
        // SAFETY: the offset lies within the page.
        let record = unsafe { page.host().add(offset) }.cast::<PanicRecord>();
        let device = page.device() + offset as u64;
        state.slots.push(Slot { kernel, record, claimed: None });
        Ok((KernelIndex(index), device))
    }

    /// Notes where the module of a kernel keeps its slot.
    pub(crate) fn set_claimed(&self, kernel: KernelIndex, address: u64) {
        lock(&self.state).slots[kernel.0].claimed = Some(address);
    }

    /// Looks at the records of these kernels. A panic is noted with every queue
    /// that may have launched its kernel.
    pub(crate) fn harvest(&self, device: &Device, kernels: &Touched) {
        let state = lock(&self.state);
        for bit in bits(&kernels.read()) {
            for index in (bit..state.slots.len()).step_by(SET_BITS) {
                let Some(error) = state.slots[index].harvest(device) else { continue };
                for queue in device.inner().queues.all() {
                    if contains(&queue.touched.read(), KernelIndex(index)) {
                        queue.note_panic(error.clone());
                    }
                }
            }
        }
    }
}

impl Slot {
    /// The panic in the record, after which the slot is free again.
    fn harvest(&self, device: &Device) -> Option<Error> {
        let claimed = self.claimed?;
        // SAFETY: the record is in live pinned memory; the device may write it
        // meanwhile, hence the volatile read.
        let state = unsafe { (&raw const (*self.record).state).read_volatile() };
        if state != 1 {
            return None;
        }
        std::sync::atomic::fence(Ordering::Acquire);
        // SAFETY: state 1 says that the record is whole, and no thread writes it
        // until the slot is free again.
        let record = unsafe { self.record.read_volatile() };
        // SAFETY: as above.
        unsafe { (&raw mut (*self.record).state).write_volatile(0) };
        if let Some(cuda) = &device.inner().cuda {
            let mut cleared = cuda.write_u32(claimed, 0);
            for _ in 1..CLEAR_TRIES {
                cleared = cleared.or_else(|_| cuda.write_u32(claimed, 0));
            }
            // As long as the slot is claimed, later panics would go unnoticed: a
            // device on which it stays so is of no use.
            if let Err(Error::Cuda(error)) = cleared {
                device.lose(error, self.kernel);
            }
        }
        Some(panic_error(self.kernel, &record))
    }
}

/// How often a slot is tried to be freed.
const CLEAR_TRIES: u32 = 4;

/// The error that a record stands for.
pub(crate) fn panic_error(kernel: &'static str, record: &PanicRecord) -> Error {
    let text = |bytes: &[u8], len: u32| {
        let len = bytes.len().min(len as usize);
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    };
    Error::KernelPanic {
        kernel,
        message: worded(record.kind, record.a, record.b)
            .unwrap_or_else(|| message::decode(&record.message, record.message_len as usize)),
        file: text(&record.file, record.file_len),
        line: record.line,
        column: record.column,
        block: record.block,
        thread: record.thread,
    }
}

/// The message of a kind that the host words, as `core` words it.
fn worded(kind: u32, a: u64, b: u64) -> Option<String> {
    const BOUNDS: u32 = PanicKind::BoundsCheck as u32;
    const START: u32 = PanicKind::SliceStart as u32;
    const END: u32 = PanicKind::SliceEnd as u32;
    const ORDER: u32 = PanicKind::SliceOrder as u32;
    const COPY: u32 = PanicKind::CopyLength as u32;
    match kind {
        BOUNDS => Some(format!("index out of bounds: the len is {b} but the index is {a}")),
        START => Some(format!("range start index {a} out of range for slice of length {b}")),
        END => Some(format!("range end index {a} out of range for slice of length {b}")),
        ORDER => Some(format!("slice index starts at {a} but ends at {b}")),
        COPY => Some(format!(
            "copy_from_slice: source slice length ({a}) does not match destination slice length ({b})"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::panic::catch_unwind;

    use super::*;

    /// The message of a panic of this toolchain's `core`.
    fn said(run: impl FnOnce() + std::panic::UnwindSafe) -> String {
        let payload = catch_unwind(run).unwrap_err();
        match payload.downcast_ref::<String>() {
            Some(text) => text.clone(),
            None => (*payload.downcast_ref::<&str>().unwrap()).to_owned(),
        }
    }

    #[test]
    fn messages_are_worded_as_core_words_them() {
        let slice = [0u8; 4];
        let cases: [(PanicKind, u64, u64, String); 5] = [
            (
                PanicKind::BoundsCheck,
                7,
                4,
                said(move || {
                    black_box(slice[black_box(7)]);
                }),
            ),
            (
                PanicKind::SliceStart,
                5,
                4,
                said(move || {
                    black_box(&slice[black_box(5)..]);
                }),
            ),
            (
                PanicKind::SliceEnd,
                9,
                4,
                said(move || {
                    black_box(&slice[..black_box(9)]);
                }),
            ),
            (
                PanicKind::SliceOrder,
                3,
                1,
                said(move || {
                    black_box(&slice[black_box(3)..black_box(1)]);
                }),
            ),
            (
                PanicKind::CopyLength,
                2,
                4,
                said(move || {
                    let mut target = slice;
                    target.copy_from_slice(black_box(&slice[..black_box(2)]));
                }),
            ),
        ];
        for (kind, a, b, expected) in cases {
            assert_eq!(worded(kind as u32, a, b), Some(expected), "{kind:?}");
        }
        assert_eq!(worded(PanicKind::Message as u32, 0, 0), None);
    }

    #[test]
    fn a_record_becomes_an_error_even_if_its_lengths_are_wrong() {
        let mut record = PanicRecord {
            state: 1,
            kind: PanicKind::Message as u32,
            a: 0,
            b: 0,
            line: 12,
            column: 5,
            block: [1, 2, 3],
            thread: [4, 5, 6],
            file_len: 6,
            file: [0; 192],
            message_len: u32::MAX,
            message_capacity: 512,
            message: [b'x'; 512],
        };
        record.file[..6].copy_from_slice(b"src/k\xff");
        let Error::KernelPanic { kernel, message, file, line, column, block, thread } =
            panic_error("app::k", &record)
        else {
            panic!("a record is a kernel panic")
        };
        assert_eq!((kernel, line, column), ("app::k", 12, 5));
        let text = message.trim_start_matches('x');
        assert_eq!(message.len() - text.len(), 512);
        assert!(text.contains("cut"), "{text}");
        assert_eq!((block, thread), ([1, 2, 3], [4, 5, 6]));
        assert!(file.starts_with("src/k"));
    }

    #[test]
    fn sets_remember_what_was_added() {
        let (set, other) = (KernelSet::default(), KernelSet::default());
        set.add(KernelIndex(3));
        other.add(KernelIndex(SET_BITS + 70));
        set.add_all(&other);
        let words = set.take();
        assert!(contains(&words, KernelIndex(3)) && contains(&words, KernelIndex(70)));
        assert!(!contains(&words, KernelIndex(4)));
        assert_eq!(bits(&words).collect::<Vec<_>>(), [3, 70]);
        assert_eq!(set.read(), [0; SET_WORDS]);
    }
}
