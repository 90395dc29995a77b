//! What a policy needs from outside itself: credentials of roles, addresses of hosts.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest;
use postern_policy::model::{RoleCredential, ServerTls};
use postern_policy::snapshot::Snapshot;
use postern_policy::view::{ClusterView, EndpointView, RoleCredentialView, ServerTlsView};

use super::credentials::RoleSpec;

/// Roles and hosts, by name.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    roles: BTreeMap<(String, String), RoleSpec>,
    hosts: BTreeSet<String>,
}

impl Needs {
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut needs = Self::default();
        for cluster in snapshot.clusters() {
            needs.add(&cluster);
        }
        needs
    }

    /// Adds what `older` has and this has not. While an old policy is still being read, its roles stay usable.
    pub fn keep_from(&mut self, older: &Self) {
        for (name, role) in &older.roles {
            self.roles.entry(name.clone()).or_insert_with(|| role.clone());
        }
        self.hosts.extend(older.hosts.iter().cloned());
    }

    pub fn roles(&self) -> Vec<RoleSpec> {
        self.roles.values().cloned().collect()
    }

    pub fn hosts(&self) -> &BTreeSet<String> {
        &self.hosts
    }

    fn add(&mut self, cluster: &ClusterView<'_>) {
        for endpoint in cluster.endpoints() {
            match endpoint {
                EndpointView::Tcp { host, .. } => {
                    self.hosts.insert(host.to_owned());
                }
                EndpointView::Unix { .. } => {}
            }
        }
        let tls = server_tls(&cluster.tls());
        for role in cluster.roles() {
            let name = (cluster.name().to_owned(), role.role().to_owned());
            let credential = role_credential(&role);
            let spec = RoleSpec {
                cluster: name.0.clone(),
                role: name.1.clone(),
                credential,
                tls: tls.clone(),
            };
            self.roles.insert(name, spec);
        }
    }
}

/// Changes when the authorities that judge client certificates change: ticket keys of listeners go with them.
pub fn authorities_digest(snapshot: &Snapshot) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for (_, authority) in snapshot.certificate_authorities() {
        for root in authority.roots() {
            context.update(&(root.len() as u64).to_be_bytes());
            context.update(root);
        }
        context.update(authority.name().as_bytes());
        context.update(&[0]);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

fn role_credential(role: &RoleCredentialView<'_>) -> RoleCredential {
    RoleCredential {
        password_file: role.password_file().map(str::to_owned),
        certificate_file: role.certificate_file().map(str::to_owned),
        key_file: role.key_file().map(str::to_owned),
        methods: role.methods().collect(),
    }
}

fn server_tls(tls: &ServerTlsView<'_>) -> ServerTls {
    ServerTls {
        mode: tls.mode,
        roots: tls.roots.iter().map(|root| root.to_vec()).collect(),
        server_name: tls.server_name.map(str::to_owned),
        pinned_key: tls.pinned_key.copied(),
        common_name: tls.common_name.map(str::to_owned),
    }
}
