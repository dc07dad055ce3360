//! TMA and bulk copies.

use raddle::device::matrix::Swizzle;
use raddle::device::tma::*;
use raddle::{Grid, Stream};
use raddle_tensor_tests::kernels::tensors::*;

use crate::support::*;

/// What a load leaves in the window: the box row by row, swizzled, zeros out of
/// bounds, and the old bytes behind it.
fn expected_window(spec: &TensorMapSpec, at: &[i32], words: &[u32]) -> Vec<u32> {
    let size = spec.element().bytes() as usize;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut window = vec![0xaa; WINDOW];
    let lens: Vec<usize> = spec
        .box_dims()
        .iter()
        .zip(spec.element_strides())
        .map(|(dim, stride)| dim.div_ceil(*stride) as usize)
        .collect();
    for index in 0..lens.iter().product::<usize>() {
        let (mut rest, mut offset, mut is_inside) = (index, 0i64, true);
        for (axis, len) in lens.iter().enumerate() {
            let coordinate =
                i64::from(at[axis]) + (rest % len) as i64 * i64::from(spec.element_strides()[axis]);
            rest /= len;
            is_inside &= (0..spec.dims()[axis] as i64).contains(&coordinate);
            let stride = if axis == 0 { size as u64 } else { spec.strides_bytes()[axis - 1] };
            offset += coordinate * stride as i64;
        }
        let row_bytes = match spec.swizzle() {
            Swizzle::None => lens[0] * size,
            swizzle => swizzle.span_bytes() as usize,
        };
        let linear = index / lens[0] * row_bytes + index % lens[0] * size;
        let place = spec.swizzle().apply(linear as u32) as usize;
        let source =
            if is_inside { bytes[offset as usize..][..size].to_vec() } else { vec![0; size] };
        window[place..place + size].copy_from_slice(&source);
    }
    window.chunks_exact(4).map(|four| u32::from_le_bytes(four.try_into().unwrap())).collect()
}

macro_rules! check_load {
    ($kernel:ident, $spec:expr, $at:expr) => {{
        let (spec, at): (TensorMapSpec, _) = ($spec, $at);
        let words: Vec<u32> = (1..=spec.tensor_bytes().div_ceil(4) as u32)
            .map(|i| i.wrapping_mul(0x0101_0001))
            .collect();
        let expected = expected_window(&spec, &at, &words);
        on_each_device(HOPPER, |stream: &Stream| {
            let buffer = stream.upload(&words).unwrap();
            let tensor = buffer.tensor(&spec).unwrap();
            let mut first = stream.zeros::<u32>(WINDOW / 4).unwrap();
            // The kernel gives the XOR of two loads: the second one must equal the first.
            stream
                .launch(Grid::new(1, 64), $kernel(&tensor, at, spec.box_bytes(), &mut first))
                .unwrap();
            let found = first.to_vec().unwrap();
            let zeros = vec![0; WINDOW / 4];
            assert_same(&found, &zeros, &format!("hinted load differs: {spec:?} at {at:?}"));
            let mut window = stream.zeros::<u32>(WINDOW / 4).unwrap();
            let call = load_window(
                &tensor,
                padded(&at),
                spec.rank() as u32,
                spec.box_bytes(),
                &mut window,
            );
            stream.launch(Grid::new(1, 64), call).unwrap();
            assert_same(&window.to_vec().unwrap(), &expected, &format!("{spec:?} at {at:?}"));
        });
    }};
}

/// Coordinates with zeros behind them.
fn padded(at: &[i32]) -> [i32; 5] {
    std::array::from_fn(|i| at.get(i).copied().unwrap_or(0))
}

fn dense(dims: &[u64], box_dims: &[u32]) -> TensorMapSpec {
    TensorMapSpec::dense(TensorElement::U32, dims, box_dims).unwrap()
}

#[test]
fn loads_of_every_rank() {
    check_load!(load_1d, dense(&[1000], &[64]), [100]);
    check_load!(load_1d, dense(&[1000], &[64]), [972]);
    check_load!(load_2d, dense(&[64, 40], &[16, 8]), [8, 4]);
    check_load!(load_2d, dense(&[64, 40], &[16, 8]), [-8, 36]);
    check_load!(load_3d, dense(&[16, 10, 6], &[8, 4, 3]), [12, -2, 4]);
    check_load!(load_4d, dense(&[8, 6, 5, 4], &[4, 3, 2, 2]), [4, 4, 3, -1]);
    check_load!(load_5d, dense(&[8, 4, 3, 3, 3], &[4, 2, 2, 2, 2]), [4, 1, 2, -1, 1]);
}

#[test]
fn loads_with_every_swizzle() {
    for (swizzle, width) in [(Swizzle::Span32, 8), (Swizzle::Span64, 16), (Swizzle::Span128, 32)] {
        let spec = dense(&[64, 64], &[width, 32]).with_swizzle(swizzle).unwrap();
        check_load!(load_2d, spec, [4, 3]);
        check_load!(load_2d, spec, [60, 50]);
        // Rows narrower than the span are padded to it.
        let narrow = dense(&[64, 64], &[width / 2, 16]).with_swizzle(swizzle).unwrap();
        check_load!(load_2d, narrow, [0, 0]);
    }
    let promoted = dense(&[64, 64], &[32, 32])
        .with_swizzle(Swizzle::Span128)
        .unwrap()
        .with_l2_promotion(L2Promotion::Bytes256);
    check_load!(load_2d, promoted, [32, 32]);
}

#[test]
fn loads_with_strides() {
    // Rows of 64 elements, 80 apart.
    let spec = TensorMapSpec::tiled(TensorElement::U32, &[64, 20], &[320], &[16, 8]).unwrap();
    check_load!(load_2d, spec, [56, 15]);
    // Every second element along axis 1.
    let spec = dense(&[32, 40], &[16, 16]).with_element_strides(&[1, 2]).unwrap();
    check_load!(load_2d, spec, [16, 20]);
}

#[test]
fn stores_and_additions() {
    let spec = TensorMapSpec::dense(TensorElement::F32, &[32, 20], &[16, 8]).unwrap();
    let at = [24, 14];
    let before: Vec<f32> = (0..640).map(|i| i as f32 * 10.0).collect();
    for adds in [false, true] {
        let mut expected = before.clone();
        for index in 0..128 {
            let (column, row) = (at[0] + index % 16, at[1] + index / 16);
            if (0..32).contains(&column) && (0..20).contains(&row) {
                let place = &mut expected[(row * 32 + column) as usize];
                *place = index as f32 + 1.0 + if adds { *place } else { 0.0 };
            }
        }
        on_each_device(HOPPER, |stream: &Stream| {
            let mut buffer = stream.upload(&before).unwrap();
            let mut tensor = buffer.tensor_mut(&spec).unwrap();
            // SAFETY: one block writes, and the box fits in the window.
            let call = unsafe { store_2d(&mut tensor, at, 128, adds) };
            stream.launch(Grid::new(1, 64), call).unwrap();
            assert_same(&buffer.to_vec().unwrap(), &expected, &format!("store, adds: {adds}"));
        });
    }
}

#[test]
fn multicast_reaches_both_blocks() {
    // Rows of 32 words; each block loads 8 of them for both.
    let words: Vec<u32> = (0..32 * 16).map(|i| i * 3 + 1).collect();
    let spec = dense(&[32, 16], &[32, 8]);
    let twice: Vec<u32> = words.iter().chain(&words).copied().collect();
    on_each_device(HOPPER, |stream: &Stream| {
        let buffer = stream.upload(&words).unwrap();
        let tensor = buffer.tensor(&spec).unwrap();
        let mut out = stream.zeros::<u32>(2 * WINDOW / 4).unwrap();
        stream.launch(Grid::new(2, 64), multicast(&tensor, spec.box_bytes(), &mut out)).unwrap();
        let found = out.to_vec().unwrap();
        // Thread `g` of 128 gives elements `g`, `g + 128`, …: both blocks have a share.
        for block in 0..2 {
            let window = &found[block * WINDOW / 4..][..twice.len()];
            assert_same(window, &twice, &format!("window {block}"));
        }
    });
}

#[test]
fn stores_reach_the_next_block() {
    on_each_device(HOPPER, |stream: &Stream| {
        let (blocks, words) = (8, 32 * 7);
        let input: Vec<u32> = (0..blocks * words).map(|i| (i * 2_654_435_761) as u32).collect();
        // Block `b` of a cluster of four gets what the one before it has.
        let expected: Vec<u32> = (0..blocks)
            .flat_map(|block| {
                let from = block / 4 * 4 + (block + 3) % 4;
                input[from * words..][..words].to_vec()
            })
            .collect();
        let input = stream.upload(&input).unwrap();
        let mut output = stream.zeros::<[u32; 7]>(blocks * 32).unwrap();
        let call = stores_to_next(&input, &mut output);
        stream.launch(Grid::new(blocks as u32, 32), call).unwrap();
        let output: Vec<u32> = output.to_vec().unwrap().into_iter().flatten().collect();
        assert_same(&output, &expected, "stores to the next block");
    });
}

#[test]
fn bulk_copies_travel() {
    let words: Vec<u32> = (0..512).map(|i| i ^ 0x5a5a).collect();
    let expected: Vec<u32> = words[256..].iter().chain(&words[..256]).copied().collect();
    on_each_device(HOPPER, |stream: &Stream| {
        let input = stream.upload(&words).unwrap();
        let mut output = stream.zeros::<u32>(512).unwrap();
        // SAFETY: both blocks have 1024 bytes of their own in input and output.
        let call = unsafe { bulk(&input, &mut output, 1024) };
        stream.launch(Grid::new(2, 64), call).unwrap();
        assert_same(&output.to_vec().unwrap(), &expected, "bulk copies");
    });
}
