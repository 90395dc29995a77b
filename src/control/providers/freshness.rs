//! When to ask a provider again: by its own word within bounds, sooner and then ever later after a failure.

use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::CACHE_CONTROL;

/// Bounds of one provider.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// No sooner than this, whatever the provider says.
    pub floor: Duration,
    /// After the first failure.
    pub first_retry: Duration,
    /// Where the provider does not say, and between two tries at most.
    pub refresh: Duration,
    /// How long keys serve after they were fetched.
    pub keys_max_age: Duration,
}

impl Bounds {
    /// From a fetch that went well to the next. Half of the time that keys serve is left for tries that fail.
    pub fn next(&self, said: Option<Duration>) -> Duration {
        let wanted = said.map_or(self.refresh, |said| said.max(self.floor));
        wanted.min(self.keys_max_age / 2)
    }

    /// After so many failures in a row, the first being number one.
    pub fn retry(&self, failures: u32) -> Duration {
        let doubled = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first_retry
            .saturating_mul(doubled)
            .min(self.refresh.max(self.first_retry))
    }
}

/// How long an answer says that it stays fresh (RFC 9111, 5.2.2); `None` if it does not say.
pub fn said(headers: &HeaderMap) -> Option<Duration> {
    let mut found = None;
    for value in headers.get_all(CACHE_CONTROL) {
        for directive in value.to_str().unwrap_or_default().split(',') {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            let name = name.trim();
            if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
                return Some(Duration::ZERO);
            }
            if name.eq_ignore_ascii_case("max-age")
                && let Ok(seconds) = argument.trim().trim_matches('"').parse::<u32>()
            {
                found = Some(Duration::from_secs(u64::from(seconds)));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn bounds(refresh: u64, keys_max_age: u64) -> Bounds {
        Bounds {
            floor: Duration::from_secs(60),
            first_retry: Duration::from_secs(1),
            refresh: Duration::from_secs(refresh),
            keys_max_age: Duration::from_secs(keys_max_age),
        }
    }

    #[test]
    fn the_providers_word_counts_within_bounds() {
        let bounds = bounds(300, 3600);
        for (said, next) in [
            (None, 300),
            (Some(0), 60),
            (Some(120), 120),
            (Some(600), 600),
            (Some(86_400), 1800),
        ] {
            let said = said.map(Duration::from_secs);
            assert_eq!(bounds.next(said).as_secs(), next, "{said:?}");
        }
    }

    #[test]
    fn keys_that_serve_for_a_short_time_are_fetched_in_time() {
        assert_eq!(bounds(300, 40).next(None).as_secs(), 20);
        assert_eq!(bounds(300, 40).next(Some(Duration::ZERO)).as_secs(), 20);
    }

    #[test]
    fn tries_that_fail_become_rarer_up_to_the_refresh_time() {
        let bounds = bounds(30, 3600);
        let waits: Vec<u64> = [1, 2, 3, 5, 6, 40, u32::MAX]
            .map(|failures| bounds.retry(failures).as_secs())
            .into();
        assert_eq!(waits, [1, 2, 4, 16, 30, 30, 30]);
    }

    #[test]
    fn cache_control_is_read_in_all_its_shapes() {
        for (text, expected) in [
            ("max-age=120", Some(120)),
            ("public, Max-Age=\"120\", must-revalidate", Some(120)),
            ("max-age=soon", None),
            ("no-cache, max-age=120", Some(0)),
            ("private", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(text));
            assert_eq!(said(&headers).map(|said| said.as_secs()), expected, "{text}");
        }
        assert_eq!(said(&HeaderMap::new()), None);
    }
}
