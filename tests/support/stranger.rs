//! A client that speaks bytes, right or wrong.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub struct Stranger(pub TcpStream);

impl Stranger {
    pub fn at(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the gate listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a timeout");
        Self(stream)
    }

    pub fn say(&mut self, bytes: &[u8]) {
        // The gate may have closed already: what it answered is what counts.
        let _reset = self.0.write_all(bytes);
    }

    /// Everything until the gate closes.
    pub fn hear_to_the_end(&mut self) -> Vec<u8> {
        let mut heard = Vec::new();
        match self.0.read_to_end(&mut heard) {
            Ok(_) => heard,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => heard,
            Err(error) => panic!("the gate does not close: {error}"),
        }
    }

    pub fn hear(&mut self, count: usize) -> Vec<u8> {
        let mut heard = vec![0; count];
        self.0.read_exact(&mut heard).expect("an answer");
        heard
    }
}

/// A start-up message of protocol 3.0.
pub fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = 196_608_u32.to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    body.push(0);
    framed(&body)
}

pub const SSL_REQUEST: u32 = 80_877_103;

pub fn request(code: u32) -> Vec<u8> {
    framed(&code.to_be_bytes())
}

/// Length first, itself included.
pub fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a short message");
    [&length.to_be_bytes()[..], body].concat()
}

/// One field of an ErrorResponse, by its letter.
pub fn field(answer: &[u8], letter: u8) -> String {
    assert_eq!(
        answer.first(),
        Some(&b'E'),
        "no error: {}",
        String::from_utf8_lossy(answer)
    );
    answer[5..]
        .split(|byte| *byte == 0)
        .find(|field| field.first() == Some(&letter))
        .map_or_else(String::new, |field| String::from_utf8_lossy(&field[1..]).into_owned())
}
