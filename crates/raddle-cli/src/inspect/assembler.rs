//! NVIDIA's assembler `ptxas`: for which architectures an image is assembled,
//! how, and what the report says about registers, spills and shared memory.
//!
//! Raddle itself never needs the assembler; it is used to inspect. `xtask`
//! includes this file too, so it uses `std` and `thiserror` only.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Architectures for which portable images are assembled: each generation that
/// the driver would assemble them for.
const PORTABLE: [(u32, &str); 5] =
    [(75, "sm_75"), (80, "sm_80"), (90, "sm_90"), (100, "sm_100"), (120, "sm_120")];

/// What a kernel needs on one architecture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Registers of each thread.
    pub registers: u32,
    /// Bytes each thread writes to local memory because registers ran out.
    pub spill_store_bytes: u32,
    /// Bytes each thread reads back.
    pub spill_load_bytes: u32,
    /// Local memory of each thread, spills included.
    pub stack_bytes: u32,
    /// Static shared memory of each block.
    pub shared_bytes: u32,
    /// Named barriers of each block.
    pub barriers: u32,
}

/// What the assembler said about one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembled {
    /// What the entry needs.
    pub resources: Resources,
    /// Warnings and advice, each one line, `C7508`-like codes included.
    pub warnings: Vec<String>,
}

/// Why an image was not assembled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssembleError {
    /// The assembler could not be started.
    #[error("{}: {source}", ptxas.display())]
    Start {
        /// The program.
        ptxas: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The assembler refused the PTX: a bug in `raddle-build` or in a `ptx!`.
    #[error("ptxas refused {} for {architecture}:\n{}", ptx_file.display(), output.trim_end())]
    Refused {
        /// The image.
        ptx_file: PathBuf,
        /// For which architecture.
        architecture: String,
        /// All that the assembler printed.
        output: String,
    },
    /// The report has no line for the entry: another version of the assembler.
    #[error("ptxas gave no report on `{entry}` for {architecture}; it printed:\n{}", output.trim_end())]
    NoReport {
        /// The kernel.
        entry: String,
        /// For which architecture.
        architecture: String,
        /// All that the assembler printed.
        output: String,
    },
}

/// The architectures on which an image with PTX target `target` runs: itself
/// and all later ones, except that `a` and `f` targets run on their own only.
#[must_use]
pub fn architectures_of(target: &str) -> Vec<String> {
    let number = target.strip_prefix("sm_").and_then(|digits| digits.parse::<u32>().ok());
    match number {
        // Known to be older than the newest here, else only itself is certain.
        Some(lowest) if lowest <= PORTABLE[PORTABLE.len() - 1].0 => PORTABLE
            .iter()
            .filter(|(number, _)| *number >= lowest)
            .map(|(_, name)| (*name).to_owned())
            .collect(),
        _ => vec![target.to_owned()],
    }
}

/// Assembles `ptx_file` for `architecture`, writes the cubin to `cubin_file`
/// and reports on `entry`.
///
/// ## Errors
///
/// See [`AssembleError`].
pub fn assemble(
    ptxas: &Path,
    ptx_file: &Path,
    entry: &str,
    architecture: &str,
    cubin_file: &Path,
) -> Result<Assembled, AssembleError> {
    let result = Command::new(ptxas)
        .args(["-v", &format!("-arch={architecture}"), "-o"])
        .arg(cubin_file)
        .arg(ptx_file)
        .output()
        .map_err(|source| AssembleError::Start { ptxas: ptxas.to_owned(), source })?;
    let output = String::from_utf8_lossy(&result.stdout).into_owned()
        + &String::from_utf8_lossy(&result.stderr);
    if !result.status.success() {
        return Err(AssembleError::Refused {
            ptx_file: ptx_file.to_owned(),
            architecture: architecture.to_owned(),
            output,
        });
    }
    parse_report(&output, entry).ok_or_else(|| AssembleError::NoReport {
        entry: entry.to_owned(),
        architecture: architecture.to_owned(),
        output,
    })
}

/// Reads the report of `ptxas -v` on `entry`.
#[must_use]
pub fn parse_report(output: &str, entry: &str) -> Option<Assembled> {
    let mut resources = None::<Resources>;
    let mut warnings = Vec::new();
    let mut properties = Resources::default();
    let (mut in_entry, mut in_properties) = (false, false);
    for line in output.lines() {
        let is_advice = line.contains(" warning ") || line.contains("(C7");
        if is_advice {
            let text = line.split_once(" : ").map_or(line, |(_, text)| text);
            warnings.push(text.trim().to_owned());
        } else if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            in_entry = rest.starts_with(&format!("{entry}'"));
        } else if let Some((_, name)) = line.split_once("Function properties for ") {
            in_properties = in_entry && name.trim() == entry;
        } else if in_properties && line.contains("bytes stack frame") {
            properties.stack_bytes = number_before(line, " bytes stack frame")?;
            properties.spill_store_bytes = number_before(line, " bytes spill stores")?;
            properties.spill_load_bytes = number_before(line, " bytes spill loads")?;
        } else if in_entry && line.contains(" registers") {
            resources = Some(Resources {
                registers: number_before(line, " registers")?,
                barriers: number_before(line, " barriers").unwrap_or(0),
                shared_bytes: number_before(line, " bytes smem").unwrap_or(0),
                ..properties
            });
        }
    }
    Some(Assembled { resources: resources?, warnings })
}

/// The number that stands right before `unit` in `line`.
fn number_before(line: &str, unit: &str) -> Option<u32> {
    let (before, _) = line.split_once(unit)?;
    let start = before.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + 1);
    before[start..].parse().ok()
}

/// The code of an advice line, `C7510` of `(C7510) Potential …`.
#[must_use]
#[allow(dead_code, reason = "xtask uses it")]
pub fn code_of(warning: &str) -> Option<&str> {
    let (_, rest) = warning.split_once('(')?;
    let (code, _) = rest.split_once(')')?;
    let is_code = code.len() == 5
        && code.starts_with('C')
        && code.bytes().skip(1).all(|byte| byte.is_ascii_digit());
    is_code.then_some(code)
}

/// Looks for one of NVIDIA's tools in the folders below `installed` (made by
/// `pip install --target`) and then on `PATH`.
#[must_use]
pub fn find_tool(name: &str, installed: &[PathBuf]) -> Option<PathBuf> {
    let wheels = installed.iter().flat_map(|root| {
        let nvidia = std::fs::read_dir(root.join("nvidia"));
        nvidia.into_iter().flatten().flatten().map(|entry| entry.path().join("bin"))
    });
    let path = std::env::var_os("PATH").unwrap_or_default();
    wheels.chain(std::env::split_paths(&path)).map(|dir| dir.join(name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "\
ptxas info    : 0 bytes gmem
ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized
ptxas info    : Compiling entry function 'gemm' for 'sm_90a'
ptxas info    : Function properties for helper
    8 bytes stack frame, 8 bytes spill stores, 8 bytes spill loads
ptxas info    : Function properties for gemm
    48 bytes stack frame, 40 bytes spill stores, 44 bytes spill loads
ptxas info    : Used 90 registers, used 2 barriers, 49152 bytes smem, 360 bytes cmem[0]
";

    #[test]
    fn reads_the_report_of_the_entry() {
        let assembled = parse_report(REPORT, "gemm").unwrap();
        assert_eq!(
            assembled.resources,
            Resources {
                registers: 90,
                spill_store_bytes: 40,
                spill_load_bytes: 44,
                stack_bytes: 48,
                shared_bytes: 49152,
                barriers: 2
            }
        );
        assert_eq!(assembled.warnings.len(), 1);
        assert_eq!(code_of(&assembled.warnings[0]), Some("C7510"));
        assert_eq!(parse_report(REPORT, "gem"), None);
    }

    #[test]
    fn portable_images_go_to_every_later_architecture() {
        assert_eq!(architectures_of("sm_80"), ["sm_80", "sm_90", "sm_100", "sm_120"]);
        assert_eq!(architectures_of("sm_90a"), ["sm_90a"]);
        assert_eq!(architectures_of("sm_130"), ["sm_130"]);
    }

    #[test]
    fn codes_are_told_from_other_parentheses() {
        assert_eq!(code_of("(C7508) text"), Some("C7508"));
        assert_eq!(code_of("text (see manual)"), None);
        assert_eq!(code_of("(Cabcd)"), None);
    }
}
