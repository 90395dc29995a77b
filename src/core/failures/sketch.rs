//! The cells that failures are counted in: four rows, of which the least tells.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub const ROWS: usize = 4;
pub const WIDTH: usize = 16_384;

/// One cell in each row.
pub type Places = [usize; ROWS];

/// The number of a window, in the bits that a cell has for it: it comes again after 194 days of the shortest windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window(u64);

impl Window {
    pub fn new(number: u64) -> Self {
        Self(number % (1 << 24))
    }

    fn next(self) -> Self {
        Self::new(self.0 + 1)
    }
}

/// Rows of cells, each with two halves that take turns.
pub struct Sketch(Rows);

impl Default for Sketch {
    fn default() -> Self {
        Self(rows())
    }
}

impl Sketch {
    /// Adds one to every cell, rather than to the least of them alone: of two cores that do so at once one would be lost.
    pub fn add(&self, places: Places, window: Window) {
        for cell in cells(&self.0, places) {
            update(cell, |word| Halves::read(word).turned(window).and_one().word());
        }
    }

    /// What was added in this window and the one before; never less.
    pub fn count(&self, places: Places, window: Window) -> u64 {
        let counts = cells(&self.0, places).map(|cell| Halves::read(cell.load(Relaxed)).turned(window).sum());
        counts.min().unwrap_or_default()
    }
}

/// Rows of moments that only become later.
pub struct Moments(Rows);

impl Default for Moments {
    fn default() -> Self {
        Self(rows())
    }
}

impl Moments {
    pub fn raise(&self, places: Places, moment: u64) {
        for cell in cells(&self.0, places) {
            cell.fetch_max(moment, Relaxed);
        }
    }

    /// What it was raised to; never earlier.
    pub fn latest(&self, places: Places) -> u64 {
        let moments = cells(&self.0, places).map(|cell| cell.load(Relaxed));
        moments.min().unwrap_or_default()
    }
}

/// What was added to a sketch in all. A cell is too narrow for that, so each half has a word with its window.
#[derive(Default)]
pub struct Total([AtomicU64; 2]);

impl Total {
    pub fn add(&self, window: Window) {
        let [even, odd] = &self.0;
        let half = if window.0.is_multiple_of(2) { even } else { odd };
        update(half, |word| match word >> 40 == window.0 {
            true => word + 1,
            false => window.0 << 40 | 1,
        });
    }

    /// Of this window and the one before.
    pub fn count(&self, window: Window) -> u64 {
        let words = self.0.iter().map(|half| half.load(Relaxed));
        let fresh = words.filter(|word| {
            let of = Window(word >> 40);
            of == window || of.next() == window
        });
        fresh.map(|word| word & ((1 << 40) - 1)).sum()
    }
}

/// Of each of the tables.
pub const BYTES: usize = size_of::<[[AtomicU64; WIDTH]; ROWS]>();

type Rows = Box<[[AtomicU64; WIDTH]; ROWS]>;

fn rows() -> Rows {
    // Zeroed where it will lie: on a thread's stack there may be no room.
    let cells: Vec<[AtomicU64; WIDTH]> = (0..ROWS).map(|_| [const { AtomicU64::new(0) }; WIDTH]).collect();
    match cells.try_into() {
        Ok(rows) => rows,
        Err(_) => unreachable!("there are as many rows"),
    }
}

fn cells(rows: &Rows, places: Places) -> impl Iterator<Item = &AtomicU64> {
    rows.iter().zip(places).filter_map(|(row, place)| row.get(place))
}

fn update(cell: &AtomicU64, change: impl Fn(u64) -> u64) {
    let mut word = cell.load(Relaxed);
    while let Err(other) = cell.compare_exchange_weak(word, change(word), Relaxed, Relaxed) {
        word = other;
    }
}

/// A cell's word: the window it was last turned to in 24 bits, and the two halves in 20 bits each.
#[derive(Clone, Copy)]
struct Halves {
    window: Window,
    older: u64,
    newer: u64,
}

impl Halves {
    const MOST: u64 = (1 << 20) - 1;

    fn read(word: u64) -> Self {
        Self {
            window: Window(word >> 40),
            older: word >> 20 & Self::MOST,
            newer: word & Self::MOST,
        }
    }

    fn word(self) -> u64 {
        self.window.0 << 40 | self.older << 20 | self.newer
    }

    /// As they are in `window`.
    fn turned(self, window: Window) -> Self {
        // A core whose clock was read a moment earlier adds to the window that has begun.
        if self.window == window || self.window == window.next() {
            return self;
        }
        Self {
            window,
            older: if self.window.next() == window { self.newer } else { 0 },
            newer: 0,
        }
    }

    fn and_one(self) -> Self {
        Self {
            newer: Self::MOST.min(self.newer + 1),
            ..self
        }
    }

    fn sum(self) -> u64 {
        self.older + self.newer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: Places = [1, 2, 3, 4];

    #[test]
    fn a_failure_counts_for_one_window_and_the_next() {
        let sketch = Sketch::default();
        let total = Total::default();
        sketch.add(PLACES, Window::new(7));
        total.add(Window::new(7));
        let counted = |number| {
            let window = Window::new(number);
            (sketch.count(PLACES, window), total.count(window))
        };
        assert_eq!([7, 8, 9, 7 + (1 << 23)].map(counted), [(1, 1), (1, 1), (0, 0), (0, 0)]);
        sketch.add(PLACES, Window::new(8));
        total.add(Window::new(8));
        assert_eq!([8, 9, 10].map(counted), [(2, 2), (1, 1), (0, 0)]);
    }

    #[test]
    fn a_core_that_is_late_takes_nothing_away() {
        let sketch = Sketch::default();
        sketch.add(PLACES, Window::new(8));
        sketch.add(PLACES, Window::new(7));
        assert_eq!(sketch.count(PLACES, Window::new(8)), 2);
    }

    #[test]
    fn a_cell_that_is_full_stays_full() {
        let full = Halves::read(Halves::MOST);
        assert_eq!(full.and_one().word(), full.word());
        assert_eq!(full.turned(Window::new(1)).and_one().sum(), Halves::MOST + 1);
    }

    #[test]
    fn the_least_of_the_rows_tells() {
        let (sketch, moments) = (Sketch::default(), Moments::default());
        let others = [1, 2, 3, 5];
        sketch.add(PLACES, Window::new(0));
        moments.raise(PLACES, 9);
        moments.raise(PLACES, 3);
        assert_eq!((sketch.count(others, Window::new(0)), moments.latest(others)), (0, 0));
        assert_eq!((sketch.count(PLACES, Window::new(0)), moments.latest(PLACES)), (1, 9));
    }
}
