//! Which kernel computes a convolution: measured once for each shape and device.

use std::collections::HashMap;
use std::sync::Mutex;

use raddle::Stream;
use raddle_kernels::conv::{Choice, Convolution, Operands};

use super::lock;
use super::tensor::Half;
use crate::Result;

/// Replays of a candidate in one measurement.
const REPEATS: usize = 6;
/// Measurements of a candidate, of which the shortest counts.
const SAMPLES: usize = 3;

/// What measurements chose and how long it took, by the convolution's numbers.
#[derive(Debug, Default)]
pub struct Choices {
    chosen: Mutex<HashMap<String, (Choice, f64)>>,
}

impl Choices {
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
            drop(candidate.run(stream, operands())?);
            for _ in 0..SAMPLES {
                let (done, ms) = stream.time(|| {
                    (0..REPEATS).try_for_each(|_| candidate.run(stream, operands()).map(drop))
                })?;
                done?;
                if ms < best.0 {
                    best = (ms, choice);
                }
            }
        }
        lock(&self.chosen).insert(key, (best.1, best.0 / 1e3 / REPEATS as f64));
        Ok(())
    }

    /// The convolution with the kernel that was chosen for it, and its time.
    pub fn apply(&self, conv: Convolution) -> (Convolution, Option<f64>) {
        match lock(&self.chosen).get(&conv.key()) {
            Some(&(choice, seconds)) => (conv.with_choice(choice), Some(seconds)),
            None => (conv, None),
        }
    }
}
