//! Which kernel computes a convolution: measured once for each shape and device, and
//! kept on disk for the next start.
//!
//! The convolutions of a model are collected first, so that all kernels that may be
//! wanted are loaded beside each other. A driver takes half a second to assemble one of
//! them, and one of CUDA 13.0 does so one at a time; an assembler that the user names
//! (`RADDLE_PTXAS`) works on all at once. Where a choice was kept, its kernel is the
//! only one that is loaded and nothing is measured.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use raddle::{Device, Graph, Stream};
use raddle_kernels::Activation;
use raddle_kernels::conv::{
    Choice, Convolution, Filters, Operands, SPLIT_PORTABLE, Weights, Window,
};

use super::kept::Kept;
use super::lock;
use super::tensor::Half;
use crate::Result;

/// Launches of a candidate in one measurement.
const REPEATS: usize = 8;
/// Measurements of a candidate that is near the best, of which the shortest counts.
const SAMPLES: usize = 3;
/// A candidate whose first measurement takes so much longer than the best one so far is
/// not measured again.
const HOPELESS: f64 = 1.3;

/// What measurements chose and how long it took, by the convolution's numbers.
#[derive(Debug, Default)]
pub struct Choices {
    chosen: Mutex<HashMap<String, (Choice, f64)>>,
    /// Kernels that convolutions which were collected may be computed with.
    wanted: Mutex<Vec<Choice>>,
    /// Kernels that were asked for before.
    loaded: Mutex<Vec<Choice>>,
    kept: Mutex<Option<Kept>>,
}

impl Choices {
    /// Notes a convolution that is going to be measured, or finds what was kept of it.
    pub fn collect<T: Half>(&self, device: &Device, conv: Convolution) {
        let key = conv.key();
        if lock(&self.chosen).contains_key(&key) {
            return;
        }
        let multiprocessors = device.multiprocessor_count() as usize;
        let candidates: Vec<Choice> = conv.candidates(multiprocessors).collect();
        let known = {
            let mut kept = lock(&self.kept);
            let kept = kept.get_or_insert_with(|| Kept::open(device, std::any::type_name::<T>()));
            kept.find(&key, &candidates)
        };
        let mut wanted = lock(&self.wanted);
        match known {
            Some((choice, seconds)) => {
                lock(&self.chosen).insert(key, (choice, seconds));
                note(&mut wanted, choice);
            }
            None => candidates.into_iter().for_each(|choice| note(&mut wanted, choice)),
        }
    }

    /// Loads the kernels of what was collected, on as many threads as there are
    /// processors.
    pub fn load<T: Half>(&self, device: &Device) -> Result<()> {
        let mut loaded = lock(&self.loaded);
        let mut open: Vec<Choice> = std::mem::take(&mut *lock(&self.wanted));
        open.retain(|choice| !loaded.contains(choice));
        if device.is_gpu() {
            load_all::<T>(device, &open)?;
        }
        loaded.extend(open);
        Ok(())
    }

    /// Finds the fastest kernel of a convolution, unless that is known.
    pub fn measure<'a, T: Half + 'a>(
        &self,
        stream: &Stream,
        conv: Convolution,
        operands: impl Fn() -> Operands<'a, T>,
    ) -> Result<()> {
        let key = conv.key();
        if lock(&self.chosen).contains_key(&key) || !stream.device().is_gpu() {
            return Ok(());
        }
        let multiprocessors = stream.device().multiprocessor_count() as usize;
        let mut best = (f64::INFINITY, conv.choice());
        for choice in conv.candidates(multiprocessors) {
            let candidate = conv.with_choice(choice);
            match candidate.run(stream, operands()) {
                Ok(_) => {}
                // A part of a GPU may have no room for so many blocks of a cluster.
                Err(_) if choice.split > SPLIT_PORTABLE => continue,
                Err(error) => return Err(error.into()),
            }
            let launches = repeated(stream, |stream| candidate.run(stream, operands()).map(drop))?;
            for _ in 0..SAMPLES {
                let (done, ms) = stream.time(|| launches.launch(stream).map(drop))?;
                done?;
                if ms < best.0 {
                    best = (ms, choice);
                }
                if ms > HOPELESS * best.0 {
                    break;
                }
            }
        }
        let (ms, choice) = best;
        let seconds = ms / 1e3 / REPEATS as f64;
        if let Some(kept) = &mut *lock(&self.kept) {
            kept.note(&key, choice, seconds);
        }
        lock(&self.chosen).insert(key, (choice, seconds));
        Ok(())
    }

    /// Writes what was measured since the last time to disk.
    pub fn keep(&self) {
        if let Some(kept) = &mut *lock(&self.kept) {
            kept.write();
        }
    }

    /// The convolution with the kernel that was chosen for it, and its time.
    pub fn apply(&self, conv: Convolution) -> (Convolution, Option<f64>) {
        match lock(&self.chosen).get(&conv.key()) {
            Some(&(choice, seconds)) => (conv.with_choice(choice), Some(seconds)),
            None => (conv, None),
        }
    }
}

/// Several launches as one graph: a small kernel ends before the host has launched the
/// next one, and what was measured without a graph would be the host.
fn repeated(
    stream: &Stream,
    launch: impl Fn(&Stream) -> raddle_kernels::Result<()>,
) -> Result<Graph> {
    let mut failure = None;
    let captured = stream.capture(|stream| {
        (0..REPEATS).try_for_each(|_| launch(stream)).map_err(|error| {
            failure = Some(error);
            raddle::Error::Capture { operation: "measuring a convolution" }
        })
    });
    match failure {
        Some(error) => Err(error.into()),
        None => Ok(captured?.0),
    }
}

/// Adds a choice's kernel to a list; how a tile is split is no matter of the kernel.
fn note(wanted: &mut Vec<Choice>, choice: Choice) {
    let choice = Choice { split: 1, ..choice };
    if !wanted.contains(&choice) {
        wanted.push(choice);
    }
}

fn load_all<T: Half>(device: &Device, choices: &[Choice]) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(choices.len());
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        while let Some(&choice) = choices.get(next.fetch_add(1, Ordering::Relaxed)) {
            load::<T>(device, choice)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

/// Loads a kernel by launching it for one pixel, on a stream of its own: the launch
/// loads it, and what it computes is nothing to anybody.
fn load<T: Half>(device: &Device, choice: Choice) -> Result<()> {
    const CHANNELS: usize = 64;
    let stream = device.stream()?;
    let window = Window::point(CHANNELS);
    let elements = [0.0; CHANNELS * CHANNELS];
    let filters = Filters { elements: &elements, channels: CHANNELS, window };
    let weights = Weights::<T>::pack(&stream, CHANNELS, filters, None, None)?;
    let input = stream.zeros::<T>(CHANNELS)?;
    let (windows, identity) = ([Some(window), None], Activation::IDENTITY);
    let conv = Convolution::new(&weights, windows, 1, [1, 1], identity, 1)?.with_choice(choice);
    let input = input.as_slice();
    conv.run(&stream, Operands { input, shortcut: None, weights: &weights, residual: None })?;
    stream.synchronize()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use raddle::device::f16;

    use super::*;

    #[test]
    fn each_kernel_can_be_loaded_on_its_own() {
        let device = Device::cpu();
        let stream = device.stream().unwrap();
        let window = Window { size: [7; 2], filter: [3; 2], padding: [1; 2], ..Window::point(128) };
        let elements = vec![0.0; 128 * 128 * 9];
        let filters = Filters { elements: &elements, channels: 128, window };
        let weights = Weights::<f16>::pack(&stream, 128, filters, None, None).unwrap();
        let windows = [Some(window), None];
        let conv =
            Convolution::new(&weights, windows, 64, [7; 2], Activation::IDENTITY, 132).unwrap();
        let choices = Choices::default();
        choices.collect::<f16>(&device, conv);
        let wanted = lock(&choices.wanted).clone();
        assert!(wanted.len() > 2, "{wanted:?}");
        for &choice in &wanted {
            load::<f16>(&device, choice).unwrap_or_else(|error| panic!("{choice}: {error}"));
        }
        choices.load::<f16>(&device).unwrap();
        choices.collect::<f16>(&device, conv);
        choices.load::<f16>(&device).unwrap();
        assert_eq!(lock(&choices.loaded).len(), wanted.len());
    }
}
