//! Throughput against the number of processes: where RAM no longer holds what they work on, it falls. What
//! the kernel thinks that they work on says where, and holding some of them back may change it.

use super::guest::{Ran, explore, run as run_guest};
use super::record::Record;
use super::{Cell, ExploreError, Finding};
use crate::machine::{Bundled, GuestPaging, LoadControl};
use crate::memory::Size;
use crate::report::Count;

/// Guest RAM, of which the kernel takes the greater part.
const RAM: Size = Size::mib(3);
/// Processes, and the pages that each works on.
const PROCESSES: usize = 4;
const PAGES: usize = 90;
/// How long they work together, in milliseconds: long enough for a new estimate where they wait for pages.
const TIME: usize = 2000;

/// So many processes at a time.
#[derive(Clone, Copy)]
struct Stage {
    processes: u64,
    pages: u64,
    steps_a_second: u64,
    majors_a_second: u64,
}

pub fn run() -> Result<Finding, ExploreError> {
    let [free, controlled] = [ran(LoadControl::Watch)?, ran(LoadControl::On)?];
    let (stages, held) = (stages(&free)?, stages(&controlled)?);
    let best = best(&stages);
    let row = |(stage, held): (&Stage, &Stage)| {
        vec![
            stage.processes.into(),
            stage.pages.into(),
            stage.steps_a_second.into(),
            Cell::Part(stage.steps_a_second as f64 / best.max(1) as f64),
            stage.majors_a_second.into(),
            held.steps_a_second.into(),
            held.majors_a_second.into(),
        ]
    };
    let room = free.guest()?.resident_peak;
    let working_set = match free.all("working-set").next() {
        Some(record) => Some(record.number("pages")?),
        None => None,
    };
    Ok(Finding {
        experiment: "thrashing",
        title: format!(
            "Processes share one CPU and {RAM} of RAM; each step uses some page of its process's {PAGES}."
        ),
        columns: &[
            "processes",
            "pages_used",
            "steps_a_second",
            "of_the_best",
            "major_faults_a_second",
            "steps_with_load_control",
            "faults_with_it",
        ],
        rows: stages.iter().zip(&held).map(row).collect(),
        sentence: sentence(&stages, &held, room, working_set),
    })
}

fn ran(load_control: LoadControl) -> Result<Ran, ExploreError> {
    let [processes, pages, ms] = [PROCESSES, PAGES, TIME].map(|number| number.to_string());
    let paging = GuestPaging { load_control, ..GuestPaging::default() };
    run_guest(Bundled { ram: RAM, paging, ..explore(&["thrash", &processes, &pages, &ms]) })
}

fn stages(ran: &Ran) -> Result<Vec<Stage>, ExploreError> {
    let stage = |record: &Record| {
        Ok(Stage {
            processes: record.number("processes")?,
            pages: record.number("pages")?,
            steps_a_second: record.number("steps")? * 1000 / record.number("slice_ms")?.max(1),
            majors_a_second: record.number("major")? * 1000 / record.number("ms")?.max(1),
        })
    };
    ran.all("stage").map(stage).collect()
}

fn best(stages: &[Stage]) -> u64 {
    stages.iter().map(|stage| stage.steps_a_second).max().unwrap_or(0)
}

/// The last stage with half of the best throughput or more.
fn knee(stages: &[Stage]) -> Option<usize> {
    let best = best(stages);
    stages.iter().rposition(|stage| stage.steps_a_second * 2 >= best)
}

fn sentence(stages: &[Stage], held: &[Stage], room: u64, working_set: Option<u64>) -> String {
    match knee(stages) {
        Some(at) if at + 1 < stages.len() => format!(
            "{}{}{}.",
            fall(stages, at, room),
            predicted(&stages[at], room, working_set),
            with_control(&stages[at], held)
        ),
        _ => "Throughput did not stay below half of the best: RAM held what all processes used.".to_owned(),
    }
}

/// What becomes of throughput after the knee at `at`.
fn fall(stages: &[Stage], at: usize, room: u64) -> String {
    let (last, first) = (&stages[at], &stages[at + 1]);
    let part = first.steps_a_second as f64 / best(stages).max(1) as f64 * 100.0;
    if first.majors_a_second == 0 {
        return format!(
            "With {} processes throughput fell to {part:.0}% although no page came back from swap: something \
             else took the CPU, so run it again when this machine is quiet",
            first.processes
        );
    }
    let cause = if first.pages > room { "do not fit into" } else { "with all else do not fit into" };
    format!(
        "Up to {} processes, throughput holds; with {}, whose {} pages {cause} the {} that RAM held at most, \
         it falls to {part:.0}% of the best, and {} pages a second come back from disk",
        last.processes,
        first.processes,
        Count(first.pages),
        Count(room),
        Count(first.majors_a_second)
    )
}

/// How many processes should fit, by the estimate of the first one's working set.
fn predicted(last: &Stage, room: u64, working_set: Option<u64>) -> String {
    let Some(pages) = working_set else {
        return "; the first one's working set was not estimated in its time".to_owned();
    };
    let fit = room / pages.max(1);
    let verdict = if fit == last.processes { "as it is" } else { "which is not where the knee is" };
    format!("; by the estimate of the first one's working set, {pages} pages, {fit} should fit, {verdict}")
}

/// Where the knee is with load control.
fn with_control(last: &Stage, held: &[Stage]) -> String {
    match knee(held).and_then(|at| held.get(at)) {
        Some(other) if other.processes > last.processes => {
            format!("; load control moves the knee to {} processes", other.processes)
        }
        _ => "; load control does not move the knee here".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stages(stages: &[(u64, u64)]) -> Vec<Stage> {
        let stage = |(number, &(steps_a_second, majors_a_second)): (usize, &(u64, u64))| Stage {
            processes: number as u64 + 1,
            pages: 64 * (number as u64 + 1),
            steps_a_second,
            majors_a_second,
        };
        stages.iter().enumerate().map(stage).collect()
    }

    #[test]
    fn the_knee_is_where_throughput_falls_because_pages_come_from_disk() {
        let stages = stages(&[(1000, 0), (900, 0), (100, 70), (90, 80)]);
        assert_eq!(knee(&stages), Some(1));
        let text = fall(&stages, 1, 150);
        assert!(
            text.starts_with("Up to 2 processes") && text.contains("with 3, whose 192 pages do not fit"),
            "{text}"
        );
    }

    #[test]
    fn where_there_is_no_knee_none_is_told() {
        assert_eq!(knee(&stages(&[(1000, 0), (900, 0)])), Some(1));
        assert!(fall(&stages(&[(1000, 0), (100, 0)]), 0, 150).contains("something else took the CPU"));
    }

    #[test]
    fn a_prediction_is_held_against_the_knee() {
        let last = stages(&[(1000, 0), (900, 0)])[1];
        assert!(predicted(&last, 150, Some(70)).contains("2 should fit, as it is"));
        assert!(predicted(&last, 150, Some(40)).contains("3 should fit, which is not"));
        assert!(predicted(&last, 150, None).contains("not estimated"));
    }

    #[test]
    fn load_control_moves_the_knee_or_it_is_told_not_to() {
        let last = stages(&[(1000, 0), (900, 0)])[1];
        let moved = stages(&[(1000, 0), (900, 0), (800, 9), (10, 90)]);
        assert!(with_control(&last, &moved).contains("to 3 processes"));
        assert!(with_control(&last, &moved[..2]).contains("does not move"));
    }
}
