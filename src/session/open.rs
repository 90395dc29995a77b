//! What of a session is open: requests that wait for their answer, a transaction, a COPY from the client.
//!
//! PostgreSQL ends its answer to each Query, FunctionCall and Sync with ReadyForQuery, but for a Sync that it reads while it
//! takes in a COPY: that one it ignores (Message Flow, COPY Operations). A driver that speaks the extended protocol sends
//! one behind Execute as ever, before it knows what Execute leads to, and another one behind the data.

use crate::wire::frame::Head;
use crate::wire::tag::{backend, frontend};

/// Follows both directions, and is told of every message.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// Requests that have not seen their ReadyForQuery. At its maximum it stays: who is so far ahead is never quiet again.
    unanswered: u16,
    in_transaction: bool,
    copy: CopyIn,
    last: Last,
}

/// The last thing that the client has asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Last {
    /// A Query or FunctionCall, or nothing yet.
    #[default]
    Query,
    /// Execute, and no Sync behind it.
    Execute,
    Sync,
    Terminate,
}

/// How far a COPY from the client is. The two sides need not have come equally far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum CopyIn {
    #[default]
    Nothing,
    /// The server takes it in, and the client has not ended it.
    Taken,
    /// The client has ended it, and asked for nothing since; that the server takes it in may still be to come.
    Ended,
}

// Every session carries one.
const _: () = assert!(size_of::<Open>() == 6);

impl Open {
    #[inline]
    pub fn client(&mut self, head: Head) {
        match head.tag {
            frontend::SYNC if self.copy == CopyIn::Taken => {}
            frontend::SYNC => {
                self.unanswered = self.unanswered.saturating_add(1);
                self.last = Last::Sync;
            }
            frontend::QUERY | frontend::FUNCTION_CALL => {
                self.unanswered = self.unanswered.saturating_add(1);
                self.last = Last::Query;
                self.copy.leave(CopyIn::Ended);
            }
            frontend::EXECUTE => {
                self.last = Last::Execute;
                self.copy.leave(CopyIn::Ended);
            }
            frontend::COPY_DONE | frontend::COPY_FAIL => self.copy = CopyIn::Ended,
            frontend::TERMINATE => self.last = Last::Terminate,
            _ => {}
        }
    }

    /// Whether no transaction is open behind this message.
    #[inline]
    pub fn server(&mut self, head: Head) -> bool {
        match head.tag {
            backend::READY_FOR_QUERY => {
                self.answered();
                self.in_transaction = head.status != b'I';
                self.copy.leave(CopyIn::Taken);
                return !self.in_transaction;
            }
            backend::COPY_IN_RESPONSE if self.copy != CopyIn::Ended => {
                self.copy = CopyIn::Taken;
                if self.last == Last::Sync {
                    self.answered();
                    self.last = Last::Execute;
                }
            }
            // The COPY is over with it, and Syncs count again.
            backend::ERROR_RESPONSE => self.copy.leave(CopyIn::Taken),
            _ => {}
        }
        false
    }

    pub fn is_nothing(&self) -> bool {
        self.unanswered == 0 && !self.in_transaction && self.last != Last::Execute
    }

    pub fn is_terminating(&self) -> bool {
        self.last == Last::Terminate
    }

    #[inline]
    fn answered(&mut self) {
        if self.unanswered != u16::MAX {
            self.unanswered = self.unanswered.saturating_sub(1);
        }
    }
}

impl CopyIn {
    #[inline]
    fn leave(&mut self, state: Self) {
        if *self == state {
            *self = Self::Nothing;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `>` and letters of the client, `<` and letters of the server; `Z` is a ReadyForQuery of an idle server, `T` of one in
    /// a transaction. Whether nothing is open at the end.
    fn is_nothing(script: &str) -> bool {
        let mut open = Open::default();
        let mut from_client = true;
        for letter in script.bytes() {
            let head = |tag, status| Head {
                tag,
                status,
                length: 4,
                start: 0,
            };
            match letter {
                b' ' => {}
                b'>' => from_client = true,
                b'<' => from_client = false,
                _ if from_client => open.client(head(letter, 0)),
                b'T' => assert!(!open.server(head(b'Z', b'T'))),
                b'Z' => assert!(open.server(head(b'Z', b'I'))),
                _ => assert!(!open.server(head(letter, 0))),
            }
        }
        open.is_nothing()
    }

    #[test]
    fn what_is_answered_is_closed() {
        for script in [
            "",
            ">Q<CZ",
            ">PBES<12CZ",
            ">F<VZ",
            ">PBESPBES<12CZ12CZ",
            ">Q<CT>Q<CZ",
            ">Q<EZ",
        ] {
            assert!(is_nothing(script), "{script}");
        }
        for script in [
            ">Q",
            ">Q<C",
            ">QQ<CZ",
            ">S",
            ">Q<CT",
            ">Q<CT>Q<C",
            ">PBESS<12CZ",
            ">PBEH<12C",
        ] {
            assert!(!is_nothing(script), "{script}");
        }
    }

    #[test]
    fn who_is_too_far_ahead_to_count_is_never_quiet() {
        let script = |ahead: usize| format!(">{}<{}", "Q".repeat(ahead), "Z".repeat(ahead));
        assert!(is_nothing(&script(65_534)));
        assert!(!is_nothing(&script(65_535)));
        assert!(!is_nothing(&script(70_000)));
    }

    #[test]
    fn a_sync_that_the_server_ignores_is_not_waited_for() {
        for (what, script) in [
            ("a simple query", ">Q <G >ddc <CZ"),
            ("Execute, Sync, data, Sync", ">BES <2G >ddc S <CZ"),
            ("the Sync comes behind the server's word", ">BEH <2G >S ddc S <CZ"),
            ("Syncs between the data", ">BES <2G >dSdSc S <CZ"),
            ("the client gives up", ">BES <2G >dfS <EZ"),
            ("the server gives up", ">BES <2G >d <E >dcS <Z"),
            ("everything at once", ">BEdcS <2GCZ"),
            ("Execute without Sync behind one with it", ">BES <2CZ >BEH <2G >dcS <CZ"),
            ("behind other requests", ">BESBES <2CZ 2G >dcS <CZ"),
            ("behind one that failed", ">Q <G >d <EZ >dc BES <2G >dcS <CZ"),
        ] {
            assert!(is_nothing(script), "{what}");
        }
        for script in [
            ">Q <G",
            ">BES <2G",
            ">BES <2G >dd",
            ">BES <2G >ddc",
            ">BES <2G >ddcS",
            ">BEdcS <2G",
        ] {
            assert!(!is_nothing(script), "{script}");
        }
    }
}
