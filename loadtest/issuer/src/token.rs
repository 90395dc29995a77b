//! Signed tokens (RFC 7515, RFC 7519), good ones and every kind of broken one.

use aws_lc_rs::hmac;
use serde_json::{Map, Value, json};

use crate::encoding::base64url;
use crate::key::Key;

/// A token in the making. As [`Token::new`] leaves it, it is good.
#[derive(Debug, Clone)]
pub struct Token<'a> {
    header: Header,
    payload: String,
    signer: Signer<'a>,
    signature_broken: bool,
}

#[derive(Debug, Clone)]
enum Header {
    Fields(Map<String, Value>),
    Text(String),
}

#[derive(Debug, Clone)]
enum Signer<'a> {
    Key(&'a Key),
    Secret(&'a [u8]),
    Nobody,
}

impl<'a> Token<'a> {
    /// Signed by the key; `alg`, `kid` and `typ` = `JWT` in its header.
    pub fn new(key: &'a Key, claims: impl Into<Value>) -> Self {
        let mut fields = Map::new();
        fields.insert("alg".to_owned(), json!(key.algorithm().name()));
        fields.insert("kid".to_owned(), json!(key.kid()));
        fields.insert("typ".to_owned(), json!("JWT"));
        Self {
            header: Header::Fields(fields),
            payload: claims.into().to_string(),
            signer: Signer::Key(key),
            signature_broken: false,
        }
    }

    /// Sets a field of the header, instead of what it was; it is signed as well.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        if let Header::Fields(fields) = &mut self.header {
            fields.insert(name.to_owned(), value.into());
        }
        self
    }

    pub fn without_header(mut self, name: &str) -> Self {
        if let Header::Fields(fields) = &mut self.header {
            fields.remove(name);
        }
        self
    }

    /// The whole header, which need be no JSON: a field twice, for example.
    pub fn header_text(mut self, text: &str) -> Self {
        self.header = Header::Text(text.to_owned());
        self
    }

    /// The whole payload, which need be no JSON: a claim twice, for example.
    pub fn payload_text(mut self, text: &str) -> Self {
        text.clone_into(&mut self.payload);
        self
    }

    /// By another key, whose name does not come into the header.
    pub fn signed_by(mut self, key: &'a Key) -> Self {
        self.signer = Signer::Key(key);
        self
    }

    /// `alg` = `HS256` with this secret: [`Key::public_pem`] is the one that confuses.
    pub fn signed_with_secret(mut self, secret: &'a [u8]) -> Self {
        self.signer = Signer::Secret(secret);
        self.header("alg", "HS256")
    }

    /// `alg` = `none` and no signature (RFC 7518, 3.6).
    pub fn unsigned(mut self) -> Self {
        self.signer = Signer::Nobody;
        self.header("alg", "none")
    }

    /// One bit of the signature is wrong.
    pub fn with_broken_signature(mut self) -> Self {
        self.signature_broken = true;
        self
    }

    /// The compact form: three parts with dots.
    pub fn text(&self) -> String {
        let header = match &self.header {
            Header::Fields(fields) => Value::Object(fields.clone()).to_string(),
            Header::Text(text) => text.clone(),
        };
        let signed = format!("{}.{}", base64url(header), base64url(&self.payload));
        let signature = base64url(self.signature(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn signature(&self, signed: &[u8]) -> Vec<u8> {
        let mut signature = match self.signer {
            Signer::Key(key) => key.sign(signed),
            Signer::Secret(secret) => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed)
                .as_ref()
                .to_vec(),
            Signer::Nobody => Vec::new(),
        };
        if self.signature_broken
            && let Some(byte) = signature.last_mut()
        {
            *byte ^= 1;
        }
        signature
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::Algorithm;
    use crate::claims::Claims;
    use crate::encoding::from_base64url;

    fn claims() -> Claims {
        Claims::new("https://i", "a", "alice")
    }

    fn part(token: &str, at: usize) -> Vec<u8> {
        from_base64url(token.split('.').nth(at).expect("a part")).expect("base64url")
    }

    fn header(token: &Token<'_>) -> Value {
        serde_json::from_slice(&part(&token.text(), 0)).expect("JSON")
    }

    #[test]
    fn a_good_token_names_its_key_and_holds_the_claims() {
        let key = Key::generate(Algorithm::EdDsa, "k1");
        let claims = claims();
        let token = Token::new(&key, claims.clone()).text();
        assert_eq!(part(&token, 0), br#"{"alg":"EdDSA","kid":"k1","typ":"JWT"}"#);
        let payload: Value = serde_json::from_slice(&part(&token, 1)).expect("JSON");
        assert_eq!(payload, Value::from(claims));
        let (signed, _) = token.rsplit_once('.').expect("a signature");
        // Ed25519 signs the same to the same.
        assert_eq!(part(&token, 2), key.sign(signed.as_bytes()));
    }

    #[test]
    fn the_header_can_be_anything() {
        let key = Key::generate(Algorithm::Es256, "k1");
        let token = Token::new(&key, claims())
            .header("crit", vec!["b64"])
            .header("kid", "other")
            .without_header("typ");
        assert_eq!(header(&token), json!({"alg": "ES256", "kid": "other", "crit": ["b64"]}));
        let token = Token::new(&key, claims()).header_text("{").payload_text("}").text();
        assert_eq!((part(&token, 0), part(&token, 1)), (b"{".to_vec(), b"}".to_vec()));
    }

    #[test]
    fn broken_tokens_are_broken_as_they_say() {
        let key = Key::generate(Algorithm::EdDsa, "k1");
        let other = Key::generate(Algorithm::EdDsa, "k2");
        let claims = claims();
        let good = Token::new(&key, claims.clone()).text();
        let signed = |token: &str| token.rsplit_once('.').expect("a signature").0.to_owned();

        let unsigned = Token::new(&key, claims.clone()).unsigned();
        assert_eq!(header(&unsigned)["alg"], "none");
        assert!(unsigned.text().ends_with('.'));

        let broken = Token::new(&key, claims.clone()).with_broken_signature().text();
        assert_eq!(signed(&broken), signed(&good));
        assert_ne!(broken, good);

        let foreign = Token::new(&key, claims.clone()).signed_by(&other).text();
        assert_eq!(signed(&foreign), signed(&good));
        assert_eq!(part(&foreign, 2), other.sign(signed(&good).as_bytes()));

        let secret = key.public_pem();
        let confused = Token::new(&key, claims).signed_with_secret(secret.as_bytes());
        assert_eq!(header(&confused)["alg"], "HS256");
        assert_eq!(part(&confused.text(), 2).len(), 32);
    }
}
