//! SPIFFE IDs (SPIFFE-ID, section 2).

/// Bytes of a SPIFFE ID at most (section 2.3).
const LONGEST: usize = 2048;

/// The trust domain of a well-formed SPIFFE ID: `corp.example` of `spiffe://corp.example/ns/prod/sa/billing`.
pub fn trust_domain(id: &str) -> Option<&str> {
    let rest = id.strip_prefix("spiffe://").filter(|_| id.len() <= LONGEST)?;
    let (domain, path) = match rest.split_once('/') {
        Some((domain, path)) => (domain, Some(path)),
        None => (rest, None),
    };
    let sound = is_trust_domain(domain) && path.is_none_or(|path| path.split('/').all(is_segment));
    sound.then_some(domain)
}

fn is_trust_domain(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_');
    (1..=255).contains(&text.len()) && text.bytes().all(allowed)
}

fn is_segment(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !matches!(text, "" | "." | "..") && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trust_domain_is_that_of_a_well_formed_id_alone() {
        let longest = format!("spiffe://corp/{}", "a".repeat(LONGEST - "spiffe://corp/".len()));
        for (id, domain) in [
            ("spiffe://corp.example/ns/prod/sa/billing", Some("corp.example")),
            ("spiffe://corp", Some("corp")),
            (&longest, Some("corp")),
            (&format!("{longest}a"), None),
            ("spiffe://corp/", None),
            ("spiffe://corp//a", None),
            ("spiffe://corp/a/", None),
            ("spiffe://corp/a/../b", None),
            ("spiffe://corp/.", None),
            ("spiffe://corp/a%20b", None),
            ("spiffe://corp/a?b", None),
            ("spiffe://Corp/a", None),
            ("spiffe://corp:1/a", None),
            ("spiffe://user@corp/a", None),
            ("spiffe:///a", None),
            ("SPIFFE://corp/a", None),
            ("https://corp/a", None),
            ("", None),
        ] {
            assert_eq!(trust_domain(id), domain, "{id}");
        }
    }
}
