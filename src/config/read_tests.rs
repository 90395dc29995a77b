use std::collections::BTreeSet;
use std::path::PathBuf;

use super::*;

const PAGE: &str = include_str!("../../docs/configuration.md");
const EXAMPLE: &str = include_str!("../../docs/examples/postern.toml");

const SMALLEST: &str = r#"
[server]
policy = "policy"
secret_file = "/var/lib/postern/gate.secret"

[[listener]]
name = "clients"
address = "127.0.0.1:6432"
certificate = "server.crt"
key = "/tls/server.key"

[audit]
file = "/var/log/postern/audit.jsonl"
"#;

fn parsed(text: &str) -> Config {
    parse("postern.toml", text, Path::new("/etc/postern")).unwrap_or_else(|faults| panic!("{faults}"))
}

/// Each fault as `line:column message`.
fn faults(text: &str) -> Vec<String> {
    let faults = parse("postern.toml", text, Path::new("/etc/postern")).expect_err("has faults");
    faults
        .iter()
        .map(|fault| format!("{}:{} {}", fault.line, fault.column, fault.message))
        .collect()
}

/// The smallest configuration with one line replaced, and its one fault.
fn fault_with(line: &str, replacement: &str) -> String {
    let text = SMALLEST.replace(line, replacement);
    assert_ne!(text, SMALLEST, "no such line: {line}");
    let faults = faults(&text);
    assert_eq!(faults.len(), 1, "{faults:#?}");
    faults.concat()
}

#[test]
fn the_smallest_configuration_has_the_documented_defaults() {
    let smallest = parsed(SMALLEST);
    let example = parsed(EXAMPLE);
    assert_eq!(
        smallest.server,
        Server {
            cores: None,
            ..example.server
        }
    );
    assert_eq!(
        (smallest.ring, smallest.audit, smallest.failures, smallest.log),
        (example.ring, example.audit, example.failures, example.log)
    );
    assert_eq!(smallest.admin, None);
    assert_eq!(smallest.server.policy, PathBuf::from("/etc/postern/policy"));
    let files = CertificateFiles {
        certificate: "/etc/postern/server.crt".into(),
        key: "/tls/server.key".into(),
    };
    assert_eq!(
        smallest.listeners,
        [Listener {
            name: "clients".to_owned(),
            address: ListenerAddress::Tcp("127.0.0.1:6432".parse().expect("an address")),
            tls: ListenerTls::Require(files),
            proxy_protocol: ProxyProtocol::Off,
            backlog: 1_024,
        }]
    );
}

#[test]
fn the_example_has_what_it_says() {
    let Config {
        server,
        listeners,
        admin,
        ..
    } = parsed(EXAMPLE);
    assert_eq!(server.cores, Some(4));
    assert_eq!(server.authentication_deadline, MINUTE);
    let addresses: Vec<String> = listeners.iter().map(|listener| listener.address.to_string()).collect();
    assert_eq!(
        addresses,
        ["0.0.0.0:6432", "[::]:6434", "unix:/run/postern/.s.PGSQL.6432"]
    );
    let trusted = ["10.20.0.0/16", "2001:db8:20::/48"].map(|network| network.parse().expect("a network"));
    assert_eq!(
        listeners[1].proxy_protocol,
        ProxyProtocol::Required {
            trusted: trusted.to_vec()
        }
    );
    assert!(matches!(listeners[1].tls, ListenerTls::Allow(_)));
    assert!(matches!(
        listeners[2].address,
        ListenerAddress::Unix { mode: 0o660, .. }
    ));
    assert_eq!(listeners[2].tls, ListenerTls::Off);
    assert_eq!(
        admin,
        Some(Admin {
            address: "127.0.0.1:6433".parse().expect("an address"),
            metrics: true
        })
    );
}

/// Every key the reader asks for, from the reader itself.
fn known_keys() -> BTreeSet<String> {
    let document = DeTable::parse(EXAMPLE).expect("the example");
    let mut source = Source::new("", EXAMPLE, Path::new(""));
    read(&mut source, document.get_ref());
    source.asked().clone()
}

#[test]
fn the_page_and_the_example_have_every_key_and_no_other() {
    let mut documented = BTreeSet::new();
    let mut section = "";
    for line in PAGE.lines() {
        if let Some(heading) = line.strip_prefix("## `[") {
            section = heading.trim_start_matches('[').trim_end_matches(['`', ']']);
        } else if let Some((key, _)) = line.strip_prefix("| `").and_then(|row| row.split_once('`')) {
            documented.insert(format!("{section}.{key}"));
        }
    }
    assert_eq!(documented, known_keys());

    let mut shown = BTreeSet::new();
    for line in EXAMPLE.lines() {
        if let Some(heading) = line.strip_prefix('[') {
            section = heading.trim_matches(['[', ']']);
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            shown.insert(format!("{section}.{key}"));
        }
    }
    assert_eq!(shown, known_keys());
}

#[test]
fn the_texts_on_the_page_are_configurations() {
    let blocks: Vec<&str> = PAGE
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(!blocks.is_empty());
    blocks.into_iter().for_each(|block| drop(parsed(block)));
}

#[test]
fn all_faults_come_at_once_with_their_places() {
    let text = "\
[server]
cores = 0
pin = \"yes\"
startup_deadline = 15
speed = 11

[[listener]]
name = \"a\"
address = \"localhost:6432\"

[[listener]]
name = \"a\"
address = \"unix:run/postern\"
mode = \"rw\"

[audit]
file = \"\"
on_failure = \"ignore\"
rotate_size = \"1KiB\"

[adnim]
";
    assert_eq!(
        faults(text),
        [
            "1:2 `policy` is missing in `[server]`",
            "1:2 `secret_file` is missing in `[server]`",
            "2:9 `cores` must be from 1 to 1024",
            "3:7 `pin` must be true or false, not text",
            "4:20 `startup_deadline` must be a time such as \"500ms\", \"30s\", \"5m\" or \"2h\"",
            "5:1 unknown key `speed` in `[server]`; known are authentication_deadline, cores, drain_deadline, \
             one_time_tokens, pin, policy, secret_file, sessions, startup_deadline",
            "7:1 `certificate` is missing in `[listener]`",
            "7:1 `key` is missing in `[listener]`",
            "9:11 not an address with a port (`127.0.0.1:6432`, `[::]:6432`), nor a Unix socket (`unix:/path`)",
            "12:8 two listeners are named `a`",
            "13:11 the path of a Unix socket must be absolute (`unix:/run/postern/.s.PGSQL.6432`)",
            "14:8 `mode` must be permission bits in octal, as \"0660\"",
            "17:8 `file` is empty",
            "18:14 `on_failure` must be one of \"deny\", \"drop\"",
            "19:15 `rotate_size` must be from 64KiB to 1TiB",
            "21:2 unknown key `adnim` here; known are admin, audit, failures, listener, log, ring, \
             server",
        ]
    );
}

#[test]
fn a_listener_without_contradictions() {
    let address = "address = \"127.0.0.1:6432\"";
    let with = |more: &str| fault_with(address, &format!("{address}\n{more}"));
    assert_eq!(with("mode = \"0660\""), "9:8 `mode` is for Unix sockets only");
    assert_eq!(
        with("trusted = [\"10.0.0.0/8\"]"),
        "9:11 `trusted` has no use without `proxy_protocol = true`"
    );
    assert_eq!(
        with("proxy_protocol = true"),
        "6:1 `trusted` is missing in `[listener]`"
    );
    assert_eq!(
        with("proxy_protocol = true\ntrusted = []"),
        "10:11 `trusted` names no network, so no connection could get in"
    );
    assert!(with("backlog = 70000").starts_with("9:11 `backlog` must be from 1 to 65535"));
    assert_eq!(
        fault_with(address, "address = \"127.0.0.1:0\""),
        "8:11 the port must be from 1 to 65535"
    );
    assert_eq!(
        fault_with("key = \"/tls/server.key\"\n", ""),
        "6:1 `key` is missing in `[listener]`"
    );
    let long = format!("address = \"unix:/{}\"\ntls = \"require\"", "x".repeat(107));
    assert_eq!(
        fault_with(address, &long),
        "8:11 the path of a Unix socket has at most 107 bytes"
    );
    let off = faults(&SMALLEST.replace(address, &format!("{address}\ntls = \"off\"")));
    assert_eq!(
        off,
        [
            "10:15 `certificate` has no use: TLS is off here",
            "11:7 `key` has no use: TLS is off here"
        ]
    );
    let twice = format!("{SMALLEST}\n[[listener]]\nname = \"b\"\n{address}\ntls = \"off\"\n");
    assert_eq!(
        faults(&twice),
        ["17:11 two listeners have the address `127.0.0.1:6432`"]
    );
}

#[test]
fn networks_say_what_they_mean() {
    let address = "address = \"127.0.0.1:6432\"";
    let with = |networks: &str| {
        SMALLEST.replace(
            address,
            &format!("{address}\nproxy_protocol = true\ntrusted = [{networks}]"),
        )
    };
    let faults = faults(&with("\"10.0.0.1/8\", \"10.0.0.1\", 7, \"ten\""));
    assert_eq!(faults.len(), 3, "{faults:#?}");
    let config = parsed(&with("\"10.0.0.1\""));
    let network = "10.0.0.1/32".parse().expect("a network");
    assert_eq!(
        config.listeners[0].proxy_protocol,
        ProxyProtocol::Required { trusted: vec![network] }
    );
}

#[test]
fn the_admin_pages_stay_at_home() {
    let with = |address: &str| format!("{SMALLEST}\n[admin]\naddress = \"{address}\"\n");
    for loopback in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        assert!(parsed(&with(loopback)).admin.is_some());
    }
    for other in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1"] {
        let faults = faults(&with(other));
        assert_eq!(faults.len(), 1);
        assert!(faults[0].contains("loopback"), "{faults:?}");
    }
    assert_eq!(
        faults(&format!("{SMALLEST}\n[admin]\n")),
        ["15:2 `address` is missing in `[admin]`"]
    );
}

#[test]
fn numbers_are_read_in_every_form_of_toml_and_within_their_range() {
    let with = |ring: &str| format!("{SMALLEST}\n[ring]\n{ring}\n");
    assert_eq!(parsed(&with("entries = 0x2_00")).ring.entries, 512);
    for wrong in [
        "entries = 300",
        "entries = 32",
        "entries = -256",
        "entries = 256.0",
        "small_buffers = 99999999999999999999",
    ] {
        assert_eq!(faults(&with(wrong)).len(), 1, "{wrong}");
    }
}

/// The ring takes what is configured as it is, so more than it holds is a fault rather than less in silence.
#[test]
fn a_buffer_larger_than_the_ring_has_is_a_fault() {
    let with = |ring: &str| format!("{SMALLEST}\n[ring]\n{ring}\n");
    for key in ["small_buffer_size", "bulk_buffer_size"] {
        let found = faults(&with(&format!("{key} = \"64KiB\"")));
        assert_eq!(found.len(), 1, "{key}: {found:?}");
        assert!(found[0].ends_with("to 63KiB"), "{found:?}");
    }
    let ring = parsed(&with("small_buffer_size = \"63KiB\"\nbulk_buffer_size = \"63KiB\"")).ring;
    assert_eq!(
        (ring.small_buffer_size, ring.bulk_buffer_size),
        (MAX_BUFFER_SIZE, MAX_BUFFER_SIZE)
    );
}

#[test]
fn failures_have_their_ranges() {
    let with = |failures: &str| format!("{SMALLEST}\n[failures]\n{failures}\n");
    assert!(!parsed(&with("enabled = false")).failures.enabled);
    assert_eq!(parsed(&with("delay_after = 0")).failures.delay_after, 0);
    for (wrong, told) in [
        ("window = \"999ms\"", "16:10 `window` must be from 1s to 1h"),
        ("window = \"2h\"", "16:10 `window` must be from 1s to 1h"),
        ("delay = \"0ms\"", "16:9 `delay` must be from 1ms to 1m"),
        ("delay_max = \"2m\"", "16:13 `delay_max` must be from 1ms to 1m"),
        ("refuse_after = 0", "16:16 `refuse_after` must be from 1 to 1000000"),
        ("refuse_for = \"25h\"", "16:14 `refuse_for` must be from 1s to 24h"),
        ("refuse_for = 60", "16:14 `refuse_for` must be a time such as"),
        (
            "delay = \"10s\"",
            "15:2 `delay` of `[failures]` is longer than its `delay_max`",
        ),
    ] {
        let found = faults(&with(wrong));
        assert_eq!(found.len(), 1, "{wrong}: {found:?}");
        assert!(found.concat().starts_with(told), "{wrong}: {found:?}");
    }
}

#[test]
fn broken_syntax_is_told_by_itself() {
    let faults = faults("[server\ncores = = 1\n[audit]\nfile = 7\n");
    assert!(faults.iter().any(|fault| fault.starts_with("1:")), "{faults:?}");
    assert!(faults.iter().any(|fault| fault.starts_with("2:")), "{faults:?}");
    assert!(!faults.iter().any(|fault| fault.contains("missing")), "{faults:?}");
}

#[test]
fn an_empty_file_says_what_is_needed() {
    assert_eq!(
        faults(""),
        [
            "0:0 `file` is missing in `[audit]`",
            "0:0 `policy` is missing in `[server]`",
            "0:0 `secret_file` is missing in `[server]`",
            "0:0 there is no `[[listener]]`",
        ]
    );
}

#[test]
fn wrong_kinds_of_sections_are_told() {
    let faults = faults(&format!(
        "ring = 5\nlog = []\n{}",
        SMALLEST.replace("[[listener]]", "[listener]")
    ));
    let told = [
        "`ring` must be a table",
        "`log` must be a table",
        "`listener` is a list of tables",
    ];
    for expected in told {
        assert!(
            faults.iter().any(|fault| fault.contains(expected)),
            "{expected}: {faults:#?}"
        );
    }
}
