use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use abi::files::{ENTRIES_START, Entry, READ_ONLY};
use tempfile::TempDir;

use super::*;
use crate::devices::virtio::Block;
use crate::devices::virtio::test_driver::{BUFFERS, Buffer, Driver};

const SECTOR: u64 = 512;

/// A guest with a file disk, and the folder with its files.
pub struct Fixture {
    pub folder: TempDir,
    pub driver: Driver<Block<FileDisk>>,
}

impl Fixture {
    /// Files by name: `n` is at `/n` in the guest; `:ro` and `:create=SIZE` may follow.
    pub fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let files = files.iter().map(|(name, content)| {
            let name = format!("{}:{name}", folder.path().join("x").with_file_name(name).display());
            let spec: FileSpec = name.parse().expect("a description");
            let host = folder.path().join(spec.guest.trim_start_matches('/'));
            fs::write(&host, content).expect("room");
            DiskFile::open(&FileSpec { host, ..spec }).expect("a file")
        });
        let disk = FileDisk::new(files.collect()).expect("different names");
        Self { folder, driver: Driver::start(Block::new(disk)) }
    }

    /// Reads as a driver does; `None` is an I/O error.
    pub fn read(&mut self, start: u64, len: u32) -> Option<Vec<u8>> {
        self.header(0, start / SECTOR);
        self.driver.request(0, &[buffer(0, 16, false), buffer(0x1000, len, true), buffer(0x100, 1, true)]);
        (self.driver.load(BUFFERS + 0x100, 1) == [0])
            .then(|| self.driver.load(BUFFERS + 0x1000, len as usize))
    }

    /// Writes as a driver does; returns the status.
    pub fn write(&mut self, start: u64, bytes: &[u8]) -> u8 {
        self.header(1, start / SECTOR);
        self.driver.store(BUFFERS + 0x1000, bytes);
        let data = buffer(0x1000, bytes.len() as u32, false);
        self.driver.request(0, &[buffer(0, 16, false), data, buffer(0x100, 1, true)]);
        self.driver.load(BUFFERS + 0x100, 1)[0]
    }

    pub fn header(&self, kind: u32, sector: u64) {
        self.driver.store(BUFFERS, &kind.to_le_bytes());
        self.driver.store(BUFFERS + 8, &sector.to_le_bytes());
        self.driver.store(BUFFERS + 0x100, &[0xee]);
    }

    fn host(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(name)).expect("still there")
    }

    fn entry(&mut self, at: u64) -> Entry {
        let start = ENTRIES_START + at * 512;
        let bytes = self.read(start, 512).expect("readable");
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let mut entry = Entry {
            start: word(0),
            len: word(8),
            capacity: word(16),
            mtime_ns: word(24),
            mode: word(32) as u32,
            flags: (word(32) >> 32) as u32,
            path_len: word(40),
            path: [0; abi::files::MAX_PATH],
        };
        entry.path.copy_from_slice(&bytes[48..]);
        entry
    }
}

pub fn buffer(at: u64, len: u32, writable: bool) -> Buffer {
    Buffer { start: BUFFERS + at, len, writable }
}

#[test]
fn the_index_leads_to_every_file() {
    let files: &[(&str, &[u8])] =
        &[("a", b"first"), ("empty", b""), ("b:ro", &[7; 5000]), ("c", &[9; 4096]), ("d", b"last")];
    let mut guest = Fixture::new(files);
    let header = guest.read(0, 512).expect("readable");
    assert_eq!(header[..8], abi::files::MAGIC.to_le_bytes());
    assert_eq!(header[8..16], 5_u64.to_le_bytes());

    let mut end = 8192;
    for (at, (name, content)) in files.iter().enumerate() {
        let entry = guest.entry(at as u64);
        let bare = name.trim_end_matches(":ro");
        assert_eq!(&entry.path[..entry.path_len as usize], format!("/{bare}").as_bytes());
        assert_eq!(entry.flags, if bare == *name { 0 } else { READ_ONLY });
        assert_eq!((entry.start, entry.len), (end, content.len() as u64), "extents follow each other");
        assert_eq!(entry.capacity, entry.len.next_multiple_of(4096));
        assert!(entry.mtime_ns > 1_600_000_000_000_000_000, "nanoseconds since 1970");
        assert_eq!(entry.mode & 0o400, 0o400);
        end = entry.start + entry.capacity;
        if entry.len > 0 {
            let mut expected = content.to_vec();
            expected.resize(entry.capacity as usize, 0);
            assert_eq!(guest.read(entry.start, entry.capacity as u32), Some(expected), "{name}");
        }
    }
    let mut capacity = [0; 8];
    lock_config(&guest, &mut capacity);
    assert_eq!(u64::from_le_bytes(capacity) * SECTOR, end);
}

fn lock_config(guest: &Fixture, data: &mut [u8]) {
    use crate::devices::bus::BusDevice;
    guest.driver.mmio.lock().expect("unpoisoned").read(0x100, data);
}

#[test]
fn one_read_crosses_from_the_index_through_several_files() {
    let mut guest = Fixture::new(&[("a", &[1; 4096]), ("empty", b""), ("b", &[2; 100])]);
    let bytes = guest.read(4096, 3 * 4096).expect("readable");
    assert_eq!(bytes[4096..8192], [1; 4096]);
    assert_eq!(bytes[8192..8292], [2; 100]);
    assert_eq!(bytes[8292..], [0; 3996]);
}

#[test]
fn a_write_reaches_the_host_file_but_never_changes_its_length() {
    let mut guest = Fixture::new(&[("a", &[1; 5000]), ("b", &[2; 10])]);
    let start = guest.entry(0).start;
    assert_eq!(guest.write(start, &[3; 3 * 4096]), 0, "both files whole");
    assert_eq!(guest.host("a"), [3; 5000]);
    assert_eq!(guest.host("b"), [3; 10]);
    let tail = guest.read(start + 4096, 4096).expect("readable");
    assert_eq!(tail[..904], [3; 904]);
    assert_eq!(tail[904..], [0; 3192], "what was written past the end is nowhere");
}

#[test]
fn a_file_has_the_length_that_the_guest_writes_into_its_entry() {
    let mut guest = Fixture::new(&[("a", &[1; 5000]), ("b:create=64K", b""), ("c:ro", b"ro")]);
    let entry = |len: u64| {
        let mut sector = [0xee; 512];
        sector[8..16].copy_from_slice(&len.to_le_bytes());
        sector
    };
    let [first, second, third] = [0, 1, 2].map(|n| ENTRIES_START + 512 * n);
    let start = guest.entry(1).start;
    assert_eq!((guest.entry(1).len, guest.entry(1).capacity), (0, 64 << 10));
    assert_eq!(guest.write(second, &entry(6000)), 0);
    assert_eq!(guest.write(start, &[7; 8192]), 0);
    assert_eq!((guest.host("b"), guest.entry(1).len), (vec![7; 6000], 6000));
    assert_eq!(guest.write(first, &entry(10)), 0);
    assert_eq!((guest.host("a"), guest.entry(0).len), (vec![1; 10], 10));
    let failed = [
        guest.write(first, &entry(8193)),
        guest.write(second, &entry((64 << 10) + 1)),
        guest.write(third, &entry(1)),
        guest.write(third + 512, &entry(1)),
        guest.write(first, &[0; 1024]),
        guest.write(512, &entry(1)),
    ];
    assert_eq!(failed, [1; 6], "longer than the extent, read-only, no file, two entries, no entry");
    assert_eq!((guest.host("a"), guest.host("c")), (vec![1; 10], b"ro".to_vec()));
}

#[test]
fn a_folder_is_the_files_under_it() {
    let folder = TempDir::new().expect("a temporary folder");
    fs::create_dir_all(folder.path().join("b/c")).expect("room");
    for name in ["z", "b/c/y", "b/x"] {
        fs::write(folder.path().join(name), name).expect("room");
    }
    std::os::unix::fs::symlink("../z", folder.path().join("b/link")).expect("room");
    std::os::unix::fs::symlink("nowhere", folder.path().join("dangling")).expect("room");
    let spec: FolderSpec = format!("{}:/in:ro", folder.path().display()).parse().expect("a folder");
    let files = spec.files().expect("readable");
    let guests: Vec<_> = files.iter().map(|file| file.guest.as_str()).collect();
    assert_eq!(guests, ["/in/b/c/y", "/in/b/link", "/in/b/x", "/in/z"]);
    assert!(files.iter().all(|file| file.access == Access::ReadOnly));
    let nowhere: FolderSpec = "/nowhere/at/all".parse().expect("a path");
    assert!(matches!(nowhere.files(), Err(FolderError::Unreadable(..))));
}

#[test]
fn a_file_that_the_host_shortened_reads_as_zeros() {
    let mut guest = Fixture::new(&[("a", &[1; 8192])]);
    let start = guest.entry(0).start;
    fs::OpenOptions::new()
        .write(true)
        .open(guest.folder.path().join("a"))
        .expect("there")
        .set_len(10)
        .expect("ok");
    let bytes = guest.read(start, 8192).expect("readable");
    assert_eq!(bytes[..10], [1; 10]);
    assert_eq!(bytes[10..], [0; 8182]);
}

#[test]
fn a_read_only_file_and_the_index_refuse_writes() {
    let mut guest = Fixture::new(&[("a", b"rw"), ("b:ro", b"ro")]);
    let start = guest.entry(1).start;
    assert_eq!(guest.write(start, &[3; 4096]), 1, "I/O error");
    assert_eq!(guest.write(0, &[3; 512]), 1, "I/O error");
    assert_eq!(guest.host("b"), b"ro");
    assert_eq!(guest.read(0, 8), None, "not a sector");
    assert_eq!(guest.read(0, 512).expect("readable")[..8], abi::files::MAGIC.to_le_bytes());
}

#[test]
fn a_bundled_program_is_a_read_only_executable_file() {
    static PROGRAM: [u8; 5000] = [0x7f; 5000];
    let disk = FileDisk::new(vec![DiskFile::bundled("/bin/sort", &PROGRAM).expect("a path")]).expect("one");
    assert!(disk.read_only());
    let folder = TempDir::new().expect("a temporary folder");
    let mut guest = Fixture { folder, driver: Driver::start(Block::new(disk)) };
    let entry = guest.entry(0);
    assert_eq!((entry.len, entry.mode, entry.flags), (5000, 0o555, READ_ONLY));
    let bytes = guest.read(entry.start + 4096, 4096).expect("readable");
    assert_eq!(bytes[..904], PROGRAM[4096..]);
    assert_eq!(bytes[904..], [0; 3192]);
    assert_eq!(guest.write(entry.start, &[0; 512]), 1);
}

#[test]
fn what_is_no_readable_regular_file_is_refused_by_name() {
    let folder = TempDir::new().expect("a temporary folder");
    let open =
        |host: PathBuf| DiskFile::open(&FileSpec::new(host, "/x", Access::ReadWrite).expect("a path")).err();
    assert!(matches!(open(folder.path().join("missing")), Some(FileError::Open { .. })));
    assert!(matches!(open(folder.path().to_owned()), Some(FileError::NotRegular(_))));
    assert!(matches!(open("/dev/null".into()), Some(FileError::NotRegular(_))));

    let host = folder.path().join("a");
    fs::write(&host, b"x").expect("room");
    let file =
        || DiskFile::open(&FileSpec::new(&host, "/x", Access::ReadOnly).expect("a path")).expect("a file");
    let message = FileDisk::new(vec![file(), file()]).err().expect("twice").to_string();
    assert_eq!(message, "two files would be /x in the guest: give one of them another path as HOST:GUEST");

    fs::set_permissions(&host, fs::Permissions::from_mode(0o400)).expect("ours");
    if !rustix::process::geteuid().is_root() {
        assert!(matches!(open(host), Some(FileError::OpenForWriting { .. })));
    }
}
