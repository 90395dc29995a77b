//! What was measured, as it is kept: raw figures of every run. Tables and plots are made from this alone.

use std::path::{Path, PathBuf};

use postern_perf::machine::{self, Machine};
use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::scenario::{Load, Scenario, Target};

#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    /// UTC.
    pub date: String,
    pub commit: String,
    pub quick: bool,
    pub rounds: u32,
    /// Of each pgbench run.
    pub seconds: u32,
    /// Of Postern and of HAProxy where all CPUs are theirs; PgBouncer has one.
    pub threads: u32,
    /// Arguments of pgbench that won over the scenarios'.
    #[serde(default)]
    pub pgbench: String,
    /// What else ran on the machine.
    pub beside: String,
    pub machine: Machine,
    pub series: Vec<Series>,
}

/// One scenario against one target, in the order of the rounds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Series {
    pub scenario: String,
    pub title: String,
    pub target: Target,
    pub unit: Unit,
    /// Why it was not run.
    pub missing: Option<String>,
    pub outcomes: Vec<Outcome>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Transactions,
    /// Gigabytes of 10^9 bytes.
    Gigabytes,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Measured(Sample),
    Failed(String),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Sample {
    /// Units a second, as the client sees it.
    pub per_second: f64,
    /// Mean of a transaction, or of the whole COPY.
    pub latency_ms: f64,
    /// Units in the run.
    pub work: f64,
    /// Of the proxy, all threads; none for direct connections.
    pub cpu_seconds: Option<f64>,
}

impl Sample {
    /// CPU seconds of the proxy per 100,000 transactions or per GB.
    pub fn cpu_per_unit(&self, unit: Unit) -> Option<f64> {
        let share = match unit {
            Unit::Transactions => self.work / 100_000.0,
            Unit::Gigabytes => self.work,
        };
        self.cpu_seconds.map(|seconds| seconds / share)
    }
}

impl Series {
    pub fn new(scenario: &Scenario, target: Target) -> Self {
        Self {
            scenario: scenario.name.to_owned(),
            title: scenario.title.to_owned(),
            target,
            unit: match scenario.load {
                Load::Pgbench(_) => Unit::Transactions,
                Load::CopyOut => Unit::Gigabytes,
            },
            missing: None,
            outcomes: Vec::new(),
        }
    }

    /// The rounds that succeeded.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.outcomes.iter().filter_map(measured)
    }

    /// What failed, and in how many rounds.
    pub fn failures(&self) -> impl Iterator<Item = &str> {
        self.outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Measured(_) => None,
            Outcome::Failed(why) => Some(why.as_str()),
        })
    }

    /// `figure` of ours over that of `other`, for each round in which both succeeded.
    pub fn ratios_to<'a>(
        &'a self,
        other: &'a Series,
        figure: impl Fn(&Sample) -> Option<f64> + 'a,
    ) -> impl Iterator<Item = f64> + 'a {
        let rounds = self.outcomes.iter().zip(&other.outcomes);
        rounds.filter_map(move |(ours, theirs)| Some(figure(measured(ours)?)? / figure(measured(theirs)?)?))
    }
}

fn measured(outcome: &Outcome) -> Option<&Sample> {
    match outcome {
        Outcome::Measured(sample) => Some(sample),
        Outcome::Failed(_) => None,
    }
}

impl Results {
    pub fn read(path: &Path) -> Result<Self, Failure> {
        Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
    }

    /// Writes `<date>-<commit>.json`; a quick look says so in its name.
    pub fn write(&self, directory: &Path) -> Result<PathBuf, Failure> {
        let quick = if self.quick { "-quick" } else { "" };
        machine::write(directory, &self.date, &format!("{}{quick}", self.commit), self)
    }

    /// Names and titles of the scenarios, in order.
    pub fn scenarios(&self) -> Vec<(&str, &str)> {
        let mut all: Vec<_> = self.series.iter().map(|each| (&*each.scenario, &*each.title)).collect();
        all.dedup();
        all
    }

    pub fn find(&self, scenario: &str, target: Target) -> Option<&Series> {
        self.series
            .iter()
            .find(|each| each.scenario == scenario && each.target == target)
    }

    pub fn series_of(&mut self, scenario: &str, target: Target) -> Option<&mut Series> {
        self.series
            .iter_mut()
            .find(|each| each.scenario == scenario && each.target == target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::SCENARIOS;

    fn series(target: Target, cpu: &[Option<f64>]) -> Series {
        let outcome = |cpu: &Option<f64>| match cpu {
            Some(cpu) => Outcome::Measured(Sample {
                per_second: 1.0,
                latency_ms: 1.0,
                work: 200_000.0,
                cpu_seconds: Some(*cpu),
            }),
            None => Outcome::Failed("reset".to_owned()),
        };
        Series {
            outcomes: cpu.iter().map(outcome).collect(),
            ..Series::new(&SCENARIOS[1], target)
        }
    }

    #[test]
    fn ratios_pair_rounds_and_skip_those_where_one_failed() {
        let ours = series(Target::Postern, &[Some(2.0), None, Some(3.0)]);
        let theirs = series(Target::Haproxy, &[Some(4.0), Some(1.0), Some(2.0)]);
        let ratios: Vec<f64> = ours
            .ratios_to(&theirs, |sample| sample.cpu_per_unit(Unit::Transactions))
            .collect();
        assert_eq!(ratios, [0.5, 1.5]);
        assert_eq!(ours.failures().count(), 1);
        assert_eq!(
            ours.samples().next().unwrap().cpu_per_unit(Unit::Transactions),
            Some(1.0)
        );
    }
}
