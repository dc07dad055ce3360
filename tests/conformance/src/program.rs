//! One program of the suite: where it comes from, how to run it, and what its
//! words mean.

use raddle::{Buffer, Grid, Stream};

use crate::answer::{Answer, Kind, Words};
use crate::header::Header;

/// What an output holds before a kernel writes it.
const UNWRITTEN: Words = [0xeeee_eeee_eeee_eeee; 8];

/// Launches one kernel on an output.
pub type Launch = fn(&Stream, Grid, &mut Buffer<Words>) -> raddle::Result<()>;

/// A program, as the build script's table lists it.
pub struct Program {
    /// Folder below `programs`, or `generated`.
    pub area: &'static str,
    /// File name without `.rs`.
    pub name: &'static str,
    /// The source file.
    pub file: &'static str,
    /// Its text when it was compiled.
    pub source: &'static str,
    /// The kinds of the words of an answer.
    pub kinds: fn() -> Vec<Kind>,
    /// Calls the program as a plain function, for threads `0..threads`; absent for
    /// programs that only make sense inside a kernel.
    pub call: Option<fn(u32) -> Vec<Words>>,
    /// Launches the program's kernel; absent for programs with a gap.
    pub launch: Option<Launch>,
}

impl Program {
    /// Runs the program's kernel on a stream and gives each thread's answer.
    ///
    /// ## Errors
    ///
    /// What the runtime reports, kernel panics among it.
    pub fn run(&self, stream: &Stream, launch: Launch) -> raddle::Result<Vec<Words>> {
        let header = self.header();
        let mut out = stream.filled(header.threads as usize, UNWRITTEN)?;
        let grid = Grid::new(header.threads / header.block, header.block);
        launch(stream, grid, &mut out)?;
        out.to_vec()
    }

    /// The file's header.
    ///
    /// ## Panics
    ///
    /// When the header is wrong: the build script has read it before.
    #[must_use]
    pub fn header(&self) -> Header {
        Header::parse(self.source).expect("the build script has accepted the header")
    }
}

/// The kinds of what `program` returns.
pub fn kinds_of<A: Answer>(_program: fn(u32) -> A) -> Vec<Kind> {
    let mut kinds = Vec::new();
    A::kinds(&mut kinds);
    kinds
}

/// The kinds of what a program with an input returns.
pub fn kinds_of_with_input<T, A: Answer>(_program: fn(u32, &[T]) -> A) -> Vec<Kind> {
    let mut kinds = Vec::new();
    A::kinds(&mut kinds);
    kinds
}

/// Element types of input slices.
pub trait Input: Sized {
    /// Element `index` of every input of this type.
    fn element(index: usize) -> Self;
}

/// The input slice of a program.
#[must_use]
pub fn input<T: Input>(len: usize) -> Vec<T> {
    (0..len).map(T::element).collect()
}

/// The finaliser of splitmix64: inputs look random and are the same everywhere.
fn mix(index: usize) -> u64 {
    let mut z = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

macro_rules! integer_inputs {
    ($($ty:ty)*) => { $(
        impl Input for $ty {
            fn element(index: usize) -> Self {
                mix(index) as Self
            }
        }
    )* };
}
integer_inputs!(u8 u16 u32 u64 i8 i16 i32 i64);

impl Input for f32 {
    /// Between -8 and 8, with few enough bits that sums of a few are exact.
    fn element(index: usize) -> Self {
        ((mix(index) >> 48) as i32 - 32768) as Self / 4096.0
    }
}

impl Input for f64 {
    fn element(index: usize) -> Self {
        ((mix(index) >> 32) as i64 - (1 << 31)) as Self / (1u64 << 28) as Self
    }
}
