//! `postern explain`: what the policy would answer to one attempt, and why.
//!
//! Certificate, token, rule and decision are judged by the very code that judges when serving.

use std::io::Read;

use postern_policy::authenticate::{Arrival, Source};
use postern_policy::decide;
use postern_policy::explain::{Asserted, Decision, Explanation, Inquiry, Presented, explain};

use super::arguments::{Explain, From, Proof, Replication};
use super::certificate::Certificate;
use super::policy;
use super::shown_token::{self, Failure, Judged, Keys};
use super::{Exit, Terminal, say};
use crate::control::clock::utc_now;
use crate::in_force::InForce;
use crate::time::Utc;

pub fn run(arguments: &Explain, input: &mut dyn Read, terminal: &mut Terminal<'_>) -> Exit {
    let explanation = match explained(arguments, input) {
        Ok(explanation) => explanation,
        Err(Failure { exit, words }) => return say(terminal.err, exit, format_args!("{words}")),
    };
    let exit = match explanation.decision {
        Decision::Permitted { .. } => Exit::Ok,
        Decision::Unidentified(_) | Decision::Refused { .. } => Exit::Found,
    };
    say(terminal.out, exit, format_args!("{explanation}"))
}

fn explained(arguments: &Explain, input: &mut dyn Read) -> Result<Explanation, Failure> {
    let in_force = policy::in_force(&arguments.directory)?;
    let now = arguments.at.map_or_else(utc_now, |moment| moment.0);
    let certificate = match &arguments.cert {
        Some(path) => Some(Certificate::read(path, &in_force, now)?),
        None => None,
    };
    let token = judged_token(arguments, input, &in_force, now, certificate.as_ref())?;
    let names = certificate.as_ref().map(Certificate::names).unwrap_or_default();
    let presented = certificate.as_ref().map(|certificate| certificate.presented(&names));
    let asserted = token.as_ref().map_or(Asserted::None, Judged::asserted);
    let inquiry = inquiry(arguments, presented.unwrap_or(Presented::None), asserted, now);
    Ok(explain(&in_force.snapshot, &inquiry))
}

fn judged_token(
    arguments: &Explain,
    input: &mut dyn Read,
    in_force: &InForce,
    now: Utc,
    certificate: Option<&Certificate>,
) -> Result<Option<Judged>, Failure> {
    let Some(path) = &arguments.token else {
        return Ok(None);
    };
    let token = shown_token::read(Some(path), input)?;
    let examined = shown_token::examine(&token, in_force, Keys::of(arguments.jwks.as_deref(), arguments.fetch))?;
    let fingerprint = certificate.and_then(Certificate::fingerprint).copied();
    match examined.judge(in_force, now, fingerprint) {
        Judged::Unchecked(remedy) => Err(format!("the signature of the token was not checked: {remedy}").into()),
        judged => Ok(Some(judged)),
    }
}

fn inquiry<'a>(arguments: &'a Explain, certificate: Presented<'a>, assertion: Asserted<'a>, now: Utc) -> Inquiry<'a> {
    Inquiry {
        arrival: Arrival {
            listener: &arguments.listener,
            tls: !arguments.plain && arguments.from != From::Unix,
            source: match arguments.from {
                From::Ip(ip) => Source::Ip(ip),
                From::Unix => Source::Unix,
            },
            database: arguments.database.as_deref().unwrap_or(&arguments.user),
            user: &arguments.user,
        },
        certificate,
        scram: arguments.proof.contains(&Proof::Scram),
        assertion,
        replication: match arguments.replication {
            None => decide::Replication::No,
            Some(Replication::Database) => decide::Replication::Database,
            Some(Replication::Physical) => decide::Replication::Physical,
        },
        now,
    }
}
