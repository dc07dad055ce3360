//! Sizes, alignments and offsets of `repr(C)`, packed and aligned structs.
//! run: threads = 64

#[repr(C)]
struct Plain {
    a: u8,
    b: u64,
    c: u16,
}

#[repr(C, packed)]
#[derive(Clone, Copy)]
struct Packed {
    a: u8,
    b: u64,
    c: u16,
}

#[repr(C, align(32))]
struct Aligned([u32; 3]);

pub fn program(thread: u32) -> (u64, u64, u64, u64) {
    let packed = Packed { a: thread as u8, b: u64::from(thread) << 33, c: 7 };
    let aligned = [Aligned([thread; 3]), Aligned([1; 3])];
    let apart = (&raw const aligned[1]).addr() - (&raw const aligned[0]).addr();
    let b = packed.b;
    let layout = size_of::<Plain>() * 100 + core::mem::offset_of!(Plain, c);
    let tight = size_of::<Packed>() * 100 + core::mem::offset_of!(Packed, c) + align_of::<Packed>();
    (
        layout as u64,
        tight as u64,
        b + u64::from(packed.a),
        (apart + aligned[1].0[2] as usize) as u64,
    )
}

// expect: 2416,1110,0,33 2416,1110,0x200000001,33 2416,1110,0x400000002,33
// expect: 2416,1110,0x600000003,33 2416,1110,0x800000004,33 2416,1110,0xa00000005,33
// expect: 2416,1110,0xc00000006,33 2416,1110,0xe00000007,33
// hash: 0xfc62ab97792b5c25 of 64 answers
