//! `postern explain`: what the policy would answer to one attempt, and why.
//!
//! Certificate, rule and decision are judged by the very code that judges when serving.

use std::fs;
use std::path::Path;

use postern_policy::authenticate::{Arrival, Source};
use postern_policy::decide;
use postern_policy::explain::{Asserted, Decision, Inquiry, Presented, explain};
use postern_policy::identity::CertificateNames;
use postern_policy::snapshot::Snapshot;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::arguments::{Explain, From, Proof, Replication};
use super::{Exit, Terminal, say};
use crate::control::clock::utc_now;
use crate::control::load::{self, Secrets};
use crate::identity::certificate::{CertificateRefusal, Evidence, Trust, examine, resolve};
use crate::time::Utc;

pub fn run(arguments: &Explain, terminal: &mut Terminal<'_>) -> Exit {
    let bad = |terminal: &mut Terminal<'_>, text: String| say(terminal.err, Exit::BadInput, format_args!("{text}"));
    let (snapshot, trust) = match load(&arguments.directory) {
        Ok(loaded) => loaded,
        Err(text) => return bad(terminal, text),
    };
    let chain = match arguments.cert.as_deref().map(read_chain).transpose() {
        Ok(chain) => chain,
        Err(text) => return bad(terminal, text),
    };
    let now = arguments.at.map_or_else(utc_now, |moment| moment.0);
    let shown = chain.map(|chain| Shown::of(&snapshot, &trust, &chain, now));
    let lists = shown.as_ref().map(Lists::of);
    let explanation = explain(&snapshot, &inquiry(arguments, shown.as_ref(), lists.as_ref(), now));
    let exit = match explanation.decision {
        Decision::Permitted { .. } => Exit::Ok,
        Decision::Unidentified(_) | Decision::Refused { .. } => Exit::Found,
    };
    say(terminal.out, exit, format_args!("{explanation}"))
}

fn load(directory: &Path) -> Result<(Snapshot, Trust), String> {
    let model = load::model(directory, Secrets::Later).map_err(|fault| fault.faults(directory).to_string())?;
    let snapshot = Snapshot::of(&model, 0).map_err(|fault| fault.to_string())?;
    let trust = Trust::of(&snapshot).map_err(|fault| fault.to_string())?;
    Ok((snapshot, trust))
}

/// PEM, or one certificate in DER.
pub(super) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{}: {error}", path.display()))?;
    match (chain.is_empty(), bytes.first()) {
        (false, _) => Ok(chain),
        // An ASN.1 SEQUENCE.
        (true, Some(0x30)) => Ok(vec![CertificateDer::from(bytes)]),
        (true, _) => Err(format!("{}: holds no certificate", path.display())),
    }
}

/// What the certificate shows. Whose it is, the explanation says.
enum Shown {
    Sound(Box<Evidence>),
    Refused(CertificateRefusal),
}

impl Shown {
    fn of(snapshot: &Snapshot, trust: &Trust, chain: &[CertificateDer<'_>], now: Utc) -> Self {
        let evidence = match examine(trust, chain, now) {
            Ok(evidence) => evidence,
            Err(refusal) => return Self::Refused(refusal),
        };
        match resolve(snapshot, evidence.clone()) {
            Ok(_) | Err(CertificateRefusal::Unknown | CertificateRefusal::Ambiguous) => Self::Sound(Box::new(evidence)),
            Err(refusal) => Self::Refused(refusal),
        }
    }
}

/// The names of a certificate as the policy takes them.
struct Lists<'a> {
    uris: Vec<&'a str>,
    dns: Vec<&'a str>,
    common_names: Vec<&'a str>,
}

impl<'a> Lists<'a> {
    fn of(shown: &'a Shown) -> Self {
        let texts = |names: &'a [String]| names.iter().map(String::as_str).collect();
        match shown {
            Shown::Refused(_) => Self {
                uris: Vec::new(),
                dns: Vec::new(),
                common_names: Vec::new(),
            },
            Shown::Sound(evidence) => {
                let facts = evidence.facts();
                Self {
                    uris: texts(&facts.uris),
                    dns: texts(&facts.dns),
                    common_names: texts(&facts.common_names),
                }
            }
        }
    }
}

fn inquiry<'a>(
    arguments: &'a Explain,
    shown: Option<&'a Shown>,
    lists: Option<&'a Lists<'a>>,
    now: Utc,
) -> Inquiry<'a> {
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
        certificate: match (shown, lists) {
            (Some(Shown::Refused(refusal)), _) => Presented::Refused(refusal.as_str()),
            (Some(Shown::Sound(evidence)), Some(lists)) => {
                Presented::Sound(names(evidence, lists), &evidence.facts().attributes)
            }
            (Some(Shown::Sound(_)) | None, _) => Presented::None,
        },
        scram: arguments.proof.contains(&Proof::Scram),
        assertion: Asserted::None,
        replication: match arguments.replication {
            None => decide::Replication::No,
            Some(Replication::Database) => decide::Replication::Database,
            Some(Replication::Physical) => decide::Replication::Physical,
        },
        now,
    }
}

fn names<'a>(evidence: &'a Evidence, lists: &'a Lists<'a>) -> CertificateNames<'a> {
    let facts = evidence.facts();
    CertificateNames {
        fingerprint: facts.fingerprint,
        public_key: facts.public_key,
        validated_by: evidence.validated_by(),
        uris: &lists.uris,
        dns: &lists.dns,
        common_names: &lists.common_names,
    }
}
