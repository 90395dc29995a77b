//! Drives one login with scripted or recorded bytes of a server.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use super::transcript::{Line, read};
use crate::identity::scram::derive;
use crate::upstream::login::*;
use crate::wire::assemble::Assembler;
use crate::wire::parameters::Replication;

pub const NONCE: [u8; NONCE_BYTES] = [7; NONCE_BYTES];
pub const SETTINGS: [(&str, &str); 2] = [("application_name", "shop"), ("postern.identity", "svc:billing")];
pub const VERIFIED: Channel<'_> = Channel::Tls {
    fully_verified: true,
    end_point: None,
    client_certificate: false,
};

pub fn password() -> Secret {
    Secret::new(b"open sesame".to_vec())
}

/// PBKDF2 once for each salt: every split replays the same conversation.
pub fn keys(password: &[u8], salt: &[u8], iterations: u32) -> Keys {
    type Known = HashMap<(Vec<u8>, Vec<u8>), Keys>;
    thread_local!(static KNOWN: RefCell<Known> = RefCell::default());
    KNOWN.with_borrow_mut(|known| {
        let key = (password.to_vec(), salt.to_vec());
        known
            .entry(key)
            .or_insert_with(|| derive(password, salt, iterations))
            .clone()
    })
}

/// One credential against one kind of connection.
#[derive(Clone)]
pub struct Case<'a> {
    pub role: &'a str,
    pub database: &'a str,
    pub methods: BTreeSet<ServerMethod>,
    pub channel: Channel<'a>,
    pub password: Option<Secret>,
    pub max_iterations: u32,
}

impl<'a> Case<'a> {
    pub fn new(role: &'a str, methods: impl IntoIterator<Item = ServerMethod>) -> Self {
        Self {
            role,
            database: "postgres",
            methods: methods.into_iter().collect(),
            channel: Channel::Plain,
            password: Some(password()),
            max_iterations: 10_000,
        }
    }

    pub fn over(self, channel: Channel<'a>) -> Self {
        Self { channel, ..self }
    }

    pub fn start(&self, out: &mut Vec<u8>) -> Login {
        let request = LoginRequest {
            role: self.role,
            database: self.database,
            replication: Replication::No,
            methods: &self.methods,
            has_password: self.password.is_some(),
            channel: self.channel,
            nonce: NONCE,
            max_iterations: self.max_iterations,
        };
        Login::start(&request, SETTINGS, out).expect("a start-up message")
    }

    /// Everything in `bytes`, and what the machine asks for on the way.
    pub fn feed(
        &self,
        login: &mut Login,
        assembler: &mut Assembler,
        mut bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Established>, LoginError> {
        let password = self.password.clone().unwrap_or_default();
        while !bytes.is_empty() {
            let taken = assembler.take_message(bytes, most)?;
            let consumed = taken.consumed;
            if let Some(message) = taken.message {
                match login.handle(message, out)? {
                    Progress::Continue => (),
                    Progress::NeedPassword => login.give_password(&password, out)?,
                    Progress::NeedKeys { salt, iterations } => {
                        login.give_keys(&keys(password.expose(), &salt, iterations), out)?;
                    }
                    Progress::Ready(established) => return Ok(Some(established)),
                }
            }
            bytes = &bytes[consumed..];
        }
        Ok(None)
    }

    /// A server that says all of `bytes` at once, whatever it hears.
    pub fn hear(&self, bytes: &[u8]) -> Result<Option<Established>, LoginError> {
        let mut out = Vec::new();
        let mut login = self.start(&mut out);
        self.feed(&mut login, &mut Assembler::new(), bytes, &mut out)
    }

    /// Replays a recording with the server's bytes in chunks of `size`, and holds what is sent against it.
    pub fn replay(&self, recording: &[Line], size: usize) -> Result<Established, LoginError> {
        let (mut out, mut assembler) = (Vec::new(), Assembler::new());
        let mut login = self.start(&mut out);
        for line in recording {
            match line {
                Line::Sent(expected) => assert_eq!(std::mem::take(&mut out), *expected, "{}", out.escape_ascii()),
                Line::Received(bytes) => {
                    for chunk in bytes.chunks(size) {
                        if let Some(established) = self.feed(&mut login, &mut assembler, chunk, &mut out)? {
                            assert!(assembler.is_empty() && out.is_empty());
                            return Ok(established);
                        }
                    }
                }
            }
        }
        panic!("the recording ends before the login does")
    }
}

/// Replays in chunks of every size; the result of all of them.
pub fn every_split(case: &Case<'_>, recording: &str) -> Result<Established, LoginError> {
    let lines = read(recording);
    let longest = lines.iter().map(Line::len).max().unwrap_or(1);
    let whole = case.replay(&lines, longest);
    for size in 1..longest {
        let split = case.replay(&lines, size);
        let shown = |result: &Result<Established, LoginError>| match result {
            Ok(established) => format!("{:?} {}", established, established.greeting.escape_ascii()),
            Err(error) => format!("{error:?}"),
        };
        assert_eq!(shown(&split), shown(&whole), "chunks of {size}");
    }
    whole
}
