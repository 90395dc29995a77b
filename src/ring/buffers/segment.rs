//! The handle of a range of bytes in a buffer.
#![allow(unsafe_code)]

use super::pool::Pool;
use super::{HEAD_ROOM, TAIL_ROOM};
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

/// A range of bytes in a pooled buffer, counted: the buffer returns to its pool with the last segment of it. 24 bytes,
/// cheap to make and to drop, never allocates, bound to its thread.
///
/// Every segment has a *ground*: its bytes and the room round them that is its own. A segment fresh from the pool has the
/// whole buffer as ground. Splitting divides the ground, so siblings never meet and each may change its bytes in place.
/// Narrowing (`consume`, `truncate`, `narrow`) leaves the ground as it is and so makes room. A shared segment can be read
/// only, until every other segment of the buffer is gone.
///
/// Bytes of the ground outside the range are what was there before, possibly of another session: who moves the range
/// over them (only [`Segment::edit`] can) writes them first.
pub struct Segment {
    pool: Rc<Pool>,
    buffer: u32,
    /// Invariant: ground_start <= start <= end <= ground_end <= the buffer's stride.
    ground_start: u16,
    start: u16,
    end: u16,
    ground_end: u16,
    /// Another segment may have this ground too. Invariant: of all segments of a buffer whose grounds meet, each is aliased.
    aliased: bool,
}

/// An edit in place that did not happen, or whose answer was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EditError<E> {
    #[error("the bytes are shared and cannot be changed")]
    Shared,
    #[error("the edited range leaves the segment's ground")]
    OutOfGround,
    #[error("{0}")]
    Edit(E),
}

impl Segment {
    /// The caller has made the buffer's count 1 for this segment.
    pub(super) fn of_whole_buffer(pool: Rc<Pool>, buffer: u32, len: u16) -> Self {
        let start = HEAD_ROOM as u16;
        let ground_end = (HEAD_ROOM + pool.payload() + TAIL_ROOM) as u16;
        Self {
            pool,
            buffer,
            ground_start: 0,
            start,
            end: start + len,
            ground_end,
            aliased: false,
        }
    }

    pub fn len(&self) -> usize {
        usize::from(self.end - self.start)
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub fn bytes(&self) -> &[u8] {
        let start = self.pool.pointer(self.buffer, self.start).as_ptr();
        // SAFETY: start..end lies in the buffer (invariant of the fields, `pointer` checks the start); the memory is
        // initialised (zeroed by mmap) and lives as long as the counted pool. Nobody writes to it meanwhile: the kernel
        // writes only to buffers without segments, and segments only through `ground_mut`, which needs `&mut self` and that
        // no other segment has this ground.
        unsafe { std::slice::from_raw_parts(start, self.len()) }
    }

    /// The bytes for changing in place. `None` while they are shared.
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        let range = self.range_in_ground();
        self.ground_mut()?.get_mut(range)
    }

    /// May the bytes be changed?
    pub fn is_exclusive(&self) -> bool {
        !self.aliased || self.pool.is_sole(self.buffer)
    }

    /// Bytes of ground in front of the range.
    pub fn head_room(&self) -> usize {
        usize::from(self.start - self.ground_start)
    }

    /// Bytes of ground behind the range.
    pub fn tail_room(&self) -> usize {
        usize::from(self.ground_end - self.end)
    }

    /// Hands the whole ground and the place of the bytes in it to `edit`, which answers with the range that the segment has
    /// from then on (of the ground again): so a record is opened or sealed where it lies.
    pub fn edit<E>(
        &mut self,
        edit: impl FnOnce(&mut [u8], Range<usize>) -> Result<Range<usize>, E>,
    ) -> Result<(), EditError<E>> {
        let range = self.range_in_ground();
        let ground = self.ground_mut().ok_or(EditError::Shared)?;
        let ground_len = ground.len();
        let edited = edit(ground, range).map_err(EditError::Edit)?;
        if edited.start > edited.end || edited.end > ground_len {
            return Err(EditError::OutOfGround);
        }
        self.end = self.ground_start + edited.end as u16;
        self.start = self.ground_start + edited.start as u16;
        Ok(())
    }

    /// Appends as many of `bytes` as fit while the tail room for a record stays free; returns how many. None while shared.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.spare());
        let end = self.range_in_ground().end;
        let Some(target) = self.ground_mut().and_then(|ground| ground.get_mut(end..end + count)) else {
            return 0;
        };
        target.copy_from_slice(&bytes[..count]);
        self.end += count as u16;
        count
    }

    /// How many bytes `append` would take (if the segment is not shared).
    pub fn spare(&self) -> usize {
        self.tail_room().saturating_sub(TAIL_ROOM)
    }

    /// Cuts `count` bytes off the front (all, if there are fewer). They become head room.
    pub fn consume(&mut self, count: usize) {
        self.start += count.min(self.len()) as u16;
    }

    /// Cuts everything behind the first `len` bytes off. It becomes tail room.
    pub fn truncate(&mut self, len: usize) {
        self.end = self.start + len.min(self.len()) as u16;
    }

    /// Keeps `range` of the bytes, clipped to what there is.
    pub fn narrow(&mut self, range: Range<usize>) {
        self.truncate(range.end);
        self.consume(range.start);
    }

    /// Takes the first `at` bytes (all, if there are fewer) as a segment of their own; this one keeps the rest. The ground
    /// is divided at the cut.
    pub fn split_to(&mut self, at: usize) -> Segment {
        let cut = self.start + at.min(self.len()) as u16;
        let mut front = self.twin();
        (front.end, front.ground_end) = (cut, cut);
        (self.start, self.ground_start) = (cut, cut);
        front
    }

    /// Takes everything behind the first `at` bytes as a segment of its own; this one keeps the front.
    pub fn split_off(&mut self, at: usize) -> Segment {
        let front = self.split_to(at);
        std::mem::replace(self, front)
    }

    /// Another segment of the same bytes. Both can only be read until all others of the buffer are gone.
    pub fn share(&mut self) -> Segment {
        self.aliased = true;
        self.twin()
    }

    /// Another segment of some of the bytes, clipped to what there is; shared as by [`Segment::share`].
    pub fn slice(&mut self, range: Range<usize>) -> Segment {
        let mut slice = self.share();
        slice.narrow(range);
        slice
    }

    /// Appends the segment that follows directly in the same buffer, so that both are sent as one. Otherwise it comes back.
    pub fn join(&mut self, next: Segment) -> Result<(), Segment> {
        let adjacent = Rc::ptr_eq(&self.pool, &next.pool)
            && self.buffer == next.buffer
            && self.end == next.start
            && self.aliased == next.aliased
            && (self.aliased || self.ground_end <= next.ground_start);
        if !adjacent {
            return Err(next);
        }
        self.end = next.end;
        self.ground_end = self.ground_end.max(next.ground_end);
        Ok(())
    }

    /// The whole buffer is zeroed when it returns to its pool.
    pub fn mark_secret(&self) {
        self.pool.mark_secret(self.buffer);
    }

    /// Address for the kernel to read `len` bytes from; valid while this segment lives and is not moved over.
    pub(in crate::ring) fn address(&self) -> *const u8 {
        self.pool.pointer(self.buffer, self.start).as_ptr()
    }

    fn twin(&self) -> Segment {
        self.pool.hold(self.buffer);
        Segment {
            pool: Rc::clone(&self.pool),
            ..*self
        }
    }

    fn range_in_ground(&self) -> Range<usize> {
        usize::from(self.start - self.ground_start)..usize::from(self.end - self.ground_start)
    }

    fn ground_mut(&mut self) -> Option<&mut [u8]> {
        if !self.is_exclusive() {
            return None;
        }
        // A sole segment needs no care any more.
        self.aliased = false;
        let start = self.pool.pointer(self.buffer, self.ground_start).as_ptr();
        let len = usize::from(self.ground_end - self.ground_start);
        // SAFETY: the ground lies in the buffer (invariant), the memory is initialised and lives as long as the pool. It is
        // exclusive: either no other segment has any of this ground (not aliased), or there is no other segment of the
        // buffer at all; the kernel writes only to buffers without segments, and reads only what a segment among the ring's
        // flights holds, which is an alias. `&mut self` keeps this segment's other slices away.
        Some(unsafe { std::slice::from_raw_parts_mut(start, len) })
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.pool.release(self.buffer);
    }
}

/// Where it lies, never what it says.
impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment")
            .field("buffer", &self.buffer)
            .field("range", &(self.start..self.end))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::buffers::{OwnBuffers, PoolSize};
    use std::convert::Infallible;

    const PAYLOAD: usize = 128;

    fn own() -> OwnBuffers {
        OwnBuffers::new(PoolSize {
            payload: PAYLOAD as u32,
            count: 4,
        })
        .expect("a small pool")
    }

    fn holding(own: &OwnBuffers, bytes: &[u8]) -> Segment {
        let mut segment = own.take().expect("a buffer");
        assert_eq!(segment.append(bytes), bytes.len());
        segment
    }

    #[test]
    fn a_handle_is_small() {
        assert_eq!(size_of::<Segment>(), 24);
    }

    #[test]
    fn a_fresh_segment_has_room_on_both_sides() {
        let own = own();
        let mut segment = own.take().expect("a buffer");
        assert_eq!(
            (segment.head_room(), segment.tail_room()),
            (HEAD_ROOM, PAYLOAD + TAIL_ROOM)
        );
        assert_eq!(segment.append(&[7; 1_000]), PAYLOAD);
        assert_eq!(segment.append(&[7]), 0);
        assert_eq!((segment.len(), segment.tail_room()), (PAYLOAD, TAIL_ROOM));
    }

    #[test]
    fn split_segments_change_in_place_and_never_meet() {
        let own = own();
        let mut rest = holding(&own, b"headbodytail");
        let mut head = rest.split_to(4);
        let mut tail = rest.split_off(4);
        for segment in [&mut head, &mut rest, &mut tail] {
            segment.bytes_mut().expect("exclusive").make_ascii_uppercase();
        }
        assert_eq!(
            (head.bytes(), rest.bytes(), tail.bytes()),
            (&b"HEAD"[..], &b"BODY"[..], &b"TAIL"[..])
        );
        assert_eq!((head.head_room(), head.tail_room()), (HEAD_ROOM, 0));
        assert_eq!((rest.head_room(), rest.tail_room()), (0, 0));
        assert_eq!(tail.tail_room(), PAYLOAD + TAIL_ROOM - 12);
        assert_eq!(own.counters().outstanding, 1);
        drop((head, rest));
        assert_eq!(own.counters().outstanding, 1);
        drop(tail);
        assert_eq!(own.counters().outstanding, 0);
    }

    #[test]
    fn shared_bytes_cannot_be_changed_until_the_last_holder_is_alone() {
        let own = own();
        let mut first = holding(&own, b"shared");
        let mut sibling = first.split_off(3);
        let mut second = first.share();
        assert!(first.bytes_mut().is_none() && second.bytes_mut().is_none());
        assert_eq!(first.append(b"x"), 0);
        assert_eq!(
            first.edit(|_, range| Ok::<_, Infallible>(range)),
            Err(EditError::Shared)
        );
        // A sibling with ground of its own is not concerned.
        sibling.bytes_mut().expect("exclusive").make_ascii_uppercase();
        drop((first, sibling));
        second.bytes_mut().expect("alone").make_ascii_uppercase();
        assert_eq!(second.bytes(), b"SHA");
        let mut third = second.split_off(1);
        assert!(second.is_exclusive() && third.bytes_mut().is_some());
    }

    #[test]
    fn a_record_is_sealed_in_its_ground() {
        let own = own();
        let mut segment = holding(&own, b"plaintext");
        let seal = |ground: &mut [u8], range: Range<usize>| {
            ground[range.start - 5..range.start].copy_from_slice(b"head:");
            ground[range.end..range.end + 4].copy_from_slice(b":tag");
            Ok::<_, Infallible>(range.start - 5..range.end + 4)
        };
        segment.edit(seal).expect("exclusive");
        assert_eq!(segment.bytes(), b"head:plaintext:tag");
        // Opening leaves the header and the tag as room for the next seal.
        segment
            .edit(|_, range| Ok::<_, Infallible>(range.start + 5..range.end - 4))
            .expect("exclusive");
        assert_eq!((segment.bytes(), segment.head_room()), (&b"plaintext"[..], HEAD_ROOM));
    }

    #[test]
    fn an_edit_cannot_leave_the_ground() {
        let own = own();
        let mut segment = holding(&own, b"abc");
        let mut middle = segment.split_to(2);
        let whole = middle.head_room() + middle.len() + middle.tail_room();
        for wrong in [0..whole + 1, Range { start: 3, end: 2 }, whole + 1..whole + 1] {
            let edited = middle.edit(|_, _| Ok::<_, Infallible>(wrong.clone()));
            assert_eq!(edited, Err(EditError::OutOfGround));
        }
        assert_eq!(middle.edit(|_, _| Err("no")), Err(EditError::Edit("no")));
        assert_eq!((middle.bytes(), segment.bytes()), (&b"ab"[..], &b"c"[..]));
    }

    #[test]
    fn ranges_out_of_bounds_are_clipped() {
        let own = own();
        let mut segment = holding(&own, b"abcdef");
        segment.narrow(1..usize::MAX);
        assert_eq!(segment.bytes(), b"bcdef");
        assert_eq!(segment.slice(2..4).bytes(), b"de");
        assert_eq!(segment.slice(Range { start: 9, end: 3 }).bytes(), b"");
        assert_eq!(segment.split_to(100).bytes(), b"bcdef");
        segment.consume(1);
        assert!(segment.is_empty() && segment.bytes().is_empty());
    }

    #[test]
    fn neighbours_join_and_others_do_not() {
        let own = own();
        let mut front = holding(&own, b"frontback");
        let mut back = front.split_off(5);
        let back_shared = back.share();
        let back_shared = front.join(back_shared).expect_err("one is shared, one is not");
        drop(back_shared);
        drop(back);
        let mut front = holding(&own, b"frontback");
        let back = front.split_off(5);
        front.join(back).expect("neighbours");
        assert_eq!(front.bytes(), b"frontback");
        assert!(front.is_exclusive() && front.tail_room() > TAIL_ROOM);
        let stranger = holding(&own, b"x");
        assert!(front.join(stranger).is_err());
    }

    #[test]
    fn debug_output_shows_no_content() {
        let own = own();
        assert!(!format!("{:?}", holding(&own, b"secret")).contains("secret"));
    }
}
