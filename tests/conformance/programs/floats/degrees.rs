//! Angles, reciprocals and constants of the `consts` modules.
//! run: threads = 64

use core::f32::consts::{FRAC_PI_3, PI};

pub fn program(thread: u32) -> (f32, f32, f32, f64) {
    let x = thread as f32 * 11.25;
    (
        x.to_radians(),
        (x * PI / 180.0 - FRAC_PI_3).recip(),
        x.to_degrees(),
        core::f64::consts::E * f64::from(x),
    )
}

// expect: 0.0,-0.95492965,0.0,0.0 0.19634955,-1.175298,644.5775,30.58067057016426
// expect: 0.3926991,-1.5278875,1289.155,61.16134114032852
// expect: 0.5890486,-2.1826963,1933.7325,91.74201171049278
// expect: 0.7853982,-3.8197186,2578.31,122.32268228065703
// expect: 0.9817477,-15.278864,3222.8877,152.90335285082128
// expect: 1.1780972,7.6394386,3867.465,183.48402342098555
// expect: 1.3744467,3.0557754,4512.0425,214.0646939911498
// hash: 0x044bd10494e80459 of 64 answers
