//! Writes the module with every program and its kernel, and the table of programs,
//! then compiles the kernels for the GPU.

#[path = "src/header.rs"]
#[allow(dead_code)]
mod header;

#[path = "src/generate/mod.rs"]
mod generate;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use header::Header;

/// A program file with its header.
struct Source {
    area: String,
    name: String,
    file: PathBuf,
    header: Header,
}

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    println!("cargo::rerun-if-changed=programs");
    println!("cargo::rerun-if-changed=src");
    let mut sources = find(&root().join("programs"));
    generate(&out.join("generated"));
    sources.extend(find_area(&out.join("generated")));
    write_if_changed(&out.join("kernels.rs"), &kernels(&sources));
    write_if_changed(&out.join("table.rs"), &table(&sources));
    let mut kernels = raddle_build::Kernels::new().file(out.join("kernels.rs"));
    for dependency in ["fixed", "glam", "libm", "oorandom"] {
        kernels = kernels.dependency(dependency);
    }
    kernels.run();
}

fn root() -> PathBuf {
    env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it").into()
}

/// All programs in the folders of `folder`, in the order of their names; those of
/// `RADDLE_CONFORMANCE_AREAS` only, if it is set.
fn find(folder: &Path) -> Vec<Source> {
    println!("cargo::rerun-if-env-changed=RADDLE_CONFORMANCE_AREAS");
    let wanted = env::var("RADDLE_CONFORMANCE_AREAS").unwrap_or_default();
    let is_wanted = |area: &Path| wanted.is_empty() || wanted.split(',').any(|w| w == stem(area));
    let areas = entries(folder);
    areas.iter().filter(|area| is_wanted(area)).flat_map(|area| find_area(area)).collect()
}

/// The programs of one area.
fn find_area(area: &Path) -> Vec<Source> {
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let header = Header::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        Source { area: stem(area), name: stem(&file), file, header }
    };
    entries(area).into_iter().map(read).collect()
}

/// Writes the random programs of this build into `folder`, and nothing else.
fn generate(folder: &Path) {
    let count: u64 = number("RADDLE_FUZZ_PROGRAMS", 40);
    let first: u64 = number("RADDLE_FUZZ_SEED", 1);
    fs::create_dir_all(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let files: Vec<PathBuf> =
        (first..first + count).map(|seed| folder.join(format!("seed_{seed}.rs"))).collect();
    for stale in entries(folder).iter().filter(|file| !files.contains(file)) {
        fs::remove_file(stale).unwrap_or_else(|e| panic!("{}: {e}", stale.display()));
    }
    for (file, seed) in files.iter().zip(first..) {
        write_if_changed(file, &generate::program(seed));
    }
}

/// A number from the environment.
fn number(variable: &str, default: u64) -> u64 {
    println!("cargo::rerun-if-env-changed={variable}");
    match env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} = `{text}` is no number")),
        Err(_) => default,
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let list = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = list.map(|entry| entry.expect("readable folder").path()).collect();
    paths.sort();
    paths
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("a file has a name").to_str().expect("names are ASCII").to_owned()
}

/// The module that both compilations see: each program and one kernel for it.
fn kernels(sources: &[Source]) -> String {
    let [answer, probe] = ["answer", "probe"].map(|name| root().join(format!("src/{name}.rs")));
    let mut text =
        format!("#[path = {answer:?}]\npub mod answer;\n#[path = {probe:?}]\npub mod probe;\n");
    let mut area = "";
    for source in sources {
        if source.area != area {
            text.push_str(if area.is_empty() { "" } else { "}\n" });
            area = &source.area;
            // Programs show constructs for their own sake, not the best way to write them.
            let lints = if area == "generated" {
                "warnings, clippy::all"
            } else {
                "clippy::all, clippy::pedantic"
            };
            writeln!(text, "#[allow({lints})]\npub mod {area} {{").unwrap();
        }
        writeln!(text, "#[path = {:?}]\npub mod {};", source.file, source.name).unwrap();
    }
    text.push_str("}\nuse answer::{Words, words};\nuse raddle::prelude::*;\n");
    for Source { area, name, header, .. } in sources.iter().filter(|one| one.header.gap.is_none()) {
        let (parameter, argument) = match &header.input {
            Some((element, _)) => (format!("input: &[{element}], "), ", input"),
            None => (String::new(), ""),
        };
        // Called in every thread and outside any branch: programs may hold barriers.
        writeln!(
            text,
            "#[kernel]\npub fn {area}_{name}({parameter}mut out: PerThread<Words>) {{\n    \
             let answer = words({area}::{name}::program(global_x() as u32{argument}));\n    \
             if let Some((_, out)) = out.mine() {{\n        *out = answer;\n    }}\n}}"
        )
        .unwrap();
    }
    text
}

/// The host's table of programs.
fn table(sources: &[Source]) -> String {
    let mut text = String::from("/// All programs.\npub static PROGRAMS: &[Program] = &[\n");
    for Source { area, name, file, header } in sources {
        let path = format!("kernels::{area}::{name}::program");
        let (prepare, upload, input, kinds) = match &header.input {
            Some((element, len)) => (
                format!("let input = input::<{element}>({len});"),
                format!("let input = stream.upload(&input::<{element}>({len}))?;"),
                "&input, ",
                "kinds_of_with_input",
            ),
            None => (String::new(), String::new(), "", "kinds_of"),
        };
        let argument = if input.is_empty() { "" } else { ", &input" };
        let call = match header.is_device_only {
            true => "None".to_owned(),
            false => format!(
                "Some(|n| {{ {prepare} (0..n).map(|t| words({path}(t{argument}))).collect() }})"
            ),
        };
        let launch = match &header.gap {
            Some(_) => "None".to_owned(),
            None => format!(
                "Some(|stream, grid, out| {{ {upload} \
                 stream.launch(grid, kernels::{area}_{name}({input}out))?; Ok(()) }})"
            ),
        };
        writeln!(
            text,
            "Program {{ area: {area:?}, name: {name:?}, file: {file:?}, \
             source: include_str!({file:?}), kinds: || {kinds}({path}), call: {call}, \
             launch: {launch} }},"
        )
        .unwrap();
    }
    text.push_str("];\n");
    text
}

fn write_if_changed(file: &Path, text: &str) {
    if fs::read_to_string(file).ok().as_deref() != Some(text) {
        fs::write(file, text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }
}
