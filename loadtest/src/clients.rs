//! Clients that log in: held idle, all at once, or over and over.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use monoio::net::TcpStream;
use postern::identity::scram::{Keys, derive};
use postern::upstream::login::{Channel, Login, LoginRequest, Progress};
use postern::wire::error::Fields;
use postern::wire::parameters::Replication;
use postern_policy::model::ServerMethod;

use crate::exchange::Exchange;
use crate::{Failure, connect, seconds};

#[derive(clap::Args)]
pub struct Options {
    target: SocketAddr,
    #[arg(long, default_value_t = 1_000)]
    sessions: u32,
    /// Logins under way at once.
    #[arg(long, default_value_t = 64)]
    at_once: u32,
    #[arg(long, default_value = "load")]
    user: String,
    #[arg(long, default_value = "load")]
    database: String,
    #[arg(long, default_value = "load")]
    password: String,
    /// Queries of a session that churns, before it goes.
    #[arg(long, default_value_t = 1)]
    queries: u32,
    /// How long to hold, or to go on.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Microseconds; a login that takes longer counts as this long.
const LONGEST_LOGIN: u64 = 600_000_000;

/// What the tasks of one process share.
struct Herd {
    options: Options,
    next: RefCell<u32>,
    keys: RefCell<BTreeMap<(Vec<u8>, u32), Keys>>,
    /// Microseconds from connect to ReadyForQuery.
    logins: RefCell<Histogram<u64>>,
    failures: RefCell<BTreeMap<String, u32>>,
    began: Instant,
}

/// Opens the sessions, says so on standard output, holds them, and tells how many are still there.
pub async fn idle(options: Options) -> Result<(), Failure> {
    let hold = seconds(options.seconds);
    let herd = Herd::new(options)?;
    let sessions = herd.clone().open_all(herd.options.at_once, true).await;
    herd.report();
    println!("holding {}", sessions.len());
    monoio::time::sleep(hold).await;
    let mut alive = 0;
    for session in sessions {
        alive += u32::from(ask_often(session, 1, Instant::now()).await.is_ok());
    }
    println!("{alive} answered at the end");
    Ok(())
}

/// As many at once as there are sessions.
pub async fn storm(options: Options) -> Result<(), Failure> {
    let herd = Herd::new(options)?;
    herd.clone().open_all(herd.options.sessions, false).await;
    herd.report();
    Ok(())
}

/// Connects, asks, goes, until the time is over.
pub async fn churn(options: Options) -> Result<(), Failure> {
    let herd = Herd::new(options)?;
    let end = herd.began + seconds(herd.options.seconds);
    let workers = (0..herd.options.at_once).map(|_| monoio::spawn(churn_until(herd.clone(), end)));
    for worker in workers.collect::<Vec<_>>() {
        worker.await;
    }
    herd.report();
    Ok(())
}

async fn churn_until(herd: Rc<Herd>, end: Instant) {
    while Instant::now() < end {
        let nth = herd.take(u32::MAX).unwrap_or_default();
        if let Some(session) = herd.login(nth).await
            && let Err(error) = ask_often(session, herd.options.queries, end).await
        {
            herd.failed(&error);
        }
    }
}

/// Empty queries, one at least, then Terminate.
async fn ask_often(session: TcpStream, times: u32, end: Instant) -> Result<(), Failure> {
    let mut exchange = Exchange::new(session);
    for _ in 0..times {
        exchange.send(b"Q\0\0\0\x05\0".to_vec()).await?;
        exchange.until_ready().await?;
        if Instant::now() >= end {
            break;
        }
    }
    exchange.send(b"X\0\0\0\x04".to_vec()).await
}

impl Herd {
    fn new(options: Options) -> Result<Rc<Self>, Failure> {
        Ok(Rc::new(Self {
            options,
            next: RefCell::default(),
            keys: RefCell::default(),
            logins: RefCell::new(Histogram::new_with_bounds(1, LONGEST_LOGIN, 3)?),
            failures: RefCell::default(),
            began: Instant::now(),
        }))
    }

    async fn open_all(self: Rc<Self>, at_once: u32, keep: bool) -> Vec<TcpStream> {
        let workers = (0..at_once).map(|_| {
            let herd = self.clone();
            monoio::spawn(async move {
                let mut sessions = Vec::new();
                while let Some(nth) = herd.take(herd.options.sessions) {
                    let session = herd.login(nth).await;
                    sessions.extend(session.filter(|_| keep));
                    herd.progress(nth);
                }
                sessions
            })
        });
        let mut sessions = Vec::new();
        for worker in workers.collect::<Vec<_>>() {
            sessions.extend(worker.await);
        }
        sessions
    }

    fn take(&self, end: u32) -> Option<u32> {
        let mut next = self.next.borrow_mut();
        let mine = *next;
        *next += u32::from(mine < end);
        (mine < end).then_some(mine)
    }

    /// None after a failure, which is counted.
    async fn login(&self, nth: u32) -> Option<TcpStream> {
        let began = Instant::now();
        match self.try_login(nth).await {
            Ok(session) => {
                let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.logins.borrow_mut().saturating_record(took);
                Some(session)
            }
            Err(error) => {
                self.failed(&error);
                None
            }
        }
    }

    async fn try_login(&self, nth: u32) -> Result<TcpStream, Failure> {
        let options = &self.options;
        let mut exchange = Exchange::new(connect(options.target, nth).await?);
        let request = LoginRequest {
            role: &options.user,
            database: &options.database,
            replication: Replication::No,
            methods: &BTreeSet::from([ServerMethod::ScramSha256, ServerMethod::Trust]),
            has_password: true,
            channel: Channel::Plain,
            nonce: crate::fake::random()?,
            max_iterations: 100_000,
        };
        let mut out = Vec::new();
        let mut login = Login::start(&request, [("application_name", "postern-loadtest")], &mut out)?;
        loop {
            if !out.is_empty() {
                exchange.send(std::mem::take(&mut out)).await?;
            }
            let message = exchange.message().await?;
            if message.message().tag == b'E' {
                return Err(told(message.message().body).into());
            }
            match login.handle(message.message(), &mut out)? {
                Progress::Continue => {}
                Progress::NeedPassword => return Err("only SCRAM is spoken here".into()),
                Progress::NeedKeys { salt, iterations } => {
                    login.give_keys(&self.keys_for(salt, iterations), &mut out)?;
                }
                Progress::Ready(_) => return Ok(exchange.into_stream()),
            }
        }
    }

    /// Derived once for each salt: a herd that derives keys measures itself.
    fn keys_for(&self, salt: Vec<u8>, iterations: u32) -> Keys {
        let mut keys = self.keys.borrow_mut();
        let password = self.options.password.as_bytes();
        let made = |(salt, iterations): &(Vec<u8>, u32)| derive(password, salt, *iterations);
        keys.entry((salt, iterations)).or_insert_with_key(made).clone()
    }

    fn failed(&self, error: &Failure) {
        *self.failures.borrow_mut().entry(error.to_string()).or_default() += 1;
    }

    fn progress(&self, nth: u32) {
        if nth % 1_000 == 999 {
            eprintln!("{} of {}, {:.1?}", nth + 1, self.options.sessions, self.began.elapsed());
        }
    }

    fn report(&self) {
        let logins = self.logins.borrow();
        let at = |quantile| Duration::from_micros(logins.value_at_quantile(quantile));
        println!(
            "{} logins in {:.2?}: p50 {:?}, p99 {:?}, p99.9 {:?}, max {:?}",
            logins.len(),
            self.began.elapsed(),
            at(0.5),
            at(0.99),
            at(0.999),
            Duration::from_micros(logins.max()),
        );
        for (why, count) in &*self.failures.borrow() {
            println!("{count} failed: {why}");
        }
    }
}

/// SQLSTATE and text of an ErrorResponse.
pub fn told(body: &[u8]) -> String {
    match Fields::decode(body) {
        Ok(fields) => {
            let text = |code| String::from_utf8_lossy(fields.get(code).unwrap_or_default()).into_owned();
            format!("{}: {}", text(b'C'), text(b'M'))
        }
        Err(error) => format!("an ErrorResponse that cannot be read: {error}"),
    }
}
