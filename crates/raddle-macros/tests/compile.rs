//! What rustc says about programs that use the macros: every error once, at the
//! right token, and nothing about what the macros make.
//!
//! All programs of one package are checked by one run of cargo. In a program `«`
//! marks a place that rustc must report; the messages follow in the same order.
//! `unit/` holds the cases that need no rustc.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Program {
    name: &'static str,
    source: &'static str,
    /// How each reported message begins.
    messages: &'static [&'static str],
}

/// The kernels of the programs below that "were compiled".
const INDEX: &str = "\
image kernels::k sm_80 k k.ptx 0
image kernels::saxpy sm_80 saxpy k.ptx 0
image kernels::k.f32 sm_80 k_f32 k.ptx 0
image kernels::k.f64 sm_80 k_f64 k.ptx 0
image kernels::k.f32_4 sm_80 k_f32_4 k.ptx 1
image kernels::k.String sm_80 k_String k.ptx 0
image other::elsewhere sm_80 elsewhere k.ptx 0
error kernels::opens_file opens~a~file
error kernels::twin opens~a~file
error other::twin starts~a~thread
";

const REFUSED_INDEX: &str = "\
rustc refused error[E0000]:~something~only~the~device~lacks
rustc refused_beside_an_error error[E0000]:~something~only~the~device~lacks
image unconcerned::kernels::other sm_80 k k.ptx 0
";

#[test]
fn programs() {
    check("programs", INDEX, PROGRAMS);
}

/// Kernels without device code are no error where the user wants none.
#[test]
fn device_build_that_is_off() {
    check("off", "off\n", &PROGRAMS[..1]);
}

#[test]
fn programs_whose_device_build_was_refused() {
    check("refused", REFUSED_INDEX, REFUSED);
}

/// The program without faults also compiles as device code.
#[test]
fn device_side() {
    let program = &PROGRAMS[0];
    assert_eq!(program.name, "good");
    let dir = package("device", INDEX, std::slice::from_ref(program));
    let mut cargo = cargo(&dir, &["rustc", "--profile", "check", "--bin", "good"]);
    let output = cargo.args(["--", "--cfg", "raddle_device", "-Dwarnings"]).output();
    let output = output.expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

const PROGRAMS: &[Program] = &[
    Program {
        name: "good",
        source: r#"//! A program that does everything right.
            #![warn(missing_docs, unused, unreachable_pub, clippy::pedantic)]
            #![forbid(unsafe_code)]
            /// Kernels.
            pub mod kernels {
                use raddle::prelude::*;
                use std::ops::Mul;

                const BLOCK: usize = 128;

                /// Named like something the macro makes.
                #[derive(Clone, Copy, DeviceType, Zeroable)]
                #[repr(C)]
                pub struct Params { a: f32, b: [u32; 3] }

                /// A pair.
                #[derive(Clone, Copy, DeviceType)]
                #[repr(C)]
                pub struct Kernel<T>(T, T);

                #[derive(Clone, Copy, DeviceType, Zeroable)]
                #[repr(u8)]
                enum Mode { A = 3, B = 0 }

                /// Adds.
                #[kernel(block = BLOCK, min_blocks = 2)]
                pub fn saxpy(a: f32, x: &[f32], mut y: PerThread<f32>, binder: self::Params) {
                    let mode = if binder.b[0] > 0 { Mode::A } else { Mode::B };
                    for (i, y) in y.iter_mut() {
                        *y += a * x[i] * binder.a * f32::from(mode as u8);
                    }
                }

                /// Multiplies; calls itself; has names that the macro uses.
                #[kernel(instances(f32, f64), max_threads = 64)]
                pub fn k<'a, T>(params: u32, kernel: &'a [T], mut y: PerThread<T>, _k: Kernel<T>)
                where
                    T: DeviceType + Mul<Output = T>,
                {
                    if params > 0 {
                        return k(params - 1, kernel, y, _k);
                    }
                    if let Some((i, y)) = y.mine() {
                        *y = kernel[i] * kernel[0];
                    }
                }
            }
            fn main() {
                #[cfg(not(raddle_device))]
                {
                    use raddle::Lent;
                    let (x, p) = ([1.0f32], bytes());
                    let call = kernels::saxpy(2.0, Lent(&x), Lent(&x), p);
                    assert_eq!(call.kernel.name, "good::kernels::saxpy");
                    assert_eq!(call.kernel.images.len(), 1);
                    assert_eq!(call.kernel.meta.block, [128, 1, 1]);
                    assert!(call.kernel.rules.one_dimensional);
                    let double = kernels::k::<f64>(1, Lent(&[1.0]), Lent(&[0.0]), pair());
                    assert_eq!(double.kernel.name, "good::kernels::k.f64");
                    let inferred = kernels::k(1, Lent(&x), Lent(&x), pair());
                    assert_eq!(inferred.kernel.meta.max_threads, 64);
                }
            }
            #[cfg(not(raddle_device))]
            fn bytes() -> kernels::Params { panic!("not run") }
            #[cfg(not(raddle_device))]
            fn pair<T>() -> kernels::Kernel<T> { panic!("not run") }
        "#,
        messages: &[],
    },
    Program {
        name: "parameter_types",
        source: "mod kernels { use raddle::prelude::*;
            #[kernel] pub fn k(_a: «String, _b: «&[Vec<f32>], _c: «(f32, f32), _d: f32) {} }
            fn main() {}",
        messages: &[
            "error[E0277]: `String` cannot be a kernel parameter",
            "error[E0277]: `&'static [Vec<f32>]` cannot be a kernel parameter",
            "error[E0277]: `(f32, f32)` cannot be a kernel parameter",
        ],
    },
    Program {
        name: "unknown_type",
        source: "mod kernels { use raddle::prelude::*;
            #[kernel] pub fn k(_a: «Nope) {} } fn main() {}",
        messages: &["error[E0425]: cannot find type `Nope` in this scope"],
    },
    Program {
        name: "two_of_one_name",
        source: "mod kernels { use raddle::prelude::*;
            #[kernel] pub fn k(_a: f32) {}
            «#[kernel] pub fn k(_a: u32) {} }
            fn main() {}",
        messages: &["error[E0428]: the name `k` is defined multiple times"],
    },
    Program {
        name: "body_types",
        source: "mod kernels { use raddle::prelude::*;
            #[kernel] pub fn k(x: &[f32]) { let _y: u32 = «x[0]; } } fn main() {}",
        messages: &["error[E0308]: mismatched types"],
    },
    Program {
        name: "body_borrows",
        source: "mod kernels { use raddle::prelude::*;
            #[kernel] pub fn k(mut x: f32) { let y = &mut x; «x = 1.0; *y = x; } }
            fn main() {}",
        messages: &["error[E0506]: cannot assign to `x` because it is borrowed"],
    },
    Program {
        name: "body_lints",
        source: "mod kernels { use raddle::prelude::*;
            #[kernel] pub fn k(«x: f32, «mut y: f32) { let _ = y; } }
            fn main() { let _ = kernels::k(1.0, 2.0); }",
        messages: &[
            "warning: unused variable: `x`",
            "warning: variable does not need to be mutable",
        ],
    },
    Program {
        name: "unused_kernel",
        source: "mod kernels { use raddle::prelude::*;
            #[kernel] pub fn k() {} } fn main() {}",
        messages: &[],
    },
    Program {
        name: "missing_instance",
        source: "mod kernels { use raddle::prelude::*;
            #[kernel(instances(f32))] pub fn k<T: DeviceType>(_x: T) {} }
            fn main() {
                let _ = kernels::k::<«f64>(1.0);
                let _ = «kernels::k(1u8);
                let _ = kernels::k(1.0f32);
            }",
        messages: &[
            "error[E0277]: kernel `k` was not compiled for `f64`",
            "error[E0277]: kernel `k` was not compiled for `u8`",
        ],
    },
    Program {
        name: "missing_const_instance",
        source: "mod kernels { use raddle::prelude::*;
            #[kernel(instances((f32, 4)))]
            pub fn k<T: DeviceType, const N: usize>(_x: [T; N]) {} }
            fn main() { let _ = kernels::k::<«f32, 8>([0.0; 8]); }",
        messages: &["error[E0277]: kernel `k` was not compiled for `f32, 8`"],
    },
    Program {
        name: "unfit_instance",
        source: "mod kernels { use raddle::prelude::*;
            #[kernel(instances(f32, «String))] pub fn k<T: DeviceType>(_x: T) {} }
            fn main() { let _ = kernels::k(1.0f32); }",
        messages: &["error[E0277]: `String` has no fixed layout on the device"],
    },
    Program {
        name: "block_from_constants",
        source: "mod kernels { use raddle::prelude::*; const ROWS: usize = 64;
            #[kernel(block = («32, ROWS))] pub fn k() {} }
            fn main() { let _ = kernels::k(); }",
        messages: &["error[E0080]: evaluation panicked: a block has 1 to 1024 threads"],
    },
    Program {
        name: "argument_types",
        source: "mod kernels { use raddle::prelude::*;
            #[kernel] pub fn k(_a: f32, _b: u32) {} }
            fn main() { let _ = kernels::k(«\"x\", 2); let _ = «kernels::k(1.0); }",
        messages: &[
            "error[E0277]: the trait bound `&str: raddle::__private::KernelArg<'_, f32>`",
            "error[E0061]: this function takes 2 arguments but 1 argument was supplied",
        ],
    },
    Program {
        name: "kernel_of_another_module",
        source: "mod kernels { use raddle::prelude::*; #[kernel] pub fn «elsewhere() {} }
            fn main() { let _ = kernels::elsewhere(); }",
        messages: &["error[E0080]: evaluation panicked: kernel `elsewhere` was not compiled for \
             the GPU: build.rs must call `raddle_build::compile(\"src/bin/\
             kernel_of_another_module.rs\")`"],
    },
    Program {
        name: "kernel_not_compiled",
        source: "mod kernels { use raddle::prelude::*; #[kernel] pub fn «unknown() {} }
            fn main() { let _ = kernels::unknown(); }",
        messages: &["error: kernel `unknown` was not compiled for the GPU: build.rs must call \
             `raddle_build::compile(\"src/bin/kernel_not_compiled.rs\")`"],
    },
    Program {
        name: "kernel_errors",
        source: "mod kernels { use raddle::prelude::*;
            #[kernel] pub fn «opens_file() {} #[kernel] pub fn «twin() {} }
            fn main() { let _ = (kernels::opens_file(), kernels::twin()); }",
        messages: &["error: opens a file", "error[E0080]: evaluation panicked: opens a file"],
    },
    Program {
        name: "derives",
        source: "use raddle::prelude::*;
            #[derive(Clone, Copy, DeviceType)] #[repr(C)] struct A { _a: f32, _b: «&'static str }
            #[derive(DeviceType)] #[repr(C)] struct «B(f32);
            #[derive(Clone, Copy, DeviceType, Zeroable)] #[repr(u8)] enum «C { X = 1 }
            #[derive(Clone, Copy, DeviceType, Zeroable)] #[repr(C)] struct D(f32, «E);
            #[derive(Clone, Copy, DeviceType)] #[repr(u8)] enum E { Y = 2 }
            fn main() { let _ = (A { _a: 0.0, _b: \"\" }, B(0.0).0, C::X, D(0.0, E::Y)); }",
        messages: &[
            "error[E0277]: `&'static str` has no fixed layout on the device",
            "error[E0277]: the trait bound `B: Copy` is not satisfied",
            "error[E0080]: evaluation panicked: all-zero bytes are no value of `C`",
            "error[E0277]: the trait bound `E: ",
        ],
    },
    Program {
        name: "ptx_on_the_host",
        source: r#"use raddle::ptx;
            fn main() {
                let (mut total, x, pair) = (1u32, 7u32, [1.0f32, 2.0]);
                let sum;
                // SAFETY: runs the host block only.
                unsafe {
                    ptx!("add {sum}, {x}, {k}, {total};", sum = out(reg32) sum,
                        x = in(reg32) x, k = const 3, total = inout(reg32) total,
                        host = { sum = x + k as u32; total += sum; });
                    ptx!("st [{p}], {pair}, {low};", p = in(ptr) &raw mut total,
                        pair = in([f32; 2]) pair, low = out(reg64) _,
                        host = { *p += pair[1] as u32; low = 0; });
                }
                assert_eq!((sum, total), (10, 13));
            }"#,
        messages: &[],
    },
    Program {
        name: "ptx_types",
        source: r#"use raddle::ptx;
            fn main() {
                let mut y = 0u32;
                // SAFETY: runs the host block only.
                unsafe {
                    ptx!("mov {y}, {x};", y = out(reg32) y, x = in(reg32) «1.0, host = { y = x; });
                }
                let _ = y;
            }"#,
        messages: &["error[E0308]: mismatched types: expected `u32`"],
    },
    Program {
        name: "ptx_mistakes",
        source: r#"use raddle::ptx;
            fn main() {
                let y;
                «ptx!("bar.sync 0;");
                // SAFETY: runs the host block only.
                unsafe {
                    ptx!("mov {z};", «z = out(reg32) y, host = {});
                }
                assert_eq!(y, 0);
            }"#,
        messages: &[
            "error[E0133]: call to unsafe function",
            "error[E0381]: used binding `z` isn't initialized",
        ],
    },
];

const REFUSED: &[Program] = &[
    Program {
        name: "refused",
        source: "mod kernels { use raddle::prelude::*;
            #[kernel] pub fn «k(_a: f32) {} #[kernel] pub fn l() {} }
            fn main() { let _ = (kernels::k(1.0), kernels::l()); }",
        messages: &["error: unused result of type `DeviceBuildError`"],
    },
    Program {
        name: "unconcerned",
        source: "mod kernels { use raddle::prelude::*; #[kernel] pub fn other(_a: f32) {} }
            fn main() { let _ = kernels::other(1.0); }",
        messages: &[],
    },
    Program {
        name: "refused_beside_an_error",
        source: "mod kernels { use raddle::prelude::*;
            #[kernel] pub fn k(_a: f32) {} pub fn helper() -> f32 { «1u32 } }
            fn main() { let _ = (kernels::k(1.0), kernels::helper()); }",
        messages: &["error[E0308]: mismatched types"],
    },
];

/// Checks all programs and compares what rustc reports.
fn check(package_name: &str, index: &str, programs: &[Program]) {
    let dir = package(package_name, index, programs);
    let arguments = ["check", "--bins", "--keep-going", "--message-format=short"];
    let output = cargo(&dir, &arguments).output().expect("cargo runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || stderr.contains("could not compile"), "{stderr}");
    let mut wrong = String::new();
    for program in programs {
        let file = format!("src/bin/{}.rs:", program.name);
        // `src/bin/x.rs:3:14: error[E0277]: message`
        let mut found: Vec<(String, &str)> = stderr
            .lines()
            .filter_map(|line| line.strip_prefix(&file)?.split_once(": "))
            .map(|(place, message)| (place.to_owned(), message))
            .filter(|(_, message)| !message.starts_with("note"))
            .collect();
        found.sort_by_key(|(place, _)| place_key(place));
        let places = places(program.source);
        assert_eq!(places.len(), program.messages.len(), "marks of {}", program.name);
        let fits = found.len() == places.len()
            && found.iter().zip(&places).zip(program.messages).all(
                |(((place, message), wanted_place), wanted)| {
                    place == wanted_place && message.starts_with(wanted)
                },
            );
        if !fits {
            let wanted: Vec<_> = places.iter().zip(program.messages).collect();
            let name = program.name;
            writeln!(wrong, "{name}: expected\n  {wanted:#?}\nfound\n  {found:#?}").expect("text");
        }
    }
    assert!(wrong.is_empty(), "{wrong}\nall of it:\n{stderr}");
}

fn place_key(place: &str) -> (u32, u32) {
    let (line, column) = place.split_once(':').unwrap_or((place, "0"));
    (line.parse().unwrap_or(0), column.parse().unwrap_or(0))
}

/// `line:column` of each mark in the source, which rustc sees without marks.
fn places(source: &str) -> Vec<String> {
    let mut places = Vec::new();
    for (line, number) in source.lines().zip(1..) {
        for (nth, (at, _)) in line.match_indices('«').enumerate() {
            let column = line[..at].chars().count() - nth + 1;
            places.push(format!("{number}:{column}"));
        }
    }
    places
}

/// Writes a package with a program each, a build script that leaves the index, and
/// a `raddle` that is only what the expansions refer to.
fn package(name: &str, index: &str, programs: &[Program]) -> PathBuf {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate's folder");
    let dir = scratch().join(name);
    let _ = std::fs::remove_dir_all(dir.join("src"));
    let write = |path: &str, text: &str| {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().expect("below the package")).expect("a folder");
        if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
            return;
        }
        std::fs::write(path, text).expect("a file");
    };
    let manifest = |name: &str, more: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{more}")
    };
    let crates = crates.display();
    write(
        "Cargo.toml",
        &manifest(name, "[workspace]\n[dependencies]\nraddle = { path = \"raddle\" }\n"),
    );
    write(
        "raddle/Cargo.toml",
        &manifest(
            "raddle",
            &format!(
                "[dependencies]\nraddle-device = {{ path = \"{crates}/raddle-device\" }}\n\
         raddle-macros = {{ path = \"{crates}/raddle-macros\" }}\n"
            ),
        ),
    );
    write("raddle/src/lib.rs", include_str!("stub/raddle.rs"));
    write("build.rs", include_str!("stub/build.rs"));
    write("index.tsv", &index.replace(' ', "\t").replace('~', " "));
    if let Ok(lock) = std::fs::read_to_string(format!("{crates}/../Cargo.lock")) {
        write("Cargo.lock", &lock);
    }
    for program in programs {
        write(&format!("src/bin/{}.rs", program.name), &program.source.replace('«', ""));
    }
    dir
}

fn cargo(dir: &Path, arguments: &[&str]) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(dir).args(arguments).arg("--offline").arg("--quiet");
    cargo.env("CARGO_TARGET_DIR", scratch().join("target"));
    cargo.env_remove("RUSTFLAGS").env("CARGO_TERM_COLOR", "never");
    cargo
}

fn scratch() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("raddle-macros")
}
