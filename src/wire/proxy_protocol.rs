//! PROXY protocol version 2: who the client behind a load balancer is.
//!
//! Source: <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>, section 2.2. Version 1 (text) is refused.
//! Whether the peer may speak for others is for the caller to know.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::cursor::Cursor;

/// Greatest header that is taken, TLVs included. The specification asks receivers for 536 bytes at least; a client
/// certificate's fields and a VPC id fit in 4 KiB.
pub const MAX_HEADER: usize = 4_096;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const FIXED: usize = 16;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The proxy speaks for itself (a health check), or for a transport it does not name: the socket's own peer counts.
    Local,
    /// TCP over IPv4 or IPv6. An IPv4-mapped IPv6 address is given as IPv4.
    Tcp {
        source: SocketAddr,
        destination: SocketAddr,
    },
    /// A Unix socket on the proxy's machine; its paths mean nothing here.
    Unix,
}

/// A whole header and the bytes it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub origin: Origin,
    pub consumed: usize,
}

/// Why the bytes are no header of version 2. The connection closes without an answer: whoever is there does not speak
/// the protocol that the listener demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ProxyProtocolError {
    #[error("the connection does not begin with a PROXY protocol version 2 header")]
    Signature,
    #[error("PROXY protocol version or command {0:#04x} does not exist")]
    VersionOrCommand(u8),
    #[error("PROXY protocol family or transport {0:#04x} is not accepted")]
    Family(u8),
    #[error("PROXY protocol header is longer than 4,096 bytes")]
    TooLong,
    #[error("PROXY protocol header is too short for its addresses")]
    TooShort,
}

impl ProxyProtocolError {
    /// Stable name for records and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Signature => "proxy_signature",
            Self::VersionOrCommand(_) => "proxy_version",
            Self::Family(_) => "proxy_family",
            Self::TooLong => "proxy_too_long",
            Self::TooShort => "proxy_too_short",
        }
    }
}

/// Looks for a header at the start of `input`, which is everything received so far. `None` when more bytes are needed:
/// at most [`MAX_HEADER`] in all. A wrong byte is refused as soon as it is there.
pub fn decode(input: &[u8]) -> Result<Option<Header>, ProxyProtocolError> {
    if !input.iter().zip(&SIGNATURE).all(|(found, expected)| found == expected) {
        return Err(ProxyProtocolError::Signature);
    }
    let local = match input.get(12) {
        None => return Ok(None),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(other) => return Err(ProxyProtocolError::VersionOrCommand(*other)),
    };
    let Some(([.., family, high, low], rest)) = input.split_first_chunk::<FIXED>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if FIXED + length > MAX_HEADER {
        return Err(ProxyProtocolError::TooLong);
    }
    let Some(addresses) = rest.get(..length) else {
        return Ok(None);
    };
    let origin = if local {
        Origin::Local
    } else {
        origin(*family, addresses)?
    };
    Ok(Some(Header {
        origin,
        consumed: FIXED + length,
    }))
}

/// Appends a header for a TCP connection. Tests and the load generator speak as a proxy.
pub fn encode_tcp(out: &mut Vec<u8>, source: SocketAddr, destination: SocketAddr) {
    out.extend_from_slice(&SIGNATURE);
    out.push(0x21);
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            out.extend_from_slice(&[0x11, 0, 12]);
            out.extend_from_slice(&from.octets());
            out.extend_from_slice(&to.octets());
        }
        (from, to) => {
            out.extend_from_slice(&[0x21, 0, 36]);
            out.extend_from_slice(&as_v6(from).octets());
            out.extend_from_slice(&as_v6(to).octets());
        }
    }
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&destination.port().to_be_bytes());
}

fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// The addresses stand first; what follows them are TLVs, which are skipped.
fn origin(family: u8, addresses: &[u8]) -> Result<Origin, ProxyProtocolError> {
    let mut cursor = Cursor::new(addresses);
    let pair = match family {
        0x00 => return Ok(Origin::Local),
        0x11 => v4_pair(&mut cursor),
        0x21 => v6_pair(&mut cursor),
        // The family demands 108 bytes for each path, whether used or not.
        0x31 => {
            return if addresses.len() < 216 {
                Err(ProxyProtocolError::TooShort)
            } else {
                Ok(Origin::Unix)
            };
        }
        other => return Err(ProxyProtocolError::Family(other)),
    };
    let (source, destination) = pair.map_err(|_| ProxyProtocolError::TooShort)?;
    Ok(Origin::Tcp { source, destination })
}

fn v4_pair(cursor: &mut Cursor<'_>) -> Result<(SocketAddr, SocketAddr), super::WireError> {
    let from = IpAddr::V4(Ipv4Addr::from(cursor.array::<4>()?));
    let to = IpAddr::V4(Ipv4Addr::from(cursor.array::<4>()?));
    Ok((SocketAddr::new(from, cursor.u16()?), SocketAddr::new(to, cursor.u16()?)))
}

fn v6_pair(cursor: &mut Cursor<'_>) -> Result<(SocketAddr, SocketAddr), super::WireError> {
    let from = Ipv6Addr::from(cursor.array::<16>()?).to_canonical();
    let to = Ipv6Addr::from(cursor.array::<16>()?).to_canonical();
    Ok((SocketAddr::new(from, cursor.u16()?), SocketAddr::new(to, cursor.u16()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, body].concat()
    }

    fn tcp(source: &str, destination: &str) -> Vec<u8> {
        let mut out = Vec::new();
        encode_tcp(
            &mut out,
            source.parse().expect("address"),
            destination.parse().expect("address"),
        );
        out
    }

    fn origin_of(bytes: &[u8]) -> Result<Option<Origin>, ProxyProtocolError> {
        decode(bytes).map(|header| {
            header.map(|header| {
                assert_eq!(header.consumed, bytes.len());
                header.origin
            })
        })
    }

    #[test]
    fn tcp_addresses_are_read() {
        for (source, destination) in [
            ("192.0.2.1:4711", "198.51.100.2:5432"),
            ("[2001:db8::1]:1", "[2001:db8::2]:65535"),
        ] {
            let expected = Origin::Tcp {
                source: source.parse().unwrap(),
                destination: destination.parse().unwrap(),
            };
            assert_eq!(origin_of(&tcp(source, destination)), Ok(Some(expected)));
        }
    }

    #[test]
    fn mapped_addresses_become_ipv4() {
        let Ok(Some(Origin::Tcp { source, .. })) = origin_of(&tcp("[::ffff:192.0.2.7]:5", "[2001:db8::2]:6")) else {
            panic!("not TCP")
        };
        assert_eq!(source, SocketAddr::from(([192, 0, 2, 7], 5)));
    }

    #[test]
    fn local_unspecified_and_unix_are_told_apart() {
        assert_eq!(origin_of(&header(0x20, 0x00, b"")), Ok(Some(Origin::Local)));
        assert_eq!(
            origin_of(&header(0x20, 0x11, b"short")),
            Ok(Some(Origin::Local)),
            "addresses of LOCAL are ignored"
        );
        assert_eq!(origin_of(&header(0x21, 0x00, b"tlv")), Ok(Some(Origin::Local)));
        assert_eq!(origin_of(&header(0x21, 0x31, &[0; 216])), Ok(Some(Origin::Unix)));
    }

    #[test]
    fn tlvs_are_skipped_and_what_follows_is_left() {
        let mut body = vec![192, 0, 2, 1, 198, 51, 100, 2, 0, 1, 0, 2];
        body.extend_from_slice(b"\x04\0\x03abc");
        let mut bytes = header(0x21, 0x11, &body);
        let whole = bytes.len();
        bytes.extend_from_slice(b"\0\0\0\x08");
        assert_eq!(decode(&bytes).expect("legal").expect("whole").consumed, whole);
    }

    #[test]
    fn every_prefix_waits_for_more() {
        let bytes = tcp("192.0.2.1:4711", "198.51.100.2:5432");
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), Ok(None), "{length} bytes");
        }
    }

    #[test]
    fn what_is_not_version_2_is_refused_at_its_first_wrong_byte() {
        assert_eq!(decode(b"PROXY TCP4"), Err(ProxyProtocolError::Signature));
        assert_eq!(decode(b"\0\0\0\x08"), Err(ProxyProtocolError::Signature));
        assert_eq!(
            decode(&header(0x11, 0x11, &[0; 12])[..13]),
            Err(ProxyProtocolError::VersionOrCommand(0x11))
        );
        assert_eq!(
            decode(&header(0x22, 0x11, &[0; 12])),
            Err(ProxyProtocolError::VersionOrCommand(0x22))
        );
        assert_eq!(
            decode(&header(0x21, 0x12, &[0; 12])),
            Err(ProxyProtocolError::Family(0x12)),
            "UDP"
        );
        assert_eq!(decode(&header(0x21, 0x11, &[0; 11])), Err(ProxyProtocolError::TooShort));
        assert_eq!(decode(&header(0x21, 0x21, &[0; 35])), Err(ProxyProtocolError::TooShort));
        assert_eq!(
            decode(&header(0x21, 0x31, &[0; 215])),
            Err(ProxyProtocolError::TooShort)
        );
    }

    #[test]
    fn the_cap_is_judged_before_the_bytes_are_there() {
        let most = header(0x21, 0x11, &[0; MAX_HEADER - FIXED]);
        assert!(decode(&most).expect("legal").is_some());
        let longer = header(0x21, 0x11, &[0; MAX_HEADER - FIXED + 1]);
        assert_eq!(decode(&longer[..FIXED]), Err(ProxyProtocolError::TooLong));
    }
}
