//! The memory profile as a pprof file: protobuf by hand, then gzip.
//!
//! The numbers of fields are those of `profile.proto`; functions and lines are
//! resolved here, so that pprof needs no program to look names up in.

use std::collections::HashMap;
use std::io::Write;
use std::time::SystemTime;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{MemoryProfile, ProfileEntry};

/// Writes the file.
pub(super) fn write(profile: &MemoryProfile) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let message = Tables::default().profile(profile);
    encoder.write_all(&message).expect("a vector takes all bytes");
    encoder.finish().expect("a vector takes all bytes")
}

/// A protobuf message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// A number; zeros are left out, as is the default.
    fn number(&mut self, field: u64, value: u64) -> &mut Self {
        if value != 0 {
            self.varint(field << 3);
            self.varint(value);
        }
        self
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) -> &mut Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn message(&mut self, field: u64, message: &Self) -> &mut Self {
        self.bytes(field, &message.0)
    }

    fn packed(&mut self, field: u64, values: impl IntoIterator<Item = u64>) -> &mut Self {
        let mut list = Self::default();
        values.into_iter().for_each(|value| list.varint(value));
        self.message(field, &list)
    }
}

/// What messages refer to by number.
#[derive(Default)]
struct Tables {
    strings: HashMap<String, u64>,
    string_list: Vec<String>,
    /// By name and file.
    functions: HashMap<(String, String), u64>,
    /// By return address.
    locations: HashMap<usize, u64>,
    out: Message,
}

impl Tables {
    fn profile(mut self, profile: &MemoryProfile) -> Vec<u8> {
        self.string("");
        for (name, unit) in SAMPLE_TYPES {
            let value_type = self.value_type(name, unit);
            self.out.message(1, &value_type);
        }
        for entry in &profile.entries {
            self.sample(entry);
        }
        self.mapping();
        let nanoseconds = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_nanos() as u64);
        let period_type = self.value_type("space", "bytes");
        let default = self.string("inuse_space");
        self.out.number(9, nanoseconds).message(11, &period_type).number(12, 1).number(14, default);
        for text in &self.string_list {
            self.out.bytes(6, text.as_bytes());
        }
        self.out.0
    }

    fn value_type(&mut self, name: &str, unit: &str) -> Message {
        let (name, unit) = (self.string(name), self.string(unit));
        let mut message = Message::default();
        message.number(1, name).number(2, unit);
        message
    }

    fn sample(&mut self, entry: &ProfileEntry) {
        let addresses = entry.stack.outer_addresses();
        let locations: Vec<u64> = addresses.iter().map(|&at| self.location(at)).collect();
        let mut sample = Message::default();
        sample.packed(1, locations);
        sample.packed(2, [entry.made, entry.made_bytes, entry.held, entry.held_bytes]);
        let stream = entry.stream.to_string();
        let labels = [
            ("device", entry.device.to_string()),
            ("kind", entry.kind.name().to_owned()),
            ("stream", if entry.stream == 0 { String::new() } else { stream }),
            ("kernel", entry.kernel.to_owned()),
        ];
        for (key, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
            let (key, value) = (self.string(key), self.string(value));
            let mut label = Message::default();
            label.number(1, key).number(2, value);
            sample.message(3, &label);
        }
        self.out.message(2, &sample);
    }

    fn location(&mut self, address: usize) -> u64 {
        if let Some(&id) = self.locations.get(&address) {
            return id;
        }
        let id = self.locations.len() as u64 + 1;
        self.locations.insert(address, id);
        let mut location = Message::default();
        location.number(1, id).number(2, 1).number(3, address as u64);
        for frame in super::stack::resolve(address) {
            if frame.function.is_empty() {
                continue;
            }
            let function = self.function(frame.function, frame.file);
            let mut line = Message::default();
            line.number(1, function).number(2, frame.line.into());
            location.message(4, &line);
        }
        self.out.message(4, &location);
        id
    }

    fn function(&mut self, name: String, file: String) -> u64 {
        let (name_id, file_id) = (self.string(&name), self.string(&file));
        let new = self.functions.len() as u64 + 1;
        let id = *self.functions.entry((name, file)).or_insert(new);
        if id == new {
            // Without the linker's name (field 3): from a name that is the same, pprof
            // takes away what looks like a template's parameters to it.
            let mut function = Message::default();
            function.number(1, id).number(2, name_id).number(4, file_id);
            self.out.message(5, &function);
        }
        id
    }

    /// The program as the one mapping: names are resolved already.
    fn mapping(&mut self) {
        let program = std::env::current_exe().unwrap_or_default().display().to_string();
        let program = self.string(&program);
        let mut mapping = Message::default();
        mapping.number(1, 1).number(3, u64::MAX).number(5, program);
        for field in 7..=10 {
            mapping.number(field, 1);
        }
        self.out.message(3, &mapping);
    }

    fn string(&mut self, text: &str) -> u64 {
        if let Some(&id) = self.strings.get(text) {
            return id;
        }
        let id = self.string_list.len() as u64;
        self.strings.insert(text.to_owned(), id);
        self.string_list.push(text.to_owned());
        id
    }
}

const SAMPLE_TYPES: [(&str, &str); 4] = [
    ("alloc_objects", "count"),
    ("alloc_space", "bytes"),
    ("inuse_objects", "count"),
    ("inuse_space", "bytes"),
];
