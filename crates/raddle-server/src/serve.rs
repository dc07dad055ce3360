//! A running server: sockets, models, and what happens every now and then.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use crate::config::{ServerSettings, duration};
use crate::error::{Error, Result};
use crate::front::{Bound, Front, Listeners};
use crate::log::{self, field};
use crate::model::Backend;
use crate::server::Server;
use crate::tls::Identity;
use crate::trace;

/// How often canaries are judged.
const JUDGE_EVERY: Duration = Duration::from_millis(250);
/// How often the status page's charts get a point.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// How often what is being loaded is looked at.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How often the certificate's files are looked at.
const RENEW_EVERY: Duration = Duration::from_secs(5);

/// A server that was started.
pub struct Running {
    /// The server.
    pub server: Arc<Server>,
    /// What talks to clients.
    pub front: Arc<Front>,
    /// Where it can be reached.
    pub bound: Bound,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    /// What sends traces.
    sending: Option<JoinHandle<()>>,
}

impl Running {
    /// Opens the sockets, loads all models and begins to serve. Requests that come
    /// while models are loaded are told that the server is not ready.
    ///
    /// ## Errors
    /// Settings that make no sense, sockets or files that cannot be opened. A model
    /// that does not load is none: the others are served.
    pub async fn start(settings: ServerSettings, backend: Arc<dyn Backend>) -> Result<Self> {
        let server = Server::new(settings, backend)?;
        let front = Front::new(Arc::clone(&server))?;
        let (listeners, bound) = Listeners::bind(&front)?;
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(listeners.serve(Arc::clone(&front), stopped.clone()));
        every(TELL_EVERY, &stopped, Arc::clone(&server), |server| server.loading.tell());
        let loading = Arc::clone(&server);
        let loaded = spawn_blocking(move || loading.load_all()).await;
        loaded.unwrap_or_else(|why| Err(Error::NotReady(format!("the repository ({why})"))))?;
        every(JUDGE_EVERY, &stopped, Arc::clone(&server), |server| server.judge());
        if let Some(period) = duration(server.settings.poll_seconds) {
            every(period, &stopped, Arc::clone(&server), |server| server.poll());
        }
        if front.identity.is_some() {
            every(RENEW_EVERY, &stopped, Arc::clone(&front), |front| {
                front.identity.iter().for_each(Identity::refresh);
            });
        }
        let sending = front
            .tracer
            .clone()
            .map(|tracer| tokio::spawn(async move { trace::keep_sending(&tracer).await }));
        every(SAMPLE_EVERY, &stopped, Arc::clone(&front), |front| {
            front.history.sample(&front.server);
            front.pieces.trim();
        });
        Ok(Self { server, front, bound, stop, serving, sending })
    }

    /// Stops: no new connections, requests under way are answered, models are dropped.
    pub async fn stop(self) {
        self.server.set_ready(false);
        // Its receivers live as long as what they stop.
        let _ = self.stop.send(true);
        let _ = self.serving.await;
        if let (Some(sending), Some(tracer)) = (self.sending, &self.front.tracer) {
            sending.abort();
            // What a collector does not take now is lost with the process.
            tracer.flush().await;
        }
        let server = self.server;
        let _ = spawn_blocking(move || server.shut_down()).await;
    }
}

/// Does something again and again on a thread that may block, never twice at once.
fn every<T: Send + Sync + 'static>(
    period: Duration,
    stopped: &watch::Receiver<bool>,
    what: Arc<T>,
    work: fn(&T),
) {
    let mut stopped = stopped.clone();
    tokio::spawn(async move {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut stopping = std::pin::pin!(stopped.wait_for(|is_stopping| *is_stopping));
            let is_over = std::future::poll_fn(|cx| {
                if stopping.as_mut().poll(cx).is_ready() {
                    return std::task::Poll::Ready(true);
                }
                ticks.poll_tick(cx).map(|_| false)
            });
            if is_over.await {
                return;
            }
            let what = Arc::clone(&what);
            if let Err(panic) = spawn_blocking(move || work(&what)).await {
                log::error("a regular task panicked", &[field("why", panic)]);
            }
        }
    });
}

/// Serves until the process is told to end (SIGTERM or SIGINT).
///
/// ## Errors
/// As [`Running::start`].
pub fn run(
    settings: ServerSettings,
    backend: Arc<dyn Backend>,
    on_ready: impl FnOnce(&Running),
) -> Result<()> {
    let mut builder = Builder::new_multi_thread();
    if settings.threads > 0 {
        builder.worker_threads(settings.threads);
    }
    let runtime = builder.enable_all().thread_name("front").build();
    let runtime = runtime.map_err(|why| Error::invalid(format!("no threads: {why}")))?;
    runtime.block_on(async {
        let no_signals = |why| Error::invalid(format!("signals cannot be caught: {why}"));
        let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
        let running = Running::start(settings, backend).await?;
        on_ready(&running);
        std::future::poll_fn(|cx| match terminate.poll_recv(cx) {
            std::task::Poll::Pending => interrupt.poll_recv(cx),
            ready => ready,
        })
        .await;
        log::info("stopping", &[]);
        running.stop().await;
        Ok(())
    })
}
