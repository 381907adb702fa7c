//! Three ways to share too little RAM: pages come and go one by one, or some processes wait meanwhile, or
//! processes come and go whole.

use super::guest::{explore, run as run_guest};
use super::{Cell, ExploreError, Finding};
use crate::machine::{Bundled, GuestPaging, LoadControl};
use crate::memory::Size;
use crate::report::{Count, Nanos};

/// Guest RAM, of which the kernel takes the greater part: two processes fit into the rest, three do not.
const RAM: Size = Size::mib(3);
/// Processes, the pages that each uses, and how often.
const PROCESSES: usize = 3;
const PAGES: usize = 100;
const ROUNDS: usize = 3;

/// The same work under one of the ways.
struct Way {
    name: &'static str,
    major: u64,
    pages_in: u64,
    pages_out: u64,
    whole: u64,
    held_back: u64,
    wrong: u64,
    time_ns: u64,
}

pub fn run() -> Result<Finding, ExploreError> {
    let ways = [
        way("demand paging", GuestPaging::default())?,
        way("and load control", GuestPaging { load_control: LoadControl::On, ..GuestPaging::default() })?,
        way("whole processes", GuestPaging { swaps_processes: true, ..GuestPaging::default() })?,
    ];
    let row = |way: &Way| {
        vec![
            way.name.into(),
            way.major.into(),
            way.pages_in.into(),
            way.pages_out.into(),
            way.whole.into(),
            way.held_back.into(),
            way.wrong.into(),
            Cell::Nanos(way.time_ns),
        ]
    };
    Ok(Finding {
        experiment: "swapping",
        title: format!("{PROCESSES} processes use {PAGES} pages each, {ROUNDS} times, in {RAM} of RAM."),
        columns: &[
            "what_comes_and_goes",
            "major_faults",
            "pages_in",
            "pages_out",
            "brought_back_whole",
            "held_back",
            "wrong",
            "time_ns",
        ],
        rows: ways.iter().map(row).collect(),
        sentence: sentence(&ways),
    })
}

fn way(name: &'static str, paging: GuestPaging) -> Result<Way, ExploreError> {
    let [processes, pages, rounds] = [PROCESSES, PAGES, ROUNDS].map(|number| number.to_string());
    let program = explore(&["crowd", &processes, &pages, &rounds]);
    let ran = run_guest(Bundled { ram: RAM, paging, ..program })?;
    let (record, guest) = (ran.first("crowd")?, ran.guest()?);
    Ok(Way {
        name,
        major: guest.major_faults(),
        pages_in: guest.swapped_in,
        pages_out: guest.swapped_out,
        whole: guest.swapped_whole,
        held_back: guest.held_back,
        wrong: record.number("wrong")?,
        time_ns: ran.nanoseconds(record.number("cycles")?),
    })
}

fn sentence([demand, controlled, whole]: &[Way; 3]) -> String {
    if demand.wrong + controlled.wrong + whole.wrong > 0 {
        return "Some process found a page wrong, which is a bug in Bifold.".to_owned();
    }
    let against = |other: &Way| {
        let times = demand.time_ns as f64 / other.time_ns.max(1) as f64;
        let time = match times {
            1.1.. => format!("{times:.1} times as fast"),
            0.9.. => "as fast".to_owned(),
            _ => format!("slower, {:.1} times", 1.0 / times),
        };
        format!("{} ({time})", Count(other.pages_in))
    };
    format!(
        "One by one, {} pages come back from swap in {}; where a process is held back ({}), {}; where \
         processes come and go whole ({} back), {}; every answer is right.",
        Count(demand.pages_in),
        Nanos(demand.time_ns),
        times(controlled.held_back),
        against(controlled),
        times(whole.whole),
        against(whole)
    )
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{} times", Count(count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(times_ms: [u64; 3], wrong: u64) -> String {
        let ways = times_ms.map(|ms| Way {
            name: "",
            major: 0,
            pages_in: ms,
            pages_out: 0,
            whole: 4,
            held_back: 2,
            wrong,
            time_ns: ms * 1_000_000,
        });
        sentence(&ways)
    }

    #[test]
    fn each_way_is_compared_with_paging_on_demand() {
        let text = said([800, 400, 1600], 0);
        assert!(text.contains("(2 times), 400 (2.0 times as fast)"), "{text}");
        assert!(text.contains("(4 times back), 1 600 (slower, 2.0 times)"), "{text}");
        assert!(said([800, 810, 1], 0).contains("810 (as fast)"));
        assert!(said([1, 1, 1], 1).contains("bug"));
    }
}
