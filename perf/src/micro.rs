//! `postern-micro`: single operations of the data path and of a login. Nanoseconds from the clock; with `--instructions`
//! also instructions from callgrind, which do not depend on what else the machine does.

mod operations;
mod tokens;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use clap::Parser;
use postern_perf::machine::{self, Machine};
use serde::Serialize;

use operations::{OPERATIONS, Operation};

/// Whatever stops the benchmark is told to a person as text.
type Failure = Box<dyn std::error::Error>;

#[derive(Parser)]
#[command(about = "Nanoseconds and instructions of single operations")]
struct Arguments {
    /// Run each operation under callgrind too.
    #[arg(long)]
    instructions: bool,
    /// Only operations whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Run the operations so often and print nothing: what callgrind looks at.
    #[arg(long)]
    silently: Option<u32>,
    /// The figures go there too, with the machine and the commit.
    #[arg(long, conflicts_with = "only")]
    results: Option<PathBuf>,
    /// Print new tokens for `perf/src/tokens.json` and do nothing else.
    #[arg(long)]
    sign: bool,
}

#[derive(Serialize)]
struct Results {
    date: String,
    commit: String,
    machine: Machine,
    operations: Vec<Figures>,
}

#[derive(Serialize)]
struct Figures {
    name: &'static str,
    title: &'static str,
    nanoseconds: f64,
    instructions: Option<f64>,
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    if arguments.sign {
        println!("{}", tokens::sign()?);
        return Ok(());
    }
    let chosen = OPERATIONS
        .iter()
        .filter(|operation| operation.name.contains(&arguments.only));
    if let Some(times) = arguments.silently {
        for operation in chosen {
            let mut once = (operation.prepare)()?;
            (0..times).try_for_each(|_| once())?;
        }
        return Ok(());
    }
    println!("| operation | ns | instructions |\n| --- | --- | --- |");
    let mut operations = Vec::new();
    for operation in chosen {
        let figures = Figures {
            name: operation.name,
            title: operation.title,
            instructions: arguments.instructions.then(|| instructions(operation)).transpose()?,
            nanoseconds: nanoseconds(operation)?,
        };
        let instructions = figures
            .instructions
            .map_or("-".to_owned(), |count| format!("{count:.0}"));
        println!("| {} | {:.1} | {instructions} |", figures.title, figures.nanoseconds);
        operations.push(figures);
    }
    match arguments.results {
        Some(directory) => write(&directory, operations),
        None => Ok(()),
    }
}

fn write(directory: &Path, operations: Vec<Figures>) -> Result<(), Failure> {
    let results = Results {
        date: machine::date()?,
        commit: machine::commit()?,
        machine: Machine::describe(Vec::new())?,
        operations,
    };
    let name = format!("{}-micro", results.commit);
    let path = machine::write(directory, &results.date, &name, &results)?;
    println!("{}", path.display());
    Ok(())
}

/// The best of seven, since whatever disturbs only adds.
fn nanoseconds(operation: &Operation) -> Result<f64, Failure> {
    let mut once = (operation.prepare)()?;
    let mut best = f64::INFINITY;
    for _ in 0..7 {
        let began = Instant::now();
        (0..operation.times).try_for_each(|_| once())?;
        best = best.min(began.elapsed().as_nanos() as f64);
    }
    Ok(best / f64::from(operation.times) / f64::from(operation.parts))
}

/// What two runs of different length differ by, so that preparing does not count.
fn instructions(operation: &Operation) -> Result<f64, Failure> {
    let (few, many) = (operation.times / 20, operation.times / 10);
    let difference = collected(operation, many)? - collected(operation, few)?;
    Ok(difference / f64::from(many - few) / f64::from(operation.parts))
}

fn collected(operation: &Operation, times: u32) -> Result<f64, Failure> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["--only", operation.name, "--silently", &times.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().find_map(|line| line.split_once("Collected :"));
    let count = line.and_then(|(_, count)| count.trim().parse().ok());
    count.ok_or_else(|| format!("callgrind said\n{said}").into())
}
