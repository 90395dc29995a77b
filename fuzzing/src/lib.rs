//! Runs a fuzz body over its corpus and over mutations of it for a few seconds, as an ordinary test.
//!
//! Nothing here knows what a body tests. A body is a function that panics when an invariant does not hold and says which
//! [`Marks`] its input reached; the driver demands that the corpus reaches all of them, so that a run that only knocks at
//! the door is a failure. Same seed, same inputs in the same order: only how many of them fit the time differs.
//!
//! The mutator is our own. `bolero` and `cargo-fuzz` mutate only with instrumentation and engines that the test command
//! should not need, `mutatis` mutates typed values, `arbitrary` only makes them; what is wanted here are edited bytes.

mod corpus;
mod failure;
mod mutate;
mod random;
mod script;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use random::Random;

pub use script::Script;

/// Seconds that a body's mutations take; 2 unless it is set.
pub const SECONDS: &str = "POSTERN_FUZZ_SECONDS";
/// The seed of the mutations; drawn and printed unless it is set.
pub const SEED: &str = "POSTERN_FUZZ_SEED";
/// A file to run instead of corpus and mutations.
pub const REPLAY: &str = "POSTERN_FUZZ_REPLAY";
/// When set, each body first writes its generated entries to its corpus.
pub const RENEW: &str = "POSTERN_FUZZ_RENEW_CORPUS";

/// However slow the machine, so many mutations are run.
const FEWEST_MUTATIONS: u64 = 300;
/// Mutations that reached a new combination of marks join the corpus for the rest of the run, up to so many.
const MOST_KEPT: usize = 512;

/// The deep states that an input reached.
#[derive(Debug, Default)]
pub struct Marks(BTreeSet<&'static str>);

impl Marks {
    pub fn reach(&mut self, name: &'static str) {
        self.0.insert(name);
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().copied()
    }
}

/// A named input: a file of a corpus.
pub type Entry = (String, Vec<u8>);

/// Runs `run` over the corpus `tests/corpus/<body>` and over mutations of it. `generated` makes the part of the corpus that
/// is not a find of an earlier run.
///
/// # Panics
/// When the body does, after the input was written to a file; when the corpus misses a mark; when an environment variable or
/// the corpus cannot be read.
pub fn drive(
    body: &str,
    marks: &[&'static str],
    generated: impl FnOnce() -> Vec<Entry>,
    mut run: impl FnMut(&[u8], &mut Marks),
) {
    if let Some(path) = std::env::var_os(REPLAY) {
        let input = std::fs::read(&path).unwrap_or_else(|error| panic!("{REPLAY}: {}: {error}", path.display()));
        let mut reached = Marks::default();
        run(&input, &mut reached);
        println!("fuzz {body}: {} reached {reached:?} and broke nothing", path.display());
        return;
    }
    if std::env::var_os(RENEW).is_some() {
        corpus::write(body, &generated());
    }
    let seed = number(SEED).unwrap_or_else(drawn_seed);
    let entries = corpus::read(body);
    println!("fuzz {body}: {} corpus entries, seed {seed}", entries.len());
    let mut session = Session {
        body,
        marks,
        seed,
        counts: BTreeMap::new(),
        seen: BTreeSet::new(),
        pool: Vec::new(),
    };
    for (name, input) in entries {
        session.run(&input, &name, &mut run);
        session.pool.push(input);
    }
    session.assert_marks();
    session.mutate(&mut run);
}

struct Session<'a> {
    body: &'a str,
    marks: &'a [&'static str],
    seed: u64,
    /// How many inputs reached each mark.
    counts: BTreeMap<&'static str, u64>,
    /// Combinations of marks.
    seen: BTreeSet<BTreeSet<&'static str>>,
    /// What mutations start from.
    pool: Vec<Vec<u8>>,
}

impl Session<'_> {
    fn mutate(&mut self, run: &mut impl FnMut(&[u8], &mut Marks)) {
        let limit = Duration::from_secs(number(SECONDS).unwrap_or(2));
        let (started, most) = (Instant::now(), self.pool.len() + MOST_KEPT);
        let mut random = Random::new(self.seed);
        let mut done = 0;
        while done < FEWEST_MUTATIONS || started.elapsed() < limit {
            done += 1;
            let input = mutate::mutated(&self.pool, &mut random);
            let new = self.run(&input, &format!("mutation {done}"), run);
            if new && self.pool.len() < most {
                self.pool.push(input);
            }
        }
        println!("fuzz {}: {done} mutations, reached {:?}", self.body, self.counts);
    }

    /// Whether the input reached a combination of marks that none before it has.
    fn run(&mut self, input: &[u8], origin: &str, run: &mut impl FnMut(&[u8], &mut Marks)) -> bool {
        let mut reached = Marks::default();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(input, &mut reached))) {
            failure::tell(self.body, self.seed, origin, input);
            resume_unwind(panic);
        }
        for name in &reached.0 {
            assert!(self.marks.contains(name), "`{name}` is not in the list of marks");
            *self.counts.entry(name).or_default() += 1;
        }
        self.seen.insert(reached.0)
    }

    fn assert_marks(&self) {
        let missing: Vec<_> = self
            .marks
            .iter()
            .filter(|mark| !self.counts.contains_key(*mark))
            .collect();
        assert!(
            missing.is_empty(),
            "fuzz {}: the corpus no longer reaches {missing:?}; see docs/testing.md",
            self.body
        );
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|error| panic!("{variable}={text}: {error}")),
    )
}

fn drawn_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_nanos() as u64
}

#[cfg(test)]
mod tests;
