//! The UTC offsets of a named zone as a table, made where the tz database is (at compile time), so that a decision needs none.

use jiff::Timestamp;
use jiff::civil::date;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::layout::TransitionRecord;

/// The table covers these years; before and after them the first and the last offset hold.
pub const FIRST_YEAR: i16 = 2000;
pub const LAST_YEAR: i16 = 2075;

/// Offsets of an IANA zone by the bundled tz database, ascending by time and never empty; `None` for a name it does not know.
pub fn transitions(zone: &str) -> Option<Vec<TransitionRecord>> {
    let zone = if zone == "UTC" {
        TimeZone::UTC
    } else {
        TimeZoneDatabase::bundled().get(zone).ok()?
    };
    let start = year_start(FIRST_YEAR)?;
    let end = year_start(LAST_YEAR + 1)?;
    let at = |moment: Timestamp| TransitionRecord {
        at: moment.as_second(),
        offset: i64::from(zone.to_offset(moment).seconds()),
    };
    let mut found = vec![at(start)];
    for transition in zone
        .following(start)
        .take_while(|transition| transition.timestamp() < end)
    {
        let next = at(transition.timestamp());
        // Some transitions change only the abbreviation or the daylight-saving flag.
        if found.last().is_none_or(|last| last.offset != next.offset) {
            found.push(next);
        }
    }
    Some(found)
}

fn year_start(year: i16) -> Option<Timestamp> {
    Some(date(year, 1, 1).to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utc_never_moves() {
        assert_eq!(
            transitions("UTC").unwrap(),
            [TransitionRecord {
                at: 946_684_800,
                offset: 0
            }]
        );
    }

    #[test]
    fn vienna_changes_twice_a_year_to_the_end_of_the_table() {
        let vienna = transitions("Europe/Vienna").unwrap();
        assert_eq!(vienna.len(), 1 + 2 * 76);
        assert_eq!(vienna[0].offset, 3600);
        // 2026-03-29 01:00 UTC.
        assert!(vienna.contains(&TransitionRecord {
            at: 1_774_746_000,
            offset: 7200
        }));
        assert!(vienna.is_sorted_by_key(|transition| transition.at));
    }

    #[test]
    fn an_unknown_zone_is_none() {
        assert_eq!(transitions("Europe/Atlantis"), None);
    }
}
