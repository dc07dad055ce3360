//! Elements between memory and registers, as wide as they lie.

use super::emit::{Emitter, Register, Slot, Type, op};
use super::{Kind, Places, Scalar};

/// Bytes of the widest access.
const ACCESS_BYTES: usize = 16;

impl Places {
    /// Whether `count` elements from a multiple of `count` on lie together, at an address
    /// that is a multiple of the access, if the first one's offset is.
    fn lie_together(&self, count: usize, size: usize, offset: i64) -> bool {
        let access = (count * size).min(ACCESS_BYTES) as i64;
        let is_even = |elements: i64| elements * size as i64 % access == 0;
        match self.dims.split_last() {
            Some((&(len, 1), outer)) => {
                let is_whole = outer.is_empty() || len.is_multiple_of(count);
                is_whole && is_even(offset) && outer.iter().all(|dim| is_even(dim.1))
            }
            _ => false,
        }
    }
}

impl Emitter<'_> {
    /// Reads the elements of a step from `index` on, a multiple of their number, into the
    /// slots; where the guard is false they are zero.
    pub fn read(&mut self, step: usize, index: Register, slots: &[Slot], guard: Option<Register>) {
        let expression = self.expression;
        let (scalar, count) = (expression.steps[step].scalar, slots.len());
        let Kind::Read { input, places, .. } = &expression.steps[step].kind else {
            unreachable!("only inputs are read")
        };
        let size = 1 << scalar.shift();
        // Whether an access is aligned depends on where the input begins; the text does on
        // nothing else of that.
        let whole = places.offset;
        let places = &Places {
            offset: places.offset - (self.begins[*input] >> scalar.shift()) as i64,
            dims: places.dims.clone(),
        };
        let input = self.inputs[*input];
        let inner = places.dims.last().copied().unwrap_or((1, 0));
        let is_same = places.dims.iter().all(|dim| dim.1 == 0)
            || inner.1 == 0 && inner.0.is_multiple_of(count);
        let values = if count == 1 || is_same {
            let place = self.place(places, index, 0);
            let address = self.address(input, place, size);
            vec![self.load(scalar, address, 0, guard); count]
        } else if places.lie_together(count, size, whole) && (count * size).is_multiple_of(4) {
            let place = self.place(places, index, 0);
            let address = self.address(input, place, size);
            self.load_together(scalar, address, count, guard)
        } else if inner.0.is_multiple_of(count) {
            let place = self.place(places, index, 0);
            let address = self.address(input, place, size);
            let step = inner.1 * size as i64;
            (0..count).map(|at| self.load(scalar, address, at as i64 * step, guard)).collect()
        } else {
            let one = |at: usize, emitter: &mut Self| {
                let place = emitter.place(places, index, at);
                let address = emitter.address(input, place, size);
                emitter.load(scalar, address, 0, guard)
            };
            (0..count).map(|at| one(at, self)).collect()
        };
        for (slot, value) in slots.iter().zip(values) {
            self.know(step, *slot, value);
        }
    }

    /// The place of the element `index + more`, in 64 bits.
    fn place(&mut self, places: &Places, index: Register, more: usize) -> Register {
        let mut place = self.word();
        op!(self, "mov.b64 {place}, {};", places.offset);
        let mut rest = index;
        if more > 0 {
            rest = self.half_word();
            op!(self, "add.u32 {rest}, {index}, {more};");
        }
        for (axis, &(len, stride)) in places.dims.iter().enumerate().rev() {
            let mut coordinate = rest;
            if axis > 0 {
                coordinate = self.half_word();
                let next = self.half_word();
                op!(self, "rem.u32 {coordinate}, {rest}, {len};");
                op!(self, "div.u32 {next}, {rest}, {len};");
                rest = next;
            }
            if stride != 0 {
                let next = self.word();
                op!(self, "mad.wide.s32 {next}, {coordinate}, {stride}, {place};");
                place = next;
            }
        }
        place
    }

    fn address(&mut self, base: Register, place: Register, size: usize) -> Register {
        let address = self.word();
        op!(self, "mad.lo.s64 {address}, {place}, {size}, {base};");
        address
    }

    /// An element at some bytes behind an address.
    fn load(
        &mut self,
        scalar: Scalar,
        address: Register,
        bytes: i64,
        guard: Option<Register>,
    ) -> Register {
        let when = guard.map(|guard| format!("@{guard} ")).unwrap_or_default();
        if scalar.shift() == 3 {
            let raw = self.word();
            if guard.is_some() {
                op!(self, "mov.b64 {raw}, 0;");
            }
            op!(self, "{when}ld.global.nc.b64 {raw}, [{address}+{bytes}];");
            return self.wide(scalar, raw);
        }
        let raw = self.half_word();
        if guard.is_some() {
            op!(self, "mov.b32 {raw}, 0;");
        }
        let ty = ["u8", "u16", "b32"][scalar.shift() as usize];
        op!(self, "{when}ld.global.nc.{ty} {raw}, [{address}+{bytes}];");
        self.narrow(scalar, raw)
    }

    /// Elements that lie together.
    fn load_together(
        &mut self,
        scalar: Scalar,
        address: Register,
        count: usize,
        guard: Option<Register>,
    ) -> Vec<Register> {
        let when = guard.map(|guard| format!("@{guard} ")).unwrap_or_default();
        let size = 1 << scalar.shift();
        let is_wide = size == 8;
        let (unit, ty) = if is_wide { (8, "b64") } else { (4, "b32") };
        let mut raws = Vec::new();
        let mut at = 0;
        while at < count * size {
            let units = ((count * size - at).min(ACCESS_BYTES)) / unit;
            let these: Vec<_> =
                (0..units).map(|_| if is_wide { self.word() } else { self.half_word() }).collect();
            if guard.is_some() {
                these.iter().for_each(|raw| op!(self, "mov.{ty} {raw}, 0;"));
            }
            let (vector, list) = list(&these);
            op!(self, "{when}ld.global.nc{vector}.{ty} {list}, [{address}+{at}];");
            raws.extend(these);
            at += units * unit;
        }
        let per_unit = unit / size;
        let element = |at: usize, emitter: &mut Self| {
            let raw = raws[at / per_unit];
            if is_wide {
                return emitter.wide(scalar, raw);
            }
            if per_unit == 1 {
                return emitter.narrow(scalar, raw);
            }
            let (part, bits) = (emitter.half_word(), 8 * size);
            op!(emitter, "bfe.u32 {part}, {raw}, {}, {bits};", at % per_unit * bits);
            emitter.narrow(scalar, part)
        };
        (0..count).map(|at| element(at, self)).collect()
    }

    /// A value of 64 bits of memory.
    fn wide(&mut self, scalar: Scalar, raw: Register) -> Register {
        if scalar != Scalar::F64 {
            return raw;
        }
        let value = self.register(Type::F64);
        op!(self, "mov.b64 {value}, {raw};");
        value
    }

    /// A value of up to 32 bits of memory, with zeros above.
    pub fn narrow(&mut self, scalar: Scalar, raw: Register) -> Register {
        let value = self.register(Type::of(scalar));
        match scalar {
            Scalar::F32 => op!(self, "mov.b32 {value}, {raw};"),
            Scalar::F16 => {
                let short = self.short();
                op!(self, "cvt.u16.u32 {short}, {raw};");
                op!(self, "cvt.f32.f16 {value}, {short};");
            }
            Scalar::BF16 => {
                let moved = self.half_word();
                op!(self, "shl.b32 {moved}, {raw}, 16;");
                op!(self, "mov.b32 {value}, {moved};");
            }
            Scalar::I32 => op!(self, "cvt.s64.s32 {value}, {raw};"),
            Scalar::I8 | Scalar::I16 => {
                let moved = self.half_word();
                op!(self, "bfe.s32 {moved}, {raw}, 0, {};", 8 << scalar.shift());
                op!(self, "cvt.s64.s32 {value}, {moved};");
            }
            _ => op!(self, "cvt.u64.u32 {value}, {raw};"),
        }
        value
    }

    /// The lowest bits of 32 that a value has in memory, with zeros above.
    pub fn narrowed(&mut self, scalar: Scalar, value: Register) -> Register {
        let raw = self.half_word();
        match scalar {
            Scalar::F32 => op!(self, "mov.b32 {raw}, {value};"),
            Scalar::F16 => {
                let short = self.short();
                op!(self, "cvt.rn.f16.f32 {short}, {value};");
                op!(self, "cvt.u32.u16 {raw}, {short};");
            }
            Scalar::BF16 => {
                let bits = self.half_word();
                op!(self, "mov.b32 {bits}, {value};");
                op!(self, "shr.u32 {raw}, {bits}, 16;");
            }
            _ => {
                op!(self, "cvt.u32.u64 {raw}, {value};");
                if scalar.shift() < 2 {
                    op!(self, "and.b32 {raw}, {raw}, {};", (1u32 << (8 << scalar.shift())) - 1);
                }
            }
        }
        raw
    }

    /// Writes values to an output from the element `index` on, a multiple of their number.
    pub fn store(
        &mut self,
        output: usize,
        index: Register,
        values: &[Register],
        guard: Option<Register>,
    ) {
        let when = guard.map(|guard| format!("@{guard} ")).unwrap_or_default();
        let scalar = self.expression.steps[self.expression.outputs[output].step].scalar;
        let size = 1usize << scalar.shift();
        let (wide, base) = (self.word(), self.outputs[output]);
        op!(self, "cvt.u64.u32 {wide}, {index};");
        let address = self.address(base, wide, size);
        if size == 8 {
            let raws: Vec<_> = values
                .iter()
                .map(|value| {
                    let raw = self.word();
                    op!(self, "mov.b64 {raw}, {value};");
                    raw
                })
                .collect();
            for (at, these) in raws.chunks(2).enumerate() {
                let (vector, list) = list(these);
                op!(self, "{when}st.global{vector}.b64 [{address}+{}], {list};", at * 16);
            }
            return;
        }
        let raws: Vec<_> = values.iter().map(|&value| self.narrowed(scalar, value)).collect();
        let per_unit = 4 / size;
        if !raws.len().is_multiple_of(per_unit) {
            let ty = ["u8", "u16", "b32"][scalar.shift() as usize];
            for (at, raw) in raws.iter().enumerate() {
                op!(self, "{when}st.global.{ty} [{address}+{}], {raw};", at * size);
            }
            return;
        }
        let units: Vec<_> = raws.chunks(per_unit).map(|parts| self.packed(parts, size)).collect();
        for (at, these) in units.chunks(4).enumerate() {
            let (vector, list) = list(these);
            op!(self, "{when}st.global{vector}.b32 [{address}+{}], {list};", at * 16);
        }
    }

    /// Parts of a word, the first one lowest.
    fn packed(&mut self, parts: &[Register], size: usize) -> Register {
        let mut all = parts[0];
        for (at, part) in parts.iter().enumerate().skip(1) {
            let (moved, next) = (self.half_word(), self.half_word());
            op!(self, "shl.b32 {moved}, {part}, {};", at * size * 8);
            op!(self, "or.b32 {next}, {all}, {moved};");
            all = next;
        }
        all
    }
}

/// Registers as an operand of an access, and its suffix.
fn list(registers: &[Register]) -> (String, String) {
    let names: Vec<_> = registers.iter().map(ToString::to_string).collect();
    match names.len() {
        1 => (String::new(), names[0].clone()),
        count => (format!(".v{count}"), format!("{{{}}}", names.join(", "))),
    }
}
