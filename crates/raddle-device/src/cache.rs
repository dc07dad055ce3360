//! Loads, stores and prefetches that say what the caches should do, under the
//! names of CUDA's `__ldg`, `__ldcg`, `__ldcs`, `__stcs` and so on.
//!
//! A value of 1, 2, 4, 8 or 16 bytes, aligned to its size, moves by one
//! instruction; other types do not compile. Use a [`Vector`](crate::Vector) for
//! 16-byte accesses. The host bodies are plain accesses: hints change no value.
//!
//! *Source*: PTX ISA, "Cache Operators", "Cache Eviction Priority Hints", "ld",
//! "ld.global.nc", "st", "prefetch, prefetchu", "createpolicy".

#[cfg(raddle_device)]
use core::mem::{MaybeUninit, transmute_copy};

use crate::param::DeviceType;

/// Makes a module of one kind of load: a row for each access size, and
/// `load::<T>`, which picks one.
macro_rules! loads {
    ($module:ident, $head:literal, $clobber:literal, $operation:literal, sm $sm:literal, ptx $ptx:literal) => {
        pub(crate) mod $module {
            intrinsics! {
                ROWS, "ld, ld.global.nc";
                fn b8(address: u64) -> u16 = concat!($head, ":=h,l", $clobber, ":", $operation, ".b8 $0, [$1];"), sm $sm, ptx $ptx;
                fn b16(address: u64) -> u16 = concat!($head, ":=h,l", $clobber, ":", $operation, ".b16 $0, [$1];"), sm $sm, ptx $ptx;
                fn b32(address: u64) -> u32 = concat!($head, ":=r,l", $clobber, ":", $operation, ".b32 $0, [$1];"), sm $sm, ptx $ptx;
                fn b64(address: u64) -> u64 = concat!($head, ":=l,l", $clobber, ":", $operation, ".b64 $0, [$1];"), sm $sm, ptx $ptx;
                fn v4(value: *mut [u32; 4], address: u64) = concat!($head, ":=r*4,l", $clobber, ":", $operation, ".v4.b32 {$0, $1, $2, $3}, [$4];"), sm $sm, ptx $ptx;
            }

            /// # Safety
            ///
            /// `source` is valid for this kind of load.
            #[cfg(raddle_device)]
            #[inline(always)]
            pub(super) unsafe fn load<T: super::DeviceType>(source: *const T) -> T {
                const { super::assert_one_access::<T>() };
                let address = source as u64;
                // SAFETY: the caller's address; each arm's result has `T`'s size.
                unsafe {
                    match size_of::<T>() {
                        1 => super::transmute_copy(&(b8(address) as u8)),
                        2 => super::transmute_copy(&b16(address)),
                        4 => super::transmute_copy(&b32(address)),
                        8 => super::transmute_copy(&b64(address)),
                        _ => {
                            let mut words = super::MaybeUninit::<[u32; 4]>::uninit();
                            v4(words.as_mut_ptr(), address);
                            super::transmute_copy(&words)
                        }
                    }
                }
            }

            /// # Safety
            ///
            /// `source` is valid for reads.
            #[cfg(not(raddle_device))]
            #[inline]
            pub(super) unsafe fn load<T: super::DeviceType>(source: *const T) -> T {
                const { super::assert_one_access::<T>() };
                // SAFETY: by the caller's contract.
                unsafe { source.read() }
            }
        }
    };
}

/// Makes a module of one kind of store, like [`loads!`].
macro_rules! stores {
    ($module:ident, $operation:literal, sm $sm:literal, ptx $ptx:literal) => {
        pub(crate) mod $module {
            intrinsics! {
                ROWS, "st";
                fn b8(address: u64, value: u16) = concat!("raddle.asm.v:l,h,~{memory}:", $operation, ".b8 [$0], $1;"), sm $sm, ptx $ptx;
                fn b16(address: u64, value: u16) = concat!("raddle.asm.v:l,h,~{memory}:", $operation, ".b16 [$0], $1;"), sm $sm, ptx $ptx;
                fn b32(address: u64, value: u32) = concat!("raddle.asm.v:l,r,~{memory}:", $operation, ".b32 [$0], $1;"), sm $sm, ptx $ptx;
                fn b64(address: u64, value: u64) = concat!("raddle.asm.v:l,l,~{memory}:", $operation, ".b64 [$0], $1;"), sm $sm, ptx $ptx;
                fn v4(address: u64, value: *const [u32; 4]) = concat!("raddle.asm.v:l,r*4,~{memory}:", $operation, ".v4.b32 [$0], {$1, $2, $3, $4};"), sm $sm, ptx $ptx;
            }

            /// # Safety
            ///
            /// `target` is valid for this kind of store.
            #[cfg(raddle_device)]
            #[inline(always)]
            pub(super) unsafe fn store<T: super::DeviceType>(target: *mut T, value: T) {
                const { super::assert_one_access::<T>() };
                let address = target as u64;
                // SAFETY: the caller's address; each arm reads `T`'s size.
                unsafe {
                    match size_of::<T>() {
                        1 => b8(address, u16::from(super::transmute_copy::<T, u8>(&value))),
                        2 => b16(address, super::transmute_copy(&value)),
                        4 => b32(address, super::transmute_copy(&value)),
                        8 => b64(address, super::transmute_copy(&value)),
                        _ => v4(address, (&raw const value).cast()),
                    }
                }
            }

            /// # Safety
            ///
            /// `target` is valid for writes.
            #[cfg(not(raddle_device))]
            #[inline]
            pub(super) unsafe fn store<T: super::DeviceType>(target: *mut T, value: T) {
                const { super::assert_one_access::<T>() };
                // SAFETY: by the caller's contract.
                unsafe { target.write(value) };
            }
        }
    };
}

// Read-only loads depend on nothing but the address, so they may be merged and
// moved; the others stay in order with the memory accesses around them.
loads!(nc, "raddle.asm", "", "ld.global.nc", sm 35, ptx 31);
loads!(nc_no_allocate, "raddle.asm", "", "ld.global.nc.L1::no_allocate", sm 70, ptx 74);
loads!(cg, "raddle.asm.v", ",~{memory}", "ld.cg", sm 20, ptx 20);
loads!(cs, "raddle.asm.v", ",~{memory}", "ld.cs", sm 20, ptx 20);
loads!(cv, "raddle.asm.v", ",~{memory}", "ld.cv", sm 20, ptx 20);
loads!(evict_first, "raddle.asm.v", ",~{memory}", "ld.global.L1::evict_first", sm 70, ptx 74);
loads!(evict_last, "raddle.asm.v", ",~{memory}", "ld.global.L1::evict_last", sm 70, ptx 74);
stores!(store_cg_rows, "st.cg", sm 20, ptx 20);
stores!(store_cs_rows, "st.cs", sm 20, ptx 20);
stores!(store_wt_rows, "st.wt", sm 20, ptx 20);

intrinsics! {
    PREFETCHES, "prefetch, prefetchu";
    fn prefetch_line_l1(address: u64) = "raddle.asm.v:l:prefetch.L1 [$0];", sm 20, ptx 20;
    fn prefetch_line_l2(address: u64) = "raddle.asm.v:l:prefetch.L2 [$0];", sm 20, ptx 20;
    fn prefetch_line_l2_evict_last(address: u64) = "raddle.asm.v:l:prefetch.global.L2::evict_last [$0];", sm 80, ptx 74;
}

intrinsics! {
    POLICIES, "createpolicy";
    fn policy_evict_first() -> u64 = "raddle.asm:=l:createpolicy.fractional.L2::evict_first.b64 $0, 1.0;", sm 80, ptx 74;
    fn policy_evict_last() -> u64 = "raddle.asm:=l:createpolicy.fractional.L2::evict_last.b64 $0, 1.0;", sm 80, ptx 74;
    fn policy_evict_normal() -> u64 = "raddle.asm:=l:createpolicy.fractional.L2::evict_normal.b64 $0, 1.0;", sm 80, ptx 80;
}

/// Reads through the read-only data path: `__ldg`, PTX `ld.global.nc`.
///
/// # Safety
///
/// `source` points into global memory and is valid for reads, and no thread of
/// any kernel writes what it points to while this kernel runs.
#[inline(always)]
#[must_use]
pub unsafe fn load_nc<T: DeviceType>(source: *const T) -> T {
    // SAFETY: by the caller's contract.
    unsafe { nc::load(source) }
}

/// [`load_nc`] of data that is read once: it takes no place in L1. PTX
/// `ld.global.nc.L1::no_allocate`, `sm_70`.
///
/// # Safety
///
/// As for [`load_nc`].
#[inline(always)]
#[must_use]
pub unsafe fn load_nc_no_allocate<T: DeviceType>(source: *const T) -> T {
    // SAFETY: by the caller's contract.
    unsafe { nc_no_allocate::load(source) }
}

/// Reads past L1: `__ldcg`, PTX `ld.cg`.
#[inline(always)]
#[must_use]
pub fn load_cg<T: DeviceType>(source: &T) -> T {
    // SAFETY: a reference is valid for reads, wherever it points.
    unsafe { cg::load(source) }
}

/// Reads data that is likely used once: `__ldcs`, PTX `ld.cs`.
#[inline(always)]
#[must_use]
pub fn load_cs<T: DeviceType>(source: &T) -> T {
    // SAFETY: a reference is valid for reads, wherever it points.
    unsafe { cs::load(source) }
}

/// Reads from memory again, whatever the caches hold: `__ldcv`, PTX `ld.cv`.
#[inline(always)]
#[must_use]
pub fn load_cv<T: DeviceType>(source: &T) -> T {
    // SAFETY: a reference is valid for reads, wherever it points.
    unsafe { cv::load(source) }
}

/// Reads data that should leave L1 first. PTX `ld.global.L1::evict_first`,
/// `sm_70`.
///
/// # Safety
///
/// `source` points into global memory and is valid for reads.
#[inline(always)]
#[must_use]
pub unsafe fn load_evict_first<T: DeviceType>(source: *const T) -> T {
    // SAFETY: by the caller's contract.
    unsafe { evict_first::load(source) }
}

/// Reads data that should stay in L1 longest. PTX `ld.global.L1::evict_last`,
/// `sm_70`.
///
/// # Safety
///
/// `source` points into global memory and is valid for reads.
#[inline(always)]
#[must_use]
pub unsafe fn load_evict_last<T: DeviceType>(source: *const T) -> T {
    // SAFETY: by the caller's contract.
    unsafe { evict_last::load(source) }
}

/// Writes past L1: `__stcg`, PTX `st.cg`.
#[inline(always)]
pub fn store_cg<T: DeviceType>(target: &mut T, value: T) {
    // SAFETY: an exclusive reference is valid for writes, wherever it points.
    unsafe { store_cg_rows::store(target, value) };
}

/// Writes data that is not read again soon: `__stcs`, PTX `st.cs`.
#[inline(always)]
pub fn store_cs<T: DeviceType>(target: &mut T, value: T) {
    // SAFETY: an exclusive reference is valid for writes, wherever it points.
    unsafe { store_cs_rows::store(target, value) };
}

/// Writes through to system memory: `__stwt`, PTX `st.wt`.
#[inline(always)]
pub fn store_wt<T: DeviceType>(target: &mut T, value: T) {
    // SAFETY: an exclusive reference is valid for writes, wherever it points.
    unsafe { store_wt_rows::store(target, value) };
}

/// Brings the line of `data` into L1. PTX `prefetch.L1`.
#[inline(always)]
pub fn prefetch_l1<T>(data: *const T) {
    #[cfg(raddle_device)]
    // SAFETY: a prefetch of any address has no effect but on the caches.
    unsafe {
        prefetch_line_l1(data as u64);
    }
    #[cfg(not(raddle_device))]
    let _ = data;
}

/// Brings the line of `data` into L2. PTX `prefetch.L2`.
#[inline(always)]
pub fn prefetch_l2<T>(data: *const T) {
    #[cfg(raddle_device)]
    // SAFETY: a prefetch of any address has no effect but on the caches.
    unsafe {
        prefetch_line_l2(data as u64);
    }
    #[cfg(not(raddle_device))]
    let _ = data;
}

/// Brings the line of `data` into L2, to stay there longest. PTX
/// `prefetch.global.L2::evict_last`, `sm_80`.
///
/// # Safety
///
/// `data` points into global memory.
#[inline(always)]
pub unsafe fn prefetch_l2_evict_last<T>(data: *const T) {
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        prefetch_line_l2_evict_last(data as u64);
    }
    #[cfg(not(raddle_device))]
    let _ = data;
}

/// What L2 should do with the lines of a bulk copy.
///
/// *Source*: PTX ISA, "createpolicy" and "Cache Eviction Priority Hints",
/// `sm_80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachePolicy(u64);

impl CachePolicy {
    /// Lines leave L2 first: data that is read once.
    #[inline(always)]
    #[must_use]
    pub fn evict_first() -> Self {
        #[cfg(raddle_device)]
        // SAFETY: computes a number.
        return Self(unsafe { policy_evict_first() });
        #[cfg(not(raddle_device))]
        Self(1)
    }

    /// Lines stay in L2 longest: data that other blocks read again.
    #[inline(always)]
    #[must_use]
    pub fn evict_last() -> Self {
        #[cfg(raddle_device)]
        // SAFETY: computes a number.
        return Self(unsafe { policy_evict_last() });
        #[cfg(not(raddle_device))]
        Self(2)
    }

    /// The default.
    #[inline(always)]
    #[must_use]
    pub fn evict_normal() -> Self {
        #[cfg(raddle_device)]
        // SAFETY: computes a number.
        return Self(unsafe { policy_evict_normal() });
        #[cfg(not(raddle_device))]
        Self(0)
    }

    /// The operand of `.L2::cache_hint`.
    #[cfg(raddle_device)]
    #[inline(always)]
    pub(crate) fn operand(self) -> u64 {
        self.0
    }
}

/// Rejects, when a call is compiled, types that no single access moves.
const fn assert_one_access<T>() {
    assert!(
        matches!(size_of::<T>(), 1 | 2 | 4 | 8 | 16) && align_of::<T>() == size_of::<T>(),
        "a cache hint needs a type of 1, 2, 4, 8 or 16 bytes that is aligned to its size"
    );
}

#[cfg(all(test, not(raddle_device)))]
mod tests {
    use super::*;
    use crate::vector::F32x4;

    #[test]
    fn host_bodies_move_values() {
        let mut value = F32x4::new([1.0, 2.0, 3.0, 4.0]);
        // SAFETY: a live local that nobody writes.
        assert_eq!(unsafe { load_nc(&raw const value) }, value);
        assert_eq!(load_cs(&value), load_cg(&value));
        store_cs(&mut value, F32x4::splat(5.0));
        assert_eq!(load_cv(&value[3]), 5.0);
        let mut byte = 1u8;
        store_wt(&mut byte, 7);
        store_cg(&mut byte, 8);
        assert_eq!(byte, 8);
    }
}
