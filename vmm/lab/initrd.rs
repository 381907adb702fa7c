//! The initial RAM disk: a cpio archive in the "newc" format, which the kernel unpacks into its root file system
//! (Documentation/driver-api/early-userspace/buffer-format.rst). It is written anew for each job, uncompressed: that
//! costs one copy, and nothing stale can be left of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, memfd_create};

use super::LabError;

/// What will be in the archive, by absolute path.
#[derive(Debug, Default)]
pub struct Tree {
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Debug)]
enum Entry {
    Folder,
    Link(PathBuf),
    Program(Vec<u8>),
    File(PathBuf),
}

impl Tree {
    /// A program whose bytes are given.
    pub fn program(&mut self, path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) {
        self.put(path.into(), Entry::Program(bytes.into()));
    }

    /// A copy of a host file, with its permissions.
    pub fn file(&mut self, path: impl Into<PathBuf>, host: impl Into<PathBuf>) {
        self.put(path.into(), Entry::File(host.into()));
    }

    /// An empty folder.
    pub fn folder(&mut self, path: impl Into<PathBuf>) {
        self.put(path.into(), Entry::Folder);
    }

    /// Adds an entry and the folders on the way to it. A folder that is a link on the host (`/bin`) is one here.
    fn put(&mut self, path: PathBuf, entry: Entry) {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return };
        let mut folder = PathBuf::from("/");
        for component in parent.components().skip(1) {
            let named = folder.join(component);
            let is_link = named.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
            folder = match named.canonicalize() {
                Ok(target) if is_link => {
                    self.entries.insert(named, Entry::Link(target.clone()));
                    self.folder(&target);
                    target
                }
                _ => {
                    self.entries.entry(named.clone()).or_insert(Entry::Folder);
                    named
                }
            };
        }
        let place = folder.join(name);
        if !matches!((&entry, self.entries.get(&place)), (Entry::Folder, Some(_))) {
            self.entries.insert(place, entry);
        }
    }

    /// Writes the archive into memory that has no name and goes with its last descriptor.
    ///
    /// # Errors
    /// A file cannot be read, or there is no memory.
    pub fn pack(&self) -> Result<Initrd, LabError> {
        let name = Path::new("the initrd");
        let memory = memfd_create("initrd", MemfdFlags::CLOEXEC);
        let memory = File::from(memory.map_err(|error| LabError::file("make", name)(error.into()))?);
        let mut archive = Archive { out: BufWriter::new(memory), inode: 0 };
        for (path, entry) in &self.entries {
            let written = match entry {
                Entry::Folder => archive.member(path, 0o040_755, 0, io::empty()),
                Entry::Link(target) => {
                    let target = target.as_os_str().as_bytes();
                    archive.member(path, 0o120_777, target.len() as u64, target)
                }
                Entry::Program(bytes) => {
                    archive.member(path, 0o100_755, bytes.len() as u64, bytes.as_slice())
                }
                Entry::File(host) => archive.copy(path, host),
            };
            written.map_err(LabError::file("pack", path))?;
        }
        archive.finish().map_err(LabError::file("write", name))
    }
}

/// A finished archive.
#[derive(Debug)]
pub struct Initrd {
    memory: File,
    bytes: u64,
}

impl Initrd {
    /// Its length.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The memory that holds it.
    #[must_use]
    pub fn memory(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

struct Archive<W> {
    out: W,
    inode: u32,
}

impl<W: Write + Seek> Archive<W> {
    fn copy(&mut self, path: &Path, host: &Path) -> io::Result<()> {
        let file = File::open(host)?;
        let metadata = file.metadata()?;
        let mode = 0o100_000 | metadata.permissions().mode() & 0o777;
        self.member(path, mode, metadata.len(), file)
    }

    /// One member. The kernel wants neither a leading slash nor a particular inode, but a different one for each.
    fn member(&mut self, path: &Path, mode: u32, bytes: u64, content: impl io::Read) -> io::Result<()> {
        let size = u32::try_from(bytes).map_err(|_| {
            io::Error::new(io::ErrorKind::FileTooLarge, "the initrd takes files of up to 4 GiB")
        })?;
        let name = path.strip_prefix("/").unwrap_or(path).as_os_str().as_bytes();
        self.inode += 1;
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        self.out.write_all(b"070701")?;
        for field in fields {
            write!(self.out, "{field:08x}")?;
        }
        self.out.write_all(name)?;
        self.out.write_all(&[0])?;
        self.pad()?;
        // A file that changes meanwhile must not shift the members after it.
        let copied = io::copy(&mut content.take(bytes), &mut self.out)?;
        if copied != bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.pad()
    }

    fn pad(&mut self) -> io::Result<()> {
        let over = (self.out.stream_position()? % 4) as usize;
        self.out.write_all(&[0; 3][..(4 - over) % 4])
    }
}

impl Archive<BufWriter<File>> {
    fn finish(mut self) -> Result<Initrd, io::Error> {
        self.member(Path::new("TRAILER!!!"), 0, 0, io::empty())?;
        let bytes = self.out.stream_position()?;
        let memory = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Initrd { memory, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_on_the_way_is_in_the_archive_before_its_file() {
        let mut tree = Tree::default();
        tree.program("/a/b/c", *b"x");
        let paths: Vec<_> = tree.entries.keys().map(|path| path.display().to_string()).collect();
        assert_eq!(paths, ["/a", "/a/b", "/a/b/c"]);
    }

    #[test]
    fn a_folder_that_is_a_link_here_is_one_there() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [real, link] = ["real", "link"].map(|name| folder.path().join(name));
        std::fs::create_dir(&real).expect("a folder");
        std::os::unix::fs::symlink("real", &link).expect("a link");
        let mut tree = Tree::default();
        tree.program(link.join("file"), *b"x");
        assert!(matches!(&tree.entries[&link], Entry::Link(target) if *target == real));
        assert!(matches!(tree.entries[&real], Entry::Folder));
        assert!(matches!(tree.entries[&real.join("file")], Entry::Program(_)));
    }

    #[test]
    fn members_are_laid_out_as_the_format_says() {
        let mut archive = Archive { out: io::Cursor::new(Vec::new()), inode: 6 };
        archive.member(Path::new("/ab"), 0o100_644, 5, &b"hello world"[..]).expect("memory");
        let bytes = archive.out.into_inner();
        let header = concat!(
            "070701", "00000007", "000081a4", "00000000", "00000000", "00000001", "00000000", "00000005",
            "00000000", "00000000", "00000000", "00000000", "00000003", "00000000", "ab\0",
        );
        assert_eq!(&bytes[..113], header.as_bytes());
        assert_eq!(&bytes[113..], b"\0\0\0hello\0\0\0");
    }

    #[test]
    fn a_file_that_shrinks_is_an_error() {
        let mut archive = Archive { out: io::Cursor::new(Vec::new()), inode: 0 };
        assert!(archive.member(Path::new("/f"), 0o100_644, 5, &b"hell"[..]).is_err());
    }
}
