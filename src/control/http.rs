//! The admin address: hyper's HTTP/1 on monoio, on the control thread.
//!
//! Loopback only, read only, and small: few connections at once, short headers, no bodies, deadlines on everything.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use monoio::io::IntoPollIo;
use monoio::net::{TcpListener, TcpStream};
use monoio_compat::hyper::{MonoioIo, MonoioTimer};

use super::pages::{Answer, Pages};
use crate::bind::once_free;

/// Connections at once; the next one waits in the kernel's queue.
const MAX_CONNECTIONS: u32 = 32;
/// Bytes of one request's head.
const MAX_HEAD: usize = 8 * 1024;
const MAX_HEADERS: usize = 64;
/// From the first byte of a connection (or the last answer on it) to a complete head.
const HEAD_DEADLINE: Duration = Duration::from_secs(2);
/// The whole life of a connection.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(60);
/// How long a scrape waits for the cores' latencies, and how often it looks.
const LATENCY_DEADLINE: Duration = Duration::from_millis(100);
const LATENCY_LOOK: Duration = Duration::from_millis(1);
/// After an accept that failed (out of descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Binds before anything is served, so that an address in use is an error of the start.
///
/// # Errors
/// Refuses an address that is not a loopback one.
pub fn bind(address: std::net::SocketAddr) -> io::Result<std::net::TcpListener> {
    if !address.ip().is_loopback() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the admin address must be a loopback address",
        ));
    }
    once_free(
        || std::net::TcpListener::bind(address),
        |error| error.kind() == io::ErrorKind::AddrInUse,
    )
}

/// Serves until the runtime ends. Runs on a monoio runtime with timers.
pub async fn serve(listener: std::net::TcpListener, pages: Arc<Pages>) -> io::Result<Infallible> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let open = Rc::new(Cell::new(0u32));
    loop {
        if open.get() >= MAX_CONNECTIONS {
            monoio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                monoio::spawn(one_connection(stream, pages.clone(), Place::take(&open)));
            }
            Err(error) => {
                tracing::warn!(%error, "admin address: accept failed");
                monoio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn one_connection(stream: TcpStream, pages: Arc<Pages>, _place: Place) {
    let Ok(stream) = stream.into_poll_io() else { return };
    let service = service_fn(move |request| answer(request, pages.clone()));
    let connection = http1::Builder::new()
        .timer(MonoioTimer)
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(MonoioIo::new(stream), service);
    match monoio::time::timeout(CONNECTION_DEADLINE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "admin connection"),
        Err(_) => tracing::debug!("admin connection: deadline"),
    }
}

async fn answer(request: Request<Incoming>, pages: Arc<Pages>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = response(Answer::text(405, "only GET\n"));
        refused
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(refused);
    }
    let path = request.uri().path();
    if pages.wants_latencies(path) {
        gather(&pages).await;
    }
    Ok(response(pages.answer(path)))
}

async fn gather(pages: &Pages) {
    pages.latencies.ask(&pages.cores);
    for _ in 0..LATENCY_DEADLINE.as_millis() / LATENCY_LOOK.as_millis() {
        if pages.latencies.complete() {
            return;
        }
        monoio::time::sleep(LATENCY_LOOK).await;
    }
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// One of [`MAX_CONNECTIONS`], given back when dropped.
struct Place(Rc<Cell<u32>>);

impl Place {
    fn take(open: &Rc<Cell<u32>>) -> Self {
        open.set(open.get() + 1);
        Self(open.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
