//! The budget as the kernel sees it: /proc/self/smaps, sampled while threads fault as fast as they can.
//!
//! The one test of this file, because it takes every userfaultfd mapping of the process to be the pager's.

#![allow(clippy::expect_used)]

#[path = "support/pager.rs"]
mod pager_support;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use abi::addr::PAGE_SIZE;
use bifold::memory::{GuestRam, Size};
use bifold::pager::{Eviction, Pager, PagerConfig, ReferenceSource, slots_needed};
use bifold::store::{Store, StoreSpec};
use pager_support::{EndsThem, must_not_fail};
use paging::policy::PolicyKind;
use vm_memory::{Bytes, GuestAddress};

const RAM_PAGES: u32 = 4096;
const BUDGET_PAGES: u32 = 512;

/// Resident pages of all mappings that a userfaultfd watches: guest RAM and the staging area.
fn resident() -> u64 {
    let smaps = fs::read_to_string("/proc/self/smaps").expect("/proc");
    let (mut of_all, mut pages) = (0, 0);
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("Rss:") => {
                let kib: u64 = words.next().and_then(|kib| kib.parse().ok()).expect("a number");
                pages = kib * 1024 / PAGE_SIZE as u64;
            }
            Some("VmFlags:") if words.any(|flag| flag == "um") => of_all += pages,
            _ => {}
        }
    }
    of_all
}

/// Pages that went between guest RAM and the staging area so far.
fn moved(pager: &Pager) -> u64 {
    let stats = pager.stats();
    stats.parked + stats.faults.rescued.count
}

#[test]
fn the_budget_is_never_exceeded() {
    for (eviction, policy) in [Eviction::Move, Eviction::Copy]
        .into_iter()
        .flat_map(|eviction| PolicyKind::ALL.map(|policy| (eviction, policy)))
    {
        let ram = GuestRam::new(Size::from_pages(RAM_PAGES)).expect("a little memory");
        let store = Arc::new(
            Store::open(&StoreSpec::Memory, slots_needed(Size::from_pages(RAM_PAGES)) as u32)
                .expect("memory"),
        );
        let config = PagerConfig {
            budget: Size::from_pages(BUDGET_PAGES),
            policy,
            store,
            reference: ReferenceSource::default(),
            eviction: Some(eviction),
            huge: None,
            trace: None,
        };
        let pager = Pager::start(&ram, config, must_not_fail).unwrap_or_else(|error| panic!("{error}"));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _ends = EndsThem(&done);
            for thread in 0..2_u64 {
                let (ram, done) = (&ram, &done);
                scope.spawn(move || {
                    let mut word = thread + 1;
                    while !done.load(Ordering::Relaxed) {
                        word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                        let page = (word >> 33) % u64::from(RAM_PAGES);
                        let address = GuestAddress(page * PAGE_SIZE as u64 + thread * 8);
                        ram.memory().write_obj(word, address).expect("guest RAM");
                    }
                });
            }
            let mut fullest = 0;
            for look in 0..100_000 {
                // More looks where those who touch have not come far in a hundred.
                if look >= 100 && fullest > u64::from(BUDGET_PAGES) / 2 {
                    break;
                }
                let before = moved(&pager);
                let resident = resident();
                // The kernel counts page by page. One that leaves when it was counted makes room for one that is counted
                // later, and one that moves between the mappings may be counted in both. The pager's own count comes after the
                // move, by at most a batch of 32 pages and one rescue.
                let twice = moved(&pager) - before + 33;
                let budget = u64::from(BUDGET_PAGES);
                assert!(
                    resident <= budget + twice,
                    "{eviction:?} {policy}: {resident} pages resident, {twice} moved"
                );
                fullest = fullest.max(resident);
            }
            assert!(fullest > u64::from(BUDGET_PAGES) / 2, "the sampler saw only {fullest} pages");
        });
        let stats = pager.stats();
        assert!(stats.resident_peak <= u64::from(BUDGET_PAGES), "{stats:?}");
        // With nobody faulting, reclaim comes to rest, and then the pager's own count is the kernel's. On a loaded machine the
        // thread that reclaims may rest in the middle of a batch: a hundred looks before the two differ for good.
        let counts = || (resident(), pager.stats().resident);
        let agree = (0..100).any(|_| {
            let (kernel, own) = quiet(&pager, counts);
            kernel == own
        });
        assert!(agree, "{eviction:?} {policy}: {:?}", counts());
    }
}

/// Takes a measurement during which the pager did nothing.
fn quiet<T>(pager: &Pager, measure: impl Fn() -> T) -> T {
    loop {
        let before = (pager.stats().resident, moved(pager));
        std::thread::sleep(std::time::Duration::from_millis(5));
        let measured = measure();
        if before == (pager.stats().resident, moved(pager)) {
            return measured;
        }
    }
}
