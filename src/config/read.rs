//! From text to [`Config`]: the keys, their ranges and their defaults, section by section.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use core::net::SocketAddr;

use ipnet::IpNet;
use postern_policy::fault::Faults;
use toml::de::DeTable;

use super::model::*;
use super::source::Source;
use super::table::Table;

/// Bytes of a Unix socket's path: `sockaddr_un` has 108, the last one zero.
const SOCKET_PATH_BYTES: usize = 107;

const MINUTE: Duration = Duration::from_secs(60);

/// Reads a configuration. `name` is what faults call the text; relative paths in it are relative to `directory`.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn parse(name: &str, text: &str, directory: &Path) -> Result<Config, Faults> {
    let mut source = Source::new(name, text, directory);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        source.fault(error.span().unwrap_or(0..0), error.message());
    }
    // What was recovered from broken syntax is a guess: faults found in it would be guesses as well.
    let config = errors.is_empty().then(|| read(&mut source, document.get_ref()));
    let faults = source.into_faults();
    match config {
        Some(config) if faults.is_empty() => Ok(config),
        Some(_) | None => Err(faults),
    }
}

pub(super) fn read(source: &mut Source<'_>, document: &DeTable<'_>) -> Config {
    let mut root = Table::root(document);
    let config = Config {
        server: read_server(source, &mut root),
        listeners: read_listeners(source, &mut root),
        ring: read_ring(source, &mut root),
        audit: read_audit(source, &mut root),
        admin: read_admin(source, &mut root),
        failures: read_failures(source, &mut root),
        log: read_log(source, &mut root),
    };
    root.refuse_unknown(source);
    config
}

fn read_server(source: &mut Source<'_>, root: &mut Table<'_, '_>) -> Server {
    let mut table = root.table(source, "server");
    let second = Duration::from_secs(1);
    let server = Server {
        cores: table
            .optional_number(source, "cores", 1..=1_024)
            .and_then(|cores| u16::try_from(cores).ok()),
        pin: table.flag(source, "pin", true),
        sessions: table.number(source, "sessions", 1..=4_000_000, 10_000),
        policy: table.path(source, "policy"),
        secret_file: table.path(source, "secret_file"),
        startup_deadline: table.duration(source, "startup_deadline", second..=10 * MINUTE, 15 * second),
        authentication_deadline: table.duration(source, "authentication_deadline", second..=10 * MINUTE, MINUTE),
        drain_deadline: table.duration(source, "drain_deadline", Duration::ZERO..=24 * 60 * MINUTE, MINUTE),
        one_time_tokens: table.number(source, "one_time_tokens", 1_024..=16_777_216, 262_144),
    };
    table.refuse_unknown(source);
    server
}

fn read_listeners(source: &mut Source<'_>, root: &mut Table<'_, '_>) -> Vec<Listener> {
    let tables = root.tables(source, "listener");
    if tables.is_empty() {
        source.fault_of_file("there is no `[[listener]]`");
    }
    let mut listeners: Vec<Listener> = Vec::new();
    let mut names = BTreeMap::new();
    let mut addresses = BTreeMap::new();
    for mut table in tables {
        let listener = read_listener(source, &mut table);
        let name = (listener.name.clone(), table.span_of("name"));
        refuse_second(source, &mut names, name, |name| {
            format!("two listeners are named `{name}`")
        });
        let address = (listener.address.to_string(), table.span_of("address"));
        refuse_second(source, &mut addresses, address, |address| {
            format!("two listeners have the address `{address}`")
        });
        table.refuse_unknown(source);
        listeners.push(listener);
    }
    listeners
}

fn refuse_second(
    source: &mut Source<'_>,
    seen: &mut BTreeMap<String, ()>,
    (value, span): (String, Range<usize>),
    message: impl Fn(&str) -> String,
) {
    let message = message(&value);
    if !value.is_empty() && seen.insert(value, ()).is_some() {
        source.fault(span, message);
    }
}

fn read_listener(source: &mut Source<'_>, table: &mut Table<'_, '_>) -> Listener {
    let (name, _) = table.text(source, "name");
    let address = read_listener_address(source, table);
    let is_unix = matches!(address, ListenerAddress::Unix { .. });
    Listener {
        name,
        tls: read_listener_tls(source, table, is_unix),
        proxy_protocol: read_proxy_protocol(source, table, is_unix),
        backlog: table.number(source, "backlog", 1..=65_535, 1_024),
        address,
    }
}

fn read_listener_address(source: &mut Source<'_>, table: &mut Table<'_, '_>) -> ListenerAddress {
    let (text, span) = table.text(source, "address");
    let mode = read_socket_mode(source, table);
    if let Some(path) = text.strip_prefix("unix:") {
        let path = Path::new(path);
        if !path.is_absolute() {
            source.fault(
                span,
                "the path of a Unix socket must be absolute (`unix:/run/postern/.s.PGSQL.6432`)",
            );
        } else if path.as_os_str().len() > SOCKET_PATH_BYTES {
            source.fault(
                span,
                format!("the path of a Unix socket has at most {SOCKET_PATH_BYTES} bytes"),
            );
        }
        return ListenerAddress::Unix {
            path: path.to_path_buf(),
            mode,
        };
    }
    if table.has("mode") {
        source.fault(table.span_of("mode"), "`mode` is for Unix sockets only");
    }
    ListenerAddress::Tcp(read_socket_address(source, &text, span))
}

/// Permission bits, written as text in octal, as `chmod` takes them.
fn read_socket_mode(source: &mut Source<'_>, table: &mut Table<'_, '_>) -> u32 {
    let Some((text, span)) = table.optional_text(source, "mode") else {
        return 0o660;
    };
    let is_octal = (3..=4).contains(&text.len()) && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    match u32::from_str_radix(&text, 8) {
        Ok(mode) if is_octal && mode <= 0o777 => mode,
        Ok(_) | Err(_) => {
            source.fault(span, "`mode` must be permission bits in octal, as \"0660\"");
            0o660
        }
    }
}

/// An address and a port; never a name, whose meaning could change. Faulty: the unspecified address.
fn read_socket_address(source: &mut Source<'_>, text: &str, span: Range<usize>) -> SocketAddr {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() > 0 => return address,
        Ok(_) => source.fault(span, "the port must be from 1 to 65535"),
        Err(_) if text.is_empty() => {}
        Err(_) => source.fault(
            span,
            "not an address with a port (`127.0.0.1:6432`, `[::]:6432`), nor a Unix socket (`unix:/path`)",
        ),
    }
    SocketAddr::from(([0, 0, 0, 0], 0))
}

fn read_listener_tls(source: &mut Source<'_>, table: &mut Table<'_, '_>, is_unix: bool) -> ListenerTls {
    let default = if is_unix { TlsMode::Off } else { TlsMode::Require };
    let mode = table.word(source, "tls", default);
    let certificate = table.optional_path(source, "certificate");
    let key = table.optional_path(source, "key");
    if mode == TlsMode::Off {
        for (name, value) in [("certificate", &certificate), ("key", &key)] {
            if let Some((_, span)) = value {
                source.fault(span.clone(), format!("`{name}` has no use: TLS is off here"));
            }
        }
        return ListenerTls::Off;
    }
    for (name, value) in [("certificate", &certificate), ("key", &key)] {
        if value.is_none() {
            table.missing(source, name);
        }
    }
    let path = |value: Option<(std::path::PathBuf, Range<usize>)>| value.map(|(path, _)| path).unwrap_or_default();
    let files = CertificateFiles {
        certificate: path(certificate),
        key: path(key),
    };
    match mode {
        TlsMode::Require => ListenerTls::Require(files),
        TlsMode::Allow => ListenerTls::Allow(files),
        TlsMode::Off => ListenerTls::Off,
    }
}

fn read_proxy_protocol(source: &mut Source<'_>, table: &mut Table<'_, '_>, is_unix: bool) -> ProxyProtocol {
    let required = table.flag(source, "proxy_protocol", false);
    let trusted = read_networks(source, table, "trusted");
    match (required, is_unix, table.has("trusted")) {
        (false, _, true) => source.fault(
            table.span_of("trusted"),
            "`trusted` has no use without `proxy_protocol = true`",
        ),
        (true, true, true) => {
            source.fault(
                table.span_of("trusted"),
                "a Unix socket has no source networks: its `mode` says who is trusted",
            );
        }
        (true, false, false) => table.missing(source, "trusted"),
        (true, false, true) if trusted.is_empty() => {
            source.fault(
                table.span_of("trusted"),
                "`trusted` names no network, so no connection could get in",
            );
        }
        (false, _, false) | (true, true, false) | (true, false, true) => {}
    }
    if required {
        ProxyProtocol::Required { trusted }
    } else {
        ProxyProtocol::Off
    }
}

/// A network, or an address as the network of itself. Host bits behind the prefix are a fault: a slip more often than a wish.
fn read_network(text: &str) -> Option<IpNet> {
    let network = text
        .parse::<IpNet>()
        .or_else(|_| text.parse().map(|address: core::net::IpAddr| address.into()))
        .ok()?;
    (network.trunc() == network).then_some(network)
}

fn read_ring(source: &mut Source<'_>, root: &mut Table<'_, '_>) -> Ring {
    let mut table = root.table(source, "ring");
    let buffers = 16..=32_768;
    let count = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    let bytes = |size: u64| u32::try_from(size).unwrap_or(u32::MAX);
    let ring = Ring {
        entries: table.power_of_two(source, "entries", 64..=4_096, 256),
        small_buffers: count(table.power_of_two(source, "small_buffers", buffers.clone(), 1_024)),
        small_buffer_size: bytes(table.size(source, "small_buffer_size", 1_024..=u64::from(MAX_BUFFER_SIZE), 8_192)),
        bulk_buffers: count(table.power_of_two(source, "bulk_buffers", buffers, 64)),
        bulk_buffer_size: bytes(table.size(
            source,
            "bulk_buffer_size",
            16_384..=u64::from(MAX_BUFFER_SIZE),
            u64::from(MAX_BUFFER_SIZE),
        )),
        features: table.word(source, "features", RingFeatures::All),
    };
    table.refuse_unknown(source);
    ring
}

fn read_audit(source: &mut Source<'_>, root: &mut Table<'_, '_>) -> Audit {
    let mut table = root.table(source, "audit");
    let audit = Audit {
        file: table.path(source, "file"),
        on_failure: table.word(source, "on_failure", OnFailure::Deny),
        durability: table.word(source, "durability", Durability::Written),
        rotate_size: table.size(source, "rotate_size", 64 << 10..=1 << 40, 256 << 20),
        keep: table.number(source, "keep", 1..=9_999, 100),
        queue: table.number(source, "queue", 1_024..=4_194_304, 65_536),
        pre_proof_bytes_per_second: table.size(source, "pre_proof_bytes_per_second", 1 << 10..=1 << 30, 64 << 10),
    };
    table.refuse_unknown(source);
    audit
}

fn read_admin(source: &mut Source<'_>, root: &mut Table<'_, '_>) -> Option<Admin> {
    let mut table = root.table(source, "admin");
    let is_there = table.is_there();
    let (text, span) = match is_there {
        true => table.text(source, "address"),
        // Asked all the same, so that the key is known.
        false => table.optional_text(source, "address").unwrap_or_default(),
    };
    let metrics = table.flag(source, "metrics", true);
    let address = read_socket_address(source, &text, span.clone());
    if address.port() > 0 && !address.ip().to_canonical().is_loopback() {
        source.fault(
            span,
            "the admin pages have no authentication: their address must be a loopback one (`127.0.0.1:6433`)",
        );
    }
    table.refuse_unknown(source);
    is_there.then_some(Admin { address, metrics })
}

fn read_networks(source: &mut Source<'_>, table: &mut Table<'_, '_>, key: &'static str) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for (text, span) in table.texts(source, key) {
        match read_network(&text) {
            Some(network) => networks.push(network),
            None => source.fault(span, "not a network (`10.0.0.0/8`, `2001:db8::/32`) nor an address"),
        }
    }
    networks
}

fn read_failures(source: &mut Source<'_>, root: &mut Table<'_, '_>) -> Failures {
    let mut table = root.table(source, "failures");
    let (millisecond, second) = (Duration::from_millis(1), Duration::from_secs(1));
    let failures = Failures {
        enabled: table.flag(source, "enabled", true),
        window: table.duration(source, "window", second..=60 * MINUTE, MINUTE),
        delay_after: table.number(source, "delay_after", 0..=1_000_000, 5),
        delay: table.duration(source, "delay", millisecond..=MINUTE, 100 * millisecond),
        delay_max: table.duration(source, "delay_max", millisecond..=MINUTE, 5 * second),
        refuse_after: table.number(source, "refuse_after", 1..=1_000_000, 100),
        refuse_for: table.duration(source, "refuse_for", second..=24 * 60 * MINUTE, MINUTE),
        exempt: read_networks(source, &mut table, "exempt"),
    };
    if failures.delay > failures.delay_max {
        source.fault(table.span(), "`delay` of `[failures]` is longer than its `delay_max`");
    }
    table.refuse_unknown(source);
    failures
}

fn read_log(source: &mut Source<'_>, root: &mut Table<'_, '_>) -> Log {
    let mut table = root.table(source, "log");
    let log = Log {
        format: table.word(source, "format", LogFormat::Text),
        level: table.word(source, "level", LogLevel::Info),
    };
    table.refuse_unknown(source);
    log
}

/// `tls` as it is written; with the files it becomes [`ListenerTls`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsMode {
    Require,
    Allow,
    Off,
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
