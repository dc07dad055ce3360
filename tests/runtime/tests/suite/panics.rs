//! Whom a kernel's panic is told: the launch that had it, those who use what it has
//! left, and nobody else, whatever runs the same kernel at the same time.

use std::time::Duration;

use raddle_fake_driver::Fake;
use raddle_runtime::{Buffer, Completion, Device, Error, Grid, Result, Stream};
use raddle_runtime_tests::harness::panic_in;
use raddle_runtime_tests::kernels::{CHURN, churn};
use raddle_runtime_tests::{isolated, watchdog};

const N: usize = 64;
const INDEX: u64 = 7;

/// A GPU of the fake driver with memory that all launches read.
struct Rig {
    fake: Fake,
    device: Device,
    source: Buffer<u32>,
}

impl Rig {
    fn new(fake: Fake) -> Self {
        let device = Device::cuda(0).unwrap();
        let stream = device.stream().unwrap();
        let source = stream.upload(&[3u32; N]).unwrap();
        stream.synchronize().unwrap();
        Self { fake, device, source }
    }

    fn launch(&self, stream: &Stream, target: &mut Buffer<u32>) -> Completion {
        let call = churn(0, target, [&self.source; 3], 1);
        stream.launch(Grid::cover(N, 32), call).unwrap().done()
    }

    fn stream(&self) -> Stream {
        self.device.stream().unwrap()
    }

    fn target(&self, stream: &Stream) -> Buffer<u32> {
        let target = stream.zeros::<u32>(N).unwrap();
        stream.synchronize().unwrap();
        target
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.fake.violations(), Vec::<String>::new());
        }
    }
}

#[track_caller]
fn assert_told(result: Result<impl Sized>) {
    match result.map(|_| ()) {
        Err(Error::KernelPanic { kernel: "test::churn", message, .. }) => {
            assert!(message.ends_with(&format!("the index is {INDEX}")), "{message}");
        }
        other => panic!("a panic was expected, found {other:?}"),
    }
}

#[test]
fn a_panic_reaches_the_launch_that_had_it_and_no_other() {
    let name = "panics::a_panic_reaches_the_launch_that_had_it_and_no_other";
    let Some(fake) = isolated(name, &[]) else { return };
    let _dog = watchdog(Duration::from_secs(60));
    let rig = Rig::new(fake);
    let streams: Vec<Stream> = (0..4).map(|_| rig.stream()).collect();
    let mut struck = [0; 12];
    for round in 0..120 {
        let mut targets: Vec<Buffer<u32>> = (0..12).map(|i| rig.target(&streams[i % 4])).collect();
        fake.set("held", 1);
        fake.set("seed", round + 1);
        // Which stream comes first is up to the seed.
        panic_in(&fake, CHURN, round % 12, INDEX);
        let launches = targets.iter_mut().enumerate();
        let ends: Vec<Completion> =
            launches.map(|(i, target)| rig.launch(&streams[i % 4], target)).collect();
        fake.set("held", 0);
        // In turn, or the last one of each stream first.
        let mut results: Vec<Result<()>> = if round % 2 == 0 {
            ends.into_iter().map(Completion::wait).collect()
        } else {
            ends.into_iter().rev().map(Completion::wait).collect()
        };
        if round % 2 == 1 {
            results.reverse();
        }
        // The fake's kernel has left its target alone.
        let found: Vec<Vec<u32>> = targets.iter().map(|target| target.to_vec().unwrap()).collect();
        let panicked = found.iter().position(|found| *found == [0; N]).unwrap();
        assert_eq!(found.iter().filter(|found| **found == [0; N]).count(), 1);
        struck[panicked] += 1;
        for (i, result) in results.into_iter().enumerate() {
            if i % 4 == panicked % 4 && i >= panicked {
                assert_told(result);
            } else {
                result.unwrap();
            }
        }
    }
    assert!(struck.iter().filter(|&&count| count > 0).count() >= 10, "{struck:?}");
}

#[test]
fn users_of_the_memory_are_told_and_users_of_other_memory_are_not() {
    let name = "panics::users_of_the_memory_are_told_and_users_of_other_memory_are_not";
    let Some(fake) = isolated(name, &[]) else { return };
    let _dog = watchdog(Duration::from_secs(60));
    let rig = Rig::new(fake);
    for (is_gone, has_users) in [(false, true), (true, true), (true, false)] {
        let (first, second, third) = (rig.stream(), rig.stream(), rig.stream());
        let (mut spoilt, mut sound) = (rig.target(&first), rig.target(&first));
        let mut copy = rig.target(&second);
        fake.set("held", 1);
        panic_in(&fake, CHURN, 0, INDEX);
        drop(rig.launch(&first, &mut spoilt));
        drop(rig.launch(&first, &mut sound));
        second.copy(&spoilt, &mut copy).unwrap();
        let user = second.done();
        // What has used what was spoilt is spoilt.
        let heir = third.to_vec_async(&copy).unwrap();
        let bystander = rig.stream();
        let other = bystander.to_vec_async(&sound).unwrap();
        fake.set("held", 0);
        // Leased again: its queue is another stream's from now on.
        let first = if is_gone {
            drop(first);
            fake.ask("run all");
            rig.stream()
        } else {
            first
        };
        if has_users {
            assert_told(heir.wait());
            assert_told(user.wait());
            assert_ne!(other.wait().unwrap(), [0; N]);
        } else {
            // Nobody else will ask: who uses what that stream has left is told.
            assert_told(other.wait());
            drop((heir, user));
            let _ = (second.synchronize(), third.synchronize());
        }
        if !is_gone {
            assert_told(first.synchronize());
        }
        for stream in [&first, &second, &third, &bystander] {
            stream.synchronize().unwrap();
        }
    }
}

#[test]
fn a_stream_whose_replay_was_refused_is_told_nothing_of_others() {
    let name = "panics::a_stream_whose_replay_was_refused_is_told_nothing_of_others";
    let Some(fake) = isolated(name, &[]) else { return };
    let _dog = watchdog(Duration::from_secs(60));
    let rig = Rig::new(fake);
    let (first, refused) = (rig.stream(), rig.stream());
    let (mut target, mut other) = (rig.target(&first), rig.target(&refused));
    let (graph, ()) = refused
        .capture(|stream| {
            let call = churn(0, &mut other, [&rig.source; 3], 1);
            stream.launch(Grid::cover(N, 32), call).map(|_| ())
        })
        .unwrap();
    let out_of_memory = 2;
    fake.fail("cuGraphLaunch", 0, out_of_memory, "");
    assert!(matches!(graph.launch(&refused).map(|_| ()), Err(Error::Cuda(_))));
    assert_eq!(fake.fired().0, 1);
    panic_in(&fake, CHURN, 0, INDEX);
    let end = rig.launch(&first, &mut target);
    assert_told(end.wait());
    refused.synchronize().unwrap();
    drop(refused);
    for _ in 0..3 {
        rig.stream().synchronize().unwrap();
    }
    // A replay that runs is told of its own panic, on whatever stream, once.
    for _ in 0..3 {
        let (here, there) = (rig.stream(), rig.stream());
        panic_in(&fake, CHURN, 1, INDEX);
        graph.launch(&here).unwrap().wait().unwrap();
        graph.launch(&here).unwrap();
        there.synchronize().unwrap();
        assert_told(here.synchronize());
        graph.launch(&there).unwrap().wait().unwrap();
        here.synchronize().unwrap();
    }
}
