//! Functions that are not inlined pass scalars, pairs and slices.
//! run: threads = 64

#[inline(never)]
fn scalars(a: u8, b: i64, c: f32, d: bool) -> (i64, f32) {
    (b + i64::from(a), if d { c } else { -c })
}

#[inline(never)]
fn slices<'a>(a: &'a [u32], b: &'a mut [u32]) -> Option<&'a mut u32> {
    b.get_mut(a[0] as usize)
}

#[inline(never)]
fn wide(a: u128, b: Option<u64>) -> Result<u128, u8> {
    b.map(|b| a + u128::from(b)).ok_or(a as u8)
}

pub fn program(thread: u32) -> (i64, f32, u32, u128) {
    let (x, y) = scalars(thread as u8, -5, 1.5, thread % 2 == 0);
    let mut values = [10, 20, 30];
    if let Some(value) = slices(&[thread % 4], &mut values) {
        *value += thread;
    }
    let sum = values.iter().sum();
    (x, y, sum, wide(u128::from(thread) << 70, thread.checked_sub(9).map(u64::from)).unwrap_or(3))
}

// expect: -5,1.5,60,0,3 -4,-1.5,61,0,3 -3,1.5,62,0,3 -2,-1.5,60,0,3 -1,1.5,64,0,3 0,-1.5,65,0,3
// expect: 1,1.5,66,0,3 2,-1.5,60,0,3
// hash: 0xbc6cafb6a50cad38 of 64 answers
