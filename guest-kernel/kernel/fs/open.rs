//! Open files and the descriptors that name them.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;

use abi::addr::PAGE_SIZE;

use super::FileId;
use super::epoll::{Counter, Epoll};
use super::pipe::End;
use crate::proc::Entry;

/// Most descriptors of a process (RLIMIT_NOFILE): as many as fit a page.
pub const LIMIT: usize = 256;

/// Flags of open(2) and its relatives: to read and write, not to wait, to close when another program is run.
pub const READ_WRITE: u32 = 2;
/// See [`READ_WRITE`].
pub const NONBLOCK: u32 = 0o4000;
/// See [`READ_WRITE`].
pub const CLOEXEC: u64 = 0o200_0000;

/// What is open.
#[derive(Clone, Debug)]
pub enum Object {
    /// The program's standard input.
    Input,
    /// The program's standard output, or (true) its standard error.
    Output(bool),
    /// A file with pages.
    File(FileId),
    /// /dev/null.
    Null,
    /// /dev/zero.
    Zero,
    /// /dev/urandom.
    Random,
    /// A file of /proc, whose text is made when it is read.
    Proc(Entry),
    /// An end of a pipe.
    Pipe(End),
    /// A list of descriptors to wait for.
    Epoll(Epoll),
    /// A counter to wake by.
    Counter(Counter),
    /// A directory, by its path.
    Directory(Vec<u8>),
}

impl Object {
    /// The number that stat, directories and maps tell.
    #[must_use]
    pub fn inode(&self) -> u64 {
        match self {
            Self::Input => 1,
            Self::Output(error) => 2 + u64::from(*error),
            Self::Null => 4,
            Self::Zero => 5,
            Self::Random => 6,
            Self::Counter(_) => 8,
            Self::Epoll(_) => 9,
            Self::Pipe(end) => 1 << 33 | u64::from(end.pipe().number()),
            Self::Proc(entry) => 1 << 34 | entry.number(),
            // A number that the path decides, out of the files' range.
            Self::Directory(path) => {
                path.iter().fold(5381u64, |hash, &byte| hash.wrapping_mul(33) ^ u64::from(byte)) | 1 << 32
            }
            Self::File(id) => 1000 + u64::from(id.0),
        }
    }
}

/// An open file description (open(2)): descriptors that dup makes share it.
#[derive(Debug)]
pub struct OpenFile {
    /// What is open.
    pub object: Object,
    /// Where the next read or write starts.
    pub offset: Cell<u64>,
    /// The status flags that it was opened with.
    pub flags: Cell<u32>,
}

impl OpenFile {
    /// At offset 0.
    #[must_use]
    pub fn new(object: Object, flags: u32) -> Rc<Self> {
        Rc::new(Self { object, offset: Cell::new(0), flags: Cell::new(flags) })
    }
}

#[derive(Clone)]
struct Descriptor {
    file: Rc<OpenFile>,
    close_on_exec: bool,
}

const _: () = assert!(LIMIT * size_of::<Option<Descriptor>>() <= PAGE_SIZE);

/// A process's descriptors.
#[derive(Clone)]
pub struct Descriptors(Vec<Option<Descriptor>>);

/// There is no such descriptor, or no number for another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadDescriptor;

impl Descriptors {
    /// Standard input, output and error.
    #[must_use]
    pub fn standard() -> Self {
        let open =
            |object| Some(Descriptor { file: OpenFile::new(object, READ_WRITE), close_on_exec: false });
        Self([Object::Input, Object::Output(false), Object::Output(true)].into_iter().map(open).collect())
    }

    /// What a descriptor names.
    ///
    /// # Errors
    /// Nothing.
    pub fn get(&self, number: u64) -> Result<Rc<OpenFile>, BadDescriptor> {
        self.slot(number).map(|descriptor| Rc::clone(&descriptor.file))
    }

    fn slot(&self, number: u64) -> Result<&Descriptor, BadDescriptor> {
        self.0.get(usize::try_from(number).unwrap_or(LIMIT)).and_then(Option::as_ref).ok_or(BadDescriptor)
    }

    /// Gives an open file the lowest free number from `lowest` on.
    ///
    /// # Errors
    /// All are in use.
    pub fn add(
        &mut self,
        file: Rc<OpenFile>,
        lowest: u64,
        close_on_exec: bool,
    ) -> Result<u64, BadDescriptor> {
        let lowest = usize::try_from(lowest).unwrap_or(LIMIT);
        let used = |number: &usize| self.0.get(*number).is_some_and(Option::is_some);
        let number = (lowest..LIMIT).find(|number| !used(number)).ok_or(BadDescriptor)?;
        self.put(file, number as u64, close_on_exec)
    }

    /// Makes `number` name an open file, whatever it named before.
    ///
    /// # Errors
    /// The number is too large.
    pub fn put(
        &mut self,
        file: Rc<OpenFile>,
        number: u64,
        close_on_exec: bool,
    ) -> Result<u64, BadDescriptor> {
        let index = usize::try_from(number).ok().filter(|&index| index < LIMIT).ok_or(BadDescriptor)?;
        if self.0.len() <= index {
            self.0.resize(index + 1, None);
        }
        self.0[index] = Some(Descriptor { file, close_on_exec });
        Ok(number)
    }

    /// Whether any of them names that file.
    #[must_use]
    pub fn name(&self, file: FileId) -> bool {
        let names =
            |descriptor: &Descriptor| matches!(descriptor.file.object, Object::File(id) if id == file);
        self.0.iter().flatten().any(names)
    }

    /// The open ones among the numbers from `first` on.
    pub fn from(&self, first: u64) -> impl Iterator<Item = (u64, &Rc<OpenFile>)> {
        let all = self.0.iter().enumerate().skip(usize::try_from(first).unwrap_or(LIMIT));
        all.filter_map(|(number, slot)| slot.as_ref().map(|slot| (number as u64, &slot.file)))
    }

    /// Closes all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Closes those that a new program is not to have, and returns what they named.
    pub fn close_for_exec(&mut self) -> Vec<Rc<OpenFile>> {
        let closed = |slot: &mut Option<Descriptor>| slot.take_if(|descriptor| descriptor.close_on_exec);
        self.0.iter_mut().filter_map(closed).map(|descriptor| descriptor.file).collect()
    }

    /// Frees a number.
    ///
    /// # Errors
    /// It names nothing.
    pub fn close(&mut self, number: u64) -> Result<(), BadDescriptor> {
        self.slot(number)?;
        self.0[number as usize] = None;
        Ok(())
    }

    /// Whether a descriptor is closed by execve.
    ///
    /// # Errors
    /// It names nothing.
    pub fn close_on_exec(&self, number: u64) -> Result<bool, BadDescriptor> {
        self.slot(number).map(|descriptor| descriptor.close_on_exec)
    }

    /// Sets whether a descriptor is closed by execve.
    ///
    /// # Errors
    /// It names nothing.
    pub fn set_close_on_exec(&mut self, number: u64, close: bool) -> Result<(), BadDescriptor> {
        self.slot(number)?;
        if let Some(descriptor) = &mut self.0[number as usize] {
            descriptor.close_on_exec = close;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_number_is_given() {
        let mut table = Descriptors::standard();
        let file = || OpenFile::new(Object::Null, 0);
        assert_eq!(table.add(file(), 0, false), Ok(3));
        assert_eq!(table.close(1), Ok(()));
        assert_eq!(table.close(1), Err(BadDescriptor));
        assert_eq!(table.add(file(), 0, true), Ok(1));
        assert_eq!(table.add(file(), 10, false), Ok(10));
        assert_eq!(table.close_on_exec(1), Ok(true));
        assert_eq!(table.put(file(), LIMIT as u64, false), Err(BadDescriptor));
        assert_eq!(table.get(u64::MAX).err(), Some(BadDescriptor));
    }

    #[test]
    fn a_copied_descriptor_shares_the_offset() {
        let mut table = Descriptors::standard();
        let copy = table.add(table.get(0).unwrap(), 0, false).unwrap();
        table.get(0).unwrap().offset.set(7);
        assert_eq!(table.get(copy).unwrap().offset.get(), 7);
    }
}
