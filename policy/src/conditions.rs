//! The conditions of grants and denies: source network, validity window, weekly hours; and when they next change by time alone.

use core::net::IpAddr;

use crate::archive::layout::{
    ArchivedClaimTestRecord, ArchivedConditionsRecord, ArchivedHoursRecord, ArchivedImage, ArchivedNetworkRecord,
    ArchivedProofConditionsRecord, ArchivedTransitionRecord,
};
use crate::archive::strings::text_of;
use crate::attributes::{Attributes, glob_matches};
use crate::authenticate::Source;
use crate::time::Utc;

/// The condition that does not hold. Those that only time can mend or break come last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Miss {
    ClaimsNotMet,
    CertificateNotMet,
    TokenTooOld,
    WrongNetwork,
    Expired,
    NotYetValid,
    OutsideHours,
}

/// A source address in the form of the network table: version, and the bits from the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Address {
    Unix,
    Ip { version: u8, bits: u128 },
}

impl Address {
    pub fn of(source: Source) -> Self {
        match source {
            Source::Unix => Self::Unix,
            Source::Ip(address) => match address.to_canonical() {
                IpAddr::V4(address) => Self::Ip {
                    version: 4,
                    bits: u128::from(address.to_bits()) << 96,
                },
                IpAddr::V6(address) => Self::Ip {
                    version: 6,
                    bits: address.to_bits(),
                },
            },
        }
    }
}

/// What a proof says, held against the conditions on it.
pub(crate) fn judge_proof(
    image: &ArchivedImage,
    conditions: &ArchivedProofConditionsRecord,
    claims: &Attributes,
    certificate: &Attributes,
    token_age: Option<u32>,
) -> Result<(), Miss> {
    if !all_hold(image, &conditions.claims, claims) {
        return Err(Miss::ClaimsNotMet);
    }
    if !all_hold(image, &conditions.certificate, certificate) {
        return Err(Miss::CertificateNotMet);
    }
    let fresh = conditions
        .token_max_age
        .as_ref()
        .is_none_or(|most| token_age.is_some_and(|age| age <= most.to_native()));
    if fresh { Ok(()) } else { Err(Miss::TokenTooOld) }
}

pub(crate) fn all_hold(image: &ArchivedImage, tests: &[ArchivedClaimTestRecord], attributes: &Attributes) -> bool {
    tests.iter().all(|test| {
        let name = text_of(&image.strings, &test.name);
        let fits = |value: &str| {
            let mut patterns = test.patterns.iter().map(|pattern| text_of(&image.strings, pattern));
            patterns.any(|pattern| glob_matches(pattern, value))
        };
        match test.has_one_of {
            true => attributes.values(name).any(fits),
            false => attributes.only(name).is_some_and(fits),
        }
    })
}

/// A Unix socket is in no network.
pub(crate) fn in_any(networks: &[ArchivedNetworkRecord], address: Address) -> bool {
    match address {
        Address::Unix => false,
        Address::Ip { version, bits } => networks.iter().any(|network| {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(network.prefix.min(128)))
                .unwrap_or(0);
            network.version == version && (bits ^ u128::from_be_bytes(network.address)) & mask == 0
        }),
    }
}

/// Every condition holds, or the first that does not in the order of [`Miss`].
pub(crate) fn judge(
    image: &ArchivedImage,
    conditions: &ArchivedConditionsRecord,
    address: Address,
    now: Utc,
) -> Result<(), Miss> {
    if !source_allowed(image, conditions, address) {
        return Err(Miss::WrongNetwork);
    }
    if now.0 >= conditions.not_after.to_native() {
        return Err(Miss::Expired);
    }
    if now.0 < conditions.not_before.to_native() {
        return Err(Miss::NotYetValid);
    }
    let hours = image.hours_of(&conditions.hours).unwrap_or_default();
    if hours.is_empty() || hours.iter().any(|hours| open(image, hours, now)) {
        Ok(())
    } else {
        Err(Miss::OutsideHours)
    }
}

fn source_allowed(image: &ArchivedImage, conditions: &ArchivedConditionsRecord, address: Address) -> bool {
    let (networks, unix) = (
        image.networks_of(&conditions.networks),
        conditions.networks.unix.to_native() != 0,
    );
    // A reference that leads nowhere (there is none in a loaded snapshot) names a network that nobody is in.
    let Ok(networks) = networks else { return false };
    match address {
        Address::Unix => unix || networks.is_empty(),
        Address::Ip { .. } => (networks.is_empty() && !unix) || in_any(networks, address),
    }
}

/// The earliest moment after `now` at which [`judge`] could answer otherwise for the same address, as far as time decides it.
/// It may come too early (a boundary between two adjoining hours), never too late.
pub(crate) fn next_change(image: &ArchivedImage, conditions: &ArchivedConditionsRecord, now: Utc) -> Option<Utc> {
    let window = [
        (conditions.not_before.to_native(), i64::MIN),
        (conditions.not_after.to_native(), i64::MAX),
    ];
    let window = window
        .into_iter()
        .filter(|(at, none)| at != none && *at > now.0)
        .map(|(at, _)| Utc(at));
    let hours = image.hours_of(&conditions.hours).unwrap_or_default();
    let hours = hours.iter().filter_map(|hours| next_boundary(image, hours, now));
    window.chain(hours).min()
}

const MINUTE: i64 = 60;
const WEEK: i64 = 7 * 24 * 60 * MINUTE;
/// The epoch was a Thursday: seconds from the Monday before.
const EPOCH_IN_WEEK: i64 = 3 * 24 * 60 * MINUTE;

fn open(image: &ArchivedImage, hours: &ArchivedHoursRecord, now: Utc) -> bool {
    let minute = minute_of_week(image, hours, now);
    minute.is_some_and(|minute| (hours.from.to_native()..hours.to.to_native()).contains(&minute))
}

/// By the clock of the hours' zone, since Monday 00:00.
pub(crate) fn minute_of_week(image: &ArchivedImage, hours: &ArchivedHoursRecord, now: Utc) -> Option<u16> {
    let (offset, _) = zone_at(image, hours, now.seconds())?;
    u16::try_from(second_of_week(now.seconds(), offset) / MINUTE).ok()
}

/// The next start, end or change of the zone's offset.
fn next_boundary(image: &ArchivedImage, hours: &ArchivedHoursRecord, now: Utc) -> Option<Utc> {
    let seconds = now.seconds();
    let (offset, change) = zone_at(image, hours, seconds)?;
    let local = second_of_week(seconds, offset);
    let until = |minute: u16| {
        let wait = (i64::from(minute) * MINUTE - local).rem_euclid(WEEK);
        seconds.saturating_add(if wait == 0 { WEEK } else { wait })
    };
    let next = until(hours.from.to_native()).min(until(hours.to.to_native()));
    let next = change.map_or(next, |change| next.min(change));
    next.checked_mul(1_000_000).map(Utc)
}

/// The zone's offset at `seconds`, and when it next changes.
fn zone_at(image: &ArchivedImage, hours: &ArchivedHoursRecord, seconds: i64) -> Option<(i64, Option<i64>)> {
    let zone = image.zones.get(hours.zone.to_native() as usize)?;
    let transitions = image.transitions_of(zone).ok()?;
    let passed = transitions.partition_point(|transition| transition.at.to_native() <= seconds);
    let at = |place: usize| transitions.get(place);
    // Before the table begins its first offset holds.
    let current: &ArchivedTransitionRecord = at(passed.saturating_sub(1))?;
    let next = at(passed.max(1)).map(|transition| transition.at.to_native());
    Some((current.offset.to_native(), next))
}

fn second_of_week(seconds: i64, offset: i64) -> i64 {
    seconds
        .saturating_add(offset)
        .saturating_add(EPOCH_IN_WEEK)
        .rem_euclid(WEEK)
}
