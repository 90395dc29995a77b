//! OpenSSL's command: certificates of every kind, and servers to talk to.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

/// The command itself; Debian has it in `openssl`.
pub fn openssl() -> Command {
    Command::new("openssl")
}

/// Runs `openssl` with these arguments and gives its standard output.
fn output(arguments: &[&str]) -> Vec<u8> {
    let output = openssl()
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the openssl command is needed");
    assert!(
        output.status.success(),
        "openssl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// A directory that goes away with the test.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("postern-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// A self-signed certificate with a P-256 key.
    pub fn ec_identity(&self, name: &str, subject: &str) -> Identity {
        self.make(name, subject, &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
    }

    /// A self-signed certificate, made with these options of `openssl req`.
    pub fn identity(&self, name: &str, options: &[&str]) -> Identity {
        self.make(name, "/CN=db.example", options)
    }

    /// A self-signed X.509 version 1 certificate, as `openssl x509 -req` makes them without extensions.
    pub fn version_1_identity(&self, name: &str, subject: &str) -> Identity {
        let identity = self.ec_identity(name, subject);
        let (request, key, certificate) = (self.path("request"), identity.key_path(), identity.certificate_path());
        output(&["req", "-new", "-key", &key, "-subj", subject, "-out", &request]);
        output(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-signkey",
            &key,
            "-days",
            "2",
            "-out",
            &certificate,
        ]);
        let text = String::from_utf8(output(&["x509", "-in", &certificate, "-noout", "-text"])).unwrap();
        assert!(
            text.contains("Version: 1 "),
            "this openssl makes version 3 certificates: {text}"
        );
        identity
    }

    fn make(&self, name: &str, subject: &str, options: &[&str]) -> Identity {
        let identity = Identity { stem: self.path(name) };
        let (key, certificate) = (identity.key_path(), identity.certificate_path());
        let fixed = [
            "req",
            "-x509",
            "-nodes",
            "-days",
            "2",
            "-subj",
            subject,
            "-keyout",
            &key,
            "-out",
            &certificate,
        ];
        output(&[&fixed[..], options].concat());
        identity
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// A certificate and its key, as files.
pub struct Identity {
    stem: String,
}

impl Identity {
    pub fn certificate_path(&self) -> String {
        format!("{}.crt", self.stem)
    }

    pub fn key_path(&self) -> String {
        format!("{}.key", self.stem)
    }

    pub fn certificate_pem(&self) -> Vec<u8> {
        std::fs::read(self.certificate_path()).unwrap()
    }

    pub fn key_pem(&self) -> Vec<u8> {
        std::fs::read(self.key_path()).unwrap()
    }

    pub fn certificate_der(&self) -> Vec<u8> {
        output(&["x509", "-in", &self.certificate_path(), "-outform", "DER"])
    }

    /// Of the whole certificate; `hash` is an option (`-sha256`).
    pub fn fingerprint(&self, hash: &str) -> Vec<u8> {
        let line = output(&["x509", "-in", &self.certificate_path(), "-noout", "-fingerprint", hash]);
        let line = String::from_utf8(line).unwrap();
        let (_, hex) = line.trim().split_once('=').unwrap();
        hex.split(':')
            .map(|byte| u8::from_str_radix(byte, 16).unwrap())
            .collect()
    }

    /// SHA-256 of the SubjectPublicKeyInfo.
    pub fn key_hash(&self) -> [u8; 32] {
        let public = format!("{}.pub", self.stem);
        output(&[
            "pkey",
            "-in",
            &self.key_path(),
            "-pubout",
            "-outform",
            "DER",
            "-out",
            &public,
        ]);
        output(&["dgst", "-sha256", "-binary", &public]).try_into().unwrap()
    }
}

/// A running `s_server`, ended with this value.
pub struct Server {
    process: Child,
    address: SocketAddr,
    /// Where it may go on writing.
    _said: BufReader<ChildStdout>,
}

impl Server {
    /// On a port that was free a moment ago, since s_server cannot be asked which one it took: where another has taken it
    /// meanwhile, on the next.
    pub fn start(identity: &Identity, options: &[&str]) -> Self {
        let mut tries = std::iter::repeat_with(|| Self::try_start(identity, options)).take(5);
        tries.find_map(|server| server).expect("s_server listens")
    }

    /// It says when it listens. To try whether somebody answers would tell nothing of who does.
    fn try_start(identity: &Identity, options: &[&str]) -> Option<Self> {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut process = openssl()
            .args(["s_server", "-accept", &address.to_string(), "-alpn", "postgresql"])
            .args(["-cert", &identity.certificate_path(), "-key", &identity.key_path()])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap());
        let listens = said
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .any(|line| line.starts_with("ACCEPT"));
        let server = Self {
            process,
            address,
            _said: said,
        };
        listens.then_some(server)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
