//! Ordinary sockets before they are put into a slot: made, configured, asked for their peer.
#![allow(unsafe_code)]

use super::errno::Errno;
use socket2::{Domain, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// Where to connect to.
#[derive(Debug, Clone)]
pub struct Address(pub(super) SockAddr);

impl Address {
    /// Fails with ENAMETOOLONG or EINVAL where the path does not fit a Unix address.
    pub fn unix(path: &Path) -> Result<Self, Errno> {
        SockAddr::unix(path).map(Self).map_err(|error| Errno::of(&error))
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self(address.into())
    }
}

/// When TCP looks whether a silent peer is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive {
    /// Silence before the first probe; whole seconds, at least one.
    pub idle: Duration,
    /// Between probes; whole seconds, at least one.
    pub interval: Duration,
    /// Probes without an answer until the connection is dead.
    pub probes: u32,
}

/// The other end of an accepted connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Tcp(SocketAddr),
    /// Who connected, as the kernel says; a process id of 0 is one that this name space cannot see.
    Unix {
        process: Option<u32>,
        uid: Option<u32>,
    },
}

/// A socket for [`super::Ring::connect`]: TCP ones without delay.
pub fn connecting(to: &Address) -> Result<OwnedFd, Errno> {
    connecting_socket(to).map_err(|error| Errno::of(&error))
}

/// Asks for the peer of a connected socket. Only an ordinary descriptor can be asked, so ask before it goes into a slot.
pub fn peer(socket: &impl AsFd) -> Result<Peer, Errno> {
    let address = SockRef::from(socket).peer_addr().map_err(|error| Errno::of(&error))?;
    Ok(match address.as_socket() {
        Some(address) => Peer::Tcp(address),
        None => unix_peer(socket),
    })
}

/// Writes what the socket takes at once and forgets the rest: a last word to a peer that is not waited for.
pub fn write_once(socket: &impl AsFd, bytes: &[u8]) {
    let socket = SockRef::from(socket);
    if socket.set_nonblocking(true).is_ok() {
        let _peer_may_be_gone = socket.send(bytes);
    }
}

/// Is this a Unix socket? Anything that is no socket is not.
pub(super) fn is_unix(socket: &impl AsFd) -> bool {
    SockRef::from(socket)
        .domain()
        .is_ok_and(|domain| domain == Domain::UNIX)
}

/// Switches keep-alive probes on for a TCP socket.
pub fn keep_alive(socket: &impl AsFd, settings: KeepAlive) -> Result<(), Errno> {
    let parameters = TcpKeepalive::new()
        .with_time(settings.idle)
        .with_interval(settings.interval)
        .with_retries(settings.probes);
    SockRef::from(socket)
        .set_tcp_keepalive(&parameters)
        .map_err(|error| Errno::of(&error))
}

fn unix_peer(socket: &impl AsFd) -> Peer {
    let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: `found` and `length` outlive the call, and `length` says how much of `found` may be written.
    let status = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &raw mut length,
        )
    };
    let known = status == 0 && length as usize == size_of::<libc::ucred>();
    Peer::Unix {
        process: u32::try_from(found.pid).ok().filter(|pid| known && *pid != 0),
        uid: known.then_some(found.uid),
    }
}

fn connecting_socket(to: &Address) -> std::io::Result<OwnedFd> {
    let domain = if to.0.is_unix() {
        Domain::UNIX
    } else {
        Domain::from(i32::from(to.0.family()))
    };
    let socket = Socket::new(domain, Type::STREAM, None)?;
    if !to.0.is_unix() {
        socket.set_tcp_nodelay(true)?;
    }
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixStream;

    #[test]
    fn peers_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("a listener");
        let (accepted, _) = listener.accept().expect("a connection");
        assert_eq!(peer(&accepted), Ok(Peer::Tcp(stream.local_addr().expect("connected"))));
        let (left, _right) = UnixStream::pair().expect("a pair");
        let ourselves = Peer::Unix {
            process: Some(std::process::id()),
            uid: std::fs::metadata("/proc/self").map(|own| own.uid()).ok(),
        };
        assert_eq!(peer(&left), Ok(ourselves));
        drop(stream);
    }

    #[test]
    fn settings_arrive_at_the_socket() {
        let address = Address::from(SocketAddr::from(([127, 0, 0, 1], 1)));
        let socket = connecting(&address).expect("a socket");
        let settings = KeepAlive {
            idle: Duration::from_secs(61),
            interval: Duration::from_secs(7),
            probes: 3,
        };
        keep_alive(&socket, settings).expect("a TCP socket");
        let socket = SockRef::from(&socket);
        assert!(socket.tcp_nodelay().expect("readable"));
        assert!(socket.keepalive().expect("readable"));
        assert_eq!(socket.tcp_keepalive_time().expect("readable"), settings.idle);
        assert_eq!(socket.tcp_keepalive_interval().expect("readable"), settings.interval);
        assert_eq!(socket.tcp_keepalive_retries().expect("readable"), settings.probes);
        let unix = Address::unix(Path::new("/tmp/nowhere")).expect("a short path");
        assert!(connecting(&unix).is_ok());
        assert!(Address::unix(Path::new(&"x".repeat(200))).is_err());
    }
}
