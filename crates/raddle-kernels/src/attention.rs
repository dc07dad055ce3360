//! Scaled dot-product attention in one launch: `softmax(scale * q kᵀ + mask) v` for each
//! head, with sums in f32 and without the scores in memory.
//!
//! See `kernels/attention.rs` for how it is computed. Operands have 16 bits, or 32 that are
//! multiplied as tf32; powers are rounded to the operands' type before they meet the values.

use raddle::device::matrix::Swizzle;
use raddle::device::tma::{L2Promotion, TensorMapSpec, TensorType};
use raddle::device::{DeviceType, F32x4, bf16, f16};
use raddle::{Grid, Plain, Slice, SliceMut, Stream};

use crate::dense::Words;
use crate::error::check_len;
use crate::kernels::attention::{self as device, Numbers, groups, warps};
use crate::{Error, Result};

const OPERATION: &str = "an attention";
/// Elements of the largest heads.
const SIZE_MAX: usize = 128;
/// Bytes of keys and values that are worked on at a time, so that they stay in L2.
const SECTION_BYTES: usize = 16 << 20;

/// How an operand lies in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// `[image, head, row, element]`.
    #[default]
    Heads,
    /// `[image, row, head, element]`.
    Rows,
    /// Elements from an image, a head and a row to the next, as in a larger value that an
    /// operand is cut out of: whole chunks of 16 bytes. No output lies so.
    Steps([usize; 3]),
}

impl Layout {
    /// From an image, a head and a row to the next.
    fn steps(self, heads: usize, rows: usize, size: usize) -> [usize; 3] {
        let image = heads * rows * size;
        match self {
            Self::Heads => [image, rows * size, size],
            Self::Rows => [image, size, heads * size],
            Self::Steps(steps) => steps,
        }
    }
}

/// The shape of an attention, and what it does with scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// Images, or sequences: entries of the batch.
    pub images: usize,
    /// Heads of queries, and of keys and values; each of the latter serves as many queries'
    /// heads as all others.
    pub heads: [usize; 2],
    /// Queries and keys.
    pub lens: [usize; 2],
    /// Elements of a query or key, and of a value.
    pub sizes: [usize; 2],
    /// How queries, keys, values and the output lie.
    pub layouts: [Layout; 4],
    /// What scores are multiplied by.
    pub scale: f32,
    /// Whether query `i` sees the keys up to `past + i` only.
    pub is_causal: bool,
    /// Keys from before the first query.
    pub past: usize,
}

/// What is done to scores before they become probabilities; the steps from an image, a
/// query's head, a query and a key to the next are in elements, zero where one serves all.
#[derive(Clone, Copy)]
pub enum Mask<'a, T: DeviceType> {
    /// Keys with a zero byte take no part.
    Bool(Slice<'a, u8>, [usize; 4]),
    /// Numbers that are added.
    Added(Slice<'a, T>, [usize; 4]),
}

/// What a mask of words is; see [`Mask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskKind {
    /// Bytes.
    Bool,
    /// Numbers of the operands' type.
    Added,
}

/// The kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Products by warps, on any GPU.
    Warps,
    /// Products by warpgroups, of 16 bits on a GPU of compute capability 9.0.
    Groups,
}

impl Attention {
    /// The kernel that computes it on a device, if there is one for the element type.
    #[must_use]
    pub fn method<T: Element>(&self, stream: &Stream) -> Option<Method> {
        let is_hopper = stream.device().compute_capability().is_none_or(|(major, _)| major == 9);
        let method = if T::HAS_GROUPS && is_hopper { Method::Groups } else { Method::Warps };
        self.check::<T>().is_ok().then_some(method)
    }

    /// Images, heads and rows of an operand.
    fn rows(&self, operand: usize) -> [usize; 3] {
        let side = usize::from(operand == 1 || operand == 2);
        [self.images, self.heads[side], self.lens[side]]
    }

    /// Elements of a row of an operand.
    fn size(&self, operand: usize) -> usize {
        self.sizes[operand / 2]
    }

    fn steps(&self) -> [[usize; 3]; 4] {
        [0, 1, 2, 3].map(|i| {
            let [_, heads, rows] = self.rows(i);
            self.layouts[i].steps(heads, rows, self.size(i))
        })
    }

    /// Elements from the first one of an operand to behind its last one; `None` for more than
    /// can be counted.
    fn checked_len(&self, operand: usize) -> Option<usize> {
        let size = self.size(operand);
        let rows = self.rows(operand);
        let all = rows.iter().try_fold(size, |all, &dim| all.checked_mul(dim))?;
        let Layout::Steps(steps) = self.layouts[operand] else { return Some(all) };
        rows.iter()
            .zip(steps)
            .try_fold(size, |reach, (&dim, step)| reach.checked_add((dim - 1).checked_mul(step)?))
    }

    /// The same for all, of what was checked.
    fn lens_of_operands(&self) -> [usize; 4] {
        [0, 1, 2, 3].map(|i| self.checked_len(i).expect("what was checked can be counted"))
    }

    /// Holds the shape against what kernels have.
    fn check<T: Element>(&self) -> Result<()> {
        let unfit = |why: String| Err(Error::Shape { operation: OPERATION, why });
        let chunk = 16 / size_of::<T>();
        let [heads, cache_heads] = self.heads;
        let all = [self.images, heads, cache_heads, self.lens[0], self.lens[1]];
        let most = i32::MAX as usize / 2 - 1024;
        if all.contains(&0) || self.past > most || !heads.is_multiple_of(cache_heads) {
            return unfit(format!("expected heads in groups and nothing empty, found {self:?}"));
        }
        let is_fit = |&size: &usize| size > 0 && size <= SIZE_MAX && size.is_multiple_of(chunk);
        if !self.sizes.iter().all(is_fit) {
            let sizes = self.sizes;
            return unfit(format!(
                "expected heads of at most {SIZE_MAX} elements in {chunk}s, found {sizes:?}"
            ));
        }
        if !(self.scale > 0.0 && self.scale.is_finite()) {
            return unfit(format!("expected a positive scale, found {}", self.scale));
        }
        let is_countable = all.iter().all(|&n| n <= most)
            && (0..4).all(|i| self.checked_len(i).is_some_and(|len| len <= most));
        if !is_countable {
            return unfit(format!("expected at most {most} elements of an operand: {self:?}"));
        }
        let lies_in_chunks = |layout: &Layout| match layout {
            Layout::Steps(steps) => {
                steps.iter().all(|&step| step > 0 && step <= most && step.is_multiple_of(chunk))
            }
            Layout::Heads | Layout::Rows => true,
        };
        let [.., out] = self.layouts;
        if matches!(out, Layout::Steps(_)) || !self.layouts.iter().all(lies_in_chunks) {
            let layouts = self.layouts;
            return unfit(format!("expected steps of whole {chunk}s, found {layouts:?}"));
        }
        Ok(())
    }

    fn numbers<T: DeviceType>(&self, mask: Option<&Mask<'_, T>>) -> Numbers {
        let steps = self.steps().map(|steps| steps.map(|step| step as u32));
        let (kind, mask_steps) = match mask {
            None => (device::MASK_NONE, [0; 4]),
            Some(Mask::Bool(_, steps)) => (device::MASK_BOOL, *steps),
            Some(Mask::Added(_, steps)) => (device::MASK_ADDED, *steps),
        };
        let heads = self.images * self.heads[0];
        let group = self.heads[0] / self.heads[1];
        let bytes = self.lens[1] * (self.sizes[0] + self.sizes[1]) * size_of::<T>();
        let section = (SECTION_BYTES / bytes.max(1) * group).clamp(1, heads);
        Numbers {
            heads: heads as u32,
            image_heads: self.heads[0] as u32,
            group: group as u32,
            queries: self.lens[0] as u32,
            keys: self.lens[1] as u32,
            sizes: self.sizes.map(|size| size as u32),
            q_steps: steps[0],
            k_steps: steps[1],
            v_steps: steps[2],
            out_steps: steps[3],
            mask_steps: mask_steps.map(|step| step as u32),
            mask: kind,
            is_causal: u32::from(self.is_causal),
            past: self.past as u32,
            section: section as u32,
            scale: self.scale * std::f32::consts::LOG2_E,
        }
    }

    /// Whether the kernels for small heads have it.
    fn is_small(&self) -> bool {
        self.sizes[0].max(self.sizes[1]) <= 64
    }
}

/// Computes an attention: `out` is of the queries' rows with the values' sizes.
///
/// ## Errors
/// [`Error::Shape`] for what no kernel has, [`Error::Length`] for operands that do not fit;
/// what a launch refuses.
pub fn attend<T: Element>(
    stream: &Stream,
    attention: &Attention,
    operands: [Slice<'_, T>; 3],
    mask: Option<Mask<'_, T>>,
    out: SliceMut<'_, T>,
) -> Result<()> {
    attention.check::<T>()?;
    let Some(method) = attention.method::<T>(stream) else {
        unreachable!("what was checked has a kernel")
    };
    attend_by(method, stream, attention, operands, mask, out)
}

/// [`attend`] for dense values: words, and the element of them that an operand begins with.
///
/// ## Errors
/// As there.
pub fn attend_words<T: Element>(
    stream: &Stream,
    attention: &Attention,
    operands: [(Slice<'_, u64>, usize); 3],
    mask: Option<(MaskKind, Slice<'_, u64>, [usize; 4])>,
) -> Result<Words> {
    attention.check::<T>()?;
    let lens = attention.lens_of_operands();
    let of = |i: usize| {
        let (words, first) = operands[i];
        Ok::<_, Error>(words.reinterpret::<T>()?.slice(first..first.saturating_add(lens[i]))?)
    };
    let operands = [of(0)?, of(1)?, of(2)?];
    let mask = mask.map(|(kind, words, steps)| {
        Ok::<_, Error>(match kind {
            MaskKind::Bool => Mask::Bool(words.reinterpret()?, steps),
            MaskKind::Added => Mask::Added(words.reinterpret()?, steps),
        })
    });
    let mask = mask.transpose()?;
    // SAFETY: the kernels write each element.
    let mut out: Words = unsafe { stream.uninitialized((lens[3] * size_of::<T>()).div_ceil(8)) }?;
    let elements = out.as_slice_mut().reinterpret_mut::<T>()?.slice_mut(..lens[3])?;
    attend(stream, attention, operands, mask, elements)?;
    Ok(out)
}

/// [`attend`] by a kernel.
///
/// ## Errors
/// As there; [`Error::Capability`] for a device without its instructions.
pub fn attend_by<T: Element>(
    method: Method,
    stream: &Stream,
    attention: &Attention,
    operands: [Slice<'_, T>; 3],
    mask: Option<Mask<'_, T>>,
    out: SliceMut<'_, T>,
) -> Result<()> {
    attention.check::<T>()?;
    let lens = attention.lens_of_operands();
    for (i, what) in ["queries", "keys", "values"].into_iter().enumerate() {
        check_len(OPERATION, what, lens[i], operands[i].len())?;
        // Rows are copied in whole chunks, which have to be aligned.
        operands[i].reinterpret::<F32x4>()?;
    }
    check_len(OPERATION, "the output", lens[3], out.len())?;
    let out = out.reinterpret_mut::<F32x4>()?.reinterpret_mut::<T>()?;
    let mask_bytes = match &mask {
        None => operands[0].reinterpret::<u8>()?,
        Some(Mask::Bool(bytes, steps)) => {
            attention.check_mask(bytes.len(), steps)?;
            *bytes
        }
        Some(Mask::Added(numbers, steps)) => {
            attention.check_mask(numbers.len(), steps)?;
            numbers.reinterpret::<u8>()?
        }
    };
    let numbers = attention.numbers(mask.as_ref());
    let launch = Launch { stream, attention, numbers, operands, mask: mask_bytes };
    match method {
        Method::Warps => T::by_warps(launch, out),
        Method::Groups => {
            let device = stream.device();
            if device.compute_capability().is_some_and(|(major, _)| major != 9) {
                let (needed, device) = ("9.0", device.to_string());
                return Err(Error::Capability { operation: OPERATION, needed, device });
            }
            T::by_groups(launch, out)
        }
    }
}

impl Attention {
    /// Holds the last element that a mask's steps reach against its length.
    fn check_mask(&self, len: usize, steps: &[usize; 4]) -> Result<()> {
        let dims = [self.images, self.heads[0], self.lens[0], self.lens[1]];
        let reach = dims.iter().zip(steps).try_fold(0usize, |reach, (&dim, &step)| {
            reach.checked_add((dim - 1).checked_mul(step)?)
        });
        match reach {
            Some(reach) if reach < len && reach < u32::MAX as usize => Ok(()),
            _ => {
                let expected = reach.map_or(usize::MAX, |reach| reach.saturating_add(1));
                Err(Error::Length { operation: OPERATION, what: "the mask", expected, found: len })
            }
        }
    }
}

/// What a launch is made of.
#[doc(hidden)]
pub struct Launch<'a, T: DeviceType> {
    stream: &'a Stream,
    attention: &'a Attention,
    numbers: Numbers,
    operands: [Slice<'a, T>; 3],
    mask: Slice<'a, u8>,
}

impl<T: TensorType + Plain> Launch<'_, T> {
    /// The map of an operand with boxes of so many rows.
    fn map(&self, operand: usize, rows: usize) -> Result<raddle::Tensor<'_>> {
        let of = self.attention;
        let [images, heads, len] = of.rows(operand);
        let dims = [of.size(operand), len, heads, images];
        let [image, head, row] = of.steps()[operand].map(|step| (step * size_of::<T>()) as u64);
        let dims = dims.map(|dim| dim as u64);
        let box_dims = [groups::SPAN as u32, rows as u32, 1, 1];
        let spec = TensorMapSpec::tiled(T::ELEMENT, &dims, &[row, head, image], &box_dims)
            .and_then(|spec| spec.with_swizzle(Swizzle::Span128))
            .map(|spec| spec.with_l2_promotion(L2Promotion::Bytes256));
        let spec = spec.map_err(|error| {
            let why = error.to_string();
            Error::Shape { operation: OPERATION, why }
        })?;
        Ok(self.operands[operand].tensor(&spec)?)
    }

    fn maps(&self) -> Result<[raddle::Tensor<'_>; 3]> {
        Ok([self.map(0, groups::QUERIES)?, self.map(1, groups::KEYS)?, self.map(2, groups::KEYS)?])
    }
}

/// An element type that kernels exist for.
pub trait Element: Plain + DeviceType {
    /// Whether there are kernels by warpgroups.
    #[doc(hidden)]
    const HAS_GROUPS: bool;

    #[doc(hidden)]
    fn by_warps(launch: Launch<'_, Self>, out: SliceMut<'_, Self>) -> Result<()>;

    #[doc(hidden)]
    fn by_groups(launch: Launch<'_, Self>, out: SliceMut<'_, Self>) -> Result<()>;
}

/// Launches kernels that take all operands as they are.
macro_rules! launch_warps {
    ($launch:ident, $out:ident, $grid:expr, $kernel:expr) => {{
        let [q, k, v] = $launch.operands;
        // SAFETY: lengths and alignments are held against the numbers.
        let call = unsafe { $kernel($launch.numbers, q, k, v, $launch.mask, $out) };
        $launch.stream.launch($grid, call)?;
        Ok(())
    }};
}

macro_rules! halves {
    ($($ty:ident),*) => { $(
        impl Element for $ty {
            const HAS_GROUPS: bool = true;

            fn by_warps(launch: Launch<'_, Self>, out: SliceMut<'_, Self>) -> Result<()> {
                let size = if launch.attention.is_small() { 64 } else { SIZE_MAX };
                let grid = Grid::new(launch.numbers.tiles(warps::QUERIES), warps::THREADS)
                    .shared_bytes(warps::shared_bytes(size));
                match size {
                    64 => launch_warps!(launch, out, grid, warps::attend_64::<Self>),
                    _ => launch_warps!(launch, out, grid, warps::attend_128::<Self>),
                }
            }

            fn by_groups(launch: Launch<'_, Self>, out: SliceMut<'_, Self>) -> Result<()> {
                let size = if launch.attention.is_small() { 64 } else { SIZE_MAX };
                // Each block takes tiles until there are none left.
                let tiles = launch.numbers.tiles(groups::QUERIES);
                let blocks = launch.stream.device().multiprocessor_count().clamp(1, tiles);
                let shared = groups::shared_bytes(size);
                let grid = Grid::new(blocks, groups::THREADS).shared_bytes(shared);
                let [q, k, v] = launch.maps()?;
                macro_rules! launch {
                    ($kernel:expr) => {{
                        // SAFETY: the maps are held against the operands, lengths against
                        // the numbers.
                        let call = unsafe { $kernel(q, k, v, launch.numbers, launch.mask, out) };
                        launch.stream.launch(grid, call)?;
                    }};
                }
                match size {
                    64 => launch!(groups::attend_64::<Self>),
                    _ => launch!(groups::attend_128::<Self>),
                }
                Ok(())
            }
        }
    )* };
}
halves!(f16, bf16);

/// Multiplied as tf32.
impl Element for f32 {
    const HAS_GROUPS: bool = false;

    fn by_warps(launch: Launch<'_, Self>, out: SliceMut<'_, Self>) -> Result<()> {
        let size = if launch.attention.is_small() { 64 } else { SIZE_MAX };
        let grid = Grid::new(launch.numbers.tiles(warps::QUERIES_TF32), warps::THREADS)
            .shared_bytes(warps::shared_bytes_tf32(size));
        match size {
            64 => launch_warps!(launch, out, grid, warps::attend_tf32_64),
            _ => launch_warps!(launch, out, grid, warps::attend_tf32_128),
        }
    }

    fn by_groups(_: Launch<'_, Self>, _: SliceMut<'_, Self>) -> Result<()> {
        let why = "there is no kernel by warpgroups for f32".to_owned();
        Err(Error::Shape { operation: OPERATION, why })
    }
}
