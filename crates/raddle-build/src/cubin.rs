//! Machine code beside the PTX, for builds that ask for it.
//!
//! `RADDLE_CUBINS` lists architectures, as `sm_80,sm_90`. NVIDIA's assembler, which
//! `RADDLE_PTXAS` names or the path has, then assembles each image whole for those of
//! them on which it runs, and the program holds the result beside the PTX: the first
//! launch on such a GPU needs no assembler and no cache. The PTX is what it would be
//! without; a driver older than the assembler, or another GPU, gets that.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use crate::digest::Digest;
use crate::error::Error;
use crate::index::Image;
use crate::store::Store;

const ARCHITECTURES: &str = "RADDLE_CUBINS";
const PROGRAM: &str = "RADDLE_PTXAS";

/// The assembler and what it is asked for.
pub struct Assembler {
    program: PathBuf,
    /// What `--version` says.
    version: String,
    cuda: (u32, u32),
    architectures: Vec<Architecture>,
    store: Store,
}

/// Machine code of an image.
#[derive(Clone, Debug)]
pub struct Cubin {
    /// The architecture, `sm_90a`.
    pub architecture: String,
    /// CUDA version of the assembler.
    pub cuda: (u32, u32),
    /// The ELF file.
    pub bytes: Vec<u8>,
}

impl Assembler {
    /// The assembler, if the environment asks for machine code; `store` keeps it.
    pub fn from_environment(store: &Store) -> Result<Option<Self>, Error> {
        println!("cargo::rerun-if-env-changed={ARCHITECTURES}");
        let text = match std::env::var(ARCHITECTURES) {
            Ok(text) if !text.is_empty() => text,
            _ => return Ok(None),
        };
        println!("cargo::rerun-if-env-changed={PROGRAM}");
        let architectures = text.split(',').map(|one| Architecture::parse(one.trim()));
        let architectures =
            architectures.collect::<Option<Vec<_>>>().ok_or(Error::BadVariable {
                variable: ARCHITECTURES,
                value: text.clone(),
                expected: "architectures such as `sm_90`, separated by commas",
            })?;
        let named = std::env::var_os(PROGRAM).filter(|path| !path.is_empty());
        if let Some(path) = &named {
            println!("cargo::rerun-if-changed={}", path.display());
        }
        let program = named.map_or_else(|| PathBuf::from("ptxas"), PathBuf::from);
        let (version, cuda) = version_of(&program)?;
        Ok(Some(Self { program, version, cuda, architectures, store: store.clone() }))
    }

    /// The machine code of each image for the architectures on which it runs, on all
    /// cores; what earlier builds made is taken.
    pub fn assemble(&self, images: &[Image]) -> Result<Vec<Vec<Cubin>>, Error> {
        let jobs: Vec<(usize, String)> = images
            .iter()
            .enumerate()
            .flat_map(|(i, image)| self.names_for(image).into_iter().map(move |name| (i, name)))
            .collect();
        let next = AtomicUsize::new(0);
        let (sender, receiver) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
                let (sender, jobs, next) = (sender.clone(), &jobs, &next);
                scope.spawn(move || {
                    while let Some((image, name)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let made = self.one(&images[*image], name);
                        if sender.send((*image, name, made)).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        drop(sender);
        let mut all: Vec<Vec<Cubin>> = images.iter().map(|_| Vec::new()).collect();
        for (image, name, made) in receiver {
            all[image].push(Cubin { architecture: name.clone(), cuda: self.cuda, bytes: made? });
        }
        for cubins in &mut all {
            cubins.sort_by(|a, b| a.architecture.cmp(&b.architecture));
        }
        Ok(all)
    }

    /// The wanted architectures on which an image runs.
    fn names_for(&self, image: &Image) -> Vec<String> {
        let Some(target) = Architecture::parse(&image.target) else { return Vec::new() };
        let mut names: Vec<String> =
            self.architectures.iter().filter_map(|wanted| target.assembled_for(*wanted)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn one(&self, image: &Image, architecture: &str) -> Result<Vec<u8>, Error> {
        let parts = [self.version.as_str(), architecture, OPTIONS, &image.ptx];
        let key = Digest::of_all(parts.map(str::as_bytes));
        if let Some(bytes) = self.store.read_bytes(key, "cubin") {
            return Ok(bytes);
        }
        let failed = |reason: String| Error::Assemble {
            kernel: image.path.clone(),
            architecture: architecture.to_owned(),
            reason,
        };
        let draft = self.store.draft(key, "ptx", image.ptx.as_bytes())?;
        let made = draft.path.with_extension("cubin");
        let output = Command::new(&self.program)
            .arg(format!("-arch={architecture}"))
            .args([OPTIONS, "-o"])
            .args([&made, &draft.path])
            .stdin(Stdio::null())
            .output();
        let bytes = std::fs::read(&made);
        let _ = std::fs::remove_file(&made);
        let output = output.map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        let bytes = bytes.map_err(|error| failed(format!("it left no file: {error}")))?;
        self.store.write(key, "cubin", &bytes)?;
        Ok(bytes)
    }
}

/// Line tables, as PTX has them.
const OPTIONS: &str = "-lineinfo";

fn version_of(program: &PathBuf) -> Result<(String, (u32, u32)), Error> {
    let none = |reason: String| Error::NoAssembler { program: program.clone(), reason };
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| none(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let cuda = cuda_of(&text).ok_or_else(|| none("its `--version` names no release".to_owned()))?;
    Ok((text, cuda))
}

/// The CUDA version in `Cuda compilation tools, release 13.0, V13.0.88`.
fn cuda_of(version: &str) -> Option<(u32, u32)> {
    let release = version.split_once("release ")?.1;
    let (major, rest) = release.split_once('.')?;
    let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// `sm_90` or `sm_90a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Architecture {
    number: u32,
    is_exact: bool,
}

impl Architecture {
    fn parse(text: &str) -> Option<Self> {
        let number = text.strip_prefix("sm_")?;
        let (number, is_exact) = match number.strip_suffix('a') {
            Some(number) => (number, true),
            None => (number, false),
        };
        let is_number = !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit());
        is_number.then_some(Self { number: number.parse().ok()?, is_exact })
    }

    /// What PTX of this target is assembled for, to run on `wanted`, if it runs there.
    fn assembled_for(self, wanted: Self) -> Option<String> {
        match self.is_exact {
            true => (self.number == wanted.number).then(|| format!("sm_{}a", self.number)),
            false => (self.number <= wanted.number).then(|| format!("sm_{}", wanted.number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_assembled_where_they_run() {
        let made = |target: &str, wanted: &str| {
            let wanted = Architecture::parse(wanted).expect("well formed");
            Architecture::parse(target).expect("well formed").assembled_for(wanted)
        };
        assert_eq!(made("sm_80", "sm_90").as_deref(), Some("sm_90"));
        assert_eq!(made("sm_80", "sm_90a").as_deref(), Some("sm_90"));
        assert_eq!(made("sm_90a", "sm_90").as_deref(), Some("sm_90a"));
        assert_eq!(made("sm_90a", "sm_100"), None);
        assert_eq!(made("sm_90", "sm_80"), None);
        for bad in ["", "90", "sm_", "sm_a", "sm_9x", "compute_90", "sm_+9"] {
            assert_eq!(Architecture::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_assembler_says_its_cuda_version() {
        let text = "ptxas: NVIDIA (R) Ptx optimizing assembler\nCuda compilation tools, release 13.0, V13.0.88\n";
        assert_eq!(cuda_of(text), Some((13, 0)));
        assert_eq!(cuda_of("release 12.4"), Some((12, 4)));
        assert_eq!(cuda_of("an assembler"), None);
    }
}
