//! The whole of virtual memory on the host: a small RAM, a swap disk, one address space, against a plain model.

use abi::addr::{Gpa, Gva, PAGE_SIZE};
use abi::boot::RamRange;
use abi::stats::GuestStats;
use paging::policy::{AnyPolicy, PolicyKind};
use proptest::prelude::*;

use super::Memory;
use super::area::{Area, Backing, Kind};
use super::cache::PageCache;
use super::fault::Invalid;
use super::frame::{FrameIndex, FrameTable, Use};
use super::page::Rights;
use super::space::AddressSpace;
use super::swap::Swap;
use crate::arch::direct;
use crate::drivers::block::Block;
use crate::fs::FileDisk;

const RAM: Gpa = Gpa(0x10_0000);
const BASE: Gva = Gva(0x4000_0000);
const PAGE: u64 = PAGE_SIZE as u64;

fn memory(frames: u64, slots: usize, policy: PolicyKind) -> Memory {
    // SAFETY: the test's RAM before the frames; no other reference is alive when the test's thread starts.
    let (ram, stats) = unsafe {
        direct::pointer::<u8>(Gpa(0)).write_bytes(0, direct::TEST_RAM);
        (direct::pointer::<u8>(RAM), &mut *direct::pointer::<GuestStats>(Gpa(0x2000)))
    };
    assert!(!ram.is_null());
    let frames =
        FrameTable::new(RamRange { start: RAM, bytes: frames * PAGE }, RamRange { start: Gpa(0), bytes: 0 });
    Memory {
        policy: AnyPolicy::new(policy, frames.len()),
        cache: PageCache::new(frames.len()),
        frames,
        swap: Swap::new((slots > 0).then(|| Block::new(slots + 1))),
        files: FileDisk::empty(),
        stats,
        pinned: Vec::new(),
        exhausted: false,
    }
}

fn space(memory: &mut Memory) -> AddressSpace {
    AddressSpace::new(memory, Gpa(0x1000)).unwrap()
}

fn area(page: u64, pages: u64, rights: Rights) -> Area {
    let start = BASE + page * PAGE;
    Area { start, end: start + pages * PAGE, rights, kind: Kind::Mapping, backing: Backing::Anonymous }
}

const READ_WRITE: Rights = Rights::new(true, true, false);

/// Every frame is free or a table or accounted for by the policy; every slot is free or named once.
fn check_accounts(memory: &Memory, space: &AddressSpace) {
    let mut held = 0;
    let mut slots = 0;
    for frame in (0..memory.frames.len()).map(FrameIndex) {
        if let Use::Anonymous { slot, entry } = memory.frames.get(frame) {
            held += 1;
            slots += u32::from(slot.is_some());
            assert_eq!(memory.frames.at(entry.load().address()), frame, "the reverse map");
        }
    }
    space.table.for_each(BASE..BASE + (1 << 30), |_, entry| slots += u32::from(!entry.load().is_resident()));
    assert_eq!(memory.stats.resident, held);
    assert_eq!(memory.swap.slots.used(), slots);
}

#[derive(Clone, Debug)]
enum Step {
    Map(u64, u64),
    Unmap(u64, u64),
    Discard(u64, u64),
    Protect(u64, u64, bool),
    Move(u64, u64, u64),
    Write(u64, u8),
    Read(u64),
}

const PAGES: u64 = 48;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let range = || (0..PAGES, 1..16u64).prop_map(|(start, len)| (start, len.min(PAGES - start)));
    let step = prop_oneof![
        3 => range().prop_map(|(start, len)| Step::Map(start, len)),
        1 => range().prop_map(|(start, len)| Step::Unmap(start, len)),
        1 => range().prop_map(|(start, len)| Step::Discard(start, len)),
        1 => (range(), any::<bool>()).prop_map(|((start, len), write)| Step::Protect(start, len, write)),
        1 => (range(), 0..PAGES).prop_map(|((start, len), to)| Step::Move(start, len, to.min(PAGES - len))),
        12 => (0..PAGES, 1u8..).prop_map(|(page, byte)| Step::Write(page, byte)),
        12 => (0..PAGES).prop_map(Step::Read),
    ];
    prop::collection::vec(step, 0..400)
}

/// A page of the model: whether it may be written, and its bytes' value.
type Cell = Option<(bool, u8)>;

fn apply(memory: &mut Memory, space: &mut AddressSpace, model: &mut [Cell], step: Step) {
    let range = |start: u64, len: u64| BASE + start * PAGE..BASE + (start + len) * PAGE;
    let cells = |start: u64, len: u64| start as usize..(start + len) as usize;
    match step {
        Step::Map(start, len) => {
            memory.map(space, area(start, len, READ_WRITE)).unwrap();
            model[cells(start, len)].fill(Some((true, 0)));
        }
        Step::Unmap(start, len) => {
            memory.unmap_range(space, &range(start, len)).unwrap();
            model[cells(start, len)].fill(None);
        }
        Step::Discard(start, len) => {
            memory.discard(space, &range(start, len));
            model[cells(start, len)].iter_mut().flatten().for_each(|cell| cell.1 = 0);
        }
        Step::Protect(start, len, write) => {
            memory.protect(space, &range(start, len), Rights::new(true, write, false)).unwrap();
            model[cells(start, len)].iter_mut().flatten().for_each(|cell| cell.0 = write);
        }
        Step::Move(start, len, to) => {
            let (from, target) = (cells(start, len), cells(to, len));
            let alike = model[from.clone()].iter().all(|cell| cell.is_some_and(|cell| cell.0));
            if !alike || start < to + len && to < start + len {
                return;
            }
            memory.map(space, area(to, len, READ_WRITE)).unwrap();
            memory.move_pages(space, &range(start, len), BASE + to * PAGE).unwrap();
            memory.unmap_range(space, &range(start, len)).unwrap();
            model.copy_within(from.clone(), target.start);
            model[from].fill(None);
        }
        Step::Write(page, byte) => {
            let result = memory.write_user(space, BASE + page * PAGE, &[byte; PAGE_SIZE]);
            match &mut model[page as usize] {
                None => assert_eq!(result, Err(Invalid::NoArea)),
                Some((false, _)) => assert_eq!(result, Err(Invalid::NoRight)),
                Some((true, value)) => {
                    assert_eq!(result, Ok(()));
                    *value = byte;
                }
            }
        }
        Step::Read(page) => {
            let mut bytes = [0xee; PAGE_SIZE];
            let result = memory.read_user(space, BASE + page * PAGE, &mut bytes);
            match model[page as usize] {
                None => assert_eq!(result, Err(Invalid::NoArea)),
                Some((_, value)) => assert_eq!((result, bytes), (Ok(()), [value; PAGE_SIZE])),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// 48 pages of addresses, 12 of RAM (4 of them page tables): every byte is what was written, every frame and slot
    /// is accounted for, and all come back at the end.
    #[test]
    fn a_program_finds_what_it_wrote_whatever_was_evicted(steps in steps(), clock in any::<bool>()) {
        let policy = if clock { PolicyKind::Clock } else { PolicyKind::Fifo };
        let mut memory = memory(16, 64, policy);
        let mut space = space(&mut memory);
        let mut model = vec![None; PAGES as usize];
        for step in steps {
            apply(&mut memory, &mut space, &mut model, step);
        }
        check_accounts(&memory, &space);
        memory.unmap_range(&mut space, &(BASE..BASE + PAGES * PAGE)).unwrap();
        prop_assert_eq!(memory.swap.slots.used(), 0);
        prop_assert_eq!(memory.stats.resident, 0);
        prop_assert_eq!(memory.frames.free_frames(), 15, "all but the root table");
    }
}

#[test]
fn a_page_that_is_only_read_is_dropped_and_not_written() {
    let mut memory = memory(12, 64, PolicyKind::Fifo);
    let mut space = space(&mut memory);
    memory.map(&mut space, area(0, 32, READ_WRITE)).unwrap();
    for page in 0..32 {
        assert_eq!(memory.get_user::<u64>(&mut space, BASE + page * PAGE), Ok(0));
    }
    assert_eq!((memory.stats.swapped_out, memory.swap.slots.used()), (0, 0));
    assert!(memory.stats.evicted_clean >= 24);
}

#[test]
fn a_page_read_back_from_swap_is_written_again_only_if_it_changed() {
    let mut memory = memory(12, 64, PolicyKind::Fifo);
    let mut space = space(&mut memory);
    memory.map(&mut space, area(0, 16, READ_WRITE)).unwrap();
    for page in 0..16 {
        memory.put_user(&mut space, BASE + page * PAGE, &page).unwrap();
    }
    for _ in 0..2 {
        for page in 0..16 {
            assert_eq!(memory.get_user(&mut space, BASE + page * PAGE), Ok(page));
        }
    }
    assert_eq!(memory.stats.swapped_out, 16, "each page once");
    assert!(memory.stats.swapped_in > 16);
}

#[test]
fn out_of_memory_is_an_error_that_leaves_everything_whole() {
    let mut memory = memory(12, 4, PolicyKind::Clock);
    let mut space = space(&mut memory);
    memory.map(&mut space, area(0, 32, READ_WRITE)).unwrap();
    let written =
        (0..32).take_while(|&page| memory.put_user(&mut space, BASE + page * PAGE, &page).is_ok()).count();
    assert!((10..=12).contains(&written), "8 frames and 4 slots: {written}");
    assert!(memory.exhausted);
    check_accounts(&memory, &space);
    memory.discard(&space, &(BASE..BASE + PAGE));
    assert_eq!(memory.put_user(&mut space, BASE + 31 * PAGE, &1u64), Ok(()), "there is room again");
}

#[test]
fn the_stack_grows_to_its_limit_and_keeps_its_distance() {
    use super::space::{STACK_GAP, STACK_LIMIT, STACK_TOP};
    let mut memory = memory(64, 64, PolicyKind::Fifo);
    let mut space = space(&mut memory);
    let at = |bytes: u64| Gva(STACK_TOP.0 - bytes);
    assert_eq!(memory.put_user(&mut space, at(64 << 10), &1u64), Ok(()));
    assert_eq!(memory.put_user(&mut space, at(STACK_LIMIT + 8), &1u64), Err(Invalid::NoArea));
    let below = Area { start: at(4 << 20), end: at((4 << 20) - PAGE), ..area(0, 1, READ_WRITE) };
    memory.map(&mut space, below).unwrap();
    assert_eq!(memory.put_user(&mut space, at((4 << 20) - PAGE - 8 - STACK_GAP), &1u64), Ok(()));
    assert_eq!(memory.put_user(&mut space, at((4 << 20) - 2 * PAGE), &1u64), Err(Invalid::NoArea));
}

#[test]
fn wild_pointers_are_errors() {
    let mut memory = memory(16, 16, PolicyKind::Fifo);
    let mut space = space(&mut memory);
    for wild in
        [0, 8, 0x7fff_ffff_f000, 0x8000_0000_0000, 0x0001_0000_4000_0000, 0xffff_8000_0000_0000, u64::MAX - 3]
    {
        assert_eq!(memory.get_user::<u64>(&mut space, Gva(wild)), Err(Invalid::NoArea), "{wild:#x}");
        assert_eq!(memory.write_user(&mut space, Gva(wild), &[1; 9]), Err(Invalid::NoArea), "{wild:#x}");
    }
}

#[test]
fn a_broken_swap_disk_is_an_error_and_loses_no_resident_page() {
    let mut memory = memory(12, 64, PolicyKind::Fifo);
    let mut space = space(&mut memory);
    memory.map(&mut space, area(0, 32, READ_WRITE)).unwrap();
    memory.swap.break_disk();
    let written = (0..32)
        .take_while(|&page| memory.put_user(&mut space, BASE + page * PAGE, &page).is_ok())
        .count() as u64;
    assert!(written < 32);
    for page in 0..written {
        assert_eq!(memory.get_user(&mut space, BASE + page * PAGE), Ok(page));
    }
    check_accounts(&memory, &space);
}
