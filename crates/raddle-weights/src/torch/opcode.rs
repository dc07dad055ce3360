//! The instructions of pickle, protocols 0 to 5, by what they do.
//!
//! Instructions that only objects other than data need (`INST`, `OBJ`, `EXT1` and
//! the like) have no row, so they are refused by their number.

/// One instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    Proto,
    Frame,
    Stop,
    Mark,
    Pop,
    PopMark,
    Dup,
    None,
    True,
    False,
    Int(Int),
    FloatText,
    Float,
    Text(Length),
    TextLine,
    /// Text of Python 2 in quotes.
    TextQuoted,
    Bytes(Length),
    EmptyTuple,
    Tuple,
    /// A tuple of this many values.
    TupleOf(usize),
    EmptyList,
    List,
    Append,
    Appends,
    EmptyDict,
    Dict,
    SetItem,
    SetItems,
    EmptySet,
    AddItems,
    FrozenSet,
    Global,
    StackGlobal,
    Reduce,
    NewObject,
    Build,
    PersistentId,
    Put(Index),
    Get(Index),
    Memoize,
}

/// How an integer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Int {
    /// A line of digits.
    Line,
    /// One byte.
    One,
    /// Two bytes.
    Two,
    /// Four bytes, signed.
    Four,
    /// A length of one or four bytes, then as many bytes, signed.
    Long(Length),
}

/// Bytes of a length, least significant first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    One,
    Four,
    Eight,
}

/// How an index into the memo is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Index {
    Line,
    One,
    Four,
}

/// The instruction that a byte stands for.
pub fn opcode(byte: u8) -> Option<Opcode> {
    use Opcode::*;
    Some(match byte {
        0x80 => Proto,
        0x95 => Frame,
        b'.' => Stop,
        b'(' => Mark,
        b'0' => Pop,
        b'1' => PopMark,
        b'2' => Dup,
        b'N' => None,
        0x88 => True,
        0x89 => False,
        b'I' | b'L' => Int(self::Int::Line),
        b'K' => Int(self::Int::One),
        b'M' => Int(self::Int::Two),
        b'J' => Int(self::Int::Four),
        0x8a => Int(self::Int::Long(Length::One)),
        0x8b => Int(self::Int::Long(Length::Four)),
        b'F' => FloatText,
        b'G' => Float,
        0x8c | b'U' => Text(Length::One),
        b'X' | b'T' => Text(Length::Four),
        0x8d => Text(Length::Eight),
        b'V' => TextLine,
        b'S' => TextQuoted,
        b'C' => Bytes(Length::One),
        b'B' => Bytes(Length::Four),
        0x8e | 0x96 => Bytes(Length::Eight),
        b')' => EmptyTuple,
        b't' => Tuple,
        0x85 => TupleOf(1),
        0x86 => TupleOf(2),
        0x87 => TupleOf(3),
        b']' => EmptyList,
        b'l' => List,
        b'a' => Append,
        b'e' => Appends,
        b'}' => EmptyDict,
        b'd' => Dict,
        b's' => SetItem,
        b'u' => SetItems,
        0x8f => EmptySet,
        0x90 => AddItems,
        0x91 => FrozenSet,
        b'c' => Global,
        0x93 => StackGlobal,
        b'R' => Reduce,
        0x81 => NewObject,
        b'b' => Build,
        b'Q' => PersistentId,
        b'p' => Put(Index::Line),
        b'q' => Put(Index::One),
        b'r' => Put(Index::Four),
        b'g' => Get(Index::Line),
        b'h' => Get(Index::One),
        b'j' => Get(Index::Four),
        0x94 => Memoize,
        _ => return Option::None,
    })
}
