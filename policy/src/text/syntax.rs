//! The small languages inside the strings of a policy: durations, fingerprints, verifiers, networks, patterns, endpoints.

use core::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;

use crate::check::{Why, value};
use crate::model::{Endpoint, NamePattern, ScramVerifier};
use value::{Bounds, Unit};

/// `500ms`, `3s`, `5m`, `8h`, `7d`: in the unit of `bounds`, and within them.
pub(super) fn duration(text: &str, bounds: &Bounds) -> Result<u32, Why> {
    let malformed = || Why::new(format!("`{text}` is not a duration")).help("as `500ms`, `3s`, `5m`, `8h` or `7d`");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _other => return Err(malformed()),
    };
    if number.is_empty() {
        return Err(malformed());
    }
    let milliseconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    let milliseconds = milliseconds.ok_or_else(|| bounds.refuse(text))?;
    let number = match bounds.unit() {
        Unit::Milliseconds | Unit::Count => milliseconds,
        Unit::Seconds if milliseconds % 1_000 == 0 => milliseconds / 1_000,
        Unit::Seconds => return Err(Why::new(format!("`{text}` is not in whole seconds"))),
    };
    let number = u32::try_from(number).map_err(|_| bounds.refuse(text))?;
    bounds.check(number).map(|()| number)
}

/// The SHA-256 of something: 64 hexadecimal digits, with or without colons between pairs.
pub(super) fn sha256(text: &str) -> Result<[u8; 32], Why> {
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    if let Some(odd) = digits.chars().find(|c| !c.is_ascii_hexdigit()) {
        let why = Why::new(format!("`{}` is not a hexadecimal digit", odd.escape_debug()));
        return Err(why.help("as `openssl x509 -noout -fingerprint -sha256` prints it, behind the `=`"));
    }
    if text.contains(':') && !text.split(':').all(|pair| pair.len() == 2) {
        return Err(Why::new("colons stand between pairs of digits"));
    }
    let mut bytes = [0; 32];
    match digits.len() {
        64 => {}
        40 => return Err(Why::new("40 hexadecimal digits are a SHA-1").help("a SHA-256 has 64")),
        other => return Err(Why::new(format!("{other} hexadecimal digits")).help("a SHA-256 has 64")),
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
        let text = core::str::from_utf8(pair).unwrap_or_default();
        *byte = u8::from_str_radix(text, 16).map_err(|_| Why::new("not hexadecimal"))?;
    }
    Ok(bytes)
}

/// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, as `pg_authid.rolpassword` and `postern verifier` have it.
///
/// # Errors
/// None of them repeats a part of the verifier.
pub(super) fn scram_verifier(text: &str) -> Result<ScramVerifier, Why> {
    let malformed = |part: &str| {
        Why::new(format!("not a SCRAM verifier: {part}"))
            .help("as `SCRAM-SHA-256$4096:<salt>$<StoredKey>:<ServerKey>`; `postern verifier` makes one")
    };
    let rest = text
        .strip_prefix("SCRAM-SHA-256$")
        .ok_or_else(|| malformed("it starts with `SCRAM-SHA-256$`"))?;
    let (parameters, keys) = rest
        .split_once('$')
        .ok_or_else(|| malformed("no `$` before the keys"))?;
    let (iterations, salt) = parameters
        .split_once(':')
        .ok_or_else(|| malformed("no `:` behind the iterations"))?;
    let (stored, server) = keys
        .split_once(':')
        .ok_or_else(|| malformed("no `:` between the keys"))?;
    let key = |text: &str, name: &str| {
        let bytes = STANDARD
            .decode(text)
            .ok()
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        bytes.ok_or_else(|| malformed(&format!("{name} is not 32 bytes in base64")))
    };
    let iterations = match iterations.bytes().all(|b| b.is_ascii_digit()) {
        true => iterations
            .parse()
            .map_err(|_| malformed("the iterations are not a number that fits"))?,
        false => return Err(malformed("the iterations are not a number")),
    };
    Ok(ScramVerifier {
        iterations,
        salt: STANDARD.decode(salt).map_err(|_| malformed("the salt is not base64"))?,
        stored_key: key(stored, "StoredKey")?,
        server_key: key(server, "ServerKey")?,
    })
}

/// `10.0.0.0/8`, `2001:db8::/32`, or one address.
pub(super) fn network(text: &str) -> Result<IpNet, Why> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse().map_err(|_| {
            Why::new(format!("`{text}` is not a network")).help("as `10.0.0.0/8`, `2001:db8::/32` or `192.0.2.7`")
        })?,
    };
    value::network(&network).map(|()| network)
}

/// `app`, `app_*`, `*`.
pub(super) fn name_pattern(text: &str) -> Result<NamePattern, Why> {
    let pattern = match text.strip_suffix('*') {
        Some("") => NamePattern::Any,
        Some(prefix) => NamePattern::Prefix(prefix.to_owned()),
        None => NamePattern::Exact(text.to_owned()),
    };
    value::name_pattern(&pattern).map(|()| pattern)
}

/// `db.example.com:5432`, `[::1]:5432`, `unix:/run/postgresql/.s.PGSQL.5432`.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, Why> {
    let malformed = |help: String| Why::new(format!("`{text}` is not an endpoint")).help(help);
    if let Some(path) = text.strip_prefix("unix:") {
        let endpoint = Endpoint::Unix { path: path.to_owned() };
        return value::endpoint(&endpoint).map(|()| endpoint);
    }
    let usual =
        || malformed("as `db.example.com:5432`, `[::1]:5432` or `unix:/run/postgresql/.s.PGSQL.5432`".to_owned());
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once("]:").ok_or_else(usual)?,
        None => match text.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => {
                return Err(malformed(format!(
                    "an IPv6 address stands in brackets: `[{text}]:5432`"
                )));
            }
            Some(parts) => parts,
            None if text.starts_with('/') => return Err(malformed(format!("a socket is written `unix:{text}`"))),
            None => return Err(malformed(format!("with its port: `{text}:5432`"))),
        },
    };
    let is_v6 = host.parse::<core::net::Ipv6Addr>().is_ok();
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    if is_v6 != text.starts_with('[') || !digits {
        return Err(usual());
    }
    let port = port.parse().map_err(|_| malformed("ports are 1 to 65535".to_owned()))?;
    let endpoint = Endpoint::Tcp {
        host: host.to_owned(),
        port,
    };
    value::endpoint(&endpoint).map(|()| endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails<T>(result: Result<T, Why>) -> String {
        result
            .err()
            .map(|why| format!("{} / {}", why.message, why.help.unwrap_or_default()))
            .unwrap_or_default()
    }

    #[test]
    fn durations() {
        assert_eq!(duration("500ms", &value::CONNECT_TIMEOUT), Ok(500));
        assert_eq!(duration("3s", &value::CONNECT_TIMEOUT), Ok(3_000));
        assert_eq!(duration("8h", &value::SESSION_LENGTH), Ok(28_800));
        assert_eq!(duration("7d", &value::CRL_MAX_AGE), Ok(604_800));
        for bad in ["", "s", "3", "3 s", "-3s", "3.5s", "1h30m", "3S", "³s"] {
            assert!(
                fails(duration(bad, &value::IDLE)).contains("is not a duration"),
                "{bad}"
            );
        }
        assert!(fails(duration("1500ms", &value::IDLE)).contains("whole seconds"));
        assert_eq!(
            fails(duration("10m", &value::CONNECT_TIMEOUT)),
            "10m is out of range / from 10ms to 5m"
        );
        assert!(fails(duration("99999999999999999999d", &value::IDLE)).contains("out of range"));
        assert!(fails(duration("9999999d", &value::IDLE)).contains("out of range"));
    }

    #[test]
    fn fingerprints() {
        let hex = "0a".repeat(32);
        let colons = ["0A"; 32].join(":");
        assert_eq!(sha256(&hex), Ok([10; 32]));
        assert_eq!(sha256(&colons), Ok([10; 32]));
        assert!(fails(sha256(&"0a".repeat(20))).contains("SHA-1"));
        assert!(fails(sha256("0a")).contains("2 hexadecimal digits"));
        assert!(fails(sha256(&format!("{}:0", "0a".repeat(31)))).contains("pairs"));
        assert!(fails(sha256("sha256 Fingerprint=0A")).contains("openssl"));
        assert!(fails(sha256(&"é".repeat(32))).contains("not a hexadecimal digit"));
    }

    #[test]
    fn verifiers() {
        let salt = STANDARD.encode([1; 16]);
        let key = STANDARD.encode([2; 32]);
        let read = scram_verifier(&format!("SCRAM-SHA-256$4096:{salt}${key}:{key}")).expect("a verifier");
        assert_eq!(
            (read.iterations, read.salt.as_slice(), read.stored_key),
            (4096, [1; 16].as_slice(), [2; 32])
        );
        for (bad, part) in [
            ("md5abc".to_owned(), "starts with"),
            ("SCRAM-SHA-256$4096".to_owned(), "no `$`"),
            (format!("SCRAM-SHA-256$4096${key}:{key}"), "no `:` behind"),
            (format!("SCRAM-SHA-256$4096:{salt}${key}"), "between the keys"),
            (format!("SCRAM-SHA-256$+4096:{salt}${key}:{key}"), "not a number"),
            (format!("SCRAM-SHA-256$99999999999:{salt}${key}:{key}"), "that fits"),
            (format!("SCRAM-SHA-256$4096:!${key}:{key}"), "salt"),
            (format!("SCRAM-SHA-256$4096:{salt}${salt}:{key}"), "StoredKey"),
            (format!("SCRAM-SHA-256$4096:{salt}${key}:x"), "ServerKey"),
        ] {
            let told = fails(scram_verifier(&bad));
            assert!(told.contains(part), "{bad}: {told}");
            assert!(!told.contains(&salt) && !told.contains(&key), "{told}");
        }
    }

    #[test]
    fn networks() {
        assert_eq!(
            network("10.0.0.0/8").map(|n| n.to_string()),
            Ok("10.0.0.0/8".to_owned())
        );
        assert_eq!(
            network("192.0.2.7").map(|n| n.to_string()),
            Ok("192.0.2.7/32".to_owned())
        );
        assert!(fails(network("10.0.0.1/8")).contains("did you mean `10.0.0.0/8`?"));
        assert!(fails(network("10.0.0.0/33")).contains("not a network"));
        assert!(fails(network("::ffff:192.0.2.1")).contains("`192.0.2.1/32`"));
    }

    #[test]
    fn patterns() {
        assert_eq!(name_pattern("*"), Ok(NamePattern::Any));
        assert_eq!(name_pattern("app_*"), Ok(NamePattern::Prefix("app_".to_owned())));
        assert_eq!(name_pattern("app"), Ok(NamePattern::Exact("app".to_owned())));
        assert!(name_pattern("a*b").is_err() && name_pattern("**").is_err() && name_pattern("").is_err());
    }

    #[test]
    fn endpoints() {
        let tcp = |host: &str, port| {
            Ok(Endpoint::Tcp {
                host: host.to_owned(),
                port,
            })
        };
        assert_eq!(endpoint("db:5432"), tcp("db", 5432));
        assert_eq!(endpoint("[::1]:5433"), tcp("::1", 5433));
        assert_eq!(
            endpoint("unix:/x/.s.PGSQL.5432"),
            Ok(Endpoint::Unix {
                path: "/x/.s.PGSQL.5432".to_owned()
            })
        );
        for (bad, part) in [
            ("db", "`db:5432`"),
            ("::1", "`[::1]:5432`"),
            ("/run/x", "`unix:/run/x`"),
            ("unix:x", "starts with `/`"),
            ("db:x", "as `db.example.com:5432`"),
            ("db:+5", "as `db.example.com:5432`"),
            ("db:", "as `db.example.com:5432`"),
            ("db:70000", "1 to 65535"),
            ("db:0", "port 0"),
            ("[db]:5432", "as `db.example.com:5432`"),
            ("[::1]", "as `db.example.com:5432`"),
        ] {
            assert!(fails(endpoint(bad)).contains(part), "{bad}: {}", fails(endpoint(bad)));
        }
    }
}
