//! Wall-clock time as an argument.

use core::fmt;
use core::str::FromStr;

/// Microseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Utc(pub i64);

/// Not a moment as RFC 3339 writes one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a moment like 2026-11-23T08:00:00Z (RFC 3339, with its offset)")]
pub struct NotAMoment;

impl Utc {
    /// Whole seconds since the Unix epoch, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }
}

/// RFC 3339 in UTC, with as many digits of a second as are needed.
impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(moment) => moment.fmt(f),
            Err(_) => write!(f, "{} microseconds after 1970", self.0),
        }
    }
}

/// RFC 3339; the offset is needed. Digits below a microsecond are cut off.
impl FromStr for Utc {
    type Err = NotAMoment;

    fn from_str(text: &str) -> Result<Utc, NotAMoment> {
        let moment: jiff::Timestamp = text.trim().parse().map_err(|_| NotAMoment)?;
        Ok(Utc(moment.as_microsecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_round_down_before_the_epoch_too() {
        assert_eq!(Utc(1_999_999).seconds(), 1);
        assert_eq!(Utc(-1).seconds(), -1);
    }

    #[test]
    fn reads_and_writes_rfc_3339() {
        assert_eq!("2026-11-23T09:00:00+01:00".parse(), Ok(Utc(1_795_420_800_000_000)));
        assert_eq!(Utc(1_795_420_800_000_000).to_string(), "2026-11-23T08:00:00Z");
        assert_eq!(Utc(1_500_000).to_string(), "1970-01-01T00:00:01.5Z");
        assert_eq!("2026-11-23T09:00:00".parse::<Utc>(), Err(NotAMoment));
        assert_eq!(
            Utc(i64::MAX).to_string(),
            format!("{} microseconds after 1970", i64::MAX)
        );
    }
}
