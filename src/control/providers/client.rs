//! HTTPS requests to one provider: a deadline over everything, a cap on what is read, connections used again.
//!
//! Never plain HTTP, never a redirect: whoever could answer with one could send the question elsewhere. Each provider has
//! a client of its own, so that a connection made with one provider's trust anchors never serves another.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{ACCEPT, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use rustls::ClientConfig;

use super::connection::{self, Sender};
use super::fault::{Fault, Phase};
use super::target::{Origin, Target};
use crate::control::resolve::Addresses;

/// Idle connections kept for one origin.
const MAX_IDLE: usize = 16;
/// An idle connection older than this is not used again; providers' load balancers close them after about a minute.
const IDLE_AGE: Duration = Duration::from_secs(30);
const AGENT: &str = concat!("postern/", env!("CARGO_PKG_VERSION"));
/// Bytes of a `Location` that an error repeats.
const MAX_LOCATION: usize = 200;

/// Lives on the control thread's runtime.
pub struct Client {
    tls: Arc<ClientConfig>,
    addresses: Arc<ArcSwap<Addresses>>,
    idle: RefCell<HashMap<Origin, Vec<Idle>>>,
}

struct Idle {
    sender: Sender,
    since: Instant,
}

/// What to ask.
pub struct Call<'a> {
    pub target: &'a Target,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// With a body it is a POST, without one a GET.
    pub body: Option<Bytes>,
    /// Most bytes of an answer's body.
    pub cap: usize,
}

/// A complete answer: of a status 2xx, or 304.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Client {
    pub fn new(tls: Arc<ClientConfig>, addresses: Arc<ArcSwap<Addresses>>) -> Self {
        Self {
            tls,
            addresses,
            idle: RefCell::default(),
        }
    }

    pub fn knows_address(&self, target: &Target) -> bool {
        !self.addresses.load().of(target.host()).is_empty()
    }

    /// Asks and reads the whole answer within `deadline`.
    pub async fn send(&self, call: &Call<'_>, deadline: Duration) -> Result<Reply, Fault> {
        let phase = Cell::new(Phase::Connect);
        let work = self.answer_to(call, Instant::now() + deadline, &phase);
        match monoio::time::timeout(deadline, work).await {
            Ok(result) => result,
            Err(_) => Err(Fault::Deadline {
                millis: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX),
                phase: phase.get(),
            }),
        }
    }

    async fn answer_to(&self, call: &Call<'_>, until: Instant, phase: &Cell<Phase>) -> Result<Reply, Fault> {
        let (sender, response) = self.response_to(call, until, phase).await?;
        judge_status(&response)?;
        phase.set(Phase::Body);
        let (head, body) = response.into_parts();
        let body = read(body, call.cap).await?;
        self.keep(call.target.origin(), sender);
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    /// On an idle connection if there is one. The provider may just have closed that: what fails there without an answer
    /// is asked once more on a fresh one, which is safe since every request of ours is only a question.
    async fn response_to(
        &self,
        call: &Call<'_>,
        until: Instant,
        phase: &Cell<Phase>,
    ) -> Result<(Sender, Response<Incoming>), Fault> {
        phase.set(Phase::Head);
        while let Some(mut sender) = self.take_idle(call.target.origin()) {
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.send_request(request(call)?).await {
                Ok(response) => return Ok((sender, response)),
                Err(error) => {
                    tracing::debug!(%error, "an idle connection to a provider was of no use");
                    break;
                }
            }
        }
        let addresses = self.addresses.load_full();
        let mut sender =
            connection::open(call.target, addresses.of(call.target.host()), &self.tls, until, phase).await?;
        let response = sender
            .send_request(request(call)?)
            .await
            .map_err(|error| Fault::Http(chain(&error)))?;
        Ok((sender, response))
    }

    fn take_idle(&self, origin: &Origin) -> Option<Sender> {
        let mut idle = self.idle.borrow_mut();
        let waiting = idle.get_mut(origin)?;
        waiting.retain(|idle| idle.since.elapsed() < IDLE_AGE && !idle.sender.is_closed());
        waiting.pop().map(|idle| idle.sender)
    }

    fn keep(&self, origin: &Origin, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let waiting = idle.entry(origin.clone()).or_default();
        waiting.retain(|idle| idle.since.elapsed() < IDLE_AGE && !idle.sender.is_closed());
        if waiting.len() < MAX_IDLE {
            waiting.push(Idle {
                sender,
                since: Instant::now(),
            });
        }
    }
}

fn request(call: &Call<'_>) -> Result<Request<Full<Bytes>>, Fault> {
    let method = if call.body.is_some() { Method::POST } else { Method::GET };
    let mut request = Request::builder()
        .method(method)
        .uri(call.target.path())
        .header(HOST, call.target.authority())
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, "application/json");
    for (name, value) in &call.headers {
        request = request.header(name, value);
    }
    request
        .body(Full::new(call.body.clone().unwrap_or_default()))
        .map_err(|error| Fault::Http(error.to_string()))
}

fn judge_status(response: &Response<Incoming>) -> Result<(), Fault> {
    let status = response.status();
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        return Ok(());
    }
    if !status.is_redirection() {
        return Err(Fault::Status(status.as_u16()));
    }
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    Err(Fault::Redirect {
        status: status.as_u16(),
        location: location
            .map_or("nowhere", |location| location.get(..MAX_LOCATION).unwrap_or(location))
            .into(),
    })
}

async fn read(mut body: Incoming, cap: usize) -> Result<Vec<u8>, Fault> {
    if body.size_hint().lower() > cap as u64 {
        return Err(Fault::TooLong(cap));
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Fault::Http(chain(&error)))?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > cap {
            return Err(Fault::TooLong(cap));
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}

/// hyper says what it did, its cause what happened.
fn chain(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
