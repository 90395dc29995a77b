//! Where failures come from, as they are counted.

use core::net::IpAddr;

use postern_policy::authenticate::Source;

/// What is counted as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// All Unix sockets together.
    Unix,
    /// The first 24 bits.
    V4([u8; 3]),
    /// The first 64 bits.
    V6([u8; 8]),
    /// The first 48 bits of an IPv6 address: what a provider gives to one site, which has 65,536 networks then.
    Site([u8; 6]),
}

impl Network {
    pub fn of(source: Source) -> Self {
        match source {
            Source::Unix => Self::Unix,
            Source::Ip(ip) => match ip.to_canonical() {
                IpAddr::V4(ip) => {
                    let [a, b, c, _] = ip.octets();
                    Self::V4([a, b, c])
                }
                IpAddr::V6(ip) => {
                    let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                    Self::V6([a, b, c, d, e, f, g, h])
                }
            },
        }
    }

    /// The site that a network is a part of.
    pub fn site(self) -> Option<Self> {
        match self {
            Self::V6([a, b, c, d, e, f, _, _]) => Some(Self::Site([a, b, c, d, e, f])),
            Self::Unix | Self::V4(_) | Self::Site(_) => None,
        }
    }

    /// What tells it from names and from networks of other kinds.
    pub fn kind(&self) -> &'static [u8; 4] {
        match self {
            Self::Unix => b"unix",
            Self::V4(_) => b"ipv4",
            Self::V6(_) => b"ipv6",
            Self::Site(_) => b"site",
        }
    }

    pub fn bits(&self) -> &[u8] {
        match self {
            Self::Unix => &[],
            Self::V4(bits) => bits,
            Self::V6(bits) => bits,
            Self::Site(bits) => bits,
        }
    }
}
