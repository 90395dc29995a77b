//! A little disorder, so that a fleet does not ask a provider all at once.

use std::time::Duration;

use aws_lc_rs::rand;

/// `time` give or take a tenth.
pub fn jittered(time: Duration) -> Duration {
    let mut random = [0; 2];
    // Without randomness there is no disorder, which nobody's safety depends on.
    if rand::fill(&mut random).is_err() {
        return time;
    }
    spread(time, u16::from_be_bytes(random))
}

/// From nine tenths of `time` at 0 to eleven tenths at the top.
fn spread(time: Duration, chance: u16) -> Duration {
    time.mul_f64(0.9 + 0.2 * f64::from(chance) / f64::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_either_way_and_no_more() {
        let time = Duration::from_secs(100);
        assert_eq!(spread(time, 0).as_secs_f64().round(), 90.0);
        assert_eq!(spread(time, u16::MAX).as_secs_f64().round(), 110.0);
        for _ in 0..100 {
            let time = jittered(time).as_secs_f64();
            assert!((89.9..110.1).contains(&time), "{time}");
        }
    }
}
