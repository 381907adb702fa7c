//! The file behind a store: a block of a page for each slot.
//!
//! Who reads or writes a block holds a reference to its slot, so a block is never given away under either.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::path::Path;

use abi::addr::PAGE_SIZE;
use libc::iovec;
use rustix::io::Errno;

use super::create::open_or_create;
use super::faults::{Fault, FaultSpec, Faults, Request};
use super::{PageBytes, StoreError};

/// How often a request that made no progress is repeated.
pub(super) const TRIES: u32 = 16;

/// The file.
#[derive(Debug)]
pub(super) struct BlockFile {
    pub(super) file: File,
    /// What a report calls it.
    pub(super) kind: &'static str,
    /// Whether it is read and written past the host's page cache.
    pub(super) direct: bool,
    faults: Faults,
}

impl BlockFile {
    /// Opens or makes the file at `path`, with room for `blocks` pages.
    pub(super) fn open(path: &Path, blocks: u32, faults: FaultSpec) -> Result<Self, StoreError> {
        let opened = open_or_create(path, blocks)?;
        let (file, kind, direct) = (opened.file, opened.kind, opened.direct);
        Ok(Self { file, kind, direct, faults: Faults::new(faults) })
    }

    /// What is to go wrong with the next request.
    pub(super) fn next_fault(&self, request: Request) -> Option<Fault> {
        self.faults.next(request)
    }

    /// Reads a block.
    pub(super) fn read(&self, block: u32, page: &mut PageBytes) -> io::Result<()> {
        let buffer = [buffer_of(page)];
        for _ in 0..TRIES {
            let fault = self.next_fault(Request::Read);
            // SAFETY: the buffer is the page, of which we have the only reference.
            match unsafe { self.transfer(Request::Read, &buffer, block, fault) } {
                Ok(PAGE_SIZE) => return Ok(()),
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(ErrorKind::UnexpectedEof.into())
    }

    /// Reads or writes blocks from `block` on, as many as there are buffers, and returns the bytes that went.
    ///
    /// # Safety
    /// The buffers are valid for the request: each is a page, which nobody writes meanwhile, nor reads if
    /// this does.
    pub(super) unsafe fn transfer(
        &self,
        request: Request,
        buffers: &[iovec],
        block: u32,
        fault: Option<Fault>,
    ) -> Result<usize, Errno> {
        // SAFETY: as the caller says.
        let go = |buffers: &[iovec]| unsafe { self.call(request, buffers, block) };
        match fault {
            Some(Fault::Error(_, errno)) => Err(errno),
            Some(Fault::Short) => go(&half(buffers)),
            Some(Fault::Torn) => go(&half(buffers)).map(|_| buffers.len() * PAGE_SIZE),
            Some(Fault::Flip) => {
                let done = go(buffers)?;
                // SAFETY: the first buffer is a page that was just read into, and this thread's.
                unsafe { *buffers[0].iov_base.cast::<u8>() ^= 1 };
                Ok(done)
            }
            Some(Fault::Delay(_)) | None => go(buffers),
        }
    }

    /// # Safety
    /// As [`BlockFile::transfer`].
    unsafe fn call(&self, request: Request, buffers: &[iovec], block: u32) -> Result<usize, Errno> {
        let (fd, at, count) = (self.file.as_raw_fd(), offset(block) as i64, buffers.len() as i32);
        // SAFETY: the caller answers for the buffers, and the descriptor is open.
        let done = unsafe {
            match request {
                Request::Read => libc::preadv(fd, buffers.as_ptr(), count, at),
                Request::Write => libc::pwritev(fd, buffers.as_ptr(), count, at),
            }
        };
        usize::try_from(done).map_err(|_| {
            let code = io::Error::last_os_error().raw_os_error().unwrap_or_default();
            Errno::from_raw_os_error(code)
        })
    }
}

/// Where a block is.
pub(super) const fn offset(block: u32) -> u64 {
    block as u64 * PAGE_SIZE as u64
}

/// A page as the kernel wants it named, to be read into.
pub(super) fn buffer_of(page: &mut PageBytes) -> iovec {
    iovec { iov_base: page.0.as_mut_ptr().cast(), iov_len: PAGE_SIZE }
}

/// The first half of all bytes.
fn half(buffers: &[iovec]) -> Vec<iovec> {
    let mut half = buffers[..buffers.len().div_ceil(2)].to_vec();
    if let (1, Some(last)) = (buffers.len() % 2, half.last_mut()) {
        last.iov_len /= 2;
    }
    half
}
