//! The control thread itself: a monoio runtime, unpinned, on io_uring where the kernel gives it one.
//!
//! Nothing that can take a millisecond runs here. It needs no ring to do its work: where io_uring is refused it falls back
//! to epoll and says so, and the cores, which do need one, tell the operator what to change.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use monoio::time::TimeDriver;
use monoio::{IoUringDriver, LegacyDriver, Runtime, RuntimeBuilder};

/// Small on purpose: rings count against RLIMIT_MEMLOCK on older kernels.
const RING_ENTRIES: u32 = 256;
/// How soon the thread notices that it is to end.
const STOP_LOOK: Duration = Duration::from_millis(50);

/// A running control thread.
pub struct Runner {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Runner {
    /// Runs the future that `make` makes until it ends or [`Runner::stop`] is called.
    pub fn start<F>(make: impl FnOnce() -> F + Send + 'static) -> io::Result<Self>
    where
        F: Future<Output = ()> + 'static,
    {
        Self::spawn(move |stop| run(make, stop))
    }

    /// As [`Runner::start`], without io_uring.
    pub fn on_epoll<F>(make: impl FnOnce() -> F + Send + 'static) -> io::Result<Self>
    where
        F: Future<Output = ()> + 'static,
    {
        Self::spawn(move |stop| run_on_epoll(make, stop))
    }

    fn spawn(work: impl FnOnce(&AtomicBool) + Send + 'static) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let thread = std::thread::Builder::new()
            .name("postern-control".into())
            .spawn(move || work(&seen))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the control thread ended by a panic");
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run<F: Future<Output = ()> + 'static>(make: impl FnOnce() -> F, stop: &AtomicBool) {
    match ring_runtime() {
        Ok(mut runtime) => runtime.block_on(until_stopped(make, stop)),
        Err(error) => {
            tracing::warn!(%error, "no io_uring for the control thread; it runs on epoll");
            run_on_epoll(make, stop);
        }
    }
}

fn run_on_epoll<F: Future<Output = ()> + 'static>(make: impl FnOnce() -> F, stop: &AtomicBool) {
    match epoll_runtime() {
        Ok(mut runtime) => runtime.block_on(until_stopped(make, stop)),
        Err(error) => tracing::error!(%error, "the control thread cannot run: no metrics, no health pages"),
    }
}

async fn until_stopped<F: Future<Output = ()> + 'static>(make: impl FnOnce() -> F, stop: &AtomicBool) {
    let work = monoio::spawn(make());
    while !stop.load(Ordering::Relaxed) {
        monoio::time::sleep(STOP_LOOK).await;
    }
    drop(work);
}

fn ring_runtime() -> io::Result<Runtime<TimeDriver<IoUringDriver>>> {
    RuntimeBuilder::<IoUringDriver>::new()
        .with_entries(RING_ENTRIES)
        .enable_timer()
        .build()
}

fn epoll_runtime() -> io::Result<Runtime<TimeDriver<LegacyDriver>>> {
    RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()
}
