//! The page cache: which frame holds which page of a file. Reads, mappings and the program's own text share it. A page
//! that nobody wrote to is as the disk has it, so dropping it costs nothing; the others are written back first (writeback.rs).

use alloc::boxed::Box;
use alloc::vec;

use paging::policy::PageKey;

use super::frame::{FrameIndex, FrameTable, Link, Use};
use super::mappings::Mappings;
use crate::fs::FileId;

/// Hash buckets, each the head of a list that runs through the frames' own entries.
pub struct PageCache {
    buckets: Box<[u32]>,
}

impl PageCache {
    /// For as many frames as there are.
    #[must_use]
    pub fn new(frames: u32) -> Self {
        let buckets = (frames as usize / 2).next_power_of_two().max(16);
        Self { buckets: vec![0; buckets].into_boxed_slice() }
    }

    /// What tells a page of a file apart from all others.
    #[must_use]
    pub const fn key(file: FileId, page: u32) -> PageKey {
        PageKey(1 << 63 | (file.0 as u64) << 32 | page as u64)
    }

    #[inline]
    fn bucket(&mut self, file: FileId, page: u32) -> &mut u32 {
        let hash = page.wrapping_add(u32::from(file.0).wrapping_mul(0x9e37_79b1));
        let mask = self.buckets.len() - 1;
        &mut self.buckets[hash as usize & mask]
    }

    /// The frame that holds a page of a file.
    #[inline]
    pub fn find(&mut self, frames: &FrameTable, file: FileId, page: u32) -> Option<FrameIndex> {
        let mut link = Link::from_raw(*self.bucket(file, page));
        while let Some(frame) = link.frame() {
            match *frames.peek(frame) {
                Use::Cache { file: f, page: p, .. } if f == file && p == page => return Some(frame),
                Use::Cache { next, .. } => link = next,
                ref other => unreachable!("a frame of the cache holds {other:?}"),
            }
        }
        None
    }

    /// Adds a frame; the page is not in the cache yet.
    pub fn insert(&mut self, frames: &mut FrameTable, frame: FrameIndex, file: FileId, page: u32) {
        let head = self.bucket(file, page);
        let next = Link::from_raw(*head);
        *head = Link::to(frame).raw();
        *frames.get_mut(frame) =
            Use::Cache { referenced: false, dirty: false, file, page, next, mappings: Mappings::NONE };
    }

    /// Takes a frame out. Nothing maps it any more.
    pub fn remove(&mut self, frames: &mut FrameTable, frame: FrameIndex) {
        let Use::Cache { file, page, next: after, .. } = frames.get(frame) else { return };
        let head = self.bucket(file, page);
        let mut link = Link::from_raw(*head);
        if link.frame() == Some(frame) {
            *head = after.raw();
            return;
        }
        while let Some(at) = link.frame() {
            let Use::Cache { next, .. } = frames.get_mut(at) else { return };
            if next.frame() == Some(frame) {
                *next = after;
                return;
            }
            link = *next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::addr::Gpa;
    use abi::boot::RamRange;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn the_cache_finds_what_a_map_finds(steps in prop::collection::vec((any::<bool>(), 0u16..3, 0u32..40), 0..200)) {
            let none = RamRange { start: Gpa(0), bytes: 0 };
            let mut frames = FrameTable::new(RamRange { start: Gpa(0x10_0000), bytes: 64 << 12 }, none);
            let mut cache = PageCache::new(4);
            let mut model = BTreeMap::new();
            for (insert, file, page) in steps {
                let key = (FileId(file), page);
                prop_assert_eq!(cache.find(&frames, key.0, page), model.get(&key).copied());
                if let Some(frame) = model.get(&key).copied() {
                    if !insert {
                        cache.remove(&mut frames, frame);
                        frames.free(frame);
                        model.remove(&key);
                    }
                } else if insert && let Some(frame) = frames.take() {
                    cache.insert(&mut frames, frame, key.0, page);
                    model.insert(key, frame);
                }
            }
            for (key, frame) in model {
                prop_assert_eq!(cache.find(&frames, key.0, key.1), Some(frame));
            }
        }
    }
}
