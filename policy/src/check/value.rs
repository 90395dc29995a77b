//! What single values may be: names, numbers, networks, hours, settings. One small rule each.

use core::fmt;
use core::ops::RangeInclusive;

use ipnet::IpNet;
use jiff::tz::TimeZoneDatabase;

use super::{Why, require};
use crate::fault::is_invisible;
use crate::model::{ClaimTest, Endpoint, NamePattern, ScramVerifier, WeeklyHours};
use crate::template::{Part, parts};

/// Longest name that PostgreSQL keeps whole (NAMEDATALEN - 1), bytes.
pub const POSTGRES_NAME: usize = 63;
/// Longest name of an object of the policy, bytes.
pub const OBJECT_NAME: usize = 255;
/// Longest path of a Unix socket, bytes: `sun_path` has 108 with its NUL.
pub const SOCKET_PATH: usize = 107;
/// Names and values of all settings of a grant together, bytes. The start-up packet that carries them has 10,000.
pub const SETTINGS: usize = 4_096;
/// Salt of a SCRAM verifier, bytes: PostgreSQL makes 16, and so long is the salt that an unknown name is shown.
pub const SALT: usize = 16;
/// Minutes of a week.
pub const WEEK: u16 = 7 * 24 * 60;

/// The numbers that a key may have, and in what unit they are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    range: RangeInclusive<u32>,
    unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Count,
    Milliseconds,
    Seconds,
}

const MINUTE: u32 = 60;
const DAY: u32 = 24 * 60 * MINUTE;

pub const CRL_MAX_AGE: Bounds = Bounds::new(MINUTE..=365 * DAY, Unit::Seconds);
pub const CONNECT_TIMEOUT: Bounds = Bounds::new(10..=300_000, Unit::Milliseconds);
pub const LOGIN_TIMEOUT: Bounds = Bounds::new(10..=300_000, Unit::Milliseconds);
pub const SESSIONS: Bounds = Bounds::new(1..=1_000_000, Unit::Count);
pub const SESSION_LENGTH: Bounds = Bounds::new(1..=365 * DAY, Unit::Seconds);
pub const IDLE: Bounds = Bounds::new(1..=365 * DAY, Unit::Seconds);
/// RFC 7677 section 4 asks for 4,096 at least; the client pays for each of them.
pub const SCRAM_ITERATIONS: Bounds = Bounds::new(4_096..=1_000_000, Unit::Count);

/// RFC 8725 and RFC 7519 speak of "no more than a few minutes".
pub const CLOCK_SKEW: Bounds = Bounds::new(0..=5 * MINUTE, Unit::Seconds);
pub const TOKEN_MAX_AGE: Bounds = Bounds::new(1..=365 * DAY, Unit::Seconds);
pub const KEYS_REFRESH: Bounds = Bounds::new(MINUTE..=DAY, Unit::Seconds);
pub const KEYS_MAX_AGE: Bounds = Bounds::new(2 * MINUTE..=30 * DAY, Unit::Seconds);
pub const WEBHOOK_DEADLINE: Bounds = Bounds::new(10..=30_000, Unit::Milliseconds);
pub const WEBHOOK_CONCURRENCY: Bounds = Bounds::new(1..=10_000, Unit::Count);
pub const WEBHOOK_CACHE: Bounds = Bounds::new(0..=DAY, Unit::Seconds);
pub const ANSWER_FLOOR: Bounds = Bounds::new(0..=10_000, Unit::Milliseconds);
pub const EXPIRY_NOTICE: Bounds = Bounds::new(1..=DAY, Unit::Seconds);

/// A JWK Set, bytes.
pub const JWKS: usize = 1024 * 1024;
/// A URL, bytes.
const URL: usize = 2_048;
/// The path of a claim, bytes.
const CLAIM: usize = 255;
/// Of discovery URL and scope together, bytes: OAUTHBEARER's answer to a failure, with both in it, is under 2,000, which is
/// what libpq takes of a message before login.
const CHALLENGE: usize = 1_900;
/// Bytes.
const SCOPE: usize = 512;

impl Bounds {
    const fn new(range: RangeInclusive<u32>, unit: Unit) -> Bounds {
        Bounds { range, unit }
    }

    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// The largest number that is allowed.
    pub const fn most(&self) -> u32 {
        *self.range.end()
    }

    pub fn check(&self, number: u32) -> Result<(), Why> {
        require(self.range.contains(&number), || {
            self.refuse(self.unit.show(u64::from(number)))
        })
    }

    /// The fault of a number that is `written` and outside.
    pub fn refuse(&self, written: impl fmt::Display) -> Why {
        Why::new(format!("{written} is out of range")).help(format!("from {self}"))
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |number: &u32| self.unit.show(u64::from(*number));
        write!(f, "{} to {}", show(self.range.start()), show(self.range.end()))
    }
}

impl Unit {
    /// As the text writes it, in the largest unit that stays whole.
    fn show(self, number: u64) -> String {
        let milliseconds = match self {
            Unit::Count => return number.to_string(),
            Unit::Milliseconds => number,
            Unit::Seconds => number * 1_000,
        };
        for (size, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
            if milliseconds >= size && milliseconds % size == 0 {
                return format!("{}{unit}", milliseconds / size);
            }
        }
        format!("{milliseconds}ms")
    }
}

/// A name that the policy gives: 1 to 255 bytes that can be seen, without spaces.
pub fn object_name(name: &str) -> Result<(), Why> {
    length(name, OBJECT_NAME)?;
    require(
        !name
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || is_invisible(c)),
        || Why::new("a name has no spaces, control characters or invisible characters"),
    )
}

/// A name that PostgreSQL has: 1 to 63 bytes, no control characters.
pub fn postgres_name(name: &str) -> Result<(), Why> {
    length(name, POSTGRES_NAME)?;
    require(!name.chars().any(|c| c.is_control() || is_invisible(c)), || {
        Why::new("a name has no control characters or invisible characters")
    })
}

fn length(name: &str, most: usize) -> Result<(), Why> {
    require(!name.is_empty(), || Why::new("a name is empty"))?;
    require(name.len() <= most, || {
        Why::new(format!("a name of {} bytes; {most} at most", name.len()))
    })
}

/// A pattern over names of databases or users.
pub fn name_pattern(pattern: &NamePattern) -> Result<(), Why> {
    match pattern {
        NamePattern::Any => Ok(()),
        NamePattern::Exact(name) | NamePattern::Prefix(name) => {
            postgres_name(name)?;
            require(!name.contains('*'), || {
                Why::new("`*` may stand alone or at the end of a name").help("`app_*`, `*`")
            })
        }
    }
}

/// Host bits must be zero, and IPv4 is written as IPv4: that is how addresses are compared.
pub fn network(network: &IpNet) -> Result<(), Why> {
    require(network.trunc() == *network, || {
        Why::new(format!("`{network}` has host bits set")).help(format!("did you mean `{}`?", network.trunc()))
    })?;
    let mapped = match network {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => v6.addr().to_ipv4_mapped().map(|v4| (v4, v6.prefix_len() - 96)),
        IpNet::V4(_) | IpNet::V6(_) => None,
    };
    match mapped {
        Some((v4, prefix)) => {
            let help = format!("IPv4 sources are compared as IPv4: `{v4}/{prefix}`");
            Err(Why::new(format!("`{network}` is an IPv4 network in IPv6 writing")).help(help))
        }
        None => Ok(()),
    }
}

/// The zone's canonical name, if the database of time zones has it.
pub fn canonical_zone(name: &str) -> Option<String> {
    TimeZoneDatabase::bundled()
        .get(name)
        .ok()?
        .iana_name()
        .map(str::to_owned)
}

pub fn zone(name: &str) -> Result<(), Why> {
    match canonical_zone(name) {
        Some(canonical) if canonical == name => Ok(()),
        Some(canonical) => Err(Why::new(format!("`{name}` is written `{canonical}`"))),
        None => {
            let known: Vec<String> = TimeZoneDatabase::bundled()
                .available()
                .map(|zone| zone.to_string())
                .collect();
            Err(Why::new(format!("no time zone is called `{name}`")).suggest(name, known.iter().map(String::as_str)))
        }
    }
}

pub fn hours(hours: &WeeklyHours) -> Result<(), Why> {
    require(hours.from < hours.to && hours.to <= WEEK, || {
        Why::new(format!(
            "hours from minute {} to minute {} of a week",
            hours.from, hours.to
        ))
        .help("from before to, within one week")
    })?;
    zone(&hours.zone)
}

/// A start-up setting that a grant may fix.
///
/// # Errors
/// Names that PostgreSQL would not take, that decide who the session is, or that the gate itself writes.
pub fn setting(name: &str, value: &str) -> Result<(), Why> {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && part
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '$'))
    };
    require(
        name.len() <= POSTGRES_NAME && name.split('.').count() <= 2 && name.split('.').all(part),
        || Why::new(format!("`{name}` is not the name of a setting")),
    )?;
    let refused = match name {
        "role" | "session_authorization" => Some("it would change who the session is; the grant's `role` says that"),
        "user" | "database" | "replication" | "options" => Some("it is a part of the start-up message itself"),
        "postern.identity" => Some("the gate writes it"),
        name if name.starts_with("_pq_.") => Some("it belongs to the protocol"),
        _setting => None,
    };
    if let Some(why) = refused {
        return Err(Why::new(format!("`{name}` cannot be set: {why}")));
    }
    require(!value.contains('\0'), || {
        Why::new(format!("the value of `{name}` has a NUL"))
    })
}

/// What stands in braces in a text that an attempt fills. `allowed` are the places that it may have.
pub fn template(text: &str, allowed: fn(Part<'_>) -> bool) -> Result<(), Why> {
    for place in parts(text) {
        match place {
            Part::Text(_) => {}
            Part::Unknown(word) => {
                let why = Why::new(format!("nothing stands for `{{{word}}}`"));
                return Err(why.help("`{identity}`, `{subject}`, `{application_name}` or `{claim.NAME}`"));
            }
            Part::Claim(name) if allowed(place) => claim_name(name)?,
            place if allowed(place) => {}
            _elsewhere => return Err(Why::new(format!("`{text}` has a place that cannot be filled here"))),
        }
    }
    Ok(())
}

/// Of two places the one could take over a part of what belongs to the other: with `{claim.org}_{claim.app}`, `a_b` and `c` come
/// to the same as `a` and `b_c`. Where the text leads somewhere, it has one.
pub fn one_place(text: &str) -> Result<(), Why> {
    let places = parts(text).filter(|part| !matches!(part, Part::Text(_))).count();
    require(places <= 1, || {
        let why = Why::new(format!(
            "`{text}` has {places} places, and what fills them could change places too"
        ));
        why.help("one place; let the issuer put together what belongs together")
    })
}

/// The path of a claim: `tenant`, `realm_access.roles`, `https://example.org/tenant`.
pub fn claim_name(name: &str) -> Result<(), Why> {
    plain_text("the name of a claim", name)?;
    require(name.len() <= CLAIM, || {
        Why::new(format!("a claim's name of {} bytes; {CLAIM} at most", name.len()))
    })
}

pub fn claim_test(name: &str, test: &ClaimTest) -> Result<(), Why> {
    claim_name(name)?;
    let empty = matches!(test, ClaimTest::HasOneOf(patterns) if patterns.is_empty());
    require(!empty, || {
        Why::new(format!("claim `{name}` would have to be one of none"))
    })
}

/// Something to see, and nothing that hides.
pub fn plain_text(what: &str, text: &str) -> Result<(), Why> {
    require(!text.is_empty(), || Why::new(format!("{what} is empty")))?;
    require(!text.chars().any(|c| c.is_control() || is_invisible(c)), || {
        Why::new(format!("{what} has no control characters or invisible characters"))
    })
}

/// RFC 6749 section 3.3: words of printable ASCII, without `"` and `\`, between single spaces.
pub fn oauth_scope(scope: &str) -> Result<(), Why> {
    require(scope.len() <= SCOPE, || {
        Why::new(format!("a scope of {} bytes; {SCOPE} at most", scope.len()))
    })?;
    let word =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'));
    require(scope.is_empty() || scope.split(' ').all(word), || {
        Why::new(format!("`{scope}` is not a scope")).help("words with single spaces between them: `openid postern`")
    })
}

/// What OAUTHBEARER tells a client that has no good token fits into a message before login.
pub fn oauth_challenge(discovery_url: &str, scope: &str) -> Result<(), Why> {
    let bytes = discovery_url.len() + scope.len();
    require(bytes <= CHALLENGE, || {
        Why::new(format!(
            "discovery URL and scope have {bytes} bytes; {CHALLENGE} at most for clients that speak OAUTHBEARER"
        ))
    })
}

/// `https://host[:port]/path`, without user, fragment or anything that a URL cannot have.
pub fn https_url(url: &str) -> Result<(), Why> {
    let malformed =
        || Why::new(format!("`{url}` is not an HTTPS URL")).help("as `https://login.example.org/realms/corp`");
    let rest = url.strip_prefix("https://").ok_or_else(malformed)?;
    require(url.len() <= URL, || {
        Why::new(format!("a URL of {} bytes; {URL} at most", url.len()))
    })?;
    // RFC 3986, appendix A: what stands in no URL, and the fragment's mark.
    let stands = |b: u8| b.is_ascii_graphic() && !br##"#"<>\^`{|}"##.contains(&b);
    require(url.bytes().all(stands), malformed)?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let (host, port) = https_authority(authority).ok_or_else(malformed)?;
    require(port != 0, malformed)?;
    host_name(host)
}

/// Host and port of the authority of an HTTPS URL.
pub fn https_authority(authority: &str) -> Option<(&str, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, port)
        }
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
        Some(_) => return None,
        None if port.is_empty() => 443,
        None => return None,
    };
    (!host.contains('@')).then_some((host, port))
}

/// An endpoint of a cluster.
pub fn endpoint(endpoint: &Endpoint) -> Result<(), Why> {
    match endpoint {
        Endpoint::Tcp { host, port } => {
            require(*port != 0, || Why::new("port 0 cannot be connected to"))?;
            host_name(host)
        }
        Endpoint::Unix { path } => {
            require(path.starts_with('/'), || {
                Why::new("the path of a Unix socket starts with `/`")
            })?;
            file_path(path)?;
            require(path.len() <= SOCKET_PATH, || {
                Why::new(format!("a socket path of {} bytes; {SOCKET_PATH} at most", path.len()))
            })
        }
    }
}

/// An IP address, or a host name as RFC 1123 has them (underscores too, as they are about).
pub fn host_name(host: &str) -> Result<(), Why> {
    if host.parse::<core::net::IpAddr>().is_ok() {
        return Ok(());
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    require(name.len() <= 253 && name.split('.').all(label), || {
        Why::new(format!("`{host}` is not a host name"))
    })?;
    // What is all numbers is a mistyped IPv4 address, never a name.
    require(
        !name.split('.').all(|label| label.chars().all(|c| c.is_ascii_digit())),
        || Why::new(format!("`{host}` is not an address")),
    )
}

/// The path of a file that the policy refers to.
pub fn file_path(path: &str) -> Result<(), Why> {
    require(!path.is_empty(), || Why::new("a path is empty"))?;
    require(!path.chars().any(char::is_control), || {
        Why::new("a path has no control characters")
    })
}

/// Beyond the iterations, which the authentication rule compares.
pub fn verifier(verifier: &ScramVerifier) -> Result<(), Why> {
    SCRAM_ITERATIONS.check(verifier.iterations)?;
    let salt = verifier.salt.len();
    require(salt == SALT, || {
        Why::new(format!("a salt of {salt} bytes")).help(format!(
            "{SALT} bytes, as PostgreSQL makes: another length would tell which names exist"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network_of(text: &str) -> IpNet {
        text.parse().expect("a network")
    }

    #[test]
    fn bounds_tell_their_unit() {
        assert_eq!(SESSION_LENGTH.to_string(), "1s to 365d");
        assert_eq!(CONNECT_TIMEOUT.to_string(), "10ms to 5m");
        assert_eq!(SESSIONS.to_string(), "1 to 1000000");
        assert_eq!(
            IDLE.check(0).map_err(|why| why.message),
            Err("0ms is out of range".to_owned())
        );
        assert!(SESSIONS.check(1).is_ok() && SESSIONS.check(1_000_001).is_err());
    }

    #[test]
    fn names() {
        assert!(object_name("user:jürgen@corp").is_ok());
        for bad in ["", "a b", "a\u{7}", "a\u{202e}b", &"x".repeat(256)] {
            assert!(object_name(bad).is_err(), "{bad:?}");
        }
        assert!(postgres_name(&"x".repeat(63)).is_ok() && postgres_name("my db").is_ok());
        assert!(postgres_name(&"x".repeat(64)).is_err() && postgres_name("a\0b").is_err());
        assert!(name_pattern(&NamePattern::Exact("a*b".to_owned())).is_err());
        assert!(name_pattern(&NamePattern::Prefix(String::new())).is_err());
    }

    #[test]
    fn networks() {
        assert!(network(&network_of("10.0.0.0/8")).is_ok() && network(&network_of("::/0")).is_ok());
        let why = network(&network_of("10.0.0.1/8")).expect_err("host bits");
        assert_eq!(why.help.as_deref(), Some("did you mean `10.0.0.0/8`?"));
        let why = network(&network_of("::ffff:10.0.0.0/104")).expect_err("mapped");
        assert!(why.help.is_some_and(|help| help.contains("`10.0.0.0/8`")));
    }

    #[test]
    fn zones_by_their_canonical_name() {
        assert!(zone("Europe/Berlin").is_ok() && zone("UTC").is_ok());
        assert_eq!(
            zone("europe/berlin").expect_err("case").message,
            "`europe/berlin` is written `Europe/Berlin`"
        );
        assert_eq!(
            zone("Europe/Berln").expect_err("typo").help.as_deref(),
            Some("did you mean `Europe/Berlin`?")
        );
    }

    #[test]
    fn settings_that_decide_who_the_session_is_are_refused() {
        for name in [
            "role",
            "session_authorization",
            "postern.identity",
            "options",
            "user",
            "_pq_.x",
            "a b",
            "A",
            "a.b.c",
            "",
        ] {
            assert!(setting(name, "x").is_err(), "{name}");
        }
        for name in ["statement_timeout", "search_path", "pg_stat_statements.track", "_x"] {
            assert!(setting(name, "x").is_ok(), "{name}");
        }
        assert!(setting("search_path", "a\0b").is_err());
    }

    #[test]
    fn endpoints() {
        let tcp = |host: &str, port| {
            endpoint(&Endpoint::Tcp {
                host: host.to_owned(),
                port,
            })
        };
        for host in [
            "db",
            "db-1.example.com",
            "db.svc.cluster.local.",
            "10.0.0.1",
            "::1",
            "my_host",
        ] {
            assert!(tcp(host, 5432).is_ok(), "{host}");
        }
        for host in ["", "-db", "a..b", "a b", "10.0.0.256", "[::1]", "::g"] {
            assert!(tcp(host, 5432).is_err(), "{host}");
        }
        assert!(tcp("db", 0).is_err());
        let unix = |path: String| endpoint(&Endpoint::Unix { path });
        assert!(unix("/run/postgresql/.s.PGSQL.5432".to_owned()).is_ok());
        assert!(unix("run/x".to_owned()).is_err() && unix(format!("/{}", "x".repeat(107))).is_err());
    }
}
