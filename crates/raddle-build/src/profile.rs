//! Overflow checks and debug assertions: the device build follows the profile of
//! the host build.
//!
//! Cargo tells a build script the assertions (`CARGO_CFG_DEBUG_ASSERTIONS`) but
//! not the overflow checks. Those are looked up where cargo takes them from: the
//! variable `CARGO_PROFILE_<NAME>_OVERFLOW_CHECKS`, `.cargo/config.toml`, and the
//! `[profile.*]` tables of the workspace, with `inherits` and the package's own
//! override. `--config` on cargo's command line is the one place that cannot be
//! seen.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::toml;

/// Which run-time checks rustc inserts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// Panic on integer overflow.
    pub overflow: bool,
    /// `debug_assert!` and `cfg(debug_assertions)`.
    pub debug_assertions: bool,
}

impl Checks {
    /// The checks of a plain debug build and of a plain release build.
    pub const DEBUG: Self = Self { overflow: true, debug_assertions: true };
    /// See [`Checks::DEBUG`].
    pub const RELEASE: Self = Self { overflow: false, debug_assertions: false };

    /// What the profile of this build asks for, unless `RADDLE_OVERFLOW_CHECKS`
    /// says otherwise.
    pub fn of_this_build(package: &str, out: &Path, workspace: &Path) -> Result<Self, Error> {
        let debug_assertions = std::env::var_os("CARGO_CFG_DEBUG_ASSERTIONS").is_some();
        let overflow = match std::env::var("RADDLE_OVERFLOW_CHECKS").as_deref() {
            Ok("on" | "1" | "true") => true,
            Ok("off" | "0" | "false") => false,
            Ok("") | Err(_) => {
                let tables = tables(workspace);
                let profile = profile_name(out);
                let is_debug = std::env::var("PROFILE").is_ok_and(|root| root == "debug");
                overflow_checks(&tables, &profile, package).unwrap_or(is_debug)
            }
            Ok(other) => {
                return Err(Error::BadVariable {
                    variable: "RADDLE_OVERFLOW_CHECKS",
                    value: other.to_owned(),
                    expected: "`on` or `off`",
                });
            }
        };
        Ok(Self { overflow, debug_assertions })
    }

    /// A name for folders: `debug`, `release`, or what differs from `release`.
    pub fn name(self) -> &'static str {
        match (self.overflow, self.debug_assertions) {
            (true, true) => "debug",
            (false, false) => "release",
            (true, false) => "release+overflow-checks",
            (false, true) => "release+debug-assertions",
        }
    }
}

/// The files that may set a profile, besides the workspace's manifest: cargo's
/// configuration in the folders above the current one, and the user's.
pub fn configuration_files(workspace: &Path) -> Vec<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let folders = workspace.ancestors().map(|folder| folder.join(".cargo")).chain(home);
    folders
        .flat_map(|folder| [folder.join("config.toml"), folder.join("config")])
        .filter(|file| file.is_file())
        .collect()
}

/// The profile tables, those that win first.
fn tables(workspace: &Path) -> Vec<toml::Entries> {
    let mut files = configuration_files(workspace);
    files.push(workspace.join("Cargo.toml"));
    let read = |file: PathBuf| std::fs::read_to_string(file).ok().map(|text| toml::entries(&text));
    files.into_iter().filter_map(read).collect()
}

/// The profile whose folder `OUT_DIR` lies in: `<profile>/build/<package>/out`.
fn profile_name(out: &Path) -> String {
    let build = out.ancestors().find(|a| a.file_name().is_some_and(|name| name == "build"));
    let folder = build.and_then(Path::parent).and_then(Path::file_name).unwrap_or_default();
    match folder.to_string_lossy() {
        name if name == "debug" => "dev".to_owned(),
        name => name.into_owned(),
    }
}

/// What the tables say for `package` under `profile`; `None` if nothing.
///
/// The test and bench profiles share their folders with dev and release, from
/// which they inherit.
fn overflow_checks(tables: &[toml::Entries], profile: &str, package: &str) -> Option<bool> {
    let value = |path: &[&str]| tables.iter().find_map(|table| toml::get(table, path));
    let mut profile = profile.to_owned();
    // Profiles inherit in a chain that cargo has checked; this bounds a broken one.
    for _ in 0..16 {
        let upper = profile.to_uppercase().replace('-', "_");
        let variable = std::env::var(format!("CARGO_PROFILE_{upper}_OVERFLOW_CHECKS")).ok();
        let own = value(&["profile", &profile, "package", package, "overflow-checks"]);
        let found = own.or(variable).or_else(|| value(&["profile", &profile, "overflow-checks"]));
        match found.as_deref() {
            Some("true") => return Some(true),
            Some("false") => return Some(false),
            _ => {}
        }
        profile = value(&["profile", &profile, "inherits"])?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_inherit_and_packages_override() {
        let manifest = "[profile.release]\noverflow-checks = true # as in debug\n\
             [profile.fast]\ninherits = \"release\"\n[profile.fast.package.app]\noverflow-checks = false\n";
        let tables = [toml::entries(manifest)];
        assert_eq!(overflow_checks(&tables, "release", "app"), Some(true));
        assert_eq!(overflow_checks(&tables, "fast", "other"), Some(true));
        assert_eq!(overflow_checks(&tables, "fast", "app"), Some(false));
        assert_eq!(overflow_checks(&tables, "dev", "app"), None);
        let config = toml::entries("[profile]\nrelease = { overflow-checks = false }\n");
        let both = [config, tables[0].clone()];
        assert_eq!(overflow_checks(&both, "release", "app"), Some(false));
    }

    #[test]
    fn the_profile_is_read_from_the_folder() {
        assert_eq!(profile_name(Path::new("/t/x86_64/debug/build/a-1/out")), "dev");
        assert_eq!(profile_name(Path::new("/t/fast/build/a-1/out")), "fast");
    }
}
