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
    /// Somebody else uses the block device.
    #[error("{} is in use (mounted, or another's): name a block device that nobody uses with --store", .0.display())]
    Busy(PathBuf),
    /// The block device has too few blocks.
    #[error("{} has {bytes} bytes and the store may need {needed}: name a larger device with --store, or give the guest less RAM or swap", path.display())]
    TooSmall {
        /// Which.
        path: PathBuf,
        /// What it has.
        bytes: u64,
        /// What it would have to have.
        needed: Size,
    },
    /// The memory tier would be too small to work in.
    #[error("a compressed tier of {0} is too small to work in: give at least {min}, or 0, with --compressed", min = Size::from_pages(super::MIN_SEGMENTS * super::SEGMENT_PAGES))]
    TierTooSmall(Size),
    /// There is no file whose faults could be injected.
    #[error(
        "a store in memory has no file that could fail: leave --store-faults out, or name a file with --store"
    )]
    NoFile,
    /// The host gives no address space.
    #[error(
        "cannot map the store's memory: {0}; give the guest less RAM or swap, or raise the limit (ulimit -v)"
    )]
    Memory(io::Error),
    /// The host gives no thread.
    #[error("cannot start the store's thread: {0}; check the limit on processes (ulimit -u)")]
    Thread(io::Error),
    /// Every slot is in use.
    #[error("the store is full: all {0} slots are in use; give the guest less RAM or less swap")]
    Full(u32),
    /// The memory that the store may take is full, and there is no file below.
    #[error("the store's memory is full: {0}; give more with --compressed, or a file with --store")]
    MemoryFull(Size),
    /// There is no room on the disk now. Nothing is lost: the same may succeed later.
    #[error("no room on the store's disk: {0}; free space there")]
    NoSpace(io::Error),
    /// A read failed.
    #[error("cannot read slot {slot} of the store: {reason}; check the disk that it is on")]
    Read {
        /// Which.
        slot: Slot,
        /// The host's answer.
        reason: io::Error,
    },
    /// A write failed.
    #[error("cannot write to the store: {0}; check the disk that it is on")]
    Write(io::Error),
    /// What was read is not what was written.
    #[error("slot {0} of the store does not hold what was written to it; check the disk and the memory")]
    Corrupt(Slot),
    /// Nobody owns the slot.
    #[error("slot {0} of the store is not in use")]
    NotInUse(Slot),
}
