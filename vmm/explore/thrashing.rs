//! Throughput against the number of processes: where RAM no longer holds what they work on, it falls.

use super::guest::{explore, run as run_guest};
use super::{Cell, ExploreError, Finding};
use crate::machine::Bundled;
use crate::memory::Size;
use crate::report::Count;

/// Guest RAM, of which the kernel takes the greater part.
const RAM: Size = Size::mib(3);
/// Processes, and the pages that each works on.
const PROCESSES: usize = 6;
const PAGES: usize = 64;
/// How long they work together, in milliseconds.
const TIME: usize = 500;

/// So many processes at a time.
#[derive(Clone, Copy)]
struct Stage {
    processes: u64,
    pages: u64,
    steps_a_second: u64,
    majors_a_second: u64,
}

pub fn run() -> Result<Finding, ExploreError> {
    let [processes, pages, ms] = [PROCESSES, PAGES, TIME].map(|number| number.to_string());
    let ran = run_guest(Bundled { ram: RAM, ..explore(&["thrash", &processes, &pages, &ms]) })?;
    let mut slices = Vec::new();
    for record in ran.all("slice") {
        let ms = record.number("ms")?.max(1);
        slices.push(Stage {
            processes: record.number("processes")?,
            pages: record.number("pages")?,
            steps_a_second: record.number("steps")? * 1000 / ms,
            majors_a_second: record.number("major")? * 1000 / ms,
        });
    }
    let of_one_number = slices.chunk_by(|one, next| one.processes == next.processes);
    let stages: Vec<Stage> = of_one_number.filter_map(best_of).collect();
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
        title: format!(
            "Processes share one CPU and {RAM} of RAM; each step uses some page of its process's {PAGES}."
        ),
        columns: &["processes", "pages_used", "steps_a_second", "of_the_best", "major_faults_a_second"],
        rows: stages.iter().map(row).collect(),
        sentence: sentence(&stages, best, ran.guest()?.resident_peak),
    })
}

/// The slice with the most throughput: other work on the machine can only take some away.
fn best_of(slices: &[Stage]) -> Option<Stage> {
    slices.iter().max_by_key(|slice| slice.steps_a_second).copied()
}

/// The knee: after the last stage with half of the best throughput or more.
fn sentence(stages: &[Stage], best: u64, resident: u64) -> String {
    let knee = stages.iter().rposition(|stage| stage.steps_a_second * 2 >= best);
    let (Some(last), Some(first)) =
        (knee.and_then(|at| stages.get(at)), knee.and_then(|at| stages.get(at + 1)))
    else {
        return "Throughput did not stay below half of the best: RAM held what all processes used."
            .to_owned();
    };
    let part = first.steps_a_second as f64 / best.max(1) as f64 * 100.0;
    if first.majors_a_second == 0 {
        return format!(
            "With {} processes throughput fell to {part:.0}% although no page came back from swap: something \
             else took the CPU, so run it again when this machine is quiet.",
            first.processes
        );
    }
    let cause = if first.pages > resident { "do not fit into" } else { "with all else do not fit into" };
    format!(
        "Up to {} processes, throughput holds; with {}, whose {} pages {cause} the {} that RAM held at most, \
         it falls to {part:.0}% of the best, and {} pages a second come back from disk.",
        last.processes,
        first.processes,
        Count(first.pages),
        Count(resident),
        Count(first.majors_a_second)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(stages: &[(u64, u64)]) -> String {
        let stage = |(number, &(steps_a_second, majors_a_second)): (usize, &(u64, u64))| Stage {
            processes: number as u64 + 1,
            pages: 64 * (number as u64 + 1),
            steps_a_second,
            majors_a_second,
        };
        let stages: Vec<Stage> = stages.iter().enumerate().map(stage).collect();
        sentence(&stages, 1000, 150)
    }

    #[test]
    fn the_knee_is_where_throughput_falls_because_pages_come_from_disk() {
        let text = said(&[(1000, 0), (900, 0), (100, 70), (90, 80)]);
        assert!(
            text.starts_with("Up to 2 processes") && text.contains("with 3, whose 192 pages do not fit"),
            "{text}"
        );
    }

    #[test]
    fn where_there_is_no_knee_none_is_told() {
        assert!(said(&[(1000, 0), (900, 0)]).contains("did not stay below half"));
        assert!(said(&[(1000, 0), (100, 0)]).contains("something else took the CPU"));
    }
}
