//! Every fault: one change to the good policy, and exactly what is told, so that an echo would show as well.

use super::{GOOD, changed, read, told};

/// `(old, new, told)`: a line of what is told is a part of one fault, in their order.
type Case<'a> = (&'a str, &'a str, &'a str);

fn check(cases: &[Case<'_>]) {
    for (old, new, expected) in cases {
        expect(&changed(old, new), expected);
    }
}

fn expect(text: &str, expected: &str) {
    let told = told(text);
    let fits = told
        .iter()
        .zip(expected.lines())
        .all(|(told, part)| told.contains(part));
    assert!(
        fits && told.len() == expected.lines().count(),
        "told: {told:#?}\n expected: {expected}\n in: {text}"
    );
}

#[test]
fn the_good_policy_is_good() {
    assert_eq!(
        read(GOOD)
            .map(|model| model.grants.len())
            .map_err(|faults| faults.to_string()),
        Ok(1)
    );
}

#[test]
fn shape() {
    check(&[
        (
            "[group.payments]",
            "[grup.payments]",
            "9: no group is called `payments`\n14: unknown key `grup`",
        ),
        (
            "[group.payments]",
            "[group]\npayments = 5",
            "15: group `payments` is a whole number, not a table",
        ),
        (
            "databases = [\"billing\"]",
            "databses = [\"billing\"]",
            "25: unknown key `databses`",
        ),
        (
            "databases = [\"billing\"]",
            "colour = 1\ndatabases = [\"billing\"]",
            "25: unknown key `colour`",
        ),
        (
            "databases = [\"billing\"]",
            "databases = \"billing\"",
            "25: `databases` is a list of strings, not a string",
        ),
        (
            "databases = [\"billing\"]",
            "databases = [5]",
            "25: `databases` is a list of strings, not a whole number",
        ),
        (
            "databases = [\"billing\"]",
            "databases = []",
            "25: `databases` is empty",
        ),
        (
            "databases = [\"billing\"]",
            "databases = [\"a\", \"a\"]",
            "25: `a` stands here twice",
        ),
        ("databases = [\"billing\"]", "", "23: `databases` is missing"),
        (
            "cluster = \"main\"",
            "cluster = true",
            "26: `cluster` is a string, not `true` or `false`",
        ),
        ("cluster = \"main\"", "", "23: `cluster` is missing"),
        (
            "password_file = \"/run/secrets/billing\"",
            "password = \"x\"",
            "21: unknown key `password`",
        ),
        ("name = \"people\"", "", "34: `name` is missing"),
        ("method = \"scram-sha-256\"", "", "34: `method` is missing"),
    ]);
}

#[test]
fn names_across_the_policy() {
    check(&[
        (
            "identities = [\"svc:billing\"]",
            "identities = [\"svc:biling\"]",
            "24: no identity is called `svc:biling`",
        ),
        (
            "identities = [\"svc:billing\"]",
            "groups = [\"payment\"]",
            "24: no group is called `payment`",
        ),
        (
            "cluster = \"main\"",
            "cluster = \"man\"",
            "26: no cluster is called `man`",
        ),
        (
            "role = \"billing_rw\"",
            "role = \"billing\"",
            "27: cluster `main` has no role `billing`",
        ),
        (
            "groups = [\"payments\"]",
            "groups = [\"payments\", \"x\"]",
            "9: no group is called `x`",
        ),
        (
            "[group.payments]",
            "[group.payments]\nmembers = [\"bob\"]",
            "15: no identity is called `bob`",
        ),
        (
            "provider = \"corp\"",
            "provider = \"corpo\"",
            "8: no provider is called `corpo`",
        ),
        ("[identity.alice]", "[identity.\"al ice\"]", "11: a name has no spaces"),
        (
            "[identity.alice]",
            "[identity.alice]\naliases = [\"svc:billing\"]",
            "12: `svc:billing` is the name of another",
        ),
        (
            "[identity.alice]",
            "[identity.alice]\naliases = [\"alice\"]",
            "12: `alice` is the identity's own name",
        ),
    ]);
    let long = "a".repeat(64);
    check(&[
        (
            "databases = [\"billing\"]",
            &format!("databases = [\"{long}\"]"),
            "25: a name of 64 bytes; 63 at most",
        ),
        (
            "[identity.alice]",
            &format!("[identity.alice]\naliases = [\"{long}\"]"),
            "12: a name of 64 bytes; 63",
        ),
        (
            "[identity.alice]",
            &format!("[identity.{long}]"),
            "12: a name of 64 bytes cannot be the user",
        ),
        (
            "[cluster.main.role.billing_rw]",
            &format!("[cluster.main.role.{long}]"),
            "20: a name of 64 bytes; 63 at most\n27: cluster `main` has no role `billing_rw`",
        ),
    ]);
}

#[test]
fn providers() {
    check(&[
        (
            "kind = \"certificates\"",
            "kind = \"certs\"",
            "3: no kind of provider is called `certs`",
        ),
        ("kind = \"certificates\"", "", "2: `kind` is missing"),
        (
            "kind = \"certificates\"\nroots = [\"ca.pem\"]",
            "kind = \"certificates\"",
            "2: `roots` is missing",
        ),
        (
            "trust_domains = [\"corp\"]",
            "trust_domains = [\"Corp\"]",
            "5: `Corp` is not a trust domain\n8: the provider does not",
        ),
    ]);
    let provider = |more: &str| {
        changed(
            "trust_domains = [\"corp\"]",
            &format!("trust_domains = [\"corp\"]\n{more}"),
        )
    };
    for (more, expected) in [
        ("crl = \"needed\"", "6: `needed` is not one of `optional`, `required`"),
        ("crl = \"required\"", "6: lists are required, but there are no `crls`"),
        ("crl_max_age = \"7d\"", "6: has no effect unless `crl = \"required\"`"),
        (
            "crls = [\"crl.pem\"]\ncrl = \"required\"\ncrl_max_age = \"1s\"",
            "8: 1s is out of range",
        ),
        (
            "crls = [\"ca.pem\"]\ncrl = \"required\"",
            "6: ca.pem: has no revocation list",
        ),
        (
            "crls = [\"missing\"]",
            "6: cannot read missing: No such file or directory",
        ),
        (
            "[provider.x]\nkind = \"certificates\"\nroots = [\"ca.pem\"]",
            "8: a root of provider `corp` as well",
        ),
    ] {
        expect(&provider(more), expected);
    }
    assert_eq!(
        told(&provider(
            "crls = [\"crl.pem\"]\ncrl = \"required\"\ncrl_max_age = \"7d\""
        )),
        Vec::<String>::new()
    );
}

#[test]
fn roots() {
    for (file, expected) in [
        ("missing.pem", "cannot read missing.pem: No such file or directory"),
        (
            "leaf.pem",
            "leaf.pem: `CN=rcgen self signed cert` is not the certificate of an authority",
        ),
        ("key.pem", "key.pem: has a private key in it"),
        ("torn.pem", "torn.pem: malformed PEM"),
        ("garbage.der", "garbage.der: a root is not an X.509 certificate"),
        ("empty.pem", "empty.pem: has no certificate in it"),
        ("crl.pem", "crl.pem: has no certificate in it"),
    ] {
        let told = told(&GOOD.replace("ca.pem", file));
        assert!(
            told.len() == 2 && told.iter().all(|fault| fault.contains(expected)),
            "{file}: {told:#?}"
        );
    }
}

#[test]
fn keys_of_identities() {
    let key = "{ provider = \"corp\", spiffe = \"spiffe://corp/ns/prod/sa/billing\" }";
    let sha = "0a".repeat(32);
    check(&[
        (key, "{}", "8: a key that binds nothing"),
        (key, "{ provider = \"corp\" }", "8: a key that binds nothing"),
        (
            key,
            "{ dns = \"a.b\" }",
            "8: `dns` means nothing without its `provider`",
        ),
        (key, "{ provider = \"corp\", dns = \"*.b\" }", "8: `*.b` has a wildcard"),
        (
            key,
            "{ provider = \"corp\", dns = \"a\", common_name = \"a\" }",
            "8: `dns` and `common_name` in one key",
        ),
        (
            key,
            "{ provider = \"corp\", common_name = \"\" }",
            "8: a common name is empty",
        ),
        (
            key,
            "{ provider = \"corp\", uri = \"spiffe://corp/x\" }",
            "8: a SPIFFE ID stands at `spiffe`",
        ),
        (key, "{ provider = \"corp\", uri = \"x\" }", "8: `x` is not a URI"),
        (
            key,
            "{ provider = \"corp\", spiffe = \"https://x/y\" }",
            "8: `https://x/y` is not a SPIFFE ID",
        ),
        (
            key,
            "{ provider = \"corp\", spiffe = \"spiffe://other/y\" }",
            "8: the provider does not speak for trust domain",
        ),
        (
            key,
            "{ provider = \"corp\", spiffe = \"spiffe://corp/y*\" }",
            "8: `*` in `spiffe://corp/y*` is not a whole",
        ),
        (key, "{ certificate_sha256 = \"0a0b\" }", "8: 4 hexadecimal digits"),
        (
            key,
            &format!("{{ provider = \"corp\", certificate_sha256 = \"{sha}\" }}"),
            "8: `certificate_sha256` is trusted",
        ),
        (
            key,
            &format!("{{ public_key_sha256 = \"{sha}\" }}, {{ public_key_sha256 = \"{sha}\" }}"),
            "8: the same key twice",
        ),
        (
            "[identity.alice]",
            &format!("[identity.bob]\nkeys = [{key}]\n[identity.alice]"),
            "8: identity `bob` has the same key",
        ),
        (
            "scram = \"SCRAM-SHA-256$4096",
            "scram = \"SCRAM-SHA-256$8192",
            "12: a verifier with 8192 iterations, but",
        ),
        (
            "scram = \"SCRAM-SHA-256$4096",
            "scram = \"SCRAM-SHA-256$1",
            "12: 1 is out of range\n12: a verifier with 1 iter",
        ),
        (
            "scram = \"SCRAM-SHA-256$4096",
            "scram = \"md5",
            "12: not a SCRAM verifier",
        ),
        (":AQEBAQEBAQEBAQEBAQEBAQ==$", ":AQEBAQ==$", "12: a salt of 4 bytes"),
        (
            "[group.payments]",
            "[identity.nobody]\n[group.payments]",
            "14: nothing proves this identity",
        ),
    ]);
    let pinned = |name: &str| format!("[identity.{name}]\nkeys = [{{ certificate_sha256 = \"{sha}\" }}]\n");
    assert_eq!(
        told(&format!("{GOOD}{}{}", pinned("x"), pinned("y"))),
        ["40: identity `x` has the same key"]
    );
}

#[test]
fn clusters() {
    let cluster = |more: &str| changed("endpoints = [\"db:5432\"]\nroots = [\"ca.pem\"]", more);
    for (text, expected) in [
        (
            "",
            "16: `endpoints` is missing\n16: `verify-full` has nothing to verify the server with",
        ),
        (
            "endpoints = [\"db:5432\"]",
            "16: `verify-full` has nothing to verify the server with",
        ),
        (
            "endpoints = [\"db\"]\nroots = [\"ca.pem\"]",
            "17: `db` is not an endpoint",
        ),
        (
            "endpoints = [\"db:1\", \"db:1\"]\nroots = [\"ca.pem\"]",
            "17: `db:1` stands here twice",
        ),
        (
            "endpoints = [\"db:1\"]\ntls = \"prefer\"",
            "18: `prefer` is not one of `disable`, `require`",
        ),
        (
            "endpoints = [\"db:1\"]\ntls = \"disable\"\nroots = [\"ca.pem\"]",
            "19: has no effect with `tls = \"disable\"`",
        ),
        (
            "endpoints = [\"db:1\"]\ntls = \"disable\"\nserver_name = \"x\"",
            "19: has no effect",
        ),
        (
            "endpoints = [\"db:1\"]\nroots = [\"ca.pem\"]\npinned_key_sha256 = \"PIN\"",
            "18: has no effect beside `pinned_key_sha256`",
        ),
        (
            "endpoints = [\"db:1\"]\ntls = \"require\"\ncommon_name = \"x\"",
            "19: has no effect with `tls = \"require\"`",
        ),
        (
            "endpoints = [\"db:1\"]\nroots = [\"ca.pem\"]\nserver_name = \"a b\"",
            "19: `a b` is not a host name",
        ),
        (
            "endpoints = [\"db:1\"]\nroots = [\"none.pem\"]",
            "18: cannot read none.pem",
        ),
        (
            "endpoints = [\"db:1\"]\npinned_key_sha256 = \"0a\"",
            "18: 2 hexadecimal digits",
        ),
        (
            "endpoints = [\"unix:/run/x\"]\ntls = \"require\"",
            "18: there is no TLS on Unix sockets",
        ),
        (
            "endpoints = [\"db:1\"]\nroots = [\"ca.pem\"]\nconnect_timeout = \"1h\"",
            "19: 1h is out of range",
        ),
        (
            "endpoints = [\"db:1\"]\nroots = [\"ca.pem\"]\nlogin_timeout = 5",
            "19: `login_timeout` is a string, not a whole",
        ),
        (
            "endpoints = [\"db:1\"]\nroots = [\"ca.pem\"]\ntenant = \"a b\"",
            "19: a name has no spaces",
        ),
    ] {
        expect(&cluster(&text.replace("PIN", &"0a".repeat(32))), expected);
    }
    for good in [
        "endpoints = [\"unix:/run/x\"]",
        "endpoints = [\"db:1\"]\ntls = \"disable\"",
        "endpoints = [\"db:1\"]\ntls = \"require\"",
    ] {
        assert_eq!(told(&cluster(good)), Vec::<String>::new(), "{good}");
    }
}

#[test]
fn roles_of_clusters() {
    let role = "password_file = \"/run/secrets/billing\"";
    check(&[
        (role, "", "20: no way to log in"),
        (
            role,
            "methods = [\"scram-sha-256\"]",
            "21: `scram-sha-256` needs a `password_file`",
        ),
        (
            role,
            "methods = [\"certificate\"]",
            "21: `certificate` needs a `certificate_file`",
        ),
        (role, "methods = [\"kerberos\"]", "21: `kerberos` is not one of"),
        (
            role,
            "certificate_file = \"c\"",
            "21: a certificate without a `key_file`",
        ),
        (
            role,
            "key_file = \"c\"\nmethods = [\"trust\"]",
            "21: a key without a `certificate_file`",
        ),
        (role, "password_file = \"\"", "21: a path is empty"),
        (
            role,
            "password_file = \"/run/secrets/open\"",
            "21: cannot use /run/secrets/open: readable by others",
        ),
        (
            role,
            "password_file = \"x\"\nmethods = [\"trust\"]",
            "21: none of the role's `methods` uses a password",
        ),
    ]);
    let clear = changed(
        "roots = [\"ca.pem\"]\n\n[cluster.main.role.billing_rw]",
        "tls = \"require\"\n\n[cluster.main.role.billing_rw]\nmethods = [\"password\"]",
    );
    assert_eq!(
        told(&clear),
        ["21: a cleartext password is sent only to a server verified with `tls = \"verify-full\"`"]
    );
    let sent = changed(role, "certificate_file = \"c\"\nkey_file = \"k\"")
        .replace("\nroots = [\"ca.pem\"]\n\n[cluster", "\ntls = \"disable\"\n\n[cluster");
    assert_eq!(told(&sent).len(), 1, "{:?}", told(&sent));
    assert!(told(&sent)[0].starts_with("21: a client certificate is sent only under TLS"));
    for good in [
        "methods = [\"trust\"]",
        "certificate_file = \"c\"\nkey_file = \"k\"",
        "password_file = \"x\"\nmethods = [\"password\"]",
    ] {
        assert_eq!(told(&changed(role, good)), Vec::<String>::new(), "{good}");
    }
}

#[test]
fn grants() {
    let grant = |more: &str| changed("role = \"billing_rw\"", &format!("role = \"billing_rw\"\n{more}"));
    for (more, expected) in [
        (
            "access = \"read\"",
            "28: `read` is not one of `read-only`, `read-write`",
        ),
        ("networks = [\"10.0.0.1/8\"]", "28: `10.0.0.1/8` has host bits set"),
        ("networks = [\"ten\"]", "28: `ten` is not a network"),
        ("unix = false", "28: `unix = false` says nothing"),
        ("everyone = false", "28: `everyone = false` says nothing"),
        (
            "not_before = \"2026-01-01\"",
            "28: `not_before` is a moment like 2026-11-23T08:00:00Z, without quotes, not a string",
        ),
        (
            "not_before = 2026-01-01T00:00:00",
            "28: `2026-01-01T00:00:00` does not say when it is everywhere",
        ),
        (
            "not_before = 2026-01-01T00:00:00Z\nnot_after = 2026-01-01T00:00:00Z",
            "29: 2026-01-01T00:00:00Z is not after",
        ),
        ("hours = [{}]", "28: hours that leave nothing out"),
        (
            "hours = [{ from = \"08:00\", to = \"08:00\" }]",
            "28: `from` and `to` are the same: never open",
        ),
        ("hours = [{ days = [\"monday\"] }]", "28: `monday` is not one of `mon`"),
        ("hours = [{ from = \"8\" }]", "28: `8` is not a time of day"),
        (
            "hours = [{ days = [\"mon\"], zone = \"Europe/Berln\" }]",
            "28: no time zone is called `Europe/Berln`",
        ),
        ("hours = { days = [\"mon\"] }", "28: `hours` is a list of tables"),
        ("hours = [5]", "28: `hours` is a list of tables"),
        ("proofs = [\"cert\"]", "28: `cert` is not one of `certificate`, `scram`"),
        (
            "proofs = [\"certificate\", \"scram\"]",
            "24: identity `svc:billing` cannot give both\n28: no authentication rule asks for both a certificate and SCRAM",
        ),
        (
            "replication = \"yes\"",
            "28: `yes` is not one of `no`, `database`, `physical`",
        ),
        ("sessions = 0", "28: 0 is out of range"),
        ("sessions = -1", "28: -1 is out of range"),
        ("sessions = 99999999999", "28: 99999999999 is out of range"),
        ("session_length = \"8\"", "28: `8` is not a duration"),
        ("idle = \"400d\"", "28: 400d is out of range"),
        ("settings = { role = \"x\" }", "28: `role` cannot be set"),
        (
            "settings = { \"Postern.identity\" = \"x\" }",
            "28: `postern.identity` cannot be set",
        ),
        (
            "settings = { work_mem = 1.5 }",
            "28: the value of a setting is a string",
        ),
        (
            "settings = { work_mem = \"1\", WORK_MEM = \"2\" }",
            "28: `work_mem` stands here twice",
        ),
        (
            "access = \"read-only\"\nsettings = { default_transaction_read_only = \"off\" }",
            "29: `access = \"read-only\"` sets",
        ),
    ] {
        expect(&grant(more), expected);
    }
    let huge = format!("settings = {{ search_path = \"{}\" }}", "x".repeat(5_000));
    assert_eq!(told(&grant(&huge)), ["28: settings of 5013 bytes; 4096 at most"]);
    assert_eq!(
        told(&changed("identities = [\"svc:billing\"]", "")),
        ["23: it is about nobody"]
    );
    let scram = changed(
        "identities = [\"svc:billing\"]",
        "identities = [\"svc:billing\"]\nproofs = [\"scram\"]",
    );
    assert_eq!(told(&scram), ["24: identity `svc:billing` cannot give SCRAM"]);
    let bound = changed(
        "identities = [\"svc:billing\"]",
        "identities = [\"alice\"]\nkey_bound = true",
    );
    assert_eq!(
        told(&bound),
        ["24: identity `alice` cannot give a proof bound to a key"]
    );
}

#[test]
fn denies() {
    let deny = |text: &str| told(&format!("{GOOD}[deny.x]\n{text}"));
    assert_eq!(
        deny("everyone = true\nnetworks = [\"192.0.2.0/24\"]"),
        Vec::<String>::new()
    );
    assert_eq!(deny("databases = [\"x\"]"), ["37: it is about nobody"]);
    assert_eq!(
        deny("identities = [\"x\"]\nrole = \"y\""),
        ["38: no identity is called `x`", "39: unknown key `role`"]
    );
    assert_eq!(deny("everyone = true\nhours = []"), ["39: `hours` is empty"]);
}

#[test]
fn authentication() {
    check(&[
        (
            "transport = \"tls\"",
            "transport = \"any\"",
            "32: `certificate` needs TLS, and the rule's transport is `any`\n34: rule `people` is never reached",
        ),
        ("transport = \"tls\"", "transport = \"tcp\"", "31: `tcp` is not one of"),
        (
            "name = \"people\"",
            "name = \"services\"",
            "35: another rule is called `services`",
        ),
        (
            "name = \"people\"",
            "name = \"people\"\ntransport = \"tls\"",
            "34: rule `people` is never reached: `services`",
        ),
        (
            "name = \"people\"",
            "name = \"people\"\nscram_iterations = 1000",
            "36: 1000 is out of range",
        ),
        (
            "name = \"people\"",
            "name = \"people\"\nscram_iterations = 8192",
            "12: a verifier with 4096 iterations",
        ),
        (
            "name = \"people\"",
            "name = \"people\"\nusers = [\"b*\"]\nscram_iterations = 8192",
            "",
        ),
        (
            "transport = \"tls\"",
            "transport = \"tls\"\nscram_iterations = 4096",
            "32: the rule's method has no use",
        ),
        (
            "name = \"people\"",
            "name = \"people\"\ntransport = \"unix\"\nnetworks = [\"10.0.0.0/8\"]",
            "37: a Unix-socket peer",
        ),
        (
            "name = \"people\"",
            "name = \"people\"\nlisteners = [\"a b\"]",
            "36: a name has no spaces",
        ),
        (
            "name = \"people\"",
            "name = \"people\"\nusers = [\"a*b\"]",
            "36: `*` may stand alone or at the end",
        ),
    ]);
    let none = GOOD.split("[[authentication]]").next().unwrap_or_default();
    assert_eq!(
        told(none),
        ["1: there are grants but no authentication rule: nobody could get in"]
    );
    assert!(
        told(&format!("authentication = 5\n{none}"))[0]
            .contains("`authentication` is a whole number, not a list of rules")
    );
}

#[test]
fn an_earlier_rule_for_the_same_users_decides_which_iterations_they_see() {
    let earlier = "[[authentication]]\nname = \"legacy\"\nmethod = \"scram-sha-256\"\nusers = [\"alice\"]\n\n";
    let text = changed("name = \"people\"", "name = \"people\"\nscram_iterations = 8192").replace(
        "[[authentication]]\nname = \"people\"",
        &format!("{earlier}[[authentication]]\nname = \"people\""),
    );
    assert_eq!(told(&text), Vec::<String>::new());
    let elsewhere = text.replace("users = [\"alice\"]", "users = [\"alice\"]\nlisteners = [\"internal\"]");
    assert_eq!(
        told(&elsewhere).len(),
        1,
        "the later rule is reached through another listener"
    );
}

#[test]
fn ties() {
    let grants = |a: &str, b: &str| {
        let target = "cluster = \"main\"\nrole = \"billing_rw\"\n";
        let rest = format!("databases = [\"x\"]\n{target}");
        told(&format!(
            "{GOOD}[grant.a]\n{}{a}\n[grant.b]\n{}{b}\n",
            with_databases(a, &rest),
            with_databases(b, &rest)
        ))
    };
    let id = "identities = [\"svc:billing\"]";
    let ro = "\naccess = \"read-only\"";
    let ties = |a: &str, b: &str| grants(a, &format!("{b}{ro}")).len();
    for (a, b, expected) in [
        (id, id, 1),
        (id, "groups = [\"payments\"]", 0),
        ("groups = [\"payments\"]", "groups = [\"payments\"]", 1),
        ("everyone = true", "everyone = true", 1),
        ("everyone = true", "groups = [\"payments\"]", 0),
        (id, "identities = [\"alice\"]", 0),
        (
            "databases = [\"x*\"]\neveryone = true",
            "databases = [\"x\"]\neveryone = true",
            0,
        ),
        (
            "databases = [\"x*\"]\neveryone = true",
            "databases = [\"x*\", \"y\"]\neveryone = true",
            1,
        ),
        (
            "everyone = true\nnetworks = [\"10.0.0.0/8\"]",
            "everyone = true\nnetworks = [\"10.1.0.0/16\"]",
            1,
        ),
        (
            "everyone = true\nnetworks = [\"10.0.0.0/8\"]",
            "everyone = true\nnetworks = [\"192.0.2.0/24\"]",
            0,
        ),
        (
            "everyone = true\nnetworks = [\"10.0.0.0/8\"]",
            "everyone = true\nunix = true",
            0,
        ),
        ("everyone = true\nunix = true", "everyone = true\nunix = true", 1),
        (
            "everyone = true\nnot_after = 2026-01-01T00:00:00Z",
            "everyone = true\nnot_before = 2026-01-01T00:00:00Z",
            0,
        ),
        (
            "everyone = true\nnot_after = 2026-01-02T00:00:00Z",
            "everyone = true\nnot_before = 2026-01-01T00:00:00Z",
            1,
        ),
        (
            "everyone = true\nhours = [{ to = \"12:00\" }]",
            "everyone = true\nhours = [{ from = \"12:00\" }]",
            0,
        ),
        (
            "everyone = true\nhours = [{ to = \"12:01\" }]",
            "everyone = true\nhours = [{ from = \"12:00\" }]",
            1,
        ),
        (
            "everyone = true\nhours = [{ to = \"12:00\" }]",
            "everyone = true\nhours = [{ from = \"12:00\", zone = \"Europe/Berlin\" }]",
            1,
        ),
    ] {
        assert_eq!(ties(a, b), expected, "{a} | {b}: {:#?}", grants(a, &format!("{b}{ro}")));
    }
    assert_eq!(
        grants(id, id),
        Vec::<String>::new(),
        "equal effect: the smaller name counts"
    );
    assert_eq!(
        grants(id, &format!("{id}{ro}")),
        ["42: it and grant `a` both give identity `svc:billing` database `x`, with a different access"]
    );
}

/// The grant's own databases where it has some, else those of `rest`.
fn with_databases(grant: &str, rest: &str) -> String {
    match grant.contains("databases") {
        true => rest
            .split_once('\n')
            .map(|(_, target)| target.to_owned())
            .unwrap_or_default(),
        false => rest.to_owned(),
    }
}

#[test]
fn groups_meet_in_an_identity() {
    let base = format!("{GOOD}[group.one]\n[group.two]\n");
    let grant = |name: &str, group: &str, more: &str| {
        format!(
            "[grant.{name}]\ngroups = [\"{group}\"]\ndatabases = [\"x\"]\ncluster = \"main\"\nrole = \"billing_rw\"\n{more}"
        )
    };
    let grants = grant("a", "one", "") + &grant("b", "two", "sessions = 5\n");
    assert_eq!(
        told(&format!("{base}{grants}")),
        Vec::<String>::new(),
        "nobody is in both"
    );
    let both = "[identity.bob]\ngroups = [\"one\", \"two\"]\nkeys = [{ provider = \"corp\", dns = \"b\" }]\n";
    let found = told(&format!("{base}{grants}{both}"));
    assert!(
        found.len() == 1 && found[0].contains("identity `bob` (by its groups)"),
        "{found:#?}"
    );
    let named = grants.replace("groups = [\"one\"]", "groups = [\"one\"]\nidentities = [\"bob\"]");
    assert_eq!(
        told(&format!("{base}{named}{both}")),
        Vec::<String>::new(),
        "one names the identity itself"
    );
}
