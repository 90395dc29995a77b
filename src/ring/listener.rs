//! Sockets that listen: TCP, one per core and address, or Unix, one shared by all cores.

use super::errno::Errno;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// A listening socket. Put it into a slot with [`super::Ring::install_shared`] and arm it with
/// [`super::Ring::accept_multishot`]; the port stays taken until this and every slot are closed.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    local: Local,
}

/// Where a listener is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Local {
    /// With the port that the kernel chose where 0 was asked for.
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen on {address}: {errno}")]
    Tcp { address: SocketAddr, errno: Errno },
    #[error("cannot listen on {}: {errno}", path.display())]
    Unix { path: PathBuf, errno: Errno },
    #[error("{} is in use by another process", path.display())]
    InUse { path: PathBuf },
}

impl Listener {
    /// Several listeners (of several cores) may have the same address: SO_REUSEPORT. Accepted sockets inherit TCP_NODELAY.
    /// An IPv6 listener takes IPv6 only, as PostgreSQL's does. `backlog`: connections that wait for accept; the kernel
    /// clips it to net.core.somaxconn.
    pub fn tcp(address: SocketAddr, backlog: u32) -> Result<Self, ListenError> {
        let failed = |error: io::Error| ListenError::Tcp {
            address,
            errno: Errno::of(&error),
        };
        let socket = listening_tcp(address, backlog).map_err(failed)?;
        let bound = socket.local_addr().map_err(failed)?.as_socket().unwrap_or(address);
        Ok(Self {
            socket: socket.into(),
            local: Local::Tcp(bound),
        })
    }

    /// Binds `path` with these permission bits (say, 0o660) before the first connection can come. A socket file that nobody
    /// listens on any more is replaced.
    pub fn unix(path: &Path, mode: u32, backlog: u32) -> Result<Self, ListenError> {
        let failed = |error: io::Error| ListenError::Unix {
            path: path.to_owned(),
            errno: Errno::of(&error),
        };
        let socket = match bound_unix(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                remove_stale(path)?;
                bound_unix(path)
            }
            bound => bound,
        };
        let socket = socket.map_err(failed)?;
        std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
        socket.listen(clipped(backlog)).map_err(failed)?;
        Ok(Self {
            socket: socket.into(),
            local: Local::Unix(path.to_owned()),
        })
    }

    pub fn local(&self) -> &Local {
        &self.local
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn listening_tcp(address: SocketAddr, backlog: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(clipped(backlog))?;
    Ok(socket)
}

fn bound_unix(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(socket)
}

/// Removes a socket file whose listener is gone; anything else that is in the way stays.
fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let refused = UnixStream::connect(path).err().map(|error| error.kind());
    if refused != Some(io::ErrorKind::ConnectionRefused) || !is_socket(path) {
        return Err(ListenError::InUse { path: path.to_owned() });
    }
    std::fs::remove_file(path).map_err(|error| ListenError::Unix {
        path: path.to_owned(),
        errno: Errno::of(&error),
    })
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|file| file.mode() & libc::S_IFMT == libc::S_IFSOCK)
}

fn clipped(backlog: u32) -> i32 {
    i32::try_from(backlog).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("postern-listener-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        path
    }

    #[test]
    fn port_zero_is_resolved_and_an_address_can_be_shared() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let first = Listener::tcp(any, 16).expect("a free port");
        let Local::Tcp(bound) = *first.local() else {
            panic!("a TCP listener")
        };
        assert_ne!(bound.port(), 0);
        let second = Listener::tcp(bound, 16).expect("the same port once more");
        assert_eq!(second.local(), first.local());
    }

    #[test]
    fn unix_listeners_have_their_mode_and_replace_only_stale_sockets() {
        let directory = directory("modes");
        let path = directory.join(".s.PGSQL.5432");
        let listener = Listener::unix(&path, 0o620, 16).expect("a free path");
        let mode = std::fs::metadata(&path).expect("the socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o620);
        assert!(matches!(
            Listener::unix(&path, 0o620, 16),
            Err(ListenError::InUse { .. })
        ));
        drop(listener);
        drop(Listener::unix(&path, 0o600, 16).expect("the stale socket is replaced"));
        std::fs::remove_file(&path).expect("the socket");
        std::fs::write(&path, "precious").expect("a file");
        assert!(Listener::unix(&path, 0o600, 16).is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("still there"), "precious");
        std::fs::remove_dir_all(&directory).expect("the directory");
    }
}
