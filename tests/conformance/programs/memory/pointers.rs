//! Reads and writes through raw pointers, unaligned ones too.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u64, u16) {
    let mut bytes: [u8; 24] = core::array::from_fn(|i| (thread as u8).wrapping_add(i as u8 * 3));
    let base = bytes.as_mut_ptr();
    let offset = thread as usize % 13;
    // SAFETY: at most 13 + 8 bytes from the start of 24, read and written unaligned.
    unsafe {
        let word = base.add(offset).cast::<u32>().read_unaligned();
        base.add(offset + 1).cast::<u16>().write_unaligned(0xbeef);
        let wide = base.add(offset).cast::<u64>().read_unaligned();
        core::ptr::swap(base, base.add(23));
        (word, wide, u16::from(*base) << 8 | u16::from(*base.add(23)))
    }
}

// expect: 0x9060300,0x15120f0c09beef00,17664 0xd0a0704,0x191613100dbeef04,17921
// expect: 0x110e0b08,0x1d1a171411beef08,18178 0x15120f0c,0x211e1b1815beef0c,18435
// expect: 0x19161310,0x25221f1c19beef10,18692 0x1d1a1714,0x292623201dbeef14,18949
// expect: 0x211e1b18,0x2d2a272421beef18,19206 0x25221f1c,0x312e2b2825beef1c,19463
// hash: 0x2ac5514a6c826a81 of 64 answers
