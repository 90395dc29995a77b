//! Bytes in and out of one line: queueing, sealing, opening, and the send that is in flight.

use crate::ring::{HEAD_ROOM, OwnBuffers, Segment};
use crate::tls::{Opened, TlsError};
use crate::wire::error::Report;

use super::line::{Queue, Side, Socket, TlsLine};
use super::run::Core;

/// A line whose peer is this far behind stops the other side's receiving.
const QUEUE_HIGH: usize = 256 * 1024;
/// It goes on when this much is left.
const QUEUE_LOW: usize = 64 * 1024;

/// Queues that are kept for lending; more are freed.
const SPARE_QUEUES: usize = 1_024;

/// Queues that a core has from the start, so that it allocates none while no more lines than these have something to send.
const FIRST_QUEUES: usize = 64;

#[expect(
    clippy::vec_box,
    reason = "lent to lines as boxes, so that lending moves eight bytes"
)]
pub(super) fn spare_queues() -> Vec<Box<Queue>> {
    let mut queues = Vec::with_capacity(SPARE_QUEUES);
    queues.resize_with(FIRST_QUEUES, Box::default);
    queues
}

/// What came out of one received segment of a TLS line.
#[derive(Debug, Default)]
pub(super) struct OpenedRecords {
    /// The peer's close_notify.
    pub closed: bool,
    pub error: Option<TlsError>,
    /// Records that were copied because they spanned buffers.
    pub copied: u64,
}

/// A core's own pool is empty: the line cannot go on without losing bytes.
#[derive(Debug)]
pub(super) struct OutOfBuffers;

impl Core {
    /// Puts plaintext that was received on one side into the queue of the other. Sealed in place where it can be.
    pub(super) fn forward(&mut self, index: u32, to: Side, segment: Segment) {
        if segment.is_empty() {
            return;
        }
        let own = self.ring.own_buffers().clone();
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let line = connection.line(to);
        if !matches!(line.socket, Socket::Open) {
            return;
        }
        let queue = line.queue.get_or_insert_with(|| self.queues.pop().unwrap_or_default());
        let queued = match &mut line.tls {
            None => {
                queue.push(segment);
                Ok(0)
            }
            Some(tls) => seal(tls, segment, queue, &own),
        };
        let throttle = queue.bytes > QUEUE_HIGH && !std::mem::replace(&mut line.throttling, queue.bytes > QUEUE_HIGH);
        self.flush_later(index, to);
        match queued {
            Ok(copied) => self.metrics().relay_copies.add(copied),
            Err(OutOfBuffers) => return self.starve_out(index),
        }
        if throttle {
            self.metrics().relays_paused.one();
            self.pause_receive(index, to.other());
        }
    }

    /// Queues bytes of the gate's own, under TLS where the line has it.
    pub(super) fn send_own(&mut self, index: u32, to: Side, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let own = self.ring.own_buffers().clone();
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let line = connection.line(to);
        if !matches!(line.socket, Socket::Open) {
            return;
        }
        let mut sealed = zeroize::Zeroizing::new(Vec::new());
        let bytes = match &mut line.tls {
            None => bytes,
            Some(tls) => {
                // A link that is closed for writing has nothing more to say, and the peer will see the close.
                if tls.link.seal(bytes, &mut sealed).is_err() {
                    return;
                }
                &sealed
            }
        };
        let queue = line.queue.get_or_insert_with(|| self.queues.pop().unwrap_or_default());
        if queue.copy(&own, bytes).is_err() {
            return self.starve_out(index);
        }
        self.flush_later(index, to);
    }

    /// Queues bytes as they are, below TLS: handshake flights, alerts, the answer to an SSLRequest.
    pub(super) fn send_raw(&mut self, index: u32, to: Side, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let own = self.ring.own_buffers().clone();
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let line = connection.line(to);
        if !matches!(line.socket, Socket::Open) {
            return;
        }
        let queue = line.queue.get_or_insert_with(|| self.queues.pop().unwrap_or_default());
        if queue.copy(&own, bytes).is_err() {
            return self.starve_out(index);
        }
        self.flush_later(index, to);
    }

    /// The last error a peer hears.
    pub(super) fn send_report(&mut self, index: u32, report: &Report<'_>) {
        let mut bytes = Vec::new();
        report.encode(&mut bytes);
        self.send_own(index, Side::Client, &bytes);
    }

    /// What the link owes its peer: an answer to a KeyUpdate, an alert.
    pub(super) fn send_owed(&mut self, index: u32, side: Side) {
        let Some(tls) = self
            .table
            .get(index)
            .and_then(|connection| connection.line(side).tls.as_mut())
        else {
            return;
        };
        if !tls.link.owes() {
            return;
        }
        let mut owed = Vec::new();
        if tls.link.flush_owed(&mut owed).is_ok() {
            self.send_raw(index, side, &owed);
        }
    }

    pub(super) fn send_close_notify(&mut self, index: u32, side: Side) {
        let Some(tls) = self
            .table
            .get(index)
            .and_then(|connection| connection.line(side).tls.as_mut())
        else {
            return;
        };
        let mut notify = Vec::new();
        if tls.link.close_notify(&mut notify).is_ok() {
            self.send_raw(index, side, &notify);
        }
    }

    /// Remembers that a line has something to send in this turn.
    fn flush_later(&mut self, index: u32, side: Side) {
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let line = connection.line(side);
        if !line.sending && !std::mem::replace(&mut line.flushing, true) {
            self.flush.push((index, side));
        }
    }

    /// One send for every line that got something in this turn, with all that it got.
    pub(super) fn flush_lines(&mut self) {
        while let Some((index, side)) = self.flush.pop() {
            let slot = self.slot(index, side);
            let Some(connection) = self.table.get(index) else {
                continue;
            };
            let line = connection.line(side);
            line.flushing = false;
            if line.sending || !matches!(line.socket, Socket::Open | Socket::Draining) {
                continue;
            }
            let tag = super::run::tag(super::run::Operation::Send, side, index, line.generation);
            let Some(queue) = &mut line.queue else { continue };
            line.sending = self.ring.send(slot, queue.segments.iter_mut(), tag) > 0;
        }
    }

    /// The kernel has taken `count` bytes of the line's queue.
    pub(super) fn sent(&mut self, index: u32, side: Side, count: usize) {
        let Some(connection) = self.table.get(index) else {
            return;
        };
        let line = connection.line(side);
        line.sending = false;
        if let Some(queue) = &mut line.queue {
            queue.pop(count);
            if queue.segments.is_empty() {
                queue.rewind();
                let queue = line.queue.take();
                if self.queues.len() < SPARE_QUEUES {
                    self.queues.extend(queue);
                }
            }
        }
        let left = line.queued();
        let resume = line.throttling && left <= QUEUE_LOW;
        if resume {
            line.throttling = false;
        }
        let drained = left == 0 && matches!(line.socket, Socket::Draining);
        if left > 0 {
            self.flush_later(index, side);
        }
        if resume {
            self.resume_receive(index, side.other());
        }
        if drained {
            self.close_line(index, side);
        }
    }

    /// Opens the records of one received segment; the plaintext is appended to `opened`, in order.
    pub(super) fn open_records(
        &mut self,
        index: u32,
        side: Side,
        segment: Segment,
        opened: &mut Vec<Segment>,
    ) -> Result<OpenedRecords, OutOfBuffers> {
        let own = self.ring.own_buffers().clone();
        let tls = self
            .table
            .get(index)
            .and_then(|connection| connection.line(side).tls.as_mut());
        match tls {
            Some(tls) => open(tls, segment, &own, opened),
            None => Ok(OpenedRecords::default()),
        }
    }
}

impl Queue {
    pub fn push(&mut self, segment: Segment) {
        self.bytes += segment.len();
        self.segments.push_back(segment);
    }

    fn copy(&mut self, own: &OwnBuffers, bytes: &[u8]) -> Result<(), OutOfBuffers> {
        own.copy_to(bytes, &mut self.segments).map_err(|_| OutOfBuffers)?;
        self.bytes += bytes.len();
        Ok(())
    }

    /// Cuts `count` bytes off the front.
    fn pop(&mut self, count: usize) {
        let mut left = count.min(self.bytes);
        self.bytes -= left;
        while let Some(front) = self.segments.front_mut() {
            let len = front.len();
            if len > left {
                front.consume(left);
                return;
            }
            left -= len;
            self.segments.pop_front();
        }
    }
}

/// Seals one segment into the queue: in place where its ground has room, else with a copy. Answers how many were copied.
fn seal(tls: &mut TlsLine, mut segment: Segment, queue: &mut Queue, own: &OwnBuffers) -> Result<u64, OutOfBuffers> {
    if tls.link.owes() {
        let mut owed = Vec::new();
        // What fails to be flushed fails to be sealed as well.
        if tls.link.flush_owed(&mut owed).is_ok() {
            queue.copy(own, &owed)?;
        }
    }
    let (head, tail) = tls.link.seal_room();
    let in_place = segment.is_exclusive()
        && segment.len() <= tls.link.max_plaintext()
        && segment.head_room() >= head
        && segment.tail_room() >= tail;
    if in_place {
        let link = &mut tls.link;
        return match segment.edit(|ground, range| link.seal_in_place(ground, range)) {
            Ok(()) => {
                queue.push(segment);
                Ok(0)
            }
            // The link is closed for writing: the peer has heard why.
            Err(_) => Ok(0),
        };
    }
    let mut copied = 0;
    for chunk in segment.bytes().chunks(tls.link.max_plaintext()) {
        let mut sealed = own.take().map_err(|_| OutOfBuffers)?;
        let link = &mut tls.link;
        if sealed
            .edit(|ground, _| link.seal_into(chunk, ground).map(|length| 0..length))
            .is_err()
        {
            return Ok(copied);
        }
        queue.push(sealed);
        copied += 1;
    }
    Ok(copied)
}

fn open(
    tls: &mut TlsLine,
    mut segment: Segment,
    own: &OwnBuffers,
    opened: &mut Vec<Segment>,
) -> Result<OpenedRecords, OutOfBuffers> {
    let mut result = OpenedRecords::default();
    while !segment.is_empty() {
        let record = match tls.partial.take() {
            Some(partial) => gather(tls, partial, &mut segment),
            None => whole(tls, &mut segment, own)?,
        };
        match record {
            Ok(Some((record, copied))) => {
                result.copied += u64::from(copied);
                opened.push(record);
            }
            Ok(None) => {}
            Err(Stop::Closed) => {
                result.closed = true;
                return Ok(result);
            }
            Err(Stop::Failed(error)) => {
                result.error = Some(error);
                return Ok(result);
            }
        }
    }
    Ok(result)
}

enum Stop {
    Closed,
    Failed(TlsError),
}

type Record = Result<Option<(Segment, bool)>, Stop>;

/// The record at the front of `segment`, opened where it lies; what is not whole goes to a buffer of its own.
fn whole(tls: &mut TlsLine, segment: &mut Segment, own: &OwnBuffers) -> Result<Record, OutOfBuffers> {
    let Some(bytes) = segment.bytes_mut() else {
        // A received segment has no other owner before it is opened.
        debug_assert!(false, "a received segment is shared");
        return Err(OutOfBuffers);
    };
    Ok(match tls.link.open(bytes) {
        Ok(Opened::Data { plaintext, consumed }) => {
            let mut record = segment.split_to(consumed);
            record.narrow(plaintext);
            Ok(Some((record, false)))
        }
        Ok(Opened::Control { consumed }) => {
            segment.consume(consumed);
            Ok(None)
        }
        Ok(Opened::CloseNotify { .. }) => Err(Stop::Closed),
        Ok(Opened::NeedMore { .. }) => {
            let partial = own.take().map_err(|_| OutOfBuffers)?;
            gather(tls, partial, segment)
        }
        Err(error) => Err(Stop::Failed(error)),
    })
}

/// Copies to `partial` what its record lacks, and opens it there once it is whole.
fn gather(tls: &mut TlsLine, mut partial: Segment, segment: &mut Segment) -> Record {
    let (assembler, input) = (&mut tls.assembler, segment.bytes());
    let mut filled = None;
    let copied = partial.edit(|ground, _| {
        let buffer = ground.get_mut(HEAD_ROOM..).unwrap_or_default();
        let done = assembler.fill(buffer, input)?;
        filled = Some(done);
        let length = done.record.unwrap_or_else(|| assembler.held());
        Ok::<_, TlsError>(HEAD_ROOM..HEAD_ROOM + length)
    });
    match copied {
        Ok(()) => {}
        Err(crate::ring::EditError::Edit(error)) => return Err(Stop::Failed(error)),
        Err(_) => return Err(Stop::Failed(TlsError::from(crate::tls::Misuse::NoRoom))),
    }
    let Some(filled) = filled else { return Ok(None) };
    segment.consume(filled.taken);
    if filled.record.is_none() {
        tls.partial = Some(partial);
        return Ok(None);
    }
    let Some(bytes) = partial.bytes_mut() else {
        return Err(Stop::Failed(crate::tls::Misuse::NoRoom.into()));
    };
    match tls.link.open(bytes) {
        Ok(Opened::Data { plaintext, .. }) => {
            partial.narrow(plaintext);
            Ok(Some((partial, true)))
        }
        Ok(Opened::Control { .. }) | Ok(Opened::NeedMore { .. }) => Ok(None),
        Ok(Opened::CloseNotify { .. }) => Err(Stop::Closed),
        Err(error) => Err(Stop::Failed(error)),
    }
}
