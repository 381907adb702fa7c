//! Names of files: paths, open, directories, links.

use alloc::vec::Vec;

use abi::addr::{Gva, PAGE_SIZE};
use abi::files::MAX_PATH;

use super::file::O_ACCESS;
use super::{Arguments, Errno, Outcome, Stop, System};
use crate::fs::FileId;
use crate::fs::open::Object;
use crate::fs::path::{self, leads_to, parent};

/// openat's directory that stands for the working directory.
pub const AT_FDCWD: i32 = -100;
const HERE: u64 = AT_FDCWD as u64;
const O_CREAT: u64 = 0o100;
const O_EXCL: u64 = 0o200;
const O_TRUNC: u64 = 0o1000;
const O_DIRECTORY: u64 = 0o20_0000;
/// With O_DIRECTORY: a file without a name.
const O_TMPFILE: u64 = 0o2000_0000 | O_DIRECTORY;

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
    let directory_wanted = string.ends_with(b"/");
    if path.len() > MAX_PATH {
        Err(Errno::NAMETOOLONG.into())
    } else if directory_wanted && matches!(lookup(system, &path), Ok(object) if !is_directory(&object)) {
        Err(Errno::NOTDIR.into())
    } else {
        Ok(path)
    }
}

fn is_directory(object: &Object) -> bool {
    matches!(object, Object::Directory(_))
}

/// What a path leads to.
pub fn lookup(system: &mut System, path: &[u8]) -> Result<Object, Errno> {
    if leads_to(b"/proc", path) {
        return crate::proc::find(&mut system.tasks, path).ok_or(Errno::NOENT);
    }
    if let Some(object) = system.tree.get(path) {
        return Ok(object.clone());
    }
    // Something on the way that is no directory is another error.
    let mut on_the_way = parent(path);
    loop {
        match system.tree.get(on_the_way) {
            Some(Object::Directory(_)) => return Err(Errno::NOENT),
            Some(_) => return Err(Errno::NOTDIR),
            None => on_the_way = parent(on_the_way),
        }
    }
}

/// Checks that a new name can be given in the directory of a path: new files are files without a disk, so not where the
/// kernel's own are.
fn can_add(system: &mut System, path: &[u8]) -> Result<(), Stop> {
    let directory = parent(path);
    if !is_directory(&lookup(system, directory)?) {
        return Err(Errno::NOTDIR.into());
    }
    if directory == b"/dev" || directory == b"/proc" || leads_to(b"/proc", directory) {
        return Err(Errno::ACCES.into());
    }
    system.make_room()?;
    Ok(())
}

fn new_file(system: &mut System, mode: u64, links: u32) -> Result<FileId, Stop> {
    let file = system.memory.new_memory_file(0).map_err(|_| Errno::NOSPC)?;
    let now = system.machine.clock.unix();
    if let Some(memory) = system.memory.memory_files.get_mut(file) {
        memory.links = links;
        memory.attributes.mode = (mode & 0o7777) as u32 & !system.tasks.process.umask;
        memory.attributes.mtime_ns = now;
    }
    Ok(file)
}

/// What a path leads to, or a new file.
fn object_to_open(system: &mut System, path: &[u8], flags: u64, mode: u64) -> Result<Object, Stop> {
    match lookup(system, path) {
        Ok(Object::Directory(_)) if flags & O_TMPFILE == O_TMPFILE => {
            Ok(Object::File(new_file(system, mode, 0)?))
        }
        Ok(_) if flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL => Err(Errno::EXIST.into()),
        Ok(object) => Ok(object),
        Err(Errno::NOENT) if flags & O_CREAT != 0 => {
            can_add(system, path)?;
            let object = Object::File(new_file(system, mode, 1)?);
            system.tree.add(path.to_vec(), object.clone());
            Ok(object)
        }
        Err(error) => Err(error.into()),
    }
}

pub fn open(system: &mut System, [name, flags, mode, ..]: Arguments) -> Outcome {
    openat(system, [HERE, name, flags, mode, 0, 0])
}

pub fn creat(system: &mut System, [name, mode, ..]: Arguments) -> Outcome {
    const WRITE: u64 = 1;
    openat(system, [HERE, name, O_CREAT | O_TRUNC | WRITE, mode, 0, 0])
}

pub fn openat(system: &mut System, [directory, name, flags, mode, ..]: Arguments) -> Outcome {
    let path = user_path(system, directory as i32, name)?;
    let object = object_to_open(system, &path, flags, mode)?;
    let writes = flags & O_ACCESS != 0;
    match &object {
        Object::Directory(_) if writes => return Err(Errno::ISDIR.into()),
        Object::Directory(_) => {}
        _ if flags & O_TMPFILE == O_DIRECTORY => return Err(Errno::NOTDIR.into()),
        Object::File(file) if writes && system.memory.attributes(*file).read_only => {
            return Err(Errno::ACCES.into());
        }
        Object::File(file) if writes && flags & O_TRUNC != 0 => system.set_file_len(*file, 0)?,
        Object::Proc(_) if writes => return Err(Errno::ACCES.into()),
        _ => {}
    }
    system.open(object, flags)
}

pub fn mkdir(system: &mut System, [name, mode, ..]: Arguments) -> Outcome {
    mkdirat(system, [HERE, name, mode, 0, 0, 0])
}

pub fn mkdirat(system: &mut System, [directory, name, ..]: Arguments) -> Outcome {
    let path = user_path(system, directory as i32, name)?;
    match lookup(system, &path) {
        Ok(_) => Err(Errno::EXIST.into()),
        Err(Errno::NOENT) => {
            can_add(system, &path)?;
            system.tree.add_directory(&path);
            Ok(0)
        }
        Err(error) => Err(error.into()),
    }
}

pub fn rmdir(system: &mut System, [name, ..]: Arguments) -> Outcome {
    let path = user_path(system, AT_FDCWD, name)?;
    remove_directory(system, &path)
}

fn remove_directory(system: &mut System, path: &[u8]) -> Outcome {
    match lookup(system, path)? {
        Object::Directory(_) if path == b"/" || leads_to(b"/proc", path) => Err(Errno::BUSY.into()),
        Object::Directory(_) if !system.tree.is_empty(path) => Err(Errno::NOTEMPTY.into()),
        Object::Directory(_) => {
            system.tree.remove(path);
            Ok(0)
        }
        _ => Err(Errno::NOTDIR.into()),
    }
}

pub fn unlink(system: &mut System, [name, ..]: Arguments) -> Outcome {
    unlinkat(system, [HERE, name, 0, 0, 0, 0])
}

pub fn unlinkat(system: &mut System, [directory, name, flags, ..]: Arguments) -> Outcome {
    const AT_REMOVEDIR: u64 = 0x200;
    let path = user_path(system, directory as i32, name)?;
    if flags & AT_REMOVEDIR != 0 {
        return remove_directory(system, &path);
    }
    let file = removable(system, &path)?;
    system.tree.remove(&path);
    lose_name(system, file);
    Ok(0)
}

/// The file of a name that may go. A host file keeps its name as a mounted file does on Linux: it is the user who offers it.
fn removable(system: &mut System, path: &[u8]) -> Result<FileId, Errno> {
    match lookup(system, path)? {
        Object::File(file) if leads_to(b"/proc", path) || file.memory_number().is_none() => Err(Errno::BUSY),
        Object::File(file) => Ok(file),
        Object::Directory(_) => Err(Errno::ISDIR),
        _ => Err(Errno::BUSY),
    }
}

fn lose_name(system: &mut System, file: FileId) {
    if let Some(memory) = system.memory.memory_files.get_mut(file) {
        memory.links -= 1;
    }
    system.collect_memory_files();
}

pub fn rename(system: &mut System, [old, new, ..]: Arguments) -> Outcome {
    renameat2(system, [HERE, old, HERE, new, 0, 0])
}

pub fn renameat(system: &mut System, [old_directory, old, new_directory, new, ..]: Arguments) -> Outcome {
    renameat2(system, [old_directory, old, new_directory, new, 0, 0])
}

pub fn renameat2(
    system: &mut System,
    [old_directory, old, new_directory, new, flags, _]: Arguments,
) -> Outcome {
    const NOREPLACE: u64 = 1;
    let old = user_path(system, old_directory as i32, old)?;
    let new = user_path(system, new_directory as i32, new)?;
    if flags & !NOREPLACE != 0 || leads_to(&old, &new) {
        return Err(Errno::INVAL.into());
    }
    let moves_directory = is_directory(&lookup(system, &old)?);
    // A directory takes host files that are below it along: they keep being the same host files.
    if !moves_directory {
        removable(system, &old)?;
    }
    match lookup(system, &new) {
        Ok(_) if flags & NOREPLACE != 0 => return Err(Errno::EXIST.into()),
        Ok(_) if old == new => return Ok(0),
        Ok(Object::Directory(_)) if !moves_directory => return Err(Errno::ISDIR.into()),
        Ok(Object::Directory(_)) => {
            remove_directory(system, &new)?;
        }
        Ok(_) if moves_directory => return Err(Errno::NOTDIR.into()),
        Ok(_) => {
            let file = removable(system, &new)?;
            system.tree.remove(&new);
            lose_name(system, file);
        }
        Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    can_add(system, &new)?;
    system.tree.rename(&old, &new);
    Ok(0)
}

pub fn link(system: &mut System, [old, new, ..]: Arguments) -> Outcome {
    linkat(system, [HERE, old, HERE, new, 0, 0])
}

pub fn linkat(system: &mut System, [old_directory, old, new_directory, new, ..]: Arguments) -> Outcome {
    let old = user_path(system, old_directory as i32, old)?;
    let new = user_path(system, new_directory as i32, new)?;
    let file = match lookup(system, &old)? {
        Object::File(file) => file,
        _ => return Err(Errno::PERM.into()),
    };
    // As between two file systems.
    let Some(memory) = system.memory.memory_files.get_mut(file) else { return Err(Errno::XDEV.into()) };
    memory.links += 1;
    let possible = match lookup(system, &new) {
        Ok(_) => Err(Errno::EXIST.into()),
        Err(Errno::NOENT) => can_add(system, &new),
        Err(error) => Err(error.into()),
    };
    match possible {
        Ok(()) => system.tree.add(new, Object::File(file)),
        Err(_) => lose_name(system, file),
    }
    possible.map(|()| 0)
}

/// There are no symbolic links: paths need no walk.
pub fn symlink(_: &mut System, _: Arguments) -> Outcome {
    Err(Errno::PERM.into())
}

pub fn symlinkat(_: &mut System, _: Arguments) -> Outcome {
    Err(Errno::PERM.into())
}

pub fn getdents64(system: &mut System, [number, to, size, ..]: Arguments) -> Outcome {
    let open = system.tasks.process.descriptors.get(number)?;
    let Object::Directory(directory) = &open.object else { return Err(Errno::NOTDIR.into()) };
    // A page at a time, however large the directory and the caller's buffer are.
    let mut list = Listing::new((size as usize).min(PAGE_SIZE), open.offset.get());
    list.add(0, b".", &open.object);
    list.add(1, b"..", &Object::Directory(parent(directory).to_vec()));
    let done = list.next.saturating_sub(2) as usize;
    if directory == b"/proc" || leads_to(b"/proc", directory) {
        let mut at = done;
        while let Some((name, object)) = crate::proc::nth(&mut system.tasks, directory, at)
            && list.add(at as u64 + 2, &name, &object)
        {
            at += 1;
        }
    } else {
        for (at, (name, object)) in system.tree.children(directory).enumerate().skip(done) {
            if !list.add(at as u64 + 2, name, object) {
                break;
            }
        }
    }
    if list.bytes.is_empty() && list.full {
        return Err(Errno::INVAL.into());
    }
    system.write(to, &list.bytes)?;
    open.offset.set(list.next);
    Ok(list.bytes.len() as u64)
}

/// Entries of a directory as getdents64 returns them (struct linux_dirent64), as many as there is room for.
struct Listing {
    bytes: Vec<u8>,
    room: usize,
    /// The position of the next one to be added.
    next: u64,
    /// One did not fit.
    full: bool,
}

impl Listing {
    fn new(room: usize, next: u64) -> Self {
        Self { bytes: Vec::with_capacity(room), room, next, full: false }
    }

    /// Adds the entry at a position, unless it was added before. Returns whether there was room.
    fn add(&mut self, at: u64, name: &[u8], object: &Object) -> bool {
        const FILE: u8 = 8;
        const DIRECTORY: u8 = 4;
        const DEVICE: u8 = 2;
        let len = (19 + name.len() + 1).next_multiple_of(8);
        let end = self.bytes.len() + len;
        if self.full || at != self.next || end > self.room {
            self.full |= at == self.next;
            return !self.full;
        }
        self.next += 1;
        self.bytes.extend_from_slice(&object.inode().to_le_bytes());
        self.bytes.extend_from_slice(&self.next.to_le_bytes());
        self.bytes.extend_from_slice(&(len as u16).to_le_bytes());
        self.bytes.push(match object {
            Object::Directory(_) => DIRECTORY,
            Object::File(_) | Object::Proc(_) => FILE,
            _ => DEVICE,
        });
        self.bytes.extend_from_slice(name);
        self.bytes.resize(end, 0);
        true
    }
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
    let object = lookup(system, &path)?;
    enter(system, object)
}

pub fn fchdir(system: &mut System, [number, ..]: Arguments) -> Outcome {
    let object = system.tasks.process.descriptors.get(number)?.object.clone();
    enter(system, object)
}

fn enter(system: &mut System, object: Object) -> Outcome {
    match object {
        Object::Directory(path) => system.tasks.process.directory = path,
        _ => return Err(Errno::NOTDIR.into()),
    }
    Ok(0)
}

pub fn readlink(system: &mut System, [name, to, size, ..]: Arguments) -> Outcome {
    readlinkat(system, [HERE, name, to, size, 0, 0])
}

/// The only symbolic links are those of /proc.
pub fn readlinkat(system: &mut System, [directory, name, to, size, ..]: Arguments) -> Outcome {
    let path = user_path(system, directory as i32, name)?;
    let object = lookup(system, &path)?;
    if !leads_to(b"/proc", &path) || matches!(object, Object::Proc(_) | Object::Directory(_)) {
        return Err(Errno::INVAL.into());
    }
    let target = match object {
        Object::File(file) => system.tree.path_of(file).unwrap_or(b"/ (deleted)").to_vec(),
        Object::Null => b"/dev/null".to_vec(),
        Object::Pipe(end) => alloc::format!("pipe:[{}]", end.pipe().number()).into_bytes(),
        _ => b"/dev/console".to_vec(),
    };
    let part = &target[..target.len().min(size as usize)];
    system.write(to, part)?;
    Ok(part.len() as u64)
}
