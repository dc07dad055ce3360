//! Compiles the kernels under test.

fn main() {
    raddle_build::compile("src/kernels.rs");
}
