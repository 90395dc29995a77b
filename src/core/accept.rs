//! The door: accepting, choosing a core, and a connection's first moment there.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::audit::{Attempt, Outcome as Came, Peer, Reason, Record};
use crate::ring::{Errno, Slot, socket};
use crate::session::{Entrance, Gate};
use crate::time::Mono;
use crate::wire::error::Report;
use crate::wire::proxy_protocol::{self, Origin, ProxyProtocolError};
use crate::wire::sqlstate::SqlState;

use super::connection::{Connection, Front, Login, Phase};
use super::line::{Side, Socket};
use super::places::Place;
use super::reference::SessionReference;
use super::run::{Core, Operation, tag};

/// After accepting failed for want of descriptors or memory, milliseconds.
const ACCEPT_PAUSE: u64 = 50;

impl Core {
    pub(super) fn start_accepting(&mut self) {
        self.accepting = true;
        for listener in 0..self.shared.entrances.len() {
            self.accept_on(listener as u32);
        }
        self.shared.lifecycle.core_accepts();
    }

    fn accept_on(&mut self, listener: u32) {
        let tag = tag(Operation::Accept, Side::Client, listener, 0);
        self.ring.accept_multishot(Slot(listener), tag);
    }

    /// Nobody new from here on. Harmless when it is so already.
    pub(super) fn stop_accepting(&mut self) {
        if !std::mem::replace(&mut self.accepting, false) {
            return;
        }
        for listener in 0..self.shared.entrances.len() as u32 {
            let target = tag(Operation::Accept, Side::Client, listener, 0);
            self.ring
                .cancel_accept(target, tag(Operation::Cancel, Side::Client, listener, 0));
            // A listener that was never installed has nothing to close.
            let _never_installed = self
                .ring
                .close(Slot(listener), tag(Operation::Close, Side::Client, u32::MAX >> 8, 0));
        }
        self.shared.lifecycle.core_stopped();
    }

    pub(super) fn accepted(&mut self, listener: u32, more: bool, accepted: Result<OwnedFd, Errno>) {
        match accepted {
            Ok(fd) => self.choose_core(listener, fd),
            Err(errno) if errno == Errno::CANCELLED => {}
            Err(errno) => {
                self.metrics().accepts_failed.one();
                if errno.is_exhaustion() && !more {
                    self.stalled.push(listener);
                    self.accept_again = Some(self.now.after_millis(ACCEPT_PAUSE));
                    return;
                }
            }
        }
        if !more && self.accepting {
            self.accept_on(listener);
        }
    }

    /// Accepting goes on by itself once the pause is over: descriptors may be back.
    pub(super) fn accept_again(&mut self) {
        if self.accept_again.is_some_and(|at| at <= self.now) {
            self.accept_again = None;
            for listener in std::mem::take(&mut self.stalled) {
                if self.accepting {
                    self.accept_on(listener);
                }
            }
        }
    }

    fn choose_core(&mut self, listener: u32, fd: OwnedFd) {
        self.metrics().connections_accepted.one();
        match self.shared.places.reserve() {
            Some(Place { core, over }) if core == usize::from(self.id) => self.enter(listener, fd, over),
            Some(Place { core, over }) => {
                let to = self.shared.rings.get().and_then(|rings| rings.get(core)).cloned();
                let Some(to) = to else {
                    return self.shared.places.release(core);
                };
                let theirs = tag(Operation::HandOver, Side::of(u8::from(over)), listener, 0);
                let ours = tag(Operation::HandOver, Side::Client, core as u32, 0);
                self.ring.hand_over(&to, fd, theirs, ours);
            }
            None => self.refuse_at_the_door(listener, fd),
        }
    }

    pub(super) fn arrived(&mut self, tag: crate::ring::Tag, fd: OwnedFd) {
        self.enter(tag.index(), fd, tag.side() != 0);
    }

    pub(super) fn not_handed_over(&mut self, core: u32, fd: OwnedFd) {
        drop(fd);
        self.shared.places.release(core as usize);
        self.metrics().accepts_failed.one();
    }

    /// Not even a place to say no in order: the error goes out at once, and the record has it.
    fn refuse_at_the_door(&mut self, listener: u32, fd: OwnedFd) {
        let peer = peer_of(&fd);
        let mut bytes = Vec::new();
        Report::fatal(SqlState::TooManyConnections, "sorry, too many clients already").encode(&mut bytes);
        socket::write_once(&fd, &bytes);
        self.metrics().connections_refused.one();
        self.record_refusal(listener, peer, Came::Denied, Reason::OutOfPlaces);
    }

    fn record_refusal(&mut self, listener: u32, peer: Peer, outcome: Came, reason: Reason) {
        let mut attempt = Box::new(Attempt::new(self.utc, self.ids.draw(), peer, outcome, reason));
        attempt.listener = self
            .shared
            .entrances
            .get(listener as usize)
            .map(|entrance| entrance.name.clone());
        self.count_attempt(outcome, reason);
        self.shared.recorder.record(Record::Attempt(attempt));
    }

    pub(super) fn count_attempt(&self, outcome: Came, reason: Reason) {
        self.metrics().attempts.one(outcome);
        self.metrics().reasons.one(reason);
    }

    /// The place is reserved: the connection begins. `over`: only to be told that there is no room.
    fn enter(&mut self, listener: u32, fd: OwnedFd, over: bool) {
        let peer = peer_of(&fd);
        let Some(facts) = self.shared.entrances.get(listener as usize) else {
            return self.leave_place();
        };
        let proxied = facts.proxies.is_some() && matches!(peer, Peer::Ip(_));
        let (core, session, accepted) = (self.id, self.ids.draw(), self.now);
        let front = match proxied {
            true => Front::Proxy {
                held: Vec::new(),
                proxy: peer,
            },
            false => Front::Gate(Box::new(Gate::new(
                self.entrance(listener, session, peer, None, accepted, over),
            ))),
        };
        let login = Box::new(Login {
            front,
            listener: listener as usize,
            over,
            session,
            accepted,
            client_handshake: None,
            server_handshake: None,
            early: Zeroizing::default(),
            destinations: Arc::new([]),
            credential: None,
            candidate: None,
        });
        let index = self.table.insert(|index, generation| {
            Connection::new(
                SessionReference {
                    core,
                    index,
                    generation,
                },
                Phase::Login(login),
            )
        });
        let Some(index) = index else { return self.leave_place() };
        if self.open_line(index, Side::Client, fd).is_err() {
            self.metrics().accepts_failed.one();
            self.table.remove(index);
            return self.leave_place();
        }
        self.resume_receive(index, Side::Client);
        let startup = self.shared.timeouts.startup;
        self.wake(index, accepted.after_millis(startup));
    }

    fn leave_place(&self) {
        self.shared.places.release(usize::from(self.id));
    }

    fn entrance(
        &self,
        listener: u32,
        session: crate::audit::SessionId,
        peer: Peer,
        proxy: Option<Peer>,
        accepted: Mono,
        over: bool,
    ) -> Entrance {
        let facts = &self.shared.entrances[listener as usize];
        let refusing = match (over, self.draining.is_some()) {
            (true, _) => Some(Reason::OutOfPlaces),
            (false, true) => Some(Reason::Draining),
            (false, false) => None,
        };
        Entrance {
            session,
            listener: facts.name.clone(),
            tls: facts.tls,
            peer,
            proxy,
            accepted,
            startup_timeout: self.shared.timeouts.startup,
            authentication_timeout: self.shared.timeouts.authentication,
            refusing,
        }
    }

    /// A descriptor becomes the socket of a line.
    pub(super) fn open_line(&mut self, index: u32, side: Side, fd: OwnedFd) -> Result<(), Errno> {
        let slot = self.slot(index, side);
        self.ring.install(slot, fd)?;
        self.next_generation = self.next_generation.wrapping_add(1);
        let generation = self.next_generation;
        if let Some(connection) = self.table.get(index) {
            let line = connection.line(side);
            line.reset(generation);
            line.socket = Socket::Open;
        }
        Ok(())
    }

    /// Bytes where a PROXY protocol header must come first. What stands behind it is the client's.
    pub(super) fn proxy_header(&mut self, index: u32, bytes: &[u8]) {
        let Some(login) = self.login(index) else { return };
        let Front::Proxy { held, proxy } = &mut login.front else {
            return;
        };
        let proxy = *proxy;
        held.extend_from_slice(bytes);
        let (listener, session, accepted, over) = (login.listener as u32, login.session, login.accepted, login.over);
        if !self.trusts(listener, proxy) {
            return self.refuse_proxy(index, proxy, Reason::ProxyProtocolUntrusted);
        }
        let Some(Login {
            front: Front::Proxy { held, .. },
            ..
        }) = self.login(index)
        else {
            return;
        };
        match proxy_protocol::decode(held) {
            Ok(None) => {}
            Ok(Some(header)) => {
                let rest = held.get(header.consumed..).unwrap_or_default().to_vec();
                let (peer, by) = match header.origin {
                    Origin::Tcp { source, .. } => (Peer::Ip(source), Some(proxy)),
                    Origin::Local | Origin::Unix => (proxy, None),
                };
                let gate = Gate::new(self.entrance(listener, session, peer, by, accepted, over));
                if let Some(login) = self.login(index) {
                    login.front = Front::Gate(Box::new(gate));
                }
                self.client_bytes(index, &rest);
            }
            Err(ProxyProtocolError::Signature) => self.refuse_proxy(index, proxy, Reason::ProxyProtocolMissing),
            Err(
                ProxyProtocolError::VersionOrCommand(_)
                | ProxyProtocolError::Family(_)
                | ProxyProtocolError::TooLong
                | ProxyProtocolError::TooShort,
            ) => self.refuse_proxy(index, proxy, Reason::ProxyProtocolMalformed),
        }
    }

    fn trusts(&self, listener: u32, proxy: Peer) -> bool {
        let networks = self
            .shared
            .entrances
            .get(listener as usize)
            .and_then(|facts| facts.proxies.as_ref());
        match (networks, proxy) {
            (Some(networks), Peer::Ip(address)) => networks
                .iter()
                .any(|network| network.contains(&address.ip().to_canonical())),
            (Some(_), Peer::Unix { .. }) | (None, _) => true,
        }
    }

    /// Closes without a word: whoever is there does not speak the protocol that the listener demands.
    pub(super) fn refuse_proxy(&mut self, index: u32, peer: Peer, reason: Reason) {
        let Some(login) = self.login(index) else { return };
        let (listener, session) = (login.listener, login.session);
        let mut attempt = Box::new(Attempt::new(self.utc, session, peer, Came::Denied, reason));
        attempt.listener = self
            .shared
            .entrances
            .get(listener)
            .map(|entrance| entrance.name.clone());
        self.count_attempt(Came::Denied, reason);
        self.shared.recorder.record(Record::Attempt(attempt));
        self.finish(index);
    }
}

fn peer_of(fd: &OwnedFd) -> Peer {
    match socket::peer(fd) {
        Ok(socket::Peer::Tcp(address)) => {
            Peer::Ip(core::net::SocketAddr::new(address.ip().to_canonical(), address.port()))
        }
        Ok(socket::Peer::Unix { process, uid }) => Peer::Unix { process, uid },
        Err(_) => Peer::Unix {
            process: None,
            uid: None,
        },
    }
}
