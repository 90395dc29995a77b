//! SCRAM: from the mechanisms offered to the client's proof.

use crate::identity::scram::NONCE_BYTES;
use crate::identity::scram::server::{self, Against, Binding, ExpectClientFinal, Verified};
use crate::wire::authentication::{self, SaslInitialResponse};

use super::denial::Denial;
use super::gate::Gate;
use super::proof::Claim;
use super::surroundings::Surroundings;

/// AuthenticationSASL is sent.
pub(super) struct SaslInitial {
    pub claim: Claim,
    /// Named already, by a response without data; only the client's first message is awaited.
    mechanism: Option<Vec<u8>>,
}

/// The server's first SCRAM message is sent.
pub(super) struct SaslFinal {
    pub claim: Claim,
    /// Whether the name has a verifier. The conversation is the same either way; only the record tells.
    known: bool,
    conversation: ExpectClientFinal,
}

/// A SCRAM proof that was good, and the last message of its conversation, still owed to the client.
pub(super) struct ScramProven {
    pub verified: Verified,
    pub server_final: Vec<u8>,
}

/// What SASL awaits next.
pub(super) enum SaslStep {
    Initial(SaslInitial),
    Final(SaslFinal),
}

/// Offers the mechanisms: PLUS only under TLS, and only where the certificate sent can be bound to.
pub(super) fn ask(claim: Claim, gate: &mut Gate) -> SaslInitial {
    let mechanisms = server::mechanisms(binding(gate));
    authentication::encode_sasl(&mut gate.to_client, mechanisms);
    SaslInitial { claim, mechanism: None }
}

impl SaslInitial {
    /// Takes the mechanism and, unless it comes in a message of its own, the client's first message.
    pub fn answer(self, gate: &mut Gate, around: &mut dyn Surroundings, body: &[u8]) -> Result<SaslStep, Denial> {
        let Self { claim, mechanism } = self;
        if let Some(mechanism) = mechanism {
            return begin(claim, gate, around, &mechanism, body).map(SaslStep::Final);
        }
        let response = SaslInitialResponse::decode(body)
            .map_err(|error| Denial::protocol(format!("invalid SASLInitialResponse message: {error}")))?;
        match response.data {
            Some(data) => begin(claim, gate, around, response.mechanism, data).map(SaslStep::Final),
            None => {
                authentication::encode_sasl_continue(&mut gate.to_client, &[]);
                Ok(SaslStep::Initial(Self {
                    claim,
                    mechanism: Some(response.mechanism.to_vec()),
                }))
            }
        }
    }
}

impl SaslFinal {
    pub fn judge(self, _gate: &mut Gate, body: &[u8]) -> Result<(Claim, ScramProven), Denial> {
        let Self {
            claim,
            known,
            conversation,
        } = self;
        let mut server_final = Vec::new();
        match conversation.finish(body, &mut server_final) {
            Ok(verified) => Ok((claim, ScramProven { verified, server_final })),
            Err(error) => Err(Denial::scram(&error, known, claim.said())),
        }
    }
}

/// Copies the verifier, or a mock's, and answers with the server's first message.
fn begin(
    claim: Claim,
    gate: &mut Gate,
    around: &mut dyn Surroundings,
    mechanism: &[u8],
    client_first: &[u8],
) -> Result<SaslFinal, Denial> {
    let in_force = around.in_force();
    let snapshot = &in_force.snapshot;
    let name = claim.parameters.user();
    let stored = snapshot
        .identity_by_name(name)
        .and_then(|identity| snapshot.scram_verifier(identity));
    let known = stored.is_some();
    let against = Against::of(stored, name, around.gate_secret(), claim.scram_iterations);
    let mut nonce = [0; NONCE_BYTES];
    around.random(&mut nonce);
    let mut answer = Vec::new();
    let begun = server::begin(mechanism, client_first, against, binding(gate), nonce, &mut answer);
    let conversation = begun.map_err(|error| Denial::scram(&error, known, claim.said()))?;
    authentication::encode_sasl_continue(&mut gate.to_client, &answer);
    Ok(SaslFinal {
        claim,
        known,
        conversation,
    })
}

fn binding(gate: &Gate) -> Binding<'_> {
    match gate.tls.as_ref().and_then(|tls| tls.end_point.as_deref()) {
        Some(end_point) => Binding::Offered { end_point },
        None => Binding::None,
    }
}
