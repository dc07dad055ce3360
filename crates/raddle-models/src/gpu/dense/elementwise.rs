//! Operations on elements.

use raddle_kernels::dense::{Class, Function};
use raddle_tensor::DType;

use super::Failure;
use super::call::{Call, only, same_type};
use super::sums::numbers;
use super::value::{Dense, Formula, between};
use super::{Made, Tensor};

/// Functions of one operand without parameters.
const UNARY: [(&str, Function); 35] = [
    ("Abs", Function::Abs),
    ("Neg", Function::Neg),
    ("Sign", Function::Sign),
    ("Relu", Function::Relu),
    ("Sqrt", Function::Sqrt),
    ("Exp", Function::Exp),
    ("Log", Function::Log),
    ("Sin", Function::Sin),
    ("Cos", Function::Cos),
    ("Tan", Function::Tan),
    ("Asin", Function::Asin),
    ("Acos", Function::Acos),
    ("Atan", Function::Atan),
    ("Sinh", Function::Sinh),
    ("Cosh", Function::Cosh),
    ("Tanh", Function::Tanh),
    ("Asinh", Function::Asinh),
    ("Acosh", Function::Acosh),
    ("Atanh", Function::Atanh),
    ("Reciprocal", Function::Reciprocal),
    ("Floor", Function::Floor),
    ("Ceil", Function::Ceil),
    ("Round", Function::Round),
    ("Sigmoid", Function::Sigmoid),
    ("Softplus", Function::Softplus),
    ("Softsign", Function::Softsign),
    ("HardSwish", Function::HardSwish),
    ("Mish", Function::Mish),
    ("Erf", Function::Erf),
    ("Not", Function::Not),
    ("BitwiseNot", Function::BitNot),
    ("IsNaN", Function::IsNaN),
    ("Identity", Function::Copy),
    ("IsInf", Function::IsInf),
    ("Gelu", Function::Gelu),
];

/// Functions of one operand with parameters: attributes with their defaults.
const WITH_PARAMETERS: [(&str, Function, &str, f32, &str, f32); 8] = [
    ("Elu", Function::Elu, "alpha", 1.0, "", 0.0),
    ("Celu", Function::Celu, "alpha", 1.0, "", 0.0),
    ("Selu", Function::Selu, "alpha", 1.673_263_2, "gamma", 1.050_701),
    ("LeakyRelu", Function::LeakyRelu, "alpha", 0.01, "", 0.0),
    ("ThresholdedRelu", Function::ThresholdedRelu, "alpha", 1.0, "", 0.0),
    ("HardSigmoid", Function::HardSigmoid, "alpha", 0.2, "beta", 0.5),
    ("Shrink", Function::Shrink, "bias", 0.0, "lambd", 0.5),
    ("Swish", Function::Swish, "alpha", 1.0, "", 0.0),
];

/// Functions of two operands, and whether the result is a truth value.
const BINARY: [(&str, Function, bool); 16] = [
    ("Add", Function::Add, false),
    ("Sub", Function::Sub, false),
    ("Mul", Function::Mul, false),
    ("Div", Function::Div, false),
    ("PRelu", Function::PRelu, false),
    ("BitwiseAnd", Function::And, false),
    ("BitwiseOr", Function::Or, false),
    ("BitwiseXor", Function::Xor, false),
    ("And", Function::And, true),
    ("Or", Function::Or, true),
    ("Xor", Function::Xor, true),
    ("Equal", Function::Equal, true),
    ("Less", Function::Less, true),
    ("Greater", Function::Greater, true),
    ("LessOrEqual", Function::LessOrEqual, true),
    ("GreaterOrEqual", Function::GreaterOrEqual, true),
];

impl Call<'_, '_> {
    pub fn elementwise(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let name = self.node.op.name;
        if let Some(&(_, function)) = UNARY.iter().find(|row| row.0 == name) {
            return self.unary(function);
        }
        if let Some(&(_, function, a, alpha, b, beta)) =
            WITH_PARAMETERS.iter().find(|row| row.0 == name)
        {
            let alpha = self.ctx.float(a, alpha)?.into();
            let beta = if b.is_empty() { 0.0 } else { self.ctx.float(b, beta)?.into() };
            let x = self.x(0)?;
            let class = if x.class() == Class::I64 { Class::F64 } else { x.class() };
            let formula = Formula { function, alpha, beta };
            return only(self.kit().map_in(class, formula, &[&x], x.dtype)?);
        }
        if let Some(&(_, function, is_truth)) = BINARY.iter().find(|row| row.0 == name) {
            let (x, y) = (self.x(0)?, self.x(1)?);
            same_type(&x, &y)?;
            let dtype = if is_truth { DType::Bool } else { x.dtype };
            return only(self.kit().map(function, &[&x, &y], dtype)?);
        }
        match name {
            "Mod" => self.modulo(),
            "Pow" => self.power(),
            "BitShift" => {
                let function = match self.ctx.text("direction", "")? {
                    "LEFT" => Function::ShiftLeft,
                    _ => Function::ShiftRight,
                };
                let (x, y) = (self.x(0)?, self.x(1)?);
                only(self.two(function, &x, &y)?)
            }
            "Max" => self.folded(Function::Max),
            "Min" => self.folded(Function::Min),
            "Sum" => self.folded(Function::Add),
            "Mean" => {
                let count = self.node.inputs.len() as f64;
                let Some(sum) = self.folded_dense(Function::Add)? else { return Ok(None) };
                only(self.with(Function::Div, &sum, count)?)
            }
            "Clip" => self.clip(),
            "Where" => {
                let (condition, x, y) = (self.x(0)?, self.x(1)?, self.x(2)?);
                same_type(&x, &y)?;
                // Elements are moved as they are.
                only(self.kit().map_in(
                    Class::I64,
                    Function::Where,
                    &[&condition, &x, &y],
                    x.dtype,
                )?)
            }
            "Cast" | "CastLike" => {
                let to = match name {
                    "Cast" => self.ctx.dtype_attribute("to")?,
                    _ => Some(self.outline(1)?.0),
                };
                let to = to.ok_or_else(|| Failure::why("it names no type"))?;
                let x = self.x(0)?;
                only(self.kit().cast(&x, to)?)
            }
            "BitCast" => {
                let to = self.ctx.dtype_attribute("to")?;
                let x = self.x(0)?;
                match to {
                    // The bits are moved as they are.
                    Some(to) if to.bits() == x.dtype.bits() => {
                        only(self.kit().map_in(Class::I64, Function::Copy, &[&x], to)?)
                    }
                    _ => Err(Failure::why("types of different widths have no kernel")),
                }
            }
            "Dropout" => self.dropout(),
            _ => Ok(None),
        }
    }

    fn unary(&mut self, function: Function) -> Result<Option<Vec<Made>>, Failure> {
        let x = self.x(0)?;
        match function {
            Function::Copy => only(x),
            Function::IsNaN => only(self.kit().map(function, &[&x], DType::Bool)?),
            Function::IsInf => {
                let alpha = f64::from(u8::from(self.ctx.flag("detect_positive", true)?));
                let beta = f64::from(u8::from(self.ctx.flag("detect_negative", true)?));
                only(self.kit().map(Formula { function, alpha, beta }, &[&x], DType::Bool)?)
            }
            Function::Gelu if self.ctx.text("approximate", "none")? == "tanh" => {
                only(self.one(Function::GeluTanh, &x)?)
            }
            _ => only(self.one(function, &x)?),
        }
    }

    fn folded_dense(&mut self, function: Function) -> Result<Option<Dense>, Failure> {
        let mut result = self.x(0)?;
        for at in 1..self.node.inputs.len() {
            let next = self.x(at)?;
            result = self.two(function, &result, &next)?;
        }
        Ok(Some(result))
    }

    fn folded(&mut self, function: Function) -> Result<Option<Vec<Made>>, Failure> {
        Ok(self.folded_dense(function)?.map(|dense| vec![dense.into()]))
    }

    fn modulo(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let function = if self.ctx.flag("fmod", false)? { Function::Fmod } else { Function::Mod };
        let (x, y) = (self.x(0)?, self.x(1)?);
        only(self.two(function, &x, &y)?)
    }

    fn power(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        // Squares are exact where a power is near.
        if let Ok(exponent) = self.host(1)
            && exponent.len() == 1
            && exponent.rank() <= self.outline(0)?.1.len()
            && numbers(&exponent)?.first() == Some(&2.0)
        {
            let x = self.x(0)?;
            return only(self.two(Function::Mul, &x, &x)?);
        }
        let (x, y) = (self.x(0)?, self.x(1)?);
        let class = match (x.class(), y.class()) {
            (Class::I64, Class::I64) => Class::I64,
            (Class::F32, Class::F32) => Class::F32,
            _ => Class::F64,
        };
        only(self.kit().map_in(class, Function::Pow, &[&x, &y], x.dtype)?)
    }

    /// Limits are attributes up to opset 10 and inputs since.
    fn clip(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let mut x = self.x(0)?;
        for (name, at, function) in [("min", 1, Function::Max), ("max", 2, Function::Min)] {
            let limit = match self.node.attribute(name) {
                Some(_) => {
                    let limit = self.ctx.float(name, 0.0)?.into();
                    Some(self.kit().number(limit, x.dtype)?)
                }
                None => self.maybe(at)?,
            };
            if let Some(limit) = limit {
                x = self.two(function, &x, &limit.reshaped(&[])?)?;
            }
        }
        only(x)
    }

    /// Outside training everything stays.
    fn dropout(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let is_training = self.has(2) && self.host(2)?.elements::<bool>()?.first() == Some(&true);
        if is_training && (!self.has(1) || numbers(&self.host(1)?)?.first() != Some(&0.0)) {
            return Err(Failure::why("random numbers are drawn on the CPU only"));
        }
        let x = self.x(0)?;
        let mut made = vec![x.clone().into()];
        if self.wants(1) {
            let all = self.kit().upload(&Tensor::scalar(true))?;
            made.push(self.kit().expanded(&all, &x.shape)?.into());
        }
        Ok(Some(made))
    }

    /// An operand in the type that steps of an operation have.
    pub fn wide(&mut self, at: usize) -> Result<Dense, Failure> {
        let id = self.required(at)?;
        let is_half = matches!(self.outline(at)?.0, DType::F16 | DType::BF16);
        if is_half && !self.is_lying() {
            // A constant is made so once.
            return self.value_in_f32(id);
        }
        let x = self.x(at)?;
        let to = between(x.dtype);
        self.kit().cast(&x, to)
    }
}
