//! Identity providers that are asked over HTTPS: token issuers for their keys, webhooks for their answers.
//!
//! All of it runs on one thread with a monoio runtime of its own ([`desk`]), so that a provider that hangs delays no admin
//! page, no name and no other provider. Cores read keys where they are published ([`KeySets`]) and ask with
//! [`Providers::ask`], which never blocks; they are told through a callback. Names come from the addresses that control
//! resolves; nothing is looked up here.
//!
//! - [`client`]: one request, with a deadline over everything. [`connection`], [`target`], [`trust`], [`fault`].
//! - [`refresh`]: one issuer's keys. [`discovery`], [`freshness`], [`chance`], [`key_sets`].
//! - [`webhooks`]: one webhook's questions. [`kept`].
//! - [`plan`] makes the policy's words ready, [`line`] is the way in, [`shared`] what all have, [`figures`] what they did.

mod chance;
mod client;
mod connection;
mod desk;
mod discovery;
#[cfg(test)]
mod driven;
mod fault;
mod figures;
mod freshness;
mod kept;
mod key_sets;
mod line;
mod plan;
mod refresh;
mod shared;
mod target;
mod trust;
mod webhooks;

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::messages::Busy;
use super::resolve::Addresses;
use super::runtime::Runner;
use crate::audit::Ticket;
use crate::identity::webhook::{Answer, Question, WebhookOrigin};
use line::Line;
use shared::Shared;

pub use figures::{Kind, Status};
pub use key_sets::{KeySets, ProviderKeys};
pub use plan::{ProviderKind, ProviderSpec};
pub use shared::{Pace, Want};

/// Questions that may wait for the runtime to take them. It takes them at once unless it is starved.
const QUESTIONS: usize = 4096;

/// What a core asks.
pub enum Ask {
    /// A token names a key that `provider`'s set does not have. Answered by [`Told::KeysRefetched`], at once where the keys
    /// were fetched for such a reason a moment ago.
    Refetch { provider: Box<str>, ticket: Ticket },
    /// Answered by [`Told::Webhook`], within the webhook's deadline.
    Webhook {
        provider: Box<str>,
        /// Where the policy of the question has it; nobody else is asked.
        origin: WebhookOrigin,
        question: Box<Question>,
        ticket: Ticket,
    },
}

/// What a core is told. Every [`Ask`] that was taken is answered once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Look into [`KeySets`] again: the set is as new as it will be for now. `asked`: the issuer was asked for the occasion,
    /// and has answered; otherwise a newer one may exist.
    KeysRefetched {
        asked: bool,
    },
    Webhook(Answer),
}

/// Tells whoever has the ticket. Called on the providers' thread: must not block.
pub type Tell = Box<dyn Fn(Ticket, Told) + Send + Sync>;

/// What the providers' thread works with.
pub struct Setup {
    pub addresses: Arc<ArcSwap<Addresses>>,
    pub tell: Tell,
    pub want: Want,
    pub pace: Pace,
}

/// The handle to the thread. Dropping it ends the thread; what is under way is not answered then.
pub struct Providers {
    line: Arc<Line>,
    key_sets: Arc<ArcSwap<KeySets>>,
    figures: Arc<desk::AllFigures>,
    _runner: Runner,
}

/// What the runtime stands on. Where io_uring is refused it is epoll anyway.
enum Driver {
    Ring,
    #[cfg(test)]
    Epoll,
}

/// What cores get of [`Providers`]: the way in and the keys. Clones share both.
#[derive(Clone)]
pub struct Window {
    line: Arc<Line>,
    key_sets: Arc<ArcSwap<KeySets>>,
}

impl Providers {
    /// Starts the thread, without any provider.
    pub fn start(setup: Setup) -> io::Result<Self> {
        Self::start_on(setup, Driver::Ring)
    }

    fn start_on(setup: Setup, driver: Driver) -> io::Result<Self> {
        let (line, bell) = Line::new(QUESTIONS)?;
        let line = Arc::new(line);
        let key_sets = Arc::new(ArcSwap::from_pointee(KeySets::default()));
        let figures = Arc::new(ArcSwap::from_pointee(Vec::new()));
        let (served, sets, counted) = (line.clone(), key_sets.clone(), figures.clone());
        let work = move || async move {
            let shared = Shared::new(setup.addresses, sets, setup.tell, setup.want, setup.pace);
            if let Err(error) = desk::serve(served, bell, shared, counted).await {
                tracing::error!(%error, "identity providers are not asked any more");
            }
        };
        let runner = match driver {
            Driver::Ring => Runner::start(work)?,
            #[cfg(test)]
            Driver::Epoll => Runner::on_epoll(work)?,
        };
        Ok(Self {
            line,
            key_sets,
            figures,
            _runner: runner,
        })
    }

    /// The providers of the policy in force, all of them. Those that it names as before keep their keys, answers and
    /// connections. Reads the system's trust anchors: not for a core, not for a runtime.
    pub fn set(&self, specs: Vec<ProviderSpec>) {
        self.line.set(plan::plans(specs));
    }

    /// Never blocks.
    pub fn ask(&self, ask: Ask) -> Result<(), Busy> {
        self.line.ask(ask)
    }

    pub fn key_sets(&self) -> &Arc<ArcSwap<KeySets>> {
        &self.key_sets
    }

    pub fn window(&self) -> Window {
        Window {
            line: self.line.clone(),
            key_sets: self.key_sets.clone(),
        }
    }

    /// Every provider, by name.
    pub fn status(&self) -> Vec<Status> {
        let key_sets = self.key_sets.load();
        let figures = self.figures.load();
        figures
            .iter()
            .map(|figures| figures.status(key_sets.of(&figures.name).map(|keys| &**keys)))
            .collect()
    }
}

impl Window {
    /// Never blocks.
    pub fn ask(&self, ask: Ask) -> Result<(), Busy> {
        self.line.ask(ask)
    }

    pub fn key_sets(&self) -> &Arc<ArcSwap<KeySets>> {
        &self.key_sets
    }
}

#[cfg(test)]
mod tests;
