//! The `raddle` binary from outside: exit codes, text and JSON, and a crate made
//! by `raddle new` that is built, tested and run without network.

#[path = "cli/models.rs"]
mod models;
#[path = "cli/profile.rs"]
mod profile;
#[path = "cli/serve.rs"]
mod serve;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The binary with arguments.
fn raddle(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raddle"));
    command.args(arguments);
    command
}

/// Runs to the end and gives exit code, standard output and standard error.
fn outcome(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    (status.code().expect("no signal"), text(stdout), text(stderr))
}

/// An empty folder for one test.
fn fresh(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("the target folder is writable");
    dir
}

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates/raddle-cli")
}

#[test]
fn doctor_says_the_same_as_text_and_as_json() {
    let (code, text, _) = outcome(&mut raddle(&["doctor"]));
    let (json_code, json, _) = outcome(&mut raddle(&["doctor", "--json"]));
    let report: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let is_usable = report["gpu_usable"].as_bool().expect("a boolean");
    assert_eq!(code, i32::from(!is_usable));
    assert_eq!(json_code, code);
    let verdict = if is_usable { "A GPU is usable." } else { "No GPU is usable" };
    assert!(text.contains(verdict), "{text}");
    let library = report["toolchain"]["llvm_library"].as_str().expect("this build needed LLVM");
    assert!(text.contains(library) && Path::new(library).is_file(), "{text}");
    assert_eq!(report["raddle"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn doctor_without_a_driver_names_the_remedy() {
    let mut command = raddle(&["doctor", "--json"]);
    let (code, json, _) = outcome(command.env("RADDLE_CUDA_LIBRARY", "libno-such-driver.so"));
    assert_eq!(code, 1);
    let report: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert!(report["driver"].is_null());
    let problem = &report["problems"][0];
    assert!(problem["what"].as_str().unwrap().contains("libno-such-driver.so"), "{json}");
    assert!(problem["remedy"].as_str().unwrap().contains("install the NVIDIA driver"), "{json}");
    assert_eq!(problem["blocks_gpu"], true);
}

#[test]
fn a_command_line_that_is_not_understood_exits_with_2() {
    for arguments in [&["dance"][..], &["demo", "--size", "0x0"], &["kernels"], &[]] {
        let (code, _, error) = outcome(&mut raddle(arguments));
        assert_eq!(code, 2, "{arguments:?}");
        assert!(error.contains("Usage:") || error.contains("invalid value"), "{error}");
    }
}

#[test]
fn demo_writes_pictures_and_reports_a_panic() {
    let out = fresh("demo");
    let arguments = ["demo", "--size", "96x64", "--out"];
    let (code, text, error) = outcome(raddle(&arguments).arg(&out));
    assert_eq!(code, 0, "{error}\n{text}");
    assert!(text.contains("equals a plain loop in all 6144 pixels"), "{text}");
    assert!(text.contains("src/kernels.rs:") && text.contains("index out of bounds"), "{text}");
    assert!(text.contains("the next launch on the same device: right"), "{text}");
    for name in ["1-scene.png", "2-blurred.png", "3-edges.png", "4-equalised.png"] {
        let file = std::fs::File::open(out.join(name)).expect("a picture");
        let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().unwrap();
        assert_eq!((reader.info().width, reader.info().height), (96, 64));
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        let (low, high) = (pixels.iter().min().unwrap(), pixels.iter().max().unwrap());
        assert!(high - low > 100, "{name} shows something: {low} to {high}");
    }
}

/// The crate outside this workspace: made, tested and run with path dependencies
/// on this checkout, in its own target folder, without network.
#[test]
fn a_new_crate_builds_and_runs() {
    let dir = fresh("new").join("my-app");
    let arguments = ["new", "my-app", "--path", dir.to_str().unwrap(), "--raddle"];
    let (code, text, error) = outcome(raddle(&arguments).arg(checkout()));
    assert_eq!(code, 0, "{error}");
    assert!(text.contains("by path"), "{text}");
    // The same versions of dependencies as this workspace, which are at hand.
    std::fs::copy(checkout().join("Cargo.lock"), dir.join("Cargo.lock")).unwrap();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-target");

    let (code, text, error) = outcome(cargo(&dir, &target).args(["test", "--offline"]));
    assert_eq!(code, 0, "{error}\n{text}");
    assert!(text.contains("test result: ok. 2 passed"), "{text}");
    let (code, text, error) = outcome(cargo(&dir, &target).args(["run", "--offline"]));
    assert_eq!(code, 0, "{error}");
    assert!(text.contains("[12.0, 24.0, 36.0, 48.0]"), "{text}");

    let place = ["--manifest-path", dir.to_str().unwrap()];
    let list = |what: &[&str]| {
        let mut command = raddle(&[&["kernels"], what, &place].concat());
        outcome(command.env("CARGO_TARGET_DIR", &target))
    };
    let (code, text, error) = list(&["list"]);
    assert_eq!(code, 0, "{error}");
    assert!(text.contains("kernels::saxpy"), "{text}");
    let (code, text, error) = list(&["ptx", "saxpy"]);
    assert_eq!(code, 0, "{error}");
    assert!(text.contains(".visible .entry"), "{text}");
    let program = target.join("debug/my-app");
    let (code, text, error) =
        outcome(raddle(&["kernels", "list", "--json", "--binary"]).arg(program));
    assert_eq!(code, 0, "{error}");
    let listed: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert!(listed["images"][0]["entry"].as_str().unwrap().contains("saxpy"), "{text}");
    let (code, _, error) = list(&["ptx", "gemm"]);
    assert_eq!(code, 1);
    assert!(error.contains("no kernel `gemm`, expected one of: kernels::saxpy"), "{error}");
}

/// Cargo for a crate outside this workspace, without what the cargo that runs
/// this test says about itself.
fn cargo(dir: &Path, target: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(dir).env("CARGO_TARGET_DIR", target);
    for (name, _) in std::env::vars() {
        if name.starts_with("CARGO_PKG") || name.starts_with("CARGO_MANIFEST") {
            command.env_remove(name);
        }
    }
    command
}

#[test]
fn an_existing_folder_is_left_alone() {
    let dir = fresh("existing");
    let (code, _, error) =
        outcome(raddle(&["new", "app", "--raddle"]).arg(checkout()).arg("--path").arg(&dir));
    assert_eq!(code, 1);
    assert!(error.contains("exists: choose another name or --path"), "{error}");
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
}

/// Runs where none of NVIDIA's tools can be found, on the kernels inside this
/// very binary.
#[test]
fn resources_without_ptxas_name_the_remedy() {
    for what in ["resources", "sass"] {
        let binary = env!("CARGO_BIN_EXE_raddle");
        let mut command = raddle(&["kernels", what, "--binary", binary]);
        let (code, _, error) =
            outcome(command.current_dir(std::env::temp_dir()).env("PATH", "no-such-folder"));
        assert_eq!(code, 1);
        assert!(error.contains("`ptxas` was not found"), "{error}");
        assert!(error.contains("pip install --no-deps --target target/ptxas"), "{error}");
    }
}

/// Runs fully where `cargo xtask ptx-check` has installed the assembler.
#[test]
fn resources_come_from_ptxas() {
    if !checkout().join("target/ptxas/nvidia").is_dir() {
        println!("skipped: no ptxas below target/ptxas (cargo xtask ptx-check installs it)");
        return;
    }
    let binary = env!("CARGO_BIN_EXE_raddle");
    let mut command = raddle(&["kernels", "resources", "probe", "--json", "--binary", binary]);
    let (code, text, error) = outcome(&mut command);
    assert_eq!(code, 0, "{error}");
    let rows: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let architectures: Vec<_> =
        rows.as_array().unwrap().iter().map(|row| row["architecture"].as_str().unwrap()).collect();
    assert_eq!(architectures, ["sm_80", "sm_90", "sm_100", "sm_120"]);
    for row in rows.as_array().unwrap() {
        assert!(row["registers"].as_u64().unwrap() > 0, "{row}");
        assert!(row["shared_bytes"].as_u64().unwrap() >= 4 * 33, "slots of a block's warps: {row}");
        assert_eq!(row["barriers"], 1, "{row}");
    }
}

#[test]
fn a_program_without_kernels_is_refused() {
    let (code, _, error) = outcome(raddle(&["kernels", "list", "--binary"]).arg("no-such-program"));
    assert_eq!(code, 1);
    assert!(error.contains("no-such-program: "), "{error}");
    let this = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let (code, _, error) = outcome(raddle(&["kernels", "list", "--binary"]).arg(this));
    assert_eq!(code, 1);
    assert!(error.contains("holds no PTX"), "{error}");
}

#[test]
fn a_crate_without_kernels_says_to_build_it() {
    let dir = fresh("unbuilt");
    std::fs::create_dir(dir.join("src")).unwrap();
    std::fs::write(dir.join("src/lib.rs"), "").unwrap();
    let manifest = "[package]\nname = \"unbuilt\"\nedition = \"2024\"\n[workspace]\n";
    std::fs::write(dir.join("Cargo.toml"), manifest).unwrap();
    let mut command = raddle(&["kernels", "list", "--release", "--manifest-path"]);
    let (code, _, error) = outcome(command.arg(&dir).env_remove("CARGO_TARGET_DIR"));
    assert_eq!(code, 1);
    assert!(error.contains("no compiled kernels of unbuilt"), "{error}");
    assert!(error.contains("cargo build --release"), "{error}");
}

/// The first page shows the crate that `raddle new` writes, which another test
/// builds and runs.
#[test]
fn the_readme_shows_what_new_writes() {
    let read = |path: &str| std::fs::read_to_string(checkout().join(path)).unwrap();
    let readme = read("README.md");
    let templates = ["kernels.rs", "main.rs", "build.rs"]
        .map(|file| read(&format!("crates/raddle-cli/src/scaffold/{file}.txt")));
    let blocks: Vec<&str> =
        readme.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 3);
    for (block, template) in blocks.iter().zip(&templates) {
        for line in block.lines().skip(1).map(str::trim) {
            let is_known = template.lines().any(|known| known.trim() == line);
            assert!(is_known, "`raddle new` does not write: {line}");
        }
    }
    assert!(readme.contains("cargo run --release -- demo"));
    assert!(readme.contains("cargo test --workspace"));
}
