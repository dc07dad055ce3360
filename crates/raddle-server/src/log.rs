//! The server's log: one line an event on standard error, as JSON or as text.
//!
//! Small on purpose: a server logs what happens to models and connections, never a
//! line for each request; those are counted and traced.

use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::Error;

/// How important an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something should be looked at.
    Warn,
    /// Something changed.
    Info,
    /// Details.
    Debug,
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// The least important level that is written.
pub fn level() -> Level {
    let all = [Level::Error, Level::Warn, Level::Info, Level::Debug];
    all[usize::from(LEVEL.load(Relaxed)).min(all.len() - 1)]
}

/// Sets the least important level that is written.
pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Relaxed);
}

/// Whether lines are JSON.
pub fn is_json() -> bool {
    IS_JSON.load(Relaxed)
}

/// Writes JSON lines from now on, or text.
pub fn set_json(is_json: bool) {
    IS_JSON.store(is_json, Relaxed);
}

/// The settings by Triton's names.
pub fn settings() -> [(&'static str, serde_json::Value); 5] {
    let level = level();
    [
        ("log_error", true.into()),
        ("log_warning", (level >= Level::Warn).into()),
        ("log_info", (level >= Level::Info).into()),
        ("log_verbose_level", u32::from(level == Level::Debug).into()),
        ("log_format", if is_json() { "json" } else { "default" }.into()),
    ]
}

/// Changes a setting by Triton's name.
///
/// ## Errors
/// [`Error::Invalid`] with the names and values that would do.
pub fn change(name: &str, value: &serde_json::Value) -> crate::error::Result<()> {
    let flag = value.as_bool();
    match (name, flag, value.as_u64(), value.as_str()) {
        ("log_error", Some(true), ..) => {}
        ("log_info", Some(true), ..) => set_level(level().max(Level::Info)),
        ("log_info", Some(false), ..) => set_level(level().min(Level::Warn)),
        ("log_warning", Some(true), ..) => set_level(level().max(Level::Warn)),
        ("log_warning", Some(false), ..) => set_level(Level::Error),
        ("log_verbose_level", _, Some(0), _) => set_level(level().min(Level::Info)),
        ("log_verbose_level", _, Some(_), _) => set_level(Level::Debug),
        ("log_format", _, _, Some("json")) => set_json(true),
        ("log_format", _, _, Some("default")) => set_json(false),
        _ => {
            return Err(Error::invalid(format!(
                "the log setting {name} = {value} is not known; known are log_info, log_warning, \
                 log_verbose_level and log_format (default, json)"
            )));
        }
    }
    Ok(())
}

/// A named value of an event.
pub struct Field(&'static str, String);

/// A named value of an event.
pub fn field(name: &'static str, value: impl Display) -> Field {
    Field(name, value.to_string())
}

/// Logs a failure.
pub fn error(message: &str, fields: &[Field]) {
    write(Level::Error, message, fields);
}

/// Logs what should be looked at.
pub fn warn(message: &str, fields: &[Field]) {
    write(Level::Warn, message, fields);
}

/// Logs a change.
pub fn info(message: &str, fields: &[Field]) {
    write(Level::Info, message, fields);
}

/// Logs a detail.
pub fn debug(message: &str, fields: &[Field]) {
    write(Level::Debug, message, fields);
}

fn write(level: Level, message: &str, fields: &[Field]) {
    if level > self::level() {
        return;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let line = line(level, now.as_millis(), message, fields, is_json());
    // A log that cannot be written must not stop the server.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

fn line(level: Level, ms: u128, message: &str, fields: &[Field], is_json: bool) -> String {
    let name = match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
    };
    if is_json {
        let mut object = serde_json::Map::new();
        object.insert("time_ms".into(), (ms as u64).into());
        object.insert("level".into(), name.into());
        object.insert("message".into(), message.into());
        for Field(name, value) in fields {
            object.insert((*name).into(), value.as_str().into());
        }
        return format!("{}\n", serde_json::Value::Object(object));
    }
    let mut line = format!("{}.{:03} {name:5} {message}", ms / 1000, ms % 1000);
    for Field(name, value) in fields {
        // Names come from clients too, and must not make lines of their own.
        let _ = match value.chars().any(|c| c.is_whitespace() || c.is_control() || c == '"') {
            true => write!(line, " {name}={value:?}"),
            false => write!(line, " {name}={value}"),
        };
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_it_says() {
        let fields = [field("model", "a\nb"), field("version", 3)];
        let text = line(Level::Warn, 1234, "went", &fields, false);
        assert_eq!(text, "1.234 warn  went model=\"a\\nb\" version=3\n");
        let json = line(Level::Error, 1234, "went", &fields, true);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (value["level"].as_str(), value["model"].as_str()),
            (Some("error"), Some("a\nb"))
        );
        assert_eq!(json.lines().count(), 1);
    }
}
