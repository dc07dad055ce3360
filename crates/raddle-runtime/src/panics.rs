//! Kernel panics on the GPU: the records that panicking threads write, and which
//! launch a record belongs to.
//!
//! Each queue has one record in pinned host memory, and so has each graph. A launch
//! is told the address of its record and a tag: its number on the queue, and its
//! kernel. A thread that panics claims the record, writes it and ends. The host looks
//! at the record each time work of the queue has ended, so that a panic surfaces where
//! the user waits for the result, and nowhere else. Whom a queue tells is in `fault`.
//!
//! The tags in a graph are the same at every replay. If a graph is replayed on several
//! streams at once, each of its replays that had not been waited for is told: an error
//! too many rather than one too few.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use raddle_cuda::{Context, Pinned};
use raddle_device::kernel::{PanicKind, PanicRecord};
use raddle_device::message;

use crate::cuda::CudaDevice;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::fault::ErrorLog;
use crate::sync::lock;
use crate::timeline::StreamId;

/// Number of a loaded kernel on its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KernelIndex(pub(crate) u32);

/// Bits of a tag that say which kernel; those above are the number of the launch.
const KERNEL_BITS: u32 = 24;
const NUMBER_MASK: u64 = u64::MAX >> KERNEL_BITS;

/// What a launch is told beside its parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaunchTag {
    pub(crate) record: u64,
    pub(crate) tag: u64,
}

impl LaunchTag {
    /// One pointer for each parameter of an entry: the block at `params`, unless it has
    /// no bytes, then the tag. Unused ones are null.
    #[inline]
    pub(crate) fn pointers(&self, params: *const u8, bytes: usize) -> [*mut c_void; 3] {
        let number = |number: &u64| std::ptr::from_ref(number).cast_mut().cast::<c_void>();
        let (record, tag) = (number(&self.record), number(&self.tag));
        if bytes == 0 {
            [record, tag, std::ptr::null_mut()]
        } else {
            [params.cast_mut().cast(), record, tag]
        }
    }
}

/// The number whose lowest bits are those of `tag`, the largest up to `last`.
fn number_of(tag: u64, last: u64) -> u64 {
    last - (last.wrapping_sub(tag >> KERNEL_BITS) & NUMBER_MASK)
}

/// The panic records of one GPU.
#[derive(Default)]
pub(crate) struct PanicBoard {
    state: Mutex<BoardState>,
    harvesting: Mutex<()>,
}

#[derive(Default)]
struct BoardState {
    /// Names of the kernels, by index.
    kernels: Vec<&'static str>,
    pages: Vec<Pinned>,
    /// How many places were given out, and which of them came back.
    used: usize,
    free: Vec<Place>,
}

/// Where a record is, on the host and on the device.
#[derive(Clone, Copy)]
struct Place {
    record: *mut PanicRecord,
    on_device: u64,
}

// SAFETY: addresses of memory that lives as long as the board; who may use it when is
// decided by the record's owner.
unsafe impl Send for Place {}
// SAFETY: as above.
unsafe impl Sync for Place {}

/// Records on a page: as many as the words of queues on theirs.
const PAGE_LEN: usize = 512;

impl PanicBoard {
    /// A number for a kernel that was loaded.
    pub(crate) fn add_kernel(&self, kernel: &'static str) -> Result<KernelIndex> {
        let mut state = lock(&self.state);
        let index = u32::try_from(state.kernels.len()).ok().filter(|&i| i >> KERNEL_BITS == 0);
        let Some(index) = index else {
            let reason = "2^24 kernels are loaded already".to_owned();
            return Err(Error::Declaration { kernel: kernel.to_owned(), reason });
        };
        state.kernels.push(kernel);
        Ok(KernelIndex(index))
    }

    fn kernel_of(&self, tag: u64) -> &'static str {
        let index = (tag & ((1 << KERNEL_BITS) - 1)) as usize;
        lock(&self.state).kernels.get(index).copied().unwrap_or("unknown")
    }

    /// A record for a queue or a graph.
    pub(crate) fn take(self: &Arc<Self>, cuda: &CudaDevice) -> Result<PanicSlot> {
        let mut state = lock(&self.state);
        let place = match state.free.pop() {
            Some(place) => place,
            None => state.add_place(cuda.context())?,
        };
        let slot = PanicSlot { board: Arc::clone(self), place };
        slot.clear();
        Ok(slot)
    }
}

impl BoardState {
    fn add_place(&mut self, context: &Arc<Context>) -> Result<Place> {
        let (page, index) = (self.used / PAGE_LEN, self.used % PAGE_LEN);
        if page == self.pages.len() {
            let pinned = Pinned::new(context, PAGE_LEN * size_of::<PanicRecord>())?;
            // SAFETY: new memory of that many bytes, which nobody else has.
            unsafe { pinned.host().write_bytes(0, PAGE_LEN * size_of::<PanicRecord>()) };
            self.pages.push(pinned);
        }
        self.used += 1;
        let offset = index * size_of::<PanicRecord>();
        // SAFETY: the offset lies within the page.
        let record = unsafe { self.pages[page].host().add(offset) }.cast::<PanicRecord>();
        Ok(Place { record, on_device: self.pages[page].device() + offset as u64 })
    }
}

/// The record of one queue or graph, given back when dropped.
pub(crate) struct PanicSlot {
    board: Arc<PanicBoard>,
    place: Place,
}

impl PanicSlot {
    /// What the launch numbered `number` of kernel `kernel` is told.
    #[inline]
    pub(crate) fn tag(&self, number: u64, kernel: KernelIndex) -> LaunchTag {
        let tag = number << KERNEL_BITS | u64::from(kernel.0);
        LaunchTag { record: self.place.on_device, tag }
    }

    fn state(&self) -> &AtomicU32 {
        // SAFETY: the word lies in pinned memory that lives as long as the board; the
        // device writes it while the host may read it, hence the atomic.
        unsafe { AtomicU32::from_ptr(&raw mut (*self.place.record).state) }
    }

    /// Whether a thread has written the record.
    #[inline]
    pub(crate) fn is_written(&self) -> bool {
        self.state().load(Ordering::Acquire) == 1
    }

    /// Has `note` note the panic in the record, with the tag of its launch, if there
    /// is one, and makes the record ready for the next: whoever finds it empty finds
    /// the error where it was noted.
    fn read(&self, _harvest: &Harvest<'_>, note: impl FnOnce(u64, Error)) {
        if !self.is_written() {
            return;
        }
        // SAFETY: state 1 says that the record is whole, and no thread writes it until
        // it is ready again; one thread at a time harvests.
        let record = unsafe { self.place.record.read_volatile() };
        note(record.tag, panic_error(self.board.kernel_of(record.tag), &record));
        self.state().store(0, Ordering::Release);
        // SAFETY: the host's own word, changed by one thread at a time.
        unsafe { self.armed().store(record.armed.wrapping_add(1), Ordering::Release) };
    }

    /// # Safety
    ///
    /// One thread at a time changes the word.
    unsafe fn armed(&self) -> &AtomicU32 {
        // SAFETY: as for `state`.
        unsafe { AtomicU32::from_ptr(&raw mut (*self.place.record).armed) }
    }

    /// Forgets which launches have panicked. None of them is under way.
    fn forget(&self) {
        // SAFETY: the record is alive, and no device changes it meanwhile.
        unsafe { (&raw mut (*self.place.record).last).write_volatile(0) };
    }

    /// Makes the record as new. No launch that knows it is under way.
    fn clear(&self) {
        self.forget();
        self.state().store(0, Ordering::Relaxed);
        // SAFETY: the record is alive, and no device changes it meanwhile.
        let claimed = unsafe { (&raw const (*self.place.record).claimed).read_volatile() };
        // SAFETY: the caller has the record to itself.
        unsafe { self.armed().store(claimed.wrapping_add(1), Ordering::Release) };
    }

    /// Notes a panic of a launch of the queue whose errors these are and whose next
    /// work has number `next`.
    pub(crate) fn harvest(&self, harvest: &Harvest<'_>, errors: &ErrorLog, next: u64) {
        self.read(harvest, |tag, error| {
            let number = number_of(tag, next);
            errors.push(number - 1, number, error);
        });
    }
}

impl Drop for PanicSlot {
    fn drop(&mut self) {
        lock(&self.board.state).free.push(self.place);
    }
}

/// The record of a graph, with the replays whose end nobody has seen.
pub(crate) struct GraphSlot {
    slot: PanicSlot,
    replays: Mutex<Vec<Replays>>,
}

/// Replays in a row on one stream, by their numbers there.
struct Replays {
    stream: StreamId,
    first: u64,
    last: u64,
}

impl GraphSlot {
    pub(crate) fn new(slot: PanicSlot) -> Self {
        Self { slot, replays: Mutex::default() }
    }

    /// What a launch of the graph is told.
    pub(crate) fn tag(&self, number: u64, kernel: KernelIndex) -> LaunchTag {
        self.slot.tag(number, kernel)
    }

    /// Notes a replay that is about to be enqueued. Replays are noted in order. Whether
    /// the stream may not know of the graph: not if its last replay, which was on the
    /// same stream, is still noted.
    pub(crate) fn begin(&self, stream: StreamId, sequence: u64) -> bool {
        let mut replays = lock(&self.replays);
        match replays.last_mut() {
            Some(row) if row.stream == stream => {
                row.last = sequence;
                false
            }
            _ => {
                replays.push(Replays { stream, first: sequence, last: sequence });
                true
            }
        }
    }

    /// Forgets the replay that was noted last, since it was refused.
    pub(crate) fn forget_last(&self) {
        let mut replays = lock(&self.replays);
        if let Some(row) = replays.last_mut() {
            row.last -= 1;
        }
        let _ = replays.pop_if(|row| row.last < row.first);
    }

    /// Whether there are replays on `stream` whose end nobody has seen.
    pub(crate) fn has_replays_on(&self, stream: StreamId) -> bool {
        lock(&self.replays).iter().any(|row| row.stream == stream)
    }

    /// Tells a panic to every queue with a replay that may have had it, and notes that
    /// the replays on `stream` up to number `completed` have ended. Whether some have
    /// not.
    pub(crate) fn harvest(&self, harvest: &Harvest<'_>, stream: StreamId, completed: u64) -> bool {
        let mut replays = lock(&self.replays);
        self.slot.read(harvest, |_, error| {
            for row in &*replays {
                harvest.device.queue(row.stream).errors.push(
                    row.first - 1,
                    row.last,
                    error.clone(),
                );
            }
        });
        for row in replays.iter_mut().filter(|row| row.stream == stream) {
            row.first = row.first.max(completed.saturating_add(1));
        }
        replays.retain(|row| row.first <= row.last);
        if replays.is_empty() {
            // The next replay has the same tags. It cannot begin under the lock.
            self.slot.forget();
        }
        replays.iter().any(|row| row.stream == stream)
    }
}

/// The right to look at records: one thread at a time, so that nobody takes a record
/// for empty whose error is not noted yet.
pub(crate) struct Harvest<'d> {
    pub(crate) device: &'d Device,
    _one: MutexGuard<'d, ()>,
}

impl PanicBoard {
    /// Waits for the right to look at records.
    pub(crate) fn harvest<'d>(&'d self, device: &'d Device) -> Harvest<'d> {
        Harvest { device, _one: lock(&self.harvesting) }
    }
}

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
            tag: 0,
            last: 0,
            armed: 1,
            claimed: 1,
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
    fn a_tag_says_which_launch_it_was_for_a_long_time() {
        for last in [1, 2, 1000, NUMBER_MASK - 1, NUMBER_MASK, NUMBER_MASK + 1, 1 << 46] {
            for back in [0, 1, 999, NUMBER_MASK - 1] {
                let Some(number) = last.checked_sub(back).filter(|&number| number > 0) else {
                    continue;
                };
                let tag = number << KERNEL_BITS | 77;
                assert_eq!(number_of(tag, last), number, "{last} - {back}");
            }
        }
    }
}
