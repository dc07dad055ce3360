//! Operations on values in registers: what `kernels/pointwise` does, instruction by
//! instruction, so that both give the same bits.

use super::emit::{Emitter, Register, Type, op};
use super::{Class, Function, Kind, Scalar};
use crate::Result;

/// See [`super::Expression::has_function`].
pub fn has_function(class: Class, function: Function, from: &[Scalar], to: Scalar) -> bool {
    match (class, function) {
        // Elements as they are.
        (Class::I64, Function::Copy) if from[0].is_float() || to.is_float() => from[0] == to,
        (Class::I64, Function::Where) if to.is_float() => {
            !from[0].is_float() && from[1..].iter().all(|&scalar| scalar == to)
        }
        (Class::I64, function) => {
            let is_integer = from.iter().all(|scalar| !scalar.is_float()) && !to.is_float();
            is_integer && has_integers(function)
        }
        (Class::F32 | Class::F64, function) => !matches!(
            function,
            Function::BitNot
                | Function::ShiftLeft
                | Function::ShiftRight
                | Function::And
                | Function::Or
                | Function::Xor
                | Function::Mod
                | Function::Fmod
        ),
    }
}

fn has_integers(function: Function) -> bool {
    matches!(
        function,
        Function::Copy
            | Function::Abs
            | Function::Neg
            | Function::Sign
            | Function::Relu
            | Function::Not
            | Function::BitNot
            | Function::Add
            | Function::Sub
            | Function::Mul
            | Function::Div
            | Function::Mod
            | Function::Fmod
            | Function::PRelu
            | Function::ShiftLeft
            | Function::ShiftRight
            | Function::And
            | Function::Or
            | Function::Xor
            | Function::Equal
            | Function::Less
            | Function::Greater
            | Function::LessOrEqual
            | Function::GreaterOrEqual
            | Function::Max
            | Function::Min
            | Function::Where
    )
}

/// The type of a class's registers.
fn type_of(class: Class) -> Type {
    match class {
        Class::F32 => Type::F32,
        Class::F64 => Type::F64,
        Class::I64 => Type::I64,
    }
}

impl Emitter<'_> {
    /// The value of a function step, of its operands' values.
    pub fn operate(&mut self, step: usize, operands: &[Register]) -> Result<Register> {
        let expression = self.expression;
        let own = &expression.steps[step];
        let Kind::Apply { class, function, alpha, beta, is_unsigned, operands: from } = &own.kind
        else {
            unreachable!("it is a function")
        };
        let ty = type_of(*class);
        let scalars: Vec<_> = from.iter().map(|&at| expression.steps[at].scalar).collect();
        let is_moved = *class == Class::I64 && own.scalar.is_float();
        if is_moved {
            return Ok(match function {
                Function::Copy => operands[0],
                _ => {
                    let is = self.is_not_zero(Type::I64, operands[0]);
                    self.select(Type::of(own.scalar), is, operands[1], operands[2])
                }
            });
        }
        let mut values = Vec::new();
        for (&operand, &scalar) in operands.iter().zip(&scalars) {
            values.push(self.loaded(ty, operand, scalar));
        }
        let value = match ty {
            Type::I64 => self.operate_integers(*function, &values, *is_unsigned, own.scalar),
            _ => Floats { emitter: self, ty, alpha: *alpha, beta: *beta }
                .operate(*function, &values)?,
        };
        Ok(self.kept(ty, value, own.scalar))
    }

    /// A value as a class computes with it.
    fn loaded(&mut self, ty: Type, value: Register, scalar: Scalar) -> Register {
        let integer = if scalar == Scalar::U64 { "u64" } else { "s64" };
        match (Type::of(scalar), ty) {
            (Type::F32, Type::F64) => self.apply(ty, "cvt.f64.f32", &[value]),
            (Type::F64, Type::F32) => self.apply(ty, "cvt.rn.f32.f64", &[value]),
            (Type::I64, Type::F32 | Type::F64) => {
                self.apply(ty, &format!("cvt.rn.{}.{integer}", ty.suffix()), &[value])
            }
            _ => value,
        }
    }

    /// A class's result as a type has it: rounded, or cut to its bits.
    pub fn kept(&mut self, ty: Type, value: Register, scalar: Scalar) -> Register {
        match (ty, scalar) {
            (_, Scalar::Bool) => {
                let is = self.is_not_zero(ty, value);
                let (one, zero) = (self.number(Type::I64, 1.0), self.number(Type::I64, 0.0));
                self.select(Type::I64, is, one, zero)
            }
            (Type::F32, Scalar::F32) | (Type::F64, Scalar::F64) => value,
            (Type::F32, Scalar::F64) => self.apply(Type::F64, "cvt.f64.f32", &[value]),
            (Type::F64, Scalar::F32 | Scalar::F16 | Scalar::BF16) => {
                let single = self.apply(Type::F32, "cvt.rn.f32.f64", &[value]);
                self.kept(Type::F32, single, scalar)
            }
            (Type::F32, Scalar::F16) => {
                let (short, result) = (self.short(), self.register(Type::F32));
                op!(self, "cvt.rn.f16.f32 {short}, {value};");
                op!(self, "cvt.f32.f16 {result}, {short};");
                result
            }
            (Type::F32, Scalar::BF16) => {
                let (short, bits) = (self.short(), self.half_word());
                op!(self, "cvt.rn.bf16.f32 {short}, {value};");
                op!(self, "cvt.u32.u16 {bits}, {short};");
                self.narrow(scalar, bits)
            }
            (Type::F32 | Type::F64, _) => {
                // Rust's casts: zero for NaN, else the nearest number that there is.
                let name = if scalar == Scalar::U64 { "u64" } else { "s64" };
                let suffix = ty.suffix();
                let whole = self.apply(Type::I64, &format!("cvt.rzi.{name}.{suffix}"), &[value]);
                let is_nan = self.test(&format!("nan.{suffix}"), value, value);
                let zero = self.number(Type::I64, 0.0);
                let whole = self.select(Type::I64, is_nan, zero, whole);
                self.cut(whole, scalar)
            }
            (Type::I64, _) => self.cut(value, scalar),
        }
    }

    /// The lowest bits of an integer, with the sign or zeros above.
    fn cut(&mut self, value: Register, scalar: Scalar) -> Register {
        let bits = 8 << scalar.shift();
        if bits == 64 {
            return value;
        }
        let is_signed = matches!(scalar, Scalar::I8 | Scalar::I16 | Scalar::I32);
        let (name, result) = (if is_signed { "s64" } else { "u64" }, self.word());
        op!(self, "bfe.{name} {result}, {value}, 0, {bits};");
        result
    }

    fn is_not_zero(&mut self, ty: Type, value: Register) -> Register {
        let zero = self.number(ty, 0.0);
        self.test(if ty == Type::I64 { "ne.s64" } else { compare(ty, "neu") }, value, zero)
    }

    /// The larger or smaller of two numbers; NaN if one is, the first if they are equal.
    pub fn extreme(&mut self, ty: Type, is_max: bool, x: Register, y: Register) -> Register {
        let is_better = self.test(compare(ty, if is_max { "gt" } else { "lt" }), y, x);
        let is_nan = self.test(compare(ty, "nan"), y, y);
        let is_number = self.test(compare(ty, "num"), x, x);
        op!(self, "and.pred {is_nan}, {is_nan}, {is_number};");
        op!(self, "or.pred {is_better}, {is_better}, {is_nan};");
        self.select(ty, is_better, y, x)
    }

    fn operate_integers(
        &mut self,
        function: Function,
        operands: &[Register],
        is_unsigned: bool,
        scalar: Scalar,
    ) -> Register {
        let ty = Type::I64;
        let x = operands[0];
        let y = operands.get(1).copied().unwrap_or(x);
        let sign = if is_unsigned { "u64" } else { "s64" };
        let zero = self.number(ty, 0.0);
        let one = self.number(ty, 1.0);
        match function {
            Function::Copy => x,
            Function::Abs | Function::Relu if is_unsigned => x,
            Function::Abs => self.apply(ty, "abs.s64", &[x]),
            Function::Relu => self.apply(ty, "max.s64", &[x, zero]),
            Function::Neg => self.apply(ty, "neg.s64", &[x]),
            Function::Sign => {
                let is_some = self.test("ne.s64", x, zero);
                let other = self.select(ty, is_some, one, zero);
                if is_unsigned {
                    return other;
                }
                let (is_less, below) = (self.test("lt.s64", x, zero), self.number(ty, -1.0));
                self.select(ty, is_less, below, other)
            }
            Function::Not => {
                let is = self.test("eq.s64", x, zero);
                self.select(ty, is, one, zero)
            }
            Function::BitNot => self.apply(ty, "not.b64", &[x]),
            Function::Add => self.apply(ty, "add.s64", &[x, y]),
            Function::Sub => self.apply(ty, "sub.s64", &[x, y]),
            Function::Mul => self.apply(ty, "mul.lo.s64", &[x, y]),
            Function::Div | Function::Mod | Function::Fmod => {
                self.divide(function, [x, y], is_unsigned)
            }
            Function::PRelu if is_unsigned => x,
            Function::PRelu => {
                let product = self.apply(ty, "mul.lo.s64", &[x, y]);
                let is_less = self.test("lt.s64", x, zero);
                self.select(ty, is_less, product, x)
            }
            Function::ShiftLeft | Function::ShiftRight => {
                let count = self.half_word();
                op!(self, "cvt.u32.u64 {count}, {y};");
                let bits = self.number(ty, f64::from(8u32 << scalar.shift()));
                let name = if function == Function::ShiftLeft { "shl.b64" } else { "shr.u64" };
                let shifted = self.apply(ty, name, &[x, count]);
                let is_out = self.test("ge.u64", y, bits);
                self.select(ty, is_out, zero, shifted)
            }
            Function::And => self.apply(ty, "and.b64", &[x, y]),
            Function::Or => self.apply(ty, "or.b64", &[x, y]),
            Function::Xor => self.apply(ty, "xor.b64", &[x, y]),
            Function::Max => self.apply(ty, &format!("max.{sign}"), &[x, y]),
            Function::Min => self.apply(ty, &format!("min.{sign}"), &[x, y]),
            Function::Where => {
                let is = self.test("ne.s64", x, zero);
                self.select(ty, is, y, operands[2])
            }
            _ => {
                let name = match function {
                    Function::Equal => "eq",
                    Function::Less => "lt",
                    Function::Greater => "gt",
                    Function::LessOrEqual => "le",
                    _ => "ge",
                };
                let sign = if name == "eq" { "s64" } else { sign };
                let is = self.test(&format!("{name}.{sign}"), x, y);
                self.select(ty, is, one, zero)
            }
        }
    }

    /// Quotients and remainders; zero where the divisor is.
    fn divide(&mut self, function: Function, [x, y]: [Register; 2], is_unsigned: bool) -> Register {
        let ty = Type::I64;
        let (zero, one) = (self.number(ty, 0.0), self.number(ty, 1.0));
        let is_zero = self.test("eq.s64", y, zero);
        let mut divisor = self.select(ty, is_zero, one, y);
        let (name, sign) = (if function == Function::Div { "div" } else { "rem" }, is_unsigned);
        if sign {
            let result = self.apply(ty, &format!("{name}.u64"), &[x, divisor]);
            return self.select(ty, is_zero, zero, result);
        }
        // The smallest number has no quotient by -1 that fits: it is its own.
        let below = self.number(ty, -1.0);
        let is_below = self.test("eq.s64", y, below);
        divisor = self.select(ty, is_below, one, divisor);
        let result = self.apply(ty, &format!("{name}.s64"), &[x, divisor]);
        let other = if function == Function::Div { self.apply(ty, "neg.s64", &[x]) } else { zero };
        let mut result = self.select(ty, is_below, other, result);
        if function == Function::Mod {
            let moved = self.apply(ty, "add.s64", &[result, y]);
            let is_some = self.test("ne.s64", result, zero);
            let (low, low_y) = (self.test("lt.s64", result, zero), self.test("lt.s64", y, zero));
            op!(self, "xor.pred {low}, {low}, {low_y};");
            op!(self, "and.pred {is_some}, {is_some}, {low};");
            result = self.select(ty, is_some, moved, result);
        }
        self.select(ty, is_zero, zero, result)
    }
}

/// A comparison's name with its type.
fn compare(ty: Type, name: &str) -> &'static str {
    match (ty, name) {
        (Type::F32, "gt") => "gt.f32",
        (Type::F32, "lt") => "lt.f32",
        (Type::F32, "ge") => "ge.f32",
        (Type::F32, "le") => "le.f32",
        (Type::F32, "eq") => "eq.f32",
        (Type::F32, "neu") => "neu.f32",
        (Type::F32, "nan") => "nan.f32",
        (Type::F32, _) => "num.f32",
        (_, "gt") => "gt.f64",
        (_, "lt") => "lt.f64",
        (_, "ge") => "ge.f64",
        (_, "le") => "le.f64",
        (_, "eq") => "eq.f64",
        (_, "neu") => "neu.f64",
        (_, "nan") => "nan.f64",
        _ => "num.f64",
    }
}

/// Operations on floats of one type.
struct Floats<'l, 'e> {
    emitter: &'l mut Emitter<'e>,
    ty: Type,
    alpha: f64,
    beta: f64,
}

impl Floats<'_, '_> {
    fn number(&mut self, value: f64) -> Register {
        self.emitter.number(self.ty, value)
    }

    fn one(&mut self, name: &str, x: Register) -> Register {
        self.emitter.apply(self.ty, &format!("{name}.{}", self.ty.suffix()), &[x])
    }

    fn two(&mut self, name: &str, x: Register, y: Register) -> Register {
        self.emitter.apply(self.ty, &format!("{name}.{}", self.ty.suffix()), &[x, y])
    }

    fn add(&mut self, x: Register, y: Register) -> Register {
        self.two("add.rn", x, y)
    }

    fn times(&mut self, x: Register, y: Register) -> Register {
        self.two("mul.rn", x, y)
    }

    fn is(&mut self, name: &str, x: Register, y: Register) -> Register {
        self.emitter.test(compare(self.ty, name), x, y)
    }

    fn either(&mut self, is: Register, then: Register, other: Register) -> Register {
        self.emitter.select(self.ty, is, then, other)
    }

    fn truth(&mut self, is: Register) -> Register {
        let (one, zero) = (self.number(1.0), self.number(0.0));
        self.either(is, one, zero)
    }

    fn call(&mut self, name: &str, x: Register) -> Result<Register> {
        self.emitter.mathematics(self.ty, name, &[x])
    }

    /// Rounded to a whole number in a way.
    fn whole(&mut self, way: &str, x: Register) -> Register {
        let suffix = self.ty.suffix();
        self.emitter.apply(self.ty, &format!("cvt.{way}.{suffix}.{suffix}"), &[x])
    }

    /// Between zero and one.
    fn clamped(&mut self, x: Register) -> Register {
        let (zero, one) = (self.number(0.0), self.number(1.0));
        let is_low = self.is("lt", x, zero);
        let x = self.either(is_low, zero, x);
        let is_high = self.is("gt", x, one);
        self.either(is_high, one, x)
    }

    fn sigmoid(&mut self, x: Register) -> Result<Register> {
        let (below, one) = (self.one("neg", x), self.number(1.0));
        let power = self.call("exp", below)?;
        let sum = self.add(power, one);
        Ok(self.two("div.rn", one, sum))
    }

    fn softplus(&mut self, x: Register) -> Result<Register> {
        let zero = self.number(0.0);
        let (high, size) = (self.two("max", x, zero), self.one("abs", x));
        let below = self.one("neg", size);
        let power = self.call("exp", below)?;
        let logarithm = self.call("ln_1p", power)?;
        Ok(self.add(high, logarithm))
    }

    /// `alpha * exp_m1(x)`.
    fn scaled_power(&mut self, x: Register) -> Result<Register> {
        let (alpha, power) = (self.number(self.alpha), self.call("exp_m1", x)?);
        Ok(self.times(alpha, power))
    }

    fn operate(&mut self, function: Function, operands: &[Register]) -> Result<Register> {
        let x = operands[0];
        let y = operands.get(1).copied().unwrap_or(x);
        let zero = self.number(0.0);
        let (alpha, beta) = (self.number(self.alpha), self.number(self.beta));
        Ok(match function {
            Function::Copy => x,
            Function::Abs => self.one("abs", x),
            Function::Neg => self.one("neg", x),
            Function::Sign => {
                let (is_low, below) = (self.is("lt", x, zero), self.number(-1.0));
                let above = self.number(1.0);
                let sign = self.either(is_low, below, above);
                let (is_zero, is_nan) = (self.is("eq", x, zero), self.is("nan", x, x));
                let sign = self.either(is_zero, x, sign);
                self.either(is_nan, x, sign)
            }
            Function::Relu => {
                let is_low = self.is("lt", x, zero);
                self.either(is_low, zero, x)
            }
            Function::Sqrt => self.one("sqrt.rn", x),
            Function::Exp => self.call("exp", x)?,
            Function::Log => self.call("ln", x)?,
            Function::Sin => self.call("sin", x)?,
            Function::Cos => self.call("cos", x)?,
            Function::Tan => self.call("tan", x)?,
            Function::Asin => self.call("asin", x)?,
            Function::Acos => self.call("acos", x)?,
            Function::Atan => self.call("atan", x)?,
            Function::Sinh => self.call("sinh", x)?,
            Function::Cosh => self.call("cosh", x)?,
            Function::Tanh => self.call("tanh", x)?,
            Function::Asinh => self.call("asinh", x)?,
            Function::Acosh => self.call("acosh", x)?,
            Function::Atanh => self.call("atanh", x)?,
            Function::Erf => self.call("erf", x)?,
            Function::Reciprocal => {
                let one = self.number(1.0);
                self.two("div.rn", one, x)
            }
            Function::Floor => self.whole("rmi", x),
            Function::Ceil => self.whole("rpi", x),
            Function::Round => self.whole("rni", x),
            Function::Sigmoid => self.sigmoid(x)?,
            Function::Softplus => self.softplus(x)?,
            Function::Softsign => {
                let (size, one) = (self.one("abs", x), self.number(1.0));
                let sum = self.add(size, one);
                self.two("div.rn", x, sum)
            }
            Function::HardSwish => {
                let (six, half) = (self.number(6.0), self.number(0.5));
                let part = self.two("div.rn", x, six);
                let moved = self.add(part, half);
                let gate = self.clamped(moved);
                self.times(x, gate)
            }
            Function::Mish => {
                let inner = self.softplus(x)?;
                let gate = self.call("tanh", inner)?;
                self.times(x, gate)
            }
            Function::Elu => {
                let (is_low, low) = (self.is("lt", x, zero), self.scaled_power(x)?);
                self.either(is_low, low, x)
            }
            Function::Celu => {
                let (high, part) = (self.two("max", x, zero), self.two("div.rn", x, alpha));
                let low = self.scaled_power(part)?;
                let low = self.two("min", low, zero);
                self.add(high, low)
            }
            Function::Selu => {
                let (is_high, low) = (self.is("gt", x, zero), self.scaled_power(x)?);
                let inner = self.either(is_high, x, low);
                self.times(beta, inner)
            }
            Function::LeakyRelu => {
                let (is_low, low) = (self.is("lt", x, zero), self.times(alpha, x));
                self.either(is_low, low, x)
            }
            Function::ThresholdedRelu => {
                let is_high = self.is("gt", x, alpha);
                self.either(is_high, x, zero)
            }
            Function::HardSigmoid => {
                let scaled = self.times(alpha, x);
                let moved = self.add(scaled, beta);
                self.clamped(moved)
            }
            Function::Shrink => {
                let low = self.one("neg", beta);
                let (is_low, is_high) = (self.is("lt", x, low), self.is("gt", x, beta));
                let (raised, lowered) = (self.add(x, alpha), self.two("sub.rn", x, alpha));
                let other = self.either(is_high, lowered, zero);
                self.either(is_low, raised, other)
            }
            Function::Swish => {
                let inner = self.times(alpha, x);
                let gate = self.sigmoid(inner)?;
                self.times(x, gate)
            }
            Function::IsNaN => {
                let is = self.is("nan", x, x);
                self.truth(is)
            }
            Function::IsInf => {
                let (high, low) = (self.number(f64::INFINITY), self.number(f64::NEG_INFINITY));
                let (is_high, is_low) = (self.is("eq", x, high), self.is("eq", x, low));
                let one = self.number(1.0);
                let (if_high, if_low) = (
                    if self.alpha == 0.0 { zero } else { one },
                    if self.beta == 0.0 { zero } else { one },
                );
                let low = self.either(is_low, if_low, zero);
                self.either(is_high, if_high, low)
            }
            Function::Not => {
                let is = self.is("eq", x, zero);
                self.truth(is)
            }
            Function::Affine => {
                let scaled = self.times(alpha, x);
                self.add(scaled, beta)
            }
            Function::GeluTanh => {
                let factor = core::f64::consts::FRAC_2_SQRT_PI * core::f64::consts::FRAC_1_SQRT_2;
                let (factor, cubic) = (self.number(factor), self.number(0.044_715));
                let cube = self.times(cubic, x);
                let cube = self.times(cube, x);
                let cube = self.times(cube, x);
                let sum = self.add(x, cube);
                let inner = self.times(factor, sum);
                let bounded = self.call("tanh", inner)?;
                let (half, one) = (self.number(0.5), self.number(1.0));
                let (half, sum) = (self.times(half, x), self.add(one, bounded));
                self.times(half, sum)
            }
            Function::Gelu => {
                let root = self.number(core::f64::consts::FRAC_1_SQRT_2);
                let inner = self.times(x, root);
                let bounded = self.call("erf", inner)?;
                let (half, one) = (self.number(0.5), self.number(1.0));
                let (half, gate) = (self.times(half, x), self.add(one, bounded));
                let (is_shut, shut) = (self.is("eq", gate, zero), self.number(-0.0));
                let open = self.times(half, gate);
                self.either(is_shut, shut, open)
            }
            Function::Add => self.add(x, y),
            Function::Sub => self.two("sub.rn", x, y),
            Function::Mul => self.times(x, y),
            Function::Div => self.two("div.rn", x, y),
            Function::Pow => self.emitter.mathematics(self.ty, "powf", &[x, y])?,
            Function::PRelu => {
                let (is_low, low) = (self.is("lt", x, zero), self.times(y, x));
                self.either(is_low, low, x)
            }
            Function::Equal => {
                let is = self.is("eq", x, y);
                self.truth(is)
            }
            Function::Less => {
                let is = self.is("lt", x, y);
                self.truth(is)
            }
            Function::Greater => {
                let is = self.is("gt", x, y);
                self.truth(is)
            }
            Function::LessOrEqual => {
                let is = self.is("le", x, y);
                self.truth(is)
            }
            Function::GreaterOrEqual => {
                let is = self.is("ge", x, y);
                self.truth(is)
            }
            Function::Max => self.emitter.extreme(self.ty, true, x, y),
            Function::Min => self.emitter.extreme(self.ty, false, x, y),
            Function::Where => {
                let is = self.is("neu", x, zero);
                self.either(is, y, operands[2])
            }
            Function::Mod
            | Function::Fmod
            | Function::BitNot
            | Function::ShiftLeft
            | Function::ShiftRight
            | Function::And
            | Function::Or
            | Function::Xor => unreachable!("`has_function` has refused these"),
        })
    }
}
