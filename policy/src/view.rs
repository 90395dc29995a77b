//! What the rest of the gate reads of a policy in force: borrowed looks at grants, clusters and providers.

use rkyv::option::ArchivedOption;

use crate::archive::layout::{
    ArchivedAuthorityRecord, ArchivedClusterRecord, ArchivedEndpointRecord, ArchivedGrantDetail, ArchivedGrantRecord,
    ArchivedImage, ArchivedProviderKind, ArchivedRoleRecord, ArchivedText, BY_TENANT,
};
use crate::archive::strings::text_of;
use crate::id::{ClusterId, DenyId, GrantId, ProviderId};
use crate::model::{
    Access, CrlMode, Limits, OnExpiry, ReplicationRight, RequiredProofs, ServerMethod, ServerTlsMode, TokenIssuer,
    Webhook,
};
use crate::snapshot::Snapshot;

impl Snapshot {
    /// `None` for an id of another snapshot, here as below.
    pub fn grant(&self, id: GrantId) -> Option<GrantView<'_>> {
        let image = self.image();
        let record = image.grants.get(id.0 as usize)?;
        let detail = image.grant_details.get(id.0 as usize)?;
        Some(GrantView {
            id,
            image,
            record,
            detail,
        })
    }

    pub fn grants(&self) -> impl Iterator<Item = GrantView<'_>> {
        (0..self.image().grants.len() as u32).filter_map(|number| self.grant(GrantId(number)))
    }

    pub fn deny_name(&self, id: DenyId) -> Option<&str> {
        let record = self.image().denies.get(id.0 as usize)?;
        Some(text_of(&self.image().strings, &record.name))
    }

    pub fn cluster(&self, id: ClusterId) -> Option<ClusterView<'_>> {
        let image = self.image();
        Some(ClusterView {
            id,
            image,
            record: image.clusters.get(id.0 as usize)?,
        })
    }

    /// In name order.
    pub fn clusters(&self) -> impl Iterator<Item = ClusterView<'_>> {
        (0..self.image().clusters.len() as u32).filter_map(|number| self.cluster(ClusterId(number)))
    }

    /// In name order.
    pub fn certificate_authorities(&self) -> impl Iterator<Item = (ProviderId, CertificateAuthorityView<'_>)> {
        let image = self.image();
        (0u32..)
            .zip(image.providers.iter())
            .filter_map(move |(number, record)| match &record.kind {
                ArchivedProviderKind::CertificateAuthority(authority) => Some((
                    ProviderId(number),
                    CertificateAuthorityView {
                        name: text_of(&image.strings, &record.name),
                        image,
                        record: authority,
                    },
                )),
                ArchivedProviderKind::Tokens(_) | ArchivedProviderKind::Webhook(_) => None,
            })
    }

    /// In name order, owned: read once for each snapshot, not for each attempt.
    pub fn token_issuers(&self) -> Vec<(ProviderId, &str, TokenIssuer)> {
        let image = self.image();
        let found = (0u32..)
            .zip(image.providers.iter())
            .filter_map(|(number, record)| match &record.kind {
                ArchivedProviderKind::Tokens(issuer) => Some((
                    ProviderId(number),
                    text_of(&image.strings, &record.name),
                    image.token_issuer(issuer).ok()?,
                )),
                ArchivedProviderKind::CertificateAuthority(_) | ArchivedProviderKind::Webhook(_) => None,
            });
        found.collect()
    }

    /// As [`Self::token_issuers`].
    pub fn webhooks(&self) -> Vec<(ProviderId, &str, Webhook)> {
        let image = self.image();
        let found = (0u32..)
            .zip(image.providers.iter())
            .filter_map(|(number, record)| match &record.kind {
                ArchivedProviderKind::Webhook(webhook) => Some((
                    ProviderId(number),
                    text_of(&image.strings, &record.name),
                    image.webhook(webhook).ok()?,
                )),
                ArchivedProviderKind::CertificateAuthority(_) | ArchivedProviderKind::Tokens(_) => None,
            });
        found.collect()
    }

    pub fn provider_named(&self, name: &str) -> Option<ProviderId> {
        let image = self.image();
        let place = image
            .providers
            .binary_search_by(|record| text_of(&image.strings, &record.name).cmp(name));
        place.ok().map(|number| ProviderId(number as u32))
    }

    pub fn provider_name(&self, id: ProviderId) -> Option<&str> {
        let record = self.image().providers.get(id.0 as usize)?;
        Some(text_of(&self.image().strings, &record.name))
    }
}

/// What a permit stands on.
#[derive(Clone, Copy)]
pub struct GrantView<'a> {
    id: GrantId,
    image: &'a ArchivedImage,
    record: &'a ArchivedGrantRecord,
    detail: &'a ArchivedGrantDetail,
}

impl<'a> GrantView<'a> {
    pub fn id(&self) -> GrantId {
        self.id
    }

    pub fn name(&self) -> &'a str {
        text_of(&self.image.strings, &self.record.name)
    }

    /// The role to log in as on the cluster.
    pub fn role(&self) -> &'a str {
        text_of(&self.image.strings, &self.record.role)
    }

    /// `None` where the tenant decides.
    pub fn cluster(&self) -> Option<ClusterId> {
        let number = self.record.cluster.to_native();
        (number != BY_TENANT).then_some(ClusterId(number))
    }

    /// The template of the database to open at the server, where it is not the one that the client asked for.
    pub fn connect_database(&self) -> Option<&'a str> {
        optional(self.image, &self.detail.connect_database)
    }

    pub fn on_expiry(&self) -> OnExpiry {
        self.detail.on_expiry.into()
    }

    /// Seconds before the proof's end.
    pub fn expiry_notice(&self) -> Option<u32> {
        self.detail.expiry_notice.as_ref().map(|seconds| seconds.to_native())
    }

    pub fn access(&self) -> Access {
        self.record.access.into()
    }

    pub fn replication(&self) -> ReplicationRight {
        self.record.replication.into()
    }

    pub fn proofs(&self) -> RequiredProofs {
        RequiredProofs {
            certificate: self.record.certificate,
            scram: self.record.scram,
            token: self.record.token,
            webhook: self.record.webhook,
            key_bound: self.record.key_bound,
        }
    }

    pub fn limits(&self) -> Limits {
        self.detail.limits()
    }

    /// Start-up settings that the grant fixes, name and template of the value, by name.
    pub fn settings(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let strings = &self.image.strings;
        self.detail
            .settings
            .iter()
            .map(|setting| (text_of(strings, &setting.0), text_of(strings, &setting.1)))
    }
}

/// Where a permit leads.
#[derive(Clone, Copy)]
pub struct ClusterView<'a> {
    id: ClusterId,
    image: &'a ArchivedImage,
    record: &'a ArchivedClusterRecord,
}

impl<'a> ClusterView<'a> {
    pub fn id(&self) -> ClusterId {
        self.id
    }

    pub fn name(&self) -> &'a str {
        text_of(&self.image.strings, &self.record.name)
    }

    pub fn tenant(&self) -> Option<&'a str> {
        optional(self.image, &self.record.tenant)
    }

    /// In the order in which they are tried.
    pub fn endpoints(&self) -> impl ExactSizeIterator<Item = EndpointView<'a>> + use<'a> {
        let strings = &self.image.strings;
        self.record.endpoints.iter().map(|endpoint| match endpoint {
            ArchivedEndpointRecord::Tcp { host, port } => EndpointView::Tcp {
                host: text_of(strings, host),
                port: port.to_native(),
            },
            ArchivedEndpointRecord::Unix { path } => EndpointView::Unix {
                path: text_of(strings, path),
            },
        })
    }

    pub fn tls(&self) -> ServerTlsView<'a> {
        let tls = &self.record.tls;
        ServerTlsView {
            mode: tls.mode.into(),
            roots: tls.roots.iter().map(|root| root.as_slice()).collect(),
            server_name: optional(self.image, &tls.server_name),
            pinned_key: tls.pinned_key.as_ref(),
            common_name: optional(self.image, &tls.common_name),
        }
    }

    /// Per endpoint, milliseconds.
    pub fn connect_timeout(&self) -> u32 {
        self.record.connect_timeout.to_native()
    }

    /// From the connected socket to ReadyForQuery, milliseconds.
    pub fn login_timeout(&self) -> u32 {
        self.record.login_timeout.to_native()
    }

    /// Whether `postern.*` settings are sent at start-up.
    pub fn postern_settings(&self) -> bool {
        self.record.postern_settings
    }

    /// How to log in as `role`; every granted role has an entry.
    pub fn role(&self, role: &str) -> Option<RoleCredentialView<'a>> {
        self.roles().find(|credential| credential.role() == role)
    }

    /// By role name.
    pub fn roles(&self) -> impl ExactSizeIterator<Item = RoleCredentialView<'a>> + use<'a> {
        let image = self.image;
        self.record
            .roles
            .iter()
            .map(move |record| RoleCredentialView { image, record })
    }
}

/// A place where a cluster listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointView<'a> {
    /// A host name or an address.
    Tcp { host: &'a str, port: u16 },
    /// The path of the socket itself.
    Unix { path: &'a str },
}

/// How a server has to prove itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTlsView<'a> {
    pub mode: ServerTlsMode,
    /// Trust anchors, DER.
    pub roots: Vec<&'a [u8]>,
    /// The name to verify when it is not the endpoint's host.
    pub server_name: Option<&'a str>,
    /// SHA-256 of the server's SubjectPublicKeyInfo, trusted by itself.
    pub pinned_key: Option<&'a [u8; 32]>,
    /// The CN accepted where the certificate has no subject alternative name.
    pub common_name: Option<&'a str>,
}

/// How the gate logs in as one role. Paths only: secrets are never in a snapshot.
#[derive(Clone, Copy)]
pub struct RoleCredentialView<'a> {
    image: &'a ArchivedImage,
    record: &'a ArchivedRoleRecord,
}

impl<'a> RoleCredentialView<'a> {
    pub fn role(&self) -> &'a str {
        text_of(&self.image.strings, &self.record.name)
    }

    pub fn password_file(&self) -> Option<&'a str> {
        optional(self.image, &self.record.password_file)
    }

    /// PEM chain for TLS client authentication.
    pub fn certificate_file(&self) -> Option<&'a str> {
        optional(self.image, &self.record.certificate_file)
    }

    /// PKCS#8 key of that certificate, PEM.
    pub fn key_file(&self) -> Option<&'a str> {
        optional(self.image, &self.record.key_file)
    }

    /// What the server may ask for.
    pub fn methods(&self) -> impl Iterator<Item = ServerMethod> + use<'a> {
        self.record.methods.iter().map(|method| (*method).into())
    }

    pub fn allows(&self, method: ServerMethod) -> bool {
        self.methods().any(|allowed| allowed == method)
    }
}

/// A provider of client certificates.
#[derive(Clone, Copy)]
pub struct CertificateAuthorityView<'a> {
    name: &'a str,
    image: &'a ArchivedImage,
    record: &'a ArchivedAuthorityRecord,
}

impl<'a> CertificateAuthorityView<'a> {
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Trust anchors, DER.
    pub fn roots(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        self.record.roots.iter().map(|root| root.as_slice())
    }

    /// Certificate revocation lists, DER.
    pub fn crls(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        self.record.crls.iter().map(|crl| crl.as_slice())
    }

    pub fn crl_mode(&self) -> CrlMode {
        self.record.crl.into()
    }

    /// Seconds after `thisUpdate` at which a CRL counts as stale.
    pub fn crl_max_age(&self) -> Option<u32> {
        self.record.crl_max_age.as_ref().map(|age| age.to_native())
    }

    /// SPIFFE trust domains it may speak for.
    pub fn trust_domains(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let strings = &self.image.strings;
        self.record.trust_domains.iter().map(|domain| text_of(strings, domain))
    }
}

fn optional<'a>(image: &'a ArchivedImage, text: &ArchivedOption<ArchivedText>) -> Option<&'a str> {
    text.as_ref().map(|text| text_of(&image.strings, text))
}
