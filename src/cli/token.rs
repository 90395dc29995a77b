//! `postern token inspect`: what the gate would say to a token. Judged by the very code that judges when serving.

use std::fmt::Write as _;
use std::io::Read;

use postern_policy::authenticate::{Arrival, Source};
use postern_policy::decide::Replication;
use postern_policy::explain::{Asserted, Assertion, Decision, Inquiry, Presented, explain};
use postern_policy::id::GroupId;
use postern_policy::identity::Revocable;
use postern_policy::snapshot::Snapshot;
use zeroize::Zeroizing;

use super::arguments::Inspect;
use super::explain::read_chain;
use super::{Exit, Terminal, say};
use crate::control::clock::utc_now;
use crate::control::load::{self, Secrets};
use crate::identity::certificate::fingerprint;
use crate::identity::token::{KeySet, KnownIssuer, MAX_TOKEN, Unverified, Verified};
use crate::in_force::InForce;
use crate::time::Utc;

pub fn run(arguments: &Inspect, input: &mut dyn Read, terminal: &mut Terminal<'_>) -> Exit {
    match inspect(arguments, input) {
        Ok((report, true)) => say(terminal.out, Exit::Ok, format_args!("{report}")),
        Ok((report, false)) => say(terminal.out, Exit::Found, format_args!("{report}")),
        Err(why) => say(terminal.err, Exit::BadInput, format_args!("{why}")),
    }
}

/// What is shown, and whether the answer is yes.
fn inspect(arguments: &Inspect, input: &mut dyn Read) -> Result<(String, bool), String> {
    let in_force = policy(arguments)?;
    let token = read_token(arguments, input)?;
    let now = arguments.at.map_or_else(utc_now, |moment| moment.0);
    let certificate = match &arguments.cert {
        Some(path) => read_chain(path)?.first().map(|leaf| fingerprint(leaf)),
        None => None,
    };
    let mut report = Report::default();
    let unverified = match Unverified::parse(&token) {
        Ok(unverified) => unverified,
        Err(refusal) => return Ok(report.no("form", refusal.as_str())),
    };
    report.line("key id", unverified.key_id().unwrap_or("none"));
    report.line("issuer", unverified.issuer().unwrap_or("none"));
    let Some(known) = in_force.issuers.claimed_by(&unverified) else {
        return Ok(report.no("provider", "token_issuer_unknown"));
    };
    report.line("provider", &known.name);
    let keys = keys(arguments, known)?;
    let verified = match unverified.verify(&keys, &known.rules) {
        Ok(verified) => verified,
        Err(refusal) => return Ok(report.no("signature", refusal.as_str())),
    };
    report.yes("signature");
    report.claims(&verified);
    for (what, check) in verified.checks(&known.rules, now, certificate.as_ref()) {
        match check {
            Ok(()) => report.yes(what),
            Err(refusal) => report.fault(what, refusal.as_str()),
        }
    }
    let Some(subject) = verified.claims().only(&known.rules.subject_claim) else {
        return Ok(report.end());
    };
    let snapshot = &in_force.snapshot;
    report.identity(snapshot, known, &verified, subject);
    if let (Some(user), Some(database)) = (&arguments.user, &arguments.database) {
        let groups = groups(snapshot, known, &verified);
        let judged = verified.judge(&known.rules, now, certificate.as_ref());
        let assertion = match &judged {
            Err(refusal) => Asserted::Refused(refusal.as_str()),
            Ok(said) => Asserted::Sound(Assertion {
                provider: known.provider,
                subject: &said.subject,
                groups: &groups,
                claims: verified.claims(),
                token_age: verified.issued_at().map(|issued| age(issued, now)),
                key_bound: said.key_bound,
            }),
        };
        let explanation = explain(snapshot, &inquiry(arguments, user, database, assertion, now));
        let permitted = matches!(explanation.decision, Decision::Permitted { .. });
        report.explained(&explanation.to_string(), permitted);
    }
    Ok(report.end())
}

fn policy(arguments: &Inspect) -> Result<InForce, String> {
    let directory = &arguments.directory;
    let model = load::model(directory, Secrets::Later).map_err(|fault| fault.faults(directory).to_string())?;
    let snapshot = Snapshot::of(&model, 0).map_err(|fault| fault.to_string())?;
    InForce::new(snapshot).map_err(|fault| fault.to_string())
}

fn read_token(arguments: &Inspect, input: &mut dyn Read) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut token = Zeroizing::new(Vec::with_capacity(MAX_TOKEN + 3));
    let most = MAX_TOKEN as u64 + 3;
    let read = match &arguments.token {
        Some(path) => std::fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut token)),
        None => input.take(most).read_to_end(&mut token),
    };
    read.map_err(|error| format!("the token cannot be read: {error}"))?;
    let end = token.trim_ascii_end().len();
    token.truncate(end);
    Ok(token)
}

fn keys(arguments: &Inspect, known: &KnownIssuer) -> Result<std::sync::Arc<KeySet>, String> {
    match (&arguments.jwks, &known.inline) {
        (Some(path), _) => {
            let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let keys = KeySet::parse(&bytes).map_err(|fault| format!("{}: {fault}", path.display()))?;
            Ok(keys.into())
        }
        (None, Some(keys)) => Ok(keys.clone()),
        (None, None) => Err(format!(
            "the keys of provider {} are at a URL: fetch them and give them with --jwks",
            known.name
        )),
    }
}

fn groups(snapshot: &Snapshot, known: &KnownIssuer, verified: &Verified) -> Vec<GroupId> {
    let external = verified.groups(&known.rules);
    external
        .flat_map(|group| snapshot.mapped_groups(known.provider, group))
        .collect()
}

fn inquiry<'a>(
    arguments: &'a Inspect,
    user: &'a str,
    database: &'a str,
    assertion: Asserted<'a>,
    now: Utc,
) -> Inquiry<'a> {
    Inquiry {
        arrival: Arrival {
            listener: &arguments.listener,
            tls: true,
            source: Source::Ip(arguments.from),
            database,
            user,
        },
        certificate: Presented::None,
        scram: false,
        assertion,
        replication: Replication::No,
        now,
    }
}

fn age(from: Utc, to: Utc) -> u32 {
    u32::try_from(to.0.saturating_sub(from.0).max(0) / 1_000_000).unwrap_or(u32::MAX)
}

/// Lines for people, and whether anything was against the token.
#[derive(Default)]
struct Report {
    text: String,
    faults: usize,
}

impl Report {
    /// What came from outside is escaped.
    fn line(&mut self, what: &str, value: &str) {
        let written = writeln!(self.text, "    {what}: {}", value.escape_debug());
        debug_assert!(written.is_ok(), "a String takes everything");
    }

    fn yes(&mut self, what: &str) {
        let written = writeln!(self.text, "  ok  {what}");
        debug_assert!(written.is_ok(), "a String takes everything");
    }

    fn fault(&mut self, what: &str, reason: &str) {
        self.faults += 1;
        let written = writeln!(self.text, "  no  {what}: {reason}");
        debug_assert!(written.is_ok(), "a String takes everything");
    }

    fn no(mut self, what: &str, reason: &str) -> (String, bool) {
        self.fault(what, reason);
        self.end()
    }

    fn claims(&mut self, verified: &Verified) {
        self.text.push_str("claims\n");
        for (name, value) in verified.claims().iter() {
            self.line(&name.escape_debug().to_string(), value);
        }
        self.line("expires", &verified.expires().to_string());
        self.text.push_str("checks\n");
    }

    fn identity(&mut self, snapshot: &Snapshot, known: &KnownIssuer, verified: &Verified, subject: &str) {
        let revocable = Revocable {
            provider: known.provider,
            subject,
            token_id: verified.token_id(),
            key_id: verified.key_id(),
            issued_at: verified.issued_at(),
        };
        match snapshot.revoked(&revocable) {
            None => self.yes("not revoked"),
            Some(revocation) => self.fault("revocation", &format!("token_revoked by {revocation}")),
        }
        match snapshot.resolve_subject(known.provider, subject) {
            Ok(identity) => {
                self.yes("identity");
                self.line("identity", &snapshot.identity_name_for(identity, Some(subject)));
            }
            Err(unresolved) => self.fault("identity", &unresolved.to_string()),
        }
        for group in groups(snapshot, known, verified) {
            self.line("group", snapshot.group_name(group).unwrap_or_default());
        }
    }

    fn explained(&mut self, text: &str, permitted: bool) {
        self.faults += usize::from(!permitted);
        self.text.push_str(text);
    }

    fn end(self) -> (String, bool) {
        (self.text, self.faults == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Exit, Terminal, run as command};
    use crate::control::scratch::Scratch;
    use crate::identity::token::testing::{Mint, NOW, claims, claims_with};

    const POLICY: &str = r#"
[provider.corp]
kind = "tokens"
issuer = "https://idp.example"
audiences = ["postern"]
algorithms = ["EdDSA"]
jwks_file = "keys.json"

[identity.alice]
keys = [{ provider = "corp", subject = "alice" }]

[cluster.main]
endpoints = ["127.0.0.1:5432"]
tls = "disable"

[cluster.main.role.app]
methods = ["trust"]

[grant.app]
identities = ["alice"]
databases = ["app"]
cluster = "main"
role = "app"

[[authentication]]
name = "tokens"
transport = "tls"
method = "token"
"#;

    fn inspect(token: &str, more: &[&str]) -> (Exit, String) {
        let dir = Scratch::new();
        dir.write_mode("policy.toml", POLICY, 0o644);
        dir.write_mode("keys.json", Mint::fixed("k").jwks(), 0o644);
        let file = dir.write_mode("token", token, 0o600);
        let directory = dir.path().display().to_string();
        let (file, at) = (file.display().to_string(), NOW.to_string());
        let mut arguments = vec!["postern", "token", "inspect", &directory, "--token", &file, "--at", &at];
        arguments.extend(more);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut terminal = Terminal {
            out: &mut out,
            err: &mut err,
        };
        let exit = command(arguments.into_iter().map(Into::into), &mut terminal);
        (exit, String::from_utf8([out, err].concat()).expect("text"))
    }

    #[test]
    fn a_good_token_is_told_claim_by_claim_and_rule_by_rule() {
        let token = Mint::fixed("k").token(claims());
        let (exit, said) = inspect(&token, &["--user", "alice", "--database", "app"]);
        assert_eq!(exit, Exit::Ok, "{said}");
        for wanted in [
            "ok  signature",
            "ok  audience",
            "identity: alice",
            "permitted by grant app",
        ] {
            assert!(said.contains(wanted), "{wanted}: {said}");
        }
        assert!(!said.contains(&token), "the token is shown");
        let (exit, said) = inspect(&token, &["--user", "alice", "--database", "other"]);
        assert_eq!(exit, Exit::Found, "{said}");
    }

    #[test]
    fn every_check_that_fails_is_told() {
        let mut claims = claims_with("aud", serde_json::json!("others"));
        claims["exp"] = serde_json::json!(NOW.0 / 1_000_000 - 60);
        let (exit, said) = inspect(&Mint::fixed("k").token(claims), &[]);
        assert_eq!(exit, Exit::Found);
        assert!(said.contains("no  audience: token_wrong_audience"), "{said}");
        assert!(said.contains("no  times: token_expired"), "{said}");
        let (exit, said) = inspect("nonsense", &[]);
        assert!(exit == Exit::Found && said.contains("token_malformed"), "{said}");
    }
}
