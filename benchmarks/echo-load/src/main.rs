//! Sends a WebSocket message on each of many connections, again and again, and counts those that
//! come back: the load of the benchmarks, faster than any server that it is held against.
//!
//! `echo-load PORT CONNECTIONS SECONDS FOLDER`. What is sent lies in files of the folder, so that
//! nothing is masked or compressed while the load runs: `upgrade`, the request that opens a
//! connection; `frame`, the message as a client sends it; `payload`, what has to come back.
//!
//! - Each connection has one message under way; its answer's end sends the next.
//! - An answer that was not compressed is compared with the payload, every byte of it. What the
//!   first connection receives is written to `received`, for whoever can decompress it.
//! - The last line on standard output is the result, as JSON. Whatever goes wrong ends the run
//!   with status 1 and a line that says what.

mod connection;
mod frames;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fs};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use connection::{Connection, Script};

/// What one read may bring: several answers of the largest size that is measured.
const READ: usize = 256 * 1024;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<String, Failure> {
    let [port, connections, seconds, folder] = arguments else {
        return Err("usage: echo-load PORT CONNECTIONS SECONDS FOLDER".into());
    };
    let (port, connections): (u16, usize) = (port.parse()?, connections.parse()?);
    let folder = Path::new(folder);
    let script = Script {
        upgrade: fs::read(folder.join("upgrade"))?,
        frame: fs::read(folder.join("frame"))?,
        payload: fs::read(folder.join("payload"))?,
    };
    let mut all = Vec::with_capacity(connections);
    for number in 0..connections {
        all.push(Connection::open(port, &script, number == 0)?);
    }
    let begun = Instant::now();
    let latencies = load(&mut all, &script, begun + Duration::from_secs(seconds.parse()?))?;
    let took = begun.elapsed();
    if let Some(first) = all.first() {
        fs::write(folder.join("received"), first.recorded())?;
    }
    Ok(report(latencies, took))
}

/// Keep every connection busy until the deadline. Returns how long each answer took.
fn load(
    all: &mut [Connection],
    script: &Script,
    deadline: Instant,
) -> Result<Vec<Duration>, Failure> {
    let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (number, connection) in all.iter_mut().enumerate() {
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&poller, connection.socket(), data, connection.interest())?;
        connection.begin(script)?;
        watch(&poller, connection, number)?;
    }
    let mut latencies = Vec::new();
    let mut events = Vec::with_capacity(all.len());
    let mut buffer = vec![0; READ];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(latencies);
        }
        events.clear();
        epoll::wait(&poller, spare_capacity(&mut events), Some(&Timespec::try_from(left)?))?;
        for event in &events {
            let number = event.data.u64() as usize;
            let connection = &mut all[number];
            connection.turn(script, &mut buffer, &mut latencies)?;
            watch(&poller, connection, number)?;
        }
    }
}

/// Ask for room in the socket when, and only while, there is something to send.
fn watch(
    poller: impl rustix::fd::AsFd,
    connection: &mut Connection,
    number: usize,
) -> Result<(), Failure> {
    if connection.interest_has_changed() {
        let data = epoll::EventData::new_u64(number as u64);
        epoll::modify(poller, connection.socket(), data, connection.interest())?;
    }
    Ok(())
}

fn report(mut latencies: Vec<Duration>, took: Duration) -> String {
    latencies.sort_unstable();
    let quantile = |share: f64| {
        let position = (latencies.len() as f64 * share) as usize;
        latencies.get(position).map_or(0.0, Duration::as_secs_f64)
    };
    format!(
        "{{\"requests\": {}, \"seconds\": {:.6}, \"p50\": {:.6}, \"p99\": {:.6}, \"errors\": {{}}}}",
        latencies.len(),
        took.as_secs_f64(),
        quantile(0.50),
        quantile(0.99),
    )
}
