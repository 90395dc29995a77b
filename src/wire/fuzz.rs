//! Fuzz bodies: any bytes in; no panic, and the same answer however the bytes are cut. Run as plain functions by the tests
//! here, over arbitrary bytes and from a corpus.
//!
//! Each says with its result whether the bytes reached the deep end (a whole message, a pair, a header), so that a driver
//! can show that it does more than knock at the door.

use super::assemble::Assembler;
use super::authentication::{Authentication, SaslInitialResponse, decode_password, encode_password};
use super::backend::{BackendKeyData, NegotiateProtocolVersion, ParameterStatus, TransactionStatus};
use super::backend::{encode_negotiate_protocol_version, encode_ready_for_query};
use super::count::Counts;
use super::error::{Fields, encode_fields};
use super::frame::{FollowError, Follower, Head};
use super::initial::{Initial, encode_cancel, encode_startup};
use super::parameters::StartupParameters;
use super::tag::{TagSet, backend};
use super::{WireError, proxy_protocol};

/// A message whose body is `body` and that was decoded without complaint is what the encoder makes of the result.
fn encodes_back(body: &[u8], encode: impl FnOnce(&mut Vec<u8>)) -> bool {
    let mut out = Vec::new();
    encode(&mut out);
    assert_eq!(
        out.get(5..),
        Some(body),
        "decoding and encoding are not each other's inverse"
    );
    true
}

/// First messages, whole: decoded, and encoded back.
pub fn fuzz_initial(data: &[u8]) -> bool {
    let mut out = Vec::new();
    match Initial::decode(data) {
        Ok(Initial::Startup(message)) => {
            let pairs: Result<Vec<_>, _> = message.parameters().collect();
            let Ok(pairs) = pairs else { return false };
            encode_startup(&mut out, message.version, pairs);
        }
        Ok(Initial::Cancel(request)) => encode_cancel(&mut out, request),
        Ok(Initial::SslRequest | Initial::GssEncRequest | Initial::UnsupportedVersion(_)) | Err(_) => return false,
    }
    assert_eq!(out, data);
    true
}

/// The body of a StartupMessage. Whatever passes keeps every promise that the gate relies on.
pub fn fuzz_parameters(body: &[u8]) -> bool {
    let mut packet = vec![0, 0, 0, 0, 0, 3, 0, 0];
    packet.extend_from_slice(body);
    let length = packet.len() as u32;
    packet[..4].copy_from_slice(&length.to_be_bytes());
    let Ok(Initial::Startup(message)) = Initial::decode(&packet) else {
        return false;
    };
    match StartupParameters::decode(&message) {
        Ok(parameters) => {
            assert!((1..=63).contains(&parameters.user().len()) && (1..=63).contains(&parameters.database().len()));
            for setting in parameters.settings() {
                let name = setting.name.to_ascii_lowercase();
                assert!(
                    ![
                        "user",
                        "database",
                        "options",
                        "replication",
                        "role",
                        "session_authorization"
                    ]
                    .contains(&&*name)
                );
                assert!(!name.is_empty() && !name.starts_with("postern.") && !name.starts_with("_pq_."));
                assert!(name.len() <= 63 && !name.contains(['\0', ' ', '-', '=']) && !setting.value.contains('\0'));
                assert_eq!(parameters.setting(&setting.name), Some(setting), "a name stands twice");
            }
            !parameters.settings().is_empty()
        }
        Err(fault) => {
            let _told = (fault.sqlstate(), fault.hint(), fault.to_string());
            false
        }
    }
}

/// Both relay directions: followed whole and in chunks (the first byte is their size), told the same.
pub fn fuzz_follower(data: &[u8]) -> bool {
    let Some((size, stream)) = data.split_first() else {
        return false;
    };
    let size = usize::from(size % 16) + 1;
    [&TagSet::FRONTEND_IN_RELAY, &TagSet::BACKEND_IN_RELAY]
        .into_iter()
        .any(|legal| {
            let whole = follow([stream].into_iter(), legal);
            let split = follow(stream.chunks(size), legal);
            assert_eq!(whole, split, "chunks of {size}");
            let told: Vec<_> = whole.0.iter().map(|(tag, length, ..)| (*tag, *length)).collect();
            assert_eq!((told, whole.1.is_some()), read(stream, legal));
            whole.0.len() > 1
        })
}

/// The stream read the plain way, message by message: types and lengths, and whether something in it may not be.
fn read(mut stream: &[u8], legal: &TagSet) -> (Vec<(u8, u32)>, bool) {
    let mut messages = Vec::new();
    while let Some((tag, rest)) = stream.split_first() {
        if !legal.contains(*tag) {
            return (messages, true);
        }
        let Some((length, body)) = rest.split_first_chunk::<4>() else {
            break;
        };
        let length = u32::from_be_bytes(*length);
        let ready = *tag == backend::READY_FOR_QUERY;
        if !(4..=1_073_741_827).contains(&length) || (ready && length != 5) {
            return (messages, true);
        }
        if ready && body.is_empty() {
            break;
        }
        messages.push((*tag, length));
        stream = body.get(length as usize - 4..).unwrap_or_default();
    }
    (messages, false)
}

type Told = (u8, u32, u8, isize);

/// Every message with the absolute offset of its type byte, how it ended, and whether at a boundary.
fn follow<'a>(chunks: impl Iterator<Item = &'a [u8]>, legal: &TagSet) -> (Vec<Told>, Option<FollowError>, bool) {
    let (mut follower, mut counts) = (Follower::new(), Counts::default());
    let (mut told, mut base) = (Vec::new(), 0);
    for chunk in chunks {
        let boundary = follower.boundary_in(chunk);
        let mut first = None;
        let result = follower.follow(chunk, legal, |head: Head| {
            first = first.or((head.start >= 0).then_some(head.start));
            counts.count_frontend(head);
            counts.count_backend(head);
            told.push((head.tag, head.length, head.status, base + head.start));
        });
        if let Err(FollowError { error, start }) = result {
            return (
                told,
                Some(FollowError {
                    error,
                    start: base + start,
                }),
                false,
            );
        }
        if let (Some(first), Some(boundary)) = (first, boundary) {
            assert_eq!(
                first, boundary as isize,
                "the first message begins at the first boundary"
            );
        }
        base += chunk.len() as isize;
    }
    (told, None, follower.at_boundary())
}

/// The assembler, whole and in chunks (the first byte is their size), with a cap that depends on the type.
pub fn fuzz_assembler(data: &[u8]) -> bool {
    let Some((size, stream)) = data.split_first() else {
        return false;
    };
    let whole = assemble([stream].into_iter());
    assert_eq!(whole, assemble(stream.chunks(usize::from(size % 16) + 1)));
    !whole.0.is_empty()
}

fn assemble<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Option<WireError>) {
    let most = |tag: u8| tag.is_ascii().then_some(u32::from(tag) * 4);
    let mut assembler = Assembler::new();
    let mut messages = Vec::new();
    let mut begun = Vec::new();
    for mut chunk in chunks {
        while !chunk.is_empty() {
            match assembler.take_message(chunk, most) {
                Ok(taken) => {
                    assert!(taken.consumed > 0, "no progress");
                    let (now, later) = chunk.split_at(taken.consumed);
                    begun.extend_from_slice(now);
                    assert_within(&begun, most);
                    if let Some(message) = taken.message {
                        assert_eq!(message.whole, std::mem::take(&mut begun));
                        messages.push(message.whole.to_vec());
                    }
                    chunk = later;
                }
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}

/// A message that is being taken, or has been, may be as long as it says.
fn assert_within(begun: &[u8], most: impl Fn(u8) -> Option<u32>) {
    if let Some([tag, length @ ..]) = begun.first_chunk::<5>() {
        let length = u32::from_be_bytes(*length);
        assert!(most(*tag).is_some_and(|most| length <= most), "{length} of {tag}");
    }
}

/// Bodies of every message with a decoder of its own, both directions. The kinds of message that it could be.
pub fn fuzz_bodies(body: &[u8]) -> Vec<&'static str> {
    let understood = [
        ("authentication", Authentication::decode(body).is_ok()),
        (
            "password",
            decode_password(body).is_ok_and(|text| encodes_back(body, |out| encode_password(out, text))),
        ),
        (
            "SASL initial response",
            SaslInitialResponse::decode(body).is_ok_and(|found| encodes_back(body, |out| found.encode(out))),
        ),
        (
            "parameter status",
            ParameterStatus::decode(body).is_ok_and(|found| encodes_back(body, |out| found.encode(out))),
        ),
        (
            "cancel key",
            BackendKeyData::decode(body).is_ok_and(|found| encodes_back(body, |out| found.encode(out))),
        ),
        (
            "ready for query",
            TransactionStatus::decode(body)
                .is_ok_and(|found| encodes_back(body, |out| encode_ready_for_query(out, found))),
        ),
        (
            "protocol version",
            NegotiateProtocolVersion::decode(body).is_ok_and(|found| {
                let unknown = found.unknown.iter().copied();
                encodes_back(body, |out| {
                    encode_negotiate_protocol_version(out, found.newest, unknown)
                })
            }),
        ),
        (
            "error report",
            Fields::decode(body).is_ok_and(|fields| encodes_back(body, |out| encode_fields(out, b'E', fields.iter()))),
        ),
    ];
    understood
        .into_iter()
        .filter_map(|(kind, is_one)| is_one.then_some(kind))
        .collect()
}

/// PROXY protocol headers: a prefix never says more than the whole, and nothing beyond the cap is taken or waited for.
pub fn fuzz_proxy_protocol(data: &[u8]) -> bool {
    let whole = proxy_protocol::decode(data);
    if let (Ok(header), Some([.., high, low])) = (whole, data.first_chunk::<16>()) {
        let length = 16 + usize::from(u16::from_be_bytes([*high, *low]));
        assert!(length <= proxy_protocol::MAX_HEADER, "a header of {length} bytes");
        let consumed = header.map(|header| header.consumed);
        assert_eq!(consumed, (length <= data.len()).then_some(length));
    }
    for length in 0..data.len().min(64) {
        match (proxy_protocol::decode(data.get(..length).unwrap_or_default()), whole) {
            (Ok(None), _) => (),
            (early, whole) => assert_eq!(early, whole, "{length} bytes"),
        }
    }
    matches!(whole, Ok(Some(_)))
}

#[cfg(test)]
mod driven;
#[cfg(test)]
mod tests;
