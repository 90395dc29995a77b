//! The threads that do what cores ask for: derivations, merges. What concerns files is passed on to the keeper.

use std::io;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use super::client_keys::Derivations;
use super::keeper::Job;
use super::latency::LatencyTotals;
use super::messages::{Cores, Notice, Request};
use crate::metrics::Metrics;

/// PBKDF2 is the only heavy work; after a restart every role of every cluster wants it once.
const WORKERS: usize = 2;

/// What every worker has.
pub struct Desk {
    pub requests: Mutex<Receiver<Request>>,
    pub derivations: Derivations,
    pub cores: Arc<Cores>,
    pub metrics: Arc<Metrics>,
    pub latencies: Arc<LatencyTotals>,
    pub keeper: Mutex<Sender<Job>>,
}

/// Starts the workers. They end when the last [`Requests`](super::messages::Requests) handle is gone.
pub fn start(desk: Desk) -> io::Result<()> {
    let desk = Arc::new(desk);
    for number in 0..WORKERS {
        let desk = desk.clone();
        std::thread::Builder::new()
            .name(format!("postern-work-{number}"))
            .spawn(move || desk.work())?;
    }
    Ok(())
}

impl Desk {
    fn work(&self) {
        loop {
            // One worker waits holding the lock, the others wait for the lock: whoever gets a request lets go first.
            let request = self.requests.lock().unwrap_or_else(PoisonError::into_inner).recv();
            match request {
                Ok(request) => self.answer(request),
                Err(_) => return,
            }
        }
    }

    fn answer(&self, request: Request) {
        match request {
            Request::DeriveClientKeys {
                credential,
                salt,
                iterations,
                ticket,
            } => {
                self.derivations.run(
                    &credential,
                    salt,
                    iterations,
                    ticket,
                    &self.cores,
                    &self.metrics.control,
                );
            }
            Request::ReadCredential {
                cluster,
                role,
                refused,
                ticket,
            } => {
                let job = Job::Reread {
                    cluster,
                    role,
                    refused,
                    ticket,
                };
                let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
                if keeper.send(job).is_err() {
                    self.cores
                        .tell(ticket.core, Notice::CredentialRead { ticket, changed: false });
                }
            }
            Request::Latencies { core, filled } => self.latencies.merge(core, filled),
        }
    }
}
