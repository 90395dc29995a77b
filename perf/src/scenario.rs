//! What is run, and against whom.

use serde::{Deserialize, Serialize};

/// One way to load a server.
#[derive(Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub title: &'static str,
    pub load: Load,
    pub transport: Transport,
    pub width: Width,
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
        width: Width::Wide,
        prepared: false,
    }
}

pub const SCENARIOS: [Scenario; 6] = [
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
    pgbench(
        "connect-8",
        "8 clients, `-S -C` (a login for each transaction)",
        &["-S", "-C", "-c", "8", "-j", "2"],
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
    Haproxy,
}

impl Target {
    pub const ALL: [Self; 5] = [
        Self::Direct,
        Self::Postern,
        Self::PgbouncerSession,
        Self::PgbouncerTransaction,
        Self::Haproxy,
    ];
    /// Whom Postern is compared with in proxy CPU.
    pub const PEERS: [Self; 3] = [Self::PgbouncerSession, Self::PgbouncerTransaction, Self::Haproxy];

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
            Self::Haproxy => "HAProxy, TCP",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_is_first_in_one_of_five_rounds() {
        let mut first: Vec<_> = (0..5).filter_map(|round| Target::rotated(round).next()).collect();
        first.dedup();
        assert_eq!(first, Target::ALL);
        assert_eq!(Target::rotated(3).count(), 5);
    }
}
