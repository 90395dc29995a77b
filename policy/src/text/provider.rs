//! `[provider.NAME]`.

use super::referenced::{revocation_lists, roots};
use super::table::Table;
use super::{ReferencedFiles, tokens};
use crate::check::{Why, value};
use crate::model::{CertificateAuthority, Provider};

/// The provider that is written here. One of a kind that we do not know is told, and stands as an authority without roots.
pub(super) fn read(mut table: Table<'_>, files: &dyn ReferencedFiles) -> Provider {
    table.need("kind", "`certificates`, `tokens`, `jwt-svid` or `webhook`");
    match table.text("kind", kind) {
        Some(Kind::Certificates) => Provider::CertificateAuthority(read_authority(table, files)),
        Some(Kind::Tokens) => Provider::Tokens(tokens::read_oidc(table, files)),
        Some(Kind::JwtSvid) => Provider::Tokens(tokens::read_jwt_svid(table, files)),
        Some(Kind::Webhook) => Provider::Webhook(tokens::read_webhook(table, files)),
        // The keys of a kind that we do not know cannot be judged.
        None if table.has("kind") => {
            table.findings.spoil_whole(table.object);
            Provider::CertificateAuthority(CertificateAuthority::default())
        }
        None => Provider::CertificateAuthority(read_authority(table, files)),
    }
}

fn read_authority(mut table: Table<'_>, files: &dyn ReferencedFiles) -> CertificateAuthority {
    table.need("roots", "`roots = [\"ca.pem\"]`: the certificates of the authority");
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

#[derive(Clone, Copy)]
enum Kind {
    Certificates,
    Tokens,
    JwtSvid,
    Webhook,
}

fn kind(word: &str) -> Result<Kind, Why> {
    match word {
        "certificates" => Ok(Kind::Certificates),
        "tokens" => Ok(Kind::Tokens),
        "jwt-svid" => Ok(Kind::JwtSvid),
        "webhook" => Ok(Kind::Webhook),
        other => Err(
            Why::new(format!("no kind of provider is called `{}`", other.escape_debug()))
                .help("`certificates`, `tokens`, `jwt-svid` or `webhook`"),
        ),
    }
}
