//! Votes and matches among lanes, the chosen lane, and lane masks.

#[cfg(not(raddle_device))]
use core::panic::Location;

use super::Lanes;
#[cfg(not(raddle_device))]
use super::host;
#[cfg(raddle_device)]
use super::{
    elect_sync, match_all_32, match_all_64, match_any_32, match_any_64, read_activemask,
    read_lanemask_eq, read_lanemask_ge, read_lanemask_gt, read_lanemask_le, read_lanemask_lt,
    vote_all, vote_any, vote_ballot, vote_uni,
};
use crate::bits::AnyBits;
#[cfg(not(raddle_device))]
use crate::index::lane;

impl Lanes {
    /// Whether `value` holds in all lanes: `__all_sync`, PTX `vote.sync.all`.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn all(self, value: bool) -> bool {
        #[cfg(raddle_device)]
        // SAFETY: the instruction only votes.
        unsafe {
            vote_all(u32::from(value), self.mask) != 0
        }
        #[cfg(not(raddle_device))]
        {
            let votes = host::ballot(self.mask, value, Location::caller());
            votes.yes == votes.voters
        }
    }

    /// Whether `value` holds in any lane: `__any_sync`, PTX `vote.sync.any`.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn any(self, value: bool) -> bool {
        #[cfg(raddle_device)]
        // SAFETY: the instruction only votes.
        unsafe {
            vote_any(u32::from(value), self.mask) != 0
        }
        #[cfg(not(raddle_device))]
        {
            host::ballot(self.mask, value, Location::caller()).yes != 0
        }
    }

    /// Whether `value` is the same in all lanes: PTX `vote.sync.uni`.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn uniform(self, value: bool) -> bool {
        #[cfg(raddle_device)]
        // SAFETY: the instruction only votes.
        unsafe {
            vote_uni(u32::from(value), self.mask) != 0
        }
        #[cfg(not(raddle_device))]
        {
            let votes = host::ballot(self.mask, value, Location::caller());
            votes.yes == 0 || votes.yes == votes.voters
        }
    }

    /// One bit for each lane in which `value` holds: `__ballot_sync`, PTX
    /// `vote.sync.ballot`.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn ballot(self, value: bool) -> u32 {
        #[cfg(raddle_device)]
        // SAFETY: the instruction only votes.
        unsafe {
            vote_ballot(u32::from(value), self.mask)
        }
        #[cfg(not(raddle_device))]
        {
            host::ballot(self.mask, value, Location::caller()).yes
        }
    }

    /// The lanes whose value has the same bits as the caller's:
    /// `__match_any_sync`, PTX `match.any.sync` (sm_70).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn match_any<T: AnyBits>(self, value: T) -> u32 {
        let bits = value_bits(value);
        #[cfg(raddle_device)]
        // SAFETY: the instruction only compares.
        unsafe {
            if size_of::<T>() <= 4 {
                match_any_32(bits as u32, self.mask)
            } else {
                match_any_64(bits, self.mask)
            }
        }
        #[cfg(not(raddle_device))]
        {
            host::matching(self.mask, bits, Location::caller()).same
        }
    }

    /// The mask of the lanes if all have the same bits, else `None`:
    /// `__match_all_sync`, PTX `match.all.sync` (sm_70).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn match_all<T: AnyBits>(self, value: T) -> Option<u32> {
        let bits = value_bits(value);
        #[cfg(raddle_device)]
        // SAFETY: the instruction only compares.
        let mask = unsafe {
            if size_of::<T>() <= 4 {
                match_all_32(bits as u32, self.mask)
            } else {
                match_all_64(bits, self.mask)
            }
        };
        #[cfg(not(raddle_device))]
        let mask = {
            let matching = host::matching(self.mask, bits, Location::caller());
            if matching.same == matching.lanes { matching.lanes } else { 0 }
        };
        (mask != 0).then_some(mask)
    }

    /// Whether the caller is the one lane chosen to act for the set: PTX
    /// `elect.sync` (sm_90). The lowest lane is chosen on the CPU device.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn elect(self) -> bool {
        #[cfg(raddle_device)]
        // SAFETY: the instruction only chooses.
        unsafe {
            elect_sync(self.mask) != 0
        }
        #[cfg(not(raddle_device))]
        {
            let votes = host::ballot(self.mask, true, Location::caller());
            votes.yes.trailing_zeros() == lane()
        }
    }
}

/// The bits of a value of at most 8 bytes, as an integer.
#[inline(always)]
fn value_bits<T: AnyBits>(value: T) -> u64 {
    const { assert!(size_of::<T>() <= 8, "lanes match values of at most 8 bytes") };
    let mut bits = 0u64;
    // SAFETY: `T` has no padding and fits; both machines are little-endian.
    unsafe {
        core::ptr::copy_nonoverlapping(
            (&raw const value).cast::<u8>(),
            (&raw mut bits).cast::<u8>(),
            size_of::<T>(),
        );
    }
    bits
}

/// Lanes that execute this call together right now: `__activemask()`, PTX
/// `activemask`.
///
/// It synchronises nothing and says nothing about lanes that might join later;
/// on the CPU device it is the caller's lane alone, which is one of the answers
/// the hardware may give.
#[inline(always)]
#[must_use]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn active_mask() -> u32 {
    #[cfg(raddle_device)]
    // SAFETY: reads a register.
    unsafe {
        read_activemask()
    }
    #[cfg(not(raddle_device))]
    {
        1 << lane()
    }
}

macro_rules! lane_masks {
    ($($(#[$doc:meta])* $name:ident, $device:ident, |$bit:ident| $host:expr;)*) => { $(
        $(#[$doc])*
        #[inline(always)]
        #[must_use]
        #[cfg_attr(not(raddle_device), track_caller)]
        pub fn $name() -> u32 {
            #[cfg(raddle_device)]
            // SAFETY: reads a register.
            unsafe {
                $device()
            }
            #[cfg(not(raddle_device))]
            {
                let $bit = 1u32 << lane();
                $host
            }
        }
    )* };
}

lane_masks! {
    /// The caller's lane as a mask (PTX `%lanemask_eq`).
    lane_mask_eq, read_lanemask_eq, |bit| bit;
    /// The lanes below the caller's (PTX `%lanemask_lt`).
    lane_mask_lt, read_lanemask_lt, |bit| bit - 1;
    /// The lanes up to and including the caller's (PTX `%lanemask_le`).
    lane_mask_le, read_lanemask_le, |bit| bit | (bit - 1);
    /// The lanes above the caller's (PTX `%lanemask_gt`).
    lane_mask_gt, read_lanemask_gt, |bit| !(bit | (bit - 1));
    /// The lanes from the caller's upwards (PTX `%lanemask_ge`).
    lane_mask_ge, read_lanemask_ge, |bit| !(bit - 1);
}
