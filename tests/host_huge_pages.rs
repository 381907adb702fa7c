//! Guest RAM of huge pages under the host pager: threads touch more of it than the budget holds, and every word is checked.
//!
//! Needs userfaultfd with UFFDIO_MOVE (Linux 6.8) and transparent huge pages; a test fails with the pager's own message
//! where it is refused.

#![allow(clippy::expect_used)]

#[path = "support/pager.rs"]
mod pager_support;

use std::fs;
use std::sync::Arc;

use abi::addr::PAGE_SIZE;
use bifold::memory::{Backing, GuestRam, Size};
use bifold::pager::{
    HostStats, HugeSwap, MIN_HUGE_BUDGET, Pager, PagerConfig, PagerError, ReferenceSource, slots_needed,
};
use bifold::store::{Store, StoreSpec};
use pager_support::must_not_fail;
use paging::policy::PolicyKind;
use vm_memory::{Bytes, GuestAddress};

/// Not a multiple of a huge page: the last group comes and goes page by page.
const RAM: Size = Size::from_pages(33 * 512 + 100);
const BUDGET: Size = Size::mib(24);
const PAGES: u64 = RAM.pages();

struct Paged {
    ram: GuestRam,
    store: Arc<Store>,
    pager: Pager,
}

impl Paged {
    fn new(swap: HugeSwap, policy: PolicyKind) -> Self {
        Backing::Transparent.check(RAM, true).unwrap_or_else(|error| panic!("{error}"));
        let ram = GuestRam::backed(RAM, Some(Backing::Transparent)).expect("a little memory");
        let store = Arc::new(Store::open(&StoreSpec::Memory, slots_needed(RAM) as u32).expect("memory"));
        let config = PagerConfig {
            budget: BUDGET,
            policy,
            store: Arc::clone(&store),
            eviction: None,
            huge: Some(swap),
            reference: ReferenceSource::default(),
            trace: None,
        };
        let pager = Pager::start(&ram, config, must_not_fail).unwrap_or_else(|error| panic!("{error}"));
        Self { ram, store, pager }
    }

    fn read(&self, page: u64, word: u64) -> u64 {
        self.ram.memory().read_obj(address(page, word)).expect("guest RAM")
    }

    fn write(&self, page: u64, word: u64, value: u64) {
        self.ram.memory().write_obj(value, address(page, word)).expect("guest RAM");
    }

    fn stop(self) -> HostStats {
        let stats = self.pager.stop();
        assert_eq!(self.store.stats().slots_used, 0, "slots were not given back");
        assert!(stats.resident_peak <= BUDGET.pages(), "{stats:?}");
        stats
    }
}

fn address(page: u64, word: u64) -> GuestAddress {
    GuestAddress(page * PAGE_SIZE as u64 + word * 8)
}

/// Each thread reads and writes words of its own in pages of all threads, and knows what it wrote.
fn hammer(paged: &Paged, thread: u64, steps: u32) {
    let mut versions = vec![0_u32; PAGES as usize];
    let mut random = thread + 1;
    let mut walk = 0;
    for step in 0..steps {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        // Stretches of a walk between random touches, so that everything that follows streams is at work.
        walk = if random >> 60 == 0 { (random >> 20) % PAGES } else { (walk + 1) % PAGES };
        let page = if (random >> 56) & 3 == 0 { (random >> 30) % PAGES } else { walk };
        let version = &mut versions[page as usize];
        let expected = if *version == 0 { 0 } else { page << 32 | u64::from(*version) };
        assert_eq!(paged.read(page, thread + 3), expected, "page {page} at step {step}");
        if (random >> 50) & 1 == 0 {
            *version += 1;
            paged.write(page, thread + 3, page << 32 | u64::from(*version));
        }
    }
}

fn hammer_with(swap: HugeSwap, policy: PolicyKind, steps: u32) -> HostStats {
    let paged = Paged::new(swap, policy);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let paged = &paged;
            scope.spawn(move || hammer(paged, thread, steps));
        }
    });
    paged.stop()
}

#[test]
fn no_word_is_lost_in_huge_pages_that_are_kept() {
    for policy in [PolicyKind::Fifo, PolicyKind::Clock] {
        let stats = hammer_with(HugeSwap::Keep, policy, 300);
        let huge = stats.huge.expect("they are huge");
        assert!(huge.brought_in > 0 && huge.evicted > 0 && huge.split == 0, "{huge:?}");
    }
}

#[test]
fn no_word_is_lost_in_huge_pages_that_are_split() {
    let huge = hammer_with(HugeSwap::Split, PolicyKind::Clock, 10_000).huge.expect("they are huge");
    assert!(huge.evicted == 0 && huge.split > 0, "{huge:?}");
}

#[test]
fn no_word_is_lost_in_huge_pages_that_are_kept_or_split() {
    for policy in [PolicyKind::Sieve, PolicyKind::Clock] {
        hammer_with(HugeSwap::Auto, policy, 10_000);
    }
}

/// Huge pages of the mapping at `start`, in KiB, as the kernel counts them.
fn kernel_counts_huge(start: u64) -> u64 {
    let smaps = fs::read_to_string("/proc/self/smaps").expect("/proc");
    let mut ours = false;
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("AnonHugePages:") if ours => {
                return words.next().and_then(|kib| kib.parse().ok()).expect("KiB");
            }
            Some(range) if range.contains('-') => ours = range.starts_with(&format!("{start:x}-")),
            _ => {}
        }
    }
    panic!("guest RAM is not among the mappings");
}

#[test]
fn what_comes_back_from_the_store_is_huge_again() {
    let paged = Paged::new(HugeSwap::Keep, PolicyKind::Fifo);
    // Three rounds over three times the budget: after the first, every page comes from the store.
    for round in 0..3 {
        for page in 0..33 * 512 {
            let expected = if round == 0 { 0 } else { page + round - 1 };
            assert_eq!(paged.read(page, 9), expected);
            paged.write(page, 9, page + round);
        }
    }
    let (huge, resident) = (kernel_counts_huge(paged.ram.regions()[0].start.0), paged.pager.stats().resident);
    assert!(huge / 4 > resident / 2, "{huge} KiB of huge pages, {resident} pages resident");
    let stats = paged.stop();
    assert!(stats.faults.memory.count < 33 * 3, "a fault brings 512 pages: {stats:?}");
}

#[test]
fn a_budget_of_a_few_huge_pages_is_refused() {
    let ram = GuestRam::backed(RAM, Some(Backing::Transparent)).expect("a little memory");
    let store = Arc::new(Store::open(&StoreSpec::Memory, slots_needed(RAM) as u32).expect("memory"));
    let budget = Size::from_pages(MIN_HUGE_BUDGET - 1);
    let config = PagerConfig {
        budget,
        policy: PolicyKind::Fifo,
        store,
        eviction: None,
        huge: Some(HugeSwap::Keep),
        reference: ReferenceSource::default(),
        trace: None,
    };
    let refused = Pager::start(&ram, config, |_| {}).err();
    assert!(matches!(refused, Some(PagerError::BudgetTooSmallForHuge(_))), "{refused:?}");
}
