//! Swap readahead: fewer faults for a sequential reader, the same bytes, and nothing for pages that others share.

use super::*;

const MANY: u64 = 4000;

fn written(on: bool) -> (Memory, AddressSpace) {
    let mut memory = Memory { readahead: Readahead::new(on), ..memory(2300, 8192, PolicyKind::Fifo) };
    let mut space = space(&mut memory);
    memory.map(&mut space, area(0, MANY, READ_WRITE)).unwrap();
    for page in 0..MANY {
        memory.put_user(&mut space, BASE + page * PAGE, &page).unwrap();
    }
    (memory, space)
}

/// Reads every page in turn and returns how many major faults that took.
fn read_all(memory: &mut Memory, space: &mut AddressSpace) -> u64 {
    let swap = |memory: &Memory| memory.stats.faults[abi::stats::Source::Swap as usize];
    let before = swap(memory);
    for page in 0..MANY {
        assert_eq!(memory.get_user(space, BASE + page * PAGE), Ok(page));
    }
    check_accounts(memory, [&*space]);
    swap(memory) - before
}

#[test]
fn a_sequential_reader_has_a_fraction_of_the_faults() {
    let [without, with] = [false, true].map(|on| {
        let (mut memory, mut space) = written(on);
        let faults = read_all(&mut memory, &mut space);
        assert_eq!(memory.stats.swapped_ahead > 0, on);
        faults
    });
    assert!(with * 5 < without, "{with} faults with readahead, {without} without");
}

#[test]
fn pages_that_a_child_shares_are_read_one_by_one_and_are_right_in_both() {
    let (mut memory, mut parent) = written(true);
    let mut child = memory.fork(&parent).unwrap();
    let ahead = memory.stats.swapped_ahead;
    for page in 0..MANY {
        assert_eq!(memory.get_user(&mut child, BASE + page * PAGE), Ok(page));
    }
    assert_eq!(memory.stats.swapped_ahead, ahead);
    memory.destroy(child);
    read_all(&mut memory, &mut parent);
    memory.destroy(parent);
    assert_eq!((memory.swap.slots.used(), memory.stats.resident), (0, 0));
}
