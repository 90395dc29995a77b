//! The cancel key of a server connection. Not to be mixed up with the one a client of ours holds.

use zeroize::Zeroizing;

use crate::wire::backend::BackendKeyData;
use crate::wire::cancel::CancelRequest;
use crate::wire::initial::encode_cancel;

/// Process id and secret as a server of protocol 3.0 gives them. Eight bytes; printable nowhere, zeroed when dropped.
#[derive(Clone)]
pub struct UpstreamCancelKey {
    process_id: u32,
    secret: Zeroizing<[u8; 4]>,
}

impl UpstreamCancelKey {
    /// `None` when the secret has not the four bytes of protocol 3.0.
    pub fn of(key: BackendKeyData<'_>) -> Option<Self> {
        Some(Self {
            process_id: key.process_id,
            secret: Zeroizing::new(key.key.try_into().ok()?),
        })
    }

    /// The server's real process id: shown to the client and recorded.
    pub fn process_id(&self) -> u32 {
        self.process_id
    }

    /// Appends the CancelRequest, the only message of a connection of its own (behind TLS where the session has TLS).
    pub fn encode_request(&self, out: &mut Vec<u8>) {
        let request = CancelRequest {
            process_id: self.process_id,
            key: &*self.secret,
        };
        encode_cancel(out, request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(key: &[u8]) -> Option<UpstreamCancelKey> {
        UpstreamCancelKey::of(BackendKeyData { process_id: 77, key })
    }

    #[test]
    fn the_request_carries_what_the_server_gave() {
        let mut out = Vec::new();
        of(b"abcd").expect("four bytes").encode_request(&mut out);
        assert_eq!(out, b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x4dabcd");
    }

    #[test]
    fn only_keys_of_protocol_3_0_are_taken() {
        assert!(of(b"abc").is_none() && of(b"abcde").is_none() && of(&[0; 32]).is_none());
    }
}
