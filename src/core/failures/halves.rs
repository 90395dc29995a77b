//! Two counts that take turns, in one word with the number of their window.

/// The number of a window, in the bits that a cell has for it: it comes again after 194 days of the shortest windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window(u64);

impl Window {
    pub fn new(number: u64) -> Self {
        Self(number % (1 << 24))
    }

    /// In the upper bits of a word, where the counts do not reach.
    pub fn word(self) -> u64 {
        self.0 << 40
    }

    pub fn of_word(word: u64) -> Self {
        Self(word >> 40)
    }

    pub fn is_even(self) -> bool {
        self.0.is_multiple_of(2)
    }

    pub fn next(self) -> Self {
        Self::new(self.0 + 1)
    }
}

/// The window they were last turned to in 24 bits, and the two halves in 20 bits each.
#[derive(Clone, Copy)]
pub struct Halves {
    window: Window,
    older: u64,
    newer: u64,
}

impl Halves {
    /// A half that is full stays full.
    pub const MOST: u64 = (1 << 20) - 1;

    pub fn read(word: u64) -> Self {
        Self {
            window: Window::of_word(word),
            older: word >> 20 & Self::MOST,
            newer: word & Self::MOST,
        }
    }

    pub fn word(self) -> u64 {
        self.window.word() | self.older << 20 | self.newer
    }

    /// As they are in `window`.
    pub fn turned(self, window: Window) -> Self {
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

    pub fn and_one(self) -> Self {
        Self {
            newer: Self::MOST.min(self.newer + 1),
            ..self
        }
    }

    pub fn sum(self) -> u64 {
        self.older + self.newer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_that_is_full_stays_full() {
        let full = Halves::read(Halves::MOST);
        assert_eq!(full.and_one().word(), full.word());
        assert_eq!(full.turned(Window::new(1)).and_one().sum(), Halves::MOST + 1);
    }
}
