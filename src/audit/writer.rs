//! The handle of the thread that writes the record.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use super::file::{OpenError, RecordFile};
use super::recorder::{Recorder, Shared, Ticket, WriteFailed};
use super::turn::Turn;
use crate::config;

/// Tells a core what became of the record its session waits for. Called on the writer's thread, so it must not block.
pub type Tell = Box<dyn Fn(Ticket, Result<(), WriteFailed>) + Send>;

/// The running writer. Dropping it stops it as [`Self::finish`] does.
pub struct Writer {
    recorder: Recorder,
    thread: Option<JoinHandle<usize>>,
}

/// Lines that could not be written before the end. They are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} lines of the record could not be written")]
pub struct Lost(pub usize);

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    File(#[from] OpenError),
    #[error("cannot start the thread that writes the record: {0}")]
    Thread(std::io::Error),
}

impl Writer {
    /// Opens the file and starts the thread. A new thread inherits the CPUs of its parent, so call this before the calling
    /// thread is pinned.
    ///
    /// # Errors
    /// Where the file cannot be opened. A disk that is full is no error: the writer starts and says that it fails.
    pub fn start(settings: &config::Audit, tell: Tell) -> Result<Self, StartError> {
        let synced = settings.durability == config::Durability::Synced;
        let (file, found) = RecordFile::open(&settings.file, synced)?;
        let may_drop = settings.on_failure == config::OnFailure::Drop;
        let shared = Arc::new(Shared::new(settings.queue as usize, may_drop));
        let turn = Turn::new(Arc::clone(&shared), settings.clone(), tell, file, found);
        let thread = std::thread::Builder::new()
            .name("postern-audit".to_owned())
            .spawn(move || turn.run())
            .map_err(StartError::Thread)?;
        Ok(Self {
            recorder: Recorder { shared },
            thread: Some(thread),
        })
    }

    pub fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }

    /// Writes all that was accepted before this call, syncs it, and ends the thread.
    ///
    /// # Errors
    /// Where lines were left that could not be written.
    pub fn finish(mut self) -> Result<(), Lost> {
        match self.stop() {
            0 => Ok(()),
            left => Err(Lost(left)),
        }
    }

    fn stop(&mut self) -> usize {
        let Some(thread) = self.thread.take() else { return 0 };
        self.recorder.shared.stopping.store(true, Ordering::SeqCst);
        self.recorder.shared.wake();
        thread.join().unwrap_or(1)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
