use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::channel;

use super::super::latency::LatencyTotals;
use super::super::lifecycle::Lifecycle;
use super::super::messages::{Cores, Notice};
use super::super::runtime::Runner;
use super::super::scratch::{Scratch, recorder};
use super::*;
use crate::audit::Writer;
use crate::metrics::{Metrics, Stage};

struct Site {
    address: SocketAddr,
    pages: Arc<Pages>,
    _runner: Runner,
    _writer: Writer,
    _dir: Scratch,
}

/// A running admin address whose single core answers latency requests at once, with one decision in each.
fn site(epoll: bool) -> Site {
    let dir = Scratch::new();
    let writer = recorder(&dir);
    let latencies = Arc::new(LatencyTotals::new(1));
    let answering = latencies.clone();
    let tell = move |core, notice| {
        if let Notice::ExchangeLatencies(mut set) = notice {
            set.record(Stage::Decision, 300);
            let totals = answering.clone();
            std::thread::spawn(move || totals.merge(core, set));
        }
        Ok(())
    };
    let pages = Arc::new(Pages {
        metrics: Arc::new(Metrics::new(1)),
        latencies,
        lifecycle: Arc::new(Lifecycle::new(1)),
        cores: Arc::new(Cores::new(1, Box::new(tell))),
        recorder: writer.recorder(),
        providers: Box::new(Vec::new),
        show_metrics: true,
    });
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let served = pages.clone();
    let work = move || async move { serve(listener, served).await.map(|_| ()).unwrap() };
    let runner = if epoll {
        Runner::on_epoll(work)
    } else {
        Runner::start(work)
    }
    .unwrap();
    Site {
        address,
        pages,
        _runner: runner,
        _writer: writer,
        _dir: dir,
    }
}

/// Status and body of one request on a connection of its own.
fn request(site: &Site, text: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(site.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    (
        status,
        answer
            .split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned())
            .unwrap_or_default(),
    )
}

fn get(site: &Site, path: &str) -> (u16, String) {
    request(
        site,
        &format!("GET {path} HTTP/1.1\r\nHost: postern\r\nConnection: close\r\n\r\n"),
    )
}

#[test]
fn the_pages_come_over_a_real_socket_on_either_driver() {
    for epoll in [false, true] {
        let site = site(epoll);
        assert_eq!(get(&site, "/healthz"), (200, "ok\n".into()), "epoll: {epoll}");
        assert_eq!(get(&site, "/nothing").0, 404);
        assert_eq!(
            request(&site, "POST /metrics HTTP/1.1\r\nHost: p\r\nConnection: close\r\n\r\n").0,
            405
        );
    }
}

#[test]
fn a_scrape_gathers_what_the_cores_measured() {
    let site = site(false);
    get(&site, "/metrics");
    let (status, body) = get(&site, "/metrics");
    assert_eq!(status, 200);
    assert!(
        body.contains("postern_stage_duration_seconds_count{stage=\"decision\"} 2\n"),
        "{body}"
    );
    assert!(body.contains("postern_audit_healthy_count 1\n"));
}

#[test]
fn readiness_names_what_is_missing() {
    let site = site(false);
    let (status, body) = get(&site, "/readyz");
    assert_eq!((status, body.lines().count()), (503, 4));
    assert!(body.contains("policy: no policy in force\n"));
    assert!(body.contains("listeners: not every core accepts\n"));
    site.pages.metrics.control.policy_generation.set(1);
    site.pages.lifecycle.core_accepts();
    assert_eq!(get(&site, "/readyz").0, 200);
    site.pages.lifecycle.begin_drain();
    let (status, body) = get(&site, "/readyz");
    assert_eq!(status, 503);
    assert!(body.contains("draining: the process is draining\n"));
    assert_eq!(get(&site, "/healthz").0, 200, "the process is up while it drains");
}

#[test]
fn an_endless_head_is_cut_off() {
    let site = site(false);
    let mut stream = TcpStream::connect(site.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // The peer may close while this is still writing: that is an end like any other.
    let refused = (0..1000).any(|_| stream.write_all(&[b'x'; 1024]).is_err());
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => assert!(refused || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}"),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
    assert_eq!(get(&site, "/healthz").0, 200, "others are served");
}

#[test]
fn silent_connections_do_not_keep_others_out_for_long() {
    let site = site(false);
    let silent: Vec<TcpStream> = (0..MAX_CONNECTIONS)
        .map(|_| TcpStream::connect(site.address).unwrap())
        .collect();
    let (sender, done) = channel();
    std::thread::scope(|scope| {
        scope.spawn(|| sender.send(get(&site, "/healthz").0).unwrap());
        assert_eq!(done.recv_timeout(HEAD_DEADLINE * 2).unwrap(), 200);
    });
    drop(silent);
}

#[test]
fn an_address_that_others_can_reach_is_refused() {
    assert!(bind("0.0.0.0:0".parse().unwrap()).is_err());
}
