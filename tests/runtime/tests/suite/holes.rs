//! Six ways in which memory safety has been lost by libraries that track buffers
//! with events. Each does not compile here, or does what it says, in any order in
//! which the driver may run the work.

use std::process::Command;
use std::time::Duration;

use raddle_fake_driver::Fake;
use raddle_runtime::{Buffer, Device, Grid, Stream};
use raddle_runtime_tests::kernels::{churn, churn_oracle};
use raddle_runtime_tests::{isolated, watchdog};

const N: usize = 256;

/// Runs `hole` under many orders of the driver's work and looks for races, uses of
/// freed memory and the like.
fn under_many_orders(fake: &Fake, hole: &dyn Fn(&Device)) {
    let _dog = watchdog(Duration::from_secs(60));
    let device = Device::cuda(0).unwrap();
    for seed in 0..60 {
        fake.set("seed", seed);
        fake.set("eager", seed % 4);
        hole(&device);
        fake.ask("run all");
        assert_eq!(fake.violations(), Vec::<String>::new(), "seed {seed}");
    }
}

/// Takes the memory of buffers that were just dropped, if it is free, and writes it
/// on another stream.
fn scribble(device: &Device) {
    let stream = device.stream().unwrap();
    let others: Vec<Buffer<u32>> = (0..6).map(|_| stream.filled(N, 0xdead).unwrap()).collect();
    drop(others);
}

fn launch(stream: &Stream, target: &mut Buffer<u32>, source: &Buffer<u32>) {
    stream.launch(Grid::cover(N, 64), churn(0, target, [source; 3], 1)).unwrap();
}

fn churned(old: u32, source: u32) -> Vec<u32> {
    let mut expected = vec![old; N];
    churn_oracle(&mut expected, [&[source; N]; 3], 1);
    expected
}

#[test]
fn h1_a_graph_outlives_the_buffers_it_was_captured_with() {
    let name = "holes::h1_a_graph_outlives_the_buffers_it_was_captured_with";
    let Some(fake) = isolated(name, &[]) else { return };
    under_many_orders(&fake, &|device| {
        let stream = device.stream().unwrap();
        let source = stream.filled(N, 3u32).unwrap();
        let mut target = stream.zeros::<u32>(N).unwrap();
        let mut gone = stream.zeros::<u32>(N).unwrap();
        let (graph, ()) = stream
            .capture(|stream| {
                launch(stream, &mut gone, &source);
                launch(stream, &mut target, &source);
                Ok(())
            })
            .unwrap();
        drop((source, gone));
        scribble(device);
        graph.launch(&stream).unwrap();
        scribble(device);
        drop(graph);
        assert_eq!(target.to_vec().unwrap(), churned(0, 3));
    });
}

#[test]
fn h2_a_later_fast_reader_does_not_hide_an_earlier_slow_one() {
    let name = "holes::h2_a_later_fast_reader_does_not_hide_an_earlier_slow_one";
    let Some(fake) = isolated(name, &[]) else { return };
    under_many_orders(&fake, &|device| {
        let (a, b) = (device.stream().unwrap(), device.stream().unwrap());
        let source = a.filled(N, 5u32).unwrap();
        let mut slow = b.zeros::<u32>(N).unwrap();
        let mut fast = a.zeros::<u32>(N).unwrap();
        for _ in 0..4 {
            launch(&b, &mut slow, &source);
        }
        launch(&a, &mut fast, &source);
        drop(source);
        scribble(device);
        assert_eq!(fast.to_vec().unwrap(), churned(0, 5));
        let mut expected = vec![0u32; N];
        (0..4).for_each(|_| churn_oracle(&mut expected, [&[5; N]; 3], 1));
        assert_eq!(slow.to_vec().unwrap(), expected);
    });
}

#[test]
fn h3_work_in_flight_outlives_the_last_stream() {
    let name = "holes::h3_work_in_flight_outlives_the_last_stream";
    let Some(fake) = isolated(name, &[]) else { return };
    under_many_orders(&fake, &|device| {
        let stream = device.stream().unwrap();
        let source = stream.filled(N, 7u32).unwrap();
        let mut target = stream.zeros::<u32>(N).unwrap();
        launch(&stream, &mut target, &source);
        drop(stream);
        drop(source);
        scribble(device);
        assert_eq!(target.to_vec().unwrap(), churned(0, 7));
    });
}

#[test]
fn h4_a_stream_is_the_same_on_every_thread() {
    let name = "holes::h4_a_stream_is_the_same_on_every_thread";
    let Some(fake) = isolated(name, &[]) else { return };
    under_many_orders(&fake, &|device| {
        let stream = device.default_stream().unwrap();
        let source = stream.filled(N, 9u32).unwrap();
        let mut target = stream.zeros::<u32>(N).unwrap();
        launch(&stream, &mut target, &source);
        let found = std::thread::scope(|scope| {
            let there = scope.spawn(|| {
                assert_eq!(device.default_stream().unwrap(), stream);
                stream.to_vec(&target).unwrap()
            });
            there.join().unwrap()
        });
        assert_eq!(found, churned(0, 9));
    });
}

#[test]
fn h5_pinned_memory_cannot_be_touched_while_a_copy_uses_it() {
    let compile = |body: &str| {
        let text = format!(
            "use raddle_runtime::*;\npub fn hole(stream: &Stream, device: &Buffer<u8>, target: \
             &mut Buffer<u8>, mut pinned: Pinned<u8>) -> Result<()> {{ {body} Ok(()) }}\n"
        );
        errors_of(&text)
    };
    // The way it is meant to be used compiles.
    let right = "let pinned = stream.read_pinned(device, pinned)?.wait()?; drop(pinned[0]);";
    assert_eq!(compile(right), Vec::<String>::new());
    for (wrong, code) in [
        ("let copy = stream.read_pinned(device, pinned)?; drop(pinned[0]); copy.wait()?;", "E0382"),
        ("let copy = stream.write_pinned(target, pinned)?; pinned[0] = 1; copy.wait()?;", "E0382"),
        ("let copy = stream.read_pinned(device, pinned)?; drop(pinned); copy.wait()?;", "E0382"),
        (
            "let all = vec![pinned]; let copy = stream.write_pinned_vectored(target, all)?; \
             drop(all); copy.wait()?;",
            "E0382",
        ),
        ("let view = &mut pinned[..]; stream.read_pinned(device, pinned)?; view[0] = 1;", "E0505"),
        ("stream.read_pinned(device, &mut pinned[..])?;", "E0308"),
    ] {
        assert_eq!(compile(wrong), [code], "{wrong}");
    }
}

#[test]
fn h6_a_copy_to_another_device_keeps_its_source() {
    let name = "holes::h6_a_copy_to_another_device_keeps_its_source";
    let Some(fake) = isolated(name, &[]) else { return };
    fake.set("devices", 2);
    under_many_orders(&fake, &|device| {
        let other = Device::cuda(1).unwrap();
        let (here, there) = (device.stream().unwrap(), other.stream().unwrap());
        let source = here.filled(N, 6u32).unwrap();
        let target = source.to_device(&there).unwrap();
        drop(source);
        scribble(device);
        assert_eq!(target.to_vec().unwrap(), [6; N]);
    });
}

/// The codes of rustc's errors for a crate of this text that uses the runtime.
fn errors_of(text: &str) -> Vec<String> {
    let exe = std::env::current_exe().unwrap();
    let libraries = exe.parent().unwrap();
    // The library that this program was linked with was built last.
    let built = std::fs::read_dir(libraries).unwrap().flatten().filter(|entry| {
        let name = entry.file_name().into_string().unwrap_or_default();
        name.starts_with("libraddle_runtime-") && name.ends_with(".rlib")
    });
    let newest = built.max_by_key(|entry| entry.metadata().and_then(|data| data.modified()).ok());
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("holes");
    std::fs::create_dir_all(&folder).unwrap();
    let source = folder.join("hole.rs");
    std::fs::write(&source, text).unwrap();
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
        .args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "--error-format=short"])
        .arg("--out-dir")
        .arg(&folder)
        .arg("-L")
        .arg(format!("dependency={}", libraries.display()))
        .arg("--extern")
        .arg(format!("raddle_runtime={}", newest.expect("it was linked").path().display()))
        .arg(&source)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    let codes = text.lines().filter_map(|line| {
        let (_, rest) = line.split_once("error[")?;
        Some(rest.split(']').next()?.to_owned())
    });
    let codes: Vec<String> = codes.collect();
    assert_eq!(output.status.success(), codes.is_empty(), "{text}");
    codes
}
