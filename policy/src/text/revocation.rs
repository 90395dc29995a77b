//! `[revocation.NAME]`.

use super::table::Table;
use crate::model::Revocation;

pub(super) fn read(mut table: Table<'_>) -> Revocation {
    table.need("provider", "`provider = \"...\"`: whose tokens they are");
    let revocation = Revocation {
        provider: table.string("provider").unwrap_or_default(),
        token_ids: table.strings("token_ids").unwrap_or_default(),
        subjects: table.strings("subjects").unwrap_or_default(),
        key_ids: table.strings("key_ids").unwrap_or_default(),
        issued_before: table.moment("issued_before"),
    };
    table.finish();
    revocation
}
