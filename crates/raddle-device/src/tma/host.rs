//! Tensor maps of the CPU device: the spec itself lies in the 128 bytes, and
//! loads and stores walk the box, or the column of pixels, element by element.

use core::mem::offset_of;

use super::spec::{
    IM2COL_AXES_MAX, OutOfBoundsFill, RANK_MAX, TensorElement, TensorMapSpec, corner_bits,
};
use super::{Mbarrier, TensorMap, TensorMapError};
use crate::float::{bf16, f16, tf32};
use crate::matrix::Swizzle;

/// What a CPU device's [`TensorMap`] holds.
#[derive(Clone, Copy)]
#[repr(C)]
struct HostMap {
    magic: u64,
    address: u64,
    strides_bytes: [u64; RANK_MAX - 1],
    /// One less than each dimension, since 2^32 is allowed.
    dims_less_one: [u32; RANK_MAX],
    box_dims: [u16; RANK_MAX],
    element_strides: [u8; RANK_MAX],
    rank: u8,
    element: u8,
    swizzle: u8,
    fill: u8,
    /// Whether the box is channels times pixels, between these corners.
    is_im2col: u8,
    lower: [i16; IM2COL_AXES_MAX],
    upper: [i16; IM2COL_AXES_MAX],
}
const _: () = assert!(size_of::<HostMap>() <= size_of::<TensorMap>());
const _: () = assert!(offset_of!(HostMap, magic) == 0);

/// "RADLTMAP" in ASCII.
const MAGIC: u64 = u64::from_le_bytes(*b"RADLTMAP");
/// Alignment that loads and stores ask of shared memory.
const SHARED_ALIGN: usize = 128;

impl TensorMap {
    /// The map of `spec` for the tensor at `address`, for kernels on the CPU device.
    ///
    /// ## Errors
    ///
    /// The address is not aligned to 16 bytes.
    pub fn for_cpu(spec: &TensorMapSpec, address: u64) -> Result<Self, TensorMapError> {
        spec.check_address(address)?;
        let mut map = HostMap {
            magic: MAGIC,
            address,
            strides_bytes: [0; RANK_MAX - 1],
            dims_less_one: [0; RANK_MAX],
            box_dims: [1; RANK_MAX],
            element_strides: [1; RANK_MAX],
            rank: spec.rank() as u8,
            element: spec.element() as u8,
            swizzle: spec.swizzle() as u8,
            fill: spec.fill() as u8,
            is_im2col: spec.is_im2col().into(),
            lower: [0; IM2COL_AXES_MAX],
            upper: [0; IM2COL_AXES_MAX],
        };
        map.strides_bytes[..spec.rank() - 1].copy_from_slice(spec.strides_bytes());
        for (axis, dim) in spec.dims().iter().enumerate() {
            map.dims_less_one[axis] = (dim - 1) as u32;
            map.element_strides[axis] = spec.element_strides()[axis] as u8;
        }
        for (to, dim) in map.box_dims.iter_mut().zip(spec.box_dims()) {
            *to = *dim as u16;
        }
        if let Some((lower, upper)) = spec.im2col_corners() {
            for axis in 0..lower.len() {
                (map.lower[axis], map.upper[axis]) = (lower[axis] as i16, upper[axis] as i16);
            }
        }
        let mut tensor_map = Self::from_words([0; 16]);
        // SAFETY: a host map is smaller than the words and needs no more alignment.
        unsafe { (&raw mut tensor_map).cast::<HostMap>().write(map) };
        Ok(tensor_map)
    }

    /// What is in the map.
    #[track_caller]
    fn decode(&self, rank: usize, is_im2col: bool) -> HostMap {
        assert!(self.words[0] == MAGIC, "this tensor map was not made for the CPU device");
        // SAFETY: the magic says that `for_cpu` wrote a host map.
        let map = unsafe { *(&raw const *self).cast::<HostMap>() };
        assert!(
            rank == map.rank as usize,
            "expected {} coordinates for this tensor map, found {rank}",
            map.rank
        );
        match (map.is_im2col == 1, is_im2col) {
            (true, false) => panic!("this tensor map is for im2col loads, and for nothing else"),
            (false, true) => panic!("an im2col load takes an im2col map, found a tiled one"),
            _ => map,
        }
    }
}

/// Where a load begins.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    map: &'a TensorMap,
    at: &'a [i32],
    /// Of an im2col load.
    offsets: Option<&'a [u16]>,
}

impl<'a> Source<'a> {
    pub(super) fn tiled(map: &'a TensorMap, at: &'a [i32]) -> Self {
        Self { map, at, offsets: None }
    }

    pub(super) fn im2col(map: &'a TensorMap, at: &'a [i32], offsets: &'a [u16]) -> Self {
        Self { map, at, offsets: Some(offsets) }
    }

    #[track_caller]
    fn decode(&self) -> HostMap {
        self.map.decode(self.at.len(), self.offsets.is_some())
    }
}

impl HostMap {
    fn element_bytes(&self) -> usize {
        ELEMENTS[self.element as usize].bytes() as usize
    }

    /// Elements of the box along each axis.
    fn box_len(&self) -> [usize; RANK_MAX] {
        let strides = if self.is_im2col == 1 { [1; RANK_MAX] } else { self.element_strides };
        core::array::from_fn(|axis| usize::from(self.box_dims[axis]).div_ceil(strides[axis].into()))
    }

    /// What the hardware asks of a box's begin.
    #[track_caller]
    fn check_begin(&self, at: &[i32]) {
        let bytes = i64::from(at[0]) * self.element_bytes() as i64;
        assert!(
            bytes % 16 == 0,
            "tensor copy: expected a box that begins at a multiple of 16 bytes along axis 0, \
             found coordinate {}, {bytes} bytes",
            at[0]
        );
    }

    /// Bytes from one row of the box in shared memory to the next: a swizzled row
    /// takes its whole span.
    fn row_bytes(&self) -> usize {
        match SWIZZLES[self.swizzle as usize] {
            Swizzle::None => self.box_len()[0] * self.element_bytes(),
            swizzle => swizzle.span_bytes() as usize,
        }
    }

    /// Where an element of the box lies in `shared`.
    fn place(&self, shared: *mut u8, row: usize, column: usize) -> *mut u8 {
        let linear = shared.wrapping_add(row * self.row_bytes() + column * self.element_bytes());
        let chunks = SWIZZLES[self.swizzle as usize].span_bytes() as usize / 16;
        let swizzled = linear.addr() ^ (((linear.addr() >> 7) & (chunks - 1)) << 4);
        linear.wrapping_add(swizzled.wrapping_sub(linear.addr()))
    }

    /// Where the element at these coordinates lies in the tensor; null out of bounds.
    fn element_at(&self, coordinates: &[i64]) -> *mut u8 {
        let mut address = self.address as usize;
        for (axis, coordinate) in coordinates.iter().enumerate() {
            if !(0..=i64::from(self.dims_less_one[axis])).contains(coordinate) {
                return core::ptr::null_mut();
            }
            let stride = match axis {
                0 => self.element_bytes() as u64,
                _ => self.strides_bytes[axis - 1],
            };
            address += *coordinate as usize * stride as usize;
        }
        core::ptr::with_exposed_provenance_mut(address)
    }

    /// Calls `visit` with each element of the box at `at`: its address in `shared`
    /// and in the tensor, the latter null if it lies out of bounds.
    fn visit(&self, shared: *mut u8, at: &[i32], mut visit: impl FnMut(*mut u8, *mut u8)) {
        let len = self.box_len();
        let mut coordinates = [0; RANK_MAX];
        for index in 0..len.iter().product() {
            let mut rest = index;
            for (axis, begin) in at.iter().enumerate() {
                let step = (rest % len[axis] * usize::from(self.element_strides[axis])) as i64;
                rest /= len[axis];
                coordinates[axis] = i64::from(*begin) + step;
            }
            let place = self.place(shared, index / len[0], index % len[0]);
            visit(place, self.element_at(&coordinates[..at.len()]));
        }
    }

    /// Calls `visit` with each element of the column of pixels that begins at `at`, as
    /// [`visit`](Self::visit) does.
    fn visit_pixels(
        &self,
        shared: *mut u8,
        at: &[i32],
        offsets: &[u16],
        mut visit: impl FnMut(*mut u8, *mut u8),
    ) {
        let [channels, pixels, ..] = self.box_len();
        let images = at.len() - 1;
        let mut position = [0; RANK_MAX];
        for (to, from) in position.iter_mut().zip(at) {
            *to = i64::from(*from);
        }
        for pixel in 0..pixels {
            let mut coordinates = position;
            for (axis, offset) in offsets.iter().enumerate() {
                coordinates[axis + 1] += i64::from(*offset);
            }
            for channel in 0..channels {
                coordinates[0] = position[0] + channel as i64;
                visit(self.place(shared, pixel, channel), self.element_at(&coordinates[..=images]));
            }
            // One pixel on: along width, at its end to the next row, and so on.
            let axis = (1..images).find(|&axis| {
                position[axis] += i64::from(self.element_strides[axis]);
                let is_inside = position[axis] <= self.last_position(axis);
                if !is_inside {
                    position[axis] = i64::from(self.lower[axis - 1]);
                }
                is_inside
            });
            position[images] += i64::from(axis.is_none());
        }
    }

    /// The largest coordinate of an im2col load along a spatial axis.
    fn last_position(&self, axis: usize) -> i64 {
        i64::from(self.dims_less_one[axis]) + i64::from(self.upper[axis - 1])
    }

    /// What the hardware asks of an im2col load.
    #[track_caller]
    fn check_im2col(&self, at: &[i32], offsets: &[u16]) {
        for (i, &offset) in offsets.iter().enumerate() {
            let (found, lower) = (i64::from(at[i + 1]), i64::from(self.lower[i]));
            let last = self.last_position(i + 1);
            assert!(
                (lower..=last).contains(&found),
                "im2col load: expected a coordinate from {lower} to {last} along axis {}, found {found}",
                i + 1
            );
            let limit = 1u32 << corner_bits(at.len());
            assert!(
                u32::from(offset) < limit,
                "im2col load: expected an offset below {limit} along axis {}, found {offset}",
                i + 1
            );
        }
    }

    /// Bytes that a load counts at its barrier.
    fn box_bytes(&self) -> u32 {
        (self.box_len().iter().product::<usize>() * self.element_bytes()) as u32
    }
}

/// # Safety
///
/// As for [`super::tma_load`].
#[track_caller]
pub(super) unsafe fn load(shared: *mut u8, source: Source<'_>, barrier: &Mbarrier) {
    let map = source.decode();
    // SAFETY: by the caller's contract.
    unsafe { fill_box(&map, shared, &source) };
    barrier.complete_tx(map.box_bytes());
}

/// # Safety
///
/// As for [`super::tma_load_multicast`].
#[track_caller]
pub(super) unsafe fn load_multicast(
    shared: *mut u8,
    source: Source<'_>,
    barrier: &Mbarrier,
    blocks: u16,
) {
    let map = source.decode();
    for rank in (0..16).filter(|rank| blocks >> rank & 1 == 1) {
        // SAFETY: by the caller's contract the cluster has a block of this rank.
        let (there, counter) = unsafe {
            let counter = (&raw const *barrier).cast_mut();
            (crate::cluster::cluster_map(shared, rank), crate::cluster::cluster_map(counter, rank))
        };
        // SAFETY: by the caller's contract.
        unsafe { fill_box(&map, there, &source) };
        // SAFETY: the barrier in the same place of that block.
        unsafe { &*counter }.complete_tx(map.box_bytes());
    }
}

/// # Safety
///
/// `shared` has room for the box.
#[track_caller]
unsafe fn fill_box(map: &HostMap, shared: *mut u8, source: &Source<'_>) {
    check_shared(shared);
    map.check_begin(source.at);
    let bytes = map.element_bytes();
    let element = ELEMENTS[map.element as usize];
    let fill = if map.fill == OutOfBoundsFill::NanForFma as u8 { 0xff } else { 0 };
    let fill_element = |place: *mut u8, tensor: *mut u8| {
        // SAFETY: both are elements of the box and of the tensor.
        unsafe {
            match tensor.is_null() {
                true => place.write_bytes(fill, bytes),
                false => place.copy_from_nonoverlapping(tensor, bytes),
            }
            if element == TensorElement::Tf32 {
                let value = place.cast::<f32>();
                value.write(tf32::from_f32(value.read()).to_f32());
            }
        }
    };
    match source.offsets {
        None => map.visit(shared, source.at, fill_element),
        Some(offsets) => {
            map.check_im2col(source.at, offsets);
            map.visit_pixels(shared, source.at, offsets, fill_element);
        }
    }
}

/// # Safety
///
/// As for [`super::tma_store`].
#[track_caller]
pub(super) unsafe fn store(shared: *const u8, map: &TensorMap, at: &[i32]) {
    let map = check_store(shared, map, at);
    let bytes = map.element_bytes();
    map.visit(shared.cast_mut(), at, |place, tensor| {
        if !tensor.is_null() {
            // SAFETY: both are elements of the box and of the tensor.
            unsafe { tensor.copy_from_nonoverlapping(place, bytes) };
        }
    });
}

/// # Safety
///
/// As for [`super::tma_add`].
#[track_caller]
pub(super) unsafe fn add(shared: *const u8, map: &TensorMap, at: &[i32]) {
    /// One addition at a time, since blocks run in parallel.
    static ADDING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let map = check_store(shared, map, at);
    let element = ELEMENTS[map.element as usize];
    let _guard = ADDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    map.visit(shared.cast_mut(), at, |place, tensor| {
        if !tensor.is_null() {
            // SAFETY: both are elements of the box and of the tensor.
            unsafe { add_element(element, tensor, place) };
        }
    });
}

/// # Safety
///
/// Both point to an element.
#[track_caller]
unsafe fn add_element(element: TensorElement, to: *mut u8, from: *const u8) {
    macro_rules! add {
        ($ty:ty, |$a:ident, $b:ident| $sum:expr) => {
            // SAFETY: by the caller's contract; tensors are aligned.
            unsafe {
                let ($a, $b) = (to.cast::<$ty>().read(), from.cast::<$ty>().read());
                to.cast::<$ty>().write($sum);
            }
        };
    }
    match element {
        TensorElement::U32 | TensorElement::I32 => add!(u32, |a, b| a.wrapping_add(b)),
        TensorElement::U64 | TensorElement::I64 => add!(u64, |a, b| a.wrapping_add(b)),
        TensorElement::F16 => add!(f16, |a, b| a + b),
        TensorElement::Bf16 => add!(bf16, |a, b| a + b),
        TensorElement::F32 | TensorElement::Tf32 => add!(f32, |a, b| a + b),
        TensorElement::F64 => add!(f64, |a, b| a + b),
        TensorElement::U8 | TensorElement::U16 => {
            panic!("tma_add: elements of {} bits cannot be added", 8 * element.bytes())
        }
    }
}

/// # Safety
///
/// Both are valid for `bytes` bytes.
#[track_caller]
pub(super) unsafe fn bulk(to: *mut u8, from: *const u8, bytes: u32) {
    for (what, found) in
        [("target", to.addr()), ("source", from.addr()), ("length", bytes as usize)]
    {
        assert!(found.is_multiple_of(16), "bulk copy: {what} {found:#x} is not a multiple of 16");
    }
    // SAFETY: by the caller's contract.
    unsafe { to.copy_from_nonoverlapping(from, bytes as usize) };
}

/// The map of a store that keeps the hardware's rules.
#[track_caller]
fn check_store(shared: *const u8, map: &TensorMap, at: &[i32]) -> HostMap {
    check_shared(shared);
    let map = map.decode(at.len(), false);
    map.check_begin(at);
    if let Some((axis, found)) = at.iter().enumerate().find(|(_, at)| **at < 0) {
        panic!(
            "tensor copy: a store begins at no negative coordinate, found {found} along axis {axis}"
        );
    }
    map
}

#[track_caller]
fn check_shared(shared: *const u8) {
    assert!(
        shared.addr().is_multiple_of(SHARED_ALIGN),
        "tensor copy: shared address {shared:p} is not a multiple of {SHARED_ALIGN}"
    );
}

/// By their numbers; 10 (`f32` with flushed subnormals) is never made.
const ELEMENTS: [TensorElement; 12] = [
    TensorElement::U8,
    TensorElement::U16,
    TensorElement::U32,
    TensorElement::I32,
    TensorElement::U64,
    TensorElement::I64,
    TensorElement::F16,
    TensorElement::F32,
    TensorElement::F64,
    TensorElement::Bf16,
    TensorElement::F32,
    TensorElement::Tf32,
];
const SWIZZLES: [Swizzle; 4] = [Swizzle::None, Swizzle::Span32, Swizzle::Span64, Swizzle::Span128];
