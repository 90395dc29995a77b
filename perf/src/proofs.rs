//! What a client shows Postern instead of a password: a certificate, and a token that is bound to it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use postern_issuer::{Algorithm, Claims, Key, Token, now};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    SanType,
};
use serde_json::json;

use crate::Failure;
use crate::files::{private_directory, private_file};

pub const ISSUER: &str = "https://login.example.org/realms/bench";
pub const SPIFFE_ID: &str = "spiffe://bench/client";
/// Longer than any run of the harness.
pub const VALID: Duration = Duration::from_secs(24 * 60 * 60);

/// Files of certificate and keys, and the token itself.
pub struct Proofs {
    /// PEM of the authority that has signed the client's certificate.
    pub root: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The issuer's keys.
    pub jwks: PathBuf,
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// ES256, bound to the certificate by `cnf` (RFC 8705, 3.1).
    pub token: String,
}

impl Proofs {
    pub fn make(directory: &Path) -> Result<Self, Failure> {
        // libpq reads them at each login; the gate watches the directory of the others.
        let client = directory.join("client");
        private_directory(&client)?;
        let authority = authority()?;
        let key = KeyPair::generate()?;
        let certificate = client_params()?.signed_by(&key, &authority)?;
        let signing = Key::generate(Algorithm::Es256, "1");
        let claims = Claims::new(ISSUER, "postern", "client")
            .valid(now(), VALID.as_secs())
            .bound_to(certificate.der());
        let this = Self {
            root: directory.join("root.pem"),
            certificate: client.join("client.crt"),
            key: client.join("client.key"),
            jwks: directory.join("issuer.jwks"),
            der: certificate.der().to_vec(),
            token: Token::new(&signing, claims).text(),
        };
        private_file(&this.root, authority.pem())?;
        private_file(&this.certificate, certificate.pem())?;
        private_file(&this.key, key.serialize_pem())?;
        private_file(&this.jwks, json!({ "keys": [signing.jwk()] }).to_string())?;
        Ok(this)
    }

    /// The part of a policy that takes both for the identity `bench`, where a client calls itself `proven`.
    pub fn policy(&self) -> String {
        self.policy_of(&format!(
            "issuer = \"{ISSUER}\"\njwks_file = \"{}\"",
            self.jwks.display()
        ))
    }

    /// The same with tokens of another issuer.
    pub fn policy_of(&self, issuer: &str) -> String {
        format!(
            r#"[provider.corp]
kind = "certificates"
roots = ["{root}"]
trust_domains = ["bench"]

[provider.login]
kind = "tokens"
audiences = ["postern"]
{issuer}

[[authentication]]
name = "proven"
users = ["{PROVEN}"]
transport = "tls"
method = "certificate+token"
"#,
            root = self.root.display(),
        )
    }
}

/// What a client that shows both calls itself.
pub const PROVEN: &str = "proven";

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, Failure> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn client_params() -> Result<CertificateParams, Failure> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(SPIFFE_ID.try_into()?)];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let today = SystemTime::now();
    params.not_before = (today - VALID).into();
    params.not_after = (today + VALID).into();
    Ok(params)
}
