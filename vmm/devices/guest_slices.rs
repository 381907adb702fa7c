//! Scattered guest memory: what a request's descriptors name, and moving bytes between it and the host.
//!
//! Guest memory changes under our feet (other vCPUs, the host pager), so it is never seen as a Rust slice: only
//! volatile copies and the host kernel's own copies touch it.
//!
//! Each touch can fault on a frame that the host has evicted, and then waits for the host pager. So the pager never
//! takes a lock that is held around these calls (a device's, see [`bus`](super::bus)).

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap, VolatileSlice};

/// The most ranges that one preadv or pwritev takes (IOV_MAX of limits.h).
const MAX_IOVECS: usize = 1024;

/// Ranges of guest memory in the order of a request; every byte is inside guest RAM.
#[derive(Clone, Default, Debug)]
pub struct GuestSlices<'a> {
    slices: VecDeque<VolatileSlice<'a>>,
    len: usize,
}

impl<'a> GuestSlices<'a> {
    /// Appends `count` bytes at `start`; `None` if not all of them are guest RAM.
    #[must_use]
    pub fn append(&mut self, memory: &'a GuestMemoryMmap, start: GuestAddress, count: usize) -> Option<()> {
        for slice in memory.get_slices(start, count) {
            self.push(slice.ok()?);
        }
        Some(())
    }

    /// Number of bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes the first `count` bytes out; `None`, and nothing taken, if there are fewer.
    #[must_use]
    pub fn split_first(&mut self, count: usize) -> Option<Self> {
        if count > self.len {
            return None;
        }
        let mut first = Self::default();
        while first.len < count {
            let slice = self.slices.pop_front()?;
            self.len -= slice.len();
            let wanted = slice.len().min(count - first.len);
            let (head, tail) = slice.split_at(wanted).ok()?;
            first.push(head);
            if !tail.is_empty() {
                self.len += tail.len();
                self.slices.push_front(tail);
            }
        }
        Some(first)
    }

    /// Takes the last `count` bytes out; `None`, and nothing taken, if there are fewer.
    #[must_use]
    pub fn split_last(&mut self, count: usize) -> Option<Self> {
        let rest = self.split_first(self.len.checked_sub(count)?)?;
        Some(std::mem::replace(self, rest))
    }

    /// Copies into guest memory, as far as both reach. Returns the number of bytes copied.
    pub fn copy_from(&self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        for slice in &self.slices {
            let count = slice.len().min(rest.len());
            slice.copy_from(&rest[..count]);
            rest = &rest[count..];
        }
        bytes.len() - rest.len()
    }

    /// Copies out of guest memory, as far as both reach. Returns the number of bytes copied.
    pub fn copy_to(&self, bytes: &mut [u8]) -> usize {
        let mut copied = 0;
        for slice in &self.slices {
            copied += slice.copy_to(&mut bytes[copied..]);
        }
        copied
    }

    /// Fills all with zeros.
    pub fn zero(&self) {
        const ZEROS: [u8; 4096] = [0; 4096];
        for slice in &self.slices {
            let mut done = 0;
            while let Ok(rest) = slice.offset(done)
                && !rest.is_empty()
            {
                let count = rest.len().min(ZEROS.len());
                rest.copy_from(&ZEROS[..count]);
                done += count;
            }
        }
    }

    /// Fills all from `file` at `offset`; what lies past the end of the file is zeros.
    ///
    /// # Errors
    /// The host cannot read.
    pub fn read_from(mut self, file: &File, mut offset: u64) -> io::Result<()> {
        while !self.is_empty() {
            let iovecs = self.iovecs();
            let count = retry(|| {
                // SAFETY: the iovecs are valid for writes while `self` borrows the guest memory (see
                // `iovecs`), and are at most IOV_MAX.
                unsafe { libc::preadv(file.as_raw_fd(), iovecs.as_ptr(), iovecs.len() as i32, offset as i64) }
            })?;
            if count == 0 {
                self.zero();
                return Ok(());
            }
            self.drop_first(count);
            offset += count as u64;
        }
        Ok(())
    }

    /// Writes all to `file` at `offset`.
    ///
    /// # Errors
    /// The host cannot write all of it.
    pub fn write_to(mut self, file: &File, mut offset: u64) -> io::Result<()> {
        while !self.is_empty() {
            let iovecs = self.iovecs();
            let count = retry(|| {
                // SAFETY: the iovecs are valid for reads while `self` borrows the guest memory (see
                // `iovecs`), and are at most IOV_MAX.
                unsafe {
                    libc::pwritev(file.as_raw_fd(), iovecs.as_ptr(), iovecs.len() as i32, offset as i64)
                }
            })?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.drop_first(count);
            offset += count as u64;
        }
        Ok(())
    }

    /// Writes the first bytes to a stream, as many as it takes at once, and takes them out. Returns their number.
    ///
    /// # Errors
    /// The host's, EINTR and EAGAIN among them; nothing is taken then.
    pub fn write_some(&mut self, stream: BorrowedFd<'_>) -> io::Result<usize> {
        let iovecs = self.iovecs();
        // SAFETY: the iovecs are valid for reads while `self` borrows the guest memory (see `iovecs`),
        // and are at most IOV_MAX.
        let count = unsafe { libc::writev(stream.as_raw_fd(), iovecs.as_ptr(), iovecs.len() as i32) };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        self.drop_first(count);
        Ok(count)
    }

    fn push(&mut self, slice: VolatileSlice<'a>) {
        self.len += slice.len();
        self.slices.push_back(slice);
    }

    fn drop_first(&mut self, count: usize) {
        // The host kernel never reports more than it was given.
        drop(self.split_first(count.min(self.len)));
    }

    /// The first ranges as the host kernel takes them. Each is a part of a guest RAM mapping that lives
    /// for `'a` at least. Nothing on the Rust side holds a reference into it, so the host kernel may
    /// read and write it at any time; what it reads is arbitrary bytes.
    fn iovecs(&self) -> Vec<libc::iovec> {
        let first = self.slices.iter().take(MAX_IOVECS);
        first
            .map(|slice| libc::iovec {
                iov_base: slice.ptr_guard_mut().as_ptr().cast(),
                iov_len: slice.len(),
            })
            .collect()
    }
}

/// Calls until the answer is not EINTR; -1 is the last error.
fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match usize::try_from(call()) {
            Ok(count) => return Ok(count),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn memory() -> GuestMemoryMmap {
        GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x4000), (GuestAddress(0x4000), 0x4000)])
            .expect("32 KiB of address space")
    }

    fn slices<'a>(memory: &'a GuestMemoryMmap, ranges: &[(u64, usize)]) -> GuestSlices<'a> {
        let mut slices = GuestSlices::default();
        for &(start, count) in ranges {
            slices.append(memory, GuestAddress(start), count).expect("inside RAM");
        }
        slices
    }

    #[test]
    fn nothing_outside_ram_is_ever_named() {
        let memory = memory();
        let mut slices = GuestSlices::default();
        for (start, count) in [(0x8000, 1), (0x7fff, 2), (u64::MAX, 1), (u64::MAX - 1, 4), (0, 0x8001)] {
            assert!(slices.append(&memory, GuestAddress(start), count).is_none(), "{start:#x} {count}");
        }
        let mut slices = GuestSlices::default();
        assert!(slices.append(&memory, GuestAddress(0x3f00), 0x200).is_some(), "two regions that touch");
        assert_eq!(slices.len(), 0x200);
    }

    #[test]
    fn a_short_file_reads_as_zeros_at_its_end() {
        let memory = memory();
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(b"abcdef").expect("room");
        let target = slices(&memory, &[(0, 2), (0x100, 6)]);
        target.copy_from(&[0xaa; 8]);
        target.clone().read_from(&file, 2).expect("readable");
        let mut bytes = [0; 8];
        target.copy_to(&mut bytes);
        assert_eq!(&bytes, b"cdef\0\0\0\0");
    }

    proptest! {
        #[test]
        fn cut_anywhere_the_bytes_stay_in_order(
            ranges in prop::collection::vec((0_u64..0x7000, 0_usize..0x300), 1..2000), cut in 0_usize..0x1000,
        ) {
            let memory = memory();
            let mut whole = slices(&memory, &ranges);
            let len: usize = ranges.iter().map(|range| range.1).sum();
            prop_assert_eq!(whole.len(), len);
            let mut expected = vec![0; len];
            whole.copy_to(&mut expected);

            let file = tempfile::tempfile().expect("a temporary file");
            whole.clone().write_to(&file, 7).expect("room");
            prop_assert_eq!(file.metadata().expect("open").len(), if len == 0 { 0 } else { 7 + len as u64 });

            match whole.split_first(cut) {
                None => prop_assert!(cut > len),
                Some(first) => {
                    prop_assert_eq!((first.len(), whole.len()), (cut, len - cut));
                    let mut bytes = vec![0; cut];
                    first.copy_to(&mut bytes);
                    prop_assert_eq!(&bytes, &expected[..cut]);
                    let last = whole.split_last(whole.len() / 2).expect("there is half of it");
                    let mut bytes = vec![0; last.len()];
                    last.copy_to(&mut bytes);
                    prop_assert_eq!(&bytes, &expected[len - last.len()..]);
                }
            }
        }
    }
}
