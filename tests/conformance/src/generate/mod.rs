//! Random Rust programs from a seed: the answers of a program must be the same on
//! every device, whatever it computes.
//!
//! Programs use integers of all widths, floats, bools, arrays, structs, enums with
//! payloads, functions, branches, bounded loops and matches. They never panic and
//! never use what Rust leaves open: integer arithmetic wraps, indices are masked,
//! floats are compared with `<` instead of `min`, and bits of a NaN are not looked
//! at. The same seed gives the same text. The build script includes this module.

mod types;

use std::fmt::Write as _;

use types::{Place, TYPES, Ty, cast, converted, to_word};

/// The program of a seed, as a module in the suite's format.
#[must_use]
pub fn program(seed: u64) -> String {
    let mut generator = Generator {
        random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed),
        text: String::new(),
        indent: 0,
        places: Vec::new(),
        arrays: Vec::new(),
        functions: Vec::new(),
        names: 0,
        loops: 0,
    };
    generator.module(seed);
    generator.text
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}

/// A function that later code may call.
#[derive(Clone)]
struct Function {
    name: String,
    parameters: Vec<Ty>,
    result: Ty,
}

/// Elements in each generated array; indices are masked to it.
const ARRAY_LEN: usize = 8;

struct Generator {
    random: Random,
    text: String,
    indent: usize,
    places: Vec<Place>,
    arrays: Vec<(String, Ty)>,
    functions: Vec<Function>,
    names: u32,
    loops: u32,
}

impl Generator {
    fn module(&mut self, seed: u64) {
        self.line(&format!("//! Random program of seed {seed}."));
        self.line("//! run: threads = 64");
        self.line("");
        let fields: Vec<Ty> = (0..3).map(|_| self.random.pick(TYPES)).collect();
        self.line("#[derive(Clone, Copy)]");
        self.line(&format!(
            "struct S {{ a: {}, b: {}, c: ({}, u32) }}",
            fields[0], fields[1], fields[2]
        ));
        let (first, second) = (self.random.pick(TYPES), self.random.pick(TYPES));
        self.line("#[derive(Clone, Copy)]");
        self.line(&format!("enum E {{ A({first}), B {{ x: {second}, y: u8 }}, C }}"));
        for _ in 0..1 + self.random.below(3) {
            self.function();
        }
        self.line("pub fn program(thread: u32) -> [u64; 4] {");
        self.indent += 1;
        self.places =
            vec![Place { text: "thread".into(), ty: Ty::Unsigned(32), is_mutable: false }];
        self.line("let mut h = [0u64; 4];");
        self.array();
        self.structure(&fields);
        self.enumeration(first, second);
        for _ in 0..2 {
            self.declare();
        }
        let statements = 6 + self.random.below(8);
        self.statements(statements, 0);
        self.summary();
        self.line("h");
        self.indent -= 1;
        self.line("}");
    }

    fn function(&mut self) {
        let parameters: Vec<Ty> =
            (0..1 + self.random.below(3)).map(|_| self.random.pick(TYPES)).collect();
        let result = self.random.pick(TYPES);
        let name = format!("f{}", self.functions.len());
        let attribute = self.random.pick(&["", "#[inline(never)] ", "#[inline] "]);
        let list: Vec<String> =
            parameters.iter().enumerate().map(|(i, ty)| format!("mut p{i}: {ty}")).collect();
        self.line(&format!("{attribute}fn {name}({}) -> {result} {{", list.join(", ")));
        self.indent += 1;
        self.places = (parameters.iter().enumerate())
            .map(|(i, &ty)| Place { text: format!("p{i}"), ty, is_mutable: true })
            .collect();
        self.arrays.clear();
        let statements = 1 + self.random.below(4);
        self.statements(statements, 1);
        let value = self.expression(result, 3);
        self.line(&value);
        self.indent -= 1;
        self.line("}");
        self.functions.push(Function { name, parameters, result });
    }

    /// Declares an array whose elements depend on the thread.
    fn array(&mut self) {
        let (name, ty) = (self.name(), self.random.pick(TYPES));
        let value = self.expression(ty, 2);
        self.line(&format!("let mut {name}: [{ty}; {ARRAY_LEN}] = [{value}; {ARRAY_LEN}];"));
        self.arrays.push((name, ty));
    }

    fn structure(&mut self, fields: &[Ty]) {
        let name = self.name();
        let (a, b) = (self.expression(fields[0], 2), self.expression(fields[1], 2));
        let c = self.expression(fields[2], 2);
        self.line(&format!("let mut {name} = S {{ a: {a}, b: {b}, c: ({c}, thread) }};"));
        for (field, ty) in [("a", fields[0]), ("b", fields[1]), ("c.0", fields[2])] {
            self.places.push(Place { text: format!("{name}.{field}"), ty, is_mutable: true });
        }
    }

    /// Declares an enum chosen by the thread and two values matched out of it.
    fn enumeration(&mut self, first: Ty, second: Ty) {
        let (e, x, y) = (self.name(), self.name(), self.name());
        let choice = self.expression(Ty::Unsigned(32), 2);
        let (a, b) = (self.expression(first, 2), self.expression(second, 2));
        let (c, d) = (self.expression(second, 1), self.expression(Ty::Unsigned(8), 1));
        self.line(&format!("let {e} = match {choice} % 3 {{"));
        self.line(&format!("    0 => E::A({a}), 1 => E::B {{ x: {b}, y: {d} }}, _ => E::C,"));
        self.line("};");
        self.line(&format!(
            "let mut {x} = if let E::B {{ x, y: 1.. }} = {e} {{ x }} else {{ {c} }};"
        ));
        self.line(&format!(
            "let {y}: u32 = match {e} {{ E::A(_) => 1, E::B {{ y, .. }} => y as u32, E::C => 7 }};"
        ));
        self.places.push(Place { text: x, ty: second, is_mutable: true });
        self.places.push(Place { text: y, ty: Ty::Unsigned(32), is_mutable: false });
    }

    fn statements(&mut self, count: usize, depth: u32) {
        for _ in 0..count {
            match self.random.below(10) {
                0..3 => self.declare(),
                3..6 => self.assign(),
                6 => self.store(),
                7 if depth < 3 => self.branch(depth),
                8 if depth < 3 && self.loops < 2 => self.repeat(depth),
                9 if depth < 3 => self.switch(depth),
                _ => self.assign(),
            }
        }
    }

    fn declare(&mut self) {
        let (name, ty) = (self.name(), self.random.pick(TYPES));
        let value = self.expression(ty, 4);
        self.line(&format!("let mut {name}: {ty} = {value};"));
        self.places.push(Place { text: name, ty, is_mutable: true });
    }

    fn assign(&mut self) {
        let places: Vec<Place> =
            self.places.iter().filter(|place| place.is_mutable).cloned().collect();
        if places.is_empty() {
            return self.declare();
        }
        let place = &places[self.random.below(places.len())];
        let value = self.expression(place.ty, 4);
        self.line(&format!("{} = {value};", place.text));
    }

    fn store(&mut self) {
        if self.arrays.is_empty() {
            return self.assign();
        }
        let at = self.random.below(self.arrays.len());
        let (name, ty) = self.arrays[at].clone();
        let (index, value) = (self.index(), self.expression(ty, 3));
        self.line(&format!("{name}[{index}] = {value};"));
    }

    fn branch(&mut self, depth: u32) {
        let condition = self.expression(Ty::Bool, 3);
        self.line(&format!("if {condition} {{"));
        self.block(2, depth);
        if self.random.one_in(2) {
            self.line("} else {");
            self.block(2, depth);
        }
        self.line("}");
    }

    fn repeat(&mut self, depth: u32) {
        let name = self.name();
        let bound = match self.random.below(4) {
            0 => "3".to_owned(),
            1 => "5".to_owned(),
            _ => format!("({} % 6)", self.leaf(Ty::Unsigned(32))),
        };
        let header = match self.random.below(3) {
            0 => format!("for {name} in 0u32..{bound} {{"),
            1 => format!("for {name} in (0u32..={bound}).rev() {{"),
            _ => format!("for {name} in (1u32..{bound} * 2).step_by(2) {{"),
        };
        self.line(&header);
        self.loops += 1;
        let place = Place { text: name, ty: Ty::Unsigned(32), is_mutable: false };
        self.places.push(place);
        if self.random.one_in(3) {
            let condition = self.expression(Ty::Bool, 2);
            let leave = self.random.pick(&["break", "continue"]);
            self.indent += 1;
            self.line(&format!("if {condition} {{ {leave}; }}"));
            self.indent -= 1;
        }
        self.block(3, depth);
        self.places.pop();
        self.loops -= 1;
        self.line("}");
    }

    fn switch(&mut self, depth: u32) {
        let scrutinee = self.expression(Ty::Unsigned(8), 2);
        self.line(&format!("match {scrutinee} {{"));
        let split = 1 + self.random.below(200);
        self.line(&format!("0..={split} => {{"));
        self.block(2, depth);
        self.line("}");
        self.line(&format!("n @ {}..=220 if n % 2 == 0 => {{", split + 1));
        self.places.push(Place { text: "n".into(), ty: Ty::Unsigned(8), is_mutable: false });
        self.block(2, depth);
        self.places.pop();
        self.line("}");
        self.line("_ => {");
        self.block(1, depth);
        self.line("}");
        self.line("}");
    }

    fn block(&mut self, statements: usize, depth: u32) {
        let visible = self.places.len();
        self.indent += 1;
        let count = 1 + self.random.below(statements);
        self.statements(count, depth + 1);
        self.indent -= 1;
        self.places.truncate(visible);
    }

    /// Mixes every value into the answer.
    fn summary(&mut self) {
        let places = std::mem::take(&mut self.places);
        for (i, place) in places.iter().enumerate() {
            let word = to_word(&place.text, place.ty);
            self.line(&format!("h[{}] = h[{0}].wrapping_mul(0x100000001b3) ^ {word};", i % 4));
        }
        for (name, ty) in std::mem::take(&mut self.arrays) {
            let word = to_word("x", ty);
            self.line(&format!("for x in {name} {{ h[3] = h[3].rotate_left(7) ^ {word}; }}"));
        }
    }

    fn expression(&mut self, ty: Ty, depth: u32) -> String {
        if depth == 0 || self.random.one_in(6) {
            return self.leaf(ty);
        }
        if self.random.one_in(12) {
            let condition = self.expression(Ty::Bool, depth - 1);
            let (a, b) = (self.expression(ty, depth - 1), self.expression(ty, depth - 1));
            return format!("(if {condition} {{ {a} }} else {{ {b} }})");
        }
        if self.random.one_in(8)
            && self.loops < 2
            && let Some(call) = self.call(ty, depth)
        {
            return call;
        }
        match ty {
            Ty::Bool => self.boolean(depth),
            Ty::Float(_) => self.float(ty, depth),
            Ty::Unsigned(_) | Ty::Signed(_) => self.integer(ty, depth),
        }
    }

    fn call(&mut self, ty: Ty, depth: u32) -> Option<String> {
        let fitting: Vec<Function> =
            self.functions.iter().filter(|f| f.result == ty).cloned().collect();
        let at = self.random.below(fitting.len().max(1));
        let function = fitting.get(at)?;
        let arguments: Vec<String> =
            function.parameters.iter().map(|&ty| self.expression(ty, depth - 1)).collect();
        Some(format!("{}({})", function.name, arguments.join(", ")))
    }

    fn boolean(&mut self, depth: u32) -> String {
        let inner = self.random.pick(TYPES);
        let (a, b) = (self.expression(inner, depth - 1), self.expression(inner, depth - 1));
        match self.random.below(5) {
            0 => {
                let (a, b) =
                    (self.expression(Ty::Bool, depth - 1), self.expression(Ty::Bool, depth - 1));
                format!("({a} {} {b})", self.random.pick(&["&&", "||", "^", "&", "|"]))
            }
            1 => format!("(!({a} == {b}))"),
            _ => format!("({a} {} {b})", self.random.pick(&["<", "<=", ">", ">=", "==", "!="])),
        }
    }

    fn float(&mut self, ty: Ty, depth: u32) -> String {
        let a = self.expression(ty, depth - 1);
        match self.random.below(9) {
            0..5 => {
                let b = self.expression(ty, depth - 1);
                format!("({a} {} {b})", self.random.pick(&["+", "-", "*", "/", "%", "*", "+"]))
            }
            5 => format!(
                "({a}).{}()",
                self.random.pick(&[
                    "sqrt",
                    "abs",
                    "floor",
                    "ceil",
                    "trunc",
                    "round",
                    "round_ties_even"
                ])
            ),
            6 => {
                let (b, c) = (self.expression(ty, depth - 1), self.expression(ty, depth - 1));
                format!("({a}).mul_add({b}, {c})")
            }
            7 => {
                let from = self.random.pick(TYPES);
                let value = self.expression(from, depth - 1);
                cast(&value, from, ty)
            }
            _ => {
                let b = self.expression(ty, depth - 1);
                format!("{{ let (a, b) = ({a}, {b}); if a < b {{ a }} else {{ b }} }}")
            }
        }
    }

    fn integer(&mut self, ty: Ty, depth: u32) -> String {
        let a = self.expression(ty, depth - 1);
        match self.random.below(10) {
            0..3 => {
                let b = self.expression(ty, depth - 1);
                let method = self.random.pick(&[
                    "wrapping_add",
                    "wrapping_sub",
                    "wrapping_mul",
                    "saturating_add",
                    "saturating_sub",
                    "saturating_mul",
                ]);
                format!("({a}).{method}({b})")
            }
            3 => {
                let b = self.expression(ty, depth - 1);
                format!("({a} {} {b})", self.random.pick(&["&", "|", "^"]))
            }
            4 => {
                let b = self.expression(ty, depth - 1);
                let method = self.random.pick(&[
                    "wrapping_div",
                    "wrapping_rem",
                    "wrapping_div_euclid",
                    "wrapping_rem_euclid",
                ]);
                format!("({a}).{method}({b} | 1)")
            }
            5 => {
                let by = self.expression(Ty::Unsigned(32), depth - 1);
                let method = self.random.pick(&[
                    "wrapping_shl",
                    "wrapping_shr",
                    "rotate_left",
                    "rotate_right",
                ]);
                // rotate takes the count modulo the width itself.
                format!("({a}).{method}({by})")
            }
            6 => format!(
                "({a}).{}()",
                self.random.pick(&["swap_bytes", "reverse_bits", "wrapping_neg"])
            ),
            7 => format!(
                "(({a}).{}() as {ty})",
                self.random.pick(&[
                    "count_ones",
                    "leading_zeros",
                    "trailing_zeros",
                    "leading_ones"
                ])
            ),
            8 => {
                let b = self.expression(ty, depth - 1);
                let method = self.random.pick(&["checked_add", "checked_mul", "checked_sub"]);
                let c = self.leaf(ty);
                format!("({a}).{method}({b}).unwrap_or({c})")
            }
            _ => {
                let from = self.random.pick(TYPES);
                let value = self.expression(from, depth - 1);
                cast(&value, from, ty)
            }
        }
    }

    fn leaf(&mut self, ty: Ty) -> String {
        let fitting: Vec<String> = self
            .places
            .iter()
            .filter(|place| place.ty == ty)
            .map(|place| place.text.clone())
            .collect();
        if !fitting.is_empty() && !self.random.one_in(4) {
            return fitting[self.random.below(fitting.len())].clone();
        }
        let arrays: Vec<String> = self
            .arrays
            .iter()
            .filter(|(_, element)| *element == ty)
            .map(|(name, _)| name.clone())
            .collect();
        if !arrays.is_empty() && self.random.one_in(2) {
            let index = self.index();
            return format!("{}[{index}]", arrays[0]);
        }
        if !self.places.is_empty() && !self.random.one_in(4) {
            let at = self.random.below(self.places.len());
            return converted(&self.places[at], ty);
        }
        self.literal(ty)
    }

    fn index(&mut self) -> String {
        let index = self.leaf(Ty::Unsigned(32));
        format!("({index}) as usize & {}", ARRAY_LEN - 1)
    }

    fn literal(&mut self, ty: Ty) -> String {
        let word = self.random.next();
        let is_small = self.random.one_in(2);
        match ty {
            Ty::Bool => word.is_multiple_of(2).to_string(),
            Ty::Unsigned(bits) => {
                let value = if is_small { word % 10 } else { word >> 64u32.saturating_sub(bits) };
                format!("{value}{ty}")
            }
            Ty::Signed(bits) => {
                let wide = word >> (64u32.saturating_sub(bits) + 1);
                let value = if is_small { word % 10 } else { wide };
                if word.is_multiple_of(3) {
                    format!("(-{value}{ty})")
                } else {
                    format!("{value}{ty}")
                }
            }
            Ty::Float(_) => {
                let value = self
                    .random
                    .pick(&["0.0", "1.0", "0.1", "3.75", "1e10", "1e-30", "255.5", "0.333"]);
                if word.is_multiple_of(3) {
                    format!("(-{value}{ty})")
                } else {
                    format!("{value}{ty}")
                }
            }
        }
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("v{}", self.names)
    }

    fn line(&mut self, text: &str) {
        let indent = self.indent * 4;
        writeln!(self.text, "{:indent$}{text}", "").expect("writing to a string cannot fail");
    }
}
