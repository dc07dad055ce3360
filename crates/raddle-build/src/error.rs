//! What can go wrong while kernels are compiled, with the remedy.

use std::fmt;
use std::path::PathBuf;

use crate::toolchain::Rejected;

/// The places in which no usable LLVM was found, one a line.
#[derive(Clone, Debug)]
pub struct RejectedList(pub Vec<Rejected>);

impl From<Vec<Rejected>> for RejectedList {
    fn from(list: Vec<Rejected>) -> Self {
        Self(list)
    }
}

impl fmt::Display for RejectedList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|Rejected { place, reason }| {
            let space = if place.as_os_str().is_empty() { "" } else { " " };
            writeln!(f, "- {}{space}{reason}", place.display())
        })
    }
}

/// An error of the device build itself. Mistakes in kernels are not errors of
/// this kind: they go to the index, and `#[kernel]` shows them in the source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not called from a build script, or an incomplete environment.
    #[error(
        "{variable} is not set: call raddle_build from a build script (build.rs) that cargo runs"
    )]
    NotABuildScript {
        /// The missing variable.
        variable: &'static str,
    },
    /// A kernel file given to `compile` does not exist.
    #[error("no kernel file at {}: paths are relative to the package's Cargo.toml", path.display())]
    NoKernelFile {
        /// The path looked at.
        path: PathBuf,
    },
    /// A file or folder could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: `read`, `write`, `create`, `copy`, `delete`.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A tool could not be started or answered with nonsense.
    #[error("cannot run `{tool}`: {reason}")]
    Tool {
        /// The command.
        tool: String,
        /// What happened.
        reason: String,
    },
    /// A variable of the environment has a value that means nothing.
    #[error("{variable}={value}: expected {expected}")]
    BadVariable {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// There is no LLVM to compile kernels with, and no PTX that the package ships.
    #[error(
        "no LLVM to compile kernels with, and no shipped PTX: {shipped}\n\
         looked for a libLLVM:\n{rejected}\
         what helps: a toolchain of rust-lang.org for Linux (`rustup toolchain install stable`), whose sysroot has libLLVM; \
         a libLLVM of rustc's major version or newer, named in RADDLE_LLVM; \
         or, in the package that holds the kernels, PTX from `raddle kernels ship` on a machine with LLVM"
    )]
    NoLlvm {
        /// What was looked at.
        rejected: RejectedList,
        /// Why the package's own PTX does not do.
        shipped: String,
    },
    /// PTX cannot be written into the package.
    #[error("cannot ship PTX: {reason}")]
    NotShippable {
        /// Why.
        reason: String,
    },
    /// libLLVM is there but does not load.
    #[error("cannot load {}: {reason}; name another libLLVM (20 or newer) in RADDLE_LLVM", path.display())]
    LlvmLoad {
        /// The library.
        path: PathBuf,
        /// The loader's answer.
        reason: String,
    },
    /// libLLVM was built without NVPTX.
    #[error("{} has no NVPTX back end: {reason}; name another libLLVM in RADDLE_LLVM", path.display())]
    NoBackEnd {
        /// The library.
        path: PathBuf,
        /// LLVM's answer.
        reason: String,
    },
    /// Bitcode could not be parsed.
    #[error("cannot parse the bitcode of {name}: {reason}")]
    Bitcode {
        /// The crate.
        name: String,
        /// LLVM's answer.
        reason: String,
    },
    /// Modules could not be linked.
    #[error("cannot link device modules: {reason}")]
    Link {
        /// LLVM's answer.
        reason: String,
    },
    /// A pass left a broken module: a mistake of ours.
    #[error("the device module is malformed, which is a bug in raddle-build: {reason}")]
    Verify {
        /// LLVM's answer.
        reason: String,
    },
    /// Optimisation failed.
    #[error("LLVM refused the passes `{passes}`: {reason}")]
    Passes {
        /// The pipeline.
        passes: String,
        /// LLVM's answer.
        reason: String,
    },
    /// Code generation failed.
    #[error("LLVM cannot generate PTX: {reason}")]
    Emit {
        /// LLVM's answer.
        reason: String,
    },
    /// Machine code was asked for, and there is nothing to make it with.
    #[error(
        "RADDLE_CUBINS asks for machine code, but `{}` does not run: {reason}; \
         name NVIDIA's ptxas in RADDLE_PTXAS, or leave RADDLE_CUBINS out",
        program.display()
    )]
    NoAssembler {
        /// What was tried.
        program: PathBuf,
        /// What happened.
        reason: String,
    },
    /// The assembler refused an image.
    #[error("cannot assemble `{kernel}` for {architecture}, as RADDLE_CUBINS asks: {reason}")]
    Assemble {
        /// Path of the kernel.
        kernel: String,
        /// The architecture.
        architecture: String,
        /// What the assembler said.
        reason: String,
    },
    /// A device function's link name is malformed.
    #[error("bad device function `{link_name}`: {reason}")]
    BadIntrinsic {
        /// The link name.
        link_name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Two kernels have one path.
    #[error("two kernels are called `{path}`: give one of them another name or module")]
    DuplicateKernel {
        /// The path.
        path: String,
    },
}
