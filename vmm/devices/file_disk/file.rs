//! One file of the file disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use abi::addr::PAGE_SIZE;
use thiserror::Error;

use super::spec::{Access, FileSpec, SpecError};
use crate::devices::disk::DiskError;
use crate::devices::guest_slices::GuestSlices;

/// Why a file could not be put on the disk.
#[derive(Debug, Error)]
pub enum FileError {
    /// The host does not open it.
    #[error("cannot open {path}: {error}; give a file that exists and that you may read")]
    Open {
        /// As the user named it.
        path: String,
        /// The host's answer.
        error: io::Error,
    },
    /// It opens, but not for writing.
    #[error("cannot open {path} for writing: {error}; add :ro if the guest need not write it")]
    OpenForWriting {
        /// As the user named it.
        path: String,
        /// The host's answer.
        error: io::Error,
    },
    /// A directory, a device, a pipe.
    #[error("{0} is not a regular file: give one")]
    NotRegular(String),
    /// The guest's numbers of files are 15 bits.
    #[error("{0} files are too many for a guest, which can see {MOST_FILES}: give a smaller --dir")]
    TooMany(usize),
    /// Two files have this path in the guest.
    #[error("two files would be {0} in the guest: give one of them another path as HOST:GUEST")]
    SameGuestPath(String),
    /// Its path in the guest is none.
    #[error(transparent)]
    Spec(#[from] SpecError),
}

/// Most files in a guest.
pub(super) const MOST_FILES: usize = 1 << 15;

enum Content {
    Host { path: String, file: File, written: bool },
    Bytes(&'static [u8]),
}

/// A file: its content, and what the index says of it.
pub struct DiskFile {
    guest: String,
    content: Content,
    /// The length that the guest was told, or told us. Nothing past it is read from or written to the host file.
    len: u64,
    /// The extent's length: whole pages.
    capacity: u64,
    mtime_ns: u64,
    mode: u32,
    read_only: bool,
}

impl DiskFile {
    /// A host file. It stays open, so that it is the same file to the end even if its path is replaced.
    ///
    /// # Errors
    /// It cannot be opened for what the guest may do with it, or is not a regular file.
    pub fn open(spec: &FileSpec) -> Result<Self, FileError> {
        let path = spec.host.display().to_string();
        let failed = |error| FileError::Open { path: path.clone(), error };
        // Not blocking: a pipe would keep us here until someone writes to it.
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NONBLOCK);
        if let Access::Create(_) = spec.access {
            options.write(true).create(true).truncate(false);
        }
        let mut file = options.open(&spec.host).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(FileError::NotRegular(path));
        }
        if spec.access == Access::ReadWrite {
            let opened = options.write(true).open(&spec.host);
            file = opened.map_err(|error| FileError::OpenForWriting { path: path.clone(), error })?;
        }
        let most = match spec.access {
            Access::Create(size) => size.bytes().max(metadata.len()),
            _ => metadata.len(),
        };
        let since_1970 = metadata.mtime().checked_mul(1_000_000_000);
        let mtime_ns = since_1970.and_then(|ns| u64::try_from(ns + metadata.mtime_nsec()).ok());
        Ok(Self {
            guest: spec.guest.clone(),
            len: metadata.len(),
            capacity: most.next_multiple_of(PAGE_SIZE as u64),
            mtime_ns: mtime_ns.unwrap_or(0),
            mode: metadata.mode() & 0o7777,
            read_only: spec.access == Access::ReadOnly,
            content: Content::Host { path, file, written: false },
        })
    }

    /// A program that is part of the VMM itself: read-only, executable.
    ///
    /// # Errors
    /// `guest` is no path that the guest can have.
    pub fn bundled(guest: &str, bytes: &'static [u8]) -> Result<Self, FileError> {
        let len = bytes.len() as u64;
        Ok(Self {
            guest: FileSpec::new("", guest, Access::ReadOnly)?.guest,
            content: Content::Bytes(bytes),
            len,
            capacity: len.next_multiple_of(PAGE_SIZE as u64),
            mtime_ns: 0,
            mode: 0o555,
            read_only: true,
        })
    }

    /// Its absolute path in the guest.
    #[must_use]
    pub fn guest_path(&self) -> &str {
        &self.guest
    }

    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    pub(super) const fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(super) const fn mtime_ns(&self) -> u64 {
        self.mtime_ns
    }

    pub(super) const fn mode(&self) -> u32 {
        self.mode
    }

    pub(super) const fn read_only(&self) -> bool {
        self.read_only
    }

    /// Gives the file, the host's too, another length.
    pub(super) fn set_len(&mut self, len: u64) -> Result<(), DiskError> {
        match &mut self.content {
            Content::Host { file, path, written } if !self.read_only && len <= self.capacity => {
                file.set_len(len).map_err(|error| failed(path, error))?;
                *written = true;
                self.len = len;
                Ok(())
            }
            _ => Err(DiskError::ReadOnly),
        }
    }

    /// How many of `count` bytes at `offset` are before the end of the file.
    fn before_end(&self, offset: u64, count: usize) -> usize {
        (count as u64).min(self.len.saturating_sub(offset)) as usize
    }

    /// Reads at `offset` of the extent: the file's bytes, then zeros.
    pub(super) fn read(&self, offset: u64, mut into: GuestSlices<'_>) -> Result<(), DiskError> {
        let count = self.before_end(offset, into.len());
        if let Some(target) = into.split_first(count) {
            match &self.content {
                Content::Host { file, path, .. } => {
                    target.read_from(file, offset).map_err(|error| failed(path, error))?;
                }
                Content::Bytes(bytes) => {
                    target.copy_from(bytes.get(offset as usize..).unwrap_or_default());
                }
            }
        }
        into.zero();
        Ok(())
    }

    /// Writes at `offset` of the extent; what is past the end of the file goes nowhere.
    pub(super) fn write(&mut self, offset: u64, mut from: GuestSlices<'_>) -> Result<(), DiskError> {
        let count = self.before_end(offset, from.len());
        match &mut self.content {
            Content::Host { file, path, written } if !self.read_only => {
                *written = true;
                let source = from.split_first(count).unwrap_or_default();
                source.write_to(file, offset).map_err(|error| failed(path, error))
            }
            _ => Err(DiskError::ReadOnly),
        }
    }

    /// Brings what was written to the host's disk.
    pub(super) fn flush(&mut self) -> Result<(), DiskError> {
        if let Content::Host { file, path, written: written @ true } = &mut self.content {
            file.sync_data().map_err(|error| failed(path, error))?;
            *written = false;
        }
        Ok(())
    }
}

fn failed(path: &str, error: io::Error) -> DiskError {
    DiskError::File { path: path.to_owned(), error }
}
