//! Failed proofs, counted by source network and by name: shared by all cores, in memory that never grows.
//!
//! A network (IPv4 /24, IPv6 /64; all Unix sockets together) that fails too often is refused for a while. A name never is:
//! by name only the answer to a failed proof is delayed, or else a stranger could lock a real user out by failing in the
//! user's name. Successes clear nothing, or else one good account would buy any number of guesses at others.
//!
//! Who is refused stands in a table under the network's full name, with a count of its own: nobody is ever refused in the
//! place of another, whatever others do. The table has room for 65,536 networks, eight in each set. Where a set is full the
//! one that failed least is forgotten for the next, and where all of it are refused the next one is not: it is delayed,
//! and told as [`Room::Short`]. So that one site, whose 65,536 IPv6 networks are free, cannot fill the table by itself, its
//! /48 is counted beside each /64 and refused as a whole behind [`NETWORKS_OF_A_SITE`] times as many failures.
//!
//! What delays is counted in count-min sketches under a random key: never less than the truth, and more than it by what
//! falls into the same cells. So that a flood does not slow everybody, [`SHARE`] times what a cell holds on average is
//! taken off: by Markov's inequality more than that of others is in one cell of four, and in all four of a network or a
//! name in less than one of 256. Whom that hits waits at most `delay_max` for the answer to a proof that failed, and not
//! at all for one that is good. Who does fail during a flood is delayed later, by as much as was taken off.
//!
//! Counts decay by halves that take turns: failures are added to the newer half, both are read together, and when a window
//! is over the older one is forgotten. So nothing is ever swept or counted down, and a failure counts for one window at
//! least and for less than two. Both halves of a cell stand in one word beside the number of the window: a cell turns by
//! itself, in the very exchange that adds to it, and no failure is lost in between.

mod halves;
mod network;
mod refusals;
mod sketch;

use std::time::Duration;

use aws_lc_rs::hmac;
use postern_policy::authenticate::Source;

use crate::config;
use crate::time::Mono;

use halves::{Halves, Window};
use network::Network;
pub use refusals::Room;
use refusals::{Limit, Refusals, SETS};
use sketch::{Places, Sketch, Total, WIDTH};

/// A site is refused behind so many times the failures that its networks may have: by then one neighbour who fails is not
/// the reason, where a provider gives /64s of one /48 to many.
const NETWORKS_OF_A_SITE: u64 = 16;

/// Failures of others that are taken off before anybody is delayed, in averages of a cell.
const SHARE: u64 = 4;

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
    /// What is held while failures are counted, however many there are: a little more than 3 MiB.
    pub const MEMORY: usize = 2 * sketch::BYTES + refusals::BYTES;

    /// `seed`: random, so that nobody can choose names or networks that share cells.
    pub fn new(config: &config::Failures, seed: [u8; 16]) -> Self {
        Self {
            counting: config.enabled.then(|| Counting::new(config, &seed)),
        }
    }

    /// Counts a proof that failed.
    pub fn failed(&self, source: Source, name: &str, now: Mono) -> Room {
        match &self.counting {
            Some(counting) => counting.failed(source, name, now),
            None => Room::Enough,
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
    in_all: Total,
    refusals: Refusals,
}

/// Where something is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spot {
    places: Places,
    set: usize,
}

impl Counting {
    fn new(config: &config::Failures, seed: &[u8]) -> Self {
        Self {
            config: config.clone(),
            window: nanoseconds(config.window).max(1),
            key: hmac::Key::new(hmac::HMAC_SHA256, seed),
            networks: Sketch::default(),
            names: Sketch::default(),
            in_all: Total::default(),
            refusals: Refusals::default(),
        }
    }

    fn failed(&self, source: Source, name: &str, now: Mono) -> Room {
        let window = self.window_of(now);
        self.names.add(self.spot_of_name(name).places, window);
        self.in_all.add(window);
        if self.is_exempt(source) {
            return Room::Enough;
        }
        let network = Network::of(source);
        let spot = self.spot_of_network(network);
        self.networks.add(spot.places, window);
        let after = u64::from(self.config.refuse_after);
        let room = self.count_exactly(spot, network, now, after);
        match network.site() {
            None => room,
            Some(site) => {
                // No half counts further.
                let after = after.saturating_mul(NETWORKS_OF_A_SITE).min(Halves::MOST);
                room.and(self.count_exactly(self.spot_of_network(site), site, now, after))
            }
        }
    }

    fn count_exactly(&self, spot: Spot, network: Network, now: Mono, after: u64) -> Room {
        let until = now.0.saturating_add(nanoseconds(self.config.refuse_for));
        let limit = Limit { after, until };
        self.refusals
            .failed(spot.set, network, self.window_of(now), now.0, limit)
    }

    fn refuses(&self, source: Source, now: Mono) -> bool {
        if !self.refusals.any(now.0) || self.is_exempt(source) {
            return false;
        }
        let network = Network::of(source);
        let mut counted = [Some(network), network.site()].into_iter().flatten();
        counted.any(|network| {
            let set = self.spot_of_network(network).set;
            self.refusals.refuses(set, network, now.0)
        })
    }

    fn delay(&self, source: Source, name: &str, now: Mono) -> u64 {
        let window = self.window_of(now);
        let by_network = match self.is_exempt(source) {
            true => 0,
            false => {
                let network = self.spot_of_network(Network::of(source));
                self.networks.count(network.places, window)
            }
        };
        let by_name = self.names.count(self.spot_of_name(name).places, window);
        let of_others = self.in_all.count(window).saturating_mul(SHARE) / WIDTH as u64;
        let free = u64::from(self.config.delay_after) + of_others;
        match by_network.max(by_name).checked_sub(free + 1) {
            None => 0,
            // More doublings than these reach every longest delay.
            Some(doublings) => milliseconds(self.config.delay)
                .saturating_mul(1 << doublings.min(32))
                .min(milliseconds(self.config.delay_max)),
        }
    }

    /// Whether what comes from there counts by name alone, even where its /24 or /64 is refused for others.
    fn is_exempt(&self, source: Source) -> bool {
        match source {
            Source::Ip(ip) => {
                let ip = ip.to_canonical();
                self.config.exempt.iter().any(|network| network.contains(&ip))
            }
            Source::Unix => false,
        }
    }

    fn window_of(&self, now: Mono) -> Window {
        Window::new(now.0 / self.window)
    }

    fn spot_of_network(&self, network: Network) -> Spot {
        self.spot(network.kind(), network.bits())
    }

    fn spot_of_name(&self, name: &str) -> Spot {
        self.spot(b"name", name.as_bytes())
    }

    fn spot(&self, kind: &[u8; 4], what: &[u8]) -> Spot {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(kind);
        context.update(what);
        let tag = context.sign();
        let mut pairs = tag.as_ref().as_chunks().0.iter();
        let mut next = || pairs.next().map_or(0, |pair| usize::from(u16::from_be_bytes(*pair)));
        Spot {
            places: core::array::from_fn(|_| next() % WIDTH),
            set: next() % SETS,
        }
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
