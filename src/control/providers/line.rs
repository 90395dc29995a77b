//! The way into the runtime from other threads: a bounded queue, the newest list of providers, and a bell.
//!
//! Senders never block, and only the first of a burst makes a system call. The bell is a socket pair, since the runtime
//! knows no wake-ups from other threads unless it is built with them, and then every task of it pays.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crossbeam_queue::ArrayQueue;

use super::plan::Plan;
use super::{Ask, Busy};

pub struct Line {
    asks: ArrayQueue<Ask>,
    plans: Mutex<Option<Vec<Plan>>>,
    rung: AtomicBool,
    bell: UnixStream,
}

impl Line {
    /// The line, and the end of the bell that the runtime reads. `places`: questions that may wait.
    pub fn new(places: usize) -> io::Result<(Self, UnixStream)> {
        let (bell, heard) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        heard.set_nonblocking(true)?;
        let line = Self {
            asks: ArrayQueue::new(places),
            plans: Mutex::default(),
            rung: AtomicBool::new(false),
            bell,
        };
        Ok((line, heard))
    }

    pub fn ask(&self, ask: Ask) -> Result<(), Busy> {
        self.asks.push(ask).map_err(|_| Busy)?;
        self.ring();
        Ok(())
    }

    /// Replaces a list that the runtime has not taken yet.
    pub fn set(&self, plans: Vec<Plan>) {
        *self.plans.lock().unwrap_or_else(PoisonError::into_inner) = Some(plans);
        self.ring();
    }

    /// Called by the runtime before it empties the line: what is sent from here on rings again.
    pub fn awake(&self) {
        // A swap, not a store: it must come before the look into the queue.
        self.rung.swap(false, Ordering::AcqRel);
    }

    pub fn next(&self) -> Option<Ask> {
        self.asks.pop()
    }

    pub fn plans(&self) -> Option<Vec<Plan>> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn ring(&self) {
        if self.rung.swap(true, Ordering::AcqRel) {
            return;
        }
        // There is room: at most two bytes are ever under way.
        if let Err(error) = (&self.bell).write(&[1]) {
            tracing::error!(%error, "the providers' thread cannot be woken");
        }
    }
}
