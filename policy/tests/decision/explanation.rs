//! An explanation says what the decision says, and its steps lead there.

use postern_policy::authenticate::Arrival;
use postern_policy::decide::{Permit, Proofs, Refusal};
use postern_policy::explain::{Asserted, Decision, Inquiry, Presented, Step, Unidentified, explain};
use postern_policy::identity::CertificateNames;
use postern_policy::snapshot::Snapshot;

use crate::random::{METHOD_LISTENERS, Question, fingerprint_of};

pub fn agrees(snapshot: &Snapshot, question: &Question, decided: Result<Permit, Refusal>) {
    let Proofs {
        certificate,
        scram,
        token,
        webhook,
        ..
    } = question.proofs;
    let listener = match (certificate, scram, token || webhook) {
        (true, false, false) => METHOD_LISTENERS[0].0,
        (false, true, false) => METHOD_LISTENERS[1].0,
        (true, true, false) => METHOD_LISTENERS[2].0,
        (false, false, _) | (_, _, true) => return,
    };
    let explanation = explain(snapshot, &inquiry(question, listener));
    if question.proofs.scram && question.user != question.identity {
        assert!(
            matches!(
                explanation.decision,
                Decision::Unidentified(Unidentified::UserUnknown | Unidentified::Mismatch)
            ) || !question.proofs.certificate
        );
        return;
    }
    assert_eq!(explanation.identity.outcome.as_ref(), Ok(&question.identity));
    let deny = first_that_holds(&explanation.denies);
    let grant = first_that_holds(&explanation.grants);
    match (&explanation.decision, decided) {
        (
            Decision::Permitted {
                permit, grant: named, ..
            },
            Ok(decided),
        ) => {
            assert_eq!(*permit, decided);
            assert_eq!((deny, grant), (None, Some(named.as_str())), "{explanation}");
        }
        (Decision::Refused { refusal, deny: named }, Err(decided)) => {
            assert_eq!(*refusal, decided);
            assert_eq!(deny, named.as_deref(), "{explanation}");
            assert!(deny.is_some() || grant.is_none(), "{explanation}");
        }
        (explained, decided) => panic!("{explained:?} is not {decided:?}\n{explanation}"),
    }
    assert!(explanation.to_string().ends_with('\n'));
}

fn inquiry<'a>(question: &'a Question, listener: &'a str) -> Inquiry<'a> {
    Inquiry {
        arrival: Arrival {
            listener,
            tls: true,
            source: question.source,
            database: &question.database,
            user: &question.user,
        },
        certificate: Presented::Sound(
            CertificateNames {
                fingerprint: fingerprint_of(&question.identity),
                public_key: [0; 32],
                validated_by: &[],
                uris: &[],
                dns: &[],
                common_names: &[],
            },
            &question.certificate,
        ),
        scram: true,
        assertion: Asserted::None,
        replication: question.replication,
        now: question.now,
    }
}

fn first_that_holds(steps: &[Step]) -> Option<&str> {
    steps
        .iter()
        .find(|step| step.miss.is_none())
        .map(|step| step.name.as_str())
}
