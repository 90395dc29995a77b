//! The numbers under which a ring knows its sockets.

use super::errno::Errno;
use super::socket;
use io_uring::{squeue, types};
use std::os::fd::{AsRawFd, OwnedFd};

/// A place in the ring's table of descriptors; the caller chooses the numbers, below [`super::Ring::slots`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// What a slot holds. A slot is free again when its close has completed, not before: a close that waits in the
/// submission queue would otherwise hit the next owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Free,
    Used { unix: bool },
    Closing,
}

/// Which slots are in use, and, where they are ordinary descriptors, which.
pub(super) struct Slots {
    places: Box<[Place]>,
    /// `None`: slots are direct descriptors, held by the kernel.
    ordinary: Option<Box<[Option<OwnedFd>]>>,
    used: u32,
}

/// What an operation names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    Direct(u32),
    Ordinary(i32),
}

impl Slots {
    pub(super) fn new(count: u32, direct: bool) -> Self {
        let count = count as usize;
        Self {
            places: vec![Place::Free; count].into_boxed_slice(),
            ordinary: (!direct).then(|| std::iter::repeat_with(|| None).take(count).collect()),
            used: 0,
        }
    }

    pub(super) fn count(&self) -> u32 {
        self.places.len() as u32
    }

    /// Slots that are not free.
    pub(super) fn used(&self) -> u32 {
        self.used
    }

    pub(super) fn is_direct(&self) -> bool {
        self.ordinary.is_none()
    }

    /// Is there such a slot, and is it free?
    pub(super) fn check_free(&self, slot: Slot) -> Result<(), Errno> {
        match self.places.get(slot.0 as usize) {
            Some(Place::Free) => Ok(()),
            Some(Place::Used { .. } | Place::Closing) => Err(Errno::BUSY),
            None => Err(Errno::BAD_DESCRIPTOR),
        }
    }

    /// Notes that a free slot holds `fd` from now on. Of a direct slot the kernel has a reference of its own already, and
    /// `fd` is closed here.
    pub(super) fn occupy(&mut self, slot: Slot, fd: OwnedFd) {
        let index = slot.0 as usize;
        debug_assert_eq!(self.places[index], Place::Free);
        self.places[index] = Place::Used {
            unix: socket::is_unix(&fd),
        };
        self.used += 1;
        if let Some(ordinary) = &mut self.ordinary {
            ordinary[index] = Some(fd);
        }
    }

    /// What an operation on this slot names; an empty, closing or missing slot names nothing, which ends in EBADF.
    pub(super) fn aim(&self, slot: Slot) -> Aim {
        let index = slot.0 as usize;
        let Some(Place::Used { .. }) = self.places.get(index) else {
            return Aim::NOTHING;
        };
        match &self.ordinary {
            None => Aim::Direct(slot.0),
            Some(ordinary) => ordinary[index]
                .as_ref()
                .map_or(Aim::NOTHING, |fd| Aim::Ordinary(fd.as_raw_fd())),
        }
    }

    /// Does the slot hold a Unix socket?
    pub(super) fn is_unix(&self, slot: Slot) -> bool {
        self.places.get(slot.0 as usize) == Some(&Place::Used { unix: true })
    }

    /// The slot is closing from now on; the descriptor of an ordinary one comes out. An error: it is not in use.
    pub(super) fn begin_close(&mut self, slot: Slot) -> Result<Option<OwnedFd>, Errno> {
        let index = slot.0 as usize;
        let Some(place @ Place::Used { .. }) = self.places.get_mut(index) else {
            return Err(Errno::BAD_DESCRIPTOR);
        };
        *place = Place::Closing;
        Ok(self.ordinary.as_mut().and_then(|ordinary| ordinary[index].take()))
    }

    pub(super) fn end_close(&mut self, slot: Slot) {
        debug_assert_eq!(self.places[slot.0 as usize], Place::Closing);
        self.places[slot.0 as usize] = Place::Free;
        self.used -= 1;
    }
}

impl Aim {
    const NOTHING: Self = Self::Ordinary(-1);

    /// The descriptor field of an entry, and the flag that says how to read it.
    pub(super) fn entry(self) -> (types::Fd, squeue::Flags) {
        match self {
            Self::Direct(index) => (types::Fd(index as i32), squeue::Flags::FIXED_FILE),
            Self::Ordinary(fd) => (types::Fd(fd), squeue::Flags::empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::EventFd;

    fn descriptor() -> OwnedFd {
        EventFd::new().expect("a descriptor").into()
    }

    #[test]
    fn a_closing_slot_is_not_free_and_names_nothing() {
        for direct in [true, false] {
            let mut slots = Slots::new(2, direct);
            let slot = Slot(1);
            assert_eq!(slots.aim(slot), Aim::NOTHING);
            slots.check_free(slot).expect("all slots are free");
            slots.occupy(slot, descriptor());
            assert_ne!(slots.aim(slot), Aim::NOTHING);
            assert_eq!(slots.check_free(slot), Err(Errno::BUSY));
            let taken = slots.begin_close(slot).expect("in use");
            assert_eq!(taken.is_none(), direct);
            assert_eq!(slots.aim(slot), Aim::NOTHING);
            assert_eq!(slots.check_free(slot), Err(Errno::BUSY));
            assert!(slots.begin_close(slot).is_err());
            slots.end_close(slot);
            assert_eq!((slots.check_free(slot), slots.used()), (Ok(()), 0));
        }
    }

    #[test]
    fn slots_out_of_range_name_nothing() {
        let mut slots = Slots::new(2, true);
        assert_eq!(slots.check_free(Slot(2)), Err(Errno::BAD_DESCRIPTOR));
        assert_eq!(slots.aim(Slot(u32::MAX)), Aim::NOTHING);
        assert_eq!(slots.begin_close(Slot(2)).err(), Some(Errno::BAD_DESCRIPTOR));
    }
}
