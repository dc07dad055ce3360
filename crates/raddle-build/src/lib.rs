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
//! what cannot run on a GPU, `emit` makes PTX for each kernel, `cubin` machine code
//! of it where that is asked for, `index` tells `#[kernel]` about both. `record` and `store` spare what was done before, `ship`
//! does without LLVM. Invariant: the PTX depends on source, target and toolchain
//! only.

mod check;
mod compile;
mod cubin;
mod device_crate;
mod digest;
mod emit;
mod error;
mod index;
mod inline;
mod llvm;
mod md5;
mod merge;
mod names;
mod profile;
mod record;
mod references;
mod retarget;
mod ship;
mod store;
mod toml;
mod toolchain;
mod workspace;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub use error::{Error, RejectedList};
pub use toolchain::Rejected;

use compile::Compiler;
use cubin::Assembler;
use device_crate::{CompiledCrate, DeviceCrate, Outcome, Package, Root, shared_target_folder};
use index::{DeviceCode, Index};
use llvm::Llvm;
use profile::Checks;
use record::Done;
use ship::Parcel;
use store::{Store, create_folder, read_text};
use toolchain::{Search, Toolchain};
use workspace::Workspace;

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
    ///
    /// The device build sees the dependencies whose names occur in the kernel files
    /// (and these), with the features that the package and they ask for. A feature that
    /// only another dependency turns on is not on there: ask for it in the package's
    /// own manifest.
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
            for (line, start) in
                error.to_string().lines().zip(["raddle: "].iter().chain([&"  "; 200]))
            {
                println!("cargo::error={start}{line}");
            }
            std::process::exit(1);
        }
    }

    /// Compiles.
    ///
    /// # Errors
    ///
    /// When the environment is not that of a build script, a file is missing, a tool
    /// fails, or there is neither LLVM nor PTX that the package ships. Mistakes in
    /// kernels are not errors here: they are in the index.
    pub fn try_run(self) -> Result<(), Error> {
        println!("cargo::rustc-check-cfg=cfg(raddle_device)");
        for variable in [
            "RADDLE_LLVM",
            "RADDLE_OVERFLOW_CHECKS",
            "RADDLE_BUILD_DUMP",
            "RADDLE_DEVICE_BUILD",
            "RADDLE_SHIP",
        ] {
            println!("cargo::rerun-if-env-changed={variable}");
        }
        let package = Package::from_environment()?;
        let folder = package.out.join("raddle");
        create_folder(&folder)?;
        let device_crates = self.device_crates(&package)?;
        for root in device_crates.iter().flat_map(|device_crate| &device_crate.roots) {
            let files = device_crate::source_tree(&root.file);
            record::watch(files.iter().map(PathBuf::as_path));
        }
        if is_off()? {
            let mut index = Index::default();
            index.off();
            return index.write(&folder);
        }
        let workspace = Workspace::find(&package)?;
        record::watch(workspace.lock.iter().map(PathBuf::as_path));
        record::watch(
            [workspace.root.join("Cargo.toml"), package.folder.join("Cargo.toml")]
                .iter()
                .map(PathBuf::as_path),
        );
        let mut checks = Checks::of_this_build(&package.name, &package.out, &workspace.root)?;
        checks.overflow = self.overflow_checks.unwrap_or(checks.overflow);
        let toolchain = Toolchain::detect()?;
        let store = Store::new(shared_target_folder(&package.out).join("cache"));
        let mut index = Index::new(Assembler::from_environment(&store)?);
        let build = Build {
            kernels: &self,
            package: &package,
            workspace: &workspace,
            toolchain: &toolchain,
            store: &store,
            device_crates: &device_crates,
        };
        if ship::is_asked_for(&package) {
            build.ship(checks)?;
        }
        build.write_index(checks, &mut index, &folder)?;
        index.write(&folder)
    }

    /// The package's kernel files together, then each program with kernels inside.
    fn device_crates(&self, package: &Package) -> Result<Vec<DeviceCrate>, Error> {
        let mut crates = Vec::new();
        let mut shared = Vec::new();
        for root in self.roots(package)? {
            let source = read_text(&root.file)?;
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

/// Whether the user wants no device code, as editors may that check while one types.
fn is_off() -> Result<bool, Error> {
    match std::env::var("RADDLE_DEVICE_BUILD").as_deref() {
        Ok("off") => Ok(true),
        Ok("on" | "") | Err(_) => Ok(false),
        Ok(other) => Err(Error::BadVariable {
            variable: "RADDLE_DEVICE_BUILD",
            value: other.to_owned(),
            expected: "`on` or `off`",
        }),
    }
}

/// One run of a build script.
struct Build<'a> {
    kernels: &'a Kernels,
    package: &'a Package,
    workspace: &'a Workspace,
    toolchain: &'a Toolchain,
    store: &'a Store,
    device_crates: &'a [DeviceCrate],
}

/// What became of a device crate.
enum Made {
    /// Its kernels, and the crates they were compiled with if that happened now.
    Code(DeviceCode, Vec<CompiledCrate>),
    /// rustc refused it.
    Refused(String),
}

impl Build<'_> {
    /// Compiles all device crates, or takes what the package ships.
    fn write_index(&self, checks: Checks, index: &mut Index, folder: &Path) -> Result<(), Error> {
        let mut features = Vec::new();
        for device_crate in self.device_crates {
            let prepared = self.prepare(device_crate, checks)?;
            features.clone_from(&prepared.features);
            let key = record::key(self.toolchain, &prepared);
            let is_kept_good = !Toolchain::is_llvm_refused() && !is_inspected();
            if let Some(done) = record::find(self.store, key).filter(|_| is_kept_good) {
                record::watch(done.files.iter().map(PathBuf::as_path));
                index.add(&done.code, folder)?;
                continue;
            }
            let llvm = match self.toolchain.find_llvm()? {
                Search::Found(llvm) => llvm,
                Search::Nothing(rejected) => {
                    let name = ship::configuration(checks, &features);
                    index.clear();
                    let code = ship::take(self.package, self.workspace, self.device_crates, &name)
                        .map_err(|shipped| Error::NoLlvm { rejected: rejected.into(), shipped })?;
                    record::watch([self.package.folder.join(ship::FOLDER).as_path()]);
                    return index.add(&code, folder);
                }
            };
            let begun = SystemTime::now();
            match self.make(llvm, device_crate, &prepared, folder)? {
                Made::Refused(diagnostics) => {
                    index.rustc(device_crate.program.as_deref(), &diagnostics);
                }
                Made::Code(code, crates) => {
                    let files = record::files_of_user(self.package, &crates);
                    record::watch(files.iter().map(PathBuf::as_path));
                    let done = Done { code, files };
                    record::keep(self.store, key, (&done, begun), &crates)?;
                    index.add(&done.code, folder)?;
                }
            }
        }
        Ok(())
    }

    fn prepare(
        &self,
        device_crate: &DeviceCrate,
        checks: Checks,
    ) -> Result<device_crate::Prepared, Error> {
        let extra = &self.kernels.dependencies;
        device_crate::prepare(self.package, self.workspace, device_crate, extra, checks)
    }

    fn make(
        &self,
        llvm: &'static Llvm,
        device_crate: &DeviceCrate,
        prepared: &device_crate::Prepared,
        folder: &Path,
    ) -> Result<Made, Error> {
        match device_crate::build(self.package, self.toolchain, self.workspace, prepared)? {
            Outcome::Refused { diagnostics } => Ok(Made::Refused(diagnostics)),
            Outcome::Compiled(crates) => {
                let dump = is_inspected().then_some(folder);
                let compiler =
                    Compiler { llvm, toolchain: self.toolchain, store: self.store, dump };
                let code = compiler.compile(device_crate.program.as_deref(), &crates)?;
                Ok(Made::Code(code, crates))
            }
        }
    }

    /// Writes PTX into the package: for debug and release builds and for this one.
    fn ship(&self, own: Checks) -> Result<(), Error> {
        let llvm = match self.toolchain.find_llvm()? {
            Search::Found(llvm) => llvm,
            Search::Nothing(rejected) => {
                let shipped = "this build is to make it".to_owned();
                return Err(Error::NoLlvm { rejected: rejected.into(), shipped });
            }
        };
        let forced = |mut checks: Checks| {
            checks.overflow = self.kernels.overflow_checks.unwrap_or(checks.overflow);
            checks
        };
        let mut all = vec![own, forced(Checks::DEBUG), forced(Checks::RELEASE)];
        all.dedup();
        for checks in all {
            let mut parts = Vec::new();
            let mut configuration = String::new();
            for device_crate in self.device_crates {
                let prepared = self.prepare(device_crate, checks)?;
                configuration = ship::configuration(checks, &prepared.features);
                match self.make(llvm, device_crate, &prepared, &self.package.out)? {
                    Made::Code(code, crates) => parts.push((device_crate, code, crates)),
                    Made::Refused(reason) => return Err(Error::NotShippable { reason }),
                }
            }
            let (package, workspace) = (self.package, self.workspace);
            Parcel { package, workspace, configuration, parts }.write(self.toolchain)?;
        }
        Ok(())
    }
}

/// Whether the device code is to be written beside the PTX, for which it must be made.
fn is_inspected() -> bool {
    std::env::var_os("RADDLE_BUILD_DUMP").is_some()
}
