//! `From`, `Into` and `AsRef` conversions written by the user.
//! run: threads = 64

#[derive(Clone, Copy)]
struct Rgb {
    r: u8,
    g: u8,
    b: u8,
}

impl From<u32> for Rgb {
    fn from(packed: u32) -> Self {
        let [_, r, g, b] = packed.to_be_bytes();
        Rgb { r, g, b }
    }
}

impl From<Rgb> for u32 {
    fn from(Rgb { r, g, b }: Rgb) -> u32 {
        u32::from_be_bytes([0, r, g, b])
    }
}

fn luma(colour: impl Into<Rgb>) -> u32 {
    let Rgb { r, g, b } = colour.into();
    (u32::from(r) * 299 + u32::from(g) * 587 + u32::from(b) * 114) / 1000
}

fn total(bytes: impl AsRef<[u8]>) -> u32 {
    bytes.as_ref().iter().map(|&b| u32::from(b)).sum()
}

pub fn program(thread: u32) -> (u32, u32, u32) {
    let packed = thread * 0x03_0507;
    let colour = Rgb::from(packed);
    (luma(packed), u32::from(Rgb { g: 0, ..colour }), total([thread as u8, 3]) + total("ab"))
}

// expect: 0,0,198 4,196615,199 9,393230,200 13,589845,201 18,786460,202 23,983075,203
// expect: 27,1179690,204 32,1376305,205
// hash: 0x1444f8d6466cbd6f of 64 answers
