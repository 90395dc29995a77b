//! A server that is just enough of PostgreSQL: start-up with trust or SCRAM-SHA-256, and an empty answer to every query.
//!
//! Any user, any database. A session that waits holds a socket and a task and no buffer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_lc_rs::rand;
use monoio::net::{TcpListener, TcpStream};
use postern::identity::scram::server::{Against, Binding, begin};
use postern::identity::scram::{SCRAM_SHA_256, verifier};
use postern::wire::authentication::{self, SaslInitialResponse};
use postern::wire::backend::{BackendKeyData, ParameterStatus, TransactionStatus, encode_ready_for_query};
use postern::wire::initial::Initial;
use postern_policy::identity::ScramVerifierView;
use postern_policy::model::ScramVerifier;

use crate::Failure;
use crate::exchange::{Exchange, decode_initial};

#[derive(clap::Args)]
pub struct Options {
    #[arg(long)]
    port: u16,
    /// Listen on so many addresses, from 127.0.0.1 on: one has 28,000 ports for those who connect.
    #[arg(long, default_value_t = 1)]
    addresses: u8,
    /// Ask for SCRAM-SHA-256 with this password; otherwise everyone is trusted.
    #[arg(long)]
    password: Option<String>,
}

const ITERATIONS: u32 = 4_096;
const PARAMETERS: [(&str, &str); 6] = [
    ("server_version", "18.0 (fake)"),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
];
static NEXT_PROCESS: AtomicU32 = AtomicU32::new(1);

pub async fn serve(options: Options) -> Result<(), Failure> {
    let secret = options
        .password
        .map(|password| verifier::make(password.as_bytes(), b"salt of the fake", ITERATIONS));
    let secret = Rc::new(secret);
    let mut listeners = Vec::new();
    for last in 1..=options.addresses {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), options.port);
        listeners.push(monoio::spawn(accept(listen(address)?, secret.clone())));
    }
    for listener in listeners {
        listener.await?;
    }
    Ok(())
}

/// With a backlog for storms: tens of thousands may knock at once.
fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(65_535)?;
    Ok(TcpListener::from_std(socket.into())?)
}

async fn accept(listener: TcpListener, secret: Rc<Option<ScramVerifier>>) -> Result<(), std::io::Error> {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let secret = secret.clone();
                monoio::spawn(async move {
                    // A client that goes away is no news.
                    if let Ok(Some(stream)) = start(stream, (*secret).as_ref()).await {
                        answer(stream).await.ok();
                    }
                });
            }
            Err(error) => {
                eprintln!("accept: {error}");
                monoio::time::sleep(crate::seconds(1)).await;
            }
        }
    }
}

/// Up to ReadyForQuery. None where the client wanted something else.
async fn start(stream: TcpStream, secret: Option<&ScramVerifier>) -> Result<Option<TcpStream>, Failure> {
    let mut exchange = Exchange::new(stream);
    loop {
        let message = exchange.initial().await?;
        match decode_initial(&message)? {
            Initial::SslRequest | Initial::GssEncRequest => exchange.send(b"N".to_vec()).await?,
            Initial::Startup(_) => break,
            Initial::Cancel(_) | Initial::UnsupportedVersion(_) => return Ok(None),
        }
    }
    if let Some(secret) = secret {
        check(&mut exchange, secret).await?;
    }
    let mut out = Vec::new();
    authentication::encode_ok(&mut out);
    for (name, value) in PARAMETERS {
        let (name, value) = (name.as_bytes(), value.as_bytes());
        ParameterStatus { name, value }.encode(&mut out);
    }
    let process_id = NEXT_PROCESS.fetch_add(1, Ordering::Relaxed);
    let key = &process_id.to_be_bytes();
    BackendKeyData { process_id, key }.encode(&mut out);
    encode_ready_for_query(&mut out, TransactionStatus::Idle);
    exchange.send(out).await?;
    Ok(Some(exchange.into_stream()))
}

async fn check(exchange: &mut Exchange, secret: &ScramVerifier) -> Result<(), Failure> {
    let mut out = Vec::new();
    authentication::encode_sasl(&mut out, &[SCRAM_SHA_256]);
    exchange.send(std::mem::take(&mut out)).await?;
    let view = ScramVerifierView {
        iterations: secret.iterations,
        salt: &secret.salt,
        stored_key: &secret.stored_key,
        server_key: &secret.server_key,
    };
    let against = Against::of(Some(view), "", &[0; 32], secret.iterations);
    let message = exchange.message().await?;
    let initial = SaslInitialResponse::decode(message.message().body)?;
    let mut said = Vec::new();
    let first = initial.data.unwrap_or_default();
    let expected = begin(initial.mechanism, first, against, Binding::None, random()?, &mut said)?;
    authentication::encode_sasl_continue(&mut out, &said);
    exchange.send(std::mem::take(&mut out)).await?;
    said.clear();
    let message = exchange.message().await?;
    expected.finish(message.message().body, &mut said)?;
    authentication::encode_sasl_final(&mut out, &said);
    exchange.send(out).await
}

/// Every query has an empty answer. Waits without a buffer.
async fn answer(mut stream: TcpStream) -> Result<(), Failure> {
    loop {
        stream.readable(false).await?;
        let mut exchange = Exchange::new(stream);
        match exchange.message().await?.message().tag {
            b'Q' => {
                let mut out = b"C\0\0\0\x0dSELECT 0\0".to_vec();
                encode_ready_for_query(&mut out, TransactionStatus::Idle);
                exchange.send(out).await?;
            }
            b'X' => return Ok(()),
            other => return Err(format!("message {} is beyond a fake", other.escape_ascii()).into()),
        }
        stream = exchange.into_stream();
    }
}

pub fn random() -> Result<[u8; 18], Failure> {
    let mut bytes = [0; 18];
    rand::fill(&mut bytes).map_err(|_unspecified| "no random bytes")?;
    Ok(bytes)
}
