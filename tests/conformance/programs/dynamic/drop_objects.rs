//! Objects behind `&dyn` with a size and an alignment from the vtable.
//! run: threads = 64

trait Shape {
    fn area(&self) -> f64;
}

#[repr(align(16))]
struct Square(f64);
struct Strip(f32, u8);

impl Shape for Square {
    fn area(&self) -> f64 {
        self.0 * self.0
    }
}

impl Shape for Strip {
    fn area(&self) -> f64 {
        f64::from(self.0) * f64::from(self.1)
    }
}

pub fn program(thread: u32) -> (f64, usize, usize) {
    let (square, strip) = (Square(f64::from(thread)), Strip(1.5, thread as u8));
    let shape: &dyn Shape = if thread % 2 == 0 { &square } else { &strip };
    (shape.area(), size_of_val(shape), align_of_val(shape))
}

// expect: 0.0,16,16 1.5,8,4 4.0,16,16 4.5,8,4 16.0,16,16 7.5,8,4 36.0,16,16 10.5,8,4
// hash: 0x8dcd8a2b6650eb00 of 64 answers
