//! One connection to a provider: TCP, TLS, and hyper's HTTP/1.1 on it, all on the control thread's runtime.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use monoio::io::IntoPollIo;
use monoio::net::TcpStream;
use monoio_compat::hyper::MonoioIo;
use rustls::ClientConfig;
use tokio_rustls::TlsConnector;

use super::fault::{Fault, Phase};
use super::target::Target;

/// Bytes of an answer's head.
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 100;
/// An address that does not answer leaves this much time to the next one at least.
const SHORTEST_TRY: Duration = Duration::from_millis(50);

/// The sending end; the connection itself lives in a task of its own and ends with it.
pub type Sender = SendRequest<Full<Bytes>>;

/// Connects to the first of `addresses` that takes the connection. `phase` says how far it came, for whoever gives up.
pub async fn open(
    target: &Target,
    addresses: &[IpAddr],
    tls: &Arc<ClientConfig>,
    until: Instant,
    phase: &Cell<Phase>,
) -> Result<Sender, Fault> {
    phase.set(Phase::Connect);
    let stream = connect(target, addresses, until).await?;
    let stream = stream.into_poll_io().map_err(|error| connect_fault(target, &error))?;
    phase.set(Phase::Tls);
    let stream = TlsConnector::from(tls.clone())
        .connect(target.server_name().clone(), stream)
        .await
        .map_err(|error| tls_fault(target, &error))?;
    phase.set(Phase::Head);
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .handshake(MonoioIo::new(stream))
        .await
        .map_err(|error| Fault::Http(error.to_string()))?;
    monoio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to a provider");
        }
    });
    Ok(sender)
}

/// One address after the other. Each but the last gets half of the time that is left.
async fn connect(target: &Target, addresses: &[IpAddr], until: Instant) -> Result<TcpStream, Fault> {
    let mut last = Fault::AddressUnknown(target.host().into());
    for (number, address) in addresses.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        let patience = if number + 1 == addresses.len() {
            left
        } else {
            (left / 2).max(SHORTEST_TRY)
        };
        let address = SocketAddr::new(*address, target.origin().port);
        last = match monoio::time::timeout(patience, TcpStream::connect_addr(address)).await {
            Ok(Ok(stream)) => {
                stream
                    .set_nodelay(true)
                    .map_err(|error| connect_fault(target, &error))?;
                return Ok(stream);
            }
            Ok(Err(error)) => Fault::Connect {
                to: address.to_string().into(),
                error: error.to_string(),
            },
            Err(_) => Fault::Connect {
                to: address.to_string().into(),
                error: "no answer".to_owned(),
            },
        };
    }
    Err(last)
}

fn connect_fault(target: &Target, error: &io::Error) -> Fault {
    Fault::Connect {
        to: target.authority().into(),
        error: error.to_string(),
    }
}

fn tls_fault(target: &Target, error: &io::Error) -> Fault {
    Fault::Tls {
        host: target.host().into(),
        error: error.to_string(),
    }
}
