//! Where the fields of a struct lie, asked for in three ways: what the compiler says,
//! how far the fields' addresses are from the struct's, and which bytes change when the
//! fields are written. Programs of the area `layout` return these; compiled for the
//! device too (`kernels.rs` includes it).

/// What `layout!` finds: size and alignment, `offset_of!` of the fields, the distances
/// of their addresses, and a hash of the struct's bytes.
pub type Layout = [u64; 4];

/// Appends an offset to those packed so far.
#[inline(always)]
pub fn pack(places: u64, offset: usize) -> u64 {
    places.rotate_left(8) ^ offset as u64
}

/// FNV-1a of a value's bytes, read one by one from memory.
///
/// # Safety
///
/// `len` bytes at `start` are initialised.
pub unsafe fn hash(start: *const u8, len: usize) -> u64 {
    (0..len).fold(0xcbf2_9ce4_8422_2325, |hash, i| {
        // SAFETY: by the caller's contract.
        let byte = unsafe { start.add(i).read_volatile() };
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The [`Layout`] of a struct, whose fields get the given values; bytes between them
/// are zero. Fields of a struct inside are named one by one, since a copy of it would
/// leave the bytes between them open. It is the second of two in an array, so that its stride counts as well.
macro_rules! layout {
    ($ty:ty { $($($field:tt).+: $value:expr),+ $(,)? }) => {{
        let mut pair = core::mem::MaybeUninit::<[$ty; 2]>::zeroed();
        let first = pair.as_mut_ptr();
        let bytes = size_of::<$ty>();
        // SAFETY: both structs are in the array, whose bytes are all initialised, and
        // fields are written without regard to alignment.
        unsafe {
            let one = &raw mut (*first)[1];
            let (mut stated, mut found) = (0, 0);
            $(
                let field = &raw mut (*one).$($field).+;
                stated = $crate::kernels::probe::pack(stated, core::mem::offset_of!($ty, $($field).+));
                found = $crate::kernels::probe::pack(found, field.addr() - one.addr());
                field.write_unaligned($value);
            )+
            let stride = one.addr() - first.addr();
            let sizes = (stride as u64) << 32 | (bytes as u64) << 16 | align_of::<$ty>() as u64;
            [sizes, stated, found, $crate::kernels::probe::hash(one.cast(), bytes)]
        }
    }};
}
pub(crate) use layout;
