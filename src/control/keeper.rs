//! The keeper of everything that is read from files: the one thread that publishes policies, credentials and certificates.
//!
//! Something changed, a signal came, a core asks, or some seconds went by: each is a [`Job`]. A burst of changes is one
//! reload. What fails to load changes nothing and is told in log, record and metric.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::clock::utc_now;
use super::credentials::{CredentialReader, Unusable};
use super::listeners::ListenerCertificates;
use super::load::{self, LoadFault};
use super::messages::{Cores, Notice};
use super::pace::Pace;
use super::providers::{ProviderKind, ProviderSpec, Providers};
use super::published::Published;
use super::resolve::{Wish, Wisher};
use super::retired::Retired;
use super::secret_file::read_password;
use super::specs::{Needs, authorities_digest};
use super::watch::{Concern, Interest, Watch};
use crate::audit::{self, PolicyFault, PolicyId, Process, Record, Recorder, Ticket};
use crate::in_force::InForce;
use crate::metrics::{Metrics, ReloadResult};

/// How long a new policy waits for the addresses of its new hosts.
const ADDRESS_PATIENCE: Duration = Duration::from_millis(200);
/// Cores that ask for a credential to be read again get one reading within this time, however many they are.
const REREAD_INTERVAL: Duration = Duration::from_secs(1);

/// What the keeper is asked to do.
pub enum Job {
    Changed(Concern),
    WatchFailed(String),
    /// Read everything again.
    Reload,
    /// A core's login was refused with version `refused` of this role's credential.
    Reread {
        cluster: Box<str>,
        role: Box<str>,
        refused: u64,
        ticket: Ticket,
    },
    Stop,
}

/// What the keeper works with.
pub struct Tools {
    pub directory: PathBuf,
    pub published: Arc<Published>,
    pub cores: Arc<Cores>,
    pub metrics: Arc<Metrics>,
    pub recorder: Recorder,
    pub resolver: Sender<Wish>,
    pub providers: Arc<Providers>,
    pub reader: CredentialReader,
    pub listeners: ListenerCertificates,
    pub watch: Watch,
}

pub struct Keeper {
    tools: Tools,
    /// Files that the policy text names, as of the last try.
    referenced: BTreeSet<PathBuf>,
    needs: Needs,
    retired: Retired,
    interest: Interest,
    /// Cores that could not be told of the policy in force: their living sessions are still to be checked against it.
    untold: Vec<u16>,
    credentials_read: Option<Instant>,
}

impl Keeper {
    /// The policy in `tools.published` is in force already; `referenced` are the files it was made from beside its directory.
    pub fn new(tools: Tools, referenced: BTreeSet<PathBuf>) -> Self {
        let needs = Needs::of(&tools.published.policy.load().snapshot);
        let interest = Interest::default();
        Self {
            tools,
            referenced,
            needs,
            retired: Retired::default(),
            interest,
            untold: Vec::new(),
            credentials_read: None,
        }
    }

    /// Reads what the first policy needs and waits for its addresses, at most `patience`. An unusable credential or an
    /// unknown host is no reason not to start.
    ///
    /// # Errors
    /// The listeners whose certificates cannot be used: with those nobody could come in.
    pub fn prepare(&mut self, patience: Duration) -> Result<(), Vec<super::listeners::ListenerFault>> {
        self.read_credentials();
        let faults = self.read_listeners();
        if !faults.is_empty() {
            return Err(faults);
        }
        self.resolve(patience);
        self.set_providers();
        self.announce_policy();
        self.watch_files();
        Ok(())
    }

    /// Until [`Job::Stop`], or until nobody can ask any more.
    pub fn run(mut self, jobs: &Receiver<Job>) {
        let mut pace = Pace::new(&self.interest, Instant::now());
        loop {
            match jobs.recv_timeout(pace.wait(Instant::now())) {
                Ok(Job::Changed(concern)) => pace.touch(concern, Instant::now()),
                Ok(Job::WatchFailed(error)) => self.watch_failed(&error),
                Ok(Job::Reload) => self.reload_policy(),
                Ok(Job::Reread {
                    cluster,
                    role,
                    refused,
                    ticket,
                }) => self.reread(&cluster, &role, refused, ticket),
                Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(concern) = pace.take(&self.interest, Instant::now()) {
                let before = self.interest.clone();
                match concern {
                    Concern::Policy => self.reload_policy(),
                    Concern::Secrets => self.reload_secrets(),
                }
                pace.look_again(&before, &self.interest, Instant::now());
            }
            if pace.tick(&self.interest, Instant::now()) {
                self.tell_untold();
                self.free_retired();
            }
        }
    }

    /// Secrets are read too: they may lie in the same directory.
    fn reload_policy(&mut self) {
        let serving = self.tools.published.policy.load_full();
        let load::Attempt { outcome, referenced } =
            load::attempt(&self.tools.directory, serving.snapshot.generation() + 1);
        match outcome {
            Ok(fresh) => {
                self.referenced = referenced;
                self.adopt(fresh, &serving);
            }
            Err(fault) => {
                // The files of the policy in force still matter, and so do those that this one could not read.
                self.referenced.extend(referenced);
                self.reject(&fault, &serving);
            }
        }
        drop(serving);
        self.reload_secrets();
    }

    fn reload_secrets(&mut self) {
        self.read_credentials();
        self.read_listeners();
        self.set_providers();
        self.watch_files();
    }

    fn adopt(&mut self, fresh: InForce, serving: &Arc<InForce>) {
        if fresh.snapshot.hash() == serving.snapshot.hash() {
            self.tools.metrics.control.policy_reloads.one(ReloadResult::Unchanged);
            tracing::info!(
                generation = serving.snapshot.generation(),
                "policy read again: nothing changed"
            );
            return;
        }
        let mut needs = Needs::of(&fresh.snapshot);
        needs.keep_from(&self.needs);
        self.needs = needs;
        self.read_credentials();
        self.resolve(ADDRESS_PATIENCE);
        self.retired.add(self.tools.published.policy.swap(Arc::new(fresh)));
        self.set_providers();
        self.tools
            .metrics
            .control
            .policies_retired
            .set(self.retired.len() as u64);
        self.untold = self.tools.cores.tell_all(|| Notice::PolicyChanged);
        self.announce_policy();
    }

    fn announce_policy(&self) {
        let control = &self.tools.metrics.control;
        let now = utc_now();
        let in_force = self.tools.published.policy.load();
        let snapshot = &in_force.snapshot;
        let (identities, grants) = (snapshot.identity_count() as u64, snapshot.grants().count() as u64);
        control.policy_generation.set(snapshot.generation());
        control.policy_loaded_at.set(u64::try_from(now.seconds()).unwrap_or(0));
        control.policy_reloads.one(ReloadResult::Applied);
        self.tools
            .recorder
            .record(Record::Policy(Box::new(audit::Policy::Loaded {
                at: now,
                policy: id_of(&in_force),
                identities,
                grants,
            })));
        let hash = hex(snapshot.hash());
        tracing::info!(
            generation = snapshot.generation(),
            hash,
            identities,
            grants,
            "policy in force"
        );
    }

    fn reject(&self, fault: &LoadFault, serving: &InForce) {
        self.tools.metrics.control.policy_reloads.one(ReloadResult::Rejected);
        let faults = fault.faults(&self.tools.directory);
        for fault in &faults {
            let (file, line, column, what) = (&fault.file, fault.line, fault.column, &fault.message);
            tracing::error!(file, line, column, what, "policy rejected; the one in force stays");
        }
        self.tools
            .recorder
            .record(Record::Policy(Box::new(audit::Policy::Rejected {
                at: utc_now(),
                serving: Some(id_of(serving)),
                faults: recorded_faults(&faults),
            })));
    }

    fn read_credentials(&mut self) {
        self.credentials_read = Some(Instant::now());
        let published = &self.tools.published.credentials;
        let reading = self.tools.reader.read(&self.needs.roles(), &published.load());
        let control = &self.tools.metrics.control;
        let unusable = reading.table.unusable().count();
        control.roles_unusable.set(unusable as u64);
        if reading.changed == 0 {
            control.credential_reloads.one(ReloadResult::Unchanged);
            return;
        }
        control.credential_reloads.one(if unusable == 0 {
            ReloadResult::Applied
        } else {
            ReloadResult::Rejected
        });
        for (cluster, role, why) in reading.table.unusable() {
            tracing::error!(cluster, role, %why, "role unusable: nobody can log in to the cluster as it");
        }
        tracing::info!(changed = reading.changed, unusable, "credentials read");
        published.store(Arc::new(reading.table));
    }

    /// Whom the policy in force has asked over HTTPS. Those that are as before keep their keys and connections.
    fn set_providers(&self) {
        let in_force = self.tools.published.policy.load();
        let issuers = in_force.snapshot.token_issuers().into_iter();
        let issuers = issuers.map(|(_, name, issuer)| ProviderSpec {
            name: name.into(),
            kind: ProviderKind::Issuer(issuer),
        });
        let webhooks = in_force.snapshot.webhooks().into_iter().map(|(_, name, webhook)| {
            let file = webhook.authorization_file.as_ref();
            let authorization = file.and_then(|file| self.authorization(name, &self.tools.directory.join(file)));
            ProviderSpec {
                name: name.into(),
                kind: ProviderKind::Webhook { webhook, authorization },
            }
        });
        self.tools.providers.set(issuers.chain(webhooks).collect());
    }

    fn authorization(&self, provider: &str, file: &std::path::Path) -> Option<crate::secret::Secret> {
        match read_password(file) {
            Ok(secret) => Some(secret),
            Err(fault) => {
                tracing::error!(provider, %fault, "webhook not asked: it has no authorization");
                None
            }
        }
    }

    fn authorization_files(&self) -> Vec<PathBuf> {
        let in_force = self.tools.published.policy.load();
        let webhooks = in_force.snapshot.webhooks().into_iter();
        let files = webhooks.filter_map(|(_, _, webhook)| webhook.authorization_file);
        files.map(|file| self.tools.directory.join(file)).collect()
    }

    fn read_listeners(&mut self) -> Vec<super::listeners::ListenerFault> {
        let published = &self.tools.published;
        let authorities = authorities_digest(&published.policy.load().snapshot);
        let read = self.tools.listeners.read(authorities, &published.listeners);
        let result = match (read.faults.is_empty(), read.replaced.is_empty()) {
            (false, _) => ReloadResult::Rejected,
            (true, true) => ReloadResult::Unchanged,
            (true, false) => ReloadResult::Applied,
        };
        self.tools.metrics.control.tls_reloads.one(result);
        for fault in &read.faults {
            tracing::error!(%fault, "listener certificate not taken; the one in use stays");
        }
        if result != ReloadResult::Unchanged {
            self.tools
                .recorder
                .record(Record::Process(Box::new(Process::ListenersReloaded {
                    at: utc_now(),
                    listeners: read.replaced.iter().map(|name| name.as_str().into()).collect(),
                    faults: read.faults.iter().map(ToString::to_string).collect(),
                })));
        }
        read.faults
    }

    fn resolve(&self, patience: Duration) {
        let (done, answer) = channel();
        let wish = Wish {
            of: Wisher::Policy,
            hosts: self.needs.hosts().clone(),
            done: Some(done),
        };
        if self.tools.resolver.send(wish).is_err() || answer.recv_timeout(patience).is_err() {
            tracing::warn!("not every host of the policy has an address yet");
        }
    }

    fn reread(&mut self, cluster: &str, role: &str, refused: u64, ticket: Ticket) {
        if self
            .credentials_read
            .is_none_or(|read| read.elapsed() >= REREAD_INTERVAL)
        {
            self.read_credentials();
        }
        let changed = match self.tools.published.credentials.load().find(cluster, role) {
            Ok(credential) => credential.version() != refused,
            Err(Unusable::NotNamed) => false,
            Err(_) => true,
        };
        self.tools
            .cores
            .tell(ticket.core, Notice::CredentialRead { ticket, changed });
    }

    fn tell_untold(&mut self) {
        let cores = &self.tools.cores;
        self.untold.retain(|core| !cores.try_tell(*core, Notice::PolicyChanged));
    }

    /// Once nobody reads an old policy any more, what only it needed is dropped too.
    fn free_retired(&mut self) {
        if self.retired.is_empty() {
            return;
        }
        self.retired.free();
        self.tools
            .metrics
            .control
            .policies_retired
            .set(self.retired.len() as u64);
        if self.retired.is_empty() {
            self.needs = Needs::of(&self.tools.published.policy.load().snapshot);
            self.read_credentials();
            self.resolve(Duration::ZERO);
            self.watch_files();
        }
    }

    fn watch_files(&mut self) {
        let secrets = self
            .tools
            .reader
            .files(&self.needs.roles())
            .into_iter()
            .chain(self.tools.listeners.files())
            .chain(self.authorization_files());
        let policy = self.referenced.iter().cloned().map(|file| (file, Concern::Policy));
        let files = secrets.map(|file| (file, Concern::Secrets)).chain(policy).collect();
        self.interest = Interest {
            directory: self.tools.directory.clone(),
            files,
        };
        for (directory, error) in self.tools.watch.set(&self.interest) {
            self.tools.metrics.control.watch_errors.one();
            tracing::warn!(directory = %directory.display(), %error, "not watched; its files are compared every few seconds");
        }
    }

    fn watch_failed(&self, error: &str) {
        self.tools.metrics.control.watch_errors.one();
        tracing::warn!(error, "the file watcher failed; files are compared every few seconds");
    }
}

pub(super) fn id_of(in_force: &InForce) -> PolicyId {
    PolicyId {
        generation: in_force.snapshot.generation(),
        hash: *in_force.snapshot.hash(),
    }
}

pub(super) fn recorded_faults(faults: &postern_policy::fault::Faults) -> Vec<PolicyFault> {
    let place = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let recorded = faults.iter().map(|fault| PolicyFault {
        file: fault.file.clone(),
        line: place(fault.line),
        column: place(fault.column),
        message: fault.message.clone(),
    });
    recorded.collect()
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
