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
    let blocks = || (0..BLOCKS).filter(|block| block % 4 > 1 || *block > 300);
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
