//! The client itself: connections used again, lost, refused.

use super::server::{Reply, Server};
use super::*;

fn asked(site: &Site, user: &str) -> Answer {
    let ask = Ask::Webhook {
        provider: "hook".into(),
        origin: site.origin("hook"),
        question: question(user),
        ticket: ticket(1),
    };
    site.providers.ask(ask).unwrap();
    site.hear_webhook().1
}

const NO: &str = r#"{"allow":false}"#;

#[test]
fn a_connection_is_used_again_on_either_driver() {
    for driver in [Driver::Ring, Driver::Epoll] {
        let site = Site::on(driver, PACE, &[server::HOST]);
        let server = Server::new(|_| Reply::ok(NO));
        site.set(vec![hook("hook", webhook(&server, "/hook"))]);
        for _ in 0..5 {
            assert!(matches!(asked(&site, "al"), Answer::Denied { .. }));
        }
        assert_eq!((server.seen().len(), server.connections()), (5, 1));
    }
}

#[test]
fn an_answer_in_pieces_is_put_together_and_bounded_all_the_same() {
    let (site, server) = (Site::new(), Server::new(|_| Reply::ok(NO).in_pieces(4)));
    site.set(vec![hook("hook", webhook(&server, "/hook"))]);
    assert!(matches!(asked(&site, "al"), Answer::Denied { .. }));
    server.answer_with(|_| Reply::ok(vec![b' '; 64 * 1024 + 1]).in_pieces(1024));
    let answer = asked(&site, "al");
    assert!(
        matches!(&answer, Answer::Unavailable { why } if why.contains("longer than")),
        "{answer:?}"
    );
}

#[test]
fn a_connection_that_the_provider_closed_is_replaced_without_a_word() {
    let (site, server) = (Site::new(), Server::new(|_| Reply::ok(NO).closing()));
    site.set(vec![hook("hook", webhook(&server, "/hook"))]);
    for _ in 0..5 {
        assert!(matches!(asked(&site, "al"), Answer::Denied { .. }));
    }
    assert_eq!((server.connections(), site.status("hook").failures), (5, 0));
}

#[test]
fn nobody_there_and_no_address_are_told_apart() {
    let site = Site::new();
    let server = Server::new(|_| Reply::ok(NO));
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut nobody = webhook(&server, "/hook");
    nobody.url = format!("https://{}:{}/", server::HOST, closed.port());
    let mut nowhere = webhook(&server, "/hook");
    nowhere.url = "https://nowhere.test/".to_owned();
    for (webhook, part) in [
        (nobody, "cannot connect to 127.0.0.1"),
        (nowhere, "no address is known for nowhere.test"),
    ] {
        site.set(vec![hook("hook", webhook)]);
        let answer = asked(&site, "al");
        assert!(
            matches!(&answer, Answer::Unavailable { why } if why.contains(part)),
            "{answer:?}"
        );
    }
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let site = Site::at(PACE, &["other.test"]);
    let server = Server::new(|_| Reply::ok(NO));
    let mut other = webhook(&server, "/hook");
    other.url = server.url("/hook").replace(server::HOST, "other.test");
    site.set(vec![hook("hook", other)]);
    let answer = asked(&site, "al");
    assert!(
        matches!(&answer, Answer::Unavailable { why } if why.contains("TLS with other.test")),
        "{answer:?}"
    );
    assert!(server.seen().is_empty(), "nothing was said");
}

#[test]
fn a_peer_that_speaks_no_tls_and_one_that_never_speaks_are_given_up() {
    let site = Site::new();
    let server = Server::new(|_| Reply::ok(NO));
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ports = [silent.local_addr().unwrap().port(), plain.local_addr().unwrap().port()];
    std::thread::spawn(move || {
        for stream in plain.incoming() {
            drop(std::io::Write::write_all(
                &mut stream.unwrap(),
                b"HTTP/1.1 200 OK\r\n\r\n",
            ));
        }
    });
    for (port, part) in [(ports[0], "in the TLS handshake"), (ports[1], "TLS with")] {
        let mut odd = webhook(&server, "/hook");
        odd.url = format!("https://{}:{port}/", server::HOST);
        odd.deadline = 500;
        site.set(vec![hook("hook", odd)]);
        let answer = asked(&site, "al");
        assert!(
            matches!(&answer, Answer::Unavailable { why } if why.contains(part)),
            "{answer:?}"
        );
    }
}

#[test]
fn the_thread_ends_with_its_handle_whatever_is_under_way() {
    let (site, server) = (
        Site::new(),
        Server::new(|_| {
            std::thread::sleep(Duration::from_millis(500));
            Reply::ok(NO)
        }),
    );
    site.set(vec![hook("hook", webhook(&server, "/hook"))]);
    let ask = Ask::Webhook {
        provider: "hook".into(),
        origin: site.origin("hook"),
        question: question("al"),
        ticket: ticket(1),
    };
    site.providers.ask(ask).unwrap();
    until("it is asked", || !server.seen().is_empty());
    let window = site.providers.window();
    drop(site.providers);
    let provider = "hook".into();
    assert_eq!(
        window.ask(Ask::Refetch {
            provider,
            ticket: ticket(1)
        }),
        Ok(()),
        "nobody answers, nobody blocks"
    );
}
