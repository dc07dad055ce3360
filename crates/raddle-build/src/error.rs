//! What can go wrong while kernels are compiled, with the remedy.

use std::path::PathBuf;

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
    /// No libLLVM in rustc's sysroot.
    #[error(
        "no libLLVM in {}: this rustc links LLVM statically or was installed without its libraries; \
         use a Linux toolchain installed by rustup, or name the library in RADDLE_LLVM",
        sysroot.display()
    )]
    NoLlvm {
        /// The sysroot searched.
        sysroot: PathBuf,
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
