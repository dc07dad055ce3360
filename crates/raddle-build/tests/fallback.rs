//! Where LLVM comes from, what is done without it, and what is not done twice.
//!
//! The test program runs itself again with the environment of a build script, as
//! `output.rs` does. All tests write the same package in the same place, so that its
//! dependencies are compiled once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const KERNELS: &str = r#"
use raddle::prelude::*;

#[kernel]
pub fn scale(a: f32, mut y: PerThread<f32>) {
    for (_, y) in y.iter_mut() {
        *y = helper::twice(a) * *y;
    }
}

#[kernel]
pub fn first(x: &[u32], mut y: PerThread<u32>) {
    for (i, y) in y.iter_mut() {
        *y = x[i] + 1;
    }
}

#[kernel]
pub fn second(x: &[u32], mut y: PerThread<u32>) {
    for (i, y) in y.iter_mut() {
        *y = x[i] + 2;
    }
}

#[kernel]
pub fn third(x: &[u32], mut y: PerThread<u32>) {
    for (i, y) in y.iter_mut() {
        *y = x[i] + 3;
    }
}
"#;

const HELPER: &str = "pub fn twice(x: f32) -> f32 { x + x }\n";

fn main() {
    if std::env::args().nth(1).as_deref() == Some("compile") {
        raddle_build::Kernels::new().file("src/kernels.rs").run();
        return;
    }
    let tests: [(&str, fn()); 7] = [
        ("nothing_is_done_twice", nothing_is_done_twice),
        ("shipped_ptx_is_taken_only_if_it_fits", shipped_ptx_is_taken_only_if_it_fits),
        ("shipped_ptx_is_not_taken_where_there_is_llvm", shipped_ptx_is_not_taken_with_llvm),
        ("another_llvm_is_found_and_named", another_llvm_is_found_and_named),
        ("without_llvm_the_error_lists_the_places", without_llvm_the_error_lists_the_places),
        ("machine_code_is_added_where_it_is_asked_for", machine_code_is_added),
        ("variables_mean_something_or_are_refused", variables_mean_something_or_are_refused),
    ];
    for (name, test) in tests {
        test();
        println!("test {name} ... ok");
    }
    println!("{} passed, 0 failed", tests.len());
}

/// The package, as one test writes it.
struct Fixture {
    root: PathBuf,
    /// The test.
    name: &'static str,
}

const PACKAGE: &str = "fixture";

/// What one run of its build script gave.
struct Run {
    succeeded: bool,
    stdout: String,
    index: String,
    images: BTreeMap<String, String>,
}

impl Fixture {
    fn new(name: &'static str) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("output");
        let fixture = Self { root, name };
        let _ = std::fs::remove_dir_all(fixture.folder());
        // What earlier tests or runs of the tests compiled is not to help this one.
        for path in kept("record") {
            std::fs::remove_file(path).expect("nothing else runs here");
        }
        let raddle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../raddle");
        let raddle = raddle.canonicalize().expect("the facade lies beside this crate");
        let manifest = format!(
            "[package]\nname = \"{PACKAGE}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[features]\nfast = []\n\n[dependencies]\nraddle = {{ path = {:?} }}\nhelper = {{ path = \"helper\" }}\n\n[workspace]\n",
            raddle.display().to_string()
        );
        fixture.write("Cargo.toml", &manifest);
        fixture.write("src/kernels.rs", KERNELS);
        fixture.write("src/lib.rs", "");
        fixture.write(
            "helper/Cargo.toml",
            "[package]\nname = \"helper\"\nversion = \"1.2.3\"\nedition = \"2024\"\n",
        );
        fixture.write("helper/src/lib.rs", HELPER);
        let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock");
        let lock = std::fs::read_to_string(lock).expect("the workspace has a lock file");
        fixture.write("Cargo.lock", &lock);
        fixture
    }

    fn folder(&self) -> PathBuf {
        self.root.join("fallback").join(PACKAGE)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder().join(path);
        std::fs::create_dir_all(path.parent().expect("a file in a folder"))
            .expect("a folder can be made");
        std::fs::write(path, text).expect("a file can be written below target/");
    }

    /// The `OUT_DIR` called `name`.
    fn out(&self, name: &str) -> PathBuf {
        let folder = format!("{}-{name}", self.name);
        self.root.join("target/release/build").join(folder).join("out")
    }

    /// Runs the build script with these variables; `out` names its `OUT_DIR`.
    fn run(&self, out: &str, variables: &[(&str, &str)]) -> Run {
        let out = self.out(out);
        std::fs::create_dir_all(&out).expect("a folder can be made below target/");
        let output =
            Command::new(std::env::current_exe().expect("the test program knows its path"))
                .arg("compile")
                .current_dir(self.folder())
                .env("CARGO", env!("CARGO"))
                .env("CARGO_PKG_NAME", PACKAGE)
                .env("CARGO_MANIFEST_DIR", self.folder())
                .env("OUT_DIR", &out)
                .env("PROFILE", "release")
                .envs(variables.iter().copied())
                .output()
                .expect("the test program runs");
        let folder = out.join("raddle");
        let index = std::fs::read_to_string(folder.join("index.tsv")).unwrap_or_default();
        let mut images = BTreeMap::new();
        for line in index.lines().filter(|line| line.starts_with("image\t")) {
            let file = line.split('\t').nth(4).expect("an image has a file");
            let text = std::fs::read_to_string(folder.join(file)).expect("the image is there");
            images.insert(file.to_owned(), text);
        }
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        Run { succeeded: output.status.success(), stdout, index, images }
    }

    /// Runs it and expects success.
    fn build(&self, out: &str, variables: &[(&str, &str)]) -> Run {
        let run = self.run(out, variables);
        assert!(run.succeeded, "{}: {}", self.name, run.stdout);
        run
    }

    /// Runs it and expects an error with these parts.
    fn fail(&self, variables: &[(&str, &str)], parts: &[&str]) {
        let run = self.run("failing", variables);
        assert!(!run.succeeded, "{} built with {variables:?}", self.name);
        for part in parts {
            assert!(run.stdout.contains(part), "no `{part}` in\n{}", run.stdout);
        }
    }
}

/// The files of a kind that are kept for later builds.
fn kept(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("output/target/raddle-device/cache");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|e| e == kind)).collect()
}

fn nothing_is_done_twice() {
    let fixture = Fixture::new("twice");
    let first = fixture.build("a", &[]);
    assert_eq!(first.images.len(), 4);
    // Another `OUT_DIR`, and nothing that could compile: neither cargo nor LLVM is used.
    let again = fixture.build("b", &[("CARGO", "/no/cargo")]);
    assert_eq!((&first.index, &first.images), (&again.index, &again.images));
    assert!(
        again.stdout.contains("rerun-if-changed=") && again.stdout.contains("helper/src/lib.rs")
    );
    // An edit of one kernel makes the images of its batch anew, not of all kernels.
    // The number is one that no earlier run of the tests had.
    let number = format!("x[i] + {}", std::process::id() + 100);
    fixture.write("src/kernels.rs", &KERNELS.replace("x[i] + 3", &number));
    let before = kept("ptx").len();
    let edited = fixture.build("a", &[]);
    let made = kept("ptx").len() - before;
    assert!((1..=3).contains(&made), "{made} images were made");
    assert_ne!(edited.images, first.images);
    fixture.write("helper/src/lib.rs", &HELPER.replace("x + x", "x * 3.0"));
    assert_ne!(fixture.build("a", &[]).images, edited.images);
}

fn shipped_ptx_is_taken_only_if_it_fits() {
    let fixture = Fixture::new("shipped");
    let none = ("RADDLE_LLVM", "none");
    fixture.fail(
        &[none],
        &[
            "cargo::error=raddle: no LLVM",
            "no folder raddle-ptx",
            "RADDLE_LLVM=none",
            "rustup",
            "raddle kernels ship",
        ],
    );
    let compiled = fixture.build("a", &[("RADDLE_SHIP", "other,fixture")]);
    let shipped = fixture.folder().join("raddle-ptx");
    assert!(shipped.join("debug/shipped.tsv").is_file());
    let taken = fixture.build("b", &[none]);
    assert_eq!((&taken.index, &taken.images), (&compiled.index, &compiled.images));

    fixture.fail(
        &[none, ("CARGO_CFG_DEBUG_ASSERTIONS", "")],
        &["raddle-ptx is for `debug`, `release`, and this build is `release+debug-assertions`"],
    );
    fixture.fail(&[none, ("CARGO_FEATURE_FAST", "1")], &["this build is `release+fast`"]);
    fixture.write("src/kernels.rs", &KERNELS.replace("x[i] + 3", "x[i] + 4"));
    fixture.fail(&[none], &["src/kernels.rs is not what it was made from"]);
    fixture.write("src/kernels.rs", KERNELS);
    fixture.write("helper/src/lib.rs", &HELPER.replace("x + x", "x * 2.0"));
    fixture.fail(&[none], &["the sources of helper 1.2.3 differ"]);
    fixture.write("helper/src/lib.rs", HELPER);
    fixture.write(
        "helper/Cargo.toml",
        "[package]\nname = \"helper\"\nversion = \"1.2.4\"\nedition = \"2024\"\n",
    );
    fixture.fail(&[none], &["it was made with helper 1.2.3, found 1.2.4"]);
}

fn shipped_ptx_is_not_taken_with_llvm() {
    let fixture = Fixture::new("unused");
    let compiled = fixture.build("a", &[("RADDLE_SHIP", PACKAGE)]);
    let (file, text) = compiled.images.first_key_value().expect("there are kernels");
    fixture.write(&format!("raddle-ptx/release/{file}"), &format!("{text}// not made from it\n"));
    assert_eq!(fixture.build("b", &[]).images, compiled.images);
}

/// A rustc whose sysroot holds nothing, and the real one's libLLVM.
fn bare_toolchain(fixture: &Fixture) -> (String, PathBuf) {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let sysroot = Command::new(&rustc).args(["--print", "sysroot"]).output().expect("rustc runs");
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim());
    let library = std::fs::read_dir(sysroot.join("lib"))
        .expect("rustc has a sysroot")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("libLLVM")))
        .max_by_key(|path| path.metadata().map_or(0, |data| data.len()))
        .expect("this toolchain has a libLLVM");
    let bare = fixture.folder().join("bare");
    std::fs::create_dir_all(&bare).expect("a folder");
    let script = format!(
        "#!/bin/sh\nif [ \"$*\" = \"--print sysroot\" ]; then echo {}; else exec {} \"$@\"; fi\n",
        bare.display(),
        sysroot.join("bin/rustc").display()
    );
    (program(fixture, "bin/rustc", &script), library)
}

/// Writes a program that the system can run.
fn program(fixture: &Fixture, path: &str, script: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    fixture.write(path, script);
    let path = fixture.folder().join(path);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("own file");
    path.display().to_string()
}

fn another_llvm_is_found_and_named() {
    let fixture = Fixture::new("another");
    let expected = fixture.build("a", &[]);
    let (rustc, library) = bare_toolchain(&fixture);
    let folder = fixture.folder().join("elsewhere");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::os::unix::fs::symlink(&library, folder.join("libLLVM.so")).expect("a link");
    program(&fixture, "bin/llvm-config", &format!("#!/bin/sh\necho {}\n", folder.display()));
    // Newer ones that this machine may have are not to come first.
    for major in 20..40 {
        program(
            &fixture,
            &format!("bin/llvm-config-{major}"),
            &format!("#!/bin/sh\necho {}\n", folder.display()),
        );
    }
    let path = std::env::var("PATH").expect("there is a PATH");
    let path = format!("{}:{path}", fixture.folder().join("bin").display());
    let found = fixture.build("b", &[("RUSTC", &rustc), ("PATH", &path)]);
    assert!(found.stdout.contains("cargo::warning=raddle: rustc's sysroot has no libLLVM"));
    assert!(found.stdout.contains(&folder.join("libLLVM.so").display().to_string()));
    assert_eq!(found.images, expected.images);
}

fn without_llvm_the_error_lists_the_places() {
    let fixture = Fixture::new("places");
    let (rustc, _) = bare_toolchain(&fixture);
    program(&fixture, "bare/lib/libLLVM.so", "no library\n");
    let run = fixture.run("a", &[("RUSTC", &rustc)]);
    if run.succeeded {
        assert!(run.stdout.contains("cargo::warning=raddle: "), "{}", run.stdout);
        println!("not shown: this machine has an LLVM of rustc's version outside of rustc");
        return;
    }
    let broken =
        format!("- {} cannot load", fixture.folder().join("bare/lib/libLLVM.so").display());
    let empty = fixture.folder().join("bare/lib/rustlib");
    for part in [&*broken, &*format!("- {}", empty.display()), "holds no libLLVM", "what helps: "] {
        assert!(run.stdout.contains(part), "no `{part}` in\n{}", run.stdout);
    }
    fixture.fail(&[("RADDLE_LLVM", "/no/such/llvm.so")], &["cannot load /no/such/llvm.so"]);
}

/// The PTX stays as it is, each architecture is assembled once, and the files go with
/// the wish for them.
fn machine_code_is_added() {
    let fixture = Fixture::new("cubins");
    let plain = fixture.build("a", &[]);
    // Its version is new in each run of the tests, so that nothing is kept from another.
    let unique = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = unique.expect("the clock is set").as_nanos();
    let script = format!(
        "#!/bin/sh\ncase $1 in --version) echo 'release 12.8, V12.8.{nanos}'; exit;; esac\n\
         echo $1 >> $0.log\nprintf 'code %s %s ' $1 $2 > $4\nhead -c 9 $5 >> $4"
    );
    let ptxas = program(&fixture, "bin/ptxas", &script);
    let wish = [("RADDLE_CUBINS", "sm_90, sm_80"), ("RADDLE_PTXAS", &*ptxas)];
    for out in ["a", "b"] {
        let with_code = fixture.build(out, &wish);
        assert_eq!(with_code.images, plain.images);
        let code: Vec<&str> = with_code.index.lines().filter(|l| l.starts_with("cubin")).collect();
        assert_eq!(code.len(), 8, "{}", with_code.index);
        assert!(code.contains(
            &"cubin\tkernels::first\tsm_80\tsm_90\t12.8\tkernels__first.sm_80.sm_90.cubin"
        ));
        let file = fixture.out(out).join("raddle/kernels__first.sm_80.sm_90.cubin");
        let text = std::fs::read_to_string(file).expect("the file of the record");
        assert_eq!(text, "code -arch=sm_90 -lineinfo .version ");
        let log = std::fs::read_to_string(format!("{ptxas}.log")).expect("it was called");
        assert_eq!(log.lines().count(), 8, "once for each image and architecture");
    }
    assert_eq!(fixture.build("a", &[]).index, plain.index);
    assert!(!fixture.out("a").join("raddle/kernels__first.sm_80.sm_90.cubin").exists());
    fixture.fail(&[("RADDLE_CUBINS", "90")], &["RADDLE_CUBINS=90: expected architectures"]);
    let lost = [("RADDLE_CUBINS", "sm_90"), ("RADDLE_PTXAS", "/no/ptxas")];
    fixture.fail(&lost, &["`/no/ptxas` does not run", "leave RADDLE_CUBINS out"]);
    let script =
        "#!/bin/sh\n[ $1 = --version ] && echo 'release 12.8' && exit\necho 'bad line' >&2; exit 1";
    let refuses = program(&fixture, "bin/refuses", script);
    let wish = [("RADDLE_CUBINS", "sm_90"), ("RADDLE_PTXAS", &*refuses)];
    fixture.fail(&wish, &["cannot assemble `kernels::", "for sm_90", "bad line"]);
}

fn variables_mean_something_or_are_refused() {
    let fixture = Fixture::new("variables");
    fixture
        .fail(&[("RADDLE_OVERFLOW_CHECKS", "maybe")], &["RADDLE_OVERFLOW_CHECKS=maybe: expected"]);
    fixture.fail(&[("RADDLE_DEVICE_BUILD", "no")], &["RADDLE_DEVICE_BUILD=no: expected"]);
    let off = fixture.build("a", &[("RADDLE_DEVICE_BUILD", "off"), ("CARGO", "/no/cargo")]);
    assert_eq!(off.index, "off\n");
    let images = |variables: &[(&str, &str)]| fixture.build("b", variables).images;
    let plain = images(&[]);
    let checked = images(&[("RADDLE_OVERFLOW_CHECKS", "on")]);
    assert_ne!(plain, checked);
    assert_eq!(plain, images(&[("RADDLE_OVERFLOW_CHECKS", "off")]));
    let manifest =
        std::fs::read_to_string(fixture.folder().join("Cargo.toml")).expect("it is there");
    fixture
        .write("Cargo.toml", &format!("{manifest}\n[profile.release]\noverflow-checks = true\n"));
    assert_eq!(checked, images(&[]));
}
