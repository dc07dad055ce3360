//! `redux.sync`: reductions of 32-bit integers in one instruction.

#[cfg(not(raddle_device))]
use core::panic::Location;

use super::Lanes;
#[cfg(not(raddle_device))]
use super::host;
#[cfg(raddle_device)]
use super::{
    redux_add_u32, redux_and_b32, redux_max_s32, redux_max_u32, redux_min_s32, redux_min_u32,
    redux_or_b32, redux_xor_b32,
};
use crate::bits::AnyBits;

/// Integers that `redux.sync` reduces.
pub trait Redux: AnyBits + sealed::Sealed {
    /// Wrapping sum.
    #[doc(hidden)]
    fn redux_add(self, lanes: Lanes) -> Self;
    #[doc(hidden)]
    fn redux_min(self, lanes: Lanes) -> Self;
    #[doc(hidden)]
    fn redux_max(self, lanes: Lanes) -> Self;
    #[doc(hidden)]
    fn redux_and(self, lanes: Lanes) -> Self;
    #[doc(hidden)]
    fn redux_or(self, lanes: Lanes) -> Self;
    #[doc(hidden)]
    fn redux_xor(self, lanes: Lanes) -> Self;
}

mod sealed {
    /// Keeps [`Redux`](super::Redux) to the types the instruction has.
    pub trait Sealed {}
    impl Sealed for u32 {}
    impl Sealed for i32 {}
}

macro_rules! redux {
    ($ty:ty; $($method:ident, $device:ident, |$a:ident, $b:ident| $host:expr;)*) => {
        impl Redux for $ty { $(
            #[inline(always)]
            #[cfg_attr(not(raddle_device), track_caller)]
            fn $method(self, lanes: Lanes) -> Self {
                #[cfg(raddle_device)]
                // SAFETY: the instruction only moves registers.
                unsafe {
                    $device(self as _, lanes.mask) as Self
                }
                #[cfg(not(raddle_device))]
                {
                    host::fold(lanes.mask, self, |$a, $b| $host, Location::caller())
                }
            }
        )* }
    };
}

redux! { u32;
    redux_add, redux_add_u32, |a, b| a.wrapping_add(b);
    redux_min, redux_min_u32, |a, b| a.min(b);
    redux_max, redux_max_u32, |a, b| a.max(b);
    redux_and, redux_and_b32, |a, b| a & b;
    redux_or, redux_or_b32, |a, b| a | b;
    redux_xor, redux_xor_b32, |a, b| a ^ b;
}

redux! { i32;
    redux_add, redux_add_u32, |a, b| a.wrapping_add(b);
    redux_min, redux_min_s32, |a, b| a.min(b);
    redux_max, redux_max_s32, |a, b| a.max(b);
    redux_and, redux_and_b32, |a, b| a & b;
    redux_or, redux_or_b32, |a, b| a | b;
    redux_xor, redux_xor_b32, |a, b| a ^ b;
}

macro_rules! redux_methods {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        impl Lanes { $(
            $(#[$doc])*
            ///
            /// One instruction (sm_80); segments are not regarded.
            #[inline(always)]
            #[cfg_attr(not(raddle_device), track_caller)]
            pub fn $name<T: Redux>(self, value: T) -> T {
                value.$name(self)
            }
        )* }
    };
}

redux_methods! {
    /// The wrapping sum over the set: `__reduce_add_sync`, PTX `redux.sync.add`.
    redux_add;
    /// The least value: `__reduce_min_sync`, PTX `redux.sync.min`.
    redux_min;
    /// The greatest value: `__reduce_max_sync`, PTX `redux.sync.max`.
    redux_max;
    /// The bitwise and: `__reduce_and_sync`, PTX `redux.sync.and`.
    redux_and;
    /// The bitwise or: `__reduce_or_sync`, PTX `redux.sync.or`.
    redux_or;
    /// The bitwise exclusive or: `__reduce_xor_sync`, PTX `redux.sync.xor`.
    redux_xor;
}
