//! A worker process that is replaced when a fault costs it its device.
//!
//! CUDA gives a process no sure way back from a fault such as an illegal address:
//! the header tells it to end. A service keeps its GPU work in a worker process
//! and its clients' requests in the supervisor, which starts the next worker and
//! asks again. The protocol here is one line for a request and one for an answer.
//!
//! `cargo run -p raddle-runtime --example supervised`: the third request makes a
//! kernel write to a wild address (on the CPU device, which has no such faults,
//! the worker aborts); the figures say how long each worker took to serve.

#[path = "../tests/kernels/mod.rs"]
mod kernels;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use raddle_runtime::{Device, Error, Grid, Stream};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::args().nth(1).as_deref() == Some(WORKER) {
        return serve();
    }
    let mut worker = Worker::start()?;
    for (request, is_poisoned) in [(1, false), (2, false), (3, true), (4, false)] {
        if is_poisoned {
            // Nobody waits for an answer to this one: it takes the worker with it.
            let lost = worker.ask("fault");
            println!("request {request}: {}", lost.err().unwrap_or("no fault".into()));
        }
        let answer = match worker.ask(&request.to_string()) {
            Ok(answer) => answer,
            Err(reason) => {
                let start = Instant::now();
                worker = Worker::start()?;
                let answer = worker.ask(&request.to_string())?;
                let ms = start.elapsed().as_secs_f64() * 1e3;
                println!("request {request}: {reason}; a new worker served it after {ms:.0} ms");
                answer
            }
        };
        assert_eq!(answer, expected(request), "request {request}");
        println!("request {request}: {answer}");
    }
    Ok(())
}

const WORKER: &str = "--worker";
/// How a worker says that its device is lost.
const LOST: i32 = 70;

/// The supervisor's side of a worker.
struct Worker {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    fn start() -> Result<Self, Box<dyn std::error::Error>> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(WORKER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let requests = child.stdin.take().ok_or("a worker has a standard input")?;
        let answers = BufReader::new(child.stdout.take().ok_or("and a standard output")?);
        Ok(Self { child, requests, answers })
    }

    /// The answer, or why there will be none.
    fn ask(&mut self, request: &str) -> Result<String, String> {
        let mut answer = String::new();
        let asked = writeln!(self.requests, "{request}").and_then(|()| self.requests.flush());
        if asked.is_ok() && self.answers.read_line(&mut answer).is_ok_and(|bytes| bytes > 0) {
            return Ok(answer.trim().to_owned());
        }
        match self.child.wait() {
            Ok(status) if status.code() == Some(LOST) => Err("the worker lost its device".into()),
            Ok(status) => Err(format!("the worker ended ({status})")),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // A worker whose input ends, ends; one that hangs is ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The worker: answers requests until its input ends or its device is lost.
fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let stream = Device::best()?.stream()?;
    for request in std::io::stdin().lines() {
        let request = request?;
        let served = match request.parse::<u32>() {
            Ok(number) => answer(&stream, number),
            Err(_) => fault(&stream),
        };
        match served {
            Ok(answer) => println!("{answer}"),
            Err(error @ Error::DeviceLost { .. }) => {
                eprintln!("worker: {error}");
                std::process::exit(LOST);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn answer(stream: &Stream, number: u32) -> Result<String, Error> {
    let sum: f32 = stream.filled(100, number as f32 * 2.0)?.to_vec()?.iter().sum();
    Ok(sum.to_string())
}

fn expected(number: u32) -> String {
    (number as f32 * 200.0).to_string()
}

fn fault(stream: &Stream) -> Result<String, Error> {
    if !stream.device().is_gpu() {
        std::process::abort();
    }
    stream.launch(Grid::new(1, 32), kernels::wild())?.wait()?;
    Ok("the wild kernel did no harm".to_owned())
}
