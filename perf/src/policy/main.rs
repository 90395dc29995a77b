//! `postern-policy-bench`: what a policy of a million identities costs: to compile, to load as a gate loads a dropped
//! `.snapshot`, and to decide against.

mod allocations;
mod timing;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use postern::control::load;
use postern::control::sealed::Sealed;
use postern_perf::Failure;
use postern_perf::machine::{self, Machine};
use postern_perf::million::{IDENTITIES, Kind, Question, Questions, Sample, Share, model};
use postern_policy::compile::compile;
use postern_policy::model::Model;
use postern_policy::snapshot::Snapshot;
use serde::Serialize;

use crate::allocations::Counting;
use crate::timing::{Latency, Timing, of_the_clock};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Parser)]
#[command(about = "Compiles, loads and asks a policy of a million identities")]
struct Arguments {
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value_t = IDENTITIES)]
    identities: usize,
    /// Questions of each kind.
    #[arg(long, default_value_t = 1_000_000)]
    questions: usize,
    /// How often it is loaded, and each kind of question asked.
    #[arg(long, default_value_t = 5)]
    repetitions: u32,
    /// What else ran on the machine, for the record.
    #[arg(long, default_value = "nothing known")]
    beside: String,
    /// A directory of its own, for the snapshot.
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
    seed: u64,
    identities: usize,
    archive_bytes: u64,
    compile_seconds: f64,
    /// Of each repetition.
    loads: Vec<Load>,
    clock: Latency,
    /// Repetition by repetition.
    latencies: Vec<Latency>,
}

/// Seconds. The parts come from another run over the same file than the whole.
#[derive(Debug, Serialize)]
struct Load {
    /// As the gate does it: the directory is read, copied into sealed memory, checked, and its trust anchors are parsed.
    whole: f64,
    /// The copy into sealed memory.
    copy: f64,
    /// Hash, layout, references, indexes and the rules of a policy.
    checks: f64,
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let sample = Sample {
        seed: arguments.seed,
        identities: arguments.identities,
        ..Sample::default()
    };
    say("making the model");
    let model = model(&sample)?;
    say("compiling it");
    let began = Instant::now();
    let bytes = compile(&model)?;
    let compile_seconds = began.elapsed().as_secs_f64();
    let file = write(&arguments.work, &bytes)?;
    say("loading it");
    let loads = (0..arguments.repetitions)
        .map(|_| loads(&file))
        .collect::<Result<_, _>>()?;
    let results = Results {
        date: machine::date()?,
        commit: machine::commit()?,
        command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        beside: arguments.beside.clone(),
        machine: Machine::describe(Vec::new())?,
        seed: arguments.seed,
        identities: arguments.identities,
        archive_bytes: bytes.len() as u64,
        compile_seconds,
        loads,
        clock: of_the_clock(1_000_000)?,
        latencies: latencies(&arguments, &model, &file)?,
    };
    println!("{}", table(&results));
    let path = machine::write(
        &arguments.results,
        &results.date,
        &format!("{}-policy", results.commit),
        &results,
    )?;
    println!("{}", path.display());
    let allocating = results.latencies.iter().find(|latency| latency.allocations > 0);
    allocating.map_or(Ok(()), |latency| Err(format!("{} allocates", latency.what).into()))
}

/// In a directory that a gate would take.
fn write(work: &Path, bytes: &[u8]) -> Result<PathBuf, Failure> {
    let directory = work.join("policy");
    std::fs::create_dir_all(&directory)?;
    let file = directory.join("million.snapshot");
    std::fs::write(&file, bytes)?;
    Ok(file)
}

fn loads(file: &Path) -> Result<Load, Failure> {
    let directory = file.parent().ok_or("a directory")?;
    let began = Instant::now();
    let in_force = load::attempt(directory, 1).outcome?;
    let whole = began.elapsed().as_secs_f64();
    drop(in_force);
    let began = Instant::now();
    let sealed = Sealed::copy_of(std::fs::File::open(file)?)?;
    let copy = began.elapsed().as_secs_f64();
    let began = Instant::now();
    Snapshot::load(Box::new(sealed), 1)?;
    let checks = began.elapsed().as_secs_f64();
    Ok(Load { whole, copy, checks })
}

/// Every repetition draws other questions, and each is asked once: whatever it needs is as cold as a client finds it.
fn latencies(arguments: &Arguments, model: &Model, file: &Path) -> Result<Vec<Latency>, Failure> {
    let snapshot = Snapshot::load(Box::new(Sealed::copy_of(std::fs::File::open(file)?)?), 1)?;
    let mut latencies = Vec::new();
    for repetition in 0..arguments.repetitions {
        say(&format!("asking, {} of {}", repetition + 1, arguments.repetitions));
        let seed = arguments.seed ^ (u64::from(repetition) + 1) << 32;
        let draw = |share| Questions::draw(model, seed, arguments.questions, share);
        latencies.push(decisions(&snapshot, &draw(Share::Decision))?);
        for kind in Kind::ALL {
            latencies.push(lookups(&snapshot, &draw(Share::Lookup(kind)), kind)?);
        }
        latencies.extend(whole(&snapshot, &draw(Share::Whole))?);
    }
    Ok(latencies)
}

/// `decide` by itself. The identities are looked up before, all of them, so that nothing of one is left in a cache.
fn decisions(snapshot: &Snapshot, questions: &Questions) -> Result<Latency, Failure> {
    let providers: Vec<_> = snapshot.certificate_authorities().map(|(id, _)| id).collect();
    let resolve = |question: &Question| question.ask(|lookup| lookup.resolve(snapshot, &providers));
    let identities: Vec<_> = questions.0.iter().map(resolve).collect();
    let mut timing = Timing::new()?;
    for (question, identity) in questions.0.iter().zip(identities) {
        // The policy is cold, the question is not: a gate has just parsed it.
        let question = question.clone();
        let facts = question.facts(identity.ok_or("an identity that the policy knows")?);
        let decided = timing.time(|| snapshot.decide(&facts));
        expect(decided.is_ok() == question.granted)?;
    }
    Ok(timing.latency("decide, cold"))
}

fn lookups(snapshot: &Snapshot, questions: &Questions, kind: Kind) -> Result<Latency, Failure> {
    let providers: Vec<_> = snapshot.certificate_authorities().map(|(id, _)| id).collect();
    let mut timing = Timing::new()?;
    for question in &questions.0 {
        let question = question.clone();
        let found = question.ask(|lookup| timing.time(|| lookup.resolve(snapshot, &providers)));
        expect(found.is_some() == question.known)?;
    }
    Ok(timing.latency(&format!("identity by {}", kind.title())))
}

/// What a client's way to its permit asks of the policy, one after the other as in the gate.
fn whole(snapshot: &Snapshot, questions: &Questions) -> Result<[Latency; 4], Failure> {
    let providers: Vec<_> = snapshot.certificate_authorities().map(|(id, _)| id).collect();
    let (mut rule, mut identity, mut decide, mut all) =
        (Timing::new()?, Timing::new()?, Timing::new()?, Timing::new()?);
    for question in &questions.0 {
        let question = question.clone();
        let granted = question.ask(|lookup| {
            all.time(|| {
                rule.time(|| snapshot.authentication_rule(&question.arrival()))?;
                let found = identity.time(|| lookup.resolve(snapshot, &providers))?;
                decide.time(|| snapshot.decide(&question.facts(found))).ok()
            })
        });
        expect(granted.is_some() == question.granted)?;
    }
    Ok([
        rule.latency("on the way to a permit: authentication rule"),
        identity.latency("on the way to a permit: identity"),
        decide.latency("on the way to a permit: decide"),
        all.latency("on the way to a permit: all three and their clocks"),
    ])
}

fn expect(as_drawn: bool) -> Result<(), Failure> {
    as_drawn
        .then_some(())
        .ok_or_else(|| "the policy answers otherwise than was drawn".into())
}

/// Of repetitions the median: whatever disturbs one does not count.
fn table(results: &Results) -> String {
    let mut text = format!(
        "{} identities: a snapshot of {:.1} MiB, compiled in {:.2} s\n\n| load, seconds | best | median |\n| --- | --- | --- |\n",
        results.identities,
        results.archive_bytes as f64 / f64::from(1 << 20),
        results.compile_seconds
    );
    type Part = fn(&Load) -> f64;
    let parts: [(&str, Part); 3] = [
        ("as a dropped file, whole", |load| load.whole),
        ("of it: copy into sealed memory", |load| load.copy),
        ("of it: hash, layout, indexes, rules", |load| load.checks),
    ];
    for (what, part) in parts {
        let mut figures: Vec<f64> = results.loads.iter().map(part).collect();
        figures.sort_by(f64::total_cmp);
        let (best, median) = (figures[0], figures[figures.len() / 2]);
        text += &format!("| {what} | {best:.3} | {median:.3} |\n");
    }
    text += "\n| nanoseconds, the clock's included | median | p90 | p99 | p99.9 | allocations |\n| --- | --- | --- | --- | --- | --- |\n";
    text += &row(&[&results.clock]);
    let mut seen: Vec<&str> = Vec::new();
    for latency in &results.latencies {
        if !seen.contains(&latency.what.as_str()) {
            seen.push(&latency.what);
            let all: Vec<_> = results
                .latencies
                .iter()
                .filter(|other| other.what == latency.what)
                .collect();
            text += &row(&all);
        }
    }
    text
}

fn row(repetitions: &[&Latency]) -> String {
    let median = |figure: fn(&Latency) -> u64| {
        let mut figures: Vec<u64> = repetitions.iter().map(|latency| figure(latency)).collect();
        figures.sort_unstable();
        figures[figures.len() / 2]
    };
    let allocations: u64 = repetitions.iter().map(|latency| latency.allocations).sum();
    format!(
        "| {} | {} | {} | {} | {} | {allocations} |\n",
        repetitions[0].what,
        median(|latency| latency.median),
        median(|latency| latency.p90),
        median(|latency| latency.p99),
        median(|latency| latency.p999)
    )
}

fn say(what: &str) {
    eprintln!("{what}");
}
