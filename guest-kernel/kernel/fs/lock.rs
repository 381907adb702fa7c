//! Locks on ranges of files, each held by a process (fcntl_locking(2)).

use alloc::vec::Vec;
use core::ops::Range;

use abi::addr::PAGE_SIZE;

use super::FileId;

/// Most locks at once: as many as fit a page.
const MOST: usize = PAGE_SIZE / size_of::<Lock>();

/// A lock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lock {
    /// On what.
    pub file: FileId,
    /// Which bytes.
    pub range: Range<u64>,
    /// The number of the process that holds it.
    pub holder: u32,
    /// Nobody else may hold one at all; otherwise nobody may hold one like this.
    pub exclusive: bool,
}

/// All locks. Those of one process on one file do not overlap.
#[derive(Default)]
pub struct Locks(Vec<Lock>);

/// There are too many locks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyLocks;

impl Locks {
    /// A lock that another process holds and that stands in the way of this one.
    #[must_use]
    pub fn conflict(&self, wanted: &Lock) -> Option<&Lock> {
        self.0.iter().find(|held| {
            held.file == wanted.file
                && held.holder != wanted.holder
                && (held.exclusive || wanted.exclusive)
                && overlap(&held.range, &wanted.range)
        })
    }

    /// Sets a lock that nothing stands in the way of; what its holder had in the range is replaced.
    ///
    /// # Errors
    /// There are too many.
    pub fn set(&mut self, lock: Lock) -> Result<(), TooManyLocks> {
        // Cutting a hole makes one more.
        if self.0.len() + 2 > MOST {
            return Err(TooManyLocks);
        }
        self.clear(lock.file, lock.holder, &lock.range);
        self.0.push(lock);
        Ok(())
    }

    /// Gives up what a process holds in a range.
    pub fn clear(&mut self, file: FileId, holder: u32, range: &Range<u64>) {
        let mut rests = Vec::new();
        self.0.retain(|lock| {
            let hit = lock.file == file && lock.holder == holder && overlap(&lock.range, range);
            if hit {
                let parts = [lock.range.start..range.start, range.end..lock.range.end];
                rests.extend(
                    parts
                        .into_iter()
                        .filter(|part| part.start < part.end)
                        .map(|range| Lock { range, ..lock.clone() }),
                );
            }
            !hit
        });
        self.0.append(&mut rests);
    }

    /// A process closed a descriptor of a file: it loses all its locks there, whatever descriptor it set them with.
    pub fn close(&mut self, file: FileId, holder: u32) {
        if !self.0.is_empty() {
            self.0.retain(|lock| lock.file != file || lock.holder != holder);
        }
    }

    /// A process ended.
    pub fn end(&mut self, holder: u32) {
        self.0.retain(|lock| lock.holder != holder);
    }
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: FileId = FileId(1);
    const BYTES: usize = 12;

    proptest! {
        #[test]
        fn locks_are_what_a_table_of_bytes_says(
            steps in prop::collection::vec((0u32..3, 0u64..10, 1u64..6, 0u8..3), 0..60),
        ) {
            let mut locks = Locks::default();
            // For each byte and process: nothing, shared, exclusive.
            let mut model = [[0u8; BYTES + 4]; 3];
            for (holder, start, len, kind) in steps {
                let range = start..start + len;
                let bytes = start as usize..(start + len) as usize;
                if kind == 0 {
                    locks.clear(FILE, holder, &range);
                    model[holder as usize][bytes].fill(0);
                    continue;
                }
                let lock = Lock { file: FILE, range, holder, exclusive: kind == 2 };
                let free = (0..3).filter(|&other| other != holder as usize).all(|other| {
                    model[other][bytes.clone()].iter().all(|&held| held == 0 || held + kind < 3)
                });
                prop_assert_eq!(locks.conflict(&lock).is_none(), free);
                if free {
                    prop_assert_eq!(locks.set(lock), Ok(()));
                    model[holder as usize][bytes].fill(kind);
                }
            }
        }
    }
}
