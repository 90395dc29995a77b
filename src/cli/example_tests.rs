//! `postern check` of every policy in `policy/examples`, as an operator has them: with the secrets in place.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::control::scratch::Scratch;

const SECRETS: &str = "/run/secrets/postern";

fn examples() -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("policy/examples");
    let entries = fs::read_dir(all).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

/// The example with its secrets beside it instead of in [`SECRETS`].
fn installed(example: &Path) -> Scratch {
    let place = Scratch::new();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    for entry in fs::read_dir(example).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let own = format!("\"{}", place.path().display());
        place.write_mode(name, text.replace(&format!("\"{SECRETS}"), &own), 0o644);
        for secret in text.split(SECRETS).skip(1) {
            let name = secret[1..].split('"').next().unwrap();
            let content = match Path::new(name).extension().and_then(|end| end.to_str()) {
                Some("crt") => certificate.pem(),
                Some("key") => key.serialize_pem(),
                _ => "a password".to_owned(),
            };
            place.write_mode(name, content, 0o600);
        }
    }
    place
}

fn check(directory: &Path) -> (Exit, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut terminal = Terminal {
        out: &mut out,
        err: &mut err,
    };
    let arguments = ["postern".into(), "check".into(), directory.as_os_str().to_owned()];
    let exit = run(arguments, &mut terminal);
    (exit, String::from_utf8([out, err].concat()).unwrap())
}

#[test]
fn check_finds_nothing_wrong_with_the_examples() {
    let examples = examples();
    assert!(examples.len() > 10, "{examples:?}");
    for example in examples {
        let place = installed(&example);
        assert_eq!(check(place.path()), (Exit::Ok, String::new()), "{}", example.display());
    }
}

#[test]
fn check_tells_of_an_example_whose_secrets_are_missing() {
    let place = installed(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policy/examples/webhook"));
    fs::remove_file(place.path().join("desk")).unwrap();
    let (exit, said) = check(place.path());
    assert!(exit == Exit::Found && said.contains("authorization_file"), "{said}");
}
