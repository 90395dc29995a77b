//! `postern explain`: what the policy would answer to one attempt, and why.
//!
//! Certificate, token, rule and decision are judged by the very code that judges when serving.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use postern_policy::authenticate::{Arrival, Source};
use postern_policy::decide;
use postern_policy::explain::{self, Decision, Explanation, Inquiry, Presented, explain};
use postern_policy::model::Asked;

use super::arguments::{Explain, From, Proof, Replication};
use super::certificate::Certificate;
use super::policy;
use super::shown_token::{self, Failure, Judged, Keys};
use super::{Exit, Terminal, say};
use crate::audit::Reason;
use crate::control::clock::utc_now;
use crate::identity::webhook::{self, Asserted, Verdict};
use crate::in_force::InForce;
use crate::session;
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
    let judged = match &arguments.answer {
        Some(path) => Some(judged_answer(path, arguments, &in_force)?),
        None => judged_token(arguments, input, &in_force, now, certificate.as_ref())?,
    };
    let names = certificate.as_ref().map(Certificate::names).unwrap_or_default();
    let presented = certificate.as_ref().map(|certificate| certificate.presented(&names));
    let asserted = judged.as_ref().map_or(explain::Asserted::None, Judged::asserted);
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

/// The answer is of the webhook that the rule for the attempt asks.
fn judged_answer(path: &Path, arguments: &Explain, in_force: &InForce) -> Result<Judged, Failure> {
    let snapshot = &in_force.snapshot;
    let rule = snapshot.authentication_rule(&arrival(arguments));
    let asked = rule
        .filter(|rule| rule.method.asks() == Asked::PasswordForWebhook)
        .and_then(|rule| snapshot.provider_name(rule.providers().next()?));
    let provider = asked.ok_or_else(|| "no webhook is asked: --answer is for a rule that asks one".to_owned())?;
    let told = |fault: &dyn std::fmt::Display| format!("{}: {fault}", path.display());
    let body = std::fs::read(path).map_err(|error| told(&error))?;
    match webhook::read(&body).map_err(|fault| told(&fault))? {
        Verdict::Deny { .. } => Ok(Judged::Refused(Reason::WebhookDenied.as_str())),
        Verdict::Allow {
            subject,
            groups,
            attributes,
            ..
        } => Ok(shown_token::judged(
            session::Assertion::Webhook {
                provider: provider.into(),
                answer: Arc::new(Asserted {
                    subject,
                    groups,
                    attributes,
                    until: Utc(i64::MAX),
                }),
            },
            in_force,
        )),
    }
}

fn inquiry<'a>(
    arguments: &'a Explain,
    certificate: Presented<'a>,
    assertion: explain::Asserted<'a>,
    now: Utc,
) -> Inquiry<'a> {
    Inquiry {
        arrival: arrival(arguments),
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

fn arrival(arguments: &Explain) -> Arrival<'_> {
    Arrival {
        listener: &arguments.listener,
        tls: !arguments.plain && arguments.from != From::Unix,
        source: match arguments.from {
            From::Ip(ip) => Source::Ip(ip),
            From::Unix => Source::Unix,
        },
        database: arguments.database.as_deref().unwrap_or(&arguments.user),
        user: &arguments.user,
    }
}
