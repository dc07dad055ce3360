//! A server around the trial model, and requests to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use raddle_server::config::ServerSettings;
use raddle_server::protocol::{InferRequest, Input};
use raddle_server::serve::Running;
use raddle_server::tensor::{Datatype, Tensor};

pub use super::trial::*;

/// A repository and a server on it.
pub struct Rig {
    pub probe: Arc<Probe>,
    pub root: PathBuf,
    pub running: Running,
}

/// An empty folder below the target folder.
pub fn fresh(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

impl Rig {
    pub async fn start(settings: ServerSettings) -> Self {
        let probe = Arc::new(Probe::default());
        let root = settings.models.clone();
        let backend = Arc::new(TrialBackend(Arc::clone(&probe)));
        let running = Running::start(settings, backend).await.expect("the server starts");
        Self { probe, root, running }
    }

    /// A server with one model of one version.
    pub async fn with(name: &str, words: &str) -> Self {
        let root = fresh(name);
        write_version(&root, "m", 1, words);
        Self::start(settings(&root)).await
    }
}

/// A request with numbers, one row.
pub fn request(model: &str, numbers: &[i32]) -> InferRequest {
    rows(model, &[numbers])
}

/// A request with rows of numbers.
pub fn rows(model: &str, rows: &[&[i32]]) -> InferRequest {
    let data: Vec<u8> = rows.concat().iter().flat_map(|number| number.to_le_bytes()).collect();
    let tensor = Tensor {
        name: "x".into(),
        datatype: Datatype::Int32,
        shape: vec![rows.len(), rows[0].len()],
        data: data.into(),
    };
    let inputs = vec![Input { tensor, region: None }];
    InferRequest { model: model.into(), inputs, is_binary_output: true, ..InferRequest::default() }
}

/// The numbers of an output.
pub fn numbers(tensor: &Tensor) -> Vec<i32> {
    let data = tensor.data.to_bytes();
    data.chunks_exact(4).map(|it| i32::from_le_bytes(it.try_into().unwrap())).collect()
}

/// A runtime with two threads.
pub fn block_on(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap().block_on(test);
}
