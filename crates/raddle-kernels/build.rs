//! Compiles the kernels.

fn main() {
    raddle_build::compile("src/kernels.rs");
}
