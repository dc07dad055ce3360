//! What the environment says about memory.

use crate::error::Error;

/// Where buffers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Blocks of a pool.
    Pooled,
    /// Each by itself from the driver or the host's allocator, so that tools which
    /// watch those (compute-sanitizer, valgrind) see every buffer's bounds.
    Direct,
}

/// How a pool is to behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) kind: Kind,
    pub(crate) limit_bytes: u64,
}

impl Settings {
    /// `RADDLE_MEMORY_POOL` and `RADDLE_MEMORY_LIMIT`, and what is wrong with them.
    pub(crate) fn from_env() -> (Self, Option<Error>) {
        let value = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let (pool, limit) = (value("RADDLE_MEMORY_POOL"), value("RADDLE_MEMORY_LIMIT"));
        let wrong_profile = crate::profile::wrong_setting().map(|found| Error::MemorySetting {
            variable: "RADDLE_MEMORY_PROFILE",
            expected: "`off`, `sampled` or `full`",
            found: found.to_owned(),
        });
        match Self::parse(pool.as_deref(), limit.as_deref()) {
            Ok(settings) => (settings, wrong_profile),
            Err(error) => (Self { kind: Kind::Pooled, limit_bytes: u64::MAX }, Some(error)),
        }
    }

    fn parse(pool: Option<&str>, limit: Option<&str>) -> Result<Self, Error> {
        let wrong = |variable, expected, found: &str| Error::MemorySetting {
            variable,
            expected,
            found: found.to_owned(),
        };
        let kind = match pool.map(str::trim) {
            None | Some("on") => Kind::Pooled,
            Some("off") => Kind::Direct,
            Some(found) => return Err(wrong("RADDLE_MEMORY_POOL", "`on` or `off`", found)),
        };
        let limit_bytes = match limit {
            None => u64::MAX,
            Some(text) => parse_bytes(text).ok_or_else(|| {
                wrong("RADDLE_MEMORY_LIMIT", "bytes, as in `2GiB`, `512MiB` or `1000000`", text)
            })?,
        };
        Ok(Self { kind, limit_bytes })
    }
}

/// A number of bytes, with `KiB`, `MiB` or `GiB` behind it or nothing.
fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let (number, shift) = units
        .iter()
        .find_map(|&(unit, shift)| Some((text.strip_suffix(unit)?, shift)))
        .unwrap_or((text, 0));
    let number: u64 = number.trim().parse().ok()?;
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_nonsense_is_refused() {
        assert_eq!(parse_bytes("1000"), Some(1000));
        assert_eq!(parse_bytes(" 2 GiB "), Some(2 << 30));
        assert_eq!(parse_bytes("3MiB"), Some(3 << 20));
        for wrong in ["", "GiB", "-1", "1.5GiB", "7GB", "99999999999GiB"] {
            assert_eq!(parse_bytes(wrong), None, "{wrong}");
        }
        let error = Settings::parse(None, Some("lots")).unwrap_err();
        let expected = "RADDLE_MEMORY_LIMIT: expected bytes, as in `2GiB`, `512MiB` or `1000000`, found `lots`";
        assert_eq!(error.to_string(), expected);
        assert!(Settings::parse(Some("driver"), None).is_err());
        let settings = Settings::parse(Some("off"), Some("1KiB")).unwrap();
        assert_eq!(settings, Settings { kind: Kind::Direct, limit_bytes: 1024 });
    }
}
