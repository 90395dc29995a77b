//! From StartupMessage to ReadyForQuery as one role, over a connection that is already open (and encrypted, where it is
//! to be).
//!
//! Drive it so: [`Login::start`] appends the first message; every message of the server goes to [`Login::handle`], which
//! appends what to send; when it says [`Progress::NeedPassword`] or [`Progress::NeedKeys`], the caller gives that
//! ([`Login::give_password`], [`Login::give_keys`]); a server that gives up meanwhile is handled as ever. The protocol is
//! 3.0 always. After an error the login is over: every further call is [`LoginError::Misuse`].

mod error;
pub mod fuzz;
mod request;
mod start_up;

pub use error::{Asked, FAILED, LoginError, REJECTED, ServerReport};
pub use request::{Channel, LoginRequest};
pub use start_up::Established;

use md5::{Digest, Md5};
use postern_policy::model::ServerMethod;
use zeroize::Zeroizing;

use crate::identity::scram::{Keys, NONCE_BYTES, SCRAM_SHA_256_PLUS, client};
use crate::secret::Secret;
use crate::wire::assemble::Message;
use crate::wire::authentication::{
    Authentication, Mechanisms, SaslInitialResponse, encode_password, encode_sasl_response,
};
use crate::wire::tag::backend;
use start_up::StartUp;

/// What the caller does next.
#[derive(Debug)]
pub enum Progress {
    /// Send what was appended, if anything; then hand over the next message.
    Continue,
    /// Call [`Login::give_password`].
    NeedPassword,
    /// Call [`Login::give_keys`] with the keys for this salt and these iterations (at most those of the request).
    NeedKeys { salt: Vec<u8>, iterations: u32 },
    /// The server is ready for queries.
    Ready(Established),
}

/// One login under way.
pub struct Login {
    state: State,
    terms: Terms,
    start_up: StartUp,
}

/// One for each message that is awaited.
enum State {
    ExpectRequest,
    NeedPassword(PasswordForm),
    ExpectServerFirst(client::ExpectServerFirst),
    NeedKeys(client::NeedKeys),
    ExpectServerFinal(client::ExpectServerFinal),
    /// What was asked for is sent, or the server has proved itself: only AuthenticationOk is left.
    ExpectOk,
    ExpectReady,
    /// Ready, or failed: nothing more is taken.
    Over,
}

enum PasswordForm {
    Cleartext,
    Md5 { salt: [u8; 4] },
}

/// What of the request is needed until the proof is done.
struct Terms {
    role: Box<str>,
    methods: Methods,
    has_password: bool,
    cleartext_protected: bool,
    client_certificate: bool,
    binding: Binding,
    nonce: [u8; NONCE_BYTES],
    max_iterations: u32,
}

/// What SCRAM can be bound to.
enum Binding {
    Impossible,
    EndPoint(Box<[u8]>),
}

/// A set of [`ServerMethod`]s.
#[derive(Clone, Copy)]
struct Methods(u8);

/// Greatest length word taken for each type that a server may send before it is ready; for
/// [`crate::wire::assemble::Assembler::take_message`].
pub fn most(tag: u8) -> Option<u32> {
    match tag {
        // A SCRAM message of 1,024 bytes or a list of mechanisms, and some room.
        backend::AUTHENTICATION => Some(2_048),
        // As libpq: longer ones are no report any more (`MAX_ERRLEN`).
        backend::ERROR_RESPONSE | backend::NOTICE_RESPONSE => Some(30_000),
        backend::PARAMETER_STATUS => Some(30_000),
        // Process id and a key of 256 bytes.
        backend::BACKEND_KEY_DATA => Some(264),
        backend::READY_FOR_QUERY => Some(5),
        backend::NEGOTIATE_PROTOCOL_VERSION => Some(2_048),
        _ => None,
    }
}

impl Login {
    /// Appends the StartupMessage to `out`. `settings` are all start-up settings in the order the server is to see them,
    /// `postern.identity` among them.
    ///
    /// # Errors
    /// [`LoginError::Setting`] and [`LoginError::StartupTooLong`]; nothing is appended then.
    pub fn start<'a>(
        request: &LoginRequest<'a>,
        settings: impl IntoIterator<Item = (&'a str, &'a str)>,
        out: &mut Vec<u8>,
    ) -> Result<Self, LoginError> {
        request::encode(request, settings, out)?;
        Ok(Self {
            state: State::ExpectRequest,
            terms: Terms::of(request),
            start_up: StartUp::default(),
        })
    }

    /// Takes one message of the server and appends the answer to `out`.
    ///
    /// # Errors
    /// Any [`LoginError`]; the connection is of no use afterwards.
    pub fn handle(&mut self, message: Message<'_>, out: &mut Vec<u8>) -> Result<Progress, LoginError> {
        let state = std::mem::replace(&mut self.state, State::Over);
        if let State::Over = state {
            return Err(LoginError::Misuse);
        }
        match message.tag {
            backend::ERROR_RESPONSE => Err(LoginError::Server(ServerReport::decode(message.body)?)),
            backend::NEGOTIATE_PROTOCOL_VERSION => Err(LoginError::Negotiation),
            backend::NOTICE_RESPONSE => {
                self.start_up.notice(message, matches!(state, State::ExpectReady))?;
                self.become_state(state)
            }
            backend::AUTHENTICATION => self.authentication(state, Authentication::decode(message.body)?, out),
            _ => self.after_proof(state, message),
        }
    }

    /// Gives the password that [`Progress::NeedPassword`] asked for.
    pub fn give_password(&mut self, password: &Secret, out: &mut Vec<u8>) -> Result<(), LoginError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::NeedPassword(PasswordForm::Cleartext) => encode_password(out, password.expose()),
            State::NeedPassword(PasswordForm::Md5 { salt }) => {
                encode_password(out, &md5_answer(password, &self.terms.role, salt));
            }
            State::ExpectRequest
            | State::ExpectServerFirst(_)
            | State::NeedKeys(_)
            | State::ExpectServerFinal(_)
            | State::ExpectOk
            | State::ExpectReady
            | State::Over => return Err(LoginError::Misuse),
        }
        self.state = State::ExpectOk;
        Ok(())
    }

    /// Gives the keys that [`Progress::NeedKeys`] asked for.
    pub fn give_keys(&mut self, keys: &Keys, out: &mut Vec<u8>) -> Result<(), LoginError> {
        let State::NeedKeys(need) = std::mem::replace(&mut self.state, State::Over) else {
            return Err(LoginError::Misuse);
        };
        let mut client_final = Vec::new();
        self.state = State::ExpectServerFinal(need.proceed(keys, &mut client_final));
        encode_sasl_response(out, &client_final);
        Ok(())
    }

    /// The transition table of the proof: what is awaited against what came.
    fn authentication(
        &mut self,
        state: State,
        authentication: Authentication<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Progress, LoginError> {
        match (state, authentication) {
            (State::ExpectRequest, Authentication::Ok) => {
                self.terms.allow_unasked()?;
                self.become_state(State::ExpectReady)
            }
            (State::ExpectRequest, Authentication::CleartextPassword) => {
                self.terms.allow(ServerMethod::Password, Asked::Password)?;
                if !self.terms.cleartext_protected {
                    return Err(LoginError::CleartextUnprotected);
                }
                self.need_password(PasswordForm::Cleartext)
            }
            (State::ExpectRequest, Authentication::Md5Password { salt }) => {
                self.terms.allow(ServerMethod::Md5, Asked::Md5)?;
                self.need_password(PasswordForm::Md5 { salt })
            }
            (State::ExpectRequest, Authentication::Sasl(mechanisms)) => {
                self.terms.allow(ServerMethod::ScramSha256, Asked::Sasl)?;
                let next = self.terms.begin_scram(&mechanisms, out)?;
                self.become_state(State::ExpectServerFirst(next))
            }
            (State::ExpectRequest, Authentication::Unsupported { code }) => Err(LoginError::MethodNotAllowed {
                asked: Asked::Unsupported(code),
            }),
            (State::ExpectServerFirst(expect), Authentication::SaslContinue(data)) => {
                let need = expect.handle(data, self.terms.max_iterations)?;
                let progress = Progress::NeedKeys {
                    salt: need.salt.clone(),
                    iterations: need.iterations,
                };
                self.state = State::NeedKeys(need);
                Ok(progress)
            }
            (State::ExpectServerFinal(expect), Authentication::SaslFinal(data)) => {
                expect.handle(data)?;
                self.become_state(State::ExpectOk)
            }
            (State::ExpectOk, Authentication::Ok) => self.become_state(State::ExpectReady),
            // A second request, an answer to nothing, or AuthenticationOk before the server has proved itself.
            (_, _) => Err(LoginError::OutOfTurn {
                tag: backend::AUTHENTICATION,
            }),
        }
    }

    fn after_proof(&mut self, state: State, message: Message<'_>) -> Result<Progress, LoginError> {
        let State::ExpectReady = state else {
            return Err(LoginError::OutOfTurn { tag: message.tag });
        };
        match message.tag {
            backend::PARAMETER_STATUS => self.start_up.parameter_status(message)?,
            backend::BACKEND_KEY_DATA => self.start_up.key(message)?,
            backend::READY_FOR_QUERY => {
                let start_up = std::mem::take(&mut self.start_up);
                return start_up.ready(message).map(Progress::Ready);
            }
            tag => return Err(LoginError::OutOfTurn { tag }),
        }
        self.become_state(state)
    }

    fn need_password(&mut self, form: PasswordForm) -> Result<Progress, LoginError> {
        self.state = State::NeedPassword(form);
        Ok(Progress::NeedPassword)
    }

    fn become_state(&mut self, state: State) -> Result<Progress, LoginError> {
        self.state = state;
        Ok(Progress::Continue)
    }
}

impl Terms {
    fn of(request: &LoginRequest<'_>) -> Self {
        let (cleartext_protected, client_certificate, end_point) = match request.channel {
            Channel::Plain => (false, false, None),
            Channel::Tls {
                fully_verified,
                end_point,
                client_certificate,
            } => (fully_verified, client_certificate, end_point),
        };
        Self {
            role: request.role.into(),
            methods: Methods::of(request.methods.iter().copied()),
            has_password: request.has_password,
            cleartext_protected,
            client_certificate,
            binding: end_point.map_or(Binding::Impossible, |end_point| Binding::EndPoint(end_point.into())),
            nonce: request.nonce,
            max_iterations: request.max_iterations,
        }
    }

    fn allow(&self, method: ServerMethod, asked: Asked) -> Result<(), LoginError> {
        if !self.methods.contains(method) {
            return Err(LoginError::MethodNotAllowed { asked });
        }
        if !self.has_password {
            return Err(LoginError::NoPassword { asked });
        }
        Ok(())
    }

    /// AuthenticationOk without a challenge: trusted, or the client certificate was enough.
    fn allow_unasked(&self) -> Result<(), LoginError> {
        let certified = self.client_certificate && self.methods.contains(ServerMethod::Certificate);
        if certified || self.methods.contains(ServerMethod::Trust) {
            Ok(())
        } else {
            Err(LoginError::MethodNotAllowed { asked: Asked::Nothing })
        }
    }

    /// Chooses PLUS wherever it is offered and possible; says so (`y`) where it is possible and not offered.
    fn begin_scram(
        &self,
        mechanisms: &Mechanisms<'_>,
        out: &mut Vec<u8>,
    ) -> Result<client::ExpectServerFirst, LoginError> {
        let binding = match &self.binding {
            Binding::EndPoint(end_point) if mechanisms.contains(SCRAM_SHA_256_PLUS) => {
                client::Binding::EndPoint(end_point)
            }
            Binding::EndPoint(_) => client::Binding::NotOffered,
            Binding::Impossible => client::Binding::None,
        };
        if !mechanisms.contains(binding.mechanism()) {
            return Err(LoginError::NoMechanism);
        }
        let mut client_first = Vec::new();
        let next = client::begin(binding, self.nonce, &mut client_first);
        let mechanism = binding.mechanism().as_bytes();
        SaslInitialResponse {
            mechanism,
            data: Some(&client_first),
        }
        .encode(out);
        Ok(next)
    }
}

impl Methods {
    fn of(methods: impl Iterator<Item = ServerMethod>) -> Self {
        Self(methods.fold(0, |set, method| set | 1 << method as u8))
    }

    fn contains(self, method: ServerMethod) -> bool {
        self.0 & (1 << method as u8) != 0
    }
}

/// `md5` and the hex of MD5(hex of MD5(password, role), salt), as AuthenticationMD5Password asks for.
fn md5_answer(password: &Secret, role: &str, salt: [u8; 4]) -> Zeroizing<Vec<u8>> {
    // The inner digest is what a server stores: as good as the password.
    let inner = hex(&Md5::new().chain_update(password.expose()).chain_update(role).finalize());
    let outer = hex(&Md5::new().chain_update(&*inner).chain_update(salt).finalize());
    Zeroizing::new([b"md5", outer.as_slice()].concat())
}

fn hex(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| DIGITS[usize::from(value & 0xf)];
    Zeroizing::new(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect())
}

#[cfg(test)]
pub(crate) mod tests;
