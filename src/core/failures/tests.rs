use core::net::{Ipv4Addr, Ipv6Addr};

use super::*;

const SEED: [u8; 16] = [3; 16];
const MINUTE: u64 = 60_000;

/// The defaults.
fn config() -> config::Failures {
    config::Failures {
        enabled: true,
        window: Duration::from_secs(60),
        delay_after: 5,
        delay: Duration::from_millis(100),
        delay_max: Duration::from_secs(5),
        refuse_after: 100,
        refuse_for: Duration::from_secs(60),
        exempt: Vec::new(),
    }
}

fn failures() -> Failures {
    Failures::new(&config(), SEED)
}

fn at(millis: u64) -> Mono {
    Mono(0).after_millis(millis)
}

/// A /24 of its own for each number.
fn network(number: u32) -> Source {
    Source::Ip(Ipv4Addr::from(0x0a00_0001_u32.wrapping_add(number << 8)).into())
}

fn fail(failures: &Failures, times: usize, source: Source, name: &str, now: Mono) {
    for _ in 0..times {
        failures.failed(source, name, now);
    }
}

#[test]
fn the_delay_doubles_up_to_the_longest() {
    let failures = failures();
    let mut delays = Vec::new();
    for _ in 0..14 {
        failures.failed(network(1), "alice", at(0));
        delays.push(failures.delay(network(1), "alice", at(0)));
    }
    assert_eq!(
        delays,
        [0, 0, 0, 0, 0, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]
    );
    assert_eq!(failures.verdict(network(1), "bob", at(0)), Verdict::Delay(5_000));
    assert_eq!(failures.verdict(network(2), "bob", at(0)), Verdict::Free);
}

/// Of a fleet behind one address, say: what guesses there is slowed by the names that it guesses at.
#[test]
fn an_exempt_network_is_never_refused_and_its_failures_count_by_name() {
    let exempt = vec!["10.0.1.4/30".parse().expect("a network")];
    let failures = Failures::new(&config::Failures { exempt, ..config() }, SEED);
    let [inside, outside] = [[10, 0, 1, 5], [10, 0, 1, 8]].map(|ip| Source::Ip(Ipv4Addr::from(ip).into()));
    let mapped = Source::Ip(Ipv4Addr::new(10, 0, 1, 5).to_ipv6_mapped().into());
    fail(&failures, 1_000, inside, "alice", at(0));
    assert_eq!(failures.verdict(inside, "alice", at(0)), Verdict::Delay(5_000));
    assert_eq!(failures.verdict(inside, "bob", at(0)), Verdict::Free);
    assert_eq!(
        failures.verdict(outside, "bob", at(0)),
        Verdict::Free,
        "nobody of it has failed"
    );
    fail(&failures, 101, outside, "carol", at(0));
    assert_eq!(failures.verdict(outside, "bob", at(0)), Verdict::Refuse);
    for source in [inside, mapped] {
        assert_eq!(failures.verdict(source, "bob", at(0)), Verdict::Free);
    }
}

#[test]
fn a_name_is_delayed_from_everywhere_and_never_refused() {
    let failures = failures();
    for number in 0..5_000 {
        failures.failed(network(number), "alice", at(0));
    }
    assert_eq!(failures.verdict(network(9_999), "alice", at(0)), Verdict::Delay(5_000));
    assert_eq!(failures.verdict(network(9_999), "bob", at(0)), Verdict::Free);
}

#[test]
fn a_network_is_refused_for_its_time_and_let_in_again() {
    let failures = failures();
    fail(&failures, 100, network(1), "alice", at(0));
    assert_eq!(failures.verdict(network(1), "bob", at(0)), Verdict::Delay(5_000));
    failures.failed(network(1), "alice", at(10));
    assert_eq!(failures.verdict(network(1), "bob", at(10)), Verdict::Refuse);
    assert_eq!(failures.verdict(network(1), "bob", at(MINUTE + 9)), Verdict::Refuse);
    assert_ne!(failures.verdict(network(1), "bob", at(MINUTE + 10)), Verdict::Refuse);
    // Within the window of the old ones a single failure more is enough.
    failures.failed(network(1), "alice", at(MINUTE + 10));
    assert!(failures.refuses(network(1), at(MINUTE + 11)));
    assert_eq!(failures.verdict(network(1), "bob", at(4 * MINUTE)), Verdict::Free);
}

#[test]
fn failures_count_for_a_window_and_for_less_than_two() {
    for begun in [0, 59_999, 7 * MINUTE + 1] {
        let failures = failures();
        fail(&failures, 6, network(1), "alice", at(begun));
        assert_eq!(failures.delay(network(1), "alice", at(begun + MINUTE)), 100);
        assert_eq!(failures.delay(network(1), "alice", at(begun + 2 * MINUTE)), 0);
    }
}

#[test]
fn a_network_is_a_24_or_a_64_or_every_unix_socket() {
    let failures = failures();
    let six = |subnet: u16, host: u16| Source::Ip(Ipv6Addr::new(0x2001, 0xdb8, 0, subnet, 0, 0, 0, host).into());
    let four = |third: u8, fourth: u8| Source::Ip(Ipv4Addr::new(192, 0, third, fourth).into());
    let mapped = Source::Ip(Ipv4Addr::new(192, 0, 2, 200).to_ipv6_mapped().into());
    for (source, same, other) in [
        (six(1, 1), six(1, 2), six(2, 1)),
        (four(2, 1), four(2, 255), four(3, 1)),
        (Source::Unix, Source::Unix, four(9, 1)),
    ] {
        fail(&failures, 101, source, "alice", at(0));
        assert!(failures.refuses(same, at(1)), "{same:?}");
        assert!(!failures.refuses(other, at(1)), "{other:?}");
    }
    assert!(failures.refuses(mapped, at(1)), "it is an address of version 4");
}

#[test]
fn nothing_is_counted_too_low() {
    let failures = failures();
    let counting = failures.counting.as_ref().expect("it is on");
    for number in 0..3_000 {
        fail(
            &failures,
            1 + number as usize % 7,
            network(number),
            &format!("n{number}"),
            at(0),
        );
    }
    let window = counting.window_of(at(0));
    for number in 0..3_000 {
        let truth = 1 + u64::from(number) % 7;
        let network = counting.spot_of_network(Network::of(network(number))).places;
        assert!(counting.networks.count(network, window) >= truth);
        let name = counting.spot_of_name(&format!("n{number}")).places;
        assert!(counting.names.count(name, window) >= truth);
    }
}

/// 65,536 networks of one site.
fn of_a_site(number: u32) -> Source {
    Source::Ip(Ipv6Addr::from(0x2001_0db8_0000_u128 << 80 | u128::from(number & 0xffff) << 64 | 1).into())
}

/// 65,536 networks of as many sites, as who has a /32 has them.
fn of_a_provider(number: u32) -> Source {
    Source::Ip(Ipv6Addr::from(0x2001_0db8_u128 << 96 | u128::from(number & 0xffff) << 80 | 1).into())
}

/// Every attack that is worth it: each network is refused for an hour, and none of 100,000 others with it. Of those who
/// fail once meanwhile a few are delayed, less than the one in 256 for the network and for the name that the module has; these names are chosen for it.
#[test]
fn whoever_is_refused_nobody_is_refused_in_their_place() {
    let attacks: [fn(u32) -> Source; 3] = [of_a_site, of_a_provider, network];
    for (attack, networks) in attacks.iter().enumerate() {
        let failures = Failures::new(
            &config::Failures {
                refuse_after: 2,
                refuse_for: Duration::from_secs(3_600),
                ..config()
            },
            SEED,
        );
        for number in 0..65_536 * 3 {
            failures.failed(networks(number / 3), &format!("name-{}", number % 3_600), at(0));
        }
        let refused = (0..65_536).filter(|number| failures.refuses(networks(*number), at(1)));
        assert!(refused.count() > 50_000, "attack {attack} is one");
        let innocents = || (0..100_000).map(|number| network(1_000_000 + number));
        for now in [1, MINUTE, 59 * MINUTE] {
            let refused = innocents().filter(|source| failures.refuses(*source, at(now)));
            assert_eq!(refused.count(), 0, "attack {attack}");
        }
        let delayed = innocents().enumerate().filter(|(number, source)| {
            let name = format!("innocent-{number}");
            failures.failed(*source, &name, at(1));
            failures.delay(*source, &name, at(1)) > 0
        });
        let delayed = delayed.count();
        assert!(delayed < 100_000 / 128, "attack {attack}: {delayed}");
        assert_eq!(innocents().filter(|source| failures.refuses(*source, at(2))).count(), 0);
    }
}

#[test]
fn a_site_is_refused_as_a_whole_behind_sixteen_networks() {
    let failures = failures();
    for number in 0..1_600 {
        failures.failed(of_a_site(number), "alice", at(0));
    }
    assert!(!failures.refuses(of_a_site(60_000), at(0)));
    failures.failed(of_a_site(1_600), "alice", at(0));
    assert!(failures.refuses(of_a_site(60_000), at(0)));
    assert!(!failures.refuses(of_a_provider(1), at(0)));
}

/// As many failures as would put `refuse_after` into every cell.
#[test]
fn a_flood_that_fills_every_cell_refuses_nobody_and_delays_few() {
    let failures = failures();
    for number in 0..16_384 * 20 {
        failures.failed(network(number), &format!("name-{number}"), at(0));
    }
    let delayed = (4_000_000..4_002_000).filter(|number| {
        let name = format!("innocent-{number}");
        failures.failed(network(*number), &name, at(0));
        assert!(!failures.refuses(network(*number), at(0)));
        failures.delay(network(*number), &name, at(0)) > 0
    });
    assert_eq!(delayed.count(), 0);
    // Who does fail is delayed, later, and refused all the same.
    let one = network(5_000_000);
    fail(&failures, 90, one, "alice", at(0));
    assert_eq!(failures.verdict(one, "bob", at(0)), Verdict::Delay(5_000));
    fail(&failures, 11, one, "alice", at(0));
    assert!(failures.refuses(one, at(0)));
}

#[test]
fn a_table_without_room_says_so_and_delays() {
    let failures = Failures::new(
        &config::Failures {
            refuse_after: 1,
            ..config()
        },
        SEED,
    );
    let rooms = |number| [0; 2].map(|_| failures.failed(network(number), "", at(0)));
    let short = (0..100_000).filter(|number| rooms(*number) == [Room::Short; 2]);
    assert!(short.count() > 100_000 - 65_536);
    let unrefused = (0..100_000).find(|number| !failures.refuses(network(*number), at(0)));
    let unrefused = network(unrefused.expect("there is no room for all"));
    fail(&failures, 200, unrefused, "alice", at(0));
    assert_eq!(failures.verdict(unrefused, "bob", at(0)), Verdict::Delay(5_000));
}

#[test]
fn two_cores_at_once_lose_nothing() {
    let failures = failures();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for number in 0..40_000 {
                    // The window turns in the middle.
                    failures.failed(network(1), "alice", at(30_000 + number));
                }
            });
        }
    });
    let counting = failures.counting.as_ref().expect("it is on");
    let window = counting.window_of(at(70_000));
    let counted = counting
        .networks
        .count(counting.spot_of_network(Network::of(network(1))).places, window);
    assert_eq!(counted, 80_000);
    assert_eq!(counting.in_all.count(window), 80_000);
}

#[test]
fn memory_is_fixed() {
    assert_eq!(Failures::MEMORY, (2 << 19) + 8_192 * 264);
    assert!(size_of::<Failures>() < 4_096, "{}", size_of::<Failures>());
}

#[test]
fn switched_off_it_says_nothing_and_holds_nothing() {
    let failures = Failures::new(
        &config::Failures {
            enabled: false,
            ..config()
        },
        SEED,
    );
    fail(&failures, 1_000, network(1), "alice", at(0));
    assert_eq!(failures.verdict(network(1), "alice", at(0)), Verdict::Free);
    assert!(failures.counting.is_none());
}

#[test]
fn another_seed_has_other_cells() {
    let other = Failures::new(&config(), [4; 16]);
    let spot = |failures: &Failures| {
        let counting = failures.counting.as_ref().expect("it is on");
        counting.spot_of_name("alice")
    };
    assert_ne!(spot(&failures()), spot(&other));
}
