//! What is known of files: stat and its relatives.

use super::name::{AT_FDCWD, lookup, user_path};
use super::{Arguments, Errno, Outcome, System};
use crate::fs::open::Object;
use crate::time::SECOND;

const AT_EMPTY_PATH: u64 = 0x1000;
const REGULAR: u32 = 0o100000;
const DIRECTORY: u32 = 0o040000;
const CHARACTER: u32 = 0o020000;
const PIPE: u32 = 0o010000;
const BLOCK_SIZE: u64 = 4096;
/// The device number of everything.
const DEVICE: u64 = 1;

/// What is told of a file.
struct Status {
    inode: u64,
    links: u32,
    mode: u32,
    size: u64,
    mtime_ns: u64,
    device: u64,
}

fn status(system: &System, object: &Object) -> Status {
    /// makedev(3) for small numbers.
    const fn device(major: u64, minor: u64) -> u64 {
        major << 8 | minor
    }
    let mtime_ns = system.machine.clock.boot_unix();
    let plain = |mode, device| Status { inode: object.inode(), links: 1, mode, size: 0, mtime_ns, device };
    let stream = |number: u32| {
        if system.machine.consoles.terminals >> number & 1 != 0 {
            plain(CHARACTER | 0o620, device(136, 0))
        } else {
            plain(PIPE | 0o600, 0)
        }
    };
    match object {
        Object::Input => stream(0),
        Object::Output(error) => stream(1 + u32::from(*error)),
        Object::Null => plain(CHARACTER | 0o666, device(1, 3)),
        Object::Zero => plain(CHARACTER | 0o666, device(1, 5)),
        Object::Random => plain(CHARACTER | 0o666, device(1, 9)),
        Object::Pipe(_) | Object::Counter(_) | Object::Epoll(_) => plain(PIPE | 0o600, 0),
        Object::Proc(_) => plain(REGULAR | 0o444, 0),
        Object::Directory(path) => {
            let public = [&b"/tmp"[..], b"/var/tmp", b"/dev/shm"].contains(&path.as_slice());
            plain(DIRECTORY | if public { 0o1777 } else { 0o755 }, 0)
        }
        Object::File(id) => {
            let attributes = system.memory.attributes(*id);
            Status {
                links: system.memory.memory_files.get(*id).map_or(1, |file| file.links),
                size: system.memory.file_len(*id),
                mtime_ns: attributes.mtime_ns,
                ..plain(REGULAR | attributes.mode, 0)
            }
        }
    }
}

/// Writes struct stat.
fn put_stat(system: &mut System, object: &Object, to: u64) -> Outcome {
    let status = status(system, object);
    let (seconds, nanoseconds) = (status.mtime_ns / SECOND, status.mtime_ns % SECOND);
    let mut words = [0u64; 18];
    words[0] = DEVICE;
    words[1] = status.inode;
    words[2] = status.links.into();
    words[3] = u64::from(status.mode);
    words[5] = status.device;
    words[6] = status.size;
    words[7] = BLOCK_SIZE;
    words[8] = status.size.div_ceil(512);
    for time in [9, 11, 13] {
        (words[time], words[time + 1]) = (seconds, nanoseconds);
    }
    system.put(to, &words)?;
    Ok(0)
}

/// stat, and lstat: there are no symbolic links to tell apart.
pub fn stat(system: &mut System, [name, to, ..]: Arguments) -> Outcome {
    let path = user_path(system, AT_FDCWD, name)?;
    let object = lookup(system, &path)?;
    put_stat(system, &object, to)
}

pub fn fstat(system: &mut System, [number, to, ..]: Arguments) -> Outcome {
    let file = system.tasks.process.descriptors.get(number)?;
    put_stat(system, &file.object, to)
}

/// What a directory descriptor with a path, or with AT_EMPTY_PATH the descriptor itself, names.
fn object_at(system: &mut System, directory: u64, name: u64, flags: u64) -> Result<Object, super::Stop> {
    if flags & AT_EMPTY_PATH != 0 && (name == 0 || system.get::<u8>(name)? == 0) {
        if directory as i32 == AT_FDCWD {
            return Ok(Object::Directory(system.tasks.process.directory.clone()));
        }
        return Ok(system.tasks.process.descriptors.get(directory)?.object.clone());
    }
    let path = user_path(system, directory as i32, name)?;
    Ok(lookup(system, &path)?)
}

pub fn newfstatat(system: &mut System, [directory, name, to, flags, ..]: Arguments) -> Outcome {
    let object = object_at(system, directory, name, flags)?;
    put_stat(system, &object, to)
}

/// Writes struct statx.
pub fn statx(system: &mut System, [directory, name, flags, _, to, _]: Arguments) -> Outcome {
    /// STATX_BASIC_STATS: everything but the birth time.
    const BASIC: u64 = 0x7ff;
    let object = object_at(system, directory, name, flags)?;
    let status = status(system, &object);
    let mut words = [0u64; 32];
    words[0] = BASIC | BLOCK_SIZE << 32;
    words[2] = status.links.into();
    words[3] = u64::from(status.mode) << 32;
    words[4] = status.inode;
    words[5] = status.size;
    words[6] = status.size.div_ceil(512);
    for time in [8, 12, 14] {
        (words[time], words[time + 1]) = (status.mtime_ns / SECOND, status.mtime_ns % SECOND);
    }
    words[16] = (status.device >> 8) | (status.device & 0xff) << 32;
    words[17] = DEVICE << 32;
    system.put(to, &words)?;
    Ok(0)
}

fn check(system: &System, object: &Object, mode: u64) -> Outcome {
    const WRITE: u64 = 2;
    const EXECUTE: u64 = 1;
    let status = status(system, object);
    let read_only = matches!(object, Object::File(file) if system.memory.attributes(*file).read_only);
    // The program is root: it may read and write all, and execute what anybody may.
    if mode & WRITE != 0 && read_only || mode & EXECUTE != 0 && status.mode & 0o111 == 0 {
        return Err(Errno::ACCES.into());
    }
    Ok(0)
}

pub fn access(system: &mut System, [name, mode, ..]: Arguments) -> Outcome {
    faccessat(system, [AT_FDCWD as u64, name, mode, 0, 0, 0])
}

/// faccessat, and faccessat2, which has flags.
pub fn faccessat(system: &mut System, [directory, name, mode, ..]: Arguments) -> Outcome {
    if mode & !7 != 0 {
        return Err(Errno::INVAL.into());
    }
    let object = object_at(system, directory, name, 0)?;
    check(system, &object, mode)
}

/// Sets a file's permission bits; of everything else they stay what they are.
fn set_mode(system: &mut System, object: &Object, mode: u64) -> Outcome {
    if let Object::File(file) = object {
        system.memory.attributes_mut(*file).mode = mode as u32 & 0o7777;
    }
    Ok(0)
}

pub fn chmod(system: &mut System, [name, mode, ..]: Arguments) -> Outcome {
    fchmodat(system, [AT_FDCWD as u64, name, mode, 0, 0, 0])
}

pub fn fchmod(system: &mut System, [number, mode, ..]: Arguments) -> Outcome {
    let open = system.tasks.process.descriptors.get(number)?;
    set_mode(system, &open.object, mode)
}

pub fn fchmodat(system: &mut System, [directory, name, mode, ..]: Arguments) -> Outcome {
    let object = object_at(system, directory, name, 0)?;
    set_mode(system, &object, mode)
}

/// Everything is root's, and stays so.
pub fn chown(_: &mut System, _: Arguments) -> Outcome {
    Ok(0)
}

pub fn utimensat(system: &mut System, [directory, name, times, flags, ..]: Arguments) -> Outcome {
    const NOW: u64 = 0x3fff_ffff;
    const OMIT: u64 = 0x3fff_fffe;
    let flags = if name == 0 { flags | AT_EMPTY_PATH } else { flags };
    let object = object_at(system, directory, name, flags)?;
    let now = system.machine.clock.unix();
    let modified = match times {
        0 => now,
        times => match system.get::<[u64; 4]>(times)? {
            [_, _, _, NOW] => now,
            [_, _, _, OMIT] => return Ok(0),
            [_, _, seconds, nanoseconds] if nanoseconds < SECOND => {
                seconds.wrapping_mul(SECOND).wrapping_add(nanoseconds)
            }
            _ => return Err(Errno::INVAL.into()),
        },
    };
    if let Object::File(file) = object {
        system.memory.attributes_mut(file).mtime_ns = modified;
    }
    Ok(0)
}

/// Writes struct statfs: RAM is where new files are.
fn put_statfs(system: &mut System, to: u64) -> Outcome {
    const TMPFS: u64 = 0x0102_1994;
    const LONGEST_NAME: u64 = 255;
    let swap = &system.memory.swap.slots;
    let all = u64::from(system.memory.frames.len()) + swap.count();
    let free = all.saturating_sub(system.memory.stats.resident + u64::from(swap.used()));
    system.put(
        to,
        &[TMPFS, BLOCK_SIZE, all, free, free, 1 << 16, 1 << 15, 0, LONGEST_NAME, BLOCK_SIZE, 0, 0, 0, 0, 0],
    )?;
    Ok(0)
}

pub fn statfs(system: &mut System, [name, to, ..]: Arguments) -> Outcome {
    let path = user_path(system, AT_FDCWD, name)?;
    lookup(system, &path)?;
    put_statfs(system, to)
}

pub fn fstatfs(system: &mut System, [number, to, ..]: Arguments) -> Outcome {
    system.tasks.process.descriptors.get(number)?;
    put_statfs(system, to)
}

/// Files have no extended attributes.
pub fn no_attributes(_: &mut System, _: Arguments) -> Outcome {
    Err(Errno::OPNOTSUPP.into())
}
