//! Type bytes of messages, by direction. One letter may mean two things, so the direction is part of the name.

/// What a client sends.
pub mod frontend {
    pub const BIND: u8 = b'B';
    pub const CLOSE: u8 = b'C';
    pub const COPY_DATA: u8 = b'd';
    pub const COPY_DONE: u8 = b'c';
    pub const COPY_FAIL: u8 = b'f';
    pub const DESCRIBE: u8 = b'D';
    pub const EXECUTE: u8 = b'E';
    pub const FLUSH: u8 = b'H';
    pub const FUNCTION_CALL: u8 = b'F';
    pub const PARSE: u8 = b'P';
    /// PasswordMessage, SASLInitialResponse, SASLResponse and GSSResponse share one letter.
    pub const PASSWORD: u8 = b'p';
    pub const QUERY: u8 = b'Q';
    pub const SYNC: u8 = b'S';
    pub const TERMINATE: u8 = b'X';
}

/// What a server sends.
pub mod backend {
    pub const AUTHENTICATION: u8 = b'R';
    pub const BACKEND_KEY_DATA: u8 = b'K';
    pub const BIND_COMPLETE: u8 = b'2';
    pub const CLOSE_COMPLETE: u8 = b'3';
    pub const COMMAND_COMPLETE: u8 = b'C';
    pub const COPY_BOTH_RESPONSE: u8 = b'W';
    pub const COPY_DATA: u8 = b'd';
    pub const COPY_DONE: u8 = b'c';
    pub const COPY_IN_RESPONSE: u8 = b'G';
    pub const COPY_OUT_RESPONSE: u8 = b'H';
    pub const DATA_ROW: u8 = b'D';
    pub const EMPTY_QUERY_RESPONSE: u8 = b'I';
    pub const ERROR_RESPONSE: u8 = b'E';
    pub const FUNCTION_CALL_RESPONSE: u8 = b'V';
    pub const NEGOTIATE_PROTOCOL_VERSION: u8 = b'v';
    pub const NO_DATA: u8 = b'n';
    pub const NOTICE_RESPONSE: u8 = b'N';
    pub const NOTIFICATION_RESPONSE: u8 = b'A';
    pub const PARAMETER_DESCRIPTION: u8 = b't';
    pub const PARAMETER_STATUS: u8 = b'S';
    pub const PARSE_COMPLETE: u8 = b'1';
    pub const PORTAL_SUSPENDED: u8 = b's';
    pub const READY_FOR_QUERY: u8 = b'Z';
    pub const ROW_DESCRIPTION: u8 = b'T';
}

/// Every type a client may send while statements are relayed, with the name it has in records. `p` is absent: the
/// proof is over, and a late one is out of phase.
pub const FRONTEND_IN_RELAY: [(u8, &str); 13] = [
    (frontend::QUERY, "query"),
    (frontend::PARSE, "parse"),
    (frontend::BIND, "bind"),
    (frontend::DESCRIBE, "describe"),
    (frontend::EXECUTE, "execute"),
    (frontend::CLOSE, "close"),
    (frontend::SYNC, "sync"),
    (frontend::FLUSH, "flush"),
    (frontend::FUNCTION_CALL, "function_call"),
    (frontend::COPY_DATA, "copy_data"),
    (frontend::COPY_DONE, "copy_done"),
    (frontend::COPY_FAIL, "copy_fail"),
    (frontend::TERMINATE, "terminate"),
];

/// Every type a server may send while statements are relayed. `R`, `K` and `v` are absent: they belong to start-up,
/// and a server that asks for a proof in the middle of a session is not to be passed on.
pub const BACKEND_IN_RELAY: [(u8, &str); 21] = [
    (backend::PARAMETER_STATUS, "parameter_status"),
    (backend::READY_FOR_QUERY, "ready_for_query"),
    (backend::ROW_DESCRIPTION, "row_description"),
    (backend::DATA_ROW, "data_row"),
    (backend::COMMAND_COMPLETE, "command_complete"),
    (backend::EMPTY_QUERY_RESPONSE, "empty_query_response"),
    (backend::NO_DATA, "no_data"),
    (backend::PARSE_COMPLETE, "parse_complete"),
    (backend::BIND_COMPLETE, "bind_complete"),
    (backend::CLOSE_COMPLETE, "close_complete"),
    (backend::PARAMETER_DESCRIPTION, "parameter_description"),
    (backend::NOTIFICATION_RESPONSE, "notification_response"),
    (backend::NOTICE_RESPONSE, "notice_response"),
    (backend::ERROR_RESPONSE, "error_response"),
    (backend::COPY_DATA, "copy_data"),
    (backend::COPY_DONE, "copy_done"),
    (backend::COPY_IN_RESPONSE, "copy_in_response"),
    (backend::COPY_OUT_RESPONSE, "copy_out_response"),
    (backend::COPY_BOTH_RESPONSE, "copy_both_response"),
    (backend::FUNCTION_CALL_RESPONSE, "function_call_response"),
    (backend::PORTAL_SUSPENDED, "portal_suspended"),
];

/// A set of type bytes with a place for each: membership and the index of a counter in one look.
#[derive(Debug)]
pub struct TagSet([u8; 256]);

const ABSENT: u8 = u8::MAX;

impl TagSet {
    pub const FRONTEND_IN_RELAY: Self = Self::of(&FRONTEND_IN_RELAY);
    pub const BACKEND_IN_RELAY: Self = Self::of(&BACKEND_IN_RELAY);

    const fn of(tags: &[(u8, &str)]) -> Self {
        let mut places = [ABSENT; 256];
        let mut place = 0;
        while place < tags.len() {
            places[tags[place].0 as usize] = place as u8;
            place += 1;
        }
        Self(places)
    }

    /// The place of `tag` in the list the set was made of.
    pub fn place(&self, tag: u8) -> Option<usize> {
        let place = self.0[usize::from(tag)];
        (place != ABSENT).then_some(usize::from(place))
    }

    pub fn contains(&self, tag: u8) -> bool {
        self.0[usize::from(tag)] != ABSENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(set: &TagSet) -> Vec<u8> {
        (0..=u8::MAX).filter(|tag| set.contains(*tag)).collect()
    }

    fn sorted(letters: &[u8]) -> Vec<u8> {
        let mut letters = letters.to_vec();
        letters.sort_unstable();
        letters
    }

    #[test]
    fn relay_sets_are_the_protocol_without_start_up() {
        assert_eq!(members(&TagSet::FRONTEND_IN_RELAY), sorted(b"QPBDECSHFfdcX"));
        assert_eq!(members(&TagSet::BACKEND_IN_RELAY), sorted(b"SZTDCIn123tANEdcGHWVs"));
    }

    #[test]
    fn places_are_positions_in_the_list() {
        for (position, (tag, _)) in BACKEND_IN_RELAY.iter().enumerate() {
            assert_eq!(TagSet::BACKEND_IN_RELAY.place(*tag), Some(position));
        }
        assert_eq!(TagSet::FRONTEND_IN_RELAY.place(frontend::PASSWORD), None);
    }
}
