//! Tests of claims: `{ tenant = "acme", roles = ["dba", "dev-*"] }`.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::table::{Table, Value, kind};
use crate::check::{Why, value};
use crate::model::{ClaimTest, Glob};

/// The table at `key`: a string is what the one value must be, a list what at least one of the values must be.
pub(super) fn read(table: &mut Table<'_>, key: &'static str) -> BTreeMap<String, ClaimTest> {
    let mut tests = BTreeMap::new();
    for (name, span, written) in table.entries(key) {
        let read = test(written).and_then(|test| value::claim_test(name, &test).map(|()| test));
        if let Some(test) = table.accept(key, span.bytes, read) {
            tests.insert(name.to_owned(), test);
        }
    }
    tests
}

fn test(written: &Value<'_>) -> Result<ClaimTest, Why> {
    match written.get_ref() {
        DeValue::Array(list) => {
            let mut patterns = list.iter().map(pattern).collect::<Result<Vec<_>, _>>()?;
            patterns.sort();
            patterns.dedup();
            Ok(ClaimTest::HasOneOf(patterns))
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Boolean(_)
        | DeValue::Float(_)
        | DeValue::Datetime(_)
        | DeValue::Table(_) => pattern(written).map(ClaimTest::Is),
    }
}

/// Numbers and booleans are compared as text.
fn pattern(written: &Value<'_>) -> Result<Glob, Why> {
    match written.get_ref() {
        DeValue::String(text) => Ok(Glob(text.to_string())),
        DeValue::Integer(number) => Ok(Glob(number.to_string())),
        DeValue::Boolean(flag) => Ok(Glob(flag.to_string())),
        other @ (DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_)) => Err(Why::new(
            format!("a claim is compared with a string, not {}", kind(other)),
        )
        .help("`\"acme\"`, `\"dev-*\"`, or a list of them")),
    }
}
