//! Tests of claims against a slow reading of them: equality and patterns, of names with no value, one and several.

use postern_policy::attributes::Attributes;
use postern_policy::model::{ClaimTest, Glob};
use proptest::collection::vec;
use proptest::prelude::*;

use super::reference;

/// So few characters that patterns fit by accident, overlap, and repeat themselves.
fn pattern() -> impl Strategy<Value = Glob> {
    "[ab*é]{0,7}".prop_map(Glob)
}

fn test() -> impl Strategy<Value = ClaimTest> {
    prop_oneof![
        pattern().prop_map(ClaimTest::Is),
        vec(pattern(), 0..4).prop_map(ClaimTest::HasOneOf),
    ]
}

/// Names of which one begins another, and paths.
fn attributes() -> impl Strategy<Value = Attributes> {
    let name = prop_oneof![Just("a"), Just("a.b"), Just("ab"), Just("b")];
    vec((name, "[abé]{0,8}"), 0..5).prop_map(|pairs| pairs.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_test_of_a_claim_is_what_it_says(test in test(), attributes in attributes()) {
        for name in ["a", "a.b", "ab", "b", "c", ""] {
            let wanted = reference::holds(&test, name, &attributes);
            prop_assert_eq!(test.holds(name, &attributes), wanted, "{} of {:?}", name, attributes);
        }
    }

    #[test]
    fn a_pattern_of_a_text_fits_it(text in "[abé]{0,8}", cuts in vec(any::<prop::sample::Index>(), 0..3)) {
        // The text with some pieces made stars.
        let mut pattern: Vec<char> = text.chars().collect();
        for cut in cuts {
            let at = cut.index(pattern.len() + 1);
            let length = (pattern.len() - at).min(2);
            pattern.splice(at..at + length, ['*']);
        }
        prop_assert!(Glob(pattern.into_iter().collect()).matches(&text));
    }

    #[test]
    fn without_a_star_a_pattern_is_equality(pattern in "[abé]{0,4}", text in "[abé]{0,4}") {
        prop_assert_eq!(Glob(pattern.clone()).matches(&text), pattern == text);
    }
}
