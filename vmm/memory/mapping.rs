//! Private anonymous memory of this process's own, at an address of the alignment that huge pages want.

use std::io;
use std::ptr;

use abi::addr::Hva;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use super::Size;

/// A mapping; gone when dropped. A child of this process does not get it: a page that a fork shares cannot be moved any more.
#[derive(Debug)]
pub struct Mapping {
    start: Hva,
    bytes: usize,
}

impl Mapping {
    /// Maps so many bytes of zeros, whole pages, at a multiple of 2 MiB. No frame is used before it is touched.
    ///
    /// # Errors
    /// The host has no room in this process's address space.
    pub fn new(bytes: usize) -> io::Result<Self> {
        let align = Size::mib(2).bytes() as usize;
        let (protection, flags) =
            (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
        let room = bytes.checked_add(align).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: a new mapping at an address of the kernel's choice takes nobody's memory.
        let whole = unsafe { mmap_anonymous(ptr::null_mut(), room, protection, flags)? } as usize;
        let start = whole.next_multiple_of(align);
        for (at, bytes) in [(whole, start - whole), (start + bytes, whole + room - start - bytes)] {
            if bytes > 0 {
                // SAFETY: the part is of the mapping that was just made, and nobody knows of it.
                unsafe { munmap(ptr::with_exposed_provenance_mut(at), bytes)? };
            }
        }
        let mapping = Self { start: Hva(start as u64), bytes };
        // SAFETY: it changes what a fork does, not what is in the mapping.
        unsafe { madvise(mapping.pointer().cast(), bytes, Advice::LinuxDontFork)? };
        Ok(mapping)
    }

    /// Where it is.
    #[must_use]
    pub const fn start(&self) -> Hva {
        self.start
    }

    /// The same as a pointer.
    #[must_use]
    pub fn pointer(&self) -> *mut u8 {
        ptr::with_exposed_provenance_mut(self.start.0 as usize)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and whole; references into it borrow its owner, so there are none.
        let _ = unsafe { munmap(self.pointer().cast(), self.bytes) };
    }
}
