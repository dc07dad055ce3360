//! What the host bodies of copies, tensor maps and tiles refuse, and how they say
//! it. That they compute the right thing is tested on every device in
//! `tests/tensor`.

use raddle_device::matrix::{Swizzle, ldmatrix_x1};
use raddle_device::mbarrier::Mbarrier;
use raddle_device::shared;
use raddle_device::tile::Matrix;
use raddle_device::tma::{
    Im2colAxis, TensorElement, TensorMap, TensorMapSpec, tma_add, tma_load, tma_load_im2col,
    tma_store,
};

use crate::harness::{Shape, block_of};

/// What a launch of one thread says when `kernel` panics.
#[track_caller]
fn refusal(shape: Shape, kernel: impl Fn() + Sync) -> String {
    match shape.try_run(kernel) {
        Ok(_) => panic!("the kernel was expected to fail"),
        Err(fault) => fault.to_string(),
    }
}

#[track_caller]
fn assert_says(message: &str, expected: &str) {
    assert!(message.contains(expected), "expected {expected:?} in {message:?}");
}

/// Where boxes lie in these tests.
#[repr(C, align(128))]
struct Window([u32; 256]);

fn map_of(words: &[u32], dims: &[u64], box_dims: &[u32]) -> TensorMap {
    let spec = TensorMapSpec::dense(TensorElement::U32, dims, box_dims).unwrap();
    TensorMap::for_cpu(&spec, words.as_ptr() as u64).unwrap()
}

/// A loading kernel of one thread.
fn load<const RANK: usize>(map: &TensorMap, at: [i32; RANK], offset: usize) {
    let window = shared!(Window).as_ptr().cast::<u32>();
    let mut barriers = shared!([Mbarrier; 1]);
    let barriers = barriers.init_mbarriers(|_| 1);
    // SAFETY: the boxes of these tests fit, or the load is refused.
    unsafe { tma_load(window.add(offset), map, at, &barriers[0]) };
}

#[test]
fn loads_that_hopper_refuses() {
    let words = vec![0u32; 1024];
    let map = map_of(&words, &[32, 32], &[8, 8]);
    assert_says(
        &refusal(block_of(1), || load(&map, [3, 0], 0)),
        "expected a box that begins at a multiple of 16 bytes along axis 0, found coordinate 3, 12 bytes",
    );
    assert_says(
        &refusal(block_of(1), || load(&map, [0], 0)),
        "expected 2 coordinates for this tensor map, found 1",
    );
    assert_says(&refusal(block_of(1), || load(&map, [0, 0], 4)), "is not a multiple of 128");
    let foreign = TensorMap::from_words([7; 16]);
    assert_says(
        &refusal(block_of(1), || load(&foreign, [0, 0], 0)),
        "this tensor map was not made for the CPU device",
    );
}

#[test]
fn im2col_loads_that_hopper_refuses() {
    let words = vec![0u32; 4096];
    let axes = [Im2colAxis { lower: -1, upper: -1, stride: 1 }; 2];
    let spec = TensorMapSpec::im2col_dense(TensorElement::U32, &[8, 8, 8, 8], &axes, 8, 8).unwrap();
    let map = TensorMap::for_cpu(&spec, words.as_ptr() as u64).unwrap();
    let tiled = map_of(&words, &[8, 8, 8, 8], &[8, 8, 1, 1]);
    let load_pixels = |map: &TensorMap, at: [i32; 4], offsets: [u16; 2]| {
        let window = shared!(Window).as_ptr();
        let mut barriers = shared!([Mbarrier; 1]);
        let barriers = barriers.init_mbarriers(|_| 1);
        // SAFETY: the column fits, or the load is refused.
        unsafe { tma_load_im2col(window, map, at, offsets, &barriers[0]) };
    };
    assert_says(
        &refusal(block_of(1), || load_pixels(&map, [0, 7, 0, 0], [0, 0])),
        "expected a coordinate from -1 to 6 along axis 1, found 7",
    );
    assert_says(
        &refusal(block_of(1), || load_pixels(&map, [0, 0, -2, 0], [0, 0])),
        "expected a coordinate from -1 to 6 along axis 2, found -2",
    );
    assert_says(
        &refusal(block_of(1), || load_pixels(&map, [0, 0, 0, 0], [0, 256])),
        "expected an offset below 256 along axis 2, found 256",
    );
    assert_says(
        &refusal(block_of(1), || load_pixels(&tiled, [0, 0, 0, 0], [0, 0])),
        "an im2col load takes an im2col map, found a tiled one",
    );
    assert_says(
        &refusal(block_of(1), || load(&map, [0, 0, 0, 0], 0)),
        "this tensor map is for im2col loads, and for nothing else",
    );
}

#[test]
fn stores_that_hopper_refuses() {
    let words = vec![0u32; 1024];
    let map = map_of(&words, &[32, 32], &[8, 8]);
    let store = |at: [i32; 2]| {
        let window = shared!(Window).as_ptr();
        // SAFETY: the box fits, or the store is refused.
        unsafe { tma_store(&map, at, window) };
    };
    assert_says(
        &refusal(block_of(1), || store([0, -1])),
        "a store begins at no negative coordinate, found -1 along axis 1",
    );
    let spec = TensorMapSpec::dense(TensorElement::U8, &[128, 32], &[32, 8])
        .and_then(|spec| spec.with_swizzle(Swizzle::Span32))
        .unwrap();
    let bytes = TensorMap::for_cpu(&spec, words.as_ptr() as u64).unwrap();
    let add = || {
        let window = shared!(Window).as_ptr();
        // SAFETY: the addition is refused.
        unsafe { tma_add(&bytes, [0, 0], window) };
    };
    assert_says(&refusal(block_of(1), add), "elements of 8 bits cannot be added");
}

#[test]
fn rows_of_matrices_are_aligned() {
    let misaligned = || {
        let window = shared!(Window).as_ptr().cast::<u32>();
        // SAFETY: the row is refused.
        let _ = unsafe { ldmatrix_x1(window.add(1)) };
    };
    assert_says(&refusal(block_of(32), misaligned), "is not aligned to 16");
    #[repr(align(16))]
    struct Aligned([f32; 64]);
    let elements = Aligned([0.0; 64]);
    let matrix = |len: usize, rows, cols| {
        let _ = Matrix::new(&elements.0[..len], rows, cols);
    };
    assert_says(
        &refusal(block_of(1), || matrix(64, 8, 9)),
        "a matrix has as many elements as rows times columns",
    );
    assert_says(
        &refusal(block_of(1), || matrix(60, 10, 6)),
        "rows of a matrix begin at multiples of 16 bytes",
    );
}
