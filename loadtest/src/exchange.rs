//! Whole messages over a monoio socket. Buffers live as long as a conversation does; an idle session keeps the socket.

use std::net::{Ipv4Addr, SocketAddr};

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;
use postern::wire::assemble::{Assembler, Message};
use postern::wire::initial;

use crate::Failure;

/// Bytes asked of the kernel at once.
const CHUNK: usize = 2_048;
/// Length words above this are no login and no answer to an empty query.
const MOST: u32 = 64 * 1_024;

pub struct Exchange {
    stream: TcpStream,
    input: Vec<u8>,
    assembler: Assembler,
}

/// A message of its own, so that it can be kept while the next bytes come.
pub struct Owned(Vec<u8>);

impl Owned {
    pub fn message(&self) -> Message<'_> {
        Message {
            tag: self.0.first().copied().unwrap_or_default(),
            body: self.0.get(5..).unwrap_or_default(),
            whole: &self.0,
        }
    }
}

impl Exchange {
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            input: Vec::new(),
            assembler: Assembler::new(),
        }
    }

    /// Gives the socket back once the buffers are not needed.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    pub async fn send(&mut self, bytes: Vec<u8>) -> Result<(), Failure> {
        let (sent, _) = self.stream.write_all(bytes).await;
        sent?;
        Ok(())
    }

    /// The next tagged message.
    pub async fn message(&mut self) -> Result<Owned, Failure> {
        loop {
            let taken = self.assembler.take_message(&self.input, |_tag| Some(MOST))?;
            let message = taken.message.map(|message| Owned(message.whole.to_vec()));
            self.input.drain(..taken.consumed);
            match message {
                Some(message) => return Ok(message),
                None => self.more().await?,
            }
        }
    }

    /// The next untagged message, of a start-up.
    pub async fn initial(&mut self) -> Result<Vec<u8>, Failure> {
        loop {
            let taken = self.assembler.take_initial(&self.input)?;
            let message = taken.message.map(<[u8]>::to_vec);
            self.input.drain(..taken.consumed);
            match message {
                Some(message) => return Ok(message),
                None => self.more().await?,
            }
        }
    }

    /// Reads messages up to the first ReadyForQuery.
    pub async fn until_ready(&mut self) -> Result<(), Failure> {
        while self.message().await?.message().tag != b'Z' {}
        Ok(())
    }

    async fn more(&mut self) -> Result<(), Failure> {
        let (read, chunk) = self.stream.read(Vec::with_capacity(CHUNK)).await;
        match read? {
            0 => Err("the connection was closed".into()),
            read => {
                self.input.extend_from_slice(&chunk[..read]);
                Ok(())
            }
        }
    }
}

/// Decodes what [`Exchange::initial`] gave.
pub fn decode_initial(message: &[u8]) -> Result<initial::Initial<'_>, Failure> {
    Ok(initial::Initial::decode(message)?)
}

/// Connects from a given loopback address, without waiting on the thread.
pub async fn connect_from(source: Ipv4Addr, target: SocketAddr) -> std::io::Result<TcpStream> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    match socket.connect(&target.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) => {}
        Err(error) => return Err(error),
    }
    let failed = socket.try_clone()?;
    let stream = TcpStream::from_std(socket.into())?;
    stream.writable(false).await?;
    match failed.take_error()? {
        Some(error) => Err(error),
        None => Ok(stream),
    }
}
