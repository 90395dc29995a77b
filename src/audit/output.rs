//! Appending whole lines to something that may fail at any byte.

use std::io;

/// What lines are appended to. The real one is [`RecordFile`](super::file::RecordFile); tests have one that fails on demand.
pub trait Sink {
    /// As write(2): may take less than it is given.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// As fdatasync(2).
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the end off, so that `length` bytes are left.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// A sink whose content is whole lines, as far as the sink lets it.
pub struct Output<S> {
    pub sink: S,
    /// Bytes in the sink that stay.
    length: u64,
    /// They end in the middle of a line: one that was found so, or that could not be cut off.
    torn: bool,
    /// Whether a line counts as written only when it is on the disk.
    synced: bool,
}

/// What became of the lines.
#[derive(Debug)]
pub struct Appended {
    /// Bytes from their start that are whole lines in the sink. All of them where there is no error.
    pub written: usize,
    pub error: Option<io::Error>,
}

impl<S: Sink> Output<S> {
    /// `length` is what the sink has already, and `torn` says that it does not end with a whole line.
    pub fn new(sink: S, length: u64, torn: bool, synced: bool) -> Self {
        Self {
            sink,
            length,
            torn,
            synced,
        }
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    /// Appends `lines`, normally with one write. A line that was written in part is cut off again; where even that fails,
    /// the next append ends it with a line feed, so that it spoils no other.
    pub fn append(&mut self, lines: &[u8]) -> Appended {
        if let Err(error) = self.end_torn_line() {
            return Appended {
                written: 0,
                error: Some(error),
            };
        }
        let (taken, error) = self.write_all(lines);
        let mut written = whole_lines(lines, taken);
        let error = error.or_else(|| self.sync_if_asked(&mut written));
        self.length += written as u64;
        if written < taken && self.sink.truncate(self.length).is_err() {
            self.length += (taken - written) as u64;
            self.torn = lines.get(taken - 1) != Some(&b'\n');
        }
        Appended { written, error }
    }

    fn end_torn_line(&mut self) -> io::Result<()> {
        if self.torn {
            if self.sink.write(b"\n")? != 1 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.length += 1;
            self.torn = false;
        }
        Ok(())
    }

    /// How many bytes the sink took, and what stopped it.
    fn write_all(&mut self, lines: &[u8]) -> (usize, Option<io::Error>) {
        let mut taken = 0;
        while let Some(rest) = lines.get(taken..).filter(|rest| !rest.is_empty()) {
            match self.sink.write(rest) {
                Ok(0) => return (taken, Some(io::ErrorKind::WriteZero.into())),
                Ok(count) => taken += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (taken, Some(error)),
            }
        }
        (taken, None)
    }

    /// After a failed sync nobody knows what is on the disk, so none of the lines counts.
    fn sync_if_asked(&mut self, written: &mut usize) -> Option<io::Error> {
        if !self.synced || *written == 0 {
            return None;
        }
        let error = self.sink.sync().err()?;
        *written = 0;
        Some(error)
    }
}

/// How many of the first `taken` bytes are whole lines.
fn whole_lines(lines: &[u8], taken: usize) -> usize {
    let taken = lines.get(..taken).unwrap_or(lines);
    memchr::memrchr(b'\n', taken).map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &[u8] = b"one\ntwo\nthree\n";

    /// Takes `room` bytes, at most `step` at a time, and then fails until it is given more room.
    #[derive(Default)]
    struct Faulty {
        content: Vec<u8>,
        room: usize,
        step: usize,
        fails_truncate: bool,
        fails_sync: bool,
    }

    impl Sink for Faulty {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.step).min(self.room);
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= count;
            self.content.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn sync(&mut self) -> io::Result<()> {
            if self.fails_sync {
                Err(io::ErrorKind::Other.into())
            } else {
                Ok(())
            }
        }

        fn truncate(&mut self, length: u64) -> io::Result<()> {
            if self.fails_truncate {
                return Err(io::ErrorKind::Unsupported.into());
            }
            self.content.truncate(length as usize);
            Ok(())
        }
    }

    fn output(room: usize, step: usize) -> Output<Faulty> {
        let sink = Faulty {
            content: b"old\n".to_vec(),
            room,
            step,
            ..Faulty::default()
        };
        Output::new(sink, 4, false, false)
    }

    #[test]
    fn no_torn_line_stays_wherever_the_disk_is_full() {
        for room in 0..=LINES.len() {
            for step in 1..=LINES.len() {
                let mut output = output(room, step);
                let appended = output.append(LINES);
                assert_eq!(appended.written, whole_lines(LINES, room));
                assert_eq!(appended.error.is_some(), room < LINES.len());
                assert_eq!(output.sink.content, [b"old\n", &LINES[..appended.written]].concat());
                assert_eq!(output.length(), output.sink.content.len() as u64);

                output.sink.room = usize::MAX;
                assert!(output.append(&LINES[appended.written..]).error.is_none());
                assert_eq!(output.sink.content, [b"old\n", LINES].concat());
            }
        }
    }

    #[test]
    fn a_torn_line_that_cannot_be_cut_off_is_ended_before_the_next() {
        let mut output = output(5, 99);
        output.sink.fails_truncate = true;
        assert_eq!(output.append(LINES).written, 4);
        assert_eq!(output.sink.content, b"old\none\nt");
        assert_eq!(output.append(b"never\n").written, 0);

        output.sink.room = usize::MAX;
        assert_eq!(output.append(&LINES[4..]).written, LINES.len() - 4);
        assert_eq!(output.sink.content, b"old\none\nt\ntwo\nthree\n");
        assert_eq!(output.length(), output.sink.content.len() as u64);
    }

    #[test]
    fn lines_that_could_not_be_synced_are_taken_back() {
        let mut output = output(usize::MAX, 99);
        (output.synced, output.sink.fails_sync) = (true, true);
        let appended = output.append(LINES);
        assert_eq!(appended.written, 0);
        assert!(appended.error.is_some());
        assert_eq!(output.sink.content, b"old\n");

        output.sink.fails_sync = false;
        assert_eq!(output.append(LINES).written, LINES.len());
    }
}
