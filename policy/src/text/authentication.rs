//! `[[authentication]]`.

use super::syntax::{name_pattern, network};
use super::table::Table;
use crate::check::{Why, value};
use crate::model::{AuthenticationRule, Method};

/// What PostgreSQL's own `scram_iterations` is by default.
const SCRAM_ITERATIONS: u32 = 4_096;

/// Milliseconds: longer than any proof that needs no other machine takes to judge.
const ANSWER_FLOOR: u32 = 100;

pub(super) fn read(mut table: Table<'_>) -> AuthenticationRule {
    table.need("name", "the record says which rule it was");
    table.need(
        "method",
        "`certificate`, `scram-sha-256`, `token`, `oauthbearer`, `webhook`, each but the first with `certificate+` before it as well, or `reject`",
    );
    let name = table.string("name");
    let method = table.word("method");
    if method.is_none() {
        table.spoil("method");
    }
    let mut rule = AuthenticationRule {
        name: name.unwrap_or_default(),
        listeners: table.strings("listeners").unwrap_or_default(),
        transport: table.word("transport").unwrap_or_default(),
        networks: table.list("networks", network).unwrap_or_default(),
        databases: table.list("databases", name_pattern).unwrap_or_default(),
        users: table.list("users", name_pattern).unwrap_or_default(),
        method: method.unwrap_or(Method::Reject),
        scram_iterations: table
            .number("scram_iterations", &value::SCRAM_ITERATIONS)
            .unwrap_or(SCRAM_ITERATIONS),
        providers: table.strings("providers").unwrap_or_default(),
        discovery: table.string("discovery"),
        answer_floor: table
            .duration("answer_floor", &value::ANSWER_FLOOR)
            .unwrap_or(ANSWER_FLOOR),
    };
    rule.networks.sort();
    rule.databases.sort();
    rule.users.sort();
    let iterations = table.entry("scram_iterations");
    if let (Some(method), Some(value)) = (method, iterations)
        && !method.uses_scram()
    {
        table.fault(
            "scram_iterations",
            value.span(),
            Why::new("the rule's method has no use for iterations"),
        );
    }
    table.finish();
    rule
}
