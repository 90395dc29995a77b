//! `[provider.NAME]`.

use super::ReferencedFiles;
use super::referenced::{revocation_lists, roots};
use super::table::Table;
use crate::check::{Why, value};
use crate::model::CertificateAuthority;

pub(super) fn read(mut table: Table<'_>, files: &dyn ReferencedFiles) -> CertificateAuthority {
    table.need("kind", "`kind = \"certificates\"`");
    table.need("roots", "`roots = [\"ca.pem\"]`: the certificates of the authority");
    let certificates = table.text("kind", kind).is_some();
    if table.has("kind") && !certificates {
        // The keys of a kind that we do not know cannot be judged.
        table.findings.spoil_whole(table.object);
        return CertificateAuthority::default();
    }
    let authority = CertificateAuthority {
        roots: roots(&mut table, "roots", files),
        crls: revocation_lists(&mut table, "crls", files),
        crl: table.word("crl").unwrap_or_default(),
        crl_max_age: table.duration("crl_max_age", &value::CRL_MAX_AGE),
        trust_domains: table.strings("trust_domains").unwrap_or_default(),
    };
    if authority.crls.is_empty() && table.has("crls") {
        table.spoil("crl");
        table.spoil("crl_max_age");
    }
    table.finish();
    authority
}

fn kind(word: &str) -> Result<(), Why> {
    match word {
        "certificates" => Ok(()),
        other => Err(
            Why::new(format!("no kind of provider is called `{}`", other.escape_debug()))
                .help("`certificates` is the one there is"),
        ),
    }
}
