//! Many requests at once, with an io_uring and without.

use super::*;
use crate::store::faults::Request;
use crate::store::file::buffer_of;
use crate::store::queue::{Batch, Queue};

#[test]
fn a_batch_does_the_same_with_and_without_io_uring() {
    const BLOCKS: u16 = 600;
    let spec = FaultSpec::default();
    let file = BlockFile::open(&spec::temporary_directory(), BLOCKS.into(), spec).expect("a temporary file");
    // More runs than there may be under way, and one that is longer than a request may be.
    let blocks = || (0..BLOCKS).filter(|block| block % 8 > 6 || *block > 300);
    let ring = Queue::new();
    assert!(ring.is_ring(), "this kernel has io_uring");
    for (round, mut queue) in [(0, ring), (1, Queue::plain())] {
        let mut pages: Vec<_> = blocks().map(|block| page(block ^ round)).collect();
        for request in [Request::Write, Request::Read] {
            let mut batch = Batch::new(request);
            for (block, page) in blocks().zip(&mut pages) {
                batch.push(block.into(), buffer_of(page));
            }
            // SAFETY: the pages are this function's.
            unsafe { batch.run(&mut queue, &file) };
            assert!(batch.is_done() && queue.is_idle());
            if request == Request::Write {
                pages.iter_mut().for_each(|page| page.0.fill(0));
            }
        }
        for (block, read) in blocks().zip(&pages) {
            assert!(read.0 == page(block ^ round).0, "block {block}");
        }
    }
}

#[test]
fn near_blocks_are_read_in_one_request_and_what_lies_between_them_is_not_written() {
    let spec = FaultSpec::default();
    let file = BlockFile::open(&spec::temporary_directory(), 64, spec).expect("a temporary file");
    let run = |request, pages: &mut [(u32, PageBytes)]| {
        let mut batch = Batch::new(request);
        pages.iter_mut().for_each(|(block, page)| _ = batch.push(*block, buffer_of(page)));
        // SAFETY: the pages are the caller's.
        unsafe { batch.run(&mut Queue::plain(), &file) };
        assert!(batch.is_done());
        batch.requests()
    };
    let mut all: Vec<_> = (0..64).map(|block| (block, page(block as u16))).collect();
    assert_eq!(run(Request::Write, &mut all), 1);
    // Next to each other, with one between, with four, and with five.
    let mut some: Vec<_> = [3, 4, 6, 11, 17].map(|block| (block, page(1000 + block as u16))).into();
    assert_eq!(run(Request::Write, &mut some), 4);
    some.iter_mut().for_each(|(_, page)| page.0.fill(0));
    assert_eq!(run(Request::Read, &mut some), 2);
    assert!(some.iter().all(|(block, read)| read.0 == page(1000 + *block as u16).0));
    run(Request::Read, &mut all);
    for (block, read) in &all {
        let written = some.iter().any(|(other, _)| other == block);
        assert!(read.0 == page(*block as u16 + if written { 1000 } else { 0 }).0, "block {block}");
    }
}
