//! `hours = [{ days = ["mon"], from = "08:00", to = "18:00", zone = "Europe/Berlin" }]`, as minutes of the week.

use super::table::{Table, word};
use crate::check::{Why, value};
use crate::model::WeeklyHours;
use crate::words::Word;

const DAY: u16 = 24 * 60;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Day {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl Word for Day {
    const ALL: &'static [Self] = &[
        Day::Monday,
        Day::Tuesday,
        Day::Wednesday,
        Day::Thursday,
        Day::Friday,
        Day::Saturday,
        Day::Sunday,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Day::Monday => "mon",
            Day::Tuesday => "tue",
            Day::Wednesday => "wed",
            Day::Thursday => "thu",
            Day::Friday => "fri",
            Day::Saturday => "sat",
            Day::Sunday => "sun",
        }
    }
}

/// Sorted by zone and time, those that touch made one: one opening, one way to write it in the model.
pub(super) fn read(table: &mut Table<'_>) -> Vec<WeeklyHours> {
    merged(table.tables("hours").into_iter().flat_map(read_entry).collect())
}

fn read_entry(mut table: Table<'_>) -> Vec<WeeklyHours> {
    let days = table.list("days", word::<Day>);
    let from = table.text("from", |text| time(text, DAY - 1));
    let to = table.text("to", |text| time(text, DAY));
    let zone = table.text("zone", |zone| value::zone(zone).map(|()| zone.to_owned()));
    let whole = table.has("from") || table.has("to") || table.has("days");
    if !whole {
        table.fault_here(Why::new("hours that leave nothing out").help("say `days`, or `from` and `to`"));
    }
    let (from, to) = (from.unwrap_or(0), to.unwrap_or(DAY));
    if from == to {
        table.fault_here(
            Why::new("`from` and `to` are the same: never open").help("the whole day is `00:00` to `24:00`"),
        );
    }
    table.finish();
    let days = days.unwrap_or_else(|| Day::ALL.to_vec());
    let zone = zone.unwrap_or_else(|| "UTC".to_owned());
    days.into_iter()
        .flat_map(|day| openings(day, from, to, &zone))
        .collect()
}

/// A range over midnight is two, the second on the next day; Sunday's goes on on Monday.
fn openings(day: Day, from: u16, to: u16, zone: &str) -> Vec<WeeklyHours> {
    let midnight = day as u16 * DAY;
    let next = (midnight + DAY) % value::WEEK;
    let ranges = match from < to {
        true => vec![(midnight + from, midnight + to)],
        false => vec![(midnight + from, midnight + DAY), (next, next + to)],
    };
    let open = |(from, to)| WeeklyHours {
        from,
        to,
        zone: zone.to_owned(),
    };
    ranges.into_iter().filter(|(from, to)| from < to).map(open).collect()
}

fn merged(mut hours: Vec<WeeklyHours>) -> Vec<WeeklyHours> {
    hours.sort_by(|a, b| (&a.zone, a.from, a.to).cmp(&(&b.zone, b.from, b.to)));
    let mut merged: Vec<WeeklyHours> = Vec::new();
    for next in hours {
        match merged.last_mut() {
            Some(last) if last.zone == next.zone && next.from <= last.to => last.to = last.to.max(next.to),
            Some(_) | None => merged.push(next),
        }
    }
    merged
}

/// `HH:MM` as minutes, at most `latest`.
fn time(text: &str, latest: u16) -> Result<u16, Why> {
    let digits = |part: &str| match part.as_bytes() {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some(u16::from(tens - b'0') * 10 + u16::from(ones - b'0')),
        _not_two_digits => None,
    };
    let minutes = text.split_once(':').and_then(|(hour, minute)| {
        let (hour, minute) = (digits(hour)?, digits(minute)?);
        (minute < 60).then_some(hour * 60 + minute)
    });
    minutes.filter(|minutes| *minutes <= latest).ok_or_else(|| {
        Why::new(format!("`{}` is not a time of day", text.escape_debug()))
            .help("as `08:00`; the end of the day is `24:00`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(day: Day, from: u16, to: u16) -> Vec<(u16, u16)> {
        openings(day, from, to, "UTC")
            .iter()
            .map(|hours| (hours.from, hours.to))
            .collect()
    }

    #[test]
    fn times() {
        assert_eq!(time("08:30", DAY).ok(), Some(510));
        assert_eq!(time("24:00", DAY).ok(), Some(DAY));
        for bad in ["24:00", "8:00", "08:60", "08-00", "0800", "", "08:0x", "24:01"] {
            assert!(time(bad, DAY - 1).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_range_over_midnight_goes_on_on_the_next_day() {
        assert_eq!(open(Day::Monday, 480, 1080), [(480, 1080)]);
        assert_eq!(open(Day::Monday, 1320, 360), [(1320, 1440), (1440, 1800)]);
        assert_eq!(open(Day::Sunday, 1320, 360), [(9960, 10080), (0, 360)]);
        assert_eq!(open(Day::Sunday, 1320, 0), [(9960, 10080)]);
        assert_eq!(open(Day::Sunday, 0, DAY), [(8640, 10080)]);
    }

    #[test]
    fn ranges_that_touch_become_one() {
        let all = Day::ALL
            .iter()
            .rev()
            .flat_map(|day| openings(*day, 0, DAY, "UTC"))
            .collect();
        assert_eq!(
            merged(all),
            [WeeklyHours {
                from: 0,
                to: value::WEEK,
                zone: "UTC".to_owned()
            }]
        );
    }
}
