//! The profile names the calls that hold memory, costs what it should, and writes
//! files that an independent reader understands.

use std::collections::HashMap;
use std::io::Read;

use super::*;
use crate::{Buffer, Device, Stream};

/// The entry of memory that `function` has allocated.
fn entry_of(profile: &MemoryProfile, function: &str) -> Option<ProfileEntry> {
    let names = |entry: &&ProfileEntry| {
        let frames = entry.stack.frames();
        frames.first().is_some_and(|frame| frame.function.ends_with(function))
    };
    profile.entries.iter().find(names).cloned()
}

#[inline(never)]
fn leaks_on_purpose(stream: &Stream, bytes: usize) -> Buffer<u8> {
    stream.zeros(bytes).unwrap()
}

/// Whether addresses have names in this program. A stripped one has none, and
/// what looks for names is skipped.
pub(crate) fn has_symbols() -> bool {
    let mut is_named = false;
    backtrace::resolve(has_symbols as *mut std::ffi::c_void, |symbol| {
        is_named |= symbol.name().is_some_and(|name| name.to_string().contains("has_symbols"));
    });
    if !is_named {
        println!("skipped: the program is stripped, stacks have no names");
    }
    is_named
}

#[test]
fn the_function_that_holds_memory_is_named_until_it_lets_go() {
    if !has_symbols() {
        return;
    }
    set_memory_profile(MemoryProfileMode::Full);
    let device = Device::new_cpu();
    let stream = device.stream().unwrap();
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(leaks_on_purpose(&stream, 5000));
        drop(leaks_on_purpose(&stream, 5000));
    }
    let entries: Vec<_> = MemoryProfile::now().entries;
    let of_both = entries.iter().filter(|entry| {
        entry.stack.frames()[0].function.ends_with("leaks_on_purpose") && entry.held > 0
    });
    let [entry] = of_both.collect::<Vec<_>>()[..] else { panic!("one call site holds memory") };
    assert_eq!((entry.held, entry.held_bytes, entry.made), (10, 51_200, 10));
    assert_eq!((entry.kind, entry.device, entry.stream), (MemoryKind::Device, device.kind(), 2));
    let frame = &entry.stack.frames()[0];
    assert!(frame.file.ends_with("tests.rs") && frame.line > 0, "{frame}");
    drop(held);
    let entry = entry_of(&MemoryProfile::now(), "leaks_on_purpose").unwrap();
    assert_eq!((entry.held, entry.held_bytes, entry.held_bytes_max), (0, 0, 51_200));
}

#[test]
fn a_stack_is_found_again_without_unwinding_and_told_from_others() {
    #[inline(never)]
    fn here(labels: Labels, depth: u32) -> *const Site {
        if depth > 0 {
            return std::hint::black_box(here(labels, depth - 1));
        }
        stack::site_here(labels).map_or(std::ptr::null(), std::ptr::from_ref)
    }
    let labels = Labels {
        kind: MemoryKind::Pinned,
        device: DeviceKind::Cpu,
        stream: StreamId(7),
        kernel: 0,
    };
    for depth in [0, 1, 5, 40] {
        let sites: Vec<_> = (0..50).map(|_| here(labels, depth)).collect();
        assert!(sites.iter().all(|&site| site == sites[0] && !site.is_null()), "{depth}");
    }
    // Two calls from one function, at the same height of the stack.
    let (a, b) = (here(labels, 3), here(labels, 3));
    assert_ne!(a, b);
    let other = Labels { stream: StreamId(8), ..labels };
    // From one place: a loop that is unrolled has three.
    let all = std::hint::black_box(vec![labels, other, labels]);
    let by_label: Vec<_> = all.iter().map(|&labels| here(labels, 2)).collect();
    assert!(by_label[0] == by_label[2] && by_label[0] != by_label[1]);
}

#[test]
fn samples_stand_for_what_was_allocated() {
    let sampler = Sampler::new();
    // Without pacing: as on a thread that takes its time.
    let mut countdown = 0i64;
    let (mut estimate, mut truth, mut samples) = (0.0, 0.0, 0);
    for index in 0..400_000u64 {
        let bytes = 64 << (index % 12);
        truth += bytes as f64;
        countdown -= bytes as i64;
        if countdown < 0 {
            sampler.since.set(None);
            sampler.samples.set(0);
            let weight = 1.0 / -(-(bytes as f64) / MEAN_BYTES).exp_m1();
            (_, countdown) = sampler.draw(bytes);
            estimate += bytes as f64 * weight;
            samples += 1;
        }
    }
    assert!(samples > 5000 && samples < 100_000, "{samples}");
    let error = (estimate / truth - 1.0).abs();
    assert!(error < 0.05, "estimate off by {error}");
}

#[test]
fn a_hurried_thread_is_sampled_less_often() {
    let sampler = Sampler::new();
    for _ in 0..PACE_SAMPLES * 20 {
        sampler.draw(64 << 20);
    }
    assert!(sampler.mean_bytes.get() > MEAN_BYTES * 1000.0, "{}", sampler.mean_bytes.get());
}

/// Protobuf's wire format, read without knowing the schema: the values of each
/// field.
fn fields(mut bytes: &[u8]) -> HashMap<u64, Vec<Value<'_>>> {
    let mut all: HashMap<u64, Vec<Value<'_>>> = HashMap::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = match key & 7 {
            0 => Value::Number(varint(&mut bytes)),
            2 => {
                let len = varint(&mut bytes) as usize;
                let (value, rest) = bytes.split_at(len);
                bytes = rest;
                Value::Bytes(value)
            }
            other => panic!("wire type {other}"),
        };
        all.entry(key >> 3).or_default().push(value);
    }
    all
}

#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    fn number(self) -> u64 {
        let Self::Number(number) = self else { panic!("{self:?}") };
        number
    }

    fn bytes(self) -> &'a [u8] {
        let Self::Bytes(bytes) = self else { panic!("{self:?}") };
        bytes
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
    }
    unreachable!("a varint ends")
}

#[test]
fn a_pprof_file_says_what_the_profile_says() {
    if !has_symbols() {
        return;
    }
    set_memory_profile(MemoryProfileMode::Full);
    #[inline(never)]
    fn held_for_pprof(stream: &Stream) -> Buffer<u8> {
        stream.zeros(300_000).unwrap()
    }
    let device = Device::new_cpu();
    let held = held_for_pprof(&device.stream().unwrap());
    let file = MemoryProfile::now().to_pprof();
    let mut message = Vec::new();
    flate2::read::GzDecoder::new(&file[..]).read_to_end(&mut message).unwrap();
    let profile = fields(&message);
    let strings: Vec<&str> =
        profile[&6].iter().map(|text| std::str::from_utf8(text.bytes()).unwrap()).collect();
    assert_eq!(strings[0], "");
    let string = |value: Value<'_>| strings[value.number() as usize];
    let types: Vec<&str> =
        profile[&1].iter().map(|value| string(fields(value.bytes())[&1][0])).collect();
    assert_eq!(types, ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"]);
    assert_eq!(string(profile[&14][0]), "inuse_space");
    let named = |field: u64| -> HashMap<u64, HashMap<u64, Vec<Value<'_>>>> {
        let messages = profile[&field].iter().map(|value| fields(value.bytes()));
        messages.map(|message| (message[&1][0].number(), message)).collect()
    };
    let (locations, functions) = (named(4), named(5));
    let mut found = false;
    for sample in &profile[&2] {
        let sample = fields(sample.bytes());
        let list = |field: u64| {
            let mut bytes = sample[&field][0].bytes();
            let mut values = Vec::new();
            while !bytes.is_empty() {
                values.push(varint(&mut bytes));
            }
            values
        };
        let lines = list(1).into_iter().filter_map(|id| locations[&id].get(&4)).flatten();
        let names: Vec<&str> = lines
            .map(|line| string(functions[&fields(line.bytes())[&1][0].number()][&2][0]))
            .collect();
        let values = list(2);
        assert_eq!(values.len(), 4);
        if names.iter().any(|name| name.ends_with("held_for_pprof")) {
            let labels: Vec<(&str, &str)> = sample[&3]
                .iter()
                .map(|label| fields(label.bytes()))
                .map(|label| (string(label[&1][0]), string(label[&2][0])))
                .collect();
            assert!(labels.contains(&("kind", "device")), "{labels:?}");
            assert!(labels.contains(&("device", "cpu")), "{labels:?}");
            assert_eq!(values, [1, 327_680, 1, 327_680]);
            found = true;
        }
    }
    assert!(found);
    drop(held);
}

/// What `go tool pprof` prints for a file, or `None` where there is no Go.
fn go_pprof(file: &std::path::Path, arguments: &[&str]) -> Option<String> {
    let mut command = std::process::Command::new("go");
    command.args(["tool", "pprof"]).args(arguments).arg(file);
    let Ok(output) = command.output() else {
        let line = "a_pprof_file_is_read_by_pprof: skipped: there is no `go` here\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
        return None;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    Some(text)
}

#[test]
fn a_pprof_file_is_read_by_pprof() {
    if !has_symbols() {
        return;
    }
    set_memory_profile(MemoryProfileMode::Full);
    #[inline(never)]
    fn held_for_go(stream: &Stream) -> Buffer<u8> {
        stream.zeros(5 << 20).unwrap()
    }
    let device = Device::new_cpu();
    let stream = device.stream().unwrap();
    let held = [held_for_go(&stream), held_for_go(&stream)];
    drop(held_for_go(&stream));
    let file = std::env::temp_dir().join(format!("raddle-pprof-{}.pb.gz", std::process::id()));
    std::fs::write(&file, MemoryProfile::now().to_pprof()).unwrap();
    // The default sample type is what is held; others are asked for by name.
    let answers = [
        vec!["-top", "-unit=B"],
        vec!["-top", "-sample_index=alloc_objects", "-nodecount=100"],
        vec!["-traces", "-sample_index=inuse_objects"],
        vec!["-tags"],
    ];
    let answers = answers.map(|arguments| go_pprof(&file, &arguments));
    std::fs::remove_file(&file).unwrap();
    let [Some(top), Some(made), Some(traces), Some(tags)] = answers else { return };
    let flat = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.trim_end().ends_with(name));
        line.and_then(|line| line.split_whitespace().next()).map(str::to_owned)
    };
    assert!(top.contains("Type: inuse_space"), "{top}");
    assert_eq!(flat(&top, "::held_for_go").as_deref(), Some("10485760B"), "{top}");
    assert_eq!(flat(&made, "::held_for_go").as_deref(), Some("3"), "{made}");
    // With its labels, and no part of a name taken for a template's parameters.
    for part in ["kind:  device", "device:  cpu", "::held_for_go", "core::ops::function::FnOnce<"] {
        assert!(traces.contains(part), "{part} is not in {traces}");
    }
    assert!(tags.contains(" device: Total") && tags.contains(" kind: Total"), "{tags}");
    drop(held);
}

#[test]
fn the_table_has_totals_and_places() {
    if !has_symbols() {
        return;
    }
    set_memory_profile(MemoryProfileMode::Full);
    #[inline(never)]
    fn held_for_text(stream: &Stream) -> Buffer<u8> {
        stream.zeros(3 << 20).unwrap()
    }
    let device = Device::cpu();
    let held = held_for_text(&device.stream().unwrap());
    let text = MemoryProfile::now().to_text();
    assert!(text.contains("bytes held\n"), "{text}");
    assert!(text.contains("3.0 MiB in 1 allocations"), "{text}");
    assert!(text.contains("held_for_text at "), "{text}");
    assert!(text.contains("cpu: "), "{text}");
    drop(held);
}

/// Run by the test below in a process of its own.
#[test]
fn child_that_ends_with_memory() {
    if std::env::var_os("RADDLE_MEMORY_PROFILE_FILE").is_none() {
        return;
    }
    let stream = Device::cpu().stream().unwrap();
    // Nobody frees it: the report is to find it.
    let _held = std::mem::ManuallyDrop::new(leaks_on_purpose(&stream, 70_000));
    drop(leaks_on_purpose(&stream, 5000));
    let pinned = Device::cpu().pinned(&[1u8; 100]).unwrap();
    let _held = std::mem::ManuallyDrop::new(pinned);
}

#[test]
fn a_process_that_ends_with_memory_writes_who_holds_it() {
    if !has_symbols() {
        return;
    }
    let prefix = std::env::temp_dir().join(format!("raddle-exit-{}", std::process::id()));
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "profile::tests::child_that_ends_with_memory"])
        .env("RADDLE_MEMORY_PROFILE", "full")
        .env("RADDLE_MEMORY_PROFILE_FILE", &prefix)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let file = |extension: &str| {
        let mut path = prefix.clone().into_os_string();
        path.push(format!(".{}.{extension}", child.id()));
        std::path::PathBuf::from(path)
    };
    let [text, pprof] = ["txt", "pb.gz"].map(file);
    assert!(child.wait().unwrap().success());
    let report = std::fs::read_to_string(&text).unwrap();
    let profile = std::fs::read(&pprof).unwrap();
    std::fs::remove_file(text).unwrap();
    std::fs::remove_file(pprof).unwrap();
    assert!(report.starts_with("held_bytes 73984\n73984 bytes held\n"), "{report}");
    assert!(report.contains("tests::leaks_on_purpose at"), "{report}");
    assert!(report.contains("256 B in 1 allocations"), "{report}");
    assert_eq!(profile[..2], [0x1f, 0x8b]);
}
