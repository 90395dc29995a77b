//! Counts what is legal and could go on for ever. The numbers are BoringSSL's and rustls'.

use crate::tls::error::{TlsError, Violation};

/// `kMaxEmptyRecords`, `kMaxWarningAlerts`, `kMaxKeyUpdates` of BoringSSL (`ssl/internal.h`, `ssl/tls_record.cc`).
const EMPTY_RECORDS: u8 = 32;
const WARNINGS: u8 = 4;
const KEY_UPDATES: u8 = 32;
/// The first request is refused politely.
const RENEGOTIATIONS: u8 = 1;

/// What is left of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    empty_records: u8,
    warnings: u8,
    key_updates: u8,
    renegotiations: u8,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            empty_records: EMPTY_RECORDS,
            warnings: WARNINGS,
            key_updates: KEY_UPDATES,
            renegotiations: RENEGOTIATIONS,
        }
    }
}

impl Patience {
    /// Data came: what counts between data begins anew.
    pub(super) fn data(&mut self) {
        self.empty_records = EMPTY_RECORDS;
        self.key_updates = KEY_UPDATES;
    }

    pub(super) fn empty_record(&mut self) -> Result<(), TlsError> {
        spend(&mut self.empty_records, Violation::EmptyRecordFlood)
    }

    pub(super) fn warning(&mut self) -> Result<(), TlsError> {
        spend(&mut self.warnings, Violation::WarningFlood)
    }

    pub(super) fn key_update(&mut self) -> Result<(), TlsError> {
        spend(&mut self.key_updates, Violation::KeyUpdateFlood)
    }

    pub(super) fn renegotiation(&mut self) -> Result<(), TlsError> {
        spend(&mut self.renegotiations, Violation::RenegotiationFlood)
    }
}

fn spend(left: &mut u8, flood: Violation) -> Result<(), TlsError> {
    *left = left.checked_sub(1).ok_or(flood)?;
    Ok(())
}
