//! What the gate logs in to clusters with: a table owned by control and swapped on its own.
//!
//! The policy names files; their content never enters a snapshot, so rotating a secret makes no new policy. A role whose
//! files cannot be used is unusable, with the reason, and the others are not touched by it. A credential whose content did
//! not change stays the same object, and with it the keys already derived from it.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use postern_policy::model::{RoleCredential, ServerMethod, ServerTls, ServerTlsMode};

use super::client_keys::{ClientKeys, Known};
use super::secret_file::{SecretFault, read_certificate, read_password, read_secret};
use crate::identity::scram::Keys;
use crate::secret::Secret;
use crate::tls::{ClientCertificate, UpstreamTls, UpstreamTlsError};

/// Every role of every cluster of the policy in force.
#[derive(Default)]
pub struct Credentials(HashMap<Box<str>, HashMap<Box<str>, Role>>);

type Role = Result<Arc<Credential>, Arc<Unusable>>;

impl Credentials {
    /// The credential of `role` on `cluster`. Neither blocks nor allocates.
    ///
    /// # Errors
    /// [`Unusable`]: why the role cannot be logged in as now. For record and log; a client never hears it.
    pub fn find(&self, cluster: &str, role: &str) -> Result<&Arc<Credential>, &Unusable> {
        match self.0.get(cluster).and_then(|roles| roles.get(role)) {
            Some(Ok(credential)) => Ok(credential),
            Some(Err(unusable)) => Err(unusable),
            None => Err(&Unusable::NotNamed),
        }
    }

    fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .flat_map(|(cluster, roles)| roles.keys().map(move |role| (&**cluster, &**role)))
    }

    fn names_it(&self, cluster: &str, role: &str) -> bool {
        self.0.get(cluster).is_some_and(|roles| roles.contains_key(role))
    }

    /// Cluster, role and reason of every role that cannot be used.
    pub fn unusable(&self) -> impl Iterator<Item = (&str, &str, &Unusable)> {
        let roles = self
            .0
            .iter()
            .flat_map(|(cluster, roles)| roles.iter().map(move |(name, role)| (&**cluster, &**name, role)));
        roles.filter_map(|(cluster, name, role)| role.as_ref().err().map(|why| (cluster, name, &**why)))
    }
}

/// How to log in as one role. Immutable: when a file changes there is another one with another version.
pub struct Credential {
    version: u64,
    /// SHA-256 over everything it was made of: tells whether a file that was read again says anything new.
    material: [u8; 32],
    password: Option<Secret>,
    methods: BTreeSet<ServerMethod>,
    tls: Option<Arc<UpstreamTls>>,
    keys: ClientKeys,
}

impl Credential {
    /// Unique in this process; a rotated secret has a new one.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// What the server may ask for.
    pub fn methods(&self) -> &BTreeSet<ServerMethod> {
        &self.methods
    }

    /// TLS towards the cluster as this role; `None` where the cluster's mode is `disable`.
    pub fn tls(&self) -> Option<&Arc<UpstreamTls>> {
        self.tls.as_ref()
    }

    /// The keys for this salt and iteration count, if they were derived before.
    pub fn client_keys(&self, salt: &[u8], iterations: u32) -> Option<Arc<Keys>> {
        self.keys.find(salt, iterations)
    }

    pub(super) fn remember(&self, known: &Known) {
        self.keys.remember(known);
    }
}

/// Why a role cannot be logged in as.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("the policy in force names no such role")]
    NotNamed,
    #[error("password file: {0}")]
    Password(#[source] SecretFault),
    #[error("client certificate: {0}")]
    Certificate(#[source] SecretFault),
    #[error("client key: {0}")]
    Key(#[source] SecretFault),
    #[error("TLS to the cluster: {0}")]
    Tls(#[source] UpstreamTlsError),
}

/// One role as the policy has it.
#[derive(Debug, Clone)]
pub struct RoleSpec {
    pub cluster: String,
    pub role: String,
    pub credential: RoleCredential,
    pub tls: ServerTls,
}

/// Reads the files and makes the table.
pub struct CredentialReader {
    /// What relative paths are relative to.
    base: PathBuf,
    next_version: u64,
}

/// A table and how it differs from the one before.
pub struct Reading {
    pub table: Credentials,
    /// Roles that are new, gone, rotated, or newly unusable.
    pub changed: usize,
}

impl CredentialReader {
    pub fn new(base: PathBuf) -> Self {
        Self { base, next_version: 1 }
    }

    /// Reads every file that `specs` name. What did not change is taken over from `previous`.
    pub fn read(&mut self, specs: &[RoleSpec], previous: &Credentials) -> Reading {
        let mut reading = Reading {
            table: Credentials::default(),
            changed: 0,
        };
        for spec in specs {
            let before = previous.find(&spec.cluster, &spec.role);
            let role = self.read_role(spec, before.ok());
            reading.changed += usize::from(is_news(&role, before));
            reading
                .table
                .0
                .entry(spec.cluster.as_str().into())
                .or_default()
                .insert(spec.role.as_str().into(), role);
        }
        reading.changed += previous
            .names()
            .filter(|(cluster, role)| !reading.table.names_it(cluster, role))
            .count();
        reading
    }

    /// The files that `specs` name, absolute.
    pub fn files(&self, specs: &[RoleSpec]) -> BTreeSet<PathBuf> {
        let named = |spec: &RoleSpec| {
            let credential = &spec.credential;
            [
                &credential.password_file,
                &credential.certificate_file,
                &credential.key_file,
            ]
            .map(Option::clone)
        };
        specs
            .iter()
            .flat_map(named)
            .flatten()
            .map(|path| self.base.join(path))
            .collect()
    }

    fn read_role(&mut self, spec: &RoleSpec, before: Option<&Arc<Credential>>) -> Role {
        let files = Files::read(&self.base, &spec.credential).map_err(Arc::new)?;
        let material = files.digest(spec);
        if let Some(same) = before.filter(|before| before.material == material) {
            return Ok(same.clone());
        }
        let tls = files.upstream_tls(&spec.tls).map_err(Unusable::Tls)?;
        let version = self.next_version;
        self.next_version += 1;
        let methods = spec.credential.methods.clone();
        Ok(Arc::new(Credential {
            version,
            material,
            password: files.password,
            methods,
            tls,
            keys: ClientKeys::default(),
        }))
    }
}

/// What the files of one role held.
struct Files {
    password: Option<Secret>,
    certificate: Option<Vec<u8>>,
    key: Option<Secret>,
}

impl Files {
    fn read(base: &Path, credential: &RoleCredential) -> Result<Self, Unusable> {
        let at = |path: &Option<String>| path.as_ref().map(|path| base.join(path));
        Ok(Self {
            password: at(&credential.password_file)
                .map(|path| read_password(&path))
                .transpose()
                .map_err(Unusable::Password)?,
            certificate: at(&credential.certificate_file)
                .map(|path| read_certificate(&path))
                .transpose()
                .map_err(Unusable::Certificate)?,
            key: at(&credential.key_file)
                .map(|path| read_secret(&path))
                .transpose()
                .map_err(Unusable::Key)?,
        })
    }

    fn upstream_tls(&self, tls: &ServerTls) -> Result<Option<Arc<UpstreamTls>>, UpstreamTlsError> {
        if tls.mode == ServerTlsMode::Disable {
            return Ok(None);
        }
        let certificate = match (&self.certificate, &self.key) {
            (Some(chain), Some(key)) => Some(ClientCertificate { chain, key }),
            (Some(_), None) | (None, Some(_)) | (None, None) => None,
        };
        UpstreamTls::new(tls, certificate).map(|tls| Some(Arc::new(tls)))
    }

    fn digest(&self, spec: &RoleSpec) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        let parts = [
            self.password.as_ref().map(Secret::expose),
            self.certificate.as_deref(),
            self.key.as_ref().map(Secret::expose),
        ];
        for part in parts {
            let bytes = part.unwrap_or_default();
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(&[u8::from(part.is_some())]);
            context.update(bytes);
        }
        context.update(format!("{:?}{:?}", spec.credential.methods, spec.tls).as_bytes());
        let mut out = [0; 32];
        out.copy_from_slice(context.finish().as_ref());
        out
    }
}

/// Whether a role is something else now than before. An unusable role that stays unusable is no news.
fn is_news(now: &Role, before: Result<&Arc<Credential>, &Unusable>) -> bool {
    match (now, before) {
        (Ok(now), Ok(before)) => !Arc::ptr_eq(now, before),
        (Err(_), Err(Unusable::NotNamed)) => true,
        (Err(_), Err(Unusable::Password(_) | Unusable::Certificate(_) | Unusable::Key(_) | Unusable::Tls(_))) => false,
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::scratch::Scratch;
    use super::*;

    fn spec(role: &str, password_file: &str) -> RoleSpec {
        let credential = RoleCredential {
            password_file: Some(password_file.into()),
            methods: BTreeSet::from([ServerMethod::ScramSha256]),
            ..RoleCredential::default()
        };
        RoleSpec {
            cluster: "main".into(),
            role: role.into(),
            credential,
            tls: ServerTls {
                mode: ServerTlsMode::Disable,
                ..ServerTls::default()
            },
        }
    }

    #[test]
    fn a_rotated_password_makes_another_credential_and_leaves_the_others() {
        let dir = Scratch::new();
        dir.write_mode("app", "one\n", 0o600);
        dir.write_mode("batch", "two\n", 0o600);
        let specs = [spec("app", "app"), spec("batch", "batch")];
        let mut reader = CredentialReader::new(dir.path().to_owned());
        let first = reader.read(&specs, &Credentials::default());
        assert_eq!(first.changed, 2);
        let again = reader.read(&specs, &first.table);
        assert_eq!(again.changed, 0, "unchanged files are no news");
        dir.write_mode("app", "three\n", 0o600);
        let rotated = reader.read(&specs, &again.table);
        assert_eq!(rotated.changed, 1);
        let (old, new) = (
            again.table.find("main", "app").ok().unwrap(),
            rotated.table.find("main", "app").ok().unwrap(),
        );
        assert_ne!(old.version(), new.version());
        assert_eq!(new.password().unwrap().expose(), b"three");
        let (old, new) = (
            again.table.find("main", "batch").ok().unwrap(),
            rotated.table.find("main", "batch").ok().unwrap(),
        );
        assert!(Arc::ptr_eq(old, new));
    }

    #[test]
    fn a_missing_file_makes_its_own_role_unusable_and_no_other() {
        let dir = Scratch::new();
        dir.write_mode("app", "one", 0o600);
        let specs = [spec("app", "app"), spec("batch", "missing")];
        let mut reader = CredentialReader::new(dir.path().to_owned());
        let reading = reader.read(&specs, &Credentials::default());
        assert!(reading.table.find("main", "app").is_ok());
        assert!(matches!(
            reading.table.find("main", "batch"),
            Err(Unusable::Password(SecretFault::Io { .. }))
        ));
        assert!(matches!(reading.table.find("main", "other"), Err(Unusable::NotNamed)));
        let unusable: Vec<_> = reading
            .table
            .unusable()
            .map(|(cluster, role, _)| (cluster, role))
            .collect();
        assert_eq!(unusable, [("main", "batch")]);
        dir.write_mode("missing", "two", 0o600);
        let healed = reader.read(&specs, &reading.table);
        assert!(healed.table.find("main", "batch").is_ok());
        assert_eq!(healed.changed, 1);
    }

    #[test]
    fn a_changed_method_list_is_another_credential() {
        let dir = Scratch::new();
        dir.write_mode("app", "one", 0o600);
        let mut specs = [spec("app", "app")];
        let mut reader = CredentialReader::new(dir.path().to_owned());
        let first = reader.read(&specs, &Credentials::default());
        specs[0].credential.methods.insert(ServerMethod::Password);
        assert_eq!(reader.read(&specs, &first.table).changed, 1);
    }

    #[test]
    fn a_rotated_client_certificate_is_another_credential() {
        let dir = Scratch::new();
        let write_pair = || {
            let made = rcgen::generate_simple_self_signed(vec!["gate.test".into()]).unwrap();
            dir.write("gate.crt", made.cert.pem());
            dir.write_mode("gate.key", made.signing_key.serialize_pem(), 0o600);
        };
        write_pair();
        let mut spec = spec("app", "unused");
        spec.credential.password_file = None;
        spec.credential.certificate_file = Some("gate.crt".into());
        spec.credential.key_file = Some("gate.key".into());
        spec.tls.mode = ServerTlsMode::Require;
        let specs = [spec];
        let mut reader = CredentialReader::new(dir.path().to_owned());
        let first = reader.read(&specs, &Credentials::default());
        assert!(first.table.find("main", "app").ok().unwrap().tls().is_some());
        assert_eq!(reader.read(&specs, &first.table).changed, 0);
        write_pair();
        let second = reader.read(&specs, &first.table);
        assert_eq!(second.changed, 1);
        let other = rcgen::generate_simple_self_signed(vec!["other.test".into()]).unwrap();
        dir.write("gate.crt", other.cert.pem());
        let torn = reader.read(&specs, &second.table);
        let fault = torn.table.find("main", "app").err().unwrap();
        assert!(
            matches!(fault, Unusable::Tls(UpstreamTlsError::ClientCertificate(_))),
            "{fault}"
        );
    }

    #[test]
    fn tls_that_cannot_be_set_up_makes_the_role_unusable() {
        let dir = Scratch::new();
        dir.write_mode("app", "one", 0o600);
        let mut specs = [spec("app", "app")];
        specs[0].tls = ServerTls {
            mode: ServerTlsMode::VerifyFull,
            ..ServerTls::default()
        };
        let reading = CredentialReader::new(dir.path().to_owned()).read(&specs, &Credentials::default());
        assert!(matches!(
            reading.table.find("main", "app"),
            Err(Unusable::Tls(UpstreamTlsError::NoRoots))
        ));
        specs[0].tls.mode = ServerTlsMode::Require;
        let reading = CredentialReader::new(dir.path().to_owned()).read(&specs, &Credentials::default());
        assert!(reading.table.find("main", "app").ok().unwrap().tls().is_some());
    }

    #[test]
    fn the_files_to_watch_are_absolute() {
        let reader = CredentialReader::new("/etc/postern".into());
        let files = reader.files(&[spec("a", "secrets/a"), spec("b", "/run/b")]);
        assert_eq!(
            files,
            BTreeSet::from(["/etc/postern/secrets/a".into(), "/run/b".into()])
        );
    }
}
