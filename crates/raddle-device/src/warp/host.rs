//! Host bodies of the warp operations: one rendezvous of the lanes, then each
//! lane computes its own answer as the PTX manual's formulas say.

use core::panic::Location;

use super::Shuffle;
use crate::bits::LANE_VALUE_BYTES_MAX;
use crate::host::engine;
use crate::index::WARP;
use crate::param::DeviceType;

/// What the lanes of a warp offered.
struct Offers {
    bytes: [u8; LANE_VALUE_BYTES_MAX * WARP as usize],
    lanes: u32,
}

impl Offers {
    /// Meets the lanes of `mask`, offering `value`.
    fn collect<T: DeviceType>(mask: u32, value: T, at: &'static Location<'static>) -> Self {
        let mut offers = Self { bytes: [0; LANE_VALUE_BYTES_MAX * WARP as usize], lanes: 0 };
        // SAFETY: the bytes are only copied; device types hold no pointers.
        let payload =
            unsafe { core::slice::from_raw_parts((&raw const value).cast::<u8>(), size_of::<T>()) };
        let all = &mut offers.bytes[..size_of::<T>() * WARP as usize];
        offers.lanes = engine().warp_collect(mask, payload, all, at);
        offers
    }

    /// The value of `lane`, if it took part.
    fn get<T: DeviceType>(&self, lane: u32) -> Option<T> {
        let place = lane as usize * size_of::<T>();
        // SAFETY: the lane offered a `T`, whose bytes lie there.
        (self.lanes >> lane & 1 != 0)
            .then(|| unsafe { self.bytes.as_ptr().add(place).cast::<T>().read_unaligned() })
    }
}

/// The lane that a shuffle reads (PTX ISA, `shfl.sync`, "Semantics").
pub(super) fn source_lane(kind: Shuffle, lane: u32, operand: u32, width: u32) -> u32 {
    let operand = operand % WARP;
    let first = lane & !(width - 1);
    let last = first | (width - 1);
    let (source, is_inside) = match kind {
        Shuffle::Index => (first | (operand & (width - 1)), true),
        Shuffle::Up => (lane.wrapping_sub(operand), lane >= first + operand),
        Shuffle::Down => (lane + operand, lane + operand <= last),
        Shuffle::Xor => (lane ^ operand, lane ^ operand <= last),
    };
    if is_inside { source } else { lane }
}

/// The value that lane `source` offers. Of a lane that does not take part the
/// hardware gives unspecified bits; here they are all ones, so that a kernel
/// that uses them shows it.
///
/// # Safety
///
/// `source` takes part, or every bit pattern is a valid `T`.
pub(super) unsafe fn value_of<T: DeviceType>(
    mask: u32,
    value: T,
    source: u32,
    at: &'static Location<'static>,
) -> T {
    match Offers::collect(mask, value, at).get(source) {
        Some(value) => value,
        None => {
            let ones = [0xff_u8; LANE_VALUE_BYTES_MAX];
            // SAFETY: `T` fits, and by the caller's contract any bits are a `T`.
            unsafe { ones.as_ptr().cast::<T>().read_unaligned() }
        }
    }
}

/// What a vote found.
pub(super) struct Votes {
    /// Lanes that said yes.
    pub yes: u32,
    /// Lanes that voted.
    pub voters: u32,
}

/// Votes among the lanes of `mask`.
pub(super) fn ballot(mask: u32, value: bool, at: &'static Location<'static>) -> Votes {
    let offers = Offers::collect(mask, value, at);
    let yes = (0..WARP).filter(|&lane| offers.get(lane) == Some(true));
    Votes { yes: yes.fold(0, |yes, lane| yes | 1 << lane), voters: offers.lanes }
}

/// What a match found.
pub(super) struct Matching {
    /// Lanes with the caller's bits.
    pub same: u32,
    /// Lanes that took part.
    pub lanes: u32,
}

/// Compares `bits` among the lanes of `mask`.
pub(super) fn matching(mask: u32, bits: u64, at: &'static Location<'static>) -> Matching {
    let offers = Offers::collect(mask, bits, at);
    let same = (0..WARP).filter(|&lane| offers.get(lane) == Some(bits));
    Matching { same: same.fold(0, |same, lane| same | 1 << lane), lanes: offers.lanes }
}

/// Folds the values of the lanes of `mask`, lowest lane first.
pub(super) fn fold<T: DeviceType>(
    mask: u32,
    value: T,
    op: impl Fn(T, T) -> T,
    at: &'static Location<'static>,
) -> T {
    let offers = Offers::collect(mask, value, at);
    (0..WARP).filter_map(|lane| offers.get(lane)).reduce(op).unwrap_or(value)
}

/// Meets the lanes of `mask`, each of which a reduction is about to read.
///
/// # Panics
///
/// If one of them has left the kernel: its value would be unspecified on a GPU.
#[track_caller]
pub(super) fn require_present(mask: u32, at: &'static Location<'static>) {
    let lanes = Offers::collect(mask, (), at).lanes;
    assert!(
        lanes == mask,
        "a warp reduction or scan needs the lanes {mask:#010x}, but {:#010x} have left the kernel: \
         let every lane reach it, or name the lanes that do with `Lanes::of`",
        mask & !lanes
    );
}
