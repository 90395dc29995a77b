//! The cells that are counted in: plain for the one thread that owns them, shared where several write.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A closed set of values of one label.
pub trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// Every value, in the order of [`Label::index`].
    const ALL: &'static [Self];
    fn index(self) -> usize;
    fn as_str(self) -> &'static str;
}

/// Declares a label: an enum, its name, and the text of each value.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident as $label:literal { $($(#[$value_doc:meta])* $value:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$value_doc])* $value),+ }

        impl $crate::metrics::Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$value),+];
            fn index(self) -> usize { self as usize }
            fn as_str(self) -> &'static str {
                match self { $(Self::$value => $text),+ }
            }
        }
    };
}
pub(super) use label;

/// Raised by one thread only; any thread may read it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// Follows a count that is kept elsewhere; never goes back.
    pub fn raise_to(&self, count: u64) {
        self.0.store(count.max(self.get()), Relaxed);
    }

    pub fn one(&self) {
        self.add(1);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A level that one thread only moves up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    pub fn set(&self, level: u64) {
        self.0.store(level, Relaxed);
    }

    pub fn up(&self) {
        self.set(self.get().saturating_add(1));
    }

    pub fn down(&self) {
        self.set(self.get().saturating_sub(1));
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One [`Counter`] per value of a label.
#[derive(Debug)]
pub struct Family<L: Label>(Box<[Counter]>, PhantomData<L>);

impl<L: Label> Family<L> {
    pub fn add(&self, value: L, amount: u64) {
        if let Some(counter) = self.0.get(value.index()) {
            counter.add(amount);
        }
    }

    pub fn one(&self, value: L) {
        self.add(value, 1);
    }

    pub fn get(&self, value: L) -> u64 {
        self.0.get(value.index()).map_or(0, Counter::get)
    }
}

impl<L: Label> Default for Family<L> {
    fn default() -> Self {
        Self(L::ALL.iter().map(|_| Counter::default()).collect(), PhantomData)
    }
}

/// Raised by several threads.
#[derive(Debug, Default)]
pub struct SharedCounter(AtomicU64);

impl SharedCounter {
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Relaxed);
    }

    pub fn one(&self) {
        self.add(1);
    }

    /// Follows a count that is kept elsewhere; never goes back.
    pub fn raise_to(&self, count: u64) {
        self.0.fetch_max(count, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Set by several threads; the last one wins.
#[derive(Debug, Default)]
pub struct SharedGauge(AtomicU64);

impl SharedGauge {
    pub fn set(&self, level: u64) {
        self.0.store(level, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One [`SharedCounter`] per value of a label.
#[derive(Debug)]
pub struct SharedFamily<L: Label>(Box<[SharedCounter]>, PhantomData<L>);

impl<L: Label> SharedFamily<L> {
    pub fn one(&self, value: L) {
        if let Some(counter) = self.0.get(value.index()) {
            counter.one();
        }
    }

    pub fn get(&self, value: L) -> u64 {
        self.0.get(value.index()).map_or(0, SharedCounter::get)
    }
}

impl<L: Label> Default for SharedFamily<L> {
    fn default() -> Self {
        Self(L::ALL.iter().map(|_| SharedCounter::default()).collect(), PhantomData)
    }
}
