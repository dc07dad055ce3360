//! Mbarriers, clusters, atomics, clocks and printing.

use std::process::Command;

use raddle::{Grid, Stream};
use raddle_tensor_tests::kernels::threads::*;

use crate::support::*;

#[test]
fn mbarriers_end_phases_for_every_wait() {
    let expected: Vec<[u32; 4]> =
        (0..64).map(|t| [0, 1, 2, 3].map(|phase| 100 * phase + (t + 1) % 64)).collect();
    on_each_device(HOPPER, |stream: &Stream| {
        let mut out = stream.zeros(64).unwrap();
        stream.launch(Grid::new(1, 64), phases(&mut out)).unwrap();
        assert_same(&out.to_vec().unwrap(), &expected, "phases");
        let mut out = stream.zeros(1).unwrap();
        stream.launch(Grid::new(1, 1), holds(&mut out)).unwrap();
        assert_same(&out.to_vec().unwrap(), &[0b0110_0101], "what holds phases open");
    });
}

#[test]
fn blocks_of_a_cluster_meet() {
    // Two clusters of four blocks of 64 threads.
    let expected: Vec<[u32; 4]> = (0..8 * 64)
        .map(|g| {
            let (block, t) = (g / 64, g % 64);
            let first = block / 4 * 4;
            let sum = (first..first + 4).map(|b| b * 1000 + t).sum();
            [sum, first + (block + 3) % 4 + 7, 1, 4]
        })
        .collect();
    on_each_device(HOPPER, |stream: &Stream| {
        let mut out = stream.zeros(8 * 64).unwrap();
        stream.launch(Grid::new(8, 64), neighbours(&mut out)).unwrap();
        assert_same(&out.to_vec().unwrap(), &expected, "clusters");
    });
}

#[test]
fn updates_of_shared_cells_are_all_there() {
    const N: u32 = 1000;
    let sum: u32 = (0..N).sum();
    let xor = (0..N).fold(0, |all, i| all ^ i);
    let words = [sum, 0u32.wrapping_sub(sum), N - 1, 1_000_001 - N, !0xffff, 0xffff, xor];
    let words: Vec<u32> = words.into_iter().chain([N % 10, (10 - N % 10) % 10, N]).collect();
    let wide = [u64::from(sum) << 20, u64::from(N - 1) << 33, 3 * u64::from(N)];
    let signed = [1 - N as i32, -(sum as i32)];
    on_each_device(PORTABLE, |stream: &Stream| {
        let start = [0, 0, 0, u32::MAX, u32::MAX, 0, 0, 0, 0, 0];
        let mut cells = stream.upload(&start).unwrap();
        let mut wide_cells = stream.zeros::<u64>(3).unwrap();
        let mut signed_cells = stream.zeros::<i32>(2).unwrap();
        let kernel = updates(&mut cells, &mut wide_cells, &mut signed_cells);
        stream.launch(Grid::new(10, 100), kernel).unwrap();
        assert_same(&cells.to_vec().unwrap(), &words, "32 bits");
        assert_same(&wide_cells.to_vec().unwrap(), &wide, "64 bits");
        assert_same(&signed_cells.to_vec().unwrap(), &signed, "signed");
    });
}

#[test]
fn sums_in_floats_are_all_there() {
    on_each_device(PORTABLE, |stream: &Stream| {
        let mut single = stream.zeros::<f32>(2).unwrap();
        let mut double = stream.zeros::<f64>(2).unwrap();
        stream.launch(Grid::new(4, 128), float_updates(&mut single, &mut double)).unwrap();
        assert_same(&single.to_vec().unwrap(), &[4.0 * 448.0, 4.0 * 8128.0], "single");
        assert_same(&double.to_vec().unwrap(), &[-4.0 * 8128.0, 0.5], "double");
    });
    on_each_device(HOPPER, |stream: &Stream| {
        let mut cells = stream.zeros::<f32>(8).unwrap();
        stream.launch(Grid::new(5, 64), vector_updates(&mut cells)).unwrap();
        let expected = [320.0, 480.0, 0.0, 0.0, 320.0, 640.0, 960.0, 160.0];
        assert_same(&cells.to_vec().unwrap(), &expected, "vectors");
    });
}

#[test]
fn clocks_go_on_and_one_lane_is_elected() {
    on_each_device(HOPPER, |stream: &Stream| {
        let mut out = stream.zeros::<[u64; 5]>(64).unwrap();
        stream.launch(Grid::new(1, 64), clocks(&mut out)).unwrap();
        let found = out.to_vec().unwrap();
        // No clock has gone on by as much as a minute, nor back.
        const MOST: u64 = 300_000_000_000;
        for [cycles, short, time, _, knows_itself] in &found {
            assert!((1..MOST).contains(cycles) && *short > 0, "{found:?}");
            assert!((1..MOST).contains(time) && *knows_itself == 1, "{found:?}");
        }
        for warp in found.chunks(32) {
            assert_eq!(warp.iter().map(|thread| thread[3]).sum::<u64>(), 1, "{found:?}");
        }
    });
}

/// The text goes to the process's own output, so the test runs itself as a program that
/// prints.
#[test]
fn kernels_print_lines() {
    const INSIDE: &str = "RUN_BY_ITS_OWN_TEST";
    if std::env::var_os(INSIDE).is_some() {
        // Behind the name of the test, to which no line end belongs yet.
        println!();
        on_each_device(PORTABLE, |stream: &Stream| {
            let x = stream.upload(&[0.5, -1.25, 1e3, 0.125, 9.0]).unwrap();
            stream.launch(Grid::new(1, 32), prints(&x)).unwrap();
            stream.synchronize().unwrap();
            println!("END OF A DEVICE");
        });
        return;
    }
    let program = std::env::current_exe().expect("a test program knows its path");
    let output = Command::new(program)
        .args(["--exact", "threads::kernels_print_lines", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("the test program runs");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let mut devices: Vec<&str> = text.split("END OF A DEVICE").collect();
    devices.pop();
    assert!(!devices.is_empty(), "{text}");
    for device in devices {
        let mut lines: Vec<&str> = device.lines().filter(|l| l.starts_with("thread ")).collect();
        lines.sort_unstable();
        let expected = [
            "thread 0 of 5:    0.500 0 true",
            "thread 1 of 5:   -1.250 ff false",
            "thread 2 of 5: 1000.000 1fe true",
            "thread 3 of 5:    0.125 2fd false",
        ];
        assert_eq!(lines, expected, "{text}");
    }
}
