//! What a host fault costs: 128 MiB of guest RAM in 32 MiB of host memory, touched by one thread.
//!
//! `cargo bench --bench host_fault`. Figures are of this machine and this moment; the ratio to a bare userfaultfd
//! round trip, taken in the same run, is what compares. Page contents do not compress.

#![allow(clippy::expect_used)]

#[path = "support/zeros.rs"]
mod zeros;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use abi::addr::PAGE_SIZE;
use bifold::measure::LatencySummary;
use bifold::memory::{GuestRam, Size};
use bifold::pager::uffd::{Range, Uffd};
use bifold::pager::{Eviction, HostStats, Pager, PagerConfig, ReferenceSource, TraceFile, slots_needed};
use bifold::store::{Store, StoreSpec};
use paging::policy::PolicyKind;
use vm_memory::{Bytes, GuestAddress};

const RAM: Size = Size::mib(128);
const BUDGET: Size = Size::mib(32);

fn main() {
    let bare = bare_round_trip();
    println!("bare userfaultfd round trip: {:.1} us a page", micros(bare));
    println!();
    println!(
        "{:<8} {:<6} {:<6} {:<13} {:<16} {:>8} {:>8} {:>7} {:>8} {:>8}",
        "store", "policy", "evict", "reference", "pass", "us/touch", "k/s", "ratio", "p50 us", "p99 us"
    );
    let soft = ReferenceSource::SoftFault;
    for (spec, policy, eviction, reference) in [
        (StoreSpec::Memory, PolicyKind::Fifo, Eviction::Move, soft),
        (StoreSpec::Memory, PolicyKind::Clock, Eviction::Move, soft),
        (StoreSpec::Memory, PolicyKind::Clock, Eviction::Move, ReferenceSource::WriteProtect),
        (StoreSpec::Memory, PolicyKind::Clock, Eviction::Move, ReferenceSource::Pagemap),
        (StoreSpec::Memory, PolicyKind::Fifo, Eviction::Copy, soft),
        (StoreSpec::Temporary, PolicyKind::Fifo, Eviction::Move, soft),
        (StoreSpec::Temporary, PolicyKind::Clock, Eviction::Move, soft),
    ] {
        passes(&spec, (policy, eviction, reference), None, bare);
    }
    println!();
    println!("with a record of every fault:");
    let trace = tempfile::NamedTempFile::new().expect("a temporary file");
    let file = trace.reopen().expect("our own file");
    let trace = Some((trace.path().to_owned(), file));
    passes(&StoreSpec::Memory, (PolicyKind::Fifo, Eviction::Move, soft), trace, bare);
}

/// A touch that a thread answers at once with a page of zeros.
fn bare_round_trip() -> Duration {
    let ram = GuestRam::new(RAM).expect("address space");
    let uffd = Uffd::open().unwrap_or_else(|error| panic!("{error}"));
    let region = ram.regions()[0];
    let range = Range { start: region.start, bytes: region.range.bytes };
    uffd.register(range, false).expect("a private mapping");
    thread::scope(|scope| {
        scope.spawn(|| zeros::answer(&uffd, RAM.pages(), false));
        let start = Instant::now();
        (0..RAM.pages()).for_each(|page| read(&ram, page));
        start.elapsed() / RAM.pages() as u32
    })
}

fn passes(
    spec: &StoreSpec,
    (policy, eviction, reference): (PolicyKind, Eviction, ReferenceSource),
    trace: Option<TraceFile>,
    bare: Duration,
) {
    let ram = GuestRam::new(RAM).expect("address space");
    let pages = RAM.pages();
    let store =
        Arc::new(Store::open(spec, slots_needed(RAM) as u32).unwrap_or_else(|error| panic!("{error}")));
    let config =
        PagerConfig { budget: BUDGET, policy, store, reference, eviction: Some(eviction), huge: None, trace };
    let pager =
        Pager::start(&ram, config, |error| panic!("{error}")).unwrap_or_else(|error| panic!("{error}"));
    // `touch` is given the number of the touch, and a random number.
    let report = |pass: &str, touches: u64, touch: &dyn Fn(u64, u64)| {
        let start = Instant::now();
        let mut random = 1_u64;
        for step in 0..touches {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            touch(step, random >> 33);
        }
        let a_page = start.elapsed() / touches as u32;
        let stats = pager.stats();
        let latency = source(&stats, pass);
        println!(
            "{:<8} {:<6} {:<6} {:<13} {pass:<16} {:>8.1} {:>8.1} {:>7.2} {:>8.1} {:>8.1}",
            stats.store.kind,
            stats.policy,
            stats.eviction,
            stats.reference,
            micros(a_page),
            1000.0 / micros(a_page),
            a_page.as_secs_f64() / bare.as_secs_f64(),
            latency.p50_ns as f64 / 1000.0,
            latency.p99_ns as f64 / 1000.0,
        );
    };
    report("populate", pages, &|page, _| fill(&ram, page));
    report("sequential read", pages, &|page, _| read(&ram, page));
    report("random write", pages, &|step, random| write(&ram, random % pages, step));
    // Nine touches in ten go to pages that would fit, the tenth to any.
    let hot = BUDGET.pages() / 2;
    report("hot and cold", 10 * pages, &|step, random| {
        read(&ram, random % if step % 10 == 0 { pages } else { hot });
    });
    let stats = pager.stop();
    if stats.sampling.looked_at > 0 {
        let ns = stats.sampling.ns as f64 / stats.sampling.looked_at as f64;
        println!("    sampled {} frames, {ns:.1} us a 1000", stats.sampling.looked_at);
    }
    println!(
        "    evicted {} clean, {} dirty; {} rescued (p50 {:.1} us), peak {} of {} frames",
        stats.evicted_clean,
        stats.evicted_dirty,
        stats.faults.rescued.count,
        stats.faults.rescued.p50_ns as f64 / 1000.0,
        stats.resident_peak,
        stats.budget
    );
}

/// The latencies, since the start, of the faults that a pass is about.
fn source(stats: &HostStats, pass: &str) -> LatencySummary {
    match (pass, stats.store.kind) {
        ("populate", _) => stats.faults.zero,
        (_, "file") => stats.faults.file,
        _ => stats.faults.memory,
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn address(page: u64) -> GuestAddress {
    GuestAddress(page * PAGE_SIZE as u64)
}

fn read(ram: &GuestRam, page: u64) {
    let word: u64 = ram.memory().read_obj(address(page)).expect("guest RAM");
    std::hint::black_box(word);
}

fn write(ram: &GuestRam, page: u64, word: u64) {
    ram.memory().write_obj(word, address(page)).expect("guest RAM");
}

/// Two different words make a page that is not of one word.
fn fill(ram: &GuestRam, page: u64) {
    write(ram, page, page + 1);
}
