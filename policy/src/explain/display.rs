//! An explanation as `postern explain` prints it.

use std::fmt;

use super::{Decision, Explanation, Finding, IdentityStep, RuleStep, Step, Unidentified};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "authentication rules")?;
        if self.authentication.is_empty() {
            writeln!(f, "  the policy has none")?;
        }
        for step in &self.authentication {
            write!(f, "{step}")?;
        }
        write!(f, "identity\n{}", self.identity)?;
        if self.identity.outcome.is_ok() {
            steps(f, "denies", &self.denies)?;
            steps(f, "grants", &self.grants)?;
        }
        write!(f, "decision\n{}", self.decision)
    }
}

fn steps(f: &mut fmt::Formatter<'_>, title: &str, steps: &[Step]) -> fmt::Result {
    writeln!(f, "{title}")?;
    if steps.is_empty() {
        writeln!(f, "  none about this identity")?;
    }
    for step in steps {
        write!(f, "{step}")?;
    }
    Ok(())
}

impl fmt::Display for RuleStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.miss {
            None => writeln!(f, "  > {}: matches, method {}", self.rule, self.method),
            Some((_, finding)) => writeln!(f, "    {}: {finding}", self.rule),
        }
    }
}

impl fmt::Display for IdentityStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (by, identity) in &self.matches {
            writeln!(f, "    {identity}: the certificate has its {}", by.as_str())?;
        }
        match &self.outcome {
            Ok(identity) => writeln!(f, "  > {identity}"),
            Err(unidentified) => writeln!(f, "  > nobody: {unidentified}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.miss.is_none() { ">" } else { " " };
        write!(f, "  {mark} {} (by {}): ", self.name, self.by)?;
        match (&self.miss, &self.to) {
            (Some(finding), _) => writeln!(f, "{finding}"),
            (None, Some((role, cluster))) => writeln!(f, "holds, role {role} on cluster {cluster}"),
            (None, None) => writeln!(f, "holds"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: wanted {}, got {}", self.condition, self.wanted, self.got)
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unidentified(unidentified) => writeln!(f, "  refused: {unidentified}"),
            Self::Permitted {
                permit,
                grant,
                role,
                cluster,
            } => {
                write!(f, "  permitted by grant {grant}: role {role} on cluster {cluster}")?;
                match permit.recheck_at() {
                    Some(moment) => writeln!(f, "; time may change this at {moment}"),
                    None => writeln!(f),
                }
            }
            Self::Refused {
                refusal,
                deny: Some(deny),
            } => writeln!(f, "  refused: {} {deny}", refusal.as_str()),
            Self::Refused { refusal, deny: None } => writeln!(f, "  refused: {}", refusal.as_str()),
        }
    }
}

impl fmt::Display for Unidentified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRule => write!(f, "no authentication rule matches"),
            Self::Rejected => write!(f, "the authentication rule rejects"),
            Self::CertificateMissing => write!(f, "the rule wants a certificate and there is none"),
            Self::CertificateRefused(reason) => write!(f, "the certificate is not accepted: {reason}"),
            Self::CertificateUnknown => write!(f, "the certificate is nobody's"),
            Self::CertificateAmbiguous => write!(f, "the certificate is of more than one identity"),
            Self::UserUnknown => write!(f, "the rule wants SCRAM and the user is no identity's name"),
            Self::NoVerifier => write!(f, "the rule wants SCRAM and the identity has no verifier"),
            Self::ScramMissing => write!(
                f,
                "the rule wants SCRAM, and the client is not said to know the password"
            ),
            Self::TokenMissing => write!(f, "the rule wants a token or a webhook's answer, and there is none"),
            Self::AssertionRefused(reason) => write!(f, "what the provider says does not count: {reason}"),
            Self::ProviderNotTaken => write!(f, "the rule does not take what this provider says"),
            Self::SubjectUnknown => write!(f, "the subject is nobody"),
            Self::SubjectAmbiguous => write!(f, "the subject is more than one identity"),
            Self::Mismatch => write!(f, "the certificate is of another identity than the other proof"),
        }
    }
}
