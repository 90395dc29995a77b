//! Whatever is written: no panic, and no meaning in an order that has none.

use core::ops::Range;

use proptest::prelude::*;

use super::{Directory, examples, parse_one, sources};
use postern_policy::text::{SourceFile, parse};

fn example(name: &str) -> (Vec<SourceFile>, Directory) {
    let directory = examples().join(name);
    (sources(&directory), Directory(directory))
}

/// All examples as one text each: what the mutations start from.
fn whole(name: &str) -> String {
    example(name).0.iter().map(|file| format!("{}\n", file.text)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_files_does_not_matter(order in Just((0..7).collect::<Vec<usize>>()).prop_shuffle()) {
        let (files, directory) = example("fleet");
        prop_assert_eq!(files.len(), 7, "the shuffle is of all files");
        let shuffled: Vec<_> = order.iter().map(|index| files[*index].clone()).collect();
        prop_assert!(parse(&shuffled, &directory) == parse(&files, &directory), "{:?}", order);
    }

    #[test]
    fn neither_does_the_order_in_which_faults_are_found(order in Just((0..7).collect::<Vec<usize>>()).prop_shuffle()) {
        let (mut files, directory) = example("fleet");
        for file in &mut files {
            file.text = file.text.replace("payments", "paiments").replace("[grant.support]", "[grant.billing]");
        }
        let shuffled: Vec<_> = order.iter().map(|index| files[*index].clone()).collect();
        let told = parse(&files, &directory).expect_err("faults").to_string();
        prop_assert_eq!(parse(&shuffled, &directory).expect_err("faults").to_string(), told);
    }

    #[test]
    fn no_text_panics(text in "(\\[{0,2}(grant|identity|cluster|authentication|x)(\\.[a-z\"]{1,3})*\\]{0,2}\n|[a-z_]{1,9} ?= ?[^\n]{0,12}\n){0,12}") {
        told(&text);
    }

    #[test]
    fn no_characters_panic(text in any::<String>()) {
        told(&text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// A line gone, twice, or with some of its characters replaced: near enough to a policy to get everywhere.
    #[test]
    fn no_mutation_of_a_policy_panics(
        name in prop::sample::select(vec!["small-team", "fleet", "replication"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..6_usize, "[ -~é\n]{0,4}"), 1..5),
    ) {
        let mut text = whole(name);
        for (line, within, kind, replacement) in changes {
            let lines: Vec<Range<usize>> = line_ranges(&text);
            let line = lines[line.index(lines.len())].clone();
            match kind {
                0 => text.replace_range(line, ""),
                1 => {
                    let copy = text[line.clone()].to_owned();
                    text.insert_str(line.start, &copy);
                }
                _other => {
                    let at = line.start + within.index(line.len().max(1));
                    let end = (at + kind).min(line.end);
                    if text.is_char_boundary(at) && text.is_char_boundary(end) && at <= end {
                        text.replace_range(at..end, &replacement);
                    }
                }
            }
        }
        match parse_one(&text, &examples().join(name)) {
            Ok(model) => super::assert_sound(&model),
            Err(faults) => assert_told(&faults.to_string()),
        }
    }
}

fn told(text: &str) {
    if let Err(faults) = parse_one(text, &examples()) {
        assert_told(&faults.to_string());
    }
}

/// Something is said, and nothing that a password could be guessed from.
fn assert_told(told: &str) {
    assert!(told.starts_with("error: "), "{told}");
    let parts = [
        "0LIYXDH3nW6agcZVcY7N",
        "rxVgtKxQmYPkJIWzLyqk",
        "uwaJC6FDRVx2V1zGiq3l",
        "10him6YjKDV7dB2WnfHl",
    ];
    assert!(!parts.iter().any(|part| told.contains(part)), "{told}");
}

fn line_ranges(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    text.split_inclusive('\n')
        .map(|line| {
            let range = start..start + line.len();
            start = range.end;
            range
        })
        .collect()
}
