//! The record: every attempt and every end as JSON lines, written by a thread of its own.
//!
//! `record`, `reason`, `text` and `session_id` are plain types without a clock or a file; `encode` gives them their form
//! (`docs/record.md`). [`Recorder`] is what cores and control hold: a handle to bounded queues, and nothing that blocks.
//! [`Writer`] is the thread behind it, the only one that touches the file. `verify` reads a file back.
//!
//! This is not the operator's log: the log may be lost and may be rephrased, the record may not.

mod batch;
mod budget;
mod encode;
mod fields;
mod file;
mod json;
mod output;
mod reason;
mod record;
mod recorder;
mod session_id;
mod text;
mod turn;
mod verify;
mod writer;

pub use encode::encode;
pub use file::OpenError;
pub use reason::{EndReason, Outcome, Reason};
pub use record::*;
pub use recorder::{AuditUnavailable, Figures, Recorder, Telling, Ticket, WriteFailed};
pub use session_id::{SessionId, SessionIds};
pub use text::{PEER_NAMES_CAP, PEER_TEXT_CAP, PeerText};
pub use verify::{Report, Verification, verify_files};
pub use writer::{Lost, StartError, Tell, Writer};
