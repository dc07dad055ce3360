//! `wgmma`: each accumulator is compared with the sum of exact products.

use raddle::device::float::*;
use raddle::{Grid, Stream};
use raddle_tensor_tests::kernels::warpgroups::*;

use crate::support::*;

/// Row and column of register `i` of a thread's accumulator.
fn place(thread: usize, i: usize) -> (usize, usize) {
    let (lane, warp) = (thread % 32, thread / 32);
    (16 * warp + lane / 4 + 8 * (i % 4 / 2), i / 4 * 8 + lane % 4 * 2 + i % 2)
}

/// The accumulators of all threads for 64×`n` sums.
fn accumulators<const R: usize>(sums: &[i32]) -> Vec<[f32; R]> {
    (0..128)
        .map(|thread| {
            std::array::from_fn(|i| {
                let (row, column) = place(thread, i);
                sums[row * 2 * R + column] as f32
            })
        })
        .collect()
}

macro_rules! check_sizes {
    ($($name:ident $r:literal)*) => { $( {
        let mut random = Random(17 + $r);
        let (a, b) = (random.small_matrix(64 * 32, 9), random.small_matrix(2 * $r * 32, 9));
        let expected = accumulators::<$r>(&product(&a, &b, 32));
        let halves = |v: &[i32]| v.iter().map(|&x| f16::from_f32(x as f32)).collect::<Vec<_>>();
        on_each_device(HOPPER, |stream: &Stream| {
            let (a, b) = (stream.upload(&halves(&a)).unwrap(), stream.upload(&halves(&b)).unwrap());
            let mut out = stream.filled(128, [0.0f32; $r]).unwrap();
            stream.launch(Grid::new(1, 128), $name(&a, &b, &mut out)).unwrap();
            assert_same(&out.to_vec().unwrap(), &expected, stringify!($name));
        });
    } )* };
}

#[test]
fn every_width() {
    check_sizes!(n8 4 n16 8 n24 12 n32 16 n48 24 n64 32 n80 40 n96 48 n112 56 n128 64 n160 80 n192 96
        n224 112 n256 128);
}

/// One source, two variants: each device runs the one that suits it, the CPU the one
/// that `RADDLE_SIM_ARCH` asks for, and all give the same sums.
#[test]
fn a_kernel_has_variants() {
    let mut random = Random(5);
    let (a, b) = (random.small_matrix(64 * 32, 9), random.small_matrix(8 * 32, 9));
    let expected = accumulators::<4>(&product(&a, &b, 32));
    let halves = |v: &[i32]| v.iter().map(|&x| f16::from_f32(x as f32)).collect::<Vec<_>>();
    on_each_device(PORTABLE, |stream: &Stream| {
        let (a, b) = (stream.upload(&halves(&a)).unwrap(), stream.upload(&halves(&b)).unwrap());
        let mut sums = stream.filled(128, [0.0f32; 4]).unwrap();
        let mut way = stream.zeros::<u32>(128).unwrap();
        stream.launch(Grid::new(1, 128), either_way(&a, &b, &mut sums, &mut way)).unwrap();
        assert_same(&sums.to_vec().unwrap(), &expected, "either_way");
        let on_hopper = match stream.device().compute_capability() {
            Some(capability) => capability == HOPPER,
            None => std::env::var("RADDLE_SIM_ARCH").as_deref() != Ok("80"),
        };
        assert_eq!(way.to_vec().unwrap(), [if on_hopper { 90 } else { 80 }; 128]);
    });
    if std::env::var_os("RADDLE_SIM_ARCH").is_none() {
        // The setting is read once, so the other variant takes another process.
        let other = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "warpgroups::a_kernel_has_variants"])
            .env("RADDLE_SIM_ARCH", "80")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&other.stdout);
        assert!(other.status.success() && text.contains("1 passed"), "{text}");
    }
}

macro_rules! check_types {
    ($($name:ident $from_registers:ident $a:ident $b:ident)*) => { $( {
        let k = 32 / size_of::<$a>();
        let mut random = Random(19 + k as u64);
        // Every format has these integers.
        let (a, b) = (random.small_matrix(64 * k, 4), random.small_matrix(64 * k, 4));
        let expected = accumulators::<32>(&product(&a, &b, k));
        let left: Vec<$a> = a.iter().map(|&x| <$a>::from_f32(x as f32)).collect();
        let right: Vec<$b> = b.iter().map(|&x| <$b>::from_f32(x as f32)).collect();
        on_each_device(HOPPER, |stream: &Stream| {
            let (a, b) = (stream.upload(&left).unwrap(), stream.upload(&right).unwrap());
            let mut out = stream.filled(128, [[0.0f32; 32]; 4]).unwrap();
            stream.launch(Grid::new(1, 128), $name(&a, &b, &mut out)).unwrap();
            let found = out.to_vec().unwrap();
            for swizzle in 0..4 {
                let found: Vec<[f32; 32]> = found.iter().map(|all| all[swizzle]).collect();
                let what = format!("{}, swizzle {swizzle}", stringify!($name));
                assert_same(&found, &expected, &what);
            }
            let mut out = stream.filled(128, [0.0f32; 32]).unwrap();
            stream.launch(Grid::new(1, 128), $from_registers(&a, &b, &mut out)).unwrap();
            assert_same(&out.to_vec().unwrap(), &expected, stringify!($from_registers));
        });
    } )* };
}

#[test]
fn every_type_and_swizzle() {
    check_types! {
        f16_f16 f16_f16_registers f16 f16
        bf16_bf16 bf16_bf16_registers bf16 bf16
        tf32_tf32 tf32_tf32_registers tf32 tf32
        e4m3_e4m3 e4m3_e4m3_registers f8e4m3 f8e4m3
        e4m3_e5m2 e4m3_e5m2_registers f8e4m3 f8e5m2
        e5m2_e4m3 e5m2_e4m3_registers f8e5m2 f8e4m3
        e5m2_e5m2 e5m2_e5m2_registers f8e5m2 f8e5m2
    }
}

macro_rules! check_transposed {
    ($($name:ident $ty:ident)*) => { $( {
        let mut random = Random(23);
        let (a, b) = (random.small_matrix(64 * 16, 9), random.small_matrix(128 * 16, 9));
        let expected = accumulators::<64>(&product(&a, &b, 16));
        let numbers = |v: &[i32]| v.iter().map(|&x| <$ty>::from_f32(x as f32)).collect::<Vec<_>>();
        on_each_device(HOPPER, |stream: &Stream| {
            let (a, b) = (stream.upload(&numbers(&a)).unwrap(), stream.upload(&numbers(&b)).unwrap());
            let mut out = stream.filled(128, [[0.0f32; 64]; 4]).unwrap();
            stream.launch(Grid::new(1, 128), $name(&a, &b, &mut out)).unwrap();
            let found = out.to_vec().unwrap();
            for (i, layout) in ["A along m", "B along n", "both", "A in registers"].iter().enumerate() {
                let found: Vec<[f32; 64]> = found.iter().map(|all| all[i]).collect();
                assert_same(&found, &expected, &format!("{}: {layout}", stringify!($name)));
            }
        });
    } )* };
}

#[test]
fn transposed_operands() {
    check_transposed!(f16_transposed f16 bf16_transposed bf16);
}
