//! Lines of a policy made fit for logs and for the record: nothing in them that a password could be guessed from.
//!
//! A line with a fault may be broken anywhere, so three signs count, each by itself: what a SCRAM verifier starts with, the
//! name of a key that would hold a secret, and the look of key material in base64.

const VERIFIER: &str = "SCRAM-SHA-256$";
/// Characters of base64 in a row that are taken for key material; 32 bytes have 43.
const MATERIAL: usize = 32;

/// `line` with `*` for each character of a secret.
pub(super) fn without_secrets(line: &str) -> String {
    let mut shown: Vec<char> = line.chars().collect();
    if let Some(start) = first_secret(&shown) {
        hide(&mut shown[start..]);
    }
    let mut start = 0;
    while start < shown.len() {
        let length = shown[start..].iter().take_while(|c| is_base64(**c)).count();
        let run = &mut shown[start..start + length];
        if looks_like_material(run) {
            hide(run);
        }
        start += length.max(1);
    }
    shown.into_iter().collect()
}

/// Quotes and the like stay, so that the line can still be read.
fn hide(part: &mut [char]) {
    for character in part
        .iter_mut()
        .filter(|c| !matches!(c, '"' | '\'' | '=' | ' ' | '}' | ']'))
    {
        *character = '*';
    }
}

/// Where the first thing begins after which nothing is shown.
fn first_secret(line: &[char]) -> Option<usize> {
    let verifier: Vec<char> = VERIFIER.chars().collect();
    let in_verifier = line
        .windows(verifier.len())
        .position(|part| part == verifier)
        .map(|at| at + verifier.len());
    let assigns = |at: &usize| line[*at] == '=' && names_a_secret(&key_before(&line[..*at]));
    let assigned = (0..line.len()).find(assigns).map(|at| at + 1);
    [in_verifier, assigned].into_iter().flatten().min()
}

fn key_before(line: &[char]) -> String {
    let is_key = |c: &&char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let backwards = line.iter().rev().skip_while(|c| matches!(c, ' ' | '"' | '\''));
    let key: Vec<char> = backwards.take_while(is_key).copied().collect();
    key.iter().rev().collect()
}

/// Whether a key of this name would hold a secret itself, not the path of a file that does.
fn names_a_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let secret = key == "scram"
        || ["passw", "secret", "token", "private"]
            .iter()
            .any(|part| key.contains(part));
    secret && !key.ends_with("_file")
}

fn is_base64(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '+' | '/')
}

/// Long, and neither hexadecimal (fingerprints are public) nor a path.
fn looks_like_material(run: &[char]) -> bool {
    run.len() >= MATERIAL
        && run.iter().any(char::is_ascii_uppercase)
        && run.iter().any(char::is_ascii_lowercase)
        && run.first() != Some(&'/')
}

#[cfg(test)]
mod tests {
    use super::without_secrets;

    #[test]
    fn secrets_and_verifiers() {
        for (line, shown) in [
            (
                r#"scram = "SCRAM-SHA-256$4096:c2FsdA==$a:b" # x"#,
                r#"scram = "******************"#,
            ),
            (
                r#"x = "SCRAM-SHA-256$4096:c2FsdA==$a:b""#,
                r#"x = "SCRAM-SHA-256$***********==****""#,
            ),
            (
                r#"scrm = "0LIYXDH3nW6agcZVcY7NmeBsO3ZZguNfgrU4d44XAik="#,
                r#"scrm = "*******************************************="#,
            ),
            (r#"password = "hunter2""#, r#"password = "*******""#),
            (r#""password"="hunter2""#, r#""password"="*******""#),
            (r#"{ client_secret = "a b" }"#, r#"{ client_secret = "* *" }"#),
        ] {
            let told = without_secrets(line);
            assert_eq!(
                told.chars().count(),
                line.chars().count(),
                "carets keep their place: {told}"
            );
            assert!(told.starts_with(shown), "{told}");
        }
    }

    #[test]
    fn what_is_public_stays() {
        for line in [
            r#"password_file = "/run/secrets/BillingReadWriteRoleOfTheMainCluster""#,
            r#"certificate_sha256 = "c49fea7425fa7f8699897a97c159c6690267d9003bb78c53fafa8fc15c325d84""#,
            r#"method = "certificate+scram-sha-256""#,
            r#"identities = ["svc:billing"]"#,
        ] {
            assert_eq!(without_secrets(line), line);
        }
    }
}
