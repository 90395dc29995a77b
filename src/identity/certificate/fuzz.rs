//! A fuzz body: any bytes in, nothing but an answer out. Run as a plain function by tests and by a fuzzer.

use rustls_pki_types::CertificateDer;

use super::{CertificateFacts, Trust, examine};
use crate::time::Utc;

/// The bytes are a chain, leaf first: each certificate behind its length of two bytes, big-endian.
pub fn fuzz_chain(data: &[u8]) {
    let mut chain = Vec::new();
    let mut rest = data;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let (der, behind) = behind.split_at(usize::from(u16::from_be_bytes(*length)).min(behind.len()));
        chain.push(CertificateDer::from(der));
        rest = behind;
    }
    let read = chain.first().map(|leaf| CertificateFacts::read(leaf));
    let Some(Ok(facts)) = read else {
        assert!(examine(&Trust::default(), &chain, Utc(0)).is_err());
        return;
    };
    // In the middle of its life, if it has one.
    let now = Utc(facts.not_before.0.midpoint(facts.expires.0));
    let examined = examine(&Trust::default(), &chain, now);
    assert!(
        examined.is_ok_and(|evidence| evidence.validated_by().is_empty()) || facts.expires <= now || chain.len() > 10
    );
}
