//! Guests that together have more RAM than the host keeps of them, at the same time.

use std::time::Instant;

use super::guest::{Ran, explore, run_together};
use super::{Cell, ExploreError, Finding};
use crate::machine::{Bundled, GuestPage, GuestPaging};
use crate::memory::Size;
use crate::report::{Count, Level};

/// What a guest is given.
struct Share {
    guest: &'static str,
    ram: Size,
    budget: Size,
    /// The program's memory, how often it visits each page of it, and in which order.
    memory: Size,
    rounds: u64,
    order: &'static str,
}

/// The last has less RAM than its program has memory: it pages, too.
const SHARES: [Share; 3] = [
    Share {
        guest: "in order",
        ram: Size::mib(16),
        budget: Size::mib(5),
        memory: Size::mib(10),
        rounds: 3,
        order: "in-order",
    },
    Share {
        guest: "at random",
        ram: Size::mib(16),
        budget: Size::mib(5),
        memory: Size::mib(10),
        rounds: 3,
        order: "at-random",
    },
    Share {
        guest: "more than its RAM",
        ram: Size::mib(3),
        budget: Size::mib(2),
        memory: Size::mib(2),
        rounds: 1,
        order: "in-order",
    },
];

/// A guest, or all together.
#[derive(Default)]
struct Load {
    name: &'static str,
    ram: u64,
    budget: u64,
    resident_peak: u64,
    guest_minor: u64,
    guest_major: u64,
    host_minor: u64,
    host_major: u64,
    wrong: u64,
    time_ns: u64,
}

pub fn run() -> Result<Finding, ExploreError> {
    let start = Instant::now();
    let runs = run_together(SHARES.map(|share| share.program()))?;
    let time_ns = start.elapsed().as_nanos() as u64;
    let mut loads = Vec::new();
    for (share, ran) in SHARES.iter().zip(&runs) {
        loads.push(load(share, ran)?);
    }
    let all = together(&loads, time_ns);
    let sentence = sentence(&all, loads.len());
    loads.push(all);
    Ok(Finding {
        experiment: "overcommit",
        title: format!(
            "{} guests run at the same time, each on a part of its RAM; RAM is in pages of 4 KiB.",
            SHARES.len()
        ),
        columns: &[
            "guest",
            "ram",
            "budget",
            "overcommit",
            "resident_peak",
            "guest_minor",
            "guest_major",
            "host_minor",
            "host_major",
            "wrong",
            "time_ns",
        ],
        rows: loads.iter().map(Load::row).collect(),
        sentence,
    })
}

impl Share {
    fn program(self) -> Bundled {
        let program =
            explore(&["visits", &self.memory.pages().to_string(), &self.rounds.to_string(), self.order]);
        let paging = GuestPaging { page: GuestPage::Huge2M, ..GuestPaging::default() };
        Bundled { ram: self.ram, host_ram: Some(self.budget), paging, ..program }
    }
}

fn load(share: &Share, ran: &Ran) -> Result<Load, ExploreError> {
    let (guest, host) = (Level::of_guest(ran.guest()?, ran.reading.tsc_khz), ran.host()?);
    Ok(Load {
        name: share.guest,
        ram: share.ram.pages(),
        budget: share.budget.pages(),
        resident_peak: host.resident_peak,
        guest_minor: guest.minor_faults,
        guest_major: guest.major_faults,
        host_minor: host.minor,
        host_major: host.major,
        wrong: ran.first("visits")?.number("wrong")?,
        time_ns: ran.reading.elapsed.as_nanos() as u64,
    })
}

/// The sums. Their peaks need not have been at one moment, so theirs is the most that it can have been.
fn together(loads: &[Load], time_ns: u64) -> Load {
    let sum = |of: fn(&Load) -> u64| loads.iter().map(of).sum();
    Load {
        name: "all together",
        ram: sum(|load| load.ram),
        budget: sum(|load| load.budget),
        resident_peak: sum(|load| load.resident_peak),
        guest_minor: sum(|load| load.guest_minor),
        guest_major: sum(|load| load.guest_major),
        host_minor: sum(|load| load.host_minor),
        host_major: sum(|load| load.host_major),
        wrong: sum(|load| load.wrong),
        time_ns,
    }
}

impl Load {
    fn overcommit(&self) -> f64 {
        self.ram as f64 / self.budget.max(1) as f64
    }

    fn row(&self) -> Vec<Cell> {
        vec![
            self.name.into(),
            self.ram.into(),
            self.budget.into(),
            Cell::Times(self.overcommit()),
            self.resident_peak.into(),
            self.guest_minor.into(),
            self.guest_major.into(),
            self.host_minor.into(),
            self.host_major.into(),
            self.wrong.into(),
            Cell::Nanos(self.time_ns),
        ]
    }
}

fn sentence(all: &Load, guests: usize) -> String {
    if all.wrong > 0 {
        return "Some page was found wrong, which is a bug in Bifold.".to_owned();
    }
    let kept = if all.resident_peak <= all.budget { "no more" } else { "more" };
    format!(
        "{guests} guests with {} pages of RAM in all had budgets of {} in all, {:.1} times less, and {kept} than that \
         was ever resident ({}); all finished, and every page was right.",
        Count(all.ram),
        Count(all.budget),
        all.overcommit(),
        Count(all.resident_peak)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(resident_peak: u64, wrong: u64) -> String {
        let load = |wrong| Load { ram: 4096, budget: 1024, resident_peak, wrong, ..Load::default() };
        sentence(&together(&[load(0), load(wrong)], 1), 2)
    }

    #[test]
    fn the_sentence_is_about_the_sums() {
        let text = said(1000, 0);
        assert!(text.contains("8 192 pages") && text.contains("2 048 in all, 4.0 times less"), "{text}");
        assert!(text.contains("no more than that was ever resident (2 000)"), "{text}");
        assert!(said(1100, 0).contains("and more than that"));
        assert!(said(1000, 1).contains("bug"));
    }
}
