//! Tables, for a terminal and for docs/performance.md.

use std::fmt::Write as _;
use std::path::Path;

use crate::Failure;
use crate::results::{Results, Sample, Series, Unit};
use crate::scenario::Target;
use crate::statistics::Spread;

const BEGIN: &str = "<!-- figures: written by scripts/bench, not by hand -->";
const END: &str = "<!-- end of figures -->";

/// Replaces what stands between the two marks of the page.
pub fn into_page(results: &Results, source: &Path, page: &Path) -> Result<(), Failure> {
    let text = std::fs::read_to_string(page)?;
    let cut = text
        .split_once(BEGIN)
        .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = cut.ok_or_else(|| format!("{} has no marks for figures", page.display()))?;
    let source = format!("Raw figures: `{}`.\n", source.display());
    let plots = "![Transactions a second](performance-throughput.svg)\n\n![CPU of the proxies](performance-cpu.svg)";
    let new = format!(
        "{before}{BEGIN}\n\n{}{plots}\n\n{source}\n{END}{after}",
        tables(results)
    );
    Ok(std::fs::write(page, new)?)
}

pub fn tables(results: &Results) -> String {
    let mut out = heading(results);
    for (scenario, title) in results.scenarios() {
        out += &format!("### {title}\n\n");
        out += &absolute(results, scenario);
        out += &ratios(results, scenario);
        out += &failures(results, scenario);
    }
    out
}

fn heading(results: &Results) -> String {
    let machine = &results.machine;
    format!(
        "Measured {} at commit `{}`: {} interleaved rounds, {} s of each pgbench run, \
         Postern and HAProxy with {}{}. {}, {} CPUs, {} MiB, Linux {}. \
         {}. Beside it ran: {}.\n\nMedian [lower quartile, upper quartile].\n\n",
        results.date,
        results.commit,
        results.rounds,
        results.seconds,
        match results.threads {
            1 => "one thread".to_owned(),
            threads => format!("{threads} threads"),
        },
        match results.pgbench.as_str() {
            "" => String::new(),
            further => format!(", pgbench with `{further}`"),
        },
        machine.cpu,
        machine.cpus,
        machine.memory_mib,
        machine.kernel,
        machine.versions.join("; "),
        results.beside,
    )
}

fn absolute(results: &Results, scenario: &str) -> String {
    let unit = results.find(scenario, Target::Direct).map(|series| series.unit);
    let (speed, latency, cpu) = match unit {
        Some(Unit::Gigabytes) => ("GB/s", "seconds in all, ms", "proxy CPU s per GB"),
        Some(Unit::Transactions) | None => ("tps", "mean latency, ms", "proxy CPU s per 100,000"),
    };
    let mut out = format!("| | {speed} | {latency} | {cpu} |\n| --- | --- | --- | --- |\n");
    for target in Target::ALL {
        let Some(series) = results.find(scenario, target) else {
            continue;
        };
        let title = target.title();
        if let Some(why) = &series.missing {
            out += &format!("| {title} | n/a: {why} | | |\n");
            continue;
        }
        let cell = |figure: fn(&Sample, Unit) -> Option<f64>| {
            shown(Spread::of(
                series.samples().filter_map(|sample| figure(sample, series.unit)),
            ))
        };
        out += &format!(
            "| {title} | {} | {} | {} |\n",
            cell(|sample, _| Some(sample.per_second)),
            cell(|sample, _| Some(sample.latency_ms)),
            cell(Sample::cpu_per_unit),
        );
    }
    out + "\n"
}

/// Postern over each other target, round by round.
fn ratios(results: &Results, scenario: &str) -> String {
    let Some(ours) = results.find(scenario, Target::Postern) else {
        return String::new();
    };
    let mut out = String::from(
        "| Postern over | throughput (more is better) | latency (less is better) | CPU (less is better) |\n\
         | --- | --- | --- | --- |\n",
    );
    for target in Target::ALL.into_iter().filter(|target| *target != Target::Postern) {
        let Some(theirs) = results.find(scenario, target).filter(|series| series.missing.is_none()) else {
            continue;
        };
        let unit = ours.unit;
        let ratio = |figure: fn(&Sample, Unit) -> Option<f64>| ratio(ours, theirs, unit, figure);
        out += &format!(
            "| {} | {} | {} | {} |\n",
            target.title(),
            shown(ratio(|sample, _| Some(sample.per_second))),
            shown(ratio(|sample, _| Some(sample.latency_ms))),
            shown(ratio(Sample::cpu_per_unit)),
        );
    }
    out + "\n"
}

/// Of the rounds in which both succeeded.
pub fn ratio(ours: &Series, theirs: &Series, unit: Unit, figure: fn(&Sample, Unit) -> Option<f64>) -> Option<Spread> {
    Spread::of(ours.ratios_to(theirs, move |sample| figure(sample, unit)))
}

fn failures(results: &Results, scenario: &str) -> String {
    let mut out = String::new();
    for series in results.series.iter().filter(|series| series.scenario == scenario) {
        if let Some(first) = series.failures().next() {
            let (failed, rounds) = (series.failures().count(), series.outcomes.len());
            // Writing to a String cannot fail.
            let _written = write!(
                out,
                "**{} failed in {failed} of {rounds} rounds**: {first}\n\n",
                series.target.title()
            );
        }
    }
    out
}

fn shown(spread: Option<Spread>) -> String {
    let Some(spread) = spread else {
        return "-".to_owned();
    };
    let digits = match spread.median {
        median if median >= 1_000.0 => 0,
        median if median >= 100.0 => 1,
        median if median >= 10.0 => 2,
        _ => 3,
    };
    format!(
        "{:.digits$} [{:.digits$}, {:.digits$}]",
        spread.median, spread.lower_quartile, spread.upper_quartile
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_follow_size() {
        let spread = |median| {
            shown(Some(Spread {
                lower_quartile: median,
                median,
                upper_quartile: median,
            }))
        };
        assert_eq!(spread(12_345.6), "12346 [12346, 12346]");
        assert_eq!(spread(0.8134), "0.813 [0.813, 0.813]");
        assert_eq!(shown(None), "-");
    }
}
