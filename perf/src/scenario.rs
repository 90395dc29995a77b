//! What is run, and against whom.

use serde::{Deserialize, Serialize};

/// One way to load a server.
#[derive(Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub title: &'static str,
    pub load: Load,
    pub transport: Transport,
    /// What clients show Postern; its peers know nothing but SCRAM.
    pub proof: Proof,
    pub width: Width,
    /// Every transaction has a connection of its own.
    pub logs_in: bool,
    /// Named prepared statements: PgBouncer knows them in transaction mode from 1.21 on.
    pub prepared: bool,
}

#[derive(Debug)]
pub enum Load {
    /// Arguments of pgbench besides the duration.
    Pgbench(&'static [&'static str]),
    /// `COPY ... TO STDOUT` of rows of 1,000 characters.
    CopyOut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Plain,
    /// Between client and proxy; the proxy's own connection to the server is plain.
    Tls,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    Scram,
    /// A client certificate and, as password, a token that is bound to it.
    CertificateAndToken,
}

/// How much of the machine there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Width {
    /// Client, proxy and server share one CPU; the proxy has one thread.
    OneCpu,
    /// All CPUs; proxies that can use several threads do.
    Wide,
}

impl Width {
    pub fn name(self) -> &'static str {
        match self {
            Self::OneCpu => "one-cpu",
            Self::Wide => "wide",
        }
    }
}

const fn pgbench(name: &'static str, title: &'static str, arguments: &'static [&'static str]) -> Scenario {
    Scenario {
        name,
        title,
        load: Load::Pgbench(arguments),
        transport: Transport::Plain,
        proof: Proof::Scram,
        width: Width::Wide,
        logs_in: false,
        prepared: false,
    }
}

const fn login(name: &'static str, title: &'static str, transport: Transport, proof: Proof) -> Scenario {
    Scenario {
        transport,
        proof,
        logs_in: true,
        ..pgbench(name, title, &["-S", "-C", "-c", "8", "-j", "2"])
    }
}

impl Scenario {
    /// Against whom it is run. Whether a pooler has its server connection already matters to logins alone.
    pub fn targets(&self) -> impl Iterator<Item = Target> {
        Target::ALL
            .into_iter()
            .filter(|target| self.logs_in || *target != Target::PgbouncerFresh)
    }
}

pub const SCENARIOS: [Scenario; 8] = [
    Scenario {
        width: Width::OneCpu,
        prepared: true,
        ..pgbench(
            "one-client",
            "1 client, `-S -M prepared`, everything on one CPU",
            &["-S", "-M", "prepared", "-c", "1"],
        )
    },
    Scenario {
        prepared: true,
        ..pgbench(
            "select-32",
            "32 clients, `-S -M prepared`",
            &["-S", "-M", "prepared", "-c", "32", "-j", "2"],
        )
    },
    pgbench("tpcb-16", "16 clients, TPC-B", &["-c", "16", "-j", "2"]),
    login(
        "connect-8",
        "8 clients, `-S -C` (a login for each transaction)",
        Transport::Plain,
        Proof::Scram,
    ),
    login("connect-tls-8", "8 clients, `-S -C`, TLS", Transport::Tls, Proof::Scram),
    login(
        "connect-token-8",
        "8 clients, `-S -C`, TLS: client certificate and token at Postern, SCRAM at the others",
        Transport::Tls,
        Proof::CertificateAndToken,
    ),
    Scenario {
        prepared: true,
        transport: Transport::Tls,
        ..pgbench(
            "tls-32",
            "32 clients, `-S -M prepared`, TLS",
            &["-S", "-M", "prepared", "-c", "32", "-j", "2"],
        )
    },
    Scenario {
        load: Load::CopyOut,
        ..pgbench("copy-out", "COPY OUT, one client", &[])
    },
];

/// Where the clients connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Direct,
    Postern,
    PgbouncerSession,
    PgbouncerTransaction,
    /// In session mode, and a server connection serves one client only, as with Postern and HAProxy.
    PgbouncerFresh,
    Haproxy,
}

impl Target {
    pub const ALL: [Self; 6] = [
        Self::Direct,
        Self::Postern,
        Self::PgbouncerSession,
        Self::PgbouncerTransaction,
        Self::PgbouncerFresh,
        Self::Haproxy,
    ];
    /// Whom Postern is compared with in proxy CPU.
    pub const PEERS: [Self; 4] = [
        Self::PgbouncerSession,
        Self::PgbouncerTransaction,
        Self::PgbouncerFresh,
        Self::Haproxy,
    ];

    /// All of them, beginning with another one each round.
    pub fn rotated(round: usize) -> impl Iterator<Item = Self> {
        (0..Self::ALL.len()).map(move |at| Self::ALL[(at + round) % Self::ALL.len()])
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Postern => "Postern",
            Self::PgbouncerSession => "PgBouncer, session",
            Self::PgbouncerTransaction => "PgBouncer, transaction",
            Self::PgbouncerFresh => "PgBouncer, new server connections",
            Self::Haproxy => "HAProxy, TCP",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_is_first_in_one_of_six_rounds() {
        let mut first: Vec<_> = (0..6).filter_map(|round| Target::rotated(round).next()).collect();
        first.dedup();
        assert_eq!(first, Target::ALL);
        assert_eq!(Target::rotated(3).count(), 6);
    }
}
