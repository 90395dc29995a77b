//! Both ends against each other, and against what others have published.

use postern_policy::identity::ScramVerifierView;
use proptest::prelude::*;

use super::server::{Against, Binding, ExpectClientFinal, Verified};
use super::*;

const SECRET: [u8; 32] = [0x5e; 32];
const END_POINT_HASH: [u8; 32] = [0xe9; 32];
const PLUS: Binding<'static> = Binding::Offered {
    end_point: &END_POINT_HASH,
};

fn against(verifier: &postern_policy::model::ScramVerifier) -> Against {
    let stored = ScramVerifierView {
        iterations: verifier.iterations,
        salt: &verifier.salt,
        stored_key: &verifier.stored_key,
        server_key: &verifier.server_key,
    };
    Against::of(Some(stored), "known", &SECRET, 4096)
}

fn unknown(name: &str) -> Against {
    Against::of(None, name, &SECRET, 8)
}

/// Answers client-first and returns the state with server-first.
fn answer(first: &str, against: Against, binding: Binding<'_>) -> Result<(ExpectClientFinal, String), ScramError> {
    let mechanism = if first.starts_with("p=") {
        SCRAM_SHA_256_PLUS
    } else {
        SCRAM_SHA_256
    };
    answer_as(mechanism, first.as_bytes(), against, binding)
}

fn answer_as(
    mechanism: &str,
    first: &[u8],
    against: Against,
    binding: Binding<'_>,
) -> Result<(ExpectClientFinal, String), ScramError> {
    let mut out = Vec::new();
    let expect = server::begin(
        mechanism.as_bytes(),
        first,
        against,
        binding,
        [1; NONCE_BYTES],
        &mut out,
    )?;
    Ok((expect, String::from_utf8(out).unwrap()))
}

fn refused(first: &str, binding: Binding<'_>) -> ScramError {
    answer(first, unknown("x"), binding).err().expect("refused")
}

/// A whole conversation; returns the messages in their order and how each side judged.
struct Talk {
    messages: Vec<Vec<u8>>,
    server: Result<Verified, ScramError>,
    client: Option<Result<(), ClientError>>,
}

fn talk(against: Against, password: &[u8], offered: Binding<'_>, ours: client::Binding<'_>) -> Talk {
    let (mut first, mut server_first, mut last, mut server_final) = (vec![], vec![], vec![], vec![]);
    let client = client::begin(ours, [2; NONCE_BYTES], &mut first);
    let mechanism = ours.mechanism().as_bytes();
    let expect = server::begin(mechanism, &first, against, offered, [1; NONCE_BYTES], &mut server_first).unwrap();
    let need = client.handle(&server_first, 10_000).unwrap();
    let keys = derive(password, &need.salt, need.iterations);
    let client = need.proceed(&keys, &mut last);
    let server = expect.finish(&last, &mut server_final);
    let client = server.is_ok().then(|| client.handle(&server_final));
    Talk {
        messages: vec![first, server_first, last, server_final],
        server,
        client,
    }
}

#[test]
fn rfc_7677_example() {
    let salt = decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let against = against(&verifier::make(b"pencil", &salt, 4096));
    let (mut first, mut server_first, mut last, mut server_final) = (vec![], vec![], vec![], vec![]);
    let client = client::begin_with(client::Binding::None, "user", "rOprNGfwEbeRWgbNEkqO", &mut first);
    assert_eq!(first, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let mechanism = SCRAM_SHA_256.as_bytes();
    let nonce = b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let server = server::begin_with(mechanism, &first, against, Binding::None, nonce, &mut server_first).unwrap();
    assert_eq!(
        server_first,
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    let need = client.handle(&server_first, 4096).unwrap();
    let keys = derive(b"pencil", &need.salt, need.iterations);
    let client = need.proceed(&keys, &mut last);
    assert_eq!(
        last,
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    assert!(!server.finish(&last, &mut server_final).unwrap().channel_bound());
    assert_eq!(server_final, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    assert_eq!(client.handle(&server_final), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_password_gets_in_and_another_does_not(
        password in prop::collection::vec(any::<u8>(), 0..40),
        other in prop::collection::vec(any::<u8>(), 0..40),
        salt in prop::collection::vec(any::<u8>(), 1..33),
        iterations in 1u32..20,
        plus in any::<bool>(),
    ) {
        let verifier = verifier::make(&password, &salt, iterations);
        let (offered, ours) = match plus {
            true => (PLUS, client::Binding::EndPoint(&END_POINT_HASH)),
            false => (Binding::None, client::Binding::NotOffered),
        };
        let good = talk(against(&verifier), &password, offered, ours);
        prop_assert_eq!(good.server.map(|verified| verified.channel_bound()).ok(), Some(plus));
        prop_assert_eq!(good.client, Some(Ok(())));
        prop_assume!(verifier != verifier::make(&other, &salt, iterations));
        let bad = talk(against(&verifier), &other, offered, ours);
        prop_assert_eq!(bad.server.err(), Some(ScramError::ProofFailed));
    }

    #[test]
    fn any_bytes_get_an_answer(data in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz::fuzz_server(&data);
        fuzz::fuzz_client(&data);
        fuzz::fuzz_verifier(&data);
    }

    #[test]
    fn nearly_right_bytes_get_an_answer(
        server in "[tpk]{0,3}\n[nyp]=?(tls-server-end-point)?,a?,m?n=[a-z]{0,3},r=[!-~]{0,9}(,[a-z]=x){0,2}\nc=(biws|eSws),r=@(,[a-z]=)?,p=[A-Za-z0-9+/]{42}[AEI]=",
        client in "r=@[!-~]{0,4},s=([A-Za-z0-9]{4}){1,3},i=[0-9]{1,2}\n[ev]=[A-Za-z0-9+/]{43}=",
    ) {
        fuzz::fuzz_server(server.as_bytes());
        fuzz::fuzz_client(client.as_bytes());
    }
}

/// `rolpassword` of PostgreSQL 15 after `create role r password U&'...'`.
const MADE_BY_POSTGRESQL: [(&str, &str); 9] = [
    (
        "pencil",
        "SCRAM-SHA-256$4096:6GDlAUGxC+4l1yzz0t14TQ==$zex0F3V9ACH79GDmbEEz0VASPmETPbe04rM3Mn2PZSg=:NRaQkKN9vU0heRDP0k1sKIy5lbQpstNspp8wAL0ENHg=",
    ),
    (
        "pass word with spaces ~!@",
        "SCRAM-SHA-256$4096:V7H1g6E3gYQXISiWMJKdaQ==$uGBHzzH1SgKmHHSr0jt+wrRfFe+ApbzGmjwOMuaIFNE=:vdd8BXfG+FHh9RpP1O+Jl3oKHidwgO76EiUBKpK4RE8=",
    ),
    (
        "I\u{ad}X\u{2168}",
        "SCRAM-SHA-256$4096:0JYNtBLGXl228kSIgQ6xDw==$EO/eflO7CAOaB4ZFxL/k3qz8R8aiX8WOjWudr7RZ0pw=:DhTdp4RAaYF6JbQW1P7bjJrc6Z+GgZTd6rRc2+2+FpE=",
    ),
    (
        "a\u{a0}b\u{3000}c",
        "SCRAM-SHA-256$4096:JEoxM7MEIUPXR8hQF6HrYw==$oNQL9My4MzXk0gnPW9fN/iORwiBNgH5eLsAzUmdro5M=:9nKiXk+fnPiuhhSaeGvsWZNYoHOq4GrTrpvNcWSDdlw=",
    ),
    (
        "x\u{7f}y\u{e9}",
        "SCRAM-SHA-256$4096:WXNBcwPUjPp75MhyxHCkag==$KPL+JLf21rYO6UbnysTObOuePKCM5uFPT1B1PlljM2k=:+/1HIdjR2QQzFuPH6KbVHgNjfRnQxDownzTSYdAlR+Y=",
    ),
    (
        "\u{627}1",
        "SCRAM-SHA-256$4096:uBqcvO8M7aUXM9E2ZzK7RQ==$aporwaI0JoXkJ9tEcYFQ0h8iA3OAIwt7fCSIo/XdrDs=:hZCDIbUnljVB/hOMgj6navZ0q18ergymm45Ihqge0Dg=",
    ),
    (
        "\u{ad}",
        "SCRAM-SHA-256$4096:KMX5YRHOYBnr4oN03Wbtlg==$qg1llA3EqSwOG+cbQI1a9j8ZGBt3z15OT+I4lIvAqQg=:VBkK3YC+nTlrSzeMcxDJFYZ12K2fTdM+HFNmB3RcXQI=",
    ),
    (
        "\u{1f600} p\u{e4}ss",
        "SCRAM-SHA-256$4096:1Y42DZUj4UfL4y7x3bEqIQ==$AlOVUIWZrh0uhC658or2qEapngxWtIHLoFE6Yhrvz7Q=:r3AI2OFut+o2Nrrj1n06aR+0O3+iX+a1JH7Umt1lLrM=",
    ),
    (
        "tab\t",
        "SCRAM-SHA-256$4096:aNvr6iHd9dtz5wdb+cmrJQ==$VJSOdoBYHR4zWQN9C0kLlUNJOurR+HcRGleFRi+YVPY=:Xx9tOGKD/A9nrN9+3NWiDnQfAk9u3zwcJRKxMg5Cguk=",
    ),
];

#[test]
fn postgresql_s_own_verifiers_fit() {
    for (password, text) in MADE_BY_POSTGRESQL {
        let stored = verifier::parse(text).unwrap();
        assert_eq!(verifier::format(&stored), text);
        assert_eq!(
            verifier::make(password.as_bytes(), &stored.salt, stored.iterations),
            stored,
            "{password:?}"
        );
    }
}

#[test]
fn an_unknown_name_has_the_conversation_of_a_wrong_password() {
    let verifier = verifier::make(b"right", &[3; 16], 8);
    let lengths = |talk: &Talk| talk.messages.iter().map(Vec::len).collect::<Vec<_>>();
    let wrong = talk(
        against(&verifier),
        b"wrong",
        PLUS,
        client::Binding::EndPoint(&END_POINT_HASH),
    );
    for name in ["unknown", "another", ""] {
        let mock = talk(
            unknown(name),
            b"wrong",
            PLUS,
            client::Binding::EndPoint(&END_POINT_HASH),
        );
        assert_eq!(mock.server.as_ref().err(), Some(&ScramError::ProofFailed));
        assert_eq!(mock.server.err(), wrong.server.as_ref().err().cloned());
        assert_eq!(
            lengths(&Talk {
                server: Err(ScramError::TooLong),
                ..mock
            }),
            lengths(&wrong)
        );
    }
}

/// Even whoever knows the key a mock stands for does not get in.
#[test]
fn a_mock_never_matches() {
    let verifier = verifier::make(b"right", &[3; 16], 8);
    let mut mock = against(&verifier);
    mock.doom();
    assert_eq!(
        talk(mock, b"right", Binding::None, client::Binding::None).server.err(),
        Some(ScramError::ProofFailed)
    );
}

#[test]
fn a_mock_salt_stays_with_its_name_and_secret() {
    let salt = server::mock_salt(&SECRET, "alice");
    assert_eq!(salt, server::mock_salt(&SECRET, "alice"));
    assert_ne!(salt, server::mock_salt(&SECRET, "bob"));
    assert_ne!(salt, server::mock_salt(&[0; 32], "alice"));
}

#[test]
fn one_flipped_bit_of_the_binding_fails() {
    let verifier = verifier::make(b"secret", &[3; 16], 8);
    for bit in 0..256 {
        let mut other = END_POINT_HASH;
        other[bit / 8] ^= 1 << (bit % 8);
        let talk = talk(against(&verifier), b"secret", PLUS, client::Binding::EndPoint(&other));
        assert_eq!(talk.server.err(), Some(ScramError::BindingCheckFailed), "bit {bit}");
    }
}

#[test]
fn the_name_inside_is_ignored_and_extensions_behind_the_nonce_too() {
    assert!(answer("n,,n=whoever=2C,r=abc,x=1,y=", unknown("x"), Binding::None).is_ok());
}

#[test]
fn an_empty_nonce_of_the_client_is_postgresql_s_to_allow() {
    let (_, server_first) = answer("n,,n=,r=", unknown("x"), Binding::None).unwrap();
    assert!(server_first.starts_with(&format!("r={},s=", encode(&[1; NONCE_BYTES]))));
}

#[test]
fn client_first_is_refused_as_postgresql_does() {
    use Malformed::*;
    let cases: &[(&str, Binding<'_>, ScramError)] = &[
        ("", Binding::None, Empty.into()),
        ("n,,n=,r=a\0", Binding::None, EmbeddedNul.into()),
        ("x,,n=,r=a", Binding::None, BindingFlag(b'x').into()),
        ("nx,n=,r=a", Binding::None, CommaExpected(b'x').into()),
        ("n", Binding::None, CommaExpected(0).into()),
        ("n,a=admin,n=,r=a", Binding::None, ScramError::AuthorizationIdentity),
        ("n,b,n=,r=a", Binding::None, UnexpectedAttribute(b'b').into()),
        ("n,,m=x,n=,r=a", Binding::None, ScramError::MandatoryExtension),
        (
            "n,,r=a",
            Binding::None,
            ExpectedAttribute {
                expected: b'n',
                found: b'r',
            }
            .into(),
        ),
        (
            "n,,n=",
            Binding::None,
            ExpectedAttribute {
                expected: b'r',
                found: 0,
            }
            .into(),
        ),
        ("n,,n=,r", Binding::None, ExpectedEquals(b'r').into()),
        ("n,,n=,r=a b", Binding::None, ScramError::NoncePrintable),
        ("n,,n=,r=a,1=b", Binding::None, InvalidAttribute(b'1').into()),
        ("y,,n=,r=a", PLUS, ScramError::BindingNegotiation),
        (
            "p=tls-unique,,n=,r=a",
            PLUS,
            ScramError::UnsupportedBinding("tls-unique".into()),
        ),
        (
            "p=tls-server-end-point,,n=,r=a",
            Binding::None,
            ScramError::InvalidMechanism,
        ),
    ];
    for (first, binding, error) in cases {
        assert_eq!(&refused(first, *binding), error, "{first:?}");
    }
    assert!(
        answer("y,,n=,r=a", unknown("x"), Binding::None).is_ok(),
        "nothing was offered"
    );
}

#[test]
fn flag_and_mechanism_must_fit() {
    let as_mechanism = |mechanism, first: &str, binding| {
        answer_as(mechanism, first.as_bytes(), unknown("x"), binding)
            .err()
            .expect("refused")
    };
    for first in ["n,,n=,r=a", "y,,n=,r=a"] {
        let error = as_mechanism(SCRAM_SHA_256_PLUS, first, PLUS);
        assert_eq!(error, Malformed::BindingMissing.into());
    }
    let error = as_mechanism(SCRAM_SHA_256, "p=tls-server-end-point,,n=,r=a", PLUS);
    assert_eq!(error, Malformed::BindingUnasked.into());
    for mechanism in ["", "SCRAM-SHA-1", "scram-sha-256", "OAUTHBEARER"] {
        assert_eq!(as_mechanism(mechanism, "n,,n=,r=a", PLUS), ScramError::InvalidMechanism);
    }
}

#[test]
fn client_final_is_refused_as_postgresql_does() {
    use Malformed::*;
    let nonce = format!("a{}", encode(&[1; NONCE_BYTES]));
    let proof = encode(&[0; 32]);
    let cases: &[(String, ScramError)] = &[
        (String::new(), Empty.into()),
        (
            format!("r={nonce},p={proof}"),
            ExpectedAttribute {
                expected: b'c',
                found: b'r',
            }
            .into(),
        ),
        (format!("c=eSws,r={nonce},p={proof}"), ScramError::BindingAttribute),
        (format!("c=biws,r={nonce}x,p={proof}"), ScramError::NonceMismatch),
        (format!("c=biws,r=a,p={proof}"), ScramError::NonceMismatch),
        (format!("c=biws,r={nonce}"), EndOfString.into()),
        (format!("c=biws,r={nonce},p=AAAA"), Proof.into()),
        (format!("c=biws,r={nonce},p={proof},x=y"), Garbage.into()),
        (format!("c=biws,r={nonce},p={proof}"), ScramError::ProofFailed),
        (format!("c=biws,r={nonce},x=y,p={proof}"), ScramError::ProofFailed),
        (
            format!("c=biws,r={nonce},x={}", "y".repeat(MAX_MESSAGE)),
            ScramError::TooLong,
        ),
    ];
    for (last, error) in cases {
        let (expect, _) = answer("n,,n=,r=a", unknown("x"), Binding::None).unwrap();
        let mut out = Vec::new();
        assert_eq!(
            expect.finish(last.as_bytes(), &mut out).err().as_ref(),
            Some(error),
            "{last:?}"
        );
        assert!(out.is_empty());
    }
}

#[test]
fn extensions_before_the_proof_are_signed() {
    let verifier = verifier::make(b"secret", &[3; 16], 8);
    let (expect, server_first) = answer("n,,n=,r=a", against(&verifier), Binding::None).unwrap();
    let without_proof = format!("c=biws,r=a{},x=y", encode(&[1; NONCE_BYTES]));
    let said = format!("n=,r=a,{server_first},{without_proof}");
    let keys = derive(b"secret", &[3; 16], 8);
    let proof = keys::xor(
        keys.client_key(),
        &keys::hmac_sha256(&keys.stored_key(), &[said.as_bytes()]),
    );
    let last = format!("{without_proof},p={}", encode(&*proof));
    assert!(expect.finish(last.as_bytes(), &mut Vec::new()).is_ok());
}

#[test]
fn a_server_is_not_trusted() {
    let begin = || client::begin(client::Binding::None, [2; NONCE_BYTES], &mut Vec::new());
    let nonce = encode(&[2; NONCE_BYTES]);
    let cases = [
        (format!("r={nonce},s=AAAA,i=1"), ClientError::NonceMismatch),
        (format!("r=x{nonce},s=AAAA,i=1"), ClientError::NonceMismatch),
        (format!("r={nonce}\u{e9},s=AAAA,i=1"), ClientError::NonceMismatch),
        (format!("r={nonce}x,s=,i=1"), ClientError::Salt),
        (format!("r={nonce}x,s=*,i=1"), ClientError::Salt),
        (format!("r={nonce}x,s=AAAA,i=0"), ClientError::Iterations),
        (format!("r={nonce}x,s=AAAA,i=-1"), ClientError::Iterations),
        (format!("r={nonce}x,s=AAAA,i=99999999999"), ClientError::Iterations),
        (
            format!("r={nonce}x,s=AAAA,i=101"),
            ClientError::TooManyIterations { asked: 101, most: 100 },
        ),
        (format!("r={nonce}x,s=AAAA,i=1,x=y"), ClientError::Garbage),
        (format!("m=x,r={nonce}x,s=AAAA,i=1"), ClientError::MandatoryExtension),
        (
            "e=other-error".to_owned(),
            Malformed::ExpectedAttribute {
                expected: b'r',
                found: b'e',
            }
            .into(),
        ),
        ("x".repeat(MAX_MESSAGE + 1), ClientError::TooLong),
    ];
    for (first, error) in cases {
        assert_eq!(begin().handle(first.as_bytes(), 100).err(), Some(error), "{first:?}");
    }
}

#[test]
fn a_server_must_know_the_password_too() {
    let sent = |server_final: &str| {
        let need = client::begin(client::Binding::None, [2; NONCE_BYTES], &mut Vec::new())
            .handle(format!("r={}x,s=AAAA,i=1", encode(&[2; NONCE_BYTES])).as_bytes(), 1)
            .unwrap();
        let keys = derive(b"secret", &need.salt, 1);
        need.proceed(&keys, &mut Vec::new()).handle(server_final.as_bytes())
    };
    assert_eq!(
        sent(&format!("v={}", encode(&[0; 32]))),
        Err(ClientError::SignatureMismatch)
    );
    assert_eq!(sent("v=AAAA"), Err(ClientError::SignatureMalformed));
    assert_eq!(
        sent("e=invalid-\u{1b}proof"),
        Err(ClientError::Refused("invalid-?proof".into()))
    );
    assert_eq!(sent(""), Err(Malformed::Empty.into()));
}
