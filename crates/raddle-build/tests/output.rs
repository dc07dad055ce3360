//! What the compiler makes of small kernel files: the same bytes wherever the package
//! lies, no contraction, stated shapes in the PTX, records in the index.
//!
//! Compiling reads the environment of a build script, so the test program runs itself
//! again with that environment; `compile FILE` is what the child does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "output/hot_loops.rs"]
mod hot_loops;

/// Kernels in a safe and an unsafe version.
const PAIRS: &str = include_str!("output/pairs.rs");

const KERNELS: &str = r#"
use raddle::prelude::*;

#[kernel]
pub fn two_roundings(a: f32, x: &[f32], mut y: PerThread<f32>) {
    for (i, y) in y.iter_mut() {
        *y = a * x[i] + *y;
    }
}

#[kernel]
pub fn one_rounding(a: f32, mut y: PerThread<f32>) {
    for (_, y) in y.iter_mut() {
        *y = a.mul_add(*y, 1.0);
    }
}

#[kernel(block = (16, 8), min_blocks = 4)]
pub fn shaped(mut y: PerBlockTile<u32, 8, 16>) {
    if let Some(mut tile) = y.mine() {
        tile.iter_mut().for_each(|(_, _, [y])| *y = block_dim_x() * 1000 + block_dim_y());
    }
}

#[kernel(block = 256)]
pub fn scales_tiles(factor: f32, mut y: PerBlockTile<f32, 16, 64, 4>) {
    for mut tile in y.iter_mut() {
        for (_, _, y) in tile.iter_mut() {
            *y = y.map(|y| y * factor);
        }
    }
}

#[inline(never)]
fn commits_twice() {
    commits();
    commits();
}

#[inline(never)]
fn commits() {
    // SAFETY: nothing is under way.
    unsafe { raddle::device::matrix::wgmma_commit() };
}

#[kernel(block = 128, arch = 90)]
pub fn multiplies(mut y: PerThread<u32>) {
    commits_twice();
    for (_, y) in y.iter_mut() {
        commits_twice();
        *y += 1;
    }
}

/// Has all of the 48 KiB that static shared memory can be, and may panic.
#[kernel]
pub fn fills_shared_memory(x: &[u32], mut y: PerThread<u32>) {
    let mut tile = shared!([u32; 12 * 1024]);
    let tile = tile.fill(|i| x[i]);
    for (i, y) in y.iter_mut() {
        *y = tile[(i + 1) % tile.len()];
    }
}

#[kernel]
pub fn waits(mut y: PerThread<f32>) {
    let total = block_all_reduce(1.0f32, |a, b| a + b);
    if let Some((_, y)) = y.mine() {
        *y = total;
    }
}

/// Compiled for two architectures.
#[kernel(block = 128, arch = (80, 90))]
pub fn two_ways(mut y: PerThread<u32>) {
    let way = if is_hopper() {
        // SAFETY: all threads of the one warpgroup call it.
        unsafe { raddle::device::matrix::wgmma_commit() };
        9000
    } else {
        8000
    };
    if let Some((i, y)) = y.mine() {
        *y = way + i as u32;
    }
}

/// The same, of clusters.
#[kernel(block = 128, cluster = 2, arch = (80, 90))]
pub fn two_ways_of_clusters(mut y: PerThread<u32>) {
    if let Some((_, y)) = y.mine() {
        *y = if is_hopper() { 9000 } else { 8000 };
    }
}

/// Waits for a flag, as a lock does.
#[kernel]
pub fn spins(flag: &[Atomic<u32>], mut y: PerThread<u32>) {
    while flag[0].load(Acquire) == 0 {}
    while flag[1].compare_exchange(0, 1, AcqRel).is_err() {}
    if let Some((_, y)) = y.mine() {
        *y = 1;
    }
}

/// Tries again with what it found: nobody waits.
#[kernel]
pub fn updates(cells: &[Atomic<u32>], mut y: PerThread<u32>) {
    let mut old = cells[0].load(Relaxed);
    while let Err(found) = cells[0].compare_exchange(old, old.max(7) * 2, Relaxed) {
        old = found;
    }
    for (i, y) in y.iter_mut() {
        *y = cells[i % cells.len()].fetch_add(1, Relaxed);
    }
}

#[kernel]
pub fn checks_in_a_loop(x: &[i32], mut y: PerThread<i32>) {
    if let Some((_, y)) = y.mine() {
        for (i, x) in x.iter().enumerate() {
            assert!(*x > 0, "element {i} is {x}");
            *y += *x;
        }
    }
}

#[kernel]
pub fn shows_a_type(x: &[i32], mut y: PerThread<i32>) {
    if let Some((i, y)) = y.mine() {
        assert_eq!(Some((x[i], 'a')), None);
        *y = x[i];
    }
}

/// rustc takes these `assert_failed` from `std`: for `u32`, and for an array.
#[kernel]
pub fn compares(x: &[u32], mut y: PerThread<u32>) {
    if let Some((i, y)) = y.mine() {
        assert_ne!(x[i], 81, "element {i}");
        *y = x[i];
    }
}

#[kernel]
pub fn compares_arrays(x: &[u8], mut y: PerThread<u8>) {
    if let Some((_, y)) = y.mine() {
        assert_eq!([1, 2, 3, 4], x);
        *y = x[0];
    }
}

#[kernel]
pub fn writes_text(mut y: PerThread<u32>) {
    struct Count(u32);
    impl core::fmt::Write for Count {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            self.0 += text.len() as u32;
            Ok(())
        }
    }
    if let Some((i, y)) = y.mine() {
        let mut count = Count(0);
        let _ = core::fmt::Write::write_fmt(&mut count, format_args!("{i}"));
        *y = count.0;
    }
}

#[kernel]
pub fn recurses(mut y: PerThread<u32>) {
    fn fibonacci(n: u32) -> u32 {
        if n < 2 { n } else { fibonacci(n - 1).wrapping_add(fibonacci(n - 2)) }
    }
    if let Some((i, y)) = y.mine() {
        *y = fibonacci(i as u32 % 16);
    }
}

#[kernel]
pub fn recurses_in_turn(mut y: PerThread<u32>) {
    #[inline(never)]
    fn down(n: u32, seen: &mut u32) {
        *seen = seen.wrapping_mul(31).wrapping_add(n);
        if n > 1 {
            if n % 3 == 0 { around(n / 2, seen) } else { down(n - 1, seen) }
        }
    }
    #[inline(never)]
    fn around(n: u32, seen: &mut u32) {
        *seen ^= n.rotate_left(7);
        for k in 0..n % 4 {
            down(n - k, seen);
        }
    }
    if let Some((i, y)) = y.mine() {
        let mut seen = 1;
        down(i as u32 % 16, &mut seen);
        *y = seen;
    }
}

/// Both lanes of a warp must wait at one barrier, whatever is known after it.
#[kernel]
pub fn branches_around_a_barrier(x: &[u32], mut y: PerThread<u32>) {
    let i = global_x();
    let is_special = x.first() == Some(&1) || x.get(i) == Some(&2);
    barrier();
    if let Some((_, y)) = y.mine() {
        *y = if is_special { 1 } else { 2 };
    }
}

#[kernel]
pub fn allocates(mut y: PerThread<usize>) {
    if let Some((i, y)) = y.mine() {
        let list: Vec<usize> = (0..i).collect();
        *y = list.iter().sum::<usize>() + list.as_ptr() as usize;
    }
}
"#;

fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("compile") {
        raddle_build::Kernels::new().file("src/kernels.rs").run();
        return;
    }
    let here = compile("here", KERNELS);
    let tests: [(&str, Test); 17] = [
        ("the_same_source_gives_the_same_bytes_anywhere", same_bytes_anywhere),
        ("products_and_sums_are_rounded_apart", rounded_apart),
        ("a_stated_block_shape_is_in_the_ptx_and_folded", stated_shape),
        ("a_kernel_of_two_architectures_has_an_image_for_each", two_variants),
        ("a_loop_over_a_tile_moves_vectors", tiles_move_vectors),
        ("kernels_whose_threads_wait_are_marked", waiting_is_marked),
        ("loops_that_wait_for_memory_are_marked", waiting_in_loops_is_marked),
        ("messages_cost_the_loop_nothing", messages_are_cold),
        ("failed_assertions_show_both_sides", assertions_show_both_sides),
        ("formatting_outside_of_messages_is_refused", formatting_is_refused),
        ("all_shared_memory_is_the_kernels", shared_memory_is_whole),
        ("recursion_is_marked", recursion_is_marked),
        ("addresses_of_recursive_functions_are_taken", recursion_is_taken),
        ("a_barrier_stays_one_barrier", one_barrier),
        ("asynchronous_products_stand_in_the_kernel", products_in_kernel),
        ("what_a_gpu_cannot_do_is_an_error_with_its_place", offence_has_a_place),
        ("hot_loops_of_safe_kernels_are_those_of_unsafe_ones", safety_costs_nothing),
    ];
    for (name, test) in tests {
        test(&here);
        println!("test {name} ... ok");
    }
    println!("{} passed, 0 failed", tests.len());
}

/// A test of what the fixture became.
type Test = fn(&Output);

/// The index's records by path, and the PTX by file name.
struct Output {
    records: BTreeMap<String, Vec<String>>,
    images: BTreeMap<String, String>,
}

impl Output {
    fn record(&self, path: &str) -> &[String] {
        self.records.get(path).unwrap_or_else(|| panic!("no record of `{path}`"))
    }

    fn ptx(&self, path: &str) -> &str {
        let record = self.record(path);
        assert_eq!(record[0], "image", "{record:?}");
        &self.images[&record[4]]
    }
}

/// Compiles the fixture as a package in a folder of its own; all share the compiled
/// dependencies.
fn compile(folder: &str, kernels: &str) -> Output {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("output");
    let package = root.join(folder).join("fixture");
    let out = root.join("target/release/build").join(folder).join("out");
    let raddle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../raddle");
    let manifest = format!(
        "[package]\nname = \"fixture\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\nraddle = {{ path = {:?} }}\n\n[workspace]\n",
        raddle.canonicalize().expect("the facade lies beside this crate").display().to_string()
    );
    write(&package.join("Cargo.toml"), &manifest);
    write(&package.join("src/kernels.rs"), kernels);
    write(&package.join("src/lib.rs"), "");
    std::fs::create_dir_all(&out).expect("a folder can be made below target/");
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock");
    std::fs::copy(lock, package.join("Cargo.lock")).expect("the workspace has a lock file");
    let status = Command::new(std::env::current_exe().expect("the test program knows its path"))
        .arg("compile")
        .current_dir(&package)
        .env("CARGO", env!("CARGO"))
        .env("CARGO_PKG_NAME", "fixture")
        .env("CARGO_MANIFEST_DIR", &package)
        .env("OUT_DIR", &out)
        .env("PROFILE", "release")
        .stdout(std::process::Stdio::null())
        .status()
        .expect("the test program runs");
    assert!(status.success(), "the device build failed");
    read(&out.join("raddle"))
}

fn write(path: &PathBuf, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a file in a folder"))
        .expect("a folder can be made");
    std::fs::write(path, text).expect("a file can be written below target/");
}

fn read(folder: &Path) -> Output {
    let index =
        std::fs::read_to_string(folder.join("index.tsv")).expect("the build wrote an index");
    let mut records = BTreeMap::new();
    let mut images = BTreeMap::new();
    for line in index.lines() {
        let fields: Vec<String> = line.split('\t').map(str::to_owned).collect();
        if fields[0] == "image" {
            let text =
                std::fs::read_to_string(folder.join(&fields[4])).expect("the image is there");
            images.insert(fields[4].clone(), text);
        }
        records.insert(fields[1].clone(), fields);
    }
    Output { records, images }
}

fn same_bytes_anywhere(here: &Output) {
    let there = compile("some/other/place", KERNELS);
    assert_eq!(here.images.len(), 20);
    for (file, text) in &here.images {
        assert_eq!(Some(text), there.images.get(file), "{file} differs");
        let machine = env!("CARGO_TARGET_TMPDIR");
        assert!(!text.contains(machine), "{file} names a folder of this machine");
    }
    assert!(here.ptx("kernels::two_roundings").contains("\"src/kernels.rs\""));
}

fn rounded_apart(here: &Output) {
    let ptx = here.ptx("kernels::two_roundings");
    assert!(
        ptx.contains("mul.rn.f32") && ptx.contains("add.rn.f32") && !ptx.contains("fma.rn.f32")
    );
    let ptx = here.ptx("kernels::one_rounding");
    assert!(ptx.contains("fma.rn.f32") && !ptx.contains("mul.rn.f32"));
}

fn stated_shape(here: &Output) {
    let ptx = here.ptx("kernels::shaped");
    assert!(ptx.contains(".reqntid 16, 8, 1") && ptx.contains(".minnctapersm 4"));
    assert!(!ptx.contains("%ntid"), "blockDim is a constant");
    assert!(ptx.contains("16008"), "16 * 1000 + 8 is folded");
}

/// A place that was lost among tests of what an iterator gave would be moved by halves.
fn two_variants(here: &Output) {
    let variant = |kernel: &str, target: &str| {
        let is_it = |text: &&String| {
            text.contains(&format!(".target {target}\n")) && text.contains(&format!("{kernel}("))
        };
        let found: Vec<&String> = here.images.values().filter(is_it).collect();
        assert_eq!(found.len(), 1, "images of {kernel} for {target}");
        found[0].clone()
    };
    let (portable, hopper) = (variant("two_ways", "sm_80"), variant("two_ways", "sm_90a"));
    assert!(portable.contains("8000") && !portable.contains("9000"), "{portable}");
    assert!(!portable.contains("wgmma"), "{portable}");
    assert!(hopper.contains("9000") && !hopper.contains("8000"), "{hopper}");
    assert!(hopper.contains("wgmma.commit_group"), "{hopper}");
    // Clusters are no instructions of Hopper's own: later GPUs have them as well.
    let clusters = "two_ways_of_clusters";
    assert!(variant(clusters, "sm_90").contains("8000"));
    assert!(variant(clusters, "sm_90a").contains("9000"));
}

fn tiles_move_vectors(here: &Output) {
    let ptx = here.ptx("kernels::scales_tiles");
    let moves: Vec<&str> = ptx
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| word.starts_with("ld.global") || word.starts_with("st.global"))
        .collect();
    assert_eq!(moves, ["ld.global.v4.b32", "st.global.v4.b32"]);
}

fn waiting_is_marked(here: &Output) {
    assert_eq!(here.record("kernels::waits")[5], "1");
    assert_eq!(here.record("kernels::two_roundings")[5], "0");
}

fn waiting_in_loops_is_marked(here: &Output) {
    assert_eq!(here.record("kernels::spins")[5], "1");
    assert_eq!(here.record("kernels::updates")[5], "0");
}

fn messages_are_cold(here: &Output) {
    let ptx = here.ptx("kernels::checks_in_a_loop");
    assert!(ptx.starts_with(".version"), "primitives need no formatting code");
    let loops = hot_loops::innermost_loops(ptx);
    assert_eq!(loops.len(), 1);
    assert!(!loops[0].text.iter().any(|line| line.contains(".local")), "{:?}", loops[0].text);
    let ptx = here.ptx("kernels::shows_a_type");
    assert!(ptx.starts_with("// formatting\n"));
}

fn assertions_show_both_sides(here: &Output) {
    let holds = |kernel: &str, text: &str| {
        let bytes: Vec<String> = text.bytes().map(|byte| byte.to_string()).collect();
        here.ptx(kernel).contains(&bytes.join(", "))
    };
    for kernel in ["kernels::compares", "kernels::compares_arrays"] {
        assert!(holds(kernel, "assertion `left "), "`{kernel}` does not say what failed");
        assert!(holds(kernel, "\n right: "), "`{kernel}` does not show both sides");
        assert!(!holds(kernel, "panicked"), "`{kernel}` has a panic without a message");
    }
    assert!(here.ptx("kernels::compares").starts_with(".version"), "integers go to the host");
    assert!(here.ptx("kernels::compares_arrays").starts_with("// formatting\n"));
}

fn formatting_is_refused(here: &Output) {
    let record = here.record("kernels::writes_text");
    assert_eq!(record[0], "error");
    assert!(record[2].contains("formats text outside of a panic's message"), "{}", record[2]);
}

/// What a launch is told of its panics makes room where a kernel has all of it.
fn shared_memory_is_whole(output: &Output) {
    let declares =
        |path: &str, what: &str| output.ptx(path).lines().any(|line| line.trim().starts_with(what));
    assert!(declares("kernels::fills_shared_memory", ".shared .align 16 .b8 raddle_shared_"));
    assert!(declares(
        "kernels::fills_shared_memory",
        ".global .align 8 .b8 raddle_launch_in_global"
    ));
    assert!(!output.ptx("kernels::fills_shared_memory").contains("raddle_shared_launch"));
    assert!(output.ptx("kernels::two_roundings").contains("raddle_shared_launch"));
}

fn recursion_is_marked(here: &Output) {
    assert!(here.ptx("kernels::recurses").starts_with("// recursion\n"));
    assert!(here.ptx("kernels::waits").starts_with(".version"));
}

/// Else ptxas, with `-c`, takes their arguments for equal in a warp.
fn recursion_is_taken(here: &Output) {
    let taken = |kernel: &str| -> Vec<String> {
        let ptx = here.ptx(kernel);
        let lines = ptx.lines().filter(|line| line.contains("raddle_recursive"));
        let tables: Vec<&str> = lines.filter_map(|l| l.split_once("] = {")).map(|l| l.1).collect();
        let names = tables.iter().flat_map(|table| table.trim_end_matches("};").split(", "));
        names.map(str::to_owned).collect()
    };
    let is_defined = |kernel: &str, name: &str| {
        here.ptx(kernel).contains(&format!(" {name}(\n")) && name.starts_with("kernels_")
    };
    for (kernel, functions) in [
        ("kernels::recurses", &["fibonacci"][..]),
        ("kernels::recurses_in_turn", &["down", "around"]),
    ] {
        let names = taken(kernel);
        assert_eq!(names.len(), functions.len(), "{kernel}: {names:?}");
        for function in functions {
            assert!(names.iter().any(|name| name.contains(function)), "{kernel}: {names:?}");
        }
        assert!(names.iter().all(|name| is_defined(kernel, name)), "{kernel}: {names:?}");
    }
    let marked = here.images.values().filter(|ptx| ptx.contains("raddle_recursive")).count();
    assert_eq!(marked, 2, "images without recursion are left alone");
}

fn one_barrier(here: &Output) {
    let ptx = here.ptx("kernels::branches_around_a_barrier");
    assert_eq!(ptx.matches("bar.sync").count() + ptx.matches("barrier.sync").count(), 1);
}

fn products_in_kernel(here: &Output) {
    let ptx = here.ptx("kernels::multiplies");
    assert_eq!(ptx.matches("wgmma.commit_group").count(), 4, "{ptx}");
    assert!(!ptx.contains("call"), "{ptx}");
}

fn offence_has_a_place(here: &Output) {
    let record = here.record("kernels::allocates");
    assert_eq!(record[0], "error");
    let line =
        KERNELS.lines().position(|l| l.contains("collect()")).expect("the line is there") + 1;
    let place = format!(" --> src/kernels.rs:{line}:");
    assert!(
        record[2].contains("it allocates on the heap") && record[2].contains(&place),
        "{}",
        record[2]
    );
    assert!(!record[2].contains("__raddle"), "{}", record[2]);
}

fn safety_costs_nothing(_: &Output) {
    let pairs = compile("pairs", PAIRS);
    let names: Vec<&str> = PAIRS
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(" {"))
        .collect();
    assert!(names.len() >= 6, "{names:?}");
    for name in names {
        let loops = |version: &str| {
            hot_loops::innermost_loops(pairs.ptx(&format!("kernels::{name}::{version}")))
        };
        let (safe, raw) = (loops("safe"), loops("raw"));
        let text = |loops: &[hot_loops::Loop]| {
            loops.iter().map(|l| l.text.join("\n")).collect::<Vec<_>>().join("\n\n")
        };
        assert!(!raw.is_empty(), "`{name}` has a loop");
        for ptx in ["safe", "raw"].map(|version| pairs.ptx(&format!("kernels::{name}::{version}")))
        {
            let entry = &ptx[ptx.find(".entry").expect("an entry")..];
            let entry = &entry[..entry.find("\n}").expect("its end")];
            assert!(!entry.contains("ld.b") && !entry.contains("st.b"), "`{name}`:\n{entry}");
        }
        assert!(safe == raw, "`{name}`, safe:\n{}\n\nunsafe:\n{}", text(&safe), text(&raw));
    }
}
