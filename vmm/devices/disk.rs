//! What is behind a virtio-blk device.

use std::io;
use std::ops::Range;

use thiserror::Error;

use super::guest_slices::GuestSlices;
use crate::store::StoreError;

/// Why a disk did not do as it was told. The guest sees an I/O error.
#[derive(Debug, Error)]
pub enum DiskError {
    /// The guest wrote where it must not.
    #[error("the guest wrote to a read-only part of a disk")]
    ReadOnly,
    /// The host could not read or write a file.
    #[error("{path}: {error}; the guest gets an I/O error")]
    File {
        /// The file as the user named it.
        path: String,
        /// The host's answer.
        error: io::Error,
    },
    /// The store could not.
    #[error("swap disk: {0}; the guest gets an I/O error")]
    Store(#[from] StoreError),
}

/// A disk of fixed size. Offsets are in bytes, and every range that it is given ends at [`Disk::size`] at the latest.
pub trait Disk: Send {
    /// What the guest may tell it by, at most 20 bytes.
    const ID: &'static str;

    /// Its size in bytes, a multiple of 4096.
    fn size(&self) -> u64;

    /// Whether no write can ever succeed.
    fn read_only(&self) -> bool;

    /// Whether [`Disk::discard`] does something.
    fn can_discard(&self) -> bool;

    /// Fills `into` with what is at `offset`.
    ///
    /// # Errors
    /// The host cannot read.
    fn read(&mut self, offset: u64, into: GuestSlices<'_>) -> Result<(), DiskError>;

    /// Writes all of `from` at `offset`.
    ///
    /// # Errors
    /// It is read-only there, or the host cannot write.
    fn write(&mut self, offset: u64, from: GuestSlices<'_>) -> Result<(), DiskError>;

    /// Makes what was written survive the host, as far as the disk is there to stay.
    ///
    /// # Errors
    /// The host cannot.
    fn flush(&mut self) -> Result<(), DiskError>;

    /// The guest no longer needs what is in `range`.
    ///
    /// # Errors
    /// The host cannot give it up.
    fn discard(&mut self, range: Range<u64>) -> Result<(), DiskError>;
}
