//! "Did you mean": the known name closest to one that was mistyped.

/// Beyond this many known names no suggestion is looked for: a fault must not cost a scan of a whole fleet.
const MOST_CANDIDATES: usize = 20_000;

/// The candidate with the fewest edits, if they are few for the length of the word. The first one wins a tie.
pub(crate) fn closest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = written.to_lowercase().chars().collect();
    let allowed = (word.len() / 3).clamp(1, 4);
    let mut best: Option<(usize, &str)> = None;
    for (index, candidate) in candidates.into_iter().enumerate() {
        if index == MOST_CANDIDATES {
            return None;
        }
        let limit = best.map_or(allowed, |(edits, _)| edits.saturating_sub(1));
        if let Some(edits) = edits_within(&word, candidate, limit)
            && best.is_none_or(|(fewest, _)| edits < fewest)
        {
            best = Some((edits, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
        .filter(|candidate| *candidate != written)
}

/// "one of `a`, `b`", for a help.
pub(crate) fn one_of<'a>(known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<String> = known.into_iter().map(|word| format!("`{word}`")).collect();
    format!("one of {}", known.join(", "))
}

/// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment), or `None` beyond `limit`.
fn edits_within(word: &[char], candidate: &str, limit: usize) -> Option<usize> {
    let other: Vec<char> = candidate.to_lowercase().chars().collect();
    if word.len().abs_diff(other.len()) > limit {
        return None;
    }
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in word.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut cost = (last[j] + usize::from(a != b)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && word[i - 1] == *b && other[j - 1] == *a {
                cost = cost.min(before_last[j - 1] + 1);
            }
            row.push(cost);
        }
        before_last = core::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|edits| *edits <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant_and_nothing_else() {
        let known = ["identities", "groups", "networks", "role", "svc:billing"];
        for (written, meant) in [
            ("network", Some("networks")),
            ("identites", Some("identities")),
            ("gruops", Some("groups")),
            ("Role", Some("role")),
            ("svc:biling", Some("svc:billing")),
            ("x", None),
            ("completely-else", None),
            ("", None),
        ] {
            assert_eq!(closest(written, known), meant, "{written}");
        }
    }

    #[test]
    fn the_closest_wins_and_a_herd_is_not_scanned() {
        assert_eq!(closest("app_rw1", ["app_ro", "app_rw"]), Some("app_rw"));
        let herd: Vec<String> = (0..MOST_CANDIDATES + 1).map(|n| format!("name-{n:07}")).collect();
        assert_eq!(closest("name-000000", herd.iter().map(String::as_str)), None);
    }
}
