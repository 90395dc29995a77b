//! After the handshake the link allocates nothing for data, and an idle one stays within its 4 KiB.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use postern::secret::Secret;
use postern::tls::{
    ClientCertificate, Established, HEAD_ROOM, Handshake, Link, ListenerOptions, ListenerTls, Opened, TAIL_ROOM,
    UpstreamTls,
};
use postern_policy::model::{ServerTls, ServerTlsMode};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<isize> = const { Cell::new(0) };
}

/// Counts what this thread asks of the Rust allocator. (aws-lc has its memory from malloc: see [`AEAD_CONTEXT`].)
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; the counters are thread-local and allocate nothing.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - layout.size() as isize);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn count(bytes: isize) {
    CALLS.set(CALLS.get() + 1);
    HELD.set(HELD.get() + bytes);
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// `sizeof(EVP_AEAD_CTX)` of aws-lc as malloc rounds it; each direction has one.
const AEAD_CONTEXT: isize = 608;

#[test]
fn data_is_opened_and_sealed_without_the_allocator() {
    let (mut server, mut client) = handshake(&listener(), &require(None));
    let mut buffer = vec![7; HEAD_ROOM + 8_192 + TAIL_ROOM];
    let mut other = buffer.clone();
    let before = CALLS.get();
    for round in 0..10_000 {
        relay(
            &mut client.link,
            &mut server.link,
            &mut buffer,
            &mut other,
            1 + round % 8_192,
        );
        relay(
            &mut server.link,
            &mut client.link,
            &mut buffer,
            &mut other,
            1 + round % 8_192,
        );
    }
    assert_eq!(CALLS.get() - before, 0);
    assert_ne!(before, 0, "the allocator counts");
}

fn relay(from: &mut Link, to: &mut Link, buffer: &mut [u8], other: &mut [u8], length: usize) {
    let record = from.seal_in_place(buffer, HEAD_ROOM..HEAD_ROOM + length).unwrap();
    let opened = to.open(&mut buffer[record]).unwrap();
    let Opened::Data { plaintext, .. } = opened else {
        panic!("{opened:?}")
    };
    assert_eq!(plaintext.len(), length);
    let length = from.seal_into(&buffer[HEAD_ROOM..HEAD_ROOM + length], other).unwrap();
    assert!(matches!(to.open(&mut other[..length]), Ok(Opened::Data { .. })));
}

/// The hard case: TLS 1.3 with a client certificate and its issuer, which rustls keeps beside the traffic secrets.
#[test]
fn an_idle_link_stays_within_4_kib() {
    let (chain, key) = client_identity();
    let key = Secret::new(key.into_bytes());
    let upstream = require(Some(ClientCertificate {
        chain: chain.as_bytes(),
        key: &key,
    }));
    let listener = listener();
    drop(handshake(&listener, &upstream));
    let before = HELD.get();
    let (server, client) = handshake(&listener, &upstream);
    assert_eq!(server.facts.peer_chain.len(), 2);
    drop((client, server.facts));
    let held = HELD.get() - before + 2 * AEAD_CONTEXT;
    drop(server.link);
    assert!(HELD.get() - before < 64, "the link gives everything back");
    println!(
        "an idle link holds {held} bytes, of them {} in the cipher",
        2 * AEAD_CONTEXT
    );
    assert!(held <= 4_096, "an idle link holds {held} bytes");
}

fn listener() -> Arc<ListenerTls> {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["db.example".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let (chain, key) = (certificate.pem(), key.serialize_pem());
    Arc::new(ListenerTls::new(chain.as_bytes(), key.as_bytes(), &ListenerOptions::default()).unwrap())
}

fn require(certificate: Option<ClientCertificate<'_>>) -> UpstreamTls {
    UpstreamTls::new(
        &ServerTls {
            mode: ServerTlsMode::Require,
            ..ServerTls::default()
        },
        certificate,
    )
    .unwrap()
}

/// A leaf with its issuer behind it, and the leaf's key.
fn client_identity() -> (String, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::OrganizationName, "An organisation with a name of usual length");
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = vec!["billing.ns.svc.cluster.example".to_owned()];
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    (leaf.pem() + &issuer.pem(), key.serialize_pem())
}

/// (server, client), in TLS 1.3.
fn handshake(listener: &Arc<ListenerTls>, upstream: &UpstreamTls) -> (Established, Established) {
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    let mut server = Handshake::server(listener, true).unwrap();
    let mut client = Handshake::client(upstream, "db.example", &mut to_server).unwrap();
    assert!(server.handle(&to_server, &mut to_client).unwrap().established.is_none());
    to_server.clear();
    let mut client = client.handle(&to_client, &mut to_server).unwrap().established.unwrap();
    to_client.clear();
    let server = server.handle(&to_server, &mut to_client).unwrap().established.unwrap();
    assert!(
        matches!(client.link.open(&mut to_client), Ok(Opened::Control { .. })),
        "the ticket"
    );
    (server, client)
}
