//! The parts that name no identity, model to archive: providers, clusters, patterns, networks.

use ipnet::IpNet;

use super::layout::*;
use super::strings::Strings;
use std::collections::BTreeMap;

use crate::model::{
    CertificateAuthority, ClaimTest, Cluster, Endpoint, KeySource, NamePattern, Provider, RoleCredential, ServerTls,
    TokenForm, TokenIssuer, Webhook,
};

impl<'a> Strings<'a> {
    pub fn pattern(&mut self, pattern: &'a NamePattern) -> PatternRecord {
        match pattern {
            NamePattern::Exact(name) => PatternRecord::Exact(self.add(name)),
            NamePattern::Prefix(prefix) => PatternRecord::Prefix(self.add(prefix)),
            NamePattern::Any => PatternRecord::Any,
        }
    }

    pub fn provider(&mut self, name: &'a str, provider: &'a Provider) -> ProviderRecord {
        let kind = match provider {
            Provider::CertificateAuthority(authority) => {
                ProviderKind::CertificateAuthority(self.certificate_authority(authority))
            }
            Provider::Tokens(issuer) => ProviderKind::Tokens(self.token_issuer(issuer)),
            Provider::Webhook(webhook) => ProviderKind::Webhook(self.webhook(webhook)),
        };
        ProviderRecord {
            name: self.add(name),
            kind,
        }
    }

    fn certificate_authority(&mut self, authority: &'a CertificateAuthority) -> AuthorityRecord {
        AuthorityRecord {
            roots: authority.roots.clone(),
            crls: authority.crls.clone(),
            crl: authority.crl.into(),
            crl_max_age: authority.crl_max_age,
            trust_domains: self.all(&authority.trust_domains),
        }
    }

    fn token_issuer(&mut self, issuer: &'a TokenIssuer) -> TokenIssuerRecord {
        TokenIssuerRecord {
            form: match &issuer.form {
                TokenForm::Oidc { issuer } => TokenFormRecord::Oidc {
                    issuer: self.add(issuer),
                },
                TokenForm::JwtSvid { trust_domains } => TokenFormRecord::JwtSvid {
                    trust_domains: self.all(trust_domains),
                },
            },
            audiences: self.all(&issuer.audiences),
            keys: match &issuer.keys {
                KeySource::Discovery => KeySourceRecord::Discovery,
                KeySource::Url(url) => KeySourceRecord::Url { url: self.add(url) },
                KeySource::Inline(jwks) => KeySourceRecord::Inline { jwks: jwks.clone() },
            },
            algorithms: issuer.algorithms.iter().map(|algorithm| (*algorithm).into()).collect(),
            types: self.all(&issuer.types),
            clock_skew: issuer.clock_skew,
            max_age: issuer.max_age,
            required_claims: self.claim_tests(&issuer.required_claims),
            subject_claim: self.add(&issuer.subject_claim),
            groups_claim: self.optional(&issuer.groups_claim),
            one_time: issuer.one_time,
            scope: self.add(&issuer.scope),
            roots: issuer.roots.clone(),
            refresh: issuer.refresh,
            keys_max_age: issuer.keys_max_age,
        }
    }

    fn webhook(&mut self, webhook: &'a Webhook) -> WebhookRecord {
        WebhookRecord {
            url: self.add(&webhook.url),
            roots: webhook.roots.clone(),
            authorization_file: self.optional(&webhook.authorization_file),
            deadline: webhook.deadline,
            concurrency: webhook.concurrency,
            cache_max_age: webhook.cache_max_age,
        }
    }

    pub fn claim_tests(&mut self, tests: &'a BTreeMap<String, ClaimTest>) -> Vec<ClaimTestRecord> {
        let mut records = Vec::with_capacity(tests.len());
        for (name, test) in tests {
            let (has_one_of, patterns) = match test {
                ClaimTest::Is(pattern) => (false, core::slice::from_ref(pattern)),
                ClaimTest::HasOneOf(patterns) => (true, patterns.as_slice()),
            };
            records.push(ClaimTestRecord {
                name: self.add(name),
                has_one_of,
                patterns: patterns.iter().map(|pattern| self.add(&pattern.0)).collect(),
            });
        }
        records
    }

    fn all(&mut self, texts: impl IntoIterator<Item = &'a String>) -> Vec<Text> {
        texts.into_iter().map(|text| self.add(text)).collect()
    }

    pub fn cluster(&mut self, name: &'a str, cluster: &'a Cluster) -> ClusterRecord {
        ClusterRecord {
            name: self.add(name),
            tenant: self.optional(&cluster.tenant),
            endpoints: cluster
                .endpoints
                .iter()
                .map(|endpoint| self.endpoint(endpoint))
                .collect(),
            tls: self.server_tls(&cluster.tls),
            connect_timeout: cluster.connect_timeout,
            login_timeout: cluster.login_timeout,
            postern_settings: cluster.postern_settings,
            roles: cluster.roles.iter().map(|(name, role)| self.role(name, role)).collect(),
        }
    }

    fn endpoint(&mut self, endpoint: &'a Endpoint) -> EndpointRecord {
        match endpoint {
            Endpoint::Tcp { host, port } => EndpointRecord::Tcp {
                host: self.add(host),
                port: *port,
            },
            Endpoint::Unix { path } => EndpointRecord::Unix { path: self.add(path) },
        }
    }

    fn server_tls(&mut self, tls: &'a ServerTls) -> ServerTlsRecord {
        ServerTlsRecord {
            mode: tls.mode.into(),
            roots: tls.roots.clone(),
            server_name: self.optional(&tls.server_name),
            pinned_key: tls.pinned_key,
            common_name: self.optional(&tls.common_name),
        }
    }

    fn role(&mut self, name: &'a str, role: &'a RoleCredential) -> RoleRecord {
        RoleRecord {
            name: self.add(name),
            password_file: self.optional(&role.password_file),
            certificate_file: self.optional(&role.certificate_file),
            key_file: self.optional(&role.key_file),
            methods: role.methods.iter().map(|method| (*method).into()).collect(),
        }
    }

    fn optional(&mut self, text: &'a Option<String>) -> Option<Text> {
        text.as_deref().map(|text| self.add(text))
    }
}

impl NetworkRecord {
    pub fn of(network: &IpNet) -> Self {
        let mut address = [0; 16];
        let version = match network {
            IpNet::V4(network) => {
                address[..4].copy_from_slice(&network.addr().octets());
                4
            }
            IpNet::V6(network) => {
                address = network.addr().octets();
                6
            }
        };
        Self {
            address,
            prefix: network.prefix_len(),
            version,
        }
    }
}
