//! Edits of bytes that break protocols: flipped bits, wrong lengths, pieces lost, said twice, or taken from elsewhere.

use crate::random::Random;

/// No input grows beyond this.
const LONGEST: usize = 16 * 1024;

/// Values at which length checks are wrong by one.
const EDGES: [u8; 14] = [0, 1, 3, 4, 5, 7, 8, 9, 16, 63, 64, 127, 128, 255];

/// One of `pool` with a few edits.
pub fn mutated(pool: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = picked(pool, random).to_vec();
    for _ in 0..=random.below(4) {
        edit(&mut input, pool, random);
    }
    input.truncate(LONGEST);
    input
}

fn edit(input: &mut Vec<u8>, pool: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len());
    match random.below(9) {
        0 => with_byte(input, at, |byte| byte ^ (1 << random.below(8))),
        1 => with_byte(input, at, |_| random.byte()),
        2 => with_byte(input, at, |_| EDGES[random.below(EDGES.len())]),
        3 => with_byte(input, at, |byte| byte.wrapping_add([1, 255, 4, 252][random.below(4)])),
        4 => write_length(input, at, random),
        5 => {
            let new: Vec<u8> = (0..=random.below(8)).map(|_| random.byte()).collect();
            input.splice(at..at, new);
        }
        6 => {
            let end = at + random.below(input.len() - at.min(input.len()) + 1);
            input.drain(at.min(end)..end.min(input.len()));
        }
        7 => {
            let piece = piece(picked(pool, random), random).to_vec();
            input.splice(at..at, piece);
        }
        _ => {
            let other = picked(pool, random);
            input.truncate(at);
            input.extend_from_slice(&other[random.below(other.len() + 1)..]);
        }
    }
}

fn with_byte(input: &mut [u8], at: usize, change: impl FnOnce(u8) -> u8) {
    if let Some(byte) = input.get_mut(at) {
        *byte = change(*byte);
    }
}

/// A length as the protocol writes it, near what is really there or near an end of the range.
fn write_length(input: &mut [u8], at: usize, random: &mut Random) {
    let behind = input.len().saturating_sub(at) as u32;
    let near = [behind, 4, 0, 8, 1 << 14, 1 << 30, u32::MAX / 2, u32::MAX][random.below(8)];
    let length = near.wrapping_add(random.below(3) as u32).wrapping_sub(1);
    for (place, byte) in input.iter_mut().skip(at).zip(length.to_be_bytes()) {
        *place = byte;
    }
}

fn piece<'a>(bytes: &'a [u8], random: &mut Random) -> &'a [u8] {
    let start = random.below(bytes.len() + 1);
    &bytes[start..start + random.below(bytes.len() - start + 1)]
}

fn picked<'a>(pool: &'a [Vec<u8>], random: &mut Random) -> &'a [u8] {
    pool.get(random.below(pool.len())).map_or(&[], Vec::as_slice)
}
