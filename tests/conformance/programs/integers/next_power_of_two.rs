//! Powers of two: test, next, and alignment by masks.
//! run: threads = 64

pub fn program(thread: u32) -> (bool, u32, u64, u32) {
    let x = thread * 3;
    let aligned = (x + 15) & !15;
    (x.is_power_of_two(), x.next_power_of_two(), (u64::from(x) << 20).next_power_of_two(), aligned)
}

// expect: 0,1,1,0 0,4,4194304,16 0,8,8388608,16 0,16,0x1000000,16 0,16,0x1000000,16
// expect: 0,16,0x1000000,16 0,32,0x2000000,32 0,32,0x2000000,32
// hash: 0x8d92072d044ac57f of 64 answers
