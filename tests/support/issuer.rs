//! A real issuer of tokens beside the gate, and the rules of a policy that takes them.

use postern_issuer::{Certificate, Claims, Issuer, Settings, Token};

use super::gate::Gate;
use super::place::free_port;
use super::servers::Database;

/// What of a start-up `user` chooses the rule; `carol` has an alias for each.
pub const TOKEN: &str = "token_carol";
pub const OAUTH: &str = "oauth_carol";
pub const HOOK: &str = "hook_carol";
pub const BOTH: &str = "both_carol";

/// A gate whose policy knows an issuer.
pub struct TokenGate {
    pub gate: Gate,
    pub issuer: Issuer,
}

impl TokenGate {
    pub fn before(database: Database) -> Self {
        Self::with(database, "", "")
    }

    /// `provider` are further keys of the issuer, `grant` of the grant.
    pub fn with(database: Database, provider: &str, grant: &str) -> Self {
        let issuer = Issuer::start(settings()).expect("an issuer");
        Self::of(Gate::before(database), issuer, provider, grant)
    }

    pub fn of(gate: Gate, issuer: Issuer, provider: &str, grant: &str) -> Self {
        gate.place.write("pki/issuer.pem", issuer.root_pem());
        let this = Self { gate, issuer };
        this.drop_in(provider, grant);
        this
    }

    pub fn drop_in(&self, provider: &str, grant: &str) {
        let directory = &self.gate.policy.directory;
        let base = std::fs::read_to_string(directory.join("base.toml")).expect("the base");
        let (before, rules) = base.split_at(base.find("[[authentication]]").expect("its rules"));
        let rules = rules.split("# tokens\n").last().expect("the rules of before");
        let before = before.split("# tokens\n").next().expect("the base of before");
        let text = format!(
            "{before}# tokens\n{}{}# tokens\n{rules}",
            self.policy(provider, grant),
            RULES
        );
        self.gate.policy.drop_in("base", &text);
    }

    fn policy(&self, provider: &str, grant: &str) -> String {
        let (url, hook) = (self.issuer.url(), self.issuer.url_of("webhook"));
        let root = self.gate.place.path("pki/issuer.pem").display().to_string();
        let database = &self.gate.database.name;
        format!(
            r#"
[provider.idp]
kind = "tokens"
issuer = "{url}"
audiences = ["postern"]
algorithms = ["RS256", "ES256", "EdDSA"]
roots = ["{root}"]
clock_skew = "0ms"
scope = "openid postern"
{provider}

[provider.desk]
kind = "webhook"
url = "{hook}"
roots = ["{root}"]
deadline = "1s"

[identity.carol]
aliases = ["{TOKEN}", "{OAUTH}", "{HOOK}", "{BOTH}"]
keys = [
    {{ provider = "idp", subject = "carol" }},
    {{ provider = "desk", subject = "carol" }},
    {{ provider = "corp", spiffe = "spiffe://corp/nobody" }},
]

[grant.tokens]
identities = ["carol"]
databases = ["{database}"]
cluster = "main"
role = "{database}"
{grant}

"#
        )
    }

    pub fn claims(&self) -> Claims {
        self.issuer.claims("carol")
    }

    pub fn token(&self, claims: Claims) -> String {
        self.issuer.token(claims)
    }

    /// A token that is changed before it is signed.
    pub fn signed(&self, change: impl FnOnce(Token<'_>) -> Token<'_>) -> String {
        let key = self.issuer.key();
        change(Token::new(&key, self.claims())).text()
    }
}

const RULES: &str = r#"
[[authentication]]
name = "tokens"
transport = "tls"
users = ["token_*"]
method = "token"

[[authentication]]
name = "oauth"
transport = "tls"
users = ["oauth_*"]
method = "oauthbearer"
discovery = "idp"

[[authentication]]
name = "desk"
transport = "tls"
users = ["hook_*"]
method = "webhook"
providers = ["desk"]

[[authentication]]
name = "both"
transport = "tls"
users = ["both_*"]
method = "certificate+token"

"#;

/// Of an issuer at a port of the test's own.
pub fn settings() -> Settings {
    let address = ([127, 0, 0, 1], free_port()).into();
    Settings {
        certificate: Certificate::generate(),
        ..Settings::new(address, "postern")
    }
}
