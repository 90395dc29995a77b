//! Settings by name, compared as PostgreSQL compares them; and the names that no client may use.

use super::{MAX_NAME, MAX_SETTINGS, ParameterFault};

/// One setting of the client's, spelt as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub name: String,
    pub value: String,
}

/// Names with a meaning of their own in a StartupMessage, or that change who the session is. As settings (inside
/// `options`, or in another case) they would become exactly that when the gate builds its own StartupMessage.
const GUARDED: [&str; 6] = [
    "user",
    "database",
    "options",
    "replication",
    "role",
    "session_authorization",
];

/// Prefixes that are the gate's and the protocol's own.
const GUARDED_PREFIXES: [&str; 2] = ["postern.", "_pq_."];

/// Names that PostgreSQL still takes for others (`map_old_guc_names`).
const OLD_NAMES: [(&str, &str); 3] = [
    ("sort_mem", "work_mem"),
    ("vacuum_mem", "maintenance_work_mem"),
    ("ssl_ecdh_curve", "ssl_groups"),
];

/// Whether PostgreSQL takes both for one setting: ASCII case does not count, old names stand for the new ones.
pub fn same_setting(one: &str, other: &str) -> bool {
    current_name(one).eq_ignore_ascii_case(current_name(other))
}

/// Adds a setting, or replaces an earlier one of the same name: the last one wins.
pub(super) fn insert(settings: &mut Vec<Setting>, name: String, value: String) -> Result<(), ParameterFault> {
    check(&name)?;
    if let Some(earlier) = settings.iter_mut().find(|earlier| same_setting(&earlier.name, &name)) {
        *earlier = Setting { name, value };
        return Ok(());
    }
    if settings.len() >= MAX_SETTINGS {
        return Err(ParameterFault::TooManySettings);
    }
    settings.push(Setting { name, value });
    Ok(())
}

fn check(name: &str) -> Result<(), ParameterFault> {
    if name.len() > MAX_NAME {
        return Err(ParameterFault::NameTooLong { what: "setting" });
    }
    let guarded = GUARDED.iter().any(|guarded| name.eq_ignore_ascii_case(guarded))
        || GUARDED_PREFIXES.iter().any(|prefix| has_prefix(name, prefix));
    if guarded {
        return Err(ParameterFault::Guarded { name: name.to_owned() });
    }
    if !name.split('.').all(is_identifier) {
        return Err(ParameterFault::Unrecognized { name: name.to_owned() });
    }
    Ok(())
}

fn current_name(name: &str) -> &str {
    OLD_NAMES
        .iter()
        .find(|(old, _)| name.eq_ignore_ascii_case(old))
        .map_or(name, |(_, current)| current)
}

fn has_prefix(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// One part of a setting's name, as PostgreSQL takes it for custom settings: letters (every non-ASCII byte is one),
/// `_`, and behind the first also digits and `$`.
fn is_identifier(part: &str) -> bool {
    let starts = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii();
    part.bytes().next().is_some_and(starts)
        && part
            .bytes()
            .all(|byte| starts(byte) || byte.is_ascii_digit() || byte == b'$')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert_all(pairs: &[(&str, &str)]) -> Result<Vec<Setting>, ParameterFault> {
        let mut settings = Vec::new();
        for (name, value) in pairs {
            insert(&mut settings, (*name).to_owned(), (*value).to_owned())?;
        }
        Ok(settings)
    }

    #[test]
    fn names_are_compared_as_postgresql_does() {
        assert!(same_setting("TimeZone", "timezone"));
        assert!(same_setting("SORT_MEM", "work_mem") && same_setting("work_mem", "sort_mem"));
        assert!(same_setting("vacuum_mem", "Maintenance_Work_Mem"));
        assert!(!same_setting("work_mem", "maintenance_work_mem"));
        assert!(!same_setting("app.Ä", "app.ä"), "only ASCII folds");
    }

    #[test]
    fn the_last_of_one_name_wins() {
        let settings = insert_all(&[("work_mem", "1MB"), ("x.y", "1"), ("Sort_Mem", "2MB")]).expect("legal");
        let expected = [("Sort_Mem", "2MB"), ("x.y", "1")];
        assert!(
            settings
                .iter()
                .map(|setting| (setting.name.as_str(), setting.value.as_str()))
                .eq(expected)
        );
    }

    #[test]
    fn guarded_names_are_refused_in_every_case() {
        for name in GUARDED
            .iter()
            .copied()
            .chain(["postern.identity", "postern.", "_pq_.x"])
        {
            for spelling in [
                name.to_owned(),
                name.to_uppercase(),
                name[..1].to_uppercase() + &name[1..],
            ] {
                let fault = insert_all(&[(&spelling, "x")]);
                assert_eq!(fault, Err(ParameterFault::Guarded { name: spelling }));
            }
        }
        assert!(insert_all(&[("posterns.identity", "x"), ("postern_x", "y"), ("users", "z")]).is_ok());
    }

    #[test]
    fn names_that_no_setting_can_have_are_refused() {
        for name in [
            "", " role", "role ", "ro le", ".a", "a.", "a..b", "1a", "a;b", "a\"b", "$a", "a\tb",
        ] {
            assert_eq!(
                insert_all(&[(name, "x")]),
                Err(ParameterFault::Unrecognized { name: name.to_owned() }),
                "{name:?}"
            );
        }
        assert!(insert_all(&[("a.b.c$1", "x"), ("_a", "x"), ("ä.ö", "x")]).is_ok());
        assert_eq!(
            insert_all(&[(&"a".repeat(64), "x")]),
            Err(ParameterFault::NameTooLong { what: "setting" })
        );
        assert!(insert_all(&[(&"a".repeat(63), "x")]).is_ok());
    }

    #[test]
    fn the_number_of_settings_is_bounded() {
        let names: Vec<_> = (0..=MAX_SETTINGS).map(|number| format!("a.b{number}")).collect();
        let pairs: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
        assert!(insert_all(&pairs[..MAX_SETTINGS]).is_ok());
        assert_eq!(insert_all(&pairs), Err(ParameterFault::TooManySettings));
    }
}
