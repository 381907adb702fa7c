//! The host's victims: what each reference source sees, which refaults are counted, and what the trace of faults says.
//!
//! Host threads take the guest's place, so guest-tables is tested where there is a guest (tests/stack/host_reference.rs).

#![allow(clippy::expect_used)]

#[path = "support/pager.rs"]
mod pager_support;

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use abi::addr::PAGE_SIZE;
use bifold::measure::Random;
use bifold::measure::trace::{Cause, Event, Trace, TraceSource};
use bifold::memory::{GuestRam, Size};
use bifold::pager::{Eviction, HostStats, Pager, PagerConfig, PagerError, ReferenceSource, slots_needed};
use bifold::store::{Store, StoreSpec};
use pager_support::must_not_fail;
use paging::policy::PolicyKind;
use paging::replay::{NextUses, Reference, opt, replay};
use vm_memory::{Bytes, GuestAddress};

const BUDGET: u32 = 256;
/// Neighbours that a page may bring along, with it.
const WINDOW: u32 = 16;
const PAGES: u32 = VISITED * WINDOW;
/// Those that most tests visit.
const VISITED: u32 = 1024;

/// Guest RAM under a pager whose trace is recorded.
struct Paged {
    ram: GuestRam,
    pager: Pager,
    trace: tempfile::NamedTempFile,
}

fn start(
    ram: &GuestRam,
    budget: u32,
    policy: PolicyKind,
    reference: ReferenceSource,
    eviction: Option<Eviction>,
    trace: Option<&Path>,
) -> Result<Pager, PagerError> {
    let slots = slots_needed(ram.size()) as u32;
    let store = Arc::new(Store::open(&StoreSpec::Memory, slots).expect("memory"));
    let trace = trace.map(|path| (path.to_owned(), File::create(path).expect("a temporary file")));
    let budget = Size::from_pages(budget);
    let config = PagerConfig { budget, policy, store, reference, eviction, huge: None, trace };
    Pager::start(ram, config, must_not_fail)
}

impl Paged {
    fn new(policy: PolicyKind, reference: ReferenceSource) -> Self {
        Self::with_budget(BUDGET, policy, reference)
    }

    fn with_budget(budget: u32, policy: PolicyKind, reference: ReferenceSource) -> Self {
        let ram = GuestRam::new(Size::from_pages(PAGES)).expect("a little memory");
        let trace = tempfile::NamedTempFile::new().expect("a temporary file");
        let pager = start(&ram, budget, policy, reference, None, Some(trace.path()));
        Self { pager: pager.unwrap_or_else(|error| panic!("{error}")), ram, trace }
    }

    /// Two words that differ: a page that is nowhere but in the store once it is out.
    fn write(&self, page: u32, version: u64) {
        let words = [u64::from(page) + 1, version].map(u64::to_le_bytes);
        self.ram.memory().write_slice(&words.concat(), address(page)).expect("guest RAM");
    }

    fn version(&self, page: u32) -> u64 {
        let mut words = [[0; 8]; 2];
        self.ram.memory().read_slice(words.as_flattened_mut(), address(page)).expect("guest RAM");
        assert_eq!(u64::from_le_bytes(words[0]), u64::from(page) + 1, "the page is another one's");
        u64::from_le_bytes(words[1])
    }

    fn stop(self) -> (HostStats, Vec<Event>) {
        let stats = self.pager.stop();
        let Trace::Binary(events) = Trace::open(self.trace.path()).expect("a trace") else {
            panic!("a text?");
        };
        (stats, events.collect::<Result<_, _>>().expect("a sound trace"))
    }
}

fn address(page: u32) -> GuestAddress {
    GuestAddress(u64::from(page) * PAGE_SIZE as u64)
}

/// How often pages of a hot third of the budget came back from the store, while nine writes in ten went to them.
fn hot_pages_lost(policy: PolicyKind, reference: ReferenceSource) -> (u64, HostStats) {
    let paged = Paged::new(policy, reference);
    (0..VISITED).for_each(|page| paged.write(page, 0));
    let (hot, mut random) = (BUDGET / 3, Random::new(7));
    for step in 0..20_000 {
        let among = if step % 10 == 0 { VISITED } else { hot };
        paged.write(random.below(among as usize) as u32, step);
    }
    let (stats, events) = paged.stop();
    let lost = |event: &&Event| event.page.number < hot.into() && event.source == TraceSource::Memory;
    (events.iter().filter(lost).count() as u64, stats)
}

#[test]
fn clock_keeps_hot_pages_that_fifo_loses_with_each_source_that_sees_their_writes() {
    let (by_fifo, _) = hot_pages_lost(PolicyKind::Fifo, ReferenceSource::SoftFault);
    for reference in [ReferenceSource::SoftFault, ReferenceSource::WriteProtect, ReferenceSource::Pagemap] {
        let (lost, stats) = hot_pages_lost(PolicyKind::Clock, reference);
        assert!(2 * lost < by_fifo, "{reference}: {lost} hot pages lost, with fifo {by_fifo}: {stats:?}");
    }
}

#[test]
fn sources_that_see_writes_save_soft_faults() {
    let rescued = |reference| hot_pages_lost(PolicyKind::Clock, reference).1.faults.rescued.count;
    let alone = rescued(ReferenceSource::SoftFault);
    for reference in [ReferenceSource::WriteProtect, ReferenceSource::Pagemap] {
        let with = rescued(reference);
        assert!(with < alone, "{reference}: {with} soft faults, without it {alone}");
    }
}

#[test]
fn what_a_source_does_is_counted() {
    let (_, alone) = hot_pages_lost(PolicyKind::Clock, ReferenceSource::SoftFault);
    assert_eq!((alone.sampling.passes, alone.protection_faults), (0, 0));
    let (_, protected) = hot_pages_lost(PolicyKind::Clock, ReferenceSource::WriteProtect);
    assert!(protected.sampling.looked_at > u64::from(VISITED) && protected.protection_faults > 0);
    let (_, scanned) = hot_pages_lost(PolicyKind::Clock, ReferenceSource::Pagemap);
    assert!(scanned.sampling.used > 0 && scanned.protection_faults == 0, "the kernel lets writes go on");
}

#[test]
fn no_write_is_lost_under_any_policy_with_any_source() {
    for policy in PolicyKind::ALL {
        for reference in [ReferenceSource::SoftFault, ReferenceSource::WriteProtect, ReferenceSource::Pagemap]
        {
            let paged = Paged::new(policy, reference);
            let mut random = Random::new(3);
            let mut versions = HashMap::new();
            for step in 0..6_000 {
                let page = random.below(VISITED as usize) as u32;
                let version = versions.entry(page).or_insert(0);
                if *version > 0 {
                    assert_eq!(paged.version(page), *version, "{policy} {reference}, page {page}");
                }
                if *version == 0 || random.below(3) == 0 {
                    *version = step + 1;
                    paged.write(page, *version);
                }
            }
            let (stats, _) = paged.stop();
            assert!(stats.resident_peak <= BUDGET.into() && stats.evicted_dirty > 0, "{policy} {reference}");
        }
    }
}

/// Protection of single pages for an eviction by copy, and of many to see writes, do not get in each other's way.
#[test]
fn write_protection_goes_with_eviction_by_copy_and_pagemap_says_that_it_does_not() {
    let ram = GuestRam::new(Size::from_pages(PAGES)).expect("a little memory");
    let copy = Some(Eviction::Copy);
    let error =
        start(&ram, BUDGET, PolicyKind::Clock, ReferenceSource::Pagemap, copy, None).err().expect("refused");
    assert!(error.to_string().contains("pagemap"), "{error}");
    let pager = start(&ram, BUDGET, PolicyKind::Clock, ReferenceSource::WriteProtect, copy, None);
    let pager = pager.unwrap_or_else(|error| panic!("{error}"));
    for step in 0..8_000_u64 {
        let page = (step * 17 % 611) as u32;
        let seen: u64 = ram.memory().read_obj(address(page)).expect("guest RAM");
        assert_eq!(seen, if step < 611 { 0 } else { step - 611 + 1 }, "page {page}");
        ram.memory().write_obj(step + 1, address(page)).expect("guest RAM");
    }
    assert!(pager.stop().protection_faults > 0);
}

/// Goes round `pages` pages `rounds` times, always in the same order, in which no page is near to any of the last few and no two are
/// neighbours, so that none is brought in ahead: each page that is out is a fault.
fn loop_over(paged: &Paged, pages: u32, rounds: u64) {
    (0..rounds).for_each(|round| (0..pages).for_each(|step| paged.write(step * 137 % pages * WINDOW, round)));
}

#[test]
fn a_page_that_comes_back_within_a_budget_of_evictions_is_a_refault_and_no_other_is() {
    // A loop one and a half times as long as the budget is wide: half a budget goes between a page's going and its return.
    let paged = Paged::new(PolicyKind::Fifo, ReferenceSource::SoftFault);
    loop_over(&paged, BUDGET * 3 / 2, 5);
    let (stats, _) = paged.stop();
    assert!(stats.refaults > u64::from(BUDGET * 3 / 2 * 3), "{stats:?}");
    let [_, _, near, middle, far, ..] = stats.refault_distance;
    assert_eq!(near + middle + far, stats.refaults, "half a budget is three sixths: {stats:?}");

    let paged = Paged::new(PolicyKind::Fifo, ReferenceSource::SoftFault);
    loop_over(&paged, BUDGET * 3, 5);
    let (stats, _) = paged.stop();
    assert_eq!(stats.refaults, 0, "two budgets lie between: {stats:?}");
}

/// Faults of the recorded string with so many frames.
fn replayed(events: &[Event], faults: impl Fn(u32, &[Reference]) -> u64) -> u64 {
    let use_of = |event: &Event| Reference::new(event.page.number as u32, event.cause == Cause::Write);
    faults(PAGES, &events.iter().map(use_of).collect::<Vec<_>>())
}

#[test]
fn the_trace_of_a_loop_gives_the_live_faults_when_replayed_and_opt_has_far_fewer() {
    let paged = Paged::new(PolicyKind::Fifo, ReferenceSource::SoftFault);
    loop_over(&paged, BUDGET * 3 / 2, 10);
    let (stats, events) = paged.stop();
    let live = stats.minor + stats.major;
    // The thread that touched a page may be here before the fault is counted.
    assert!(events.len() as u64 - live <= 1, "each fault is an event, {} of {live}", events.len());
    assert!(events.is_sorted_by_key(|event| event.time_ns));
    let fifo = replayed(&events, |pages, all| replay(PolicyKind::Fifo, BUDGET, pages, all).faults);
    assert!(fifo.abs_diff(live) < live / 50, "live {live}, replayed {fifo}");
    let best = replayed(&events, |pages, all| opt(BUDGET, pages, all, &NextUses::of(pages, all)).faults);
    assert!(best * 3 < live * 2, "live {live}, opt {best}");
}

#[test]
fn tables_take_no_more_than_they_say() {
    for (policy, bytes_a_page) in
        [(PolicyKind::Fifo, 8), (PolicyKind::Clock, 8), (PolicyKind::Sieve, 8), (PolicyKind::WsClock, 12)]
    {
        let paged = Paged::new(policy, ReferenceSource::SoftFault);
        (0..PAGES).for_each(|page| paged.write(page, 0));
        let (stats, _) = paged.stop();
        // Those of the policy, and less than four for the page's frame.
        let (most, frames) = (u64::from(BUDGET), u64::from(PAGES));
        assert!(
            stats.policy_bytes <= (bytes_a_page + 4) * most + 8,
            "{policy}: {} bytes",
            stats.policy_bytes
        );
        // Four of state, half of one of marks, and a little for each group; eight for a page on its way out.
        let others = stats.metadata_bytes - stats.policy_bytes;
        assert!(others <= frames * 37 / 8 + 8 * most, "{policy}: {others} bytes");
    }
}

/// Three thousandths of guest RAM, when each of its pages was out and a quarter of them are in.
#[test]
fn all_tables_together_take_no_more_than_three_thousandths_of_guest_ram() {
    for policy in [PolicyKind::Fifo, PolicyKind::Clock] {
        let paged = Paged::with_budget(PAGES / 4, policy, ReferenceSource::SoftFault);
        (0..PAGES).for_each(|page| paged.write(page, 7));
        // These push the last ones out, and keep their slots.
        (0..PAGES / 2).for_each(|page| assert_eq!(paged.version(page), 7));
        let bytes = paged.ram.size().bytes();
        let (stats, _) = paged.stop();
        assert_eq!(stats.store.slots_used, PAGES, "{policy}: each page is in the store");
        let (tables, slots) = (stats.metadata_bytes, stats.store.metadata_bytes);
        assert!((tables + slots) * 1000 <= 3 * bytes, "{policy}: {tables} and {slots} bytes");
    }
}
