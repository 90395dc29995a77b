//! From a password to the keys of SCRAM (RFC 5802, section 3): slow by design, so never on a core's thread.

use std::borrow::Cow;
use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use zeroize::Zeroizing;

/// ClientKey and ServerKey of one password, salt and iteration count. Whoever holds them can log in as well as with the
/// password; zeroed when dropped, not printable.
#[derive(Clone)]
pub struct Keys {
    client_key: Zeroizing<[u8; 32]>,
    server_key: Zeroizing<[u8; 32]>,
}

impl Keys {
    pub(super) fn client_key(&self) -> &[u8; 32] {
        &self.client_key
    }

    /// SHA-256 of ClientKey: what a verifier stores.
    pub fn stored_key(&self) -> [u8; 32] {
        sha256(&*self.client_key)
    }

    pub fn server_key(&self) -> &[u8; 32] {
        &self.server_key
    }
}

/// Runs SASLprep and PBKDF2-HMAC-SHA-256. Milliseconds of CPU at the usual 4096 iterations; zero iterations count as
/// one (no parser of ours lets zero through).
pub fn derive(password: &[u8], salt: &[u8], iterations: u32) -> Keys {
    let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
    let mut salted = Zeroizing::new([0; 32]);
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        iterations,
        salt,
        &prepared(password),
        &mut *salted,
    );
    Keys {
        client_key: Zeroizing::new(hmac_sha256(&*salted, &[b"Client Key"])),
        server_key: Zeroizing::new(hmac_sha256(&*salted, &[b"Server Key"])),
    }
}

/// SASLprep (RFC 4013) as PostgreSQL applies it (`pg_saslprep`): bytes that are not UTF-8, that it forbids, or of which
/// nothing would be left, are taken as they are.
fn prepared(password: &[u8]) -> Zeroizing<Vec<u8>> {
    let raw = || Zeroizing::new(password.to_vec());
    let Ok(text) = std::str::from_utf8(password) else {
        return raw();
    };
    match stringprep::saslprep(text) {
        Ok(Cow::Owned(prepared)) if !prepared.is_empty() => Zeroizing::new(prepared.into_bytes()),
        Ok(Cow::Owned(_) | Cow::Borrowed(_)) | Err(_) => raw(),
    }
}

/// HMAC-SHA-256 over the parts, one after the other.
pub(super) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    fixed(context.sign().as_ref())
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    fixed(digest::digest(&digest::SHA256, bytes).as_ref())
}

pub(super) fn xor(left: &[u8; 32], right: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(std::array::from_fn(|at| left[at] ^ right[at]))
}

fn fixed(bytes: &[u8]) -> [u8; 32] {
    let mut fixed = [0; 32];
    fixed.copy_from_slice(bytes);
    fixed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_7677_keys() {
        // Section 3: user "user", password "pencil".
        let salt = crate::identity::scram::decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let keys = derive(b"pencil", &salt, 4096);
        let shown = crate::identity::scram::encode;
        assert_eq!(
            shown(&keys.stored_key()),
            "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
        );
        assert_eq!(shown(keys.server_key()), "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
    }

    #[test]
    fn saslprep_as_postgresql_applies_it() {
        let prepared = |password: &[u8]| prepared(password).to_vec();
        assert_eq!(prepared(b"plain ascii"), b"plain ascii");
        assert_eq!(prepared("I\u{ad}X".as_bytes()), b"IX", "mapped to nothing");
        assert_eq!(prepared("a\u{a0}b".as_bytes()), b"a b", "other spaces are spaces");
        assert_eq!(prepared("\u{2168}".as_bytes()), b"IX", "NFKC");
        assert_eq!(
            prepared("a\u{7f}\u{e9}".as_bytes()),
            "a\u{7f}\u{e9}".as_bytes(),
            "forbidden: taken raw"
        );
        assert_eq!(
            prepared("\u{627}1".as_bytes()),
            "\u{627}1".as_bytes(),
            "forbidden direction: taken raw"
        );
        assert_eq!(
            prepared("\u{ad}".as_bytes()),
            "\u{ad}".as_bytes(),
            "nothing left: taken raw"
        );
        assert_eq!(prepared(b"\xff\xfe"), b"\xff\xfe", "not UTF-8: taken raw");
    }
}
