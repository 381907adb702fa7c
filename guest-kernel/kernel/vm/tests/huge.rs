//! Huge pages against the same model: 2048 pages of addresses are four huge pages.

use super::*;
use crate::vm::area::PageSize;
use crate::vm::table::span;

const HUGE_PAGES: u64 = 4 * 512;

/// Memory that gives huge pages without being asked.
fn huge_memory(frames: u64, policy: PolicyKind) -> Memory {
    Memory { largest: 1, ..memory(frames, 8192, policy) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Up to four processes that map, cut, move, fork and promote with RAM for three huge pages and a little more: each sees what
    /// it wrote or inherited; frames, spare tables and slots all come back.
    #[test]
    fn huge_pages_are_cut_evicted_and_made_and_no_byte_changes(acts in acts(HUGE_PAGES, 1500), clock in any::<bool>()) {
        let policy = if clock { PolicyKind::Clock } else { PolicyKind::Fifo };
        live(huge_memory(2300, policy), HUGE_PAGES, acts);
    }
}

#[test]
fn one_fault_makes_a_huge_page_and_a_cut_splits_it() {
    let mut memory = huge_memory(2300, PolicyKind::Clock);
    let mut space = space(&mut memory);
    memory.map(&mut space, area(0, 512, READ_WRITE)).unwrap();
    for page in 0..512 {
        memory.put_user(&mut space, BASE + page * PAGE, &page).unwrap();
    }
    assert_eq!((memory.stats.faults.iter().sum::<u64>(), memory.stats.huge), (1, 512));
    memory.unmap_range(&mut space, &(BASE + 100 * PAGE..BASE + 101 * PAGE)).unwrap();
    assert_eq!((memory.stats.huge_split, memory.stats.huge, memory.stats.resident), (1, 0, 511));
    for page in (0..512).filter(|&page| page != 100) {
        assert_eq!(memory.get_user(&mut space, BASE + page * PAGE), Ok(page));
    }
    check_accounts(&memory, [&space]);
}

#[test]
fn small_pages_become_a_huge_one_when_all_are_there() {
    let mut memory = memory(2300, 64, PolicyKind::Clock);
    let mut space = space(&mut memory);
    memory.map(&mut space, area(0, 512, READ_WRITE)).unwrap();
    let all = BASE..BASE + 512 * PAGE;
    for page in 0..511 {
        memory.put_user(&mut space, BASE + page * PAGE, &page).unwrap();
    }
    assert!(!memory.collapse(&mut space, &all));
    memory.put_user(&mut space, BASE + 511 * PAGE, &511u64).unwrap();
    memory.set_page_size(&mut space, &all, PageSize::Huge).unwrap();
    for _ in 0..4 {
        memory.promote_next(&mut space);
    }
    assert_eq!((memory.stats.huge_promoted, memory.stats.huge), (1, 512));
    for page in 0..512 {
        assert_eq!(memory.get_user(&mut space, BASE + page * PAGE), Ok(page));
    }
    check_accounts(&memory, [&space]);
    memory.destroy(space);
    assert_eq!(
        (memory.stats.kernel_frames, memory.stats.resident, memory.frames.free_frames()),
        (0, 0, 2300)
    );
}

#[test]
fn huge_pages_that_may_not_be_small_are_copied_by_a_fork_and_never_evicted() {
    let mut memory = memory(2300, 8192, PolicyKind::Clock);
    let mut parent = space(&mut memory);
    let fixed = Area { size: PageSize::Fixed2M, ..area(0, 512, READ_WRITE) };
    memory.map(&mut parent, fixed).unwrap();
    memory.fill_huge(&mut parent, &fixed).unwrap();
    memory.put_user(&mut parent, BASE + 7 * PAGE, &7u64).unwrap();
    let mut child = memory.fork(&parent).unwrap();
    memory.put_user(&mut parent, BASE + 7 * PAGE, &8u64).unwrap();
    // More than what is left, so that everything leaves that can.
    memory.map(&mut parent, area(1024, 2000, READ_WRITE)).unwrap();
    for page in 1024..3024 {
        memory.put_user(&mut parent, BASE + page * PAGE, &page).unwrap();
    }
    assert_eq!(memory.get_user(&mut child, BASE + 7 * PAGE), Ok(7u64));
    assert_eq!(memory.get_user(&mut parent, BASE + 7 * PAGE), Ok(8u64));
    assert_eq!((memory.stats.huge, memory.stats.huge_split), (1024, 0));
    assert!(
        memory
            .fill_huge(&mut child, &Area { start: BASE + span(2), end: BASE + span(2) + span(1), ..fixed })
            .is_err()
    );
    memory.destroy(child);
    memory.destroy(parent);
    assert_eq!((memory.stats.kernel_frames, memory.frames.free_frames()), (0, 2300));
}

#[test]
fn a_huge_page_that_cannot_be_had_leaves_no_table_behind() {
    let mut memory = memory(600, 64, PolicyKind::Clock);
    let mut space = space(&mut memory);
    let fixed = Area { size: PageSize::Fixed2M, ..area(0, 1024, READ_WRITE) };
    memory.map(&mut space, fixed).unwrap();
    assert!(memory.fill_huge(&mut space, &fixed).is_err());
    memory.unmap_range(&mut space, &(fixed.start..fixed.end)).unwrap();
    memory.destroy(space);
    assert_eq!((memory.stats.kernel_frames, memory.frames.free_frames()), (0, 600));
}

#[test]
fn locked_pages_stay_and_a_child_does_not_inherit_the_lock() {
    let mut memory = memory(64, 256, PolicyKind::Fifo);
    let mut space = space(&mut memory);
    memory.map(&mut space, area(0, 128, READ_WRITE)).unwrap();
    let locked = BASE..BASE + 8 * PAGE;
    memory.set_locked(&mut space, &locked, true).unwrap();
    memory.bring_in_locked(&mut space, &locked).unwrap();
    let is_there = |space: &AddressSpace, page: u64| {
        space.table.find(BASE + page * PAGE).is_ok_and(|entry| entry.load().is_resident())
    };
    let child = memory.fork(&space).unwrap();
    assert!(child.areas.all().iter().all(|area| !area.locked));
    memory.destroy(child);
    for page in 8..128 {
        memory.put_user(&mut space, BASE + page * PAGE, &page).unwrap();
    }
    assert!((0..8).all(|page| is_there(&space, page)));
    memory.set_locked(&mut space, &locked, false).unwrap();
    for page in 8..128 {
        memory.put_user(&mut space, BASE + page * PAGE, &page).unwrap();
    }
    assert!((0..8).all(|page| !is_there(&space, page)));
    check_accounts(&memory, [&space]);
}
