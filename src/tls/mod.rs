//! The link: rustls for handshakes, our record layer for data, in place. No sockets here.
