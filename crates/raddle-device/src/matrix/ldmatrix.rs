//! `ldmatrix` and `stmatrix`: 8×8 matrices of 16-bit elements between shared
//! memory and the fragments of a warp.
//!
//! Lane `8 * m + r` gives the address of row `r` of matrix `m`: 16 bytes, aligned
//! to 16. Register `m` of lane `l` then holds elements `2 * (l % 4)` and
//! `2 * (l % 4) + 1` of row `l / 4`, or, transposed, of column `l / 4`. Four
//! matrices make an A fragment of `mma.sync` m16n8k16, two a B fragment.
//!
//! The calls are *aligned*: all lanes of the warp make them together.
//!
//! *Source*: PTX ISA, "ldmatrix" (`sm_75`) and "stmatrix" (`sm_90`).

#[cfg(not(raddle_device))]
use core::panic::Location;

#[cfg(raddle_device)]
use crate::shared::shared_address;

intrinsics! {
    LDMATRIX, "Warp Level Matrix Multiply-Accumulate Instructions: ldmatrix, stmatrix";
    fn load_x1(fragment: *mut [u32; 1], row: u32) = "raddle.asm.c.v:=r*1,r,~{memory}:ldmatrix.sync.aligned.m8n8.x1.shared.b16 {$0}, [$1];", sm 75, ptx 65;
    fn load_x2(fragment: *mut [u32; 2], row: u32) = "raddle.asm.c.v:=r*2,r,~{memory}:ldmatrix.sync.aligned.m8n8.x2.shared.b16 {$0, $1}, [$2];", sm 75, ptx 65;
    fn load_x4(fragment: *mut [u32; 4], row: u32) = "raddle.asm.c.v:=r*4,r,~{memory}:ldmatrix.sync.aligned.m8n8.x4.shared.b16 {$0, $1, $2, $3}, [$4];", sm 75, ptx 65;
    fn load_x1_trans(fragment: *mut [u32; 1], row: u32) = "raddle.asm.c.v:=r*1,r,~{memory}:ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {$0}, [$1];", sm 75, ptx 65;
    fn load_x2_trans(fragment: *mut [u32; 2], row: u32) = "raddle.asm.c.v:=r*2,r,~{memory}:ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {$0, $1}, [$2];", sm 75, ptx 65;
    fn load_x4_trans(fragment: *mut [u32; 4], row: u32) = "raddle.asm.c.v:=r*4,r,~{memory}:ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {$0, $1, $2, $3}, [$4];", sm 75, ptx 65;
    fn store_x1(row: u32, fragment: *const [u32; 1]) = "raddle.asm.c.v:r,r*1,~{memory}:stmatrix.sync.aligned.m8n8.x1.shared.b16 [$0], {$1};", sm 90, ptx 78;
    fn store_x2(row: u32, fragment: *const [u32; 2]) = "raddle.asm.c.v:r,r*2,~{memory}:stmatrix.sync.aligned.m8n8.x2.shared.b16 [$0], {$1, $2};", sm 90, ptx 78;
    fn store_x4(row: u32, fragment: *const [u32; 4]) = "raddle.asm.c.v:r,r*4,~{memory}:stmatrix.sync.aligned.m8n8.x4.shared.b16 [$0], {$1, $2, $3, $4};", sm 90, ptx 78;
    fn store_x1_trans(row: u32, fragment: *const [u32; 1]) = "raddle.asm.c.v:r,r*1,~{memory}:stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [$0], {$1};", sm 90, ptx 78;
    fn store_x2_trans(row: u32, fragment: *const [u32; 2]) = "raddle.asm.c.v:r,r*2,~{memory}:stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [$0], {$1, $2};", sm 90, ptx 78;
    fn store_x4_trans(row: u32, fragment: *const [u32; 4]) = "raddle.asm.c.v:r,r*4,~{memory}:stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [$0], {$1, $2, $3, $4};", sm 90, ptx 78;
}

macro_rules! transfers {
    ($($load:ident $store:ident $count:literal $trans:literal $device_load:ident $device_store:ident $words:literal;)*) => { $(
        #[doc = concat!("Reads ", $words, ". PTX `ldmatrix`, `sm_75`.")]
        ///
        /// # Safety
        ///
        #[doc = concat!("In each of the first ", stringify!($count), " × 8 lanes `row` points to 16 bytes of")]
        /// this block's shared memory, aligned to 16, that nobody writes meanwhile;
        /// all 32 lanes of the warp make the call.
        #[inline(always)]
        #[must_use]
        #[cfg_attr(not(raddle_device), track_caller)]
        pub unsafe fn $load<T>(row: *const T) -> [u32; $count] {
            #[cfg(raddle_device)]
            {
                let mut fragment = [0; $count];
                // SAFETY: by the caller's contract.
                unsafe { $device_load(&raw mut fragment, shared_address(row)) };
                fragment
            }
            #[cfg(not(raddle_device))]
            // SAFETY: by the caller's contract.
            unsafe {
                load::<$count>(row.cast(), $trans, Location::caller())
            }
        }

        #[doc = concat!("Writes ", $words, ". PTX `stmatrix`, `sm_90`.")]
        ///
        /// # Safety
        ///
        #[doc = concat!("In each of the first ", stringify!($count), " × 8 lanes `row` points to 16 bytes of")]
        /// this block's shared memory, aligned to 16, that nobody else accesses
        /// meanwhile; all 32 lanes of the warp make the call.
        #[inline(always)]
        #[cfg_attr(not(raddle_device), track_caller)]
        pub unsafe fn $store<T>(row: *mut T, fragment: [u32; $count]) {
            #[cfg(raddle_device)]
            // SAFETY: by the caller's contract.
            unsafe {
                $device_store(shared_address(row), &raw const fragment);
            }
            #[cfg(not(raddle_device))]
            // SAFETY: by the caller's contract.
            unsafe {
                store(row.cast(), fragment, $trans, Location::caller());
            }
        }
    )* };
}

transfers! {
    ldmatrix_x1 stmatrix_x1 1 false load_x1 store_x1 "an 8×8 matrix";
    ldmatrix_x2 stmatrix_x2 2 false load_x2 store_x2 "two 8×8 matrices";
    ldmatrix_x4 stmatrix_x4 4 false load_x4 store_x4 "four 8×8 matrices";
    ldmatrix_x1_trans stmatrix_x1_trans 1 true load_x1_trans store_x1_trans "an 8×8 matrix, transposed";
    ldmatrix_x2_trans stmatrix_x2_trans 2 true load_x2_trans store_x2_trans "two 8×8 matrices, transposed";
    ldmatrix_x4_trans stmatrix_x4_trans 4 true load_x4_trans store_x4_trans "four 8×8 matrices, transposed";
}

/// Bytes of a matrix row.
#[cfg(not(raddle_device))]
const ROW_BYTES: usize = 16;

/// Each lane offers its row and picks its elements out of all rows, so that no
/// shared memory is read after a lane has left the call.
#[cfg(not(raddle_device))]
unsafe fn load<const N: usize>(
    row: *const u8,
    is_transposed: bool,
    at: &'static Location<'static>,
) -> [u32; N] {
    let lane = crate::index::lane() as usize;
    let mut mine = [0u8; ROW_BYTES];
    if lane < 8 * N {
        assert!(
            row.addr().is_multiple_of(ROW_BYTES),
            "ldmatrix: row address {row:p} is not aligned to 16"
        );
        // SAFETY: the caller's row.
        unsafe { row.copy_to_nonoverlapping(mine.as_mut_ptr(), ROW_BYTES) };
    }
    let mut rows = [0u8; 32 * ROW_BYTES];
    crate::host::engine().warp_collect(u32::MAX, &mine, &mut rows, at);
    let element = |matrix: usize, row: usize, column: usize| {
        let start = (8 * matrix + row) * ROW_BYTES + 2 * column;
        u32::from(u16::from_le_bytes([rows[start], rows[start + 1]]))
    };
    core::array::from_fn(|matrix| {
        let (line, first) = (lane / 4, lane % 4 * 2);
        if is_transposed {
            element(matrix, first, line) | element(matrix, first + 1, line) << 16
        } else {
            element(matrix, line, first) | element(matrix, line, first + 1) << 16
        }
    })
}

/// Each lane offers its fragment; the lanes that own a row put it together.
#[cfg(not(raddle_device))]
unsafe fn store<const N: usize>(
    row: *mut u8,
    fragment: [u32; N],
    is_transposed: bool,
    at: &'static Location<'static>,
) {
    let mut mine = [0u8; 4 * 4];
    for (bytes, word) in mine.chunks_exact_mut(4).zip(fragment) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    let mut fragments = [0u8; 32 * 4 * 4];
    crate::host::engine().warp_collect(u32::MAX, &mine, &mut fragments, at);
    let lane = crate::index::lane() as usize;
    if lane >= 8 * N {
        return;
    }
    assert!(
        row.addr().is_multiple_of(ROW_BYTES),
        "stmatrix: row address {row:p} is not aligned to 16"
    );
    let (matrix, line) = (lane / 8, lane % 8);
    for column in 0..8 {
        let (r, c) = if is_transposed { (column, line) } else { (line, column) };
        let start = (4 * r + c / 2) * 16 + 4 * matrix + c % 2 * 2;
        // SAFETY: the caller's row has 8 elements of 2 bytes.
        unsafe { row.add(2 * column).copy_from_nonoverlapping(fragments[start..].as_ptr(), 2) };
    }
}
