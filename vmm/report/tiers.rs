//! The store's tiers.

use std::fmt;

use super::units::Count;
use crate::store::StoreStats;

/// What a store held at the end and how it came to be there.
pub struct Tiers<'a>(pub &'a StoreStats);

impl fmt::Display for Tiers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let store = self.0;
        let kib = |bytes: u64| Count(bytes.div_ceil(1024));
        write!(f, "{} pages in memory", Count(store.in_memory.into()))?;
        if let Some(ratio) = store.compression {
            let (held, dead) = (kib(store.memory_held), kib(store.memory_dead));
            write!(f, " ({} {ratio:.1}:1, {held} KiB taken, {dead} dead)", store.codec)?;
        }
        if store.kind != "memory" {
            write!(
                f,
                ", {} in the {} ({} moved down, {} under way)",
                Count(store.in_file.into()),
                store.kind,
                Count(store.moved_down),
                store.writing
            )?;
        }
        let (same, tables) = (Count(store.same_filled.into()), kib(store.metadata_bytes));
        write!(f, ", {same} of one word; tables {tables} KiB")
    }
}
