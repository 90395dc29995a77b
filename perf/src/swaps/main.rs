//! `postern-swaps`: a policy of a million identities is swapped under load. Runs without swaps and runs with them take
//! turns; nothing may be lost, and latencies stand side by side.

mod gate;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use postern::identity::scram::verifier;
use postern_perf::Failure;
use postern_perf::load::{Figures, Finished, Load};
use postern_perf::machine::{self, Machine};
use postern_perf::million::{Sample, admit, model};
use postern_policy::compile::compile;
use serde::Serialize;

use crate::gate::Gate;

#[derive(Parser)]
#[command(about = "Swaps a policy of a million identities under load")]
struct Arguments {
    #[arg(long)]
    server_port: u16,
    /// Of the role and database `bench` on the server.
    #[arg(long)]
    password_file: PathBuf,
    #[arg(long, default_value = "target/release/postern")]
    postern: PathBuf,
    /// Pairs of a run without swaps and one with.
    #[arg(long, default_value_t = 3)]
    pairs: u32,
    /// Of each run.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// In each run that has swaps.
    #[arg(long, default_value_t = 10)]
    swaps: u32,
    /// Transactions that the clients that stay begin in a second; latency counts from when one was due.
    #[arg(long, default_value_t = 6_000)]
    rate: u32,
    /// Logins in a second, likewise.
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
    archive_bytes: usize,
    runs: Vec<Run>,
    /// The gate's greatest resident set, bytes.
    peak_resident: u64,
}

#[derive(Serialize)]
struct Run {
    /// From the rename to the moment at which every core had checked its sessions again, seconds each.
    swaps: Vec<f64>,
    /// 16 clients that stay.
    staying: Figures,
    /// 2 clients that log in for each transaction.
    coming: Figures,
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let policies = policies(&arguments)?;
    let archive_bytes = policies.bytes[0].len();
    let mut gate = Gate::start(&arguments.postern, &arguments.work, &policies.bytes)?;
    let load = Load {
        port: gate.port,
        user: policies.user.clone(),
        certificate: None,
        password: std::fs::read_to_string(&arguments.password_file)?.trim().to_owned(),
        seconds: arguments.seconds,
        rate: arguments.rate,
        logins: arguments.logins,
        others: Vec::new(),
        logs: arguments.work.join("logs"),
    };
    std::fs::create_dir_all(&load.logs)?;
    let mut runs = Vec::new();
    for pair in 1..=arguments.pairs {
        for swaps in [0, arguments.swaps] {
            eprintln!(
                "pair {pair} of {}: {swaps} swaps in {} s",
                arguments.pairs, arguments.seconds
            );
            runs.push(run(&load, &mut gate, swaps)?);
        }
    }
    let results = Results {
        date: machine::date()?,
        commit: machine::commit()?,
        command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        beside: arguments.beside.clone(),
        machine: Machine::describe(Vec::new())?,
        archive_bytes,
        runs,
        peak_resident: gate.peak_resident()?,
    };
    println!("{}", table(&results));
    let path = machine::write(
        &arguments.results,
        &results.date,
        &format!("{}-swaps", results.commit),
        &results,
    )?;
    println!("{}", path.display());
    Ok(())
}

struct Policies {
    user: String,
    /// Two that differ, and let the same user in.
    bytes: [Vec<u8>; 2],
}

fn policies(arguments: &Arguments) -> Result<Policies, Failure> {
    eprintln!("compiling two policies");
    let password = std::fs::read_to_string(&arguments.password_file)?;
    let sample = Sample {
        port: arguments.server_port,
        password_file: std::fs::canonicalize(&arguments.password_file)?.display().to_string(),
        ..Sample::default()
    };
    let mut model = model(&sample)?;
    let secret = verifier::make(
        password.trim().as_bytes(),
        b"a salt for swaps",
        postern_perf::million::ITERATIONS,
    );
    let user = admit(&mut model, secret, "bench", "bench").ok_or("nobody to let in")?;
    let first = compile(&model)?;
    model.denies.pop_last().ok_or("no deny to take out")?;
    let bytes = [first, compile(&model)?];
    Ok(Policies { user, bytes })
}

fn run(load: &Load, gate: &mut Gate, swaps: u32) -> Result<Run, Failure> {
    let running = load.start()?;
    let every = Duration::from_secs(load.seconds) / (swaps + 1);
    let began = Instant::now();
    let mut took = Vec::new();
    for number in 1..=swaps {
        std::thread::sleep((every * number).saturating_sub(began.elapsed()));
        took.push(gate.swap()?.as_secs_f64());
    }
    let Finished { staying, coming, .. } = running.finish()?;
    Ok(Run {
        swaps: took,
        staying,
        coming,
    })
}

fn table(results: &Results) -> String {
    let mut out = format!(
        "Snapshots of {:.1} MiB; greatest resident set of the gate {:.0} MiB. No transaction failed, no connection was lost.\n\n\
         | swaps | taken up within, s (median, most) | staying: transactions | p50, ms | p99, ms | p99.9, ms | coming: logins | p50, ms | p99, ms |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        results.archive_bytes as f64 / f64::from(1 << 20),
        results.peak_resident as f64 / f64::from(1 << 20),
    );
    for run in &results.runs {
        let (staying, coming) = (&run.staying, &run.coming);
        out += &format!(
            "| {} | {} | {} | {:.3} | {:.3} | {:.3} | {} | {:.1} | {:.1} |\n",
            run.swaps.len(),
            within(&run.swaps),
            staying.transactions,
            staying.p50_ms,
            staying.p99_ms,
            staying.p999_ms,
            coming.transactions,
            coming.p50_ms,
            coming.p99_ms,
        );
    }
    out
}

fn within(swaps: &[f64]) -> String {
    let mut sorted = swaps.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.get(sorted.len() / 2), sorted.last()) {
        (Some(median), Some(most)) => format!("{median:.2}, {most:.2}"),
        (_, _) => "-".to_owned(),
    }
}
