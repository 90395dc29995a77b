//! A live core allocates nothing: 100,000 round trips and 1 GB of COPY whose messages straddle buffers, in clear and
//! with TLS on both sides, through the whole gate in this process, before a real PostgreSQL.

#[expect(dead_code, reason = "this test needs only a part of it")]
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use postern::identity::scram::client::{Binding, begin};
use postern::identity::scram::{SCRAM_SHA_256, derive};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use support::gate::Gate;
use support::place::text_of;
use support::policy::password_of;
use support::servers::Server;
use support::stranger::{SSL_REQUEST, Stranger, request, startup};

/// Round trips of all sessions together, and bytes of COPY in both directions together. The environment may ask for
/// more or less.
const ROUND_TRIPS: u64 = 100_000;
const COPY_BYTES: u64 = 1_000_000_000;

/// Sessions that make round trips; two more copy at the same time.
const TALKERS: u64 = 6;
/// Queries under way at once in one session, at most.
const DEPTH: u64 = 8;

/// How much of the work is done before anything is counted.
const WARM_UP: u64 = 10;

/// Lengths of rows: from one byte to more than two small buffers, so that messages begin and end anywhere in a buffer.
const ROW: std::ops::Range<u64> = 1..20_000;
/// A prime, so that lengths in a row have nothing to do with the lengths of buffers.
const STEP: u64 = 7_919;

/// Counts what threads of cores ask of the allocator while [`COUNTING`].
struct Counting;

static COUNTING: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
/// What cores asked for outside the window: proves that their threads are recognised.
static BEFORE: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// `None`: not looked at yet.
    static IS_CORE: Cell<Option<bool>> = const { Cell::new(None) };
    static TELLING: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing but, once, the words of a failure,
// and what is allocated for those is not counted.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: usize) {
    if !is_core() || TELLING.get() {
        return;
    }
    if !COUNTING.load(Ordering::Acquire) {
        BEFORE.fetch_add(1, Ordering::Relaxed);
        return;
    }
    if ALLOCATIONS.fetch_add(1, Ordering::Relaxed) == 0 {
        TELLING.set(true);
        eprintln!("the first allocation, {bytes} bytes:\n{}", Backtrace::force_capture());
        TELLING.set(false);
    }
}

fn is_core() -> bool {
    if let Some(known) = IS_CORE.get() {
        return known;
    }
    let mut name = [0_u8; 16];
    // SAFETY: PR_GET_NAME writes at most 16 bytes, the last a zero.
    #[allow(unsafe_code)]
    let told = unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) } == 0;
    let is_core = told && name.starts_with(b"core-");
    // A thread has its name a little after its first allocations; the ones of cores allocate again before they serve.
    if is_core || COUNTING.load(Ordering::Relaxed) {
        IS_CORE.set(Some(is_core));
    }
    is_core
}

#[test]
fn a_live_core_allocates_nothing() {
    let gate = Gate::in_this_process(Server::of_version(15).database());
    gate.database.sql(
        "create table sink (line text); \
         create function swallow() returns trigger language plpgsql as 'begin return null; end'; \
         create trigger swallow before insert on sink for each row execute function swallow(); \
         grant all on sink to public",
    );
    relay_without_allocating("TLS", || by_certificate(&gate));
    reach_the_server_in_clear(&gate);
    relay_without_allocating("clear", || by_password(&gate));
}

fn relay_without_allocating(how: &str, log_in: impl Fn() -> Client) {
    let mut talkers: Vec<Client> = (0..TALKERS).map(|_| log_in()).collect();
    let (mut reader, mut writer) = (log_in(), log_in());
    let round_trips = from_environment("POSTERN_TEST_ROUND_TRIPS", ROUND_TRIPS);
    let bytes = from_environment("POSTERN_TEST_COPY_BYTES", COPY_BYTES);
    work(
        &mut talkers,
        &mut reader,
        &mut writer,
        round_trips / WARM_UP,
        bytes / WARM_UP,
    );
    let before = BEFORE.load(Ordering::Relaxed);
    assert_ne!(before, 0, "allocations of cores are seen");

    COUNTING.store(true, Ordering::Release);
    let (trips, copied) = work(&mut talkers, &mut reader, &mut writer, round_trips, bytes);
    COUNTING.store(false, Ordering::Release);

    assert!(
        trips >= round_trips && copied >= bytes,
        "{how}: {trips} round trips, {copied} bytes"
    );
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), 0, "{how}");
}

/// Everything at the same time. Answers how many round trips and bytes of rows there were.
fn work(talkers: &mut [Client], reader: &mut Client, writer: &mut Client, trips: u64, bytes: u64) -> (u64, u64) {
    let each = trips.div_ceil(TALKERS);
    std::thread::scope(|scope| {
        let talking: Vec<_> = talkers
            .iter_mut()
            .map(|talker| scope.spawn(move || talker.talk(each)))
            .collect();
        let reading = scope.spawn(|| reader.copy_out(bytes / 2));
        let copied = writer.copy_in(bytes - bytes / 2) + reading.join().expect("COPY TO");
        let trips = talking
            .into_iter()
            .map(|talker| talker.join().expect("round trips"))
            .sum();
        (trips, copied)
    })
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// The policy again, with the cluster reached without TLS.
fn reach_the_server_in_clear(gate: &Gate) {
    let roots = format!("roots = [{:?}]", gate.database.server.ca.display().to_string());
    let base = text_of(&gate.policy.directory.join("base.toml"));
    assert!(base.contains(&roots), "{base}");
    gate.takes(|gate| gate.policy.drop_in("base", &base.replace(&roots, "tls = \"disable\"")));
}

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// A session, and what has been read of it ahead.
struct Client {
    stream: Box<dyn Stream>,
    buffer: Box<[u8]>,
    ahead: std::ops::Range<usize>,
}

/// A message's type and body.
struct Message {
    tag: u8,
    body: Vec<u8>,
}

fn by_certificate(gate: &Gate) -> Client {
    let mut stranger = Stranger::at(gate.ports.certificates);
    stranger.say(&request(SSL_REQUEST));
    assert_eq!(stranger.hear(1), b"S");
    let name = "localhost".try_into().expect("a name");
    let connection = ClientConnection::new(Arc::new(tls(gate)), name).expect("a connection");
    let mut client = Client::new(StreamOwned::new(connection, patient(stranger.0)));
    client.start(gate, "billing");
    assert_eq!(client.expect(b'R').body, 0_u32.to_be_bytes());
    client.until_ready();
    client
}

fn by_password(gate: &Gate) -> Client {
    let mut client = Client::new(patient(Stranger::at(gate.ports.passwords).0));
    client.start(gate, "alice");
    client.prove("alice");
    client.until_ready();
    client
}

/// While the machine is busy an answer may take long.
fn patient(stream: TcpStream) -> TcpStream {
    stream.set_nodelay(true).expect("no delay");
    stream
        .set_read_timeout(Some(Duration::from_secs(120)))
        .expect("a timeout");
    stream
}

fn tls(gate: &Gate) -> ClientConfig {
    let card = &gate.policy.cards.billing;
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_file(&gate.ca).expect("a root");
    roots.add(root).expect("a good root");
    let chain = vec![CertificateDer::from_pem_file(&card.certificate).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(&card.key).expect("a key");
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .expect("a certificate with its key")
}

impl Client {
    fn new(stream: impl Stream + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            buffer: vec![0; 64 * 1024].into_boxed_slice(),
            ahead: 0..0,
        }
    }

    fn start(&mut self, gate: &Gate, user: &str) {
        self.say(&startup(&[("user", user), ("database", &gate.database.name)]));
    }

    fn prove(&mut self, user: &str) {
        assert_eq!(self.expect(b'R').body[..4], 10_u32.to_be_bytes());
        let mut first = Vec::new();
        let server_first = begin(Binding::None, [7; 18], &mut first);
        let length = u32::try_from(first.len()).expect("a short message").to_be_bytes();
        let initial = [SCRAM_SHA_256.as_bytes(), b"\0", &length, &first].concat();
        self.say(&message(b'p', &initial));
        let keys_wanted = server_first
            .handle(&self.expect(b'R').body[4..], 100_000)
            .expect("server-first");
        let keys = derive(password_of(user).as_bytes(), &keys_wanted.salt, keys_wanted.iterations);
        let mut last = Vec::new();
        let server_final = keys_wanted.proceed(&keys, &mut last);
        self.say(&message(b'p', &last));
        server_final.handle(&self.expect(b'R').body[4..]).expect("server-final");
        assert_eq!(self.expect(b'R').body, 0_u32.to_be_bytes());
    }

    /// Queries, now one at a time, now several under way. Answers how many.
    fn talk(&mut self, trips: u64) -> u64 {
        let mut done = 0;
        while done < trips {
            let together = 1 + done % DEPTH;
            self.say(&message(b'Q', b"select 1\0").repeat(together as usize));
            for _ in 0..together {
                self.until_ready();
            }
            done += together;
        }
        done
    }

    fn copy_out(&mut self, bytes: u64) -> u64 {
        let rows = rows_of(bytes);
        let (from, span) = (ROW.start, ROW.end - ROW.start);
        self.say(&query(&format!(
            "copy (select repeat('x', ({from} + i * {STEP} % {span})::integer) from generate_series(1::bigint, {rows}) i) to stdout"
        )));
        self.expect(b'H');
        let mut copied = 0;
        loop {
            let Message { tag, body } = self.message();
            match tag {
                b'd' => copied += body.len() as u64,
                b'c' => break,
                _ => panic!("{}", String::from_utf8_lossy(&body)),
            }
        }
        self.until_ready();
        copied
    }

    fn copy_in(&mut self, bytes: u64) -> u64 {
        self.say(&query("copy sink from stdin"));
        self.expect(b'G');
        let mut copied = 0;
        for row in 1..=rows_of(bytes) {
            let mut line = vec![b'x'; length_of(row) as usize];
            line.push(b'\n');
            copied += line.len() as u64;
            self.say(&message(b'd', &line));
        }
        self.say(&message(b'c', &[]));
        self.until_ready();
        copied
    }

    fn until_ready(&mut self) {
        loop {
            let Message { tag, body } = self.message();
            assert_ne!(tag, b'E', "{}", String::from_utf8_lossy(&body));
            if tag == b'Z' {
                return;
            }
        }
    }

    fn expect(&mut self, tag: u8) -> Message {
        let message = self.message();
        assert_eq!(message.tag, tag, "{}", String::from_utf8_lossy(&message.body));
        message
    }

    fn message(&mut self) -> Message {
        let mut head = [0; 5];
        self.read(&mut head);
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let mut body = vec![0; length - 4];
        self.read(&mut body);
        Message { tag: head[0], body }
    }

    fn read(&mut self, wanted: &mut [u8]) {
        let mut filled = 0;
        while filled < wanted.len() {
            if self.ahead.is_empty() {
                let count = self.stream.read(&mut self.buffer).expect("the gate answers");
                assert_ne!(count, 0, "the gate has closed");
                self.ahead = 0..count;
            }
            let count = self.ahead.len().min(wanted.len() - filled);
            let from = self.ahead.start;
            wanted[filled..filled + count].copy_from_slice(&self.buffer[from..from + count]);
            self.ahead.start += count;
            filled += count;
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the gate listens");
        self.stream.flush().expect("the gate listens");
    }
}

/// So many rows have at least so many bytes.
fn rows_of(bytes: u64) -> u64 {
    let mut left = bytes;
    let mut rows = 0;
    while left > 0 {
        rows += 1;
        left = left.saturating_sub(length_of(rows));
    }
    rows
}

fn length_of(row: u64) -> u64 {
    ROW.start + row * STEP % (ROW.end - ROW.start)
}

fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &[sql.as_bytes(), b"\0"].concat())
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &support::stranger::framed(body)].concat()
}
