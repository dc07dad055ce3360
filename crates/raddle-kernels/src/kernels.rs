//! Device code. What a kernel needs to be launched soundly is checked by the host
//! function of the same name one level up.

pub mod attention;
pub mod conv;
pub mod expression;
pub mod functions;
pub mod gemm;
pub mod grouped;
pub mod head;
pub mod image;
pub mod movement;
pub mod pointwise;
pub mod product;
pub mod reduce;
pub mod scalar;
pub mod tiled;
pub mod window;
