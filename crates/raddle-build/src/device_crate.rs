//! The device crate: a small package below `OUT_DIR` that includes the user's
//! kernel files, compiled by cargo and the user's rustc to unoptimised bitcode.
//!
//! Cargo does the work it is good at (dependencies, features, caching); we add
//! `--cfg raddle_device` and `--emit=llvm-bc` for the target crates.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value as Json;

use crate::error::Error;
use crate::names::DEVICE_ROOT;
use crate::profile::Checks;
use crate::toolchain::Toolchain;

/// A file whose module tree holds kernels.
#[derive(Clone, Debug)]
pub struct Root {
    /// Name of the module.
    pub module: String,
    /// The file.
    pub file: PathBuf,
}

/// One compilation: files of the package, or one program with kernels inside.
#[derive(Clone, Debug)]
pub struct DeviceCrate {
    /// Name of the program, if it is one.
    pub program: Option<String>,
    /// What the device build sees of the program's file.
    pub text: Option<String>,
    /// The files.
    pub roots: Vec<Root>,
}

/// What cargo tells a build script about its package.
#[derive(Clone, Debug)]
pub struct Package {
    /// `CARGO_PKG_NAME`
    pub name: String,
    /// `CARGO_MANIFEST_DIR`
    pub folder: PathBuf,
    /// `OUT_DIR`
    pub out: PathBuf,
    /// `CARGO`
    pub cargo: PathBuf,
}

impl Package {
    /// Reads the build script's environment.
    pub fn from_environment() -> Result<Self, Error> {
        let get = |variable: &'static str| {
            std::env::var_os(variable).ok_or(Error::NotABuildScript { variable })
        };
        Ok(Self {
            name: get("CARGO_PKG_NAME")?.to_string_lossy().into_owned(),
            folder: get("CARGO_MANIFEST_DIR")?.into(),
            out: get("OUT_DIR")?.into(),
            cargo: get("CARGO")?.into(),
        })
    }
}

/// Bitcode of one crate of the device build.
#[derive(Clone, Debug)]
pub struct CrateBitcode {
    /// Name of the crate.
    pub name: String,
    /// The file.
    pub path: PathBuf,
}

/// What rustc made.
pub enum Outcome {
    /// Bitcode of the kernels' crate, then of its dependencies; and the source
    /// files that went into them.
    Compiled { crates: Vec<CrateBitcode>, sources: Vec<PathBuf> },
    /// rustc's errors.
    Refused { diagnostics: String },
}

/// Writes the device crate and compiles it.
pub fn build(
    package: &Package,
    toolchain: &Toolchain,
    device_crate: &DeviceCrate,
    extra_dependencies: &[String],
    checks: Checks,
) -> Result<Outcome, Error> {
    let roots = device_crate.roots.as_slice();
    let folder_name =
        device_crate.program.as_ref().map_or("device".to_owned(), |p| format!("device-{p}"));
    let folder = package.out.join("raddle").join(folder_name);
    create_folder(&folder)?;
    let metadata = read_metadata(package, &package.folder, false)?;
    let workspace = PathBuf::from(metadata["workspace_root"].as_str().unwrap_or_default());
    let source = match (&device_crate.text, roots) {
        (Some(text), [root]) => {
            // Copies lie below one folder as the originals lie below the workspace, so
            // that mapping this folder makes places right.
            let relative = root.file.strip_prefix(&workspace).unwrap_or(&root.file);
            let copy = program_copies(&package.out).join(relative);
            create_folder(copy.parent().unwrap_or(&folder))?;
            write_if_changed(&copy, text)?;
            copy
        }
        _ => {
            let source = folder.join("lib.rs");
            write_if_changed(&source, &root_source(roots))?;
            source
        }
    };
    let manifest = manifest(package, &metadata, device_crate, &source, extra_dependencies, checks)?;
    write_if_changed(&folder.join("Cargo.toml"), &manifest)?;
    let lock = workspace.join("Cargo.lock");
    let device_lock = folder.join("Cargo.lock");
    if lock.is_file() && !device_lock.is_file() {
        std::fs::copy(&lock, &device_lock).map_err(|source| Error::Io {
            action: "copy",
            path: lock,
            source,
        })?;
    }
    // The workspace's packages beside the device crate's own, so that what is said of
    // them is the same in all device builds of a workspace.
    let all =
        [read_metadata(package, &package.folder, true)?, read_metadata(package, &folder, true)?];
    let flags = rustc_flags(package, &workspace, &folder, &all);
    let target_folder = shared_target_folder(&package.out);
    let output = run_cargo(package, toolchain, &folder, &target_folder, &flags, &bootstrap(&all))?;
    if !output.status.success() {
        let diagnostics = without_progress(&String::from_utf8_lossy(&output.stderr));
        return Ok(Outcome::Refused { diagnostics });
    }
    Ok(read_artifacts(&String::from_utf8_lossy(&output.stdout), &folder))
}

/// `cargo metadata` of the package in `folder`, with its dependencies if asked.
fn read_metadata(package: &Package, folder: &Path, with_dependencies: bool) -> Result<Json, Error> {
    let tool = || "cargo metadata".to_owned();
    let run = |is_offline: bool| {
        let mut command = Command::new(&package.cargo);
        command
            .args(["metadata", "--format-version=1", "--manifest-path"])
            .arg(folder.join("Cargo.toml"));
        if !with_dependencies {
            command.arg("--no-deps");
        }
        if is_offline {
            command.arg("--offline");
        }
        clear_environment(&mut command);
        command.output().map_err(|e| Error::Tool { tool: tool(), reason: e.to_string() })
    };
    let mut output = run(true)?;
    if !output.status.success() {
        output = run(false)?;
    }
    if !output.status.success() {
        return Err(Error::Tool {
            tool: tool(),
            reason: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|e| Error::Tool { tool: tool(), reason: e.to_string() })
}

fn manifest(
    package: &Package,
    metadata: &Json,
    device_crate: &DeviceCrate,
    source: &Path,
    extra: &[String],
    checks: Checks,
) -> Result<String, Error> {
    let tool = || "cargo metadata".to_owned();
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let own = packages
        .iter()
        .find(|p| {
            p["manifest_path"]
                .as_str()
                .is_some_and(|path| Path::new(path) == package.folder.join("Cargo.toml"))
        })
        .ok_or_else(|| Error::Tool {
            tool: tool(),
            reason: "the package is not in its own metadata".to_owned(),
        })?;
    let words = words_of(&device_crate.roots)?;
    // Cargo tells crates in a target folder apart by the names of their packages, as
    // each is a workspace of its own.
    let program = device_crate.program.as_ref();
    let name = program.map_or(package.name.clone(), |p| format!("{}-{p}", package.name));
    let mut text = format!(
        "# Written by raddle-build: the kernels of `{}`, compiled for the device.\n\
         [package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"{}\"\n\n[lib]\nname = \"{}\"\npath = {:?}\n\n[workspace]\n\n\
         [profile.release]\nopt-level = 3\ndebug = \"line-tables-only\"\ncodegen-units = 1\npanic = \"abort\"\n\
         incremental = false\nstrip = \"none\"\noverflow-checks = {}\ndebug-assertions = {}\n\n\
         # The vocabulary is checked by its own tests.\n\
         [profile.release.package.raddle-device]\noverflow-checks = false\ndebug-assertions = false\n\n\
         [profile.release.build-override]\nopt-level = 0\ncodegen-units = 16\ndebug = false\n\n[features]\n",
        package.name,
        own["edition"].as_str().unwrap_or("2024"),
        package.name.replace('-', "_"),
        source.display().to_string(),
        checks.overflow,
        checks.debug_assertions,
    );
    text.push_str(&features(own));
    text.push_str("\n[dependencies]\n");
    for dependency in own["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default() {
        if dependency["kind"].as_str().is_some_and(|kind| kind == "build") {
            continue;
        }
        let package_name = dependency["name"].as_str().unwrap_or_default();
        let name = dependency["rename"].as_str().unwrap_or(package_name);
        let crate_name = name.replace('-', "_");
        let is_wanted = package_name == "raddle"
            || extra.iter().any(|e| e == name || *e == crate_name)
            || words.contains(&crate_name);
        if is_wanted && !text.contains(&format!("\n{name} = ")) {
            text.push_str(&dependency_line(name, package_name, dependency));
        }
    }
    Ok(text)
}

/// The user's features, with those on that are on now.
fn features(own: &Json) -> String {
    let mut text = String::new();
    let mut enabled = Vec::new();
    for name in
        own["features"].as_object().into_iter().flat_map(|f| f.keys()).filter(|n| *n != "default")
    {
        writeln!(text, "\"{name}\" = []").expect("writing to a string cannot fail");
        let variable = format!("CARGO_FEATURE_{}", name.to_uppercase().replace('-', "_"));
        if std::env::var_os(variable).is_some() {
            enabled.push(format!("\"{name}\""));
        }
    }
    writeln!(text, "default = [{}]", enabled.join(", ")).expect("writing to a string cannot fail");
    text
}

fn dependency_line(name: &str, package_name: &str, dependency: &Json) -> String {
    let mut fields = vec![format!("package = \"{package_name}\"")];
    if let Some(path) = dependency["path"].as_str() {
        fields.push(format!("path = {path:?}"));
    } else if let Some(source) = dependency["source"].as_str().and_then(|s| s.strip_prefix("git+"))
    {
        let (url, query) = source.split_once('?').unwrap_or((source, ""));
        fields.push(format!("git = {url:?}"));
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            if let Some((key, value)) = pair.split_once('=') {
                fields.push(format!("{key} = {value:?}"));
            }
        }
    } else {
        fields.push(format!("version = {:?}", dependency["req"].as_str().unwrap_or("*")));
    }
    let features: Vec<String> = dependency["features"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|f| f.as_str().map(|f| format!("{f:?}")))
        .collect();
    fields.push(format!("features = [{}]", features.join(", ")));
    let uses_defaults = dependency["uses_default_features"].as_bool().unwrap_or(true);
    fields.push(format!("default-features = {uses_defaults}"));
    format!("{name} = {{ {} }}\n", fields.join(", "))
}

/// All identifiers in the kernel files, to see which dependencies they mention.
fn words_of(roots: &[Root]) -> Result<BTreeSet<String>, Error> {
    let mut words = BTreeSet::new();
    for file in roots.iter().flat_map(|root| source_tree(&root.file)) {
        let text = std::fs::read_to_string(&file).map_err(|source| Error::Io {
            action: "read",
            path: file,
            source,
        })?;
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        words.extend(text.split(|c| !is_word(c)).filter(|w| !w.is_empty()).map(str::to_owned));
    }
    Ok(words)
}

/// A root file and the `.rs` files in the folder of its submodules.
pub fn source_tree(root: &Path) -> Vec<PathBuf> {
    let mut files = vec![root.to_path_buf()];
    let is_folder_module = root.file_name().is_some_and(|name| name == "mod.rs");
    let folder = if is_folder_module {
        root.parent().map(Path::to_path_buf)
    } else {
        Some(root.with_extension(""))
    };
    let mut folders: Vec<PathBuf> = folder.into_iter().collect();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.filter_map(Result::ok).map(|e| e.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && path != root {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// The device crate's root: the user's modules by their own names.
///
/// A file named by `#[path]` looks for its submodules beside itself, not in the
/// folder of its name as an ordinary module does. An inline module with a path only
/// sets the folder, so the real modules hang below such ones and are brought up by
/// name; segments that begin with `__raddle_` are no part of a kernel's path.
fn root_source(roots: &[Root]) -> String {
    let mut text = String::from("#![allow(warnings)]\n");
    for (number, root) in roots.iter().enumerate() {
        let folder_module = root.file.file_name().is_some_and(|name| name == "mod.rs");
        let home = if folder_module {
            root.file.parent().and_then(Path::parent)
        } else {
            root.file.parent()
        };
        let home = home.unwrap_or(Path::new("")).display().to_string();
        let stem = if folder_module {
            root.file.parent().and_then(Path::file_name)
        } else {
            root.file.file_stem()
        };
        let module = &root.module;
        let is_own_name = stem.is_some_and(|stem| stem.to_string_lossy() == *module);
        let path = root.file.file_name().unwrap_or_default().to_string_lossy();
        let attribute = if is_own_name { String::new() } else { format!("#[path = {path:?}] ") };
        writeln!(
            text,
            "#[path = {home:?}]\nmod {DEVICE_ROOT}{number} {{ {attribute}pub mod {module}; }}\npub use {DEVICE_ROOT}{number}::{module};"
        )
        .expect("writing to a string cannot fail");
    }
    text
}

/// The flags for all crates of the device build. They are the same in all device
/// builds of a workspace: cargo compiles crates in the common target folder anew
/// whenever their flags change.
///
/// Paths in panics and line tables are relative to the user's workspace, as those
/// of the host build are, and begin with `NAME/` for other packages; nothing of
/// the machine stays. Later prefixes win.
fn rustc_flags(
    package: &Package,
    workspace: &Path,
    folder: &Path,
    metadata: &[Json],
) -> Vec<String> {
    let mut flags: Vec<String> = [
        "--cfg=raddle_device",
        "--check-cfg=cfg(raddle_device)",
        "--emit=llvm-bc",
        "-Cno-prepopulate-passes",
        "-Awarnings",
        // MIR jump threading knows nothing of convergence: it copies a call that holds a
        // barrier into both sides of a branch, and the lanes of a warp then wait at
        // different copies. Only an unstable flag turns the pass off; see `bootstrap`.
        "-Zmir-enable-passes=-JumpThreading",
    ]
    .map(str::to_owned)
    .to_vec();
    let mut remap = |from: &Path, to: &str| {
        flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    };
    let mut homes = BTreeSet::new();
    for dependency in packages(metadata) {
        let manifest = Path::new(dependency["manifest_path"].as_str().unwrap_or_default());
        match (manifest.parent(), dependency["name"].as_str()) {
            (Some(home), Some(name)) if home != folder => _ = homes.insert((home, name)),
            _ => {}
        }
    }
    homes.into_iter().for_each(|(home, name)| remap(home, name));
    // rustc replaces the prefix as text and keeps the slash that follows it.
    for root in [workspace, &program_copies(&package.out)] {
        remap(root, "");
        remap(&root.join(""), "");
    }
    flags
}

/// The packages that cargo lists.
fn packages(metadata: &[Json]) -> impl Iterator<Item = &Json> {
    metadata.iter().flat_map(|m| m["packages"].as_array().map(Vec::as_slice).unwrap_or_default())
}

/// `RUSTC_BOOTSTRAP` for the device build: the crates, by name, for which the stable
/// compiler accepts the one unstable flag that we pass. Naming them keeps build
/// scripts from taking the compiler for a nightly one. Cargo itself asks rustc for
/// its settings under the name `___`.
fn bootstrap(metadata: &[Json]) -> String {
    let targets = packages(metadata)
        .flat_map(|p| p["targets"].as_array().map(Vec::as_slice).unwrap_or_default());
    let mut names: BTreeSet<String> =
        targets.filter_map(|t| t["name"].as_str()).map(|name| name.replace('-', "_")).collect();
    names.insert("___".to_owned());
    names.into_iter().collect::<Vec<_>>().join(",")
}

fn run_cargo(
    package: &Package,
    toolchain: &Toolchain,
    folder: &Path,
    target_folder: &Path,
    flags: &[String],
    bootstrap: &str,
) -> Result<std::process::Output, Error> {
    let attempt = |is_offline: bool| {
        let mut command = Command::new(&package.cargo);
        command.arg("build").args([
            "--lib",
            "--release",
            "--message-format=json-render-diagnostics",
        ]);
        command.arg("--manifest-path").arg(folder.join("Cargo.toml"));
        command.arg("--target-dir").arg(target_folder).arg("--target").arg(&toolchain.host);
        if is_offline {
            command.arg("--offline");
        }
        clear_environment(&mut command);
        command
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .env("CARGO_TERM_COLOR", "never")
            .env("RUSTC_BOOTSTRAP", bootstrap)
            .env("RUSTC", &toolchain.rustc);
        command.current_dir(folder);
        command
            .output()
            .map_err(|e| Error::Tool { tool: "cargo build".to_owned(), reason: e.to_string() })
    };
    let output = attempt(true)?;
    let lacks_network =
        !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("--offline");
    if lacks_network { attempt(false) } else { Ok(output) }
}

/// The build script's own environment would change how the device build works.
fn clear_environment(command: &mut Command) {
    const OF_THE_SCRIPT: &[&str] = &[
        "RUSTFLAGS",
        "TARGET",
        "HOST",
        "OPT_LEVEL",
        "PROFILE",
        "DEBUG",
        "NUM_JOBS",
        "OUT_DIR",
        "MAKEFLAGS",
        "RUSTDOC",
        "RUSTDOCFLAGS",
    ];
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        let is_cargos = name.starts_with("CARGO") && name != "CARGO_HOME";
        if is_cargos || name.starts_with("RUSTC_") || OF_THE_SCRIPT.contains(&&*name) {
            command.env_remove(&key);
        }
    }
}

/// rustc's errors without cargo's progress lines.
fn without_progress(stderr: &str) -> String {
    const PROGRESS: &[&str] =
        &["Compiling ", "Checking ", "Finished ", "Blocking ", "Locking ", "Updating ", "Adding "];
    let is_progress = |line: &str| PROGRESS.iter().any(|word| line.trim_start().starts_with(word));
    stderr.lines().filter(|line| !is_progress(line)).collect::<Vec<_>>().join("\n")
}

/// The bitcode of the crates that cargo's artifact messages name, the device crate
/// first. The order of the messages says nothing: crates that were compiled before
/// are reported as cargo comes across them.
fn read_artifacts(messages: &str, folder: &Path) -> Outcome {
    let own_manifest = folder.join("Cargo.toml");
    let mut crates = Vec::new();
    let mut sources = BTreeSet::new();
    for message in messages.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok()) {
        if message["reason"] != "compiler-artifact" {
            continue;
        }
        let files = message["filenames"].as_array().map(Vec::as_slice).unwrap_or_default();
        for file in files.iter().filter_map(Json::as_str).filter(|file| file.ends_with(".rmeta")) {
            let metadata = Path::new(file);
            let stem = metadata.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let stem = stem.strip_prefix("lib").unwrap_or(&stem).to_owned();
            let bitcode = metadata.with_file_name(format!("{stem}.bc"));
            if bitcode.is_file() {
                let name = message["target"]["name"].as_str().unwrap_or_default().replace('-', "_");
                let is_own =
                    message["manifest_path"].as_str().is_some_and(|m| Path::new(m) == own_manifest);
                let place = if is_own { 0 } else { crates.len() };
                crates.insert(place, CrateBitcode { name, path: bitcode });
                sources.extend(sources_in(&metadata.with_file_name(format!("{stem}.d"))));
            }
        }
    }
    Outcome::Compiled { crates, sources: sources.into_iter().collect() }
}

/// The source files that a dep-info file lists.
fn sources_in(dep_info: &Path) -> Vec<PathBuf> {
    let Ok(text) = std::fs::read_to_string(dep_info) else { return Vec::new() };
    let Some(first) = text.lines().find(|line| line.contains(": ")) else { return Vec::new() };
    let (_, list) = first.split_once(": ").unwrap_or_default();
    let spaces = list.replace("\\ ", "\0");
    spaces
        .split(' ')
        .filter(|p| !p.is_empty())
        .map(|p| PathBuf::from(p.replace('\0', " ")))
        .collect()
}

/// One target folder for all device crates of a workspace, so that `raddle-device`
/// and friends are compiled once.
fn shared_target_folder(out: &Path) -> PathBuf {
    let build = out.ancestors().find(|a| a.file_name().is_some_and(|name| name == "build"));
    match build.and_then(Path::parent).and_then(Path::parent) {
        Some(target) => target.join("raddle-device"),
        None => out.join("raddle").join("target"),
    }
}

/// Where programs lie, reduced to their kernels.
fn program_copies(out: &Path) -> PathBuf {
    shared_target_folder(out).join("programs")
}

/// Creates a folder and those above it.
pub fn create_folder(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(|source| Error::Io {
        action: "create",
        path: path.to_path_buf(),
        source,
    })
}

/// Writes a file unless it already holds the text, so that its date tells when
/// it last changed.
pub fn write_if_changed(path: &Path, text: &str) -> Result<(), Error> {
    if std::fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    std::fs::write(path, text).map_err(|source| Error::Io {
        action: "write",
        path: path.to_path_buf(),
        source,
    })
}
