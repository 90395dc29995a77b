//! Where a request goes: an `https` URL, taken apart once.

use hyper::Uri;
use rustls_pki_types::ServerName;

const HTTPS_PORT: u16 = 443;

/// What keeps a text from being such a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetFault {
    #[error("not a URL")]
    NotAUrl,
    #[error("not an https URL")]
    NotHttps,
    #[error("the URL holds a name or a password for its host")]
    UserInfo,
    #[error("the URL has no host that a certificate could name")]
    NoHost,
}

/// An `https` URL. Names are looked up elsewhere; this is only text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    origin: Origin,
    server_name: ServerName<'static>,
    /// What `Host` says.
    authority: Box<str>,
    path: Box<str>,
}

/// Whom a connection leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    pub host: Box<str>,
    pub port: u16,
}

impl Target {
    pub fn parse(url: &str) -> Result<Self, TargetFault> {
        let uri: Uri = url.parse().map_err(|_| TargetFault::NotAUrl)?;
        if uri.scheme_str() != Some("https") {
            return Err(TargetFault::NotHttps);
        }
        let authority = uri.authority().ok_or(TargetFault::NoHost)?;
        if authority.as_str().contains('@') {
            return Err(TargetFault::UserInfo);
        }
        let host = without_brackets(authority.host());
        let server_name = ServerName::try_from(host.to_owned()).map_err(|_| TargetFault::NoHost)?;
        // A query may follow the host at once in a URL, in the line of a request it may not.
        let path = match uri.path_and_query().map_or("/", |path| path.as_str()) {
            path if path.starts_with('/') => path.into(),
            query => format!("/{query}").into(),
        };
        Ok(Self {
            origin: Origin {
                host: host.into(),
                port: authority.port_u16().unwrap_or(HTTPS_PORT),
            },
            server_name,
            authority: authority.as_str().into(),
            path,
        })
    }

    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// As [`Addresses::of`](crate::control::resolve::Addresses::of) wants it.
    pub fn host(&self) -> &str {
        &self.origin.host
    }

    pub fn server_name(&self) -> &ServerName<'static> {
        &self.server_name
    }

    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// With its query.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "https://{}{}", self.authority, self.path)
    }
}

/// An IPv6 address stands in brackets in a URL and nowhere else.
fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let target = Target::parse("https://idp.example.org:8443/keys?v=2").unwrap();
        assert_eq!((target.host(), target.origin().port), ("idp.example.org", 8443));
        assert_eq!(
            (target.authority(), target.path()),
            ("idp.example.org:8443", "/keys?v=2")
        );
        assert_eq!(target.to_string(), "https://idp.example.org:8443/keys?v=2");
        let plain = Target::parse("https://[::1]").unwrap();
        assert_eq!((plain.host(), plain.origin().port, plain.path()), ("::1", 443, "/"));
        let query = Target::parse("https://idp.example.org?v=2").unwrap();
        assert_eq!((query.authority(), query.path()), ("idp.example.org", "/?v=2"));
    }

    #[test]
    fn anything_but_https_is_refused() {
        for (url, fault) in [
            ("http://idp.example.org/", TargetFault::NotHttps),
            ("file:///etc/passwd", TargetFault::NotAUrl),
            ("/keys", TargetFault::NotHttps),
            ("https://me:pw@idp.example.org/", TargetFault::UserInfo),
            ("https://a_b..c/", TargetFault::NoHost),
            ("not a url", TargetFault::NotAUrl),
        ] {
            assert_eq!(Target::parse(url).err(), Some(fault), "{url}");
        }
    }
}
