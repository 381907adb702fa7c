//! The whole of virtual memory on the host: a small RAM, a swap disk, one address space, against a plain model.

use abi::addr::{Gpa, Gva, PAGE_SIZE};
use abi::boot::RamRange;
use abi::stats::GuestStats;
use paging::policy::PolicyKind;
use proptest::prelude::*;
use std::collections::BTreeMap;

mod huge;
mod readahead;

use super::Memory;
use super::area::{Area, Backing, Sharing};
use super::cache::PageCache;
use super::fault::Invalid;
use super::frame::{FrameIndex, FrameTable, Use};
use super::mappings::ReverseMap;
use super::memory_file::MemoryFiles;
use super::page::{Page, Rights};
use super::readahead::Readahead;
use super::scope::Scopes;
use super::space::AddressSpace;
use super::swap::Swap;
use super::table::USER_END;
use crate::arch::direct;
use crate::drivers::block::Block;
use crate::fs::{FileDisk, FileId};

const RAM: Gpa = Gpa(0x10_0000);
const BASE: Gva = Gva(0x4000_0000);
const PAGE: u64 = PAGE_SIZE as u64;

fn memory(frames: u64, slots: usize, policy: PolicyKind) -> Memory {
    // SAFETY: the test's RAM before the frames; no other reference is alive when the test's thread starts.
    let (ram, stats) = unsafe {
        direct::pointer::<u8>(Gpa(0)).write_bytes(0, RAM.0 as usize + frames as usize * PAGE_SIZE);
        (direct::pointer::<u8>(RAM), &mut *direct::pointer::<GuestStats>(Gpa(0x2000)))
    };
    assert!(!ram.is_null());
    let frames =
        FrameTable::new(RamRange { start: RAM, bytes: frames * PAGE }, RamRange { start: Gpa(0), bytes: 0 });
    Memory {
        scopes: Scopes::new(policy, frames.len()),
        arrived: None,
        reverse: ReverseMap::default(),
        zeros: None,
        cache: PageCache::new(frames.len()),
        frames,
        swap: Swap::new((slots > 0).then(|| Block::new(slots + 1))),
        files: FileDisk::empty(),
        memory_files: MemoryFiles::default(),
        stats,
        trace: None,
        faulting: 0,
        readahead: Readahead::new(true),
        spaces: 0,
        system_calls: 0,
        pinned: Vec::new(),
        segments: Vec::new(),
        largest: 0,
        levels: 2,
        swaps_whole: false,
        files_written: false,
        exhausted: false,
    }
}

fn space(memory: &mut Memory) -> AddressSpace {
    AddressSpace::new(memory, Gpa(0x1000)).unwrap()
}

fn area(page: u64, pages: u64, rights: Rights) -> Area {
    let start = BASE + page * PAGE;
    Area::anonymous(start..start + pages * PAGE, rights)
}

const READ_WRITE: Rights = Rights::new(true, true, false);

/// Every frame is free or a table or accounted for by the policy; every slot has as many owners as name it; a page that several
/// map cannot be written by any, and neither can the page of zeros.
fn check_accounts<'a>(memory: &Memory, spaces: impl IntoIterator<Item = &'a AddressSpace>) {
    let mut held = 0;
    let mut slots = BTreeMap::new();
    let mut mapped = 0;
    for frame in (0..memory.frames.len()).map(FrameIndex) {
        if let Use::Huge { level: 1, entry, .. } = memory.frames.get(frame) {
            held += 512;
            mapped += 512;
            assert_eq!(memory.frames.at(entry.load().address()), frame, "a huge page and its entry");
        }
        if let Use::Anonymous { slot, mappings } = memory.frames.get(frame) {
            held += 1;
            slot.into_iter().for_each(|slot| *slots.entry(slot).or_insert(0) += 1);
            assert!(!mappings.is_none(), "a page that nobody maps");
            mappings.for_each(&memory.frames, |entry| {
                mapped += 1;
                assert_eq!(memory.frames.at(entry.load().address()), frame, "the reverse map");
                assert!(mappings.single().is_some() || !entry.load().permits(Rights::WRITE));
            });
        }
    }
    for space in spaces {
        space.table.for_each(Gva(0)..USER_END, |_, entry| match entry.load().page() {
            Page::Untouched => {}
            Page::Swapped(slot) => *slots.entry(slot).or_insert(0) += 1,
            Page::Resident(gpa) if memory.zeros == Some(memory.frames.at(gpa)) => {
                assert!(!entry.load().permits(Rights::WRITE));
            }
            Page::Resident(_) => mapped -= 1,
        });
        space.table.for_each_huge(Gva(0)..USER_END, |_| mapped -= 512);
    }
    assert_eq!(memory.stats.resident, held);
    assert_eq!(mapped, 0, "as many entries as the reverse map knows");
    assert_eq!(memory.swap.slots.used() as usize, slots.len());
    for (slot, owners) in slots {
        assert_eq!(memory.swap.slots.owners(slot), owners, "{slot:?}");
    }
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
    Promote,
}

const PAGES: u64 = 48;

fn step(pages: u64, longest: u64) -> impl Strategy<Value = Step> {
    let range = move || (0..pages, 1..longest).prop_map(move |(start, len)| (start, len.min(pages - start)));
    prop_oneof![
        3 => range().prop_map(|(start, len)| Step::Map(start, len)),
        1 => range().prop_map(|(start, len)| Step::Unmap(start, len)),
        1 => range().prop_map(|(start, len)| Step::Discard(start, len)),
        1 => (range(), any::<bool>()).prop_map(|((start, len), write)| Step::Protect(start, len, write)),
        1 => (range(), 0..pages).prop_map(move |((start, len), to)| Step::Move(start, len, to.min(pages - len))),
        12 => (0..pages, 1u8..).prop_map(|(page, byte)| Step::Write(page, byte)),
        12 => (0..pages).prop_map(Step::Read),
        1 => Just(Step::Promote),
    ]
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
        Step::Promote => {
            for _ in 0..8 {
                memory.promote_next(space);
            }
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
    fn a_program_finds_what_it_wrote_whatever_was_evicted(steps in prop::collection::vec(step(PAGES, 16), 0..400), clock in any::<bool>()) {
        let policy = if clock { PolicyKind::Clock } else { PolicyKind::Fifo };
        let mut memory = memory(16, 64, policy);
        let mut space = space(&mut memory);
        let mut model = vec![None; PAGES as usize];
        for step in steps {
            apply(&mut memory, &mut space, &mut model, step);
        }
        check_accounts(&memory, [&space]);
        memory.unmap_range(&mut space, &(BASE..BASE + PAGES * PAGE)).unwrap();
        prop_assert_eq!(memory.swap.slots.used(), 0);
        prop_assert_eq!(memory.stats.resident, 0);
        let zeros = u32::from(memory.zeros.is_some());
        prop_assert_eq!(memory.frames.free_frames() + zeros, 15, "all but the root table");
    }
}

/// What a family of processes does.
#[derive(Clone, Debug)]
enum Act {
    /// The process of that number does something in its own memory.
    Step(prop::sample::Index, Step),
    /// It forks.
    Fork(prop::sample::Index),
    /// It ends.
    End(prop::sample::Index),
}

fn acts(pages: u64, longest: u64) -> impl Strategy<Value = Vec<Act>> {
    let one = || any::<prop::sample::Index>();
    let act = prop_oneof![
        20 => (one(), step(pages, longest)).prop_map(|(which, step)| Act::Step(which, step)),
        2 => one().prop_map(Act::Fork),
        1 => one().prop_map(Act::End),
    ];
    prop::collection::vec(act, 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Up to four processes that fork and end, with 40 frames for all of them: each sees what it wrote or what it inherited, and
    /// nothing that another wrote later; frames, slots and nodes all come back.
    #[test]
    fn processes_that_fork_share_pages_and_never_see_each_others_writes(acts in acts(PAGES, 16), clock in any::<bool>()) {
        let policy = if clock { PolicyKind::Clock } else { PolicyKind::Fifo };
        live(memory(40, 256, policy), PAGES, acts);
    }
}

/// A family of processes lives, in a memory that nobody has used.
fn live(mut memory: Memory, pages: u64, acts: Vec<Act>) {
    let all = memory.frames.len();
    let mut family = vec![(space(&mut memory), vec![None; pages as usize])];
    for (n, act) in acts.into_iter().enumerate() {
        let count = family.len();
        match act {
            Act::Step(which, step) => {
                let (space, model) = &mut family[which.index(count)];
                apply(&mut memory, space, model, step);
            }
            Act::Fork(which) if count < 4 => {
                let (space, model) = &family[which.index(count)];
                let child = (memory.fork(space).unwrap(), model.clone());
                family.push(child);
            }
            Act::End(which) if count > 1 => {
                let (space, _) = family.swap_remove(which.index(count));
                memory.destroy(space);
            }
            Act::Fork(_) | Act::End(_) => {}
        }
        if n % 16 == 0 {
            check_accounts(&memory, family.iter().map(|(space, _)| space));
        }
    }
    for (space, _) in family {
        memory.destroy(space);
    }
    assert_eq!(memory.swap.slots.used(), 0);
    assert_eq!(memory.stats.resident, 0);
    let zeros = u32::from(memory.zeros.is_some());
    assert_eq!(memory.stats.kernel_frames, u64::from(zeros));
    assert_eq!(memory.frames.free_frames() + memory.reverse.frames() + zeros, all);
    assert!(memory.reverse.frames() <= 1, "one may stay with none of its nodes used");
}

#[test]
fn pages_that_are_only_read_share_the_page_of_zeros_until_one_is_written() {
    let mut memory = memory(12, 64, PolicyKind::Fifo);
    let mut space = space(&mut memory);
    memory.map(&mut space, area(0, 32, READ_WRITE)).unwrap();
    for page in 0..32 {
        assert_eq!(memory.get_user::<u64>(&mut space, BASE + page * PAGE), Ok(0));
    }
    assert_eq!((memory.stats.resident, memory.stats.evicted_clean, memory.swap.slots.used()), (0, 0, 0));
    memory.put_user(&mut space, BASE + 5 * PAGE, &7u64).unwrap();
    for page in 0..32 {
        assert_eq!(memory.get_user(&mut space, BASE + page * PAGE), Ok(if page == 5 { 7u64 } else { 0 }));
    }
    assert_eq!(memory.stats.resident, 1);
    check_accounts(&memory, [&space]);
    memory.protect(&mut space, &(BASE..BASE + 32 * PAGE), READ_WRITE).unwrap();
    memory.unmap_range(&mut space, &(BASE..BASE + 32 * PAGE)).unwrap();
    check_accounts(&memory, [&space]);
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
    check_accounts(&memory, [&space]);
    memory.discard(&space, &(BASE..BASE + PAGE));
    assert_eq!(memory.put_user(&mut space, BASE + 31 * PAGE, &1u64), Ok(()), "there is room again");
}

#[test]
fn the_stack_grows_to_its_limit_and_keeps_its_distance() {
    use super::area::{STACK_GAP, STACK_LIMIT};
    use super::space::STACK_TOP;
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
    check_accounts(&memory, [&space]);
}

/// A file of 8 pages and a half, each byte its page's number plus 1.
fn with_file(memory: &mut Memory) -> FileId {
    let mut disk = Block::new(9);
    for (at, byte) in disk.bytes.iter_mut().enumerate().take(8 * PAGE_SIZE + PAGE_SIZE / 2) {
        *byte = (at / PAGE_SIZE) as u8 + 1;
    }
    memory.files = FileDisk::of_one(disk, 8 * PAGE + PAGE / 2);
    FileId(0)
}

#[test]
fn a_private_mapping_shows_the_file_and_keeps_its_writes_to_itself() {
    let mut memory = memory(10, 64, PolicyKind::Clock);
    let file = with_file(&mut memory);
    let mut space = space(&mut memory);
    let backing = Backing::File { file, page: 0, sharing: Sharing::Private };
    memory.map(&mut space, Area { backing, ..area(0, 16, READ_WRITE) }).unwrap();
    let at = |page: u64| BASE + page * PAGE;
    memory.put_user(&mut space, at(2), &0xffu8).unwrap();
    for _ in 0..2 {
        for page in 0..9 {
            let expected = if page == 2 { 0xff } else { page as u8 + 1 };
            assert_eq!(memory.get_user::<u8>(&mut space, at(page)), Ok(expected), "page {page}");
            assert_eq!(memory.get_user::<u8>(&mut space, at(page) + 9), Ok(page as u8 + 1));
        }
    }
    assert_eq!(
        memory.get_user::<u8>(&mut space, at(8) + (PAGE - 1)),
        Ok(0),
        "zeros to the end of the last page"
    );
    assert_eq!(memory.get_user::<u8>(&mut space, at(9)), Err(Invalid::PastEnd));
    let mut bytes = [0; 10];
    assert_eq!(memory.read_file(file, 2 * PAGE, &mut bytes), Ok(10));
    assert_eq!(bytes, [3; 10], "the file is as it was");
    assert!(memory.stats.swapped_out <= 1, "pages of the file are dropped, never written to swap");
}

#[test]
fn a_file_is_read_right_at_every_offset_and_alignment() {
    let mut memory = memory(16, 64, PolicyKind::Fifo);
    let file = with_file(&mut memory);
    let mut space = space(&mut memory);
    memory.map(&mut space, area(0, 12, READ_WRITE)).unwrap();
    let content: Vec<u8> = (0..8 * PAGE_SIZE + PAGE_SIZE / 2).map(|at| (at / PAGE_SIZE) as u8 + 1).collect();
    for (offset, to, len) in [
        (0, 0, 40_000),
        (0, 100, 8192),
        (4096, 4095, 4097),
        (1, 7, 20_000),
        (8 * 4096 + 10, 0, 9000),
        (40_000, 0, 5),
    ] {
        let whole = content.len().saturating_sub(offset).min(len);
        let at = BASE + to;
        let read = memory.read_file_to(&mut space, file, offset as u64, at, len);
        assert_eq!(read, Ok(whole));
        let mut bytes = vec![0; whole];
        memory.read_user(&mut space, at, &mut bytes).unwrap();
        assert!(bytes[..] == content[offset.min(content.len())..][..whole], "{offset} {to} {len}");
    }
    let end = BASE + 11 * PAGE;
    assert_eq!(memory.read_file_to(&mut space, file, 0, end, 3 * PAGE_SIZE), Ok(PAGE_SIZE), "cut short");
}

#[test]
fn a_write_to_a_file_reaches_the_disk_and_every_reader() {
    let mut memory = memory(16, 64, PolicyKind::Fifo);
    let file = with_file(&mut memory);
    let mut space = space(&mut memory);
    memory.map(&mut space, area(0, 4, READ_WRITE)).unwrap();
    memory.write_user(&mut space, BASE, &[0xaa; 5000]).unwrap();
    assert_eq!(memory.write_file_from(&mut space, file, 4000, BASE, 5000), Ok(5000));
    assert_eq!(
        memory.write_file_from(&mut space, file, 8 * PAGE, BASE + 4 * PAGE, 5000),
        Err(Invalid::NoArea)
    );
    assert_eq!(memory.file_len(file), 8 * PAGE + PAGE / 2, "it does not grow by what is not written");
    let last = PAGE_SIZE / 2;
    assert_eq!(memory.write_file_from(&mut space, file, 8 * PAGE, BASE, last), Ok(last));
    let mut bytes = [0; 5002];
    assert_eq!(memory.read_file(file, 3999, &mut bytes), Ok(5002));
    assert_eq!((bytes[0], bytes[5001]), (1, 3));
    assert_eq!(bytes[1..5001], [0xaa; 5000]);
    assert_eq!(memory.stats.file_written, 0, "all of it is in the cache");
    memory.write_back_file(file).unwrap();
    assert_eq!(memory.stats.file_written, 4, "each page that was written to, once");
    memory.write_back_file(file).unwrap();
    assert_eq!(memory.stats.file_written, 4, "and is clean then");
}

#[test]
fn what_shared_mappings_write_is_seen_by_all_and_reaches_the_disk_once() {
    let mut memory = memory(16, 64, PolicyKind::Clock);
    let file = with_file(&mut memory);
    let (mut one, mut other) = (space(&mut memory), space(&mut memory));
    let backing = Backing::File { file, page: 0, sharing: Sharing::Shared { writable: true } };
    for space in [&mut one, &mut other] {
        memory.map(space, Area { backing, ..area(0, 9, READ_WRITE) }).unwrap();
    }
    let at = |page: u64| BASE + page * PAGE;
    for page in [1, 4] {
        memory.put_user(&mut one, at(page), &0xee_u8).unwrap();
        assert_eq!(memory.get_user::<u8>(&mut other, at(page)), Ok(0xee));
    }
    let mut byte = [0];
    memory.read_file(file, 4 * PAGE, &mut byte).unwrap();
    assert_eq!((byte, memory.stats.file_written), ([0xee], 0));
    // All of them in turn: the two are evicted, the others are clean.
    for page in (0..9).rev() {
        let expected = if [1, 4].contains(&page) { 0xee } else { page as u8 + 1 };
        assert_eq!(memory.get_user::<u8>(&mut other, at(page)), Ok(expected));
    }
    memory.put_user(&mut one, at(7), &0xdd_u8).unwrap();
    memory.destroy(one);
    memory.write_back_all();
    assert_eq!((memory.stats.file_written, memory.stats.swapped_out), (3, 0));
    memory.write_back_all();
    assert_eq!(memory.stats.file_written, 3, "what is written back is clean");
    memory.destroy(other);
}

#[test]
fn shared_memory_is_one_for_parent_and_child_in_ram_and_on_swap_and_all_of_it_comes_back() {
    let mut memory = memory(24, 64, PolicyKind::Clock);
    let mut parent = space(&mut memory);
    let file = memory.new_memory_file(12 * PAGE).unwrap();
    let backing = Backing::File { file, page: 0, sharing: Sharing::Shared { writable: true } };
    memory.map(&mut parent, Area { backing, ..area(0, 12, READ_WRITE) }).unwrap();
    memory.map(&mut parent, area(20, 20, READ_WRITE)).unwrap();
    let mut child = memory.fork(&parent).unwrap();
    let at = |page: u64| BASE + page * PAGE;
    for round in 0..3_u64 {
        for page in 0..12 {
            memory.put_user(&mut parent, at(page), &(100 * round + page)).unwrap();
        }
        // More than there are frames left: what is shared goes to swap.
        for page in 20..40 {
            memory.put_user(&mut child, at(page), &page).unwrap();
        }
        for page in 0..12 {
            assert_eq!(memory.get_user(&mut child, at(page)), Ok(100 * round + page));
        }
    }
    assert!(memory.stats.swapped_out > 24);
    assert_eq!(memory.write_file_from(&mut parent, file, 90 * PAGE, at(11), 2 * PAGE_SIZE), Ok(PAGE_SIZE));
    assert_eq!(memory.file_len(file), 91 * PAGE, "it grows by what is written");
    memory.set_file_len(file, 5 * PAGE + 8).unwrap();
    assert_eq!(memory.get_user::<u64>(&mut child, at(5)), Ok(205));
    assert_eq!(memory.get_user::<u64>(&mut child, at(5) + 8), Ok(0));
    assert_eq!(memory.get_user::<u64>(&mut child, at(6)), Err(Invalid::PastEnd));
    memory.destroy(parent);
    memory.destroy(child);
    memory.free_memory_file(file);
    assert_eq!((memory.swap.slots.used(), memory.stats.resident, memory.stats.kernel_frames), (0, 0, 0));
    assert!(
        memory.memory_files.next_nameless(0).is_none()
            && memory.frames.free_frames() + memory.reverse.frames() == 24
    );
}
