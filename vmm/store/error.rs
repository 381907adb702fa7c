//! What can go wrong with a store.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::Slot;
use crate::memory::Size;

/// Why a store cannot be opened or does not do what was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The directory of the store's file does not exist.
    #[error("no directory for the store at {}: create it, or name another with --store", .0.display())]
    NoDirectory(PathBuf),
    /// There is a file of that name.
    #[error("{} exists already and the store would destroy it: name a directory or a new file with --store", .0.display())]
    Exists(PathBuf),
    /// The file may not be made there.
    #[error("no permission to make the store at {}: name a place that you may write to with --store", .0.display())]
    Permission(PathBuf),
    /// The space cannot be reserved.
    #[error("no room for a store of {size} at {}: free space there, or name another disk with --store", path.display())]
    NoRoom {
        /// Where.
        path: PathBuf,
        /// How much it may come to hold.
        size: Size,
    },
    /// The host refused for another reason.
    #[error("cannot make the store at {}: {reason}; name another place with --store", path.display())]
    Create {
        /// Where.
        path: PathBuf,
        /// The host's answer.
        reason: io::Error,
    },
    /// Every slot is in use.
    #[error("the store is full: all {0} slots are in use; give the guest less RAM or less swap")]
    Full(u32),
    /// A read failed.
    #[error("cannot read slot {slot} of the store: {reason}; check the disk that it is on")]
    Read {
        /// Which.
        slot: Slot,
        /// The host's answer.
        reason: io::Error,
    },
    /// A write failed.
    #[error("cannot write to the store: {0}; free space on its disk, or check it")]
    Write(io::Error),
    /// What was read is not what was written.
    #[error("slot {0} of the store does not hold what was written to it; check the disk and the memory")]
    Corrupt(Slot),
    /// Nobody owns the slot.
    #[error("slot {0} of the store is not in use")]
    NotInUse(Slot),
}
