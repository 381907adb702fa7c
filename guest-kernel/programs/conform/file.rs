//! Files and folders that the program makes itself, their names, locks, and what /proc tells.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::ptr;

use programs::PAGE;

use super::Check;
use super::os::{End, child, pipe, read, result, write};

pub const CHECKS: &[Check] = &[
    ("a new file has what was written to it, and zeros where nothing was", written),
    ("a file is opened as the flags say", flags),
    ("appending writes at the end, whoever wrote before", appended),
    ("a file without a name goes on until it is closed", nameless),
    ("a name is taken away, given again, moved over another", renamed),
    ("a file of two names is one file", linked),
    ("a folder lists what is in it, and goes only when nothing is", folders),
    ("a folder moves with what is in it", folder_moves),
    ("paths lead where the man page says", paths),
    ("a new file is mapped, grows and is cut under its mapping", mapped),
    ("POSIX shared memory is one for all who open it", posix_shared_memory),
    ("parent and child share an open file's offset", shared_offset),
    ("a lock keeps another process out, and goes with its process", locks),
    ("a program without rights to run is not run", not_executable),
    ("proc tells of the process's memory", proc_memory),
    ("proc tells which page is resident", proc_pagemap),
];

/// An empty folder, gone again at the end of `check`.
fn in_folder(check: impl FnOnce(&Path)) {
    let folder = Path::new("/tmp").join(format!("conform-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    check(&folder);
    fs::remove_dir_all(&folder).unwrap();
    assert!(!folder.exists());
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn kind<T>(result: std::io::Result<T>) -> ErrorKind {
    result.err().expect("an error").kind()
}

fn both() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options
}

fn written() {
    in_folder(|folder| {
        let path = folder.join("f");
        let file = both().create_new(true).open(&path).unwrap();
        file.write_all_at(b"far", 3 * PAGE as u64 + 5).unwrap();
        file.write_all_at(b"near", 1).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 3 * PAGE + 8);
        assert_eq!((&bytes[..6], &bytes[3 * PAGE + 4..]), (&b"\0near\0"[..], &b"\0far"[..]));
        assert!(bytes[6..3 * PAGE + 4].iter().all(|&byte| byte == 0));
        file.set_len(2).unwrap();
        file.set_len(PAGE as u64).unwrap();
        let mut bytes = vec![7; PAGE];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes[..3], b"\0n\0", "what was cut off does not come back");
        assert!(bytes[3..].iter().all(|&byte| byte == 0));
        assert_eq!(file.read_at(&mut bytes, PAGE as u64).unwrap(), 0);
    });
}

fn flags() {
    in_folder(|folder| {
        let path = folder.join("f");
        assert_eq!(kind(File::open(&path)), ErrorKind::NotFound);
        assert_eq!(kind(File::create(folder.join("none/f"))), ErrorKind::NotFound);
        fs::write(&path, "text").unwrap();
        assert_eq!(kind(both().create_new(true).open(&path)), ErrorKind::AlreadyExists);
        assert_eq!(kind(File::open(path.join("x"))), ErrorKind::NotADirectory);
        assert_eq!(kind(File::create(folder)), ErrorKind::IsADirectory);
        assert_eq!(
            kind(OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(&path)),
            ErrorKind::NotADirectory
        );
        let reader = File::open(&path).unwrap();
        assert_eq!((&reader).write(b"x").unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert_eq!(reader.set_len(1).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        drop(File::create(&path).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().len(), 0, "truncated");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode(), libc::S_IFREG | 0o640);
    });
}

fn appended() {
    in_folder(|folder| {
        let path = folder.join("f");
        let mut one = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        let mut other = OpenOptions::new().append(true).open(&path).unwrap();
        one.write_all(b"one ").unwrap();
        other.write_all(b"two ").unwrap();
        one.write_all(b"three").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one two three");
    });
}

fn nameless() {
    in_folder(|folder| {
        let path = folder.join("f");
        let mut file = both().create(true).truncate(true).open(&path).unwrap();
        file.write_all(b"still here").unwrap();
        fs::remove_file(&path).unwrap();
        assert!(!path.exists() && file.metadata().unwrap().nlink() == 0);
        fs::write(&path, "another").unwrap();
        let mut text = String::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "still here");
    });
}

fn renamed() {
    in_folder(|folder| {
        let [a, b, c] = ["a", "b", "c"].map(|name| folder.join(name));
        fs::write(&a, "a").unwrap();
        fs::write(&b, "b").unwrap();
        fs::rename(&a, &c).unwrap();
        assert_eq!(names(folder), ["b", "c"]);
        fs::rename(&c, &b).unwrap();
        assert_eq!((names(folder), fs::read(&b).unwrap()), (vec!["b".to_owned()], b"a".to_vec()));
        assert_eq!(kind(fs::rename(&a, &b)), ErrorKind::NotFound);
        fs::rename(&b, &b).unwrap();
        fs::create_dir(&c).unwrap();
        assert_eq!(kind(fs::rename(&b, &c)), ErrorKind::IsADirectory);
        assert_eq!(kind(fs::rename(&c, &b)), ErrorKind::NotADirectory);
        assert_eq!(kind(fs::remove_file(&a)), ErrorKind::NotFound);
        assert_eq!(fs::remove_file(&c).unwrap_err().raw_os_error(), Some(libc::EISDIR));
    });
}

fn linked() {
    in_folder(|folder| {
        let [a, b] = ["a", "b"].map(|name| folder.join(name));
        fs::write(&a, "old").unwrap();
        fs::hard_link(&a, &b).unwrap();
        fs::write(&b, "new").unwrap();
        let [one, other] = [&a, &b].map(|path| fs::metadata(path).unwrap());
        assert_eq!((one.ino(), one.nlink()), (other.ino(), 2));
        assert_eq!(kind(fs::hard_link(&a, &b)), ErrorKind::AlreadyExists);
        fs::remove_file(&a).unwrap();
        assert_eq!(fs::read(&b).unwrap(), b"new");
        assert_eq!(fs::metadata(&b).unwrap().nlink(), 1);
    });
}

fn folders() {
    in_folder(|folder| {
        let inner = folder.join("inner");
        fs::create_dir(&inner).unwrap();
        assert_eq!(kind(fs::create_dir(&inner)), ErrorKind::AlreadyExists);
        // More names than one call returns: glibc and Rust ask for 32 KiB.
        let wanted: Vec<String> = (0..160).map(|n| format!("{n:04}{}", "x".repeat(230))).collect();
        for name in &wanted {
            fs::write(inner.join(name), name).unwrap();
        }
        assert_eq!(names(&inner), wanted);
        assert_eq!(names(folder), ["inner"]);
        assert_eq!(kind(fs::remove_dir(&inner)), ErrorKind::DirectoryNotEmpty);
        for name in &wanted {
            assert_eq!(fs::read(inner.join(name)).unwrap(), name.as_bytes());
            fs::remove_file(inner.join(name)).unwrap();
        }
        fs::remove_dir(&inner).unwrap();
        assert_eq!(kind(fs::remove_dir(&inner)), ErrorKind::NotFound);
    });
}

fn folder_moves() {
    in_folder(|folder| {
        fs::create_dir_all(folder.join("a/b")).unwrap();
        fs::write(folder.join("a/b/f"), "text").unwrap();
        fs::write(folder.join("a.x"), "other").unwrap();
        fs::rename(folder.join("a"), folder.join("z")).unwrap();
        assert_eq!(fs::read(folder.join("z/b/f")).unwrap(), b"text");
        assert_eq!(names(folder), ["a.x", "z"]);
        assert_eq!(kind(fs::rename(folder.join("z"), folder.join("z/b/c"))), ErrorKind::InvalidInput);
    });
}

fn paths() {
    in_folder(|folder| {
        let before = std::env::current_dir().unwrap();
        fs::create_dir(folder.join("a")).unwrap();
        std::env::set_current_dir(folder.join("a")).unwrap();
        fs::write("f", "text").unwrap();
        for path in ["./f", "../a/f", ".././a//f"] {
            assert_eq!(fs::read(path).unwrap(), b"text");
        }
        assert_eq!(std::env::current_dir().unwrap(), folder.join("a"));
        assert_eq!(kind(fs::metadata("f/")), ErrorKind::NotADirectory);
        assert_eq!(kind(fs::metadata("")), ErrorKind::NotFound);
        assert_eq!(fs::metadata("x".repeat(5000)).unwrap_err().raw_os_error(), Some(libc::ENAMETOOLONG));
        std::env::set_current_dir(before).unwrap();
    });
}

fn map_shared(file: &File, pages: usize) -> *mut u8 {
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a fresh mapping.
    let start =
        unsafe { libc::mmap(ptr::null_mut(), pages * PAGE, rights, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    result(start as i64).unwrap();
    start.cast()
}

fn mapped() {
    in_folder(|folder| {
        let file = both().create(true).truncate(true).open(folder.join("f")).unwrap();
        let start = map_shared(&file, 3);
        file.set_len(2 * PAGE as u64).unwrap();
        // SAFETY: the second page is in the file now.
        unsafe { start.add(PAGE).write_volatile(7) };
        let mut byte = [0];
        file.read_exact_at(&mut byte, PAGE as u64).unwrap();
        assert_eq!(byte, [7]);
        file.set_len(PAGE as u64).unwrap();
        // SAFETY: the access ends the child, as is wanted.
        let past = child(|| unsafe { start.add(PAGE).read_volatile() }.into());
        assert_eq!(past.wait(), End::Signal(libc::SIGBUS));
        file.set_len(2 * PAGE as u64).unwrap();
        // SAFETY: the page is in the file again.
        assert_eq!(unsafe { start.add(PAGE).read_volatile() }, 0);
        // SAFETY: nobody uses the mapping any more.
        assert_eq!(unsafe { libc::munmap(start.cast(), 3 * PAGE) }, 0);
    });
}

fn posix_shared_memory() {
    let name = std::ffi::CString::new(format!("/conform-{}", std::process::id())).unwrap();
    let open = |flags| {
        // SAFETY: the name ends with a NUL.
        let descriptor = unsafe { libc::shm_open(name.as_ptr(), flags, 0o600) };
        // SAFETY: the descriptor is nobody else's.
        result(descriptor.into()).map(|_| unsafe { File::from_raw_fd(descriptor) })
    };
    assert_eq!(open(libc::O_RDWR).err(), Some(libc::ENOENT));
    let file = open(libc::O_RDWR | libc::O_CREAT | libc::O_EXCL).unwrap();
    file.set_len(2 * PAGE as u64).unwrap();
    let here = map_shared(&file, 2);
    let other = child(|| {
        let there = map_shared(&open(libc::O_RDWR).unwrap(), 2);
        // SAFETY: two pages are mapped.
        unsafe { there.add(PAGE + 9).write_volatile(42) };
        0
    });
    assert_eq!(other.wait(), End::Exit(0));
    // SAFETY: two pages are mapped.
    assert_eq!(unsafe { here.add(PAGE + 9).read_volatile() }, 42);
    // SAFETY: the name ends with a NUL; nobody uses the mapping any more.
    unsafe {
        assert_eq!(libc::shm_unlink(name.as_ptr()), 0);
        assert_eq!(libc::munmap(here.cast(), 2 * PAGE), 0);
    }
    assert_eq!(open(libc::O_RDWR).err(), Some(libc::ENOENT));
}

fn shared_offset() {
    in_folder(|folder| {
        let path = folder.join("f");
        let file = both().create(true).truncate(true).open(&path).unwrap();
        let writes = child(|| write(file.as_raw_fd(), b"child ").unwrap() as i32);
        assert_eq!(writes.wait(), End::Exit(6));
        (&file).write_all(b"parent").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"child parent");
    });
}

fn lock(file: &File, kind: i32, start: i64, len: i64, command: i32) -> Result<libc::flock, i32> {
    let mut lock = libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: start,
        l_len: len,
        l_pid: 0,
    };
    // SAFETY: the lock is ours to write.
    result(unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut lock) }.into()).map(|_| lock)
}

fn locks() {
    in_folder(|folder| {
        let path = folder.join("f");
        let file = both().create(true).truncate(true).open(&path).unwrap();
        let (told, tells) = pipe();
        let (answered, answers) = pipe();
        let holder = child(|| {
            let file = both().open(&path).unwrap();
            lock(&file, libc::F_WRLCK, 10, 10, libc::F_SETLK).unwrap();
            write(tells, b"1").unwrap();
            read(answered, &mut [0]).unwrap();
            0
        });
        read(told, &mut [0]).unwrap();
        assert_eq!(lock(&file, libc::F_RDLCK, 15, 1, libc::F_SETLK).err(), Some(libc::EAGAIN));
        let found = lock(&file, libc::F_RDLCK, 0, 0, libc::F_GETLK).unwrap();
        assert_eq!((i32::from(found.l_type), found.l_start, found.l_len), (libc::F_WRLCK, 10, 10));
        lock(&file, libc::F_WRLCK, 0, 10, libc::F_SETLK).unwrap();
        write(answers, b"1").unwrap();
        // It waits until the other process has ended.
        lock(&file, libc::F_WRLCK, 15, 1, libc::F_SETLKW).unwrap();
        assert_eq!(holder.wait(), End::Exit(0));
        for descriptor in [told, tells, answered, answers] {
            super::os::close(descriptor);
        }
    });
}

fn not_executable() {
    in_folder(|folder| {
        let path = folder.join("script");
        fs::write(&path, "#!/no/such/program\n").unwrap();
        let run = || std::process::Command::new(&path).status();
        assert_eq!(kind(run()), ErrorKind::PermissionDenied);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(kind(run()), ErrorKind::NotFound);
    });
}

fn proc_memory() {
    const PAGES: usize = 20;
    let size = PAGES * PAGE;
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a fresh mapping, of which only the first half is written.
    let start = unsafe { libc::mmap(ptr::null_mut(), size, rights, private, -1, 0) };
    result(start as i64).unwrap();
    // A right of its own keeps it apart from its neighbours.
    // SAFETY: as above.
    assert_eq!(unsafe { libc::mprotect(start, size, rights | libc::PROT_EXEC) }, 0);
    for page in 0..PAGES / 2 {
        // SAFETY: as above.
        unsafe { start.cast::<u8>().add(page * PAGE).write_volatile(1) };
    }
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
    let head = format!("{:x}-{:x} rwxp", start as usize, start as usize + size);
    let area = smaps.split_once(&head).expect("the mapping").1;
    let kib = |name: &str| {
        let line = area.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number")
    };
    // Some of it may have been evicted meanwhile.
    assert_eq!((kib("Size:"), kib("Rss:") + kib("Swap:")), (size / 1024, size / 2048));
    assert_eq!(kib("Rss:"), kib("Private_Dirty:") + kib("Private_Clean:"));
    let status = fs::read_to_string("/proc/self/status").unwrap();
    assert!(status.contains(&format!("\nPid:\t{}\n", std::process::id())), "{status}");
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    assert!(stat.starts_with(&format!("{} (conform) R ", std::process::id())), "{stat}");
    let command = fs::read("/proc/self/cmdline").unwrap();
    assert!(command.ends_with(b"\0") && command.starts_with(std::env::args().next().unwrap().as_bytes()));
    // SAFETY: nobody uses the mapping any more.
    assert_eq!(unsafe { libc::munmap(start, size) }, 0);
}

fn proc_pagemap() {
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a fresh mapping of two pages, of which the first is written.
    let start = unsafe { libc::mmap(ptr::null_mut(), 2 * PAGE, rights, private, -1, 0) };
    result(start as i64).unwrap();
    // SAFETY: as above.
    unsafe { start.cast::<u8>().write_volatile(1) };
    let mut words = [0; 16];
    let place = start as u64 / PAGE as u64 * 8;
    File::open("/proc/self/pagemap").unwrap().read_exact_at(&mut words, place).unwrap();
    let [first, second] = [0, 8].map(|at| u64::from_le_bytes(words[at..at + 8].try_into().unwrap()));
    assert!(first >> 62 != 0, "resident, or evicted meanwhile");
    assert_eq!(second >> 62, 0, "never touched");
    // SAFETY: nobody uses the mapping any more.
    assert_eq!(unsafe { libc::munmap(start, 2 * PAGE) }, 0);
}
