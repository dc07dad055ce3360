//! Writing ONNX's protobuf messages: only the fields that our models need.
//!
//! *Source*: onnx.proto (field numbers), protobuf's "Encoding" (wire format).

/// A message in the making.
#[derive(Debug, Default)]
pub struct Message {
    bytes: Vec<u8>,
}

/// How a field's value is encoded.
#[derive(Debug, Clone, Copy)]
enum Wire {
    Varint = 0,
    Length = 2,
    Fixed32 = 5,
}

impl Message {
    /// The encoded bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Adds an integer; negative ones take ten bytes, as the format has it.
    pub fn int(mut self, field: u32, value: i64) -> Self {
        self.key(field, Wire::Varint);
        self.varint(value as u64);
        self
    }

    /// Adds a float.
    pub fn float(mut self, field: u32, value: f32) -> Self {
        self.key(field, Wire::Fixed32);
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Adds text or bytes.
    pub fn data(mut self, field: u32, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.key(field, Wire::Length);
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
        self
    }

    /// Adds a message.
    pub fn message(self, field: u32, value: &Message) -> Self {
        self.data(field, &value.bytes)
    }

    /// Adds something for each item of a list.
    pub fn each<T>(
        self,
        items: impl IntoIterator<Item = T>,
        add: impl Fn(Self, T) -> Self,
    ) -> Self {
        items.into_iter().fold(self, add)
    }

    fn key(&mut self, field: u32, wire: Wire) {
        self.varint(u64::from(field) << 3 | wire as u64);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_encoded_as_the_format_says() {
        // The examples of protobuf's "Encoding".
        assert_eq!(Message::default().int(1, 150).into_bytes(), [0x08, 0x96, 0x01]);
        let text = Message::default().data(2, "testing").into_bytes();
        assert_eq!(text, b"\x12\x07testing");
        let inner = Message::default().int(1, 150);
        assert_eq!(Message::default().message(3, &inner).into_bytes(), [0x1a, 3, 8, 0x96, 1]);
        assert_eq!(Message::default().int(1, -2).into_bytes().len(), 11);
        assert_eq!(Message::default().float(2, 1.0).into_bytes(), [0x15, 0, 0, 0x80, 0x3f]);
    }
}
