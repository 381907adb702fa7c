//! Files: open, read, write, seek, names.

use alloc::rc::Rc;
use alloc::vec::Vec;

use abi::addr::{Gva, PAGE_SIZE};
use abi::files::MAX_PATH;

use super::{Arguments, Errno, Outcome, Stop, System, pipe};
use crate::drivers::block::MAX_SEGMENTS;
use crate::drivers::console::Ready;
use crate::fs::open::{Object, OpenFile};
use crate::fs::path;
use crate::process::Event;
use crate::vm::memory_file::LONGEST;
use crate::vm::page::Rights;
use crate::vm::table::USER_END;

/// openat's directory that stands for the working directory.
pub const AT_FDCWD: i32 = -100;
/// Most bytes that one call reads or writes (read(2)).
const MOST: u64 = 0x7fff_f000;
const O_ACCESS: u64 = 3;
const O_CREAT: u64 = 0o100;
const O_EXCL: u64 = 0o200;
const O_DIRECTORY: u64 = 0o200000;
const O_CLOEXEC: u64 = 0o2000000;
const O_NONBLOCK: u32 = 0o4000;
/// Most parts of readv and writev.
const MAX_PARTS: u64 = 1024;

/// The absolute path that a pointer names.
pub fn user_path(system: &mut System, directory: i32, pointer: u64) -> Result<Vec<u8>, Stop> {
    let string = system.memory.user_string(&mut system.tasks.space, Gva(pointer), 4095)?;
    let string = string.ok_or(Errno::NAMETOOLONG)?;
    if string.is_empty() {
        return Err(Errno::NOENT.into());
    }
    let absolute = string.starts_with(b"/");
    let base = if absolute || directory == AT_FDCWD {
        system.tasks.process.directory.clone()
    } else {
        match &system.tasks.process.descriptors.get(directory as u64)?.object {
            Object::Directory(path) => path.clone(),
            _ => return Err(Errno::NOTDIR.into()),
        }
    };
    let path = path::resolve(&base, &string);
    if path.len() > MAX_PATH { Err(Errno::NAMETOOLONG.into()) } else { Ok(path) }
}

/// What a path names.
pub fn lookup(system: &mut System, path: &[u8]) -> Result<Object, Errno> {
    match path {
        b"/dev/null" => return Ok(Object::Null),
        b"/dev/zero" => return Ok(Object::Zero),
        b"/dev/urandom" | b"/dev/random" => return Ok(Object::Random),
        b"/dev/stdin" | b"/proc/self/fd/0" => return Ok(Object::Input),
        b"/dev/stdout" | b"/proc/self/fd/1" => return Ok(Object::Output(false)),
        b"/dev/stderr" | b"/proc/self/fd/2" => return Ok(Object::Output(true)),
        b"/proc/self/exe" => return Ok(Object::File(system.tasks.process.program)),
        b"/proc/self/maps" => return Ok(Object::Maps),
        _ => {}
    }
    match system.memory.files.find(path) {
        Some(file) => Ok(Object::File(file)),
        None if system.memory.files.is_directory(path) || path == b"/dev" => {
            Ok(Object::Directory(path.to_vec()))
        }
        None => Err(Errno::NOENT),
    }
}

fn open_path(system: &mut System, path: &[u8], flags: u64) -> Outcome {
    let object = match lookup(system, path) {
        Ok(_) if flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL => return Err(Errno::EXIST.into()),
        Ok(object) => object,
        // There is no place for new files.
        Err(Errno::NOENT) if flags & O_CREAT != 0 => return Err(Errno::ROFS.into()),
        Err(error) => return Err(error.into()),
    };
    let writes = flags & O_ACCESS != 0;
    match &object {
        Object::Directory(_) if writes => return Err(Errno::ISDIR.into()),
        Object::Directory(_) => {}
        _ if flags & O_DIRECTORY != 0 => return Err(Errno::NOTDIR.into()),
        Object::File(file) if writes && system.memory.files.file(*file).read_only => {
            return Err(Errno::ACCES.into());
        }
        Object::Maps if writes => return Err(Errno::ACCES.into()),
        _ => {}
    }
    let file = OpenFile::new(object, (flags & !O_CLOEXEC) as u32);
    system.tasks.process.descriptors.add(file, 0, flags & O_CLOEXEC != 0).map_err(|_| Errno::MFILE.into())
}

pub fn open(system: &mut System, [name, flags, ..]: Arguments) -> Outcome {
    let path = user_path(system, AT_FDCWD, name)?;
    open_path(system, &path, flags)
}

pub fn openat(system: &mut System, [directory, name, flags, ..]: Arguments) -> Outcome {
    let path = user_path(system, directory as i32, name)?;
    open_path(system, &path, flags)
}

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
        Object::Maps => {
            let text = crate::proc::maps(&system.memory, &system.tasks.space);
            let rest = text.get(offset as usize..).unwrap_or_default();
            let part = &rest[..len.min(rest.len())];
            system.write(to, part)?;
            Ok(part.len() as u64)
        }
        Object::Input => read_input(system, file.flags.get(), to, len),
        Object::Pipe(end) => pipe::read(system, end, file.flags.get(), to, len),
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
        Ready::NotYet if flags & O_NONBLOCK != 0 => Err(Errno::AGAIN.into()),
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
            let end = offset.saturating_add(len as u64);
            if file.memory_number().is_some() && end > system.memory.file_len(*file) && len > 0 {
                if end > LONGEST {
                    return Err(Errno::FBIG.into());
                }
                system.memory.set_file_len(*file, end);
            }
            let done = system.memory.write_file_from(space, *file, offset, Gva(from), len)?;
            // A file of the disk does not grow.
            if done == 0 && len > 0 { Err(Errno::NOSPC.into()) } else { Ok(done as u64) }
        }
        Object::Null | Object::Zero | Object::Random => Ok(len as u64),
        Object::Output(error) => write_output(system, *error, from, len),
        Object::Pipe(end) => pipe::write(system, end, file.flags.get(), from, len),
        Object::Input | Object::Maps | Object::Directory(_) => Err(Errno::BADF.into()),
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
    !matches!(object, Object::Input | Object::Output(_) | Object::Pipe(_))
}

pub fn read(system: &mut System, [number, to, len, ..]: Arguments) -> Outcome {
    let file = system.tasks.process.descriptors.get(number)?;
    let read = read_at(system, &file, file.offset.get(), to, len)?;
    file.offset.set(file.offset.get() + read);
    Ok(read)
}

pub fn write(system: &mut System, [number, from, len, ..]: Arguments) -> Outcome {
    let file = system.tasks.process.descriptors.get(number)?;
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

/// A file of the disk does not change its length.
pub fn ftruncate(system: &mut System, [number, len, ..]: Arguments) -> Outcome {
    let file = system.tasks.process.descriptors.get(number)?;
    match file.object {
        Object::File(_) if u64::from(file.flags.get()) & O_ACCESS == 0 => Err(Errno::INVAL.into()),
        Object::File(id) if len == system.memory.file_len(id) => Ok(0),
        Object::File(id) if id.memory_number().is_some() => {
            if len > LONGEST {
                return Err(Errno::FBIG.into());
            }
            system.memory.set_file_len(id, len);
            Ok(0)
        }
        Object::File(_) => Err(Errno::PERM.into()),
        _ => Err(Errno::INVAL.into()),
    }
}

/// A file without a name or a disk.
pub fn memfd_create(system: &mut System, [_, flags, ..]: Arguments) -> Outcome {
    const CLOEXEC: u64 = 1;
    const ALLOW_SEALING: u64 = 2;
    const READ_WRITE: u32 = 2;
    if flags & !(CLOEXEC | ALLOW_SEALING) != 0 {
        return Err(Errno::INVAL.into());
    }
    system.make_room()?;
    let file = system.memory.new_memory_file(0).map_err(|_| Errno::NOMEM)?;
    let open = OpenFile::new(Object::File(file), READ_WRITE);
    system.tasks.process.descriptors.add(open, 0, flags & CLOEXEC != 0).map_err(|_| {
        system.memory.free_memory_file(file);
        Errno::MFILE.into()
    })
}

pub fn getcwd(system: &mut System, [to, size, ..]: Arguments) -> Outcome {
    let mut path = system.tasks.process.directory.clone();
    path.push(0);
    if (path.len() as u64) > size {
        return Err(Errno::RANGE.into());
    }
    system.write(to, &path)?;
    Ok(path.len() as u64)
}

pub fn chdir(system: &mut System, [name, ..]: Arguments) -> Outcome {
    let path = user_path(system, AT_FDCWD, name)?;
    match lookup(system, &path)? {
        Object::Directory(path) => system.tasks.process.directory = path,
        _ => return Err(Errno::NOTDIR.into()),
    }
    Ok(0)
}

pub fn readlink(system: &mut System, [name, to, size, ..]: Arguments) -> Outcome {
    readlinkat(system, [AT_FDCWD as u64, name, to, size, 0, 0])
}

/// The only symbolic link is the one to the program.
pub fn readlinkat(system: &mut System, [directory, name, to, size, ..]: Arguments) -> Outcome {
    let path = user_path(system, directory as i32, name)?;
    if path != b"/proc/self/exe" {
        lookup(system, &path)?;
        return Err(Errno::INVAL.into());
    }
    let target = system.memory.files.file(system.tasks.process.program).path.clone();
    let part = &target[..target.len().min(size as usize)];
    system.write(to, part)?;
    Ok(part.len() as u64)
}
