//! Reads recorded conversations: `> ` the gate's bytes, `< ` the server's, `# ` a remark. A byte that is not printable
//! ASCII, and the backslash, is written `\xx`.

/// One message of a recording.
pub enum Line {
    Sent(Vec<u8>),
    Received(Vec<u8>),
}

impl Line {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Sent(bytes) | Self::Received(bytes) => bytes,
        }
    }

    pub fn len(&self) -> usize {
        self.bytes().len()
    }
}

/// Neighbouring messages of the server become one line: they came, or may come, in one segment.
pub fn read(recording: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    for line in recording.lines().filter(|line| !line.starts_with('#')) {
        match (line.split_at(2), lines.last_mut()) {
            (("< ", text), Some(Line::Received(bytes))) => bytes.extend(unescaped(text)),
            (("< ", text), _) => lines.push(Line::Received(unescaped(text))),
            (("> ", text), _) => lines.push(Line::Sent(unescaped(text))),
            (other, _) => panic!("not a line of a recording: {other:?}"),
        }
    }
    lines
}

pub fn hex_bytes(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("two hex digits");
    (0..text.len()).step_by(2).map(digit).collect()
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut parts = text.split('\\');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.extend(hex_bytes(&part[..2]));
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}
