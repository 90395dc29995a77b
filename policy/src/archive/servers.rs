//! The parts that name no identity, model to archive: providers, clusters, patterns, networks.

use ipnet::IpNet;

use super::layout::*;
use super::strings::Strings;
use crate::model::{Cluster, Endpoint, NamePattern, Provider, RoleCredential, ServerTls};

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
            Provider::CertificateAuthority(authority) => ProviderKind::CertificateAuthority(AuthorityRecord {
                roots: authority.roots.clone(),
                crls: authority.crls.clone(),
                crl: authority.crl.into(),
                crl_max_age: authority.crl_max_age,
                trust_domains: authority.trust_domains.iter().map(|domain| self.add(domain)).collect(),
            }),
        };
        ProviderRecord {
            name: self.add(name),
            kind,
        }
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
