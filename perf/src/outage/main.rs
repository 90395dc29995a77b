//! `postern-outage`: a webhook hangs while ten thousand clients wait for it, and others log in by other providers: with tokens
//! of an issuer whose keys are fetched, and by the answers of another webhook. Runs without the herd and runs with it take turns; latencies stand side by side, and memory is looked at.

mod gate;
mod herd;

use std::path::PathBuf;

use clap::Parser;
use postern_issuer::{Certificate, Endpoint, Fault, Issuer, Response, Settings, now};
use postern_perf::Failure;
use postern_perf::load::{Figures, Finished, Load, Other};
use postern_perf::machine::{self, Machine};
use postern_perf::processes::raise_descriptor_limit;
use postern_perf::proofs::{PROVEN, Proofs, VALID};
use serde::Serialize;
use serde_json::json;

use crate::gate::{ANSWERED, Gate};
use crate::herd::Herd;

#[derive(Parser)]
#[command(about = "Logins of others while a webhook hangs")]
struct Arguments {
    #[arg(long)]
    server_port: u16,
    /// Of the role and database `bench` on the server.
    #[arg(long)]
    password_file: PathBuf,
    /// PEM, of the gate's TLS, and its own root.
    #[arg(long)]
    certificate: PathBuf,
    #[arg(long)]
    key: PathBuf,
    #[arg(long, default_value = "target/release/postern")]
    postern: PathBuf,
    #[arg(long, default_value = "target/release/postern-loadtest")]
    loadtest: PathBuf,
    /// Pairs of a run without the herd and one with.
    #[arg(long, default_value_t = 5)]
    pairs: u32,
    /// Of each run. The herd's first questions end 30 s after they came, so it has to be there and be looked at in less.
    #[arg(long, default_value_t = 12)]
    seconds: u64,
    /// Clients that wait for the webhook.
    #[arg(long, default_value_t = 10_000)]
    herd: u32,
    /// Transactions that the clients that stay begin in a second.
    #[arg(long, default_value_t = 2_000)]
    rate: u32,
    /// Logins in a second, by token and as many by the webhook that answers.
    #[arg(long, default_value_t = 20)]
    logins: u32,
    /// What else ran on the machine, for the record.
    #[arg(long, default_value = "nothing known")]
    beside: String,
    #[arg(long)]
    work: PathBuf,
    #[arg(long, default_value = "perf/results")]
    results: PathBuf,
}

#[derive(Serialize)]
struct Results {
    date: String,
    commit: String,
    command: String,
    beside: String,
    machine: Machine,
    pairs: Vec<Pair>,
}

#[derive(Serialize)]
struct Pair {
    alone: Run,
    beside_herd: Run,
    herd: Waiting,
}

#[derive(Serialize)]
struct Run {
    /// 16 clients that stay.
    staying: Figures,
    /// 2 clients that log in with a token for each transaction.
    coming: Figures,
    /// The same by the webhook that answers.
    answered: Figures,
}

/// What the herd was, and what became of it. Memory is the gate's resident set in bytes.
#[derive(Serialize)]
struct Waiting {
    seconds_to_gather: f64,
    /// Questions that the gate had under way or waiting, when the run began and when it ended.
    in_flight: [u64; 2],
    resident_before: u64,
    resident_with: u64,
    /// When all have been told.
    resident_after: u64,
    told: Vec<String>,
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    raise_descriptor_limit()?;
    std::fs::create_dir_all(arguments.work.join("logs"))?;
    let proofs = Proofs::make(&arguments.work)?;
    let (hanging, other) = (provider()?, provider()?);
    hanging.set_fault(Endpoint::Webhook, Fault::Hang);
    other.on_webhook(|_| Response::json(200, &json!({ "allow": true, "identity": "client" })));
    let gate = Gate::start(&arguments, &proofs, &hanging, &other)?;
    let claims = other.claims("client").valid(now(), VALID.as_secs());
    let load = Load {
        port: gate.port,
        user: PROVEN.to_owned(),
        password: other.token(claims.bound_to(&proofs.der)),
        certificate: Some((proofs.certificate.clone(), proofs.key.clone())),
        seconds: arguments.seconds,
        rate: arguments.rate,
        logins: arguments.logins,
        others: vec![Other {
            user: ANSWERED.to_owned(),
            password: "open sesame".to_owned(),
        }],
        logs: arguments.work.join("logs"),
    };
    let mut pairs = Vec::new();
    for number in 1..=arguments.pairs {
        eprintln!("pair {number} of {}", arguments.pairs);
        pairs.push(pair(&arguments, &gate, &load)?);
    }
    let results = Results {
        date: machine::date()?,
        commit: machine::commit()?,
        command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        beside: arguments.beside.clone(),
        machine: Machine::describe(Vec::new())?,
        pairs,
    };
    println!("{}", table(&results));
    let name = format!("{}-outage", results.commit);
    let path = machine::write(&arguments.results, &results.date, &name, &results)?;
    println!("{}", path.display());
    Ok(())
}

fn provider() -> Result<Issuer, Failure> {
    Ok(Issuer::start(Settings {
        certificate: Certificate::generate(),
        ..Settings::new(([127, 0, 0, 1], 0).into(), "postern")
    })?)
}

fn pair(arguments: &Arguments, gate: &Gate, load: &Load) -> Result<Pair, Failure> {
    let alone = run(load)?;
    let resident_before = gate.resident()?;
    let herd = Herd::gather(arguments, gate.port)?;
    let begun = gate.in_flight()?;
    let resident_with = gate.resident()?;
    let beside_herd = run(load)?;
    let in_flight = [begun, gate.in_flight()?];
    let (seconds_to_gather, told) = herd.disperse()?;
    Ok(Pair {
        alone,
        beside_herd,
        herd: Waiting {
            seconds_to_gather,
            in_flight,
            resident_before,
            resident_with,
            resident_after: gate.resident()?,
            told,
        },
    })
}

fn run(load: &Load) -> Result<Run, Failure> {
    let Finished {
        staying,
        coming,
        others,
    } = load.start()?.finish()?;
    let [answered] = <[Figures; 1]>::try_from(others).map_err(|_| "one webhook answers")?;
    Ok(Run {
        staying,
        coming,
        answered,
    })
}

/// Three columns.
fn compared(alone: &Figures, beside: &Figures) -> String {
    format!(
        "{:.1}, {:.1} | {:.1}, {:.1} | {:.2}",
        alone.p50_ms,
        beside.p50_ms,
        alone.p99_ms,
        beside.p99_ms,
        beside.p99_ms / alone.p99_ms
    )
}

fn table(results: &Results) -> String {
    let mut out = String::from(
        "| pair | in flight | by token, p50, ms: alone, beside | p99 | ratio of p99 | by webhook, p50, ms: alone, beside | p99 | \
         ratio of p99 | transactions p99: alone, beside | resident MiB: before, with, after |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for (number, pair) in results.pairs.iter().enumerate() {
        let (alone, beside, herd) = (&pair.alone, &pair.beside_herd, &pair.herd);
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        out += &format!(
            "| {} | {}-{} | {} | {} | {:.2}, {:.2} | {:.1}, {:.1}, {:.1} |\n",
            number + 1,
            herd.in_flight[0],
            herd.in_flight[1],
            compared(&alone.coming, &beside.coming),
            compared(&alone.answered, &beside.answered),
            alone.staying.p99_ms,
            beside.staying.p99_ms,
            mebibytes(herd.resident_before),
            mebibytes(herd.resident_with),
            mebibytes(herd.resident_after),
        );
    }
    for told in results.pairs.iter().flat_map(|pair| &pair.herd.told) {
        out += &format!("\n- {told}");
    }
    out
}
