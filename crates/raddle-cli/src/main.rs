//! The `raddle` binary: looks at the machine, makes a crate, shows what Raddle
//! does and what a build made of a crate's kernels, runs, inspects and serves models.
//!
//! Exit codes: 0 for success, 1 for a failure (for `doctor`: no usable GPU),
//! 2 for a command line that is not understood.
#![forbid(unsafe_code)]

mod demo;
mod doctor;
mod inspect;
mod kernels;
mod load;
mod model_inspect;
mod probe;
mod profile;
mod run;
mod scaffold;
mod serve;
mod zoo;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// GPU computing in plain Rust.
#[derive(Debug, Parser)]
#[command(name = "raddle", version)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Says what this machine has, what is missing and what to do; exits with 0
    /// if a GPU is usable and with 1 if not.
    Doctor {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Makes a crate with a kernel, its launch and its tests.
    New(New),
    /// Renders and filters a picture with kernels, with times and a check of the
    /// results, and shows how a panic in a kernel is reported.
    Demo(demo::Options),
    /// Runs an ONNX model on arrays, or classifies pictures with it.
    Run(Box<run::Options>),
    /// Shows what a model is made of, what it costs and what of it can run.
    Inspect(model_inspect::InspectOptions),
    /// Writes a well-known network as an ONNX file; lists them without a name.
    Zoo(zoo::Options),
    /// Runs a program and says which device memory it held at its end, and who had
    /// allocated it; exits with 1 if there is any.
    Profile(profile::Options),
    /// Serves models over HTTP and gRPC, in the KServe v2 protocol as Triton has it.
    Serve(Box<serve::Options>),
    /// Checks the settings and all models of a repository, without serving them.
    CheckConfig(Box<serve::Options>),
    /// Asks a server for inferences, and tells how fast it answered.
    Load(Box<load::Options>),
    /// Shows the kernels of a crate's last build, or of a program.
    #[command(subcommand)]
    Kernels(Kernels),
}

#[derive(Debug, Args)]
struct New {
    /// Name of the crate.
    name: String,
    /// Folder to make; the crate's name in the current folder if not given.
    #[arg(long)]
    path: Option<PathBuf>,
    /// A checkout of Raddle to depend on; if not given, the one around this
    /// program or the current folder, and without one the package registry.
    #[arg(long, value_name = "CHECKOUT")]
    raddle: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Kernels {
    /// Names, instances and targets.
    List {
        #[command(flatten)]
        images: Images,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// The PTX text.
    Ptx {
        #[command(flatten)]
        images: Images,
    },
    /// Machine code with source lines; needs `ptxas` and `nvdisasm`.
    Sass {
        #[command(flatten)]
        images: Images,
        /// Architecture to assemble for, such as sm_90.
        #[arg(long)]
        arch: Option<String>,
    },
    /// Writes PTX into the crate (folder `raddle-ptx`), for debug and release builds,
    /// so that a published crate builds where there is no LLVM. A manifest with
    /// `include` must list the folder.
    Ship {
        /// The crate's folder or manifest; all crates if it is a workspace.
        #[arg(long, default_value = ".", value_name = "PATH")]
        manifest_path: PathBuf,
        #[command(flatten)]
        features: inspect::ship::Features,
    },
    /// Registers, spills and shared memory on each architecture; needs `ptxas`.
    Resources {
        #[command(flatten)]
        images: Images,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct Images {
    /// Only kernels whose path contains this.
    kernel: Option<String>,
    /// The crate's folder or manifest; all crates if it is a workspace.
    #[arg(long, default_value = ".", value_name = "PATH")]
    manifest_path: PathBuf,
    /// Look at the release build.
    #[arg(long)]
    release: bool,
    /// Look at a built program instead of a crate; its kernels are listed by
    /// their entries.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["manifest_path", "release"])]
    binary: Option<PathBuf>,
    /// Only images for this PTX target, such as sm_90a.
    #[arg(long)]
    target: Option<String>,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    New(#[from] scaffold::NewError),
    #[error(transparent)]
    Inspect(#[from] inspect::InspectError),
    #[error(transparent)]
    Demo(#[from] demo::DemoError),
    #[error(transparent)]
    Run(#[from] run::RunError),
    #[error(transparent)]
    Model(#[from] model_inspect::ModelError),
    #[error(transparent)]
    Zoo(#[from] zoo::ZooError),
    #[error(transparent)]
    Profile(#[from] profile::ProfileError),
    #[error(transparent)]
    Serve(#[from] serve::ServeError),
    #[error(transparent)]
    Load(#[from] load::LoadError),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("raddle: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode, Error> {
    match task {
        Task::Doctor { json } => {
            let report = doctor::examine();
            if json {
                println!("{:#}", report.to_json());
            } else {
                print!("{}", report.to_text());
            }
            return Ok(ExitCode::from(u8::from(!report.is_gpu_usable())));
        }
        Task::New(new) => make_crate(&new)?,
        Task::Demo(options) => demo::run(&options)?,
        Task::Run(options) => run::run(&options)?,
        Task::Inspect(options) => model_inspect::run(&options)?,
        Task::Zoo(options) => zoo::run(&options)?,
        Task::Profile(options) => return Ok(profile::run(&options)?),
        Task::Serve(options) => serve::run(&options)?,
        Task::CheckConfig(options) => return Ok(serve::check(&options)?),
        Task::Load(options) => return Ok(load::run(&options)?),
        Task::Kernels(kernels) => show_kernels(kernels)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn make_crate(new: &New) -> Result<(), scaffold::NewError> {
    let source = scaffold::find_source(new.raddle.as_deref())?;
    let dir = new.path.clone().unwrap_or_else(|| PathBuf::from(&new.name));
    scaffold::create(&new.name, &dir, &source)?;
    println!("made {}", dir.display());
    match source {
        scaffold::Source::Checkout(checkout) => println!(
            "it depends on the checkout of Raddle in {} by path; choose another with --raddle",
            checkout.display()
        ),
        scaffold::Source::Registry => println!(
            "it depends on Raddle {} from the package registry; use a checkout with --raddle",
            env!("CARGO_PKG_VERSION")
        ),
    }
    println!("next: cd {} && cargo run", dir.display());
    Ok(())
}

fn show_kernels(kernels: Kernels) -> Result<(), inspect::InspectError> {
    let find = |images: Images| {
        let origin = match images.binary {
            Some(program) => inspect::Origin::Program(program),
            None => {
                inspect::Origin::Crate { place: images.manifest_path, is_release: images.release }
            }
        };
        inspect::find(&inspect::Selection { origin, kernel: images.kernel, target: images.target })
    };
    match kernels {
        Kernels::List { images, json: true } => {
            println!("{:#}", inspect::show::list_json(&find(images)?));
        }
        Kernels::List { images, json: false } => {
            print!("{}", inspect::show::list_text(&find(images)?))
        }
        Kernels::Ship { manifest_path, features } => {
            for shipped in inspect::ship::ship(&manifest_path, &features)? {
                println!("{}: {} images", shipped.folder.display(), shipped.images);
            }
        }
        Kernels::Ptx { images } => print!("{}", inspect::ptx(&find(images)?)?),
        Kernels::Sass { images, arch } => {
            print!("{}", inspect::sass(&find(images)?, arch.as_deref())?);
        }
        Kernels::Resources { images, json } => {
            let found = find(images)?;
            let rows = inspect::resources(&found)?;
            if json {
                println!("{:#}", inspect::show::resources_json(&rows));
            } else {
                print!("{}", inspect::show::resources_text(&rows));
            }
        }
    }
    Ok(())
}
