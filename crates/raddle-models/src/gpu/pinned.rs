//! Runs whose inputs come in pieces of pinned memory that the device copies from, and
//! whose outputs stay where the copy from the device put them: for whoever has the bytes
//! of several requests and wants each of them copied once by the host.
//!
//! The copies of all pieces, the replay and the copies back are enqueued at once, so that
//! the device never waits for the host between them, and the host awaits them without
//! spinning: several sessions wait at once while other threads need the cores.

use std::sync::Arc;
use std::time::{Duration, Instant};

use raddle::{Buffer, Device, Pinned};
use raddle_kernels::image;
use raddle_tensor::graph::{Dim, ValueType};
use raddle_tensor::{DType, Error as GraphError};

use super::{GpuSession, Program, Typed, lock};
use crate::Result;

/// How bytes of red, green and blue become a model's floats on the device.
#[derive(Debug)]
pub struct PixelTable {
    /// `[channel, byte]`.
    table: Buffer<f32>,
    is_channels_first: bool,
}

/// Rows of an input, in pinned memory.
#[derive(Debug)]
pub enum Piece {
    /// Floats as the model takes them.
    Floats(Pinned<f32>),
    /// Red, green and blue of pictures, pixel by pixel and row by row, for a session that
    /// was told what they mean ([`GpuSession::take_pixels`]).
    Pixels(Pinned<u8>),
}

impl Piece {
    /// Pinned memory for floats.
    ///
    /// ## Errors
    /// A failure of the runtime.
    pub fn floats(device: &Device, len: usize) -> Result<Self> {
        Ok(Self::Floats(device.pinned_zeros(len)?))
    }

    /// Pinned memory for pixels.
    ///
    /// ## Errors
    /// A failure of the runtime.
    pub fn pixels(device: &Device, len: usize) -> Result<Self> {
        Ok(Self::Pixels(device.pinned_zeros(len)?))
    }

    /// Elements of the input that the piece has.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Floats(pinned) => pinned.len(),
            Self::Pixels(pinned) => pinned.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An input.
#[derive(Debug)]
pub struct Feed<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its shape.
    pub shape: &'a [usize],
    /// Its elements, one piece after the other and all of one kind. Where they end early,
    /// the input's last elements are what they were: those of another run, or any numbers.
    pub pieces: Vec<Piece>,
}

/// An output in pinned memory.
#[derive(Debug)]
pub struct Fetched {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements.
    pub elements: Pinned<f32>,
}

/// What a run gave.
#[derive(Debug)]
pub struct Ran {
    /// The outputs in the model's order.
    pub outputs: Vec<Fetched>,
    /// The pieces of each input, in the model's order, to be used again.
    pub pieces: Vec<Vec<Piece>>,
    /// Where the time went.
    pub phases: Phases,
}

/// Times of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// To bring the inputs to the device.
    pub copy_in: Duration,
    /// To compute.
    pub compute: Duration,
    /// To bring the outputs back.
    pub copy_out: Duration,
}

/// An input's pieces on their way to the device.
enum Moving {
    Floats(raddle::InFlight<Vec<Pinned<f32>>>),
    Pixels(raddle::InFlight<Vec<Pinned<u8>>>),
}

impl Moving {
    async fn landed(self) -> Result<Vec<Piece>> {
        Ok(match self {
            Self::Floats(moving) => moving.await?.into_iter().map(Piece::Floats).collect(),
            Self::Pixels(moving) => moving.await?.into_iter().map(Piece::Pixels).collect(),
        })
    }
}

impl GpuSession {
    /// Whether [`Self::run_pinned`] can be used: the session computes in 16 bits.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        !matches!(self.weights, Typed::Dense(_))
    }

    /// Lets inputs come as [`Piece::Pixels`]: a byte of red, green or blue becomes
    /// `table[256 * channel + byte]`, in images with channels first or last. Sessions
    /// that are made from this one know it too.
    ///
    /// ## Errors
    /// A table of another length than 768, a failure of the runtime.
    pub fn take_pixels(&mut self, table: &[f32], is_channels_first: bool) -> Result<()> {
        if table.len() != image::PIXEL_TABLE_LEN {
            let (expected, found) = (image::PIXEL_TABLE_LEN, table.len());
            let why = format!("a table for pixels has {expected} elements, found {found}");
            return Err(GraphError::Invalid(why).into());
        }
        let table = self.stream.upload(table)?;
        self.pixels = Some(Arc::new(PixelTable { table, is_channels_first }));
        Ok(())
    }

    /// Runs the model; gives its outputs in its order. Blocks until they are there.
    ///
    /// ## Errors
    /// As [`crate::Session::run`], for pieces that do not fit, and for a session in
    /// [`crate::Precision::F32`].
    pub fn run_pinned(&self, mut feeds: Vec<Feed<'_>>) -> Result<Ran> {
        if !self.is_pinned() {
            let why = "pinned runs are for sessions in 16 bits".to_owned();
            return Err(GraphError::Invalid(why).into());
        }
        let inputs = self.graph.inputs.iter().map(|&id| {
            let name = self.graph.name_of(id);
            let at = feeds.iter().position(|feed| feed.name == name);
            let at = at.ok_or_else(|| GraphError::Invalid(format!("input {name} is missing")))?;
            Ok(feeds.swap_remove(at))
        });
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        for (&id, feed) in self.graph.inputs.iter().zip(&inputs) {
            let declared = self.graph.values[id.index()].declared.as_ref();
            if !is_declared(feed.shape, declared) {
                let why = format!("input {} has shape {:?}", feed.name, feed.shape);
                return Err(GraphError::Invalid(format!("{why}, expected {declared:?}")).into());
            }
        }
        let shapes: Vec<_> = inputs.iter().map(|feed| feed.shape.to_vec()).collect();
        let program = self.program(&shapes)?;
        self.replay(&mut lock(&program), inputs)
    }

    fn replay(&self, program: &mut Program, feeds: Vec<Feed<'_>>) -> Result<Ran> {
        let began = Instant::now();
        let Program { captured, inputs, outputs, staging, .. } = program;
        let mut moving = Vec::with_capacity(feeds.len());
        for ((buffer, staging), feed) in inputs.iter_mut().zip(&mut *staging).zip(feeds) {
            moving.push(self.bring(buffer, staging, feed)?);
        }
        // On the CPU device work has ended when it is enqueued.
        let brought = self.stream.done();
        let early = brought.is_done().then(Instant::now);
        let computed = captured.launch(&self.stream)?.done();
        let early = (early, computed.is_done().then(Instant::now));
        let mut fetching = Vec::with_capacity(outputs.len());
        for (_, buffer) in &*outputs {
            let target = self.device.pinned_zeros(buffer.len())?;
            fetching.push(self.stream.read_pinned(buffer, target)?);
        }
        pollster::block_on(async {
            brought.await?;
            let copied = early.0.unwrap_or_else(Instant::now);
            computed.await?;
            let computed = early.1.unwrap_or_else(Instant::now);
            let mut fetched = Vec::with_capacity(fetching.len());
            for (fetching, (shape, _)) in fetching.into_iter().zip(&*outputs) {
                fetched.push(Fetched { shape: shape.clone(), elements: fetching.await? });
            }
            let phases = Phases {
                copy_in: copied - began,
                compute: computed - copied,
                copy_out: computed.elapsed(),
            };
            let mut pieces = Vec::with_capacity(moving.len());
            for moving in moving {
                pieces.push(moving.landed().await?);
            }
            Ok(Ran { outputs: fetched, pieces, phases })
        })
    }

    /// Enqueues the copies of an input's pieces, and what makes floats of pixels.
    fn bring(
        &self,
        buffer: &mut Buffer<f32>,
        staging: &mut Option<Buffer<u8>>,
        feed: Feed<'_>,
    ) -> Result<Moving> {
        let refuse = |why: String| GraphError::Invalid(format!("input {} {why}", feed.name));
        let len: usize = feed.pieces.iter().map(Piece::len).sum();
        if len > buffer.len() {
            return Err(refuse(format!("has {} elements, found {len}", buffer.len())).into());
        }
        let (mut floats, mut pixels) = (Vec::new(), Vec::new());
        for piece in feed.pieces {
            match piece {
                Piece::Floats(pinned) => floats.push(pinned),
                Piece::Pixels(pinned) => pixels.push(pinned),
            }
        }
        if pixels.is_empty() {
            let target = buffer.slice_mut(..len)?;
            return Ok(Moving::Floats(self.stream.write_pinned_vectored(target, floats)?));
        }
        let table = self.pixels.as_deref().filter(|_| floats.is_empty());
        let table =
            table.ok_or_else(|| refuse("takes no pixels, or not among floats".to_owned()))?;
        let area = match (feed.shape, table.is_channels_first) {
            (&[_, 3, rows, columns], true) | (&[_, rows, columns, 3], false) => rows * columns,
            (shape, _) => return Err(refuse(format!("of {shape:?} is no picture")).into()),
        };
        let room = match staging {
            Some(room) => room,
            None => staging.insert(self.stream.zeros(buffer.len())?),
        };
        let moving = self.stream.write_pinned_vectored(room.slice_mut(..len)?, pixels)?;
        let (colours, target) = (table.table.as_slice(), buffer.slice_mut(..len)?);
        let first = table.is_channels_first;
        image::from_pixels(&self.stream, area, first, colours, room.slice(..len)?, target)?;
        Ok(Moving::Pixels(moving))
    }
}

/// Whether elements of `f32` in a shape are what is declared.
fn is_declared(shape: &[usize], declared: Option<&ValueType>) -> bool {
    match declared {
        None | Some(ValueType::Tensor(DType::F32, None)) => true,
        Some(ValueType::Tensor(DType::F32, Some(dims))) => {
            let fits = |(dim, len): (&Dim, &usize)| match dim {
                Dim::Fixed(fixed) => fixed == len,
                Dim::Symbol(_) | Dim::Unknown => true,
            };
            dims.len() == shape.len() && dims.iter().zip(shape).all(fits)
        }
        Some(_) => false,
    }
}
