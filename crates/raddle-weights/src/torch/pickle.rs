//! The stack machine that pickles are programs for, restricted to data.
//!
//! Every instruction makes at most one value and copies only bytes that are in
//! the file, so memory grows with the file. What a name stands for is decided in
//! [`super::state`]; this file calls nothing.

use std::collections::BTreeMap;

use super::opcode::{Index, Int, Length, Opcode, opcode};
use super::state;
use super::value::{Value, ValueId};
use crate::cursor::Cursor;
use crate::{Error, Result};

/// Newest protocol of Python 3.14.
const PROTOCOL_MAX: u8 = 5;
/// Most values of a program: a tensor takes some fifteen.
const VALUES_MAX: usize = 1 << 24;

/// The machine: values made so far, and the state of the running program.
#[derive(Debug, Default)]
pub struct Machine {
    arena: Vec<Value>,
    stack: Vec<ValueId>,
    /// Heights of the stack at its marks.
    marks: Vec<usize>,
    memo: BTreeMap<u32, ValueId>,
    /// Pairs that dicts have copied from lists.
    pairs_copied: usize,
}

impl Machine {
    /// Runs one program and gives the value that it leaves.
    ///
    /// ## Errors
    /// [`Error::Malformed`], [`Error::Truncated`], and [`Error::Unsupported`] for
    /// names and instructions that a state dict does not need.
    pub fn run(&mut self, cursor: &mut Cursor<'_>) -> Result<ValueId> {
        self.stack.clear();
        self.marks.clear();
        self.memo.clear();
        loop {
            let at = cursor.position();
            let byte = cursor.u8()?;
            let opcode = opcode(byte).ok_or_else(|| Error::Unsupported {
                place: cursor.place_of(at),
                what: format!("pickle instruction {byte:#04x}"),
                remedy: state::REMEDY,
            })?;
            if opcode == Opcode::Stop {
                return self.pop(cursor, at);
            }
            self.step(opcode, cursor, at)?;
            if self.arena.len() > VALUES_MAX {
                let what = format!("the pickle makes more than {VALUES_MAX} values");
                return Err(cursor.malformed(at, what));
            }
        }
    }

    /// A value.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.arena[id.0 as usize]
    }

    /// All values.
    pub fn values(&self) -> &[Value] {
        &self.arena
    }

    /// An integer of 64 bits.
    pub fn int(&self, id: ValueId) -> Option<i64> {
        if let Value::Int(int) = *self.value(id) { Some(int) } else { None }
    }

    /// A truth value.
    pub fn bool(&self, id: ValueId) -> Option<bool> {
        if let Value::Bool(bool) = *self.value(id) { Some(bool) } else { None }
    }

    /// A text.
    pub fn text(&self, id: ValueId) -> Option<&str> {
        if let Value::Text(text) = self.value(id) { Some(text) } else { None }
    }

    /// The items of a tuple.
    pub fn tuple(&self, id: ValueId) -> Option<&[ValueId]> {
        if let Value::Tuple(items) = self.value(id) { Some(items) } else { None }
    }

    /// The value of a dict under a key of text.
    pub fn entry(&self, dict: ValueId, key: &str) -> Option<ValueId> {
        let Value::Dict(entries) = self.value(dict) else { return None };
        entries.iter().find(|(own, _)| self.text(*own) == Some(key)).map(|(_, value)| *value)
    }

    fn step(&mut self, opcode: Opcode, cursor: &mut Cursor<'_>, at: usize) -> Result<()> {
        match opcode {
            Opcode::Proto => {
                let protocol = cursor.u8()?;
                if protocol > PROTOCOL_MAX {
                    return Err(cursor.malformed(at, format!("pickle protocol {protocol}")));
                }
            }
            Opcode::Frame => {
                cursor.u64()?;
            }
            // `run` ends at it.
            Opcode::Stop => {}
            Opcode::Mark => self.marks.push(self.stack.len()),
            Opcode::Pop => match self.marks.last() == Some(&self.stack.len()) {
                true => drop(self.marks.pop()),
                false => drop(self.pop(cursor, at)?),
            },
            Opcode::PopMark => drop(self.pop_to_mark(cursor, at)?),
            Opcode::Dup => {
                let top = self.pop(cursor, at)?;
                self.stack.extend([top, top]);
            }
            Opcode::None => self.push(Value::None),
            Opcode::True => self.push(Value::Bool(true)),
            Opcode::False => self.push(Value::Bool(false)),
            Opcode::Int(int) => self.push_int(int, cursor, at)?,
            Opcode::FloatText => {
                let text = line(cursor, at)?;
                let float = text.parse().map_err(|_| cursor.malformed(at, "no number"))?;
                self.push(Value::Float(float));
            }
            Opcode::Float => {
                let float = f64::from_be_bytes(cursor.array()?);
                self.push(Value::Float(float));
            }
            Opcode::Text(length) => {
                let bytes = counted(length, cursor)?;
                // Text of Python 2 may have any encoding; it is no name then.
                self.push(Value::Text(String::from_utf8_lossy(bytes).into_owned()));
            }
            Opcode::TextLine => {
                let text = line(cursor, at)?.to_owned();
                self.push(Value::Text(text));
            }
            Opcode::TextQuoted => {
                let text = line(cursor, at)?.trim_matches(['\'', '"']).to_owned();
                self.push(Value::Text(text));
            }
            Opcode::Bytes(length) => {
                counted(length, cursor)?;
                self.push(Value::Bytes);
            }
            Opcode::EmptyTuple => self.push(Value::Tuple(Vec::new())),
            Opcode::Tuple => {
                let items = self.pop_to_mark(cursor, at)?;
                self.push(Value::Tuple(items));
            }
            Opcode::TupleOf(len) => {
                let items = self.pop_many(len, cursor, at)?;
                self.push(Value::Tuple(items));
            }
            Opcode::EmptyList => self.push(Value::List(Vec::new())),
            Opcode::List => {
                let items = self.pop_to_mark(cursor, at)?;
                self.push(Value::List(items));
            }
            Opcode::Append => {
                let items = self.pop_many(1, cursor, at)?;
                self.extend(items, cursor, at)?;
            }
            Opcode::Appends | Opcode::AddItems => {
                let items = self.pop_to_mark(cursor, at)?;
                self.extend(items, cursor, at)?;
            }
            Opcode::EmptyDict => self.push(Value::Dict(Vec::new())),
            Opcode::Dict => {
                let items = self.pop_to_mark(cursor, at)?;
                self.push(Value::Dict(Vec::new()));
                self.set_items(items, cursor, at)?;
            }
            Opcode::SetItem => {
                let items = self.pop_many(2, cursor, at)?;
                self.set_items(items, cursor, at)?;
            }
            Opcode::SetItems => {
                let items = self.pop_to_mark(cursor, at)?;
                self.set_items(items, cursor, at)?;
            }
            Opcode::EmptySet => self.push(Value::Set(Vec::new())),
            Opcode::FrozenSet => {
                let items = self.pop_to_mark(cursor, at)?;
                self.push(Value::Set(items));
            }
            Opcode::Global => {
                let module = line(cursor, at)?;
                let name = line(cursor, at)?;
                self.push_global(module, name, cursor, at)?;
            }
            Opcode::StackGlobal => {
                let names = self.pop_many(2, cursor, at)?;
                let text = |id| self.text(id).map(str::to_owned);
                let (Some(module), Some(name)) = (text(names[0]), text(names[1])) else {
                    return Err(cursor.malformed(at, "a name that is no text"));
                };
                self.push_global(&module, &name, cursor, at)?;
            }
            Opcode::Reduce | Opcode::NewObject => {
                let call = self.pop_many(2, cursor, at)?;
                let made = state::call(self, call[0], call[1], cursor, at)?;
                match made {
                    state::Made::Same(id) => self.stack.push(id),
                    state::Made::New(value) => {
                        self.count_copies(&value, cursor, at)?;
                        self.push(value);
                    }
                }
            }
            Opcode::Build => {
                self.pop(cursor, at)?;
                state::build(self, self.top(cursor, at)?, cursor, at)?;
            }
            Opcode::PersistentId => {
                let id = self.pop(cursor, at)?;
                let storage = state::storage(self, id, cursor, at)?;
                self.push(Value::Storage(Box::new(storage)));
            }
            Opcode::Put(index) => {
                let index = memo_index(index, cursor, at)?;
                let top = self.top(cursor, at)?;
                self.memo.insert(index, top);
            }
            Opcode::Get(index) => {
                let index = memo_index(index, cursor, at)?;
                let known = self.memo.get(&index).copied();
                let id = known.ok_or_else(|| cursor.malformed(at, "an unknown memo index"))?;
                self.stack.push(id);
            }
            Opcode::Memoize => {
                let top = self.top(cursor, at)?;
                let index = self.memo.len() as u32;
                self.memo.insert(index, top);
            }
        }
        Ok(())
    }

    /// Dicts may copy each value once, so that a list in the memo cannot be
    /// copied over and over.
    fn count_copies(&mut self, made: &Value, cursor: &Cursor<'_>, at: usize) -> Result<()> {
        if let Value::Dict(entries) = made {
            self.pairs_copied += entries.len();
        }
        match self.pairs_copied <= self.arena.len() {
            true => Ok(()),
            false => Err(cursor.malformed(at, "dicts made of more pairs than there are")),
        }
    }

    fn push(&mut self, value: Value) {
        let id = ValueId(self.arena.len() as u32);
        self.arena.push(value);
        self.stack.push(id);
    }

    fn push_int(&mut self, int: Int, cursor: &mut Cursor<'_>, at: usize) -> Result<()> {
        let value = match int {
            Int::Line => match line(cursor, at)?.trim_end_matches('L') {
                "00" => Value::Bool(false),
                "01" => Value::Bool(true),
                digits => digits
                    .parse()
                    .map(Value::Int)
                    .map_err(|_| cursor.malformed(at, "no integer of 64 bits"))?,
            },
            Int::One => Value::Int(cursor.u8()?.into()),
            Int::Two => Value::Int(cursor.u16()?.into()),
            Int::Four => Value::Int(i32::from_le_bytes(cursor.array()?).into()),
            Int::Long(length) => match counted(length, cursor)? {
                [] => Value::Int(0),
                bytes @ [.., last] if bytes.len() <= 8 => {
                    let mut wide = if last & 0x80 == 0 { [0; 8] } else { [0xff; 8] };
                    wide[..bytes.len()].copy_from_slice(bytes);
                    Value::Int(i64::from_le_bytes(wide))
                }
                _ => Value::LargeInt,
            },
        };
        self.push(value);
        Ok(())
    }

    fn push_global(
        &mut self,
        module: &str,
        name: &str,
        cursor: &Cursor<'_>,
        at: usize,
    ) -> Result<()> {
        let global = state::global(module, name).ok_or_else(|| Error::Unsupported {
            place: cursor.place_of(at),
            what: format!("Python's {module}.{name}"),
            remedy: state::REMEDY,
        })?;
        self.push(Value::Global(global));
        Ok(())
    }

    /// The height below which nothing may be taken before its mark is.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self, cursor: &Cursor<'_>, at: usize) -> Result<ValueId> {
        let top = self.stack[self.floor()..].last().copied();
        top.ok_or_else(|| cursor.malformed(at, "the pickle takes more values than there are"))
    }

    fn pop(&mut self, cursor: &Cursor<'_>, at: usize) -> Result<ValueId> {
        let top = self.top(cursor, at)?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_many(&mut self, len: usize, cursor: &Cursor<'_>, at: usize) -> Result<Vec<ValueId>> {
        let start = self.stack.len().checked_sub(len).filter(|&start| start >= self.floor());
        match start {
            Some(start) => Ok(self.stack.split_off(start)),
            None => Err(cursor.malformed(at, "the pickle takes more values than there are")),
        }
    }

    fn pop_to_mark(&mut self, cursor: &Cursor<'_>, at: usize) -> Result<Vec<ValueId>> {
        let mark = self.marks.pop();
        let mark = mark.ok_or_else(|| cursor.malformed(at, "the pickle has no mark here"))?;
        Ok(self.stack.split_off(mark))
    }

    /// Adds items to the list or set on top.
    fn extend(&mut self, items: Vec<ValueId>, cursor: &Cursor<'_>, at: usize) -> Result<()> {
        let top = self.top(cursor, at)?;
        match &mut self.arena[top.0 as usize] {
            Value::List(own) | Value::Set(own) => own.extend(items),
            _ => return Err(cursor.malformed(at, "items for what is neither list nor set")),
        }
        Ok(())
    }

    /// Adds keys and values, alternating, to the dict on top.
    fn set_items(&mut self, items: Vec<ValueId>, cursor: &Cursor<'_>, at: usize) -> Result<()> {
        let top = self.top(cursor, at)?;
        let (pairs, rest) = items.as_chunks::<2>();
        match &mut self.arena[top.0 as usize] {
            Value::Dict(own) if rest.is_empty() => {
                own.extend(pairs.iter().map(|&[key, value]| (key, value)));
            }
            _ => return Err(cursor.malformed(at, "keys and values for what is no dict")),
        }
        Ok(())
    }
}

fn line<'a>(cursor: &mut Cursor<'a>, at: usize) -> Result<&'a str> {
    let line = cursor.line()?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    std::str::from_utf8(line).map_err(|_| cursor.malformed(at, "a line that is not UTF-8"))
}

fn counted<'a>(length: Length, cursor: &mut Cursor<'a>) -> Result<&'a [u8]> {
    let len = match length {
        Length::One => cursor.u8()?.into(),
        Length::Four => cursor.u32()?.into(),
        Length::Eight => cursor.u64()?,
    };
    cursor.take_u64(len)
}

fn memo_index(index: Index, cursor: &mut Cursor<'_>, at: usize) -> Result<u32> {
    match index {
        Index::Line => line(cursor, at)?.parse().map_err(|_| cursor.malformed(at, "no memo index")),
        Index::One => cursor.u8().map(u32::from),
        Index::Four => cursor.u32(),
    }
}
