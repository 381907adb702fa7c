//! The file disk: host files as extents of one virtio-blk device, so that no image has to be built.
//!
//! Sector 0 starts with an [`IndexHeader`]; [`Entry`] `n` is at byte `4096 + n * 512`. Each file has
//! an extent that starts on a page boundary after the index. Reading past a file's end within its
//! extent gives zeros; what is written there is lost.
//!
//! Writing one entry's sector sets the file's length, and so the host file's: only `len` of what is written
//! counts, it is at most `capacity`, and the file must not be read-only.

/// First word of the disk.
pub const MAGIC: u64 = u64::from_le_bytes(*b"bffiles\0");
/// Where entry 0 is, in bytes.
pub const ENTRIES_START: u64 = 4096;
/// Longest path in the guest, in bytes.
pub const MAX_PATH: usize = 464;
/// [`Entry::flags`]: the guest must not write to it.
pub const READ_ONLY: u32 = 1;

/// The start of the disk.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct IndexHeader {
    /// [`MAGIC`].
    pub magic: u64,
    /// How many entries follow.
    pub entries: u64,
}

/// One file.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Entry {
    /// Where the extent starts, in bytes from the start of the disk; page-aligned.
    pub start: u64,
    /// The file's length in bytes.
    pub len: u64,
    /// The extent's length in bytes: at least `len`, a multiple of 4096.
    pub capacity: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime_ns: u64,
    /// Permission bits as in st_mode.
    pub mode: u32,
    /// [`READ_ONLY`].
    pub flags: u32,
    /// Length of the path in bytes.
    pub path_len: u64,
    /// Absolute path in the guest, not terminated.
    pub path: [u8; MAX_PATH],
}

const _: () = assert!(size_of::<Entry>() == 512);
