//! Identity providers for people and for metrics: how old their keys are, and what went wrong last.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::providers::Status;
use crate::time::Utc;

/// `/providers`: a list, by name. No secrets: names of keys are public.
pub fn json(providers: &[Status], now: Utc) -> String {
    let list: Vec<Value> = providers.iter().map(|status| one(status, now)).collect();
    format!("{}\n", Value::from(list))
}

/// Appends the providers' series to `/metrics`. Their names are the policy's, so labels are a closed set.
pub fn metrics(providers: &[Status], now: Utc, out: &mut String) {
    type Sample = fn(&Status, Utc) -> Option<u64>;
    let series: [(&str, &str, &str, Sample); 9] = [
        (
            "postern_provider_keys_age_seconds",
            "gauge",
            "Seconds since the provider last confirmed its keys.",
            keys_age,
        ),
        (
            "postern_provider_keys_usable_count",
            "gauge",
            "1 while the provider's keys may be used.",
            |status, now| Some(u64::from(usable(status, now)?)),
        ),
        (
            "postern_provider_fetch_total",
            "counter",
            "Fetches of keys, and questions sent to a webhook.",
            |status, _| Some(status.fetches),
        ),
        (
            "postern_provider_failure_total",
            "counter",
            "Of those, the ones that failed.",
            |status, _| Some(status.failures),
        ),
        (
            "postern_provider_failing_count",
            "gauge",
            "1 while the last of them is one that failed.",
            |status, _| Some(u64::from(status.last_try_failed)),
        ),
        (
            "postern_provider_asked_total",
            "counter",
            "What cores asked: attempts put to a webhook, unknown keys looked for.",
            |status, _| Some(status.asked),
        ),
        (
            "postern_provider_denied_total",
            "counter",
            "Answers of a webhook that were no.",
            |status, _| Some(status.denied),
        ),
        (
            "postern_provider_unavailable_total",
            "counter",
            "Attempts denied because there was no answer.",
            |status, _| Some(status.unavailable),
        ),
        (
            "postern_provider_in_flight_count",
            "gauge",
            "Requests under way.",
            |status, _| Some(status.in_flight),
        ),
    ];
    for (name, kind, help, sample) in series {
        let mut written = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for status in providers {
            if let Some(value) = sample(status, now) {
                let label = label(&status.name);
                written = written.and(writeln!(out, "{name}{{provider=\"{label}\"}} {value}"));
            }
        }
        debug_assert!(written.is_ok(), "a String takes everything");
    }
}

fn one(status: &Status, now: Utc) -> Value {
    json!({
        "name": status.name,
        "kind": status.kind.name(),
        "keys": status.key_ids,
        "keys_age_seconds": keys_age(status, now),
        "keys_usable": usable(status, now),
        "usable_until": status.usable_until.filter(|until| until.0 < i64::MAX).map(|until| until.to_string()),
        "last_error": status.last_error,
        "last_error_at": status.last_error_at.map(|at| at.to_string()),
        "last_try_failed": status.last_try_failed,
        "fetches": status.fetches,
        "failures": status.failures,
        "asked": status.asked,
        "denied": status.denied,
        "unavailable": status.unavailable,
        "in_flight": status.in_flight,
        "cached": status.cached,
    })
}

fn keys_age(status: &Status, now: Utc) -> Option<u64> {
    let age = now.0.saturating_sub(status.fetched_at?.0).max(0) / 1_000_000;
    u64::try_from(age).ok()
}

/// `None` of a webhook, which has no keys.
fn usable(status: &Status, now: Utc) -> Option<bool> {
    match status.kind {
        super::providers::Kind::Webhook => None,
        super::providers::Kind::Inline | super::providers::Kind::Keys => {
            Some(status.usable_until.is_some_and(|until| now < until))
        }
    }
}

/// As the exposition format escapes label values.
fn label(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::providers::Kind;

    fn status() -> Status {
        Status {
            name: "corp".into(),
            kind: Kind::Keys,
            keys: 1,
            key_ids: vec!["k1".into()],
            fetched_at: Some(Utc(5_000_000)),
            usable_until: Some(Utc(60_000_000)),
            last_error: Some("answered with status 500".into()),
            last_error_at: Some(Utc(7_000_000)),
            last_try_failed: true,
            fetches: 3,
            failures: 1,
            asked: 2,
            denied: 0,
            unavailable: 0,
            in_flight: 1,
            cached: 0,
        }
    }

    #[test]
    fn the_page_tells_age_and_last_error() {
        let page: Value = serde_json::from_str(&json(&[status()], Utc(15_000_000))).expect("JSON");
        assert_eq!((&page[0]["name"], &page[0]["keys"][0]), (&json!("corp"), &json!("k1")));
        assert_eq!(
            (&page[0]["keys_age_seconds"], &page[0]["keys_usable"]),
            (&json!(10), &json!(true))
        );
        assert_eq!(
            (&page[0]["last_error"], &page[0]["last_try_failed"]),
            (&json!("answered with status 500"), &json!(true))
        );
        let late: Value = serde_json::from_str(&json(&[status()], Utc(60_000_000))).expect("JSON");
        assert_eq!(late[0]["keys_usable"], false);
    }

    #[test]
    fn every_series_has_its_provider() {
        let mut out = String::new();
        metrics(&[status()], Utc(15_000_000), &mut out);
        assert!(
            out.contains("postern_provider_keys_age_seconds{provider=\"corp\"} 10\n"),
            "{out}"
        );
        assert!(
            out.contains("postern_provider_failure_total{provider=\"corp\"} 1\n"),
            "{out}"
        );
        assert!(
            out.contains("postern_provider_failing_count{provider=\"corp\"} 1\n"),
            "{out}"
        );
        assert_eq!(out.matches("# TYPE").count(), 9);
    }
}
