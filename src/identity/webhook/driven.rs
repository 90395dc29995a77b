//! Answers of any content, from a corpus: what is read must be what a second, plain reading of the JSON says.

use postern_fuzzing::{Entry, Marks, drive};
use serde_json::{Map, Value, json};

use super::answer::{AnswerFault, Verdict, read};

/// Every way to read an answer.
const MARKS: [&str; 16] = [
    "allowed",
    "allowed_with_groups",
    "allowed_with_attributes",
    "allowed_for_a_time",
    "denied",
    "denied_with_reason",
    "denied_for_a_time",
    "no_json",
    "another_shape",
    "no_identity",
    "misplaced",
    "identity",
    "group",
    "attribute",
    "too_many_groups",
    "too_many_attributes",
];

#[test]
fn driven_from_the_corpus() {
    drive("webhook-answer", &MARKS, generated, run);
}

fn run(body: &[u8], marks: &mut Marks) {
    match read(body) {
        Ok(verdict) => {
            let said: Map<String, Value> = serde_json::from_slice(body).expect("it was JSON");
            let known = ["allow", "identity", "groups", "attributes", "ttl", "reason"];
            assert!(said.keys().all(|name| known.contains(&name.as_str())));
            check(&said, &verdict, marks);
            let again = written(&verdict).to_string();
            assert_eq!(read(again.as_bytes()), Ok(verdict), "written and read again");
        }
        Err(fault) => marks.reach(match fault {
            AnswerFault::Shape { what: "no JSON", .. } => "no_json",
            AnswerFault::Shape { .. } => "another_shape",
            AnswerFault::NoIdentity => "no_identity",
            AnswerFault::Misplaced(_) => "misplaced",
            AnswerFault::Name(of) => of,
            AnswerFault::TooMany("groups") => "too_many_groups",
            AnswerFault::TooMany(_) => "too_many_attributes",
        }),
    }
}

fn check(said: &Map<String, Value>, verdict: &Verdict, marks: &mut Marks) {
    let of = |name: &str| said.get(name).filter(|value| !value.is_null());
    let seconds = |ttl: &Option<std::time::Duration>| ttl.map(|ttl| ttl.as_secs());
    match verdict {
        Verdict::Allow {
            subject,
            groups,
            attributes,
            ttl,
        } => {
            assert!(said["allow"] == true && of("reason").is_none());
            assert!(said["identity"] == **subject && is_name(subject));
            let none = Vec::new();
            let listed = of("groups").map_or(&none, |list| list.as_array().expect("a list"));
            assert!(listed.iter().eq(groups.iter().map(|group| &**group)) && groups.len() <= 1024);
            assert!(groups.iter().all(|group| is_name(group)));
            let empty = Map::new();
            let named = of("attributes").map_or(&empty, |names| names.as_object().expect("an object"));
            for (name, value) in named {
                let texts = texts(value);
                assert!(texts.iter().map(String::as_str).eq(attributes.values(name)), "{name}");
            }
            let count: usize = named.values().map(|value| texts(value).len()).sum();
            assert!(attributes.iter().count() == count && count <= 1024);
            assert!(attributes.iter().all(|(name, _)| is_name(name)));
            assert_eq!(of("ttl").map(|ttl| ttl.as_u64().expect("a number")), seconds(ttl));
            marks.reach("allowed");
            for (mark, reached) in [
                ("allowed_with_groups", !groups.is_empty()),
                ("allowed_with_attributes", count > 0),
                ("allowed_for_a_time", ttl.is_some()),
            ] {
                if reached {
                    marks.reach(mark);
                }
            }
        }
        Verdict::Deny { reason, ttl } => {
            assert!(said["allow"] == false);
            assert!(
                ["identity", "groups", "attributes"]
                    .iter()
                    .all(|name| of(name).is_none())
            );
            let given = of("reason").map_or("", |reason| reason.as_str().expect("a text"));
            let plain: String = given.chars().filter(|one| !one.is_control()).collect();
            assert!(plain.starts_with(&**reason));
            assert_eq!(reason.chars().count(), plain.chars().count().min(200));
            assert_eq!(of("ttl").map(|ttl| ttl.as_u64().expect("a number")), seconds(ttl));
            marks.reach("denied");
            if !reason.is_empty() {
                marks.reach("denied_with_reason");
            }
            if ttl.is_some() {
                marks.reach("denied_for_a_time");
            }
        }
    }
}

fn is_name(text: &str) -> bool {
    (1..=255).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(list) => list.iter().flat_map(texts).collect(),
        Value::String(text) => vec![text.clone()],
        Value::Bool(_) | Value::Number(_) => vec![value.to_string()],
        Value::Null | Value::Object(_) => panic!("{value} has no text"),
    }
}

fn written(verdict: &Verdict) -> Value {
    let (mut said, ttl) = match verdict {
        Verdict::Allow {
            subject,
            groups,
            attributes,
            ttl,
        } => {
            let mut names = Map::new();
            for (name, value) in attributes.iter() {
                let values = names.entry(name).or_insert_with(|| json!([]));
                values.as_array_mut().expect("a list").push(json!(value));
            }
            (
                json!({"allow": true, "identity": subject, "groups": groups, "attributes": names}),
                ttl,
            )
        }
        Verdict::Deny { reason, ttl } => (json!({"allow": false, "reason": reason}), ttl),
    };
    if let Some(ttl) = ttl {
        said["ttl"] = json!(ttl.as_secs());
    }
    said
}

/// A good answer of each kind, and one for each way it may be none.
fn generated() -> Vec<Entry> {
    let allow = |name: &str, value: Value| {
        let mut said = json!({"allow": true, "identity": "alice"});
        said[name] = value;
        said.to_string()
    };
    let full = json!({
        "allow": true, "identity": "alice", "groups": ["dev", "ops"], "ttl": 60,
        "attributes": {"tenant": "acme", "roles": ["b", "a", 7, true], "level": 3, "admin": false, "none": []},
    });
    let entries = [
        ("full", full.to_string()),
        ("bare", allow("allow", json!(true))),
        ("no", json!({"allow": false}).to_string()),
        (
            "reason",
            json!({"allow": false, "reason": "on\n leave", "ttl": 5}).to_string(),
        ),
        (
            "long-reason",
            json!({"allow": false, "reason": "é".repeat(300)}).to_string(),
        ),
        (
            "nulls",
            json!({"allow": false, "identity": null, "groups": null}).to_string(),
        ),
        ("cut", full.to_string()[..60].to_owned()),
        ("shape", json!({"allow": 1}).to_string()),
        ("unknown", allow("extra", json!(1))),
        ("nested", allow("attributes", json!({"a": {"b": "c"}}))),
        (
            "twice",
            r#"{"allow":true,"identity":"a","attributes":{"a":1,"a":2}}"#.to_owned(),
        ),
        ("nobody", json!({"allow": true}).to_string()),
        ("misplaced", allow("reason", json!("b"))),
        ("no-identity", json!({"allow": false, "identity": "a"}).to_string()),
        ("no-groups", json!({"allow": false, "groups": ["a"]}).to_string()),
        (
            "no-attributes",
            json!({"allow": false, "attributes": {"a": 1}}).to_string(),
        ),
        ("identity", allow("identity", json!("a\u{0}b"))),
        ("group", allow("groups", json!([""]))),
        ("attribute", allow("attributes", json!({"": "1"}))),
        ("groups", allow("groups", json!(vec!["g"; 1025]))),
        ("attributes", allow("attributes", json!({"a": vec![1; 1025]}))),
    ];
    entries.map(|(name, text)| (name.to_owned(), text.into_bytes())).into()
}
