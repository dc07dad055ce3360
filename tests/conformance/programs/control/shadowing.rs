//! Names are shadowed with other types and in inner blocks.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, i64, f32) {
    let x = thread;
    let x = x + 1;
    let y = {
        let x = i64::from(x) * -3;
        let x = x - 1;
        x
    };
    let x = x * 2;
    let z = if let Some(x) = x.checked_sub(20) { x as f32 } else { -1.0 };
    (x, y, z)
}

// expect: 2,-4,-1.0 4,-7,-1.0 6,-10,-1.0 8,-13,-1.0 10,-16,-1.0 12,-19,-1.0 14,-22,-1.0
// expect: 16,-25,-1.0
// hash: 0x804b16cf922b25fa of 64 answers
