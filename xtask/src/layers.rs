//! The layers of the workspace: which crate may depend on which, how long each
//! may be, and which may hold unsafe code.
//!
//! The table below is the one place where this is decided; ARCHITECTURE.md
//! describes the same order in words.

use crate::source::Line;
use crate::workspace::Package;

/// What holds for one crate.
pub struct Layer {
    /// Name of the crate.
    pub name: &'static str,
    /// Most lines of code, without tests, comments and blank lines.
    pub lines_max: usize,
    /// Whether `unsafe` may occur; other crates forbid it at their root.
    pub may_be_unsafe: bool,
}

/// All crates below `crates/`, from the top down: a crate depends only on rows below its own.
pub const LAYERS: [Layer; 16] = [
    Layer { name: "raddle-bench", lines_max: 6_000, may_be_unsafe: true },
    // Above the 3,000 of the first design: `run` and `inspect` hold a picture
    // pipeline, a graph layout and lists of launches, which no other crate needs.
    Layer { name: "raddle-cli", lines_max: 6_050, may_be_unsafe: false },
    Layer { name: "raddle-models", lines_max: 8_000, may_be_unsafe: false },
    // Above the 6,000 of the first design: both encodings of the protocol are written
    // and read here, gRPC's framing and HTTP/1.1 included, for the client and load
    // generator too.
    Layer { name: "raddle-server", lines_max: 9_800, may_be_unsafe: false },
    Layer { name: "raddle-onnx", lines_max: 6_000, may_be_unsafe: false },
    Layer { name: "raddle-zoo", lines_max: 2_000, may_be_unsafe: false },
    Layer { name: "raddle-weights", lines_max: 2_500, may_be_unsafe: false },
    // Above the 16,000 of the first design: convolution, pooling and Winograd's form for
    // images in blocks of channels, and the pass that keeps images there; recurrent layers
    // in lines of units beside those in `f64`; the pass that brings a graph to 16 bits.
    Layer { name: "raddle-tensor", lines_max: 18_850, may_be_unsafe: false },
    // Above the 8,300 before them: expressions that kernels are written for at run time, and
    // attention in two forms, by `mma.sync` for any GPU and by `wgmma` for Hopper;
    // convolutions in groups.
    Layer { name: "raddle-kernels", lines_max: 12_950, may_be_unsafe: true },
    Layer { name: "raddle", lines_max: 200, may_be_unsafe: false },
    Layer { name: "raddle-runtime", lines_max: 11_100, may_be_unsafe: true },
    Layer { name: "raddle-sim", lines_max: 4_000, may_be_unsafe: true },
    Layer { name: "raddle-cuda", lines_max: 5_000, may_be_unsafe: true },
    Layer { name: "raddle-macros", lines_max: 1_600, may_be_unsafe: false },
    // Above the 7,000 of the first design: each tensor-core, TMA and atomic
    // instruction stands here with its PTX and its host body.
    Layer { name: "raddle-device", lines_max: 10_200, may_be_unsafe: true },
    // Above the 5,000 of the first design: keeping what earlier builds did, and doing
    // without LLVM where a package ships PTX.
    Layer { name: "raddle-build", lines_max: 6_000, may_be_unsafe: true },
];

/// Crates in neighbouring rows that must not know each other all the same.
const STRANGERS: [(&str, &str); 1] = [("raddle-sim", "raddle-cuda")];

/// The row of a crate.
pub fn layer(name: &str) -> Option<(usize, &'static Layer)> {
    LAYERS.iter().enumerate().find(|(_, layer)| layer.name == name)
}

/// Dependencies that point upwards or between strangers, one sentence each.
pub fn check_dependencies(packages: &[Package]) -> Vec<String> {
    let mut found = Vec::new();
    for package in packages.iter().filter(|package| package.is_crate()) {
        let Some((row, _)) = layer(&package.name) else {
            found.push(format!(
                "{}: not in the table of layers (xtask/src/layers.rs)",
                package.name
            ));
            continue;
        };
        for dependency in &package.depends_on {
            let is_below = layer(dependency).is_some_and(|(below, _)| below > row);
            let is_stranger = STRANGERS.contains(&(package.name.as_str(), dependency.as_str()));
            if !is_below || is_stranger {
                found.push(format!("{} must not depend on {dependency}", package.name));
            }
        }
    }
    found
}

/// Whether the root file of a crate without unsafe code says so.
pub fn forbids_unsafe(lines: &[Line]) -> bool {
    lines.iter().any(|line| line.code.trim() == "#![forbid(unsafe_code)]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, depends_on: &[&str]) -> Package {
        Package {
            name: name.to_owned(),
            dir: format!("crates/{name}").into(),
            roots: Vec::new(),
            depends_on: depends_on.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn dependencies_point_downwards() {
        assert!(
            check_dependencies(&[package("raddle-cli", &["raddle", "raddle-build"])]).is_empty()
        );
        assert_eq!(check_dependencies(&[package("raddle-device", &["raddle-sim"])]).len(), 1);
        assert_eq!(check_dependencies(&[package("raddle-sim", &["raddle-cuda"])]).len(), 1);
        assert_eq!(check_dependencies(&[package("raddle-new", &[])]).len(), 1);
    }
}
