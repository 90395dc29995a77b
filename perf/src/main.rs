//! `postern-bench`: pgbench and COPY through Postern and its peers, in interleaved rounds against one PostgreSQL.
//!
//! `scripts/bench` starts PostgreSQL, builds Postern and calls this. Every round runs each scenario against every target
//! in an order that rotates, so that whatever drifts on the machine falls on all of them alike; what counts are the
//! ratios within a round. Nothing is left out: failures and losses stand in the tables beside the rest.

mod cpu;
mod gates;
mod measure;
mod plot;
mod report;
mod results;
mod scenario;
mod statistics;

use std::path::{Path, PathBuf};

use clap::Parser;
pub use postern_perf::Failure;
use postern_perf::machine::{self, Machine};

use crate::gates::Gates;
use crate::measure::Measure;
use crate::results::{Outcome, Results, Series};
use crate::scenario::{SCENARIOS, Scenario, Target};

#[derive(Parser)]
#[command(about = "Measures Postern beside direct connections, PgBouncer and HAProxy")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Run the rounds, write the JSON, then the plots and tables.
    Run(Box<Run>),
    /// Write plots and tables again from a JSON file.
    Report {
        results: PathBuf,
        #[arg(long, default_value = "docs")]
        docs: PathBuf,
    },
}

#[derive(clap::Args)]
struct Run {
    /// Three short rounds: a look, not a result.
    #[arg(long)]
    quick: bool,
    #[arg(long)]
    rounds: Option<u32>,
    /// Seconds of each pgbench run.
    #[arg(long)]
    seconds: Option<u32>,
    /// Only scenarios whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Threads of Postern and of HAProxy where all CPUs are theirs; PgBouncer has one, whatever is said here.
    #[arg(long, default_value_t = 1)]
    threads: u32,
    /// Further arguments of pgbench, which win over a scenario's: `-c 256 -j 4`.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    pgbench: String,
    /// What else ran on the machine, for the record.
    #[arg(long, default_value = "nothing known")]
    beside: String,
    #[command(flatten)]
    server: gates::Server,
    #[arg(long)]
    postern: PathBuf,
    #[arg(long, default_value = "pgbouncer")]
    pgbouncer: PathBuf,
    #[arg(long, default_value = "haproxy")]
    haproxy: PathBuf,
    /// Configurations, logs and the record; must be reachable for an unprivileged user.
    #[arg(long)]
    work: PathBuf,
    #[arg(long, default_value = "perf/results")]
    results: PathBuf,
    #[arg(long, default_value = "docs")]
    docs: PathBuf,
}

fn main() -> Result<(), Failure> {
    match Arguments::parse().command {
        Command::Run(run) => {
            let results = rounds(&run)?;
            let path = results.write(&run.results)?;
            println!("{}", report::tables(&results));
            if run.is_whole() {
                publish(&results, &path, &run.docs)
            } else {
                println!("{} (not a whole run: no document was changed)", path.display());
                Ok(())
            }
        }
        Command::Report { results, docs } => publish(&Results::read(&results)?, &results, &docs),
    }
}

impl Run {
    /// Documents have figures of whole runs.
    fn is_whole(&self) -> bool {
        !self.quick && self.only.is_empty() && self.pgbench.is_empty() && self.threads == 1
    }
}

fn publish(results: &Results, path: &Path, docs: &Path) -> Result<(), Failure> {
    plot::draw(results, docs)?;
    report::into_page(results, path, &docs.join("performance.md"))?;
    println!("{} and {}", path.display(), docs.join("performance.md").display());
    Ok(())
}

fn rounds(run: &Run) -> Result<Results, Failure> {
    let rounds = run.rounds.unwrap_or(if run.quick { 3 } else { 7 });
    let seconds = run.seconds.unwrap_or(if run.quick { 1 } else { 6 });
    let scenarios: Vec<&Scenario> = SCENARIOS.iter().filter(|each| each.name.contains(&run.only)).collect();
    let gates = Gates::start(run)?;
    let measure = Measure {
        gates: &gates,
        seconds,
        further: &run.pgbench,
        copy_rows: if run.quick { 100_000 } else { 500_000 },
    };
    let mut results = Results {
        date: machine::date()?,
        commit: machine::commit()?,
        quick: run.quick,
        rounds,
        seconds,
        threads: run.threads,
        pgbench: run.pgbench.clone(),
        beside: run.beside.clone(),
        machine: Machine::describe(versions(run)?)?,
        series: Vec::new(),
    };
    for scenario in &scenarios {
        for target in scenario.targets() {
            let mut series = Series::new(scenario, target);
            series.missing = gates.missing(scenario, target);
            results.series.push(series);
        }
    }
    let runs = results.series.iter().filter(|each| each.missing.is_none()).count();
    let mut progress = Progress::new(runs * (rounds as usize + 1));
    for scenario in &scenarios {
        for target in scenario
            .targets()
            .filter(|target| gates.missing(scenario, *target).is_none())
        {
            progress.step("warm-up", scenario, target);
            measure.warm_up(scenario, target);
        }
    }
    for round in 0..rounds {
        for scenario in &scenarios {
            for target in Target::rotated(round as usize) {
                let Some(series) = results.series_of(scenario.name, target) else {
                    continue;
                };
                if series.missing.is_some() {
                    continue;
                }
                progress.step(&format!("round {}/{rounds}", round + 1), scenario, target);
                series.outcomes.push(match measure.run(scenario, target) {
                    Ok(sample) => Outcome::Measured(sample),
                    Err(failure) => Outcome::Failed(failure.to_string()),
                });
            }
        }
    }
    progress.end();
    Ok(results)
}

/// One line of each program.
fn versions(run: &Run) -> Result<Vec<String>, Failure> {
    Ok(vec![
        machine::first_line(&run.postern, &["--version"])?,
        machine::version_of_process(run.server.server_pid)?,
        machine::first_line(Path::new("pgbench"), &["--version"])?,
        machine::first_line(&run.pgbouncer, &["--version"])?,
        machine::first_line(&run.haproxy, &["-v"])?,
    ])
}

/// One line on standard error that is written over.
struct Progress {
    done: usize,
    all: usize,
    began: std::time::Instant,
}

impl Progress {
    fn new(all: usize) -> Self {
        Self {
            done: 0,
            all,
            began: std::time::Instant::now(),
        }
    }

    fn step(&mut self, phase: &str, scenario: &Scenario, target: Target) {
        self.done += 1;
        let (done, all, seconds) = (self.done, self.all, self.began.elapsed().as_secs());
        eprint!(
            "\r\x1b[K[{done}/{all}] {seconds}s  {phase}: {} / {}",
            scenario.name,
            target.title()
        );
    }

    fn end(&self) {
        eprintln!("\r\x1b[K{} runs in {}s", self.done, self.began.elapsed().as_secs());
    }
}
