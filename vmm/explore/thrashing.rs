//! Throughput against the number of processes: where RAM no longer holds what they work on, it falls.

use super::guest::{explore, run as run_guest};
use super::{Cell, ExploreError, Finding};
use crate::machine::Bundled;
use crate::memory::Size;
use crate::report::Count;

/// Processes, the pages that each works on, and how long they work together.
const ARGUMENTS: [&str; 4] = ["thrash", "6", "64", "500"];

/// So many processes at a time.
struct Stage {
    processes: u64,
    pages: u64,
    steps_a_second: u64,
    majors_a_second: u64,
}

pub fn run() -> Result<Finding, ExploreError> {
    let ran = run_guest(Bundled { ram: Size::mib(3), ..explore(&ARGUMENTS) })?;
    let mut stages = Vec::new();
    for record in ran.all("stage") {
        let ms = record.number("ms")?.max(1);
        stages.push(Stage {
            processes: record.number("processes")?,
            pages: record.number("pages")?,
            steps_a_second: record.number("steps")? * 1000 / ms,
            majors_a_second: record.number("major")? * 1000 / ms,
        });
    }
    let best = stages.iter().map(|stage| stage.steps_a_second).max().unwrap_or(0);
    let row = |stage: &Stage| {
        vec![
            stage.processes.into(),
            stage.pages.into(),
            stage.steps_a_second.into(),
            Cell::Part(stage.steps_a_second as f64 / best.max(1) as f64),
            stage.majors_a_second.into(),
        ]
    };
    Ok(Finding {
        experiment: "thrashing",
        title: "Processes share one CPU and 3 MiB of RAM; each step uses some page of its process's 64."
            .to_owned(),
        columns: &["processes", "pages_used", "steps_a_second", "of_the_best", "major_faults_a_second"],
        rows: stages.iter().map(row).collect(),
        sentence: sentence(&stages, best, ran.guest()?.resident_peak),
    })
}

/// The knee: the first stage from which on throughput stays under half of the best.
fn sentence(stages: &[Stage], best: u64, resident: u64) -> String {
    let is_good = |stage: &Stage| stage.steps_a_second * 2 >= best;
    let knee = stages.iter().rposition(is_good);
    let (Some(last), Some(first)) =
        (knee.and_then(|at| stages.get(at)), knee.and_then(|at| stages.get(at + 1)))
    else {
        return "Throughput never fell below half of the best: RAM held what all of the processes worked on."
            .to_owned();
    };
    let worst = first.steps_a_second as f64 / best.max(1) as f64 * 100.0;
    let cause = if first.pages > resident { "do not fit into" } else { "with all else do not fit into" };
    format!(
        "Up to {} processes, throughput holds; with {}, whose {} pages {cause} the {} that RAM held at most, it falls to {worst:.0}% of \
         the best, and {} pages a second come back from swap.",
        last.processes,
        first.processes,
        Count(first.pages),
        Count(resident),
        Count(first.majors_a_second)
    )
}
