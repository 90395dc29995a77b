//! Whose certificate counts, and that a resumed handshake is judged as a full one is.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::support::authority::Authority;
use crate::support::clients::psql;
use crate::support::gate::Gate;
use crate::support::place::wait_for;
use crate::support::policy::{REVOKED_SERIAL, grant};
use crate::support::record::at;
use crate::support::servers::Server;
use crate::support::stranger::startup;
use crate::support::tls_stranger::{arrive, configuration};

/// Both authorities are accepted; the identity's common name means something from one of them only.
#[test]
fn a_common_name_of_another_accepted_authority() {
    let gate = Gate::before(Server::of_version(15).database());
    let partners = Authority::new("partners");
    let place = &gate.place;
    let root = place.write("pki/partners.pem", partners.pem());
    let ours = gate.policy.corp.client_named(place, "ours", "orders", &[], 11);
    let theirs = partners.client_named(place, "theirs", "orders", &[], 12);
    let clerk = partners.client_named(place, "clerk", "clerk", &[], 13);
    let identities = format!(
        "[provider.partners]\nkind = \"certificates\"\nroots = [{:?}]\n\
         [identity.orders]\nkeys = [{{ provider = \"corp\", common_name = \"orders\" }}]\n\
         [identity.clerk]\nkeys = [{{ provider = \"partners\", common_name = \"clerk\" }}]\n",
        root.display().to_string()
    );
    let granted = grant("two", &["orders", "clerk"], &gate.database, "");
    gate.policy.drop_in("two", &(identities + &granted));
    wait_for("orders is let in", Duration::from_secs(5), || {
        psql(&gate.by_card("orders", &ours), "select 1").ok.then_some(())
    });
    psql(&gate.by_card("clerk", &clerk), "select 1").well();

    let said = psql(&gate.by_card("orders", &theirs), "select 1").ill();
    assert!(said.contains("certificate authentication failed"), "{said}");
    let attempt = gate.record.attempt_with("outcome", "denied");
    assert_eq!(at(&attempt, "reason"), "certificate_unknown", "{attempt}");
}

#[test]
fn two_uris_are_no_name() {
    let gate = Gate::before(Server::of_version(15).database());
    for (serial, uris) in [
        (20, ["spiffe://corp/billing", "spiffe://corp/nobody"]),
        (21, ["https://corp/x", "spiffe://corp/billing"]),
    ] {
        let card = gate
            .policy
            .corp
            .client_named(&gate.place, &format!("two-{serial}"), "two", &uris, serial);
        psql(&gate.by_card("billing", &card), "select 1").ill();
        let attempt = gate.record.attempt_with("outcome", "denied");
        assert_eq!(at(&attempt, "reason"), "certificate_unknown", "{uris:?}");
        assert_eq!(gate.record.events("attempt").len(), usize::from(serial - 19));
    }
}

/// The ticket is still good, the certificate behind it is not.
#[test]
fn a_session_resumed_after_its_certificate_was_revoked() {
    let gate = Gate::before(Server::of_version(18).database());
    let configuration = configuration(&gate.ca, &gate.policy.cards.billing);
    assert_eq!(first_of_answer(&gate, &configuration), b'R');
    assert_eq!(first_of_answer(&gate, &configuration), b'R');
    let attempt = gate.record.attempt_with("tls.resumed", "true");
    assert_eq!(at(&attempt, "outcome"), "permitted", "{attempt}");

    let revoked = gate.policy.corp.crl(2, &[1, REVOKED_SERIAL]);
    gate.place.write("pki/corp.crl", revoked);
    gate.takes(|gate| gate.signal("HUP"));
    assert_eq!(first_of_answer(&gate, &configuration), b'E');
    let attempt = gate.record.attempt_with("outcome", "denied");
    assert_eq!(at(&attempt, "reason"), "certificate_revoked", "{attempt}");
    assert_eq!(at(&attempt, "tls.resumed"), "true", "{attempt}");
}

fn first_of_answer(gate: &Gate, configuration: &Arc<ClientConfig>) -> u8 {
    let mut stream = arrive(gate.ports.certificates, configuration);
    let startup = startup(&[("user", "billing"), ("database", &gate.database.name)]);
    stream.write_all(&startup).expect("hands are shaken");
    let mut first = [0];
    stream.read_exact(&mut first).expect("an answer");
    first[0]
}
