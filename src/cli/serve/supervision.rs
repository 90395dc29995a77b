//! From the first accept to the last core's end: signals come in, drains go out.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::audit::{Recorder, StopReason};
use crate::control::Control;
use crate::control::signals::Signal;
use crate::ring::TurnError;

/// What happens to a running gate.
pub enum Event {
    Signal(Signal),
    CoreEnded { core: usize, fault: Option<String> },
}

/// Time for cores to end after they should have, before they are told again, and before they are given up.
const GRACE: Duration = Duration::from_secs(5);

/// Returns when every core has ended, or when those that do not end were given time enough.
pub fn supervise(
    threads: Vec<JoinHandle<Result<(), TurnError>>>,
    events: &Receiver<Event>,
    sender: &Sender<Event>,
    control: &Control,
    recorder: &Recorder,
    drain_deadline: Duration,
) -> StopReason {
    let mut watch = Watch {
        left: watch_threads(threads, sender),
        why: StopReason::Signal,
        ending: None,
    };
    while watch.left > 0 {
        match events.recv_timeout(watch.patience()) {
            Ok(Event::Signal(Signal::Reload)) => {
                recorder.reopen();
                control.reload();
            }
            Ok(Event::Signal(Signal::Terminate)) => watch.terminate(control, drain_deadline),
            Ok(Event::CoreEnded { core, fault }) => watch.ended(core, fault, control),
            Err(RecvTimeoutError::Timeout) => {
                if !watch.overdue(control) {
                    break;
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    watch.why
}

struct Watch {
    left: usize,
    why: StopReason,
    ending: Option<Ending>,
}

#[derive(Clone, Copy)]
struct Ending {
    by: Instant,
    /// Told to stop at once.
    forced: bool,
}

impl Watch {
    fn patience(&self) -> Duration {
        const FOREVER: Duration = Duration::from_secs(3600);
        self.ending
            .map_or(FOREVER, |ending| ending.by.saturating_duration_since(Instant::now()))
    }

    /// The first time drains, the second time ends everything.
    fn terminate(&mut self, control: &Control, deadline: Duration) {
        match self.ending {
            None => {
                tracing::info!(seconds = deadline.as_secs(), "draining");
                control.drain(deadline);
                self.ending = Some(Ending {
                    by: Instant::now() + deadline + GRACE,
                    forced: false,
                });
            }
            Some(Ending { forced: false, .. }) => self.force(control),
            Some(Ending { forced: true, .. }) => {}
        }
    }

    fn force(&mut self, control: &Control) {
        tracing::info!("ending every session now");
        control.stop_cores();
        self.ending = Some(Ending {
            by: Instant::now() + GRACE,
            forced: true,
        });
    }

    /// A gate with a core less would take connections that nobody serves: all end.
    fn ended(&mut self, core: usize, fault: Option<String>, control: &Control) {
        self.left -= 1;
        if let Some(fault) = fault {
            tracing::error!(core, fault, "core failed");
            self.why = StopReason::Fault;
        }
        if self.ending.is_none() && self.left > 0 {
            self.force(control);
        }
    }

    /// False when the cores are given up.
    fn overdue(&mut self, control: &Control) -> bool {
        match self.ending {
            None => true,
            Some(Ending { by, .. }) if Instant::now() < by => true,
            Some(Ending { forced: false, .. }) => {
                self.force(control);
                true
            }
            Some(Ending { forced: true, .. }) => {
                tracing::error!(left = self.left, "cores do not end; leaving without them");
                self.why = StopReason::Fault;
                false
            }
        }
    }
}

/// One waiting thread for each core; returns how many there are.
fn watch_threads(threads: Vec<JoinHandle<Result<(), TurnError>>>, sender: &Sender<Event>) -> usize {
    let mut watched = 0;
    for (core, thread) in threads.into_iter().enumerate() {
        let sender = sender.clone();
        let wait = move || {
            let fault = match thread.join() {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("panic".to_owned()),
            };
            if sender.send(Event::CoreEnded { core, fault }).is_err() {
                tracing::debug!(core, "ended after the gate");
            }
        };
        match std::thread::Builder::new().name(format!("wait-{core}")).spawn(wait) {
            Ok(_) => watched += 1,
            Err(error) => tracing::error!(core, %error, "cannot wait for a core"),
        }
    }
    watched
}
