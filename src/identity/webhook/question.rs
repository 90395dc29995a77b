//! What a webhook is asked: the facts of one attempt, as JSON, and the name under which its answer is kept.

use core::net::IpAddr;

use aws_lc_rs::hmac;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// What is known of an attempt when the webhook is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// The attempt's identifier in the record. It names the question and is no part of it: the same question from another
    /// attempt has the same answer.
    pub attempt: Box<str>,
    pub user: Box<str>,
    pub database: Box<str>,
    pub application_name: Box<str>,
    pub source: IpAddr,
    pub listener: Box<str>,
    pub tls: bool,
    pub certificate_sha256: Option<[u8; 32]>,
    pub password: Option<Secret>,
    pub replication: bool,
}

/// A password that is not UTF-8, which JSON cannot carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the password is not UTF-8")]
pub struct NotText;

/// Names a question without telling anything of it: keyed with bytes that no other process has, so that nobody who reads
/// the memory could try passwords against it elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct QuestionName([u8; 32]);

impl Question {
    /// The body of the request.
    pub fn body(&self) -> Result<Zeroizing<Vec<u8>>, NotText> {
        let password = self.password.as_ref().map(|password| str::from_utf8(password.expose()));
        let certificate = self.certificate_sha256.map(|digest| hex(&digest));
        let asked = Asked {
            attempt: &self.attempt,
            user: &self.user,
            database: &self.database,
            application_name: &self.application_name,
            source: self.source,
            listener: &self.listener,
            tls: self.tls,
            certificate_sha256: certificate.as_deref(),
            password: password.transpose().map_err(|_| NotText)?,
            replication: self.replication,
        };
        let mut body = Zeroizing::new(Vec::with_capacity(self.most_bytes()));
        // Texts, booleans and an address always have a JSON form.
        serde_json::to_writer(&mut *body, &asked).map_err(|_| NotText)?;
        Ok(body)
    }

    pub fn name(&self, key: &hmac::Key) -> QuestionName {
        let mut context = hmac::Context::with_key(key);
        for text in [&self.user, &self.database, &self.application_name, &self.listener] {
            add(&mut context, text.as_bytes());
        }
        add(&mut context, self.source.to_string().as_bytes());
        context.update(&[u8::from(self.tls), u8::from(self.replication)]);
        add_optional(&mut context, self.certificate_sha256.as_ref().map(<[u8; 32]>::as_slice));
        add_optional(&mut context, self.password.as_ref().map(Secret::expose));
        let mut name = [0; 32];
        name.copy_from_slice(context.sign().as_ref());
        QuestionName(name)
    }

    /// Room for everything at once: a buffer that grows would leave unzeroed copies of the password behind. JSON writes
    /// a byte with six at most.
    fn most_bytes(&self) -> usize {
        let password = self.password.as_ref().map_or(0, |password| password.expose().len());
        let texts = [
            &self.attempt,
            &self.user,
            &self.database,
            &self.application_name,
            &self.listener,
        ];
        let texts: usize = texts.iter().map(|text| text.len()).sum();
        6 * (texts + password) + 512
    }
}

#[derive(Serialize)]
struct Asked<'a> {
    attempt: &'a str,
    user: &'a str,
    database: &'a str,
    application_name: &'a str,
    source: IpAddr,
    listener: &'a str,
    tls: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_sha256: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
    replication: bool,
}

/// Lengths first, so that no two questions have the same bytes.
fn add(context: &mut hmac::Context, bytes: &[u8]) {
    context.update(&(bytes.len() as u64).to_be_bytes());
    context.update(bytes);
}

fn add_optional(context: &mut hmac::Context, bytes: Option<&[u8]>) {
    context.update(&[u8::from(bytes.is_some())]);
    add(context, bytes.unwrap_or_default());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question {
            attempt: "a-1".into(),
            user: "alice".into(),
            database: "app".into(),
            application_name: "psql".into(),
            source: "192.0.2.7".parse().unwrap(),
            listener: "main".into(),
            tls: true,
            certificate_sha256: None,
            password: None,
            replication: false,
        }
    }

    #[test]
    fn the_body_is_json_with_what_there_is() {
        let body = question().body().unwrap();
        assert_eq!(
            str::from_utf8(&body).unwrap(),
            r#"{"attempt":"a-1","user":"alice","database":"app","application_name":"psql","source":"192.0.2.7","listener":"main","tls":true,"replication":false}"#
        );
    }

    #[test]
    fn a_body_never_grows_out_of_its_first_buffer() {
        let mut asked = question();
        asked.certificate_sha256 = Some([0xab; 32]);
        asked.password = Some(Secret::new(vec![1; 5000]));
        let most = asked.most_bytes();
        let body = asked.body().unwrap();
        assert!(
            body.len() <= most && body.capacity() == most,
            "{} of {most}",
            body.len()
        );
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["certificate_sha256"], "ab".repeat(32));
        assert_eq!(value["password"].as_str().unwrap().len(), 5000);
    }

    #[test]
    fn debug_shows_no_password() {
        let mut asked = question();
        asked.password = Some(Secret::new(b"marker-secret".to_vec()));
        let shown = format!("{asked:?}");
        assert!(
            shown.contains("alice") && !shown.contains("marker-secret") && !shown.contains("109, 97"),
            "{shown}"
        );
    }

    #[test]
    fn a_password_that_is_no_text_cannot_be_asked_about() {
        let mut asked = question();
        asked.password = Some(Secret::new(vec![0xff]));
        assert_eq!(asked.body().err(), Some(NotText));
    }

    #[test]
    fn every_fact_but_the_attempt_makes_another_question() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        let name = |change: fn(&mut Question)| {
            let mut asked = question();
            change(&mut asked);
            asked.name(&key)
        };
        let first = name(|_| ());
        assert!(first == name(|asked| asked.attempt = "a-2".into()));
        let changes: [fn(&mut Question); 10] = [
            |asked| asked.user = "bob".into(),
            |asked| asked.database = "other".into(),
            |asked| asked.application_name = "".into(),
            |asked| asked.source = "192.0.2.8".parse().unwrap(),
            |asked| asked.listener = "other".into(),
            |asked| asked.tls = false,
            |asked| asked.certificate_sha256 = Some([0; 32]),
            |asked| asked.password = Some(Secret::default()),
            |asked| asked.password = Some(Secret::new(b"pw".to_vec())),
            |asked| asked.replication = true,
        ];
        let names: std::collections::HashSet<_> = changes.into_iter().map(name).chain([first]).collect();
        assert_eq!(names.len(), 11, "each is another one");
        assert!(question().name(&hmac::Key::new(hmac::HMAC_SHA256, b"other")) != first);
    }
}
