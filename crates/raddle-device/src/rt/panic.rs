//! A panic on the device: one record for the host, then the end of the thread.
//!
//! The record is that of the launch's stream, or graph, and says which launch it was;
//! of several threads that panic before the host has looked, the first one writes it.
//! The thread never traps, so the context and later launches live. `exit` counts
//! as arrival at `bar.sync` and leaves full-mask warp operations of the others
//! working (seen on Hopper).

use core::panic::Location;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use super::format::Text;
use super::format::{
    __raddle_rt_write_arguments as write_arguments, __raddle_rt_write_debug as write_debug,
};
use crate::index::{block_x, block_y, block_z, thread_x, thread_y, thread_z};
use crate::kernel::{PanicKind, PanicRecord};
use crate::launch;

/// Number that `raddle-build` passes for `slice_index_fail`, whose three operands
/// decide which of the slice kinds it is.
const SLICE_INDEX: u32 = 6;

/// Records a panic whose message is a string or is worded by its kind.
///
/// # Safety
///
/// `message` and `location` are null or valid.
#[unsafe(no_mangle)]
#[cold]
unsafe extern "C" fn __raddle_rt_panic(
    kind: u32,
    a: u64,
    b: u64,
    c: u64,
    message: *const u8,
    message_len: usize,
    location: *const Location<'static>,
) -> ! {
    let (kind, a, b) = if kind == SLICE_INDEX { slice_kind(a, b, c) } else { (kind, a, b) };
    if let Some(record) = claim_record() {
        // SAFETY: this thread claimed the record, and the operands are valid by the
        // caller's contract.
        unsafe {
            describe(record, kind, a, b, location);
            let text = Text::of(record);
            if !message.is_null() {
                text.push(message, message_len);
            }
            publish();
        }
    }
    exit()
}

/// Records a panic whose message is a `fmt::Arguments`, as its two words.
///
/// # Safety
///
/// The words are those of a valid `fmt::Arguments` of this rustc; `location` is
/// null or valid.
#[unsafe(no_mangle)]
#[cold]
unsafe extern "C" fn __raddle_rt_panic_fmt(
    template: *const u8,
    args: *const u8,
    location: *const Location<'static>,
) -> ! {
    if let Some(record) = claim_record() {
        // SAFETY: this thread claimed the record, and the operands are valid by the
        // caller's contract.
        unsafe {
            describe(record, PanicKind::Message as u32, 0, 0, location);
            let text = Text::of(record);
            write_arguments(text, template, args);
            publish();
        }
    }
    exit()
}

/// Records the panic of `Result::unwrap` and its kin, whose message is a string and
/// a value that is shown with `Debug`.
///
/// # Safety
///
/// The words are those of a `&str` and a `&dyn Debug`; `location` is null or valid.
#[unsafe(no_mangle)]
#[cold]
unsafe extern "C" fn __raddle_rt_panic_unwrap(
    message: *const u8,
    message_len: usize,
    error: *const u8,
    vtable: *const *const u8,
    location: *const Location<'static>,
) -> ! {
    if let Some(record) = claim_record() {
        // SAFETY: this thread claimed the record, and the operands are valid by the
        // caller's contract.
        unsafe {
            describe(record, PanicKind::Message as u32, 0, 0, location);
            let text = Text::of(record);
            text.push(message, message_len);
            text.push_str(": ");
            write_debug(text, error, vtable);
            publish();
        }
    }
    exit()
}

/// Records the panic of `assert_eq!` and `assert_ne!`, as `core` words it.
///
/// # Safety
///
/// The words are those of two `&dyn Debug` and an `Option<fmt::Arguments>`;
/// `location` is null or valid.
#[unsafe(no_mangle)]
#[cold]
#[expect(clippy::too_many_arguments, reason = "they are those of core's function")]
unsafe extern "C" fn __raddle_rt_panic_assert(
    kind: u8,
    left: *const u8,
    left_vtable: *const *const u8,
    right: *const u8,
    right_vtable: *const *const u8,
    template: *const u8,
    args: *const u8,
    location: *const Location<'static>,
) -> ! {
    if let Some(record) = claim_record() {
        // SAFETY: this thread claimed the record, and the operands are valid by the
        // caller's contract.
        unsafe {
            describe(record, PanicKind::Message as u32, 0, 0, location);
            let text = Text::of(record);
            text.push_str("assertion `left ");
            text.push_str(match kind {
                0 => "==",
                1 => "!=",
                _ => "matches",
            });
            text.push_str(" right` failed");
            if !template.is_null() {
                text.push_str(": ");
                write_arguments(text, template, args);
            }
            text.push_str("\n  left: ");
            write_debug(text, left, left_vtable);
            text.push_str("\n right: ");
            write_debug(text, right, right_vtable);
            publish();
        }
    }
    exit()
}

/// The case distinction of `core`'s `slice_index_fail(start, end, len)`.
fn slice_kind(start: u64, end: u64, len: u64) -> (u32, u64, u64) {
    if start > len {
        (PanicKind::SliceStart as u32, start, len)
    } else if end > len || start <= end {
        (PanicKind::SliceEnd as u32, end, len)
    } else {
        (PanicKind::SliceOrder as u32, start, end)
    }
}

/// The launch's record, for the first thread that asks.
fn claim_record() -> Option<*mut PanicRecord> {
    let (record, tag) = (launch::record(), launch::tag());
    if record.is_null() {
        return None;
    }
    // SAFETY: the record lies in memory of the host that lives as long as the launch;
    // devices change these two words through atomics only.
    unsafe {
        let last = AtomicU64::from_ptr(&raw mut (*record).last);
        // Each operation goes to the host's memory: later threads make do with one.
        if last.load(Ordering::Relaxed) == tag || last.fetch_max(tag, Ordering::Relaxed) == tag {
            return None;
        }
        let armed = (&raw const (*record).armed).read_volatile();
        let claimed = AtomicU32::from_ptr(&raw mut (*record).claimed);
        let (old, new) = (armed.wrapping_sub(1), armed);
        let claim = claimed.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed);
        claim.is_ok().then_some(record)
    }
}

unsafe fn describe(
    record: *mut PanicRecord,
    kind: u32,
    a: u64,
    b: u64,
    location: *const Location<'static>,
) {
    // SAFETY: the caller owns the record; `location` is null or valid.
    unsafe {
        (*record).tag = launch::tag();
        (*record).kind = kind;
        (*record).a = a;
        (*record).b = b;
        (*record).block = [block_x(), block_y(), block_z()];
        (*record).thread = [thread_x(), thread_y(), thread_z()];
        (*record).file_len = 0;
        if !location.is_null() {
            (*record).line = (*location).line();
            (*record).column = (*location).column();
            let name = (*location).file();
            copy_file_name(record, name.as_ptr(), name.len() as u32);
        }
    }
}

/// Copies the beginning of a file's name.
unsafe fn copy_file_name(record: *mut PanicRecord, name: *const u8, len: u32) {
    // SAFETY: the caller owns the record; the name is readable, and as much is copied
    // as there is room for.
    unsafe {
        let len = len.min(size_of_val(&(*record).file) as u32);
        (*record).file_len = len;
        let target = (&raw mut (*record).file).cast::<u8>();
        let mut i = 0;
        while i < len as usize {
            // Byte by byte, and no longer code for it: nobody waits for this.
            target.add(i).write_volatile(*name.add(i));
            i += 1;
        }
    }
}

/// Makes the record visible to the host, last of all its state. The record is asked
/// for again, so that nobody has to keep it while the message is written.
unsafe fn publish() {
    fence(Ordering::SeqCst);
    // SAFETY: this thread claimed the record.
    unsafe { (&raw mut (*launch::record()).state).write_volatile(1) };
    fence(Ordering::SeqCst);
}

asm_intrinsic! {
    /// Ends this thread. *Source*: PTX ISA, "Control Flow Instructions: exit".
    fn exit_thread() = "raddle.asm.v::exit;";
}

fn exit() -> ! {
    // SAFETY: nothing runs after `exit`.
    unsafe {
        exit_thread();
        core::hint::unreachable_unchecked()
    }
}
