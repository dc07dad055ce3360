//! The server's own settings: a TOML file, whose every value the command line may
//! override.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::policy::PolicySettings;
use crate::tls::TlsSettings;
use crate::trace::TraceSettings;

/// Settings of a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// The file that they were read from.
    #[serde(skip)]
    pub source: Option<PathBuf>,
    /// The model repository.
    pub models: PathBuf,
    /// Where HTTP is served.
    pub http: SocketAddr,
    /// Where gRPC is served.
    pub grpc: SocketAddr,
    /// Where metrics are served.
    pub metrics: SocketAddr,
    /// File that keeps the state of canaries across restarts; `.raddle-state.json`
    /// in the repository if not given.
    pub state_file: Option<PathBuf>,
    /// Seconds between looks at the repository; 0 never looks.
    pub poll_seconds: f64,
    /// Whether requests may load and unload models.
    pub allow_model_control: bool,
    /// Whether requests may name shared memory of this machine.
    pub allow_shared_memory: bool,
    /// Seconds that stopping waits for requests under way.
    pub drain_seconds: f64,
    /// Threads that talk to clients; as many as the machine has if 0.
    pub threads: usize,
    /// What clients may do.
    pub limits: Limits,
    /// File with one bearer token a line; without it nobody needs one.
    pub tokens_file: Option<PathBuf>,
    /// Certificate and key for HTTP and gRPC; both are plain without.
    pub tls: Option<TlsSettings>,
    /// Where traces of requests go; nowhere without.
    pub traces: Option<TraceSettings>,
    /// Rules for these settings and for models.
    pub policy: PolicySettings,
}

impl Default for ServerSettings {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            source: None,
            models: PathBuf::new(),
            http: local(8000),
            grpc: local(8001),
            metrics: local(8002),
            state_file: None,
            poll_seconds: 1.0,
            allow_model_control: true,
            allow_shared_memory: false,
            drain_seconds: 30.0,
            threads: 0,
            limits: Limits::default(),
            tokens_file: None,
            tls: None,
            traces: None,
            policy: PolicySettings::default(),
        }
    }
}

/// What clients may do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections at a time; further ones are closed at once.
    pub connections: usize,
    /// Connections that the system keeps until they are accepted.
    pub backlog: u32,
    /// Bytes of a request's body or message.
    pub message_bytes: u64,
    /// Bytes of one tensor.
    pub tensor_bytes: u64,
    /// Bytes that all requests under way may hold; further ones are shed.
    pub memory_bytes: u64,
    /// Requests under way of one client address; 0 for no limit.
    pub requests_per_client: usize,
    /// Requests under way on one HTTP/2 connection.
    pub streams_per_connection: u32,
    /// Seconds within which a request's head must be complete.
    pub header_seconds: f64,
    /// Seconds within which a request's body must be complete.
    pub body_seconds: f64,
    /// Seconds after which a connection that says nothing is asked whether it lives.
    pub keepalive_seconds: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            backlog: 1024,
            message_bytes: 64 << 20,
            tensor_bytes: 64 << 20,
            memory_bytes: 4 << 30,
            requests_per_client: 0,
            streams_per_connection: 1024,
            header_seconds: 10.0,
            body_seconds: 60.0,
            keepalive_seconds: 60.0,
        }
    }
}

impl ServerSettings {
    /// Reads a settings file.
    ///
    /// ## Errors
    /// [`Error::File`] with line and field.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|why| Error::file(path, why))?;
        let read = toml::from_str(&text);
        let read = read.map_err(|why| Error::file(path, why.to_string().trim_end()))?;
        Ok(Self { source: Some(path.to_owned()), ..read })
    }

    /// The file that keeps the state.
    pub fn state_path(&self) -> PathBuf {
        self.state_file.clone().unwrap_or_else(|| self.models.join(".raddle-state.json"))
    }

    /// Checks what the types do not.
    ///
    /// ## Errors
    /// [`Error::Invalid`] with the setting and the values that would do.
    pub fn check(&self) -> Result<()> {
        let limits = &self.limits;
        let seconds = [
            ("poll_seconds", self.poll_seconds),
            ("drain_seconds", self.drain_seconds),
            ("limits.header_seconds", limits.header_seconds),
            ("limits.body_seconds", limits.body_seconds),
            ("limits.keepalive_seconds", limits.keepalive_seconds),
        ];
        for (name, value) in seconds {
            if !(0.0..=86_400.0).contains(&value) {
                return Err(Error::invalid(format!("{name} is {value}, expected 0 to 86400")));
            }
        }
        let least = [
            ("limits.connections", limits.connections as u64),
            ("limits.backlog", limits.backlog.into()),
            ("limits.message_bytes", limits.message_bytes),
            ("limits.tensor_bytes", limits.tensor_bytes),
            ("limits.memory_bytes", limits.memory_bytes),
            ("limits.streams_per_connection", limits.streams_per_connection.into()),
        ];
        match least.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(Error::invalid(format!("{name} is 0, expected at least 1"))),
            None if limits.message_bytes > u64::from(u32::MAX >> 1) => Err(Error::invalid(
                "limits.message_bytes is above 2147483647, the most that gRPC can carry",
            )),
            None => Ok(()),
        }
    }
}

/// A number of seconds; `None` for 0, which stands for never.
pub fn duration(seconds: f64) -> Option<Duration> {
    (seconds > 0.0).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_mistakes_named() {
        let read = |text: &str| toml::from_str::<ServerSettings>(text);
        let found = read("http = '0.0.0.0:80'\n[limits]\nconnections = 3").unwrap();
        assert_eq!((found.http.port(), found.limits.connections), (80, 3));
        assert_eq!(found.grpc, ServerSettings::default().grpc);
        assert!(found.check().is_ok());
        let unknown = read("htp = 1").unwrap_err().to_string();
        assert!(unknown.contains("htp") && unknown.contains("line 1"), "{unknown}");
        let zero = read("[limits]\nbacklog = 0").unwrap().check().unwrap_err().to_string();
        assert_eq!(zero, "limits.backlog is 0, expected at least 1");
        assert!(read("poll_seconds = -1.0").unwrap().check().is_err());
    }

    #[test]
    fn nothing_is_reachable_from_outside_by_default() {
        let settings = ServerSettings::default();
        for address in [settings.http, settings.grpc, settings.metrics] {
            assert!(address.ip().is_loopback());
        }
        assert!(!settings.allow_shared_memory);
    }
}
