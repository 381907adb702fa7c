//! A guest whose RAM holds its program, on a host that has less: only the host swaps.

use super::guest::{explore, run as run_guest};
use super::{Cell, ExploreError, Finding};
use crate::machine::{Bundled, GuestPage, GuestPaging};
use crate::memory::Size;
use crate::pager::HostStats;
use crate::report::{Count, Nanos};
use crate::store::{StoreConfig, StoreSpec};

/// The program's memory, guest RAM that holds it, and what the host has of that.
const MEMORY: Size = Size::mib(10);
const RAM: Size = Size::mib(16);
const BUDGET: Size = Size::mib(6);
/// Compressed memory in front of the file, too small for all that leaves RAM.
const COMPRESSED: Size = Size::mib(1);
/// How often the program visits each page.
const ROUNDS: u64 = 3;

/// Where the host keeps pages out of RAM, and in which order the program visits them.
struct Way {
    store: &'static str,
    order: &'static str,
    host: HostStats,
    guest_major: u64,
    wrong: u64,
    visit_ns: u64,
}

pub fn run() -> Result<Finding, ExploreError> {
    let compressed = |bytes| StoreConfig { compressed: Some(bytes), ..StoreConfig::default() };
    let stores = [
        ("memory", StoreConfig::from(StoreSpec::Memory)),
        ("memory in front of a file", compressed(COMPRESSED.bytes())),
        ("a file", compressed(0)),
    ];
    let mut ways = Vec::new();
    for (store, config) in stores {
        for order in ["in-order", "at-random"] {
            ways.push(way(store, config.clone(), order)?);
        }
    }
    Ok(Finding {
        experiment: "host-swap",
        title: format!(
            "A program visits each page of its {MEMORY} {ROUNDS} times, in {RAM} of guest RAM, on a host that \
             keeps {BUDGET}."
        ),
        columns: &[
            "store",
            "visits",
            "guest_major",
            "zero",
            "rescued",
            "one_word",
            "memory",
            "file",
            "ahead",
            "accuracy",
            "coverage",
            "out_clean",
            "out_dirty",
            "out_zero",
            "wrong",
            "a_visit_ns",
        ],
        rows: ways.iter().map(row).collect(),
        sentence: sentence(&ways),
    })
}

fn way(store: &'static str, config: StoreConfig, order: &'static str) -> Result<Way, ExploreError> {
    let program = explore(&["visits", &MEMORY.pages().to_string(), &ROUNDS.to_string(), order]);
    // A huge page is one fault of the guest: its kernel has little to do with what is measured.
    let paging = GuestPaging { page: GuestPage::Huge2M, ..GuestPaging::default() };
    let ran = run_guest(Bundled { ram: RAM, host_ram: Some(BUDGET), store: config, paging, ..program })?;
    let record = ran.first("visits")?;
    Ok(Way {
        store,
        order,
        host: ran.host()?.clone(),
        guest_major: record.number("major")?,
        wrong: record.number("wrong")?,
        visit_ns: ran.nanoseconds(record.number("cycles")?) / record.number("visits")?.max(1),
    })
}

fn row(way: &Way) -> Vec<Cell> {
    let Way { host, .. } = way;
    vec![
        way.store.into(),
        way.order.into(),
        way.guest_major.into(),
        host.faults.zero.count.into(),
        host.faults.rescued.count.into(),
        host.faults.same_filled.count.into(),
        host.faults.memory.count.into(),
        host.faults.file.count.into(),
        host.ahead.pages.into(),
        Cell::Part(host.ahead.accuracy),
        Cell::Part(host.ahead.coverage),
        host.evicted_clean.into(),
        host.evicted_dirty.into(),
        host.evicted_zero.into(),
        way.wrong.into(),
        Cell::Nanos(way.visit_ns),
    ]
}

fn sentence(ways: &[Way]) -> String {
    if ways.iter().any(|way| way.wrong > 0) {
        return "Some page was found wrong, which is a bug in Bifold.".to_owned();
    }
    let sum = |count: fn(&Way) -> u64| Count(ways.iter().map(count).sum());
    let guest = match sum(|way| way.guest_major) {
        Count(0) => "The guest has no major fault, as if all were in RAM".to_owned(),
        faults => format!("The guest has {faults} major faults"),
    };
    let costs: Vec<String> = ways.chunks(2).filter_map(cost).collect();
    format!(
        "{guest}; the host serves {} faults, {} of them from the file, and brings {} pages in ahead. A visit \
         takes {}; every page is right.",
        sum(|way| way.host.minor + way.host.major),
        sum(|way| way.host.major),
        sum(|way| way.host.ahead.pages),
        costs.join(", ")
    )
}

/// The two orders with one store.
fn cost(ways: &[Way]) -> Option<String> {
    let [in_order, at_random] = ways else { return None };
    let [one, other] = [in_order, at_random].map(|way| Nanos(way.visit_ns));
    Some(format!("{one} in order and {other} at random with the store in {}", in_order.store))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(guest_major: u64, wrong: u64) -> String {
        let way = |order, visit_ns| Way {
            store: "memory",
            order,
            host: HostStats { minor: 700, major: 300, ..HostStats::default() },
            guest_major,
            wrong,
            visit_ns,
        };
        sentence(&[way("in-order", 20_000), way("at-random", 40_000)])
    }

    #[test]
    fn the_sentence_adds_up_the_ways_and_compares_the_orders() {
        let text = said(0, 0);
        assert!(text.contains("no major fault") && text.contains("2 000 faults, 600 of them"), "{text}");
        assert!(text.contains("20.0 us in order and 40.0 us at random with the store in memory"), "{text}");
        assert!(said(3, 0).contains("The guest has 6 major faults"));
        assert!(said(0, 1).contains("bug"));
    }
}
