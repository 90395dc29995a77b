//! The server of a conversation: what it asks of the gate before it lets it in, and whether it gets it.

use postern_policy::identity::ScramVerifierView;
use postern_policy::model::{ScramVerifier, ServerMethod};
use std::sync::OnceLock;

use super::conversation::*;
use crate::identity::scram::server::{self, Against, Binding};
use crate::identity::scram::{NONCE_BYTES, verifier};
use crate::secret::Secret;
use crate::wire::authentication::{
    self, SaslInitialResponse, encode_cleartext_password, encode_md5_password, encode_sasl, encode_sasl_continue,
    encode_sasl_final,
};

/// Of the role that the gate logs in as.
const ROLE_PASSWORD: &[u8] = b"marker-role";
/// Channel binding data of the server's certificate.
pub const SERVER_END_POINT: &[u8] = &[6; 32];

/// A role with a password, and servers that may ask for it in this way only.
pub fn knows_password(world: &mut World, method: ServerMethod) {
    world.password = Some(Secret::new(ROLE_PASSWORD.to_vec()));
    world.route.has_password = true;
    world.route.methods = [method].into();
}

/// Over TLS that proves chain and name.
pub fn encrypted(world: &mut World) {
    world.route.tls = true;
    world.route.fully_verified = true;
}

pub fn accept_tls(conversation: &mut Conversation) {
    assert_eq!(conversation.to_server, said(crate::wire::initial::encode_ssl_request));
    conversation.to_server.clear();
    conversation.server(b"S");
    let end_point = Some(SERVER_END_POINT.into());
    conversation
        .gate
        .handle_server_tls(&mut conversation.world, end_point, false);
    conversation.drain();
}

pub fn ask_for_cleartext(conversation: &mut Conversation) {
    conversation.server(&said(encode_cleartext_password));
    assert_eq!(
        authentication::decode_password(&answer(conversation)),
        Ok(ROLE_PASSWORD)
    );
}

/// The answer is by hand: md5 of (md5 of password and name, in hexadecimal, and the salt), in hexadecimal.
pub fn ask_for_md5(conversation: &mut Conversation) {
    conversation.server(&said(|out| encode_md5_password(out, *b"salt")));
    assert_eq!(
        authentication::decode_password(&answer(conversation)),
        Ok(&b"md5f585b93c3c0391fd25cff49a0636d48d"[..])
    );
}

pub fn ask_for_scram(conversation: &mut Conversation, binding: Binding<'_>) {
    conversation.server(&said(|out| encode_sasl(out, server::mechanisms(binding))));
    let first = answer(conversation);
    let first = SaslInitialResponse::decode(&first).expect("a SASLInitialResponse");
    let mut challenge = Vec::new();
    let against = Against::of(Some(known()), "app_rw", &[0; 32], 4096);
    let data = first.data.expect("client-first");
    let expect = server::begin(
        first.mechanism,
        data,
        against,
        binding,
        [2; NONCE_BYTES],
        &mut challenge,
    );
    conversation.server(&said(|out| encode_sasl_continue(out, &challenge)));
    let mut proof = Vec::new();
    let verified = expect
        .expect("a client-first")
        .finish(&answer(conversation), &mut proof)
        .expect("the role's password");
    assert_eq!(verified.channel_bound(), binding != Binding::None);
    conversation.server(&said(|out| encode_sasl_final(out, &proof)));
}

pub fn said(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    bytes
}

fn known() -> ScramVerifierView<'static> {
    static KNOWN: OnceLock<ScramVerifier> = OnceLock::new();
    let known = KNOWN.get_or_init(|| verifier::make(ROLE_PASSWORD, &[8; 16], 4096));
    ScramVerifierView {
        iterations: known.iterations,
        salt: &known.salt,
        stored_key: &known.stored_key,
        server_key: &known.server_key,
    }
}

/// The body of the last message that the gate has sent to the server: behind the StartupMessage all have a type.
fn answer(conversation: &Conversation) -> Vec<u8> {
    let sent = &conversation.to_server;
    let length = |at: usize| {
        let bytes = sent[at..].first_chunk().expect("a length");
        u32::from_be_bytes(*bytes) as usize
    };
    let (mut from, mut at) = (0, length(0));
    while at < sent.len() {
        assert_eq!(sent[at], b'p');
        from = at + 5;
        at += 1 + length(at + 1);
    }
    sent[from..].to_vec()
}
