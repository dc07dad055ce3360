//! Compiles Raddle kernels to PTX from a build script, with the LLVM inside the
//! user's own rustc. No CUDA toolkit, no nightly compiler, no other LLVM.
//!
//! ```no_run
//! // in the `main` of build.rs
//! raddle_build::compile("src/kernels.rs");
//! ```
//!
//! The steps: `device_crate` compiles the kernel files to bitcode, `merge` links
//! what they use, `retarget` turns it into a device module, `check` explains
//! what cannot run on a GPU, `emit` makes PTX for each kernel, `index` tells
//! `#[kernel]` about it. Invariant: the PTX depends on source, target and
//! toolchain only.

mod check;
mod device_crate;
mod emit;
mod error;
mod index;
mod inline;
mod llvm;
mod merge;
mod names;
mod profile;
mod retarget;
mod toolchain;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;

pub use error::Error;

use device_crate::{DeviceCrate, Outcome, Package, Root};
use emit::{Batch, Compiled, Refused, Target};
use index::Index;
use llvm::{Context, Llvm, Machine};
use profile::Checks;
use retarget::KernelEntry;
use toolchain::Toolchain;

/// Compiles the kernels in `file` (relative to the package) and its submodules.
///
/// To be called from a build script. A failure of the build itself stops the
/// build with a message; a mistake in a kernel is shown by the compiler at the
/// kernel.
pub fn compile(file: impl AsRef<Path>) {
    Kernels::new().file(file).run();
}

/// Several kernel files, or options; ends with [`Kernels::run`].
#[derive(Clone, Debug, Default)]
pub struct Kernels {
    files: Vec<PathBuf>,
    modules: Vec<(String, PathBuf)>,
    dependencies: Vec<String>,
    overflow_checks: Option<bool>,
}

impl Kernels {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file; its module is named like the file.
    ///
    /// A file of a program (an example, a test) may instead hold its kernels in a
    /// module of its own, `mod kernels { … }`; it is compiled under the name of
    /// the program, so that several programs may use the same module name.
    #[must_use]
    pub fn file(mut self, file: impl AsRef<Path>) -> Self {
        self.files.push(file.as_ref().to_path_buf());
        self
    }

    /// Adds a file under a module name of its own: also a module without kernels
    /// that the kernels refer to as `crate::NAME`.
    #[must_use]
    pub fn module(mut self, name: &str, file: impl AsRef<Path>) -> Self {
        self.modules.push((name.to_owned(), file.as_ref().to_path_buf()));
        self
    }

    /// Adds a dependency of the package that the kernel files use without naming
    /// it in their own text.
    #[must_use]
    pub fn dependency(mut self, name: &str) -> Self {
        self.dependencies.push(name.to_owned());
        self
    }

    /// Overrides whether integer overflow panics; by default as in the profile.
    #[must_use]
    pub fn overflow_checks(mut self, on: bool) -> Self {
        self.overflow_checks = Some(on);
        self
    }

    /// Compiles, and stops the build with a message if that fails.
    pub fn run(self) {
        if let Err(error) = self.try_run() {
            println!("cargo::error=raddle: {}", error.to_string().replace('\n', " "));
            std::process::exit(1);
        }
    }

    /// Compiles.
    ///
    /// # Errors
    ///
    /// When the environment is not that of a build script, a file is missing, or a
    /// tool fails. Mistakes in kernels are not errors here: they are in the index.
    pub fn try_run(self) -> Result<(), Error> {
        let package = Package::from_environment()?;
        println!("cargo::rustc-check-cfg=cfg(raddle_device)");
        for variable in ["RADDLE_LLVM", "RADDLE_OVERFLOW_CHECKS", "RADDLE_BUILD_DUMP"] {
            println!("cargo::rerun-if-env-changed={variable}");
        }
        let mut checks = Checks::from_environment();
        checks.overflow = self.overflow_checks.unwrap_or(checks.overflow);
        let toolchain = Toolchain::detect()?;
        let llvm = Llvm::load(&toolchain.find_llvm()?)?;
        let folder = package.out.join("raddle");
        device_crate::create_folder(&folder)?;
        let mut index = Index::default();
        for device_crate in self.device_crates(&package)? {
            for file in
                device_crate.roots.iter().flat_map(|root| device_crate::source_tree(&root.file))
            {
                println!("cargo::rerun-if-changed={}", file.display());
            }
            match device_crate::build(
                &package,
                &toolchain,
                &device_crate,
                &self.dependencies,
                checks,
            )? {
                Outcome::Refused { diagnostics } => index.rustc(&diagnostics),
                Outcome::Compiled { crates, sources } => {
                    watch(&sources);
                    compile_crates(llvm, &toolchain, &device_crate, &crates, &folder, &mut index)?;
                }
            }
        }
        index.remove_stale_images(&folder)?;
        device_crate::write_if_changed(&folder.join("index.tsv"), &index.into_text())
    }

    /// The package's kernel files together, then each program with kernels inside.
    fn device_crates(&self, package: &Package) -> Result<Vec<DeviceCrate>, Error> {
        let mut crates = Vec::new();
        let mut shared = Vec::new();
        for root in self.roots(package)? {
            let read = |source| Error::Io { action: "read", path: root.file.clone(), source };
            let source = std::fs::read_to_string(&root.file).map_err(read)?;
            match inline::kernel_modules(&source) {
                Some(text) => {
                    let is_main = root.module == "main";
                    let folder_name = root
                        .file
                        .parent()
                        .and_then(Path::file_name)
                        .unwrap_or_default()
                        .to_string_lossy();
                    let is_package = is_main && folder_name == "src";
                    let program = match (is_main, is_package) {
                        (_, true) => package.name.clone(),
                        (true, false) => folder_name.into_owned(),
                        (false, false) => root.module.clone(),
                    };
                    crates.push(DeviceCrate {
                        program: Some(program),
                        text: Some(text),
                        roots: vec![root],
                    });
                }
                None => shared.push(root),
            }
        }
        if !shared.is_empty() {
            crates.insert(0, DeviceCrate { program: None, text: None, roots: shared });
        }
        Ok(crates)
    }

    fn roots(&self, package: &Package) -> Result<Vec<Root>, Error> {
        let named = self.files.iter().map(|file| {
            let is_folder_module = file.file_name().is_some_and(|name| name == "mod.rs");
            let stem = if is_folder_module {
                file.parent().and_then(Path::file_name)
            } else {
                file.file_stem()
            };
            (stem.unwrap_or_default().to_string_lossy().into_owned(), file)
        });
        let given = self.modules.iter().map(|(name, file)| (name.clone(), file));
        named
            .chain(given)
            .map(|(module, file)| {
                let path = package.folder.join(file);
                if path.is_file() {
                    Ok(Root { module, file: path })
                } else {
                    Err(Error::NoKernelFile { path })
                }
            })
            .collect()
    }
}

/// Registry sources never change; everything else may.
fn watch(sources: &[PathBuf]) {
    for source in sources {
        let is_registry = source.components().any(|c| c.as_os_str() == "registry");
        if !is_registry && source.is_file() {
            println!("cargo::rerun-if-changed={}", source.display());
        }
    }
}

fn compile_crates(
    llvm: &'static Llvm,
    toolchain: &Toolchain,
    device_crate: &DeviceCrate,
    crates: &[device_crate::CrateBitcode],
    folder: &Path,
    index: &mut Index,
) -> Result<(), Error> {
    let context = Context::new(llvm);
    let machine = Machine::new(llvm, emit::PORTABLE.name, emit::PORTABLE.features)?;
    let module = merge::merge(&context, toolchain, crates)?;
    let kernels = retarget::prepare(&module, &machine, device_crate.program.as_deref())?;
    if std::env::var_os("RADDLE_BUILD_DUMP").is_some() {
        device_crate::write_if_changed(&folder.join("prepared.ll"), &module.to_text())?;
    }
    let mut accepted = Vec::new();
    for kernel in kernels {
        match check::explain(&module, &kernel, &[]) {
            Some(message) => index.error(&kernel.name.path, &message),
            None => accepted.push(kernel),
        }
    }
    let jobs: Vec<Job> = emit::split(module.duplicate(), &accepted, &machine)?
        .into_iter()
        .flat_map(|batch| {
            let Batch { kernels, bitcode } = batch;
            kernels.into_iter().flat_map(move |kernel| {
                let bitcode = Arc::clone(&bitcode);
                let targets = Target::for_kernel(&kernel.meta).iter();
                targets.map(move |&target| Job {
                    kernel: kernel.clone(),
                    target,
                    bitcode: Arc::clone(&bitcode),
                })
            })
        })
        .collect();
    let results = compile_all(llvm, &jobs);
    for (Job { kernel, .. }, result) in jobs.iter().zip(results) {
        match result {
            Ok(compiled) => {
                let file = format!("{}.{}.ptx", kernel.name.entry, compiled.target.name);
                device_crate::write_if_changed(&folder.join(&file), &compiled.ptx)?;
                index.image(
                    &kernel.name.path,
                    compiled.target.name,
                    &kernel.name.entry,
                    &file,
                    compiled.synchronizes,
                );
            }
            Err(Refused::Undefined(names)) => {
                let fallback = || {
                    let path = &kernel.name.path;
                    format!("kernel `{path}` cannot run on a GPU: it calls {}", names.join(", "))
                };
                let message = check::explain(&module, kernel, &names).unwrap_or_else(fallback);
                index.error(&kernel.name.path, &message);
            }
            Err(Refused::Failed(error)) => {
                let path = &kernel.name.path;
                index.error(path, &format!("kernel `{path}` could not be compiled: {error}"));
            }
        }
    }
    Ok(())
}

/// One image to make.
#[derive(Clone)]
struct Job {
    kernel: KernelEntry,
    target: Target,
    bitcode: Arc<Vec<u8>>,
}

/// Compiles the jobs on all cores. Each runs on a thread of its own: when LLVM
/// meets a fatal error there, that thread is given up and the others go on.
fn compile_all(llvm: &'static Llvm, jobs: &[Job]) -> Vec<Result<Compiled, Refused>> {
    const STACK_BYTES: usize = 64 << 20;
    let parallel =
        std::thread::available_parallelism().map_or(1, usize::from).min(jobs.len().max(1));
    let (sender, receiver) = mpsc::channel();
    let spawn = |number: usize| {
        let Job { kernel, target, bitcode } = jobs[number].clone();
        let sender = sender.clone();
        let on_fatal = sender.clone();
        let work = move || {
            llvm::on_fatal_error(move |reason| {
                // The receiver lives until every job has answered.
                let _ = on_fatal.send((number, Err(Refused::Failed(Error::Emit { reason }))));
            });
            let result = emit::compile(llvm, &bitcode, &kernel, target);
            let _ = sender.send((number, result));
        };
        std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work)
    };
    let mut results: Vec<Option<Result<Compiled, Refused>>> = jobs.iter().map(|_| None).collect();
    let mut next = 0;
    let mut running = 0;
    while next < jobs.len() || running > 0 {
        if next < jobs.len() && running < parallel {
            match spawn(next) {
                Ok(_) => running += 1,
                Err(e) => {
                    let tool = "a compiler thread".to_owned();
                    results[next] =
                        Some(Err(Refused::Failed(Error::Tool { tool, reason: e.to_string() })));
                }
            }
            next += 1;
            continue;
        }
        let Ok((number, result)) = receiver.recv() else { break };
        results[number] = Some(result);
        running -= 1;
    }
    let lost = || {
        Err(Refused::Failed(Error::Emit { reason: "the compiler thread ended early".to_owned() }))
    };
    results.into_iter().map(|result| result.unwrap_or_else(lost)).collect()
}
