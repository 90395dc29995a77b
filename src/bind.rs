//! Addresses to listen on that are about to become free.

use std::time::{Duration, Instant};

/// Binds again and again for two seconds as long as the address is in use. A process that was killed just now may hold its
/// sockets a little longer than it lives: the kernel takes an io_uring apart behind its end.
///
/// # Errors
/// What `bind` says at the end, or what is not a matter of time.
pub fn once_free<T, E>(mut bind: impl FnMut() -> Result<T, E>, is_in_use: impl Fn(&E) -> bool) -> Result<T, E> {
    const PATIENCE: Duration = Duration::from_secs(2);
    const PAUSE: Duration = Duration::from_millis(20);
    let since = Instant::now();
    loop {
        match bind() {
            Err(error) if is_in_use(&error) && since.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn an_address_of_a_process_that_goes_is_waited_for() {
        let held = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = held.local_addr().expect("its address");
        let bind = move || std::net::TcpListener::bind(address);
        let in_use = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
        assert!(in_use(&bind().expect_err("it is held")));
        let waiting = std::thread::spawn(move || once_free(bind, in_use));
        std::thread::sleep(Duration::from_millis(100));
        drop(held);
        waiting.join().expect("no panic").expect("it is free");
        let other = once_free(|| Err::<(), _>(io::Error::other("for good")), in_use);
        assert!(other.is_err());
    }
}
