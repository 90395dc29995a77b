//! Certificates and revocation lists out of the files that a policy names, PEM or DER.

use rustls_pki_types::pem::{PemObject, SectionKind};

use super::ReferencedFiles;
use super::table::Table;
use crate::check::{Why, pki};

/// The trust anchors in the files at `key`. A file that is not as it should be is told at its place.
pub(super) fn roots(table: &mut Table<'_>, key: &'static str, files: &dyn ReferencedFiles) -> Vec<Vec<u8>> {
    read(table, key, files, SectionKind::Certificate, pki::root)
}

/// The revocation lists in the files at `key`.
pub(super) fn revocation_lists(table: &mut Table<'_>, key: &'static str, files: &dyn ReferencedFiles) -> Vec<Vec<u8>> {
    read(table, key, files, SectionKind::Crl, pki::revocation_list)
}

/// The bytes of the one file at `key`, as they are.
pub(super) fn document(table: &mut Table<'_>, key: &'static str, files: &dyn ReferencedFiles) -> Option<Vec<u8>> {
    table.text(key, |path| {
        files
            .read(path)
            .map_err(|error| Why::new(format!("cannot read {}: {error}", path.escape_debug())))
    })
}

/// The path of a secret at `key`; a fault where the gate could not use it.
pub(super) fn secret(table: &mut Table<'_>, key: &'static str, files: &dyn ReferencedFiles) -> Option<String> {
    let path = table.string(key)?;
    if let (Some(value), Err(error)) = (table.entry(key), files.check_secret(&path)) {
        table.fault(
            key,
            value.span(),
            Why::new(format!("cannot use {}: {error}", path.escape_debug())),
        );
    }
    Some(path)
}

fn read(
    table: &mut Table<'_>,
    key: &'static str,
    files: &dyn ReferencedFiles,
    wanted: SectionKind,
    rule: fn(&[u8]) -> Result<(), Why>,
) -> Vec<Vec<u8>> {
    let found = table.list(key, |path| {
        let shown = path.escape_debug();
        let bytes = files
            .read(path)
            .map_err(|error| Why::new(format!("cannot read {shown}: {error}")))?;
        let found = sections(&bytes, wanted).map_err(|why| Why {
            message: format!("{shown}: {}", why.message),
            ..why
        })?;
        for der in &found {
            rule(der).map_err(|why| Why {
                message: format!("{shown}: {}", why.message),
                ..why
            })?;
        }
        Ok(found)
    });
    let mut all: Vec<Vec<u8>> = found.unwrap_or_default().into_iter().flatten().collect();
    // Equal policies compile to equal bytes, whatever the order of files.
    all.sort_unstable();
    all
}

/// What of the `wanted` kind a file holds; at least one, and no private key beside it.
fn sections(bytes: &[u8], wanted: SectionKind) -> Result<Vec<Vec<u8>>, Why> {
    const DER_SEQUENCE: u8 = 0x30;
    if bytes.first() == Some(&DER_SEQUENCE) {
        return Ok(vec![bytes.to_vec()]);
    }
    let mut found = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
        let (kind, der) = section.map_err(|_| Why::new("malformed PEM"))?;
        match kind {
            kind if kind == wanted => found.push(der),
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                return Err(Why::new("has a private key in it").help("a policy names public certificates only"));
            }
            _other_sections => {}
        }
    }
    match (found.is_empty(), wanted) {
        (false, _) => Ok(found),
        (true, SectionKind::Crl) => Err(Why::new("has no revocation list (`X509 CRL`) in it")),
        (true, _) => Err(Why::new("has no certificate in it").help("PEM, `-----BEGIN CERTIFICATE-----`, or DER")),
    }
}
