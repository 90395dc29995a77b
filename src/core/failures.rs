//! Failed proofs, counted by source network and by name: shared by all cores without a lock, in memory that never grows.
//!
//! A network (IPv4 /24, IPv6 /64; all Unix sockets together) that fails too often is refused for a while. A name never is:
//! by name only the answer to a failed proof is delayed, or else a stranger could lock a real user out by failing in the
//! user's name. Successes clear nothing, or else one good account would buy any number of guesses at others.
//!
//! Counts are kept in count-min sketches under a random key: never less than the truth, and more than it by what falls
//! into the same cells. Behind `n` failures of everybody else together that is more than `2.72 · n / 16,384` for one
//! network in 55 (e⁻⁴) at most. So that a flood from many networks does not refuse the others, what a cell holds on average
//! is taken off before anybody is refused; a network that does fail gets that much further, and no more. Nobody is refused
//! in the place of others but a network whose four cells are all theirs: while `r` networks are refused, a share of
//! `(1 - e^(-r / 16,384))⁴` of the innocent ones, less than one in a hundred thousand for 900.
//!
//! Counts decay by halves that take turns: failures are added to the newer half, both are read together, and when a window
//! is over the older one is forgotten. So nothing is ever swept or counted down, and a failure counts for one window at
//! least and for less than two. Both halves of a cell stand in one word beside the number of the window: a cell turns by
//! itself, in the very exchange that adds to it, and no failure is lost in between.

mod sketch;

use core::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::hmac;
use postern_policy::authenticate::Source;

use crate::config;
use crate::time::Mono;

use sketch::{Moments, Places, Sketch, Total, WIDTH, Window};

/// How an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Free,
    /// The answer to a failed proof waits for so many milliseconds.
    Delay(u64),
    /// Nothing is asked.
    Refuse,
}

/// The failures of one process.
pub struct Failures {
    /// `None`: switched off.
    counting: Option<Counting>,
}

impl Failures {
    /// What is held while failures are counted, however many there are: 1.5 MiB.
    pub const MEMORY: usize = 3 * sketch::BYTES;

    /// `seed`: random, so that nobody can choose names or networks that share cells.
    pub fn new(config: &config::Failures, seed: [u8; 16]) -> Self {
        Self {
            counting: config.enabled.then(|| Counting::new(config, &seed)),
        }
    }

    /// Counts a proof that failed.
    pub fn failed(&self, source: Source, name: &str, now: Mono) {
        if let Some(counting) = &self.counting {
            counting.failed(source, name, now);
        }
    }

    /// How an attempt from there in this name stands.
    pub fn verdict(&self, source: Source, name: &str, now: Mono) -> Verdict {
        match (self.refuses(source, now), self.delay(source, name, now)) {
            (true, _) => Verdict::Refuse,
            (false, 0) => Verdict::Free,
            (false, delay) => Verdict::Delay(delay),
        }
    }

    /// Whether nobody from there is asked for a proof now.
    pub fn refuses(&self, source: Source, now: Mono) -> bool {
        let counting = self.counting.as_ref();
        counting.is_some_and(|counting| counting.refuses(source, now))
    }

    /// Milliseconds that the answer to a failed proof waits.
    pub fn delay(&self, source: Source, name: &str, now: Mono) -> u64 {
        let counting = self.counting.as_ref();
        counting.map_or(0, |counting| counting.delay(source, name, now))
    }
}

struct Counting {
    config: config::Failures,
    /// Nanoseconds.
    window: u64,
    key: hmac::Key,
    networks: Sketch,
    names: Sketch,
    /// Until when networks are refused.
    refused: Moments,
    of_all_networks: Total,
}

impl Counting {
    fn new(config: &config::Failures, seed: &[u8]) -> Self {
        Self {
            config: *config,
            window: nanoseconds(config.window).max(1),
            key: hmac::Key::new(hmac::HMAC_SHA256, seed),
            networks: Sketch::default(),
            names: Sketch::default(),
            refused: Moments::default(),
            of_all_networks: Total::default(),
        }
    }

    fn failed(&self, source: Source, name: &str, now: Mono) {
        let window = self.window_of(now);
        let network = self.places_of_network(source);
        self.networks.add(network, window);
        self.names.add(self.places_of_name(name), window);
        self.of_all_networks.add(window);
        let of_others = self.of_all_networks.count(window) / WIDTH as u64;
        let own = self.networks.count(network, window).saturating_sub(of_others);
        if own > u64::from(self.config.refuse_after) {
            let until = now.0.saturating_add(nanoseconds(self.config.refuse_for));
            self.refused.raise(network, until);
        }
    }

    fn refuses(&self, source: Source, now: Mono) -> bool {
        now.0 < self.refused.latest(self.places_of_network(source))
    }

    fn delay(&self, source: Source, name: &str, now: Mono) -> u64 {
        let window = self.window_of(now);
        let by_network = self.networks.count(self.places_of_network(source), window);
        let by_name = self.names.count(self.places_of_name(name), window);
        let free = u64::from(self.config.delay_after);
        match by_network.max(by_name).checked_sub(free + 1) {
            None => 0,
            // More doublings than these reach every longest delay.
            Some(doublings) => milliseconds(self.config.delay)
                .saturating_mul(1 << doublings.min(32))
                .min(milliseconds(self.config.delay_max)),
        }
    }

    fn window_of(&self, now: Mono) -> Window {
        Window::new(now.0 / self.window)
    }

    fn places_of_network(&self, source: Source) -> Places {
        match source {
            Source::Unix => self.places(b"unix", &[]),
            Source::Ip(ip) => match ip.to_canonical() {
                IpAddr::V4(ip) => self.places(b"ipv4", ip.octets().get(..3).unwrap_or_default()),
                IpAddr::V6(ip) => self.places(b"ipv6", ip.octets().get(..8).unwrap_or_default()),
            },
        }
    }

    fn places_of_name(&self, name: &str) -> Places {
        self.places(b"name", name.as_bytes())
    }

    fn places(&self, kind: &[u8; 4], what: &[u8]) -> Places {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(kind);
        context.update(what);
        let tag = context.sign();
        let mut places = Places::default();
        for (place, bytes) in places.iter_mut().zip(tag.as_ref().as_chunks().0) {
            *place = usize::from(u16::from_be_bytes(*bytes)) % WIDTH;
        }
        places
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "failures/tests.rs"]
mod tests;
