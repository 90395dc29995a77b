//! Times and sizes as people write them: a whole number and its unit, and nothing that has to be guessed.

use std::time::Duration;

pub const DURATION_FORM: &str = "a time such as \"500ms\", \"30s\", \"5m\" or \"2h\"";
pub const SIZE_FORM: &str = "a size such as \"512B\", \"64KiB\", \"256MiB\" or \"1GiB\"";

const DURATIONS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZES: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

pub fn duration(text: &str) -> Option<Duration> {
    read(text, &DURATIONS).map(Duration::from_millis)
}

pub fn size(text: &str) -> Option<u64> {
    read(text, &SIZES)
}

pub fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &DURATIONS)
}

pub fn show_size(bytes: u64) -> String {
    show(bytes, &SIZES)
}

fn read(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// In the largest unit that shows it exactly.
fn show(value: u64, units: &[(&str, u64)]) -> String {
    let exact = units
        .iter()
        .find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor));
    let (unit, factor) = exact.or(units.last()).copied().unwrap_or(("", 1));
    format!("{}{unit}", value / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_shows() {
        for text in ["1ms", "1500ms", "90s", "5m", "2h"] {
            let read = duration(text).expect(text);
            assert_eq!(duration(&show_duration(read)), Some(read), "{text}");
        }
        assert_eq!(show_duration(Duration::from_millis(90_000)), "90s");
        assert_eq!(show_duration(Duration::ZERO), "0ms");
        assert_eq!(size("64KiB"), Some(65_536));
        assert_eq!(show_size(1 << 28), "256MiB");
    }

    #[test]
    fn refuses_what_would_have_to_be_guessed() {
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "5 s",
            "5.5s",
            "5S",
            "5min",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
        for text in ["", "5", "5kB", "5KB", "5K", "1 MiB", "+1B"] {
            assert_eq!(size(text), None, "{text}");
        }
    }
}
