//! What a server says between AuthenticationOk and ReadyForQuery, bounded and kept for the client.

use super::error::LoginError;
use crate::upstream::cancel::UpstreamCancelKey;
use crate::wire::assemble::Message;
use crate::wire::backend::{BackendKeyData, ParameterStatus, TransactionStatus};
use crate::wire::error::Fields;

/// Most bytes of parameters and notices before a server is ready. PostgreSQL 18 sends some 600.
const MOST_BYTES: usize = 64 * 1024;
/// Most messages of the same.
const MOST_MESSAGES: u16 = 256;

/// A server connection that is ready for queries.
pub struct Established {
    /// ParameterStatus and NoticeResponse messages since AuthenticationOk, whole and in the order they came: the client
    /// gets them as they are.
    pub greeting: Vec<u8>,
    /// `None` for servers that cannot cancel.
    pub cancel_key: Option<UpstreamCancelKey>,
}

impl std::fmt::Debug for Established {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let process_id = self.cancel_key.as_ref().map(UpstreamCancelKey::process_id);
        f.debug_struct("Established")
            .field("process_id", &process_id)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
pub(super) struct StartUp {
    greeting: Vec<u8>,
    cancel_key: Option<UpstreamCancelKey>,
    bytes: usize,
    messages: u16,
}

impl StartUp {
    pub(super) fn parameter_status(&mut self, message: Message<'_>) -> Result<(), LoginError> {
        ParameterStatus::decode(message.body)?;
        self.count(message)?;
        self.greeting.extend_from_slice(message.whole);
        Ok(())
    }

    /// Notices of the proof are about the gate's own login and stay here; later ones are for the client.
    pub(super) fn notice(&mut self, message: Message<'_>, for_client: bool) -> Result<(), LoginError> {
        Fields::decode(message.body)?;
        self.count(message)?;
        if for_client {
            self.greeting.extend_from_slice(message.whole);
        }
        Ok(())
    }

    pub(super) fn key(&mut self, message: Message<'_>) -> Result<(), LoginError> {
        let key = UpstreamCancelKey::of(BackendKeyData::decode(message.body)?).ok_or(LoginError::CancelKey)?;
        match self.cancel_key.replace(key) {
            None => Ok(()),
            Some(_) => Err(LoginError::OutOfTurn { tag: message.tag }),
        }
    }

    pub(super) fn ready(self, message: Message<'_>) -> Result<Established, LoginError> {
        match TransactionStatus::decode(message.body)? {
            TransactionStatus::Idle => Ok(Established {
                greeting: self.greeting,
                cancel_key: self.cancel_key,
            }),
            TransactionStatus::InTransaction | TransactionStatus::Failed => Err(LoginError::NotIdle),
        }
    }

    fn count(&mut self, message: Message<'_>) -> Result<(), LoginError> {
        self.bytes = self.bytes.saturating_add(message.whole.len());
        self.messages = self.messages.saturating_add(1);
        if self.bytes > MOST_BYTES || self.messages > MOST_MESSAGES {
            Err(LoginError::TooMuch)
        } else {
            Ok(())
        }
    }
}
