//! What `postern token inspect` prints. Texts of the token are escaped and cut; its signature is nowhere in it.

use std::fmt::{self, Write as _};

use postern_policy::explain::{Decision, Explanation};
use postern_policy::model::TokenForm;
use postern_policy::snapshot::Snapshot;
use postern_policy::words::Word;

use super::super::Exit;
use super::super::shown_token::{Judged, ShownToken, remedy};
use crate::identity::token::{Check, Examined, KeySet, KnownIssuer, Signature, TokenRefusal, shown};
use crate::in_force::InForce;
use crate::session::reason_name;
use crate::time::Utc;

/// Lines for people, and what speaks against the token.
#[derive(Default)]
pub struct Report {
    text: String,
    faults: usize,
    unchecked: bool,
}

impl Report {
    /// A fault is found; a signature that nobody could check is an input that is missing.
    pub fn exit(&self) -> Exit {
        match (self.faults, self.unchecked) {
            (0, false) => Exit::Ok,
            (0, true) => Exit::BadInput,
            _ => Exit::Found,
        }
    }

    pub fn token(&mut self, token: &ShownToken<'_>, in_force: &InForce, now: Utc, certificate: Option<&[u8; 32]>) {
        match token {
            ShownToken::Unreadable(refusal) => {
                self.title("token");
                self.no("form", reason_name(*refusal));
            }
            ShownToken::Strange(examined) => {
                self.said(examined);
                self.strange(examined, in_force);
            }
            ShownToken::Known(known, examined, keys) => {
                self.said(examined);
                self.title(&format!("checks of provider {}", known.name));
                self.signature(known, examined, keys.as_deref());
                for check in examined.checks(&known.rules, now, certificate) {
                    self.check(&check);
                }
                self.policy_knows(known, examined, &in_force.snapshot);
            }
        }
    }

    /// The gate's own last word.
    pub fn judgement(&mut self, judged: &Judged, snapshot: &Snapshot, now: Utc) {
        self.title("judgement");
        match judged {
            Judged::Refused(reason) => self.no("the gate refuses it", reason),
            Judged::Unchecked(_) => {
                self.unchecked = true;
                self.line("  ??  without the signature there is none");
            }
            Judged::Good { meaning, .. } => {
                let name = snapshot.identity_name_for(meaning.identity, Some(&meaning.subject));
                self.yes(&format!("the gate takes it for {}", shown(&name)));
                if let Some(ends) = meaning.ends {
                    let left = ends.seconds().saturating_sub(now.seconds());
                    self.fact("counts until", &format!("{ends}, {left}s more"));
                }
                if meaning.key_bound {
                    self.fact("proof", "bound to the certificate");
                }
                if meaning.once.is_some() {
                    self.fact(
                        "counts once",
                        "whether it has been used, only the gate that took it knows",
                    );
                }
            }
        }
    }

    pub fn explained(&mut self, explanation: &Explanation) {
        let permitted = matches!(explanation.decision, Decision::Permitted { .. });
        self.faults += usize::from(!permitted);
        self.text.push_str(&explanation.to_string());
    }

    pub fn unexplained(&mut self) {
        self.title("authentication rules");
        self.line("  ??  not asked: the signature was not checked");
    }

    /// Header and claims, and whether anybody vouches for them.
    fn said(&mut self, examined: &Examined) {
        let proved = match examined.signature() {
            Signature::Good => "",
            Signature::Refused(_) => ", unproved: the signature is not good",
            Signature::Unchecked => ", unproved: the signature was not checked",
        };
        self.title(&format!("header{proved}"));
        self.fact("alg", examined.algorithm().as_str());
        self.fact("typ", &or_nothing(examined.token_type()));
        self.fact("kid", &or_nothing(examined.key_id()));
        self.title(&format!("claims{proved}"));
        for (name, value) in examined.claims() {
            self.fact(&name.escape_debug().to_string(), &shown(value));
        }
    }

    fn strange(&mut self, examined: &Examined, in_force: &InForce) {
        self.title("checks");
        let providers: Vec<String> = in_force.issuers.iter().map(authority).collect();
        let wanted = match providers.is_empty() {
            true => "a provider of tokens, and the policy has none".to_owned(),
            false => providers.join(" or "),
        };
        self.check(&Check {
            about: "iss".to_owned(),
            wanted,
            got: or_nothing(examined.issuer()),
            refusal: Some(TokenRefusal::IssuerUnknown),
        });
    }

    fn signature(&mut self, known: &KnownIssuer, examined: &Examined, keys: Option<&KeySet>) {
        let ids: Vec<String> = keys.map_or_else(Vec::new, |keys| keys.key_ids().map(shown).collect());
        let wanted = match ids.is_empty() {
            true => "a key of the provider, which have no names".to_owned(),
            false => format!("key {}", ids.join(" or ")),
        };
        let said = format!("signature: wanted {wanted}, got kid {}", or_nothing(examined.key_id()));
        match examined.signature() {
            Signature::Good => self.yes(&said),
            Signature::Refused(refusal) => self.no(&said, reason_name(refusal)),
            Signature::Unchecked => self.line(&format!("  ??  signature: not checked: {}", remedy(known))),
        }
    }

    fn check(&mut self, check: &Check) {
        let Check { about, wanted, got, .. } = check;
        let what = format!("{}: wanted {wanted}, got {got}", about.escape_debug());
        match check.refusal {
            None => self.yes(&what),
            Some(refusal) => self.no(&what, reason_name(refusal)),
        }
    }

    /// What the policy says of who the token is about.
    fn policy_knows(&mut self, known: &KnownIssuer, examined: &Examined, snapshot: &Snapshot) {
        let Some(subject) = examined.subject(&known.rules) else {
            return;
        };
        match snapshot.revoked(&examined.revocable(known.provider, subject)) {
            None => self.yes("revocation: wanted none, got none"),
            Some(name) => self.no(&format!("revocation: wanted none, got {name}"), "token_revoked"),
        }
        match snapshot.resolve_subject(known.provider, subject) {
            Ok(identity) => {
                let name = snapshot.identity_name_for(identity, Some(subject));
                self.yes(&format!("identity: {}", shown(&name)));
            }
            Err(unresolved) => self.no("identity", &unresolved.to_string()),
        }
        for external in examined.groups(&known.rules) {
            let mapped: Vec<&str> = snapshot
                .mapped_groups(known.provider, external)
                .filter_map(|group| snapshot.group_name(group))
                .collect();
            let to = match mapped.is_empty() {
                true => "no group of the policy".to_owned(),
                false => mapped.join(", "),
            };
            self.fact("group", &format!("{} is {to}", shown(external)));
        }
    }

    fn title(&mut self, title: &str) {
        self.line(title);
    }

    fn fact(&mut self, what: &str, value: &str) {
        self.line(&format!("      {what}: {value}"));
    }

    fn yes(&mut self, what: &str) {
        self.line(&format!("  ok  {what}"));
    }

    fn no(&mut self, what: &str, reason: &str) {
        self.faults += 1;
        self.line(&format!("  no  {what}: {reason}"));
    }

    fn line(&mut self, line: &str) {
        let written = writeln!(self.text, "{line}");
        debug_assert!(written.is_ok(), "a String takes everything");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whose tokens a provider's are.
fn authority(known: &KnownIssuer) -> String {
    match &known.rules.form {
        TokenForm::Oidc { issuer } => format!("{} ({})", shown(issuer), known.name),
        TokenForm::JwtSvid { trust_domains } => {
            let domains: Vec<String> = trust_domains.iter().map(|domain| shown(domain)).collect();
            format!("sub in trust domain {} ({})", domains.join(" or "), known.name)
        }
    }
}

fn or_nothing(text: Option<&str>) -> String {
    text.map_or_else(|| "nothing".to_owned(), shown)
}
