//! The device crate: a small package in the target folder that includes the user's
//! kernel files, compiled by cargo and the user's rustc to unoptimised bitcode.
//!
//! Cargo does the work it is good at (dependencies, features, caching); we add
//! `--cfg raddle_device` and `--emit=llvm-bc` for the target crates.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value as Json;

use crate::digest::Digest;
use crate::error::Error;
use crate::names::DEVICE_ROOT;
use crate::profile::Checks;
use crate::store::{create_folder, read_text, write_if_changed};
use crate::toolchain::Toolchain;
use crate::workspace::{Member, Workspace};

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

/// One crate of the device build.
#[derive(Clone, Debug)]
pub struct CompiledCrate {
    /// Name of the crate.
    pub name: String,
    /// Folder of its package.
    pub home: PathBuf,
    /// Whether its sources may change: it is no package of a registry.
    pub is_local: bool,
    /// Its bitcode; macros and build scripts have none.
    pub bitcode: Option<PathBuf>,
    /// The files that rustc read for it.
    pub sources: Vec<PathBuf>,
    /// Variables of the environment that rustc read for it, with their values.
    pub variables: Vec<(String, Option<String>)>,
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
    /// The kernels' crate, then its dependencies.
    Compiled(Vec<CompiledCrate>),
    /// rustc's errors.
    Refused { diagnostics: String },
}

/// A device crate whose files are written, ready to be compiled.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Its folder.
    pub folder: PathBuf,
    /// Name of its crate.
    pub name: String,
    /// What decides its compilation besides the files that rustc reads: manifest, root
    /// and lock file.
    pub digest: Digest,
    /// The features of the package that are on.
    pub features: Vec<String>,
}

/// Writes the device crate.
pub fn prepare(
    package: &Package,
    workspace: &Workspace,
    device_crate: &DeviceCrate,
    extra_dependencies: &[String],
    checks: Checks,
) -> Result<Prepared, Error> {
    let features = enabled_features(own(package, workspace)?);
    let folder = folder_of(package, device_crate, checks, &features);
    create_folder(&folder)?;
    let source = match (&device_crate.text, device_crate.roots.as_slice()) {
        (Some(text), [root]) => {
            let copy = copy_of_program(package, workspace, &root.file);
            create_folder(copy.parent().unwrap_or(&folder))?;
            write_if_changed(&copy, text)?;
            copy
        }
        (_, roots) => {
            let source = folder.join("lib.rs");
            write_if_changed(&source, &root_source(roots))?;
            source
        }
    };
    let manifest =
        manifest(package, workspace, device_crate, &source, extra_dependencies, checks, &features)?;
    write_if_changed(&folder.join("Cargo.toml"), &manifest)?;
    let lock = match &workspace.lock {
        Some(lock) => copy_lock(lock, &folder)?,
        None => Digest::of(b""),
    };
    // A program's copy is written here, so that no record lists it as a source.
    let root = match &device_crate.text {
        Some(text) => text.clone(),
        None => read_text(&source)?,
    };
    let digest =
        Digest::of_all([manifest.as_bytes(), root.as_bytes(), lock.to_string().as_bytes()]);
    let name = device_crate.program.clone().unwrap_or_else(|| package.name.clone());
    Ok(Prepared { folder, name, digest, features })
}

/// Compiles the device crate.
pub fn build(
    package: &Package,
    toolchain: &Toolchain,
    workspace: &Workspace,
    prepared: &Prepared,
) -> Result<Outcome, Error> {
    let folder = &prepared.folder;
    // All packages of the workspace, so that what is said of them is the same in all
    // its device builds.
    let unlocked;
    let all = match workspace.lock {
        Some(_) => workspace,
        None => {
            unlocked = Workspace::of_device_crate(package, folder)?;
            &unlocked
        }
    };
    let flags = rustc_flags(package, &workspace.root, folder, all);
    let target_folder = shared_target_folder(&package.out);
    let bootstrap = bootstrap(&prepared.name, all);
    let output = run_cargo(package, toolchain, folder, &target_folder, &flags, &bootstrap)?;
    if !output.status.success() {
        let diagnostics = without_progress(&String::from_utf8_lossy(&output.stderr));
        return Ok(Outcome::Refused { diagnostics });
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    Ok(Outcome::Compiled(read_artifacts(&messages, folder, workspace)))
}

/// Where the device crate lies: in one place for all builds of the package that make
/// the same of it. `cargo check` and `cargo build` have different `OUT_DIR`s.
fn folder_of(
    package: &Package,
    device_crate: &DeviceCrate,
    checks: Checks,
    features: &[String],
) -> PathBuf {
    let place = package.folder.as_os_str().as_encoded_bytes();
    let identity = Digest::of_all([place, features.join(",").as_bytes()]).to_string();
    let kind = checks.name();
    let name = match &device_crate.program {
        Some(program) => format!("{program}.{kind}"),
        None => kind.to_owned(),
    };
    let packages = shared_target_folder(&package.out).join("crates");
    packages.join(format!("{}-{}", package.name, &identity[..8])).join(name)
}

/// Where a program lies, reduced to its kernels. Copies lie below one folder as the
/// originals lie below the workspace, so that mapping this folder makes places right;
/// what a build script wrote, or lies elsewhere, is named without its folders, which
/// are those of this machine.
fn copy_of_program(package: &Package, workspace: &Workspace, file: &Path) -> PathBuf {
    let copies = program_copies(&package.out);
    let name = Path::new(file.file_name().unwrap_or_default());
    match (file.strip_prefix(&package.out), file.strip_prefix(&workspace.root)) {
        (Ok(below), _) => copies.join("generated").join(&package.name).join(below),
        (_, Ok(below)) => copies.join(below),
        _ => copies.join("elsewhere").join(&package.name).join(name),
    }
}

/// Gives the device crate the versions of the host build: its lock file starts as a
/// copy of the workspace's and is copied again when that changes.
fn copy_lock(lock: &Path, folder: &Path) -> Result<Digest, Error> {
    let text = read_text(lock)?;
    let digest = Digest::of(text.as_bytes());
    let (copy, mark) = (folder.join("Cargo.lock"), folder.join("lock-of-workspace"));
    let is_copied = std::fs::read_to_string(&mark).is_ok_and(|old| old == digest.to_string());
    if !(is_copied && copy.is_file()) {
        write_if_changed(&copy, &text)?;
        write_if_changed(&mark, &digest.to_string())?;
    }
    Ok(digest)
}

/// The package as cargo describes it.
fn own<'w>(package: &Package, workspace: &'w Workspace) -> Result<Member<'w>, Error> {
    workspace.member_in(&package.folder).ok_or_else(|| Error::Tool {
        tool: "cargo metadata".to_owned(),
        reason: "the package is not in its own metadata".to_owned(),
    })
}

fn manifest(
    package: &Package,
    workspace: &Workspace,
    device_crate: &DeviceCrate,
    source: &Path,
    extra: &[String],
    checks: Checks,
    features: &[String],
) -> Result<String, Error> {
    let own = own(package, workspace)?;
    let words = words_of(&device_crate.roots)?;
    // Cargo tells crates in a target folder apart by the names of their packages, as
    // each is a workspace of its own. The crate has the name under which the user knows
    // it: symbols and messages begin with it.
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
        own.edition(),
        program.unwrap_or(&package.name).replace('-', "_"),
        source.display().to_string(),
        checks.overflow,
        checks.debug_assertions,
    );
    let mut wanted = Vec::new();
    let mut lines = String::new();
    for dependency in own.dependencies() {
        let is_for_tests = dependency["kind"] == "dev";
        if dependency["kind"] == "build" || (is_for_tests && !own.is_local()) {
            continue;
        }
        let package_name = dependency["name"].as_str().unwrap_or_default();
        let name = dependency["rename"].as_str().unwrap_or(package_name);
        let crate_name = name.replace('-', "_");
        let is_mentioned = package_name == "raddle"
            || extra.iter().any(|e| e == name || *e == crate_name)
            || words.contains(&crate_name);
        if is_mentioned && !wanted.contains(&name) {
            lines.push_str(&dependency_line(name, package_name, dependency));
            wanted.push(name);
        }
    }
    text.push_str(&feature_lines(own, &wanted, features));
    text.push_str("\n[dependencies]\n");
    text.push_str(&lines);
    Ok(text)
}

/// The package's features with what they turn on in the dependencies that the device
/// crate has too.
fn feature_lines(own: Member<'_>, wanted: &[&str], enabled: &[String]) -> String {
    let mut text = String::new();
    for (name, items) in own.features().filter(|(name, _)| *name != "default") {
        let keep = |item: &&str| match (item.strip_prefix("dep:"), item.split_once('/')) {
            (Some(package), _) => wanted.contains(&package),
            (None, Some((package, _))) => wanted.contains(&package.trim_end_matches('?')),
            (None, None) => true,
        };
        let items: Vec<String> =
            items.into_iter().filter(keep).map(|item| format!("{item:?}")).collect();
        writeln!(text, "{name:?} = [{}]", items.join(", "))
            .expect("writing to a string cannot fail");
    }
    let enabled: Vec<String> = enabled.iter().map(|name| format!("{name:?}")).collect();
    writeln!(text, "default = [{}]", enabled.join(", ")).expect("writing to a string cannot fail");
    text
}

/// The user's features that are on now.
fn enabled_features(own: Member<'_>) -> Vec<String> {
    let is_on = |name: &&str| {
        let variable = format!("CARGO_FEATURE_{}", name.to_uppercase().replace('-', "_"));
        *name != "default" && std::env::var_os(variable).is_some()
    };
    own.features().map(|(name, _)| name).filter(is_on).map(str::to_owned).collect()
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
    if dependency["optional"] == true {
        fields.push("optional = true".to_owned());
    }
    format!("{name} = {{ {} }}\n", fields.join(", "))
}

/// All identifiers in the kernel files, to see which dependencies they mention.
fn words_of(roots: &[Root]) -> Result<BTreeSet<String>, Error> {
    let mut words = BTreeSet::new();
    for file in roots.iter().flat_map(|root| source_tree(&root.file)) {
        let text = read_text(&file)?;
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
    root: &Path,
    folder: &Path,
    workspace: &Workspace,
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
    for member in workspace.members().filter(|member| member.home() != folder) {
        homes.insert((member.home(), member.name()));
    }
    homes.into_iter().for_each(|(home, name)| remap(home, name));
    // rustc replaces the prefix as text and keeps the slash that follows it.
    for root in [root, &program_copies(&package.out)] {
        remap(root, "");
        remap(&root.join(""), "");
    }
    flags
}

/// `RUSTC_BOOTSTRAP` for the device build: the crates, by name, for which the stable
/// compiler accepts the one unstable flag that we pass. Naming them keeps build
/// scripts from taking the compiler for a nightly one. Cargo itself asks rustc for
/// its settings under the name `___`.
fn bootstrap(name: &str, workspace: &Workspace) -> String {
    let mut names: BTreeSet<String> =
        workspace.members().flat_map(Member::crates).map(|name| name.replace('-', "_")).collect();
    names.insert(name.replace('-', "_"));
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
pub fn clear_environment(command: &mut Command) {
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

/// The crates that cargo's artifact messages name, the device crate first. The order
/// of the messages says nothing: crates that were compiled before are reported as
/// cargo comes across them.
fn read_artifacts(messages: &str, folder: &Path, workspace: &Workspace) -> Vec<CompiledCrate> {
    let own_manifest = folder.join("Cargo.toml");
    let mut crates = Vec::new();
    for message in messages.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok()) {
        let is_script = message["target"]["kind"][0] == "custom-build";
        if message["reason"] != "compiler-artifact" || is_script {
            continue;
        }
        let files = message["filenames"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut files = files.iter().filter_map(Json::as_str).map(Path::new);
        // A library's metadata, or the library that holds a crate's macros.
        let is_telling = |file: &&Path| {
            file.extension().is_some_and(|e| e == "rmeta" || e == std::env::consts::DLL_EXTENSION)
        };
        let (Some(file), Some(manifest)) =
            (files.find(is_telling), message["manifest_path"].as_str())
        else {
            continue;
        };
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let stem = stem.strip_prefix("lib").unwrap_or(&stem).to_owned();
        let bitcode = file.with_file_name(format!("{stem}.bc"));
        let (sources, variables) = read_dep_info(&file.with_file_name(format!("{stem}.d")));
        let place = if Path::new(manifest) == own_manifest { 0 } else { crates.len() };
        let home = Path::new(manifest).parent().unwrap_or(Path::new("")).to_owned();
        crates.insert(
            place,
            CompiledCrate {
                name: message["target"]["name"].as_str().unwrap_or_default().replace('-', "_"),
                is_local: workspace.member_in(&home).is_none_or(Member::is_local),
                home,
                bitcode: bitcode.is_file().then_some(bitcode),
                sources: sources.iter().map(|source| folder.join(source)).collect(),
                variables,
            },
        );
    }
    crates
}

/// The files and variables that rustc says it read.
fn read_dep_info(dep_info: &Path) -> (Vec<PathBuf>, Vec<(String, Option<String>)>) {
    const VARIABLE: &str = "# env-dep:";
    let Ok(text) = std::fs::read_to_string(dep_info) else { return (Vec::new(), Vec::new()) };
    let variable = |line: &str| match line.strip_prefix(VARIABLE)?.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), Some(value.to_owned()))),
        None => Some((line[VARIABLE.len()..].to_owned(), None)),
    };
    let variables = text.lines().filter_map(variable).collect();
    let first = text.lines().find_map(|line| line.split_once(": "));
    let list = first.map_or("", |(_, list)| list).replace("\\ ", "\0");
    let files = list.split(' ').filter(|path| !path.is_empty());
    (files.map(|path| PathBuf::from(path.replace('\0', " "))).collect(), variables)
}

/// One target folder for all device crates of a workspace, so that `raddle-device`
/// and friends are compiled once.
pub fn shared_target_folder(out: &Path) -> PathBuf {
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
