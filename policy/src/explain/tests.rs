use super::*;
use crate::authenticate::Source;
use crate::sample;

fn inquiry<'a>(user: &'a str, database: &'a str, from: &str, at: &str) -> Inquiry<'a> {
    Inquiry {
        arrival: Arrival {
            listener: "outer",
            tls: true,
            source: Source::Ip(from.parse().unwrap()),
            database,
            user,
        },
        certificate: Presented::None,
        scram: true,
        assertion: Asserted::None,
        replication: Replication::No,
        now: at.parse().unwrap(),
    }
}

fn explained(inquiry: &Inquiry<'_>) -> String {
    explain(&Snapshot::of(&sample::policy(), 1).unwrap(), inquiry).to_string()
}

#[test]
fn a_permit_and_every_step_to_it() {
    let mut inquiry = inquiry("user:alice@corp", "billing", "10.0.0.9", "2026-11-23T09:30:00Z");
    inquiry.certificate = Presented::Sound(
        CertificateNames {
            fingerprint: [0; 32],
            public_key: [0xA1; 32],
            validated_by: &[],
            uris: &[],
            dns: &[],
            common_names: &[],
        },
        &crate::attributes::NONE,
    );
    assert_eq!(
        explained(&inquiry),
        "\
authentication rules
    machines: listener: wanted inner, got `outer`
  > people: matches, method certificate+scram-sha-256
identity
    user:alice@corp: the certificate has its public_key
  > user:alice@corp
denies
    lab (by everyone): network: wanted 10.66.0.0/16, got 10.0.0.9
    secret (by group people): database: wanted `secret_*`, got `billing`
    trial (by everyone): database: wanted `ops`, got `billing`
grants
  > people (by group people): holds, role reader on cluster main
decision
  permitted by grant people: role reader on cluster main; time may change this at 2026-11-23T17:00:00Z
"
    );
}

#[test]
fn a_refusal_says_what_was_wanted() {
    let saturday = inquiry("backup", "billing", "10.0.0.9", "2026-11-28T09:30:00Z");
    let explained = explained(&saturday);
    assert!(
        explained.contains("    people: user: wanted `user:*`, got `backup`\n"),
        "{explained}"
    );
    assert!(
        explained.contains("    backup (by identity): database: wanted `app`, got `billing`\n"),
        "{explained}"
    );
    assert!(
        explained.ends_with("decision\n  refused: no_such_database_grant\n"),
        "{explained}"
    );
}

#[test]
fn hours_are_told_in_their_zone() {
    let mut model = sample::policy();
    model.authentication.retain(|rule| rule.name == "rest");
    let snapshot = Snapshot::of(&model, 1).unwrap();
    let saturday = inquiry("user:alice@corp", "app", "10.0.0.9", "2026-11-28T09:30:00Z");
    let explained = explain(&snapshot, &saturday).to_string();
    assert!(
        explained.contains("hours: wanted mon 08:00 to mon 18:00 Europe/Vienna, "),
        "{explained}"
    );
    assert!(explained.contains("got sat 10:30 Europe/Vienna\n"), "{explained}");
    assert!(explained.ends_with("refused: outside_hours\n"), "{explained}");
}

#[test]
fn without_an_identity_there_is_nothing_to_decide() {
    let stranger = inquiry("nobody\u{1b}[2J", "app", "10.0.0.9", "2026-11-23T09:30:00Z");
    let explained = explained(&stranger);
    assert!(
        explained.ends_with("decision\n  refused: the rule wants SCRAM and the user is no identity's name\n"),
        "{explained}"
    );
    assert!(!explained.contains('\u{1b}'), "a client's text is escaped");
}
