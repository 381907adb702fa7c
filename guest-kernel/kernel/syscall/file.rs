//! Files: read, write, seek, lengths.

use alloc::rc::Rc;

use abi::addr::{Gva, PAGE_SIZE};

use super::name::{AT_FDCWD, lookup, user_path};
use super::{Arguments, Errno, Outcome, Stop, System, epoll, pipe};
use crate::drivers::block::MAX_SEGMENTS;
use crate::drivers::console::Ready;
use crate::fs::FileId;
use crate::fs::open::{CLOEXEC, NONBLOCK, Object, OpenFile, READ_WRITE};
use crate::process::Event;
use crate::vm::page::Rights;
use crate::vm::table::USER_END;

/// Most bytes that one call reads or writes (read(2)).
const MOST: u64 = 0x7fff_f000;
/// The bits of the open flags that say what is to be done: 0 read, 1 write, 2 both.
pub const O_ACCESS: u64 = 3;
const O_APPEND: u32 = 0o2000;
/// Most parts of readv and writev.
const MAX_PARTS: u64 = 1024;

/// Checks that a file was opened for reading, or (true) for writing, and that the range is one of a program. Returns the
/// length to be done.
fn check(file: &OpenFile, write: bool, start: u64, len: u64) -> Result<usize, Errno> {
    let access = u64::from(file.flags.get()) & O_ACCESS;
    if access != 2 && access != u64::from(write) {
        return Err(Errno::BADF);
    }
    match start.checked_add(len) {
        Some(end) if end <= USER_END.0 => Ok(len.min(MOST) as usize),
        _ => Err(Errno::FAULT),
    }
}

fn read_at(system: &mut System, file: &OpenFile, offset: u64, to: u64, len: u64) -> Outcome {
    let len = check(file, false, to, len)?;
    let space = &mut *system.tasks.space;
    match &file.object {
        Object::File(file) => Ok(system.memory.read_file_to(space, *file, offset, Gva(to), len)? as u64),
        Object::Null => Ok(0),
        Object::Zero => {
            system.memory.zero_user(space, Gva(to), len)?;
            Ok(len as u64)
        }
        Object::Random => {
            super::identity::fill_random(system, to, len as u64)?;
            Ok(len as u64)
        }
        Object::Proc(entry) => {
            let bytes = crate::proc::read(system, *entry, offset, len).ok_or(Errno::SRCH)?;
            system.write(to, &bytes)?;
            Ok(bytes.len() as u64)
        }
        Object::Input => read_input(system, file.flags.get(), to, len),
        Object::Pipe(end) => pipe::read(system, end, file.flags.get(), to, len),
        Object::Counter(counter) => epoll::take(system, counter, file.flags.get(), to, len),
        Object::Epoll(_) => Err(Errno::INVAL.into()),
        Object::Output(_) => Err(Errno::BADF.into()),
        Object::Directory(_) => Err(Errno::ISDIR.into()),
    }
}

fn read_input(system: &mut System, flags: u32, to: u64, len: usize) -> Outcome {
    if len == 0 {
        return Ok(0);
    }
    let Some(input) = &mut system.machine.consoles.input else { return Ok(0) };
    match input.poll() {
        Ready::End => Ok(0),
        Ready::NotYet if flags & NONBLOCK != 0 => Err(Errno::AGAIN.into()),
        Ready::NotYet => Err(Stop::Wait(Event::Input, None)),
        Ready::Bytes(bytes) => {
            let part = len.min(bytes.len());
            system.memory.write_user(&mut system.tasks.space, Gva(to), &bytes[..part])?;
            input.consume(part);
            Ok(part as u64)
        }
    }
}

fn write_at(system: &mut System, file: &OpenFile, offset: u64, from: u64, len: u64) -> Outcome {
    let len = check(file, true, from, len)?;
    let space = &mut *system.tasks.space;
    match &file.object {
        Object::File(file) => {
            let (file, end) = (*file, offset.saturating_add(len as u64));
            if len > 0 && offset >= system.memory.longest(file) {
                // There is no room for any of it; this says which error that is.
                system.memory.set_file_len(file, end)?;
            }
            system.memory.attributes_mut(file).mtime_ns = system.machine.clock.unix();
            Ok(system.memory.write_file_from(space, file, offset, Gva(from), len)? as u64)
        }
        Object::Null | Object::Zero | Object::Random => Ok(len as u64),
        Object::Output(error) => write_output(system, *error, from, len),
        Object::Pipe(end) => pipe::write(system, end, file.flags.get(), from, len),
        Object::Counter(counter) => epoll::give(system, counter, file.flags.get(), from, len),
        Object::Epoll(_) => Err(Errno::INVAL.into()),
        Object::Input | Object::Proc(_) | Object::Directory(_) => Err(Errno::BADF.into()),
    }
}

/// Sends a program's bytes straight from its frames, as many pages at once as a request takes.
fn write_output(system: &mut System, error: bool, from: u64, len: usize) -> Outcome {
    let consoles = &mut system.machine.consoles;
    let mut done = 0;
    while done < len {
        let part = (len - done).min(MAX_SEGMENTS * PAGE_SIZE);
        let range = (Gva(from.wrapping_add(done as u64)), part);
        let sent =
            system.memory.with_pinned(&mut system.tasks.space, range, Rights::READ, |_, parts, bytes| {
                consoles.send(error, parts);
                bytes
            });
        match sent {
            Ok(bytes) => done += bytes,
            Err(invalid) if done == 0 => return Err(invalid.into()),
            Err(_) => break,
        }
    }
    Ok(done as u64)
}

/// Whether reads and writes have a position.
fn seekable(object: &Object) -> bool {
    !matches!(
        object,
        Object::Input | Object::Output(_) | Object::Pipe(_) | Object::Counter(_) | Object::Epoll(_)
    )
}

pub fn read(system: &mut System, [number, to, len, ..]: Arguments) -> Outcome {
    let file = system.tasks.process.descriptors.get(number)?;
    let read = read_at(system, &file, file.offset.get(), to, len)?;
    file.offset.set(file.offset.get() + read);
    Ok(read)
}

pub fn write(system: &mut System, [number, from, len, ..]: Arguments) -> Outcome {
    let file = system.tasks.process.descriptors.get(number)?;
    if let (Object::File(id), true) = (&file.object, file.flags.get() & O_APPEND != 0) {
        file.offset.set(system.memory.file_len(*id));
    }
    let written = write_at(system, &file, file.offset.get(), from, len)?;
    file.offset.set(file.offset.get() + written);
    Ok(written)
}

fn positioned(system: &System, number: u64, offset: u64) -> Result<Rc<OpenFile>, Stop> {
    let file = system.tasks.process.descriptors.get(number)?;
    if !seekable(&file.object) {
        return Err(Errno::SPIPE.into());
    }
    if offset > i64::MAX as u64 { Err(Errno::INVAL.into()) } else { Ok(file) }
}

pub fn pread64(system: &mut System, [number, to, len, offset, ..]: Arguments) -> Outcome {
    let file = positioned(system, number, offset)?;
    read_at(system, &file, offset, to, len)
}

pub fn pwrite64(system: &mut System, [number, from, len, offset, ..]: Arguments) -> Outcome {
    let file = positioned(system, number, offset)?;
    write_at(system, &file, offset, from, len)
}

/// Calls `each` with the parts of readv and writev, until one is not done whole.
fn parts(
    system: &mut System,
    [number, vector, count, ..]: Arguments,
    each: fn(&mut System, Arguments) -> Outcome,
) -> Outcome {
    system.tasks.process.descriptors.get(number)?;
    if count > MAX_PARTS {
        return Err(Errno::INVAL.into());
    }
    let mut total = 0;
    for n in 0..count {
        let [start, len]: [u64; 2] = system.get(vector.wrapping_add(16 * n))?;
        match each(system, [number, start, len, 0, 0, 0]) {
            Ok(done) => {
                total += done;
                if done < len {
                    break;
                }
            }
            Err(_) if total > 0 => break,
            Err(stop) => return Err(stop),
        }
    }
    Ok(total)
}

pub fn readv(system: &mut System, arguments: Arguments) -> Outcome {
    parts(system, arguments, read)
}

pub fn writev(system: &mut System, arguments: Arguments) -> Outcome {
    parts(system, arguments, write)
}

/// The 128-bit offset of these two is in two arguments, of which the first has all that fits.
pub fn preadv(system: &mut System, [number, vector, count, offset, ..]: Arguments) -> Outcome {
    at_offset(system, [number, vector, count, offset, 0, 0], readv)
}

pub fn pwritev(system: &mut System, [number, vector, count, offset, ..]: Arguments) -> Outcome {
    at_offset(system, [number, vector, count, offset, 0, 0], writev)
}

fn at_offset(
    system: &mut System,
    arguments: Arguments,
    call: fn(&mut System, Arguments) -> Outcome,
) -> Outcome {
    let [number, _, _, offset, ..] = arguments;
    let file = positioned(system, number, offset)?;
    let before = file.offset.replace(offset);
    let outcome = call(system, arguments);
    file.offset.set(before);
    outcome
}

pub fn lseek(system: &mut System, [number, offset, whence, ..]: Arguments) -> Outcome {
    let file = positioned(system, number, 0)?;
    let size = match &file.object {
        Object::File(file) => system.memory.file_len(*file),
        _ => 0,
    };
    let base = match whence {
        0 => 0,
        1 => file.offset.get(),
        2 => size,
        _ => return Err(Errno::INVAL.into()),
    };
    let target = base.checked_add_signed(offset as i64).filter(|&target| target <= i64::MAX as u64);
    let target = target.ok_or(Errno::INVAL)?;
    file.offset.set(target);
    Ok(target)
}

pub fn fsync(system: &mut System, [number, ..]: Arguments) -> Outcome {
    match system.tasks.process.descriptors.get(number)?.object {
        Object::File(file) => system.memory.write_back_file(file)?,
        Object::Directory(_) => {}
        _ => return Err(Errno::INVAL.into()),
    }
    system.memory.files.flush().map_err(|_| Errno::IO)?;
    Ok(0)
}

pub fn msync(system: &mut System, [start, bytes, flags, ..]: Arguments) -> Outcome {
    const ASYNC: u64 = 1;
    const INVALIDATE: u64 = 2;
    const SYNC: u64 = 4;
    if flags & !(ASYNC | INVALIDATE | SYNC) != 0 || flags & (ASYNC | SYNC) == ASYNC | SYNC {
        return Err(Errno::INVAL.into());
    }
    let range = super::memory::range(start, bytes)?;
    if !system.tasks.space.areas.covers(&range) {
        return Err(Errno::NOMEM.into());
    }
    if flags & SYNC != 0 {
        system.memory.write_back_range(&system.tasks.space, &range)?;
        system.memory.files.flush().map_err(|_| Errno::IO)?;
    }
    Ok(0)
}

pub fn ftruncate(system: &mut System, [number, len, ..]: Arguments) -> Outcome {
    let file = writable(system, number)?;
    set_len(system, file, len)
}

pub fn truncate(system: &mut System, [name, len, ..]: Arguments) -> Outcome {
    let path = user_path(system, AT_FDCWD, name)?;
    match lookup(system, &path)? {
        Object::File(file) if system.memory.attributes(file).read_only => Err(Errno::ACCES.into()),
        Object::File(file) => set_len(system, file, len),
        Object::Directory(_) => Err(Errno::ISDIR.into()),
        _ => Err(Errno::INVAL.into()),
    }
}

/// The file of a descriptor that was opened for writing.
fn writable(system: &System, number: u64) -> Result<FileId, Stop> {
    let open = system.tasks.process.descriptors.get(number)?;
    match open.object {
        Object::File(file) if u64::from(open.flags.get()) & O_ACCESS != 0 => Ok(file),
        _ => Err(Errno::INVAL.into()),
    }
}

fn set_len(system: &mut System, file: FileId, len: u64) -> Outcome {
    if len > i64::MAX as u64 {
        return Err(Errno::INVAL.into());
    }
    system.set_file_len(file, len)?;
    system.memory.attributes_mut(file).mtime_ns = system.machine.clock.unix();
    Ok(0)
}

/// Makes a file long enough; there is nothing else to be allocated before it is written.
pub fn fallocate(system: &mut System, [number, mode, offset, len, ..]: Arguments) -> Outcome {
    const KEEP_SIZE: u64 = 1;
    let file = writable(system, number)?;
    let end = offset.checked_add(len).filter(|&end| end <= i64::MAX as u64 && len > 0).ok_or(Errno::INVAL)?;
    match mode {
        KEEP_SIZE => Ok(0),
        0 if end > system.memory.file_len(file) => set_len(system, file, end),
        0 => Ok(0),
        _ => Err(Errno::OPNOTSUPP.into()),
    }
}

/// Advice about how a file will be read, which changes nothing here.
pub fn fadvise64(system: &mut System, [number, ..]: Arguments) -> Outcome {
    positioned(system, number, 0)?;
    Ok(0)
}

pub fn sync(system: &mut System, _: Arguments) -> Outcome {
    system.memory.write_back_all();
    system.memory.files.flush().map_err(|_| Errno::IO)?;
    Ok(0)
}

/// sendfile, splice and copy_file_range: for no two files; the caller reads and writes then.
pub fn no_shortcut(_: &mut System, _: Arguments) -> Outcome {
    Err(Errno::INVAL.into())
}

/// A file without a name or a disk.
pub fn memfd_create(system: &mut System, [_, flags, ..]: Arguments) -> Outcome {
    const MFD_CLOEXEC: u64 = 1;
    const ALLOW_SEALING: u64 = 2;
    if flags & !(MFD_CLOEXEC | ALLOW_SEALING) != 0 {
        return Err(Errno::INVAL.into());
    }
    system.make_room()?;
    let file = system.memory.new_memory_file(0).map_err(|_| Errno::NOMEM)?;
    let close = if flags & MFD_CLOEXEC != 0 { CLOEXEC } else { 0 };
    let opened = system.open(Object::File(file), u64::from(READ_WRITE) | close);
    opened.inspect_err(|_| system.memory.free_memory_file(file))
}
