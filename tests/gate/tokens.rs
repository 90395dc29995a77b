//! Tokens of a real issuer, through real clients: let in, turned away, bound, revoked, expired, and while the issuer fails.

use std::io::Read;
use std::time::Duration;

use postern_issuer::{Algorithm, Claims, Endpoint, Fault, Issuer, Key, Response, Token, now};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;

use crate::support::clients::{ConnectionString, Said, java, node, oauthbearer, psql, python, spawn_psql};
use crate::support::issuer::{BOTH, HOOK, OAUTH, TOKEN, TokenGate, settings};
use crate::support::place::{text_of, wait_for};
use crate::support::record::at;
use crate::support::servers::Server;

const SOON: Duration = Duration::from_secs(10);

impl TokenGate {
    fn show(&self, token: &str) -> Said {
        psql(&self.connection(TOKEN).with("password", token), "select current_user")
    }

    fn connection(&self, user: &'static str) -> ConnectionString {
        self.gate.tls(user)
    }

    /// The keys come from the issuer once the gate knows of it.
    pub fn wait(self) -> Self {
        wait_for("a good token is let in", SOON, || {
            self.show(&self.token(self.claims())).ok.then_some(())
        });
        self
    }

    #[track_caller]
    fn refused(&self, token: &str, reason: &str) {
        let complaint = self.show(token).ill();
        let told = format!("password authentication failed for user \"{TOKEN}\"");
        assert!(complaint.contains(&told), "{reason}: {complaint}");
        let attempt = self.gate.record.attempt_with("reason", reason);
        assert_eq!(at(&attempt, "outcome"), "denied", "{attempt}");
        assert_eq!(at(&attempt, "sqlstate"), "28P01", "{attempt}");
    }
}

/// A token of 7 KB, which is what a person in many groups has.
fn large(world: &TokenGate) -> String {
    let groups: Vec<String> = (0..140).map(|number| format!("group-{number:032}")).collect();
    let token = world.token(world.claims().with("groups", json!(groups)));
    assert!((7_000..9_000).contains(&token.len()), "{} bytes", token.len());
    token
}

#[test]
fn every_driver_brings_a_large_token_as_its_password() {
    for server in Server::both() {
        let world = TokenGate::before(server.database()).wait();
        let token = large(&world);
        let connection = world.connection(TOKEN).with("password", &token);
        assert_eq!(
            psql(&connection, "select current_user").well(),
            world.gate.database.name
        );
        let program = "import sys, psycopg\nprint(psycopg.connect(sys.argv[1]).execute('select 1').fetchone()[0])";
        assert_eq!(python(&connection, program).well(), "1");
        let ca = world.gate.ca.display().to_string();
        let arguments = [connection.get("port"), connection.get("dbname"), TOKEN, &token, &ca];
        assert_eq!(node(&arguments, super::clients::NODE).well(), "42 x");
        assert!(
            java(
                &super::jdbc::url(&connection),
                concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gate/Jdbc.java")
            )
            .well()
            .contains("copied 10000 true")
        );
        let attempt = world.gate.record.attempt_with("identity", "carol");
        assert_eq!(attempt["proofs"], json!(["token"]), "{attempt}");
        assert_eq!(at(&attempt, "assertion.subject"), "carol");
        assert_eq!(at(&attempt, "assertion.provider"), "idp");
    }
}

#[tokio::test]
async fn tokio_postgres_brings_one_too() {
    let world = TokenGate::before(Server::of_version(18).database()).wait();
    let mut config = tokio_postgres::Config::new();
    config
        .host("127.0.0.1")
        .port(world.gate.ports.passwords)
        .user(TOKEN)
        .password(large(&world))
        .dbname(&world.gate.database.name)
        .ssl_mode(tokio_postgres::config::SslMode::Require);
    let tls = tokio_postgres_rustls::MakeRustlsConnect::new(super::clients::trusting(&world.gate));
    let (client, driver) = config.connect(tls).await.expect("let in");
    super::clients::add_numbers(client, driver).await;
}

/// libpq 18 itself: it asks where to get a token, and comes back with one.
#[test]
fn libpq_18_speaks_oauthbearer() {
    for server in Server::both() {
        let world = TokenGate::before(server.database()).wait();
        let connection = world
            .connection(OAUTH)
            .with("oauth_issuer", world.issuer.url())
            .with("oauth_client_id", "psql");
        let token = large(&world);
        let said = oauthbearer(&["--asked"], &connection, &token).well();
        let lines: Vec<&str> = said.lines().collect();
        let discovery = format!("{}/.well-known/openid-configuration", world.issuer.url());
        assert_eq!(lines, [discovery.as_str(), "openid postern", &world.gate.database.name]);
        let asked = world.gate.record.attempt_with("outcome", "discovery");
        assert_eq!(at(&asked, "reason"), "token_discovery", "{asked}");
        // The two were on cores of their own, so either can be recorded first.
        world.gate.record.attempt_where("OAUTHBEARER lets in", |line| {
            at(line, "asked.user") == OAUTH && at(line, "outcome") == "permitted"
        });

        let bad = world.signed(|token| token.with_broken_signature());
        let complaint = oauthbearer(&[], &connection, &bad).ill();
        assert!(complaint.contains("28000"), "{complaint}");
        assert!(complaint.contains("OAuth bearer authentication failed"), "{complaint}");
        let attempt = world.gate.record.attempt_with("reason", "token_signature_invalid");
        assert_eq!(at(&attempt, "outcome"), "denied", "{attempt}");
    }
}

#[test]
fn every_wrong_token_sounds_the_same() {
    let world = TokenGate::before(Server::of_version(18).database()).wait();
    let key = world.issuer.key();
    let stranger = Key::generate(Algorithm::Es256, key.kid());
    let unknown = Key::generate(Algorithm::Es256, "unknown");
    let issuer = world.issuer.url();
    let claims = || world.claims();
    for (token, reason) in [
        (
            Token::new(&key, claims()).signed_by(&stranger).text(),
            "token_signature_invalid",
        ),
        (world.token(claims().valid(now() - 600, 300)), "token_expired"),
        (world.token(claims().valid(now() + 300, 300)), "token_not_yet_valid"),
        (
            world.token(Claims::new(issuer, "others", "carol")),
            "token_wrong_audience",
        ),
        (
            world.token(Claims::new("https://other.example", "postern", "carol")),
            "token_issuer_unknown",
        ),
        (Token::new(&unknown, claims()).text(), "token_unknown_key"),
        (world.signed(|token| token.unsigned()), "token_algorithm_not_allowed"),
        (
            Token::new(&key, claims())
                .signed_with_secret(key.public_pem().as_bytes())
                .text(),
            "token_algorithm_not_allowed",
        ),
        (world.token(claims().without("exp")), "token_claim_missing"),
        (world.token(world.issuer.claims("mallory")), "subject_unknown"),
        (
            world.token(claims().bound_to(b"somebody's certificate")),
            "token_binding_missing",
        ),
        (
            world.token(claims().with("cnf", json!({"jkt": "x"}))),
            "token_binding_unsupported",
        ),
        ("not a token".to_owned(), "token_malformed"),
        ("x".repeat(64 * 1024 + 1), "token_oversize"),
    ] {
        world.refused(&token, reason);
    }
    // In clear nobody is asked for one: the rule is another.
    psql(&world.gate.plain(TOKEN).with("password", "x"), "select 1").ill();
    let attempt = world.gate.record.attempt_with("rule", "people");
    assert_eq!(at(&attempt, "reason"), "identity_unknown", "{attempt}");
    let log = world.gate.log();
    assert!(!log.contains("eyJ"), "a token is in the log");
}

#[test]
fn a_token_counts_once_where_the_provider_says_so() {
    let world = TokenGate::with(Server::of_version(18).database(), "one_time = true", "").wait();
    let token = world.token(world.claims().with("jti", "just-once"));
    world.show(&token).well();
    world.refused(&token, "token_replayed");
    world.refused(&world.token(world.claims().without("jti")), "token_id_missing");
}

#[test]
fn a_bound_token_and_a_certificate_beside_one() {
    let world = TokenGate::before(Server::of_version(18).database()).wait();
    let cards = &world.gate.policy.cards;
    let der = CertificateDer::from_pem_file(&cards.nobody.certificate).expect("a certificate");
    let token = world.token(world.claims().bound_to(&der));
    let shown = |user, card, token: &str| psql(&world.gate.by_card(user, card).with("password", token), "select 1");
    shown(TOKEN, &cards.nobody, &token).well();
    let attempt = world.gate.record.attempt_with("proofs", r#"["token_bound"]"#);
    assert_eq!(at(&attempt, "outcome"), "permitted");
    shown(TOKEN, &cards.billing, &token).ill();
    world.gate.record.attempt_with("reason", "token_binding_mismatch");
    // A rule that wants both: of one identity.
    let plain = world.token(world.claims());
    shown(BOTH, &cards.nobody, &plain).well();
    let attempt = world.gate.record.attempt_with("proofs", r#"["certificate","token"]"#);
    assert_eq!(at(&attempt, "identity"), "carol");
    shown(BOTH, &cards.billing, &plain).ill();
    world.gate.record.attempt_with("reason", "identity_mismatch");
    psql(&world.connection(BOTH).with("password", &plain), "select 1").ill();
    world.gate.record.attempt_with("reason", "certificate_missing");
}

/// Dropped in as a file: the session that it is about ends within a second, with its query.
#[test]
fn a_revocation_ends_the_session_of_its_token() {
    let world = TokenGate::before(Server::of_version(18).database()).wait();
    let stolen = world.token(world.claims().with("jti", "stolen"));
    let connection = world.connection(TOKEN).with("password", &stolen);
    let sleeper = sleeping(&world, &connection);
    let other = world.token(world.claims().with("jti", "other"));
    let kept = sleeping(&world, &world.connection(TOKEN).with("password", &other));
    let revocation = "[revocation.stolen]\nprovider = \"idp\"\ntoken_ids = [\"stolen\"]\n";
    world.gate.policy.drop_in("stolen", revocation);
    let said = ended(sleeper);
    assert!(said.contains("57P01"), "{said}");
    world.refused(&stolen, "token_revoked");
    let attempt = world.gate.record.attempt_with("reason", "token_revoked");
    assert_eq!(at(&attempt, "assertion.revocation"), "stolen");
    assert_eq!(sleepers(&world), "1", "the other goes on");
    drop(kept);
}

#[test]
fn the_end_of_a_token_ends_its_session_as_the_grant_says() {
    for (on_expiry, ends) in [("terminate", true), ("finish_transaction", true), ("ignore", false)] {
        let notice = if ends { "expiry_notice = \"2s\"" } else { "" };
        let grant = format!("on_expiry = {on_expiry:?}\n{notice}");
        let world = TokenGate::with(Server::of_version(18).database(), "", &grant).wait();
        let token = world.token(world.claims().valid(now(), 4));
        let connection = world.connection(TOKEN).with("password", &token);
        let started = std::time::Instant::now();
        let said = psql(
            &connection,
            "begin; select pg_sleep(5); select 'done'; commit; select pg_sleep(1)",
        );
        match (on_expiry, ends) {
            ("terminate", _) => {
                assert!(said.err.contains("57P01"), "{said:?}");
                assert!(said.err.contains("the proof of identity has expired"), "{said:?}");
                assert!(
                    started.elapsed() < Duration::from_millis(5_000),
                    "{:?}",
                    started.elapsed()
                );
            }
            ("finish_transaction", _) => {
                assert!(said.out.contains("done") || said.err.contains("57P01"), "{said:?}");
                assert!(
                    started.elapsed() >= Duration::from_secs(5),
                    "the transaction was not finished: {said:?}"
                );
            }
            _ => assert!(said.out.contains("done") && said.ok, "{said:?}"),
        }
        let end = wait_for("the end", SOON, || {
            world
                .gate
                .record
                .events("end")
                .into_iter()
                .next_back()
                .filter(|end| ends == (end["how"] == "proof_expired"))
        });
        assert_eq!(at(&end, "identity"), "carol");
    }
}

/// It goes on until it wants to begin something new, and has been told before.
#[test]
fn nothing_new_is_begun_behind_the_end_of_a_token() {
    let grant = "on_expiry = \"refuse_new\"\nexpiry_notice = \"3s\"";
    let world = TokenGate::with(Server::of_version(18).database(), "", grant).wait();
    let token = world.token(world.claims().valid(now(), 4));
    let program = r#"
import sys, time, psycopg
notices = []
connection = psycopg.connect(sys.argv[1], autocommit=True)
connection.add_notice_handler(lambda diagnostic: notices.append(diagnostic.message_primary))
connection.execute("begin")
time.sleep(2)
connection.execute("select 1")
time.sleep(3)
print("inside", connection.execute("select 2").fetchone()[0])
connection.execute("commit")
print("told", any("ends at" in notice for notice in notices))
try:
    connection.execute("select 3")
    print("begun")
except psycopg.OperationalError as error:
    print("refused", error.sqlstate)
"#;
    let connection = world.connection(TOKEN).with("password", &token);
    assert_eq!(
        python(&connection, program).well(),
        "inside 2\ntold True\nrefused 57P01"
    );
}

/// The contract of an outage: keys that are known serve on, whatever the issuer does, and it is found when it comes back.
#[test]
fn while_the_issuer_fails_its_known_keys_serve() {
    let world = TokenGate::before(Server::of_version(18).database()).wait();
    let old = world.issuer.key();
    let known = || Token::new(&old, world.claims()).text();
    // A key that nobody knows makes the gate ask, and a failure makes it ask again and again.
    world.issuer.set_fault(Endpoint::Jwks, Fault::Status(500));
    world.issuer.rotate(Algorithm::EdDsa);
    world.refused(&world.token(world.claims()), "token_unknown_key");
    world.show(&known()).well();
    for fault in [Fault::Garbage, Fault::CloseAtOnce, Fault::Hang] {
        let asked = world.issuer.requests(Endpoint::Jwks);
        world.issuer.set_fault(Endpoint::Jwks, fault);
        wait_for("the gate asks again", Duration::from_secs(40), || {
            (world.issuer.requests(Endpoint::Jwks) > asked).then_some(())
        });
        world.show(&known()).well();
    }
    world.issuer.set_fault(Endpoint::Jwks, Fault::None);
    world.issuer.close_connections();
    wait_for("the new key is known", Duration::from_secs(60), || {
        world.show(&world.token(world.claims())).ok.then_some(())
    });
    world.show(&known()).well();
}

/// Old and new keys count together, and whoever comes with a new one makes one fetch, not many.
#[test]
fn a_new_key_is_found_by_one_fetch() {
    let world = TokenGate::before(Server::of_version(18).database()).wait();
    world.issuer.rotate(Algorithm::EdDsa);
    let fetched = world.issuer.requests(Endpoint::Jwks);
    world.show(&world.token(world.claims())).well();
    let old = world.issuer.keys().old().expect("the key before");
    let still = Token::new(&old, world.claims()).text();
    world.show(&still).well();
    assert_eq!(world.issuer.requests(Endpoint::Jwks), fetched + 1);
    // A stranger's key names make no storm.
    for number in 0..20 {
        let key = Key::generate(Algorithm::Es256, &format!("stranger-{number}"));
        world.refused(&Token::new(&key, world.claims()).text(), "token_unknown_key");
    }
    assert!(world.issuer.requests(Endpoint::Jwks) <= fetched + 2, "a stampede");
}

/// Without keys nobody is let in; once the issuer is back, everybody is.
#[test]
fn an_issuer_that_is_down_at_first_and_comes_back() {
    let down = settings();
    let issuer = Issuer::start(down.clone()).expect("an issuer");
    let url = issuer.url().to_owned();
    let world = TokenGate::before(Server::of_version(18).database()).wait();
    let root = world.gate.place.write("pki/second.pem", issuer.root_pem());
    drop(issuer);
    let provider = format!(
        "[provider.second]\nkind = \"tokens\"\nissuer = {url:?}\naudiences = [\"postern\"]\nroots = [{:?}]\n\
         [identity.dave]\naliases = [\"token_dave\"]\nkeys = [{{ provider = \"second\", subject = \"dave\" }}]\n\
         [grant.dave]\nidentities = [\"dave\"]\ndatabases = [{:?}]\ncluster = \"main\"\nrole = {:?}\n",
        root.display().to_string(),
        world.gate.database.name,
        world.gate.database.name,
    );
    world.gate.policy.drop_in("second", &provider);
    let token = Token::new(&down.keys.current(), Claims::new(&url, "postern", "dave")).text();
    let connection = world.connection("token_dave").with("password", &token);
    wait_for("it is known and has no keys", SOON, || {
        psql(&connection, "select 1").ill();
        let last = world.gate.record.events("attempt").pop()?;
        (at(&last, "reason") == "provider_unavailable").then_some(())
    });
    // Others are not touched by it.
    world.show(&world.token(world.claims())).well();
    let _back = Issuer::start(down).expect("the same issuer");
    wait_for("it is back", Duration::from_secs(40), || {
        psql(&connection, "select 1").ok.then_some(())
    });
}

#[test]
fn a_webhook_lets_in_turns_away_and_hangs() {
    let world = TokenGate::before(Server::of_version(18).database()).wait();
    world.issuer.on_webhook(|request| {
        let question = request.json();
        let answer = match question["password"].as_str() {
            Some("open-marker") => json!({"allow": true, "identity": "carol", "groups": [], "ttl": 0}),
            Some("stranger-marker") => json!({"allow": true, "identity": "mallory"}),
            _ => json!({"allow": false, "reason": "not on duty"}),
        };
        Response::json(200, &answer)
    });
    let show = |password: &str| psql(&world.connection(HOOK).with("password", password), "select 1");
    show("open-marker").well();
    let attempt = world.gate.record.attempt_with("proofs", r#"["webhook"]"#);
    assert_eq!(at(&attempt, "identity"), "carol");
    let told = format!("password authentication failed for user \"{HOOK}\"");
    for (password, reason) in [
        ("wrong-marker", "webhook_denied"),
        ("stranger-marker", "subject_unknown"),
    ] {
        assert!(show(password).ill().contains(&told));
        world.gate.record.attempt_with("reason", reason);
    }
    assert_eq!(
        at(&world.gate.record.attempt_with("reason", "webhook_denied"), "detail"),
        "not on duty"
    );
    for fault in [Fault::Hang, Fault::Status(500), Fault::Garbage] {
        world.issuer.set_fault(Endpoint::Webhook, fault);
        assert!(
            show("open-marker").ill().contains(&told),
            "nobody is let in without an answer"
        );
        let last = world.gate.record.attempt_with("reason", "provider_unavailable");
        assert_ne!(at(&last, "detail"), "", "{last}");
        // Others are not slowed by it.
        world.show(&world.token(world.claims())).well();
    }
    let told = world.gate.log() + &std::fs::read_to_string(&world.gate.record.0).expect("the record");
    assert!(!told.contains("-marker"), "a password was told");
}

/// One grant for many tenants: the claim chooses the cluster and the database, and the server hears who it is.
#[test]
fn a_claim_leads_to_the_tenants_cluster() {
    let world = TokenGate::before(Server::of_version(18).database()).wait();
    let database = &world.gate.database;
    let cluster = |tenant: &str| {
        let secret = world.gate.place.path("secrets/role");
        format!(
            "[cluster.of-{tenant}]\ntenant = \"{tenant}\"\nendpoints = [\"127.0.0.1:{}\"]\nroots = [{:?}]\n\
             [cluster.of-{tenant}.role.{}]\npassword_file = {secret:?}\n",
            database.server.port, database.server.ca, database.name
        )
    };
    let grant = format!(
        r#"
[identity."tenants:{{subject}}"]
keys = [{{ provider = "idp", subject = "app-*" }}]
aliases = ["token_app"]

[grant.tenants]
identities = ["tenants:{{subject}}"]
databases = ["app"]
tenant = "{{claim.tenant}}"
connect_database = "{{claim.database}}"
role = "{}"
claims = {{ plan = ["gold", "silver-*"] }}
settings = {{ application_name = "{{subject}} {{application_name}}", "postern.tenant" = "{{claim.tenant}}" }}
"#,
        database.name
    );
    let text = [cluster("acme"), cluster("globex"), grant].concat();
    world.gate.policy.drop_in("tenants", &text);
    let shown = |tenant: &str, plan: &str| {
        let claims = world.issuer.claims(&format!("app-{tenant}")).with("tenant", tenant);
        let token = world.token(claims.with("database", &*database.name).with("plan", plan));
        let connection = world
            .connection("token_app")
            .with("dbname", "app")
            .with("password", &token);
        let asked = "select current_setting('postern.tenant'), current_setting('application_name'), current_database()";
        psql(&connection, asked)
    };
    let there = |tenant: &str| format!("{tenant}|app-{tenant} psql|{}", database.name);
    wait_for("the policy is in force", SOON, || {
        shown("acme", "gold").ok.then_some(())
    });
    for (tenant, plan) in [("acme", "gold"), ("globex", "silver-2026")] {
        assert_eq!(shown(tenant, plan).well(), there(tenant));
        let attempt = world
            .gate
            .record
            .attempt_with("identity", &format!("tenants:app-{tenant}"));
        assert_eq!(at(&attempt, "cluster"), format!("of-{tenant}"), "{attempt}");
    }
    for (tenant, plan, reason) in [
        ("initech", "gold", "tenant_unknown"),
        ("acme", "trial", "claims_not_met"),
    ] {
        let told = shown(tenant, plan).ill();
        assert!(told.contains("access to database \"app\" is not granted"), "{told}");
        world.gate.record.attempt_with("reason", reason);
    }
}

/// The client is asleep in a query of the server.
fn sleeping(world: &TokenGate, connection: &ConnectionString) -> std::process::Child {
    use std::io::Write as _;
    let before: u32 = sleepers(world).parse().expect("a number");
    let mut child = spawn_psql(connection);
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"select pg_sleep(600);\n").expect("it reads");
    drop(input);
    wait_for("it sleeps", SOON, || {
        (sleepers(world) == (before + 1).to_string()).then_some(())
    });
    child
}

fn sleepers(world: &TokenGate) -> String {
    // Other tests' sessions sleep on the same server.
    let name = &world.gate.database.name;
    world.gate.database.sql(&format!(
        "select count(*) from pg_stat_activity where datname = '{name}' and query like 'select pg_sleep(600)%' and state = 'active'"
    ))
}

fn ended(mut child: std::process::Child) -> String {
    let status = wait_for("it ends", SOON, || child.try_wait().expect("its state"));
    assert!(!status.success());
    let mut said = String::new();
    child
        .stderr
        .take()
        .expect("a pipe")
        .read_to_string(&mut said)
        .expect("text");
    said
}

/// Without `roots` a provider's certificate has to come from an authority of the system's.
#[test]
fn the_system_s_trust_anchors_count_where_the_policy_names_none() {
    let world = TokenGate::before(Server::of_version(18).database()).wait();
    let directory = world.gate.place.path("system-roots");
    std::fs::create_dir(&directory).expect("a directory");
    let policy = text_of(&world.gate.policy.directory.join("base.toml"));
    let root = world.gate.place.path("pki/issuer.pem");
    let named = format!("roots = [{:?}]\n", root.display().to_string());
    assert!(policy.contains(&named), "{policy}");
    std::fs::write(directory.join("base.toml"), policy.replace(&named, "")).expect("a policy");
    let token = world.gate.place.write_secret("token", world.token(world.claims()));
    let inspect = |anchors: &std::path::Path| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_postern"))
            .args(["token", "inspect"])
            .arg(&directory)
            .arg("--token")
            .arg(&token)
            .arg("--fetch")
            .env("SSL_CERT_FILE", anchors)
            .env_remove("SSL_CERT_DIR")
            .output()
            .expect("postern runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    let (code, said) = inspect(&root);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = inspect(&world.gate.ca);
    assert!(code == Some(69) && said.contains("invalid peer certificate"), "{said}");
}

/// An outage ends no session, however long it lasts; who comes is turned away once the keys are too old.
#[test]
fn a_session_outlives_the_keys_that_it_was_let_in_by() {
    let short = "refresh = \"1m\"\nkeys_max_age = \"2m\"";
    let world = TokenGate::with(Server::of_version(18).database(), short, "").wait();
    let token = world.token(world.claims());
    let living = sleeping(&world, &world.connection(TOKEN).with("password", &token));
    // The gate learns of other keys only from the issuer: with another place for them the old ones are nobody's.
    world.issuer.set_faults(&Fault::Status(500));
    let elsewhere = format!("{short}\njwks_url = {:?}", world.issuer.url_of("moved"));
    world.gate.takes(|_| world.drop_in(&elsewhere, ""));
    world.refused(&token, "provider_unavailable");
    let attempt = world.gate.record.attempt_with("reason", "provider_unavailable");
    assert_eq!(at(&attempt, "assertion.provider"), "idp", "{attempt}");
    assert!(at(&attempt, "detail").contains("status 500"), "{attempt}");
    assert_eq!(sleepers(&world), "1", "it goes on");
    drop(living);
}

/// What a client shows is in the gate's memory for the attempt alone. (This build wipes every receive buffer; that others wipe
/// those of a login is the mark that the ring's tests look at.)
#[test]
fn nothing_that_was_shown_stays_in_memory() {
    let world = TokenGate::before(Server::of_version(18).database()).wait();
    let token = world.token(world.claims());
    let signature = token.rsplit('.').next().expect("a signature");
    let living = sleeping(&world, &world.connection(TOKEN).with("password", &token));
    let forged = Token::new(&Key::generate(Algorithm::Es256, "key-1"), world.claims()).text();
    world.show(&forged).ill();
    let forged = forged.rsplit('.').next().expect("a signature");
    let asked = "a password that a webhook is asked about";
    psql(&world.connection(HOOK).with("password", asked), "select 1").ill();
    let found = |needle: &str| found_in_memory(world.gate.pid(), needle.as_bytes());
    assert!(found("carol"), "its subject is no secret");
    wait_for("they are gone", SOON, || {
        let shown = [signature, forged, asked];
        (!shown.into_iter().any(found)).then_some(())
    });
    drop(living);
}

/// Of all that the process may write to.
fn found_in_memory(pid: u32, needle: &[u8]) -> bool {
    use std::os::unix::fs::FileExt as _;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("its maps");
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).expect("its memory");
    maps.lines().filter(|line| line.contains(" rw")).any(|line| {
        let (range, _) = line.split_once(' ').expect("a range");
        let ends = range
            .split('-')
            .map(|end| u64::from_str_radix(end, 16).expect("an address"));
        let [from, to] = ends.collect::<Vec<_>>().try_into().expect("two ends");
        let mut bytes = vec![0; usize::try_from(to - from).expect("a length")];
        // What cannot be read (a ring's own pages, say) is the kernel's.
        memory.read_exact_at(&mut bytes, from).is_ok() && memchr::memmem::find(&bytes, needle).is_some()
    })
}
