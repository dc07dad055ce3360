//! From the bitcode of the device build's crates to PTX for each kernel.
//!
//! A kernel's PTX is a function of the bitcode that is cut out for it, so it is kept
//! under that bitcode's digest: after an edit only the kernels that changed are
//! compiled again.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;

use crate::check;
use crate::device_crate::{CompiledCrate, CrateBitcode};
use crate::digest::Digest;
use crate::emit::{self, Batch, Compiled, Refused, Target};
use crate::error::Error;
use crate::index::{DeviceCode, Image};
use crate::llvm::{self, Context, Llvm, Machine};
use crate::md5;
use crate::merge;
use crate::retarget::{self, KernelEntry};
use crate::store::{Store, write_if_changed};
use crate::toolchain::Toolchain;

/// What makes the PTX.
pub struct Compiler<'a> {
    /// LLVM.
    pub llvm: &'static Llvm,
    /// rustc.
    pub toolchain: &'a Toolchain,
    /// Where PTX is kept for later builds.
    pub store: &'a Store,
    /// Where the device code before optimisation is written, if it is.
    pub dump: Option<&'a Path>,
}

/// One image to make.
#[derive(Clone)]
struct Job {
    kernel: KernelEntry,
    target: Target,
    bitcode: Arc<Vec<u8>>,
    key: Digest,
}

impl Compiler<'_> {
    /// Compiles all kernels of a device crate, the first of `crates`.
    pub fn compile(
        &self,
        program: Option<&str>,
        crates: &[CompiledCrate],
    ) -> Result<DeviceCode, Error> {
        let context = Context::new(self.llvm);
        let machine = Machine::new(self.llvm, emit::PORTABLE.name, emit::PORTABLE.features)?;
        let bitcode = |one: &CompiledCrate| {
            Some(CrateBitcode { name: one.name.clone(), path: one.bitcode.clone()? })
        };
        let bitcode: Vec<CrateBitcode> = crates.iter().filter_map(bitcode).collect();
        let module = merge::merge(&context, self.toolchain, &bitcode)?;
        let kernels = retarget::prepare(&module, &machine, program)?;
        if let Some(folder) = self.dump {
            write_if_changed(&folder.join("prepared.ll"), &module.to_text())?;
        }
        let mut code = DeviceCode::default();
        let mut accepted = Vec::new();
        for kernel in kernels {
            match check::explain(&module, &kernel, &[]) {
                Some(message) => code.errors.push((kernel.name.path, message)),
                None => accepted.push(kernel),
            }
        }
        let batches = emit::split(module.duplicate(), &accepted, &machine)?;
        let marks = marks_of_sources(crates);
        let jobs: Vec<Job> = batches.iter().flat_map(|batch| self.jobs(batch, &marks)).collect();
        for (Job { kernel, .. }, result) in jobs.iter().zip(self.images(&jobs)) {
            let path = &kernel.name.path;
            match result {
                Ok(image) => code.images.push(image),
                Err(Refused::Undefined(names)) => {
                    let fallback = || {
                        let names = names.join(", ");
                        format!("kernel `{path}` cannot run on a GPU: it calls {names}")
                    };
                    let message = check::explain(&module, kernel, &names).unwrap_or_else(fallback);
                    code.errors.push((path.clone(), message));
                }
                Err(Refused::Failed(error)) => {
                    let message = format!("kernel `{path}` could not be compiled: {error}");
                    code.errors.push((path.clone(), message));
                }
            }
        }
        Ok(code)
    }

    fn jobs<'b>(
        &'b self,
        batch: &'b Batch,
        marks: &HashSet<String>,
    ) -> impl Iterator<Item = Job> + use<'b> {
        let bitcode = digest_without(&batch.bitcode, marks).to_string();
        batch.kernels.iter().flat_map(move |kernel| {
            let bitcode = bitcode.clone();
            Target::for_kernel(&kernel.meta).iter().map(move |&target| Job {
                kernel: kernel.clone(),
                target,
                bitcode: Arc::clone(&batch.bitcode),
                key: Digest::of_all([
                    identity(self.toolchain, self.llvm).as_bytes(),
                    format!("{target:?} {kernel:?}").as_bytes(),
                    bitcode.as_bytes(),
                ]),
            })
        })
    }

    /// The image of each job, in order: kept ones first, the others compiled.
    fn images(&self, jobs: &[Job]) -> Vec<Result<Image, Refused>> {
        let kept: Vec<Option<Image>> = jobs.iter().map(|job| self.kept(job)).collect();
        let missing: Vec<Job> = jobs
            .iter()
            .zip(&kept)
            .filter(|(_, kept)| kept.is_none())
            .map(|(job, _)| job.clone())
            .collect();
        let mut made = compile_all(self.llvm, &missing).into_iter();
        let mut next = |job: &Job| {
            let compiled = made.next().expect("each missing image was compiled")?;
            let flag = if compiled.synchronizes { SYNCHRONIZES } else { "" };
            self.store.write(job.key, "ptx", &format!("{flag}{}", compiled.ptx))?;
            Ok(image(job, compiled.synchronizes, compiled.ptx))
        };
        jobs.iter().zip(kept).map(|(job, kept)| kept.map_or_else(|| next(job), Ok)).collect()
    }

    fn kept(&self, job: &Job) -> Option<Image> {
        let text = self.store.read(job.key, "ptx")?;
        Some(match text.strip_prefix(SYNCHRONIZES) {
            Some(ptx) => image(job, true, ptx.to_owned()),
            None => image(job, false, text),
        })
    }
}

/// What a kept image begins with if threads of its kernel can wait for each other.
const SYNCHRONIZES: &str = "// synchronizes\n";

fn image(job: &Job, synchronizes: bool, ptx: String) -> Image {
    Image {
        path: job.kernel.name.path.clone(),
        target: job.target.name.to_owned(),
        entry: job.kernel.name.entry.clone(),
        synchronizes,
        ptx,
    }
}

/// The digests by which the line tables know the files of the user's that may change.
fn marks_of_sources(crates: &[CompiledCrate]) -> HashSet<String> {
    let files = crates.iter().filter(|one| one.is_local).flat_map(|one| &one.sources);
    files.filter_map(|file| std::fs::read(file).ok()).map(|bytes| md5::hex(&bytes)).collect()
}

/// A digest of bitcode that leaves out those marks: they change with every edit of a
/// file, also in the kernels that the edit leaves as they were, and PTX holds none.
fn digest_without(bitcode: &[u8], marks: &HashSet<String>) -> Digest {
    const MARK_BYTES: usize = 32;
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let mut bytes = bitcode.to_vec();
    let mut end = 0;
    for at in 0..bitcode.len() {
        // Within a longer row of such digits each place may begin a mark.
        if end <= at {
            let digits = bitcode[at..].iter().take_while(|byte| is_hex(byte)).count();
            end = at + digits.max(1);
        }
        let Some(text) = bitcode.get(at..at + MARK_BYTES).filter(|_| at + MARK_BYTES <= end) else {
            continue;
        };
        if std::str::from_utf8(text).is_ok_and(|text| marks.contains(text)) {
            bytes[at..at + MARK_BYTES].fill(b'0');
        }
    }
    Digest::of(&bytes)
}

/// What tells compilers apart: this crate, rustc, and the library.
pub fn identity(toolchain: &Toolchain, llvm: &Llvm) -> String {
    let written = std::fs::metadata(&llvm.path).and_then(|data| data.modified()).ok();
    let path = llvm.path.display();
    format!("{} {} {path} {written:?}", env!("SOURCES_DIGEST"), toolchain.version)
}

/// Compiles the jobs on all cores. Each runs on a thread of its own: when LLVM
/// meets a fatal error there, that thread is given up and the others go on.
fn compile_all(llvm: &'static Llvm, jobs: &[Job]) -> Vec<Result<Compiled, Refused>> {
    const STACK_BYTES: usize = 64 << 20;
    let parallel =
        std::thread::available_parallelism().map_or(1, usize::from).min(jobs.len().max(1));
    let (sender, receiver) = mpsc::channel();
    let spawn = |number: usize| {
        let Job { kernel, target, bitcode, .. } = jobs[number].clone();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marks_of_sources_are_left_out() {
        let (old, new, other) = (md5::hex(b"old"), md5::hex(b"new"), md5::hex(b"other"));
        let marks = HashSet::from([old.clone(), new.clone()]);
        let digest = |text: String| digest_without(text.as_bytes(), &marks);
        assert_eq!(digest(format!("ab{old}cd")), digest(format!("ab{new}cd")));
        assert_ne!(digest(format!("ab{old}cd")), digest(format!("ab{other}cd")));
        assert_ne!(digest(format!("ab{old}cd")), digest(format!("ab{old}ce")));
        assert_eq!(digest(old), digest(new));
    }
}
