//! `raddle profile CMD…`: runs a program and says which device memory it still held
//! when it ended, and who had allocated it.
//!
//! The program's own runtime writes the reports (`RADDLE_MEMORY_PROFILE_FILE`), one
//! for each process of the command that opened a device; this collects them.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use clap::Args;

/// What to run, and where the profiles go.
#[derive(Debug, Args)]
pub struct Options {
    /// Keeps the profiles as PREFIX.PID.pb.gz, for `go tool pprof`, and PREFIX.PID.txt.
    #[arg(long, value_name = "PREFIX")]
    output: Option<PathBuf>,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The program could not be started.
    #[error("{program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Files could not be made or read.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// No report came.
    #[error(
        "no process of the command opened a device and ended by itself: nothing is known of its memory ({status})"
    )]
    NoReport {
        /// How the command ended.
        status: ExitStatus,
    },
}

/// What one process said when it ended.
#[derive(Debug, PartialEq, Eq)]
struct Report {
    process: String,
    held_bytes: u64,
    text: String,
}

/// Runs the command; the exit code is its own, or 1 if it held memory at its end.
pub fn run(options: &Options) -> Result<ExitCode, ProfileError> {
    let folder = std::env::temp_dir().join(format!("raddle-profile-{}", std::process::id()));
    let prefix = match &options.output {
        Some(prefix) => std::path::absolute(prefix).unwrap_or_else(|_| prefix.clone()),
        None => {
            let file = |source| ProfileError::File { path: folder.clone(), source };
            std::fs::create_dir_all(&folder).map_err(file)?;
            folder.join("memory")
        }
    };
    let outcome = run_with(&options.command, &prefix);
    if options.output.is_none() {
        // What is left of it is in the system's folder for such files.
        let _ = std::fs::remove_dir_all(&folder);
    }
    let (status, reports) = outcome?;
    if reports.is_empty() {
        return Err(ProfileError::NoReport { status });
    }
    print!("{}", summary(&reports));
    let is_leaking = reports.iter().any(|report| report.held_bytes > 0);
    let code = match status.code() {
        Some(0) => u8::from(is_leaking),
        Some(code) => u8::try_from(code).unwrap_or(1),
        None => {
            println!("the command was ended by a signal ({status})");
            1
        }
    };
    Ok(ExitCode::from(code))
}

fn run_with(command: &[String], prefix: &Path) -> Result<(ExitStatus, Vec<Report>), ProfileError> {
    let [program, arguments @ ..] = command else { unreachable!("clap wants a program") };
    let before = reports(prefix)?;
    let status = Command::new(program)
        .args(arguments)
        .env("RADDLE_MEMORY_PROFILE", "full")
        .env("RADDLE_MEMORY_PROFILE_FILE", prefix)
        .status()
        .map_err(|source| ProfileError::Start { program: program.clone(), source })?;
    let mut reports = reports(prefix)?;
    reports.retain(|report| !before.contains(report));
    Ok((status, reports))
}

/// The reports with this prefix, in the order of their names.
fn reports(prefix: &Path) -> Result<Vec<Report>, ProfileError> {
    let folder = prefix.parent().unwrap_or(Path::new("."));
    let name = prefix.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let failed = |source| ProfileError::File { path: folder.to_owned(), source };
    let mut reports = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let process = file.strip_prefix(&format!("{name}.")).and_then(|f| f.strip_suffix(".txt"));
        let Some(process) = process.filter(|p| p.bytes().all(|b| b.is_ascii_digit())) else {
            continue;
        };
        let file = |source| ProfileError::File { path: path.clone(), source };
        let text = std::fs::read_to_string(&path).map_err(file)?;
        reports.extend(parse(process, &text));
    }
    reports.sort_by(|a, b| a.process.cmp(&b.process));
    Ok(reports)
}

/// A report as the runtime writes it: `held_bytes N`, then the table.
fn parse(process: &str, text: &str) -> Option<Report> {
    let (first, rest) = text.split_once('\n')?;
    let held_bytes = first.strip_prefix("held_bytes ")?.parse().ok()?;
    Some(Report { process: process.to_owned(), held_bytes, text: rest.to_owned() })
}

/// What to print.
fn summary(reports: &[Report]) -> String {
    let mut text = String::new();
    let total: u64 = reports.iter().map(|report| report.held_bytes).sum();
    let _ = writeln!(text, "{total} bytes leaked");
    for report in reports {
        if reports.len() > 1 {
            let _ = writeln!(text, "\nprocess {}: {} bytes", report.process, report.held_bytes);
        }
        // The first line of the table is the total again.
        let table = report.text.split_once('\n').map_or("", |(_, rest)| rest);
        let _ = write!(text, "{table}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_summed_up_and_what_is_no_report_is_left_alone() {
        let folder = std::env::temp_dir().join(format!("raddle-reports-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        write("memory.12.txt", "held_bytes 5\n5 bytes held\ncpu: x\n\n5 B from\n    f\n");
        write("memory.7.txt", "held_bytes 0\n0 bytes held\ncpu: y\n");
        write("memory.7.pb.gz", "");
        write("memory.x.txt", "held_bytes 9\n");
        write("memory.8.txt", "something else\n");
        let found = reports(&folder.join("memory")).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let expected = "5 bytes leaked\n\nprocess 12: 5 bytes\ncpu: x\n\n5 B from\n    f\n\n\
                        process 7: 0 bytes\ncpu: y\n";
        assert_eq!(summary(&found), expected);
        assert_eq!(summary(&found[1..]), "0 bytes leaked\ncpu: y\n");
    }

    #[test]
    fn a_program_that_is_not_there_or_says_nothing_is_an_error() {
        let options = |command: &str| Options { output: None, command: vec![command.to_owned()] };
        let error = run(&options("no-such-program-anywhere")).unwrap_err();
        assert!(error.to_string().starts_with("no-such-program-anywhere: "), "{error}");
        let error = run(&options("true")).unwrap_err();
        assert!(matches!(error, ProfileError::NoReport { .. }), "{error}");
    }
}
