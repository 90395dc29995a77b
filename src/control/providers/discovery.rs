//! OpenID Connect Discovery: where an issuer says that its keys are (Discovery 1.0, sections 3 and 4).

use serde::Deserialize;

use super::target::{Target, TargetFault};

const WELL_KNOWN: &str = "/.well-known/openid-configuration";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryFault {
    #[error("the OpenID configuration is not one: {0}")]
    Shape(String),
    /// A document that another issuer wrote must not name the keys of this one (Discovery 4.3).
    #[error("the OpenID configuration is of another issuer, {0}")]
    OtherIssuer(String),
    #[error("jwks_uri: {0}")]
    KeysTarget(TargetFault),
}

/// Where the configuration of `issuer` is: a slash at its end does not count (Discovery 4.1).
pub fn configuration_of(issuer: &str) -> Result<Target, TargetFault> {
    let base = issuer.strip_suffix('/').unwrap_or(issuer);
    Target::parse(&format!("{base}{WELL_KNOWN}"))
}

/// Where the keys are, by the document that stands at [`configuration_of`] the issuer.
pub fn keys_target(document: &[u8], issuer: &str) -> Result<Target, DiscoveryFault> {
    let configuration: Configuration =
        serde_json::from_slice(document).map_err(|error| DiscoveryFault::Shape(error.to_string()))?;
    if configuration.issuer != issuer {
        return Err(DiscoveryFault::OtherIssuer(configuration.issuer));
    }
    Target::parse(&configuration.jwks_uri).map_err(DiscoveryFault::KeysTarget)
}

#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_stands_below_the_issuer() {
        for (issuer, expected) in [
            (
                "https://idp.example.org",
                "https://idp.example.org/.well-known/openid-configuration",
            ),
            (
                "https://idp.example.org/realms/a/",
                "https://idp.example.org/realms/a/.well-known/openid-configuration",
            ),
        ] {
            assert_eq!(configuration_of(issuer).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn the_document_must_be_of_that_issuer_and_name_https() {
        let read = |issuer: &str, uri: &str| {
            let document = format!(r#"{{"issuer":"{issuer}","jwks_uri":"{uri}","more":[1]}}"#);
            keys_target(document.as_bytes(), "https://a")
        };
        assert_eq!(
            read("https://a", "https://k/keys").unwrap().to_string(),
            "https://k/keys"
        );
        assert_eq!(
            read("https://a/", "https://k/keys"),
            Err(DiscoveryFault::OtherIssuer("https://a/".into()))
        );
        assert_eq!(
            read("https://a", "http://k/keys"),
            Err(DiscoveryFault::KeysTarget(TargetFault::NotHttps))
        );
        assert!(matches!(keys_target(b"{}", "https://a"), Err(DiscoveryFault::Shape(_))));
    }
}
