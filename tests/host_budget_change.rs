//! A budget that changes while threads fault: nothing is lost, nobody waits for good, and what was asked for
//! holds in the end.

#![allow(clippy::expect_used)]

#[path = "support/pager.rs"]
mod pager_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use abi::addr::PAGE_SIZE;
use bifold::memory::{GuestRam, Size};
use bifold::pager::{Eviction, Pager, PagerConfig, PagerError, ReferenceSource, slots_needed};
use bifold::store::{Store, StoreSpec};
use pager_support::{EndsThem, must_not_fail};
use paging::policy::PolicyKind;
use vm_memory::{Bytes, GuestAddress};

const RAM: Size = Size::from_pages(4096);
/// The longest that anything may take: far more than it needs, and yet an end.
const LIMIT: Duration = Duration::from_secs(400);
/// Between two looks at the counters, which take locks that the pager wants, too.
const LOOK: Duration = Duration::from_millis(5);

/// Guest RAM under a pager with a budget of so many pages.
fn paged(eviction: Eviction, policy: PolicyKind, budget: u32) -> (GuestRam, Pager) {
    let ram = GuestRam::new(RAM).expect("a little memory");
    let store = Store::open(&StoreSpec::Memory, slots_needed(RAM) as u32).expect("memory");
    let budget = Size::from_pages(budget);
    let config = PagerConfig {
        budget,
        policy,
        store: Arc::new(store),
        eviction: Some(eviction),
        huge: None,
        reference: ReferenceSource::default(),
        trace: None,
    };
    let pager = Pager::start(&ram, config, must_not_fail).unwrap_or_else(|error| panic!("{error}"));
    (ram, pager)
}

/// A word of each thread's own in each page.
fn address(page: u64, thread: u64) -> GuestAddress {
    GuestAddress(page * PAGE_SIZE as u64 + thread * 8)
}

/// Adds one to the thread's word of random pages until `done`, and checks that no addition was lost.
fn count_up(ram: &GuestRam, thread: u64, done: &AtomicBool) {
    let mut counts = vec![0_u64; RAM.pages() as usize];
    let mut random = thread + 1;
    while !done.load(Ordering::Relaxed) {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let page = (random >> 33) % RAM.pages();
        let found: u64 = ram.memory().read_obj(address(page, thread)).expect("guest RAM");
        assert_eq!(found, counts[page as usize], "page {page}");
        counts[page as usize] += 1;
        ram.memory().write_obj(found + 1, address(page, thread)).expect("guest RAM");
    }
    for (page, count) in (0..).zip(counts) {
        let found: u64 = ram.memory().read_obj(address(page, thread)).expect("guest RAM");
        assert_eq!(found, count, "page {page}");
    }
}

fn wait_until_it_holds(pager: &Pager, budget: u32) {
    let start = Instant::now();
    while pager.stats().resident > budget.into() {
        assert!(start.elapsed() < LIMIT, "{:?}", pager.stats());
        std::thread::sleep(LOOK);
    }
}

#[test]
fn no_write_is_lost_while_the_budget_goes_up_and_down() {
    for eviction in [Eviction::Move, Eviction::Copy] {
        for policy in [PolicyKind::Fifo, PolicyKind::Clock, PolicyKind::S3Fifo] {
            let (ram, pager) = paged(eviction, policy, 512);
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let _ends = EndsThem(&done);
                (0..2).for_each(|thread| {
                    let (ram, done) = (&ram, &done);
                    scope.spawn(move || count_up(ram, thread, done));
                });
                for budget in [4096, 64, 2048, 1024, 128, 4096, 65, 256] {
                    pager.set_budget(Size::from_pages(budget)).expect("a good budget");
                    wait_until_it_holds(&pager, budget);
                    let before = pager.stats().minor;
                    let start = Instant::now();
                    while pager.stats().minor < before + 100 && budget < 4096 {
                        assert!(start.elapsed() < LIMIT, "{eviction:?} {policy}: nobody is served");
                        std::thread::sleep(LOOK);
                    }
                }
            });
            assert!(pager.stats().resident <= 256, "{eviction:?} {policy}: {:?}", pager.stats());
        }
    }
}

#[test]
fn a_budget_that_was_lowered_holds_though_nobody_faults() {
    for policy in [PolicyKind::Fifo, PolicyKind::Clock] {
        let (ram, pager) = paged(Eviction::Move, policy, 4096);
        (0..RAM.pages())
            .for_each(|page| ram.memory().write_obj(page + 1, address(page, 0)).expect("guest RAM"));
        assert_eq!(pager.stats().resident, RAM.pages());
        pager.set_budget(Size::from_pages(64)).expect("a good budget");
        wait_until_it_holds(&pager, 64);
        for page in 0..RAM.pages() {
            assert_eq!(ram.memory().read_obj::<u64>(address(page, 0)).expect("guest RAM"), page + 1);
        }
    }
}

#[test]
fn a_budget_that_cannot_be_is_refused() {
    let (_ram, pager) = paged(Eviction::Move, PolicyKind::Clock, 512);
    let refused = |pages| pager.set_budget(Size::from_pages(pages)).expect_err("refused");
    assert!(matches!(refused(63), PagerError::BudgetTooSmall(_)));
    assert!(matches!(refused(4097), PagerError::BudgetTooLarge { .. }));
    assert_eq!(pager.stats().budget, 512);
}
