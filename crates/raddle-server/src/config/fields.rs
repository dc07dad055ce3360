//! A message of a configuration as named fields that are taken one by one, so that
//! what nobody took is known to be unknown, and errors name the field.
//!
//! Protobuf's text format writes a list of one like a single value, and its JSON
//! writes 64-bit numbers as text: both are read as what was meant.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde_json::{Map, Value};

/// The fields of a message that were not taken yet.
pub struct Fields {
    fields: Map<String, Value>,
    /// Path of the message, ending in a dot unless it is empty.
    path: String,
}

impl Fields {
    pub fn new(value: Value, path: &str) -> Result<Self, String> {
        match value {
            Value::Object(fields) => Ok(Self { fields, path: path.into() }),
            other => Err(format!("{}: expected fields in braces, found {other}", name(path))),
        }
    }

    pub fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    /// Drops a field; whether it was there.
    pub fn skip(&mut self, field: &str) -> bool {
        self.fields.remove(field).is_some()
    }

    pub fn text(&mut self, field: &str) -> Result<Option<String>, String> {
        self.take(field, "a text", |value| value.as_str().map(str::to_owned))
    }

    pub fn flag(&mut self, field: &str) -> Result<Option<bool>, String> {
        self.take(field, "true or false", |value| match value {
            Value::String(word) => word.parse().ok(),
            other => other.as_bool(),
        })
    }

    pub fn number<T: FromStr>(&mut self, field: &str) -> Result<Option<T>, String> {
        self.take(field, "a whole number in range", whole)
    }

    pub fn real(&mut self, field: &str) -> Result<Option<f64>, String> {
        self.take(field, "a number", Value::as_f64)
    }

    pub fn numbers<T: FromStr>(&mut self, field: &str) -> Result<Vec<T>, String> {
        let path = self.path.clone();
        let wrong = |value: &Value| format!("{path}{field}: expected whole numbers, found {value}");
        let list = self.values(field);
        list.iter().map(|value| whole(value).ok_or_else(|| wrong(value))).collect()
    }

    pub fn message(&mut self, field: &str) -> Result<Option<Self>, String> {
        let path = format!("{}{field}.", self.path);
        self.fields.remove(field).map(|value| Self::new(value, &path)).transpose()
    }

    pub fn list(&mut self, field: &str) -> Result<Vec<Self>, String> {
        let path = format!("{}{field}.", self.path);
        self.values(field).into_iter().map(|value| Self::new(value, &path)).collect()
    }

    /// A map: entries with `key` and `value` in the text format, an object in JSON.
    pub fn map<T>(
        &mut self,
        field: &str,
        read: impl Fn(Self) -> Result<T, String>,
    ) -> Result<BTreeMap<String, T>, String> {
        let path = format!("{}{field}.", self.path);
        let mut map = BTreeMap::new();
        for entry in self.values(field) {
            let mut entry = Self::new(entry, &path)?;
            if entry.has("key") && entry.has("value") {
                let key = entry.text("key")?.unwrap_or_default();
                let value = entry.message("value")?.ok_or("a map's entry has no value")?;
                map.insert(key, read(value)?);
                entry.finish()?;
                continue;
            }
            for (key, value) in entry.fields {
                map.insert(key, read(Self::new(value, &path)?)?);
            }
        }
        Ok(map)
    }

    /// Whether everything was taken.
    pub fn finish(self) -> Result<(), String> {
        match self.fields.keys().next() {
            None => Ok(()),
            Some(field) => Err(format!("field {}{field} is not known", self.path)),
        }
    }

    fn values(&mut self, field: &str) -> Vec<Value> {
        match self.fields.remove(field) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(list)) => list,
            Some(single) => vec![single],
        }
    }

    fn take<T>(
        &mut self,
        field: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let Some(value) = self.fields.remove(field).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        let wrong = || format!("{}{field}: expected {expected}, found {value}", self.path);
        read(&value).map(Some).ok_or_else(wrong)
    }
}

fn whole<T: FromStr>(value: &Value) -> Option<T> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// A message's own name, from the path of its fields.
fn name(path: &str) -> &str {
    path.strip_suffix('.').unwrap_or("the configuration")
}
