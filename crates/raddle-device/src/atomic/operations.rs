//! The atomic instructions: one function for each operation and type, generic
//! over order and scope, and the table rows of all their forms.

use super::order::{Kind, Order};
use super::scope::Scope;
use crate::param::DeviceType;

/// Loads, stores, swaps and addition of one type.
pub trait Operations: DeviceType {
    /// Whether both have the same bits.
    fn same_bits(a: Self, b: Self) -> bool;
    /// The value that addition undoes.
    fn negated(value: Self) -> Self;
    /// # Safety
    ///
    /// `cell` is live, aligned, and accessed atomically only; so for all below.
    unsafe fn load<O: Order, S: Scope>(cell: *mut Self) -> Self;
    /// # Safety
    ///
    /// As [`load`](Self::load).
    unsafe fn store<O: Order, S: Scope>(cell: *mut Self, value: Self);
    /// # Safety
    ///
    /// As [`load`](Self::load).
    unsafe fn swap<O: Order, S: Scope>(cell: *mut Self, value: Self) -> Self;
    /// # Safety
    ///
    /// As [`load`](Self::load).
    unsafe fn compare_swap<O: Order, S: Scope>(cell: *mut Self, old: Self, new: Self) -> Self;
    /// # Safety
    ///
    /// As [`load`](Self::load).
    unsafe fn add<O: Order, S: Scope>(cell: *mut Self, value: Self) -> Self;
}

/// The operations that only integers have.
pub trait IntegerOperations: Operations {
    /// # Safety
    ///
    /// As [`Operations::load`].
    unsafe fn min<O: Order, S: Scope>(cell: *mut Self, value: Self) -> Self;
    /// # Safety
    ///
    /// As [`Operations::load`].
    unsafe fn max<O: Order, S: Scope>(cell: *mut Self, value: Self) -> Self;
    /// # Safety
    ///
    /// As [`Operations::load`].
    unsafe fn and<O: Order, S: Scope>(cell: *mut Self, value: Self) -> Self;
    /// # Safety
    ///
    /// As [`Operations::load`].
    unsafe fn or<O: Order, S: Scope>(cell: *mut Self, value: Self) -> Self;
    /// # Safety
    ///
    /// As [`Operations::load`].
    unsafe fn xor<O: Order, S: Scope>(cell: *mut Self, value: Self) -> Self;
}

/// Calls `$form!(order, scope; rest)` for the form that `O` and `S` name. The
/// constant decides before code is made, so that the other arms, among them
/// orders that an instruction does not have, are never compiled.
#[cfg(raddle_device)]
macro_rules! choose_form {
    ($o:ident, $s:ident, $form:ident!($($rest:tt)*)) => {
        match const { $o::KIND as u8 * 4 + $s::KIND as u8 } {
            0 => $form!("relaxed", "cta"; $($rest)*),
            1 => $form!("relaxed", "cluster"; $($rest)*),
            2 => $form!("relaxed", "gpu"; $($rest)*),
            3 => $form!("relaxed", "sys"; $($rest)*),
            4 => $form!("acquire", "cta"; $($rest)*),
            5 => $form!("acquire", "cluster"; $($rest)*),
            6 => $form!("acquire", "gpu"; $($rest)*),
            7 => $form!("acquire", "sys"; $($rest)*),
            8 => $form!("release", "cta"; $($rest)*),
            9 => $form!("release", "cluster"; $($rest)*),
            10 => $form!("release", "gpu"; $($rest)*),
            11 => $form!("release", "sys"; $($rest)*),
            12 => $form!("acq_rel", "cta"; $($rest)*),
            13 => $form!("acq_rel", "cluster"; $($rest)*),
            14 => $form!("acq_rel", "gpu"; $($rest)*),
            _ => $form!("acq_rel", "sys"; $($rest)*),
        }
    };
}

/// One instruction, called.
#[cfg(raddle_device)]
macro_rules! call {
    ($order:literal, $scope:literal; $before:expr, $after:expr; $cell:ident; ($($arg:ident: $ty:ty),*) -> $ret:ty) => {{
        #[allow(improper_ctypes)]
        unsafe extern "C" {
            #[link_name = concat!($before, $order, ".", $scope, $after)]
            fn raddle_asm(cell: u64 $(, $arg: $ty)*) -> $ret;
        }
        // SAFETY: by the caller's contract.
        unsafe { raddle_asm($cell as u64 $(, $arg)*) }
    }};
}

/// The rows of one operation's forms in the given orders.
#[cfg(not(raddle_device))]
macro_rules! rows {
    ($name:ident, $before:expr, $after:expr; $($order:literal)*) => {
        &[$(
            rows!(@ $name, $before, $after, $order, "cta", 70, 60),
            rows!(@ $name, $before, $after, $order, "cluster", 90, 78),
            rows!(@ $name, $before, $after, $order, "gpu", 70, 60),
            rows!(@ $name, $before, $after, $order, "sys", 70, 60),
        )*]
    };
    (@ $name:ident, $before:expr, $after:expr, $order:literal, $scope:literal, $sm:literal, $ptx:literal) => {
        crate::table::Intrinsic {
            name: stringify!($name),
            link: concat!($before, $order, ".", $scope, $after),
            architecture: $sm,
            ptx: $ptx,
            section: "Parallel Synchronization and Communication Instructions: atom; ld, st",
        }
    };
}

/// Declares one operation: the two halves of the link name around
/// `order.scope`, the orders it has, and its host body.
macro_rules! operation {
    ($table:ident, $name:ident($cell:ident: *mut $ty:ty $(, $arg:ident)*) -> $ret:ty, $before:expr, $after:expr, [$($order:literal)*], $host:expr) => {
        #[cfg(not(raddle_device))]
        const $table: &[crate::table::Intrinsic] = rows!($name, $before, $after; $($order)*);

        /// # Safety
        ///
        /// As [`Operations::load`].
        #[inline(always)]
        #[cfg_attr(not(raddle_device), track_caller)]
        // The host bodies have one order and scope.
        #[allow(clippy::extra_unused_type_parameters)]
        pub(super) unsafe fn $name<O: Order, S: Scope>($cell: *mut $ty $(, $arg: $ty)*) -> $ret {
            #[cfg(raddle_device)]
            {
                choose_form!(O, S, call!($before, $after; $cell; ($($arg: $ty),*) -> $ret))
            }
            #[cfg(not(raddle_device))]
            // SAFETY: by the caller's contract.
            unsafe {
                $host
            }
        }
    };
}

/// Declares loads, stores, swaps and compare-and-swaps of one width.
macro_rules! bits_operations {
    ($ty:ty, $class:literal, $suffix:literal; $($name:ident: $table:ident),*) => {
        bits_operations!(@ $ty, $class, $suffix; $($name, $table),*);
    };
    (@ $ty:ty, $class:literal, $suffix:literal; $relaxed:ident, $relaxeds:ident, $acquire:ident, $acquires:ident, $store:ident, $stores:ident, $swap:ident, $swaps:ident, $cas:ident, $cass:ident) => {
        operation!($relaxeds, $relaxed(cell: *mut $ty) -> $ty,
            concat!("raddle.asm.v:=", $class, ",l,~{memory}:ld."), concat!(".", $suffix, " $0, [$1];"),
            ["relaxed"], host::Word::load(cell));
        // Marked convergent, as what waits for other threads is: the mark tells the
        // CPU device that the kernel's threads need each other.
        operation!($acquires, $acquire(cell: *mut $ty) -> $ty,
            concat!("raddle.asm.c.v:=", $class, ",l,~{memory}:ld."), concat!(".", $suffix, " $0, [$1];"),
            ["acquire"], host::Word::load(cell));
        operation!($stores, $store(cell: *mut $ty, value) -> (),
            concat!("raddle.asm.v:l,", $class, ",~{memory}:st."), concat!(".", $suffix, " [$0], $1;"),
            ["relaxed" "release"], host::Word::store(cell, value));
        operation!($swaps, $swap(cell: *mut $ty, value) -> $ty,
            concat!("raddle.asm.v:=", $class, ",l,", $class, ",~{memory}:atom."),
            concat!(".exch.", $suffix, " $0, [$1], $2;"),
            ["relaxed" "acquire" "release" "acq_rel"], host::Word::swap(cell, value));
        operation!($cass, $cas(cell: *mut $ty, old, new) -> $ty,
            concat!("raddle.asm.v:=", $class, ",l,", $class, ",", $class, ",~{memory}:atom."),
            concat!(".cas.", $suffix, " $0, [$1], $2, $3;"),
            ["relaxed" "acquire" "release" "acq_rel"], host::Word::compare_swap(cell, old, new));
    };
}

bits_operations!(u32, "r", "b32"; relaxed_b32: RELAXED_B32, acquire_b32: ACQUIRE_B32, store_b32: STORE_B32, swap_b32: SWAP_B32, cas_b32: CAS_B32);
bits_operations!(u64, "l", "b64"; relaxed_b64: RELAXED_B64, acquire_b64: ACQUIRE_B64, store_b64: STORE_B64, swap_b64: SWAP_B64, cas_b64: CAS_B64);

/// Declares read-modify-write operations of one type: name, PTX operation, and
/// the new value from the old one and the operand.
macro_rules! updates {
    ($ty:ty, $class:literal; $($name:ident: $table:ident = $op:literal, |$old:ident, $value:ident| $new:expr;)*) => { $(
        operation!($table, $name(cell: *mut $ty, $value) -> $ty,
            concat!("raddle.asm.v:=", $class, ",l,", $class, ",~{memory}:atom."),
            concat!(".", $op, " $0, [$1], $2;"),
            ["relaxed" "acquire" "release" "acq_rel"],
            host::Word::update(cell, |$old: $ty| $new));
    )* };
}

updates! { u32, "r";
    add_u32: ADD_U32 = "add.u32", |old, value| old.wrapping_add(value);
    min_u32: MIN_U32 = "min.u32", |old, value| old.min(value);
    max_u32: MAX_U32 = "max.u32", |old, value| old.max(value);
    and_b32: AND_B32 = "and.b32", |old, value| old & value;
    or_b32: OR_B32 = "or.b32", |old, value| old | value;
    xor_b32: XOR_B32 = "xor.b32", |old, value| old ^ value;
    inc_u32: INC_U32 = "inc.u32", |old, last| if old >= last { 0 } else { old + 1 };
    dec_u32: DEC_U32 = "dec.u32", |old, last| if old == 0 || old > last { last } else { old - 1 };
}

updates! { i32, "r";
    min_s32: MIN_S32 = "min.s32", |old, value| old.min(value);
    max_s32: MAX_S32 = "max.s32", |old, value| old.max(value);
}

updates! { u64, "l";
    add_u64: ADD_U64 = "add.u64", |old, value| old.wrapping_add(value);
    min_u64: MIN_U64 = "min.u64", |old, value| old.min(value);
    max_u64: MAX_U64 = "max.u64", |old, value| old.max(value);
    and_b64: AND_B64 = "and.b64", |old, value| old & value;
    or_b64: OR_B64 = "or.b64", |old, value| old | value;
    xor_b64: XOR_B64 = "xor.b64", |old, value| old ^ value;
}

updates! { i64, "l";
    min_s64: MIN_S64 = "min.s64", |old, value| old.min(value);
    max_s64: MAX_S64 = "max.s64", |old, value| old.max(value);
}

updates! { f32, "f";
    add_f32: ADD_F32 = "add.f32", |old, value| old + value;
}

updates! { f64, "d";
    add_f64: ADD_F64 = "add.f64", |old, value| old + value;
}

/// The rows of all forms.
#[cfg(not(raddle_device))]
pub const OPERATIONS: &[crate::table::Intrinsic] =
    &crate::table::joined::<{ crate::table::count(GROUPS) }>(GROUPS);

#[cfg(not(raddle_device))]
#[rustfmt::skip]
const GROUPS: &[&[crate::table::Intrinsic]] = &[
    RELAXED_B32, ACQUIRE_B32, STORE_B32, SWAP_B32, CAS_B32,
    RELAXED_B64, ACQUIRE_B64, STORE_B64, SWAP_B64, CAS_B64,
    ADD_U32, MIN_U32, MAX_U32, AND_B32, OR_B32, XOR_B32, INC_U32, DEC_U32, MIN_S32, MAX_S32,
    ADD_U64, MIN_U64, MAX_U64, AND_B64, OR_B64, XOR_B64, MIN_S64, MAX_S64, ADD_F32, ADD_F64,
];

/// Gives a type the operations of its width, with its own addition.
macro_rules! value {
    ($ty:ty as $bits:ty: $relaxed:ident $acquire:ident $store:ident $swap:ident $cas:ident;
     |$a:ident| $to_bits:expr, |$b:ident| $from_bits:expr, |$c:ident| $negated:expr;
     $add:ident as $sum:ty, |$d:ident| $to_sum:expr, |$e:ident| $from_sum:expr) => {
        impl Operations for $ty {
            #[inline(always)]
            fn same_bits(a: Self, b: Self) -> bool {
                let bits = |$a: $ty| -> $bits { $to_bits };
                bits(a) == bits(b)
            }
            #[inline(always)]
            fn negated($c: Self) -> Self {
                $negated
            }
            #[inline(always)]
            #[cfg_attr(not(raddle_device), track_caller)]
            unsafe fn load<O: Order, S: Scope>(cell: *mut Self) -> Self {
                // SAFETY: by the caller's contract; the width is the same.
                let $b = unsafe {
                    // Decided before code is made, like the forms.
                    if const { matches!(O::KIND, Kind::Acquire) } {
                        $acquire::<O, S>(cell.cast())
                    } else {
                        $relaxed::<O, S>(cell.cast())
                    }
                };
                $from_bits
            }
            #[inline(always)]
            #[cfg_attr(not(raddle_device), track_caller)]
            unsafe fn store<O: Order, S: Scope>(cell: *mut Self, $a: Self) {
                // SAFETY: by the caller's contract; the width is the same.
                unsafe { $store::<O, S>(cell.cast(), $to_bits) }
            }
            #[inline(always)]
            #[cfg_attr(not(raddle_device), track_caller)]
            unsafe fn swap<O: Order, S: Scope>(cell: *mut Self, $a: Self) -> Self {
                // SAFETY: by the caller's contract; the width is the same.
                let $b = unsafe { $swap::<O, S>(cell.cast(), $to_bits) };
                $from_bits
            }
            #[inline(always)]
            #[cfg_attr(not(raddle_device), track_caller)]
            unsafe fn compare_swap<O: Order, S: Scope>(
                cell: *mut Self,
                old: Self,
                new: Self,
            ) -> Self {
                let bits = |$a: $ty| -> $bits { $to_bits };
                // SAFETY: by the caller's contract; the width is the same.
                let $b = unsafe { $cas::<O, S>(cell.cast(), bits(old), bits(new)) };
                $from_bits
            }
            #[inline(always)]
            #[cfg_attr(not(raddle_device), track_caller)]
            unsafe fn add<O: Order, S: Scope>(cell: *mut Self, $d: Self) -> Self {
                // SAFETY: by the caller's contract; the width is the same.
                let $e: $sum = unsafe { $add::<O, S>(cell.cast(), $to_sum) };
                $from_sum
            }
        }
    };
}

value! { u32 as u32: relaxed_b32 acquire_b32 store_b32 swap_b32 cas_b32;
|a| a, |b| b, |c| c.wrapping_neg(); add_u32 as u32, |d| d, |e| e }
value! { i32 as u32: relaxed_b32 acquire_b32 store_b32 swap_b32 cas_b32;
|a| a.cast_unsigned(), |b| b.cast_signed(), |c| c.wrapping_neg();
add_u32 as u32, |d| d.cast_unsigned(), |e| e.cast_signed() }
value! { u64 as u64: relaxed_b64 acquire_b64 store_b64 swap_b64 cas_b64;
|a| a, |b| b, |c| c.wrapping_neg(); add_u64 as u64, |d| d, |e| e }
value! { i64 as u64: relaxed_b64 acquire_b64 store_b64 swap_b64 cas_b64;
|a| a.cast_unsigned(), |b| b.cast_signed(), |c| c.wrapping_neg();
add_u64 as u64, |d| d.cast_unsigned(), |e| e.cast_signed() }
value! { f32 as u32: relaxed_b32 acquire_b32 store_b32 swap_b32 cas_b32;
|a| a.to_bits(), |b| f32::from_bits(b), |c| -c; add_f32 as f32, |d| d, |e| e }
value! { f64 as u64: relaxed_b64 acquire_b64 store_b64 swap_b64 cas_b64;
|a| a.to_bits(), |b| f64::from_bits(b), |c| -c; add_f64 as f64, |d| d, |e| e }

/// Gives an integer type its further operations, some of which are those of the
/// unsigned type of its width.
macro_rules! integer {
    ($ty:ty: $($method:ident = $name:ident as $operand:ty),*) => {
        impl IntegerOperations for $ty { $(
            #[inline(always)]
            #[cfg_attr(not(raddle_device), track_caller)]
            unsafe fn $method<O: Order, S: Scope>(cell: *mut Self, value: Self) -> Self {
                // SAFETY: by the caller's contract; the width is the same.
                unsafe { $name::<O, S>(cell.cast::<$operand>(), value as $operand) as Self }
            }
        )* }
    };
}

integer! { u32: min = min_u32 as u32, max = max_u32 as u32,
and = and_b32 as u32, or = or_b32 as u32, xor = xor_b32 as u32 }
integer! { i32: min = min_s32 as i32, max = max_s32 as i32,
and = and_b32 as u32, or = or_b32 as u32, xor = xor_b32 as u32 }
integer! { u64: min = min_u64 as u64, max = max_u64 as u64,
and = and_b64 as u64, or = or_b64 as u64, xor = xor_b64 as u64 }
integer! { i64: min = min_s64 as i64, max = max_s64 as i64,
and = and_b64 as u64, or = or_b64 as u64, xor = xor_b64 as u64 }

#[cfg(not(raddle_device))]
mod host;
