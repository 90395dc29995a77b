//! An issuer's keys, certificate and faults as files, so that a command beside the running server can change them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::algorithm::Algorithm;
use crate::certificate::Certificate;
use crate::fault::Faults;
use crate::key::Key;
use crate::key_set::KeySet;

/// - `keys/1.RS256.pem`: PKCS#8, by number and algorithm; its `kid` is `key-1`. The highest number is the current one.
/// - `issuer-ca.pem`, `issuer.crt`, `issuer.key`: of HTTPS.
/// - `issuer.url`, `issuer.audience`: for whoever makes tokens without the server.
/// - `fault`: words as [`Faults`] has them.
/// - `webhook.json`: an object with an answer for each `user`.
#[derive(Debug, Clone)]
pub struct Directory(PathBuf);

impl Directory {
    /// Makes what is missing: the directory, a key of this algorithm, a certificate.
    pub fn prepare(path: &Path, algorithm: Algorithm) -> io::Result<Self> {
        let directory = Self(path.to_owned());
        fs::create_dir_all(directory.0.join("keys"))?;
        if directory.numbers()?.is_empty() {
            directory.rotate(algorithm)?;
        }
        if !directory.0.join("issuer.key").exists() {
            let certificate = Certificate::generate();
            directory.write("issuer-ca.pem", &certificate.root)?;
            directory.write("issuer.crt", &certificate.chain)?;
            directory.write("issuer.key", &certificate.key)?;
        }
        Ok(directory)
    }

    /// One that has been prepared.
    pub fn open(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub fn keys(&self) -> io::Result<KeySet> {
        let numbers = self.numbers()?;
        let keys = numbers.iter().map(|(number, algorithm)| self.key(*number, *algorithm));
        let mut keys = keys.collect::<io::Result<Vec<_>>>()?;
        let last = keys.pop().ok_or_else(|| io::Error::other("no key in the directory"))?;
        Ok(KeySet::of(last, keys))
    }

    pub fn certificate(&self) -> io::Result<Certificate> {
        Ok(Certificate {
            root: self.read("issuer-ca.pem")?,
            chain: self.read("issuer.crt")?,
            key: self.read("issuer.key")?,
        })
    }

    /// A new key, which is the current one from now on. Its `kid`.
    pub fn rotate(&self, algorithm: Algorithm) -> io::Result<String> {
        let number = self.numbers()?.last().map_or(1, |(last, _)| last + 1);
        let key = Key::generate(algorithm, &kid(number));
        self.write(&key_file(number, algorithm), &key.to_pem())?;
        Ok(kid(number))
    }

    /// Removes all keys but the current one.
    pub fn retire_old(&self) -> io::Result<()> {
        let mut numbers = self.numbers()?;
        numbers.pop();
        let mut files = numbers.iter().map(|(number, algorithm)| key_file(*number, *algorithm));
        files.try_for_each(|file| fs::remove_file(self.0.join(file)))
    }

    /// None where nothing is written, or nothing that makes sense.
    pub fn faults(&self) -> Faults {
        let text = self.read("fault").unwrap_or_default();
        text.parse().unwrap_or_default()
    }

    pub fn set_faults(&self, text: &str) -> Result<(), String> {
        let _checked: Faults = text.parse()?;
        self.write("fault", text).map_err(|error| error.to_string())
    }

    /// Answers by `user`.
    pub(crate) fn webhook(&self) -> BTreeMap<String, Value> {
        let text = self.read("webhook.json").unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// What `token` needs to know of the server.
    pub fn describe(&self, url: &str, audience: &str) -> io::Result<()> {
        self.write("issuer.url", url)?;
        self.write("issuer.audience", audience)
    }

    pub fn url(&self) -> io::Result<String> {
        self.read("issuer.url")
    }

    pub fn audience(&self) -> io::Result<String> {
        self.read("issuer.audience")
    }

    pub fn root(&self) -> PathBuf {
        self.0.join("issuer-ca.pem")
    }

    fn key(&self, number: u32, algorithm: Algorithm) -> io::Result<Key> {
        let pem = self.read(&key_file(number, algorithm))?;
        Key::from_pem(algorithm, &kid(number), pem.as_bytes()).map_err(io::Error::other)
    }

    /// Of the keys, in their order.
    fn numbers(&self) -> io::Result<Vec<(u32, Algorithm)>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(self.0.join("keys"))? {
            let name = entry?.file_name();
            numbers.extend(name.to_str().and_then(key_of_file));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn read(&self, name: &str) -> io::Result<String> {
        let path = self.0.join(name);
        fs::read_to_string(&path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }

    /// In one step: a reader sees the whole of it or what was there before. Nobody else may read it, except the root.
    fn write(&self, name: &str, content: &str) -> io::Result<()> {
        let (path, new) = (self.0.join(name), self.0.join(format!("{name}.new")));
        let mode = if name == "issuer-ca.pem" { 0o644 } else { 0o600 };
        let mut options = fs::File::options();
        let mut file = options.write(true).create(true).truncate(true).mode(mode).open(&new)?;
        file.write_all(content.as_bytes())?;
        fs::rename(new, path)
    }
}

fn kid(number: u32) -> String {
    format!("key-{number}")
}

fn key_file(number: u32, algorithm: Algorithm) -> String {
    format!("keys/{number}.{algorithm}.pem")
}

fn key_of_file(name: &str) -> Option<(u32, Algorithm)> {
    let (number, algorithm) = name.strip_suffix(".pem")?.split_once('.')?;
    Some((number.parse().ok()?, algorithm.parse().ok()?))
}
