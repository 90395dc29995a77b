//! The two pictures of docs/performance.md: throughput beside a direct connection, and CPU beside Postern's.

use std::path::Path;

use plotters::prelude::*;

use crate::Failure;
use crate::report::ratio;
use crate::results::{Results, Sample, Unit};
use crate::scenario::Target;
use crate::statistics::Spread;

type Figure = fn(&Sample, Unit) -> Option<f64>;

const SIZE: (u32, u32) = (1_200, 420);
/// Room of a scenario on the horizontal axis is one; its bars share this much of it.
const BARS: f64 = 0.8;

pub fn draw(results: &Results, docs: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(docs)?;
    bars(
        results,
        &docs.join("performance-throughput.svg"),
        "Throughput, direct connection = 1 (more is better)",
        (Target::Direct, |sample, _| Some(sample.per_second)),
        &[
            Target::Postern,
            Target::PgbouncerSession,
            Target::PgbouncerTransaction,
            Target::PgbouncerFresh,
            Target::Haproxy,
        ],
    )?;
    bars(
        results,
        &docs.join("performance-cpu.svg"),
        "CPU of the proxy for the same work, Postern = 1 (less is better)",
        (Target::Postern, Sample::cpu_per_unit),
        &Target::PEERS,
    )
}

/// Medians of per-round ratios to `base`, with their quartiles as a line.
fn bars(
    results: &Results,
    path: &Path,
    caption: &str,
    (base, figure): (Target, Figure),
    targets: &[Target],
) -> Result<(), Failure> {
    let scenarios = results.scenarios();
    let spread = |scenario: &str, target| -> Option<Spread> {
        let (ours, base) = (results.find(scenario, target)?, results.find(scenario, base)?);
        ratio(ours, base, ours.unit, figure)
    };
    let all = scenarios
        .iter()
        .flat_map(|(name, _)| targets.iter().filter_map(|target| spread(name, *target)));
    let highest = all.map(|spread| spread.upper_quartile).fold(1.0, f64::max) * 1.1;
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(caption, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(45)
        .build_cartesian_2d(-0.5..scenarios.len() as f64 - 0.5, 0.0..highest)?;
    let name = |at: &f64| {
        let whole = (at.fract() == 0.0 && *at >= 0.0).then_some(*at as usize);
        whole
            .and_then(|at| scenarios.get(at))
            .map_or(String::new(), |(name, _)| (*name).to_owned())
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(2 * scenarios.len())
        .x_label_formatter(&name)
        .draw()?;
    chart.draw_series([PathElement::new(
        [(-0.5, 1.0), (scenarios.len() as f64 - 0.5, 1.0)],
        BLACK.mix(0.5),
    )])?;
    let width = BARS / targets.len() as f64;
    for (nth, target) in targets.iter().enumerate() {
        let colour = colour(*target);
        let placed = |at: usize| at as f64 - BARS / 2.0 + nth as f64 * width;
        let found: Vec<(f64, Spread)> = scenarios
            .iter()
            .enumerate()
            .filter_map(|(at, (name, _))| Some((placed(at), spread(name, *target)?)))
            .collect();
        let boxes = found
            .iter()
            .map(|(left, spread)| Rectangle::new([(*left, 0.0), (left + width * 0.9, spread.median)], colour.filled()));
        chart
            .draw_series(boxes)?
            .label(target.title())
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour.filled()));
        let middles = found.iter().map(|(left, spread)| {
            let middle = left + width * 0.45;
            PathElement::new(
                [(middle, spread.lower_quartile), (middle, spread.upper_quartile)],
                BLACK,
            )
        });
        chart.draw_series(middles)?;
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    root.present()?;
    Ok(())
}

fn colour(target: Target) -> RGBColor {
    match target {
        Target::Direct => RGBColor(120, 120, 120),
        Target::Postern => RGBColor(31, 119, 180),
        Target::PgbouncerSession => RGBColor(255, 127, 14),
        Target::PgbouncerTransaction => RGBColor(214, 96, 77),
        Target::PgbouncerFresh => RGBColor(148, 103, 189),
        Target::Haproxy => RGBColor(44, 160, 44),
    }
}
