//! What a role that is meant to read could do beside reading.

use std::collections::BTreeSet;
use std::fmt;

use super::session::{LiveFault, Session};

/// Predefined roles that write, or that lead out of the database.
const DANGEROUS: &str = "'pg_write_all_data','pg_execute_server_program','pg_write_server_files','pg_read_server_files',\
                         'pg_database_owner','pg_create_subscription','pg_maintain','pg_checkpoint'";
/// Objects named in a finding; the rest is counted.
const NAMED: usize = 5;

/// One way to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    Attribute(&'static str),
    MemberOf { role: String, granted_for_writing: bool },
    Owns(Names),
    Writes(Names),
    CreatesIn(Names),
}

/// Some names and how many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    some: Vec<String>,
    all: usize,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attribute(attribute) => write!(f, "{attribute}"),
            Self::MemberOf {
                role,
                granted_for_writing: true,
            } => write!(f, "member of {role}, which a grant gives for writing"),
            Self::MemberOf {
                role,
                granted_for_writing: false,
            } => write!(f, "member of {role}"),
            Self::Owns(names) => write!(f, "owns {names}"),
            Self::Writes(names) => write!(f, "may write to {names}"),
            Self::CreatesIn(names) => write!(f, "may create objects in {names}"),
        }
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.some.join(", "))?;
        match self.all - self.some.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Everything the session's role could write with, itself or after SET ROLE. A superuser is only called one.
pub fn examine(session: &mut Session, writers: &BTreeSet<&str>) -> Result<Vec<Finding>, LiveFault> {
    let mut findings = attributes(session)?;
    if findings.contains(&SUPERUSER) {
        return Ok(vec![SUPERUSER]);
    }
    findings.extend(memberships(session, writers)?);
    findings.extend(names(session, OWNED)?.map(Finding::Owns));
    findings.extend(names(session, WRITABLE)?.map(Finding::Writes));
    findings.extend(names(session, CREATABLE)?.map(Finding::CreatesIn));
    Ok(findings)
}

const SUPERUSER: Finding = Finding::Attribute("superuser");

fn attributes(session: &mut Session) -> Result<Vec<Finding>, LiveFault> {
    const WORDS: [&str; 5] = [
        "superuser",
        "may create roles (CREATEROLE)",
        "may create databases (CREATEDB)",
        "may replicate (REPLICATION)",
        "bypasses row security (BYPASSRLS)",
    ];
    let rows = session.query(
        "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_catalog.pg_roles \
         WHERE rolname OPERATOR(pg_catalog.=) current_user",
    )?;
    let set = rows
        .first()
        .into_iter()
        .flatten()
        .zip(WORDS)
        .filter(|(value, _)| value.as_deref() == Some("t"));
    Ok(set.map(|(_, word)| Finding::Attribute(word)).collect())
}

fn memberships(session: &mut Session, writers: &BTreeSet<&str>) -> Result<Vec<Finding>, LiveFault> {
    let rows = session.query(&format!(
        "SELECT rolname, rolname IN ({DANGEROUS}) FROM pg_catalog.pg_roles \
         WHERE rolname OPERATOR(pg_catalog.<>) current_user AND pg_catalog.pg_has_role(current_user, oid, 'MEMBER') ORDER BY 1"
    ))?;
    let finding = |row: Vec<Option<String>>| {
        let mut columns = row.into_iter();
        let role = columns.next().flatten()?;
        let dangerous = columns.next().flatten().as_deref() == Some("t");
        let granted_for_writing = writers.contains(role.as_str());
        (dangerous || granted_for_writing).then_some(Finding::MemberOf {
            role,
            granted_for_writing,
        })
    };
    Ok(rows.into_iter().filter_map(finding).collect())
}

/// Tables whose owner the role is or can become.
const OWNED: &str = "SELECT c.oid::pg_catalog.regclass::text FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r','p','f','m','S') AND n.nspname NOT IN ('pg_catalog','information_schema','pg_toast') \
    AND n.nspname NOT LIKE 'pg\\_temp\\_%' AND pg_catalog.pg_has_role(current_user, c.relowner, 'MEMBER') ORDER BY 1";

/// Tables that the role, or a role it can become, may write to without owning them.
const WRITABLE: &str = "SELECT c.oid::pg_catalog.regclass::text FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r','p','f','v') AND n.nspname NOT IN ('pg_catalog','information_schema','pg_toast') \
    AND NOT pg_catalog.pg_has_role(current_user, c.relowner, 'MEMBER') \
    AND EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER') \
        AND pg_catalog.has_table_privilege(r.oid, c.oid, 'INSERT,UPDATE,DELETE,TRUNCATE')) ORDER BY 1";

/// Schemas in which the role, or a role it can become, may create objects.
const CREATABLE: &str = "SELECT 'schema ' || pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_namespace n \
    WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' \
    AND EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER') \
        AND pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE')) ORDER BY 1";

fn names(session: &mut Session, statement: &str) -> Result<Option<Names>, LiveFault> {
    let all: Vec<String> = session
        .query(statement)?
        .into_iter()
        .filter_map(|row| row.into_iter().next().flatten())
        .collect();
    let count = all.len();
    Ok((count > 0).then(|| Names {
        some: all.into_iter().take(NAMED).collect(),
        all: count,
    }))
}
