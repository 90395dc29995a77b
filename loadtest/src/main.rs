//! `postern-loadtest`: herds of clients that do what one pgbench cannot, and a small fake PostgreSQL to stand behind the
//! gate. On monoio, one thread for each process; where the descriptor limit is in the way, start several.

mod clients;
mod exchange;
mod fake;
mod memory;
mod strangers;
mod waiting;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::Parser;
use postern_perf::processes::raise_descriptor_limit;

/// Whatever stops a command is told to a person as text.
pub type Failure = Box<dyn std::error::Error>;

#[derive(Parser)]
#[command(about = "Load for a PostgreSQL gate: idle herds, storms, churn, strangers, and a fake server")]
enum Command {
    /// A server that lets everyone in and answers every query with nothing.
    FakePostgres(fake::Options),
    /// Opens sessions and holds them.
    Idle(clients::Options),
    /// All sessions connect at once; each ends as soon as it is in.
    Storm(clients::Options),
    /// Sessions come, ask once and go, over and over.
    Churn(clients::Options),
    /// Sessions that send a password over TLS and wait for the answer.
    Waiting(waiting::Options),
    /// Sockets that never speak.
    Mute(strangers::Options),
    /// Random bytes instead of a start-up message.
    Garbage(strangers::Options),
    /// Start-up messages at a byte a second.
    Slow(strangers::Options),
    /// User memory of an idle session: starts the fake server, Postern and as many clients as it takes.
    Memory(memory::Options),
}

fn main() -> Result<(), Failure> {
    let command = Command::parse();
    raise_descriptor_limit()?;
    match command {
        Command::Memory(options) => memory::measure(&options),
        Command::FakePostgres(options) => on_monoio(fake::serve(options)),
        Command::Idle(options) => on_monoio(clients::idle(options)),
        Command::Storm(options) => on_monoio(clients::storm(options)),
        Command::Churn(options) => on_monoio(clients::churn(options)),
        Command::Waiting(options) => on_monoio(waiting::run(options)),
        Command::Mute(options) => on_monoio(strangers::run(options, strangers::Manner::Mute)),
        Command::Garbage(options) => on_monoio(strangers::run(options, strangers::Manner::Garbage)),
        Command::Slow(options) => on_monoio(strangers::run(options, strangers::Manner::Slow)),
    }
}

/// The legacy (epoll) driver: thousands of waiting sockets cost it no submission each, and any machine has it.
fn on_monoio(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let mut runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new()
        .enable_timer()
        .build()?;
    runtime.block_on(work)
}

/// A socket towards `target` from one of the addresses 127.0.0.2 and up: one source address has 28,000 ports only.
pub async fn connect(target: SocketAddr, nth: u32) -> std::io::Result<monoio::net::TcpStream> {
    let options = monoio::net::TcpConnectOpts::default();
    let stream = if target.ip().is_loopback() && target.is_ipv4() {
        let source = Ipv4Addr::new(127, 0, 0, 2 + (nth / 10_000) as u8);
        exchange::connect_from(source, target).await?
    } else {
        monoio::net::TcpStream::connect_addr_with_config(target, &options).await?
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// `15s`-like durations are not worth a crate here: whole seconds.
pub fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
