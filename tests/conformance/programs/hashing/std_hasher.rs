//! The standard library's default hasher with its fixed keys.
//! run: threads = 64

use std::hash::{DefaultHasher, Hash, Hasher};

pub fn program(thread: u32) -> u64 {
    let mut hasher = DefaultHasher::new();
    (thread, "weft", [thread as u8; 5]).hash(&mut hasher);
    hasher.finish()
}

// expect: 0x3d42e95f4c877744 0xdae8e5b6626de126 0x4ac48955f25698dc 0x61f18b38c3f475a7
// expect: 0x32c6584651f03b49 0x3f7d36dc1e25e45d 0x759d23aa2011c029 0x7c616829d25bb752
// hash: 0x25afd97d1035dc27 of 64 answers
