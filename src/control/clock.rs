//! The wall clock, read where a moment is recorded. The pure rooms get it as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::time::Utc;

/// Now. Before 1970 counts as 1970.
pub fn utc_now() -> Utc {
    let micros = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros());
    Utc(i64::try_from(micros).unwrap_or(i64::MAX))
}
