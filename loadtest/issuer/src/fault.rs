//! What may go wrong with an issuer, at will, and where.

use std::str::FromStr;
use std::time::Duration;

use crate::http::Response;

/// The addresses that are counted and may fail each by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    Discovery,
    Jwks,
    Token,
    DeviceAuthorization,
    Webhook,
    /// There is nothing.
    Unknown,
}

impl Endpoint {
    pub const ALL: [Self; 6] = [
        Self::Discovery,
        Self::Jwks,
        Self::Token,
        Self::DeviceAuthorization,
        Self::Webhook,
        Self::Unknown,
    ];

    pub(crate) fn of_path(path: &str) -> Self {
        match path {
            "/.well-known/openid-configuration" | "/.well-known/oauth-authorization-server" => Self::Discovery,
            "/jwks" => Self::Jwks,
            "/token" => Self::Token,
            "/device_authorization" => Self::DeviceAuthorization,
            "/webhook" => Self::Webhook,
            _ => Self::Unknown,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Discovery => "discovery",
            Self::Jwks => "jwks",
            Self::Token => "token",
            Self::DeviceAuthorization => "device_authorization",
            Self::Webhook => "webhook",
            Self::Unknown => "unknown",
        }
    }
}

/// What a request is met with, once it has been read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// No answer, as long as the client waits.
    Hang,
    /// The right answer, but late.
    Delay(Duration),
    /// The right answer, but byte by byte, with this pause before each.
    Drip(Duration),
    /// The right answer, in chunks: no fault of the issuer, but maybe one of a reader.
    Chunked,
    /// This status and no body.
    Status(u16),
    /// Status 200, said to be JSON and none.
    Garbage,
    /// Status 200 and a JSON text that never ends.
    Endless,
    /// The connection ends without an answer.
    CloseAtOnce,
    /// This answer.
    Answer(Response),
    /// These bytes, then the end: need be no HTTP.
    Raw(Vec<u8>),
}

/// `none`, `hang`, `garbage`, `endless`, `close`, `chunked`, a status, or `delay=` or `drip=` with milliseconds.
impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text}: not none, hang, garbage, endless, close, chunked, a status, delay=MS or drip=MS");
        let time = |text: &str| text.parse().map(Duration::from_millis).map_err(|_| wrong());
        Ok(match text {
            "none" => Self::None,
            "hang" => Self::Hang,
            "garbage" => Self::Garbage,
            "endless" => Self::Endless,
            "close" => Self::CloseAtOnce,
            "chunked" => Self::Chunked,
            other => match other.split_once('=') {
                Some(("delay", text)) => Self::Delay(time(text)?),
                Some(("drip", text)) => Self::Drip(time(text)?),
                _ => Self::Status(status(other).ok_or_else(wrong)?),
            },
        })
    }
}

/// Faults as a text has them: for all endpoints, or one by one as `jwks:hang`. The last that fits an endpoint holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(Vec<(Option<Endpoint>, Fault)>);

impl Faults {
    pub(crate) fn at(&self, endpoint: Endpoint) -> Option<&Fault> {
        let fits = |(of, _): &&(Option<Endpoint>, Fault)| of.is_none_or(|of| of == endpoint);
        self.0.iter().rev().find(fits).map(|(_, fault)| fault)
    }
}

impl FromStr for Faults {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let faults = text.split_whitespace().map(|word| {
            Ok(match word.split_once(':') {
                Some((name, fault)) => (Some(endpoint(name)?), fault.parse()?),
                None => (None, word.parse()?),
            })
        });
        faults.collect::<Result<_, String>>().map(Self)
    }
}

fn status(text: &str) -> Option<u16> {
    text.parse().ok().filter(|status| (100..600).contains(status))
}

fn endpoint(name: &str) -> Result<Endpoint, String> {
    let found = Endpoint::ALL.into_iter().find(|endpoint| endpoint.name() == name);
    found.ok_or_else(|| format!("{name}: not one of {}", Endpoint::ALL.map(Endpoint::name).join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_written_as_words() {
        let faults: Faults = "hang jwks:500 token:none webhook:delay=20".parse().expect("faults");
        assert_eq!(faults.at(Endpoint::Discovery), Some(&Fault::Hang));
        assert_eq!(faults.at(Endpoint::Jwks), Some(&Fault::Status(500)));
        assert_eq!(faults.at(Endpoint::Token), Some(&Fault::None));
        let late = Fault::Delay(Duration::from_millis(20));
        assert_eq!(faults.at(Endpoint::Webhook), Some(&late));
        assert_eq!("drip=5".parse(), Ok(Fault::Drip(Duration::from_millis(5))));
        assert_eq!(Faults::default().at(Endpoint::Jwks), None);
        for wrong in ["hung", "99", "jwk:hang", "jwks:hung", "delay=x", "late=1"] {
            wrong.parse::<Faults>().expect_err(wrong);
        }
    }
}
