//! PTX inside a package, for those who build it without LLVM.
//!
//! `RADDLE_SHIP=<package>`, which `raddle kernels ship` sets, writes the folder
//! `raddle-ptx/` beside the manifest: for each configuration (run-time checks and
//! features) the images and `shipped.tsv`, which lists the kernels and everything
//! they were made from by content. A build that finds no LLVM takes them if, and
//! only if, all of that is the same there; with LLVM they are never used.
//!
//! ```text
//! raddle-ptx 1                                    the format
//! made-by    <rustc's version>                    for readers
//! files      <module or program> <file>           what the build script asked for
//! file       <path in the package> <digest>
//! crate      <name> <version> <digest> <path>…    a dependency of the kernels
//! image, error                                    as in the index
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::device_crate::{CompiledCrate, DeviceCrate, Package};
use crate::digest::Digest;
use crate::error::Error;
use crate::index::{DeviceCode, Image};
use crate::profile::Checks;
use crate::store::{create_folder, line, lines, read_text, write_if_changed};
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;

/// The folder in the package.
pub const FOLDER: &str = "raddle-ptx";
const LIST: &str = "shipped.tsv";
const FORMAT: &str = "1";
/// Stands for `OUT_DIR` in paths: files that the build script itself wrote.
const GENERATED: &str = "$OUT_DIR";

/// The name of a configuration and of its folder.
pub fn configuration(checks: Checks, features: &[String]) -> String {
    let mut name = checks.name().to_owned();
    for feature in features {
        name.push('+');
        name.push_str(feature);
    }
    name
}

/// Whether this build is to write the package's PTX into the package.
pub fn is_asked_for(package: &Package) -> bool {
    let names = std::env::var("RADDLE_SHIP").unwrap_or_default();
    names.split(',').any(|name| name.trim() == package.name)
}

/// What there is to ship for one configuration.
pub struct Parcel<'a> {
    /// The package.
    pub package: &'a Package,
    /// Its workspace.
    pub workspace: &'a Workspace,
    /// The configuration's name.
    pub configuration: String,
    /// Each device crate with its kernels and the crates it was compiled from.
    pub parts: Vec<(&'a DeviceCrate, DeviceCode, Vec<CompiledCrate>)>,
}

impl Parcel<'_> {
    /// Writes the folder of the configuration.
    pub fn write(&self, toolchain: &Toolchain) -> Result<(), Error> {
        if let Some((path, message)) =
            self.parts.iter().flat_map(|(_, code, _)| &code.errors).next()
        {
            let reason = format!("kernel `{path}` has no PTX: {message}");
            return Err(Error::NotShippable { reason });
        }
        let folder = self.package.folder.join(FOLDER).join(&self.configuration);
        create_folder(&folder)?;
        let made_by = toolchain.version.lines().next().unwrap_or_default();
        let mut text = line(&["raddle-ptx", FORMAT]) + &line(&["made-by", made_by]);
        let mut written = BTreeSet::from([LIST.to_owned()]);
        text +=
            &asked_files(self.package, self.parts.iter().map(|(device_crate, ..)| *device_crate))?;
        for file in self.own_files()? {
            let digest = digest_of(&resolve(self.package, &file))?;
            text += &line(&["file", &file, &digest.to_string()]);
        }
        for ((name, version), (digest, paths)) in self.dependencies()? {
            let mut fields = vec!["crate", &name, &version, &digest];
            fields.extend(paths.iter().map(String::as_str));
            text += &line(&fields);
        }
        for image in self.parts.iter().flat_map(|(_, code, _)| &code.images) {
            write_if_changed(&folder.join(image.file()), &image.ptx)?;
            text += &image.record();
            written.insert(image.file());
        }
        write_if_changed(&folder.join(LIST), &text)?;
        let io = |source| Error::Io { action: "clear", path: folder.clone(), source };
        for entry in std::fs::read_dir(&folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !written.contains(&name) {
                std::fs::remove_file(&path).map_err(io)?;
            }
        }
        Ok(())
    }

    /// The package's own files that went into the kernels.
    fn own_files(&self) -> Result<BTreeSet<String>, Error> {
        let mut files = BTreeSet::new();
        for (device_crate, _, crates) in &self.parts {
            let roots = device_crate.roots.iter().map(|root| root.file.clone());
            let written = crate::device_crate::shared_target_folder(&self.package.out);
            let sources = crates.first().into_iter().flat_map(|own| own.sources.iter().cloned());
            for file in roots.chain(sources.filter(|file| !file.starts_with(&written))) {
                files.insert(portable(self.package, &file)?);
            }
        }
        Ok(files)
    }

    /// The crates that the kernels were compiled with: digest and files by name and
    /// version.
    fn dependencies(&self) -> Result<Dependencies, Error> {
        let mut dependencies = Dependencies::new();
        for one in self.parts.iter().flat_map(|(_, _, crates)| crates.iter().skip(1)) {
            let Some(member) = self.workspace.member_in(&one.home) else { continue };
            let inside = |file: &PathBuf| file.strip_prefix(&one.home).ok().map(Path::to_owned);
            let mut paths: Vec<String> = one
                .sources
                .iter()
                .filter_map(inside)
                .map(|path| path.display().to_string().replace('\\', "/"))
                .collect();
            paths.sort();
            paths.dedup();
            let key = (member.name().to_owned(), member.version().to_owned());
            let digest = digest_of_files(&one.home, paths.iter().map(String::as_str))?;
            dependencies.insert(key, (digest.to_string(), paths));
        }
        Ok(dependencies)
    }
}

type Dependencies = BTreeMap<(String, String), (String, Vec<String>)>;

/// The kernels that the package ships for a configuration.
///
/// # Errors
///
/// The reason why they cannot be taken, in words that complete "no shipped PTX: ".
pub fn take(
    package: &Package,
    workspace: &Workspace,
    device_crates: &[DeviceCrate],
    configuration: &str,
) -> Result<DeviceCode, String> {
    let shipped = package.folder.join(FOLDER);
    let folder = shipped.join(configuration);
    let list = folder.join(LIST);
    if !shipped.is_dir() {
        return Err(format!("the package has no folder {FOLDER}"));
    }
    let Ok(text) = std::fs::read_to_string(&list) else {
        let entries = std::fs::read_dir(&shipped).into_iter().flatten().filter_map(Result::ok);
        let mut names: Vec<String> =
            entries.map(|entry| format!("`{}`", entry.file_name().to_string_lossy())).collect();
        names.sort();
        let names = names.join(", ");
        return Err(format!("{FOLDER} is for {names}, and this build is `{configuration}`"));
    };
    let asked = asked_files(package, device_crates.iter()).map_err(|error| error.to_string())?;
    let is_asked = |fields: &[String]| fields.first().is_some_and(|first| first == "files");
    let listed: String = lines(&text)
        .filter(|fields| is_asked(fields))
        .map(|fields| line(&fields.iter().map(String::as_str).collect::<Vec<_>>()))
        .collect();
    if listed != asked {
        return Err(format!(
            "the build script names other kernel files than {} has",
            list.display()
        ));
    }
    let (mut code, mut changed) = (DeviceCode::default(), Vec::new());
    for fields in lines(&text) {
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        match fields[..] {
            ["raddle-ptx", FORMAT] | ["made-by", _] | ["files", ..] => {}
            ["raddle-ptx", other] => {
                return Err(format!("{} is of format {other}, expected {FORMAT}", list.display()));
            }
            ["file", path, digest] => {
                let now = Digest::of_file(&resolve(package, path));
                if now.is_none_or(|now| now.to_string() != digest) {
                    changed.push(format!("{path} is not what it was made from"));
                }
            }
            ["crate", name, version, digest, ref paths @ ..] => {
                changed.extend(difference(workspace, name, version, digest, paths));
            }
            ["image", path, target, entry, file, synchronizes @ ("0" | "1")] => {
                let ptx = read_text(&folder.join(file)).map_err(|error| error.to_string())?;
                code.images.push(Image {
                    path: path.to_owned(),
                    target: target.to_owned(),
                    entry: entry.to_owned(),
                    synchronizes: synchronizes == "1",
                    ptx,
                });
            }
            _ => return Err(format!("{} is damaged: `{}`", list.display(), fields.join(" "))),
        }
    }
    if changed.is_empty() {
        Ok(code)
    } else {
        Err(format!("{} does not fit: {}", list.display(), changed.join("; ")))
    }
}

/// How a dependency differs from the one that the kernels were compiled with.
fn difference(
    workspace: &Workspace,
    name: &str,
    version: &str,
    digest: &str,
    paths: &[&str],
) -> Option<String> {
    let members: Vec<_> = workspace.members().filter(|member| member.name() == name).collect();
    let Some(member) = members.iter().find(|member| member.version() == version) else {
        let others: Vec<&str> = members.iter().map(|member| member.version()).collect();
        let found = if others.is_empty() { "none".to_owned() } else { others.join(" and ") };
        return Some(format!("it was made with {name} {version}, found {found}"));
    };
    let now = digest_of_files(member.home(), paths.iter().copied()).ok();
    let is_same = now.is_some_and(|now| now.to_string() == digest);
    (!is_same).then(|| format!("the sources of {name} {version} differ"))
}

/// What the build script asked for, one line for each file.
fn asked_files<'d>(
    package: &Package,
    device_crates: impl Iterator<Item = &'d DeviceCrate>,
) -> Result<String, Error> {
    let mut text = String::new();
    for device_crate in device_crates {
        for root in &device_crate.roots {
            let name = device_crate.program.as_ref().unwrap_or(&root.module);
            text += &line(&["files", name, &portable(package, &root.file)?]);
        }
    }
    Ok(text)
}

/// A file's path as it is the same on every machine.
fn portable(package: &Package, file: &Path) -> Result<String, Error> {
    let text = |path: &Path| path.display().to_string().replace('\\', "/");
    if let Ok(below) = file.strip_prefix(&package.out) {
        return Ok(format!("{GENERATED}/{}", text(below)));
    }
    match file.strip_prefix(&package.folder) {
        Ok(below) => Ok(text(below)),
        Err(_) => {
            let reason = format!("{} lies outside the package", file.display());
            Err(Error::NotShippable { reason })
        }
    }
}

fn resolve(package: &Package, path: &str) -> PathBuf {
    match path.strip_prefix(GENERATED).and_then(|rest| rest.strip_prefix('/')) {
        Some(below) => package.out.join(below),
        None => package.folder.join(path),
    }
}

fn digest_of(file: &Path) -> Result<Digest, Error> {
    let io = |source| Error::Io { action: "read", path: file.to_path_buf(), source };
    Ok(Digest::of(&std::fs::read(file).map_err(io)?))
}

fn digest_of_files<'p>(home: &Path, paths: impl Iterator<Item = &'p str>) -> Result<Digest, Error> {
    let mut texts = Vec::new();
    for path in paths {
        texts.push(format!("{path} {}", digest_of(&home.join(path))?));
    }
    Ok(Digest::of_all(texts.iter().map(String::as_bytes)))
}
