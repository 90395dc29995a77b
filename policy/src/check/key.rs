//! What names in certificates an identity may be bound to: SPIFFE IDs and other URIs, DNS names, common names.

use std::collections::BTreeSet;

use super::{Why, require};
use crate::fault::is_invisible;
use crate::model::{Provider, TokenForm};

/// SPIFFE-ID specification, section 2.3: "MUST NOT exceed 2048 bytes". The same for every URI.
const URI: usize = 2_048;
/// SPIFFE-ID specification, section 2.1.
const TRUST_DOMAIN: usize = 255;
/// RFC 1035 section 2.3.4, in the dotted form.
const DNS_NAME: usize = 253;
/// RFC 5280 says 64 (ub-common-name); authorities in the field do not keep to it.
const COMMON_NAME: usize = 255;

/// OpenID Connect Core, section 2: a subject "MUST NOT exceed 255 ASCII characters".
const SUBJECT: usize = 255;

pub const SPIFFE: &str = "spiffe://";

/// The kinds of providers' names, by who can vouch for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// DNS names and common names.
    OfCertificates,
    /// URIs of certificates, SPIFFE IDs of JWT-SVIDs.
    Uri,
    /// Subjects of tokens and of webhooks' answers.
    Subject,
}

/// Whether a provider of this kind speaks of names of this form.
pub fn fits(provider: &Provider, form: Form) -> Result<(), Why> {
    let (kind, fits) = match provider {
        Provider::CertificateAuthority(_) => ("a certificate authority", form != Form::Subject),
        Provider::Tokens(issuer) => match &issuer.form {
            TokenForm::Oidc { .. } => ("an issuer of tokens", form == Form::Subject),
            TokenForm::JwtSvid { .. } => ("an issuer of JWT-SVIDs", form == Form::Uri),
        },
        Provider::Webhook(_) => ("a webhook", form == Form::Subject),
    };
    require(fits, || {
        let help = match provider {
            Provider::CertificateAuthority(_) => "`spiffe`, `uri`, `dns` or `common_name`",
            Provider::Tokens(issuer) if matches!(issuer.form, TokenForm::JwtSvid { .. }) => "`spiffe`",
            Provider::Tokens(_) | Provider::Webhook(_) => "`subject`",
        };
        Why::new(format!("its provider is {kind}, which names nobody so")).help(help)
    })
}

/// A subject, exactly, or with one `*` for any characters.
pub fn subject(pattern: &str) -> Result<(), Why> {
    require(!pattern.is_empty(), || Why::new("a subject is empty"))?;
    require(pattern.len() <= SUBJECT, || {
        Why::new(format!("a subject of {} bytes; {SUBJECT} at most", pattern.len()))
    })?;
    require(!pattern.chars().any(|c| c.is_control() || is_invisible(c)), || {
        Why::new("a subject has no control characters or invisible characters")
    })?;
    require(pattern.matches('*').count() <= 1, || {
        Why::new(format!("`{pattern}` has more than one `*`"))
    })
}

/// A SPIFFE trust domain: `corp`, `prod.example.org` (SPIFFE-ID specification, section 2.1).
pub fn trust_domain(name: &str) -> Result<(), Why> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
    require(
        !name.is_empty() && name.len() <= TRUST_DOMAIN && name.chars().all(allowed),
        || {
            let help = match name.strip_prefix(SPIFFE) {
                Some(rest) => format!("without the scheme: `{}`", rest.split('/').next().unwrap_or_default()),
                None => "lower-case letters, digits, `.`, `-` and `_`".to_owned(),
            };
            Why::new(format!("`{name}` is not a trust domain")).help(help)
        },
    )
}

/// A URI to compare a certificate's with: exactly, but that a path segment `*` stands for any one segment.
///
/// `trust_domains` are those of the provider: a SPIFFE ID outside them could never be asserted by it.
pub fn uri_pattern(pattern: &str, trust_domains: &BTreeSet<String>) -> Result<(), Why> {
    let scheme = scheme(pattern).ok_or_else(|| {
        Why::new(format!("`{pattern}` is not a URI")).help("as `spiffe://corp/ns/prod/sa/billing` or `urn:uuid:...`")
    })?;
    require(pattern.len() <= URI, || {
        Why::new(format!("a URI of {} bytes; {URI} at most", pattern.len()))
    })?;
    require(!pattern.contains('*') || wildcards_are_whole_segments(pattern), || {
        Why::new(format!("`*` in `{pattern}` is not a whole path segment"))
            .help("`*` stands for exactly one segment of the path, as in `spiffe://corp/ns/*/sa/billing`")
    })?;
    match scheme.eq_ignore_ascii_case("spiffe") {
        true => spiffe_pattern(pattern, trust_domains),
        false => require(pattern.chars().all(is_uri_character), || {
            Why::new(format!("`{pattern}` has characters that a URI cannot have"))
        }),
    }
}

fn spiffe_pattern(pattern: &str, trust_domains: &BTreeSet<String>) -> Result<(), Why> {
    let malformed = |help: &str| Why::new(format!("`{pattern}` is not a SPIFFE ID")).help(help);
    let rest = pattern
        .strip_prefix(SPIFFE)
        .ok_or_else(|| malformed("it starts with `spiffe://`, in lower case"))?;
    let (domain, path) = rest
        .split_once('/')
        .ok_or_else(|| malformed("it names a workload: `spiffe://corp/path`"))?;
    trust_domain(domain)?;
    let segment = |segment: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        segment == "*" || (!matches!(segment, "" | "." | "..") && segment.chars().all(allowed))
    };
    require(path.split('/').all(segment), || {
        malformed("path segments are letters, digits, `.`, `-` and `_`; none is empty, `.` or `..`")
    })?;
    require(trust_domains.contains(domain), || {
        let why = Why::new(format!("the provider does not speak for trust domain `{domain}`"));
        match trust_domains.is_empty() {
            true => why.help(format!("add `trust_domains = [\"{domain}\"]` to it")),
            false => {
                let known: Vec<String> = trust_domains.iter().map(|known| format!("`{known}`")).collect();
                why.help(format!("it speaks for {}", known.join(", ")))
            }
        }
    })
}

/// `scheme:rest`, RFC 3986 section 3.1.
fn scheme(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once(':')?;
    let well_formed = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    (well_formed && !rest.is_empty()).then_some(scheme)
}

/// Behind `scheme://authority/` only, and alone between two slashes.
fn wildcards_are_whole_segments(pattern: &str) -> bool {
    let Some((_, rest)) = pattern.split_once("://") else {
        return false;
    };
    let Some((authority, path)) = rest.split_once('/') else {
        return false;
    };
    !authority.contains('*') && path.split('/').all(|segment| segment == "*" || !segment.contains('*'))
}

/// RFC 3986 section 2: unreserved, reserved and `%`. Percent signs are compared as they stand.
fn is_uri_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c)
}

/// A subject alternative name of kind DNS, in lower case; no wildcard: a wildcard certificate names no one.
pub fn dns_name(name: &str) -> Result<(), Why> {
    require(!name.contains('*'), || {
        Why::new(format!("`{name}` has a wildcard; an identity has one name"))
    })?;
    require(name == name.to_ascii_lowercase(), || {
        Why::new(format!("`{name}` is not in lower case"))
    })?;
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    require(name.len() <= DNS_NAME && name.split('.').all(label), || {
        Why::new(format!("`{name}` is not a DNS name"))
    })?;
    require(name.parse::<core::net::IpAddr>().is_err(), || {
        Why::new(format!("`{name}` is an address, not a name"))
    })
}

pub fn common_name(name: &str) -> Result<(), Why> {
    require(!name.is_empty(), || Why::new("a common name is empty"))?;
    require(name.len() <= COMMON_NAME, || {
        Why::new(format!("a common name of {} bytes; {COMMON_NAME} at most", name.len()))
    })?;
    require(!name.chars().any(|c| c.is_control() || is_invisible(c)), || {
        Why::new("a common name has no control characters or invisible characters")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corp() -> BTreeSet<String> {
        BTreeSet::from(["corp".to_owned()])
    }

    #[test]
    fn good_uris() {
        for uri in [
            "spiffe://corp/ns/*/sa/billing",
            "spiffe://corp/ns/prod/sa/*",
            "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "https://example.com/people/*",
            "https://example.com/a?b=c#d",
        ] {
            assert_eq!(uri_pattern(uri, &corp()), Ok(()), "{uri}");
        }
    }

    #[test]
    fn bad_uris() {
        for (uri, part) in [
            ("billing", "not a URI"),
            ("1a:b", "not a URI"),
            ("urn:", "not a URI"),
            ("spiffe://corp", "not a SPIFFE ID"),
            ("spiffe://corp/", "not a SPIFFE ID"),
            ("spiffe://corp/a//b", "not a SPIFFE ID"),
            ("spiffe://corp/a/", "not a SPIFFE ID"),
            ("spiffe://corp/a/../b", "not a SPIFFE ID"),
            ("spiffe://corp/a%20b", "not a SPIFFE ID"),
            ("SPIFFE://corp/a", "not a SPIFFE ID"),
            ("spiffe://Corp/a", "not a trust domain"),
            ("spiffe://other/a", "does not speak for"),
            ("spiffe://corp/ns/pro*", "not a whole path segment"),
            ("spiffe://*/ns/prod", "not a whole path segment"),
            ("urn:*", "not a whole path segment"),
            ("https://example.com/ä", "characters"),
            ("https://example.com/a b", "characters"),
        ] {
            let why = uri_pattern(uri, &corp()).expect_err(uri);
            assert!(why.message.contains(part), "{uri}: {}", why.message);
        }
        let why = uri_pattern("spiffe://corp/a", &BTreeSet::new()).expect_err("no trust domain");
        assert_eq!(why.help.as_deref(), Some("add `trust_domains = [\"corp\"]` to it"));
    }

    #[test]
    fn trust_domains() {
        assert!(trust_domain("prod.example.org").is_ok());
        assert!(trust_domain("").is_err() && trust_domain("Corp").is_err());
        let why = trust_domain("spiffe://corp/x").expect_err("scheme");
        assert_eq!(why.help.as_deref(), Some("without the scheme: `corp`"));
    }

    #[test]
    fn dns_and_common_names() {
        assert!(dns_name("billing.svc.corp").is_ok() && common_name("Billing Service").is_ok());
        for name in ["*.corp", "Billing.corp", "a..b", "-a", "10.0.0.1", ""] {
            assert!(dns_name(name).is_err(), "{name}");
        }
        assert!(common_name("").is_err() && common_name("a\0b").is_err() && common_name(&"x".repeat(256)).is_err());
    }
}
