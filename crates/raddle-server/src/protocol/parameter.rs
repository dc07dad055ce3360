//! Values of parameters in JSON: numbers, flags and texts without a tree of values, which
//! a request would pay for with every parameter that it might have and has not.

use std::borrow::Cow;
use std::fmt::{self, Display};

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A parameter's value.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Parameter<'a> {
    /// A whole number that is not negative.
    Whole(u64),
    /// True or false.
    Flag(bool),
    /// A text.
    Text(Cow<'a, str>),
    /// What no parameter is.
    Other(Box<Value>),
}

impl Parameter<'_> {
    fn other(value: impl Into<Value>) -> Self {
        Self::Other(Box::new(value.into()))
    }
}

impl Display for Parameter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => write!(f, "{number}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Text(text) => write!(f, "{}", Value::from(text.as_ref())),
            Self::Other(value) => write!(f, "{value}"),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Parameter<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Parameter<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a parameter's value")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Parameter::Whole(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(u64::try_from(number).map_or_else(|_| Parameter::other(number), Parameter::Whole))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Parameter::other(number))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Parameter::Flag(flag))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Parameter::Text(text.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Parameter::Text(text.to_owned().into()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Parameter::other(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element::<Value>()? {
            values.push(value);
        }
        Ok(Parameter::other(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = serde_json::Map::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            values.insert(name, value);
        }
        Ok(Parameter::other(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_they_are_in_json() {
        let read = |text| serde_json::from_str::<Parameter<'_>>(text).unwrap();
        assert_eq!((read("7"), read("true")), (Parameter::Whole(7), Parameter::Flag(true)));
        assert!(matches!(read(r#""name""#), Parameter::Text(Cow::Borrowed("name"))));
        assert!(matches!(read(r#""a\nb""#), Parameter::Text(Cow::Owned(text)) if text == "a\nb"));
        for text in ["7", "-7", "1.5", "true", r#""a\"b""#, "null", "[1,[2]]", r#"{"a":{"b":1}}"#] {
            assert_eq!(read(text).to_string(), text);
            assert_eq!(serde_json::to_string(&read(text)).unwrap(), text);
        }
    }
}
