//! What can go wrong with a request or a model, and what clients are told.
//!
//! Each error has one [`Status`], from which both protocols take their code.
//! Shedding load (`QueueFull`, `TooManyRequests`) is never a server error: 429 and
//! RESOURCE_EXHAUSTED, so that overload neither trips load balancers nor a canary.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::ModelError;

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a request, of a model's files or of the server's settings.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No model of this name is in the repository or loaded.
    #[error("model {model} is not found; the repository index lists those that are")]
    UnknownModel {
        /// The name.
        model: String,
    },
    /// The model has no such version, or it is not loaded.
    #[error("model {model} has no version {version} that is ready; ready are {ready}")]
    UnknownVersion {
        /// Name of the model.
        model: String,
        /// The version or label that was asked for.
        version: String,
        /// Versions and labels that would do.
        ready: String,
    },
    /// The request is wrong: the client's fault.
    #[error("{0}")]
    Invalid(String),
    /// A body, message or tensor above its limit.
    #[error("{what} has {found} bytes, at most {limit} are accepted ({setting})")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size, or the part that had arrived.
        found: u64,
        /// The limit.
        limit: u64,
        /// The setting that holds the limit.
        setting: &'static str,
    },
    /// The queue of the model is full; try again after the time given.
    #[error("the queue of model {model} is full ({limit} requests); retry after {} ms", retry_after.as_millis())]
    QueueFull {
        /// Name of the model.
        model: String,
        /// Most requests that wait.
        limit: usize,
        /// When the queue is likely to have room.
        retry_after: Duration,
    },
    /// The client has more requests under way than it may have.
    #[error(
        "client {client} has {limit} requests under way, the most it may have ([limits] requests_per_client)"
    )]
    TooManyRequests {
        /// Address of the client.
        client: String,
        /// The limit.
        limit: usize,
    },
    /// The deadline passed before the answer was there.
    #[error("model {model}: the deadline passed {stage}")]
    Deadline {
        /// Name of the model.
        model: String,
        /// What the request was doing then.
        stage: &'static str,
    },
    /// The client gave up, or the server took the request back.
    #[error("the request was cancelled")]
    Cancelled,
    /// The model failed.
    #[error("model {model} version {version}: {source}")]
    Model {
        /// Name of the model.
        model: String,
        /// Its version.
        version: u64,
        /// What the model said.
        source: ModelError,
    },
    /// A file of the repository or of the settings cannot be used.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// What the protocol knows and this server does not do.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// The server is switched so that it refuses this.
    #[error("{what} is off; {remedy}")]
    Off {
        /// What was asked for.
        what: &'static str,
        /// How to allow it.
        remedy: &'static str,
    },
    /// No or a wrong bearer token.
    #[error("a valid bearer token is needed in the header authorization")]
    Unauthenticated,
    /// The server or the model is stopping or not ready.
    #[error("{0} is not ready")]
    NotReady(String),
    /// The configuration breaks rules.
    #[error("{0}")]
    Policy(String),
    /// The peer does not follow the protocol; seen by our client.
    #[error("{0}")]
    Protocol(String),
    /// The remote server answered with an error; seen by our client.
    #[error("the server answered {status:?}: {message}")]
    Remote {
        /// Its status.
        status: Status,
        /// Its message.
        message: String,
    },
}

/// What kind of failure, as clients see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Status {
    Cancelled,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    ResourceExhausted,
    TooLarge,
    Unimplemented,
    Internal,
    Unavailable,
    Unauthenticated,
    PermissionDenied,
    Unknown,
}

impl Status {
    /// Code of gRPC (its `status.proto`).
    pub fn grpc(self) -> u8 {
        match self {
            Self::Cancelled => 1,
            Self::Unknown => 2,
            Self::InvalidArgument => 3,
            Self::DeadlineExceeded => 4,
            Self::NotFound => 5,
            Self::PermissionDenied => 7,
            Self::ResourceExhausted | Self::TooLarge => 8,
            Self::Unimplemented => 12,
            Self::Internal => 13,
            Self::Unavailable => 14,
            Self::Unauthenticated => 16,
        }
    }

    /// Status of HTTP.
    pub fn http(self) -> u16 {
        match self {
            // What nginx made usual for clients that went away.
            Self::Cancelled => 499,
            Self::InvalidArgument => 400,
            Self::DeadlineExceeded => 504,
            Self::NotFound => 404,
            Self::PermissionDenied => 403,
            Self::ResourceExhausted => 429,
            Self::TooLarge => 413,
            Self::Unimplemented => 501,
            Self::Internal | Self::Unknown => 500,
            Self::Unavailable => 503,
            Self::Unauthenticated => 401,
        }
    }

    /// The status that a code of gRPC stands for.
    pub fn from_grpc(code: u8) -> Self {
        let all = [
            Self::Cancelled,
            Self::InvalidArgument,
            Self::DeadlineExceeded,
            Self::NotFound,
            Self::PermissionDenied,
            Self::ResourceExhausted,
            Self::Unimplemented,
            Self::Internal,
            Self::Unavailable,
            Self::Unauthenticated,
        ];
        all.into_iter().find(|status| status.grpc() == code).unwrap_or(Self::Unknown)
    }

    /// The status that a status of HTTP stands for.
    pub fn from_http(code: u16) -> Self {
        let all = [
            Self::Cancelled,
            Self::InvalidArgument,
            Self::DeadlineExceeded,
            Self::NotFound,
            Self::PermissionDenied,
            Self::ResourceExhausted,
            Self::TooLarge,
            Self::Unimplemented,
            Self::Internal,
            Self::Unavailable,
            Self::Unauthenticated,
        ];
        all.into_iter().find(|status| status.http() == code).unwrap_or(Self::Unknown)
    }
}

/// Why a request failed, as `nv_inference_request_failure` counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Shed: a queue or a client's share was full, or the deadline passed in the queue.
    Rejected,
    /// The client gave up.
    Cancelled,
    /// The model failed.
    Backend,
    /// The request was wrong.
    Other,
}

impl Reason {
    /// All reasons, in the order of the metrics.
    pub const ALL: [Self; 4] = [Self::Rejected, Self::Cancelled, Self::Backend, Self::Other];

    /// The label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rejected => "REJECTED",
            Self::Cancelled => "CANCELED",
            Self::Backend => "BACKEND",
            Self::Other => "OTHER",
        }
    }
}

impl Error {
    /// An [`Error::Invalid`] with this text.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    /// An [`Error::File`] with this text.
    pub fn file(path: impl Into<PathBuf>, why: impl ToString) -> Self {
        Self::File { path: path.into(), why: why.to_string() }
    }

    /// What kind of failure it is for clients.
    pub fn status(&self) -> Status {
        match self {
            Self::UnknownModel { .. } | Self::UnknownVersion { .. } => Status::NotFound,
            Self::Invalid(_) | Self::Policy(_) | Self::File { .. } => Status::InvalidArgument,
            Self::TooLarge { .. } => Status::TooLarge,
            Self::QueueFull { .. } | Self::TooManyRequests { .. } => Status::ResourceExhausted,
            Self::Deadline { .. } => Status::DeadlineExceeded,
            Self::Cancelled => Status::Cancelled,
            Self::Model { source, .. } if source.is_bad_input() => Status::InvalidArgument,
            Self::Model { .. } => Status::Internal,
            Self::Unsupported(_) => Status::Unimplemented,
            Self::Off { .. } => Status::PermissionDenied,
            Self::Unauthenticated => Status::Unauthenticated,
            Self::NotReady(_) | Self::Protocol(_) => Status::Unavailable,
            Self::Remote { status, .. } => *status,
        }
    }

    /// How the metrics count it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::QueueFull { .. } | Self::TooManyRequests { .. } | Self::Deadline { .. } => {
                Reason::Rejected
            }
            Self::Cancelled => Reason::Cancelled,
            Self::Model { source, .. } if !source.is_bad_input() => Reason::Backend,
            _ => Reason::Other,
        }
    }

    /// When to try again, for errors that pass.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::QueueFull { retry_after, .. } => Some(*retry_after),
            Self::TooManyRequests { .. } => Some(Duration::from_millis(10)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_protocols() {
        let full = Error::QueueFull {
            model: "m".into(),
            limit: 8,
            retry_after: Duration::from_millis(40),
        };
        assert_eq!((full.status().http(), full.status().grpc()), (429, 8));
        assert_eq!(
            full.to_string(),
            "the queue of model m is full (8 requests); retry after 40 ms"
        );
        for code in [1, 3, 4, 5, 7, 8, 12, 13, 14, 16] {
            assert_eq!(Status::from_grpc(code).grpc(), code);
        }
        for code in [499, 400, 504, 404, 403, 429, 413, 501, 500, 503, 401] {
            assert_eq!(Status::from_http(code).http(), code);
        }
        assert_eq!(Status::from_grpc(200), Status::Unknown);
    }

    #[test]
    fn a_models_word_decides_whose_fault_it_is() {
        let error = |source| Error::Model { model: "m".into(), version: 1, source };
        let bad = error(ModelError::BadInput("index 9 is out of range".into()));
        assert_eq!((bad.status(), bad.reason()), (Status::InvalidArgument, Reason::Other));
        let failed = error(ModelError::Failed("out of memory".into()));
        assert_eq!((failed.status(), failed.reason()), (Status::Internal, Reason::Backend));
    }
}
