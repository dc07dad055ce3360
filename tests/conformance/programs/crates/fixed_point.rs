//! Numbers of the `fixed` crate.
//! run: threads = 64

use fixed::types::{I16F16, U8F8};

pub fn program(thread: u32) -> (i32, u16, Option<i32>, bool) {
    let seventh = I16F16::from_bits(65_536 / 7);
    let x = seventh.wrapping_mul_int(thread as i32 - 30);
    let y = U8F8::from_bits(thread as u16 * 300);
    let product = x.wrapping_mul(I16F16::from_bits(0x2_c000));
    let hundred = I16F16::from_bits(100 << 16);
    (
        product.to_bits(),
        y.saturating_add(U8F8::from_bits(200 << 8)).to_bits(),
        hundred.checked_mul_int(thread as i32 * 10).map(I16F16::to_bits),
        x > seventh,
    )
}

// expect: -772365,51200,1,0,0 -746620,51500,1,65536000,0 -720874,51800,1,131072000,0
// expect: -695129,52100,1,196608000,0 -669383,52400,1,262144000,0 -643638,52700,1,327680000,0
// expect: -617892,53000,1,393216000,0 -592147,53300,1,458752000,0
// hash: 0x4a4fc4ab26f2d713 of 64 answers
