//! URI patterns: a `*` stands for exactly one path segment, and nothing else is special.
//!
//! A pattern is found by its shape (how many pieces between slashes, and which of them are `*`) and a hash of its other
//! pieces, so a lookup costs one probe per shape that the policy uses, however many patterns there are.

use super::hash::Hash;
use super::layout::ShapeRecord;

/// A pattern has at most this many pieces between slashes, so that its wildcards fit a word.
pub const MAX_PIECES: usize = 64;

impl ShapeRecord {
    /// `None` for a URI without a wildcard: it is an exact name. `None` too for one of more than [`MAX_PIECES`].
    pub fn of(pattern: &str) -> Option<Self> {
        let wildcards = pieces(pattern)
            .take(MAX_PIECES)
            .enumerate()
            .filter(|(_, piece)| *piece == "*");
        let wildcards = wildcards.fold(0u64, |bits, (place, _)| bits | 1 << place);
        let pieces = pieces(pattern).count();
        (wildcards != 0 && pieces <= MAX_PIECES).then_some(Self {
            pieces: pieces as u64,
            wildcards,
        })
    }

    /// The hash under which a pattern of this shape is filed, of the pattern itself as of every URI that it matches.
    pub fn hash(self, provider: u32, uri: &str) -> u64 {
        let start = Hash::new(6)
            .number(u64::from(provider))
            .number(self.pieces)
            .number(self.wildcards);
        let literal = pieces(uri)
            .take(MAX_PIECES)
            .enumerate()
            .filter(|(place, _)| self.wildcards & (1 << place) == 0);
        literal.fold(start, |hash, (_, piece)| hash.text(piece)).finish()
    }
}

pub fn count_pieces(uri: &str) -> usize {
    pieces(uri).count()
}

/// Whether `uri` is one that `pattern` stands for; a wildcard needs a segment that is not empty.
pub fn matches(pattern: &str, uri: &str) -> bool {
    let same = |(wanted, got): (&str, &str)| if wanted == "*" { !got.is_empty() } else { wanted == got };
    count_pieces(pattern) == count_pieces(uri) && pieces(pattern).zip(pieces(uri)).all(same)
}

/// The SPIFFE trust domain, where it is a SPIFFE ID at all. The scheme is compared without regard to case, so that no
/// spelling slips past the check of the domain.
pub fn spiffe_domain(uri: &str) -> Option<&str> {
    const SCHEME: &str = "spiffe://";
    let scheme = uri.get(..SCHEME.len())?;
    let rest = uri.get(SCHEME.len()..)?;
    scheme
        .eq_ignore_ascii_case(SCHEME)
        .then(|| rest.split('/').next().unwrap_or_default())
}

fn pieces(uri: &str) -> impl Iterator<Item = &str> {
    uri.split('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_whole_segment() {
        let pattern = "spiffe://corp/ns/*/sa/billing";
        assert!(matches(pattern, "spiffe://corp/ns/prod/sa/billing"));
        assert!(!matches(pattern, "spiffe://corp/ns//sa/billing"), "empty segment");
        assert!(!matches(pattern, "spiffe://corp/ns/a/b/sa/billing"), "two segments");
        assert!(
            !matches(pattern, "spiffe://corp/ns/prod/sa/billing/"),
            "one more segment"
        );
        assert!(!matches(pattern, "spiffe://evil/ns/prod/sa/billing"), "another domain");
    }

    #[test]
    fn pattern_and_match_share_a_hash_and_others_do_not() {
        let pattern = "spiffe://corp/ns/*/sa/billing";
        let shape = ShapeRecord::of(pattern).unwrap();
        assert_eq!(shape.pieces, 7);
        assert_eq!(shape.wildcards, 1 << 4);
        assert_eq!(
            shape.hash(1, pattern),
            shape.hash(1, "spiffe://corp/ns/prod/sa/billing")
        );
        assert_ne!(
            shape.hash(1, pattern),
            shape.hash(1, "spiffe://corp/ns/prod/sa/reports")
        );
        assert_ne!(shape.hash(1, pattern), shape.hash(2, pattern), "another provider");
    }

    #[test]
    fn a_uri_without_a_star_has_no_shape() {
        assert_eq!(ShapeRecord::of("spiffe://corp/ns/prod/sa/billing"), None);
        assert_eq!(
            ShapeRecord::of("spiffe://corp/ns/pro*/sa"),
            None,
            "part of a segment is no wildcard"
        );
        let long = format!("spiffe://corp/{}*", "a/".repeat(70));
        assert_eq!(ShapeRecord::of(&long), None, "too many pieces");
    }

    #[test]
    fn the_trust_domain_is_found_in_any_spelling_of_the_scheme() {
        assert_eq!(spiffe_domain("spiffe://corp/ns/x"), Some("corp"));
        assert_eq!(spiffe_domain("SPIFFE://corp"), Some("corp"));
        assert_eq!(spiffe_domain("https://corp/ns/x"), None);
        assert_eq!(spiffe_domain("spi"), None);
    }
}
