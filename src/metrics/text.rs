//! The Prometheus text exposition format, version 0.0.4.

use std::fmt::Write as _;

use super::Metrics;
use super::counter::{Counter, Family, Gauge, Label, SharedCounter, SharedFamily, SharedGauge};
use super::latencies::{Latencies, Stage};

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds of the latency buckets, nanoseconds, and as they are written, seconds.
const BUCKETS: &[(u64, &str)] = &[
    (250, "2.5e-07"),
    (500, "5e-07"),
    (1_000, "1e-06"),
    (10_000, "1e-05"),
    (100_000, "0.0001"),
    (250_000, "0.00025"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5"),
    (10_000_000_000, "10"),
    (60_000_000_000, "60"),
];

/// What can be presented: its type and its values.
pub(super) trait Series {
    fn kind(&self) -> &'static str;
    /// Label name and value (empty names: no label), and the number.
    fn samples(&self) -> Vec<Sample>;
}

pub(super) trait SeriesVisitor {
    fn series(&mut self, name: &'static str, help: &'static str, series: &dyn Series);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    label: Option<(&'static str, &'static str)>,
    value: u64,
}

/// All of `metrics` (the cores added up, open sessions also one by one) and the latencies gathered so far.
pub fn render(metrics: &Metrics, latencies: &Latencies) -> String {
    let mut out = String::with_capacity(16 * 1024);
    let mut cores = Sums::default();
    for core in metrics.cores() {
        cores.restart();
        core.visit(&mut cores);
    }
    cores.write(&mut out);
    write_sessions_by_core(metrics, &mut out);
    let mut control = Sums::default();
    metrics.control.visit(&mut control);
    control.write(&mut out);
    write_latencies(latencies, &mut out);
    out
}

/// Adds up equal series of several visits; every visit shows the same series in the same order.
#[derive(Default)]
struct Sums {
    all: Vec<Described>,
    next: usize,
}

struct Described {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    samples: Vec<Sample>,
}

impl Sums {
    fn restart(&mut self) {
        self.next = 0;
    }

    fn write(&self, out: &mut String) {
        for series in &self.all {
            write_header(out, series.name, series.help, series.kind);
            for sample in &series.samples {
                write_sample(out, series.name, *sample);
            }
        }
    }
}

impl SeriesVisitor for Sums {
    fn series(&mut self, name: &'static str, help: &'static str, series: &dyn Series) {
        let samples = series.samples();
        match self.all.get_mut(self.next) {
            Some(known) => {
                for (sum, more) in known.samples.iter_mut().zip(samples) {
                    sum.value = sum.value.saturating_add(more.value);
                }
            }
            None => self.all.push(Described {
                name,
                help,
                kind: series.kind(),
                samples,
            }),
        }
        self.next += 1;
    }
}

fn write_sessions_by_core(metrics: &Metrics, out: &mut String) {
    const NAME: &str = "postern_core_session_open_count";
    write_header(out, NAME, "Sessions open now, by core.", "gauge");
    for (index, core) in metrics.cores().enumerate() {
        push(
            out,
            format_args!("{NAME}{{core=\"{index}\"}} {}\n", core.sessions_open.get()),
        );
    }
}

fn write_latencies(latencies: &Latencies, out: &mut String) {
    const NAME: &str = "postern_stage_duration_seconds";
    write_header(
        out,
        NAME,
        "Time taken by a stage of an attempt, from histograms accurate to one percent.",
        "histogram",
    );
    for stage in Stage::ALL {
        let Some(histogram) = latencies.stage(*stage) else {
            continue;
        };
        let stage = stage.as_str();
        for (bound, text) in BUCKETS {
            let seen = histogram.count_between(0, *bound);
            push(
                out,
                format_args!("{NAME}_bucket{{stage=\"{stage}\",le=\"{text}\"}} {seen}\n"),
            );
        }
        let count = histogram.len();
        let seconds = histogram.mean() * count as f64 / 1e9;
        push(
            out,
            format_args!("{NAME}_bucket{{stage=\"{stage}\",le=\"+Inf\"}} {count}\n"),
        );
        push(out, format_args!("{NAME}_sum{{stage=\"{stage}\"}} {seconds}\n"));
        push(out, format_args!("{NAME}_count{{stage=\"{stage}\"}} {count}\n"));
    }
}

fn write_header(out: &mut String, name: &str, help: &str, kind: &str) {
    push(out, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
}

fn write_sample(out: &mut String, name: &str, sample: Sample) {
    let value = sample.value;
    match sample.label {
        Some((label, text)) => push(out, format_args!("{name}{{{label}=\"{text}\"}} {value}\n")),
        None => push(out, format_args!("{name} {value}\n")),
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok(), "a String takes everything");
}

fn alone(value: u64) -> Vec<Sample> {
    vec![Sample { label: None, value }]
}

fn labelled<L: Label>(get: impl Fn(L) -> u64) -> Vec<Sample> {
    L::ALL
        .iter()
        .map(|label| Sample {
            label: Some((L::NAME, label.as_str())),
            value: get(*label),
        })
        .collect()
}

macro_rules! presented {
    ($($kind:literal: $($cell:ident $(<$label:ident>)?),+;)+) => {
        $($(presented!(@one $kind, $cell $(, $label)?);)+)+
    };
    (@one $kind:literal, $cell:ident) => {
        impl Series for $cell {
            fn kind(&self) -> &'static str { $kind }
            fn samples(&self) -> Vec<Sample> { alone(self.get()) }
        }
    };
    (@one $kind:literal, $cell:ident, $label:ident) => {
        impl<$label: Label> Series for $cell<$label> {
            fn kind(&self) -> &'static str { $kind }
            fn samples(&self) -> Vec<Sample> { labelled(|label| self.get(label)) }
        }
    };
}

presented! {
    "counter": Counter, SharedCounter, Family<L>, SharedFamily<L>;
    "gauge": Gauge, SharedGauge;
}

#[cfg(test)]
mod tests {
    use super::super::{Direction, ReloadResult};
    use super::*;
    use crate::audit::Outcome;

    #[test]
    fn cores_add_up_and_stay_visible_one_by_one() {
        let metrics = Metrics::new(2);
        for core in metrics.cores() {
            core.sessions_open.up();
            core.relay_bytes.add(Direction::ToClient, 100);
        }
        metrics.cores().next().unwrap().sessions_open.up();
        let text = render(&metrics, &Latencies::default());
        assert!(text.contains("\npostern_session_open_count 3\n"), "{text}");
        assert!(text.contains("postern_core_session_open_count{core=\"0\"} 2\n"));
        assert!(text.contains("postern_core_session_open_count{core=\"1\"} 1\n"));
        assert!(text.contains("postern_relay_bytes_total{direction=\"to_client\"} 200\n"));
    }

    #[test]
    fn every_label_value_is_there_at_zero() {
        let text = render(&Metrics::new(1), &Latencies::default());
        for outcome in Outcome::ALL {
            assert!(text.contains(&format!(
                "postern_attempt_ended_total{{outcome=\"{}\"}} 0\n",
                outcome.as_str()
            )));
        }
        for result in ReloadResult::ALL {
            assert!(text.contains(&format!(
                "postern_policy_reload_ended_total{{result=\"{}\"}} 0\n",
                result.as_str()
            )));
        }
        assert!(text.contains("postern_stage_duration_seconds_bucket{stage=\"decision\",le=\"+Inf\"} 0\n"));
    }

    #[test]
    fn help_and_type_stand_before_each_series_once() {
        let text = render(&Metrics::new(3), &Latencies::default());
        let helps: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# HELP ")).collect();
        let names: std::collections::BTreeSet<&str> = helps.iter().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(names.len(), helps.len(), "a series declared twice");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            let base = name.trim_end_matches("_bucket").trim_end_matches("_sum");
            let histogram = base.strip_suffix("_count").unwrap_or(base);
            assert!(
                names.contains(name) || names.contains(base) || names.contains(histogram),
                "{name} has no help"
            );
            assert!(name.starts_with("postern_"));
        }
    }

    #[test]
    fn latency_buckets_are_cumulative() {
        let mut latencies = Latencies::default();
        latencies.record(Stage::Decision, 300);
        latencies.record(Stage::Decision, 900_000);
        let text = render(&Metrics::new(1), &latencies);
        assert!(text.contains("{stage=\"decision\",le=\"2.5e-07\"} 0\n"));
        assert!(text.contains("{stage=\"decision\",le=\"5e-07\"} 1\n"));
        assert!(text.contains("{stage=\"decision\",le=\"0.0005\"} 1\n"));
        assert!(text.contains("{stage=\"decision\",le=\"0.001\"} 2\n"));
        assert!(text.contains("{stage=\"decision\",le=\"+Inf\"} 2\n"));
        assert!(text.contains("postern_stage_duration_seconds_count{stage=\"decision\"} 2\n"));
    }
}
