//! Pipes: bytes on their way from one process to another.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};

use abi::addr::PAGE_SIZE;

/// So many bytes a pipe holds (pipe(7)), and so many are written at once or not at all.
pub const CAPACITY: usize = 16 * PAGE_SIZE;
/// See [`CAPACITY`].
pub const ATOMIC: usize = PAGE_SIZE;

/// The bytes, in pages that come and go with them.
#[derive(Default)]
struct Bytes {
    pages: VecDeque<Box<[u8; PAGE_SIZE]>>,
    /// Where they start in the first page, and end in the last.
    start: usize,
    end: usize,
}

impl Bytes {
    fn len(&self) -> usize {
        match self.pages.len() {
            0 => 0,
            pages => (pages - 1) * PAGE_SIZE + self.end - self.start,
        }
    }

    /// Room for more, at the end.
    fn room(&mut self) -> &mut [u8] {
        if self.pages.is_empty() || self.end == PAGE_SIZE {
            if self.pages.len() == CAPACITY / PAGE_SIZE {
                return &mut [];
            }
            self.pages.push_back(Box::new([0; PAGE_SIZE]));
            self.end = 0;
        }
        let end = self.end;
        self.pages.back_mut().map_or(&mut [], |page| &mut page[end..])
    }

    /// The first ones.
    fn first(&self) -> &[u8] {
        let end = if self.pages.len() == 1 { self.end } else { PAGE_SIZE };
        self.pages.front().map_or(&[], |page| &page[self.start..end])
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        if self.pages.len() == 1 && self.start == self.end {
            // The page stays for the next bytes.
            (self.start, self.end) = (0, 0);
        } else if self.start == PAGE_SIZE {
            self.pages.pop_front();
            self.start = 0;
        }
    }
}

/// A pipe.
pub struct Pipe {
    number: u32,
    bytes: RefCell<Bytes>,
    readers: Cell<u32>,
    writers: Cell<u32>,
}

/// An end of a pipe. The pipe knows how many of each kind there are.
pub struct End {
    pipe: Rc<Pipe>,
    writes: bool,
}

impl End {
    /// Both ends of a new pipe: the one to read from, the one to write to.
    #[must_use]
    pub fn pair(number: u32) -> (Self, Self) {
        let bytes = RefCell::new(Bytes::default());
        let pipe = Rc::new(Pipe { number, bytes, readers: Cell::new(1), writers: Cell::new(1) });
        (Self { pipe: Rc::clone(&pipe), writes: false }, Self { pipe, writes: true })
    }

    /// The pipe.
    #[must_use]
    pub fn pipe(&self) -> &Pipe {
        &self.pipe
    }

    /// Whether it is the one to write to.
    #[must_use]
    pub const fn writes(&self) -> bool {
        self.writes
    }
}

impl Clone for End {
    fn clone(&self) -> Self {
        let ends = if self.writes { &self.pipe.writers } else { &self.pipe.readers };
        ends.set(ends.get() + 1);
        Self { pipe: Rc::clone(&self.pipe), writes: self.writes }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let ends = if self.writes { &self.pipe.writers } else { &self.pipe.readers };
        ends.set(ends.get() - 1);
    }
}

impl Pipe {
    /// Its number; waiters wait for that.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// How many bytes are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.borrow().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes can be written now.
    #[must_use]
    pub fn room(&self) -> usize {
        let bytes = self.bytes.borrow();
        let last = if bytes.pages.is_empty() { 0 } else { PAGE_SIZE - bytes.end };
        CAPACITY - bytes.pages.len() * PAGE_SIZE + last
    }

    /// Whether nobody can write any more: what is in it is all there will be.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.writers.get() == 0
    }

    /// Whether nobody can read any more.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.readers.get() == 0
    }

    /// Calls `fill` with room for up to `len` more bytes, in parts, each of which it fills. Returns how many bytes there was room for.
    ///
    /// # Errors
    /// What `fill` returned; the parts before are in the pipe.
    pub fn write<E>(
        &self,
        len: usize,
        mut fill: impl FnMut(usize, &mut [u8]) -> Result<(), E>,
    ) -> Result<usize, E> {
        let mut bytes = self.bytes.borrow_mut();
        let mut done = 0;
        while done < len {
            let room = bytes.room();
            let part = room.len().min(len - done);
            if part == 0 {
                break;
            }
            fill(done, &mut room[..part])?;
            bytes.end += part;
            done += part;
        }
        Ok(done)
    }

    /// Calls `take` with up to `len` of the first bytes, in parts. Returns how many there were; they are gone.
    ///
    /// # Errors
    /// What `take` returned; the parts before are gone.
    pub fn read<E>(
        &self,
        len: usize,
        mut take: impl FnMut(usize, &[u8]) -> Result<(), E>,
    ) -> Result<usize, E> {
        let mut bytes = self.bytes.borrow_mut();
        let mut done = 0;
        while done < len && bytes.len() > 0 {
            let first = bytes.first();
            let part = first.len().min(len - done);
            take(done, &first[..part])?;
            bytes.consume(part);
            done += part;
        }
        Ok(done)
    }
}

impl core::fmt::Debug for End {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "pipe:[{}]", self.pipe.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a plain queue.
        #[test]
        fn what_is_written_is_read_in_its_order(steps in prop::collection::vec((any::<bool>(), 0usize..9000), 0..100)) {
            let (read, write) = End::pair(1);
            let mut model = VecDeque::new();
            let mut next = 0u8;
            for (writes, len) in steps {
                if writes {
                    let written = write.pipe().write(len, |_, part| {
                        part.fill_with(|| { next = next.wrapping_add(1); model.push_back(next); next });
                        Ok::<(), ()>(())
                    });
                    prop_assert!(written == Ok(len) || model.len() > CAPACITY - PAGE_SIZE);
                } else {
                    let expected = len.min(model.len());
                    let got = read.pipe().read(len, |_, part| {
                        part.iter().try_for_each(|&byte| if model.pop_front() == Some(byte) { Ok(()) } else { Err(()) })
                    });
                    prop_assert_eq!(got, Ok(expected));
                }
                prop_assert_eq!(read.pipe().len(), model.len());
            }
        }
    }

    #[test]
    fn a_pipe_knows_whether_its_other_end_is_there() {
        let (read, write) = End::pair(1);
        assert!(!read.pipe().is_ended() && !write.pipe().is_broken());
        drop(write);
        assert!(read.pipe().is_ended());
    }
}
