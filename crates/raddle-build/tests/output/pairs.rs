//! Kernels in two versions: in safe Rust, and with raw pointers and no checks. Their
//! hot loops must become the same instructions.

/// y = a x + y over the grid.
pub mod saxpy {
    use raddle::prelude::*;

    #[kernel]
    pub fn safe(a: f32, x: &[f32], mut y: PerThread<f32>) {
        let x = &x[..y.len()];
        for (i, y) in y.iter_mut() {
            *y += a * x[i];
        }
    }

    /// # Safety
    ///
    /// `x` and `y` have `len` elements.
    #[kernel]
    pub unsafe fn raw(a: f32, x: *const f32, y: *mut f32, len: u64) {
        let mut i = global_x();
        while i < len as usize {
            // SAFETY: by the contract of the kernel.
            unsafe { *y.add(i) += a * *x.add(i) };
            i += global_dim_x();
        }
    }
}

/// A weighted mean of three neighbours.
pub mod stencil {
    use raddle::prelude::*;

    #[kernel]
    pub fn safe(x: &[f32], mut y: PerThread<f32>) {
        let (left, middle, right) = (&x[..y.len()], &x[1..][..y.len()], &x[2..][..y.len()]);
        for (i, y) in y.iter_mut() {
            *y = 0.25 * left[i] + 0.5 * middle[i] + 0.25 * right[i];
        }
    }

    /// # Safety
    ///
    /// `y` has `len` elements, and `x` two more.
    #[kernel]
    pub unsafe fn raw(x: *const f32, y: *mut f32, len: u64) {
        let mut i = global_x();
        while i < len as usize {
            // SAFETY: by the contract of the kernel.
            unsafe {
                let (y, x) = (&mut *y.add(i), x.add(i));
                *y = 0.25 * *x + 0.5 * *x.add(1) + 0.25 * *x.add(2);
            }
            i += global_dim_x();
        }
    }
}

/// A matrix times a vector, a row to a thread.
pub mod dot {
    use raddle::prelude::*;

    #[kernel]
    pub fn safe(a: &[f32], x: &[f32], mut y: PerThread<f32>) {
        if let Some((row, y)) = y.mine() {
            let a = &a[row * x.len()..][..x.len()];
            *y = a.iter().zip(x).map(|(a, x)| a * x).sum();
        }
    }

    /// # Safety
    ///
    /// `a` has `cols` elements for each thread, `x` as many, and `y` one for each.
    #[kernel]
    pub unsafe fn raw(a: *const f32, x: *const f32, cols: u64, y: *mut f32) {
        // SAFETY: by the contract of the kernel.
        unsafe {
            let a = a.add(global_x() * cols as usize);
            let mut sum = -0.0;
            for i in 0..cols as usize {
                sum += *a.add(i) * *x.add(i);
            }
            *y.add(global_x()) = sum;
        }
    }
}

/// Bytes through a table.
pub mod lookup {
    use raddle::prelude::*;

    #[kernel]
    pub fn safe(table: &[f32], x: &[u8], mut y: PerThread<f32>) {
        let (table, x) = (&table[..256], &x[..y.len()]);
        for (i, y) in y.iter_mut() {
            *y = table[usize::from(x[i])];
        }
    }

    /// # Safety
    ///
    /// `table` has 256 elements, `x` and `y` have `len`.
    #[kernel]
    pub unsafe fn raw(table: *const f32, x: *const u8, y: *mut f32, len: u64) {
        let mut i = global_x();
        while i < len as usize {
            // SAFETY: by the contract of the kernel.
            unsafe { *y.add(i) = *table.add(usize::from(*x.add(i))) };
            i += global_dim_x();
        }
    }
}

/// The largest element and the sum of exponentials of a row, as softmax needs them.
pub mod softmax {
    use raddle::prelude::*;

    #[kernel]
    pub fn safe(x: &[f32], cols: u32, mut y: PerThread<f32>) {
        if let Some((row, y)) = y.mine() {
            let x = &x[row * cols as usize..][..cols as usize];
            let largest = x.iter().fold(f32::NEG_INFINITY, |m, x| m.max(*x));
            *y = x.iter().map(|x| (x - largest).exp()).sum();
        }
    }

    /// # Safety
    ///
    /// `x` has `cols` elements for each thread, and `y` one.
    #[kernel]
    pub unsafe fn raw(x: *const f32, cols: u32, y: *mut f32) {
        // SAFETY: by the contract of the kernel.
        unsafe {
            let x = x.add(global_x() * cols as usize);
            let (mut largest, mut sum) = (f32::NEG_INFINITY, -0.0);
            for i in 0..cols as usize {
                largest = largest.max(*x.add(i));
            }
            for i in 0..cols as usize {
                sum += (*x.add(i) - largest).exp();
            }
            *y.add(global_x()) = sum;
        }
    }
}

/// A polynomial by Horner's rule, four elements at a time.
pub mod horner {
    use raddle::prelude::*;

    const COEFFICIENTS: [f32; 5] = [0.5, -1.25, 3.0, 0.125, 2.0];

    fn at(x: f32) -> f32 {
        COEFFICIENTS.iter().fold(0.0, |sum, c| x.mul_add(sum, *c))
    }

    #[kernel]
    pub fn safe(x: &[F32x4], mut y: PerThreadChunks<f32, 4>) {
        let x = &x[..y.chunks()];
        for (i, y) in y.iter_mut() {
            *y = x[i].to_array().map(at);
        }
    }

    /// # Safety
    ///
    /// `x` and `y` have `len` elements.
    #[kernel]
    pub unsafe fn raw(x: *const F32x4, y: *mut F32x4, len: u64) {
        let mut i = global_x();
        while i < len as usize {
            // SAFETY: by the contract of the kernel.
            unsafe { *y.add(i) = Vector::new((*x.add(i)).to_array().map(at)) };
            i += global_dim_x();
        }
    }
}

/// The product of two tiles in shared memory.
pub mod tiles {
    use raddle::prelude::*;

    const EDGE: usize = 16;

    #[kernel(block = (16, 16))]
    pub fn safe(a: &[f32], b: &[f32], mut c: PerThread<f32>) {
        let (mut left, mut right) = (shared!([f32; 256]), shared!([f32; 256]));
        let (row, col) = (thread_y() as usize, thread_x() as usize);
        let mut sum = 0.0;
        for (a, b) in a.chunks_exact(256).zip(b.chunks_exact(256)) {
            let (left, right) = (left.fill(|i| a[i]), right.fill(|i| b[i]));
            for k in 0..EDGE {
                sum += left[row * EDGE + k] * right[k * EDGE + col];
            }
        }
        if let Some((_, c)) = c.mine() {
            *c = sum;
        }
    }

    /// # Safety
    ///
    /// `a` and `b` have `256 * tiles` elements, and `c` one for each thread.
    #[kernel(block = (16, 16))]
    pub unsafe fn raw(a: *const f32, b: *const f32, tiles: u32, c: *mut f32) {
        let (mut left, mut right) = (shared!([f32; 256]), shared!([f32; 256]));
        let (row, col) = (thread_y() as usize, thread_x() as usize);
        let mut sum = 0.0;
        let (mut a, mut b, mut rest) = (a, b, u64::from(tiles));
        while rest > 0 {
            // SAFETY: by the contract of the kernel.
            unsafe {
                let (left, right) = (left.fill(|i| *a.add(i)), right.fill(|i| *b.add(i)));
                for k in 0..EDGE {
                    sum += left.get_unchecked(row * EDGE + k) * right.get_unchecked(k * EDGE + col);
                }
                (a, b, rest) = (a.add(256), b.add(256), rest - 1);
            }
        }
        // SAFETY: by the contract of the kernel.
        unsafe { *c.add(global_x()) = sum };
    }
}
