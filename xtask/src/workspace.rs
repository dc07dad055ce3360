//! The workspace as cargo sees it: where it is, what is in it, what a build of
//! it made.
//!
//! Everything is asked from cargo itself (`metadata`, `--message-format=json`),
//! so stale files of earlier builds below `target/` are never looked at.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{Error, Result};

/// The root of the workspace.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("xtask lies in the workspace").to_owned()
}

/// Cargo, as it started this program.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // The nested cargo is not part of the build of `xtask`.
    command.env_remove("CARGO_MANIFEST_DIR");
    command
}

/// Runs a command to its end, with its output going through.
pub fn run(command: &mut Command) -> Result {
    let status = command.status().map_err(|source| start_error(command, source))?;
    check(command, status)
}

/// Runs a command and gives what it wrote to its standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stderr(Stdio::inherit()).output().map_err(|source| start_error(command, source))?;
    check(command, output.status)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn start_error(command: &Command, source: std::io::Error) -> Error {
    Error::Start { program: command.get_program().to_string_lossy().into_owned(), source }
}

fn check(command: &Command, status: std::process::ExitStatus) -> Result {
    if status.success() {
        return Ok(());
    }
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let mut words = vec![program.to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    Err(Error::Failed { command: words.join(" "), status })
}

/// One crate of the workspace.
#[derive(Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub dir: PathBuf,
    /// Root source files of its library and programs; not of tests.
    pub roots: Vec<PathBuf>,
    /// Names of the workspace's crates that it depends on, other than for tests.
    pub depends_on: Vec<String>,
}

impl Package {
    /// Whether it lies in `crates/`: neither a test suite nor an example.
    pub fn is_crate(&self) -> bool {
        self.dir.parent().is_some_and(|parent| parent.ends_with("crates"))
    }
}

/// The crates of the workspace.
pub fn packages() -> Result<Vec<Package>> {
    let text = output(cargo().args(["metadata", "--no-deps", "--format-version=1"]))?;
    let metadata: Value = serde_json::from_str(&text)?;
    let packages = list(&metadata["packages"]);
    let names: Vec<String> = packages.iter().map(|package| text_of(&package["name"])).collect();
    Ok(packages.iter().map(|package| read_package(package, &names)).collect())
}

fn read_package(package: &Value, names: &[String]) -> Package {
    let manifest = PathBuf::from(text_of(&package["manifest_path"]));
    let roots = list(&package["targets"]).iter().filter(|target| {
        let kinds = list(&target["kind"]);
        kinds.iter().any(|kind| matches!(kind.as_str(), Some("lib" | "bin" | "proc-macro")))
    });
    let depends_on = list(&package["dependencies"])
        .iter()
        .filter(|dependency| dependency["kind"] != "dev")
        .map(|dependency| text_of(&dependency["name"]))
        .filter(|name| names.contains(name));
    Package {
        name: text_of(&package["name"]),
        dir: manifest.parent().expect("a manifest lies in a folder").to_owned(),
        roots: roots.map(|target| text_of(&target["src_path"]).into()).collect(),
        depends_on: depends_on.collect(),
    }
}

/// What a build made.
#[derive(Debug, Default)]
pub struct Built {
    /// For each crate with a build script: its name and `OUT_DIR`.
    pub out_dirs: Vec<(String, PathBuf)>,
    /// Programs.
    pub programs: Vec<Program>,
}

/// One program of a build.
#[derive(Debug)]
pub struct Program {
    /// The crate.
    pub package: String,
    /// The crate's folder, in which cargo runs its tests.
    pub dir: PathBuf,
    /// Name of the target: the crate for unit tests, the file for integration tests.
    pub target: String,
    /// `lib`, `bin`, `test`, `bench`, `example`.
    pub kind: String,
    /// Whether it is a test harness.
    pub is_test: bool,
    /// The file.
    pub file: PathBuf,
}

/// Runs a cargo build command (`build`, `test --no-run`, …) and reads what it made.
pub fn build(arguments: &[&str]) -> Result<Built> {
    build_with(arguments, &[])
}

/// The same with some variables in cargo's environment.
pub fn build_with(arguments: &[&str], variables: &[(&str, OsString)]) -> Result<Built> {
    let mut cargo = cargo();
    cargo.args(arguments).arg("--message-format=json-render-diagnostics");
    cargo.envs(variables.iter().map(|(name, value)| (name, value)));
    let text = output(&mut cargo)?;
    let mut built = Built::default();
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let message: Value = serde_json::from_str(line)?;
        match message["reason"].as_str() {
            Some("build-script-executed") => {
                let package = package_name(&text_of(&message["package_id"]));
                built.out_dirs.push((package, text_of(&message["out_dir"]).into()));
            }
            Some("compiler-artifact") if message["executable"].is_string() => {
                built.programs.push(read_program(&message));
            }
            _ => {}
        }
    }
    Ok(built)
}

fn read_program(message: &Value) -> Program {
    let manifest = PathBuf::from(text_of(&message["manifest_path"]));
    Program {
        package: package_name(&text_of(&message["package_id"])),
        dir: manifest.parent().expect("a manifest lies in a folder").to_owned(),
        target: text_of(&message["target"]["name"]),
        kind: text_of(&message["target"]["kind"][0]),
        is_test: message["profile"]["test"] == true,
        file: text_of(&message["executable"]).into(),
    }
}

/// The crate's name in a package id: `path+file:///…/NAME#VERSION` or
/// `…#NAME@VERSION`.
fn package_name(id: &str) -> String {
    let (url, fragment) = id.split_once('#').unwrap_or((id, ""));
    match fragment.split_once('@') {
        Some((name, _)) => name.to_owned(),
        None => url.rsplit('/').next().unwrap_or(url).to_owned(),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_ids_of_both_forms_give_the_name() {
        assert_eq!(package_name("path+file:///a/crates/raddle-sim#0.1.0"), "raddle-sim");
        assert_eq!(package_name("path+file:///a/tests/suite#conformance@0.1.0"), "conformance");
        assert_eq!(package_name("registry+https://example.org/index#libm@0.2.16"), "libm");
    }
}
