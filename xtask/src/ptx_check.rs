//! `cargo xtask ptx-check`: every PTX image of the workspace's build is
//! assembled by NVIDIA's `ptxas` for each architecture on which it may run; those of
//! the conformance suite for two of them, see [`SUITE`].
//!
//! A refused image, a register spill or a warning that `spills.txt` does not
//! list fails the task. The assembler is installed below `target/` from NVIDIA's
//! own Python wheel; it is never part of the repository. Where it cannot be had
//! the task says how many images were not checked, and fails in CI.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::assembler::{self, AssembleError, Assembled};
use crate::index::{self, ImageRecord};
use crate::spills::{Place, Spills};
use crate::{Error, Result, workspace};

/// The wheel and the version that hold the assembler; it takes PTX up to 9.0.
const WHEEL: &str = "nvidia-cuda-nvcc==13.0.88";

/// The package whose hundreds of images are programs of a suite. With the whole
/// workspace each of them is assembled for the oldest architecture and one other in
/// turn, alone for all: they are most of the images, and much alike.
const SUITE: &str = "raddle-conformance";

/// What to do with what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Compare with `spills.txt`.
    Check,
    /// Rewrite `spills.txt`.
    Bless,
}

/// An image of one crate.
struct Image {
    package: String,
    record: ImageRecord,
}

/// Installs the assembler, for tests that use it where it is.
///
/// ## Errors
/// None: [`run`] fails where it has to be there.
pub fn prepare() -> Result {
    match ptxas() {
        Some(path) => println!("ptxas: {}", path.display()),
        None => println!("ptxas: SKIPPED, `pip install {WHEEL}` is not possible"),
    }
    Ok(())
}

/// Runs the task for the images of one crate or of all.
pub fn run(mode: Mode, package: Option<&str>) -> Result {
    let images = images(package)?;
    let Some(ptxas) = ptxas() else {
        let count = images.len();
        println!("ptx-check: SKIPPED, {count} images not checked: no ptxas");
        println!("  give its path in RADDLE_PTXAS, or make `pip install {WHEEL}` possible");
        let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
        if is_ci && std::env::var_os("RADDLE_ALLOW_NO_PTXAS").is_none() {
            return Err(Error::Missing(
                "ptxas is required in CI (CI=true); set \
                 RADDLE_ALLOW_NO_PTXAS=1 to go on without it"
                    .into(),
            ));
        }
        return Ok(());
    };
    let results = assemble_all(&ptxas, &images, package.is_none())?;
    report(&images, &results, mode)
}

/// The images of the build that `cargo test` makes.
fn images(package: Option<&str>) -> Result<Vec<Image>> {
    let mut arguments = vec!["test", "--no-run", "--quiet"];
    match package {
        Some(name) => arguments.extend(["--package", name]),
        None => arguments.push("--workspace"),
    }
    let built = workspace::build(&arguments)?;
    let mut images = Vec::new();
    let mut broken = 0;
    for (package, out_dir) in built.out_dirs {
        let dir = out_dir.join("raddle");
        if !dir.join("index.tsv").is_file() {
            continue;
        }
        let index = index::read(&dir)?;
        if index == index::Index::default() {
            println!("{package}: the index of kernels is empty: {}", dir.display());
            broken += 1;
        }
        for (kernel, message) in &index.errors {
            println!("{package} {kernel}: not compiled: {message}");
        }
        broken += index.errors.len() + usize::from(index.rustc.is_some());
        let records = index.images.into_iter();
        images.extend(records.map(|record| Image { package: package.clone(), record }));
    }
    if broken > 0 {
        return Err(Error::Found { count: broken, what: "kernels were not compiled" });
    }
    if images.is_empty() {
        return Err(Error::Missing("the build made no PTX image at all".into()));
    }
    Ok(images)
}

/// The assembler: named by the user, or installed below `target/ptxas`.
pub fn ptxas() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("RADDLE_PTXAS") {
        return Some(path.into());
    }
    let root = workspace::root().join("target/ptxas");
    let installed = |root: &Path| {
        let only_here = [root.to_owned()];
        assembler::find_tool("ptxas", &only_here).filter(|path| path.starts_with(root))
    };
    if let Some(path) = installed(&root) {
        return Some(path);
    }
    println!("ptx-check: installing {WHEEL} below {}", root.display());
    // The folder gets its name once it is complete.
    let partial = root.with_extension("partial");
    let status = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"])
        .args(["--root-user-action=ignore", "--upgrade", "--target"])
        .arg(&partial)
        .arg(WHEEL)
        .status();
    match status {
        Ok(status) if status.success() => std::fs::rename(&partial, &root).ok()?,
        Ok(status) => println!("ptx-check: pip failed ({status})"),
        Err(error) => println!("ptx-check: python3: {error}"),
    }
    installed(&root)
}

/// What came of one image on one architecture.
struct Outcome {
    image: usize,
    architecture: String,
    result: std::result::Result<Assembled, AssembleError>,
}

/// Assembles every image for each of its architectures, as many at a time as
/// there are processors.
fn assemble_all(ptxas: &Path, images: &[Image], thins_suite: bool) -> Result<Vec<Outcome>> {
    let cubins = workspace::root().join("target/ptx-check");
    std::fs::create_dir_all(&cubins)
        .map_err(|source| Error::Io { path: cubins.clone(), source })?;
    let jobs: Vec<(usize, String)> = images
        .iter()
        .enumerate()
        .flat_map(|(image, Image { package, record })| {
            let mut all = assembler::architectures_of(&record.target);
            if thins_suite && package == SUITE && all.len() > 2 {
                all = vec![all[0].clone(), all[1 + image % (all.len() - 1)].clone()];
            }
            all.into_iter().map(move |arch| (image, arch))
        })
        .collect();
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::with_capacity(jobs.len()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let (jobs, next, outcomes) = (&jobs, &next, &outcomes);
            let cubin = cubins.join(format!("{worker}.cubin"));
            scope.spawn(move || {
                while let Some((image, arch)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let ImageRecord { ptx_file, entry, .. } = &images[*image].record;
                    let result = assembler::assemble(ptxas, ptx_file, entry, arch, &cubin);
                    let outcome = Outcome { image: *image, architecture: arch.clone(), result };
                    outcomes.lock().expect("no worker panics while it holds it").push(outcome);
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().expect("all workers have ended");
    outcomes.sort_by(|a, b| (a.image, &a.architecture).cmp(&(b.image, &b.architecture)));
    Ok(outcomes)
}

/// Prints what was found and compares it with the ratchet.
fn report(images: &[Image], outcomes: &[Outcome], mode: Mode) -> Result {
    let mut found = Spills::default();
    let mut refused = 0;
    let mut rows: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let mut checked = Vec::new();
    for Outcome { image, architecture, result } in outcomes {
        let Image { package, record } = &images[*image];
        let place = Place {
            package: package.clone(),
            kernel: record.kernel.clone(),
            architecture: architecture.clone(),
        };
        match result {
            Ok(assembled) => {
                rows.entry(*image).or_default().push(cell(architecture, assembled));
                note(&mut found, &place, assembled);
                checked.push(place);
            }
            Err(error) => {
                println!("{package} {}: {error}", record.kernel);
                refused += 1;
            }
        }
    }
    for (image, cells) in &rows {
        let Image { package, record } = &images[*image];
        println!("{package} {}: {}", record.kernel, cells.join(" | "));
    }
    println!(
        "ptx-check: {} images, {} assemblies, {refused} refused, {} with spills, {} with warnings",
        images.len(),
        outcomes.len(),
        found.bytes.len(),
        found.codes.len()
    );
    let compared = compare(&found, &checked, mode);
    if refused > 0 {
        return Err(Error::Found { count: refused, what: "assemblies refused by ptxas" });
    }
    compared
}

fn compare(found: &Spills, checked: &[Place], mode: Mode) -> Result {
    let path = workspace::root().join("xtask/spills.txt");
    if mode == Mode::Bless {
        return std::fs::write(&path, found.to_text()).map_err(|source| Error::Io { path, source });
    }
    let allowed = Spills::read(&path)?;
    let violations = allowed.violations(found);
    for violation in &violations {
        println!("{violation}");
    }
    if !violations.is_empty() {
        return Err(Error::Found {
            count: violations.len(),
            what: "spills or warnings that xtask/spills.txt does not allow (cargo xtask ptx-check --bless)",
        });
    }
    let slack = allowed.slack(found, |place| checked.contains(place));
    if slack > 0 {
        println!("ptx-check: {slack} allowances can be lowered: cargo xtask ptx-check --bless");
    }
    Ok(())
}

/// Enters what one assembly showed into `found`.
fn note(found: &mut Spills, place: &Place, assembled: &Assembled) {
    let resources = assembled.resources;
    let bytes = resources.spill_store_bytes.max(resources.spill_load_bytes);
    if bytes > 0 {
        found.bytes.insert(place.clone(), bytes);
    }
    for warning in &assembled.warnings {
        let code = assembler::code_of(warning).unwrap_or("other").to_owned();
        let codes = found.codes.entry(place.clone()).or_default();
        if !codes.contains(&code) {
            println!("{} {} {}: {warning}", place.package, place.kernel, place.architecture);
            codes.push(code);
        }
    }
}

/// `sm_90 32 regs 128 B shared`, leaving out what is zero.
fn cell(architecture: &str, assembled: &Assembled) -> String {
    let resources = assembled.resources;
    let mut text = format!("{architecture} {} regs", resources.registers);
    let spills = resources.spill_store_bytes.max(resources.spill_load_bytes);
    for (bytes, what) in
        [(resources.shared_bytes, "shared"), (resources.stack_bytes, "stack"), (spills, "spilled")]
    {
        if bytes > 0 {
            text += &format!(" {bytes} B {what}");
        }
    }
    text
}
