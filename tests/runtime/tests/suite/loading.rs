//! Kernels that many threads want at once are loaded once, beside each other.

use std::sync::Barrier;
use std::time::Duration;

use raddle_runtime::{Device, Grid};
use raddle_runtime_tests::{isolated, kernels, watchdog};

const THREADS: usize = 8;

#[test]
fn threads_that_launch_new_kernels_load_each_once() {
    let name = "loading::threads_that_launch_new_kernels_load_each_once";
    let Some(fake) = isolated(name, &[]) else { return };
    let _watchdog = watchdog(Duration::from_secs(60));
    let device = Device::cuda(0).unwrap();
    let before = fake.ledger(None)["modules"];
    let barrier = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for at in 0..THREADS {
            let (device, barrier) = (&device, &barrier);
            scope.spawn(move || {
                let stream = device.stream().unwrap();
                let mut x = stream.upload(&[at as u32; 100]).unwrap();
                let mut y = stream.upload(&[7u32; 100]).unwrap();
                barrier.wait();
                let grid = Grid::cover(100, 32);
                if at % 2 == 0 {
                    stream.launch(grid, kernels::exchange(0, &mut x, &mut y, 3)).unwrap();
                    let mut expected = (vec![at as u32; 100], vec![7u32; 100]);
                    kernels::exchange_oracle(&mut expected.0, &mut expected.1, 3);
                    assert_eq!((x.to_vec().unwrap(), y.to_vec().unwrap()), expected);
                } else {
                    stream.launch(grid, kernels::gather(&mut x, [&y; 7])).unwrap();
                    assert_eq!(x.to_vec().unwrap().len(), 100);
                }
            });
        }
    });
    assert_eq!(fake.ledger(None)["modules"] - before, 2);
}

#[test]
fn a_kernel_that_did_not_load_is_tried_again_by_whoever_waited() {
    let name = "loading::a_kernel_that_did_not_load_is_tried_again_by_whoever_waited";
    let Some(fake) = isolated(name, &[]) else { return };
    let _watchdog = watchdog(Duration::from_secs(60));
    let device = Device::cuda(0).unwrap();
    fake.fail("cuModuleLoadDataEx", 0, 999, "");
    let barrier = Barrier::new(THREADS);
    let launch = || {
        let stream = device.stream().unwrap();
        let (mut x, y) = (stream.zeros::<u32>(8).unwrap(), stream.zeros::<u32>(8).unwrap());
        barrier.wait();
        let launched = stream.launch(Grid::new(1, 32), kernels::gather(&mut x, [&y; 7]));
        launched.map(drop).is_ok()
    };
    let successes: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(launch)).collect();
        threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
    });
    assert_eq!((successes, fake.fired().0), (THREADS - 1, 1));
}
