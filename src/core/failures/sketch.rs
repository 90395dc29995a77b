//! The cells that failures are counted in: four rows, of which the least tells.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::halves::{Halves, Window};

pub const ROWS: usize = 4;
pub const WIDTH: usize = 16_384;

/// One cell in each row.
pub type Places = [usize; ROWS];

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

/// What was added to a sketch in all. A cell is too narrow for that, so each half has a word with its window.
#[derive(Default)]
pub struct Total([AtomicU64; 2]);

impl Total {
    pub fn add(&self, window: Window) {
        let [even, odd] = &self.0;
        let half = if window.is_even() { even } else { odd };
        update(half, |word| match Window::of_word(word) == window {
            true => word + 1,
            false => window.word() | 1,
        });
    }

    /// Of this window and the one before.
    pub fn count(&self, window: Window) -> u64 {
        let words = self.0.iter().map(|half| half.load(Relaxed));
        let fresh = words.filter(|word| {
            let of = Window::of_word(*word);
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
    fn the_least_of_the_rows_tells() {
        let sketch = Sketch::default();
        let others = [1, 2, 3, 5];
        sketch.add(PLACES, Window::new(0));
        assert_eq!(sketch.count(others, Window::new(0)), 0);
        assert_eq!(sketch.count(PLACES, Window::new(0)), 1);
    }
}
