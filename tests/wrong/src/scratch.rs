//! The scratch workspace in which the programs are built: one package for each group,
//! so that one run of cargo checks all of them.
//!
//! All of `device` is one library, since each kernel gets its own message. `kernel` and
//! `launch` have a binary for each program, since rustc stops at the first stage that
//! fails. The device build of `kernel` is refused as a whole, as that of a user's crate
//! would be; what rustc says there must not appear a second time.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::corpus::{Group, Program};

/// The scratch workspace in `folder`, and Raddle's own in `workspace`.
pub struct Scratch {
    folder: PathBuf,
    workspace: PathBuf,
}

impl Scratch {
    /// Writes the workspace; files that are right already stay untouched.
    ///
    /// ## Panics
    ///
    /// When a file cannot be written.
    #[must_use]
    pub fn write(folder: &Path, workspace: &Path, programs: &[Program]) -> Self {
        let scratch = Self { folder: folder.to_owned(), workspace: workspace.to_owned() };
        let members = Group::ALL.map(|group| format!("{:?}", group.name())).join(", ");
        let manifest = format!("[workspace]\nresolver = \"3\"\nmembers = [{members}]\n");
        scratch.file("Cargo.toml", &manifest);
        let lock = std::fs::read_to_string(workspace.join("Cargo.lock")).unwrap_or_default();
        if !scratch.folder.join("Cargo.lock").exists() {
            scratch.file("Cargo.lock", &lock);
        }
        for group in Group::ALL {
            let programs: Vec<_> = programs.iter().filter(|one| one.group == group).collect();
            scratch.package(group, &programs);
        }
        scratch
    }

    /// Checks all packages; the JSON messages.
    ///
    /// ## Panics
    ///
    /// When cargo cannot be run, or finds the workspace itself wrong.
    #[must_use]
    pub fn check(&self) -> String {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["check", "--offline", "--workspace", "--keep-going", "--message-format=json"])
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", self.folder.join("target"))
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .output()
            .expect("cargo can be run");
        let messages = String::from_utf8_lossy(&output.stdout).into_owned();
        let has_checked = messages.contains("\"reason\":\"build-finished\"");
        assert!(has_checked, "cargo failed:\n{}", String::from_utf8_lossy(&output.stderr));
        messages
    }

    fn package(&self, group: Group, programs: &[&Program]) {
        let name = group.name();
        let crates = self.workspace.join("crates");
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
             [dependencies]\nraddle = {{ path = {:?} }}\n\n\
             [build-dependencies]\nraddle-build = {{ path = {:?} }}\n",
            crates.join("raddle"),
            crates.join("raddle-build"),
        );
        self.file(&format!("{name}/Cargo.toml"), &manifest);
        let folder = if group == Group::Device { "kernels" } else { "programs" };
        for program in programs {
            self.file(&format!("{name}/src/{folder}/{}.rs", program.name), &program.source);
        }
        match group {
            Group::Device => self.device(programs),
            Group::Kernel => self.kernel(programs),
            Group::Launch => self.launch(programs),
        }
    }

    fn device(&self, programs: &[&Program]) {
        let mut modules = String::from("//! Every program is a module.\n");
        for program in programs {
            writeln!(modules, "pub mod {};", program.name).expect("strings can be written to");
        }
        self.file("device/src/kernels.rs", &modules);
        self.file("device/src/lib.rs", "//! Kernels that no GPU can run.\npub mod kernels;\n");
        self.file("device/build.rs", &build_script(&["src/kernels.rs".to_owned()]));
    }

    fn kernel(&self, programs: &[&Program]) {
        let files: Vec<String> =
            programs.iter().map(|program| format!("src/programs/{}.rs", program.name)).collect();
        self.file("kernel/build.rs", &build_script(&files));
        for Program { name, .. } in programs {
            let main =
                format!("#[path = \"../programs/{name}.rs\"]\nmod {name};\nfn main() {{}}\n");
            self.file(&format!("kernel/src/bin/{name}.rs"), &main);
        }
    }

    fn launch(&self, programs: &[&Program]) {
        self.file("launch/src/kernels.rs", include_str!("../scratch/launch_kernels.rs"));
        self.file("launch/build.rs", &build_script(&["src/kernels.rs".to_owned()]));
        for Program { name, .. } in programs {
            let main = format!(
                "#[path = \"../kernels.rs\"]\nmod kernels;\n\
                 #[path = \"../programs/{name}.rs\"]\nmod {name};\nfn main() {{}}\n"
            );
            self.file(&format!("launch/src/bin/{name}.rs"), &main);
        }
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.folder.join(path);
        if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
            return;
        }
        let parent = path.parent().expect("files lie in folders");
        std::fs::create_dir_all(parent).unwrap_or_else(|e| panic!("{}: {e}", parent.display()));
        std::fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}

fn build_script(files: &[String]) -> String {
    let files: String = files.iter().map(|file| format!(".file({file:?})")).collect();
    format!("fn main() {{ raddle_build::Kernels::new(){files}.run(); }}\n")
}
