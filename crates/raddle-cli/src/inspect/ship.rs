//! `raddle kernels ship`: PTX into the packages that hold the kernels, so that those
//! who depend on them can build without LLVM.
//!
//! `raddle-build` does the work when `RADDLE_SHIP` names the package: see its module
//! `ship` for what lies in the folder `raddle-ptx` and when it is used.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{InspectError, Result, read_metadata};

/// Which features to ship for, as cargo's own options.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Features {
    /// Features to activate, separated by commas.
    #[arg(long, value_name = "FEATURES")]
    features: Option<String>,
    /// Activate all features.
    #[arg(long)]
    all_features: bool,
    /// Leave out the default feature.
    #[arg(long)]
    no_default_features: bool,
}

/// A configuration that was shipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shipped {
    /// Its folder.
    pub folder: PathBuf,
    /// Its images.
    pub images: usize,
}

/// Ships the kernels of the crate at `place`, or of all crates of a workspace.
///
/// ## Errors
///
/// [`InspectError::NotShipped`] if cargo or the device build fails, and if no crate
/// there has kernels.
pub fn ship(place: &Path, features: &Features) -> Result<Vec<Shipped>> {
    let crates = read_metadata(place)?;
    let manifest = if place.is_dir() { place.join("Cargo.toml") } else { place.to_owned() };
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["check", "--quiet", "--all-targets", "--manifest-path"]).arg(&manifest);
    let names: Vec<&str> = crates.packages.iter().map(|package| &*package.name).collect();
    for name in &names {
        cargo.args(["--package", name]);
    }
    if let Some(list) = &features.features {
        cargo.args(["--features", list]);
    }
    if features.all_features {
        cargo.arg("--all-features");
    }
    if features.no_default_features {
        cargo.arg("--no-default-features");
    }
    let failed = |reason: String| InspectError::NotShipped { reason };
    let status = cargo.env("RADDLE_SHIP", names.join(",")).status();
    let status = status.map_err(|error| failed(error.to_string()))?;
    if !status.success() {
        return Err(failed("cargo check failed".to_owned()));
    }
    let shipped: Vec<Shipped> =
        crates.packages.iter().flat_map(|package| shipped_in(&package.folder)).collect();
    if shipped.is_empty() {
        let reason = format!("{} has no kernels that a build script compiles", names.join(", "));
        return Err(failed(reason));
    }
    Ok(shipped)
}

/// The configurations that lie in a package.
fn shipped_in(package: &Path) -> Vec<Shipped> {
    let entries = std::fs::read_dir(package.join("raddle-ptx")).into_iter().flatten().flatten();
    let describe = |folder: PathBuf| {
        let list = std::fs::read_to_string(folder.join("shipped.tsv")).ok()?;
        let images = list.lines().filter(|line| line.starts_with("image\t")).count();
        Some(Shipped { folder, images })
    };
    let mut shipped: Vec<Shipped> = entries.filter_map(|entry| describe(entry.path())).collect();
    shipped.sort_by(|a, b| a.folder.cmp(&b.folder));
    shipped
}
