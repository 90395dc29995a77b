//! What a gate asks of the core that drives it.

use crate::audit::{Attempt, End, Name};
use crate::identity::webhook::{Question, WebhookOrigin};

use super::passage::Passage;

/// A closed list: whatever the gate cannot do itself because it is pure.
pub enum Order {
    /// Start a TLS handshake with the client, once the bytes before it have been sent.
    StartClientTls { ask_certificate: bool },
    /// Connect to the candidate with this index of the route; the answer is `handle_connected` or `handle_unreachable`.
    Connect { candidate: usize },
    /// Start a TLS handshake with the server.
    StartServerTls,
    /// Close the connection to the server: the login there is over, and another candidate may follow.
    CloseServer,
    /// Derive the SCRAM keys of the route's credential; the answer is `handle_keys`.
    DeriveKeys { salt: Vec<u8>, iterations: u32 },
    /// The server refused the role: read its secret again; the answer is `handle_credential_read`.
    ReadCredential { cluster: Name, role: Name },
    /// Fetch the keys of this token issuer again, if that has not just been done; the answer is `handle_keys_fetched`.
    FetchKeys { provider: Name },
    /// Ask this webhook; the answer is `handle_answer`.
    AskWebhook {
        provider: Name,
        /// Where the policy of the attempt has it.
        origin: WebhookOrigin,
        question: Box<Question>,
    },
    /// Write the record of this attempt. With `tell`, the gate waits for `handle_recorded`.
    RecordAttempt { attempt: Box<Attempt>, tell: bool },
    /// Write the end record of a session that never came to its relay.
    RecordEnd(Box<End>),
    /// Pass a CancelRequest on to whoever it means; the answer is `handle_cancel_done`.
    Cancel { process_id: u32, key: Vec<u8> },
    /// The session is let through: relay from here on.
    Relay(Box<Passage>),
    /// Close both sides once everything given out has been sent.
    Close,
}
