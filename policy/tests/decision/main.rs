//! The snapshot's decision against a slow one that reads the model as a person would, on thousands of random policies.

mod claims;
mod explanation;
mod random;
mod reference;

use postern_policy::authenticate::{Arrival, Source};
use postern_policy::decide::{Facts, Permit, Refusal};
use postern_policy::id::ProviderId;
use postern_policy::identity::CertificateNames;
use postern_policy::model::Model;
use postern_policy::snapshot::Snapshot;
use postern_policy::time::Utc;

use random::{Question, Random};

/// Policies in one run; each is asked many times.
const POLICIES: u64 = 1_500;
const QUESTIONS: u64 = 60;

#[test]
fn decisions_agree_with_the_model() {
    let mut seen = Seen::default();
    for seed in 0..POLICIES {
        let mut random = Random::new(seed);
        let model = random.model();
        let snapshot = Snapshot::of(&model, seed).unwrap();
        for _ in 0..QUESTIONS {
            let question = random.question(&model);
            let got = decide(&snapshot, &question);
            let wanted = reference::decide(&model, &question);
            assert_eq!(
                in_names(&snapshot, got),
                wanted,
                "seed {seed}\n{question:#?}\n{model:#?}"
            );
            seen.count(&wanted);
            explanation::agrees(&snapshot, &question, got);
            if let Ok(permit) = got {
                holds_until_the_recheck(&snapshot, &question, permit, &mut random);
            }
        }
    }
    seen.assert_everything_occurred();
}

/// Time alone changes nothing before `recheck_at`: same grant, same re-check.
fn holds_until_the_recheck(snapshot: &Snapshot, question: &Question, permit: Permit, random: &mut Random) {
    const CENTURY: i64 = 100 * 365 * 86_400 * 1_000_000;
    let end = permit.recheck_at().map_or(question.now.0 + CENTURY, |at| at.0);
    assert!(end > question.now.0, "a re-check that is due already");
    let between = [question.now.0 + 1, random.between(question.now.0, end), end - 1];
    for moment in between
        .into_iter()
        .filter(|moment| (question.now.0..end).contains(moment))
    {
        let later = Question {
            now: Utc(moment),
            ..question.clone()
        };
        assert_eq!(decide(snapshot, &later), Ok(permit), "at {moment}\n{question:#?}");
    }
}

fn decide(snapshot: &Snapshot, question: &Question) -> Result<Permit, Refusal> {
    snapshot.decide(&Facts {
        identity: snapshot.identity_by_name(&question.identity).unwrap(),
        proofs: question.proofs,
        subject: Some("anna"),
        groups: &question.given(snapshot),
        claims: &question.claims,
        certificate: &question.certificate,
        token_age: question.token_age,
        user: &question.user,
        database: &question.database,
        source: question.source,
        replication: question.replication,
        now: question.now,
    })
}

fn in_names(snapshot: &Snapshot, decision: Result<Permit, Refusal>) -> Result<String, String> {
    match decision {
        Ok(permit) => {
            let grant = snapshot.grant(permit.grant()).unwrap();
            assert_eq!(grant.cluster(), Some(permit.cluster()));
            assert_eq!(grant.limits(), permit.limits());
            Ok(grant.name().to_owned())
        }
        Err(Refusal::DeniedByRule(deny)) => Err(format!("denied by {}", snapshot.deny_name(deny).unwrap())),
        Err(refusal) => Err(refusal.as_str().to_owned()),
    }
}

/// How often each kind of answer came: a test that never reaches a branch proves nothing about it.
#[derive(Default)]
struct Seen(std::collections::BTreeMap<String, u64>);

impl Seen {
    fn count(&mut self, answer: &Result<String, String>) {
        let kind = match answer {
            Ok(_) => "permitted",
            Err(reason) if reason.starts_with("denied by") => "denied",
            Err(reason) => reason,
        };
        *self.0.entry(kind.to_owned()).or_default() += 1;
    }

    fn assert_everything_occurred(&self) {
        let kinds = [
            "permitted",
            "denied",
            "no_grant",
            "no_such_database_grant",
            "user_not_allowed",
            "replication_not_granted",
            "proof_missing",
            "key_bound_proof_missing",
            "wrong_network",
            "expired",
            "not_yet_valid",
            "outside_hours",
            "claims_not_met",
            "certificate_not_met",
            "token_too_old_for_grant",
        ];
        for kind in kinds {
            assert!(
                self.0.get(kind).is_some_and(|count| *count >= 50),
                "{kind}: {:?}",
                self.0
            );
        }
    }
}

#[test]
fn authentication_rules_agree_with_the_model() {
    let mut matched = [0u64; 2];
    for seed in 0..POLICIES {
        let mut random = Random::new(seed ^ 0xA0A0);
        let model = Model {
            authentication: random.rules(),
            ..Model::default()
        };
        let snapshot = Snapshot::of(&model, 1).unwrap();
        for _ in 0..20 {
            let (listener, user, database) = (random.listener(), random.user(), random.database());
            let source = random.source();
            let tls = source != Source::Unix && random.chance(2);
            let arrival = Arrival {
                listener,
                tls,
                source,
                database,
                user,
            };
            let got = snapshot.authentication_rule(&arrival);
            let wanted = reference::authentication_rule(&model, &arrival);
            assert_eq!(
                got.map(|rule| rule.name),
                wanted.map(|rule| rule.name.as_str()),
                "seed {seed}\n{arrival:#?}\n{model:#?}"
            );
            assert_eq!(got.map(|rule| rule.method), wanted.map(|rule| rule.method));
            matched[usize::from(wanted.is_some())] += 1;
            if tls && wanted.is_some_and(|rule| rule.method.uses_certificates()) {
                assert!(
                    snapshot.uses_certificates(listener),
                    "the handshake would not have asked"
                );
            }
        }
    }
    assert!(matched.iter().all(|count| *count > 1_000), "{matched:?}");
}

#[test]
fn certificates_resolve_as_the_model_says() {
    let mut seen = std::collections::BTreeMap::new();
    for seed in 0..POLICIES {
        let mut random = Random::new(seed ^ 0xCE27);
        let model = Model {
            providers: random.providers(),
            identities: random.keyed_identities(),
            ..Model::default()
        };
        let snapshot = Snapshot::of(&model, 1).unwrap();
        for _ in 0..20 {
            let certificate = random.certificate();
            let numbers: Vec<ProviderId> = snapshot
                .certificate_authorities()
                .filter(|(_, authority)| certificate.validated_by.contains(&authority.name()))
                .map(|(id, _)| id)
                .collect();
            let got = snapshot.resolve_certificate(&CertificateNames {
                fingerprint: certificate.fingerprint,
                public_key: certificate.public_key,
                validated_by: &numbers,
                uris: &certificate.uris,
                dns: &certificate.dns,
                common_names: &certificate.common_names,
            });
            let got = got.map(|id| snapshot.identity_name(id).to_owned());
            let wanted = reference::resolve(&model, &certificate);
            assert_eq!(got, wanted, "seed {seed}\n{certificate:#?}\n{model:#?}");
            *seen
                .entry(wanted.map_or_else(|unresolved| format!("{unresolved:?}"), |_| "one".to_owned()))
                .or_insert(0u64) += 1;
        }
    }
    assert!(seen.len() == 3 && seen.values().all(|count| *count > 500), "{seen:?}");
}
