//! As much of HTTP/1.1 as a client of an issuer needs: requests with a length, answers with a length, kept alive.

use std::io::{self, Read, Write};

use serde_json::Value;

const LONGEST_HEAD: usize = 64 * 1024;
const LONGEST_BODY: usize = 4 * 1024 * 1024;

#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Without the query.
    pub path: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// The first of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(header, _)| header.eq_ignore_ascii_case(name))?;
        Some(&found.1)
    }

    /// The body; null where it is no JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// A field of a body of `application/x-www-form-urlencoded`.
    pub fn form(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.body);
        let mut pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(field, _)| decoded(field) == name)?;
        Some(decoded(value))
    }

    pub(crate) fn keeps_alive(&self) -> bool {
        !self
            .header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub fn json(status: u16, body: &Value) -> Self {
        Self::new(status)
            .with("Content-Type", "application/json")
            .body(body.to_string())
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Without a length, in chunks of a few bytes (RFC 9112, 7.1).
    pub fn in_chunks(self) -> Self {
        let mut body = Vec::new();
        for chunk in self.body.chunks(13) {
            body.extend(format!("{:x}\r\n", chunk.len()).bytes());
            body.extend(chunk);
            body.extend(b"\r\n");
        }
        body.extend(b"0\r\n\r\n");
        self.with("Transfer-Encoding", "chunked").body(body)
    }

    fn is_in_chunks(&self) -> bool {
        self.headers.iter().any(|(name, _)| name == "Transfer-Encoding")
    }

    pub(crate) fn bytes(&self, keeps_alive: bool) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        // RFC 9110, 8.6: an answer 304 would have the length of what it does not send. In chunks there is none.
        if self.status != 304 && !self.is_in_chunks() {
            text += &format!("Content-Length: {}\r\n", self.body.len());
        }
        if !keeps_alive {
            text += "Connection: close\r\n";
        }
        text += "\r\n";
        [text.as_bytes(), &self.body].concat()
    }
}

/// One connection, request by request.
pub(crate) struct Conversation<S> {
    pub(crate) stream: S,
    /// Received and not used yet.
    ahead: Vec<u8>,
}

impl<S: Read + Write> Conversation<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            ahead: Vec::new(),
        }
    }

    /// The next request; none where the client is gone.
    pub(crate) fn request(&mut self) -> io::Result<Option<Request>> {
        let Some(length) = self.head_length()? else {
            return Ok(None);
        };
        let rest = self.ahead.split_off(length);
        let head = std::mem::replace(&mut self.ahead, rest);
        let mut request = parsed(&head).ok_or(io::ErrorKind::InvalidData)?;
        let length = request.header("content-length").unwrap_or("0").trim().parse();
        let length = length.ok().filter(|length| *length <= LONGEST_BODY);
        let length = length.ok_or(io::ErrorKind::InvalidData)?;
        while self.ahead.len() < length {
            if !self.receive()? {
                return Ok(None);
            }
        }
        let rest = self.ahead.split_off(length);
        request.body = std::mem::replace(&mut self.ahead, rest);
        Ok(Some(request))
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Listens until the client goes or the connection is shut down.
    pub(crate) fn wait_for_the_end(&mut self) -> io::Result<()> {
        while self.receive()? {
            self.ahead.clear();
        }
        Ok(())
    }

    fn head_length(&mut self) -> io::Result<Option<usize>> {
        loop {
            if let Some(at) = self.ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                return Ok(Some(at + 4));
            }
            if self.ahead.len() > LONGEST_HEAD {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if !self.receive()? {
                return Ok(None);
            }
        }
    }

    fn receive(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 8192];
        let count = self.stream.read(&mut buffer)?;
        self.ahead.extend_from_slice(&buffer[..count]);
        Ok(count > 0)
    }
}

fn parsed(head: &[u8]) -> Option<Request> {
    let mut lines = std::str::from_utf8(head).ok()?.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let headers = lines.filter_map(|line| line.split_once(':'));
    Some(Request {
        method: method.to_owned(),
        path: target.split('?').next()?.to_owned(),
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect(),
        body: Vec::new(),
    })
}

/// Percent-encoding, and `+` for a blank.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let escaped = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        rest = match (first, escaped) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                &after[2..]
            }
            (b'+', _) => {
                bytes.push(b' ');
                after
            }
            (byte, _) => {
                bytes.push(*byte);
                after
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client has sent, and what it is answered.
    struct Line(io::Cursor<Vec<u8>>, Vec<u8>);

    impl Read for Line {
        /// One byte at a time, the least that a network may give.
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(&mut buffer[..1])
        }
    }

    impl Write for Line {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn conversation(text: &str) -> Conversation<Line> {
        Conversation::new(Line(io::Cursor::new(text.into()), Vec::new()))
    }

    #[test]
    fn requests_follow_each_other_on_one_connection() {
        let mut line = conversation(
            "POST /token?x=1 HTTP/1.1\r\nHOST: a\r\nContent-Length: 13\r\n\r\na=%41+b%&b=2+GET /jwks HTTP/1.1\r\nConnection: close\r\n\r\n",
        );
        let first = line.request().expect("readable").expect("a request");
        assert_eq!(
            (first.method.as_str(), first.path.as_str(), first.header("host")),
            ("POST", "/token", Some("a"))
        );
        assert_eq!(first.form("a").as_deref(), Some("A b%"));
        assert_eq!(first.form("b").as_deref(), Some("2 "));
        assert_eq!(first.form("c"), None);
        let second = line.request().expect("readable").expect("a request");
        assert_eq!((second.path.as_str(), second.body.len()), ("/jwks", 0));
        assert!(first.keeps_alive() && !second.keeps_alive());
        assert!(line.request().expect("readable").is_none());
    }

    #[test]
    fn what_is_no_request_ends_the_connection() {
        for text in ["nonsense\r\n\r\n", "GET / HTTP/1.1\r\nContent-Length: many\r\n\r\n"] {
            conversation(text).request().expect_err(text);
        }
    }

    #[test]
    fn an_answer_has_its_length() {
        let bytes = Response::json(200, &serde_json::json!({"a": 1})).bytes(true);
        let expected = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}";
        assert_eq!(String::from_utf8_lossy(&bytes), expected);
        assert_eq!(
            Response::new(304).bytes(false),
            b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn an_answer_in_chunks_has_no_length() {
        let bytes = Response::new(200).body("a text of 17 char").in_chunks().bytes(true);
        let expected =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nd\r\na text of 17 \r\n4\r\nchar\r\n0\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&bytes), expected);
    }
}
