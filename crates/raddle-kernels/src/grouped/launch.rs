//! Element types, and the instances of the kernels for each.

use raddle::device::{DeviceType, bf16, f16};
use raddle::{Grid, SliceMut, Stream};

use super::share::Kernel;
use super::{OPERATION, Operands};
use crate::kernels::grouped::{Shape, depthwise, direct};
use crate::{Error, Result};

/// An element type that the kernels exist for.
pub trait Element: DeviceType {
    /// Channels of a thread of the depthwise kernels: 16 bytes.
    #[doc(hidden)]
    const LANES: usize;
    /// Whether depthwise kernels have single channels.
    #[doc(hidden)]
    const HAS_SINGLES: bool;
    /// Side of the largest windows that are unrolled.
    #[doc(hidden)]
    const SIDE_MAX: usize;
    #[doc(hidden)]
    fn launch(
        stream: &Stream,
        grid: Grid,
        kernel: Kernel,
        shape: Shape,
        operands: Operands<'_, Self>,
        out: SliceMut<'_, Self>,
    ) -> Result<()>;
}

/// Launches the instance of a kernel, given as the patterns of [`Kernel`] and the numbers
/// of the instances.
macro_rules! launch {
    ($ty:ident, $grid:expr, $operands:ident, $stream:ident, $kernel:ident, $shape:ident, $out:ident:
        $($pattern:pat => $module:ident::$name:ident<$($number:literal),*>;)*) => {{
        let Operands { input, weights, bias, residual } = $operands;
        // Operands that there are none of are never read.
        let (bias, residual) = (bias.unwrap_or(weights), residual.unwrap_or(input));
        match $kernel {
            $($pattern => {
                // SAFETY: lengths are held against the shape; vectors of channels and pitches
                // are whole, and allocations aligned.
                let call = unsafe {
                    $module::$name::<$ty $(, $number)*>($shape, input, weights, bias, residual, $out)
                };
                $stream.launch($grid, call)?;
            })*
            kernel => {
                let why = format!("there is no instance for {kernel:?}");
                return Err(Error::Shape { operation: OPERATION, why });
            }
        }
        Ok(())
    }};
}

impl Element for f32 {
    const LANES: usize = 4;
    const HAS_SINGLES: bool = true;
    const SIDE_MAX: usize = 7;

    fn launch(
        stream: &Stream,
        grid: Grid,
        kernel: Kernel,
        shape: Shape,
        operands: Operands<'_, Self>,
        out: SliceMut<'_, Self>,
    ) -> Result<()> {
        launch! { f32, grid, operands, stream, kernel, shape, out:
            Kernel::Square { lanes: 4, side: 3, step: 1 } => depthwise::square<4, 3, 1>;
            Kernel::Square { lanes: 4, side: 3, step: 2 } => depthwise::square<4, 3, 2>;
            Kernel::Square { lanes: 1, side: 3, step: 1 } => depthwise::square<1, 3, 1>;
            Kernel::Square { lanes: 1, side: 3, step: 2 } => depthwise::square<1, 3, 2>;
            Kernel::Square { lanes: 4, side: 5, step: 1 } => depthwise::wide<4, 5, 1>;
            Kernel::Square { lanes: 4, side: 5, step: 2 } => depthwise::wide<4, 5, 2>;
            Kernel::Square { lanes: 4, side: 7, step: 1 } => depthwise::wide<4, 7, 1>;
            Kernel::Any { lanes: 4 } => depthwise::any<4>;
            Kernel::Any { lanes: 1 } => depthwise::any<1>;
            Kernel::Groups { lanes: 4, inputs: 4 } => direct::groups<4, 4>;
            Kernel::Groups { lanes: 4, inputs: 1 } => direct::groups<4, 1>;
            Kernel::Groups { lanes: 1, inputs: 1 } => direct::groups<1, 1>;
        }
    }
}

macro_rules! halves {
    ($($ty:ident $side_max:literal { $($more:tt)* })*) => { $(
        impl Element for $ty {
            const LANES: usize = 8;
            const HAS_SINGLES: bool = false;
            const SIDE_MAX: usize = $side_max;

            fn launch(
                stream: &Stream,
                grid: Grid,
                kernel: Kernel,
                shape: Shape,
                operands: Operands<'_, Self>,
                out: SliceMut<'_, Self>,
            ) -> Result<()> {
                launch! { $ty, grid.programmatic(), operands, stream, kernel, shape, out:
                    $($more)*
                    Kernel::Square { lanes: 8, side: 3, step: 1 } => depthwise::square_half<8, 3, 1>;
                    Kernel::Square { lanes: 8, side: 3, step: 2 } => depthwise::square_half<8, 3, 2>;
                    Kernel::Any { lanes: 8 } => depthwise::any_half<8>;
                    Kernel::Groups { lanes: 4, inputs: 4 } => direct::groups_half<4, 4>;
                    Kernel::Groups { lanes: 4, inputs: 1 } => direct::groups_half<4, 1>;
                    Kernel::Groups { lanes: 1, inputs: 1 } => direct::groups_half<1, 1>;
                }
            }
        }
    )* };
}
halves! {
    f16 7 {
        Kernel::Square { lanes: 8, side: 5, step: 1 } => depthwise::square_half<8, 5, 1>;
        Kernel::Square { lanes: 8, side: 5, step: 2 } => depthwise::square_half<8, 5, 2>;
        Kernel::Square { lanes: 8, side: 7, step: 1 } => depthwise::square_half<8, 7, 1>;
    }
    bf16 3 {}
}
