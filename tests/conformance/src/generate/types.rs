//! The scalar types of generated programs, and how values go from one to another.

/// A scalar type of a generated program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ty {
    Unsigned(u32),
    Signed(u32),
    Float(u32),
    Bool,
}

/// The types to draw from; some are drawn more often.
pub const TYPES: &[Ty] = &[
    Ty::Unsigned(32),
    Ty::Unsigned(32),
    Ty::Unsigned(64),
    Ty::Unsigned(8),
    Ty::Unsigned(16),
    Ty::Unsigned(128),
    Ty::Signed(32),
    Ty::Signed(64),
    Ty::Signed(8),
    Ty::Signed(16),
    Ty::Signed(128),
    Ty::Float(32),
    Ty::Float(32),
    Ty::Float(64),
    Ty::Bool,
];

impl std::fmt::Display for Ty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ty::Unsigned(bits) => write!(f, "u{bits}"),
            Ty::Signed(bits) => write!(f, "i{bits}"),
            Ty::Float(bits) => write!(f, "f{bits}"),
            Ty::Bool => f.write_str("bool"),
        }
    }
}

/// Something that can be read, and written if mutable.
#[derive(Clone)]
pub struct Place {
    pub text: String,
    pub ty: Ty,
    pub is_mutable: bool,
}

/// A place read as another type.
pub fn converted(place: &Place, ty: Ty) -> String {
    match (place.ty, ty) {
        (Ty::Bool, Ty::Bool) => place.text.clone(),
        (from, Ty::Bool) => format!("({} > (3u8 as {from}))", place.text),
        (from, _) => cast(&place.text, from, ty),
    }
}

/// A cast to a number.
pub fn cast(value: &str, from: Ty, to: Ty) -> String {
    let through = match (from, to) {
        (Ty::Bool, Ty::Float(_)) => " as u8",
        _ => "",
    };
    format!("(({value}){through} as {to})")
}

/// An expression for the bits of a value; all NaNs count as one.
pub fn to_word(value: &str, ty: Ty) -> String {
    match ty {
        Ty::Float(_) => {
            format!("(if {value}.is_nan() {{ 1 }} else {{ {value}.to_bits() as u64 }})")
        }
        Ty::Unsigned(128) | Ty::Signed(128) => format!("({value} as u64 ^ ({value} >> 64) as u64)"),
        Ty::Unsigned(_) | Ty::Signed(_) | Ty::Bool => format!("({value} as u64)"),
    }
}
