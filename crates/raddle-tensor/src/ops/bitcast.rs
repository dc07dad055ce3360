//! The same bits as another type of the same width.

use crate::Kind::Int;
use crate::{
    Complex, DType, DTypeRule, Data, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor,
    Value, one, op,
};

/// Rows of this family.
pub const ROWS: &[Op] = &[op("BitCast", 26..=LATEST)
    .attributes(&[("to", Int)])
    .result(DTypeRule::Attribute("to", DType::F32), ShapeRule::Like(0))
    .run(bit_cast)];

fn bit_cast(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let to = ctx.dtype_attribute("to")?.ok_or_else(|| ctx.bad_attribute("to", "is required"))?;
    let x = ctx.take_tensor(0)?;
    if x.dtype() == to && to != DType::String {
        return Ok(vec![x.into()]);
    }
    if x.dtype() == DType::String || to == DType::String || x.dtype().bits() != to.bits() {
        return Err(Error::UnsupportedType {
            what: "attribute to".into(),
            found: to,
            expected: format!("a type of the width of {}, and no string", x.dtype()),
        });
    }
    one(Tensor::from_data(x.shape(), to, from_bits(&to_bits(&x), to)?))
}

/// The bits of each element; of types below eight bits the low ones.
fn to_bits(x: &Tensor) -> Vec<u64> {
    let mask = if x.dtype().bits() < 8 { (1 << x.dtype().bits()) - 1 } else { u64::MAX };
    match x.data() {
        Data::F64(v) => v.iter().map(|x| x.to_bits()).collect(),
        Data::F32(v) => v.iter().map(|x| x.to_bits().into()).collect(),
        Data::F16(v) => v.iter().map(|x| x.to_bits().into()).collect(),
        Data::BF16(v) => v.iter().map(|x| x.to_bits().into()).collect(),
        Data::I8(v) => v.iter().map(|&x| u64::from(x as u8) & mask).collect(),
        Data::I16(v) => v.iter().map(|&x| u64::from(x as u16)).collect(),
        Data::I32(v) => v.iter().map(|&x| u64::from(x as u32)).collect(),
        Data::I64(v) => v.iter().map(|&x| x as u64).collect(),
        Data::U8(v) => v.iter().map(|&x| u64::from(x) & mask).collect(),
        Data::U16(v) => v.iter().map(|&x| x.into()).collect(),
        Data::U32(v) => v.iter().map(|&x| x.into()).collect(),
        Data::U64(v) => v.to_vec(),
        Data::Bool(v) => v.iter().map(|&x| x.into()).collect(),
        Data::Complex64(v) => {
            let half = |x: f32| u64::from(x.to_bits());
            v.iter().map(|&[real, imaginary]| half(real) | half(imaginary) << 32).collect()
        }
        // No other type is as wide as these.
        Data::String(_) | Data::Complex128(_) => Vec::new(),
    }
}

fn from_bits(bits: &[u64], to: DType) -> Result<Data> {
    let v = bits.iter().copied();
    Ok(match crate::storage(to) {
        DType::F64 => Data::new(v.map(f64::from_bits).collect::<Vec<_>>()),
        DType::F32 => Data::new(v.map(|x| f32::from_bits(x as u32)).collect::<Vec<_>>()),
        DType::F16 => Data::new(v.map(|x| half::f16::from_bits(x as u16)).collect::<Vec<_>>()),
        DType::BF16 => Data::new(v.map(|x| half::bf16::from_bits(x as u16)).collect::<Vec<_>>()),
        DType::I8 => {
            // A narrow type's sign goes through all of its byte.
            let unused = 8 - to.bits().min(8);
            Data::new(v.map(|x| ((x as u8) << unused) as i8 >> unused).collect::<Vec<_>>())
        }
        DType::I16 => Data::new(v.map(|x| x as i16).collect::<Vec<_>>()),
        DType::I32 => Data::new(v.map(|x| x as i32).collect::<Vec<_>>()),
        DType::I64 => Data::new(v.map(|x| x as i64).collect::<Vec<_>>()),
        DType::U8 => Data::new(v.map(|x| x as u8).collect::<Vec<_>>()),
        DType::U16 => Data::new(v.map(|x| x as u16).collect::<Vec<_>>()),
        DType::U32 => Data::new(v.map(|x| x as u32).collect::<Vec<_>>()),
        DType::U64 => Data::new(v.collect::<Vec<_>>()),
        DType::Bool => Data::new(v.map(|x| x != 0).collect::<Vec<_>>()),
        DType::Complex64 => {
            let halves = |x: u64| [f32::from_bits(x as u32), f32::from_bits((x >> 32) as u32)];
            Data::new(v.map(halves).collect::<Vec<Complex<f32>>>())
        }
        other => return Err(Error::invalid(format!("no other type has the width of {other}"))),
    })
}
