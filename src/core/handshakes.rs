//! TLS handshakes on both sides of a login.

use crate::metrics::{HandshakeResult, Stage, UpstreamResult};
use crate::session::ClientTls;
use crate::tls::{Established, Handshake, HandshakeFacts, TlsError, Version};

use super::connection::Phase;
use super::line::{Side, TlsLine};
use super::run::Core;

impl Core {
    pub(super) fn client_handshake(&mut self, index: u32, bytes: &[u8]) {
        let Some((progress, out)) = self.handshake(index, Side::Client, bytes) else {
            return;
        };
        self.send_raw(index, Side::Client, &out);
        match progress {
            Ok((_, None)) => {}
            Ok((consumed, Some(Established { link, facts }))) => {
                let result = if facts.resumed {
                    HandshakeResult::Resumed
                } else {
                    HandshakeResult::Full
                };
                self.metrics().tls_handshakes.one(result);
                self.encrypt(index, Side::Client, link);
                let started = self.login(index).map(|login| login.accepted).unwrap_or_default();
                let elapsed = self.shared.clock.mono().0.saturating_sub(started.0);
                self.latencies.record(Stage::TlsHandshake, elapsed);
                self.gate(index, |gate, around| gate.handle_client_tls(around, client_tls(facts)));
                self.client_bytes(index, bytes.get(consumed..).unwrap_or_default());
            }
            Err(error) => {
                self.metrics().tls_handshakes.one(HandshakeResult::Failed);
                self.gate(index, |gate, around| gate.handle_client_tls_failed(around, &error));
            }
        }
    }

    pub(super) fn server_handshake(&mut self, index: u32, bytes: &[u8]) {
        let Some((progress, out)) = self.handshake(index, Side::Server, bytes) else {
            return;
        };
        self.send_raw(index, Side::Server, &out);
        match progress {
            Ok((_, None)) => {}
            Ok((consumed, Some(Established { link, facts }))) => {
                self.encrypt(index, Side::Server, link);
                let end_point = facts.end_point.map(Vec::into_boxed_slice);
                self.gate(index, |gate, around| {
                    gate.handle_server_tls(around, end_point, facts.certificate_shown)
                });
                let rest = bytes.get(consumed..).unwrap_or_default();
                self.in_own_buffers(index, rest, Self::server_segment);
            }
            Err(error) => {
                self.metrics().upstream_connects.one(UpstreamResult::TlsFailed);
                self.gate(index, |gate, around| gate.handle_server_tls_failed(around, &error));
            }
        }
    }

    /// One step of a handshake, and what it wants sent. A handshake that is done or has failed is taken out.
    #[allow(clippy::type_complexity)]
    fn handshake(
        &mut self,
        index: u32,
        side: Side,
        bytes: &[u8],
    ) -> Option<(Result<(usize, Option<Established>), TlsError>, Vec<u8>)> {
        let login = self.login(index)?;
        let place = match side {
            Side::Client => &mut login.client_handshake,
            Side::Server => &mut login.server_handshake,
        };
        let mut out = Vec::new();
        let progress = place.as_mut()?.handle(bytes, &mut out);
        match progress {
            Ok(progress) => {
                if progress.established.is_some() {
                    *place = None;
                }
                Some((Ok((progress.consumed, progress.established)), out))
            }
            Err(error) => {
                *place = None;
                Some((Err(error), out))
            }
        }
    }

    fn encrypt(&mut self, index: u32, side: Side, link: Box<crate::tls::Link>) {
        if let Some(connection) = self.table.get(index) {
            connection.line(side).tls = Some(TlsLine::new(link));
        }
    }

    pub(super) fn start_client_tls(&mut self, index: u32, ask: bool) {
        let Some(listener) = self.login(index).map(|login| login.listener) else {
            return;
        };
        let published = self.shared.published.clone();
        let tls = published.listeners.get(listener).and_then(|tls| tls.load_full());
        match tls.map(|tls| Handshake::server(&tls, ask)) {
            Some(Ok(handshake)) => {
                if let Some(login) = self.login(index) {
                    login.client_handshake = Some(handshake);
                }
            }
            Some(Err(error)) => self.gate(index, |gate, around| gate.handle_client_tls_failed(around, &error)),
            None => {
                let words = "the listener has no certificate";
                self.gate(index, |gate, around| gate.handle_client_tls_failed(around, &words));
            }
        }
    }

    pub(super) fn start_server_tls(&mut self, index: u32) {
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let Some(destination) = connection.destination.clone() else {
            return;
        };
        let Phase::Login(login) = &mut connection.phase else {
            return;
        };
        let mut hello = Vec::new();
        let started = destination
            .tls
            .as_ref()
            .map(|tls| Handshake::client(tls, &destination.host, &mut hello));
        match started {
            Some(Ok(handshake)) => {
                login.server_handshake = Some(handshake);
                self.send_raw(index, Side::Server, &hello);
            }
            Some(Err(error)) => self.gate(index, |gate, around| gate.handle_server_tls_failed(around, &error)),
            None => {
                let words = "the cluster's TLS is not set up";
                self.gate(index, |gate, around| gate.handle_server_tls_failed(around, &words));
            }
        }
    }
}

fn client_tls(facts: HandshakeFacts) -> ClientTls {
    let version = match facts.version {
        Version::Tls12 => crate::audit::TlsVersion::V1_2,
        Version::Tls13 => crate::audit::TlsVersion::V1_3,
    };
    ClientTls {
        facts: crate::audit::TlsFacts {
            version,
            cipher: facts.cipher,
            resumed: facts.resumed,
            direct: false,
        },
        alpn: facts.alpn,
        chain: facts.peer_chain,
        end_point: facts.end_point.map(Vec::into_boxed_slice),
    }
}
