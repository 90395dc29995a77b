//! The runtime's side: takes lists of providers and questions from the line and hands them to whom they concern.

use std::collections::{HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::rand;
use monoio::io::AsyncReadRent;

use super::figures::{Figures, Kind};
use super::key_sets::ProviderKeys;
use super::line::Line;
use super::plan::{KeysPlan, Plan, WebhookPlan, Work};
use super::refresh::{Issuer, later};
use super::shared::Shared;
use super::webhooks::Hook;
use super::{Ask, Told};
use crate::audit::Ticket;
use crate::identity::token::KeySet;
use crate::identity::webhook::Answer;
use crate::time::Utc;

/// Questions handed on before tasks get their turn.
const BATCH: usize = 256;

/// After a bell that could not be heard.
const BELL_PAUSE: Duration = Duration::from_millis(5);

/// What anybody may read of all providers, by name.
pub type AllFigures = ArcSwap<Vec<Arc<Figures>>>;

/// Serves the line until the runtime ends.
pub async fn serve(line: Arc<Line>, bell: UnixStream, shared: Shared, figures: Arc<AllFigures>) -> io::Result<()> {
    let mut bell = monoio::net::UnixStream::from_std(bell)?;
    let mut desk = Desk {
        shared: Rc::new(shared),
        providers: HashMap::new(),
        figures,
    };
    let mut heard = vec![0; 16];
    loop {
        line.awake();
        desk.empty(&line).await;
        let (result, buffer) = bell.read(heard).await;
        heard = buffer;
        match result {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // Drivers differ on what a socket that does not block says; neither is the bell's end.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                monoio::time::sleep(BELL_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

struct Desk {
    shared: Rc<Shared>,
    providers: HashMap<Box<str>, Provider>,
    figures: Arc<AllFigures>,
}

enum Provider {
    /// Its keys stand in the policy.
    Inline {
        bytes: Vec<u8>,
        figures: Arc<Figures>,
    },
    Issuer(Rc<Issuer>),
    Hook(Rc<Hook>),
    /// Cannot be asked.
    Broken {
        why: Box<str>,
        figures: Arc<Figures>,
    },
}

impl Provider {
    fn figures(&self) -> &Arc<Figures> {
        match self {
            Provider::Inline { figures, .. } | Provider::Broken { figures, .. } => figures,
            Provider::Issuer(issuer) => &issuer.figures,
            Provider::Hook(hook) => &hook.figures,
        }
    }

    fn host(&self) -> Option<&str> {
        match self {
            Provider::Inline { .. } | Provider::Broken { .. } => None,
            Provider::Issuer(issuer) => Some(issuer.plan.source.host()),
            Provider::Hook(hook) => Some(hook.plan.target.host()),
        }
    }

    /// Whether it is a webhook that stays where it is: what waits to be asked there may still be.
    fn asks_where(&self, work: &Work) -> bool {
        match (self, work) {
            (Provider::Hook(hook), Work::Webhook(Ok(plan))) => hook.plan.origin == plan.origin,
            _ => false,
        }
    }

    fn end(&self) {
        match self {
            Provider::Issuer(issuer) => issuer.end(),
            Provider::Hook(hook) => hook.end(),
            Provider::Inline { .. } | Provider::Broken { .. } => {}
        }
    }
}

impl Desk {
    async fn empty(&mut self, line: &Line) {
        for taken in 1usize.. {
            let ask = line.next();
            // After taking the question: whoever sets a list and then asks means the list that was set.
            if let Some(plans) = line.plans() {
                self.adopt(plans);
            }
            let Some(ask) = ask else { return };
            self.ask(ask);
            if taken.is_multiple_of(BATCH) {
                yield_now().await;
            }
        }
    }

    fn ask(&self, ask: Ask) {
        match ask {
            Ask::Refetch { provider, ticket } => match self.providers.get(&provider) {
                Some(Provider::Issuer(issuer)) => issuer.refetch(ticket),
                Some(Provider::Inline { .. } | Provider::Hook(_) | Provider::Broken { .. }) | None => {
                    // What stands in the policy is all there is.
                    (self.shared.tell)(ticket, Told::KeysRefetched { asked: true });
                }
            },
            Ask::Webhook {
                provider,
                origin,
                question,
                ticket,
            } => match self.providers.get(&provider) {
                Some(Provider::Hook(hook)) if hook.plan.origin == origin => hook.ask(&question, ticket),
                Some(Provider::Hook(_)) => self.tell_unavailable(ticket, "the policy moves the webhook just now"),
                Some(Provider::Broken { why, figures }) => {
                    figures.asked.one();
                    figures.unavailable.one();
                    self.tell_unavailable(ticket, why);
                }
                Some(Provider::Inline { .. } | Provider::Issuer(_)) | None => {
                    self.tell_unavailable(ticket, "the policy has no such webhook");
                }
            },
        }
    }

    fn tell_unavailable(&self, ticket: Ticket, why: &str) {
        (self.shared.tell)(ticket, Told::Webhook(Answer::Unavailable { why: why.into() }));
    }

    /// Whatever the policy says as before goes on as it was.
    fn adopt(&mut self, plans: Vec<Plan>) {
        let mut before = std::mem::take(&mut self.providers);
        let names: HashSet<Box<str>> = plans.iter().map(|plan| plan.name.clone()).collect();
        for Plan { name, work } in plans {
            let provider = self.provider(&name, work, before.remove(&name));
            self.providers.insert(name, provider);
        }
        for gone in before.values() {
            gone.end();
        }
        self.shared.retain(|name| names.contains(name));
        for (name, provider) in &self.providers {
            if let Some(host) = provider.host() {
                self.shared.want_also(name, host);
            }
        }
        self.shared.say_hosts();
        let mut figures: Vec<_> = self
            .providers
            .values()
            .map(|provider| provider.figures().clone())
            .collect();
        figures.sort_by(|one, other| one.name.cmp(&other.name));
        self.figures.store(Arc::new(figures));
    }

    fn provider(&self, name: &str, work: Work, before: Option<Provider>) -> Provider {
        match (work, before) {
            (Work::Inline { bytes, .. }, Some(Provider::Inline { bytes: same, figures })) if bytes == same => {
                Provider::Inline { bytes, figures }
            }
            (Work::Keys(Ok(plan)), Some(Provider::Issuer(issuer))) if plan.same_as(&issuer.plan) => {
                Provider::Issuer(issuer)
            }
            (Work::Webhook(Ok(plan)), Some(Provider::Hook(hook))) if plan.same_as(&hook.plan) => Provider::Hook(hook),
            (work, before) => {
                if let Some(before) = before.as_ref().filter(|before| !before.asks_where(&work)) {
                    before.end();
                }
                self.shared.want_none(name);
                self.fresh(name, work, before.as_ref())
            }
        }
    }

    fn fresh(&self, name: &str, work: Work, before: Option<&Provider>) -> Provider {
        match work {
            Work::Inline { bytes, keys } => self.inline(name, bytes, keys),
            Work::Keys(Ok(plan)) => self.issuer(name, plan, before),
            Work::Keys(Err(why)) => {
                self.shared.publish(name, without_keys(&why));
                broken(name, Kind::Keys, why)
            }
            Work::Webhook(Ok(plan)) => self.hook(name, plan),
            Work::Webhook(Err(why)) => broken(name, Kind::Webhook, why),
        }
    }

    fn inline(&self, name: &str, bytes: Vec<u8>, keys: Result<Arc<KeySet>, Box<str>>) -> Provider {
        match keys {
            Ok(keys) => {
                self.shared.publish(
                    name,
                    ProviderKeys {
                        keys: Some(keys),
                        generation: self.shared.next_generation(),
                        usable_until: Utc(i64::MAX),
                        ..ProviderKeys::awaited("the policy".into(), None)
                    },
                );
                let figures = Arc::new(Figures::new(name, Kind::Inline));
                Provider::Inline { bytes, figures }
            }
            Err(why) => {
                self.shared.publish(name, without_keys(&why));
                broken(name, Kind::Inline, why)
            }
        }
    }

    fn issuer(&self, name: &str, plan: KeysPlan, before: Option<&Provider>) -> Provider {
        self.shared.publish(name, self.keys_to_start_with(name, &plan, before));
        let figures = Arc::new(Figures::new(name, Kind::Keys));
        let issuer = Rc::new(Issuer::new(plan, figures, self.shared.clone()));
        monoio::spawn(issuer.clone().keep());
        Provider::Issuer(issuer)
    }

    /// Keys that came from the same place serve on, for as long as the policy says now.
    fn keys_to_start_with(&self, name: &str, plan: &KeysPlan, before: Option<&Provider>) -> ProviderKeys {
        let published = self.shared.key_sets.load();
        match (before, published.of(name)) {
            (Some(Provider::Issuer(issuer)), Some(keys)) if plan.same_keys(&issuer.plan) => ProviderKeys {
                usable_until: keys.fetched_at.map_or(Utc(0), |at| later(at, plan.keys_max_age)),
                ..ProviderKeys::clone(keys)
            },
            _ => ProviderKeys::awaited(plan.source.to_string().into(), Some(plan.origin)),
        }
    }

    fn hook(&self, name: &str, plan: WebhookPlan) -> Provider {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        if rand::fill(&mut *key).is_err() {
            return broken(name, Kind::Webhook, "the system gives no randomness".into());
        }
        let figures = Arc::new(Figures::new(name, Kind::Webhook));
        Provider::Hook(Rc::new(Hook::new(plan, figures, self.shared.clone(), &*key)))
    }
}

fn broken(name: &str, kind: Kind, why: Box<str>) -> Provider {
    tracing::error!(provider = name, %why, "provider unusable");
    let figures = Figures::new(name, kind);
    figures.failed(&why);
    Provider::Broken {
        why,
        figures: Arc::new(figures),
    }
}

fn without_keys(why: &str) -> ProviderKeys {
    ProviderKeys {
        last_error: Some(why.into()),
        ..ProviderKeys::awaited("nowhere".into(), None)
    }
}

/// Lets the other tasks have a turn.
async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if yielded {
            return std::task::Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
