//! PostgreSQL's stored form, `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>` (`pg_authid.rolpassword`).

use postern_policy::model::ScramVerifier;

use super::keys::derive;
use super::{SCRAM_SHA_256, decode, decode_32, encode};

/// Why a text is not a verifier. Says nothing of the text: an offline guess can be tried against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifierFault {
    #[error("a SCRAM verifier reads SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>")]
    Shape,
    #[error("the iteration count of a SCRAM verifier is a positive number")]
    Iterations,
    #[error("the salt of a SCRAM verifier is base64 and not empty")]
    Salt,
    #[error("StoredKey and ServerKey of a SCRAM verifier are base64 of 32 bytes each")]
    Key,
}

/// What PostgreSQL would store for this password. `salt`: 16 random bytes, as PostgreSQL uses; a name with a salt of
/// another length can be told from an unknown one. `iterations`: 4096 by PostgreSQL's default.
pub fn make(password: &[u8], salt: &[u8], iterations: u32) -> ScramVerifier {
    let keys = derive(password, salt, iterations);
    ScramVerifier {
        iterations,
        salt: salt.to_vec(),
        stored_key: keys.stored_key(),
        server_key: *keys.server_key(),
    }
}

pub fn format(verifier: &ScramVerifier) -> String {
    let ScramVerifier {
        iterations,
        salt,
        stored_key,
        server_key,
    } = verifier;
    let (salt, stored_key, server_key) = (encode(salt), encode(stored_key), encode(server_key));
    format!("{SCRAM_SHA_256}${iterations}:{salt}${stored_key}:{server_key}")
}

/// Strict: no white space, standard base64 with its padding, no more and no fewer parts.
pub fn parse(text: &str) -> Result<ScramVerifier, VerifierFault> {
    let rest = text
        .strip_prefix(SCRAM_SHA_256)
        .and_then(|rest| rest.strip_prefix('$'))
        .ok_or(VerifierFault::Shape)?;
    let (cost, keys) = rest.split_once('$').ok_or(VerifierFault::Shape)?;
    let (iterations, salt) = cost.split_once(':').ok_or(VerifierFault::Shape)?;
    let (stored_key, server_key) = keys.split_once(':').ok_or(VerifierFault::Shape)?;
    Ok(ScramVerifier {
        iterations: positive(iterations.as_bytes()).ok_or(VerifierFault::Iterations)?,
        salt: decode(salt.as_bytes())
            .filter(|salt| !salt.is_empty())
            .ok_or(VerifierFault::Salt)?,
        stored_key: decode_32(stored_key.as_bytes()).ok_or(VerifierFault::Key)?,
        server_key: decode_32(server_key.as_bytes()).ok_or(VerifierFault::Key)?,
    })
}

/// A decimal number from 1 to what PostgreSQL's `int` holds, digits only.
pub(super) fn positive(digits: &[u8]) -> Option<u32> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (1..=i32::MAX.unsigned_abs()).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_verifier_reads_back() {
        let made = make(b"pencil", &[7; 16], 4096);
        assert_eq!(parse(&format(&made)), Ok(made));
    }

    #[test]
    fn anything_else_is_refused() {
        let good = format(&make(b"pencil", &[7; 16], 1));
        let faults = [
            ("md5d41d8cd98f00b204e9800998ecf8427e".to_owned(), VerifierFault::Shape),
            (good.replacen("SHA-256$", "SHA-256", 1), VerifierFault::Shape),
            (good.replacen("$1:", "$0:", 1), VerifierFault::Iterations),
            (good.replacen("$1:", "$+1:", 1), VerifierFault::Iterations),
            (good.replacen("$1:", "$2147483648:", 1), VerifierFault::Iterations),
            (good.replacen("BwcH", "*wcH", 1), VerifierFault::Salt),
            (good.replacen(&encode(&[7; 16]), "", 1), VerifierFault::Salt),
            (format!("{good}A"), VerifierFault::Key),
            (format!("{good}:"), VerifierFault::Key),
            (format!("{good}\n"), VerifierFault::Key),
        ];
        for (text, fault) in faults {
            assert_eq!(parse(&text), Err(fault), "{text}");
        }
    }
}
