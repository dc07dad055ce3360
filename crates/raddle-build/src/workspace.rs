//! What cargo knows about the workspace of the package: where its lock file is
//! and which packages take part.
//!
//! Asking cargo takes a tenth of a second and more, so the answer is kept and
//! used again while the lock file and the manifests it came from are unchanged.
//! A package from a registry belongs to the workspace of the application that
//! uses it, whose lock file decides the versions of the host build too.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value as Json, json};

use crate::device_crate::{Package, clear_environment, shared_target_folder};
use crate::digest::Digest;
use crate::error::Error;
use crate::store::{create_folder, write_whole};

/// A workspace and its packages.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Its folder.
    pub root: PathBuf,
    /// Its lock file, if there is one.
    pub lock: Option<PathBuf>,
    /// Its packages and all that they depend on, as `cargo metadata` lists them.
    packages: Vec<Json>,
}

/// One of the packages.
#[derive(Clone, Copy, Debug)]
pub struct Member<'w>(&'w Json);

impl<'w> Member<'w> {
    /// Its name.
    pub fn name(self) -> &'w str {
        self.0["name"].as_str().unwrap_or_default()
    }

    /// Its version.
    pub fn version(self) -> &'w str {
        self.0["version"].as_str().unwrap_or_default()
    }

    /// The edition of its crates.
    pub fn edition(self) -> &'w str {
        self.0["edition"].as_str().unwrap_or("2024")
    }

    /// The folder of its manifest.
    pub fn home(self) -> &'w Path {
        self.manifest().parent().unwrap_or(Path::new(""))
    }

    /// Its manifest.
    pub fn manifest(self) -> &'w Path {
        Path::new(self.0["manifest_path"].as_str().unwrap_or_default())
    }

    /// Whether it comes from a folder and not from a registry or repository.
    pub fn is_local(self) -> bool {
        self.0["source"].is_null()
    }

    /// Its features and what each turns on.
    pub fn features(self) -> impl Iterator<Item = (&'w str, Vec<&'w str>)> {
        let items =
            |items: &'w Json| items.as_array().into_iter().flatten().filter_map(Json::as_str);
        let features = self.0["features"].as_object().into_iter().flatten();
        features.map(move |(name, list)| (name.as_str(), items(list).collect()))
    }

    /// Its dependencies as cargo describes them.
    pub fn dependencies(self) -> &'w [Json] {
        self.0["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default()
    }

    /// The names of its crates.
    pub fn crates(self) -> impl Iterator<Item = &'w str> {
        self.0["targets"].as_array().into_iter().flatten().filter_map(|t| t["name"].as_str())
    }
}

impl Workspace {
    /// The workspace that `package` is built in.
    pub fn find(package: &Package) -> Result<Self, Error> {
        let manifest = package.folder.join("Cargo.toml");
        let has_lock = |folder: &&Path| {
            folder.join("Cargo.lock").is_file() && folder.join("Cargo.toml").is_file()
        };
        // The target folder lies in the workspace unless the user moved it; a package
        // of the workspace lies in it too.
        let above_output = package.out.ancestors().find(has_lock);
        let above_package = package.folder.ancestors().find(has_lock);
        for root in above_output.into_iter().chain(above_package) {
            let workspace = Self::kept_or_asked(package, root)?;
            if workspace.members().any(|member| member.manifest() == manifest) {
                return Ok(workspace);
            }
        }
        // Without a lock file cargo would write one beside the package.
        let answer = ask_cargo(package, &package.folder, false)?;
        Ok(Self::from_metadata(&answer, None))
    }

    /// A workspace of which cargo was asked with all dependencies, for the device
    /// crate in `folder`.
    pub fn of_device_crate(package: &Package, folder: &Path) -> Result<Self, Error> {
        Ok(Self::from_metadata(&ask_cargo(package, folder, true)?, None))
    }

    /// All packages.
    pub fn members(&self) -> impl Iterator<Item = Member<'_>> {
        self.packages.iter().map(Member)
    }

    /// The package whose manifest is in `folder`.
    pub fn member_in(&self, folder: &Path) -> Option<Member<'_>> {
        self.members().find(|member| member.home() == folder)
    }

    fn from_metadata(answer: &Json, lock: Option<PathBuf>) -> Self {
        let root = PathBuf::from(answer["workspace_root"].as_str().unwrap_or_default());
        let packages = answer["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
        Self { root, lock, packages: packages.iter().map(essence).collect() }
    }

    /// Cargo's answer for the workspace in `root`: the one that is kept if its
    /// manifests and the lock file still are what they were.
    fn kept_or_asked(package: &Package, root: &Path) -> Result<Self, Error> {
        let lock = root.join("Cargo.lock");
        let folder = shared_target_folder(&package.out).join("cache");
        let name = Digest::of(root.as_os_str().as_encoded_bytes());
        let file = folder.join(format!("workspace-{name}.json"));
        let kept = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(kept) = kept.filter(is_up_to_date) {
            return Ok(Self::from_metadata(&kept, Some(lock)));
        }
        let answer = ask_cargo(package, root, true)?;
        let workspace = Self::from_metadata(&answer, Some(lock.clone()));
        let local = workspace.members().filter(|member| member.is_local());
        let mut files: Vec<PathBuf> = local.map(|member| member.manifest().to_owned()).collect();
        files.extend([lock, workspace.root.join("Cargo.toml")]);
        let digest = |file: &Path| Digest::of_file(file).map(|digest| digest.to_string());
        let files: Vec<Json> = files.iter().map(|file| json!([file, digest(file)])).collect();
        let text = json!({
            "workspace_root": workspace.root,
            "files": files,
            "packages": workspace.packages,
        });
        create_folder(&folder)?;
        write_whole(&file, text.to_string().as_bytes())?;
        Ok(workspace)
    }
}

fn is_up_to_date(kept: &Json) -> bool {
    let files = kept["files"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_same = |entry: &Json| {
        let digest = entry[0].as_str().and_then(|file| Digest::of_file(Path::new(file)));
        digest.is_some_and(|digest| entry[1] == digest.to_string())
    };
    !files.is_empty() && files.iter().all(is_same)
}

/// The part of cargo's description of a package that is used here.
fn essence(package: &Json) -> Json {
    let is_local = package["source"].is_null();
    let target = |target: &Json| json!({ "name": target["name"] });
    let targets = package["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut essence = json!({
        "name": package["name"],
        "version": package["version"],
        "manifest_path": package["manifest_path"],
        "source": package["source"],
        "edition": package["edition"],
        "targets": targets.iter().map(target).collect::<Vec<_>>(),
    });
    // Any package may be the one that holds kernels; most are not, and only some of
    // those come from a registry.
    let uses_raddle = package["dependencies"]
        .as_array()
        .is_some_and(|list| list.iter().any(|dependency| dependency["name"] == "raddle-build"));
    if is_local || uses_raddle {
        essence["features"] = package["features"].clone();
        essence["dependencies"] = package["dependencies"].clone();
    }
    essence
}

/// `cargo metadata` of the package in `folder`, with its dependencies if asked.
fn ask_cargo(package: &Package, folder: &Path, with_dependencies: bool) -> Result<Json, Error> {
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
