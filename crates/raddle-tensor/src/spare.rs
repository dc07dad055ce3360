//! Memory of results that nobody needs any more, for results to come: what a
//! convolution writes whole need not be zeroed first, and the system need not map
//! it anew.
//!
//! Each thread that runs plans keeps a few vectors, no more than [`KEPT_LEN_MAX`]
//! elements together.

use std::cell::RefCell;
use std::sync::Arc;

use crate::{Data, Value};

/// Most elements that a thread keeps: 32 MiB.
const KEPT_LEN_MAX: usize = 1 << 23;

/// Most vectors that a thread keeps.
const KEPT_MAX: usize = 16;

/// Fewest elements that are worth keeping.
const LEN_MIN: usize = 1 << 12;

thread_local! {
    static KEPT: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Takes in a value that its last reader is done with.
pub fn keep(value: Value) {
    let Value::Tensor(tensor) = value else { return };
    let Data::F32(elements) = tensor.into_data() else { return };
    if let Ok(elements) = Arc::try_unwrap(elements) {
        keep_elements(elements);
    }
}

/// Takes in elements that were taken for a moment.
pub fn keep_elements(elements: Vec<f32>) {
    if elements.capacity() < LEN_MIN {
        return;
    }
    KEPT.with_borrow_mut(|kept| {
        kept.push(elements);
        let len = |kept: &[Vec<f32>]| kept.iter().map(Vec::capacity).sum::<usize>();
        // The oldest go first.
        while kept.len() > KEPT_MAX || len(kept) > KEPT_LEN_MAX {
            kept.remove(0);
        }
    });
}

/// So many elements of any value; whoever takes them writes them all.
pub fn take(len: usize) -> Vec<f32> {
    let found = KEPT.with_borrow_mut(|kept| {
        let fits = |it: &Vec<f32>| it.capacity() >= len && it.capacity() / 2 <= len;
        // Elements behind a vector's end would have to be written first.
        let key = |it: &Vec<f32>| (it.len() < len, it.capacity());
        let fitting = kept.iter().enumerate().filter(|(_, it)| fits(it));
        let best = fitting.min_by_key(|(_, it)| key(it)).map(|(at, _)| at);
        best.map(|at| kept.swap_remove(at))
    });
    let Some(mut elements) = found.filter(|_| len >= LEN_MIN) else { return vec![0.0; len] };
    elements.resize(len, 0.0);
    // What is left unwritten shows in tests.
    if cfg!(debug_assertions) {
        elements.fill(f32::NAN);
    }
    elements
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;

    fn tensor(len: usize) -> Tensor {
        Tensor::new(&[len], vec![1f32; len]).expect("as long as its shape")
    }

    #[test]
    fn memory_comes_back_once_nobody_holds_it() {
        let held = tensor(5000);
        keep(held.clone().into());
        let address = held.elements::<f32>().expect("floats").as_ptr();
        assert!(take(5000).iter().all(|&x| x == 0.0), "somebody still holds it");
        keep(held.into());
        let few = take(2000);
        assert_ne!(few.as_ptr(), address, "too large for so few");
        let again = take(4900);
        assert_eq!((again.as_ptr(), again.len()), (address, 4900));
    }

    #[test]
    fn only_so_much_is_kept() {
        for _ in 0..40 {
            keep(tensor(LEN_MIN).into());
        }
        keep(tensor(KEPT_LEN_MAX - LEN_MIN).into());
        KEPT.with_borrow(|kept| assert_eq!(kept.len(), 2));
        keep(tensor(KEPT_LEN_MAX + 1).into());
        KEPT.with_borrow(|kept| assert!(kept.is_empty()));
    }
}
