//! Signals by descriptor: blocked in every thread, read one by one.
//!
//! TERM and INT ask for a drain (a second one ends it early), HUP for a reload. Other signals keep their meaning.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, Signal as Number};
use nix::sys::signalfd::{SfdFlags, SignalFd};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// TERM or INT.
    Terminate,
    /// HUP.
    Reload,
}

/// The signals are blocked in this thread and in all that it starts from here on.
pub struct Blocked(SigSet);

/// Call it in `main` before any thread exists: a thread without the block would take a signal and end the process.
pub fn block() -> io::Result<Blocked> {
    let mut set = SigSet::empty();
    for number in [Number::SIGTERM, Number::SIGINT, Number::SIGHUP] {
        set.add(number);
    }
    set.thread_block().map_err(io::Error::from)?;
    Ok(Blocked(set))
}

/// The thread that reads them.
pub struct SignalThread {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl SignalThread {
    /// Sends each signal to `sink`, made into the receiver's own kind of message by `into`.
    pub fn start<M: Send + 'static>(blocked: Blocked, sink: Sender<M>, into: fn(Signal) -> M) -> io::Result<Self> {
        let signals = SignalFd::with_flags(&blocked.0, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(io::Error::from)?;
        let stop =
            Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).map_err(io::Error::from)?);
        let seen = stop.clone();
        let work = move || {
            if let Err(error) = read_until_stopped(&signals, &seen, |signal| sink.send(into(signal)).is_ok()) {
                tracing::error!(%error, "signals are no longer read");
            }
        };
        let thread = std::thread::Builder::new().name("postern-signals".into()).spawn(work)?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for SignalThread {
    fn drop(&mut self) {
        let told = self.stop.write(1).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| told)
            && thread.join().is_err()
        {
            tracing::error!("the signal thread ended by a panic");
        }
    }
}

/// Ends when `stop` is written to or nobody wants the signals any more.
fn read_until_stopped(signals: &SignalFd, stop: &EventFd, mut send: impl FnMut(Signal) -> bool) -> io::Result<()> {
    loop {
        let mut waiting = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut waiting, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        if waiting.iter().skip(1).any(|stop| stop.any() == Some(true)) {
            return Ok(());
        }
        while let Some(found) = signals.read_signal().map_err(io::Error::from)? {
            if let Some(signal) = meaning(found.ssi_signo)
                && !send(signal)
            {
                return Ok(());
            }
        }
    }
}

fn meaning(number: u32) -> Option<Signal> {
    match i32::try_from(number)
        .ok()
        .and_then(|number| Number::try_from(number).ok())?
    {
        Number::SIGTERM | Number::SIGINT => Some(Signal::Terminate),
        Number::SIGHUP => Some(Signal::Reload),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use nix::sys::pthread::{pthread_kill, pthread_self};

    use super::*;

    /// The signals are aimed at a thread, so that other tests of this process never see them.
    #[test]
    fn each_signal_arrives_with_its_meaning() {
        let blocked = block().unwrap();
        let signals = SignalFd::with_flags(&blocked.0, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).unwrap();
        let stop = EventFd::new().unwrap();
        pthread_kill(pthread_self(), Number::SIGHUP).unwrap();
        pthread_kill(pthread_self(), Number::SIGTERM).unwrap();
        let mut seen = Vec::new();
        read_until_stopped(&signals, &stop, |signal| {
            seen.push(signal);
            seen.len() < 2
        })
        .unwrap();
        seen.sort_by_key(|signal| *signal == Signal::Terminate);
        assert_eq!(seen, [Signal::Reload, Signal::Terminate]);
    }

    #[test]
    fn the_thread_ends_when_it_is_dropped() {
        let (sender, receiver) = channel::<Signal>();
        let thread = SignalThread::start(block().unwrap(), sender, |signal| signal).unwrap();
        drop(thread);
        assert!(
            receiver.recv_timeout(Duration::from_secs(5)).is_err(),
            "the sender went with the thread"
        );
    }
}
