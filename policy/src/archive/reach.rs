//! Which grants (or denies) concern a subject and a database: the index behind a decision.
//!
//! A database name resolves to the few patterns of the policy that match it, most specific first; a pair of subject and
//! pattern then names its rules in one probe. The tables hold what policies write, not what clients ask for: ten thousand
//! grants fit the second-level cache.

use std::collections::BTreeMap;

use rkyv::{Archive, Serialize};

use super::hash::Hash;
use super::layout::{ArchivedText, Text};
use super::strings::text_of;
use super::table::HashTable;

/// PostgreSQL's NAMEDATALEN - 1: no database name or pattern is longer, bytes.
pub const MAX_NAME: usize = 63;

/// Who a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Everyone,
    Group(u32),
    Identity(u32),
}

impl Subject {
    fn code(self) -> u32 {
        match self {
            Self::Everyone => 0,
            Self::Group(number) => number.wrapping_mul(2).wrapping_add(1),
            Self::Identity(number) => number.wrapping_mul(2).wrapping_add(2),
        }
    }
}

/// A database pattern as the index is built from it: its words and where they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern<'a> {
    Exact(&'a str),
    Prefix(&'a str),
    Any,
}

/// One grant or deny, as the index sees it.
pub struct Rule<'a> {
    pub subjects: Vec<Subject>,
    pub databases: Vec<(Pattern<'a>, Text)>,
}

impl Rule<'_> {
    /// A deny without databases is about all of them.
    pub fn reach_every_database_if_none(&mut self) {
        if self.databases.is_empty() {
            self.databases.push((Pattern::Any, Text::default()));
        }
    }
}

#[derive(Archive, Serialize, Default)]
pub struct ReachIndex {
    exact: Vec<Text>,
    exact_index: HashTable,
    prefixes: Vec<Text>,
    prefix_index: HashTable,
    /// Distinct lengths of `prefixes`, bytes, longest first.
    prefix_lengths: Vec<u8>,
    any: bool,
    everyone: bool,
    /// By group: whether a rule names it.
    groups: Vec<bool>,
    entries: Vec<ReachEntry>,
    lists: Vec<u32>,
}

/// A slot of the open-addressing table from (subject, pattern) to a piece of `lists`; empty where `length` is zero.
#[derive(Archive, Serialize, Clone, Copy, Default, Debug)]
pub struct ReachEntry {
    subject: u32,
    pattern: u32,
    start: u32,
    length: u32,
}

/// The number of [`Pattern::Any`]; exact patterns count from zero, prefixes follow them.
const ANY: u32 = u32::MAX;

impl ReachIndex {
    /// `rules` in order of their numbers.
    pub fn build(rules: &[Rule<'_>], group_count: usize) -> Self {
        let mut patterns: BTreeMap<Pattern<'_>, (Text, u32)> = BTreeMap::new();
        for (pattern, text) in rules.iter().flat_map(|rule| &rule.databases) {
            patterns.insert(*pattern, (*text, ANY));
        }
        let mut index = Self {
            groups: vec![false; group_count],
            ..Self::default()
        };
        index.number_patterns(&mut patterns);
        index.fill(&lists_by_pair(rules, &patterns));
        for subject in rules.iter().flat_map(|rule| &rule.subjects) {
            match subject {
                Subject::Everyone => index.everyone = true,
                Subject::Group(group) => index
                    .groups
                    .get_mut(*group as usize)
                    .into_iter()
                    .for_each(|named| *named = true),
                Subject::Identity(_) => {}
            }
        }
        index
    }

    fn number_patterns(&mut self, patterns: &mut BTreeMap<Pattern<'_>, (Text, u32)>) {
        let (mut exact_hashes, mut prefix_hashes) = (Vec::new(), Vec::new());
        for (number, (pattern, (text, slot))) in (0u32..).zip(patterns.iter_mut()) {
            match pattern {
                Pattern::Exact(name) => {
                    self.exact.push(*text);
                    exact_hashes.push(exact_hash(name.as_bytes()));
                    *slot = number;
                }
                Pattern::Prefix(prefix) => {
                    self.prefixes.push(*text);
                    prefix_hashes.push(prefix_hash(prefix.as_bytes()));
                    self.prefix_lengths.push(prefix.len().min(MAX_NAME) as u8);
                    *slot = number;
                }
                Pattern::Any => self.any = true,
            }
        }
        self.prefix_lengths.sort_unstable_by(|left, right| right.cmp(left));
        self.prefix_lengths.dedup();
        self.exact_index = HashTable::build(exact_hashes.into_iter());
        self.prefix_index = HashTable::build(prefix_hashes.into_iter());
    }

    fn fill(&mut self, lists: &BTreeMap<(u32, u32), Vec<u32>>) {
        if lists.is_empty() {
            return;
        }
        let capacity = (lists.len() * 2).next_power_of_two();
        self.entries = vec![ReachEntry::default(); capacity];
        for ((subject, pattern), rules) in lists {
            let mut place = slot(*subject, *pattern, capacity);
            while self.entries[place].length != 0 {
                place = (place + 1) & (capacity - 1);
            }
            let (start, length) = (self.lists.len() as u32, rules.len() as u32);
            self.entries[place] = ReachEntry {
                subject: *subject,
                pattern: *pattern,
                start,
                length,
            };
            self.lists.extend_from_slice(rules);
        }
    }
}

fn lists_by_pair(rules: &[Rule<'_>], patterns: &BTreeMap<Pattern<'_>, (Text, u32)>) -> BTreeMap<(u32, u32), Vec<u32>> {
    let mut lists: BTreeMap<(u32, u32), Vec<u32>> = BTreeMap::new();
    for (number, rule) in (0u32..).zip(rules) {
        for subject in &rule.subjects {
            for (pattern, _) in &rule.databases {
                let pattern = patterns.get(pattern).map_or(ANY, |(_, number)| *number);
                let list = lists.entry((subject.code(), pattern)).or_default();
                if list.last() != Some(&number) {
                    list.push(number);
                }
            }
        }
    }
    lists
}

/// The patterns of an index that match one database name, most specific first: exact, prefixes by falling length, any.
#[derive(Clone, Copy)]
pub struct Matching {
    numbers: [u32; MAX_NAME + 3],
    count: usize,
}

impl Matching {
    fn push(&mut self, number: u32) {
        if let Some(place) = self.numbers.get_mut(self.count) {
            *place = number;
            self.count += 1;
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.numbers.iter().take(self.count).copied()
    }
}

impl ArchivedReachIndex {
    /// `strings` is the image's, which the patterns point into.
    pub fn matching(&self, strings: &str, database: &str) -> Matching {
        let mut found = Matching {
            numbers: [ANY; MAX_NAME + 3],
            count: 0,
        };
        let name = database.as_bytes();
        let same = |texts: &[ArchivedText], number: u32, wanted: &[u8]| {
            texts
                .get(number as usize)
                .is_some_and(|text| text_of(strings, text).as_bytes() == wanted)
        };
        if let Some(number) = self
            .exact_index
            .candidates(exact_hash(name))
            .find(|number| same(&self.exact, *number, name))
        {
            found.push(number);
        }
        for length in self.prefix_lengths.iter() {
            let Some(start) = name.get(..usize::from(*length)) else {
                continue;
            };
            let mut candidates = self.prefix_index.candidates(prefix_hash(start));
            if let Some(number) = candidates.find(|number| same(&self.prefixes, *number, start)) {
                found.push(number.wrapping_add(self.exact.len() as u32));
            }
        }
        if self.any {
            found.push(ANY);
        }
        found
    }

    /// Numbers of the rules that name this very subject and this very pattern, ascending.
    pub fn rules(&self, subject: Subject, pattern: u32) -> &[rkyv::rend::u32_le] {
        let (subject, entries) = (subject.code(), self.entries.as_slice());
        let mut place = slot(subject, pattern, entries.len());
        for _ in 0..entries.len() {
            let Some(entry) = entries.get(place) else { break };
            if entry.length == 0 {
                break;
            }
            if entry.subject == subject && entry.pattern == pattern {
                let start = entry.start.to_native() as usize;
                return self
                    .lists
                    .get(start..start + entry.length.to_native() as usize)
                    .unwrap_or_default();
            }
            place = (place + 1) & (entries.len() - 1);
        }
        &[]
    }

    pub fn names_everyone(&self) -> bool {
        self.everyone
    }

    pub fn names_group(&self, group: u32) -> bool {
        self.groups.get(group as usize).copied().unwrap_or(false)
    }

    /// Whether this is what [`ReachIndex::build`] made: the check of a loaded snapshot.
    pub fn equals(&self, built: &ReachIndex) -> bool {
        let same_texts = |archived: &[ArchivedText], built: &[Text]| {
            archived.len() == built.len()
                && archived
                    .iter()
                    .zip(built)
                    .all(|(archived, built)| archived.native() == *built)
        };
        same_texts(&self.exact, &built.exact)
            && same_texts(&self.prefixes, &built.prefixes)
            && self.exact_index.equals(&built.exact_index)
            && self.prefix_index.equals(&built.prefix_index)
            && self.prefix_lengths.as_slice() == built.prefix_lengths
            && (self.any, self.everyone) == (built.any, built.everyone)
            && self.groups.as_slice() == built.groups
            && self
                .lists
                .iter()
                .map(|number| number.to_native())
                .eq(built.lists.iter().copied())
            && self
                .entries
                .iter()
                .map(ArchivedReachEntry::native)
                .eq(built.entries.iter().map(ReachEntry::parts))
    }
}

impl ReachEntry {
    fn parts(&self) -> [u32; 4] {
        [self.subject, self.pattern, self.start, self.length]
    }
}

impl ArchivedReachEntry {
    fn native(&self) -> [u32; 4] {
        [self.subject, self.pattern, self.start, self.length].map(|field| field.to_native())
    }
}

fn slot(subject: u32, pattern: u32, capacity: usize) -> usize {
    if capacity <= 1 {
        return 0;
    }
    let hash = Hash::new(3)
        .number((u64::from(subject) << 32) | u64::from(pattern))
        .finish();
    (hash as usize) & (capacity - 1)
}

fn exact_hash(name: &[u8]) -> u64 {
    Hash::new(1).bytes(name).finish()
}

fn prefix_hash(prefix: &[u8]) -> u64 {
    Hash::new(2).bytes(prefix).finish()
}
