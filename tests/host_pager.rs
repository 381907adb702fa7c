//! The host pager on real guest RAM: threads touch more of it than the budget holds, and every byte is checked.
//!
//! Needs userfaultfd; a test fails with the pager's own message where it is refused.

#![allow(clippy::expect_used)]

#[path = "support/pager.rs"]
mod pager_support;

use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use abi::addr::PAGE_SIZE;
use bifold::measure::Random;
use bifold::memory::{GuestRam, Size};
use bifold::pager::{Eviction, HostStats, Pager, PagerConfig, PagerError, ReferenceSource, slots_needed};
use bifold::store::{Store, StoreConfig, StoreError, StoreSpec};
use pager_support::must_not_fail;
use paging::policy::PolicyKind;
use vm_memory::{Bytes, GuestAddress};

const RAM_PAGES: u32 = 1024;
const BUDGET_PAGES: u32 = 128;
const SLOTS: u32 = slots_needed(Size::from_pages(RAM_PAGES)) as u32;

/// Guest RAM under a pager. Pages are named by their number.
struct Paged {
    ram: GuestRam,
    store: Arc<Store>,
    pager: Pager,
    failures: Mutex<Receiver<PagerError>>,
}

impl Paged {
    fn new(eviction: Eviction, policy: PolicyKind, spec: &StoreSpec, capacity: u32) -> Self {
        Self::over(eviction, policy, Store::open(spec, capacity).expect("a store"))
    }

    fn over(eviction: Eviction, policy: PolicyKind, store: Store) -> Self {
        let ram = GuestRam::new(Size::from_pages(RAM_PAGES)).expect("a little memory");
        let store = Arc::new(store);
        let config = PagerConfig {
            budget: Size::from_pages(BUDGET_PAGES),
            policy,
            store: Arc::clone(&store),
            reference: ReferenceSource::default(),
            eviction: Some(eviction),
            huge: None,
            trace: None,
        };
        let (sender, failures) = channel();
        let on_failure = move |error| sender.send(error).expect("the test listens");
        let pager = Pager::start(&ram, config, on_failure).unwrap_or_else(|error| panic!("{error}"));
        Self { ram, store, pager, failures: Mutex::new(failures) }
    }

    fn write(&self, page: u32, content: &[u8; PAGE_SIZE]) {
        self.ram.memory().write_slice(content, address(page)).expect("guest RAM");
    }

    fn read(&self, page: u32) -> [u8; PAGE_SIZE] {
        let mut content = [0; PAGE_SIZE];
        self.ram.memory().read_slice(&mut content, address(page)).expect("guest RAM");
        content
    }

    /// Has other pages take every frame of the budget.
    fn push_out(&self, others: Range<u32>) {
        assert!(others.len() as u32 >= 2 * BUDGET_PAGES);
        others.for_each(|page| assert!(self.read(page) == [0; PAGE_SIZE]));
    }

    /// Waits until the reclaim thread rests: then what leaves does not depend on which thread is faster.
    fn let_reclaim_rest(&self) {
        while self.pager.stats().resident > u64::from(BUDGET_PAGES - BUDGET_PAGES / 32) {
            std::thread::yield_now();
        }
    }

    fn stop(self) -> HostStats {
        let failures = self.failures.into_inner().expect("no thread panicked");
        assert!(failures.try_recv().is_err(), "the pager failed");
        let stats = self.pager.stop();
        // A page that is on its way to the file has its slot until it is there.
        while self.store.stats().writing > 0 {
            std::thread::yield_now();
        }
        assert_eq!(self.store.stats().slots_used, 0, "slots were not given back");
        stats
    }
}

fn address(page: u32) -> GuestAddress {
    GuestAddress(u64::from(page) * PAGE_SIZE as u64)
}

/// Content of a page by its version: zeros, one word repeated, or words that are all different.
fn content(page: u32, version: u32) -> [u8; PAGE_SIZE] {
    let mut content = [0; PAGE_SIZE];
    if version.is_multiple_of(5) {
        return content;
    }
    let step = if version % 5 == 1 { 0 } else { 0x9e37_79b9_7f4a_7c15 };
    let mut word = u64::from(page) << 32 | u64::from(version);
    for bytes in content.as_chunks_mut::<8>().0 {
        *bytes = word.to_le_bytes();
        word = word.wrapping_add(step);
    }
    content
}

/// Reads and writes pages `thread`, `thread + threads`, ... at random and checks every page that it reads.
fn hammer(paged: &Paged, thread: u32, threads: u32, steps: u32) {
    let mut random = Random::new(u64::from(thread) + 1);
    let own = RAM_PAGES / threads;
    let mut versions = vec![0_u32; own as usize];
    for step in 0..steps {
        // Half of the touches go to a tenth of the pages.
        let among = if random.below(2) == 0 { own / 10 } else { own };
        let choice = random.below(among as usize) as u32;
        let page = choice * threads + thread;
        let version = &mut versions[choice as usize];
        assert!(
            paged.read(page) == content(page, *version),
            "page {page} at step {step}: not version {version}"
        );
        if random.below(3) == 0 {
            *version += 1;
            paged.write(page, &content(page, *version));
        }
    }
}

fn hammer_from_four_threads(paged: Paged) -> HostStats {
    let threads = 4;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let paged = &paged;
            scope.spawn(move || hammer(paged, thread, threads, 5_000));
        }
    });
    paged.stop()
}

fn hammer_with(eviction: Eviction, policy: PolicyKind, spec: &StoreSpec) {
    let stats = hammer_from_four_threads(Paged::new(eviction, policy, spec, SLOTS));
    assert!(stats.resident_peak <= u64::from(BUDGET_PAGES), "{stats:?}");
    assert!(stats.evicted_dirty > 0 && stats.evicted_clean > 0 && stats.evicted_zero > 0, "{stats:?}");
    assert_eq!(stats.major > 0, stats.store.kind == "file", "{stats:?}");
    assert!(stats.faults.same_filled.count > 0, "{stats:?}");
    assert_eq!(stats.refused, 0, "nothing is pinned here: {stats:?}");
}

#[test]
fn no_write_is_lost_moving_with_clock_to_a_file() {
    hammer_with(Eviction::Move, PolicyKind::Clock, &StoreSpec::Temporary);
}

#[test]
fn no_write_is_lost_through_a_little_memory_to_a_file_that_is_slow_and_cuts_requests() {
    let faults = "short=0.2,delay=1ms:0.02".parse().expect("well formed");
    let config = StoreConfig { compressed: Some(256 << 10), faults, ..StoreConfig::default() };
    let store = Store::with(&config, SLOTS).expect("a store");
    let stats = hammer_from_four_threads(Paged::over(Eviction::Move, PolicyKind::Clock, store));
    assert!(stats.store.moved_down > 0 && stats.faults.memory.count > 0 && stats.major > 0, "{stats:?}");
}

#[test]
fn no_write_is_lost_moving_with_fifo_to_memory() {
    hammer_with(Eviction::Move, PolicyKind::Fifo, &StoreSpec::Memory);
}

#[test]
fn no_write_is_lost_moving_with_fifo_to_a_file() {
    hammer_with(Eviction::Move, PolicyKind::Fifo, &StoreSpec::Temporary);
}

#[test]
fn no_write_is_lost_moving_with_clock_to_memory() {
    hammer_with(Eviction::Move, PolicyKind::Clock, &StoreSpec::Memory);
}

#[test]
fn no_write_is_lost_copying_with_clock_to_a_file() {
    hammer_with(Eviction::Copy, PolicyKind::Clock, &StoreSpec::Temporary);
}

#[test]
fn no_write_is_lost_copying_with_fifo_to_memory() {
    hammer_with(Eviction::Copy, PolicyKind::Fifo, &StoreSpec::Memory);
}

#[test]
fn a_page_that_two_threads_write_keeps_the_words_of_both() {
    for eviction in [Eviction::Move, Eviction::Copy] {
        let paged = Paged::new(eviction, PolicyKind::Clock, &StoreSpec::Memory, SLOTS);
        let rounds = 20_u64;
        let write = |half: u64| {
            for round in 1..=rounds {
                for page in 0..4 * BUDGET_PAGES {
                    let own = GuestAddress(address(page).0 + half * 8);
                    let word: u64 = paged.ram.memory().read_obj(own).expect("guest RAM");
                    assert_eq!(word, round - 1, "a write to page {page} was lost");
                    paged.ram.memory().write_obj(round, own).expect("guest RAM");
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| write(0));
            scope.spawn(|| write(1));
        });
        paged.stop();
    }
}

#[test]
fn a_page_that_is_only_read_is_written_to_the_store_once() {
    let paged = Paged::new(Eviction::Move, PolicyKind::Fifo, &StoreSpec::Temporary, SLOTS);
    let pages = 4 * BUDGET_PAGES;
    (0..pages).for_each(|page| paged.write(page, &content(page, 3)));
    for _ in 0..5 {
        (0..pages).for_each(|page| assert!(paged.read(page) == content(page, 3)));
    }
    let stats = paged.stop();
    assert_eq!(stats.evicted_dirty, stats.store.writes);
    assert!(stats.store.writes <= u64::from(pages), "{stats:?}");
    assert!(stats.evicted_clean >= u64::from(3 * pages), "{stats:?}");
}

#[test]
fn a_page_of_zeros_takes_no_slot() {
    let paged = Paged::new(Eviction::Move, PolicyKind::Fifo, &StoreSpec::Memory, SLOTS);
    let pages = BUDGET_PAGES / 2;
    (0..pages).for_each(|page| paged.write(page, &content(page, 3)));
    paged.push_out(pages..RAM_PAGES);
    assert_eq!(paged.store.stats().slots_used, pages);
    (0..pages).for_each(|page| paged.write(page, &[0; PAGE_SIZE]));
    paged.push_out(pages..RAM_PAGES);
    assert_eq!(paged.store.stats().slots_used, 0);
    (0..pages).for_each(|page| assert!(paged.read(page) == [0; PAGE_SIZE]));
    paged.stop();
}

#[test]
fn clock_keeps_the_pages_that_are_used_and_fifo_does_not() {
    let [fifo, clock] = [PolicyKind::Fifo, PolicyKind::Clock].map(|policy| {
        let paged = Paged::new(Eviction::Move, policy, &StoreSpec::Memory, SLOTS);
        let mut reads_of_hot = 0;
        let hot = BUDGET_PAGES / 16;
        (0..RAM_PAGES).for_each(|page| paged.write(page, &content(page, 3)));
        for cold in hot..RAM_PAGES {
            paged.read(cold);
            paged.let_reclaim_rest();
            let before = paged.store.stats().reads;
            (0..hot).for_each(|page| assert!(paged.read(page) == content(page, 3)));
            reads_of_hot += paged.store.stats().reads - before;
        }
        paged.stop();
        reads_of_hot
    });
    assert!(clock * 3 < fifo, "{clock} reads of hot pages with clock, {fifo} with fifo");
}

#[test]
fn neighbours_come_along_where_a_part_of_memory_comes_back_into_use() {
    let paged = Paged::new(Eviction::Move, PolicyKind::Fifo, &StoreSpec::Memory, SLOTS);
    (0..RAM_PAGES).for_each(|page| paged.write(page, &content(page, 1)));
    let mut random = Random::new(1);
    // Half a budget at a time, each page about three times.
    for part in 0..8 {
        for _ in 0..BUDGET_PAGES * 3 / 2 {
            let page = part * BUDGET_PAGES + random.below(BUDGET_PAGES as usize / 2) as u32;
            assert!(paged.read(page) == content(page, 1), "page {page} is another");
        }
    }
    let around = paged.stop().around;
    assert!(around.pages > 16 && around.used > 16, "{around:?}");
}

#[test]
fn a_fork_does_not_keep_pages_from_moving() {
    let paged = Paged::new(Eviction::Move, PolicyKind::Fifo, &StoreSpec::Memory, SLOTS);
    (0..BUDGET_PAGES / 2).for_each(|page| paged.write(page, &content(page, 3)));
    // SAFETY: the child makes no call but pause, which is safe after a fork of a process with threads.
    let child = unsafe { libc::fork() };
    if child == 0 {
        loop {
            // SAFETY: as above.
            unsafe { libc::pause() };
        }
    }
    assert!(child > 0, "fork: {}", std::io::Error::last_os_error());
    paged.push_out(BUDGET_PAGES / 2..RAM_PAGES);
    (0..BUDGET_PAGES / 2).for_each(|page| assert!(paged.read(page) == content(page, 3)));
    // SAFETY: the child is ours, and not yet waited for.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, std::ptr::null_mut(), 0);
    }
    assert_eq!(paged.stop().refused, 0);
}

#[test]
fn a_page_that_a_device_may_write_to_stays_where_it_is() {
    let paged = Paged::new(Eviction::Move, PolicyKind::Fifo, &StoreSpec::Memory, SLOTS);
    let pages = BUDGET_PAGES / 4;
    (0..pages).for_each(|page| paged.write(page, &content(page, 3)));
    let pinned = pin(&paged, pages);
    paged.push_out(pages..RAM_PAGES);
    assert_eq!(paged.store.stats().slots_used, 0, "no page that is not zeros has left");
    drop(pinned);
    // The ring ends, and lets go of the pages, in its own time.
    while paged.store.stats().slots_used < pages {
        paged.push_out(pages..RAM_PAGES);
    }
    (0..pages).for_each(|page| assert!(paged.read(page) == content(page, 3)));
    assert!(paged.stop().refused >= u64::from(pages));
}

/// Pins the first `pages` pages for as long as the answer lives, by making them a buffer of an io_uring.
fn pin(paged: &Paged, pages: u32) -> OwnedFd {
    let start = paged.ram.regions()[0].start.0 as usize;
    let buffer = libc::iovec {
        iov_base: std::ptr::with_exposed_provenance_mut(start),
        iov_len: pages as usize * PAGE_SIZE,
    };
    let mut parameters = [0_u8; 120];
    // SAFETY: the parameters are as long as struct io_uring_params.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) };
    assert!(ring >= 0, "io_uring_setup: {}", std::io::Error::last_os_error());
    // SAFETY: the kernel has just made this descriptor.
    let ring = unsafe { OwnedFd::from_raw_fd(ring as i32) };
    const REGISTER_BUFFERS: u32 = 0;
    // SAFETY: one iovec, and it lies in guest RAM.
    let result =
        unsafe { libc::syscall(libc::SYS_io_uring_register, ring.as_raw_fd(), REGISTER_BUFFERS, &buffer, 1) };
    assert_eq!(result, 0, "io_uring_register: {}", std::io::Error::last_os_error());
    ring
}

#[test]
fn a_damaged_page_is_reported_and_never_given_to_anyone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let spec = StoreSpec::At(directory.path().to_owned());
    let paged = Paged::new(Eviction::Move, PolicyKind::Fifo, &spec, SLOTS);
    paged.write(0, &content(0, 3));
    paged.push_out(1..RAM_PAGES);
    damage(directory.path());
    let Paged { ram, pager, failures, store } = paged;
    let failures = failures.into_inner().expect("no thread panicked");
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| ram.memory().read_obj::<u64>(address(0)));
        let error = failures.recv().expect("a failure");
        assert!(
            matches!(&error, PagerError::Read { frame, error: StoreError::Corrupt(_) } if frame.0 == 0),
            "{error}"
        );
        assert!(!reader.is_finished(), "the reader still waits");
        drop(pager);
        reader.join().expect("woken by the end of the pager").expect("guest RAM");
    });
    assert_eq!(store.stats().slots_used, 0);
}

/// Overwrites the nameless file in `directory` that this process has open.
fn damage(directory: &std::path::Path) {
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("/proc");
    let descriptor = descriptors
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| std::fs::read_link(path).is_ok_and(|target| target.starts_with(directory)))
        .expect("the store's file");
    let file = std::fs::File::options().write(true).open(descriptor).expect("our own file");
    file.write_all_at(&[0xaa; 64 * PAGE_SIZE], 0).expect("a writable file");
}

#[test]
fn a_store_that_is_full_is_reported_once() {
    let paged = Paged::new(Eviction::Move, PolicyKind::Clock, &StoreSpec::Memory, 10);
    let Paged { ram, pager, failures, store } = paged;
    let failures = failures.into_inner().expect("no thread panicked");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (0..RAM_PAGES).for_each(|page| {
                ram.memory().write_slice(&content(page, 3), address(page)).expect("guest RAM");
            });
        });
        let error = failures.recv().expect("a failure");
        assert!(matches!(error, PagerError::Write(StoreError::Full(10))), "{error}");
        drop(pager);
    });
    assert!(failures.recv().is_err(), "told once");
    assert_eq!(store.stats().slots_used, 0);
}

#[test]
fn a_budget_of_all_of_guest_ram_evicts_nothing() {
    let ram = GuestRam::new(Size::mib(1)).expect("a little memory");
    let store = Arc::new(Store::open(&StoreSpec::Memory, 1).expect("memory"));
    let config = PagerConfig {
        budget: Size::mib(1),
        policy: PolicyKind::Clock,
        store,
        reference: ReferenceSource::default(),
        eviction: None,
        huge: None,
        trace: None,
    };
    let pager = Pager::start(&ram, config, must_not_fail).unwrap_or_else(|error| panic!("{error}"));
    for page in 0..256 {
        ram.memory().write_slice(&content(page, 3), address(page)).expect("guest RAM");
    }
    let stats = pager.stop();
    assert_eq!((stats.parked, stats.resident), (0, 256), "{stats:?}");
}

#[test]
fn a_budget_that_nothing_can_run_in_is_refused() {
    let ram = GuestRam::new(Size::mib(1)).expect("a little memory");
    let store = Arc::new(Store::open(&StoreSpec::Memory, 1).expect("memory"));
    let config = PagerConfig {
        budget: Size::from_pages(16),
        policy: PolicyKind::Fifo,
        store,
        reference: ReferenceSource::default(),
        eviction: None,
        huge: None,
        trace: None,
    };
    let error = Pager::start(&ram, config, |_| {}).err().expect("too small");
    assert_eq!(
        error.to_string(),
        "a host budget (--host-ram) of 64 KiB is too small to run in: give at least 256 KiB"
    );
}
