//! `postern token inspect`: what the gate would say to a token, claim by claim and rule by rule. Judged by the very code that
//! judges when serving; the single checks are the functions that the judgement asks.

mod report;

#[cfg(test)]
mod tests;

use std::io::Read;

use postern_policy::authenticate::{Arrival, Source};
use postern_policy::decide::Replication;
use postern_policy::explain::{Inquiry, Presented, explain};

use super::arguments::Inspect;
use super::certificate::Certificate;
use super::shown_token::{self, Failure, Judged, Keys};
use super::{Exit, Terminal, policy, say};
use crate::control::clock::utc_now;
use crate::in_force::InForce;
use crate::time::Utc;
use report::Report;

pub fn run(arguments: &Inspect, input: &mut dyn Read, terminal: &mut Terminal<'_>) -> Exit {
    match inspect(arguments, input) {
        Ok(report) => say(terminal.out, report.exit(), format_args!("{report}")),
        Err(Failure { exit, words }) => say(terminal.err, exit, format_args!("{words}")),
    }
}

fn inspect(arguments: &Inspect, input: &mut dyn Read) -> Result<Report, Failure> {
    let in_force = policy::in_force(&arguments.directory)?;
    let now = arguments.at.map_or_else(utc_now, |moment| moment.0);
    let certificate = match &arguments.cert {
        Some(path) => Some(Certificate::read(path, &in_force, now)?),
        None => None,
    };
    let fingerprint = certificate.as_ref().and_then(Certificate::fingerprint).copied();
    let token = shown_token::read(arguments.token.as_deref(), input)?;
    let shown = shown_token::examine(&token, &in_force, Keys::of(arguments.jwks.as_deref(), arguments.fetch))?;
    let mut report = Report::default();
    report.token(&shown, &in_force, now, fingerprint.as_ref());
    let judged = shown.judge(&in_force, now, fingerprint);
    report.judgement(&judged, &in_force.snapshot, now);
    if let (Some(user), Some(database)) = (&arguments.user, &arguments.database) {
        let arrival = arrival(arguments, user, database);
        rules(&mut report, &in_force, arrival, certificate.as_ref(), &judged, now);
    }
    Ok(report)
}

fn arrival<'a>(arguments: &'a Inspect, user: &'a str, database: &'a str) -> Arrival<'a> {
    Arrival {
        listener: &arguments.listener,
        tls: true,
        source: Source::Ip(arguments.from),
        database,
        user,
    }
}

/// Rule by rule, of a token whose signature is known to be good or not to be.
fn rules(
    report: &mut Report,
    in_force: &InForce,
    arrival: Arrival<'_>,
    certificate: Option<&Certificate>,
    judged: &Judged,
    now: Utc,
) {
    if matches!(judged, Judged::Unchecked(_)) {
        return report.unexplained();
    }
    let names = certificate.map(Certificate::names).unwrap_or_default();
    let inquiry = Inquiry {
        arrival,
        certificate: certificate.map_or(Presented::None, |certificate| certificate.presented(&names)),
        scram: false,
        assertion: judged.asserted(),
        replication: Replication::No,
        now,
    };
    report.explained(&explain(&in_force.snapshot, &inquiry));
}
