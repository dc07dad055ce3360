//! `raddle kernels`: what a build made of its kernels.
//!
//! The kernels of a crate come from the index that `raddle-build` left below
//! `target/`; those of a program from the PTX inside it. Resources and machine code are
//! asked of NVIDIA's `ptxas` and `nvdisasm`, which nothing else of Raddle needs.

pub mod assembler;
mod embedded;
pub mod index;
pub mod ship;
pub mod show;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use serde_json::Value;

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
    /// PTX could not be written into a package.
    #[error("nothing was shipped: {reason}")]
    NotShipped {
        /// Why.
        reason: String,
    },
    /// A program without kernels.
    #[error("{} holds no PTX: it is no program built with Raddle", .0.display())]
    NoImages(PathBuf),
    /// No kernel of that name.
    #[error("no kernel `{wanted}`, expected one of: {}", known.join(", "))]
    NoKernel {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: Vec<String>,
    },
    /// No image of the selection runs on that architecture.
    #[error("no image runs on {wanted}, expected one of: {}", able.join(", "))]
    NoArchitecture {
        /// What was asked for.
        wanted: String,
        /// What the images run on.
        able: Vec<String>,
    },
    /// One of NVIDIA's tools is not installed.
    #[error(
        "`{tool}` was not found on PATH or below target/{tool}: install it without the CUDA toolkit \
         by `pip install --no-deps --target target/{tool} {wheel}`"
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

/// Where to look for kernels.
#[derive(Debug)]
pub enum Origin {
    /// The last build of a crate.
    Crate {
        /// The crate's folder or manifest.
        place: PathBuf,
        /// Whether to look at the release build.
        is_release: bool,
    },
    /// A built program.
    Program(PathBuf),
}

/// The kernels to show.
#[derive(Debug)]
pub struct Selection {
    /// Where they come from.
    pub origin: Origin,
    /// Only kernels whose path contains this.
    pub kernel: Option<String>,
    /// Only images for this target.
    pub target: Option<String>,
}

/// One image of one crate or program.
#[derive(Debug)]
pub struct Image {
    /// The crate or the program.
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
    /// What else is to be said of a crate: that rustc refused its device build, or that
    /// its kernels were left out.
    pub remarks: Vec<(String, String)>,
    /// Holds the PTX files that come from a program.
    extracted: Option<Scratch>,
}

/// Finds the images of the selection.
///
/// ## Errors
///
/// See [`InspectError`].
pub fn find(selection: &Selection) -> Result<Found> {
    let mut found = match &selection.origin {
        Origin::Crate { place, is_release } => {
            let profile = if *is_release { "release" } else { "debug" };
            find_in_crates(&read_metadata(place)?, profile)?
        }
        Origin::Program(path) => find_in_program(path)?,
    };
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
    let key = |image: &Image| {
        let ImageRecord { kernel, target, .. } = &image.record;
        (image.package.clone(), kernel.clone(), target.clone())
    };
    found.images.sort_by_cached_key(key);
    Ok(found)
}

/// The images that the index of each crate lists.
fn find_in_crates(crates: &Crates, profile: &'static str) -> Result<Found> {
    let mut found = Found::default();
    let mut is_built = false;
    for package in crates.packages.iter().map(|package| &package.name) {
        let Some(index) = newest_index(&crates.target, profile, package)? else { continue };
        is_built = true;
        found.errors.extend(index.errors);
        if let Some(message) = index.rustc {
            let message = format!("rustc refused the device build:\n{}", message.trim_end());
            found.remarks.push((package.clone(), message));
        }
        if index.is_off {
            let message = "its kernels were left out (RADDLE_DEVICE_BUILD=off)".to_owned();
            found.remarks.push((package.clone(), message));
        }
        let images = index.images.into_iter();
        found.images.extend(images.map(|record| Image { package: package.clone(), record }));
    }
    if is_built {
        return Ok(found);
    }
    let names: Vec<&str> = crates.packages.iter().map(|package| &*package.name).collect();
    let (package, target) = (names.join(", "), crates.target.clone());
    Err(InspectError::NotBuilt { package, target, profile })
}

/// The images inside a program, each written to a file of its own. A program
/// keeps the names of entries only, not the paths of kernels.
fn find_in_program(path: &Path) -> Result<Found> {
    let io = |path: &Path, source| InspectError::Io { path: path.to_owned(), source };
    let program = std::fs::read(path).map_err(|source| io(path, source))?;
    let scratch = Scratch::new()?;
    let mut found = Found::default();
    for (number, image) in embedded::find(&program).into_iter().enumerate() {
        let ptx_file = scratch.dir.join(format!("{number}.ptx"));
        std::fs::write(&ptx_file, image.ptx).map_err(|source| io(&ptx_file, source))?;
        let record = ImageRecord {
            kernel: image.entry.clone(),
            target: image.target,
            entry: image.entry,
            ptx_file,
            synchronizes: None,
            cubins: Vec::new(),
        };
        let package = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        found.images.push(Image { package, record });
    }
    if found.images.is_empty() {
        return Err(InspectError::NoImages(path.to_owned()));
    }
    found.extracted = Some(scratch);
    Ok(found)
}

/// The crates at a place and where cargo builds them.
struct Crates {
    packages: Vec<Package>,
    target: PathBuf,
}

/// A crate's package.
struct Package {
    name: String,
    folder: PathBuf,
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
        .map(|&package| vec![package]);
    let is_root = absolute.parent() == Some(Path::new(&text(&metadata["workspace_root"])));
    let packages = match own {
        Some(own) if !is_root || packages.len() == 1 => own,
        _ => packages,
    };
    let describe = |package: &Value| Package {
        name: text(&package["name"]),
        folder: PathBuf::from(text(&package["manifest_path"])).with_file_name(""),
    };
    let packages = packages.into_iter().map(describe).collect();
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
    for (record, chosen) in choose(found, architecture)? {
        assembler::assemble(&ptxas, &record.ptx_file, &record.entry, &chosen, &cubin)?;
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

/// The images that run on `architecture`; all of them, each with the oldest on
/// which it runs, if none is asked for.
fn choose<'f>(
    found: &'f Found,
    architecture: Option<&str>,
) -> Result<Vec<(&'f ImageRecord, String)>> {
    let able = |record: &ImageRecord| assembler::architectures_of(&record.target);
    let records = found.images.iter().map(|image| &image.record);
    let Some(wanted) = architecture else {
        let oldest = |record| Some((record, able(record).into_iter().next()?));
        return Ok(records.filter_map(oldest).collect());
    };
    let fits = |record: &&ImageRecord| able(record).iter().any(|able| able == wanted);
    let chosen: Vec<_> =
        records.clone().filter(fits).map(|record| (record, wanted.to_owned())).collect();
    if chosen.is_empty() {
        let mut able: Vec<String> = records.flat_map(able).collect();
        able.sort();
        able.dedup();
        return Err(InspectError::NoArchitecture { wanted: wanted.to_owned(), able });
    }
    Ok(chosen)
}

/// One of NVIDIA's tools, below `target/` here or in a folder above, or on the
/// path.
fn tool(name: &'static str) -> Result<PathBuf> {
    let wheel = match name {
        "ptxas" => "nvidia-cuda-nvcc==13.0.88",
        _ => "nvidia-cuda-nvdisasm==13.5.37",
    };
    let here = std::env::current_dir().unwrap_or_default();
    let installed: Vec<PathBuf> =
        here.ancestors().map(|dir| dir.join("target").join(name)).collect();
    assembler::find_tool(name, &installed).ok_or(InspectError::NoTool { tool: name, wheel })
}

/// A folder of its own that goes away with the value.
#[derive(Debug)]
struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("raddle-kernels-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_without_a_crate_is_an_error() {
        let origin = Origin::Crate { place: "src".into(), is_release: false };
        let selection = Selection { origin, kernel: None, target: None };
        let error = find(&selection).unwrap_err();
        assert!(matches!(error, InspectError::NoCrate { .. }), "{error}");
    }
}
