//! What each kind of fault costs the program that waits for it.

use super::guest::{Ran, explore, file, noise, run as run_guest};
use super::record::Record;
use super::{Cell, ExploreError, Finding};
use crate::devices::Access;
use crate::machine::Bundled;
use crate::memory::Size;
use crate::pager::HostStats;
use crate::report::{Count, Nanos};
use crate::store::{StoreConfig, StoreSpec};

/// Faults of each kind.
const SAMPLES: usize = 100;
/// Pages of the file for each of them: as many as the guest's kernel reads ahead.
const AROUND: usize = 16;

/// What the guest's kernel does about a fault, by the program's word for it.
const GUEST: [(&str, &str); 6] = [
    ("zero", "a page of zeros"),
    ("resident", "a file's page, in the page cache"),
    ("stack", "the stack grows"),
    ("copy", "a copy, after a fork"),
    ("file", "a file's page, from the disk"),
    ("swap", "a page from swap"),
];

/// A line of the table.
struct Cost {
    level: &'static str,
    fault: &'static str,
    major: bool,
    samples: u64,
    p50_ns: u64,
    p99_ns: u64,
}

pub fn run() -> Result<Finding, ExploreError> {
    let mut costs = of_guest()?;
    let (zeros, memory) =
        of_host(StoreSpec::Memory.into(), "from the store, compressed", |host| host.faults.memory.count)?;
    // Without memory in front.
    let file = StoreConfig { compressed: Some(0), ..StoreConfig::default() };
    let (_, disk) = of_host(file, "from the store, a file", |host| host.faults.file.count)?;
    costs.push(zeros);
    costs.extend([memory, disk].into_iter().flatten());
    let zero = costs.first().map_or(1, |zero| zero.p50_ns.max(1));
    let row = |cost: &Cost| {
        vec![
            cost.level.into(),
            cost.fault.into(),
            if cost.major { "major" } else { "minor" }.into(),
            cost.samples.into(),
            Cell::Nanos(cost.p50_ns),
            Cell::Nanos(cost.p99_ns),
            Cell::Times(cost.p50_ns as f64 / zero as f64),
        ]
    };
    Ok(Finding {
        experiment: "fault-costs",
        title: "How long a program waits for a page, by who has to bring it and from where.".to_owned(),
        columns: &["level", "fault", "kind", "samples", "p50_ns", "p99_ns", "times_zeros"],
        rows: costs.iter().map(row).collect(),
        sentence: sentence(&costs),
    })
}

fn of_guest() -> Result<Vec<Cost>, ExploreError> {
    let (data, _) = file("/data", &noise(SAMPLES * AROUND), Access::ReadOnly)?;
    let program = explore(&["fault-costs", &SAMPLES.to_string(), "/data"]);
    let ran = run_guest(Bundled { files: vec![data], ..program })?;
    let cost = |(kind, fault)| cost(&ran, ran.with("kind", kind)?, "guest", fault);
    GUEST.into_iter().map(cost).collect()
}

/// A fault that both levels serve, with zeros; and one of the host alone, where `count` finds so many that it
/// is what was measured.
fn of_host(
    store: StoreConfig,
    fault: &'static str,
    count: fn(&HostStats) -> u64,
) -> Result<(Cost, Option<Cost>), ExploreError> {
    const PAGES: u64 = 1000;
    let program = explore(&["host-faults", &PAGES.to_string()]);
    let ran = run_guest(Bundled { ram: Size::mib(8), host_ram: Some(Size::mib(2)), store, ..program })?;
    let zeros = cost(&ran, ran.with("kind", "both zero")?, "both", "a page of zeros")?;
    let served = ran.reading.host.as_ref();
    let host = cost(&ran, ran.with("kind", "host")?, "host", fault)?;
    let major = served.is_some_and(|host| host.faults.file.count > PAGES);
    let is_right = served.is_some_and(|host| count(host) > PAGES);
    Ok((zeros, is_right.then_some(Cost { major, ..host })))
}

fn cost(ran: &Ran, record: &Record, level: &'static str, fault: &'static str) -> Result<Cost, ExploreError> {
    let samples = record.number("samples")?;
    Ok(Cost {
        level,
        fault,
        major: record.number("major")? * 2 > samples,
        samples,
        p50_ns: ran.nanoseconds(record.number("p50")?),
        p99_ns: ran.nanoseconds(record.number("p99")?),
    })
}

fn sentence(costs: &[Cost]) -> String {
    let of = |wanted: bool| costs.iter().filter(move |cost| cost.major == wanted).map(|cost| cost.p50_ns);
    let range = |wanted| Some((of(wanted).min()?, of(wanted).max()?));
    let (Some(minor), Some(major)) = (range(false), range(true)) else {
        return "There were no faults of both kinds to compare.".to_owned();
    };
    let span = |(least, most): (u64, u64)| format!("{} to {}", Nanos(least), Nanos(most));
    let (cheapest, dearest) =
        (costs.iter().min_by_key(|cost| cost.p50_ns), costs.iter().max_by_key(|cost| cost.p50_ns));
    let named =
        |cost: Option<&Cost>| cost.map_or(String::new(), |cost| format!("{} ({})", cost.fault, cost.level));
    let times = dearest.map_or(1, |cost| cost.p50_ns) / cheapest.map_or(1, |cost| cost.p50_ns.max(1));
    format!(
        "By their medians, minor faults cost {} and major ones {}; the dearest, {}, costs {} times the \
         cheapest, {}.",
        span(minor),
        span(major),
        named(dearest),
        Count(times),
        named(cheapest)
    )
}
