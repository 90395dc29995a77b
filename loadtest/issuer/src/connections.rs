//! The open connections of a server, each on a thread of its own: counted, and ended with it.

use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionCount {
    pub now: usize,
    /// At once, since the start.
    pub most: usize,
    pub ever: usize,
}

#[derive(Clone, Default)]
pub(crate) struct Connections(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    open: HashMap<usize, TcpStream>,
    most: usize,
    ever: usize,
    threads: Vec<JoinHandle<()>>,
}

impl Connections {
    pub(crate) fn count(&self) -> ConnectionCount {
        let inner = self.lock();
        ConnectionCount {
            now: inner.open.len(),
            most: inner.most,
            ever: inner.ever,
        }
    }

    /// Serves one on a new thread.
    pub(crate) fn serve(&self, stream: TcpStream, serve: impl FnOnce(TcpStream) + Send + 'static) {
        let Ok(twin) = stream.try_clone() else { return };
        let mut inner = self.lock();
        let number = inner.ever;
        inner.ever += 1;
        inner.open.insert(number, twin);
        inner.most = inner.most.max(inner.open.len());
        inner.threads.retain(|thread| !thread.is_finished());
        let open = Open(self.clone(), number);
        inner.threads.push(std::thread::spawn(move || {
            // Counted as open until all is said, and also if it panics.
            let _open = open;
            serve(stream);
        }));
    }

    pub(crate) fn shut_down(&self) {
        for stream in self.lock().open.values() {
            let _gone_already = stream.shutdown(Shutdown::Both);
        }
    }

    /// Shuts down all of them and waits for their threads.
    pub(crate) fn end(&self) {
        self.shut_down();
        let threads = std::mem::take(&mut self.lock().threads);
        for thread in threads {
            let _panicked = thread.join();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Open(Connections, usize);

impl Drop for Open {
    fn drop(&mut self) {
        // The socket itself is closed by now or soon: `serve` has taken it.
        self.0.lock().open.remove(&self.1);
    }
}
