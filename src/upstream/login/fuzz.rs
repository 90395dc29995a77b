//! Fuzz body of the login: a server that says anything. Run as a plain function by the tests, over arbitrary messages and
//! from a corpus.

use std::collections::BTreeSet;

use postern_policy::model::ServerMethod;

use super::{Channel, Login, LoginError, LoginRequest, Progress, most};
use crate::identity::scram::{NONCE_BYTES, derive};
use crate::secret::Secret;
use crate::wire::assemble::Assembler;
use crate::wire::parameters::Replication;

/// How far a server came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    Nothing,
    /// A message was understood.
    Message,
    /// Password or keys were asked for.
    Proof,
    Ready,
}

const METHODS: [ServerMethod; 5] = [
    ServerMethod::Trust,
    ServerMethod::Password,
    ServerMethod::Md5,
    ServerMethod::ScramSha256,
    ServerMethod::Certificate,
];

/// First byte: the methods allowed (five bits) and the channel (three); second: the size of chunks; then the server's
/// bytes. A server that does not know the password gets nobody to Ready where only SCRAM is allowed.
pub fn fuzz_login(data: &[u8]) -> Reached {
    let Some(([flags, size], stream)) = data.split_first_chunk::<2>() else {
        return Reached::Nothing;
    };
    let methods: BTreeSet<_> = (0..)
        .zip(METHODS)
        .filter(|(bit, _)| flags & (1 << bit) != 0)
        .map(|(_, method)| method)
        .collect();
    let tls = Channel::Tls {
        fully_verified: flags & 0x40 != 0,
        end_point: (flags & 0x80 != 0).then_some(&[9; 32]),
        client_certificate: flags & 0x80 == 0,
    };
    let request = LoginRequest {
        role: "role",
        database: "base",
        replication: Replication::No,
        methods: &methods,
        has_password: true,
        channel: if flags & 0x20 != 0 { tls } else { Channel::Plain },
        nonce: [7; NONCE_BYTES],
        max_iterations: 4,
    };
    let mut out = Vec::new();
    let Ok(mut login) = Login::start(&request, [("postern.identity", "svc:x")], &mut out) else {
        return Reached::Nothing;
    };
    let mut reached = Reached::Nothing;
    let ended = feed(
        &mut login,
        stream.chunks(usize::from(*size) + 1),
        &mut reached,
        &mut out,
    );
    if let Err(error) = ended {
        error.encode_for_client(&mut out);
        let _told = (error.as_str(), error.to_string());
    }
    assert!(reached < Reached::Ready || methods.iter().any(|method| *method != ServerMethod::ScramSha256));
    reached
}

fn feed<'a>(
    login: &mut Login,
    chunks: impl Iterator<Item = &'a [u8]>,
    reached: &mut Reached,
    out: &mut Vec<u8>,
) -> Result<(), LoginError> {
    let mut assembler = Assembler::new();
    for mut chunk in chunks {
        while !chunk.is_empty() {
            let taken = assembler.take_message(chunk, most)?;
            let consumed = taken.consumed;
            if let Some(message) = taken.message {
                *reached = (*reached).max(Reached::Message);
                match login.handle(message, out)? {
                    Progress::Continue => (),
                    Progress::NeedPassword => {
                        *reached = Reached::Proof;
                        login.give_password(&Secret::new(b"secret".to_vec()), out)?;
                    }
                    Progress::NeedKeys { salt, iterations } => {
                        assert!(iterations <= 4);
                        *reached = Reached::Proof;
                        login.give_keys(&derive(b"secret", &salt, iterations), out)?;
                    }
                    Progress::Ready(_) => {
                        *reached = Reached::Ready;
                        return Ok(());
                    }
                }
            }
            chunk = chunk.get(consumed..).unwrap_or_default();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::authentication::{encode_sasl, encode_sasl_continue};

    /// Extends the nonce of [`fuzz_login`].
    const SERVER_FIRST: &[u8] = b"r=BwcHBwcHBwcHBwcHBwcHBwcHx,s=c2FsdA==,i=4";

    /// A server's message, well formed or nearly so.
    fn message() -> impl Strategy<Value = Vec<u8>> {
        let scram = [b"\0\0\0\x0b", SERVER_FIRST].concat();
        let body = prop_oneof![
            Just((b'R', vec![0; 4])),
            Just((b'R', vec![0, 0, 0, 3])),
            Just((b'R', b"\0\0\0\x05salt".to_vec())),
            Just((b'R', b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0".to_vec())),
            Just((b'R', scram)),
            Just((
                b'R',
                b"\0\0\0\x0cv=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_vec()
            )),
            Just((b'S', b"a\0b\0".to_vec())),
            Just((b'K', vec![1; 8])),
            Just((b'N', b"SNOTICE\0\0".to_vec())),
            Just((b'E', b"SFATAL\0C28000\0Mno\0\0".to_vec())),
            Just((b'Z', b"I".to_vec())),
            (any::<u8>(), vec(any::<u8>(), 0..20)),
        ];
        body.prop_map(|(tag, body)| [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), &body].concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_server(flags in any::<u8>(), size in any::<u8>(), messages in vec(message(), 0..10), cut in any::<u8>()) {
            let mut data = vec![flags, size];
            data.extend(messages.concat());
            fuzz_login(&data);
            data.truncate(usize::from(cut));
            fuzz_login(&data);
        }
    }

    #[test]
    fn the_deep_end_is_reached() {
        let ready = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
        assert_eq!(fuzz_login(&[&[0x01, 0][..], ready].concat()), Reached::Ready);
        let mut scram = vec![0x08, 255];
        encode_sasl(&mut scram, &["SCRAM-SHA-256"]);
        encode_sasl_continue(&mut scram, SERVER_FIRST);
        assert_eq!(fuzz_login(&scram), Reached::Proof);
    }

    fn scram_until_proof(flags: u8) -> Vec<u8> {
        let mut data = vec![flags, 255];
        encode_sasl(&mut data, &["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]);
        encode_sasl_continue(&mut data, SERVER_FIRST);
        data
    }

    /// `fuzz_login` with one server for each method, and one that changes its mind.
    fn generated() -> Vec<postern_fuzzing::Entry> {
        let ready = &b"R\0\0\0\x08\0\0\0\0S\0\0\0\x08a\0b\0K\0\0\0\x0c\x01\x02\x03\x04keysZ\0\0\0\x05I"[..];
        let wrong_signature = &b"R\0\0\0\x36\0\0\0\x0cv=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="[..];
        let entries = [
            ("trust", [&[0x01, 0][..], ready].concat()),
            ("certificate", [&[0x30, 3][..], ready].concat()),
            ("password", [b"\x62\x05R\0\0\0\x08\0\0\0\x03", ready].concat()),
            ("md5", [b"\x04\xffR\0\0\0\x0c\0\0\0\x05salt", ready].concat()),
            ("scram", [&scram_until_proof(0x08), wrong_signature, ready].concat()),
            (
                "scram-plus",
                [&scram_until_proof(0xa8), wrong_signature, ready].concat(),
            ),
            ("error", b"\x01\x02E\0\0\0\x17SFATAL\0C28000\0Mno\0\0".to_vec()),
        ];
        entries.map(|(name, bytes)| (name.to_owned(), bytes)).into()
    }

    #[test]
    fn driven_from_the_corpus() {
        postern_fuzzing::drive(
            "upstream-login",
            &["message", "proof", "ready"],
            generated,
            |data, marks| match fuzz_login(data) {
                Reached::Nothing => {}
                Reached::Message => marks.reach("message"),
                Reached::Proof => marks.reach("proof"),
                Reached::Ready => marks.reach("ready"),
            },
        );
    }
}
