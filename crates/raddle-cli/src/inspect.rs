//! `raddle kernels`: what the last build of a crate made of its kernels.
//!
//! The kernels come from the index that `raddle-build` left below `target/`.
//! Resources and machine code are asked of NVIDIA's `ptxas` and `nvdisasm`,
//! which nothing else of Raddle needs.

pub mod assembler;
pub mod index;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use serde_json::{Value, json};

use assembler::{AssembleError, Assembled};
use index::{ImageRecord, Index, IndexError};

/// Why the kernels of a crate cannot be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// Cargo does not find a crate at the place.
    #[error("cargo finds no crate at {}:\n{}", manifest.display(), message.trim_end())]
    NoCrate {
        /// The manifest or folder.
        manifest: PathBuf,
        /// What cargo said.
        message: String,
    },
    /// The crate has not been built in this profile, or has no kernels.
    #[error(
        "no compiled kernels of {package} below {}: build it first (cargo build{})",
        target.display(), if *profile == "release" { " --release" } else { "" }
    )]
    NotBuilt {
        /// The crate.
        package: String,
        /// The target folder.
        target: PathBuf,
        /// `debug` or `release`.
        profile: &'static str,
    },
    /// No kernel of that name.
    #[error("no kernel `{wanted}`, expected one of: {}", known.join(", "))]
    NoKernel {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: Vec<String>,
    },
    /// One of NVIDIA's tools is not installed.
    #[error(
        "`{tool}` was not found on PATH or below target/ptxas: install it without the CUDA toolkit \
         by `pip install --no-deps --target target/ptxas {wheel}`"
    )]
    NoTool {
        /// The program.
        tool: &'static str,
        /// The Python package that holds it.
        wheel: &'static str,
    },
    /// A tool failed.
    #[error("{tool} failed:\n{}", output.trim_end())]
    Tool {
        /// The program.
        tool: &'static str,
        /// All that it printed.
        output: String,
    },
    /// The index is damaged.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The assembler refused an image.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Result of this module.
pub type Result<T> = std::result::Result<T, InspectError>;

/// The crate and the build to look at.
#[derive(Debug)]
pub struct Selection {
    /// The crate's folder or manifest.
    pub place: PathBuf,
    /// Whether to look at the release build.
    pub is_release: bool,
    /// Only kernels whose path contains this.
    pub kernel: Option<String>,
    /// Only images for this target.
    pub target: Option<String>,
}

/// One image of one crate.
#[derive(Debug)]
pub struct Image {
    /// The crate.
    pub package: String,
    /// The record of the index.
    pub record: ImageRecord,
}

/// What a build left.
#[derive(Debug, Default)]
pub struct Found {
    /// Images that match the selection.
    pub images: Vec<Image>,
    /// Kernels that cannot run on a GPU: path and reason.
    pub errors: Vec<(String, String)>,
}

/// Finds the images of the selection.
///
/// ## Errors
///
/// See [`InspectError`].
pub fn find(selection: &Selection) -> Result<Found> {
    let crates = read_metadata(&selection.place)?;
    let profile = if selection.is_release { "release" } else { "debug" };
    let mut found = Found::default();
    let mut is_built = false;
    for package in &crates.packages {
        let Some(index) = newest_index(&crates.target, profile, package)? else { continue };
        is_built = true;
        found.errors.extend(index.errors);
        let images = index.images.into_iter();
        found.images.extend(images.map(|record| Image { package: package.clone(), record }));
    }
    if !is_built {
        let package = crates.packages.join(", ");
        return Err(InspectError::NotBuilt { package, target: crates.target, profile });
    }
    if let Some(wanted) = &selection.kernel {
        let known: Vec<String> =
            found.images.iter().map(|image| image.record.kernel.clone()).collect();
        found.images.retain(|image| image.record.kernel.contains(wanted.as_str()));
        if found.images.is_empty() {
            return Err(InspectError::NoKernel { wanted: wanted.clone(), known });
        }
    }
    if let Some(target) = &selection.target {
        found.images.retain(|image| image.record.target == *target);
    }
    found.images.sort_by(|a, b| {
        (&a.package, &a.record.kernel, &a.record.target).cmp(&(
            &b.package,
            &b.record.kernel,
            &b.record.target,
        ))
    });
    Ok(found)
}

/// The crates at a place and where cargo builds them.
struct Crates {
    packages: Vec<String>,
    target: PathBuf,
}

/// Asks cargo about the crate at `place`: that crate alone, or all members if
/// it is the root of a workspace.
fn read_metadata(place: &Path) -> Result<Crates> {
    let manifest = if place.is_dir() { place.join("Cargo.toml") } else { place.to_owned() };
    let no_crate = |message: String| InspectError::NoCrate { manifest: manifest.clone(), message };
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"])
        .arg(&manifest)
        .output()
        .map_err(|error| no_crate(error.to_string()))?;
    if !output.status.success() {
        return Err(no_crate(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let metadata: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| no_crate(error.to_string()))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages: Vec<&Value> =
        metadata["packages"].as_array().map_or(Vec::new(), |list| list.iter().collect());
    let absolute = std::path::absolute(&manifest)
        .and_then(std::fs::canonicalize)
        .map_err(|error| no_crate(error.to_string()))?;
    let own = packages
        .iter()
        .find(|package| Path::new(&text(&package["manifest_path"])) == absolute)
        .map(|package| vec![text(&package["name"])]);
    let is_root = absolute.parent() == Some(Path::new(&text(&metadata["workspace_root"])));
    let packages = match own {
        Some(own) if !is_root || packages.len() == 1 => own,
        _ => packages.iter().map(|package| text(&package["name"])).collect(),
    };
    Ok(Crates { packages, target: text(&metadata["target_directory"]).into() })
}

/// The index that the latest build of `package` wrote.
fn newest_index(target: &Path, profile: &str, package: &str) -> Result<Option<Index>> {
    let builds = target.join(profile).join("build");
    let Ok(entries) = std::fs::read_dir(&builds) else { return Ok(None) };
    let mut newest: Option<(SystemTime, PathBuf)> = None;
    for dir in entries.flatten() {
        let name = dir.file_name().to_string_lossy().into_owned();
        // Folders are called NAME-HASH.
        if name.rsplit_once('-').is_none_or(|(before, _)| before != package) {
            continue;
        }
        let dir = dir.path().join("out/raddle");
        let Ok(time) = std::fs::metadata(dir.join("index.tsv")).and_then(|data| data.modified())
        else {
            continue;
        };
        if newest.as_ref().is_none_or(|(best, _)| time > *best) {
            newest = Some((time, dir));
        }
    }
    newest.map(|(_, dir)| index::read(&dir).map_err(InspectError::from)).transpose()
}

/// The list of images as text: crate, kernel, target, entry.
#[must_use]
pub fn list_text(found: &Found) -> String {
    let mut rows = vec![["CRATE", "KERNEL", "TARGET", "CPU", "ENTRY"].map(str::to_owned).to_vec()];
    rows.extend(found.images.iter().map(|Image { package, record }| {
        let cpu = if record.synchronizes { "fibres" } else { "loop" };
        vec![
            package.clone(),
            record.kernel.clone(),
            record.target.clone(),
            cpu.to_owned(),
            record.entry.clone(),
        ]
    }));
    let mut text = table(&rows);
    for (kernel, message) in &found.errors {
        text += &format!("\n{kernel} cannot run on a GPU: {message}\n");
    }
    text
}

/// The list of images as JSON.
#[must_use]
pub fn list_json(found: &Found) -> Value {
    let image = |Image { package, record }: &Image| {
        json!({
            "crate": package,
            "kernel": record.kernel,
            "target": record.target,
            "entry": record.entry,
            "ptx": record.ptx_file.display().to_string(),
            "synchronizes": record.synchronizes,
        })
    };
    let error =
        |(kernel, message): &(String, String)| json!({ "kernel": kernel, "message": message });
    json!({
        "images": found.images.iter().map(image).collect::<Vec<_>>(),
        "errors": found.errors.iter().map(error).collect::<Vec<_>>(),
    })
}

/// The PTX of the images, one after the other.
///
/// ## Errors
///
/// [`InspectError::Io`] if a file has gone.
pub fn ptx(found: &Found) -> Result<String> {
    let mut text = String::new();
    for Image { record, .. } in &found.images {
        let path = &record.ptx_file;
        text += &std::fs::read_to_string(path)
            .map_err(|source| InspectError::Io { path: path.clone(), source })?;
    }
    Ok(text)
}

/// What an image needs on one architecture.
#[derive(Debug)]
pub struct Row<'f> {
    image: &'f Image,
    architecture: String,
    assembled: Assembled,
}

/// Assembles each image for each architecture on which it can run.
///
/// ## Errors
///
/// [`InspectError::NoTool`] without `ptxas`, [`InspectError::Assemble`] if it
/// refuses an image.
pub fn resources(found: &Found) -> Result<Vec<Row<'_>>> {
    let ptxas = tool("ptxas")?;
    let scratch = Scratch::new()?;
    let cubin = scratch.dir.join("image.cubin");
    let mut rows = Vec::new();
    for image in &found.images {
        let ImageRecord { ptx_file, entry, target, .. } = &image.record;
        for architecture in assembler::architectures_of(target) {
            let assembled = assembler::assemble(&ptxas, ptx_file, entry, &architecture, &cubin)?;
            rows.push(Row { image, architecture, assembled });
        }
    }
    Ok(rows)
}

/// Resources as text.
#[must_use]
pub fn resources_text(rows: &[Row<'_>]) -> String {
    let heads = ["KERNEL", "ARCH", "REGISTERS", "SPILLED", "STACK", "SHARED", "BARRIERS"];
    let mut table_rows = vec![heads.map(str::to_owned).to_vec()];
    let mut warnings = String::new();
    for Row { image, architecture, assembled } in rows {
        let need = assembled.resources;
        let kernel = &image.record.kernel;
        let mut cells = vec![kernel.clone(), architecture.clone()];
        let spilled = need.spill_store_bytes.max(need.spill_load_bytes);
        for number in [need.registers, spilled, need.stack_bytes, need.shared_bytes, need.barriers]
        {
            cells.push(number.to_string());
        }
        table_rows.push(cells);
        for warning in &assembled.warnings {
            warnings += &format!("{kernel} {architecture}: {warning}\n");
        }
    }
    table(&table_rows) + &warnings
}

/// Resources as JSON.
#[must_use]
pub fn resources_json(rows: &[Row<'_>]) -> Value {
    let row = |Row { image, architecture, assembled }: &Row<'_>| {
        let need = assembled.resources;
        json!({
            "crate": image.package,
            "kernel": image.record.kernel,
            "target": image.record.target,
            "architecture": architecture,
            "registers": need.registers,
            "spill_store_bytes": need.spill_store_bytes,
            "spill_load_bytes": need.spill_load_bytes,
            "stack_bytes": need.stack_bytes,
            "shared_bytes": need.shared_bytes,
            "barriers": need.barriers,
            "warnings": assembled.warnings,
        })
    };
    Value::Array(rows.iter().map(row).collect())
}

/// Machine code of the images for `architecture` (or the first on which each
/// runs), with the lines of the Rust source it comes from.
///
/// ## Errors
///
/// [`InspectError::NoTool`] without `ptxas` or `nvdisasm`, otherwise what the
/// tools say.
pub fn sass(found: &Found, architecture: Option<&str>) -> Result<String> {
    let (ptxas, nvdisasm) = (tool("ptxas")?, tool("nvdisasm")?);
    let scratch = Scratch::new()?;
    let cubin = scratch.dir.join("image.cubin");
    let mut text = String::new();
    for Image { record, .. } in &found.images {
        let able = assembler::architectures_of(&record.target);
        let chosen = match architecture {
            Some(wanted) if !able.iter().any(|able| able == wanted) => continue,
            Some(wanted) => wanted,
            None => &able[0],
        };
        assembler::assemble(&ptxas, &record.ptx_file, &record.entry, chosen, &cubin)?;
        let output = Command::new(&nvdisasm)
            .args(["--print-code", "--print-line-info"])
            .arg(&cubin)
            .output()
            .map_err(|source| InspectError::Io { path: nvdisasm.clone(), source })?;
        if !output.status.success() {
            let output = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(InspectError::Tool { tool: "nvdisasm", output });
        }
        text += &format!("// {} for {chosen}\n", record.kernel);
        text += &String::from_utf8_lossy(&output.stdout);
    }
    Ok(text)
}

/// One of NVIDIA's tools, below `target/ptxas` here or in a folder above, or on
/// the path.
fn tool(name: &'static str) -> Result<PathBuf> {
    let wheel = match name {
        "ptxas" => "nvidia-cuda-nvcc==13.0.88",
        _ => "nvidia-cuda-nvdisasm==13.5.37",
    };
    let here = std::env::current_dir().unwrap_or_default();
    let installed: Vec<PathBuf> = here.ancestors().map(|dir| dir.join("target/ptxas")).collect();
    assembler::find_tool(name, &installed).ok_or(InspectError::NoTool { tool: name, wheel })
}

/// A folder of this process that goes away with the value.
struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    fn new() -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("raddle-kernels-{}", std::process::id()));
        std::fs::create_dir_all(&dir)
            .map_err(|source| InspectError::Io { path: dir.clone(), source })?;
        Ok(Self { dir })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A folder left behind in the system's own place for them does no harm.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Columns as wide as their widest cell; numbers to the right.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| {
            let is_number = cell.parse::<u64>().is_ok();
            if is_number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_words_left_and_numbers_right() {
        let rows = [["KERNEL", "N"], ["a", "1000"], ["longer::name", "7"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "KERNEL        N\na             1000\nlonger::name     7\n");
    }

    #[test]
    fn a_place_without_a_crate_is_an_error() {
        let selection =
            Selection { place: "src".into(), is_release: false, kernel: None, target: None };
        let error = find(&selection).unwrap_err();
        assert!(matches!(error, InspectError::NoCrate { .. }), "{error}");
    }
}
